use crate::base::Span;
use crate::measure::{LevelKind, LoadRecorder};

use super::guard::GuardLimits;
use super::weigh::{Limits, refuses};

/// How long levels of load are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Time of one level; in a search longer where more samples are needed.
    pub hold: Span,
    /// Longest time of one level.
    pub hold_max: Span,
    /// Time before each level counts.
    pub warm_up: Span,
}

/// Starts of a level of the ramp below which it says little (choice).
const RAMP_STARTS: f64 = 50.0;
/// Part by which a level is longer than its samples need: where it ends is chance.
const SLACK: f64 = 1.02;
/// How much more than the level is offered before it, so that a server has nothing saved up.
const PUSH: f64 = 1.5;
/// Longest time for that (choice): what is saved up in two seconds is used up then.
const PUSH_MAX: Span = Span::from_secs(4);
/// Shortest time for that.
const PUSH_MIN: Span = Span::from_secs(1);
/// Starts of a level that may be due without an answer before the server counts as silent.
const SILENT_STARTS: f64 = 3.0;

impl Pace {
    /// The measured time of a level of a search: near the knee as long as the judged percentile
    /// needs, but not longer than the longest level.
    pub fn length(&self, kind: LevelKind, per_s: f64, limits: &Limits) -> Span {
        let starts = if kind == LevelKind::Ramp { RAMP_STARTS } else { limits.samples() };
        let needed = Span::from_millis((starts / per_s * 1e3 * SLACK).round() as u64);
        self.hold.max(needed.min(self.hold_max))
    }

    /// How much is offered, per second, and for how long, to a server that refuses what is too
    /// much, right before a level.
    pub fn push(&self, per_s: f64) -> (f64, Span) {
        (per_s * PUSH, self.hold.max(PUSH_MIN).min(PUSH_MAX))
    }
}

/// The limits of the guard at a level: a server is not silent that is asked seldom or that takes
/// as long as it does at rest.
pub fn guard_at(limits: GuardLimits, per_s: Option<f64>, calm: Span) -> GuardLimits {
    let seldom = per_s.map_or(Span::ZERO, |per_s| {
        Span::from_millis((SILENT_STARTS / per_s.max(1e-3) * 1e3) as u64)
    });
    GuardLimits { silence: limits.silence.max(seldom).max(calm), ..limits }
}

/// Whether the server saves up permission: known from levels that it did not carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saving {
    is_likely: bool,
    is_refuted: bool,
}

impl Saving {
    /// Whether what is saved up must be used up before the next level.
    pub const fn must_be_used_up(self) -> bool {
        self.is_likely && !self.is_refuted
    }

    /// A level was not carried.
    pub fn broken(&mut self, recorder: &LoadRecorder, limits: &Limits) {
        self.is_likely |= refuses(recorder, limits);
    }

    /// The load before a level has ended; false if the server must come to rest before the level,
    /// because it did not refuse what was too much but got slow.
    pub fn pushed(&mut self, recorder: &LoadRecorder, limits: &Limits) -> bool {
        let all_well = recorder.failed() == 0;
        let is_quick = refuses(recorder, limits);
        self.is_refuted |= !all_well && !is_quick;
        all_well || is_quick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_as_long_as_its_samples_need_within_its_bounds() {
        let pace = Pace {
            hold: Span::from_secs(5),
            hold_max: Span::from_secs(30),
            warm_up: Span::from_millis(500),
        };
        let limits = Limits { percentile: 0.99, latency: Span::from_secs(1), errors: 0.01 };
        let length = |kind, per_s| pace.length(kind, per_s, &limits);
        assert_eq!(length(LevelKind::Ramp, 5.0), Span::from_millis(10_200));
        assert_eq!(length(LevelKind::Ramp, 50.0), Span::from_secs(5));
        assert_eq!(length(LevelKind::Search, 5.0), Span::from_secs(30));
        assert_eq!(length(LevelKind::Confirm, 100.0), Span::from_millis(10_200));
        assert_eq!(length(LevelKind::Search, 400.0), Span::from_secs(5));
    }

    #[test]
    fn a_server_that_is_asked_seldom_is_not_silent() {
        let limits = GuardLimits {
            errors: 0.5,
            slow: Span::from_secs(3),
            slow_share: 0.1,
            silence: Span::from_millis(1_500),
        };
        let silence = |per_s, calm| guard_at(limits, per_s, calm).silence;
        assert_eq!(silence(Some(100.0), Span::ZERO), Span::from_millis(1_500));
        assert_eq!(silence(Some(0.5), Span::ZERO), Span::from_secs(6));
        assert_eq!(silence(None, Span::from_secs(9)), Span::from_secs(9));
    }
}
