//! Servers with a planted limit, for `tests/capacity.rs`: their capacity is exact, because the end
//! of each request is computed and not slept for.

pub mod matrix;

use std::collections::{BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use resetstorm::base::{DeviceName, PhoneId};
use resetstorm::crypto::{CertificateSpec, DeviceSpec, Identity, KeySource, issue_to_device};
use resetstorm::wire::capf::{self, Command, Message, reason, tag, wrap_certificate};
use resetstorm::wire::sip::{Contact, Registered, SipMessage};
use resetstorm::wire::tftp::{ErrorCode, Packet};
use resetstorm::wire::tvs;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a server carries.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// Whatever comes.
    None,
    /// So many requests at a time, each for so long; the others wait.
    Workers { count: usize, service: Duration },
    /// Above so many a second it answers 503, or nothing where there is no such answer.
    Rate { per_s: f64 },
}

/// How a server behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    pub limit: Limit,
    /// Of so many requests for a file, the one with this number is answered with other bytes.
    pub wrong: Option<(u64, u64)>,
    /// Every seventh answer comes so much later, as of a server that sends again what was given up.
    pub late: Option<Duration>,
    /// It falls silent so long after its first request.
    pub silent_after: Option<Duration>,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour { limit: Limit::None, wrong: None, late: None, silent_after: None }
    }
}

impl Behaviour {
    pub fn limited(limit: Limit) -> Behaviour {
        Behaviour { limit, ..Behaviour::default() }
    }
}

/// What a server has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub requests: u64,
    pub unknown: u64,
    pub addresses: usize,
    /// How many of these lie in 127.77.0.0/16.
    pub addresses_77: usize,
    pub two_seconds_after_the_end: u64,
    /// Answers that were turned away as of an unknown transfer (RFC 1350).
    pub turned_away: u64,
}

/// What becomes of a request.
enum Fate {
    At(Instant),
    Refused,
    Silence,
}

/// The server's books.
struct Book {
    behaviour: Behaviour,
    begun: Option<Instant>,
    free: Vec<Instant>,
    tokens: f64,
    refilled: Instant,
    addresses: BTreeSet<IpAddr>,
    seen: Seen,
}

/// Requests above the rate that a server takes at once: neither a generator nor the thread of the
/// server itself is exact to the millisecond on a shared machine.
const BURST_MIN: f64 = 6.0;
/// The same in seconds of the rate.
const BURST_S: f64 = 0.05;

impl Limit {
    fn burst(self) -> f64 {
        match self {
            Limit::Rate { per_s } => BURST_MIN.max(per_s * BURST_S),
            _ => BURST_MIN,
        }
    }
}

impl Book {
    fn new(behaviour: Behaviour) -> Book {
        let now = Instant::now();
        let workers = match behaviour.limit {
            Limit::Workers { count, .. } => count,
            _ => 0,
        };
        Book {
            behaviour,
            begun: None,
            free: vec![now; workers],
            tokens: behaviour.limit.burst(),
            refilled: now,
            addresses: BTreeSet::new(),
            seen: Seen::default(),
        }
    }

    fn arrive(&mut self, from: IpAddr, unknown: bool) -> Fate {
        let now = Instant::now();
        self.addresses.insert(from);
        self.seen.addresses = self.addresses.len();
        let is_77 = |ip: &&IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets()[1] == 77);
        self.seen.addresses_77 = self.addresses.iter().filter(is_77).count();
        self.seen.requests += 1;
        self.seen.unknown += u64::from(unknown);
        let since = now - *self.begun.get_or_insert(now);
        if let Some(end) = self.behaviour.silent_after.filter(|end| since > *end) {
            let late = since > end + Duration::from_secs(2);
            self.seen.two_seconds_after_the_end += u64::from(late);
            return Fate::Silence;
        }
        match self.behaviour.limit {
            Limit::None => {
                let late = self.behaviour.late.filter(|_| self.seen.requests % 7 == 3);
                Fate::At(now + late.unwrap_or_default())
            }
            Limit::Workers { service, .. } => {
                let next = self.free.iter_mut().min().expect("there are workers");
                *next = (*next).max(now) + service;
                Fate::At(*next)
            }
            Limit::Rate { per_s } => {
                let refill = (now - self.refilled).as_secs_f64() * per_s;
                (self.tokens, self.refilled) =
                    ((self.tokens + refill).min(self.behaviour.limit.burst()), now);
                if self.tokens < 1.0 {
                    return Fate::Refused;
                }
                self.tokens -= 1.0;
                Fate::At(now)
            }
        }
    }

    fn is_wrong(&self) -> bool {
        let is_it = |(which, of): (u64, u64)| self.seen.requests % of == which + of / 2;
        self.behaviour.wrong.is_some_and(is_it)
    }
}

type Shared = Arc<(Mutex<Book>, Condvar)>;

/// Who signs the LSCs of a planted CAPF.
#[derive(Clone, Copy, Debug)]
pub enum Issuer {
    /// CAPF itself.
    Capf,
    /// Another CA, which the file of `--certificate` has behind CAPF.
    NamedCa,
    /// Another CA; the file has one with its name and another key.
    Namesake,
    /// Another CA, which the file does not have.
    UnnamedCa,
}

/// A running server; it ends with the value.
pub struct Planted {
    flags: Vec<String>,
    book: Shared,
    over: Arc<AtomicBool>,
    has_files: bool,
    folder: TempDir,
    /// Kept: the tasks of TCP servers live in it.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Planted {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(self.runtime.take());
    }
}

fn content(name: &str) -> Option<Vec<u8>> {
    name.strip_prefix("file-").map(|_| name.bytes().cycle().take(400).collect())
}

/// The names of the files that every server has.
pub fn names() -> Vec<String> {
    (0..20).map(|number| format!("file-{number}")).collect()
}

/// A UDP port that is free at this moment.
pub fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn arrive(book: &Shared, from: IpAddr, unknown: bool) -> (Fate, bool) {
    let mut held = book.0.lock().unwrap();
    let fate = held.arrive(from, unknown);
    let wrong = held.is_wrong();
    book.1.notify_all();
    (fate, wrong)
}

impl Planted {
    fn new(behaviour: Behaviour) -> Planted {
        Planted {
            flags: Vec::new(),
            book: Arc::new((Mutex::new(Book::new(behaviour)), Condvar::new())),
            over: Arc::default(),
            has_files: true,
            folder: tempfile::tempdir().unwrap(),
            runtime: None,
        }
    }

    /// A TFTP server of files of one block.
    pub fn tftp(behaviour: Behaviour) -> Planted {
        let mut planted = Planted::new(behaviour);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        planted.flags = vec!["--tftp".into(), address.to_string()];
        let (book, over) = (Arc::clone(&planted.book), Arc::clone(&planted.over));
        std::thread::spawn(move || serve_tftp(&socket, &book, &over));
        planted
    }

    /// An HTTP server.
    pub fn http(behaviour: Behaviour) -> Planted {
        let mut planted = Planted::new(behaviour);
        let (runtime, listener) = listen();
        planted.flags = vec!["--http".into(), listener.local_addr().unwrap().to_string()];
        let book = Arc::clone(&planted.book);
        runtime.spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                tokio::spawn(serve_http(stream, from, Arc::clone(&book)));
            }
        });
        planted.runtime = Some(runtime);
        planted
    }

    /// A TVS server that knows one certificate: its own.
    pub fn tvs(behaviour: Behaviour) -> Planted {
        let mut planted = Planted::new(behaviour);
        let spec =
            CertificateSpec { common_name: "tvs", not_before_s: 1_700_000_000, key_bits: 2048 };
        let identity = Identity::self_signed(&spec, &mut KeySource::bank(1));
        let pem = planted.folder.path().join("tvs.pem");
        std::fs::write(&pem, identity.certificate.to_pem()).unwrap();
        let (runtime, listener) = listen();
        let server = listener.local_addr().unwrap().to_string();
        let pem = pem.display().to_string();
        let flags = ["--tvs", &server, "--certificate", &pem, "--ask", &pem];
        planted.flags = flags.map(str::to_owned).to_vec();
        planted.has_files = false;
        let acceptor = acceptor(&identity);
        let certificate: Arc<[u8]> = identity.certificate.der().into();
        let book = Arc::clone(&planted.book);
        runtime.spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                let (acceptor, certificate) = (acceptor.clone(), Arc::clone(&certificate));
                tokio::spawn(serve_tvs(stream, from, acceptor, certificate, Arc::clone(&book)));
            }
        });
        planted.runtime = Some(runtime);
        planted
    }

    /// CAPF of so many phones, each of which it gives one LSC that it has signed.
    pub fn capf(behaviour: Behaviour, phones: u32) -> Planted {
        Planted::capf_of(behaviour, phones, Issuer::Capf)
    }

    /// CAPF of so many phones, each of which it gives one LSC.
    pub fn capf_of(behaviour: Behaviour, phones: u32, issuer: Issuer) -> Planted {
        let mut planted = Planted::new(behaviour);
        let mut keys = KeySource::bank(2);
        let mut identity = |common_name| {
            let spec = CertificateSpec { common_name, not_before_s: 1_700_000_000, key_bits: 2048 };
            Identity::self_signed(&spec, &mut keys)
        };
        let [identity, ca, namesake] = ["CAPF-1", "Offline CA", "Offline CA"].map(&mut identity);
        let (signer, listed) = match issuer {
            Issuer::Capf => (identity.clone(), None),
            Issuer::NamedCa => (ca.clone(), Some(ca)),
            Issuer::Namesake => (ca, Some(namesake)),
            Issuer::UnnamedCa => (ca, None),
        };
        let [pem, csv] = ["capf.pem", "phones.csv"].map(|name| planted.folder.path().join(name));
        let listed = listed.map(|ca| ca.certificate.to_pem()).unwrap_or_default();
        std::fs::write(&pem, identity.certificate.to_pem() + &listed).unwrap();
        let names = (0..phones).map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            DeviceName::of_mac([0x0C, 0x75, 0xBD, a, b, c]).to_string()
        });
        let names: Vec<String> = names.collect();
        std::fs::write(&csv, names.join("\n")).unwrap();
        let (runtime, listener) = listen();
        let server = listener.local_addr().unwrap().to_string();
        let [pem, csv] = [pem, csv].map(|path| path.display().to_string());
        let flags = ["--capf", &server, "--certificate", &pem, "--devices", &csv];
        planted.flags = flags.map(str::to_owned).to_vec();
        planted.has_files = false;
        let (acceptor, signer) = (acceptor(&identity), Arc::new(signer));
        let pending = Arc::new(Mutex::new(names.into_iter().collect::<BTreeSet<String>>()));
        let book = Arc::clone(&planted.book);
        runtime.spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                let (acceptor, pending) = (acceptor.clone(), Arc::clone(&pending));
                let (signer, book) = (Arc::clone(&signer), Arc::clone(&book));
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(stream).await else { return };
                    serve_capf(tls, from, &signer, &pending, &book).await;
                });
            }
        });
        planted.runtime = Some(runtime);
        planted
    }

    /// A registrar of so many phones over TCP; the list has thirty at least.
    pub fn sip(behaviour: Behaviour, phones: u32) -> Planted {
        let mut planted = Planted::new(behaviour);
        let csv = planted.folder.path().join("phones.csv");
        let names = 0..phones.max(30);
        let names = names.map(|number| DeviceName::of_phone(PhoneId(number)).to_string());
        std::fs::write(&csv, names.collect::<Vec<_>>().join("\n")).unwrap();
        let (runtime, listener) = listen();
        let server = listener.local_addr().unwrap().to_string();
        let flags = ["--sip", &server, "--devices", &csv.display().to_string()];
        planted.flags = flags.map(str::to_owned).to_vec();
        planted.has_files = false;
        let book = Arc::clone(&planted.book);
        runtime.spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                tokio::spawn(serve_sip(stream, from, phones, Arc::clone(&book)));
            }
        });
        planted.runtime = Some(runtime);
        planted
    }

    /// How `capacity` is pointed at it.
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// Whether it serves files.
    pub fn needs_names(&self) -> bool {
        self.has_files
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        self.book.0.lock().unwrap().seen
    }

    /// Waits until so many requests have come.
    pub fn wait_for_requests(&self, count: u64) -> bool {
        let held = self.book.0.lock().unwrap();
        let patience = Duration::from_mins(1);
        let few = |book: &mut Book| book.seen.requests < count;
        !self.book.1.wait_timeout_while(held, patience, few).unwrap().1.timed_out()
    }
}

fn listen() -> (tokio::runtime::Runtime, TcpListener) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    (runtime, listener)
}

/// Answers each request at its computed end, all in one thread.
fn serve_tftp(socket: &UdpSocket, book: &Shared, over: &AtomicBool) {
    let mut due: BinaryHeap<std::cmp::Reverse<(Instant, SocketAddr, Vec<u8>)>> = BinaryHeap::new();
    let mut buffer = [0; 1_024];
    while !over.load(Ordering::Relaxed) {
        let now = Instant::now();
        while due.peek().is_some_and(|next| next.0.0 <= now) {
            let std::cmp::Reverse((_, to, bytes)) = due.pop().unwrap();
            let _ = socket.send_to(&bytes, to);
        }
        let wait = due.peek().map_or(Duration::from_millis(50), |next| next.0.0 - now);
        socket.set_read_timeout(Some(wait.max(Duration::from_micros(100)))).unwrap();
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let file = match Packet::parse(&buffer[..length]) {
            Ok(Packet::Rrq { file, .. }) => file,
            Ok(Packet::Error { code: ErrorCode::UNKNOWN_TRANSFER_ID, .. }) => {
                book.0.lock().unwrap().seen.turned_away += 1;
                continue;
            }
            _ => continue,
        };
        let found = content(file);
        let (fate, wrong) = arrive(book, from.ip(), found.is_none());
        let Fate::At(at) = fate else { continue };
        let mut bytes = Vec::new();
        match found {
            Some(mut data) => {
                data[100] ^= u8::from(wrong);
                Packet::Data { block: 1, data: &data }.encode(&mut bytes);
            }
            None => {
                Packet::Error { code: ErrorCode::FILE_NOT_FOUND, message: b"" }.encode(&mut bytes);
            }
        }
        due.push(std::cmp::Reverse((at, from, bytes)));
    }
}

async fn serve_http(mut stream: TcpStream, from: SocketAddr, book: Shared) {
    let (mut head, mut buffer) = (Vec::new(), [0; 1_024]);
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(length) if length > 0 => head.extend_from_slice(&buffer[..length]),
                _ => return,
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let name = text.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        head.clear();
        let found = content(&name);
        let (fate, _) = arrive(&book, from.ip(), found.is_none());
        let (status, body) = match (fate, found) {
            (Fate::At(at), found) => {
                tokio::time::sleep_until(at.into()).await;
                (
                    if found.is_some() { "200 OK" } else { "404 Not Found" },
                    found.unwrap_or_default(),
                )
            }
            (Fate::Refused, _) => ("503 Service Unavailable", Vec::new()),
            (Fate::Silence, _) => return std::future::pending().await,
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
            return;
        }
    }
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(identity.key.pkcs8().to_vec().into());
    let chain = vec![CertificateDer::from(identity.certificate.der().to_vec())];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve_tvs(
    stream: TcpStream,
    from: SocketAddr,
    acceptor: TlsAcceptor,
    certificate: Arc<[u8]>,
    book: Shared,
) {
    let Ok(mut tls) = acceptor.accept(stream).await else { return };
    let mut message = vec![0; tvs::HEADER_LENGTH];
    if tls.read_exact(&mut message).await.is_err() {
        return;
    }
    let header = message[..].try_into().unwrap();
    message.resize(tvs::message_length(header).unwrap(), 0);
    if tls.read_exact(&mut message[tvs::HEADER_LENGTH..]).await.is_err() {
        return;
    }
    let request = tvs::Request::parse(&message).unwrap();
    let (fate, _) = arrive(&book, from.ip(), false);
    match fate {
        Fate::At(at) => tokio::time::sleep_until(at.into()).await,
        // It closes the connection: TVS has no other word for it.
        Fate::Refused => return,
        Fate::Silence => return std::future::pending().await,
    }
    let (command, shown) = match request.question {
        tvs::Question::Verify { .. } => (tvs::Command::VerifyResponse, None),
        tvs::Question::Query { .. } => (tvs::Command::QueryResponse, Some(&*certificate)),
    };
    let known = Some(tvs::Known { certificate: shown, roles: &[21], ttl_s: 60 });
    let answer = tvs::Response { command, session_id: request.session_id, known }.encode();
    let _ = tls.write_all(&answer).await;
    let _ = tls.shutdown().await;
}

/// One registration: 100 at once, and the last word when its time has come. It comes in two
/// pieces.
async fn serve_sip(mut stream: TcpStream, from: SocketAddr, phones: u32, book: Shared) {
    let (mut message, mut piece) = (Vec::new(), [0; 2_048]);
    while !message.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => message.extend_from_slice(&piece[..read]),
        }
    }
    let request = SipMessage::parse(&message).unwrap();
    let contact = Contact::of(&request).unwrap();
    assert_eq!(contact.expires_s, Some(3_600));
    let device: DeviceName = contact.device.parse().unwrap();
    let known = device.phone().is_some_and(|phone| phone.0 < phones);
    let (fate, wrong) = arrive(&book, from.ip(), !known);
    let word = |word: Registered| word.encode(&request, Some(from.ip()));
    let _ = stream.write_all(&word(Registered::No { status: 100, reason: "Trying" })).await;
    let last = match fate {
        Fate::At(at) => {
            tokio::time::sleep_until(at.into()).await;
            let refused = Registered::No { status: 403, reason: "Forbidden" };
            if wrong || !known { refused } else { Registered::Ok { expires_s: 3_600 } }
        }
        Fate::Refused => Registered::Later { retry_after_s: 1 },
        Fate::Silence => return std::future::pending().await,
    };
    let last = word(last);
    let (start, end) = last.split_at(9);
    let _ = stream.write_all(start).await;
    let _ = stream.write_all(end).await;
    let _ = stream.shutdown().await;
}

type Tls = tokio_rustls::server::TlsStream<TcpStream>;

/// Says a message of CAPF and reads what comes; nothing if the phone is gone.
async fn hear(tls: &mut Tls, said: &Message<'_>) -> Option<Vec<u8>> {
    tls.write_all(&said.encode()).await.ok()?;
    let mut message = vec![0; capf::HEADER_LENGTH];
    tls.read_exact(&mut message).await.ok()?;
    let length = capf::message_length(message[..].try_into().unwrap()).unwrap();
    message.resize(length, 0);
    tls.read_exact(&mut message[capf::HEADER_LENGTH..]).await.ok()?;
    Some(message)
}

/// One session of CAPF: an LSC for a phone that has none, and for no other.
async fn serve_capf(
    mut tls: Tls,
    from: SocketAddr,
    signer: &Identity,
    pending: &Mutex<BTreeSet<String>>,
    book: &Shared,
) -> Option<()> {
    const SESSION: u32 = 7;
    let say = |command| Message::new(command, SESSION);
    let end = |why: &'static [u8]| say(Command::EndSession).with(tag::REASON, why);
    let heard = hear(&mut tls, &say(Command::AuthRequest).with(tag::VERSION, &[3])).await?;
    let heard = Message::parse(&heard).unwrap();
    assert_eq!(heard.session_id, SESSION);
    let name = heard.device_name().unwrap().unwrap().to_owned();
    let is_known = name.starts_with("SEP0C75BD");
    if !is_known || !pending.lock().unwrap().remove(&name) {
        let why: &[u8] = if is_known { &[reason::NO_ACTION] } else { &[reason::UNKNOWN_DEVICE] };
        let _ = tls.write_all(&end(why).encode()).await;
        return tls.shutdown().await.ok();
    }
    let (fate, wrong) = arrive(book, from.ip(), false);
    match fate {
        Fate::At(at) => tokio::time::sleep_until(at.into()).await,
        Fate::Refused => {
            let later = say(Command::RetryLater).with(tag::RETRY_DELAY, &[0, 30]);
            let _ = tls.write_all(&later.encode()).await;
            return tls.shutdown().await.ok();
        }
        Fate::Silence => return std::future::pending().await,
    }
    let asked = say(Command::KeyGenerateRequest).with(tag::KEY_TYPE, &[1]).with(tag::CURVE, &[0]);
    let heard = hear(&mut tls, &asked).await?;
    let heard = Message::parse(&heard).unwrap();
    let key = heard.find(tag::PUBLIC_KEY).unwrap().value;
    let device_name = if wrong { "SEP001122334455" } else { &name };
    let spec = DeviceSpec {
        common_name: device_name,
        device_name,
        public_key_info: key,
        serial: [7; 16],
        not_before_s: 1_700_000_000,
        valid_s: 86_400,
    };
    let lsc = wrap_certificate(issue_to_device(&spec, signer).unwrap().der());
    let store = say(Command::StoreCertificateRequest).with(tag::CERTIFICATE_TYPE, &[1]);
    let heard = hear(&mut tls, &store.with(tag::CERTIFICATE, &lsc)).await?;
    assert_eq!(Message::parse(&heard).unwrap().command, Command::StoreCertificateResponse);
    let _ = tls.write_all(&end(&[reason::DONE]).encode()).await;
    tls.shutdown().await.ok()
}
