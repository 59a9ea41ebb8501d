use std::sync::{LazyLock, OnceLock};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use rsa::pkcs1v15;
use x509_cert::builder::Builder;

use super::certificate::{fresh_serial, rsa_uses, service_builder};
use super::keys::CertificateSigner;
use super::tls_end::TlsEnd;
use super::{
    Certificate, CertificateSpec, Identity, KeySource, KeyStore, SigningKey, device, device_of,
};
use crate::base::{DeviceName, Model, PhoneId};

/// Stand-ins of the certificates that the manufacturer installs, with keys of ours.
const PEM: &str = include_str!("manufacturing.pem");

/// The certificates that every cluster trusts from its installation on, because phones come with
/// certificates that they have signed (CERT-07, CERT-08).
///
/// # Panics
/// Never: they are part of the program.
pub fn manufacturing_certificates() -> impl Iterator<Item = Certificate> {
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = PEM.split_inclusive(END).filter(|block| block.ends_with(END));
    blocks.map(|block| {
        let store = KeyStore::from_pem(block);
        let certificate = store.and_then(|store| store.first_certificate().cloned());
        certificate.expect("they are certificates")
    })
}

/// The key of the last of them among the published test keys.
const KEY: usize = 30;
/// From 2022 until 2029, as the CA's own ends.
const MADE_S: u64 = 1_650_000_000;
const VALID_S: u64 = 7 * 365 * 86_400;

/// The CA that signs the certificates of phones: Cisco Manufacturing CA SHA2, or what stands for it
/// here. Its key is published on purpose.
fn manufacturer() -> &'static Identity {
    static ALL: OnceLock<Identity> = OnceLock::new();
    ALL.get_or_init(|| {
        let certificate = manufacturing_certificates().last().expect("there are seven");
        let mut source = KeySource::bank(0);
        if let KeySource::Bank { next, .. } = &mut source {
            *next = KEY;
        }
        Identity { certificate, key: source.signing_key(2048).into() }
    })
}

/// Certificates of phones that are kept (choice): 50 MB. Plans that are compared play the same phones
/// again and again.
const KEPT_MAX: usize = 20_000;

/// The certificate that a phone comes with (MIC), whose name is that of its model and device, and
/// its key, which phones share. About a millisecond of a core for one that is not kept.
///
/// # Panics
/// Never: a model and a device have a short name.
pub fn manufactured(phone: PhoneId, model: Model) -> Identity {
    static KEPT: LazyLock<DashMap<(PhoneId, Model), Certificate, RandomState>> =
        LazyLock::new(DashMap::default);
    let key = device(device_of(phone)).key.clone();
    if let Some(kept) = KEPT.get(&(phone, model)) {
        return Identity { certificate: kept.clone(), key };
    }
    let certificate = certify(phone, model, &key);
    if KEPT.len() < KEPT_MAX {
        KEPT.insert((phone, model), certificate.clone());
    }
    Identity { certificate, key }
}

fn certify(phone: PhoneId, model: Model, key: &SigningKey) -> Certificate {
    let common_name = &format!("CP-{}-{}", model.short(), DeviceName::of_phone(phone));
    let spec = CertificateSpec { common_name, not_before_s: MADE_S, key_bits: 2048 };
    let issuer = manufacturer();
    let mut source = KeySource::bank(u64::from(phone.0));
    let serial = fresh_serial(|bytes| source.fill(bytes));
    let public = key.public_key_info();
    let by = Some(&issuer.certificate);
    let builder = service_builder(&spec, VALID_S, by, public, &serial, rsa_uses(), &TlsEnd::BOTH);
    let signer = CertificateSigner(&issuer.key);
    let built = builder.build::<_, pkcs1v15::Signature>(&signer).expect("an RSA key signs");
    Certificate::fresh(&built)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::date_text;

    #[test]
    fn the_seven_have_their_names_and_last_until_2029() {
        let all: Vec<Certificate> = manufacturing_certificates().collect();
        let names: Vec<&str> = all.iter().map(Certificate::common_name).collect();
        let expected = [
            "CAP-RTP-001",
            "CAP-RTP-002",
            "Cisco Root CA 2048",
            "Cisco Root CA M2",
            "ACT2 SUDI CA",
            "Cisco Manufacturing CA",
            "Cisco Manufacturing CA SHA2",
        ];
        assert_eq!(names, expected);
        for certificate in &all {
            let end = date_text(certificate.validity_s().1.unwrap());
            assert!(end.contains("2029"), "{end}");
            assert!(all.iter().any(|issuer| certificate.was_issued_by(issuer)));
        }
    }
}
