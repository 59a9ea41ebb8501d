use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};

/// Decides whether a server's certificate (DER) is accepted, during the handshake.
pub type Judge = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Makes TLS configurations for clients that judge servers by lists of their own.
#[derive(Clone, Debug)]
pub struct TlsClients {
    provider: Arc<CryptoProvider>,
}

impl Default for TlsClients {
    fn default() -> TlsClients {
        TlsClients { provider: Arc::new(rustls::crypto::ring::default_provider()) }
    }
}

impl TlsClients {
    /// A configuration for one connection. Sessions are never resumed: a resumed session skips
    /// the certificate check, and with it the trust decision. The flag is set when `judge` has
    /// refused the server.
    pub fn config(&self, judge: Judge) -> (Arc<ClientConfig>, Arc<AtomicBool>) {
        let refused = Arc::new(AtomicBool::new(false));
        let verifier = JudgeVerifier {
            judge,
            refused: Arc::clone(&refused),
            algorithms: self.provider.signature_verification_algorithms,
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])
            .expect("ring has suites for both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        (Arc::new(config), refused)
    }
}

/// Asks a judge about the certificate and checks the handshake signature as usual. Chains, names
/// and dates play no part for phones.
struct JudgeVerifier {
    judge: Judge,
    refused: Arc<AtomicBool>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for JudgeVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JudgeVerifier")
    }
}

impl ServerCertVerifier for JudgeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if (self.judge)(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.refused.store(true, Ordering::Relaxed);
        Err(CertificateError::ApplicationVerificationFailure.into())
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
