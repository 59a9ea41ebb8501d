//! The envelope of encrypted configurations (`spec/encrypted-config.md`): AES-128-CBC under a
//! random key that is wrapped for the device's RSA key.

use aes::Aes128;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::{Pkcs1v15Encrypt, RsaPublicKey};

use super::{KeySource, SigningKey, sha1, sha512};
use crate::wire::{DIGEST_SHA1, DIGEST_SHA512, SignedFile, WireError};

/// Size of an AES block, and of key and IV, in bytes.
pub const BLOCK: usize = 16;
/// The byte that fills the last block: a carriage return.
const FILL: u8 = 0x0D;

/// Why an envelope does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeFault {
    /// IV, padding length or size of the content is impossible.
    #[error(transparent)]
    Malformed(#[from] WireError),
    /// The wrapped key does not open with this key, or does not hold 16 bytes.
    #[error("the content key does not unwrap with this device key")]
    Key,
    /// The content is not what the digest says.
    #[error("the digest of the content is wrong")]
    Digest,
    /// The digest id is neither 1 nor 3.
    #[error("the digest of the content is of an unknown kind")]
    UnsupportedDigest,
}

/// Key and IV of one content.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentKey {
    /// AES-128 key.
    pub key: [u8; BLOCK],
    /// Initialisation vector.
    pub iv: [u8; BLOCK],
}

impl ContentKey {
    /// A fresh key and IV.
    pub fn random(source: &mut KeySource) -> ContentKey {
        let mut fresh = ContentKey { key: [0; BLOCK], iv: [0; BLOCK] };
        source.fill(&mut fresh.key);
        source.fill(&mut fresh.iv);
        fresh
    }

    /// Pads and encrypts `plain`; also gives the number of padding bytes, 1 to 16.
    ///
    /// # Panics
    /// Never: the padded content is a whole number of blocks.
    pub fn encrypt(&self, plain: &[u8]) -> (Vec<u8>, u16) {
        let padding = BLOCK - plain.len() % BLOCK;
        let mut buffer = plain.to_vec();
        buffer.resize(plain.len() + padding, FILL);
        let length = buffer.len();
        cbc::Encryptor::<Aes128>::new(&self.key.into(), &self.iv.into())
            .encrypt_padded::<NoPadding>(&mut buffer, length)
            .expect("whole blocks");
        (buffer, padding as u16)
    }

    /// Decrypts whole blocks, padding included; `None` if the size is no whole number of blocks.
    pub fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = cipher.to_vec();
        cbc::Decryptor::<Aes128>::new(&self.key.into(), &self.iv.into())
            .decrypt_padded::<NoPadding>(&mut buffer)
            .ok()?;
        Some(buffer)
    }
}

/// Never shows the key.
impl std::fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentKey(AES-128)")
    }
}

/// Wraps an AES key for the device whose public key (PKCS#1) is given; `None` for EC keys, for
/// which no key wrap is defined.
pub fn wrap_key(
    device_public_key: &[u8],
    key: &[u8; BLOCK],
    source: &mut KeySource,
) -> Option<Vec<u8>> {
    let public = RsaPublicKey::from_pkcs1_der(device_public_key).ok()?;
    public.encrypt(&mut source.rng(), Pkcs1v15Encrypt, key).ok()
}

/// Unwraps an AES key with the device's key.
///
/// # Errors
/// [`EnvelopeFault::Key`] if it does not open or does not hold 16 bytes.
pub fn unwrap_key(device: &SigningKey, wrapped: &[u8]) -> Result<[u8; BLOCK], EnvelopeFault> {
    let key = device.rsa().decrypt(Pkcs1v15Encrypt, wrapped).map_err(|_| EnvelopeFault::Key)?;
    key.try_into().map_err(|_| EnvelopeFault::Key)
}

/// Digest of header tag 27 over the content before padding.
pub fn content_digest(digest: u8, plain: &[u8]) -> Option<Vec<u8>> {
    match digest {
        DIGEST_SHA1 => Some(sha1(plain).to_vec()),
        DIGEST_SHA512 => Some(sha512(plain).to_vec()),
        _ => None,
    }
}

/// Opens the envelope of a file whose signature was judged before.
///
/// # Errors
/// In the order of the specification: sizes, key, padding against content, digest.
pub fn open(file: &SignedFile<'_>, device: &SigningKey) -> Result<Vec<u8>, EnvelopeFault> {
    let encryption = file.encryption()?;
    let iv = encryption.check(file.body.len())?;
    let content = ContentKey { key: unwrap_key(device, encryption.wrapped_key)?, iv };
    let mut plain = content.decrypt(file.body).ok_or(EnvelopeFault::Key)?;
    plain.truncate(plain.len() - usize::from(encryption.padding));
    let digest =
        content_digest(encryption.digest, &plain).ok_or(EnvelopeFault::UnsupportedDigest)?;
    if digest == encryption.digest_value { Ok(plain) } else { Err(EnvelopeFault::Digest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_of_every_length_around_a_block_round_trips() {
        let content = ContentKey::random(&mut KeySource::bank(1));
        for length in [0usize, 1, 15, 16, 17, 32] {
            let plain = vec![0x41; length];
            let (cipher, padding) = content.encrypt(&plain);
            assert_eq!(usize::from(padding), 16 - length % 16);
            assert_eq!(cipher.len(), length + usize::from(padding));
            let opened = content.decrypt(&cipher).unwrap();
            assert_eq!(opened[..length], plain);
            assert!(opened[length..].iter().all(|&byte| byte == 0x0D));
        }
        assert_eq!(content.decrypt(&[0; 15]), None);
    }

    #[test]
    fn a_wrapped_key_opens_with_its_device_only() {
        let mut source = KeySource::bank(2);
        let (device, other) = (source.signing_key(2048), source.signing_key(2048));
        let wrapped = wrap_key(device.public_key(), &[9; 16], &mut source).unwrap();
        assert_eq!(wrapped.len(), 256);
        assert_eq!(unwrap_key(&device, &wrapped), Ok([9; 16]));
        assert_ne!(unwrap_key(&other, &wrapped), Ok([9; 16]));
        assert_eq!(unwrap_key(&device, &wrapped[1..]), Err(EnvelopeFault::Key));
        assert_eq!(wrap_key(&[4; 65], &[9; 16], &mut source), None, "no key wrap for EC");
    }

    #[test]
    fn digests_are_those_of_the_header() {
        assert_eq!(content_digest(1, b"x").unwrap().len(), 20);
        assert_eq!(content_digest(3, b"x").unwrap().len(), 64);
        assert_eq!(content_digest(2, b"x"), None);
    }
}
