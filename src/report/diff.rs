use serde_json::Value;

use super::text::aligned;

/// Two runs side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// Rows in the order of the table.
    pub rows: Vec<DiffRow>,
}

/// One number of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffRow {
    /// Its path in `summary.json`.
    pub path: String,
    /// In the first run.
    pub base: Option<f64>,
    /// In the second run.
    pub candidate: Option<f64>,
    /// Whether it is a count, which must be equal, or a length of time.
    pub is_count: bool,
    /// Whether it is judged.
    pub is_judged: bool,
}

/// Counts that two runs of one scenario share, whatever they took.
const COUNTS: [&str; 19] = [
    "phones.total",
    "phones.ready",
    "phones.stuck",
    "phones.failed",
    "phones.list_alarms",
    "phones.config_alarms",
    "config.applied",
    "tvs.lookups",
    "tvs.cache_hits",
    "tvs.failed",
    "tvs.failovers",
    "trust.lists.accepted_first",
    "trust.lists.accepted_by_itl",
    "trust.lists.accepted_by_tvs",
    "trust.lists.refused",
    "trust.configs.accepted_by_itl",
    "trust.configs.accepted_by_tvs",
    "trust.configs.refused",
    "signatures.made",
];

/// Times that are judged: when the fleet is ready, and what the servers work for it.
const JUDGED: [&str; 4] =
    ["fleet_ready_s.p50", "fleet_ready_s.p90", "fleet_ready_s.p99", "cpu_s.serve"];

/// Times that are shown.
const SHOWN: [&str; 5] =
    ["fleet_ready_s.last", "boot_time_s.p50", "boot_time_s.p90", "boot_time_s.p99", "cpu_s.swarm"];

impl Diff {
    /// Compares two summaries.
    pub fn new(base: &Value, candidate: &Value) -> Diff {
        let at = |document: &Value, path: &str| {
            path.split('.').try_fold(document, |value, key| value.get(key)).and_then(Value::as_f64)
        };
        let row = |path: &str, is_count: bool, is_judged: bool| DiffRow {
            path: path.to_owned(),
            base: at(base, path),
            candidate: at(candidate, path),
            is_count,
            is_judged,
        };
        let counts = COUNTS.iter().map(|path| row(path, true, true));
        let judged = JUDGED.iter().map(|path| row(path, false, true));
        let shown = SHOWN.iter().map(|path| row(path, false, false));
        let mut rows: Vec<DiffRow> = counts.chain(judged).chain(shown).collect();
        rows.extend(steps(base, candidate));
        Diff { rows }
    }

    /// Whether every count is equal and every judged time within `tolerance` (0.15 is 15 %).
    pub fn agrees(&self, tolerance: f64) -> bool {
        self.rows.iter().filter(|row| row.is_judged).all(|row| row.agrees(tolerance))
    }

    /// The table; rows that are judged and do not agree carry an exclamation mark.
    pub fn text(&self, names: [&str; 2], tolerance: f64) -> String {
        let head = ["", names[0], names[1], "change"].map(str::to_owned).to_vec();
        let shown = |row: &DiffRow, value: Option<f64>| match value {
            None => "-".to_owned(),
            Some(value) if row.is_count => format!("{value}"),
            Some(value) => format!("{value:.3} s"),
        };
        let line = |row: &DiffRow| {
            let mark = if row.is_judged && !row.agrees(tolerance) { "! " } else { "  " };
            let change = row.change().map_or("-".to_owned(), |change| {
                if row.is_equal() { "=".to_owned() } else { format!("{:+.1} %", change * 100.0) }
            });
            let values = [shown(row, row.base), shown(row, row.candidate), change];
            std::iter::once(format!("{mark}{}", row.path)).chain(values).collect::<Vec<_>>()
        };
        let worth = |row: &&DiffRow| {
            row.base.is_some_and(|b| b != 0.0) || row.candidate.is_some_and(|c| c != 0.0)
        };
        let rows = self.rows.iter().filter(worth).map(line);
        aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
    }
}

impl DiffRow {
    /// By how much of the first the second is more; `None` where one is not there.
    pub fn change(&self) -> Option<f64> {
        match (self.base?, self.candidate?) {
            _ if self.is_equal() => Some(0.0),
            (base, candidate) => Some(candidate / base - 1.0).filter(|change| change.is_finite()),
        }
    }

    /// Whether both runs have the same number, bit for bit.
    fn is_equal(&self) -> bool {
        self.base.map(f64::to_bits) == self.candidate.map(f64::to_bits)
    }

    fn agrees(&self, tolerance: f64) -> bool {
        match (self.base, self.candidate) {
            (None, None) => true,
            (Some(_), Some(_)) if self.is_count => self.is_equal(),
            _ => self.change().is_some_and(|change| change.abs() <= tolerance),
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
        path: format!("steps.{step}.service_time_s.{percentile}"),
        base: of(base, step, percentile),
        candidate: of(candidate, step, percentile),
        is_count: false,
        is_judged: false,
    };
    let names = ["ctl", "itl", "config", "tvs"];
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
}
