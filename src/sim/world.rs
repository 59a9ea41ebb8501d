use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ring::digest::{Context, SHA256};

use crate::base::{NodeId, PhoneId, Purpose, Span, Time, stream};
use crate::cluster::{
    Cluster, Effect, FileReply, FleetSpec, Genesis, PendingFile, ServedFile, SignCounts, SignJob,
    Signed, TftpService, Waiter,
};
use crate::crypto::KeySource;
use crate::measure::{Recorder, StepKind};
use crate::phone::{
    Action, Env, FILE_SIZE_MAX, Fact, HttpFault, Input, PROVISIONING_ROLES, Phone, Shared, Sink,
    Step, Transport, TvsFault, Verifier,
};
use crate::scenario::{FleetStart, Plan, Timeline};
use crate::transfer::{
    Download, DownloadOutcome, DownloadRequest, Progress, Reply, Upload, UploadLimits,
    write_not_found,
};
use crate::wire::tftp::{Options, Packet};
use crate::wire::{ROLE_TVS, TvsMember};

/// How long things take in this world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// One way of a datagram or of a TCP segment.
    pub one_way: Span,
    /// One signature of the cluster.
    pub sign: Span,
    /// One TLS handshake beside its round trips.
    pub handshake: Span,
}

impl Default for Delays {
    /// A LAN and the costs measured for RSA-2048 with ring (`performance.md`).
    fn default() -> Delays {
        Delays {
            one_way: Span::from_micros(250),
            sign: Span::from_micros(450),
            handshake: Span::from_micros(600),
        }
    }
}

/// What came out of a run in virtual time.
#[derive(Debug)]
pub struct SimRun {
    /// Everything that was counted.
    pub recorder: Recorder,
    /// SHA-256 over all facts in their order: the same plan gives the same digest.
    pub digest: [u8; 32],
    /// Events that were handled.
    pub events: u64,
    /// Signatures before the storm began.
    pub signed_before: SignCounts,
    /// Signatures at the end.
    pub signed: SignCounts,
    /// When the run ended.
    pub ended: Time,
}

/// A cluster, its phones and the network between them.
pub struct World {
    plan: Plan,
    delays: Delays,
    now: Time,
    cluster: Cluster,
    env: Env,
    phones: Vec<Phone>,
    sessions: Vec<Session>,
    timeline: Timeline,
    recorder: Recorder,
    queue: BinaryHeap<Reverse<(Time, u64, Event)>>,
    sequence: u64,
    /// Boots that are planned but have not begun.
    planned_boots: u64,
    storm_begun: bool,
    /// Whether any boot was ever planned.
    any_wave: bool,
    signed_before: SignCounts,
    verified_before: u64,
    /// Transfers that wait for a signature, by the number of the waiter.
    parked: HashMap<u64, Parked>,
    next_waiter: u64,
    digest: Context,
    events: u64,
    sink: Sink,
}

/// What goes on between a phone and the servers.
#[derive(Debug, Default)]
struct Session {
    /// Counts fetches, so that late datagrams of an earlier one are recognised.
    generation: u32,
    download: Option<Download>,
    upload: Option<Upload<ServedFile>>,
    step: Option<Step>,
    started: Time,
    /// Whether the phone has an HTTP connection, and whether that is one over TLS.
    connected: Option<bool>,
    /// Whether the file is asked for over HTTPS.
    secure: bool,
    /// When the file was asked for that HTTP did not bring.
    fell_back: Option<Time>,
}

#[derive(Debug)]
struct Parked {
    phone: u32,
    generation: u32,
    file: PendingFile,
    /// Options of a TFTP request, `None` for one over HTTP.
    options: Option<Options>,
}

/// What comes of an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HttpAnswer {
    File(Vec<u8>),
    Missing,
    /// Nobody listens, or the phone does not trust who does.
    Refused(HttpFault),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Boot { phone: u32 },
    ClientTimeout { phone: u32, generation: u32 },
    FromServer { phone: u32, generation: u32, bytes: Vec<u8> },
    HttpAnswered { phone: u32, generation: u32, answer: HttpAnswer },
    HttpAsked { phone: u32, generation: u32, file: Arc<str> },
    Operator,
    ServerTimeout { phone: u32, generation: u32 },
    Signed { waiters: Vec<u64>, header: Vec<u8> },
    Timer { phone: u32, token: u32 },
    ToServer { phone: u32, generation: u32, bytes: Vec<u8> },
    TvsAnswer { phone: u32, token: u32, bytes: Vec<u8> },
    TvsFault { phone: u32, token: u32, fault: TvsFault },
}

/// The server's port for transfers; one is enough, since phones are told apart by number.
const SERVER_PORT: u16 = 40_000;
/// The port of a TVS server whose scenario leaves the choice to the operating system.
const TVS_PORT: u16 = 2445;
/// Start of virtual time as Unix seconds: a constant, so that certificates are the same each run.
const EPOCH_S: u64 = 1_800_000_000;
/// Most events of a run: a world that does not come to rest is a bug, not an endless loop.
const EVENTS_MAX: u64 = 10_000_000_000;

impl World {
    /// Builds the world of a plan; keys come from the bank of throwaway keys.
    pub fn new(plan: &Plan, delays: Delays) -> World {
        let fleet = FleetSpec {
            phones: plan.fleet.phones,
            models: plan.fleet.model_numbers(),
            seed: plan.seed,
        };
        let mut topology = plan.topology.clone();
        for node in &mut topology.nodes {
            // Nobody binds here: a port that the operating system would choose is TVS's own.
            node.ports.tvs = if node.ports.tvs == 0 { TVS_PORT } else { node.ports.tvs };
        }
        let cluster = Cluster::new(Genesis {
            topology,
            fleet,
            source: KeySource::bank(plan.seed),
            epoch_s: EPOCH_S,
            stored: std::collections::BTreeMap::new(),
        });
        let env = Env {
            profile: Arc::new(plan.phone.clone()),
            shared: Arc::new(Shared::default()),
            verifier: Verifier::remembering(),
        };
        let count = plan.fleet.phones as usize;
        let mut world = World {
            phones: Vec::with_capacity(count),
            sessions: (0..count).map(|_| Session::default()).collect(),
            timeline: Timeline::new(plan.timeline.clone()),
            recorder: Recorder::new(count),
            plan: plan.clone(),
            delays,
            now: Time::ZERO,
            cluster,
            env,
            queue: BinaryHeap::new(),
            sequence: 0,
            planned_boots: 0,
            storm_begun: false,
            any_wave: false,
            signed_before: SignCounts::default(),
            verified_before: 0,
            parked: HashMap::new(),
            next_waiter: 0,
            digest: Context::new(&SHA256),
            events: 0,
            sink: Sink::default(),
        };
        world.populate();
        world
    }

    /// Runs until the timeline is finished and every phone has settled, or time is up.
    pub fn run(mut self) -> SimRun {
        self.push(Time::ZERO, Event::Operator);
        let end = Time::ZERO + self.plan.limits.max_wall;
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            if at > end || self.events >= EVENTS_MAX {
                break;
            }
            self.now = at;
            self.events += 1;
            self.handle(event);
            self.operate();
            if self.timeline.is_finished() && self.settled() {
                break;
            }
        }
        self.finish()
    }

    fn populate(&mut self) {
        let nodes = self.plan.fleet.tftp.iter();
        let served: Vec<_> = nodes
            .map(|&node| {
                let service = self.cluster.tftp(node).map(Arc::clone)?;
                let list = service.signed_list();
                Some((service, list))
            })
            .collect();
        for number in 0..self.plan.fleet.phones {
            let id = PhoneId(number);
            let mut phone = Phone::new(id, self.cluster.fleet().model(id));
            if let (FleetStart::ItlCurrent, Some((service, list))) =
                (self.plan.fleet.start, &served[number as usize % served.len()])
            {
                let (config, identity) = service.config_of(id);
                phone
                    .provision(&self.env, list, &config, identity)
                    .expect("the cluster's own files can be read");
            }
            self.phones.push(phone);
        }
        if self.plan.fleet.start == FleetStart::Factory {
            self.plan_boots(self.plan.fleet.arrival_within);
        }
    }

    fn settled(&self) -> bool {
        self.planned_boots == 0 && self.recorder.booting() == 0
    }

    fn push(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, event)));
    }

    fn plan_boots(&mut self, spread: Span) {
        self.any_wave = true;
        for number in 0..self.plan.fleet.phones {
            let offset = stream(self.plan.seed, u64::from(number), Purpose::Arrival).unit();
            let planned = self.now + spread.fraction(offset);
            self.planned_boots += 1;
            self.push(planned, Event::Boot { phone: number });
        }
    }

    /// Carries out what the operator's timeline has due.
    fn operate(&mut self) {
        while let Some(action) = self.timeline.next_due(self.now, self.settled()) {
            let effects = self.cluster.apply(&action, self.now);
            for effect in effects.expect("a plan names only what its cluster has") {
                match effect {
                    Effect::ResetPhones { spread } => self.reset_phones(spread),
                    Effect::TftpStarted { service, .. } => self.prewarm(&service),
                    Effect::TftpStopped { .. }
                    | Effect::TvsStarted { .. }
                    | Effect::TvsStopped { .. } => {}
                }
            }
            self.timeline.done(self.now);
        }
        if let Some(at) = self.timeline.wake_at().filter(|&at| at > self.now) {
            self.push(at, Event::Operator);
        }
    }

    fn reset_phones(&mut self, spread: Span) {
        if !self.storm_begun {
            self.storm_begun = true;
            self.recorder.begin_storm(self.now);
            self.signed_before = self.cluster.sign_cache().counts();
            self.verified_before = self.env.verifier.count();
        }
        self.plan_boots(spread);
    }

    fn prewarm(&self, service: &crate::cluster::TftpService) {
        if self.cluster.sign_cache().mode() == crate::cluster::SignCacheMode::Prewarm {
            service.missing_signatures().for_each(|job| drop(job.run()));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Operator => {}
            Event::Boot { phone } => {
                self.planned_boots -= 1;
                self.recorder.begin_boot(phone as usize, self.now);
                self.cancel(phone);
                let session = self.session(phone);
                (session.connected, session.fell_back) = (None, None);
                self.step(phone, Input::Boot);
            }
            Event::Timer { phone, token } => self.step(phone, Input::Timer { token }),
            Event::ToServer { phone, generation, bytes } => {
                self.on_server(phone, generation, &bytes);
            }
            Event::FromServer { phone, generation, bytes } => {
                self.on_client(phone, generation, &bytes);
            }
            Event::HttpAsked { phone, generation, file } => {
                self.on_http_server(phone, generation, &file);
            }
            Event::HttpAnswered { phone, generation, answer } => {
                self.on_http_client(phone, generation, answer);
            }
            Event::ClientTimeout { phone, generation } => self.on_client_timeout(phone, generation),
            Event::ServerTimeout { phone, generation } => self.on_server_timeout(phone, generation),
            Event::Signed { waiters, header } => {
                let header: Arc<[u8]> = header.into();
                waiters.into_iter().for_each(|waiter| self.on_signed(waiter, &header));
            }
            Event::TvsAnswer { phone, token, bytes } => {
                self.end_tvs(phone, true);
                self.step(phone, Input::TvsAnswer { token, bytes: &bytes });
            }
            Event::TvsFault { phone, token, fault } => {
                self.end_tvs(phone, false);
                self.step(phone, Input::TvsFailed { token, fault });
            }
        }
    }

    /// Feeds one input to a phone, records what happened and starts what it wants.
    fn step(&mut self, number: u32, input: Input<'_>) {
        let phone = number as usize;
        let mut sink = std::mem::take(&mut self.sink);
        self.phones[phone].handle(&self.env, self.now, input, &mut sink);
        for fact in sink.facts.drain(..) {
            let line = format!("{} {number} {fact:?}\n", self.now.as_nanos());
            self.digest.update(line.as_bytes());
            self.recorder.fact(phone, self.now, &fact);
            if let Fact::Settled { .. } = fact {
                self.sessions[phone].connected = None;
            }
        }
        for action in sink.actions.drain(..) {
            self.act(number, action);
        }
        self.sink = sink;
    }

    fn act(&mut self, phone: u32, action: Action) {
        match action {
            Action::SetTimer { at, token } => self.push(at, Event::Timer { phone, token }),
            Action::Fetch { step, file, transport: Transport::Http } => {
                self.fetch_http(phone, step, file, false);
            }
            Action::Fetch { step, file, transport: Transport::Https } => {
                self.fetch_http(phone, step, file, true);
            }
            Action::Fetch { step, file, transport: Transport::Tftp } => {
                self.fetch(phone, step, file);
            }
            Action::AskTvs { members, member, token, request, lists } => {
                // A phone that waits for TVS closes its HTTP connection.
                (self.session(phone).started, self.session(phone).connected) = (self.now, None);
                let round_trip = self.delays.one_way.times(2);
                let Some(node) = self.tvs_node(&members[member]) else {
                    let fault = TvsFault::Connection;
                    let at = self.now + round_trip;
                    return self.push(at, Event::TvsFault { phone, token, fault });
                };
                let service = Arc::clone(self.cluster.tvs(node).expect("the node was found by it"));
                // Two round trips until the phone sees the certificate, one for the question.
                let at = self.now + round_trip.times(2) + self.delays.handshake;
                if !lists.judge_server(&[ROLE_TVS], service.identity.certificate.der()) {
                    let fault = TvsFault::CertificateRefused;
                    return self.push(at, Event::TvsFault { phone, token, fault });
                }
                let event = match service.knowledge.answer(&request) {
                    Ok((bytes, _)) => Event::TvsAnswer { phone, token, bytes },
                    Err(_) => Event::TvsFault { phone, token, fault: TvsFault::Connection },
                };
                self.push(at + round_trip, event);
            }
        }
    }

    /// The node whose TVS service listens at this address.
    fn tvs_node(&self, member: &TvsMember) -> Option<NodeId> {
        let address: IpAddr = member.address.parse().ok()?;
        let topology = self.cluster.topology();
        (0..topology.nodes.len() as u8).map(NodeId).find(|&id| {
            let node = topology.node(id);
            node.address == address
                && node.ports.tvs == member.port
                && self.cluster.tvs(id).is_some()
        })
    }

    fn end_tvs(&mut self, phone: u32, ok: bool) {
        let started = self.session(phone).started;
        self.recorder.step(StepKind::Tvs, ok, started, started, self.now);
    }

    fn session(&mut self, phone: u32) -> &mut Session {
        &mut self.sessions[phone as usize]
    }

    fn cancel(&mut self, phone: u32) {
        let session = self.session(phone);
        let generation = session.generation + 1;
        let Session { connected, fell_back, .. } = *session;
        *session = Session { generation, connected, fell_back, ..Session::default() };
    }

    /// Connecting takes one round trip, two more with TLS, and so does a request.
    fn fetch_http(&mut self, phone: u32, step: Step, file: Arc<str>, secure: bool) {
        self.recorder.counts.http_mut(secure).requests += 1;
        self.cancel(phone);
        let (now, round_trip) = (self.now, self.delays.one_way.times(2));
        let listens = self.listens_to_http(phone, secure);
        let trusted = !secure || self.trusts_files_of(phone);
        let session = self.session(phone);
        (session.step, session.secure, session.started) = (Some(step), secure, now);
        let generation = session.generation;
        let connected = session.connected == Some(secure);
        session.connected = (listens && trusted).then_some(secure);
        let refuse =
            |fault| Event::HttpAnswered { phone, generation, answer: HttpAnswer::Refused(fault) };
        if !listens {
            return self.push(now + round_trip, refuse(HttpFault::Connection));
        }
        self.recorder.counts.http_mut(secure).connections += u64::from(!connected);
        let handshake =
            if secure { round_trip.times(2) + self.delays.handshake } else { Span::ZERO };
        let connect = if connected { Span::ZERO } else { round_trip + handshake };
        if !trusted {
            return self.push(now + connect, refuse(HttpFault::CertificateRefused));
        }
        let at = now + connect + self.delays.one_way;
        self.push(at, Event::HttpAsked { phone, generation, file });
    }

    /// The TFTP service of a phone's node, if it runs.
    fn tftp_of(&self, phone: u32) -> Option<&Arc<TftpService>> {
        self.cluster.tftp(self.plan.fleet.tftp_of(PhoneId(phone)))
    }

    /// Whether a phone's TFTP node answers HTTP, or HTTPS, now.
    fn listens_to_http(&self, phone: u32, secure: bool) -> bool {
        let node = self.plan.fleet.tftp_of(PhoneId(phone));
        let ports = self.cluster.topology().node(node).ports;
        let port = if secure { ports.https } else { ports.http };
        port.is_some() && self.cluster.tftp(node).is_some()
    }

    /// Whether a phone accepts what its TFTP node presents over HTTPS.
    fn trusts_files_of(&self, phone: u32) -> bool {
        let lists = self.phones[phone as usize].lists();
        self.tftp_of(phone).is_some_and(|service| {
            lists.judge_server(PROVISIONING_ROLES, service.signer().certificate.der())
        })
    }

    fn on_http_server(&mut self, phone: u32, generation: u32, file: &str) {
        let service = self.tftp_of(phone).map(Arc::clone);
        let Some(service) = service else {
            let answer = HttpAnswer::Refused(HttpFault::Connection);
            return self.answer_http(phone, generation, answer);
        };
        let waiter = Waiter(self.next_waiter);
        self.next_waiter += 1;
        match service.request(file, waiter) {
            FileReply::Missing => self.answer_http(phone, generation, HttpAnswer::Missing),
            FileReply::Ready(file) => {
                self.answer_http(phone, generation, HttpAnswer::File(file.to_bytes()));
            }
            FileReply::Pending { file, job } => {
                let parked = Parked { phone, generation, file, options: None };
                self.park(waiter, parked, job);
            }
        }
    }

    fn answer_http(&mut self, phone: u32, generation: u32, answer: HttpAnswer) {
        let at = self.now + self.delays.one_way;
        self.push(at, Event::HttpAnswered { phone, generation, answer });
    }

    fn on_http_client(&mut self, phone: u32, generation: u32, answer: HttpAnswer) {
        let session = self.session(phone);
        let (started, step) = (session.started, session.step);
        let Some(step) = step.filter(|_| session.generation == generation) else { return };
        let secure = session.secure;
        if let HttpAnswer::Refused(fault) = answer {
            (session.connected, session.fell_back) = (None, Some(started));
            self.recorder.http_failed(step.into(), secure);
            return self.step(phone, Input::HttpFailed { fault });
        }
        self.recorder.step(step.into(), true, started, started, self.now);
        if let HttpAnswer::File(bytes) = answer {
            self.recorder.counts.http_mut(secure).bytes += bytes.len() as u64;
            self.step(phone, Input::File { bytes: &bytes });
        } else {
            self.recorder.counts.http_mut(secure).not_found += 1;
            self.step(phone, Input::FileMissing);
        }
    }

    /// Lets a request wait for its signature, and makes it if nobody does.
    fn park(&mut self, waiter: Waiter, parked: Parked, job: Option<SignJob>) {
        self.parked.insert(waiter.0, parked);
        let Some(job) = job else { return };
        let Signed { header, waiters } = job.run();
        let waiters = waiters.into_iter().map(|waiter| waiter.0).collect();
        let at = self.now + self.delays.sign;
        self.push(at, Event::Signed { waiters, header: header.to_vec() });
    }

    fn fetch(&mut self, phone: u32, step: Step, file: Arc<str>) {
        let profile = &self.env.profile;
        let request = DownloadRequest {
            file,
            options: Options {
                block_size: profile.tftp_block_size.map(u64::from),
                ..Options::default()
            },
            size_max: FILE_SIZE_MAX,
            timeout: profile.tftp_timeout,
            tries: profile.tftp_tries,
        };
        self.recorder.counts.tftp_transfers += 1;
        self.cancel(phone);
        let (now, mut bytes) = (self.now, Vec::new());
        let download = Download::start(request, now, &mut bytes);
        let deadline = download.deadline();
        let session = self.session(phone);
        let started = session.fell_back.take().unwrap_or(now);
        (session.download, session.step, session.started) = (Some(download), Some(step), started);
        let generation = session.generation;
        self.push(now + self.delays.one_way, Event::ToServer { phone, generation, bytes });
        self.push(deadline, Event::ClientTimeout { phone, generation });
    }

    fn on_server(&mut self, phone: u32, generation: u32, bytes: &[u8]) {
        let Some(service) = self.tftp_of(phone).map(Arc::clone) else {
            return;
        };
        if self.session(phone).generation != generation {
            return;
        }
        match Packet::parse(bytes) {
            Ok(Packet::Rrq { file, options, .. }) => {
                if let Some(upload) = &mut self.session(phone).upload {
                    let reply = upload.on_repeated_request();
                    return self.reply(phone, reply);
                }
                let waiter = Waiter(self.next_waiter);
                self.next_waiter += 1;
                match service.request(file, waiter) {
                    FileReply::Missing => {
                        let mut bytes = Vec::new();
                        write_not_found(&mut bytes);
                        let at = self.now + self.delays.one_way;
                        self.push(at, Event::FromServer { phone, generation, bytes });
                    }
                    FileReply::Ready(file) => self.upload(phone, file, options),
                    FileReply::Pending { file, job } => {
                        let options = Some(options);
                        let parked = Parked { phone, generation, file, options };
                        self.park(waiter, parked, job);
                    }
                }
            }
            Ok(Packet::Ack { block }) => {
                let now = self.now;
                let Some(upload) = &mut self.session(phone).upload else { return };
                let reply = upload.on_ack(block, now);
                self.reply(phone, reply);
            }
            _ => self.session(phone).upload = None,
        }
    }

    fn on_signed(&mut self, waiter: u64, header: &Arc<[u8]>) {
        let Some(parked) = self.parked.remove(&waiter) else { return };
        if self.session(parked.phone).generation == parked.generation {
            let file = parked.file.with_header(Arc::clone(header));
            if let Some(options) = parked.options {
                self.upload(parked.phone, file, options);
            } else {
                let answer = HttpAnswer::File(file.to_bytes());
                self.answer_http(parked.phone, parked.generation, answer);
            }
        }
    }

    fn upload(&mut self, phone: u32, file: ServedFile, options: Options) {
        let (upload, reply) = Upload::start(file, options, UploadLimits::default(), self.now);
        let deadline = upload.deadline();
        self.session(phone).upload = Some(upload);
        let generation = self.session(phone).generation;
        self.push(deadline, Event::ServerTimeout { phone, generation });
        self.reply(phone, reply);
    }

    fn reply(&mut self, phone: u32, reply: Reply) {
        let at = self.now + self.delays.one_way;
        let session = &mut self.sessions[phone as usize];
        let generation = session.generation;
        let Some(upload) = &session.upload else { return };
        let mut datagrams = Vec::new();
        match reply {
            Reply::Oack => {
                let mut bytes = Vec::new();
                upload.write_oack(&mut bytes);
                datagrams.push(bytes);
            }
            Reply::Blocks { first, count } => {
                for number in first..first + u64::from(count) {
                    let mut bytes = Vec::new();
                    upload.write_block(number, &mut bytes);
                    datagrams.push(bytes);
                }
            }
            Reply::Nothing => {}
            Reply::Done | Reply::Dropped => session.upload = None,
        }
        for bytes in datagrams {
            self.push(at, Event::FromServer { phone, generation, bytes });
        }
    }

    fn on_client(&mut self, phone: u32, generation: u32, bytes: &[u8]) {
        let now = self.now;
        let session = self.session(phone);
        if session.generation != generation {
            return;
        }
        let Some(download) = &mut session.download else { return };
        let mut out = Vec::new();
        let progress = download.on_datagram(bytes, SERVER_PORT, now, &mut out);
        self.progress(phone, progress, out);
    }

    fn on_client_timeout(&mut self, phone: u32, generation: u32) {
        let now = self.now;
        let session = self.session(phone);
        if session.generation != generation {
            return;
        }
        let Some(download) = &mut session.download else { return };
        if download.deadline() > now {
            let deadline = download.deadline();
            return self.push(deadline, Event::ClientTimeout { phone, generation });
        }
        let mut out = Vec::new();
        let progress = download.on_timeout(now, &mut out);
        let deadline = download.deadline();
        self.push(deadline, Event::ClientTimeout { phone, generation });
        self.progress(phone, progress, out);
    }

    fn on_server_timeout(&mut self, phone: u32, generation: u32) {
        let now = self.now;
        let session = self.session(phone);
        let Some(upload) = session.upload.as_mut().filter(|_| session.generation == generation)
        else {
            return;
        };
        let reply = if upload.deadline() > now { Reply::Nothing } else { upload.on_timeout(now) };
        let deadline = upload.deadline();
        if reply != Reply::Dropped {
            self.push(deadline, Event::ServerTimeout { phone, generation });
        }
        self.reply(phone, reply);
    }

    fn progress(&mut self, phone: u32, progress: Progress, out: Vec<u8>) {
        let generation = self.session(phone).generation;
        if !out.is_empty() {
            let at = self.now + self.delays.one_way;
            self.push(at, Event::ToServer { phone, generation, bytes: out });
        }
        let step = self.session(phone).step.expect("a download has a step");
        match progress {
            Progress::Continue | Progress::Stray => {}
            Progress::Retransmitted => self.recorder.retry(step.into()),
            Progress::Finished(outcome) => self.finish_download(phone, step, outcome),
        }
    }

    fn finish_download(&mut self, phone: u32, step: Step, outcome: DownloadOutcome) {
        let session = self.session(phone);
        session.download = None;
        let started = session.started;
        let failed = matches!(outcome, DownloadOutcome::Failed(_));
        self.recorder.step(step.into(), !failed, started, started, self.now);
        match outcome {
            DownloadOutcome::Complete(bytes) => {
                self.recorder.counts.tftp_bytes += bytes.len() as u64;
                self.step(phone, Input::File { bytes: &bytes });
            }
            DownloadOutcome::NotFound => {
                self.recorder.counts.tftp_not_found += 1;
                self.step(phone, Input::FileMissing);
            }
            DownloadOutcome::Failed(fault) => {
                self.recorder.counts.tftp_errors += 1;
                self.step(phone, Input::FileFailed { fault });
            }
        }
    }

    fn finish(mut self) -> SimRun {
        if self.any_wave {
            let (phones, cluster, fleet) = (&self.phones, &self.cluster, &self.plan.fleet);
            self.recorder.close(|number| {
                let service = cluster.tftp(fleet.tftp_of(phones[number].id()));
                phones[number].is_current(|file| service?.identity_of(file))
            });
        }
        self.recorder.counts.verified = self.env.verifier.count() - self.verified_before;
        SimRun {
            recorder: self.recorder,
            digest: self.digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"),
            events: self.events,
            signed_before: self.signed_before,
            signed: self.cluster.sign_cache().counts(),
            ended: self.now,
        }
    }
}
