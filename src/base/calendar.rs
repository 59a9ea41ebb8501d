use std::sync::atomic::{AtomicU64, Ordering};

use super::{Span, Time};

/// Which date it is in a run: one for the cluster and its phones. The operator may skip years of
/// it while nothing moves (EXP-07), so that certificates expire without anybody waiting for it.
#[derive(Debug, Default)]
pub struct Calendar {
    epoch_s: u64,
    skipped_ns: AtomicU64,
}

impl Calendar {
    /// A calendar whose run starts at this date, in Unix seconds.
    pub const fn new(epoch_s: u64) -> Calendar {
        Calendar { epoch_s, skipped_ns: AtomicU64::new(0) }
    }

    /// The date at an instant of the run, in Unix seconds.
    pub fn date_s(&self, now: Time) -> u64 {
        self.epoch_s.saturating_add(self.aged(now).as_nanos() / 1_000_000_000)
    }

    /// An instant as everything sees it that ages by the calendar: what was skipped has passed.
    pub fn aged(&self, now: Time) -> Time {
        let skipped = self.skipped_ns.load(Ordering::Relaxed);
        Time::from_nanos(now.as_nanos().saturating_add(skipped))
    }

    /// The first instant of the run at which it is this date, in Unix seconds, if nothing more is
    /// skipped: its start if that has passed, [`Time::NEVER`] if no run lasts so long.
    pub fn when(&self, date_s: u64) -> Time {
        let aged = date_s.saturating_sub(self.epoch_s).checked_mul(1_000_000_000);
        let skipped = self.skipped_ns.load(Ordering::Relaxed);
        aged.map_or(Time::NEVER, |aged| Time::from_nanos(aged.saturating_sub(skipped)))
    }

    /// The date moves on by this much at once.
    pub fn skip(&self, span: Span) {
        self.skipped_ns.fetch_add(span.as_nanos(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_skipped_has_passed() {
        let (calendar, now) = (Calendar::new(1_000), Time::ZERO + Span::from_secs(5));
        assert_eq!((calendar.date_s(now), calendar.aged(now)), (1_005, now));
        calendar.skip(Span::from_secs(60));
        calendar.skip(Span::from_secs(40));
        assert_eq!(calendar.date_s(now), 1_105);
        assert_eq!(calendar.aged(now), now + Span::from_secs(100));
        assert_eq!(calendar.date_s(Time::NEVER), 1_000 + u64::MAX / 1_000_000_000);
        assert_eq!(calendar.when(1_106), now + Span::from_secs(1), "the first instant of a date");
        assert_eq!(calendar.date_s(calendar.when(1_106) - Span::from_nanos(1)), 1_105);
        assert_eq!([calendar.when(7), calendar.when(u64::MAX)], [Time::ZERO, Time::NEVER]);
    }
}
