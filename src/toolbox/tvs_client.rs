//! One question to one TVS server, with the time of each phase.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::base::Span;
use crate::crypto::Certificate;
use crate::net::fleet::connect_from;
use crate::net::{Judge, TlsClients};
use crate::wire::{WireError, tvs};

/// Whom the client takes for the server.
#[derive(Clone, Debug)]
pub enum ServerPin {
    /// Anybody; the certificate is shown.
    Anybody,
    /// Holders of one of these certificates (SHA-1 of the DER, as in record tag 11).
    Sha1(Arc<[[u8; 20]]>),
}

impl ServerPin {
    /// Whether the server that shows this certificate, DER, is the one.
    pub fn admits(&self, certificate: &[u8]) -> bool {
        match self {
            ServerPin::Anybody => true,
            ServerPin::Sha1(hashes) => hashes.contains(&crate::crypto::sha1(certificate)),
        }
    }
}

/// What came back, and when.
#[derive(Clone, Debug)]
pub struct TvsAnswer {
    /// The answer as bytes; it was read as a TVS message of the same session.
    pub message: Vec<u8>,
    /// The server's certificate.
    pub server: Option<Certificate>,
    /// Time to open the TCP connection.
    pub connect: Duration,
    /// Time of the TLS handshake.
    pub handshake: Duration,
    /// Time from the question to the whole answer.
    pub answer: Duration,
}

/// What was going on when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Phase {
    /// TCP.
    #[error("connection")]
    Connect,
    /// TLS.
    #[error("TLS handshake")]
    Handshake,
    /// The question goes out.
    #[error("question")]
    Question,
    /// The answer comes in.
    #[error("answer")]
    Answer,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TvsFault {
    /// Nobody listens on the port.
    #[error("nobody listens there: the host refuses the connection")]
    Refused,
    /// The server closed the connection.
    #[error("the server closed the connection during the {phase}{}", came(*bytes))]
    Closed {
        /// What was going on.
        phase: Phase,
        /// Bytes of the answer that had come.
        bytes: usize,
    },
    /// The server speaks something else than TLS.
    #[error("the server does not speak TLS on this port")]
    NotTls,
    /// The server ended the handshake.
    #[error("the server refused the TLS handshake: {0}")]
    Alert(String),
    /// The answer is text.
    #[error("the server answers with text, not with TVS: {0}")]
    Text(String),
    /// The connection could not be opened or broke otherwise.
    #[error("{phase}: {error}")]
    Io {
        /// What was going on.
        phase: Phase,
        /// What happened.
        error: std::io::Error,
    },
    /// Nothing happened for too long.
    #[error("no {0} within {1}")]
    TimedOut(Phase, Span),
    /// The server shows a certificate that was not expected.
    #[error("the server shows a certificate that is not the expected one: {}", .0.subject())]
    OtherServer(Certificate),
    /// The answer is no TVS message, or one of another session.
    #[error("the answer is malformed: {0}")]
    Malformed(#[from] WireError),
}

impl TvsFault {
    /// Whether the server took the question and gave no answer that is one, as servers do that do
    /// not know the kind of question.
    pub const fn is_about_the_answer(&self) -> bool {
        matches!(
            self,
            TvsFault::Closed { phase: Phase::Answer | Phase::Question, .. }
                | TvsFault::TimedOut(Phase::Answer, _)
                | TvsFault::Malformed(_)
        )
    }

    /// What an error of the connection means.
    fn of(phase: Phase, error: std::io::Error) -> TvsFault {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidMessage(_)) if phase == Phase::Handshake => TvsFault::NotTls,
            Some(rustls::Error::AlertReceived(alert)) => TvsFault::Alert(format!("{alert:?}")),
            _ => match error.kind() {
                ErrorKind::ConnectionRefused => TvsFault::Refused,
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => TvsFault::Closed { phase, bytes: 0 },
                _ => TvsFault::Io { phase, error },
            },
        }
    }
}

fn came(bytes: usize) -> String {
    if bytes == 0 { String::new() } else { format!(" ({bytes} bytes had come)") }
}

/// Asks one question.
///
/// # Errors
/// If any phase fails or takes longer than `timeout`.
pub async fn ask_tvs(
    server: SocketAddr,
    request: &[u8],
    pin: ServerPin,
    timeout: Duration,
) -> Result<TvsAnswer, TvsFault> {
    let seen = Arc::new(Mutex::new(None));
    let (config, _) = TlsClients::default().config(judge(pin.clone(), Arc::clone(&seen)));
    let connector = TlsConnector::from(config);
    let start = Instant::now();
    let tcp = within(timeout, Phase::Connect, connect_from(server, None)).await?;
    let connected = Instant::now();
    let name = ServerName::IpAddress(server.ip().into());
    let handshake = within(timeout, Phase::Handshake, connector.connect(name, tcp)).await;
    let shown = seen.lock().ok().and_then(|mut seen| seen.take());
    let shown = shown.and_then(|der: Vec<u8>| Certificate::from_der(&der).ok());
    let mut tls = match (handshake, &shown) {
        (Ok(tls), _) => tls,
        (Err(_), Some(other)) if !pin.admits(other.der()) => {
            return Err(TvsFault::OtherServer(other.clone()));
        }
        (Err(fault), _) => return Err(fault),
    };
    let trusted = Instant::now();
    // One write: peers read the header with a single read and fail on a short one.
    within(timeout, Phase::Question, tls.write_all(request)).await?;
    within(timeout, Phase::Question, tls.flush()).await?;
    let message = read_message(&mut tls, timeout).await?;
    let answered = Instant::now();
    check_answer(request, &message)?;
    Ok(TvsAnswer {
        message,
        server: shown,
        connect: connected - start,
        handshake: trusted - connected,
        answer: answered - trusted,
    })
}

async fn within<T>(
    timeout: Duration,
    phase: Phase,
    work: impl Future<Output = std::io::Result<T>>,
) -> Result<T, TvsFault> {
    match tokio::time::timeout(timeout, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(TvsFault::of(phase, error)),
        Err(_) => Err(TvsFault::TimedOut(phase, timeout.into())),
    }
}

async fn read_message(
    stream: &mut (impl AsyncReadExt + Unpin),
    timeout: Duration,
) -> Result<Vec<u8>, TvsFault> {
    let mut message = vec![0; tvs::HEADER_LENGTH];
    let mut bytes = fill(stream, timeout, &mut message, 0).await?;
    let header = message.first_chunk().expect("the header was read");
    let length = match tvs::message_length(header) {
        Err(_) if is_text(&message) => {
            return Err(TvsFault::Text(String::from_utf8_lossy(&message).into_owned()));
        }
        length => length?,
    };
    message.resize(length, 0);
    bytes = fill(stream, timeout, &mut message, bytes).await?;
    message.truncate(bytes);
    Ok(message)
}

/// Reads until `message` is full, of which so many bytes have come.
async fn fill(
    stream: &mut (impl AsyncReadExt + Unpin),
    timeout: Duration,
    message: &mut [u8],
    mut bytes: usize,
) -> Result<usize, TvsFault> {
    let phase = Phase::Answer;
    while bytes < message.len() {
        match within(timeout, phase, stream.read(&mut message[bytes..])).await {
            Ok(0) | Err(TvsFault::Closed { .. }) => {
                return Err(if is_text(&message[..bytes]) {
                    TvsFault::Text(String::from_utf8_lossy(&message[..bytes]).into_owned())
                } else {
                    TvsFault::Closed { phase, bytes }
                });
            }
            Ok(more) => bytes += more,
            Err(fault) => return Err(fault),
        }
    }
    Ok(bytes)
}

/// Whether bytes are printable text, as of HTTP; a message of TVS never is.
fn is_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The answer must be a response in the session of the request.
fn check_answer(request: &[u8], answer: &[u8]) -> Result<(), WireError> {
    tvs::Response::parse(answer)?;
    if request.get(4..8) == answer.get(4..8) {
        return Ok(());
    }
    Err(WireError::new("answer of another session", 4, "the session id of the request"))
}

/// Admits servers by their certificate, as phones do, and remembers what was shown.
fn judge(pin: ServerPin, seen: Arc<Mutex<Option<Vec<u8>>>>) -> Judge {
    Box::new(move |certificate| {
        if let Ok(mut seen) = seen.lock() {
            *seen = Some(certificate.to_vec());
        }
        pin.admits(certificate)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CertificateSpec, Identity, KeySource};
    use rustls::ServerConfig;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;

    fn identity() -> Identity {
        let spec =
            CertificateSpec { common_name: "tvs", not_before_s: 1_700_000_000, key_bits: 2048 };
        Identity::self_signed(&spec, &mut KeySource::bank(1))
    }

    fn request() -> Vec<u8> {
        tvs::Request {
            session_id: 1_001,
            device_name: "CP-8841-SEP001122334455",
            question: tvs::Question::Query { subject: "", issuer: "CN=a", serial: &[1] },
        }
        .encode()
    }

    /// Serves one connection with one canned answer.
    async fn serve_once(identity: &Identity, answer: Vec<u8>) -> SocketAddr {
        let key = PrivateKeyDer::Pkcs8(identity.key.pkcs8().to_vec().into());
        let chain = vec![CertificateDer::from(identity.certificate.der().to_vec())];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else { return };
            let mut question = vec![0; request().len()];
            tls.read_exact(&mut question).await.unwrap();
            tls.write_all(&answer).await.unwrap();
            tls.flush().await.unwrap();
        });
        address
    }

    fn unknown(session_id: u32) -> Vec<u8> {
        let command = tvs::Command::QueryResponse;
        tvs::Response { command, session_id, known: None }.encode()
    }

    #[tokio::test]
    async fn the_pinned_server_answers_and_times_are_taken() {
        let identity = identity();
        let server = serve_once(&identity, unknown(1_001)).await;
        let pin = ServerPin::Sha1([identity.certificate.sha1()].into());
        let answer = ask_tvs(server, &request(), pin, Duration::from_secs(5)).await.unwrap();
        assert_eq!(tvs::Response::parse(&answer.message).unwrap().known, None);
        assert_eq!(answer.server, Some(identity.certificate));
        assert!(answer.handshake > Duration::ZERO);
    }

    #[tokio::test]
    async fn a_question_waits_for_no_acknowledgement_of_the_handshake() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = connect_from(listener.local_addr().unwrap(), None).await.unwrap();
        assert!(tcp.nodelay().unwrap());
    }

    #[tokio::test]
    async fn another_server_is_refused_and_named() {
        let identity = identity();
        let server = serve_once(&identity, unknown(1_001)).await;
        let pin = ServerPin::Sha1([[0; 20]].into());
        let fault = ask_tvs(server, &request(), pin, Duration::from_secs(5)).await.unwrap_err();
        let TvsFault::OtherServer(shown) = fault else { panic!("{fault}") };
        assert_eq!(shown, identity.certificate);
    }

    #[tokio::test]
    async fn an_answer_of_another_session_is_refused() {
        let identity = identity();
        let server = serve_once(&identity, unknown(1_002)).await;
        let asked = ask_tvs(server, &request(), ServerPin::Anybody, Duration::from_secs(5)).await;
        assert!(matches!(asked, Err(TvsFault::Malformed(_))));
    }

    #[tokio::test]
    async fn a_silent_server_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let timeout = Duration::from_millis(50);
        let asked = ask_tvs(server, &request(), ServerPin::Anybody, timeout).await;
        assert!(matches!(asked, Err(TvsFault::TimedOut(Phase::Handshake, _))));
    }

    /// What is said of a server that does this with the connection.
    async fn words(behave: impl AsyncFnOnce(TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let serve = async move {
            let (tcp, _) = listener.accept().await.unwrap();
            behave(tcp).await;
        };
        let request = request();
        let ask = ask_tvs(server, &request, ServerPin::Anybody, Duration::from_secs(5));
        let ((), asked) = tokio::join!(serve, ask);
        let words = asked.unwrap_err().to_string();
        assert!(!words.contains("http"), "{words}");
        words
    }

    #[tokio::test]
    async fn servers_that_close_refuse_or_speak_something_else_are_described_in_plain_words() {
        assert_eq!(
            words(async |tcp| drop(tcp)).await,
            "the server closed the connection during the TLS handshake"
        );
        let plain = async |mut tcp: TcpStream| {
            tcp.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
            let _ = tcp.read(&mut [0; 600]).await;
        };
        assert_eq!(words(plain).await, "the server does not speak TLS on this port");
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let asked = ask_tvs(nobody, &request(), ServerPin::Anybody, Duration::from_secs(5)).await;
        assert!(matches!(asked, Err(TvsFault::Refused)));
    }

    #[tokio::test]
    async fn answers_that_are_none_are_told_apart() {
        let identity = identity();
        let cases: [(&[u8], &str); 3] = [
            (b"", "the server closed the connection during the answer"),
            (b"W\x01\x04", "the server closed the connection during the answer (3 bytes had come)"),
            (b"HTTP/1.1 400", "the server answers with text, not with TVS: HTTP/1.1 4"),
        ];
        for (answer, expected) in cases {
            let server = serve_once(&identity, answer.to_vec()).await;
            let timeout = Duration::from_secs(5);
            let asked = ask_tvs(server, &request(), ServerPin::Anybody, timeout).await;
            assert_eq!(asked.unwrap_err().to_string(), expected);
        }
    }
}
