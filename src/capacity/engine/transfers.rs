use std::cmp::Reverse;
use std::sync::Arc;

use crate::base::PhoneId;
use crate::measure::LoadFault;
use crate::phone::FILE_SIZE_MAX;
use crate::swarm::{Received, Recipient};
use crate::transfer::{Download, DownloadOutcome, DownloadRequest, Progress, TransferFault};
use crate::wire::tftp::Options;

use super::{Engine, PER_TURN};
use crate::capacity::workload::Got;

impl Engine {
    /// Asks the present request of a place over TFTP.
    pub(super) fn transfer(&mut self, slot: u32, file: Arc<str>) {
        let request = DownloadRequest {
            file,
            options: Options {
                block_size: self.target.block_size.map(u64::from),
                ..Options::default()
            },
            size_max: FILE_SIZE_MAX,
            timeout: self.target.timeout,
            tries: self.target.tries,
        };
        let now = self.now();
        let phone = self.phone(slot);
        let (Some(sockets), Some(server)) = (&mut self.sockets, self.target.tftp) else { return };
        let place = &mut self.slots[slot as usize];
        place.generation += 1;
        let socket = sockets.take(slot as usize, place.generation);
        let download = Download::start(request, now, &mut self.out);
        sockets.send(socket, phone, server.port(), &self.out);
        self.deadlines.push(Reverse((download.deadline(), slot, place.generation)));
        if let Some(work) = &mut place.work {
            work.transfer = Some((download, socket));
        }
    }

    /// Takes what has come to a socket.
    pub(super) fn drain_socket(&mut self, socket: usize, buffer: &mut [u8]) {
        for _ in 0..PER_TURN {
            let Some(sockets) = &mut self.sockets else { return };
            let Some(received) = sockets.receive(socket, buffer) else { return };
            match received {
                Received::Datagram { phone, socket, port, length } => {
                    if let Some(slot) = self.slot(phone) {
                        self.on_datagram(slot, socket, port, &buffer[..length]);
                    }
                }
                Received::Refused { phone } => {
                    if let Some(slot) = self.slot(phone) {
                        self.on_refused(slot);
                    }
                }
                Received::Other => {}
            }
        }
    }

    fn slot(&self, recipient: Recipient) -> Option<u32> {
        let slot = match recipient {
            Recipient::Place(place) => place as u32,
            Recipient::Phone(PhoneId(number)) => {
                (number % self.workers == self.worker).then_some(number / self.workers)?
            }
        };
        ((slot as usize) < self.slots.len()).then_some(slot)
    }

    fn on_datagram(&mut self, slot: u32, socket: usize, port: u16, bytes: &[u8]) {
        let now = self.now();
        let Some(work) = &mut self.slots[slot as usize].work else { return };
        let Some((download, used)) = &mut work.transfer else { return };
        if *used != socket {
            // A late datagram of an earlier transfer, which had another socket.
            return;
        }
        let progress = download.on_datagram(bytes, port, now, &mut self.out);
        if progress != Progress::Stray {
            self.hear(slot);
        }
        self.progress(slot, port, progress);
    }

    fn on_refused(&mut self, slot: u32) {
        let work = self.slots[slot as usize].work.as_ref();
        let transfer = work.and_then(|work| work.transfer.as_ref());
        if transfer.is_some_and(|(download, _)| download.peer_port().is_none()) {
            self.end_transfer(slot, DownloadOutcome::Failed(TransferFault::Refused));
        }
    }

    /// The deadline of a transfer has come, unless it has moved since.
    pub(super) fn on_deadline(&mut self, slot: u32, generation: u32) {
        let now = self.now();
        let place = &mut self.slots[slot as usize];
        let work = place.work.as_mut().filter(|_| place.generation == generation);
        let Some((download, _)) = work.and_then(|work| work.transfer.as_mut()) else { return };
        if download.deadline() > now {
            self.deadlines.push(Reverse((download.deadline(), slot, generation)));
            return;
        }
        let progress = download.on_timeout(now, &mut self.out);
        let well_known = self.target.tftp.map_or(0, |server| server.port());
        let port = download.peer_port().unwrap_or(well_known);
        if !matches!(progress, Progress::Finished(_)) {
            self.deadlines.push(Reverse((download.deadline(), slot, generation)));
        }
        self.progress(slot, port, progress);
    }

    /// Sends what a transfer wants sent, and ends it if it is over.
    fn progress(&mut self, slot: u32, port: u16, progress: Progress) {
        if progress == Progress::Stray {
            return;
        }
        let phone = self.phone(slot);
        let Some(work) = &self.slots[slot as usize].work else { return };
        if let (Some(sockets), Some((_, socket)), false) =
            (&self.sockets, &work.transfer, self.out.is_empty())
        {
            sockets.send(*socket, phone, port, &self.out);
        }
        match progress {
            Progress::Continue | Progress::Stray => {}
            Progress::Retransmitted => {
                let counts = !work.is_probe;
                if let Some(load) = self.load.as_mut().filter(|_| counts) {
                    load.recorder.sent_again += 1;
                }
            }
            Progress::Finished(outcome) => self.end_transfer(slot, outcome),
        }
    }

    fn end_transfer(&mut self, slot: u32, outcome: DownloadOutcome) {
        let Some(work) = &mut self.slots[slot as usize].work else { return };
        let Some((_, socket)) = work.transfer.take() else { return };
        if let Some(sockets) = &mut self.sockets {
            sockets.give_back(socket);
        }
        let got = match outcome {
            DownloadOutcome::Complete(bytes) => Ok(Got::File(bytes)),
            DownloadOutcome::NotFound => Ok(Got::NoFile),
            DownloadOutcome::Failed(fault) => Err(match fault {
                TransferFault::Error(code) => LoadFault::TftpError(code.number()),
                TransferFault::Protocol(_) => LoadFault::Protocol,
                TransferFault::Refused => LoadFault::Refused,
                TransferFault::Stalled => LoadFault::Unfinished,
                TransferFault::TimedOut => LoadFault::Silence,
                TransferFault::TooLarge => LoadFault::TooLong,
            }),
        };
        self.on_got(slot, got, false);
    }
}
