//! Whole searches of model servers in virtual time: how often the knee is right, and how often the
//! interval holds it. Search, weighing, guard and pace are those of the program.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::base::{Purpose, Span, Stream, Time, stream};
use crate::measure::{CapacityVerdict, Ended, LevelKind, LevelVerdict, LoadFault, LoadRecorder};

use super::guard::{Guard, GuardLimits, Sample};
use super::pace::{Pace, Saving, guard_at};
use super::schedule::{Arrival, Offer, Shape, Starts};
use super::search::{Found, Next, Search, SearchPlan};
use super::weigh::{Circumstances, Limits, weigh};

/// How a server is limited.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// Permission for so many a second, of which so much can be saved up.
    Bucket { per_s: f64, burst: f64 },
    /// So many at a time, the others wait; whoever finds more than `room` waiting is refused.
    Workers { count: usize, service_s: f64, room: usize },
}

impl Limit {
    fn one_worker(per_s: f64) -> Limit {
        Limit::Workers { count: 1, service_s: 1.0 / per_s, room: usize::MAX }
    }

    /// One that has room for a quarter of a second.
    fn short_queue(per_s: f64) -> Limit {
        Limit::Workers { count: 1, service_s: 1.0 / per_s, room: (per_s / 4.0).ceil() as usize }
    }
}

/// How the client learns that it is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refusal {
    /// In words, as over HTTP.
    Said,
    /// Not at all: it asks again, as over TFTP.
    Silent,
}

struct Server {
    limit: Limit,
    free: Vec<f64>,
    tokens: f64,
    refilled: f64,
}

impl Server {
    fn new(limit: Limit) -> Server {
        let (workers, tokens) = match limit {
            Limit::Bucket { burst, .. } => (0, burst),
            Limit::Workers { count, .. } => (count, 0.0),
        };
        Server { limit, free: vec![0.0; workers], tokens, refilled: 0.0 }
    }

    /// When the answer to a request of this moment comes, if it is not refused.
    fn ask(&mut self, now: f64) -> Option<f64> {
        match self.limit {
            Limit::Bucket { per_s, burst } => {
                self.tokens = (self.tokens + (now - self.refilled) * per_s).min(burst);
                self.refilled = now;
                if self.tokens < 1.0 {
                    return None;
                }
                self.tokens -= 1.0;
                Some(now + 0.001)
            }
            Limit::Workers { service_s, room, .. } => {
                let next = self.free.iter_mut().min_by(|a, b| a.total_cmp(b))?;
                let waiting = (*next - now).max(0.0) / service_s;
                if waiting > room as f64 {
                    return None;
                }
                *next = next.max(now) + service_s;
                Some(*next)
            }
        }
    }
}

const LIMITS: Limits = Limits { percentile: 0.99, latency: Span::from_secs(1), errors: 0.01 };
const GUARD: GuardLimits = GuardLimits {
    errors: 0.5,
    slow: Span::from_secs(3),
    slow_share: 0.1,
    silence: Span::from_millis(1_500),
};
const PACE: Pace = Pace {
    hold: Span::from_secs(5),
    hold_max: Span::from_secs(30),
    warm_up: Span::from_millis(500),
};
const PLAN: SearchPlan = SearchPlan {
    start: 50.0,
    max: 2e4,
    growth: 1.5,
    resolution: 0.025,
    repeats: 3,
    confirm: 0.9,
    whole: false,
};
/// Wait of a TFTP client before it asks again, and how often it asks.
const TIMEOUT_S: f64 = 4.0;
const TRIES: u32 = 5;

/// A search in virtual time.
struct World {
    server: Server,
    refusal: Refusal,
    now_s: f64,
    draws: Stream,
    saving: Saving,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Event {
    Start(Time),
    Again { planned: Time, tries: u32 },
    End { planned: Time, started: Time, fault: bool },
    Look,
}

struct At(f64, Event);

impl PartialEq for At {
    fn eq(&self, other: &At) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for At {}
impl PartialOrd for At {
    fn partial_cmp(&self, other: &At) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for At {
    fn cmp(&self, other: &At) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn time(seconds: f64) -> Time {
    Time::from_nanos((seconds * 1e9) as u64)
}

impl World {
    /// Offers a level and says what was seen, and what the guard said.
    fn offer(
        &mut self,
        per_s: f64,
        warm_up: Span,
        hold: Span,
        drain_s: f64,
    ) -> (LoadRecorder, Option<String>) {
        let (arrival, shape) = (Arrival::Constant, Shape::Constant);
        let from = time(self.now_s + 0.02);
        let offer = Offer::Rate { per_s, length: warm_up + hold, arrival, shape };
        let until = from + offer.length();
        let mut recorder = LoadRecorder::warmed_up(from, from + warm_up, until);
        let mut guard = Guard::new(guard_at(GUARD, Some(per_s), Span::from_millis(250)), from);
        let (mut give_up, mut said, mut sample) =
            (until.as_secs_f64() + drain_s, None, Sample::default());
        let mut queue = BinaryHeap::new();
        for (_, planned) in Starts::new(offer, from, 0, 1, 1) {
            let late = self.draws.unit() * 0.000_2;
            queue.push(Reverse(At(planned.as_secs_f64() + late, Event::Start(planned))));
        }
        queue.push(Reverse(At(from.as_secs_f64() + 0.05, Event::Look)));
        let mut open: Vec<(Time, Time)> = Vec::new();
        while let Some(Reverse(At(now, event))) = queue.pop() {
            if now > give_up || (event == Event::Look && queue.is_empty()) {
                break;
            }
            match event {
                Event::Start(planned) if said.is_none() => {
                    recorder.plan(planned);
                    recorder.start(planned, time(now), false);
                    sample.in_flight += 1;
                    open.push((planned, time(now)));
                    self.ask(now, planned, 1, &mut queue);
                }
                Event::Start(_) => {}
                Event::Again { planned, tries } => {
                    recorder.traffic.sent_again += 1;
                    self.ask(now, planned, tries, &mut queue);
                }
                Event::End { planned, fault, .. } => {
                    let at = open.iter().position(|(at, _)| *at == planned).unwrap();
                    let (_, started) = open.swap_remove(at);
                    sample.in_flight -= 1;
                    sample.ended += 1;
                    sample.failed += u64::from(fault);
                    sample.heard = time(now);
                    if !fault {
                        sample.answered = sample.answered.max(started);
                    }
                    let fault = fault.then_some(LoadFault::HttpStatus(503));
                    recorder.end(&Ended { planned, started, ended: time(now), fault }, None);
                }
                Event::Look => {
                    if said.is_none() {
                        said = guard.look(time(now), sample, time(now) <= until);
                        if said.is_some() {
                            recorder.cut(time(now));
                            give_up = now + 0.25;
                        }
                    }
                    queue.push(Reverse(At(now + 0.05, Event::Look)));
                }
            }
        }
        self.now_s = if open.is_empty() { until.as_secs_f64().min(give_up) } else { give_up };
        for (planned, started) in open {
            let (ended, fault) = (time(self.now_s), Some(LoadFault::Silence));
            recorder.end(&Ended { planned, started, ended, fault }, None);
        }
        (recorder, said)
    }

    fn ask(&mut self, now: f64, planned: Time, tries: u32, queue: &mut BinaryHeap<Reverse<At>>) {
        let end = |fault| Event::End { planned, started: time(now), fault };
        let next = match (self.server.ask(now), self.refusal) {
            (Some(at), _) => At(at, end(false)),
            (None, Refusal::Said) => At(now + 0.001, end(true)),
            (None, Refusal::Silent) if tries < TRIES => {
                At(now + TIMEOUT_S, Event::Again { planned, tries: tries + 1 })
            }
            (None, Refusal::Silent) => At(now + TIMEOUT_S, end(true)),
        };
        queue.push(Reverse(next));
    }

    /// Waits until a probe is answered as at rest; says whether one was answered at all.
    fn recovered(&mut self) -> bool {
        let end = self.now_s + 30.0;
        let (mut gap, mut was_answered) = (0.25, false);
        while self.now_s < end {
            let answer = self.server.ask(self.now_s);
            if let Some(at) = answer {
                was_answered = true;
                let took = at - self.now_s;
                self.now_s += took;
                if took <= 0.6 {
                    return true;
                }
                gap = 0.25;
            }
            self.now_s += gap;
            gap *= 2.0;
        }
        was_answered
    }

    fn measure(&mut self, per_s: f64, kind: LevelKind) -> (LevelVerdict, Option<f64>) {
        if self.saving.must_be_used_up() {
            let (per_s, length) = PACE.push(per_s);
            let (pushed, _) = self.offer(per_s, Span::ZERO, length, 0.0);
            if !self.saving.pushed(&pushed, &LIMITS) {
                self.recovered();
            }
        }
        let hold = PACE.length(kind, per_s, &LIMITS);
        let (recorder, guard) = self.offer(per_s, PACE.warm_up, hold, 1.25);
        let around = Circumstances { offered: per_s, guard, ..Circumstances::default() };
        let (mut seen, _) = weigh(&recorder, &LIMITS, &around);
        if seen == LevelVerdict::Broken {
            self.saving.broken(&recorder, &LIMITS);
        }
        if seen != LevelVerdict::Carried && !self.recovered() {
            seen = LevelVerdict::Lost;
        }
        (seen, recorder.served_per_s())
    }
}

/// Searches once: what was found and how long it took, in seconds.
fn search(limit: Limit, refusal: Refusal, seed: u64) -> (Found, f64) {
    let draws = stream(seed, 3, Purpose::Load);
    let mut world =
        World { server: Server::new(limit), refusal, now_s: 1.0, draws, saving: Saving::default() };
    // No two searches offer the same levels.
    let start = PLAN.start * (1.0 + 0.4 * world.draws.unit());
    let mut search = Search::new(SearchPlan { start, ..PLAN });
    loop {
        match search.next() {
            Next::Done(found) => return (found, world.now_s),
            Next::Measure(level, kind) => {
                let (shown, per_s) = world.measure(level, kind);
                search.seen(shown, per_s);
            }
        }
    }
}

/// The rates of the planted limits, per second.
const RATES: [f64; 6] = [5.0, 20.0, 40.0, 70.0, 137.0, 400.0];

/// Searches servers of every rate; nine of ten knees must be right, nine of ten intervals too.
fn nine_of_ten(limit: impl Fn(f64) -> Limit, refusal: Refusal) {
    const SEARCHES: u64 = 40;
    for rate in RATES {
        let (mut near, mut held, mut longest_s, mut seen) = (0, 0, 0.0f64, Vec::new());
        for seed in 0..SEARCHES {
            let (found, took_s) = search(limit(rate), refusal, seed);
            let knee = found.low.filter(|_| found.outcome == CapacityVerdict::Knee).unwrap_or(0.0);
            let interval = found.confidence(false);
            let (low, high) = (interval.low.unwrap_or(0.0), interval.high.unwrap_or(0.0));
            near += u64::from((knee / rate - 1.0).abs() <= 0.03);
            held += u64::from((low..=high).contains(&rate));
            longest_s = longest_s.max(took_s);
            seen.push((found.outcome, knee, low, high));
        }
        let name = format!("{:?} {refusal:?}", limit(rate));
        eprintln!("{name}: {near} knees, {held} intervals of {SEARCHES}, {longest_s:.0} s");
        let is_good = |count: u64| count * 10 >= SEARCHES * 9;
        assert!(is_good(near) && is_good(held), "{name}: {near} {held} {seen:.2?}");
        assert!(longest_s < 600.0, "{name}: {longest_s} s");
    }
}

#[test]
fn the_knee_of_one_worker_is_within_three_percent_and_in_the_interval_in_nine_of_ten() {
    nine_of_ten(Limit::one_worker, Refusal::Silent);
}

#[test]
fn the_knee_of_a_short_queue_is_within_three_percent_and_in_the_interval_in_nine_of_ten() {
    nine_of_ten(Limit::short_queue, Refusal::Said);
    nine_of_ten(Limit::short_queue, Refusal::Silent);
}

#[test]
fn the_knee_of_a_small_bucket_is_within_three_percent_and_in_the_interval_in_nine_of_ten() {
    nine_of_ten(|per_s| Limit::Bucket { per_s, burst: 6.0 }, Refusal::Said);
    nine_of_ten(|per_s| Limit::Bucket { per_s, burst: 6.0 }, Refusal::Silent);
}

#[test]
fn the_knee_of_a_bucket_of_a_second_is_within_three_percent_and_in_the_interval_in_nine_of_ten() {
    nine_of_ten(|per_s| Limit::Bucket { per_s, burst: per_s }, Refusal::Said);
    nine_of_ten(|per_s| Limit::Bucket { per_s, burst: per_s }, Refusal::Silent);
}

#[test]
fn the_knee_of_several_workers_is_within_three_percent_and_in_the_interval_in_nine_of_ten() {
    let four = |per_s| Limit::Workers { count: 4, service_s: 4.0 / per_s, room: usize::MAX };
    nine_of_ten(
        |per_s| if per_s < 10.0 { Limit::one_worker(per_s) } else { four(per_s) },
        Refusal::Said,
    );
}
