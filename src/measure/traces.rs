use std::collections::BTreeMap;

use crate::base::{PhoneId, Purpose, Span, Time, stream};
use crate::phone::{Fact, Failure, Outcome};

use super::incident::Incident;
use super::phones::Slice;

/// What was heard of some boots, incident by incident: of phones that ended stuck or failed up to
/// a bound, of the slowest, and of a sample that the seed decides. Memory has a bound, too.
#[derive(Clone, Debug)]
pub struct Traces {
    seed: u64,
    phones: u32,
    slice: Slice,
    /// The boots that go on, each in the place of its phone.
    in_hand: Vec<Option<Box<Trace>>>,
    /// Incidents of the boots that go on.
    heard: usize,
    /// By phone: its last boot, if that ended stuck or failed.
    stranded: BTreeMap<PhoneId, Trace>,
    /// By length and phone.
    slowest: BTreeMap<(Span, PhoneId), Trace>,
    /// By phone: the last boot of one that the seed has chosen.
    sample: BTreeMap<PhoneId, Trace>,
    /// The only phone that is listened to, if there is one.
    only: Option<PhoneId>,
    /// Every boot of that phone.
    boots: Vec<Trace>,
}

/// One boot.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Whose.
    pub phone: PhoneId,
    /// When it was planned.
    pub planned: Time,
    /// When it ended and how; `None`: it had not when the run did.
    pub ended: Option<(Time, Outcome)>,
    /// What was heard, in its order.
    pub events: Vec<(Time, Incident<'static>)>,
    /// How many more were heard than are kept.
    pub further: u32,
}

/// Stranded phones whose last boot is kept (choice).
const STRANDED_MAX: usize = 2_000;
/// The slowest boots that are kept (choice).
const SLOWEST_MAX: usize = 50;
/// Phones of a fleet in the sample, on average (choice).
const SAMPLE: f64 = 100.0;
/// Incidents of a boot that are kept (choice): a usual one has about fifteen.
const EVENTS_MAX: usize = 200;
/// Incidents of all boots that go on, 48 bytes each (choice): further boots are not listened to.
const HEARD_MAX: usize = 400_000;

impl Traces {
    /// Nothing was heard yet of these phones of a fleet of `phones`; `only` is the one to listen to,
    /// if not to all.
    pub(super) fn new(seed: u64, slice: Slice, phones: u32, only: Option<PhoneId>) -> Traces {
        Traces {
            seed,
            phones,
            slice,
            in_hand: vec![None; slice.count as usize],
            heard: 0,
            stranded: BTreeMap::new(),
            slowest: BTreeMap::new(),
            sample: BTreeMap::new(),
            only,
            boots: Vec::new(),
        }
    }

    /// All traces that are kept, each once, in the order of phones and times; and why each is kept.
    pub fn all(&self) -> Vec<(&'static str, &Trace)> {
        let mut all: Vec<(&'static str, &Trace)> =
            self.stranded.values().map(|t| ("stranded", t)).collect();
        all.extend(self.slowest.values().map(|trace| ("slowest", trace)));
        all.extend(self.sample.values().map(|trace| ("sample", trace)));
        all.extend(self.boots.iter().map(|trace| ("asked for", trace)));
        all.sort_by_key(|(_, trace)| (trace.phone, trace.planned));
        all.dedup_by_key(|(_, trace)| (trace.phone, trace.planned));
        all
    }

    pub(super) fn hear(&mut self, phone: PhoneId, now: Time, incident: &Incident<'_>) {
        if self.only.is_some_and(|only| only != phone) {
            return;
        }
        let Some(place) = self.slice.place(phone) else { return };
        if let Incident::BootBegan(planned) = *incident {
            self.put_away(place);
            if self.heard < HEARD_MAX || self.only.is_some() || self.is_sampled(phone) {
                let events = Vec::with_capacity(16);
                let trace = Trace { phone, planned, ended: None, events, further: 0 };
                self.in_hand[place] = Some(Box::new(trace));
            }
        }
        let Some(trace) = &mut self.in_hand[place] else { return };
        if trace.events.len() < EVENTS_MAX && self.heard < HEARD_MAX {
            trace.events.push((now, kept(incident)));
            self.heard += 1;
        } else {
            trace.further += 1;
        }
        match *incident {
            Incident::Phone(Fact::Settled { outcome }) => self.settled(place, now, outcome),
            Incident::GivenUp(lack) => {
                self.settled(place, now, Outcome::Failed(Failure::Generator(lack)));
            }
            _ => {}
        }
    }

    /// The storm begins: what was before does not count.
    pub(super) fn begin_storm(&mut self) {
        *self = Traces::new(self.seed, self.slice, self.phones, self.only);
    }

    /// The run is over: boots that go on are stranded.
    pub(super) fn end(&mut self) {
        for place in 0..self.in_hand.len() {
            if let Some(trace) = self.put_away(place) {
                self.keep_stranded(*trace);
            }
        }
    }

    fn is_sampled(&self, PhoneId(phone): PhoneId) -> bool {
        let draw = stream(self.seed, u64::from(phone), Purpose::Trace).unit();
        draw * f64::from(self.phones) < SAMPLE
    }

    fn put_away(&mut self, place: usize) -> Option<Box<Trace>> {
        let trace = self.in_hand[place].take()?;
        self.heard -= trace.events.len();
        if self.only.is_some() {
            self.boots.push(Trace::clone(&trace));
        }
        Some(trace)
    }

    fn settled(&mut self, place: usize, now: Time, outcome: Outcome) {
        if let Some(trace) = &mut self.in_hand[place] {
            trace.ended = Some((now, outcome));
        }
        let Some(trace) = self.put_away(place) else { return };
        let (trace, phone) = (*trace, self.slice_phone(place));
        if self.is_sampled(phone) {
            self.sample.insert(phone, trace.clone());
        }
        self.keep_slowest(&trace);
        if outcome == Outcome::Ready {
            self.stranded.remove(&phone);
        } else {
            self.keep_stranded(trace);
        }
    }

    fn slice_phone(&self, place: usize) -> PhoneId {
        PhoneId(self.slice.first + self.slice.every * place as u32)
    }

    fn keep_stranded(&mut self, trace: Trace) {
        let has_room = self.stranded.len() < STRANDED_MAX;
        if has_room || self.stranded.contains_key(&trace.phone) {
            self.stranded.insert(trace.phone, trace);
        }
    }

    fn keep_slowest(&mut self, trace: &Trace) {
        let Some((now, _)) = trace.ended else { return };
        let length = now.since(trace.planned);
        let least = self.slowest.first_key_value().map(|((length, _), _)| *length);
        if self.slowest.len() >= SLOWEST_MAX {
            if least.is_some_and(|least| length <= least) {
                return;
            }
            self.slowest.pop_first();
        }
        self.slowest.insert((length, trace.phone), trace.clone());
    }

    /// Adds what was heard of other phones.
    pub(super) fn merge(&mut self, other: &Traces) {
        self.stranded.extend(other.stranded.iter().map(|(&phone, trace)| (phone, trace.clone())));
        while self.stranded.len() > STRANDED_MAX {
            self.stranded.pop_last();
        }
        self.slowest.extend(other.slowest.iter().map(|(&key, trace)| (key, trace.clone())));
        while self.slowest.len() > SLOWEST_MAX {
            self.slowest.pop_first();
        }
        self.sample.extend(other.sample.iter().map(|(&phone, trace)| (phone, trace.clone())));
        self.boots.extend(other.boots.iter().cloned());
    }
}

/// The same without what it borrows.
fn kept(incident: &Incident<'_>) -> Incident<'static> {
    match *incident {
        Incident::Phone(fact) => Incident::Phone(fact),
        Incident::BootPlanned => Incident::BootPlanned,
        Incident::ListsErased => Incident::ListsErased,
        Incident::BootBegan(planned) => Incident::BootBegan(planned),
        Incident::GivenUp(lack) => Incident::GivenUp(lack),
        Incident::NameAsked => Incident::NameAsked,
        Incident::Asked(via) => Incident::Asked(via),
        Incident::Turned(node) => Incident::Turned(node),
        Incident::Connected(via, count) => Incident::Connected(via, count),
        Incident::Arrived(via, bytes) => Incident::Arrived(via, bytes),
        Incident::Missing(via) => Incident::Missing(via),
        Incident::Failed(via, step) => Incident::Failed(via, step),
        Incident::SentAgain(step) => Incident::SentAgain(step),
        Incident::Ended { step, end, planned, started } => {
            Incident::Ended { step, end, planned, started }
        }
        Incident::Silent { step, from } => Incident::Silent { step, from },
        Incident::Waited { queue, late, at_end } => Incident::Waited { queue, late, at_end },
        Incident::Late(late) => Incident::Late(late),
        Incident::Lacked(lack) => Incident::Lacked(lack),
        Incident::Said(fault, _) => Incident::Said(fault, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    fn boot(traces: &mut Traces, phone: u32, from: u64, to: u64, outcome: Outcome) {
        traces.hear(PhoneId(phone), at(from), &Incident::BootBegan(at(from)));
        traces.hear(PhoneId(phone), at(to), &Incident::Phone(Fact::Settled { outcome }));
    }

    fn why(traces: &Traces, phone: u32) -> Vec<&'static str> {
        let all = traces.all().into_iter();
        all.filter(|(_, trace)| trace.phone == PhoneId(phone)).map(|(why, _)| why).collect()
    }

    #[test]
    fn stranded_and_slow_boots_are_kept_and_the_rest_is_a_sample() {
        let phones = 100_000;
        let mut traces = Traces::new(42, Slice::whole(phones), phones, None);
        for phone in 0..10_000 {
            boot(&mut traces, phone, 1, 2 + u64::from(phone == 77) * 60, Outcome::Ready);
        }
        for phone in 10_000..20_000 {
            boot(&mut traces, phone, 1, 1, Outcome::Failed(Failure::Stale));
        }
        assert_eq!(why(&traces, 77), ["slowest"]);
        let all = traces.all();
        let of = |wanted| all.iter().filter(|(why, _)| *why == wanted).count();
        assert_eq!((of("stranded"), of("slowest")), (STRANDED_MAX, SLOWEST_MAX));
        assert!((2..40).contains(&of("sample")), "{}", of("sample"));
        assert_eq!(traces.heard, 0, "nothing goes on");
    }

    #[test]
    fn a_phone_that_comes_back_is_no_longer_stranded_and_one_that_never_ends_is() {
        let mut traces = Traces::new(1, Slice::whole(9_000_000), 9_000_000, None);
        boot(&mut traces, 5, 1, 2, Outcome::Stuck);
        assert_eq!(traces.stranded.len(), 1);
        boot(&mut traces, 5, 3, 4, Outcome::Ready);
        assert!(traces.stranded.is_empty());
        traces.hear(PhoneId(6), at(5), &Incident::BootBegan(at(5)));
        traces.end();
        assert_eq!(traces.stranded.keys().collect::<Vec<_>>(), [&PhoneId(6)]);
    }

    #[test]
    fn memory_has_a_bound_whatever_phones_do() {
        let phones = 3_000_000;
        let mut traces = Traces::new(1, Slice::whole(phones), phones, None);
        for phone in 0..500_000 {
            traces.hear(PhoneId(phone), at(1), &Incident::BootBegan(at(1)));
        }
        assert_eq!(traces.heard, HEARD_MAX);
        traces.hear(PhoneId(0), at(1), &Incident::NameAsked);
        assert_eq!((traces.heard, traces.in_hand[0].as_ref().unwrap().further), (HEARD_MAX, 1));
        let mut traces = Traces::new(1, Slice::whole(1), 1, None);
        traces.hear(PhoneId(0), at(1), &Incident::BootBegan(at(1)));
        for _ in 0..1_000 {
            traces.hear(PhoneId(0), at(1), &Incident::NameAsked);
        }
        let first = traces.in_hand[0].as_ref().unwrap();
        assert_eq!((first.events.len(), first.further), (EVENTS_MAX, 801));
    }

    #[test]
    fn one_phone_that_is_asked_for_is_heard_in_every_boot() {
        let mut traces = Traces::new(1, Slice::whole(3), 3, Some(PhoneId(1)));
        for phone in 0..3 {
            boot(&mut traces, phone, 1, 2, Outcome::Ready);
            boot(&mut traces, phone, 3, 4, Outcome::Ready);
        }
        let phones: Vec<u32> = traces.all().iter().map(|(_, trace)| trace.phone.0).collect();
        assert_eq!(phones, [1, 1]);
    }
}
