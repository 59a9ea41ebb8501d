use std::fmt;
use std::sync::{Arc, OnceLock};

use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::pkcs8::{EncodePrivateKey, EncodePublicKey};
use rsa::Pkcs1v15Sign;
use rsa::signature::Keypair;

use super::keys::{CertificateSigner, KeySource, SigningKey};
use super::proof::ProofHash;
use crate::base::{Purpose, stream};

/// Which pair of keys a device is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeySpec {
    /// RSA with a modulus of so many bits.
    Rsa(u16),
    /// EC on the curve of so many bits: 256, 384 or 521.
    Ec(u16),
}

/// The pair of keys of a device.
///
/// Phones share those of a pool that was made before (choice: an RSA key of its own takes 40 ms of
/// a core for each); they are throwaway keys, published on purpose, and hide nothing.
#[derive(Clone)]
pub enum DeviceKey {
    /// RSA.
    Rsa(Arc<SigningKey>),
    /// EC on P-256.
    P256(p256::ecdsa::SigningKey),
}

/// Keys of each kind in the pool.
pub const POOL: usize = 8;
/// Where its RSA keys begin in the bank: before those of the devices, behind those that clusters
/// take first.
const FIRST_IN_BANK: usize = 16;

/// The key with this number below [`POOL`] of the pool of its kind; nothing for a kind of which
/// there is no pool: RSA-2048 and P-256 are what phones make here.
pub fn pooled_key(spec: KeySpec, number: usize) -> Option<&'static DeviceKey> {
    static RSA: OnceLock<Vec<DeviceKey>> = OnceLock::new();
    static P256: OnceLock<Vec<DeviceKey>> = OnceLock::new();
    let pool = match spec {
        KeySpec::Rsa(2048) => RSA.get_or_init(|| (0..POOL).map(rsa_key).collect()),
        KeySpec::Ec(256) => P256.get_or_init(|| (0..POOL).map(p256_key).collect()),
        _ => return None,
    };
    pool.get(number % POOL)
}

/// The RSA-2048 key with this number of the pool.
///
/// # Panics
/// Never: there is a pool of them.
pub fn pooled_rsa(number: usize) -> &'static SigningKey {
    match pooled_key(KeySpec::Rsa(2048), number) {
        Some(DeviceKey::Rsa(key)) => key,
        _ => unreachable!("the pool of RSA-2048 has RSA keys"),
    }
}

fn rsa_key(number: usize) -> DeviceKey {
    let mut source = KeySource::bank(number as u64);
    if let KeySource::Bank { next, .. } = &mut source {
        *next = FIRST_IN_BANK + number;
    }
    DeviceKey::Rsa(Arc::new(source.signing_key(2048)))
}

fn p256_key(number: usize) -> DeviceKey {
    let mut draws = stream(0, number as u64, Purpose::DeviceKey);
    loop {
        let mut scalar = [0; 32];
        draws.fill(&mut scalar);
        // Not one in 2^32 numbers is too large for the curve.
        if let Ok(key) = p256::ecdsa::SigningKey::from_slice(&scalar) {
            return DeviceKey::P256(key);
        }
    }
}

impl DeviceKey {
    /// Which kind of pair it is.
    pub fn spec(&self) -> KeySpec {
        match self {
            DeviceKey::Rsa(key) => KeySpec::Rsa(key.signature_length() * 8),
            DeviceKey::P256(_) => KeySpec::Ec(256),
        }
    }

    /// The public key as `SubjectPublicKeyInfo` (DER).
    ///
    /// # Panics
    /// Never: a key that was loaded can be written.
    pub fn public_key_info(&self) -> Vec<u8> {
        let info = match self {
            DeviceKey::Rsa(key) => CertificateSigner(key).verifying_key().to_public_key_der(),
            DeviceKey::P256(key) => key.verifying_key().to_public_key_der(),
        };
        info.expect("a public key can be written").into_vec()
    }

    /// The public key as in record tag 7: PKCS#1 `RSAPublicKey`, or an EC point.
    pub fn public_key(&self) -> Vec<u8> {
        match self {
            DeviceKey::Rsa(key) => key.public_key().to_vec(),
            DeviceKey::P256(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
        }
    }

    /// A proof that its owner has the key (`spec/capf.md`, Proofs).
    ///
    /// # Panics
    /// Never: a key that was loaded signs.
    pub fn prove(&self, hash: ProofHash, input: &[u8]) -> Vec<u8> {
        let hash = hash.of(input);
        match self {
            DeviceKey::Rsa(key) => key.sign_hash(Pkcs1v15Sign::new_unprefixed(), &hash),
            DeviceKey::P256(key) => {
                let wide = super::proof::widened(&hash, 32);
                let signature: p256::ecdsa::Signature =
                    key.sign_prehash(&wide).expect("an EC key signs");
                signature.to_der().as_bytes().to_vec()
            }
        }
    }

    /// The private key as PKCS#8 DER.
    ///
    /// # Panics
    /// Never: a key that was loaded can be written.
    pub fn pkcs8(&self) -> Vec<u8> {
        match self {
            DeviceKey::Rsa(key) => key.pkcs8().to_vec(),
            DeviceKey::P256(key) => {
                key.to_pkcs8_der().expect("an EC key can be written").as_bytes().to_vec()
            }
        }
    }
}

/// Never shows the key.
impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({:?})", self.spec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::proof::verify_proof;

    #[test]
    fn the_pool_has_keys_of_two_kinds_that_prove_what_they_are() {
        for spec in [KeySpec::Rsa(2048), KeySpec::Ec(256)] {
            let keys = (0..POOL).map(|number| pooled_key(spec, number).unwrap());
            let all: std::collections::BTreeSet<Vec<u8>> =
                keys.clone().map(DeviceKey::public_key).collect();
            assert_eq!(all.len(), POOL);
            for key in keys.take(2) {
                assert_eq!(
                    (key.spec(), format!("{key:?}")),
                    (spec, format!("DeviceKey({spec:?})"))
                );
                for hash in [ProofHash::Sha1, ProofHash::Sha512] {
                    let proof = key.prove(hash, b"input");
                    assert_eq!(verify_proof(&key.public_key(), hash, b"input", &proof), Ok(()));
                }
            }
            assert_eq!(
                pooled_key(spec, POOL).unwrap().public_key(),
                pooled_key(spec, 0).unwrap().public_key()
            );
        }
        assert!(pooled_key(KeySpec::Rsa(1024), 0).is_none());
        assert!(pooled_key(KeySpec::Ec(521), 0).is_none());
    }
}
