use std::collections::BTreeMap;

use crate::base::{Span, Time};

/// A machine that shares its cores equally among the jobs at hand, each of which can use one core
/// at most: processor sharing, which is what many transfers in lock-step and threads of an
/// operating system come to.
///
/// Every job gets the same share, so that a job is done when the work that one job gets has grown
/// by its own size; the queue needs no update when others come and go.
#[derive(Debug)]
pub(super) struct Station<J> {
    cores: u64,
    /// Core time a core gets done in a nanosecond, in 2^-16 ns: less than one where others use
    /// the machine, too.
    pace: u128,
    /// By the progress at which each is done, and the order in which they came.
    jobs: BTreeMap<(u128, u64), J>,
    /// Work that a job which was always here would have got, in 2^-16 ns.
    progress: u128,
    updated: Time,
    sequence: u64,
    /// When the driver has been asked to look here next.
    wake: Time,
}

/// Parts of a nanosecond that are told apart: a share of a core is a fraction.
const FRACTION: u32 = 16;

impl<J> Station<J> {
    /// A machine with so many cores, at least one, of which this share is to be had.
    pub(super) fn new(cores: u32, available: f64) -> Station<J> {
        let whole = f64::from(1 << FRACTION);
        Station {
            cores: u64::from(cores.max(1)),
            pace: (available * whole).clamp(1.0, whole) as u128,
            jobs: BTreeMap::new(),
            progress: 0,
            updated: Time::ZERO,
            sequence: 0,
            wake: Time::NEVER,
        }
    }

    /// Whether a core has nothing to do.
    pub(super) fn has_idle_core(&self) -> bool {
        (self.jobs.len() as u64) < self.cores
    }

    /// Adds a job of `work` core time at `now`. If the driver must look here earlier than it was
    /// told before, says when.
    pub(super) fn submit(&mut self, now: Time, work: Span, job: J) -> Option<Time> {
        self.advance(now);
        let due = self.progress + (u128::from(work.as_nanos()) << FRACTION);
        self.jobs.insert((due, self.sequence), job);
        self.sequence += 1;
        self.next_wake(now)
    }

    /// The jobs that are done at `now`, in order, and when to look again if that is due.
    pub(super) fn finished(&mut self, now: Time, out: &mut Vec<J>) -> Option<Time> {
        self.advance(now);
        if self.wake <= now {
            self.wake = Time::NEVER;
        }
        let progress = self.progress;
        while let Some(first) = self.jobs.first_entry().filter(|first| first.key().0 <= progress) {
            out.push(first.remove());
        }
        self.next_wake(now)
    }

    fn advance(&mut self, now: Time) {
        let elapsed = u128::from(now.since(self.updated).as_nanos()) * self.pace;
        self.updated = self.updated.max(now);
        let jobs = self.jobs.len() as u128;
        let share = (elapsed * u128::from(self.cores).min(jobs)).checked_div(jobs);
        self.progress += share.unwrap_or(0);
    }

    /// When the first job will be done if nobody comes; rounded up, so that it is done then.
    fn next_wake(&mut self, now: Time) -> Option<Time> {
        let (&(due, _), _) = self.jobs.first_key_value()?;
        let jobs = self.jobs.len() as u128;
        let left = due.saturating_sub(self.progress);
        let nanos = (left * jobs).div_ceil(u128::from(self.cores).min(jobs) * self.pace);
        let at = now + Span::from_nanos(nanos as u64);
        if at < self.wake {
            self.wake = at;
            return Some(at);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Purpose, stream};
    use crate::sim::queue::Queue;

    /// When each job is done: arrival and work in milliseconds.
    fn run(cores: u32, jobs: &[(u64, u64)]) -> Vec<(usize, f64)> {
        run_shared(cores, 1.0, jobs)
    }

    fn run_shared(cores: u32, available: f64, jobs: &[(u64, u64)]) -> Vec<(usize, f64)> {
        let mut station = Station::new(cores, available);
        let mut queue = Queue::new();
        for (number, &(arrival, _)) in jobs.iter().enumerate() {
            queue.push(Time::ZERO + Span::from_millis(arrival), Some(number));
        }
        let (mut done, mut finished) = (Vec::new(), Vec::new());
        while let Some((now, event)) = queue.pop() {
            let wake = match event {
                Some(number) => station.submit(now, Span::from_millis(jobs[number].1), number),
                None => station.finished(now, &mut finished),
            };
            wake.into_iter().for_each(|at| queue.push(at, None));
            done.extend(finished.drain(..).map(|number| (number, now.as_secs_f64() * 1e3)));
        }
        assert!(station.jobs.is_empty());
        done
    }

    fn near(done: &[(usize, f64)], expected: &[(usize, f64)]) {
        assert_eq!(done.len(), expected.len());
        for (seen, wanted) in done.iter().zip(expected) {
            assert!(seen.0 == wanted.0 && (seen.1 - wanted.1).abs() < 1e-4, "{done:?}");
        }
    }

    #[test]
    fn jobs_on_free_cores_take_their_work() {
        near(&run(2, &[(0, 10), (5, 10)]), &[(0, 10.0), (1, 15.0)]);
    }

    #[test]
    fn jobs_share_a_core_and_the_short_one_leaves_first() {
        // Alone 5 ms, then half a core each until the second has got its 2 ms.
        near(&run(1, &[(0, 10), (5, 2)]), &[(1, 9.0), (0, 12.0)]);
    }

    #[test]
    fn half_a_machine_takes_twice_as_long() {
        near(&run_shared(2, 0.5, &[(0, 10), (5, 10)]), &[(0, 20.0), (1, 25.0)]);
    }

    #[test]
    fn equal_jobs_that_come_together_are_done_together() {
        let done = run(2, &[(0, 3), (0, 3), (0, 3), (0, 3)]);
        near(&done, &[(0, 6.0), (1, 6.0), (2, 6.0), (3, 6.0)]);
    }

    #[test]
    fn the_mean_stay_is_that_of_the_formula() {
        // M/M/1 processor sharing: mean stay = mean work / (1 - utilisation).
        let mut draws = stream(1, 1, Purpose::Network);
        let mut exponential = |mean: f64| -mean * (1.0 - draws.unit()).ln();
        let (mut at, mut jobs) = (0.0, Vec::new());
        for _ in 0..40_000 {
            at += exponential(1_000.0);
            jobs.push((at as u64, exponential(700.0) as u64));
        }
        let done = run(1, &jobs);
        let stay: f64 = done.iter().map(|&(job, end)| end - jobs[job].0 as f64).sum();
        let mean = stay / done.len() as f64;
        let expected = 700.0 / (1.0 - 0.7);
        assert!((mean / expected - 1.0).abs() < 0.08, "{mean} against {expected}");
    }
}
