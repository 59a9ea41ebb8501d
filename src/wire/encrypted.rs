use super::tlv::{Element, WireError, put_element};

const TAG_ENCRYPTION: u8 = 16;
const TAG_IV_INFO: u8 = 17;
const TAG_IV_UNKNOWN: u8 = 18;
const TAG_IV: u8 = 19;
const TAG_PADDING_LENGTH: u8 = 20;
const TAG_KEY_INFO: u8 = 21;
const TAG_KEY_UNKNOWN: u8 = 22;
const TAG_KEY_BITS: u8 = 23;
const TAG_KEY_ALGORITHM: u8 = 24;
const TAG_WRAPPED_KEY: u8 = 25;
const TAG_DIGEST: u8 = 26;
const TAG_DIGEST_VALUE: u8 = 27;

/// AES block in bytes.
const BLOCK: usize = 16;

/// What the header of an encrypted file adds (`spec/encrypted-config.md`, tags 16 to 27).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encryption<'a> {
    /// Initialisation vector; 16 bytes in a usable file.
    pub iv: &'a [u8],
    /// How many bytes of the decrypted content are padding; 1 to 16 in a usable file.
    pub padding: u16,
    /// Bits of the wrapped key: the modulus of the device's key.
    pub key_bits: u16,
    /// Algorithm of the key wrap: 1.
    pub key_algorithm: u8,
    /// The AES key under the device's RSA key.
    pub wrapped_key: &'a [u8],
    /// Digest id of the content: 1 SHA-1, 3 SHA-512.
    pub digest: u8,
    /// Digest of the content before padding.
    pub digest_value: &'a [u8],
    /// Offset of the IV element, for errors.
    iv_offset: usize,
    /// Offset of the padding length element, for errors.
    padding_offset: usize,
}

impl<'a> Encryption<'a> {
    /// What a writer puts into tags 16 to 27.
    pub const fn new(iv: &'a [u8], padding: u16, wrapped_key: &'a [u8]) -> Encryption<'a> {
        Encryption {
            iv,
            padding,
            key_bits: (wrapped_key.len() * 8) as u16,
            key_algorithm: 1,
            wrapped_key,
            digest: 0,
            digest_value: &[],
            iv_offset: 0,
            padding_offset: 0,
        }
    }

    /// Adds the digest of the content before padding.
    #[must_use]
    pub const fn with_digest(self, digest: u8, digest_value: &'a [u8]) -> Encryption<'a> {
        Encryption { digest, digest_value, ..self }
    }

    /// Reads tags 16 to 27 among the elements of a header of `length` bytes.
    pub(super) fn of(
        elements: impl Iterator<Item = Element<'a>>,
        length: usize,
    ) -> Result<Encryption<'a>, WireError> {
        let mut found = Encryption::default();
        let mut seen = [false; 5];
        for element in elements {
            found.store(element, &mut seen)?;
        }
        let needed = [
            "tag 19 (IV)",
            "tag 20 (padding length)",
            "tag 25 (wrapped key)",
            "tag 26 (digest id)",
            "tag 27 (digest)",
        ];
        match seen.iter().position(|seen| !seen) {
            Some(missing) => Err(WireError::new("header element missing", length, needed[missing])),
            None => Ok(found),
        }
    }

    fn store(&mut self, element: Element<'a>, seen: &mut [bool; 5]) -> Result<(), WireError> {
        match element.tag {
            TAG_IV => {
                (self.iv, self.iv_offset, seen[0]) = (element.value, element.offset, true);
            }
            TAG_PADDING_LENGTH => {
                self.padding = u16::from_be_bytes(element.fixed()?);
                (self.padding_offset, seen[1]) = (element.offset, true);
            }
            TAG_KEY_BITS => self.key_bits = u16::from_be_bytes(element.fixed()?),
            TAG_KEY_ALGORITHM => self.key_algorithm = element.fixed::<1>()?[0],
            TAG_WRAPPED_KEY => (self.wrapped_key, seen[2]) = (element.value, true),
            TAG_DIGEST => (self.digest, seen[3]) = (element.fixed::<1>()?[0], true),
            TAG_DIGEST_VALUE => (self.digest_value, seen[4]) = (element.value, true),
            _ => {}
        }
        Ok(())
    }

    /// Checks IV, padding length and the size of the content; gives the IV.
    ///
    /// # Errors
    /// If the IV has not 16 bytes, the padding is not 1 to 16 or longer than the content, or the
    /// content is empty or no multiple of 16.
    pub fn check(&self, content_length: usize) -> Result<[u8; BLOCK], WireError> {
        let fault =
            |what, offset, expected: String| WireError { what, offset, expected: expected.into() };
        let iv = self.iv.try_into().map_err(|_| {
            let expected = format!("{BLOCK} bytes, not {}", self.iv.len());
            fault("IV has a wrong size", self.iv_offset, expected)
        })?;
        let padding = usize::from(self.padding);
        if padding == 0 || padding > BLOCK {
            let expected = format!("1 to {BLOCK}, not {padding}");
            return Err(fault("padding length out of range", self.padding_offset, expected));
        }
        if content_length == 0 || !content_length.is_multiple_of(BLOCK) {
            let expected = format!("a multiple of {BLOCK}, not {content_length} bytes");
            return Err(fault("content is not whole blocks", self.padding_offset, expected));
        }
        Ok(iv)
    }

    /// The elements as a writer puts them behind the timestamp.
    ///
    /// # Panics
    /// If the wrapped key or the digest is longer than 65,535 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut iv_info = Vec::with_capacity(64);
        put_element(&mut iv_info, TAG_IV_UNKNOWN, &[0]);
        put_element(&mut iv_info, TAG_IV, self.iv);
        put_element(&mut iv_info, TAG_PADDING_LENGTH, &self.padding.to_be_bytes());
        let mut key_info = Vec::with_capacity(32 + self.wrapped_key.len());
        put_element(&mut key_info, TAG_KEY_UNKNOWN, &[0]);
        put_element(&mut key_info, TAG_KEY_BITS, &self.key_bits.to_be_bytes());
        put_element(&mut key_info, TAG_KEY_ALGORITHM, &[self.key_algorithm]);
        put_element(&mut key_info, TAG_WRAPPED_KEY, self.wrapped_key);
        let mut both = Vec::with_capacity(iv_info.len() + key_info.len() + 6);
        put_element(&mut both, TAG_IV_INFO, &iv_info);
        put_element(&mut both, TAG_KEY_INFO, &key_info);
        let mut out = Vec::with_capacity(both.len() + 80);
        put_element(&mut out, TAG_ENCRYPTION, &both);
        put_element(&mut out, TAG_DIGEST, &[self.digest]);
        put_element(&mut out, TAG_DIGEST_VALUE, self.digest_value);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::SignedFile;
    use super::*;
    use crate::wire::{HeaderOrder, HeaderSpec};

    fn file(encryption: &Encryption<'_>) -> Vec<u8> {
        let spec = HeaderSpec {
            order: HeaderOrder::IssuerFirst,
            version: (2, 0),
            signer_version: None,
            signer_name: "CN=tftp",
            serial: &[1],
            issuer: "CN=tftp",
            digest: 1,
            signature_length: 128,
            file_name: "SEP001122334455.cnf.xml.enc.sgn",
            timestamp: 7,
        };
        let header = spec.encode_encrypted(encryption);
        [header.with_signature(&[5; 128]).as_slice(), &[0; 32]].concat()
    }

    #[test]
    fn encryption_elements_round_trip() {
        let encryption = Encryption::new(&[3; 16], 9, &[8; 256]).with_digest(3, &[4; 64]);
        let bytes = file(&encryption);
        let parsed = SignedFile::parse(&bytes).unwrap();
        assert_eq!(parsed.header.version, (2, 0));
        assert_eq!((parsed.body.len(), parsed.header.length % 4), (32, 0));
        let read = parsed.encryption().unwrap();
        assert_eq!((read.iv, read.padding, read.key_bits), (&[3; 16][..], 9, 2048));
        assert_eq!((read.key_algorithm, read.wrapped_key), (1, &[8; 256][..]));
        assert_eq!((read.digest, read.digest_value), (3, &[4; 64][..]));
        assert_eq!(read.check(32), Ok([3; 16]));
    }

    #[test]
    fn sizes_are_checked_at_both_ends() {
        let what = |iv: &[u8], padding, length| {
            Encryption::new(iv, padding, &[]).check(length).map_err(|error| error.what).err()
        };
        assert_eq!(what(&[0; 16], 1, 16), None);
        assert_eq!(what(&[0; 16], 16, 16), None);
        assert_eq!(what(&[0; 15], 1, 16), Some("IV has a wrong size"));
        assert_eq!(what(&[0; 16], 0, 16), Some("padding length out of range"));
        assert_eq!(what(&[0; 16], 17, 32), Some("padding length out of range"));
        assert_eq!(what(&[0; 16], 1, 0), Some("content is not whole blocks"));
        assert_eq!(what(&[0; 16], 1, 31), Some("content is not whole blocks"));
    }

    #[test]
    fn a_file_without_encryption_elements_says_which_is_missing() {
        let header = HeaderSpec {
            order: HeaderOrder::Cucm,
            version: (1, 0),
            signer_version: None,
            signer_name: "",
            serial: &[1],
            issuer: "",
            digest: 1,
            signature_length: 64,
            file_name: "",
            timestamp: 0,
        };
        let bytes = header.encode().with_signature(&[0; 64]);
        let error = SignedFile::parse(&bytes).unwrap().encryption().unwrap_err();
        assert_eq!(error.expected, "tag 19 (IV)");
    }
}
