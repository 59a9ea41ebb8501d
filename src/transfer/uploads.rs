use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::SocketAddr;

use crate::base::{Span, Time};
use crate::wire::tftp::{ErrorCode, Options, Packet};

use super::table::{Line, State, TRANSFER_SOCKETS, Table, Transfer, lines};
use super::upload::{Content, Reply, Upload, UploadLimits};

/// Requests that wait to be answered; more stay in the socket. The receive buffer alone holds about
/// 10,900, and 50,000 phones may ask within half a second.
const INBOX_MAX: usize = 65_536;
/// How long a client that was sent an answer keeps its place without a word when all places are
/// taken: those who forge addresses never speak.
const CROWDED_AFTER: Span = Span::from_millis(250);
/// How long a request for a file that is half-way through to the same port waits for evidence: a
/// client that goes on has not asked again, and the request was a late copy.
const BEGUN_AGAIN: Span = Span::from_millis(250);
/// Requests that wait for evidence at the same time; beyond that they count as new.
const DOUBTS_MAX: usize = 4_096;

/// Bytes of datagrams that a host takes in one go: what a datagram may carry.
const TOGETHER_BYTES: usize = 65_507;
/// Datagrams that a host takes in one go (`UDP_MAX_SEGMENTS` of Linux 4.18).
const TOGETHER_MAX: usize = 64;

/// All transfers of one TFTP server, without I/O: who is served, who waits, who gives way.
///
/// The driver owns one socket for requests and [`TRANSFER_SOCKETS`] for transfers, and finds the
/// files: those that are ready are an `F`, those that are still to be completed a `P`. Its loop:
/// - Hand in what arrives: [`Uploads::on_request`], [`Uploads::on_datagram`]. Requests are answered
///   later; say when a transfer socket is empty ([`Uploads::on_emptied`]).
/// - Hand in what was completed: [`Uploads::on_completed`].
/// - Take the steps of [`Uploads::on_timeout`] and of [`Uploads::next_answer`] until both are idle;
///   the next ones are due at [`Uploads::next_timeout`], or when a request comes.
/// - Send each [`Transmit`] by [`Uploads::write`].
#[derive(Debug)]
pub struct Uploads<F, P> {
    limits: UploadLimits,
    table: Table<F, P>,
    /// Lines of the transfers whose file is not complete yet.
    parked: HashMap<u64, Line>,
    /// Requests that were not answered yet.
    inbox: VecDeque<Request>,
    /// The request that is being considered; it waits for a socket that is read out.
    considered: Option<Considered>,
    /// Requests that may be late copies, oldest first.
    doubts: VecDeque<Doubt>,
    /// When each transfer socket was empty; what had come before that time is known.
    emptied: [Time; TRANSFER_SOCKETS],
    /// Makes the fingerprints of requests.
    hasher: RandomState,
    last_id: u64,
    next_socket: usize,
    counts: UploadCounts,
}

/// What the transfers of a server came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UploadCounts {
    /// Read requests, repeated ones included.
    pub requests: u64,
    /// Requests for a file that is not served.
    pub not_found: u64,
    /// Transfers whose last block was acknowledged.
    pub done: u64,
    /// Transfers that ended otherwise.
    pub dropped: u64,
    /// Most transfers that ran at the same time.
    pub in_flight_max: u64,
    /// Datagrams sent again.
    pub retransmits: u64,
    /// Datagrams that are no TFTP packet or had no place where they came.
    pub malformed: u64,
    /// Requests that got no answer because too many transfers ran.
    pub refused_full: u64,
    /// Transfers of clients that had not answered for a while, dropped to make room.
    pub crowded_out: u64,
}

/// What the driver is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: wait.
    Idle,
    /// Nothing, but ask again.
    Done,
    /// Send this.
    Send(Transmit),
    /// Hand in whatever a transfer socket has received by now, then say that it was empty
    /// ([`Uploads::on_emptied`]) and ask again: being late to read is not the client's silence.
    ReadOut {
        /// Its number.
        socket: u8,
    },
    /// Look for the file and say what was found ([`Uploads::begin`]) before anything else.
    Begin(Offer),
}

/// What is to be sent to a client; [`Uploads::write`] puts it into datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// To whom, and from which socket.
    pub line: Line,
    words: Words,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    /// What the transfer of the line has to say.
    Reply(Reply),
    Error(ErrorCode, &'static str),
}

/// A place for a request that is to be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    /// Names the transfer if its file is yet to be completed; counts from 1 and never repeats.
    pub id: u64,
    considered: Considered,
}

impl Offer {
    /// Name of the file, as sent by the client.
    pub fn file(&self) -> &str {
        &self.considered.request.file
    }
}

/// What a driver has found for a request.
#[derive(Debug)]
pub enum Found<F, P> {
    /// There is no such file.
    Missing,
    /// The file.
    Ready(F),
    /// A file that is yet to be completed ([`Uploads::on_completed`]).
    Pending(P),
    /// Too much waits to be completed: the client is not answered.
    Busy,
}

/// A read request.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    peer: SocketAddr,
    file: Box<str>,
    options: Options,
    /// When it was read from the socket.
    read_at: Time,
}

/// A request that is looked at beside its client's transfers.
#[derive(Debug, PartialEq, Eq)]
struct Considered {
    request: Request,
    /// Stands for the name of the file and the options.
    fingerprint: u64,
    /// When it was taken up.
    at: Time,
    /// The socket whose transfer is to be looked at next; behind the last one it is new.
    socket: u8,
}

/// A request that equals the one of a transfer whose client was heard of late.
#[derive(Debug)]
struct Doubt {
    due: Time,
    line: Line,
    id: u64,
    considered: Considered,
}

/// What a request is, seen beside one of its client's transfers.
enum Standing {
    /// Another matter.
    Apart,
    /// It cannot be said before the socket is read out.
    Unread,
    /// A copy: its answer runs, or it waits for evidence.
    Known,
    /// A copy, unless the client of the transfer with this number stays silent.
    Doubtful(u64),
    /// A copy of a client that has not heard the answer.
    Unheard(Reply),
}

/// Whether there is a place for one more transfer.
enum Room {
    Free,
    Full,
    /// It cannot be said before the socket is read out.
    Unread {
        socket: u8,
    },
}

impl<F: Content, P> Uploads<F, P> {
    /// No transfers yet, at most so many later.
    pub fn new(limits: UploadLimits, transfers_max: usize) -> Self {
        Uploads {
            limits,
            table: Table::new(transfers_max, limits.timeout),
            parked: HashMap::new(),
            inbox: VecDeque::new(),
            considered: None,
            doubts: VecDeque::new(),
            emptied: [Time::ZERO; TRANSFER_SOCKETS],
            hasher: RandomState::new(),
            last_id: 0,
            next_socket: 0,
            counts: UploadCounts::default(),
        }
    }

    /// What the transfers came to so far.
    pub const fn counts(&self) -> &UploadCounts {
        &self.counts
    }

    /// Transfers that run, those included whose file is not complete yet.
    pub const fn in_flight(&self) -> usize {
        self.table.in_flight()
    }

    /// Requests for which there is room; what is beyond that stays in the socket.
    pub fn inbox_room(&self) -> usize {
        INBOX_MAX.saturating_sub(self.inbox.len())
    }

    /// Whether requests wait to be answered now.
    pub fn has_requests(&self) -> bool {
        self.considered.is_some() || !self.inbox.is_empty()
    }

    /// When [`Uploads::on_timeout`] or [`Uploads::next_answer`] is due, if no request comes.
    pub fn next_timeout(&self) -> Time {
        let doubt = self.doubts.front().map_or(Time::NEVER, |doubt| doubt.due);
        self.table.next_timer().min(doubt)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let Uploads { table, parked, inbox, considered, doubts, .. } = self;
        let idle = inbox.is_empty() && considered.is_none() && doubts.is_empty();
        idle && table.len() == 0 && table.in_flight() == 0 && parked.is_empty()
    }

    /// Drops all transfers and forgets all requests.
    pub fn clear(&mut self) {
        self.counts.dropped += self.table.in_flight() as u64;
        self.table.clear();
        self.parked.clear();
        self.inbox.clear();
        self.considered = None;
        self.doubts.clear();
    }

    /// Takes a datagram that came to the socket for requests. Read requests wait in the inbox.
    pub fn on_request(&mut self, peer: SocketAddr, bytes: &[u8], now: Time) -> Option<Transmit> {
        if peer.port() == 0 {
            self.counts.malformed += 1;
            return None;
        }
        let (code, message) = match Packet::parse(bytes) {
            Ok(Packet::Rrq { file, octet: true, options }) => {
                self.inbox.push_back(Request { peer, file: file.into(), options, read_at: now });
                return None;
            }
            Ok(Packet::Rrq { .. }) => {
                self.counts.requests += 1;
                (ErrorCode::NOT_DEFINED, "only mode octet is served")
            }
            Ok(Packet::Wrq) => (ErrorCode::ACCESS_VIOLATION, "files are read-only"),
            // Only what looks like a request is answered, so that two servers cannot be made to
            // answer each other for ever.
            Err(_) if bytes.starts_with(&[0, 1]) => {
                self.counts.malformed += 1;
                (ErrorCode::ILLEGAL_OPERATION, "malformed request")
            }
            Ok(_) | Err(_) => {
                self.counts.malformed += 1;
                return None;
            }
        };
        let line = Line { peer, socket: self.choose_socket(peer) };
        Some(Transmit { line, words: Words::Error(code, message) })
    }

    /// Takes a datagram that came to a transfer socket.
    pub fn on_datagram(&mut self, line: Line, bytes: &[u8], now: Time) -> Option<Transmit> {
        let block = match Packet::parse(bytes) {
            Ok(Packet::Ack { block }) if line.peer.port() != 0 => Some(block),
            Ok(Packet::Error { .. }) if line.peer.port() != 0 => None,
            _ => {
                self.counts.malformed += 1;
                return None;
            }
        };
        match self.table.hear(line, block, now) {
            Some(reply) => self.said(line, reply),
            None => self.on_stranger(line, block.is_some()),
        }
    }

    /// A transfer socket had nothing left to read at this time.
    pub fn on_emptied(&mut self, socket: u8, now: Time) {
        let emptied = &mut self.emptied[usize::from(socket)];
        *emptied = now.max(*emptied);
    }

    /// The file of a transfer is complete; it may have ended meanwhile.
    pub fn on_completed(
        &mut self,
        id: u64,
        complete: impl FnOnce(P) -> F,
        now: Time,
    ) -> Option<Transmit> {
        let line = self.parked.remove(&id)?;
        let transfer = self.table.get_mut(line)?;
        let state = std::mem::replace(&mut transfer.state, State::Over);
        let State::Parked { file, options } = state else { return None };
        let (upload, reply) = Upload::start(complete(file), options, self.limits, now);
        transfer.state = State::Sending(upload);
        (transfer.since, transfer.moved) = (now, now);
        self.table.awaits_proof(line, id, now);
        self.table.arm(line, now);
        self.said(line, reply)
    }

    /// Takes up one timer that is due.
    pub fn on_timeout(&mut self, now: Time) -> Step {
        let Some((time, line, id)) = self.table.due(now) else { return Step::Idle };
        let own = self.table.get(line).filter(|one| one.id == id && one.armed == time);
        let own = own.map(|one| (one.is_over(), one.moved, one.deadline()));
        if let Some((false, _, deadline)) = own {
            if deadline > now {
                // It has moved on: nothing more need be known of it.
                self.table.take_timer();
                self.table.rearm(line, deadline);
                return Step::Done;
            }
            if self.emptied[usize::from(line.socket)] < deadline {
                return Step::ReadOut { socket: line.socket };
            }
        }
        self.table.take_timer();
        match own {
            Some((false, ..)) => return self.on_deadline(line, now),
            Some((true, moved, _)) => self.forget(line, moved, now),
            None => {}
        }
        Step::Done
    }

    /// Considers one request, those first that have waited for evidence.
    pub fn next_answer(&mut self, now: Time) -> Step {
        if let Some(considered) = self.considered.take() {
            return self.consider(considered);
        }
        if self.doubts.front().is_some_and(|doubt| doubt.due <= now) {
            return self.settle_doubt(now);
        }
        let Some(request) = self.inbox.pop_front() else { return Step::Idle };
        self.counts.requests += 1;
        let fingerprint = self.hasher.hash_one((&request.file, request.options));
        self.consider(Considered { request, fingerprint, at: now, socket: 0 })
    }

    /// Begins a transfer. Others of the same client run on if it still speaks to them.
    pub fn begin(&mut self, offer: Offer, found: Found<F, P>) -> Option<Transmit> {
        let Offer { id, considered: Considered { request, fingerprint, at, .. } } = offer;
        let Request { peer, options, .. } = request;
        match found {
            Found::Missing => {
                self.counts.not_found += 1;
                let words = Words::Error(ErrorCode::FILE_NOT_FOUND, "File not found");
                Some(Transmit { line: self.next_line(peer), words })
            }
            Found::Ready(file) => {
                let line = self.next_line(peer);
                let (upload, reply) = Upload::start(file, options, self.limits, at);
                self.insert(line, Transfer::new(id, fingerprint, State::Sending(upload), at), at);
                self.table.awaits_proof(line, id, at);
                self.said(line, reply)
            }
            Found::Pending(file) => {
                let line = self.next_line(peer);
                let state = State::Parked { file, options };
                self.insert(line, Transfer::new(id, fingerprint, state, at), at);
                self.parked.insert(id, line);
                None
            }
            Found::Busy => {
                self.counts.refused_full += 1;
                None
            }
        }
    }

    /// Writes the datagrams of a transmission into `out` and gives them to `send`: those of a window
    /// together, with the length of each but the last, which may be shorter.
    pub fn write(&self, transmit: Transmit, out: &mut Vec<u8>, mut send: impl FnMut(&[u8], usize)) {
        let upload = || match self.table.get(transmit.line) {
            Some(Transfer { state: State::Sending(upload), .. }) => Some(upload),
            _ => None,
        };
        match transmit.words {
            Words::Error(code, message) => {
                Packet::Error { code, message: message.as_bytes() }.encode(out);
                send(out, out.len());
            }
            Words::Reply(Reply::Oack) => {
                if let Some(upload) = upload() {
                    upload.write_oack(out);
                    send(out, out.len());
                }
            }
            Words::Reply(Reply::Blocks { first, count }) => {
                let Some(upload) = upload() else { return };
                let length = upload.datagram_length();
                let most = (TOGETHER_BYTES / length).clamp(1, TOGETHER_MAX);
                let numbers: std::ops::Range<u64> = first..first + u64::from(count);
                for begin in numbers.clone().step_by(most) {
                    out.clear();
                    let end = numbers.end.min(begin + most as u64);
                    (begin..end).for_each(|number| upload.append_block(number, out));
                    send(out, length);
                }
            }
            Words::Reply(Reply::Nothing | Reply::Done | Reply::Dropped) => {}
        }
    }

    /// Looks at the transfers of the request's client, one after the other, whether it repeats one.
    fn consider(&mut self, mut considered: Considered) -> Step {
        while usize::from(considered.socket) < TRANSFER_SOCKETS {
            let Considered { socket, at, .. } = considered;
            let line = Line { peer: considered.request.peer, socket };
            match self.standing(line, &considered) {
                Standing::Apart => considered.socket += 1,
                Standing::Unread => return self.put_off(considered, socket),
                Standing::Known => return Step::Done,
                Standing::Doubtful(id) => {
                    self.doubts.push_back(Doubt { due: at + BEGUN_AGAIN, line, id, considered });
                    return Step::Done;
                }
                Standing::Unheard(reply) => return self.say_again(line, reply, at),
            }
        }
        self.admit(considered)
    }

    fn standing(&mut self, line: Line, considered: &Considered) -> Standing {
        let Considered { request, fingerprint, at, .. } = considered;
        let same = |one: &&mut Transfer<F, P>| one.request == *fingerprint;
        let Some(transfer) = self.table.get_mut(line).filter(same) else {
            return Standing::Apart;
        };
        // What its client has said before it asked had come before the request was read. What came
        // later may wait: reading it out as well for each request would never end on a busy socket.
        if !transfer.is_over() && self.emptied[usize::from(line.socket)] < request.read_at {
            return Standing::Unread;
        }
        if request.read_at < transfer.moved {
            // It waited here, and what has been said since answers it: an answer of its own
            // would reach a client that may have asked for something else by now.
            return Standing::Known;
        }
        match &mut transfer.state {
            State::Parked { .. } => Standing::Known,
            State::Sending(upload) if !upload.is_proven() => {
                transfer.heard = *at;
                Standing::Unheard(upload.on_repeated_request(*at))
            }
            // All of it was sent: the word that ends it is lost or late, and a client that
            // asks now begins anew. Beside the new transfer the old one still may end.
            State::Sending(upload) if upload.is_at_end() => Standing::Apart,
            State::Sending(_) if transfer.doubted => Standing::Known,
            State::Sending(_) if self.doubts.len() < DOUBTS_MAX => {
                transfer.doubted = true;
                Standing::Doubtful(transfer.id)
            }
            State::Sending(_) | State::Over => Standing::Apart,
        }
    }

    /// Serves the client that has waited longest for evidence if it has been silent since it asked
    /// again in mid-transfer; one that went on had not asked.
    fn settle_doubt(&mut self, now: Time) -> Step {
        let Some(Doubt { due, line, .. }) = self.doubts.front() else { return Step::Idle };
        if self.emptied[usize::from(line.socket)] < *due {
            return Step::ReadOut { socket: line.socket };
        }
        let Some(Doubt { line, id, considered, .. }) = self.doubts.pop_front() else {
            return Step::Idle;
        };
        let transfer = self.table.get_mut(line).filter(|one| one.id == id);
        let went_on = transfer.is_some_and(|transfer| {
            transfer.doubted = false;
            transfer.heard > considered.at
        });
        if went_on {
            return Step::Done;
        }
        self.admit(Considered { at: now, socket: TRANSFER_SOCKETS as u8, ..considered })
    }

    /// Gives a request a place if there is one.
    fn admit(&mut self, considered: Considered) -> Step {
        match self.room(considered.at) {
            Room::Free => {
                self.last_id += 1;
                Step::Begin(Offer { id: self.last_id, considered })
            }
            Room::Full => {
                self.counts.refused_full += 1;
                Step::Done
            }
            Room::Unread { socket } => self.put_off(considered, socket),
        }
    }

    fn put_off(&mut self, considered: Considered, socket: u8) -> Step {
        self.considered = Some(considered);
        Step::ReadOut { socket }
    }

    /// Whether one more transfer may run. If need be the oldest of those gives way whose client
    /// has never spoken: who floods us keeps nobody else out.
    fn room(&mut self, now: Time) -> Room {
        if self.table.has_place() {
            return Room::Free;
        }
        let Some((since, line)) = self.table.oldest_unproven() else { return Room::Full };
        let until = since + CROWDED_AFTER;
        if now < until {
            return Room::Full;
        }
        if self.emptied[usize::from(line.socket)] < until {
            // It may have spoken, and we have not listened.
            return Room::Unread { socket: line.socket };
        }
        self.finish(line, false);
        self.counts.crowded_out += 1;
        Room::Free
    }

    fn say_again(&mut self, line: Line, reply: Reply, now: Time) -> Step {
        self.table.arm(line, now);
        self.counts.retransmits += reply.datagrams();
        self.said(line, reply).map_or(Step::Done, Step::Send)
    }

    /// Does what a transfer says.
    fn said(&mut self, line: Line, reply: Reply) -> Option<Transmit> {
        match reply {
            Reply::Nothing => None,
            Reply::Done | Reply::Dropped => {
                self.finish(line, reply == Reply::Done);
                None
            }
            Reply::Oack | Reply::Blocks { .. } => {
                Some(Transmit { line, words: Words::Reply(reply) })
            }
        }
    }

    fn on_stranger(&mut self, line: Line, acknowledges: bool) -> Option<Transmit> {
        // A late word of an earlier transfer is none of a stranger.
        if lines(line.peer).any(|other| self.table.get(other).is_some()) {
            return None;
        }
        self.counts.malformed += 1;
        let words = Words::Error(ErrorCode::UNKNOWN_TRANSFER_ID, "");
        acknowledges.then_some(Transmit { line, words })
    }

    /// The client has let its time pass, whatever it has said.
    fn on_deadline(&mut self, line: Line, now: Time) -> Step {
        let Some(transfer) = self.table.get_mut(line) else { return Step::Done };
        transfer.armed = Time::NEVER;
        let reply = match &mut transfer.state {
            State::Sending(upload) if !transfer.superseded => upload.on_timeout(now),
            State::Sending(_) | State::Parked { .. } | State::Over => Reply::Dropped,
        };
        if let Reply::Oack | Reply::Blocks { .. } = reply {
            return self.say_again(line, reply, now);
        }
        self.finish(line, false);
        self.table.remove(line);
        Step::Done
    }

    /// Removes a transfer that is over and whose time has come, unless requests are still to be
    /// answered that were read before it moved last: they may be copies of its own.
    fn forget(&mut self, line: Line, moved: Time, now: Time) {
        if self.inbox.front().is_some_and(|oldest| oldest.read_at < moved) {
            self.table.rearm(line, now + self.limits.timeout);
        } else {
            self.table.remove(line);
        }
    }

    /// The line of a client's next transfer, which its others make way for once they fall silent.
    fn next_line(&mut self, peer: SocketAddr) -> Line {
        for line in lines(peer) {
            if let Some(transfer) = self.table.get_mut(line) {
                transfer.superseded = true;
            }
        }
        Line { peer, socket: self.choose_socket(peer) }
    }

    /// A socket on which the client has no transfer and had none of late, or the one whose transfer
    /// has been over for longest: some clients ignore the port of their last one. If all are taken,
    /// the oldest transfer gives way.
    fn choose_socket(&mut self, peer: SocketAddr) -> u8 {
        self.next_socket = (self.next_socket + 1) % TRANSFER_SOCKETS;
        let turn = |step: usize| ((self.next_socket + step) % TRANSFER_SOCKETS) as u8;
        let held = |socket: &u8| self.table.get(Line { peer, socket: *socket });
        let rank = |socket: &u8| held(socket).map(|one| (!one.is_over(), one.id));
        let socket = (0..TRANSFER_SOCKETS).map(turn).min_by_key(rank).unwrap_or_default();
        self.finish(Line { peer, socket }, false);
        socket
    }

    fn insert(&mut self, line: Line, transfer: Transfer<F, P>, now: Time) {
        self.table.insert(line, transfer, now);
        self.counts.in_flight_max = self.counts.in_flight_max.max(self.in_flight() as u64);
    }

    /// Ends a transfer, if it runs.
    fn finish(&mut self, line: Line, done: bool) {
        let Some((id, state)) = self.table.finish(line) else { return };
        if let State::Parked { .. } = state {
            self.parked.remove(&id);
        }
        let count = if done { &mut self.counts.done } else { &mut self.counts.dropped };
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::simulation::{Server, content, peer, server};

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    fn block(number: u16, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Packet::Data { block: number, data: bytes }.encode(&mut out);
        out
    }

    fn error_of(sent: &[(Line, Vec<u8>)]) -> Option<ErrorCode> {
        let [(_, bytes)] = sent else { return None };
        let Ok(Packet::Error { code, .. }) = Packet::parse(bytes) else { return None };
        Some(code)
    }

    #[test]
    fn a_copy_of_a_request_that_was_not_heard_gets_the_same_words_from_the_same_socket() {
        let mut server = server(10);
        let line = server.ask(peer(0), "a/700", at(0));
        server.request(peer(0), "a/700", Options::default());
        let words = block(1, &content("a/700").unwrap()[..512]);
        assert_eq!(server.turn(at(300)), [(line, words)]);
        assert_eq!((server.uploads.counts.retransmits, server.uploads.in_flight()), (1, 1));
        // The deadline is that of the copy.
        assert_eq!(server.turn(at(5_200)), []);
        assert_eq!(server.uploads.in_flight(), 1);
        assert_eq!(server.turn(at(5_300)), [], "nothing is sent unasked to who never spoke");
        server.assert_empty();
        assert_eq!(server.uploads.counts.dropped, 1);
    }

    #[test]
    fn a_request_in_mid_transfer_is_a_late_copy_if_the_client_goes_on() {
        let mut server = server(10);
        let line = server.ask(peer(0), "a/2000", at(0));
        server.acknowledge(line, 1);
        assert_eq!(server.turn(at(10)).len(), 1);
        for _ in 0..2 {
            server.request(peer(0), "a/2000", Options::default());
        }
        assert_eq!(server.turn(at(20)), []);
        assert_eq!(server.uploads.next_timeout(), at(270));
        server.acknowledge(line, 2);
        // It came before the time was up, and is read after.
        assert_eq!(server.turn(at(300)).len(), 1);
        assert_eq!((server.uploads.in_flight(), server.uploads.counts.requests), (1, 3));
    }

    #[test]
    fn a_request_in_mid_transfer_begins_anew_if_the_client_says_no_more() {
        let mut server = server(10);
        let line = server.ask(peer(0), "a/2000", at(0));
        server.acknowledge(line, 1);
        server.turn(at(10));
        server.request(peer(0), "a/2000", Options::default());
        assert_eq!(server.turn(at(20)), []);
        let sent = server.turn(at(270));
        assert_eq!(sent[0].1, block(1, &content("a/2000").unwrap()[..512]));
        assert_ne!(sent[0].0.socket, line.socket);
        assert_eq!(server.turn(at(1_010)), [], "the old one is sent nothing again");
        assert_eq!(server.uploads.in_flight(), 1);
    }

    #[test]
    fn copies_that_waited_behind_the_whole_transfer_are_known() {
        let mut server = server(10);
        let line = server.ask(peer(0), "a/100", at(0));
        server.acknowledge(line, 1);
        server.turn(at(10));
        assert_eq!(server.uploads.counts.done, 1);
        // Read before the last block was acknowledged, answered after.
        let mut bytes = Vec::new();
        let request = Packet::Rrq { file: "b/700", octet: true, options: Options::default() };
        request.encode(&mut bytes);
        let line = server.ask(peer(1), "b/700", at(20));
        assert_eq!(server.uploads.on_request(peer(1), &bytes, at(30)), None);
        server.acknowledge(line, 1);
        server.drain(line.socket, at(40));
        server.sent.clear();
        assert_eq!(server.turn(at(50)), []);
        assert_eq!(server.uploads.in_flight(), 1);
    }

    #[test]
    fn a_file_that_is_yet_to_be_completed_is_sent_when_it_is_and_copies_wait_for_it() {
        let mut server = server(10);
        for now in [0, 10] {
            server.request(peer(0), "slow/100", Options::default());
            assert_eq!(server.turn(at(now)), []);
        }
        assert_eq!(server.completions.len(), 1);
        let sent = server.turn(at(20));
        assert_eq!(sent[0].1, block(1, &content("slow/100").unwrap()));
        server.acknowledge(sent[0].0, 1);
        server.turn(at(30));
        assert_eq!((server.uploads.counts.done, server.uploads.in_flight()), (1, 0));
    }

    #[test]
    fn a_file_that_is_never_completed_is_given_up_and_comes_too_late_afterwards() {
        let mut server = server(10);
        server.patience = Span::from_secs(61);
        server.request(peer(0), "slow/100", Options::default());
        server.turn(at(0));
        while server.uploads.in_flight() > 0 {
            server.turn(server.uploads.next_timeout());
        }
        assert_eq!(server.turn(at(61_000)), []);
        server.assert_empty();
    }

    #[test]
    fn who_never_spoke_gives_way_to_others_after_a_while_and_who_spoke_never() {
        let mut server = server(2);
        let spoke = server.ask(peer(0), "a/2000", at(0));
        server.acknowledge(spoke, 1);
        server.turn(at(1));
        server.ask(peer(1), "a/2000", at(2));
        server.request(peer(2), "a/2000", Options::default());
        assert_eq!(server.turn(at(251)), []);
        assert_eq!(server.uploads.counts.refused_full, 1);
        let third = server.ask(peer(2), "a/2000", at(252));
        assert_eq!(server.uploads.counts.crowded_out, 1);
        server.acknowledge(third, 1);
        server.turn(at(260));
        server.request(peer(3), "a/2000", Options::default());
        assert_eq!(server.turn(at(600)), []);
        assert_eq!((server.uploads.in_flight(), server.uploads.counts.crowded_out), (2, 1));
        assert_eq!(server.uploads.counts.in_flight_max, 2);
    }

    #[test]
    fn a_timer_of_a_client_that_has_moved_on_reads_nothing_out() {
        let mut server = server(10);
        let line = server.ask(peer(0), "a/2000", at(0));
        server.acknowledge(line, 1);
        assert_eq!(server.turn(at(900)).len(), 1);
        server.steps(at(1_000));
        assert!(server.read_out.is_empty());
        assert_eq!(server.uploads.next_timeout(), at(1_900));
        server.steps(at(1_900));
        assert_eq!(server.read_out, [line.socket]);
        assert_eq!(server.sent.len(), 1, "the block goes out again");
    }

    #[test]
    fn for_a_request_nothing_is_read_out_that_came_after_it() {
        let mut server = server(10);
        let line = server.ask(peer(0), "a/2000", at(0));
        server.request(peer(0), "a/2000", Options::default());
        server.read_requests(at(10));
        (0..TRANSFER_SOCKETS as u8).for_each(|socket| server.drain(socket, at(10)));
        server.acknowledge(line, 1);
        server.steps(at(20));
        assert_eq!((&server.read_out, server.sent.len()), (&vec![], 1), "the first block again");
        // What came before it is.
        server.request(peer(0), "a/2000", Options::default());
        server.read_requests(at(30));
        server.steps(at(40));
        assert_eq!((server.read_out, server.sent.len()), (vec![line.socket], 2));
    }

    /// What a client has said counts although nobody has read it yet.
    #[test]
    fn a_socket_is_read_out_before_its_client_counts_as_silent() {
        let mut server = server(1);
        let line = server.ask(peer(0), "a/2000", at(0));
        server.acknowledge(line, 1);
        server.request(peer(1), "b/100", Options::default());
        // The answer is considered before the transfer socket is read.
        server.read_requests(at(400));
        server.steps(at(400));
        assert_eq!(server.read_out, [line.socket]);
        assert_eq!(server.uploads.counts.refused_full, 1);
        assert_eq!(server.uploads.counts.crowded_out, 0);

        server.sent.clear();
        server.acknowledge(line, 2);
        server.steps(at(1_400));
        assert_eq!(server.read_out, [line.socket; 2], "a timer asks as well");
        assert_eq!(server.sent, [(line, block(3, &content("a/2000").unwrap()[1_024..1_536]))]);
        assert_eq!(server.uploads.counts.retransmits, 0);
    }

    #[test]
    fn words_of_strangers_are_answered_by_an_error_at_most() {
        let mut server = server(10);
        let line = Line { peer: peer(0), socket: 3 };
        server.acknowledge(line, 1);
        assert_eq!(error_of(&server.turn(at(0))), Some(ErrorCode::UNKNOWN_TRANSFER_ID));
        let mut bytes = Vec::new();
        Packet::Error { code: ErrorCode::NOT_DEFINED, message: b"" }.encode(&mut bytes);
        for bytes in [&bytes[..], &block(1, b"data"), b"", b"\0\x04\0"] {
            server.sockets[3].push_back((peer(0), bytes.to_vec()));
        }
        let nowhere = SocketAddr::new(peer(0).ip(), 0);
        server.acknowledge(Line { peer: nowhere, socket: 3 }, 1);
        assert_eq!(server.turn(at(1)), []);
        assert_eq!(server.uploads.counts.malformed, 6);
        // A late word of a transfer that was somewhere else is not a stranger's.
        let own = server.ask(peer(0), "a/100", at(2));
        server.acknowledge(Line { socket: (own.socket + 1) % 8, ..own }, 1);
        assert_eq!(server.turn(at(3)), []);
        assert_eq!(server.uploads.counts.malformed, 6);
    }

    #[test]
    fn the_listening_socket_answers_requests_alone() {
        let mut server = server(10);
        let mut say = |bytes: &[u8], port| {
            server.listener.push_back((SocketAddr::new(peer(0).ip(), port), bytes.to_vec()));
            error_of(&server.turn(at(0)))
        };
        assert_eq!(say(b"\0\x02f\0octet\0", 40_000), Some(ErrorCode::ACCESS_VIOLATION));
        assert_eq!(say(b"\0\x01f\0netascii\0", 40_000), Some(ErrorCode::NOT_DEFINED));
        assert_eq!(say(b"\0\x01f", 40_000), Some(ErrorCode::ILLEGAL_OPERATION));
        assert_eq!(say(b"\0\x01f\0octet\0", 40_000), Some(ErrorCode::FILE_NOT_FOUND));
        for bytes in [&b"\0\x04\0\x01"[..], b"\0\x05\0\0\0", b"", b"\0"] {
            assert_eq!(say(bytes, 40_000), None);
        }
        assert_eq!(say(b"\0\x01f\0octet\0", 0), None);
        let UploadCounts { requests, not_found, malformed, .. } = server.uploads.counts;
        assert_eq!((requests, not_found, malformed), (2, 1, 6));
        server.assert_empty();
    }

    #[test]
    fn a_request_that_the_driver_is_too_busy_for_leaves_everything_as_it_is() {
        let mut server = server(10);
        let line = server.ask(peer(0), "a/2000", at(0));
        server.acknowledge(line, 1);
        server.turn(at(1));
        server.request(peer(0), "busy/100", Options::default());
        assert_eq!(server.turn(at(2)), []);
        assert_eq!(server.uploads.counts.refused_full, 1);
        assert_eq!(server.turn(at(1_001)).len(), 1, "the transfer is not superseded");
    }

    #[test]
    fn each_transfer_of_a_client_has_a_socket_of_its_own_and_the_ninth_that_of_the_oldest() {
        let mut server = server(20);
        let ask = |server: &mut Server, number: u64| {
            server.ask(peer(0), &format!("{number}/2000"), at(number)).socket
        };
        let mut sockets: Vec<u8> = (0..8).map(|number| ask(&mut server, number)).collect();
        let oldest = sockets[0];
        assert_eq!(ask(&mut server, 8), oldest);
        sockets.sort_unstable();
        assert_eq!(sockets, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((server.uploads.in_flight(), server.uploads.counts.dropped), (8, 1));
    }

    #[test]
    fn nothing_is_left_when_the_service_stops() {
        let mut server = server(10);
        server.patience = Span::from_secs(1);
        for (number, file) in ["a/2000", "slow/1", "b/1"].into_iter().enumerate() {
            server.request(peer(number as u16), file, Options::default());
        }
        server.turn(at(0));
        server.request(peer(3), "c/1", Options::default());
        server.read_requests(at(1));
        server.uploads.clear();
        assert_eq!(server.turn(at(1_000)), [], "a signature that comes later is nobody's");
        server.assert_empty();
        assert_eq!(server.uploads.counts.dropped, 3);
    }
}
