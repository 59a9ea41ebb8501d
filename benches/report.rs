//! How long does it take to write the report of 40,000 phones? Bounds: 2 s and 1 MB.
//!
//! Reading the files of the run is a part of it, as it is for `resetstorm report RUN`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use criterion::{Criterion, criterion_group, criterion_main};
use resetstorm::report::{RunFiles, report_html, report_md};

/// Phones of the run; a small one where `cargo test` plays the body once.
fn phones() -> u32 {
    if std::env::args().any(|word| word == "--bench") { 40_000 } else { 400 }
}

/// A run of a whole cluster in virtual time.
fn run(out: &Path, phones: u32) -> PathBuf {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/whole-cluster.toml");
    let status = Command::new(env!("CARGO_BIN_EXE_resetstorm"))
        .arg("sim")
        .arg(scenario)
        .args(["--phones", &phones.to_string(), "--sensitivity=never", "--quiet", "--out"])
        .arg(out)
        .stdout(Stdio::null())
        .status()
        .expect("the program starts");
    assert!(status.code().is_some_and(|code| code <= 1), "{status}");
    out.join("latest")
}

fn report(criterion: &mut Criterion) {
    let (folder, phones) = (tempfile::tempdir().expect("there is room"), phones());
    let path = run(folder.path(), phones);
    let written = || {
        let files = RunFiles::read(&path).expect("the run has left its files");
        let page = report_html(&files);
        assert!(page.len() < 1_000_000, "{} bytes", page.len());
        std::fs::write(folder.path().join("report.html"), page).expect("there is room");
        std::fs::write(folder.path().join("report.md"), report_md(&files)).expect("there is room");
    };
    let mut group = criterion.benchmark_group("report");
    group.sample_size(10);
    group.bench_function(format!("of {phones} phones"), |bencher| bencher.iter(written));
    group.finish();
}

criterion_group!(benches, report);
criterion_main!(benches);
