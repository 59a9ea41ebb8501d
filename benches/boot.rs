//! What does one boot of the storm cost in memory, both sides, without sockets?
//!
//! A hundred phones recover from a regeneration in virtual time: requests, signatures, lookups and
//! the checks of the phones; the time is per boot. Verdicts on equal bytes are remembered.

use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use resetstorm::scenario::{Plan, load};
use resetstorm::sim::{SimOptions, World};

const PHONES: u64 = 100;

fn plan() -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/callmanager-regen.toml");
    let text = std::fs::read_to_string(&path).expect("a shipped scenario");
    load(&path, &text, &[format!("fleet.phones={PHONES}")], &[]).expect("a shipped scenario")
}

fn boot(criterion: &mut Criterion) {
    let plan = plan();
    let mut group = criterion.benchmark_group("boot");
    group.throughput(Throughput::Elements(PHONES)).sample_size(20);
    group.bench_function("callmanager_regen_of_100_phones", |bencher| {
        bencher.iter_batched(
            || World::new(&plan, SimOptions::default()),
            |world| {
                let run = world.run();
                assert_eq!(run.ledger.tallies().ready, PHONES);
                run
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, boot);
criterion_main!(benches);
