//! How commands end: what is printed and written, with which exit code, when the reader is gone,
//! the disk is full or a signal comes at any moment.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use resetstorm::cli::ExitCode;

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
fn help_and_readme_have_the_exit_codes_of_the_program() {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, chapter) = readme.split_once("\n## Exit codes\n").unwrap();
    let (chapter, _) = chapter.split_once("\n## ").unwrap();
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
