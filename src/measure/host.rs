use crate::base::{Span, Time};

/// What the host gave this program, in the order of time. Pure: whoever reads the clock and the
/// kernel's counters fills it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostLog {
    samples: Vec<HostSample>,
    pauses: Vec<Pause>,
}

/// The CPUs that this program may use, from one look at them to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostSample {
    /// When it began.
    pub from: Time,
    /// When it ended.
    pub to: Time,
    /// Share of their time, from 0 to 1, in which they had nothing to do.
    pub idle: f64,
    /// Share of their time that went to other programs and other guests of the hardware.
    pub others: f64,
    /// Share of the periods in which a quota of this program's CPU time was used up.
    pub throttled: f64,
}

/// A time in which this program did not run at all, although it wanted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// When it last ran.
    pub from: Time,
    /// When it ran again.
    pub to: Time,
}

/// What the log says about a time as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostFacts {
    /// Length of all pauses.
    pub paused: Span,
    /// Length of the longest one.
    pub longest_pause: Span,
    /// Share of CPU time that others took.
    pub others: f64,
    /// Share of periods in which a CPU quota was used up.
    pub throttled: f64,
}

/// Pauses from this length on are kept (choice): shorter ones are what every busy host does.
pub const PAUSE_MIN: Span = Span::from_millis(500);
/// Share of an attempt that pauses may take before they may have been its end (choice).
const PAUSED_MAX: f64 = 0.1;
/// Share of idle time below which CPUs count as crowded (choice).
const IDLE_MIN: f64 = 0.1;
/// Share of periods in which a quota may be used up (choice).
const THROTTLED_MAX: f64 = 0.1;
/// Share of an attempt that may be crowded before that may have been its end (choice).
const CROWDED_MAX: f64 = 0.5;
/// Pauses and samples that are kept: a day of samples.
const KEPT_MAX: usize = 100_000;

impl HostLog {
    /// Adds what was seen of the CPUs.
    pub fn sample(&mut self, sample: HostSample) {
        if self.samples.len() < KEPT_MAX {
            self.samples.push(sample);
        }
    }

    /// Adds a pause; one that is too short is forgotten.
    pub fn pause(&mut self, pause: Pause) {
        if pause.to.since(pause.from) >= PAUSE_MIN && self.pauses.len() < KEPT_MAX {
            self.pauses.push(pause);
        }
    }

    /// Adds the pauses of a part of the program.
    pub fn add_pauses(&mut self, pauses: &[Pause]) {
        pauses.iter().for_each(|&pause| self.pause(pause));
    }

    /// Whether an attempt from `from` to `to` that brought no answer may have failed for lack of
    /// CPU time here: pauses took a tenth of it, or half of it fell into times in which the CPUs
    /// had nothing left. The latter is no excuse if nobody was answered at all (`any_answer`).
    pub fn may_have_ended(&self, from: Time, to: Time, any_answer: bool) -> bool {
        let whole = to.since(from).as_secs_f64();
        let paused = self.pauses.iter().map(|p| overlap(p.from, p.to, from, to).as_secs_f64());
        let paused: f64 = paused.sum();
        if paused > 0.0 && paused >= whole * PAUSED_MAX {
            return true;
        }
        let crowded = self.samples.iter().filter(|sample| sample.is_crowded());
        let crowded: f64 = crowded.map(|s| overlap(s.from, s.to, from, to).as_secs_f64()).sum();
        any_answer && whole > 0.0 && crowded >= whole * CROWDED_MAX
    }

    /// The time from `from` on as a whole.
    pub fn facts_since(&self, from: Time) -> HostFacts {
        let pauses = self.pauses.iter().map(|p| overlap(p.from, p.to, from, Time::NEVER));
        let mut facts = HostFacts::default();
        for pause in pauses {
            facts.paused = facts.paused + pause;
            facts.longest_pause = facts.longest_pause.max(pause);
        }
        let (mut length, mut others, mut throttled) = (0.0, 0.0, 0.0);
        for sample in self.samples.iter().filter(|sample| sample.to > from) {
            let seconds = sample.to.since(sample.from).as_secs_f64();
            length += seconds;
            others += sample.others * seconds;
            throttled += sample.throttled * seconds;
        }
        if length > 0.0 {
            (facts.others, facts.throttled) = (others / length, throttled / length);
        }
        facts
    }
}

impl HostSample {
    fn is_crowded(&self) -> bool {
        self.idle < IDLE_MIN || self.throttled > THROTTLED_MAX
    }
}

fn overlap(from: Time, to: Time, within_from: Time, within_to: Time) -> Span {
    to.min(within_to).since(from.max(within_from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    fn seconds(idle: f64) -> HostLog {
        let mut log = HostLog::default();
        for second in 0..60 {
            let (from, to) = (at(second), at(second + 1));
            log.sample(HostSample { from, to, idle, others: 0.25, throttled: 0.0 });
        }
        log
    }

    #[test]
    fn a_time_out_on_a_quiet_host_is_the_servers() {
        let log = seconds(0.5);
        assert!(!log.may_have_ended(at(10), at(30), true));
        assert!(!HostLog::default().may_have_ended(at(10), at(30), true), "nothing is known");
    }

    #[test]
    fn a_time_out_on_a_host_without_idle_time_is_nobodys_unless_all_were_silent() {
        let log = seconds(0.02);
        assert!(log.may_have_ended(at(10), at(30), true));
        assert!(!log.may_have_ended(at(10), at(30), false), "a silent server is silent anyway");
        assert!(!log.may_have_ended(at(70), at(90), true), "afterwards it was quiet");
        assert!(!log.may_have_ended(at(55), at(75), true), "a quarter of it was crowded");
    }

    #[test]
    fn a_pause_of_a_tenth_of_the_time_is_enough_whoever_was_answered() {
        let mut log = seconds(0.5);
        log.pause(Pause { from: at(20), to: at(22) });
        assert!(log.may_have_ended(at(10), at(30), false));
        assert!(!log.may_have_ended(at(10), at(31), false), "2 s of 21");
        assert!(!log.may_have_ended(at(22), at(30), false), "it was over before");
        let mut short = seconds(0.5);
        short.pause(Pause { from: at(20), to: at(20) + Span::from_millis(499) });
        assert_eq!(short.facts_since(at(0)).paused, Span::ZERO);
    }

    #[test]
    fn a_quota_that_is_used_up_counts_as_a_crowded_host() {
        let mut log = HostLog::default();
        let sample = HostSample { to: at(20), idle: 0.9, throttled: 0.4, ..HostSample::default() };
        log.sample(sample);
        assert!(log.may_have_ended(at(5), at(15), true));
        assert!((log.facts_since(at(0)).throttled - 0.4).abs() < 1e-9);
    }

    #[test]
    fn the_whole_is_told_from_where_it_counts() {
        let mut log = seconds(0.5);
        log.pause(Pause { from: at(20), to: at(22) });
        log.pause(Pause { from: at(40), to: at(45) });
        let facts = log.facts_since(at(21));
        assert_eq!((facts.paused, facts.longest_pause), (Span::from_secs(6), Span::from_secs(5)));
        assert!((facts.others - 0.25).abs() < 1e-9);
    }
}
