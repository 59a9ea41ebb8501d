use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::cluster::{Knowledge, TvsService};
use crate::net::{lack_of, listen, tls_server};
use crate::wire::tvs::{Command, HEADER_LENGTH, message_length};

use super::bound::Place;
use super::counts::{TvsCounters, bump, lower};
use super::settings::ServeError;

/// Requests on one connection; phones send one.
const REQUESTS_MAX: usize = 16;
/// Longest request that is read: a certificate and names are far shorter.
const REQUEST_LENGTH_MAX: usize = 16 * 1_024;
/// Longest wait for the peer to take our farewell.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);
/// Pause after the host had no descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How long a connection may linger in its handshake when all places are taken.
const CROWDED_AFTER: Duration = Duration::from_millis(250);
/// Longest wait for the place of a connection that gives way.
const PLACE_DEADLINE: Duration = Duration::from_millis(100);

/// What a server presents and answers from, exchanged at every start of the service.
#[derive(Clone)]
struct Face {
    acceptor: TlsAcceptor,
    knowledge: Arc<Knowledge>,
}

/// What all TVS servers of a cluster share.
#[derive(Debug)]
pub(super) struct TvsShared {
    pub(super) counters: TvsCounters,
    pub(super) places: Arc<Semaphore>,
    pub(super) handshake_deadline: Duration,
    pub(super) request_deadline: Duration,
}

/// The TVS server of one node.
pub(super) struct TvsNode {
    place: Place,
    shared: Arc<TvsShared>,
    /// A listener that is open and not served yet.
    waiting: Option<std::net::TcpListener>,
    running: Option<Running>,
}

struct Running {
    face: Arc<RwLock<Face>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl TvsNode {
    pub(super) fn new(
        mut place: Place,
        listener: std::net::TcpListener,
        shared: Arc<TvsShared>,
    ) -> io::Result<TvsNode> {
        place.address = listener.local_addr()?;
        Ok(TvsNode { place, shared, waiting: Some(listener), running: None })
    }

    /// Presents and answers from `service` in every connection accepted from now on; listens
    /// again if it was stopped.
    pub(super) fn start(
        &mut self,
        service: &TvsService,
        runtime: &tokio::runtime::Handle,
    ) -> Result<(), ServeError> {
        let config = tls_server::server_config(&service.identity).map_err(|cause| {
            ServeError::Identity { certificate: "TVS", node: self.place.node.clone(), cause }
        })?;
        let knowledge = Arc::clone(&service.knowledge);
        let face = Face { acceptor: TlsAcceptor::from(config), knowledge };
        if let Some(running) = &self.running {
            *running.face.write().unwrap_or_else(PoisonError::into_inner) = face;
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
        let face = Arc::new(RwLock::new(face));
        let (stop, stopped) = oneshot::channel();
        let accept = accept_loop(listener, Arc::clone(&face), Arc::clone(&self.shared), stopped);
        self.running = Some(Running { face, stop, task: runtime.spawn(accept) });
        Ok(())
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
    face: Arc<RwLock<Face>>,
    shared: Arc<TvsShared>,
    mut stopped: oneshot::Receiver<()>,
) {
    let (mut connections, mut lobby) = (JoinSet::new(), Lobby::default());
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
                if let Some(place) = admit(&shared, &mut lobby).await {
                    let face = face.read().unwrap_or_else(PoisonError::into_inner).clone();
                    let open = Open::new(Arc::clone(&shared), place);
                    let shaken = Arc::clone(&open.shaken);
                    lobby.enter(connections.spawn(open.serve(stream, face)), shaken);
                }
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// A place for a new connection. If need be one gives way that lingers in its handshake: who
/// connects and says nothing keeps nobody else out.
async fn admit(shared: &TvsShared, lobby: &mut Lobby) -> Option<OwnedSemaphorePermit> {
    let counters = &shared.counters;
    bump(&counters.connections);
    let place = Arc::clone(&shared.places).try_acquire_owned().ok();
    if place.is_some() {
        return place;
    }
    if !lobby.drop_oldest() {
        bump(&counters.refused_full);
        return None;
    }
    bump(&counters.crowded_out);
    bump(&counters.handshakes_failed);
    let freed = timeout(PLACE_DEADLINE, Arc::clone(&shared.places).acquire_owned()).await;
    let place = freed.ok().and_then(Result::ok);
    if place.is_none() {
        bump(&counters.refused_full);
    }
    place
}

/// The connections of a node that may be in their handshake, oldest first.
#[derive(Default)]
struct Lobby(VecDeque<(Instant, AbortHandle, Arc<AtomicBool>)>);

impl Lobby {
    fn enter(&mut self, task: AbortHandle, shaken: Arc<AtomicBool>) {
        self.drop_gone();
        self.0.push_back((Instant::now(), task, shaken));
    }

    fn drop_gone(&mut self) {
        let gone = |(_, task, shaken): &(Instant, AbortHandle, Arc<AtomicBool>)| {
            task.is_finished() || shaken.load(Ordering::Relaxed)
        };
        while self.0.front().is_some_and(gone) {
            self.0.pop_front();
        }
    }

    /// Ends the connection that lingers longest, if one lingers.
    fn drop_oldest(&mut self) -> bool {
        self.drop_gone();
        if self.0.front().is_none_or(|(since, ..)| since.elapsed() < CROWDED_AFTER) {
            return false;
        }
        self.0.pop_front().is_some_and(|(_, task, _)| {
            task.abort();
            true
        })
    }
}

/// One open connection: its place, and its part in the count of open ones.
struct Open {
    shared: Arc<TvsShared>,
    _place: OwnedSemaphorePermit,
    /// Whether the handshake is over.
    shaken: Arc<AtomicBool>,
}

impl Drop for Open {
    fn drop(&mut self) {
        lower(&self.shared.counters.connections_in_flight);
    }
}

/// How a connection goes on after one request.
enum Next {
    Request,
    /// Say farewell: the peer is done, or has asked as often as it may.
    Close,
    /// Say nothing more.
    Drop,
}

impl Open {
    fn new(shared: Arc<TvsShared>, place: OwnedSemaphorePermit) -> Open {
        bump(&shared.counters.connections_in_flight);
        Open { shared, _place: place, shaken: Arc::default() }
    }

    async fn serve(self, stream: TcpStream, face: Face) {
        // Without it answers may wait for acknowledgements; a socket that refuses works as well.
        let _ = stream.set_nodelay(true);
        let Some(mut tls) = self.handshake(stream, &face.acceptor).await else { return };
        self.shaken.store(true, Ordering::Relaxed);
        let mut buffer = Vec::new();
        for round in 1..=REQUESTS_MAX {
            let next = self.request(&mut tls, &face.knowledge, &mut buffer, round).await;
            match next {
                Next::Request => {}
                Next::Close => break,
                Next::Drop => return,
            }
        }
        // The peer may be gone already.
        let _ = timeout(FAREWELL_DEADLINE, tls.shutdown()).await;
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        acceptor: &TlsAcceptor,
    ) -> Option<TlsStream<TcpStream>> {
        let counters = &self.shared.counters;
        match timeout(self.shared.handshake_deadline, acceptor.accept(stream)).await {
            Ok(Ok(tls)) => {
                bump(&counters.handshakes_ok);
                return Some(tls);
            }
            Ok(Err(error)) if is_alert(&error) => bump(&counters.handshakes_refused_by_peer),
            Ok(Err(_)) => bump(&counters.handshakes_failed),
            Err(_) => {
                bump(&counters.handshakes_failed);
                bump(&counters.timeouts);
            }
        }
        None
    }

    /// Reads one request and answers it. A peer that has been answered may fall silent or leave
    /// without a word.
    async fn request(
        &self,
        tls: &mut (impl AsyncRead + AsyncWrite + Unpin),
        knowledge: &Knowledge,
        buffer: &mut Vec<u8>,
        round: usize,
    ) -> Next {
        let counters = &self.shared.counters;
        let asked = match timeout(self.shared.request_deadline, read_request(tls, buffer)).await {
            Ok(asked) => asked,
            Err(_) if round > 1 && buffer.is_empty() => return Next::Close,
            Err(_) => {
                bump(&counters.timeouts);
                return Next::Close;
            }
        };
        let answer = match asked {
            Ok(()) => knowledge.answer(buffer).ok(),
            Err(ReadFault::Left) => return Next::Close,
            Err(ReadFault::Malformed) => None,
        };
        let Some((answer, command)) = answer else {
            bump(&counters.malformed);
            return Next::Close;
        };
        let write = async {
            tls.write_all(&answer).await?;
            tls.flush().await
        };
        match timeout(self.shared.request_deadline, write).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Next::Drop,
            Err(_) => {
                bump(&counters.timeouts);
                return Next::Drop;
            }
        }
        bump(&counters.answers);
        bump(match command {
            Command::VerifyRequest | Command::VerifyResponse => &counters.requests_verify,
            Command::QueryRequest | Command::QueryResponse => &counters.requests_query,
        });
        Next::Request
    }
}

/// Why no request was read.
#[derive(Debug, PartialEq, Eq)]
enum ReadFault {
    /// The peer has left between two requests; Python peers do so without `close_notify`.
    Left,
    Malformed,
}

/// Reads one whole message into `buffer`, which is empty while nothing has come; the length is
/// checked before the body is read.
async fn read_request(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<(), ReadFault> {
    buffer.clear();
    let mut header = [0; HEADER_LENGTH];
    let first = from.read(&mut header).await.unwrap_or(0);
    if first == 0 {
        return Err(ReadFault::Left);
    }
    buffer.extend_from_slice(&header[..first]);
    from.read_exact(&mut header[first..]).await.map_err(|_| ReadFault::Malformed)?;
    let length = message_length(&header).map_err(|_| ReadFault::Malformed)?;
    if length > REQUEST_LENGTH_MAX {
        return Err(ReadFault::Malformed);
    }
    buffer.clear();
    buffer.extend_from_slice(&header);
    buffer.resize(length, 0);
    let body = from.read_exact(&mut buffer[HEADER_LENGTH..]).await;
    body.map(|_| ()).map_err(|_| ReadFault::Malformed)
}

fn is_alert(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tvs::{Question, Request};

    fn query() -> Vec<u8> {
        let question = Question::Query { subject: "CN=s", issuer: "CN=i", serial: &[1] };
        Request { session_id: 1, device_name: "CP-8841-SEP0C75BD000001", question }.encode()
    }

    async fn read(mut bytes: &[u8]) -> (Result<(), ReadFault>, Vec<u8>) {
        let mut buffer = b"left over".to_vec();
        let read = read_request(&mut bytes, &mut buffer).await;
        (read, buffer)
    }

    #[tokio::test]
    async fn whole_messages_are_read_one_by_one() {
        let two = [query(), query()].concat();
        let mut rest = &two[..];
        let mut buffer = Vec::new();
        for _ in 0..2 {
            assert_eq!(read_request(&mut rest, &mut buffer).await, Ok(()));
            assert_eq!(buffer, query());
        }
        assert_eq!(read_request(&mut rest, &mut buffer).await, Err(ReadFault::Left));
    }

    #[tokio::test]
    async fn halves_and_lengths_out_of_range_are_malformed() {
        let whole = query();
        for length in [1, 9, 10, whole.len() - 1] {
            assert_eq!(read(&whole[..length]).await.0, Err(ReadFault::Malformed), "{length}");
        }
        assert_eq!(read(b"GET / HTTP/1.1\r\n").await.0, Err(ReadFault::Malformed));
        let mut long = whole.clone();
        long[8..10].copy_from_slice(&0xFFFFu16.to_be_bytes());
        long.resize(70_000, 0);
        let (fault, buffer) = read(&long).await;
        assert_eq!(fault, Err(ReadFault::Malformed));
        assert!(buffer.len() <= HEADER_LENGTH, "the body was not read");
    }

    #[test]
    fn alerts_are_told_from_other_faults() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadCertificate);
        assert!(is_alert(&io::Error::other(alert)));
        assert!(!is_alert(&io::Error::other(rustls::Error::HandshakeNotComplete)));
        assert!(!is_alert(&io::ErrorKind::UnexpectedEof.into()));
    }
}
