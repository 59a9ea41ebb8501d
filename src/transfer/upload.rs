use std::ops::Range;

use crate::base::{Span, Time};
use crate::wire::tftp::{BLOCK_SIZE_DEFAULT, BLOCK_SIZE_MAX, BLOCK_SIZE_MIN, Options, Packet};

/// The bytes of a file that is served; they need not lie anywhere as a whole.
pub trait Content {
    /// Length of the file in bytes.
    fn length(&self) -> usize;

    /// Appends the bytes of `range`, which lies within the length, to `out`.
    fn copy(&self, range: Range<usize>, out: &mut Vec<u8>);

    /// The whole file.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length());
        self.copy(0..self.length(), &mut out);
        out
    }
}

impl<B: AsRef<[u8]>> Content for B {
    fn length(&self) -> usize {
        self.as_ref().len()
    }

    fn copy(&self, range: Range<usize>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.as_ref()[range]);
    }
}

/// Bytes before those of the file in a datagram: opcode and number of the block.
const BLOCK_HEADER: usize = 4;

/// What a server allows and how patient it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Largest block size that is granted.
    pub block_size_max: u16,
    /// Largest window that is granted (RFC 7440).
    pub window_size_max: u16,
    /// Wait before a datagram is sent again, unless the client asks for another.
    pub timeout: Span,
    /// How often a datagram is sent in all.
    pub tries: u8,
}

impl Default for UploadLimits {
    fn default() -> UploadLimits {
        UploadLimits {
            block_size_max: BLOCK_SIZE_MAX,
            window_size_max: 64,
            timeout: Span::from_secs(1),
            tries: 5,
        }
    }
}

/// What the driver has to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The option acknowledgement.
    Oack,
    /// `count` blocks from block `first` on, counted from 1 without wrapping.
    Blocks {
        /// Number of the first block.
        first: u64,
        /// How many blocks, at least 1.
        count: u16,
    },
    /// Nothing: a duplicate, or a block that was not sent.
    Nothing,
    /// The client has the whole file.
    Done,
    /// The client is gone or gave up.
    Dropped,
}

impl Reply {
    /// Number of datagrams that it is.
    pub const fn datagrams(self) -> u64 {
        match self {
            Reply::Oack => 1,
            Reply::Blocks { count, .. } => count as u64,
            Reply::Nothing | Reply::Done | Reply::Dropped => 0,
        }
    }
}

/// One file on its way to one client.
#[derive(Debug)]
pub struct Upload<C> {
    content: C,
    length: usize,
    granted: Granted,
    /// Blocks that the client has acknowledged.
    acknowledged: u64,
    /// Whether the client has answered anything: before that nothing is sent twice unasked, so
    /// that nobody can aim us at a silent address.
    proven: bool,
    timeout: Span,
    tries: u8,
    tries_left: u8,
    deadline: Time,
}

/// The options that are granted, those out of range left out (RFC 2347 section "Negotiation").
#[derive(Clone, Copy, Debug)]
struct Granted {
    block_size: Option<u16>,
    /// Whether the length of the file is told.
    transfer_size: bool,
    timeout_s: Option<u8>,
    window_size: Option<u16>,
}

impl<C: Content> Upload<C> {
    /// Answers a read request; the first reply is to be sent at once.
    pub fn start(
        content: C,
        asked: Options,
        limits: UploadLimits,
        now: Time,
    ) -> (Upload<C>, Reply) {
        let length = content.length();
        let granted = Granted::new(asked, &limits);
        let timeout = granted.timeout_s.map_or(limits.timeout, |s| Span::from_secs(s.into()));
        let upload = Upload {
            content,
            length,
            granted,
            acknowledged: 0,
            proven: false,
            timeout,
            tries: limits.tries,
            tries_left: limits.tries,
            deadline: now + timeout.times(u64::from(limits.tries)),
        };
        let reply = upload.current();
        (upload, reply)
    }

    /// When [`Upload::on_timeout`] is due.
    pub const fn deadline(&self) -> Time {
        self.deadline
    }

    /// Whether the client has answered.
    pub const fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether nothing is left to send that was not sent: the last window awaits its
    /// acknowledgement.
    pub fn is_at_end(&self) -> bool {
        self.proven && self.blocks_left() <= u64::from(self.window_size())
    }

    /// The same request came again: the client did not hear us. Says again what was said, if the
    /// transfer has not moved on, and waits for the answer as long as it did the first time: a
    /// client whose answer is lost then, too, must still find the transfer.
    pub fn on_repeated_request(&mut self, now: Time) -> Reply {
        if self.proven {
            return Reply::Nothing;
        }
        self.deadline = now + self.timeout.times(u64::from(self.tries));
        self.current()
    }

    /// The client acknowledges `block`.
    pub fn on_ack(&mut self, block: u16, now: Time) -> Reply {
        let awaits_oack = !self.proven && !self.granted.is_empty();
        if awaits_oack {
            if block != 0 {
                return Reply::Nothing;
            }
        } else {
            // A repeated acknowledgement is no request for the block: answering it would double
            // every datagram from there on (RFC 1123 section 4.2.3.1).
            let step = block.wrapping_sub(self.acknowledged as u16);
            if step == 0 || step > self.window_size() || u64::from(step) > self.blocks_left() {
                return Reply::Nothing;
            }
            self.acknowledged += u64::from(step);
        }
        self.proven = true;
        self.tries_left = self.tries;
        if self.blocks_left() == 0 {
            return Reply::Done;
        }
        self.deadline = now + self.timeout;
        self.window()
    }

    /// The deadline has passed: sends again to a client that has answered before, else drops it.
    pub fn on_timeout(&mut self, now: Time) -> Reply {
        self.tries_left = self.tries_left.saturating_sub(1);
        if !self.proven || self.tries_left == 0 {
            return Reply::Dropped;
        }
        self.deadline = now + self.timeout;
        self.window()
    }

    /// Writes the option acknowledgement into `out`.
    pub fn write_oack(&self, out: &mut Vec<u8>) {
        Packet::Oack { options: self.granted.options(self.length) }.encode(out);
    }

    /// Writes block `number` (from 1) into `out`.
    pub fn write_block(&self, number: u64, out: &mut Vec<u8>) {
        out.clear();
        self.append_block(number, out);
    }

    fn block_size(&self) -> u16 {
        self.granted.block_size.unwrap_or(BLOCK_SIZE_DEFAULT)
    }

    fn window_size(&self) -> u16 {
        self.granted.window_size.unwrap_or(1)
    }

    /// Bytes of a datagram with a whole block.
    pub(super) fn datagram_length(&self) -> usize {
        BLOCK_HEADER + usize::from(self.block_size())
    }

    /// Appends block `number` (from 1) to `out`.
    pub(super) fn append_block(&self, number: u64, out: &mut Vec<u8>) {
        let size = usize::from(self.block_size());
        let start = ((number - 1) as usize * size).min(self.length);
        let end = (start + size).min(self.length);
        let [high, low] = (number as u16).to_be_bytes();
        out.extend_from_slice(&[0, 3, high, low]);
        self.content.copy(start..end, out);
    }

    /// What is said before the client has answered.
    fn current(&self) -> Reply {
        if self.granted.is_empty() { self.window() } else { Reply::Oack }
    }

    fn window(&self) -> Reply {
        let count = self.blocks_left().min(u64::from(self.window_size())) as u16;
        Reply::Blocks { first: self.acknowledged + 1, count }
    }

    /// Blocks that the client has not acknowledged; a file ends with a short block.
    fn blocks_left(&self) -> u64 {
        (self.length / usize::from(self.block_size())) as u64 + 1 - self.acknowledged
    }
}

impl Granted {
    fn new(asked: Options, limits: &UploadLimits) -> Granted {
        let at_most =
            |asked: u64, most: u16| u16::try_from(asked).map_or(most, |one| one.min(most));
        let block_size = asked.block_size.filter(|&size| size >= u64::from(BLOCK_SIZE_MIN));
        let window_size = asked.window_size.filter(|size| (1..=65_535).contains(size));
        let timeout_s = asked.timeout_s.and_then(|seconds| u8::try_from(seconds).ok());
        Granted {
            block_size: block_size.map(|size| at_most(size, limits.block_size_max)),
            transfer_size: asked.transfer_size.is_some(),
            timeout_s: timeout_s.filter(|&seconds| seconds > 0),
            window_size: window_size.map(|size| at_most(size, limits.window_size_max)),
        }
    }

    /// As they are told to the client of a file.
    fn options(&self, length: usize) -> Options {
        Options {
            block_size: self.block_size.map(u64::from),
            transfer_size: self.transfer_size.then_some(length as u64),
            timeout_s: self.timeout_s.map(u64::from),
            window_size: self.window_size.map(u64::from),
        }
    }

    const fn is_empty(&self) -> bool {
        let Granted { block_size, transfer_size, timeout_s, window_size } = self;
        let none = block_size.is_none() && timeout_s.is_none() && window_size.is_none();
        none && !*transfer_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Purpose, stream};
    use crate::transfer::{Download, DownloadOutcome, DownloadRequest, Progress};

    fn upload(length: usize, options: Options) -> (Upload<Vec<u8>>, Reply) {
        let content: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
        Upload::start(content, options, UploadLimits::default(), Time::ZERO)
    }

    fn blocks(first: u64, count: u16) -> Reply {
        Reply::Blocks { first, count }
    }

    #[test]
    fn without_options_the_first_block_is_the_answer() {
        let (mut upload, reply) = upload(600, Options::default());
        assert_eq!(reply, blocks(1, 1));
        assert_eq!(upload.on_ack(1, Time::ZERO), blocks(2, 1));
        assert_eq!(upload.on_ack(2, Time::ZERO), Reply::Done);
    }

    #[test]
    fn a_repeated_acknowledgement_sends_nothing() {
        let (mut upload, _) = upload(2_000, Options::default());
        upload.on_ack(1, Time::ZERO);
        assert_eq!(upload.on_ack(1, Time::ZERO), Reply::Nothing);
        assert_eq!(upload.on_ack(0, Time::ZERO), Reply::Nothing);
        assert_eq!(upload.on_ack(3, Time::ZERO), Reply::Nothing, "block 3 was not sent yet");
        assert_eq!(upload.on_ack(2, Time::ZERO), blocks(3, 1));
    }

    #[test]
    fn a_silent_client_gets_one_datagram_per_request() {
        let (mut upload, _) = upload(2_000, Options::default());
        assert_eq!(upload.on_repeated_request(Time::ZERO), blocks(1, 1));
        assert_eq!(upload.deadline(), Time::ZERO + Span::from_secs(5));
        assert_eq!(upload.on_timeout(upload.deadline()), Reply::Dropped);
    }

    #[test]
    fn a_repeated_request_keeps_a_silent_transfer_open_for_its_answer() {
        let (mut upload, _) = upload(600, Options::default());
        let again = Time::ZERO + Span::from_secs(4);
        assert_eq!(upload.on_repeated_request(again), blocks(1, 1));
        // The first acknowledgement is lost; the client repeats it four seconds later.
        assert_eq!(upload.deadline(), again + Span::from_secs(5));
        assert_eq!(upload.on_ack(1, again + Span::from_secs(4)), blocks(2, 1));
    }

    #[test]
    fn a_client_that_answered_gets_its_block_again_a_bounded_number_of_times() {
        let (mut upload, _) = upload(2_000, Options::default());
        upload.on_ack(1, Time::ZERO);
        assert_eq!(upload.on_repeated_request(Time::ZERO), Reply::Nothing);
        for _ in 1..5 {
            assert_eq!(upload.on_timeout(upload.deadline()), blocks(2, 1));
        }
        assert_eq!(upload.on_timeout(upload.deadline()), Reply::Dropped);
    }

    #[test]
    fn options_are_granted_within_their_ranges() {
        let asked = |block_size, window_size, timeout_s| Options {
            block_size: Some(block_size),
            window_size: Some(window_size),
            timeout_s: Some(timeout_s),
            transfer_size: Some(0),
        };
        let granted = |options| upload(700, options).0.granted.options(700);
        assert_eq!(
            granted(asked(1_428, 4, 3)),
            Options { transfer_size: Some(700), ..asked(1_428, 4, 3) }
        );
        let wide = granted(asked(70_000, 1_000, 3));
        assert_eq!((wide.block_size, wide.window_size), (Some(65_464), Some(64)));
        let absurd = granted(asked(7, 0, 256));
        assert_eq!(absurd, Options { transfer_size: Some(700), ..Options::default() });
        assert_eq!(granted(asked(8, 1, 255)).timeout_s, Some(255));
        assert_eq!(granted(asked(8, 1, 0)).timeout_s, None);
    }

    #[test]
    fn options_are_acknowledged_before_the_first_block() {
        let options = Options { block_size: Some(100), ..Options::default() };
        let (mut upload, reply) = upload(150, options);
        assert_eq!(reply, Reply::Oack);
        assert_eq!(upload.on_ack(1, Time::ZERO), Reply::Nothing);
        assert_eq!(upload.on_ack(0, Time::ZERO), blocks(1, 1));
        assert_eq!(upload.on_ack(0, Time::ZERO), Reply::Nothing);
        let mut out = Vec::new();
        upload.write_oack(&mut out);
        assert_eq!(out, b"\0\x06blksize\x00100\0");
    }

    #[test]
    fn an_acknowledgement_inside_a_window_moves_the_window() {
        let options = Options { window_size: Some(4), ..Options::default() };
        let (mut upload, _) = upload(512 * 9, options);
        assert_eq!(upload.on_ack(0, Time::ZERO), blocks(1, 4));
        assert_eq!(upload.on_ack(2, Time::ZERO), blocks(3, 4));
        assert_eq!(upload.on_ack(6, Time::ZERO), blocks(7, 4));
        assert_eq!(upload.on_ack(9, Time::ZERO), blocks(10, 1), "the empty last block");
        assert_eq!(upload.on_ack(10, Time::ZERO), Reply::Done);
    }

    /// Client and server against each other, a share of the datagrams lost; virtual time.
    fn transfer(length: usize, options: Options, loss: f64) -> Vec<u8> {
        let content: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
        let limits = UploadLimits { tries: 50, ..UploadLimits::default() };
        let mut chance = stream(7, length as u64, Purpose::Network);
        let request = DownloadRequest {
            file: "f".into(),
            options,
            size_max: length,
            timeout: Span::from_secs(4),
            tries: 50,
        };
        let (mut now, mut out) = (Time::ZERO, Vec::new());
        let mut download = Download::start(request, now, &mut out);
        let (mut upload, mut reply) = Upload::start(content, options, limits, now);
        for _ in 0..1_000_000 {
            let mut to_client: Vec<Vec<u8>> = Vec::new();
            match reply {
                Reply::Oack => {
                    upload.write_oack(&mut out);
                    to_client.push(out.clone());
                }
                Reply::Blocks { first, count } => {
                    for number in first..first + u64::from(count) {
                        upload.write_block(number, &mut out);
                        to_client.push(out.clone());
                    }
                }
                Reply::Nothing | Reply::Done | Reply::Dropped => {}
            }
            reply = Reply::Nothing;
            let mut answered = false;
            for datagram in to_client {
                if chance.unit() < loss {
                    continue;
                }
                let progress = download.on_datagram(&datagram, 7, now, &mut out);
                if let Progress::Finished(outcome) = progress {
                    let DownloadOutcome::Complete(data) = outcome else { panic!("{outcome:?}") };
                    return data;
                }
                if out.is_empty() || chance.unit() < loss {
                    continue;
                }
                let Ok(Packet::Ack { block }) = Packet::parse(&out) else { panic!() };
                answered = true;
                let next = upload.on_ack(block, now);
                if next != Reply::Nothing {
                    reply = next;
                }
            }
            if !answered && reply == Reply::Nothing {
                now = upload.deadline().min(download.deadline()).max(now);
                if download.deadline() <= now {
                    download.on_timeout(now, &mut out);
                    reply = match Packet::parse(&out) {
                        Ok(Packet::Ack { block }) => upload.on_ack(block, now),
                        _ => upload.on_repeated_request(now),
                    };
                } else {
                    reply = upload.on_timeout(now);
                }
            }
        }
        panic!("the transfer does not end");
    }

    #[test]
    fn files_arrive_whole_with_and_without_loss_options_and_windows() {
        let sizes = [0, 1, 511, 512, 513, 5_438, 40_000];
        for options in [
            Options::default(),
            Options { block_size: Some(1_428), ..Options::default() },
            Options { block_size: Some(600), window_size: Some(8), ..Options::default() },
        ] {
            for length in sizes {
                for loss in [0.0, 0.01, 0.1, 0.3] {
                    let data = transfer(length, options, loss);
                    assert!(data.iter().enumerate().all(|(at, &byte)| byte == (at / 7) as u8));
                    assert_eq!(data.len(), length, "{options:?} loss {loss}");
                }
            }
        }
    }

    #[test]
    fn block_numbers_wrap() {
        let options = Options { block_size: Some(8), ..Options::default() };
        assert_eq!(transfer(600_000, options, 0.0).len(), 600_000);
    }
}
