//! What does the sign cache cost a request: a hit, a miss, and eight threads that stampede?

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use resetstorm::cluster::{CacheKey, Claim, SignCache, SignCacheMode, Waiter};

/// Files of the storm in these benches.
const FILES: u128 = 10_000;
const THREADS: u64 = 8;

fn key(content: u128) -> CacheKey {
    CacheKey { content, signer: 7 }
}

fn header() -> Arc<[u8]> {
    Arc::from(vec![0x5a; 512])
}

fn filled() -> SignCache {
    let cache = SignCache::new(SignCacheMode::Lazy);
    let header = header();
    for content in 0..FILES {
        cache.complete(key(content), &header);
    }
    cache
}

fn hit(criterion: &mut Criterion) {
    let cache = filled();
    let mut content = 0;
    criterion.bench_function("sign_cache/hit", |bencher| {
        bencher.iter(|| {
            content = (content + 7_919) % FILES;
            cache.claim(black_box(key(content)), Waiter(1))
        });
    });
}

/// A look-up that finds nothing, and its completion; the signature itself is left out.
fn miss(criterion: &mut Criterion) {
    let header = header();
    criterion.bench_function("sign_cache/miss", |bencher| {
        bencher.iter_batched_ref(
            || (SignCache::new(SignCacheMode::Lazy), 0),
            |(cache, content)| {
                *content += 1;
                assert_eq!(cache.claim(key(*content), Waiter(1)), Claim::Sign);
                cache.complete(key(*content), &header)
            },
            BatchSize::NumIterations(10_000),
        );
    });
}

/// Every thread asks for every file of a cold cache, and whoever is told to sign completes it.
fn stampede(criterion: &mut Criterion) {
    let header = header();
    let mut group = criterion.benchmark_group("sign_cache");
    group.throughput(Throughput::Elements(FILES as u64 * THREADS)).sample_size(10);
    group.bench_function("stampede_of_8_threads", |bencher| {
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

criterion_group!(benches, hit, miss, stampede);
criterion_main!(benches);
