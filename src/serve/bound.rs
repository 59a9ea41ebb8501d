use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use crate::base::NodeId;
use crate::cluster::{ServiceKind, Topology};
use crate::net::{lack_of, listen, remedy};
use crate::wire::Dialogue;

/// The sockets of a cluster, open but not served yet.
///
/// They exist before the cluster does, because configurations carry the port of TVS.
#[derive(Debug)]
pub struct Bound {
    pub(super) topology: Topology,
    pub(super) tftp: Vec<(NodeId, UdpSocket)>,
    pub(super) http: Vec<(NodeId, TcpListener)>,
    pub(super) https: Vec<(NodeId, TcpListener)>,
    pub(super) dialogues: BTreeMap<Dialogue, Vec<(NodeId, TcpListener)>>,
}

/// Why a socket of a node cannot be opened.
#[derive(Debug)]
pub struct BindError {
    /// Which of the node's ports: `tftp`, `http`, `https` or `tvs`.
    pub service: &'static str,
    /// Name of the node.
    pub node: String,
    /// Address and port that were asked for.
    pub address: SocketAddr,
    /// What the host said.
    pub cause: io::Error,
}

impl Bound {
    /// Opens the TFTP, HTTP, HTTPS and dialogue sockets of every node; for port 0 the host chooses one.
    pub fn bind(topology: &Topology) -> Result<Bound, BindError> {
        let mut bound = Bound {
            topology: topology.clone(),
            tftp: Vec::new(),
            http: Vec::new(),
            https: Vec::new(),
            dialogues: BTreeMap::new(),
        };
        for node in topology.nodes_with(ServiceKind::Tftp) {
            let place = Place::of(topology, node, ServiceKind::Tftp);
            let (socket, port) = place.open(listen::udp, UdpSocket::local_addr)?;
            bound.ports(node).tftp = port;
            bound.tftp.push((node, socket));
            if topology.node(node).ports.http.is_some() {
                let place = Place::of_http(topology, node);
                let (listener, port) = place.open(listen::tcp, TcpListener::local_addr)?;
                bound.ports(node).http = Some(port);
                bound.http.push((node, listener));
            }
            if topology.node(node).ports.https.is_some() {
                let place = Place::of_https(topology, node);
                let (listener, port) = place.open(listen::tcp, TcpListener::local_addr)?;
                bound.ports(node).https = Some(port);
                bound.https.push((node, listener));
            }
        }
        for dialogue in Dialogue::ALL {
            for node in topology.nodes_with(ServiceKind::Dialogue(dialogue)) {
                let place = Place::of(topology, node, ServiceKind::Dialogue(dialogue));
                let (listener, port) = place.open(listen::tcp, TcpListener::local_addr)?;
                let ports = bound.ports(node);
                *ports = ports.with(dialogue, port);
                bound.dialogues.entry(dialogue).or_default().push((node, listener));
            }
        }
        Ok(bound)
    }

    /// The shape of the cluster with the real port numbers.
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The smallest receive buffer in bytes that the host granted to a TFTP socket; below
    /// [`listen::RECEIVE_BUFFER`] a wave of requests may overflow it.
    pub fn receive_buffer(&self) -> Option<usize> {
        self.tftp.iter().filter_map(|(_, socket)| listen::receive_buffer(socket).ok()).min()
    }

    fn ports(&mut self, node: NodeId) -> &mut crate::cluster::Ports {
        &mut self.topology.nodes[node.index()].ports
    }
}

/// Where a service of a node listens.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Name of its port in a scenario.
    pub(super) service: &'static str,
    pub(super) node: String,
    pub(super) address: SocketAddr,
}

impl Place {
    pub(super) fn of(topology: &Topology, node: NodeId, service: ServiceKind) -> Place {
        let name = topology.node(node).name.clone();
        Place { service: service.name(), node: name, address: topology.socket(node, service) }
    }

    /// Where the TFTP service of a node answers HTTP.
    pub(super) fn of_http(topology: &Topology, node: NodeId) -> Place {
        let name = topology.node(node).name.clone();
        Place { service: "http", node: name, address: topology.http_socket(node) }
    }

    /// Where the TFTP service of a node answers HTTPS.
    pub(super) fn of_https(topology: &Topology, node: NodeId) -> Place {
        let name = topology.node(node).name.clone();
        Place { service: "https", node: name, address: topology.https_socket(node) }
    }

    /// Opens a socket here and tells its port.
    fn open<S>(
        &self,
        open: impl Fn(SocketAddr) -> io::Result<S>,
        address_of: impl Fn(&S) -> io::Result<SocketAddr>,
    ) -> Result<(S, u16), BindError> {
        open(self.address)
            .and_then(|socket| address_of(&socket).map(|address| (socket, address.port())))
            .map_err(|cause| self.error(cause))
    }

    pub(super) fn error(&self, cause: io::Error) -> BindError {
        let Place { service, node, address } = self.clone();
        BindError { service, node, address, cause }
    }
}

impl std::error::Error for BindError {}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError { service, node, address, cause } = self;
        write!(f, "cannot open the {service} socket of node {node} at {address}: {cause}; ")?;
        let port = format_args!("--set cluster.node.{node}.ports.{service}");
        match cause.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "stop the program that has the port, or let the host choose: {port}=0")
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "ports below 1024 need a privilege; let the host choose: {port}=0")
            }
            io::ErrorKind::AddrNotAvailable => write!(
                f,
                "no interface of this host has the address; add it to one, or use another: \
                 --set cluster.node.{node}.address=127.0.0.1"
            ),
            _ if lack_of(cause).is_some() => f.write_str(remedy(cause)),
            _ => write!(f, "choose another address or port, such as {port}=0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClusterId;
    use crate::cluster::{NodeSpec, Ports, Release, SignCacheMode};

    fn topology(address: &str, ports: Ports) -> Topology {
        let services = vec![ServiceKind::Tftp, ServiceKind::TVS];
        let address = address.parse().unwrap();
        Topology {
            cluster: ClusterId::FIRST,
            release: Release::R8_6,
            sign_cache: SignCacheMode::Lazy,
            key_bits: 2048,
            file_signature: Release::R8_6.file_signature(),
            security: Default::default(),
            domain: None,
            nodes: vec![NodeSpec { name: "pub".into(), address, services, ports }],
            groups: vec![],
        }
    }

    #[test]
    fn the_host_chooses_ports_and_the_topology_names_them() {
        let ports = Ports { http: Some(0), ..Ports::ANY };
        let bound = Bound::bind(&topology("127.0.0.1", ports)).unwrap();
        let real = bound.topology().nodes[0].ports;
        assert_eq!(bound.tftp[0].1.local_addr().unwrap().port(), real.tftp);
        assert_eq!(
            bound.dialogues[&Dialogue::Tvs][0].1.local_addr().unwrap().port(),
            real.of(Dialogue::Tvs)
        );
        assert_eq!(Some(bound.http[0].1.local_addr().unwrap().port()), real.http);
        assert!(real.tftp != 0 && real.of(Dialogue::Tvs) != 0 && real.capf == 0);
        assert!(bound.receive_buffer().unwrap() > 0);
    }

    #[test]
    fn a_port_in_use_names_node_address_and_remedy() {
        let ports = Ports::ANY;
        let first = Bound::bind(&topology("127.0.0.1", ports)).unwrap();
        let tvs = first.topology().nodes[0].ports.of(Dialogue::Tvs);
        let error =
            Bound::bind(&topology("127.0.0.1", ports.with(Dialogue::Tvs, tvs))).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("tvs socket of node pub at 127.0.0.1:{tvs}")), "{text}");
        assert!(text.contains("--set cluster.node.pub.ports.tvs=0"), "{text}");
        let http = Some(tvs);
        let error = Bound::bind(&topology("127.0.0.1", Ports { http, ..ports })).unwrap_err();
        assert!(error.to_string().contains("--set cluster.node.pub.ports.http=0"), "{error}");
    }

    #[test]
    fn an_address_of_another_host_names_the_remedy() {
        let ports = Ports::ANY;
        // TEST-NET-1 (RFC 5737) is no host's address.
        let error = Bound::bind(&topology("192.0.2.1", ports)).unwrap_err();
        assert!(error.to_string().contains("--set cluster.node.pub.address="), "{error}");
    }

    #[test]
    fn a_privileged_port_names_the_remedy() {
        let place = Place::of(
            &topology("127.0.0.1", Ports::default()),
            ClusterId::FIRST.node(0),
            ServiceKind::Tftp,
        );
        let error = place.error(io::ErrorKind::PermissionDenied.into());
        assert!(error.to_string().contains("below 1024"), "{error}");
        assert!(error.to_string().contains("--set cluster.node.pub.ports.tftp=0"), "{error}");
    }
}
