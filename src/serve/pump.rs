use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::base::Time;
use crate::cluster::{FileReply, PendingFile, ServedFile, Signed, TftpService};
use crate::net::{Clock, Incoming, Outgoing, listen};
use crate::transfer::{
    Found, Line, Offer, Step, TRANSFER_SOCKETS, Transmit, UploadLimits, Uploads,
};

use super::bound::{BindError, Place};
use super::counts::{TftpCounters, add, bump};
use super::signing::{Signing, count_of, waiter};

/// Datagrams that one socket may bring per turn, and signatures that are taken up per turn.
const TURN_MAX: usize = 256;
/// Requests that are read from the listening socket per turn: reading is cheap, and what stays in
/// the socket may be lost.
const READ_AHEAD: usize = 4_096;
/// Requests that are answered per turn, and timers that are taken up, as many as all transfer
/// sockets may bring datagrams: who waits for a first answer asks again as soon as who waits for a
/// block.
const STEPS_MAX: usize = TURN_MAX * TRANSFER_SOCKETS;
/// Datagrams that are read from a transfer socket in one go before something is decided that its
/// clients may have said, if the host does not tell how many wait: more than its receive buffer
/// holds.
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
    /// Whether the last turn has left something in a socket.
    more: bool,
    /// Signatures that have come and are not taken up yet, by the numbers of their transfers.
    ready: VecDeque<(u64, Arc<[u8]>)>,
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` ends.
    sleep_until: Time,
}

/// Datagrams on their way; they stay in the thread that pumps.
struct Batches {
    incoming: Incoming<DATAGRAM_MAX>,
    /// What is to be sent, by the transfer socket.
    outgoing: [Outgoing; TRANSFER_SOCKETS],
    /// Where one is put together.
    scratch: Vec<u8>,
}

type Transfers = Uploads<ServedFile, PendingFile>;

#[derive(Debug)]
struct Sockets {
    listener: UdpSocket,
    transfer: Vec<UdpSocket>,
}

/// One bounded turn of work.
struct Pass<'a> {
    parts: &'a PumpParts,
    sockets: &'a Sockets,
    service: &'a TftpService,
    uploads: &'a mut Transfers,
    batches: &'a mut Batches,
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

    /// Makes the runtime wait for the next datagram of each socket: what is there is read now.
    fn forget_what_is_ready(&self) {
        for socket in [&self.listener].into_iter().chain(&self.transfer) {
            // This is how a runtime is told.
            let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = socket.try_io(Interest::READABLE, nothing);
        }
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
            more: false,
            ready: VecDeque::new(),
            sleep: Box::pin(tokio::time::sleep_until(parts.clock.instant_at(Time::NEVER))),
            sleep_until: Time::NEVER,
            parts,
        })
    }

    /// Pumps until the commands end.
    pub(super) async fn run(mut self) {
        let mut batches = Batches {
            incoming: Incoming::new(),
            outgoing: std::array::from_fn(|_| Outgoing::new()),
            scratch: Vec::with_capacity(64 * 1_024),
        };
        loop {
            match self.wait().await {
                Wake::Work => {
                    self.more = self.turn(&mut batches);
                    if self.more {
                        // Let the runtime look at sockets and commands as well.
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
        if self.more || readable || due || !self.ready.is_empty() || self.uploads.has_requests() {
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
    fn turn(&mut self, batches: &mut Batches) -> bool {
        let (Some(sockets), Some(service)) = (&self.sockets, &self.service) else {
            self.ready.clear();
            return false;
        };
        let (parts, uploads) = (&self.parts, &mut self.uploads);
        Pass { parts, sockets, service, uploads, batches }.run(&mut self.ready)
    }
}

impl Pass<'_> {
    /// Requests are read first and answered last: what their clients have said on other sockets
    /// before they asked is read in between.
    fn run(mut self, ready: &mut VecDeque<(u64, Arc<[u8]>)>) -> bool {
        self.take_signed(ready);
        // Who asks again before that was said was not answered.
        self.flush();
        let mut more = !ready.is_empty();
        self.sockets.forget_what_is_ready();
        more |= self.read_ahead();
        for socket in 0..TRANSFER_SOCKETS as u8 {
            more |= self.drain(socket);
            self.read_ahead();
        }
        more |= self.steps(Transfers::on_timeout, STEPS_MAX);
        more |= self.steps(Transfers::next_answer, STEPS_MAX);
        self.flush();
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

    /// Reads as many requests as there is room for, also between two pieces of other work: what
    /// stays in the socket may be lost. Tells whether more may wait.
    fn read_ahead(&mut self) -> bool {
        let mut left = READ_AHEAD.min(self.uploads.inbox_room());
        while left > 0 {
            let more = self.batches.incoming.read(&self.sockets.listener).unwrap_or(false);
            let now = self.now();
            for number in 0..self.batches.incoming.len() {
                let Some((bytes, peer)) = self.batches.incoming.get(number) else { continue };
                bump(&self.parts.counters.datagrams_in);
                let answer = self.uploads.on_request(peer, bytes, now);
                self.send(answer);
            }
            if !more {
                return false;
            }
            left = left.saturating_sub(self.batches.incoming.len());
        }
        true
    }

    /// Takes a bounded number of datagrams from a transfer socket; tells whether more may wait.
    fn drain(&mut self, socket: u8) -> bool {
        let more = self.read_most(socket, TURN_MAX);
        self.flush();
        more
    }

    /// Reads a transfer socket until nothing is left that has come by now.
    fn read_out(&mut self, socket: u8) {
        let now = self.now();
        let waiting = listen::waiting_most(&self.sockets.transfer[usize::from(socket)]);
        let mut left = waiting.unwrap_or(READ_OUT_MAX);
        while left > 0 {
            let most = left.min(TURN_MAX);
            if !self.read_most(socket, most) {
                return;
            }
            self.flush();
            self.read_ahead();
            left -= most;
        }
        // What it held then was no more.
        self.uploads.on_emptied(socket, now);
    }

    /// Takes datagrams from a transfer socket until there are so many or, by a few, more; tells
    /// whether more may wait.
    fn read_most(&mut self, socket: u8, most: usize) -> bool {
        let mut left = most;
        while left > 0 {
            let now = self.now();
            let from = &self.sockets.transfer[usize::from(socket)];
            let more = self.batches.incoming.read(from).unwrap_or(false);
            for number in 0..self.batches.incoming.len() {
                let Some((bytes, peer)) = self.batches.incoming.get(number) else { continue };
                bump(&self.parts.counters.datagrams_in);
                let answer = self.uploads.on_datagram(Line { peer, socket }, bytes, now);
                self.send(answer);
            }
            if !more {
                self.uploads.on_emptied(socket, now);
                return false;
            }
            left = left.saturating_sub(self.batches.incoming.len());
        }
        true
    }

    /// Takes steps until none is left, or so many; tells whether more may be left.
    fn steps(&mut self, next: fn(&mut Transfers, Time) -> Step, most: usize) -> bool {
        for count in 1..=most {
            if count % TURN_MAX == 0 {
                self.flush();
                self.read_ahead();
            }
            let now = self.now();
            match next(self.uploads, now) {
                Step::Idle => return false,
                Step::Done => {}
                Step::Send(transmit) => self.send(Some(transmit)),
                Step::ReadOut { socket } => self.read_out(socket),
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

    /// Puts down what is to be sent, and sends what has come together for a socket.
    fn send(&mut self, transmit: Option<Transmit>) {
        let Some(transmit) = transmit else { return };
        let Line { peer, socket } = transmit.line;
        let (parts, socket) = (self.parts, usize::from(socket));
        let (from, Batches { outgoing, scratch, .. }) =
            (&self.sockets.transfer[socket], &mut *self.batches);
        let datagrams = &mut outgoing[socket];
        let (uploads, mut is_full) = (&*self.uploads, false);
        uploads.write(transmit, scratch, |bytes, length| {
            let together = bytes.len() > length && {
                parts.send(datagrams, from, uploads);
                parts.send_together(from, bytes, length, peer, uploads)
            };
            if !together {
                bytes.chunks(length).for_each(|bytes| is_full |= datagrams.push(bytes, peer));
            }
        });
        if is_full {
            parts.send(datagrams, from, uploads);
        }
    }

    /// Sends what was put down.
    fn flush(&mut self) {
        for (datagrams, from) in self.batches.outgoing.iter_mut().zip(&self.sockets.transfer) {
            self.parts.send(datagrams, from, self.uploads);
        }
        self.parts.show_counts(self.uploads);
    }
}

impl PumpParts {
    /// Sends datagrams of a socket. Those that the host does not take are lost like any other: who
    /// misses one asks again.
    fn send(&self, datagrams: &mut Outgoing, from: &UdpSocket, uploads: &Transfers) {
        if datagrams.is_empty() {
            return;
        }
        // Who reads the answer finds it counted.
        self.show_counts(uploads);
        let sent = datagrams.send(from);
        add(&self.counters.datagrams_out, sent.datagrams);
        add(&self.counters.bytes_out, sent.bytes);
        add(&self.counters.send_failed, sent.failed);
    }

    /// Sends a window in one piece, if the way to the client is wide enough for one and the host
    /// cuts it.
    fn send_together(
        &self,
        from: &UdpSocket,
        bytes: &[u8],
        length: usize,
        to: SocketAddr,
        uploads: &Transfers,
    ) -> bool {
        // Who reads the answer finds it counted.
        self.show_counts(uploads);
        let done = listen::send_together(from, bytes, length, to).is_ok();
        if done {
            add(&self.counters.datagrams_out, bytes.len().div_ceil(length) as u64);
            add(&self.counters.bytes_out, bytes.len() as u64);
        }
        done
    }

    fn show_counts(&self, uploads: &Transfers) {
        self.counters.show(uploads.counts(), uploads.in_flight());
    }
}
