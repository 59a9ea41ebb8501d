use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::base::{ClusterId, NodeId};
use crate::wire::{DIGEST_SHA1, DIGEST_SHA512, Dialogue};

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
    /// Domain of the nodes in the DNS: configurations call them by their full names, as those of
    /// a cluster do whose *System > Server* holds names; `None` calls them by their addresses.
    pub domain: Option<String>,
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
    /// Address of all services of the node.
    pub address: IpAddr,
    /// Services that are active on the node.
    pub services: Vec<ServiceKind>,
    /// Ports of the services; 0 lets the operating system choose.
    pub ports: Ports,
}

/// Ports of the services of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// UDP port of TFTP (69 on a real node).
    pub tftp: u16,
    /// TCP port of TVS (2445, TVS-02).
    pub tvs: u16,
    /// TCP port of CAPF (3804, CAPF-02).
    pub capf: u16,
    /// TCP port on which the TFTP service answers HTTP (6970 on a real node); `None` if it does
    /// not.
    pub http: Option<u16>,
    /// TCP port on which the TFTP service answers HTTPS (6971 on a real node); `None` if it does
    /// not.
    pub https: Option<u16>,
}

/// Where phones ask a node for files over HTTP, whether it answers there or not.
pub const HTTP_PORT: u16 = 6970;

/// Where phones ask a node for their configuration over HTTPS, whether it answers there or not.
pub const HTTPS_PORT: u16 = 6971;

impl Ports {
    /// All that the operating system chooses; no HTTP and no HTTPS.
    pub const ANY: Ports = Ports { tftp: 0, tvs: 0, capf: 0, http: None, https: None };

    /// The port of a dialogue.
    pub const fn of(&mut self, dialogue: Dialogue) -> &mut u16 {
        match dialogue {
            Dialogue::Tvs => &mut self.tvs,
        }
    }
}

impl Default for Ports {
    fn default() -> Ports {
        Ports { tftp: 6969, tvs: 2445, capf: 3804, http: None, https: None }
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

/// A service of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKind {
    /// Cisco CallManager.
    CallManager,
    /// Certificate Authority Proxy Function.
    Capf,
    /// Cisco TFTP.
    Tftp,
    /// Trust Verification Service.
    Tvs,
}

/// Every service, in the order of the enum.
pub const SERVICES: [ServiceKind; 4] =
    [ServiceKind::CallManager, ServiceKind::Capf, ServiceKind::Tftp, ServiceKind::Tvs];

impl ServiceKind {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            ServiceKind::CallManager => "callmanager",
            ServiceKind::Capf => "capf",
            ServiceKind::Tftp => "tftp",
            ServiceKind::Tvs => "tvs",
        }
    }
}

/// A kind of service certificate (CERT-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateKind {
    /// CallManager.pem: signs the ITL (before 12.0) and every configuration file.
    CallManager,
    /// CAPF.pem: signs LSCs.
    Capf,
    /// ITLRecovery.pem: the second SAST of a list, from 10.x; lives on the publisher.
    ItlRecovery,
    /// TVS.pem: identity of the TVS server.
    Tvs,
}

/// Every kind of certificate, in the order of the enum.
pub const CERTIFICATES: [CertificateKind; 4] = [
    CertificateKind::CallManager,
    CertificateKind::Capf,
    CertificateKind::ItlRecovery,
    CertificateKind::Tvs,
];

impl CertificateKind {
    /// The name in scenario files and of the PEM file.
    pub const fn name(self) -> &'static str {
        match self {
            CertificateKind::CallManager => "CallManager",
            CertificateKind::Capf => "CAPF",
            CertificateKind::ItlRecovery => "ITLRecovery",
            CertificateKind::Tvs => "TVS",
        }
    }
}

/// Release profile: the rules of a family of releases (`spec/domain.md` section 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// 8.x and 9.x: no ITLRecovery, role CCM+TFTP.
    R8_6,
    /// 10.x and 11.x: ITLRecovery as second SAST, role TFTP.
    R11_5,
    /// 12.x: ITLRecovery signs the ITL.
    R12_5,
    /// 14 and later: as 12.x, with SHA-512 signatures and HTTPS from the start.
    R14,
}

/// Every release profile, oldest first.
pub const RELEASES: [Release; 4] = [Release::R8_6, Release::R11_5, Release::R12_5, Release::R14];

impl Release {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            Release::R8_6 => "8.6",
            Release::R11_5 => "11.5",
            Release::R12_5 => "12.5",
            Release::R14 => "14",
        }
    }

    /// Whether the cluster has an ITLRecovery certificate (CERT-03).
    pub const fn has_itl_recovery(self) -> bool {
        matches!(self, Release::R11_5 | Release::R12_5 | Release::R14)
    }

    /// Which certificate signs the ITL: that of the TFTP node before 12.x, then the cluster's
    /// ITLRecovery (`spec/domain.md` section 14).
    pub const fn itl_signer(self) -> CertificateKind {
        match self {
            Release::R8_6 | Release::R11_5 => CertificateKind::CallManager,
            Release::R12_5 | Release::R14 => CertificateKind::ItlRecovery,
        }
    }

    /// The digest of signatures while nobody changes the enterprise parameter "TFTP File
    /// Signature Algorithm" (TFTP-07). SHA-512 as the default of 14 is a guess: it is seen on
    /// current clusters.
    pub const fn file_signature(self) -> FileSignature {
        match self {
            Release::R8_6 | Release::R11_5 | Release::R12_5 => FileSignature::Sha1,
            Release::R14 => FileSignature::Sha512,
        }
    }

    /// What header tag 28 says in this release: nothing up to 11.x, then 1.1 if files are signed
    /// with SHA-512, which also tells phones of HTTPS, else 1.0 (`spec/trust-list.md` section 2).
    pub const fn signer_version(self, signature: FileSignature) -> Option<(u8, u8)> {
        match (self, signature) {
            (Release::R8_6 | Release::R11_5, _) => None,
            (Release::R12_5 | Release::R14, FileSignature::Sha1) => Some((1, 0)),
            (Release::R12_5 | Release::R14, FileSignature::Sha512) => Some((1, 1)),
        }
    }
}

/// Digest of the signatures of lists and files: the enterprise parameter "TFTP File Signature
/// Algorithm".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileSignature {
    /// SHA-1, weak, and what clusters up to 12.x use by default.
    Sha1,
    /// SHA-512.
    Sha512,
}

/// Every digest of file signatures.
pub const FILE_SIGNATURES: [FileSignature; 2] = [FileSignature::Sha1, FileSignature::Sha512];

impl FileSignature {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            FileSignature::Sha1 => "sha1",
            FileSignature::Sha512 => "sha512",
        }
    }

    /// The digest id of header tag 8.
    pub const fn digest(self) -> u8 {
        match self {
            FileSignature::Sha1 => DIGEST_SHA1,
            FileSignature::Sha512 => DIGEST_SHA512,
        }
    }
}

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
            ("tvs", on(ServiceKind::Tvs, &|_| true)),
        ];
        let words = |(name, nodes): (&str, Vec<&str>)| match nodes.len() {
            0 => None,
            1..=NAMED_MAX => Some(format!("{name} on {}", nodes.join(", "))),
            count => Some(format!("{name} on {count} nodes")),
        };
        all.into_iter().filter_map(words).collect()
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
        self.ids()
            .zip(&self.nodes)
            .filter(move |(_, node)| node.services.contains(&service))
            .map(|(id, _)| id)
    }

    /// The full name of the host `name` in the DNS, if configurations carry names.
    pub fn full_name(&self, name: &str) -> Option<String> {
        self.domain.as_ref().map(|domain| format!("{name}.{domain}"))
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
            ServiceKind::Capf => node.ports.capf,
            ServiceKind::Tftp => node.ports.tftp,
            ServiceKind::Tvs => node.ports.tvs,
        };
        SocketAddr::new(node.address, port)
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

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
            domain: None,
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
