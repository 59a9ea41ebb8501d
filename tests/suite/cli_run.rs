//! `run` and `serve` as a user types them: run directory, exit codes, signals, target, metrics.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const REGEN: &str = "scenarios/callmanager-regen.toml";
const OS_PORTS: &str = "cluster.node.pub.ports={ tftp = 0, tvs = 0, capf = 0 }";
const QUICK: &str = "event.reset-1.reset-phones.spread=200ms";

/// The program in the folder of the project, with ports from the operating system.
fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resetstorm"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(words).stdin(Stdio::null());
    command
}

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn run(words: &[&str]) -> Ended {
    let output = program(words).output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A small, quick run of S-01 that leaves its directory in `out`.
fn regen(out: &Path, more: &[&str]) -> Ended {
    let out = out.to_str().unwrap();
    let words = ["run", REGEN, "--phones", "40", "--set", OS_PORTS, "--set", QUICK, "--out", out];
    run(&[&words[..], more].concat())
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn what_check_warns_about_is_said_once_before_a_run() {
    let set = "event.3={after='previous', reset-phones={spread='100ms'}}";
    let warnings = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("warning: "));
        lines.map(str::to_owned).collect()
    };
    let check = ["check", REGEN, "--phones", "40", "--set", OS_PORTS, "--set", QUICK, "--set", set];
    let checked = warnings(&run(&check).err);
    assert!(
        checked.iter().any(|line| line.contains("does not wait for the phones")),
        "{checked:?}"
    );
    let out = tempfile::tempdir().unwrap();
    let ended = regen(out.path(), &["--set", set, "--format", "json"]);
    assert_eq!(warnings(&ended.err), checked, "{}", ended.err);
    let before = ended.err.find("warning: ") < ended.err.find("operator: ");
    assert!(before, "before anything runs: {}", ended.err);
    serde_json::from_str::<Value>(&ended.out).expect("a document and nothing else");
}

#[test]
fn a_run_leaves_its_directory_and_ends_with_0() {
    let out = tempfile::tempdir().unwrap();
    let ended = regen(out.path(), &[]);
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    assert!(ended.out.contains("40 ready (config in force), 0 stuck"), "{}", ended.out);
    let latest = out.path().join("latest");
    let summary = json(&latest.join("summary.json"));
    assert_eq!((&summary["schema"], &summary["mode"]), (&1.into(), &"live".into()));
    assert_eq!(summary["phones"]["ready"], 40);
    assert_eq!(summary["tvs"]["lookups"], 40);
    assert_eq!(summary["verdict"], "pass");
    for side in ["serve", "swarm"] {
        assert!(summary["cpu_s"][side].as_f64().is_some_and(|seconds| seconds > 0.0), "{side}");
    }
    let manifest = json(&latest.join("run.json"));
    assert_eq!((&manifest["state"], &manifest["exit_code"]), (&"finished".into(), &0.into()));
    let resolved = latest.join("scenario.toml");
    let again = run(&["check", resolved.to_str().unwrap(), "--format", "json"]);
    assert_eq!(again.code, 0, "the resolved scenario is a scenario: {}", again.err);
}

#[test]
fn json_is_the_summary_and_nothing_else() {
    let out = tempfile::tempdir().unwrap();
    let ended = regen(out.path(), &["--format", "json", "-q"]);
    let printed: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(printed, json(&out.path().join("latest/summary.json")));
    assert_eq!(ended.err, "", "quiet");
}

#[test]
fn a_failed_slo_ends_with_1_and_missing_data_with_3() {
    let out = tempfile::tempdir().unwrap();
    let failed = regen(out.path(), &["--slo", "phones.stuck == 1"]);
    assert_eq!(failed.code, 1, "{}", failed.out);
    assert!(failed.out.contains("FAIL") && failed.out.contains("phones.stuck == 1"));
    let unknown = regen(out.path(), &["--slo", "steps.tvs.service_time.p99 <= 1h"]);
    assert_eq!(unknown.code, 3, "40 samples are too few for a 99th percentile: {}", unknown.out);
    assert!(unknown.out.contains("no-data"));
}

#[test]
fn phones_whose_reset_was_not_due_before_the_time_limit_are_not_reset_and_not_failed() {
    let out = tempfile::tempdir().unwrap();
    let slow = ["--set", "event.reset-1.reset-phones.spread=1h", "--max-wall", "4s"];
    let ended = regen(out.path(), &slow);
    assert_eq!(ended.code, 1);
    let summary = json(&out.path().join("latest/summary.json"));
    assert!(summary["phones"]["not_reset"].as_u64().unwrap() > 30, "{summary:#}");
    assert_eq!((&summary["cut_by"], &summary["verdict"]), (&"run.max-wall".into(), &"fail".into()));
    let of = |state: &str| summary["phones"][state].as_u64().unwrap();
    assert_eq!(of("ready") + of("stuck") + of("failed") + of("not_reset"), of("total"));
    let words = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(" not reset alarms "), "{}", ended.out);
}

#[test]
fn wrong_use_ends_with_2_and_an_occupied_port_with_4() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(run(&["run", "no/such.toml"]).code, 2);
    assert_eq!(run(&["run"]).code, 2);
    let outside = regen(out.path(), &["--target", "tftp=192.0.2.1:69"]);
    assert_eq!(outside.code, 2);
    assert!(outside.err.contains("--allow-target 192.0.2.1"), "{}", outside.err);
    for open in ["0.0.0.0:0", "[::]:0"] {
        let listens = regen(out.path(), &["--metrics-listen", open]);
        let words = "error: --metrics-listen ";
        assert_eq!(listens.code, 2, "{}", listens.err);
        assert!(listens.err.contains(words) && listens.err.contains("--allow-listen"));
        let load = ["capacity", "--tftp", "127.0.0.1:1", "--mix", "unknown"];
        for other in [&["serve", REGEN][..], &load] {
            let ended = run(&[other, &["--metrics-listen", open]].concat());
            assert_eq!(ended.code, 2, "{other:?}: {}", ended.err);
            assert!(ended.err.contains(words), "{other:?}: {}", ended.err);
        }
    }
    let twice = ["--metrics-listen", "0.0.0.0:0", "--allow-listen", "0.0.0.0"];
    assert_eq!(regen(out.path(), &twice).code, 0);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let ports = format!("cluster.node.pub.ports={{ tftp = {port}, tvs = 0, capf = 0 }}");
    let ended = regen(out.path(), &["--set", &ports]);
    assert_eq!(ended.code, 4, "{}", ended.err);
    assert!(ended.err.contains("error: ") && ended.err.contains("help: "), "{}", ended.err);
    let latest = json(&out.path().join("latest/run.json"));
    assert_eq!(latest["state"], "finished", "the run before, which has a summary");
    let runs = fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().path());
    let failed = runs.into_iter().find(|run| json(&run.join("run.json"))["state"] == "failed");
    let failed = failed.expect("the one that could not start").display().to_string();
    let compared = run(&["diff", &failed, &failed]);
    assert_eq!(compared.code, 2, "{}", compared.err);
    assert!(compared.err.contains("no summary, the run is failed: "), "{}", compared.err);
}

#[test]
fn an_interrupt_ends_with_130_and_partial_results() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().to_str().unwrap();
    let slow = "event.reset-1.reset-phones.spread=1h";
    let words = ["run", REGEN, "--phones", "40", "--set", OS_PORTS, "--set", slow, "--out", path];
    let mut child = Started::new(&words);
    child.wait_for("reset phones");
    let status = child.signal(Signal::SIGINT);
    assert_eq!(status, Some(130));
    let manifest = json(&out.path().join("latest/run.json"));
    assert_eq!(manifest["state"], "interrupted");
    let summary = json(&out.path().join("latest/summary.json"));
    assert_eq!(summary["verdict"], "interrupted");
    assert_eq!(manifest["exit_code"], 130);
    let phones = &summary["phones"];
    assert!(phones["not_reset"].as_u64() > Some(30) && phones["failed"] == 0, "{phones}");
}

#[test]
fn serve_keeps_certificates_and_serves_a_swarm_of_another_process() {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().to_str().unwrap();
    let words = ["serve", REGEN, "--phones", "40", "--set", OS_PORTS, "--state", dir];
    let mut server = Started::new(&[&words[..], &["--metrics-listen", "127.0.0.1:0"]].concat());
    let line = server.wait_for("cluster ");
    let metrics = address_in(&server.wait_for("metrics "));
    let port = |service: &str| {
        let (_, rest) = line.split_once(service).unwrap_or_else(|| panic!("{service}: {line}"));
        rest.split_whitespace().next().unwrap().to_owned()
    };
    for name in ["CallManager", "TVS", "CAPF"] {
        let pem = state.path().join(format!("pub/{name}.pem"));
        assert!(fs::read_to_string(&pem).unwrap().starts_with("-----BEGIN CERTIFICATE"));
        assert!(!pem.with_extension("key").exists(), "keys are in the database only");
    }
    for name in ["cluster.db", "pub/TVS.pem"] {
        let mode = fs::metadata(state.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    let out = tempfile::tempdir().unwrap();
    let target = format!("tftp=127.0.0.1:{},tvs=127.0.0.1:{}", port("tftp "), port("tvs "));
    let more = [
        "--target",
        &target,
        "--set",
        "fleet.arrival.within=100ms",
        "--set",
        "slo=[]",
        "--slo",
        "trust.lists.accepted_by_itl == phones.total",
    ];
    let ended = regen(out.path(), &more);
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    let summary = json(&out.path().join("latest/summary.json"));
    assert_eq!((&summary["phones"]["ready"], &summary["tvs"]["lookups"]), (&40.into(), &0.into()));
    assert!(summary["cpu_s"]["serve"].is_null(), "the servers are not ours");
    let notes = summary["notes"].to_string();
    assert!(notes.contains("not done, the target is not ours: regenerate CallManager"), "{notes}");
    // Each phone asks for its list and its configuration; what was counted is shown within seconds.
    let begun = Instant::now();
    let text = loop {
        let text = get(metrics, "/metrics");
        let name = "resetstorm_server_requests_total{service=\"tftp\"} ";
        let requests = text.lines().find_map(|line| line.strip_prefix(name)).expect("requests");
        if requests.parse::<u64>().unwrap() >= 80 {
            break text;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "{text}");
    };
    assert!(!text.contains("resetstorm_phones{"), "phones of others are not known: {text}");
    assert_eq!(server.signal(Signal::SIGTERM), Some(0));
}

#[test]
fn serve_tells_a_program_where_it_listens_in_one_json_document() {
    let words = ["serve", REGEN, "--phones", "1", "--set", OS_PORTS, "--format", "json"];
    let mut command = program(&words);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut documents = serde_json::Deserializer::from_reader(out).into_iter::<Value>();
    let document = documents.next().unwrap().unwrap();
    assert_eq!(
        (&document["schema"], &document["scenario"]),
        (&1.into(), &"callmanager-regen".into())
    );
    let node = &document["nodes"][0];
    assert_eq!((&node["node"], &node["address"]), (&"pub".into(), &"127.0.0.1".into()));
    for service in ["tftp", "tvs"] {
        assert!(node[service].as_u64() > Some(0), "the port that the system chose: {node}");
    }
    assert!(node["http"].is_null(), "{node}");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(documents.next().is_none(), "one document and nothing else");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn stored_certificates_are_used_again() {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().to_str().unwrap();
    let tvs = state.path().join("pub/TVS.pem");
    let mut texts = Vec::new();
    for _ in 0..2 {
        let words = ["serve", REGEN, "--phones", "1", "--set", OS_PORTS, "--state", dir];
        let mut server = Started::new(&words);
        server.wait_for("cluster ");
        texts.push(fs::read_to_string(&tvs).unwrap());
        assert_eq!(server.signal(Signal::SIGINT), Some(0));
    }
    assert_eq!(texts[0], texts[1]);
}

#[test]
fn a_run_with_state_leaves_the_regenerated_certificate_there() {
    let (state, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = state.path().to_str().unwrap();
    let words = ["serve", REGEN, "--phones", "1", "--set", OS_PORTS, "--state", dir];
    let mut server = Started::new(&words);
    server.wait_for("cluster ");
    assert_eq!(server.signal(Signal::SIGINT), Some(0));
    let read = |name: &str| fs::read_to_string(state.path().join(name)).unwrap();
    let (signer, tvs) = (read("pub/CallManager.pem"), read("pub/TVS.pem"));
    assert_eq!(regen(out.path(), &["--state", dir]).code, 0);
    assert_ne!(read("pub/CallManager.pem"), signer, "regenerated by the scenario");
    assert_eq!(read("pub/TVS.pem"), tvs);
}

#[test]
fn metrics_are_answered_while_the_run_lasts() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().to_str().unwrap();
    let words = [
        "run",
        REGEN,
        "--phones",
        "40",
        "--set",
        OS_PORTS,
        "--out",
        path,
        "--metrics-listen",
        "127.0.0.1:0",
        "--set",
        "event.reset-1.reset-phones.spread=1h",
    ];
    let mut child = Started::new(&words);
    let line = child.wait_for("metrics ");
    let address = address_in(&line);
    child.wait_for("reset phones");
    let text = get(address, "/metrics");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.contains("resetstorm_run_info{scenario=\"callmanager-regen\""), "{text}");
    assert!(text.contains("resetstorm_phones{state=\"stuck\"} 0"));
    assert_eq!(child.signal(Signal::SIGTERM), Some(143));
}

/// The address in the line of the metrics.
fn address_in(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("http://").unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A program that runs beside the test and is ended with it.
struct Started {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Started {
    fn new(words: &[&str]) -> Started {
        let mut command = program(words);
        command.args(["--progress", "lines"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Started { child, lines }
    }

    /// The first line on stderr with this text.
    fn wait_for(&mut self, text: &str) -> String {
        let mut seen = String::new();
        for _ in 0..100 {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                break;
            }
            if line.contains(text) {
                return line;
            }
            seen += &line;
        }
        panic!("no `{text}` in\n{seen}");
    }

    /// Sends a signal; the exit code, if the program ends by itself within a bound.
    fn signal(&mut self, signal: Signal) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        let begun = Instant::now();
        // The rest of stderr is read, so that the program never waits for us.
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        assert!(begun.elapsed() < Duration::from_mins(1), "{rest}");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
