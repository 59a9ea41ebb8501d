use std::fmt;

use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey;

use super::algorithms::key_algorithm;
use super::lock::{LockFault, Opened, Password, open_key, open_pem};
use super::pem::{Block, bare, blocks};
use super::pkcs12::{self, Held};
use super::shape::Shape;
use super::{Certificate, EcKey, KeyError, SigningKey};
use crate::wire::WireError;
use crate::wire::ber::{Ber, tag};

/// Keys and certificates of one file: PEM, DER, PKCS#7 or PKCS#12.
#[derive(Clone, Default)]
pub struct KeyStore {
    /// Certificates in the order of the file.
    pub certificates: Vec<Certificate>,
    /// Private keys as PKCS#8 DER, of any algorithm, or why there is none.
    keys: Vec<Result<Vec<u8>, KeyStoreError>>,
    problems: Vec<String>,
    others: Vec<String>,
    is_pkcs7: bool,
}

/// Why a file gives no keys or certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyStoreError {
    /// Nothing in the file can be read.
    #[error("{0}")]
    Unreadable(String),
    /// The PKCS#12 file does not open.
    #[error("the PKCS#12 file cannot be opened: {0}")]
    Pkcs12(LockFault),
    /// There is no private key in the file; says what there is.
    #[error("no private key in the file{0}")]
    NoKey(String),
    /// There is no certificate in the file; says what there is.
    #[error("no certificate in the file{0}")]
    NoCertificate(String),
    /// The private key does not open.
    #[error("the private key cannot be opened: {0}")]
    LockedKey(LockFault),
    /// The private key is of an algorithm that does not sign files.
    #[error("the private key is {0}: files and lists are signed by RSA keys only")]
    OtherKey(&'static str),
    /// The private key is broken.
    #[error("the private key cannot be read: {0}")]
    BrokenKey(String),
    /// There is a private key, but not one that can be used here.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl KeyStore {
    /// Reads a file of any kind; the password opens PKCS#12 stores and encrypted keys. What cannot
    /// be read beside something that can is a problem of the store.
    ///
    /// # Errors
    /// If nothing can be read, or a PKCS#12 file does not open.
    pub fn read(bytes: &[u8], password: &str) -> Result<KeyStore, KeyStoreError> {
        let password = Password(password);
        let mut store = KeyStore::default();
        let text = text_of(bytes);
        let blocks = blocks(&text);
        if is_value(bytes) {
            store.add_values(bytes, &password)?;
        } else if let Some(der) = bare(&text).filter(|_| blocks.is_empty()) {
            store.add_values(&der, &password)?;
        } else if blocks.is_empty() {
            store.add_value(bytes, "the file", &password)?;
        } else {
            return KeyStore::of_blocks(blocks, &password);
        }
        store.something()
    }

    /// Reads the blocks of a PEM text.
    pub fn from_pem(text: &str) -> Result<KeyStore, KeyStoreError> {
        KeyStore::of_blocks(blocks(text), &Password(""))
    }

    fn of_blocks(blocks: Vec<Block>, password: &Password<'_>) -> Result<KeyStore, KeyStoreError> {
        let mut store = KeyStore::default();
        for block in blocks {
            store.add_block(block, password)?;
        }
        store.something()
    }

    /// The store, if anything in it could be read or there is nothing in it.
    fn something(self) -> Result<KeyStore, KeyStoreError> {
        let nothing = self.certificates.is_empty() && self.keys.is_empty();
        match self.problems.first() {
            Some(problem) if nothing => Err(KeyStoreError::Unreadable(problem.clone())),
            _ => Ok(self),
        }
    }

    fn add_block(&mut self, block: Block, password: &Password<'_>) -> Result<(), KeyStoreError> {
        let place = format!("line {}: {}", block.line, block.label);
        let content = match block.content {
            Ok(content) => content,
            Err(why) => {
                self.problem(format!("{place}: {why}"));
                return Ok(());
            }
        };
        if let Some(dek_info) = &block.dek_info {
            match open_pem(dek_info, &content, password) {
                Ok(der) => self.add_value(&der, &place, password)?,
                Err(fault) => self.add_key(Err(fault)),
            }
            return Ok(());
        }
        if block.label == "OPENSSH PRIVATE KEY" {
            self.keys.push(Err(KeyStoreError::OtherKey("in OpenSSH's format")));
            return Ok(());
        }
        let (known, others) = (self.found(), self.others.len());
        self.add_value(&content, &place, password)?;
        // The label says it better than the shape.
        if self.found() == known && self.others.len() > others {
            self.others.truncate(others);
            self.others.push(block.label);
        }
        Ok(())
    }

    fn found(&self) -> usize {
        self.certificates.len() + self.keys.len() + self.problems.len()
    }

    /// Adds the values of a binary file, one after the other; what lies behind them is a problem
    /// unless it is white space.
    fn add_values(&mut self, bytes: &[u8], password: &Password<'_>) -> Result<(), KeyStoreError> {
        let mut rest = bytes;
        loop {
            self.add_value(rest, "the file", password)?;
            let behind = Ber::read(rest).map_or(&[][..], |(_, behind)| behind);
            if behind.trim_ascii().is_empty() || behind.iter().all(|&byte| byte == 0) {
                return Ok(());
            }
            if !is_value(behind) {
                let what = behind.len();
                self.problem(format!("{what} bytes behind what was read mean nothing"));
                return Ok(());
            }
            rest = behind;
        }
    }

    /// Adds what the value at the start of `bytes` is.
    fn add_value(
        &mut self,
        bytes: &[u8],
        place: &str,
        password: &Password<'_>,
    ) -> Result<(), KeyStoreError> {
        let value = match Ber::read(bytes) {
            Ok((value, _)) => value,
            Err(error) => {
                self.problem(format!("{place}: {error}"));
                return Ok(());
            }
        };
        match Shape::of(&value) {
            Shape::Certificate => self.add_certificate(value.whole, place),
            Shape::SignedData => {
                self.is_pkcs7 = true;
                self.add_signed_data(&value)
                    .unwrap_or_else(|error| self.problem(format!("{place}: {error}")));
            }
            Shape::Pkcs12 => {
                let held = pkcs12::read(&value, password).map_err(KeyStoreError::Pkcs12)?;
                held.into_iter().for_each(|held| self.add_held(held));
            }
            Shape::Pkcs8 => self.add_key(Ok(value.whole.to_vec())),
            Shape::EncryptedPkcs8 => self.add_key(open_key(&value, password)),
            Shape::RsaKey => self.add_pkcs1(value.whole),
            Shape::OtherKey(algorithm) => self.keys.push(Err(KeyStoreError::OtherKey(algorithm))),
            Shape::Other(what) => self.other(what),
            Shape::Unknown => {
                self.problem(format!("{place}: neither a certificate nor a key nor a store"));
            }
        }
        Ok(())
    }

    fn add_certificate(&mut self, der: &[u8], place: &str) {
        match Certificate::from_der(der) {
            Ok(certificate) => self.certificates.push(certificate),
            Err(error) => self.problem(format!("{place}: {error}")),
        }
    }

    /// The certificates of PKCS#7 signed data.
    fn add_signed_data(&mut self, value: &Ber<'_>) -> Result<(), WireError> {
        let mut content = value.inside();
        content.need(tag::OID, "a type")?;
        let signed = content.need(tag::CONTEXT_0_OF, "a content")?.inside().next("signed data")?;
        let mut parts = signed.inside();
        while !parts.is_empty() {
            let part = parts.next("a part")?;
            let mut inside = part.inside();
            while part.tag == tag::CONTEXT_0_OF && !inside.is_empty() {
                let certificate = inside.next("a certificate")?;
                self.add_certificate(certificate.whole, "a certificate of PKCS7");
            }
        }
        if self.certificates.is_empty() {
            self.other("PKCS7 without a certificate");
        }
        Ok(())
    }

    /// Adds a PKCS#8 key, or why it did not open.
    fn add_key(&mut self, key: Opened) {
        self.keys.push(key.map_err(KeyStoreError::LockedKey));
    }

    fn add_held(&mut self, held: Held) {
        match held {
            Held::Key(key) => self.add_key(key),
            Held::Certificate(der) => self.add_certificate(&der, "a certificate of the store"),
            Held::Other(what) => self.other(what),
            Held::Unreadable(fault) => self.problem(format!("a part of the store: {fault}")),
        }
    }

    fn add_pkcs1(&mut self, der: &[u8]) {
        let key = RsaPrivateKey::from_pkcs1_der(der).map_err(|error| error.to_string());
        let pkcs8 = key.and_then(|key| key.to_pkcs8_der().map_err(|error| error.to_string()));
        let pkcs8 = pkcs8.map(|der| der.as_bytes().to_vec());
        self.keys.push(pkcs8.map_err(KeyStoreError::BrokenKey));
    }

    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn other(&mut self, what: &str) {
        self.others.push(what.to_owned());
    }

    /// What could not be read beside what could, with its place; locked and broken keys, too.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.problems.clone();
        let errors = self.keys.iter().filter_map(|key| key.as_ref().err());
        let errors = errors.filter(|error| !matches!(error, KeyStoreError::OtherKey(_)));
        problems.extend(errors.map(KeyStoreError::to_string));
        problems
    }

    /// Whether PKCS#7 signed data is in the file.
    pub const fn is_pkcs7(&self) -> bool {
        self.is_pkcs7
    }

    /// How many private keys the file has.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The first private key as PKCS#8 DER.
    pub fn pkcs8(&self) -> Option<&[u8]> {
        self.keys.iter().flatten().next().map(Vec::as_slice)
    }

    /// The private key that signs: the first RSA key whose certificate is in the file, or else the
    /// first.
    ///
    /// # Errors
    /// Why there is none.
    pub fn signing_key(&self) -> Result<SigningKey, KeyStoreError> {
        let mut keys = self.signing_keys()?;
        let fitting = keys.iter().position(|key| self.certificate_of(key).is_some());
        Ok(keys.swap_remove(fitting.unwrap_or(0)))
    }

    /// The first private key, if it is an EC key on P-384.
    ///
    /// # Errors
    /// What the file holds instead.
    pub fn ec_key(&self) -> Result<EcKey, KeyStoreError> {
        let first = self.keys.first().ok_or_else(|| KeyStoreError::NoKey(self.holds()))?;
        Ok(EcKey::from_pkcs8(first.as_ref().map_err(Clone::clone)?)?)
    }

    /// Every RSA key of the file, at least one.
    ///
    /// # Errors
    /// Why there is none: of the first key, if there is any.
    pub fn signing_keys(&self) -> Result<Vec<SigningKey>, KeyStoreError> {
        let (mut usable, mut first_error) = (Vec::new(), None);
        for key in &self.keys {
            match key.as_ref().map_err(Clone::clone).and_then(|der| signing_key(der)) {
                Ok(key) => usable.push(key),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        if !usable.is_empty() {
            return Ok(usable);
        }
        Err(first_error.unwrap_or_else(|| KeyStoreError::NoKey(self.holds())))
    }

    /// The first certificate.
    ///
    /// # Errors
    /// What the file holds instead.
    pub fn first_certificate(&self) -> Result<&Certificate, KeyStoreError> {
        self.certificates.first().ok_or_else(|| KeyStoreError::NoCertificate(self.holds()))
    }

    /// The certificate that the file is about: that of its key, or else the one that issued no
    /// other of the file.
    ///
    /// # Errors
    /// If there is no certificate.
    pub fn end_certificate(&self) -> Result<&Certificate, KeyStoreError> {
        let first = self.first_certificate()?;
        let keys = self.signing_keys().unwrap_or_default();
        if let Some(own) = keys.iter().find_map(|key| self.certificate_of(key)) {
            return Ok(own);
        }
        Ok(self.end_certificates().first().copied().unwrap_or(first))
    }

    /// The certificates that issued no other of the file, each once: one, if the file is a chain.
    pub fn end_certificates(&self) -> Vec<&Certificate> {
        let mut ends: Vec<&Certificate> = Vec::new();
        for one in &self.certificates {
            let issued = |other: &Certificate| other != one && other.was_issued_by(one);
            if !ends.contains(&one) && !self.certificates.iter().any(issued) {
                ends.push(one);
            }
        }
        ends
    }

    /// `; it holds: PUBLIC KEY`, and why parts could not be read; empty if the file holds nothing.
    fn holds(&self) -> String {
        let mut held = self.others.clone();
        if !self.certificates.is_empty() {
            held.push(counted(self.certificates.len(), "certificate"));
        }
        if !self.keys.is_empty() {
            held.push(counted(self.keys.len(), "private key"));
        }
        held.extend(self.problems.iter().map(|problem| format!("({problem})")));
        if held.is_empty() { String::new() } else { format!("; it holds: {}", held.join(", ")) }
    }

    /// The certificate of `key` among those of the file.
    pub fn certificate_of(&self, key: &SigningKey) -> Option<&Certificate> {
        self.certificates.iter().find(|certificate| certificate.public_key() == key.public_key())
    }
}

fn signing_key(pkcs8: &[u8]) -> Result<SigningKey, KeyStoreError> {
    match algorithm_of(pkcs8) {
        Some("RSA") | None => Ok(SigningKey::from_pkcs8(pkcs8.to_vec())?),
        Some(other) => Err(KeyStoreError::OtherKey(other)),
    }
}

/// The algorithm of a PKCS#8 key.
fn algorithm_of(pkcs8: &[u8]) -> Option<&'static str> {
    let mut parts = Ber::read(pkcs8).ok()?.0.inside();
    parts.need(tag::INTEGER, "a version").ok()?;
    let mut algorithm = parts.need(tag::SEQUENCE, "an algorithm").ok()?.inside();
    Some(key_algorithm(&algorithm.next("an algorithm").ok()?.oid().ok()?))
}

/// Whether `bytes` begin with one whole BER value, so that they are no text that begins with `0`.
fn is_value(bytes: &[u8]) -> bool {
    bytes.first() == Some(&tag::SEQUENCE) && Ber::read(bytes).is_ok()
}

/// A file as text, whatever is in it; Windows writes UTF-16 with a mark.
fn text_of(bytes: &[u8]) -> String {
    let wide = |from: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| from([pair[0], pair[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or('\u{FFFD}')).collect()
    };
    match bytes {
        [0xFF, 0xFE, ..] => wide(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// `1 private key`, `2 private keys`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Never shows a key.
impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyStore({:?}, {})", self.certificates, counted(self.keys.len(), "private key"))
    }
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
        let error = store.signing_key().unwrap_err();
        assert_eq!(error.to_string(), "no private key in the file; it holds: 1 certificate");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(KeyStore::from_pem(broken), Err(KeyStoreError::Unreadable(_))));
        let error = KeyStore::from_pem("-----BEGIN X").unwrap_err();
        assert_eq!(error.to_string(), "line 1: X: it has no END line");
        assert!(KeyStore::from_pem("no block").unwrap().certificates.is_empty());
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
        let store = KeyStore::read(&bytes, "secret").unwrap();
        let read = store.signing_key().unwrap();
        assert_eq!(store.certificate_of(&read), Some(&certificate));
        let error = |password| KeyStore::read(&bytes, password).unwrap_err();
        assert_eq!(error("wrong"), KeyStoreError::Pkcs12(LockFault::Password));
        assert_eq!(error(""), KeyStoreError::Pkcs12(LockFault::NoMacPassword));
    }
}
