//! HTTPS services on real sockets of the loopback: the same counts as in virtual time, servers that
//! mean harm at our phones, and clients that mean harm at our Tomcat.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use resetstorm::base::{ClusterId, Home, NodeId, PhoneId, Span, Time};
use resetstorm::cluster::{
    Cluster, FleetSpec, Genesis, GroupSpec, NodeSpec, Ports, Release, ServiceKind, SignCacheMode,
    Topology, WebPorts,
};
use resetstorm::crypto::{CertificateSpec, Identity, KeySource};
use resetstorm::live::{self, LiveOptions, Observer};
use resetstorm::measure::{Ledger, PressCounts, Summary, known_paths};
use resetstorm::net::{Clock, tls_server};
use resetstorm::phone::{Button, Env, ListFiles, Phone, PhoneProfile, Shared, Verifier};
use resetstorm::play::Homes;
use resetstorm::scenario::{UsePeriod, UsePlan, UseRate, load};
use resetstorm::serve::{Bound, ServeSettings, Servers};
use resetstorm::sim::{SimOptions, World};
use resetstorm::swarm::{FileServer, Swarm, SwarmPlan};
use resetstorm::wire::phone_page::menu;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const NODE: NodeId = ClusterId::FIRST.node(0);
const PHONES: u32 = 8;
/// Longest wait of a test for anything.
const PATIENCE: Duration = Duration::from_secs(30);

struct Deaf;

impl Observer for Deaf {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_regeneration_of_tomcat_has_the_same_counts_live_and_in_virtual_time() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/tomcat-regen.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let of =
        |from: &str, kind: &str| format!("{{kind='{kind}',rate='40/m',from='{from}',for='2s'}}");
    let uses = [of("0s", "directory"), of("7s", "emcc")].join(",");
    let overrides = [
        "fleet.phones=200".to_owned(),
        format!("fleet.use=[{uses}]"),
        "cluster.node.pub.ports={tftp=0,tvs=0,capf=0,tomcat=0,tomcat-http=0}".to_owned(),
        "event=[{at='6s',regenerate={certificate='tomcat',node='pub'}},\
         {after='previous',restart={service='tomcat',node='pub'}}]"
            .to_owned(),
        "slo=[]".to_owned(),
    ];
    let plan = load(&path, &text, &overrides, &known_paths()).unwrap_or_else(|e| panic!("{e}"));
    let live = Box::pin(live::run(&plan, &LiveOptions::default(), &mut Deaf)).await.unwrap();
    let live = Summary::new(&live.ledger, live.facts, &plan.slos, live.finish);
    let sim = World::new(&plan, SimOptions::default()).run().summary(&plan);
    let counts = |of: &Summary| {
        let presses = of.presses.counts;
        let found = [presses.by_tvs, presses.by_ctl, presses.by_itl, presses.failed];
        // A person may press once more before the page is there, which takes longer here.
        let ended = presses.shown + presses.busy;
        let serve = of.serve;
        let shakes = [serve.page_handshakes_failed, serve.tvs_handshakes_ok, serve.tvs_answers];
        (presses.total, ended, found, presses.lookups, of.tvs.lookups, of.tvs.failed, shakes)
    };
    assert_eq!(counts(&live), counts(&sim), "{:?}", live.presses.counts);
    assert!(sim.presses.counts.lookups > 200, "{:?}", sim.presses.counts);
    assert!(sim.presses.counts.by_cache > 20, "{:?}", sim.presses.counts);
    assert_eq!(live.presses.by_node["pub"].failed, 0);
}

/// A cluster of one node that serves TFTP, TVS and pages.
struct Stage {
    cluster: Cluster,
    servers: Servers,
}

fn topology() -> Topology {
    let node = NodeSpec {
        name: "pub".into(),
        domain: None,
        address: [127, 0, 0, 1].into(),
        services: vec![ServiceKind::CallManager, ServiceKind::Tftp, ServiceKind::Tvs],
        ports: Ports { web: Some(WebPorts { http: 0, https: 0 }), ..Ports::ANY },
        expires: BTreeMap::new(),
    };
    let group = GroupSpec { name: "all".into(), members: vec![NODE], share: 1.0 };
    Topology {
        cluster: ClusterId::FIRST,
        release: Release::R8_6,
        sign_cache: SignCacheMode::Lazy,
        key_bits: 2048,
        file_signature: Release::R8_6.file_signature(),
        secured_urls: true,
        registrar: None,
        security: resetstorm::cluster::Security::default(),
        domain: None,
        faults: Vec::new(),
        replication_delay: Span::ZERO,
        nodes: vec![node],
        groups: vec![group],
    }
}

impl Stage {
    async fn new() -> Stage {
        let bound = Bound::bind(&topology()).unwrap();
        let cluster = Cluster::new(Genesis {
            topology: bound.topology().clone(),
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
        let settings =
            ServeSettings { header_deadline: Span::from_millis(300), ..Default::default() };
        let servers = Servers::start(bound, &cluster, Clock::start(), settings).await.unwrap();
        Stage { cluster, servers }
    }

    fn secure(&self) -> SocketAddr {
        self.cluster.topology().socket(NODE, ServiceKind::Tomcat)
    }

    fn tomcat(&self) -> Identity {
        self.cluster.web(NODE).unwrap().identity.clone()
    }

    /// Presses at phones whose directory button leads to `server`, until there are no more.
    async fn presses(&self, server: SocketAddr) -> PressCounts {
        let http_timeout = Span::from_millis(700);
        let profile = PhoneProfile { http_timeout, ..PhoneProfile::default() };
        let shared = Arc::new(Shared::default());
        let env = Env {
            profile: Arc::new(profile.clone()),
            shared: Arc::clone(&shared),
            verifier: Verifier::real(),
        };
        let service = self.cluster.tftp(NODE).unwrap();
        let list = service.signed_list();
        let phone = |number| {
            let mut phone = Phone::new(PhoneId(number), 8841);
            let (config, identity) = service.config_of(phone.id());
            let config = String::from_utf8(config.to_vec()).unwrap();
            let config = config.replace(&self.secure().to_string(), &server.to_string());
            let lists = ListFiles { ctl: None, itl: Some(&list) };
            phone.provision(&env, lists, config.as_bytes(), identity).unwrap();
            phone
        };
        let plan = SwarmPlan {
            uses: Arc::new([UsePlan {
                button: Button::Directory,
                rate: UseRate { presses: 60.0, per: UsePeriod::Minute },
                from: Span::ZERO,
                lasts: Span::from_secs(1),
            }]),
            seed: 1,
            profile,
            homes: Arc::new(Homes::dealt(vec![Home::from([NODE])])),
            files: BTreeMap::from([(
                NODE,
                FileServer { tftp: server, http: server, https: server },
            )]),
            targets: std::collections::BTreeMap::new(),
            hosts: Arc::default(),
            allowed: Vec::new(),
            transfers_in_flight: 100,
            lookups_in_flight: 100,
            registrations_in_flight: 100,
            connections_in_flight: 100,
        };
        let clock = Clock::start();
        let swarm = Swarm::start(&plan, clock, &shared, (0..PHONES).map(phone).collect()).unwrap();
        swarm.begin_use(clock.now()).await;
        until("nobody presses any more", || swarm.is_at_rest()).await;
        let (_, ledger) = swarm.stop().await;
        assert_eq!(ledger.counts().unexpected, 0);
        let counts = ledger.counts().presses;
        assert_eq!(counts.total, counts.shown + counts.failed + counts.busy);
        assert!(counts.shown + counts.failed > 2, "{counts:?}");
        counts
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, reached).await.is_ok(), "{what}");
}

/// What a server does with who connects.
#[derive(Clone)]
enum Harm {
    /// Says nothing.
    Silence,
    /// Says this without TLS, and closes.
    Says(&'static [u8]),
    /// Shakes hands as this, answers every request with this, and closes.
    Pages(Identity, Vec<u8>),
    /// Shakes hands as this and sends a body without an end.
    Endless(Identity),
}

/// A server that means harm, and how many requests it has read.
async fn hostile(harm: Harm) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(harm_one(stream, harm.clone(), Arc::clone(&count)));
        }
    });
    (address, asked)
}

async fn harm_one(mut stream: TcpStream, harm: Harm, asked: Arc<AtomicU64>) -> std::io::Result<()> {
    match harm {
        Harm::Silence => std::future::pending().await,
        Harm::Says(bytes) => stream.write_all(bytes).await,
        Harm::Pages(identity, answer) => {
            let mut stream = accepted(stream, &identity).await?;
            request(&mut stream).await?;
            asked.fetch_add(1, Ordering::Relaxed);
            stream.write_all(&answer).await?;
            stream.shutdown().await
        }
        Harm::Endless(identity) => {
            let mut stream = accepted(stream, &identity).await?;
            request(&mut stream).await?;
            asked.fetch_add(1, Ordering::Relaxed);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 4_096]).await?;
            }
        }
    }
}

async fn accepted(
    stream: TcpStream,
    identity: &Identity,
) -> std::io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    TlsAcceptor::from(tls_server::server_config(identity).unwrap()).accept(stream).await
}

/// Reads the head of a request.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).await?;
        head.push(byte[0]);
    }
    Ok(())
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_asks_nothing_of_a_server_that_nobody_vouches_for() {
    let stage = Stage::new().await;
    let spec = CertificateSpec { common_name: "pub", not_before_s: 1_700_000_000, key_bits: 2048 };
    let stranger = Identity::self_signed(&spec, &mut KeySource::bank(99));
    let (address, asked) = hostile(Harm::Pages(stranger, ok("<CiscoIPPhoneText/>"))).await;
    let counts = stage.presses(address).await;
    assert_eq!((counts.not_vouched, counts.shown), (counts.failed, 0), "{counts:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 0, "not one request went out");
    // A "no" is not kept: every press asks again.
    assert_eq!(counts.lookups, counts.failed);
    // The server of the cluster itself.
    let counts = stage.presses(stage.secure()).await;
    assert_eq!((counts.failed, counts.by_tvs), (0, counts.lookups), "{counts:?}");
    stage.servers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_server_says_instead_of_a_handshake_is_one_failed_press() {
    let stage = Stage::new().await;
    let harms = [
        Harm::Silence,
        Harm::Says(b""),
        Harm::Says(b"HTTP/1.1 200 OK\r\n\r\n<CiscoIPPhoneMenu></CiscoIPPhoneMenu>"),
        Harm::Says(&[0x16, 3, 3, 0xFF, 0xFF, 2, 0, 0xFF]),
        Harm::Says(&[0x15, 3, 3, 0, 2, 2, 40]),
    ];
    for harm in harms {
        let (address, _) = hostile(harm).await;
        let counts = stage.presses(address).await;
        assert_eq!((counts.unreachable, counts.shown), (counts.failed, 0), "{counts:?}");
        assert_eq!(counts.lookups, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_pages_a_known_server_sends_the_phone_shows_an_error_and_goes_nowhere() {
    let stage = Stage::new().await;
    let own = || stage.tomcat();
    let leads = |url: &str| ok(&menu("x", "y", &[("Corporate Directory", url.to_owned())]));
    let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX);
    let pages = [
        ok("<html><body>hello</body></html>"),
        ok(""),
        ok("<CiscoIPPhoneMenu>"),
        ok(&menu("x", "y", &[("Another Directory", "https://127.0.0.1/".to_owned())])),
        leads("Dial:911"),
        huge.into_bytes(),
        ok(&"<a>".repeat(20_000)),
        b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"220 not http at all\r\n".to_vec(),
    ];
    for page in pages {
        let name = String::from_utf8_lossy(&page[..page.len().min(60)]).into_owned();
        let (address, _) = hostile(Harm::Pages(own(), page)).await;
        let counts = stage.presses(address).await;
        assert_eq!((counts.bad_page, counts.shown), (counts.failed, 0), "{name}: {counts:?}");
    }
    let (address, _) = hostile(Harm::Endless(own())).await;
    let counts = stage.presses(address).await;
    assert_eq!((counts.bad_page, counts.shown), (counts.failed, 0), "endless: {counts:?}");
    // Nobody outside the loopback is connected to, whatever a page says.
    let (address, _) = hostile(Harm::Pages(own(), leads("https://192.0.2.1:8443/x"))).await;
    let counts = stage.presses(address).await;
    assert_eq!((counts.unreachable, counts.shown), (counts.failed, 0), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_at_the_port_of_tomcat_is_counted_and_harms_nobody() {
    let stage = Stage::new().await;
    let plain = stage.cluster.topology().plain_web_socket(NODE);
    let garbage: [&[u8]; 5] =
        [b"", b"\x16\x03\x01\xFF\xFF", b"GET / HTTP/1.1\r\n\r\n", &[0xFF; 4_096], b"\x80\x2e\x01"];
    for bytes in garbage {
        let mut stream = TcpStream::connect(stage.secure()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // It closes the connection, or sends an alert first.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.len() < 64, "{answer:?}");
    }
    let long = [&b"GET /"[..], &vec![b'x'; 20_000], b" HTTP/1.1\r\n\r\n"].concat();
    let asks: [(&[u8], &str); 6] = [
        (b"GET /ccmcip/xmldirectory.jsp HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200"),
        (b"GET /ccmcip/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404"),
        (b"GET /%00%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404"),
        (b"POST /ccmcip/xmldirectory.jsp HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "405"),
        (b"no request at all\r\n\r\n", "400"),
        (&long, "431"),
    ];
    for (bytes, status) in asks {
        let mut stream = TcpStream::connect(plain).await.unwrap();
        // It may have answered before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let said = answer.split(' ').nth(1).unwrap_or_default();
        assert!(
            said == status || (status == "431" && said.starts_with('4')),
            "{status}: {answer:.80}"
        );
    }
    assert_eq!(stage.servers.counts().web[1].handshakes_ok, 0);
    let counts = stage.presses(stage.secure()).await;
    assert_eq!(counts.failed, 0, "phones get their pages: {counts:?}");
    let counts = stage.servers.shutdown().await.web;
    assert!(counts[1].handshakes_failed >= 4, "{:?}", counts[1]);
    assert_eq!((counts[0].answers, counts[0].refused_method, counts[0].not_found), (1, 1, 2));
}
