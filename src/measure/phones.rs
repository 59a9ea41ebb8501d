use std::net::IpAddr;

use crate::base::{PhoneId, Time};
use crate::phone::{Outcome, Unregistered};

/// Which phones of a fleet: `count` of them, `every`-th after the `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The number of the first phone.
    pub first: u32,
    /// From one number to the next, at least 1.
    pub every: u32,
    /// How many phones.
    pub count: u32,
}

impl Slice {
    /// All phones of a fleet of `count`.
    pub const fn whole(count: u32) -> Slice {
        Slice { first: 0, every: 1, count }
    }

    /// The part with this index when a fleet of `count` phones is dealt to `parts`, in turns.
    pub const fn dealt(index: u32, parts: u32, count: u32) -> Slice {
        let mine = count.saturating_sub(index).div_ceil(parts);
        Slice { first: index, every: parts, count: mine }
    }

    /// The place of a phone among these, if it is one of them.
    pub const fn place(self, PhoneId(number): PhoneId) -> Option<usize> {
        if number < self.first || !(number - self.first).is_multiple_of(self.every) {
            return None;
        }
        let place = (number - self.first) / self.every;
        if place < self.count { Some(place as usize) } else { None }
    }

    /// The phone at a place.
    const fn phone(self, place: usize) -> PhoneId {
        PhoneId(self.first + self.every * place as u32)
    }
}

/// What is kept of each phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhoneRecord {
    /// When its boot was planned.
    pub planned: Time,
    /// When its last boot ended; says nothing without an outcome.
    pub settled: Time,
    /// How its last boot ended; `None` while it boots, or if it never did.
    pub outcome: Option<Outcome>,
    /// It refused a list since the storm began ("Trust List Verification Failed").
    pub list_alarm: bool,
    /// It refused a configuration since the storm began ("Verification Failed").
    pub config_alarm: bool,
    /// What its last boot has left it with.
    pub symptoms: Symptoms,
    /// Whether it boots.
    pub booting: bool,
    /// Boots that are planned and have not begun.
    pub boots_before: u32,
    /// Whether it is registered.
    pub registration: Registration,
    /// The address of the node that has registered it last; says nothing of a phone that is not
    /// registered.
    pub registrar: Option<IpAddr>,
}

/// Whether a phone is registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Nobody has asked.
    #[default]
    Off,
    /// It asks the members of its group for the first time, or is about to fall back.
    UnderWay,
    /// Since then, without a break for a fall-back.
    Since(Time),
    /// It is registered and about to fall back to another member.
    Leaving(Time),
    /// It has asked each member once in vain.
    Not(Unregistered),
}

impl Registration {
    /// Whether something is still to happen without anybody doing anything.
    pub const fn is_busy(self) -> bool {
        matches!(self, Registration::UnderWay | Registration::Leaving(_))
    }

    /// Since when it is registered, if it is.
    pub const fn since(self) -> Option<Time> {
        match self {
            Registration::Since(at) | Registration::Leaving(at) => Some(at),
            _ => None,
        }
    }
}

/// What one sees of a phone that has refused something in its last boot or since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a phone may show any of them")]
pub struct Symptoms {
    /// It refused a list and shows "Trust List Verification Failed".
    pub list_failed: bool,
    /// It refused a configuration and shows "Verification Failed".
    pub failed: bool,
    /// It did not take the configuration and goes on with the one that it had.
    pub config_frozen: bool,
    /// Its last press of a button failed for want of trust.
    pub services_lost: bool,
}

impl PhoneRecord {
    /// When it was ready, if it is.
    pub fn ready(&self) -> Option<Time> {
        (self.outcome == Some(Outcome::Ready)).then_some(self.settled)
    }
}

/// The records of phones, in the order of their numbers.
#[derive(Clone, Debug)]
pub(super) struct PhoneRecords {
    numbers: Numbers,
    records: Vec<PhoneRecord>,
}

/// Whose the records are.
#[derive(Clone, Debug)]
enum Numbers {
    Regular(Slice),
    /// Ascending.
    Listed(Vec<PhoneId>),
}

impl PhoneRecords {
    pub(super) fn new(slice: Slice) -> PhoneRecords {
        let records = vec![PhoneRecord::default(); slice.count as usize];
        PhoneRecords { numbers: Numbers::Regular(slice), records }
    }

    /// The same phones, of which nothing is known yet.
    pub(super) fn cleared(&self) -> PhoneRecords {
        let records = vec![PhoneRecord::default(); self.records.len()];
        PhoneRecords { numbers: self.numbers.clone(), records }
    }

    pub(super) fn of(&self, phone: PhoneId) -> Option<&PhoneRecord> {
        self.place(phone).map(|place| &self.records[place])
    }

    /// # Panics
    /// If the phone is none of these.
    pub(super) fn of_mut(&mut self, phone: PhoneId) -> &mut PhoneRecord {
        let place = self.place(phone).expect("a ledger hears of its own phones only");
        &mut self.records[place]
    }

    fn place(&self, phone: PhoneId) -> Option<usize> {
        match &self.numbers {
            Numbers::Regular(slice) => slice.place(phone),
            Numbers::Listed(phones) => phones.binary_search(&phone).ok(),
        }
    }

    pub(super) fn all(&self) -> &[PhoneRecord] {
        &self.records
    }

    pub(super) fn all_mut(&mut self) -> &mut [PhoneRecord] {
        &mut self.records
    }

    fn phone(&self, place: usize) -> PhoneId {
        match &self.numbers {
            Numbers::Regular(slice) => slice.phone(place),
            Numbers::Listed(phones) => phones[place],
        }
    }

    /// Every phone and its record, in the order of the numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PhoneId, &PhoneRecord)> {
        self.records.iter().enumerate().map(|(place, record)| (self.phone(place), record))
    }

    /// Adds the records of other phones. Of a phone that both know, `other` knows the latest.
    pub(super) fn merge(&mut self, other: &PhoneRecords) {
        if self.records.is_empty() {
            return self.clone_from(other);
        }
        let mut all: Vec<(PhoneId, PhoneRecord)> =
            other.iter().chain(self.iter()).map(|(phone, record)| (phone, *record)).collect();
        all.sort_by_key(|(phone, _)| *phone);
        all.dedup_by_key(|(phone, _)| *phone);
        let (phones, records): (Vec<PhoneId>, Vec<PhoneRecord>) = all.into_iter().unzip();
        *self = PhoneRecords { numbers: Numbers::of(phones), records };
    }
}

impl Numbers {
    fn of(phones: Vec<PhoneId>) -> Numbers {
        let (first, second) = (phones[0].0, phones.get(1).map_or(phones[0].0 + 1, |phone| phone.0));
        let slice = Slice { first, every: second - first, count: phones.len() as u32 };
        let regular = phones.iter().enumerate().all(|(place, &phone)| slice.phone(place) == phone);
        if regular { Numbers::Regular(slice) } else { Numbers::Listed(phones) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_that_are_dealt_in_turns_hold_each_phone_once() {
        for (count, parts) in [(0, 1), (1, 3), (7, 3), (9, 3), (20, 7)] {
            for number in 0..count + 5 {
                let holders = (0..parts)
                    .filter(|&part| {
                        Slice::dealt(part, parts, count).place(PhoneId(number)).is_some()
                    })
                    .count();
                assert_eq!(holders, usize::from(number < count), "{number} of {count}/{parts}");
            }
        }
    }

    proptest! {
        #[test]
        fn merged_records_are_found_by_number_whatever_the_order(
            parts in 1_u32..6,
            count in 1_u32..40,
            skipped in 0_u32..6,
            first in 0_u32..6,
        ) {
            let record = |PhoneId(number): PhoneId| PhoneRecord {
                planned: Time::from_nanos(u64::from(number) + 1),
                ..PhoneRecord::default()
            };
            let mut merged = PhoneRecords::new(Slice::whole(0));
            for turn in (0..parts).map(|turn| (turn + first) % parts).filter(|turn| *turn != skipped) {
                let mut part = PhoneRecords::new(Slice::dealt(turn, parts, count));
                for number in (0..count).filter(|number| number % parts == turn) {
                    *part.of_mut(PhoneId(number)) = record(PhoneId(number));
                }
                merged.merge(&part);
            }
            for phone in (0..count + 3).map(PhoneId) {
                let known = phone.0 < count && phone.0 % parts != skipped;
                prop_assert_eq!(merged.of(phone).copied(), known.then(|| record(phone)));
            }
            let numbers: Vec<PhoneId> = merged.iter().map(|(phone, _)| phone).collect();
            prop_assert!(numbers.is_sorted());
        }
    }
}
