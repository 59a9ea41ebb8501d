use crate::base::{PhoneId, Time};
use crate::phone::{Fact, Failure, Outcome, Transport};

use super::frames::Frames;
use super::incident::{Incident, Listen, Notice, StepEnd, StepKind};
use super::phones::Slice;
use super::stranded::Attribution;
use super::traces::Traces;

/// The course of a run beside its sums: what happened from second to second, where the time of the
/// phones went, and single boots in full.
#[derive(Clone, Debug)]
pub struct Journal {
    slice: Slice,
    notes: Vec<PhoneNote>,
    frames: Frames,
    /// Nanoseconds of boots by cause.
    spent: [u64; CAUSES],
    traces: Traces,
    storm: Time,
}

/// What is written down of a phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhoneNote {
    /// When its last boot began.
    pub started: Time,
    /// How often something was sent again or asked elsewhere in its last boot.
    pub retries: u16,
    /// The step of its last boot that took longest.
    pub slowest: Option<StepKind>,
    /// How long that took, in microseconds.
    pub slowest_us: u32,
    state: State,
    /// When its last boot was planned.
    planned: Time,
    /// Up to when its time is accounted for.
    mark: Time,
}

/// Where a phone stands; the order is that of [`super::frames::States`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    NotReset,
    Booting,
    Ready,
    Stuck,
    Failed,
}

/// The names of the states of a phone, in the order of the numbers of a frame.
pub const STATES: [&str; 5] = ["not-reset", "booting", "ready", "stuck", "failed"];

/// For what the time of a boot went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// The generator began the boot late.
    Late,
    /// The phone waited for a place of the generator.
    Place,
    /// The phone itself: start-up, pauses, checks, back-off.
    Phone,
    /// A step until its answer.
    Step(StepKind),
    /// A step that brought no answer.
    Silence(StepKind),
}

const STEPS: usize = StepKind::ALL.len();
const CAUSES: usize = 3 + 2 * STEPS;

impl Spent {
    /// Every cause.
    pub fn all() -> impl Iterator<Item = Spent> {
        [Spent::Late, Spent::Place, Spent::Phone]
            .into_iter()
            .chain(StepKind::ALL.map(Spent::Step))
            .chain(StepKind::ALL.map(Spent::Silence))
    }

    const fn index(self) -> usize {
        match self {
            Spent::Late => 0,
            Spent::Place => 1,
            Spent::Phone => 2,
            Spent::Step(step) => 3 + step.index(),
            Spent::Silence(step) => 3 + STEPS + step.index(),
        }
    }

    /// The name in outputs.
    pub fn name(self) -> String {
        match self {
            Spent::Late => "generator: began late".to_owned(),
            Spent::Place => "generator: waited for a place".to_owned(),
            Spent::Phone => "phone itself".to_owned(),
            Spent::Step(step) => step.name().to_owned(),
            Spent::Silence(step) => format!("{}: no answer", step.name()),
        }
    }
}

impl Journal {
    /// Nothing was heard yet of these phones of a fleet of `phones`.
    pub fn new(seed: u64, slice: Slice, phones: u32) -> Journal {
        Journal::of(slice, Traces::new(seed, slice, phones, None))
    }

    /// A journal that keeps the boots of one phone and of no other.
    pub fn of_phone(seed: u64, phones: u32, phone: PhoneId) -> Journal {
        let slice = Slice::whole(phones);
        Journal::of(slice, Traces::new(seed, slice, phones, Some(phone)))
    }

    fn of(slice: Slice, traces: Traces) -> Journal {
        Journal {
            slice,
            notes: vec![PhoneNote::default(); slice.count as usize],
            frames: Frames::new(slice.count),
            spent: [0; CAUSES],
            traces,
            storm: Time::ZERO,
        }
    }

    /// What is written down of a phone.
    pub fn phone(&self, phone: PhoneId) -> Option<&PhoneNote> {
        self.notes.get(self.slice.place(phone)?)
    }

    /// What happened from second to second.
    pub const fn frames(&self) -> &Frames {
        &self.frames
    }

    /// Boots in full.
    pub const fn traces(&self) -> &Traces {
        &self.traces
    }

    /// When the storm began; the start of the run if it did not.
    pub const fn storm(&self) -> Time {
        self.storm
    }

    /// Seconds of all boots since the storm began by what they went for; together they are all of
    /// it.
    pub fn spent_s(&self) -> Vec<(Spent, f64)> {
        Spent::all().map(|cause| (cause, self.spent[cause.index()] as f64 / 1e9)).collect()
    }

    /// The causes for which any time went, the largest first.
    pub fn attribution(&self) -> Vec<Attribution> {
        let whole: f64 = self.spent.iter().map(|&ns| ns as f64 / 1e9).sum();
        let part = |(cause, seconds): (Spent, f64)| Attribution {
            cause: cause.name(),
            seconds,
            ratio: seconds / whole,
        };
        let any = self.spent_s().into_iter().filter(|(_, seconds)| *seconds > 0.0);
        let mut parts: Vec<Attribution> = any.map(part).collect();
        parts.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        parts
    }

    /// The run has ended at `now`.
    pub fn end(&mut self, now: Time) {
        self.frames.end(now);
        self.traces.end();
    }

    /// The journal of a whole fleet of `phones` whose parts were heard by several.
    pub fn gathered(seed: u64, phones: u32, parts: &[Journal]) -> Journal {
        let mut whole =
            Journal::of(Slice::whole(0), Traces::new(seed, Slice::whole(0), phones, None));
        whole.slice = Slice::whole(phones);
        whole.notes = vec![PhoneNote::default(); phones as usize];
        parts.iter().for_each(|part| whole.merge(part));
        whole
    }

    fn merge(&mut self, other: &Journal) {
        for (place, note) in other.notes.iter().enumerate() {
            let number = other.slice.first + other.slice.every * place as u32;
            if let Some(mine) = self.notes.get_mut(number as usize) {
                *mine = *note;
            }
        }
        self.frames.merge(&other.frames);
        self.spent.iter_mut().zip(other.spent).for_each(|(mine, theirs)| *mine += theirs);
        self.traces.merge(&other.traces);
        self.storm = self.storm.max(other.storm);
    }

    /// Accounts for the time of a phone up to `until`, if it boots.
    fn claim(&mut self, place: usize, until: Time, cause: Spent) {
        let PhoneNote { mark, state, .. } = &mut self.notes[place];
        if *state == State::Booting {
            let length = until.since(*mark);
            *mark = (*mark).max(until);
            self.spent[cause.index()] += length.as_nanos();
        }
    }

    fn go(&mut self, place: usize, now: Time, to: State) {
        let from = std::mem::replace(&mut self.notes[place].state, to);
        self.frames.moved(now, from as usize, to as usize);
    }

    fn began(&mut self, place: usize, now: Time, planned: Time) {
        self.go(place, now, State::Booting);
        let state = State::Booting;
        let (started, mark) = (now, planned);
        self.notes[place] = PhoneNote { started, state, planned, mark, ..PhoneNote::default() };
        self.claim(place, now, Spent::Late);
    }

    fn settled(&mut self, place: usize, now: Time, outcome: Outcome) {
        self.claim(place, now, Spent::Phone);
        let (state, end) = match outcome {
            Outcome::Ready => (State::Ready, StepEnd::Ok),
            Outcome::Stuck => (State::Stuck, StepEnd::Stuck),
            Outcome::Failed(_) => (State::Failed, StepEnd::Failed),
        };
        self.go(place, now, state);
        let PhoneNote { planned, started, .. } = self.notes[place];
        self.frames.ended(StepKind::Boot, end, [planned, started, now]);
    }

    fn ended(&mut self, place: usize, step: StepKind, end: StepEnd, times: [Time; 3]) {
        let [planned, started, now] = times;
        self.claim(place, planned.min(now), Spent::Phone);
        self.claim(place, started.min(now), Spent::Place);
        let silent = end == StepEnd::Failed;
        self.claim(place, now, if silent { Spent::Silence(step) } else { Spent::Step(step) });
        self.frames.ended(step, end, times);
        let took = now.since(planned).as_micros().min(u64::from(u32::MAX)) as u32;
        let note = &mut self.notes[place];
        if note.state == State::Booting && took >= note.slowest_us {
            (note.slowest, note.slowest_us) = (Some(step), took);
        }
    }

    fn registered(&mut self, place: usize, now: Time, fact: Fact) {
        let planned = self.notes[place].planned;
        if let Some((step, end, began)) = StepKind::of_registration(fact, planned, now) {
            self.frames.ended(step, end, [began, began, now]);
        }
    }

    fn retried(&mut self, place: usize, now: Time, step: StepKind) {
        self.notes[place].retries = self.notes[place].retries.saturating_add(1);
        self.frames.retried(step, now);
    }
}

impl Listen for Journal {
    fn hear(&mut self, phone: PhoneId, now: Time, incident: &Incident<'_>) {
        let Some(place) = self.slice.place(phone) else { return };
        match *incident {
            Incident::BootBegan(planned) => self.began(place, now, planned),
            Incident::Phone(Fact::Settled { outcome }) => {
                self.settled(place, now, outcome);
            }
            Incident::Phone(Fact::TvsFailover) => self.retried(place, now, StepKind::TVS),
            Incident::Phone(fact) => self.registered(place, now, fact),
            Incident::GivenUp(lack) => {
                self.claim(place, now, Spent::Place);
                self.settled(place, now, Outcome::Failed(Failure::Generator(lack)));
            }
            Incident::SentAgain(step) => self.retried(place, now, step),
            Incident::Failed(via, step) if via != Transport::Tftp => {
                self.retried(place, now, step);
            }
            Incident::Ended { step, end, planned, started } => {
                self.ended(place, step, end, [planned, started, now]);
            }
            Incident::Silent { step, from } => {
                self.claim(place, from.min(now), Spent::Phone);
                self.claim(place, now, Spent::Silence(step));
            }
            _ => {}
        }
        self.traces.hear(phone, now, incident);
    }

    fn note(&mut self, now: Time, notice: &Notice) {
        if *notice == Notice::StormBegan {
            self.notes.fill(PhoneNote::default());
            self.frames.begin_storm(now, self.slice.count);
            self.spent = [0; CAUSES];
            self.traces.begin_storm();
            self.storm = now;
        }
    }
}
