use std::collections::BTreeMap;

use crate::measure::{CapacityVerdict, Confidence, LevelKind, LevelVerdict};

/// How the knee is looked for. Levels are rates per second, or numbers at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchPlan {
    /// First level, above zero.
    pub start: f64,
    /// Highest level that is ever offered.
    pub max: f64,
    /// Each step of the ramp is so many times the one before it, above 1.
    pub growth: f64,
    /// The knee is known well enough when the bracket is no wider than this, as a part of it.
    pub resolution: f64,
    /// A level near the knee is judged by the majority of so many measurements, odd.
    pub repeats: u32,
    /// The confirmation run offers this part of the knee.
    pub confirm: f64,
    /// Levels are whole numbers.
    pub whole: bool,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Measure this level.
    Measure(f64, LevelKind),
    /// Nothing: this is what came out.
    Done(Found),
}

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// How it ended.
    pub outcome: CapacityVerdict,
    /// The highest level that was carried.
    pub low: Option<f64>,
    /// The lowest level above it that was not.
    pub high: Option<f64>,
    /// The level of the confirmation run, if it was carried.
    pub confirmed: Option<f64>,
    /// Measurements at `low` and `high`.
    pub measurements: u32,
    /// Those of them that agree with the majority.
    pub agreed: u32,
}

/// Part by which a level of rates may miss what the server carries for good, in either direction
/// (measured in virtual time): so much may be refused or left behind at a carried level, and where
/// a level ends is chance.
const TOLERANCE: f64 = 0.015;

impl Found {
    /// How sure the knee is; levels at once are whole numbers and known to one.
    pub fn confidence(&self, at_once: bool) -> Confidence {
        let tolerance = if at_once { 0.0 } else { TOLERANCE };
        let low = self.low.map(|low| low * (1.0 - tolerance));
        let high = self.high.map(|high| high * (1.0 + tolerance));
        Confidence {
            low,
            high,
            not_carried: self.high,
            width_ratio: low.zip(high).map(|(low, high)| high / low - 1.0),
            measurements: self.measurements,
            agreed: self.agreed,
            confirmed: self.confirmed,
        }
    }
}

/// Votes on one level.
#[derive(Clone, Copy, Debug, Default)]
struct Votes {
    carried: u32,
    broken: u32,
    /// Those of the broken ones for which the generator may be to blame.
    bound: u32,
    /// Measurements that the generator may have spoiled and that were repeated.
    spoiled: u32,
    /// What the server served of it when it was last not carried, per second; 0 if not known.
    served: f64,
}

/// The search for the knee: a measured level in, the next level or the result out. No clock, no
/// I/O: whoever measures drives it.
///
/// The ramp believes one measurement per level. Where it stops, levels are measured until a
/// majority agrees, the two ends of the bracket included, so that one bad moment of a busy host
/// neither ends the ramp nor moves the knee. What a server serves of a level that it does not
/// carry is a good guess of its knee: the next levels lie around it, and only what is measured
/// there counts.
#[derive(Clone, Debug)]
pub struct Search {
    plan: SearchPlan,
    /// By level; bits of a positive float sort like the float.
    votes: BTreeMap<u64, Votes>,
    next: Next,
    measured: u32,
}

/// Measurements after which the search gives up (choice): a steady server needs about 30.
const MEASUREMENTS_MAX: u32 = 90;
/// Measurements of a level that the generator may have spoiled before one is believed (choice).
const SPOILED_MAX: u32 = 3;
/// The search goes down to this part of the first level if that is not carried.
const DESCENT: f64 = 1.0 / 64.0;

impl Search {
    /// A search that begins with the first level of the ramp.
    pub fn new(plan: SearchPlan) -> Search {
        let first = plan.level(plan.start.min(plan.max));
        Search {
            plan,
            votes: BTreeMap::new(),
            next: Next::Measure(first, LevelKind::Ramp),
            measured: 0,
        }
    }

    /// What is to be done next.
    pub const fn next(&self) -> Next {
        self.next
    }

    /// Takes what the measurement of the level that [`Search::next`] named has shown, and what
    /// the server served of it per second, where that says something.
    pub fn seen(&mut self, seen: LevelVerdict, served_per_s: Option<f64>) {
        let Next::Measure(level, kind) = self.next else { return };
        self.measured += 1;
        let votes = self.votes.entry(level.to_bits()).or_default();
        if let (LevelVerdict::Broken, Some(served)) = (seen, served_per_s) {
            votes.served = served;
        }
        match seen {
            // A pause of the host spoils a measurement; a limit of the generator does it again.
            LevelVerdict::GeneratorBound if votes.spoiled < SPOILED_MAX => {
                votes.spoiled += 1;
                if self.measured >= MEASUREMENTS_MAX {
                    self.next = Next::Done(self.found(CapacityVerdict::Unsteady, None));
                }
                return;
            }
            LevelVerdict::Carried => votes.carried += 1,
            LevelVerdict::Broken => votes.broken += 1,
            LevelVerdict::GeneratorBound => {
                votes.broken += 1;
                votes.bound += 1;
            }
            LevelVerdict::Interrupted => return,
            LevelVerdict::Lost => {
                votes.broken += 1;
                self.next = Next::Done(self.found(CapacityVerdict::Lost, None));
                return;
            }
        }
        self.next = match kind {
            _ if self.measured >= MEASUREMENTS_MAX => {
                Next::Done(self.found(CapacityVerdict::Unsteady, None))
            }
            LevelKind::Confirm => self.after_confirmation(level),
            _ => self.go_on(),
        };
    }

    /// The next level of ramp, descent or bisection.
    fn go_on(&self) -> Next {
        let (low, high) = self.bracket();
        match (low, high) {
            (Some(low), None) if low >= self.plan.level(self.plan.max) => {
                if self.is_settled(low) {
                    self.confirm(low)
                } else {
                    Next::Measure(low, LevelKind::Search)
                }
            }
            (Some(low), None) => {
                let up = self.plan.level((low * self.plan.growth).min(self.plan.max));
                Next::Measure(up.max(self.plan.above(low)), LevelKind::Ramp)
            }
            (None, Some(high)) => self.descend(high),
            (Some(low), Some(high)) => self.bisect(low, high),
            (None, None) => self.next,
        }
    }

    fn descend(&self, high: f64) -> Next {
        let lowest = self.plan.start * DESCENT;
        let down = self.plan.level(high / self.plan.growth);
        if let Some((_, above)) = self.around_guess(high)
            && (lowest..down).contains(&above)
        {
            return Next::Measure(above, LevelKind::Search);
        }
        let too_low = down >= high || down < lowest;
        match (too_low, self.is_settled(high)) {
            (true, true) => Next::Done(self.found(CapacityVerdict::NotCarried, None)),
            (true, false) => Next::Measure(high, LevelKind::Search),
            (false, _) => Next::Measure(down, LevelKind::Ramp),
        }
    }

    /// The levels right below and above what the server served of `high`, which it did not carry.
    fn around_guess(&self, high: f64) -> Option<(f64, f64)> {
        /// Part of the resolution by which the two lie from the guess: they are no wider apart
        /// than it asks for.
        const NEAR: f64 = 0.48;
        let served = self.votes.get(&high.to_bits())?.served;
        let step = 1.0 + self.plan.resolution * NEAR;
        (served > 0.0 && !self.plan.whole).then_some((served / step, served * step))
    }

    fn bisect(&self, low: f64, high: f64) -> Next {
        let narrow = high / low <= 1.0 + self.plan.resolution || high <= self.plan.above(low);
        if !narrow {
            let middle = self.plan.level(self.between(low, high));
            if low < middle && middle < high {
                return Next::Measure(middle, LevelKind::Search);
            }
        }
        // The ends carry the result: both need a majority.
        match [high, low].into_iter().find(|&end| !self.is_settled(end)) {
            Some(end) => Next::Measure(end, LevelKind::Search),
            None => self.confirm(low),
        }
    }

    /// A level between the two: near the guess if there is one there, else in the middle.
    fn between(&self, low: f64, high: f64) -> f64 {
        let margin = 1.0 + self.plan.resolution / 4.0;
        let fits = |level: f64| level >= low * margin && level * margin <= high;
        let middle = (low * high).sqrt();
        match self.around_guess(high) {
            Some((_, above)) if fits(above) => above,
            Some((below, _)) if fits(below) => below,
            // It carries a little more than was guessed.
            Some((_, above)) if above <= low * margin * margin => {
                middle.min(low * (1.0 + 2.0 * self.plan.resolution))
            }
            _ => middle,
        }
    }

    fn confirm(&self, low: f64) -> Next {
        Next::Measure(self.plan.level(low * self.plan.confirm), LevelKind::Confirm)
    }

    /// One success confirms, if no more measurements than that were spoiled; a failure must be
    /// repeated before it moves the bracket.
    fn after_confirmation(&self, level: f64) -> Next {
        let (low, high) = self.bracket();
        match self.verdict(level) {
            Some(true) if self.is_sound(level) => {
                let outcome = match high {
                    None => CapacityVerdict::HighestOffered,
                    Some(high) if self.is_bound(high) => CapacityVerdict::GeneratorBound,
                    Some(_) => CapacityVerdict::Knee,
                };
                Next::Done(self.found(outcome, Some(level)))
            }
            _ if !self.is_settled(level) => Next::Measure(level, LevelKind::Confirm),
            // It is carried, and as often as not the generator had no strength for it.
            Some(true) => Next::Done(self.found(CapacityVerdict::GeneratorBound, None)),
            // The bracket has moved down: what was carried before is not carried again.
            _ if low.is_none_or(|low| low < level) => self.go_on(),
            _ => Next::Done(self.found(CapacityVerdict::Unsteady, None)),
        }
    }

    /// Whether most measurements of a carried level say so, those that were spoiled included.
    fn is_sound(&self, level: f64) -> bool {
        let votes = self.votes.get(&level.to_bits()).copied().unwrap_or_default();
        votes.carried > votes.spoiled + votes.broken
    }

    /// The highest level that counts as carried below every level that counts as broken, and the
    /// lowest of those.
    fn bracket(&self) -> (Option<f64>, Option<f64>) {
        let mut low = None;
        for &bits in self.votes.keys() {
            let level = f64::from_bits(bits);
            match self.verdict(level) {
                Some(true) => low = Some(level),
                Some(false) => return (low, Some(level)),
                None => {}
            }
        }
        (low, None)
    }

    /// Whether a level counts as carried: by majority, else, while there is a tie, not.
    fn verdict(&self, level: f64) -> Option<bool> {
        let votes = self.votes.get(&level.to_bits())?;
        (votes.carried + votes.broken > 0).then_some(votes.carried > votes.broken)
    }

    /// Whether more measurements of this level could not change the majority, nor whose fault it
    /// is that it is not carried.
    fn is_settled(&self, level: f64) -> bool {
        let needed = self.plan.repeats / 2 + 1;
        let votes = self.votes.get(&level.to_bits()).copied().unwrap_or_default();
        let is_known_whose = votes.bound * 2 != votes.broken;
        votes.carried >= needed || votes.broken >= needed && is_known_whose
    }

    fn is_bound(&self, level: f64) -> bool {
        let votes = self.votes.get(&level.to_bits()).copied().unwrap_or_default();
        votes.bound * 2 >= votes.broken
    }

    fn found(&self, outcome: CapacityVerdict, confirmed: Option<f64>) -> Found {
        let (low, high) = self.bracket();
        let ends = [low, high].into_iter().flatten();
        let (mut measurements, mut agreed) = (0, 0);
        for votes in ends.filter_map(|end| self.votes.get(&end.to_bits())) {
            measurements += votes.carried + votes.broken;
            agreed += votes.carried.max(votes.broken);
        }
        let bound = high.is_some_and(|high| self.is_bound(high));
        let outcome = match outcome {
            CapacityVerdict::NotCarried if bound => CapacityVerdict::GeneratorBound,
            other => other,
        };
        Found { outcome, low, high, confirmed, measurements, agreed }
    }
}

impl SearchPlan {
    /// The level that is offered for `wanted`.
    fn level(&self, wanted: f64) -> f64 {
        if self.whole { wanted.round().max(1.0) } else { wanted }
    }

    /// The smallest level above `level` that is worth a measurement.
    fn above(&self, level: f64) -> f64 {
        if self.whole { level + 1.0 } else { level * (1.0 + self.resolution / 4.0) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::{Purpose, Stream, stream};

    const PLAN: SearchPlan = SearchPlan {
        start: 50.0,
        max: 1e6,
        growth: 1.5,
        resolution: 0.03,
        repeats: 3,
        confirm: 0.9,
        whole: false,
    };

    /// Searches a server that answers by `server`; the levels are counted.
    fn search(plan: SearchPlan, mut server: impl FnMut(f64) -> LevelVerdict) -> (Found, u32) {
        let mut search = Search::new(plan);
        for measured in 0..1_000 {
            match search.next() {
                Next::Done(found) => return (found, measured),
                Next::Measure(level, _) => {
                    assert!(level <= plan.max && level > 0.0, "{level}");
                    search.seen(server(level), None);
                }
            }
        }
        panic!("the search has no end");
    }

    fn steady(knee: f64) -> impl FnMut(f64) -> LevelVerdict {
        move |level| if level <= knee { LevelVerdict::Carried } else { LevelVerdict::Broken }
    }

    /// A server whose knee is blurred by 3 % and whose measurements are spoiled now and then.
    fn noisy(knee: f64, spoiled: f64, draws: &mut Stream) -> impl FnMut(f64) -> LevelVerdict {
        move |level| {
            let blur = (draws.unit() + draws.unit() + draws.unit() - 1.5) * 0.04;
            let carried = level <= knee * (1.0 + blur);
            let spoiled = draws.unit() < spoiled;
            if carried && !spoiled { LevelVerdict::Carried } else { LevelVerdict::Broken }
        }
    }

    #[test]
    fn a_steady_knee_is_found_within_the_resolution_and_confirmed() {
        for knee in [51.0, 100.0, 333.3, 15_000.0] {
            let (found, measured) = search(PLAN, steady(knee));
            assert_eq!(found.outcome, CapacityVerdict::Knee);
            let (low, high) = (found.low.unwrap(), found.high.unwrap());
            assert!(low <= knee && knee < high && high / low <= 1.03, "{low} {knee} {high}");
            assert_eq!(found.confirmed, Some(low * 0.9));
            assert_eq!((found.measurements, found.agreed), (4, 4));
            assert!(measured < 40, "{measured}");
        }
    }

    #[test]
    fn nine_of_ten_searches_of_noisy_servers_come_within_ten_percent() {
        for (spoiled, repeats) in [(0.0, 3), (0.05, 3), (0.1, 5)] {
            let mut near = 0;
            for seed in 0..200 {
                let mut draws = stream(seed, 1, Purpose::Load);
                let knee = 60.0 * (1.0 + 300.0 * draws.unit());
                let plan = SearchPlan { repeats, ..PLAN };
                let (found, _) = search(plan, noisy(knee, spoiled, &mut draws));
                let low = found.low.unwrap_or(0.0);
                let good = matches!(found.outcome, CapacityVerdict::Knee)
                    && (low / knee - 1.0).abs() < 0.1;
                near += u32::from(good);
            }
            assert!(near >= 180, "{near} of 200 with {spoiled} spoiled");
        }
    }

    #[test]
    fn one_bad_moment_does_not_end_the_ramp() {
        let mut measured = 0;
        let (found, _) = search(PLAN, |level| {
            measured += 1;
            if measured == 3 { LevelVerdict::Broken } else { steady(5_000.0)(level) }
        });
        let low = found.low.unwrap();
        assert!((low / 5_000.0 - 1.0).abs() < 0.03, "{low}");
    }

    #[test]
    fn a_server_that_does_not_carry_the_first_level_is_searched_downwards() {
        let (found, _) = search(PLAN, steady(3.0));
        assert!((found.low.unwrap() / 3.0 - 1.0).abs() < 0.03);
        let (found, _) = search(PLAN, |_| LevelVerdict::Broken);
        assert_eq!((found.outcome, found.low), (CapacityVerdict::NotCarried, None));
    }

    #[test]
    fn the_highest_level_is_never_passed_and_said_to_be_the_limit() {
        let plan = SearchPlan { max: 700.0, ..PLAN };
        let (found, _) = search(plan, |_| LevelVerdict::Carried);
        assert_eq!((found.outcome, found.low), (CapacityVerdict::HighestOffered, Some(700.0)));
        assert_eq!(found.confirmed, Some(630.0));
    }

    #[test]
    fn a_bound_of_the_generator_is_no_knee_of_the_server() {
        let (found, _) = search(PLAN, |level| {
            if level <= 800.0 { LevelVerdict::Carried } else { LevelVerdict::GeneratorBound }
        });
        assert_eq!(found.outcome, CapacityVerdict::GeneratorBound);
        assert!((found.low.unwrap() / 800.0 - 1.0).abs() < 0.03);
        let (found, _) = search(PLAN, |_| LevelVerdict::GeneratorBound);
        assert_eq!((found.outcome, found.low), (CapacityVerdict::GeneratorBound, None));
    }

    #[test]
    fn a_level_is_measured_until_it_is_known_whether_server_or_generator_is_why() {
        // Above the knee the generator spoils four measurements of each level, then no more.
        let mut spoiled = BTreeMap::new();
        let (found, _) = search(PLAN, |level| {
            let count: &mut u32 = spoiled.entry(level.to_bits()).or_default();
            *count += u32::from(level > 800.0);
            match *count {
                0 => LevelVerdict::Carried,
                1..=4 => LevelVerdict::GeneratorBound,
                _ => LevelVerdict::Broken,
            }
        });
        assert_eq!(found.outcome, CapacityVerdict::Knee);
    }

    #[test]
    fn a_generator_that_is_paused_now_and_then_finds_the_knee_all_the_same() {
        let mut near = 0;
        for seed in 0..100 {
            let mut draws = stream(seed, 2, Purpose::Load);
            let mut server = steady(777.0);
            let (found, _) = search(PLAN, |level| {
                if draws.unit() < 0.1 { LevelVerdict::GeneratorBound } else { server(level) }
            });
            let good =
                matches!(found.outcome, CapacityVerdict::Knee | CapacityVerdict::GeneratorBound);
            near += u32::from(good && (found.low.unwrap_or(0.0) / 777.0 - 1.0).abs() < 0.05);
        }
        assert!(near >= 95, "{near} of 100");
    }

    #[test]
    fn a_lost_server_ends_the_search_at_once() {
        let mut after = 0;
        let (found, _) = search(PLAN, |level| {
            after += u32::from(level > 400.0);
            if level > 400.0 { LevelVerdict::Lost } else { LevelVerdict::Carried }
        });
        assert_eq!((found.outcome, after), (CapacityVerdict::Lost, 1));
        assert!(found.low.unwrap() <= 400.0 && found.high.unwrap() > 400.0);
    }

    #[test]
    fn a_server_that_gets_tired_is_searched_again_below() {
        // It carries 1,000 until it has been loaded beyond that three times, then only 300.
        let mut beaten = 0;
        let (found, _) = search(PLAN, |level| {
            let knee = if beaten < 3 { 1_000.0 } else { 300.0 };
            beaten += u32::from(level > knee);
            if level <= knee { LevelVerdict::Carried } else { LevelVerdict::Broken }
        });
        match found.outcome {
            CapacityVerdict::Knee => {
                assert!((found.low.unwrap() / 300.0 - 1.0).abs() < 0.05, "{found:?}");
            }
            other => assert_eq!(other, CapacityVerdict::Unsteady),
        }
    }

    #[test]
    fn whole_levels_are_whole_and_end_one_apart() {
        let plan = SearchPlan { start: 2.0, whole: true, resolution: 0.0, ..PLAN };
        let (found, _) = search(plan, |level| {
            assert!(level.fract() == 0.0, "{level}");
            steady(10.0)(level)
        });
        assert_eq!((found.low, found.high), (Some(10.0), Some(11.0)));
    }

    proptest! {
        #[test]
        fn every_search_ends_whatever_a_server_does(answers in prop::collection::vec(0u8..3, 1..60)) {
            let mut at = 0;
            let (found, measured) = search(PLAN, |_| {
                at += 1;
                match answers[at % answers.len()] {
                    0 => LevelVerdict::Carried,
                    1 => LevelVerdict::Broken,
                    _ => LevelVerdict::GeneratorBound,
                }
            });
            prop_assert!(measured <= MEASUREMENTS_MAX);
            if let (Some(low), Some(high)) = (found.low, found.high) {
                prop_assert!(low < high);
            }
        }
    }
}
