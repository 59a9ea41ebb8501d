//! Digests of key stores and what is derived with them.

use hmac::{Hmac, KeyInit, Mac};
use pkcs12::kdf::{Pkcs12KeyType, derive_key};

use super::algorithms::oid;

/// A digest that key stores use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512Of224,
    Sha512Of256,
}

/// Calls `$body` with `$digest` standing for the type of the digest.
macro_rules! with_digest {
    ($hash:expr, $digest:ident => $body:expr) => {
        match $hash {
            Hash::Md5 => {
                type $digest = md5::Md5;
                $body
            }
            Hash::Sha1 => {
                type $digest = sha1::Sha1;
                $body
            }
            Hash::Sha224 => {
                type $digest = sha2::Sha224;
                $body
            }
            Hash::Sha256 => {
                type $digest = sha2::Sha256;
                $body
            }
            Hash::Sha384 => {
                type $digest = sha2::Sha384;
                $body
            }
            Hash::Sha512 => {
                type $digest = sha2::Sha512;
                $body
            }
            Hash::Sha512Of224 => {
                type $digest = sha2::Sha512_224;
                $body
            }
            Hash::Sha512Of256 => {
                type $digest = sha2::Sha512_256;
                $body
            }
        }
    };
}

impl Hash {
    /// The digest with this OID.
    pub(super) fn of_digest(oid: &str) -> Option<Hash> {
        Some(match oid {
            oid::MD5 => Hash::Md5,
            oid::SHA1 => Hash::Sha1,
            oid::SHA224 => Hash::Sha224,
            oid::SHA256 => Hash::Sha256,
            oid::SHA384 => Hash::Sha384,
            oid::SHA512 => Hash::Sha512,
            oid::SHA512_224 => Hash::Sha512Of224,
            oid::SHA512_256 => Hash::Sha512Of256,
            _ => return None,
        })
    }

    /// The digest of the HMAC with this OID.
    pub(super) fn of_hmac(oid: &str) -> Option<Hash> {
        Some(match oid {
            oid::HMAC_MD5 => Hash::Md5,
            oid::HMAC_SHA1 => Hash::Sha1,
            oid::HMAC_SHA224 => Hash::Sha224,
            oid::HMAC_SHA256 => Hash::Sha256,
            oid::HMAC_SHA384 => Hash::Sha384,
            oid::HMAC_SHA512 => Hash::Sha512,
            oid::HMAC_SHA512_224 => Hash::Sha512Of224,
            oid::HMAC_SHA512_256 => Hash::Sha512Of256,
            _ => return None,
        })
    }

    /// Length of the digest in bytes.
    pub(super) const fn length(self) -> usize {
        match self {
            Hash::Md5 => 16,
            Hash::Sha1 => 20,
            Hash::Sha224 | Hash::Sha512Of224 => 28,
            Hash::Sha256 | Hash::Sha512Of256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }

    /// The digest of `bytes`.
    pub(super) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        use sha2::Digest;
        with_digest!(self, D => D::digest(bytes).to_vec())
    }

    /// HMAC of `message`.
    pub(super) fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        with_digest!(self, D => {
            let mut mac = Hmac::<D>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.update(message);
            mac.finalize().into_bytes().to_vec()
        })
    }

    /// A key of `length` bytes by PBKDF2 with this HMAC.
    pub(super) fn pbkdf2(self, password: &[u8], salt: &Rounds<'_>, length: usize) -> Vec<u8> {
        let mut key = vec![0; length];
        let Rounds { salt, rounds } = *salt;
        with_digest!(self, D => pbkdf2::pbkdf2_hmac::<D>(password, salt, rounds, &mut key));
        key
    }

    /// `length` bytes by the key derivation of PKCS#12 (RFC 7292 appendix B); the password is
    /// UTF-16 with its two zero bytes, or nothing at all.
    pub(super) fn pkcs12(
        self,
        password: &[u8],
        salt: &Rounds<'_>,
        purpose: Pkcs12KeyType,
        length: usize,
    ) -> Vec<u8> {
        let rounds = i32::try_from(salt.rounds).unwrap_or(i32::MAX);
        with_digest!(self, D => derive_key::<D>(password, salt.salt, purpose, rounds, length))
    }

    /// PBKDF1 of PKCS#5: the digest, again and again.
    pub(super) fn pbkdf1(self, password: &[u8], salt: &Rounds<'_>) -> Vec<u8> {
        let first = self.digest(&[password, salt.salt].concat());
        (1..salt.rounds).fold(first, |digest, _| self.digest(&digest))
    }
}

/// Salt and number of iterations of a key derivation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds<'a> {
    pub(super) salt: &'a [u8],
    pub(super) rounds: u32,
}
