use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;

use crate::base::{Span, Time};
use crate::cluster::{PendingFile, ServedFile};
use crate::transfer::Upload;
use crate::wire::tftp::Options;

/// Sockets that carry transfers; a TID is a port, and only the pair of ports must be unique.
pub(super) const TRANSFER_SOCKETS: usize = 8;
/// Longest wait for a signature.
const PARK_MAX: Span = Span::from_secs(60);
/// Longest wait for the first word of a client, whatever time-out it has asked for.
const UNPROVEN_MAX: Span = Span::from_secs(20);

/// The two ends of a transfer: a client's address and port, and which of our sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Line {
    pub(super) peer: SocketAddr,
    pub(super) socket: u8,
}

/// All lines that a client may have.
pub(super) fn lines(peer: SocketAddr) -> impl Iterator<Item = Line> {
    (0..TRANSFER_SOCKETS as u8).map(move |socket| Line { peer, socket })
}

/// One transfer, or what is remembered of it for a while.
#[derive(Debug)]
pub(super) struct Transfer {
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
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    Parked {
        file: PendingFile,
        options: Options,
    },
    Sending(Upload<ServedFile>),
    /// Over; kept until its timer comes, so that late copies of the client's last words are known
    /// for what they are and its next transfer gets another socket.
    Over,
}

impl Transfer {
    pub(super) fn new(id: u64, request: u64, state: State, now: Time) -> Transfer {
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

/// The transfers of a pump, their timers, and who has not spoken yet.
#[derive(Debug)]
pub(super) struct Table {
    transfers: HashMap<Line, Transfer>,
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

impl Table {
    /// An empty table for at most so many transfers; a first timer comes after `first`.
    pub(super) fn new(most: usize, first: Span) -> Table {
        Table {
            transfers: HashMap::new(),
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

    pub(super) const fn has_place(&self) -> bool {
        self.in_flight < self.most
    }

    pub(super) fn get(&self, line: Line) -> Option<&Transfer> {
        self.transfers.get(&line)
    }

    pub(super) fn get_mut(&mut self, line: Line) -> Option<&mut Transfer> {
        self.transfers.get_mut(&line)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.transfers.clear();
        self.timers.clear();
        self.unproven.clear();
        self.in_flight = 0;
    }

    pub(super) fn insert(&mut self, line: Line, transfer: Transfer, now: Time) {
        self.transfers.insert(line, transfer);
        self.in_flight += 1;
        self.arm(line, now);
        self.trim_timers();
    }

    /// Ends a transfer, if it runs; gives its state.
    pub(super) fn finish(&mut self, line: Line) -> Option<State> {
        let transfer = self.transfers.get_mut(&line).filter(|transfer| !transfer.is_over())?;
        let state = std::mem::replace(&mut transfer.state, State::Over);
        self.in_flight -= 1;
        if self.transfers.len() > self.most * 2 {
            self.transfers.remove(&line);
        }
        Some(state)
    }

    pub(super) fn remove(&mut self, line: Line) {
        self.transfers.remove(&line);
    }

    /// Makes sure that a transfer has a timer that comes no later than its deadline.
    ///
    /// The first timer comes after one time-out, although a client that was not heard yet gets
    /// several: when it answers, the deadline moves closer, and the timer is there already.
    pub(super) fn arm(&mut self, line: Line, now: Time) {
        let Some(transfer) = self.transfers.get_mut(&line) else { return };
        let deadline = transfer.deadline();
        if deadline < transfer.armed {
            let is_first = transfer.armed == Time::NEVER;
            transfer.armed = if is_first { deadline.min(now + self.first) } else { deadline };
            self.timers.push(Reverse((transfer.armed, line, transfer.id)));
        }
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

    /// Takes the next timer that is due, stale or not.
    pub(super) fn take_due(&mut self, now: Time) -> Option<(Time, Line, u64)> {
        if self.next_timer() > now {
            return None;
        }
        self.timers.pop().map(|Reverse(timer)| timer)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::transfer::UploadLimits;

    const LINE: Line = Line {
        peer: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40_000),
        socket: 3,
    };

    fn table(options: Options) -> Table {
        let file = ServedFile::plain(Arc::from(vec![7; 2_000]));
        let (upload, _) = Upload::start(file, options, UploadLimits::default(), Time::ZERO);
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
        let entry = (size_of::<(Line, Transfer)>() + 1) * 16 / 7;
        let timers = 2 * size_of::<Timer>() + 2 * size_of::<(Time, Line, u64)>();
        assert!(entry + timers < 1_024, "{entry} + {timers} bytes");
    }

    #[test]
    fn one_timer_serves_a_transfer_that_moves_on() {
        let mut table = table(Options::default());
        for block in 1..=3 {
            let now = Time::from_nanos(u64::from(block));
            let State::Sending(upload) = &mut table.get_mut(LINE).unwrap().state else { panic!() };
            upload.on_ack(block, now);
            table.arm(LINE, now);
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
