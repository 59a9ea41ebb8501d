//! Messages of the Certificate Authority Proxy Function (`spec/capf.md`).

use super::tlv::{Element, Reader, WireError, put_element};

/// Length of the header of every message in bytes.
pub const HEADER_LENGTH: usize = 8;
/// Longest message in bytes: header and a body whose length fits into 16 bits.
pub const MESSAGE_LENGTH_MAX: usize = HEADER_LENGTH + 0xFFFF;

const PROTOCOL_ID: u8 = 0x55;

/// Why (element 1).
pub mod reason {
    /// Nothing is to be done.
    pub const NO_ACTION: u8 = 0;
    /// Done; in an answer to the greeting: an update.
    pub const DONE: u8 = 1;
    /// Refused or failed.
    pub const REFUSED: u8 = 7;
    /// Nobody knows the device.
    pub const UNKNOWN_DEVICE: u8 = 9;
}

macro_rules! tags {
    ($($(#[$doc:meta])* $tag:ident = $number:literal, $name:literal;)*) => {
        /// Tags of elements (`spec/capf.md`, table of elements).
        pub mod tag {
            $($(#[$doc])* pub const $tag: u8 = $number;)*
        }

        /// Name of an element, as the toolbox prints it; `unknown` for tags that nobody knows.
        pub const fn element_name(tag: u8) -> &'static str {
            match tag {
                $($number => $name,)*
                _ => "unknown",
            }
        }
    };
}

tags! {
    /// Why: one byte.
    REASON = 1, "reason";
    /// Text that goes with the reason.
    REASON_INFO = 2, "reason_info";
    /// 1 LSC, 2 MIC.
    CERTIFICATE_TYPE = 3, "certificate_type";
    /// Certificate in its wrapper.
    CERTIFICATE = 4, "certificate";
    /// Not used by known peers.
    CERTIFICATE_ID = 5, "certificate_id";
    /// SHA-1 proof.
    SIGNED_DATA = 6, "signed_data";
    /// Protocol version: 3, or 2.
    VERSION = 7, "version";
    /// How the client proves who it is.
    AUTH_TYPE = 8, "auth_type";
    /// `SubjectPublicKeyInfo`.
    PUBLIC_KEY = 9, "public_key";
    /// RSA key size in bits.
    KEY_SIZE = 10, "key_size";
    /// Authentication string with NUL.
    PASSWORD = 11, "password";
    /// Seconds until the next try.
    RETRY_DELAY = 12, "retry_delay";
    /// `SEP` and MAC, with NUL.
    DEVICE_NAME = 13, "device_name";
    /// Proof with the MIC.
    SUDI_DATA = 16, "sudi_data";
    /// 0 RSA, 1 EC.
    KEY_TYPE = 17, "key_type";
    /// 0 P-256, 1 P-384, 2 P-521.
    CURVE = 18, "curve";
    /// Not used by known peers.
    DIGEST_TYPE = 19, "digest_type";
    /// SHA-512 proof.
    SHA2_SIGNED_DATA = 20, "sha2_signed_data";
}

macro_rules! commands {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $text:literal;)*) => {
        /// What a message is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Command {
            $($(#[$doc])* $variant = $id,)*
        }

        impl Command {
            /// The command with this number.
            pub const fn from_number(number: u8) -> Option<Command> {
                match number {
                    $($id => Some(Command::$variant),)*
                    _ => None,
                }
            }

            /// Its name in traces.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Command::$variant => $text,)*
                }
            }

            /// The command with this name.
            pub fn from_name(name: &str) -> Option<Command> {
                match name {
                    $($text => Some(Command::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    /// Greeting of the server.
    AuthRequest = 1, "AUTH_REQUEST";
    /// Who the client is.
    AuthResponse = 2, "AUTH_RESPONSE";
    /// Make a key.
    KeyGenerateRequest = 3, "KEY_GENERATE_REQUEST";
    /// The public key, or why there is none.
    KeyGenerateResponse = 4, "KEY_GENERATE_RESPONSE";
    /// Not used by known peers.
    EncryptRequest = 5, "ENCRYPT_REQUEST";
    /// Not used by known peers.
    EncryptResponse = 6, "ENCRYPT_RESPONSE";
    /// Not used by known peers.
    DecryptRequest = 7, "DECRYPT_REQUEST";
    /// Not used by known peers.
    DecryptResponse = 8, "DECRYPT_RESPONSE";
    /// The new certificate.
    StoreCertificateRequest = 9, "STORE_CERTIFICATE_REQUEST";
    /// Stored, or not.
    StoreCertificateResponse = 10, "STORE_CERTIFICATE_RESPONSE";
    /// Show the certificate.
    FetchCertificateRequest = 11, "FETCH_CERTIFICATE_REQUEST";
    /// The certificate, or why there is none.
    FetchCertificateResponse = 12, "FETCH_CERTIFICATE_RESPONSE";
    /// Delete the certificate.
    DeleteCertificateRequest = 13, "DELETE_CERTIFICATE_REQUEST";
    /// Deleted, or not.
    DeleteCertificateResponse = 14, "DELETE_CERTIFICATE_RESPONSE";
    /// The end, and why.
    EndSession = 15, "END_SESSION";
    /// The server is busy.
    RetryLater = 16, "RETRY_LATER";
    /// The client needs time.
    RequestInProgress = 17, "REQUEST_IN_PROGRESS";
    /// Not used by known peers.
    StatusRequest = 18, "STATUS_REQUEST";
    /// Not used by known peers.
    StatusResponse = 19, "STATUS_RESPONSE";
    /// Not used by known peers.
    AbortRequest = 20, "ABORT_REQUEST";
    /// Not used by known peers.
    AbortResponse = 21, "ABORT_RESPONSE";
    /// Not used by known peers.
    SignRequest = 22, "SIGN_REQUEST";
    /// Not used by known peers.
    SignResponse = 23, "SIGN_RESPONSE";
}

/// One message, borrowed: header fields and elements in the order of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub command: Command,
    /// Chosen by the server, echoed by the client in every message.
    pub session_id: u32,
    /// The elements, in any order, unknown ones included.
    pub elements: Vec<Element<'a>>,
}

/// Length of the whole message that starts with `header`.
///
/// # Errors
/// If the bytes are not the start of a CAPF message.
pub fn message_length(header: &[u8; HEADER_LENGTH]) -> Result<usize, WireError> {
    check_protocol(header[0])?;
    Ok(HEADER_LENGTH + usize::from(u16::from_be_bytes([header[6], header[7]])))
}

fn check_protocol(protocol: u8) -> Result<(), WireError> {
    if protocol == PROTOCOL_ID {
        return Ok(());
    }
    Err(WireError::new("wrong protocol id", 0, "0x55"))
}

impl<'a> Message<'a> {
    /// A message without elements.
    pub const fn new(command: Command, session_id: u32) -> Message<'a> {
        Message { command, session_id, elements: Vec::new() }
    }

    /// Adds an element at the end.
    #[must_use]
    pub fn with(mut self, tag: u8, value: &'a [u8]) -> Message<'a> {
        self.elements.push(Element { tag, offset: 0, value });
        self
    }

    /// Reads one whole message.
    ///
    /// # Errors
    /// Wrong protocol id, command or length, an element that does not fit, or one of fixed size
    /// with another size.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, WireError> {
        let mut reader = Reader::new(bytes, 0);
        check_protocol(reader.byte("protocol id 0x55")?)?;
        let command = Command::from_number(reader.byte("a command")?).ok_or(WireError::new(
            "unknown command",
            1,
            "1 to 23",
        ))?;
        let session_id = reader.u32("a session id")?;
        let elements = reader.elements()?;
        elements.iter().try_for_each(check_size)?;
        Ok(Message { command, session_id, elements })
    }

    /// Writes the message.
    ///
    /// # Panics
    /// If the elements are longer than 65,535 bytes together.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&[PROTOCOL_ID, self.command as u8]);
        out.extend_from_slice(&self.session_id.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        for element in &self.elements {
            put_element(&mut out, element.tag, element.value);
        }
        let length =
            u16::try_from(out.len() - HEADER_LENGTH).expect("messages are written below 64 KiB");
        out[6..8].copy_from_slice(&length.to_be_bytes());
        out
    }

    /// The first element with this tag.
    pub fn find(&self, tag: u8) -> Option<&Element<'a>> {
        self.elements.iter().find(|element| element.tag == tag)
    }

    /// The first element with this tag, which the command needs.
    ///
    /// # Errors
    /// If there is none; the message is then malformed and the session ends.
    pub fn need(&self, tag: u8) -> Result<&Element<'a>, WireError> {
        let end = self.elements.last().map_or(HEADER_LENGTH, |e| e.offset + 3 + e.value.len());
        self.find(tag).ok_or_else(|| WireError {
            what: "element missing",
            offset: end,
            expected: format!("tag {tag} ({})", element_name(tag)).into(),
        })
    }

    /// The reason (element 1), if there is one.
    pub fn reason(&self) -> Option<u8> {
        self.find(tag::REASON)?.value.first().copied()
    }

    /// The device name (element 13), if there is one.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn device_name(&self) -> Result<Option<&'a str>, WireError> {
        self.find(tag::DEVICE_NAME).map(Element::text).transpose()
    }

    /// The certificate (element 4) without its wrapper, DER, if there is one.
    ///
    /// # Errors
    /// If the wrapper is broken.
    pub fn certificate(&self) -> Result<Option<&'a [u8]>, WireError> {
        self.find(tag::CERTIFICATE).map(unwrap_certificate).transpose()
    }
}

/// Elements of fixed size with another size are malformed.
fn check_size(element: &Element<'_>) -> Result<(), WireError> {
    match element.tag {
        tag::REASON
        | tag::CERTIFICATE_TYPE
        | tag::VERSION
        | tag::AUTH_TYPE
        | tag::KEY_TYPE
        | tag::CURVE => drop(element.fixed::<1>()?),
        tag::KEY_SIZE => drop(element.fixed::<2>()?),
        _ => {}
    }
    Ok(())
}

/// Wrapper of a certificate: `01`, length of the rest, `00`, `01`, DER.
const WRAPPER_LENGTH: usize = 5;

/// The DER inside element 4.
///
/// # Errors
/// If the inner length does not fit.
pub fn unwrap_certificate<'a>(element: &Element<'a>) -> Result<&'a [u8], WireError> {
    let mut reader = Reader::new(element.value, element.offset + 3);
    reader.byte("the wrapper of a certificate")?;
    let offset = reader.offset();
    let length = usize::from(reader.u16("a length of two bytes")?);
    if length != reader.rest().len() || length < 2 {
        return Err(WireError {
            what: "length of the certificate does not fit",
            offset,
            expected: format!("{}, not {length}", reader.rest().len()).into(),
        });
    }
    Ok(&element.value[WRAPPER_LENGTH..])
}

/// The value of element 4 for an LSC.
///
/// # Panics
/// If the certificate is longer than 65,530 bytes.
pub fn wrap_certificate(der: &[u8]) -> Vec<u8> {
    let length = u16::try_from(der.len() + 2).expect("certificates are short");
    let mut out = Vec::with_capacity(der.len() + WRAPPER_LENGTH);
    out.push(1);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(der);
    out
}

/// A proof with the id of its hash: element 20, and the parts of element 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashedProof<'a> {
    /// Hash: 1 SHA-1, 3 SHA-512; 0 marks the certificate in element 16.
    pub hash: u8,
    /// The proof.
    pub proof: &'a [u8],
}

fn hashed_proof<'a>(reader: &mut Reader<'a>) -> Result<HashedProof<'a>, WireError> {
    let part = reader.element()?;
    Ok(HashedProof { hash: part.tag, proof: part.value })
}

impl<'a> HashedProof<'a> {
    /// Reads the value of element 20.
    ///
    /// # Errors
    /// If the inner length does not fit.
    pub fn parse(element: &Element<'a>) -> Result<HashedProof<'a>, WireError> {
        let mut reader = Reader::new(element.value, element.offset + 3);
        let proof = hashed_proof(&mut reader)?;
        if reader.is_empty() {
            return Ok(proof);
        }
        Err(WireError::new("bytes behind the proof", reader.offset(), "the end of the element"))
    }

    /// Writes the value of element 20.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(3 + self.proof.len());
        put_element(&mut out, self.hash, self.proof);
        out
    }
}

/// Proof with the MIC: element 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sudi<'a> {
    /// The MIC (DER).
    pub certificate: &'a [u8],
    /// SHA-1 proof over session id and certificate.
    pub sha1_proof: &'a [u8],
    /// SHA-512 proof over the same.
    pub sha512_proof: &'a [u8],
}

impl<'a> Sudi<'a> {
    /// Reads the value of element 16; its parts may come in any order.
    ///
    /// # Errors
    /// If a part does not fit or is missing.
    pub fn parse(element: &Element<'a>) -> Result<Sudi<'a>, WireError> {
        let mut reader = Reader::new(element.value, element.offset + 3);
        let (mut certificate, mut sha1_proof, mut sha512_proof) = (None, None, None);
        while !reader.is_empty() {
            let part = hashed_proof(&mut reader)?;
            match part.hash {
                0 => certificate = Some(part.proof),
                1 => sha1_proof = Some(part.proof),
                3 => sha512_proof = Some(part.proof),
                _ => {}
            }
        }
        let missing = |expected| WireError::new("part missing", reader.offset(), expected);
        Ok(Sudi {
            certificate: certificate.ok_or_else(|| missing("part 0 (certificate)"))?,
            sha1_proof: sha1_proof.ok_or_else(|| missing("part 1 (SHA-1 proof)"))?,
            sha512_proof: sha512_proof.ok_or_else(|| missing("part 3 (SHA-512 proof)"))?,
        })
    }

    /// Writes the value of element 16.
    ///
    /// # Panics
    /// If a part is longer than 65,535 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2_048);
        put_element(&mut out, 0, self.certificate);
        put_element(&mut out, 1, self.sha1_proof);
        put_element(&mut out, 3, self.sha512_proof);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, value: &[u8]) -> Element<'_> {
        Element { tag, offset: 8, value }
    }

    fn auth_response() -> Vec<u8> {
        Message::new(Command::AuthResponse, 7)
            .with(tag::REASON, &[1])
            .with(tag::VERSION, &[3])
            .with(tag::DEVICE_NAME, b"SEP001122334455\0")
            .encode()
    }

    #[test]
    fn messages_round_trip_with_unknown_elements() {
        let bytes = Message::new(Command::EndSession, 0x0102_0304)
            .with(tag::REASON, &[1])
            .with(99, &[1, 2])
            .encode();
        assert_eq!(bytes[..8], [0x55, 15, 1, 2, 3, 4, 0, 9]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.reason(), message.elements.len()), (Some(1), 2));
        assert_eq!(message.encode(), bytes);
    }

    #[test]
    fn the_listing_of_a_router_has_these_message_lengths() {
        // Cisco IOS `debug capf-server`: 12 bytes for the greeting, 35 for its answer.
        assert_eq!(
            Message::new(Command::AuthRequest, 1).with(tag::VERSION, &[2]).encode().len(),
            12
        );
        assert_eq!(auth_response().len(), 35);
    }

    #[test]
    fn protocol_command_length_and_fixed_sizes_are_checked() {
        let good = auth_response();
        let broken = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Message::parse(&bytes).map_err(|error| error.offset).err()
        };
        assert_eq!(broken(0, 0x57), Some(0));
        assert_eq!(broken(1, 0), Some(1));
        assert_eq!(broken(1, 24), Some(1));
        assert_eq!(broken(1, 23), None);
        assert_eq!(broken(7, 1), Some(6));
        assert!(Message::parse(&good[..7]).is_err());
        for (tag, sizes) in [(tag::REASON, [0, 2]), (tag::KEY_SIZE, [1, 3]), (tag::CURVE, [0, 2])] {
            for size in sizes {
                let bytes =
                    Message::new(Command::AuthRequest, 1).with(tag, &[0; 3][..size]).encode();
                assert_eq!(Message::parse(&bytes).unwrap_err().what, "element has a wrong size");
            }
        }
    }

    #[test]
    fn names_and_numbers_of_commands_agree() {
        for number in 1..=23 {
            let command = Command::from_number(number).unwrap();
            assert_eq!(command as u8, number);
            assert_eq!(Command::from_name(command.name()), Some(command));
        }
        assert_eq!((Command::from_number(0), Command::from_number(24)), (None, None));
        assert_eq!(Command::from_name("HELLO"), None);
    }

    #[test]
    fn a_wrapped_certificate_is_unwrapped_if_its_length_fits() {
        let wrapped = wrap_certificate(&[0x30; 100]);
        assert_eq!(wrapped[..5], [1, 0, 102, 0, 1]);
        assert_eq!(unwrap_certificate(&element(4, &wrapped)), Ok(&[0x30; 100][..]));
        for length in [101, 103] {
            let mut wrong = wrapped.clone();
            wrong[2] = length;
            let error = unwrap_certificate(&element(4, &wrong)).unwrap_err();
            assert_eq!(error.offset, 12);
        }
        assert!(unwrap_certificate(&element(4, &[1, 0, 1, 0])).is_err(), "no room for the type");
        assert_eq!(unwrap_certificate(&element(4, &[1, 0, 2, 0, 1])), Ok(&[][..]));
    }

    #[test]
    fn proofs_and_sudi_data_round_trip() {
        let proof = HashedProof { hash: 3, proof: &[7; 256] };
        let bytes = proof.encode();
        assert_eq!(bytes.len(), 259);
        assert_eq!(HashedProof::parse(&element(20, &bytes)), Ok(proof));
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(HashedProof::parse(&element(20, &longer)).unwrap_err().offset, 270);

        let sudi = Sudi { certificate: &[1; 9], sha1_proof: &[2; 8], sha512_proof: &[3; 7] };
        let bytes = sudi.encode();
        assert_eq!(Sudi::parse(&element(16, &bytes)), Ok(sudi));
        let error = Sudi::parse(&element(16, &bytes[..12])).unwrap_err();
        assert_eq!(error.expected, "part 1 (SHA-1 proof)");
    }

    #[test]
    fn a_missing_element_is_named() {
        let bytes = auth_response();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.need(tag::VERSION).unwrap().value, [3]);
        let error = message.need(tag::PASSWORD).unwrap_err();
        assert_eq!((error.offset, error.expected.as_ref()), (35, "tag 11 (password)"));
        assert_eq!(message.device_name(), Ok(Some("SEP001122334455")));
        assert_eq!(message.certificate(), Ok(None));
    }

    #[test]
    fn the_length_of_a_message_is_in_its_header() {
        let bytes = auth_response();
        let header: &[u8; HEADER_LENGTH] = bytes[..HEADER_LENGTH].try_into().unwrap();
        assert_eq!(message_length(header), Ok(35));
        assert!(message_length(b"GET / HT").is_err());
    }
}
