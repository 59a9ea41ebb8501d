use p12_keystore::Pkcs12Archive;
use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey;
use x509_cert::der::pem;

use super::{Certificate, KeyError, SigningKey};

/// Keys and certificates of one file: PEM blocks or PKCS#12.
#[derive(Clone, Debug, Default)]
pub struct KeyStore {
    /// Certificates in the order of the file.
    pub certificates: Vec<Certificate>,
    /// Private keys as PKCS#8 DER.
    keys: Vec<Vec<u8>>,
}

/// Why a file gives no keys or certificates.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// A block of a PEM text cannot be read.
    #[error("a block cannot be read: {0}")]
    Pem(String),
    /// The PKCS#12 file is broken or the password does not fit.
    #[error("the PKCS#12 file cannot be opened (wrong password or broken file): {0}")]
    Pkcs12(String),
    /// There is no private key in the file.
    #[error("no private key in the file")]
    NoKey,
    /// There is a private key, but not one that can be used here.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl KeyStore {
    /// Reads certificates and private keys (PKCS#8 and PKCS#1) of a PEM text; blocks of other
    /// kinds are passed over.
    pub fn from_pem(text: &str) -> Result<KeyStore, KeyStoreError> {
        let mut store = KeyStore::default();
        for block in blocks(text) {
            let (label, der) = pem::decode_vec(block.as_bytes())
                .map_err(|error| KeyStoreError::Pem(error.to_string()))?;
            store.add(label, der)?;
        }
        Ok(store)
    }

    /// Reads one certificate or one private key (PKCS#8 or PKCS#1) from DER.
    pub fn from_der(der: &[u8]) -> Result<KeyStore, KeyStoreError> {
        let mut store = KeyStore::default();
        if SigningKey::from_pkcs8(der.to_vec()).is_ok() {
            store.add("PRIVATE KEY", der.to_vec())?;
        } else if RsaPrivateKey::from_pkcs1_der(der).is_ok() {
            store.add("RSA PRIVATE KEY", der.to_vec())?;
        } else {
            store.add("CERTIFICATE", der.to_vec())?;
        }
        Ok(store)
    }

    /// Opens a PKCS#12 file.
    pub fn from_pkcs12(bytes: &[u8], password: &str) -> Result<KeyStore, KeyStoreError> {
        let archive = Pkcs12Archive::from_pkcs12(bytes, password)
            .map_err(|error| KeyStoreError::Pkcs12(error.to_string()))?;
        let certificates = archive.certs.iter().map(|bag| Certificate::from_der(bag.cert.as_der()));
        Ok(KeyStore {
            certificates: certificates
                .collect::<Result<_, _>>()
                .map_err(|error| KeyStoreError::Pkcs12(error.to_string()))?,
            keys: archive.keys.iter().map(|bag| bag.key.as_der().to_vec()).collect(),
        })
    }

    fn add(&mut self, label: &str, der: Vec<u8>) -> Result<(), KeyStoreError> {
        let bad = |error: String| KeyStoreError::Pem(error);
        match label {
            "CERTIFICATE" => self
                .certificates
                .push(Certificate::from_der(&der).map_err(|error| bad(error.to_string()))?),
            "PRIVATE KEY" => self.keys.push(der),
            "RSA PRIVATE KEY" => {
                let key = RsaPrivateKey::from_pkcs1_der(&der).map_err(|e| bad(e.to_string()))?;
                let der = key.to_pkcs8_der().map_err(|error| bad(error.to_string()))?;
                self.keys.push(der.as_bytes().to_vec());
            }
            _ => {}
        }
        Ok(())
    }

    /// How many private keys the file has.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The first private key as PKCS#8 DER.
    pub fn pkcs8(&self) -> Option<&[u8]> {
        self.keys.first().map(Vec::as_slice)
    }

    /// The first private key, which must be RSA.
    pub fn signing_key(&self) -> Result<SigningKey, KeyStoreError> {
        let der = self.pkcs8().ok_or(KeyStoreError::NoKey)?;
        Ok(SigningKey::from_pkcs8(der.to_vec())?)
    }

    /// The certificate of `key` among those of the file.
    pub fn certificate_of(&self, key: &SigningKey) -> Option<&Certificate> {
        self.certificates.iter().find(|certificate| certificate.public_key() == key.public_key())
    }
}

/// The blocks of a PEM text, borders included.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let begin = rest.find("-----BEGIN ")?;
        let end = rest[begin..].find("-----END ")? + begin;
        let close = rest[end + 9..].find("-----")? + end + 9 + 5;
        let block = &rest[begin..close];
        rest = &rest[close..];
        Some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CertificateSpec, Identity, KeySource};

    fn identity() -> Identity {
        let spec = CertificateSpec {
            common_name: "pub.lab.test",
            not_before_s: 1_700_000_000,
            key_bits: 2048,
        };
        Identity::self_signed(&spec, &mut KeySource::bank(3))
    }

    #[test]
    fn a_pem_text_gives_its_key_and_certificates() {
        let Identity { certificate, key } = identity();
        let other = KeySource::bank(4).signing_key(1024);
        let text = format!("note\n{}{}\n", key.to_pem(), certificate.to_pem());
        let store = KeyStore::from_pem(&text).unwrap();
        let read = store.signing_key().unwrap();
        assert_eq!(read.public_key(), key.public_key());
        assert_eq!(store.certificate_of(&read), Some(&certificate));
        assert_eq!(store.certificate_of(&other), None);
        assert_eq!((store.key_count(), store.certificates.len()), (1, 1));
    }

    #[test]
    fn a_text_without_a_key_says_so() {
        let store = KeyStore::from_pem(&identity().certificate.to_pem()).unwrap();
        assert!(matches!(store.signing_key(), Err(KeyStoreError::NoKey)));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(KeyStore::from_pem(broken), Err(KeyStoreError::Pem(_))));
        assert!(KeyStore::from_pem("-----BEGIN X").unwrap().certificates.is_empty());
    }

    #[test]
    fn a_pkcs12_file_opens_with_its_password_only() {
        use p12_keystore::{
            Certificate as P12Certificate, KeyStore as P12, KeyStoreEntry, PrivateKey,
            PrivateKeyChain,
        };
        let Identity { certificate, key } = identity();
        let chain = PrivateKeyChain::new(
            "1",
            PrivateKey::from_der(key.pkcs8()).unwrap(),
            [P12Certificate::from_der(certificate.der()).unwrap()],
        );
        let mut p12 = P12::new();
        p12.add_entry("signer", KeyStoreEntry::PrivateKeyChain(chain));
        let bytes = p12.writer("secret").encryption_iterations(10).write().unwrap();
        let store = KeyStore::from_pkcs12(&bytes, "secret").unwrap();
        let read = store.signing_key().unwrap();
        assert_eq!(store.certificate_of(&read), Some(&certificate));
        assert!(matches!(KeyStore::from_pkcs12(&bytes, "wrong"), Err(KeyStoreError::Pkcs12(_))));
    }
}
