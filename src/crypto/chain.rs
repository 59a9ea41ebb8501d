//! Whether a CA has signed a certificate.

use ring::signature::{
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RsaParameters, UnparsedPublicKey,
};
use rsa::pkcs1::{DecodeRsaPublicKey, RsaPublicKeyRef};
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::der::Decode;

use super::proof::is_ecdsa_of;
use super::{Certificate, KeyKind};
use crate::wire::ber::{Ber, tag};

/// Content of the object identifiers of RSASSA-PKCS1-v1_5 end with the number of the digest.
const PKCS1: [u8; 8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01];
/// Content of the object identifiers of ECDSA end with 1 for SHA-1, or 3 and the number of SHA-2.
const ECDSA: [u8; 6] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04];

/// Why a certificate proves nothing to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// This one's time has not begun or is over.
    Dates(Certificate),
    /// This one has signed, and its extensions do not let it.
    NoCa(Certificate),
    /// Nothing that is trusted vouches for it.
    Untrusted,
}

/// Longest way from a certificate to one that is trusted (choice: the root, two CAs between).
const CHAIN_MAX: usize = 4;

impl Certificate {
    /// Judges the certificate as a TLS peer does: it is one of those that are `trusted`, or signed by
    /// one of them, or by one of those that are `offered` with it and so on; all of them valid at
    /// this date, Unix seconds; who signs is let by its extensions. Names are not looked at.
    ///
    /// # Errors
    /// If nothing vouches for it, or not at this date.
    pub fn judge_chain(
        &self,
        offered: &[Certificate],
        trusted: &[Certificate],
        date_s: u64,
    ) -> Result<(), ChainFault> {
        let mut current = self;
        for _ in 0..CHAIN_MAX {
            if !current.is_valid_at(date_s) {
                return Err(ChainFault::Dates(current.clone()));
            }
            if trusted.contains(current) {
                return Ok(());
            }
            let is_issuer = |other: &&Certificate| *other != current && current.is_signed_by(other);
            let anchors: Vec<&Certificate> = trusted.iter().filter(is_issuer).collect();
            if let [first, ..] = anchors[..] {
                if !first.is_for_signing() {
                    return Err(ChainFault::NoCa(first.clone()));
                }
                let is_good = anchors.iter().any(|anchor| anchor.is_valid_at(date_s));
                return if is_good { Ok(()) } else { Err(ChainFault::Dates(first.clone())) };
            }
            match offered.iter().find(is_issuer) {
                Some(issuer) if !issuer.is_for_signing() => {
                    return Err(ChainFault::NoCa(issuer.clone()));
                }
                Some(issuer) => current = issuer,
                None => break,
            }
        }
        Err(ChainFault::Untrusted)
    }

    /// The certificates of `known` that have signed this one, the next one first, up to a root.
    pub fn issuers_among<'a>(&self, known: &'a [Certificate]) -> Vec<&'a Certificate> {
        let mut chain: Vec<&Certificate> = Vec::new();
        while chain.len() < CHAIN_MAX {
            let last = chain.last().copied().unwrap_or(self);
            let is_next = |other: &&Certificate| {
                *other != last && !chain.contains(other) && last.is_signed_by(other)
            };
            match known.iter().find(is_next) {
                Some(issuer) => chain.push(issuer),
                None => break,
            }
        }
        chain
    }

    /// Whether the holder of `issuer` has signed this one: its issuer has that name and the
    /// signature that key. Dates and extensions play no part.
    pub fn is_signed_by(&self, issuer: &Certificate) -> bool {
        self.was_issued_by(issuer) && self.has_signature_of(issuer) == Some(true)
    }

    /// Whether the key of `issuer` has made the signature; `None` if that is of a kind that nobody
    /// here reads: other than RSA (PKCS#1 v1.5) or ECDSA, each with SHA-1 or SHA-2.
    pub fn has_signature_of(&self, issuer: &Certificate) -> Option<bool> {
        match Signed::read(self.der()) {
            Some(signed) => signed.is_by(issuer.public_key()),
            None => Some(false),
        }
    }
}

/// The parts of a certificate.
struct Signed<'a> {
    content: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn read(der: &'a [u8]) -> Option<Signed<'a>> {
        let mut parts = Ber::only(der, tag::SEQUENCE, "a certificate").ok()?.inside();
        let content = parts.need(tag::SEQUENCE, "the signed part").ok()?;
        let outer = parts.need(tag::SEQUENCE, "the algorithm").ok()?;
        let mut tbs = content.inside();
        tbs.take_if(tag::CONTEXT_0_OF).ok()?;
        tbs.need(tag::INTEGER, "a serial number").ok()?;
        // What is not signed says what is (RFC 5280, 4.1.1.2).
        if tbs.need(tag::SEQUENCE, "the algorithm").ok()?.whole != outer.whole {
            return None;
        }
        let algorithm = outer.inside().next("its name").ok()?.content;
        let signature = parts.need(tag::BIT_STRING, "the signature").ok()?.content;
        let (unused, signature) = signature.split_first()?;
        let content = content.whole;
        (*unused == 0).then_some(Signed { content, algorithm, signature })
    }

    fn is_by(&self, key: &[u8]) -> Option<bool> {
        if let Some(number) = self.algorithm.strip_prefix(&PKCS1) {
            if let Some(ring) = with_ring(number, key) {
                return Some(ring.verify(self.content, self.signature).is_ok());
            }
            let (scheme, hash) = match number {
                [5] => (Pkcs1v15Sign::new::<sha1::Sha1>(), self.hash::<sha1::Sha1>()),
                [11] => (Pkcs1v15Sign::new::<Sha256>(), self.hash::<Sha256>()),
                [12] => (Pkcs1v15Sign::new::<Sha384>(), self.hash::<Sha384>()),
                [13] => (Pkcs1v15Sign::new::<Sha512>(), self.hash::<Sha512>()),
                _ => return None,
            };
            let key = RsaPublicKey::from_pkcs1_der(key);
            return Some(key.is_ok_and(|key| key.verify(scheme, &hash, self.signature).is_ok()));
        }
        let hash = match self.algorithm.strip_prefix(&ECDSA)? {
            [1] => self.hash::<sha1::Sha1>(),
            [3, 2] => self.hash::<Sha256>(),
            [3, 3] => self.hash::<Sha384>(),
            [3, 4] => self.hash::<Sha512>(),
            _ => return None,
        };
        Some(match KeyKind::of(key) {
            Some(KeyKind::Ec(bits)) => is_ecdsa_of(key, bits, &hash, self.signature),
            _ => false,
        })
    }

    fn hash<D: Digest>(&self) -> Vec<u8> {
        D::digest(self.content).to_vec()
    }
}

/// A key of a size that ring takes, for the hash with this number of PKCS #1 (RFC 4055): it is ten
/// times as fast as the library that takes every size.
fn with_ring<'a>(number: &[u8], key: &'a [u8]) -> Option<UnparsedPublicKey<&'a [u8]>> {
    let known = RsaPublicKeyRef::from_der(key).ok()?;
    let (modulus, exponent) = (known.modulus.as_bytes(), known.public_exponent.as_bytes());
    let parameters: &RsaParameters = match number {
        [5] => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        [11] => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        [13] => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        _ => return None,
    };
    let fits = (128..=1024).contains(&modulus.len())
        && modulus[0] >= 0x80
        && (1..=4).contains(&exponent.len())
        && exponent != [1];
    fits.then(|| UnparsedPublicKey::new(parameters, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PhoneId;
    use crate::crypto::{DeviceKey, KeyStore, Manufacturer, manufacturers, mic};

    fn of_a_phone() -> (Certificate, DeviceKey) {
        mic(PhoneId(7), 8841.into(), Manufacturer::ManufacturingCaSha2)
    }

    #[test]
    fn a_phones_certificate_is_signed_by_its_manufacturer_and_nobody_else() {
        let (own, key) = of_a_phone();
        assert_eq!(own.common_name(), "CP-8841-SEP0C75BD000007");
        assert_eq!(own.public_key(), key.public_key());
        let signers: Vec<&Certificate> = manufacturers()
            .iter()
            .map(|maker| &maker.certificate)
            .filter(|issuer| own.is_signed_by(issuer))
            .collect();
        assert_eq!(signers.len(), 1);
        assert_eq!(signers[0].common_name(), "Cisco Manufacturing CA SHA2");
        let mut forged = own.der().to_vec();
        let at = forged.windows(4).position(|window| window == b"SEP0").unwrap();
        forged[at + 14] ^= 1;
        let forged = Certificate::from_der(&forged).unwrap();
        assert!(forged.was_issued_by(signers[0]) && !forged.is_signed_by(signers[0]));
    }

    /// What OpenSSL 3 made: P-256 with SHA-256, P-384 with SHA-512, Ed25519; each has signed itself.
    const OTHERS: [&str; 3] = [P256, P384, ED25519];
    const P256: &str = "\
-----BEGIN CERTIFICATE-----
MIIBfjCCASWgAwIBAgIUNyOObqCGcst2aA4ZcZlyfy1yesswCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKT2ZmbGluZSBDQTAeFw0yNjExMjkxMDA2NDRaFw0zNjExMjYx
MDA2NDRaMBUxEzARBgNVBAMMCk9mZmxpbmUgQ0EwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAShLOaauJmWbN0fqqfnyw9kxuVa975p6V+r8b6ksyvXZxhuLKLbhRxh
knOgRwyLGKHeZ6+hgUvoX1Xhkwlp83L+o1MwUTAdBgNVHQ4EFgQUl94Uo/xPLaBw
kJJXL2O/xk5o9icwHwYDVR0jBBgwFoAUl94Uo/xPLaBwkJJXL2O/xk5o9icwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAJQEjarY6ZxkpoqnmDZ1oK
l8Sg0R/yEbILQ9PKZst7sQIgFmyVPLlghvx1fyYW1yYHtJ7EWJLUtvpb65E7qZpm
wno=
-----END CERTIFICATE-----";
    const P384: &str = "\
-----BEGIN CERTIFICATE-----
MIIBuzCCAUKgAwIBAgIURdLiflVTchXVfhXgafYMH1g9x6swCgYIKoZIzj0EAwQw
FTETMBEGA1UEAwwKT2ZmbGluZSBDQTAeFw0yNjExMjkxMDA2NDRaFw0zNjExMjYx
MDA2NDRaMBUxEzARBgNVBAMMCk9mZmxpbmUgQ0EwdjAQBgcqhkjOPQIBBgUrgQQA
IgNiAAQxkiaLp0f+DQ2X4115vYBxbT7nlULBNfod/nW+yB5FNxsHtXiGs32+cYHy
4gx5p5H9ZSo58ZQ5gtZnHiXcB/YYtXOAD5xeQB4te9HfR1bJoFjdsINfcpW7uV8Q
4QTbUGWjUzBRMB0GA1UdDgQWBBQ1fONryBR6NXdRRVhulvL1iDHPxjAfBgNVHSME
GDAWgBQ1fONryBR6NXdRRVhulvL1iDHPxjAPBgNVHRMBAf8EBTADAQH/MAoGCCqG
SM49BAMEA2cAMGQCMA0ZsXBb7UXKimwV7m+WTuJ29LvtGx3ADV/G2cZW03h+ZmQT
xDxWnRbgisesNK9XVwIwDL08fOvXgB/qvhGty+tmZH07XgiarNLl58A7Gd9hxyX3
6ul4LxwA1bv1vr4xS9Bj
-----END CERTIFICATE-----";
    const ED25519: &str = "\
-----BEGIN CERTIFICATE-----
MIIBPjCB8aADAgECAhRR7FifdU9RBvRsoDL560xITMV/fzAFBgMrZXAwFTETMBEG
A1UEAwwKT2ZmbGluZSBDQTAeFw0yNjExMjkxMDA2NDRaFw0zNjExMjYxMDA2NDRa
MBUxEzARBgNVBAMMCk9mZmxpbmUgQ0EwKjAFBgMrZXADIQAy6ZT8pdqLuaSLR56k
kTwkEBeqlzzpQ0iO8O8kqyJb0qNTMFEwHQYDVR0OBBYEFO57+UpUQttcBSiAg1F8
KGppdZtrMB8GA1UdIwQYMBaAFO57+UpUQttcBSiAg1F8KGppdZtrMA8GA1UdEwEB
/wQFMAMBAf8wBQYDK2VwA0EAYECSDSZfdlmQ0B1/Rrj3zOdnSBN7Beha2IFB+yUQ
4aAnGjiMyEvTVHjV84uBHXL5W8bWaidyimYlnfHlb0LxAQ==
-----END CERTIFICATE-----";

    #[test]
    fn signatures_on_curves_are_judged_and_of_other_kinds_nothing_is_said() {
        let [p256, p384, ed25519] = OTHERS
            .map(|text| KeyStore::from_pem(text).unwrap().first_certificate().unwrap().clone());
        assert!(p256.is_signed_by(&p256) && p384.is_signed_by(&p384));
        assert!(p256.was_issued_by(&p384) && !p256.is_signed_by(&p384));
        assert_eq!(p384.has_signature_of(&p256), Some(false));
        assert_eq!(ed25519.has_signature_of(&ed25519), None);
        let mut forged = p256.der().to_vec();
        let at = forged.windows(4).position(|window| window == b"2611").unwrap();
        forged[at] ^= 1;
        let forged = Certificate::from_der(&forged).unwrap();
        assert_eq!(forged.has_signature_of(&p256), Some(false));
        assert_eq!(p256.has_signature_of(&of_a_phone().0), Some(false), "an RSA key");
    }
}
