use super::tlv::{Element, Reader, WireError, put_element, put_text};

/// Role of a key that may sign a list (System Administrator Security Token).
pub const ROLE_SAST: u16 = 0;
/// Role of CallManager.
pub const ROLE_CALLMANAGER: u16 = 1;
/// Role of a CallManager certificate that signs files too (CCM+TFTP).
pub const ROLE_CALLMANAGER_TFTP: u16 = 2;
/// Role of a signer of files.
pub const ROLE_TFTP: u16 = 3;
/// Role of CAPF.
pub const ROLE_CAPF: u16 = 4;
/// Role of TVS.
pub const ROLE_TVS: u16 = 21;

pub(super) const TAG_RECORD_LENGTH: u8 = 1;

/// Tag 12 of a record whose hash is named: listings print `SHA-1`.
pub const HASH_SHA1: u8 = 1;
/// Tag 12 of a record whose hash has no name in listings: they print `null`. Which byte a cluster
/// writes there is a guess (`spec/trust-list.md` section 6 knows the listing only).
pub const HASH_UNNAMED: u8 = 0;

/// One record of a CTL or ITL (`spec/trust-list.md` section 6), borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// Offset of the record in the file.
    pub offset: usize,
    /// Length of the whole record.
    pub length: u16,
    /// Tag 2, as text; blank in most ITL records.
    pub dns_name: &'a str,
    /// Tag 3.
    pub subject: &'a str,
    /// Tag 4: what the certificate may be used for; `None` if the record names no role.
    pub role: Option<u16>,
    /// Tag 5.
    pub issuer: &'a str,
    /// Tag 6.
    pub serial: &'a [u8],
    /// Tag 7: PKCS#1 `RSAPublicKey`, or an uncompressed EC point.
    pub public_key: &'a [u8],
    /// Tag 8: the certificate's own signature.
    pub signature: &'a [u8],
    /// Tag 9: the certificate (DER).
    pub certificate: Option<&'a [u8]>,
    /// Tag 10: IPv4 address.
    pub ip_address: Option<[u8; 4]>,
    /// Tag 11: SHA-1 of the certificate, instead of the certificate.
    pub certificate_hash: Option<[u8; 20]>,
    /// Tag 12: digest of `certificate_hash`, [`HASH_SHA1`]; a SHA-1 all the same in lists that do
    /// not name it.
    pub hash_algorithm: Option<u8>,
}

/// Reads the records of a list one after the other, without allocation.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    reader: Reader<'a>,
}

impl<'a> Records<'a> {
    /// The records in `body`, which starts at `offset` of the file.
    pub const fn new(body: &'a [u8], offset: usize) -> Records<'a> {
        Records { reader: Reader::new(body, offset) }
    }

    fn record(&mut self) -> Result<Record<'a>, WireError> {
        let whole = record(&mut self.reader)?;
        let (offset, length) = (whole.offset(), whole.rest().len() as u16);
        // Behind the length, which was read.
        let mut elements = Reader::new(&whole.rest()[5..], offset + 5);
        let mut record = Record { offset, length, ..Record::default() };
        while !elements.is_empty() {
            record.store(elements.element()?)?;
        }
        Ok(record)
    }
}

/// Takes the next record; gives its elements, the length that comes first included.
pub(super) fn record<'a>(reader: &mut Reader<'a>) -> Result<Reader<'a>, WireError> {
    let (offset, most) = (reader.offset(), reader.rest().len());
    let mut probe = *reader;
    let first = probe.element()?;
    if first.tag != TAG_RECORD_LENGTH {
        return Err(WireError::new("wrong tag", offset, "tag 1 (record length) first"));
    }
    let length = usize::from(u16::from_be_bytes(first.fixed()?));
    if length < 5 || length > most {
        return Err(WireError {
            what: "record length out of range",
            offset,
            expected: format!("5 to {most}, not {length}").into(),
        });
    }
    Ok(Reader::new(reader.take(length, "a record")?, offset))
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.reader = Reader::new(&[], self.reader.offset());
        }
        Some(record)
    }
}

impl<'a> Record<'a> {
    fn store(&mut self, element: Element<'a>) -> Result<(), WireError> {
        match element.tag {
            2 => self.dns_name = element.text()?.trim(),
            3 => self.subject = element.text()?,
            4 => self.role = Some(u16::from_be_bytes(element.fixed()?)),
            5 => self.issuer = element.text()?,
            6 => self.serial = element.value,
            7 => self.public_key = element.value,
            8 => self.signature = element.value,
            9 => self.certificate = Some(element.value),
            10 => self.ip_address = Some(element.fixed()?),
            11 => self.certificate_hash = Some(element.fixed()?),
            12 => self.hash_algorithm = Some(element.fixed::<1>()?[0]),
            _ => {}
        }
        Ok(())
    }
}

/// What a writer puts into a record, in CUCM's order.
#[derive(Clone, Copy, Debug)]
pub struct RecordSpec<'a> {
    /// Tag 2; `None` writes the blank of an ITL record (a space and NUL).
    pub dns_name: Option<&'a str>,
    /// Tag 3.
    pub subject: &'a str,
    /// Tag 4.
    pub role: u16,
    /// Tag 5.
    pub issuer: &'a str,
    /// Tag 6.
    pub serial: &'a [u8],
    /// Tag 7.
    pub public_key: &'a [u8],
    /// Tag 8; `None` leaves it out, as in records of tokens.
    pub signature: Option<&'a [u8]>,
    /// Tag 9, or 11 and 12.
    pub certificate: RecordCertificate<'a>,
    /// Tag 10, in records of a CTL.
    pub address: Option<[u8; 4]>,
}

/// How a record names its certificate.
#[derive(Clone, Copy, Debug)]
pub enum RecordCertificate<'a> {
    /// The whole certificate (SAST, CCM+TFTP and TFTP records).
    Der(&'a [u8]),
    /// Its SHA-1 (TVS and CAPF records of an ITL).
    Hash {
        /// Tag 11.
        sha1: [u8; 20],
        /// Tag 12.
        algorithm: u8,
    },
}

impl RecordSpec<'_> {
    /// Appends the record to `out`.
    ///
    /// # Panics
    /// If the record is longer than 65,535 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_record(out, |out| {
            put_text(out, 2, self.dns_name.unwrap_or(" "));
            put_text(out, 3, self.subject);
            put_element(out, 4, &self.role.to_be_bytes());
            put_text(out, 5, self.issuer);
            put_element(out, 6, self.serial);
            put_element(out, 7, self.public_key);
            self.signature.into_iter().for_each(|signature| put_element(out, 8, signature));
            match self.certificate {
                RecordCertificate::Der(der) => put_element(out, 9, der),
                RecordCertificate::Hash { sha1, algorithm } => {
                    put_element(out, 11, &sha1);
                    put_element(out, 12, &[algorithm]);
                }
            }
            self.address.into_iter().for_each(|address| put_element(out, 10, &address));
        });
    }
}

/// Appends the record of a node of which nothing is trusted, as in the CTL of a cluster that went
/// back to non-secure mode.
///
/// # Panics
/// If the name is longer than 65,000 bytes.
pub fn put_blank_record(out: &mut Vec<u8>, dns_name: &str, role: u16, address: [u8; 4]) {
    put_record(out, |out| {
        put_text(out, 2, dns_name);
        put_element(out, 4, &role.to_be_bytes());
        put_element(out, 10, &address);
    });
}

/// Appends what `put` writes, behind its length.
fn put_record(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_element(out, 1, &[0, 0]);
    put(out);
    let length = u16::try_from(out.len() - start).expect("a record stays below 64 KiB");
    out[start + 3..start + 5].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(sha1: [u8; 20]) -> RecordCertificate<'static> {
        RecordCertificate::Hash { sha1, algorithm: HASH_SHA1 }
    }

    fn spec(certificate: RecordCertificate<'static>) -> RecordSpec<'static> {
        RecordSpec {
            dns_name: None,
            subject: "CN=pub;OU=TAC",
            role: ROLE_TVS,
            issuer: "CN=ca",
            serial: &[1, 2],
            public_key: &[3; 270],
            signature: Some(&[4; 256]),
            certificate,
            address: None,
        }
    }

    #[test]
    fn record_round_trips_with_certificate_or_hash() {
        for certificate in [RecordCertificate::Der(&[5; 900]), hash([6; 20])] {
            let mut bytes = Vec::new();
            spec(certificate).encode(&mut bytes);
            let records: Vec<_> = Records::new(&bytes, 300).collect::<Result<_, _>>().unwrap();
            let [record] = records[..] else { panic!("one record") };
            assert_eq!((record.offset, usize::from(record.length)), (300, bytes.len()));
            assert_eq!((record.subject, record.issuer), ("CN=pub;OU=TAC", "CN=ca"));
            assert_eq!((record.role, record.serial), (Some(21), &[1, 2][..]));
            assert_eq!((record.dns_name, record.public_key.len()), ("", 270));
            assert_eq!(record.signature, [4; 256]);
            match certificate {
                RecordCertificate::Der(der) => assert_eq!(record.certificate, Some(der)),
                RecordCertificate::Hash { sha1, algorithm } => {
                    assert_eq!(record.certificate_hash, Some(sha1));
                    assert_eq!(record.hash_algorithm, Some(algorithm));
                    assert_eq!(record.certificate, None);
                }
            }
        }
    }

    #[test]
    fn hash_record_of_the_published_listing_has_its_length() {
        // Record 2 of the listing in the LSC document: names of 59 bytes, serial 16, TVS, 717.
        let name = "CN=ao115pub;OU=TAC;O=Cisco Systems;L=Boxborough;ST=MA;C=US";
        let mut bytes = Vec::new();
        RecordSpec { subject: name, issuer: name, serial: &[7; 16], ..spec(hash([0; 20])) }
            .encode(&mut bytes);
        assert_eq!(bytes.len(), 717);
    }

    #[test]
    fn a_record_is_a_view_that_owns_nothing() {
        fn is_copy<T: Copy>() {}
        is_copy::<Record<'_>>();
    }

    #[test]
    fn bad_record_lengths_end_the_list_with_an_error() {
        let mut bytes = Vec::new();
        spec(hash([0; 20])).encode(&mut bytes);
        let whole = u16::try_from(bytes.len()).unwrap();
        for length in [0, 4, whole + 1, 0xFFFF] {
            bytes[3..5].copy_from_slice(&length.to_be_bytes());
            let mut records = Records::new(&bytes, 0);
            let error = records.next().unwrap().unwrap_err();
            assert_eq!(error.what, "record length out of range", "{length}");
            assert!(records.next().is_none(), "nothing is read after a fault");
        }
        bytes[3..5].copy_from_slice(&5u16.to_be_bytes());
        let mut records = Records::new(&bytes, 0);
        assert_eq!(records.next().unwrap().unwrap().length, 5, "an empty record is well-formed");
        assert_eq!(records.next().unwrap().unwrap_err().what, "wrong tag");
    }
}
