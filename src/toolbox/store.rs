use super::Kind;
use crate::crypto::{KeyStore, KeyStoreError};
use crate::wire::WireError;

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// It is malformed, or of no known kind.
    #[error(transparent)]
    Malformed(#[from] WireError),
    /// It should hold keys or certificates.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
}

/// Keys and certificates of a PEM, DER, PKCS#7 or PKCS#12 file; the password opens stores and keys
/// that are encrypted.
///
/// # Errors
/// If the file is of another kind, nothing in it can be read, or the password does not fit.
pub fn read_store(bytes: &[u8], password: &str) -> Result<KeyStore, ReadFault> {
    if bytes.is_empty() {
        return Err(WireError::new("file is empty", 0, "PEM, DER, PKCS#7 or PKCS#12").into());
    }
    match Kind::of(bytes)? {
        Kind::Pem | Kind::Pkcs12 | Kind::Certificate => Ok(KeyStore::read(bytes, password)?),
        other => {
            let expected = format!("PEM, DER, PKCS#7 or PKCS#12, not {}", other.name()).into();
            Err(WireError { what: "no key or certificate", offset: 0, expected }.into())
        }
    }
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
        let error = read_store(&[0x57, 1], "").unwrap_err();
        assert!(error.to_string().starts_with("no key or certificate"), "{error}");
        assert!(read_store(&[0x30, 0], "").is_err());
        let empty = read_store(b"", "").unwrap_err().to_string();
        assert!(empty.ends_with("expected PEM, DER, PKCS#7 or PKCS#12"), "{empty}");
    }
}
