use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::base::PhoneId;
use crate::measure::LoadFault;
use crate::net::TlsClients;
use crate::net::fleet::{address_from, connect_from};
use crate::toolbox::ServerPin;
use crate::wire::Dialogue;
use crate::wire::uri::encode_path;

use super::engine::Target;
use super::enrol::{self, CapfTarget};
use super::faults::{fault_of, fault_of_tls};
use super::register::{SipTarget, register};
use super::workload::{Content, Failure, Got, Op, Reading, What};

/// Longest head of an answer in bytes.
const HEAD_MAX: usize = 16 * 1_024;
/// Longest body of a 404 that is read, so that the connection can be kept.
const NOT_FOUND_MAX: u64 = 64 * 1_024;
/// Longest file in bytes: a server that never ends is given up here (choice).
const FILE_MAX: u64 = 1 << 32;

/// How HTTP and TVS servers, CAPF and registrars are asked.
#[derive(Clone, Debug)]
pub struct TcpClient {
    /// HTTP server.
    pub http: Option<SocketAddr>,
    /// TVS server and who it must be.
    pub tvs: Option<(SocketAddr, ServerPin)>,
    /// CAPF, and how phones enrol there.
    pub capf: Option<CapfTarget>,
    /// A registrar.
    pub sip: Option<SipTarget>,
    /// Longest wait for an answer, connection and handshake included; within a file for each
    /// further piece.
    pub patience: Duration,
    /// Makes the TLS configurations.
    pub tls: TlsClients,
}

/// The requests of one start that go to TCP servers one after the other: files on one connection,
/// each question on its own.
#[derive(Debug)]
pub struct Talk {
    client: TcpClient,
    /// Addresses towards the HTTP and the TVS server, CAPF and the registrar; `None` is the host's
    /// choice.
    sources: [Option<Ipv4Addr>; 4],
    /// Whether the bytes of files are looked at.
    keep: bool,
    kept: Option<Connection>,
}

/// An open HTTP connection and the task that drives it.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Talk {
    /// A talk of `phone`, whose address follows from that of the first one.
    /// With `keep` the bytes of files can be looked at.
    pub fn new(target: &Target, phone: PhoneId, keep: bool) -> Talk {
        let first = |server: Option<SocketAddr>| target.first_source(server?);
        let source = |server| first(server).map(|first| address_from(first, phone));
        let [_, http, tvs, capf, sip] = target.servers();
        let sources = [http, tvs, capf, sip].map(source);
        Talk { client: target.tcp.clone(), sources, keep, kept: None }
    }

    /// Asks one request; `message` is the question where TVS is asked.
    pub async fn ask(&mut self, op: &Op, message: &[u8]) -> Result<Got, Failure> {
        let patience = self.client.patience;
        let silence = |_| Failure::from(LoadFault::Silence);
        match &op.what {
            What::File(name) => {
                let asked = timeout(patience, self.fetch(name)).await.map_err(silence)?;
                let (connection, response) = asked?;
                self.read(connection, response).await
            }
            What::Question { .. } => {
                let asked = timeout(patience, self.look_up(message)).await.map_err(silence)?;
                Ok(asked?)
            }
            What::Enrolment(caller) => {
                let capf = self.client.capf.as_ref().ok_or(LoadFault::Refused)?;
                let patience = patience + capf.key_time.as_duration();
                let enrolled = enrol::enrol(&self.client.tls, capf, *caller, self.sources[2]);
                timeout(patience, enrolled).await.map_err(silence)?
            }
            What::Registration(device) => {
                let sip = self.client.sip.as_ref().ok_or(LoadFault::Refused)?;
                let asked = register(&self.client.tls, sip, device, self.sources[3]);
                timeout(patience, asked).await.map_err(silence)?
            }
        }
    }

    async fn fetch(&mut self, name: &str) -> Result<(Connection, Response<Incoming>), LoadFault> {
        let server = self.client.http.ok_or(LoadFault::Refused)?;
        if let Some(mut kept) = self.kept.take() {
            // The server may have closed it meanwhile, as it may at any time: not a fault yet.
            if let Ok(response) = kept.get(server, name).await {
                return Ok((kept, response));
            }
        }
        let connected = connect_from(server, self.sources[0]).await;
        let stream = connected.map_err(|error| fault_of(&error))?;
        let made = http1::Builder::new()
            .max_buf_size(HEAD_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| fault_of_http(&error))?;
        let (sender, connection) = made;
        let driver = tokio::spawn(async move {
            // Its errors come to light where the answer is read.
            let _ = connection.await;
        });
        let mut fresh = Connection { sender, driver };
        let response = fresh.get(server, name).await?;
        Ok((fresh, response))
    }

    async fn read(
        &mut self,
        connection: Connection,
        response: Response<Incoming>,
    ) -> Result<Got, Failure> {
        let status = response.status();
        let (limit, keep) = match status {
            StatusCode::OK => (FILE_MAX, self.keep),
            StatusCode::NOT_FOUND => (NOT_FOUND_MAX, false),
            other => return Err(LoadFault::HttpStatus(other.as_u16()).into()),
        };
        let patience = self.client.patience;
        let content = read_body(response.into_body(), limit, keep, patience).await?;
        self.kept = Some(connection);
        Ok(if status == StatusCode::OK { Got::File(content) } else { Got::NoFile })
    }

    async fn look_up(&self, message: &[u8]) -> Result<Got, LoadFault> {
        let (server, pin) = self.client.tvs.clone().ok_or(LoadFault::Refused)?;
        let connected = connect_from(server, self.sources[1]).await;
        let stream = connected.map_err(|error| fault_of(&error))?;
        let judge = Box::new(move |der: &[u8]| pin.admits(der));
        let rules = Dialogue::Tvs.rules();
        let answer = self.client.tls.exchange(stream, judge, message, rules).await;
        answer.map(Got::Answer).map_err(|fault| fault_of_tls(&fault))
    }
}

impl Connection {
    async fn get(
        &mut self,
        server: SocketAddr,
        name: &str,
    ) -> Result<Response<Incoming>, LoadFault> {
        let request = Request::get(path_of(name)).header(HOST, authority(server));
        let request = request.body(Empty::new()).map_err(|_| LoadFault::Protocol)?;
        self.sender.ready().await.map_err(|error| fault_of_http(&error))?;
        self.sender.send_request(request).await.map_err(|error| fault_of_http(&error))
    }
}

fn path_of(name: &str) -> String {
    encode_path(name.trim_start_matches('/'))
}

/// The server in the head of a request: an IPv6 address in brackets and without its interface.
fn authority(server: SocketAddr) -> String {
    SocketAddr::new(server.ip(), server.port()).to_string()
}

/// The whole body if it has at most `limit` bytes; each piece must come within `patience`.
async fn read_body(
    mut body: Incoming,
    limit: u64,
    keep: bool,
    patience: Duration,
) -> Result<Content, LoadFault> {
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > limit {
        return Err(LoadFault::TooLong);
    }
    let (mut reading, mut length) = (Reading::begin(keep), 0);
    loop {
        let next = timeout(patience, body.frame()).await.map_err(|_| LoadFault::Unfinished)?;
        let Some(frame) = next else { return Ok(reading.end()) };
        let frame = frame.map_err(|error| fault_of_http(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len() as u64;
        if length > limit {
            return Err(LoadFault::TooLong);
        }
        reading.add(&data);
    }
}

fn fault_of_http(error: &hyper::Error) -> LoadFault {
    if error.is_parse() { LoadFault::Protocol } else { LoadFault::Reset }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_over_http_are_encoded_as_rfc_3986_says() {
        let cases = [
            ("SEP001122334455.cnf.xml.sgn", "/SEP001122334455.cnf.xml.sgn"),
            ("name with space.xml", "/name%20with%20space.xml"),
            ("100%.xml", "/100%25.xml"),
            ("a?b#c.xml", "/a%3Fb%23c.xml"),
            ("/Deutsch/ä.xml", "/Deutsch/%C3%A4.xml"),
            ("a+b;c=d@e~f.xml", "/a+b;c=d@e~f.xml"),
            ("[1]\\\"<>^`{|}.xml", "/%5B1%5D%5C%22%3C%3E%5E%60%7B%7C%7D.xml"),
        ];
        for (name, path) in cases {
            assert_eq!(path_of(name), path, "{name}");
            assert!(Request::get(path).body(()).is_ok(), "{path}");
        }
    }

    #[test]
    fn the_head_names_an_ipv6_server_in_brackets_without_its_interface() {
        let authority = |text: &str| authority(text.parse().unwrap());
        assert_eq!(authority("[::1]:6970"), "[::1]:6970");
        assert_eq!(authority("[fe80::1%2]:80"), "[fe80::1]:80");
        assert_eq!(authority("127.0.0.1:6970"), "127.0.0.1:6970");
    }
}
