//! The house stays as `ARCHITECTURE.md` draws it: imports go down only, and clocks, sockets and
//! some crates live where they belong. Reads the sources; tests inside them are not judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of `src` from the ground up; folders of one row never import each other.
const FLOORS: [&[&str]; 14] = [
    &["base"],
    &["wire"],
    &["crypto"],
    &["transfer"],
    &["cluster", "listing", "phone"],
    &["console"],
    &["scenario"],
    &["measure"],
    &["play"],
    &["forecast", "net", "vault"],
    &["serve", "sim", "swarm"],
    &["advice", "report", "toolbox"],
    &["calibrate", "capacity", "live"],
    &["cli"],
];

/// Folders that a floor never imports although they lie below it.
const STRANGERS: [(&str, &str); 1] = [("sim", "net")];

/// What may stand only in some folders (`folder` or `folder/file.rs`), and why.
const PLACES: [(&[&str], &[&str], &str); 7] = [
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
        &["net", "vault", "serve", "live", "toolbox", "report", "cli"],
        "files belong to the floors above the simulation",
    ),
    (&["clap::", "clap("], &["cli"], "the command line is one floor"),
    (&["rusqlite::"], &["vault"], "one folder speaks SQL"),
    (&["use prometheus::", " prometheus::"], &["measure/prometheus.rs"], "one file speaks it"),
];

#[test]
fn imports_go_down_and_everything_is_in_its_place() {
    let faults: Vec<String> =
        sources().iter().flat_map(|(path, text)| faults(path, text)).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn files_of_a_folder_form_no_circle() {
    assert_eq!(circles(&sources()), []);
}

#[test]
fn a_planted_circle_is_found_even_through_the_folders_own_names() {
    let file = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
    let planted = [
        file("a/mod.rs", "mod one;\nmod two;\npub use two::{Two, other};"),
        file("a/one.rs", "use super::{\n    Two, rest,\n};\nstruct One;"),
        file("a/two.rs", "use super::one::One;\n"),
        file("a/three.rs", "use super::one::One;\nuse super::super::two::Two;"),
        file("b/mod.rs", "mod one;\nmod two;"),
        file("b/one.rs", "fn one() { crate::b::two::two(); }"),
        file("b/two.rs", "// use super::one::One;\n#[cfg(test)]\nmod tests { use super::one; }"),
    ];
    let found = vec![("a".to_owned(), vec!["one".to_owned(), "two".to_owned()])];
    assert_eq!(circles(&planted), found);
}

#[test]
fn the_floors_are_drawn_as_they_are_enforced() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("it is here");
    let drawing = text.split("```").nth(1).expect("the floors are drawn");
    let line = |name: &str| {
        let drawn = drawing.lines().position(|line| {
            line.split_whitespace().any(|word| word.strip_suffix('/') == Some(name))
        });
        drawn.unwrap_or_else(|| panic!("{name}/ is not drawn"))
    };
    for (lower, upper) in FLOORS.iter().zip(&FLOORS[1..]) {
        for (below, above) in lower.iter().flat_map(|b| upper.iter().map(move |a| (b, a))) {
            assert!(line(above) < line(below), "{above}/ is drawn below {below}/");
        }
    }
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
        ("cluster/x.rs", "use rusqlite::Connection;", "rusqlite::"),
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

/// Groups of files that reach each other by what they import within their folder.
fn circles(sources: &[(PathBuf, String)]) -> Vec<(String, Vec<String>)> {
    let mut folders: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (path, text) in sources {
        let parent = path.parent().map(|parent| parent.display().to_string()).unwrap_or_default();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        folders.entry(parent).or_default().insert(stem.unwrap_or_default(), code(text));
    }
    folders.retain(|_, files| files.contains_key("mod"));
    let mut found = Vec::new();
    for (folder, files) in &folders {
        let edges = edges(folder, files);
        let mut seen = BTreeSet::new();
        for file in files.keys() {
            let mut group: Vec<String> = reached(&edges, file)
                .into_iter()
                .filter(|other| reached(&edges, other).contains(file))
                .collect();
            group.sort();
            if group.len() > 1 && seen.insert(group.clone()) {
                found.push((folder.clone(), group));
            }
        }
    }
    found
}

/// Which file of a folder imports which; a name that the folder gives out is that of its file.
fn edges(folder: &str, files: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    let own = folder.rsplit('/').next().unwrap_or(folder);
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for part in files["mod"].split(" use ").skip(1) {
        let Some((file, names)) = part.split_once("::") else { continue };
        for name in names_behind(names) {
            owners.insert(name, file.to_owned());
        }
    }
    let wants = |(file, code): (&String, &String)| {
        let near = code.replace("super::super::", "far::");
        let behind = [format!("crate::{own}::"), "super::".to_owned()];
        let names = behind.iter().flat_map(|start| near.split(start.as_str()).skip(1));
        let files = names.flat_map(names_behind).filter_map(|name| {
            if files.contains_key(&name) { Some(name) } else { owners.get(&name).cloned() }
        });
        (file.clone(), files.filter(|other| other != file && other != "mod").collect())
    };
    files.iter().filter(|(file, _)| *file != "mod").map(wants).collect()
}

/// The first names of a path or of each path of a list in braces.
fn names_behind(text: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(list) = text.strip_prefix('{') else { return vec![name(text)] };
    let (mut names, mut depth) = (vec![name(list)], 0);
    for (at, mark) in list.char_indices() {
        match mark {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&list[at + 1..])),
            _ => {}
        }
    }
    names
}

/// Every file that `from` reaches over one import or more, and `from` itself.
fn reached(edges: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let (mut all, mut next) = (BTreeSet::from([from.to_owned()]), vec![from.to_owned()]);
    while let Some(file) = next.pop() {
        for other in edges.get(&file).into_iter().flatten() {
            if all.insert(other.clone()) {
                next.push(other.clone());
            }
        }
    }
    all
}

/// The folders that `code` names behind `crate::`, lists in braces included.
fn imports(code: &str) -> Vec<String> {
    let lower = |name: &String| name.starts_with(|c: char| c.is_ascii_lowercase());
    code.split("crate::").skip(1).flat_map(names_behind).filter(lower).collect()
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
