use ring::signature::{
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    UnparsedPublicKey,
};

use crate::wire::{DIGEST_SHA1, DIGEST_SHA512, SignedFile};

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
    let algorithm = match digest {
        DIGEST_SHA1 => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        DIGEST_SHA512 => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        _ => return Err(SignatureFault::Unsupported),
    };
    UnparsedPublicKey::new(algorithm, public_key)
        .verify(message, signature)
        .map_err(|_| SignatureFault::Wrong)
}
