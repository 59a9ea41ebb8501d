use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::base::{Span, Time};
use crate::transfer::{
    Download, DownloadOutcome, DownloadRequest, Progress, Reply, Upload, UploadLimits,
};
use crate::wire::tftp::{BLOCK_SIZE_DEFAULT, Packet};

use super::link::Fates;

/// One TFTP transfer from the server's first answer on.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    /// What the phone asked for, and how patient it is.
    pub request: DownloadRequest,
    /// What the server sends.
    pub file: Arc<[u8]>,
    /// When the phone sent its first request.
    pub started: Time,
    /// How many of its requests were lost before one arrived.
    pub lost_requests: u8,
    /// When the server begins to send.
    pub begins: Time,
}

/// How a transfer went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Played {
    /// When the phone had the whole file or gave up.
    pub ended: Time,
    /// Whether it has the file.
    pub complete: bool,
    /// Datagrams that the phone sent again.
    pub phone_again: u32,
    /// Datagrams that the server sent.
    pub server_sent: u32,
}

impl Transfer {
    /// Plays the transfer: in a closed form as long as nothing is lost and nobody's patience
    /// ends, otherwise datagram by datagram with the machines of [`crate::transfer`].
    pub(super) fn play(&self, fates: &mut Fates) -> Played {
        let fresh = fates.clone();
        if let Some(played) = self.closed_form(fates) {
            return played;
        }
        *fates = fresh;
        self.datagram_by_datagram(fates)
    }

    /// Round trips until the last block is there: one for each block, and one before them if
    /// options are agreed on.
    pub(super) fn answers(&self) -> u64 {
        let asked = self.request.options.block_size;
        let size = asked.unwrap_or(u64::from(BLOCK_SIZE_DEFAULT));
        self.file.len() as u64 / size + 1 + u64::from(asked.is_some())
    }

    /// Plays "file not found" instead: the answer, or the next try of the phone and its answer,
    /// until one arrives.
    pub(super) fn play_missing(&self, fates: &mut Fates) -> Played {
        let mut played = Played { phone_again: u32::from(self.lost_requests), ..Played::default() };
        let mut at = self.begins;
        loop {
            played.server_sent += 1;
            if let Some(way) = fates.datagram() {
                return Played { ended: at + way, complete: true, ..played };
            }
            let again = loop {
                played.phone_again += 1;
                if played.phone_again >= u32::from(self.request.tries) {
                    return played;
                }
                if let Some(way) = fates.datagram() {
                    let tries = u64::from(played.phone_again);
                    break self.started + self.request.timeout.times(tries) + way;
                }
            };
            at = again.max(at);
        }
    }

    fn closed_form(&self, fates: &mut Fates) -> Option<Played> {
        let answers = self.answers();
        let limits = UploadLimits::default();
        let server_patience = limits.timeout;
        // Before the phone has said anything the server only waits, but not for ever.
        let first_patience = server_patience.times(u64::from(limits.tries));
        let asked = self.started + self.request.timeout.times(u64::from(self.lost_requests));
        let played = |ended| {
            let phone_again = u32::from(self.lost_requests);
            Played { ended, complete: true, phone_again, server_sent: answers as u32 }
        };
        if let Some(way) = fates.constant() {
            let first = self.begins + way;
            let patient = first < asked + self.request.timeout
                && way.times(2) < self.request.timeout.min(server_patience);
            return patient.then(|| played(first + way.times(2 * (answers - 1))));
        }
        let (mut now, mut phone_spoke) = (self.begins, asked);
        for answer in 1..=answers {
            let sent = now;
            now = now + fates.datagram()?;
            if now >= phone_spoke + self.request.timeout {
                return None;
            }
            if answer < answers {
                phone_spoke = now;
                now = now + fates.datagram()?;
                let patience = if answer == 1 { first_patience } else { server_patience };
                if now >= sent + patience {
                    return None;
                }
            }
        }
        Some(played(now))
    }

    fn datagram_by_datagram(&self, fates: &mut Fates) -> Played {
        let mut out = Vec::new();
        let mut download = Download::start(self.request.clone(), self.started, &mut out);
        let mut played = Played::default();
        for _ in 0..self.lost_requests {
            let now = download.deadline();
            download.on_timeout(now, &mut out);
            played.phone_again += 1;
        }
        let mut exchange = Exchange { fates, played, due: BinaryHeap::new(), sequence: 0 };
        exchange.push(download.deadline(), Step::PhoneTimer);
        exchange.push(self.begins, Step::Begin);
        exchange.run(self, download)
    }
}

/// Two machines and the datagrams between them.
struct Exchange<'a> {
    fates: &'a mut Fates,
    played: Played,
    due: BinaryHeap<Reverse<(Time, u64, Step)>>,
    sequence: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Begin,
    PhoneTimer,
    ServerTimer,
    ToPhone(Vec<u8>),
    ToServer(Vec<u8>),
}

/// The server's port; one transfer, one port.
const PORT: u16 = 40_000;

impl Exchange<'_> {
    fn push(&mut self, at: Time, step: Step) {
        self.sequence += 1;
        self.due.push(Reverse((at, self.sequence, step)));
    }

    fn run(mut self, transfer: &Transfer, mut download: Download) -> Played {
        let mut upload: Option<Upload<Arc<[u8]>>> = None;
        let mut out = Vec::new();
        while let Some(Reverse((now, _, step))) = self.due.pop() {
            let progress = match step {
                Step::Begin => {
                    let (file, asked) = (Arc::clone(&transfer.file), transfer.request.options);
                    let limits = UploadLimits::default();
                    let (begun, reply) = Upload::start(file, asked, limits, now);
                    self.push(begun.deadline(), Step::ServerTimer);
                    self.send(&begun, reply, now);
                    upload = Some(begun);
                    continue;
                }
                Step::ToServer(bytes) => {
                    self.on_server(&mut upload, &bytes, now);
                    continue;
                }
                Step::ServerTimer => {
                    self.on_server_timer(&mut upload, now);
                    continue;
                }
                Step::ToPhone(bytes) => download.on_datagram(&bytes, PORT, now, &mut out),
                Step::PhoneTimer if download.deadline() > now => {
                    self.push(download.deadline(), Step::PhoneTimer);
                    continue;
                }
                Step::PhoneTimer => {
                    let progress = download.on_timeout(now, &mut out);
                    self.push(download.deadline(), Step::PhoneTimer);
                    progress
                }
            };
            if let Progress::Finished(outcome) = progress {
                self.played.ended = now;
                self.played.complete = matches!(outcome, DownloadOutcome::Complete(_));
                return self.played;
            }
            self.played.phone_again += u32::from(progress == Progress::Retransmitted);
            if !out.is_empty()
                && let Some(way) = self.fates.datagram()
            {
                self.push(now + way, Step::ToServer(std::mem::take(&mut out)));
            }
            out.clear();
        }
        unreachable!("the phone's timer is always due")
    }

    fn on_server(&mut self, slot: &mut Option<Upload<Arc<[u8]>>>, bytes: &[u8], now: Time) {
        let Some(upload) = slot else { return };
        let reply = match Packet::parse(bytes) {
            Ok(Packet::Rrq { .. }) => upload.on_repeated_request(now),
            Ok(Packet::Ack { block }) => upload.on_ack(block, now),
            _ => Reply::Dropped,
        };
        self.send(upload, reply, now);
        if matches!(reply, Reply::Dropped | Reply::Done) {
            *slot = None;
        }
    }

    fn on_server_timer(&mut self, slot: &mut Option<Upload<Arc<[u8]>>>, now: Time) {
        let Some(upload) = slot else { return };
        if upload.deadline() > now {
            return self.push(upload.deadline(), Step::ServerTimer);
        }
        let reply = upload.on_timeout(now);
        if reply == Reply::Dropped {
            *slot = None;
            return;
        }
        self.push(upload.deadline(), Step::ServerTimer);
        self.send(upload, reply, now);
    }

    fn send(&mut self, upload: &Upload<Arc<[u8]>>, reply: Reply, now: Time) {
        let numbers = match reply {
            Reply::Oack => 0..1,
            Reply::Blocks { first, count } => first..first + u64::from(count),
            Reply::Nothing | Reply::Done | Reply::Dropped => return,
        };
        for number in numbers {
            let mut bytes = Vec::new();
            match reply {
                Reply::Oack => upload.write_oack(&mut bytes),
                _ => upload.write_block(number, &mut bytes),
            }
            self.played.server_sent += 1;
            if let Some(way) = self.fates.datagram() {
                self.push(now + way, Step::ToPhone(bytes));
            }
        }
    }
}

/// When each try of a phone's request is sent that gets no answer, and how many there are: the
/// try that arrives, or `None` if all are lost.
pub(super) fn first_arrival(
    request_timeout: Span,
    tries: u8,
    started: Time,
    fates: &mut Fates,
) -> Option<(Time, u8)> {
    (0..tries).find_map(|lost| {
        let sent = started + request_timeout.times(u64::from(lost));
        fates.datagram().map(|way| (sent + way, lost))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::Link;
    use crate::wire::tftp::Options;

    fn transfer(length: usize, block: Option<u64>, lost_requests: u8, begins_us: u64) -> Transfer {
        let timeout = Span::from_secs(4);
        let started = Time::from_nanos(1_000);
        Transfer {
            request: DownloadRequest {
                file: "f".into(),
                options: Options { block_size: block, ..Options::default() },
                size_max: 1 << 20,
                timeout,
                tries: 5,
            },
            file: vec![7; length].into(),
            started,
            lost_requests,
            begins: started
                + timeout.times(u64::from(lost_requests))
                + Span::from_micros(begins_us),
        }
    }

    fn fates(rtt_us: u64, jitter_us: u64, loss: f64, seed: u64) -> Fates {
        let link = Link {
            rtt: Span::from_micros(rtt_us),
            jitter: Span::from_micros(jitter_us),
            loss,
            ..Link::default()
        };
        Fates::new(seed, 3, 1, link, Span::ZERO)
    }

    proptest! {
        /// To the nanosecond: the closed form is what the machines do, whenever it has an answer.
        #[test]
        fn the_closed_form_is_what_the_machines_do(
            length in 0usize..20_000,
            block in prop::option::of(8u64..2_000),
            lost_requests in 0u8..4,
            begins_us in 0u64..9_000_000,
            rtt_us in 0u64..1_500_000,
            jitter_us in prop_oneof![Just(0), 1u64..500_000],
            loss in prop_oneof![Just(0.0), 0.0..0.05],
            seed: u64,
        ) {
            let transfer = transfer(length, block, lost_requests, begins_us);
            let mut closed = fates(rtt_us, jitter_us, loss, seed);
            let mut exact = closed.clone();
            if let Some(played) = transfer.closed_form(&mut closed) {
                prop_assert_eq!(played, transfer.datagram_by_datagram(&mut exact));
                prop_assert_eq!(closed.draws, exact.draws);
            }
        }
    }

    #[test]
    fn a_calm_network_never_needs_the_machines() {
        for (length, block, rtt_us, jitter_us) in
            [(0, None, 500, 0), (12_900, None, 80_000, 9_000), (7_652, Some(1_428), 2_000, 0)]
        {
            let transfer = transfer(length, block, 1, 450);
            let played = transfer.closed_form(&mut fates(rtt_us, jitter_us, 0.0, 1));
            assert!(played.is_some_and(|played| played.complete && played.phone_again == 1));
        }
    }

    #[test]
    fn a_lost_block_costs_the_servers_patience() {
        // 1 % loss: many transfers of 26 blocks lose something and still end.
        let transfer = transfer(12_900, None, 0, 0);
        let all: Vec<Played> =
            (0..200).map(|seed| transfer.play(&mut fates(2_000, 0, 0.01, seed))).collect();
        assert!(all.iter().all(|played| played.complete));
        let quick = transfer.play(&mut fates(2_000, 0, 0.0, 1)).ended;
        let late = all.iter().filter(|played| played.ended > quick).count();
        assert!((40..150).contains(&late), "{late} of 200 lost something");
        let second = all.iter().filter(|p| p.ended.since(quick) >= Span::from_millis(990)).count();
        assert!(second >= late * 9 / 10, "{second} of {late} waited a second");
    }

    #[test]
    fn a_lost_refusal_is_asked_for_again() {
        let transfer = transfer(0, None, 1, 450);
        let calm = transfer.play_missing(&mut fates(2_000, 0, 0.0, 1));
        let ended = transfer.begins + Span::from_micros(1_000);
        assert_eq!(calm, Played { ended, complete: true, phone_again: 1, server_sent: 1 });
        let all = (0..200).map(|seed| transfer.play_missing(&mut fates(2_000, 0, 0.3, seed)));
        let late: Vec<Played> = all.filter(|played| played.phone_again > 1).collect();
        assert!((40..80).contains(&late.len()), "{} of 200 lost something", late.len());
        for played in late.iter().filter(|played| played.complete) {
            let tries = u64::from(played.phone_again);
            let arrived = transfer.started + Span::from_secs(4 * tries) + Span::from_millis(2);
            assert_eq!(played.ended, arrived, "the answer to the last try");
        }
        let dead = transfer.play_missing(&mut fates(2_000, 0, 1.0, 1));
        assert_eq!((dead.complete, dead.phone_again, dead.server_sent), (false, 5, 1));
    }

    #[test]
    fn silence_ends_after_all_tries() {
        let mut dead = fates(2_000, 0, 1.0, 1);
        assert_eq!(first_arrival(Span::from_secs(4), 5, Time::ZERO, &mut dead), None);
        let transfer = transfer(600, None, 0, 0);
        let played = transfer.play(&mut dead);
        assert_eq!((played.complete, played.phone_again), (false, 4));
        assert_eq!(played.ended, transfer.started + Span::from_secs(20));
    }
}
