//! The TLS side of servers: TLS 1.2 and 1.3 without resumption.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};

use super::provider::tls_provider;
use crate::crypto::{Certificate, Identity};

/// A configuration that presents `identity`.
///
/// No session is kept and no ticket is sent: a resumed session would skip the certificate check
/// of the phone, and with it the trust decision. The certificate is not judged here: what an
/// operator has imported is what clients get to see.
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, rustls::Error> {
    config(identity, None)
}

/// Decides whether the certificate (DER) of a client is accepted, or that it shows none, during the
/// handshake; the error is what the alert says.
pub type ClientJudge = Arc<dyn Fn(Option<&[u8]>) -> Result<(), CertificateError> + Send + Sync>;

/// Like [`server_config`], and asks clients for a certificate, which `judge` accepts or not. That
/// they have its key is checked as usual.
pub fn asking_config(
    identity: &Identity,
    judge: ClientJudge,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    config(identity, Some(judge))
}

fn config(
    identity: &Identity,
    judge: Option<ClientJudge>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = tls_provider();
    let algorithms = provider.signature_verification_algorithms;
    let presented = SingleCertAndKey::from(certified(&identity.certificate, identity.key.pkcs8())?);
    let builder =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match judge {
        Some(judge) => {
            let must_show = judge(None).is_err();
            builder.with_client_cert_verifier(Arc::new(Clients { judge, must_show, algorithms }))
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(presented));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A certificate and its key (PKCS#8) as the TLS library wants them.
pub(super) fn certified(
    certificate: &Certificate,
    key: &[u8],
) -> Result<CertifiedKey, rustls::Error> {
    let certificate = CertificateDer::from(certificate.der().to_vec());
    let key = PrivatePkcs8KeyDer::from(key.to_vec());
    let key = tls_provider().key_provider.load_private_key(PrivateKeyDer::Pkcs8(key))?;
    Ok(CertifiedKey::new(vec![certificate], key))
}

/// Takes the clients that a judge accepts and that have the keys of their certificates.
struct Clients {
    judge: ClientJudge,
    /// Whether a client without a certificate is refused.
    must_show: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.must_show
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        (self.judge)(Some(end_entity))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Certificate, CertificateSpec, KeySource};
    use crate::wire::ber::{Ber, tag};

    #[test]
    fn every_identity_of_a_cluster_can_be_presented_without_resumption() {
        let spec =
            CertificateSpec { common_name: "pub", not_before_s: 1_700_000_000, key_bits: 2048 };
        let identity = Identity::self_signed(&spec, &mut KeySource::bank(1));
        let config = server_config(&identity).unwrap();
        assert_eq!(config.send_tls13_tickets, 0);
        assert!(!config.ticketer.enabled());
        assert!(!config.session_storage.can_cache());
    }

    #[test]
    fn a_certificate_that_the_library_would_refuse_is_presented_all_the_same() {
        let spec =
            CertificateSpec { common_name: "pub", not_before_s: 1_700_000_000, key_bits: 2048 };
        let mut identity = Identity::self_signed(&spec, &mut KeySource::bank(1));
        identity.certificate = first_version(&identity.certificate);
        let key = PrivatePkcs8KeyDer::from(identity.key.pkcs8().to_vec());
        let checked = CertifiedKey::from_der(
            vec![identity.certificate.der().to_vec().into()],
            PrivateKeyDer::Pkcs8(key),
            &tls_provider(),
        );
        assert!(checked.is_err(), "the library refuses it");
        assert!(server_config(&identity).is_ok());
    }

    /// The certificate as one of X.509 version 1: without a version and without extensions.
    fn first_version(certificate: &Certificate) -> Certificate {
        let sequence = |content: Vec<u8>| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[0x30, 0x82][..], &length, &content].concat()
        };
        let parts = |bytes: &[u8]| {
            let value = Ber::only(bytes, tag::SEQUENCE, "a certificate").unwrap();
            let (mut inside, mut parts) = (value.inside(), Vec::new());
            while let Ok(part) = inside.next("a part") {
                parts.push((part.tag, part.whole.to_vec()));
            }
            parts
        };
        let mut outer = parts(certificate.der());
        let mut signed = parts(&outer[0].1);
        // Version and extensions are in contexts 0 and 3.
        signed.retain(|(tag, _)| tag & 0xC0 == 0);
        outer[0].1 = sequence(signed.into_iter().flat_map(|(_, part)| part).collect());
        let der = sequence(outer.into_iter().flat_map(|(_, part)| part).collect());
        Certificate::from_der(&der).unwrap()
    }
}
