use std::sync::Arc;

use crate::base::{Span, Time};
use crate::wire::tftp::{BLOCK_SIZE_DEFAULT, BLOCK_SIZE_MIN, ErrorCode, Options, Packet};

use super::fault::{Breach, Reached, TransferFault, shown};

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
    /// Number of the last of them on the wire, which wraps.
    block: u16,
    /// Number of a block that came instead of the next one, since that was waited for.
    jumped_to: Option<u16>,
    /// What there is to say beside the outcome.
    remark: Option<Box<str>>,
    /// Blocks of the present window that were not acknowledged yet.
    unacknowledged: u16,
    data: Vec<u8>,
    /// Bytes that were taken out of `data` before the end.
    taken: usize,
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
            block: 0,
            jumped_to: None,
            remark: None,
            unacknowledged: 0,
            data: Vec::new(),
            taken: 0,
            tries_left: request.tries.saturating_sub(1),
            echoes_left: ECHOES_MAX,
            deadline: now + request.timeout,
            request,
        };
        download.write_last(out);
        download
    }

    /// Collects the file in `room`, whose content is dropped: who has many transfers one after the
    /// other need not ask for memory each time.
    pub fn collect_in(&mut self, mut room: Vec<u8>) {
        room.clear();
        self.data = room;
    }

    /// The room that a transfer which brought no file leaves behind.
    pub fn into_room(self) -> Vec<u8> {
        self.data
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
        self.taken + self.data.len()
    }

    /// Shows what has arrived since the last call and keeps it no longer: a file of any size needs
    /// little room. The outcome then has the rest alone.
    pub fn take_data(&mut self, with: impl FnOnce(&[u8])) {
        with(&self.data);
        self.taken += self.data.len();
        self.data.clear();
    }

    /// How far the transfer has come.
    pub fn reached(&self) -> Reached {
        let answered = self.peer_port.is_some();
        Reached { answered, blocks: self.received, bytes: self.received_bytes() }
    }

    /// What there is to say beside the outcome, in one line that is fit to be shown: the text of
    /// the server's ERROR, the numbers of a broken protocol, or how far a transfer came that ended
    /// in silence.
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
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
        let packet = match Packet::parse(bytes) {
            Ok(packet) => packet,
            Err(error) => {
                let breach = Breach::of_unreadable(bytes);
                return self.broken(breach, &format!("{} bytes, {error}", bytes.len()), out);
            }
        };
        match packet {
            // A late block of an earlier transfer on this port must not choose our peer.
            Packet::Data { block, .. } if self.peer_port.is_none() && block != 1 => {
                self.jumped_to = Some(block);
                Progress::Stray
            }
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
            Packet::Error { code, message } => self.on_error(code, message),
            Packet::Rrq { .. } | Packet::Wrq | Packet::Ack { .. } => {
                let opcode = bytes.get(1).copied().unwrap_or_default();
                self.broken(Breach::ClientPacket, &format!("opcode {opcode}"), out)
            }
        }
    }

    /// The deadline has passed: sends the last datagram again or gives up.
    pub fn on_timeout(&mut self, now: Time, out: &mut Vec<u8>) -> Progress {
        out.clear();
        if self.tries_left == 0 {
            return Progress::Finished(DownloadOutcome::Failed(self.silence()));
        }
        self.tries_left -= 1;
        self.deadline = now + self.request.timeout;
        self.unacknowledged = 0;
        self.write_last(out);
        Progress::Retransmitted
    }

    /// Nothing more will come.
    fn silence(&mut self) -> TransferFault {
        let next = self.block.wrapping_add(1);
        let reached = self.reached();
        self.remark = match self.jumped_to {
            Some(block) => Some(format!("block {block} came instead of block {next}").into()),
            None => reached.answered.then(|| reached.to_string().into()),
        };
        match self.jumped_to {
            _ if !reached.answered => TransferFault::TimedOut,
            Some(_) => TransferFault::Protocol(Breach::BlockNumber),
            None => TransferFault::Stalled,
        }
    }

    fn on_error(&mut self, code: ErrorCode, message: &[u8]) -> Progress {
        self.remark = Some(shown(message).into());
        Progress::Finished(match code {
            ErrorCode::FILE_NOT_FOUND => DownloadOutcome::NotFound,
            code => DownloadOutcome::Failed(TransferFault::Error(code)),
        })
    }

    fn on_oack(&mut self, granted: Options, now: Time, out: &mut Vec<u8>) -> Progress {
        let asked = self.request.options;
        if let Some((breach, remark)) = overstep(granted, asked) {
            return self.broken(breach, &remark, out);
        }
        if let Some(size) = granted.transfer_size.filter(|&size| size > self.size_max()) {
            return self.too_large(size, out);
        }
        let size = |granted: Option<u64>, default| {
            granted.and_then(|size| u16::try_from(size).ok()).unwrap_or(default)
        };
        self.block_size = size(granted.block_size, BLOCK_SIZE_DEFAULT);
        self.window_size = size(granted.window_size, 1);
        self.acknowledge(now, out);
        Progress::Continue
    }

    fn on_data(&mut self, block: u16, data: &[u8], now: Time, out: &mut Vec<u8>) -> Progress {
        if data.len() > usize::from(self.block_size) {
            let remark = format!("{} bytes instead of {}", data.len(), self.block_size);
            return self.broken(Breach::BlockTooLong, &remark, out);
        }
        if !self.is_next(block) {
            return self.on_other_block(block, out);
        }
        let length = (self.received_bytes() + data.len()) as u64;
        if length > self.size_max() {
            return self.too_large(length, out);
        }
        self.data.extend_from_slice(data);
        self.received += 1;
        self.unacknowledged += 1;
        (self.block, self.jumped_to) = (block, None);
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

    /// Whether a block is the next one. Behind block 65,535 servers go on with 0 or, some, with 1.
    /// Within a window 1 may as well be a gap, and a file with a hole is worse than none.
    fn is_next(&self, block: u16) -> bool {
        let skips_zero = self.block == u16::MAX && block == 1 && self.window_size == 1;
        block == self.block.wrapping_add(1) || skips_zero
    }

    /// A block that came before means that our acknowledgement was lost: say it again. A gap in a
    /// window means that a block was lost: say how far we are (RFC 7440 section 4).
    fn on_other_block(&mut self, block: u16, out: &mut Vec<u8>) -> Progress {
        let behind = self.block.wrapping_sub(block);
        let gap = behind >= 0x8000;
        if gap {
            self.jumped_to = Some(block);
        }
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
            Some(_) => Packet::Ack { block: self.block },
        };
        packet.encode(out);
    }

    fn size_max(&self) -> u64 {
        self.request.size_max as u64
    }

    fn too_large(&mut self, length: u64, out: &mut Vec<u8>) -> Progress {
        let remark = format!("at least {length} bytes, at most {} are taken", self.size_max());
        self.abort(TransferFault::TooLarge, ErrorCode::DISK_FULL, &remark, out)
    }

    fn broken(&mut self, breach: Breach, remark: &str, out: &mut Vec<u8>) -> Progress {
        let code = match breach {
            Breach::OptionNotAsked | Breach::OptionTooLarge | Breach::OptionTooSmall => {
                ErrorCode::OPTION_REFUSED
            }
            _ => ErrorCode::ILLEGAL_OPERATION,
        };
        self.abort(TransferFault::Protocol(breach), code, remark, out)
    }

    fn abort(
        &mut self,
        fault: TransferFault,
        code: ErrorCode,
        remark: &str,
        out: &mut Vec<u8>,
    ) -> Progress {
        Packet::Error { code, message: b"" }.encode(out);
        self.remark = Some(remark.into());
        Progress::Finished(DownloadOutcome::Failed(fault))
    }
}

/// What a server grants that it may not, if anything: an option that the request does not have, a
/// larger block or window than asked for, none at all, another time-out.
fn overstep(granted: Options, asked: Options) -> Option<(Breach, String)> {
    let options = [
        ("blksize", granted.block_size, asked.block_size, u64::from(BLOCK_SIZE_MIN)),
        ("windowsize", granted.window_size, asked.window_size, 1),
        ("timeout", granted.timeout_s, asked.timeout_s, asked.timeout_s.unwrap_or_default()),
        ("tsize", granted.transfer_size, asked.transfer_size.map(|_| u64::MAX), 0),
    ];
    options.into_iter().find_map(|(name, granted, asked, least)| match (granted?, asked) {
        (got, None) => Some((Breach::OptionNotAsked, format!("{name} {got}"))),
        (got, Some(most)) if got > most => {
            Some((Breach::OptionTooLarge, format!("{name} {got} instead of {most}")))
        }
        (got, Some(_)) if got < least => {
            Some((Breach::OptionTooSmall, format!("{name} {got} instead of at least {least}")))
        }
        _ => None,
    })
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
        assert_eq!(download.remark(), None);
        let (progress, _) = feed(&mut download, b"\0\x05\0\x02outside\n of the root\0rest");
        assert_eq!(progress, failed(TransferFault::Error(ErrorCode::ACCESS_VIOLATION)));
        assert_eq!(download.remark(), Some("outside\\n of the root"));
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
        assert_eq!(
            feed(&mut download, &data(1, 513)).0,
            failed(TransferFault::Protocol(Breach::BlockTooLong))
        );
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
        assert_eq!(
            feed(&mut download, &data(1, 1_428)).0,
            failed(TransferFault::Protocol(Breach::BlockTooLong))
        );
    }

    #[test]
    fn options_that_nobody_asked_for_end_the_transfer() {
        let asked = Options { block_size: Some(1_000), ..Options::default() };
        let none = Options::default();
        let wrong = [
            (Options { block_size: Some(1_001), ..none }, Breach::OptionTooLarge),
            (Options { block_size: Some(65_536 + 512), ..none }, Breach::OptionTooLarge),
            (Options { block_size: Some(7), ..none }, Breach::OptionTooSmall),
            (Options { window_size: Some(2), ..none }, Breach::OptionNotAsked),
            (Options { timeout_s: Some(2), ..none }, Breach::OptionNotAsked),
            (Options { transfer_size: Some(2), ..none }, Breach::OptionNotAsked),
        ];
        for (options, breach) in wrong {
            let (mut download, _) = start(asked);
            let (progress, out) = feed(&mut download, &oack(options));
            assert_eq!(progress, failed(TransferFault::Protocol(breach)), "{options:?}");
            assert_eq!(out[..4], [0, 5, 0, 8]);
        }
        let (mut download, _) = start(asked);
        feed(&mut download, &oack(wrong[0].0));
        assert_eq!(download.remark(), Some("blksize 1001 instead of 1000"));
    }

    #[test]
    fn every_way_to_break_the_protocol_is_named() {
        let cases: [(&[u8], Breach); 8] = [
            (b"", Breach::ShortDatagram),
            (b"\0", Breach::ShortDatagram),
            (b"\0\x03\0", Breach::ShortDatagram),
            (b"\0\x05\0", Breach::ShortDatagram),
            (b"\0\x06blksize\0", Breach::OptionsUnreadable),
            (b"\0\x04\0\x01", Breach::ClientPacket),
            (b"\0\x01f\0octet\0", Breach::ClientPacket),
            (b"HTTP/1.1 400 Bad Request\r\n", Breach::UnknownOpcode),
        ];
        for (bytes, breach) in cases {
            let (mut download, _) = start(Options::default());
            let (progress, _) = feed(&mut download, bytes);
            assert_eq!(progress, failed(TransferFault::Protocol(breach)), "{bytes:?}");
            assert!(download.remark().is_some(), "{bytes:?}");
        }
    }

    /// Lets every try end without an answer.
    fn silence(download: &mut Download) -> Progress {
        let mut out = Vec::new();
        loop {
            let progress = download.on_timeout(download.deadline(), &mut out);
            if progress != Progress::Retransmitted {
                return progress;
            }
        }
    }

    #[test]
    fn blocks_that_are_never_the_next_one_are_named_when_patience_ends() {
        let (mut download, _) = start(Options::default());
        feed(&mut download, &data(1, 512));
        assert_eq!(feed(&mut download, &data(5, 512)), (Progress::Retransmitted, ack(1)));
        let number = TransferFault::Protocol(Breach::BlockNumber);
        assert_eq!(silence(&mut download), failed(number));
        assert_eq!(download.remark(), Some("block 5 came instead of block 2"));
        let (mut download, _) = start(Options::default());
        assert_eq!(feed(&mut download, &data(0, 512)).0, Progress::Stray);
        assert_eq!(silence(&mut download), failed(TransferFault::TimedOut));
        assert_eq!(download.remark(), Some("block 0 came instead of block 1"));
    }

    #[test]
    fn silence_says_how_far_it_came() {
        let (mut download, _) = start(Options::default());
        assert_eq!(silence(&mut download), failed(TransferFault::TimedOut));
        assert_eq!(download.remark(), None);
        let (mut download, _) = start(Options::default());
        feed(&mut download, &data(1, 512));
        feed(&mut download, &data(2, 512));
        assert_eq!(silence(&mut download), failed(TransferFault::Stalled));
        assert_eq!(download.remark(), Some("nothing after block 2 (1,024 bytes)"));
    }

    #[test]
    fn block_numbers_that_wrap_to_0_or_to_1_are_read() {
        let options = Options { block_size: Some(8), ..Options::default() };
        for first in [0u16, 1] {
            let mut request = request(options);
            request.size_max = 1 << 20;
            let mut out = Vec::new();
            let mut download = Download::start(request, Time::ZERO, &mut out);
            feed(&mut download, &oack(options));
            let (mut number, blocks) = (0u16, 70_000u64);
            for block in 1..=blocks {
                number = if number == u16::MAX { first } else { number + 1 };
                let length = if block == blocks { 3 } else { 8 };
                let (progress, out) = feed(&mut download, &data(number, length));
                assert_eq!(out, ack(number), "block {block} with number {number}");
                if block == blocks {
                    let Progress::Finished(DownloadOutcome::Complete(data)) = progress else {
                        panic!("{progress:?}")
                    };
                    assert_eq!(data.len(), 69_999 * 8 + 3);
                } else {
                    assert_eq!(progress, Progress::Continue, "block {block}");
                }
            }
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
        assert_eq!(end, failed(TransferFault::Stalled), "three tries in all");
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
