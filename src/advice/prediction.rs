use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::base::{PhoneId, Span, Stop, Time};
use crate::cluster::operator::phones::EraseLists;
use crate::measure::{Finish, PhoneRecord, Registration};
use crate::phone::{Fact, Failure, FileKind, Input, Outcome, Refusal, Unregistered};
use crate::scenario::Plan;
use crate::sim::{Seen, SimOptions, SimRun, World};

use super::kinds::{Kind, Kinds};
use super::whole;

/// What becomes of each phone of a plan, computed by playing a few of them.
///
/// What is judged is trust, reachability and the order of steps. Whether servers carry the load of
/// the whole fleet is not: a whole run says that.
#[derive(Clone, Debug)]
pub struct Prediction {
    kinds: Kinds,
    /// Each fate once.
    fates: Vec<Fate>,
    /// The place of each phone's fate, by number.
    fate_of: Vec<u32>,
    /// How many phones were played.
    pub played: u32,
    /// Why more than one phone of each kind was played, if that was so.
    pub whole: Option<String>,
    /// Whether the fate of each phone is known; if not, phones between those that were played are
    /// taken to fare as their neighbours.
    pub is_exact: bool,
}

/// What becomes of a phone, and by which step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fate {
    /// How it ends.
    pub end: End,
    /// The place in the timeline, from 0, of the step whose reset it did not survive.
    pub by: Option<usize>,
    /// What it refused then, in order.
    pub refused: Vec<(FileKind, Refusal)>,
}

/// How a phone ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// It has in force what is served.
    Ready,
    /// Only a person can help it.
    Stuck,
    /// It is not ready for another reason.
    Failed(Failure),
    /// It is ready, and no member of its group has registered it.
    Unregistered(Unregistered),
    /// It never boots.
    Untouched,
}

impl End {
    const fn of(record: Option<&PhoneRecord>) -> End {
        let Some(record) = record else { return End::Untouched };
        match (record.outcome, record.registration) {
            (Some(Outcome::Ready), Registration::Not(why)) => End::Unregistered(why),
            (Some(Outcome::Ready), _) => End::Ready,
            (Some(Outcome::Stuck), _) => End::Stuck,
            (Some(Outcome::Failed(why)), _) => End::Failed(why),
            (None, _) => End::Untouched,
        }
    }
}

/// How many phones are lost; fewer is better, first of those that only a person can help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Lost {
    /// Phones that only a person can help.
    pub stuck: u64,
    /// Phones that are not ready for another reason.
    pub failed: u64,
    /// Phones that are ready and that no member of their group has registered; none where the plan
    /// has no `[registration]`.
    pub unregistered: u64,
}

impl Lost {
    /// Whether nobody is.
    pub fn is_nobody(self) -> bool {
        self == Lost::default()
    }

    /// Adds phones that end so.
    pub(super) fn add(&mut self, end: End, phones: u64) {
        match end {
            End::Stuck => self.stuck += phones,
            End::Failed(_) => self.failed += phones,
            End::Unregistered(_) => self.unregistered += phones,
            End::Ready | End::Untouched => {}
        }
    }
}

/// Phones that are played at most where one of a kind is not enough.
const PLAYED_MAX: u32 = 20_000;

/// A plan with a time limit is played with every phone if all may take more than this part of it.
const LIMIT_PART: f64 = 0.9;

impl Prediction {
    /// Plays `plan` as far as it takes to know what becomes of each phone; `None` when `stop` is
    /// set before the end.
    pub fn of(plan: &Plan, stop: &Stop) -> Option<Prediction> {
        let kinds = Kinds::of_plan(plan);
        if let Some(why) = whole::why(plan) {
            return Prediction::whole(plan, kinds, why, stop);
        }
        let firsts = kinds.first_phones();
        let (stories, ended) = play(plan, &firsts, stop)?;
        if is_near_the_limit(plan, ended) {
            let why = "the time limit may come before the last phone's turn".to_owned();
            return Prediction::whole(plan, kinds, why, stop);
        }
        let mut prediction = Prediction::new(kinds, firsts.len() as u32);
        // The n-th phone that was played is the first of the n-th kind.
        let of_kind: Vec<u32> =
            stories.into_iter().map(|(_, fate)| prediction.place_of(fate)).collect();
        prediction.fate_of =
            prediction.kinds.of.iter().map(|&kind| of_kind[kind as usize]).collect();
        Some(prediction)
    }

    fn new(kinds: Kinds, played: u32) -> Prediction {
        let (fates, fate_of) = (Vec::new(), Vec::new());
        Prediction { kinds, fates, fate_of, played, whole: None, is_exact: true }
    }

    fn whole(plan: &Plan, kinds: Kinds, why: String, stop: &Stop) -> Option<Prediction> {
        let every = plan.fleet.phones.div_ceil(PLAYED_MAX).max(1);
        let mut phones = kinds.first_phones();
        phones.extend((0..plan.fleet.phones).step_by(every as usize));
        phones.sort_unstable();
        phones.dedup();
        let (stories, _) = play(plan, &phones, stop)?;
        let mut prediction = Prediction::new(kinds, phones.len() as u32);
        (prediction.whole, prediction.is_exact) = (Some(why), every == 1);
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        let mut stories = stories.into_iter().peekable();
        for phone in 0..plan.fleet.phones {
            let kind = prediction.kinds.of[phone as usize];
            if let Some((_, fate)) = stories.next_if(|(played, _)| *played == phone) {
                let place = prediction.place_of(fate);
                last.insert(kind, place);
            }
            prediction.fate_of.push(last[&kind]);
        }
        Some(prediction)
    }

    fn place_of(&mut self, fate: Fate) -> u32 {
        let known = self.fates.iter().position(|known| *known == fate);
        let place = known.unwrap_or_else(|| {
            self.fates.push(fate);
            self.fates.len() - 1
        });
        place as u32
    }

    /// What becomes of a phone of the fleet.
    ///
    /// # Panics
    /// If the fleet has no such phone.
    pub fn fate(&self, PhoneId(phone): PhoneId) -> &Fate {
        &self.fates[self.fate_of[phone as usize] as usize]
    }

    /// How many kinds of phones there are.
    pub const fn kinds(&self) -> usize {
        self.kinds.all.len()
    }

    /// Phones that end so.
    pub fn count(&self, is_such: impl Fn(End) -> bool) -> u64 {
        let such: Vec<bool> = self.fates.iter().map(|fate| is_such(fate.end)).collect();
        self.fate_of.iter().filter(|&&place| such[place as usize]).count() as u64
    }

    /// Phones that are lost.
    pub fn lost(&self) -> Lost {
        let mut lost = Lost::default();
        self.by_kind().into_iter().for_each(|(fate, _, phones)| lost.add(fate.end, phones));
        lost
    }

    /// Every kind with each of its fates and how many phones have it; the fates in their order.
    pub fn by_kind(&self) -> Vec<(&Fate, &Kind, u64)> {
        let mut counts: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for pair in self.fate_of.iter().copied().zip(self.kinds.of.iter().copied()) {
            *counts.entry(pair).or_default() += 1;
        }
        let row = |((fate, kind), phones): ((u32, u32), u64)| {
            (&self.fates[fate as usize], &self.kinds.all[kind as usize], phones)
        };
        let mut rows: Vec<(&Fate, &Kind, u64)> = counts.into_iter().map(row).collect();
        rows.sort_by(|a, b| (a.0.by, a.0, a.1).cmp(&(b.0.by, b.0, b.1)));
        rows
    }
}

/// Whether the whole fleet may be cut short where those that were played were not.
fn is_near_the_limit(plan: &Plan, ended: Span) -> bool {
    if !plan.limits.max_wall_is_set {
        return false;
    }
    let visits = plan.timeline.iter().filter_map(|entry| entry.action.get::<EraseLists>());
    let longest = visits.fold(Span::ZERO, |sum, EraseLists { visits }| {
        sum + crate::play::longest(visits, plan.seed, plan.fleet.phones)
    });
    let spreads = plan.timeline.iter().filter_map(|e| e.action.impact(&plan.topology).wave);
    // The last phone of a wave boots at its end, whenever the one that was played did.
    let all = spreads.fold(ended + longest, |sum, spread| sum + spread);
    all > plan.limits.max_wall.fraction(LIMIT_PART)
}

/// What happened to a phone as far as it says why it is lost.
#[derive(Debug, Default)]
struct Story {
    booted: Time,
    refused: Vec<(FileKind, Refusal)>,
    /// Since which boot it is not ready, and what it refused then.
    lost: Option<(Time, Vec<(FileKind, Refusal)>)>,
    /// Since which boot nobody has registered it.
    unregistered: Option<Time>,
}

impl Story {
    fn see(&mut self, seen: &Seen<'_>) {
        if matches!(seen.input, Input::Boot) {
            self.booted = seen.now;
            self.refused.clear();
        }
        for fact in seen.facts {
            match *fact {
                Fact::FileRefused { kind, refusal } => self.refused.push((kind, refusal)),
                Fact::Settled { outcome: Outcome::Ready } => self.lost = None,
                Fact::Registered { .. } => self.unregistered = None,
                Fact::Unregistered { .. } => {
                    self.unregistered.get_or_insert(self.booted);
                }
                Fact::Settled { .. } if self.lost.is_none() => {
                    self.lost = Some((self.booted, self.refused.clone()));
                }
                _ => {}
            }
        }
    }
}

/// Each of these phones, in their order, with its fate; and how long the plan took.
type Played = (Vec<(u32, Fate)>, Span);

fn play(plan: &Plan, phones: &[u32], stop: &Stop) -> Option<Played> {
    let stories: Arc<Mutex<BTreeMap<u32, Story>>> = Arc::default();
    let told = Arc::clone(&stories);
    let world = World::of_some(plan, SimOptions::default(), stop, phones);
    let witness = move |seen: &Seen<'_>| {
        let mut stories = told.lock().unwrap_or_else(PoisonError::into_inner);
        stories.entry(seen.phone.id().0).or_default().see(seen);
    };
    let run = world.with_witness(Box::new(witness)).run();
    if run.finish == Finish::Interrupted {
        return None;
    }
    let mut stories = std::mem::take(&mut *stories.lock().unwrap_or_else(PoisonError::into_inner));
    let fate = |&phone: &u32| {
        let record = run.ledger.phone(PhoneId(phone));
        let end = End::of(record);
        let lost = stories.remove(&phone).and_then(|story| match end {
            End::Unregistered(_) => story.unregistered.map(|booted| (booted, Vec::new())),
            End::Stuck | End::Failed(_) => story.lost,
            End::Ready | End::Untouched => None,
        });
        let (by, refused) = lost.map_or((None, Vec::new()), |(booted, refused)| {
            (reset_before(plan, &run, booted), refused)
        });
        (phone, Fate { end, by, refused })
    };
    let fates = phones.iter().map(fate).collect();
    Some((fates, run.ended.since(Time::ZERO)))
}

/// The last step up to `booted` that makes phones boot, as a position in the timeline.
fn reset_before(plan: &Plan, run: &SimRun, booted: Time) -> Option<usize> {
    let booted = booted.as_secs_f64();
    let boots = |at: usize| {
        let action = &plan.timeline[at].action;
        action.impact(&plan.topology).wave.is_some() || action.get::<EraseLists>().is_some()
    };
    let marks = run.steps.iter().rev().filter(|mark| mark.at_s <= booted);
    marks.map(|mark| mark.number - 1).find(|&at| boots(at))
}
