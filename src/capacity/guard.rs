use std::collections::VecDeque;

use crate::base::{Span, Time};

/// When the load is stopped at once, whatever the plan says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuardLimits {
    /// Largest share of failures within a second, 0 to 1.
    pub errors: f64,
    /// Response time above which an answer is slow.
    pub slow: Span,
    /// Largest share of slow answers within a second, 0 to 1.
    pub slow_share: f64,
    /// Longest time without a sign of the server, and without an answer to what was sent in it.
    pub silence: Span,
}

/// What the guard looks at; counts since the start of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Starts that have ended.
    pub ended: u64,
    /// Those without a good answer.
    pub failed: u64,
    /// Those with a slow answer.
    pub slow: u64,
    /// Starts in flight.
    pub in_flight: u64,
    /// When the server was last heard, or the first request after a rest was sent.
    pub heard: Time,
    /// When the last start or probe was sent that was answered.
    pub answered: Time,
}

/// Watches one level of load.
#[derive(Clone, Debug)]
pub struct Guard {
    limits: GuardLimits,
    from: Time,
    window: VecDeque<(Time, Sample)>,
}

/// The time over which shares are taken.
const WINDOW: Span = Span::from_secs(1);
/// Ended starts in the window below which shares say nothing (choice).
const ENDED_MIN: u64 = 20;

impl Guard {
    /// A guard of the load that begins at `from`.
    pub fn new(limits: GuardLimits, from: Time) -> Guard {
        Guard { limits, from, window: VecDeque::new() }
    }

    /// Looks at the load; called several times a second. Says why it must stop. When nothing is
    /// offered any more, late answers and failures do no harm, but silence does.
    pub fn look(&mut self, now: Time, sample: Sample, is_offered: bool) -> Option<String> {
        self.window.push_back((now, sample));
        while self.window.front().is_some_and(|(at, _)| now.since(*at) > WINDOW) {
            self.window.pop_front();
        }
        let (_, first) = self.window.front().copied().unwrap_or_default();
        let ended = sample.ended.saturating_sub(first.ended);
        let share = |count: u64| count as f64 / ended.max(1) as f64;
        let failed = share(sample.failed.saturating_sub(first.failed));
        let slow = share(sample.slow.saturating_sub(first.slow));
        let silence = self.limits.silence;
        let enough = is_offered && ended >= ENDED_MIN;
        if enough && failed > self.limits.errors {
            return Some(format!("{:.0} % failed within a second", failed * 100.0));
        }
        if enough && slow > self.limits.slow_share {
            let limit = self.limits.slow;
            return Some(format!("{:.0} % took longer than {limit}", slow * 100.0));
        }
        let quiet = now.since(sample.heard.max(self.from));
        if sample.in_flight > 0 && quiet > silence {
            return Some(format!("no answer for {silence}"));
        }
        if sample.in_flight > 0 && now.since(sample.answered.max(self.from)) > silence {
            return Some(format!("nothing asked within {silence} was answered"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GuardLimits = GuardLimits {
        errors: 0.5,
        slow: Span::from_secs(3),
        slow_share: 0.1,
        silence: Span::from_millis(1_500),
    };

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(10_000 + millis)
    }

    /// Looks every 50 ms until the guard stops the load or five seconds have passed; says when.
    fn stopped_at(sample: impl Fn(u64) -> Sample) -> Option<(u64, String)> {
        let mut guard = Guard::new(LIMITS, at(0));
        (0..5_000).step_by(50).find_map(|ms| Some((ms, guard.look(at(ms), sample(ms), true)?)))
    }

    fn good(ms: u64) -> Sample {
        Sample { ended: ms, heard: at(ms), answered: at(ms), in_flight: 5, ..Sample::default() }
    }

    #[test]
    fn a_good_server_is_never_stopped_and_old_failures_do_not_count() {
        assert_eq!(stopped_at(|ms| Sample { failed: 100_000, slow: 9_000, ..good(ms) }), None);
    }

    #[test]
    fn failures_and_slow_answers_stop_the_load_within_a_second() {
        let failing = |ms: u64| Sample { failed: ms.saturating_sub(2_000), ..good(ms) };
        let (ms, why) = stopped_at(failing).unwrap();
        assert!((2_000..3_000).contains(&ms) && why.contains("failed"), "{ms} {why}");
        let slow = |ms: u64| Sample { slow: ms.saturating_sub(2_000), ..good(ms) };
        let (ms, why) = stopped_at(slow).unwrap();
        assert!((2_000..3_000).contains(&ms) && why.contains("longer than 3s"), "{ms} {why}");
    }

    #[test]
    fn silence_and_answers_to_old_questions_only_stop_the_load_within_two_seconds() {
        let silent = |ms: u64| Sample { heard: at(ms.min(1_000)), ..good(ms) };
        let (ms, why) = stopped_at(silent).unwrap();
        assert!(ms < 3_000 && why.contains("no answer for 1500ms"), "{ms} {why}");
        let nothing_new = |ms: u64| Sample { answered: at(ms.min(1_000)), ..good(ms) };
        let (ms, why) = stopped_at(nothing_new).unwrap();
        assert!(ms < 3_000 && why.contains("nothing asked"), "{ms} {why}");
        let idle = |ms: u64| Sample { heard: at(0), in_flight: 0, ..good(ms) };
        assert_eq!(stopped_at(idle), None, "nobody waits for an answer");
    }
}
