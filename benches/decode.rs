//! How long does a phone take to decode an ITL of 13 kB: header and all records, certificates
//! left as bytes? Bound: 5 µs. A record is a `Copy` view of its input, so none is allocated.

#[path = "parts/itl.rs"]
mod itl;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn decode(criterion: &mut Criterion) {
    let bytes = itl::itl();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function(format!("itl of {} bytes", bytes.len()), |bencher| {
        bencher.iter(|| itl::read(black_box(&bytes)));
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
