use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::NodeId;
use crate::crypto::{Certificate, Credential};
use crate::wire::name_key;

use super::kinds::CertificateKind;
use super::knowledge::Knowledge;

/// The certificates of a cluster: what each node presents and signs with, and what it trusts. What
/// TVS answers from is an index of it.
#[derive(Debug)]
pub struct Stores {
    nodes: Vec<NodeId>,
    own: BTreeMap<(NodeId, CertificateKind), Credential>,
    /// By node, kind and subject in its normal form: a certificate takes the place of one of the
    /// same kind and subject, as a regenerated one overwrites its copy (CERT-11). CAPF's subjects
    /// are unique, so that its earlier certificates stay (CERT-10), and so do those of old host
    /// names (CERT-16).
    trust: BTreeMap<(NodeId, CertificateKind, Arc<str>), Trusted>,
    index: Arc<Knowledge>,
}

/// A certificate in the trust store of a node (CERT-05).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The certificate.
    pub certificate: Certificate,
    /// Where it is from.
    pub origin: Origin,
}

/// How a certificate came into a trust store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is a copy of one of the node's own.
    Own,
    /// It is a copy of one of another node, by the replication of the cluster (CERT-30).
    Replicated(NodeId),
}

impl Stores {
    /// The empty stores of these nodes; `index` follows what they trust.
    pub(super) fn new(nodes: Vec<NodeId>, index: Arc<Knowledge>) -> Stores {
        Stores { nodes, own: BTreeMap::new(), trust: BTreeMap::new(), index }
    }

    /// What TVS answers from.
    pub const fn index(&self) -> &Arc<Knowledge> {
        &self.index
    }

    /// Takes the certificates of CTL tokens into phone-sast-trust (CERT-25).
    pub(super) fn admit<'a>(&self, tokens: impl Iterator<Item = &'a Certificate>) {
        tokens.for_each(|token| self.index.add_token(token));
    }

    /// A certificate of a node and its key, if it has one of this kind.
    pub fn own(&self, node: NodeId, kind: CertificateKind) -> Option<&Credential> {
        self.own.get(&(node, kind))
    }

    /// The nodes that have the same certificate and key of this kind as `node`, itself among them:
    /// more than one for a multi-server certificate.
    pub fn sharing(&self, node: NodeId, kind: CertificateKind) -> Vec<NodeId> {
        let of = |node| self.own(node, kind).map(|own| own.certificate().sha256());
        let here = of(node);
        self.nodes.iter().copied().filter(|&other| of(other) == here).collect()
    }

    /// Every certificate that is a node's own, with its key.
    pub fn identities(&self) -> impl Iterator<Item = (NodeId, CertificateKind, &Credential)> {
        self.own.iter().map(|(&(node, kind), own)| (node, kind, own))
    }

    /// What a node trusts.
    pub fn trusted(&self, node: NodeId) -> impl Iterator<Item = (CertificateKind, &Trusted)> {
        let here = self.trust.iter().filter(move |((holder, ..), _)| *holder == node);
        here.map(|((_, kind, _), trusted)| (*kind, trusted))
    }

    /// A new certificate of a node; a copy replicates to every node at once (`decisions.md`,
    /// mechanism).
    pub(super) fn put(&mut self, node: NodeId, kind: CertificateKind, own: Credential) {
        self.trust_copies(node, kind, own.certificate());
        self.own.insert((node, kind), own);
    }

    /// Every node trusts a copy of a certificate of `node`.
    fn trust_copies(&mut self, node: NodeId, kind: CertificateKind, certificate: &Certificate) {
        let subject: Arc<str> = name_key(certificate.subject()).into();
        for &holder in &self.nodes {
            let origin = if holder == node { Origin::Own } else { Origin::Replicated(node) };
            let trusted = Trusted { certificate: certificate.clone(), origin };
            let earlier = self.trust.insert((holder, kind, Arc::clone(&subject)), trusted);
            earlier.into_iter().for_each(|earlier| self.index.remove(kind, &earlier.certificate));
        }
        self.index.add(kind, certificate);
    }

    /// The database of a node has this certificate again, and every node trusts it; its file stays.
    pub(super) fn record(
        &mut self,
        node: NodeId,
        kind: CertificateKind,
        certificate: &Certificate,
    ) {
        self.trust_copies(node, kind, certificate);
    }

    /// Forgets what a node has had every node trust.
    pub(super) fn wipe(&mut self, node: NodeId) {
        let nodes = &self.nodes;
        let index = &self.index;
        self.trust.retain(|(holder, kind, _), trusted| {
            let is_of_it = match trusted.origin {
                Origin::Own => *holder == node,
                Origin::Replicated(from) => from == node,
            };
            if is_of_it && Some(holder) == nodes.first() {
                index.remove(*kind, &trusted.certificate);
            }
            !is_of_it
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::Release;
    use super::*;
    use crate::base::ClusterId;
    use crate::crypto::{CertificateSpec, Identity, KeySource};

    const PUB: NodeId = ClusterId::FIRST.node(0);
    const SUB: NodeId = ClusterId::FIRST.node(1);

    fn identity(name: &str, source: &mut KeySource) -> Identity {
        let spec =
            CertificateSpec { common_name: name, not_before_s: 1_700_000_000, key_bits: 2048 };
        Identity::self_signed(&spec, source)
    }

    fn stores() -> Stores {
        Stores::new(vec![PUB, SUB], Arc::new(Knowledge::new(Release::R8_6)))
    }

    #[test]
    fn every_node_trusts_a_copy_and_knows_where_it_is_from() {
        let (mut stores, mut source) = (stores(), KeySource::bank(1));
        let own = identity("sub", &mut source);
        stores.put(SUB, CertificateKind::Tvs, own.clone().into());
        let origins = [PUB, SUB].map(|node| {
            let [(CertificateKind::Tvs, trusted)] = stores.trusted(node).collect::<Vec<_>>()[..]
            else {
                panic!("one certificate");
            };
            assert_eq!(trusted.certificate, own.certificate);
            trusted.origin
        });
        assert_eq!(origins, [Origin::Replicated(SUB), Origin::Own]);
        assert!(stores.own(PUB, CertificateKind::Tvs).is_none(), "a copy has no key");
    }

    #[test]
    fn a_regenerated_certificate_replaces_its_copies_but_a_new_name_does_not() {
        let (mut stores, mut source) = (stores(), KeySource::bank(1));
        let [old, new, renamed] = ["pub", "pub", "pub2"].map(|name| identity(name, &mut source));
        for identity in [&old, &new, &renamed] {
            stores.put(PUB, CertificateKind::CallManager, identity.clone().into());
        }
        for node in [PUB, SUB] {
            let trusted: Vec<_> = stores.trusted(node).map(|(_, t)| &t.certificate).collect();
            assert_eq!(trusted, [&new.certificate, &renamed.certificate]);
        }
        let known = [old, new, renamed.clone()].map(|Identity { certificate, .. }| {
            stores.index.find(certificate.issuer(), certificate.serial()).is_some()
        });
        assert_eq!(known, [false, true, true]);
        let presented = stores.own(PUB, CertificateKind::CallManager).unwrap();
        assert_eq!(*presented.certificate(), renamed.certificate);
    }
}
