//! The commands of the README work as printed, at a small size and with ports that are free.
//! (The chapter "Toolbox" has a test of its own, `serve` is run by `tests/cli_run.rs`.)

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The `run` and `check` commands of the README, as words.
fn commands() -> Vec<Vec<String>> {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let lines = readme.lines().filter(|line| {
        ["run ", "check scenarios", "sim ", "replay ", "whatif ", "limit "]
            .iter()
            .any(|command| line.strip_prefix("resetstorm ").is_some_and(|l| l.starts_with(command)))
    });
    lines.map(words).collect()
}

/// Splits a command at blanks outside of quotes; a redirection is left out.
fn words(line: &str) -> Vec<String> {
    let command = line.split(" > ").next().unwrap();
    let mut words = Vec::new();
    for (at, piece) in command.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(piece.to_owned());
        } else {
            words.extend(piece.split_whitespace().map(str::to_owned));
        }
    }
    words.remove(0);
    words
}

/// The shipped scenarios, where a shell would put them for a pattern.
fn expand(word: String) -> Vec<String> {
    if word != "scenarios/*.toml" {
        return vec![word];
    }
    let folder = fs::read_dir(Path::new(ROOT).join("scenarios")).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
    files.map(|path| path.display().to_string()).collect()
}

#[test]
fn commands_of_the_readme_work_as_printed() {
    let out = tempfile::tempdir().unwrap();
    let commands = commands();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        let mut words: Vec<String> = command.iter().cloned().flat_map(expand).collect();
        if words[0] == "replay" {
            words[1] = out.path().join("latest").display().to_string();
        }
        for word in &mut words {
            if word == "grid.csv" {
                *word = out.path().join("grid.csv").display().to_string();
            } else if word == "400000" {
                "900".clone_into(word);
            }
        }
        if words[0] == "whatif" {
            words.push("--phones=20".to_owned());
        }
        if words[0] == "sim" {
            words.retain(|word| word != "1000000" && word != "--phones");
            words.extend(["--phones=20".to_owned(), format!("--out={}", out.path().display())]);
        }
        if words[0] == "run" {
            if let Some(at) = words.iter().position(|word| word == "--phones") {
                words.drain(at..at + 2);
            }
            let scenario = fs::read_to_string(Path::new(ROOT).join(&words[1])).unwrap();
            let mut more = vec!["--phones=20".to_owned(), "--set=phone.boot-time=0s".to_owned()];
            let nodes = scenario.matches("[[cluster.node]]").count();
            more.extend((0..nodes).map(|node| {
                format!("--set=cluster.node.{node}.ports={{ tftp = 0, tvs = 0, capf = 0 }}")
            }));
            let last = scenario.matches("[[event]]").count() - 1;
            more.push(format!("--set=event.{last}.reset-phones.spread=100ms"));
            more.push(format!("--out={}", out.path().display()));
            words.extend(more);
        }
        let output = Command::new(env!("CARGO_BIN_EXE_resetstorm"))
            .current_dir(ROOT)
            .args(&words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (text, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{words:?}\n{text}\n{errors}");
    }
}
