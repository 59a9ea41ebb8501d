use serde_json::Value;

use crate::base::words::aligned;
use crate::measure::{Metric, Pair, Summary, Unit};

use super::both::Both;

/// Two runs side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// Rows in the order of the table.
    pub rows: Vec<DiffRow>,
}

/// One number of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffRow {
    /// The number.
    pub number: Both,
    /// Whether it is judged.
    pub is_judged: bool,
}

/// How fast the machine was, and how much of it was to be had.
const YARDSTICK: &str = "machine.yardstick_s";
const AVAILABLE: &str = "machine.available";
/// By how much a machine may change between two runs before that is worth a word.
const MACHINE_TOLERANCE: f64 = 0.05;

impl Diff {
    /// Compares two summaries.
    pub fn new(base: &Value, candidate: &Value) -> Diff {
        let of = |metric: Metric| Some((metric.row.unit, metric.pair()?, metric.path()));
        let mut compared: Vec<(Unit, Pair, String)> =
            Summary::default().metrics().into_iter().filter_map(of).collect();
        compared.sort_by_key(|(unit, pair, _)| (*unit, *pair));
        let row = |(unit, pair, path): (Unit, Pair, String)| DiffRow {
            number: Both::of(&path, unit, base, candidate),
            is_judged: pair == Pair::Judged,
        };
        let mut rows: Vec<DiffRow> = compared.into_iter().map(row).collect();
        rows.extend(steps(base, candidate));
        Diff { rows }
    }

    /// Whether every count is equal and every judged time within `tolerance` (0.15 is 15 %).
    pub fn agrees(&self, tolerance: f64) -> bool {
        self.rows.iter().filter(|row| row.is_judged).all(|row| row.agrees(tolerance))
    }

    /// Whether the machine was another in the second run, in words: then times need not agree.
    pub fn machine(&self) -> Option<String> {
        let changed = |path: &str| {
            let change = self.rows.iter().find(|row| row.number.path == path)?.number.change();
            change.filter(|change| change.abs() > MACHINE_TOLERANCE)
        };
        let percent = |change: f64| format!("{:.0} %", change.abs() * 100.0);
        let speed = changed(YARDSTICK).map(|change| {
            let word = if change > 0.0 { "longer" } else { "shorter" };
            format!("the same work took {} {word}", percent(change))
        });
        let share = changed(AVAILABLE).map(|change| {
            let word = if change > 0.0 { "more" } else { "less" };
            format!("{} {word} of the machine was to be had", percent(change))
        });
        let both: Vec<String> = speed.into_iter().chain(share).collect();
        (!both.is_empty()).then(|| both.join(", and "))
    }

    /// The table; rows that are judged and do not agree carry an exclamation mark.
    pub fn text(&self, names: [&str; 2], tolerance: f64) -> String {
        let head = ["", names[0], names[1], "change"].map(str::to_owned).to_vec();
        let line = |row: &DiffRow| {
            let mark = if row.is_judged && !row.agrees(tolerance) { "! " } else { "  " };
            let path = format!("{mark}{}", row.number.path);
            std::iter::once(path).chain(row.number.cells()).collect::<Vec<_>>()
        };
        let rows = self.rows.iter().filter(|row| row.number.is_there()).map(line);
        aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
    }
}

impl DiffRow {
    fn agrees(&self, tolerance: f64) -> bool {
        let number = &self.number;
        match (number.base, number.candidate) {
            (None, None) => true,
            (Some(_), Some(_)) if number.unit == Unit::Count => number.is_equal(),
            _ => number.change().is_some_and(|change| change.abs() <= tolerance),
        }
    }
}

/// Medians and 99th percentiles of each step, from its actual start.
fn steps(base: &Value, candidate: &Value) -> Vec<DiffRow> {
    let of = |document: &Value, step: &str, percentile: &str| {
        let steps = document["steps"].as_array()?;
        let found = steps.iter().find(|row| row["step"] == step)?;
        found["service_time_s"][percentile].as_f64()
    };
    let row = |step: &str, percentile: &str| DiffRow {
        number: Both {
            path: format!("steps.{step}.service_time_s.{percentile}"),
            base: of(base, step, percentile),
            candidate: of(candidate, step, percentile),
            unit: Unit::Seconds,
        },
        is_judged: false,
    };
    let names = ["ctl", "itl", "config", "tvs", "registration", "fail-over", "fall-back"];
    names.iter().flat_map(|step| [row(step, "p50"), row(step, "p99")]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary(ready: u64, p99: f64) -> Value {
        json!({
            "phones": { "total": 10, "ready": ready },
            "fleet_ready_s": { "p50": 1.0, "p99": p99 },
            "steps": [{ "step": "itl", "service_time_s": { "p50": 0.2, "p99": null } }],
        })
    }

    #[test]
    fn counts_are_equal_and_times_near() {
        let diff = |ready, p99| Diff::new(&summary(10, 2.0), &summary(ready, p99));
        assert!(diff(10, 2.2).agrees(0.15));
        assert!(!diff(10, 2.4).agrees(0.15), "20 % are too much");
        assert!(!diff(9, 2.0).agrees(0.15), "a count is equal or it is not");
        assert!(!Diff::new(&summary(10, 2.0), &json!({})).agrees(0.15), "no number, no agreement");
    }

    #[test]
    fn the_table_marks_what_does_not_agree() {
        let text = Diff::new(&summary(10, 2.0), &summary(9, 2.1)).text(["live", "sim"], 0.15);
        let line = |path: &str| text.lines().find(|line| line.contains(path)).unwrap();
        assert!(
            line("phones.ready").starts_with("! ") && line("phones.ready").ends_with("-10.0 %")
        );
        assert!(line("fleet_ready_s.p99").starts_with("  ") && line("p99").ends_with("+5.0 %"));
        assert!(line("fleet_ready_s.p50").ends_with('='));
        assert!(line("steps.itl.service_time_s.p50").contains("0.200 s"));
        assert!(!text.contains("tvs.lookups"), "what neither has is left out");
    }

    #[test]
    fn another_machine_is_told() {
        let on = |yardstick: f64, available: f64| {
            let mut run = summary(10, 2.0);
            run["machine"] = json!({ "yardstick_s": yardstick, "available": available });
            run
        };
        let told = |other: &Value| Diff::new(&on(5e-4, 1.0), other).machine();
        assert_eq!(told(&on(5.2e-4, 0.96)), None);
        assert_eq!(told(&summary(10, 2.0)), None, "nothing is known of the other");
        assert_eq!(told(&on(6e-4, 1.0)).unwrap(), "the same work took 20 % longer");
        let both = "the same work took 20 % shorter, and 50 % less of the machine was to be had";
        assert_eq!(told(&on(4e-4, 0.5)).unwrap(), both);
    }
}
