use super::list::List;
use crate::base::named;
use crate::crypto::envelope::{self, EnvelopeFault};
use crate::crypto::{KeyKind, SignatureFault, SigningKey, verify_file};
use crate::wire::{DIGEST_SHA1, DIGEST_SHA512, ROLE_SAST, SignedFile};

named! {
    /// What can be said of a file; the words are those of the golden vectors.
    pub enum Verdict {
        /// The wrapped key does not open with the device's key.
        DecryptFailed = "decrypt-failed",
        /// Signature good, digest of the decrypted content wrong.
        InvalidDigest = "invalid-digest",
        /// The signature does not fit.
        InvalidSignature = "invalid-signature",
        /// The file cannot be read.
        Malformed = "malformed",
        /// No SAST record of the list is its signer.
        NoSast = "no-sast",
        /// Well-formed, a value is not usable.
        Unsupported = "unsupported",
        /// The digest id is neither 1 nor 3.
        UnsupportedHash = "unsupported-hash",
        /// Signed by the named key.
        Valid = "valid",
        /// Consistent in itself, but signed by a key that the asked lists do not hold.
        ValidButUntrusted = "valid-but-untrusted",
    }
}

/// Checks a list with its own SAST record; also gives the index of that record.
pub fn check_list(list: &List<'_>) -> (Verdict, Option<usize>) {
    let header = &list.file.header;
    if !is_known_digest(header.digest) {
        return (Verdict::UnsupportedHash, None);
    }
    match list.find_signer(header, &[ROLE_SAST]) {
        Some((index, record)) => (check_file(&list.file, record.public_key), Some(index)),
        None => (Verdict::NoSast, None),
    }
}

/// Checks a file with a public key as in record tag 7.
pub fn check_file(file: &SignedFile<'_>, public_key: &[u8]) -> Verdict {
    if !is_known_digest(file.header.digest) {
        return Verdict::UnsupportedHash;
    }
    // Headers define RSA only, and no library here verifies below 1024 bits.
    if !matches!(KeyKind::of(public_key), Some(KeyKind::Rsa(1024..))) {
        return Verdict::Unsupported;
    }
    match verify_file(file, public_key, &mut Vec::new()) {
        Ok(()) => Verdict::Valid,
        Err(SignatureFault::Wrong) => Verdict::InvalidSignature,
        Err(SignatureFault::Unsupported) => Verdict::Unsupported,
    }
}

/// Opens the envelope with the key of the device, without judging the signature. Gives the content
/// of a valid one.
pub fn open_envelope(file: &SignedFile<'_>, device: &SigningKey) -> (Verdict, Option<Vec<u8>>) {
    match envelope::open(file, device) {
        Ok(content) => (Verdict::Valid, Some(content)),
        Err(EnvelopeFault::Malformed(_)) => (Verdict::Malformed, None),
        Err(EnvelopeFault::Key) => (Verdict::DecryptFailed, None),
        Err(EnvelopeFault::Digest) => (Verdict::InvalidDigest, None),
        Err(EnvelopeFault::UnsupportedDigest) => (Verdict::UnsupportedHash, None),
    }
}

const fn is_known_digest(digest: u8) -> bool {
    matches!(digest, DIGEST_SHA1 | DIGEST_SHA512)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{HeaderOrder, HeaderSpec};

    fn file(digest: u8) -> Vec<u8> {
        let spec = HeaderSpec {
            order: HeaderOrder::Cucm,
            version: (1, 0),
            signer_version: None,
            signer_name: "CN=s",
            serial: &[7],
            issuer: "CN=s",
            digest,
            signature_length: 256,
            file_name: "x.sgn",
            timestamp: 0,
        };
        spec.encode().with_signature(&[0; 256])
    }

    #[test]
    fn unusable_digests_and_keys_are_no_wrong_signatures() {
        let key = crate::crypto::KeySource::bank(1).signing_key(2048);
        let verdict = |digest, public_key: &[u8]| {
            check_file(&SignedFile::parse(&file(digest)).unwrap(), public_key)
        };
        for digest in [0, 2, 4] {
            assert_eq!(verdict(digest, key.public_key()), Verdict::UnsupportedHash);
        }
        for digest in [1, 3] {
            assert_eq!(verdict(digest, key.public_key()), Verdict::InvalidSignature);
            let mut point = vec![1; 65];
            point[0] = 4;
            assert_eq!(verdict(digest, &point), Verdict::Unsupported, "EC never signs files");
            assert_eq!(verdict(digest, &[]), Verdict::Unsupported);
        }
    }

    #[test]
    fn a_list_without_records_has_no_sast() {
        let bytes = file(1);
        assert_eq!(check_list(&List::parse(&bytes).unwrap()), (Verdict::NoSast, None));
        let bytes = file(2);
        let verdict = check_list(&List::parse(&bytes).unwrap());
        assert_eq!(verdict, (Verdict::UnsupportedHash, None), "judged before the signer");
    }

    #[test]
    fn a_file_without_an_envelope_is_malformed_as_encrypted_file() {
        let bytes = file(1);
        let device = crate::crypto::KeySource::bank(1).signing_key(2048);
        let opened = open_envelope(&SignedFile::parse(&bytes).unwrap(), &device);
        assert_eq!(opened, (Verdict::Malformed, None));
    }
}
