use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::scenario::SloResult;

use super::load::{LoadRecorder, StartCounts, TrafficCounts};
use super::summary::collect;
use super::times::Times;
use super::verdict::{CapacityVerdict, LevelKind, LevelVerdict, Mode};

/// `summary.json` of a capacity measurement, schema 1.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CapacitySummary {
    /// Version of this format.
    pub schema: u32,
    /// How it was played.
    pub mode: Mode,
    /// Seed of every choice.
    pub seed: u64,
    /// What is said of it as a whole.
    pub verdict: CapacityVerdict,
    /// Whom the load was sent to, and what it was.
    pub load: LoadFacts,
    /// When a level counts as carried.
    pub limits: LimitFacts,
    /// What the server carries.
    pub capacity: Capacity,
    /// Answers that came in time and were wrong.
    pub wrong: WrongAnswers,
    /// Good answers that could be judged in part only.
    pub unchecked: UncheckedAnswers,
    /// The load generator itself.
    pub generator: GeneratorFacts,
    /// The user's conditions.
    pub slos: Vec<SloResult>,
    /// How it was measured, in three lines.
    pub method: Vec<String>,
    /// Things that a reader of the numbers must know.
    pub notes: Vec<String>,
}

/// Whom the load was sent to, and what it was.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LoadFacts {
    /// TFTP server.
    pub tftp: Option<String>,
    /// HTTP server.
    pub http: Option<String>,
    /// TVS server.
    pub tvs: Option<String>,
    /// CAPF.
    pub capf: Option<String>,
    /// Registrar over TCP.
    pub sip: Option<String>,
    /// Registrar over TLS.
    pub sips: Option<String>,
    /// How long each phone took for its key, in seconds, if CAPF was asked.
    pub key_time_s: Option<f64>,
    /// `per-phone` or `shared`: the source addresses that the servers saw.
    pub addresses: String,
    /// Parts of the load and their shares.
    pub mix: BTreeMap<String, f64>,
    /// Names of single files.
    pub names: u64,
    /// Phones of the device list.
    pub devices: u64,
    /// Right answers that were learnt before the load.
    pub references: u64,
    /// Requests of one start on average.
    pub requests_per_start: Option<f64>,
}

/// When a level counts as carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LimitFacts {
    /// Percentile of response times that is judged, 0 to 1.
    pub percentile: f64,
    /// Longest response time at this percentile in seconds, from the planned start.
    pub latency_s: f64,
    /// Largest share of failures, 0 to 1.
    pub errors_ratio: f64,
    /// Largest growth of response times, in seconds per second of load.
    pub drift: f64,
}

/// What the server carries.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Capacity {
    /// The highest level that was carried, where the server is what ended the search.
    pub knee: Option<f64>,
    /// The highest level that was carried, whatever ended the search.
    pub at_least: Option<f64>,
    /// What levels are, such as `transfers/s`.
    pub unit: String,
    /// `search`, or what was fixed, such as `fixed 20/s`.
    pub task: String,
    /// How sure the knee is.
    pub confidence: Confidence,
    /// Every level that was measured, in order.
    pub steps: Vec<LoadStep>,
}

/// How sure a knee is.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Confidence {
    /// Lower end of the interval in which the knee lies: the highest level that was carried, less
    /// what one measurement may miss.
    pub low: Option<f64>,
    /// Upper end: the lowest level above it that was not carried, and what one measurement may
    /// miss.
    pub high: Option<f64>,
    /// The lowest level that was not carried.
    pub not_carried: Option<f64>,
    /// Width of the interval as a part of `low`.
    pub width_ratio: Option<f64>,
    /// Measurements at both ends of the bracket.
    pub measurements: u32,
    /// Those of them that agree with their majority.
    pub agreed: u32,
    /// Level of the confirmation run that was carried.
    pub confirmed: Option<f64>,
}

/// One level of load.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LoadStep {
    /// Why it was offered.
    pub step: LevelKind,
    /// What was offered: starts per second, or starts at once.
    pub offered: f64,
    /// Time of the planned starts in seconds; without the warm-up.
    pub length_s: f64,
    /// Planned starts.
    #[serde(flatten)]
    pub starts: StartCounts,
    /// Those without a good answer.
    pub failed: u64,
    /// Good answers per second while the load was measured (at once: until the last answer).
    pub achieved: Option<f64>,
    /// What they asked for.
    #[serde(flatten)]
    pub traffic: TrafficCounts,
    /// From the planned start.
    pub response_s: LoadPercentiles,
    /// From the actual start.
    pub service_s: LoadPercentiles,
    /// Response time at the percentile that judges, seconds.
    pub judged_s: Option<f64>,
    /// Which percentile that is, 0 to 1: the one of the limits, or, with few starts, a lower one.
    pub judged_percentile: Option<f64>,
    /// Growth of response times, seconds per second.
    pub drift: Option<f64>,
    /// Lag of the generator.
    pub lag_p99_s: Option<f64>,
    /// CPU of the generator's threads as a part of all that they could use.
    pub cpu_ratio: Option<f64>,
    /// Failures by cause.
    pub errors: BTreeMap<String, u64>,
    /// What the server said about them, escaped; the first of each kind.
    pub said: Vec<String>,
    /// What is said of it.
    pub verdict: LevelVerdict,
    /// Why, in words.
    pub reason: String,
}

/// Percentiles in seconds; `null` with fewer than 10/(1-p) samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LoadPercentiles {
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// Longest.
    pub max: Option<f64>,
}

/// Answers that came in time and were wrong.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WrongAnswers {
    /// How many.
    pub count: u64,
    /// The first ones in words, with the name of the file or question.
    pub examples: Vec<String>,
}

/// Good answers that could be judged in part only: LSCs of an issuer whose certificate is not given.
#[derive(Clone, Debug, Default, Serialize)]
pub struct UncheckedAnswers {
    /// How many, those of warm-ups, too.
    pub count: u64,
    /// What was missing, in words.
    pub missing: Vec<String>,
}

/// The load generator itself.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GeneratorFacts {
    /// Its threads.
    pub workers: u32,
    /// Most starts in flight that it allows.
    pub in_flight_max: u64,
    /// Largest lag (p99) of a level that was carried, seconds.
    pub lag_p99_s: Option<f64>,
    /// Largest share of CPU of a level.
    pub cpu_ratio: Option<f64>,
    /// Descriptors that this process may open.
    pub descriptors: Option<u64>,
}

impl CapacitySummary {
    /// The summary as a JSON document.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a summary is plain data")
    }

    /// What the knee is at least, where something else than the server ended the measurement.
    pub fn knee_min(&self) -> Option<f64> {
        let is_open = CapacityVerdict::BELOW_THE_KNEE.contains(&self.verdict);
        self.capacity.at_least.filter(|_| is_open && self.capacity.knee.is_none())
    }
}

/// Paths of the numbers that a condition on `summary.json` of a capacity measurement may name.
pub fn capacity_paths() -> Vec<String> {
    let step = |step| LoadStep { step, ..LoadStep::default() };
    let mut summary = CapacitySummary::default();
    summary.capacity.steps = LevelKind::ALL.map(step).to_vec();
    let mut paths = Vec::new();
    collect(&summary.to_json(), "", &mut paths);
    paths
}

impl LoadStep {
    /// The numbers of one level; what is said of it comes later.
    pub fn new(step: LevelKind, offered: f64, recorder: &LoadRecorder) -> LoadStep {
        let length_s = recorder.length().as_secs_f64();
        let at_once = || {
            let last_s = recorder.response.at_s(1.0).filter(|s| *s > 0.0)?;
            Some(recorder.starts.ok as f64 / last_s)
        };
        let named = recorder.faults.iter().map(|(fault, count)| (fault.to_string(), *count));
        LoadStep {
            step,
            offered,
            length_s,
            starts: recorder.starts,
            failed: recorder.failed(),
            achieved: recorder.served_per_s().or_else(at_once),
            traffic: recorder.traffic,
            response_s: LoadPercentiles::of(&recorder.response),
            service_s: LoadPercentiles::of(&recorder.service),
            drift: recorder.drift(),
            lag_p99_s: recorder.lag.at_s(0.99),
            errors: named.collect(),
            said: recorder.said.clone(),
            ..LoadStep::default()
        }
    }
}

impl LoadPercentiles {
    fn of(times: &Times) -> LoadPercentiles {
        let [p50, p90, p99, p999] =
            [500, 900, 990, 999].map(|per_mille| times.percentile_s(per_mille));
        LoadPercentiles { p50, p90, p99, p999, max: times.max_s() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Span, Time};
    use crate::measure::{Ended, LoadFault};

    #[test]
    fn achieved_is_what_was_answered_while_the_load_lasted() {
        let at = |millis| Time::ZERO + Span::from_millis(millis);
        let mut recorder = LoadRecorder::new(at(0), at(2_000));
        for planned in (0..2_000).step_by(10) {
            recorder.plan(at(planned));
            let ended = at(planned * 2);
            recorder.end(
                &Ended { planned: at(planned), started: at(planned), ended, fault: None },
                None,
            );
        }
        let fault = Some(LoadFault::Silence);
        recorder.end(&Ended { planned: at(5), started: at(5), ended: at(9), fault }, None);
        let step = LoadStep::new(LevelKind::Ramp, 100.0, &recorder);
        assert_eq!((step.starts.planned, step.starts.ok, step.failed), (200, 200, 1));
        assert_eq!(step.achieved, Some(50.5), "half of them came in time");
        assert_eq!(step.errors.get("silence"), Some(&1));
        assert!(step.response_s.p90.is_some() && step.response_s.p99.is_none());
    }

    #[test]
    fn a_spike_achieves_its_answers_by_the_time_of_the_last() {
        let at = |millis| Time::ZERO + Span::from_millis(millis);
        let mut recorder = LoadRecorder::new(at(0), at(0));
        for ended in 1..=500 {
            let (planned, ended) = (at(0), at(ended));
            recorder.end(&Ended { planned, started: planned, ended, fault: None }, None);
        }
        let step = LoadStep::new(LevelKind::Spike, 500.0, &recorder);
        assert!((step.achieved.unwrap() - 1_000.0).abs() < 5.0);
    }
}
