use toml::Spanned;

use crate::base::{ClusterId, NodeId, Span};
use crate::cluster::operator::certificates::{
    DeleteCertificate, Import, ImportTrust, Regenerate, RenewPeer, Upload,
};
use crate::cluster::operator::requests::RequestCertificate;
use crate::cluster::{
    CERTIFICATES, CertificateKind, Holders, RELEASES, Release, TRUST_STORES, TrustStore,
};
use crate::crypto::TlsEnd;

use super::super::error::Problem;
use super::super::names::{Text, check_host, check_unique, one_of};
use super::super::quantity::positive;
use super::{Argument, Given, Reader, Step, Verb, name_of};

pub(super) const VERBS: &[Verb] = &[REGENERATE, REQUEST, IMPORT, DELETE, IMPORT_TRUST, RENEWAL];

const REQUEST: Verb = Verb {
    key: "csr",
    word: "csr",
    takes: &[Argument::text("certificate"), Argument::text("node")],
    read: |given, reader| {
        let certificate = signed_by_a_ca(given.text("certificate"), given.text("certificate"))?;
        if certificate.is_ec() {
            let what = "no request is made here for a certificate with an EC key";
            let problem = Problem::new(given.text("certificate").span(), what);
            return Err(problem.help("import makes one with a new key"));
        }
        let node = reader.node(given.text("node"))?;
        check_holder(certificate, given, node, reader)?;
        Ok(RequestCertificate { certificate, node }.into())
    },
    write: |entry, topology| {
        let RequestCertificate { certificate, node } = entry.action.get()?;
        let certificate = certificate.name().into();
        Some(vec![("certificate", certificate), ("node", name_of(topology, *node))])
    },
};

/// A certificate that a CA may sign; `at` is where it is said if it may not.
fn signed_by_a_ca(name: &Text, at: &Text) -> Result<CertificateKind, Problem> {
    let kind = certificate(name)?;
    if kind != CertificateKind::ItlRecovery {
        return Ok(kind);
    }
    let what = "ITLRecovery is never signed by a CA";
    Err(Problem::new(at.span(), what).help("regenerate makes a new one"))
}

const IMPORT: Verb = Verb {
    key: "import",
    word: "import",
    takes: &[
        Argument::text("certificate"),
        Argument::text("node"),
        Argument::text("issuer").or_none(),
        Argument::text("intermediate").or_none(),
        Argument::length("valid").or_none(),
        Argument::text("only").or_none(),
    ],
    read: import,
    write: |entry, topology| {
        let Import { certificate, nodes, issuer, intermediate, valid, only } =
            entry.action.get()?;
        let nodes: Vec<&str> = nodes.iter().map(|&id| topology.node(id).name.as_str()).collect();
        let intermediate = intermediate.as_ref().map(|name| ("intermediate", name.as_str().into()));
        let head = [
            ("certificate", certificate.name().into()),
            ("node", nodes.join(",").into()),
            ("issuer", issuer.as_str().into()),
        ];
        let valid = ("valid", valid.to_string().into());
        let only = only.map(|end| ("only", end.name().into()));
        Some(head.into_iter().chain(intermediate).chain([valid]).chain(only).collect())
    },
};

/// CA of a scenario that names none.
const ISSUER: &str = "Lab-CA";

/// How long a certificate of a CA is valid unless it is said: two years (choice).
const VALID: Span = Span::from_secs(2 * 365 * 86_400);

fn import(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    let text = given.text("node");
    let certificate = signed_by_a_ca(given.text("certificate"), text)?;
    let names = text.get_ref().split(',').map(|name| Spanned::new(text.span(), name.trim().into()));
    let names: Vec<Text> = names.collect();
    check_unique("node", &names)?;
    let nodes = names.iter().map(|name| reader.node(name)).collect::<Result<Vec<_>, _>>()?;
    nodes.iter().try_for_each(|&node| check_holder(certificate, given, node, reader))?;
    let name = |key| {
        let text = given.text_if(key);
        text.map(|text| check_host(text).map(|()| text.get_ref().clone())).transpose()
    };
    let issuer = name("issuer")?.unwrap_or_else(|| ISSUER.to_owned());
    let intermediate = name("intermediate")?;
    let valid = given.length_if("valid").map_or(Ok(VALID), positive)?;
    let only = only(given)?;
    Ok(Import { certificate, nodes, issuer, intermediate, valid, only }.into())
}

/// The one end of a TLS connection that a certificate is for, if it is not for both.
fn only(given: &Given) -> Result<Option<TlsEnd>, Problem> {
    let end = |text: &Text| one_of(text, "end of a TLS connection", &TlsEnd::BOTH, TlsEnd::name);
    given.text_if("only").map(end).transpose()
}

const DELETE: Verb = Verb {
    key: "delete-certificate",
    word: "delete-certificate",
    takes: &[Argument::text("node"), Argument::text("unit"), Argument::text("name")],
    read: delete,
    write: |entry, topology| {
        let DeleteCertificate { node, store, name } = entry.action.get()?;
        Some(vec![
            ("node", name_of(topology, *node)),
            ("unit", store.name().into()),
            ("name", name.as_str().into()),
        ])
    },
};

fn delete(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    let node = reader.node(given.text("node"))?;
    let text = given.text("unit");
    if let Ok(kind) = certificate(text) {
        let what = format!("{} is a service certificate, which is never deleted", kind.name());
        let problem = Problem::new(text.span(), what);
        return Err(problem.help("`regenerate` replaces it; stores end in -trust (CERT-01)"));
    }
    let store = store(text)?;
    let name = given.text("name").get_ref().trim().to_owned();
    Ok(DeleteCertificate { node, store, name }.into())
}

const IMPORT_TRUST: Verb = Verb {
    key: "import-trust",
    word: "import-trust",
    takes: &[
        Argument::text("node"),
        Argument::text("unit"),
        Argument::text("name"),
        Argument::length("valid").or_none(),
    ],
    read: |given, reader| {
        let (node, name) = (reader.node(given.text("node"))?, given.text("name"));
        let store = store(given.text("unit"))?;
        check_host(name)?;
        let valid = given.length_if("valid").map(positive).transpose()?;
        let upload = Upload::Of { name: name.get_ref().clone(), valid };
        Ok(ImportTrust { node, store, upload }.into())
    },
    write: |entry, topology| match entry.action.get()? {
        ImportTrust { node, store, upload: Upload::Of { name, valid } } => {
            let head = [
                ("node", name_of(topology, *node)),
                ("unit", store.name().into()),
                ("name", name.as_str().into()),
            ];
            let valid = valid.map(|valid| ("valid", valid.to_string().into()));
            Some(head.into_iter().chain(valid).collect())
        }
        ImportTrust { upload: Upload::Given(_), .. } => None,
    },
};

/// The key by which another server renews its certificate.
pub(in crate::scenario) const RENEW_PEER: &str = "renew-peer";

const RENEWAL: Verb = Verb {
    key: RENEW_PEER,
    word: RENEW_PEER,
    takes: &[
        Argument::name("peer"),
        Argument::text("name").or_none(),
        Argument::text("issuer").or_none(),
        Argument::text("intermediate").or_none(),
        Argument::length("valid").or_none(),
        Argument::text("only").or_none(),
    ],
    read: renew_peer,
    write: |entry, _| {
        let RenewPeer { peer, name, issuer, intermediate, valid, only } = entry.action.get()?;
        let names = [
            ("name", (name != peer).then_some(name)),
            ("issuer", issuer.as_ref()),
            ("intermediate", intermediate.as_ref()),
        ];
        let names = names.into_iter().filter_map(|(key, name)| Some((key, name?.as_str().into())));
        let valid = ("valid", valid.to_string().into());
        let only = only.map(|end| ("only", end.name().into()));
        let peer = ("peer", peer.as_str().into());
        Some([peer].into_iter().chain(names).chain([valid]).chain(only).collect())
    },
};

fn renew_peer(given: &Given, _: &mut Reader<'_>) -> Result<Step, Problem> {
    let name = |text: &Text| check_host(text).map(|()| text.get_ref().clone());
    let name_if = |key| given.text_if(key).map(name).transpose();
    let peer = name(given.text("peer"))?;
    let (issuer, intermediate) = (name_if("issuer")?, name_if("intermediate")?);
    if let (None, Some(text)) = (&issuer, given.text_if("intermediate")) {
        let problem = Problem::new(text.span(), "`intermediate` goes with `issuer` only");
        return Err(problem.help("issuer = \"…\": the root CA above it"));
    }
    let valid = given.length_if("valid").map_or(Ok(Upload::VALID), positive)?;
    let name = name_if("name")?.unwrap_or_else(|| peer.clone());
    let only = only(given)?;
    Ok(RenewPeer { peer, name, issuer, intermediate, valid, only }.into())
}

/// The trust store with this name, in any case.
fn store(text: &Text) -> Result<TrustStore, Problem> {
    let is_it = |store: &TrustStore| store.name().eq_ignore_ascii_case(text.get_ref().trim());
    let found = TRUST_STORES.into_iter().find(is_it);
    found.map_or_else(|| one_of(text, "trust store", &TRUST_STORES, TrustStore::name), Ok)
}

const REGENERATE: Verb = Verb {
    key: "regenerate",
    word: "regenerate",
    takes: &[Argument::text("certificate"), Argument::text("node")],
    read: regenerate,
    write: |entry, topology| {
        let Regenerate { certificate, node } = entry.action.get()?;
        let certificate = certificate.name().into();
        Some(vec![("certificate", certificate), ("node", name_of(topology, *node))])
    },
};

fn regenerate(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    if let Ok(store) = store(given.text("certificate")) {
        let what = format!("what {} holds is never regenerated", store.name());
        let problem = Problem::new(given.text("certificate").span(), what);
        let help = "regenerate the service certificate, which copies itself; \
                    `delete-certificate` takes what is left of an old one (CERT-01)";
        return Err(problem.help(help));
    }
    let certificate = certificate(given.text("certificate"))?;
    let node = reader.node(given.text("node"))?;
    check_holder(certificate, given, node, reader)?;
    Ok(Regenerate { certificate, node }.into())
}

/// The certificate with this name; as a file (`CallManager.pem`) and in any case, too.
pub(in crate::scenario) fn certificate(text: &Text) -> Result<CertificateKind, Problem> {
    let given = text.get_ref().trim();
    let stem = given.len().checked_sub(PEM.len()).and_then(|at| given.split_at_checked(at));
    let name = match stem {
        Some((name, end)) if end.eq_ignore_ascii_case(PEM) => name,
        _ => given,
    };
    let found = CERTIFICATES.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name));
    found.map_or_else(|| one_of(text, "certificate", &CERTIFICATES, CertificateKind::name), Ok)
}

/// Refuses a certificate that the node does not have in this release.
fn check_holder(
    certificate: CertificateKind,
    given: &Given,
    node: NodeId,
    reader: &Reader<'_>,
) -> Result<(), Problem> {
    let (release, name) = (reader.topology.release, certificate.name());
    match release.holders(certificate) {
        Holders::Nobody => {
            let has = |release: &Release| release.holders(certificate) != Holders::Nobody;
            let having = RELEASES.into_iter().find(has);
            let what = format!("release {release} has no {name} certificate");
            let help = format!("it exists from {} on", having.map_or("no release", Release::name));
            Err(Problem::new(given.text("certificate").span(), what).help(help))
        }
        Holders::Publisher if node != PUBLISHER => {
            let help = format!("name the publisher, `{}`", reader.topology.node(PUBLISHER).name);
            let what = format!("{name} lives on the publisher only");
            Err(Problem::new(given.text("node").span(), what).help(help))
        }
        Holders::Publisher | Holders::EveryNode => Ok(()),
    }
}

/// The ending of a certificate's file.
const PEM: &str = ".pem";

/// The first node of a cluster.
const PUBLISHER: NodeId = ClusterId::FIRST.node(0);
