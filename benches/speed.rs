//! What does each thing cost that `resetstorm speed` tells, by the same names, and what does the
//! length of a file add to its signature and its check?

use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use resetstorm::crypto::KeySource;
use resetstorm::scenario::load;
use resetstorm::toolbox::{SpeedWork, rsa_works, speed_works};
use resetstorm::wire::DIGEST_SHA512;

/// A cluster of one node that serves files.
const SMALLEST: &str = "schema=1\nname='speed'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=1\n";

fn bench(criterion: &mut Criterion, mut work: SpeedWork) {
    let mut group = criterion.benchmark_group(work.what);
    group.throughput(Throughput::Elements(1));
    group.bench_function(work.with.clone(), |bencher| bencher.iter(|| work.once()));
    group.finish();
}

fn told_by_speed(criterion: &mut Criterion) {
    let plan = load(Path::new("speed"), SMALLEST, &[], &[]).expect("the scenario is valid");
    speed_works(&plan.topology).into_iter().for_each(|work| bench(criterion, work));
}

/// From a list of one record to a large directory.
fn sizes(criterion: &mut Criterion) {
    let key = Arc::new(KeySource::bank(1).signing_key(2_048));
    for kilobytes in [1, 16, 64, 256] {
        let file: Arc<[u8]> = Arc::from(vec![0x5a; kilobytes * 1_024]);
        let with = format!("rsa 2048 sha512, {kilobytes} kB");
        let works = rsa_works(&with, &key, DIGEST_SHA512, &file);
        works.into_iter().for_each(|work| bench(criterion, work));
    }
}

criterion_group!(benches, told_by_speed, sizes);
criterion_main!(benches);
