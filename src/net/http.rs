//! A tiny HTTP listener that answers `GET /metrics` with text.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::base::Span;

use super::signals::Signals;

/// Connections at the same time; more are closed at once.
const CONNECTIONS_MAX: usize = 32;
/// Longest wait for the head of a request.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// Longest life of a connection, which carries one request.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);
/// Pause after the host had no descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Format of the text: the exposition format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4";

/// Why nobody can ask for metrics.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for metrics on {address}: {cause}; choose another --metrics-listen")]
pub struct MetricsError {
    /// Where.
    pub address: SocketAddr,
    /// What the host said.
    pub cause: io::Error,
}

/// Answers Prometheus with the text that it was shown last, until it is dropped.
#[derive(Debug)]
pub struct MetricsListener {
    address: SocketAddr,
    text: Arc<Mutex<String>>,
    _stop: oneshot::Sender<()>,
}

impl MetricsListener {
    /// Listens at `address`; port 0 lets the host choose.
    pub async fn start(address: SocketAddr, text: String) -> Result<MetricsListener, MetricsError> {
        let failed = |cause| MetricsError { address, cause };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let text = Arc::new(Mutex::new(text));
        let shown = Arc::clone(&text);
        let body = move || shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tokio::spawn(serve_text(listener, async move { drop(stopped.await) }, body));
        Ok(MetricsListener { address, text, _stop: stop })
    }

    /// A line that says where it is.
    pub fn line(&self) -> String {
        format!("metrics   http://{}/metrics", self.address)
    }

    /// Shows this from now on.
    pub fn show(&self, text: String) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// Goes on for so long, or until a signal comes: what is asked for is complete by then.
    pub async fn linger(&self, length: Span, signals: &mut Signals) {
        tokio::select! {
            _ = signals.next() => {}
            () = tokio::time::sleep(length.as_duration()) => {}
        }
    }
}

/// Answers `GET /metrics` on `listener` with the text of `text` until `shutdown` is ready; other
/// paths get 404.
async fn serve_text<F>(listener: TcpListener, shutdown: impl Future<Output = ()> + Send, text: F)
where
    F: Fn() -> String + Send + Sync + 'static,
{
    let text = Arc::new(text);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match (accepted, Arc::clone(&places).try_acquire_owned()) {
                (Ok((stream, _)), Ok(place)) => {
                    let text = Arc::clone(&text);
                    connections.spawn(async move {
                        serve_connection(stream, text).await;
                        drop(place);
                    });
                }
                (Ok(_), Err(_)) => {}
                (Err(_), _) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    connections.shutdown().await;
}

async fn serve_connection<F>(stream: TcpStream, text: Arc<F>)
where
    F: Fn() -> String + Send + Sync + 'static,
{
    // What is left is a wait for the acknowledgement of what came before.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), text.as_ref());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    // A peer that misbehaves or is slow harms itself only.
    let _ = tokio::time::timeout(CONNECTION_DEADLINE, connection).await;
}

fn respond(method: &Method, path: &str, text: &impl Fn() -> String) -> Response<Full<Bytes>> {
    let (status, body) = match (path, *method == Method::GET) {
        ("/metrics", true) => (StatusCode::OK, text()),
        ("/metrics", false) => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "only /metrics\n".to_owned()),
    };
    let mut response = Response::builder().status(status).header(CONTENT_TYPE, TEXT);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response = response.header(ALLOW, "GET");
    }
    response.body(Full::from(body)).expect("status and headers are constants")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_are_text_and_everything_else_is_missing() {
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = MetricsListener::start(any, "up 0\n".to_owned()).await.unwrap();
        let address = listener.address;
        listener.show("up 1\n".to_owned());
        let silent = TcpStream::connect(address).await.unwrap();
        let answer = ask(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nup 1\n"), "{answer}");
        let other = ask(address, "GET /etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
        let post = ask(address, "POST /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
        let taken = MetricsListener::start(address, String::new()).await.unwrap_err();
        assert!(taken.to_string().contains("choose another --metrics-listen"), "{taken}");
        drop(listener);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).await.is_ok() {
            assert!(std::time::Instant::now() < deadline, "the listener is closed");
            tokio::task::yield_now().await;
        }
        drop(silent);
    }
}
