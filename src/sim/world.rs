use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::base::{NodeId, PhoneId, Purpose, Span, Stop, Time, stream};
use crate::cluster::{
    Cluster, Contents, FleetSpec, Genesis, Impact, ServedFile, Service, ServiceChange, ServiceKind,
    SignCacheMode, TftpService,
};
use crate::crypto::KeySource;
use crate::measure::{
    CpuSeconds, Finish, FleetReady, Incident, Ledger, Listen, MachineSummary, Mode, Notice,
    RunFacts, ServeSummary, SimSummary, Slice, StepKind, Summary, encode,
};
use crate::phone::{
    Action, Answer, Ask, Env, Errand, ErrandFault, Fact, FileRequest, Input, Message, Outcome,
    Phone, Shared, Sink, Transport, TrustLists, Verifier,
};
use crate::play::{Cue, Play, Wave};
use crate::scenario::{Link, Plan, TimelineEntry};
use crate::wire::{Dialogue, TvsMember};

use super::digest::FactDigest;
use super::guesses::{Guess, guesses, notes};
use super::link::Fates;
use super::lookups::Judged;
use super::machines::Machines;
use super::pace::Pace;
use super::places::Places;
use super::queue::Queue;
use super::session::{Event, Parked, Session, Waits, Watch};

/// How a world is played; the plan says which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimOptions {
    /// Whether one configuration of a group and model stands for all of them. Outcomes, counts
    /// and times are the same; a million phones need it.
    pub contents: Contents,
    /// How often the metrics are sampled; `None` takes no sample. When there are many, every
    /// second one is dropped and the span doubled.
    pub sample_every: Option<Span>,
    /// Most events that are handled; `None` takes a bound that no world which comes to rest
    /// reaches.
    pub events_max: Option<u64>,
}

impl Default for SimOptions {
    fn default() -> SimOptions {
        SimOptions { contents: Contents::OfEachModel, sample_every: None, events_max: None }
    }
}

/// What came out of a run in virtual time.
#[derive(Debug)]
pub struct SimRun {
    /// Everything that was counted.
    pub ledger: Ledger,
    /// SHA-256 over the operator's steps, what was served and all facts, in their order: the same
    /// plan gives the same digest.
    pub digest: [u8; 32],
    /// Random numbers that were drawn.
    pub draws: u64,
    /// Events that were handled.
    pub events: u64,
    /// What the play knows of it.
    pub facts: RunFacts,
    /// What the servers counted.
    pub serve: ServeSummary,
    /// Core time of phones and servers by the cost model since the storm began.
    pub cpu_s: CpuSeconds,
    /// The same by the kind of thread that does this work in a live run.
    pub cpu_by_thread_s: BTreeMap<String, f64>,
    /// Share of the work, from 0 to 1, that began on a core that was idle.
    pub woken: f64,
    /// When each ready phone was registered, if the plan has that step: nanoseconds of the run.
    pub registered: Vec<Time>,
    /// Metrics as Prometheus text, by the time at which they were sampled.
    pub samples: Vec<(Time, String)>,
    /// The phones as they are at the end, by number.
    pub phones: Vec<Phone>,
    /// The cluster as it is at the end.
    pub cluster: Cluster,
    /// When the run ended.
    pub ended: Time,
    /// Why it ended.
    pub finish: Finish,
}

/// One step of one phone, for a test that looks over its shoulder.
#[derive(Debug)]
pub struct Seen<'a> {
    /// When.
    pub now: Time,
    /// The phone after the step.
    pub phone: &'a Phone,
    /// The lists that it held before.
    pub lists: &'a TrustLists,
    /// The TVS servers of the configuration that it held before.
    pub members: &'a [TvsMember],
    /// What happened to it.
    pub input: &'a Input<'a>,
    /// What came of it.
    pub facts: &'a [Fact],
    /// The cluster at that moment.
    pub cluster: &'a Cluster,
}

/// Is shown every step of every phone.
pub type Witness = Box<dyn FnMut(&Seen<'_>) + Send>;

/// A cluster, its phones and the network between them.
pub struct World {
    pub(super) plan: Plan,
    pub(super) now: Time,
    pub(super) play: Play,
    pub(super) env: Env,
    pub(super) phones: Vec<Phone>,
    pub(super) sessions: Vec<Session>,
    pub(super) links: Vec<Link>,
    ledger: Ledger,
    pub(super) queue: Queue<Event>,
    pub(super) machines: Machines,
    pub(super) watches: [Watch; 3],
    pub(super) pace: Pace,
    /// Boots that are planned but have not begun.
    planned_boots: u64,
    verified_before: u64,
    /// Requests that wait for a signature, by the number of the waiter.
    pub(super) parked: HashMap<u64, Parked>,
    pub(super) next_waiter: u64,
    /// Whole files by the places of their header and body, which are kept.
    pub(super) whole: HashMap<(usize, usize), Whole>,
    pub(super) judged: Judged,
    pub(super) lookups_in_flight: Places<Message>,
    pub(super) links_in_flight: Places<Arc<str>>,
    contents: Contents,
    events_max: u64,
    stop: Stop,
    pub(super) serve: ServeSummary,
    digest: FactDigest,
    pub(super) draws: u64,
    events: u64,
    /// TFTP transfers that the server has begun.
    pub(super) transfers: u64,
    samples: Samples,
    /// Stands for names of files that nobody reads.
    pub(super) no_name: Arc<str>,
    sink: Sink,
    witness: Option<Witness>,
}

/// A file that is served and the same in one piece.
type Whole = (ServedFile, Arc<[u8]>);

/// Start of virtual time as Unix seconds: a constant, so that certificates are the same each run.
const EPOCH_S: u64 = 1_800_000_000;
/// Most events of a run: so many, and so many for each boot. Choices: a thousand times what a boot
/// takes; a world that does not come to rest is a bug, not an endless loop.
const EVENTS_MAX: u64 = 10_000_000;
const EVENTS_MAX_OF_BOOT: u64 = 100_000;
/// How many events are handled between two looks at the flag that ends the run.
const EVENTS_PER_LOOK: u64 = 64;

impl World {
    /// Builds the world of a plan; keys come from the bank of throwaway keys.
    pub fn new(plan: &Plan, options: SimOptions) -> World {
        World::until(plan, options, &Stop::default())
    }

    /// Like [`World::new`]; building it and playing it end when `stop` is set.
    pub fn until(plan: &Plan, options: SimOptions, stop: &Stop) -> World {
        let shared = Arc::new(Shared::default());
        let env = Env {
            profile: Arc::new(plan.phone.clone()),
            verifier: Verifier::remembering_pinned(Arc::clone(&shared)),
            shared,
        };
        let count = plan.fleet.phones as usize;
        let mut world = World {
            phones: Vec::with_capacity(count),
            sessions: vec![Session::default(); count],
            links: links(plan),
            ledger: Ledger::new(Slice::whole(plan.fleet.phones)),
            machines: Machines::new(plan),
            pace: Pace::new(plan, &plan.topology),
            plan: plan.clone(),
            now: Time::ZERO,
            play: Play::new(plan, Some(cluster(plan, options.contents)), Mode::Sim, 0.0),
            env,
            queue: Queue::new(),
            watches: Default::default(),
            planned_boots: 0,
            verified_before: 0,
            parked: HashMap::new(),
            next_waiter: 0,
            whole: HashMap::new(),
            judged: Judged::default(),
            lookups_in_flight: Places::new(in_flight(plan, plan.limits.lookups_in_flight)),
            links_in_flight: Places::new(in_flight(plan, plan.limits.connections_in_flight)),
            contents: options.contents,
            events_max: options.events_max.unwrap_or_else(|| events_max(plan)),
            stop: stop.clone(),
            serve: ServeSummary::default(),
            digest: FactDigest::new(),
            draws: 0,
            events: 0,
            transfers: 0,
            samples: Samples::new(options.sample_every, plan.fleet.phones),
            no_name: Arc::from(""),
            sink: Sink::default(),
            witness: None,
        };
        for node in world.plan.topology.ids() {
            let services: Vec<Service> = world.cluster().services_of(node).cloned().collect();
            services.iter().for_each(|service| world.started(node, service));
        }
        world.populate();
        world
    }

    /// Shows every step of every phone to `witness`.
    #[must_use]
    pub fn with_witness(mut self, witness: Witness) -> World {
        self.witness = Some(witness);
        self
    }

    /// Runs until the timeline is finished and every phone has settled, a limit of the plan is
    /// reached, or somebody asks it to end.
    pub fn run(mut self) -> SimRun {
        let finish = self.play();
        self.finish(finish)
    }

    fn play(&mut self) -> Finish {
        self.queue.push(Time::ZERO, Event::Operator);
        let limits = self.plan.limits;
        let end = if limits.max_wall_is_set { Time::ZERO + limits.max_wall } else { Time::NEVER };
        if self.stop.is_set() {
            return Finish::Interrupted;
        }
        while let Some((at, event)) = self.queue.pop() {
            if at > end {
                self.now = end;
                return Finish::TimeLimit;
            }
            if self.events >= self.events_max {
                return Finish::EventLimit;
            }
            if self.events.is_multiple_of(EVENTS_PER_LOOK) && self.stop.is_set() {
                return Finish::Interrupted;
            }
            if self.samples.next <= at {
                self.sample(at);
            }
            self.now = at;
            self.events += 1;
            self.handle(event);
            if self.settled() || self.play.wake_at().is_some_and(|wake| wake <= self.now) {
                self.operate();
                if self.play.is_finished() && self.settled() {
                    break;
                }
            }
        }
        Finish::Complete
    }

    /// The cluster, which is always ours.
    pub(super) fn cluster(&self) -> &Cluster {
        self.play.cluster().expect("a world in virtual time has a cluster of its own")
    }

    fn populate(&mut self) {
        let shared = Arc::clone(&self.env.shared);
        let cast = self.play.cast().pinned(&shared, self.contents == Contents::OfEachModel);
        for number in 0..self.plan.fleet.phones {
            if self.stop.is_set() {
                return;
            }
            self.phones.push(cast.phone(&self.env, PhoneId(number), false));
        }
        let drawn = [self.plan.fleet.models.len(), self.plan.fleet.sites.len()];
        let drawn = drawn.into_iter().filter(|&choices| choices > 1).count() as u64;
        self.draws += drawn * u64::from(self.plan.fleet.phones);
        if let Some(cue) = self.play.power_on() {
            self.follow(cue);
        }
    }

    fn settled(&self) -> bool {
        self.planned_boots == 0 && self.ledger.booting() == 0
    }

    /// Plans a boot for every phone. Resets leave the cluster at its own pace, power does not.
    fn plan_boots(&mut self, spread: Span, reset: bool) {
        let count = self.plan.fleet.phones;
        self.draws += u64::from(count);
        self.planned_boots += u64::from(count);
        self.note(Notice::BootsPlanned);
        let seed = self.plan.seed;
        let planned = |number: u32| {
            let offset = stream(seed, u64::from(number), Purpose::Arrival).unit();
            self.now + spread.fraction(offset)
        };
        if reset && self.pace.limits_resets() {
            let mut order: Vec<(Time, u32)> = (0..count).map(|n| (planned(n), n)).collect();
            order.sort_unstable();
            for (at, phone) in order {
                let at = self.pace.reset(phone, at);
                self.queue.push(at, Event::Boot { phone });
            }
            return;
        }
        for phone in 0..count {
            let at = planned(phone);
            self.queue.push(at, Event::Boot { phone });
        }
    }

    /// Carries out what is due.
    fn operate(&mut self) {
        while let Some(cue) = self
            .play
            .next(self.now, self.settled())
            .expect("a plan names only what its cluster has")
        {
            self.follow(cue);
        }
        if let Some(at) = self.play.wake_at().filter(|&at| at > self.now) {
            self.queue.push(at, Event::Operator);
        }
    }

    fn follow(&mut self, cue: Cue) {
        match cue {
            Cue::Acts { action, .. } => {
                self.digest.operator(self.now, &*action);
                self.judged.clear();
            }
            Cue::Boots { spread, wave } => {
                if wave == Wave::Storm {
                    self.note(Notice::StormBegan);
                    self.verified_before = self.env.verifier.count();
                    self.machines.begin_storm();
                }
                self.plan_boots(spread, wave != Wave::PowerOn);
            }
            Cue::Service(ServiceChange::Started { node, service }) => {
                self.started(node, &service);
                if service.kind() == ServiceKind::Tftp {
                    self.machines.built(node, self.now + self.plan.cost.build_time);
                }
            }
            Cue::Service(ServiceChange::Stopped { node, service: ServiceKind::Tftp }) => {
                self.stall_transfers(node);
            }
            Cue::Service(ServiceChange::Stopped { .. }) => {}
        }
    }

    /// A service of a node has started: what it serves belongs to the digest.
    fn started(&mut self, node: NodeId, service: &Service) {
        if let Service::Tftp(service) = service {
            self.prewarm(service);
        }
        self.digest.served(self.now, node, &service.fingerprint());
    }

    fn prewarm(&self, service: &TftpService) {
        if self.cluster().sign_cache().mode() == SignCacheMode::Prewarm {
            let jobs = service.missing_signatures().take_while(|_| !self.stop.is_set());
            jobs.for_each(|job| drop(job.run()));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Operator => {}
            Event::Boot { phone } => self.boot(phone),
            Event::Timer { phone, token } => self.step(phone, Input::Timer { token }),
            Event::TftpAsked { phone, generation, file } => {
                self.on_tftp_asked(phone, generation, file);
            }
            Event::TftpEnded { phone, generation, outcome } => {
                self.on_tftp_ended(phone, generation, &outcome);
            }
            Event::HttpAsked { phone, generation, file } => {
                self.on_http_asked(phone, generation, &file);
            }
            Event::HttpAnswered { phone, generation, answer } => {
                self.on_http_answered(phone, generation, &answer);
            }
            Event::Resolved { phone, generation, address } => {
                self.on_resolved(phone, generation, address);
            }
            Event::Called(call) => self.on_called(call),
            Event::Presented(call) => self.on_presented(call),
            Event::Said { phone, generation, result } => {
                self.on_said(phone, generation, result.as_deref().map_err(|&fault| fault));
            }
            Event::StationDue { station } => self.on_station(station),
            Event::WatchDue { kind } => self.on_watch(Waits::KINDS[usize::from(kind)]),
        }
    }

    fn boot(&mut self, phone: u32) {
        self.planned_boots -= 1;
        self.hear(phone, Incident::BootBegan(self.now));
        self.begin_request(phone, Waits::Nothing);
        self.drop_link(phone);
        self.step(phone, Input::Boot);
    }

    /// Tells everybody who listens what has happened to a phone just now.
    pub(super) fn hear(&mut self, phone: u32, incident: Incident<'_>) {
        self.ledger.hear(PhoneId(phone), self.now, &incident);
        self.digest.hear(PhoneId(phone), self.now, &incident);
    }

    /// Tells them what has happened to the whole fleet.
    pub(super) fn note(&mut self, notice: Notice) {
        self.ledger.note(self.now, &notice);
    }

    /// Feeds one input to a phone, records what happened and starts what it wants.
    pub(super) fn step(&mut self, number: u32, input: Input<'_>) {
        let phone = number as usize;
        let mut sink = std::mem::take(&mut self.sink);
        if self.witness.is_some() {
            self.step_seen(number, input, &mut sink);
        } else {
            self.phones[phone].handle(&self.env, self.now, input, &mut sink);
        }
        for fact in sink.facts.drain(..) {
            self.hear(number, Incident::Phone(fact));
            if let Fact::Settled { outcome } = fact {
                self.drop_link(number);
                if outcome == Outcome::Ready {
                    self.pace.ready(number, self.now);
                }
            }
        }
        for action in sink.actions.drain(..) {
            self.act(number, action);
        }
        self.sink = sink;
    }

    fn step_seen(&mut self, number: u32, input: Input<'_>, sink: &mut Sink) {
        let phone = &mut self.phones[number as usize];
        let lists = phone.lists().clone();
        let members = phone.config().map(|config| Arc::clone(&config.tvs)).unwrap_or_default();
        phone.handle(&self.env, self.now, input, sink);
        let seen = Seen {
            now: self.now,
            phone,
            lists: &lists,
            members: &members,
            input: &input,
            facts: &sink.facts,
            cluster: self.play.cluster().expect("it has one"),
        };
        if let Some(witness) = &mut self.witness {
            witness(&seen);
        }
    }

    fn act(&mut self, phone: u32, action: Action) {
        match action {
            Action::Wake { at, token } => self.queue.push(at, Event::Timer { phone, token }),
            Action::Do(Errand { wanted, ask, .. }) => self.run_errand(phone, wanted, ask),
        }
    }

    fn run_errand(&mut self, phone: u32, wanted: Time, ask: Ask) {
        self.session(phone).step = StepKind::of(&ask);
        match ask {
            Ask::File(FileRequest { step, file, via, .. }) => {
                self.session(phone).file = Some(step);
                match via {
                    Transport::Tftp => self.fetch_tftp(phone, wanted, file),
                    Transport::Http => self.fetch_http(phone, wanted, file, false),
                    Transport::Https => self.fetch_http(phone, wanted, file, true),
                }
            }
            Ask::Name(name) => self.resolve(phone, &name),
            Ask::Say(message) => self.say(phone, wanted, message),
        }
    }

    /// Tells a phone what came of the errand that it waits for.
    pub(super) fn answer(&mut self, phone: u32, result: Result<Answer<'_>, ErrandFault>) {
        let token = self.phones[phone as usize].token();
        self.step(phone, Input::Answered { token, result });
    }

    pub(super) const fn cluster_contents(&self) -> Contents {
        self.contents
    }

    /// The node whose TFTP service a phone asks.
    pub(super) fn node_of(&self, phone: u32) -> NodeId {
        self.play.homes().first(PhoneId(phone))
    }

    pub(super) fn session(&mut self, phone: u32) -> &mut Session {
        &mut self.sessions[phone as usize]
    }

    /// A new request or question of a phone begins; what belongs to an earlier one is void.
    pub(super) fn begin_request(&mut self, phone: u32, waits: Waits) -> u32 {
        self.leave_server(phone);
        self.leave_lookup(phone);
        let now = self.now;
        let session = self.session(phone);
        session.generation += 1;
        (session.waits, session.started, session.lost_requests) = (waits, now, 0);
        (session.answered, session.stalled) = (false, false);
        session.generation
    }

    /// Whether this belongs to what the phone does now.
    pub(super) fn is_current(&self, phone: u32, generation: u32) -> bool {
        self.sessions[phone as usize].generation == generation
    }

    /// What the network does to this request of a phone.
    pub(super) fn fates(&self, phone: u32, part: u32) -> Fates {
        let site = self.plan.fleet.site_of(self.plan.seed, PhoneId(phone));
        let generation = self.sessions[phone as usize].generation;
        let (seed, latency) = (self.plan.seed, self.plan.cost.latency);
        Fates::new(seed, phone, generation * FATE_PARTS + part, self.links[site], latency)
    }

    /// Samples the metrics at every instant that is due before `at`.
    fn sample(&mut self, at: Time) {
        while self.samples.next <= at {
            let now = self.samples.next;
            let text = self.metrics();
            self.samples.add(now, text);
        }
    }

    fn metrics(&self) -> String {
        let info = self.play.info(self.serve, self.machines.cpu_seconds());
        encode(&self.ledger, &info)
    }

    fn finish(mut self, finish: Finish) -> SimRun {
        self.play.close(&mut self.ledger, finish, &self.phones);
        let verified = self.env.verifier.count() - self.verified_before;
        self.ledger.read(verified, BTreeMap::new());
        if self.samples.next != Time::NEVER {
            let text = self.metrics();
            self.samples.taken.push((self.now, text));
        }
        SimRun {
            samples: self.samples.taken,
            cpu_s: self.machines.cpu_seconds(),
            cpu_by_thread_s: self.machines.cpu_by_thread(),
            woken: self.machines.woken(),
            registered: self.pace.registered(&self.ledger),
            ledger: self.ledger,
            digest: self.digest.finish(),
            draws: self.draws,
            events: self.events,
            facts: self.play.facts(),
            serve: self.serve,
            phones: self.phones,
            cluster: self.play.into_cluster().expect("it has one"),
            ended: self.now,
            finish,
        }
    }
}

/// Samples of the metrics.
#[derive(Debug)]
struct Samples {
    every: Span,
    /// Samples that are kept at most.
    most: usize,
    next: Time,
    taken: Vec<(Time, String)>,
}

/// Samples that are kept of most fleets, and of large ones: a sample looks at every phone.
const SAMPLES_MAX: [usize; 2] = [600, 60];
/// Where large fleets begin.
const LARGE_FLEET: u32 = 200_000;

impl Samples {
    fn new(every: Option<Span>, phones: u32) -> Samples {
        let every = every.filter(|every| !every.is_zero());
        let next = if every.is_some() { Time::ZERO } else { Time::NEVER };
        let most = SAMPLES_MAX[usize::from(phones >= LARGE_FLEET)];
        Samples { every: every.unwrap_or_default(), most, next, taken: Vec::new() }
    }

    fn add(&mut self, now: Time, text: String) {
        self.taken.push((now, text));
        if self.taken.len() > self.most {
            let mut number = 0;
            self.taken.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.every = self.every.times(2);
        }
        self.next = now + self.every;
    }
}

/// A bound that no world of this plan reaches if it comes to rest.
fn events_max(plan: &Plan) -> u64 {
    let is_reset = |entry: &&TimelineEntry| matches!(entry.action.impact(), Impact::Wave(_));
    let waves = 1 + plan.timeline.iter().filter(is_reset).count() as u64;
    let boots = u64::from(plan.fleet.phones).saturating_mul(waves);
    EVENTS_MAX.saturating_add(boots.saturating_mul(EVENTS_MAX_OF_BOOT))
}

/// Parts of a request that draw fates of their own: the way there and everything after it.
const FATE_PARTS: u32 = 2;

/// What a generator has in flight at most; phones with hosts of their own know no such limit.
fn in_flight(plan: &Plan, limit: u32) -> u32 {
    if plan.cost.shared_host { limit } else { plan.fleet.phones }
}

/// The links of the sites. Where nothing else is said, phones that share a host with the cluster
/// have no wire to it.
fn links(plan: &Plan) -> Vec<Link> {
    if plan.cost.shared_host && plan.fleet.sites.is_empty() {
        return vec![Link { rtt: Span::ZERO, ..Link::default() }];
    }
    plan.fleet.links()
}

fn cluster(plan: &Plan, contents: Contents) -> Cluster {
    let mut topology = plan.topology.clone();
    for node in &mut topology.nodes {
        // Nobody binds here: a port that the operating system would choose is the usual one.
        for dialogue in Dialogue::ALL {
            if node.ports.of(dialogue) == 0 {
                node.ports = node.ports.with(dialogue, dialogue.rules().port);
            }
        }
    }
    let genesis = Genesis {
        topology,
        fleet: FleetSpec {
            phones: plan.fleet.phones,
            models: plan.fleet.models.clone(),
            seed: plan.seed,
        },
        source: KeySource::bank(plan.seed),
        epoch_s: EPOCH_S,
        stored: BTreeMap::new(),
    };
    Cluster::with_contents(genesis, contents)
}

impl SimRun {
    /// The summary of this run of `plan`.
    pub fn summary(&self, plan: &Plan) -> Summary {
        let facts = RunFacts {
            cpu_s: self.cpu_s,
            cpu_by_thread_s: self.cpu_by_thread_s.clone(),
            machine: MachineSummary {
                yardstick_s: (!plan.cost.yardstick.is_zero()).then(|| {
                    let slower = 1.0 + plan.cost.idle_yardstick * self.woken;
                    plan.cost.yardstick.as_secs_f64() * slower
                }),
                available: Some(plan.cost.available),
            },
            serve: self.serve,
            sim: Some(self.sim_facts(plan)),
            notes: notes(plan),
            ..self.facts.clone()
        };
        Summary::new(&self.ledger, facts, &plan.slos, self.finish)
    }

    fn sim_facts(&self, plan: &Plan) -> SimSummary {
        let since = |at: &Time| at.since(self.ledger.storm()).as_secs_f64();
        let registered: Vec<f64> = self.registered.iter().map(since).collect();
        SimSummary {
            digest: self.digest_hex(),
            draws: self.draws,
            events: self.events,
            virtual_s: self.ended.as_secs_f64(),
            registered_s: FleetReady::of(&registered, self.ledger.phones().len()),
            events_per_s: None,
            bytes_per_phone: None,
            guesses: guesses(plan, self).iter().map(Guess::summary).collect(),
        }
    }

    /// The digest as text.
    pub fn digest_hex(&self) -> String {
        self.digest
            .iter()
            .fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
    }
}
