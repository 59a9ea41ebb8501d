use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::CertificateError;

use crate::base::NodeId;
use crate::cluster::{
    Cluster, DialogueService, PeerRefusal, Service, ServiceChange, ServiceKind, SignCacheMode,
    TftpService, WebService,
};
use crate::crypto::Identity;
use crate::measure::ThreadKind;
use crate::net::Clock;
use crate::net::threads::{self, OwnRuntime};
use crate::net::tls_server::{self, ClientJudge};
use crate::wire::{Dialogue, Security};

use super::bound::{Bound, Place};
use super::counts::{DialogueCounts, ServeCounts, TftpCounters, TftpCounts};
use super::dialogue::DialogueFace;
use super::http::HttpFace;
use super::listener::{Face, Hall, Listener};
use super::pump::{Pump, PumpCommand, PumpParts};
use super::settings::{ServeError, ServeSettings};
use super::signing::Signing;
use super::web::WebFace;

/// Commands that may wait for a pump; each is awaited, so that there is one at a time.
const COMMANDS_MAX: usize = 4;
/// Longest wait for the servers to end.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// The servers of one cluster: a datagram pump with a thread of its own per TFTP node, one runtime
/// each for HTTP, HTTPS and every dialogue, and the signing pool.
pub struct Servers {
    pumps: BTreeMap<NodeId, PumpHandle>,
    http: Side<HttpFace>,
    https: Side<HttpFace>,
    /// Tomcat over HTTP, and over HTTPS.
    web: [Side<WebFace>; 2],
    dialogues: BTreeMap<Dialogue, Side<DialogueFace>>,
    signing: Signing,
    clock: Clock,
    settings: ServeSettings,
    prewarm: bool,
}

/// The ports of one kind, of all nodes.
struct Side<F> {
    nodes: Mutex<BTreeMap<NodeId, Listener<F>>>,
    hall: Arc<Hall>,
    /// `None` if no node has such a port.
    runtime: Option<OwnRuntime>,
}

struct PumpHandle {
    commands: mpsc::Sender<PumpCommand>,
    counters: Arc<TftpCounters>,
    ended: oneshot::Receiver<()>,
    _thread: JoinHandle<()>,
}

impl Servers {
    /// Serves the services of `cluster` that run, on the sockets of `bound`, which the cluster was
    /// built with; with prewarming it returns when all signatures are made.
    pub async fn start(
        bound: Bound,
        cluster: &Cluster,
        clock: Clock,
        settings: ServeSettings,
    ) -> Result<Servers, ServeError> {
        let mode = cluster.topology().sign_cache;
        let servers = Servers::build(bound, clock, settings, mode)?;
        for node in cluster.topology().ids() {
            for service in cluster.services_of(node) {
                servers.start_service(node, service).await?;
            }
        }
        Ok(servers)
    }

    /// Starts or stops a service; returns when that is in force.
    ///
    /// # Errors
    /// If a node has no such server, or its socket cannot be opened again.
    pub async fn follow(&self, change: &ServiceChange) -> Result<(), ServeError> {
        match change {
            ServiceChange::Started { node, service } => self.start_service(*node, service).await,
            ServiceChange::Stopped { node, service } => self.stop_service(*node, *service).await,
        }
    }

    async fn start_service(&self, node: NodeId, service: &Service) -> Result<(), ServeError> {
        match service {
            Service::Tftp(service) => self.start_tftp(node, service).await,
            Service::Dialogues(dialogues) => {
                for service in &dialogues.all {
                    self.start_dialogue(node, service).await?;
                }
                Ok(())
            }
            Service::Web(service) => self.start_web(node, service).await,
        }
    }

    async fn stop_service(&self, node: NodeId, service: ServiceKind) -> Result<(), ServeError> {
        if service == ServiceKind::Tftp {
            return self.stop_tftp(node).await;
        }
        if service == ServiceKind::Tomcat {
            for side in &self.web {
                side.stop(node).await;
            }
            return Ok(());
        }
        for dialogue in service.dialogues() {
            let side = self.dialogues.get(dialogue).ok_or(ServeError::Absent { service, node })?;
            if !side.stop(node).await {
                return Err(ServeError::Absent { service, node });
            }
        }
        Ok(())
    }

    /// What the servers have done so far.
    pub fn counts(&self) -> ServeCounts {
        let tftp = self
            .pumps
            .values()
            .map(|pump| pump.counters.read())
            .fold(TftpCounts::default(), |sum, node| sum + node);
        let [http, https] = [&self.http, &self.https].map(|side| side.hall.counters.read());
        let dialogue = |(&dialogue, side): (&Dialogue, &Side<DialogueFace>)| {
            let questions =
                side.hall.questions.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            (dialogue, DialogueCounts { tcp: side.hall.counters.read(), questions })
        };
        let web = [0, 1].map(|at: usize| self.web[at].hall.counters.read());
        ServeCounts {
            tftp,
            http,
            https,
            web,
            dialogues: self.dialogues.iter().map(dialogue).collect(),
        }
    }

    /// Closes all sockets and ends the threads, or gives up waiting for them after five seconds; says
    /// what the servers have done. A peer may have its last answer before the answer is counted: only
    /// these counts have it for certain.
    pub async fn shutdown(mut self) -> ServeCounts {
        let pumps = std::mem::take(&mut self.pumps);
        let counters: Vec<_> = pumps.values().map(|pump| pump.counters.clone()).collect();
        let close = async {
            self.http.close().await;
            self.https.close().await;
            for side in &self.web {
                side.close().await;
            }
            for side in self.dialogues.values() {
                side.close().await;
            }
            for pump in pumps.into_values() {
                drop(pump.commands);
                // The sender is dropped with the pump.
                let _ = pump.ended.await;
            }
        };
        let _ = tokio::time::timeout(SHUTDOWN_DEADLINE, close).await;
        let tftp = counters.iter().map(|counters| counters.read());
        ServeCounts {
            tftp: tftp.fold(TftpCounts::default(), |sum, node| sum + node),
            ..self.counts()
        }
    }

    fn build(
        bound: Bound,
        clock: Clock,
        settings: ServeSettings,
        mode: SignCacheMode,
    ) -> Result<Servers, ServeError> {
        let Bound { topology, tftp, http, https, web, dialogues } = bound;
        let (signing, signed) =
            Signing::start(settings.sign_threads, topology.nodes.len(), settings.sign_queue_max)?;
        let mut signed: Vec<_> = signed.into_iter().map(Some).collect();
        let mut pumps = BTreeMap::new();
        for (place, socket) in tftp {
            let (sender, commands) = mpsc::channel(COMMANDS_MAX);
            let counters = Arc::new(TftpCounters::default());
            let (node, signed) = (place.id, signed[place.id.index()].take());
            let parts = PumpParts {
                place,
                clock,
                limits: settings.upload,
                transfers_max: settings.transfers_max,
                signing: signing.clone(),
                counters: Arc::clone(&counters),
                commands,
                signed: signed.expect("a node has one TFTP service"),
            };
            pumps.insert(node, spawn_pump(parts, socket, sender, counters)?);
        }
        let files = |kind: ThreadKind, sockets, threads| {
            let hall = settings.hall(settings.http_connections_max, 0);
            Side::new(kind.name(), sockets, hall, threads)
        };
        let [plain, secure] = web;
        let pages = |sockets| {
            let hall = settings.hall(settings.http_connections_max, 0);
            Side::new(ThreadKind::ServeTomcat.name(), sockets, hall, settings.https_threads)
        };
        let side_of = |(dialogue, sockets): (Dialogue, _)| {
            let questions = dialogue.rules().questions.len();
            let hall = settings.hall(settings.tvs_connections_max, questions);
            let name = format!("serve-{}", dialogue.rules().name);
            let side = Side::new(&name, sockets, hall, settings.tvs_threads)?;
            Ok((dialogue, side))
        };
        Ok(Servers {
            pumps,
            http: files(ThreadKind::ServeHttp, http, settings.http_threads)?,
            https: files(ThreadKind::ServeHttps, https, settings.https_threads)?,
            web: [pages(plain)?, pages(secure)?],
            dialogues: dialogues.into_iter().map(side_of).collect::<Result<_, ServeError>>()?,
            signing,
            clock,
            settings,
            prewarm: mode == SignCacheMode::Prewarm,
        })
    }

    async fn start_tftp(&self, node: NodeId, service: &Arc<TftpService>) -> Result<(), ServeError> {
        if self.prewarm {
            self.signing.prewarm(service).await;
        }
        let (done, in_force) = oneshot::channel();
        self.command(node, PumpCommand::Start(Arc::clone(service), done)).await?;
        in_force.await.map_err(|_| absent_tftp(node))?.map_err(ServeError::Bind)?;
        let face = HttpFace {
            tls: None,
            service: Arc::clone(service),
            signing: self.signing.clone(),
            header_deadline: self.settings.header_deadline.as_duration(),
        };
        if self.https.has(node).await {
            let tls = Some(acceptor(&self.https, node, "CallManager", service.host(), None).await?);
            self.https.start(node, HttpFace { tls, ..face.clone() }).await?;
        }
        self.http.start(node, face).await.map(drop)
    }

    async fn stop_tftp(&self, node: NodeId) -> Result<(), ServeError> {
        // A node may have neither.
        let _ = (self.http.stop(node).await, self.https.stop(node).await);
        let (done, in_force) = oneshot::channel();
        self.command(node, PumpCommand::Stop(done)).await?;
        in_force.await.map_err(|_| absent_tftp(node))
    }

    async fn command(&self, node: NodeId, command: PumpCommand) -> Result<(), ServeError> {
        let pump = self.pumps.get(&node).ok_or_else(|| absent_tftp(node))?;
        pump.commands.send(command).await.map_err(|_| absent_tftp(node))
    }

    async fn start_web(&self, node: NodeId, service: &Arc<WebService>) -> Result<(), ServeError> {
        let [http, https] = &self.web;
        let tls = acceptor(https, node, "tomcat", &service.identity, None).await?;
        let header_deadline = self.settings.header_deadline.as_duration();
        let face = |tls| WebFace { tls, service: Arc::clone(service), header_deadline };
        https.start(node, face(Some(tls))).await?;
        http.start(node, face(None)).await.map(drop)
    }

    /// Who judges the peers of a service in their handshakes.
    fn judge(&self, service: &Arc<DialogueService>) -> ClientJudge {
        let (service, clock) = (Arc::clone(service), self.clock);
        Arc::new(move |der| service.judge(der, clock.now()).map_err(alert))
    }

    async fn start_dialogue(
        &self,
        node: NodeId,
        service: &Arc<DialogueService>,
    ) -> Result<(), ServeError> {
        let kind = ServiceKind::of(service.dialogue);
        let absent = || ServeError::Absent { service: kind, node };
        let side = self.dialogues.get(&service.dialogue).ok_or_else(absent)?;
        let name = service.certificate.name();
        let tls = match service.dialogue.rules().security {
            Security::Plain => None,
            Security::Tls => Some(acceptor(side, node, name, &service.identity, None).await?),
            Security::TlsWithClientCertificate => {
                let judge = Some(self.judge(service));
                Some(acceptor(side, node, name, &service.identity, judge).await?)
            }
        };
        let face = DialogueFace {
            tls,
            service: Arc::clone(service),
            clock: self.clock,
            request_deadline: self.settings.request_deadline.as_duration(),
        };
        if service.dialogue.rules().ends_with_service {
            side.stop(node).await;
        }
        side.start(node, face).await?.then_some(()).ok_or_else(absent)
    }
}

/// What the alert says to a peer that is refused.
const fn alert(refusal: PeerRefusal) -> CertificateError {
    match refusal {
        PeerRefusal::Missing | PeerRefusal::Malformed => CertificateError::BadEncoding,
        PeerRefusal::UnknownCa => CertificateError::UnknownIssuer,
        PeerRefusal::Expired => CertificateError::Expired,
    }
}

/// How the port of a node proves its identity, and who `judge`s its peers, if it asks who they are.
async fn acceptor<F: Face>(
    side: &Side<F>,
    node: NodeId,
    certificate: &'static str,
    identity: &Identity,
    judge: Option<ClientJudge>,
) -> Result<TlsAcceptor, ServeError> {
    let name = side.nodes.lock().await.get(&node).map(|node| node.place.node.clone());
    let named = |cause| ServeError::Identity { certificate, node: name.unwrap_or_default(), cause };
    let config = match judge {
        Some(judge) => tls_server::asking_config(identity, judge),
        None => tls_server::server_config(identity),
    };
    config.map(TlsAcceptor::from).map_err(named)
}

impl<F: Face> Side<F> {
    fn new(
        name: &str,
        sockets: Vec<(Place, std::net::TcpListener)>,
        hall: Hall,
        threads: usize,
    ) -> Result<Side<F>, ServeError> {
        let hall = Arc::new(hall);
        let listener = |(place, socket): (Place, _)| {
            (place.id, Listener::new(place, socket, Arc::clone(&hall)))
        };
        let needed = !sockets.is_empty();
        let nodes = sockets.into_iter().map(listener).collect();
        let runtime = needed.then(|| OwnRuntime::with_threads(name, threads)).transpose()?;
        Ok(Side { nodes: Mutex::new(nodes), hall, runtime })
    }

    /// Whether a node has such a port.
    async fn has(&self, node: NodeId) -> bool {
        self.nodes.lock().await.contains_key(&node)
    }

    /// Shows `face` on the port of a node; whether it has one.
    async fn start(&self, node: NodeId, face: F) -> Result<bool, ServeError> {
        match (self.nodes.lock().await.get_mut(&node), &self.runtime) {
            (Some(listener), Some(runtime)) => {
                listener.start(face, runtime.handle()).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Closes the port of a node; whether it has one.
    async fn stop(&self, node: NodeId) -> bool {
        match self.nodes.lock().await.get_mut(&node) {
            Some(listener) => {
                listener.stop().await;
                true
            }
            None => false,
        }
    }

    async fn close(&self) {
        for listener in self.nodes.lock().await.values_mut() {
            listener.stop().await;
        }
    }
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers").field("tftp", &self.pumps.keys()).finish_non_exhaustive()
    }
}

impl ServeSettings {
    fn hall(&self, connections_max: usize, questions: usize) -> Hall {
        Hall::new(connections_max, self.handshake_deadline.as_duration(), questions)
    }
}

fn absent_tftp(node: NodeId) -> ServeError {
    ServeError::Absent { service: ServiceKind::Tftp, node }
}

/// Starts the thread of a pump. Its sockets belong to its runtime, so that it opens them itself.
fn spawn_pump(
    parts: PumpParts,
    listener: std::net::UdpSocket,
    commands: mpsc::Sender<PumpCommand>,
    counters: Arc<TftpCounters>,
) -> Result<PumpHandle, ServeError> {
    let name = ThreadKind::ServeTftp.numbered(parts.place.id.node);
    let runtime = OwnRuntime::of_one_thread(&name)?;
    let pump = {
        let _inside = runtime.enter();
        Pump::new(parts, listener).map_err(ServeError::Bind)?
    };
    let (end, ended) = oneshot::channel();
    let thread = threads::spawn(&name, move || {
        runtime.block_on(pump.run());
        drop(end);
    })?;
    Ok(PumpHandle { commands, counters, ended, _thread: thread })
}
