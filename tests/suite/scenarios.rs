//! Every scenario in `scenarios/` loads, says what it expects, and survives being written.

use std::fs;
use std::path::{Path, PathBuf};

use resetstorm::base::Span;
use resetstorm::cluster::operator::lsc::RollOutLsc;
use resetstorm::cluster::operator::phones::ResetPhones;
use resetstorm::scenario::{Plan, Slo, Trigger, load, to_toml};

#[test]
fn all_scenarios_are_there_and_named_like_their_files() {
    let names: Vec<String> = plans().map(|(_, plan)| plan.name).collect();
    let expected = [
        "callmanager-and-tvs",
        "callmanager-regen",
        "capf-expired",
        "capf-regen-and-rollout",
        "dns-record-missing",
        "erase-by-hand",
        "forty-seven-days",
        "https-provisioning",
        "lsc-dns-missing",
        "lsc-expiry-wave",
        "lsc-freeze",
        "lsc-mode-mismatch",
        "lsc-rollout",
        "lsc-too-late",
        "mixed-fleet",
        "mixed-mode-rename",
        "node-failover",
        "one-type-at-a-time",
        "recommended-order",
        "registration-storm",
        "rename-all-three",
        "rename-one-of-three",
        "reset-localkey",
        "restore-from-backup",
        "restore-lacks-certificates",
        "rollback-first",
        "rollback-services",
        "rollback-too-late",
        "saturday-night",
        "sign-cache",
        "single-member-group",
        "storm-all-at-once",
        "tomcat-regen",
        "tvs-regen",
        "two-tftp-order",
        "two-tftp-short-group",
        "whole-cluster",
    ];
    assert_eq!(names, expected);
    assert!(plans().all(|(path, plan)| path.file_stem().is_some_and(|stem| *stem == *plan.name)));
}

#[test]
fn every_scenario_survives_being_written() {
    for (path, plan) in plans() {
        let written = to_toml(&plan);
        let again = load(&path, &written, &[], &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again, plan, "{written}");
        assert_eq!(to_toml(&again), written);
    }
}

#[test]
fn every_scenario_is_of_one_size_and_seed_and_judges_its_outcome() {
    for (path, plan) in plans() {
        let lefts: Vec<&str> = plan.slos.iter().map(|slo| slo.left.as_str()).collect();
        let phones = if plan.name == "saturday-night" { 12_000 } else { 2_000 };
        assert_eq!((plan.fleet.phones, plan.seed), (phones, 42), "{}", path.display());
        for left in ["phones.ready", "phones.stuck", "tvs.lookups", "config.applied"] {
            assert!(lefts.contains(&left), "{} lacks {left}", path.display());
        }
    }
}

#[test]
fn every_scenario_waits_for_the_fleet_and_ends_with_its_reset() {
    // A new Tomcat.pem needs no reset: it is played at a fixed time.
    for (path, plan) in plans().filter(|(_, plan)| plan.name != "tomcat-regen") {
        let last = plan.timeline.last().map(|entry| &entry.action);
        let resets = last.is_some_and(|action| {
            let rolls_out = |rollout: &RollOutLsc| rollout.pace.is_some();
            action.get::<ResetPhones>().is_some() || action.get().is_some_and(rolls_out)
        });
        assert_eq!(plan.timeline[0].trigger, Trigger::FleetSettled, "{}", path.display());
        // What happens behind the reset is what that one is about.
        assert!(resets || plan.name == "node-failover", "{}", path.display());
    }
}

#[test]
fn only_storms_and_cache_reset_all_phones_at_once_and_nobody_judges_no_times() {
    for (_, plan) in plans() {
        let at_once =
            plan.timeline.iter().any(|entry| entry.action == ResetPhones { spread: Span::ZERO });
        assert_eq!(at_once, ["sign-cache", "storm-all-at-once"].contains(&plan.name.as_str()));
        assert!(plan.slos.iter().flat_map(Slo::paths).all(|path| !path.contains("_s")));
    }
}

#[test]
fn every_scenario_takes_the_overrides_of_a_small_test_run() {
    let overrides = ["fleet.phones=30", "cluster.node.pub.ports.tftp=0", "slo=[]", "seed=7"];
    let overrides = overrides.map(String::from);
    for (path, text) in files() {
        let plan = load(&path, &text, &overrides, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((plan.fleet.phones, plan.seed, plan.slos.len()), (30, 7, 0));
        assert_eq!(plan.topology.nodes[0].ports.tftp, 0);
    }
}

#[test]
fn a_file_that_was_cut_off_anywhere_is_an_error_with_a_place_or_a_smaller_plan() {
    for (first, (path, text)) in files().into_iter().enumerate() {
        // Every fifth place, another fifth in each file.
        let cuts = text.char_indices().skip(first % 5).step_by(5).map(|(at, _)| &text[..at]);
        for cut in cuts {
            if let Err(error) = load(&path, cut, &[], &[]) {
                let place = format!("{}:{}:{}", error.path, error.line, error.column);
                assert!(error.rendered.contains(&place), "{error}");
                assert!(error.line as usize <= cut.lines().count() + 1, "{error}");
            }
        }
    }
}

fn plans() -> impl Iterator<Item = (PathBuf, Plan)> {
    files().into_iter().map(|(path, text)| {
        let plan = load(&path, &text, &[], &[]).unwrap_or_else(|error| panic!("{error}"));
        (path, plan)
    })
}

/// The shipped scenarios, sorted by path.
fn files() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the scenarios of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("UTF-8"))).collect()
}
