//! `check` as a user types it: budgets on stdout, errors with a repair on stderr, exit codes.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

const REGEN: &str = "scenarios/callmanager-regen.toml";

#[test]
fn every_scenario_is_valid_and_has_a_budget() {
    let paths = scenarios();
    assert!(paths.len() >= 7);
    for path in paths {
        let (code, out, err) = check(&[path.to_str().unwrap()]);
        assert_eq!((code, err.as_str()), (0, ""), "{}", path.display());
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(out.starts_with(&format!("scenario      {name} · seed 42\n")), "{out}");
        for label in ["phones  ", "cluster  ", "timeline  ", "reset  ", "descriptors  ", "SLO  "] {
            assert!(out.contains(&format!("\n{label}")), "no {label} in\n{out}");
        }
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
    assert_eq!((&plan["phones"], &plan["waves"][0]["transfers"]), (&30.into(), &90.into()));
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
