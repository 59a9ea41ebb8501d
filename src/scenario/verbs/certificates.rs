use crate::base::{ClusterId, NodeId};
use crate::cluster::operator::certificates::Regenerate;
use crate::cluster::{CERTIFICATES, CertificateKind, RELEASES, Release};

use super::super::error::Problem;
use super::super::names::{Text, one_of};
use super::{Argument, Given, Reader, Step, Verb, name_of};

pub(super) const VERBS: &[Verb] = &[Verb {
    key: "regenerate",
    word: "regenerate",
    takes: &[Argument::text("certificate"), Argument::text("node")],
    read: regenerate,
    write: |entry, topology| {
        let Regenerate { certificate, node } = entry.action.get()?;
        let certificate = certificate.name().into();
        Some(vec![("certificate", certificate), ("node", name_of(topology, *node))])
    },
}];

fn regenerate(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    let certificate = certificate(given.text("certificate"))?;
    let node = reader.node(given.text("node"))?;
    if certificate == CertificateKind::ItlRecovery {
        check_itl_recovery(given, node, reader)?;
    }
    Ok(Regenerate { certificate, node }.into())
}

/// The certificate with this name; as a file (`CallManager.pem`) and in any case, too.
pub(super) fn certificate(text: &Text) -> Result<CertificateKind, Problem> {
    let given = text.get_ref().trim();
    let stem = given.len().checked_sub(PEM.len()).and_then(|at| given.split_at_checked(at));
    let name = match stem {
        Some((name, end)) if end.eq_ignore_ascii_case(PEM) => name,
        _ => given,
    };
    let found = CERTIFICATES.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name));
    found.map_or_else(|| one_of(text, "certificate", &CERTIFICATES, CertificateKind::name), Ok)
}

fn check_itl_recovery(given: &Given, node: NodeId, reader: &Reader<'_>) -> Result<(), Problem> {
    let release = reader.topology.release;
    if !release.has_itl_recovery() {
        let having = RELEASES.into_iter().find(|release| release.has_itl_recovery());
        let what = format!("release {release} has no ITLRecovery certificate");
        let help = format!("it exists from {} on", having.map_or("no release", Release::name));
        return Err(Problem::new(given.text("certificate").span(), what).help(help));
    }
    if node != PUBLISHER {
        let help = format!("name the publisher, `{}`", reader.topology.node(PUBLISHER).name);
        let place = given.text("node").span();
        return Err(Problem::new(place, "ITLRecovery lives on the publisher only").help(help));
    }
    Ok(())
}

/// The ending of a certificate's file.
const PEM: &str = ".pem";

/// The first node of a cluster.
const PUBLISHER: NodeId = ClusterId::FIRST.node(0);
