use std::fs;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use super::phone_rows::PhoneRows;
use super::table::Table;
use super::timeline::TIMELINE_COLUMNS;

/// The files of a run that a report is made of.
#[derive(Debug)]
pub struct RunFiles {
    /// `run.json`.
    pub manifest: Value,
    /// `summary.json`.
    pub summary: Value,
    /// `phones.csv`.
    pub phones: PhoneRows,
    /// `timeline.csv`.
    pub timeline: Table,
    /// `latency.hlog`.
    pub latency: Vec<Interval>,
    /// All times with a tag, in microseconds, in the order of the log.
    pub times: Vec<(String, Histogram<u64>)>,
    /// `trace.jsonl`.
    pub traces: Vec<Value>,
    /// `scenario.toml`.
    pub scenario: String,
    /// `diff.json`, if it was compared with an earlier run.
    pub baseline: Option<Value>,
}

/// Times of a step in a span of the run.
#[derive(Debug)]
pub struct Interval {
    /// The step and what counts, such as `itl.response`.
    pub tag: String,
    /// Seconds from the start of the run.
    pub from_s: f64,
    /// How many times fall into each row of a heat map (`heat_row`), rising: the times themselves
    /// would be a gigabyte of a large run.
    pub rows: Vec<(i64, u64)>,
}

/// Rows of a heat map for a factor of ten (choice).
pub(super) const HEAT_ROWS: f64 = 8.0;

/// The row of a heat map in which so many microseconds are; row 0 begins with a second.
fn heat_row(us: u64) -> i64 {
    ((us.max(1) as f64 / 1e6).log10() * HEAT_ROWS).floor() as i64
}

/// A file of a run directory that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}; name the directory of a finished `run` or `sim` of this version", path.display())]
pub struct RunFilesError {
    path: PathBuf,
    what: String,
}

impl RunFiles {
    /// Reads the directory of a run.
    pub fn read(run: &Path) -> Result<RunFiles, RunFilesError> {
        let text = |name: &str| {
            let path = run.join(name);
            fs::read_to_string(&path)
                .map_err(|error| RunFilesError { path, what: error.to_string() })
        };
        let failed = |name: &str| {
            let path = run.join(name);
            move |what: String| RunFilesError { path, what }
        };
        let json = |name: &str| {
            let value = serde_json::from_str(&text(name)?);
            value.map_err(|error| failed(name)(error.to_string()))
        };
        let table =
            |name: &str, needed: &[&str]| Table::parse(&text(name)?, needed).map_err(failed(name));
        let lines = text("trace.jsonl")?;
        let traces = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        let (latency, times) = intervals(&text("latency.hlog")?).map_err(failed("latency.hlog"))?;
        Ok(RunFiles {
            manifest: json("run.json")?,
            summary: json("summary.json")?,
            phones: PhoneRows::read(&run.join("phones.csv")).map_err(failed("phones.csv"))?,
            timeline: table("timeline.csv", &TIMELINE_COLUMNS)?,
            times,
            latency,
            traces: traces.map_err(|error| failed("trace.jsonl")(error.to_string()))?,
            scenario: text("scenario.toml")?,
            baseline: json("diff.json").ok(),
        })
    }

    /// All times with a tag; `None` if there are none.
    pub fn times_of(&self, tag: &str) -> Option<&Histogram<u64>> {
        self.times.iter().find(|(name, _)| name == tag).map(|(_, times)| times)
    }
}

/// All times with a tag, in the order of the log.
type Times = Vec<(String, Histogram<u64>)>;

/// The intervals of a log, and what all of each tag have together.
fn intervals(log: &str) -> Result<(Vec<Interval>, Times), String> {
    use base64ct::{Base64, Encoding};
    let (mut all, mut times) = (Vec::new(), Times::new());
    let mut reader = Deserializer::new();
    for entry in IntervalLogIterator::new(log.as_bytes()) {
        let LogEntry::Interval(interval) = entry.map_err(|error| format!("{error:?}"))? else {
            continue;
        };
        let encoded = interval.encoded_histogram();
        let bytes = Base64::decode_vec(encoded).map_err(|error| error.to_string())?;
        let one: Histogram<u64> =
            reader.deserialize(&mut &bytes[..]).map_err(|error| error.to_string())?;
        let tag = interval.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default();
        let sum = sum_of(&mut times, &tag);
        let mut rows: Vec<(i64, u64)> = Vec::new();
        for at in one.iter_recorded() {
            let (us, count) = (at.value_iterated_to(), at.count_at_value());
            sum.saturating_record_n(us, count);
            match rows.last_mut() {
                Some((row, counted)) if *row == heat_row(us) => *counted += count,
                _ => rows.push((heat_row(us), count)),
            }
        }
        all.push(Interval { tag, from_s: interval.start_timestamp().as_secs_f64(), rows });
    }
    Ok((all, times))
}

/// The times with a tag, which are none at first.
fn sum_of<'a>(times: &'a mut Times, tag: &str) -> &'a mut Histogram<u64> {
    let at = times.iter().position(|(name, _)| name == tag).unwrap_or_else(|| {
        let bounds = Histogram::new_with_bounds(1, 3_600_000_000, 3);
        times.push((tag.to_owned(), bounds.expect("the bounds are valid")));
        times.len() - 1
    });
    &mut times[at].1
}
