//! The servers on real sockets of the loopback, with clients that are not ours to trust.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use resetstorm::base::{ClusterId, NodeId, Span, Time};
use resetstorm::cluster::operator::certificates::Regenerate;
use resetstorm::cluster::operator::services::Services;
use resetstorm::cluster::{
    CertificateKind, Cluster, Effect, FileReply, FleetSpec, Genesis, GroupSpec, NodeSpec,
    Operation, Ports, Release, ServiceKind, SignCacheMode, Topology, UploadedFiles, Waiter,
};
use resetstorm::crypto::{Certificate, KeySource, verify_file};
use resetstorm::net::Clock;
use resetstorm::serve::{Bound, ServeSettings, Servers};
use resetstorm::transfer::{
    Download, DownloadOutcome, DownloadRequest, Progress, TransferFault, UploadLimits,
};
use resetstorm::vault;
use resetstorm::wire::tftp::{ErrorCode, Options, Packet};
use resetstorm::wire::tvs::{HEADER_LENGTH, Question, Request, message_length};
use resetstorm::wire::{Dialogue, SignedFile};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const NODE: NodeId = ClusterId::FIRST.node(0);
const PHONES: u32 = 8;
const CONFIG: &str = "SEP0C75BD000003.cnf.xml.sgn";
/// Longest wait of a test for anything.
const PATIENCE: Duration = Duration::from_secs(20);

struct Stage {
    cluster: Cluster,
    servers: Servers,
    tftp: SocketAddr,
    tvs: SocketAddr,
}

fn topology(sign_cache: SignCacheMode) -> Topology {
    let node = NodeSpec {
        name: "pub".into(),
        domain: None,
        address: [127, 0, 0, 1].into(),
        services: vec![ServiceKind::CallManager, ServiceKind::Tftp, ServiceKind::Tvs],
        ports: Ports { http: Some(0), ..Ports::ANY },
        expires: std::collections::BTreeMap::new(),
    };
    let group = GroupSpec { name: "all".into(), members: vec![NODE], share: 1.0 };
    let (nodes, groups) = (vec![node], vec![group]);
    Topology {
        cluster: ClusterId::FIRST,
        release: Release::R8_6,
        sign_cache,
        key_bits: 2048,
        file_signature: Release::R8_6.file_signature(),
        secured_urls: true,
        security: resetstorm::cluster::Security::default(),
        domain: None,
        faults: Vec::new(),
        replication_delay: Span::ZERO,
        registrar: None,
        nodes,
        groups,
    }
}

impl Stage {
    async fn new(sign_cache: SignCacheMode) -> Stage {
        Stage::with(sign_cache, ServeSettings::default()).await
    }

    async fn with(sign_cache: SignCacheMode, settings: ServeSettings) -> Stage {
        Stage::of(sign_cache, settings, UploadedFiles::default()).await
    }

    /// A cluster with files beside its own.
    async fn serving(uploaded: UploadedFiles) -> Stage {
        Stage::of(SignCacheMode::Lazy, ServeSettings::default(), uploaded).await
    }

    async fn of(
        sign_cache: SignCacheMode,
        settings: ServeSettings,
        uploaded: UploadedFiles,
    ) -> Stage {
        let bound = Bound::bind(&topology(sign_cache)).unwrap();
        let topology = bound.topology().clone();
        let (tftp, tvs) =
            (topology.socket(NODE, ServiceKind::Tftp), topology.socket(NODE, ServiceKind::Tvs));
        let cluster = Cluster::new(Genesis {
            topology,
            fleet: FleetSpec {
                phones: PHONES,
                models: vec![(8841.into(), 1.0)],
                seed: 1,
                uploaded,
                ..FleetSpec::default()
            },
            source: KeySource::bank(1),
            epoch_s: 1_700_000_000,
            stored: resetstorm::cluster::Stored::default(),
        });
        let servers = Servers::start(bound, &cluster, Clock::start(), settings).await.unwrap();
        Stage { cluster, servers, tftp, tvs }
    }

    async fn operate(&mut self, action: impl Operation) {
        let now = Clock::start().now();
        for effect in self.cluster.apply(&action, now).unwrap() {
            if let Effect::Service(change) = &effect {
                self.servers.follow(change).await.unwrap();
            }
        }
    }

    /// The bytes that the running service has for a file, which is signed already.
    fn served(&self, file: &str) -> Vec<u8> {
        match self.cluster.tftp(NODE).unwrap().request(file, Waiter(u64::MAX)) {
            FileReply::Ready(file) => file.to_bytes(),
            other => panic!("{file}: {other:?}"),
        }
    }

    async fn fetch(&self, file: &str) -> Vec<u8> {
        whole(fetch(self.tftp, file, Options::default()).await)
    }

    fn tvs_certificate(&self) -> Certificate {
        self.cluster.dialogue(NODE, Dialogue::Tvs).unwrap().identity.certificate.clone()
    }
}

fn whole(outcome: DownloadOutcome) -> Vec<u8> {
    match outcome {
        DownloadOutcome::Complete(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

async fn fetch(server: SocketAddr, file: &str, options: Options) -> DownloadOutcome {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    fetch_on(&socket, server, file, options, Span::from_secs(4)).await
}

async fn fetch_on(
    socket: &UdpSocket,
    server: SocketAddr,
    file: &str,
    options: Options,
    patience: Span,
) -> DownloadOutcome {
    let clock = Clock::start();
    let request = DownloadRequest {
        file: file.into(),
        options,
        size_max: 1 << 26,
        timeout: patience,
        tries: 2,
    };
    let (mut out, mut buffer) = (Vec::new(), vec![0; 70_000]);
    let mut download = Download::start(request, clock.now(), &mut out);
    loop {
        if !out.is_empty() {
            let port = download.peer_port().unwrap_or(server.port());
            socket.send_to(&out, (server.ip(), port)).await.unwrap();
        }
        let deadline = clock.instant_at(download.deadline());
        let received = tokio::time::timeout_at(deadline, socket.recv_from(&mut buffer)).await;
        let progress = match received {
            Ok(received) => {
                let (length, peer) = received.unwrap();
                download.on_datagram(&buffer[..length], peer.port(), clock.now(), &mut out)
            }
            Err(_) => download.on_timeout(clock.now(), &mut out),
        };
        if let Progress::Finished(outcome) = progress {
            if let (false, Some(port)) = (out.is_empty(), download.peer_port()) {
                socket.send_to(&out, (server.ip(), port)).await.unwrap();
            }
            return outcome;
        }
    }
}

/// Waits for a condition.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(PATIENCE, reached).await.is_ok(), "{what}");
}

/// A client that trusts one certificate, byte for byte.
#[derive(Debug)]
struct Pinned(Vec<u8>, Arc<CryptoProvider>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.0 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.1.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.1.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

fn trusting(
    certificate: &Certificate,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Pinned(certificate.der().to_vec(), Arc::clone(&provider));
    // Resumption is enabled by default: the server must not offer it.
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Arc::new(config)
}

async fn connect(
    server: SocketAddr,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server).await?;
    let name = ServerName::from(server.ip());
    timeout(PATIENCE, TlsConnector::from(Arc::clone(config)).connect(name, stream)).await?
}

async fn ask(tls: &mut TlsStream<TcpStream>, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let exchange = async {
        tls.write_all(request).await?;
        tls.flush().await?;
        let mut answer = vec![0; HEADER_LENGTH];
        tls.read_exact(&mut answer).await?;
        let header: [u8; HEADER_LENGTH] = answer[..].try_into().unwrap();
        answer.resize(message_length(&header).unwrap(), 0);
        tls.read_exact(&mut answer[HEADER_LENGTH..]).await?;
        Ok(answer)
    };
    timeout(PATIENCE, exchange).await?
}

async fn lookup(
    server: SocketAddr,
    config: &Arc<ClientConfig>,
    request: &[u8],
) -> std::io::Result<Vec<u8>> {
    ask(&mut connect(server, config).await?, request).await
}

fn query(certificate: &Certificate) -> Vec<u8> {
    let question = Question::Query {
        subject: certificate.subject(),
        issuer: certificate.issuer(),
        serial: certificate.serial(),
    };
    Request { session_id: 1_001, device_name: "CP-8841-SEP0C75BD000001", question }.encode()
}

fn verify(certificate: &Certificate) -> Vec<u8> {
    let question = Question::Verify { certificate: certificate.der() };
    Request { session_id: 1_002, device_name: "CP-8841-SEP0C75BD000001", question }.encode()
}

fn regenerate(certificate: CertificateKind) -> Regenerate {
    Regenerate { certificate, node: NODE }
}

fn restart(service: ServiceKind) -> Services {
    Services::restart(NODE, Some(service))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploaded_files_of_any_size_are_served_beside_those_of_the_cluster() {
    // More blocks of 512 bytes than a block number counts.
    let image: Vec<u8> = (0..40_000_000_u32).map(|at| (at / 3) as u8).collect();
    let uploaded = [
        ("sip88xx.bin".to_owned(), image[..100_000].to_vec()),
        ("load/large.bin".to_owned(), image.clone()),
        (CONFIG.to_owned(), b"not this one".to_vec()),
    ];
    let mut stage = Stage::serving(uploaded.into_iter().collect()).await;
    let windows = Options { block_size: Some(1_428), window_size: Some(8), ..Options::default() };
    for options in [Options::default(), windows] {
        let bytes = whole(fetch(stage.tftp, "sip88xx.bin", options).await);
        assert!(bytes == image[..100_000], "{options:?}");
    }
    let windows = Options { window_size: Some(64), ..windows };
    assert!(whole(fetch(stage.tftp, "load/large.bin", windows).await) == image);
    let small = Options { block_size: Some(512), ..windows };
    assert!(whole(fetch(stage.tftp, "load/large.bin", small).await) == image, "numbers wrap");
    let own = stage.fetch(CONFIG).await;
    assert_eq!(own, stage.served(CONFIG), "its own names are the cluster's");
    stage.operate(restart(ServiceKind::Tftp)).await;
    assert!(stage.fetch("sip88xx.bin").await == image[..100_000], "after a restart, too");
    stage.servers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_arrive_byte_for_byte_with_and_without_options() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let block_size = |size| Options { block_size: Some(size), ..Options::default() };
    let all = Options {
        block_size: Some(1_000),
        transfer_size: Some(0),
        timeout_s: Some(2),
        window_size: Some(4),
    };
    let options = [
        Options::default(),
        block_size(1_428),
        block_size(65_464),
        Options { transfer_size: Some(0), ..Options::default() },
        Options { window_size: Some(8), ..Options::default() },
        all,
    ];
    for file in ["ITLFile.tlv", "ITLSEP0C75BD000001.tlv", CONFIG, "SEP0C75BD000003.cnf.xml"] {
        for options in options {
            let bytes = whole(fetch(stage.tftp, file, options).await);
            assert_eq!(bytes, stage.served(file), "{file} with {options:?}");
        }
    }
    until("all transfers end", || stage.servers.counts().tftp.transfers_in_flight == 0).await;
    let counts = stage.servers.counts().tftp;
    assert_eq!((counts.requests, counts.transfers_done, counts.transfers_dropped), (24, 24, 0));
    assert_eq!((counts.malformed, counts.send_failed, counts.retransmits), (0, 0, 0));
    stage.servers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ring_list_and_locale_come_from_a_running_server_and_verify() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    for name in ["Ringlist.xml", "United_States/g3-tones.xml"] {
        let plain = whole(fetch(stage.tftp, name, Options::default()).await);
        let signed = format!("{name}.sgn");
        let bytes = whole(fetch(stage.tftp, &signed, Options::default()).await);
        let file = SignedFile::parse(&bytes).unwrap();
        assert_eq!((file.header.file_name, file.body), (&*signed, &*plain));
        let key =
            stage.cluster.tftp(ClusterId::FIRST.node(0)).unwrap().signer().certificate.public_key();
        assert_eq!(verify_file(&file, key, &mut Vec::new()), Ok(()), "{name}");
    }
    stage.servers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_socket_may_fetch_file_after_file() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..20 {
        for file in ["ITLFile.tlv", CONFIG] {
            let patience = Span::from_secs(4);
            let got = fetch_on(&socket, stage.tftp, file, Options::default(), patience).await;
            assert_eq!(whole(got), stage.served(file));
        }
    }
    until("all transfers end", || stage.servers.counts().tftp.transfers_done == 40).await;
}

/// Reads files one after the other on one port without ever repeating a word; gives how many of
/// them came.
fn read_on_one_port(server: SocketAddr, requests: &[Vec<u8>], files: &[Vec<u8>]) -> usize {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 2_000];
    let mut last = None;
    for (request, file) in requests.iter().zip(files) {
        socket.send_to(request, server).unwrap();
        let (mut tid, mut got) = (None, Vec::new());
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { return 0 };
            if tid.is_none() && Some(from) != last {
                tid = Some(from);
            }
            if tid != Some(from) {
                continue;
            }
            let block = if buffer[1] == 6 { [0, 0] } else { [buffer[2], buffer[3]] };
            socket.send_to(&[0, 4, block[0], block[1]], from).unwrap();
            if buffer[1] == 6 {
                continue;
            }
            got.extend_from_slice(&buffer[4..length]);
            let size = if request.ends_with(b"1428\0") { 1_428 } else { 512 };
            if length - 4 < size {
                break;
            }
        }
        assert!(got == *file, "{} bytes instead of {}", got.len(), file.len());
        last = tid;
    }
    requests.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_right_behind_a_last_acknowledgement_is_taken_for_a_repeated_one() {
    const CLIENTS: usize = 25;
    const EACH: usize = 80;
    let stage = Stage::new(SignCacheMode::Prewarm).await;
    let plain = |name: &str| [b"\0\x01", name.as_bytes(), b"\0octet\0"].concat();
    let sized = |name: &str| [&plain(name)[..], b"blksize\x001428\0"].concat();
    let (list, config) = ("ITLFile.tlv", CONFIG);
    let loads = [
        vec![plain(list)],
        vec![sized(config)],
        vec![plain(config), plain(list)],
        vec![sized(list), sized(list), plain(list)],
    ];
    for (round, load) in loads.iter().enumerate() {
        let requests: Vec<Vec<u8>> = load.iter().cycle().take(EACH).cloned().collect();
        let is_list = |request: &Vec<u8>| request.starts_with(b"\0\x01ITL");
        let name = |request| if is_list(request) { list } else { config };
        let files: Vec<Vec<u8>> =
            requests.iter().map(|request| stage.served(name(request))).collect();
        let (requests, files, server) = (Arc::new(requests), Arc::new(files), stage.tftp);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (requests, files) = (Arc::clone(&requests), Arc::clone(&files));
            clients.spawn_blocking(move || read_on_one_port(server, &requests, &files));
        }
        let read: usize = timeout(PATIENCE * 4, clients.join_all()).await.unwrap().iter().sum();
        assert_eq!(read, CLIENTS * EACH, "load {round}: transfers whose request was ignored");
    }
    let all = (loads.len() * CLIENTS * EACH) as u64;
    until("all transfers end", || stage.servers.counts().tftp.transfers_done == all).await;
    let counts = stage.servers.counts().tftp;
    assert_eq!((counts.requests, counts.transfers_dropped), (all, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_a_request_at_any_time_leave_one_coherent_transfer() {
    let stage = Stage::new(SignCacheMode::Prewarm).await;
    let expected = stage.served("ITLFile.tlv");
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = b"\0\x01ITLFile.tlv\0octet\0";
    let mut buffer = [0; 600];
    for _ in 0..2 {
        socket.send_to(request, stage.tftp).await.unwrap();
    }
    let (mut got, mut tids) = (Vec::new(), BTreeSet::new());
    loop {
        let (length, tid) =
            timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
        tids.insert(tid);
        let block = usize::from(u16::from_be_bytes([buffer[2], buffer[3]]));
        if block == got.len() / 512 + 1 {
            got.extend_from_slice(&buffer[4..length]);
            // A late copy between any two blocks; beside the last one it might be a new request.
            if got.len() + 1_024 < expected.len() {
                socket.send_to(request, stage.tftp).await.unwrap();
            }
            socket.send_to(&[0, 4, buffer[2], buffer[3]], tid).await.unwrap();
        }
        if length < 516 && got.len() == expected.len() {
            break;
        }
    }
    assert!(got == expected);
    assert_eq!(tids.len(), 1, "one transfer answered: {tids:?}");
    until("it ends", || stage.servers.counts().tftp.transfers_done == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_begins_again_in_mid_transfer_need_not_ask_twice() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = b"\0\x01ITLFile.tlv\0octet\0";
    let mut buffer = [0; 600];
    socket.send_to(request, stage.tftp).await.unwrap();
    let (_, old) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    socket.send_to(b"\0\x04\0\x01", old).await.unwrap();
    timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    socket.send_to(request, stage.tftp).await.unwrap();
    let new = loop {
        let (_, from) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
        if from != old {
            break from;
        }
    };
    assert_eq!(buffer[..4], [0, 3, 0, 1]);
    assert_ne!(new, old);
    assert_eq!(stage.servers.shutdown().await.tftp.requests, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_overtakes_the_last_acknowledgement_is_served_and_both_end() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = b"\0\x01ITLFile.tlv\0octet\0";
    let mut buffer = [0; 600];
    socket.send_to(request, stage.tftp).await.unwrap();
    let (last, old) = loop {
        let (length, tid) =
            timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
        let ack = [0, 4, buffer[2], buffer[3]];
        if length < 516 {
            break (ack, tid);
        }
        socket.send_to(&ack, tid).await.unwrap();
    };
    socket.send_to(request, stage.tftp).await.unwrap();
    let (_, new) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(buffer[..4], [0, 3, 0, 1]);
    assert_ne!(new, old);
    socket.send_to(&last, old).await.unwrap();
    until("the first one ends", || stage.servers.counts().tftp.transfers_done == 1).await;
    assert_eq!(stage.servers.counts().tftp.transfers_in_flight, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_is_error_1_and_paths_lead_nowhere() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    for file in ["CTLSEP0C75BD000001.tlv", "../../etc/passwd", "/etc/passwd", ""] {
        let outcome = fetch(stage.tftp, file, Options::default()).await;
        assert_eq!(outcome, DownloadOutcome::NotFound, "{file}");
    }
    assert_eq!(stage.servers.shutdown().await.tftp.not_found, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_read_request_gets_an_error_or_silence() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 600];
    let errors: [(&[u8], u16); 3] =
        [(b"\0\x02file\0octet\0", 2), (b"\0\x01ITLFile.tlv\0netascii\0", 0), (b"\0\x01no end", 4)];
    for (bytes, code) in errors {
        socket.send_to(bytes, stage.tftp).await.unwrap();
        let received = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap();
        let packet = Packet::parse(&buffer[..received.unwrap().0]).unwrap();
        let Packet::Error { code: got, .. } = packet else { panic!("{packet:?}") };
        assert_eq!(got, ErrorCode(code), "{bytes:?}");
    }
    let silent: [&[u8]; 5] = [b"", b"\0", b"\0\x05\0\x01no\0", b"\0\x04\0\x01", b"GET / HTTP/1.1"];
    for bytes in silent {
        socket.send_to(bytes, stage.tftp).await.unwrap();
    }
    until("all are counted", || stage.servers.counts().tftp.malformed == 6).await;
    assert_eq!(stage.servers.counts().tftp.datagrams_out, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_on_the_wrong_port_do_not_disturb_a_transfer() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let (mine, other) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
    );
    mine.send_to(b"\0\x01ITLFile.tlv\0octet\0", stage.tftp).await.unwrap();
    let mut buffer = [0; 600];
    let (_, tid) = timeout(PATIENCE, mine.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(buffer[..4], [0, 3, 0, 1]);
    // A stranger on the transfer's port is told that it has no transfer.
    other.send_to(b"\0\x04\0\x01", tid).await.unwrap();
    let (length, _) = timeout(PATIENCE, other.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(buffer[..length], [0, 5, 0, 5, 0]);
    // The acknowledgement counts on the transfer's own port alone.
    mine.send_to(b"\0\x04\0\x01", stage.tftp).await.unwrap();
    until("it is refused", || stage.servers.counts().tftp.malformed == 2).await;
    mine.send_to(b"\0\x04\0\x01", tid).await.unwrap();
    timeout(PATIENCE, mine.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(buffer[..4], [0, 3, 0, 2]);
    mine.send_to(b"\0\x05\0\0\0", tid).await.unwrap();
    until("the transfer ends", || stage.servers.counts().tftp.transfers_dropped == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_gets_one_datagram_and_a_heard_one_gets_them_again() {
    let upload =
        UploadLimits { timeout: Span::from_millis(300), tries: 3, ..UploadLimits::default() };
    let settings = ServeSettings { upload, ..ServeSettings::default() };
    let stage = Stage::with(SignCacheMode::Lazy, settings).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 600];
    socket.send_to(b"\0\x01ITLFile.tlv\0octet\0", stage.tftp).await.unwrap();
    until("it is dropped", || stage.servers.counts().tftp.transfers_dropped == 1).await;
    assert_eq!(stage.servers.counts().tftp.datagrams_out, 1);
    timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();

    socket.send_to(b"\0\x01ITLFile.tlv\0octet\0", stage.tftp).await.unwrap();
    let (_, tid) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    socket.send_to(b"\0\x04\0\x01", tid).await.unwrap();
    until("it is dropped", || stage.servers.counts().tftp.transfers_dropped == 2).await;
    let counts = stage.servers.counts().tftp;
    assert_eq!((counts.datagrams_out, counts.retransmits), (1 + 1 + 3, 2));
    assert_eq!(counts.transfers_in_flight, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_limit_get_no_answer() {
    let settings = ServeSettings { transfers_max: 2, ..ServeSettings::default() };
    let stage = Stage::with(SignCacheMode::Lazy, settings).await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(b"\0\x01ITLFile.tlv\0octet\0", stage.tftp).await.unwrap();
        sockets.push(socket);
    }
    until("three are refused", || stage.servers.counts().tftp.refused_full == 3).await;
    let counts = stage.servers.counts().tftp;
    assert_eq!((counts.requests, counts.transfers_in_flight_max), (5, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_of_one_file_cost_one_signature() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let mut clients = JoinSet::new();
    for _ in 0..200 {
        clients.spawn(fetch(stage.tftp, CONFIG, Options::default()));
    }
    let all = timeout(PATIENCE, clients.join_all()).await.unwrap();
    let expected = stage.served(CONFIG);
    assert!(all.into_iter().all(|outcome| whole(outcome) == expected));
    assert_eq!(stage.cluster.sign_cache().counts().made, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_cache_every_request_is_signed_and_answered() {
    let stage = Stage::new(SignCacheMode::Off).await;
    let first = stage.fetch(CONFIG).await;
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        clients.spawn(fetch(stage.tftp, CONFIG, Options::default()));
    }
    let all = timeout(PATIENCE, clients.join_all()).await.unwrap();
    assert!(all.into_iter().all(|outcome| whole(outcome) == first));
    assert_eq!(stage.cluster.sign_cache().counts().made, 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prewarming_is_done_before_the_service_is_in_force() {
    let mut stage = Stage::new(SignCacheMode::Prewarm).await;
    let files = u64::from(PHONES) + 1;
    assert_eq!(stage.cluster.sign_cache().counts().made, files);
    stage.operate(regenerate(CertificateKind::CallManager)).await;
    stage.operate(restart(ServiceKind::Tftp)).await;
    assert_eq!(stage.cluster.sign_cache().counts().made, 2 * files);
    assert_eq!(stage.fetch(CONFIG).await, stage.served(CONFIG));
    assert_eq!(stage.cluster.sign_cache().counts().made, 2 * files);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_shows_the_new_signer_and_nothing_does_before() {
    let mut stage = Stage::new(SignCacheMode::Lazy).await;
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|at| at == part);
    let serial =
        |stage: &Stage| stage.cluster.tftp(NODE).unwrap().signer().certificate.serial().to_vec();
    let (old, old_serial) = (stage.fetch(CONFIG).await, serial(&stage));
    assert!(holds(&old, &old_serial));
    stage.operate(regenerate(CertificateKind::CallManager)).await;
    assert_eq!(stage.fetch(CONFIG).await, old);
    let now = Clock::start().now();
    let effects = stage.cluster.apply(&restart(ServiceKind::Tftp), now).unwrap();
    assert_eq!(stage.fetch(CONFIG).await, old, "the effect is not carried out yet");
    for effect in &effects {
        if let Effect::Service(change) = effect {
            stage.servers.follow(change).await.unwrap();
        }
    }
    let new = stage.fetch(CONFIG).await;
    assert_eq!(new, stage.served(CONFIG));
    assert!(holds(&new, &serial(&stage)) && !holds(&new, &old_serial));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_keeps_its_file_over_a_restart() {
    let mut stage = Stage::new(SignCacheMode::Lazy).await;
    let old = stage.fetch("ITLFile.tlv").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"\0\x01ITLFile.tlv\0octet\0", stage.tftp).await.unwrap();
    let mut buffer = [0; 600];
    let (_, tid) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    stage.operate(regenerate(CertificateKind::CallManager)).await;
    stage.operate(restart(ServiceKind::Tftp)).await;
    socket.send_to(b"\0\x04\0\x01", tid).await.unwrap();
    let (length, _) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(buffer[4..length], old[512..1_024]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_service_is_silent_and_a_started_one_is_back_on_its_port() {
    let mut stage = Stage::new(SignCacheMode::Lazy).await;
    let trusted = trusting(&stage.tvs_certificate(), &rustls::version::TLS12);
    let request = query(&stage.tvs_certificate());
    let mut open = connect(stage.tvs, &trusted).await.unwrap();
    let running = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    running.send_to(b"\0\x01ITLFile.tlv\0octet\0", stage.tftp).await.unwrap();
    until("it runs", || stage.servers.counts().tftp.transfers_in_flight == 1).await;

    stage.operate(Services::stop(NODE, Some(ServiceKind::Tftp))).await;
    stage.operate(Services::stop(NODE, Some(ServiceKind::Tvs))).await;
    let counts = stage.servers.counts();
    assert_eq!((counts.tftp.transfers_in_flight, counts.tftp.transfers_dropped), (0, 1));
    assert_eq!(counts.dialogue(Dialogue::Tvs).connections_in_flight, 0);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let patience = Span::from_millis(100);
    let outcome = fetch_on(&socket, stage.tftp, "ITLFile.tlv", Options::default(), patience).await;
    assert_eq!(outcome, DownloadOutcome::Failed(TransferFault::TimedOut));
    assert!(TcpStream::connect(stage.tvs).await.is_err());
    assert!(ask(&mut open, &request).await.is_err(), "open connections are dropped");

    stage.operate(Services::start(NODE, None)).await;
    assert_eq!(stage.fetch("ITLFile.tlv").await, stage.served("ITLFile.tlv"));
    assert!(lookup(stage.tvs, &trusted, &request).await.is_ok());
    stage.servers.shutdown().await;
    assert!(TcpStream::connect(stage.tvs).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tvs_answers_over_tls_1_2_and_1_3_and_never_resumes() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let signer = stage.cluster.tftp(NODE).unwrap().signer().certificate.clone();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let trusted = trusting(&stage.tvs_certificate(), version);
        for _ in 0..2 {
            let mut tls = connect(stage.tvs, &trusted).await.unwrap();
            for request in [query(&signer), verify(&signer)] {
                let (expected, _) =
                    stage.cluster.knowledge().answer(NODE, Time::ZERO, &request).unwrap();
                assert_eq!(ask(&mut tls, &request).await.unwrap(), expected);
            }
            assert_eq!(tls.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            tls.shutdown().await.unwrap();
            let mut rest = Vec::new();
            timeout(PATIENCE, tls.read_to_end(&mut rest)).await.unwrap().unwrap();
            assert!(rest.is_empty(), "the server says farewell");
        }
    }
    let counts = stage.servers.counts().dialogue(Dialogue::Tvs);
    assert_eq!((counts.connections, counts.handshakes_ok, counts.answers), (4, 4, 8));
    let questions = &stage.servers.counts().dialogues[&Dialogue::Tvs].questions;
    assert_eq!((questions[0], questions[1]), (4, 4), "{:?}", Dialogue::Tvs.rules().questions);
    assert_eq!((counts.malformed, counts.timeouts, counts.handshakes_failed), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_carries_sixteen_requests() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let trusted = trusting(&stage.tvs_certificate(), &rustls::version::TLS13);
    let request = query(&stage.tvs_certificate());
    let mut tls = connect(stage.tvs, &trusted).await.unwrap();
    for _ in 0..16 {
        ask(&mut tls, &request).await.unwrap();
    }
    assert!(ask(&mut tls, &request).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_regenerated_tvs_certificate_is_presented_after_the_restart() {
    let mut stage = Stage::new(SignCacheMode::Lazy).await;
    let request = query(&stage.cluster.tftp(NODE).unwrap().signer().certificate);
    let old = trusting(&stage.tvs_certificate(), &rustls::version::TLS12);
    stage.operate(regenerate(CertificateKind::Tvs)).await;
    assert!(lookup(stage.tvs, &old, &request).await.is_ok(), "regenerated, not restarted");
    stage.operate(restart(ServiceKind::Tvs)).await;
    let new = trusting(&stage.tvs_certificate(), &rustls::version::TLS12);
    assert!(lookup(stage.tvs, &new, &request).await.is_ok());
    for (round, version) in [&rustls::version::TLS12, &rustls::version::TLS13].iter().enumerate() {
        let other = &stage.cluster.tftp(NODE).unwrap().signer().certificate;
        let distrusting = trusting(other, version);
        assert!(lookup(stage.tvs, &distrusting, &request).await.is_err());
        let seen = || {
            stage.servers.counts().dialogue(Dialogue::Tvs).handshakes_refused_by_peer
                == round as u64 + 1
        };
        until("the server hears why", seen).await;
    }
    assert!(lookup(stage.tvs, &old, &request).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_silence_do_not_disturb_lookups() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let trusted = trusting(&stage.tvs_certificate(), &rustls::version::TLS12);
    let request = query(&stage.tvs_certificate());
    let (mut silent, mut halves) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        silent.push(TcpStream::connect(stage.tvs).await.unwrap());
        let mut garbage = TcpStream::connect(stage.tvs).await.unwrap();
        garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        silent.push(garbage);
        let mut half = connect(stage.tvs, &trusted).await.unwrap();
        half.write_all(&request[..20]).await.unwrap();
        halves.push(half);
        let mut wrong = connect(stage.tvs, &trusted).await.unwrap();
        assert!(ask(&mut wrong, b"GET / HTTP/1.1\r\n\r\n").await.is_err());
    }
    let mut good = JoinSet::new();
    for _ in 0..50 {
        let (trusted, request, server) = (Arc::clone(&trusted), request.clone(), stage.tvs);
        good.spawn(async move { lookup(server, &trusted, &request).await.is_ok() });
    }
    let good = timeout(PATIENCE, good.join_all()).await.unwrap();
    assert!(good.into_iter().all(|ok| ok));
    until("all are counted", || stage.servers.counts().dialogue(Dialogue::Tvs).answers == 50).await;
    assert_eq!(stage.servers.counts().dialogue(Dialogue::Tvs).malformed, 20);
    drop(halves);
    until("halves are seen", || stage.servers.counts().dialogue(Dialogue::Tvs).malformed == 40)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_and_the_limit_of_connections_hold() {
    let settings = ServeSettings {
        tvs_connections_max: 2,
        // Time enough for all three to knock.
        handshake_deadline: Span::from_secs(1),
        ..ServeSettings::default()
    };
    let stage = Stage::with(SignCacheMode::Lazy, settings).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(TcpStream::connect(stage.tvs).await.unwrap());
    }
    until("one is refused", || stage.servers.counts().dialogue(Dialogue::Tvs).refused_full == 1)
        .await;
    until("two time out", || stage.servers.counts().dialogue(Dialogue::Tvs).timeouts == 2).await;
    until("none is open", || {
        stage.servers.counts().dialogue(Dialogue::Tvs).connections_in_flight == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saved_identities_are_private_and_come_back() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().join("state");
    vault::save_cluster(&state_dir, &stage.cluster).unwrap();
    vault::save_cluster(&state_dir, &stage.cluster).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state_dir), mode(&state_dir.join("pub"))), (0o700, 0o700));
    let files: Vec<_> = std::fs::read_dir(state_dir.join("pub"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(files.len(), 5, "copies of the certificates: {files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
    assert_eq!(mode(&state_dir.join("cluster.db")), 0o600);
    assert!(!state_dir.join("cluster.db-journal").exists());
    let loaded = vault::load_cluster(&state_dir, stage.cluster.topology()).unwrap();
    assert_eq!(loaded.own.len(), 5);
    for (node, kind, identity) in stage.cluster.stores().identities() {
        let again = &loaded.own[&(node, kind)];
        assert_eq!(again.certificate(), identity.certificate());
        assert_eq!(again.public_key(), identity.public_key());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identities_that_do_not_fit_are_refused_by_name() {
    let stage = Stage::new(SignCacheMode::Lazy).await;
    let dir = tempfile::tempdir().unwrap();
    let topology = stage.cluster.topology();
    assert!(vault::load_cluster(dir.path(), topology).unwrap().own.is_empty());
    let file = |name: &str| dir.path().join("pub").join(name);
    std::fs::create_dir(dir.path().join("pub")).unwrap();
    for (_, kind, own) in stage.cluster.stores().identities() {
        let name = kind.name();
        std::fs::write(file(&format!("{name}.pem")), own.certificate().to_pem()).unwrap();
        std::fs::write(file(&format!("{name}.key")), own.key_pem()).unwrap();
    }
    let error = || vault::load_cluster(dir.path(), topology).unwrap_err().to_string();
    let right = std::fs::read(file("TVS.key")).unwrap();
    std::fs::copy(file("CAPF.key"), file("TVS.key")).unwrap();
    let text = error();
    assert!(text.contains("TVS.key") && text.contains("TVS.pem"), "{text}");
    std::fs::write(file("TVS.key"), "no key").unwrap();
    assert!(error().contains("TVS.key"), "{}", error());
    std::fs::remove_file(file("TVS.key")).unwrap();
    assert!(error().contains("missing"), "{}", error());
    std::fs::write(file("TVS.key"), right).unwrap();
    assert_eq!(vault::load_cluster(dir.path(), topology).unwrap().own.len(), 5);
}
