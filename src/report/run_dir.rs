use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::base::ExitCode;
use crate::crypto::{Provider, sha256};
use crate::listing::hex;
use crate::measure::Verdict;
use crate::scenario::{Plan, to_toml};

use super::whole_file::exchange;

/// The directory of one run: `run.json`, the resolved `scenario.toml` and, at the end,
/// `summary.json`.
///
/// Every file is written to a temporary name and renamed; a run that was killed leaves a `run.json`
/// whose state is `running`, and beside it `run.json.part`, the room for its end.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    manifest: Manifest,
    /// Whether `run.json` says how the run ended.
    is_closed: Arc<Mutex<bool>>,
    /// Where `latest` pointed to before, if it was a link.
    before: Option<PathBuf>,
    warning: Option<String>,
}

/// A file of a run could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {verb}: {source}", path.display())]
pub struct ReportError {
    /// Which file or directory.
    pub path: PathBuf,
    /// What was attempted, such as `be written`.
    pub verb: &'static str,
    /// What the system said.
    pub source: io::Error,
}

/// `run.json`, schema 1. Never the command line as it was typed: it may hold secrets.
#[derive(Clone, Debug, Serialize)]
struct Manifest {
    schema: u32,
    state: &'static str,
    tool: Tool,
    mode: String,
    seed: u64,
    scenario: String,
    /// SHA-256 of the resolved `scenario.toml` (or other settings) beside this file.
    scenario_sha256: String,
    host: Host,
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    /// Why the run could not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Tool {
    name: &'static str,
    version: &'static str,
}

/// What makes runs on different hosts unlike; no name and no address.
#[derive(Clone, Debug, Serialize)]
struct Host {
    cores: Option<usize>,
    memory_bytes: Option<u64>,
    kernel: Option<String>,
    /// The library that signed.
    crypto: &'static str,
}

impl RunDir {
    /// Makes `<out>/<UTC time>-<name>-<seed>` with `run.json` and the resolved `scenario.toml`, and
    /// points `<out>/latest` to it. `mode` is `live` or `sim`.
    pub fn create(out: &Path, plan: &Plan, mode: &str) -> Result<RunDir, ReportError> {
        RunDir::create_named(out, mode, (&plan.name, plan.seed), (SCENARIO, &to_toml(plan)))
    }

    /// Makes a run directory of something that is no scenario: `name` and `seed` name it, and
    /// `text` is written to `settings`, a TOML file that says what was run.
    pub fn create_named(
        out: &Path,
        mode: &str,
        (name, seed): (&str, u64),
        (settings, text): (&str, &str),
    ) -> Result<RunDir, ReportError> {
        RunDir::make(out, mode, (name, seed), (settings, text), Timestamp::now())
    }

    fn make(
        out: &Path,
        mode: &str,
        (name, seed): (&str, u64),
        (settings, text): (&str, &str),
        now: Timestamp,
    ) -> Result<RunDir, ReportError> {
        fs::create_dir_all(out).map_err(failed(out, "be made"))?;
        let folder = format!("{}-{name}-{seed}", now.strftime("%Y%m%dT%H%M%SZ"));
        let path = make_new(out, &folder)?;
        let manifest = Manifest {
            schema: 1,
            state: "running",
            tool: Tool { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") },
            mode: mode.to_owned(),
            seed,
            scenario: name.to_owned(),
            scenario_sha256: hex(&sha256(text.as_bytes())),
            host: host(),
            started_at: seconds(now),
            ended_at: None,
            verdict: None,
            exit_code: None,
            error: None,
        };
        let before = fs::read_link(out.join(LATEST)).ok();
        let mut run = RunDir { path, manifest, is_closed: Arc::default(), before, warning: None };
        run.write_beginning().inspect_err(|_| {
            // A directory that cannot say what it is helps nobody.
            let _ = fs::remove_dir_all(&run.path);
        })?;
        write(&run.path.join(settings), text.as_bytes()).inspect_err(|error| {
            // The first error is the one to tell.
            let _ = run.leave(&error.to_string(), ExitCode::Environment);
        })?;
        let linked = point_latest(out, &run.path);
        run.warning = linked.err().map(|error| error.to_string());
        Ok(run)
    }

    /// Why `latest` does not point to this run, if it does not: the run is whole without.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the end of the run into `run.json`: its state becomes `interrupted` if that is the
    /// verdict, else `finished`. `error` says what could not be written, if anything.
    pub fn close(
        &self,
        verdict: &str,
        error: &str,
        exit_code: ExitCode,
    ) -> Result<(), ReportError> {
        let interrupted = verdict == Verdict::Interrupted.name();
        self.write_end(Manifest {
            state: if interrupted { "interrupted" } else { "finished" },
            verdict: Some(verdict.to_owned()),
            error: Some(error.to_owned()).filter(|error| !error.is_empty()),
            exit_code: Some(exit_code.number()),
            ..self.manifest.clone()
        })
        .map(|_| ())
    }

    /// Closes a run that is still open, because the program ends without a summary: `run.json` says
    /// that it was interrupted, or that it could not go on and why; then `latest` is again the run
    /// before. A closed one is left alone.
    pub fn leave(&self, why: &str, exit_code: ExitCode) -> Result<(), ReportError> {
        let has_ended = self.write_end(Manifest {
            state: if exit_code.is_signal() { "interrupted" } else { "failed" },
            error: Some(why.to_owned()).filter(|why| !why.is_empty()),
            exit_code: Some(exit_code.number()),
            ..self.manifest.clone()
        })?;
        if has_ended && !exit_code.is_signal() {
            // Whoever reads `latest` finds no summary: told by `run.json`.
            let _ = self.take_back_latest();
        }
        Ok(())
    }

    /// Points `latest` to where it pointed before this run, unless it has moved on.
    fn take_back_latest(&self) -> Result<(), ReportError> {
        let out = self.path.parent().unwrap_or(Path::new("."));
        let latest = out.join(LATEST);
        if fs::read_link(&latest).ok().as_deref() != self.path.file_name().map(Path::new) {
            return Ok(());
        }
        self.before.as_ref().map_or(Ok(()), |before| link(before, &latest, &self.path))
    }

    /// Writes a further JSON document of the run.
    pub fn write_json(&self, name: &str, document: &Value) -> Result<(), ReportError> {
        write(&self.path.join(name), format!("{document:#}\n").as_bytes())
    }

    /// Writes a further text of the run.
    pub fn write_text(&self, name: &str, text: &str) -> Result<(), ReportError> {
        write(&self.path.join(name), text.as_bytes())
    }

    /// Writes a further file of the run piece by piece, whole or not at all.
    pub fn write_by(
        &self,
        name: &str,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ReportError> {
        write_by(&self.path.join(name), fill)
    }

    /// Writes what was typed at the consoles of nodes and what they said: `console-NODE.log`.
    pub fn write_consoles(&self, consoles: &[(String, String)]) -> Result<(), ReportError> {
        let write =
            |(node, text): &(String, String)| self.write_text(&format!("console-{node}.log"), text);
        consoles.iter().try_for_each(write)
    }

    /// Writes the end into the room that [`RunDir::make`] has kept for it. Only the first end
    /// counts; whoever comes meanwhile waits until it is written. Says whether this is the first.
    fn write_end(&self, manifest: Manifest) -> Result<bool, ReportError> {
        let mut is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_closed {
            return Ok(false);
        }
        let manifest = Manifest { ended_at: Some(seconds(Timestamp::now())), ..manifest };
        write(&self.path.join(MANIFEST), text(&manifest).as_bytes())?;
        *is_closed = true;
        Ok(true)
    }

    /// Writes the beginning, and as much again and a little more beside it: the file that becomes
    /// `run.json` at the end exists from the start, so that a full disk cannot keep a run from
    /// saying how it ended.
    fn write_beginning(&self) -> Result<(), ReportError> {
        let beginning = text(&self.manifest);
        let path = self.path.join(MANIFEST);
        write(&path, beginning.as_bytes())?;
        let room = " ".repeat(beginning.len() + END_MAX);
        let kept = temporary(&path);
        fs::write(&kept, room).map_err(failed(&kept, "be written"))
    }
}

const MANIFEST: &str = "run.json";
const SCENARIO: &str = "scenario.toml";
/// The link to the newest run.
const LATEST: &str = "latest";
/// What the end of a run adds to `run.json`: a verdict, a date and an error of some lines.
const END_MAX: usize = 1_024;

fn text(manifest: &Manifest) -> String {
    let document = serde_json::to_value(manifest).expect("a manifest is plain data");
    format!("{document:#}\n")
}

/// Runs that began in the same second with the same seed, at most (choice).
const TWINS_MAX: u32 = 10_000;

/// Makes the directory `name` in `out`, with `-2`, `-3`, … behind it where that exists.
fn make_new(out: &Path, name: &str) -> Result<PathBuf, ReportError> {
    let mut path = out.join(name);
    for twin in 2..TWINS_MAX {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                path = out.join(format!("{name}-{twin}"));
            }
            made => return made.map(|()| path.clone()).map_err(failed(&path, "be made")),
        }
    }
    let source = io::Error::from(io::ErrorKind::AlreadyExists);
    Err(ReportError { path, verb: "be made", source })
}

/// Writes a whole file or leaves the old one. A file of the temporary name that is there already
/// lends its room: nothing is given back before the new bytes are in it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    write_by(path, |file| file.write_all(bytes))
}

fn write_by(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), ReportError> {
    let temporary = temporary(path);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&temporary)
        .and_then(|file| exchange(file, &temporary, path, |file| fill(file)));
    written.map_err(failed(path, "be written"))
}

fn temporary(path: &Path) -> PathBuf {
    path.with_added_extension("part")
}

/// Points `<out>/latest` to `run` in one step. A `latest` that is no link is left alone.
fn point_latest(out: &Path, run: &Path) -> Result<(), ReportError> {
    let latest = out.join(LATEST);
    if fs::symlink_metadata(&latest).is_ok_and(|found| !found.is_symlink()) {
        return Ok(());
    }
    let name = run.file_name().expect("a run directory has a name");
    link(Path::new(name), &latest, run)
}

/// Makes or moves the link `latest` for the sake of `run`.
fn link(target: &Path, latest: &Path, run: &Path) -> Result<(), ReportError> {
    let temporary = run.with_added_extension(LATEST);
    std::os::unix::fs::symlink(target, &temporary).map_err(failed(&temporary, "be made"))?;
    fs::rename(&temporary, latest).map_err(failed(latest, "be made"))
}

fn failed(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> ReportError {
    let path = path.to_owned();
    move |source| ReportError { path, verb, source }
}

fn seconds(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Facts of this host; what the system does not tell is `null`.
fn host() -> Host {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    Host {
        cores: std::thread::available_parallelism().ok().map(usize::from),
        memory_bytes: fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text)),
        kernel: kernel.map(|text| text.trim().to_owned()),
        crypto: Provider::chosen().name(),
    }
}

/// Bytes of memory by the text of `/proc/meminfo`.
fn memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Summary;
    use crate::scenario::load;

    fn create_at(
        out: &Path,
        plan: &Plan,
        mode: &str,
        now: Timestamp,
    ) -> Result<RunDir, ReportError> {
        RunDir::make(out, mode, (&plan.name, plan.seed), (SCENARIO, &to_toml(plan)), now)
    }

    fn plan() -> Plan {
        let text = "schema=1\nname='small'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=3";
        load(Path::new("small.toml"), text, &["seed=7".to_owned()], &[]).unwrap()
    }

    fn json(path: &Path) -> Value {
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    fn end(run: &RunDir, summary: &Summary, code: ExitCode) {
        run.write_json("summary.json", &summary.to_json()).unwrap();
        run.close(summary.verdict.name(), "", code).unwrap();
    }

    fn names(path: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> =
            fs::read_dir(path).unwrap().map(|entry| name(entry).into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_run_that_was_killed_says_that_it_is_running() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(&folder.path().join("new/runs"), &plan(), "live").unwrap();
        let manifest = json(&run.path().join("run.json"));
        assert_eq!(manifest["schema"], 1);
        assert_eq!(manifest["state"], "running");
        assert_eq!((&manifest["mode"], &manifest["seed"]), (&"live".into(), &7.into()));
        assert_eq!(manifest["scenario"], "small");
        assert!(manifest["host"]["cores"].as_u64() > Some(0));
        assert!(manifest.get("verdict").is_none() && manifest.get("ended_at").is_none());
        assert_eq!(names(run.path()), ["run.json", "run.json.part", "scenario.toml"]);
    }

    #[test]
    fn the_scenario_beside_it_repeats_the_run_and_has_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path(), &plan(), "sim").unwrap();
        let path = run.path().join("scenario.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(load(&path, &text, &[], &[]).unwrap(), plan());
        let digest = json(&run.path().join("run.json"))["scenario_sha256"].clone();
        assert_eq!(digest, hex(&sha256(text.as_bytes())));
        assert_eq!(digest.as_str().unwrap().len(), 64);
    }

    #[test]
    fn runs_of_the_same_second_get_numbers_and_latest_is_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let runs: Vec<RunDir> =
            (0..3).map(|_| create_at(folder.path(), &plan(), "live", now).unwrap()).collect();
        let base = "20270115T080000Z-small-7";
        let expected = [base, &format!("{base}-2"), &format!("{base}-3"), "latest"];
        assert_eq!(names(folder.path()), expected);
        let latest = fs::read_link(folder.path().join("latest")).unwrap();
        assert_eq!(latest.as_os_str(), runs[2].path().file_name().unwrap());
        assert_eq!(json(&runs[0].path().join("run.json"))["started_at"], "2027-01-15T08:00:00Z");
    }

    #[test]
    fn a_latest_that_is_no_link_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("latest"), "mine").unwrap();
        RunDir::create(folder.path(), &plan(), "live").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("latest")).unwrap(), "mine");
    }

    #[test]
    fn the_end_of_a_run_is_written_behind_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path(), &plan(), "live").unwrap();
        let begun = json(&run.path().join("run.json"));
        let summary = Summary { verdict: Verdict::Fail, seed: 7, ..Summary::default() };
        end(&run, &summary, ExitCode::Failed);
        let ended = json(&run.path().join("run.json"));
        assert_eq!((&ended["state"], &ended["verdict"]), (&"finished".into(), &"fail".into()));
        assert_eq!((&ended["exit_code"], &ended["started_at"]), (&1.into(), &begun["started_at"]));
        assert!(ended["ended_at"].is_string());
        assert_eq!(json(&run.path().join("summary.json")), summary.to_json());
    }

    #[test]
    fn the_end_of_a_run_needs_no_room_that_it_has_not_had_from_the_start() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path(), &plan(), "live").unwrap();
        let room = fs::metadata(run.path().join("run.json.part")).unwrap();
        run.close("inconclusive", &"x".repeat(700), ExitCode::Environment).unwrap();
        let ended = fs::metadata(run.path().join("run.json")).unwrap();
        assert_eq!(ended.ino(), room.ino(), "the very file that was kept");
        assert!(ended.len() <= room.len(), "{} in {}", ended.len(), room.len());
        assert_eq!(names(run.path()), ["run.json", "scenario.toml"], "no temporary file is left");
        assert_eq!(json(&run.path().join("run.json"))["exit_code"], 4);
    }

    #[test]
    fn a_latest_that_cannot_be_made_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let taken = folder.path().join("20270115T080000Z-small-7.latest");
        fs::create_dir(&taken).unwrap();
        let run = create_at(folder.path(), &plan(), "live", now).unwrap();
        assert!(run.warning().is_some_and(|text| text.contains(".latest")), "{run:?}");
    }

    #[test]
    fn a_run_that_could_not_go_on_leaves_latest_at_the_run_before() {
        let folder = tempfile::tempdir().unwrap();
        let begin = || RunDir::create(folder.path(), &plan(), "live").unwrap();
        let latest = || folder.path().join(fs::read_link(folder.path().join("latest")).unwrap());
        let failed = |run: &RunDir| run.leave("port 6969 is taken", ExitCode::Environment).unwrap();
        let first = begin();
        failed(&first);
        assert_eq!(latest(), first.path(), "there is no other");
        let good = begin();
        end(&good, &Summary::default(), ExitCode::Ok);
        let second = begin();
        assert_eq!(latest(), second.path(), "while it runs");
        failed(&second);
        assert_eq!(latest(), good.path());
        let (third, newer) = (begin(), begin());
        failed(&third);
        assert_eq!(latest(), newer.path(), "another run has begun meanwhile");
    }

    #[test]
    fn interrupted_and_failed_runs_have_a_state_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path(), &plan(), "live").unwrap();
        let summary = Summary { verdict: Verdict::Interrupted, ..Summary::default() };
        end(&run, &summary, ExitCode::Terminated);
        assert_eq!(json(&run.path().join("run.json"))["state"], "interrupted");
        run.leave("too late", ExitCode::Internal).unwrap();
        assert_eq!(json(&run.path().join("run.json"))["exit_code"], 143, "it was closed");
        let run = RunDir::create(folder.path(), &plan(), "live").unwrap();
        run.leave("", ExitCode::HungUp).unwrap();
        assert_eq!(json(&run.path().join("run.json"))["state"], "interrupted");
        let run = RunDir::create(folder.path(), &plan(), "live").unwrap();
        run.leave("port 6969 is taken", ExitCode::Environment).unwrap();
        let failed = json(&run.path().join("run.json"));
        assert_eq!((&failed["state"], &failed["exit_code"]), (&"failed".into(), &4.into()));
        assert_eq!(failed["error"], "port 6969 is taken");
    }

    #[test]
    fn an_output_place_that_is_a_file_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("file");
        fs::write(&out, "").unwrap();
        let error = RunDir::create(&out, &plan(), "live").unwrap_err();
        assert_eq!(error.path, out);
        assert!(error.to_string().contains("cannot be made"), "{error}");
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(memory("MemTotal:       2 kB\nMemFree: 1 kB"), Some(2_048));
        assert_eq!(memory("MemFree: 1 kB"), None);
        assert_eq!(memory("MemTotal: many"), None);
    }
}
