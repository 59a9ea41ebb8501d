use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder, TextEncoder};

use crate::phone::{AcceptPath, FileKind, TvsFault};
use crate::wire::tvs::Command;

use super::incident::StepKind;
use super::ledger::{Counts, HttpSums, Ledger};
use super::summary::{CpuSeconds, ServeSummary};
use super::verdict::Mode;
use crate::cluster::SignCounts;

/// What labels a run in `resetstorm_run_info`, and what only the driver knows.
#[derive(Clone, Debug, Default)]
pub struct RunInfo {
    /// Name of the scenario.
    pub scenario: String,
    /// `live` or `sim`.
    pub mode: Mode,
    /// Seed of the run.
    pub seed: u64,
    /// What the sign cache has done.
    pub signatures: SignCounts,
    /// What the servers have counted.
    pub serve: ServeSummary,
    /// CPU time by side.
    pub cpu_s: CpuSeconds,
    /// Steps of the operator that were carried out.
    pub steps: Vec<StepMark>,
}

/// A step of the operator that was carried out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepMark {
    /// Its place in the scenario, from 1.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// When: Unix seconds in a live run, seconds of the run in virtual time.
    pub at_s: f64,
}

/// The state of a run in the Prometheus text format, filled from one merged ledger.
///
/// Every label combination is there from the start with 0, so that `rate()` works.
pub fn encode(ledger: &Ledger, info: &RunInfo) -> String {
    let mut families = vec![
        family(
            "build_info",
            "Version of resetstorm.",
            MetricType::GAUGE,
            vec![gauge(1.0, &[("version", env!("CARGO_PKG_VERSION"))])],
        ),
        family(
            "run_info",
            "The run that these numbers belong to.",
            MetricType::GAUGE,
            vec![gauge(
                1.0,
                &[
                    ("scenario", &info.scenario),
                    ("mode", info.mode.name()),
                    ("seed", &info.seed.to_string()),
                ],
            )],
        ),
    ];
    families.push(operator_family(info));
    families.extend(phone_families(ledger));
    families.extend(tvs_families(ledger));
    families.extend(step_families(ledger));
    families.extend(server_families(info));
    // The encoder refuses a family without a metric, such as CPU time that cannot be told apart.
    families.retain(|family| !family.get_metric().is_empty());
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text).expect("encoding to memory cannot fail");
    String::from_utf8(text).expect("the text format is UTF-8")
}

/// Steps of the operator that have a label of their own at most (choice): labels are few.
const STEPS_MAX: usize = 100;

/// The metric that says when the operator did what.
pub const OPERATOR_STEPS: &str = "resetstorm_operator_step_timestamp_seconds";

fn operator_family(info: &RunInfo) -> MetricFamily {
    let mark = |mark: &StepMark| {
        gauge(mark.at_s, &[("step", &mark.number.to_string()), ("name", &mark.name)])
    };
    family(
        OPERATOR_STEPS.trim_start_matches("resetstorm_"),
        "When a step of the operator was carried out, by its number and name.",
        MetricType::GAUGE,
        info.steps.iter().take(STEPS_MAX).map(mark).collect(),
    )
}

fn phone_families(ledger: &Ledger) -> Vec<MetricFamily> {
    let tallies = ledger.tallies();
    let states = [
        ("booting", tallies.booting),
        ("failed", tallies.failed),
        ("not-reset", tallies.not_reset),
        ("ready", tallies.ready),
        ("stuck", tallies.stuck),
    ];
    let alarms = [("config", tallies.config_alarms), ("list", tallies.list_alarms)];
    vec![
        family(
            "phones",
            "Phones by state; ready means list and config in force.",
            MetricType::GAUGE,
            states.iter().map(|&(state, count)| gauge(count as f64, &[("state", state)])).collect(),
        ),
        family(
            "phone_alarms",
            "Phones that refused a list or a config since the storm began.",
            MetricType::GAUGE,
            alarms.iter().map(|&(kind, count)| gauge(count as f64, &[("kind", kind)])).collect(),
        ),
        family(
            "boots_total",
            "Boots that began since the storm's first reset.",
            MetricType::COUNTER,
            vec![counter(ledger.counts().boots as f64, &[])],
        ),
        family(
            "files_judged_total",
            "Files judged by phones, by kind and verdict.",
            MetricType::COUNTER,
            judged(ledger),
        ),
        family(
            "signatures_verified_total",
            "Signatures that phones verified.",
            MetricType::COUNTER,
            vec![counter(ledger.counts().verified as f64, &[])],
        ),
    ]
}

fn judged(ledger: &Ledger) -> Vec<Metric> {
    const PATHS: [(AcceptPath, &str); 7] = [
        (AcceptPath::First, "accepted_first"),
        (AcceptPath::Blank, "accepted_blank"),
        (AcceptPath::Ctl, "accepted_by_ctl"),
        (AcceptPath::Itl, "accepted_by_itl"),
        (AcceptPath::TvsCache, "accepted_by_tvs_cache"),
        (AcceptPath::Tvs, "accepted_by_tvs"),
        (AcceptPath::Https, "accepted_by_https"),
    ];
    let kinds = [("ctl", FileKind::Ctl), ("itl", FileKind::Itl), ("config", FileKind::Config)];
    let mut metrics = Vec::new();
    for (name, kind) in kinds {
        for (path, verdict) in PATHS {
            let count = ledger.counts().accepted_by(&[kind], path);
            metrics.push(counter(count as f64, &[("kind", name), ("verdict", verdict)]));
        }
        let refused = ledger.counts().refused_of(&[kind]);
        metrics.push(counter(refused as f64, &[("kind", name), ("verdict", "refused")]));
    }
    metrics
}

fn tvs_families(ledger: &Ledger) -> Vec<MetricFamily> {
    const FAULTS: [(TvsFault, &str); 5] = [
        (TvsFault::CertificateRefused, "certificate_refused"),
        (TvsFault::Connection, "connection"),
        (TvsFault::TimedOut, "timed_out"),
        (TvsFault::Unresolved, "unresolved"),
        (TvsFault::WrongAnswer, "wrong_answer"),
    ];
    const COMMANDS: [(Command, &str); 2] =
        [(Command::QueryResponse, "query"), (Command::VerifyResponse, "verify")];
    let counts = ledger.counts();
    let answers = COMMANDS.iter().map(|(command, name)| {
        let count = counts.tvs_answers.get(command).copied().unwrap_or(0);
        counter(count as f64, &[("command", name)])
    });
    let faults = FAULTS.iter().map(|(fault, name)| {
        let count = counts.tvs_faults.get(fault).copied().unwrap_or(0);
        counter(count as f64, &[("fault", name)])
    });
    vec![
        family(
            "tvs_lookups_total",
            "Answers of TVS that phones received and used.",
            MetricType::COUNTER,
            answers.collect(),
        ),
        family(
            "tvs_failed_total",
            "Attempts at a TVS server without an answer.",
            MetricType::COUNTER,
            faults.collect(),
        ),
        family(
            "tvs_failovers_total",
            "Attempts on a later member of the group.",
            MetricType::COUNTER,
            vec![counter(counts.tvs_failovers as f64, &[])],
        ),
        family(
            "tvs_cache_hits_total",
            "Signers that a phone's TVS cache vouched for.",
            MetricType::COUNTER,
            vec![counter(counts.tvs_cache_hits as f64, &[])],
        ),
    ]
}

fn step_families(ledger: &Ledger) -> Vec<MetricFamily> {
    let lag = ledger.generator_lag().p99_s.unwrap_or(0.0);
    let mut families = operation_families(ledger);
    families.extend(tftp_families(ledger.counts()));
    families.extend(http_families(ledger.counts()));
    families.push(family(
        "schedule_lag_seconds",
        "99th percentile of the generator's own lateness.",
        MetricType::GAUGE,
        vec![gauge(lag, &[])],
    ));
    families
}

fn operation_families(ledger: &Ledger) -> Vec<MetricFamily> {
    let (mut operations, mut retries, mut times, mut in_flight) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for step in StepKind::ALL {
        let record = ledger.step_record(step);
        let name = ("step", step.name());
        operations.push(counter(record.ok as f64, &[name, ("outcome", "ok")]));
        operations.push(counter(record.failed as f64, &[name, ("outcome", "failed")]));
        match step {
            StepKind::Boot => {
                operations.push(counter(record.stuck as f64, &[name, ("outcome", "stuck")]));
            }
            StepKind::Ctl | StepKind::Itl | StepKind::Config => {
                let count = record.not_found as f64;
                operations.push(counter(count, &[name, ("outcome", "not_found")]));
            }
            StepKind::Tvs => {}
        }
        retries.push(counter(record.retry as f64, &[name]));
        times.push(histogram(&record.response_us, &[name, ("kind", "response")]));
        times.push(histogram(&record.service_us, &[name, ("kind", "service")]));
        let now = ledger.in_flight(step);
        in_flight.push(gauge(now as f64, &[name]));
    }
    let ended = "Steps that ended, by outcome.";
    let again = "Datagrams sent again, or other servers asked.";
    let time = "Time of a step from its planned (response) or actual (service) start.";
    vec![
        family("operations_total", ended, MetricType::COUNTER, operations),
        family("operation_retries_total", again, MetricType::COUNTER, retries),
        family("operation_duration_seconds", time, MetricType::HISTOGRAM, times),
        family("in_flight", "Steps in flight.", MetricType::GAUGE, in_flight),
    ]
}

fn tftp_families(counts: &Counts) -> [MetricFamily; 5] {
    let one = |name, help, value: u64| {
        family(name, help, MetricType::COUNTER, vec![counter(value as f64, &[])])
    };
    [
        one("tftp_requests_total", "Files asked for over TFTP.", counts.tftp_requests),
        one("tftp_transfers_total", "Files that arrived over TFTP.", counts.tftp_transfers),
        one("tftp_received_bytes_total", "Bytes of files that arrived whole.", counts.tftp_bytes),
        one("tftp_not_found_total", "Answers that a file is not there.", counts.tftp_not_found),
        one("tftp_errors_total", "Transfers that failed otherwise.", counts.tftp_errors),
    ]
}

fn http_families(counts: &Counts) -> [MetricFamily; 7] {
    let by = |name, help, of: fn(&HttpSums) -> u64| by_scheme(name, help, counts, of);
    let fallbacks = "Files asked for over TFTP after HTTP had failed.";
    [
        by("http_requests_total", "Files asked for over HTTP.", |sums| sums.requests),
        by("http_connections_total", "Connections opened for files.", |sums| sums.connections),
        by("http_transfers_total", "Files that arrived over HTTP.", |sums| sums.transfers),
        by("http_received_bytes_total", "Bytes of files over HTTP.", |sums| sums.bytes),
        by("http_not_found_total", "HTTP answers 404.", |sums| sums.not_found),
        by("http_fallbacks_total", fallbacks, |sums| sums.fallbacks),
        by("http_errors_total", "HTTP requests that failed.", |sums| sums.errors),
    ]
}

/// A counter of files over HTTP and over HTTPS.
fn by_scheme(
    name: &str,
    help: &str,
    counts: &Counts,
    of: impl Fn(&HttpSums) -> u64,
) -> MetricFamily {
    let schemes = [("http", of(&counts.http)), ("https", of(&counts.https))];
    let counters = schemes.map(|(scheme, count)| counter(count as f64, &[("scheme", scheme)]));
    family(name, help, MetricType::COUNTER, counters.into())
}

fn server_families(info: &RunInfo) -> Vec<MetricFamily> {
    let (signed, serve) = (&info.signatures, &info.serve);
    let cpu = [("serve", info.cpu_s.serve), ("swarm", info.cpu_s.swarm)];
    let seconds = cpu
        .iter()
        .filter_map(|(side, seconds)| Some(counter((*seconds)?, &[("side", side)])))
        .collect();
    vec![
        family(
            "sign_cache_requests_total",
            "Requests for signed files, by what the sign cache had.",
            MetricType::COUNTER,
            vec![
                counter(signed.hits as f64, &[("result", "hit")]),
                counter(signed.misses as f64, &[("result", "miss")]),
            ],
        ),
        family(
            "signatures_made_total",
            "Signatures that the cluster made.",
            MetricType::COUNTER,
            vec![counter(signed.made as f64, &[])],
        ),
        family(
            "server_requests_total",
            "Requests that our servers took.",
            MetricType::COUNTER,
            vec![
                counter(serve.http_requests as f64, &[("service", "http")]),
                counter(serve.https_requests as f64, &[("service", "https")]),
                counter(serve.tftp_requests as f64, &[("service", "tftp")]),
                counter(serve.tvs_answers as f64, &[("service", "tvs")]),
            ],
        ),
        family(
            "tls_handshakes_total",
            "TLS handshakes of our servers.",
            MetricType::COUNTER,
            [
                ("https", "failed", serve.https_handshakes_failed),
                ("https", "ok", serve.https_handshakes_ok),
                ("tvs", "failed", serve.tvs_handshakes_failed),
                ("tvs", "ok", serve.tvs_handshakes_ok),
            ]
            .map(|(service, outcome, count)| {
                counter(count as f64, &[("service", service), ("outcome", outcome)])
            })
            .into(),
        ),
        family("cpu_seconds_total", "CPU time by side.", MetricType::COUNTER, seconds),
    ]
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("resetstorm_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let label = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut metric = Metric::default();
    metric.set_label(labels.iter().map(label).collect());
    metric
}

fn gauge(value: f64, labels: &[(&str, &str)]) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

fn counter(value: f64, labels: &[(&str, &str)]) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

/// Classic buckets 0.5 ms · 2^n, n = 0..=17 (`experience.md`, Prometheus conventions).
fn histogram(recorded: &hdrhistogram::Histogram<u64>, labels: &[(&str, &str)]) -> Metric {
    let bounds: Vec<u64> = (0..=17).map(|n| 500u64 << n).collect();
    let mut counts = vec![0u64; bounds.len()];
    let mut sum_us = 0.0;
    for value in recorded.iter_recorded() {
        let us = recorded.median_equivalent(value.value_iterated_to());
        sum_us += us as f64 * value.count_since_last_iteration() as f64;
        let bucket = bounds.partition_point(|&bound| bound < us);
        if let Some(count) = counts.get_mut(bucket) {
            *count += value.count_since_last_iteration();
        }
    }
    let mut cumulative = 0;
    let buckets = bounds.iter().zip(counts).map(|(&bound, count)| {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound as f64 / 1e6);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(recorded.len());
    histogram.set_sample_sum(sum_us / 1e6);
    let mut metric = labelled(labels);
    metric.set_histogram(histogram);
    metric
}

#[cfg(test)]
mod tests {
    use super::super::incident::{Incident, Listen, StepEnd};
    use super::super::phones::Slice;
    use super::*;
    use crate::base::{PhoneId, Span, Time};

    #[test]
    fn every_series_is_there_from_the_start() {
        let text = encode(&Ledger::new(Slice::whole(3)), &RunInfo::default());
        for line in [
            "resetstorm_phones{state=\"stuck\"} 0",
            "resetstorm_phones{state=\"not-reset\"} 3",
            "resetstorm_tvs_lookups_total{command=\"query\"} 0",
            "resetstorm_tvs_failed_total{fault=\"certificate_refused\"} 0",
            "resetstorm_files_judged_total{kind=\"itl\",verdict=\"refused\"} 0",
            "resetstorm_http_fallbacks_total{scheme=\"https\"} 0",
            "resetstorm_operations_total{step=\"tvs\",outcome=\"failed\"} 0",
            "resetstorm_sign_cache_requests_total{result=\"miss\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.lines().filter(|line| !line.starts_with('#')).count() < 3_000);
    }

    #[test]
    fn the_steps_of_the_operator_are_marked_and_their_labels_bounded() {
        let mark = |number: usize| StepMark { number, name: format!("reset-{number}"), at_s: 12.5 };
        let info = RunInfo { steps: (1..=150).map(mark).collect(), ..RunInfo::default() };
        let text = encode(&Ledger::new(Slice::whole(1)), &info);
        let first = format!("{OPERATOR_STEPS}{{step=\"1\",name=\"reset-1\"}} 12.5");
        assert!(text.lines().any(|line| line == first), "{text}");
        let marks = text.lines().filter(|line| line.starts_with(OPERATOR_STEPS)).count();
        assert_eq!(marks, STEPS_MAX);
    }

    #[test]
    fn durations_fall_into_the_bucket_that_holds_them() {
        let mut ledger = Ledger::new(Slice::whole(1));
        let end = Time::ZERO + Span::from_millis(3);
        let (step, planned, started) = (StepKind::Tvs, Time::ZERO, Time::ZERO);
        let ended = Incident::Ended { step, end: StepEnd::Ok, planned, started };
        ledger.hear(PhoneId(0), end, &ended);
        let text = encode(&ledger, &RunInfo::default());
        let bucket = |le: &str| {
            let name = "resetstorm_operation_duration_seconds_bucket";
            let line = format!("{name}{{step=\"tvs\",kind=\"service\",le=\"{le}\"}} ");
            let found = text.lines().find_map(|text| text.strip_prefix(&line));
            found.unwrap_or_else(|| panic!("{line} in\n{text}")).to_owned()
        };
        assert_eq!(
            (bucket("0.002"), bucket("0.004"), bucket("+Inf")),
            ("0".into(), "1".into(), "1".into())
        );
    }
}
