use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::base::{NodeId, PhoneId, Span, Stop, Time};
use crate::cluster::{
    Cluster, Contents, Genesis, Service, ServiceChange, ServiceKind, SignCacheMode, TftpService,
    WebPorts,
};
use crate::crypto::KeySource;
use crate::measure::{
    Finish, Incident, Journal, Mode, Notice, RunFacts, RunInfo, SimSummary, Slice, StepKind,
    Summary, encode,
};
use crate::phone::{
    Action, Answer, Ask, Errand, ErrandFault, Fact, FileRequest, HttpFault, Input, Outcome, Sink,
    Transport, TvsFault,
};
use crate::play::{Cue, Homes, Play, Presses, Records, Wave};
use crate::scenario::Plan;
use crate::vault::MemorySql;
use crate::wire::Dialogue;

use super::ears::Ears;
use super::engine::Engine;
use super::event::{Event, Job, OpenCall, Paged, Request, failed};
use super::fleet::{Fleet, Witness};
use super::guesses::{guesses, notes};
use super::link::Fates;
use super::machines::{Machines, Work, WorkKind};
use super::network::Network;
use super::pace::Pace;
use super::run::{Recorded, SimOptions, SimRun};
use super::servers::Servers;
use super::session::{Sessions, Waits};
use super::watching::Watches;

/// A cluster, its phones and the network between them: hands what happens to those who own it.
pub struct World {
    pub(super) plan: Arc<Plan>,
    pub(super) engine: Engine,
    play: Play,
    /// Where the phones think that they belong: a phone learns it when it boots.
    homes: Homes,
    pace: Pace,
    ears: Ears,
    pub(super) fleet: Fleet,
    pub(super) sessions: Sessions,
    pub(super) watches: Watches,
    /// Connections on which phones go on.
    pub(super) calls: HashMap<u32, OpenCall, RandomState>,
    pub(super) network: Network,
    pub(super) machines: Machines,
    pub(super) servers: Servers,
    /// Room for what a phone wants, and for what a host has done.
    sink: Sink,
    done: Vec<Job>,
    /// When people press buttons, and presses that are planned or under way.
    pub(super) presses: Presses,
    pub(super) pressing: u64,
}

/// Start of virtual time as Unix seconds: a constant, so that certificates are the same each run.
const EPOCH_S: u64 = 1_800_000_000;

impl World {
    /// Builds the world of a plan; keys come from the bank of throwaway keys.
    pub fn new(plan: &Plan, options: SimOptions) -> World {
        World::until(plan, options, &Stop::default())
    }

    /// Like [`World::new`]; building it and playing it end when `stop` is set.
    pub fn until(plan: &Plan, options: SimOptions, stop: &Stop) -> World {
        World::of(plan, options, stop, None)
    }

    /// The world of a plan in which only `phones` act, numbers of its fleet in ascending order; each
    /// is what it is in the whole fleet and has the same luck. The others exist and hold nothing:
    /// counts of the whole fleet say nothing here.
    pub fn of_some(plan: &Plan, options: SimOptions, stop: &Stop, phones: &[u32]) -> World {
        World::of(plan, options, stop, Some(phones.into()))
    }

    fn of(plan: &Plan, options: SimOptions, stop: &Stop, played: Option<Arc<[u32]>>) -> World {
        let (plan, contents) = (Arc::new(plan.clone()), options.contents);
        let cluster = cluster(&plan, contents);
        let fleet = Fleet::new(&plan, Arc::clone(cluster.calendar()));
        let mut world = World {
            engine: Engine::new(&plan, options.events_max, stop),
            play: Play::new(&plan, Some(cluster), Mode::Sim, 0.0).with_sql(MemorySql),
            homes: Homes::of_plan(&plan),
            pace: Pace::new(&plan, played),
            ears: Ears::new(
                plan.fleet.phones,
                options.sample_every,
                journal(&plan, options.records),
            ),
            sessions: Sessions::new(&plan),
            watches: Watches::default(),
            calls: HashMap::default(),
            network: Network::new(&plan),
            machines: Machines::new(&plan),
            servers: Servers::new(&plan, contents, fleet.shared()),
            fleet,
            presses: {
                let phones = (0..plan.fleet.phones).map(PhoneId);
                Presses::new(plan.seed, &plan.fleet.uses, Time::ZERO, phones)
            },
            pressing: 0,
            plan,
            sink: Sink::default(),
            done: Vec::new(),
        };
        for node in world.plan.topology.ids() {
            let services: Vec<Service> = world.cluster().services_of(node).cloned().collect();
            services.iter().for_each(|service| world.started(node, service));
        }
        world.populate(contents == Contents::OfEachModel);
        world.plan_presses();
        world
    }

    /// Shows every step of every phone to `witness`.
    #[must_use]
    pub fn with_witness(mut self, witness: Witness) -> World {
        self.fleet.show_to(witness);
        self
    }

    /// Runs until the timeline is finished and every phone has settled, a limit of the plan is
    /// reached, or somebody asks it to end.
    pub fn run(mut self) -> SimRun {
        let finish = self.play();
        self.finish(finish)
    }

    fn play(&mut self) -> Finish {
        self.engine.push(Time::ZERO, Event::Operator);
        loop {
            let event = match self.engine.next() {
                Ok(event) => event,
                Err(finish) => return finish,
            };
            let now = self.engine.now();
            if self.ears.wants_sample(now) {
                let info = self.info();
                self.ears.sample(now, &info);
            }
            self.handle(event);
            if self.settled() || self.play.wake_at().is_some_and(|wake| wake <= now) {
                self.operate();
                if self.play.is_finished() && self.settled() && self.pressing == 0 {
                    return Finish::Complete;
                }
            }
        }
    }

    /// The cluster, which is always ours.
    pub(super) fn cluster(&self) -> &Cluster {
        self.play.cluster().expect("a world in virtual time has a cluster of its own")
    }

    fn populate(&mut self, one_config: bool) {
        let (cast, count) = (self.play.cast(), self.plan.fleet.phones);
        let plays = |phone| self.pace.plays(phone);
        self.fleet.populate(cast, count, one_config, &self.engine, plays);
        if !self.engine.is_stopped()
            && let Some(cue) = self.play.power_on()
        {
            self.follow(cue);
        }
    }

    fn settled(&self) -> bool {
        !self.pace.has_planned() && self.ears.unsettled() == 0 && !self.watches.is_busy()
    }

    /// Carries out what is due.
    fn operate(&mut self) {
        let now = self.engine.now();
        while let Some(cue) =
            self.play.next(now, self.settled()).expect("a plan names only what its cluster has")
        {
            self.follow(cue);
        }
        if let Some(at) = self.play.wake_at().filter(|&at| at > now) {
            self.engine.push(at, Event::Operator);
        }
    }

    fn follow(&mut self, cue: Cue) {
        let now = self.engine.now();
        match cue {
            Cue::Acts { action, .. } => {
                self.ears.digest().operator(now, &*action);
                self.fleet.judge_anew();
            }
            Cue::Boots { spread, wave } => {
                if wave == Wave::Storm {
                    self.note(Notice::StormBegan);
                    self.fleet.begin_storm();
                    self.machines.begin_storm();
                }
                self.note(Notice::BootsPlanned);
                self.pace.plan_boots(&mut self.engine, spread, wave != Wave::PowerOn);
            }
            Cue::Visits(visits) => {
                let mut visits = self.play.visits(&visits, self.ears.ledger());
                visits.retain(|visit| self.pace.plays(visit.phone));
                visits.iter().for_each(|visit| self.hear(visit.phone.0, Incident::BootPlanned));
                self.pace.plan_visits(&mut self.engine, &visits);
            }
            Cue::Service(ServiceChange::Started { node, service }) => {
                self.notice(&ServiceChange::Started { node, service: service.clone() });
                self.started(node, &service);
                if service.kind() == ServiceKind::Tftp {
                    self.servers.built(node, now + self.plan.cost.build_time);
                }
            }
            Cue::Service(ServiceChange::Stopped { node, service: ServiceKind::Tftp }) => {
                self.stall_transfers(node);
            }
            Cue::Service(change @ ServiceChange::Stopped { .. }) => self.notice(&change),
            Cue::Moved | Cue::BackedUp(_) | Cue::Probed(_) | Cue::Warned(_) => {}
        }
    }

    /// A service of a node has started: what it serves belongs to the digest.
    fn started(&mut self, node: NodeId, service: &Service) {
        if let Service::Tftp(service) = service {
            self.prewarm(service);
        }
        // No phone meets CAPF as long as nobody asked for LSCs.
        if service.kind() != ServiceKind::Capf || self.cluster().devices().is_used() {
            self.ears.digest().served(self.engine.now(), node, &service.fingerprint());
        }
    }

    fn prewarm(&self, service: &TftpService) {
        if self.cluster().sign_cache().mode() == SignCacheMode::Prewarm {
            let jobs = service.missing_signatures().take_while(|_| !self.engine.is_stopped());
            jobs.for_each(|job| drop(job.run()));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Operator => {}
            Event::Boot(phone) => self.boot(phone),
            Event::Visit(phone) => {
                self.hear(phone, Incident::ListsErased);
                self.step(phone, Input::EraseLists);
                self.boot(phone);
            }
            Event::Press { phone, of } => self.on_press(phone, of),
            Event::PageAsked(request, node, page) => self.on_page_asked(request, node, &page),
            Event::PageAnswered(request, answer) => self.on_page_answered(request, &answer),
            Event::Timer { phone, token } => self.step(phone, Input::Timer { token }),
            Event::TftpAsked(request, file) => self.on_tftp_asked(request, file),
            Event::TftpEnded(request, outcome) => self.on_tftp_ended(request, &outcome),
            Event::HttpAsked(request, file) => self.on_http_asked(request, &file),
            Event::HttpAnswered(request, answer) => self.on_http_answered(request, &answer),
            Event::Resolved(request, address) => self.on_resolved(request, address),
            Event::Called(call) => self.on_called(call),
            Event::Noticed(notice) => self.on_noticed(notice),
            Event::Told(call) => self.on_told(call),
            Event::Presented(call) => self.on_presented(call),
            Event::Said(request, result) => {
                self.on_said(request, result.as_deref().map_err(|&fault| fault));
            }
            Event::HostDue(host) => {
                self.on_done(|world, done| world.machines.finished(&mut world.engine, host, done));
            }
            Event::LinkDue(site) => {
                self.on_done(|world, done| world.network.carried(&mut world.engine, site, done));
            }
            Event::WatchDue(slot) => self.on_watch(slot),
        }
    }

    fn boot(&mut self, phone: u32) {
        self.pace.boot_began();
        self.hear(phone, Incident::BootBegan(self.engine.now()));
        self.begin_request(phone, Waits::Nothing);
        self.drop_link(phone);
        self.forget_watch(phone);
        self.homes.learn(PhoneId(phone), self.play.homes());
        self.sessions.of_mut(phone).server = 0;
        self.step(phone, Input::Boot);
    }

    /// Tells everybody who listens what has happened to a phone just now.
    pub(super) fn hear(&mut self, phone: u32, incident: Incident<'_>) {
        self.ears.hear(phone, self.engine.now(), &incident);
    }

    /// Tells them what has happened to the whole fleet.
    pub(super) fn note(&mut self, notice: Notice) {
        self.ears.note(self.engine.now(), notice);
    }

    /// Feeds one input to a phone, records what happened and starts what it wants.
    pub(super) fn step(&mut self, phone: u32, input: Input<'_>) {
        let (now, mut sink) = (self.engine.now(), std::mem::take(&mut self.sink));
        let cluster = self.play.cluster().expect("it has one");
        self.fleet.handle(phone, now, input, cluster, &mut sink);
        for fact in sink.facts.drain(..) {
            self.hear(phone, Incident::Phone(fact));
            self.heed_press(phone, fact);
            if let Fact::Settled { outcome } = fact {
                self.drop_link(phone);
                self.leave_call(phone);
                if outcome == Outcome::Ready {
                    self.pace.ready(phone, now);
                }
            }
        }
        for action in sink.actions.drain(..) {
            match action {
                Action::Wake { at, token } => self.engine.push(at, Event::Timer { phone, token }),
                Action::HangUp => self.leave_call(phone),
                Action::Do(Errand { wanted, ask, .. }) => self.run_errand(phone, wanted, ask),
                Action::Watch(watch) => self.watch(phone, &watch),
            }
        }
        self.sink = sink;
    }

    fn run_errand(&mut self, phone: u32, wanted: Time, ask: Ask) {
        let session = self.sessions.of_mut(phone);
        session.step = StepKind::of(&ask);
        match ask {
            Ask::File(FileRequest { step, file, via, server, .. }) => {
                if self.homes.node(PhoneId(phone), server).is_none() {
                    return self.answer(phone, Err(ErrandFault::NoServer));
                }
                session.file = Some(step);
                if std::mem::replace(&mut session.server, server) != server {
                    self.drop_link(phone);
                }
                let address = self.plan.topology.node(self.node_of(phone)).address;
                self.hear(phone, Incident::Turned(address));
                match via {
                    Transport::Tftp => self.fetch_tftp(phone, wanted, file),
                    Transport::Http => self.fetch_http(phone, wanted, file, false),
                    Transport::Https => self.fetch_http(phone, wanted, file, true),
                }
            }
            Ask::Page(page) => self.fetch_page(phone, wanted, page),
            Ask::Name(name, mode) => self.resolve(phone, &name, mode),
            Ask::Say(message) => {
                self.hear(phone, Incident::Turned(message.server.ip()));
                self.say(phone, wanted, message);
            }
        }
    }

    /// Tells a phone what came of the errand that it waits for.
    pub(super) fn answer(&mut self, phone: u32, result: Result<Answer<'_>, ErrandFault>) {
        let token = self.fleet.token(phone);
        self.step(phone, Input::Answered { token, result });
    }

    /// Brings something to a phone with the next segment of a server.
    pub(super) fn reply(&mut self, request: Request, event: Event) {
        let way = self.network.back(request, Fates::segment);
        self.engine.push(self.engine.now() + way, event);
    }

    /// The node whose TFTP service a phone asks.
    pub(super) fn node_of(&self, phone: u32) -> NodeId {
        let server = usize::from(self.sessions.of(phone).server);
        self.homes.of(PhoneId(phone))[server]
    }

    /// A new request or question of a phone begins; what belongs to an earlier one is void.
    pub(super) fn begin_request(&mut self, phone: u32, waits: Waits) -> Request {
        self.leave_call(phone);
        self.begin_beside_session(phone, waits)
    }

    /// The same of a request that a session with TVS outlasts.
    pub(super) fn begin_beside_session(&mut self, phone: u32, waits: Waits) -> Request {
        self.leave_server(phone);
        if self.calls.get(&phone).is_none_or(|open| open.dialogue != Dialogue::Tvs) {
            self.leave_call(phone);
        }
        self.sessions.begin(phone, waits, self.engine.now())
    }

    /// Lets the host of `node` work.
    pub(super) fn work(&mut self, node: NodeId, work: Work, job: Job) {
        if let Some(job) = self.machines.work(&mut self.engine, node, work, job) {
            self.on_job(job);
        }
    }

    fn next_in_line(&mut self, node: NodeId, kind: WorkKind) {
        if let Some(job) = self.machines.next_in_line(&mut self.engine, node, kind) {
            self.on_job(job);
        }
    }

    /// Goes on with what `take` says is done.
    fn on_done(&mut self, take: impl FnOnce(&mut World, &mut Vec<Job>)) {
        let mut done = std::mem::take(&mut self.done);
        take(self, &mut done);
        done.drain(..).for_each(|job| self.on_job(job));
        self.done = done;
    }

    /// A job is done: the next one in its line begins, and what follows on it.
    pub(super) fn on_job(&mut self, job: Job) {
        match job {
            Job::Http(node, request, answer) => {
                self.next_in_line(node, WorkKind::Http);
                self.answer_http(request, answer);
            }
            Job::Carried { request, file, http } => self.carried(request, file, http),
            Job::Page(node, request, answer) => {
                self.next_in_line(node, WorkKind::Http);
                self.answer_page(request, answer);
            }
            Job::Lookup(call) => {
                self.next_in_line(call.node, WorkKind::Lookup);
                self.judge_server(call, Span::ZERO);
            }
            Job::Missing(node, request) => {
                self.next_in_line(node, WorkKind::Tftp);
                self.answer_missing(request);
            }
            Job::Sign(node, job) => {
                self.next_in_line(node, WorkKind::Sign);
                self.on_signed(*job);
            }
            Job::Handshake(call) => {
                self.next_in_line(call.node, WorkKind::Tvs);
                self.on_handshake(call);
            }
            Job::Message(call) => {
                self.next_in_line(call.node, WorkKind::Lookup);
                self.on_told(call);
            }
            Job::Turn(mut call, since) => {
                self.next_in_line(call.node, WorkKind::Sign);
                if let Some(conversation) = &mut call.conversation {
                    conversation.signed(self.engine.now().since(since));
                }
                self.reply_to(*call, Span::ZERO, None);
            }
            Job::Upload(node, request, file) => {
                self.next_in_line(node, WorkKind::Tftp);
                self.upload(request, file);
            }
        }
    }

    /// Ends the waits of a kind that are over.
    fn on_watch(&mut self, slot: u8) {
        while let Some((kind, request)) = self.sessions.expired(self.engine.now(), slot) {
            match kind {
                Waits::Tftp => self.on_tftp_silence(request),
                Waits::Http if self.sessions.of(request.phone).step == StepKind::Page => {
                    let fault = ErrandFault::Http(HttpFault::TimedOut);
                    self.on_page_answered(request, &Paged::Failed(fault));
                }
                Waits::Http => self.on_http_answered(request, &failed(HttpFault::TimedOut)),
                Waits::Reply => self.on_said(request, Err(TvsFault::TimedOut)),
                Waits::Nothing | Waits::Transfer => {
                    unreachable!("only waits with a time-out are watched")
                }
            }
        }
        self.sessions.watch_on(&mut self.engine, slot);
    }

    /// The run as Prometheus sees it.
    fn info(&self) -> RunInfo {
        self.play.info(self.servers.counts(), self.machines.cpu_seconds())
    }

    fn finish(mut self, finish: Finish) -> SimRun {
        let draws = self.network.draws()
            + self.pace.draws()
            + self.presses.draws()
            + casting_draws(&self.plan);
        self.play.ended(self.engine.now());
        let info = self.info();
        let (mut ledger, samples, digest, journal) = self.ears.close();
        self.play.close(&mut ledger, finish, self.fleet.phones());
        let stranded = self.play.stranded(&ledger, self.fleet.phones());
        ledger.read(self.fleet.verified(), BTreeMap::new());
        let (ended, facts) = (self.engine.now(), self.play.facts());
        let guesses = guesses(&self.plan, &ledger, &facts).into_iter().map(|(guess, _)| guess);
        let sim = SimSummary {
            digest: digest.clone(),
            draws,
            events: self.engine.events(),
            virtual_s: ended.as_secs_f64(),
            registered_s: self.pace.registered(&ledger),
            events_per_s: None,
            bytes_per_phone: None,
            guesses: guesses.collect(),
        };
        let known = Summary {
            cpu_s: info.cpu_s,
            cpu_by_thread_s: self.machines.cpu_by_thread(),
            machine: self.machines.summary(),
            serve: info.serve,
            sim: Some(sim),
            stranded,
            attribution: journal.as_ref().map(Journal::attribution).unwrap_or_default(),
            notes: [notes(&self.plan), facts.known.notes].concat(),
            ..facts.known
        };
        let records = journal.map(|mut journal| {
            journal.end(ended);
            Records { journal, roll: self.play.roll(self.fleet.phones()) }
        });
        let facts = RunFacts { known, ..facts };
        SimRun {
            records,
            samples: samples.end(ended, || encode(&ledger, &info)),
            ledger,
            digest,
            draws,
            facts,
            steps: info.steps,
            phones: self.fleet.into_phones(),
            cluster: self.play.into_cluster().expect("it has one"),
            ended,
            finish,
        }
    }
}

/// The journal of a run of which so much is kept.
fn journal(plan: &Plan, records: Recorded) -> Option<Journal> {
    let phones = plan.fleet.phones;
    match records {
        Recorded::Nothing => None,
        Recorded::Course => Some(Journal::new(plan.seed, Slice::whole(phones), phones)),
        Recorded::Phone(phone) => Some(Journal::of_phone(plan.seed, phones, phone)),
    }
}

/// Random numbers that were drawn for what each phone is and where it stands.
fn casting_draws(plan: &Plan) -> u64 {
    let choices = [plan.fleet.models.len(), plan.fleet.sites.len()];
    let drawn = choices.into_iter().filter(|&choices| choices > 1).count() as u64;
    drawn * u64::from(plan.fleet.phones)
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
        if let Some(web) = &mut node.ports.web {
            let usual = |port, usual| if port == 0 { usual } else { port };
            *web = WebPorts {
                http: usual(web.http, WebPorts::USUAL.http),
                https: usual(web.https, WebPorts::USUAL.https),
            };
        }
    }
    let genesis = Genesis {
        topology,
        fleet: plan.fleet_spec(),
        source: KeySource::bank(plan.seed),
        epoch_s: plan.dates.epoch_s.unwrap_or(EPOCH_S),
        stored: crate::cluster::Stored::default(),
    };
    Cluster::with_contents(genesis, contents)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::{ClusterId, Home};
    use crate::measure::known_paths;
    use crate::phone::Step;
    use crate::scenario::load;

    #[test]
    fn a_phone_asks_the_server_at_the_place_of_its_list_that_it_names() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/https-provisioning.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut plan = load(&path, &text, &["fleet.phones=1".to_owned()], &known_paths()).unwrap();
        let [one, two] = [0, 1].map(|node| ClusterId::FIRST.node(node));
        plan.fleet.tftp = vec![Home::from([one, two])];
        let mut world = World::new(&plan, SimOptions::default());
        let mut asks = |server| {
            let (step, via) = (Step::Itl, Transport::Http);
            let request = FileRequest { step, file: "x".into(), via, server, trust: None };
            world.run_errand(0, Time::ZERO, Ask::File(request));
            let fresh = world.sessions.of(0).http.connects;
            world.sessions.of_mut(0).http.connected = Some(false);
            (world.node_of(0), fresh, world.sessions.request(0).generation)
        };
        assert_eq!(asks(0), (one, true, 1));
        assert_eq!(asks(0), (one, false, 2), "it keeps its connection");
        assert_eq!(asks(1), (two, true, 3), "which is with nobody else");
        assert_eq!(asks(2), (two, true, 3), "nobody is asked");
    }
}
