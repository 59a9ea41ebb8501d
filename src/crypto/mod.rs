//! Keys, signatures, digests and certificates.
//!
//! `ring` on every hot path (signing and verifying); the `rsa` crate only makes keys and signs
//! certificates, which ring cannot. No policy, no I/O.

mod certificate;
mod identity;
mod keys;
mod verify;

pub use certificate::{Certificate, CertificateError, CertificateSpec, Identity};
pub use identity::FileIdentity;
pub use keys::{KeyError, KeySource, SigningKey};
pub use verify::{SignatureFault, verify_file, verify_signature};

use ring::digest;

/// SHA-1 of `bytes`: names certificates in records (CERTHASH); never trusted as a signature.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().try_into().expect("SHA-1 has 20 bytes")
}

/// SHA-256 of `bytes`: names contents and files inside this program.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// SHA-256 over several pieces, without copying them together.
pub fn sha256_of(pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}
