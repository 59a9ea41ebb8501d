use std::sync::Arc;

use crate::base::{Span, Time};
use crate::wire::tftp::{BLOCK_SIZE_DEFAULT, BLOCK_SIZE_MIN, ErrorCode, Options, Packet};

/// What a client asks for, and how patient it is.
#[derive(Clone, Debug)]
pub struct DownloadRequest {
    /// Name of the file.
    pub file: Arc<str>,
    /// Options of the request.
    pub options: Options,
    /// Longest file in bytes.
    pub size_max: usize,
    /// Wait before a datagram is sent again.
    pub timeout: Span,
    /// How often a datagram is sent in all.
    pub tries: u8,
}

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadOutcome {
    /// The whole file.
    Complete(Vec<u8>),
    /// The server has no such file (error 1).
    NotFound,
    /// No file.
    Failed(TransferFault),
}

/// Why a transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum TransferFault {
    /// The server answered an error other than "file not found".
    #[error("the server answered TFTP error {}", .0.number())]
    Error(ErrorCode),
    /// The server broke the protocol: a block that is too long, options that were not asked for.
    #[error("the server broke the protocol")]
    Protocol,
    /// The host says that nobody listens on the port.
    #[error("nobody listens on the port")]
    Refused,
    /// No answer to any try.
    #[error("no answer in time")]
    TimedOut,
    /// The file is longer than the phone takes.
    #[error("the file is longer than the limit")]
    TooLarge,
}

/// What a datagram or a timeout led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The transfer goes on; what is in the output buffer, if anything, is to be sent to its peer.
    Continue,
    /// A datagram was sent again.
    Retransmitted,
    /// The transfer is over; a last datagram may be in the output buffer.
    Finished(DownloadOutcome),
    /// The datagram belongs to another transfer; nothing changed.
    Stray,
}

/// One read of one file.
#[derive(Debug)]
pub struct Download {
    request: DownloadRequest,
    /// The server's TID (its port), known after its first answer.
    peer_port: Option<u16>,
    block_size: u16,
    window_size: u16,
    /// Blocks that arrived in order.
    received: u64,
    /// Blocks of the present window that were not acknowledged yet.
    unacknowledged: u16,
    data: Vec<u8>,
    tries_left: u8,
    /// How often what was said last may still be said again to a server that repeats itself.
    echoes_left: u8,
    deadline: Time,
}

/// Repeated datagrams of a server that are answered before the next new one; the answers to more
/// could go back and forth for ever.
const ECHOES_MAX: u8 = 16;

impl Download {
    /// Starts a transfer; the request is in `out`.
    pub fn start(request: DownloadRequest, now: Time, out: &mut Vec<u8>) -> Download {
        let download = Download {
            peer_port: None,
            block_size: BLOCK_SIZE_DEFAULT,
            window_size: 1,
            received: 0,
            unacknowledged: 0,
            data: Vec::new(),
            tries_left: request.tries.saturating_sub(1),
            echoes_left: ECHOES_MAX,
            deadline: now + request.timeout,
            request,
        };
        download.write_last(out);
        download
    }

    /// The server's port for this transfer, once it has answered; the request goes to the
    /// server's well-known port.
    pub const fn peer_port(&self) -> Option<u16> {
        self.peer_port
    }

    /// When [`Download::on_timeout`] is due.
    pub const fn deadline(&self) -> Time {
        self.deadline
    }

    /// Name of the file.
    pub fn file(&self) -> &str {
        &self.request.file
    }

    /// Bytes that arrived so far.
    pub fn received_bytes(&self) -> usize {
        self.data.len()
    }

    /// Takes a datagram that came from `port` of the server's host.
    pub fn on_datagram(
        &mut self,
        bytes: &[u8],
        port: u16,
        now: Time,
        out: &mut Vec<u8>,
    ) -> Progress {
        out.clear();
        if self.peer_port.is_some_and(|known| known != port) {
            return Progress::Stray;
        }
        let Ok(packet) = Packet::parse(bytes) else {
            return Self::abort(TransferFault::Protocol, ErrorCode::IllegalOperation, out);
        };
        match packet {
            // A late block of an earlier transfer on this port must not choose our peer.
            Packet::Data { block, .. } if self.peer_port.is_none() && block != 1 => Progress::Stray,
            Packet::Data { block, data } => {
                self.peer_port = Some(port);
                self.on_data(block, data, now, out)
            }
            Packet::Oack { options } if self.peer_port.is_none() => {
                self.peer_port = Some(port);
                self.on_oack(options, now, out)
            }
            // The server did not hear our acknowledgement of its options.
            Packet::Oack { .. } if self.received == 0 => {
                self.echo(out);
                Progress::Continue
            }
            Packet::Oack { .. } => Progress::Stray,
            Packet::Error { code: ErrorCode::FileNotFound, .. } => {
                Progress::Finished(DownloadOutcome::NotFound)
            }
            Packet::Error { code, .. } => {
                Progress::Finished(DownloadOutcome::Failed(TransferFault::Error(code)))
            }
            Packet::Rrq { .. } | Packet::Wrq | Packet::Ack { .. } => {
                Self::abort(TransferFault::Protocol, ErrorCode::IllegalOperation, out)
            }
        }
    }

    /// The deadline has passed: sends the last datagram again or gives up.
    pub fn on_timeout(&mut self, now: Time, out: &mut Vec<u8>) -> Progress {
        out.clear();
        if self.tries_left == 0 {
            return Progress::Finished(DownloadOutcome::Failed(TransferFault::TimedOut));
        }
        self.tries_left -= 1;
        self.deadline = now + self.request.timeout;
        self.unacknowledged = 0;
        self.write_last(out);
        Progress::Retransmitted
    }

    fn on_oack(&mut self, granted: Options, now: Time, out: &mut Vec<u8>) -> Progress {
        let asked = self.request.options;
        let block_size = granted_size(granted.block_size, asked.block_size, BLOCK_SIZE_DEFAULT);
        let window_size = granted_size(granted.window_size, asked.window_size, 1);
        let unasked = (granted.transfer_size.is_some() && asked.transfer_size.is_none())
            || (granted.timeout_s.is_some() && granted.timeout_s != asked.timeout_s);
        let (Some(block_size), Some(window_size), false) = (block_size, window_size, unasked)
        else {
            return Self::abort(TransferFault::Protocol, ErrorCode::OptionRefused, out);
        };
        if block_size < BLOCK_SIZE_MIN {
            return Self::abort(TransferFault::Protocol, ErrorCode::OptionRefused, out);
        }
        if granted.transfer_size.is_some_and(|size| size > self.request.size_max as u64) {
            return Self::abort(TransferFault::TooLarge, ErrorCode::Other(3), out);
        }
        (self.block_size, self.window_size) = (block_size, window_size);
        self.acknowledge(now, out);
        Progress::Continue
    }

    fn on_data(&mut self, block: u16, data: &[u8], now: Time, out: &mut Vec<u8>) -> Progress {
        if data.len() > usize::from(self.block_size) {
            return Self::abort(TransferFault::Protocol, ErrorCode::IllegalOperation, out);
        }
        if block != (self.received as u16).wrapping_add(1) {
            return self.on_other_block(block, out);
        }
        if self.data.len() + data.len() > self.request.size_max {
            return Self::abort(TransferFault::TooLarge, ErrorCode::Other(3), out);
        }
        self.data.extend_from_slice(data);
        self.received += 1;
        self.unacknowledged += 1;
        self.tries_left = self.request.tries.saturating_sub(1);
        self.echoes_left = ECHOES_MAX;
        let last = data.len() < usize::from(self.block_size);
        if last || self.unacknowledged >= self.window_size {
            self.acknowledge(now, out);
        } else {
            self.deadline = now + self.request.timeout;
        }
        if last {
            let data = std::mem::take(&mut self.data);
            return Progress::Finished(DownloadOutcome::Complete(data));
        }
        Progress::Continue
    }

    /// A block that came before means that our acknowledgement was lost: say it again. A gap in a
    /// window means that a block was lost: say how far we are (RFC 7440 section 4).
    fn on_other_block(&mut self, block: u16, out: &mut Vec<u8>) -> Progress {
        let behind = (self.received as u16).wrapping_sub(block);
        let gap = behind >= 0x8000;
        if gap && self.unacknowledged == 0 && self.window_size > 1 {
            return Progress::Continue;
        }
        self.echo(out)
    }

    /// Says the last word again. That is no progress: the deadline stays, so that a server that
    /// only repeats itself is given up in time.
    fn echo(&mut self, out: &mut Vec<u8>) -> Progress {
        let Some(left) = self.echoes_left.checked_sub(1) else { return Progress::Continue };
        self.echoes_left = left;
        self.unacknowledged = 0;
        self.write_last(out);
        Progress::Retransmitted
    }

    fn acknowledge(&mut self, now: Time, out: &mut Vec<u8>) {
        self.unacknowledged = 0;
        self.deadline = now + self.request.timeout;
        self.write_last(out);
    }

    /// What was said last: the request, or how many blocks have arrived.
    fn write_last(&self, out: &mut Vec<u8>) {
        let (file, options) = (&*self.request.file, self.request.options);
        let packet = match self.peer_port {
            None => Packet::Rrq { file, octet: true, options },
            Some(_) => Packet::Ack { block: self.received as u16 },
        };
        packet.encode(out);
    }

    fn abort(fault: TransferFault, code: ErrorCode, out: &mut Vec<u8>) -> Progress {
        Packet::Error { code, message: "" }.encode(out);
        Progress::Finished(DownloadOutcome::Failed(fault))
    }
}

/// The size that a server granted, if it may: at least 1 and at most what was asked for.
fn granted_size(granted: Option<u64>, asked: Option<u64>, default: u16) -> Option<u16> {
    match (granted, asked) {
        (None, _) => Some(default),
        (Some(granted), Some(asked)) if (1..=asked).contains(&granted) => granted.try_into().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TID: u16 = 40_000;

    fn request(options: Options) -> DownloadRequest {
        DownloadRequest {
            file: "ITLFile.tlv".into(),
            options,
            size_max: 1_500,
            timeout: Span::from_secs(4),
            tries: 3,
        }
    }

    fn start(options: Options) -> (Download, Vec<u8>) {
        let mut out = Vec::new();
        let download = Download::start(request(options), Time::ZERO, &mut out);
        (download, out)
    }

    fn data(block: u16, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        Packet::Data { block, data: &vec![block as u8; length] }.encode(&mut bytes);
        bytes
    }

    fn oack(options: Options) -> Vec<u8> {
        let mut bytes = Vec::new();
        Packet::Oack { options }.encode(&mut bytes);
        bytes
    }

    fn feed(download: &mut Download, bytes: &[u8]) -> (Progress, Vec<u8>) {
        let mut out = Vec::new();
        let progress = download.on_datagram(bytes, TID, Time::from_nanos(1), &mut out);
        (progress, out)
    }

    fn ack(block: u16) -> Vec<u8> {
        vec![0, 4, (block >> 8) as u8, block as u8]
    }

    fn failed(fault: TransferFault) -> Progress {
        Progress::Finished(DownloadOutcome::Failed(fault))
    }

    #[test]
    fn a_file_is_put_together_from_blocks_until_a_short_one() {
        let (mut download, rrq) = start(Options::default());
        assert_eq!(rrq, b"\0\x01ITLFile.tlv\0octet\0");
        assert_eq!(feed(&mut download, &data(1, 512)), (Progress::Continue, ack(1)));
        let (progress, out) = feed(&mut download, &data(2, 3));
        assert_eq!(out, ack(2));
        let expected = [vec![1; 512], vec![2; 3]].concat();
        assert_eq!(progress, Progress::Finished(DownloadOutcome::Complete(expected)));
    }

    #[test]
    fn a_server_that_repeats_a_block_moves_no_deadline_and_is_answered_a_bounded_number_of_times() {
        let (mut download, _) = start(Options::default());
        feed(&mut download, &data(1, 512));
        let deadline = download.deadline();
        let mut out = Vec::new();
        let later = Time::from_nanos(1_000);
        let answers = (0..1_000).filter(|_| {
            download.on_datagram(&data(1, 512), TID, later, &mut out);
            !out.is_empty()
        });
        assert_eq!(answers.count(), usize::from(ECHOES_MAX));
        assert_eq!(download.deadline(), deadline);
        assert_eq!(feed(&mut download, &data(2, 3)).1, ack(2), "the next block counts as ever");
    }

    #[test]
    fn a_file_of_whole_blocks_ends_with_an_empty_one() {
        let (mut download, _) = start(Options::default());
        feed(&mut download, &data(1, 512));
        let (progress, _) = feed(&mut download, &data(2, 0));
        assert_eq!(progress, Progress::Finished(DownloadOutcome::Complete(vec![1; 512])));
    }

    #[test]
    fn a_repeated_block_is_acknowledged_again_and_not_stored_twice() {
        let (mut download, _) = start(Options::default());
        feed(&mut download, &data(1, 512));
        assert_eq!(feed(&mut download, &data(1, 512)), (Progress::Retransmitted, ack(1)));
        assert_eq!(download.received_bytes(), 512);
    }

    #[test]
    fn another_port_is_another_transfer() {
        let (mut download, _) = start(Options::default());
        feed(&mut download, &data(1, 512));
        let mut out = Vec::new();
        let progress = download.on_datagram(&data(2, 3), TID + 1, Time::ZERO, &mut out);
        assert_eq!((progress, out.len()), (Progress::Stray, 0));
        assert_eq!(download.peer_port(), Some(TID));
    }

    #[test]
    fn a_late_block_of_an_earlier_transfer_does_not_choose_the_peer() {
        let (mut download, _) = start(Options::default());
        let mut out = Vec::new();
        let late = download.on_datagram(&data(9, 3), TID + 1, Time::ZERO, &mut out);
        assert_eq!((late, out.len(), download.peer_port()), (Progress::Stray, 0, None));
        assert_eq!(feed(&mut download, &data(1, 512)), (Progress::Continue, ack(1)));
        assert_eq!(download.peer_port(), Some(TID));
    }

    #[test]
    fn missing_file_and_other_errors_are_told_apart() {
        let (mut download, _) = start(Options::default());
        let (progress, _) = feed(&mut download, b"\0\x05\0\x01File not found\0");
        assert_eq!(progress, Progress::Finished(DownloadOutcome::NotFound));
        let (mut download, _) = start(Options::default());
        let (progress, _) = feed(&mut download, b"\0\x05\0\x02no\0");
        assert_eq!(progress, failed(TransferFault::Error(ErrorCode::AccessViolation)));
    }

    #[test]
    fn the_size_limit_is_exact() {
        let (mut download, _) = start(Options::default());
        feed(&mut download, &data(1, 512));
        feed(&mut download, &data(2, 512));
        let fits = Progress::Finished(DownloadOutcome::Complete(
            [vec![1; 512], vec![2; 512], vec![3; 476]].concat(),
        ));
        let (mut same, _) = start(Options::default());
        feed(&mut same, &data(1, 512));
        feed(&mut same, &data(2, 512));
        assert_eq!(feed(&mut same, &data(3, 476)).0, fits, "1,500 bytes are allowed");
        let (progress, out) = feed(&mut download, &data(3, 477));
        assert_eq!(progress, failed(TransferFault::TooLarge));
        assert_eq!(out[..4], [0, 5, 0, 3], "the server is told");
    }

    #[test]
    fn a_block_longer_than_agreed_breaks_the_protocol() {
        let (mut download, _) = start(Options::default());
        assert_eq!(feed(&mut download, &data(1, 513)).0, failed(TransferFault::Protocol));
    }

    #[test]
    fn options_that_were_granted_are_used() {
        let options = Options { block_size: Some(1_428), ..Options::default() };
        let asked = Options { transfer_size: Some(0), ..options };
        let (mut download, rrq) = start(asked);
        assert_eq!(rrq, b"\0\x01ITLFile.tlv\0octet\0blksize\x001428\0tsize\x000\0");
        let granted = Options { transfer_size: Some(1_428), block_size: Some(1_000), ..options };
        assert_eq!(feed(&mut download, &oack(granted)), (Progress::Continue, ack(0)));
        assert_eq!(feed(&mut download, &oack(granted)), (Progress::Continue, ack(0)));
        assert_eq!(feed(&mut download, &data(1, 1_000)).0, Progress::Continue);
        assert!(matches!(feed(&mut download, &data(2, 428)).0, Progress::Finished(_)));
    }

    #[test]
    fn a_server_that_ignores_the_options_sends_blocks_of_512() {
        let asked = Options { block_size: Some(1_428), ..Options::default() };
        let (mut download, _) = start(asked);
        assert_eq!(feed(&mut download, &data(1, 512)), (Progress::Continue, ack(1)));
        assert!(matches!(feed(&mut download, &data(2, 0)).0, Progress::Finished(_)));
        let (mut download, _) = start(asked);
        assert_eq!(feed(&mut download, &data(1, 1_428)).0, failed(TransferFault::Protocol));
    }

    #[test]
    fn options_that_nobody_asked_for_end_the_transfer() {
        let asked = Options { block_size: Some(1_000), ..Options::default() };
        let wrong = [
            Options { block_size: Some(1_001), ..Options::default() },
            Options { block_size: Some(7), ..Options::default() },
            Options { window_size: Some(2), ..Options::default() },
            Options { timeout_s: Some(2), ..Options::default() },
            Options { transfer_size: Some(2), ..Options::default() },
        ];
        for options in wrong {
            let (mut download, _) = start(asked);
            let (progress, out) = feed(&mut download, &oack(options));
            assert_eq!(progress, failed(TransferFault::Protocol), "{options:?}");
            assert_eq!(out[..4], [0, 5, 0, 8]);
        }
    }

    #[test]
    fn a_file_announced_too_large_is_refused_before_it_comes() {
        let (mut download, _) = start(Options { transfer_size: Some(0), ..Options::default() });
        let announced = |size| oack(Options { transfer_size: Some(size), ..Options::default() });
        assert_eq!(feed(&mut download, &announced(1_501)).0, failed(TransferFault::TooLarge));
        let (mut download, _) = start(Options { transfer_size: Some(0), ..Options::default() });
        assert_eq!(feed(&mut download, &announced(1_500)).0, Progress::Continue);
    }

    #[test]
    fn timeouts_repeat_the_last_datagram_and_then_give_up() {
        let (mut download, rrq) = start(Options::default());
        let mut out = Vec::new();
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        assert_eq!(download.deadline(), at(4));
        assert_eq!(download.on_timeout(at(4), &mut out), Progress::Retransmitted);
        assert_eq!((&out, download.deadline()), (&rrq, at(8)));
        feed(&mut download, &data(1, 512));
        assert_eq!(download.on_timeout(at(12), &mut out), Progress::Retransmitted);
        assert_eq!(out, ack(1), "after an answer the acknowledgement is what is repeated");
        assert_eq!(download.on_timeout(at(16), &mut out), Progress::Retransmitted);
        let end = download.on_timeout(at(20), &mut out);
        assert_eq!(end, failed(TransferFault::TimedOut), "three tries in all");
    }

    #[test]
    fn a_window_is_acknowledged_at_its_end_and_at_a_gap() {
        let asked = Options { window_size: Some(3), ..Options::default() };
        let (mut download, _) = start(asked);
        feed(&mut download, &oack(asked));
        assert_eq!(feed(&mut download, &data(1, 512)), (Progress::Continue, vec![]));
        assert_eq!(feed(&mut download, &data(3, 512)), (Progress::Retransmitted, ack(1)));
        assert_eq!(feed(&mut download, &data(4, 512)), (Progress::Continue, vec![]), "said once");
        assert_eq!(feed(&mut download, &data(2, 9)).1, ack(2), "the last block is acknowledged");
    }
}
