use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::Time;

/// The one clock of a live run: every [`Time`] of the run is read here.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

/// Stands for instants that no run reaches; the timers of tokio cannot hold them.
const FAR: Duration = Duration::from_hours(30 * 365 * 24);

impl Clock {
    /// A clock whose time zero is now.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// The time since the start of the run.
    pub fn now(&self) -> Time {
        Time::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// When it was zero, in Unix seconds.
    pub fn began_s(&self) -> f64 {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        epoch.as_secs_f64() - self.now().as_secs_f64()
    }

    /// The instant of the runtime's timers at which `time` is reached.
    pub fn instant_at(&self, time: Time) -> tokio::time::Instant {
        let after = Duration::from_nanos(time.as_nanos()).min(FAR);
        tokio::time::Instant::from_std(self.start + after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Span;

    #[test]
    fn time_starts_at_zero_and_goes_on() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(first < Time::ZERO + Span::from_secs(60));
        assert!(clock.now() >= first);
    }

    #[test]
    fn instants_keep_their_distance_and_never_is_an_instant_too() {
        let clock = Clock::start();
        let at = |millis| clock.instant_at(Time::ZERO + Span::from_millis(millis));
        assert_eq!(at(1_500) - at(500), Duration::from_secs(1));
        assert!(clock.instant_at(Time::NEVER) > at(1_000_000));
    }
}
