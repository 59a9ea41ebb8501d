//! How many instructions do the hot paths take? Unlike a time, a count holds on a busy machine.
//!
//! `cargo bench --bench counts` runs each path under `valgrind --tool=callgrind`, once for half of
//! its turns and once for all, so that neither start nor preparation counts, and compares with
//! `benches/counts.txt`: a path that takes a tenth more fails. `-- --write` writes that file,
//! whose counts are those without link-time optimisation, as in CI: `CARGO_PROFILE_RELEASE_LTO=false`.

#[path = "parts/itl.rs"]
mod itl;
#[path = "parts/tftp.rs"]
mod tftp;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use resetstorm::base::{Span, Time};
use resetstorm::measure::{Ended, LoadRecorder};
use resetstorm::scenario::load;
use resetstorm::sim::{Queue, SimOptions, World};
use resetstorm::transfer::UploadLimits;

/// A hot path: its name, its turns, and what takes them.
struct HotPath {
    name: &'static str,
    turns: u64,
    take: fn(u64),
}

const PATHS: [HotPath; 6] = [
    HotPath { name: "decode-itl", turns: 2_000, take: decode_itl },
    HotPath { name: "tftp-acknowledgement", turns: 200_000, take: tftp_acknowledgements },
    HotPath { name: "tftp-transfer", turns: 20_000, take: tftp_transfers },
    HotPath { name: "record-request", turns: 200_000, take: record_requests },
    HotPath { name: "queue-event", turns: 200_000, take: queue_events },
    HotPath { name: "boot-in-virtual-time", turns: 400, take: boots },
];

/// More than this part above the file is a slip (choice: another processor or compiler moves counts by less).
const SLIP: f64 = 0.10;

/// Header and nine records, certificates left as bytes.
fn decode_itl(turns: u64) {
    let bytes = itl::itl();
    for _ in 0..turns {
        itl::read(black_box(&bytes));
    }
}

/// An acknowledgement and its block, among ten thousand transfers.
fn tftp_acknowledgements(turns: u64) {
    let file: Arc<[u8]> = Arc::from(vec![0x5a; 512 * 100]);
    let mut server = tftp::Server::new(UploadLimits::default(), 100_000);
    let lines: Vec<_> = (0..tftp::CLIENTS)
        .map(|client| tftp::begin(&mut server, client, &file, Time::ZERO).line)
        .collect();
    let (mut at, mut block, mut out) = (0, 1, Vec::new());
    for _ in 0..turns {
        let sent = tftp::acknowledge(&mut server, lines[at], block, Time::ZERO, &mut out);
        assert_eq!(sent, 516);
        (at, block) = if at + 1 < lines.len() { (at + 1, block) } else { (0, block + 1) };
    }
}

/// Request, one block, its acknowledgement.
fn tftp_transfers(turns: u64) {
    let file: Arc<[u8]> = Arc::from(vec![0x5a; 400]);
    let mut server = tftp::Server::new(UploadLimits::default(), 100_000);
    let (mut client, mut now, mut out) = (0, Time::ZERO, Vec::new());
    for _ in 0..turns {
        client = (client + 1) % tftp::CLIENTS;
        now = now + Span::from_micros(50);
        tftp::whole_transfer(&mut server, client, &file, now, &mut out);
    }
}

/// Plan, start and end of a request of the open model.
fn record_requests(turns: u64) {
    let mut recorder = LoadRecorder::new(Time::ZERO, Time::ZERO + Span::from_secs(3_600));
    for turn in 0..turns {
        let planned = Time::from_nanos(turn * 10_000);
        let started = planned + Span::from_micros(turn % 50);
        let ended = started + Span::from_micros(200 + turn * 7 % 5_000);
        recorder.plan(planned);
        recorder.start(planned, started, false);
        recorder.end(&Ended { planned, started, ended, fault: None }, None);
    }
    assert_eq!(black_box(recorder).starts.ok, turns);
}

/// An event taken from and one put into a queue of fifty thousand.
fn queue_events(turns: u64) {
    let mut queue = Queue::new();
    let delay = |event: u64| Span::from_micros(event * 7_919 % 1_000_003);
    for event in 0..50_000 {
        queue.push(Time::ZERO + delay(event), event);
    }
    for _ in 0..turns {
        let (now, event) = queue.pop().expect("it never runs dry");
        queue.push(now + delay(event + 1), event + 1);
    }
}

/// Whole boots after a regeneration: phone steps, events, TFTP and TVS of both sides.
fn boots(turns: u64) {
    let path = scenario("callmanager-regen");
    let text = std::fs::read_to_string(&path).expect("a shipped scenario");
    let plan = load(&path, &text, &[format!("fleet.phones={turns}")], &[]).expect("it is valid");
    let run = World::new(&plan, SimOptions::default()).run();
    assert_eq!(run.ledger.tallies().ready, turns);
}

fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.toml"))
}

/// Instructions of the whole program while it takes so many turns.
fn collected(path: &HotPath, turns: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--take", path.name, &turns.to_string()])
        .env("RAYON_NUM_THREADS", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count =
        said.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok());
    count.filter(|_| output.status.success()).ok_or_else(|| format!("{}: {said}", path.name))
}

/// Instructions of one turn.
fn of_one_turn(path: &HotPath) -> Result<u64, String> {
    let half = path.turns / 2;
    Ok((collected(path, path.turns)?.saturating_sub(collected(path, half)?)) / half)
}

/// Counts of the file by path.
fn kept(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, count)| Some((name, count.trim().parse().ok()?)))
        .collect()
}

fn compare(write: bool) -> Result<(), String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/counts.txt");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let kept = kept(&text);
    let mut new =
        String::from("# Instructions of one turn: cargo bench --bench counts -- --write\n");
    let mut slips = Vec::new();
    for path in &PATHS {
        let (count, before) = (of_one_turn(path)?, kept.get(path.name).copied());
        writeln!(new, "{} {count}", path.name).expect("a string takes it");
        let change = before.map_or(f64::NAN, |before| count as f64 / before as f64 - 1.0);
        println!("{:24} {count:>10} instructions  {:+.1} %", path.name, change * 100.0);
        if !write && (change.is_nan() || change > SLIP) {
            slips.push(format!("{} took {before:?}, takes {count}", path.name));
        }
    }
    if write {
        return std::fs::write(&file, new).map_err(|error| error.to_string());
    }
    if slips.is_empty() { Ok(()) } else { Err(slips.join("\n")) }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["--take", name, turns] = words[..] {
        let path = PATHS.iter().find(|path| path.name == name).expect("a path of the list");
        (path.take)(turns.parse().expect("a number of turns"));
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` starts it without `--bench`: each body once, no figure.
    if !words.contains(&"--bench") {
        PATHS.iter().for_each(|path| (path.take)(2));
        return ExitCode::SUCCESS;
    }
    match compare(words.contains(&"--write")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}\n(if it is meant: cargo bench --bench counts -- --write)");
            ExitCode::FAILURE
        }
    }
}
