//! What the generator lacks is never a failure of a server or of a phone: few descriptors, few
//! places, a program that was stopped.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Runs the program where at most `descriptors` may be open.
fn limited(descriptors: u32, out: &Path, args: &[&str]) -> Output {
    let shell = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
    Command::new("sh")
        .args(["-c", &shell, env!("CARGO_BIN_EXE_resetstorm")])
        .args(args)
        .arg("--out")
        .arg(out)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// A run of `phones` phones on ports of the host's choice.
fn storm(descriptors: u32, phones: u32) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let phones = phones.to_string();
    let args = [
        "run",
        "scenarios/storm-all-at-once.toml",
        "--phones",
        &phones,
        "--set",
        "cluster.node.pub.ports.tftp=0",
        "--set",
        "cluster.node.pub.ports.tvs=0",
        "--max-wall",
        "60s",
    ];
    let output = limited(descriptors, folder.path(), &args);
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap_or(-1), text.concat())
}

#[test]
fn with_few_descriptors_nothing_panics_and_no_server_is_blamed() {
    for descriptors in [6, 7, 10, 13, 16, 20, 24, 32, 40, 48, 64] {
        let (code, text) = storm(descriptors, 20);
        assert!([0, 3, 4].contains(&code), "{descriptors}: {code}\n{text}");
        assert!(!text.contains("TVS unreachable"), "{descriptors}: {text}");
        assert!(!text.contains("panicked"), "{descriptors}: {text}");
        if code == 4 {
            let named = text.contains("Too many open files") || text.contains("descriptors");
            assert!(named, "{descriptors}: {text}");
        }
    }
}

#[test]
fn serve_with_few_descriptors_names_the_cause_and_ends_with_4() {
    for descriptors in [7, 10, 12, 16, 20] {
        let shell = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &shell, env!("CARGO_BIN_EXE_resetstorm"), "serve"])
            .args(["scenarios/callmanager-regen.toml", "--phones", "4"])
            .args(["--set", "cluster.node.pub.ports.tftp=0"])
            .args(["--set", "cluster.node.pub.ports.tvs=0"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{descriptors}: {text}");
        assert!(text.contains("Too many open files"), "{descriptors}: {text}");
    }
}

#[test]
fn places_are_bounded_to_the_descriptors_and_the_run_says_so_before_and_after() {
    let (code, text) = storm(128, 200);
    assert_eq!(code, 3, "good counts under other bounds than those to rehearse: {text}");
    assert!(text.contains("warning: storm-all-at-once needs "), "{text}");
    assert!(text.contains("INCONCLUSIVE (8 of 8 SLOs held, but this host lacked"), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("TVS lookups in flight: 128 descriptors"), "{text}");
    assert!(!text.contains("TVS unreachable"), "{text}");
}

/// A TFTP server that reads every request and answers none.
fn silent_server() -> (UdpSocket, String) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    (server, address)
}

fn summary(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("latest/summary.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn phones_that_wait_for_a_place_until_the_end_are_sampled_and_no_time_limit_of_the_server() {
    let (_server, address) = silent_server();
    let folder = tempfile::tempdir().unwrap();
    let target = format!("tftp={address}");
    let output = Command::new(env!("CARGO_BIN_EXE_resetstorm"))
        .args(["run", "scenarios/storm-all-at-once.toml", "--phones", "60", "--target", &target])
        .args(["--set", "fleet.arrival.within=0s"])
        .args(["--set", "run.transfers-in-flight=20", "--max-wall", "3s", "--out"])
        .arg(folder.path())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let summary = summary(folder.path());
    assert_eq!(summary["generator"]["verdict"], "saturated", "{text}");
    let waits = &summary["generator"]["waits"]["transfers"];
    assert_eq!((&waits["places"], &waits["at_end"]), (&20.into(), &40.into()), "{text}");
    assert!(waits["longest_s"].as_f64().unwrap() > 1.0, "{text}");
    assert!(summary["generator"]["lag_p99_s"].as_f64().unwrap() > 1.0, "{text}");
    let failures = &summary["phones"]["failures"];
    assert_eq!(failures["generator: no place in flight"], 40, "{text}");
    assert_eq!(failures["time limit"], 20, "those had their place: {text}");
    assert!(text.contains("40 phones still at the end"), "{text}");
}

#[test]
fn a_program_that_was_stopped_for_a_while_says_so_and_judges_no_times() {
    let (_server, address) = silent_server();
    let folder = tempfile::tempdir().unwrap();
    let target = format!("tftp={address}");
    let child = Command::new(env!("CARGO_BIN_EXE_resetstorm"))
        .args(["run", "scenarios/storm-all-at-once.toml", "--phones", "5", "--target", &target])
        .args(["--set", "fleet.arrival.within=0s"])
        .args(["--max-wall", "6s", "--out"])
        .arg(folder.path())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The run directory says that it has begun.
    let deadline = Instant::now() + Duration::from_mins(1);
    while !folder.path().join("latest").exists() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    thread::sleep(Duration::from_millis(1_500));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    thread::sleep(Duration::from_millis(2_500));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let summary = summary(folder.path());
    assert!(summary["generator"]["paused_s"].as_f64().unwrap() > 1.0, "{text}");
    assert_ne!(summary["generator"]["verdict"], "ok", "{text}");
    assert!(text.contains("host paused this program for"), "{text}");
    assert_eq!(output.status.code(), Some(3), "{text}");
}
