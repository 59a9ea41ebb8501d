use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;

use foldhash::fast::RandomState;

use crate::base::{Span, Time};
use crate::wire::tftp::Options;

use super::upload::{Content, Reply, Upload};

/// Sockets of a server that carry transfers; a TID is a port, and only the pair of ports must be
/// unique.
pub const TRANSFER_SOCKETS: usize = 8;
/// Longest wait for a signature.
const PARK_MAX: Span = Span::from_secs(60);
/// Longest wait for the first word of a client, whatever time-out it has asked for.
const UNPROVEN_MAX: Span = Span::from_secs(20);

/// The two ends of a transfer: a client's address and port, and which of our sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// The client.
    pub peer: SocketAddr,
    /// The socket's number, below [`TRANSFER_SOCKETS`].
    pub socket: u8,
}

/// All lines that a client may have.
pub(super) fn lines(peer: SocketAddr) -> impl Iterator<Item = Line> {
    (0..TRANSFER_SOCKETS as u8).map(move |socket| Line { peer, socket })
}

/// One transfer of a file `F`, or of one that is still a `P`, or what is remembered of it for a
/// while.
#[derive(Debug)]
pub(super) struct Transfer<F, P> {
    /// Tells it from an earlier transfer of the same line.
    pub(super) id: u64,
    /// Stands for the name of the file and the options of the request.
    pub(super) request: u64,
    /// When it began to wait for a signature, or began to send.
    pub(super) since: Time,
    /// When the client was heard last.
    pub(super) heard: Time,
    /// When something new was said to it last, such as the last block: what it asked for before, it
    /// asked without having the file.
    pub(super) moved: Time,
    /// Time of its entry among the timers; entries with another time are stale.
    pub(super) armed: Time,
    /// Whether the client has asked for something else since it was heard: then nothing is sent
    /// again unasked.
    pub(super) superseded: bool,
    /// Whether a request that may be a late copy waits for evidence.
    pub(super) doubted: bool,
    pub(super) state: State<F, P>,
}

#[derive(Debug)]
pub(super) enum State<F, P> {
    Parked {
        file: P,
        options: Options,
    },
    Sending(Upload<F>),
    /// Over; kept until its timer comes, so that late copies of the client's last words are known
    /// for what they are and its next transfer gets another socket.
    Over,
}

impl<F: Content, P> Transfer<F, P> {
    pub(super) const fn new(id: u64, request: u64, state: State<F, P>, now: Time) -> Self {
        Transfer {
            id,
            request,
            since: now,
            heard: now,
            moved: now,
            armed: Time::NEVER,
            superseded: false,
            doubted: false,
            state,
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether it was answered and its client has not spoken yet.
    fn is_unproven(&self) -> bool {
        matches!(&self.state, State::Sending(upload) if !upload.is_proven())
    }

    pub(super) fn deadline(&self) -> Time {
        match &self.state {
            State::Parked { .. } => self.since + PARK_MAX,
            State::Sending(upload) if upload.is_proven() => upload.deadline(),
            State::Sending(upload) => upload.deadline().min(self.since + UNPROVEN_MAX),
            State::Over => Time::ZERO,
        }
    }
}

/// A timer: its time, whose it is, and the number of the transfer.
type Timer = Reverse<(Time, Line, u64)>;

/// The transfers of a server, their timers, and who has not spoken yet.
#[derive(Debug)]
pub(super) struct Table<F, P> {
    /// A quick hash with a seed of its own: who forges addresses is not told how they fall, and the
    /// entries are bounded.
    transfers: HashMap<Line, Transfer<F, P>, RandomState>,
    /// One valid entry per transfer, and some that are stale.
    timers: BinaryHeap<Timer>,
    /// Transfers whose client has not spoken yet, oldest first, and some that are stale.
    unproven: VecDeque<(Time, Line, u64)>,
    in_flight: usize,
    /// Most transfers that may run.
    most: usize,
    /// Wait of a first timer.
    first: Span,
}

impl<F: Content, P> Table<F, P> {
    /// An empty table for at most so many transfers; a first timer comes after `first`.
    pub(super) fn new(most: usize, first: Span) -> Self {
        Table {
            transfers: HashMap::default(),
            timers: BinaryHeap::new(),
            unproven: VecDeque::new(),
            in_flight: 0,
            most,
            first,
        }
    }

    /// Transfers that run, those that wait for a signature among them.
    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Entries, those included that are over.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.transfers.len()
    }

    pub(super) const fn has_place(&self) -> bool {
        self.in_flight < self.most
    }

    pub(super) fn get(&self, line: Line) -> Option<&Transfer<F, P>> {
        self.transfers.get(&line)
    }

    pub(super) fn get_mut(&mut self, line: Line) -> Option<&mut Transfer<F, P>> {
        self.transfers.get_mut(&line)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.transfers.clear();
        self.timers.clear();
        self.unproven.clear();
        self.in_flight = 0;
    }

    pub(super) fn insert(&mut self, line: Line, transfer: Transfer<F, P>, now: Time) {
        self.transfers.insert(line, transfer);
        self.in_flight += 1;
        self.arm(line, now);
        self.trim_timers();
    }

    /// What a client's word leads to, an acknowledgement or, without a block, an error; `None` if it
    /// has no transfer here.
    pub(super) fn hear(&mut self, line: Line, block: Option<u16>, now: Time) -> Option<Reply> {
        let transfer = self.transfers.get_mut(&line)?;
        let reply = match (&mut transfer.state, block) {
            (State::Sending(upload), Some(block)) => {
                (transfer.heard, transfer.superseded) = (now, false);
                upload.on_ack(block, now)
            }
            (State::Sending(_), None) => Reply::Dropped,
            (State::Parked { .. } | State::Over, _) => Reply::Nothing,
        };
        if let Reply::Blocks { .. } = reply {
            transfer.moved = now;
            set_timer(&mut self.timers, self.first, line, transfer, now);
        }
        Some(reply)
    }

    /// Ends a transfer, if it runs; gives its number and its state.
    pub(super) fn finish(&mut self, line: Line) -> Option<(u64, State<F, P>)> {
        let transfer = self.transfers.get_mut(&line).filter(|transfer| !transfer.is_over())?;
        let (id, state) = (transfer.id, std::mem::replace(&mut transfer.state, State::Over));
        self.in_flight -= 1;
        if self.transfers.len() > self.most * 2 {
            self.transfers.remove(&line);
        }
        Some((id, state))
    }

    pub(super) fn remove(&mut self, line: Line) {
        self.transfers.remove(&line);
    }

    /// Makes sure that a transfer has a timer that comes no later than its deadline.
    pub(super) fn arm(&mut self, line: Line, now: Time) {
        let Some(transfer) = self.transfers.get_mut(&line) else { return };
        set_timer(&mut self.timers, self.first, line, transfer, now);
    }

    /// Gives a transfer a timer at this time, its last one having come before.
    pub(super) fn rearm(&mut self, line: Line, at: Time) {
        let Some(transfer) = self.transfers.get_mut(&line) else { return };
        transfer.armed = at;
        self.timers.push(Reverse((transfer.armed, line, transfer.id)));
    }

    /// When the next timer comes.
    pub(super) fn next_timer(&self) -> Time {
        self.timers.peek().map_or(Time::NEVER, |Reverse((time, ..))| *time)
    }

    /// The next timer if it is due, stale or not.
    pub(super) fn due(&self, now: Time) -> Option<(Time, Line, u64)> {
        self.timers.peek().map(|Reverse(timer)| *timer).filter(|(time, ..)| *time <= now)
    }

    /// Takes the next timer out.
    pub(super) fn take_timer(&mut self) {
        self.timers.pop();
    }

    /// Drops stale timers, when clients that begin again and again have left too many.
    fn trim_timers(&mut self) {
        if self.timers.len() > self.most * 4 {
            let transfers = &self.transfers;
            self.timers.retain(|Reverse((time, line, id))| {
                transfers.get(line).is_some_and(|one| one.armed == *time && one.id == *id)
            });
        }
    }

    /// Remembers that a client has been answered for the first time.
    pub(super) fn awaits_proof(&mut self, line: Line, id: u64, now: Time) {
        self.oldest_unproven();
        self.unproven.push_back((now, line, id));
    }

    /// The transfer that waits longest for its client's first word, and since when.
    pub(super) fn oldest_unproven(&mut self) -> Option<(Time, Line)> {
        while let Some(&(since, line, id)) = self.unproven.front() {
            if self.transfers.get(&line).is_some_and(|one| one.id == id && one.is_unproven()) {
                return Some((since, line));
            }
            self.unproven.pop_front();
        }
        None
    }
}

/// The first timer comes after one time-out, although a client that was not heard yet gets several:
/// when it answers, the deadline moves closer, and the timer is there already.
fn set_timer<F: Content, P>(
    timers: &mut BinaryHeap<Timer>,
    first: Span,
    line: Line,
    transfer: &mut Transfer<F, P>,
    now: Time,
) {
    let deadline = transfer.deadline();
    if deadline < transfer.armed {
        let is_first = transfer.armed == Time::NEVER;
        transfer.armed = if is_first { deadline.min(now + first) } else { deadline };
        timers.push(Reverse((transfer.armed, line, transfer.id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{PendingFile, ServedFile};
    use crate::transfer::UploadLimits;

    const LINE: Line = Line {
        peer: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40_000),
        socket: 3,
    };

    fn table(options: Options) -> Table<Vec<u8>, ()> {
        let (upload, _) =
            Upload::start(vec![7; 2_000], options, UploadLimits::default(), Time::ZERO);
        let mut table = Table::new(10, Span::from_secs(1));
        table.insert(LINE, Transfer::new(1, 0, State::Sending(upload), Time::ZERO), Time::ZERO);
        table
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn a_silent_client_cannot_ask_for_a_long_wait() {
        let patient = Options { timeout_s: Some(255), ..Options::default() };
        assert_eq!(table(patient).get(LINE).unwrap().deadline(), Time::ZERO + UNPROVEN_MAX);
        assert_eq!(table(Options::default()).get(LINE).unwrap().deadline(), at(5));
    }

    #[test]
    fn fifty_thousand_transfers_take_less_than_a_kilobyte_each() {
        // A map of hash brown's holds up to 16/7 entries per entry in use while it has just grown.
        let entry = (size_of::<(Line, Transfer<ServedFile, PendingFile>)>() + 1) * 16 / 7;
        let timers = 2 * size_of::<Timer>() + 2 * size_of::<(Time, Line, u64)>();
        assert!(entry + timers < 1_024, "{entry} + {timers} bytes");
    }

    #[test]
    fn one_timer_serves_a_transfer_that_moves_on() {
        let mut table = table(Options::default());
        for block in 1..=3 {
            let reply = table.hear(LINE, Some(block), Time::from_nanos(u64::from(block)));
            assert_eq!(reply, Some(Reply::Blocks { first: u64::from(block) + 1, count: 1 }));
        }
        assert_eq!(table.timers.into_vec(), [Reverse((at(1), LINE, 1))]);
    }

    #[test]
    fn a_deadline_that_moves_closer_gets_a_timer_of_its_own() {
        let mut table = table(Options::default());
        table.timers.clear();
        table.get_mut(LINE).unwrap().armed = at(60);
        table.arm(LINE, Time::ZERO);
        table.arm(LINE, Time::ZERO);
        assert_eq!(table.timers.into_vec(), [Reverse((at(5), LINE, 1))]);
    }
}
