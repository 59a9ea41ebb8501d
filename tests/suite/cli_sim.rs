//! Virtual time as a user types it: run directory, replay, variants, limits, calibration and
//! comparison.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

const REGEN: &str = "scenarios/callmanager-regen.toml";

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn run(words: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_resetstorm"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `sim` of S-01 with 60 phones into `out`; gives the path of its directory.
fn sim(out: &Path, more: &[&str]) -> (Ended, String) {
    let folder = out.to_str().unwrap();
    let words = ["sim", REGEN, "--phones", "60", "--out", folder];
    let ended = run(&[&words[..], more].concat());
    let latest = fs::canonicalize(out.join("latest")).unwrap();
    (ended, latest.to_str().unwrap().to_owned())
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn what_check_warns_about_is_said_once_before_a_run_in_virtual_time() {
    let set = "event.3={after='previous', reset-phones={spread='1s'}}";
    let warnings = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("warning: "));
        lines.map(str::to_owned).collect()
    };
    let checked = warnings(&run(&["check", REGEN, "--phones", "60", "--set", set]).err);
    assert!(
        checked.iter().any(|line| line.contains("does not wait for the phones")),
        "{checked:?}"
    );
    let out = tempfile::tempdir().unwrap();
    let (ended, _) = sim(out.path(), &["--set", set, "--format", "json"]);
    assert_eq!(warnings(&ended.err), checked, "{}", ended.err);
    serde_json::from_str::<Value>(&ended.out).expect("a document and nothing else");
}

#[test]
fn a_run_in_virtual_time_leaves_the_same_directory_as_a_live_one() {
    let out = tempfile::tempdir().unwrap();
    let (ended, path) = sim(out.path(), &["--check-determinism", "--openmetrics"]);
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    for text in ["60 ready (config in force), 0 stuck", "digest", "guesses  ", "deterministic: "] {
        assert!(ended.out.contains(text), "{text}\n{}", ended.out);
    }
    let (summary, manifest) =
        (json(&format!("{path}/summary.json")), json(&format!("{path}/run.json")));
    assert_eq!((&summary["mode"], &manifest["mode"]), (&"sim".into(), &"sim".into()));
    assert_eq!((&manifest["state"], &manifest["exit_code"]), (&"finished".into(), &0.into()));
    assert_eq!(summary["sim"]["draws"], 60);
    assert!(summary["sim"]["events_per_s"].as_f64() > Some(0.0));
    assert!(summary["sim"]["bytes_per_phone"].as_f64() > Some(0.0));
    let metrics = fs::read_to_string(format!("{path}/metrics.prom")).unwrap();
    assert!(metrics.ends_with("# EOF\n") && metrics.contains("# TYPE resetstorm_boots counter\n"));
    let ready: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("resetstorm_phones{state=\"ready\"}"))
        .collect();
    assert!(ready.len() > 20, "one a second: {ready:?}");
    assert!(ready.last().unwrap().split(' ').nth(1) == Some("60"), "{ready:?}");
}

#[test]
fn a_run_directory_is_small_unless_metrics_are_asked_for() {
    let out = tempfile::tempdir().unwrap();
    let (_, path) = sim(out.path(), &[]);
    let files: Vec<(String, u64)> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .collect();
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    assert!(!files.iter().any(|(name, _)| name == "metrics.prom"), "{files:?}");
    assert!(files.len() < 12 && bytes < 500_000, "{files:?}");
}

#[test]
fn a_run_is_replayed_to_its_digest_and_a_changed_one_is_not() {
    let out = tempfile::tempdir().unwrap();
    let (_, path) = sim(out.path(), &[]);
    let same = run(&["replay", &path]);
    assert_eq!(same.code, 0, "{}", same.err);
    assert!(same.out.starts_with("same: digest "), "{}", same.out);
    let scenario = format!("{path}/scenario.toml");
    let text = fs::read_to_string(&scenario).unwrap();
    fs::write(&scenario, text.replace("seed = 42", "seed = 43")).unwrap();
    let other = run(&["replay", &path]);
    assert_eq!((other.code, &other.out[..8]), (1, "differs:"));
    let nothing = run(&["replay", "no-such-run"]);
    assert_eq!(nothing.code, 2);
    assert!(nothing.err.contains("help:"), "{}", nothing.err);
}

#[test]
fn guesses_are_halved_and_doubled_unless_the_fleet_is_large() {
    let out = tempfile::tempdir().unwrap();
    let (ended, path) = sim(out.path(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let words = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, guess) = words.split_once("phone.tvs-timeout = 10s (").unwrap();
    for part in ["guess", "halved to 5s: the same", "doubled to 20s: the same"] {
        assert!(guess.contains(part), "{part} in {guess}");
    }
    let summary = json(&format!("{path}/summary.json"));
    let guesses = summary["sim"]["guesses"].as_array().unwrap();
    let sign = guesses.iter().find(|guess| guess["key"] == "cluster.cost.sign").unwrap();
    assert_eq!((&sign["value"], &sign["halved"]["value"]), (&"450us".into(), &"225us".into()));
    let doubled = &sign["doubled"];
    assert!(doubled["fleet_ready_p99_s"].as_f64() > summary["fleet_ready_s"]["p99"].as_f64());
    assert_eq!((&doubled["stuck"], &doubled["failed"]), (&0.into(), &0.into()));
    let digest = &summary["sim"]["digest"];
    let (never, path) = sim(out.path(), &["--sensitivity=never"]);
    assert_eq!(&json(&format!("{path}/summary.json"))["sim"]["digest"], digest);
    let folder = out.path().to_str().unwrap();
    let large = run(&["sim", REGEN, "--phones", "2001", "--out", folder]);
    for named in [never, large] {
        assert!(!named.out.contains("halved"), "{}", named.out);
        assert!(named.out.contains("cluster.cost.cores"), "{}", named.out);
    }
    let (always, _) = sim(out.path(), &["--sensitivity"]);
    assert!(always.out.contains("halved"), "{}", always.out);
}

#[test]
fn a_calibration_has_costs_and_leaves_the_limits_of_a_scenario_alone() {
    let out = tempfile::tempdir().unwrap();
    let calibration = "scenarios/calibration/loopback-2core.toml";
    let whole = "scenarios/whole-cluster.toml";
    let folder = out.path().to_str().unwrap();
    let words = ["sim", whole, "--phones", "20", "--calibration", calibration, "--out", folder];
    let ended = run(&words);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let resolved = fs::read_to_string(out.path().join("latest/scenario.toml")).unwrap();
    for line in ["shared-host = true", "resets-per-second = 100.0", "cores = 2"] {
        assert!(resolved.contains(line), "{line} in {resolved}");
    }
}

#[test]
fn variants_are_ranked_and_written_as_csv() {
    let out = tempfile::tempdir().unwrap();
    let csv = out.path().join("grid.csv");
    let words = [
        "whatif",
        "scenarios/storm-all-at-once.toml",
        "--phones",
        "80",
        "--vary",
        "cluster.cost.cores=1,4",
        "--vary",
        "cluster.sign-cache=off,prewarm",
        "--csv",
        csv.to_str().unwrap(),
    ];
    let ended = run(&words);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.starts_with("covers        trust lists (CTL, ITL)"), "{}", ended.out);
    let lines: Vec<&str> =
        ended.out.lines().skip_while(|line| !line.ends_with("server CPU")).collect();
    assert_eq!(lines.len(), 5, "{}", ended.out);
    let first = |line: &str| line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(first(lines[1]), ["4", "prewarm"], "{}", ended.out);
    assert_eq!(first(lines[4]), ["1", "off"], "{}", ended.out);
    let csv = fs::read_to_string(&csv).unwrap();
    assert!(csv.starts_with("cluster.cost.cores,cluster.sign-cache,verdict,ready,"), "{csv}");
    assert_eq!(csv.lines().count(), 5);
    let json = run(&[&words[..6], &["--format", "json"]].concat());
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        (&document["schema"], document["variants"].as_array().unwrap().len()),
        (&1.into(), 2)
    );
    let wrong = run(&["whatif", REGEN, "--vary", "cluster.sign-cash=off"]);
    assert_eq!(wrong.code, 2, "{}", wrong.out);
}

#[test]
fn the_limit_lies_where_the_conditions_break() {
    let words = ["limit", "scenarios/storm-all-at-once.toml", "--phones", "100", "--vary"];
    let pace = ["cluster.cost.handshake", "--between", "1ms..100ms"];
    let slo = ["--slo", "fleet_ready.p99 <= 1s", "--set", "cluster.cost.cores=1"];
    let ended = run(&[&words[..], &pace, &slo].concat());
    assert_eq!(ended.code, 0, "{}", ended.err);
    // 100 handshakes and 90 ms of the rest on one core within a second: about 9 ms each.
    let line = ended.out.lines().last().unwrap();
    let micros = line
        .split_once(" = ")
        .and_then(|(_, rest)| rest.split_once("us keeps"))
        .and_then(|(number, _)| number.parse::<f64>().ok());
    let Some(micros) = micros else { panic!("{line}") };
    assert!((6_500.0..10_000.0).contains(&micros), "{line}");
}

#[test]
fn a_live_run_calibrates_and_is_compared() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let ports = "cluster.node.pub.ports={ tftp = 0, tvs = 0, capf = 0 }";
    let quick = "event.reset-1.reset-phones.spread=2s";
    let words = ["run", REGEN, "--phones", "60", "--set", ports, "--set", quick, "--out", folder];
    // Where others keep the cores, the generator is late and the run is refused, as it should be:
    // one of three will do.
    let mut attempts = 0;
    let (live, calibrated) = loop {
        attempts += 1;
        let live = run(&words);
        assert_eq!(live.code, 0, "{}", live.err);
        let live = fs::canonicalize(out.path().join("latest")).unwrap();
        let calibrated = run(&["calibrate", live.to_str().unwrap()]);
        if attempts == 3 || !calibrated.err.contains("the generator was late") {
            break (live, calibrated);
        }
    };
    let live = live.to_str().unwrap();
    assert_eq!(calibrated.code, 0, "{}", calibrated.err);
    let calibration = format!("{live}/calibration.toml");
    assert!(calibrated.out.contains("# sign: "), "{}", calibrated.out);
    let (ended, path) =
        sim(out.path(), &["--set", ports, "--set", quick, "--calibration", &calibration]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(
        fs::read_to_string(format!("{path}/scenario.toml")).unwrap().contains("shared-host = true")
    );
    // Times of so short a run on a busy host are nobody's; the counts are.
    let compared = run(&["diff", live, &path, "--tolerance", "10000"]);
    assert_eq!(compared.code, 0, "{}\n{}", compared.out, compared.err);
    assert!(compared.out.contains("live") && compared.out.contains("fleet_ready_s.p99"));
    // On the machine of the live run the yardstick takes what it took there.
    let same = ["--set", ports, "--set", quick, "--calibration", &calibration];
    let (ended, path) = sim(out.path(), &[&same[..], &["--machine-of", live]].concat());
    assert_eq!(ended.code, 0, "{}", ended.err);
    let machine = |run: &str| {
        let text = fs::read_to_string(format!("{run}/summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        ["yardstick_s", "available"].map(|key| summary["machine"][key].as_f64().unwrap())
    };
    let (was, is) = (machine(live), machine(&path));
    assert!((is[0] / was[0] - 1.0).abs() < 0.1 && was[0] > 1e-5, "{was:?} and {is:?}");
    assert!((is[1] - was[1].clamp(0.05, 1.0)).abs() < 1e-9, "{was:?} and {is:?}");
    assert_eq!(run(&["replay", &path]).code, 0, "the run directory has the costs of that machine");
    let blind = ["--set", ports, "--set", quick, "--machine-of", live];
    assert_eq!(run(&[&["sim", REGEN, "--phones", "60"][..], &blind].concat()).code, 2);
    let refused = run(&["replay", live]);
    assert_eq!(refused.code, 2, "live runs have no digest");
    let sim_is_not_live = run(&["calibrate", &path]);
    assert_eq!(sim_is_not_live.code, 2, "{}", sim_is_not_live.out);
    let (_, other) = sim(out.path(), &["--seed", "7"]);
    assert_eq!(run(&["diff", live, &other]).code, 2);
    assert_eq!(run(&["diff", live, &other, "--anyway", "--tolerance", "10000"]).code, 0);
}

#[test]
fn no_line_of_the_summary_of_a_shipped_scenario_is_wider_than_80_columns() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    for entry in fs::read_dir("scenarios").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let name = path.to_str().unwrap();
        let ended = run(&["sim", name, "--phones", "20", "--sensitivity=never", "--out", folder]);
        assert!(ended.out.contains("covers        trust lists (CTL, ITL)"), "{}", ended.out);
        // The path of a run directory is as long as it is.
        let is_path = |line: &&str| {
            ["output: ", "report: ", "next: "].iter().any(|label| line.starts_with(label))
        };
        let lines = ended.out.lines().filter(|line| !is_path(line));
        for line in lines.filter(|line| !line.contains("digest")) {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
    }
}

#[test]
fn forty_sites_and_models_by_name_play_in_virtual_time() {
    let out = tempfile::tempdir().unwrap();
    let share = |site: u32| format!("{{name='s{site}', share=0.025, link={{rtt='20ms'}}}}");
    let sites: Vec<String> = (0..40).map(share).collect();
    let sites = format!("fleet.site=[{}]", sites.join(","));
    let models = "fleet.models={ATA191=0.5, CP-8832=0.5}";
    let (ended, _) = sim(out.path(), &["--set", &sites, "--set", models]);
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    assert!(ended.out.contains("60 ready"), "{}", ended.out);
}

#[test]
fn a_worse_run_is_a_regression_and_runs_of_other_kinds_are_refused_in_words() {
    let out = tempfile::tempdir().unwrap();
    let (_, base) = sim(out.path(), &["--sensitivity=never"]);
    let (_, slow) = sim(out.path(), &["--sensitivity=never", "--set", "cluster.cost.sign=1s"]);
    let same = run(&["diff", &base, &base]);
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    assert!(same.out.ends_with("verdict: ALIKE (0 worse, 0 better) · exit 0\n"), "{}", same.out);
    let worse = run(&["diff", &base, &slow]);
    assert_eq!(worse.code, 1, "{}", worse.out);
    assert!(worse.out.contains("WORSE") && worse.out.contains("by a bootstrap"), "{}", worse.out);
    assert_eq!(run(&["diff", &slow, &base]).code, 0, "for the better");
    let folder = out.path().to_str().unwrap();
    let against = ["sim", REGEN, "--phones", "60", "--out", folder, "--sensitivity=never"];
    let slower = ["--baseline", &base, "--set", "cluster.cost.sign=1s"];
    let (like, unlike) =
        (run(&[&against[..], &slower[..2]].concat()), run(&[&against[..], &slower].concat()));
    assert_eq!((like.code, unlike.code), (0, 1), "{}\n{}", like.err, unlike.out);
    assert!(unlike.out.contains("against ") && unlike.out.contains("WORSE"), "{}", unlike.out);
    let larger = run(&["sim", REGEN, "--phones", "61", "--out", folder, "--baseline", &base]);
    assert_eq!(larger.code, 2);
    assert!(larger.err.contains("help: name a run of this scenario as baseline"), "{}", larger.err);
    let json = run(&["diff", &base, &slow, "--format", "json"]);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&document["schema"], &document["kind"]), (&1.into(), &"sim".into()));
    assert_eq!((&document["regression"], &document["verdict"]), (&true.into(), &"worse".into()));
    let (_, other) = sim(out.path(), &["--sensitivity=never", "--seed", "7"]);
    let refused = run(&["diff", &base, &other]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("help: compare them all the same with --anyway"),
        "{}",
        refused.err
    );
    assert!([0, 1].contains(&run(&["diff", &base, &other, "--anyway"]).code));

    let capacity = |name: &str, carried: f64, wrong: u64| {
        let folder = out.path().join(name);
        fs::create_dir(&folder).unwrap();
        let summary = serde_json::json!({
            "schema": 1, "mode": "capacity", "verdict": "knee",
            "load": { "mix": { "known": 1.0 } }, "limits": { "latency_s": 1.0 },
            "capacity": { "knee": carried, "at_least": carried, "unit": "transfers/s", "steps": [] },
            "wrong": { "count": wrong }, "slos": [],
        });
        fs::write(folder.join("summary.json"), summary.to_string()).unwrap();
        folder.to_str().unwrap().to_owned()
    };
    let (before, after) = (capacity("before", 400.0, 0), capacity("after", 300.0, 0));
    let lower = run(&["diff", &before, &after]);
    assert_eq!(lower.code, 1, "{}{}", lower.out, lower.err);
    assert!(lower.out.contains("knee"), "{}", lower.out);
    assert_eq!(run(&["diff", &after, &before]).code, 0);
    assert_eq!(run(&["diff", &before, &capacity("wrong", 400.0, 3)]).code, 1);
    let mixed = run(&["diff", &before, &base]);
    assert_eq!(mixed.code, 2);
    let words = "a capacity measurement cannot be compared with a run in virtual time";
    assert!(mixed.err.contains(words), "{}", mixed.err);
}
