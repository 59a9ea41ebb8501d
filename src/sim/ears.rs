use crate::base::{PhoneId, Span, Time};
use crate::measure::{Incident, Journal, Ledger, Listen, Notice, RunInfo, Slice, encode};

use super::digest::FactDigest;

/// Everybody who listens to a run.
pub(super) struct Ears {
    ledger: Ledger,
    digest: FactDigest,
    samples: Samples,
    journal: Option<Journal>,
}

impl Ears {
    /// Nothing was heard yet of so many phones; samples are taken this often, if at all, and the
    /// journal is kept if there is one.
    pub(super) fn new(phones: u32, sample_every: Option<Span>, journal: Option<Journal>) -> Ears {
        Ears {
            ledger: Ledger::new(Slice::whole(phones)),
            digest: FactDigest::new(),
            samples: Samples::new(sample_every, phones),
            journal,
        }
    }

    /// Something has happened to a phone.
    pub(super) fn hear(&mut self, phone: u32, now: Time, incident: &Incident<'_>) {
        self.ledger.hear(PhoneId(phone), now, incident);
        self.digest.hear(PhoneId(phone), now, incident);
        if let Some(journal) = &mut self.journal {
            journal.hear(PhoneId(phone), now, incident);
        }
    }

    /// Something has happened to the whole fleet.
    pub(super) fn note(&mut self, now: Time, notice: Notice) {
        self.ledger.note(now, &notice);
        if let Some(journal) = &mut self.journal {
            journal.note(now, &notice);
        }
    }

    /// Phones whose boots or registrations have begun and not ended.
    pub(super) fn unsettled(&self) -> u64 {
        self.ledger.unsettled()
    }

    /// What was heard so far.
    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whoever hears what the operator does and what is served from then on.
    pub(super) const fn digest(&mut self) -> &mut FactDigest {
        &mut self.digest
    }

    /// Whether a sample is due by `at`.
    pub(super) fn wants_sample(&self, at: Time) -> bool {
        self.samples.next <= at
    }

    /// Samples the metrics at every instant that is due by `at`.
    pub(super) fn sample(&mut self, at: Time, info: &RunInfo) {
        while self.wants_sample(at) {
            let text = encode(&self.ledger, info);
            self.samples.add(text);
        }
    }

    /// What was heard: the counts, the samples, the digest and the journal.
    pub(super) fn close(self) -> (Ledger, Samples, String, Option<Journal>) {
        (self.ledger, self.samples, self.digest.finish(), self.journal)
    }
}

/// Samples of the metrics.
#[derive(Debug)]
pub(super) struct Samples {
    every: Span,
    /// Samples that are kept at most.
    most: usize,
    next: Time,
    taken: Vec<(Time, String)>,
}

/// Samples that are kept of most fleets, and of large ones: a sample looks at every phone.
const SAMPLES_MAX: [usize; 2] = [600, 60];
/// Where large fleets begin.
const LARGE_FLEET: u32 = 200_000;

impl Samples {
    fn new(every: Option<Span>, phones: u32) -> Samples {
        let every = every.filter(|every| !every.is_zero());
        let next = if every.is_some() { Time::ZERO } else { Time::NEVER };
        let most = SAMPLES_MAX[usize::from(phones >= LARGE_FLEET)];
        Samples { every: every.unwrap_or_default(), most, next, taken: Vec::new() }
    }

    /// The sample that is due; the next one follows.
    fn add(&mut self, text: String) {
        self.taken.push((self.next, text));
        if self.taken.len() > self.most {
            let mut number = 0;
            self.taken.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.every = self.every.times(2);
        }
        self.next = self.next + self.every;
    }

    /// All samples by their times, and the last one at the end of the run if any are taken.
    pub(super) fn end(mut self, now: Time, last: impl FnOnce() -> String) -> Vec<(Time, String)> {
        if self.next != Time::NEVER {
            self.taken.push((now, last()));
        }
        self.taken
    }
}
