use std::convert::Infallible;
use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{KeyPair, RSA_PKCS1_SHA512, RsaKeyPair};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};

use crate::base::{Purpose, Stream, stream};

/// Throwaway keys of 2048 bits, published on purpose: for tests and virtual time only.
const TEST_KEYS_PEM: &str = include_str!("test_keys.pem");

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no PKCS#8 RSA key.
    #[error("the private key cannot be read: {0}")]
    Unreadable(String),
    /// The key is smaller than ring signs with.
    #[error("RSA keys below 2048 bits cannot sign here")]
    TooSmall,
}

/// An RSA key that signs; loaded once, used by many threads.
pub struct SigningKey {
    pair: RsaKeyPair,
    pkcs8: Vec<u8>,
}

impl SigningKey {
    /// Loads a key from PKCS#8 DER.
    pub fn from_pkcs8(pkcs8: Vec<u8>) -> Result<SigningKey, KeyError> {
        let pair = RsaKeyPair::from_pkcs8(&pkcs8).map_err(|rejected| {
            let text = rejected.to_string();
            if text == "TooSmall" { KeyError::TooSmall } else { KeyError::Unreadable(text) }
        })?;
        Ok(SigningKey { pair, pkcs8 })
    }

    /// Loads a key from PEM (`BEGIN PRIVATE KEY`).
    pub fn from_pem(pem: &str) -> Result<SigningKey, KeyError> {
        let key = RsaPrivateKey::from_pkcs8_pem(pem).map_err(unreadable)?;
        let der = key.to_pkcs8_der().map_err(unreadable)?;
        SigningKey::from_pkcs8(der.as_bytes().to_vec())
    }

    /// The key as PEM, to be kept with owner-only permissions.
    pub fn to_pem(&self) -> String {
        let pem = self.rsa().to_pkcs8_pem(rsa::pkcs8::LineEnding::LF);
        pem.expect("a loaded key can be written").to_string()
    }

    /// Signs with RSASSA-PKCS1-v1_5 and SHA-512.
    pub fn sign_sha512(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), message, &mut signature)
            .expect("the buffer has the size of the modulus");
        signature
    }

    /// Length of a signature in bytes: 256 or 512.
    pub fn signature_length(&self) -> u16 {
        self.pair.public().modulus_len() as u16
    }

    /// The public key as PKCS#1 `RSAPublicKey`.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The private key as PKCS#8 DER.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(super) fn rsa(&self) -> RsaPrivateKey {
        RsaPrivateKey::from_pkcs8_der(&self.pkcs8).expect("the key was read before")
    }
}

/// Never shows the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(RSA-{})", usize::from(self.signature_length()) * 8)
    }
}

fn unreadable(error: impl fmt::Display) -> KeyError {
    KeyError::Unreadable(error.to_string())
}

/// Where keys, serial numbers and names of certificates come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// From the operating system's randomness: live runs.
    System,
    /// From the bank of throwaway keys and a seed: tests and virtual time. The same seed gives
    /// the same keys in the same order.
    Bank {
        /// How many keys were handed out.
        next: usize,
        /// Randomness for serials, names, and keys beyond the bank.
        stream: Stream,
        /// Randomness for keys that the bank does not hold.
        keys: Stream,
    },
}

impl KeySource {
    /// A deterministic source.
    pub fn bank(seed: u64) -> KeySource {
        KeySource::Bank {
            next: 0,
            stream: stream(seed, u64::MAX, Purpose::Certificate),
            keys: stream(seed, u64::MAX, Purpose::Key),
        }
    }

    /// A new RSA key of `bits` (2048 or 4096): 40 ms or 0.5 s of one core, less from the bank.
    pub fn signing_key(&mut self, bits: u16) -> SigningKey {
        let pkcs8 = match self {
            KeySource::System => generate(&mut Source(System), bits),
            KeySource::Bank { next, keys, .. } => {
                *next += 1;
                match banked_key(*next - 1) {
                    Some(key) if bits == 2048 => key,
                    _ => generate(&mut Source(Seeded(keys)), bits),
                }
            }
        };
        SigningKey::from_pkcs8(pkcs8).expect("a fresh key is well-formed")
    }

    /// Fills `bytes` for a serial number or a unique name.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        match self {
            KeySource::System => System.fill(bytes),
            KeySource::Bank { stream, .. } => stream.fill(bytes),
        }
    }
}

fn banked_key(index: usize) -> Option<Vec<u8>> {
    const END: &str = "-----END PRIVATE KEY-----";
    let pem = TEST_KEYS_PEM.split_inclusive(END).nth(index)?.trim_start();
    let key = RsaPrivateKey::from_pkcs8_pem(pem).ok()?;
    Some(key.to_pkcs8_der().ok()?.as_bytes().to_vec())
}

fn generate<R: Fill>(source: &mut Source<R>, bits: u16) -> Vec<u8> {
    let key =
        RsaPrivateKey::new(source, usize::from(bits)).expect("2048 and 4096 bits can be made");
    key.to_pkcs8_der().expect("a fresh key can be written").as_bytes().to_vec()
}

/// Something that fills buffers with random bytes.
trait Fill {
    fn fill(&mut self, bytes: &mut [u8]);
}

struct System;

impl Fill for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        SystemRandom::new().fill(bytes).expect("the operating system has randomness");
    }
}

struct Seeded<'a>(&'a mut Stream);

impl Fill for Seeded<'_> {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

/// Makes a [`Fill`] usable by the `rsa` crate. A seeded one is no secret: its keys are throwaway.
struct Source<R>(R);

impl<R: Fill> rand_core::TryRng for Source<R> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl<R: Fill> rand_core::TryCryptoRng for Source<R> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::verify_signature;
    use crate::wire::{DIGEST_SHA1, DIGEST_SHA512};

    #[test]
    fn a_signature_verifies_with_its_key_digest_and_message_only() {
        let mut source = KeySource::bank(1);
        let (key, other) = (source.signing_key(2048), source.signing_key(2048));
        let signature = key.sign_sha512(b"message");
        let check = |key: &SigningKey, digest, message: &[u8]| {
            verify_signature(key.public_key(), digest, message, &signature).is_ok()
        };
        assert!(check(&key, DIGEST_SHA512, b"message"));
        assert!(!check(&key, DIGEST_SHA512, b"massage"));
        assert!(!check(&key, DIGEST_SHA1, b"message"));
        assert!(!check(&key, 2, b"message"));
        assert!(!check(&other, DIGEST_SHA512, b"message"));
    }

    #[test]
    fn the_bank_gives_the_same_keys_for_the_same_seed() {
        let keys = |seed| {
            let mut source = KeySource::bank(seed);
            let mut serial = [0; 8];
            source.fill(&mut serial);
            (source.signing_key(2048).public_key().to_vec(), serial)
        };
        assert_eq!(keys(3), keys(3));
        assert_ne!(keys(3).1, keys(4).1, "serials depend on the seed");
    }

    #[test]
    fn keys_survive_pem_and_stay_out_of_debug_output() {
        let key = KeySource::bank(1).signing_key(2048);
        let again = SigningKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(format!("{key:?}"), "SigningKey(RSA-2048)");
        assert!(SigningKey::from_pem("no key").is_err());
    }

    #[test]
    fn keys_beyond_the_bank_are_made_from_the_seed() {
        let mut source = KeySource::bank(9);
        let KeySource::Bank { next, .. } = &mut source else { unreachable!() };
        *next = 1_000;
        let mut again = source.clone();
        assert_eq!(source.signing_key(2048).public_key(), again.signing_key(2048).public_key());
    }
}
