//! Certificates: what an administrator does on the page *Certificate Management*.

use super::{Impact, Operation};
use crate::base::{NodeId, Time};
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
        cluster.regenerate(self.node, self.certificate, now).map(|()| Vec::new())
    }

    fn words(&self, topology: &Topology) -> String {
        format!("regenerate {} on {}", self.certificate.name(), topology.node(self.node).name)
    }

    fn record(&self) -> String {
        format!("regenerate {} {}", self.node.node, self.certificate.name())
    }

    fn impact(&self) -> Impact {
        match self.certificate {
            CertificateKind::CallManager => Impact::Signer(Some(self.node)),
            CertificateKind::ItlRecovery => Impact::Signer(None),
            CertificateKind::Capf | CertificateKind::Tvs => Impact::Nothing,
        }
    }
}
