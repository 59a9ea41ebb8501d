//! What do the transfers of a TFTP server cost without sockets: an acknowledgement and its block
//! among ten thousand transfers, and a whole transfer of one block?

#[path = "parts/tftp.rs"]
mod tftp;

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use resetstorm::base::{Span, Time};
use resetstorm::transfer::{Line, UploadLimits};

use tftp::{CLIENTS, Server, acknowledge, begin, whole_transfer as transfer};

/// Blocks of a file of the first bench; more than anybody acknowledges.
const BLOCKS: usize = 60_000;

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
            transfer(&mut server, client, &file, now, &mut out);
        });
    });
    assert_eq!(server.in_flight(), 0);
}

criterion_group!(benches, acknowledgement, whole_transfer);
criterion_main!(benches);
