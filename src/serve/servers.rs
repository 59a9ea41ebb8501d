use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};

use crate::base::NodeId;
use crate::cluster::{
    Cluster, Effect, ServiceKind, SignCacheMode, TftpService, Topology, TvsService,
};
use crate::measure::ThreadKind;
use crate::net::Clock;
use crate::net::threads::{self, OwnRuntime};

use super::bound::{Bound, Place};
use super::counts::{ServeCounts, TftpCounters, TftpCounts};
use super::http::{HttpNode, HttpShared, Scheme};
use super::pump::{Pump, PumpCommand, PumpParts};
use super::settings::{ServeError, ServeSettings};
use super::signing::Signing;
use super::tvs::{TvsNode, TvsShared};

/// Commands that may wait for a pump; each is awaited, so that there is one at a time.
const COMMANDS_MAX: usize = 4;
/// Longest wait for the servers to end.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// The servers of one cluster: a datagram pump with a thread of its own per TFTP node, one runtime
/// each for HTTP, HTTPS and TVS, and the signing pool.
pub struct Servers {
    pumps: BTreeMap<NodeId, PumpHandle>,
    http: HttpSide,
    https: HttpSide,
    tvs: Mutex<BTreeMap<NodeId, TvsNode>>,
    tvs_shared: Arc<TvsShared>,
    tvs_runtime: OwnRuntime,
    signing: Signing,
    prewarm: bool,
}

/// The HTTP servers of all nodes, or their HTTPS servers.
struct HttpSide {
    nodes: Mutex<BTreeMap<NodeId, HttpNode>>,
    shared: Arc<HttpShared>,
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
        let nodes = (0..cluster.topology().nodes.len() as u8).map(NodeId);
        for node in nodes {
            if let Some(service) = cluster.tvs(node) {
                servers.start_tvs(node, service).await?;
            }
            if let Some(service) = cluster.tftp(node) {
                servers.start_tftp(node, service).await?;
            }
        }
        Ok(servers)
    }

    /// Does what an operator action asks of the servers; returns when it is in force.
    pub async fn carry_out(&self, effect: &Effect) -> Result<(), ServeError> {
        match effect {
            Effect::TftpStarted { node, service } => self.start_tftp(*node, service).await,
            Effect::TftpStopped { node } => self.stop_tftp(*node).await,
            Effect::TvsStarted { node, service } => self.start_tvs(*node, service).await,
            Effect::TvsStopped { node } => {
                let absent = ServeError::Absent { service: ServiceKind::Tvs, node: *node };
                self.tvs.lock().await.get_mut(node).ok_or(absent)?.stop().await;
                Ok(())
            }
            // The phones are somebody else's.
            Effect::ResetPhones { .. } => Ok(()),
        }
    }

    /// What the servers have done so far.
    pub fn counts(&self) -> ServeCounts {
        let tftp = self
            .pumps
            .values()
            .map(|pump| pump.counters.read())
            .fold(TftpCounts::default(), |sum, node| sum + node);
        let [http, https] = [&self.http, &self.https].map(|side| side.shared.counters.read());
        ServeCounts { tftp, http, https, tvs: self.tvs_shared.counters.read() }
    }

    /// Closes all sockets and ends the threads, or gives up waiting for them after five seconds.
    pub async fn shutdown(mut self) {
        let close = async {
            for side in [&self.http, &self.https] {
                for node in side.nodes.lock().await.values_mut() {
                    node.stop().await;
                }
            }
            for node in self.tvs.lock().await.values_mut() {
                node.stop().await;
            }
            for pump in std::mem::take(&mut self.pumps).into_values() {
                drop(pump.commands);
                // The sender is dropped with the pump.
                let _ = pump.ended.await;
            }
        };
        let _ = tokio::time::timeout(SHUTDOWN_DEADLINE, close).await;
    }

    fn build(
        bound: Bound,
        clock: Clock,
        settings: ServeSettings,
        mode: SignCacheMode,
    ) -> Result<Servers, ServeError> {
        let Bound { topology, tftp, http, https, tvs } = bound;
        let (signing, signed) =
            Signing::start(settings.sign_threads, topology.nodes.len(), settings.sign_queue_max)?;
        let mut signed: Vec<_> = signed.into_iter().map(Some).collect();
        let mut pumps = BTreeMap::new();
        for (node, socket) in tftp {
            let (sender, commands) = mpsc::channel(COMMANDS_MAX);
            let counters = Arc::new(TftpCounters::default());
            let signed = signed[usize::from(node.0)].take();
            let parts = PumpParts {
                node,
                place: Place::of(&topology, node, ServiceKind::Tftp),
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
        let side = |scheme, listeners| {
            HttpSide::new(scheme, &topology, listeners, &settings, signing.clone())
        };
        let (http, https) = (side(Scheme::Http, http)?, side(Scheme::Https, https)?);
        let tvs_shared = Arc::new(TvsShared::new(&settings));
        let mut tvs_nodes = BTreeMap::new();
        for (node, listener) in tvs {
            let place = Place::of(&topology, node, ServiceKind::Tvs);
            let server = TvsNode::new(place.clone(), listener, Arc::clone(&tvs_shared))
                .map_err(|cause| ServeError::Bind(place.error(cause)))?;
            tvs_nodes.insert(node, server);
        }
        Ok(Servers {
            pumps,
            http,
            https,
            tvs: Mutex::new(tvs_nodes),
            tvs_shared,
            tvs_runtime: OwnRuntime::with_threads(
                ThreadKind::ServeTvs.name(),
                settings.tvs_threads,
            )?,
            signing,
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
        self.http.start(node, service).await?;
        self.https.start(node, service).await
    }

    async fn stop_tftp(&self, node: NodeId) -> Result<(), ServeError> {
        for side in [&self.http, &self.https] {
            if let Some(http) = side.nodes.lock().await.get_mut(&node) {
                http.stop().await;
            }
        }
        let (done, in_force) = oneshot::channel();
        self.command(node, PumpCommand::Stop(done)).await?;
        in_force.await.map_err(|_| absent_tftp(node))
    }

    async fn command(&self, node: NodeId, command: PumpCommand) -> Result<(), ServeError> {
        let pump = self.pumps.get(&node).ok_or_else(|| absent_tftp(node))?;
        pump.commands.send(command).await.map_err(|_| absent_tftp(node))
    }

    async fn start_tvs(&self, node: NodeId, service: &TvsService) -> Result<(), ServeError> {
        let absent = || ServeError::Absent { service: ServiceKind::Tvs, node };
        let mut nodes = self.tvs.lock().await;
        nodes.get_mut(&node).ok_or_else(absent)?.start(service, self.tvs_runtime.handle())
    }
}

impl HttpSide {
    fn new(
        scheme: Scheme,
        topology: &Topology,
        listeners: Vec<(NodeId, std::net::TcpListener)>,
        settings: &ServeSettings,
        signing: Signing,
    ) -> Result<HttpSide, ServeError> {
        let shared = Arc::new(HttpShared::new(settings, signing));
        let (thread, place_of): (_, fn(&Topology, NodeId) -> Place) = match scheme {
            Scheme::Http => (ThreadKind::ServeHttp, Place::of_http),
            Scheme::Https => (ThreadKind::ServeHttps, Place::of_https),
        };
        let needed = !listeners.is_empty();
        let node = |(node, listener)| {
            let place = place_of(topology, node);
            HttpNode::new(scheme, place.clone(), listener, Arc::clone(&shared))
                .map(|server| (node, server))
                .map_err(|cause| ServeError::Bind(place.error(cause)))
        };
        let nodes = listeners.into_iter().map(node).collect::<Result<_, _>>()?;
        let runtime = needed
            .then(|| OwnRuntime::with_threads(thread.name(), settings.http_threads))
            .transpose()?;
        Ok(HttpSide { nodes: Mutex::new(nodes), shared, runtime })
    }

    async fn start(&self, node: NodeId, service: &Arc<TftpService>) -> Result<(), ServeError> {
        let mut nodes = self.nodes.lock().await;
        match (nodes.get_mut(&node), &self.runtime) {
            (Some(server), Some(runtime)) => server.start(service, runtime.handle()),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers").field("tftp", &self.pumps.keys()).finish_non_exhaustive()
    }
}

impl TvsShared {
    fn new(settings: &ServeSettings) -> TvsShared {
        TvsShared {
            counters: super::counts::TvsCounters::default(),
            places: Arc::new(Semaphore::new(settings.tvs_connections_max)),
            handshake_deadline: settings.handshake_deadline.as_duration(),
            request_deadline: settings.request_deadline.as_duration(),
        }
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
    let name = ThreadKind::ServeTftp.numbered(parts.node.0);
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
