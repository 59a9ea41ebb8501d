//! Peers that mean harm: hostile clients at our servers beside phones that must not notice, and
//! hostile servers at our phones, which must end in time and keep what they had.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use resetstorm::base::{ClusterId, DeviceName, Home, NodeId, PhoneId, Span, Time};
use resetstorm::cluster::operator::certificates::Regenerate;
use resetstorm::cluster::operator::services::Services;
use resetstorm::cluster::{
    CertificateKind, Cluster, FileReply, FleetSpec, Genesis, GroupSpec, NodeSpec, Ports, Release,
    ServiceKind, SignCacheMode, Topology, Waiter,
};
use resetstorm::crypto::KeySource;
use resetstorm::live::{self, LiveOptions, Observer};
use resetstorm::measure::{Ledger, Summary, TrustPaths, TvsCounts, known_paths};
use resetstorm::net::{Clock, FleetSocket, Talk, TlsClients, tls_server};
use resetstorm::phone::{
    Env, FILE_SIZE_MAX, Failure, ListFiles, Phone, PhoneProfile, Refusal, Shared, TvsFault,
    Verifier,
};
use resetstorm::play::Homes;
use resetstorm::scenario::load;
use resetstorm::serve::{Bound, ServeSettings, Servers};
use resetstorm::swarm::{FileServer, Swarm, SwarmPlan};
use resetstorm::transfer::{Breach, TransferFault, UploadLimits};
use resetstorm::wire::Dialogue;
use resetstorm::wire::capf::{self, Command};
use resetstorm::wire::tftp::ErrorCode;
use resetstorm::wire::tftp::Packet;
use resetstorm::wire::tvs::{HEADER_LENGTH, Message, Question, Request, message_length};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const NODE: NodeId = ClusterId::FIRST.node(0);
const PHONES: u32 = 4;
const LIST_REQUEST: &[u8] = b"\0\x01ITLFile.tlv\0octet\0";
/// Longest wait of a test for anything.
const PATIENCE: Duration = Duration::from_secs(40);

/// Waits for a condition.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(PATIENCE, reached).await.is_ok(), "{what}");
}

/// A cluster that is not served.
fn cluster(topology: Topology) -> Cluster {
    Cluster::new(Genesis {
        topology,
        fleet: FleetSpec {
            phones: PHONES,
            models: vec![(8841.into(), 1.0)],
            seed: 1,
            ..FleetSpec::default()
        },
        source: KeySource::bank(1),
        epoch_s: 1_700_000_000,
        stored: resetstorm::cluster::Stored::default(),
    })
}

fn topology() -> Topology {
    let node = NodeSpec {
        name: "pub".into(),
        domain: None,
        address: [127, 0, 0, 1].into(),
        services: vec![ServiceKind::CallManager, ServiceKind::Tftp, ServiceKind::Tvs],
        ports: Ports::ANY,
        expires: std::collections::BTreeMap::new(),
    };
    let group = GroupSpec { name: "all".into(), members: vec![NODE], share: 1.0 };
    Topology {
        cluster: ClusterId::FIRST,
        release: Release::R8_6,
        sign_cache: SignCacheMode::Lazy,
        key_bits: 2048,
        file_signature: Release::R8_6.file_signature(),
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

/// Servers that hostile clients turn to.
struct Stage {
    cluster: Cluster,
    servers: Servers,
    tftp: SocketAddr,
    tvs: SocketAddr,
}

impl Stage {
    async fn new(settings: ServeSettings) -> Stage {
        let bound = Bound::bind(&topology()).unwrap();
        let topology = bound.topology().clone();
        let (tftp, tvs) =
            (topology.socket(NODE, ServiceKind::Tftp), topology.socket(NODE, ServiceKind::Tvs));
        let cluster = cluster(topology);
        let servers = Servers::start(bound, &cluster, Clock::start(), settings).await.unwrap();
        Stage { cluster, servers, tftp, tvs }
    }

    /// A plain client gets the whole list, block by block.
    async fn still_serves(&self) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (mut got, mut block) = (Vec::new(), 0u16);
        let mut again = tokio::time::interval(Duration::from_millis(300));
        while timeout(Duration::ZERO, socket.readable()).await.is_err() {
            tokio::select! {
                _ = again.tick() => drop(socket.send_to(LIST_REQUEST, self.tftp).await.unwrap()),
                ready = socket.readable() => ready.unwrap(),
            }
        }
        loop {
            let (bytes, peer) = receive(&socket).await;
            block += 1;
            assert_eq!(bytes[..4], [0, 3, (block >> 8) as u8, block as u8]);
            got.extend_from_slice(&bytes[4..]);
            socket.send_to(&[0, 4, (block >> 8) as u8, block as u8], peer).await.unwrap();
            if bytes.len() < 516 {
                break;
            }
        }
        assert_eq!(got, file(&self.cluster, "ITLFile.tlv"));
    }
}

/// A served file as the cluster has it.
fn file(cluster: &Cluster, name: &str) -> Vec<u8> {
    let service = cluster.tftp(NODE).unwrap();
    match service.request(name, Waiter(u64::MAX)) {
        FileReply::Ready(file) => file.to_bytes(),
        FileReply::Pending { file, job } => {
            file.with_header(job.expect("nobody else signs").run().header).to_bytes()
        }
        FileReply::Missing => panic!("{name}"),
    }
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 70_000];
    let received = timeout(PATIENCE, socket.recv_from(&mut buffer)).await;
    let (length, peer) = received.expect("an answer in time").unwrap();
    buffer.truncate(length);
    (buffer, peer)
}

/// What a hostile request is answered with.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Block(usize),
    Options(&'static str),
    Error(u16),
}

fn with_options(options: &str) -> Vec<u8> {
    [LIST_REQUEST, options.replace(' ', "\0").as_bytes(), b"\0"].concat()
}

fn named(file: &[u8]) -> Vec<u8> {
    [b"\0\x01", file, b"\0octet\0"].concat()
}

/// Requests that nobody should send, and what they get.
fn hostile_requests() -> Vec<(Vec<u8>, Answer)> {
    use Answer::{Block, Error, Options};
    let mut all = vec![
        // truncated, oversized
        (b"\0\x01".to_vec(), Error(4)),
        (b"\0\x01ITLFile.tlv".to_vec(), Error(4)),
        (b"\0\x01ITLFile.tlv\0octet".to_vec(), Error(4)),
        (with_options("blksize"), Error(4)),
        (named(&[b'a'; 505]), Error(4)),
        (named(&[b'a'; 60_000]), Error(4)),
        (named(&[0xFF, 0xFE]), Error(4)),
        // no read in octets
        (b"\0\x02ITLFile.tlv\0octet\0".to_vec(), Error(2)),
        (b"\0\x01ITLFile.tlv\0mail\0".to_vec(), Error(0)),
        (b"\0\x01ITL\0File.tlv\0octet\0".to_vec(), Error(4)),
        // options
        (with_options("colour blue"), Block(512)),
        (with_options("blksize 8 blksize 9"), Options("blksize 8")),
        (with_options("blksize 0"), Block(512)),
        (with_options("blksize 7"), Block(512)),
        (with_options("blksize 65535"), Options("blksize 65464")),
        (with_options("blksize 18446744073709551615"), Options("blksize 65464")),
        (with_options("windowsize 65535"), Options("windowsize 64")),
        (with_options("windowsize 0 timeout 0"), Block(512)),
        (with_options("timeout 256"), Block(512)),
    ];
    let paths: [&[u8]; 16] = [
        b"../ITLFile.tlv",
        b"../../../../etc/passwd",
        b"/ITLFile.tlv",
        b"/etc/passwd",
        b"./ITLFile.tlv",
        b"ITLFile.tlv/",
        b"ITLFile.tlv ",
        b"..\\ITLFile.tlv",
        b"C:\\ITLFile.tlv",
        b"%2e%2e/ITLFile.tlv",
        b"ITLFile.tlv%00",
        b"ITLFile%2Etlv",
        b"pub/CallManager.key",
        b"\xC3\xA4\xE2\x80\xAE",
        b"*",
        b"",
    ];
    all.extend(paths.map(|path| (named(path), Error(1))));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_get_one_short_answer_or_none() {
    let stage = Stage::new(ServeSettings::default()).await;
    let mut sent = 0;
    for (request, expected) in hostile_requests() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&request, stage.tftp).await.unwrap();
        let (bytes, _) = receive(&socket).await;
        let text = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        match (Packet::parse(&bytes).unwrap(), expected) {
            (Packet::Data { data, .. }, Answer::Block(length)) => {
                assert_eq!(data.len(), length, "{text:?}");
            }
            (Packet::Oack { .. }, Answer::Options(options)) => {
                assert_eq!(bytes[2..], with_options(options)[LIST_REQUEST.len()..], "{text:?}");
            }
            (Packet::Error { code, .. }, Answer::Error(number)) => {
                assert_eq!(code.0, number, "{text:?}");
                assert!(bytes.len() < 64);
            }
            (packet, expected) => panic!("{text:?}: {packet:?}, not {expected:?}"),
        }
        sent += 1;
    }
    // Silence for what no client says to this port, so that two servers cannot be set upon each
    // other.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\x01\0",
        b"\0\0ITLFile.tlv\0octet\0",
        b"\0\x07ITLFile.tlv\0octet\0",
        b"\xFF\xFF",
        b"\0\x03\0\x01data",
        b"\0\x05\0\x01error\0",
        b"\0\x06blksize\x00512\0",
    ];
    // A datagram may arrive before it is counted.
    until("answers are counted", || stage.servers.counts().tftp.datagrams_out == sent).await;
    let before = stage.servers.counts().tftp;
    for request in silent {
        socket.send_to(request, stage.tftp).await.unwrap();
    }
    until("all are counted", || {
        stage.servers.counts().tftp.malformed == before.malformed + silent.len() as u64
    })
    .await;
    let counts = stage.servers.counts().tftp;
    assert_eq!((before.datagrams_out, counts.datagrams_out), (sent, sent));
    assert_eq!((before.malformed, before.not_found), (8, 16));
    stage.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_and_reordered_acknowledgements_double_nothing() {
    let stage = Stage::new(ServeSettings::default()).await;
    let expected = file(&stage.cluster, "ITLFile.tlv");
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(LIST_REQUEST, stage.tftp).await.unwrap();
    let (mut got, mut block) = (Vec::new(), 0u16);
    loop {
        let (bytes, peer) = receive(&socket).await;
        block += 1;
        assert_eq!(bytes[..4], [0, 3, 0, block as u8], "each block comes once");
        got.extend_from_slice(&bytes[4..]);
        let ack = |block: u16| [0, 4, (block >> 8) as u8, block as u8];
        // Ahead, behind, far off; the right one three times.
        for number in [block + 1, block - 1, 0, 40_000, block, block, block, block - 1] {
            socket.send_to(&ack(number), peer).await.unwrap();
        }
        if bytes.len() < 516 {
            break;
        }
    }
    assert_eq!(got, expected);
    until("it ends", || stage.servers.counts().tftp.transfers_done == 1).await;
    let counts = stage.servers.counts().tftp;
    assert_eq!((counts.datagrams_out, counts.retransmits), (u64::from(block), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_one_address_is_bounded_and_forgotten() {
    let upload =
        UploadLimits { timeout: Span::from_millis(100), tries: 3, ..UploadLimits::default() };
    let settings = ServeSettings { upload, transfers_max: 300, ..ServeSettings::default() };
    let stage = Stage::new(settings).await;
    let mut sockets = Vec::new();
    for _ in 0..500 {
        sockets.push(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    }
    for round in 0..20 {
        for socket in &sockets {
            socket.send_to(LIST_REQUEST, stage.tftp).await.unwrap();
        }
        until("the round is counted", || {
            stage.servers.counts().tftp.requests == (round + 1) * sockets.len() as u64
        })
        .await;
    }
    let counts = stage.servers.counts().tftp;
    assert!(counts.transfers_in_flight_max <= 300, "{counts:?}");
    assert!(counts.refused_full > 0, "{counts:?}");
    assert!(counts.datagrams_out <= counts.requests, "{counts:?}");
    until("all are forgotten", || stage.servers.counts().tftp.transfers_in_flight == 0).await;
    stage.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_speak_give_way_to_one_that_does() {
    let settings = ServeSettings { transfers_max: 50, ..ServeSettings::default() };
    let stage = Stage::new(settings).await;
    let mut sockets = Vec::new();
    for _ in 0..200 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(LIST_REQUEST, stage.tftp).await.unwrap();
        sockets.push(socket);
    }
    until("150 are refused", || stage.servers.counts().tftp.refused_full == 150).await;
    stage.still_serves().await;
    let counts = stage.servers.counts().tftp;
    assert_eq!((counts.crowded_out, counts.transfers_in_flight_max), (1, 50), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_the_name_of_a_silent_address_are_hardly_amplified() {
    let upload =
        UploadLimits { timeout: Span::from_millis(50), tries: 5, ..UploadLimits::default() };
    let stage = Stage::new(ServeSettings { upload, ..ServeSettings::default() }).await;
    let SocketAddr::V4(server) = stage.tftp else { panic!() };
    let requests = [
        LIST_REQUEST.to_vec(),
        with_options("blksize 65464 windowsize 64 timeout 1"),
        named(b"SEP0C75BD000001.cnf.xml.sgn"),
        named(b"missing"),
    ];
    for (request, ratio_max) in requests.iter().zip([26.0, 1.0, 15.0, 2.0]) {
        let before = stage.servers.counts().tftp;
        let spoofer = FleetSocket::bind().unwrap();
        for host in 1..=200u8 {
            let victim = Ipv4Addr::new(127, 99, 0, host);
            spoofer.send(victim, server, request).unwrap();
        }
        until("all are forgotten", || {
            let counts = stage.servers.counts().tftp;
            counts.datagrams_out >= before.datagrams_out + 200 && counts.transfers_in_flight == 0
        })
        .await;
        let counts = stage.servers.counts().tftp;
        assert_eq!(counts.retransmits, 0, "nobody answered: nothing is said twice");
        assert_eq!(counts.datagrams_out - before.datagrams_out, 200);
        let ratio = (counts.bytes_out - before.bytes_out) as f64 / (request.len() * 200) as f64;
        println!("{} bytes of request: answer is {ratio:.1} times as long", request.len());
        assert!(ratio <= ratio_max, "{ratio}");
    }
    stage.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_garbage_and_slow_hellos_end_and_are_counted() {
    let settings =
        ServeSettings { handshake_deadline: Span::from_millis(500), ..ServeSettings::default() };
    let stage = Stage::new(settings).await;
    let garbage: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 64],
        &[0xFF; 64],
        // SSL 2.0, a record beyond the limit, a record of no bytes, an alert, application data.
        b"\x80\x2E\x01\0\x02\0\x15\0\0\0\x10",
        b"\x16\x03\x01\xFF\xFF\x01",
        b"\x16\x03\x01\0\0",
        b"\x15\x03\x03\0\x02\x02\x28",
        b"\x17\x03\x03\0\x04\0\0\0\0",
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(stage.tvs).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        // An alert, a reset or the end; never an answer, and never beyond the deadline.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
        assert!(rest.len() < 16, "{rest:?}");
    }
    // A hello that says how long it will be, and comes a byte at a time.
    let mut slow = TcpStream::connect(stage.tvs).await.unwrap();
    slow.write_all(b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03").await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let begun = Instant::now();
    loop {
        pace.tick().await;
        if slow.write_all(&[0]).await.is_err() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "a slow hello has no end");
    }
    let ended = || {
        let counts = stage.servers.counts().dialogue(Dialogue::Tvs);
        counts.connections_in_flight == 0
            && counts.handshakes_failed + counts.handshakes_refused_by_peer
                == garbage.len() as u64 + 1
    };
    until("all are counted", ended).await;
    let counts = stage.servers.counts().dialogue(Dialogue::Tvs);
    assert_eq!((counts.connections, counts.handshakes_ok, counts.answers), (9, 0, 0));
    assert!(counts.timeouts >= 1);
}

/// Tells where the cluster of a live run listens, and counts what hostile clients send meanwhile.
struct Besieged {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sieges: Vec<tokio::task::JoinHandle<()>>,
}

/// More than there are places for.
const HALF_OPEN: usize = 5_000;

impl Observer for Besieged {
    fn started(&mut self, lines: &[String]) {
        let line = lines.iter().find(|line| line.contains(" · tftp ")).unwrap();
        let port = |service: &str| {
            let after = line.split(service).nth(1).unwrap();
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            SocketAddr::from(([127, 0, 0, 1], digits.parse().unwrap()))
        };
        let (tftp, tvs) = (port(" · tftp "), port(" · tvs "));
        let (stop, sent) = (&self.stop, &self.sent);
        self.sieges = vec![
            tokio::spawn(besiege_tftp(tftp, Arc::clone(stop), Arc::clone(sent))),
            tokio::spawn(besiege_tvs(tvs, Arc::clone(stop), Arc::clone(sent))),
        ];
    }
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

/// About 5,000 hostile datagrams a second from one address and from forged ones.
async fn besiege_tftp(server: SocketAddr, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) {
    let SocketAddr::V4(server) = server else { panic!() };
    let socket = FleetSocket::bind().unwrap();
    let requests: Vec<Vec<u8>> =
        hostile_requests().into_iter().map(|(request, _)| request).collect();
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    let mut count = 0usize;
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        for _ in 0..10 {
            count += 1;
            let [_, a, b, c] = (count as u32).to_be_bytes();
            // 127.200.0.0/13 holds no phone.
            let forged = Ipv4Addr::new(127, 200 + (a & 7), b, c);
            let from = if count.is_multiple_of(2) { Ipv4Addr::new(127, 200, 0, 1) } else { forged };
            let request = match count % 5 {
                0 => LIST_REQUEST,
                _ => &requests[count % requests.len()],
            };
            // A full buffer loses a datagram, as a network would.
            let _ = socket.send(from, server, request);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Thousands of connections that say nothing or half a word, kept open to the end, and garbage
/// that comes and goes.
async fn besiege_tvs(server: SocketAddr, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) {
    let mut held = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        for _ in 0..60 {
            if held.len() < HALF_OPEN {
                let Ok(mut stream) = TcpStream::connect(server).await else { continue };
                if held.len() % 2 == 0 {
                    let _ = stream.write_all(b"\x16\x03\x01\x02\0\x01\0\x01").await;
                }
                held.push(stream);
            }
        }
        if let Ok(mut stream) = TcpStream::connect(server).await {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
        }
        sent.fetch_add(1, Ordering::Relaxed);
    }
    assert!(held.len() >= 2_000, "{}", held.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_phones_do_not_pay_for_bad_peers() {
    // 2,000 and more by hand: RESETSTORM_BESIEGED_PHONES=2000 cargo test --release --test suite hostile
    let phones = std::env::var("RESETSTORM_BESIEGED_PHONES").map_or(300, |n| n.parse().unwrap());
    let phones: u64 = phones;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/callmanager-regen.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let overrides = [
        format!("fleet.phones={phones}"),
        "cluster.node.1.ports={ tftp = 0, tvs = 0, capf = 0 }".to_owned(),
        "event.reset-1.reset-phones.spread=4s".to_owned(),
    ];
    let plan = load(&path, &text, &overrides, &known_paths()).unwrap();
    let mut siege = Besieged { stop: Arc::default(), sent: Arc::default(), sieges: Vec::new() };
    let run = Box::pin(live::run(&plan, &LiveOptions::default(), &mut siege)).await.unwrap();
    siege.stop.store(true, Ordering::Relaxed);
    for one in siege.sieges {
        one.await.expect("besiegers do not panic");
    }
    let summary = Summary::new(&run.ledger, run.facts, &plan.slos, run.finish);
    println!(
        "{} hostile datagrams, {} requests, {} failed handshakes; ready p99 {:?} s",
        siege.sent.load(Ordering::Relaxed),
        summary.serve.tftp_requests,
        summary.serve.tvs_handshakes_failed,
        summary.fleet_ready_s.p99
    );
    assert_eq!((summary.phones.ready, summary.config.applied), (phones, phones));
    assert_eq!((summary.tvs.lookups, summary.tvs.failed), (phones, 0));
    assert_eq!((summary.tftp.requests, summary.tftp.errors), (4 * phones, 0));
    assert_eq!(summary.serve.tvs_answers, phones);
    assert_eq!(summary.trust.lists.accepted_by_tvs, phones);
    assert_eq!(run.ledger.counts().unexpected, 0);
    assert!(summary.serve.tftp_requests > 3 * phones, "the besiegers were there");
}

/// Besieges CAPF of a live run, and counts the places that it was given there.
struct BesiegedCapf {
    stop: Arc<AtomicBool>,
    places: Arc<AtomicU64>,
    held: Arc<AtomicU64>,
    siege: Vec<tokio::task::JoinHandle<()>>,
}

impl Observer for BesiegedCapf {
    fn started(&mut self, lines: &[String]) {
        let line = lines.iter().find(|line| line.contains(" · capf ")).unwrap();
        let digits = line.split(" · capf ").nth(1).unwrap();
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        let capf = SocketAddr::from(([127, 0, 0, 1], digits.parse().unwrap()));
        let (stop, places) = (&self.stop, &self.places);
        self.siege = vec![
            tokio::spawn(crowd_capf(capf, Arc::clone(stop), Arc::clone(&self.held))),
            tokio::spawn(sit_at_capf(capf, Arc::clone(stop), Arc::clone(places))),
        ];
    }
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

/// Thousands of connections that are kept open: without a word, with half a hello, and with TLS and no
/// word behind it.
async fn crowd_capf(server: SocketAddr, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    let (tls, mut held, mut talks) = (TlsClients::default(), Vec::new(), Vec::new());
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        for _ in 0..40 {
            if held.len() < HALF_OPEN {
                let Ok(mut stream) = TcpStream::connect(server).await else { continue };
                if held.len() % 2 == 0 {
                    let _ = stream.write_all(b"\x16\x03\x01\x02\0\x01\0\x01").await;
                }
                held.push(stream);
            }
        }
        if talks.len() < 200
            && let Ok(stream) = TcpStream::connect(server).await
            && let Ok(talk) = tls.connect(stream, Box::new(|_| true)).await
        {
            talks.push(talk);
        }
        count.store(held.len() as u64, Ordering::Relaxed);
    }
}

/// Says the name of a phone, is given a place for its operation, and says nothing more.
async fn sit(server: SocketAddr, phone: u32) -> Option<Talk> {
    let rules = Dialogue::Capf.rules();
    let stream = TcpStream::connect(server).await.ok()?;
    let clients = TlsClients::default();
    let mut talk = clients.talk(stream, Box::new(|_| true), None, rules).await.ok()?;
    let greeting = talk.say(&[]).await.ok()?;
    let session = capf::Message::parse(&greeting).ok()?.session_id;
    let name = format!("{}\0", DeviceName::of_phone(PhoneId(phone)));
    let answer = capf::Message::new(Command::AuthResponse, session)
        .with(capf::tag::REASON, &[capf::reason::DONE])
        .with(capf::tag::VERSION, &[3])
        .with(capf::tag::PASSWORD, b"\0")
        .with(capf::tag::DEVICE_NAME, name.as_bytes());
    let asked = talk.say(&answer.encode()).await.ok()?;
    let asked = capf::Message::parse(&asked).ok()?;
    (asked.command == Command::KeyGenerateRequest).then_some(talk)
}

async fn sit_at_capf(server: SocketAddr, stop: Arc<AtomicBool>, places: Arc<AtomicU64>) {
    let (mut sitting, mut pace) = (Vec::new(), tokio::time::interval(Duration::from_millis(40)));
    let mut phone = 0;
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        phone = (phone + 1) % CAPF_PHONES;
        if sitting.len() < 400
            && let Some(talk) = sit(server, phone).await
        {
            sitting.push(talk);
            places.fetch_add(1, Ordering::Relaxed);
        }
    }
}

const CAPF_PHONES: u32 = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_enrol_beside_thousands_of_half_open_and_silent_peers_of_capf() {
    const PLACES: u64 = 5;
    let text = format!(
        "schema=1\nname='t'\n[cluster]\nrelease='11.5'\n\
         [cluster.capf]\nsessions={PLACES}\nretry-delay='1s'\nsilence='200ms'\n\
         [[cluster.node]]\nname='pub'\nservices=['callmanager','tftp','tvs','capf']\n\
         ports={{tftp=0,tvs=0,capf=0}}\n[fleet]\nphones={CAPF_PHONES}\nstart='itl-current'\n\
         [[event]]\nat='2s'\nroll-out-lsc={{completes-in='5h', spread='4s'}}\n"
    );
    let plan = load(Path::new("t.toml"), &text, &[], &known_paths()).unwrap();
    let (stop, places, held) = Default::default();
    let mut siege = BesiegedCapf { stop, places, held, siege: Vec::new() };
    let run = Box::pin(live::run(&plan, &LiveOptions::default(), &mut siege)).await.unwrap();
    siege.stop.store(true, Ordering::Relaxed);
    for one in siege.siege {
        one.await.expect("besiegers do not panic");
    }
    let (places, held) = (siege.places.load(Ordering::Relaxed), siege.held.load(Ordering::Relaxed));
    let summary = Summary::new(&run.ledger, run.facts, &plan.slos, run.finish);
    let lsc = &summary.lsc;
    println!("{held} half open, {places} places for the silent; {} postponed", lsc.postponed);
    assert!(held > 2_000 && places > 2 * PLACES, "{held} half open, {places} places");
    let phones = u64::from(CAPF_PHONES);
    assert_eq!((lsc.installed, summary.capf.done), (phones, phones), "{:#}", summary.to_json());
    assert_eq!((lsc.connection_failed, lsc.failed, summary.phones.ready), (0, 0, phones));
    assert_eq!(run.ledger.counts().unexpected, 0);
}

/// A TFTP server that answers each request and acknowledgement as its script says: the file that
/// was asked for and the next block.
struct FakeTftp {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

type Script = Box<dyn Fn(&str, u64) -> Vec<Vec<u8>> + Send>;

impl FakeTftp {
    async fn start(script: Script) -> FakeTftp {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut files: BTreeMap<SocketAddr, (String, u64)> = BTreeMap::new();
            let mut buffer = [0; 600];
            loop {
                let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
                match Packet::parse(&buffer[..length]) {
                    Ok(Packet::Rrq { file, .. }) => {
                        files.insert(peer, (file.to_owned(), 1));
                    }
                    Ok(Packet::Ack { block }) => {
                        let Some((_, next)) = files.get_mut(&peer) else { continue };
                        if block == *next as u16 {
                            *next += 1;
                        }
                    }
                    _ => continue,
                }
                let (file, next) = &files[&peer];
                for datagram in script(file, *next) {
                    socket.send_to(&datagram, peer).await.unwrap();
                }
            }
        });
        FakeTftp { address, task }
    }
}

impl Drop for FakeTftp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn block(number: u64, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Packet::Data { block: number as u16, data }.encode(&mut out);
    out
}

/// Block `number` of a file; nothing behind its end.
fn block_of(file: &[u8], number: u64) -> Vec<Vec<u8>> {
    let start = (number as usize - 1) * 512;
    if start > file.len() {
        return Vec::new();
    }
    vec![block(number, &file[start..file.len().min(start + 512)])]
}

fn not_found() -> Vec<Vec<u8>> {
    vec![b"\0\x05\0\x01\0".to_vec()]
}

/// Phones that hold the list and config of a cluster, and what is in force after a boot.
struct Fleet {
    cluster: Cluster,
}

/// What a boot of the fleet came to.
struct Booted {
    phones: Vec<Phone>,
    ledger: Ledger,
}

impl Fleet {
    fn new() -> Fleet {
        let mut topology = topology();
        topology.nodes[0].ports = Ports { tftp: 1, ..Ports::ANY }.with(Dialogue::Tvs, 1);
        Fleet { cluster: cluster(topology) }
    }

    fn provisioned(&self) -> (Arc<Shared>, Vec<Phone>) {
        let shared = Arc::new(Shared::default());
        let env = Env {
            profile: Arc::new(PhoneProfile::default()),
            shared: Arc::clone(&shared),
            verifier: Verifier::real(),
        };
        let service = self.cluster.tftp(NODE).unwrap();
        let list = service.signed_list();
        let phone = |number| {
            let id = PhoneId(number);
            let mut phone = Phone::new(id, 8841);
            let (config, identity) = service.config_of(id);
            phone
                .provision(&env, ListFiles { ctl: None, itl: Some(&list) }, &config, identity)
                .unwrap();
            phone
        };
        (shared, (0..PHONES).map(phone).collect())
    }

    /// Boots the phones of `before` against hostile servers and waits until they have settled.
    async fn boot(
        &self,
        before: (Arc<Shared>, Vec<Phone>),
        tftp: SocketAddr,
        tvs: SocketAddr,
    ) -> Booted {
        let clock = Clock::start();
        let plan = SwarmPlan {
            uses: std::sync::Arc::new([]),
            seed: 1,
            profile: PhoneProfile {
                tftp_timeout: Span::from_millis(400),
                tftp_tries: 3,
                tvs_timeout: Span::from_millis(1_500),
                ..PhoneProfile::default()
            },
            // The phones of this test ask over TFTP only.
            homes: Arc::new(Homes::dealt(vec![Home::from([NODE])])),
            files: BTreeMap::from([(NODE, FileServer { tftp, http: tftp, https: tftp })]),
            targets: [(resetstorm::wire::Dialogue::Tvs, tvs)].into(),
            hosts: Arc::default(),
            allowed: Vec::new(),
            transfers_in_flight: 100,
            lookups_in_flight: 100,
            registrations_in_flight: 100,
            connections_in_flight: 100,
        };
        let (shared, phones) = before;
        let swarm = Swarm::start(&plan, clock, &shared, phones).unwrap();
        swarm.boot_all(clock.now(), Span::ZERO, true).await;
        until("the phones settle", || swarm.is_settled()).await;
        let (phones, ledger) = swarm.stop().await;
        assert_eq!(ledger.counts().unexpected, 0);
        Booted { phones, ledger }
    }

    /// A boot against a hostile TFTP server leaves everything as it was, and every phone fails
    /// for `failure`.
    async fn keeps_what_it_had(&self, what: &str, failure: Failure, script: Script) -> Ledger {
        let fake = FakeTftp::start(script).await;
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let booted = self.boot(self.provisioned(), fake.address, nobody).await;
        self.assert_unchanged(what, &booted);
        assert_eq!(booted.ledger.tallies().ready, 0, "{what}");
        let failures = booted.ledger.failures();
        assert_eq!(failures.get(&failure), Some(&u64::from(PHONES)), "{what}: {failures:?}");
        booted.ledger
    }

    fn assert_unchanged(&self, what: &str, booted: &Booted) {
        let (_, before) = self.provisioned();
        for (was, is) in before.iter().zip(&booted.phones) {
            let list = |phone: &Phone| phone.lists().itl.as_ref().map(|itl| itl.identity());
            assert_eq!(list(was), list(is), "{what}: {} has another list", is.name());
            assert!(is.lists().ctl.is_none(), "{what}: {} has a CTL", is.name());
            assert_eq!(was.config(), is.config(), "{what}: {} has another config", is.name());
        }
    }
}

fn transfer(fault: TransferFault) -> Failure {
    Failure::Transfer(fault)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_break_the_protocol_fail_and_change_nothing() {
    let fleet = Fleet::new();
    let scripts: [(&str, Breach, Script); 7] = [
        (
            "a block that is too long",
            Breach::BlockTooLong,
            Box::new(|_, n| vec![block(n, &[7; 600])]),
        ),
        (
            "options that nobody asked for",
            Breach::OptionNotAsked,
            Box::new(|_, _| vec![b"\0\x06blksize\x001428\0".to_vec()]),
        ),
        (
            "an option list that does not end",
            Breach::OptionsUnreadable,
            Box::new(|_, _| vec![b"\0\x06blksize".to_vec()]),
        ),
        ("an unknown opcode", Breach::UnknownOpcode, Box::new(|_, _| vec![b"\0\x09".to_vec()])),
        ("an empty datagram", Breach::ShortDatagram, Box::new(|_, _| vec![Vec::new()])),
        (
            "a request for an answer",
            Breach::ClientPacket,
            Box::new(|_, _| vec![LIST_REQUEST.to_vec()]),
        ),
        ("half a block header", Breach::ShortDatagram, Box::new(|_, _| vec![b"\0\x03\0".to_vec()])),
    ];
    for (what, breach, script) in scripts {
        let protocol = transfer(TransferFault::Protocol(breach));
        let ledger = fleet.keeps_what_it_had(what, protocol, script).await;
        assert_eq!(ledger.counts().tftp.errors, u64::from(PHONES) * 3, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_says_with_an_error_is_in_the_words_of_the_run() {
    let fleet = Fleet::new();
    for (number, code) in [(0, ErrorCode::NOT_DEFINED), (99, ErrorCode(99))] {
        let says: Script = Box::new(move |_, _| {
            vec![[&[0, 5, 0, number][..], b"outside of\n the \x1b[1mroot"].concat()]
        });
        let failure = transfer(TransferFault::Error(code));
        let ledger = fleet.keeps_what_it_had("an error", failure, says).await;
        let said = format!("TFTP error {code}: outside of\\n the \\u{{1b}}[1mroot");
        assert!(ledger.words(failure).ends_with(&said), "{}", ledger.words(failure));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_without_an_end_are_given_up_at_the_limit() {
    let fleet = Fleet::new();
    let too_large = transfer(TransferFault::TooLarge);
    let endless: Script = Box::new(|_, n| vec![block(n, &[7; 512])]);
    let ledger = fleet.keeps_what_it_had("no end", too_large, endless).await;
    assert_eq!(ledger.counts().tftp.bytes, 0);
    // One byte beyond the limit is too much; the limit itself is merely no signed file.
    let long = |length: usize| -> Script {
        let file = vec![7; length];
        Box::new(move |_, n| block_of(&file, n))
    };
    fleet.keeps_what_it_had("550,002 bytes", too_large, long(FILE_SIZE_MAX + 1)).await;
    let ledger = fleet
        .keeps_what_it_had("550,001 bytes", Failure::File(Refusal::Malformed), long(FILE_SIZE_MAX))
        .await;
    assert_eq!(ledger.counts().tftp.bytes, (FILE_SIZE_MAX as u64) * u64::from(PHONES) * 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_repeats_itself_for_ever_is_given_up() {
    let fleet = Fleet::new();
    let timed_out = transfer(TransferFault::TimedOut);
    let stalled = transfer(TransferFault::Stalled);
    let mute: Script = Box::new(|_, _| Vec::new());
    fleet.keeps_what_it_had("silence", timed_out, mute).await;
    let one: Script = Box::new(|_, _| vec![block(1, &[7; 512])]);
    let ledger = fleet.keeps_what_it_had("block 1 for ever", stalled, one).await;
    assert!(ledger.counts().tftp.retransmits > 0);
    let far: Script = Box::new(|_, n| vec![block(n + 1_000, &[7; 512])]);
    fleet.keeps_what_it_had("blocks of the future", timed_out, far).await;
}

/// Serves the list and configs of a cluster as `alter` has changed them; other files are missing.
fn served(cluster: &Cluster, alter: impl Fn(&str, Vec<u8>) -> Vec<u8>) -> Script {
    let mut files = BTreeMap::new();
    for number in 0..PHONES {
        let name = resetstorm::base::DeviceName::of_phone(PhoneId(number));
        for name in [format!("ITL{name}.tlv"), format!("{name}.cnf.xml.sgn")] {
            files.insert(name.clone(), alter(&name, file(cluster, &name)));
        }
    }
    Box::new(move |name, n| files.get(name).map_or_else(not_found, |file| block_of(file, n)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_change_half_way_are_refused() {
    let fleet = Fleet::new();
    let wrong = Failure::File(Refusal::WrongSignature);
    let other = |_: &str, mut file: Vec<u8>| {
        *file.last_mut().unwrap() ^= 1;
        file
    };
    let ledger =
        fleet.keeps_what_it_had("one bit at the end", wrong, served(&fleet.cluster, other)).await;
    assert_eq!(ledger.tallies().list_alarms, u64::from(PHONES));
    // The second generation of the same file from the third block on, all of it well-formed.
    let mut next = Fleet::new();
    let now = Time::ZERO;
    let regenerate = Regenerate { certificate: CertificateKind::Tvs, node: NODE };
    let restart = Services::restart(NODE, None);
    next.cluster.apply(&regenerate, now).unwrap();
    next.cluster.apply(&restart, now).unwrap();
    let half = |name: &str, old: Vec<u8>| {
        let new = file(&next.cluster, name);
        let at = if name.starts_with("ITL") { 1_024 } else { old.len() - 600 };
        let mut both = old[..at].to_vec();
        both.extend_from_slice(&new[at.min(new.len())..]);
        if both == old {
            both.extend_from_slice(b"\n");
        }
        both
    };
    let script = served(&fleet.cluster, half);
    let ledger = fleet.keeps_what_it_had("two generations", wrong, script).await;
    assert_eq!(ledger.counts().tftp.errors, 0, "the transfers themselves are in order");
}

/// What a TVS server answers to a request; `None` is silence.
type TvsScript = Arc<dyn Fn(&Cluster, &[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// A TVS server with the certificate that the phones trust, and a mind of its own.
async fn fake_tvs(cluster: Arc<Cluster>, script: TvsScript) -> (SocketAddr, AbortOnDrop) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config =
        tls_server::server_config(&cluster.dialogue(NODE, Dialogue::Tvs).unwrap().identity)
            .unwrap();
    let acceptor = TlsAcceptor::from(config);
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, cluster) = (acceptor.clone(), Arc::clone(&cluster));
            let script = Arc::clone(&script);
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else { return };
                let mut request = vec![0; HEADER_LENGTH];
                tls.read_exact(&mut request).await.unwrap();
                let length = message_length(request[..].try_into().unwrap()).unwrap();
                request.resize(length, 0);
                tls.read_exact(&mut request[HEADER_LENGTH..]).await.unwrap();
                let Some(answer) = script(&cluster, &request) else {
                    let mut rest = Vec::new();
                    // Until the phone has had enough.
                    let _ = tls.read_to_end(&mut rest).await;
                    return;
                };
                let _ = tls.write_all(&answer).await;
                let _ = tls.shutdown().await;
            });
        }
    });
    (address, AbortOnDrop(task))
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_tvs_that_do_not_fit_vouch_for_nobody() {
    let fleet = Fleet::new();
    // The signer is new: each phone must ask.
    let mut storm = Fleet::new();
    let regenerate = Regenerate { certificate: CertificateKind::CallManager, node: NODE };
    let restart = Services::restart(NODE, Some(ServiceKind::Tftp));
    storm.cluster.apply(&regenerate, Time::ZERO).unwrap();
    storm.cluster.apply(&restart, Time::ZERO).unwrap();
    let storm = Arc::new(storm.cluster);
    let right = |cluster: &Cluster, request: &[u8]| {
        cluster.knowledge().answer(NODE, Time::ZERO, request).unwrap().0
    };
    let cases: [(&str, TvsFault, TvsScript); 8] = [
        (
            "the answer to another question",
            TvsFault::WrongAnswer,
            Arc::new(move |cluster, request| {
                let session_id = Message::parse(request).unwrap().session_id;
                let other = &cluster.dialogue(NODE, Dialogue::Tvs).unwrap().identity.certificate;
                let question = Question::Query {
                    subject: other.subject(),
                    issuer: other.issuer(),
                    serial: other.serial(),
                };
                let device_name = "CP-8841-SEP0C75BD000000";
                Some(right(cluster, &Request { session_id, device_name, question }.encode()))
            }),
        ),
        (
            "another session",
            TvsFault::WrongAnswer,
            Arc::new(move |cluster, request| {
                let mut answer = right(cluster, request);
                let at = session_offset(request);
                answer[at] ^= 1;
                Some(answer)
            }),
        ),
        (
            "garbage of the right length",
            TvsFault::WrongAnswer,
            Arc::new(move |cluster, request| {
                let mut answer = right(cluster, request);
                answer[HEADER_LENGTH..].fill(0xA5);
                Some(answer)
            }),
        ),
        (
            "garbage",
            TvsFault::WrongAnswer,
            Arc::new(|_, _| Some(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())),
        ),
        ("its own request", TvsFault::WrongAnswer, Arc::new(|_, request| Some(request.to_vec()))),
        (
            "half an answer",
            TvsFault::Connection,
            Arc::new(move |cluster, request| {
                let answer = right(cluster, request);
                Some(answer[..answer.len() / 2].to_vec())
            }),
        ),
        ("nothing and the end", TvsFault::Connection, Arc::new(|_, _| Some(Vec::new()))),
        ("silence", TvsFault::TimedOut, Arc::new(|_, _| None)),
    ];
    for (what, fault, script) in cases {
        let tftp = FakeTftp::start(served(&storm, |_, file| file)).await;
        let (tvs, _server) = fake_tvs(Arc::clone(&storm), script).await;
        let booted = fleet.boot(fleet.provisioned(), tftp.address, tvs).await;
        fleet.assert_unchanged(what, &booted);
        let counts = &booted.ledger.counts();
        let twice = u64::from(PHONES) * 2;
        let failed = (counts.tvs.failed, failed_by(&counts.tvs, fault));
        assert_eq!(failed, (twice, twice), "{what}: list and config");
        assert_eq!(counts.tvs.lookups, 0, "{what}: {counts:?}");
        for files in [counts.ctls, counts.itls, counts.configs] {
            let none = TrustPaths { refused: files.refused, ..TrustPaths::default() };
            assert_eq!(files, none, "{what}: nothing is accepted");
        }
        assert_eq!(booted.ledger.tallies().failed, u64::from(PHONES), "{what}");
    }
    // The rig itself is in order: the right answer makes every phone ready.
    let tftp = FakeTftp::start(served(&storm, |_, file| file)).await;
    let honest: TvsScript = Arc::new(move |cluster, request| Some(right(cluster, request)));
    let (tvs, _server) = fake_tvs(Arc::clone(&storm), honest).await;
    let booted = fleet.boot(fleet.provisioned(), tftp.address, tvs).await;
    assert_eq!(booted.ledger.tallies().ready, u64::from(PHONES));
}

fn failed_by(counts: &TvsCounts, fault: TvsFault) -> u64 {
    match fault {
        TvsFault::CertificateRefused => counts.certificate_refused,
        TvsFault::Connection | TvsFault::TurnedAway => counts.connection,
        TvsFault::TimedOut => counts.timed_out,
        TvsFault::Unresolved => counts.unresolved,
        TvsFault::WrongAnswer => counts.wrong_answer,
    }
}

/// Where the session id of a message lies: its header is searched for it.
fn session_offset(message: &[u8]) -> usize {
    let id = Message::parse(message).unwrap().session_id.to_be_bytes();
    message[..HEADER_LENGTH].windows(4).position(|part| part == id).unwrap() + 3
}
