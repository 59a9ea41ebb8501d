use std::ops::Range;

use super::encrypted::Encryption;
use super::tlv::{Element, Reader, WireError, put_element, put_text};

/// Digest id of SHA-1 (header tag 8).
pub const DIGEST_SHA1: u8 = 1;
/// Digest id of SHA-512 (header tag 8).
pub const DIGEST_SHA512: u8 = 3;

/// The header of a trust list or signed file (`spec/trust-list.md` section 2), borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    /// Major and minor version: 1.2 in lists, 1.0 in signed files, 2.0 in encrypted ones.
    pub version: (u8, u8),
    /// Bytes from the start of the file to the first record or the body, padding included.
    pub length: u16,
    /// Signer version; `None` in files of releases up to 11.5.
    pub signer_version: Option<(u8, u8)>,
    /// Subject of the signer's certificate.
    pub signer_name: &'a str,
    /// Serial number of the signer's certificate, minimal big-endian magnitude.
    pub serial: &'a [u8],
    /// Issuer of the signer's certificate.
    pub issuer: &'a str,
    /// Digest id: 1 SHA-1, 3 SHA-512; anything else is not usable.
    pub digest: u8,
    /// Signature algorithm: 0 is RSA.
    pub algorithm: u8,
    /// Modulus id: 0..=3 for 512, 1024, 2048 and 4096 bits.
    pub modulus: u8,
    /// The signature.
    pub signature: &'a [u8],
    /// Offset of the signature element (its tag) in the file.
    pub signature_offset: usize,
    /// Name of the file; lists carry the generic name.
    pub file_name: &'a str,
    /// Unix time in seconds; 0 when the element is missing.
    pub timestamp: u32,
    /// Number of padding bytes.
    pub padding: u16,
}

/// A file with a header: what is signed, by whom, and the content behind the header.
#[derive(Clone, Copy, Debug)]
pub struct SignedFile<'a> {
    /// The parsed header.
    pub header: Header<'a>,
    /// Records of a list, content of a signed file.
    pub body: &'a [u8],
    bytes: &'a [u8],
}

const TAG_SIGNATURE: u8 = 12;
const TAG_PADDING: u8 = 13;
/// Tags of elements whose length counts inner elements: a reader enters them.
pub(super) const CONTAINERS: [u8; 6] = [3, 7, 9, 16, 17, 21];
/// Smallest header that can be: version, header length and one more byte (reader rules).
const HEADER_LENGTH_MIN: usize = 11;

impl<'a> SignedFile<'a> {
    /// Whether `bytes` begin as a signed file does: with tag 1. Content that is served without a
    /// header never does, because it is text (`spec/signed-file.md`, names).
    pub fn is_signed(bytes: &[u8]) -> bool {
        bytes.first() == Some(&1)
    }

    /// Reads the header of `bytes` by the reader rules of `spec/trust-list.md` section 8.
    ///
    /// # Errors
    /// Names the first fault and its offset. A digest id that nobody uses is not an error here:
    /// the file is well-formed, only not verifiable.
    pub fn parse(bytes: &'a [u8]) -> Result<SignedFile<'a>, WireError> {
        let mut reader = Reader::new(bytes, 0);
        let version = expect(&mut reader, 1, "tag 1 (version) first")?.fixed::<2>()?;
        let length_element = expect(&mut reader, 2, "tag 2 (header length) second")?;
        let length = u16::from_be_bytes(length_element.fixed()?);
        let room = usize::from(length);
        if room < HEADER_LENGTH_MIN || room > bytes.len() {
            let (what, expected) = if room < HEADER_LENGTH_MIN {
                ("header length out of range", format!("{HEADER_LENGTH_MIN} or more, not {room}"))
            } else {
                ("the file ends early", format!("a header of {room} bytes, not of {}", bytes.len()))
            };
            return Err(WireError {
                what,
                offset: length_element.offset,
                expected: expected.into(),
            });
        }
        let elements = Reader::new(&bytes[reader.offset()..room], reader.offset());
        let header = Header { version: version.into(), length, ..Header::default() };
        let header = Fields { header, seen: 1 << 1 | 1 << 2 }.read(elements)?;
        Ok(SignedFile { header, body: &bytes[room..], bytes })
    }

    /// Writes what the signature covers into `out`: the whole file without element 12.
    pub fn signed_bytes(&self, out: &mut Vec<u8>) {
        let end = self.header.signature_offset + 3 + self.header.signature.len();
        out.clear();
        out.extend_from_slice(&self.bytes[..self.header.signature_offset]);
        out.extend_from_slice(&self.bytes[end..]);
    }

    /// The elements of the header in order, without padding; a container comes before what it
    /// holds.
    pub fn header_elements(&self) -> impl Iterator<Item = Element<'a>> + use<'a> {
        let mut reader = Reader::new(&self.bytes[..usize::from(self.header.length)], 0);
        std::iter::from_fn(move || {
            while reader.peek() == Some(TAG_PADDING) {
                reader.byte("padding").ok()?;
            }
            let container = CONTAINERS.contains(&reader.peek()?);
            if container { reader.enter().ok() } else { reader.element().ok() }
        })
    }

    /// What the header of an encrypted file says of its content; sizes that only decryption needs
    /// are left to [`Encryption::check`], because the signature is judged first.
    ///
    /// # Errors
    /// If IV, padding length, wrapped key or digest are missing, or a fixed element has another
    /// size.
    pub fn encryption(&self) -> Result<Encryption<'a>, WireError> {
        Encryption::of(self.header_elements(), usize::from(self.header.length))
    }

    /// The whole file.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the parts of its header lie.
    pub fn places(&self) -> HeaderPlaces {
        let of = |part: &[u8]| {
            let start = part.as_ptr().addr().saturating_sub(self.bytes.as_ptr().addr());
            start..start + part.len()
        };
        let Header { signer_name, serial, issuer, signature, file_name, .. } = self.header;
        HeaderPlaces {
            texts: [signer_name, issuer, file_name].map(|text| of(text.as_bytes())),
            serial: of(serial),
            signature: of(signature),
            numbers: Header {
                signer_name: "",
                serial: &[],
                issuer: "",
                signature: &[],
                file_name: "",
                ..self.header
            },
        }
    }
}

/// Where the parts of a header lie that was read, and its numbers: for a file that is handed to
/// many phones.
#[derive(Clone, Debug)]
pub struct HeaderPlaces {
    /// Name of the signer, issuer, name of the file.
    texts: [Range<usize>; 3],
    serial: Range<usize>,
    signature: Range<usize>,
    numbers: Header<'static>,
}

impl HeaderPlaces {
    /// The file in the bytes of which these are the places; other bytes may give anything or `None`.
    pub fn file<'a>(&self, bytes: &'a [u8]) -> Option<SignedFile<'a>> {
        let part = |place: &Range<usize>| bytes.get(place.clone());
        let text = |place| str::from_utf8(part(place)?).ok();
        let [signer_name, issuer, file_name] = &self.texts;
        let header = Header {
            signer_name: text(signer_name)?,
            serial: part(&self.serial)?,
            issuer: text(issuer)?,
            signature: part(&self.signature)?,
            file_name: text(file_name)?,
            ..self.numbers
        };
        Some(SignedFile { header, body: bytes.get(usize::from(header.length)..)?, bytes })
    }
}

fn expect<'a>(
    reader: &mut Reader<'a>,
    tag: u8,
    expected: &'static str,
) -> Result<Element<'a>, WireError> {
    match reader.peek() {
        Some(first) if first == tag => reader.element(),
        Some(_) => Err(WireError::new("wrong tag", reader.offset(), expected)),
        None => Err(WireError::new("input ends", reader.offset(), expected)),
    }
}

/// Where the containers end that were entered: what they hold must fill them, no more, no less.
#[derive(Default)]
struct OpenContainers {
    /// Tag and end of each, the outermost first.
    open: [(u8, usize); CONTAINERS.len()],
    depth: usize,
}

impl OpenContainers {
    /// A container was entered that reaches to `end`; each of them comes once, so there is room.
    fn push(&mut self, container: Element<'_>, end: usize) -> Result<(), WireError> {
        if self.inner().is_some_and(|(_, outer)| end > outer) {
            return Err(across(container.offset));
        }
        self.open[self.depth] = (container.tag, end);
        self.depth += 1;
        Ok(())
    }

    /// The element that starts at `start` has been read; the next one is at `offset`.
    fn advance(&mut self, start: usize, offset: usize) -> Result<(), WireError> {
        while self.inner().is_some_and(|(_, end)| end == offset) {
            self.depth -= 1;
        }
        match self.inner() {
            Some((_, end)) if offset > end => Err(across(start)),
            _ => Ok(()),
        }
    }

    /// Whether an element of a signer or signature stands in its own container, and no other
    /// element of a header in one.
    fn check_home(&self, element: Element<'_>) -> Result<(), WireError> {
        let home = match element.tag {
            4..=6 => Some(3),
            8 | 9 => Some(7),
            10 | 11 => Some(9),
            3 | 7 | 12 | 14 | 15 | 28 => None,
            _ => return Ok(()),
        };
        if self.inner().map(|(tag, _)| tag) == home {
            return Ok(());
        }
        let expected =
            home.map_or("outside of containers".into(), |tag| format!("inside tag {tag}"));
        let what = "element in the wrong place";
        Err(WireError { what, offset: element.offset, expected: expected.into() })
    }

    fn inner(&self) -> Option<(u8, usize)> {
        self.depth.checked_sub(1).map(|at| self.open[at])
    }
}

#[cold]
fn across(offset: usize) -> WireError {
    let expected = "an element that ends inside its container";
    WireError::new("element runs past its container", offset, expected)
}

/// A header while its elements are collected; a tag may come only once.
struct Fields<'a> {
    header: Header<'a>,
    /// The tags that came, as bits.
    seen: u32,
}

impl<'a> Fields<'a> {
    fn read(mut self, mut reader: Reader<'a>) -> Result<Header<'a>, WireError> {
        let mut open = OpenContainers::default();
        while let Some(tag) = reader.peek() {
            let start = reader.offset();
            if tag == TAG_PADDING {
                reader.byte("padding")?;
                self.header.padding += 1;
            } else {
                let container = CONTAINERS.contains(&tag);
                let element = if container { reader.enter()? } else { reader.element()? };
                open.check_home(element)?;
                self.once(element)?;
                self.store(element)?;
                if container {
                    open.push(element, reader.offset() + element.value.len())?;
                }
            }
            open.advance(start, reader.offset())?;
        }
        let needed = [
            (3, "tag 3 (signer info)"),
            (TAG_SIGNATURE, "tag 12 (signature)"),
            (5, "tag 5 (serial number)"),
            (8, "tag 8 (digest)"),
        ];
        match needed.into_iter().find(|(tag, _)| self.seen & 1 << tag == 0) {
            Some((_, tag)) => Err(WireError::new("header element missing", reader.offset(), tag)),
            None => Ok(self.header),
        }
    }

    /// A second signature would leave open which bytes are signed, so no known tag may repeat.
    fn once(&mut self, element: Element<'a>) -> Result<(), WireError> {
        if element.tag >= 32 {
            return Ok(());
        }
        let bit = 1 << element.tag;
        if self.seen & bit != 0 {
            return Err(WireError::new("element repeats", element.offset, "each tag once"));
        }
        self.seen |= bit;
        Ok(())
    }

    fn store(&mut self, element: Element<'a>) -> Result<(), WireError> {
        let header = &mut self.header;
        match element.tag {
            4 => header.signer_name = element.text()?,
            5 => header.serial = element.value,
            6 => header.issuer = element.text()?,
            7 => drop(element.fixed::<15>()?),
            8 => [header.digest] = element.fixed()?,
            9 => drop(element.fixed::<8>()?),
            10 => [header.algorithm] = element.fixed()?,
            11 => [header.modulus] = element.fixed()?,
            TAG_SIGNATURE => {
                (header.signature_offset, header.signature) = (element.offset, element.value);
            }
            14 => header.file_name = element.text()?,
            15 => header.timestamp = u32::from_be_bytes(element.fixed()?),
            28 => header.signer_version = Some(element.fixed::<2>()?.into()),
            _ => {}
        }
        Ok(())
    }
}

/// In which order a writer puts the elements of the signer info.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderOrder {
    /// As CUCM writes: subject, serial, issuer.
    Cucm,
    /// As the files in the wild of another writer: subject, issuer, serial.
    IssuerFirst,
}

/// What a writer puts into a header.
#[derive(Clone, Copy, Debug)]
pub struct HeaderSpec<'a> {
    /// Order of the signer info.
    pub order: HeaderOrder,
    /// Major and minor version.
    pub version: (u8, u8),
    /// Signer version, written after tag 2; `None` leaves it out.
    pub signer_version: Option<(u8, u8)>,
    /// Subject of the signer.
    pub signer_name: &'a str,
    /// Serial number of the signer.
    pub serial: &'a [u8],
    /// Issuer of the signer.
    pub issuer: &'a str,
    /// Digest id, 1 or 3.
    pub digest: u8,
    /// Length of the signature in bytes: 64, 128, 256 or 512.
    pub signature_length: u16,
    /// File name.
    pub file_name: &'a str,
    /// Unix time in seconds.
    pub timestamp: u32,
}

/// A header that waits for its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedHeader {
    bytes: Vec<u8>,
    signature_offset: usize,
}

impl HeaderSpec<'_> {
    /// Writes the header without its signature (`spec/trust-list.md` section 3, writer steps).
    ///
    /// # Panics
    /// If names make the header longer than 65,535 bytes.
    pub fn encode(&self) -> UnsignedHeader {
        self.encode_with(&[])
    }

    /// Writes the header of an encrypted file: tags 16 to 27 follow the timestamp.
    ///
    /// # Panics
    /// If names or the wrapped key make the header longer than 65,535 bytes.
    pub fn encode_encrypted(&self, encryption: &Encryption<'_>) -> UnsignedHeader {
        self.encode_with(&encryption.encode())
    }

    fn encode_with(&self, behind_timestamp: &[u8]) -> UnsignedHeader {
        let mut out = Vec::with_capacity(256 + usize::from(self.signature_length));
        put_element(&mut out, 1, &[self.version.0, self.version.1]);
        put_element(&mut out, 2, &[0, 0]);
        if let Some((major, minor)) = self.signer_version {
            put_element(&mut out, 28, &[major, minor]);
        }
        self.put_signer(&mut out);
        let modulus = modulus_id(self.signature_length);
        put_element(&mut out, 7, &[8, 0, 1, self.digest, 9, 0, 8, 10, 0, 1, 0, 11, 0, 1, modulus]);
        let signature_offset = out.len();
        put_text(&mut out, 14, self.file_name);
        put_element(&mut out, 15, &self.timestamp.to_be_bytes());
        out.extend_from_slice(behind_timestamp);
        let signature_element = 3 + usize::from(self.signature_length);
        while (out.len() + signature_element) % 4 != 0 {
            out.push(TAG_PADDING);
        }
        let length = u16::try_from(out.len() + signature_element).expect("headers are short");
        out[8..10].copy_from_slice(&length.to_be_bytes());
        UnsignedHeader { bytes: out, signature_offset }
    }

    fn put_signer(&self, out: &mut Vec<u8>) {
        let mut info = Vec::with_capacity(128);
        put_text(&mut info, 4, self.signer_name);
        if self.order == HeaderOrder::IssuerFirst {
            put_text(&mut info, 6, self.issuer);
        }
        put_element(&mut info, 5, self.serial);
        if self.order == HeaderOrder::Cucm {
            put_text(&mut info, 6, self.issuer);
        }
        put_element(out, 3, &info);
    }
}

/// Modulus id (header tag 11) of an RSA signature of `length` bytes; 3 from 257 bytes on.
pub const fn modulus_id(length: u16) -> u8 {
    match length {
        0..=64 => 0,
        65..=128 => 1,
        129..=256 => 2,
        _ => 3,
    }
}

impl UnsignedHeader {
    /// What is signed: this header and the body.
    pub fn to_be_signed(&self, body: &[u8]) -> Vec<u8> {
        [self.bytes.as_slice(), body].concat()
    }

    /// The header with `signature` in its place.
    pub fn with_signature(&self, signature: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 3 + signature.len());
        out.extend_from_slice(&self.bytes[..self.signature_offset]);
        put_element(&mut out, TAG_SIGNATURE, signature);
        out.extend_from_slice(&self.bytes[self.signature_offset..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(order: HeaderOrder) -> HeaderSpec<'static> {
        HeaderSpec {
            order,
            version: (1, 2),
            signer_version: None,
            signer_name: "CN=pub;OU=TAC",
            serial: &[0x83, 0xE9],
            issuer: "CN=ca",
            digest: DIGEST_SHA512,
            signature_length: 256,
            file_name: "ITLFile.tlv",
            timestamp: 1_311_776_184,
        }
    }

    fn file(order: HeaderOrder) -> Vec<u8> {
        let header = spec(order).encode();
        [header.with_signature(&[7; 256]).as_slice(), b"body"].concat()
    }

    #[test]
    fn header_round_trips_in_both_orders() {
        for order in [HeaderOrder::Cucm, HeaderOrder::IssuerFirst] {
            let bytes = file(order);
            let parsed = SignedFile::parse(&bytes).unwrap();
            let header = parsed.header;
            assert_eq!((header.version, header.signer_version), ((1, 2), None));
            assert_eq!((header.signer_name, header.issuer), ("CN=pub;OU=TAC", "CN=ca"));
            assert_eq!((header.serial, header.digest), (&[0x83, 0xE9][..], 3));
            assert_eq!((header.modulus, header.signature), (2, &[7; 256][..]));
            assert_eq!((header.file_name, header.timestamp), ("ITLFile.tlv", 1_311_776_184));
            assert_eq!(usize::from(header.length) + 4, bytes.len());
            assert_eq!(header.length % 4, 0);
            assert_eq!(parsed.body, b"body");
            let again = parsed.places().file(&bytes).unwrap();
            assert_eq!((again.header, again.body, again.bytes), (header, parsed.body, &bytes[..]));
            assert!(parsed.places().file(&bytes[..100]).is_none());
        }
    }

    #[test]
    fn a_container_that_lies_about_its_length_is_refused() {
        let good = file(HeaderOrder::Cucm);
        let parsed = SignedFile::parse(&good).unwrap();
        let containers = parsed.header_elements().filter(|e| CONTAINERS.contains(&e.tag));
        for element in containers.map(|element| (element.offset, element.value.len())) {
            let (offset, length) = element;
            for lie in (0..length + 15).filter(|&lie| lie != length) {
                let mut bytes = good.clone();
                bytes[offset + 1..offset + 3].copy_from_slice(&(lie as u16).to_be_bytes());
                let error = SignedFile::parse(&bytes).unwrap_err();
                assert!(error.offset >= offset, "{error}: {lie} instead of {length}");
            }
        }
    }

    #[test]
    fn signed_bytes_are_what_the_writer_signed() {
        let bytes = file(HeaderOrder::Cucm);
        let mut covered = Vec::new();
        SignedFile::parse(&bytes).unwrap().signed_bytes(&mut covered);
        assert_eq!(covered, spec(HeaderOrder::Cucm).encode().to_be_signed(b"body"));
    }

    #[test]
    fn signer_version_is_written_after_the_header_length() {
        let spec = HeaderSpec { signer_version: Some((1, 1)), ..spec(HeaderOrder::Cucm) };
        let bytes = spec.encode().with_signature(&[7; 256]);
        assert_eq!(bytes[10..15], [28, 0, 2, 1, 1]);
        assert_eq!(SignedFile::parse(&bytes).unwrap().header.signer_version, Some((1, 1)));
    }

    #[test]
    fn a_second_signature_is_refused() {
        let mut bytes = file(HeaderOrder::Cucm);
        let end = bytes.len() - 4;
        bytes.truncate(end);
        put_element(&mut bytes, 12, &[1; 256]);
        let length = u16::try_from(bytes.len()).unwrap();
        bytes[8..10].copy_from_slice(&length.to_be_bytes());
        assert_eq!(SignedFile::parse(&bytes).unwrap_err().what, "element repeats");
    }

    #[test]
    fn missing_signer_serial_digest_or_signature_is_malformed() {
        let parse_without = |tag: u8| {
            let mut bytes = vec![1, 0, 2, 1, 2, 2, 0, 2, 0, 0];
            let serial: &[u8] = if tag == 5 { &[] } else { &[5, 0, 1, 1] };
            let digest = [8, 0, 1, 3, 9, 0, 8, 10, 0, 1, 0, 11, 0, 1, 2];
            for (element, value) in
                [(3, serial), (7, &digest), (12, &[9; 8]), (14, b"a\0"), (15, &[0; 4])]
            {
                // The digest goes with the container that has a fixed length.
                if element != tag && (element, tag) != (7, 8) {
                    put_element(&mut bytes, element, value);
                }
            }
            let length = u16::try_from(bytes.len()).unwrap();
            bytes[8..10].copy_from_slice(&length.to_be_bytes());
            SignedFile::parse(&bytes).map(|_| ()).map_err(|error| error.expected)
        };
        for tag in [3, 5, 8, 12] {
            let expected = parse_without(tag).unwrap_err();
            assert!(expected.starts_with(&format!("tag {tag} ")), "{tag}: {expected}");
        }
        assert_eq!(parse_without(14), Ok(()), "the file name may be missing");
    }

    #[test]
    fn header_length_is_checked_at_both_ends() {
        let mut bytes = file(HeaderOrder::Cucm);
        let (short, early) = ("header length out of range", "the file ends early");
        let one_more = u16::try_from(bytes.len()).unwrap() + 1;
        for (wrong, what) in [(0u16, short), (10, short), (one_more, early), (0xFFFF, early)] {
            bytes[8..10].copy_from_slice(&wrong.to_be_bytes());
            let error = SignedFile::parse(&bytes).unwrap_err();
            assert_eq!((error.what, error.offset), (what, 5), "{wrong}");
        }
    }
}
