use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::base::{PhoneId, Purpose, Span, stream};
use crate::cluster::operator::lsc::{LscPace, Resets};
use crate::cluster::operator::phones::Visits;

/// What one phone after the other is up to.
#[derive(Clone, Debug)]
pub enum Round {
    /// People erase lists by hand.
    People(Visits),
    /// The cluster resets phones in batches.
    Resets(Resets),
}

/// A phone boots alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The phone.
    pub phone: PhoneId,
    /// When, counted from the moment when the round begins.
    pub after: Span,
    /// Whether somebody has erased its lists before.
    pub erases: bool,
}

/// The resets of phones, batch by batch; those of a batch are spread within its time. Whom people
/// visit, they have done with at its end.
pub(super) fn resets(resets: &Resets, seed: u64) -> Vec<Visit> {
    let LscPace { batch, every, by_hand } = resets.pace;
    let batch = batch.map_or(usize::MAX, |batch| batch.max(1) as usize);
    let visit = |(at, &phone): (usize, &PhoneId)| {
        let drawn = || stream(seed, u64::from(phone.0), Purpose::Arrival).unit();
        let share = if by_hand { 1.0 } else { drawn() };
        let began = Span::from_nanos(every.as_nanos().saturating_mul((at / batch) as u64));
        Visit { phone, after: began + every.fraction(share), erases: false }
    };
    let mut all: Vec<Visit> = resets.phones.iter().enumerate().map(visit).collect();
    all.sort_by_key(|visit| visit.after);
    all
}

/// The visits to a share of `phones`, which come in the order of their numbers: whoever is free
/// goes to the next one.
pub(super) fn plan(visits: &Visits, seed: u64, phones: Vec<PhoneId>) -> Vec<Visit> {
    let draw = |phone: PhoneId, purpose| stream(seed, u64::from(phone.0), purpose).unit();
    let mut chosen: Vec<PhoneId> = phones;
    let count = (chosen.len() as f64 * visits.share).round() as usize;
    if count < chosen.len() {
        let mut drawn: Vec<(f64, PhoneId)> =
            chosen.into_iter().map(|phone| (draw(phone, Purpose::Visit), phone)).collect();
        drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
        chosen = drawn.into_iter().take(count).map(|(_, phone)| phone).collect();
        chosen.sort_unstable();
    }
    if let Some(within) = visits.users_within {
        return by_users(visits, seed, &chosen, within);
    }
    let people = (visits.technicians as usize).min(chosen.len());
    let mut free: BinaryHeap<Reverse<Span>> = (0..people).map(|_| Reverse(Span::ZERO)).collect();
    let mut visit = |phone: PhoneId| {
        let is_restricted =
            visits.restricted > 0.0 && draw(phone, Purpose::SettingsAccess) < visits.restricted;
        let takes = if is_restricted { visits.per_restricted } else { visits.per_phone };
        let Reverse(from) = free.pop()?;
        let after = from + takes;
        free.push(Reverse(after));
        Some(Visit { phone, after, erases: true })
    };
    let mut all: Vec<Visit> = chosen.into_iter().filter_map(&mut visit).collect();
    all.sort_by_key(|visit| visit.after);
    all
}

/// Each user when he reads his mail; who cannot open the settings does nothing.
fn by_users(visits: &Visits, seed: u64, phones: &[PhoneId], within: Span) -> Vec<Visit> {
    let draw = |phone: PhoneId, purpose| stream(seed, u64::from(phone.0), purpose).unit();
    let is_open = |phone: &&PhoneId| {
        visits.restricted == 0.0 || draw(**phone, Purpose::SettingsAccess) >= visits.restricted
    };
    let visit = |&phone: &PhoneId| {
        let after = within.fraction(draw(phone, Purpose::Mail));
        Visit { phone, after, erases: true }
    };
    let mut all: Vec<Visit> = phones.iter().filter(is_open).map(visit).collect();
    all.sort_by_key(|visit| (visit.after, visit.phone));
    all
}

/// How long the visits to a fleet of `phones` take at most: until the last one of them is done.
pub fn longest(visits: &Visits, seed: u64, phones: u32) -> Span {
    let all = plan(visits, seed, (0..phones).map(PhoneId).collect());
    all.last().map_or(Span::ZERO, |visit| visit.after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::operator::phones::Visited;

    #[test]
    fn users_do_it_within_the_time_but_not_where_the_settings_are_locked() {
        let within = Span::from_secs(3_600);
        let asked = Visits { users_within: Some(within), restricted: 0.3, ..VISITS };
        let all = plan(&asked, 1, (0..1_000).map(PhoneId).collect());
        assert!((650..750).contains(&all.len()), "{}", all.len());
        assert!(all.iter().all(|visit| visit.after < within && visit.erases));
        assert!(all.is_sorted_by_key(|visit| visit.after));
        let half = all.iter().filter(|visit| visit.after < Span::from_secs(1_800)).count();
        assert!((300..400).contains(&half), "{half}");
        // A share of the users is no matter of when they read.
        let some = plan(&Visits { share: 0.5, ..asked }, 1, (0..1_000).map(PhoneId).collect());
        assert!(some.iter().any(|visit| visit.after > Span::from_secs(3_000)));
    }

    const VISITS: Visits = Visits {
        only: Visited::All,
        share: 1.0,
        technicians: 2,
        per_phone: Span::from_secs(10),
        restricted: 0.0,
        per_restricted: Span::from_secs(60),
        users_within: None,
    };

    fn planned(visits: &Visits, phones: &[u32]) -> Vec<(u32, u64)> {
        let phones = phones.iter().copied().map(PhoneId).collect();
        let seconds = |visit: Visit| (visit.phone.0, visit.after.as_nanos() / 1_000_000_000);
        plan(visits, 42, phones).into_iter().map(seconds).collect()
    }

    #[test]
    fn phones_of_a_batch_are_reset_within_its_time() {
        let phones = [3, 4, 5, 9, 12].map(PhoneId).into();
        let pace = LscPace::batches(2, Span::from_secs(60));
        let all = resets(&Resets { phones, pace }, 42);
        let minutes = |visit: &Visit| (visit.phone.0, visit.after.as_nanos() / 60_000_000_000);
        let mut minutes: Vec<_> = all.iter().map(minutes).collect();
        minutes.sort_unstable();
        assert_eq!(minutes, [(3, 0), (4, 0), (5, 1), (9, 1), (12, 2)]);
        assert!(all.iter().all(|visit| !visit.erases));
        assert!(all.is_sorted_by_key(|visit| visit.after));
    }

    #[test]
    fn people_who_choose_update_are_done_with_a_phone_after_their_time() {
        let phones = [3, 4, 5].map(PhoneId).into();
        let pace = LscPace::by_hand(2, Span::from_secs(180));
        let all = resets(&Resets { phones, pace }, 42);
        let minutes = |visit: &Visit| (visit.phone.0, visit.after.as_nanos() / 60_000_000_000);
        assert_eq!(all.iter().map(minutes).collect::<Vec<_>>(), [(3, 3), (4, 3), (5, 6)]);
        assert!(all.iter().all(|visit| !visit.erases));
    }

    #[test]
    fn technicians_go_from_phone_to_phone_in_the_order_of_their_numbers() {
        let all = planned(&VISITS, &[1, 4, 5, 9, 12]);
        assert_eq!(all, [(1, 10), (4, 10), (5, 20), (9, 20), (12, 30)]);
        let alone = planned(&Visits { technicians: 1, ..VISITS }, &[1, 4]);
        assert_eq!(alone, [(1, 10), (4, 20)]);
        let many = planned(&Visits { technicians: u32::MAX, ..VISITS }, &[1, 4]);
        assert_eq!(many, [(1, 10), (4, 10)]);
        assert!(planned(&VISITS, &[]).is_empty());
    }

    #[test]
    fn a_phone_without_settings_access_takes_the_time_of_a_factory_reset() {
        let all = planned(&Visits { technicians: 1, restricted: 1.0, ..VISITS }, &[1, 2]);
        assert_eq!(all, [(1, 60), (2, 120)]);
        let phones: Vec<u32> = (0..1_000).collect();
        let half = Visits { technicians: 1_000, restricted: 0.5, ..VISITS };
        let slow = |seconds| planned(&half, &phones).iter().filter(|(_, s)| *s == seconds).count();
        assert_eq!(slow(10) + slow(60), 1_000, "two classes");
        assert!((450..=550).contains(&slow(60)), "{}", slow(60));
        // Whoever takes longer holds up nobody but himself.
        let two = Visits { restricted: 0.5, ..VISITS };
        let class = |phone| {
            let visit = planned(&Visits { technicians: 1, ..two }, &[phone]);
            visit[0].1
        };
        let slow = (0..1_000).find(|&phone| class(phone) == 60).unwrap();
        let quick: Vec<u32> = (slow + 1..).filter(|&phone| class(phone) == 10).take(3).collect();
        let all = planned(&two, &[&[slow], &quick[..]].concat());
        let expected = [(quick[0], 10), (quick[1], 20), (quick[2], 30), (slow, 60)];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_share_is_exact_drawn_and_the_same_each_time() {
        let phones: Vec<u32> = (0..1_001).collect();
        let half = Visits { share: 0.5, ..VISITS };
        let all = planned(&half, &phones);
        assert_eq!(all.len(), 501, "rounded");
        assert_eq!(all, planned(&half, &phones));
        let low = all.iter().filter(|(phone, _)| *phone < 500).count();
        assert!((200..=300).contains(&low), "not the first half: {low}");
        assert!(planned(&Visits { share: 0.0, ..VISITS }, &phones).is_empty());
        assert_eq!(longest(&half, 42, 1_001), Span::from_secs(2_510));
    }
}
