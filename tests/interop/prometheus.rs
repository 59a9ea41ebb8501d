//! A real Prometheus scrapes live runs and a measurement of capacity: the exposition is clean, every
//! query of their boards finds data while they last and ten minutes after, and the totals are those of
//! the summary.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::lab::{
    Lab, PATIENCE, Running, SCENARIO, free_port, line_with, resetstorm, run, summary, text, turn,
};

const PHONES: u64 = 300;

/// Somebody presses buttons, too, so that panels of services have data.
const PRESSES: &str = "fleet.use=[{ kind = 'directory', rate = '60/m', from = '0s', for = '3s' }]";

/// Something beside phones is tried, so that panels of probes have data.
const PROBE: &str = "probe=[{ kind = 'sip-trunk', node = 'pub' }]";

/// Of all that is served, web pages too.
const PORTS: &str = "cluster.node.pub.ports={ tftp = 0, tvs = 0, capf = 0, http = 0, https = 0, \
    sip = 0, sips = 0, tomcat = 0, tomcat-http = 0 }";

/// Phones register, so that panels of registration have data.
const REGISTRATION: &str = "registration={ rate-per-node = 0.0 }";

/// What Prometheus knows, and where `summary.json` has it; parts of a sum are separated by `+`.
const TOTALS: [(&str, &str); 21] = [
    (r#"resetstorm_phones{state="ready"}"#, "phones.ready"),
    (r#"resetstorm_phones{state="stuck"}"#, "phones.stuck"),
    ("resetstorm_boots_total", "phones.total"),
    ("resetstorm_tftp_requests_total", "tftp.requests"),
    ("resetstorm_tftp_transfers_total", "tftp.transfers"),
    ("resetstorm_tftp_received_bytes_total", "tftp.bytes"),
    ("resetstorm_tftp_not_found_total", "tftp.not_found"),
    ("resetstorm_tftp_errors_total", "tftp.errors"),
    ("resetstorm_tvs_lookups_total", "tvs.lookups"),
    ("resetstorm_tvs_failed_total", "tvs.failed"),
    ("resetstorm_signatures_verified_total", "signatures.verified"),
    ("resetstorm_signatures_made_total", "signatures.made+signatures.made_before"),
    (
        r#"resetstorm_files_judged_total{kind="itl",verdict="accepted_by_tvs"}"#,
        "trust.lists.accepted_by_tvs",
    ),
    (
        r#"resetstorm_files_judged_total{kind="config",verdict="accepted_by_itl"}"#,
        "trust.configs.accepted_by_itl",
    ),
    (r#"resetstorm_operations_total{step="boot",outcome="ok"}"#, "phones.ready"),
    (r#"resetstorm_operation_duration_seconds_count{step="boot",kind="response"}"#, "phones.ready"),
    (r#"resetstorm_server_requests_total{service="tftp"}"#, "serve.tftp_requests"),
    (r#"resetstorm_server_requests_total{service="tvs"}"#, "serve.tvs_answers"),
    (r#"resetstorm_tls_handshakes_total{service="tvs",outcome="ok"}"#, "serve.tvs_handshakes_ok"),
    (r#"resetstorm_node_registered_phones{node="pub"}"#, "phones.registered"),
    (
        r#"resetstorm_node_registrations_total{node="pub",result="accepted"}"#,
        "registration.accepted",
    ),
];

/// A TCP address of this host that stays free until somebody is told to take it.
fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// The body of `GET path`, if somebody answers with 200.
fn get(server: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = server.to_string();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).is_some_and(|status| status == "200").then(|| body.to_owned())
}

/// Waits for a condition.
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(20));
    }
}

/// Prometheus, scraping one address twice a second.
struct Prometheus {
    address: SocketAddr,
    _server: Running,
}

impl Prometheus {
    fn start(folder: &Path, scraped: SocketAddr) -> Prometheus {
        let (config, address) = (folder.join("prometheus.yml"), free_address());
        let text = format!(
            "global:\n  scrape_interval: 500ms\nscrape_configs:\n  - job_name: resetstorm\n    \
             static_configs:\n      - targets: [\"{scraped}\"]\n"
        );
        fs::write(&config, text).unwrap();
        let mut server = Command::new("prometheus");
        server.arg(format!("--config.file={}", config.display()));
        server.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
        server.arg(format!("--web.listen-address={address}"));
        let mut server = Running::start(&mut server);
        // Its log is drained, so that it never waits for us.
        drop(server.stderr());
        until("Prometheus is ready", || get(address, "/-/ready").is_some());
        let prometheus = Prometheus { address, _server: server };
        // It takes up its targets some seconds later.
        until("the target is tried", || !prometheus.query("up", None).is_empty());
        prometheus
    }

    /// The result of a query: instant, or over `range` seconds up to now.
    fn query(&self, expression: &str, range: Option<u64>) -> Vec<Value> {
        self.query_until(expression, range, 0)
    }

    /// The same with a range that ends in `later` seconds.
    fn query_until(&self, expression: &str, range: Option<u64>, later: u64) -> Vec<Value> {
        let encode = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        };
        let query: String = expression.bytes().map(encode).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let path = match range {
            None => format!("/api/v1/query?query={query}"),
            Some(back) => {
                let (start, end) = (now - back, now + later);
                format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=1")
            }
        };
        let body = get(self.address, &path).unwrap_or_else(|| panic!("refused: {expression}"));
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["status"], "success", "{expression}: {body}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// The sum over all series.
    fn total(&self, selector: &str) -> Option<u64> {
        let result = self.query(&format!("sum({selector})"), None);
        let value: f64 = result.first()?["value"][1].as_str()?.parse().ok()?;
        Some(value as u64)
    }
}

fn check_metrics(exposition: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Every query of a board, with its variables filled in, and whether it is instant.
fn queries(board: &str) -> Vec<(String, bool)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana").join(board);
    let board: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let targets = list(&board["panels"]).into_iter().flat_map(|panel| list(&panel["targets"]));
    let holders = targets.chain(list(&board["annotations"]["list"]));
    let filled = |text: &str| {
        text.replace("$job", ".+").replace("$instance", ".+").replace("$__rate_interval", "2s")
    };
    holders
        .map(|holder| (filled(holder["expr"].as_str().unwrap()), holder["instant"] == true))
        .collect()
}

/// Asks every query of a board about the last seconds; how many there are.
fn has_data(prometheus: &Prometheus, board: &str, range: u64) -> usize {
    has_data_until(prometheus, board, range, 0)
}

/// The program has gone: what the board shows ten minutes after, when nothing has come since.
fn stays(prometheus: &Prometheus, board: &str, begun: Instant) {
    until("its end is noticed", || prometheus.total("up") == Some(0));
    has_data_until(prometheus, board, begun.elapsed().as_secs() + 1, 600);
}

fn has_data_until(prometheus: &Prometheus, board: &str, range: u64, later: u64) -> usize {
    let queries = queries(board);
    for (query, instant) in &queries {
        // Some panels leave out what is zero: without that there are series.
        let query = query.strip_suffix(" > 0").unwrap_or(query);
        let result = prometheus.query_until(query, (!instant).then_some(range), later);
        assert!(!result.is_empty(), "no data in {range} s, {later} s later: {query}");
    }
    queries.len()
}

#[test]
#[ignore = "needs prometheus and promtool"]
fn prometheus_scrapes_a_run_and_every_query_of_the_board_has_data() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let metrics = free_address();
    let prometheus = Prometheus::start(folder.path(), metrics);
    let begun = Instant::now();
    let mut run = Running::start(
        resetstorm()
            .args(["run", SCENARIO, "--phones", &PHONES.to_string(), "--progress", "lines"])
            .args(["--set", PORTS, "--set", "event.reset-1.reset-phones.spread=5s"])
            .args(["--set", PRESSES, "--set", PROBE, "--set", REGISTRATION, "--set", "slo=[]"])
            .args(["--metrics-listen", &metrics.to_string(), "--metrics-linger", "1m", "--out"])
            .arg(folder.path()),
    );
    line_with(&run.stderr(), "reset phones");
    let ready = r#"resetstorm_phones{state="ready"}"#;
    until("all phones are ready", || prometheus.total(ready) == Some(PHONES));
    let registered = r#"resetstorm_phones_registered{state="registered"}"#;
    until("all phones are registered", || prometheus.total(registered) == Some(PHONES));

    check_metrics(&get(metrics, "/metrics").unwrap());
    let range = begun.elapsed().as_secs() + 1;
    let queries = has_data(&prometheus, "storm.json", range);
    assert!(queries > 30);
    let totals = TOTALS.map(|(selector, _)| prometheus.total(selector));

    // A signal ends the wait for Prometheus and not the run, which is over.
    run.signal("INT");
    assert!(run.ended().success());
    agree(folder.path(), TOTALS.iter().zip(totals));
    stays(&prometheus, "storm.json", begun);
    println!("{queries} queries, {} totals, {range} s of scrapes", TOTALS.len());
}

/// What Prometheus knew of a run is what its summary says.
fn agree<'a>(
    folder: &Path,
    totals: impl Iterator<Item = (&'a (&'static str, &'static str), Option<u64>)>,
) {
    let summary = summary(folder);
    let number = |path: &str| {
        let found = path.split('.').fold(&summary, |value, key| &value[key]);
        found.as_u64().unwrap_or_else(|| panic!("{path} in {summary:#}"))
    };
    for ((selector, paths), total) in totals {
        let expected: u64 = paths.split('+').map(number).sum();
        assert_eq!(total, Some(expected), "{selector} is {paths}");
    }
}

/// Phones of a rollout, so many that it lasts for longer than a forecast needs.
const ENROLLED: u64 = 200;

/// A rollout with sites and groups, more phones than CAPF has places for.
const ROLLOUT: [&str; 6] = [
    "cluster.capf.sessions=20",
    "cluster.group=[{ name = 'hq', members = ['pub'], share = 0.3 }, \
        { name = 'branches', members = ['pub'], share = 0.7 }]",
    "fleet.site=[{ name = 'berlin', share = 0.6 }, { name = 'graz', share = 0.4 }]",
    "phone.key-generation='2s'",
    "event.lsc-1.roll-out-lsc.every='1s'",
    "slo=[]",
];

/// Of a rollout, what Prometheus knows and where `summary.json` has it.
const ROLLOUT_TOTALS: [(&str, &str); 9] = [
    (r#"resetstorm_lsc_phones{state="done"}"#, "capf.done"),
    (r#"resetstorm_lsc_site_phones{state="done"}"#, "capf.done"),
    (r#"resetstorm_lsc_group_phones{state="done"}"#, "capf.done"),
    (r#"resetstorm_lsc_group_phones{state="pending"}"#, "capf.pending"),
    (r#"resetstorm_lsc_enrolments_total{result="installed"}"#, "lsc.installed"),
    ("resetstorm_lsc_postponed_total", "capf.postponed"),
    ("resetstorm_capf_certificates_issued_total", "capf.issued"),
    ("resetstorm_capf_sessions_opened_total", "capf.sessions"),
    ("resetstorm_capf_waiting_phones", "capf.waiting"),
];

#[test]
#[ignore = "needs prometheus and promtool"]
fn prometheus_scrapes_a_rollout_of_lscs_and_every_query_of_its_board_has_data() {
    let _turn = turn();
    let (folder, metrics) = (tempfile::tempdir().unwrap(), free_address());
    let prometheus = Prometheus::start(folder.path(), metrics);
    let begun = Instant::now();
    let mut run = resetstorm();
    run.args(["run", "scenarios/lsc-rollout.toml", "--phones", &ENROLLED.to_string()]);
    run.args(["--progress", "lines", "--set", PORTS]);
    for set in ROLLOUT {
        run.args(["--set", set]);
    }
    run.args(["--metrics-listen", &metrics.to_string(), "--metrics-linger", "1m", "--out"]);
    let mut run = Running::start(run.arg(folder.path()));
    line_with(&run.stderr(), "install LSCs");
    until("there is a forecast", || {
        prometheus.total(r#"resetstorm_lsc_forecast_seconds{bound="likely"}"#).is_some()
    });
    let range = || begun.elapsed().as_secs() + 1;
    until("the forecast is in a range", || {
        !prometheus.query("resetstorm_lsc_forecast_seconds", Some(range())).is_empty()
    });
    let pending = prometheus.total(r#"resetstorm_lsc_phones{state="pending"}"#).unwrap();
    assert!((1..ENROLLED).contains(&pending), "it is under way: {pending}");
    check_metrics(&get(metrics, "/metrics").unwrap());
    let queries = has_data(&prometheus, "lsc-rollout.json", range());
    assert!(queries > 25, "{queries}");
    let waiting = prometheus.query("resetstorm_capf_waiting_phones > 0", Some(range()));
    assert!(!waiting.is_empty(), "somebody had to come again");

    let done = || prometheus.total(r#"resetstorm_lsc_phones{state="done"}"#);
    for share in [ENROLLED / 2, ENROLLED * 3 / 4, ENROLLED] {
        until("so many phones are done", || done() >= Some(share));
    }
    let resets = || prometheus.total("resetstorm_lsc_resets_total");
    until("all phones have reset themselves", || resets() == Some(ENROLLED));
    let totals = ROLLOUT_TOTALS.map(|(selector, _)| prometheus.total(selector));
    run.signal("INT");
    assert!(run.ended().success());
    agree(folder.path(), ROLLOUT_TOTALS.iter().zip(totals));
    stays(&prometheus, "lsc-rollout.json", begun);
    println!("{queries} queries, {} totals, {} s of scrapes", ROLLOUT_TOTALS.len(), range());
}

#[test]
#[ignore = "needs prometheus and promtool"]
fn prometheus_scrapes_a_measurement_of_capacity_and_every_query_of_its_board_has_data() {
    let _turn = turn();
    let (folder, lab, metrics) = (tempfile::tempdir().unwrap(), Lab::start(1), free_address());
    let names = lab.scratch("names");
    fs::write(&names, "ITLFile.tlv\n").unwrap();
    let prometheus = Prometheus::start(folder.path(), metrics);
    let measure = || {
        let mut measured = Running::start(
            resetstorm()
                .args(["capacity", "--tftp", &lab.tftp.to_string(), "--rate", "50", "--hold", "8s"])
                .args(["--progress", "lines", "--metrics-listen", &metrics.to_string()])
                .args(["--metrics-linger", "1m", "--names"])
                .arg(&names)
                .arg("--out")
                .arg(folder.path()),
        );
        drop(measured.stderr());
        measured
    };
    let level = |verdict: &str| {
        let query = format!("resetstorm_capacity_levels{{verdict=~\"{verdict}\"}}");
        prometheus.total(&query)
    };
    // On a busy machine a level may say nothing of the server, and there is no bracket then.
    let mut begun = Instant::now();
    let mut measured = measure();
    for _ in 0..4 {
        until("the level is over", || level(".+") == Some(1));
        if level("carried") == Some(1) {
            break;
        }
        measured.signal("INT");
        measured.ended();
        until("it is gone", || level(".+") != Some(1));
        (begun, measured) = (Instant::now(), measure());
    }
    check_metrics(&get(metrics, "/metrics").unwrap());
    // What there is from the end of the level on may have been scraped behind the last step of a
    // range.
    let range = || begun.elapsed().as_secs() + 1;
    until("the bracket is in a range", || {
        !prometheus.query("resetstorm_capacity_bracket", Some(range())).is_empty()
    });
    let range = range();
    let queries = has_data(&prometheus, "capacity.json", range);
    assert!(queries > 10);
    let ok = prometheus.total(r#"resetstorm_capacity_starts_total{outcome="ok"}"#);
    measured.signal("INT");
    assert!(measured.ended().success());
    let planned = &summary(folder.path())["capacity"]["steps"][0]["ok"];
    assert!(ok >= planned.as_u64(), "{ok:?} with those of the warm-up, {planned}");
    stays(&prometheus, "capacity.json", begun);
    println!("{queries} queries, {range} s of scrapes");
}

#[test]
#[ignore = "needs promtool"]
fn promtool_takes_the_samples_of_a_run_in_virtual_time() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let mut sim = resetstorm();
    run(sim.args(["sim", SCENARIO, "--phones", "200", "--openmetrics", "--out"]).arg(&out));
    let (samples, blocks) = (out.join("latest/metrics.prom"), folder.path().join("blocks"));
    let mut promtool = Command::new("promtool");
    promtool.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&samples).arg(&blocks);
    let said = text(&mut promtool);
    assert!(said.contains("NUM SAMPLES"), "{said}");
    assert_eq!(fs::read_dir(&blocks).unwrap().count(), 1, "one block of virtual time");
    let last = r#"resetstorm_phones{state="ready"} 200 "#;
    assert!(fs::read_to_string(&samples).unwrap().contains(last), "the end of the run is in it");
}

#[test]
#[ignore = "needs promtool"]
fn promtool_holds_the_alerts_to_their_tests() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/grafana");
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(folder).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}
