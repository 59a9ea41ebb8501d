use serde_json::Value;

use super::text::{aligned, seconds, three_digits};

/// Why two measurements cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComparisonError {
    /// The baseline is no capacity measurement.
    #[error("the baseline is no summary of a capacity measurement")]
    NoCapacity,
    /// They do not measure the same.
    #[error("the baseline measured {base}, this one {candidate}")]
    Different {
        /// Unit of the baseline.
        base: String,
        /// Unit of this one.
        candidate: String,
    },
}

/// Two measurements of the same load whose knees differ by less are alike: what two measurements
/// of one server may differ by (choice).
const ALIKE: f64 = 0.05;

/// Compares two `summary.json` of capacity measurements: knees, and the response times at the
/// highest level that both carried. The text says by how much they differ.
///
/// # Errors
/// If the two do not measure the same.
pub fn compare_capacity(base: &Value, candidate: &Value) -> Result<String, ComparisonError> {
    let unit = |summary: &Value| {
        let unit = summary["capacity"]["unit"].as_str().map(str::to_owned);
        unit.ok_or(ComparisonError::NoCapacity)
    };
    let (base_unit, candidate_unit) = (unit(base)?, unit(candidate)?);
    if base_unit != candidate_unit {
        return Err(ComparisonError::Different { base: base_unit, candidate: candidate_unit });
    }
    let both = |path: &dyn Fn(&Value) -> Option<f64>| (path(base), path(candidate));
    let mut table = vec![["", "baseline", "this", "change"].map(str::to_owned).to_vec()];
    let knee = both(&|summary| summary["capacity"]["knee"].as_f64());
    table.push(row(&format!("knee, {base_unit}"), knee, three));
    let carried = both(&|summary| summary["capacity"]["at_least"].as_f64());
    table.push(row(&format!("carried, {base_unit}"), carried, three));
    for percentile in ["p50", "p90", "p99"] {
        let time = both(&|summary| best_step(summary)?["response_s"][percentile].as_f64());
        table.push(row(&format!("{percentile} there"), time, |s| seconds(Some(s))));
    }
    Ok(format!("{}{}\n", aligned(&table), verdict(change(carried))))
}

fn three(number: f64) -> String {
    if number >= 1_000.0 { format!("{number:.0}") } else { three_digits(number) }
}

/// The carried level with the highest offer.
fn best_step(summary: &Value) -> Option<&Value> {
    let steps = summary["capacity"]["steps"].as_array()?;
    let carried = steps.iter().filter(|step| step["verdict"] == "carried");
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

fn verdict(change: Option<f64>) -> String {
    match change {
        None => "difference: unknown, one of them carried nothing".to_owned(),
        Some(change) if change.abs() < ALIKE => {
            format!("difference: {}, alike (below {:.0} %)", percent(change), ALIKE * 100.0)
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
        assert!(none.contains("unknown"), "{none}");
    }

    #[test]
    fn different_things_are_not_compared() {
        let base = summary(Some(400.0), "transfers/s");
        let other = compare_capacity(&base, &summary(Some(1.0), "lookups/s"));
        assert!(matches!(other, Err(ComparisonError::Different { .. })));
        assert_eq!(compare_capacity(&json!({}), &base), Err(ComparisonError::NoCapacity));
    }
}
