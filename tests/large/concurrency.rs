//! How many transfers a swarm really has open, and how punctual it is, by the count and the clock
//! of a responder that knows nothing about it; how many our servers have open and lose none.
//!
//! Times are asserted in release builds only (`cargo test --release --test large concurrency`), counts
//! in every build.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use resetstorm::base::{ClusterId, DeviceName, PhoneId, Purpose, Time, stream};
use resetstorm::cluster::{
    Cluster, FleetSpec, Genesis, GroupSpec, NodeSpec, Ports, Release, ServiceKind, SignCacheMode,
    Topology,
};
use resetstorm::crypto::KeySource;
use resetstorm::live::{self, LiveOptions, LiveRun, Observer};
use resetstorm::measure::{Ledger, known_paths};
use resetstorm::net::fleet::phone_address;
use resetstorm::net::{Arrival, Clock, FleetSocket, listen};
use resetstorm::scenario::load;
use resetstorm::serve::{Bound, ServeSettings, Servers, TftpCounts};

const SEED: u64 = 42;

/// The first and last block of every file.
const ANSWER: &[u8] = b"\0\x03\0\x01x";

/// A TFTP server of one socket that serves one byte under every name, the first to each client some
/// time after it was asked.
struct Responder {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What a responder has seen.
#[derive(Debug, Default)]
struct Seen {
    /// First request of each client address.
    first: BTreeMap<IpAddr, Instant>,
    /// Transfers between their request and the acknowledgement of their block.
    open: BTreeSet<SocketAddr>,
    open_max: usize,
    requests: u64,
}

impl Responder {
    fn start(withheld: Duration) -> Responder {
        let socket = listen::udp(([127, 0, 0, 1], 0).into()).unwrap();
        socket.set_nonblocking(false).unwrap();
        let (address, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || respond(&socket, withheld, &stopped));
        Responder { address, stop, thread }
    }

    fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn respond(socket: &UdpSocket, withheld: Duration, stopped: &AtomicBool) -> Seen {
    let (mut seen, mut waiting) = (Seen::default(), VecDeque::<(Instant, SocketAddr)>::new());
    let mut buffer = [0; 600];
    while !stopped.load(Ordering::Relaxed) {
        while let Some(&(due, peer)) = waiting.front() {
            if due > Instant::now() {
                break;
            }
            waiting.pop_front();
            socket.send_to(ANSWER, peer).unwrap();
        }
        let wait = waiting.front().map_or(Duration::from_millis(100), |(due, _)| {
            due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
        });
        socket.set_read_timeout(Some(wait)).unwrap();
        let Ok((_, peer)) = socket.recv_from(&mut buffer) else { continue };
        let now = Instant::now();
        match buffer[1] {
            1 => {
                seen.requests += 1;
                seen.open.insert(peer);
                seen.open_max = seen.open_max.max(seen.open.len());
                if let Entry::Vacant(first) = seen.first.entry(peer.ip()) {
                    first.insert(now);
                    waiting.push_back((now + withheld, peer));
                } else {
                    socket.send_to(ANSWER, peer).unwrap();
                }
            }
            4 => {
                seen.open.remove(&peer);
            }
            other => panic!("opcode {other}"),
        }
    }
    seen
}

struct Silent;

impl Observer for Silent {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

/// Boots phones from the factory against a server.
async fn boot(phones: u32, within_ms: u32, server: SocketAddr) -> LiveRun {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/callmanager-regen.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let overrides = [
        format!("fleet.phones={phones}"),
        format!("fleet.arrival.within=\"{within_ms}ms\""),
        format!("seed={SEED}"),
        format!("run.transfers-in-flight={phones}"),
        format!("target={{ tftp = \"{server}\" }}"),
        "phone.tftp-timeout=\"30s\"".to_owned(),
        "event=[]".to_owned(),
        "slo=[]".to_owned(),
    ];
    let plan = load(&path, &text, &overrides, &known_paths()).unwrap();
    Box::pin(live::run(&plan, &LiveOptions::default(), &mut Silent)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn twenty_thousand_phones_have_their_transfers_open_at_the_same_time() {
    let _turn = crate::TURN.lock().await;
    // In a second an optimised build begins them all; whoever else has the cores for a moment may
    // keep it from that, so that the best of three storms is judged.
    let mut fewer = Vec::new();
    for _ in 0..3 {
        let open_max = open_at_once().await;
        if open_max >= 19_900 {
            return;
        }
        fewer.push(open_max);
    }
    panic!("{fewer:?} transfers were open at once, not 19,900");
}

/// How many transfers of 20,000 phones are open at the same time, by the responder's count and by
/// their own, whichever is less, while every first block is withheld.
async fn open_at_once() -> usize {
    const PHONES: u32 = 20_000;
    let withheld = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });
    let responder = Responder::start(withheld);
    let run = boot(PHONES, 900, responder.address).await;
    let seen = responder.end();
    let (begin, end) = (seen.first.values().min().unwrap(), seen.first.values().max().unwrap());
    println!(
        "{} transfers open at once, from {} addresses that began within {:?}; {} requests",
        seen.open_max,
        seen.first.len(),
        end.duration_since(*begin),
        seen.requests
    );
    assert_eq!(seen.first.len(), PHONES as usize);
    let counts = &run.ledger.counts();
    // A byte is no CTL, no list and no config, and each is asked for once.
    assert_eq!((counts.tftp.requests, counts.tftp.errors), (u64::from(PHONES) * 3, 0));
    seen.open_max.min(counts.tftp.in_flight_max as usize)
}

/// Reads that are open at once at our own server. Without optimisation as many as wait in the
/// buffer of its socket, so that nothing hangs on who has the cores.
const READS: u32 = if cfg!(debug_assertions) { 10_000 } else { 50_000 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_reads_are_open_at_once_and_nothing_is_lost_or_sent_again() {
    let _turn = crate::TURN.lock().await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (counts, answered) = reads_at_once().await;
        let all = u64::from(READS);
        let none_lost = counts.requests == all && answered == READS;
        let done = counts.transfers_in_flight_max == all && counts.transfers_done == all;
        if none_lost && done && counts.retransmits + counts.transfers_dropped == 0 {
            return;
        }
        seen.push((answered, counts));
    }
    panic!("of {READS} reads none may be lost: {seen:?}");
}

/// A server with the shipped settings, and one configuration for each of so many phones.
async fn server() -> (Servers, SocketAddrV4) {
    let topology = Topology {
        cluster: ClusterId::FIRST,
        release: Release::R8_6,
        sign_cache: SignCacheMode::Lazy,
        key_bits: 2048,
        file_signature: Release::R8_6.file_signature(),
        secured_urls: true,
        security: resetstorm::cluster::Security::default(),
        domain: None,
        faults: Vec::new(),
        registrar: None,
        replication_delay: resetstorm::base::Span::ZERO,
        nodes: vec![NodeSpec {
            name: "pub".into(),
            domain: None,
            address: [127, 0, 0, 1].into(),
            services: vec![ServiceKind::Tftp, ServiceKind::Tvs],
            ports: Ports::ANY,
            expires: std::collections::BTreeMap::new(),
        }],
        groups: vec![GroupSpec {
            name: "all".into(),
            members: vec![ClusterId::FIRST.node(0)],
            share: 1.0,
        }],
    };
    let bound = Bound::bind(&topology).unwrap();
    let topology = bound.topology().clone();
    let SocketAddr::V4(tftp) = topology.socket(ClusterId::FIRST.node(0), ServiceKind::Tftp) else {
        panic!()
    };
    let cluster = Cluster::new(Genesis {
        topology,
        fleet: FleetSpec {
            phones: READS,
            models: vec![(8841.into(), 1.0)],
            seed: 1,
            ..FleetSpec::default()
        },
        source: KeySource::bank(1),
        epoch_s: 1_700_000_000,
        stored: resetstorm::cluster::Stored::default(),
    });
    let settings = ServeSettings::default();
    (Servers::start(bound, &cluster, Clock::start(), settings).await.unwrap(), tftp)
}

/// Asks for a configuration for each phone at once, withholds every acknowledgement for a second,
/// then reads on, and never says anything twice. What the server counted, and how many of the
/// phones were answered.
async fn reads_at_once() -> (TftpCounts, u32) {
    let (servers, tftp) = server().await;
    let mut readers = Readers::new(tftp);
    let (before, begun) = (resident_kb(), Instant::now());
    for phone in 0..READS {
        let name = DeviceName::of_phone(PhoneId(phone));
        let request = format!("\0\x01{name}.cnf.xml\0octet\0blksize\x008192\0");
        readers.say(phone, tftp.port(), request.as_bytes());
        if phone % 64 == 63 {
            readers.listen(Duration::ZERO).await;
        }
    }
    let asked = begun.elapsed();
    let withheld = Instant::now() + Duration::from_secs(1);
    while Instant::now() < withheld {
        readers.listen(Duration::from_millis(10)).await;
    }
    let kb = resident_kb().saturating_sub(before);
    let (answered, granted) = (readers.granted.len() as u32, std::mem::take(&mut readers.granted));
    for (number, (phone, port)) in granted.into_iter().enumerate() {
        readers.say(phone, port, b"\0\x04\0\0");
        if number % 64 == 63 {
            readers.listen(Duration::ZERO).await;
        }
    }
    let far = Instant::now() + Duration::from_secs(10);
    while readers.read < answered && Instant::now() < far {
        readers.listen(Duration::from_millis(10)).await;
    }
    while servers.counts().tftp.transfers_in_flight > 0 && Instant::now() < far {
        readers.listen(Duration::from_millis(10)).await;
    }
    let counts = servers.counts().tftp;
    servers.shutdown().await;
    println!(
        "{READS} requests in {asked:?}, {answered} answered, {} open at once, {} read; {} bytes of \
         memory for each that was open",
        counts.transfers_in_flight_max,
        readers.read,
        kb * 1_024 / u64::from(READS)
    );
    (counts, answered)
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Clients with an address each, on one socket.
struct Readers {
    socket: FleetSocket,
    server: SocketAddrV4,
    buffer: Vec<u8>,
    /// Phones whose options were acknowledged, and the server's ports for them.
    granted: Vec<(u32, u16)>,
    /// Files that were read.
    read: u32,
}

impl Readers {
    fn new(server: SocketAddrV4) -> Readers {
        let socket = FleetSocket::bind().unwrap();
        Readers { socket, server, buffer: vec![0; 10_000], granted: Vec::new(), read: 0 }
    }

    fn say(&self, phone: u32, port: u16, bytes: &[u8]) {
        let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 2, 0, 0)) + phone);
        self.socket.send(from, SocketAddrV4::new(*self.server.ip(), port), bytes).unwrap();
    }

    /// Takes what has come; waits so long for the first of it.
    async fn listen(&mut self, wait: Duration) {
        let _ = tokio::time::timeout(wait, self.socket.ready()).await;
        while let Ok(Some(arrival)) = self.socket.receive(&mut self.buffer) {
            let Arrival::Datagram { from, to, length } = arrival else { continue };
            let phone = u32::from(to) - u32::from(Ipv4Addr::new(127, 2, 0, 0));
            match self.buffer[1] {
                6 => self.granted.push((phone, from.port())),
                3 => {
                    assert!((7_000..8_192).contains(&length), "{length} bytes");
                    self.read += 1;
                    self.say(phone, from.port(), b"\0\x04\0\x01");
                }
                other => panic!("opcode {other}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn phones_start_when_they_are_planned_to() {
    let _turn = crate::TURN.lock().await;
    // A busy machine is not a slow program: whoever else has the cores for a moment makes all
    // starts late, and nobody makes them punctual. So the best of three storms is judged.
    let mut late = Vec::new();
    for _ in 0..3 {
        let seconds = lateness().await;
        if cfg!(debug_assertions) || seconds < 0.05 {
            return;
        }
        late.push(seconds);
    }
    panic!("the 99th percentile is late by {late:?} s, not below 0.05 s");
}

/// How late 99 of a hundred phones start at most: seconds, by the responder's clock or by their
/// own account, whichever is more.
async fn lateness() -> f64 {
    const PHONES: u32 = 10_000;
    const WITHIN_MS: u32 = 5_000;
    let responder = Responder::start(Duration::ZERO);
    let run = boot(PHONES, WITHIN_MS, responder.address).await;
    let seen = responder.end();
    assert_eq!(seen.first.len(), PHONES as usize);
    // Arrival less planned offset is the start of the wave plus the phone's lateness; the most
    // punctual phone stands for the start.
    let earliest = *seen.first.values().min().unwrap();
    let planned = |address: &IpAddr| {
        let IpAddr::V4(address) = address else { panic!("{address}") };
        let phone = u32::from(*address) - u32::from(phone_address(PhoneId(0)));
        let unit = stream(SEED, phone.into(), Purpose::Arrival).unit();
        unit * f64::from(WITHIN_MS) / 1e3
    };
    let arrived = |at: &Instant| at.duration_since(earliest).as_secs_f64();
    let mut late: Vec<f64> =
        seen.first.iter().map(|(address, at)| arrived(at) - planned(address)).collect();
    late.sort_by(f64::total_cmp);
    let late_by = |share: f64| late[(share * f64::from(PHONES)) as usize] - late[0];
    let own = run.ledger.lag().at_s(0.99).unwrap();
    println!(
        "{PHONES} starts in {WITHIN_MS} ms: late p50 {:.6} s, p99 {:.6} s; p99 by its own account {own} s",
        late_by(0.5),
        late_by(0.99)
    );
    late_by(0.99).max(own)
}
