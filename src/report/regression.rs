//! Whether one run is worse than another of the same kind.

use serde_json::Value;

use crate::measure::{GeneratorState, Metric, Summary, Trend, Unit, Verdict};

use super::both::Both;
use super::capacity_comparison::ended_too_low;
use super::noise::Noise;
use crate::base::lines::COLUMNS;
use crate::base::words::aligned;
use crate::base::{named, wrapped};

/// Two runs of one kind, number by number.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// Rows in the order of the table.
    pub rows: Vec<RegressionRow>,
    /// Conditions that held in the first run and were broken in the second.
    pub broken: Vec<String>,
    /// What keeps numbers from being judged, in words.
    pub caveats: Vec<String>,
    /// By how much a judged number may be worse, as a share.
    pub noise: Noise,
}

/// One number of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RegressionRow {
    /// The number.
    pub number: Both,
    /// What the change means.
    pub change: Change,
}

named! {
    /// What a change of a number means.
    pub enum Change {
        /// The same, or within the tolerance.
        Alike = "alike",
        /// For the better.
        Better = "better",
        /// Another number, neither better nor worse.
        Other = "other",
        /// For the worse.
        Worse = "worse",
    }
}

/// The numbers of a run that are compared: path, unit, what a change means. The counts of a section
/// stand in the order of what they mean, and so do all times.
fn compared() -> Vec<(String, Unit, Trend)> {
    let numbers = Summary::default().metrics().into_iter();
    let of = |metric: Metric| {
        let (trend, unit) = (metric.trend()?, metric.row.unit);
        let section = if unit == Unit::Seconds { "" } else { metric.section };
        Some((section, (metric.path(), unit, trend)))
    };
    let mut compared: Vec<(&str, (String, Unit, Trend))> = numbers.filter_map(of).collect();
    for section in compared.chunk_by_mut(|(one, _), (next, _)| one == next) {
        section.sort_by_key(|(_, (.., trend))| *trend);
    }
    compared.into_iter().map(|(_, number)| number).collect()
}

impl Regression {
    /// Compares two summaries of runs. Counts are compared exactly; a judged time is worse if it
    /// is longer by more than the `noise` of that time, or is not reached any more. Times of a
    /// generator that was late are not judged.
    pub fn of_runs(base: &Value, candidate: &Value, noise: Noise) -> Regression {
        let late = |run: &Value| {
            run["generator"]["verdict"].as_str().is_some_and(|v| v != GeneratorState::Ok.name())
        };
        let mut caveats = Vec::new();
        for (run, word) in [(base, "first"), (candidate, "second")] {
            if late(run) {
                caveats
                    .push(format!("the generator of the {word} run was late: no time is judged"));
            }
            if run["verdict"] == Verdict::Interrupted.name() {
                caveats.push(format!("the {word} run was interrupted"));
            }
        }
        let are_times_sound = !late(base) && !late(candidate);
        let row = |(path, unit, trend): (String, Unit, Trend)| {
            let (trend, tolerance) = match unit {
                Unit::Seconds if are_times_sound => (trend, noise.at(&path)),
                Unit::Seconds => (Trend::Neither, noise.at(&path)),
                _ => (trend, 0.0),
            };
            RegressionRow::new(Both::of(&path, unit, base, candidate), trend, tolerance)
        };
        let rows = compared().into_iter().map(row).collect();
        Regression { rows, broken: broken(base, candidate), caveats, noise }
    }

    /// Compares two summaries of capacity measurements: what is carried may be less by `tolerance`
    /// before that is worse; more wrong answers always are.
    pub fn of_capacity(base: &Value, candidate: &Value, tolerance: f64) -> Regression {
        let row = |path: &str, trend: Trend, tolerance: f64| {
            let number = Both::of(path, Unit::Count, base, candidate);
            RegressionRow::new(number, trend, tolerance)
        };
        let is_open = ended_too_low(base, candidate);
        let rows = vec![
            row("capacity.knee", Trend::Neither, tolerance),
            row("capacity.at_least", if is_open { Trend::Neither } else { Trend::High }, tolerance),
            row("wrong.count", Trend::Low, 0.0),
        ];
        let caveat = "the second measurement ended below what the first carried: what the servers \
                      carry cannot be compared";
        let caveats = is_open.then(|| caveat.to_owned()).into_iter().collect();
        let noise = Noise::fixed(tolerance);
        Regression { rows, broken: broken(base, candidate), caveats, noise }
    }

    /// How many numbers and conditions became worse.
    pub fn worse(&self) -> usize {
        self.count(Change::Worse) + self.broken.len()
    }

    /// What became of the whole.
    pub fn verdict(&self) -> Change {
        match (self.worse(), self.count(Change::Better)) {
            (0, 0) => Change::Alike,
            (0, _) => Change::Better,
            _ => Change::Worse,
        }
    }

    fn count(&self, wanted: Change) -> usize {
        self.rows.iter().filter(|row| row.change == wanted).count()
    }

    /// The table of runs with what each change means.
    pub fn table(&self) -> String {
        let head = ["", "base", "candidate", "change", ""].map(str::to_owned).to_vec();
        let line = |row: &RegressionRow| {
            let word = match row.change {
                Change::Alike => "",
                Change::Worse => "WORSE",
                other => other.name(),
            };
            let path = std::iter::once(row.number.path.clone());
            path.chain(row.number.cells()).chain([word.to_owned()]).collect::<Vec<_>>()
        };
        let rows = self.rows.iter().filter(|row| row.number.is_there()).map(line);
        let table = aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
        let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
        lines.join("\n") + "\n"
    }

    /// What became worse beside the numbers, how it was judged, and the verdict.
    pub fn conclusion(&self) -> String {
        let mut lines: Vec<String> = self
            .broken
            .iter()
            .map(|expr| format!("WORSE: held before, broken now: {expr}"))
            .collect();
        lines.extend(self.caveats.iter().cloned());
        let times = self.noise.of.iter();
        let limits = times.map(|(path, share)| format!("{path} {:.1} %", share * 100.0));
        let limits: Vec<String> = limits.collect();
        let limits =
            if limits.is_empty() { String::new() } else { format!(": {}", limits.join(", ")) };
        lines.push(format!(
            "limits: counts exactly, others within their noise, {}{limits}",
            self.noise.source
        ));
        let code = u8::from(self.worse() > 0);
        lines.push(format!(
            "verdict: {} ({} worse, {} better) · exit {code}",
            self.verdict().name().to_uppercase(),
            self.worse(),
            self.count(Change::Better)
        ));
        lines.iter().flat_map(|line| wrapped(line, COLUMNS)).map(|line| line + "\n").collect()
    }
}

impl RegressionRow {
    fn new(number: Both, trend: Trend, tolerance: f64) -> RegressionRow {
        let (lower_is, higher_is) = match trend {
            Trend::High => (Change::Worse, Change::Better),
            Trend::Low => (Change::Better, Change::Worse),
            Trend::Neither | Trend::Size => (Change::Other, Change::Other),
        };
        let change = match (number.base, number.candidate) {
            (None, None) => Change::Alike,
            (Some(_), None) | (None, Some(_)) if lower_is == Change::Other => Change::Other,
            // What was there and is not any more: a time never reached, a level never carried.
            (Some(_), None) => Change::Worse,
            (None, Some(_)) => Change::Better,
            (Some(base), Some(candidate)) if (candidate - base).abs() <= base.abs() * tolerance => {
                Change::Alike
            }
            (Some(base), Some(candidate)) if candidate < base => lower_is,
            (Some(_), Some(_)) => higher_is,
        };
        RegressionRow { number, change }
    }
}

/// Conditions of both runs that held in the first and were broken in the second.
fn broken(base: &Value, candidate: &Value) -> Vec<String> {
    let rows = |run: &Value| run["slos"].as_array().cloned().unwrap_or_default();
    let held: Vec<Value> = rows(base)
        .into_iter()
        .filter(|slo| slo["verdict"] == "pass")
        .map(|slo| slo["expr"].clone())
        .collect();
    let fails = rows(candidate).into_iter().filter(|slo| slo["verdict"] == "fail");
    fails
        .filter(|slo| held.contains(&slo["expr"]))
        .filter_map(|slo| slo["expr"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(stuck: u64, p99: Option<f64>, slo: &str) -> Value {
        json!({
            "mode": "live",
            "verdict": "pass",
            "phones": { "total": 100, "ready": 100 - stuck, "stuck": stuck, "failed": 0 },
            "tvs": { "lookups": 100 - stuck },
            "fleet_ready_s": { "p50": 1.0, "p99": p99 },
            "generator": { "verdict": "ok" },
            "slos": [{ "expr": "phones.stuck == 0", "verdict": slo }],
        })
    }

    #[test]
    fn more_stuck_longer_times_and_broken_conditions_are_worse_and_the_other_way_is_better() {
        let base = run(0, Some(2.0), "pass");
        let verdict =
            |other: &Value| Regression::of_runs(&base, other, Noise::fixed(0.15)).verdict();
        assert_eq!(verdict(&base), Change::Alike);
        assert_eq!(verdict(&run(0, Some(2.2), "pass")), Change::Alike);
        assert_eq!(verdict(&run(0, Some(2.4), "pass")), Change::Worse);
        assert_eq!(verdict(&run(0, Some(1.0), "pass")), Change::Better);
        assert_eq!(verdict(&run(1, Some(2.0), "pass")), Change::Worse);
        assert_eq!(verdict(&run(0, None, "pass")), Change::Worse, "never reached");
        assert_eq!(verdict(&run(0, Some(2.0), "fail")), Change::Worse);
        let back = Regression::of_runs(&run(9, None, "fail"), &base, Noise::fixed(0.15));
        assert_eq!((back.verdict(), back.worse()), (Change::Better, 0));
    }

    #[test]
    fn a_count_that_is_neither_good_nor_bad_is_shown_and_no_regression() {
        let base = run(0, Some(2.0), "pass");
        let mut other = base.clone();
        other["tvs"]["lookups"] = 50.into();
        let compared = Regression::of_runs(&base, &other, Noise::fixed(0.15));
        assert_eq!(compared.verdict(), Change::Alike);
        let table = compared.table();
        let line = table.lines().find(|line| line.starts_with("tvs.lookups")).unwrap();
        assert!(line.ends_with("-50.0 %  other"), "{table}");
        assert!(compared.conclusion().ends_with("verdict: ALIKE (0 worse, 0 better) · exit 0\n"));
    }

    #[test]
    fn times_of_a_late_generator_are_not_judged() {
        let base = run(0, Some(2.0), "pass");
        let mut late = run(0, Some(9.0), "pass");
        late["generator"]["verdict"] = "saturated".into();
        let compared = Regression::of_runs(&base, &late, Noise::fixed(0.15));
        assert_eq!(compared.verdict(), Change::Alike);
        assert!(compared.conclusion().contains("the generator of the second run was late"));
    }

    #[test]
    fn less_capacity_and_more_wrong_answers_are_worse() {
        let level = |carried: Option<f64>, wrong: u64| {
            json!({ "capacity": { "knee": carried, "at_least": carried },
                "wrong": { "count": wrong } })
        };
        let base = level(Some(400.0), 0);
        let verdict = |other: &Value| Regression::of_capacity(&base, other, 0.05).verdict();
        assert_eq!(verdict(&level(Some(390.0), 0)), Change::Alike);
        assert_eq!(verdict(&level(Some(300.0), 0)), Change::Worse);
        assert_eq!(verdict(&level(Some(500.0), 0)), Change::Better);
        assert_eq!(verdict(&level(None, 0)), Change::Worse);
        assert_eq!(verdict(&level(Some(500.0), 1)), Change::Worse);
    }
}
