use crate::base::named;
use crate::wire::ber::Ber;
use crate::wire::{SignedFile, WireError};

named! {
    /// What a file is, as told by its content.
    pub enum Kind {
        /// One CAPF message.
        Capf = "capf",
        /// An X.509 certificate, DER.
        Certificate = "certificate",
        /// Certificate trust list.
        Ctl = "ctl",
        /// Encrypted and signed file.
        Encrypted = "enc-sgn",
        /// Identity trust list.
        Itl = "itl",
        /// PEM text: certificates and keys.
        Pem = "certificate",
        /// PKCS#12 store.
        Pkcs12 = "pkcs12",
        /// Signed file.
        Signed = "sgn",
        /// One TVS message.
        Tvs = "tvs",
    }
}

impl Kind {
    /// Detects the kind of `bytes`.
    ///
    /// # Errors
    /// If no kind fits, or a file with a header is malformed.
    pub fn of(bytes: &[u8]) -> Result<Kind, WireError> {
        match bytes {
            [] => Err(WireError::new("file is empty", 0, "a list, signed file or message")),
            [1, ..] => Ok(Kind::of_file(&SignedFile::parse(bytes)?)),
            // Text in front of a PEM block may begin with any letter or digit.
            [0x30, ..] if Ber::read(bytes).is_ok() => Ok(Kind::of_der(bytes)),
            text if is_pem(text) => Ok(Kind::Pem),
            [0x57, ..] => Ok(Kind::Tvs),
            [0x55, ..] => Ok(Kind::Capf),
            [0x30, ..] => Ok(Kind::Certificate),
            text if is_base64(text) => Ok(Kind::Pem),
            _ => Err(WireError::new(
                "unknown kind of file",
                0,
                "0x01 (list or signed file), 0x57 (TVS), 0x55 (CAPF), 0x30 (DER) or PEM",
            )),
        }
    }

    /// The kind of a file with a header.
    pub fn of_file(file: &SignedFile<'_>) -> Kind {
        let header = &file.header;
        let name = header.file_name.to_ascii_lowercase();
        let is_list_name = name.strip_suffix(".tlv").is_some();
        let is_encrypted = || file.header_elements().any(|element| element.tag == 16);
        if header.version.0 == 2 || is_encrypted() {
            return Kind::Encrypted;
        }
        match (is_list_name, name.starts_with("ctl")) {
            (true, true) => Kind::Ctl,
            (true, false) => Kind::Itl,
            // Lists have version 1.2, signed files 1.0.
            (false, _) if header.version == (1, 2) => Kind::Itl,
            (false, _) => Kind::Signed,
        }
    }

    fn of_der(bytes: &[u8]) -> Kind {
        // A store is SEQUENCE { INTEGER 3, SEQUENCE ... }, anything else a certificate or key.
        let mut inside = match Ber::read(bytes) {
            Ok((value, _)) => value.inside(),
            Err(_) => return Kind::Certificate,
        };
        match inside.next("a version").map(|version| version.number()) {
            Ok(Some(3)) => Kind::Pkcs12,
            _ => Kind::Certificate,
        }
    }
}

/// Whether the text has a PEM block; files may begin with a description of any length, and Windows
/// writes UTF-16.
fn is_pem(bytes: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let has = |bytes: &[u8]| bytes.windows(BEGIN.len()).any(|window| window == BEGIN);
    match bytes {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
            has(&bytes.iter().copied().filter(|&byte| byte != 0).collect::<Vec<_>>())
        }
        _ => has(bytes),
    }
}

/// Whether the text is the base64 of a DER value without borders: it begins with `M` for 0x30.
fn is_base64(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii();
    let digit = |byte: &u8| {
        byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=".contains(byte)
    };
    bytes.len() >= 8 && bytes[0] == b'M' && bytes.iter().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{HeaderOrder, HeaderSpec};

    fn kind(version: (u8, u8), file_name: &str) -> Kind {
        let spec = HeaderSpec {
            order: HeaderOrder::Cucm,
            version,
            signer_version: None,
            signer_name: "CN=s",
            serial: &[7],
            issuer: "CN=s",
            digest: 1,
            signature_length: 64,
            file_name,
            timestamp: 0,
        };
        Kind::of(&spec.encode().with_signature(&[0; 64])).unwrap()
    }

    #[test]
    fn files_are_told_apart_by_name_and_version() {
        assert_eq!(kind((1, 2), "ITLFile.tlv"), Kind::Itl);
        assert_eq!(kind((1, 2), "CTLFile.tlv"), Kind::Ctl);
        assert_eq!(kind((1, 0), "CTLSEP001122334455.TLV"), Kind::Ctl);
        assert_eq!(kind((1, 2), ""), Kind::Itl);
        assert_eq!(kind((1, 0), "SEP001122334455.cnf.xml.sgn"), Kind::Signed);
        assert_eq!(kind((2, 0), "SEP001122334455.cnf.xml.enc.sgn"), Kind::Encrypted);
    }

    #[test]
    fn other_kinds_are_told_apart_by_their_first_bytes() {
        assert_eq!(Kind::of(b"\x57\x01\x01"), Ok(Kind::Tvs));
        assert_eq!(Kind::of(b"\x55"), Ok(Kind::Capf));
        assert_eq!(Kind::of(&[0x30, 0x82, 1, 0, 0x30]), Ok(Kind::Certificate));
        assert_eq!(Kind::of(&[0x30, 0x80, 2, 1, 3, 0, 0]), Ok(Kind::Pkcs12));
        assert_eq!(Kind::of(&[0x30, 3, 2, 1, 3]), Ok(Kind::Pkcs12));
        for note in ["note", "When", "Under", "01 tvs", "\u{FEFF}"] {
            let text = format!("{note}\n-----BEGIN CERTIFICATE-----\n");
            assert_eq!(Kind::of(text.as_bytes()), Ok(Kind::Pem), "{note}");
        }
        let wide: Vec<u8> =
            "\u{FEFF}-----BEGIN X".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(Kind::of(&wide), Ok(Kind::Pem));
        assert_eq!(Kind::of(b"MAMC AQc=\n"), Ok(Kind::Pem));
        assert_eq!(Kind::of(b"<device/>").unwrap_err().offset, 0);
        assert_eq!(Kind::of(b"").unwrap_err().what, "file is empty");
    }
}
