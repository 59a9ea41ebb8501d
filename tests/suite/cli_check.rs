//! `check` as a user types it: budgets on stdout, errors with a repair on stderr, exit codes.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

const REGEN: &str = "scenarios/callmanager-regen.toml";

/// A new Tomcat.pem needs no reset, and phones that have a new LSC reset by themselves.
const WITHOUT_RESET: [&str; 7] = [
    "capf-regen-and-rollout",
    "lsc-dns-missing",
    "lsc-expiry-wave",
    "lsc-freeze",
    "lsc-mode-mismatch",
    "lsc-rollout",
    "tomcat-regen",
];

/// Shipped scenarios that break a rule of the documents, most of them on purpose.
const BREAK_A_RULE: [&str; 17] = [
    "callmanager-and-tvs",
    "erase-by-hand",
    "https-provisioning",
    "mixed-mode-rename",
    "one-type-at-a-time",
    "recommended-order",
    "rename-all-three",
    "rename-one-of-three",
    "reset-localkey",
    "restore-from-backup",
    "restore-lacks-certificates",
    "rollback-too-late",
    "saturday-night",
    "sign-cache",
    "single-member-group",
    "two-tftp-order",
    "two-tftp-short-group",
];

#[test]
fn every_scenario_is_valid_and_has_a_budget_in_80_columns() {
    let paths = scenarios();
    assert!(paths.len() >= 7);
    for path in paths {
        let (code, out, err) = check(&[path.to_str().unwrap()]);
        assert_eq!(code, 0, "{err}");
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_said = |line: &str| {
            line.starts_with(&format!("warning: {name}: ")) || line.starts_with("help: ")
        };
        assert!(err.lines().all(is_said), "{err}");
        let broken = err.matches("a rule is broken").count();
        assert_eq!(broken > 0, BREAK_A_RULE.contains(&name), "{name}: {err}");
        assert!(out.starts_with(&format!("scenario      {name} · seed 42\n")), "{out}");
        for label in ["phones  ", "cluster  ", "timeline  ", "descriptors  ", "SLO  "] {
            assert!(out.contains(&format!("\n{label}")), "no {label} in\n{out}");
        }
        assert_eq!(out.contains("\nreset  "), !WITHOUT_RESET.contains(&name), "{out}");
        assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    }
}

#[test]
fn json_is_one_document_with_every_plan() {
    let (code, out, _) =
        check(&[REGEN, "scenarios/tvs-regen.toml", "--phones", "30", "--format", "json"]);
    assert_eq!(code, 0);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["schema"], 1);
    let names: Vec<&Value> =
        document["plans"].as_array().unwrap().iter().map(|plan| &plan["scenario"]).collect();
    assert_eq!(names, ["callmanager-regen", "tvs-regen"]);
    let plan = &document["plans"][0];
    assert_eq!((&plan["phones"], &plan["waves"][0]["requests"]), (&30.into(), &120.into()));
    assert_eq!(plan["file"], REGEN);
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_nearest_name() {
    let (_folder, path) = changed("phones = 2_000", "phonez = 2_000");
    let (code, out, err) = check(&[&path]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("error: unknown field `phonez`\n"), "{err}");
    assert!(err.contains(&format!("{path}:22:1")) && err.contains("| ^^^^^^"), "{err}");
    assert!(err.contains("help: did you mean `phones`? fields here: phones, models"), "{err}");
}

#[test]
fn all_files_are_checked_whatever_is_wrong_with_one() {
    let (_folder, path) = changed("phones = 2_000", "phones = 0");
    let (code, out, err) = check(&["no/such.toml", REGEN, &path]);
    assert_eq!(code, 2);
    assert!(out.starts_with("scenario      callmanager-regen"), "{out}");
    assert!(err.contains("error: no/such.toml: cannot be read: "), "{err}");
    assert!(err.contains("error: a fleet of 0 phones"), "{err}");
    assert_eq!(err.matches("help: ").count(), 2, "{err}");
}

#[test]
fn an_unknown_key_of_set_is_an_error() {
    let (code, _, err) = check(&[REGEN, "--set", "fleet.phonez=3"]);
    assert_eq!(code, 2);
    assert!(err.contains("unknown field `phonez`") && err.contains("with --set"), "{err}");
    assert!(err.contains("did you mean `phones`?"), "{err}");
    let (code, _, err) = check(&[REGEN, "--set", "fleet.phones"]);
    assert_eq!(code, 2);
    assert!(err.contains("help: such as fleet.phones=500"), "{err}");
}

#[test]
fn a_target_outside_loopback_must_be_permitted() {
    let aimed = [REGEN, "--target", "tftp=192.0.2.7:69"];
    let (code, out, err) = check(&aimed);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "error: the target (192.0.2.7) is outside loopback\n\
         help: if those servers may be loaded, say so: --allow-target 192.0.2.7\n"
    );
    let (code, out, _) = check(&[&aimed[..], &["--allow-target", "192.0.2.7"]].concat());
    assert_eq!(code, 0);
    assert!(out.contains("\ntarget        tftp 192.0.2.7:69\n"), "{out}");
}

#[test]
fn nodes_outside_loopback_are_warned_about() {
    let (code, _, err) = check(&[REGEN, "--set", "cluster.node.pub.address=192.0.2.7"]);
    assert_eq!(code, 0);
    assert!(err.starts_with("warning: callmanager-regen has nodes outside loopback\nhelp: "));
}

#[test]
fn a_broken_command_line_is_exit_code_2() {
    assert_eq!(check(&[]).0, 2);
    assert_eq!(check(&[REGEN, "--slo", "phones.stuck"]).0, 2);
    assert_eq!(check(&[REGEN, "--max-wall", "5"]).0, 2);
}

#[test]
fn counts_of_a_node_are_conditions_by_its_name_and_no_other_name_is_taken() {
    const FAILOVER: &str = "scenarios/node-failover.toml";
    let slo = |scenario: &str, expr: &str| check(&[scenario, "--slo", expr]);
    let (code, _, err) = slo(FAILOVER, "registration.by_node.sub1.accepted >= 1");
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = slo(FAILOVER, "registration.by_node.elsewhere.accepted >= 1");
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("the summary has no `registration.by_node.elsewhere.accepted`"), "{err}");
    assert!(err.contains("`registration.by_node` has sub1, sub2"), "{err}");
    let (code, _, err) = slo(FAILOVER, "registration.by_node.sub1.gone == 0");
    assert!(
        code == 2 && err.contains("`registration.by_node.sub1` has registered, accepted,"),
        "{err}"
    );
    let (code, ..) = slo(REGEN, "registration.by_node.pub.accepted >= 1");
    assert_eq!(code, 2, "nobody registers there");
    let (_folder, wrong) = changed(
        "expr = \"phones.stuck == 0\"",
        "expr = \"registration.by_node.pub.accepted == 0\"",
    );
    let (code, _, err) = check(&[&wrong]);
    assert!(code == 2 && err.contains("the summary has no `registration.by_node.pub"), "{err}");
}

#[test]
fn a_budget_says_what_results_cover_and_what_is_not_served() {
    let (_, out, _) = check(&[REGEN]);
    assert!(out.contains("\ncovers        trust lists (CTL, ITL), TVS"), "{out}");
    assert!(out.contains("not served: callmanager on pub (certificates only)"), "{out}");
    assert!(out.contains("capf 3804/tcp") && !out.contains("5060"), "{out}");
}

#[test]
fn every_independent_mistake_of_a_file_is_told_in_one_run() {
    let (_folder, path) = changed("phones = 2_000", "phones = -5");
    let text = fs::read_to_string(&path).unwrap();
    let text = text
        .replace("release    = \"8.6\"", "release    = \"13.7\"")
        .replace("tvs = 2445", "tvs = 70000")
        .replace("members = [\"pub\"]", "members = \"pub\"")
        .replace("phones.stuck == 0", "fleet_ready.p99 <= 60")
        .replace("think     = \"0s\"", "thinks    = 5");
    fs::write(&path, text).unwrap();
    let (code, out, err) = check(&[&path]);
    assert_eq!((code, out.as_str()), (2, ""));
    for what in [
        "unknown release `13.7`",
        "`tvs` is a whole number from 0 to 65535, not 70000",
        "`members` is a list, not the text \"pub\"",
        "write members = [\"pub\"]",
        "`phones` is a whole number from 1, not -5",
        "unknown field `thinks`",
        "`think` is a length of time with its unit, not 5",
        "`60` has no unit",
    ] {
        assert!(err.contains(what), "no {what} in\n{err}");
    }
    assert_eq!(err.matches("error: ").count(), 7, "`thinks` is a slip and has no unit: {err}");
    for word in ["u64", "u16", "expected", "struct", "did you mean `11.5`"] {
        assert!(!err.contains(word), "{word} in {err}");
    }
    assert_eq!(err.matches(&format!("{path}:")).count(), err.matches("error: ").count());
}

#[test]
fn errors_stand_in_the_json_with_their_places_beside_good_plans() {
    let (_folder, path) = changed("phones = 2_000", "phones = 0\nfones = 1");
    let (code, out, _) = check(&[REGEN, &path, "no/such.toml", "--format", "json"]);
    assert_eq!(code, 2);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["plans"].as_array().unwrap().len(), 1);
    let errors = document["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert_eq!((&errors[0]["file"], &errors[0]["line"]), (&path.as_str().into(), &22.into()));
    assert_eq!(errors[0]["what"], "a fleet of 0 phones");
    assert_eq!((&errors[1]["line"], &errors[1]["column"]), (&23.into(), &1.into()));
    assert!(errors[2]["what"].as_str().unwrap().contains("cannot be read"), "{errors:?}");
    assert!(errors.iter().all(|error| !error["help"].is_null()), "{errors:?}");
}

#[test]
fn files_that_are_no_toml_are_told_where_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(REGEN)).unwrap();
    let told = |bytes: Vec<u8>| {
        let path = folder.path().join("bad.toml");
        fs::write(&path, bytes).unwrap();
        let (code, out, err) = check(&[path.to_str().unwrap()]);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        err
    };
    let line_of = |what: &str| text[..text.find(what).unwrap()].matches('\n').count() + 1;
    let latin = text.replace("share   = 1.0", "share   = 1.0 # f\u{fc}r");
    let latin: Vec<u8> =
        latin.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
    let err = told(latin);
    let place = format!("bad.toml:{}:", line_of("share   = 1.0"));
    assert!(
        err.contains("the byte 0xFC is no character of UTF-8") && err.contains(&place),
        "{err}"
    );
    let err = told(text.replace("\"lazy\"", "“lazy”").into_bytes());
    assert!(err.contains("is a typographic quotation mark"), "{err}");
    let err = told(text.replace("members = [\"pub\"]", "members = [\"pub]").into_bytes());
    let place = format!("bad.toml:{}:12", line_of("members = "));
    assert!(err.contains("this text is not closed") && err.contains(&place), "{err}");
    let utf16: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain(text.bytes().flat_map(|b| [b, 0])).collect();
    assert!(told(utf16).contains("the file is UTF-16"), "saved by a Windows editor");
}

#[test]
fn a_plan_that_cannot_end_in_time_is_warned_about_and_so_is_a_step_that_does_not_wait() {
    let (code, out, err) = check(&[REGEN, "--set", "event.reset-1.reset-phones.spread=30m"]);
    assert_eq!(code, 0);
    assert!(err.contains("warning: callmanager-regen: the plan cannot end in time"), "{err}");
    assert!(out.contains("4. reset-1 · then: reset all phones within 30m"), "{out}");
    let again = "event.3={after='previous', reset-phones={spread='1s'}}";
    let (code, out, err) = check(&[REGEN, "--set", again, "--format", "json"]);
    assert_eq!(code, 0);
    assert!(err.contains("step 4 (reset-2) does not wait for the phones that step 3"), "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    let plan = &document["plans"][0];
    // The reset stands where TFTP was restarted.
    let warnings: Vec<&str> =
        plan["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[1].contains("callmanager on pub, tftp on pub"), "{warnings:?}");
    let words = plan["timeline"][3].as_str().unwrap();
    assert!(words.starts_with("reset-2 · then (does not wait for the phones): reset"), "{words}");
}

#[test]
fn the_number_that_check_shows_is_the_number_that_set_takes() {
    let (_, out, _) = check(&[REGEN]);
    for (number, name, key, value) in [
        (1, "regenerate-1", "regenerate.certificate", "TVS"),
        (2, "restart-1", "restart.service", "capf"),
        (4, "reset-1", "reset-phones.spread", "7s"),
    ] {
        assert!(out.contains(&format!(" {number}. {name} · ")), "{out}");
        for step in [number.to_string(), name.to_owned()] {
            let set = format!("event.{step}.{key}={value}");
            let (code, changed, err) = check(&[REGEN, "--set", &set]);
            assert_eq!(code, 0, "{err}");
            let at = changed.find(&format!(" {number}. {name} · ")).unwrap();
            let step = changed[at..].split(" 9. ").next().unwrap();
            assert!(step[..step.len().min(160)].contains(value), "{set}: {changed}");
        }
    }
    let (code, _, err) = check(&[REGEN, "--set", "event.3.reset-phones.spread=7s"]);
    assert_eq!(code, 2, "the third step is a restart");
    assert!(
        err.contains("this step has no `reset-phones`") && err.contains("count from 1"),
        "{err}"
    );
    assert_eq!(check(&[REGEN, "--set", "event.0.delay=7s"]).0, 2);
}

#[test]
fn models_have_their_names_and_sites_are_as_many_as_there_are() {
    let share = |site: u32| format!("{{name='s{site}', share=0.025, link={{rtt='20ms'}}}}");
    let sites: Vec<String> = (0..40).map(share).collect();
    let sites = format!("fleet.site=[{}]", sites.join(","));
    let models = "fleet.models={ATA191=0.25, DX80=0.25, CP-8832=0.25, CIPC=0.25}";
    let (code, out, err) = check(&[REGEN, "--set", &sites, "--set", models]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("profile 88xx of model CP-8832") && out.contains("of model ATA191"),
        "{out}"
    );
    let (code, _, err) = check(&[REGEN, "--set", "fleet.models={'ATA 191'=1.0}"]);
    assert_eq!(code, 2);
    assert!(err.contains("`ATA 191` is not a phone model"), "{err}");
}

#[test]
fn numbers_beyond_all_limits_and_the_word_of_after_are_told_as_what_they_are() {
    let wrong = |set: &str| {
        let (code, _, err) = check(&[REGEN, "--set", set]);
        assert_eq!(code, 2, "{err}");
        err
    };
    let large = "99999999999999999999";
    for key in ["seed", "fleet.phones"] {
        let err = wrong(&format!("{key}={large}"));
        let part = format!("is a whole number up to 9223372036854775807, not {large}");
        assert!(err.contains(&part), "{err}");
    }
    let err = wrong("event.3.after=regenerate-1");
    assert!(err.contains("`after` takes \"previous\" only, not `regenerate-1`"), "{err}");
    let err = wrong("event.1.name=previous");
    assert!(err.contains("`previous` is the step before another"), "{err}");
}

fn check(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("resetstorm").expect("the program was built");
    let output = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("NO_COLOR")
        .arg("check")
        .args(arguments)
        .output()
        .expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

/// The first scenario with one text in the place of another.
fn changed(old: &str, new: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(REGEN)).unwrap();
    assert!(text.contains(old));
    let path = folder.path().join("changed.toml");
    fs::write(&path, text.replace(old, new)).unwrap();
    let name = path.to_str().unwrap().to_owned();
    (folder, name)
}
