use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use dashmap::DashMap;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::base::{NodeId, Span, Time};
use crate::cluster::{FileReply, PendingFile, ServedFile, Signed, TftpService, Waiter};
use crate::net::{Clock, listen};
use crate::transfer::{Reply, Upload, UploadLimits, write_not_found};
use crate::wire::tftp::{ErrorCode, Options, Packet};

use super::bound::{BindError, Place};
use super::counts::{TftpCounters, add, bump};
use super::signing::{Signing, waiter};

/// Sockets that carry transfers; a TID is a port, and only the pair of ports must be unique.
const TRANSFER_SOCKETS: usize = 8;
/// Datagrams that one socket may bring per turn, and signatures that are taken up per turn.
const TURN_MAX: usize = 256;
/// Longest datagram that is read: requests end at 512 bytes, acknowledgements at 4.
const DATAGRAM_MAX: usize = 1_024;
/// Longest wait for a signature.
const PARK_MAX: Span = Span::from_secs(60);
/// Longest wait for the first word of a client, whatever time-out it has asked for.
const UNPROVEN_MAX: Span = Span::from_secs(20);
/// A client that was silent for so long and asks for the same file has begun again; before that
/// the request is a late copy.
const BEGUN_AGAIN: Span = Span::from_millis(900);

/// How long a client that was sent an answer keeps its place without a word when all places are
/// taken: those who forge addresses never speak.
const CROWDED_AFTER: Span = Span::from_millis(250);

/// One valid entry per transfer: time, peer, and number of the transfer.
type Timers = BinaryHeap<Reverse<(Time, SocketAddr, u64)>>;

/// What a pump is told; the answer comes when it is in force.
#[derive(Debug)]
pub(super) enum PumpCommand {
    /// Serve this from now on; transfers that run keep their file.
    Start(Arc<TftpService>, oneshot::Sender<Result<(), BindError>>),
    /// Close the sockets and drop the transfers.
    Stop(oneshot::Sender<()>),
}

/// What a pump is made of.
pub(super) struct PumpParts {
    pub(super) node: NodeId,
    pub(super) place: Place,
    pub(super) clock: Clock,
    pub(super) limits: UploadLimits,
    pub(super) transfers_max: usize,
    pub(super) signing: Signing,
    pub(super) counters: Arc<TftpCounters>,
    pub(super) commands: Receiver<PumpCommand>,
    pub(super) signed: UnboundedReceiver<Signed>,
}

/// The datagram pump of one TFTP node: one thread, one listening socket, a few sockets for all
/// transfers.
pub(super) struct Pump {
    parts: PumpParts,
    sockets: Option<Sockets>,
    service: Option<Arc<TftpService>>,
    transfers: DashMap<SocketAddr, Transfer>,
    in_flight: usize,
    /// Peers of the transfers that wait for a signature.
    parked: HashMap<Waiter, SocketAddr>,
    /// Signatures that have come and are not taken up yet.
    ready: VecDeque<(Waiter, Arc<[u8]>)>,
    timers: Timers,
    /// Transfers whose client has not spoken yet, oldest first, and some that are stale.
    unproven: VecDeque<(Time, SocketAddr, u64)>,
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` ends.
    sleep_until: Time,
    next_id: u64,
    next_socket: usize,
    out: Vec<u8>,
}

#[derive(Debug)]
struct Sockets {
    listener: UdpSocket,
    transfer: Vec<UdpSocket>,
}

#[derive(Debug)]
struct Transfer {
    /// Tells it from an earlier transfer of the same peer.
    id: u64,
    file: Box<str>,
    /// Which of the transfer sockets carries it.
    socket: usize,
    /// When it began to wait for a signature, or began to send.
    since: Time,
    /// When the peer was heard last.
    heard: Time,
    /// Time of its entry among the timers; entries with another time are stale.
    armed: Time,
    state: State,
}

#[derive(Debug)]
enum State {
    Parked {
        file: PendingFile,
        options: Options,
    },
    Sending(Upload<ServedFile>),
    /// Over; kept until its timer comes, so that late copies of the peer's last words are known
    /// for what they are and its next transfer gets another socket.
    Over,
}

/// A read request.
#[derive(Clone, Copy)]
struct Request<'a> {
    peer: SocketAddr,
    file: &'a str,
    options: Options,
}

enum Wake {
    Work,
    Command(PumpCommand),
    End,
}

impl Transfer {
    fn deadline(&self) -> Time {
        match &self.state {
            State::Parked { .. } => self.since + PARK_MAX,
            State::Sending(upload) if upload.is_proven() => upload.deadline(),
            State::Sending(upload) => upload.deadline().min(self.since + UNPROVEN_MAX),
            State::Over => Time::ZERO,
        }
    }

    /// Makes sure that there is a timer that comes no later than the deadline.
    ///
    /// The first timer comes after one time-out, although a client that was not heard yet gets
    /// several: when it answers, the deadline moves closer, and the timer is there already.
    fn arm(&mut self, peer: SocketAddr, now: Time, first: Span, timers: &mut Timers) {
        let deadline = self.deadline();
        if deadline < self.armed {
            let is_first = self.armed == Time::NEVER;
            self.armed = if is_first { deadline.min(now + first) } else { deadline };
            timers.push(Reverse((self.armed, peer, self.id)));
        }
    }

    /// Sends what the upload has to say; returns how many datagrams that were.
    fn say(
        &self,
        reply: Reply,
        peer: SocketAddr,
        sockets: &Sockets,
        out: &mut Vec<u8>,
        counters: &TftpCounters,
    ) -> u64 {
        let State::Sending(upload) = &self.state else { return 0 };
        let socket = &sockets.transfer[self.socket];
        match reply {
            Reply::Oack => {
                upload.write_oack(out);
                send_to(socket, out, peer, counters);
                1
            }
            Reply::Blocks { first, count } => {
                for number in first..first + u64::from(count) {
                    upload.write_block(number, out);
                    send_to(socket, out, peer, counters);
                }
                u64::from(count)
            }
            Reply::Nothing | Reply::Done | Reply::Dropped => 0,
        }
    }
}

impl Sockets {
    /// The transfer sockets of a listener, at its address.
    fn new(listener: std::net::UdpSocket) -> io::Result<Sockets> {
        let mut address = listener.local_addr()?;
        address.set_port(0);
        let open = |_| UdpSocket::from_std(listen::udp(address)?);
        let transfer = (0..TRANSFER_SOCKETS).map(open).collect::<io::Result<_>>()?;
        Ok(Sockets { listener: UdpSocket::from_std(listener)?, transfer })
    }

    fn is_readable(&self, context: &mut Context<'_>) -> bool {
        // Every socket is asked, so that each of them wakes us.
        let mut any = self.listener.poll_recv_ready(context).is_ready();
        for socket in &self.transfer {
            any |= socket.poll_recv_ready(context).is_ready();
        }
        any
    }
}

impl Pump {
    /// A pump that serves nothing yet; to be made inside its runtime.
    pub(super) fn new(
        mut parts: PumpParts,
        listener: std::net::UdpSocket,
    ) -> Result<Pump, BindError> {
        parts.place.address = listener.local_addr().map_err(|cause| parts.place.error(cause))?;
        let sockets = Sockets::new(listener).map_err(|cause| parts.place.error(cause))?;
        Ok(Pump {
            sockets: Some(sockets),
            service: None,
            transfers: DashMap::new(),
            in_flight: 0,
            parked: HashMap::new(),
            ready: VecDeque::new(),
            timers: BinaryHeap::new(),
            unproven: VecDeque::new(),
            sleep: Box::pin(tokio::time::sleep_until(parts.clock.instant_at(Time::NEVER))),
            sleep_until: Time::NEVER,
            next_id: 0,
            next_socket: 0,
            out: Vec::with_capacity(64 * 1_024),
            parts,
        })
    }

    /// Pumps until the commands end.
    pub(super) async fn run(mut self) {
        loop {
            match self.wait().await {
                Wake::Work => {
                    if self.turn() {
                        // More waits at sockets that are known to be ready; let the runtime look
                        // at the others as well.
                        tokio::task::yield_now().await;
                    }
                }
                Wake::Command(command) => self.command(command),
                Wake::End => return self.drop_all(),
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let next = self.timers.peek().map_or(Time::NEVER, |Reverse((time, ..))| *time);
        if next != self.sleep_until {
            self.sleep.as_mut().reset(self.parts.clock.instant_at(next));
            self.sleep_until = next;
        }
        std::future::poll_fn(|context| self.poll_wake(context)).await
    }

    fn poll_wake(&mut self, context: &mut Context<'_>) -> Poll<Wake> {
        if let Poll::Ready(command) = self.parts.commands.poll_recv(context) {
            return Poll::Ready(command.map_or(Wake::End, Wake::Command));
        }
        while let Poll::Ready(Some(signed)) = self.parts.signed.poll_recv(context) {
            let header = signed.header;
            self.ready.extend(signed.waiters.into_iter().map(|one| (one, Arc::clone(&header))));
        }
        let readable = self.service.is_some()
            && self.sockets.as_ref().is_some_and(|sockets| sockets.is_readable(context));
        let due = std::future::Future::poll(self.sleep.as_mut(), context).is_ready();
        if readable || due || !self.ready.is_empty() {
            return Poll::Ready(Wake::Work);
        }
        Poll::Pending
    }

    fn command(&mut self, command: PumpCommand) {
        match command {
            PumpCommand::Start(service, done) => {
                let opened = self.open();
                if opened.is_ok() {
                    self.service = Some(service);
                }
                // Who does not wait for the answer does not need it.
                let _ = done.send(opened);
            }
            PumpCommand::Stop(done) => {
                self.drop_all();
                let _ = done.send(());
            }
        }
    }

    /// Opens the sockets at the same address and port as before, if they are closed.
    fn open(&mut self) -> Result<(), BindError> {
        if self.sockets.is_none() {
            let place = &self.parts.place;
            let opened = listen::udp(place.address).and_then(Sockets::new);
            self.sockets = Some(opened.map_err(|cause| place.error(cause))?);
        }
        Ok(())
    }

    fn drop_all(&mut self) {
        self.service = None;
        self.sockets = None;
        add(&self.parts.counters.transfers_dropped, self.in_flight as u64);
        self.in_flight = 0;
        self.publish_in_flight();
        self.transfers.clear();
        self.parked.clear();
        self.ready.clear();
        self.timers.clear();
        self.unproven.clear();
    }

    /// One bounded turn of work; tells whether more may wait.
    fn turn(&mut self) -> bool {
        let (Some(sockets), Some(service)) = (self.sockets.take(), self.service.clone()) else {
            self.ready.clear();
            return false;
        };
        let now = self.parts.clock.now();
        self.take_signed(&sockets, now);
        let mut buffer = [0; DATAGRAM_MAX];
        let mut more = self.on_timers(&sockets, now) || !self.ready.is_empty();
        for index in 0..sockets.transfer.len() {
            more |= drain(&sockets.transfer[index], &mut buffer, |bytes, peer| {
                self.on_transfer_datagram(&sockets, index, bytes, peer, now);
            });
        }
        more |= drain(&sockets.listener, &mut buffer, |bytes, peer| {
            self.on_listener_datagram(&sockets, &service, bytes, peer, now);
        });
        self.sockets = Some(sockets);
        more
    }

    fn on_listener_datagram(
        &mut self,
        sockets: &Sockets,
        service: &TftpService,
        bytes: &[u8],
        peer: SocketAddr,
        now: Time,
    ) {
        let counters = Arc::clone(&self.parts.counters);
        bump(&counters.datagrams_in);
        if peer.port() == 0 {
            return bump(&counters.malformed);
        }
        match Packet::parse(bytes) {
            Ok(Packet::Rrq { file, octet: true, options }) => {
                bump(&counters.requests);
                self.on_request(sockets, service, Request { peer, file, options }, now);
            }
            Ok(Packet::Rrq { .. }) => {
                bump(&counters.requests);
                self.refuse(sockets, peer, ErrorCode::NotDefined, "only mode octet is served");
            }
            Ok(Packet::Wrq) => {
                self.refuse(sockets, peer, ErrorCode::AccessViolation, "files are read-only");
            }
            Ok(_) => bump(&counters.malformed),
            Err(_) => {
                bump(&counters.malformed);
                // Only what looks like a request is answered, so that two servers cannot be made
                // to answer each other for ever.
                if bytes.starts_with(&[0, 1]) {
                    self.refuse(sockets, peer, ErrorCode::IllegalOperation, "malformed request");
                }
            }
        }
    }

    fn on_request(
        &mut self,
        sockets: &Sockets,
        service: &TftpService,
        request: Request<'_>,
        now: Time,
    ) {
        if self.is_repeated(sockets, request, now) {
            return;
        }
        // The peer has begun something else: its earlier transfer is over, and the next one gets
        // another socket than the last.
        let previous = self.transfers.get(&request.peer).map(|transfer| transfer.socket);
        self.finish(request.peer, false);
        if !self.has_room(now) || self.parts.signing.is_full() {
            return bump(&self.parts.counters.refused_full);
        }
        let socket = self.choose_socket(previous);
        self.next_id += 1;
        let id = waiter(self.parts.node, self.next_id);
        match service.request(request.file, id) {
            FileReply::Missing => {
                bump(&self.parts.counters.not_found);
                write_not_found(&mut self.out);
                self.send(&sockets.transfer[socket], request.peer);
            }
            FileReply::Ready(file) => {
                let (upload, reply) = self.begin(file, request.options, now);
                self.insert(request, id, socket, State::Sending(upload), now);
                self.awaits_proof(request.peer, id.0, now);
                self.answer(sockets, request.peer, reply, now);
            }
            FileReply::Pending { file, job } => {
                let state = State::Parked { file, options: request.options };
                self.insert(request, id, socket, state, now);
                self.parked.insert(id, request.peer);
                if let Some(job) = job {
                    self.parts.signing.spawn(job);
                }
            }
        }
    }

    /// Whether the request is a copy of the one that the peer's transfer answers; if the peer did
    /// not hear the answer, it is said again.
    fn is_repeated(&mut self, sockets: &Sockets, request: Request<'_>, now: Time) -> bool {
        let Some(mut transfer) = self.transfers.get_mut(&request.peer) else { return false };
        if *transfer.file != *request.file {
            return false;
        }
        let silent = now.since(transfer.heard);
        let reply = match &mut transfer.state {
            State::Parked { .. } => return true,
            State::Sending(upload) if !upload.is_proven() => upload.on_repeated_request(now),
            State::Sending(_) => return silent < BEGUN_AGAIN,
            State::Over => return false,
        };
        transfer.heard = now;
        drop(transfer);
        let sent = self.answer(sockets, request.peer, reply, now);
        add(&self.parts.counters.retransmits, sent);
        true
    }

    fn on_transfer_datagram(
        &mut self,
        sockets: &Sockets,
        index: usize,
        bytes: &[u8],
        peer: SocketAddr,
        now: Time,
    ) {
        let counters = &self.parts.counters;
        bump(&counters.datagrams_in);
        let block = match Packet::parse(bytes) {
            Ok(Packet::Ack { block }) => Some(block),
            Ok(Packet::Error { .. }) => None,
            _ => return bump(&counters.malformed),
        };
        if peer.port() == 0 {
            return bump(&counters.malformed);
        }
        let reply = match self.transfers.get_mut(&peer) {
            Some(mut transfer) if transfer.socket == index => {
                transfer.heard = now;
                let reply = match (&mut transfer.state, block) {
                    (State::Sending(upload), Some(block)) => upload.on_ack(block, now),
                    (State::Sending(upload), None) => upload.on_error(),
                    (State::Parked { .. } | State::Over, _) => Reply::Nothing,
                };
                // The usual case: one look-up per datagram.
                if let Reply::Oack | Reply::Blocks { .. } = reply {
                    transfer.say(reply, peer, sockets, &mut self.out, counters);
                    transfer.arm(peer, now, self.parts.limits.timeout, &mut self.timers);
                    return;
                }
                reply
            }
            // A late word of an earlier transfer; an error might end the one that runs now.
            Some(_) => Reply::Nothing,
            None => {
                bump(&counters.malformed);
                if block.is_some() {
                    let code = ErrorCode::UnknownTransferId;
                    Packet::Error { code, message: b"" }.encode(&mut self.out);
                    self.send(&sockets.transfer[index], peer);
                }
                return;
            }
        };
        self.answer(sockets, peer, reply, now);
    }

    /// Does what a transfer says; returns how many datagrams were sent.
    fn answer(&mut self, sockets: &Sockets, peer: SocketAddr, reply: Reply, now: Time) -> u64 {
        match reply {
            Reply::Nothing => 0,
            Reply::Done | Reply::Dropped => {
                self.finish(peer, reply == Reply::Done);
                0
            }
            Reply::Oack | Reply::Blocks { .. } => {
                let Some(mut transfer) = self.transfers.get_mut(&peer) else { return 0 };
                transfer.arm(peer, now, self.parts.limits.timeout, &mut self.timers);
                transfer.say(reply, peer, sockets, &mut self.out, &self.parts.counters)
            }
        }
    }

    fn refuse(&mut self, sockets: &Sockets, peer: SocketAddr, code: ErrorCode, message: &str) {
        Packet::Error { code, message: message.as_bytes() }.encode(&mut self.out);
        let socket = self.choose_socket(None);
        self.send(&sockets.transfer[socket], peer);
    }

    fn send(&self, socket: &UdpSocket, peer: SocketAddr) {
        send_to(socket, &self.out, peer, &self.parts.counters);
    }

    fn choose_socket(&mut self, previous: Option<usize>) -> usize {
        self.next_socket = (self.next_socket + 1) % TRANSFER_SOCKETS;
        if previous == Some(self.next_socket) {
            self.next_socket = (self.next_socket + 1) % TRANSFER_SOCKETS;
        }
        self.next_socket
    }

    fn begin(&self, file: ServedFile, asked: Options, now: Time) -> (Upload<ServedFile>, Reply) {
        Upload::start(file, asked, self.parts.limits, now)
    }

    fn insert(&mut self, request: Request<'_>, id: Waiter, socket: usize, state: State, now: Time) {
        let mut transfer = Transfer {
            id: id.0,
            file: request.file.into(),
            socket,
            since: now,
            heard: now,
            armed: Time::NEVER,
            state,
        };
        transfer.arm(request.peer, now, self.parts.limits.timeout, &mut self.timers);
        self.transfers.insert(request.peer, transfer);
        self.in_flight += 1;
        self.publish_in_flight();
        self.trim_timers();
    }

    /// Remembers that a client has been answered for the first time.
    fn awaits_proof(&mut self, peer: SocketAddr, id: u64, now: Time) {
        while self.unproven.front().is_some_and(|(_, peer, id)| !self.is_unproven(*peer, *id)) {
            self.unproven.pop_front();
        }
        self.unproven.push_back((now, peer, id));
    }

    fn is_unproven(&self, peer: SocketAddr, id: u64) -> bool {
        self.transfers.get(&peer).is_some_and(|transfer| {
            let silent = |upload: &Upload<ServedFile>| !upload.is_proven();
            transfer.id == id && matches!(&transfer.state, State::Sending(one) if silent(one))
        })
    }

    /// Whether one more transfer may run. If need be the oldest of those gives way whose client
    /// has never spoken: who floods us keeps nobody else out.
    fn has_room(&mut self, now: Time) -> bool {
        if self.in_flight < self.parts.transfers_max {
            return true;
        }
        while let Some(&(since, peer, id)) = self.unproven.front() {
            if self.is_unproven(peer, id) {
                if now.since(since) < CROWDED_AFTER {
                    return false;
                }
                self.finish(peer, false);
                bump(&self.parts.counters.crowded_out);
                return true;
            }
            self.unproven.pop_front();
        }
        false
    }

    /// Ends the peer's transfer, if one runs.
    fn finish(&mut self, peer: SocketAddr, done: bool) {
        let Some(mut transfer) = self.transfers.get_mut(&peer) else { return };
        if let State::Over = transfer.state {
            return;
        }
        if let State::Parked { .. } = transfer.state {
            self.parked.remove(&Waiter(transfer.id));
        }
        transfer.state = State::Over;
        drop(transfer);
        self.in_flight -= 1;
        let counters = &self.parts.counters;
        bump(if done { &counters.transfers_done } else { &counters.transfers_dropped });
        self.publish_in_flight();
        if self.transfers.len() > self.parts.transfers_max * 2 {
            self.transfers.remove(&peer);
        }
    }

    fn publish_in_flight(&self) {
        let counters = &self.parts.counters;
        counters.transfers_in_flight.store(self.in_flight as u64, Ordering::Relaxed);
        counters.transfers_in_flight_max.fetch_max(self.in_flight as u64, Ordering::Relaxed);
    }

    /// Drops stale timers, when peers that begin again and again have left too many.
    fn trim_timers(&mut self) {
        if self.timers.len() > self.parts.transfers_max * 4 {
            let (timers, transfers) = (&mut self.timers, &self.transfers);
            timers.retain(|Reverse((time, peer, id))| {
                transfers.get(peer).is_some_and(|one| one.armed == *time && one.id == *id)
            });
        }
    }

    /// Runs a bounded number of timers that are due; tells whether more may be.
    fn on_timers(&mut self, sockets: &Sockets, now: Time) -> bool {
        for _ in 0..TURN_MAX {
            match self.timers.peek().copied() {
                Some(Reverse((time, peer, id))) if time <= now => {
                    self.timers.pop();
                    self.on_timer(sockets, peer, id, time, now);
                }
                _ => return false,
            }
        }
        true
    }

    fn on_timer(&mut self, sockets: &Sockets, peer: SocketAddr, id: u64, time: Time, now: Time) {
        let Some(mut transfer) = self.transfers.get_mut(&peer) else { return };
        if transfer.id != id || transfer.armed != time {
            return;
        }
        let deadline = transfer.deadline();
        if deadline > now {
            transfer.armed = deadline;
            self.timers.push(Reverse((deadline, peer, id)));
            return;
        }
        transfer.armed = Time::NEVER;
        let reply = match &mut transfer.state {
            State::Sending(upload) => upload.on_timeout(now),
            State::Parked { .. } => Reply::Dropped,
            State::Over => Reply::Nothing,
        };
        drop(transfer);
        match reply {
            Reply::Oack | Reply::Blocks { .. } => {
                let sent = self.answer(sockets, peer, reply, now);
                add(&self.parts.counters.retransmits, sent);
            }
            Reply::Nothing | Reply::Done | Reply::Dropped => {
                self.finish(peer, false);
                self.transfers.remove(&peer);
            }
        }
    }

    /// Begins the transfers whose signatures have come.
    fn take_signed(&mut self, sockets: &Sockets, now: Time) {
        for _ in 0..TURN_MAX {
            let Some((waiter, header)) = self.ready.pop_front() else { return };
            let Some(peer) = self.parked.remove(&waiter) else { continue };
            let Some(mut transfer) = self.transfers.get_mut(&peer) else { continue };
            let State::Parked { file, options } =
                std::mem::replace(&mut transfer.state, State::Over)
            else {
                continue;
            };
            let (upload, reply) = self.begin(file.with_header(header), options, now);
            transfer.state = State::Sending(upload);
            transfer.since = now;
            let id = transfer.id;
            drop(transfer);
            self.awaits_proof(peer, id, now);
            self.answer(sockets, peer, reply, now);
        }
    }
}

/// Reads a bounded number of datagrams; tells whether more may wait.
fn drain(
    socket: &UdpSocket,
    buffer: &mut [u8; DATAGRAM_MAX],
    mut take: impl FnMut(&[u8], SocketAddr),
) -> bool {
    for _ in 0..TURN_MAX {
        match socket.try_recv_from(buffer) {
            Ok((length, peer)) => take(&buffer[..length], peer),
            Err(_) => return false,
        }
    }
    true
}

/// Datagrams that the host does not take are lost like any other: who misses one asks again.
fn send_to(socket: &UdpSocket, bytes: &[u8], peer: SocketAddr, counters: &TftpCounters) {
    match socket.try_send_to(bytes, peer) {
        Ok(length) => {
            bump(&counters.datagrams_out);
            add(&counters.bytes_out, length as u64);
        }
        Err(_) => bump(&counters.send_failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Span = Span::from_secs(1);

    fn peer() -> SocketAddr {
        ([127, 0, 0, 1], 40_000).into()
    }

    fn transfer(options: Options) -> Transfer {
        let file = ServedFile::plain(Arc::from(vec![7; 2_000]));
        let (upload, _) = Upload::start(file, options, UploadLimits::default(), Time::ZERO);
        Transfer {
            id: 1,
            file: "f".into(),
            socket: 0,
            since: Time::ZERO,
            heard: Time::ZERO,
            armed: Time::NEVER,
            state: State::Sending(upload),
        }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn a_silent_client_cannot_ask_for_a_long_wait() {
        let patient = Options { timeout_s: Some(255), ..Options::default() };
        assert_eq!(transfer(patient).deadline(), Time::ZERO + UNPROVEN_MAX);
        assert_eq!(transfer(Options::default()).deadline(), at(5));
    }

    #[test]
    fn one_timer_serves_a_transfer_that_moves_on() {
        let (mut one, mut timers) = (transfer(Options::default()), Timers::new());
        one.arm(peer(), Time::ZERO, TIMEOUT, &mut timers);
        for block in 1..=3 {
            let State::Sending(upload) = &mut one.state else { panic!() };
            upload.on_ack(block, Time::from_nanos(u64::from(block)));
            one.arm(peer(), Time::from_nanos(u64::from(block)), TIMEOUT, &mut timers);
        }
        assert_eq!(timers.into_vec(), [Reverse((at(1), peer(), 1))]);
    }

    #[test]
    fn a_deadline_that_moves_closer_gets_a_timer_of_its_own() {
        let (mut one, mut timers) = (transfer(Options::default()), Timers::new());
        one.armed = at(60);
        one.arm(peer(), Time::ZERO, TIMEOUT, &mut timers);
        one.arm(peer(), Time::ZERO, TIMEOUT, &mut timers);
        assert_eq!(timers.into_vec(), [Reverse((at(5), peer(), 1))]);
    }
}
