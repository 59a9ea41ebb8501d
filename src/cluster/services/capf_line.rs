use crate::base::{Span, Time};

/// The line of phones that found no place: each is told when its turn is, by the pace of the places,
/// so that nobody has to ask again and again.
#[derive(Debug)]
pub(super) struct Line {
    places: u32,
    /// What every phone is told instead.
    fixed: Option<Span>,
    /// How long an operation takes, smoothed.
    length: Span,
    /// The next turn that nobody has.
    next: Time,
}

/// How long an operation takes as long as none has ended (guess).
const LENGTH_AT_FIRST: Span = Span::from_secs(10);
/// Turns come a little closer than places are free, so that none stays empty; who finds none gets
/// another turn.
const CLOSER: f64 = 0.9;

impl Line {
    pub(super) fn new(places: u32, fixed: Option<Span>) -> Line {
        Line { places: places.max(1), fixed, length: LENGTH_AT_FIRST, next: Time::ZERO }
    }

    /// An operation took so long.
    pub(super) fn took(&mut self, length: Span) {
        let (old, new) = (self.length.as_nanos() as f64, length.as_nanos() as f64);
        self.length = Span::from_nanos(0.05f64.mul_add(new - old, old) as u64);
    }

    /// The next turn, for one of `waiting` phones: whatever others have asked for, nobody waits
    /// longer than all of them take.
    pub(super) fn next(&mut self, now: Time, waiting: u64) -> Time {
        if let Some(fixed) = self.fixed {
            return now + fixed;
        }
        let gap = self.length.as_nanos() as f64 * CLOSER / f64::from(self.places);
        let longest = now + self.length + Span::from_nanos((gap * waiting as f64) as u64);
        let turn = self.next.max(now + Span::from_secs(1)).min(longest);
        self.next = turn + Span::from_nanos(gap as u64);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_at_the_pace_of_the_places() {
        let mut line = Line::new(50, None);
        (0..400).for_each(|_| line.took(Span::from_secs(30)));
        let turns: Vec<f64> =
            (0..1_000).map(|_| line.next(Time::ZERO, 1_000).as_secs_f64()).collect();
        let gap = (turns[999] - turns[0]) / 999.0;
        assert!((gap - CLOSER * 0.6).abs() < 0.001, "{gap}");
        let far = line.next(Time::ZERO, 10).as_secs_f64();
        assert!(far < 40.0, "no longer than ten phones take: {far}");
        let mut fixed = Line::new(50, Some(Span::from_secs(5)));
        let turns = [0, 0].map(|_| fixed.next(Time::ZERO, 9).as_secs_f64());
        assert_eq!(turns, [5.0, 5.0]);
    }
}
