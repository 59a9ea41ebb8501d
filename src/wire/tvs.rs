//! Messages of the Trust Verification Service (`spec/tvs.md`).

use super::tlv::{Element, Reader, WireError, put_element, put_text};

/// Length of the header of every message in bytes.
pub const HEADER_LENGTH: usize = 10;
/// Longest message in bytes: header and a body whose length fits into 16 bits.
pub const MESSAGE_LENGTH_MAX: usize = HEADER_LENGTH + 0xFFFF;

const PROTOCOL_ID: u8 = 0x57;
const VERSION: u8 = 1;
const TAG_DEVICE_NAME: u8 = 1;
const TAG_CERTIFICATE: u8 = 2;
const TAG_SUBJECT: u8 = 3;
const TAG_ISSUER: u8 = 4;
const TAG_SERIAL: u8 = 5;
const TAG_STATUS: u8 = 7;
const TAG_ROLES: u8 = 8;
const TAG_TTL: u8 = 9;
/// The byte before the device name in captures; readers skip it.
const DEVICE_NAME_FORMAT: u8 = 1;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// `TVS_MSG_CERT_VERIFICATION_REQ`.
    VerifyRequest = 1,
    /// `TVS_MSG_CERT_VERIFICATION_RES`.
    VerifyResponse = 2,
    /// `TVS_MSG_QUERY_CERT_REQ`.
    QueryRequest = 3,
    /// `TVS_MSG_QUERY_CERT_RES`.
    QueryResponse = 4,
}

/// One message, borrowed: header fields and elements in the order of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub command: Command,
    /// Left-over byte of CUCM's answers; ignored by readers, kept for a faithful copy.
    pub reserved: u8,
    /// Chosen by the client, echoed by the server.
    pub session_id: u32,
    /// The elements.
    pub elements: Vec<Element<'a>>,
}

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// Is this certificate known? Asked for HTTPS servers.
    Verify {
        /// The certificate (DER).
        certificate: &'a [u8],
    },
    /// Which certificate has this issuer and serial? Asked for signers of files.
    Query {
        /// Subject of the signer.
        subject: &'a str,
        /// Issuer of the signer.
        issuer: &'a str,
        /// Serial number of the signer.
        serial: &'a [u8],
    },
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Session id of the client.
    pub session_id: u32,
    /// Device name, such as `CP-8841-SEP001122334455`.
    pub device_name: &'a str,
    /// What is asked.
    pub question: Question<'a>,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// Which request it answers: `VerifyResponse` or `QueryResponse`.
    pub command: Command,
    /// Session id of the request.
    pub session_id: u32,
    /// What the server knows; `None` is status 1, "not valid or unknown".
    pub known: Option<Known<'a>>,
}

/// What a server says of a certificate that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    /// The certificate (DER): in answers to QUERY.
    pub certificate: Option<&'a [u8]>,
    /// Roles, one byte each, at least one.
    pub roles: &'a [u8],
    /// How long the answer may be kept, seconds.
    pub ttl_s: u32,
}

/// Length of the whole message that starts with `header`.
///
/// # Errors
/// If the bytes are not the start of a TVS message.
pub fn message_length(header: &[u8; HEADER_LENGTH]) -> Result<usize, WireError> {
    check_start(header[0], header[1])?;
    Ok(HEADER_LENGTH + usize::from(u16::from_be_bytes([header[8], header[9]])))
}

fn check_start(protocol: u8, version: u8) -> Result<(), WireError> {
    if protocol != PROTOCOL_ID {
        return Err(WireError::new("wrong protocol id", 0, "0x57"));
    }
    if version != VERSION {
        return Err(WireError::new("wrong version", 1, "1"));
    }
    Ok(())
}

impl<'a> Message<'a> {
    /// Reads one whole message.
    ///
    /// # Errors
    /// Wrong protocol id, version, command or length, or an element that does not fit.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, WireError> {
        let mut reader = Reader::new(bytes, 0);
        let protocol = reader.byte("protocol id 0x57")?;
        let version = reader.byte("version 1")?;
        check_start(protocol, version)?;
        let command = match reader.byte("a command")? {
            1 => Command::VerifyRequest,
            2 => Command::VerifyResponse,
            3 => Command::QueryRequest,
            4 => Command::QueryResponse,
            _ => return Err(WireError::new("unknown command", 2, "1 to 4")),
        };
        let reserved = reader.byte("the reserved byte")?;
        let session_id = reader.u32("a session id")?;
        Ok(Message { command, reserved, session_id, elements: reader.elements()? })
    }

    /// Writes the message.
    ///
    /// # Panics
    /// If the elements are longer than 65,535 bytes together.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = start(self.command, self.session_id);
        out[3] = self.reserved;
        for element in &self.elements {
            put_element(&mut out, element.tag, element.value);
        }
        finish(out)
    }

    fn find(&self, tag: u8) -> Option<&Element<'a>> {
        self.elements.iter().find(|element| element.tag == tag)
    }

    fn need(&self, tag: u8, expected: &'static str) -> Result<&Element<'a>, WireError> {
        let end = self.elements.last().map_or(HEADER_LENGTH, |e| e.offset + 3 + e.value.len());
        self.find(tag).ok_or_else(|| WireError::new("element missing", end, expected))
    }
}

fn start(command: Command, session_id: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&[PROTOCOL_ID, VERSION, command as u8, 0]);
    out.extend_from_slice(&session_id.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

fn finish(mut out: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(out.len() - HEADER_LENGTH).expect("messages are written short");
    out[8..10].copy_from_slice(&length.to_be_bytes());
    out
}

impl<'a> Request<'a> {
    /// Reads a request; unknown elements are skipped, order does not matter.
    ///
    /// # Errors
    /// If the message is malformed, is an answer, or lacks an element that its command needs.
    pub fn parse(bytes: &'a [u8]) -> Result<Request<'a>, WireError> {
        let message = Message::parse(bytes)?;
        let device = message.need(TAG_DEVICE_NAME, "tag 1 (device name)")?;
        let device_name = device
            .value
            .split_first()
            .and_then(|(_, name)| std::str::from_utf8(name).ok())
            .ok_or_else(|| WireError::new("device name is not text", device.offset, "UTF-8"))?;
        let question = match message.command {
            Command::VerifyRequest => Question::Verify {
                certificate: message.need(TAG_CERTIFICATE, "tag 2 (certificate)")?.value,
            },
            Command::QueryRequest => Question::Query {
                subject: message.find(TAG_SUBJECT).map_or(Ok(""), Element::text)?,
                issuer: message.need(TAG_ISSUER, "tag 4 (issuer)")?.text()?,
                serial: message.need(TAG_SERIAL, "tag 5 (serial number)")?.value,
            },
            Command::VerifyResponse | Command::QueryResponse => {
                return Err(WireError::new("answer instead of a request", 2, "command 1 or 3"));
            }
        };
        Ok(Request { session_id: message.session_id, device_name, question })
    }

    /// Writes the request, elements in the order of the captures.
    ///
    /// # Panics
    /// If names or certificate are longer than 65,535 bytes together.
    pub fn encode(&self) -> Vec<u8> {
        let command = match self.question {
            Question::Verify { .. } => Command::VerifyRequest,
            Question::Query { .. } => Command::QueryRequest,
        };
        let mut out = start(command, self.session_id);
        let device = [&[DEVICE_NAME_FORMAT], self.device_name.as_bytes()].concat();
        put_element(&mut out, TAG_DEVICE_NAME, &device);
        match self.question {
            Question::Verify { certificate } => {
                put_element(&mut out, TAG_CERTIFICATE, certificate);
            }
            Question::Query { subject, issuer, serial } => {
                put_text(&mut out, TAG_SUBJECT, subject);
                put_text(&mut out, TAG_ISSUER, issuer);
                put_element(&mut out, TAG_SERIAL, serial);
            }
        }
        finish(out)
    }
}

impl<'a> Response<'a> {
    /// Reads an answer; unknown elements are skipped, order does not matter.
    ///
    /// # Errors
    /// If the message is malformed, is a request, or lacks an element that its status needs.
    pub fn parse(bytes: &'a [u8]) -> Result<Response<'a>, WireError> {
        let message = Message::parse(bytes)?;
        if matches!(message.command, Command::VerifyRequest | Command::QueryRequest) {
            return Err(WireError::new("request instead of an answer", 2, "command 2 or 4"));
        }
        let [status] = message.need(TAG_STATUS, "tag 7 (status)")?.fixed()?;
        let known = if status == 0 { Some(Known::of(&message)?) } else { None };
        Ok(Response { command: message.command, session_id: message.session_id, known })
    }

    /// Writes the answer.
    ///
    /// # Panics
    /// If certificate and roles are longer than 65,535 bytes together.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = start(self.command, self.session_id);
        put_element(&mut out, TAG_STATUS, &[u8::from(self.known.is_none())]);
        if let Some(known) = self.known {
            if let Some(certificate) = known.certificate {
                put_element(&mut out, TAG_CERTIFICATE, certificate);
            }
            put_element(&mut out, TAG_ROLES, known.roles);
            put_element(&mut out, TAG_TTL, &known.ttl_s.to_be_bytes());
        }
        finish(out)
    }
}

impl<'a> Known<'a> {
    fn of(message: &Message<'a>) -> Result<Known<'a>, WireError> {
        let roles = message.need(TAG_ROLES, "tag 8 (roles)")?;
        if roles.value.is_empty() {
            return Err(WireError::new("no role", roles.offset, "at least one role"));
        }
        let certificate = match message.command {
            Command::QueryResponse => {
                Some(message.need(TAG_CERTIFICATE, "tag 2 (certificate)")?.value)
            }
            _ => message.find(TAG_CERTIFICATE).map(|element| element.value),
        };
        let ttl_s = u32::from_be_bytes(message.need(TAG_TTL, "tag 9 (TTL)")?.fixed()?);
        Ok(Known { certificate, roles: roles.value, ttl_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> Request<'static> {
        Request {
            session_id: 1_001,
            device_name: "CP-8861-SEPB000B4BA0AEE",
            question: Question::Query { subject: "CN=s", issuer: "CN=i", serial: &[1, 2] },
        }
    }

    #[test]
    fn requests_round_trip() {
        let verify = Request { question: Question::Verify { certificate: &[9; 900] }, ..query() };
        for request in [query(), verify] {
            assert_eq!(Request::parse(&request.encode()), Ok(request));
        }
    }

    #[test]
    fn responses_round_trip() {
        let known = Known { certificate: Some(&[9; 900]), roles: &[0, 3], ttl_s: 86_400 };
        let valid = Response { command: Command::QueryResponse, session_id: 7, known: Some(known) };
        let unknown = Response { command: Command::VerifyResponse, session_id: 8, known: None };
        for response in [valid, unknown] {
            assert_eq!(Response::parse(&response.encode()), Ok(response));
        }
    }

    #[test]
    fn length_protocol_version_and_command_are_checked() {
        let good = query().encode();
        let broken = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Request::parse(&bytes).unwrap_err().offset
        };
        assert_eq!(broken(0, 0x56), 0);
        assert_eq!(broken(1, 2), 1);
        assert_eq!(broken(2, 9), 2);
        assert_eq!(broken(2, 4), 2, "an answer is no request");
        assert_eq!(broken(9, 1), 8);
        assert!(Request::parse(&good[..good.len() - 1]).is_err());
    }

    #[test]
    fn a_positive_query_answer_needs_certificate_roles_and_ttl() {
        for missing in [TAG_CERTIFICATE, TAG_ROLES, TAG_TTL, TAG_STATUS] {
            let mut out = start(Command::QueryResponse, 1);
            for (tag, value) in [
                (TAG_STATUS, &[0][..]),
                (TAG_CERTIFICATE, &[1]),
                (TAG_ROLES, &[3]),
                (TAG_TTL, &[0; 4]),
            ] {
                if tag != missing {
                    put_element(&mut out, tag, value);
                }
            }
            assert_eq!(Response::parse(&finish(out)).unwrap_err().what, "element missing");
        }
    }

    #[test]
    fn empty_roles_are_no_answer() {
        let mut out = start(Command::VerifyResponse, 1);
        put_element(&mut out, TAG_STATUS, &[0]);
        put_element(&mut out, TAG_ROLES, &[]);
        put_element(&mut out, TAG_TTL, &[0, 0, 0, 9]);
        assert_eq!(Response::parse(&finish(out)).unwrap_err().what, "no role");
    }

    #[test]
    fn message_length_counts_the_header() {
        let bytes = query().encode();
        let header: &[u8; HEADER_LENGTH] = bytes[..HEADER_LENGTH].try_into().unwrap();
        assert_eq!(message_length(header), Ok(bytes.len()));
        assert!(message_length(b"GET / HTTP").is_err());
    }
}
