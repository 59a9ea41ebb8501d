use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::base::{Span, Time};
use crate::measure::{HostLog, HostSample, Pause};

use super::Clock;
use super::host::{HostTimes, Quota, host_times, quota, quota_files};
use super::threads::{self, StartError};

/// A thread that does next to nothing, and so sees when the host does not let this program run:
/// it was stopped, its virtual machine was, or others have the CPUs.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    stopped: AtomicBool,
}

#[derive(Debug)]
struct State {
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
        let seen = clock.now();
        let state =
            State { log: HostLog::default(), seen, sampled_at: seen, times: host_times(), quotas };
        let (state, stopped) = (Mutex::new(state), AtomicBool::new(false));
        let shared = Arc::new(Shared { clock, state, stopped });
        let watched = Arc::clone(&shared);
        let thread = threads::spawn("watch", move || {
            while !watched.stopped.load(Ordering::Relaxed) {
                thread::park_timeout(LOOK_EVERY);
                watched.look(SAMPLE_EVERY);
            }
        })?;
        Ok(Watch { shared, thread: Some(thread) })
    }

    /// What the host gave up to now.
    pub fn log(&self) -> HostLog {
        /// Less than this is too little for shares of CPU time, which come in hundredths.
        const SAMPLE_MIN: Span = Span::from_millis(200);
        self.shared.look(SAMPLE_MIN);
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).log.clone()
    }
}

impl Shared {
    /// Looks at the clock, and at the CPUs if the last look at them is `every` ago.
    fn look(&self, every: Span) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen(self.clock.now());
        if state.seen.since(state.sampled_at) >= every {
            let now = state.seen;
            state.sample(now);
        }
    }
}

impl State {
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

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic; a run that is over has no use for the reason.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_which_nobody_looked_is_a_pause() {
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        let mut state = State {
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
        let shared = Arc::clone(&watch.shared);
        shared.look(Span::ZERO);
        assert_ne!(watch.log(), HostLog::default());
        drop(watch);
        assert!(shared.stopped.load(Ordering::Relaxed));
    }
}
