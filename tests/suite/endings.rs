//! How commands end: what is printed and written, with which exit code, when the reader is gone,
//! the disk is full or a signal comes at any moment.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use resetstorm::base::{Purpose, stream};
use resetstorm::cli::ExitCode;
use resetstorm::scenario::load;
use resetstorm::sim::{SimOptions, World};
use serde_json::Value;

const REGEN: &str = "scenarios/callmanager-regen.toml";

/// The program in the folder of the project.
fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resetstorm"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(words).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A device that is always full.
fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has /dev/full")
}

/// Keys on a terminal: `q` ends a run as Ctrl-C does, and the terminal is as before.
#[test]
fn a_key_ends_a_run_on_a_terminal_and_gives_the_terminal_back() {
    let folder = tempfile::tempdir().unwrap();
    let run = format!(
        "{} run {REGEN} --phones 20 --set cluster.node.pub.ports.tftp=0 \
         --set cluster.node.pub.ports.tvs=0 --set event.reset-1.reset-phones.spread=5m \
         --out {} --progress tui; echo code $?; stty -a",
        env!("CARGO_BIN_EXE_resetstorm"),
        folder.path().display()
    );
    let mut script = Command::new("script");
    script.current_dir(env!("CARGO_MANIFEST_DIR")).args(["-qec", &run, "/dev/null"]);
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut seen, mut buffer) = (String::new(), [0; 4_096]);
    let mut asked = false;
    loop {
        let count = screen.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        seen += &String::from_utf8_lossy(&buffer[..count]);
        if !asked && seen.contains("p pauses the steps") {
            asked = true;
            keys.write_all(b"q").unwrap();
        }
    }
    child.wait().unwrap();
    assert!(asked, "the keys are named: {seen}");
    assert!(seen.contains("code 130"), "{seen}");
    let after = &seen[seen.find("code 130").unwrap()..];
    assert!(after.contains(" icanon") && after.contains(" echo "), "{after}");
    let summary = fs::read_to_string(folder.path().join("latest/summary.json")).unwrap();
    assert!(summary.contains("ended by hand at "), "{summary}");
}

/// Commands that print something at once, each with its exit code.
const QUICK: [(&[&str], i32); 7] = [
    (&["--help"], 0),
    (&["--version"], 0),
    (&["run", "--help"], 0),
    (&["check", REGEN], 0),
    (&["check", "--format", "json", REGEN], 0),
    (&["inspect", "tests/vectors/trustlist/ITLFile-all-roles-sha1-v10.tlv"], 0),
    (&["whatif", REGEN, "--phones", "20", "--vary", "seed=1,2"], 0),
];

#[test]
fn a_result_that_cannot_be_written_is_exit_code_4_with_the_cause() {
    for (words, _) in QUICK {
        let Output { status, stderr, .. } = program(words).stdout(full()).output().unwrap();
        let stderr = text(&stderr);
        assert_eq!(status.code(), Some(4), "{words:?}\n{stderr}");
        let cause = "error: standard output: No space left on device";
        assert!(stderr.contains(cause), "{words:?}\n{stderr}");
    }
}

#[test]
fn a_reader_that_has_gone_away_and_a_full_stderr_change_no_exit_code() {
    for (words, code) in QUICK {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = program(words).stdout(writer).output().unwrap();
        assert_eq!(gone.status.code(), Some(code), "{words:?}\n{}", text(&gone.stderr));
        let mute = program(words).stdout(Stdio::null()).stderr(full()).status().unwrap();
        assert_eq!(mute.code(), Some(code), "{words:?}");
    }
    for wrong in [&["check", "no/such.toml"][..], &["inspect", "Cargo.toml"], &["no-such-command"]]
    {
        let mute = program(wrong).stdout(Stdio::null()).stderr(full()).status().unwrap();
        assert_eq!(mute.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn standard_streams_that_are_closed_at_the_start_are_no_fault() {
    for closed in ["<&- >&- 2>&-", ">&-", "2>&-"] {
        let line = format!("\"$0\" check {REGEN} {closed}");
        let mut shell = Command::new("sh");
        shell.current_dir(env!("CARGO_MANIFEST_DIR"));
        let status = shell.args(["-c", &line, env!("CARGO_BIN_EXE_resetstorm")]).output().unwrap();
        assert_eq!(status.status.code(), Some(0), "{closed}: {}", text(&status.stderr));
    }
}

#[test]
fn help_and_guide_have_the_exit_codes_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/guide/exit-codes.md");
    let chapter = fs::read_to_string(path).unwrap();
    let table = chapter.lines().filter(|line| line.starts_with("| ") && !line.contains("---"));
    let rows: Vec<String> = table.skip(1).map(str::to_owned).collect();
    let expected = ExitCode::ALL.map(|code| {
        let (run, file) = code.meaning();
        format!("| {} | {run} | {file} |", code.number()).replace("|  |", "| |")
    });
    assert_eq!(rows, expected);
    let help = text(&program(&["--help"]).output().unwrap().stdout);
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for code in ExitCode::ALL {
        let (run, file) = code.meaning();
        let row = format!("{} {run}", code.number());
        assert!(plain(&help).contains(&row), "{row}\n{help}");
        assert!(file == "the same" || plain(&help).contains(file), "{file}\n{help}");
    }
}

/// What ends a command from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    /// One signal.
    Signal(Signal),
    /// As GNU `timeout` does it: to the process and again to its group.
    Twice(Signal),
    /// As an impatient job runner does it.
    InterruptThenTerminate,
}

impl Blow {
    fn strike(self, child: &Child) {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let signals: &[Signal] = match self {
            Blow::Signal(signal) => &[signal],
            Blow::Twice(signal) => &[signal, signal],
            Blow::InterruptThenTerminate => &[Signal::SIGINT, Signal::SIGTERM],
        };
        for &signal in signals {
            // It may have ended meanwhile.
            let _ = kill(pid, signal);
        }
    }

    /// Which exit codes tell of it.
    fn codes(self) -> &'static [i32] {
        match self {
            Blow::Signal(Signal::SIGHUP) => &[129],
            Blow::Signal(Signal::SIGINT) => &[130],
            // Two signals that wait at once are taken in the order of their numbers.
            Blow::InterruptThenTerminate => &[130, 143],
            _ => &[143],
        }
    }
}

/// A scenario with ports of the system's choice in a folder of its own, and where runs go.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new(spread: &str) -> Lab {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(REGEN)).unwrap();
        let text = text
            .replace("tftp = 6969", "tftp = 0")
            .replace("tvs = 2445", "tvs = 0")
            .replace("\"30s\"", &format!("\"{spread}\""));
        fs::write(folder.path().join("s.toml"), text).unwrap();
        Lab { folder }
    }

    fn scenario(&self) -> String {
        self.folder.path().join("s.toml").to_str().unwrap().to_owned()
    }

    fn out(&self) -> String {
        self.folder.path().join("runs").to_str().unwrap().to_owned()
    }

    /// `run.json` of the only run, if it was begun.
    fn manifest(&self) -> Option<Value> {
        let folder = fs::read_dir(self.out()).ok()?;
        let runs: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        let run = runs.into_iter().find(|path| path.is_dir() && !path.is_symlink())?;
        let manifest = run.join("run.json");
        manifest.exists().then(|| json(&manifest))
    }

    fn summary(&self) -> Value {
        json(&Path::new(&self.out()).join("latest/summary.json"))
    }
}

fn json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The commands that take some time, at a small size.
fn long(command: &str, lab: &Lab) -> Vec<String> {
    let (scenario, out) = (lab.scenario(), lab.out());
    let words = match command {
        "run" => vec!["run", &scenario, "--phones", "60", "--out", &out],
        "sim" => vec!["sim", &scenario, "--phones", "40000", "--out", &out],
        "guesses" => vec!["sim", &scenario, "--phones", "1500", "--out", &out],
        "whatif" => vec!["whatif", &scenario, "--phones", "6000", "--vary", "seed=1,2,3,4,5,6"],
        "limit" => {
            let range = ["--vary", "fleet.phones", "--between", "2000..20000"];
            [&["limit", &scenario, "--slo", "fleet_ready.p99 <= 20s"][..], &range].concat()
        }
        "serve" => vec!["serve", &scenario, "--phones", "5"],
        _ => panic!("no such command"),
    };
    words.into_iter().map(str::to_owned).collect()
}

const LONG: [&str; 6] = ["run", "sim", "guesses", "whatif", "limit", "serve"];

/// Starts a command, ends it at a moment and checks that it ends as it should.
fn end_at(command: &str, blow: Blow, after: Duration) {
    let lab = Lab::new("2s");
    let words = long(command, &lab);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut started = program(&words);
    let child = started.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(after);
    blow.strike(&child);
    let begun = Instant::now();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let what = format!("{command} {blow:?} after {after:?}\n{}\n{}", text(&stdout), text(&stderr));
    assert!(begun.elapsed() < Duration::from_mins(1), "{what}");
    if status.code().is_none() && stdout.is_empty() && stderr.is_empty() && lab.manifest().is_none()
    {
        // On a busy machine a program may be hit before its first line has run.
        return;
    }
    let code = status.code().unwrap_or_else(|| panic!("killed by a signal: {what}"));
    assert!(blow.codes().contains(&code) || [0, 1].contains(&code), "{code}: {what}");
    if let Some(manifest) = lab.manifest() {
        assert_eq!(manifest["exit_code"], code, "{manifest:#}\n{what}");
        let state = if code < 128 { "finished" } else { "interrupted" };
        assert_eq!(manifest["state"], state, "{manifest:#}\n{what}");
        if manifest.get("verdict").is_some() {
            let phones = &lab.summary()["phones"];
            let of = |state: &str| phones[state].as_u64().unwrap();
            let in_all = of("ready") + of("stuck") + of("failed") + of("not_reset");
            assert_eq!(in_all, of("total"), "{phones}\n{what}");
            assert!(text(&stdout).contains(&format!("· exit {code}\n")), "{what}");
        }
    }
}

/// Blows at moments that a seed chooses.
fn blows(seed: u64, rounds: u64) {
    let kinds = [
        Blow::Signal(Signal::SIGINT),
        Blow::Twice(Signal::SIGTERM),
        Blow::InterruptThenTerminate,
        Blow::Signal(Signal::SIGHUP),
        Blow::Signal(Signal::SIGTERM),
    ];
    println!("seed {seed}");
    let mut draws = stream(seed, 0, Purpose::Arrival);
    for round in 0..rounds {
        for (at, command) in LONG.iter().enumerate() {
            let after = Duration::from_secs_f64(draws.unit() * 1.5);
            end_at(command, kinds[(at + round as usize) % kinds.len()], after);
        }
    }
}

#[test]
fn a_signal_at_any_moment_leaves_results_and_the_documented_code() {
    blows(1, 2);
}

#[test]
#[ignore = "takes minutes"]
fn signals_at_many_moments_leave_results_and_the_documented_code() {
    (2..8).for_each(|seed| blows(seed, 2));
}

/// Starts a command and waits until it has said this on stderr, or has begun its run.
fn started(words: &[String], ready: impl Fn() -> bool) -> Child {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let child = program(&words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !ready() && begun.elapsed() < Duration::from_mins(1) {
        thread::sleep(Duration::from_millis(2));
    }
    child
}

#[test]
fn a_simulation_that_is_terminated_twice_at_once_writes_what_it_has() {
    let lab = Lab::new("30s");
    let child = started(&long("sim", &lab), || lab.manifest().is_some());
    Blow::Twice(Signal::SIGTERM).strike(&child);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(143), "{}", text(&ended.stdout));
    assert!(text(&ended.stdout).contains("verdict: INTERRUPTED"), "{}", text(&ended.stdout));
    assert!(text(&ended.stdout).contains("· exit 143\n"));
    let (manifest, summary) = (lab.manifest().unwrap(), lab.summary());
    assert_eq!((&manifest["state"], &manifest["exit_code"]), (&"interrupted".into(), &143.into()));
    assert_eq!(
        (&summary["verdict"], &summary["cut_by"]),
        (&"interrupted".into(), &"signal".into())
    );
    assert!(summary["phones"]["not_reset"].as_u64() > Some(0), "{summary:#}");
}

#[test]
fn a_second_signal_after_a_second_leaves_at_once_and_the_run_says_so() {
    let lab = Lab::new("30s");
    // A reader that reads nothing: the summary of three thousand conditions never gets through.
    let mut words = long("sim", &lab);
    words[3] = "30".to_owned();
    words.extend([
        "--set".to_owned(),
        format!("slo=[{}]", "{ expr = 'phones.stuck == 0' },".repeat(3_000)),
    ]);
    let child = started(&words, || lab.manifest().is_some());
    let begun = Instant::now();
    while !Path::new(&lab.out()).join("latest/summary.json").exists() {
        assert!(begun.elapsed() < Duration::from_mins(1), "it has played its world");
        thread::sleep(Duration::from_millis(2));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    thread::sleep(Duration::from_millis(1_200));
    kill(pid, Signal::SIGTERM).unwrap();
    let mut child = child;
    assert_eq!(child.wait().unwrap().code(), Some(130), "the code of the first");
    let manifest = lab.manifest().unwrap();
    assert_eq!((&manifest["state"], &manifest["exit_code"]), (&"interrupted".into(), &130.into()));
}

#[test]
fn a_run_that_is_killed_is_readable_and_says_that_it_is_running() {
    for command in ["run", "sim"] {
        let lab = Lab::new("30s");
        let mut child = started(&long(command, &lab), || lab.manifest().is_some());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None);
        let manifest = lab.manifest().unwrap();
        assert_eq!(manifest["state"], "running", "{command}");
        assert!(manifest.get("exit_code").is_none(), "{command}");
    }
}

/// Runs a command in a shell that limits the size of files to so many blocks of 512 bytes.
fn with_small_files(blocks: u32, words: &[String]) -> Output {
    let mut shell = Command::new("sh");
    let line = format!("ulimit -f {blocks}; exec \"$0\" \"$@\"");
    shell.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    shell.args(["-c", &line, env!("CARGO_BIN_EXE_resetstorm")]).args(words).output().unwrap()
}

#[test]
fn a_disk_without_room_for_the_summary_keeps_it_on_standard_output_and_in_run_json() {
    for command in ["run", "sim"] {
        let lab = Lab::new("200ms");
        let mut words = long(command, &lab);
        words[3] = "20".to_owned();
        let ended = with_small_files(8, &words);
        let (out, err) = (text(&ended.stdout), text(&ended.stderr));
        assert_eq!(ended.status.code(), Some(4), "{command}\n{out}\n{err}");
        assert!(out.contains("20 ready (config in force)") && out.contains("· exit 4\n"), "{out}");
        assert!(err.contains("summary.json: cannot be written: File too large"), "{err}");
        let manifest = lab.manifest().unwrap();
        assert_eq!((&manifest["state"], &manifest["exit_code"]), (&"finished".into(), &4.into()));
        assert!(manifest["error"].as_str().unwrap().contains("summary.json"), "{manifest}");
        assert!(!Path::new(&lab.out()).join("latest/summary.json.part").exists());
    }
}

#[test]
fn a_disk_without_room_for_a_run_is_refused_before_anything_runs() {
    let lab = Lab::new("200ms");
    let ended = with_small_files(1, &long("sim", &lab));
    assert_eq!(ended.status.code(), Some(4), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("run.json"), "{}", text(&ended.stderr));
    assert!(lab.manifest().is_none(), "no directory that cannot say what it is");
}

#[test]
fn a_summary_that_cannot_be_printed_is_in_its_directory() {
    for command in ["run", "sim"] {
        let lab = Lab::new("200ms");
        let mut words = long(command, &lab);
        words[3] = "20".to_owned();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ended = program(&words).stdout(full()).output().unwrap();
        assert_eq!(ended.status.code(), Some(4), "{}", text(&ended.stderr));
        assert_eq!(lab.summary()["phones"]["ready"], 20);
        assert_eq!(lab.manifest().unwrap()["exit_code"], 4);
    }
}

#[test]
fn virtual_time_has_no_end_of_its_own_and_one_that_is_set_is_named() {
    let lab = Lab::new("90m");
    let text_of = |lab: &Lab| fs::read_to_string(lab.scenario()).unwrap();
    let written = text_of(&lab);
    let unset = written
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("max-wall"))
        .collect::<String>();
    fs::write(lab.scenario(), &unset).unwrap();
    let sim = |lab: &Lab, more: &[&str]| {
        let (scenario, out) = (lab.scenario(), lab.out());
        let words = ["sim", &scenario, "--phones", "50", "--sensitivity=never", "--out", &out];
        program(&[&words[..], more].concat()).output().unwrap()
    };
    let whole = sim(&lab, &[]);
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stdout));
    let again = program(&["replay", &format!("{}/latest", lab.out())]).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stdout));
    let cut = sim(&lab, &["--max-wall", "20m"]);
    assert_eq!(cut.status.code(), Some(1), "{}", text(&cut.stdout));
    assert!(text(&cut.stdout).contains("the run was cut by run.max-wall"), "{}", text(&cut.stdout));
    let summary = lab.summary();
    assert!(summary["phones"]["not_reset"].as_u64() > Some(20), "{summary:#}");
    assert_eq!(summary["phones"]["failed"], 0, "nobody is blamed for what was not played");
}

#[test]
fn variants_that_were_cut_have_no_rank_and_no_limit_is_drawn_from_them() {
    let lab = Lab::new("90m");
    let scenario = lab.scenario();
    let words = ["whatif", &scenario, "--phones", "30", "--vary", "run.max-wall=20m,10h"];
    let ended = program(&words).output().unwrap();
    let lines: Vec<String> = text(&ended.stdout).lines().map(str::to_owned).collect();
    let row =
        |at: usize| lines.iter().position(|line| line.starts_with(["20m", "10h"][at])).unwrap();
    assert!(row(1) < row(0) && lines[row(0)].contains("  cut  "), "{lines:#?}");
    assert!(text(&ended.stdout).contains("cut           by run.max-wall"), "{lines:#?}");
    let words = ["limit", &scenario, "--vary", "fleet.phones", "--between", "10..100"];
    let more = ["--max-wall", "20m", "--slo", "phones.failed == 0"];
    let ended = program(&[&words[..], &more].concat()).output().unwrap();
    assert_eq!(ended.status.code(), Some(3), "{}", text(&ended.stdout));
    assert!(text(&ended.stderr).contains("was cut by run.max-wall"), "{}", text(&ended.stderr));
}

#[test]
fn phones_in_flight_fail_by_what_ended_the_run() {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join(REGEN);
    let text = fs::read_to_string(&scenario).unwrap();
    let more = ["fleet.phones=20".to_owned(), "event.reset-1.reset-phones.spread=1ms".to_owned()];
    let plan = load(&scenario, &text, &more, &[]).unwrap();
    let causes = |events_max| {
        let options = SimOptions { events_max: Some(events_max), ..SimOptions::default() };
        let summary = World::new(&plan, options).run().summary(&plan);
        summary.phones.failures.into_keys().collect::<Vec<_>>()
    };
    let seen: Vec<String> = (100..1_000).step_by(100).flat_map(causes).collect();
    assert!(seen.iter().any(|cause| cause == "event limit"), "{seen:?}");
    assert!(!seen.iter().any(|cause| cause == "time limit"), "no limit of time: {seen:?}");
}

#[test]
fn a_world_that_does_not_come_to_rest_is_inconclusive_by_name() {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join(REGEN);
    let text = fs::read_to_string(&scenario).unwrap();
    let plan = load(&scenario, &text, &["fleet.phones=20".to_owned()], &[]).unwrap();
    let options = SimOptions { events_max: Some(200), ..SimOptions::default() };
    let summary = World::new(&plan, options).run().summary(&plan);
    assert_eq!((summary.verdict.name(), summary.cut_by), ("inconclusive", Some("events")));
    assert!(summary.phones.not_reset > 0 && summary.sim.unwrap().events == 200);
}

#[test]
fn every_json_document_has_a_schema() {
    let lab = Lab::new("1s");
    let (scenario, out) = (lab.scenario(), lab.out());
    let sim = ["sim", &scenario, "--phones", "20", "--sensitivity=never", "--out", &out];
    let latest = format!("{out}/latest");
    let limit = [
        "limit",
        &scenario,
        "--vary",
        "fleet.phones",
        "--between",
        "2..4",
        "--slo",
        "phones.stuck == 0",
    ];
    let commands: [&[&str]; 7] = [
        &sim,
        &["check", REGEN],
        &["replay", &latest],
        &["whatif", &scenario, "--phones", "20", "--vary", "seed=1,2"],
        &limit,
        &["diff", &latest, &latest],
        &["doctor"],
    ];
    for words in commands {
        let ended = program(&[words, &["--format", "json"]].concat()).output().unwrap();
        let document: Value = serde_json::from_slice(&ended.stdout)
            .unwrap_or_else(|error| panic!("{words:?}: {error}\n{}", text(&ended.stderr)));
        assert_eq!(document["schema"], 1, "{words:?}");
    }
}
