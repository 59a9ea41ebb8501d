use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::{
    Calendar, DeviceName, Home, HostTable, Model, NodeId, PhoneId, Purpose, Span, Time, stream,
};
use crate::crypto::{
    Certificate, CertificateSpec, Credential, EcIdentity, FIVE_YEARS_S, Identity, KeySource,
    SigningKey, TlsEnd, certificate_request, manufacturers,
};
use crate::wire::Dialogue;

use super::capf_counts::CapfCounts;
use super::capf_settings::CapfSettings;
use super::catalogue::{Catalogue, Contents, FleetSpec};
use super::change::{Change, NodeSet};
use super::ctl::{CtlContent, CtlFile, CtlMethod, CtlNode, Manner};
use super::defect::Defect;
use super::devices::{DeviceTable, IssuerId, LscJob, LscReport, Row};
use super::drs::{Backup, Drs, Mismatch};
use super::itl::ItlContent;
use super::kinds::{
    CERTIFICATES, CertificateKind, FileSignature, IMPLIED_SERVICES, ServiceKind, TrustStore, Unit,
};
use super::knowledge::Knowledge;
use super::monitor::Monitor;
use super::operator::certificates::{Import, RenewPeer, Upload};
use super::operator::ctl::{ResetList, UpdateCtl};
use super::operator::hosts::Rename;
use super::operator::lsc::{LscPace, LscPhones, Resets, RollOutLsc, SetProfile};
use super::operator::phones::Visits;
use super::release::Holders;
use super::security::{CtlKeeper, SecurityMode};
use super::services::{
    CallManager, CapfSetup, DialogueService, Dialogues, Service, WebService, dialogue_service,
    presents, web_service,
};
use super::settings::{KeptSettings, Settings};
use super::sign_cache::SignCache;
use super::stores::{Item, Origin, Source, Stores};
use super::tftp_service::{Lists, Signers, TftpService};
use super::topology::Topology;

/// A simulated CUCM cluster: what the database and the certificate stores of its nodes hold.
///
/// Services that run are immutable values ([`Service`]) which [`Cluster::apply`]
/// hands out at every start, so that serving needs no lock and a regenerated certificate cannot
/// show before its service was restarted. Knowledge and sign cache are shared by all of them.
#[derive(Debug)]
pub struct Cluster {
    topology: Topology,
    fleet: FleetSpec,
    nodes: Vec<NodeState>,
    source: KeySource,
    /// Where those of Tomcat and `IPsec` come from.
    beside: KeySource,
    /// Unix seconds at the start of the run.
    calendar: Arc<Calendar>,
    pub(super) monitor: Monitor,
    stores: Stores,
    /// Keys whose certificates a CA outside has still to sign.
    requests: BTreeMap<(NodeId, CertificateKind), Arc<SigningKey>>,
    /// Root CAs that have signed certificates of nodes, by their names.
    authorities: BTreeMap<String, Identity>,
    /// What other servers present that connect to the nodes or to phones, by their names.
    peers: BTreeMap<String, Vec<Certificate>>,
    /// Its CTL and who signs it.
    ctl: CtlKeeper,
    /// Its backups, and what a restore has left to repair.
    drs: Drs,
    /// The enterprise parameter "Prepare Cluster for Rollback to pre 8.0".
    rollback: bool,
    /// What the scenario says of what an administrator sets.
    given: Settings,
    cache: Arc<SignCache>,
    catalogue: Arc<Catalogue>,
    hosts: Arc<HostTable>,
    contents: Contents,
    /// What the database knows of phones and their LSCs.
    devices: Arc<DeviceTable>,
    /// What CAPF counts, over all its starts.
    capf_counts: Arc<CapfCounts>,
}

/// The services of one node that run.
#[derive(Debug, Default)]
struct NodeState {
    running: BTreeMap<ServiceKind, Service>,
    /// The own certificate of each service as it was when it last started; none of what has stopped,
    /// nor of what presents none.
    presented: BTreeMap<ServiceKind, Certificate>,
    /// Services that somebody has stopped, of those for which nothing listens.
    halted: BTreeSet<ServiceKind>,
    /// Services that must be restarted before the node does what its database says (REG-10).
    due: BTreeSet<ServiceKind>,
}

/// What a driver has to do after an operator action.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Reset all phones, each at its own instant within the spread.
    ResetPhones {
        /// Length of the wave.
        spread: Span,
    },
    /// Reset some phones, in batches.
    Resets(Resets),
    /// People erase the lists of phones, which boot then.
    Visits(Visits),
    /// These phones belong there from now on: each learns of it when it boots next.
    MovePhones(Arc<[PhoneId]>, Home),
    /// A service has started or stopped.
    Service(ServiceChange),
    /// A backup was made: it can be kept where a later run finds it.
    BackedUp(Arc<Backup>),
    /// Nothing to do: whoever reads the result must know of it.
    Warn(String),
}

/// What runs where from now on.
#[derive(Clone, Debug)]
pub enum ServiceChange {
    /// A service of a node runs, in place of an earlier one if there was one.
    Started {
        /// Where.
        node: NodeId,
        /// What it serves, presents and knows.
        service: Service,
    },
    /// A service of a node runs no longer.
    Stopped {
        /// Where.
        node: NodeId,
        /// Which one.
        service: ServiceKind,
    },
}

impl ServiceChange {
    /// Whether connections end with it that phones keep.
    pub fn ends_connections(&self) -> bool {
        let service = match self {
            ServiceChange::Started { service, .. } => service.kind(),
            ServiceChange::Stopped { service, .. } => *service,
        };
        service.dialogues().iter().any(|dialogue| dialogue.rules().ends_with_service)
    }
}

/// Why an operator action cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The service is not active on the node.
    #[error("service {service} is not active on node {node}; activate it in the scenario")]
    ServiceNotActive {
        /// Name of the service.
        service: &'static str,
        /// Name of the node.
        node: String,
    },
    /// The certificate does not exist there.
    #[error("node {node} has no {certificate} certificate in this release")]
    NoCertificate {
        /// Name of the certificate.
        certificate: &'static str,
        /// Name of the node.
        node: String,
    },
    /// The certificate was not made of the last request, or there is none.
    #[error(
        "the certificate has another key than the last request for {certificate} on node {node}; \
         `set csr gen` makes a request for a CA to sign"
    )]
    NotRequested {
        /// Name of the certificate.
        certificate: &'static str,
        /// Name of the node.
        node: String,
    },
    /// The trust store of the node has no such item.
    #[error(
        "{store} on node {node} has no certificate {name}; name one of its page, such as that of a \
         node before its rename, and mind that a change takes its time to other nodes"
    )]
    NotTrusted {
        /// What was to be deleted.
        name: String,
        /// Name of the store.
        store: &'static str,
        /// Name of the node.
        node: String,
    },
    /// There is no CTL to update.
    #[error(
        "the cluster is not in mixed mode, so that it has no CTL to update; set its security-mode \
         to mixed first"
    )]
    NonSecure,
    /// The cluster has no phone of this model.
    #[error("the cluster has no phone of model {model}; name one of fleet.models")]
    NoModel {
        /// The model.
        model: String,
    },
    /// The cluster has no phone of this group or profile.
    #[error("the cluster has no {what} {name}; name one of the scenario")]
    NoPhones {
        /// `group` or `profile`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Nobody has this token, or it is none of the original set-up (CTL-05).
    #[error("token {token} is none of those that the CTL was made with; name one of them")]
    NoToken {
        /// Its name.
        token: String,
    },
    /// The cluster has taken the command and failed: a result, not a fault of the plan.
    #[error("{0}")]
    Failed(String),
}

/// What a cluster starts from.
#[derive(Debug)]
pub struct Genesis {
    /// Its shape, with the real port numbers.
    pub topology: Topology,
    /// Its phones.
    pub fleet: FleetSpec,
    /// Where keys come from.
    pub source: KeySource,
    /// Unix seconds at the start of the run.
    pub epoch_s: u64,
    /// What is there from an earlier run.
    pub stored: Stored,
}

/// What a cluster keeps from one run to the next; whatever is not there is made.
#[derive(Debug, Default)]
pub struct Stored {
    /// Certificates and keys of the nodes.
    pub own: BTreeMap<(NodeId, CertificateKind), Credential>,
    /// Tokens that sign the CTL, by their names.
    pub etokens: BTreeMap<String, Identity>,
    /// The CTL as it stood on the TFTP nodes.
    pub ctl: Option<CtlFile>,
    /// Backups, the oldest first.
    pub backups: Vec<Backup>,
    /// What the databases of nodes have whose CallManager.pem is another one.
    pub recorded: BTreeMap<NodeId, Certificate>,
    /// What the nodes trusted, if there was an earlier run.
    pub trust: Option<Vec<StoredTrust>>,
    /// Keys whose certificates a CA outside has still to sign.
    pub requests: BTreeMap<(NodeId, CertificateKind), Arc<SigningKey>>,
    /// Root CAs that have signed certificates of nodes, by their names.
    pub authorities: BTreeMap<String, Identity>,
    /// What other servers presented, each its own certificate first, by their names.
    pub peers: BTreeMap<String, Vec<Certificate>>,
    /// What the database knew of phones and their LSCs.
    pub devices: Vec<(PhoneId, Row)>,
    /// What was set, if there was an earlier run.
    pub settings: Option<KeptSettings>,
}

/// A certificate of a trust store and how it came there.
pub type StoredTrust = (TrustStore, Certificate, Source);

impl Cluster {
    /// Builds a cluster whose services have all started.
    pub fn new(genesis: Genesis) -> Cluster {
        Cluster::with_contents(genesis, Contents::OfEachPhone)
    }

    /// Like [`Cluster::new`], with configurations of phones that differ or do not.
    pub fn with_contents(genesis: Genesis, contents: Contents) -> Cluster {
        let Genesis { mut topology, fleet, mut source, epoch_s, stored } = genesis;
        let given = Settings::given(&topology);
        let was_set = stored.settings.as_ref().map(|earlier| given.clone().resumed(earlier));
        let set = was_set.clone().unwrap_or_else(|| given.clone());
        topology.file_signature = set.file_signature;
        topology.secured_urls = set.secured_urls;
        let known: BTreeSet<String> = stored.etokens.keys().cloned().collect();
        let knowledge = Arc::new(Knowledge::new(topology.release, topology.replication_delay));
        let nodes = topology.ids().collect();
        let beside = source.beside();
        let devices = Arc::new(DeviceTable::kept(fleet.phones, stored.devices));
        let mut cluster = Cluster {
            stores: Stores::new(nodes, knowledge),
            authorities: stored.authorities,
            peers: stored.peers,
            ctl: CtlKeeper::new(&topology.security, stored.etokens, epoch_s, &mut source),
            drs: Drs::of(stored.backups, stored.recorded),
            requests: stored.requests,
            rollback: set.rollback,
            given,
            cache: Arc::new(SignCache::new(topology.sign_cache)),
            catalogue: Arc::new(Catalogue::new(&topology, &fleet, contents, &devices)),
            devices,
            capf_counts: Arc::default(),
            hosts: Arc::new(HostTable::default()),
            contents,
            nodes: topology.ids().map(|_| NodeState::default()).collect(),
            topology,
            fleet,
            beside,
            source,
            calendar: Arc::new(Calendar::new(epoch_s)),
            monitor: Monitor::new(epoch_s),
        };
        cluster.fill_stores(stored.own, stored.trust, &known);
        cluster.trust_lsc_issuer();
        cluster.ctl.set(set.security_mode, set.ctl_method, set.token.as_deref());
        let was_left = was_set.is_some_and(|set| set.security_mode == SecurityMode::NonSecure);
        match (stored.ctl, cluster.ctl.mode) {
            // It is what phones hold, whatever has become of the certificates in it (CTL-03), and
            // stays when mixed mode is left.
            (Some(ctl), SecurityMode::Mixed) => cluster.ctl.file = Some(Arc::new(ctl)),
            (Some(ctl), SecurityMode::NonSecure) if was_left => {
                cluster.ctl.file = Some(Arc::new(ctl));
            }
            (None, SecurityMode::Mixed) => cluster.sign_ctl(Time::ZERO),
            (_, SecurityMode::NonSecure) => {}
        }
        for node in cluster.node_ids() {
            cluster.add_record(node, &cluster.name(node));
            for service in cluster.services(node, None).unwrap_or_default() {
                cluster.start(node, service, Time::ZERO);
            }
        }
        cluster.judge_lscs(Time::ZERO);
        cluster
    }

    /// Fills the stores with what is there from an earlier run, tokens with `known` names among it,
    /// and makes the rest. What was deleted then stays deleted.
    fn fill_stores(
        &mut self,
        mut own: BTreeMap<(NodeId, CertificateKind), Credential>,
        trust: Option<Vec<StoredTrust>>,
        known: &BTreeSet<String>,
    ) {
        let is_new = trust.is_none();
        let preloaded = || {
            let stores = [TrustStore::CallManager, TrustStore::Capf];
            let all = manufacturers().iter().map(|one| &one.certificate);
            all.flat_map(move |all| stores.map(|store| (store, all.clone(), Source::Preloaded)))
        };
        for (store, certificate, source) in trust.unwrap_or_else(|| preloaded().collect()) {
            self.stores.trust(store, &certificate, source, Change::START);
        }
        for node in self.node_ids() {
            for kind in self.certificate_kinds(node) {
                match own.remove(&(node, kind)) {
                    Some(own) if !is_new => self.stores.own_is(node, kind, own, Time::ZERO),
                    Some(own) => self.stores.put(&[node], kind, &own, Change::START),
                    None => {
                        let own = self.issue(node, kind, self.first_day_s(node, kind));
                        self.stores.put(&[node], kind, &own, Change::START);
                    }
                }
            }
        }
        self.trust_tokens(|name| is_new || !known.contains(name), Change::START);
    }

    /// The CTL client brings its tokens into phone-sast-trust of the publisher (CERT-25).
    fn trust_tokens(&mut self, which: impl Fn(&String) -> bool, since: Change) {
        let imported = Source::Imported(self.publisher());
        for (_, token) in self.ctl.tokens.iter().filter(|(name, _)| which(name)) {
            self.stores.trust(TrustStore::PhoneSast, &token.certificate, imported, since);
        }
    }

    /// The shape of the cluster as it is now.
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Which date it is for the cluster and its phones.
    pub const fn calendar(&self) -> &Arc<Calendar> {
        &self.calendar
    }

    /// The phones of the cluster.
    pub const fn fleet(&self) -> &FleetSpec {
        &self.fleet
    }

    /// The TFTP service that runs on a node.
    pub fn tftp(&self, node: NodeId) -> Option<&Arc<TftpService>> {
        match self.nodes[node.index()].running.get(&ServiceKind::Tftp)? {
            Service::Tftp(service) => Some(service),
            Service::Dialogues(_) | Service::Web(_) => None,
        }
    }

    /// The service of this dialogue that runs on a node.
    pub fn dialogue(&self, node: NodeId, dialogue: Dialogue) -> Option<&Arc<DialogueService>> {
        match self.nodes[node.index()].running.get(&ServiceKind::of(dialogue))? {
            Service::Dialogues(service) => {
                service.all.iter().find(|service| service.dialogue == dialogue)
            }
            Service::Tftp(_) | Service::Web(_) => None,
        }
    }

    /// Tomcat that runs on a node, if it has pages for phones.
    pub fn web(&self, node: NodeId) -> Option<&Arc<WebService>> {
        match self.nodes[node.index()].running.get(&ServiceKind::Tomcat)? {
            Service::Web(service) => Some(service),
            Service::Tftp(_) | Service::Dialogues(_) => None,
        }
    }

    /// The certificate of its own with which a service of a node has started, whether anything listens
    /// for phones there or not; `None` if it does not run or has none.
    pub fn presented(&self, node: NodeId, service: ServiceKind) -> Option<&Certificate> {
        self.nodes[node.index()].presented.get(&service)
    }

    /// The services that run on a node.
    pub fn services_of(&self, node: NodeId) -> impl Iterator<Item = &Service> {
        self.nodes[node.index()].running.values()
    }

    /// The sign cache of the cluster.
    pub const fn sign_cache(&self) -> &Arc<SignCache> {
        &self.cache
    }

    /// The DNS records of the nodes; empty if configurations carry addresses.
    pub const fn hosts(&self) -> &Arc<HostTable> {
        &self.hosts
    }

    /// What TVS answers from.
    pub const fn knowledge(&self) -> &Arc<Knowledge> {
        self.stores.index()
    }

    /// The tokens that sign the CTL, by their names.
    pub fn etokens(&self) -> impl Iterator<Item = &(String, Identity)> {
        self.ctl.tokens.iter()
    }

    /// Root CAs that have signed certificates of nodes, by their names.
    pub fn authorities(&self) -> impl Iterator<Item = (&String, &Identity)> {
        self.authorities.iter()
    }

    /// What other servers present, each its own certificate first, by their names.
    pub const fn peers(&self) -> &BTreeMap<String, Vec<Certificate>> {
        &self.peers
    }

    /// Keys whose certificates a CA outside has still to sign.
    pub fn requests(
        &self,
    ) -> impl Iterator<Item = (NodeId, CertificateKind, &Arc<SigningKey>)> + '_ {
        self.requests.iter().map(|(&(node, kind), key)| (node, kind, key))
    }

    /// What is set for the whole cluster, and what its scenario says of that.
    pub fn settings(&self) -> KeptSettings {
        let token = self.ctl.tokens.get(self.ctl.at_hand).map(|(name, _)| name.clone());
        let set = Settings {
            security_mode: self.ctl.mode,
            rollback: self.rollback,
            file_signature: self.topology.file_signature,
            secured_urls: self.topology.secured_urls,
            ctl_method: self.ctl.method,
            token,
        };
        KeptSettings { given: self.given.clone(), set }
    }

    /// The CTL as it stands on the TFTP nodes, served or not yet.
    pub const fn ctl(&self) -> Option<&Arc<CtlFile>> {
        self.ctl.file.as_ref()
    }

    /// The CTL that an update would make now, if there is one: another content than that of
    /// [`Cluster::ctl`] means that the CTL is stale (CTL-02).
    pub fn next_ctl(&self) -> Option<CtlFile> {
        self.ctl.file.as_ref().map(|_| self.build_ctl(None, Time::ZERO))
    }

    /// Services that must be restarted before their nodes do what the database says (REG-10).
    pub fn restarts_due(&self) -> impl Iterator<Item = (NodeId, ServiceKind)> + '_ {
        self.node_ids().flat_map(|node| {
            self.nodes[node.index()].due.iter().map(move |&service| (node, service))
        })
    }

    /// Whether the cluster is in mixed mode now.
    pub const fn security_mode(&self) -> SecurityMode {
        self.ctl.mode
    }

    /// Whether the cluster is prepared for a rollback to a release before 8.0.
    pub const fn is_prepared_for_rollback(&self) -> bool {
        self.rollback
    }

    /// The number of the last backup.
    pub fn last_backup(&self) -> Option<u32> {
        self.drs.find(None).map(|backup| backup.number)
    }

    /// The backups, in the order in which they were made.
    pub fn backups(&self) -> impl Iterator<Item = &Arc<Backup>> {
        self.drs.backups()
    }

    /// Nodes whose CallManager.pem is not that of their database (BKP-06).
    pub fn mismatches(&self) -> Vec<Mismatch> {
        self.drs.mismatches(&self.stores)
    }

    /// What the nodes hold and trust.
    pub const fn stores(&self) -> &Stores {
        &self.stores
    }

    fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.topology.ids()
    }

    /// The node that the others take their database from.
    pub const fn publisher(&self) -> NodeId {
        self.topology.cluster.node(0)
    }

    fn name(&self, node: NodeId) -> String {
        self.topology.node(node).name.clone()
    }

    /// The certificates of a node, as the release has them.
    fn certificate_kinds(&self, node: NodeId) -> impl Iterator<Item = CertificateKind> + use<> {
        let (release, is_publisher) = (self.topology.release, node == self.publisher());
        CERTIFICATES.into_iter().filter(move |&kind| match release.holders(kind) {
            Holders::Nobody => false,
            Holders::Publisher => is_publisher,
            Holders::EveryNode => true,
        })
    }

    /// Since when a certificate is valid that is there at the start.
    fn first_day_s(&self, node: NodeId, kind: CertificateKind) -> u64 {
        let start_s = self.calendar.date_s(Time::ZERO);
        let left = self.topology.node(node).expires.get(&kind);
        let life_s = self.topology.release.life_s(kind);
        let left_s = left.map_or(life_s, |left| left.as_nanos() / 1_000_000_000);
        (start_s + left_s).saturating_sub(life_s)
    }

    fn issue(&mut self, node: NodeId, kind: CertificateKind, not_before_s: u64) -> Credential {
        let common_name = match kind {
            CertificateKind::CallManager
            | CertificateKind::Tvs
            | CertificateKind::Tomcat
            | CertificateKind::Ipsec => self.name(node),
            CertificateKind::CallManagerEcdsa => format!("{}-EC", self.name(node)),
            CertificateKind::ItlRecovery => format!("ITLRECOVERY_{}", self.name(node)),
            CertificateKind::Capf => {
                let mut unique = [0; 4];
                self.source.fill(&mut unique);
                format!("CAPF-{:08x}", u32::from_be_bytes(unique))
            }
        };
        let spec = CertificateSpec {
            common_name: &common_name,
            not_before_s,
            key_bits: self.topology.key_bits,
        };
        let life_s = self.topology.release.life_s(kind);
        match kind {
            CertificateKind::CallManagerEcdsa => {
                EcIdentity::self_signed_for(&spec, life_s, &mut self.source).into()
            }
            CertificateKind::Tomcat | CertificateKind::Ipsec => {
                let spec = spec_of_platform(spec);
                Identity::self_signed_for(&spec, life_s, &mut self.beside).into()
            }
            _ => Identity::self_signed_for(&spec, life_s, &mut self.source).into(),
        }
    }

    /// A new key and a certificate signed with it. A multi-server certificate changes on all its
    /// nodes, and one of a CA is gone (CERT-31).
    pub(super) fn regenerate(
        &mut self,
        node: NodeId,
        kind: CertificateKind,
        now: Time,
    ) -> Result<Vec<Effect>, ActionError> {
        let old = self.own(node, kind)?.certificate().clone();
        let own = self.issue(node, kind, self.calendar.date_s(now));
        let sharers = self.stores.sharing(node, kind);
        self.put(&sharers, kind, &own, now);
        let lost = (!old.was_issued_by(&old)).then(|| {
            let (what, name, issuer) = (kind.name(), self.name(node), old.issuer());
            Effect::Warn(format!(
                "the regeneration of {what} on {name} has overwritten the certificate that {issuer} \
                 signed; import one again"
            ))
        });
        Ok(lost.into_iter().chain(self.automatic_update(node, kind, now)).collect())
    }

    /// A certificate of nodes that a CA has signed: the same key and certificate on all of them,
    /// with the name of the first (CERT-06, CERT-29). The CAs are trusted before it comes.
    pub(super) fn import(&mut self, what: &Import, now: Time) -> Result<Vec<Effect>, ActionError> {
        let Import { certificate: kind, nodes, issuer, intermediate, valid, only } = what;
        for &node in nodes {
            self.own(node, *kind)?;
        }
        let not_before_s = self.calendar.date_s(now);
        let key_bits = self.topology.key_bits;
        let spec = |common_name| CertificateSpec { common_name, not_before_s, key_bits };
        let of_key = if kind.is_ec() { "-EC" } else { "" };
        let of_nodes = if nodes.len() > 1 { "-ms" } else { "" };
        let common_name = format!("{}{of_key}{of_nodes}", self.name(nodes[0]));
        let mut chain = vec![self.authority(issuer, &spec(issuer))];
        if let Some(name) = intermediate {
            let spec = spec_of_platform(spec(name));
            chain.push(Identity::issued(&spec, FIVE_YEARS_S, &chain[0], &mut self.beside));
        }
        for &store in kind.copied_to() {
            for ca in &chain {
                let (source, since) = (Source::Imported(nodes[0]), Change::on(&nodes[..1], now));
                self.stores.trust(store, &ca.certificate, source, since);
            }
        }
        let valid_s = valid.as_nanos() / 1_000_000_000;
        let signer = &chain[chain.len() - 1];
        let spec = spec(&common_name);
        let ends = TlsEnd::only(*only);
        // A CA signs what was requested of it.
        let own: Credential = match self.requests.remove(&(nodes[0], *kind)) {
            Some(key) => {
                Identity::issued_to(key, &spec, valid_s, signer, ends, &mut self.source).into()
            }
            None if kind.is_ec() => {
                EcIdentity::issued(&spec, valid_s, signer, ends, &mut self.source).into()
            }
            None => Identity::for_ends(&spec, valid_s, Some(signer), ends, &mut self.source).into(),
        };
        self.put(nodes, *kind, &own, now);
        Ok(self.automatic_update(nodes[0], *kind, now))
    }

    /// The root CA with this name, which is made when it is first needed.
    fn authority(&mut self, name: &str, spec: &CertificateSpec<'_>) -> Identity {
        let source = &mut self.source;
        let made = || Identity::self_signed(spec, source);
        self.authorities.entry(name.to_owned()).or_insert_with(made).clone()
    }

    /// Takes an item out of a trust store. One of the manufacturer should stay (CERT-08).
    pub(super) fn delete_trusted(
        &mut self,
        node: NodeId,
        store: TrustStore,
        name: &str,
        now: Time,
    ) -> Result<Vec<Effect>, ActionError> {
        let comes_back = self.topology.has(Defect::DeletedComesBack);
        let deleted = self.stores.delete(node, store, name, comes_back, now);
        let deleted = deleted.ok_or_else(|| ActionError::NotTrusted {
            name: name.to_owned(),
            store: store.name(),
            node: self.name(node),
        })?;
        let warning = || {
            let (file, name) = (deleted.file_name(), self.name(node));
            Effect::Warn(format!(
                "{file} was deleted from {} on {name}: it is one of the manufacturer, by which \
                 phones prove with their MIC that they are genuine; import it again",
                store.name()
            ))
        };
        let is_preloaded = deleted.origin == Some(Origin::Preloaded);
        let restart = self.topology.restart_by_deletion(store);
        let unexpected = restart.map(|_| {
            let (name, id) = (self.name(node), Defect::DeletionRestarts.name());
            Effect::Warn(format!(
                "the deletion from {} on {name} restarts all phones, and the cluster told nobody ({id})",
                store.name()
            ))
        });
        let reset = restart.map(|spread| Effect::ResetPhones { spread });
        Ok(is_preloaded.then(warning).into_iter().chain(unexpected).chain(reset).collect())
    }

    /// Takes the certificate of another server into a trust store.
    pub(super) fn import_trusted(
        &mut self,
        node: NodeId,
        store: TrustStore,
        upload: &Upload,
        now: Time,
    ) {
        let certificate = match upload {
            Upload::Given(certificate) => certificate.clone(),
            Upload::Of { name, valid: Some(valid) } => self.made_by(name, *valid, now),
            Upload::Of { name, valid: None } => {
                let known = self.known_by(name);
                known.unwrap_or_else(|| self.made_by(name, Upload::VALID, now))
            }
        };
        let since = Change::on(&[node], now);
        self.stores.trust(store, &certificate, Source::Imported(node), since);
    }

    /// A certificate that another server makes for itself, and presents if it is the peer of a probe.
    fn made_by(&mut self, name: &str, valid: Span, now: Time) -> Certificate {
        let made = self.renewed(&RenewPeer::by_itself(name, valid), now);
        let own = made[0].clone();
        if let Some(presented) = self.peers.get_mut(name) {
            *presented = made;
        }
        own
    }

    /// The certificate of the other server or the CA with this common name, if there is one.
    fn known_by(&self, name: &str) -> Option<Certificate> {
        let own = self.peers.get(name).and_then(|presented| presented.first());
        let of_ca = || self.authorities.get(name).map(|ca| &ca.certificate);
        let among = || self.peers.values().flatten().find(|one| one.common_name() == name);
        own.or_else(of_ca).or_else(among).cloned()
    }

    /// The certificates that another server presents in a handshake, its own first; none of a server
    /// that [`RenewPeer`] has not named yet.
    pub fn presented_by(&self, peer: &str) -> &[Certificate] {
        self.peers.get(peer).map(Vec::as_slice).unwrap_or_default()
    }

    /// Another server presents another certificate from now on.
    pub(super) fn renew_peer(&mut self, what: &RenewPeer, now: Time) {
        let presented = self.renewed(what, now);
        self.peers.insert(what.peer.clone(), presented);
    }

    /// A new certificate of another server, with that of the CA that it presents, too.
    fn renewed(&mut self, what: &RenewPeer, now: Time) -> Vec<Certificate> {
        let not_before_s = self.calendar.date_s(now);
        let valid_s = what.valid.as_nanos() / 1_000_000_000;
        let spec = |common_name| CertificateSpec { common_name, not_before_s, key_bits: 2048 };
        let own = spec(&what.name);
        let ends = TlsEnd::only(what.only);
        let Some(issuer) = &what.issuer else {
            let own = Identity::for_ends(&own, valid_s, None, ends, &mut self.beside);
            return vec![own.certificate];
        };
        let root = self.authority(issuer, &spec(issuer));
        let between = what
            .intermediate
            .as_ref()
            .map(|name| Identity::issued(&spec(name), FIVE_YEARS_S, &root, &mut self.beside));
        let signer = between.as_ref().unwrap_or(&root);
        let own = Identity::for_ends(&own, valid_s, Some(signer), ends, &mut self.beside);
        std::iter::once(own).chain(between).map(|one| one.certificate).collect()
    }

    /// A new key that waits for its certificate, in the place of an earlier one.
    pub(super) fn request_certificate(
        &mut self,
        node: NodeId,
        kind: CertificateKind,
    ) -> Result<(), ActionError> {
        self.own(node, kind)?;
        let key = self.source.signing_key(self.topology.key_bits);
        self.requests.insert((node, kind), Arc::new(key));
        Ok(())
    }

    /// The request (PEM) for a certificate that a CA has still to sign, if there is one.
    pub fn certificate_request(&self, node: NodeId, kind: CertificateKind) -> Option<String> {
        let key = self.requests.get(&(node, kind))?;
        Some(certificate_request(self.certificate(node, kind), key))
    }

    /// Whether this certificate was made of the last request for one of this kind.
    pub fn is_requested(&self, node: NodeId, kind: CertificateKind, signed: &Certificate) -> bool {
        let key = self.requests.get(&(node, kind));
        key.is_some_and(|key| key.public_key() == signed.public_key())
    }

    /// The certificate that a CA outside has made of the last request.
    pub(super) fn import_own(
        &mut self,
        node: NodeId,
        kind: CertificateKind,
        signed: &Certificate,
        now: Time,
    ) -> Result<Vec<Effect>, ActionError> {
        let is_requested = self.is_requested(node, kind, signed);
        let key = self.requests.remove(&(node, kind)).filter(|_| is_requested);
        let key = key.ok_or_else(|| ActionError::NotRequested {
            certificate: kind.name(),
            node: self.name(node),
        })?;
        let identity = Identity { certificate: signed.clone(), key };
        self.put(&[node], kind, &identity.into(), now);
        Ok(self.automatic_update(node, kind, now))
    }

    fn own(&self, node: NodeId, kind: CertificateKind) -> Result<&Credential, ActionError> {
        self.stores.own(node, kind).ok_or_else(|| ActionError::NoCertificate {
            certificate: kind.name(),
            node: self.name(node),
        })
    }

    /// Nodes have another certificate from now on, and services wait for their restarts.
    fn put(&mut self, nodes: &[NodeId], kind: CertificateKind, own: &Credential, now: Time) {
        if kind == CertificateKind::CallManager {
            nodes.iter().for_each(|&node| self.drs.record(node, None));
        }
        self.stores.put(nodes, kind, own, Change::on(nodes, now));
        nodes.iter().for_each(|&node| self.require_restarts(node, kind));
    }

    /// What a regeneration brings about by itself. In releases that do so, services of the node
    /// take the certificate; in those that do so and where somebody asks for it, TFTP builds
    /// its lists anew on every node and the phones are reset (ITL-16, REG-09, X-23).
    fn automatic_update(&mut self, node: NodeId, kind: CertificateKind, now: Time) -> Vec<Effect> {
        let mut anew = BTreeSet::new();
        if self.topology.release.rules().taken_over.contains(&kind) {
            anew.extend(kind.restarts().0.iter().map(|&service| (node, service)));
        }
        let spread = self.topology.auto_reset(kind);
        if spread.is_some() {
            anew.extend(self.node_ids().map(|node| (node, ServiceKind::Tftp)));
        }
        anew.retain(|&(node, service)| self.runs(node, service));
        let started = anew.into_iter().filter_map(|(node, service)| self.start(node, service, now));
        let mut effects: Vec<Effect> = started.collect();
        if self.topology.resets_silently(kind) {
            effects.push(Effect::Warn(format!(
                "the regeneration of {} on {} resets all phones, and the cluster told nobody \
                 ({})",
                kind.name(),
                self.name(node),
                Defect::SilentReset.name()
            )));
        }
        effects.extend(spread.map(|spread| Effect::ResetPhones { spread }));
        effects
    }

    /// Marks what must be restarted for a new certificate of this node (REG-20 to 25).
    fn require_restarts(&mut self, node: NodeId, kind: CertificateKind) {
        let (here, everywhere) = kind.restarts();
        for other in self.node_ids() {
            let services = if other == node { here } else { everywhere };
            self.require(other, services);
        }
    }

    /// Marks services of a node that must be restarted, if they are active there.
    fn require(&mut self, node: NodeId, services: &[ServiceKind]) {
        let due = services.iter().filter(|&&service| self.topology.is_active(node, service));
        self.nodes[node.index()].due.extend(due);
    }

    /// Sets the parameter "Prepare Cluster for Rollback to pre 8.0": TFTP serves blank lists, or
    /// none of them any longer, from its next start on (SAFE-05, TFTP-14).
    pub(super) fn set_rollback(&mut self, rollback: bool) {
        self.rollback = rollback;
        self.node_ids().for_each(|node| self.require(node, &[ServiceKind::Tftp]));
    }

    /// CAPF is active on the publisher from now on; TFTP names it from its next start on (ITL-14).
    pub(super) fn activate_capf(&mut self) {
        let services = &mut self.topology.nodes[0].services;
        if !services.contains(&ServiceKind::Capf) {
            services.push(ServiceKind::Capf);
            self.node_ids().for_each(|node| self.require(node, &[ServiceKind::Tftp]));
            // Phones that are told to go there are told where.
            if self.devices.is_used() {
                self.render_configurations();
            }
        }
    }

    /// Sets the parameter "TFTP File Signature Algorithm", in force when TFTP starts (TFTP-07).
    pub(super) fn set_file_signature(&mut self, signature: FileSignature) {
        self.topology.file_signature = signature;
        self.node_ids().for_each(|node| self.require(node, &[ServiceKind::Tftp]));
    }

    /// Sets "Secured Phone URL Parameters": every TFTP node that runs serves configurations with the
    /// new URLs at once, as for any change of a device.
    pub(super) fn set_secured_urls(&mut self, secured: bool, now: Time) -> Vec<Effect> {
        self.topology.secured_urls = secured;
        self.render_configurations();
        self.serve_anew(now, |_, _, _, _| {})
    }

    /// Sets the parameter "Cluster Security Mode" and makes the CTL that belongs to it.
    pub(super) fn set_security_mode(&mut self, mode: SecurityMode, now: Time) {
        self.ctl.mode = mode;
        self.sign_ctl(now);
    }

    /// Makes the CTL anew (CTL-10); method and token stay what they were if not given.
    pub(super) fn update_ctl(&mut self, what: &UpdateCtl, now: Time) -> Result<(), ActionError> {
        if self.ctl.mode == SecurityMode::NonSecure {
            return Err(ActionError::NonSecure);
        }
        let method = what.method.unwrap_or(self.ctl.method);
        let at_hand = match &what.token {
            Some(name) => {
                let unknown = || ActionError::NoToken { token: name.clone() };
                self.ctl.token(name).ok_or_else(unknown)?
            }
            None => self.ctl.at_hand,
        };
        if method == CtlMethod::Etoken {
            let publisher = self.publisher();
            if !self.runs(publisher, ServiceKind::CtlProvider) {
                return Err(ActionError::Failed(format!(
                    "the CTL is not updated: the CTL client finds no Cisco CTL Provider on {}; start \
                     it (CTL-19)",
                    self.name(publisher)
                )));
            }
            self.check_token(at_hand, what.is_password_known, now)?;
        }
        (self.ctl.method, self.ctl.at_hand) = (method, at_hand);
        self.sign_ctl(now);
        Ok(())
    }

    /// Whether a token can sign: somebody knows its password (CTL-05), and the publisher trusts it
    /// as one that has signed before (CERT-25).
    fn check_token(
        &self,
        at: usize,
        is_password_known: bool,
        now: Time,
    ) -> Result<(), ActionError> {
        let Some((name, token)) = self.ctl.tokens.get(at) else { return Ok(()) };
        let failed = |why: &str| Err(ActionError::Failed(format!("the CTL is not updated: {why}")));
        if !is_password_known {
            return failed(&format!(
                "nobody knows the password of token {name}; take another of the original set-up"
            ));
        }
        let store = Unit::Trust(TrustStore::PhoneSast);
        let inventory = self.stores.inventory(self.publisher(), now);
        let is_it = |item: &Item| item.unit == store && item.certificate == token.certificate;
        if !inventory.iter().any(is_it) {
            return failed(&format!(
                "phone-sast-trust of the publisher has no certificate of token {name} any more; \
                 import it again"
            ));
        }
        Ok(())
    }

    /// Signs a list of every TFTP node with ITLRecovery; those that run serve it at once.
    pub(super) fn reset_local_key(
        &mut self,
        list: ResetList,
        now: Time,
    ) -> Result<Vec<Effect>, ActionError> {
        let recovery = CertificateKind::ItlRecovery;
        self.own(self.publisher(), recovery)?;
        if list == ResetList::Itl {
            self.check_itls()?;
        }
        let signer = self.identity(self.publisher(), recovery);
        if list == ResetList::Ctl {
            if self.ctl.mode == SecurityMode::NonSecure {
                return Err(ActionError::NonSecure);
            }
            let publisher = self.publisher();
            self.ctl.file = Some(Arc::new(self.build_ctl(Some((&signer, publisher)), now)));
        }
        Ok(self.serve_anew(now, |cluster, node, signers, lists| {
            lists.ctl.clone_from(&cluster.ctl.file);
            if list == ResetList::Itl {
                signers.list = signer.clone();
                lists.itl = cluster.itl_records(node);
            }
        }))
    }

    /// Names the load of phones, of one model or all: every TFTP node that runs serves their
    /// configurations at once, as for any change of a device.
    pub(super) fn set_load(
        &mut self,
        model: Option<Model>,
        load: &str,
        now: Time,
    ) -> Result<Vec<Effect>, ActionError> {
        let of_fleet = self.fleet.models.iter().map(|&(of_fleet, _)| of_fleet);
        let models: Vec<Model> =
            of_fleet.filter(|&of_fleet| model.is_none_or(|model| model == of_fleet)).collect();
        if let (Some(model), true) = (model, models.is_empty()) {
            return Err(ActionError::NoModel { model: model.to_string() });
        }
        self.fleet.loads.extend(models.into_iter().map(|model| (model, load.to_owned())));
        self.render_configurations();
        Ok(self.serve_anew(now, |_, _, _, _| {}))
    }

    fn render_configurations(&mut self) {
        let (topology, fleet) = (&self.topology, &self.fleet);
        self.catalogue = Arc::new(Catalogue::new(topology, fleet, self.contents, &self.devices));
    }

    /// Renders the configurations, and has each TFTP service that runs serve them; nothing else of it
    /// changes.
    fn serve_configurations_anew(&mut self) -> Vec<Effect> {
        self.render_configurations();
        let mut effects = Vec::new();
        for node in self.node_ids() {
            let Some(running) = self.tftp(node) else { continue };
            let served = running.with_catalogue(Arc::clone(&self.catalogue));
            let service = Service::Tftp(Arc::new(served));
            self.nodes[node.index()].running.insert(ServiceKind::Tftp, service.clone());
            effects.push(Effect::Service(ServiceChange::Started { node, service }));
        }
        effects
    }

    /// What the database knows of phones and their LSCs.
    pub const fn devices(&self) -> &Arc<DeviceTable> {
        &self.devices
    }

    /// What CAPF counts of itself.
    pub const fn capf_counts(&self) -> &Arc<CapfCounts> {
        &self.capf_counts
    }

    /// The LSCs of all phones at `now` (EXP-06); nothing as long as nobody asked for any.
    pub fn lsc_report(&self, now: Time) -> Option<LscReport> {
        let date_s = self.calendar.date_s(now);
        let report = || self.devices.report(Some(self.lsc_issuer()), now, date_s);
        self.devices.is_used().then(report)
    }

    /// Who signs LSCs now.
    fn lsc_issuer(&self) -> IssuerId {
        let of_capf = || self.certificate(self.publisher(), CertificateKind::Capf);
        let certificate = self.lsc_authority().map_or_else(of_capf, |ca| &ca.certificate);
        IssuerId::of(certificate.subject())
    }

    /// The CA of somebody else that signs LSCs in the place of CAPF, if there is one (CAPF-32).
    fn lsc_authority(&self) -> Option<&Identity> {
        self.authorities.get(self.topology.security.lsc_issuer.as_ref()?)
    }

    /// That CA is there from the start, and whoever judges LSCs trusts it.
    fn trust_lsc_issuer(&mut self) {
        let Some(name) = self.topology.security.lsc_issuer.clone() else { return };
        let (key_bits, not_before_s) = (self.topology.key_bits, self.calendar.date_s(Time::ZERO));
        let spec = CertificateSpec { common_name: &name, not_before_s, key_bits };
        let ca = self.authority(&name, &spec);
        let nodes: Vec<NodeId> = self.node_ids().collect();
        let source = Source::Imported(self.publisher());
        for store in [TrustStore::Capf, TrustStore::CallManager] {
            let since = Change::on(&nodes, Time::ZERO);
            self.stores.trust(store, &ca.certificate, source, since);
        }
    }

    /// Sets an operation for phones (CAPF-26). A CAPF certificate whose time is over, or nearly, is
    /// told (CAPF-07).
    pub(super) fn roll_out_lsc(
        &mut self,
        what: &RollOutLsc,
        now: Time,
    ) -> Result<Vec<Effect>, ActionError> {
        let phones: Arc<[PhoneId]> = self.lsc_phones(&what.phones)?.into();
        let date_s = self.calendar.date_s(now);
        let trouble = self.capf_trouble(now);
        if let Some(trouble) = trouble.as_ref().filter(|_| what.checks_capf) {
            return Err(ActionError::Failed(format!("no operation was set: {trouble}")));
        }
        let job = Arc::new(LscJob {
            operation: what.operation,
            mode: what.mode,
            key: what.key,
            password: what.string.clone(),
            completes_by_s: date_s + what.completes_in.as_nanos() / 1_000_000_000,
        });
        let was_used = self.devices.is_used();
        let told = |phone| {
            let profile = self.fleet.profile(phone).and_then(|profile| profile.auth_mode);
            profile.unwrap_or(what.mode)
        };
        self.devices.schedule(phones.iter().copied(), &job, told, now);
        let mut effects: Vec<Effect> = trouble.map(Effect::Warn).into_iter().collect();
        if !was_used {
            effects.extend(self.serve_configurations_anew());
        }
        let resets = what.pace.map(|pace| Effect::Resets(Resets { phones, pace }));
        effects.extend(resets);
        Ok(effects)
    }

    /// What stands against a rollout (CAPF-07, CTL-19).
    pub fn capf_trouble(&self, now: Time) -> Option<String> {
        /// A certificate with less time than that is regenerated before (choice).
        const NEAR_S: u64 = 90 * 86_400;
        let publisher = self.publisher();
        if !self.topology.is_active(publisher, ServiceKind::Capf) {
            let name = self.name(publisher);
            return Some(format!(
                "CAPF is not active on {name}: no operation can be carried out; activate it, \
                 restart TFTP on every node and reset the phones"
            ));
        }
        if !self.runs(publisher, ServiceKind::CtlProvider) {
            let name = self.name(publisher);
            return Some(format!(
                "Cisco CTL Provider does not run on {name}: start it before a rollout (CTL-19)"
            ));
        }
        let end = self.certificate(publisher, CertificateKind::Capf).validity_s().1?;
        let left_s = end - self.calendar.date_s(now).cast_signed();
        let when = match left_s {
            ..0 => "has expired".to_owned(),
            left_s if left_s < NEAR_S.cast_signed() => {
                format!("expires in {} days", left_s / 86_400)
            }
            _ => return None,
        };
        Some(format!(
            "the CAPF certificate {when}: regenerate it, restart CAPF and TFTP and reset the phones \
             before a rollout"
        ))
    }

    /// The phones that an operation is set for, in the order of their numbers.
    ///
    /// # Errors
    /// If the cluster has no such phones.
    pub fn lsc_phones(&self, whom: &LscPhones) -> Result<Vec<PhoneId>, ActionError> {
        let LscPhones { device, model, group, share, only_stale } = whom;
        let mut range = 0..self.fleet.phones;
        if let Some(name) = group {
            let sizes = self.topology.group_sizes(self.fleet.phones);
            let place = self.topology.groups.iter().position(|group| group.name == *name);
            let at =
                place.ok_or_else(|| ActionError::NoPhones { what: "group", name: name.clone() })?;
            let first: u32 = sizes[..at].iter().sum();
            range = first..first + sizes[at];
        }
        if let Some(model) = model
            && self.fleet.models.iter().all(|(known, _)| known != model)
        {
            return Err(ActionError::NoModel { model: model.to_string() });
        }
        let capf = self.lsc_issuer();
        let seed = self.fleet.seed;
        let is_meant = |&phone: &PhoneId| {
            device.as_ref().is_none_or(|begun| DeviceName::of_phone(phone).begins_with(begun))
                && model.is_none_or(|model| self.fleet.model(phone) == model)
                && (*share >= 1.0
                    || stream(seed, u64::from(phone.0), Purpose::Rollout).unit() < *share)
                && (!only_stale || self.devices.issuer(phone) != Some(capf))
        };
        let found: Vec<PhoneId> = range.map(PhoneId).filter(is_meant).collect();
        match device {
            Some(begun) if found.is_empty() => {
                Err(ActionError::NoPhones { what: "device", name: begun.clone() })
            }
            _ => Ok(found),
        }
    }

    /// The phones of a profile use another mode at CAPF from now on (CAPF-28).
    pub(super) fn set_profile(&mut self, what: &SetProfile) -> Result<Vec<Effect>, ActionError> {
        let SetProfile { name, mode, spread } = what;
        let found = self.fleet.profiles.iter().position(|profile| profile.name == *name);
        let unknown = || ActionError::NoPhones { what: "profile", name: name.clone() };
        let at = found.ok_or_else(unknown)?;
        self.fleet.profiles[at].auth_mode = Some(*mode);
        let is_member = |phone: &PhoneId| {
            self.fleet.profile(*phone).is_some_and(|profile| profile.name == *name)
        };
        let members: Vec<PhoneId> = (0..self.fleet.phones).map(PhoneId).filter(is_member).collect();
        self.devices.tell(&members, *mode);
        let mut effects = self.serve_configurations_anew();
        let pace = LscPace::within(*spread);
        effects.push(Effect::Resets(Resets { phones: members.into(), pace }));
        Ok(effects)
    }

    /// CAPF-trust of the publisher.
    fn capf_trust(&self, now: Time) -> Vec<Certificate> {
        let trusted = self.stores.all_trusted(self.publisher(), TrustStore::Capf, now);
        trusted.cloned().collect()
    }

    /// The CAPF certificates and the date by which LSCs are judged that configurations are to be
    /// encrypted for.
    pub(super) fn judge_lscs(&self, now: Time) {
        if self.fleet.encrypts_any() {
            self.devices.trusts(self.capf_trust(now).iter());
            self.date_lscs(now);
        }
    }

    /// It is this instant, and LSCs may have expired since the last one.
    pub fn date_lscs(&self, now: Time) {
        if self.fleet.encrypts_any() {
            self.devices.dated(self.calendar.date_s(now));
        }
    }

    /// What CAPF needs when it starts.
    fn capf_setup(&self, now: Time) -> CapfSetup {
        let is_flaky = self.topology.has(Defect::CapfFreezes);
        CapfSetup {
            signer: self.lsc_authority().cloned(),
            trusted: self.capf_trust(now),
            fleet: self.fleet.clone(),
            devices: Arc::clone(&self.devices),
            calendar: Arc::clone(&self.calendar),
            counts: Arc::clone(&self.capf_counts),
            settings: CapfSettings { is_flaky, ..self.topology.security.capf },
            has_stand_ins: self.contents == Contents::OfEachModel,
        }
    }

    /// Puts another service in the place of each TFTP service that runs, with the same keys and
    /// lists but for what `change` makes of them.
    fn serve_anew(
        &mut self,
        now: Time,
        change: impl Fn(&Cluster, NodeId, &mut Signers, &mut Lists),
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for node in self.node_ids() {
            let Some(running) = self.tftp(node) else { continue };
            let (mut signers, mut lists) = (running.signers().clone(), running.lists().clone());
            change(self, node, &mut signers, &mut lists);
            let service = Service::Tftp(Arc::new(self.tftp_with(signers, lists, now)));
            self.nodes[node.index()].running.insert(ServiceKind::Tftp, service.clone());
            effects.push(Effect::Service(ServiceChange::Started { node, service }));
        }
        self.drop_stale_signatures();
        effects
    }

    /// Whether a node serves a broken ITL that the cluster can neither show nor sign anew (DEF-06).
    pub fn itl_is_stuck(&self, node: NodeId) -> bool {
        let is_broken = |service: &Arc<TftpService>| !service.list_fits_its_signer();
        self.topology.has(Defect::BrokenItlIsStuck) && self.tftp(node).is_some_and(is_broken)
    }

    fn check_itls(&self) -> Result<(), ActionError> {
        match self.node_ids().find(|&node| self.itl_is_stuck(node)) {
            Some(node) => Err(ActionError::Failed(format!(
                "utils itl reset localkey fails: the ITL of {} is broken ({}); regenerate \
                 CallManager there and restart TFTP first",
                self.name(node),
                Defect::BrokenItlIsStuck.name()
            ))),
            None => Ok(()),
        }
    }

    /// Signs the CTL and copies it to all TFTP nodes, which serve it from their next start on.
    fn sign_ctl(&mut self, now: Time) {
        self.ctl.file = Some(Arc::new(self.build_ctl(None, now)));
        for node in self.node_ids() {
            self.require(node, &[ServiceKind::CallManager, ServiceKind::Tftp]);
        }
    }

    /// The CTL of the certificates as they are, signed as ever or with a key of this node.
    fn build_ctl(&self, signer: Option<(&Identity, NodeId)>, now: Time) -> CtlFile {
        let (publisher, release) = (self.publisher(), self.topology.release);
        let tokens: Vec<&Identity> = self.ctl.tokens.iter().map(|(_, token)| token).collect();
        let is_token = self.ctl.method == CtlMethod::Etoken && signer.is_none();
        let token = tokens.get(self.ctl.at_hand).filter(|_| is_token);
        let others = tokens.iter().enumerate().filter(|&(at, _)| at != self.ctl.at_hand);
        let ctl_node = |id: NodeId| {
            let node = self.topology.node(id);
            CtlNode { name: &node.name, address: node.address }
        };
        let call_manager = |id: NodeId| {
            let certificate = self.certificate(id, CertificateKind::CallManager);
            (ctl_node(id), Some(certificate).filter(|_| self.ctl.mode == SecurityMode::Mixed))
        };
        let nodes = self.node_ids().filter(|&id| self.topology.is_in_ctl(id));
        let own = self.identity(publisher, release.ctl_signer());
        let content = CtlContent {
            signer: match (signer, token) {
                (Some((signer, _)), _) => signer,
                (None, Some(token)) => token,
                (None, None) => &own,
            },
            signer_node: match (signer, token) {
                (Some((_, node)), _) => Some(ctl_node(node)),
                (None, Some(_)) => None,
                (None, None) => Some(ctl_node(publisher)),
            },
            tokens: match token {
                Some(_) => others.map(|(_, token)| &token.certificate).collect(),
                None => Vec::new(),
            },
            nodes: nodes.map(call_manager).collect(),
            capf: self.active_capf(),
        };
        let signature = self.topology.file_signature;
        let manner = Manner {
            signature,
            signer_version: release.signer_version(signature),
            made_s: self.seconds(now),
        };
        CtlFile::sign(&content, manner)
    }

    /// CAPF of the publisher, if it is active there.
    fn active_capf(&self) -> Option<&Certificate> {
        let publisher = self.publisher();
        let is_active = self.topology.node(publisher).services.contains(&ServiceKind::Capf);
        is_active.then(|| self.certificate(publisher, CertificateKind::Capf))
    }

    /// An instant as Unix seconds, as files and certificates say it.
    fn seconds(&self, now: Time) -> u32 {
        self.calendar.date_s(now) as u32
    }

    pub(super) fn add_record(&self, node: NodeId, name: &str) {
        let node = self.topology.node(node);
        if let Some(name) = self.topology.record_name(node, name) {
            self.hosts.add(&name, node.address);
        }
    }

    pub(super) fn remove_record(&self, node: NodeId, name: &str) {
        if let Some(name) = self.topology.record_name(self.topology.node(node), name) {
            self.hosts.remove(&name);
        }
    }

    /// A new host name or domain: the database and the configurations have it at once, every
    /// service certificate of the node is regenerated (HOST-01, REG-30). ITLRecovery is the
    /// cluster's and stays.
    pub(super) fn rename(&mut self, rename: &Rename, now: Time) {
        let node = rename.node;
        let spec = &mut self.topology.nodes[node.index()];
        if let Some(name) = &rename.to {
            spec.name.clone_from(name);
        }
        if rename.domain.is_some() {
            spec.domain.clone_from(&rename.domain);
        }
        let name = spec.name.clone();
        self.add_record(node, &name);
        for kind in self.certificate_kinds(node) {
            if kind != CertificateKind::ItlRecovery {
                let own = self.issue(node, kind, self.calendar.date_s(now));
                self.put(&[node], kind, &own, now);
            }
        }
        self.render_configurations();
    }

    /// Makes a DRS backup.
    pub(super) fn back_up(&mut self, now: Time) -> Result<Arc<Backup>, ActionError> {
        self.check_drf("backup", now)?;
        let lacks_certificates = self.topology.has(Defect::BackupWithoutCertificates);
        let names: Vec<(NodeId, String)> =
            self.node_ids().map(|node| (node, self.name(node))).collect();
        Ok(self.drs.back_up(names.into_iter(), &self.stores, lacks_certificates))
    }

    /// Refuses work of DRF while the `IPsec` certificate of a node is bad: expired, or not yet that of
    /// its DRF services (CERT-22).
    fn check_drf(&self, work: &str, now: Time) -> Result<(), ActionError> {
        let failed =
            |why: String| ActionError::Failed(format!("the {work} fails: {why} (CERT-22)"));
        let date_s = self.calendar.date_s(now).cast_signed();
        let end =
            |&node: &NodeId| self.stored(node, CertificateKind::Ipsec).certificate().validity_s().1;
        let is_over = |node: &NodeId| end(node).is_some_and(|end| end < date_s);
        if let Some(node) = self.node_ids().find(is_over) {
            return Err(failed(format!(
                "the IPsec certificate of {} has expired",
                self.name(node)
            )));
        }
        let is_drf = |service| matches!(service, ServiceKind::DrfLocal | ServiceKind::DrfMaster);
        if let Some((node, service)) = self.restarts_due().find(|&(_, service)| is_drf(service)) {
            let (service, name) = (service.name(), self.name(node));
            return Err(failed(format!(
                "{service} on {name} waits for a restart since the IPsec certificate changed"
            )));
        }
        Ok(())
    }

    /// Puts back what a backup has of a node, and reboots it. What the backup lacks of certificates
    /// stays as it is, and the database is that of the backup all the same (BKP-05).
    pub(super) fn restore(
        &mut self,
        node: NodeId,
        from: Option<u32>,
        now: Time,
    ) -> Result<Vec<Effect>, ActionError> {
        self.check_drf("restore", now)?;
        let name = self.name(node);
        let backup = self.drs.find(from).ok_or_else(|| {
            let which = from.map_or("a backup".to_owned(), |number| format!("backup {number}"));
            ActionError::Failed(format!("the restore of {name} fails: there is no {which}"))
        })?;
        let of_node = backup.nodes.get(&node).filter(|of_node| of_node.name == name);
        let of_node = of_node.ok_or_else(|| {
            let number = backup.number;
            ActionError::Failed(format!(
                "the restore of {name} fails: backup {number} has no node of this name"
            ))
        })?;
        for (&kind, own) in &of_node.own {
            self.install(node, kind, own, now);
        }
        if self.certificate(node, CertificateKind::CallManager) != &of_node.recorded {
            let (kind, since) = (CertificateKind::CallManager, Change::on(&[node], now));
            let source = Source::Copy(kind, NodeSet::of(&[node]));
            for &store in kind.copied_to() {
                self.stores.trust(store, &of_node.recorded, source, since);
            }
            self.drs.record(node, Some(of_node.recorded.clone()));
        }
        self.start_services(node, None, true, now)
    }

    /// Brings back the ITL that a node has kept, with its keys, and reboots it (DEF-12).
    pub(super) fn restore_trusted_itl(
        &mut self,
        node: NodeId,
        now: Time,
    ) -> Result<Vec<Effect>, ActionError> {
        let kept = self.drs.kept_itl(node).cloned().ok_or_else(|| {
            let (name, id) = (self.name(node), Defect::KeepsTrustedItl.name());
            ActionError::Failed(if self.topology.has(Defect::KeepsTrustedItl) {
                format!("{name} keeps no earlier ITL: its CallManager certificate is the first")
            } else {
                format!("{name} keeps no earlier ITL: only versions with {id} do")
            })
        })?;
        for (kind, own) in kept {
            self.install(node, kind, &own, now);
        }
        self.start_services(node, None, true, now)
    }

    /// The certificates by which the phones of a node judged before, if it keeps that list and its
    /// keys (DEF-12).
    pub fn kept_itl(&self, node: NodeId) -> impl Iterator<Item = &Certificate> {
        self.drs
            .kept_itl(node)
            .into_iter()
            .flat_map(|kept| kept.values().map(Credential::certificate))
    }

    /// Installs a node anew: certificates, keys and what it had others trust are gone.
    pub(super) fn rebuild(&mut self, node: NodeId, now: Time) -> Result<Vec<Effect>, ActionError> {
        self.stores.wipe(node, now);
        self.drs.forget_itl(node);
        if node == self.publisher() {
            self.trust_tokens(|_| true, Change::on(&[node], now));
        }
        for kind in self.certificate_kinds(node) {
            let own = self.issue(node, kind, self.calendar.date_s(now));
            self.install(node, kind, &own, now);
        }
        self.start_services(node, None, true, now)
    }

    /// A node has a certificate since its installation, which brings that of `IPsec` to DRF of the
    /// other nodes as well (a guess).
    fn install(&mut self, node: NodeId, kind: CertificateKind, own: &Credential, now: Time) {
        match kind {
            CertificateKind::Ipsec => {
                self.stores.put(&[node], kind, own, Change::on(&[node], now));
            }
            _ => self.put(&[node], kind, own, now),
        }
    }

    /// Starts services of a node; with `again` those that run, too.
    pub(super) fn start_services(
        &mut self,
        node: NodeId,
        service: Option<ServiceKind>,
        again: bool,
        now: Time,
    ) -> Result<Vec<Effect>, ActionError> {
        let mut services = self.services(node, service)?;
        services.retain(|&service| again || !self.runs(node, service));
        Ok(services.into_iter().filter_map(|service| self.start(node, service, now)).collect())
    }

    pub(super) fn stop_services(
        &mut self,
        node: NodeId,
        service: Option<ServiceKind>,
    ) -> Result<Vec<Effect>, ActionError> {
        let services = self.services(node, service)?;
        Ok(services.into_iter().filter_map(|service| self.stop(node, service)).collect())
    }

    pub(super) fn services(
        &self,
        node: NodeId,
        service: Option<ServiceKind>,
    ) -> Result<Vec<ServiceKind>, ActionError> {
        let is_active = |&service: &ServiceKind| self.topology.is_active(node, service);
        match service {
            // TVS first: a restarted TFTP service serves phones that ask TVS next.
            None => {
                let mut all = self.topology.node(node).services.clone();
                all.sort_by_key(|&service| service != ServiceKind::Tvs);
                all.extend(IMPLIED_SERVICES.into_iter().filter(is_active));
                Ok(all)
            }
            Some(service) if is_active(&service) => Ok(vec![service]),
            Some(service) => Err(ActionError::ServiceNotActive {
                service: service.name(),
                node: self.name(node),
            }),
        }
    }

    /// Whether a service that is active on its node runs.
    pub fn runs(&self, node: NodeId, service: ServiceKind) -> bool {
        let state = &self.nodes[node.index()];
        if self.topology.is_served(service) {
            state.running.contains_key(&service)
        } else {
            !state.halted.contains(&service)
        }
    }

    fn start(&mut self, node: NodeId, service: ServiceKind, now: Time) -> Option<Effect> {
        if !self.topology.is_active(node, service) {
            return None;
        }
        let state = &mut self.nodes[node.index()];
        state.due.remove(&service);
        state.halted.remove(&service);
        let own = service.certificate().and_then(|kind| self.stores.own(node, kind));
        if let Some(own) = own {
            state.presented.insert(service, own.certificate().clone());
        }
        let running = match service {
            ServiceKind::Tftp => Service::Tftp(Arc::new(self.build_tftp(node, now))),
            kind if !self.topology.dialogues(kind).is_empty() => {
                Service::Dialogues(self.dialogues(node, kind, now))
            }
            ServiceKind::Tomcat => {
                let identity = self.host_identity(node, CertificateKind::Tomcat).clone();
                Service::Web(Arc::new(web_service(&self.topology, node, identity)?))
            }
            _ => return None,
        };
        self.nodes[node.index()].running.insert(service, running.clone());
        if service == ServiceKind::Tftp {
            self.drop_stale_signatures();
            if self.topology.has(Defect::KeepsTrustedItl) {
                self.drs.keep_itl(node, &self.stores);
            }
        }
        Some(Effect::Service(ServiceChange::Started { node, service: running }))
    }

    /// Who answers in the dialogues of a service that starts now.
    fn dialogues(&self, node: NodeId, kind: ServiceKind, now: Time) -> Dialogues {
        let registrar = self.topology.registrar.filter(|_| kind == ServiceKind::CallManager);
        let call_manager = registrar.map(|settings| {
            let trusted = self.stores.all_trusted(node, TrustStore::CallManager, now);
            let fleet = Arc::new(self.fleet.clone());
            let calendar = Arc::clone(&self.calendar);
            let (trusted, devices) = (trusted.cloned().collect(), Arc::clone(&self.devices));
            Arc::new(CallManager::new(settings, fleet, trusted, calendar, devices))
        });
        let answering = |&dialogue: &Dialogue| {
            let identity = self.host_identity(node, presents(dialogue)).clone();
            let knowledge = self.knowledge();
            let call_manager = call_manager.as_ref();
            let capf = || self.capf_setup(now);
            Arc::new(dialogue_service(dialogue, node, identity, knowledge, call_manager, capf))
        };
        Dialogues { kind, all: self.topology.dialogues(kind).iter().map(answering).collect() }
    }

    fn stop(&mut self, node: NodeId, service: ServiceKind) -> Option<Effect> {
        let state = &mut self.nodes[node.index()];
        if !self.topology.is_served(service) {
            state.halted.insert(service);
        }
        state.presented.remove(&service);
        let stopped = state.running.remove(&service);
        stopped.map(|_| Effect::Service(ServiceChange::Stopped { node, service }))
    }

    /// A TFTP node builds its ITL when its service starts, from the stores as they are then.
    fn build_tftp(&self, node: NodeId, now: Time) -> TftpService {
        let (release, signature) = (self.topology.release, self.topology.file_signature);
        let list_signer = release.rules().itl_signer;
        let signing_node = match list_signer {
            CertificateKind::ItlRecovery => self.publisher(),
            _ => node,
        };
        let signers = Signers {
            files: self.identity(node, CertificateKind::CallManager),
            host: self.host_identity(node, CertificateKind::CallManager).clone(),
            list: self.identity(signing_node, list_signer),
            signature,
            signer_version: release.signer_version(signature),
        };
        let lists = Lists { itl: self.itl_records(node), ctl: self.ctl.file.clone() };
        self.tftp_with(signers, lists, now)
    }

    fn tftp_with(&self, signers: Signers, lists: Lists, now: Time) -> TftpService {
        let (catalogue, cache) = (Arc::clone(&self.catalogue), Arc::clone(&self.cache));
        TftpService::new(signers, self.seconds(now), lists, catalogue, cache)
    }

    /// The records of the ITL of a node from the stores as they are now.
    fn itl_records(&self, node: NodeId) -> Arc<[u8]> {
        let (publisher, release) = (self.publisher(), self.topology.release);
        let own = |node, kind| self.stores.own(node, kind).map(Credential::certificate);
        let tvs_nodes = self.topology.nodes_with(ServiceKind::Tvs);
        let content = ItlContent {
            node: &self.topology.node(node).name,
            call_manager: self.certificate(node, CertificateKind::CallManager),
            call_manager_ecdsa: own(node, CertificateKind::CallManagerEcdsa),
            tvs: tvs_nodes.map(|id| self.certificate(id, CertificateKind::Tvs)).collect(),
            capf: self.active_capf().filter(|_| !self.topology.has(Defect::ItlWithoutCapf)),
            itl_recovery: own(publisher, CertificateKind::ItlRecovery),
        };
        if self.rollback {
            content.encode_blank(release).into()
        } else {
            content.encode(release).into()
        }
    }

    fn drop_stale_signatures(&self) {
        let signers: Vec<u64> = self
            .node_ids()
            .filter_map(|node| self.tftp(node))
            .flat_map(|service| service.signer_ids())
            .collect();
        self.cache.keep_only(&signers);
    }

    fn stored(&self, node: NodeId, kind: CertificateKind) -> &Credential {
        self.stores.own(node, kind).expect("the certificate was made when the cluster was")
    }

    /// A certificate of a node, as its database has it.
    fn certificate(&self, node: NodeId, kind: CertificateKind) -> &Certificate {
        let recorded = self.drs.recorded(node, kind);
        recorded.unwrap_or_else(|| self.stored(node, kind).certificate())
    }

    /// In whose name a node signs, and its key.
    fn identity(&self, node: NodeId, kind: CertificateKind) -> Identity {
        self.drs.signing(node, kind, self.host_identity(node, kind))
    }

    /// A certificate that proves who a server is, with its key.
    fn host_identity(&self, node: NodeId, kind: CertificateKind) -> &Identity {
        self.stored(node, kind).rsa().expect("servers prove themselves with RSA")
    }
}

/// Certificates of the platform have the default size of keys, whatever size those of CallManager
/// have.
const fn spec_of_platform(spec: CertificateSpec<'_>) -> CertificateSpec<'_> {
    CertificateSpec { key_bits: 2048, ..spec }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ClusterId, IpMode};
    use crate::cluster::operator::certificates::{DeleteCertificate, ImportTrust, Regenerate};
    use crate::cluster::operator::records::{AddRecord, RemoveRecord};
    use crate::cluster::operator::services::Services;
    use crate::cluster::{
        GroupSpec, Item, NodeSpec, Operation, Ports, Release, SignCacheMode, Unit, impacts,
    };
    use crate::wire::Records;

    const PUB: NodeId = ClusterId::FIRST.node(0);
    const SUB: NodeId = ClusterId::FIRST.node(1);

    fn node(name: &str, services: &[ServiceKind]) -> NodeSpec {
        NodeSpec {
            name: name.into(),
            domain: None,
            address: "127.0.0.1".parse().unwrap(),
            services: services.to_vec(),
            ports: Ports::default(),
            expires: std::collections::BTreeMap::new(),
        }
    }

    /// A publisher with everything and a subscriber that serves files and TVS.
    fn cluster(release: Release) -> Cluster {
        use ServiceKind::{CallManager, Capf, Tftp};
        let group = GroupSpec { name: "all".into(), members: vec![PUB, SUB], share: 1.0 };
        Cluster::new(Genesis {
            topology: Topology {
                cluster: ClusterId::FIRST,
                release,
                sign_cache: SignCacheMode::Lazy,
                key_bits: 2048,
                file_signature: Release::R8_6.file_signature(),
                secured_urls: true,
                security: crate::cluster::Security::default(),
                domain: None,
                faults: Vec::new(),
                replication_delay: Span::ZERO,
                registrar: None,
                nodes: vec![
                    node("pub", &[CallManager, Capf, Tftp, ServiceKind::Tvs]),
                    node("sub", &[CallManager, Tftp, ServiceKind::Tvs]),
                ],
                groups: vec![group],
            },
            fleet: FleetSpec {
                phones: 4,
                models: vec![(8841.into(), 1.0)],
                seed: 1,
                ..FleetSpec::default()
            },
            source: KeySource::bank(1),
            epoch_s: 1_800_000_000,
            stored: Stored::default(),
        })
    }

    fn signer(cluster: &Cluster, node: NodeId) -> Vec<u8> {
        cluster.tftp(node).unwrap().signer().certificate.der().to_vec()
    }

    fn presented(cluster: &Cluster, node: NodeId) -> Vec<u8> {
        cluster.dialogue(node, Dialogue::Tvs).unwrap().identity.certificate.der().to_vec()
    }

    /// Hashes of the TVS records in a node's list.
    fn listed_tvs(cluster: &Cluster, node: NodeId) -> Vec<[u8; 20]> {
        let list = cluster.tftp(node).unwrap().signed_list();
        let file = crate::wire::SignedFile::parse(&list).unwrap();
        Records::new(file.body, 0)
            .map(Result::unwrap)
            .filter(|record| record.role == Some(21))
            .map(|record| record.certificate_hash.unwrap())
            .collect()
    }

    fn started(effects: &[Effect]) -> Vec<(NodeId, ServiceKind)> {
        let started = |effect: &Effect| match effect {
            Effect::Service(ServiceChange::Started { node, service }) => (*node, service.kind()),
            other => panic!("{other:?}"),
        };
        effects.iter().map(started).collect()
    }

    fn apply(cluster: &mut Cluster, action: &dyn Operation) -> Vec<Effect> {
        cluster.apply(action, Time::ZERO).unwrap()
    }

    fn regenerate(certificate: CertificateKind, node: NodeId) -> Regenerate {
        Regenerate { certificate, node }
    }

    fn restart(service: ServiceKind, node: NodeId) -> Services {
        Services::restart(node, Some(service))
    }

    #[test]
    fn each_node_signs_its_own_list_with_the_tvs_of_every_node() {
        let cluster = cluster(Release::R8_6);
        assert_ne!(signer(&cluster, PUB), signer(&cluster, SUB));
        assert_eq!(listed_tvs(&cluster, PUB).len(), 2);
        assert_eq!(listed_tvs(&cluster, PUB), listed_tvs(&cluster, SUB));
        assert_eq!(cluster.stores().identities().count(), 10, "five certificates a node (CERT-02)");
        let with_recovery = self::cluster(Release::R11_5);
        let recovery = |(node, kind, _): &(NodeId, CertificateKind, &Credential)| {
            (*kind == CertificateKind::ItlRecovery).then_some(*node)
        };
        let nodes: Vec<NodeId> =
            with_recovery.stores().identities().filter_map(|entry| recovery(&entry)).collect();
        assert_eq!(nodes, [PUB], "one ITLRecovery, on the publisher");
    }

    #[test]
    fn a_regenerated_certificate_is_active_after_the_restart_of_its_own_service_only() {
        let mut cluster = cluster(Release::R8_6);
        let (signer_before, tvs_before) = (signer(&cluster, PUB), presented(&cluster, PUB));
        assert!(apply(&mut cluster, &regenerate(CertificateKind::CallManager, PUB)).is_empty());
        assert!(apply(&mut cluster, &regenerate(CertificateKind::Tvs, PUB)).is_empty());
        apply(&mut cluster, &restart(ServiceKind::Tvs, PUB));
        assert_eq!(signer(&cluster, PUB), signer_before);
        assert_ne!(presented(&cluster, PUB), tvs_before);
        apply(&mut cluster, &restart(ServiceKind::Tftp, PUB));
        assert_ne!(signer(&cluster, PUB), signer_before);
    }

    #[test]
    fn each_certificate_flags_the_services_of_its_row_until_they_are_restarted() {
        use ServiceKind::{CallManager, Capf, CtiManager, DrfLocal, DrfMaster, Tftp, Tomcat};
        const TVS: ServiceKind = ServiceKind::Tvs;
        let on = |node, services: &[ServiceKind]| -> Vec<(NodeId, ServiceKind)> {
            services.iter().map(|&service| (node, service)).collect()
        };
        let both = |publisher: &[ServiceKind], subscriber: &[ServiceKind]| {
            [on(PUB, publisher), on(SUB, subscriber)].concat()
        };
        let call_manager = [CallManager, Tftp, TVS, CtiManager];
        let rows = [
            (CertificateKind::Tomcat, SUB, on(SUB, &[Tomcat])),
            (CertificateKind::CallManager, SUB, on(SUB, &call_manager)),
            (CertificateKind::Capf, PUB, both(&[Capf, Tftp], &[Tftp])),
            (CertificateKind::Tvs, SUB, both(&[Tftp, TVS], &[Tftp, TVS])),
            (CertificateKind::Ipsec, SUB, both(&[DrfLocal, DrfMaster], &[DrfLocal])),
        ];
        for (kind, node, expected) in rows {
            let mut cluster = cluster(Release::R8_6);
            apply(&mut cluster, &regenerate(kind, node));
            let due: Vec<_> = cluster.restarts_due().collect();
            assert_eq!(due, expected, "{kind:?}");
            for (node, service) in due {
                apply(&mut cluster, &restart(service, node));
                assert!(!cluster.restarts_due().any(|other| other == (node, service)), "{kind:?}");
            }
            assert_eq!(cluster.restarts_due().count(), 0, "{kind:?}");
        }
    }

    #[test]
    fn a_changed_tvs_reaches_the_list_of_another_node_with_that_nodes_restart() {
        let mut cluster = cluster(Release::R8_6);
        let before = listed_tvs(&cluster, SUB);
        apply(&mut cluster, &regenerate(CertificateKind::Tvs, PUB));
        apply(&mut cluster, &restart(ServiceKind::Tftp, PUB));
        assert_ne!(listed_tvs(&cluster, PUB), before);
        assert_eq!(listed_tvs(&cluster, SUB), before);
        apply(&mut cluster, &restart(ServiceKind::Tftp, SUB));
        assert_eq!(listed_tvs(&cluster, SUB), listed_tvs(&cluster, PUB));
    }

    #[test]
    fn a_rename_changes_every_service_certificate_of_the_node_and_the_configurations() {
        use CertificateKind::{CallManager, Capf, Ipsec, Tomcat, Tvs};
        let mut cluster = cluster(Release::R11_5);
        let of = |cluster: &Cluster, node, kind| {
            let found =
                cluster.stores().identities().find(|entry| (entry.0, entry.1) == (node, kind));
            found.unwrap().2.certificate().clone()
        };
        let kinds = [CallManager, Capf, Tvs, Tomcat, Ipsec];
        let before: Vec<_> = kinds.map(|kind| of(&cluster, PUB, kind)).into();
        let other = of(&cluster, SUB, CertificateKind::CallManager);
        let recovery = of(&cluster, PUB, CertificateKind::ItlRecovery);
        let config = cluster.tftp(SUB).unwrap().config_of(crate::base::PhoneId(0)).0;
        let rename = Rename { node: PUB, to: Some("pub-new".into()), domain: None };
        assert!(apply(&mut cluster, &rename).is_empty());
        for (kind, before) in kinds.into_iter().zip(before) {
            assert_ne!(of(&cluster, PUB, kind), before, "{kind:?}");
        }
        assert!(of(&cluster, PUB, CertificateKind::Tvs).subject().starts_with("CN=pub-new;"));
        assert_eq!(of(&cluster, SUB, CertificateKind::CallManager), other);
        assert_eq!(of(&cluster, PUB, CertificateKind::ItlRecovery), recovery);
        assert_eq!(cluster.topology().node(PUB).name, "pub-new");
        apply(&mut cluster, &restart(ServiceKind::Tftp, SUB));
        let renamed = cluster.tftp(SUB).unwrap().config_of(crate::base::PhoneId(0)).0;
        assert_ne!(renamed, config, "the group names the node anew");
    }

    #[test]
    fn records_follow_the_operator_and_a_renamed_node_has_one_more() {
        let mut cluster = cluster(Release::R8_6);
        cluster.topology.domain = Some("cucm.example".into());
        let address = |cluster: &Cluster, name: &str| {
            cluster.hosts().resolve(&format!("{name}.cucm.example"), IpMode::Dual)
        };
        assert_eq!(address(&cluster, "pub"), None, "no record without a domain");
        let [pub_name, new] = ["pub", "pub-new"].map(str::to_owned);
        apply(&mut cluster, &AddRecord { node: PUB, name: pub_name.clone() });
        apply(&mut cluster, &Rename { node: PUB, to: Some(new), domain: None });
        let there = Some(cluster.topology().node(PUB).address);
        assert_eq!([address(&cluster, "pub"), address(&cluster, "pub-new")], [there; 2]);
        apply(&mut cluster, &RemoveRecord { node: PUB, name: pub_name });
        assert_eq!([address(&cluster, "pub"), address(&cluster, "pub-new")], [None, there]);
    }

    /// REG-30: all certificates at once, of that server alone; configurations call it by its name
    /// in the new domain, and the old one still leads to it.
    #[test]
    fn another_domain_regenerates_every_service_certificate_of_the_node_too() {
        let mut cluster = cluster(Release::R8_6);
        cluster.topology.domain = Some("cucm.example".into());
        apply(&mut cluster, &AddRecord { node: PUB, name: "pub".into() });
        let held = |cluster: &Cluster, node| -> Vec<_> {
            let kinds = cluster.certificate_kinds(node);
            kinds.map(|kind| cluster.certificate(node, kind).clone()).collect()
        };
        let before = [PUB, SUB].map(|node| held(&cluster, node));
        let domain = Some("new.example".to_owned());
        apply(&mut cluster, &Rename { node: PUB, to: None, domain });
        let after = [PUB, SUB].map(|node| held(&cluster, node));
        assert!(before[0].iter().zip(&after[0]).all(|(old, new)| old != new));
        assert_eq!(before[1], after[1]);
        let subjects = |held: &[Certificate]| -> Vec<String> {
            held.iter().map(|one| one.subject().to_owned()).collect()
        };
        let [old, new] = [&before[0], &after[0]].map(|held| subjects(held));
        let same = old.iter().zip(&new).filter(|(old, new)| old == new).count();
        assert_eq!(same, old.len() - 1, "the host name stays; the name of CAPF is always new");
        let topology = cluster.topology();
        let names = topology.nodes.iter().map(|node| topology.full_name(node).unwrap());
        assert_eq!(names.collect::<Vec<_>>(), ["pub.new.example", "sub.cucm.example"]);
        let there = Some(topology.node(PUB).address);
        let leads = |cluster: &Cluster| {
            ["pub.cucm.example", "pub.new.example"]
                .map(|name| cluster.hosts().resolve(name, IpMode::Dual))
        };
        assert_eq!(leads(&cluster), [there; 2]);
        apply(&mut cluster, &RemoveRecord { node: PUB, name: "pub.cucm.example".into() });
        assert_eq!(leads(&cluster), [None, there]);
    }

    #[test]
    fn start_and_stop_change_what_runs_and_say_so_once() {
        let mut cluster = cluster(Release::R8_6);
        let stop = Services::stop(SUB, Some(ServiceKind::Tvs));
        let start = Services::start(SUB, Some(ServiceKind::Tvs));
        assert!(apply(&mut cluster, &start).is_empty(), "it runs already");
        assert!(matches!(
            apply(&mut cluster, &stop)[..],
            [Effect::Service(ServiceChange::Stopped { node: SUB, service: ServiceKind::Tvs })]
        ));
        assert!(
            cluster.dialogue(SUB, Dialogue::Tvs).is_none()
                && cluster.dialogue(PUB, Dialogue::Tvs).is_some()
        );
        assert!(apply(&mut cluster, &stop).is_empty());
        assert_eq!(started(&apply(&mut cluster, &start)), [(SUB, ServiceKind::Tvs)]);
        let all = Services::stop(SUB, None);
        assert_eq!(apply(&mut cluster, &all).len(), 2);
        assert!(cluster.dialogue(SUB, Dialogue::Tvs).is_none() && cluster.tftp(SUB).is_none());
        let all = Services::restart(SUB, None);
        let effects = apply(&mut cluster, &all);
        let both = [(SUB, ServiceKind::Tvs), (SUB, ServiceKind::Tftp)];
        assert_eq!(started(&effects), both, "TVS starts first");
    }

    #[test]
    fn a_service_or_certificate_that_is_not_there_is_named() {
        let mut cluster = cluster(Release::R8_6);
        let error = cluster.apply(&restart(ServiceKind::Capf, SUB), Time::ZERO).unwrap_err();
        assert!(error.to_string().contains("capf is not active on node sub"), "{error}");
        let action = regenerate(CertificateKind::ItlRecovery, PUB);
        let error = cluster.apply(&action, Time::ZERO).unwrap_err();
        assert!(error.to_string().contains("node pub has no ITLRecovery"), "{error}");
    }

    #[test]
    fn a_restart_with_a_new_signer_drops_the_signatures_of_the_old_one() {
        let mut cluster = cluster(Release::R8_6);
        cluster.tftp(PUB).unwrap().signed_list();
        cluster.tftp(SUB).unwrap().signed_list();
        assert_eq!(cluster.sign_cache().len(), 2);
        apply(&mut cluster, &restart(ServiceKind::Tftp, PUB));
        assert_eq!(cluster.sign_cache().len(), 2, "the same signer: its signatures hold");
        apply(&mut cluster, &regenerate(CertificateKind::CallManager, PUB));
        apply(&mut cluster, &restart(ServiceKind::Tftp, PUB));
        assert_eq!(cluster.sign_cache().len(), 1);
    }

    #[test]
    fn the_manufacturer_is_trusted_from_the_start_and_its_deletion_warns() {
        let mut cluster = cluster(Release::R8_6);
        let files = |cluster: &Cluster, node| -> Vec<String> {
            let items = cluster.stores().inventory(node, Time::ZERO).into_iter();
            let preloaded = items.filter(|item| item.origin == Some(Origin::Preloaded));
            preloaded.map(|item| format!("{}/{}", item.unit.name(), item.file_name())).collect()
        };
        assert_eq!([PUB, SUB].map(|node| files(&cluster, node).len()), [14, 14], "in two stores");
        let delete = |name: &str| DeleteCertificate {
            node: PUB,
            store: TrustStore::Capf,
            name: name.into(),
        };
        let effects = apply(&mut cluster, &delete("Cisco_Manufacturing_CA.pem"));
        let [Effect::Warn(warning)] = &effects[..] else { panic!("{effects:?}") };
        assert!(warning.contains("MIC"), "{warning}");
        let file = "CAPF-trust/Cisco_Manufacturing_CA.pem".to_owned();
        assert!([PUB, SUB].iter().all(|&node| !files(&cluster, node).contains(&file)));
        let again = cluster.apply(&delete("Cisco Manufacturing CA"), Time::ZERO).unwrap_err();
        assert!(again.to_string().contains("CAPF-trust on node pub has no"), "{again}");
    }

    #[test]
    fn a_ca_and_its_intermediate_are_trusted_and_sign_the_certificate() {
        let mut cluster = cluster(Release::R8_6);
        let import = Import {
            certificate: CertificateKind::Capf,
            nodes: vec![PUB],
            issuer: "Root".into(),
            intermediate: Some("Issuing".into()),
            valid: Span::from_secs(86_400),
            only: None,
        };
        apply(&mut cluster, &import);
        let items = cluster.stores().inventory(SUB, Time::ZERO);
        let find = |store, name: &str| {
            let is_it = |item: &&Item| {
                item.unit == Unit::Trust(store) && item.certificate.common_name() == name
            };
            items.iter().find(is_it).unwrap_or_else(|| panic!("{name}"))
        };
        for store in [TrustStore::Capf, TrustStore::CallManager] {
            let [root, issuing, own] = ["Root", "Issuing", "pub"].map(|name| find(store, name));
            assert!(own.certificate.was_issued_by(&issuing.certificate));
            assert!(issuing.certificate.was_issued_by(&root.certificate));
            assert_eq!(root.origin, Some(Origin::Replicated(PUB)));
        }
        apply(&mut cluster, &Import { certificate: CertificateKind::Tomcat, ..import });
        let items = cluster.stores().inventory(PUB, Time::ZERO);
        let roots = items.iter().filter(|item| item.certificate.common_name() == "Root");
        let roots: Vec<&Certificate> = roots.map(|item| &item.certificate).collect();
        assert_eq!(roots.len(), 3, "of three stores");
        assert!(roots.iter().all(|root| *root == roots[0]), "a CA keeps its key");
    }

    #[test]
    fn an_expired_certificate_harms_what_its_service_does() {
        let mut cluster = cluster(Release::R11_5);
        let valid = Span::from_secs(100);
        let upload = Upload::Of { name: "unity".into(), valid: Some(valid) };
        apply(&mut cluster, &ImportTrust { node: SUB, store: TrustStore::Phone, upload });
        let harms = |seconds: i64| impacts(cluster.stores(), Time::ZERO, 1_800_000_000 + seconds);
        assert_eq!(harms(0), []);
        let voicemail = harms(101);
        assert!(voicemail.iter().all(|harm| harm.consequence.contains("visual voicemail")));
        assert_eq!(voicemail.iter().map(|harm| harm.node).collect::<Vec<_>>(), [PUB, SUB]);
        let all = harms(6 * 365 * 86_400);
        for (kind, text) in [
            (CertificateKind::CallManager, "TFTP is not trusted"),
            (CertificateKind::Tomcat, "corporate directory"),
            (CertificateKind::Capf, "no LSC can be issued"),
            (CertificateKind::Ipsec, "DRS may not work"),
            (CertificateKind::Tvs, "almost everything"),
        ] {
            let of_kind = all.iter().filter(|harm| harm.item.unit == Unit::Service(kind));
            let texts: Vec<&str> = of_kind.map(|harm| harm.consequence).collect();
            assert_eq!(texts.len(), 2, "{kind:?}");
            assert!(texts[0].contains(text), "{texts:?}");
        }
    }

    #[test]
    fn stored_identities_are_used_instead_of_new_ones() {
        let mut first = cluster(Release::R8_6);
        let stored: BTreeMap<_, _> = first
            .stores()
            .identities()
            .map(|(node, kind, identity)| ((node, kind), identity.clone()))
            .collect();
        let again = Cluster::new(Genesis {
            topology: first.topology().clone(),
            fleet: first.fleet().clone(),
            source: KeySource::bank(9),
            epoch_s: 1,
            stored: Stored { own: stored, ..Stored::default() },
        });
        assert_eq!(signer(&first, SUB), signer(&again, SUB));
        assert_eq!(presented(&first, PUB), presented(&again, PUB));
        apply(&mut first, &Services::restart(PUB, None));
    }
}
