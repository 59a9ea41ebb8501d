//! Certificates: what an administrator does on the page *Certificate Management*.

use super::{Impact, Nodes, Operation};
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
        cluster.regenerate(self.node, self.certificate, now)?;
        Ok(cluster.automatic_update(self.node, self.certificate, now))
    }

    fn words(&self, topology: &Topology) -> String {
        let node = &topology.node(self.node).name;
        let what = format!("regenerate {} on {node}", self.certificate.name());
        match topology.auto_reset(self.certificate) {
            Some(spread) => format!("{what}, which resets all phones within {spread}"),
            None => what,
        }
    }

    fn record(&self) -> String {
        format!("regenerate {} {}", self.node.node, self.certificate.name())
    }

    fn impact(&self, topology: &Topology) -> Impact {
        let signer = match self.certificate {
            CertificateKind::CallManager => Some(Nodes::One(self.node)),
            CertificateKind::ItlRecovery => Some(Nodes::All),
            CertificateKind::CallManagerEcdsa | CertificateKind::Capf | CertificateKind::Tvs => {
                None
            }
        };
        Impact { signer, wave: topology.auto_reset(self.certificate), ..Impact::NOTHING }
    }
}
