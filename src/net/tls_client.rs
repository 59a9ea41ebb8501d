use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::provider::tls_provider;
use crate::wire::DialogueRules;

/// Decides whether a server's certificate (DER) is accepted, during the handshake.
pub type Judge = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Why a server gives no answer over TLS.
#[derive(Debug)]
pub enum TlsFault {
    /// The judge has refused it.
    Refused,
    /// The connection broke, or this host lacked something for it.
    Broken(io::Error),
    /// What came is no message.
    Malformed,
}

impl From<io::Error> for TlsFault {
    fn from(error: io::Error) -> TlsFault {
        TlsFault::Broken(error)
    }
}

/// Makes TLS configurations for clients that judge servers by lists of their own.
#[derive(Clone, Debug)]
pub struct TlsClients {
    provider: Arc<CryptoProvider>,
}

impl Default for TlsClients {
    fn default() -> TlsClients {
        TlsClients { provider: tls_provider() }
    }
}

impl TlsClients {
    /// Shakes hands with the server at the other end of `stream`.
    pub async fn connect(
        &self,
        stream: TcpStream,
        judge: Judge,
    ) -> Result<TlsStream<TcpStream>, TlsFault> {
        let (config, refused) = self.config(judge);
        let name = ServerName::IpAddress(stream.peer_addr()?.ip().into());
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| {
            if refused.load(Ordering::Relaxed) { TlsFault::Refused } else { error.into() }
        })
    }

    /// Says one message of a dialogue and reads the answer. Many servers close without
    /// `close_notify`; after a whole message that is normal, before it the answer is missing.
    pub async fn exchange(
        &self,
        stream: TcpStream,
        judge: Judge,
        message: &[u8],
        rules: &DialogueRules,
    ) -> Result<Vec<u8>, TlsFault> {
        let mut stream = self.connect(stream, judge).await?;
        // One write: peers read the header with a single read and fail on a short one.
        stream.write_all(message).await?;
        stream.flush().await?;
        let mut answer = vec![0; rules.head_length];
        stream.read_exact(&mut answer).await?;
        let length = (rules.message_length)(&answer).map_err(|_| TlsFault::Malformed)?;
        answer.resize(length.max(rules.head_length), 0);
        stream.read_exact(&mut answer[rules.head_length..]).await?;
        // The answer counts, whatever becomes of the farewell.
        let _ = stream.shutdown().await;
        Ok(answer)
    }

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
            .expect("every provider has suites for both versions")
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
