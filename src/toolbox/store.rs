use super::Kind;
use crate::crypto::KeyStore;
use crate::wire::WireError;

/// Keys and certificates of a PEM, DER or PKCS#12 file; the password matters for PKCS#12 only.
///
/// # Errors
/// If the file is of another kind, broken, or the password does not fit.
pub fn read_store(bytes: &[u8], password: &str) -> Result<KeyStore, WireError> {
    let read = match Kind::of(bytes)? {
        Kind::Pem => KeyStore::from_pem(&String::from_utf8_lossy(bytes)),
        Kind::Pkcs12 => KeyStore::from_pkcs12(bytes, password),
        Kind::Certificate => KeyStore::from_der(bytes),
        other => {
            return Err(WireError {
                what: "no key or certificate",
                offset: 0,
                expected: format!("PEM, DER or PKCS#12, not {}", other.word()).into(),
            });
        }
    };
    read.map_err(|error| WireError {
        what: "keys or certificates cannot be read",
        offset: 0,
        expected: format!("a readable file ({error})").into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeySource;

    #[test]
    fn keys_are_found_in_pem_and_der() {
        let key = KeySource::bank(1).signing_key(2048);
        for bytes in [key.to_pem().into_bytes(), key.pkcs8().to_vec()] {
            let read = read_store(&bytes, "").unwrap().signing_key().unwrap();
            assert_eq!(read.public_key(), key.public_key());
        }
        assert_eq!(read_store(&[0x57, 1], "").unwrap_err().what, "no key or certificate");
        assert!(read_store(&[0x30, 0], "").is_err());
    }
}
