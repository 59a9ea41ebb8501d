//! What does a phone's check of one configuration cost the swarm, by key size and digest?

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use resetstorm::crypto::{KeySource, verify_signature};
use resetstorm::wire::{DIGEST_SHA1, DIGEST_SHA512};

/// About the size of a configuration file.
const FILE_LENGTH: usize = 8_192;

fn verify(criterion: &mut Criterion) {
    let file = vec![0x5a; FILE_LENGTH];
    let mut source = KeySource::bank(1);
    let mut group = criterion.benchmark_group("verify");
    group.throughput(Throughput::Elements(1));
    for bits in [2_048, 4_096] {
        let key = source.signing_key(bits);
        let (public, signature) = (key.public_key(), key.sign_sha512(&file));
        assert!(verify_signature(public, DIGEST_SHA512, &file, &signature).is_ok());
        // Nothing here signs SHA-1. A wrong digest is found after the same work: hash, power, compare.
        for (name, digest) in [("sha512", DIGEST_SHA512), ("sha1", DIGEST_SHA1)] {
            group.bench_function(format!("rsa_{bits}_{name}"), |bencher| {
                bencher.iter(|| verify_signature(public, digest, black_box(&file), &signature));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
