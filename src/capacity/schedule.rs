use crate::base::{Purpose, Span, Stream, Time, stream};

/// How planned starts follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrival {
    /// At equal distances: the least noise.
    #[default]
    Constant,
    /// As independent callers: exponential distances.
    Poisson,
}

/// How the offered rate goes on within one level of load; the named rate is the highest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// The same rate throughout.
    #[default]
    Constant,
    /// From nothing to the rate in a straight line.
    Ramp,
    /// From the rate down to a twentieth of it, as phones come back after a power cut.
    Storm,
}

/// e-foldings of a storm: its last rate is 1/20 of its first.
const STORM_DECAY: f64 = 3.0;

impl Shape {
    /// The name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Shape::Constant => "constant",
            Shape::Ramp => "ramp",
            Shape::Storm => "storm",
        }
    }

    /// Mean rate as a part of the highest.
    fn mean(self) -> f64 {
        match self {
            Shape::Constant => 1.0,
            Shape::Ramp => 0.5,
            Shape::Storm => (1.0 - (-STORM_DECAY).exp()) / STORM_DECAY,
        }
    }

    /// The part of the time after which the part `done` of all starts has been planned.
    fn time_of(self, done: f64) -> f64 {
        match self {
            Shape::Constant => done,
            Shape::Ramp => done.sqrt(),
            Shape::Storm => -(1.0 - done * (1.0 - (-STORM_DECAY).exp())).ln() / STORM_DECAY,
        }
    }
}

/// What is to be offered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Offer {
    /// So many a second for a time.
    Rate {
        /// Highest rate, per second, above zero.
        per_s: f64,
        /// How long.
        length: Span,
        /// How starts follow each other.
        arrival: Arrival,
        /// How the rate goes on.
        shape: Shape,
    },
    /// So many in one instant.
    AtOnce(u64),
}

impl Offer {
    /// Time from the first to the last planned start.
    pub const fn length(&self) -> Span {
        match self {
            Offer::Rate { length, .. } => *length,
            Offer::AtOnce(_) => Span::ZERO,
        }
    }

    /// Planned starts in all, as a mean where they are random.
    pub fn count(&self) -> f64 {
        match self {
            Offer::Rate { per_s, length, shape, .. } => per_s * length.as_secs_f64() * shape.mean(),
            Offer::AtOnce(count) => *count as f64,
        }
    }
}

/// The planned starts of one thread of the generator, in order; fixed before the load begins.
///
/// The threads share the starts: each has every n-th, or a random stream of its own.
#[derive(Clone, Debug)]
pub struct Starts {
    offer: Offer,
    from: Time,
    worker: u64,
    workers: u64,
    /// Starts that were given out.
    given: u64,
    /// Expected number of starts of this thread up to the last one (Poisson).
    elapsed: f64,
    draws: Stream,
}

impl Starts {
    /// The starts of thread `worker` of `workers` from the instant `from` on.
    pub fn new(offer: Offer, from: Time, worker: u64, workers: u64, seed: u64) -> Starts {
        let draws = stream(seed, worker, Purpose::Load);
        Starts { offer, from, worker, workers, given: 0, elapsed: 0.0, draws }
    }

    /// How far the next start has come among all starts, 0 to 1; beyond 1 there is none.
    fn next_part(&mut self, arrival: Arrival) -> f64 {
        let all = self.offer.count();
        match arrival {
            Arrival::Constant => {
                ((self.given * self.workers + self.worker) as f64 + 0.5) / all.max(1e-9)
            }
            Arrival::Poisson => {
                self.elapsed -= (1.0 - self.draws.unit()).ln();
                self.elapsed * self.workers as f64 / all.max(1e-9)
            }
        }
    }
}

impl Iterator for Starts {
    type Item = (u64, Time);

    /// The next start: its number among all of the load, which no other thread has, and its instant.
    fn next(&mut self) -> Option<(u64, Time)> {
        let ordinal = self.given * self.workers + self.worker;
        let planned = match self.offer {
            Offer::AtOnce(count) => (ordinal < count).then_some(self.from)?,
            Offer::Rate { length, arrival, shape, .. } => {
                let part = self.next_part(arrival);
                (part < 1.0).then(|| self.from + length.fraction(shape.time_of(part)))?
            }
        };
        self.given += 1;
        Some((ordinal, planned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(per_s: f64, arrival: Arrival, shape: Shape) -> Offer {
        Offer::Rate { per_s, length: Span::from_secs(10), arrival, shape }
    }

    fn times(offer: Offer, worker: u64, workers: u64) -> Vec<f64> {
        let starts = Starts::new(offer, Time::ZERO, worker, workers, 42);
        starts.map(|(_, at)| at.as_secs_f64()).collect()
    }

    #[test]
    fn constant_starts_have_equal_distances_and_the_threads_share_them() {
        let offer = offer(100.0, Arrival::Constant, Shape::Constant);
        let all = times(offer, 0, 1);
        assert_eq!(all.len(), 1_000);
        assert!(all.windows(2).all(|pair| (pair[1] - pair[0] - 0.01).abs() < 1e-6));
        let mut shared: Vec<f64> = (0..3).flat_map(|worker| times(offer, worker, 3)).collect();
        shared.sort_by(f64::total_cmp);
        assert_eq!(shared, all);
    }

    #[test]
    fn poisson_starts_have_the_rate_and_are_the_same_for_the_same_seed() {
        let offer = offer(1_000.0, Arrival::Poisson, Shape::Constant);
        let both: Vec<Vec<f64>> = (0..2).map(|worker| times(offer, worker, 2)).collect();
        let count = both[0].len() + both[1].len();
        // Five standard deviations of 10,000.
        assert!((9_500..10_500).contains(&count), "{count}");
        assert_ne!(both[0], both[1]);
        assert_eq!(times(offer, 0, 2), both[0]);
        let distances = both[0].windows(2).map(|pair| pair[1] - pair[0]);
        let short = distances.filter(|&distance| distance < 0.002).count() as f64;
        let share = short / both[0].len() as f64;
        assert!((share - 0.632).abs() < 0.05, "below the mean lie 63 %, not {share}");
    }

    #[test]
    fn a_ramp_rises_and_a_storm_falls() {
        let count = |shape, from: f64, to: f64| {
            let times = times(offer(1_000.0, Arrival::Constant, shape), 0, 1);
            times.iter().filter(|time| (from..to).contains(*time)).count()
        };
        assert_eq!(times(offer(1_000.0, Arrival::Constant, Shape::Ramp), 0, 1).len(), 5_000);
        assert!((count(Shape::Ramp, 9.0, 10.0) as f64 - 950.0).abs() < 3.0);
        assert!((count(Shape::Ramp, 0.0, 1.0) as f64 - 50.0).abs() < 3.0);
        let first = count(Shape::Storm, 0.0, 0.1);
        assert!((97..=100).contains(&first), "the highest rate comes first: {first}");
        let last = count(Shape::Storm, 9.0, 10.0);
        assert!((50..=60).contains(&last), "a twentieth at the end: {last}");
    }

    #[test]
    fn at_once_is_one_instant_with_numbers_of_their_own() {
        let from = Time::ZERO + Span::from_secs(7);
        let starts = (0..2).flat_map(|worker| Starts::new(Offer::AtOnce(5), from, worker, 2, 1));
        let mut starts: Vec<(u64, Time)> = starts.collect();
        starts.sort();
        assert_eq!(starts, [0, 1, 2, 3, 4].map(|ordinal| (ordinal, from)));
    }
}
