use minijinja::AutoEscape;
use serde_json::{Value, json};

use crate::base::words::{count, seconds};

use super::page::render;
use super::plots::{self, Line, Mark};

/// The report of a capacity measurement as one page of HTML.
pub fn capacity_html(summary: &Value, manifest: &Value) -> String {
    let mut context = context(summary, manifest);
    context["plots"] = json!({
        "achieved": achieved(summary),
        "latency": latency(summary),
    });
    render(AutoEscape::Html, include_str!("capacity.html.j2"), &context)
}

/// The same as Markdown.
pub fn capacity_md(summary: &Value, manifest: &Value) -> String {
    let context = context(summary, manifest);
    render(AutoEscape::None, include_str!("capacity.md.j2"), &context)
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn number(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(number) if number.fract() == 0.0 && number >= 0.0 => count(number as u64),
        Some(number) => format!("{number:.1}"),
    }
}

fn context(summary: &Value, manifest: &Value) -> Value {
    let capacity = &summary["capacity"];
    let server = ["tftp", "http", "tvs", "capf", "sip", "sips"]
        .into_iter()
        .find_map(|kind| Some(format!("{} {kind}", summary["load"][kind].as_str()?)));
    let level = |step: &Value| {
        let times = &step["response_s"];
        json!({
            "step": step["step"],
            "offered": number(&step["offered"]),
            "achieved": number(&step["achieved"]),
            "failed": number(&step["failed"]),
            "p50": seconds(times["p50"].as_f64()),
            "p90": seconds(times["p90"].as_f64()),
            "p99": seconds(times["p99"].as_f64()),
            "max": seconds(times["max"].as_f64()),
            "verdict": step["verdict"],
            "reason": step["reason"],
        })
    };
    let slo = |slo: &Value| {
        json!({
            "word": slo["verdict"],
            "expr": slo["expr"],
            "observed": number(&slo["observed"]),
            "bad": slo["verdict"] != "pass",
        })
    };
    json!({
        "manifest": manifest,
        "summary": summary,
        "server": server.unwrap_or_else(|| "-".to_owned()),
        "knee": number(&capacity["knee"]),
        "at_least": number(&capacity["at_least"]),
        "low": number(&capacity["confidence"]["low"]),
        "high": number(&capacity["confidence"]["high"]),
        "latency": seconds(summary["limits"]["latency_s"].as_f64()),
        "percentile": summary["limits"]["percentile"].as_f64().map(|share| share * 100.0),
        "levels": each(&capacity["steps"]).map(level).collect::<Vec<_>>(),
        "slos": each(&summary["slos"]).map(slo).collect::<Vec<_>>(),
    })
}

/// The levels by what was offered, ascending.
fn levels(summary: &Value) -> Vec<(f64, &Value)> {
    let steps = each(&summary["capacity"]["steps"]);
    let mut levels: Vec<(f64, &Value)> =
        steps.filter_map(|step| Some((step["offered"].as_f64()?, step))).collect();
    levels.sort_by(|a, b| a.0.total_cmp(&b.0));
    levels
}

fn line(summary: &Value, name: &str, of: impl Fn(&Value) -> Option<f64>) -> Line {
    let points =
        levels(summary).into_iter().filter_map(|(offered, step)| Some((offered, of(step)?)));
    Line { name: name.to_owned(), points: points.collect() }
}

fn knee(summary: &Value) -> Vec<Mark> {
    let at = summary["capacity"]["knee"].as_f64();
    at.map(|at| Mark { at, name: "knee".into() }).into_iter().collect()
}

fn unit(summary: &Value) -> String {
    let unit = summary["capacity"]["unit"].as_str().unwrap_or("starts/s");
    format!("offered, {unit}")
}

fn achieved(summary: &Value) -> String {
    let lines = [
        line(summary, "achieved", |step| step["achieved"].as_f64()),
        line(summary, "offered", |step| step["offered"].as_f64()),
    ];
    plots::by_level(
        "offered against achieved load",
        &unit(summary),
        "achieved",
        &lines,
        &knee(summary),
    )
}

fn latency(summary: &Value) -> String {
    let of = |key: &'static str| line(summary, key, move |step| step["response_s"][key].as_f64());
    let mut lines = vec![of("p50"), of("p90"), of("p99"), of("max")];
    let limit = summary["limits"]["latency_s"].as_f64();
    lines.push(line(summary, "limit", |_| limit));
    lines.retain(|line| !line.points.is_empty());
    plots::by_level("response time by level", &unit(summary), "seconds", &lines, &knee(summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_shows_offered_against_achieved_and_latency_by_level() {
        let level = |offered: f64, achieved: f64, p99: f64, verdict: &str| {
            json!({ "step": "climb", "offered": offered, "achieved": achieved, "failed": 0,
                "response_s": { "p50": p99 / 2.0, "p90": p99, "p99": p99, "max": p99 },
                "verdict": verdict, "reason": "a <reason>" })
        };
        let summary = json!({
            "mode": "capacity", "verdict": "knee", "load": { "tftp": "127.0.0.1:69" },
            "limits": { "percentile": 0.99, "latency_s": 0.5, "errors_ratio": 0.01 },
            "capacity": { "knee": 400.0, "at_least": 400.0, "unit": "transfers/s",
                "confidence": { "low": 390.0, "high": 420.0 },
                "steps": [level(200.0, 200.0, 0.01, "carried"), level(500.0, 410.5, 2.0, "broken")] },
            "slos": [{ "expr": "capacity.knee >= 300", "verdict": "pass", "observed": 400.0 }],
            "notes": ["a note"], "method": ["how"],
        });
        let manifest =
            json!({ "tool": { "version": "1" }, "started_at": "now", "host": { "cores": 2 } });
        let page = capacity_html(&summary, &manifest);
        assert_eq!(page.matches("<svg role=\"img\"").count(), 2);
        for part in
            ["<b>400</b>knee", "410.5", "a &lt;reason&gt;", "capacity.knee &gt;= 300", "a note"]
        {
            assert!(page.contains(part), "{part} in {page}");
        }
        let text = capacity_md(&summary, &manifest);
        assert!(
            text.contains("| 500 | 410.5 |") && text.contains("knee 400 transfers/s"),
            "{text}"
        );
    }
}
