//! Certificates: what an administrator does on the page *Certificate Management*.

use super::{Impact, Nodes, Operation};
use crate::base::{NodeId, Span, Time};
use crate::cluster::{ActionError, CertificateKind, Cluster, Effect, Topology, TrustStore};
use crate::crypto::{Certificate, TlsEnd};

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
    /// The one end of a TLS connection that it is for by its extensions; `None`: both.
    pub only: Option<TlsEnd>,
}

/// The one end that a certificate is for, behind `before`; nothing for both.
fn only_in_words(only: Option<TlsEnd>, before: &str, behind: &str) -> String {
    only.map(|end| format!("{before}{}{behind}", end.name())).unwrap_or_default()
}

impl Operation for Import {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.import(self, now)
    }

    fn words(&self, topology: &Topology) -> String {
        let names = self.nodes.iter().map(|&node| topology.node(node).name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let only = only_in_words(self.only, ", for a TLS ", " only");
        format!("import {} of {} on {names}{only}", self.certificate.name(), self.issuer)
    }

    fn record(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| node.node.to_string()).collect();
        let (what, valid) = (self.certificate.name(), self.valid.as_nanos());
        let chain = self.intermediate.as_ref().map_or(String::new(), |name| format!(" {name}"));
        let only = only_in_words(self.only, " ", "");
        format!("import {} {what} {} {valid}{chain}{only}", nodes.join(","), self.issuer)
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
    /// That of another server or of a CA.
    Of {
        /// Its common name.
        name: String,
        /// How long one is valid that the server makes for itself now; `None`: it is the one that
        /// the server presents or the CA has, or a new one for [`Upload::VALID`] if none is known.
        valid: Option<Span>,
    },
}

impl Upload {
    /// How long the certificate of another server is valid unless it is said: two years (choice).
    pub const VALID: Span = Span::from_secs(2 * 365 * 86_400);

    fn name(&self) -> &str {
        match self {
            Upload::Given(certificate) => certificate.common_name(),
            Upload::Of { name, .. } => name,
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
            Upload::Of { name, valid: Some(valid) } => format!("{name} {}", valid.as_nanos()),
            Upload::Of { name, valid: None } => name.clone(),
        };
        format!("import-trust {} {} {what}", self.node.node, self.store.name())
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}

/// Another server, the peer of probes, presents another certificate from now on: what trusts its
/// earlier one is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewPeer {
    /// What the nodes call the server.
    pub peer: String,
    /// The common name of the certificate: that of the server unless somebody has made a mistake.
    pub name: String,
    /// Common name of the CA that signs it; `None`: the server itself.
    pub issuer: Option<String>,
    /// Common name of the CA between that one and the certificate, which the server presents, too.
    pub intermediate: Option<String>,
    /// How long it is valid.
    pub valid: Span,
    /// The one end of a TLS connection that it is for by its extensions; `None`: both.
    pub only: Option<TlsEnd>,
}

impl RenewPeer {
    /// A server makes a certificate for itself, with its own name.
    pub fn by_itself(peer: &str, valid: Span) -> RenewPeer {
        let name = peer.to_owned();
        RenewPeer {
            peer: peer.to_owned(),
            name,
            issuer: None,
            intermediate: None,
            valid,
            only: None,
        }
    }
}

impl Operation for RenewPeer {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.renew_peer(self, now);
        Ok(Vec::new())
    }

    fn words(&self, _: &Topology) -> String {
        let name = if self.name == self.peer { "" } else { &format!(" as {}", self.name) };
        let by = self.issuer.as_ref().map(|issuer| format!(" by {issuer}")).unwrap_or_default();
        let only = only_in_words(self.only, ", for a TLS ", " only");
        format!("{} renews its certificate{name}{by}{only}", self.peer)
    }

    fn record(&self) -> String {
        let RenewPeer { peer, name, issuer, intermediate, valid, only } = self;
        let only = only_in_words(*only, " ", "");
        let [issuer, between] = [issuer, intermediate].map(|ca| ca.as_deref().unwrap_or("-"));
        format!("renew-peer {peer} {name} {issuer} {between} {}{only}", valid.as_nanos())
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
