//! Whether a CA has signed a certificate.

use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::Certificate;
use crate::wire::ber::{Ber, tag};

/// Content of the object identifiers of RSASSA-PKCS1-v1_5 end with the number of the digest.
const PKCS1: [u8; 8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01];

/// Why a certificate proves nothing to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// This one's time has not begun or is over.
    Dates(Certificate),
    /// Nothing that is trusted vouches for it.
    Untrusted,
}

/// Longest way from a certificate to one that is trusted (choice: the root, two CAs between).
const CHAIN_MAX: usize = 4;

impl Certificate {
    /// Judges the certificate as a TLS peer does: it is one of those that are `trusted`, or signed by
    /// one of them, or by one of those that are `offered` with it and so on; all of them valid at
    /// this date, Unix seconds. Names are not looked at.
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
                let is_good = anchors.iter().any(|anchor| anchor.is_valid_at(date_s));
                return if is_good { Ok(()) } else { Err(ChainFault::Dates(first.clone())) };
            }
            match offered.iter().find(is_issuer) {
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
    /// signature that key. RSA with SHA-1 or SHA-2 only; dates and extensions play no part.
    pub fn is_signed_by(&self, issuer: &Certificate) -> bool {
        self.was_issued_by(issuer) && has_signature_of(self.der(), issuer).unwrap_or(false)
    }
}

fn has_signature_of(der: &[u8], issuer: &Certificate) -> Option<bool> {
    let mut parts = Ber::only(der, tag::SEQUENCE, "a certificate").ok()?.inside();
    let signed = parts.next("the signed part").ok()?.whole;
    let algorithm = parts.next("the algorithm").ok()?.inside().next("its name").ok()?.content;
    let (unused, signature) = parts.next("the signature").ok()?.content.split_first()?;
    let number = algorithm.strip_prefix(&PKCS1)?;
    let (scheme, hash) = match number {
        [5] => (Pkcs1v15Sign::new::<sha1::Sha1>(), sha1::Sha1::digest(signed).to_vec()),
        [11] => (Pkcs1v15Sign::new::<Sha256>(), Sha256::digest(signed).to_vec()),
        [12] => (Pkcs1v15Sign::new::<Sha384>(), Sha384::digest(signed).to_vec()),
        [13] => (Pkcs1v15Sign::new::<Sha512>(), Sha512::digest(signed).to_vec()),
        _ => return None,
    };
    let key = RsaPublicKey::from_pkcs1_der(issuer.public_key()).ok()?;
    Some(*unused == 0 && key.verify(scheme, &hash, signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PhoneId;
    use crate::crypto::{manufactured, manufacturing_certificates};

    #[test]
    fn a_phones_certificate_is_signed_by_its_manufacturer_and_nobody_else() {
        let own = manufactured(PhoneId(7), 8841.into());
        assert_eq!(own.certificate.common_name(), "CP-8841-SEP0C75BD000007");
        assert_eq!(own.certificate.public_key(), own.key.public_key());
        let signers: Vec<Certificate> = manufacturing_certificates()
            .filter(|issuer| own.certificate.is_signed_by(issuer))
            .collect();
        assert_eq!(signers.len(), 1);
        assert_eq!(signers[0].common_name(), "Cisco Manufacturing CA SHA2");
        let mut forged = own.certificate.der().to_vec();
        let at = forged.windows(4).position(|window| window == b"SEP0").unwrap();
        forged[at + 14] ^= 1;
        let forged = Certificate::from_der(&forged).unwrap();
        assert!(forged.was_issued_by(&signers[0]) && !forged.is_signed_by(&signers[0]));
    }
}
