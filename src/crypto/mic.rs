use std::sync::{LazyLock, OnceLock};

use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::device_certificate::{DeviceSpec, issue_to_device};
use super::keys::KeySource;
use super::{Certificate, DeviceKey, Identity, KeyStore, device, device_of};
use crate::base::{DeviceName, Model, PhoneId};

/// Stand-ins of the certificates that the manufacturer installs, with keys of the bank.
const PEM: &str = include_str!("manufacturing.pem");
/// The key of the first of them in the bank; the others follow.
const FIRST_IN_BANK: usize = 24;

/// Who signs MICs (CAPF-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Manufacturer {
    /// CAP-RTP-001: the oldest phones.
    CapRtp001,
    /// CAP-RTP-002.
    CapRtp002,
    /// Cisco Manufacturing CA.
    ManufacturingCa,
    /// Cisco Manufacturing CA SHA2: phones of today.
    ManufacturingCaSha2,
}

/// The certificates of the manufacturer and his stand-in keys, in the order of the file.
///
/// # Panics
/// Never: they are part of the program.
pub fn manufacturers() -> &'static [Identity] {
    static ALL: OnceLock<Vec<Identity>> = OnceLock::new();
    const END: &str = "-----END CERTIFICATE-----";
    ALL.get_or_init(|| {
        let blocks = PEM.split_inclusive(END).filter(|block| block.ends_with(END));
        let identity = |(at, block): (usize, &str)| {
            let store = KeyStore::from_pem(block);
            let certificate = store.and_then(|store| store.first_certificate().cloned());
            let mut source = KeySource::bank(0);
            if let KeySource::Bank { next, .. } = &mut source {
                *next = FIRST_IN_BANK + at;
            }
            let certificate = certificate.expect("they are certificates");
            Identity { certificate, key: source.signing_key(2048).into() }
        };
        blocks.enumerate().map(identity).collect()
    })
}

impl Manufacturer {
    fn identity(self) -> &'static Identity {
        let name = match self {
            Manufacturer::CapRtp001 => "CAP-RTP-001",
            Manufacturer::CapRtp002 => "CAP-RTP-002",
            Manufacturer::ManufacturingCa => "Cisco Manufacturing CA",
            Manufacturer::ManufacturingCaSha2 => "Cisco Manufacturing CA SHA2",
        };
        let named = |one: &&Identity| one.certificate.common_name() == name;
        manufacturers().iter().find(named).expect("he is in the file")
    }
}

/// Start of validity of MICs, Unix seconds.
const MADE_S: u64 = 1_600_000_000;
/// Twenty years.
const VALID_S: u64 = 20 * 365 * 86_400;

/// MICs that are kept (choice): 50 MB. Plans that are compared play the same phones again and again.
const KEPT_MAX: usize = 20_000;

/// The MIC of a phone and its key, which phones share (see [`device`]); 0.6 ms of a core for one that
/// is not kept.
///
/// # Panics
/// Never: names of phones can stand in certificates.
pub fn mic(phone: PhoneId, model: Model, by: Manufacturer) -> (Certificate, DeviceKey) {
    static KEPT: LazyLock<DashMap<(PhoneId, Model, Manufacturer), Certificate, RandomState>> =
        LazyLock::new(DashMap::default);
    let key = DeviceKey::Rsa(device(device_of(phone)).key.clone());
    if let Some(kept) = KEPT.get(&(phone, model, by)) {
        return (kept.clone(), key);
    }
    let certificate = certify(phone, model, by, &key);
    if KEPT.len() < KEPT_MAX {
        KEPT.insert((phone, model, by), certificate.clone());
    }
    (certificate, key)
}

fn certify(phone: PhoneId, model: Model, by: Manufacturer, key: &DeviceKey) -> Certificate {
    let name = DeviceName::of_phone(phone).to_string();
    let mut serial = [0; 16];
    serial[0] = 0x40;
    serial[12..].copy_from_slice(&phone.0.to_be_bytes());
    let spec = DeviceSpec {
        common_name: &format!("CP-{}-{name}", model.short()),
        device_name: &name,
        public_key_info: &key.public_key_info(),
        serial,
        not_before_s: MADE_S,
        valid_s: VALID_S,
    };
    let certificate = issue_to_device(&spec, by.identity());
    certificate.expect("names of phones can stand in certificates")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::date_text;

    #[test]
    fn the_seven_have_their_names_keys_and_last_until_2029() {
        let all = manufacturers();
        let names: Vec<&str> = all.iter().map(|one| one.certificate.common_name()).collect();
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
        for Identity { certificate, key } in all {
            let end = date_text(certificate.validity_s().1.unwrap());
            assert!(end.contains("2029"), "{end}");
            assert!(all.iter().any(|issuer| certificate.is_signed_by(&issuer.certificate)));
            assert_eq!(certificate.public_key(), key.public_key());
        }
    }

    #[test]
    fn a_mic_is_of_its_phone_and_signed_by_the_manufacturer() {
        let by = Manufacturer::ManufacturingCaSha2;
        let (certificate, key) = mic(PhoneId(7), 8861.into(), by);
        assert!(certificate.names_device("SEP0C75BD000007"));
        assert_eq!(certificate.public_key(), key.public_key());
        assert!(certificate.is_signed_by(&by.identity().certificate));
        let other = Manufacturer::CapRtp001.identity();
        assert!(!certificate.is_signed_by(&other.certificate));
    }
}
