use std::fmt;

use crate::wire::tftp::ErrorCode;

/// Why a transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum TransferFault {
    /// The server answered an error other than "file not found".
    #[error("the server answered TFTP error {0}")]
    Error(ErrorCode),
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(Breach),
    /// The host says that nobody listens on the port.
    #[error("nobody listens on the port")]
    Refused,
    /// The server answered, and fell silent before the file was whole.
    #[error("the server fell silent in mid-transfer")]
    Stalled,
    /// No answer to any try of the request.
    #[error("no answer to the request")]
    TimedOut,
    /// The file is longer than the phone takes.
    #[error("the file is longer than the limit")]
    TooLarge,
}

/// How a server broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Breach {
    /// Data that is longer than a block.
    #[error("a block longer than agreed")]
    BlockTooLong,
    /// Blocks came, but never the next one.
    #[error("a block number that is not the next")]
    BlockNumber,
    /// An acknowledgement or a request, which only clients send.
    #[error("an acknowledgement or request instead of data")]
    ClientPacket,
    /// An option that the request did not have.
    #[error("an option that was not asked for")]
    OptionNotAsked,
    /// A block or window larger than the request asked for, or another time-out.
    #[error("an option larger than asked for")]
    OptionTooLarge,
    /// A block size below 8 or a window of 0 (RFC 2348, RFC 7440).
    #[error("an option below its range")]
    OptionTooSmall,
    /// An option acknowledgement that ends too early or has no number where one belongs.
    #[error("options that cannot be read")]
    OptionsUnreadable,
    /// Fewer bytes than a packet of its kind has.
    #[error("a datagram that is too short")]
    ShortDatagram,
    /// An opcode outside 1 to 6.
    #[error("an unknown opcode")]
    UnknownOpcode,
}

impl TransferFault {
    /// Whether the server itself is silent, from the start or in the middle of a file. A server that
    /// sends an error, breaks the protocol or has too long a file has answered: another one is not
    /// asked for its word (choice; what real phones do then is not known).
    pub const fn is_silence(self) -> bool {
        matches!(self, TransferFault::Refused | TransferFault::Stalled | TransferFault::TimedOut)
    }
}

impl Breach {
    /// Which fault a datagram has that is no packet.
    pub(super) fn of_unreadable(bytes: &[u8]) -> Breach {
        match bytes {
            [_] | [] | [0, 3..=5, ..] => Breach::ShortDatagram,
            [0, 6, ..] => Breach::OptionsUnreadable,
            [0, 1..=2, ..] => Breach::ClientPacket,
            _ => Breach::UnknownOpcode,
        }
    }
}

/// How far a transfer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Whether the server answered at all.
    pub answered: bool,
    /// Blocks that arrived in order.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: usize,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reached { answered: false, .. } => f.write_str("no answer to the request"),
            Reached { blocks: 0, .. } => f.write_str("nothing after the options were agreed"),
            Reached { blocks, bytes, .. } => {
                let (blocks, bytes) = (grouped(*blocks), grouped(*bytes as u64));
                write!(f, "nothing after block {blocks} ({bytes} bytes)")
            }
        }
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Characters of a server's text that are kept (choice): one line of a terminal or two.
const TEXT_MAX: usize = 200;

/// The text of an ERROR packet, fit to be shown: one line without control characters, bytes that
/// are not UTF-8 as `\xNN`, cut after 200 characters.
pub(super) fn shown(text: &[u8]) -> String {
    let mut out = String::new();
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' | '\'' | '\\' => out.push(char),
                _ => out.extend(char.escape_debug()),
            }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
        if out.len() > TEXT_MAX * 4 {
            break;
        }
    }
    match out.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{} ...", &out[..end]),
        None => out.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_shown_without_harm_and_cut() {
        assert_eq!(shown(b"Access violation: C:\\tftp"), "Access violation: C:\\tftp");
        assert_eq!(shown("n\u{e4}chste".as_bytes()), "n\u{e4}chste");
        assert_eq!(shown(b"\x1b[2Jgone\r\n\x07"), "\\u{1b}[2Jgone\\r\\n\\u{7}");
        assert_eq!(shown("left\u{202e}thgir".as_bytes()), "left\\u{202e}thgir");
        assert_eq!(shown(&[0xFF, b'a', 0xC3]), "\\xffa\\xc3");
        assert_eq!(shown(b"  \n"), "\\n");
        assert_eq!(shown(b""), "");
        assert_eq!(shown(&vec![b'x'; 60_000]), format!("{} ...", "x".repeat(TEXT_MAX)));
        assert_eq!(shown(&vec![0xFE; 60_000]).chars().count(), TEXT_MAX + 4);
    }

    #[test]
    fn time_outs_say_how_far_the_transfer_came() {
        let far = |answered, blocks, bytes| Reached { answered, blocks, bytes }.to_string();
        assert_eq!(far(false, 0, 0), "no answer to the request");
        assert_eq!(far(true, 0, 0), "nothing after the options were agreed");
        assert_eq!(far(true, 17, 8_704), "nothing after block 17 (8,704 bytes)");
        assert_eq!(far(true, 70_000, 35_840_000), "nothing after block 70,000 (35,840,000 bytes)");
    }
}
