use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::base::{Lack, NodeId, PhoneId, Purpose, Span, Time, stream};
use crate::measure::{
    Incident, Journal, Ledger, Listen, Notice, PAUSE_MIN, Pause, Queue, Slice, StepEnd, StepKind,
};
use crate::net::Clock;
use crate::net::fleet::{Received, Recipient, Sockets, phone_address};
use crate::phone::{
    Action, Answer, Ask, Env, Errand, ErrandFault, Fact, FileRequest, HttpFault, Input, Phone,
    PressEnd, Sink, Transport,
};
use crate::play::{Homes, NextPress, Presses, Visit};
use crate::scenario::UsePlan;
use crate::transfer::{Download, DownloadOutcome, Progress, TransferFault};
use crate::wire::Dialogue;

use super::FileServer;
use super::dialogue::{DialogueClient, DialogueJob, DialogueResult, Kept};
use super::http::{HttpClient, HttpJob, HttpLink, HttpResult};
use super::turn::{Carried, Fault, Ticket, Turn};
use super::watch::{Seen, Told, Watcher, Watches};

/// What the driver tells a worker.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// Plan a boot of every phone within `spread` from `from`; `storm` starts the counting.
    Boot { from: Time, spread: Span, storm: bool },
    /// Plan visits to phones of this worker.
    Visit { from: Time, visits: Vec<Visit> },
    /// Give up boots that were planned and have not begun.
    Drain,
    /// People begin to press buttons.
    Use { from: Time },
    /// Phones that boot from now on learn where they belong from these.
    Move(Arc<Homes>),
    /// End: publish and leave.
    Stop,
}

/// What worker and driver share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The ledger as it was a moment ago.
    pub published: Mutex<Ledger>,
    /// Waves that the driver has commanded and the worker has not planned yet.
    pub commanded: AtomicU64,
    /// Phones with a planned boot or in a boot.
    pub unsettled: AtomicU64,
    /// Buttons that are pressed or will be.
    pub pressing: AtomicU64,
}

impl Shared {
    /// Whether no phone boots or is about to. A wave is counted with the phones before it no
    /// longer counts as commanded, so that it is never missed between the two.
    pub fn is_settled(&self) -> bool {
        self.commanded.load(Ordering::Acquire) == 0 && self.unsettled.load(Ordering::Acquire) == 0
    }

    /// Whether nobody presses a button or will.
    pub fn is_at_rest(&self) -> bool {
        self.pressing.load(Ordering::Acquire) == 0
    }
}

/// By which the phones of a worker reach TCP servers; what comes of it goes to its [`Results`].
#[derive(Clone, Debug)]
pub(super) struct Clients {
    pub lookups: DialogueClient,
    pub lookup_runtime: Handle,
    pub lookup_results: mpsc::UnboundedSender<DialogueResult>,
    pub http: HttpClient,
    pub watcher: Watcher,
}

/// What comes back from the [`Clients`] of a worker; unbounded, because a phone asks for one thing
/// at a time.
#[derive(Debug)]
pub(super) struct Results {
    pub lookups: mpsc::UnboundedReceiver<DialogueResult>,
    pub http: mpsc::UnboundedReceiver<HttpResult>,
    pub seen: mpsc::UnboundedReceiver<Seen>,
}

/// What wakes a worker beside its sockets.
enum Word {
    Lookup(DialogueResult),
    Seen(Seen),
    Http(HttpResult),
    /// `None` if the driver is gone.
    Command(Option<Command>),
    /// A timer.
    Due,
}

/// A worker of the swarm: one thread, a part of the phones, a few sockets.
///
/// The thread is the datagram pump: it runs the transfers and the phones. TLS and HTTP happen
/// elsewhere (see [`Clients`]) and come back as messages.
pub(super) struct Worker {
    plan: WorkerPlan,
    env: Env,
    phones: Vec<Phone>,
    /// Where the phones think that they belong: a phone learns it when it boots.
    homes: Homes,
    slots: Vec<Slot>,
    lane: Lane,
    timers: BinaryHeap<Reverse<(Time, u32, Timer)>>,
    presses: Presses,
    /// Presses that are planned, and those under way.
    pressing: u64,
    /// Messages under way, those of phones included that were reset meanwhile.
    messages: BTreeMap<Dialogue, u64>,
    /// Servers that phones have connections with, or wait for.
    watches: Watches,
    ledger: Ledger,
    journal: Journal,
    board: Board,
    clients: Clients,
    sink: Sink,
}

/// TFTP of a worker: its sockets and what is in flight on them.
struct Lane {
    sockets: Sockets,
    transfers: usize,
    transfers_max: usize,
    /// Errands that wait for a place among the transfers in flight.
    waiting: VecDeque<Waiting>,
    /// What is sent next.
    out: Vec<u8>,
    /// Rooms of transfers that are over, for the next ones.
    rooms: Vec<Vec<u8>>,
}

/// Rooms that are kept, and the most bytes of one (choices: a few MB at most).
const ROOMS_MAX: usize = 128;
const ROOM_BYTES_MAX: usize = 32 * 1_024;

impl Lane {
    /// Keeps a room for the next transfer.
    fn keep_room(&mut self, room: Vec<u8>) {
        if self.rooms.len() < ROOMS_MAX && (1..=ROOM_BYTES_MAX).contains(&room.capacity()) {
            self.rooms.push(room);
        }
    }

    /// Whether one more transfer with `server` may begin.
    fn has_room(&self, server: SocketAddr) -> bool {
        self.transfers < self.transfers_max && self.sockets.has_room(server)
    }
}

/// What a worker tells the driver, and when it did.
struct Board {
    shared: Arc<Shared>,
    /// Boots that are planned and have not begun.
    planned_boots: u64,
    /// Signatures that were checked before the storm.
    verified_before: u64,
    published_at: Time,
    /// When the present turn began.
    turn_at: Time,
}

/// What a worker needs to know.
#[derive(Clone, Debug)]
pub(super) struct WorkerPlan {
    /// The phones that are its own.
    pub slice: Slice,
    /// Phones of the whole fleet.
    pub phones: u32,
    pub seed: u64,
    /// Where the phones belong.
    pub homes: Arc<Homes>,
    /// The TFTP nodes that homes may name.
    pub files: Arc<BTreeMap<NodeId, FileServer>>,
    /// Transfers in flight of this worker.
    pub transfers_in_flight: usize,
    /// What people do with the phones.
    pub uses: Arc<[UsePlan]>,
    pub clock: Clock,
}

/// What goes on between one phone and the servers.
#[derive(Debug, Default)]
struct Slot {
    /// What the phone waits for; nothing while it rests or has set a timer.
    errand: Option<InFlight>,
    /// The HTTP connection of the present boot.
    link: Option<HttpLink>,
    /// The connection of a dialogue that goes on.
    kept: Option<Box<Kept>>,
    /// Which server of its list the phone asked last, with which it has the connection.
    server: u8,
    /// How long the phone has waited for places in its present boot.
    waited: Span,
    /// When the present boot was planned, until its first request is sent.
    awaits_first_request: Option<Time>,
    /// Counts transfers: each has another socket than the one before it.
    transfers: u32,
}

/// The errand of a phone: what belongs to an earlier one has another token.
#[derive(Debug)]
struct InFlight {
    token: u32,
    step: StepKind,
    wanted: Time,
    carrier: Carrier,
}

/// How an errand is carried.
#[derive(Debug)]
enum Carrier {
    /// It waits for a place among the transfers.
    Queued,
    Transfer(Box<Transfer>),
    /// By the link of the phone.
    Http,
    Dialogue(Dialogue, Turn),
}

#[derive(Debug)]
struct Transfer {
    download: Download,
    server: SocketAddr,
    socket: usize,
    started: Time,
}

/// An errand that waits for a place among the transfers in flight.
#[derive(Debug)]
struct Waiting {
    place: u32,
    token: u32,
    server: SocketAddr,
    file: Arc<str>,
}

impl Slot {
    /// Forgets everything that belongs to the boot before.
    fn begin_boot(&mut self, awaits_first_request: Option<Time>) {
        let transfers = self.transfers;
        *self = Slot { awaits_first_request, transfers, ..Slot::default() };
    }

    /// The errand with this token, if the phone still waits for it.
    fn errand(&mut self, token: u32) -> Option<&mut InFlight> {
        self.errand.as_mut().filter(|errand| errand.token == token)
    }

    /// The transfer that is under way, and its step.
    fn transfer(&mut self) -> Option<(&mut Transfer, StepKind)> {
        match self.errand.as_mut()? {
            InFlight { carrier: Carrier::Transfer(transfer), step, .. } => Some((transfer, *step)),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A planned boot.
    Boot,
    /// Somebody presses the button of this use.
    Press { of: u8 },
    /// Somebody has erased the lists, and the phone boots.
    Visit,
    /// The deadline of the transfer of the errand with this token.
    Transfer { token: u32 },
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
    pub fn new(
        plan: WorkerPlan,
        env: Env,
        phones: Vec<Phone>,
        clients: Clients,
    ) -> std::io::Result<Worker> {
        let ledger = Ledger::new(plan.slice);
        let shared = Arc::new(Shared {
            published: Mutex::new(ledger.clone()),
            commanded: AtomicU64::new(0),
            unsettled: AtomicU64::new(0),
            pressing: AtomicU64::new(0),
        });
        let mut worker = Worker {
            slots: phones.iter().map(|_| Slot::default()).collect(),
            homes: Homes::clone(&plan.homes),
            env,
            phones,
            lane: Lane {
                sockets: Sockets::new(None),
                transfers: 0,
                transfers_max: plan.transfers_in_flight,
                waiting: VecDeque::new(),
                out: Vec::new(),
                rooms: Vec::new(),
            },
            timers: BinaryHeap::new(),
            presses: Presses::default(),
            pressing: 0,
            messages: BTreeMap::new(),
            watches: Watches::default(),
            ledger,
            journal: Journal::new(plan.seed, plan.slice, plan.phones),
            board: Board {
                shared,
                planned_boots: 0,
                verified_before: 0,
                published_at: Time::ZERO,
                turn_at: plan.clock.now(),
            },
            plan,
            clients,
            sink: Sink::default(),
        };
        worker.open_sockets()?;
        Ok(worker)
    }

    /// What the driver may look at while the worker runs.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.board.shared)
    }

    /// Runs until it is told to stop; returns the phones and everything recorded.
    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut results: Results,
    ) -> (Vec<Phone>, Ledger, Journal) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut ready = Vec::new();
        loop {
            self.catch_up(&mut buffer);
            self.fire_timers();
            self.publish_if_due();
            let wake = self.plan.clock.instant_at(self.next_wake());
            let word = async {
                tokio::select! {
                    Some(result) = results.lookups.recv() => Word::Lookup(result),
                    Some(seen) = results.seen.recv() => Word::Seen(seen),
                    Some(result) = results.http.recv() => Word::Http(result),
                    command = commands.recv() => Word::Command(command),
                    () = tokio::time::sleep_until(wake) => Word::Due,
                }
            };
            match self.lane.sockets.wait(self.board.turn_at, &mut ready, word).await {
                None => ready.iter().for_each(|&socket| self.drain_socket(socket, &mut buffer)),
                Some(Word::Lookup(result)) => {
                    self.on_lookup(result);
                    for _ in 0..DATAGRAMS_PER_TURN {
                        let Ok(result) = results.lookups.try_recv() else { break };
                        self.on_lookup(result);
                    }
                }
                Some(Word::Seen(seen)) => {
                    let told = self.watches.on(seen);
                    self.tell(told);
                }
                Some(Word::Http(result)) => {
                    self.on_http(result);
                    for _ in 0..DATAGRAMS_PER_TURN {
                        let Ok(result) = results.http.try_recv() else { break };
                        self.on_http(result);
                    }
                }
                Some(Word::Command(command)) => match command {
                    Some(Command::Boot { from, spread, storm }) => {
                        self.plan_boots(from, spread, storm);
                    }
                    Some(Command::Visit { from, visits }) => self.plan_visits(from, &visits),
                    Some(Command::Drain) => self.drain_boots(),
                    Some(Command::Use { from }) => self.plan_presses(from),
                    Some(Command::Move(homes)) => {
                        self.plan.homes = homes;
                        // Phones that get no socket wait for a place, which is the generator's lack.
                        let _ = self.open_sockets();
                    }
                    Some(Command::Stop) | None => break,
                },
                Some(Word::Due) => {}
            }
        }
        self.close();
        self.publish();
        self.journal.end(self.plan.clock.now());
        (self.phones, self.ledger, self.journal)
    }

    fn now(&self) -> Time {
        self.plan.clock.now()
    }

    /// After a time without a turn, such as a stop of the whole program, answers that have come
    /// meanwhile are read before anybody's patience ends.
    fn catch_up(&mut self, buffer: &mut [u8]) {
        let (from, now) = (self.board.turn_at, self.now());
        self.board.turn_at = now;
        if now.since(from) < PAUSE_MIN + PUBLISH_EVERY {
            return;
        }
        self.ledger.note(now, &Notice::Stalled(Pause { from, to: now }));
        for socket in 0..self.lane.sockets.count() {
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
        let publish = self.board.published_at + PUBLISH_EVERY;
        self.timers.peek().map_or(publish, |Reverse((at, _, _))| (*at).min(publish))
    }

    fn plan_boots(&mut self, from: Time, spread: Span, storm: bool) {
        if storm {
            self.ledger.note(from, &Notice::StormBegan);
            self.journal.note(from, &Notice::StormBegan);
            self.board.verified_before = self.env.verifier.count();
        }
        for place in 0..self.phones.len() {
            let number = u64::from(self.phone_id(place).0);
            let offset = stream(self.plan.seed, number, Purpose::Arrival).unit();
            let planned = from + spread.fraction(offset);
            self.timers.push(Reverse((planned, place as u32, Timer::Boot)));
        }
        self.board.planned_boots += self.phones.len() as u64;
        self.ledger.note(from, &Notice::BootsPlanned);
        self.count_unsettled();
        self.board.shared.commanded.fetch_sub(1, Ordering::Release);
    }

    fn plan_visits(&mut self, from: Time, visits: &[Visit]) {
        for visit in visits {
            let Some(place) = self.plan.slice.place(visit.phone) else { continue };
            let timer = if visit.erases { Timer::Visit } else { Timer::Boot };
            self.timers.push(Reverse((from + visit.after, place as u32, timer)));
            self.hear_at(from, place, Incident::BootPlanned);
            self.board.planned_boots += 1;
        }
        self.count_unsettled();
        self.board.shared.commanded.fetch_sub(1, Ordering::Release);
    }

    /// Gives up the boots that have not begun: those phones are not reset.
    fn drain_boots(&mut self) {
        let is_boot = |timer: &Timer| matches!(timer, Timer::Boot | Timer::Visit);
        self.timers.retain(|Reverse((.., timer))| !is_boot(timer));
        self.board.planned_boots = 0;
        self.count_unsettled();
    }

    /// Opens the sockets that transfers with the servers of its phones need.
    fn open_sockets(&mut self) -> std::io::Result<()> {
        let Worker { plan, lane, phones, .. } = self;
        let homes = phones.iter().map(|phone| plan.homes.of(phone.id()));
        let nodes: BTreeSet<&NodeId> = homes.flat_map(|home| home.iter()).collect();
        let mut servers = nodes.into_iter().filter_map(|node| plan.files.get(node));
        servers.try_for_each(|server| lane.sockets.open(server.tftp, plan.transfers_in_flight))
    }

    fn fire_timers(&mut self) {
        let now = self.now();
        for _ in 0..TIMERS_PER_TURN {
            let first = self.timers.peek_mut();
            let Some(due) = first.filter(|first| first.0.0 <= now) else { return };
            let Reverse((at, place, timer)) = PeekMut::pop(due);
            let place = place as usize;
            match timer {
                Timer::Boot => self.boot(place, at),
                Timer::Visit => {
                    self.hear(place, Incident::ListsErased);
                    self.step(place, Input::EraseLists);
                    self.boot(place, at);
                }
                Timer::Press { of } => self.press(place, of, at),
                Timer::Phone { token } => self.step(place, Input::Timer { token }),
                Timer::Transfer { token } => self.on_deadline(place, token),
            }
        }
    }

    fn plan_presses(&mut self, from: Time) {
        let phones = self.phones.iter().map(Phone::id);
        self.presses = Presses::new(self.plan.seed, &self.plan.uses, from, phones);
        for next in self.presses.first() {
            self.plan_press(next);
        }
        self.count_pressing();
    }

    fn plan_press(&mut self, next: NextPress) {
        let NextPress { at, place, of } = next;
        self.timers.push(Reverse((at, place as u32, Timer::Press { of })));
        self.pressing += 1;
    }

    /// Somebody presses a button, which was planned for `planned`.
    fn press(&mut self, place: usize, of: u8, planned: Time) {
        if let Some(next) = self.presses.next(place, of) {
            self.plan_press(next);
        }
        self.hear(place, Incident::Late(self.now().since(planned)));
        self.step(place, Input::Press(self.presses.button(of)));
    }

    /// Tells the driver how many presses there will be or are.
    fn count_pressing(&mut self) {
        if self.pressing == 0 {
            self.publish();
        }
        self.board.shared.pressing.store(self.pressing, Ordering::Release);
    }

    /// A press has ended.
    fn pressed(&mut self, place: usize, end: PressEnd) {
        if end != PressEnd::Busy {
            self.slots[place].link = None;
        }
        self.pressing -= 1;
        self.count_pressing();
    }

    fn boot(&mut self, place: usize, planned: Time) {
        self.board.planned_boots -= 1;
        self.hear(place, Incident::BootBegan(planned));
        self.end_transfer(place);
        self.slots[place].begin_boot(Some(planned));
        self.watches.forget(place as u32);
        self.homes.learn(self.phone_id(place), &self.plan.homes);
        self.step(place, Input::Boot);
    }

    /// Tells the ledger what has happened to a phone just now.
    fn hear(&mut self, place: usize, incident: Incident<'_>) {
        self.hear_at(self.now(), place, incident);
    }

    fn hear_at(&mut self, at: Time, place: usize, incident: Incident<'_>) {
        let phone = self.phones[place].id();
        self.ledger.hear(phone, at, &incident);
        self.journal.hear(phone, at, &incident);
    }

    /// Feeds one input to a phone, records what happened and starts what it wants.
    fn step(&mut self, place: usize, input: Input<'_>) {
        let now = self.now();
        let mut sink = std::mem::take(&mut self.sink);
        self.phones[place].handle(&self.env, now, input, &mut sink);
        let mut settles = false;
        for fact in sink.facts.drain(..) {
            self.hear_at(now, place, Incident::Phone(fact));
            if matches!(fact, Fact::Settled { .. }) {
                (self.slots[place].link, self.slots[place].kept) = (None, None);
            }
            if let Fact::Pressed { end, .. } = fact {
                self.pressed(place, end);
            }
            settles |= fact.may_settle();
        }
        if settles {
            self.count_unsettled();
        }
        let mut told = Vec::new();
        for action in sink.actions.drain(..) {
            match action {
                Action::Wake { at, token } => {
                    self.timers.push(Reverse((at, place as u32, Timer::Phone { token })));
                }
                Action::HangUp => self.slots[place].kept = None,
                Action::Do(errand) => self.run_errand(place, now, errand),
                Action::Watch(watch) => {
                    let source = phone_address(self.phone_id(place));
                    let watcher = &self.clients.watcher;
                    told.push(self.watches.set(place as u32, *watch, source, watcher));
                }
            }
        }
        self.sink = sink;
        told.into_iter().for_each(|told| self.tell(told));
    }

    /// Tells phones what has become of the servers that they watch.
    fn tell(&mut self, told: Told) {
        for place in told.lost {
            self.step(place as usize, Input::Lost);
        }
        for place in told.reachable {
            self.step(place as usize, Input::Reachable);
        }
    }

    /// Tells the driver how many phones boot or are about to; the last one publishes first, so
    /// that whoever sees a settled fleet sees all of its numbers.
    fn count_unsettled(&mut self) {
        let unsettled = self.board.planned_boots + self.ledger.unsettled();
        if unsettled == 0 {
            self.publish();
        }
        self.board.shared.unsettled.store(unsettled, Ordering::Release);
    }

    fn run_errand(&mut self, place: usize, now: Time, errand: Errand) {
        let Errand { token, wanted, ask } = errand;
        let step = StepKind::of(&ask);
        match ask {
            Ask::File(request) => {
                // A session with TVS outlasts files over TFTP, which need no connection.
                let is_tftp = request.via == Transport::Tftp;
                self.slots[place].kept.take_if(|kept| !(is_tftp && kept.is_session()));
                let node = self.homes.node(self.phone_id(place), request.server);
                let server = node.and_then(|node| self.plan.files.get(&node)).copied();
                let Some(server) = server else {
                    return self.answer(place, token, Err(ErrandFault::NoServer));
                };
                self.hear_at(now, place, Incident::Turned(server.tftp.ip()));
                let slot = &mut self.slots[place];
                if std::mem::replace(&mut slot.server, request.server) != request.server {
                    slot.link = None;
                }
                if request.via != Transport::Tftp {
                    self.carry(place, token, step, wanted, Carrier::Http);
                    return self.ask_http(place, now, token, server, request);
                }
                self.carry(place, token, step, wanted, Carrier::Queued);
                let (file, tftp) = (request.file, server.tftp);
                let waiting = Waiting { place: place as u32, token, server: tftp, file };
                if self.lane.has_room(tftp) {
                    self.start_transfer(waiting, false);
                } else {
                    self.lane.waiting.push_back(waiting);
                }
            }
            Ask::Page(request) => {
                if !self.clients.lookups.permits(request.server) {
                    let fault = ErrandFault::Http(HttpFault::Connection);
                    return self.answer(place, token, Err(fault));
                }
                self.carry(place, token, step, wanted, Carrier::Http);
                let ticket = Ticket { phone: place, token, planned: now };
                self.link(place).ask(HttpJob::page(ticket, *request));
            }
            Ask::Name(name, mode) => {
                self.hear_at(now, place, Incident::NameAsked);
                let address = self.clients.lookups.resolve(&name, mode);
                self.answer(place, token, Ok(Answer::Address(address)));
            }
            Ask::Say(message) => {
                let turn = Turn::default();
                self.hear_at(now, place, Incident::Turned(message.server.ip()));
                self.carry(
                    place,
                    token,
                    step,
                    wanted,
                    Carrier::Dialogue(message.dialogue, turn.clone()),
                );
                // A phone that waits for TVS leaves its place to others.
                self.slots[place].link = None;
                let kept = self.slots[place].kept.take();
                *self.messages.entry(message.dialogue).or_default() += 1;
                let source = phone_address(self.phone_id(place));
                let ticket = Ticket { phone: place, token, planned: now };
                let job = DialogueJob { ticket, message, source, turn, kept };
                let results = self.clients.lookup_results.clone();
                let ask = self.clients.lookups.clone().ask(job, results);
                self.clients.lookup_runtime.spawn(ask);
            }
        }
    }

    fn carry(&mut self, place: usize, token: u32, step: StepKind, wanted: Time, by: Carrier) {
        self.slots[place].errand = Some(InFlight { token, step, wanted, carrier: by });
    }

    /// Tells a phone what came of its errand, which is over.
    fn answer(&mut self, place: usize, token: u32, result: Result<Answer<'_>, ErrandFault>) {
        self.slots[place].errand = None;
        self.step(place, Input::Answered { token, result });
    }

    fn ask_http(
        &mut self,
        place: usize,
        planned: Time,
        token: u32,
        server: FileServer,
        request: FileRequest,
    ) {
        let via = request.via;
        let ticket = Ticket { phone: place, token, planned };
        self.link(place).ask(HttpJob::file(ticket, server, request));
        self.hear_at(planned, place, Incident::Asked(via));
    }

    /// The link of a phone, which is made if it has none.
    fn link(&mut self, place: usize) -> &HttpLink {
        let source = phone_address(self.phone_id(place));
        self.slots[place].link.get_or_insert_with(|| self.clients.http.link(source))
    }

    /// A page came, or did not.
    fn on_page(&mut self, result: HttpResult) {
        let HttpResult { carried, certificate, .. } = result;
        let Carried {
            ticket: Ticket { phone: place, token, planned }, answer, started, ended, ..
        } = carried;
        let certificate = certificate.as_deref();
        let answer = match &answer {
            Ok(Some(body)) => Ok(Answer::Page { certificate, body }),
            Ok(None) => Ok(Answer::NoFile),
            Err(Fault::Ours(lack)) => {
                self.hear(place, Incident::Lacked(*lack));
                Err(ErrandFault::Lacked)
            }
            Err(Fault::Theirs(fault)) => {
                self.slots[place].link = None;
                match certificate {
                    Some(der) if *fault == HttpFault::CertificateRefused => {
                        Ok(Answer::Presented(der))
                    }
                    _ => Err(ErrandFault::Http(*fault)),
                }
            }
        };
        let end = StepEnd::answered(answer.is_ok());
        let step = StepKind::Page;
        self.hear_at(ended, place, Incident::Ended { step, end, planned, started });
        self.answer(place, token, answer);
    }

    fn on_http(&mut self, mut result: HttpResult) {
        let HttpResult { via, waited, connections, .. } = result;
        let (ticket, started) = (result.carried.ticket, result.carried.started);
        let lacks = std::mem::take(&mut result.carried.lacks);
        let Some(step) = self.came_back(ticket, lacks) else { return };
        let Ticket { phone: place, token, planned } = ticket;
        self.begun(place, Queue::Connections, started, waited.then_some(planned));
        if step == StepKind::Page {
            return self.on_page(result);
        }
        let Carried { answer, ended, .. } = result.carried;
        self.hear(place, Incident::Connected(via, connections));
        match answer {
            Ok(file) => {
                let end = if file.is_some() { StepEnd::Ok } else { StepEnd::NotFound };
                self.hear_at(ended, place, Incident::Ended { step, end, planned, started });
                self.on_file(place, token, via, file.as_deref());
            }
            Err(Fault::Ours(lack)) => {
                self.hear(place, Incident::Lacked(lack));
                self.give_up(place, lack);
            }
            Err(Fault::Theirs(fault)) => {
                self.slots[place].link = None;
                self.hear_at(ended, place, Incident::Silent { step, from: started });
                self.hear(place, Incident::Failed(via, step));
                self.answer(place, token, Err(ErrandFault::Http(fault)));
            }
        }
    }

    /// An errand has come back from elsewhere: its step, unless the phone was reset meanwhile and
    /// does not wait for it any more.
    fn came_back(&mut self, ticket: Ticket, lacks: Vec<Lack>) -> Option<StepKind> {
        lacks.into_iter().for_each(|lack| self.hear(ticket.phone, Incident::Lacked(lack)));
        self.slots[ticket.phone].errand(ticket.token).map(|errand| errand.step)
    }

    /// A request began at `at`: the first one of a boot, or one that waited since `queued`.
    fn begun(&mut self, place: usize, queue: Queue, at: Time, queued: Option<Time>) {
        let planned = self.slots[place].awaits_first_request.take();
        let due = planned.map(|planned| planned + self.phones[place].boot_time(&self.env));
        if let Some(since) = due.or(queued) {
            self.waited(place, queue, at.since(since));
        }
    }

    /// A server has brought a file, or said that there is none.
    fn on_file(&mut self, place: usize, token: u32, via: Transport, file: Option<&[u8]>) {
        if let Some(bytes) = file {
            self.hear(place, Incident::Arrived(via, bytes.len() as u64));
            self.answer(place, token, Ok(Answer::File(bytes)));
        } else {
            self.hear(place, Incident::Missing(via));
            self.answer(place, token, Ok(Answer::NoFile));
        }
    }

    /// Begins a transfer, which was `queued` or found a place at once.
    fn start_transfer(&mut self, waiting: Waiting, queued: bool) {
        let (place, token, server) = (waiting.place as usize, waiting.token, waiting.server);
        let request = self.phones[place].download(&self.env, waiting.file);
        let phone = self.phone_id(place);
        let slot = &mut self.slots[place];
        slot.transfers = slot.transfers.wrapping_add(1);
        let socket = self.lane.sockets.take(place, slot.transfers, server);
        let now = self.plan.clock.now();
        let mut download = Download::start(request, now, &mut self.lane.out);
        download.collect_in(self.lane.rooms.pop().unwrap_or_default());
        let lack = self.lane.sockets.send(socket, phone, server, &self.lane.out);
        let slot = &mut self.slots[place];
        let wanted = slot.errand(token).map_or(now, |errand| errand.wanted);
        self.begun(place, Queue::Transfers, now, queued.then_some(wanted));
        if let Some(lack) = lack {
            self.hear(place, Incident::Lacked(lack));
        }
        let deadline = (download.deadline(), waiting.place, Timer::Transfer { token });
        self.timers.push(Reverse(deadline));
        let transfer = Transfer { download, server, socket, started: now };
        if let Some(errand) = self.slots[place].errand(token) {
            errand.carrier = Carrier::Transfer(Box::new(transfer));
        }
        self.lane.transfers += 1;
        self.hear(place, Incident::Asked(Transport::Tftp));
        self.ledger.note(now, &Notice::TransfersInFlight(self.lane.transfers as u64));
    }

    /// Takes the transfer of a phone away and lets the next one begin.
    fn end_transfer(&mut self, place: usize) -> Option<(InFlight, Box<Transfer>)> {
        let slot = &mut self.slots[place];
        slot.transfer()?;
        let mut errand = slot.errand.take()?;
        let Carrier::Transfer(transfer) = std::mem::replace(&mut errand.carrier, Carrier::Queued)
        else {
            return None;
        };
        self.lane.sockets.give_back(transfer.socket);
        self.lane.transfers -= 1;
        while let Some(next) = self.lane.waiting.front()
            && self.lane.has_room(next.server)
            && let Some(next) = self.lane.waiting.pop_front()
        {
            if self.slots[next.place as usize].errand(next.token).is_some() {
                self.start_transfer(next, true);
            }
        }
        Some((errand, transfer))
    }

    fn drain_socket(&mut self, socket: usize, buffer: &mut [u8]) {
        for _ in 0..DATAGRAMS_PER_TURN {
            let Some(received) = self.lane.sockets.receive(socket, buffer) else { return };
            match received {
                Received::Datagram { phone, socket, from, length } => {
                    if let Some(place) = self.place(phone) {
                        self.on_datagram(place, socket, from, &buffer[..length]);
                    }
                }
                Received::Refused { phone, socket } => {
                    if let Some(place) = self.place(phone) {
                        self.on_refused(place, socket);
                    }
                }
                Received::Other => {}
            }
        }
    }

    fn on_datagram(&mut self, place: usize, socket: usize, from: SocketAddr, bytes: &[u8]) {
        let now = self.plan.clock.now();
        let Some((transfer, _)) = self.slots[place].transfer() else { return };
        if transfer.socket != socket || transfer.server.ip() != from.ip() {
            // A stranger, or late, of an earlier transfer, which had another socket or server.
            return;
        }
        let progress = transfer.download.on_datagram(bytes, from.port(), now, &mut self.lane.out);
        self.progress(place, from, progress);
    }

    /// A late word of an earlier transfer, which may have been with another server, came on another
    /// socket.
    fn on_refused(&mut self, place: usize, socket: usize) {
        let is_of = |transfer: &Transfer| {
            transfer.socket == socket && transfer.download.peer_port().is_none()
        };
        if self.slots[place].transfer().is_some_and(|(transfer, _)| is_of(transfer)) {
            let outcome = DownloadOutcome::Failed(TransferFault::Refused);
            self.finish_transfer(place, outcome);
        }
    }

    fn on_deadline(&mut self, place: usize, token: u32) {
        let now = self.plan.clock.now();
        let slot = &mut self.slots[place];
        if slot.errand(token).is_none() {
            return;
        }
        let Some((transfer, _)) = slot.transfer() else { return };
        let again = |at| Reverse((at, place as u32, Timer::Transfer { token }));
        let download = &mut transfer.download;
        if download.deadline() > now {
            return self.timers.push(again(download.deadline()));
        }
        let progress = download.on_timeout(now, &mut self.lane.out);
        let mut to = transfer.server;
        to.set_port(download.peer_port().unwrap_or(to.port()));
        if !matches!(progress, Progress::Finished(_)) {
            self.timers.push(again(download.deadline()));
        }
        self.progress(place, to, progress);
    }

    /// Sends what a transfer wants sent, and ends it if it is over.
    fn progress(&mut self, place: usize, to: SocketAddr, progress: Progress) {
        let phone = self.phone_id(place);
        let Some((transfer, step)) = self.slots[place].transfer() else { return };
        if progress == Progress::Stray {
            return;
        }
        if !self.lane.out.is_empty() {
            let lack = self.lane.sockets.send(transfer.socket, phone, to, &self.lane.out);
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
        let Some((errand, transfer)) = self.end_transfer(place) else { return };
        let end = match outcome {
            DownloadOutcome::Complete(_) => StepEnd::Ok,
            DownloadOutcome::NotFound => StepEnd::NotFound,
            DownloadOutcome::Failed(_) => StepEnd::Failed,
        };
        let now = self.now();
        let InFlight { token, step, wanted: planned, .. } = errand;
        let started = transfer.started;
        self.hear_at(now, place, Incident::Ended { step, end, planned, started });
        match outcome {
            DownloadOutcome::Complete(bytes) => {
                self.on_file(place, token, Transport::Tftp, Some(&bytes));
                self.lane.keep_room(bytes);
            }
            DownloadOutcome::NotFound => {
                self.lane.keep_room(transfer.download.into_room());
                self.on_file(place, token, Transport::Tftp, None);
            }
            DownloadOutcome::Failed(fault) => {
                self.hear(place, Incident::Failed(Transport::Tftp, step));
                self.hear_at(now, place, Incident::Silent { step, from: started });
                if let TransferFault::Error(_) | TransferFault::Protocol(_) = fault {
                    let remark = transfer.download.remark().unwrap_or_default();
                    self.hear(place, Incident::Said(fault, remark));
                }
                self.answer(place, token, Err(ErrandFault::Tftp(fault)));
            }
        }
    }

    fn on_lookup(&mut self, (dialogue, carried): DialogueResult) {
        let Carried { ticket, answer, started, lacks, ended } = carried;
        self.messages.entry(dialogue).and_modify(|under_way| *under_way -= 1);
        let Some(step) = self.came_back(ticket, lacks) else { return };
        let Ticket { phone: place, token, planned } = ticket;
        self.waited(place, Queue::of(dialogue), started.since(planned));
        let answer = match answer {
            Err(Fault::Ours(lack)) => {
                self.hear(place, Incident::Lacked(lack));
                if !self.is_booting(place) {
                    return self.answer(place, token, Err(ErrandFault::Lacked));
                }
                return self.give_up(place, lack);
            }
            Err(Fault::Theirs(fault)) => {
                self.hear_at(ended, place, Incident::Silent { step, from: started });
                Err(ErrandFault::Dialogue(fault))
            }
            Ok((bytes, kept)) => {
                self.slots[place].kept = kept;
                Ok(bytes)
            }
        };
        let end = StepEnd::answered(answer.is_ok());
        self.hear_at(ended, place, Incident::Ended { step, end, planned, started });
        self.answer(place, token, answer.as_deref().map(Answer::Said).map_err(|&fault| fault));
    }

    /// Whether a phone boots; else what it does is of a press.
    fn is_booting(&self, place: usize) -> bool {
        self.ledger.phone(self.phone_id(place)).is_some_and(|record| record.booting)
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
        self.slots[place].begin_boot(None);
        self.hear(place, Incident::GivenUp(lack));
        self.count_unsettled();
    }

    /// The run is over: phones that wait for a place, that waited longer for it than they had it,
    /// or whose boot was due and did not begin, were never let go. What is under way is a silence.
    fn close(&mut self) {
        let now = self.now();
        let overdue: Vec<(Time, usize)> = std::mem::take(&mut self.timers)
            .into_iter()
            .filter(|Reverse((at, _, timer))| {
                matches!(timer, Timer::Boot | Timer::Visit) && now.since(*at) > OVERDUE
            })
            .map(|Reverse((at, place, _))| (at, place as usize))
            .collect();
        for (planned, place) in overdue {
            self.hear(place, Incident::Late(now.since(planned)));
            self.hear(place, Incident::BootBegan(planned));
            self.give_up(place, Lack::Cpu);
        }
        for waiting in std::mem::take(&mut self.lane.waiting) {
            let place = waiting.place as usize;
            if let Some(wanted) = self.slots[place].errand(waiting.token).map(|own| own.wanted) {
                self.never_let_go(place, Queue::Transfers, wanted);
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
        let Some(InFlight { step, wanted, carrier, .. }) = &slot.errand else { return };
        let (queue, begun) = match carrier {
            Carrier::Queued => (Queue::Transfers, None),
            Carrier::Transfer(transfer) => (Queue::Transfers, Some(transfer.started)),
            Carrier::Http => {
                (Queue::Connections, slot.link.as_ref().and_then(|link| link.turn().begun()))
            }
            Carrier::Dialogue(dialogue, turn) => (Queue::of(*dialogue), turn.begun()),
        };
        let step = *step;
        let Some(begun) = begun else { return self.never_let_go(place, queue, *wanted) };
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
        if self.now().since(self.board.published_at) >= PUBLISH_EVERY {
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.board.published_at = self.now();
        let verified = self.env.verifier.count() - self.board.verified_before;
        let mut in_flight = BTreeMap::new();
        for slot in &self.slots {
            let files = slot.errand.as_ref().filter(|errand| errand.step.is_file());
            let carried = files.filter(|errand| !matches!(errand.carrier, Carrier::Queued));
            if let Some(errand) = carried {
                *in_flight.entry(errand.step).or_default() += 1;
            }
        }
        for (&dialogue, &under_way) in &self.messages {
            in_flight.insert(StepKind::Dialogue(dialogue), under_way);
        }
        in_flight.insert(StepKind::Boot, self.ledger.booting());
        self.ledger.read(verified, in_flight);
        let mut published =
            self.board.shared.published.lock().expect("nobody panics while reading it");
        published.clone_from(&self.ledger);
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialogue::DialogueLimits;
    use super::*;
    use crate::base::{ClusterId, Home};
    use crate::net::TlsClients;
    use crate::phone::{PhoneProfile, Step, Verifier};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_phone_asks_the_server_at_the_place_of_its_list_that_it_names() {
        let nodes = [0, 1].map(|node| ClusterId::FIRST.node(node));
        let at = |node: NodeId| SocketAddr::from(([127, 0, 0, 1 + node.node], 9));
        let server = |node| (node, FileServer { tftp: at(node), http: at(node), https: at(node) });
        let (clock, second) = (Clock::start(), Span::from_secs(1));
        let plan = WorkerPlan {
            slice: Slice::whole(1),
            phones: 1,
            seed: 1,
            homes: Arc::new(Homes::dealt(vec![Home::from(nodes)])),
            files: Arc::new(nodes.into_iter().map(server).collect()),
            transfers_in_flight: 9,
            uses: Arc::new([]),
            clock,
        };
        let (lookup_results, _lookups) = mpsc::unbounded_channel();
        let (results, _http) = mpsc::unbounded_channel();
        let (runtime, budget) = (Handle::current(), Arc::new(Semaphore::new(1)));
        let limits = DialogueLimits { lookups: 1, registrations: 1 };
        let clients = Clients {
            lookups: DialogueClient::new(
                clock,
                limits,
                second,
                BTreeMap::new(),
                Vec::new(),
                Arc::default(),
            ),
            lookup_runtime: runtime.clone(),
            lookup_results,
            watcher: Watcher {
                client: DialogueClient::new(
                    clock,
                    limits,
                    second,
                    BTreeMap::new(),
                    Vec::new(),
                    Arc::default(),
                ),
                runtime: Handle::current(),
                seen: mpsc::unbounded_channel().0,
            },
            http: HttpClient {
                tls: TlsClients::default(),
                clock,
                budget,
                timeout: second,
                runtime,
                results,
            },
        };
        let profile = Arc::new(PhoneProfile::default());
        let env = Env { profile, shared: Arc::default(), verifier: Verifier::real() };
        let phones = vec![Phone::new(PhoneId(0), 8841)];
        let mut worker = Worker::new(plan, env, phones, clients).unwrap();
        let mut asks = |token, server, via| {
            let (step, file) = (Step::Itl, "ITLFile.tlv".into());
            let request = FileRequest { step, file, via, server, trust: None };
            let errand = Errand { token, wanted: Time::ZERO, ask: Ask::File(request) };
            worker.run_errand(0, Time::ZERO, errand);
            let slot = &mut worker.slots[0];
            (slot.transfer().map(|(transfer, _)| transfer.server), slot.link.is_some())
        };
        let [one, two] = nodes.map(at);
        assert_eq!(asks(1, 0, Transport::Http), (None, true));
        assert_eq!(asks(2, 0, Transport::Tftp), (Some(one), true));
        assert_eq!(
            asks(3, 1, Transport::Tftp),
            (Some(two), false),
            "the connection is with another"
        );
        assert_eq!(asks(4, 2, Transport::Tftp), (None, false), "nobody is asked");
    }

    #[test]
    fn a_wave_that_is_commanded_while_the_last_phone_settles_is_not_missed() {
        let shared = Shared {
            published: Mutex::new(Ledger::new(Slice::whole(1))),
            commanded: AtomicU64::new(0),
            unsettled: AtomicU64::new(1),
            pressing: AtomicU64::new(0),
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
