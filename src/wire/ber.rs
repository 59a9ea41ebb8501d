//! BER as certificates, keys and their containers use it, read as leniently as OpenSSL does: lengths
//! of any form, indefinite ones too, and strings in pieces.

use std::borrow::Cow;
use std::fmt::Write;

use super::tlv::WireError;

/// Universal and context tags that are met.
pub mod tag {
    /// `INTEGER`.
    pub const INTEGER: u8 = 0x02;
    /// `BIT STRING`.
    pub const BIT_STRING: u8 = 0x03;
    /// `OCTET STRING`.
    pub const OCTET_STRING: u8 = 0x04;
    /// `OBJECT IDENTIFIER`.
    pub const OID: u8 = 0x06;
    /// `UTCTime`.
    pub const UTC_TIME: u8 = 0x17;
    /// `GeneralizedTime`.
    pub const GENERALIZED_TIME: u8 = 0x18;
    /// `SEQUENCE`, constructed.
    pub const SEQUENCE: u8 = 0x30;
    /// `SET`, constructed.
    pub const SET: u8 = 0x31;
    /// `[0]`, constructed.
    pub const CONTEXT_0_OF: u8 = 0xA0;
}

const CONSTRUCTED: u8 = 0x20;
/// Values of indefinite length and strings in pieces may be nested so deep; chosen.
const DEPTH_MAX: usize = 32;
/// Room for the dotted form of an object identifier: what names and algorithms have fits.
const OID_TEXT_USUAL: usize = 32;

/// One value: tag, content, and the bytes of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ber<'a> {
    /// First byte of the tag: class, form and number.
    pub tag: u8,
    /// Offset of the tag from the start of the input.
    pub offset: usize,
    /// The content.
    pub content: &'a [u8],
    /// Tag, length and content.
    pub whole: &'a [u8],
    header: usize,
}

impl<'a> Ber<'a> {
    /// Reads the value at the start of `bytes`; also gives what lies behind it.
    ///
    /// # Errors
    /// If tag or length are broken or the content is cut off.
    pub fn read(bytes: &'a [u8]) -> Result<(Ber<'a>, &'a [u8]), WireError> {
        let value = read_at(bytes, 0, 0)?;
        Ok((value, &bytes[value.whole.len()..]))
    }

    /// Reads `bytes` as one value with this tag and nothing behind it.
    ///
    /// # Errors
    /// As [`Ber::read`], and if the tag is another or bytes follow.
    pub fn only(bytes: &'a [u8], tag: u8, expected: &'static str) -> Result<Ber<'a>, WireError> {
        let (value, rest) = Ber::read(bytes)?;
        if value.tag != tag {
            return Err(WireError::new("wrong tag", 0, expected));
        }
        if !rest.is_empty() {
            return Err(WireError::new("bytes behind the value", value.whole.len(), "the end"));
        }
        Ok(value)
    }

    /// The values inside.
    pub const fn inside(&self) -> BerReader<'a> {
        BerReader { rest: self.content, offset: self.offset + self.header }
    }

    /// The bytes of a string, pieced together if it came in pieces.
    ///
    /// # Errors
    /// If a piece is broken.
    pub fn octets(&self) -> Result<Cow<'a, [u8]>, WireError> {
        if self.tag & CONSTRUCTED == 0 {
            return Ok(Cow::Borrowed(self.content));
        }
        let mut whole = Vec::with_capacity(self.content.len());
        self.collect(&mut whole, 0)?;
        Ok(Cow::Owned(whole))
    }

    fn collect(&self, whole: &mut Vec<u8>, depth: usize) -> Result<(), WireError> {
        let mut pieces = self.inside();
        while !pieces.is_empty() {
            let piece = pieces.next("a piece of a string")?;
            match piece.tag {
                tag::OCTET_STRING => whole.extend_from_slice(piece.content),
                _ if piece.tag & CONSTRUCTED != 0 && depth < DEPTH_MAX => {
                    piece.collect(whole, depth + 1)?;
                }
                _ => return Err(WireError::new("wrong tag", piece.offset, "a piece of a string")),
            }
        }
        Ok(())
    }

    /// The bytes of a `BIT STRING` without the count of unused bits.
    ///
    /// # Errors
    /// If the count is missing.
    pub fn bits(&self) -> Result<&'a [u8], WireError> {
        let missing = WireError::new("empty bit string", self.offset, "a count of unused bits");
        self.content.get(1..).ok_or(missing)
    }

    /// A small non-negative `INTEGER`.
    pub fn number(&self) -> Option<u32> {
        let zeros = self.content.iter().take_while(|&&byte| byte == 0).count();
        let significant = &self.content[zeros..];
        let fits = self.tag == tag::INTEGER && significant.len() <= 4 && !self.content.is_empty();
        let number = significant.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
        // A first byte of 0x80 and more is a sign.
        (fits && self.content[0] < 0x80).then_some(number)
    }

    /// An `OBJECT IDENTIFIER` in dotted form.
    ///
    /// # Errors
    /// If it is none.
    pub fn oid(&self) -> Result<String, WireError> {
        let broken = || WireError::new("broken object identifier", self.offset, "an OID");
        if self.tag != tag::OID || self.content.last().is_none_or(|last| last & 0x80 != 0) {
            return Err(broken());
        }
        let mut text = String::with_capacity(OID_TEXT_USUAL);
        let mut arc: u128 = 0;
        for &byte in self.content {
            arc = arc.checked_mul(128).ok_or_else(broken)? | u128::from(byte & 0x7F);
            if byte & 0x80 != 0 {
                continue;
            }
            // Writing into a text cannot fail.
            let _ = if text.is_empty() {
                let first = (arc / 40).min(2);
                write!(text, "{first}.{}", arc - first * 40)
            } else {
                write!(text, ".{arc}")
            };
            arc = 0;
        }
        Ok(text)
    }
}

/// Reads values one after the other.
#[derive(Clone, Copy, Debug)]
pub struct BerReader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> BerReader<'a> {
    /// Whether everything was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value.
    ///
    /// # Errors
    /// If there is none or it is broken.
    pub fn next(&mut self, expected: &'static str) -> Result<Ber<'a>, WireError> {
        if self.rest.is_empty() {
            return Err(WireError::new("value missing", self.offset, expected));
        }
        let value = read_at(self.rest, self.offset, 0)?;
        self.rest = &self.rest[value.whole.len()..];
        self.offset += value.whole.len();
        Ok(value)
    }

    /// The next value, which must have this tag.
    ///
    /// # Errors
    /// As [`BerReader::next`], and if it has another.
    pub fn need(&mut self, tag: u8, expected: &'static str) -> Result<Ber<'a>, WireError> {
        let offset = self.offset;
        let value = self.next(expected)?;
        if value.tag == tag {
            Ok(value)
        } else {
            Err(WireError::new("wrong tag", offset, expected))
        }
    }

    /// The next value, if it has this tag.
    ///
    /// # Errors
    /// If it has the tag and is broken.
    pub fn take_if(&mut self, tag: u8) -> Result<Option<Ber<'a>>, WireError> {
        if self.rest.first() == Some(&tag) { self.next("a value").map(Some) } else { Ok(None) }
    }
}

fn read_at(bytes: &[u8], offset: usize, depth: usize) -> Result<Ber<'_>, WireError> {
    let cut = || WireError::new("value is cut off", offset, "as many bytes as it says");
    let mut at = 1;
    let tag = *bytes.first().ok_or_else(cut)?;
    if tag & 0x1F == 0x1F {
        while bytes.get(at).ok_or_else(cut)? & 0x80 != 0 {
            at += 1;
        }
        at += 1;
    }
    let first = *bytes.get(at).ok_or_else(cut)?;
    at += 1;
    if first == 0x80 {
        if tag & CONSTRUCTED == 0 || depth == DEPTH_MAX {
            return Err(WireError::new("indefinite length", offset, "a length"));
        }
        let length = indefinite(&bytes[at..], offset + at, depth)?;
        let (content, whole) = (&bytes[at..at + length], &bytes[..at + length + 2]);
        return Ok(Ber { tag, offset, content, whole, header: at });
    }
    let mut length = usize::from(first);
    if first > 0x80 {
        let long = bytes.get(at..at + usize::from(first & 0x7F)).ok_or_else(cut)?;
        let number = long
            .iter()
            .try_fold(0, |sum: usize, &byte| Some(sum.checked_mul(256)? | usize::from(byte)));
        length = number.ok_or_else(cut)?;
        at += long.len();
    }
    let content = bytes[at..].get(..length).ok_or_else(cut)?;
    Ok(Ber { tag, offset, content, whole: &bytes[..at + length], header: at })
}

/// How many bytes of values stand before the two zero bytes that end them.
fn indefinite(bytes: &[u8], offset: usize, depth: usize) -> Result<usize, WireError> {
    let mut at = 0;
    while !bytes[at..].starts_with(&[0, 0]) {
        at += read_at(&bytes[at..], offset + at, depth + 1)?.whole.len();
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_form_are_read() {
        for bytes in [
            &[0x30, 3, 2, 1, 7][..],
            &[0x30, 0x81, 3, 2, 1, 7],
            &[0x30, 0x84, 0, 0, 0, 3, 2, 1, 7],
            &[0x30, 0x80, 2, 1, 7, 0, 0],
        ] {
            let (value, rest) = Ber::read(bytes).unwrap();
            assert_eq!((value.content, value.whole, rest), (&[2, 1, 7][..], bytes, &[][..]));
            let inner = value.inside().need(tag::INTEGER, "a number").unwrap();
            assert_eq!((inner.number(), inner.offset), (Some(7), value.header));
        }
    }

    #[test]
    fn a_string_in_nested_pieces_is_put_together() {
        let bytes = [0x24, 0x80, 4, 1, 1, 0x24, 0x80, 4, 1, 2, 4, 0, 0, 0, 4, 1, 3, 0, 0];
        assert_eq!(*Ber::read(&bytes).unwrap().0.octets().unwrap(), [1, 2, 3]);
        assert_eq!(*Ber::read(&[4, 2, 8, 9]).unwrap().0.octets().unwrap(), [8, 9]);
        assert!(Ber::read(&[0x24, 3, 2, 1, 9]).unwrap().0.octets().is_err());
    }

    #[test]
    fn what_is_cut_off_or_nested_without_end_is_an_error() {
        let whole = [0x30, 0x80, 0x30, 0x82, 0, 3, 2, 1, 7, 0, 0];
        for length in 0..whole.len() {
            assert!(Ber::read(&whole[..length]).is_err(), "{length}");
        }
        assert!(Ber::read(&[0x30, 0x80].repeat(100_000)).is_err());
        assert!(Ber::read(&[0x24, 0x80].repeat(40)).is_err());
        assert!(Ber::read(&[0x30, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(Ber::read(&[4, 0x80, 0, 0]).is_err(), "only constructed values may be open");
        assert!(Ber::only(&[2, 1, 7, 0], tag::INTEGER, "x").is_err());
    }

    #[test]
    fn object_identifiers_and_numbers_are_read() {
        let oid = |content: &[u8]| {
            let bytes = [&[6, content.len() as u8], content].concat();
            Ber::read(&bytes).unwrap().0.oid()
        };
        assert_eq!(oid(&[0x55, 4, 3]).unwrap(), "2.5.4.3");
        assert_eq!(oid(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1]).unwrap(), "1.2.840.113549.1");
        assert_eq!(oid(&[0x88, 0x37]).unwrap(), "2.999");
        assert!(oid(&[]).is_err() && oid(&[0x55, 0x84]).is_err() && oid(&[0xFF; 30]).is_err());
        let number = |content: &[u8]| {
            let bytes = [&[2, content.len() as u8], content].concat();
            Ber::read(&bytes).unwrap().0.number()
        };
        assert_eq!(number(&[0, 0x83, 0xE9]), Some(0x83E9));
        assert_eq!((number(&[0x83]), number(&[]), number(&[1; 5])), (None, None, None));
    }
}
