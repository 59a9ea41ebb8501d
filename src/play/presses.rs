use crate::base::{PhoneId, Purpose, Span, Stream, Time, stream};
use crate::phone::Button;
use crate::scenario::UsePlan;

/// When people press the buttons of some phones: drawn for each phone and use, press by press, so
/// that nothing has to be kept of what is to come.
#[derive(Debug, Default)]
pub struct Presses {
    uses: Vec<UsePlan>,
    /// When people begin to count.
    began: Time,
    /// By phone, then use: what is drawn from, and the last press.
    all: Vec<(Stream, Time)>,
    draws: u64,
}

/// Which press of which phone comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextPress {
    /// When.
    pub at: Time,
    /// The place of the phone among those that the presses are of.
    pub place: usize,
    /// The place of the use in the scenario.
    pub of: u8,
}

impl Presses {
    /// The presses at these phones of a run with this seed, counted from `began`.
    pub fn new(
        seed: u64,
        uses: &[UsePlan],
        began: Time,
        phones: impl Iterator<Item = PhoneId>,
    ) -> Presses {
        let count = uses.len() as u64;
        let of_phone = |phone: PhoneId| {
            let of = move |at: u64| {
                // The uses of a phone are drawn apart: one more changes none of the others.
                let owner = u64::from(phone.0) | (at << 32);
                let begins = uses[at as usize].from;
                (stream(seed, owner, Purpose::Press), began + begins)
            };
            (0..count).map(of)
        };
        let all = phones.flat_map(of_phone).collect();
        Presses { uses: uses.to_vec(), began, all, draws: 0 }
    }

    /// The first press of each phone and use.
    pub fn first(&mut self) -> Vec<NextPress> {
        let uses = self.uses.len();
        let places = 0..self.all.len() / uses.max(1);
        let each = places.flat_map(|place| (0..uses).map(move |of| (place, of as u8)));
        let each: Vec<(usize, u8)> = each.collect();
        each.into_iter().filter_map(|(place, of)| self.next(place, of)).collect()
    }

    /// The press after the last one of a phone and use, if there is one before people stop.
    pub fn next(&mut self, place: usize, of: u8) -> Option<NextPress> {
        let plan = self.uses[usize::from(of)];
        let (stream, last) = &mut self.all[place * self.uses.len() + usize::from(of)];
        self.draws += 1;
        // Pauses between arrivals that know nothing of each other.
        let pause_s = -(1.0 - stream.unit()).ln() * plan.rate.mean_pause_s();
        *last = *last + Span::from_nanos((pause_s * 1e9) as u64);
        let end = self.began + plan.from + plan.lasts;
        (*last < end).then_some(NextPress { at: *last, place, of })
    }

    /// The button that a use is about.
    pub fn button(&self, of: u8) -> Button {
        self.uses[usize::from(of)].button
    }

    /// When people stop.
    pub fn end(&self) -> Time {
        let ends = self.uses.iter().map(|plan| self.began + plan.from + plan.lasts);
        ends.max().unwrap_or(Time::ZERO)
    }

    /// Random numbers that were drawn.
    pub const fn draws(&self) -> u64 {
        self.draws
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{UsePeriod, UseRate};

    fn uses() -> Vec<UsePlan> {
        let of = |button, presses, from| UsePlan {
            button,
            rate: UseRate { presses, per: UsePeriod::Hour },
            from: Span::from_secs(from),
            lasts: Span::from_secs(7_200),
        };
        vec![of(Button::Directory, 10.0, 0), of(Button::Emcc, 1.0, 3_600)]
    }

    fn all(phones: std::ops::Range<u32>, uses: &[UsePlan]) -> Vec<(u32, u8, Time)> {
        let first = phones.start;
        let mut presses = Presses::new(7, uses, Time::ZERO, phones.map(PhoneId));
        let mut waiting = presses.first();
        let mut seen = Vec::new();
        while let Some(press) = waiting.pop() {
            seen.push((first + press.place as u32, press.of, press.at));
            waiting.extend(presses.next(press.place, press.of));
        }
        seen.sort_unstable();
        seen
    }

    #[test]
    fn presses_come_at_their_rate_within_their_time() {
        let seen = all(0..500, &uses());
        let of = |of: u8| seen.iter().filter(move |press| press.1 == of);
        let (directory, emcc) = (of(0).count(), of(1).count());
        assert!((9_700..10_300).contains(&directory), "{directory} of 10,000");
        assert!((900..1_100).contains(&emcc), "{emcc} of 1,000");
        let hour = Time::ZERO + Span::from_secs(3_600);
        assert!(of(1).all(|press| press.2 >= hour));
        assert!(of(0).all(|press| press.2 < hour + Span::from_secs(3_600)));
    }

    #[test]
    fn one_more_phone_or_use_moves_no_other_press() {
        let whole = all(0..40, &uses());
        let part = all(10..20, &uses()[..1]);
        let same: Vec<_> =
            whole.into_iter().filter(|press| (10..20).contains(&press.0) && press.1 == 0).collect();
        assert_eq!(part, same);
    }
}
