use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::base::Time;
use crate::cluster::{FileReply, PendingFile, ServedFile, Signed, TftpService};
use crate::net::{Clock, listen};
use crate::transfer::{
    Found, Line, Offer, Step, TRANSFER_SOCKETS, Transmit, UploadLimits, Uploads,
};

use super::bound::{BindError, Place};
use super::counts::{TftpCounters, add, bump};
use super::signing::{Signing, count_of, waiter};

/// Datagrams that one socket may bring per turn, and signatures and timers that are taken up per
/// turn.
const TURN_MAX: usize = 256;
/// Requests that are read from the listening socket per turn: reading is cheap, and what stays in
/// the socket may be lost.
const READ_AHEAD: usize = 4_096;
/// Requests that are answered per turn, as many as all transfer sockets may bring datagrams: who
/// waits for a first answer asks again as soon as who waits for a block.
const ANSWERS_MAX: usize = TURN_MAX * TRANSFER_SOCKETS;
/// Datagrams that are read from a transfer socket in one go before something is decided that its
/// clients may have said: more than its receive buffer holds.
const READ_OUT_MAX: usize = 16_384;
/// Longest datagram that is read: requests end at 512 bytes, acknowledgements at 4.
const DATAGRAM_MAX: usize = 1_024;

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
/// transfers. What is answered and when says [`Uploads`].
pub(super) struct Pump {
    parts: PumpParts,
    sockets: Option<Sockets>,
    service: Option<Arc<TftpService>>,
    uploads: Transfers,
    /// Signatures that have come and are not taken up yet, by the numbers of their transfers.
    ready: VecDeque<(u64, Arc<[u8]>)>,
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` ends.
    sleep_until: Time,
    buffer: [u8; DATAGRAM_MAX],
    out: Vec<u8>,
}

type Transfers = Uploads<ServedFile, PendingFile>;

#[derive(Debug)]
struct Sockets {
    listener: UdpSocket,
    transfer: Vec<UdpSocket>,
}

/// How a datagram is taken from a socket.
type Receive = fn(&UdpSocket, &mut [u8]) -> io::Result<(usize, SocketAddr)>;

/// One bounded turn of work.
struct Pass<'a> {
    parts: &'a PumpParts,
    sockets: &'a Sockets,
    service: &'a TftpService,
    uploads: &'a mut Transfers,
    buffer: &'a mut [u8],
    out: &'a mut Vec<u8>,
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
    pub(super) fn new(parts: PumpParts, listener: std::net::UdpSocket) -> Result<Pump, BindError> {
        let sockets = Sockets::new(listener).map_err(|cause| parts.place.error(cause))?;
        Ok(Pump {
            sockets: Some(sockets),
            service: None,
            uploads: Uploads::new(parts.limits, parts.transfers_max),
            ready: VecDeque::new(),
            sleep: Box::pin(tokio::time::sleep_until(parts.clock.instant_at(Time::NEVER))),
            sleep_until: Time::NEVER,
            buffer: [0; DATAGRAM_MAX],
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
        let next = self.uploads.next_timeout();
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
            let transfers = signed.waiters.into_iter().map(count_of);
            self.ready.extend(transfers.map(|id| (id, Arc::clone(&header))));
        }
        let readable = self.service.is_some()
            && self.sockets.as_ref().is_some_and(|sockets| sockets.is_readable(context));
        let due = std::future::Future::poll(self.sleep.as_mut(), context).is_ready();
        if readable || due || !self.ready.is_empty() || self.uploads.has_requests() {
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
        self.ready.clear();
        self.uploads.clear();
        self.parts.counters.show(self.uploads.counts(), self.uploads.in_flight());
    }

    /// One bounded turn of work; tells whether more may wait.
    fn turn(&mut self) -> bool {
        let (Some(sockets), Some(service)) = (&self.sockets, &self.service) else {
            self.ready.clear();
            return false;
        };
        let (parts, uploads) = (&self.parts, &mut self.uploads);
        let (buffer, out) = (&mut self.buffer, &mut self.out);
        Pass { parts, sockets, service, uploads, buffer, out }.run(&mut self.ready)
    }
}

impl Pass<'_> {
    /// Requests are read first and answered last: what their clients have said on other sockets
    /// before they asked is read in between.
    fn run(mut self, ready: &mut VecDeque<(u64, Arc<[u8]>)>) -> bool {
        self.take_signed(ready);
        let mut more = self.read_by(UdpSocket::try_recv_from) || !ready.is_empty();
        for socket in 0..TRANSFER_SOCKETS as u8 {
            more |= self.drain(socket);
            self.read_ahead();
        }
        more |= self.steps(Transfers::on_timeout, TURN_MAX);
        more |= self.steps(Transfers::next_answer, ANSWERS_MAX);
        self.show_counts();
        more
    }

    fn now(&self) -> Time {
        self.parts.clock.now()
    }

    /// Begins the transfers whose signatures have come.
    fn take_signed(&mut self, ready: &mut VecDeque<(u64, Arc<[u8]>)>) {
        let now = self.now();
        for (id, header) in ready.drain(..ready.len().min(TURN_MAX)) {
            let first = self.uploads.on_completed(id, |file| file.with_header(header), now);
            self.send(first);
        }
    }

    /// Reads requests ahead, whatever the runtime knows of them, between two pieces of other work:
    /// what stays in the socket meanwhile may be lost.
    fn read_ahead(&mut self) {
        self.read_by(listen::receive_now);
    }

    /// Reads as many requests as there is room for; tells whether more may wait.
    fn read_by(&mut self, receive: Receive) -> bool {
        for _ in 0..READ_AHEAD.min(self.uploads.inbox_room()) {
            let Ok((length, peer)) = receive(&self.sockets.listener, self.buffer) else {
                return false;
            };
            bump(&self.parts.counters.datagrams_in);
            let now = self.now();
            let answer = self.uploads.on_request(peer, &self.buffer[..length], now);
            self.send(answer);
        }
        true
    }

    /// Takes a bounded number of datagrams from a transfer socket; tells whether more may wait.
    fn drain(&mut self, socket: u8) -> bool {
        (0..TURN_MAX).all(|_| self.receive(UdpSocket::try_recv_from, socket))
    }

    /// Reads a transfer socket until nothing is left that had come by `since`, whatever the
    /// runtime knows of it.
    fn read_out(&mut self, socket: u8, since: Time) {
        for count in 1..=READ_OUT_MAX {
            if count % TURN_MAX == 0 {
                self.read_ahead();
            }
            if !self.receive(listen::receive_now, socket) {
                return;
            }
        }
        // What it held then was less.
        self.uploads.on_emptied(socket, since);
    }

    /// Takes a datagram from a transfer socket; tells whether there was one.
    fn receive(&mut self, receive: Receive, socket: u8) -> bool {
        let now = self.now();
        let from = &self.sockets.transfer[usize::from(socket)];
        let Ok((length, peer)) = receive(from, self.buffer) else {
            self.uploads.on_emptied(socket, now);
            return false;
        };
        bump(&self.parts.counters.datagrams_in);
        let line = Line { peer, socket };
        let answer = self.uploads.on_datagram(line, &self.buffer[..length], now);
        self.send(answer);
        true
    }

    /// Takes steps until none is left, or so many; tells whether more may be left.
    fn steps(&mut self, next: fn(&mut Transfers, Time) -> Step, most: usize) -> bool {
        for count in 1..=most {
            if count % TURN_MAX == 0 {
                self.read_ahead();
            }
            let now = self.now();
            match next(self.uploads, now) {
                Step::Idle => return false,
                Step::Done => {}
                Step::Send(transmit) => self.send(Some(transmit)),
                Step::ReadOut { socket, since } => self.read_out(socket, since),
                Step::Begin(offer) => self.begin(offer),
            }
        }
        true
    }

    fn begin(&mut self, offer: Offer) {
        let PumpParts { place, signing, .. } = self.parts;
        let (found, job) = if signing.is_full() {
            (Found::Busy, None)
        } else {
            match self.service.request(offer.file(), waiter(place.id, offer.id)) {
                FileReply::Missing => (Found::Missing, None),
                FileReply::Ready(file) => (Found::Ready(file), None),
                FileReply::Pending { file, job } => (Found::Pending(file), job),
            }
        };
        let answer = self.uploads.begin(offer, found);
        self.send(answer);
        if let Some(job) = job {
            signing.spawn(job);
        }
    }

    fn send(&mut self, transmit: Option<Transmit>) {
        let Some(transmit) = transmit else { return };
        // Who reads the answer finds it counted.
        self.show_counts();
        let Line { peer, socket } = transmit.line;
        let socket = &self.sockets.transfer[usize::from(socket)];
        let counters = &self.parts.counters;
        self.uploads.write(transmit, self.out, |bytes, length| {
            if bytes.len() <= length {
                return send_to(socket, bytes, peer, counters);
            }
            match listen::send_together(socket, bytes, length, peer) {
                Ok(()) => {
                    add(&counters.datagrams_out, bytes.len().div_ceil(length) as u64);
                    add(&counters.bytes_out, bytes.len() as u64);
                }
                // The way to the client is too narrow for one, or the host does not cut.
                Err(_) => {
                    bytes.chunks(length).for_each(|bytes| send_to(socket, bytes, peer, counters));
                }
            }
        });
    }

    fn show_counts(&self) {
        self.parts.counters.show(self.uploads.counts(), self.uploads.in_flight());
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
