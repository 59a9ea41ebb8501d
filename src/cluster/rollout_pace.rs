use std::collections::VecDeque;

use crate::base::{Span, Time};

/// At which pace phones get their LSCs, and when the last one will have it.
#[derive(Clone, Debug, Default)]
pub struct RolloutPace {
    /// When the first one was done.
    first: Option<Time>,
    /// How many were done in each slot since then; the oldest go first.
    slots: VecDeque<u32>,
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
/// Slots by which the pace is judged: the last hour.
const SLOTS_MAX: usize = 60;
/// Fewer whole slots say nothing.
const SLOTS_MIN: usize = 4;
/// Least uncertainty that is told, as a share: nobody knows a pace better (choice).
const UNCERTAIN_MIN: f64 = 0.03;

impl RolloutPace {
    fn slot(&self, now: Time) -> Option<u64> {
        Some(now.since(self.first?).as_nanos() / SLOT.as_nanos())
    }

    /// One more phone is done at `now`.
    pub fn done(&mut self, now: Time) {
        let first = *self.first.get_or_insert(now);
        let slot = now.since(first).as_nanos() / SLOT.as_nanos();
        let at = self.reach(slot);
        self.slots[at] += 1;
    }

    /// The place of a slot, which is made if it is new; of one long gone the oldest.
    fn reach(&mut self, slot: u64) -> usize {
        let newest = self.forgotten + self.slots.len() as u64;
        if slot >= newest + SLOTS_MAX as u64 {
            (self.forgotten, self.slots) = (slot, VecDeque::new());
        }
        while self.forgotten + self.slots.len() as u64 <= slot {
            self.slots.push_back(0);
            if self.slots.len() > SLOTS_MAX {
                self.slots.pop_front();
                self.forgotten += 1;
            }
        }
        slot.saturating_sub(self.forgotten) as usize
    }

    /// When `left` more phones will be done, if there is a pace yet and anything is left.
    pub fn forecast(&self, now: Time, left: u64) -> Option<RolloutForecast> {
        let begun = self.slot(now)?;
        // The first slot has the start in it, and the one that runs now is not whole.
        let whole = |&(slot, _): &(u64, f64)| slot > 0 && slot < begun;
        let known = self.slots.iter().enumerate();
        let known = known.map(|(at, &done)| (self.forgotten + at as u64, f64::from(done)));
        let mut counts: Vec<f64> = known.filter(whole).map(|(_, done)| done).collect();
        let last = self.forgotten + self.slots.len() as u64;
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
        let left_s = left as f64 / mean * SLOT.as_secs_f64();
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
        for wave in 0..20 {
            for _ in 0..50 {
                pace.done(at(40 + 30 * wave));
            }
        }
        let left = 40_000 - 20 * 50;
        let forecast = pace.forecast(at(631), left).unwrap();
        let expected = left as f64 * 30.0 / 50.0;
        assert!((forecast.left_s / expected - 1.0).abs() < 0.05, "{forecast:?}");
        assert!(forecast.low_s < forecast.left_s && forecast.left_s < forecast.high_s);
        assert_eq!(pace.forecast(at(631), 0), None, "nothing is left");
        assert_eq!(pace.forecast(at(200), left), None, "too early");
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
        assert_eq!(pace.slots.len(), 1, "bounded");
        (0..100_000).for_each(|second| pace.done(at(20 * 3_600 + second)));
        assert!(pace.slots.len() <= SLOTS_MAX);
        let again = pace.forecast(at(20 * 3_600 + 100_000), 3_600).unwrap();
        assert!((again.left_s / 3_600.0 - 1.0).abs() < 0.02, "{again:?}");
    }
}
