//! The house stays as `ARCHITECTURE.md` draws it: imports go down only, and clocks, sockets and
//! some crates live where they belong. Reads the sources; tests inside them are not judged.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of `src` from the ground up; folders of one row never import each other.
const FLOORS: [&[&str]; 14] = [
    &["base"],
    &["wire"],
    &["crypto"],
    &["transfer"],
    &["cluster", "phone"],
    &["scenario"],
    &["admin"],
    &["measure"],
    &["net"],
    &["serve", "sim", "swarm"],
    &["report", "toolbox"],
    &["calibrate", "live"],
    &["capacity"],
    &["cli"],
];

/// Folders that a floor never imports although they lie below it.
const STRANGERS: [(&str, &str); 1] = [("sim", "net")];

/// What may stand only in some folders (`folder` or `folder/file.rs`), and why.
const PLACES: [(&[&str], &[&str], &str); 6] = [
    (
        &["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"],
        &["net", "serve", "swarm", "live", "toolbox", "report", "cli"],
        "time is an argument below the floors that own sockets",
    ),
    (
        &["TcpListener", "TcpStream", "UdpSocket", "socket2::", "nix::sys::socket"],
        &["net", "serve", "swarm", "live", "capacity", "toolbox", "cli"],
        "sockets belong to the live floors",
    ),
    (
        &["tokio::", "tokio_rustls::"],
        &["net", "serve", "swarm", "live", "capacity", "toolbox", "cli"],
        "tokio belongs to the live floors",
    ),
    (
        &["std::fs", "fs::read", "fs::write", "File::open", "File::create"],
        &["net", "serve", "live", "toolbox", "report", "cli"],
        "files belong to the floors above the simulation",
    ),
    (&["clap::", "clap("], &["cli"], "the command line is one floor"),
    (&["use prometheus::", " prometheus::"], &["measure/prometheus.rs"], "one file speaks it"),
];

#[test]
fn imports_go_down_and_everything_is_in_its_place() {
    let faults: Vec<String> =
        sources().iter().flat_map(|(path, text)| faults(path, text)).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_folder_has_its_floor() {
    for (path, _) in sources() {
        let folder = folder(&path);
        let loose = ["lib.rs", "main.rs"].contains(&folder);
        assert!(loose || floor(folder).is_some(), "{}: on which floor?", path.display());
    }
}

#[test]
fn a_planted_violation_is_caught() {
    let planted = [
        ("phone/x.rs", "use crate::cluster::Cluster;", "imports crate::cluster"),
        ("cluster/x.rs", "use crate::phone::Phone;", "imports crate::phone"),
        ("wire/x.rs", "use crate::{base::Time, crypto::sha1};", "imports crate::crypto"),
        ("wire/x.rs", "use crate::{\n    crypto::sha1,\n};", "imports crate::crypto"),
        ("scenario/x.rs", "let sum = crate::measure::known_paths();", "imports crate::measure"),
        ("sim/x.rs", "use crate::swarm::Swarm;", "imports crate::swarm"),
        ("sim/x.rs", "use crate::net::Clock;", "imports crate::net"),
        ("report/x.rs", "use crate::cli::ExitCode;", "imports crate::cli"),
        ("sim/x.rs", "let now = Instant::now();", "Instant::now"),
        ("phone/x.rs", "let now = std::time::SystemTime::now();", "SystemTime::now"),
        ("report/x.rs", "use std::net::UdpSocket;", "UdpSocket"),
        ("measure/x.rs", "tokio::spawn(run());", "tokio::"),
        ("cluster/x.rs", "use std::fs;", "std::fs"),
        ("report/x.rs", "use clap::Args;", "clap::"),
        ("measure/x.rs", "use prometheus::Encoder;", "prometheus::"),
    ];
    for (path, text, word) in planted {
        let faults = faults(Path::new(path), text);
        assert!(faults.iter().any(|fault| fault.contains(word)), "{path}: {text}: {faults:?}");
    }
}

#[test]
fn comments_tests_and_permitted_places_are_not_caught() {
    let innocent = [
        ("phone/x.rs", "//! Drives [`Cluster`](crate::cluster::Cluster).\n/// See crate::sim."),
        ("phone/x.rs", "use crate::wire::Tlv; // not crate::cluster"),
        ("phone/x.rs", "#[cfg(test)]\nmod tests {\n    use crate::cluster::Cluster;\n}"),
        ("phone/x.rs", "use crate::phone::judge;\nuse crate::{base::Time, wire::Tlv};"),
        ("net/clock.rs", "let start = Instant::now();"),
        ("cli/x.rs", "use clap::Args;\nuse crate::report::RunDir;"),
        ("measure/prometheus.rs", "use prometheus::Encoder;"),
        ("measure/mod.rs", "mod prometheus;\npub use prometheus::encode;"),
    ];
    for (path, text) in innocent {
        assert_eq!(faults(Path::new(path), text), Vec::<String>::new(), "{path}: {text}");
    }
}

/// What is wrong with the file at `path` below `src`.
fn faults(path: &Path, text: &str) -> Vec<String> {
    let code = code(text);
    let here = folder(path);
    let upward = imports(&code).into_iter().filter(|there| !may_import(here, there));
    let upward = upward.map(|there| format!("{}: imports crate::{there}", path.display()));
    let misplaced = PLACES.iter().filter(|(_, homes, _)| !is_at_home(path, homes)).flat_map(
        |(words, _, why)| {
            let found = words.iter().filter(|word| mentions(&code, word));
            found.map(move |word| format!("{}: {word}: {why}", path.display()))
        },
    );
    upward.chain(misplaced).collect()
}

fn may_import(here: &str, there: &str) -> bool {
    let (Some(from), Some(to)) = (floor(here), floor(there)) else {
        return true; // lib.rs and main.rs; macros of the crate
    };
    here == there || (to < from && !STRANGERS.contains(&(here, there)))
}

fn floor(folder: &str) -> Option<usize> {
    FLOORS.iter().position(|names| names.contains(&folder))
}

/// The first part of a path below `src`; a folder that holds one file is a file.
fn folder(path: &Path) -> &str {
    let first = path.components().next().and_then(|part| part.as_os_str().to_str());
    let first = first.expect("paths of the sources are UTF-8");
    match first.strip_suffix(".rs") {
        Some(name) if floor(name).is_some() => name,
        _ => first,
    }
}

fn is_at_home(path: &Path, homes: &[&str]) -> bool {
    homes.iter().any(|home| *home == folder(path) || Path::new(home) == path)
}

/// Whether `code` has `word`; a module of our own with the name of a crate is not that crate.
fn mentions(code: &str, word: &str) -> bool {
    let name = word.trim_start_matches("use ").trim().trim_end_matches("::");
    code.contains(word) && !code.contains(&format!("mod {name};"))
}

/// The text without comments and without the tests at its end.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    let line = |line: &str| match line.find("//") {
        Some(at) => line[..at].to_owned(),
        None => line.to_owned(),
    };
    text[..end].lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The folders that `code` names behind `crate::`, lists in braces included.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in code.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            Some(list) => found.extend(first_names(list)),
            None => found.push(leading_name(part)),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// The names at the beginning of each element of a list that ends with its brace.
fn first_names(list: &str) -> Vec<String> {
    let mut names = vec![leading_name(list.trim_start())];
    let mut depth = 0;
    for (at, mark) in list.char_indices() {
        match mark {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(leading_name(list[at + 1..].trim_start())),
            _ => {}
        }
    }
    names
}

fn leading_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
}

/// Every source file: its path below `src` and its text.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the sources are here") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                let below = path.strip_prefix(&root).expect("found below the root");
                files.push((below.to_owned(), text));
            }
        }
    }
    files.sort();
    files
}
