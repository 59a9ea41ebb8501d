use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::base::{Lack, PhoneId, Purpose, Span, Time, stream};
use crate::measure::{
    Incident, Ledger, Listen, Notice, PAUSE_MIN, Pause, Queue, Slice, StepEnd, StepKind,
};
use crate::net::Clock;
use crate::net::fleet::{Received, Recipient, Sockets, phone_address};
use crate::phone::{Action, Env, Fact, Input, Phone, Sink, Step, Transport, TrustLists};
use crate::transfer::{Download, DownloadOutcome, Progress, TransferFault};

use super::http::{HttpClient, HttpJob, HttpLink, HttpResult};
use super::lookup::{LookupClient, LookupJob, LookupResult};
use super::turn::{Fault, Turn};

/// What the driver tells a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Plan a boot of every phone within `spread` from `from`; `storm` starts the counting.
    Boot {
        /// Start of the wave.
        from: Time,
        /// Its length.
        spread: Span,
        /// Whether this is the first reset of the storm.
        storm: bool,
    },
    /// End: publish and leave.
    Stop,
}

/// What worker and driver share.
#[derive(Debug)]
pub struct Shared {
    /// The ledger as it was a moment ago.
    pub published: Mutex<Ledger>,
    /// Waves that the driver has commanded and the worker has not planned yet.
    pub commanded: AtomicU64,
    /// Phones with a planned boot or in a boot.
    pub unsettled: AtomicU64,
}

impl Shared {
    /// Whether no phone boots or is about to. A wave is counted with the phones before it no
    /// longer counts as commanded, so that it is never missed between the two.
    pub fn is_settled(&self) -> bool {
        self.commanded.load(Ordering::Acquire) == 0 && self.unsettled.load(Ordering::Acquire) == 0
    }
}

/// By which the phones of a worker reach TCP servers; what comes of it goes to its [`Results`].
#[derive(Clone, Debug)]
pub struct Clients {
    /// Asks TVS servers.
    pub lookups: LookupClient,
    /// Where lookups run.
    pub lookup_runtime: Handle,
    /// Where their results go.
    pub lookup_results: mpsc::UnboundedSender<LookupResult>,
    /// Asks for files over HTTP.
    pub http: HttpClient,
}

/// What comes back from the [`Clients`] of a worker; unbounded, because a phone asks for one thing
/// at a time.
#[derive(Debug)]
pub struct Results {
    /// Of lookups.
    pub lookups: mpsc::UnboundedReceiver<LookupResult>,
    /// Of files.
    pub http: mpsc::UnboundedReceiver<HttpResult>,
}

/// A worker of the swarm: one thread, a part of the phones, a few sockets.
///
/// The thread is the datagram pump: it runs the transfers and the phones. TLS and HTTP happen
/// elsewhere (see [`Clients`]) and come back as messages.
pub struct Worker {
    plan: WorkerPlan,
    env: Env,
    phones: Vec<Phone>,
    slots: Vec<Slot>,
    sockets: Sockets,
    timers: BinaryHeap<Reverse<(Time, u32, Timer)>>,
    /// Fetches that wait for a place among the transfers in flight.
    waiting: VecDeque<Waiting>,
    transfers: usize,
    lookups: u64,
    /// Boots that are planned and have not begun.
    planned_boots: u64,
    ledger: Ledger,
    shared: Arc<Shared>,
    clients: Clients,
    verified_before: u64,
    published_at: Time,
    /// When the present turn began.
    turn_at: Time,
    sink: Sink,
    out: Vec<u8>,
}

/// What a worker needs to know.
#[derive(Clone, Copy, Debug)]
pub struct WorkerPlan {
    /// The phones that are its own.
    pub slice: Slice,
    /// Seed of the run.
    pub seed: u64,
    /// The TFTP server.
    pub server: SocketAddr,
    /// Transfers in flight of this worker.
    pub transfers_in_flight: usize,
    /// The one clock.
    pub clock: Clock,
}

/// What goes on between one phone and the servers.
#[derive(Debug, Default)]
struct Slot {
    transfer: Option<Box<Transfer>>,
    /// The HTTP connection of the present boot.
    http: Option<HttpLink>,
    /// The step of the file that HTTP is asked for, in the fetch with number `generation`.
    http_step: Option<Step>,
    /// When the file was planned that HTTP did not bring.
    fell_back: Option<Time>,
    /// Counts boots and fetches: timers and waiting fetches of an earlier one are stale.
    generation: u32,
    /// Whether the lookup that the phone waits for has begun.
    looks_up: Option<Turn>,
    /// How long the phone has waited for places in its present boot.
    waited: Span,
    /// When the phone asked for a file over HTTP, or TVS, last.
    asked_at: Option<Time>,
    /// When the present boot was planned, until its first request is sent.
    awaits_first_request: Option<Time>,
}

#[derive(Debug)]
struct Transfer {
    download: Download,
    socket: usize,
    step: Step,
    planned: Time,
    started: Time,
}

#[derive(Debug)]
struct Waiting {
    place: u32,
    generation: u32,
    step: Step,
    file: Arc<str>,
    planned: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A planned boot.
    Boot,
    /// The deadline of a transfer, in the fetch with this number.
    Transfer { generation: u32 },
    /// A phone's own timer.
    Phone { token: u32 },
}

/// Datagrams that are taken from one socket before timers and messages get their turn.
const DATAGRAMS_PER_TURN: usize = 256;
/// Due timers that are handled before sockets get their turn.
const TIMERS_PER_TURN: usize = 256;
/// Longest datagram: a block of the largest size with its header.
const DATAGRAM_MAX: usize = 65_468;
/// A boot that is so late at the end of a run was this program's to begin (choice).
const OVERDUE: Span = Span::from_millis(100);
/// How often the ledger is published.
const PUBLISH_EVERY: Span = Span::from_millis(500);

impl Worker {
    /// A worker with these phones, which come in the order of their numbers. Must be called within
    /// the tokio runtime that will run it.
    ///
    /// # Errors
    /// If the sockets cannot be opened.
    pub fn new(
        plan: WorkerPlan,
        env: Env,
        phones: Vec<Phone>,
        clients: Clients,
    ) -> std::io::Result<Worker> {
        let sockets = Sockets::open(plan.server, plan.transfers_in_flight)?;
        let ledger = Ledger::new(plan.slice);
        let shared = Arc::new(Shared {
            published: Mutex::new(ledger.clone()),
            commanded: AtomicU64::new(0),
            unsettled: AtomicU64::new(0),
        });
        Ok(Worker {
            slots: phones.iter().map(|_| Slot::default()).collect(),
            plan,
            env,
            phones,
            sockets,
            timers: BinaryHeap::new(),
            waiting: VecDeque::new(),
            transfers: 0,
            lookups: 0,
            planned_boots: 0,
            ledger,
            shared,
            clients,
            verified_before: 0,
            published_at: Time::ZERO,
            turn_at: plan.clock.now(),
            sink: Sink::default(),
            out: Vec::new(),
        })
    }

    /// What the driver may look at while the worker runs.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Runs until it is told to stop; returns the phones and everything recorded.
    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut results: Results,
    ) -> (Vec<Phone>, Ledger) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut ready = Vec::new();
        loop {
            self.catch_up(&mut buffer);
            self.fire_timers();
            self.publish_if_due();
            let wake = self.plan.clock.instant_at(self.next_wake());
            let sockets = &self.sockets;
            tokio::select! {
                () = sockets.ready(&mut ready) => {
                    for &socket in &ready {
                        self.drain_socket(socket, &mut buffer);
                    }
                }
                Some(result) = results.lookups.recv() => {
                    self.on_lookup(result);
                    for _ in 0..DATAGRAMS_PER_TURN {
                        let Ok(result) = results.lookups.try_recv() else { break };
                        self.on_lookup(result);
                    }
                }
                Some(result) = results.http.recv() => {
                    self.on_http(result);
                    for _ in 0..DATAGRAMS_PER_TURN {
                        let Ok(result) = results.http.try_recv() else { break };
                        self.on_http(result);
                    }
                }
                command = commands.recv() => match command {
                    Some(Command::Boot { from, spread, storm }) => {
                        self.plan_boots(from, spread, storm);
                    }
                    Some(Command::Stop) | None => break,
                },
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        self.close();
        self.publish();
        (self.phones, self.ledger)
    }

    fn now(&self) -> Time {
        self.plan.clock.now()
    }

    /// After a time without a turn, such as a stop of the whole program, answers that have come
    /// meanwhile are read before anybody's patience ends.
    fn catch_up(&mut self, buffer: &mut [u8]) {
        let (from, now) = (self.turn_at, self.now());
        self.turn_at = now;
        if now.since(from) < PAUSE_MIN + PUBLISH_EVERY {
            return;
        }
        self.ledger.note(now, &Notice::Stalled(Pause { from, to: now }));
        for socket in 0..self.sockets.count() {
            self.drain_socket(socket, buffer);
        }
    }

    /// The number of the phone at `place`.
    fn phone_id(&self, place: usize) -> PhoneId {
        self.phones[place].id()
    }

    /// The place of a phone, if it is one of this worker's.
    fn place(&self, recipient: Recipient) -> Option<usize> {
        match recipient {
            Recipient::Place(place) => Some(place),
            Recipient::Phone(phone) => self.plan.slice.place(phone),
        }
    }

    fn next_wake(&self) -> Time {
        let publish = self.published_at + PUBLISH_EVERY;
        self.timers.peek().map_or(publish, |Reverse((at, _, _))| (*at).min(publish))
    }

    fn plan_boots(&mut self, from: Time, spread: Span, storm: bool) {
        if storm {
            self.ledger.note(from, &Notice::StormBegan);
            self.verified_before = self.env.verifier.count();
        }
        for place in 0..self.phones.len() {
            let number = u64::from(self.phone_id(place).0);
            let offset = stream(self.plan.seed, number, Purpose::Arrival).unit();
            let planned = from + spread.fraction(offset);
            self.timers.push(Reverse((planned, place as u32, Timer::Boot)));
        }
        self.planned_boots += self.phones.len() as u64;
        self.ledger.note(from, &Notice::BootsPlanned);
        self.count_unsettled();
        self.shared.commanded.fetch_sub(1, Ordering::Release);
    }

    fn fire_timers(&mut self) {
        let now = self.now();
        for _ in 0..TIMERS_PER_TURN {
            match self.timers.peek() {
                Some(Reverse((at, _, _))) if *at <= now => {}
                _ => return,
            }
            let Some(Reverse((at, place, timer))) = self.timers.pop() else { return };
            let place = place as usize;
            match timer {
                Timer::Boot => self.boot(place, at),
                Timer::Phone { token } => self.step(place, Input::Timer { token }),
                Timer::Transfer { generation } => self.on_deadline(place, generation),
            }
        }
    }

    fn boot(&mut self, place: usize, planned: Time) {
        self.planned_boots -= 1;
        self.hear(place, Incident::BootBegan(planned));
        self.end_transfer(place);
        let slot = &mut self.slots[place];
        *slot = Slot { generation: slot.generation + 1, ..Slot::default() };
        slot.awaits_first_request = Some(planned);
        self.step(place, Input::Boot);
    }

    /// Tells the ledger what has happened to a phone just now.
    fn hear(&mut self, place: usize, incident: Incident<'_>) {
        self.hear_at(self.now(), place, incident);
    }

    fn hear_at(&mut self, at: Time, place: usize, incident: Incident<'_>) {
        self.ledger.hear(self.phones[place].id(), at, &incident);
    }

    /// Feeds one input to a phone, records what happened and starts what it wants.
    fn step(&mut self, place: usize, input: Input<'_>) {
        let now = self.now();
        let mut sink = std::mem::take(&mut self.sink);
        self.phones[place].handle(&self.env, now, input, &mut sink);
        for fact in sink.facts.drain(..) {
            self.hear_at(now, place, Incident::Phone(fact));
            if matches!(fact, Fact::Settled { .. }) {
                self.slots[place].http = None;
                self.count_unsettled();
            }
        }
        for action in sink.actions.drain(..) {
            self.act(place, now, action);
        }
        self.sink = sink;
    }

    /// Tells the driver how many phones boot or are about to; the last one publishes first, so
    /// that whoever sees a settled fleet sees all of its numbers.
    fn count_unsettled(&mut self) {
        let unsettled = self.planned_boots + self.ledger.booting();
        if unsettled == 0 {
            self.publish();
        }
        self.shared.unsettled.store(unsettled, Ordering::Release);
    }

    fn act(&mut self, place: usize, now: Time, action: Action) {
        match action {
            Action::SetTimer { at, token } => {
                self.timers.push(Reverse((at, place as u32, Timer::Phone { token })));
            }
            Action::Fetch { step, file, transport: Transport::Http } => {
                self.ask_http(place, now, step, file, None);
            }
            Action::Fetch { step, file, transport: Transport::Https } => {
                let lists = self.phones[place].lists().clone();
                self.ask_http(place, now, step, file, Some(lists));
            }
            Action::Fetch { step, file, transport: Transport::Tftp } => {
                let slot = &mut self.slots[place];
                let (generation, planned) = (slot.generation, slot.fell_back.take());
                let planned = planned.unwrap_or(now);
                let waiting = Waiting { place: place as u32, generation, step, file, planned };
                if self.has_room() {
                    self.start_transfer(waiting, false);
                } else {
                    self.waiting.push_back(waiting);
                }
            }
            Action::Resolve { name, token } => {
                let address = self.clients.lookups.resolve(&name);
                self.step(place, Input::Resolved { token, address });
            }
            Action::AskTvs { members, member, address, token, request, lists } => {
                let slot = &mut self.slots[place];
                // A phone that waits for TVS leaves its place to others.
                let turn = Turn::default();
                (slot.looks_up, slot.http) = (Some(turn.clone()), None);
                slot.asked_at = Some(now);
                self.lookups += 1;
                let job = LookupJob {
                    phone: place,
                    token,
                    server: SocketAddr::new(address, members[member].port),
                    request,
                    lists,
                    source: phone_address(self.phone_id(place)),
                    planned: now,
                    turn,
                };
                let results = self.clients.lookup_results.clone();
                let ask = self.clients.lookups.clone().ask(job, results);
                self.clients.lookup_runtime.spawn(ask);
            }
        }
    }

    /// Asks for a file over HTTPS if there are lists to judge the server by, else over HTTP.
    fn ask_http(
        &mut self,
        place: usize,
        planned: Time,
        step: Step,
        file: Arc<str>,
        lists: Option<TrustLists>,
    ) {
        let source = phone_address(self.phone_id(place));
        let slot = &mut self.slots[place];
        slot.generation += 1;
        slot.http_step = Some(step);
        slot.asked_at = Some(planned);
        let generation = slot.generation;
        let link = slot.http.get_or_insert_with(|| self.clients.http.link(source));
        let via = Transport::over_http(lists.is_some());
        link.ask(HttpJob { phone: place, generation, step, file, lists, planned });
        self.hear_at(planned, place, Incident::Asked(via));
    }

    fn on_http(&mut self, result: HttpResult) {
        let HttpResult { job, answer, waited, connections, started, lacks, ended } = result;
        let place = job.phone;
        lacks.into_iter().for_each(|lack| self.hear(place, Incident::Lacked(lack)));
        let slot = &mut self.slots[place];
        // A phone that was reset meanwhile does not wait for this answer any more.
        if slot.generation != job.generation || slot.http_step.take().is_none() {
            return;
        }
        let via = Transport::over_http(job.lists.is_some());
        let first_planned = slot.awaits_first_request.take();
        self.hear(place, Incident::Connected(via, connections));
        if let Some(planned) = first_planned {
            let boot_time = self.phones[place].boot_time(&self.env);
            let late = started.since(planned + boot_time);
            self.waited(place, Queue::Connections, late);
        } else if waited {
            self.waited(place, Queue::Connections, started.since(job.planned));
        }
        let (slot, step) = (&mut self.slots[place], StepKind::from(job.step));
        match answer {
            Ok(file) => {
                let end = if file.is_some() { StepEnd::Ok } else { StepEnd::NotFound };
                let planned = job.planned;
                self.hear_at(ended, place, Incident::Ended { step, end, planned, started });
                self.on_http_file(place, via, file);
            }
            Err(Fault::Ours(lack)) => {
                self.hear(place, Incident::Lacked(lack));
                self.give_up(place, lack);
            }
            Err(Fault::Theirs(fault)) => {
                (slot.http, slot.fell_back) = (None, Some(job.planned));
                self.hear_at(ended, place, Incident::Silent { step, from: started });
                self.hear(place, Incident::Failed(via, step));
                self.step(place, Input::HttpFailed { fault });
            }
        }
    }

    fn on_http_file(&mut self, place: usize, via: Transport, file: Option<Vec<u8>>) {
        if let Some(bytes) = file {
            self.hear(place, Incident::Arrived(via, bytes.len() as u64));
            self.step(place, Input::File { bytes: &bytes });
        } else {
            self.hear(place, Incident::Missing(via));
            self.step(place, Input::FileMissing);
        }
    }

    fn has_room(&self) -> bool {
        let room = self.sockets.capacity().unwrap_or(usize::MAX);
        self.transfers < self.plan.transfers_in_flight.min(room)
    }

    /// Begins a transfer, which was `queued` or found a place at once.
    fn start_transfer(&mut self, waiting: Waiting, queued: bool) {
        let place = waiting.place as usize;
        let request = self.phones[place].download(&self.env, waiting.file);
        let phone = self.phone_id(place);
        let slot = &mut self.slots[place];
        slot.generation += 1;
        let generation = slot.generation;
        let socket = self.sockets.take(place, generation);
        let now = self.plan.clock.now();
        let download = Download::start(request, now, &mut self.out);
        let lack = self.sockets.send(socket, phone, self.plan.server.port(), &self.out);
        if let Some(planned) = slot.awaits_first_request.take() {
            let boot_time = self.phones[place].boot_time(&self.env);
            let late = self.plan.clock.now().since(planned + boot_time);
            self.waited(place, Queue::Transfers, late);
        } else if queued {
            self.waited(place, Queue::Transfers, now.since(waiting.planned));
        }
        if let Some(lack) = lack {
            self.hear(place, Incident::Lacked(lack));
        }
        let slot = &mut self.slots[place];
        self.timers.push(Reverse((
            download.deadline(),
            waiting.place,
            Timer::Transfer { generation },
        )));
        let (step, planned) = (waiting.step, waiting.planned);
        slot.transfer = Some(Box::new(Transfer { download, socket, step, planned, started: now }));
        self.transfers += 1;
        self.hear(place, Incident::Asked(Transport::Tftp));
        self.ledger.note(now, &Notice::TransfersInFlight(self.transfers as u64));
    }

    /// Takes the transfer of a phone away and lets the next one begin.
    fn end_transfer(&mut self, place: usize) -> Option<Box<Transfer>> {
        let transfer = self.slots[place].transfer.take()?;
        self.sockets.give_back(transfer.socket);
        self.transfers -= 1;
        while self.has_room() {
            let Some(next) = self.waiting.pop_front() else { break };
            if self.slots[next.place as usize].generation == next.generation {
                self.start_transfer(next, true);
            }
        }
        Some(transfer)
    }

    fn drain_socket(&mut self, socket: usize, buffer: &mut [u8]) {
        for _ in 0..DATAGRAMS_PER_TURN {
            let Some(received) = self.sockets.receive(socket, buffer) else { return };
            match received {
                Received::Datagram { phone, socket, port, length } => {
                    if let Some(place) = self.place(phone) {
                        self.on_datagram(place, socket, port, &buffer[..length]);
                    }
                }
                Received::Refused { phone } => {
                    if let Some(place) = self.place(phone) {
                        self.on_refused(place);
                    }
                }
                Received::Other => {}
            }
        }
    }

    fn on_datagram(&mut self, place: usize, socket: usize, port: u16, bytes: &[u8]) {
        let now = self.plan.clock.now();
        let Some(transfer) = &mut self.slots[place].transfer else { return };
        if transfer.socket != socket {
            // A late datagram of an earlier transfer, which had another socket.
            return;
        }
        let progress = transfer.download.on_datagram(bytes, port, now, &mut self.out);
        self.progress(place, port, progress);
    }

    fn on_refused(&mut self, place: usize) {
        let unanswered = |transfer: &Transfer| transfer.download.peer_port().is_none();
        if self.slots[place].transfer.as_deref().is_some_and(unanswered) {
            let outcome = DownloadOutcome::Failed(TransferFault::Refused);
            self.finish_transfer(place, outcome);
        }
    }

    fn on_deadline(&mut self, place: usize, generation: u32) {
        let now = self.plan.clock.now();
        let slot = &mut self.slots[place];
        let Some(transfer) = slot.transfer.as_mut().filter(|_| slot.generation == generation)
        else {
            return;
        };
        let deadline = transfer.download.deadline();
        if deadline > now {
            let again = Reverse((deadline, place as u32, Timer::Transfer { generation }));
            return self.timers.push(again);
        }
        let progress = transfer.download.on_timeout(now, &mut self.out);
        let port = transfer.download.peer_port().unwrap_or(self.plan.server.port());
        let again = (transfer.download.deadline(), place as u32, Timer::Transfer { generation });
        if !matches!(progress, Progress::Finished(_)) {
            self.timers.push(Reverse(again));
        }
        self.progress(place, port, progress);
    }

    /// Sends what a transfer wants sent, and ends it if it is over.
    fn progress(&mut self, place: usize, port: u16, progress: Progress) {
        let phone = self.phone_id(place);
        let Some(transfer) = &self.slots[place].transfer else { return };
        let step = transfer.step.into();
        if progress == Progress::Stray {
            return;
        }
        if !self.out.is_empty() {
            let lack = self.sockets.send(transfer.socket, phone, port, &self.out);
            if let Some(lack) = lack {
                self.hear(place, Incident::Lacked(lack));
            }
        }
        match progress {
            Progress::Continue | Progress::Stray => {}
            Progress::Retransmitted => self.hear(place, Incident::SentAgain(step)),
            Progress::Finished(outcome) => self.finish_transfer(place, outcome),
        }
    }

    fn finish_transfer(&mut self, place: usize, outcome: DownloadOutcome) {
        let Some(transfer) = self.end_transfer(place) else { return };
        let end = match outcome {
            DownloadOutcome::Complete(_) => StepEnd::Ok,
            DownloadOutcome::NotFound => StepEnd::NotFound,
            DownloadOutcome::Failed(_) => StepEnd::Failed,
        };
        let now = self.now();
        let step = StepKind::from(transfer.step);
        let (planned, started) = (transfer.planned, transfer.started);
        self.hear_at(now, place, Incident::Ended { step, end, planned, started });
        match outcome {
            DownloadOutcome::Complete(bytes) => {
                self.hear(place, Incident::Arrived(Transport::Tftp, bytes.len() as u64));
                self.step(place, Input::File { bytes: &bytes });
            }
            DownloadOutcome::NotFound => {
                self.hear(place, Incident::Missing(Transport::Tftp));
                self.step(place, Input::FileMissing);
            }
            DownloadOutcome::Failed(fault) => {
                self.hear(place, Incident::Failed(Transport::Tftp, step));
                self.hear_at(now, place, Incident::Silent { step, from: started });
                if let TransferFault::Error(_) | TransferFault::Protocol(_) = fault {
                    let remark = transfer.download.remark().unwrap_or_default();
                    self.hear(place, Incident::Said(fault, remark));
                }
                self.step(place, Input::FileFailed { fault });
            }
        }
    }

    fn on_lookup(&mut self, result: LookupResult) {
        self.lookups -= 1;
        let LookupResult { phone: place, token, answer, planned, started, lacks, ended } = result;
        lacks.into_iter().for_each(|lack| self.hear(place, Incident::Lacked(lack)));
        // A phone that was reset meanwhile does not wait for this answer any more.
        if self.slots[place].looks_up.is_none() || !self.phones[place].awaits_tvs(token) {
            return;
        }
        self.slots[place].looks_up = None;
        self.waited(place, Queue::Lookups, started.since(planned));
        if let Err(Fault::Ours(lack)) = answer {
            self.hear(place, Incident::Lacked(lack));
            return self.give_up(place, lack);
        }
        if answer.is_err() {
            self.hear_at(ended, place, Incident::Silent { step: StepKind::Tvs, from: started });
        }
        let (step, end) = (StepKind::Tvs, StepEnd::answered(answer.is_ok()));
        self.hear_at(ended, place, Incident::Ended { step, end, planned, started });
        match answer {
            Ok(bytes) => self.step(place, Input::TvsAnswer { token, bytes: &bytes }),
            Err(Fault::Theirs(fault)) => self.step(place, Input::TvsFailed { token, fault }),
            Err(Fault::Ours(_)) => {}
        }
    }

    /// A phone got its place, `late` after it wanted one.
    fn waited(&mut self, place: usize, queue: Queue, late: Span) {
        self.hear(place, Incident::Waited { queue, late, at_end: false });
        let slot = &mut self.slots[place];
        slot.waited = slot.waited + late;
    }

    /// Ends the boot of a phone for what this host lacks. The phone itself knows nothing of it.
    fn give_up(&mut self, place: usize, lack: Lack) {
        self.end_transfer(place);
        let slot = &mut self.slots[place];
        *slot = Slot { generation: slot.generation + 1, ..Slot::default() };
        self.hear(place, Incident::GivenUp(lack));
        self.count_unsettled();
    }

    /// The run is over: phones that wait for a place, that waited longer for it than they had it,
    /// or whose boot was due and did not begin, were never let go. What is under way is a silence.
    fn close(&mut self) {
        let now = self.now();
        let overdue: Vec<(Time, usize)> = std::mem::take(&mut self.timers)
            .into_iter()
            .filter(|Reverse((at, _, timer))| *timer == Timer::Boot && now.since(*at) > OVERDUE)
            .map(|Reverse((at, place, _))| (at, place as usize))
            .collect();
        for (planned, place) in overdue {
            self.hear(place, Incident::Late(now.since(planned)));
            self.hear(place, Incident::BootBegan(planned));
            self.give_up(place, Lack::Cpu);
        }
        for waiting in std::mem::take(&mut self.waiting) {
            if self.slots[waiting.place as usize].generation == waiting.generation {
                self.never_let_go(waiting.place as usize, Queue::Transfers, waiting.planned);
            }
        }
        for place in 0..self.slots.len() {
            self.close_phone(place, now);
        }
    }

    fn close_phone(&mut self, place: usize, now: Time) {
        let record = *self.ledger.phone(self.phone_id(place)).expect("it is one of ours");
        if !record.booting {
            return;
        }
        let slot = &self.slots[place];
        let http = slot.http.as_ref().zip(slot.http_step);
        let (queue, step, begun) = match (&slot.transfer, http, &slot.looks_up) {
            (Some(transfer), _, _) => {
                (Queue::Transfers, transfer.step.into(), Some(transfer.started))
            }
            (None, Some((link, step)), _) => {
                (Queue::Connections, StepKind::from(step), link.turn().begun())
            }
            (None, None, Some(turn)) => (Queue::Lookups, StepKind::Tvs, turn.begun()),
            (None, None, None) => return,
        };
        let Some(begun) = begun else {
            let since = slot.asked_at.unwrap_or(record.planned);
            return self.never_let_go(place, queue, since);
        };
        let waited = slot.waited;
        self.hear_at(now, place, Incident::Silent { step, from: begun });
        if waited > Span::from_nanos(now.since(record.planned).as_nanos() / 2) {
            self.give_up(place, Lack::Place);
        }
    }

    /// A phone wanted a place in a queue since `since` and has none at the end.
    fn never_let_go(&mut self, place: usize, queue: Queue, since: Time) {
        let late = self.now().since(since);
        self.hear(place, Incident::Waited { queue, late, at_end: true });
        self.give_up(place, Lack::Place);
    }

    fn publish_if_due(&mut self) {
        if self.now().since(self.published_at) >= PUBLISH_EVERY {
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.published_at = self.now();
        let verified = self.env.verifier.count() - self.verified_before;
        let mut in_flight = BTreeMap::new();
        for slot in &self.slots {
            let transfer = slot.transfer.as_ref().map(|transfer| transfer.step);
            if let Some(step) = transfer.or(slot.http_step) {
                *in_flight.entry(step.into()).or_default() += 1;
            }
        }
        in_flight.insert(StepKind::Tvs, self.lookups);
        in_flight.insert(StepKind::Boot, self.ledger.booting());
        self.ledger.read(verified, in_flight);
        let mut published = self.shared.published.lock().expect("nobody panics while reading it");
        published.clone_from(&self.ledger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_that_is_commanded_while_the_last_phone_settles_is_not_missed() {
        let shared = Shared {
            published: Mutex::new(Ledger::new(Slice::whole(1))),
            commanded: AtomicU64::new(0),
            unsettled: AtomicU64::new(1),
        };
        shared.commanded.fetch_add(1, Ordering::AcqRel);
        // The worker has not seen the command yet.
        shared.unsettled.store(0, Ordering::Release);
        assert!(!shared.is_settled());
        shared.unsettled.store(1, Ordering::Release);
        shared.commanded.fetch_sub(1, Ordering::Release);
        assert!(!shared.is_settled());
        shared.unsettled.store(0, Ordering::Release);
        assert!(shared.is_settled());
    }
}
