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
use rustls::sign::SingleCertAndKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::crypto::DeviceIdentity;
use crate::wire::{DialogueRules, Security};

use super::messages::{ReadFault, read_message};
use super::provider::tls_provider;
use super::tls_server::certified;

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
    /// The server has refused the certificate that it was shown, or that it was shown none: it has
    /// said so with an alert.
    TurnedAway,
}

impl From<io::Error> for TlsFault {
    fn from(error: io::Error) -> TlsFault {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::AlertReceived(alert)) if REFUSALS.contains(alert) => {
                TlsFault::TurnedAway
            }
            _ => TlsFault::Broken(error),
        }
    }
}

/// Alerts that say what a server thinks of the certificate of a client (RFC 8446, section 6.2).
const REFUSALS: [AlertDescription; 9] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
    AlertDescription::NoCertificate,
    AlertDescription::CertificateRequired,
];

/// Makes TLS configurations for clients that judge servers by lists of their own.
#[derive(Clone, Debug)]
pub struct TlsClients {
    /// What is the same on all connections; trusts nobody.
    common: ClientConfig,
}

impl Default for TlsClients {
    fn default() -> TlsClients {
        let provider = tls_provider();
        let verifier = Arc::new(JudgeVerifier::new(Box::new(|_| false), &provider));
        let mut common = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])
            .expect("every provider has suites for both versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        common.resumption = Resumption::disabled();
        common.enable_sni = false;
        TlsClients { common }
    }
}

impl TlsClients {
    /// Shakes hands with the server at the other end of `stream`.
    pub async fn connect(
        &self,
        stream: TcpStream,
        judge: Judge,
    ) -> Result<TlsStream<TcpStream>, TlsFault> {
        self.connect_as(stream, judge, None).await
    }

    /// Like [`TlsClients::connect`]; shows `own` to a server that asks who it talks to.
    pub async fn connect_as(
        &self,
        stream: TcpStream,
        judge: Judge,
        own: Option<&DeviceIdentity>,
    ) -> Result<TlsStream<TcpStream>, TlsFault> {
        let (config, refused) = self.config_as(judge, own)?;
        let name = ServerName::IpAddress(stream.peer_addr()?.ip().into());
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| {
            if refused.load(Ordering::Relaxed) { TlsFault::Refused } else { error.into() }
        })
    }

    /// Opens a connection for messages of a dialogue, protected as its rules say.
    pub async fn talk(
        &self,
        stream: TcpStream,
        judge: Judge,
        own: Option<&DeviceIdentity>,
        rules: &'static DialogueRules,
    ) -> Result<Talk, TlsFault> {
        let stream: Box<dyn Duplex> = match rules.security {
            Security::Plain => Box::new(stream),
            Security::Tls => Box::new(self.connect(stream, judge).await?),
            Security::TlsWithClientCertificate => {
                Box::new(self.connect_as(stream, judge, own).await?)
            }
        };
        Ok(Talk { stream, buffer: Vec::new(), rules })
    }

    /// Says one message of a dialogue and reads the answer.
    pub async fn exchange(
        &self,
        stream: TcpStream,
        judge: Judge,
        message: &[u8],
        rules: &'static DialogueRules,
    ) -> Result<Vec<u8>, TlsFault> {
        let mut talk = self.talk(stream, judge, None, rules).await?;
        let answer = talk.say(message).await?;
        talk.close().await;
        Ok(answer)
    }

    /// A configuration for one connection. Sessions are never resumed: a resumed session skips
    /// the certificate check, and with it the trust decision. The flag is set when `judge` has
    /// refused the server.
    pub fn config(&self, judge: Judge) -> (Arc<ClientConfig>, Arc<AtomicBool>) {
        self.config_as(judge, None).expect("nothing of its own can be unfit")
    }

    fn config_as(
        &self,
        judge: Judge,
        own: Option<&DeviceIdentity>,
    ) -> Result<(Arc<ClientConfig>, Arc<AtomicBool>), TlsFault> {
        let mut config = self.common.clone();
        let verifier = JudgeVerifier::new(judge, config.crypto_provider());
        let refused = Arc::clone(&verifier.refused);
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        if let Some(own) = own {
            let own = certified(&own.certificate, &own.key.pkcs8()).map_err(io::Error::other)?;
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(own));
        }
        Ok((Arc::new(config), refused))
    }
}

/// A stream of bytes in both directions.
trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for S {}

/// An open connection of a client to a dialogue.
pub struct Talk {
    stream: Box<dyn Duplex>,
    /// What came behind the last message.
    buffer: Vec<u8>,
    rules: &'static DialogueRules,
}

impl Talk {
    /// Says a message, or nothing if that is empty, and reads what the server says next. Many
    /// servers close without `close_notify`; after a whole message that is normal, before it the
    /// answer is missing.
    pub async fn say(&mut self, message: &[u8]) -> Result<Vec<u8>, TlsFault> {
        let Talk { stream, buffer, rules } = self;
        if !message.is_empty() {
            // One write: peers read the header with a single read and fail on a short one.
            stream.write_all(message).await?;
            stream.flush().await?;
        }
        let answer = read_message(&mut **stream, rules, rules.answer_length_max, buffer).await;
        answer.map_err(|fault| match fault {
            ReadFault::Left => io::Error::from(io::ErrorKind::UnexpectedEof).into(),
            ReadFault::Broken(error) => TlsFault::from(error),
            ReadFault::Malformed => TlsFault::Malformed,
        })
    }

    /// Returns when the server has ended the connection, or has said something that nobody has
    /// asked for.
    pub async fn ended(&mut self) {
        let mut unasked = [0; 64];
        // What comes of it is the end in any case.
        let _ = self.stream.read(&mut unasked).await;
    }

    /// Takes leave, whatever becomes of the farewell.
    pub async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk").field("dialogue", &self.rules.name).finish_non_exhaustive()
    }
}

/// Asks a judge about the certificate and checks the handshake signature as usual. Chains, names
/// and dates play no part for phones.
struct JudgeVerifier {
    judge: Judge,
    refused: Arc<AtomicBool>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl JudgeVerifier {
    fn new(judge: Judge, provider: &CryptoProvider) -> JudgeVerifier {
        let algorithms = provider.signature_verification_algorithms;
        JudgeVerifier { judge, refused: Arc::default(), algorithms }
    }
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
