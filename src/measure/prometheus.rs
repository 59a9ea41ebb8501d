use std::collections::BTreeMap;
use std::net::IpAddr;

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder, TextEncoder};

use crate::cluster::{LscStates, SignCounts};

use super::capacity::LoadStep;
use super::incident::StepKind;
use super::ledger::Ledger;
use super::load::LoadFault;
use super::metrics::{
    CapfNumbers, ClusterCounts, Counts, CpuSeconds, Metric as Number, ServeSummary, Signatures,
};
use super::phones::Slice;
use super::row::{Family, Label, Row, Section};
use super::summary::Summary;
use super::verdict::{LevelVerdict, Mode};

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
    /// CAPF and its database.
    pub capf: CapfNumbers,
    /// Whether each probe works, by its name.
    pub probes: Vec<(String, bool)>,
    /// How often a probe was found not to work that had worked, or at the start.
    pub probe_outages: u64,
    /// CPU time by side.
    pub cpu_s: CpuSeconds,
    /// The nodes that have pages for phones, by their addresses.
    pub web_nodes: BTreeMap<IpAddr, String>,
    /// The nodes at which phones register, by their addresses.
    pub sip_nodes: BTreeMap<IpAddr, String>,
    /// Phones by what has become of their LSC operations, by site; few of them.
    pub lsc_sites: Vec<(String, LscStates)>,
    /// The same by `CallManager` group.
    pub lsc_groups: Vec<(String, LscStates)>,
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
    let summary = Summary {
        signatures: Signatures::new(ledger, &SignCounts::default(), &info.signatures, None),
        cpu_s: info.cpu_s,
        serve: info.serve,
        capf: info.capf.clone(),
        cluster: ClusterCounts { probe_outages: info.probe_outages, ..ClusterCounts::default() },
        ..Summary::default().with(ledger)
    };
    let mut families = run_families(info);
    families.extend(operation_families(ledger));
    families.push(by_node(ledger, info));
    families.extend(registrations_by_node(ledger, info));
    families.push(judged(ledger.counts()));
    families.push(key_generation(ledger.counts()));
    families.extend(lsc_families(info));
    let (lag, help) = (ledger.lag().at_s(0.99), "99th percentile of the generator's own lateness.");
    families.push(one("schedule_lag_seconds", help, lag.unwrap_or(0.0), &[]));
    families.extend(exposed(&summary.metrics()));
    text_of(families)
}

/// The same of a cluster whose phones are not ours: what its servers and its database know.
pub fn encode_servers(info: &RunInfo) -> String {
    let nobody = Ledger::new(Slice::whole(0));
    let summary = Summary {
        signatures: Signatures::new(&nobody, &SignCounts::default(), &info.signatures, None),
        cpu_s: info.cpu_s,
        serve: info.serve,
        capf: info.capf.clone(),
        cluster: ClusterCounts { probe_outages: info.probe_outages, ..ClusterCounts::default() },
        ..Summary::default()
    };
    let mut numbers = summary.metrics();
    numbers.retain(|number| OF_SERVERS.contains(&number.section) && number.row.key != "verified");
    let mut families = run_families(info);
    families.extend(lsc_families(info));
    families.extend(exposed(&numbers));
    text_of(families)
}

/// Sections of the summary that are not about phones.
const OF_SERVERS: [&str; 5] = ["capf", "cluster", "signatures", "cpu_s", "serve"];

/// What is told of a measurement of capacity while it lasts.
#[derive(Clone, Debug, Default)]
pub struct LoadInfo {
    /// Name of the measurement.
    pub label: String,
    /// Seed of every choice.
    pub seed: u64,
    /// What levels are, such as `transfers/s`.
    pub unit: String,
    /// What is offered now, if a level is under way.
    pub offered: Option<f64>,
    /// Starts that have ended.
    pub ended: u64,
    /// Those without a good answer.
    pub failed: u64,
    /// Those with a slow answer.
    pub slow: u64,
    /// Starts in flight.
    pub in_flight: u64,
    /// Answers that came in time and were wrong.
    pub wrong: u64,
    /// Every level that was measured, in order.
    pub levels: Vec<LoadStep>,
    /// The knee, when the search has found it.
    pub knee: Option<f64>,
    /// When each level began.
    pub steps: Vec<StepMark>,
}

/// The state of a measurement of capacity in the Prometheus text format.
pub fn encode_load(info: &LoadInfo) -> String {
    let run = RunInfo {
        scenario: info.label.clone(),
        mode: Mode::Capacity,
        seed: info.seed,
        steps: info.steps.clone(),
        ..RunInfo::default()
    };
    let count = |name: &str, help: &str, value: u64| {
        family(name, help, MetricType::COUNTER, vec![counter(value as f64, &[])])
    };
    let mut families = run_families(&run);
    families.extend([
        offered(info),
        starts(info),
        count("capacity_slow_total", "Starts whose answer came late.", info.slow),
        count("capacity_wrong_total", "Answers in time that were wrong.", info.wrong),
        one("capacity_in_flight", "Starts in flight.", info.in_flight as f64, &[]),
        bracket(info),
        levels(info),
        failures(info),
    ]);
    families.extend(info.levels.last().map(last_level).into_iter().flatten());
    text_of(families)
}

/// What is offered, by what it is a number of.
fn offered(info: &LoadInfo) -> MetricFamily {
    let now = info.offered.map(|offered| gauge(offered, &[("unit", &info.unit)]));
    let help = "What the level under way offers.";
    family("capacity_offered", help, MetricType::GAUGE, now.into_iter().collect())
}

/// Starts by how they ended.
fn starts(info: &LoadInfo) -> MetricFamily {
    let ends = [("ok", info.ended.saturating_sub(info.failed)), ("failed", info.failed)];
    let ended = ends.map(|(outcome, count)| counter(count as f64, &[("outcome", outcome)]));
    let help = "Starts that have ended, those of learning and warm-ups, too, by outcome.";
    family("capacity_starts_total", help, MetricType::COUNTER, ended.into())
}

/// Between which levels the knee lies, as far as is known.
fn bracket(info: &LoadInfo) -> MetricFamily {
    let offered = |verdict: LevelVerdict| {
        let levels = info.levels.iter().filter(move |level| level.verdict == verdict);
        levels.map(|level| level.offered)
    };
    let bounds = [
        ("carried", offered(LevelVerdict::Carried).max_by(f64::total_cmp)),
        ("broken", offered(LevelVerdict::Broken).min_by(f64::total_cmp)),
        ("knee", info.knee),
    ];
    let known = bounds.into_iter().filter_map(|(bound, at)| Some(gauge(at?, &[("bound", bound)])));
    let help = "The highest level that was carried, the lowest that was not, and the knee.";
    family("capacity_bracket", help, MetricType::GAUGE, known.collect())
}

/// Levels by what is said of them.
fn levels(info: &LoadInfo) -> MetricFamily {
    let of = |verdict: LevelVerdict| {
        let count = info.levels.iter().filter(|level| level.verdict == verdict).count();
        gauge(count as f64, &[("verdict", verdict.name())])
    };
    let help = "Levels that were measured, by verdict.";
    family("capacity_levels", help, MetricType::GAUGE, LevelVerdict::ALL.map(of).into())
}

/// Failures of measured levels by kind; numbers that a server chooses are no labels.
fn failures(info: &LoadInfo) -> MetricFamily {
    let mut all: BTreeMap<&str, u64> = LoadFault::KINDS.into_iter().map(|kind| (kind, 0)).collect();
    for (fault, count) in info.levels.iter().flat_map(|level| &level.errors) {
        *all.entry(LoadFault::kind_of(fault)).or_default() += count;
    }
    let metrics = all.into_iter().map(|(kind, count)| counter(count as f64, &[("fault", kind)]));
    let help = "Starts without a good answer, by cause, when their level is over.";
    family("capacity_failures_total", help, MetricType::COUNTER, metrics.collect())
}

/// The last level that was measured.
fn last_level(level: &LoadStep) -> Vec<MetricFamily> {
    let times = &level.response_s;
    let percentiles =
        [("p50", times.p50), ("p90", times.p90), ("p99", times.p99), ("max", times.max)];
    let response =
        percentiles.into_iter().filter_map(|(of, at)| Some(gauge(at?, &[("percentile", of)])));
    let some = |name: &str, help: &str, value: Option<f64>| {
        let metrics = value.map(|value| gauge(value, &[])).into_iter().collect();
        family(name, help, MetricType::GAUGE, metrics)
    };
    let help = "Times from the planned start to the answer in the last level.";
    vec![
        family("capacity_response_seconds", help, MetricType::GAUGE, response.collect()),
        some("capacity_level_offered", "What the last level offered.", Some(level.offered)),
        some("capacity_level_achieved", "Good answers a second in it.", level.achieved),
        some("capacity_lag_seconds", "99th percentile of our lateness in it.", level.lag_p99_s),
        some("capacity_cpu_ratio", "Share of CPU that our threads used in it.", level.cpu_ratio),
    ]
}

/// The families as text, in their order.
fn text_of(mut families: Vec<MetricFamily>) -> String {
    // The encoder refuses a family without a metric, such as CPU time that cannot be told apart.
    families.retain(|family| !family.get_metric().is_empty());
    families.sort_by_key(place);
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text).expect("encoding to memory cannot fail");
    String::from_utf8(text).expect("the text format is UTF-8")
}

/// The order of the exposition, by how names begin; what is not here comes at the end.
const ORDER: &str = "build_info run_info operator_ probe_ phone boots_ files_ signatures_verified_ \
    tvs_lookups_ tvs_failed_ tvs_failovers_ tvs_ operation in_flight tftp_ http_ lsc_ capf_ schedule_ \
    sign_cache_ signatures_ server_ tls_ cpu_ capacity_";

fn place(family: &MetricFamily) -> usize {
    let name = family.name().trim_start_matches(PREFIX);
    let mut begins = ORDER.split_whitespace();
    begins.position(|begin| name.starts_with(begin)).unwrap_or(usize::MAX)
}

/// The samples of a family in the order of their labels.
type Samples = BTreeMap<Vec<Label>, f64>;

/// The families of the table of numbers.
fn exposed(numbers: &[Number]) -> Vec<MetricFamily> {
    let mut families: Vec<(Family, &str, Samples)> = Vec::new();
    for Number { labels, row, value, .. } in numbers {
        let (Some((family, values)), Some(value)) = (row.exposed, value) else { continue };
        let own = family.labels.iter().copied().zip(values.iter().copied());
        let known = families.iter().position(|(known, ..)| known.name == family.name);
        let at = known.unwrap_or(families.len());
        if known.is_none() {
            families.push((family, row.about.trim_start(), Samples::new()));
        }
        families[at].2.insert(labels.iter().copied().chain(own).collect(), *value);
    }
    let encoded = |(of, about, samples): (Family, &str, Samples)| {
        let sample = if of.is_gauge { gauge } else { counter };
        let kind = if of.is_gauge { MetricType::GAUGE } else { MetricType::COUNTER };
        let samples = samples.iter().map(|(labels, &value)| sample(value, labels)).collect();
        family(of.name, of.help.unwrap_or(about), kind, samples)
    };
    families.into_iter().map(encoded).collect()
}

/// What the run is, and what its operator has done.
fn run_families(info: &RunInfo) -> Vec<MetricFamily> {
    let seed = info.seed.to_string();
    let run = [("scenario", info.scenario.as_str()), ("mode", info.mode.name()), ("seed", &seed)];
    vec![
        one("build_info", "Version of resetstorm.", 1.0, &[("version", env!("CARGO_PKG_VERSION"))]),
        one("run_info", "The run that these numbers belong to.", 1.0, &run),
        operator_family(info),
        probe_family(info),
    ]
}

/// What all names begin with.
const PREFIX: &str = "resetstorm_";

/// Steps of the operator that have a label of their own at most (choice): labels are few.
const STEPS_MAX: usize = 100;

/// The metric that says when the operator did what.
pub const OPERATOR_STEPS: &str = "resetstorm_operator_step_timestamp_seconds";

fn operator_family(info: &RunInfo) -> MetricFamily {
    let mark = |mark: &StepMark| {
        gauge(mark.at_s, &[("step", &mark.number.to_string()), ("name", &mark.name)])
    };
    family(
        OPERATOR_STEPS.trim_start_matches(PREFIX),
        "When a step of the operator was carried out, by its number and name.",
        MetricType::GAUGE,
        info.steps.iter().take(STEPS_MAX).map(mark).collect(),
    )
}

/// Probes that have a label of their own at most (choice): labels are few.
const PROBES_MAX: usize = 100;

fn probe_family(info: &RunInfo) -> MetricFamily {
    let state =
        |(name, works): &(String, bool)| gauge(f64::from(u8::from(*works)), &[("probe", name)]);
    family(
        "probe_works",
        "Whether what a probe tries works by the certificates of now: 1, or 0.",
        MetricType::GAUGE,
        info.probes.iter().take(PROBES_MAX).map(state).collect(),
    )
}

/// By kind of file, each path of acceptance and the refusals.
fn judged(counts: &Counts) -> MetricFamily {
    let kinds = [
        ("ctl", &counts.ctls),
        ("itl", &counts.itls),
        ("config", &counts.configs),
        ("locale", &counts.locales),
        ("ring-list", &counts.ring_lists),
    ];
    let metrics = kinds.iter().flat_map(|(kind, paths)| {
        let verdict = |(row, value): (Row, Option<f64>)| {
            counter(value.unwrap_or(0.0), &[("kind", kind), ("verdict", row.key)])
        };
        paths.numbers().into_iter().map(verdict)
    });
    let help = "Files judged by phones, by kind and verdict.";
    family("files_judged_total", help, MetricType::COUNTER, metrics.collect())
}

/// Texts of Certificate Operation Status that are there from the start.
const STATUSES: [&str; 9] = [
    "Operation Pending",
    "Upgrade Success",
    "Upgrade Failed",
    "Upgrade Failed: Invalid Authentication String",
    "Upgrade Failed: Invalid LSC",
    "Upgrade Failed: Key Generation Failed",
    "Upgrade Failed: Key Generation Timeout",
    "Upgrade Failed: User Initiated Request Late/Timedout",
    "Delete Success",
];

/// What a rollout of LSCs has come to.
fn lsc_families(info: &RunInfo) -> [MetricFamily; 3] {
    let sites = "Phones by what has become of their LSC operations, by site; of many the largest.";
    let groups = "Phones by what has become of their LSC operations, by CallManager group.";
    [
        statuses(&info.capf),
        by_part("lsc_site_phones", "site", sites, &info.lsc_sites),
        by_part("lsc_group_phones", "group", groups, &info.lsc_groups),
    ]
}

fn by_part(name: &str, label: &str, help: &str, parts: &[(String, LscStates)]) -> MetricFamily {
    let metrics = parts.iter().flat_map(|(part, LscStates { pending, done, failed })| {
        [("pending", pending), ("done", done), ("failed", failed)]
            .map(|(state, &phones)| gauge(phones as f64, &[(label, part), ("state", state)]))
    });
    family(name, help, MetricType::GAUGE, metrics.collect())
}

/// Phones by the text of their status.
fn statuses(capf: &CapfNumbers) -> MetricFamily {
    let mut all: BTreeMap<&str, u64> = STATUSES.into_iter().map(|text| (text, 0)).collect();
    all.extend(capf.statuses.iter().map(|(text, &phones)| (text.as_str(), phones)));
    let phones = |(text, phones): (&str, u64)| gauge(phones as f64, &[("status", text)]);
    let help = "Phones by the text of their Certificate Operation Status.";
    family("lsc_operation_phones", help, MetricType::GAUGE, all.into_iter().map(phones).collect())
}

/// Presses by the node that was asked for the page.
fn by_node(ledger: &Ledger, info: &RunInfo) -> MetricFamily {
    let metrics = info.web_nodes.iter().flat_map(|(address, node)| {
        let ends = ledger.presses_by_server().get(address).copied().unwrap_or_default();
        [("shown", ends.shown), ("failed", ends.failed)]
            .map(|(result, count)| counter(count as f64, &[("node", node), ("result", result)]))
    });
    let help = "Presses of a button by the node that was asked for the page, and by result.";
    family("presses_by_node_total", help, MetricType::COUNTER, metrics.collect())
}

/// Registrations by the node that was asked, and the phones that each has now.
fn registrations_by_node(ledger: &Ledger, info: &RunInfo) -> [MetricFamily; 2] {
    let known = ledger.registrations_by_server();
    let (mut phones, mut results) = (Vec::new(), Vec::new());
    for (address, node) in &info.sip_nodes {
        let numbers = known.get(address).copied().unwrap_or_default().numbers();
        for (row, value) in numbers {
            let (value, node) = (value.unwrap_or(0.0), ("node", node.as_str()));
            match row.key {
                "registered" => phones.push(gauge(value, &[node])),
                result => results.push(counter(value, &[node, ("result", result)])),
            }
        }
    }
    let now = "Phones by the node that they are registered with.";
    let all = "What came of registrations by the node that was asked.";
    [
        family("node_registered_phones", now, MetricType::GAUGE, phones),
        family("node_registrations_total", all, MetricType::COUNTER, results),
    ]
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
            StepKind::Ctl
            | StepKind::Itl
            | StepKind::Config
            | StepKind::Locale
            | StepKind::RingList => {
                let count = record.not_found as f64;
                operations.push(counter(count, &[name, ("outcome", "not_found")]));
            }
            _ => {}
        }
        retries.push(counter(record.retry as f64, &[name]));
        times.push(histogram(&record.response, &[name, ("kind", "response")]));
        times.push(histogram(&record.service, &[name, ("kind", "service")]));
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

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("{PREFIX}{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// A family of one gauge.
fn one(name: &str, help: &str, value: f64, labels: &[(&str, &str)]) -> MetricFamily {
    family(name, help, MetricType::GAUGE, vec![gauge(value, labels)])
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

/// How long phones took to make keys, in Prometheus' base unit.
fn key_generation(counts: &Counts) -> MetricFamily {
    let seconds = counter(counts.lsc.key_ms as f64 / 1e3, &[]);
    let help = "How long phones took to make keys, all together.";
    family("lsc_key_generation_seconds_total", help, MetricType::COUNTER, vec![seconds])
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
        let (step, planned, started) = (StepKind::TVS, Time::ZERO, Time::ZERO);
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
