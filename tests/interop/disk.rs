//! A disk that is really full: a file system of 16 KB, under the folder of runs and under standard
//! output.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{ANY_PORTS, Lab, SCENARIO, resetstorm, run, turn};

/// A file system of 16 KB that goes with the value.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn new() -> SmallDisk {
        let folder = tempfile::tempdir().unwrap();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16k", "none"])
            .arg(folder.path()));
        SmallDisk { folder }
    }

    /// One whose last byte is taken.
    fn full() -> SmallDisk {
        let disk = SmallDisk::new();
        fs::write(disk.path("filler"), [0; 16_384]).unwrap();
        fs::write(disk.path("more"), "x").expect_err("no room is left");
        disk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `run.json` of the only run.
    fn manifest(&self) -> Value {
        let text = fs::read(self.path("runs/latest/run.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is left of it goes with the machine.
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}

/// Runs a command of ours to its end, whatever that is.
fn ended(words: &[&str], more: &[&str], stdout: Stdio) -> Output {
    let mut program = resetstorm();
    program.args(words).args(more).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    program.spawn().unwrap().wait_with_output().unwrap()
}

/// Asserts exit code 4 with this cause on stderr, and that stdout has this.
fn ends_with_4(output: &Output, cause: &str, result: &str) {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(4), "{out}\n{err}");
    let no_room = |line: &str| line.contains(cause) && line.contains("No space left on device");
    assert!(err.lines().any(no_room), "{err}");
    assert!(out.contains(result), "{out}\n{err}");
}

/// The words of each command that keeps runs.
fn keepers(server: &str, names: &str) -> [Vec<String>; 3] {
    let quick = "event.reset-1.reset-phones.spread=200ms";
    let run = ["run", SCENARIO, "--phones", "5", "--set", quick, "--set", ANY_PORTS];
    let sim = ["sim", SCENARIO, "--phones", "5", "--sensitivity=never"];
    let load = ["capacity", "--tftp", server, "--names", names, "--rate", "50", "--hold", "1s"];
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    [owned(&run), owned(&sim), owned(&[&load[..], &["--percentile", "95%"]].concat())]
}

#[test]
#[ignore = "needs root and mount"]
fn a_run_whose_summary_has_no_room_prints_it_and_its_directory_says_so() {
    let _turn = turn();
    let lab = Lab::start(8);
    let names = lab.scratch("names");
    fs::write(&names, "ITLFile.tlv\n").unwrap();
    for words in keepers(&lab.tftp.to_string(), names.to_str().unwrap()) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let disk = SmallDisk::new();
        // Room for what a run begins with, three files of a page.
        fs::write(disk.path("filler"), [0; 4_096]).unwrap();
        let out = disk.path("runs");
        let output = ended(&words, &["--out", out.to_str().unwrap()], Stdio::piped());
        let result = if words[0] == "capacity" { "transfers/s" } else { "5 ready" };
        ends_with_4(&output, "summary.json: cannot be written", result);
        let manifest = disk.manifest();
        assert_eq!((&manifest["state"], &manifest["exit_code"]), (&"finished".into(), &4.into()));
        assert!(manifest["error"].as_str().unwrap().contains("summary.json"), "{manifest:#}");
        let left = fs::read_dir(out.join("latest")).unwrap();
        let cut = left.map(|entry| entry.unwrap().path()).find(|path| is_part(path));
        assert_eq!(cut, None, "no half of a file");
    }
}

fn is_part(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "part")
}

#[test]
#[ignore = "needs root and mount"]
fn a_run_that_has_no_room_at_all_is_refused_before_anything_is_sent() {
    let _turn = turn();
    let lab = Lab::start(8);
    let names = lab.scratch("names");
    fs::write(&names, "ITLFile.tlv\n").unwrap();
    for words in keepers(&lab.tftp.to_string(), names.to_str().unwrap()) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let disk = SmallDisk::full();
        let out = disk.path("runs");
        let output = ended(&words, &["--out", out.to_str().unwrap()], Stdio::piped());
        ends_with_4(&output, "run.json", "");
        assert!(output.stdout.is_empty(), "{words:?}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "{words:?}: nothing that says nothing");
    }
}

#[test]
#[ignore = "needs root and mount"]
fn a_result_on_a_full_disk_is_exit_code_4_and_what_was_there_stays() {
    let _turn = turn();
    let limit = ["--vary", "fleet.phones", "--between", "2..4", "--slo", "phones.stuck == 0"];
    let limit = [&["limit", SCENARIO][..], &limit].concat();
    let whatif = ["whatif", SCENARIO, "--phones", "5", "--vary", "seed=1,2"];
    let sim = ["sim", SCENARIO, "--phones", "5", "--sensitivity=never"];
    let kept = tempfile::tempdir().unwrap();
    let out = kept.path().to_str().unwrap();
    for (words, more) in [(&whatif[..], &[][..]), (&limit, &[]), (&sim, &["--out", out])] {
        let disk = SmallDisk::full();
        let stdout = File::create(disk.path("result")).unwrap();
        let output = ended(words, more, stdout.into());
        ends_with_4(&output, "standard output", "");
    }
    let disk = SmallDisk::new();
    let table = disk.path("grid.csv");
    fs::write(&table, "the table of yesterday\n").unwrap();
    fs::write(disk.path("filler"), [0; 12_288]).unwrap();
    let output = ended(&whatif, &["--csv", table.to_str().unwrap()], Stdio::piped());
    ends_with_4(&output, "grid.csv: cannot be written", "seed");
    assert_eq!(fs::read_to_string(&table).unwrap(), "the table of yesterday\n");
    assert_eq!(fs::read_dir(disk.folder.path()).unwrap().count(), 2, "no half of a file");
}
