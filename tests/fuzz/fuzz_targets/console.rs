//! Lines at the admin console: nothing is done that was not asked for, and no answer steers a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resetstorm::base::{ClusterId, Time};
use resetstorm::cluster::{Cluster, Genesis, Stored};
use resetstorm::console::{Session, View, complete};
use resetstorm::crypto::KeySource;
use resetstorm::scenario::load;

const SCENARIO: &str = "schema=1\nname='fuzz'\n[cluster]\nrelease='10.5'\nsecurity-mode='mixed'\n\
    [[cluster.node]]\nname='pub'\n[fleet]\nphones=2\n";

thread_local! {
    static CLUSTER: Cluster = cluster();
}

fn cluster() -> Cluster {
    let plan = load("fuzz.toml".as_ref(), SCENARIO, &[], &[]).unwrap();
    Cluster::new(Genesis {
        topology: plan.topology.clone(),
        fleet: plan.fleet_spec(),
        source: KeySource::bank(1),
        epoch_s: 1_800_000_000,
        stored: Stored::default(),
    })
}

fuzz_target!(|bytes: &[u8]| {
    CLUSTER.with(|cluster| {
        let mut session = Session::new(ClusterId::FIRST.node(0));
        for line in String::from_utf8_lossy(bytes).split('\n') {
            let was_ready = session.is_ready();
            let answer = session.line(line, &View::of(cluster, Time::ZERO));
            let words = line.trim_start().to_ascii_lowercase();
            let acts = ["utils", "set csr"].iter().any(|start| words.starts_with(start));
            assert!(answer.action.is_none() || !was_ready || acts);
            assert!(!answer.text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
            let _ = complete(line);
        }
    });
});
