use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::base::{NodeId, Span, Time};
use crate::cluster::{FileReply, ServedFile, Signed, TftpService, Waiter};
use crate::net::{Clock, listen};
use crate::transfer::{Reply, Upload, UploadLimits, write_not_found};
use crate::wire::tftp::{ErrorCode, Options, Packet};

use super::bound::{BindError, Place};
use super::counts::{TftpCounters, add, bump};
use super::signing::{Signing, waiter};
use super::table::{Line, State, TRANSFER_SOCKETS, Table, Transfer, lines};

/// Datagrams that one socket may bring per turn, and signatures and timers that are taken up per
/// turn.
const TURN_MAX: usize = 256;
/// Requests that are read from the listening socket per turn: reading is cheap, and what stays in
/// the socket may be lost.
const READ_AHEAD: usize = 4_096;
/// Requests that are read and wait to be answered; more stay in the socket. The receive buffer
/// alone holds about 10,900, and 50,000 phones may ask within half a second.
const INBOX_MAX: usize = 65_536;
/// Datagrams that are read from a transfer socket in one go before something is decided that its
/// clients may have said: more than its receive buffer holds.
const READ_OUT_MAX: usize = 16_384;
/// Longest datagram that is read: requests end at 512 bytes, acknowledgements at 4.
const DATAGRAM_MAX: usize = 1_024;
/// How long a client that was sent an answer keeps its place without a word when all places are
/// taken: those who forge addresses never speak.
const CROWDED_AFTER: Span = Span::from_millis(250);
/// How long a request for a file that is half-way through to the same port waits for evidence: a
/// client that goes on has not asked again, and the request was a late copy.
const BEGUN_AGAIN: Span = Span::from_millis(250);
/// Requests that wait for evidence at the same time; beyond that they count as new.
const DOUBTS_MAX: usize = 4_096;

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
    table: Table,
    /// Lines of the transfers that wait for a signature.
    parked: HashMap<Waiter, Line>,
    /// Signatures that have come and are not taken up yet.
    ready: VecDeque<(Waiter, Arc<[u8]>)>,
    /// Requests that were read and not answered yet.
    inbox: VecDeque<Request>,
    /// Requests that may be late copies, oldest first.
    doubts: VecDeque<Doubt>,
    /// When each transfer socket was read until nothing was left; what had come before that time
    /// is known.
    emptied: [Time; TRANSFER_SOCKETS],
    /// Makes the fingerprints of requests.
    hasher: RandomState,
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

/// How a datagram is taken from a socket.
type Receive = fn(&UdpSocket, &mut [u8]) -> io::Result<(usize, SocketAddr)>;

/// A read request.
struct Request {
    peer: SocketAddr,
    file: Box<str>,
    options: Options,
    /// When it was read from the socket.
    read_at: Time,
}

/// A request that equals the one of a transfer whose client was heard of late.
struct Doubt {
    due: Time,
    asked: Time,
    line: Line,
    id: u64,
    request: Request,
}

/// What a request is, seen beside the client's transfers.
enum Standing {
    /// Nothing that runs answers it.
    New,
    /// A copy: its answer runs, or it waits for evidence.
    Known,
    /// A copy of a client that has not heard the answer.
    Unheard(Line, Reply),
}

enum Wake {
    Work,
    Command(PumpCommand),
    End,
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
            table: Table::new(parts.transfers_max, parts.limits.timeout),
            parked: HashMap::new(),
            ready: VecDeque::new(),
            inbox: VecDeque::new(),
            doubts: VecDeque::new(),
            emptied: [Time::ZERO; TRANSFER_SOCKETS],
            hasher: RandomState::new(),
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
        let doubt = self.doubts.front().map_or(Time::NEVER, |doubt| doubt.due);
        let next = self.table.next_timer().min(doubt);
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
        if readable || due || !self.ready.is_empty() || !self.inbox.is_empty() {
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
        add(&self.parts.counters.transfers_dropped, self.table.in_flight() as u64);
        self.table.clear();
        self.publish_in_flight();
        self.parked.clear();
        self.ready.clear();
        self.inbox.clear();
        self.doubts.clear();
    }

    fn now(&self) -> Time {
        self.parts.clock.now()
    }

    /// One bounded turn of work; tells whether more may wait.
    ///
    /// Requests are read first and answered last: what their clients have said on other sockets
    /// before they asked is read in between.
    fn turn(&mut self) -> bool {
        let (Some(sockets), Some(service)) = (self.sockets.take(), self.service.clone()) else {
            self.ready.clear();
            return false;
        };
        let now = self.now();
        self.take_signed(&sockets, now);
        let mut more = self.read_requests(&sockets) || !self.ready.is_empty();
        for socket in 0..TRANSFER_SOCKETS {
            more |= self.drain(&sockets, socket);
            self.read_ahead(&sockets);
        }
        more |= self.on_timers(&sockets);
        self.settle_doubts(&sockets, &service);
        more |= self.answer_requests(&sockets, &service);
        self.sockets = Some(sockets);
        more
    }

    /// Reads requests ahead, as many as there is room for, if the runtime knows of any; tells
    /// whether more may wait.
    fn read_requests(&mut self, sockets: &Sockets) -> bool {
        self.read_by(UdpSocket::try_recv_from, sockets)
    }

    /// The same whatever the runtime knows, between two pieces of other work: what stays in the
    /// socket meanwhile may be lost.
    fn read_ahead(&mut self, sockets: &Sockets) {
        self.read_by(listen::receive_now, sockets);
    }

    fn read_by(&mut self, receive: Receive, sockets: &Sockets) -> bool {
        let mut buffer = [0; DATAGRAM_MAX];
        for _ in 0..READ_AHEAD.min(INBOX_MAX - self.inbox.len()) {
            match receive(&sockets.listener, &mut buffer) {
                Ok((length, peer)) => self.on_listener_datagram(sockets, &buffer[..length], peer),
                Err(_) => return false,
            }
        }
        true
    }

    fn on_listener_datagram(&mut self, sockets: &Sockets, bytes: &[u8], peer: SocketAddr) {
        let counters = Arc::clone(&self.parts.counters);
        bump(&counters.datagrams_in);
        if peer.port() == 0 {
            return bump(&counters.malformed);
        }
        match Packet::parse(bytes) {
            Ok(Packet::Rrq { file, octet: true, options }) => {
                let read_at = self.now();
                self.inbox.push_back(Request { peer, file: file.into(), options, read_at });
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

    /// Takes a bounded number of datagrams from a transfer socket; tells whether more may wait.
    fn drain(&mut self, sockets: &Sockets, socket: usize) -> bool {
        let mut buffer = [0; DATAGRAM_MAX];
        for _ in 0..TURN_MAX {
            let now = self.now();
            let Ok((length, peer)) = sockets.transfer[socket].try_recv_from(&mut buffer) else {
                self.emptied[socket] = now;
                return false;
            };
            let line = Line { peer, socket: socket as u8 };
            self.on_transfer_datagram(sockets, line, &buffer[..length], now);
        }
        true
    }

    /// Reads a transfer socket until nothing is left that had come by `since`, whatever the
    /// runtime knows of it: being late to read is not the client's silence.
    fn read_out(&mut self, sockets: &Sockets, socket: u8, since: Time) {
        let mut buffer = [0; DATAGRAM_MAX];
        let place = usize::from(socket);
        for count in 1..=READ_OUT_MAX {
            if self.emptied[place] >= since {
                return;
            }
            if count % TURN_MAX == 0 {
                self.read_ahead(sockets);
            }
            let now = self.now();
            match listen::receive_now(&sockets.transfer[place], &mut buffer) {
                Ok((length, peer)) => {
                    self.on_transfer_datagram(
                        sockets,
                        Line { peer, socket },
                        &buffer[..length],
                        now,
                    );
                }
                Err(_) => self.emptied[place] = now,
            }
        }
    }

    /// Answers as many requests as all transfer sockets may bring datagrams in a turn: who waits for
    /// a first answer asks again as soon as who waits for a block. Tells whether more wait.
    fn answer_requests(&mut self, sockets: &Sockets, service: &TftpService) -> bool {
        for count in 1..=TURN_MAX * TRANSFER_SOCKETS {
            if count % TURN_MAX == 0 {
                self.read_ahead(sockets);
            }
            let Some(request) = self.inbox.pop_front() else { return false };
            bump(&self.parts.counters.requests);
            let now = self.now();
            match self.standing(sockets, &request, now) {
                Standing::New => self.begin(sockets, service, &request, now),
                Standing::Known => {}
                Standing::Unheard(line, reply) => {
                    let sent = self.answer(sockets, line, reply, now);
                    add(&self.parts.counters.retransmits, sent);
                }
            }
        }
        true
    }

    /// What a request is. The transfers of its client that it might repeat are brought up to date
    /// first: their last acknowledgement may wait at another socket.
    fn standing(&mut self, sockets: &Sockets, request: &Request, now: Time) -> Standing {
        let fingerprint = self.fingerprint(request);
        for line in lines(request.peer) {
            let same = |one: &Transfer| one.request == fingerprint;
            let Some(known) = self.table.get(line).filter(|one| same(one)) else { continue };
            if !known.is_over() {
                self.read_out(sockets, line.socket, now);
            }
            let Some(transfer) = self.table.get_mut(line).filter(|one| same(one)) else {
                continue;
            };
            if request.read_at < transfer.moved {
                // It waited here, and what has been said since answers it: an answer of its own
                // would reach a client that may have asked for something else by now.
                return Standing::Known;
            }
            match &mut transfer.state {
                State::Parked { .. } => return Standing::Known,
                State::Sending(upload) if !upload.is_proven() => {
                    let reply = upload.on_repeated_request(now);
                    transfer.heard = now;
                    return Standing::Unheard(line, reply);
                }
                // All of it was sent: the word that ends it is lost or late, and a client that
                // asks now begins anew. Beside the new transfer the old one still may end.
                State::Sending(upload) if upload.is_at_end() => {}
                State::Sending(_) if transfer.doubted => return Standing::Known,
                State::Sending(_) if self.doubts.len() < DOUBTS_MAX => {
                    transfer.doubted = true;
                    let id = transfer.id;
                    self.doubt(line, id, request, now);
                    return Standing::Known;
                }
                State::Sending(_) | State::Over => {}
            }
        }
        Standing::New
    }

    fn fingerprint(&self, request: &Request) -> u64 {
        self.hasher.hash_one((&request.file, request.options))
    }

    fn doubt(&mut self, line: Line, id: u64, request: &Request, now: Time) {
        let Request { peer, options, read_at, .. } = *request;
        let request = Request { peer, file: request.file.clone(), options, read_at };
        self.doubts.push_back(Doubt { due: now + BEGUN_AGAIN, asked: now, line, id, request });
    }

    /// Serves the clients that have been silent since they asked again in mid-transfer; those
    /// that went on had not asked.
    fn settle_doubts(&mut self, sockets: &Sockets, service: &TftpService) {
        let now = self.now();
        while self.doubts.front().is_some_and(|doubt| doubt.due <= now) {
            let Some(doubt) = self.doubts.pop_front() else { return };
            self.read_out(sockets, doubt.line.socket, doubt.due);
            let transfer = self.table.get_mut(doubt.line).filter(|one| one.id == doubt.id);
            let went_on = transfer.is_some_and(|transfer| {
                transfer.doubted = false;
                transfer.heard > doubt.asked
            });
            if !went_on {
                self.begin(sockets, service, &doubt.request, now);
            }
        }
    }

    /// Begins a transfer. Others of the same client run on if it still speaks to them.
    fn begin(&mut self, sockets: &Sockets, service: &TftpService, request: &Request, now: Time) {
        if !self.has_room(sockets, now) || self.parts.signing.is_full() {
            return bump(&self.parts.counters.refused_full);
        }
        for line in lines(request.peer) {
            if let Some(transfer) = self.table.get_mut(line) {
                transfer.superseded = true;
            }
        }
        let line = Line { peer: request.peer, socket: self.choose_socket(request.peer) };
        self.next_id += 1;
        let id = waiter(self.parts.node, self.next_id);
        match service.request(&request.file, id) {
            FileReply::Missing => {
                bump(&self.parts.counters.not_found);
                write_not_found(&mut self.out);
                self.send(sockets, line);
            }
            FileReply::Ready(file) => {
                let (upload, reply) = self.upload(file, request.options, now);
                self.insert(request, line, id, State::Sending(upload), now);
                self.table.awaits_proof(line, id.0, now);
                self.answer(sockets, line, reply, now);
            }
            FileReply::Pending { file, job } => {
                let state = State::Parked { file, options: request.options };
                self.insert(request, line, id, state, now);
                self.parked.insert(id, line);
                if let Some(job) = job {
                    self.parts.signing.spawn(job);
                }
            }
        }
    }

    fn on_transfer_datagram(&mut self, sockets: &Sockets, line: Line, bytes: &[u8], now: Time) {
        let counters = &self.parts.counters;
        bump(&counters.datagrams_in);
        let block = match Packet::parse(bytes) {
            Ok(Packet::Ack { block }) => Some(block),
            Ok(Packet::Error { .. }) => None,
            _ => return bump(&counters.malformed),
        };
        if line.peer.port() == 0 {
            return bump(&counters.malformed);
        }
        let Some(transfer) = self.table.get_mut(line) else {
            // A late word of an earlier transfer is none of a stranger.
            if lines(line.peer).any(|other| self.table.get(other).is_some()) {
                return;
            }
            bump(&counters.malformed);
            if block.is_some() {
                let code = ErrorCode::UnknownTransferId;
                Packet::Error { code, message: b"" }.encode(&mut self.out);
                self.send(sockets, line);
            }
            return;
        };
        let reply = match (&mut transfer.state, block) {
            (State::Sending(upload), Some(block)) => {
                (transfer.heard, transfer.superseded) = (now, false);
                let reply = upload.on_ack(block, now);
                if let Reply::Blocks { .. } = reply {
                    transfer.moved = now;
                }
                reply
            }
            (State::Sending(upload), None) => upload.on_error(),
            (State::Parked { .. } | State::Over, _) => Reply::Nothing,
        };
        self.answer(sockets, line, reply, now);
    }

    /// Does what a transfer says; returns how many datagrams were sent.
    fn answer(&mut self, sockets: &Sockets, line: Line, reply: Reply, now: Time) -> u64 {
        match reply {
            Reply::Nothing => 0,
            Reply::Done | Reply::Dropped => {
                self.finish(line, reply == Reply::Done);
                0
            }
            Reply::Oack | Reply::Blocks { .. } => {
                self.table.arm(line, now);
                self.say(sockets, line, reply)
            }
        }
    }

    /// Sends what an upload has to say; returns how many datagrams that were.
    fn say(&mut self, sockets: &Sockets, line: Line, reply: Reply) -> u64 {
        let Some(Transfer { state: State::Sending(upload), .. }) = self.table.get(line) else {
            return 0;
        };
        let socket = &sockets.transfer[usize::from(line.socket)];
        let (out, counters) = (&mut self.out, &self.parts.counters);
        match reply {
            Reply::Oack => {
                upload.write_oack(out);
                send_to(socket, out, line.peer, counters);
                1
            }
            Reply::Blocks { first, count } => {
                for number in first..first + u64::from(count) {
                    upload.write_block(number, out);
                    send_to(socket, out, line.peer, counters);
                }
                u64::from(count)
            }
            Reply::Nothing | Reply::Done | Reply::Dropped => 0,
        }
    }

    fn refuse(&mut self, sockets: &Sockets, peer: SocketAddr, code: ErrorCode, message: &str) {
        Packet::Error { code, message: message.as_bytes() }.encode(&mut self.out);
        let socket = self.choose_socket(peer);
        self.send(sockets, Line { peer, socket });
    }

    fn send(&self, sockets: &Sockets, line: Line) {
        let socket = &sockets.transfer[usize::from(line.socket)];
        send_to(socket, &self.out, line.peer, &self.parts.counters);
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

    fn upload(&self, file: ServedFile, asked: Options, now: Time) -> (Upload<ServedFile>, Reply) {
        Upload::start(file, asked, self.parts.limits, now)
    }

    fn insert(&mut self, request: &Request, line: Line, id: Waiter, state: State, now: Time) {
        let transfer = Transfer::new(id.0, self.fingerprint(request), state, now);
        self.table.insert(line, transfer, now);
        self.publish_in_flight();
    }

    /// Whether one more transfer may run. If need be the oldest of those gives way whose client
    /// has never spoken: who floods us keeps nobody else out.
    fn has_room(&mut self, sockets: &Sockets, now: Time) -> bool {
        if self.table.has_place() {
            return true;
        }
        while let Some((since, line)) = self.table.oldest_unproven() {
            let until = since + CROWDED_AFTER;
            if now < until {
                return false;
            }
            if self.emptied[usize::from(line.socket)] < until {
                // It may have spoken, and we have not listened.
                self.read_out(sockets, line.socket, until);
                if self.table.has_place() {
                    return true;
                }
                continue;
            }
            self.finish(line, false);
            bump(&self.parts.counters.crowded_out);
            return true;
        }
        false
    }

    /// Ends a transfer, if it runs.
    fn finish(&mut self, line: Line, done: bool) {
        let id = self.table.get(line).map(|transfer| Waiter(transfer.id));
        let Some(state) = self.table.finish(line) else { return };
        if let (State::Parked { .. }, Some(id)) = (state, id) {
            self.parked.remove(&id);
        }
        let counters = &self.parts.counters;
        bump(if done { &counters.transfers_done } else { &counters.transfers_dropped });
        self.publish_in_flight();
    }

    fn publish_in_flight(&self) {
        let (counters, now) = (&self.parts.counters, self.table.in_flight() as u64);
        counters.transfers_in_flight.store(now, Ordering::Relaxed);
        counters.transfers_in_flight_max.fetch_max(now, Ordering::Relaxed);
    }

    /// Runs a bounded number of timers that are due; tells whether more may be.
    fn on_timers(&mut self, sockets: &Sockets) -> bool {
        for _ in 0..TURN_MAX {
            let now = self.now();
            let Some((time, line, id)) = self.table.take_due(now) else { return false };
            self.on_timer(sockets, line, id, time);
        }
        true
    }

    fn on_timer(&mut self, sockets: &Sockets, line: Line, id: u64, time: Time) {
        let current = |one: &&mut Transfer| one.id == id && one.armed == time;
        if self.table.get_mut(line).filter(current).is_none_or(|one| one.is_over()) {
            return self.forget(line, id, time);
        }
        self.read_out(sockets, line.socket, time);
        let now = self.now();
        let Some(transfer) = self.table.get_mut(line).filter(current) else { return };
        transfer.armed = Time::NEVER;
        if transfer.deadline() > now {
            let deadline = transfer.deadline();
            return self.table.rearm(line, deadline);
        }
        let reply = match &mut transfer.state {
            State::Sending(upload) if !transfer.superseded => upload.on_timeout(now),
            State::Sending(_) | State::Parked { .. } => Reply::Dropped,
            State::Over => Reply::Nothing,
        };
        match reply {
            Reply::Oack | Reply::Blocks { .. } => {
                let sent = self.answer(sockets, line, reply, now);
                add(&self.parts.counters.retransmits, sent);
            }
            Reply::Nothing | Reply::Done | Reply::Dropped => {
                self.finish(line, false);
                self.table.remove(line);
            }
        }
    }

    /// Removes a transfer that is over and whose time has come, unless requests are still to be
    /// answered that were read before it moved last: they may be copies of its own.
    fn forget(&mut self, line: Line, id: u64, time: Time) {
        let own = |one: &&Transfer| one.id == id && one.armed == time && one.is_over();
        let Some(moved) = self.table.get(line).filter(own).map(|one| one.moved) else { return };
        if self.inbox.front().is_some_and(|oldest| oldest.read_at < moved) {
            return self.table.rearm(line, self.now() + self.parts.limits.timeout);
        }
        self.table.remove(line);
    }

    /// Begins the transfers whose signatures have come.
    fn take_signed(&mut self, sockets: &Sockets, now: Time) {
        for _ in 0..TURN_MAX {
            let Some((waiter, header)) = self.ready.pop_front() else { return };
            let Some(line) = self.parked.remove(&waiter) else { continue };
            let limits = self.parts.limits;
            let Some(transfer) = self.table.get_mut(line) else { continue };
            let State::Parked { file, options } =
                std::mem::replace(&mut transfer.state, State::Over)
            else {
                continue;
            };
            let (upload, reply) = Upload::start(file.with_header(header), options, limits, now);
            transfer.state = State::Sending(upload);
            (transfer.since, transfer.moved) = (now, now);
            self.table.awaits_proof(line, waiter.0, now);
            self.answer(sockets, line, reply, now);
        }
    }
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
