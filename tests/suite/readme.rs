//! The commands of the README and of the guide work as printed, at a small size and with ports that
//! are free. (The toolbox has a test of its own, `serve` is run by `tests/suite/cli_run.rs`.)

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Phones of our own servers, which all have an operation for an LSC.
const PHONES: u32 = 1_000;

/// The README and every chapter of the guide, one after the other.
fn documents() -> String {
    let root = Path::new(ROOT);
    let guide = fs::read_dir(root.join("src/cli/guide")).unwrap();
    let mut paths: Vec<_> = guide.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.insert(0, root.join("README.md"));
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The commands that play, judge or write scenarios, as words.
fn commands() -> Vec<Vec<String>> {
    let text = documents();
    let lines = text.lines().filter(|line| {
        ["run ", "check scenarios", "sim ", "replay ", "whatif ", "limit ", "lint ", "init "]
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

/// The `capacity` commands of the guide, each at a low rate and against servers that are there.
#[test]
fn capacity_commands_of_the_guide_work_as_printed() {
    let text = documents();
    let lines = text.lines().filter(|line| line.starts_with("resetstorm capacity "));
    let commands: Vec<Vec<String>> = lines.map(words).collect();
    assert!(commands.len() >= 7, "{commands:?}");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    file("names.txt", "ITLFile.tlv\nSEP0C75BD000001.cnf.xml.sgn\n");
    file("phones.csv", "MAC,model,site,group\n0C75BD000001,8841,hq,all\n");
    file("targets.txt", "192.0.2.7\n");
    let pending: Vec<String> = (1..=PHONES).map(|phone| format!("0C75BD{phone:06X}")).collect();
    // Who has its LSC does not come again: each command has phones of its own.
    let (first, second) = pending.split_at(pending.len() / 2);
    file("pending.csv", &first.join("\n"));
    file("pending-keys.csv", &second.join("\n"));
    let copies =
        [("TVS.pem", "tvs.pem"), ("CAPF.pem", "capf.pem"), ("CallManager.pem", "callmanager.pem")];
    for (certificate, name) in copies {
        fs::copy(folder.path().join("lab/pub").join(certificate), folder.path().join(name))
            .unwrap();
    }
    for command in commands {
        let mut words: Vec<String> = command.iter().map(|word| server.here(word)).collect();
        // A search would take minutes; the levels that it would go to are cut short.
        let has = |flag: &str| command.iter().any(|word| word == flag);
        if !has("--rate") && !has("--spike") {
            words.extend(["--max-rate", "30", "--start", "25"].map(str::to_owned));
        }
        words.extend(["--hold=500ms", "--hold-max=500ms", "--percentile=50%"].map(str::to_owned));
        words.retain(|word| word != "--hold" && word != "30s");
        if has("--key-time") {
            words.iter_mut().filter(|word| *word == "pending.csv").for_each(|word| {
                "pending-keys.csv".clone_into(word);
            });
        }
        words.extend(["--out".to_owned(), folder.path().join("runs").display().to_string()]);
        let output = Command::new(env!("CARGO_BIN_EXE_resetstorm"))
            .current_dir(folder.path())
            .args(&words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}\n{errors}");
    }
}

/// Our own servers in a process of their own, with a state directory `lab`.
struct Server {
    child: std::process::Child,
    ports: Vec<(&'static str, u16)>,
}

impl Server {
    fn start(folder: &Path) -> Server {
        let ports = "cluster.node.pub.ports={ tftp = 0, tvs = 0, capf = 0, http = 0 }";
        let scenario = Path::new(ROOT).join("scenarios/callmanager-regen.toml");
        let mut child = Command::new(env!("CARGO_BIN_EXE_resetstorm"))
            .current_dir(folder)
            .arg("serve")
            .arg(scenario)
            .args(["--phones", &PHONES.to_string(), "--state", "lab", "--progress", "lines"])
            .args(["--set", ports, "--roll-out-lsc", "rsa-2048"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line =
            lines.find_map(|line| line.ok().filter(|line| line.contains("cluster "))).unwrap();
        let port = |service: &str| {
            let (_, rest) = line.split_once(service).unwrap_or_else(|| panic!("{service}: {line}"));
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        let ports = vec![
            ("127.0.0.1:6969", port("tftp ")),
            ("127.0.0.1:6970", port("http ")),
            ("127.0.0.1:2445", port("tvs ")),
            ("127.0.0.1:3804", port("capf ")),
        ];
        Server { child, ports }
    }

    /// An address of the guide, as it is here.
    fn here(&self, word: &str) -> String {
        let found = self.ports.iter().find(|(address, _)| *address == word);
        found.map_or_else(|| word.to_owned(), |(_, port)| format!("127.0.0.1:{port}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn commands_of_the_readme_and_the_guide_work_as_printed() {
    let out = tempfile::tempdir().unwrap();
    let place = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(Path::new(ROOT).join("scenarios"), place.path().join("scenarios"))
        .unwrap();
    let export = "name,model,pool,site\nSEP0C75BD110001,8845,DP-HQ,hq\n\
                  SEP0C75BD110002,7841,DP-Branch,branch\n";
    fs::write(place.path().join("phones.csv"), export).unwrap();
    let commands = commands();
    assert!(commands.len() >= 12, "{commands:?}");
    for command in commands {
        let mut words: Vec<String> = command.iter().cloned().flat_map(expand).collect();
        if words[0] == "init" {
            // More than one chapter begins with it.
            words.push("--force".to_owned());
        }
        if words[0] == "replay" {
            words[1] = out.path().join("latest").display().to_string();
        }
        for word in &mut words {
            if word.starts_with("grid.") {
                *word = out.path().join(&word).display().to_string();
            } else if word == "500..400000" {
                "500..900".clone_into(word);
            }
        }
        if ["whatif", "sim", "run"].contains(&words[0].as_str())
            && let Some(at) = words.iter().position(|word| word == "--phones")
        {
            words.drain(at..at + 2);
        }
        if words[0] == "whatif" {
            words.push("--phones=20".to_owned());
        }
        if words[0] == "sim" {
            words.extend(["--phones=20".to_owned(), format!("--out={}", out.path().display())]);
        }
        if words[0] == "run" {
            let scenario = fs::read_to_string(Path::new(ROOT).join(&words[1])).unwrap();
            let mut more = vec!["--phones=20".to_owned(), "--set=phone.boot-time=0s".to_owned()];
            let nodes = scenario.matches("[[cluster.node]]").count();
            more.extend((1..=nodes).map(|node| {
                format!("--set=cluster.node.{node}.ports={{ tftp = 0, tvs = 0, capf = 0 }}")
            }));
            let last = scenario.matches("[[event]]").count();
            more.push(format!("--set=event.{last}.reset-phones.spread=100ms"));
            more.push(format!("--out={}", out.path().display()));
            words.extend(more);
        }
        let output = Command::new(env!("CARGO_BIN_EXE_resetstorm"))
            .current_dir(place.path())
            .args(&words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (text, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // A plan that strands phones is one of the examples.
        let code = output.status.code().filter(|code| words[0] != "lint" || *code != 1);
        assert_eq!(code.unwrap_or(0), 0, "{words:?}\n{text}\n{errors}");
    }
}
