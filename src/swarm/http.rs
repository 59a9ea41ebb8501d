use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout_at};

use crate::base::{Span, Time};
use crate::net::fleet::connect;
use crate::net::{Clock, TlsClients, TlsFault};
use crate::phone::{
    FILE_SIZE_MAX, FileRequest, HttpFault, PageRequest, PageTrust, Transport, Trust,
};
use crate::wire::phone_page::PAGE_SIZE_MAX;
use crate::wire::uri::encode_path;

use super::FileServer;
use super::turn::{Carried, Fault, LACK_PATIENCE, LACK_PAUSE, Ticket, Turn};

/// Longest head of an answer.
const HEAD_MAX: usize = 16 * 1_024;
/// Most header lines of an answer.
const HEADERS_MAX: usize = 64;
/// Longest body of a 404 that is read, so that the connection can be kept.
const NOT_FOUND_MAX: usize = 64 * 1_024;

/// Asks servers for files over HTTP and HTTPS on behalf of phones: a connection per phone, kept for
/// the files of a boot.
#[derive(Clone, Debug)]
pub(super) struct HttpClient {
    pub tls: TlsClients,
    pub clock: Clock,
    /// Bounds connections; waiting here is the generator's lag.
    pub budget: Arc<Semaphore>,
    pub timeout: Span,
    /// Where its tasks run.
    pub runtime: Handle,
    pub results: mpsc::UnboundedSender<HttpResult>,
}

/// Decides whether a server's certificate (DER) is accepted.
pub(super) type SharedJudge = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// One file or page to ask for.
pub(super) struct HttpJob {
    pub ticket: Ticket,
    pub server: SocketAddr,
    /// What the server is called.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// How the server is judged: then it is asked over HTTPS, else over HTTP.
    pub judge: Option<SharedJudge>,
    /// Longest body that is taken.
    pub size_max: usize,
}

impl HttpJob {
    /// Asks a server for a file.
    pub(super) fn file(ticket: Ticket, server: FileServer, request: FileRequest) -> HttpJob {
        let FileRequest { file, trust, .. } = request;
        let server = if trust.is_some() { server.https } else { server.http };
        let judge = |trust: Trust| -> SharedJudge { Arc::new(move |der| trust.accepts(der)) };
        HttpJob {
            ticket,
            server,
            host: server.to_string(),
            target: encode_path(&file),
            judge: trust.map(judge),
            size_max: FILE_SIZE_MAX,
        }
    }

    /// Asks a server for a page.
    pub(super) fn page(ticket: Ticket, request: PageRequest) -> HttpJob {
        let PageRequest { server, host, target, trust } = request;
        let judge = |trust: PageTrust| -> SharedJudge { Arc::new(move |der| trust.accepts(der)) };
        HttpJob { ticket, server, host, target, judge: trust.map(judge), size_max: PAGE_SIZE_MAX }
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) struct HttpResult {
    pub via: Transport,
    /// The file, or `None` if the server has none, or why neither is known.
    pub carried: Carried<Option<Vec<u8>>, HttpFault>,
    /// Whether it had to wait for a place: the phone had no connection.
    pub waited: bool,
    /// Connections that were opened for it: one as a rule on the first file, two if the server
    /// had closed the kept one.
    pub connections: u64,
    /// What the server has presented (DER), over HTTPS.
    pub certificate: Option<Arc<[u8]>>,
}

/// The connection of one phone; closed and its place given back when dropped.
#[derive(Debug)]
pub(super) struct HttpLink {
    jobs: mpsc::Sender<HttpJob>,
    turn: Turn,
    task: AbortHandle,
}

impl Drop for HttpLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpLink {
    /// Says whether the file that was asked for last waits or is under way.
    pub const fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Asks for a file; the answer comes with the results. A phone asks for one at a time.
    pub fn ask(&self, job: HttpJob) {
        self.turn.wait();
        // There is room: a phone waits for its file before it asks for the next. A runtime that
        // shuts down takes nothing any more, and nobody waits then.
        let _ = self.jobs.try_send(job);
    }
}

impl HttpClient {
    /// A link of the phone at `source`; it connects when the first file is asked for.
    pub fn link(&self, source: Ipv4Addr) -> HttpLink {
        let (jobs, receiver) = mpsc::channel(1);
        let turn = Turn::default();
        let line = Line {
            client: self.clone(),
            source,
            turn: turn.clone(),
            place: None,
            kept: None,
            opened: 0,
            presented: None,
        };
        let task = self.runtime.spawn(line.run(receiver)).abort_handle();
        HttpLink { jobs, turn, task }
    }
}

/// A file, none, or why neither is known.
type Fetched = Result<Option<Vec<u8>>, Fault<HttpFault>>;

/// The side of a link that lives in its task.
struct Line {
    client: HttpClient,
    source: Ipv4Addr,
    turn: Turn,
    /// The place in the budget, kept until the link is gone and every descriptor of it is closed.
    place: Option<Arc<OwnedSemaphorePermit>>,
    kept: Option<Connection>,
    opened: u64,
    /// What the server of the last connection over TLS has presented.
    presented: Option<Arc<[u8]>>,
}

/// An open connection and the task that drives it.
struct Connection {
    server: SocketAddr,
    secure: bool,
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Line {
    async fn run(mut self, mut jobs: mpsc::Receiver<HttpJob>) {
        while let Some(job) = jobs.recv().await {
            let waited = self.place.is_none();
            if waited {
                let place = Arc::clone(&self.client.budget).acquire_owned().await;
                self.place = Some(Arc::new(place.expect("the budget is never closed")));
            }
            self.opened = 0;
            let carried = self.fetch_when_possible(&job).await;
            let result = HttpResult {
                via: Transport::over_http(job.judge.is_some()),
                waited: waited || !carried.lacks.is_empty(),
                connections: self.opened,
                certificate: self.presented.clone().filter(|_| job.judge.is_some()),
                carried,
            };
            // The worker is gone when the run is over; then nobody wants the answer.
            let _ = self.client.results.send(result);
        }
    }

    /// Fetches the file, again after a pause as long as the host lacks something for it.
    async fn fetch_when_possible(&mut self, job: &HttpJob) -> Carried<Option<Vec<u8>>, HttpFault> {
        let (clock, mut lacks) = (self.client.clock, Vec::new());
        let first = clock.now();
        loop {
            let started = clock.now();
            self.turn.begin(started);
            match self.fetch(job, started).await {
                Err(Fault::Ours(lack)) if started.since(first) < LACK_PATIENCE => lacks.push(lack),
                answer => {
                    let (ticket, ended) = (job.ticket, clock.now());
                    return Carried { ticket, answer, started, lacks, ended };
                }
            }
            self.turn.wait();
            tokio::time::sleep(LACK_PAUSE).await;
        }
    }

    async fn fetch(&mut self, job: &HttpJob, started: Time) -> Fetched {
        let deadline = self.client.clock.instant_at(started + self.client.timeout);
        let (server, secure) = (job.server, job.judge.is_some());
        let request = || request(job);
        let fits = |kept: &Connection| kept.secure == secure && kept.server == server;
        if let Some(mut kept) = self.kept.take().filter(fits) {
            // The server may have closed it meanwhile, as it may at any time: not a fault yet.
            let sent = timeout_at(deadline, kept.send(request()?)).await;
            if let Ok(response) = sent.map_err(|_| HttpFault::TimedOut)? {
                return Ok(self.read(kept, response, job.size_max, deadline).await?);
            }
        }
        let request = request()?;
        // A host that does not answer at all is as good as one that refuses.
        let open = self.open(server, job.judge.as_ref());
        let mut fresh = timeout_at(deadline, open).await.map_err(|_| HttpFault::Connection)??;
        let sent = timeout_at(deadline, fresh.send(request)).await;
        let response = sent.map_err(|_| HttpFault::TimedOut)?.map_err(|_| HttpFault::Protocol)?;
        Ok(self.read(fresh, response, job.size_max, deadline).await?)
    }

    /// Connects; with a judge over TLS, who decides on the server during the handshake.
    async fn open(
        &mut self,
        server: SocketAddr,
        judge: Option<&SharedJudge>,
    ) -> Result<Connection, Fault<HttpFault>> {
        let broken = |error: std::io::Error| Fault::of(&error, HttpFault::Connection);
        let stream = connect(server, self.source).await.map_err(broken)?;
        self.opened += 1;
        let Some(judge) = judge.cloned() else {
            return Ok(self.talk(stream, server, false).await?);
        };
        let presented = Arc::new(OnceLock::new());
        let seen = Arc::clone(&presented);
        let judge = Box::new(move |der: &[u8]| {
            let _ = seen.set(Arc::from(der));
            judge(der)
        });
        let connected = self.client.tls.connect(stream, judge).await;
        self.presented = presented.get().cloned();
        let stream = connected.map_err(|fault| match fault {
            TlsFault::Broken(error) => broken(error),
            TlsFault::Refused | TlsFault::Malformed => HttpFault::CertificateRefused.into(),
            TlsFault::TurnedAway => HttpFault::Connection.into(),
        })?;
        Ok(self.talk(stream, server, true).await?)
    }

    async fn talk<S>(
        &self,
        stream: S,
        server: SocketAddr,
        secure: bool,
    ) -> Result<Connection, HttpFault>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| HttpFault::Connection)?;
        let place = self.place.clone();
        let driver = tokio::spawn(async move {
            let _place = place;
            // Its errors come to light where the answer is read.
            let _ = connection.await;
        });
        Ok(Connection { server, secure, sender, driver })
    }

    /// Reads the answer and keeps the connection if it can be used again.
    async fn read(
        &mut self,
        connection: Connection,
        response: Response<Incoming>,
        size_max: usize,
        deadline: Instant,
    ) -> Result<Option<Vec<u8>>, HttpFault> {
        let status = response.status();
        let limit = match status {
            StatusCode::OK => size_max,
            StatusCode::NOT_FOUND => NOT_FOUND_MAX,
            other => return Err(HttpFault::Status(other.as_u16())),
        };
        let body = timeout_at(deadline, read_body(response.into_body(), limit)).await;
        let body = body.unwrap_or(Err(HttpFault::TimedOut));
        if body.is_ok() {
            self.kept = Some(connection);
        }
        if status == StatusCode::NOT_FOUND {
            // Whatever else it says, the file is not there.
            return Ok(None);
        }
        body.map(Some)
    }
}

impl Connection {
    async fn send(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

fn request(job: &HttpJob) -> Result<Request<Empty<Bytes>>, HttpFault> {
    let request = Request::get(&job.target).header(HOST, &job.host).body(Empty::new());
    request.map_err(|_| HttpFault::Protocol)
}

/// The whole body if it has at most `limit` bytes. An announced length is believed before a byte is
/// read; without one, reading stops where the limit is passed.
async fn read_body(mut body: Incoming, limit: usize) -> Result<Vec<u8>, HttpFault> {
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > limit as u64 {
        return Err(HttpFault::TooLarge);
    }
    let mut bytes = Vec::with_capacity(announced as usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| HttpFault::Protocol)?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(HttpFault::TooLarge);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}
