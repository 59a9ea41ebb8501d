use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::{Span, Time};
use crate::measure::{HostLog, HostSample, Pause};

use super::Clock;
use super::host::{HostTimes, Quota, host_times, quota, quota_files};
use super::threads::{Repeated, StartError};

/// A thread that does next to nothing, and so sees when the host does not let this program run:
/// it was stopped, its virtual machine was, or others have the CPUs.
#[derive(Debug)]
pub struct Watch {
    state: Arc<Mutex<State>>,
    _thread: Repeated,
}

#[derive(Debug)]
struct State {
    clock: Clock,
    log: HostLog,
    /// When anybody last looked.
    seen: Time,
    sampled_at: Time,
    times: Option<HostTimes>,
    quotas: Vec<(PathBuf, Quota)>,
}

/// How often the watch looks: 20 wake-ups a second cost less than a thousandth of a core.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it reads the CPU times of the host.
const SAMPLE_EVERY: Span = Span::from_secs(1);

impl Watch {
    /// Starts the thread.
    pub fn start(clock: Clock) -> Result<Watch, StartError> {
        let quotas = quota_files().into_iter().map(|file| (file.clone(), quota(&file))).collect();
        let (log, now, times) = (HostLog::default(), clock.now(), host_times());
        let state = State { clock, log, seen: now, sampled_at: now, times, quotas };
        let state = Arc::new(Mutex::new(state));
        let watched = Arc::clone(&state);
        let look = move || lock(&watched).look(SAMPLE_EVERY);
        Ok(Watch { state, _thread: Repeated::start("watch", LOOK_EVERY, look)? })
    }

    /// What the host gave up to now.
    pub fn log(&self) -> HostLog {
        /// Less than this is too little for shares of CPU time, which come in hundredths.
        const SAMPLE_MIN: Span = Span::from_millis(200);
        let mut state = lock(&self.state);
        state.look(SAMPLE_MIN);
        state.log.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Looks at the clock, and at the CPUs if the last look at them is `every` ago.
    fn look(&mut self, every: Span) {
        let now = self.clock.now();
        self.seen(now);
        if now.since(self.sampled_at) >= every {
            self.sample(now);
        }
    }

    /// Somebody looks now; nobody did in between.
    fn seen(&mut self, now: Time) {
        self.log.pause(Pause { from: self.seen, to: now });
        self.seen = now;
    }

    fn sample(&mut self, now: Time) {
        let times = host_times();
        let mut throttled: f64 = 0.0;
        for (file, before) in &mut self.quotas {
            let counts = quota(file);
            throttled = throttled.max(counts.used_up_since(before));
            *before = counts;
        }
        if let (Some(times), Some(before)) = (&times, &self.times) {
            self.log.sample(HostSample {
                from: self.sampled_at,
                to: now,
                idle: times.idle_since(before),
                others: times.others_since(before),
                throttled,
            });
        }
        (self.times, self.sampled_at) = (times, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_which_nobody_looked_is_a_pause() {
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        let mut state = State {
            clock: Clock::start(),
            log: HostLog::default(),
            seen: at(0),
            sampled_at: at(0),
            times: None,
            quotas: Vec::new(),
        };
        state.seen(at(0) + Span::from_millis(50));
        assert_eq!(state.log.facts_since(at(0)).paused, Span::ZERO);
        state.seen(at(5));
        assert_eq!(state.log.facts_since(at(1)).longest_pause, Span::from_secs(4));
    }

    #[test]
    fn the_host_is_sampled_while_it_is_watched() {
        let watch = Watch::start(Clock::start()).unwrap();
        let state = Arc::clone(&watch.state);
        lock(&state).look(Span::ZERO);
        assert_ne!(watch.log(), HostLog::default());
        drop(watch);
        assert_eq!(Arc::strong_count(&state), 1, "the thread has ended");
    }
}
