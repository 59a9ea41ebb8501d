//! Certificates: what an administrator does on the page *Certificate Management*.

use super::{Impact, Nodes, Operation};
use crate::base::{NodeId, Span, Time};
use crate::cluster::{ActionError, CertificateKind, Cluster, Effect, Topology, TrustStore};
use crate::crypto::Certificate;

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
    /// Common name of the CA, whose certificate goes into the trust stores of the kind.
    pub issuer: String,
    /// Common name of the CA between that one and the certificate, if there is one.
    pub intermediate: Option<String>,
    /// How long it is valid.
    pub valid: Span,
}

impl Operation for Import {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.import(self, now)
    }

    fn words(&self, topology: &Topology) -> String {
        let names = self.nodes.iter().map(|&node| topology.node(node).name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        format!("import {} of {} on {names}", self.certificate.name(), self.issuer)
    }

    fn record(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| node.node.to_string()).collect();
        let (what, valid) = (self.certificate.name(), self.valid.as_nanos());
        let chain = self.intermediate.as_ref().map_or(String::new(), |name| format!(" {name}"));
        format!("import {} {what} {} {valid}{chain}", nodes.join(","), self.issuer)
    }

    fn impact(&self, topology: &Topology) -> Impact {
        let signer = signer(self.certificate, Nodes::All);
        Impact { signer, wave: topology.auto_reset(self.certificate), ..Impact::NOTHING }
    }
}

/// `set cert delete`: takes an item out of a trust store of a node, and of the others when the
/// deletion has replicated (CERT-01, CERT-16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteCertificate {
    /// On which node.
    pub node: NodeId,
    /// From which store.
    pub store: TrustStore,
    /// Its file as the page shows it, or its common name.
    pub name: String,
}

impl Operation for DeleteCertificate {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.delete_trusted(self.node, self.store, &self.name, now)
    }

    fn words(&self, topology: &Topology) -> String {
        let (name, store) = (&self.name, self.store.name());
        format!("delete {name} from {store} on {}", topology.node(self.node).name)
    }

    fn record(&self) -> String {
        format!("delete-certificate {} {} {}", self.node.node, self.store.name(), self.name)
    }

    fn impact(&self, topology: &Topology) -> Impact {
        Impact { wave: topology.restart_by_deletion(self.store), ..Impact::NOTHING }
    }
}

/// An upload to a trust store: the certificate of another server (CERT-17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportTrust {
    /// On which node.
    pub node: NodeId,
    /// Into which store.
    pub store: TrustStore,
    /// What is uploaded.
    pub upload: Upload,
}

/// What is uploaded to a trust store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upload {
    /// This certificate.
    Given(Certificate),
    /// One that another server has just made for itself.
    Made {
        /// Its common name.
        name: String,
        /// How long it is valid.
        valid: Span,
    },
}

impl Upload {
    fn name(&self) -> &str {
        match self {
            Upload::Given(certificate) => certificate.common_name(),
            Upload::Made { name, .. } => name,
        }
    }
}

impl Operation for ImportTrust {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.import_trusted(self.node, self.store, &self.upload, now);
        Ok(Vec::new())
    }

    fn words(&self, topology: &Topology) -> String {
        let (name, store) = (self.upload.name(), self.store.name());
        format!("import {name} into {store} on {}", topology.node(self.node).name)
    }

    fn record(&self) -> String {
        let what = match &self.upload {
            Upload::Given(certificate) => {
                format!("sha256 {:x?}", certificate.sha256())
            }
            Upload::Made { name, valid } => format!("{name} {}", valid.as_nanos()),
        };
        format!("import-trust {} {} {what}", self.node.node, self.store.name())
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
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
