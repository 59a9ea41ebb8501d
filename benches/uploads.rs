//! What do the transfers of a TFTP server cost without sockets: an acknowledgement and its block
//! among ten thousand transfers, and a whole transfer of one block?

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use resetstorm::base::{Span, Time};
use resetstorm::transfer::{Found, Line, Step, TRANSFER_SOCKETS, Transmit, UploadLimits, Uploads};
use resetstorm::wire::tftp::{Options, Packet};

const CLIENTS: u32 = 10_000;
/// Blocks of a file of the first bench; more than anybody acknowledges.
const BLOCKS: usize = 60_000;

type Server = Uploads<Arc<[u8]>, ()>;

fn peer(client: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(0x7f01_0000 + client).into(), 2_000)
}

fn request() -> Vec<u8> {
    let mut out = Vec::new();
    Packet::Rrq { file: "SEP000000000001.cnf.xml.sgn", octet: true, options: Options::default() }
        .encode(&mut out);
    out
}

/// Asks for a file and begins its transfer.
fn begin(server: &mut Server, client: u32, file: &Arc<[u8]>, now: Time) -> Transmit {
    assert_eq!(server.on_request(peer(client), &request(), now), None);
    let Step::Begin(offer) = server.next_answer(now) else { panic!("there is room") };
    server.begin(offer, Found::Ready(Arc::clone(file))).expect("it is there")
}

/// Acknowledges a block; the length of what comes next, or 0.
fn acknowledge(server: &mut Server, line: Line, block: u16, now: Time, out: &mut Vec<u8>) -> usize {
    let [high, low] = block.to_be_bytes();
    let Some(next) = server.on_datagram(line, &[0, 4, high, low], now) else { return 0 };
    let mut sent = 0;
    server.write(next, out, |bytes| sent += bytes.len());
    sent
}

fn acknowledgement(criterion: &mut Criterion) {
    let file: Arc<[u8]> = Arc::from(vec![0x5a; BLOCKS * 512]);
    let mut server = Server::new(UploadLimits::default(), 100_000);
    let lines: Vec<Line> =
        (0..CLIENTS).map(|client| begin(&mut server, client, &file, Time::ZERO).line).collect();
    let (mut at, mut block, mut out) = (0, 1, Vec::new());
    criterion.bench_function("uploads/acknowledgement", |bencher| {
        bencher.iter(|| {
            let sent = acknowledge(&mut server, lines[at], block, Time::ZERO, &mut out);
            assert_eq!(sent, 516);
            (at, block) = if at + 1 < lines.len() { (at + 1, block) } else { (0, block + 1) };
        });
    });
}

fn whole_transfer(criterion: &mut Criterion) {
    let file: Arc<[u8]> = Arc::from(vec![0x5a; 400]);
    let mut server = Server::new(UploadLimits::default(), 100_000);
    let (mut client, mut now, mut out) = (0, Time::ZERO, Vec::new());
    criterion.bench_function("uploads/whole_transfer", |bencher| {
        bencher.iter(|| {
            client = (client + 1) % CLIENTS;
            now = now + Span::from_micros(50);
            (0..TRANSFER_SOCKETS as u8).for_each(|socket| server.on_emptied(socket, now));
            while server.on_timeout(now) != Step::Idle {}
            let first = begin(&mut server, client, &file, now);
            server.write(first, &mut out, |bytes| assert_eq!(bytes.len(), 404));
            assert_eq!(acknowledge(&mut server, first.line, 1, now, &mut out), 0);
        });
    });
    assert_eq!(server.in_flight(), 0);
}

criterion_group!(benches, acknowledgement, whole_transfer);
criterion_main!(benches);
