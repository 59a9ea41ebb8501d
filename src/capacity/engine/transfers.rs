use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::PhoneId;
use crate::measure::LoadFault;
use crate::net::fleet::{Received, Recipient};
use crate::transfer::{Download, DownloadOutcome, DownloadRequest, Progress, TransferFault};
use crate::wire::tftp::{ErrorCode, Options, Packet};

use super::{Engine, Load, PER_TURN, Transfer};
use crate::capacity::engine::{Order, Source};
use crate::capacity::workload::{Expected, Failure, Got, Reading};

/// Longest file in bytes: a server that never ends is given up here (choice).
const FILE_MAX: usize = 1 << 32;
/// So many addresses for each place, each with several ports, rest for minutes (choice).
const TURNS_MANY: u32 = 64;

/// Why a transfer has no file, with what the server said.
fn failure(fault: TransferFault, remark: Option<&str>) -> Failure {
    let kind = match fault {
        TransferFault::Error(code) => LoadFault::TftpError(code.0),
        TransferFault::Protocol(_) => LoadFault::Protocol,
        TransferFault::Refused => LoadFault::Refused,
        TransferFault::Stalled => LoadFault::Unfinished,
        TransferFault::TimedOut => LoadFault::Silence,
        TransferFault::TooLarge => LoadFault::TooLong,
    };
    let said = match (fault, remark) {
        (TransferFault::Error(_), remark) => remark.map(|text| format!("`{text}`")),
        (TransferFault::Protocol(breach), Some(text)) => Some(format!("{breach}: {text}")),
        (TransferFault::Protocol(breach), None) => Some(breach.to_string()),
        (_, remark) => remark.map(str::to_owned),
    };
    Failure { fault: kind, said }
}

impl Engine {
    /// Asks the present request of a place over TFTP.
    pub(super) fn transfer(&mut self, slot: u32, file: Arc<str>) {
        let work = self.places.slots[slot as usize].work.as_ref();
        let (timeout, tries) = (self.target.timeout, self.target.tries);
        // What is sent again is load for a server that only has to catch up.
        let (timeout, tries) = match work {
            Some(work) if work.is_probe => (timeout.times(u64::from(tries)), 1),
            _ => (timeout, tries),
        };
        let request = DownloadRequest {
            file,
            options: Options {
                block_size: self.target.block_size.map(u64::from),
                ..Options::default()
            },
            size_max: FILE_MAX,
            timeout,
            tries,
        };
        let now = self.now();
        let turns = self.turns();
        let keep = self.keeps_bytes();
        let place = &mut self.places.slots[slot as usize];
        place.generation += 1;
        place.turn = place.turn.wrapping_add(1);
        let phone = self.phone(slot);
        let (Some(sockets), Some(server)) = (&mut self.sockets, self.target.tftp) else { return };
        let place = &mut self.places.slots[slot as usize];
        let socket = sockets.take(slot as usize, place.turn / turns, server);
        let download = Download::start(request, now, &mut self.out);
        sockets.send(socket, phone, server, &self.out);
        self.deadlines.push(Reverse((download.deadline(), slot, place.generation)));
        if let Some(work) = &mut place.work {
            let reading = Reading::begin(keep && !work.is_probe);
            work.transfer = Some(Transfer { download, socket, reading });
        }
    }

    /// Takes what has come to a socket.
    pub(super) fn drain_socket(&mut self, socket: usize, buffer: &mut [u8]) {
        for _ in 0..PER_TURN {
            let (Some(sockets), Some(server)) = (&mut self.sockets, self.target.tftp) else {
                return;
            };
            let Some(received) = sockets.receive(socket, buffer) else { return };
            match received {
                Received::Datagram { phone, socket, from, length } if from.ip() == server.ip() => {
                    let bytes = &buffer[..length];
                    match self.slot(phone) {
                        Some(slot) if self.uses(slot, socket) => {
                            self.on_datagram(slot, from, bytes);
                        }
                        _ => self.turn_away(phone, socket, from, bytes),
                    }
                }
                Received::Refused { phone, .. } => {
                    if let Some(slot) = self.slot(phone) {
                        self.on_refused(slot);
                    }
                }
                Received::Datagram { .. } | Received::Other => {}
            }
        }
    }

    fn slot(&self, recipient: Recipient) -> Option<u32> {
        let slot = match recipient {
            Recipient::Place(place) => place as u32,
            Recipient::Phone(PhoneId(number)) => {
                let lane = number % self.lanes();
                let (worker, workers) = self.share;
                let slot = (lane % workers == worker).then_some(lane / workers)?;
                // Another turn of the place had another address.
                (self.phone(slot) == PhoneId(number)).then_some(slot)?
            }
        };
        ((slot as usize) < self.places.slots.len()).then_some(slot)
    }

    /// Whether the transfer of a place uses this socket.
    fn uses(&self, slot: u32, socket: usize) -> bool {
        let work = self.places.slots[slot as usize].work.as_ref();
        work.and_then(|work| work.transfer.as_ref()).is_some_and(|used| used.socket == socket)
    }

    /// Tells a server that goes on with a transfer that is over here to stop (RFC 1350).
    fn turn_away(&self, phone: Recipient, socket: usize, from: SocketAddr, bytes: &[u8]) {
        let phone = match phone {
            Recipient::Phone(phone) => phone,
            Recipient::Place(place) => PhoneId(place as u32),
        };
        let is_late = matches!(Packet::parse(bytes), Ok(Packet::Data { .. } | Packet::Oack { .. }));
        if let Some(sockets) = self.sockets.as_ref().filter(|_| is_late) {
            let mut out = Vec::new();
            Packet::Error { code: ErrorCode::UNKNOWN_TRANSFER_ID, message: b"" }.encode(&mut out);
            sockets.send(socket, phone, from, &out);
        }
    }

    fn on_datagram(&mut self, slot: u32, from: SocketAddr, bytes: &[u8]) {
        let now = self.now();
        let Some(work) = &mut self.places.slots[slot as usize].work else { return };
        let Some(Transfer { download, reading, .. }) = &mut work.transfer else { return };
        let progress = download.on_datagram(bytes, from.port(), now, &mut self.out);
        download.take_data(|bytes| reading.add(bytes));
        if progress != Progress::Stray {
            self.hear(slot);
        }
        self.progress(slot, from, progress);
    }

    fn on_refused(&mut self, slot: u32) {
        let work = self.places.slots[slot as usize].work.as_ref();
        let transfer = work.and_then(|work| work.transfer.as_ref());
        if transfer.is_some_and(|transfer| transfer.download.peer_port().is_none()) {
            self.end_transfer(slot, DownloadOutcome::Failed(TransferFault::Refused));
        }
    }

    /// The deadline of a transfer has come, unless it has moved since.
    pub(super) fn on_deadline(&mut self, slot: u32, generation: u32) {
        let now = self.now();
        let place = &mut self.places.slots[slot as usize];
        let work = place.work.as_mut().filter(|_| place.generation == generation);
        let Some(Transfer { download, .. }) = work.and_then(|work| work.transfer.as_mut()) else {
            return;
        };
        if download.deadline() > now {
            self.deadlines.push(Reverse((download.deadline(), slot, generation)));
            return;
        }
        let progress = download.on_timeout(now, &mut self.out);
        let Some(mut server) = self.target.tftp else { return };
        server.set_port(download.peer_port().unwrap_or(server.port()));
        if !matches!(progress, Progress::Finished(_)) {
            self.deadlines.push(Reverse((download.deadline(), slot, generation)));
        }
        self.progress(slot, server, progress);
    }

    /// Sends what a transfer wants sent, and ends it if it is over.
    fn progress(&mut self, slot: u32, to: SocketAddr, progress: Progress) {
        if progress == Progress::Stray {
            return;
        }
        let phone = self.phone(slot);
        let Some(work) = &self.places.slots[slot as usize].work else { return };
        if let (Some(sockets), Some(Transfer { socket, .. }), false) =
            (&self.sockets, &work.transfer, self.out.is_empty())
        {
            sockets.send(*socket, phone, to, &self.out);
        }
        match progress {
            Progress::Continue | Progress::Stray => {}
            Progress::Retransmitted => {
                let counts = !work.is_probe;
                if let Some(load) = self.load.as_mut().filter(|_| counts) {
                    load.recorder.traffic.sent_again += 1;
                }
            }
            Progress::Finished(outcome) => self.end_transfer(slot, outcome),
        }
    }

    fn end_transfer(&mut self, slot: u32, outcome: DownloadOutcome) {
        let Some(work) = &mut self.places.slots[slot as usize].work else { return };
        let Some(transfer) = work.transfer.take() else { return };
        let Transfer { download, socket, mut reading } = transfer;
        if let Some(sockets) = &mut self.sockets {
            match outcome {
                DownloadOutcome::Complete(_) | DownloadOutcome::NotFound => {
                    sockets.give_back(socket);
                }
                DownloadOutcome::Failed(_) => sockets.give_back_unended(socket),
            }
        }
        let got = match outcome {
            DownloadOutcome::Complete(rest) => {
                reading.add(&rest);
                Ok(Got::File(reading.end()))
            }
            DownloadOutcome::NotFound => Ok(Got::NoFile),
            DownloadOutcome::Failed(fault) => {
                let remark = download.remark().filter(|remark| !remark.is_empty());
                Err(failure(fault, remark))
            }
        };
        self.on_got(slot, got, false);
    }

    /// Whether the bytes of files are looked at.
    pub(super) fn keeps_bytes(&self) -> bool {
        let source = self.load.as_ref().map(|load| &load.order);
        matches!(source, Some(Order { source: Source::Each { keep: true, .. }, .. }))
    }

    /// Whether a wrong file may be the late answer to an earlier request of the same address and
    /// port: where these are few, and it is the content of another file that is asked for.
    pub(super) fn may_be_a_strangers(&self, slot: u32, got: &Result<Got, Failure>) -> bool {
        let work = self.places.slots[slot as usize].work.as_ref().filter(|work| !work.asked_again);
        let Some(op) = work.and_then(|work| work.ops.get(work.at)) else { return false };
        let Ok(Got::File(content)) = got else { return false };
        let is_wrong = match &op.expected {
            Expected::File { digest, .. } => *digest != content.digest,
            Expected::Missing => true,
            _ => false,
        };
        let Some(sockets) = self.sockets.as_ref().filter(|_| is_wrong) else { return false };
        let has_few = sockets.capacity().is_some() || self.turns() < TURNS_MANY;
        has_few && self.workload.as_ref().is_some_and(|load| load.has_content(content))
    }

    /// Asks the present request of a place once more, before a server is accused.
    pub(super) fn ask_again(&mut self, slot: u32) {
        if let Some(work) = &mut self.places.slots[slot as usize].work {
            work.asked_again = true;
        }
        if let Some(Load { recorder, .. }) = &mut self.load {
            recorder.doubtful += 1;
        }
        self.ask(slot);
    }
}
