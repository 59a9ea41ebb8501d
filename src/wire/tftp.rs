//! TFTP packets: RFC 1350 with options (RFC 2347), block size (2348), timeout and transfer size
//! (2349) and window size (7440).

use std::fmt;

use super::tlv::{Reader, WireError};

/// Block size without an option (RFC 1350).
pub const BLOCK_SIZE_DEFAULT: u16 = 512;
/// Smallest block size (RFC 2348).
pub const BLOCK_SIZE_MIN: u16 = 8;
/// Largest block size (RFC 2348).
pub const BLOCK_SIZE_MAX: u16 = 65_464;
/// Longest request that is read; RFC 2347 sets the limit.
pub const REQUEST_LENGTH_MAX: usize = 512;

const OPCODE_RRQ: u16 = 1;
const OPCODE_WRQ: u16 = 2;
const OPCODE_DATA: u16 = 3;
const OPCODE_ACK: u16 = 4;
const OPCODE_ERROR: u16 = 5;
const OPCODE_OACK: u16 = 6;

/// Error code: the number on the wire (RFC 1350 section 5, RFC 2347).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// See the message.
    pub const NOT_DEFINED: ErrorCode = ErrorCode(0);
    /// File not found.
    pub const FILE_NOT_FOUND: ErrorCode = ErrorCode(1);
    /// Access violation.
    pub const ACCESS_VIOLATION: ErrorCode = ErrorCode(2);
    /// Disk full or allocation exceeded.
    pub const DISK_FULL: ErrorCode = ErrorCode(3);
    /// Illegal TFTP operation.
    pub const ILLEGAL_OPERATION: ErrorCode = ErrorCode(4);
    /// Unknown transfer ID.
    pub const UNKNOWN_TRANSFER_ID: ErrorCode = ErrorCode(5);
    /// The request was refused for its options (RFC 2347).
    pub const OPTION_REFUSED: ErrorCode = ErrorCode(8);
}

/// What the numbers from 0 on mean.
const MEANINGS: [&str; 9] = [
    "not defined",
    "file not found",
    "access violation",
    "disk full",
    "illegal operation",
    "unknown transfer ID",
    "file exists",
    "no such user",
    "options refused",
];

/// The number and, where RFC 1350 or RFC 2347 gives it one, its meaning.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MEANINGS.get(usize::from(self.0)) {
            Some(meaning) => write!(f, "{} ({meaning})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Options of a request or an OACK; a value that is absent was not named. Numbers are as on the
/// wire, ranges are checked by who uses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// `blksize` in bytes (RFC 2348).
    pub block_size: Option<u64>,
    /// `tsize` in bytes; 0 in a request asks for it (RFC 2349).
    pub transfer_size: Option<u64>,
    /// `timeout` in seconds (RFC 2349).
    pub timeout_s: Option<u64>,
    /// `windowsize` in blocks (RFC 7440).
    pub window_size: Option<u64>,
}

impl Options {
    /// Whether no option is named.
    pub fn is_empty(&self) -> bool {
        *self == Options::default()
    }
}

/// One packet, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Read request.
    Rrq {
        /// Name of the file, as sent.
        file: &'a str,
        /// Whether the mode is `octet`; phones use no other.
        octet: bool,
        /// Its options.
        options: Options,
    },
    /// Write request; never answered with anything but an error here.
    Wrq,
    /// One block.
    Data {
        /// Block number, from 1.
        block: u16,
        /// Its bytes.
        data: &'a [u8],
    },
    /// Acknowledgement of a block.
    Ack {
        /// Block number; 0 acknowledges an OACK.
        block: u16,
    },
    /// Error: the transfer is over.
    Error {
        /// Why.
        code: ErrorCode,
        /// Text for people, as sent and without its NUL; it may be anything.
        message: &'a [u8],
    },
    /// Option acknowledgement.
    Oack {
        /// The options that the server took.
        options: Options,
    },
}

impl<'a> Packet<'a> {
    /// Reads one datagram.
    ///
    /// # Errors
    /// If it is not a TFTP packet. Text that is not UTF-8 is malformed; unknown options are
    /// skipped, of an option that repeats the first counts (RFC 2347 forbids repeating).
    pub fn parse(bytes: &'a [u8]) -> Result<Packet<'a>, WireError> {
        let mut reader = Reader::new(bytes, 0);
        match reader.u16("an opcode")? {
            OPCODE_RRQ => {
                if bytes.len() > REQUEST_LENGTH_MAX {
                    return Err(WireError::new("request is too long", 512, "at most 512 bytes"));
                }
                let file = string(&mut reader, "a file name")?;
                let octet = string(&mut reader, "a mode")?.eq_ignore_ascii_case("octet");
                Ok(Packet::Rrq { file, octet, options: read_options(&mut reader)? })
            }
            OPCODE_WRQ => Ok(Packet::Wrq),
            OPCODE_DATA => {
                Ok(Packet::Data { block: reader.u16("a block number")?, data: reader.rest() })
            }
            OPCODE_ACK => Ok(Packet::Ack { block: reader.u16("a block number")? }),
            OPCODE_ERROR => {
                let code = ErrorCode(reader.u16("an error code")?);
                // Some servers leave out the final NUL; the code is what counts.
                let message = reader.rest().split(|&byte| byte == 0).next().unwrap_or_default();
                Ok(Packet::Error { code, message })
            }
            OPCODE_OACK => Ok(Packet::Oack { options: read_options(&mut reader)? }),
            _ => Err(WireError::new("unknown opcode", 0, "1 to 6")),
        }
    }

    /// Writes the packet into `out`, which is cleared first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        match *self {
            Packet::Rrq { file, octet, options } => {
                out.extend_from_slice(&OPCODE_RRQ.to_be_bytes());
                put_string(out, file);
                put_string(out, if octet { "octet" } else { "netascii" });
                put_options(out, options);
            }
            Packet::Wrq => out.extend_from_slice(&OPCODE_WRQ.to_be_bytes()),
            Packet::Data { block, data } => {
                out.extend_from_slice(&OPCODE_DATA.to_be_bytes());
                out.extend_from_slice(&block.to_be_bytes());
                out.extend_from_slice(data);
            }
            Packet::Ack { block } => {
                out.extend_from_slice(&OPCODE_ACK.to_be_bytes());
                out.extend_from_slice(&block.to_be_bytes());
            }
            Packet::Error { code, message } => {
                out.extend_from_slice(&OPCODE_ERROR.to_be_bytes());
                out.extend_from_slice(&code.0.to_be_bytes());
                out.extend_from_slice(message);
                out.push(0);
            }
            Packet::Oack { options } => {
                out.extend_from_slice(&OPCODE_OACK.to_be_bytes());
                put_options(out, options);
            }
        }
    }
}

fn string<'a>(reader: &mut Reader<'a>, expected: &'static str) -> Result<&'a str, WireError> {
    let at = reader.offset();
    let length = reader
        .rest()
        .iter()
        .position(|&byte| byte == 0)
        .ok_or_else(|| WireError::new("text has no end", at, expected))?;
    let text = std::str::from_utf8(reader.take(length, expected)?)
        .map_err(|_| WireError::new("text is not UTF-8", at, expected))?;
    reader.byte("NUL")?;
    Ok(text)
}

fn read_options(reader: &mut Reader<'_>) -> Result<Options, WireError> {
    let mut options = Options::default();
    while !reader.is_empty() {
        let name = string(reader, "an option name")?;
        let at = reader.offset();
        let value = string(reader, "an option value")?;
        let slot = match name.to_ascii_lowercase().as_str() {
            "blksize" => &mut options.block_size,
            "tsize" => &mut options.transfer_size,
            "timeout" => &mut options.timeout_s,
            "windowsize" => &mut options.window_size,
            _ => continue,
        };
        let number =
            value.parse().map_err(|_| WireError::new("option is no number", at, "a number"))?;
        slot.get_or_insert(number);
    }
    Ok(options)
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn put_options(out: &mut Vec<u8>, options: Options) {
    let named = [
        ("blksize", options.block_size),
        ("tsize", options.transfer_size),
        ("timeout", options.timeout_s),
        ("windowsize", options.window_size),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            put_string(out, name);
            put_string(out, &value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(packet: Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        assert_eq!(Packet::parse(&bytes), Ok(packet));
    }

    #[test]
    fn packets_round_trip() {
        let options = Options {
            block_size: Some(1428),
            transfer_size: Some(0),
            timeout_s: Some(3),
            window_size: Some(8),
        };
        round_trip(Packet::Rrq { file: "ITLFile.tlv", octet: true, options });
        round_trip(Packet::Rrq { file: "a", octet: false, options: Options::default() });
        round_trip(Packet::Wrq);
        round_trip(Packet::Data { block: 65_535, data: &[1, 2, 3] });
        round_trip(Packet::Data { block: 1, data: &[] });
        round_trip(Packet::Ack { block: 7 });
        for number in 0..10 {
            round_trip(Packet::Error { code: ErrorCode(number), message: b"no" });
        }
        round_trip(Packet::Oack { options });
    }

    #[test]
    fn request_of_a_stock_client_is_read() {
        let bytes = b"\0\x01CTLSEP0011215A1AE3.tlv\0OCTET\0BlkSize\x001428\0x-unknown\0v\0";
        let Packet::Rrq { file, octet, options } = Packet::parse(bytes).unwrap() else {
            panic!("a read request");
        };
        assert_eq!((file, octet), ("CTLSEP0011215A1AE3.tlv", true));
        assert_eq!(options, Options { block_size: Some(1428), ..Options::default() });
    }

    #[test]
    fn malformed_packets_name_the_place() {
        let offset = |bytes: &[u8]| Packet::parse(bytes).unwrap_err().offset;
        assert_eq!(offset(b""), 0);
        assert_eq!(offset(b"\0\x09"), 0);
        assert_eq!(offset(b"\0\x01name-without-end"), 2);
        assert_eq!(offset(b"\0\x01a\0octet"), 4);
        assert_eq!(offset(b"\0\x01a\0octet\0blksize\0"), 18);
        assert_eq!(offset(b"\0\x01a\0octet\0blksize\0many\0"), 18);
        assert_eq!(offset(b"\0\x03\0"), 3);
        assert_eq!(offset(&[&b"\0\x01"[..], &[b'a'; 511]].concat()), 512);
    }

    #[test]
    fn the_first_of_a_repeated_option_counts() {
        let bytes = b"\0\x01a\0octet\0blksize\x00100\0blksize\x00200\0";
        let Packet::Rrq { options, .. } = Packet::parse(bytes).unwrap() else { panic!() };
        assert_eq!(options.block_size, Some(100));
    }

    #[test]
    fn an_error_without_its_final_nul_is_still_an_error() {
        let packet = Packet::parse(b"\0\x05\0\x01File not found").unwrap();
        let message = b"File not found";
        assert_eq!(packet, Packet::Error { code: ErrorCode::FILE_NOT_FOUND, message });
    }
}
