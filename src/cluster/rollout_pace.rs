use std::collections::VecDeque;

use crate::base::{Span, Time};

/// At which pace phones get their LSCs, and when the last one will have it.
#[derive(Clone, Debug)]
pub struct RolloutPace {
    /// In minutes: what is told as soon as there are some.
    minutes: Slots,
    /// In shorter slots: a short rollout is over before there are minutes.
    first: Slots,
}

/// How many phones were done from slot to slot.
#[derive(Clone, Debug)]
struct Slots {
    length: Span,
    /// When the first one was done.
    first: Option<Time>,
    /// How many were done in each slot since then; the oldest go first.
    counts: VecDeque<u32>,
    /// Slots that are no longer kept.
    forgotten: u64,
}

/// When a rollout will be over, by the pace so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RolloutForecast {
    /// Seconds that are left.
    pub left_s: f64,
    /// Seconds that are left if the pace is as good as it may well be.
    pub low_s: f64,
    /// Seconds that are left if it is as bad; 19 of 20 times the end lies between.
    pub high_s: f64,
}

/// Length of a slot: longer than most phones take to make a key, so that phones that come in step
/// do not make one slot full and the next one empty.
const SLOT: Span = Span::from_secs(60);
/// Length of a slot as long as there are too few of those (choice): the less even they are, the
/// wider is what is told.
const SLOT_AT_FIRST: Span = Span::from_secs(5);
/// Slots by which the pace is judged: the last hour.
const SLOTS_MAX: usize = 60;
/// Fewer whole slots say nothing.
const SLOTS_MIN: usize = 4;
/// Least uncertainty that is told, as a share: nobody knows a pace better (choice).
const UNCERTAIN_MIN: f64 = 0.03;

impl Default for RolloutPace {
    fn default() -> RolloutPace {
        RolloutPace { minutes: Slots::new(SLOT), first: Slots::new(SLOT_AT_FIRST) }
    }
}

impl RolloutPace {
    /// One more phone is done at `now`.
    pub fn done(&mut self, now: Time) {
        self.minutes.done(now);
        self.first.done(now);
    }

    /// When `left` more phones will be done, if there is a pace yet and anything is left.
    pub fn forecast(&self, now: Time, left: u64) -> Option<RolloutForecast> {
        if self.minutes.begun(now)? > SLOTS_MIN as u64 {
            return self.minutes.forecast(now, left);
        }
        self.first.forecast(now, left)
    }
}

impl Slots {
    const fn new(length: Span) -> Slots {
        Slots { length, first: None, counts: VecDeque::new(), forgotten: 0 }
    }

    /// The slot that runs now, if any phone was done.
    fn begun(&self, now: Time) -> Option<u64> {
        Some(now.since(self.first?).as_nanos() / self.length.as_nanos())
    }

    fn done(&mut self, now: Time) {
        self.first.get_or_insert(now);
        let at = self.begun(now).map_or(0, |slot| self.reach(slot));
        self.counts[at] += 1;
    }

    /// The place of a slot, which is made if it is new; of one long gone the oldest.
    fn reach(&mut self, slot: u64) -> usize {
        let newest = self.forgotten + self.counts.len() as u64;
        if slot >= newest + SLOTS_MAX as u64 {
            (self.forgotten, self.counts) = (slot, VecDeque::new());
        }
        while self.forgotten + self.counts.len() as u64 <= slot {
            self.counts.push_back(0);
            if self.counts.len() > SLOTS_MAX {
                self.counts.pop_front();
                self.forgotten += 1;
            }
        }
        slot.saturating_sub(self.forgotten) as usize
    }

    fn forecast(&self, now: Time, left: u64) -> Option<RolloutForecast> {
        let begun = self.begun(now)?;
        // The first slot has the start in it, and the one that runs now is not whole.
        let whole = |&(slot, _): &(u64, f64)| slot > 0 && slot < begun;
        let known = self.counts.iter().enumerate();
        let known = known.map(|(at, &done)| (self.forgotten + at as u64, f64::from(done)));
        let mut counts: Vec<f64> = known.filter(whole).map(|(_, done)| done).collect();
        let last = self.forgotten + self.counts.len() as u64;
        // Nobody was done since.
        let idle = begun.saturating_sub(last).min(SLOTS_MAX as u64) as usize;
        counts.extend(std::iter::repeat_n(0.0, idle));
        let counts = &counts[counts.len().saturating_sub(SLOTS_MAX)..];
        if counts.len() < SLOTS_MIN || left == 0 {
            return None;
        }
        let number = counts.len() as f64;
        let mean = counts.iter().sum::<f64>() / number;
        if mean <= 0.0 {
            return None;
        }
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / number;
        let uncertain = (1.96 * (variance / number).sqrt() / mean).clamp(UNCERTAIN_MIN, 0.9);
        let left_s = left as f64 / mean * self.length.as_secs_f64();
        Some(RolloutForecast {
            left_s,
            low_s: left_s / (1.0 + uncertain),
            high_s: left_s / (1.0 - uncertain),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn phones_that_come_in_step_have_the_pace_of_their_batches() {
        let mut pace = RolloutPace::default();
        assert_eq!(pace.forecast(at(0), 1_000), None);
        let left = |waves: u64| 40_000 - waves * 50;
        let expected = |waves| left(waves) as f64 * 30.0 / 50.0;
        let mut early = None;
        for wave in 0..20 {
            let now = at(40 + 30 * wave);
            early = early.or(pace.forecast(now, left(wave)).map(|forecast| (wave, forecast)));
            (0..50).for_each(|_| pace.done(now));
        }
        let forecast = pace.forecast(at(631), left(20)).unwrap();
        assert!((forecast.left_s / expected(20) - 1.0).abs() < 0.05, "{forecast:?}");
        assert!(forecast.low_s < forecast.left_s && forecast.left_s < forecast.high_s);
        assert_eq!(pace.forecast(at(631), 0), None, "nothing is left");
        // As soon as there are some slots, and much less sure.
        let (waves, early) = early.unwrap();
        assert!((2..4).contains(&waves), "{waves}");
        assert!(early.high_s / early.low_s > 2.0 * forecast.high_s / forecast.low_s, "{early:?}");
        assert!((early.low_s..early.high_s).contains(&expected(waves)), "{early:?}");
    }

    #[test]
    fn a_rollout_that_stalls_has_a_longer_forecast_and_then_none() {
        let mut pace = RolloutPace::default();
        (0..600).for_each(|second| pace.done(at(second)));
        let before = pace.forecast(at(600), 600).unwrap();
        let later = pace.forecast(at(1_800), 600).unwrap();
        assert!(later.left_s > 2.0 * before.left_s, "{before:?} {later:?}");
        assert!(later.high_s / later.left_s > before.high_s / before.left_s);
        assert_eq!(pace.forecast(at(600 + 7_200), 600), None);
        pace.done(at(20 * 3_600));
        assert_eq!(pace.minutes.counts.len(), 1, "bounded");
        (0..100_000).for_each(|second| pace.done(at(20 * 3_600 + second)));
        assert!(pace.minutes.counts.len() <= SLOTS_MAX && pace.first.counts.len() <= SLOTS_MAX);
        let again = pace.forecast(at(20 * 3_600 + 100_000), 3_600).unwrap();
        assert!((again.left_s / 3_600.0 - 1.0).abs() < 0.02, "{again:?}");
    }
}
