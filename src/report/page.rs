use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment};
use serde_json::{Value, json};

use crate::base::words::{bytes, count, seconds};
use crate::crypto::POOL;
use crate::measure::{STATES, Summary, Unit};

use super::phone_rows::PhoneRow;
use super::plots::{self, Bar, Line, Mark};
use super::run_files::{HEAT_ROWS, RunFiles};
use super::trace::Words;

/// The report of a run as one page of HTML: no network, no script, plots as SVG.
pub fn report_html(files: &RunFiles) -> String {
    render(AutoEscape::Html, include_str!("report.html.j2"), &context(files, true))
}

/// The report of a run as Markdown, for the ticket of a change.
pub fn report_md(files: &RunFiles) -> String {
    render(AutoEscape::None, include_str!("report.md.j2"), &context(files, false))
}

/// Fills a template that is compiled in.
pub(super) fn render(escape: AutoEscape, template: &'static str, context: &Value) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(move |_| escape.clone());
    environment.add_global("style", include_str!("page.css"));
    environment.add_filter("cell", |text: String| text.replace('|', "\\|").replace('\n', " "));
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the usual delimiters are valid"));
    let context = minijinja::Value::from(minijinja::value::Serde(context));
    let rendered = environment.render_str(template, context);
    rendered.expect("the template is compiled in and fits its context")
}

/// Steps with a heat map of their own at most (choice: a megabyte).
const HEATED: usize = 5;

fn context(files: &RunFiles, plots: bool) -> Value {
    let summary = &files.summary;
    let mut context = json!({
        "summary": summary,
        "manifest": files.manifest,
        "version": env!("CARGO_PKG_VERSION"),
        "verdict": summary["verdict"].as_str().unwrap_or("-").to_uppercase(),
        "tiles": tiles(summary),
        "slos": slos(summary),
        "steps": steps(files),
        "attribution": attribution(&summary["attribution"]),
        "slowest": attribution(&slowest(files)),
        "stranded": stranded(summary),
        "operator": summary["operator"],
        "presented": summary["presented"],
        "probes": summary["probes"],
        "itls": summary["itls"],
        "worst": worst(files),
        "guesses": summary["sim"]["guesses"],
        "generator": summary["generator"],
        "numbers": numbers(summary),
        "notes": summary["notes"],
        "pool": POOL,
        "glossary": GLOSSARY.map(|(word, means)| json!({ "word": word, "means": means })),
        "scenario": files.scenario,
        "baseline": files.baseline,
    });
    if plots {
        context["plots"] = draw(files);
    }
    context
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn counted(value: &Value) -> String {
    value.as_u64().map_or("-".to_owned(), count)
}

fn timed(value: &Value) -> String {
    seconds(value.as_f64())
}

fn tiles(summary: &Value) -> Vec<Value> {
    let tile =
        |name: &str, value: String, bad: bool| json!({ "name": name, "value": value, "bad": bad });
    let phones = &summary["phones"];
    let any = |key: &str| phones[key].as_u64() > Some(0);
    let ready = &summary["fleet_ready_s"];
    vec![
        tile("phones", counted(&phones["total"]), false),
        tile("ready", counted(&phones["ready"]), false),
        tile("stuck", counted(&phones["stuck"]), any("stuck")),
        tile("failed", counted(&phones["failed"]), any("failed")),
        tile("not reset", counted(&phones["not_reset"]), any("not_reset")),
        tile("50 % ready", timed(&ready["p50"]), false),
        tile("90 % ready", timed(&ready["p90"]), false),
        tile("99 % ready", timed(&ready["p99"]), false),
        tile("all ready", timed(&ready["last"]), false),
    ]
}

fn slos(summary: &Value) -> Vec<Value> {
    let number = |value: &Value| match value.as_f64() {
        None => "-".to_owned(),
        Some(number) if number.fract() == 0.0 && number >= 0.0 => count(number as u64),
        Some(number) => format!("{number:.4}"),
    };
    let row = |slo: &Value| {
        let verdict = text_of(&slo["verdict"]);
        let word = if verdict == "fail" { "FAIL".to_owned() } else { verdict.clone() };
        json!({
            "word": word,
            "expr": slo["expr"],
            "observed": number(&slo["observed"]),
            "bound": number(&slo["bound"]),
            "bad": verdict != "pass",
        })
    };
    each(&summary["slos"]).map(row).collect()
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The ladder: how each step ended and how long it took, service beside response.
fn steps(files: &RunFiles) -> Vec<Value> {
    let row = |step: &Value| {
        let name = text_of(&step["step"]);
        let times = |kind: &str| {
            let of = &step[format!("{kind}_time_s")];
            let all = files.times_of(&format!("{name}.{kind}")).filter(|all| all.len() >= 10_000);
            let rare = all.map(|all| all.value_at_quantile(0.999) as f64 / 1e6);
            let known = ["p50", "p90", "p99"].map(|key| timed(&of[key]));
            [&known[..], &[seconds(rare), timed(&of["max"])]].concat()
        };
        let counts = ["count", "ok", "not_found", "stuck", "failed", "retry"];
        json!({
            "name": name,
            "counts": counts.map(|key| counted(&step[key])),
            "service": times("service"),
            "response": times("response"),
        })
    };
    let is_heard = |step: &&Value| step["count"].as_u64() > Some(0);
    each(&files.summary["steps"]).filter(is_heard).map(row).collect()
}

fn attribution(parts: &Value) -> Vec<Value> {
    let whole: f64 = each(parts).filter_map(|part| part["seconds"].as_f64()).sum();
    let row = |(at, part): (usize, &Value)| {
        let share = part["seconds"].as_f64().unwrap_or_default() / whole;
        json!({
            "cause": part["cause"],
            "seconds": timed(&part["seconds"]),
            "percent": format!("{:.1}", share * 100.0),
            "width": share * 100.0,
            "colour": plots::css(at),
        })
    };
    let mut rows: Vec<Value> = each(parts).enumerate().map(row).collect();
    let rest = 100.0
        - rows.iter().filter_map(|row| row["percent"].as_str()?.parse::<f64>().ok()).sum::<f64>();
    // Rounded shares are made to add up: the largest takes what is left.
    if let Some(first) = rows.first_mut()
        && let Some(percent) = first["percent"].as_str().and_then(|text| text.parse::<f64>().ok())
    {
        first["percent"] = format!("{:.1}", percent + rest).into();
    }
    rows
}

/// Where the time of the slowest boots went, those that were kept.
fn slowest(files: &RunFiles) -> Value {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for boot in files.traces.iter().filter(|boot| boot["why"] == "slowest") {
        for part in each(&boot["spent"]) {
            let cause = part["cause"].as_str().unwrap_or_default();
            *sums.entry(cause).or_default() += part["seconds"].as_f64().unwrap_or_default();
        }
    }
    let mut parts: Vec<(&str, f64)> = sums.into_iter().collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    parts.iter().map(|(cause, seconds)| json!({ "cause": cause, "seconds": seconds })).collect()
}

fn stranded(summary: &Value) -> Vec<Value> {
    let parts = |counts: &Value| {
        let part = |(name, count): (&String, &Value)| format!("{name} {}", counted(count));
        counts.as_object().into_iter().flatten().map(part).collect::<Vec<_>>().join(", ")
    };
    let row = |reason: &Value| {
        json!({
            "outcome": reason["outcome"],
            "cause": reason["cause"],
            "phones": counted(&reason["phones"]),
            "group": parts(&reason["by_group"]),
            "site": parts(&reason["by_site"]),
            "model": parts(&reason["by_model"]),
            "tftp": parts(&reason["by_tftp"]),
            "remedies": reason["remedies"],
        })
    };
    each(&summary["stranded"]).map(row).collect()
}

/// The phones with the worst end: stranded ones, then the slowest.
fn worst(files: &RunFiles) -> Vec<Value> {
    let row = |row: &PhoneRow| {
        let mut shown = row.cells.clone();
        let name = &row.cells["phone"];
        let boot = files.traces.iter().rev().find(|boot| boot["phone"] == *name);
        let lines = boot.map(|boot| super::trace::trace_text(boot, None, Words::Plain));
        shown["name"] = name.clone();
        shown["boot"] = seconds(row.boot_s).into();
        shown["slowest"] = row.cells["slowest_step"].clone();
        shown["slowest_s"] = seconds(row.slowest_s).into();
        shown["trace"] = lines.into();
        shown
    };
    files.phones.worst().map(row).collect()
}

/// Every number of the summary that has a row and is not 0.
fn numbers(summary: &Value) -> Vec<Value> {
    let row = |metric: crate::measure::Metric| {
        let path = metric.section.split('.').chain([metric.row.key]);
        let value = path.fold(summary, |value, key| &value[key]).as_f64();
        let value = value.filter(|&value| value != 0.0)?;
        let shown = match metric.row.unit {
            Unit::Seconds => seconds(Some(value)),
            Unit::Bytes => bytes(value as u64),
            Unit::Ratio => format!("{:.2} %", value * 100.0),
            Unit::Count => count(value as u64),
        };
        let key = format!("{}.{}", metric.section, metric.row.key);
        Some(json!({ "key": key, "value": shown, "about": metric.row.about.trim() }))
    };
    Summary::default().metrics().into_iter().filter_map(row).collect()
}

fn draw(files: &RunFiles) -> Value {
    let marks = marks(&files.summary);
    json!({
        "ready": ready(files, &marks),
        "states": states(files),
        "heat": heats(files),
        "percentiles": percentiles(files),
        "retries": over_time(files, "failed and repeated steps", "a frame", &["failed", "retried"], &marks),
        "in_flight": over_time(files, "steps in flight", "in flight", &["in_flight"], &marks),
        "trust": trust(&files.summary, end_of(files), &marks),
    })
}

fn marks(summary: &Value) -> Vec<Mark> {
    let mark = |step: &Value| {
        Some(Mark { at: step["at_s"].as_f64()?, name: step["number"].as_u64()?.to_string() })
    };
    let mut marks: Vec<Mark> = each(&summary["operator"]).filter_map(mark).collect();
    // Steps of one moment have one mark.
    marks.dedup_by(|next, kept| {
        let same = (next.at - kept.at).abs() < 0.5;
        if same {
            let first = kept.name.split('-').next().unwrap_or_default().to_owned();
            kept.name = format!("{first}-{}", next.name);
        }
        same
    });
    marks
}

/// Points of a line at most (choice): about two a pixel of a small screen.
const POINTS: usize = 450;

/// Times in order as a line that climbs by one at each.
fn climbing(mut times: Vec<f64>) -> Vec<(f64, f64)> {
    times.sort_by(f64::total_cmp);
    let every = times.len().div_ceil(POINTS).max(1);
    let last = times.len().checked_sub(1);
    let is_drawn = |at: &usize| at.is_multiple_of(every) || Some(*at) == last;
    let points = times.iter().enumerate().filter(|(at, _)| is_drawn(at));
    points.map(|(at, time)| (*time, at as f64 + 1.0)).collect()
}

/// Shares of the fleet that the curve marks, in per cent.
const SHARES: [u64; 4] = [50, 90, 99, 100];

fn ready(files: &RunFiles, marks: &[Mark]) -> String {
    let mut times = files.phones.ready_s.clone();
    times.sort_by(f64::total_cmp);
    let total = files.summary["phones"]["total"].as_u64().unwrap_or_default();
    let reached = SHARES.into_iter().filter_map(|share| {
        let place = (total * share).div_ceil(100).checked_sub(1)?;
        Some(Mark { at: *times.get(place as usize)?, name: format!("{share} %") })
    });
    let marks: Vec<Mark> = marks.iter().cloned().chain(reached).collect();
    let lines = [
        Line { name: "ready".into(), points: climbing(times) },
        Line { name: "planned".into(), points: climbing(files.phones.planned_s.clone()) },
    ];
    plots::lines("phones ready and planned boots over time", "phones", &lines, &marks)
}

fn states(files: &RunFiles) -> String {
    let columns = ["not_reset", "booting", "ready", "phones_stuck", "phones_failed"];
    let boots: Vec<_> = files.timeline.rows().filter(|row| row.text("step") == "boot").collect();
    let every = boots.len().div_ceil(POINTS).max(1);
    let layer = |(name, column): (&str, &str)| Line {
        name: name.to_owned(),
        points: boots
            .iter()
            .step_by(every)
            .map(|row| (row.number("t_s").unwrap_or(0.0), row.number(column).unwrap_or(0.0)))
            .collect(),
    };
    let layers: Vec<Line> = STATES.into_iter().zip(columns).map(layer).collect();
    plots::stacked("phones by state over time", "phones", &layers)
}

/// Lines of columns of the timeline, one for each step of which there is anything.
fn over_time(
    files: &RunFiles,
    title: &str,
    y_name: &str,
    columns: &[&str],
    marks: &[Mark],
) -> String {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for row in files.timeline.rows() {
        for column in columns {
            let name = match columns {
                [_] => row.text("step").to_owned(),
                _ => format!("{} {column}", row.text("step")),
            };
            let point = (row.number("t_s").unwrap_or(0.0), row.number(column).unwrap_or(0.0));
            lines.entry(name).or_default().push(point);
        }
    }
    lines.retain(|_, points| points.iter().any(|point| point.1 != 0.0));
    let thinned = |points: Vec<(f64, f64)>| {
        let every = points.len().div_ceil(POINTS).max(1);
        // The most of each stretch, so that no peak is lost.
        let most = |part: &[(f64, f64)]| part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        points.chunks(every).filter_map(most).collect()
    };
    let lines: Vec<Line> =
        lines.into_iter().map(|(name, points)| Line { name, points: thinned(points) }).collect();
    plots::lines(title, y_name, &lines, marks)
}

/// The steps with most answers, the boot first.
fn heats(files: &RunFiles) -> Vec<Value> {
    let mut tags: Vec<(&str, u64)> = files
        .times
        .iter()
        .filter(|(tag, _)| tag.ends_with(".response"))
        .map(|(tag, times)| (tag.as_str(), times.len()))
        .collect();
    tags.sort_by_key(|&(tag, count)| (tag != "boot.response", u64::MAX - count));
    let map = |&(tag, _): &(&str, u64)| {
        let name = tag.trim_end_matches(".response");
        let title = format!("{name}: response time over time");
        json!({ "name": name, "svg": plots::heat(&title, &cells(files, tag)) })
    };
    tags.iter().take(HEATED).map(map).collect()
}

/// Columns of a heat map at most (choice).
const COLUMNS: f64 = 60.0;

fn cells(files: &RunFiles, tag: &str) -> Vec<plots::Cell> {
    let of = || files.latency.iter().filter(|interval| interval.tag == tag);
    let first = of().map(|interval| interval.from_s).fold(f64::INFINITY, f64::min);
    let last = of().map(|interval| interval.from_s).fold(0.0, f64::max);
    let width = ((last - first + 1.0) / COLUMNS).max(1.0);
    let mut counts: BTreeMap<(i64, i64), u64> = BTreeMap::new();
    for interval in of() {
        let column = ((interval.from_s - first) / width) as i64;
        for &(row, count) in &interval.rows {
            *counts.entry((column, row)).or_default() += count;
        }
    }
    let most = counts.values().copied().max().unwrap_or(1) as f64;
    let cell = |((column, row), count): ((i64, i64), u64)| {
        let left = first + column as f64 * width;
        let low = 10_f64.powf(row as f64 / HEAT_ROWS);
        let high = 10_f64.powf((row + 1) as f64 / HEAT_ROWS);
        ([left, left + width], [low, high], (count as f64 / most).sqrt())
    };
    counts.into_iter().map(cell).collect()
}

fn percentiles(files: &RunFiles) -> String {
    let line = |(tag, times): &(String, Histogram<u64>)| {
        let name = tag.strip_suffix(".response")?.to_owned();
        let most = times.len() as f64;
        let ones_in =
            (0..=60).map(|at| 10_f64.powf(f64::from(at) / 10.0)).take_while(|n| *n <= most);
        let at = |one_in: f64| {
            let us = times.value_at_quantile(1.0 - 1.0 / one_in).max(1);
            (one_in, us as f64 / 1e6)
        };
        Some(Line { name, points: ones_in.map(at).collect() })
    };
    let lines: Vec<Line> = files.times.iter().filter_map(line).collect();
    plots::percentiles("response times by percentile", &lines)
}

fn end_of(files: &RunFiles) -> f64 {
    let last = files.timeline.rows().last();
    last.and_then(|row| row.number("t_s")).unwrap_or(0.0) + 1.0
}

/// Lanes of the trust time line at most (choice).
const LANES: usize = 40;

/// Which certificate each service used when: a colour for each certificate.
fn trust(summary: &Value, end: f64, marks: &[Mark]) -> String {
    let (mut names, mut bars): (Vec<String>, Vec<Bar>) = (Vec::new(), Vec::new());
    let mut serials: Vec<String> = Vec::new();
    let mut open: Vec<Option<usize>> = Vec::new();
    for row in each(&summary["presented"]) {
        let at = row["at_s"].as_f64().unwrap_or_default();
        let service = text_of(&row["service"]);
        let Some(serial) = row["serial"].as_str() else {
            // The service has stopped: its lanes end.
            for (lane, open) in open.iter_mut().enumerate() {
                if names[lane].starts_with(&service)
                    && let Some(bar) = open.take()
                {
                    bars[bar].to = at;
                }
            }
            continue;
        };
        let name = format!("{service} {}", text_of(&row["does"]));
        let lane = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            open.push(None);
            names.len() - 1
        });
        let colour = serials.iter().position(|known| known == serial).unwrap_or_else(|| {
            serials.push(serial.to_owned());
            serials.len() - 1
        });
        if let Some(bar) = open[lane].take() {
            bars[bar].to = at;
        }
        open[lane] = Some(bars.len());
        bars.push(Bar { lane, from: at, to: end.max(at), colour });
    }
    names.truncate(LANES);
    bars.retain(|bar| bar.lane < names.len());
    plots::lanes("certificates in use over time", &names, &bars, marks)
}

/// Words of the report (README, "Words").
const GLOSSARY: [(&str, &str); 12] = [
    ("boot", "one pass of a phone from power on or reset to its outcome"),
    ("planned", "the instant for which a boot was scheduled; times are measured from here"),
    ("ready", "list and configuration that are served now are accepted and in force"),
    (
        "stuck",
        "something was refused, its signer is unknown, and no TVS server that the phone trusts is \
         left: only a person or a new step of the operator can help",
    ),
    ("failed", "not ready for another reason, such as a server that did not answer"),
    ("stale", "ready with something that is no longer served"),
    ("not reset", "the run ended before it was this phone's turn"),
    ("ITL, CTL", "the lists of certificates that a phone trusts, with their roles"),
    ("TVS", "the service that phones ask about a signer that they do not know"),
    ("lookup", "an answer of TVS that a phone received and used"),
    ("response, service", "time from the planned, and from the actual start of a step"),
    ("SLO", "a condition on the numbers of a run that must hold at its end"),
];
