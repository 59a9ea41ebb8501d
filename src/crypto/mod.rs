//! Keys, signatures, digests and certificates.
//!
//! `ring`, or another provider, on every hot path (signing and verifying); the `rsa` crate makes keys and signs what
//! ring cannot: certificates, SHA-1, keys of 1024 bits, CAPF proofs; EC certificates come from the
//! `p384` crate. No policy, no I/O.

mod algorithms;
mod certificate;
mod chain;
mod cipher;
mod credential;
mod date;
mod device;
mod device_certificate;
mod device_key;
pub mod envelope;
mod hash;
mod identity;
mod keys;
mod keystore;
mod lock;
mod mic;
mod pem;
mod pkcs12;
pub mod proof;
mod provider;
mod purpose;
mod request;
mod sealed;
mod shape;
mod tls_end;
mod verify;

pub use certificate::{
    Certificate, CertificateError, CertificateSpec, FIVE_YEARS_S, Identity, Oddity,
};
pub use chain::ChainFault;
pub use credential::{Credential, EcIdentity, EcKey};
pub use date::date_text;
pub use device::{DEVICES, certificate_hash, device, device_of, hash_text};
pub use device_certificate::{DeviceCertificateError, DeviceIdentity, DeviceSpec, issue_to_device};
pub use device_key::{DeviceKey, KeySpec, POOL, pooled_key, pooled_rsa};
pub use identity::FileIdentity;
pub use keys::{KeyError, KeySource, SigningKey};
pub use keystore::{KeyStore, KeyStoreError};
pub use lock::LockFault;
pub use mic::{Manufacturer, manufacturers, mic};
pub use provider::{Provider, ProviderError};
pub use request::certificate_request;
pub use sealed::{SealFault, seal, unseal};
pub use tls_end::TlsEnd;
pub use verify::{KeyKind, SignatureFault, verify_file, verify_signature};

use ring::digest;

/// MD5 of `bytes`: the checksum of listings and the `certHash` of a stub; nothing trusts it.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    use sha2::Digest;
    md5::Md5::digest(bytes).into()
}

/// SHA-512 of `bytes`.
///
/// # Panics
/// Never: the digest has its fixed size.
pub fn sha512(bytes: &[u8]) -> [u8; 64] {
    let digest = digest::digest(&digest::SHA512, bytes);
    digest.as_ref().try_into().expect("SHA-512 has 64 bytes")
}

/// SHA-1 of `bytes`: names certificates in records (CERTHASH); never trusted as a signature.
///
/// # Panics
/// Never: the digest has its fixed size.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().try_into().expect("SHA-1 has 20 bytes")
}

/// SHA-256 of `bytes`: names contents and files inside this program.
///
/// # Panics
/// Never: the digest has its fixed size.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// SHA-256 of bytes that come one after the other and are not kept.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Of nothing yet.
    pub fn of_nothing() -> Sha256 {
        Sha256(digest::Context::new(&digest::SHA256))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all.
    ///
    /// # Panics
    /// Never: the digest has its fixed size.
    pub fn finish(self) -> [u8; 32] {
        self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256")
    }
}

/// SHA-256 over several pieces, without copying them together.
///
/// # Panics
/// Never: the digest has its fixed size.
pub fn sha256_of(pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for piece in pieces {
        context.update(piece);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}
