//! `REQUIREMENTS.md` stays true: every ID once, every test that it names is there, and what it
//! counts at the top is what stands below.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Chapters and how many rows each has.
const CHAPTERS: [(&str, usize); 20] = [
    ("X", 26),
    ("CERT", 33),
    ("ITL", 24),
    ("CTL", 19),
    ("TFTP", 17),
    ("BOOT", 21),
    ("TVS", 21),
    ("HTTPS", 8),
    ("CAPF", 34),
    ("REG", 22),
    ("SAFE", 16),
    ("HOST", 8),
    ("BKP", 7),
    ("MOVE", 17),
    ("CTFTP", 8),
    ("EXP", 8),
    ("CLI", 16),
    ("TOOL", 11),
    ("DEF", 12),
    ("S", 23),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// ID and what holds it, in the order of the file.
fn rows(text: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        let id = cells.next()?.split(' ').next()?.to_owned();
        let (chapter, number) = id.rsplit_once('-')?;
        let is_id = chapter.chars().all(|c| c.is_ascii_uppercase())
            && number.chars().all(|c| c.is_ascii_digit());
        is_id.then(|| (id, cells.last().unwrap_or_default().to_owned()))
    };
    text.lines().filter_map(row).collect()
}

/// `file.rs::name` of every test of the project.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join("src"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.extend(tests_of(&path));
            }
        }
    }
    found
}

fn tests_of(path: &PathBuf) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let file = path.strip_prefix(root()).unwrap().display().to_string();
    let mut marked = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let (true, Some(rest)) = (marked, line.split("fn ").nth(1)) {
            let name: String =
                rest.chars().take_while(|&c| c.is_alphanumeric() || c == '_').collect();
            names.push(format!("{file}::{name}"));
            marked = false;
        }
    }
    names
}

#[test]
fn every_requirement_is_listed_once_and_its_tests_exist() {
    let text = fs::read_to_string(root().join("REQUIREMENTS.md")).unwrap();
    let (rows, tests) = (rows(&text), tests());
    let mut of_chapter = BTreeMap::<String, usize>::new();
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    for (id, held) in &rows {
        if !seen.insert(id) {
            faults.push(format!("{id}: listed twice"));
        }
        *of_chapter.entry(id.rsplit_once('-').unwrap().0.into()).or_default() += 1;
        let named: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        if named.is_empty() && held != "not yet" {
            faults.push(format!("{id}: neither a test nor \"not yet\": {held}"));
        }
        for test in named.iter().filter(|&&test| !tests.contains(test)) {
            faults.push(format!("{id}: there is no test {test}"));
        }
    }
    for (chapter, wanted) in &CHAPTERS {
        let found = of_chapter.get(*chapter).copied().unwrap_or(0);
        if found != *wanted {
            faults.push(format!("{chapter}: {found} rows instead of {wanted}"));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_counts_at_the_top_are_those_of_the_rows() {
    let text = fs::read_to_string(root().join("REQUIREMENTS.md")).unwrap();
    let rows = rows(&text);
    let with = |word: fn(&str) -> bool| rows.iter().filter(|(_, held)| word(held)).count();
    let (held, partly, not_yet) = (
        with(|held| held.starts_with('`')),
        with(|held| held.starts_with("partly: ")),
        with(|held| held == "not yet"),
    );
    let line = format!(
        "{held} of {} rows are held by tests, {partly} partly, {not_yet} not yet.",
        rows.len()
    );
    assert!(text.contains(&line), "REQUIREMENTS.md should say: {line}");
}

#[test]
fn every_file_of_tests_is_a_module_of_a_program() {
    for program in ["suite", "large"] {
        let folder = root().join("tests").join(program);
        let main = fs::read_to_string(folder.join("main.rs")).unwrap();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let named = name == "main" || main.contains(&format!("\nmod {name};\n"));
            assert!(named, "tests/{program}/main.rs lacks `mod {name};`");
        }
    }
}
