//! Certificates that a CA outside of the cluster signs: its request leaves, its certificate comes.

use super::certificates::signer;
use super::{Impact, Nodes, Operation};
use crate::base::{NodeId, Time};
use crate::cluster::{ActionError, CertificateKind, Cluster, Effect, Topology};
use crate::crypto::Certificate;

/// `set csr gen`: a new key that waits for its certificate; what is in force stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestCertificate {
    /// Which certificate.
    pub certificate: CertificateKind,
    /// Of which node.
    pub node: NodeId,
}

impl Operation for RequestCertificate {
    fn apply(&self, cluster: &mut Cluster, _: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.request_certificate(self.node, self.certificate).map(|()| Vec::new())
    }

    fn words(&self, topology: &Topology) -> String {
        let node = &topology.node(self.node).name;
        format!("request a certificate for {} on {node}", self.certificate.name())
    }

    fn record(&self) -> String {
        format!("request {} {}", self.node.node, self.certificate.name())
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}

/// `set cert import own`: the certificate that a CA has made of the last request; active after the
/// restart of its service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportOwn {
    /// Which certificate it becomes.
    pub certificate: CertificateKind,
    /// On which node.
    pub node: NodeId,
    /// What the CA has signed.
    pub signed: Certificate,
}

impl Operation for ImportOwn {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.import_own(self.node, self.certificate, &self.signed, now)
    }

    fn words(&self, topology: &Topology) -> String {
        let (what, node) = (self.certificate.name(), &topology.node(self.node).name);
        format!("import {what} of {} on {node}", self.signed.issuer())
    }

    fn record(&self) -> String {
        let digest: String = self.signed.sha1().iter().map(u8::to_string).collect();
        format!("import-own {} {} {digest}", self.node.node, self.certificate.name())
    }

    fn impact(&self, topology: &Topology) -> Impact {
        let signer = signer(self.certificate, Nodes::One(self.node));
        Impact { signer, wave: topology.auto_reset(self.certificate), ..Impact::NOTHING }
    }
}
