//! Proofs of possession in CAPF's certificate mode (`spec/capf.md`, Authentication): RSA puts the
//! bare hash into type-1 padding, without `DigestInfo`; EC is ECDSA over the hash, in DER.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::{Pkcs1v15Sign, RsaPublicKey};

use super::{KeyKind, SignatureFault, sha1, sha512};

/// Digest of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofHash {
    /// Element 6 and the second part of element 16.
    Sha1,
    /// Element 20 and the third part of element 16.
    Sha512,
}

impl ProofHash {
    pub(super) fn of(self, input: &[u8]) -> Vec<u8> {
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
        KeyKind::Ec(bits) => is_ecdsa_of(public_key, bits, &hash, proof),
    };
    if good { Ok(()) } else { Err(SignatureFault::Wrong) }
}

/// Whether the holder of an EC point of so many bits has signed a hash; the signature is in DER.
pub(super) fn is_ecdsa_of(point: &[u8], bits: u16, hash: &[u8], signature: &[u8]) -> bool {
    let checked = match bits {
        256 => verify_p256(point, &widened(hash, 32), signature),
        384 => verify_p384(point, &widened(hash, 48), signature),
        _ => verify_p521(point, &widened(hash, 66), signature),
    };
    checked.is_ok()
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
pub(super) fn widened(hash: &[u8], width: usize) -> Vec<u8> {
    let mut wide = vec![0; width.saturating_sub(hash.len())];
    wide.extend_from_slice(hash);
    wide
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::signature::hazmat::PrehashSigner;

    use super::*;
    use crate::crypto::KeySource;

    type Prove = Box<dyn Fn(ProofHash, &[u8]) -> Vec<u8>>;

    /// What proves with a key of this curve, and the public key.
    macro_rules! ec_key {
        ($curve:ident, $scalar:expr) => {{
            let scalar = $scalar;
            let key = $curve::ecdsa::SigningKey::from_slice(&scalar).unwrap();
            let point = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
            let prove = move |hash: ProofHash, input: &[u8]| {
                let hash = widened(&hash.of(input), scalar.len());
                let signature: $curve::ecdsa::Signature = key.sign_prehash(&hash).unwrap();
                signature.to_der().as_bytes().to_vec()
            };
            (Box::new(prove) as Prove, point)
        }};
    }

    fn rsa_key(bits: u16) -> (Prove, Vec<u8>) {
        let key = KeySource::bank(2).signing_key(bits);
        let public_key = key.public_key().to_vec();
        let prove = move |hash: ProofHash, input: &[u8]| {
            key.sign_hash(Pkcs1v15Sign::new_unprefixed(), &hash.of(input))
        };
        (Box::new(prove), public_key)
    }

    #[test]
    fn proofs_verify_with_their_key_hash_and_input_only() {
        let mut scalar = [7; 66];
        scalar[0] = 0;
        let ec = [ec_key!(p256, [7; 32]), ec_key!(p384, [7; 48]), ec_key!(p521, scalar)];
        for (prove, public_key) in ec.into_iter().chain([1024, 2048].map(rsa_key)) {
            let public_key = &public_key;
            for (hash, other) in
                [(ProofHash::Sha1, ProofHash::Sha512), (ProofHash::Sha512, ProofHash::Sha1)]
            {
                let proof = prove(hash, b"input");
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
