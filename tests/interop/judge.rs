//! Storms decided again by a program that shares nothing with ours: `judge_storm.py` reads the
//! capture of a live run and says what must have become of every phone; every count has to agree.
//!
//! Needs root, iproute2, tcpdump and Python 3 with `cryptography`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::capture::{number, storm};
use crate::formats::python;
use crate::lab::turn;

const PHONES: u64 = 200;
/// Of each scenario: at most one change of `TVS.pem` of a node.
const TVS_CERTIFICATES: &str = "2";
/// Counts of a summary that the judge decides.
const JUDGED: usize = 33;

/// A storm that was run and captured.
struct Storm {
    capture: PathBuf,
    summary: Value,
    folder: TempDir,
}

impl Storm {
    fn of(name: &str) -> Storm {
        Storm::played(name, &format!("tests/interop/storms/{name}.toml"), &[])
    }

    fn played(name: &str, scenario: &str, set: &[&str]) -> Storm {
        let folder = TempDir::new().unwrap();
        let (capture, summary) = storm(name, scenario, set, folder.path());
        Storm { capture, summary, folder }
    }

    fn count(&self, path: &str) -> u64 {
        number(&self.summary, path)
    }

    /// The judge's lines about the counts, and its exit code, with these files.
    fn judged(&self, capture: &Path, summary: &Value) -> (Vec<String>, Option<i32>) {
        let told = self.folder.path().join("told.json");
        fs::write(&told, summary.to_string()).unwrap();
        let set = ["--tvs-certificates", TVS_CERTIFICATES];
        let output = judge("judge_storm.py", &[&[text(capture), text(&told)], &set[..]].concat());
        let out = String::from_utf8(output.stdout).unwrap();
        println!("{out}{}", String::from_utf8_lossy(&output.stderr));
        let about = |line: &&str| line.starts_with("agree") || line.starts_with("DISAGREE");
        (out.lines().filter(about).map(str::to_owned).collect(), output.status.code())
    }

    /// Requires that the judge comes to the summary of the run.
    fn must_agree(&self) {
        let (lines, code) = self.judged(&self.capture, &self.summary);
        assert_eq!((lines.len(), code), (JUDGED, Some(0)));
        assert!(lines.iter().all(|line| line.starts_with("agree")), "{lines:#?}");
        assert_eq!(self.count("phones.total"), PHONES);
    }
}

/// Runs one of the judge's programs; nothing is written beside it.
fn judge(program: &str, args: &[&str]) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(program);
    Command::new(python()).arg("-B").arg(path).args(args).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The paths in lines that say that judge and summary disagree.
fn disputed(lines: &[String]) -> Vec<&str> {
    let paths = lines.iter().filter_map(|line| line.strip_prefix("DISAGREE "));
    let mut paths: Vec<&str> = paths.map(|line| line.split(':').next().unwrap()).collect();
    paths.sort_unstable();
    paths
}

#[test]
#[ignore = "needs python3 with cryptography and asn1crypto"]
fn the_judge_decides_as_the_vectors_say() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let output = judge("judge_vectors.py", &[text(&vectors)]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "15 decisions");
}

#[test]
#[ignore = "needs root, iproute2, tcpdump and python3 with cryptography and asn1crypto"]
fn the_judge_agrees_on_a_safe_storm_in_mixed_mode() {
    let _turn = turn();
    let storm = Storm::of("mixed-safe");
    storm.must_agree();
    assert_eq!(storm.count("phones.ready"), PHONES);
    assert_eq!(storm.count("phones.stale_ctl"), 0);
    assert_eq!(storm.count("config.applied"), 4 * PHONES);
}

#[test]
#[ignore = "needs root, iproute2, tcpdump and python3 with cryptography and asn1crypto"]
fn the_judge_agrees_on_saturday_night() {
    let _turn = turn();
    let phones = PHONES.to_string();
    let mut set = vec!["--phones", &phones, "--set", "fleet.start=factory"];
    set.extend(["--set", "fleet.arrival={ within = \"1s\" }"]);
    for spread in [
        "event.reset-1.reset-phones.spread=1s",
        "event.reset-2.reset-phones.spread=1s",
        "event.reset-3.reset-phones.spread=1s",
    ] {
        set.extend(["--set", spread]);
    }
    let storm = Storm::played("saturday", "scenarios/saturday-night.toml", &set);
    storm.must_agree();
    assert_eq!(storm.count("phones.ready"), PHONES);
    assert_eq!(storm.count("tvs.lookups"), PHONES);
}

#[test]
#[ignore = "needs root, iproute2, tcpdump and python3 with cryptography and asn1crypto"]
fn the_judge_agrees_on_stuck_phones_and_stale_lists_in_mixed_mode() {
    let _turn = turn();
    let storm = Storm::of("mixed-fatal");
    storm.must_agree();
    assert_eq!(storm.count("phones.stuck"), PHONES * 9 / 10);
    assert_eq!(storm.count("phones.ready"), PHONES / 10);
    assert_eq!(storm.count("phones.stale_ctl"), PHONES);
}

#[test]
#[ignore = "needs root, iproute2, tcpdump and python3 with cryptography and asn1crypto"]
fn the_judge_agrees_on_a_server_that_stops_in_mid_wave() {
    let _turn = turn();
    let storm = Storm::of("two-tftp-failover");
    storm.must_agree();
    // All fail over in the second wave, and those who came after the stop in the first one, too.
    let in_first_wave = storm.count("tftp.failovers") - PHONES;
    assert!((1..PHONES).contains(&in_first_wave), "{in_first_wave} phones met the stop");
    let stuck = storm.count("phones.stuck");
    assert!((1..PHONES / 10).contains(&stuck), "{stuck} of the short group had asked before");
    assert_eq!(storm.count("phones.ready"), PHONES - stuck);
}

#[test]
#[ignore = "needs root, iproute2, tcpdump and python3 with cryptography and asn1crypto"]
fn the_judge_agrees_on_servers_with_lists_of_their_own() {
    let _turn = turn();
    let storm = Storm::of("two-tftp-lists");
    storm.must_agree();
    assert_eq!(storm.count("phones.ready"), PHONES);
    assert_eq!(storm.count("tftp.failovers"), PHONES / 2);
    assert_eq!(storm.count("trust.lists.accepted_by_tvs"), PHONES);
}

#[test]
#[ignore = "needs root, iproute2, tcpdump and python3 with cryptography and asn1crypto"]
fn the_judge_disagrees_with_a_changed_count_and_a_changed_byte() {
    let _turn = turn();
    let storm = Storm::of("two-tftp-lists");
    storm.must_agree();

    let (lines, _) = storm.judged(&storm.capture, &storm.summary);
    let judged = lines.iter().map(|line| line["agree".len()..].split(':').next().unwrap().trim());
    let mut summary = storm.summary.clone();
    for path in judged {
        let pointer = format!("/{}", path.replace('.', "/"));
        *summary.pointer_mut(&pointer).unwrap() = (storm.count(path) + 1).into();
    }
    let (lines, code) = storm.judged(&storm.capture, &summary);
    assert_eq!((disputed(&lines).len(), code), (JUDGED, Some(1)));

    let tampered = storm.folder.path().join("tampered.pcap");
    fs::write(&tampered, with_a_wrong_signature(&storm.capture)).unwrap();
    let (lines, code) = storm.judged(&tampered, &storm.summary);
    assert_eq!(code, Some(1));
    let refusal = [
        "config.applied",
        "phones.config_alarms",
        "phones.failed",
        "phones.ready",
        "trust.configs.accepted_by_itl",
        "trust.configs.refused",
    ];
    assert_eq!(disputed(&lines), refusal);
}

/// A capture in which the signature of the last configuration has another last byte.
fn with_a_wrong_signature(capture: &Path) -> Vec<u8> {
    let mut bytes = fs::read(capture).unwrap();
    // Behind the signature (tag 12) stands the name of the file (tag 14), 28 bytes.
    let name = b"\x0e\x00\x1cSEP";
    let at = bytes.windows(name.len()).rposition(|window| window == name).unwrap();
    bytes[at - 1] ^= 1;
    bytes
}
