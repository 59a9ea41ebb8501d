use rsa::pkcs1::RsaPublicKeyRef;
use x509_cert::der::Decode;

use super::Provider;
use crate::wire::{DIGEST_SHA1, DIGEST_SHA512, SignedFile};

/// What a public key is, as record tag 7 holds it (`spec/trust-list.md` section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with a modulus of so many bits.
    Rsa(u16),
    /// EC point on the curve of so many bits: 256, 384 or 521.
    Ec(u16),
}

impl KeyKind {
    /// The kind of `public_key`: PKCS#1 `RSAPublicKey` or an uncompressed X9.62 point.
    pub fn of(public_key: &[u8]) -> Option<KeyKind> {
        match (public_key.first()?, public_key.len()) {
            (4, 65) => Some(KeyKind::Ec(256)),
            (4, 97) => Some(KeyKind::Ec(384)),
            (4, 133) => Some(KeyKind::Ec(521)),
            (0x30, _) => {
                let key = RsaPublicKeyRef::from_der(public_key).ok()?;
                let modulus = key.modulus.as_bytes();
                let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
                u16::try_from(bits).ok().map(KeyKind::Rsa)
            }
            _ => None,
        }
    }

    /// `RSA` or `EC`.
    pub const fn name(self) -> &'static str {
        match self {
            KeyKind::Rsa(_) => "RSA",
            KeyKind::Ec(_) => "EC",
        }
    }

    /// Size in bits.
    pub const fn bits(self) -> u16 {
        match self {
            KeyKind::Rsa(bits) | KeyKind::Ec(bits) => bits,
        }
    }

    /// Whether nobody should use such a key today: RSA below 2048 bits.
    pub const fn is_weak(self) -> bool {
        matches!(self, KeyKind::Rsa(0..2048))
    }
}

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// The digest id is neither 1 nor 3, or the algorithm is not RSA.
    #[error("the digest or signature algorithm is not supported")]
    Unsupported,
    /// The signature does not fit the bytes and the key.
    #[error("the signature is wrong")]
    Wrong,
}

/// Verifies the signature of a list or signed file with `public_key` (PKCS#1 `RSAPublicKey`, as
/// in record tag 7). `scratch` is cleared and reused.
pub fn verify_file(
    file: &SignedFile<'_>,
    public_key: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<(), SignatureFault> {
    if file.header.algorithm != 0 {
        return Err(SignatureFault::Unsupported);
    }
    file.signed_bytes(scratch);
    verify_signature(public_key, file.header.digest, scratch, file.header.signature)
}

/// Verifies an RSASSA-PKCS1-v1_5 signature; keys of 1024 bits and SHA-1 exist in the field.
pub fn verify_signature(
    public_key: &[u8],
    digest: u8,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureFault> {
    let is_right = match Provider::chosen() {
        Provider::Ring => {
            use ring::signature::{
                RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY as SHA1,
                RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY as SHA512, UnparsedPublicKey,
            };
            let algorithm = if is_sha1(digest)? { &SHA1 } else { &SHA512 };
            UnparsedPublicKey::new(algorithm, public_key).verify(message, signature).is_ok()
        }
        #[cfg(feature = "aws-lc-rs")]
        Provider::AwsLc => {
            use aws_lc_rs::signature::{
                RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY as SHA1,
                RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY as SHA512, UnparsedPublicKey,
            };
            let algorithm = if is_sha1(digest)? { &SHA1 } else { &SHA512 };
            UnparsedPublicKey::new(algorithm, public_key).verify(message, signature).is_ok()
        }
    };
    if is_right { Ok(()) } else { Err(SignatureFault::Wrong) }
}

/// Whether a digest is SHA-1 or SHA-512.
const fn is_sha1(digest: u8) -> Result<bool, SignatureFault> {
    match digest {
        DIGEST_SHA1 => Ok(true),
        DIGEST_SHA512 => Ok(false),
        _ => Err(SignatureFault::Unsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeySource;

    #[test]
    fn the_kind_of_a_key_is_read_from_its_bytes() {
        let mut source = KeySource::bank(1);
        for bits in [1024, 2048] {
            let key = source.signing_key(bits);
            assert_eq!(KeyKind::of(key.public_key()), Some(KeyKind::Rsa(bits)));
        }
        for (length, bits) in [(65, 256), (97, 384), (133, 521)] {
            let mut point = vec![7; length];
            point[0] = 4;
            assert_eq!(KeyKind::of(&point), Some(KeyKind::Ec(bits)));
            assert_eq!(KeyKind::of(&point[1..]), None);
        }
        assert_eq!(KeyKind::of(&[]), None);
    }

    #[test]
    fn small_rsa_keys_are_weak() {
        assert!(KeyKind::Rsa(1024).is_weak() && KeyKind::Rsa(2047).is_weak());
        assert!(!KeyKind::Rsa(2048).is_weak() && !KeyKind::Ec(256).is_weak());
        assert_eq!((KeyKind::Ec(384).name(), KeyKind::Rsa(9).name()), ("EC", "RSA"));
        assert_eq!((KeyKind::Ec(384).bits(), KeyKind::Rsa(9).bits()), (384, 9));
    }
}
