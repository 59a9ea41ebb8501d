use serde_json::Value;

use crate::base::words::{aligned, seconds, three_digits};
use crate::measure::{CapacityVerdict, LevelKind, LevelVerdict};

/// Why two measurements cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComparisonError {
    /// The baseline is no capacity measurement.
    #[error("the baseline is no summary of a capacity measurement")]
    NoCapacity,
    /// They do not measure the same.
    #[error("the baseline has {what} {base}, this one {candidate}")]
    Different {
        /// In what they differ.
        what: &'static str,
        /// That of the baseline.
        base: String,
        /// That of this one.
        candidate: String,
    },
}

/// Two measurements of the same load whose knees differ by less are alike: what two measurements
/// of one server may differ by (choice).
const ALIKE: f64 = 0.05;

/// Percentiles of response times that are compared at the highest level that both carried.
const PERCENTILES: [&str; 3] = ["p50", "p90", "p99"];
/// A response time so many times as long, and longer by so much, is far worse (choice).
const FAR_WORSE: (f64, f64) = (2.0, 0.005);

/// Something that two measurements must have in common.
type Aspect<'a> = &'a dyn Fn(&Value) -> String;

/// Whether two measurements can be compared: the same kind of load by the same limits.
///
/// # Errors
/// In what they differ.
pub fn comparable_capacity(base: &Value, candidate: &Value) -> Result<(), ComparisonError> {
    if base["capacity"]["unit"].as_str().is_none() || candidate["capacity"]["unit"].is_null() {
        return Err(ComparisonError::NoCapacity);
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let aspects: [(&'static str, Aspect<'_>); 7] = [
        ("the unit", &|summary| text(&summary["capacity"]["unit"])),
        ("the task", &task),
        ("the servers", &servers),
        ("the mix", &|summary| text(&summary["load"]["mix"])),
        ("the percentile", &|summary| text(&summary["limits"]["percentile"])),
        ("the longest response time in seconds", &|summary| text(&summary["limits"]["latency_s"])),
        ("the largest share of failures", &|summary| text(&summary["limits"]["errors_ratio"])),
    ];
    for (what, aspect) in aspects {
        let (base, candidate) = (aspect(base), aspect(candidate));
        if base != candidate {
            return Err(ComparisonError::Different { what, base, candidate });
        }
    }
    Ok(())
}

/// A search, or the load that was fixed.
fn task(summary: &Value) -> String {
    if let Some(task) = summary["capacity"]["task"].as_str().filter(|task| !task.is_empty()) {
        return task.to_owned();
    }
    let first = &summary["capacity"]["steps"][0];
    let kind = first["step"].as_str().and_then(LevelKind::of);
    if kind.is_some_and(LevelKind::is_given) {
        format!("fixed {}", first["offered"])
    } else {
        "search".to_owned()
    }
}

/// Of which kinds the servers are.
fn servers(summary: &Value) -> String {
    let kinds = ["tftp", "http", "tvs", "capf", "sip", "sips"];
    let named = kinds.into_iter().filter(|kind| summary["load"][kind].is_string());
    named.collect::<Vec<_>>().join(" and ")
}

/// Whether the second measurement carried less than the first, by more than two measurements of
/// one server may differ by, or nothing where the first carried something.
pub fn carries_less(base: &Value, candidate: &Value) -> bool {
    match (carried(base), carried(candidate)) {
        (Some(base), None) => base > 0.0,
        _ => shows_less(base, candidate) && !is_open(candidate),
    }
}

/// Whether the second measurement ended, not by its server, below what the first carried: its
/// server may carry as much.
pub fn ended_too_low(base: &Value, candidate: &Value) -> bool {
    shows_less(base, candidate) && is_open(candidate)
}

fn carried(summary: &Value) -> Option<f64> {
    summary["capacity"]["at_least"].as_f64()
}

fn shows_less(base: &Value, candidate: &Value) -> bool {
    let change = change((carried(base), carried(candidate)));
    change.is_some_and(|change| change <= -alike(base, candidate))
}

/// Whether the highest carried level is only what the server carries at least.
fn is_open(summary: &Value) -> bool {
    summary["capacity"]["knee"].is_null()
        && CapacityVerdict::BELOW_THE_KNEE.iter().any(|below| summary["verdict"] == below.name())
}

/// Part by which two measurements of one server may differ: their intervals may be wider.
fn alike(base: &Value, candidate: &Value) -> f64 {
    let width = |summary: &Value| summary["capacity"]["confidence"]["width_ratio"].as_f64();
    [base, candidate].into_iter().filter_map(width).fold(ALIKE, f64::max)
}

/// Compares two `summary.json` of capacity measurements: knees, and the response times at the
/// highest level that both carried. The text says by how much they differ.
///
/// # Errors
/// If the two do not measure the same.
pub fn compare_capacity(base: &Value, candidate: &Value) -> Result<String, ComparisonError> {
    comparable_capacity(base, candidate)?;
    let base_unit = base["capacity"]["unit"].as_str().unwrap_or_default();
    let both = |path: &dyn Fn(&Value) -> Option<f64>| (path(base), path(candidate));
    let mut table = vec![["", "baseline", "this", "change"].map(str::to_owned).to_vec()];
    let knee = both(&|summary| summary["capacity"]["knee"].as_f64());
    table.push(row(&format!("knee, {base_unit}"), knee, three));
    let carried = both(&carried);
    table.push(row(&format!("carried, {base_unit}"), carried, three));
    let mut worse = Vec::new();
    for percentile in PERCENTILES {
        let time = both(&|summary| best_step(summary)?["response_s"][percentile].as_f64());
        table.push(row(&format!("{percentile} there"), time, |s| seconds(Some(s))));
        if let (Some(was), Some(is)) = time
            && is > was * FAR_WORSE.0
            && is - was > FAR_WORSE.1
        {
            worse.push(format!("{percentile} {:.1} times as long", is / was.max(1e-6)));
        }
    }
    let mut verdict = if ended_too_low(base, candidate) {
        TOO_LOW.to_owned()
    } else {
        verdict(carried, alike(base, candidate))
    };
    if !worse.is_empty() {
        verdict
            .push_str(&format!(", but response times there are far worse: {}", worse.join(", ")));
    }
    Ok(format!("{}{verdict}\n", aligned(&table)))
}

/// What is said of a measurement that did not offer enough.
const TOO_LOW: &str =
    "difference: cannot be compared, this one ended below what the baseline carried";

fn three(number: f64) -> String {
    if number >= 1_000.0 { format!("{number:.0}") } else { three_digits(number) }
}

/// The carried level with the highest offer.
fn best_step(summary: &Value) -> Option<&Value> {
    let steps = summary["capacity"]["steps"].as_array()?;
    let carried = steps.iter().filter(|step| step["verdict"] == LevelVerdict::Carried.name());
    carried.max_by(|one, other| {
        let offered = |step: &Value| step["offered"].as_f64().unwrap_or(0.0);
        offered(one).total_cmp(&offered(other))
    })
}

/// The change from the first to the second as a part of the first.
fn change((base, candidate): (Option<f64>, Option<f64>)) -> Option<f64> {
    let base = base.filter(|base| *base > 0.0)?;
    Some(candidate? / base - 1.0)
}

fn row(
    label: &str,
    values: (Option<f64>, Option<f64>),
    text: impl Fn(f64) -> String,
) -> Vec<String> {
    let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), &text);
    let change = change(values).map_or_else(|| "-".to_owned(), percent);
    vec![label.to_owned(), cell(values.0), cell(values.1), change]
}

fn percent(change: f64) -> String {
    format!("{:+.1} %", change * 100.0)
}

fn verdict(carried: (Option<f64>, Option<f64>), alike: f64) -> String {
    match change(carried) {
        None if carried.0 > Some(0.0) => "difference: LESS, this one carried nothing".to_owned(),
        None => "difference: unknown, the baseline carried nothing".to_owned(),
        Some(change) if change.abs() < alike => {
            format!("difference: {}, alike (below {:.0} %)", percent(change), alike * 100.0)
        }
        Some(change) if change > 0.0 => format!("difference: {}, MORE", percent(change)),
        Some(change) => format!("difference: {}, LESS", percent(change)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary(knee: Option<f64>, unit: &str) -> Value {
        let step = |offered: f64, verdict: &str| {
            json!({
                "offered": offered,
                "verdict": verdict,
                "response_s": { "p50": offered / 1e5, "p90": 0.1, "p99": null },
            })
        };
        json!({ "capacity": {
            "knee": knee,
            "at_least": knee,
            "unit": unit,
            "steps": [step(100.0, "carried"), step(400.0, "carried"), step(900.0, "broken")],
        }})
    }

    #[test]
    fn two_measurements_differ_by_a_percentage_and_the_text_says_so() {
        let base = summary(Some(400.0), "transfers/s");
        let alike = compare_capacity(&base, &summary(Some(412.0), "transfers/s")).unwrap();
        assert!(alike.ends_with("difference: +3.0 %, alike (below 5 %)\n"), "{alike}");
        assert!(alike.contains("4.00 ms"), "the highest carried level: {alike}");
        let less = compare_capacity(&base, &summary(Some(300.0), "transfers/s")).unwrap();
        assert!(less.ends_with("difference: -25.0 %, LESS\n"), "{less}");
        let none = compare_capacity(&base, &summary(None, "transfers/s")).unwrap();
        assert!(none.contains("LESS, this one carried nothing"), "{none}");
    }

    #[test]
    fn a_regression_is_one_however_it_comes() {
        let base = summary(Some(400.0), "transfers/s");
        let less = |knee| carries_less(&base, &summary(knee, "transfers/s"));
        assert_eq!((less(Some(300.0)), less(Some(390.0)), less(Some(500.0))), (true, false, false));
        assert!(less(None), "it carries nothing");
        let mut wide = summary(Some(370.0), "transfers/s");
        wide["capacity"]["confidence"] = json!({ "width_ratio": 0.1 });
        assert!(!carries_less(&base, &wide), "its interval is 10 % wide");
    }

    #[test]
    fn what_was_never_offered_is_no_regression_and_cannot_be_compared() {
        let measured = |verdict: &str, knee: Option<f64>, at_least: f64| {
            let mut summary = summary(knee, "transfers/s");
            summary["verdict"] = json!(verdict);
            summary["capacity"]["at_least"] = json!(at_least);
            summary
        };
        let highest = |at_least| measured("highest-offered", None, at_least);
        let (before, lower) = (highest(400.0), highest(300.0));
        assert!(!carries_less(&before, &lower) && ended_too_low(&before, &lower));
        let text = compare_capacity(&before, &lower).unwrap();
        assert!(text.contains("cannot be compared, this one ended below"), "{text}");
        assert!(ended_too_low(&measured("knee", Some(400.0), 400.0), &lower));
        assert!(!ended_too_low(&before, &highest(395.0)), "alike");
        let knee = measured("knee", Some(300.0), 300.0);
        assert!(carries_less(&before, &knee) && !ended_too_low(&before, &knee));
    }

    #[test]
    fn knees_alike_with_far_worse_response_times_are_not_called_alike_alone() {
        let base = summary(Some(400.0), "transfers/s");
        let mut slow = base.clone();
        slow["capacity"]["steps"][1]["response_s"]["p50"] = json!(0.04);
        let text = compare_capacity(&base, &slow).unwrap();
        assert!(
            text.contains("alike (below 5 %), but response times there are far worse"),
            "{text}"
        );
        assert!(text.contains("p50 10.0 times as long"), "{text}");
    }

    #[test]
    fn a_search_is_not_compared_with_a_fixed_rate_nor_with_another_load_or_limit() {
        let base = summary(Some(400.0), "transfers/s");
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut other = base.clone();
            change(&mut other);
            compare_capacity(&base, &other).unwrap_err().to_string()
        };
        let fixed = refused(&|other| other["capacity"]["steps"][0]["step"] = json!("fixed"));
        assert_eq!(fixed, "the baseline has the task search, this one fixed 100.0");
        assert!(
            refused(&|other| other["limits"]["percentile"] = json!(0.5)).contains("percentile")
        );
        assert!(refused(&|other| other["load"]["mix"] = json!({"boot": 1.0})).contains("the mix"));
        assert!(refused(&|other| other["load"]["http"] = json!("x")).contains("servers"));
        let unit = refused(&|other| other["capacity"]["unit"] = json!("boots/s"));
        assert!(unit.contains("transfers/s, this one boots/s"), "{unit}");
        let none = compare_capacity(&json!({"mode": "run"}), &base).unwrap_err();
        assert_eq!(none, ComparisonError::NoCapacity);
    }
}
