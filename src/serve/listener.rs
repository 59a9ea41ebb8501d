use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::cluster::Peer;
use crate::net::{LateListener, LateStream, lack_of, listen};

use super::bound::Place;
use super::counts::{TcpCounters, bump, lower};
use super::settings::ServeError;

/// Pause after the host had no descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// How long a connection may linger in its handshake when all places are taken.
const CROWDED_AFTER: Duration = Duration::from_millis(250);
/// Longest wait for the place of a connection that gives way.
const PLACE_DEADLINE: Duration = Duration::from_millis(100);

/// Most bytes that are read of a peer that was refused (choice: more than a request).
const SAID_BEHIND_MAX: u64 = 16_384;
/// How long a peer that was refused may take to leave (choice).
const SEEN_OFF_AFTER: Duration = Duration::from_secs(1);

/// What a port shows to who connects: exchanged as a whole at every start of its service.
pub(super) trait Face: Clone + Send + Sync + 'static {
    /// Whether peers have the first word on every connection.
    const HEARS_FIRST: bool;

    /// How it proves its identity, if it speaks TLS.
    fn tls(&self) -> Option<&TlsAcceptor>;

    /// Talks on a connection of `peer` that was accepted with this face; `shown` is the face of
    /// the moment.
    fn talk<S>(self, shown: Shown<Self>, hall: Arc<Hall>, stream: S, peer: Peer) -> impl Talk
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static;
}

/// What a [`Face`] says on a connection.
pub(super) trait Talk: Future<Output = ()> + Send {}

impl<F: Future<Output = ()> + Send> Talk for F {}

/// The face of a port. Read for the length of a clone, written by the operator alone.
pub(super) type Shown<F> = Arc<RwLock<F>>;

/// What all ports of one kind of a cluster share.
#[derive(Debug)]
pub(super) struct Hall {
    pub(super) counters: TcpCounters,
    /// Answers by the question, in dialogues that have more than one.
    pub(super) questions: Vec<AtomicU64>,
    places: Arc<Semaphore>,
    handshake_deadline: Duration,
}

impl Hall {
    /// A hall for so many connections, in which so many kinds of questions are told apart.
    pub(super) fn new(
        connections_max: usize,
        handshake_deadline: Duration,
        questions: usize,
    ) -> Hall {
        Hall {
            counters: TcpCounters::default(),
            questions: (0..questions).map(|_| AtomicU64::new(0)).collect(),
            places: Arc::new(Semaphore::new(connections_max)),
            handshake_deadline,
        }
    }
}

/// One TCP port of a node.
pub(super) struct Listener<F> {
    pub(super) place: Place,
    hall: Arc<Hall>,
    /// A socket that is open and not served yet.
    waiting: Option<std::net::TcpListener>,
    running: Option<Running<F>>,
}

struct Running<F> {
    face: Shown<F>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl<F: Face> Listener<F> {
    pub(super) fn new(place: Place, socket: std::net::TcpListener, hall: Arc<Hall>) -> Listener<F> {
        Listener { place, hall, waiting: Some(socket), running: None }
    }

    /// Shows `face` from now on; listens again if it was stopped.
    pub(super) fn start(
        &mut self,
        face: F,
        runtime: &tokio::runtime::Handle,
    ) -> Result<(), ServeError> {
        if let Some(running) = &self.running {
            *running.face.write().unwrap_or_else(PoisonError::into_inner) = face;
            return Ok(());
        }
        let socket = match self.waiting.take() {
            Some(socket) => Ok(socket),
            None => listen::tcp(self.place.address),
        };
        let _inside = runtime.enter();
        let socket = socket
            .inspect(|socket| {
                if F::HEARS_FIRST && face.tls().is_none() {
                    // A host that cannot costs a wake-up more.
                    let _ = listen::defer(socket);
                }
            })
            .and_then(LateListener::from_std)
            .map_err(|cause| ServeError::Bind(self.place.error(cause)))?;
        let face = Arc::new(RwLock::new(face));
        let (stop, stopped) = oneshot::channel();
        let accept = accept_loop(socket, Arc::clone(&face), Arc::clone(&self.hall), stopped);
        self.running = Some(Running { face, stop, task: runtime.spawn(accept) });
        Ok(())
    }

    /// Closes the port and drops the connections; returns when that is done.
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
async fn accept_loop<F: Face>(
    socket: LateListener,
    face: Shown<F>,
    hall: Arc<Hall>,
    mut stopped: oneshot::Receiver<()>,
) {
    let (mut connections, mut lobby) = (JoinSet::new(), Lobby::default());
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => {
                let (stream, address) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        bump(&hall.counters.accept_failed);
                        if lack_of(&error).is_some() {
                            bump(&hall.counters.accept_lacked);
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                if let Some(place) = hall.admit(&mut lobby).await {
                    let open = Open::new(Arc::clone(&hall), place);
                    let shaken = Arc::clone(&open.shaken);
                    let shown = Arc::clone(&face);
                    let face = shown.read().unwrap_or_else(PoisonError::into_inner).clone();
                    let peer = Peer { address: Some(address.ip()), certificate: None };
                    // Two kinds of tasks: one for both would be as large as a TLS session.
                    let task = match face.tls().cloned() {
                        Some(tls) => connections.spawn(open.shake(tls, stream, face, shown, peer)),
                        None => connections.spawn(open.talk(stream, face, shown, peer)),
                    };
                    lobby.enter(task, shaken);
                }
            }
        }
    }
    drop(socket);
    connections.shutdown().await;
}

impl Hall {
    /// A place for a new connection. If need be one gives way that lingers in its handshake: who
    /// connects and says nothing keeps nobody else out.
    async fn admit(&self, lobby: &mut Lobby) -> Option<OwnedSemaphorePermit> {
        let counters = &self.counters;
        bump(&counters.connections);
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        if place.is_some() {
            return place;
        }
        if !lobby.drop_oldest() {
            bump(&counters.refused_full);
            return None;
        }
        bump(&counters.crowded_out);
        bump(&counters.handshakes_failed);
        let freed = timeout(PLACE_DEADLINE, Arc::clone(&self.places).acquire_owned()).await;
        let place = freed.ok().and_then(Result::ok);
        if place.is_none() {
            bump(&counters.refused_full);
        }
        place
    }
}

/// The connections of a port that may be in their handshake, oldest first.
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
    hall: Arc<Hall>,
    _place: OwnedSemaphorePermit,
    /// Whether the handshake is over.
    shaken: Arc<AtomicBool>,
}

impl Drop for Open {
    fn drop(&mut self) {
        lower(&self.hall.counters.connections_in_flight);
    }
}

impl Open {
    fn new(hall: Arc<Hall>, place: OwnedSemaphorePermit) -> Open {
        bump(&hall.counters.connections_in_flight);
        Open { hall, _place: place, shaken: Arc::default() }
    }

    async fn talk<F: Face>(self, stream: LateStream, face: F, shown: Shown<F>, peer: Peer) {
        self.shaken.store(true, Ordering::Relaxed);
        face.talk(shown, Arc::clone(&self.hall), stream, peer).await;
    }

    /// Shakes hands first.
    async fn shake<F: Face>(
        self,
        tls: TlsAcceptor,
        stream: LateStream,
        face: F,
        shown: Shown<F>,
        mut peer: Peer,
    ) {
        let hall = Arc::clone(&self.hall);
        let counters = &hall.counters;
        let accepting = tls.accept(stream).into_fallible();
        match timeout(hall.handshake_deadline, accepting).await {
            Ok(Ok(stream)) => {
                bump(&counters.handshakes_ok);
                self.shaken.store(true, Ordering::Relaxed);
                let shown_by_peer = stream.get_ref().1.peer_certificates();
                let certificate = shown_by_peer.and_then(<[_]>::first);
                peer.certificate = certificate.map(|certificate| certificate.to_vec());
                face.talk(shown, Arc::clone(&hall), stream, peer).await;
            }
            Ok(Err((error, _))) if is_alert(&error) => bump(&counters.handshakes_refused_by_peer),
            Ok(Err((error, stream))) => {
                bump(&counters.handshakes_failed);
                if is_refusal(&error) {
                    see_off(stream).await;
                }
            }
            Err(_) => {
                bump(&counters.handshakes_failed);
                bump(&counters.timeouts);
            }
        }
    }
}

/// Whether the certificate of the peer was refused, or that it has shown none.
fn is_refusal(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let refused = rustls::Error::NoCertificatesPresented;
    inner.is_some_and(|inner| {
        *inner == refused || matches!(inner, rustls::Error::InvalidCertificate(_))
    })
}

/// Reads what a peer still says that was refused: it believes that the handshake is over, and a
/// connection that is closed before would take the alert with it.
async fn see_off(mut stream: LateStream) {
    let read = async {
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream.take(SAID_BEHIND_MAX), &mut tokio::io::sink()).await;
    };
    // Who is still there then has had his time.
    let _ = timeout(SEEN_OFF_AFTER, read).await;
}

fn is_alert(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_told_from_other_faults() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadCertificate);
        assert!(is_alert(&io::Error::other(alert)));
        assert!(!is_alert(&io::Error::other(rustls::Error::HandshakeNotComplete)));
        assert!(!is_alert(&io::ErrorKind::UnexpectedEof.into()));
    }
}
