use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use crate::base::NodeId;
use crate::cluster::{Ports, ServiceKind, Topology, WebPorts};
use crate::net::{lack_of, listen, remedy};
use crate::wire::Dialogue;

/// The sockets of a cluster, open but not served yet.
///
/// They exist before the cluster does, because configurations carry the port of TVS.
#[derive(Debug)]
pub struct Bound {
    pub(super) topology: Topology,
    pub(super) tftp: Vec<(Place, UdpSocket)>,
    pub(super) http: Vec<(Place, TcpListener)>,
    pub(super) https: Vec<(Place, TcpListener)>,
    /// Of Tomcat: HTTP and HTTPS.
    pub(super) web: [Vec<(Place, TcpListener)>; 2],
    pub(super) dialogues: BTreeMap<Dialogue, Vec<(Place, TcpListener)>>,
}

/// Why a socket of a node cannot be opened.
#[derive(Debug)]
pub struct BindError {
    /// Which of the node's ports: `tftp`, `http`, `https`, `tomcat`, `tomcat-http` or `tvs`.
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
            web: [Vec::new(), Vec::new()],
            dialogues: BTreeMap::new(),
        };
        for node in topology.nodes_with(ServiceKind::Tftp) {
            let at = |service, address| Place::new(topology, node, service, address);
            let tftp = at("tftp", topology.socket(node, ServiceKind::Tftp)).udp()?;
            let Ports { http, https, .. } = topology.node(node).ports;
            let http = http.map(|_| at("http", topology.http_socket(node)).tcp()).transpose()?;
            let https =
                https.map(|_| at("https", topology.https_socket(node)).tcp()).transpose()?;
            let ports = bound.ports(node);
            ports.tftp = tftp.0.address.port();
            ports.http = http.as_ref().map(|(place, _)| place.address.port());
            ports.https = https.as_ref().map(|(place, _)| place.address.port());
            bound.tftp.push(tftp);
            bound.http.extend(http);
            bound.https.extend(https);
        }
        bound.bind_web(topology)?;
        for dialogue in Dialogue::ALL {
            for node in topology.nodes_in(dialogue) {
                let address = topology.dialogue_socket(node, dialogue);
                let open = Place::new(topology, node, dialogue.rules().name, address).tcp()?;
                let ports = bound.ports(node);
                *ports = ports.with(dialogue, open.0.address.port());
                bound.dialogues.entry(dialogue).or_default().push(open);
            }
        }
        Ok(bound)
    }

    /// Opens the sockets of Tomcat on the nodes where it has pages for phones.
    fn bind_web(&mut self, topology: &Topology) -> Result<(), BindError> {
        for node in topology.ids().filter(|&id| topology.node(id).ports.web.is_some()) {
            let at = |service, address| Place::new(topology, node, service, address).tcp();
            let http = at("tomcat-http", topology.plain_web_socket(node))?;
            let https = at("tomcat", topology.socket(node, ServiceKind::Tomcat))?;
            let [plain, secure] = [&http, &https].map(|(place, _)| place.address.port());
            self.ports(node).web = Some(WebPorts { http: plain, https: secure });
            self.web[0].push(http);
            self.web[1].push(https);
        }
        Ok(())
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

    fn ports(&mut self, node: NodeId) -> &mut Ports {
        &mut self.topology.nodes[node.index()].ports
    }
}

/// Where a service of a node listens: with its real port once it does.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) id: NodeId,
    /// Name of its port in a scenario.
    service: &'static str,
    /// Name of the node.
    pub(super) node: String,
    pub(super) address: SocketAddr,
}

impl Place {
    fn new(topology: &Topology, id: NodeId, service: &'static str, address: SocketAddr) -> Place {
        Place { id, service, node: topology.node(id).name.clone(), address }
    }

    fn udp(self) -> Result<(Place, UdpSocket), BindError> {
        self.open(listen::udp, UdpSocket::local_addr)
    }

    fn tcp(self) -> Result<(Place, TcpListener), BindError> {
        self.open(listen::tcp, TcpListener::local_addr)
    }

    fn open<S>(
        self,
        open: impl Fn(SocketAddr) -> io::Result<S>,
        address_of: impl Fn(&S) -> io::Result<SocketAddr>,
    ) -> Result<(Place, S), BindError> {
        let opened = open(self.address).and_then(|socket| Ok((address_of(&socket)?, socket)));
        let (address, socket) = opened.map_err(|cause| self.error(cause))?;
        Ok((Place { address, ..self }, socket))
    }

    pub(super) fn error(&self, cause: io::Error) -> BindError {
        let Place { service, node, address, .. } = self.clone();
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
        let services = vec![ServiceKind::Tftp, ServiceKind::Tvs];
        let address = address.parse().unwrap();
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
            registrar: None,
            replication_delay: crate::base::Span::ZERO,
            nodes: vec![NodeSpec {
                name: "pub".into(),
                domain: None,
                address,
                services,
                ports,
                expires: std::collections::BTreeMap::new(),
            }],
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
        assert!(real.tftp != 0 && real.of(Dialogue::Tvs) != 0 && real.of(Dialogue::Capf) == 0);
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
        let (topology, node) = (topology("127.0.0.1", Ports::default()), ClusterId::FIRST.node(0));
        let address = topology.socket(node, ServiceKind::Tftp);
        let place = Place::new(&topology, node, "tftp", address);
        let error = place.error(io::ErrorKind::PermissionDenied.into());
        assert!(error.to_string().contains("below 1024"), "{error}");
        assert!(error.to_string().contains("--set cluster.node.pub.ports.tftp=0"), "{error}");
    }
}
