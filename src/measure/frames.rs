use crate::base::{Span, Time};

use super::incident::{StepEnd, StepKind};

/// How many phones are in which state: not reset, booting, ready, stuck, failed.
pub type States = [u32; 5];

/// What happened from second to second: a frame a second, and when there are too many of them one
/// for every two seconds, for every four and so on.
#[derive(Clone, Debug)]
pub struct Frames {
    every: Span,
    seconds: Vec<Second>,
    /// Phones by state now.
    states: States,
}

/// What happened in one span of time.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// Phones by state at its end.
    pub states: States,
    /// By the number of the step; steps of which nothing was heard are left out at the end.
    steps: Vec<StepFrame>,
}

/// What happened to a step in one span of time.
#[derive(Clone, Debug, Default)]
pub struct StepFrame {
    /// Began then and ended at any time.
    pub started: u64,
    /// Ended with what was asked for.
    pub ok: u64,
    /// Ended with the answer that there is no such file.
    pub not_found: u64,
    /// Boots that ended stuck.
    pub stuck: u64,
    /// Ended without an answer.
    pub failed: u64,
    /// Sent again, or asked elsewhere.
    pub retried: u64,
    /// From the planned start, of answers.
    pub response: Sparse,
}

/// Lengths of time, as exact as a histogram of three digits and as large as there are different
/// ones.
#[derive(Clone, Debug, Default)]
pub struct Sparse {
    /// Microseconds and how often, ascending.
    pairs: Vec<(u32, u32)>,
    /// Those that were not sorted in yet.
    fresh: Vec<u32>,
}

/// Frames at most (choice): twenty minutes of seconds.
const FRAMES_MAX: usize = 1_200;
/// The length of the first frames.
const EVERY: Span = Span::from_secs(1);
/// Longest time of the summary's histograms: one hour in microseconds.
const LONGEST_US: u32 = 3_600_000_000;
/// Lengths that wait to be sorted in at least (choice).
const FRESH_MIN: usize = 256;

impl Frames {
    /// Nothing has happened to so many phones.
    pub(super) fn new(phones: u32) -> Frames {
        Frames { every: EVERY, seconds: Vec::new(), states: [phones, 0, 0, 0, 0] }
    }

    /// The length of each frame.
    pub const fn every(&self) -> Span {
        self.every
    }

    /// The frames in their order, the first one from the start of the run.
    pub fn all(&self) -> &[Second] {
        &self.seconds
    }

    /// A phone goes from one state to another.
    pub(super) fn moved(&mut self, now: Time, from: usize, to: usize) {
        self.reach(now);
        self.states[from] = self.states[from].saturating_sub(1);
        self.states[to] += 1;
        if let Some(last) = self.seconds.last_mut() {
            last.states = self.states;
        }
    }

    /// The storm begins: no phone was reset yet, and steps of before do not count.
    pub(super) fn begin_storm(&mut self, now: Time, phones: u32) {
        self.reach(now);
        self.seconds.iter_mut().for_each(|frame| frame.steps.clear());
        self.states = [phones, 0, 0, 0, 0];
        if let Some(last) = self.seconds.last_mut() {
            last.states = self.states;
        }
    }

    pub(super) fn ended(&mut self, step: StepKind, end: StepEnd, times: [Time; 3]) {
        let [planned, started, now] = times;
        self.step(step, started).started += 1;
        let frame = self.step(step, now);
        match end {
            StepEnd::Failed => frame.failed += 1,
            StepEnd::NotFound => frame.not_found += 1,
            StepEnd::Ok => frame.ok += 1,
            StepEnd::Stuck => frame.stuck += 1,
        }
        if matches!(end, StepEnd::Ok | StepEnd::NotFound) {
            frame.response.record(now.since(planned));
        }
    }

    pub(super) fn retried(&mut self, step: StepKind, now: Time) {
        self.step(step, now).retried += 1;
    }

    /// The run has ended at `now`.
    pub(super) fn end(&mut self, now: Time) {
        self.reach(now);
    }

    fn place(&self, at: Time) -> usize {
        (at.as_nanos() / self.every.as_nanos()) as usize
    }

    /// Frames up to `now` are there.
    fn reach(&mut self, now: Time) {
        while self.place(now) >= FRAMES_MAX {
            self.halve();
        }
        let wanted = self.place(now) + 1;
        if self.seconds.len() < wanted {
            let states = self.states;
            self.seconds.resize_with(wanted, || Second { states, ..Second::default() });
        }
    }

    fn step(&mut self, step: StepKind, at: Time) -> &mut StepFrame {
        self.reach(at);
        let place = self.place(at);
        self.seconds[place].step_mut(step)
    }

    /// Every two frames become one.
    fn halve(&mut self) {
        self.every = self.every.times(2);
        let mut old = std::mem::take(&mut self.seconds).into_iter();
        while let Some(mut first) = old.next() {
            if let Some(second) = old.next() {
                first.join_steps(&second);
                first.states = second.states;
            }
            self.seconds.push(first);
        }
    }

    /// Adds what happened to other phones.
    pub(super) fn merge(&mut self, other: &Frames) {
        let mut other = other.clone();
        while self.every < other.every {
            self.halve();
        }
        while other.every < self.every {
            other.halve();
        }
        let length = self.seconds.len().max(other.seconds.len());
        for frames in [&mut *self, &mut other] {
            let states = frames.states;
            frames.seconds.resize_with(length, || Second { states, ..Second::default() });
        }
        for (mine, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            mine.join_steps(theirs);
            add(&mut mine.states, theirs.states);
        }
        add(&mut self.states, other.states);
    }
}

fn add(mine: &mut States, theirs: States) {
    mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
}

impl Second {
    /// What happened to a step; `None` if nothing did.
    pub fn step(&self, step: StepKind) -> Option<&StepFrame> {
        self.steps.get(step.index())
    }

    fn step_mut(&mut self, step: StepKind) -> &mut StepFrame {
        if self.steps.len() <= step.index() {
            self.steps.resize_with(step.index() + 1, StepFrame::default);
        }
        &mut self.steps[step.index()]
    }

    fn join_steps(&mut self, other: &Second) {
        for (step, theirs) in StepKind::ALL.into_iter().zip(&other.steps) {
            let mine = self.step_mut(step);
            mine.started += theirs.started;
            mine.ok += theirs.ok;
            mine.not_found += theirs.not_found;
            mine.stuck += theirs.stuck;
            mine.failed += theirs.failed;
            mine.retried += theirs.retried;
            mine.response.join(&theirs.response);
        }
    }
}

impl StepFrame {
    /// How many ended then.
    pub const fn ended(&self) -> u64 {
        self.ok + self.not_found + self.stuck + self.failed
    }

    /// Whether nothing happened.
    pub const fn is_idle(&self) -> bool {
        self.ended() + self.started + self.retried == 0
    }
}

impl Sparse {
    pub(super) fn record(&mut self, length: Span) {
        // What is longer than a histogram holds counts as its longest.
        let us = u32::try_from(length.as_micros()).unwrap_or(LONGEST_US);
        // What a histogram of three digits does not tell apart either.
        let shift = (u32::BITS - us.leading_zeros()).saturating_sub(11);
        self.fresh.push(us >> shift << shift);
        if self.fresh.len() >= self.pairs.len().max(FRESH_MIN) {
            self.sort_in();
        }
    }

    /// Microseconds and how often, ascending.
    pub fn pairs(&self) -> Vec<(u32, u32)> {
        let mut sorted = self.clone();
        sorted.sort_in();
        sorted.pairs
    }

    fn sort_in(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        self.pairs.extend(fresh.into_iter().map(|us| (us, 1)));
        self.add_up();
    }

    fn join(&mut self, other: &Sparse) {
        self.pairs.extend(&other.pairs);
        self.pairs.extend(other.fresh.iter().map(|&us| (us, 1)));
        self.add_up();
    }

    fn add_up(&mut self) {
        self.pairs.sort_unstable();
        self.pairs.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        self.pairs.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Times;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn a_long_run_has_longer_frames_and_no_more_of_them() {
        let mut frames = Frames::new(2);
        frames.moved(at(3), 0, 1);
        frames.ended(StepKind::Itl, StepEnd::Ok, [at(3), at(4), at(5)]);
        frames.moved(at(5), 1, 2);
        assert_eq!((frames.every(), frames.all().len()), (EVERY, 6));
        frames.moved(at(10_000), 0, 4);
        assert!(frames.all().len() <= FRAMES_MAX);
        assert_eq!(frames.every(), Span::from_secs(16));
        let first = frames.all()[0].step(StepKind::Itl).unwrap();
        assert_eq!((first.started, first.ok, first.response.pairs().len()), (1, 1, 1));
        assert_eq!(frames.all()[0].states, [1, 0, 1, 0, 0]);
        assert_eq!(frames.all().last().unwrap().states, [0, 0, 1, 0, 1]);
    }

    #[test]
    fn parts_of_a_fleet_add_up_however_long_each_was_heard() {
        let (mut one, mut two) = (Frames::new(1), Frames::new(2));
        one.moved(at(1), 0, 1);
        one.moved(at(2), 1, 2);
        two.moved(at(9_000), 0, 1);
        for (mut mine, other) in [(one.clone(), two.clone()), (two, one)] {
            mine.merge(&other);
            assert_eq!(mine.all().last().unwrap().states, [1, 1, 1, 0, 0]);
            assert_eq!(mine.all()[0].states, [2, 0, 1, 0, 0]);
        }
    }

    proptest! {
        #[test]
        fn frames_hold_what_a_histogram_holds(lengths in prop::collection::vec(0..5_000_000_000_u64, 1..2_000)) {
            let (mut sparse, mut times) = (Sparse::default(), Times::default());
            for &us in &lengths {
                sparse.record(Span::from_micros(us));
                times.record(Span::from_micros(us));
            }
            let mut again = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3).unwrap();
            for (us, count) in sparse.pairs() {
                again.record_n(u64::from(us), u64::from(count)).unwrap();
            }
            for quantile in [0.0, 0.5, 0.9, 0.99, 1.0] {
                prop_assert_eq!(again.value_at_quantile(quantile), times.value_at_quantile(quantile));
            }
            prop_assert_eq!(again.len(), times.len());
        }
    }
}
