mod order;
mod talks;
mod transfers;

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::base::{PhoneId, Span, Time};
use crate::measure::{Ended, LoadFault, LoadRecorder, ThreadKind};
use crate::net::Clock;
use crate::net::fleet::Sockets;
use crate::net::threads::{self, OwnRuntime, StartError};
use crate::transfer::Download;
use crate::wire::tftp::{ErrorCode, Packet};

use super::schedule::Starts;
use super::workload::{Failure, Got, Op, Reading, What, Workload};

pub use order::{Command, Gauge, Learning, Order, Source, Sources, Target};

/// One thread of the generator: planned starts, transfers, and the tasks of TCP requests.
pub struct Engine {
    /// Its number, and how many there are.
    share: (u32, u32),
    clock: Clock,
    target: Arc<Target>,
    workload: Option<Arc<Workload>>,
    sockets: Option<Sockets>,
    places: Places,
    deadlines: BinaryHeap<Reverse<(Time, u32, u32)>>,
    load: Option<Load>,
    probes: Probes,
    answers: mpsc::UnboundedSender<Answer>,
    gauge: Arc<Gauge>,
    out: Vec<u8>,
}

/// A place for one start in flight, with an address of its own.
#[derive(Debug, Default)]
struct Slot {
    /// Counts the requests of this place: timers and answers of an earlier one are stale.
    generation: u32,
    /// Counts its transfers: each has another address and port than those before it.
    turn: u32,
    work: Option<Box<Work>>,
}

/// One start in flight.
#[derive(Debug)]
struct Work {
    ordinal: u64,
    planned: Time,
    started: Time,
    ops: Vec<Arc<Op>>,
    /// Which of them is being asked.
    at: usize,
    is_probe: bool,
    /// Whether anything came back.
    heard: bool,
    transfer: Option<Transfer>,
    /// Whether a request was asked again because its answer may have been a stranger's.
    asked_again: bool,
    task: Option<AbortHandle>,
}

impl Work {
    fn new(
        ordinal: u64,
        (planned, started): (Time, Time),
        ops: Vec<Arc<Op>>,
        is_probe: bool,
    ) -> Box<Work> {
        Box::new(Work {
            ordinal,
            planned,
            started,
            ops,
            at: 0,
            is_probe,
            heard: false,
            transfer: None,
            asked_again: false,
            task: None,
        })
    }
}

/// A read over TFTP.
#[derive(Debug)]
struct Transfer {
    download: Download,
    socket: usize,
    reading: Reading,
}

/// The level of load that is offered now.
struct Load {
    order: Order,
    starts: Starts,
    next: Option<(u64, Time)>,
    /// Planned starts without a place.
    waiting: VecDeque<(u64, Time)>,
    recorder: LoadRecorder,
    done: oneshot::Sender<LoadRecorder>,
    give_up: Time,
}

/// What wakes an engine beside its sockets.
enum Word {
    Answer(Answer),
    /// `None` if the driver is gone.
    Command(Option<Command>),
    /// Something is due.
    Due,
}

/// What a task of TCP requests brings.
struct Answer {
    slot: u32,
    generation: u32,
    got: Result<Got, Failure>,
    /// Whether more answers follow from the same task.
    last: bool,
}

/// Places for what is in flight.
#[derive(Debug)]
struct Places {
    slots: Vec<Slot>,
    /// Those without work; the one that has rested longest is used next.
    free: VecDeque<u32>,
    in_flight: usize,
}

/// Requests that find out whether the server still answers.
#[derive(Debug)]
struct Probes {
    slots: VecDeque<u32>,
    op: Option<Arc<Op>>,
    /// When the next one is due.
    at: Time,
    /// Wait for the answer to one before the next one is sent.
    gap: Span,
}

/// Places for probes: more than are sent, at growing distances, while a server recovers.
pub const PROBES: usize = 16;
/// Smallest distance of probes that are answered (choice). One that has no answer doubles it, a
/// late answer makes it as long as that took, so that a slow server is not kept busy by probes.
const PROBE_EVERY: Span = Span::from_millis(250);
/// Largest distance of probes (choice).
const PROBE_GAP_MAX: Span = Span::from_secs(8);
/// Datagrams that are taken from one socket, and starts that are begun, in one turn.
const PER_TURN: usize = 256;
/// Longest datagram: a block of the largest size with its header.
const DATAGRAM_MAX: usize = 65_468;
/// What is in flight is given up so long after the load was cut.
const CUT_DRAIN: Span = Span::from_millis(250);

impl Engine {
    /// An engine at rest; what its tasks bring comes from the receiver. Must be called within the
    /// runtime that will run it.
    fn new(
        share: (u32, u32),
        clock: Clock,
        target: Arc<Target>,
        places: usize,
        gauge: Arc<Gauge>,
    ) -> io::Result<(Engine, mpsc::UnboundedReceiver<Answer>)> {
        let sockets = match target.tftp {
            Some(server) => {
                let mut sockets = Sockets::new(target.first_source(server));
                sockets.open(server, places + PROBES)?;
                Some(sockets)
            }
            None => None,
        };
        // Where phones share an address each transfer has a socket of its own.
        let room = sockets.as_ref().and_then(Sockets::capacity);
        let places = room.map_or(places, |room| places.min(room.saturating_sub(PROBES)));
        let (answers, receiver) = mpsc::unbounded_channel();
        let all = (places + PROBES) as u32;
        let engine = Engine {
            share,
            clock,
            target,
            workload: None,
            sockets,
            places: Places {
                slots: (0..all).map(|_| Slot::default()).collect(),
                free: (0..places as u32).collect(),
                in_flight: 0,
            },
            deadlines: BinaryHeap::new(),
            load: None,
            probes: Probes {
                slots: (places as u32..all).collect(),
                op: None,
                at: Time::ZERO,
                gap: PROBE_EVERY,
            },
            answers,
            gauge,
            out: Vec::new(),
        };
        Ok((engine, receiver))
    }

    /// Runs until the driver is gone.
    async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut answers: mpsc::UnboundedReceiver<Answer>,
    ) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut ready = Vec::new();
        loop {
            self.turn();
            let wake = self.clock.instant_at(self.next_wake());
            let word = async {
                tokio::select! {
                    Some(answer) = answers.recv() => Word::Answer(answer),
                    command = commands.recv() => Word::Command(command),
                    () = tokio::time::sleep_until(wake) => Word::Due,
                }
            };
            let now = self.clock.now();
            let heard = match &mut self.sockets {
                Some(sockets) => sockets.wait(now, &mut ready, word).await,
                None => Some(word.await),
            };
            match heard {
                None => ready.iter().for_each(|&socket| self.drain_socket(socket, &mut buffer)),
                Some(Word::Answer(answer)) => {
                    self.on_answer(answer);
                    for _ in 0..PER_TURN {
                        let Ok(answer) = answers.try_recv() else { break };
                        self.on_answer(answer);
                    }
                }
                Some(Word::Command(Some(command))) => self.obey(command),
                Some(Word::Command(None)) => return,
                Some(Word::Due) => {}
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Load(order, done) => self.begin_load(order, done),
            Command::Cut => {
                let now = self.now();
                if let Some(load) = &mut self.load {
                    load.next = None;
                    load.waiting.clear();
                    load.recorder.cut(now);
                    load.give_up = load.give_up.min(now + CUT_DRAIN);
                }
            }
            Command::Probe(probe) => {
                self.probes.op = probe;
                self.probes.at = self.now();
            }
        }
    }

    fn begin_load(&mut self, order: Order, done: oneshot::Sender<LoadRecorder>) {
        let worker = u64::from(self.share.0);
        let mut starts =
            Starts::new(order.offer, order.from, worker, u64::from(self.share.1), order.seed);
        let until = order.from + order.offer.length();
        if let Source::Workload(workload) = &order.source {
            self.workload = Some(Arc::clone(workload));
        }
        self.load = Some(Load {
            next: starts.next(),
            starts,
            waiting: VecDeque::new(),
            recorder: LoadRecorder::warmed_up(order.from, order.from + order.warm_up, until),
            done,
            give_up: until + order.drain,
            order,
        });
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    /// Everything that is due.
    fn turn(&mut self) {
        let now = self.now();
        for _ in 0..PER_TURN {
            let first = self.deadlines.peek_mut();
            let Some(due) = first.filter(|first| first.0.0 <= now) else { break };
            let Reverse((_, slot, generation)) = PeekMut::pop(due);
            self.on_deadline(slot, generation);
        }
        for _ in 0..PER_TURN {
            if !self.start_next() {
                break;
            }
        }
        // While there is load its own answers say that the server is there: probes would be load.
        if self.load.is_none() && self.probes.op.is_some() && now >= self.probes.at {
            self.probes.at = now + self.probes.gap;
            self.probes.gap = self.probes.gap.times(2).min(PROBE_GAP_MAX);
            self.send_probe(now);
        }
        self.end_load_if_over(now);
    }

    fn next_wake(&self) -> Time {
        let deadline = self.deadlines.peek().map(|Reverse((at, _, _))| *at);
        let start = self.load.as_ref().and_then(|load| load.next).map(|(_, at)| at);
        let give_up = self.load.as_ref().map(|load| load.give_up);
        let probe = self.probes.op.as_ref().filter(|_| self.load.is_none()).map(|_| self.probes.at);
        let all = [deadline, start, give_up, probe];
        all.into_iter().flatten().min().unwrap_or(Time::NEVER)
    }

    /// Begins the next planned start if it is due; without a place it has to wait.
    fn start_next(&mut self) -> bool {
        let now = self.now();
        let Some(load) = &mut self.load else { return false };
        let Some((ordinal, planned)) = load.next.filter(|(_, at)| *at <= now) else { return false };
        load.next = load.starts.next();
        load.recorder.plan(planned);
        if self.places.in_flight < load.order.places && !self.places.free.is_empty() {
            self.start(ordinal, planned, false);
        } else {
            load.waiting.push_back((ordinal, planned));
        }
        true
    }

    fn start(&mut self, ordinal: u64, planned: Time, waited: bool) {
        let now = self.now();
        let Some(load) = &mut self.load else { return };
        let ops = match &load.order.source {
            Source::Workload(workload) => workload.item(ordinal),
            Source::Each { ops, .. } => {
                ops.get(ordinal as usize).map(|op| vec![Arc::clone(op)]).unwrap_or_default()
            }
        };
        let Some(slot) = self.places.free.pop_front() else { return };
        self.places.in_flight += 1;
        load.recorder.start(planned, now, waited);
        load.recorder.in_flight(self.places.in_flight as u64);
        let gauge = &self.gauge;
        gauge.in_flight.store(self.places.in_flight as u64, Ordering::Relaxed);
        if self.places.in_flight == 1 {
            // Silence is counted from the first request after a rest.
            gauge.heard_ns.fetch_max(now.as_nanos(), Ordering::Relaxed);
        }
        let times = (planned, now);
        self.places.slots[slot as usize].work = Some(Work::new(ordinal, times, ops, false));
        self.ask(slot);
    }

    /// Sends a probe; the oldest one is given up if all places are taken.
    fn send_probe(&mut self, now: Time) {
        let (Some(op), Some(slot)) = (self.probes.op.clone(), self.probes.slots.pop_front()) else {
            return;
        };
        self.probes.slots.push_back(slot);
        self.release(slot);
        let work = Work::new(slot.into(), (now, now), vec![op], true);
        self.places.slots[slot as usize].work = Some(work);
        self.ask(slot);
    }

    /// Asks the present request of a place, or ends the start if there is none left.
    fn ask(&mut self, slot: u32) {
        let Some(work) = &self.places.slots[slot as usize].work else { return };
        let Some(op) = work.ops.get(work.at).cloned() else { return self.finish(slot, None, None) };
        if !work.is_probe
            && let Some(load) = &mut self.load
            && load.recorder.counts(work.planned)
        {
            load.recorder.traffic.requests += 1;
        }
        match &op.what {
            What::File(name) if self.sockets.is_some() => self.transfer(slot, Arc::clone(name)),
            _ => self.talk(slot),
        }
    }

    /// The address of a place: the number of a virtual phone. Each turn of a place has another
    /// one, as long as there are any, and each time they are used up another port.
    fn phone(&self, slot: u32) -> PhoneId {
        let turn = self.places.slots[slot as usize].turn % self.turns();
        PhoneId(turn * self.lanes() + slot * self.share.1 + self.share.0)
    }

    /// Addresses of one turn of all places of all threads.
    fn lanes(&self) -> u32 {
        self.places.slots.len() as u32 * self.share.1
    }

    /// Turns until an address comes again.
    fn turns(&self) -> u32 {
        (self.target.addresses() / self.lanes()).max(1)
    }

    /// The server was heard.
    fn hear(&mut self, slot: u32) {
        self.gauge.heard_ns.store(self.clock.now().as_nanos(), Ordering::Relaxed);
        if let Some(work) = &mut self.places.slots[slot as usize].work {
            work.heard = true;
        }
    }

    /// A request has ended; the next one goes on in the same task or is asked now.
    fn on_got(&mut self, slot: u32, got: Result<Got, Failure>, same_task: bool) {
        let Some(work) = &mut self.places.slots[slot as usize].work else { return };
        let session = session_id(work.ordinal);
        if !work.is_probe
            && let Some(Load { order: Order { source: Source::Each { told, .. }, .. }, .. }) =
                &self.load
        {
            let fault = got.as_ref().err().map(|why| why.fault);
            // The driver may have given up waiting.
            let _ = told.send(Learning { index: work.ordinal as usize, got });
            return self.finish(slot, fault, None);
        }
        if self.may_be_a_strangers(slot, &got) {
            return self.ask_again(slot);
        }
        let Some(work) = &mut self.places.slots[slot as usize].work else { return };
        if let Ok(Got::Enrolled(Some(want))) = &got
            && let Some(load) = &mut self.load
        {
            load.recorder.leave_unchecked(want.clone());
        }
        let checked = match got {
            Ok(got) => match work.ops.get(work.at) {
                Some(op) => op.check(&got, session).map_err(|(fault, words)| (fault, Some(words))),
                None => Ok(()),
            },
            Err(Failure { fault, said }) => Err((fault, said)),
        };
        if let Err((fault, words)) = checked {
            return self.finish(slot, Some(fault), words);
        }
        work.at += 1;
        work.asked_again = false;
        if work.at >= work.ops.len() || !same_task {
            return self.ask(slot);
        }
        let counts = self.load.as_ref().is_some_and(|load| load.recorder.counts(work.planned));
        if let Some(load) = self.load.as_mut().filter(|_| counts) {
            load.recorder.traffic.requests += 1;
        }
    }

    /// A start has ended: it is counted and its place is free.
    fn finish(&mut self, slot: u32, fault: Option<LoadFault>, words: Option<String>) {
        let now = self.now();
        let Some(work) = self.release(slot) else { return };
        let gauge = &self.gauge;
        if work.is_probe {
            if fault.is_none_or(LoadFault::is_wrong_answer) {
                gauge.probes_ok.fetch_add(1, Ordering::Relaxed);
                let took = now.since(work.started);
                gauge.probe_took_ns.store(took.as_nanos(), Ordering::Relaxed);
                gauge.answered_ns.fetch_max(work.started.as_nanos(), Ordering::Relaxed);
                self.probes.gap = PROBE_EVERY.max(took).min(PROBE_GAP_MAX);
                self.probes.at = self.probes.at.min(now + self.probes.gap);
            }
            return;
        }
        self.places.free.push_back(slot);
        self.places.in_flight -= 1;
        gauge.in_flight.store(self.places.in_flight as u64, Ordering::Relaxed);
        gauge.ended.fetch_add(1, Ordering::Relaxed);
        gauge.failed.fetch_add(u64::from(fault.is_some()), Ordering::Relaxed);
        if fault.is_none() {
            gauge.answered_ns.fetch_max(work.started.as_nanos(), Ordering::Relaxed);
        }
        let Some(load) = &mut self.load else { return };
        let is_slow = now.since(work.planned) > load.order.slow;
        gauge.slow.fetch_add(u64::from(is_slow), Ordering::Relaxed);
        let ended = Ended { planned: work.planned, started: work.started, ended: now, fault };
        load.recorder.end(&ended, words);
        if let Some((ordinal, planned)) = load.waiting.pop_front() {
            self.start(ordinal, planned, true);
        }
    }

    /// Takes the work out of a place; its transfer and task are over.
    fn release(&mut self, slot: u32) -> Option<Box<Work>> {
        let phone = self.phone(slot);
        let place = &mut self.places.slots[slot as usize];
        place.generation += 1;
        let mut work = place.work.take()?;
        let transfer = work.transfer.take();
        if let (Some(Transfer { download, socket, .. }), Some(sockets), Some(server)) =
            (transfer, self.sockets.as_mut(), self.target.tftp)
        {
            if let Some(port) = download.peer_port() {
                // The server need not send to somebody who has gone.
                let mut bytes = Vec::new();
                Packet::Error { code: ErrorCode::NOT_DEFINED, message: b"" }.encode(&mut bytes);
                sockets.send(socket, phone, SocketAddr::new(server.ip(), port), &bytes);
            }
            sockets.give_back_unended(socket);
        }
        if let Some(task) = work.task.take() {
            task.abort();
        }
        Some(work)
    }

    fn end_load_if_over(&mut self, now: Time) {
        let Some(load) = &mut self.load else { return };
        let idle = load.next.is_none() && load.waiting.is_empty() && self.places.in_flight == 0;
        if !idle && now < load.give_up {
            return;
        }
        load.waiting.clear();
        for slot in 0..self.places.slots.len() as u32 {
            let work = self.places.slots[slot as usize].work.as_ref().filter(|work| !work.is_probe);
            if let Some(heard) = work.map(|work| work.heard) {
                let fault = if heard { LoadFault::Unfinished } else { LoadFault::Silence };
                self.finish(slot, Some(fault), None);
            }
        }
        if let Some(load) = self.load.take() {
            (self.probes.at, self.probes.gap) = (now, PROBE_EVERY);
            // The driver may have been interrupted.
            let _ = load.done.send(load.recorder);
        }
    }
}

/// The session id of a question; the first ones of a phone are near 1,000.
fn session_id(ordinal: u64) -> u32 {
    1_001u32.wrapping_add(ordinal as u32)
}

/// Starts the thread of an engine: number `share.0` of `share.1`, with at most `places` starts in
/// flight. Others may look at `gauge`.
pub fn start(
    share: (u32, u32),
    clock: Clock,
    target: Arc<Target>,
    places: usize,
    gauge: Arc<Gauge>,
) -> Result<mpsc::UnboundedSender<Command>, StartError> {
    let name = ThreadKind::Load.numbered(share.0);
    let runtime = OwnRuntime::of_one_thread(&name)?;
    let (engine, answers) = {
        let _inside = runtime.enter();
        let failed = |cause| StartError { thread: name.clone(), cause };
        Engine::new(share, clock, target, places, gauge).map_err(failed)?
    };
    let (commands, receiver) = mpsc::unbounded_channel();
    threads::spawn(&name, move || runtime.block_on(engine.run(receiver, answers)))?;
    Ok(commands)
}
