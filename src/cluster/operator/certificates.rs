//! Certificates: what an administrator does on the page *Certificate Management*.

use super::{Impact, Nodes, Operation};
use crate::base::{NodeId, Span, Time};
use crate::cluster::{ActionError, CertificateKind, Cluster, Effect, Topology};

/// `set cert regen`: new key and certificate, active after the restart of its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regenerate {
    /// Which certificate.
    pub certificate: CertificateKind,
    /// On which node.
    pub node: NodeId,
}

impl Operation for Regenerate {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.regenerate(self.node, self.certificate, now)
    }

    fn words(&self, topology: &Topology) -> String {
        let node = &topology.node(self.node).name;
        let what = format!("regenerate {} on {node}", self.certificate.name());
        match topology.auto_reset(self.certificate) {
            Some(spread) if !topology.resets_silently(self.certificate) => {
                format!("{what}, which resets all phones within {spread}")
            }
            _ => what,
        }
    }

    fn record(&self) -> String {
        format!("regenerate {} {}", self.node.node, self.certificate.name())
    }

    fn impact(&self, topology: &Topology) -> Impact {
        let signer = signer(self.certificate, Nodes::One(self.node));
        Impact { signer, wave: topology.auto_reset(self.certificate), ..Impact::NOTHING }
    }
}

/// `set csr gen`, a CA that signs the request, and `set cert import`: a certificate with dates of
/// its own, active after the restart of its service. On several nodes it is a multi-server
/// certificate: one key and one certificate for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Which certificate.
    pub certificate: CertificateKind,
    /// On which nodes; at least one.
    pub nodes: Vec<NodeId>,
    /// Common name of the CA.
    pub issuer: String,
    /// How long it is valid.
    pub valid: Span,
}

impl Operation for Import {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.import(&self.nodes, self.certificate, &self.issuer, self.valid, now)
    }

    fn words(&self, topology: &Topology) -> String {
        let names = self.nodes.iter().map(|&node| topology.node(node).name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        format!("import {} of {} on {names}", self.certificate.name(), self.issuer)
    }

    fn record(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| node.node.to_string()).collect();
        let (what, valid) = (self.certificate.name(), self.valid.as_nanos());
        format!("import {} {what} {} {valid}", nodes.join(","), self.issuer)
    }

    fn impact(&self, topology: &Topology) -> Impact {
        let signer = signer(self.certificate, Nodes::All);
        Impact { signer, wave: topology.auto_reset(self.certificate), ..Impact::NOTHING }
    }
}

/// Whose files another certificate may sign.
pub(super) const fn signer(certificate: CertificateKind, nodes: Nodes) -> Option<Nodes> {
    match certificate {
        CertificateKind::CallManager => Some(nodes),
        CertificateKind::ItlRecovery => Some(Nodes::All),
        CertificateKind::CallManagerEcdsa
        | CertificateKind::Capf
        | CertificateKind::Tvs
        | CertificateKind::Tomcat
        | CertificateKind::Ipsec => None,
    }
}
