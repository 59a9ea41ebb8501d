//! What does the sign cache cost a cluster: a stampede on all files and one on a single file, the end
//! of 50,000 signatures of an old key, and the making of all signatures before a storm?
//!
//! A hit and a miss are in `speed`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rayon::iter::{ParallelBridge, ParallelIterator};
use resetstorm::cluster::{CacheKey, Claim, SignCache, SignCacheMode, SignJob, Waiter};
use resetstorm::scenario::load;
use resetstorm::toolbox::file_service;

/// Files of the storm in these benches.
const FILES: u128 = 10_000;
const THREADS: u64 = 8;

fn key(content: u128) -> CacheKey {
    CacheKey { content, signer: 7 }
}

fn header() -> Arc<[u8]> {
    Arc::from(vec![0x5a; 512])
}

/// Every thread asks for every file of a cold cache, and whoever is told to sign completes it.
fn stampede(criterion: &mut Criterion) {
    let header = header();
    let mut group = criterion.benchmark_group("cache");
    group.throughput(Throughput::Elements(FILES as u64 * THREADS)).sample_size(10);
    group.bench_function("stampede of 8 threads on 10 000 files", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| one_stampede(&header)).sum());
    });
    group.finish();
}

fn one_stampede(header: &Arc<[u8]>) -> Duration {
    let cache = SignCache::new(SignCacheMode::Lazy);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let cache = &cache;
            scope.spawn(move || {
                for content in 0..FILES {
                    if cache.claim(key(content), Waiter(thread)) == Claim::Sign {
                        cache.complete(key(content), header);
                    }
                }
            });
        }
    });
    let elapsed = start.elapsed();
    assert_eq!(u128::from(cache.counts().made), FILES, "each signature is made once");
    elapsed
}

/// 10,000 requests for one file of a cold cache: one signs, the rest is named when it has.
fn one_file(criterion: &mut Criterion) {
    let header = header();
    let mut group = criterion.benchmark_group("cache");
    group.throughput(Throughput::Elements(FILES as u64));
    group.bench_function("stampede of 10 000 on one file", |bencher| {
        bencher.iter(|| {
            let cache = SignCache::new(SignCacheMode::Lazy);
            assert_eq!(cache.claim(key(1), Waiter(0)), Claim::Sign);
            for waiter in 1..FILES as u64 {
                assert_eq!(cache.claim(key(1), Waiter(waiter)), Claim::Wait);
            }
            assert_eq!(cache.complete(key(1), &header).len(), FILES as usize);
        });
    });
    group.finish();
}

/// A certificate of TFTP is new: what the old key has signed is dropped, the rest is kept.
fn invalidation(criterion: &mut Criterion) {
    let header = header();
    let filled = || {
        let cache = SignCache::new(SignCacheMode::Lazy);
        for content in 0..50_000 {
            cache.complete(key(content), &header);
        }
        cache.complete(CacheKey { content: 0, signer: 8 }, &header);
        cache
    };
    let mut group = criterion.benchmark_group("cache");
    group.sample_size(20);
    group.bench_function("invalidation of 50 000 entries", |bencher| {
        bencher.iter_batched_ref(
            filled,
            |cache| {
                cache.keep_only(&[8]);
                assert_eq!(cache.len(), 1);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// All signatures of a cluster's phones on all cores, as with `cluster.sign-cache = "prewarm"`.
fn prewarm(criterion: &mut Criterion) {
    const PHONES: u32 = 500;
    let smallest = "schema=1\nname='speed'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=1\n";
    let plan = load(Path::new("speed"), smallest, &[], &[]).expect("the scenario is valid");
    let cold = || {
        let service = file_service(&plan.topology, SignCacheMode::Prewarm, PHONES);
        service.expect("the node serves files")
    };
    let mut group = criterion.benchmark_group("cache");
    group.throughput(Throughput::Elements(u64::from(PHONES) + 1)).sample_size(10);
    group.bench_function("prewarm of 500 phones, all cores", |bencher| {
        bencher.iter_batched_ref(
            cold,
            |service| {
                let jobs = service.missing_signatures().par_bridge();
                assert_eq!(jobs.map(SignJob::run).count(), PHONES as usize + 1);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, stampede, one_file, invalidation, prewarm);
criterion_main!(benches);
