//! Proofs of possession in CAPF's certificate mode (`spec/capf.md`, Authentication): RSA puts the
//! bare hash into type-1 padding, without `DigestInfo`; EC is ECDSA over the hash, in DER.

use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::pkcs8::DecodePrivateKey;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::{Pkcs1v15Sign, RsaPublicKey};

use super::{KeyError, KeyKind, SignatureFault, SigningKey, sha1, sha512};

/// Digest of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofHash {
    /// Element 6 and the second part of element 16.
    Sha1,
    /// Element 20 and the third part of element 16.
    Sha512,
}

impl ProofHash {
    fn of(self, input: &[u8]) -> Vec<u8> {
        match self {
            ProofHash::Sha1 => sha1(input).to_vec(),
            ProofHash::Sha512 => sha512(input).to_vec(),
        }
    }
}

/// What elements 6 and 20 cover: device name, NUL, certificate (DER).
pub fn device_proof_input(device_name: &str, certificate: &[u8]) -> Vec<u8> {
    [device_name.as_bytes(), b"\0", certificate].concat()
}

/// What the proofs of element 16 cover: the session id in little-endian order, then the MIC (DER).
pub fn sudi_proof_input(session_id: u32, certificate: &[u8]) -> Vec<u8> {
    [&session_id.to_le_bytes(), certificate].concat()
}

/// A private key that can prove possession.
#[derive(Debug)]
pub enum ProofKey {
    /// RSA.
    Rsa(Box<SigningKey>),
    /// EC, curve P-256.
    P256(p256::ecdsa::SigningKey),
    /// EC, curve P-384.
    P384(p384::ecdsa::SigningKey),
    /// EC, curve P-521.
    P521(p521::ecdsa::SigningKey),
}

impl ProofKey {
    /// Loads a key from PKCS#8 DER.
    pub fn from_pkcs8(der: &[u8]) -> Result<ProofKey, KeyError> {
        if let Ok(key) = p256::ecdsa::SigningKey::from_pkcs8_der(der) {
            return Ok(ProofKey::P256(key));
        }
        if let Ok(key) = p384::ecdsa::SigningKey::from_pkcs8_der(der) {
            return Ok(ProofKey::P384(key));
        }
        if let Ok(key) = p521::ecdsa::SigningKey::from_pkcs8_der(der) {
            return Ok(ProofKey::P521(key));
        }
        SigningKey::from_pkcs8(der.to_vec()).map(|key| ProofKey::Rsa(Box::new(key)))
    }

    /// Proves possession of the key.
    ///
    /// # Panics
    /// Never: hashes are padded to the size that the curve wants.
    pub fn prove(&self, hash: ProofHash, input: &[u8]) -> Vec<u8> {
        let hash = hash.of(input);
        match self {
            ProofKey::Rsa(key) => key.sign_hash(Pkcs1v15Sign::new_unprefixed(), &hash),
            ProofKey::P256(key) => {
                let signature: p256::ecdsa::Signature =
                    key.sign_prehash(&widened(&hash, 32)).expect("the hash is wide enough");
                signature.to_der().as_bytes().to_vec()
            }
            ProofKey::P384(key) => {
                let signature: p384::ecdsa::Signature =
                    key.sign_prehash(&widened(&hash, 48)).expect("the hash is wide enough");
                signature.to_der().as_bytes().to_vec()
            }
            ProofKey::P521(key) => {
                let signature: p521::ecdsa::Signature =
                    key.sign_prehash(&widened(&hash, 66)).expect("the hash is wide enough");
                signature.to_der().as_bytes().to_vec()
            }
        }
    }
}

/// Checks a proof against `public_key` (as in record tag 7: PKCS#1 or EC point).
pub fn verify_proof(
    public_key: &[u8],
    hash: ProofHash,
    input: &[u8],
    proof: &[u8],
) -> Result<(), SignatureFault> {
    let hash = hash.of(input);
    let good = match KeyKind::of(public_key).ok_or(SignatureFault::Unsupported)? {
        KeyKind::Rsa(_) => RsaPublicKey::from_pkcs1_der(public_key)
            .map_err(|_| SignatureFault::Unsupported)?
            .verify(Pkcs1v15Sign::new_unprefixed(), &hash, proof)
            .is_ok(),
        KeyKind::Ec(256) => verify_p256(public_key, &widened(&hash, 32), proof).is_ok(),
        KeyKind::Ec(384) => verify_p384(public_key, &widened(&hash, 48), proof).is_ok(),
        KeyKind::Ec(_) => verify_p521(public_key, &widened(&hash, 66), proof).is_ok(),
    };
    if good { Ok(()) } else { Err(SignatureFault::Wrong) }
}

type Checked = Result<(), p256::ecdsa::signature::Error>;

fn verify_p256(point: &[u8], hash: &[u8], proof: &[u8]) -> Checked {
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point)?;
    key.verify_prehash(hash, &p256::ecdsa::Signature::from_der(proof)?)
}

fn verify_p384(point: &[u8], hash: &[u8], proof: &[u8]) -> Checked {
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point)?;
    key.verify_prehash(hash, &p384::ecdsa::Signature::from_der(proof)?)
}

fn verify_p521(point: &[u8], hash: &[u8], proof: &[u8]) -> Checked {
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point)?;
    key.verify_prehash(hash, &p521::ecdsa::Signature::from_der(proof)?)
}

/// A hash that is shorter than the field, as a number of the field's width: ECDSA means the same
/// number, and the crates refuse hashes below half the width (SHA-1 on P-384).
fn widened(hash: &[u8], width: usize) -> Vec<u8> {
    let mut wide = vec![0; width.saturating_sub(hash.len())];
    wide.extend_from_slice(hash);
    wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeySource;

    fn ec_keys() -> Vec<(ProofKey, Vec<u8>)> {
        let p256 = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let p384 = p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap();
        let mut scalar = [7; 66];
        scalar[0] = 0;
        let p521 = p521::ecdsa::SigningKey::from_slice(&scalar).unwrap();
        let points = [
            p256.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            p384.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            p521.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
        ];
        let keys = [ProofKey::P256(p256), ProofKey::P384(p384), ProofKey::P521(p521)];
        keys.into_iter().zip(points).collect()
    }

    #[test]
    fn proofs_verify_with_their_key_hash_and_input_only() {
        let mut keys = ec_keys();
        for bits in [1024, 2048] {
            let key = KeySource::bank(2).signing_key(bits);
            let public_key = key.public_key().to_vec();
            keys.push((ProofKey::Rsa(Box::new(key)), public_key));
        }
        for (key, public_key) in &keys {
            for (hash, other) in
                [(ProofHash::Sha1, ProofHash::Sha512), (ProofHash::Sha512, ProofHash::Sha1)]
            {
                let proof = key.prove(hash, b"input");
                assert_eq!(verify_proof(public_key, hash, b"input", &proof), Ok(()));
                let wrong = Err(SignatureFault::Wrong);
                assert_eq!(verify_proof(public_key, hash, b"inpul", &proof), wrong);
                assert_eq!(verify_proof(public_key, other, b"input", &proof), wrong);
                assert_eq!(verify_proof(public_key, hash, b"input", &proof[1..]), wrong);
            }
        }
        assert_eq!(
            verify_proof(b"no key", ProofHash::Sha1, b"", b""),
            Err(SignatureFault::Unsupported)
        );
    }

    #[test]
    fn inputs_are_laid_out_as_specified() {
        assert_eq!(device_proof_input("SEP1", &[9, 8]), b"SEP1\0\x09\x08");
        assert_eq!(sudi_proof_input(0x0102_0304, &[9]), [4, 3, 2, 1, 9]);
    }

    #[test]
    fn a_short_hash_keeps_its_number() {
        assert_eq!(widened(&[1, 2], 4), [0, 0, 1, 2]);
        assert_eq!(widened(&[1, 2, 3], 2), [1, 2, 3]);
    }
}
