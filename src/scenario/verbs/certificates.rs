use toml::Spanned;

use crate::base::{ClusterId, NodeId, Span};
use crate::cluster::operator::certificates::{Import, Regenerate};
use crate::cluster::{CERTIFICATES, CertificateKind, Holders, RELEASES, Release};

use super::super::error::Problem;
use super::super::names::{Text, check_host, check_unique, one_of};
use super::super::quantity::positive;
use super::{Argument, Given, Reader, Step, Verb, name_of};

pub(super) const VERBS: &[Verb] = &[REGENERATE, IMPORT];

const IMPORT: Verb = Verb {
    key: "import",
    word: "import",
    takes: &[
        Argument::text("certificate"),
        Argument::text("node"),
        Argument::text("issuer").or_none(),
        Argument::length("valid").or_none(),
    ],
    read: import,
    write: |entry, topology| {
        let Import { certificate, nodes, issuer, valid } = entry.action.get()?;
        let nodes: Vec<&str> = nodes.iter().map(|&id| topology.node(id).name.as_str()).collect();
        Some(vec![
            ("certificate", certificate.name().into()),
            ("node", nodes.join(",").into()),
            ("issuer", issuer.as_str().into()),
            ("valid", valid.to_string().into()),
        ])
    },
};

/// CA of a scenario that names none.
const ISSUER: &str = "Lab-CA";

/// How long a certificate of a CA is valid unless it is said: two years (choice).
const VALID: Span = Span::from_secs(2 * 365 * 86_400);

fn import(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    let certificate = certificate(given.text("certificate"))?;
    let text = given.text("node");
    if certificate == CertificateKind::ItlRecovery {
        let problem = Problem::new(text.span(), "ITLRecovery is never signed by a CA");
        return Err(problem.help("regenerate makes a new one"));
    }
    if certificate.is_ec() {
        let problem =
            Problem::new(text.span(), "a certificate with an EC key is not imported here");
        return Err(problem.help("regenerate makes a new one"));
    }
    let names = text.get_ref().split(',').map(|name| Spanned::new(text.span(), name.trim().into()));
    let names: Vec<Text> = names.collect();
    check_unique("node", &names)?;
    let nodes = names.iter().map(|name| reader.node(name)).collect::<Result<Vec<_>, _>>()?;
    let issuer = match given.text_if("issuer") {
        Some(name) => {
            check_host(name)?;
            name.get_ref().clone()
        }
        None => ISSUER.to_owned(),
    };
    let valid = given.length_if("valid").map_or(Ok(VALID), positive)?;
    Ok(Import { certificate, nodes, issuer, valid }.into())
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
