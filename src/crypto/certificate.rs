use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rsa::pkcs1v15;
use sha2::Sha256;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::der::asn1::{Any, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Decode, DecodePem, Encode, EncodePem, Tag, Tagged};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::{Name, RelativeDistinguishedName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time as X509Time, Validity};
use x509_cert::{Certificate as X509, TbsCertificate};

use super::keys::{KeySource, SigningKey};
use super::{sha1, sha256};

/// An X.509 certificate with the fields that trust lists and TVS use, cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(Arc<Fields>);

#[derive(PartialEq, Eq)]
struct Fields {
    der: Vec<u8>,
    subject: String,
    issuer: String,
    /// Subject and issuer in the order of the certificate, joined by `,`.
    subject_in_order: String,
    issuer_in_order: String,
    serial: Vec<u8>,
    public_key: Vec<u8>,
    signature: Vec<u8>,
    sha1: [u8; 20],
    sha256: [u8; 32],
    not_before_s: u64,
    not_after_s: u64,
}

/// Why bytes are no usable certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate: {0}")]
pub struct CertificateError(String);

impl From<x509_cert::der::Error> for CertificateError {
    fn from(error: x509_cert::der::Error) -> CertificateError {
        CertificateError(error.to_string())
    }
}

impl Certificate {
    /// Reads a certificate from DER.
    pub fn from_der(der: &[u8]) -> Result<Certificate, CertificateError> {
        let x509 = X509::from_der(der)?;
        let tbs = x509.tbs_certificate();
        let raw = |bits: &x509_cert::der::asn1::BitString| bits.raw_bytes().to_vec();
        let validity = tbs.validity();
        Ok(Certificate(Arc::new(Fields {
            subject: cucm_name(tbs.subject()),
            issuer: cucm_name(tbs.issuer()),
            subject_in_order: name_in_order(tbs.subject()),
            issuer_in_order: name_in_order(tbs.issuer()),
            serial: magnitude(tbs.serial_number().as_bytes()).to_vec(),
            public_key: raw(&tbs.subject_public_key_info().subject_public_key),
            signature: raw(x509.signature()),
            sha1: sha1(der),
            sha256: sha256(der),
            not_before_s: validity.not_before.to_unix_duration().as_secs(),
            not_after_s: validity.not_after.to_unix_duration().as_secs(),
            der: der.to_vec(),
        })))
    }

    /// Reads the first certificate of a PEM text.
    pub fn from_pem(pem: &str) -> Result<Certificate, CertificateError> {
        let block = super::keys::pem_block(pem, "CERTIFICATE")
            .ok_or_else(|| CertificateError("no certificate in the PEM text".to_owned()))?;
        let x509 = X509::from_pem(block)?;
        Certificate::from_der(&x509.to_der()?)
    }

    /// The certificate as PEM.
    ///
    /// # Panics
    /// Never: the certificate was read before.
    pub fn to_pem(&self) -> String {
        let x509 = X509::from_der(&self.0.der).expect("the certificate was read before");
        x509.to_pem(x509_cert::der::pem::LineEnding::LF).expect("a read certificate can be written")
    }

    /// The certificate as DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// Subject in CUCM's style: `CN=..;OU=..;O=..;L=..;ST=..;C=..`.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Issuer in CUCM's style.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Subject in the order of the certificate, `CN=..,O=..`, with the escapes of RFC 4514: the
    /// style of the writer of files with [`crate::wire::HeaderOrder::IssuerFirst`].
    pub fn subject_in_order(&self) -> &str {
        &self.0.subject_in_order
    }

    /// Issuer in the order of the certificate.
    pub fn issuer_in_order(&self) -> &str {
        &self.0.issuer_in_order
    }

    /// Serial number: minimal big-endian magnitude.
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// Public key as in record tag 7: PKCS#1 `RSAPublicKey`, or an EC point.
    pub fn public_key(&self) -> &[u8] {
        &self.0.public_key
    }

    /// The certificate's own signature, as in record tag 8.
    pub fn signature(&self) -> &[u8] {
        &self.0.signature
    }

    /// SHA-1 of the DER, as in record tag 11.
    pub fn sha1(&self) -> [u8; 20] {
        self.0.sha1
    }

    /// SHA-256 of the DER: the identity of the certificate inside this program.
    pub fn sha256(&self) -> [u8; 32] {
        self.0.sha256
    }

    /// Start and end of its validity, Unix seconds.
    pub fn validity_s(&self) -> (u64, u64) {
        (self.0.not_before_s, self.0.not_after_s)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, serial ", self.0.subject)?;
        self.0.serial.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Drops the sign byte and leading zeros of a DER integer (`spec/trust-list.md` section 5).
fn magnitude(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|&&byte| byte == 0).count();
    &serial[zeros..]
}

/// The name in CUCM's fixed order of attributes, joined by `;` (`spec/trust-list.md` section 4).
fn cucm_name(name: &Name) -> String {
    const ORDER: [&str; 6] = ["CN", "OU", "O", "L", "ST", "C"];
    let mut parts: Vec<(usize, String)> = Vec::new();
    for attribute in name.iter_rdn().flat_map(RelativeDistinguishedName::iter) {
        let key = short_key(&attribute.oid.to_string());
        let rank = ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len());
        parts.push((rank, format!("{key}={}", attribute_text(&attribute.value))));
    }
    parts.sort_by_key(|part| part.0);
    parts.into_iter().map(|part| part.1).collect::<Vec<_>>().join(";")
}

/// Each attribute in the order of the certificate (`spec/trust-list.md` section 4): short keys for
/// nine types, the dotted OID for any other.
fn name_in_order(name: &Name) -> String {
    let attributes = name.iter_rdn().flat_map(RelativeDistinguishedName::iter).map(|attribute| {
        let key = match attribute.oid.to_string().as_str() {
            "2.5.4.9" => "STREET".to_owned(),
            "0.9.2342.19200300.100.1.1" => "UID".to_owned(),
            "0.9.2342.19200300.100.1.25" => "DC".to_owned(),
            oid if oid == "2.5.4.5" => oid.to_owned(),
            oid => short_key(oid),
        };
        format!("{key}={}", escaped(&attribute_text(&attribute.value)))
    });
    attributes.collect::<Vec<_>>().join(",")
}

/// The escapes of RFC 4514 section 2.4.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '\0' => text.push_str("\\00"),
            '\\' | '"' | '+' | ',' | ';' | '<' | '>' => text.extend(['\\', c]),
            '#' if at == 0 => text.push_str("\\#"),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            c => text.push(c),
        }
    }
    text
}

fn short_key(oid: &str) -> String {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        other => other,
    }
    .to_owned()
}

fn attribute_text(value: &Any) -> String {
    match value.tag() {
        Tag::PrintableString => value
            .decode_as::<PrintableStringRef<'_>>()
            .map(|text| text.to_string())
            .unwrap_or_default(),
        Tag::TeletexString => value
            .decode_as::<TeletexStringRef<'_>>()
            .map(|text| text.to_string())
            .unwrap_or_default(),
        Tag::Utf8String => {
            value.decode_as::<Utf8StringRef<'_>>().map(|text| text.to_string()).unwrap_or_default()
        }
        _ => String::from_utf8_lossy(value.value()).into_owned(),
    }
}

/// What goes into a self-signed service certificate.
#[derive(Clone, Copy, Debug)]
pub struct CertificateSpec<'a> {
    /// Common name: the host name of the node, or `CAPF-xxxxxxxx`.
    pub common_name: &'a str,
    /// Start of validity, Unix seconds; it lasts five years (CERT-06).
    pub not_before_s: u64,
    /// RSA key size in bits.
    pub key_bits: u16,
}

const FIVE_YEARS_S: u64 = 5 * 365 * 86_400;

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: Arc<SigningKey>,
}

impl Identity {
    /// Makes a key and a self-signed certificate.
    ///
    /// # Panics
    /// If the common name is longer than X.509 allows.
    pub fn self_signed(spec: &CertificateSpec<'_>, source: &mut KeySource) -> Identity {
        let key = source.signing_key(spec.key_bits);
        let mut serial = [0; 16];
        source.fill(&mut serial);
        // CUCM's serials have 16 bytes and no sign byte; the first one is never zero.
        serial[0] = 0x40 | (serial[0] & 0x3F);
        let der = self_signed_der(spec, &key, &serial);
        let certificate = Certificate::from_der(&der).expect("a fresh certificate can be read");
        Identity { certificate, key: Arc::new(key) }
    }
}

fn self_signed_der(spec: &CertificateSpec<'_>, key: &SigningKey, serial: &[u8]) -> Vec<u8> {
    let subject = format!("CN={},OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US", spec.common_name);
    let profile =
        ServiceProfile { subject: Name::from_str(&subject).expect("host names need no escaping") };
    let signer = pkcs1v15::SigningKey::<Sha256>::new(key.rsa().clone());
    let public = SubjectPublicKeyInfoOwned::from_key(&rsa::RsaPublicKey::from(key.rsa()))
        .expect("an RSA key has a public part");
    let instant = |seconds| {
        let duration = std::time::Duration::from_secs(seconds);
        X509Time::try_from(std::time::UNIX_EPOCH + duration).expect("the date is before 9999")
    };
    let validity =
        Validity::new(instant(spec.not_before_s), instant(spec.not_before_s + FIVE_YEARS_S));
    let serial = SerialNumber::new(serial).expect("a serial of 16 bytes is allowed");
    let builder = CertificateBuilder::new(profile, serial, validity, public)
        .expect("the profile is well-formed");
    let certificate: X509 =
        builder.build::<_, pkcs1v15::Signature>(&signer).expect("an RSA key signs");
    certificate.to_der().expect("a fresh certificate can be written")
}

/// The extensions of a CUCM service certificate; the library's own profiles refuse its names.
struct ServiceProfile {
    subject: Name,
}

impl BuilderProfile for ServiceProfile {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _spk: SubjectPublicKeyInfoRef<'_>,
        _issuer_spk: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        use x509_cert::der::oid::ObjectIdentifier;
        const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
        const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
        let usage = KeyUsage(
            KeyUsages::DigitalSignature
                | KeyUsages::KeyEncipherment
                | KeyUsages::DataEncipherment
                | KeyUsages::KeyCertSign,
        );
        let extended = ExtendedKeyUsage(vec![SERVER_AUTH, CLIENT_AUTH]);
        let basic = BasicConstraints { ca: true, path_len_constraint: Some(0) };
        let subject = tbs.subject();
        Ok(vec![
            extended.to_extension(subject, &[])?,
            usage.to_extension(subject, &[])?,
            basic.to_extension(subject, &[])?,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::verify_signature;

    fn identity() -> Identity {
        let spec = CertificateSpec {
            common_name: "pub.lab.test",
            not_before_s: 1_700_000_000,
            key_bits: 2048,
        };
        Identity::self_signed(&spec, &mut KeySource::bank(7))
    }

    #[test]
    fn self_signed_certificate_has_cucm_names_serial_and_five_years() {
        let certificate = identity().certificate;
        let name = "CN=pub.lab.test;OU=TAC;O=resetstorm;L=Lab;ST=Simulation;C=US";
        assert_eq!((certificate.subject(), certificate.issuer()), (name, name));
        assert_eq!(certificate.serial().len(), 16);
        assert_eq!(certificate.public_key().len(), 270);
        assert_eq!(certificate.signature().len(), 256);
        let (from, to) = certificate.validity_s();
        assert_eq!((from, to - from), (1_700_000_000, 157_680_000));
    }

    #[test]
    fn certificate_and_key_belong_together() {
        let identity = identity();
        let signature = identity.key.sign_sha512(b"x");
        let public = identity.certificate.public_key();
        assert_eq!(public, identity.key.public_key());
        assert!(verify_signature(public, 3, b"x", &signature).is_ok());
    }

    #[test]
    fn certificate_survives_pem() {
        let certificate = identity().certificate;
        assert_eq!(Certificate::from_pem(&certificate.to_pem()).unwrap(), certificate);
        assert!(Certificate::from_pem("nothing").is_err());
        assert!(Certificate::from_der(b"0").is_err());
    }

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(escaped("Test, Inc"), "Test\\, Inc");
        assert_eq!(escaped("#a#"), "\\#a#");
        assert_eq!(escaped(" a b "), "\\ a b\\ ");
        assert_eq!(escaped("a\0"), "a\\00");
        assert_eq!(escaped("plain"), "plain");
    }

    #[test]
    fn magnitude_has_no_leading_zero() {
        assert_eq!(magnitude(&[0, 0x83, 0xE9]), [0x83, 0xE9]);
        assert_eq!(magnitude(&[0x0A, 0]), [0x0A, 0]);
        assert!(magnitude(&[0]).is_empty());
    }
}
