use std::fmt::Write as _;
use std::str::FromStr;

use rsa::pkcs1v15;
use x509_cert::Certificate as X509;
use x509_cert::TbsCertificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::der::Decode;
use x509_cert::der::asn1::Ia5String;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name as X509Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time as X509Time, Validity};

use super::certificate::{Certificate, Identity};
use super::device_key::DeviceKey;
use super::keys::CertificateSigner;
use super::verify::KeyKind;

/// A certificate of a device and its key.
#[derive(Clone, Debug)]
pub struct DeviceIdentity {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: DeviceKey,
}

/// What goes into the certificate of a device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceSpec<'a> {
    /// Common name, such as `CP-8861-SEP001122334455`: letters, digits, `-`, `_` and `.`.
    pub common_name: &'a str,
    /// Device name, for the subject's alternative name.
    pub device_name: &'a str,
    /// Its public key as `SubjectPublicKeyInfo` (DER).
    pub public_key_info: &'a [u8],
    /// Serial number; its first bit is not set.
    pub serial: [u8; 16],
    /// Start of validity, Unix seconds.
    pub not_before_s: u64,
    /// Seconds of validity.
    pub valid_s: u64,
}

/// Why a certificate of a device cannot be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceCertificateError {
    /// The public key is none, or of a kind that nobody uses.
    #[error("the public key cannot be read")]
    Key,
    /// The name cannot stand in a certificate.
    #[error("the name of the device cannot stand in a certificate")]
    Name,
}

/// Issues the certificate of a device (`spec/capf.md`, LSC content): SHA-256, one RSA signature of
/// the issuer, 0.6 ms of a core with RSA-2048.
///
/// # Errors
/// If key or name cannot stand in a certificate.
///
/// # Panics
/// If the dates are after the year 9999.
pub fn issue_to_device(
    spec: &DeviceSpec<'_>,
    issuer: &Identity,
) -> Result<Certificate, DeviceCertificateError> {
    let public = SubjectPublicKeyInfoOwned::from_der(spec.public_key_info)
        .map_err(|_| DeviceCertificateError::Key)?;
    let kind = public.subject_public_key.as_bytes().and_then(KeyKind::of);
    let is_rsa = match kind.ok_or(DeviceCertificateError::Key)? {
        KeyKind::Rsa(512..=4096) => true,
        KeyKind::Rsa(_) => return Err(DeviceCertificateError::Key),
        KeyKind::Ec(_) => false,
    };
    let profile = DeviceProfile {
        issuer: subject_of(&issuer.certificate),
        subject: subject(spec, &issuer.certificate)?,
        device_name: Ia5String::new(spec.device_name).map_err(|_| DeviceCertificateError::Name)?,
        is_rsa,
    };
    let instant = |seconds| {
        let duration = std::time::Duration::from_secs(seconds);
        X509Time::try_from(std::time::UNIX_EPOCH + duration).expect("the date is before 9999")
    };
    let validity =
        Validity::new(instant(spec.not_before_s), instant(spec.not_before_s + spec.valid_s));
    let serial = SerialNumber::new(&spec.serial).expect("a serial of 16 bytes is allowed");
    let builder = CertificateBuilder::new(profile, serial, validity, public)
        .map_err(|_| DeviceCertificateError::Key)?;
    let signer = CertificateSigner(&issuer.key);
    let built: X509 =
        builder.build::<_, pkcs1v15::Signature>(&signer).expect("the profile is well-formed");
    Ok(Certificate::fresh(&built))
}

fn subject_of(certificate: &Certificate) -> X509Name {
    let known = X509::from_der(certificate.der()).expect("it was read before");
    known.tbs_certificate().subject().clone()
}

/// The name of the device, then what the issuer says of its organisation.
fn subject(
    spec: &DeviceSpec<'_>,
    issuer: &Certificate,
) -> Result<X509Name, DeviceCertificateError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let name = spec.common_name;
    // RFC 5280 bounds a common name to 64 characters.
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        return Err(DeviceCertificateError::Name);
    }
    let mut text = format!("CN={name}");
    // A name with escapes is left out (choice).
    let organisation = Some(issuer.subject_in_order()).filter(|name| !name.contains('\\'));
    let parts = organisation.unwrap_or_default().split(',');
    for part in parts.filter(|part| !part.is_empty() && !part.starts_with("CN=")) {
        let _ = write!(text, ",{part}");
    }
    X509Name::from_str(&text).map_err(|_| DeviceCertificateError::Name)
}

/// The extensions of an LSC.
struct DeviceProfile {
    issuer: X509Name,
    subject: X509Name,
    device_name: Ia5String,
    is_rsa: bool,
}

impl BuilderProfile for DeviceProfile {
    fn get_issuer(&self, _: &X509Name) -> X509Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> X509Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _spk: SubjectPublicKeyInfoRef<'_>,
        _issuer_spk: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
        const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
        const IPSEC_END: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.5");
        let subject = tbs.subject();
        // Nobody encrypts for an EC key (RFC 8813).
        let uses = if self.is_rsa {
            KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment
        } else {
            KeyUsages::DigitalSignature.into()
        };
        let name = GeneralName::UniformResourceIdentifier(self.device_name.clone());
        Ok(vec![
            BasicConstraints { ca: false, path_len_constraint: None }.to_extension(subject, &[])?,
            KeyUsage(uses).to_extension(subject, &[])?,
            ExtendedKeyUsage(vec![SERVER_AUTH, CLIENT_AUTH, IPSEC_END])
                .to_extension(subject, &[])?,
            SubjectAltName(vec![name]).to_extension(subject, &[])?,
        ])
    }
}

impl Certificate {
    /// Whether its subject names this device: as `SEP001122334455`, or behind the model as in
    /// `CP-8861-SEP001122334455`.
    pub fn names_device(&self, device_name: &str) -> bool {
        let name = self.common_name();
        let before = name.strip_suffix(device_name);
        before.is_some_and(|before| before.is_empty() || before.ends_with('-'))
    }

    /// Whether its time has begun and is not over at this date, Unix seconds; where a date cannot
    /// be read, it counts as fulfilled.
    pub fn is_valid_at(&self, date_s: u64) -> bool {
        let date = i64::try_from(date_s).unwrap_or(i64::MAX);
        let (from, to) = self.validity_s();
        from.is_none_or(|from| from <= date) && to.is_none_or(|to| date <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CertificateSpec, KeySource, KeySpec, pooled_key};

    const DAY_S: u64 = 86_400;

    fn issuer(name: &str) -> Identity {
        let spec =
            CertificateSpec { common_name: name, not_before_s: 1_700_000_000, key_bits: 2048 };
        Identity::self_signed(&spec, &mut KeySource::bank(3))
    }

    fn issued(spec: KeySpec, issuer: &Identity) -> Certificate {
        let public_key_info = pooled_key(spec, 1).unwrap().public_key_info();
        let spec = DeviceSpec {
            common_name: "CP-8861-SEP001122334455",
            device_name: "SEP001122334455",
            public_key_info: &public_key_info,
            serial: [0x41; 16],
            not_before_s: 1_750_000_000,
            valid_s: 1_825 * DAY_S,
        };
        issue_to_device(&spec, issuer).unwrap()
    }

    #[test]
    fn an_lsc_has_the_names_dates_and_key_of_its_device_and_its_issuers_signature() {
        let capf = issuer("CAPF-01020304");
        for spec in [KeySpec::Rsa(2048), KeySpec::Ec(256)] {
            let lsc = issued(spec, &capf);
            assert_eq!(lsc.common_name(), "CP-8861-SEP001122334455");
            assert_eq!(lsc.issuer(), capf.certificate.subject());
            assert_eq!(lsc.public_key(), pooled_key(spec, 1).unwrap().public_key());
            assert_eq!(lsc.validity_s().1, Some(1_750_000_000 + 1_825 * 86_400));
            assert!(lsc.oddities().is_empty(), "{:?}", lsc.oddities());
            assert!(lsc.is_signed_by(&capf.certificate));
            let names = ["SEP001122334455", "CP-8861-SEP001122334455", "SEP001122334456", "5"];
            assert_eq!(names.map(|name| lsc.names_device(name)), [true, true, false, false]);
            let dates = [1_749_999_999, 1_750_000_000, 1_907_680_000, 1_907_680_001];
            assert_eq!(dates.map(|date| lsc.is_valid_at(date)), [false, true, true, false]);
        }
    }

    #[test]
    fn a_changed_byte_and_another_issuer_of_the_same_name_are_found_out() {
        let capf = issuer("CAPF-01020304");
        let spec =
            CertificateSpec { common_name: "CAPF-01020304", not_before_s: 1, key_bits: 2048 };
        let mut source = KeySource::bank(3);
        source.signing_key(2048);
        let other = Identity::self_signed(&spec, &mut source);
        let lsc = issued(KeySpec::Ec(256), &capf);
        assert!(!lsc.is_signed_by(&other.certificate));
        assert!(!lsc.is_signed_by(&issuer("CAPF-01020305").certificate));
        let found = lsc.der().len() - 300;
        let mut der = lsc.der().to_vec();
        der[found] ^= 1;
        let is_good =
            Certificate::from_der(&der).is_ok_and(|lsc| lsc.is_signed_by(&capf.certificate));
        assert!(!is_good);
    }

    #[test]
    fn keys_and_names_that_cannot_stand_in_a_certificate_are_refused() {
        let capf = issuer("CAPF-01020304");
        let info = pooled_key(KeySpec::Ec(256), 0).unwrap().public_key_info();
        let issue = |common_name: &str, public_key_info: &[u8]| {
            let spec = DeviceSpec {
                common_name,
                device_name: "SEP1",
                public_key_info,
                serial: [1; 16],
                not_before_s: 0,
                valid_s: 1,
            };
            issue_to_device(&spec, &capf).err()
        };
        assert_eq!(issue("SEP1", &info), None);
        for name in ["", "a,CN=b", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(issue(name, &info), Some(DeviceCertificateError::Name), "{name}");
        }
        for key in [&info[..20], b"", &info[1..], &[info.as_slice(), b"x"].concat()] {
            assert_eq!(issue("SEP1", key), Some(DeviceCertificateError::Key));
        }
    }
}
