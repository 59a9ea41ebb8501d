//! How many events a second does a world in virtual time handle, and what does a phone cost?
//!
//! 20,000 phones of an eleven-node cluster recover from a regeneration, one thread. The throughput
//! is in events; the resident bytes of a phone are printed once.

use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use resetstorm::net::limits::resident_bytes;
use resetstorm::scenario::{Plan, load};
use resetstorm::sim::{SimOptions, World};

const PHONES: u64 = 20_000;

fn plan() -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/whole-cluster.toml");
    let text = std::fs::read_to_string(&path).expect("a shipped scenario");
    load(&path, &text, &[format!("fleet.phones={PHONES}")], &[]).expect("a shipped scenario")
}

fn world(criterion: &mut Criterion) {
    let plan = plan();
    let before = resident_bytes();
    let run = World::new(&plan, SimOptions::default()).run();
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        println!("{} resident bytes a phone", after.saturating_sub(before) / PHONES);
    }
    let events = run.facts.known.sim.as_ref().unwrap().events;
    drop(run);
    let mut group = criterion.benchmark_group("world");
    group.throughput(Throughput::Elements(events)).sample_size(10);
    group.bench_function("whole_cluster_of_20000_phones", |bencher| {
        bencher.iter_batched(
            || World::new(&plan, SimOptions::default()),
            |world| {
                let run = world.run();
                assert_eq!(run.facts.known.sim.as_ref().unwrap().events, events);
                run
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, world);
criterion_main!(benches);
