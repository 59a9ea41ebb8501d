//! What a run leaves, in the programs of others: the report in a real browser without a screen, the
//! log of times in `HdrHistogram` for Python.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::lab::{SCENARIO, resetstorm, run, turn};

/// What Chromium says about a page, and what it has on standard output.
fn browse(page: &str, words: &[&str]) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(words)
        .arg(page)
        .stdin(Stdio::null())
        .output()
        .expect("chromium is installed by .ci/run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stderr), text(&output.stdout))
}

/// Opens a page, light and dark, prints it and takes its picture; gives the marks of each plot as
/// they are laid out.
fn looked_at(report: &Path) -> Vec<u32> {
    // A page that measures the drawings; the report itself has no script.
    let probe = report.with_file_name("probe.html");
    let measure = "<script>document.title = [...document.querySelectorAll('svg.plot')].map(svg => \
                   [...svg.querySelectorAll('polyline,path,rect,polygon,line')].filter(mark => { \
                   const box = mark.getBoundingClientRect(); return box.width + box.height > 0; \
                   }).length).join(' ');</script></body>";
    let text = fs::read_to_string(report).unwrap();
    fs::write(&probe, text.replace("</body>", measure)).unwrap();
    let schemes = [0, 1].map(|scheme| {
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        let (said, dom) = browse(&format!("file://{}", probe.display()), &["--dump-dom", &scheme]);
        assert!(!said.contains("CONSOLE"), "{said}");
        let title = dom.split("<title>").nth(1).unwrap().split("</title>").next().unwrap();
        title.split(' ').map(|count| count.parse::<u32>().unwrap()).collect::<Vec<u32>>()
    });
    assert_eq!(schemes[0], schemes[1]);
    let page = format!("file://{}", report.display());
    let pdf = report.with_file_name("report.pdf");
    let (said, _) = browse(&page, &[&format!("--print-to-pdf={}", pdf.display())]);
    assert!(!said.contains("CONSOLE"), "{said}");
    let printed = fs::read(&pdf).unwrap();
    assert!(printed.starts_with(b"%PDF-") && printed.len() > 20_000, "{} bytes", printed.len());
    let png = report.with_file_name("report.png");
    browse(&page, &[&format!("--screenshot={}", png.display()), "--window-size=1000,3000"]);
    assert!(fs::metadata(&png).unwrap().len() > 20_000);
    let [marks, _] = schemes;
    marks
}

#[test]
#[ignore = "needs chromium"]
fn chromium_shows_the_report_without_a_complaint_prints_it_and_every_plot_has_marks() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let status = resetstorm()
        .args(["sim", SCENARIO, "--phones", "500", "--sensitivity=never", "--out"])
        .arg(out.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let run = fs::canonicalize(out.path().join("latest")).unwrap();
    let marks = looked_at(&run.join("report.html"));
    assert!(marks.len() >= 8 && marks.iter().all(|&count| count > 4), "{marks:?}");
}

#[test]
#[ignore = "needs chromium"]
fn chromium_shows_the_heat_maps_of_a_comparison_with_every_cell() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let page = out.path().join("grid.html");
    let status = resetstorm()
        .args(["whatif", SCENARIO, "--phones", "60", "--vary", "cluster.cost.cores=1,2,4"])
        .args(["--vary", "cluster.sign-cache=off,lazy,prewarm", "--report"])
        .arg(&page)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let marks = looked_at(&page);
    // Nine cells, each an area and its frame.
    assert!(marks.len() >= 3 && marks.iter().all(|&count| count == 18), "{marks:?}");
}

#[test]
#[ignore = "needs the Python package hdrhistogram"]
fn hdrhistogram_for_python_reads_the_times_of_the_summary_in_the_log() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    run(resetstorm()
        .args(["sim", SCENARIO, "--phones", "1200", "--sensitivity=never", "--out"])
        .arg(out.path()));
    let path = out.path().join("latest");
    let text = fs::read_to_string(path.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/read_hlog.py");
    let told = run(Command::new("python3").arg(script).arg(path.join("latency.hlog"))).stdout;
    let told: Value = serde_json::from_slice(&told).unwrap();
    let mut compared = 0;
    for step in summary["steps"].as_array().unwrap() {
        for kind in ["response", "service"] {
            let tag = format!("{}.{kind}", step["step"].as_str().unwrap());
            let (ours, theirs) = (&step[format!("{kind}_time_s")], &told[&tag]);
            assert_eq!(theirs.is_null(), ours["p50"].is_null(), "{tag}: {theirs}");
            if theirs.is_null() {
                continue;
            }
            assert!(theirs["count"].as_u64() > Some(0), "{tag}");
            if tag == "boot.response" {
                assert_eq!(theirs["count"], step["count"], "{tag}");
            }
            for percentile in ["p50", "p90", "p99", "max"] {
                // A percentile without enough times is not shown.
                let Some(ours) = ours[percentile].as_f64() else { continue };
                let theirs = theirs[percentile].as_f64().unwrap() / 1e6;
                assert!((ours - theirs).abs() < 1e-9, "{tag} {percentile}: {ours}, {theirs}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 30, "{compared} figures: {told}");
}
