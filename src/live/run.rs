use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rayon::prelude::*;

use crate::base::{Calendar, NodeId, PhoneId, Span, Time};
use crate::cluster::{Cluster, FileSignature, HTTP_PORT, HTTPS_PORT, ServiceKind, Topology};
use crate::measure::{
    Account, CpuSeconds, Finish, Journal, Ledger, Mode, Queue, RunFacts, Slice, Summary,
    ThreadKind, encode,
};
use crate::net::fleet::first_address;
use crate::net::http::MetricsListener;
use crate::net::signals::{Signal, Signals};
use crate::net::threads;
use crate::net::{Clock, limits, signals};
use crate::phone::{Env, Phone, Shared, Verifier};
use crate::play::{Cast, Cue, Records, Roll, Wave};
use crate::scenario::{Plan, Target};
use crate::serve::Servers;
use crate::swarm::{FileServer, Swarm, SwarmPlan};

use super::describe::describe_cluster;
use super::error::LiveError;
use super::options::{LiveOptions, Observer, Wish};
use super::places::{self, Places};
use super::stage::Stage;
use super::usage::Usage;

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
    /// The phones as they are at the end, by number.
    pub phones: Vec<Phone>,
    /// What was kept beside the sums.
    pub records: Records,
    /// When it ended.
    pub ended: Time,
}

/// Within which time phones know that a server is gone or back: it is looked for once a second.
const NOTICED_WITHIN: Span = Span::from_millis(2_500);
/// How often the driver looks at timeline, fleet and clock.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for the servers to hear that phones have left.
const IDLE_DEADLINE: Duration = Duration::from_secs(1);
/// How often the observer is shown the fleet.
const TICK_EVERY: Span = Span::from_millis(250);
/// How often the metrics are rendered.
const RENDER_EVERY: Span = Span::from_secs(1);

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
    Box::pin(driver.run(options, &mut signals, observer)).await
}

/// Starts servers and phones.
async fn begin<'a>(plan: &'a Plan, options: &'a LiveOptions) -> Result<Driver<'a>, LiveError> {
    // A host that refuses keeps its limit; `check` has warned of a budget above it.
    let _ = limits::raise_descriptor_limit();
    let clock = Clock::start();
    let stage = Stage::start(plan, options, clock).await?;
    Driver::start(plan, options, clock, stage)
}

impl LiveRun {
    /// A run that was interrupted before any phone was there.
    fn of_nothing(plan: &Plan, signal: Signal) -> LiveRun {
        let known = Summary {
            scenario: plan.name.clone(),
            mode: Mode::Live,
            seed: plan.seed,
            notes: vec!["interrupted before servers and phones had started".to_owned()],
            ..Summary::default()
        };
        LiveRun {
            ledger: Ledger::new(Slice::whole(plan.fleet.phones)),
            facts: RunFacts { known, ..RunFacts::default() },
            finish: Finish::Interrupted,
            phones: Vec::new(),
            signal: Some(signal),
            records: Records {
                journal: Journal::new(
                    plan.seed,
                    Slice::whole(plan.fleet.phones),
                    plan.fleet.phones,
                ),
                roll: Roll::default(),
            },
            ended: Time::ZERO,
        }
    }
}

/// The run in progress.
struct Driver<'a> {
    plan: &'a Plan,
    clock: Clock,
    stage: Stage,
    swarm: Swarm,
    usage: Usage,
    places: Places,
    /// Where the host permits fewer of them than the scenario asks for.
    bounded: Vec<String>,
    notes: Vec<String>,
    /// Answers Prometheus, if it is asked for.
    metrics: Option<MetricsListener>,
    /// From when on everybody has noticed what has become of the servers.
    quiet_from: Time,
    /// Since when no step is carried out, if somebody wants it so.
    paused: Option<Time>,
    /// Whether what has not begun is given up.
    drains: bool,
}

impl<'a> Driver<'a> {
    fn start(
        plan: &'a Plan,
        options: &'a LiveOptions,
        clock: Clock,
        stage: Stage,
    ) -> Result<Driver<'a>, LiveError> {
        threads::start_pool()?;
        let usage = Usage::start(clock)?;
        let (places, bounded) = places::permitted(plan)?;
        let cluster = stage.play.cluster();
        let shared = Arc::new(Shared::new(
            cluster.map_or_else(|| calendar_of(plan), |ours| Arc::clone(ours.calendar())),
        ));
        let phones = phones(plan, &stage.play.cast(), &shared);
        let files = file_servers(plan, cluster);
        let homes = Arc::clone(stage.play.homes());
        let servers = homes.of(PhoneId(0)).iter().map(|node| files[node].tftp);
        let is_shared = servers.map(first_address).any(|own| own.is_none());
        let swarm_plan = SwarmPlan {
            seed: plan.seed,
            profile: plan.phone.clone(),
            homes,
            files,
            uses: plan.fleet.uses.clone().into(),
            targets: plan.target.as_ref().map(Target::dialogues).unwrap_or_default(),
            hosts: cluster.map(|ours| Arc::clone(ours.hosts())).unwrap_or_default(),
            allowed: options.allowed.clone(),
            transfers_in_flight: places::of(&places, Queue::Transfers),
            lookups_in_flight: places::of(&places, Queue::Lookups),
            registrations_in_flight: places::of(&places, Queue::Registrations),
            connections_in_flight: places::of(&places, Queue::Connections),
        };
        let swarm = Swarm::start(&swarm_plan, clock, &shared, phones)?;
        let (notes, quiet_from) = (notes(plan, is_shared), Time::ZERO);
        Ok(Driver {
            plan,
            clock,
            stage,
            swarm,
            usage,
            places,
            bounded,
            notes,
            metrics: None,
            quiet_from,
            paused: None,
            drains: false,
        })
    }

    async fn run(
        mut self,
        options: &LiveOptions,
        signals: &mut Signals,
        observer: &mut dyn Observer,
    ) -> Result<LiveRun, LiveError> {
        let mut lines = self.describe();
        if let Some(address) = options.metrics {
            let text = self.exposition(&self.swarm.snapshot());
            let listener = MetricsListener::start(address, text).await?;
            lines.push(listener.line());
            self.metrics = Some(listener);
        }
        observer.started(&lines);
        if let Some(cue) = self.stage.play.power_on() {
            self.follow(&cue, observer).await?;
        }
        if !self.plan.fleet.uses.is_empty() {
            self.swarm.begin_use(self.clock.now()).await;
        }
        let (finish, signal) = self.watch(signals, observer).await?;
        if let (Some(listener), None) = (&self.metrics, signal) {
            self.render(&self.swarm.snapshot());
            listener.linger(options.metrics_linger, signals).await;
        }
        Ok(Box::pin(self.finish(finish, signal)).await)
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
            let drained = self.drains && self.swarm.is_settled();
            let over = drained
                || self.stage.play.is_finished() && self.is_settled() && self.swarm.is_at_rest();
            if now.since(ticked) >= TICK_EVERY || over {
                ticked = now;
                let ledger = self.swarm.snapshot();
                observer.tick(&ledger, now);
                if now.since(rendered) >= RENDER_EVERY || over {
                    rendered = now;
                    self.render(&ledger);
                }
            }
            if drained {
                return Ok((Finish::Interrupted, Some(Signal::Interrupt)));
            }
            if over {
                return Ok((Finish::Complete, None));
            }
            if now >= end {
                return Ok((Finish::TimeLimit, None));
            }
            if let Some(wish) = observer.wish() {
                self.grant(wish, observer).await;
                if wish == Wish::Quit {
                    return Ok((Finish::Interrupted, Some(Signal::Interrupt)));
                }
            }
            tokio::select! {
                signal = signals.next() => return Ok((Finish::Interrupted, Some(signal))),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Does what somebody who watches asks for; the summary has a note of it.
    async fn grant(&mut self, wish: Wish, observer: &mut dyn Observer) {
        let now = self.clock.now();
        match (wish, self.paused) {
            (Wish::Pause, None) => {
                self.paused = Some(now);
                observer.told("paused: no further step; phones go on", now);
            }
            (Wish::Pause, Some(_)) => {
                self.end_pause();
                observer.told("goes on", now);
            }
            (Wish::Drain, _) if self.drains => {}
            (Wish::Drain, _) => {
                self.drains = true;
                self.swarm.drain().await;
                self.notes.push(format!(
                    "drained by hand at {:.1} s: no further step, and no boot that had not begun",
                    now.as_secs_f64()
                ));
                observer.told("drains: ends when the boots under way have ended", now);
            }
            (Wish::Quit, _) => {
                self.notes.push(format!("ended by hand at {:.1} s", now.as_secs_f64()));
            }
        }
    }

    fn end_pause(&mut self) {
        let now = self.clock.now().as_secs_f64();
        let note = |from: Time| {
            let from = from.as_secs_f64();
            format!("paused by hand from {from:.1} s to {now:.1} s: no step was carried out")
        };
        self.notes.extend(self.paused.take().map(note));
    }

    /// Whether no phone boots, registers or is about to, and all have noticed what has become of
    /// the servers.
    fn is_settled(&self) -> bool {
        self.clock.now() >= self.quiet_from && self.swarm.is_settled()
    }

    /// Carries out what is due.
    async fn operate(&mut self, observer: &mut dyn Observer) -> Result<(), LiveError> {
        while self.paused.is_none() && !self.drains {
            let (now, settled) = (self.clock.now(), self.is_settled());
            let Some(cue) = self.stage.play.next(now, settled)? else { return Ok(()) };
            self.follow(&cue, observer).await?;
        }
        Ok(())
    }

    async fn follow(&mut self, cue: &Cue, observer: &mut dyn Observer) -> Result<(), LiveError> {
        let now = self.clock.now();
        match cue {
            Cue::Acts { action, step } => {
                observer.operator(&self.stage.play.tell(action, step.as_ref()), now);
            }
            Cue::Boots { spread, wave } => {
                let storm = *wave == Wave::Storm;
                if storm {
                    self.usage.begin_storm();
                }
                self.swarm.boot_all(now, *spread, storm).await;
            }
            Cue::Visits(visits) => {
                let visits = self.stage.play.visits(visits, &self.swarm.snapshot());
                self.swarm.visit(now, &visits).await;
            }
            Cue::Moved => self.swarm.move_phones(self.stage.play.homes()).await,
            Cue::Service(change) => {
                if self.plan.phone.registration.enabled && change.ends_connections() {
                    self.quiet_from = now + NOTICED_WITHIN;
                }
            }
            Cue::BackedUp(_) => {}
            Cue::Probed(_) | Cue::Warned(_) => {
                self.stage.play.tell_cue(cue).iter().for_each(|what| observer.told(what, now));
            }
        }
        self.stage.follow(cue).await
    }

    /// Servers that are not ours work elsewhere.
    fn cpu_s(&self, sides: CpuSeconds) -> CpuSeconds {
        CpuSeconds { serve: self.stage.servers.as_ref().and(sides.serve), ..sides }
    }

    /// How often our servers could not take a connection for what this host lacks.
    fn server_lacks(&self) -> u64 {
        let lacks = |servers: &Servers| -> u64 {
            servers.counts().tcp().map(|counts| counts.accept_lacked).sum()
        };
        self.stage.servers.as_ref().map(lacks).unwrap_or_default()
    }

    async fn finish(mut self, finish: Finish, signal: Option<Signal>) -> LiveRun {
        self.end_pause();
        if let Some(servers) = &self.stage.servers {
            until_idle(servers).await;
        }
        let ended = self.clock.now();
        // Threads take their CPU time with them.
        let (cpu_s, cpu_by_thread_s, machine) = self.usage.since();
        let (host, cpu_ratio) = (self.usage.host_log(), self.usage.cpu_ratio());
        let (server_lacks, cpu_s) = (self.server_lacks(), self.cpu_s(cpu_s));
        let Driver { mut stage, places, bounded, mut notes, .. } = self;
        stage.play.ended(ended);
        notes.extend(stage.keep().err().map(|error| format!("the state was not kept: {error}")));
        let made = stage.play.signed().made;
        let sign_mean_s = limits::cpu_seconds_of(ThreadKind::ServeSign.name())
            .filter(|_| made > 0)
            .map(|seconds| seconds / made as f64);
        let (serve, facts) = (stage.serve_summary(), stage.play.facts());
        let (phones, mut ledger, journal) = self.swarm.finish().await;
        stage.play.close(&mut ledger, finish, &phones);
        let stranded = stage.play.stranded(&ledger, &phones);
        let records = Records { journal, roll: stage.play.roll(&phones) };
        if let Some(servers) = stage.servers {
            servers.shutdown().await;
        }
        let known = Summary {
            cpu_s,
            cpu_by_thread_s,
            machine,
            serve,
            stranded,
            attribution: records.journal.attribution(),
            notes: [notes, facts.known.notes].concat(),
            ..facts.known
        };
        let facts = RunFacts {
            known,
            sign_mean_s,
            host,
            account: Account { places, bounded, server_lacks, cpu_ratio, ..Account::default() },
            ..facts
        };
        LiveRun { ledger, facts, finish, signal, phones, records, ended }
    }

    fn describe(&self) -> Vec<String> {
        let (plan, mut lines) = (self.plan, Vec::new());
        lines.push(format!("fleet     {} phones", plan.fleet.phones));
        match (&plan.target, self.stage.play.cluster()) {
            (Some(target), _) => {
                let tvs = target.tvs.map_or("as configured".into(), |tvs| tvs.to_string());
                let tftp: Vec<String> = target.tftp.iter().map(ToString::to_string).collect();
                let registrars = [("sip", target.sip), ("sips", target.sips)];
                let registrar = |(name, server): (&str, Option<SocketAddr>)| {
                    server.map(|server| format!(" · {name} {server}"))
                };
                let registrars: String = registrars.into_iter().filter_map(registrar).collect();
                lines.push(format!("target    tftp {} · tvs {tvs}{registrars}", tftp.join(", ")));
            }
            (None, Some(cluster)) => lines.extend(describe_cluster(cluster)),
            (None, None) => {}
        }
        lines
    }

    /// What Prometheus is told.
    fn exposition(&self, ledger: &Ledger) -> String {
        let cpu_s = self.cpu_s(self.usage.sides());
        encode(ledger, &self.stage.play.info(self.stage.serve_summary(), cpu_s))
    }

    fn render(&self, ledger: &Ledger) {
        if let Some(listener) = &self.metrics {
            listener.show(self.exposition(ledger));
        }
    }
}

/// Waits until the servers have heard the last word of every phone, such as the alert of one that
/// refused them, so that their counts are those of the phones; a peer that is not ours and stays is
/// not waited for longer than a second.
async fn until_idle(servers: &Servers) {
    let open = || servers.counts().tcp().map(|counts| counts.connections_in_flight).sum::<u64>();
    let idle = async {
        while open() > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    // What is open then belongs to strangers.
    let _ = tokio::time::timeout(IDLE_DEADLINE, idle).await;
}

/// Where the phones get their files: from the target, or from the TFTP nodes of our cluster.
fn file_servers(plan: &Plan, cluster: Option<&Cluster>) -> BTreeMap<NodeId, FileServer> {
    if let Some(target) = &plan.target {
        let server = |&tftp: &SocketAddr| {
            let at = |port| SocketAddr::new(tftp.ip(), port);
            FileServer { tftp, http: at(HTTP_PORT), https: at(HTTPS_PORT) }
        };
        let nodes = plan.homes().into_iter().flat_map(|home| home.to_vec());
        return nodes.zip(target.tftp.iter().map(server)).collect();
    }
    let topology = cluster.expect("without a target the cluster is ours").topology();
    let server = |node: NodeId| FileServer {
        tftp: topology.socket(node, ServiceKind::Tftp),
        http: topology.http_socket(node),
        https: topology.https_socket(node),
    };
    topology.nodes_with(ServiceKind::Tftp).map(|node| (node, server(node))).collect()
}

/// The dates of a run against somebody else's servers: those of this host unless
/// the plan says others.
fn calendar_of(plan: &Plan) -> Arc<Calendar> {
    let since = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Arc::new(Calendar::new(plan.dates.epoch_s.unwrap_or_else(since)))
}

/// The phones, each with what it holds at the start.
fn phones(plan: &Plan, cast: &Cast, shared: &Arc<Shared>) -> Vec<Phone> {
    let env = || Env {
        profile: Arc::new(plan.phone.clone()),
        shared: Arc::clone(shared),
        verifier: Verifier::real(),
    };
    // A phone of a run that has been told to end is asked for nothing.
    let make = |env: &mut Env, number| cast.phone(env, PhoneId(number), signals::first().is_some());
    (0..plan.fleet.phones).into_par_iter().map_init(env, make).collect()
}

/// What *ready* is where phones register as well.
const READY_AND_REGISTERED: &str = "ready means: list and config in force; registered is counted \
                                    apart, and a phone that is not ready may be";

/// What a reader of the numbers must know.
fn notes(plan: &Plan, is_shared: bool) -> Vec<String> {
    let mut notes =
        vec!["ready means: list and config in force; registration is not simulated yet".to_owned()];
    if plan.phone.registration.enabled {
        notes = vec![READY_AND_REGISTERED.to_owned()];
    }
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
    if is_shared {
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
