//! A live storm over a network that delays, loses and reorders: a rig of the test's own between
//! phones and servers. What is lost is sent again, and every count stays exact.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use resetstorm::base::{ClusterId, Home, NodeId, PhoneId, Purpose, Span, Stream, Time, stream};
use resetstorm::cluster::operator::certificates::Regenerate;
use resetstorm::cluster::operator::services::Services;
use resetstorm::cluster::{
    CertificateKind, Cluster, Effect, FleetSpec, Genesis, GroupSpec, NodeSpec, Ports, Release,
    ServiceKind, SignCacheMode, Topology,
};
use resetstorm::crypto::KeySource;
use resetstorm::measure::{Ledger, StepKind};
use resetstorm::net::{Arrival, Clock, FleetSocket};
use resetstorm::phone::{Env, Failure, ListFiles, Phone, PhoneProfile, Shared, Verifier};
use resetstorm::play::Homes;
use resetstorm::scenario::load;
use resetstorm::serve::{Bound, ServeSettings, Servers};
use resetstorm::sim::{SimOptions, World};
use resetstorm::swarm::{FileServer, Swarm, SwarmPlan};
use resetstorm::transfer::{TransferFault, UploadLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

const NODE: NodeId = ClusterId::FIRST.node(0);
const PHONES: u32 = 150;
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at a counter: the servers and the phones need the cores more.
const POLL: Duration = Duration::from_millis(2);

/// What a network does to each datagram.
#[derive(Clone, Copy, Debug)]
struct Weather {
    one_way: Duration,
    /// Up to so much is added, so that datagrams overtake each other.
    jitter: Duration,
    loss: f64,
    copies: f64,
}

/// A datagram on its way: the client's port, the server's port, the phone, and where to.
struct Flight {
    to_server: bool,
    phone: Ipv4Addr,
    client_port: u16,
    server_port: u16,
    bytes: Vec<u8>,
}

/// A network between phones and one TFTP server: a port of its own for each port of either side,
/// so that transfers stay apart as they are without it. Phones keep their addresses.
struct Network {
    server: SocketAddrV4,
    weather: Weather,
    random: Stream,
    /// What phones talk to, by the port of the server that it stands for.
    facing_phones: BTreeMap<u16, Arc<UdpSocket>>,
    /// What the server talks to, by the port of the phones that it stands for.
    facing_server: BTreeMap<u16, UnboundedSender<(Ipv4Addr, u16, Vec<u8>)>>,
    arrivals: UnboundedSender<Flight>,
    flights: BTreeMap<u64, Flight>,
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    count: u64,
    lost: Arc<AtomicU64>,
}

/// A rig that ends with the value.
struct Rig {
    address: SocketAddr,
    lost: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Network {
    async fn start(server: SocketAddr, weather: Weather) -> Rig {
        let SocketAddr::V4(server) = server else { panic!("{server}") };
        let (arrivals, mut arrived) = unbounded_channel();
        let lost = Arc::new(AtomicU64::new(0));
        let mut network = Network {
            server,
            weather,
            random: stream(7, 0, Purpose::Network),
            facing_phones: BTreeMap::new(),
            facing_server: BTreeMap::new(),
            arrivals,
            flights: BTreeMap::new(),
            due: BinaryHeap::new(),
            count: 0,
            lost: Arc::clone(&lost),
        };
        let address = network.face_phones(server.port()).await.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let next = network.due.peek().map(|Reverse((at, _))| *at);
                let wait = next.unwrap_or_else(|| Instant::now() + PATIENCE);
                tokio::select! {
                    Some(flight) = arrived.recv() => network.take_off(flight),
                    () = sleep_until(wait), if next.is_some() => network.land().await,
                }
            }
        });
        Rig { address, lost, task: task.abort_handle() }
    }

    fn take_off(&mut self, flight: Flight) {
        if self.random.unit() < self.weather.loss {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let copy = (self.random.unit() < self.weather.copies)
            .then(|| Flight { bytes: flight.bytes.clone(), ..flight });
        for flight in copy.into_iter().chain([flight]) {
            let late = self.weather.jitter.mul_f64(self.random.unit());
            self.count += 1;
            self.due.push(Reverse((Instant::now() + self.weather.one_way + late, self.count)));
            self.flights.insert(self.count, flight);
        }
    }

    async fn land(&mut self) {
        while let Some(&Reverse((at, number))) = self.due.peek() {
            if at > Instant::now() {
                return;
            }
            self.due.pop();
            let flight = self.flights.remove(&number).unwrap();
            let Flight { to_server, phone, client_port, server_port, bytes } = flight;
            if to_server {
                self.face_server(client_port).send((phone, server_port, bytes)).unwrap();
            } else {
                let socket = self.face_phones(server_port).await;
                socket.send_to(&bytes, (phone, client_port)).await.unwrap();
            }
        }
    }

    async fn face_phones(&mut self, server_port: u16) -> Arc<UdpSocket> {
        if let Some(socket) = self.facing_phones.get(&server_port) {
            return Arc::clone(socket);
        }
        let socket = Arc::new(UdpSocket::bind((*self.server.ip(), 0)).await.unwrap());
        self.facing_phones.insert(server_port, Arc::clone(&socket));
        let (arrivals, listening) = (self.arrivals.clone(), Arc::clone(&socket));
        tokio::spawn(async move {
            let mut buffer = [0; 2_000];
            loop {
                let Ok((length, peer)) = listening.recv_from(&mut buffer).await else { continue };
                let SocketAddr::V4(peer) = peer else { continue };
                let (phone, client_port) = (*peer.ip(), peer.port());
                let bytes = buffer[..length].to_vec();
                let flight = Flight { to_server: true, phone, client_port, server_port, bytes };
                if arrivals.send(flight).is_err() {
                    return;
                }
            }
        });
        socket
    }

    fn face_server(&mut self, client_port: u16) -> &UnboundedSender<(Ipv4Addr, u16, Vec<u8>)> {
        let (arrivals, server) = (&self.arrivals, self.server);
        self.facing_server.entry(client_port).or_insert_with(|| {
            let (sender, mut outgoing) = unbounded_channel::<(Ipv4Addr, u16, Vec<u8>)>();
            let arrivals = arrivals.clone();
            let mut socket = FleetSocket::bind().unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 2_000];
                loop {
                    tokio::select! {
                        next = outgoing.recv() => {
                            let Some((phone, port, bytes)) = next else { return };
                            let to = SocketAddrV4::new(*server.ip(), port);
                            socket.send(phone, to, &bytes).unwrap();
                        }
                        ready = socket.ready() => ready.unwrap(),
                    }
                    while let Some(arrival) = socket.receive(&mut buffer).unwrap() {
                        let Arrival::Datagram { from, to, length } = arrival else { continue };
                        let (server_port, bytes) = (from.port(), buffer[..length].to_vec());
                        let flight =
                            Flight { to_server: false, phone: to, client_port, server_port, bytes };
                        if arrivals.send(flight).is_err() {
                            return;
                        }
                    }
                }
            });
            sender
        })
    }
}

/// A network that delays connections: each chunk of bytes arrives later, in order.
async fn delayed_tcp(server: SocketAddr, one_way: Duration) -> (SocketAddr, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let server = TcpStream::connect(server).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::join!(
                    carry(from_client, to_server, one_way),
                    carry(from_server, to_client, one_way)
                );
            });
        }
    });
    (address, task.abort_handle())
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    one_way: Duration,
) {
    let (sender, mut flights) = unbounded_channel::<(Instant, Vec<u8>)>();
    let depart = async move {
        let mut buffer = [0; 16_384];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + one_way, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    };
    let arrive = async move {
        while let Some((at, bytes)) = flights.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The other end may be gone.
        let _ = to.shutdown().await;
    };
    tokio::join!(depart, arrive);
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

fn provisioned(cluster: &Cluster) -> (Arc<Shared>, Vec<Phone>) {
    let shared = Arc::new(Shared::default());
    let env = Env {
        profile: Arc::new(PhoneProfile::default()),
        shared: Arc::clone(&shared),
        verifier: Verifier::real(),
    };
    let service = cluster.tftp(NODE).unwrap();
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

/// The storm of a regenerated `CallManager.pem` under this weather; returns what was counted, how
/// many datagrams were lost, and how long it took.
async fn storm(weather: Weather) -> (Ledger, u64, Duration) {
    let clock = Clock::start();
    let bound = Bound::bind(&topology()).unwrap();
    let topology = bound.topology().clone();
    let (tftp, tvs) =
        (topology.socket(NODE, ServiceKind::Tftp), topology.socket(NODE, ServiceKind::Tvs));
    let mut cluster = Cluster::new(Genesis {
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
    });
    let upload =
        UploadLimits { timeout: Span::from_millis(500), tries: 8, ..UploadLimits::default() };
    let settings = ServeSettings { upload, ..ServeSettings::default() };
    let servers = Servers::start(bound, &cluster, clock, settings).await.unwrap();
    let (shared, phones) = provisioned(&cluster);
    let kind = CertificateKind::CallManager;
    cluster.apply(&Regenerate { certificate: kind, node: NODE }, Time::ZERO).unwrap();
    let restart = Services::restart(NODE, Some(ServiceKind::Tftp));
    for effect in cluster.apply(&restart, Time::ZERO).unwrap() {
        if let Effect::Service(change) = &effect {
            servers.follow(change).await.unwrap();
        }
    }
    let rig = Network::start(tftp, weather).await;
    let (tvs, delayed) = delayed_tcp(tvs, weather.one_way).await;
    let plan = SwarmPlan {
        uses: std::sync::Arc::new([]),
        seed: 1,
        profile: PhoneProfile {
            tftp_timeout: Span::from_millis(700),
            tftp_tries: 8,
            ..PhoneProfile::default()
        },
        // The phones of this rig ask over TFTP only.
        homes: Arc::new(Homes::dealt(vec![Home::from([NODE])])),
        files: BTreeMap::from([(
            NODE,
            FileServer { tftp: rig.address, http: rig.address, https: rig.address },
        )]),
        targets: [(resetstorm::wire::Dialogue::Tvs, tvs)].into(),
        hosts: Arc::default(),
        allowed: Vec::new(),
        transfers_in_flight: 1_000,
        lookups_in_flight: 200,
        registrations_in_flight: 200,
        connections_in_flight: 200,
    };
    let swarm = Swarm::start(&plan, clock, &shared, phones).unwrap();
    let begun = Instant::now();
    swarm.boot_all(clock.now(), Span::from_secs(1), true).await;
    let settled = async {
        while !swarm.is_settled() {
            tokio::time::sleep(POLL).await;
        }
    };
    timeout(PATIENCE, settled).await.expect("the phones settle");
    let took = begun.elapsed();
    let (_, ledger) = swarm.stop().await;
    delayed.abort();
    servers.shutdown().await;
    (ledger, rig.lost.load(Ordering::Relaxed), took)
}

/// Phones over 600 ms of round trip, whose TFTP service is stopped and started again while every
/// one of them is in the middle of its list; what was counted live.
async fn stopped_half_way(profile: PhoneProfile) -> Ledger {
    let clock = Clock::start();
    let bound = Bound::bind(&topology()).unwrap();
    let topology = bound.topology().clone();
    let (tftp, tvs) =
        (topology.socket(NODE, ServiceKind::Tftp), topology.socket(NODE, ServiceKind::Tvs));
    let mut cluster = Cluster::new(Genesis {
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
    });
    let servers = Servers::start(bound, &cluster, clock, ServeSettings::default()).await.unwrap();
    let (shared, phones) = provisioned(&cluster);
    let calm = Weather {
        one_way: Duration::from_millis(300),
        jitter: Duration::ZERO,
        loss: 0.0,
        copies: 0.0,
    };
    let rig = Network::start(tftp, calm).await;
    let plan = SwarmPlan {
        uses: std::sync::Arc::new([]),
        seed: 1,
        profile,
        homes: Arc::new(Homes::dealt(vec![Home::from([NODE])])),
        files: BTreeMap::from([(
            NODE,
            FileServer { tftp: rig.address, http: rig.address, https: rig.address },
        )]),
        targets: [(resetstorm::wire::Dialogue::Tvs, tvs)].into(),
        hosts: Arc::default(),
        allowed: Vec::new(),
        transfers_in_flight: 1_000,
        lookups_in_flight: 200,
        registrations_in_flight: 200,
        connections_in_flight: 200,
    };
    let swarm = Swarm::start(&plan, clock, &shared, phones).unwrap();
    swarm.boot_all(clock.now(), Span::from_millis(1), true).await;
    let half_way = async {
        loop {
            let counts = servers.counts().tftp;
            let phones = u64::from(PHONES);
            // Each got two 404s and two blocks of a list that takes ten round trips more.
            let begun = counts.not_found == 2 * phones && counts.transfers_in_flight == phones;
            if begun && counts.datagrams_out >= 4 * phones {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    timeout(PATIENCE, half_way).await.expect("all are half-way");
    for action in [
        Services::stop(NODE, Some(ServiceKind::Tftp)),
        Services::start(NODE, Some(ServiceKind::Tftp)),
    ] {
        for effect in cluster.apply(&action, Time::ZERO).unwrap() {
            if let Effect::Service(change) = &effect {
                servers.follow(change).await.unwrap();
            }
        }
    }
    let settled = async {
        while !swarm.is_settled() {
            tokio::time::sleep(POLL).await;
        }
    };
    timeout(PATIENCE, settled).await.expect("the phones settle");
    let (_, ledger) = swarm.stop().await;
    servers.shutdown().await;
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tftp_service_stopped_in_mid_transfer_comes_out_alike_in_virtual_time() {
    let profile =
        PhoneProfile { tftp_timeout: Span::from_secs(8), tftp_tries: 2, ..PhoneProfile::default() };
    let live = stopped_half_way(profile).await;
    let path = std::path::Path::new("scenarios/callmanager-regen.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let service = "{service=\"tftp\",node=\"pub\"}";
    let overrides = [
        format!("fleet.phones={PHONES}"),
        "phone.tftp-timeout=8s".to_owned(),
        "phone.tftp-tries=2".to_owned(),
        "fleet.site=[{name=\"rig\",share=1.0,link={rtt=\"600ms\"}}]".to_owned(),
        "slo=[]".to_owned(),
        format!(
            "event=[{{at=\"1s\",reset-phones={{spread=\"1ms\"}}}},{{at=\"4s\",stop={service}}},\
             {{at=\"4s\",start={service}}}]"
        ),
    ];
    let plan = load(path, &text, &overrides, &[]).unwrap();
    let sim = World::new(&plan, SimOptions::default()).run().ledger;
    let phones = u64::from(PHONES);
    let stalled = Failure::Transfer(TransferFault::Stalled);
    for (what, run) in [("live", &live), ("sim", &sim)] {
        let (counts, failures) = (run.counts(), run.failures());
        assert_eq!(failures.get(&stalled), Some(&phones), "{what}: {failures:?}");
        assert_eq!((counts.tftp.errors, counts.tftp.not_found), (phones, 2 * phones), "{what}");
        assert_eq!((counts.tftp.requests, counts.tftp.transfers), (4 * phones, phones), "{what}");
        assert_eq!(counts.unexpected, 0, "{what}");
        assert_eq!(counts.tftp.retransmits, phones, "{what}: two tries each");
    }
    for step in StepKind::ALL {
        let ended = |run: &Ledger| {
            let record = run.step_record(step);
            (record.ok, record.failed, record.retry)
        };
        assert_eq!(ended(&live), ended(&sim), "{}", step.name());
    }
}

/// Whatever the weather: every phone ready, each with four requests and one lookup.
fn assert_exact(ledger: &Ledger, what: &str) {
    let (counts, phones) = (&ledger.counts(), u64::from(PHONES));
    let tallies = ledger.tallies();
    assert_eq!((tallies.ready, tallies.stuck, tallies.failed), (phones, 0, 0), "{what}");
    assert_eq!((counts.tftp.requests, counts.tftp.not_found), (4 * phones, 2 * phones), "{what}");
    assert_eq!((counts.tftp.errors, counts.unexpected), (0, 0), "{what}");
    assert_eq!((counts.tvs.lookups, counts.tvs.failed), (phones, 0), "{what}: {:?}", counts.tvs);
    assert_eq!(counts.itls.accepted_by_tvs, phones, "{what}");
    assert_eq!(counts.configs.accepted_by_itl, phones, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_are_exact_at_every_round_trip_and_loss() {
    let ms = Duration::from_millis;
    let calm = Weather { one_way: ms(10), jitter: ms(0), loss: 0.0, copies: 0.0 };
    let weathers = [
        ("20 ms", calm),
        ("20 ms, 1 % lost", Weather { loss: 0.01, ..calm }),
        ("80 ms, 1 % lost", Weather { one_way: ms(40), loss: 0.01, ..calm }),
        ("20 ms, reordered", Weather { jitter: ms(15), copies: 0.05, ..calm }),
        ("20 ms, 5 % lost, 5 % twice", Weather { jitter: ms(5), loss: 0.05, copies: 0.05, ..calm }),
    ];
    for (what, weather) in weathers {
        let (ledger, lost, took) = storm(weather).await;
        let again = ledger.counts().tftp.retransmits;
        println!("{what}: {lost} datagrams lost, {again} sent again by phones, {took:?}");
        assert_exact(&ledger, what);
        assert_eq!(lost > 0, weather.loss > 0.0, "{what}");
        // A list alone takes a round trip per block.
        assert!(took > weather.one_way * 2 * 20, "{what}: {took:?}");
    }
}

/// Seconds until so many percent of the phones were ready.
fn ready_after(ledger: &Ledger, percent: usize) -> f64 {
    let times = ledger.ready_times_s();
    times[(PHONES as usize * percent).div_ceil(100) - 1]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "judges times: for a host that has nothing else to do"]
async fn virtual_time_predicts_storms_over_20_and_80_ms() {
    for rtt_ms in [20, 80] {
        let one_way = Duration::from_millis(rtt_ms / 2);
        let calm = Weather { one_way, jitter: Duration::ZERO, loss: 0.0, copies: 0.0 };
        let (live, _, _) = storm(calm).await;
        // What the rig's own timers add to each way shows in the shortest step, one round trip.
        let shortest = live.step_record(StepKind::Ctl).service.value_at_quantile(0.5);
        let latency_us = shortest.saturating_sub(rtt_ms * 1_000) / 2;
        let overrides = [
            format!("cluster.cost.latency={latency_us}us"),
            format!("fleet.phones={PHONES}"),
            "seed=1".to_owned(),
            "event.reset-1.reset-phones.spread=1s".to_owned(),
            "phone.tftp-timeout=700ms".to_owned(),
            format!("fleet.site=[{{name=\"rig\",share=1.0,link={{rtt=\"{rtt_ms}ms\"}}}}]"),
        ];
        let path = std::path::Path::new("scenarios/callmanager-regen.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let plan = load(path, &text, &overrides, &[]).unwrap();
        let sim = World::new(&plan, SimOptions::default()).run().ledger;
        for step in StepKind::ALL {
            let median = |run: &Ledger| run.step_record(step).service.value_at_quantile(0.5);
            println!("{rtt_ms} ms, {}: {} us, {} us", step.name(), median(&live), median(&sim));
        }
        for percent in [50, 90, 99] {
            let (live, sim) = (ready_after(&live, percent), ready_after(&sim, percent));
            let error = sim / live - 1.0;
            println!(
                "{rtt_ms} ms + {latency_us} us, {percent} %: live {live:.3} s, sim {sim:.3} s, {error:+.3}"
            );
            assert!(error.abs() <= 0.15, "{rtt_ms} ms, {percent} %: {live} against {sim}");
        }
    }
}
