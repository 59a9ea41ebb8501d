use crate::wire::{
    Header, ROLE_CALLMANAGER_TFTP, ROLE_TFTP, ROLE_TVS, Record, Records, SignedFile, WireError,
    same_name,
};

/// A whole trust list: header and all records, borrowed.
#[derive(Clone, Debug)]
pub struct List<'a> {
    /// Header and bytes.
    pub file: SignedFile<'a>,
    /// The records in order.
    pub records: Vec<Record<'a>>,
}

impl<'a> List<'a> {
    /// Reads a trust list.
    ///
    /// # Errors
    /// Names the first fault and its offset.
    pub fn parse(bytes: &'a [u8]) -> Result<List<'a>, WireError> {
        let file = SignedFile::parse(bytes)?;
        let records = Records::new(file.body, usize::from(file.header.length));
        Ok(List { file, records: records.collect::<Result<_, _>>()? })
    }

    /// Index and record of the signer of a file with `header`, if it is here with one of `roles`.
    pub fn find_signer(&self, header: &Header<'_>, roles: &[u16]) -> Option<(usize, &Record<'a>)> {
        self.records.iter().enumerate().find(|(_, record)| {
            record.role.is_some_and(|role| roles.contains(&role)) && is_signer(record, header)
        })
    }

    /// Whether the list lets its holder accept everything: no record of role 2, 3 or 21
    /// (`spec/phone-boot.md` section 3).
    pub fn is_blank(&self) -> bool {
        const WORKING: [u16; 3] = [ROLE_CALLMANAGER_TFTP, ROLE_TFTP, ROLE_TVS];
        !self.records.iter().any(|record| record.role.is_some_and(|role| WORKING.contains(&role)))
    }
}

/// Whether `record` is the certificate that the header names: issuer and serial number.
pub fn is_signer(record: &Record<'_>, header: &Header<'_>) -> bool {
    significant(record.serial) == significant(header.serial)
        && same_name(record.issuer, header.issuer)
}

/// A serial number without leading zero bytes (`spec/trust-list.md` section 5).
pub fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|&&byte| byte == 0).count();
    &serial[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(role: u16) -> Record<'static> {
        Record { role: Some(role), serial: &[0, 7], issuer: "CN=ca", ..Record::default() }
    }

    #[test]
    fn leading_zeros_of_serials_do_not_count() {
        assert_eq!(significant(&[0, 0, 7, 0]), [7, 0]);
        assert!(significant(&[0]).is_empty());
    }

    #[test]
    fn a_list_without_working_roles_is_blank() {
        let bytes = crate::wire::HeaderSpec {
            order: crate::wire::HeaderOrder::Cucm,
            version: (1, 2),
            signer_version: None,
            signer_name: "CN=s",
            serial: &[7],
            issuer: "CN=ca",
            digest: 1,
            signature_length: 64,
            file_name: "ITLFile.tlv",
            timestamp: 0,
        };
        let bytes = bytes.encode().with_signature(&[0; 64]);
        let mut list = List::parse(&bytes).unwrap();
        for role in [0, 1, 4, 7] {
            list.records.push(record(role));
            assert!(list.is_blank(), "{role}");
        }
        for role in [2, 3, 21] {
            let mut full = list.clone();
            full.records.push(record(role));
            assert!(!full.is_blank(), "{role}");
        }
        let header = list.file.header;
        assert_eq!(list.find_signer(&header, &[4]).map(|found| found.0), Some(2));
        assert!(list.find_signer(&header, &[3]).is_none());
        let stranger = Header { issuer: "CN=other", ..header };
        assert!(list.find_signer(&stranger, &[4]).is_none());
        let stranger = Header { serial: &[8], ..header };
        assert!(list.find_signer(&stranger, &[4]).is_none());
    }
}
