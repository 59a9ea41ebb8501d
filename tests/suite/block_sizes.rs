//! Servers with an opinion of their own about the block size that phones ask for (RFC 2347, RFC
//! 2348): one that does not know options, ones that grant less, and ones that may not do what they
//! do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resetstorm::base::{ClusterId, DeviceName, Home, NodeId, PhoneId, Span};
use resetstorm::cluster::{
    Cluster, FileReply, FleetSpec, Genesis, GroupSpec, NodeSpec, Ports, Release, ServiceKind,
    SignCacheMode, Topology, Waiter,
};
use resetstorm::crypto::KeySource;
use resetstorm::measure::Ledger;
use resetstorm::net::Clock;
use resetstorm::phone::{
    BlockSizeRule, Env, Failure, ListFiles, Phone, PhoneProfile, Shared, Verifier,
};
use resetstorm::play::Homes;
use resetstorm::swarm::{FileServer, Swarm, SwarmPlan};
use resetstorm::transfer::{Breach, TransferFault};
use resetstorm::wire::Dialogue;
use resetstorm::wire::tftp::{ErrorCode, Options, Packet};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const NODE: NodeId = ClusterId::FIRST.node(0);
const PHONES: u32 = 6;
const ASKED: u16 = 1_428;
/// Longest wait of a test for anything.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a server does about the block size that is asked for.
#[derive(Clone, Copy, Debug)]
enum Opinion {
    /// It has never heard of options.
    Ignores,
    /// It grants so many bytes, whatever was asked for.
    Grants(u64),
    /// It grants the length of the file, whose last block is then empty.
    GrantsTheFile,
    /// It knows options, but not this one.
    OtherOptions,
    /// It will not talk to a client that asks for this.
    Refuses,
}

impl Opinion {
    /// The answer to a request; `None` begins with the first block.
    fn answer(self, file: &[u8]) -> Option<Packet<'static>> {
        let granted = match self {
            Opinion::Ignores => return None,
            Opinion::Refuses => {
                return Some(Packet::Error { code: ErrorCode::OPTION_REFUSED, message: b"no" });
            }
            Opinion::Grants(size) => Some(size),
            Opinion::GrantsTheFile => Some(file.len() as u64),
            Opinion::OtherOptions => None,
        };
        Some(Packet::Oack { options: Options { block_size: granted, ..Options::default() } })
    }

    fn block_size(self, file: &[u8]) -> usize {
        match self.answer(file) {
            Some(Packet::Oack { options }) => options.block_size.unwrap_or(512) as usize,
            _ => 512,
        }
    }
}

/// A transfer as its server sees it.
struct Transfer {
    file: Arc<[u8]>,
    /// The last block that was acknowledged; 0 stands for the options.
    acknowledged: usize,
}

/// A TFTP server with an opinion; it sends nothing twice by itself.
struct Server {
    files: BTreeMap<String, Arc<[u8]>>,
    opinion: Opinion,
    transfers: BTreeMap<SocketAddr, Transfer>,
    /// The block sizes that were asked for.
    asked: Arc<Mutex<BTreeSet<Option<u64>>>>,
}

impl Server {
    fn answer(&mut self, bytes: &[u8], peer: SocketAddr) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match Packet::parse(bytes).expect("phones speak TFTP") {
            Packet::Rrq { file, options, .. } => {
                self.asked.lock().unwrap().insert(options.block_size);
                let Some(file) = self.files.get(file) else {
                    Packet::Error { code: ErrorCode::FILE_NOT_FOUND, message: b"" }
                        .encode(&mut out);
                    return Some(out);
                };
                let transfer = Transfer { file: Arc::clone(file), acknowledged: 0 };
                let answer = self.opinion.answer(file);
                let transfer = self.transfers.entry(peer).insert_entry(transfer);
                match answer {
                    Some(packet) => packet.encode(&mut out),
                    None => return self.opinion.block(transfer.get()),
                }
                Some(out)
            }
            Packet::Ack { block } => {
                let transfer = self.transfers.get_mut(&peer)?;
                transfer.acknowledged = usize::from(block);
                self.opinion.block(transfer)
            }
            _ => None,
        }
    }
}

impl Opinion {
    /// The block after the last acknowledged one; none behind the end of the file.
    fn block(self, transfer: &Transfer) -> Option<Vec<u8>> {
        let (file, size) = (&transfer.file, self.block_size(&transfer.file));
        let start = transfer.acknowledged * size;
        let data = file.get(start..file.len().min(start + size))?;
        let mut out = Vec::new();
        Packet::Data { block: transfer.acknowledged as u16 + 1, data }.encode(&mut out);
        Some(out)
    }
}

fn cluster() -> Cluster {
    let node = NodeSpec {
        name: "pub".into(),
        domain: None,
        address: [127, 0, 0, 1].into(),
        services: vec![ServiceKind::CallManager, ServiceKind::Tftp, ServiceKind::Tvs],
        ports: Ports { tftp: 1, ..Ports::ANY }.with(Dialogue::Tvs, 1),
        expires: std::collections::BTreeMap::new(),
    };
    Cluster::new(Genesis {
        topology: Topology {
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
            groups: vec![GroupSpec { name: "all".into(), members: vec![NODE], share: 1.0 }],
        },
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

fn served(cluster: &Cluster, name: &str) -> Arc<[u8]> {
    match cluster.tftp(NODE).unwrap().request(name, Waiter(u64::MAX)) {
        FileReply::Ready(file) => file.to_bytes().into(),
        FileReply::Pending { file, job } => {
            let header = job.expect("nobody else signs").run().header;
            file.with_header(header).to_bytes().into()
        }
        FileReply::Missing => panic!("{name}"),
    }
}

/// The list and the config of each phone, by name.
fn files(cluster: &Cluster) -> BTreeMap<String, Arc<[u8]>> {
    let mut files = BTreeMap::new();
    for number in 0..PHONES {
        let name = DeviceName::of_phone(PhoneId(number));
        for file in [format!("ITL{name}.tlv"), format!("{name}.cnf.xml.sgn")] {
            let bytes = served(cluster, &file);
            files.insert(file, bytes);
        }
    }
    files
}

/// Phones that hold the list and config of a cluster.
fn provisioned(cluster: &Cluster) -> (Arc<Shared>, Vec<Phone>) {
    let env = Env {
        profile: Arc::new(PhoneProfile::default()),
        shared: Arc::new(Shared::default()),
        verifier: Verifier::real(),
    };
    let service = cluster.tftp(NODE).unwrap();
    let list = service.signed_list();
    let phone = |number| {
        let mut phone = Phone::new(PhoneId(number), 8841);
        let (config, identity) = service.config_of(PhoneId(number));
        phone
            .provision(&env, ListFiles { ctl: None, itl: Some(&list) }, &config, identity)
            .unwrap();
        phone
    };
    (Arc::clone(&env.shared), (0..PHONES).map(phone).collect())
}

/// Boots phones that ask for blocks of `asked` bytes and waits until they have settled.
async fn boot(cluster: &Cluster, tftp: SocketAddr, asked: u16) -> Ledger {
    let clock = Clock::start();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let plan = SwarmPlan {
        uses: std::sync::Arc::new([]),
        seed: 1,
        profile: PhoneProfile {
            tftp_block_size: BlockSizeRule::Fixed(Some(asked)),
            tftp_timeout: Span::from_secs(15),
            ..PhoneProfile::default()
        },
        // These phones ask over TFTP only.
        homes: Arc::new(Homes::dealt(vec![Home::from([NODE])])),
        files: BTreeMap::from([(NODE, FileServer { tftp, http: tftp, https: tftp })]),
        targets: [(resetstorm::wire::Dialogue::Tvs, nobody)].into(),
        hosts: Arc::default(),
        allowed: Vec::new(),
        transfers_in_flight: 100,
        lookups_in_flight: 100,
        registrations_in_flight: 100,
        connections_in_flight: 100,
    };
    let (shared, phones) = provisioned(cluster);
    let swarm = Swarm::start(&plan, clock, &shared, phones).unwrap();
    swarm.boot_all(clock.now(), Span::ZERO, true).await;
    let settled = async {
        while !swarm.is_settled() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(PATIENCE, settled).await.is_ok(), "the phones settle");
    let ledger = swarm.stop().await.1;
    assert_eq!(ledger.counts().unexpected, 0);
    ledger
}

/// What a boot against a server of this opinion comes to, and how many bytes that server has for
/// the phones.
async fn boot_against(cluster: &Cluster, opinion: Opinion, asked: u16) -> (Ledger, u64) {
    let files = files(cluster);
    let bytes = files.values().map(|file| file.len() as u64).sum();
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let mut server =
        Server { files, opinion, transfers: BTreeMap::new(), asked: Arc::clone(&seen) };
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 600];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            if let Some(answer) = server.answer(&buffer[..length], peer) {
                socket.send_to(&answer, peer).await.unwrap();
            }
        }
    });
    let ledger = boot(cluster, address, asked).await;
    task.abort();
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([Some(u64::from(asked))]), "{opinion:?}");
    (ledger, bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_take_the_block_size_that_the_server_has_in_mind() {
    let cluster = cluster();
    let cases = [
        (Opinion::Ignores, ASKED),
        (Opinion::Ignores, 8),
        (Opinion::Ignores, 65_464),
        (Opinion::OtherOptions, ASKED),
        (Opinion::Grants(1_428), ASKED),
        (Opinion::Grants(1_024), ASKED),
        (Opinion::Grants(8), ASKED),
        (Opinion::Grants(65_464), 65_464),
        (Opinion::GrantsTheFile, 65_464),
    ];
    for (opinion, asked) in cases {
        let (ledger, bytes) = boot_against(&cluster, opinion, asked).await;
        let (tallies, counts) = (ledger.tallies(), &ledger.counts());
        let what = format!("{opinion:?} of {asked}: {tallies:?}");
        assert_eq!(tallies.ready, u64::from(PHONES), "{what}");
        assert_eq!(counts.tftp.bytes, bytes, "{what}");
        assert_eq!((counts.tftp.errors, counts.tftp.retransmits), (0, 0), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_leave_servers_that_grant_what_they_may_not_or_refuse() {
    let cluster = cluster();
    let (large, small) = (Breach::OptionTooLarge, Breach::OptionTooSmall);
    let cases = [
        // More than was asked for, less than there may be, and what does not fit into a number.
        (Opinion::Grants(1_429), TransferFault::Protocol(large)),
        (Opinion::Grants(7), TransferFault::Protocol(small)),
        (Opinion::Grants(0), TransferFault::Protocol(small)),
        (Opinion::Grants(65_536 + 512), TransferFault::Protocol(large)),
        (Opinion::Refuses, TransferFault::Error(ErrorCode::OPTION_REFUSED)),
    ];
    for (opinion, fault) in cases {
        let (ledger, _) = boot_against(&cluster, opinion, ASKED).await;
        let (tallies, counts) = (ledger.tallies(), &ledger.counts());
        let failures = ledger.failures();
        assert_eq!(
            failures.get(&Failure::Transfer(fault)),
            Some(&u64::from(PHONES)),
            "{opinion:?}: {tallies:?}"
        );
        assert_eq!((counts.tftp.bytes, tallies.ready), (0, 0), "{opinion:?}");
        assert!(counts.tftp.errors >= u64::from(PHONES), "{opinion:?}");
    }
}
