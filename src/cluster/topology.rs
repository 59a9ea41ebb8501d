use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::base::{ClusterId, NodeId, Span};
use crate::wire::Dialogue;

use super::defect::Defect;
use super::kinds::{CertificateKind, FileSignature, RESTART_ORDER, ServiceKind, TrustStore};
use super::release::Release;
use super::security::Security;

/// The shape of a cluster: its release, nodes and CallManager groups. Valid by construction when
/// it comes from a scenario: at least one node, group members exist, shares add up to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// Which cluster it is.
    pub cluster: ClusterId,
    /// Release profile: which rules that changed between releases are in force.
    pub release: Release,
    /// What becomes of signatures that were made.
    pub sign_cache: SignCacheMode,
    /// Size of every RSA key of the cluster in bits: 2048 or 4096.
    pub key_bits: u16,
    /// Digest of the signatures of lists and files.
    pub file_signature: FileSignature,
    /// Whether the buttons of phones lead to pages over HTTPS ("Secured Phone URL Parameters").
    pub secured_urls: bool,
    /// Whether it has a CTL, and who signs that.
    pub security: Security,
    /// Domain of the nodes in the DNS: configurations call them by their full names, as those of
    /// a cluster do whose *System > Server* holds names; `None` calls them by their addresses.
    pub domain: Option<String>,
    /// Known defects that its release has.
    pub faults: Vec<Defect>,
    /// How long a change of the certificate stores takes to the other nodes.
    pub replication_delay: Span,
    /// How its nodes register phones, if they do.
    pub registrar: Option<Registrar>,
    /// The nodes; the first is the publisher. At most 64.
    pub nodes: Vec<NodeSpec>,
    /// CallManager groups in the order of the scenario; at least one.
    pub groups: Vec<GroupSpec>,
}

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Host name, as it stands in certificates and configurations.
    pub name: String,
    /// Its domain after it was moved out of that of the cluster.
    pub domain: Option<String>,
    /// Address of all services of the node.
    pub address: IpAddr,
    /// Services that are active on the node.
    pub services: Vec<ServiceKind>,
    /// Ports of the services; 0 lets the operating system choose.
    pub ports: Ports,
    /// How long its certificates still last at the start of the run; those that are not named are
    /// new.
    pub expires: BTreeMap<CertificateKind, Span>,
}

/// How the CallManager services of a cluster register phones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Registrar {
    /// Registrations that a node takes in a second (guess: 100); 0 is no limit.
    pub rate_per_node: f64,
    /// For how long a registration holds (choice: an hour).
    pub expires: Span,
}

impl Default for Registrar {
    fn default() -> Registrar {
        Registrar { rate_per_node: 100.0, expires: Span::from_secs(3_600) }
    }
}

impl Registrar {
    /// From one registration to the next at one node, if that is limited.
    pub fn gap(&self) -> Option<Span> {
        let nanos = (1e9 / self.rate_per_node) as u64;
        (self.rate_per_node > 0.0).then(|| Span::from_nanos(nanos))
    }
}

/// Ports of the services of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// UDP port of TFTP (69 on a real node).
    pub tftp: u16,
    /// TCP port on which the TFTP service answers HTTP (6970 on a real node); `None` if it does
    /// not.
    pub http: Option<u16>,
    /// TCP ports of the dialogues, in their order (TVS: 2445, TVS-02; CAPF: 3804, CAPF-02).
    pub dialogues: [u16; Dialogue::ALL.len()],
    /// TCP port on which the TFTP service answers HTTPS (6971 on a real node); `None` if it does
    /// not.
    pub https: Option<u16>,
    /// TCP ports of Tomcat, if it has pages for phones.
    pub web: Option<WebPorts>,
}

/// TCP ports on which Tomcat of a node answers phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebPorts {
    /// HTTP (8080 on a real node).
    pub http: u16,
    /// HTTPS (8443, HTTPS-02).
    pub https: u16,
}

impl WebPorts {
    /// Those of a real node.
    pub const USUAL: WebPorts = WebPorts { http: 8080, https: 8443 };
}

/// Where phones ask a node for files over HTTP, whether it answers there or not.
pub const HTTP_PORT: u16 = 6970;

/// Where phones ask a node for their configuration over HTTPS, whether it answers there or not.
pub const HTTPS_PORT: u16 = 6971;

impl Ports {
    /// All that the operating system chooses; no HTTP and no HTTPS.
    pub const ANY: Ports =
        Ports { tftp: 0, dialogues: [0; Dialogue::ALL.len()], http: None, https: None, web: None };

    /// The port of a dialogue.
    pub const fn of(&self, dialogue: Dialogue) -> u16 {
        self.dialogues[dialogue as usize]
    }

    /// The same ports with another one for a dialogue.
    #[must_use]
    pub const fn with(mut self, dialogue: Dialogue, port: u16) -> Ports {
        self.dialogues[dialogue as usize] = port;
        self
    }
}

impl Default for Ports {
    fn default() -> Ports {
        let dialogues = Dialogue::ALL.map(|dialogue| dialogue.rules().port);
        Ports { tftp: 6969, dialogues, http: None, https: None, web: None }
    }
}

/// A CallManager group: up to three nodes, the first is asked first (TVS-04).
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSpec {
    /// Name of the group.
    pub name: String,
    /// Its nodes in the order in which phones ask them; 1 to 3.
    pub members: Vec<NodeId>,
    /// Share of the fleet in this group, 0..=1.
    pub share: f64,
}

/// Nodes of a service that are called by name in a line; more are counted.
const NAMED_MAX: usize = 3;

/// What becomes of signatures that were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignCacheMode {
    /// Every request makes its own signature.
    Off,
    /// A signature is made at the first request for its file and kept.
    Lazy,
    /// All signatures are made in parallel when the TFTP service starts.
    Prewarm,
}

/// Every cache mode.
pub const SIGN_CACHE_MODES: [SignCacheMode; 3] =
    [SignCacheMode::Off, SignCacheMode::Lazy, SignCacheMode::Prewarm];

impl SignCacheMode {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            SignCacheMode::Off => "off",
            SignCacheMode::Lazy => "lazy",
            SignCacheMode::Prewarm => "prewarm",
        }
    }
}

/// Within which time the phones boot that a silent reset reaches, in a cluster that says no other
/// time (choice).
const SILENT_SPREAD: Span = Span::from_secs(30);

impl Topology {
    /// The services that listen and where, such as `tftp on pub`.
    pub fn running(&self) -> Vec<String> {
        let on = |service: ServiceKind, has: &dyn Fn(&NodeSpec) -> bool| -> Vec<&str> {
            let nodes = self.nodes.iter().filter(|node| node.services.contains(&service));
            nodes.filter(|node| has(node)).map(|node| node.name.as_str()).collect()
        };
        let all = [
            ("tftp", on(ServiceKind::Tftp, &|_| true)),
            ("http", on(ServiceKind::Tftp, &|node| node.ports.http.is_some())),
            ("https", on(ServiceKind::Tftp, &|node| node.ports.https.is_some())),
        ];
        let dialogues = Dialogue::ALL.map(|dialogue| {
            let service = ServiceKind::of(dialogue);
            let answers = self.dialogues(service).contains(&dialogue);
            (dialogue.rules().name, on(service, &|_| answers))
        });
        let with_pages = self.nodes.iter().filter(|node| node.ports.web.is_some());
        let web = [("tomcat", with_pages.map(|node| node.name.as_str()).collect())];
        let words = |(name, nodes): (&str, Vec<&str>)| match nodes.len() {
            0 => None,
            1..=NAMED_MAX => Some(format!("{name} on {}", nodes.join(", "))),
            count => Some(format!("{name} on {count} nodes")),
        };
        all.into_iter().chain(dialogues).chain(web).filter_map(words).collect()
    }

    /// Whether a service is active on a node: a scenario says so of each, but for Tomcat and DRF
    /// Local, which every node has, DRF Master and CTL Provider, which the publisher has, and
    /// `CTIManager`, which goes with CallManager (choice).
    pub fn is_active(&self, node: NodeId, service: ServiceKind) -> bool {
        let placed = &self.node(node).services;
        match service {
            ServiceKind::Tomcat | ServiceKind::DrfLocal => true,
            ServiceKind::DrfMaster | ServiceKind::CtlProvider => node.index() == 0,
            ServiceKind::CtiManager => placed.contains(&ServiceKind::CallManager),
            ServiceKind::CallManager | ServiceKind::Capf | ServiceKind::Tftp | ServiceKind::Tvs => {
                placed.contains(&service)
            }
        }
    }

    /// The dialogues in which a service answers: a CallManager in none, unless phones register.
    pub const fn dialogues(&self, service: ServiceKind) -> &'static [Dialogue] {
        match service {
            ServiceKind::CallManager if self.registrar.is_none() => &[],
            service => service.dialogues(),
        }
    }

    /// Whether anything listens for a service: the others have their certificates and flags only.
    pub const fn is_served(&self, service: ServiceKind) -> bool {
        matches!(service, ServiceKind::Tftp) || !self.dialogues(service).is_empty()
    }

    /// The nodes that answer in a dialogue, in order.
    pub fn nodes_in(&self, dialogue: Dialogue) -> impl Iterator<Item = NodeId> + '_ {
        let service = ServiceKind::of(dialogue);
        let answers = self.dialogues(service).contains(&dialogue);
        self.nodes_with(service).filter(move |_| answers)
    }

    /// Whether a CTL names this node: it signs files or registers phones.
    pub fn is_in_ctl(&self, node: NodeId) -> bool {
        let services = &self.node(node).services;
        services.contains(&ServiceKind::Tftp) || services.contains(&ServiceKind::CallManager)
    }

    /// Within which time the regeneration of such a certificate resets the phones by itself, if it
    /// does.
    pub fn auto_reset(&self, certificate: CertificateKind) -> Option<Span> {
        if self.resets_silently(certificate) {
            return Some(self.silent_spread());
        }
        let resets = self.release.rules().auto_reset.contains(&certificate);
        self.security.auto_reset.filter(|_| resets)
    }

    /// Within which time the deletion of a trusted certificate restarts the phones, if it does
    /// (REG-29, X-13).
    pub fn restart_by_deletion(&self, store: TrustStore) -> Option<Span> {
        let restarts = self.has(Defect::DeletionRestarts) && store.restarts_devices();
        restarts.then(|| self.silent_spread())
    }

    fn silent_spread(&self) -> Span {
        self.security.auto_reset.unwrap_or(SILENT_SPREAD)
    }

    /// Whether nobody is told of such a reset (`CSCue55353`, which names the three).
    pub fn resets_silently(&self, certificate: CertificateKind) -> bool {
        use CertificateKind::{CallManager, Capf, Tvs};
        self.has(Defect::SilentReset) && [CallManager, Capf, Tvs].contains(&certificate)
    }

    /// Whether the cluster has a defect.
    pub fn has(&self, defect: Defect) -> bool {
        self.faults.contains(&defect)
    }

    /// Whether `show itl` and `show ctl` begin with checksums (CLI-08).
    pub fn lists_have_checksums(&self) -> bool {
        self.release.rules().lists_have_checksums && !self.has(Defect::NoChecksums)
    }

    /// The nodes, in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        let cluster = self.cluster;
        (0..self.nodes.len() as u8).map(move |node| cluster.node(node))
    }

    /// The node with this name, if there is one.
    pub fn node_named(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name).map(|at| self.cluster.node(at as u8))
    }

    /// The nodes on which `service` is active, in order.
    pub fn nodes_with(&self, service: ServiceKind) -> impl Iterator<Item = NodeId> + '_ {
        self.ids().filter(move |&id| self.is_active(id, service))
    }

    /// What these new certificates want restarted, in the order in which it is.
    pub fn restarts_for(
        &self,
        changed: &[(NodeId, CertificateKind)],
    ) -> Vec<(NodeId, ServiceKind)> {
        let wants = |service: ServiceKind, node: NodeId| {
            changed.iter().any(|&(other, kind)| {
                let (here, elsewhere) = kind.restarts();
                if other == node { here } else { elsewhere }.contains(&service)
            })
        };
        let of = |service| {
            let due = self.ids().filter(move |&node| self.is_active(node, service));
            due.filter(move |&node| wants(service, node)).map(move |node| (node, service))
        };
        RESTART_ORDER.into_iter().flat_map(of).collect()
    }

    /// The nodes at which phones register, if they do: the members of the `CallManager` groups.
    pub fn registrars(&self) -> impl Iterator<Item = &NodeSpec> + '_ {
        let groups = self.groups.iter().filter(|_| self.registrar.is_some());
        groups.flat_map(|group| &group.members).map(|&id| self.node(id))
    }

    /// The nodes that have pages for phones.
    pub fn page_nodes(&self) -> impl Iterator<Item = &NodeSpec> + '_ {
        self.nodes.iter().filter(|node| node.ports.web.is_some())
    }

    /// The full name of a node in the DNS, if configurations carry names.
    pub fn full_name(&self, node: &NodeSpec) -> Option<String> {
        self.record_name(node, &node.name)
    }

    /// The full name of a node's record in the DNS, if configurations carry names: `name` is one
    /// with a domain, or a host name in the domain of the node.
    pub fn record_name(&self, node: &NodeSpec, name: &str) -> Option<String> {
        let domain = self.domain.as_ref()?;
        let domain = node.domain.as_ref().unwrap_or(domain);
        Some(if name.contains('.') { name.to_owned() } else { format!("{name}.{domain}") })
    }

    /// The node with this number; numbers come from this topology.
    pub fn node(&self, id: NodeId) -> &NodeSpec {
        &self.nodes[id.index()]
    }

    /// The address and port of a service of a node.
    pub fn socket(&self, id: NodeId, service: ServiceKind) -> SocketAddr {
        let node = self.node(id);
        let port = match service {
            ServiceKind::CallManager => 5060,
            ServiceKind::Capf => node.ports.of(Dialogue::Capf),
            ServiceKind::Tftp => node.ports.tftp,
            ServiceKind::Tvs => node.ports.of(Dialogue::Tvs),
            // Ports of a real node; nothing listens there.
            ServiceKind::CtiManager => 2748,
            ServiceKind::CtlProvider => 2444,
            ServiceKind::Tomcat => node.ports.web.unwrap_or(WebPorts::USUAL).https,
            ServiceKind::DrfLocal | ServiceKind::DrfMaster => 4040,
        };
        SocketAddr::new(node.address, port)
    }

    /// The address and port where a node answers in a dialogue.
    pub fn dialogue_socket(&self, id: NodeId, dialogue: Dialogue) -> SocketAddr {
        let node = self.node(id);
        SocketAddr::new(node.address, node.ports.of(dialogue))
    }

    /// The address and port where phones ask a node for files over HTTP.
    pub fn http_socket(&self, id: NodeId) -> SocketAddr {
        let node = self.node(id);
        SocketAddr::new(node.address, node.ports.http.unwrap_or(HTTP_PORT))
    }

    /// The address and port where phones ask a node for their configuration over HTTPS.
    pub fn https_socket(&self, id: NodeId) -> SocketAddr {
        let node = self.node(id);
        SocketAddr::new(node.address, node.ports.https.unwrap_or(HTTPS_PORT))
    }

    /// How phones call the Tomcat of a node: by its full name, or by its address where there is no
    /// domain.
    pub fn web_host(&self, id: NodeId) -> String {
        let node = self.node(id);
        self.full_name(node).unwrap_or_else(|| node.address.to_string())
    }

    /// The address and port where Tomcat of a node has its pages over HTTP.
    pub fn plain_web_socket(&self, id: NodeId) -> SocketAddr {
        let node = self.node(id);
        SocketAddr::new(node.address, node.ports.web.unwrap_or(WebPorts::USUAL).http)
    }

    /// The node whose Tomcat listens at this address, and whether that is its port of HTTPS.
    pub fn web_at(&self, server: SocketAddr) -> Option<(NodeId, bool)> {
        let has_pages = |id: &NodeId| self.node(*id).ports.web.is_some();
        self.ids().filter(has_pages).find_map(|id| match server {
            _ if server == self.socket(id, ServiceKind::Tomcat) => Some((id, true)),
            _ if server == self.plain_web_socket(id) => Some((id, false)),
            _ => None,
        })
    }

    /// The number of phones of each group for a fleet of `phones`: shares split by largest
    /// remainder, so that the parts add up to the whole (`decisions.md`, first scenario).
    pub fn group_sizes(&self, phones: u32) -> Vec<u32> {
        let exact: Vec<f64> =
            self.groups.iter().map(|group| group.share * f64::from(phones)).collect();
        let mut sizes: Vec<u32> = exact.iter().map(|share| share.floor() as u32).collect();
        let mut order: Vec<usize> = (0..exact.len()).collect();
        order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()).then(a.cmp(&b)));
        let missing = phones.saturating_sub(sizes.iter().sum());
        for &group in order.iter().cycle().take(missing as usize) {
            sizes[group] += 1;
        }
        sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_shares(shares: &[f64]) -> Topology {
        let group =
            |&share| GroupSpec { name: "g".into(), members: vec![ClusterId::FIRST.node(0)], share };
        Topology {
            cluster: ClusterId::FIRST,
            release: Release::R8_6,
            sign_cache: SignCacheMode::Lazy,
            key_bits: 2048,
            file_signature: Release::R8_6.file_signature(),
            secured_urls: true,
            security: crate::cluster::Security::default(),
            domain: None,
            faults: Vec::new(),
            replication_delay: Span::ZERO,
            registrar: None,
            nodes: vec![],
            groups: shares.iter().map(group).collect(),
        }
    }

    #[test]
    fn group_sizes_are_split_by_largest_remainder() {
        assert_eq!(with_shares(&[1.0]).group_sizes(2_000), [2_000]);
        assert_eq!(with_shares(&[0.9, 0.1]).group_sizes(300), [270, 30]);
        assert_eq!(with_shares(&[0.33, 0.33, 0.34]).group_sizes(10), [3, 3, 4]);
        assert_eq!(with_shares(&[0.55, 0.45]).group_sizes(3), [2, 1]);
        assert_eq!(with_shares(&[0.5, 0.5]).group_sizes(1), [1, 0], "ties go to the earlier group");
    }
}
