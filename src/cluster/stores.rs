use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{NodeId, Time};
use crate::crypto::{Certificate, Credential};
use crate::wire::name_key;

use super::change::{Change, NodeSet, Stay};
use super::kinds::{CertificateKind, TrustStore, Unit};
use super::knowledge::{Knowledge, Listed, roles_of_kind, roles_of_store};

/// The certificates of a cluster: what each node presents and signs with, and what it trusts. What
/// TVS answers from is an index of it.
///
/// There is one list of what is trusted for all nodes: a change is in force at once where it is made
/// and reaches the other nodes with the replication, so that the page of a node at an instant is a
/// view of the list (CERT-15, CERT-30).
#[derive(Debug)]
pub struct Stores {
    nodes: Vec<NodeId>,
    own: BTreeMap<(NodeId, CertificateKind), Owned>,
    trust: Vec<Held>,
    index: Arc<Knowledge>,
}

#[derive(Debug)]
struct Owned {
    credential: Credential,
    listed: Listed,
}

/// A certificate in a trust store, on some node at some time.
#[derive(Debug)]
struct Held {
    store: TrustStore,
    /// The subject in its normal form: a certificate takes the place of one of the same store and
    /// subject, as a regenerated one overwrites its copy (CERT-11). CAPF's subjects are unique, so
    /// that its earlier certificates stay (CERT-10), and so do those of old host names (CERT-16).
    subject: String,
    source: Source,
    listed: Listed,
}

/// How a certificate came into a trust store of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It came with the installation (CERT-07).
    Preloaded,
    /// It is a copy of a service certificate of these nodes.
    Copy(CertificateKind, NodeSet),
    /// Somebody has imported it on this node.
    Imported(NodeId),
}

/// How a certificate came into the trust store of a node (CERT-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It came with the installation.
    Preloaded,
    /// It is a copy of one of the node's own.
    Own,
    /// Somebody has imported it here.
    Imported,
    /// It is from another node, by the replication of the cluster.
    Replicated(NodeId),
}

/// A line of the page *Certificate Management* of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it stands.
    pub unit: Unit,
    /// The certificate; its validity is [`Certificate::validity_s`] (CERT-33).
    pub certificate: Certificate,
    /// How it came there; `None` for what is the node's own.
    pub origin: Option<Origin>,
}

impl Item {
    /// The name of its file: that of the unit, or of what it trusts, such as `CAPF-1a2b3c4d.pem`.
    pub fn file_name(&self) -> String {
        match self.unit {
            Unit::Service(kind) => format!("{}.pem", kind.name()),
            Unit::Trust(_) => trust_file_name(&self.certificate),
        }
    }
}

/// A certificate that is trusted for no node that is there (CERT-10, CERT-16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// Where it stands.
    pub store: TrustStore,
    /// The certificate.
    pub certificate: Certificate,
    /// Why nothing presents it any more.
    pub why: WhyUnused,
}

/// Why a trusted certificate is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyUnused {
    /// Its common name is that of no node, such as one from before a rename.
    NoSuchNode,
    /// Its node has a newer one. One of CAPF is needed as long as there are LSCs that it signed.
    Superseded,
}

impl Stores {
    /// The empty stores of these nodes; `index` follows them.
    pub(super) const fn new(nodes: Vec<NodeId>, index: Arc<Knowledge>) -> Stores {
        Stores { nodes, own: BTreeMap::new(), trust: Vec::new(), index }
    }

    /// What TVS answers from.
    pub const fn index(&self) -> &Arc<Knowledge> {
        &self.index
    }

    /// The nodes.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// A certificate of a node and its key, if it has one of this kind.
    pub fn own(&self, node: NodeId, kind: CertificateKind) -> Option<&Credential> {
        self.own.get(&(node, kind)).map(|own| &own.credential)
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
        self.own.iter().map(|(&(node, kind), own)| (node, kind, &own.credential))
    }

    /// The page *Certificate Management* of a node at `now`: its own certificates in the order of
    /// their kinds, then what it trusts, by store and in the order in which it came.
    pub fn inventory(&self, node: NodeId, now: Time) -> Vec<Item> {
        let own = self.own.iter().filter(|((holder, _), _)| *holder == node);
        let own = own.map(|(&(_, kind), own)| Item {
            unit: Unit::Service(kind),
            certificate: own.credential.certificate().clone(),
            origin: None,
        });
        let mut trusted: Vec<&Held> = self.trusted_on(node, now).collect();
        trusted.sort_by_key(|held| held.store);
        let trusted = trusted.into_iter().map(|held| self.item(held, node));
        own.chain(trusted).collect()
    }

    /// What a node trusts at `now` by one of its stores.
    pub fn all_trusted(
        &self,
        node: NodeId,
        store: TrustStore,
        now: Time,
    ) -> impl Iterator<Item = &Certificate> {
        let held = self.trusted_on(node, now).filter(move |held| held.store == store);
        held.map(|held| &held.listed.certificate)
    }

    /// When a change that was made elsewhere reaches a node next after `now`, if any is on its way.
    pub fn next_change(&self, node: NodeId, now: Time) -> Option<Time> {
        let delay = self.index.delay();
        self.trust.iter().filter_map(|held| held.listed.stay.next_change(node, now, delay)).min()
    }

    fn trusted_on(&self, node: NodeId, now: Time) -> impl Iterator<Item = &Held> {
        let delay = self.index.delay();
        self.trust.iter().filter(move |held| held.listed.is_on(node, now, delay))
    }

    /// What the stores will hold when every change has reached every node.
    pub fn settled(&self) -> impl Iterator<Item = (TrustStore, &Certificate, Source)> {
        let stays = self.trust.iter().filter(|held| held.listed.stay.until.is_none());
        stays.map(|held| (held.store, &held.listed.certificate, held.source))
    }

    /// The roles of a certificate of this kind, as TVS says them.
    pub fn own_roles(&self, kind: CertificateKind) -> &'static [u8] {
        roles_of_kind(kind, self.index.release())
    }

    /// The roles of what stands in a trust store, as TVS says them.
    pub fn roles(&self, store: TrustStore, source: Source) -> &'static [u8] {
        match source {
            Source::Copy(kind, _) => self.own_roles(kind),
            Source::Preloaded => roles_of_store(TrustStore::Capf, self.index.release()),
            Source::Imported(_) => roles_of_store(store, self.index.release()),
        }
    }

    /// Copies of certificates that no node presents any more; `names` are those of the nodes.
    pub fn unused(&self, names: &[&str]) -> Vec<Unused> {
        let is_own = |certificate: &Certificate| {
            self.own.values().any(|own| own.credential.certificate() == certificate)
        };
        let unused = |(store, certificate, source): (TrustStore, &Certificate, Source)| {
            let Source::Copy(kind, _) = source else { return None };
            let name = certificate.common_name();
            let has_node = names.iter().any(|node| names_node(kind, name, node));
            let why = if has_node { WhyUnused::Superseded } else { WhyUnused::NoSuchNode };
            (!is_own(certificate)).then(|| Unused { store, certificate: certificate.clone(), why })
        };
        self.settled().filter_map(unused).collect()
    }

    /// A node has another certificate of its own; nothing is copied.
    pub(super) fn own_is(
        &mut self,
        node: NodeId,
        kind: CertificateKind,
        own: Credential,
        at: Time,
    ) {
        let listed = Listed {
            unit: Unit::Service(kind),
            certificate: own.certificate().clone(),
            roles: self.own_roles(kind),
            stay: Stay::from(Change::on(&[node], at)),
        };
        self.index.add(listed.clone());
        let earlier = self.own.insert((node, kind), Owned { credential: own, listed });
        earlier.into_iter().for_each(|earlier| self.index.alter(&earlier.listed, None));
    }

    /// A new certificate of these nodes, which copies itself to the stores of its kind (CERT-09 to
    /// CERT-14).
    pub(super) fn put(
        &mut self,
        nodes: &[NodeId],
        kind: CertificateKind,
        own: &Credential,
        since: Change,
    ) {
        for &node in nodes {
            self.own_is(node, kind, own.clone(), since.at);
        }
        let source = Source::Copy(kind, NodeSet::of(nodes));
        for &store in kind.copied_to() {
            self.trust(store, own.certificate(), source, since);
        }
    }

    /// Takes a certificate into a store, in the place of one with the same subject.
    pub(super) fn trust(
        &mut self,
        store: TrustStore,
        certificate: &Certificate,
        source: Source,
        since: Change,
    ) {
        self.forget(since.at);
        let subject = name_key(certificate.subject());
        let mut added = Held {
            store,
            source,
            listed: Listed {
                unit: Unit::Trust(store),
                certificate: certificate.clone(),
                roles: self.roles(store, source),
                stay: Stay::from(since),
            },
            subject,
        };
        let stays = |held: &Held| held.store == store && held.listed.stay.until.is_none();
        let same = self.trust.iter().position(|held| stays(held) && held.subject == added.subject);
        if let Some(at) = same {
            let earlier = &self.trust[at];
            if earlier.listed.certificate == *certificate
                && earlier.listed.stay.since.at == since.at
            {
                // A multi-server certificate is one entry for all its nodes.
                added.source = earlier.source.and(source);
                added.listed.stay.since.nodes = since.nodes.and(earlier.listed.stay.since.nodes);
                self.index.alter(&earlier.listed, None);
                self.trust.remove(at);
            } else {
                self.end(at, since);
            }
        }
        self.index.add(added.listed.clone());
        self.trust.push(added);
    }

    /// Deletes what a node trusts by this name, with or without `.pem`; the deletion replicates, or,
    /// if it `comes_back`, the copies of the other nodes do. `None` if the node has no such item there.
    pub(super) fn delete(
        &mut self,
        node: NodeId,
        store: TrustStore,
        name: &str,
        comes_back: bool,
        at: Time,
    ) -> Option<Item> {
        self.forget(at);
        let place = self.place(node, store, name, at)?;
        self.end(place, Change::on(&[node], at));
        if comes_back {
            let since = Change { at: at + self.index.delay(), nodes: NodeSet::ALL };
            let back = self.trust[place].again(since);
            self.index.add(back.listed.clone());
            self.trust.push(back);
        }
        Some(self.item(&self.trust[place], node))
    }

    /// What a node trusts by this name, with or without `.pem`, and nobody has deleted elsewhere.
    pub fn trusted(&self, node: NodeId, store: TrustStore, name: &str, at: Time) -> Option<Item> {
        let place = self.place(node, store, name, at)?;
        Some(self.item(&self.trust[place], node))
    }

    fn place(&self, node: NodeId, store: TrustStore, name: &str, at: Time) -> Option<usize> {
        let delay = self.index.delay();
        self.trust.iter().position(|held| {
            let file = trust_file_name(&held.listed.certificate);
            held.store == store
                && held.listed.stay.until.is_none()
                && held.listed.is_on(node, at, delay)
                && (file.eq_ignore_ascii_case(name)
                    || file.eq_ignore_ascii_case(&format!("{}.pem", name.replace(' ', "_"))))
        })
    }

    fn item(&self, held: &Held, node: NodeId) -> Item {
        Item {
            unit: Unit::Trust(held.store),
            certificate: held.listed.certificate.clone(),
            origin: Some(held.source.on(node, &self.nodes)),
        }
    }

    /// Forgets what the nodes trust because of a node: copies of its certificates, and what somebody
    /// has imported there.
    pub(super) fn wipe(&mut self, node: NodeId, at: Time) {
        self.forget(at);
        let alone = NodeSet::of(&[node]);
        for place in 0..self.trust.len() {
            let held = &self.trust[place];
            let is_of_it = match held.source {
                Source::Copy(_, of) => of == alone,
                Source::Imported(on) => on == node,
                Source::Preloaded => false,
            };
            if is_of_it && held.listed.stay.until.is_none() {
                self.end(place, Change::on(&[node], at));
            }
        }
    }

    fn end(&mut self, at: usize, until: Change) {
        let listed = &mut self.trust[at].listed;
        let stay = Stay { until: Some(until), ..listed.stay };
        self.index.alter(listed, Some(stay));
        listed.stay = stay;
    }

    /// Drops what is on no page any more.
    fn forget(&mut self, now: Time) {
        let index = &self.index;
        self.trust.retain(|held| {
            let is_over = held.listed.stay.is_over(now, index.delay());
            if is_over {
                index.alter(&held.listed, None);
            }
            !is_over
        });
    }
}

impl Held {
    /// The same certificate, which is there again since a later change.
    fn again(&self, since: Change) -> Held {
        Held {
            store: self.store,
            subject: self.subject.clone(),
            source: self.source,
            listed: Listed { stay: Stay::from(since), ..self.listed.clone() },
        }
    }
}

impl Source {
    /// What it is for a node.
    fn on(self, node: NodeId, nodes: &[NodeId]) -> Origin {
        match self {
            Source::Preloaded => Origin::Preloaded,
            Source::Copy(_, of) if of.contains(node) => Origin::Own,
            Source::Copy(_, of) => {
                let first = nodes.iter().copied().find(|&other| of.contains(other));
                first.map_or(Origin::Imported, Origin::Replicated)
            }
            Source::Imported(on) if on == node => Origin::Imported,
            Source::Imported(on) => Origin::Replicated(on),
        }
    }

    /// Of these nodes and those.
    const fn and(self, other: Source) -> Source {
        match (self, other) {
            (Source::Copy(kind, nodes), Source::Copy(_, others)) => {
                Source::Copy(kind, nodes.and(others))
            }
            _ => other,
        }
    }
}

/// Whether the common name of a certificate of this kind is one of a node with this name.
fn names_node(kind: CertificateKind, common_name: &str, node: &str) -> bool {
    match kind {
        // It names no node.
        CertificateKind::Capf => true,
        CertificateKind::ItlRecovery => common_name.strip_prefix("ITLRECOVERY_") == Some(node),
        CertificateKind::CallManagerEcdsa => common_name.strip_suffix("-EC") == Some(node),
        _ => common_name.strip_suffix("-ms").unwrap_or(common_name) == node,
    }
}

/// The name of the file of a trusted certificate, as the page shows it: its common name without
/// blanks.
fn trust_file_name(certificate: &Certificate) -> String {
    format!("{}.pem", certificate.common_name().replace(' ', "_"))
}

#[cfg(test)]
mod tests {
    use super::super::Release;
    use super::*;
    use crate::base::{ClusterId, Purpose, Span, stream};
    use crate::crypto::{CertificateSpec, Identity, KeySource};

    const NODES: [NodeId; 3] = {
        let cluster = ClusterId::FIRST;
        [cluster.node(0), cluster.node(1), cluster.node(2)]
    };
    const PUB: NodeId = NODES[0];
    const SUB: NodeId = NODES[1];
    const DELAY: u64 = 10;

    fn identity(name: &str, source: &mut KeySource) -> Identity {
        let spec =
            CertificateSpec { common_name: name, not_before_s: 1_700_000_000, key_bits: 2048 };
        Identity::self_signed(&spec, source)
    }

    fn stores(delay_s: u64) -> Stores {
        let index = Knowledge::new(Release::R8_6, Span::from_secs(delay_s));
        Stores::new(NODES.to_vec(), Arc::new(index))
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    /// Store and file of all that a node trusts.
    fn page(stores: &Stores, node: NodeId, seconds: u64) -> Vec<String> {
        let items = stores.inventory(node, at(seconds)).into_iter();
        let trusted = items.filter(|item| item.origin.is_some());
        trusted.map(|item| format!("{}/{}", item.unit.name(), item.file_name())).collect()
    }

    fn tvs_knows(stores: &Stores, node: NodeId, seconds: u64, certificate: &Certificate) -> bool {
        let (issuer, serial) = (certificate.issuer(), certificate.serial());
        stores.index.find(node, at(seconds), issuer, serial).is_some()
    }

    fn put(stores: &mut Stores, node: NodeId, kind: CertificateKind, own: &Identity, seconds: u64) {
        stores.put(&[node], kind, &own.clone().into(), Change::on(&[node], at(seconds)));
    }

    #[test]
    fn a_new_certificate_copies_itself_to_the_stores_of_its_kind_on_every_node() {
        let rows: [(CertificateKind, &[&str]); 5] = [
            (CertificateKind::Capf, &["CallManager-trust/new.pem", "CAPF-trust/new.pem"]),
            (CertificateKind::CallManager, &["CallManager-trust/new.pem"]),
            (CertificateKind::Ipsec, &["ipsec-trust/new.pem"]),
            (CertificateKind::Tomcat, &["tomcat-trust/new.pem"]),
            (CertificateKind::Tvs, &[]),
        ];
        for delay in [0, DELAY] {
            for (kind, expected) in rows {
                let mut stores = stores(delay);
                let new = identity("new", &mut KeySource::bank(1));
                put(&mut stores, SUB, kind, &new, 5);
                assert_eq!(page(&stores, SUB, 5), expected, "{kind:?}, delay {delay}");
                for other in [NODES[0], NODES[2]] {
                    let early = if delay == 0 { expected } else { &[] };
                    assert_eq!(page(&stores, other, 5), early, "{kind:?}, delay {delay}");
                    assert_eq!(page(&stores, other, 5 + delay), expected, "{kind:?}");
                    assert!(stores.own(other, kind).is_none(), "a copy has no key");
                    let knows = tvs_knows(&stores, other, 5 + delay, &new.certificate);
                    assert_eq!(knows, !expected.is_empty(), "{kind:?}");
                }
                assert!(tvs_knows(&stores, SUB, 5, &new.certificate), "its own, {kind:?}");
            }
        }
    }

    #[test]
    fn every_item_says_where_it_is_from() {
        let (mut stores, mut source) = (stores(0), KeySource::bank(1));
        put(&mut stores, SUB, CertificateKind::Tomcat, &identity("sub", &mut source), 0);
        let stranger = identity("unity", &mut source).certificate;
        let since = Change::on(&[PUB], at(0));
        stores.trust(TrustStore::Phone, &stranger, Source::Imported(PUB), since);
        stores.trust(TrustStore::Capf, &stranger, Source::Preloaded, Change::START);
        let origins = |node| -> Vec<Option<Origin>> {
            let items = stores.inventory(node, at(0));
            items.into_iter().map(|item| item.origin).collect()
        };
        let of = |origins: [Origin; 3]| origins.map(Some).to_vec();
        let expected = of([Origin::Preloaded, Origin::Replicated(SUB), Origin::Imported]);
        assert_eq!(origins(PUB), expected);
        let trusted = of([Origin::Preloaded, Origin::Own, Origin::Replicated(PUB)]);
        assert_eq!(origins(SUB), [vec![None], trusted].concat());
        assert_eq!(stores.inventory(SUB, at(0))[0].file_name(), "tomcat.pem");
    }

    #[test]
    fn a_regenerated_certificate_replaces_its_copies_but_a_new_name_does_not() {
        let (mut stores, mut source) = (stores(DELAY), KeySource::bank(1));
        let [old, new, renamed] = ["pub", "pub", "pub2"].map(|name| identity(name, &mut source));
        for (identity, seconds) in [(&old, 0), (&new, 20), (&renamed, 40)] {
            put(&mut stores, PUB, CertificateKind::CallManager, identity, seconds);
        }
        let known = |node, seconds| {
            [&old, &new, &renamed].map(|one| tvs_knows(&stores, node, seconds, &one.certificate))
        };
        assert_eq!(known(PUB, 40), [false, true, true], "the old name stays (CERT-16)");
        assert_eq!(known(SUB, 40), [false, true, false]);
        assert_eq!(known(SUB, 50), [false, true, true]);
        let presented = stores.own(PUB, CertificateKind::CallManager).unwrap();
        assert_eq!(*presented.certificate(), renamed.certificate);
        let unused = stores.unused(&["pub2", "sub"]);
        let [Unused { store: TrustStore::CallManager, certificate, why }] = &unused[..] else {
            panic!("{unused:?}");
        };
        assert_eq!((certificate, *why), (&new.certificate, WhyUnused::NoSuchNode));
        assert!(stores.delete(PUB, TrustStore::CallManager, "pub", false, at(60)).is_some());
        assert_eq!(stores.unused(&["pub2", "sub"]), []);
        assert!(!tvs_knows(&stores, PUB, 60, &new.certificate));
        assert!(tvs_knows(&stores, SUB, 69, &new.certificate));
        assert!(!tvs_knows(&stores, SUB, 70, &new.certificate), "not found after deletion");
    }

    #[test]
    fn earlier_certificates_of_capf_stay() {
        let (mut stores, mut source) = (stores(0), KeySource::bank(1));
        let names = ["CAPF-00000001", "CAPF-00000002", "CAPF-00000003"];
        for name in names {
            put(&mut stores, PUB, CertificateKind::Capf, &identity(name, &mut source), 0);
        }
        for store in ["CAPF-trust", "CallManager-trust"] {
            for node in NODES {
                let page = page(&stores, node, 0);
                let files: Vec<String> = names.map(|name| format!("{store}/{name}.pem")).into();
                assert!(files.iter().all(|file| page.contains(file)), "{page:?}");
            }
        }
        let unused = stores.unused(&["pub"]);
        assert_eq!(unused.len(), 4, "two in two stores");
        assert!(unused.iter().all(|one| one.why == WhyUnused::Superseded));
    }

    #[test]
    fn a_certificate_of_another_server_replaces_the_one_of_its_name() {
        let (mut stores, mut source) = (stores(0), KeySource::bank(1));
        let [old, new] = ["ccx", "ccx"].map(|name| identity(name, &mut source).certificate);
        for (certificate, seconds) in [(&old, 1), (&new, 2)] {
            let since = Change::on(&[SUB], at(seconds));
            stores.trust(TrustStore::Tomcat, certificate, Source::Imported(SUB), since);
        }
        assert_eq!(page(&stores, PUB, 2), ["tomcat-trust/ccx.pem"]);
        assert_eq!([&old, &new].map(|one| tvs_knows(&stores, PUB, 2, one)), [false, true]);
    }

    #[test]
    fn one_certificate_of_several_nodes_is_one_item_of_all_of_them() {
        let (mut stores, shared) = (stores(DELAY), identity("pub-ms", &mut KeySource::bank(1)));
        let nodes = [PUB, SUB];
        let own = shared.clone().into();
        stores.put(&nodes, CertificateKind::CallManager, &own, Change::on(&nodes, at(5)));
        assert_eq!(NODES.map(|node| page(&stores, node, 5).len()), [1, 1, 0]);
        assert_eq!(NODES.map(|node| page(&stores, node, 15).len()), [1, 1, 1]);
        assert_eq!(stores.sharing(SUB, CertificateKind::CallManager), nodes);
        // As a stored one comes: node by node.
        for node in nodes {
            stores.put(&[node], CertificateKind::Tomcat, &own, Change::START);
        }
        let tomcat = |node| page(&stores, node, 15).iter().filter(|f| f.contains("tomcat")).count();
        assert_eq!(NODES.map(tomcat), [1, 1, 1]);
    }

    #[test]
    fn whatever_happens_nodes_agree_once_it_has_replicated() {
        let mut source = KeySource::bank(7);
        let pool: Vec<Identity> =
            (0..12).map(|n| identity(&format!("n{}", n % 5), &mut source)).collect();
        for seed in 0..200 {
            let (mut stores, mut draws) = (stores(DELAY), stream(seed, 0, Purpose::Load));
            let mut draw = |below: usize| (draws.next_u64() % below as u64) as usize;
            let mut now = 0;
            for _ in 0..20 {
                now += draw(15) as u64;
                let (node, certificate) = (NODES[draw(3)], &pool[draw(12)]);
                let store = super::super::kinds::TRUST_STORES[draw(9)];
                let kind = super::super::kinds::CERTIFICATES[draw(7)];
                match draw(3) {
                    0 => put(&mut stores, node, kind, certificate, now),
                    1 => {
                        let since = Change::on(&[node], at(now));
                        let source = Source::Imported(node);
                        stores.trust(store, &certificate.certificate, source, since);
                    }
                    _ => {
                        let name = certificate.certificate.common_name();
                        stores.delete(node, store, name, false, at(now));
                    }
                }
            }
            let pages = NODES.map(|node| page(&stores, node, now + DELAY));
            assert!(pages.iter().all(|other| *other == pages[0]), "seed {seed}: {pages:?}");
            let mut settled: Vec<_> = stores.settled().map(|(store, ..)| store).collect();
            settled.sort();
            assert_eq!(pages[0].len(), settled.len(), "seed {seed}");
            for one in &pool {
                let certificate = &one.certificate;
                for node in NODES {
                    let items = stores.inventory(node, at(now + DELAY));
                    let listed = items.iter().any(|item| item.certificate == *certificate);
                    let known = tvs_knows(&stores, node, now + DELAY, certificate);
                    assert_eq!(known, listed, "seed {seed}: TVS knows the page (CERT-30)");
                }
            }
        }
    }
}
