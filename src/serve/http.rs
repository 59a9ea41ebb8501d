use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::cluster::{FileReply, Peer, ServedFile, TftpService};
use crate::wire::uri::decode_path;

use super::counts::{TcpCounters, add, bump};
use super::listener::{Face, Hall, Shown};
use super::signing::Signing;

/// Longest head of a request; the names that phones ask for are below 40 bytes.
const HEAD_MAX: usize = 8 * 1_024;
/// Most header lines of a request.
const HEADERS_MAX: usize = 32;
/// Longest life of a connection: who asks and never reads does not stay for ever, and a phone that
/// still wants something opens another one.
const CONNECTION_DEADLINE: Duration = Duration::from_mins(2);
/// Longest wait for a signature.
const SIGN_DEADLINE: Duration = Duration::from_mins(1);
/// What files are said to be.
const ANY: &str = "*/*";

/// The TFTP service of a node as HTTP or HTTPS shows it.
#[derive(Clone)]
pub(super) struct HttpFace {
    /// How it proves its identity over HTTPS, with the CallManager certificate of the node.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) service: Arc<TftpService>,
    pub(super) signing: Signing,
    pub(super) header_deadline: Duration,
}

impl Face for HttpFace {
    const HEARS_FIRST: bool = true;

    fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref()
    }

    async fn talk<S>(self, shown: Shown<HttpFace>, hall: Arc<Hall>, stream: S, _peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let counters = &hall.counters;
        let answer = service_fn(|request: Request<Incoming>| {
            // The connection outlives a restart; each request sees the service of its moment.
            let face = shown.read().unwrap_or_else(PoisonError::into_inner).clone();
            let asked = Asked::of(&request);
            async move { Ok::<_, Infallible>(face.respond(asked, counters).await) }
        });
        serve_http1(stream, answer, self.header_deadline, counters).await;
    }
}

/// Answers the requests on a connection, each within its bounds, for two minutes at most.
pub(super) async fn serve_http1<S, A>(
    stream: S,
    answer: A,
    header_deadline: Duration,
    counters: &TcpCounters,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: HttpService<Incoming, ResBody = Full<Bytes>>,
    A::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_deadline)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .title_case_headers(true)
        // Who says that he has no more to say waits for his answer all the same; and the protocol
        // does not look after each request whether he has left, mostly in vain.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), answer);
    match timeout(CONNECTION_DEADLINE, connection).await {
        Ok(Err(error)) if error.is_timeout() => bump(&counters.timeouts),
        Ok(Err(error)) if error.is_parse() => bump(&counters.malformed),
        // Done, or the peer went away in the middle, which harms itself only.
        Ok(_) => {}
        Err(_) => bump(&counters.timeouts),
    }
}

/// What a request wants.
enum Asked {
    /// The file with this name, or only what GET would say of it.
    File { name: String, head: bool },
    /// A name that is none: an escape that cannot be decoded, or a control character.
    NoName,
    /// Something else than a file.
    OtherMethod,
}

impl Asked {
    /// The name is decoded once and goes into the catalogue, which knows names and no paths. The
    /// query says nothing about a file; of a target in absolute form only the path counts.
    fn of(request: &Request<Incoming>) -> Asked {
        let head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => return Asked::OtherMethod,
        };
        match decode_path(request.uri().path()) {
            Some(name) => Asked::File { name, head },
            None => Asked::NoName,
        }
    }
}

impl HttpFace {
    async fn respond(&self, asked: Asked, counters: &TcpCounters) -> Response<Full<Bytes>> {
        bump(&counters.requests);
        let (name, head) = match asked {
            Asked::File { name, head } => (name, head),
            Asked::NoName => {
                bump(&counters.not_found);
                return answer(StatusCode::BAD_REQUEST, Bytes::new(), ANY);
            }
            Asked::OtherMethod => {
                bump(&counters.refused_method);
                return answer(StatusCode::METHOD_NOT_ALLOWED, Bytes::new(), ANY);
            }
        };
        match self.file(&name).await {
            Found::File(file) => {
                let body = file.into_body().map_or_else(Bytes::from, Bytes::from_owner);
                bump(&counters.answers);
                if !head {
                    add(&counters.bytes_out, body.len() as u64);
                }
                answer(StatusCode::OK, body, ANY)
            }
            Found::Missing => {
                bump(&counters.not_found);
                answer(StatusCode::NOT_FOUND, Bytes::new(), ANY)
            }
            Found::Busy => {
                bump(&counters.refused_busy);
                answer(StatusCode::SERVICE_UNAVAILABLE, Bytes::new(), ANY)
            }
        }
    }

    /// The file, signed if it has to be; one signature serves all who ask for it meanwhile.
    async fn file(&self, name: &str) -> Found {
        if self.signing.is_full() {
            return Found::Busy;
        }
        let mut waiting = self.signing.wait();
        let file = match self.service.request(name, waiting.id) {
            FileReply::Missing => return Found::Missing,
            FileReply::Ready(file) => return Found::File(file),
            FileReply::Pending { file, job } => {
                if let Some(job) = job {
                    self.signing.spawn(job);
                }
                file
            }
        };
        match timeout(SIGN_DEADLINE, waiting.header()).await {
            Ok(Some(header)) => Found::File(file.with_header(header)),
            Ok(None) | Err(_) => Found::Busy,
        }
    }
}

enum Found {
    File(ServedFile),
    Missing,
    /// Try TFTP, or later.
    Busy,
}

/// An answer with the headers that phones are used to; the protocol leaves the body out where HEAD
/// asked.
pub(super) fn answer(
    status: StatusCode,
    body: Bytes,
    content: &'static str,
) -> Response<Full<Bytes>> {
    let mut response = Response::builder()
        .status(status)
        .header(CACHE_CONTROL, "no-store")
        .header(CONTENT_TYPE, content)
        .header(CONTENT_LENGTH, body.len());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response = response.header(ALLOW, "GET, HEAD");
    }
    response.body(Full::new(body)).expect("status and headers are constants")
}
