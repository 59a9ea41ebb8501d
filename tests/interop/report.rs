//! The report in a real browser without a screen.

use std::fs;
use std::process::{Command, Stdio};

use crate::lab::{SCENARIO, resetstorm, turn};

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
    let report = fs::canonicalize(out.path().join("latest")).unwrap().join("report.html");
    let page = format!("file://{}", report.display());
    // A page that measures the drawings as they are laid out; the report itself has no script.
    let probe = report.with_file_name("probe.html");
    let measure = "<script>document.title = [...document.querySelectorAll('svg.plot')].map(svg => \
                   [...svg.querySelectorAll('polyline,path,rect,polygon,line')].filter(mark => { \
                   const box = mark.getBoundingClientRect(); return box.width + box.height > 0; \
                   }).length).join(' ');</script></body>";
    let text = fs::read_to_string(&report).unwrap();
    fs::write(&probe, text.replace("</body>", measure)).unwrap();
    for scheme in
        ["--blink-settings=preferredColorScheme=0", "--blink-settings=preferredColorScheme=1"]
    {
        let (said, dom) = browse(&format!("file://{}", probe.display()), &["--dump-dom", scheme]);
        assert!(!said.contains("CONSOLE"), "{said}");
        let title = dom.split("<title>").nth(1).unwrap().split("</title>").next().unwrap();
        let marks: Vec<u32> = title.split(' ').map(|count| count.parse().unwrap()).collect();
        assert!(marks.len() >= 8 && marks.iter().all(|&count| count > 4), "{marks:?}");
    }
    let pdf = report.with_file_name("report.pdf");
    let (said, _) = browse(&page, &[&format!("--print-to-pdf={}", pdf.display())]);
    assert!(!said.contains("CONSOLE"), "{said}");
    let printed = fs::read(&pdf).unwrap();
    assert!(printed.starts_with(b"%PDF-") && printed.len() > 20_000, "{} bytes", printed.len());
    let png = report.with_file_name("report.png");
    browse(&page, &[&format!("--screenshot={}", png.display()), "--window-size=1000,3000"]);
    assert!(fs::metadata(&png).unwrap().len() > 20_000);
}
