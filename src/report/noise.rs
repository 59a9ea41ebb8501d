use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::base::{Purpose, stream};

use super::table::Table;

/// How far numbers of two runs lie apart that nothing tells apart but chance.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// Of what it was measured, in words.
    pub source: String,
    /// By the path of a time: as a share of it.
    pub of: BTreeMap<String, f64>,
    /// For what is not in there.
    pub otherwise: f64,
}

/// Runs of the same scenario that say more than a single one (choice).
const REPEATS_MIN: usize = 3;
/// Repeated runs that are read at most (choice).
const REPEATS_MAX: usize = 30;
/// The least that repeated runs are believed to differ by (choice).
const REPEATS_FLOOR: f64 = 0.03;
/// Times that the seconds of a run are drawn anew (choice).
const DRAWS: u64 = 200;
/// Part of the draws that lies within the noise on either side of the middle.
const WITHIN: f64 = 0.475;

/// The columns of `phones.csv` by whose seconds it draws.
const COLUMNS: [&str; 3] = ["planned_s", "ready_s", "boot_s"];

impl Noise {
    /// A limit that somebody has chosen for all times.
    pub fn fixed(tolerance: f64) -> Noise {
        let source = format!("fixed at {} %", tolerance * 100.0);
        Noise { source, of: BTreeMap::new(), otherwise: tolerance }
    }

    /// The noise of the run in this directory: of repeated runs of its scenario if there are enough
    /// beside it, else of its own seconds, drawn again and again, but no less than `least`, because
    /// those know nothing of the host.
    pub fn of_run(run: &Path, least: f64) -> Noise {
        let repeats = repeats(run);
        if repeats.len() >= REPEATS_MIN {
            return Noise::of_repeats(&repeats, least);
        }
        let table = fs::read_to_string(run.join("phones.csv")).ok();
        match table.and_then(|text| Table::parse(&text, &COLUMNS).ok()) {
            Some(table) => Noise::of_seconds(&table, least),
            None => Noise::fixed(least),
        }
    }

    fn of_repeats(summaries: &[Value], otherwise: f64) -> Noise {
        let mut of = BTreeMap::new();
        for path in TIMES {
            let at = |summary: &Value| {
                path.split('.').try_fold(summary, |value, key| value.get(key))?.as_f64()
            };
            let values: Vec<f64> = summaries.iter().filter_map(at).collect();
            if values.len() >= REPEATS_MIN {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let low = values.iter().copied().fold(f64::INFINITY, f64::min);
                let high = values.iter().copied().fold(0.0, f64::max);
                let share = if mean > 0.0 { (high - low) / mean } else { 0.0 };
                of.insert(path.to_owned(), share.max(REPEATS_FLOOR));
            }
        }
        let source = format!("measured by {} repeated runs of this scenario", summaries.len());
        Noise { source, of, otherwise }
    }

    fn of_seconds(phones: &Table, least: f64) -> Noise {
        let mut seconds: BTreeMap<u64, Vec<[f64; 2]>> = BTreeMap::new();
        for row in phones.rows() {
            let [planned, ready, boot] = COLUMNS.map(|column| row.number(column));
            if let (Some(planned), Some(ready), Some(boot)) = (planned, ready, boot) {
                seconds.entry(planned.max(0.0) as u64).or_default().push([ready, boot]);
            }
        }
        let seconds: Vec<Vec<[f64; 2]>> = seconds.into_values().collect();
        let storm = seconds.iter().flatten().map(|phone| phone[0]).fold(f64::INFINITY, f64::min);
        let mut draws: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for draw in 0..DRAWS {
            let mut chance = stream(draw, 0, Purpose::Trace);
            let mut sample: Vec<[f64; 2]> = Vec::new();
            for _ in 0..seconds.len() {
                let at = (chance.unit() * seconds.len() as f64) as usize;
                sample.extend(&seconds[at]);
            }
            if sample.is_empty() {
                break;
            }
            for (path, column, quantile) in PERCENTILES {
                let mut values: Vec<f64> = sample.iter().map(|phone| phone[column]).collect();
                values.sort_by(f64::total_cmp);
                let at = ((values.len() - 1) as f64 * quantile) as usize;
                let from = if column == 0 { storm } else { 0.0 };
                draws.entry(path).or_default().push(values[at] - from);
            }
        }
        let share = |(path, mut values): (&str, Vec<f64>)| {
            values.sort_by(f64::total_cmp);
            let at = |part: f64| values[((values.len() - 1) as f64 * part) as usize];
            let middle = at(0.5);
            let half = (at(0.5 + WITHIN) - at(0.5 - WITHIN)) / 2.0;
            let share = if middle > 0.0 { half / middle } else { 0.0 };
            (path.to_owned(), share.max(least))
        };
        let source = format!(
            "measured by a bootstrap over the seconds of the first run, no less than {} %",
            least * 100.0
        );
        Noise { source, of: draws.into_iter().map(share).collect(), otherwise: least }
    }

    /// The noise of a number.
    pub fn at(&self, path: &str) -> f64 {
        self.of.get(path).copied().unwrap_or(self.otherwise)
    }
}

/// Times whose noise repeated runs tell.
const TIMES: [&str; 7] = [
    "fleet_ready_s.p50",
    "fleet_ready_s.p90",
    "fleet_ready_s.p99",
    "fleet_ready_s.last",
    "boot_time_s.p50",
    "boot_time_s.p99",
    "cpu_s.serve",
];

/// Percentiles of the columns of a phone: when it was ready, and how long its boot took.
const PERCENTILES: [(&str, usize, f64); 6] = [
    ("fleet_ready_s.p50", 0, 0.5),
    ("fleet_ready_s.p90", 0, 0.9),
    ("fleet_ready_s.p99", 0, 0.99),
    ("fleet_ready_s.last", 0, 1.0),
    ("boot_time_s.p50", 1, 0.5),
    ("boot_time_s.p99", 1, 0.99),
];

/// Summaries of finished runs of the same scenario, seed and kind beside a run, its own among them.
fn repeats(run: &Path) -> Vec<Value> {
    let read = |path: &Path| -> Option<Value> {
        serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
    };
    let key = |manifest: &Value| {
        let keys = ["mode", "scenario_sha256", "seed", "host"];
        keys.map(|key| manifest[key].clone())
    };
    let Some(own) = read(&run.join("run.json")) else { return Vec::new() };
    let place = fs::canonicalize(run).unwrap_or_else(|_| run.to_owned());
    let beside = place.parent().and_then(|folder| fs::read_dir(folder).ok());
    let mut folders: Vec<PathBuf> = beside
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| !path.is_symlink())
        .collect();
    folders.sort();
    let is_like = |path: &PathBuf| {
        let manifest = read(&path.join("run.json"));
        manifest
            .is_some_and(|manifest| manifest["state"] == "finished" && key(&manifest) == key(&own))
    };
    let alike = folders.into_iter().rev().filter(is_like).take(REPEATS_MAX);
    alike.filter_map(|path| read(&path.join("summary.json"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn repeated_runs_tell_their_noise_and_a_single_one_draws_its_seconds() {
        let folder = tempfile::tempdir().unwrap();
        let run = |name: &str, p99: f64| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            let manifest = json!({ "state": "finished", "mode": "live", "seed": 1 });
            fs::write(path.join("run.json"), manifest.to_string()).unwrap();
            let summary = json!({ "fleet_ready_s": { "p99": p99 } });
            fs::write(path.join("summary.json"), summary.to_string()).unwrap();
            path
        };
        let first = run("1", 10.0);
        assert_eq!(Noise::of_run(&first, 0.15), Noise::fixed(0.15), "nothing to measure it by");
        let rows: Vec<String> = (0..600).map(|n| format!("{},{},0.5", n / 20, n / 20)).collect();
        fs::write(
            first.join("phones.csv"),
            format!("planned_s,ready_s,boot_s\n{}\n", rows.join("\n")),
        )
        .unwrap();
        let drawn = Noise::of_run(&first, 0.01);
        assert!(drawn.source.contains("bootstrap"), "{}", drawn.source);
        assert!((0.05..0.9).contains(&drawn.at("fleet_ready_s.p50")), "{drawn:?}");
        assert!((drawn.at("boot_time_s.p50") - 0.01).abs() < 1e-9, "every boot took the same");
        run("2", 11.0);
        run("3", 12.0);
        let repeated = Noise::of_run(&first, 0.15);
        assert!(repeated.source.contains("3 repeated runs"), "{}", repeated.source);
        assert!((repeated.at("fleet_ready_s.p99") - 2.0 / 11.0).abs() < 1e-9);
        assert!((repeated.at("cpu_s.serve") - 0.15).abs() < 1e-9);
    }
}
