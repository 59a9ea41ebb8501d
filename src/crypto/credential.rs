use std::sync::Arc;

use p384::ecdsa::{DerSignature, SigningKey as P384Key};
use p384::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::ext::pkix::{KeyUsage, KeyUsages};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::certificate::{
    Certificate, CertificateSpec, FIVE_YEARS_S, Identity, ServiceProfile, fresh_serial,
    service_builder,
};
use super::keys::{KeyError, KeySource, unreadable};
use super::tls_end::TlsEnd;

/// A private EC key on P-384, the curve of CUCM's EC certificates (`spec/trust-list.md` section 6).
///
/// It signs its own certificate and no file: the headers of files know RSA only (section 3).
#[derive(Clone, Debug)]
pub struct EcKey(P384Key);

impl EcKey {
    /// What a certificate for this key says, with a new serial number.
    fn builder(
        &self,
        spec: &CertificateSpec<'_>,
        valid_s: u64,
        issuer: Option<&Certificate>,
        ends: &'static [TlsEnd],
        source: &mut KeySource,
    ) -> CertificateBuilder<ServiceProfile> {
        let public = SubjectPublicKeyInfoOwned::from_key(self.0.verifying_key())
            .expect("a point of the curve can be written");
        // No encipherment: nobody encrypts for an EC key (RFC 8813).
        let uses = KeyUsages::DigitalSignature | KeyUsages::KeyAgreement | KeyUsages::KeyCertSign;
        let serial = fresh_serial(|bytes| source.fill_ec(bytes));
        service_builder(spec, valid_s, issuer, public, &serial, KeyUsage(uses), ends)
    }

    /// Makes a key; 0.5 ms of a core.
    fn fresh(source: &mut KeySource) -> EcKey {
        loop {
            let mut scalar = [0; 48];
            source.fill_ec(&mut scalar);
            // Not one in 2^190 numbers is too large for the curve.
            if let Ok(key) = P384Key::from_slice(&scalar) {
                return EcKey(key);
            }
        }
    }

    /// Loads a key from PKCS#8 DER.
    ///
    /// # Errors
    /// [`KeyError::Unreadable`] for anything but a key on P-384.
    pub fn from_pkcs8(der: &[u8]) -> Result<EcKey, KeyError> {
        P384Key::from_pkcs8_der(der).map(EcKey).map_err(unreadable)
    }

    /// The key as PEM, to be kept with owner-only permissions.
    ///
    /// # Panics
    /// Never: a key on the curve can be written.
    pub fn to_pem(&self) -> String {
        self.0.to_pkcs8_pem(LineEnding::LF).expect("an EC key can be written").to_string()
    }

    /// The public key as an uncompressed point: 97 bytes.
    pub fn public_key(&self) -> Vec<u8> {
        self.0.verifying_key().to_sec1_point(false).as_bytes().to_vec()
    }
}

/// A certificate and its EC key.
#[derive(Clone, Debug)]
pub struct EcIdentity {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: Arc<EcKey>,
}

impl EcIdentity {
    /// Makes a key and a certificate that it signs with ECDSA and SHA-384.
    ///
    /// # Panics
    /// If the common name is longer than X.509 allows.
    pub fn self_signed(spec: &CertificateSpec<'_>, source: &mut KeySource) -> EcIdentity {
        EcIdentity::self_signed_for(spec, FIVE_YEARS_S, source)
    }

    /// The same, valid for so many seconds.
    ///
    /// # Panics
    /// If the common name is longer than X.509 allows.
    pub fn self_signed_for(
        spec: &CertificateSpec<'_>,
        valid_s: u64,
        source: &mut KeySource,
    ) -> EcIdentity {
        let key = EcKey::fresh(source);
        loop {
            let builder = key.builder(spec, valid_s, None, &TlsEnd::BOTH, source);
            let built = builder.build::<_, DerSignature>(&key.0).expect("an EC key signs");
            let certificate = Certificate::fresh(&built);
            if certificate.signature().len() == SIGNATURE_LENGTH {
                return EcIdentity { certificate, key: Arc::new(key) };
            }
        }
    }

    /// Makes a key, and a certificate for it and these ends of a TLS connection that `issuer` signs
    /// with RSA and SHA-256.
    ///
    /// # Panics
    /// If the common name is longer than X.509 allows.
    pub fn issued(
        spec: &CertificateSpec<'_>,
        valid_s: u64,
        issuer: &Identity,
        ends: &'static [TlsEnd],
        source: &mut KeySource,
    ) -> EcIdentity {
        let key = EcKey::fresh(source);
        let builder = key.builder(spec, valid_s, Some(&issuer.certificate), ends, source);
        let certificate = Certificate::fresh(&issuer.sign_certificate(builder));
        EcIdentity { certificate, key: Arc::new(key) }
    }
}

/// Length of the signature of an EC certificate, bytes: that of the documents (ITL-11). In DER it
/// would be a byte shorter or longer in every second certificate, and the lists of two runs with
/// it.
const SIGNATURE_LENGTH: usize = 103;

/// A certificate and its private key, whatever kind of key that is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// With an RSA key.
    Rsa(Identity),
    /// With an EC key.
    Ec(EcIdentity),
}

impl Credential {
    /// The certificate.
    pub const fn certificate(&self) -> &Certificate {
        match self {
            Credential::Rsa(identity) => &identity.certificate,
            Credential::Ec(identity) => &identity.certificate,
        }
    }

    /// The public key of the private one, as in record tag 7.
    pub fn public_key(&self) -> Vec<u8> {
        match self {
            Credential::Rsa(identity) => identity.key.public_key().to_vec(),
            Credential::Ec(identity) => identity.key.public_key(),
        }
    }

    /// The key as PEM, to be kept with owner-only permissions.
    pub fn key_pem(&self) -> String {
        match self {
            Credential::Rsa(identity) => identity.key.to_pem(),
            Credential::Ec(identity) => identity.key.to_pem(),
        }
    }

    /// The identity, if it can sign files.
    pub const fn rsa(&self) -> Option<&Identity> {
        match self {
            Credential::Rsa(identity) => Some(identity),
            Credential::Ec(_) => None,
        }
    }
}

impl From<Identity> for Credential {
    fn from(identity: Identity) -> Credential {
        Credential::Rsa(identity)
    }
}

impl From<EcIdentity> for Credential {
    fn from(identity: EcIdentity) -> Credential {
        Credential::Ec(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{KeyKind, KeyStore};

    const SPEC: CertificateSpec<'static> =
        CertificateSpec { common_name: "pub-EC", not_before_s: 1_700_000_000, key_bits: 2048 };

    #[test]
    fn an_ec_certificate_has_the_lengths_of_the_documents_and_signs_itself() {
        let EcIdentity { certificate, key } =
            EcIdentity::self_signed(&SPEC, &mut KeySource::bank(1));
        assert!(certificate.subject().starts_with("CN=pub-EC;OU=TAC;"));
        assert_eq!((certificate.issuer(), certificate.serial().len()), (certificate.subject(), 16));
        assert_eq!(certificate.public_key(), key.public_key());
        assert_eq!(KeyKind::of(certificate.public_key()), Some(KeyKind::Ec(384)));
        assert_eq!(certificate.signature().len(), 103);
        let (signed, point) = (signed_part(certificate.der()), certificate.public_key());
        let ring = ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P384_SHA384_ASN1,
            point,
        );
        assert!(ring.verify(signed, certificate.signature()).is_ok());
    }

    /// What the issuer of a certificate has signed.
    fn signed_part(der: &[u8]) -> &[u8] {
        let whole = crate::wire::ber::Ber::read(der).unwrap().0;
        whole.inside().next("what is signed").unwrap().whole
    }

    #[test]
    fn ec_certificates_have_one_length() {
        let mut source = KeySource::System;
        let lengths =
            (0..8).map(|_| EcIdentity::self_signed(&SPEC, &mut source).certificate.der().len());
        let lengths: Vec<usize> = lengths.collect();
        assert!(lengths.iter().all(|&length| length == lengths[0]), "{lengths:?}");
    }

    #[test]
    fn ec_keys_survive_pem_and_are_no_rsa_keys() {
        let mut source = KeySource::bank(1);
        let ec = Credential::from(EcIdentity::self_signed(&SPEC, &mut source));
        let rsa = Credential::from(Identity::self_signed(&SPEC, &mut source));
        let pkcs8 = |of: &Credential| {
            let store = KeyStore::from_pem(&of.key_pem()).unwrap();
            store.pkcs8().unwrap().to_vec()
        };
        let again = EcKey::from_pkcs8(&pkcs8(&ec)).unwrap();
        assert_eq!(again.public_key(), ec.public_key());
        assert!(EcKey::from_pkcs8(&pkcs8(&rsa)).is_err());
        assert!(ec.rsa().is_none() && rsa.rsa().is_some());
        assert_eq!(rsa.public_key(), rsa.certificate().public_key());
    }

    #[test]
    fn ec_certificates_move_no_rsa_certificate_and_come_again_from_their_seed() {
        let (mut plain, mut mixed) = (KeySource::bank(3), KeySource::bank(3));
        let ec = EcIdentity::self_signed(&SPEC, &mut mixed);
        let rsa = [&mut plain, &mut mixed].map(|source| Identity::self_signed(&SPEC, source));
        assert_eq!(rsa[0].certificate, rsa[1].certificate);
        let certificate =
            |seed| EcIdentity::self_signed(&SPEC, &mut KeySource::bank(seed)).certificate;
        assert_eq!(certificate(3), ec.certificate);
        assert_ne!(certificate(4), ec.certificate);
    }
}
