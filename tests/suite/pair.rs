//! Phones and cluster against each other in virtual time: exact counts of every shipped scenario,
//! the same digest twice, and what a phone does with forged files.

use std::path::Path;

use rayon::prelude::*;
use resetstorm::measure::{Summary, known_paths};
use resetstorm::scenario::{Plan, load};
use resetstorm::sim::{SimOptions, SimRun, World};

fn plan(name: &str, overrides: &[&str]) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    load(&path, &text, &overrides, &known_paths()).unwrap()
}

fn run(plan: &Plan) -> (Summary, SimRun) {
    let run = World::new(plan, SimOptions::default()).run();
    (run.summary(plan), run)
}

const SCENARIOS: &[&str] = &[
    "callmanager-regen.toml",
    "tvs-regen.toml",
    "callmanager-and-tvs.toml",
    "rename-one-of-three.toml",
    "rename-all-three.toml",
    "single-member-group.toml",
    "storm-all-at-once.toml",
    "mixed-fleet.toml",
    "dns-record-missing.toml",
    "sign-cache.toml",
    "two-tftp-order.toml",
    "two-tftp-short-group.toml",
    "whole-cluster.toml",
    "erase-by-hand.toml",
    "forty-seven-days.toml",
    "recommended-order.toml",
    "rollback-first.toml",
    "rollback-too-late.toml",
    "mixed-mode-rename.toml",
    "one-type-at-a-time.toml",
    "reset-localkey.toml",
    "restore-from-backup.toml",
    "restore-lacks-certificates.toml",
    "saturday-night.toml",
    "lsc-rollout.toml",
    "capf-regen-and-rollout.toml",
    "capf-expired.toml",
    "lsc-mode-mismatch.toml",
    "lsc-too-late.toml",
    "lsc-dns-missing.toml",
    "lsc-expiry-wave.toml",
    "lsc-freeze.toml",
    "tomcat-regen.toml",
    "rollback-services.toml",
    "registration-storm.toml",
    "peers-and-probes.toml",
];

#[test]
fn every_shipped_scenario_ends_in_its_counts_and_repeats_its_digest() {
    SCENARIOS.par_iter().for_each(|name| {
        let plan = plan(name, &["fleet.phones=1000"]);
        let (summary, first) = run(&plan);
        assert_eq!(summary.verdict.name(), "pass", "{name}: {:#?}", summary.to_json());
        assert_eq!(summary.phones.total, 1_000);
        assert_eq!(first.ledger.counts().unexpected, 0, "{name}");
        let plan = self::plan(name, &["fleet.phones=100"]);
        let ((once, first), (again, second)) = (run(&plan), run(&plan));
        assert_eq!(first.digest, second.digest, "{name}");
        assert_eq!(once.sim.unwrap().events, again.sim.unwrap().events, "{name}");
    });
}

#[test]
fn another_seed_is_another_run_with_the_same_counts() {
    let (one, first) = run(&plan(SCENARIOS[0], &["fleet.phones=50"]));
    let (two, second) = run(&plan(SCENARIOS[0], &["fleet.phones=50", "seed=7"]));
    assert_ne!(first.digest, second.digest);
    assert_eq!(one.tvs.lookups, two.tvs.lookups);
}

#[test]
fn regeneration_of_call_manager_costs_one_lookup_and_one_signature_per_phone() {
    let (summary, _) = run(&plan("callmanager-regen.toml", &["fleet.phones=40"]));
    assert_eq!(summary.trust.lists.accepted_by_tvs, 40);
    assert_eq!(summary.trust.configs.accepted_by_itl, 40);
    assert_eq!(summary.tvs.by_command.query, 40);
    assert_eq!((summary.tvs.cache_misses, summary.tvs.not_found), (40, 0));
    assert_eq!((summary.signatures.made, summary.signatures.cache_misses), (41, 41));
    assert_eq!(summary.signatures.cache_hits, 39, "one list for all phones");
    assert_eq!(summary.signatures.verified, 80);
    let tftp = &summary.tftp;
    assert_eq!((tftp.requests, tftp.transfers, tftp.not_found), (160, 80, 80));
    assert_eq!(summary.tftp.retransmits, 0);
}

#[test]
fn the_sign_cache_mode_changes_signatures_and_nothing_else() {
    let with = |mode: &str| {
        let mode = format!("cluster.sign-cache={mode}");
        run(&plan("callmanager-regen.toml", &["fleet.phones=40", &mode])).0
    };
    let (off, prewarm) = (with("off"), with("prewarm"));
    assert_eq!((off.signatures.made, off.signatures.cache_hits), (80, 0));
    assert_eq!((prewarm.signatures.made, prewarm.signatures.cache_hits), (0, 80));
    assert_eq!((off.verdict.name(), prewarm.verdict.name()), ("pass", "pass"));
}

#[test]
fn release_11_5_recovers_in_the_same_way() {
    let (summary, _) =
        run(&plan("callmanager-regen.toml", &["fleet.phones=40", "cluster.release=\"11.5\""]));
    assert_eq!(summary.verdict.name(), "pass", "{:#?}", summary.to_json());
}

#[test]
fn phones_from_the_factory_take_their_first_list_unchecked() {
    let overrides = ["fleet.phones=30", "fleet.start=factory", "event=[]", "slo=[]"];
    let (summary, _) = run(&plan("callmanager-regen.toml", &overrides));
    assert_eq!(summary.phones.ready, 30);
    assert_eq!(summary.trust.lists.accepted_first, 30);
    assert_eq!(summary.trust.configs.accepted_by_itl, 30, "signed files from then on");
    assert_eq!(summary.tvs.lookups, 0);
}

#[test]
fn phones_reset_before_the_restart_hold_what_is_no_longer_served() {
    let text = std::fs::read_to_string("scenarios/callmanager-regen.toml").unwrap();
    let (head, _) = text.split_once("[[event]]").unwrap();
    let scenario = format!(
        "{head}[[event]]\nwhen = \"fleet-settled\"\n\
         regenerate = {{ certificate = \"CallManager\", node = \"pub\" }}\n\
         [[event]]\nafter = \"previous\"\nreset-phones = {{ spread = \"5s\" }}\n\
         [[event]]\nwhen = \"fleet-settled\"\n\
         restart = {{ service = \"tftp\", node = \"pub\" }}\n"
    );
    let overrides = ["fleet.phones=20".to_owned()];
    let plan = load(Path::new("x.toml"), &scenario, &overrides, &known_paths()).unwrap();
    let (summary, _) = run(&plan);
    assert_eq!((summary.phones.ready, summary.phones.failed), (0, 20), "row 13 of the matrix");
    assert!(summary.phones.failures.keys().any(|why| why.contains("older")));
}

#[test]
fn tvs_out_of_reach_is_failed_and_not_stuck() {
    let text = std::fs::read_to_string("scenarios/callmanager-regen.toml").unwrap();
    let stop = "[[event]]\nafter = \"previous\"\nstop = { service = \"tvs\", node = \"pub\" }\n";
    let at = text.rfind("[[event]]").unwrap();
    let scenario = format!("{}{stop}{}", &text[..at], &text[at..]);
    let overrides = ["fleet.phones=20".to_owned(), "slo=[]".to_owned()];
    let plan = load(Path::new("x.toml"), &scenario, &overrides, &known_paths()).unwrap();
    let (summary, _) = run(&plan);
    assert_eq!((summary.phones.stuck, summary.phones.failed), (0, 20), "row 14 of the matrix");
    assert_eq!((summary.phones.list_alarms, summary.phones.config_alarms), (20, 20));
    assert_eq!((summary.tvs.failed, summary.tvs.failovers), (40, 0));
}

#[test]
fn a_silent_tftp_server_fails_the_phones_by_time_out() {
    let text = std::fs::read_to_string("scenarios/callmanager-regen.toml").unwrap();
    // A service that builds its files answers nobody.
    let silent = "cluster.cost.build-time=10m".to_owned();
    let overrides = ["fleet.phones=5".to_owned(), "slo=[]".to_owned(), silent];
    let plan = load(Path::new("x.toml"), &text, &overrides, &known_paths()).unwrap();
    let (summary, _) = run(&plan);
    assert_eq!((summary.phones.ready, summary.phones.failed), (0, 5));
    assert_eq!(summary.tftp.errors, 15, "CTL, ITL and config of each phone");
    assert_eq!(summary.tftp.retransmits, 60, "four more tries of each request");
    assert!(summary.phones.failures.keys().any(|why| why.contains("no answer to the request")));
}

#[test]
fn a_stopped_tftp_server_is_refused_by_its_host_and_asked_once() {
    let text = std::fs::read_to_string("scenarios/callmanager-regen.toml").unwrap();
    let stop = "[[event]]\nafter = \"previous\"\nstop = { service = \"tftp\", node = \"pub\" }\n";
    let at = text.rfind("[[event]]").unwrap();
    let scenario = format!("{}{stop}{}", &text[..at], &text[at..]);
    let overrides = ["fleet.phones=5".to_owned(), "slo=[]".to_owned()];
    let plan = load(Path::new("x.toml"), &scenario, &overrides, &known_paths()).unwrap();
    let (summary, _) = run(&plan);
    assert_eq!((summary.phones.failed, summary.tftp.errors), (5, 15));
    assert_eq!(summary.tftp.retransmits, 0);
    assert!(summary.phones.failures.keys().all(|why| why.contains("nobody listens")));
}
