use std::sync::OnceLock;

use super::{CertificateSpec, Identity, KeySource, md5};
use crate::base::PhoneId;

/// Certificates of phones and their keys: throwaway keys of the bank, published on purpose, in live
/// runs, too. They hide nothing; what they decide is whether a phone can read its configuration.
/// Phones share them (choice: a key of its own would take 40 ms of a core for each).
pub const DEVICES: usize = 8;

/// Where they begin in the bank: behind the keys that clusters take first.
const FIRST_IN_BANK: usize = 24;

/// Start of validity of their certificates, Unix seconds.
const MADE_S: u64 = 1_600_000_000;

/// The certificate and key with this number below [`DEVICES`].
pub fn device(number: usize) -> &'static Identity {
    static ALL: OnceLock<Vec<Identity>> = OnceLock::new();
    &ALL.get_or_init(|| (0..DEVICES).map(made).collect())[number]
}

fn made(number: usize) -> Identity {
    let mut source = KeySource::bank(number as u64);
    if let KeySource::Bank { next, .. } = &mut source {
        *next = FIRST_IN_BANK + number;
    }
    let common_name = &format!("Device {number}");
    let spec = CertificateSpec { common_name, not_before_s: MADE_S, key_bits: 2048 };
    Identity::self_signed(&spec, &mut source)
}

/// The number of the certificate that a phone holds.
pub const fn device_of(PhoneId(phone): PhoneId) -> usize {
    phone as usize % DEVICES
}

/// The hash by which configurations name a certificate (`certHash`): MD5, hexadecimal.
pub fn certificate_hash(device: &Identity) -> String {
    hash_text(device.certificate.der())
}

/// The MD5 of a certificate or key as a stub has it: lower-case hexadecimal.
pub fn hash_text(der: &[u8]) -> String {
    let value = u128::from_be_bytes(md5(der));
    format!("{value:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_those_of_every_run_and_differ() {
        let hashes: std::collections::BTreeSet<_> =
            (0..DEVICES).map(|number| certificate_hash(device(number))).collect();
        assert_eq!(hashes.len(), DEVICES);
        for number in 0..DEVICES {
            let own = device(number);
            assert_eq!(own.certificate.public_key(), own.key.public_key());
            assert_eq!(own.certificate.der(), made(number).certificate.der());
        }
    }
}
