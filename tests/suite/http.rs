//! HTTP on real sockets of the loopback: our server against clients that are not ours to trust, and
//! our phones against servers that mean harm.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use resetstorm::base::{ClusterId, Home, NodeId, PhoneId, Span};
use resetstorm::cluster::operator::certificates::Regenerate;
use resetstorm::cluster::operator::services::Services;
use resetstorm::cluster::{
    CertificateKind, Cluster, Effect, FileReply, FleetSpec, Genesis, GroupSpec, NodeSpec,
    Operation, Ports, Release, ServiceKind, SignCacheMode, Topology, Waiter,
};
use resetstorm::crypto::KeySource;
use resetstorm::measure::{Counts, HttpCounts, Ledger};
use resetstorm::net::{Clock, limits};
use resetstorm::phone::{
    Env, ListFiles, Outcome, PROVISIONING_ROLES, Phone, PhoneProfile, Shared, TransportRule, Trust,
    TrustLists, Verifier,
};
use resetstorm::play::Homes;
use resetstorm::serve::{Bound, ServeSettings, Servers};
use resetstorm::swarm::{FileServer, Swarm, SwarmPlan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const NODE: NodeId = ClusterId::FIRST.node(0);
const PHONES: u32 = 8;
const CONFIG: &str = "SEP0C75BD000003.cnf.xml.sgn";
/// Longest wait of a test for anything.
/// What is served beside the files of the phones.
const LOAD: &[u8] = b"an image of firmware";
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster of one node that serves TFTP, HTTP and TVS.
struct Stage {
    cluster: Cluster,
    servers: Servers,
    http: SocketAddr,
    https: SocketAddr,
}

fn topology(release: Release) -> Topology {
    let node = NodeSpec {
        name: "pub".into(),
        domain: None,
        address: [127, 0, 0, 1].into(),
        services: vec![ServiceKind::CallManager, ServiceKind::Tftp, ServiceKind::Tvs],
        ports: Ports { http: Some(0), https: Some(0), ..Ports::ANY },
        expires: std::collections::BTreeMap::new(),
    };
    let group = GroupSpec { name: "all".into(), members: vec![NODE], share: 1.0 };
    Topology {
        cluster: ClusterId::FIRST,
        release,
        sign_cache: SignCacheMode::Lazy,
        key_bits: 2048,
        file_signature: release.file_signature(),
        secured_urls: true,
        security: resetstorm::cluster::Security::default(),
        domain: None,
        faults: Vec::new(),
        replication_delay: Span::ZERO,
        registrar: None,
        nodes: vec![node],
        groups: vec![group],
    }
}

impl Stage {
    /// Where phones get their files.
    fn files(&self) -> FileServer {
        let tftp = self.cluster.topology().socket(NODE, ServiceKind::Tftp);
        FileServer { tftp, http: self.http, https: self.https }
    }

    async fn new() -> Stage {
        Stage::with(ServeSettings::default()).await
    }

    async fn with(settings: ServeSettings) -> Stage {
        Stage::of(Release::R8_6, settings).await
    }

    async fn of(release: Release, settings: ServeSettings) -> Stage {
        let bound = Bound::bind(&topology(release)).unwrap();
        let topology = bound.topology().clone();
        let (http, https) = (topology.http_socket(NODE), topology.https_socket(NODE));
        let cluster = Cluster::new(Genesis {
            topology,
            fleet: FleetSpec {
                phones: PHONES,
                models: vec![(8841.into(), 1.0)],
                seed: 1,
                uploaded: [("load/sip88xx.bin".to_owned(), LOAD.to_vec())].into_iter().collect(),
                ..FleetSpec::default()
            },
            source: KeySource::bank(1),
            epoch_s: 1_700_000_000,
            stored: resetstorm::cluster::Stored::default(),
        });
        let servers = Servers::start(bound, &cluster, Clock::start(), settings).await.unwrap();
        Stage { cluster, servers, http, https }
    }

    async fn operate(&mut self, action: impl Operation) {
        for effect in self.cluster.apply(&action, Clock::start().now()).unwrap() {
            if let Effect::Service(change) = &effect {
                self.servers.follow(change).await.unwrap();
            }
        }
    }

    /// The bytes that the running service has for a file, which is signed already: the same that
    /// TFTP brings.
    fn served(&self, file: &str) -> Vec<u8> {
        match self.cluster.tftp(NODE).unwrap().request(file, Waiter(0)) {
            FileReply::Ready(file) => file.to_bytes(),
            other => panic!("{file}: {other:?}"),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.http).await.unwrap()
    }

    /// The status and body of one request on a connection of its own.
    async fn say(&self, request: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        let (status, _, body) = answer(&mut stream).await;
        (status, body)
    }
}

/// Status, head and body of the next answer on a connection.
async fn answer(stream: &mut TcpStream) -> (u16, String, Vec<u8>) {
    let read = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a whole head"));
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        (status, head, body)
    };
    timeout(PATIENCE, read).await.expect("an answer in time")
}

async fn get(stream: &mut TcpStream, file: &str) -> (u16, Vec<u8>) {
    let request = format!("GET /{file} HTTP/1.1\r\nHost: cucm\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (status, _, body) = answer(stream).await;
    (status, body)
}

/// Waits for the peer to close; returns what it said before.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is a close as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("closed in time");
    said
}

/// Waits for a condition.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, reached).await.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_four_files_of_a_boot_arrive_byte_for_byte_on_one_connection() {
    let stage = Stage::new().await;
    let mut stream = stage.connect().await;
    assert_eq!(get(&mut stream, "CTLSEP0C75BD000003.tlv").await, (404, Vec::new()));
    for file in ["ITLSEP0C75BD000003.tlv", CONFIG, "SEP0C75BD000003.cnf.xml"] {
        let (status, body) = get(&mut stream, file).await;
        assert_eq!(status, 200);
        assert!(body == stage.served(file), "{file}");
    }
    let counts = stage.servers.counts().http;
    assert_eq!((counts.connections, counts.requests), (1, 4));
    assert_eq!((counts.answers, counts.not_found), (3, 1));
    stage.servers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_have_the_headers_that_phones_are_used_to() {
    let stage = Stage::new().await;
    let mut stream = stage.connect().await;
    stream.write_all(b"GET /ITLFile.tlv HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let (_, head, body) = answer(&mut stream).await;
    for line in [&format!("Content-Length: {}", body.len()), "Cache-Control: no-store"] {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    assert!(head.contains("\r\nContent-Type: */*\r\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_get_and_head_are_served_and_paths_lead_nowhere() {
    let stage = Stage::new().await;
    for method in ["POST", "OPTIONS", "PUT", "DELETE", "TRACE", "BREW"] {
        let request =
            format!("{method} /ITLFile.tlv HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut stream = stage.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let said = String::from_utf8(rest(&mut stream).await).unwrap();
        assert!(said.starts_with("HTTP/1.1 405 "), "{said}");
        assert!(said.contains("\r\nAllow: GET, HEAD\r\n"), "{said}");
    }
    for path in [
        "/",
        "/../ITLFile.tlv",
        "/../../etc/passwd",
        "//ITLFile.tlv",
        "/./ITLFile.tlv",
        "/%2FITLFile.tlv",
        "/%2e%2e%2fITLFile.tlv",
        "/%2549TLFile.tlv",
        "/ITLFile.tlv/",
        "/itlfile.tlv",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(stage.say(request.as_bytes()).await.0, 404, "{path}");
    }
    for path in ["/ITLFile.tlv%00", "/%", "/ITLFile%2.tlv", "/%FFITLFile.tlv", "/ITL%0d%0aFile.tlv"]
    {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(stage.say(request.as_bytes()).await.0, 400, "{path}");
    }
    let counts = stage.servers.counts().http;
    assert_eq!((counts.refused_method, counts.not_found, counts.answers), (6, 15, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encoded_names_queries_and_absolute_targets_lead_to_the_file() {
    let stage = Stage::new().await;
    let (_, expected) = get(&mut stage.connect().await, "ITLFile.tlv").await;
    assert!(expected == stage.served("ITLFile.tlv"));
    for target in [
        "/%49TLFile.tlv",
        "/ITLFile%2etlv",
        "/ITLFile.tlv?x=1",
        "/ITLFile.tlv?",
        "/ITLFile.tlv?%zz",
        "http://cucm:6970/ITLFile.tlv",
        "http://cucm/%49TLFile.tlv?x",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: cucm\r\n\r\n");
        let mut stream = stage.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let (status, _, body) = answer(&mut stream).await;
        assert_eq!(status, 200, "{target}");
        assert!(body == expected, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploaded_files_are_served_and_no_path_leads_out_of_them() {
    let stage = Stage::new().await;
    let mut stream = stage.connect().await;
    assert_eq!(get(&mut stream, "load/sip88xx.bin").await.1, LOAD);
    for path in
        ["/load", "/load/../load/sip88xx.bin", "/%2e%2e/load/sip88xx.bin", "//load/sip88xx.bin"]
    {
        let request = format!("GET {path} HTTP/1.1\r\nHost: cucm\r\n\r\n");
        assert_eq!(stage.say(request.as_bytes()).await.0, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_answered_as_get_without_a_body() {
    let stage = Stage::new().await;
    for (file, status) in [("ITLFile.tlv", 200), (CONFIG, 200), ("nothing.xml", 404)] {
        let ask = |method: &str| {
            format!("{method} /{file} HTTP/1.1\r\nHost: cucm\r\nConnection: close\r\n\r\n")
        };
        let mut said = Vec::new();
        for method in ["GET", "HEAD"] {
            let mut stream = stage.connect().await;
            stream.write_all(ask(method).as_bytes()).await.unwrap();
            said.push(rest(&mut stream).await);
        }
        let end = said[0].windows(4).position(|at| at == b"\r\n\r\n").unwrap() + 4;
        let lines = |head: &[u8]| {
            let text = String::from_utf8(head.to_vec()).unwrap();
            let mut lines: Vec<_> =
                text.lines().filter(|line| !line.starts_with("Date:")).collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        assert_eq!(lines(&said[1]), lines(&said[0][..end]), "{file}");
        assert!(said[1].starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{file}");
        let length = format!("Content-Length: {}", said[0].len() - end);
        assert!(lines(&said[1]).contains(&length), "{file}: {}", lines(&said[1]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_oversized_heads_are_refused_and_closed() {
    let stage = Stage::new().await;
    let long = format!("GET /ITLFile.tlv HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 * 1_024));
    let name = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    let many = format!("GET /ITLFile.tlv HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    let cases: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /ITLFile.tlv\0 HTTP/1.1\r\n\r\n",
        b"GET /ITLFile.tlv HTTP/9.9\r\n\r\n",
        long.as_bytes(),
        name.as_bytes(),
        many.as_bytes(),
    ];
    for case in cases {
        let mut stream = stage.connect().await;
        // It may close before it has read all of it.
        let _ = stream.write_all(case).await;
        let said = String::from_utf8_lossy(&rest(&mut stream).await).into_owned();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    let mut stream = stage.connect().await;
    assert_eq!(get(&mut stream, "ITLFile.tlv").await.0, 200, "others are served");
    until("all six are counted", || stage.servers.counts().http.malformed == 6).await;
    assert_eq!(stage.servers.counts().http.requests, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_half_and_idle_connections_end_at_the_deadline() {
    let header_deadline = Span::from_secs(1);
    let stage = Stage::with(ServeSettings { header_deadline, ..ServeSettings::default() }).await;
    let mut silent = stage.connect().await;
    let mut half = stage.connect().await;
    half.write_all(b"GET /ITLFile.tlv HT").await.unwrap();
    let mut idle = stage.connect().await;
    assert_eq!(get(&mut idle, "ITLFile.tlv").await.0, 200);
    for stream in [&mut silent, &mut half, &mut idle] {
        rest(stream).await;
    }
    let mut slow = stage.connect().await;
    let sends = async {
        loop {
            if slow.write_all(b"G").await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, sends).await.expect("a slow sender is closed as well");
    until("no connection is left", || stage.servers.counts().http.connections_in_flight == 0).await;
    assert_eq!(stage.servers.counts().http.connections, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_of_one_file_cost_one_signature() {
    let stage = Stage::new().await;
    let before = stage.cluster.sign_cache().counts().made;
    let mut clients = JoinSet::new();
    for _ in 0..200 {
        let http = stage.http;
        clients.spawn(async move {
            let mut stream = TcpStream::connect(http).await.unwrap();
            get(&mut stream, CONFIG).await
        });
    }
    let answers = clients.join_all().await;
    let file = stage.served(CONFIG);
    assert!(answers.iter().all(|(status, body)| *status == 200 && *body == file));
    assert_eq!(stage.cluster.sign_cache().counts().made - before, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_asked_and_says_no_more_is_answered_and_who_leaves_gives_his_place_back() {
    let stage = Stage::new().await;
    // Its signature is not made yet, so that the end of what is said comes before the answer.
    let mut done = stage.connect().await;
    let request = format!("GET /{CONFIG} HTTP/1.1\r\nHost: cucm\r\n\r\n");
    done.write_all(request.as_bytes()).await.unwrap();
    done.shutdown().await.unwrap();
    let (status, _, body) = answer(&mut done).await;
    assert_eq!((status, body), (200, stage.served(CONFIG)));
    assert!(rest(&mut done).await.is_empty());
    let mut idle = stage.connect().await;
    assert_eq!(get(&mut idle, "ITLFile.tlv").await.0, 200);
    drop(idle);
    let mut asking = stage.connect().await;
    asking.write_all(request.as_bytes()).await.unwrap();
    drop(asking);
    until("nobody is left", || stage.servers.counts().http.connections_in_flight == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let settings = ServeSettings { http_connections_max: 2, ..ServeSettings::default() };
    let stage = Stage::with(settings).await;
    let (mut one, mut two) = (stage.connect().await, stage.connect().await);
    assert_eq!(get(&mut one, "ITLFile.tlv").await.0, 200);
    assert_eq!(get(&mut two, "ITLFile.tlv").await.0, 200);
    assert!(rest(&mut stage.connect().await).await.is_empty());
    until("it is counted", || stage.servers.counts().http.refused_full == 1).await;
    assert_eq!(get(&mut one, "ITLFile.tlv").await.0, 200, "the others are not disturbed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_shows_the_new_signer_and_a_stop_closes_the_port() {
    let mut stage = Stage::new().await;
    let service = Some(ServiceKind::Tftp);
    let mut kept = stage.connect().await;
    let (_, old) = get(&mut kept, "ITLFile.tlv").await;
    let certificate = CertificateKind::CallManager;
    stage.operate(Regenerate { certificate, node: NODE }).await;
    assert!(get(&mut kept, "ITLFile.tlv").await.1 == old, "not before the restart");
    stage.operate(Services::restart(NODE, service)).await;
    let (_, new) = get(&mut kept, "ITLFile.tlv").await;
    assert!(new != old && new == stage.served("ITLFile.tlv"));
    stage.operate(Services::stop(NODE, service)).await;
    assert!(rest(&mut kept).await.is_empty());
    assert!(TcpStream::connect(stage.http).await.is_err(), "nobody listens");
    stage.operate(Services::start(NODE, service)).await;
    assert_eq!(get(&mut stage.connect().await, "ITLFile.tlv").await.0, 200);
}

/// What a server that means harm says to every request.
#[derive(Clone, Debug)]
enum Harm {
    /// These bytes, then it closes.
    Says(Vec<u8>),
    /// This head, then bytes without end.
    Endless(&'static str),
    /// Nothing.
    Silence,
    /// The answer to each request by its path, on a kept connection; 404 for others.
    Files(BTreeMap<String, Vec<u8>>),
}

async fn hostile(harm: Harm) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(do_harm(stream, harm.clone()));
        }
    });
    address
}

async fn do_harm(mut stream: TcpStream, harm: Harm) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        match &harm {
            Harm::Says(bytes) => return stream.write_all(bytes).await,
            Harm::Endless(head) => {
                stream.write_all(head.as_bytes()).await?;
                // Valid as a chunk, and as anything.
                let chunk = [b"1000\r\n".to_vec(), vec![b'x'; 4_096], b"\r\n".to_vec()].concat();
                loop {
                    stream.write_all(&chunk).await?;
                }
            }
            Harm::Silence => tokio::time::sleep(PATIENCE).await,
            Harm::Files(files) => {
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or("");
                let (status, body) = match files.get(path) {
                    Some(body) => ("200 OK", &body[..]),
                    None => ("404 Not Found", &b"not here"[..]),
                };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all(&[head.as_bytes(), body].concat()).await?;
            }
        }
    }
}

fn with_length(announced: usize, sent: usize) -> Harm {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\n\r\n");
    Harm::Says([head.into_bytes(), vec![0x2a; sent]].concat())
}

/// The phones of `stage`, booted once with HTTP at `http` and TFTP at the stage, and the lists that
/// they had before.
async fn boot(stage: &Stage, http: SocketAddr) -> (Vec<Phone>, Ledger, TrustLists) {
    boot_with(stage, http, Span::from_secs(10)).await
}

async fn boot_with(
    stage: &Stage,
    http: SocketAddr,
    http_timeout: Span,
) -> (Vec<Phone>, Ledger, TrustLists) {
    boot_at(stage, FileServer { http, https: http, ..stage.files() }, http_timeout).await
}

async fn boot_at(
    stage: &Stage,
    files: FileServer,
    http_timeout: Span,
) -> (Vec<Phone>, Ledger, TrustLists) {
    let profile =
        PhoneProfile { transport: TransportRule::Http, http_timeout, ..PhoneProfile::default() };
    let shared = Arc::new(Shared::default());
    let env = Env {
        profile: Arc::new(profile.clone()),
        shared: Arc::clone(&shared),
        verifier: Verifier::real(),
    };
    let service = stage.cluster.tftp(NODE).unwrap();
    let provisioned = |number| {
        let mut phone = Phone::new(PhoneId(number), 8841);
        let (config, identity) = service.config_of(phone.id());
        phone
            .provision(
                &env,
                ListFiles { ctl: None, itl: Some(&service.signed_list()) },
                &config,
                identity,
            )
            .unwrap();
        phone
    };
    let phones: Vec<Phone> = (0..PHONES).map(provisioned).collect();
    let before = phones[0].lists().clone();
    let plan = SwarmPlan {
        uses: std::sync::Arc::new([]),
        seed: 1,
        profile,
        homes: Arc::new(Homes::dealt(vec![Home::from([NODE])])),
        files: BTreeMap::from([(NODE, files)]),
        targets: std::collections::BTreeMap::new(),
        hosts: Arc::default(),
        allowed: Vec::new(),
        transfers_in_flight: 100,
        lookups_in_flight: 100,
        registrations_in_flight: 100,
        connections_in_flight: 100,
    };
    let clock = Clock::start();
    let swarm = Swarm::start(&plan, clock, &shared, phones).unwrap();
    swarm.boot_all(clock.now(), Span::ZERO, true).await;
    until("every phone settles", || swarm.is_settled()).await;
    let (phones, ledger) = swarm.stop().await;
    (phones, ledger, before)
}

fn outcomes(ledger: &Ledger, wanted: impl Fn(Outcome) -> bool) -> usize {
    let outcomes = ledger.phones().iter().filter_map(|phone| phone.outcome);
    outcomes.filter(|&outcome| wanted(outcome)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_harm_http_does_tftp_brings_the_same_file() {
    let limit = 550_001;
    let fixed = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
    let wrong = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello".to_vec();
    let long = [&b"HTTP/1.1 200 OK\r\nX: "[..], &vec![b'x'; 100_000], b"\r\n\r\n"].concat();
    let harms = [
        with_length(1_000, 10),
        with_length(limit + 1, limit + 1),
        Harm::Endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Harm::Endless("HTTP/1.1 200 OK\r\n\r\n"),
        Harm::Endless(fixed),
        Harm::Endless("HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Harm::Says(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Harm::Says(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n".to_vec()),
        Harm::Says(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        Harm::Says(b"220 not http at all\r\n".to_vec()),
        Harm::Says(Vec::new()),
        Harm::Says(wrong),
        Harm::Says(long),
    ];
    let stage = Stage::new().await;
    for harm in harms {
        let name = format!("{harm:.60?}");
        let (_, ledger, _) = boot(&stage, hostile(harm).await).await;
        let HttpCounts { requests, fallbacks, errors, bytes, .. } = ledger.counts().http;
        assert_eq!((requests, fallbacks, errors), (32, 32, 32), "{name}");
        assert_eq!((bytes, ledger.counts().tftp.requests), (0, 32), "{name}");
        let ready = outcomes(&ledger, |outcome| outcome == Outcome::Ready);
        assert_eq!((ready, ledger.counts().unexpected), (8, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_or_silent_port_costs_one_attempt_per_boot() {
    let stage = Stage::new().await;
    // Nobody listens at this address.
    let closed = "127.0.0.78:6970".parse().unwrap();
    for server in [closed, hostile(Harm::Silence).await] {
        let (_, ledger, _) = boot_with(&stage, server, Span::from_millis(500)).await;
        let Counts { http, tftp, .. } = *ledger.counts();
        assert_eq!((http.requests, http.fallbacks, tftp.requests), (8, 8, 32));
        assert_eq!(outcomes(&ledger, |outcome| outcome == Outcome::Ready), 8);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_does_not_verify_is_ever_in_force() {
    let stage = Stage::new().await;
    // Signed now, and then served by somebody who changes it.
    get(&mut stage.connect().await, "ITLFile.tlv").await;
    let mut flipped = stage.served("ITLFile.tlv");
    *flipped.last_mut().unwrap() ^= 1;
    for list in [flipped, vec![0x2a; 550_001], b"<html>not a list</html>".to_vec()] {
        let mut files = BTreeMap::new();
        for phone in 0..PHONES {
            let name = Phone::new(PhoneId(phone), 8841).name();
            files.insert(format!("/ITL{name}.tlv"), list.clone());
            files.insert(format!("/{name}.cnf.xml.sgn"), list.clone());
        }
        let (phones, ledger, before) = boot(&stage, hostile(Harm::Files(files)).await).await;
        assert_eq!(outcomes(&ledger, |outcome| matches!(outcome, Outcome::Failed(_))), 8);
        let tallies = ledger.tallies();
        assert_eq!((tallies.list_alarms, tallies.config_alarms), (8, 8));
        assert!(phones.iter().all(|phone| *phone.lists() == before), "the old list is kept");
        let counts = &ledger.counts();
        assert_eq!((counts.http.fallbacks, counts.http.not_found), (0, 16), "HTTP brought them");
        assert_eq!(counts.http.connections, 8, "a 404 with a body keeps the connection");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_after_each_answer_is_no_fault() {
    let stage = Stage::new().await;
    for version in ["1.1", "1.0"] {
        let answer = format!("HTTP/{version} 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
        let server = hostile(Harm::Says(answer.into_bytes())).await;
        let (_, ledger, _) = boot(&stage, server).await;
        let counts = &ledger.counts();
        // Own and generic CTL, own and generic ITL, own and default configuration.
        assert_eq!((counts.http.requests, counts.http.not_found), (48, 48));
        assert_eq!((counts.http.errors, counts.http.connections), (0, 48));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_phones_are_ready_beside_a_thousand_bad_peers() {
    limits::raise_descriptor_limit().unwrap();
    let stage = Stage::new().await;
    let mut bad = Vec::new();
    for number in 0..1_000 {
        let mut stream = stage.connect().await;
        let said: &[u8] = match number % 4 {
            0 => b"",
            1 => b"GET /ITLFile.tlv HTTP/1.1\r\nHost:",
            2 => b"\0\x16garbage\r\n\r\n",
            // Asks again and again and never reads.
            _ => &b"GET /ITLFile.tlv HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20),
        };
        let _ = stream.write_all(said).await;
        bad.push(stream);
    }
    let (_, ledger, _) = boot(&stage, stage.http).await;
    assert_eq!(outcomes(&ledger, |outcome| outcome == Outcome::Ready), 8);
    let counts = &ledger.counts();
    assert_eq!((counts.http.requests, counts.http.errors, counts.tftp.requests), (32, 0, 0));
    until("malformed heads are counted", || stage.servers.counts().http.malformed == 250).await;
}

/// A stage whose phones hold lists with signer version 1.1, and where they ask.
async fn secure_stage() -> (Stage, FileServer) {
    let stage = Stage::of(Release::R14, ServeSettings::default()).await;
    let servers = stage.files();
    (stage, servers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configs_come_over_https_when_the_signer_version_of_the_list_is_1_1() {
    let (stage, servers) = secure_stage().await;
    let (phones, ledger, _) = boot_at(&stage, servers, Span::from_secs(20)).await;
    let Counts { http, https, tftp, .. } = *ledger.counts();
    assert_eq!((http.requests, http.not_found, http.connections), (24, 16, 8), "CTLs and ITL");
    assert_eq!((https.requests, https.connections, tftp.requests), (8, 8, 0));
    assert_eq!(https.bytes, 8 * stage.served(CONFIG).len() as u64);
    assert_eq!(outcomes(&ledger, |outcome| outcome == Outcome::Ready), 8);
    assert_eq!(ledger.counts().configs.accepted_by_itl, 8, "signed");
    assert!(phones.iter().all(|phone| phone.config().is_some_and(|c| c.identity.signer != 0)));
    let counts = stage.servers.counts();
    assert_eq!((counts.https.handshakes_ok, counts.https.answers, counts.http.answers), (8, 8, 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_refuse_an_https_server_that_their_lists_do_not_hold() {
    let (stage, servers) = secure_stage().await;
    // Another cluster: the same names, other keys. Its files would be refused as well.
    let mut stranger = Stage::of(Release::R14, ServeSettings::default()).await;
    let regenerate = Regenerate { certificate: CertificateKind::CallManager, node: NODE };
    stranger.operate(regenerate).await;
    stranger.operate(Services::restart(NODE, None)).await;
    let strange = FileServer { https: stranger.https, ..servers };
    let (_, ledger, before) = boot_at(&stage, strange, Span::from_secs(20)).await;
    let Counts { https, tftp, .. } = *ledger.counts();
    assert_eq!((https.requests, https.errors, https.fallbacks), (8, 8, 8));
    assert_eq!((https.bytes, tftp.requests), (0, 8), "the configs come over TFTP");
    assert_eq!(outcomes(&ledger, |outcome| outcome == Outcome::Ready), 8);
    let judge = |der: &[u8]| {
        Trust { lists: before.clone(), roles: PROVISIONING_ROLES, date_s: None }.accepts(der)
    };
    assert!(!judge(&presented(&stranger)));
    assert!(judge(&presented(&stage)));
    until("the stranger sees the alerts", || {
        stranger.servers.counts().https.handshakes_not_completed() == 8
    })
    .await;
    assert_eq!(stranger.servers.counts().https.requests, 0, "nobody asked it for anything");
}

fn presented(stage: &Stage) -> Vec<u8> {
    stage.cluster.tftp(NODE).unwrap().signer().certificate.der().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_changes_what_https_presents() {
    let (mut stage, servers) = secure_stage().await;
    let old = presented(&stage);
    let regenerate = Regenerate { certificate: CertificateKind::CallManager, node: NODE };
    stage.operate(regenerate).await;
    assert_eq!(presented(&stage), old, "not before the restart");
    let restart = Services::restart(NODE, Some(ServiceKind::Tftp));
    stage.operate(restart).await;
    assert_ne!(presented(&stage), old);
    let (_, ledger, _) = boot_at(&stage, servers, Span::from_secs(20)).await;
    assert_eq!(outcomes(&ledger, |outcome| outcome == Outcome::Ready), 8);
    assert_eq!((ledger.counts().https.requests, ledger.counts().https.errors), (8, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_survives_garbage_silence_and_plain_http_and_serves_the_good_phones() {
    let deadlines = ServeSettings {
        // Good phones keep them on a busy machine, too.
        handshake_deadline: Span::from_secs(2),
        header_deadline: Span::from_secs(2),
        ..ServeSettings::default()
    };
    let stage = Stage::of(Release::R14, deadlines).await;
    let servers = stage.files();
    let plain = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    // A record that announces 16 kB and brings nothing, a hello that is no hello, and half of one.
    let garbage = [plain, vec![22, 3, 1, 0x40, 0], vec![0xff; 600], vec![22, 3, 3, 0, 2, 1, 0]];
    let mut bad = Vec::new();
    for bytes in &garbage {
        let mut stream = TcpStream::connect(stage.https).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        bad.push(stream);
    }
    for _ in 0..200 {
        bad.push(TcpStream::connect(stage.https).await.unwrap());
    }
    let (_, ledger, _) = boot_at(&stage, servers, Span::from_secs(20)).await;
    assert_eq!(outcomes(&ledger, |outcome| outcome == Outcome::Ready), 8);
    assert_eq!((ledger.counts().https.requests, ledger.counts().https.errors), (8, 0));
    until("all are gone", || stage.servers.counts().https.connections_in_flight == 0).await;
    let counts = stage.servers.counts().https;
    assert_eq!(counts.handshakes_failed, bad.len() as u64, "{counts:?}");
    assert_eq!(counts.handshakes_ok, 8);
}
