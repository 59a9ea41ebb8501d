use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::time::{Duration, UNIX_EPOCH};

use crate::base::Time;
use crate::measure::{Journal, Ledger, StepKind};

use super::table::{seconds_cell, to_csv};

/// Columns of `timeline.csv`: a row for each frame and step of which anything was heard. Phones by
/// state are those at the end of the frame; times are from the planned start.
pub const TIMELINE_COLUMNS: [&str; 16] = [
    "t_s",
    "step",
    "started",
    "ok",
    "not_found",
    "stuck",
    "failed",
    "retried",
    "p50_s",
    "p99_s",
    "in_flight",
    "not_reset",
    "booting",
    "ready",
    "phones_stuck",
    "phones_failed",
];

/// `timeline.csv`: what happened from second to second; frames of long runs are longer.
pub fn timeline_csv(journal: &Journal) -> String {
    let frames = journal.frames();
    let every = frames.every().as_secs_f64();
    let is_heard = |step: &StepKind| {
        let mut of = frames.all().iter().filter_map(|frame| frame.step(*step));
        *step == StepKind::Boot || of.any(|step| !step.is_idle())
    };
    let steps: Vec<StepKind> = StepKind::ALL.into_iter().filter(is_heard).collect();
    let mut in_flight = vec![0_i64; steps.len()];
    let mut rows = Vec::new();
    for (number, frame) in frames.all().iter().enumerate() {
        for (step, in_flight) in steps.iter().zip(&mut in_flight) {
            let heard = frame.step(*step).cloned().unwrap_or_default();
            let times = histogram(&heard.response.pairs());
            let at = |quantile: f64| {
                let us = (!times.is_empty()).then(|| times.value_at_quantile(quantile));
                seconds_cell(us)
            };
            *in_flight += heard.started.cast_signed() - heard.ended().cast_signed();
            let counts = [heard.started, heard.ok, heard.not_found, heard.stuck, heard.failed];
            let mut row = vec![format!("{}", number as f64 * every), step.name().to_owned()];
            row.extend(counts.map(|count| count.to_string()));
            row.extend([heard.retried.to_string(), at(0.5), at(0.99), in_flight.to_string()]);
            row.extend(frame.states.map(|phones| phones.to_string()));
            rows.push(row);
        }
    }
    to_csv(&TIMELINE_COLUMNS, rows)
}

/// Longest time that is told apart: one hour in microseconds, as in the summary.
const LONGEST_US: u64 = 3_600_000_000;

fn histogram(pairs: &[(u32, u32)]) -> Histogram<u64> {
    let mut times = Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid");
    for &(us, count) in pairs {
        times.saturating_record_n(u64::from(us), u64::from(count));
    }
    times
}

/// `latency.hlog`: the times of each step in microseconds, as the tools of `HdrHistogram` read them.
/// Tags are `step.response` (from the planned start, an interval for each frame) and `step.service`
/// (from the actual start, one interval for the storm).
pub fn latency_log(ledger: &Ledger, journal: &Journal, ended: Time) -> String {
    let (mut out, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[unit: microseconds]")
        .with_start_time(UNIX_EPOCH)
        .with_base_time(UNIX_EPOCH)
        .with_max_value_divisor(1_000.0)
        .begin_log_with(&mut out, &mut serializer)
        .expect("memory takes it");
    let every = journal.frames().every().as_duration();
    for (number, frame) in (0u32..).zip(journal.frames().all()) {
        for step in StepKind::ALL {
            let pairs = frame.step(step).map(|step| step.response.pairs()).unwrap_or_default();
            if pairs.is_empty() {
                continue;
            }
            let name = format!("{}.response", step.name());
            let tag = Tag::new(&name).expect("names of steps fit a tag");
            let times = histogram(&pairs);
            log.write_histogram(&times, every * number, every, Some(tag)).expect("memory takes it");
        }
    }
    let from = Duration::from_nanos(journal.storm().as_nanos());
    let length = ended.since(journal.storm()).as_duration();
    for step in StepKind::ALL {
        let service = &ledger.step_record(step).service;
        if !service.is_empty() {
            let name = format!("{}.service", step.name());
            let tag = Tag::new(&name).expect("names of steps fit a tag");
            log.write_histogram(service, from, length, Some(tag)).expect("memory takes it");
        }
    }
    String::from_utf8(out).expect("the log is text")
}
