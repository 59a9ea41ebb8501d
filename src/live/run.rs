use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::base::{NodeId, PhoneId, Span, Time};
use crate::cluster::{
    CertificateKind, Cluster, FileSignature, FleetSpec, Genesis, HTTP_PORT, HTTPS_PORT,
    OperatorAction, ServiceKind, SignCounts, Topology,
};
use crate::crypto::{Identity, KeySource};
use crate::measure::{
    CpuSeconds, Finish, Ledger, Mode, Queue, RunFacts, RunInfo, ServeSummary, Slice, StepMark,
    encode,
};
use crate::net::fleet::Addresses;
use crate::net::signals::{Signal, Signals};
use crate::net::threads;
use crate::net::{Clock, http, limits, signals};
use crate::phone::{Env, Phone, Shared, Verifier};
use crate::scenario::{FleetStart, Plan, Timeline};
use crate::serve::{Bound, ServeSettings, Servers, state};
use crate::swarm::{FileServer, HttpServer, Swarm, SwarmPlan};

use super::error::LiveError;
use super::places::{self, Places};
use super::usage::Usage;

/// What a live run needs beside its plan.
#[derive(Clone, Debug, Default)]
pub struct LiveOptions {
    /// Hosts outside loopback that may be connected to.
    pub allowed: Vec<IpAddr>,
    /// Where certificates and keys are kept from run to run; `None` makes throwaway ones.
    pub state: Option<PathBuf>,
    /// Where `serve` writes what its TFTP nodes serve, a folder per node; `None` writes nothing.
    pub files: Option<PathBuf>,
    /// Where Prometheus may ask.
    pub metrics: Option<SocketAddr>,
    /// How long Prometheus may ask for the final numbers when the run is over.
    pub metrics_linger: Span,
}

/// Sees the run go by; called about four times a second.
pub trait Observer {
    /// The run has begun: what serves whom.
    fn started(&mut self, lines: &[String]);
    /// Our servers have their ports, in `serve`: a document with each node's addresses.
    fn listening(&mut self, _bound: &Value) {}
    /// The state of the fleet at `now`.
    fn tick(&mut self, ledger: &Ledger, now: Time);
    /// The operator carries out an action.
    fn operator(&mut self, text: &str, now: Time);
}

/// What came out of a live run.
#[derive(Debug)]
pub struct LiveRun {
    /// Everything that the phones' side counted.
    pub ledger: Ledger,
    /// Everything else that belongs into the summary.
    pub facts: RunFacts,
    /// How it ended.
    pub finish: Finish,
    /// What stopped it, if it was stopped.
    pub signal: Option<Signal>,
}

/// How often the driver looks at timeline, fleet and clock.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for the servers to hear that phones have left.
const IDLE_DEADLINE: Duration = Duration::from_secs(1);
/// How often the observer is shown the fleet.
const TICK_EVERY: Span = Span::from_millis(250);
/// How often the metrics are rendered.
const RENDER_EVERY: Span = Span::from_secs(1);

/// Our own cluster and its servers.
pub(super) struct Embedded {
    pub(super) cluster: Cluster,
    pub(super) servers: Servers,
}

impl Embedded {
    /// Binds the sockets, makes or loads the certificates and starts the servers.
    pub(super) async fn start(
        plan: &Plan,
        options: &LiveOptions,
        clock: Clock,
    ) -> Result<Embedded, LiveError> {
        let bound = Bound::bind(&plan.topology)?;
        let stored = match &options.state {
            Some(dir) => state::load_identities(dir, bound.topology())?,
            None => BTreeMap::new(),
        };
        let topology = bound.topology().clone();
        let genesis = genesis(plan, topology, stored);
        let cluster = threads::apart("keys", move || Cluster::new(genesis)).await?;
        if let Some(dir) = &options.state {
            state::save_identities(dir, &cluster)?;
        }
        let servers = Servers::start(bound, &cluster, clock, ServeSettings::default()).await?;
        Ok(Embedded { cluster, servers })
    }
}

fn genesis(
    plan: &Plan,
    topology: Topology,
    stored: BTreeMap<(NodeId, CertificateKind), Identity>,
) -> Genesis {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Genesis {
        topology,
        fleet: FleetSpec {
            phones: plan.fleet.phones,
            models: plan.fleet.models.clone(),
            seed: plan.seed,
        },
        source: KeySource::System,
        epoch_s: epoch.as_secs(),
        stored,
    }
}

/// Runs the plan until its timeline is finished and every phone has settled, its time is up, or a
/// signal stops it.
pub async fn run(
    plan: &Plan,
    options: &LiveOptions,
    observer: &mut dyn Observer,
) -> Result<LiveRun, LiveError> {
    let mut signals = Signals::new();
    let begun = begin(plan, options);
    let driver = tokio::select! {
        driver = begun => driver?,
        signal = signals.next() => return Ok(LiveRun::of_nothing(plan, signal)),
    };
    driver.run(options, &mut signals, observer).await
}

/// Starts servers and phones.
async fn begin<'a>(plan: &'a Plan, options: &'a LiveOptions) -> Result<Driver<'a>, LiveError> {
    // A host that refuses keeps its limit; `check` has warned of a budget above it.
    let _ = limits::raise_descriptor_limit();
    let clock = Clock::start();
    let embedded = match &plan.target {
        Some(_) => None,
        None => Some(Embedded::start(plan, options, clock).await?),
    };
    Driver::start(plan, options, clock, embedded).await
}

impl LiveRun {
    /// A run that was interrupted before any phone was there.
    fn of_nothing(plan: &Plan, signal: Signal) -> LiveRun {
        LiveRun {
            ledger: Ledger::new(Slice::whole(plan.fleet.phones)),
            facts: RunFacts {
                scenario: plan.name.clone(),
                mode: Mode::Live,
                seed: plan.seed,
                notes: vec!["interrupted before servers and phones had started".to_owned()],
                ..RunFacts::default()
            },
            finish: Finish::Interrupted,
            signal: Some(signal),
        }
    }
}

/// The run in progress.
struct Driver<'a> {
    plan: &'a Plan,
    /// Where certificates are kept, if they are.
    state: Option<&'a Path>,
    clock: Clock,
    embedded: Option<Embedded>,
    swarm: Swarm,
    timeline: Timeline,
    /// Whether any boot was planned, and whether the storm has begun.
    any_wave: bool,
    storm_begun: bool,
    signed_before: SignCounts,
    usage: Usage,
    places: Places,
    /// Where the host permits fewer of them than the scenario asks for.
    bounded: Vec<String>,
    notes: Vec<String>,
    metrics: Arc<Mutex<String>>,
    /// Steps of the operator that were carried out.
    steps: Vec<StepMark>,
}

impl<'a> Driver<'a> {
    async fn start(
        plan: &'a Plan,
        options: &'a LiveOptions,
        clock: Clock,
        embedded: Option<Embedded>,
    ) -> Result<Driver<'a>, LiveError> {
        threads::start_pool()?;
        let usage = Usage::start(clock)?;
        let (places, bounded) = places::permitted(plan)?;
        let shared = Arc::new(Shared::default());
        let phones = populate(plan, embedded.as_ref(), &shared);
        let files = file_servers(plan, embedded.as_ref());
        let tftp = files[0].tftp;
        let swarm_plan = SwarmPlan {
            seed: plan.seed,
            profile: plan.phone.clone(),
            files,
            tvs: plan.target.as_ref().and_then(|target| target.tvs),
            hosts: embedded
                .as_ref()
                .map(|ours| Arc::clone(ours.cluster.hosts()))
                .unwrap_or_default(),
            allowed: options.allowed.clone(),
            transfers_in_flight: places::of(&places, Queue::Transfers),
            lookups_in_flight: places::of(&places, Queue::Lookups),
            connections_in_flight: places::of(&places, Queue::Connections),
        };
        let swarm = Swarm::start(swarm_plan, clock, shared, phones).await?;
        let notes = notes(plan, tftp);
        Ok(Driver {
            notes,
            places,
            bounded,
            plan,
            state: options.state.as_deref(),
            clock,
            embedded,
            swarm,
            timeline: Timeline::new(plan.timeline.clone()),
            any_wave: false,
            storm_begun: false,
            signed_before: SignCounts::default(),
            usage,
            metrics: Arc::default(),
            steps: Vec::new(),
        })
    }

    async fn run(
        mut self,
        options: &LiveOptions,
        signals: &mut Signals,
        observer: &mut dyn Observer,
    ) -> Result<LiveRun, LiveError> {
        let mut lines = self.describe();
        let listener = match options.metrics {
            Some(address) => {
                let (stop, address) = self.listen(address).await?;
                lines.push(format!("metrics   http://{address}/metrics"));
                Some(stop)
            }
            None => None,
        };
        observer.started(&lines);
        let starts_from_nothing =
            self.plan.fleet.start == FleetStart::Factory || self.plan.target.is_some();
        if starts_from_nothing {
            self.any_wave = true;
            let spread = self.plan.fleet.arrival_within;
            self.swarm.boot_all(self.clock.now(), spread, false).await;
        }
        let (finish, signal) = self.watch(signals, observer).await?;
        if listener.is_some() && signal.is_none() {
            self.linger(options.metrics_linger, signals).await;
        }
        let run = self.finish(finish, signal).await;
        drop(listener);
        Ok(run)
    }

    /// Looks after timeline, fleet and clock until the run is over.
    async fn watch(
        &mut self,
        signals: &mut Signals,
        observer: &mut dyn Observer,
    ) -> Result<(Finish, Option<Signal>), LiveError> {
        let end = Time::ZERO + self.plan.limits.max_wall;
        let (mut ticked, mut rendered) = (Time::ZERO, Time::ZERO);
        loop {
            self.operate(observer).await?;
            let now = self.clock.now();
            let over = self.timeline.is_finished() && self.swarm.is_settled();
            if now.since(ticked) >= TICK_EVERY || over {
                ticked = now;
                let ledger = self.swarm.snapshot();
                observer.tick(&ledger, now);
                if now.since(rendered) >= RENDER_EVERY || over {
                    rendered = now;
                    self.render(&ledger);
                }
            }
            if over {
                return Ok((Finish::Complete, None));
            }
            if now >= end {
                return Ok((Finish::TimeLimit, None));
            }
            tokio::select! {
                signal = signals.next() => return Ok((Finish::Interrupted, Some(signal))),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Keeps the final numbers where Prometheus asks for them; a signal ends it, and the run is
    /// complete all the same.
    async fn linger(&self, length: Span, signals: &mut Signals) {
        self.render(&self.swarm.snapshot());
        tokio::select! {
            _ = signals.next() => {}
            () = tokio::time::sleep(length.as_duration()) => {}
        }
    }

    /// Carries out what the operator's timeline has due.
    async fn operate(&mut self, observer: &mut dyn Observer) -> Result<(), LiveError> {
        loop {
            let (now, settled) = (self.clock.now(), self.swarm.is_settled());
            let Some(action) = self.timeline.next_due(now, settled) else { return Ok(()) };
            observer.operator(&self.begin_step(&action), now);
            self.carry_out(&action, now).await?;
            self.timeline.done(self.clock.now());
        }
    }

    /// Notes when the step in hand was carried out; what it is in words.
    fn begin_step(&mut self, action: &OperatorAction) -> String {
        let what = describe_action(action, self.plan);
        let Some(step) = self.timeline.in_hand() else { return what };
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (number, name) = (step.number, step.name.clone());
        let text = format!("step {number}, {name}: {what}");
        self.steps.push(StepMark { number, name, at_s: since_epoch.as_secs_f64() });
        text
    }

    async fn carry_out(&mut self, action: &OperatorAction, now: Time) -> Result<(), LiveError> {
        if let OperatorAction::ResetPhones { spread } = action {
            self.reset_phones(*spread).await;
            return Ok(());
        }
        let Some(embedded) = &mut self.embedded else {
            let text = describe_action(action, self.plan);
            self.notes.push(format!("not done, the target is not ours: {text}"));
            return Ok(());
        };
        for effect in embedded.cluster.apply(action, now)? {
            embedded.servers.carry_out(&effect).await?;
        }
        if let Some(dir) = &self.state {
            state::save_identities(dir, &embedded.cluster)?;
        }
        Ok(())
    }

    async fn reset_phones(&mut self, spread: Span) {
        let first = !self.storm_begun;
        if first {
            self.storm_begun = true;
            self.signed_before = self.signed();
            self.usage.begin_storm();
        }
        self.any_wave = true;
        self.swarm.boot_all(self.clock.now(), spread, first).await;
    }

    fn signed(&self) -> SignCounts {
        self.embedded.as_ref().map(|e| e.cluster.sign_cache().counts()).unwrap_or_default()
    }

    fn serve_summary(&self) -> ServeSummary {
        let Some(embedded) = &self.embedded else { return ServeSummary::default() };
        let counts = embedded.servers.counts();
        ServeSummary {
            tftp_requests: counts.tftp.requests,
            tftp_datagrams_out: counts.tftp.datagrams_out,
            tftp_retransmits: counts.tftp.retransmits,
            http_requests: counts.http.requests,
            http_connections: counts.http.connections,
            https_requests: counts.https.requests,
            https_handshakes_ok: counts.https.handshakes_ok,
            https_handshakes_failed: counts.https.handshakes_failed,
            tvs_handshakes_ok: counts.tvs.handshakes_ok,
            tvs_handshakes_failed: counts.tvs.handshakes_failed
                + counts.tvs.handshakes_refused_by_peer,
            tvs_answers: counts.tvs.answers,
        }
    }

    /// Servers that are not ours work elsewhere.
    fn cpu_s(&self, sides: CpuSeconds) -> CpuSeconds {
        CpuSeconds { serve: self.embedded.as_ref().and(sides.serve), ..sides }
    }

    /// How often our servers could not take a connection for what this host lacks.
    fn server_lacks(&self) -> u64 {
        let Some(embedded) = &self.embedded else { return 0 };
        let counts = embedded.servers.counts();
        counts.tvs.accept_lacked + counts.http.accept_lacked + counts.https.accept_lacked
    }

    async fn finish(self, finish: Finish, signal: Option<Signal>) -> LiveRun {
        if let Some(embedded) = &self.embedded {
            until_idle(&embedded.servers).await;
        }
        // Threads take their CPU time with them.
        let (cpu_s, cpu_by_thread_s, machine) = self.usage.since();
        let (host, cpu_ratio) = (self.usage.host_log(), self.usage.cpu_ratio());
        let (places, server_lacks) = (self.places.clone(), self.server_lacks());
        let cpu_s = self.cpu_s(cpu_s);
        let sign_mean_s = limits::cpu_seconds_of("serve-sign")
            .filter(|_| self.signed().made > 0)
            .map(|seconds| seconds / self.signed().made as f64);
        let (serve, signed, signed_before) =
            (self.serve_summary(), self.signed(), self.signed_before);
        let services =
            self.embedded.as_ref().map(|_| self.plan.topology.running()).unwrap_or_default();
        let (phones, mut ledger) = self.swarm.stop().await;
        if self.any_wave {
            ledger.close(finish, |phone| {
                let node = self.plan.fleet.tftp_of(phone);
                let service = self.embedded.as_ref().and_then(|ours| ours.cluster.tftp(node));
                phones[phone.0 as usize].is_current(|file| service?.identity_of(file))
            });
        }
        if let Some(embedded) = self.embedded {
            embedded.servers.shutdown().await;
        }
        LiveRun {
            ledger,
            facts: RunFacts {
                scenario: self.plan.name.clone(),
                mode: Mode::Live,
                seed: self.plan.seed,
                services,
                signed_before,
                signed,
                cpu_s,
                cpu_by_thread_s,
                machine,
                sign_mean_s,
                host,
                cpu_ratio,
                places,
                bounded: self.bounded,
                server_lacks,
                serve,
                sim: None,
                notes: self.notes,
            },
            finish,
            signal,
        }
    }

    fn describe(&self) -> Vec<String> {
        let (plan, mut lines) = (self.plan, Vec::new());
        lines.push(format!("fleet     {} phones", plan.fleet.phones));
        match (&plan.target, &self.embedded) {
            (Some(target), _) => {
                let tvs = target.tvs.map_or("as configured".into(), |tvs| tvs.to_string());
                lines.push(format!("target    tftp {} · tvs {tvs}", target.tftp));
            }
            (None, Some(embedded)) => lines.extend(describe_cluster(&embedded.cluster)),
            (None, None) => {}
        }
        lines
    }

    /// Answers Prometheus until the sender is dropped; returns the real address, because port 0
    /// lets the host choose.
    async fn listen(
        &self,
        address: SocketAddr,
    ) -> Result<(oneshot::Sender<()>, SocketAddr), LiveError> {
        let failed = |cause| LiveError::Metrics { address, cause };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        self.render(&self.swarm.snapshot());
        let text = Arc::clone(&self.metrics);
        let body = move || text.lock().expect("rendering does not panic").clone();
        let stopped = async move { drop(stopped.await) };
        tokio::spawn(http::serve_text(listener, stopped, body));
        Ok((stop, address))
    }

    fn render(&self, ledger: &Ledger) {
        let info = RunInfo {
            scenario: self.plan.name.clone(),
            mode: Mode::Live,
            seed: self.plan.seed,
            signatures: self.signed(),
            serve: self.serve_summary(),
            cpu_s: self.cpu_s(self.usage.sides()),
            steps: self.steps.clone(),
        };
        *self.metrics.lock().expect("rendering does not panic") = encode(ledger, &info);
    }
}

/// Lines that say which node serves what and where.
/// What listens where: each node with its address and the ports of the services that run.
pub(super) fn bound_document(scenario: &str, cluster: &Cluster) -> Value {
    let topology = cluster.topology();
    let of_node = |id: NodeId| {
        let node = topology.node(id);
        let (tftp, tvs) = (cluster.tftp(id).is_some(), cluster.tvs(id).is_some());
        json!({
            "node": node.name,
            "address": node.address,
            "tftp": tftp.then_some(node.ports.tftp),
            "http": node.ports.http.filter(|_| tftp),
            "https": node.ports.https.filter(|_| tftp),
            "tvs": tvs.then_some(node.ports.tvs),
        })
    };
    let nodes = (0..topology.nodes.len() as u8).map(NodeId).map(of_node);
    json!({ "schema": 1, "scenario": scenario, "nodes": nodes.collect::<Vec<_>>() })
}

pub(super) fn describe_cluster(cluster: &Cluster) -> Vec<String> {
    let topology = cluster.topology();
    let of_node = |id: NodeId| {
        let node = topology.node(id);
        let mut line = format!("cluster   {} on {}", node.name, node.address);
        if cluster.tftp(id).is_some() {
            line += &format!(" · tftp {}", node.ports.tftp);
            for (name, port) in [("http", node.ports.http), ("https", node.ports.https)] {
                line += &port.map(|port| format!(" · {name} {port}")).unwrap_or_default();
            }
        }
        if cluster.tvs(id).is_some() {
            line += &format!(" · tvs {}", node.ports.tvs);
        }
        line
    };
    (0..topology.nodes.len() as u8).map(NodeId).map(of_node).collect()
}

fn describe_action(action: &OperatorAction, plan: &Plan) -> String {
    let name = |node: &NodeId| plan.topology.node(*node).name.as_str();
    let what = |service: &Option<ServiceKind>| service.map_or("all services", ServiceKind::name);
    match action {
        OperatorAction::Regenerate { certificate, node } => {
            format!("regenerate {} on {}", certificate.name(), name(node))
        }
        OperatorAction::AddRecord { name, .. } => format!("add the DNS record of {name}"),
        OperatorAction::RemoveRecord { name } => format!("remove the DNS record of {name}"),
        OperatorAction::Rename { node, to } => format!("rename {} to {to}", name(node)),
        OperatorAction::ResetPhones { spread } => format!("reset phones within {spread}"),
        OperatorAction::Restart { node, service } => {
            format!("restart {} on {}", what(service), name(node))
        }
        OperatorAction::Start { node, service } => {
            format!("start {} on {}", what(service), name(node))
        }
        OperatorAction::Stop { node, service } => {
            format!("stop {} on {}", what(service), name(node))
        }
    }
}

/// Waits until the servers have heard the last word of every phone, such as the alert of one that
/// refused them, so that their counts are those of the phones; a peer that is not ours and stays is
/// not waited for longer than a second.
async fn until_idle(servers: &Servers) {
    let open = || {
        let counts = servers.counts();
        counts.tvs.connections_in_flight
            + counts.http.connections_in_flight
            + counts.https.connections_in_flight
    };
    let idle = async {
        while open() > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    // What is open then belongs to strangers.
    let _ = tokio::time::timeout(IDLE_DEADLINE, idle).await;
}

/// Where the phones get their files: from the target, or from the TFTP nodes of our cluster.
fn file_servers(plan: &Plan, embedded: Option<&Embedded>) -> Vec<FileServer> {
    if let Some(target) = &plan.target {
        let at = |port| SocketAddr::new(target.tftp.ip(), port);
        let http = HttpServer { http: at(HTTP_PORT), https: at(HTTPS_PORT) };
        return vec![FileServer { tftp: target.tftp, http }];
    }
    let topology = embedded.expect("without a target the cluster is ours").cluster.topology();
    let server = |&node: &NodeId| FileServer {
        tftp: topology.socket(node, ServiceKind::Tftp),
        http: HttpServer { http: topology.http_socket(node), https: topology.https_socket(node) },
    };
    plan.fleet.tftp.iter().map(server).collect()
}

/// The phones, each with what it holds at the start.
fn populate(plan: &Plan, embedded: Option<&Embedded>, shared: &Arc<Shared>) -> Vec<Phone> {
    let fleet =
        FleetSpec { phones: plan.fleet.phones, models: plan.fleet.models.clone(), seed: plan.seed };
    // What each TFTP node serves, in the order in which phones take turns.
    let served: Vec<_> = plan
        .fleet
        .tftp
        .iter()
        .map(|&node| {
            let service = embedded
                .filter(|_| plan.fleet.start == FleetStart::ItlCurrent)
                .and_then(|embedded| embedded.cluster.tftp(node))?;
            Some((service, service.signed_list()))
        })
        .collect();
    let env = || Env {
        profile: Arc::new(plan.phone.clone()),
        shared: Arc::clone(shared),
        verifier: Verifier::real(),
    };
    let make = |env: &mut Env, number: u32| {
        let id = PhoneId(number);
        let mut phone = Phone::new(id, fleet.model(id));
        let given = served[number as usize % served.len()].as_ref();
        // A phone of a run that has been told to end is asked for nothing.
        if let Some((service, list)) = given.filter(|_| signals::first().is_none()) {
            let (config, identity) = service.config_of(id);
            phone
                .provision(env, list, &config, identity)
                .expect("the cluster's own files can be read");
        }
        phone
    };
    (0..plan.fleet.phones).into_par_iter().map_init(env, make).collect()
}

/// What a reader of the numbers must know.
fn notes(plan: &Plan, tftp: SocketAddr) -> Vec<String> {
    let mut notes =
        vec!["ready means: list and config in force; registration is not simulated yet".to_owned()];
    if plan.target.is_none() {
        notes.push(signature_note(&plan.topology));
    } else {
        notes.push(
            "the phones booted from the factory state: they hold what the target gave them".into(),
        );
    }
    if !plan.fleet.sites.is_empty() {
        notes.push("the links of [[fleet.site]] act in `sim` only: this run ignored them".into());
    }
    if Addresses::towards(tftp) == Addresses::Shared {
        notes.push("all phones share this host's address towards the TFTP server".into());
    }
    notes
}

/// Which digest the signatures of the cluster have, and what that means for the numbers.
fn signature_note(topology: &Topology) -> String {
    let (release, signature) = (topology.release, topology.file_signature);
    match signature {
        FileSignature::Sha1 => format!(
            "release {release}: lists and configs are signed with SHA-1 (weak); a signature costs \
             the servers about three times one with SHA-512 here"
        ),
        FileSignature::Sha512 => {
            format!("release {release}: lists and configs are signed with SHA-512")
        }
    }
}
