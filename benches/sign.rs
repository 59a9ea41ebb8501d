//! What does one signature of a configuration cost the TFTP node, by key size?

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use resetstorm::crypto::KeySource;
use resetstorm::wire::DIGEST_SHA1;

/// About the size of a configuration file.
const FILE_LENGTH: usize = 8_192;

fn sign(criterion: &mut Criterion) {
    let file = vec![0x5a; FILE_LENGTH];
    let mut source = KeySource::bank(1);
    let mut group = criterion.benchmark_group("sign_sha512");
    group.throughput(Throughput::Elements(1));
    let keys = [2_048, 4_096].map(|bits| (bits, source.signing_key(bits)));
    for (bits, key) in &keys {
        group.bench_function(format!("rsa_{bits}"), |bencher| {
            bencher.iter(|| key.sign_sha512(black_box(&file)));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("sign_sha1");
    group.throughput(Throughput::Elements(1));
    for (bits, key) in &keys {
        group.bench_function(format!("rsa_{bits}"), |bencher| {
            bencher.iter(|| key.sign(DIGEST_SHA1, black_box(&file)));
        });
    }
    group.finish();
}

criterion_group!(benches, sign);
criterion_main!(benches);
