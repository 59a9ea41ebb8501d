use std::convert::Infallible;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::cluster::{FileReply, ServedFile, TftpService};
use crate::net::{lack_of, listen, tls_server};
use crate::wire::uri::decode_path;

use super::bound::Place;
use super::counts::{HttpCounters, add, bump, lower};
use super::settings::{ServeError, ServeSettings};
use super::signing::Signing;

/// Longest head of a request; the names that phones ask for are below 40 bytes.
const HEAD_MAX: usize = 8 * 1_024;
/// Most header lines of a request.
const HEADERS_MAX: usize = 32;
/// Longest life of a connection: who asks and never reads does not stay for ever, and a phone that
/// still wants something opens another one.
const CONNECTION_DEADLINE: Duration = Duration::from_mins(2);
/// Longest wait for a signature.
const SIGN_DEADLINE: Duration = Duration::from_mins(1);
/// Pause after the host had no descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What is served, exchanged at every start of the TFTP service. Read for the length of a clone,
/// written by the operator alone.
type Face = Arc<RwLock<Served>>;

/// A service, and how it proves its identity over HTTPS.
#[derive(Clone)]
struct Served {
    service: Arc<TftpService>,
    tls: Option<TlsAcceptor>,
}

/// Which scheme a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Port 6970.
    Http,
    /// Port 6971: the CallManager certificate of the node is presented.
    Https,
}

/// What all HTTP servers, or all HTTPS servers, of a cluster share.
#[derive(Debug)]
pub(super) struct HttpShared {
    pub(super) counters: HttpCounters,
    places: Arc<Semaphore>,
    header_deadline: Duration,
    handshake_deadline: Duration,
    signing: Signing,
}

impl HttpShared {
    pub(super) fn new(settings: &ServeSettings, signing: Signing) -> HttpShared {
        HttpShared {
            counters: HttpCounters::default(),
            places: Arc::new(Semaphore::new(settings.http_connections_max)),
            header_deadline: settings.header_deadline.as_duration(),
            handshake_deadline: settings.handshake_deadline.as_duration(),
            signing,
        }
    }
}

/// The HTTP side of the TFTP service of one node.
pub(super) struct HttpNode {
    scheme: Scheme,
    place: Place,
    shared: Arc<HttpShared>,
    /// A listener that is open and not served yet.
    waiting: Option<std::net::TcpListener>,
    running: Option<Running>,
}

struct Running {
    face: Face,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl HttpNode {
    pub(super) fn new(
        scheme: Scheme,
        mut place: Place,
        listener: std::net::TcpListener,
        shared: Arc<HttpShared>,
    ) -> io::Result<HttpNode> {
        place.address = listener.local_addr()?;
        Ok(HttpNode { scheme, place, shared, waiting: Some(listener), running: None })
    }

    /// Answers every request from now on out of `service`; listens again if it was stopped.
    pub(super) fn start(
        &mut self,
        service: &Arc<TftpService>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<(), ServeError> {
        let served = Served { service: Arc::clone(service), tls: self.acceptor(service)? };
        if let Some(running) = &self.running {
            *running.face.write().unwrap_or_else(PoisonError::into_inner) = served;
            return Ok(());
        }
        let listener = match self.waiting.take() {
            Some(listener) => Ok(listener),
            None => listen::tcp(self.place.address),
        };
        let _inside = runtime.enter();
        let listener = listener
            .and_then(TcpListener::from_std)
            .map_err(|cause| ServeError::Bind(self.place.error(cause)))?;
        let face = Arc::new(RwLock::new(served));
        let (stop, stopped) = oneshot::channel();
        let accept = accept_loop(listener, Arc::clone(&face), Arc::clone(&self.shared), stopped);
        self.running = Some(Running { face, stop, task: runtime.spawn(accept) });
        Ok(())
    }

    fn acceptor(&self, service: &TftpService) -> Result<Option<TlsAcceptor>, ServeError> {
        match self.scheme {
            Scheme::Http => Ok(None),
            Scheme::Https => tls_server::server_config(service.signer())
                .map(|config| Some(TlsAcceptor::from(config)))
                .map_err(|cause| ServeError::Identity {
                    certificate: "CallManager",
                    node: self.place.node.clone(),
                    cause,
                }),
        }
    }

    /// Closes the listener and drops the connections; returns when that is done.
    pub(super) async fn stop(&mut self) {
        self.waiting = None;
        if let Some(running) = self.running.take() {
            drop(running.stop);
            // An error means that the task has ended anyway.
            let _ = running.task.await;
        }
    }
}

/// Accepts connections and never talks to them itself: who connects and says nothing disturbs
/// nobody.
async fn accept_loop(
    listener: TcpListener,
    face: Face,
    shared: Arc<HttpShared>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        bump(&shared.counters.accept_failed);
                        if lack_of(&error).is_some() {
                            bump(&shared.counters.accept_lacked);
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                bump(&shared.counters.connections);
                match Arc::clone(&shared.places).try_acquire_owned() {
                    Ok(place) => {
                        let open = Open::new(Arc::clone(&shared), place);
                        connections.spawn(open.serve(stream, Arc::clone(&face)));
                    }
                    Err(_) => bump(&shared.counters.refused_full),
                }
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// One open connection: its place, and its part in the count of open ones.
struct Open {
    shared: Arc<HttpShared>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        lower(&self.shared.counters.connections_in_flight);
    }
}

impl Open {
    fn new(shared: Arc<HttpShared>, place: OwnedSemaphorePermit) -> Open {
        bump(&shared.counters.connections_in_flight);
        Open { shared, _place: place }
    }

    async fn serve(self, stream: TcpStream, face: Face) {
        // Without it answers may wait for acknowledgements; a socket that refuses works as well.
        let _ = stream.set_nodelay(true);
        let tls = face.read().unwrap_or_else(PoisonError::into_inner).tls.clone();
        let Some(tls) = tls else { return self.talk(stream, face).await };
        let counters = &self.shared.counters;
        match timeout(self.shared.handshake_deadline, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                bump(&counters.handshakes_ok);
                self.talk(stream, face).await;
            }
            Ok(Err(_)) => bump(&counters.handshakes_failed),
            Err(_) => bump(&counters.timeouts),
        }
    }

    async fn talk<S>(self, stream: S, face: Face)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let answer = service_fn(|request: Request<Incoming>| {
            // The connection outlives a restart; each request sees the service of its moment.
            let face = face.read().unwrap_or_else(PoisonError::into_inner);
            let service = Arc::clone(&face.service);
            drop(face);
            let shared = Arc::clone(&self.shared);
            let asked = Asked::of(&request);
            async move { Ok::<_, Infallible>(shared.respond(asked, &service).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.shared.header_deadline)
            .max_buf_size(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), answer);
        let counters = &self.shared.counters;
        match timeout(CONNECTION_DEADLINE, connection).await {
            Ok(Err(error)) if error.is_timeout() => bump(&counters.timeouts),
            Ok(Err(error)) if error.is_parse() => bump(&counters.malformed),
            // Done, or the peer went away in the middle, which harms itself only.
            Ok(_) => {}
            Err(_) => bump(&counters.timeouts),
        }
    }
}

/// What a request wants.
enum Asked {
    /// The file with this name, or only what GET would say of it.
    File { name: String, head: bool },
    /// A name that is none: an escape that cannot be decoded, or a control character.
    NoName,
    /// Something else than a file.
    OtherMethod,
}

impl Asked {
    /// The name is decoded once and goes into the catalogue, which knows names and no paths. The
    /// query says nothing about a file; of a target in absolute form only the path counts.
    fn of(request: &Request<Incoming>) -> Asked {
        let head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => return Asked::OtherMethod,
        };
        match decode_path(request.uri().path()) {
            Some(name) => Asked::File { name, head },
            None => Asked::NoName,
        }
    }
}

impl HttpShared {
    async fn respond(&self, asked: Asked, service: &TftpService) -> Response<Full<Bytes>> {
        let counters = &self.counters;
        bump(&counters.requests);
        let (name, head) = match asked {
            Asked::File { name, head } => (name, head),
            Asked::NoName => {
                bump(&counters.not_found);
                return answer(StatusCode::BAD_REQUEST, Bytes::new());
            }
            Asked::OtherMethod => {
                bump(&counters.refused_method);
                return answer(StatusCode::METHOD_NOT_ALLOWED, Bytes::new());
            }
        };
        match self.file(&name, service).await {
            Found::File(file) => {
                let body = Bytes::from(file.to_bytes());
                bump(&counters.answers);
                if !head {
                    add(&counters.bytes_out, body.len() as u64);
                }
                answer(StatusCode::OK, body)
            }
            Found::Missing => {
                bump(&counters.not_found);
                answer(StatusCode::NOT_FOUND, Bytes::new())
            }
            Found::Busy => {
                bump(&counters.refused_busy);
                answer(StatusCode::SERVICE_UNAVAILABLE, Bytes::new())
            }
        }
    }

    /// The file, signed if it has to be; one signature serves all who ask for it meanwhile.
    async fn file(&self, name: &str, service: &TftpService) -> Found {
        if self.signing.is_full() {
            return Found::Busy;
        }
        let mut waiting = self.signing.wait();
        let file = match service.request(name, waiting.id) {
            FileReply::Missing => return Found::Missing,
            FileReply::Ready(file) => return Found::File(file),
            FileReply::Pending { file, job } => {
                if let Some(job) = job {
                    self.signing.spawn(job);
                }
                file
            }
        };
        match timeout(SIGN_DEADLINE, waiting.header()).await {
            Ok(Some(header)) => Found::File(file.with_header(header)),
            Ok(None) | Err(_) => Found::Busy,
        }
    }
}

enum Found {
    File(ServedFile),
    Missing,
    /// Try TFTP, or later.
    Busy,
}

/// An answer with the headers that phones are used to; the protocol leaves the body out where HEAD
/// asked.
fn answer(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::builder()
        .status(status)
        .header(CACHE_CONTROL, "no-store")
        .header(CONTENT_TYPE, "*/*")
        .header(CONTENT_LENGTH, body.len());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response = response.header(ALLOW, "GET, HEAD");
    }
    response.body(Full::new(body)).expect("status and headers are constants")
}
