//! `lint` and the comparison of orders as a user types them: what is said, what is written, exit codes.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

const BOTH: &str = "scenarios/callmanager-and-tvs.toml";
const REGEN: &str = "scenarios/callmanager-regen.toml";

fn run(words: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("resetstorm")
        .unwrap()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(words)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_plan_that_strands_the_fleet_is_told_with_its_step_its_reason_and_a_safer_order() {
    let (code, out, err) = run(&["lint", BOTH]);
    assert_eq!((code, err.as_str()), (1, ""));
    for words in [
        "UNSAFE, 2 000 phones stuck of 2 000",
        "playing a phone of each kind (1 kind)",
        "by step 5 (reset-1): 2 000 phones stuck",
        "changed: 1 regenerate CallManager on pub; 2 regenerate TVS on pub",
        "group all · TFTP pub · model 8841",
        "(REG-06)",
        "no step makes a",
        "one type of certificate at a time: nobody is lost",
        "+ reset all phones within 30s",
    ] {
        assert!(out.contains(words), "no {words} in\n{out}");
    }
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
}

/// In mixed mode phones look for the certificate of a CallManager in their CTL: without an update they
/// take the new files, and no node has them.
#[test]
fn a_plan_that_leaves_every_phone_unregistered_is_not_safe() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |name: &str, more: &str| {
        let text = format!(
            "schema = 1\nname = \"{name}\"\n[cluster]\nrelease = \"12.5\"\nsecurity-mode = \"mixed\"\n\
             [[cluster.node]]\nname = \"pub\"\n[[cluster.phone-security-profile]]\nname = \"p\"\n\
             share = 1.0\ndevice-security-mode = \"encrypted\"\n[fleet]\nphones = 60\n\
             [registration]\n[[event]]\nwhen = \"fleet-settled\"\n\
             regenerate = {{ certificate = \"CallManager\", node = \"pub\" }}\n\
             [[event]]\nwhen = \"fleet-settled\"\nrestart = {{ node = \"pub\" }}\n{more}\
             [[event]]\nwhen = \"fleet-settled\"\nreset-phones = {{ spread = \"5s\" }}\n"
        );
        let path = folder.path().join(format!("{name}.toml"));
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let update = "[[event]]\nwhen = \"fleet-settled\"\nupdate-ctl = {}\n\
                  [[event]]\nwhen = \"fleet-settled\"\nrestart = { node = \"pub\" }\n";
    let (without, with) = (plan("without", ""), plan("with", update));
    let (code, out, _) = run(&["lint", &without]);
    assert_eq!(code, 1, "{out}");
    for words in [
        "UNSAFE, 60 phones not registered of 60",
        "the certificates of the CallManagers of their group are in none of their",
    ] {
        assert!(out.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{out}");
    }
    assert_eq!(run(&["lint", &with]).0, 0);
    let (_, out, _) = run(&["whatif", &without, &with]);
    let place = |name: &str| out.lines().position(|line| line.starts_with(name)).unwrap();
    assert!(place("with ") < place("without "), "{out}");
    assert!(
        out.lines().any(|line| line.ends_with("resets") && line.contains("registered")),
        "{out}"
    );
}

#[test]
fn the_safer_order_is_written_and_holds_in_virtual_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("safer.toml");
    let safer = path.to_str().unwrap();
    let (code, _, err) = run(&["lint", BOTH, "--phones", "60", "--write", safer]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("the safer order is in"), "{err}");
    let (code, out, _) = run(&["lint", safer]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("safe, nobody of 60 phones is lost"), "{out}");
    let csv = folder.path().join("orders.csv");
    let words = ["whatif", BOTH, safer, "--phones", "60", "--csv", csv.to_str().unwrap()];
    let (code, out, err) = run(&words);
    assert_eq!((code, err.as_str()), (0, ""));
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    let at = |name: &str| rows.iter().position(|row| row.first() == Some(&name)).unwrap();
    assert!(at("safer") < at("callmanager-and-tvs"), "the better one first: {out}");
    let head = rows.iter().find(|row| row.first() == Some(&"scenario")).unwrap().join(" ");
    assert!(head.ends_with("stuck failed 99 % look-ups resets"), "{out}");
    assert_eq!(rows[at("callmanager-and-tvs")][3], "60", "{out}");
    let csv = fs::read_to_string(csv).unwrap();
    assert!(csv.starts_with("scenario,verdict,ready,stuck,failed,"), "{csv}");
    assert!(csv.lines().next().unwrap().ends_with("look-ups,resets"), "{csv}");
}

#[test]
fn a_safe_plan_has_exit_code_0_and_json_is_one_document() {
    let (code, out, _) = run(&["lint", REGEN, "--format", "json"]);
    assert_eq!(code, 0);
    let document: Value = serde_json::from_str(&out).unwrap();
    let plan = &document["plans"][0];
    assert_eq!((&plan["scenario"], &plan["is_safe"]), (&"callmanager-regen".into(), &true.into()));
    assert_eq!((&plan["stuck"], &plan["safer"]), (&0.into(), &Value::Null));
    let (_, out, _) = run(&["check", BOTH, "--format", "json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    let lint = &document["plans"][0]["lint"];
    assert_eq!((&lint["stuck"], &lint["stranded"][0]["step"]), (&2_000.into(), &5.into()));
    assert_eq!(lint["rules"][0]["consequence"], "2 000 phones stuck");
    let (_, out, _) = run(&["check", BOTH]);
    assert!(out.contains("\nlint          callmanager-and-tvs: UNSAFE"), "{out}");
}

#[test]
fn what_lint_cannot_do_is_refused_with_a_way_out() {
    let (code, _, err) = run(&["lint", REGEN, BOTH, "--write", "x.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("--write is for the order of one plan\nhelp: name one"), "{err}");
    let (code, _, err) = run(&["whatif", REGEN]);
    assert_eq!(code, 2);
    assert!(err.contains("nothing to compare it with\nhelp: --vary KEY=A,B,C"), "{err}");
    let (code, out, _) = run(&["lint", REGEN, "--target", "tftp=127.0.0.1:69"]);
    assert_eq!(code, 0);
    assert!(out.contains("not judged") && out.contains("the servers are not ours"), "{out}");
}

#[test]
fn procedures_of_one_file_are_each_judged_and_ranked_with_every_value() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(REGEN)).unwrap();
    let (head, _) = text.split_once("[[event]]").unwrap();
    let regenerate = |kind: &str, when: &str| {
        format!(
            "[[procedure.event]]\n{when}\nregenerate = {{ certificate = \"{kind}\", node = \"pub\" }}\n"
        )
    };
    let then = |action: &str| format!("[[procedure.event]]\nafter = \"previous\"\n{action}\n");
    let settled = "when = \"fleet-settled\"";
    let together = regenerate("CallManager", settled)
        + &regenerate("TVS", "after = \"previous\"")
        + &then("restart = { node = \"pub\" }")
        + &then("reset-phones = { spread = \"30s\" }");
    let apart = format!("[[procedure.event]]\n{settled}\nprocedure = \"one-type-at-a-time\"\n");
    let text = format!(
        "{head}\n[[procedure]]\nname = \"together\"\n{together}\n[[procedure]]\nname = \"apart\"\n{apart}"
    );
    let path = folder.path().join("orders.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let (code, out, err) =
        run(&["whatif", path, "--phones", "40", "--vary", "cluster.sign-cache=off,lazy"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    let named = |name: &str| rows.iter().filter(|row| row.first() == Some(&name)).count();
    assert_eq!((named("together"), named("apart")), (2, 2), "{out}");
    let (code, out, _) = run(&["lint", path]);
    assert_eq!(code, 1);
    assert!(out.contains("callmanager-regen-together: UNSAFE"), "{out}");
    assert!(out.contains("callmanager-regen-apart: safe"), "{out}");
    let (code, out, _) = run(&["lint", path, "--set", "use=apart"]);
    assert_eq!((code, out.matches("lint   ").count()), (0, 1), "{out}");
    let (code, out, _) = run(&["check", path]);
    assert_eq!((code, out.matches("\nlint   ").count()), (0, 2), "each has a budget: {out}");
}
