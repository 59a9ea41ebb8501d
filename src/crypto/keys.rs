use std::convert::Infallible;
use std::fmt;
use std::sync::OnceLock;

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair};
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::signature::{self, Keypair, Signer};
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Sign, RsaPrivateKey, pkcs1v15};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use x509_cert::der::Document;
use x509_cert::der::asn1::{BitString, Null};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::spki::{
    self, AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey,
    SubjectPublicKeyInfoOwned,
};

use super::{Provider, SignatureFault, pem, sha1, sha256, sha512};
use crate::base::{Purpose, Stream, stream};
use crate::wire::{DIGEST_SHA1, DIGEST_SHA512};

/// Throwaway keys of 2048 bits, published on purpose: for tests and virtual time only.
const TEST_KEYS_PEM: &str = include_str!("test_keys.pem");

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no PKCS#8 key of the kind that is asked for.
    #[error("the private key cannot be read: {0}")]
    Unreadable(String),
    /// The key is smaller than any phone or cluster uses.
    #[error("RSA keys below 1024 bits cannot sign here")]
    TooSmall,
}

/// Smallest RSA key in bits: MICs and CTL tokens of old releases (`spec/trust-list.md` section 3).
const KEY_BITS_MIN: usize = 1024;

/// An RSA key that signs; loaded once, used by many threads.
///
/// ring signs SHA-512 with keys from 2048 bits; the rsa crate does the rest: SHA-1, 1024 bits and
/// the proofs of CAPF.
pub struct SigningKey {
    /// `None` below 2048 bits.
    pair: Option<RsaKeyPair>,
    /// The same for the other provider, read on first use: it checks a key when it reads it.
    #[cfg(feature = "aws-lc-rs")]
    aws: OnceLock<aws_lc_rs::signature::RsaKeyPair>,
    /// Read on first use: most keys never need it.
    rsa: OnceLock<RsaPrivateKey>,
    public_key: Vec<u8>,
    pkcs8: Vec<u8>,
}

impl SigningKey {
    /// Loads a key from PKCS#8 DER; 1024 to 4096 bits.
    pub fn from_pkcs8(pkcs8: Vec<u8>) -> Result<SigningKey, KeyError> {
        match RsaKeyPair::from_pkcs8(&pkcs8) {
            Ok(pair) => {
                let public_key = ring::signature::KeyPair::public_key(&pair).as_ref().to_vec();
                Ok(SigningKey { pair: Some(pair), public_key, ..SigningKey::unread(pkcs8) })
            }
            Err(rejected) if rejected.to_string() == "TooSmall" => SigningKey::small(pkcs8),
            Err(rejected) => Err(unreadable(rejected)),
        }
    }

    /// A key that ring refuses for its size.
    fn small(pkcs8: Vec<u8>) -> Result<SigningKey, KeyError> {
        let key = RsaPrivateKey::from_pkcs8_der(&pkcs8).map_err(|_| KeyError::TooSmall)?;
        if key.size() * 8 < KEY_BITS_MIN {
            return Err(KeyError::TooSmall);
        }
        let public_key = key.to_public_key().to_pkcs1_der().map_err(unreadable)?;
        let public_key = public_key.as_bytes().to_vec();
        Ok(SigningKey { rsa: OnceLock::from(key), public_key, ..SigningKey::unread(pkcs8) })
    }

    /// Bytes that no library has read.
    const fn unread(pkcs8: Vec<u8>) -> SigningKey {
        SigningKey {
            pair: None,
            #[cfg(feature = "aws-lc-rs")]
            aws: OnceLock::new(),
            rsa: OnceLock::new(),
            public_key: Vec::new(),
            pkcs8,
        }
    }

    /// The key as PEM, to be kept with owner-only permissions.
    ///
    /// # Panics
    /// Never: the key was read before.
    pub fn to_pem(&self) -> String {
        let pem = self.rsa().to_pkcs8_pem(rsa::pkcs8::LineEnding::LF);
        pem.expect("a loaded key can be written").to_string()
    }

    /// Signs with RSASSA-PKCS1-v1_5 and the digest of header tag 8: 1 SHA-1, 3 SHA-512.
    ///
    /// # Errors
    /// [`SignatureFault::Unsupported`] for any other digest id.
    pub fn sign(&self, digest: u8, message: &[u8]) -> Result<Vec<u8>, SignatureFault> {
        match digest {
            DIGEST_SHA1 => Ok(self.sign_hash(Pkcs1v15Sign::new::<Sha1>(), &sha1(message))),
            DIGEST_SHA512 => Ok(self.sign_sha512(message)),
            _ => Err(SignatureFault::Unsupported),
        }
    }

    /// Signs with RSASSA-PKCS1-v1_5 and SHA-512.
    ///
    /// # Panics
    /// Never: every key that loads holds the hash.
    pub fn sign_sha512(&self, message: &[u8]) -> Vec<u8> {
        let Some(pair) = &self.pair else {
            return self.sign_hash(Pkcs1v15Sign::new::<Sha512>(), &sha512(message));
        };
        match Provider::chosen() {
            Provider::Ring => sign_with_ring(pair, &RSA_PKCS1_SHA512, message),
            #[cfg(feature = "aws-lc-rs")]
            Provider::AwsLc => {
                let mut signature = vec![0; pair.public().modulus_len()];
                self.sign_with_aws_lc(message, &mut signature);
                signature
            }
        }
    }

    /// Signs with RSASSA-PKCS1-v1_5 and SHA-256: certificates of devices.
    ///
    /// # Panics
    /// Never: every key that loads holds the hash.
    pub fn sign_sha256(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Some(pair) => sign_with_ring(pair, &RSA_PKCS1_SHA256, message),
            None => self.sign_hash(Pkcs1v15Sign::new::<Sha256>(), &sha256(message)),
        }
    }

    #[cfg(feature = "aws-lc-rs")]
    fn sign_with_aws_lc(&self, message: &[u8], signature: &mut [u8]) {
        use aws_lc_rs::{rand::SystemRandom, signature::RSA_PKCS1_SHA512, signature::RsaKeyPair};
        let read = || RsaKeyPair::from_pkcs8(&self.pkcs8).expect("the key was read before");
        let pair = self.aws.get_or_init(read);
        pair.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), message, signature)
            .expect("the buffer has the size of the modulus");
    }

    /// Puts a hash into type-1 padding and signs it.
    pub(super) fn sign_hash(&self, padding: Pkcs1v15Sign, hash: &[u8]) -> Vec<u8> {
        self.rsa().sign(padding, hash).expect("a key of 1024 bits or more holds any hash")
    }

    /// Length of a signature in bytes: 128, 256 or 512.
    pub fn signature_length(&self) -> u16 {
        match &self.pair {
            Some(pair) => pair.public().modulus_len() as u16,
            None => self.rsa().size() as u16,
        }
    }

    /// The public key as PKCS#1 `RSAPublicKey`.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The public key as certificates have it.
    pub(super) fn public_key_info(&self) -> SubjectPublicKeyInfoOwned {
        let subject_public_key =
            BitString::from_bytes(&self.public_key).expect("a key is far shorter than it may be");
        SubjectPublicKeyInfoOwned { algorithm: rsa_algorithm(RSA), subject_public_key }
    }

    /// The private key as PKCS#8 DER.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(super) fn rsa(&self) -> &RsaPrivateKey {
        self.rsa.get_or_init(|| {
            RsaPrivateKey::from_pkcs8_der(&self.pkcs8).expect("the key was read before")
        })
    }
}

/// Signs certificates and requests with `sha256WithRSAEncryption`, ten times as fast as the library
/// that builds them would.
pub(super) struct CertificateSigner<'a>(pub(super) &'a SigningKey);

/// The public key of a [`CertificateSigner`].
#[derive(Clone)]
pub(super) struct PublicKeyInfo(SubjectPublicKeyInfoOwned);

impl EncodePublicKey for PublicKeyInfo {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::encode_msg(&self.0)?)
    }
}

impl Keypair for CertificateSigner<'_> {
    type VerifyingKey = PublicKeyInfo;

    fn verifying_key(&self) -> PublicKeyInfo {
        PublicKeyInfo(self.0.public_key_info())
    }
}

impl DynSignatureAlgorithmIdentifier for CertificateSigner<'_> {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(rsa_algorithm(SHA256_WITH_RSA))
    }
}

impl Signer<pkcs1v15::Signature> for CertificateSigner<'_> {
    fn try_sign(&self, message: &[u8]) -> Result<pkcs1v15::Signature, signature::Error> {
        pkcs1v15::Signature::try_from(&self.0.sign_sha256(message)[..])
    }
}

/// RFC 3279, section 2.3.1, and RFC 4055, section 5.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

fn rsa_algorithm(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: Some(Null.into()) }
}

fn sign_with_ring(pair: &RsaKeyPair, how: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(how, &SystemRandom::new(), message, &mut signature)
        .expect("the buffer has the size of the modulus");
    signature
}

/// Never shows the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(RSA-{})", usize::from(self.signature_length()) * 8)
    }
}

pub(super) fn unreadable(error: impl fmt::Display) -> KeyError {
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
        /// Randomness for EC keys and the serials of their certificates: of its own, so that RSA
        /// certificates are the same in releases with and without EC.
        ec: Stream,
        /// Whether the keys of the bank come last first, and over again when all were handed out.
        is_beside: bool,
    },
}

impl KeySource {
    /// A deterministic source.
    pub fn bank(seed: u64) -> KeySource {
        KeySource::Bank {
            next: 0,
            stream: stream(seed, u64::MAX, Purpose::Certificate),
            keys: stream(seed, u64::MAX, Purpose::Key),
            ec: stream(seed, u64::MAX, Purpose::EcKey),
            is_beside: false,
        }
    }

    /// A source for certificates that came later: its draws leave those of this one as they are.
    /// Its keys from the bank may be those of other certificates.
    #[must_use]
    pub fn beside(&self) -> KeySource {
        let KeySource::Bank { stream, .. } = self else { return KeySource::System };
        let mut source = KeySource::bank(stream.clone().next_u64());
        if let KeySource::Bank { is_beside, .. } = &mut source {
            *is_beside = true;
        }
        source
    }

    /// A new RSA key of `bits` (1024, 2048 or 4096): 40 ms or 0.5 s of one core for the last two,
    /// less from the bank.
    ///
    /// # Panics
    /// If `bits` is below 1024.
    pub fn signing_key(&mut self, bits: u16) -> SigningKey {
        let pkcs8 = match self {
            KeySource::System => generate(&mut Source(fill_from_system), bits),
            KeySource::Bank { next, keys, is_beside, .. } => {
                let place = if *is_beside { BANK - 1 - *next % BANK } else { *next };
                *next += 1;
                match banked_key(place) {
                    Some(key) if bits == 2048 => key,
                    _ => generate(&mut Source(|bytes: &mut [u8]| keys.fill(bytes)), bits),
                }
            }
        };
        SigningKey::from_pkcs8(pkcs8).expect("a fresh key is well-formed")
    }

    /// Randomness for the rsa crate.
    pub(super) fn rng(&mut self) -> impl rand_core::CryptoRng {
        Source(|bytes: &mut [u8]| self.fill(bytes))
    }

    /// Fills `bytes` for a serial number, a unique name or a content key.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        match self {
            KeySource::System => fill_from_system(bytes),
            KeySource::Bank { stream, .. } => stream.fill(bytes),
        }
    }

    /// Fills `bytes` for an EC key or the serial number of its certificate.
    pub(super) fn fill_ec(&mut self, bytes: &mut [u8]) {
        match self {
            KeySource::System => fill_from_system(bytes),
            KeySource::Bank { ec, .. } => ec.fill(bytes),
        }
    }
}

/// Keys in the bank.
const BANK: usize = 32;

fn banked_key(index: usize) -> Option<Vec<u8>> {
    const END: &str = "-----END PRIVATE KEY-----";
    let pem = TEST_KEYS_PEM.split_inclusive(END).nth(index)?.trim_start();
    pem::blocks(pem).pop()?.content.ok()
}

fn generate<F: FnMut(&mut [u8])>(source: &mut Source<F>, bits: u16) -> Vec<u8> {
    let key =
        RsaPrivateKey::new(source, usize::from(bits)).expect("1024 bits and more can be made");
    key.to_pkcs8_der().expect("a fresh key can be written").as_bytes().to_vec()
}

fn fill_from_system(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the operating system has randomness");
}

/// Makes what fills buffers with random bytes usable by the `rsa` crate. A seeded one is no secret:
/// its keys are throwaway.
struct Source<F>(F);

impl<F: FnMut(&mut [u8])> rand_core::TryRng for Source<F> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0(bytes);
        Ok(())
    }
}

impl<F: FnMut(&mut [u8])> rand_core::TryCryptoRng for Source<F> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{KeyStore, KeyStoreError, verify_signature};

    fn read(pem: &str) -> Result<SigningKey, KeyStoreError> {
        KeyStore::from_pem(pem)?.signing_key()
    }

    /// Each provider in a program of its own would be the rule; a key is asked directly here.
    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn both_providers_make_the_same_signature() {
        let mut source = KeySource::bank(3);
        for bits in [2_048, 4_096] {
            let key = source.signing_key(bits);
            let mut other = vec![0; usize::from(key.signature_length())];
            key.sign_with_aws_lc(b"a message", &mut other);
            assert_eq!(key.sign_sha512(b"a message"), other, "{bits}");
        }
    }

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
    fn sha1_and_small_keys_sign_too() {
        for bits in [1024, 2048] {
            let key = KeySource::bank(5).signing_key(bits);
            assert_eq!(key.signature_length() * 8, bits);
            for digest in [DIGEST_SHA1, DIGEST_SHA512] {
                let signature = key.sign(digest, b"message").unwrap();
                assert_eq!(signature.len() * 8, usize::from(bits));
                assert_eq!(
                    verify_signature(key.public_key(), digest, b"message", &signature),
                    Ok(())
                );
            }
            assert_eq!(key.sign(2, b"message"), Err(SignatureFault::Unsupported));
            let again = read(&key.to_pem()).unwrap();
            assert_eq!(again.public_key(), key.public_key());
        }
    }

    #[test]
    fn both_engines_make_the_same_sha512_signature() {
        let key = KeySource::bank(1).signing_key(2048);
        let by_rsa = key.sign_hash(Pkcs1v15Sign::new::<Sha512>(), &sha512(b"message"));
        assert_eq!(key.sign_sha512(b"message"), by_rsa);
    }

    #[test]
    fn a_key_is_found_between_other_blocks_and_in_the_older_form() {
        use rsa::pkcs1::EncodeRsaPrivateKey;
        let key = KeySource::bank(1).signing_key(2048);
        let mixed = format!("-----BEGIN X-----\n-----END X-----\n{}", key.to_pem());
        assert_eq!(read(&mixed).unwrap().public_key(), key.public_key());
        let older = key.rsa().to_pkcs1_pem(rsa::pkcs8::LineEnding::LF).unwrap();
        assert_eq!(read(&older).unwrap().public_key(), key.public_key());
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
    fn a_source_beside_draws_its_own_and_ends_never() {
        assert!(banked_key(BANK - 1).is_some() && banked_key(BANK).is_none());
        let (mut plain, mut source) = (KeySource::bank(1), KeySource::bank(1));
        let mut beside = source.beside();
        let keys: Vec<Vec<u8>> =
            (0..=BANK).map(|_| beside.signing_key(2048).public_key().to_vec()).collect();
        assert_eq!(keys[0], keys[BANK], "over again");
        assert_eq!(source.signing_key(2048).public_key(), plain.signing_key(2048).public_key());
        assert_eq!(source.signing_key(2048).public_key(), keys[BANK - 2], "the other end");
        let serial = |source: &mut KeySource| {
            let mut serial = [0; 8];
            source.fill(&mut serial);
            serial
        };
        let first = serial(&mut source);
        assert_eq!(first, serial(&mut plain));
        assert_ne!(first, serial(&mut beside));
    }

    #[test]
    fn keys_survive_pem_and_stay_out_of_debug_output() {
        let key = KeySource::bank(1).signing_key(2048);
        let again = read(&key.to_pem()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(format!("{key:?}"), "SigningKey(RSA-2048)");
        assert!(read("no key").is_err());
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
