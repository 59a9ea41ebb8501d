//! Queries to the database of a state: nothing is written, no key is read, no terminal is steered.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use resetstorm::cluster::{Cluster, Genesis, Stored};
use resetstorm::console::Sql;
use resetstorm::crypto::KeySource;
use resetstorm::scenario::load;
use resetstorm::vault::{KeptSql, save_cluster};

const SCENARIO: &str = "schema=1\nname='fuzz'\n[cluster]\nrelease='10.5'\n\
    [[cluster.node]]\nname='pub'\n[fleet]\nphones=2\n";

struct Kept {
    cluster: Cluster,
    sql: KeptSql,
    file: PathBuf,
    bytes: Vec<u8>,
}

thread_local! {
    static KEPT: Kept = kept();
}

fn kept() -> Kept {
    let plan = load("fuzz.toml".as_ref(), SCENARIO, &[], &[]).unwrap();
    let cluster = Cluster::new(Genesis {
        topology: plan.topology.clone(),
        fleet: plan.fleet_spec(),
        source: KeySource::bank(1),
        epoch_s: 1_800_000_000,
        stored: Stored::default(),
    });
    let dir = std::env::temp_dir().join(format!("resetstorm-fuzz-sql-{}", std::process::id()));
    save_cluster(&dir, &cluster).unwrap();
    let file = dir.join("cluster.db");
    let bytes = std::fs::read(&file).unwrap();
    Kept { cluster, sql: KeptSql { dir }, file, bytes }
}

fuzz_target!(|bytes: &[u8]| {
    KEPT.with(|kept| {
        let query = String::from_utf8_lossy(bytes);
        // Half of the inputs would die on their first word.
        for query in [query.to_string(), format!("select {query}")] {
            let text = kept.sql.answer(&kept.cluster, &query).unwrap_or_else(|why| why);
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
            assert!(!text.contains("PRIVATE KEY"));
        }
        assert!(std::fs::read(&kept.file).unwrap() == kept.bytes);
    });
});
