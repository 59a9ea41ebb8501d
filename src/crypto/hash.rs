//! Digests of key stores and what is derived with them.

use hmac::digest::FixedOutputReset;
use hmac::digest::block_api::EagerHash;
use hmac::{Hmac, KeyInit, Mac};
use pkcs12::kdf::{Pkcs12KeyType, derive_key};

/// A digest that key stores use.
#[derive(Debug)]
pub(super) struct Hash {
    pub(super) oid: &'static str,
    pub(super) name: &'static str,
    /// OID of the HMAC with this digest.
    hmac_oid: &'static str,
    digest: fn(&[u8]) -> Vec<u8>,
    hmac: fn(&[u8], &[u8]) -> Vec<u8>,
    pbkdf2: fn(&[u8], &[u8], u32, &mut [u8]),
    pkcs12: DerivePkcs12,
}

/// From password, salt, purpose, rounds and length to bytes.
type DerivePkcs12 = fn(&[u8], &[u8], Pkcs12KeyType, i32, usize) -> Vec<u8>;

/// Every digest.
pub(super) static HASHES: [Hash; 8] = [
    Hash::of::<md5::Md5>("1.2.840.113549.2.5", "MD5", "1.2.840.113549.2.6"),
    Hash::of::<sha1::Sha1>("1.3.14.3.2.26", "SHA-1", "1.2.840.113549.2.7"),
    Hash::of::<sha2::Sha224>("2.16.840.1.101.3.4.2.4", "SHA-224", "1.2.840.113549.2.8"),
    Hash::of::<sha2::Sha256>("2.16.840.1.101.3.4.2.1", "SHA-256", "1.2.840.113549.2.9"),
    Hash::of::<sha2::Sha384>("2.16.840.1.101.3.4.2.2", "SHA-384", "1.2.840.113549.2.10"),
    Hash::of::<sha2::Sha512>("2.16.840.1.101.3.4.2.3", "SHA-512", "1.2.840.113549.2.11"),
    Hash::of::<sha2::Sha512_224>("2.16.840.1.101.3.4.2.5", "SHA-512/224", "1.2.840.113549.2.12"),
    Hash::of::<sha2::Sha512_256>("2.16.840.1.101.3.4.2.6", "SHA-512/256", "1.2.840.113549.2.13"),
];

pub(super) static MD5: &Hash = &HASHES[0];
pub(super) static SHA1: &Hash = &HASHES[1];

impl Hash {
    const fn of<D: EagerHash + FixedOutputReset>(
        oid: &'static str,
        name: &'static str,
        hmac_oid: &'static str,
    ) -> Hash {
        Hash {
            oid,
            name,
            hmac_oid,
            digest: |bytes| D::digest(bytes).to_vec(),
            hmac: hmac::<D>,
            pbkdf2: pbkdf2::pbkdf2_hmac::<D>,
            pkcs12: derive_key::<D>,
        }
    }

    /// The digest with this OID.
    pub(super) fn of_digest(oid: &str) -> Option<&'static Hash> {
        HASHES.iter().find(|hash| hash.oid == oid)
    }

    /// The digest of the HMAC with this OID.
    pub(super) fn of_hmac(oid: &str) -> Option<&'static Hash> {
        HASHES.iter().find(|hash| hash.hmac_oid == oid)
    }

    /// Length of the digest in bytes.
    pub(super) fn length(&self) -> usize {
        self.digest(&[]).len()
    }

    /// The digest of `bytes`.
    pub(super) fn digest(&self, bytes: &[u8]) -> Vec<u8> {
        (self.digest)(bytes)
    }

    /// HMAC of `message`.
    pub(super) fn hmac(&self, key: &[u8], message: &[u8]) -> Vec<u8> {
        (self.hmac)(key, message)
    }

    /// A key of `length` bytes by PBKDF2 with this HMAC.
    pub(super) fn pbkdf2(&self, password: &[u8], salt: &Rounds<'_>, length: usize) -> Vec<u8> {
        let mut key = vec![0; length];
        (self.pbkdf2)(password, salt.salt, salt.rounds, &mut key);
        key
    }

    /// `length` bytes by the key derivation of PKCS#12 (RFC 7292 appendix B); the password is
    /// UTF-16 with its two zero bytes, or nothing at all.
    pub(super) fn pkcs12(
        &self,
        password: &[u8],
        salt: &Rounds<'_>,
        purpose: Pkcs12KeyType,
        length: usize,
    ) -> Vec<u8> {
        let rounds = i32::try_from(salt.rounds).unwrap_or(i32::MAX);
        (self.pkcs12)(password, salt.salt, purpose, rounds, length)
    }

    /// PBKDF1 of PKCS#5: the digest, again and again.
    pub(super) fn pbkdf1(&self, password: &[u8], salt: &Rounds<'_>) -> Vec<u8> {
        let first = self.digest(&[password, salt.salt].concat());
        (1..salt.rounds).fold(first, |digest, _| self.digest(&digest))
    }
}

fn hmac<D: EagerHash>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<D>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Salt and number of iterations of a key derivation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds<'a> {
    pub(super) salt: &'a [u8],
    pub(super) rounds: u32,
}
