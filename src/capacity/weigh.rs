use std::collections::BTreeMap;

use crate::base::{Lack, Span};
use crate::measure::{
    Account, Bounds, LAG_P99_MAX_S, LevelVerdict, LimitFacts, LoadFault, LoadRecorder,
};

/// When a level counts as carried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Percentile of response times that is weighed, 0 to 1.
    pub percentile: f64,
    /// Longest response time at this percentile, from the planned start.
    pub latency: Span,
    /// Largest share of failures, 0 to 1.
    pub errors: f64,
}

/// Largest growth of response times in seconds per second (choice): a server that serves 1 % less
/// than it is offered falls behind for good.
pub const DRIFT_MAX: f64 = 0.01;
/// Growth of less than this from the first to the last third is noise (choice).
const RISE_MIN_S: f64 = 0.02;
/// Largest part of the answers that may be missing when the load ends (choice): even if response
/// times did not grow evenly, a server that serves less than that has not kept up.
const MISSING_MAX: f64 = 0.03;
/// The same where the rate changes within a level.
const MISSING_MAX_UNSTEADY: f64 = 0.1;
/// Answers that are missing or not by where the measured time happens to end.
const MISSING_MIN: f64 = 1.5;
/// Part of the longest response time up to which answers are quick (choice).
const QUICK: f64 = 0.25;
/// Share of CPU above which a thread of the generator is its own limit (choice).
const CPU_MAX: f64 = 0.9;
/// Starts at once that are no crowd (choice): who refuses fewer refuses any two callers.
const CROWD: f64 = 5.0;
/// Share of planned starts that may not begin before the generator is suspected (choice).
const NOT_STARTED_MAX: f64 = 0.01;

impl Limits {
    /// The limits as they stand in the summary.
    pub fn facts(&self) -> LimitFacts {
        LimitFacts {
            percentile: self.percentile,
            latency_s: self.latency.as_secs_f64(),
            errors_ratio: self.errors,
            drift: DRIFT_MAX,
        }
    }

    /// Samples that the percentile needs: 10/(1-p).
    pub fn samples(&self) -> f64 {
        10.0 / (1.0 - self.percentile).max(1e-4)
    }

    /// The highest percentile up to the weighed one that few samples allow: five are above it.
    pub fn usable_percentile(&self, samples: u64) -> f64 {
        self.percentile.min(1.0 - 5.0 / samples.max(10) as f64)
    }
}

/// What else is known about a level.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// What was offered: starts per second, or at once.
    pub offered: f64,
    /// Why the guard stopped it.
    pub guard: Option<String>,
    /// CPU of the generator's threads as a part of what they could use.
    pub cpu_ratio: Option<f64>,
    /// All were planned for one instant.
    pub at_once: bool,
    /// The rate changes within the level.
    pub is_unsteady: bool,
}

/// Weighs one level: what was seen, and why in words.
pub fn weigh(
    recorder: &LoadRecorder,
    limits: &Limits,
    around: &Circumstances,
) -> (LevelVerdict, String) {
    let Some((reason, is_behind)) = broken(recorder, limits, around) else {
        return (LevelVerdict::Carried, "every limit held".to_owned());
    };
    match generator_bound(recorder, limits, around, is_behind) {
        Some(why) => (LevelVerdict::GeneratorBound, format!("{why}; {reason}")),
        None => (LevelVerdict::Broken, reason),
    }
}

/// Why the level is not carried, and whether that is because the server falls behind.
fn broken(
    recorder: &LoadRecorder,
    limits: &Limits,
    around: &Circumstances,
) -> Option<(String, bool)> {
    let other = over_a_limit(recorder, limits, around).map(|reason| (reason, false));
    other.or_else(|| falls_behind(recorder, around).map(|reason| (reason, true)))
}

fn over_a_limit(
    recorder: &LoadRecorder,
    limits: &Limits,
    around: &Circumstances,
) -> Option<String> {
    if let Some(guard) = &around.guard {
        return Some(format!("guard: {guard}"));
    }
    let all = recorder.starts.ok + recorder.failed();
    if all == 0 {
        return Some("nothing was answered".to_owned());
    }
    let errors = recorder.failed() as f64 / all as f64;
    if errors > limits.errors {
        let main = recorder.faults.iter().max_by_key(|(_, count)| **count);
        let main = main.map(|(fault, _)| fault.to_string()).unwrap_or_default();
        return Some(format!("errors {:.1} %, mostly {main}", errors * 100.0));
    }
    let percentile = limits.usable_percentile(all);
    let latency = recorder.response.at_s(percentile).unwrap_or(0.0);
    if latency > limits.latency.as_secs_f64() {
        let percent = (percentile * 1e3).round() / 10.0;
        return Some(format!("p{percent} {latency:.3} s"));
    }
    None
}

fn falls_behind(recorder: &LoadRecorder, around: &Circumstances) -> Option<String> {
    let drift = recorder.drift().unwrap_or(0.0);
    if drift > DRIFT_MAX && rise_s(recorder) > RISE_MIN_S {
        return Some(format!("falls behind by {:.1} %", 100.0 * drift / (1.0 + drift)));
    }
    let most = if around.is_unsteady { MISSING_MAX_UNSTEADY } else { MISSING_MAX };
    let (missing, part) = recorder.missing().filter(|_| !around.at_once)?;
    let is_behind = missing > MISSING_MIN && part > most;
    is_behind.then(|| format!("answered {:.0} % in time", (1.0 - part) * 100.0))
}

/// Whether the server refuses what is too much and answers the rest quickly. Such a server may
/// have saved up permission for more than it carries for good.
pub fn refuses(recorder: &LoadRecorder, limits: &Limits) -> bool {
    let failed = recorder.failed() as f64;
    let is_quick = |p50_s: f64| p50_s <= limits.latency.as_secs_f64() * QUICK;
    failed > limits.errors * (failed + recorder.starts.ok as f64)
        && !ours_are_most(&recorder.faults)
        && recorder.good.at_s(0.5).is_some_and(is_quick)
}

/// Growth of response times from the first to the last third, seconds.
fn rise_s(recorder: &LoadRecorder) -> f64 {
    recorder.drift().unwrap_or(0.0) * recorder.length().as_secs_f64() * 2.0 / 3.0
}

/// Why the generator itself may be the limit, by the account that runs of phones have, too.
fn generator_bound(
    recorder: &LoadRecorder,
    limits: &Limits,
    around: &Circumstances,
    is_behind: bool,
) -> Option<String> {
    let faults = failures(recorder, around);
    let phoneless = faults.get(&LoadFault::NoPhone).filter(|_| ours_are_most(&faults));
    if let Some(count) = phoneless {
        return Some(format!(
            "{count} starts had no phone with an operation; schedule more and name them by --devices"
        ));
    }
    let ours = faults.iter().filter(|(fault, _)| fault.is_ours());
    let lack = |(fault, &count): (&LoadFault, &u64)| {
        (if *fault == LoadFault::NoPort { Lack::Port } else { Lack::Descriptor }, count)
    };
    let lacks = if ours_are_most(&faults) { ours.map(lack).collect() } else { BTreeMap::new() };
    // A guard that stopped the load also stopped what was waiting.
    let missing = recorder.starts.planned.saturating_sub(recorder.starts.started);
    let not_started =
        if around.guard.is_none() { (missing, recorder.starts.planned) } else { (0, 0) };
    let (refused, late) = refused(recorder, limits, around);
    let account = Account {
        lag_p99_s: recorder
            .lag
            .at_s(0.99)
            .filter(|_| !around.at_once && refused != Refused::Anyway),
        lacks,
        cpu_ratio: around.cpu_ratio,
        places_full: recorder.starts.waited > 0 && places_are_the_limit(recorder, limits, around),
        not_started,
        ..Account::default()
    };
    // A host that pauses the generator for a moment moves response times as a queue does.
    let by_rise = Some(rise_s(recorder) / 2.0).filter(|_| is_behind).unwrap_or(f64::MAX);
    // Starts that are late by less than their distance come in their order all the same.
    let distance_s = 1.0 / around.offered.max(1e-3);
    let bounds = Bounds {
        lag_p99_s: LAG_P99_MAX_S
            .max(distance_s)
            .min(limits.latency.as_secs_f64() / 2.0)
            .min(by_rise),
        cpu_ratio: CPU_MAX,
        not_started: NOT_STARTED_MAX,
    };
    let crowd = (refused == Refused::Crowds && !around.at_once)
        .then(|| format!("generator late with {:.1} % of the starts", late * 100.0));
    account.verdict(bounds).reasons.into_iter().next().or(crowd)
}

/// Whom the failures of a level tell something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// They are within the limit.
    Few,
    /// So many starts came late, and so in crowds, that a server that takes few at once need not
    /// have refused more than these.
    Crowds,
    /// Starts that were in time failed, too.
    Anyway,
}

/// What the failures say, and the part of the starts that came late and in crowds, 0 to 1.
fn refused(recorder: &LoadRecorder, limits: &Limits, around: &Circumstances) -> (Refused, f64) {
    let all = (recorder.starts.ok + recorder.failed()).max(1) as f64;
    let errors = recorder.failed() as f64 / all;
    let crowd_s = CROWD / around.offered.max(1e-3);
    let late = recorder.late_ratio(Span::from_nanos((crowd_s * 1e9) as u64));
    let refused = match (errors > limits.errors, errors - late > limits.errors) {
        (false, _) => Refused::Few,
        (true, false) => Refused::Crowds,
        (true, true) => Refused::Anyway,
    };
    (refused, late)
}

/// The failures of a level. Where the guard has stopped it, what it has seen in the warm-up counts.
fn failures(recorder: &LoadRecorder, around: &Circumstances) -> BTreeMap<LoadFault, u64> {
    let mut faults = recorder.faults.clone();
    for (fault, count) in recorder.early_faults.iter().filter(|_| around.guard.is_some()) {
        *faults.entry(*fault).or_default() += count;
    }
    faults
}

/// Whether this host, or the list of phones, is to blame for most of the failures.
fn ours_are_most(faults: &BTreeMap<LoadFault, u64>) -> bool {
    let ours = faults.iter().filter(|(fault, _)| fault.is_ours());
    ours.map(|(_, count)| count).sum::<u64>() * 2 > faults.values().sum::<u64>()
}

/// A server that fills all places by being slower than the limit is its own limit (Little's law);
/// one that is fast enough would need more places.
fn places_are_the_limit(recorder: &LoadRecorder, limits: &Limits, around: &Circumstances) -> bool {
    around.at_once
        || (recorder.traffic.in_flight_max as f64) < around.offered * limits.latency.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Time;
    use crate::measure::Ended;

    const LIMITS: Limits =
        Limits { percentile: 0.99, latency: Span::from_millis(500), errors: 0.01 };

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    /// Two thousand starts in two seconds, each answered after `response` milliseconds.
    fn level(
        response: impl Fn(u64) -> u64,
        fault: impl Fn(u64) -> Option<LoadFault>,
    ) -> LoadRecorder {
        let mut recorder = LoadRecorder::new(at(0), at(2_000));
        for planned in 0..2_000 {
            recorder.plan(at(planned));
            recorder.start(at(planned), at(planned), false);
            let (planned, fault) = (at(planned), fault(planned));
            let ended = planned + Span::from_millis(response(planned.as_nanos() / 1_000_000));
            recorder.end(&Ended { planned, started: planned, ended, fault }, None);
        }
        recorder
    }

    fn weighed(recorder: &LoadRecorder, around: &Circumstances) -> (LevelVerdict, String) {
        weigh(recorder, &LIMITS, &Circumstances { offered: 1_000.0, ..around.clone() })
    }

    fn quiet() -> Circumstances {
        Circumstances::default()
    }

    #[test]
    fn a_level_within_all_limits_is_carried() {
        let one_in_two_hundred = |at: u64| at.is_multiple_of(200).then_some(LoadFault::Silence);
        let (seen, _) = weighed(&level(|_| 20, one_in_two_hundred), &quiet());
        assert_eq!(seen, LevelVerdict::Carried);
    }

    #[test]
    fn errors_latency_and_falling_behind_break_a_level_each_with_its_reason() {
        let some = |at: u64| at.is_multiple_of(50).then_some(LoadFault::HttpStatus(503));
        let (seen, why) = weighed(&level(|_| 20, some), &quiet());
        assert_eq!((seen, &*why), (LevelVerdict::Broken, "errors 2.0 %, mostly status 503"));
        let slow = |at: u64| if at.is_multiple_of(50) { 800 } else { 20 };
        let (seen, why) = weighed(&level(slow, |_| None), &quiet());
        assert_eq!(seen, LevelVerdict::Broken);
        assert!(why.starts_with("p99 0.8"), "{why}");
        let behind = |at: u64| 20 + at / 20;
        let (seen, why) = weighed(&level(behind, |_| None), &quiet());
        assert_eq!((seen, &*why), (LevelVerdict::Broken, "falls behind by 4.8 %"));
        let nothing = LoadRecorder::new(at(0), at(2_000));
        assert_eq!(weighed(&nothing, &quiet()).0, LevelVerdict::Broken);
    }

    #[test]
    fn a_small_rise_is_noise() {
        let (seen, _) = weighed(&level(|at| if at > 1_000 { 17 } else { 1 }, |_| None), &quiet());
        assert_eq!(seen, LevelVerdict::Carried);
    }

    #[test]
    fn a_broken_level_of_a_bound_generator_is_not_the_servers() {
        let ours = |at: u64| at.is_multiple_of(20).then_some(LoadFault::NoDescriptor);
        let (seen, why) = weighed(&level(|_| 20, ours), &quiet());
        assert_eq!(seen, LevelVerdict::GeneratorBound);
        assert!(why.starts_with("no descriptor left"), "{why}");
        let slow = level(|_| 900, |_| None);
        let busy = Circumstances { cpu_ratio: Some(0.97), ..quiet() };
        assert_eq!(weighed(&slow, &busy).0, LevelVerdict::GeneratorBound);
        let mut late = slow.clone();
        for planned in 0..100 {
            late.start(at(planned), at(planned + 300), false);
        }
        assert_eq!(weighed(&late, &quiet()).0, LevelVerdict::GeneratorBound);
        assert_eq!(weighed(&slow, &quiet()).0, LevelVerdict::Broken);
    }

    #[test]
    fn a_level_that_the_guard_stops_in_its_warm_up_is_ours_if_most_of_those_failures_are() {
        let stopped = |ours: u64, theirs: u64| {
            let mut recorder = LoadRecorder::warmed_up(at(0), at(2_000), at(4_000));
            let faults = [(ours, LoadFault::NoPhone), (theirs, LoadFault::Postponed)];
            for (planned, fault) in faults
                .into_iter()
                .flat_map(|(n, fault)| (0..n).map(move |number| (at(number), fault)))
            {
                let ended = planned + Span::from_millis(1);
                let fault = Some(fault);
                recorder.end(&Ended { planned, started: planned, ended, fault }, None);
            }
            recorder.cut(at(500));
            let guard = Some("100 % failed within a second".to_owned());
            weighed(&recorder, &Circumstances { guard, ..quiet() })
        };
        let (seen, why) = stopped(90, 10);
        assert_eq!(seen, LevelVerdict::GeneratorBound);
        assert!(why.starts_with("90 starts had no phone with an operation"), "{why}");
        assert_eq!(stopped(10, 90).0, LevelVerdict::Broken);
        assert_eq!(stopped(0, 90).0, LevelVerdict::Broken);
    }

    #[test]
    fn one_fault_of_ours_among_many_of_the_server_leaves_the_level_the_servers() {
        let few_of_ours = |at: u64| match at {
            1_000 => Some(LoadFault::NoDescriptor),
            at if at.is_multiple_of(10) => Some(LoadFault::HttpStatus(503)),
            _ => None,
        };
        let (seen, why) = weighed(&level(|_| 20, few_of_ours), &quiet());
        assert_eq!((seen, &*why), (LevelVerdict::Broken, "errors 10.0 %, mostly status 503"));
        let most_of_ours = |at: u64| match at % 10 {
            0 | 1 => Some(LoadFault::NoPort),
            2 => Some(LoadFault::HttpStatus(503)),
            _ => None,
        };
        assert_eq!(weighed(&level(|_| 20, most_of_ours), &quiet()).0, LevelVerdict::GeneratorBound);
    }

    #[test]
    fn a_level_with_ten_percent_less_achieved_than_offered_is_not_carried() {
        // In the second half every fifth answer comes too late; the medians do not move.
        let late = |at: u64| if at >= 1_000 && at % 5 == 4 { 2_500 } else { 20 };
        let limits = Limits { latency: Span::from_secs(3), ..LIMITS };
        let around = Circumstances { offered: 1_000.0, ..quiet() };
        let (seen, why) = weigh(&level(late, |_| None), &limits, &around);
        assert_eq!((seen, &*why), (LevelVerdict::Broken, "answered 90 % in time"));
        let busy = Circumstances { cpu_ratio: Some(0.97), ..around };
        assert_eq!(weigh(&level(late, |_| None), &limits, &busy).0, LevelVerdict::GeneratorBound);
    }

    #[test]
    fn who_refuses_what_is_too_much_is_told_from_who_gets_slow() {
        let third = |at: u64| at.is_multiple_of(3).then_some(LoadFault::HttpStatus(503));
        assert!(refuses(&level(|_| 20, third), &LIMITS));
        assert!(!refuses(&level(|_| 20, |_| None), &LIMITS), "nothing is refused");
        assert!(!refuses(&level(|_| 400, third), &LIMITS), "the others wait");
    }

    #[test]
    fn a_rise_that_the_generators_own_pause_explains_is_not_the_servers() {
        let mut level = level(|at| 20 + at / 20, |_| None);
        assert_eq!(weighed(&level, &quiet()).0, LevelVerdict::Broken);
        // It rises by 67 ms; for a twentieth of the starts the generator was 50 ms late.
        for planned in 0..105 {
            level.start(at(planned), at(planned + 50), false);
        }
        let (seen, why) = weighed(&level, &quiet());
        assert_eq!(seen, LevelVerdict::GeneratorBound, "{why}");
    }

    #[test]
    fn refusals_are_not_the_servers_if_as_many_starts_came_late_and_in_a_crowd() {
        let refused = |at: u64| at.is_multiple_of(40).then_some(LoadFault::HttpStatus(503));
        let mut level = level(|_| 20, refused);
        assert_eq!(weighed(&level, &quiet()).0, LevelVerdict::Broken);
        // 2.5 % are refused: with 1.2 % late the others would be too many, with 2 % not.
        for (late, expected) in [(24, LevelVerdict::Broken), (40, LevelVerdict::GeneratorBound)] {
            for planned in 0..late {
                level.start(at(planned), at(planned + 8), false);
            }
            let (seen, why) = weighed(&level, &quiet());
            assert_eq!(seen, expected, "{why}");
        }
        // A long pause explains as many refusals as starts that it held up, and no others.
        for planned in 0..40 {
            level.start(at(planned), at(planned + 300), false);
        }
        let half = |at: u64| at.is_multiple_of(2).then_some(LoadFault::HttpStatus(503));
        let mut overload = self::level(|_| 20, half);
        for planned in 0..40 {
            overload.start(at(planned), at(planned + 300), false);
        }
        assert_eq!(weighed(&level, &quiet()).0, LevelVerdict::GeneratorBound);
        assert_eq!(weighed(&overload, &quiet()).0, LevelVerdict::Broken);
    }

    #[test]
    fn a_start_that_is_late_by_less_than_the_distance_of_two_is_not_the_reason() {
        let slow = level(|_| 900, |_| None);
        let mut late = slow.clone();
        for planned in 0..100 {
            late.start(at(planned), at(planned + 150), false);
        }
        let seldom = Circumstances { offered: 5.0, ..quiet() };
        assert_eq!(weigh(&late, &LIMITS, &seldom).0, LevelVerdict::Broken);
        assert_eq!(weighed(&late, &quiet()).0, LevelVerdict::GeneratorBound);
    }

    #[test]
    fn a_bound_generator_that_carries_a_level_carries_it() {
        let busy = Circumstances { cpu_ratio: Some(0.97), ..quiet() };
        assert_eq!(weighed(&level(|_| 20, |_| None), &busy).0, LevelVerdict::Carried);
    }

    #[test]
    fn full_places_are_the_servers_fault_only_if_it_is_slower_than_the_limit() {
        let mut slow = level(|_| 900, |_| None);
        slow.start(at(3), at(500), true);
        slow.in_flight(900);
        assert_eq!(
            weighed(&slow, &quiet()).0,
            LevelVerdict::Broken,
            "900 in flight need 0.9 s each"
        );
        let mut few = slow.clone();
        few.traffic.in_flight_max = 100;
        assert_eq!(weighed(&few, &quiet()).0, LevelVerdict::GeneratorBound);
    }

    #[test]
    fn what_the_guard_said_is_the_reason() {
        let guard = Some("no answer for 1.5 s".to_owned());
        let (seen, why) = weighed(&level(|_| 20, |_| None), &Circumstances { guard, ..quiet() });
        assert_eq!((seen, &*why), (LevelVerdict::Broken, "guard: no answer for 1.5 s"));
    }

    #[test]
    fn few_samples_are_judged_by_the_percentile_that_they_allow() {
        assert!((LIMITS.usable_percentile(5_000) - 0.99).abs() < 1e-9);
        assert!((LIMITS.usable_percentile(100) - 0.95).abs() < 1e-9);
        assert!((LIMITS.samples() - 1_000.0).abs() < 1e-6);
    }
}
