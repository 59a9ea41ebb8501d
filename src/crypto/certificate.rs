use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use rsa::pkcs1v15;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::der::{Decode, Encode, pem};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name as X509Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time as X509Time, Validity};
use x509_cert::{Certificate as X509, TbsCertificate};

use super::algorithms::key_algorithm;
use super::date::CertificateDate;
use super::keys::{CertificateSigner, KeySource, SigningKey};
use super::tls_end::TlsEnd;
use super::{sha1, sha256};
use crate::wire::ber::{Ber, tag};
use crate::wire::{Name, WireError, same_name};

/// An X.509 certificate with the fields that trust lists and TVS use, cheap to clone.
#[derive(Clone)]
pub struct Certificate(Arc<Fields>);

struct Fields {
    der: Arc<[u8]>,
    subject: String,
    issuer: String,
    /// Subject and issuer in the order of the certificate, joined by `,`.
    subject_in_order: String,
    issuer_in_order: String,
    serial: Vec<u8>,
    key_algorithm: &'static str,
    public_key: Vec<u8>,
    signature: Vec<u8>,
    /// Taken when somebody asks.
    sha1: OnceLock<[u8; 20]>,
    sha256: OnceLock<[u8; 32]>,
    not_before_s: Option<i64>,
    not_after_s: Option<i64>,
    oddities: Vec<Oddity>,
}

/// Something about a certificate that its issuer should not have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// What kind of thing, as a word.
    pub code: &'static str,
    /// What it is.
    pub text: String,
}

/// Why bytes are no usable certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate: {0}")]
pub struct CertificateError(String);

impl From<WireError> for CertificateError {
    fn from(error: WireError) -> CertificateError {
        CertificateError(error.to_string())
    }
}

impl Certificate {
    /// Reads a certificate from DER, as leniently as OpenSSL: odd dates, serial numbers and string
    /// types are no reason to refuse it (see [`Certificate::oddities`]).
    pub fn from_der(der: &[u8]) -> Result<Certificate, CertificateError> {
        let fields = Fields::read(der)?;
        Ok(Certificate(Arc::new(fields)))
    }

    /// A certificate that was just made.
    pub(super) fn fresh(built: &X509) -> Certificate {
        let der = built.to_der().expect("a fresh certificate can be written");
        Certificate::from_der(&der).expect("a fresh certificate can be read")
    }

    /// The certificate as PEM.
    ///
    /// # Panics
    /// Never: a certificate is far shorter than a PEM text may be.
    pub fn to_pem(&self) -> String {
        pem::encode_string("CERTIFICATE", pem::LineEnding::LF, &self.0.der)
            .expect("a certificate can be written")
    }

    /// The certificate as DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The same bytes to keep: they are shared with every clone of the certificate.
    pub fn shared_der(&self) -> Arc<[u8]> {
        Arc::clone(&self.0.der)
    }

    /// Subject in CUCM's style: `CN=..;OU=..;O=..;L=..;ST=..;C=..`.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The common name of its subject; empty if it has none.
    pub fn common_name(&self) -> &str {
        self.subject().split(';').find_map(|part| part.strip_prefix("CN=")).unwrap_or_default()
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

    /// Serial number: minimal big-endian magnitude; one zero byte for zero. A negative one, which
    /// should not be, as the bytes of the certificate.
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
        *self.0.sha1.get_or_init(|| sha1(&self.0.der))
    }

    /// SHA-256 of the DER: the identity of the certificate inside this program.
    pub fn sha256(&self) -> [u8; 32] {
        *self.0.sha256.get_or_init(|| sha256(&self.0.der))
    }

    /// What the public key is for: `RSA`, `EC`, `Ed25519`, `DSA` or another word.
    pub fn key_algorithm(&self) -> &'static str {
        self.0.key_algorithm
    }

    /// Start and end of its validity, Unix seconds; `None` for what is no date.
    pub fn validity_s(&self) -> (Option<i64>, Option<i64>) {
        (self.0.not_before_s, self.0.not_after_s)
    }

    /// Whether its issuer has the subject of `issuer`; signatures are not checked.
    pub fn was_issued_by(&self, issuer: &Certificate) -> bool {
        same_name(self.issuer(), issuer.subject())
    }

    /// What is odd about it.
    pub fn oddities(&self) -> &[Oddity] {
        &self.0.oddities
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Certificate) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, serial ", self.0.subject)?;
        self.0.serial.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

impl Fields {
    fn read(der: &[u8]) -> Result<Fields, WireError> {
        let certificate = Ber::only(der, tag::SEQUENCE, "a certificate")?;
        let mut parts = certificate.inside();
        let mut tbs = parts.need(tag::SEQUENCE, "what is signed")?.inside();
        parts.need(tag::SEQUENCE, "an algorithm")?;
        let signature = parts.need(tag::BIT_STRING, "a signature")?.bits()?.to_vec();
        tbs.take_if(tag::CONTEXT_0_OF)?;
        let serial = tbs.need(tag::INTEGER, "a serial number")?;
        tbs.need(tag::SEQUENCE, "an algorithm")?;
        let issued_by = tbs.need(tag::SEQUENCE, "an issuer")?;
        let issuer = Name::from_ber(&issued_by)?;
        let mut validity = tbs.need(tag::SEQUENCE, "a validity")?.inside();
        let dates = [validity.next("a start")?, validity.next("an end")?];
        let owned_by = tbs.need(tag::SEQUENCE, "a subject")?;
        // Most are their own issuer.
        let is_own = owned_by.content == issued_by.content;
        let other = (!is_own).then(|| Name::from_ber(&owned_by)).transpose()?;
        let subject = other.as_ref().unwrap_or(&issuer);
        let mut key = tbs.need(tag::SEQUENCE, "a public key")?.inside();
        let algorithm = key.need(tag::SEQUENCE, "an algorithm")?.inside().next("an OID")?.oid()?;
        let mut oddities = of_serial(serial.content);
        for (whose, name) in [("issuer", &issuer), ("subject", subject)] {
            oddities.extend(
                name.faults().iter().map(|fault| Oddity {
                    code: "odd-name",
                    text: format!("the {whose}'s {fault}"),
                }),
            );
        }
        let [not_before_s, not_after_s] = of_dates(&dates, &mut oddities);
        let of_issuer = (issuer.to_cucm(), issuer.to_compact());
        let of_subject = other.as_ref().map(|name| (name.to_cucm(), name.to_compact()));
        let of_subject = of_subject.unwrap_or_else(|| of_issuer.clone());
        Ok(Fields {
            subject: of_subject.0,
            issuer: of_issuer.0,
            subject_in_order: of_subject.1,
            issuer_in_order: of_issuer.1,
            serial: magnitude(serial.content).to_vec(),
            key_algorithm: key_algorithm(&algorithm),
            public_key: key.need(tag::BIT_STRING, "a key")?.bits()?.to_vec(),
            signature,
            sha1: OnceLock::new(),
            sha256: OnceLock::new(),
            not_before_s,
            not_after_s,
            oddities,
            der: der.into(),
        })
    }
}

/// The dates that can be read; what is odd about them is added to `oddities`.
fn of_dates(dates: &[Ber<'_>; 2], oddities: &mut Vec<Oddity>) -> [Option<i64>; 2] {
    let mut at = 0;
    dates.map(|date| {
        let (end, read) = (["start", "end"][at], CertificateDate::read(&date));
        at += 1;
        let odd = match read {
            Some(date) => date.odd,
            None => Some("is no date"),
        };
        let text = String::from_utf8_lossy(date.content);
        oddities.extend(odd.map(|odd| Oddity {
            code: "odd-date",
            text: format!("the {end} of the validity ({text}) {odd}"),
        }));
        read.map(|date| date.unix_s)
    })
}

/// RFC 5280 section 4.1.2.2: positive, at most 20 bytes.
fn of_serial(serial: &[u8]) -> Vec<Oddity> {
    const LENGTH_MAX: usize = 20;
    let odd = match serial {
        [] => "is missing",
        [first, ..] if *first >= 0x80 => "is negative",
        _ if serial.iter().all(|&byte| byte == 0) => "is zero",
        _ if serial.len() > LENGTH_MAX + 1 || magnitude(serial).len() > LENGTH_MAX => {
            "is longer than 20 bytes"
        }
        _ => return Vec::new(),
    };
    vec![Oddity { code: "odd-serial", text: format!("the serial number {odd}") }]
}

/// Drops the sign byte and leading zeros of a DER integer (`spec/trust-list.md` section 5); zero
/// keeps one byte, because an empty value would be none.
fn magnitude(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|&&byte| byte == 0).count();
    &serial[zeros.min(serial.len().saturating_sub(1))..]
}

/// What goes into a self-signed service certificate.
#[derive(Clone, Copy, Debug)]
pub struct CertificateSpec<'a> {
    /// Common name: the host name of the node, or `CAPF-xxxxxxxx`.
    pub common_name: &'a str,
    /// Start of validity, Unix seconds; it lasts five years (CERT-06).
    pub not_before_s: u64,
    /// RSA key size in bits; EC keys have a size of their own.
    pub key_bits: u16,
}

/// How long a certificate lasts that its owner has signed.
pub const FIVE_YEARS_S: u64 = 5 * 365 * 86_400;

/// A certificate and its RSA key: it can sign files.
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
        Identity::made(spec, FIVE_YEARS_S, None, source)
    }

    /// The same, valid for so many seconds.
    ///
    /// # Panics
    /// If the common name is longer than X.509 allows.
    pub fn self_signed_for(
        spec: &CertificateSpec<'_>,
        valid_s: u64,
        source: &mut KeySource,
    ) -> Identity {
        Identity::made(spec, valid_s, None, source)
    }

    /// Makes a key and a certificate that `issuer` has signed for so many seconds (CERT-06).
    ///
    /// # Panics
    /// If the common name is longer than X.509 allows.
    pub fn issued(
        spec: &CertificateSpec<'_>,
        valid_s: u64,
        issuer: &Identity,
        source: &mut KeySource,
    ) -> Identity {
        Identity::made(spec, valid_s, Some(issuer), source)
    }

    /// The same for these ends of a TLS connection only, signed by itself without an issuer.
    ///
    /// # Panics
    /// If the common name is longer than X.509 allows.
    pub fn for_ends(
        spec: &CertificateSpec<'_>,
        valid_s: u64,
        issuer: Option<&Identity>,
        ends: &'static [TlsEnd],
        source: &mut KeySource,
    ) -> Identity {
        let key = Arc::new(source.signing_key(spec.key_bits));
        Identity::with_key(key, spec, valid_s, issuer, ends, source)
    }

    fn made(
        spec: &CertificateSpec<'_>,
        valid_s: u64,
        issuer: Option<&Identity>,
        source: &mut KeySource,
    ) -> Identity {
        Identity::for_ends(spec, valid_s, issuer, &TlsEnd::BOTH, source)
    }

    /// The same as [`Identity::for_ends`] for a key that is there, such as that of a request.
    ///
    /// # Panics
    /// If the common name is longer than X.509 allows.
    pub fn issued_to(
        key: Arc<SigningKey>,
        spec: &CertificateSpec<'_>,
        valid_s: u64,
        issuer: &Identity,
        ends: &'static [TlsEnd],
        source: &mut KeySource,
    ) -> Identity {
        Identity::with_key(key, spec, valid_s, Some(issuer), ends, source)
    }

    fn with_key(
        key: Arc<SigningKey>,
        spec: &CertificateSpec<'_>,
        valid_s: u64,
        issuer: Option<&Identity>,
        ends: &'static [TlsEnd],
        source: &mut KeySource,
    ) -> Identity {
        let serial = fresh_serial(|bytes| source.fill(bytes));
        let signing_key = issuer.map_or(&key, |issuer| &issuer.key);
        let public = key.public_key_info();
        let issuer = issuer.map(|issuer| &issuer.certificate);
        let builder = service_builder(spec, valid_s, issuer, public, &serial, rsa_uses(), ends);
        let built = signed_by(signing_key, builder);
        Identity { certificate: Certificate::fresh(&built), key }
    }

    /// A certificate that this identity signs as its issuer.
    pub(super) fn sign_certificate(&self, builder: CertificateBuilder<ServiceProfile>) -> X509 {
        signed_by(&self.key, builder)
    }
}

/// A certificate signed with RSA and SHA-256.
fn signed_by(key: &SigningKey, builder: CertificateBuilder<ServiceProfile>) -> X509 {
    let signer = CertificateSigner(key);
    builder.build::<_, pkcs1v15::Signature>(&signer).expect("an RSA key signs")
}

/// What the RSA key of a service certificate is for.
pub(super) fn rsa_uses() -> KeyUsage {
    KeyUsage(
        KeyUsages::DigitalSignature
            | KeyUsages::KeyEncipherment
            | KeyUsages::DataEncipherment
            | KeyUsages::KeyCertSign,
    )
}

/// A serial number as CUCM makes them: 16 bytes without a sign byte, the first one never zero.
pub(super) fn fresh_serial(fill: impl FnOnce(&mut [u8])) -> [u8; 16] {
    let mut serial = [0; 16];
    fill(&mut serial);
    serial[0] = 0x40 | (serial[0] & 0x3F);
    serial
}

/// A service certificate that nobody has signed yet; without an issuer it names itself as one.
pub(super) fn service_builder(
    spec: &CertificateSpec<'_>,
    valid_s: u64,
    issuer: Option<&Certificate>,
    public: SubjectPublicKeyInfoOwned,
    serial: &[u8],
    uses: KeyUsage,
    ends: &'static [TlsEnd],
) -> CertificateBuilder<ServiceProfile> {
    let subject = format!("CN={},OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US", spec.common_name);
    let subject = X509Name::from_str(&subject).expect("host names need no escaping");
    let issuer_name = issuer.map(|issuer| {
        let known = X509::from_der(issuer.der()).expect("it was read before");
        known.tbs_certificate().subject().clone()
    });
    let issuer = issuer_name.unwrap_or_else(|| subject.clone());
    let instant = |seconds| {
        let duration = std::time::Duration::from_secs(seconds);
        X509Time::try_from(std::time::UNIX_EPOCH + duration).expect("the date is before 9999")
    };
    let validity = Validity::new(instant(spec.not_before_s), instant(spec.not_before_s + valid_s));
    let serial = SerialNumber::new(serial).expect("a serial of 16 bytes is allowed");
    let profile = ServiceProfile { issuer, subject, uses, ends };
    CertificateBuilder::new(profile, serial, validity, public).expect("the profile is well-formed")
}

/// The extensions of a CUCM service certificate; the library's own profiles refuse its names.
pub(super) struct ServiceProfile {
    issuer: X509Name,
    subject: X509Name,
    uses: KeyUsage,
    ends: &'static [TlsEnd],
}

impl BuilderProfile for ServiceProfile {
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
        let extended = ExtendedKeyUsage(self.ends.iter().map(|end| end.extended()).collect());
        let basic = BasicConstraints { ca: true, path_len_constraint: Some(0) };
        let subject = tbs.subject();
        Ok(vec![
            extended.to_extension(subject, &[])?,
            self.uses.to_extension(subject, &[])?,
            basic.to_extension(subject, &[])?,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{KeyStore, verify_signature};

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
        assert_eq!((from, to), (Some(1_700_000_000), Some(1_857_680_000)));
        assert_eq!((certificate.key_algorithm(), certificate.oddities()), ("RSA", &[][..]));
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
        let store = KeyStore::from_pem(&certificate.to_pem()).unwrap();
        assert_eq!(store.first_certificate(), Ok(&certificate));
        assert!(KeyStore::from_pem("nothing").unwrap().first_certificate().is_err());
        assert!(Certificate::from_der(b"0").is_err());
    }

    #[test]
    fn magnitude_has_no_leading_zero() {
        assert_eq!(magnitude(&[0, 0x83, 0xE9]), [0x83, 0xE9]);
        assert_eq!(magnitude(&[0x0A, 0]), [0x0A, 0]);
        assert_eq!((magnitude(&[0]), magnitude(&[0, 0])), (&[0][..], &[0][..]));
    }
}
