use std::collections::VecDeque;

use crate::base::Time;
use crate::cluster::OperatorAction;
use crate::console::Typed;

use crate::scenario::{FollowUp, TimelineEntry, Trigger};

/// Hands out the operator's actions when they are due; knows no clock.
///
/// The caller's loop: ask [`next_due`](Timeline::next_due) until it answers `None`, carry each
/// action out, say [`done`](Timeline::done), and come back at [`wake_at`](Timeline::wake_at) or
/// when the fleet settles. Entries are handed out strictly in the order of the file; an entry
/// whose instant has passed is due at once. Resetting phones is carried out when the resets are
/// planned; the caller's `fleet_settled` stays false until the last of them has settled.
#[derive(Clone, Debug)]
pub struct Timeline {
    entries: VecDeque<TimelineEntry>,
    /// Entries that were handed out.
    handed_out: usize,
    follow_ups: Vec<Pending>,
    in_flight: Option<(StepInHand, InFlight)>,
    /// What was typed for the action that was handed out last.
    typed: Option<Typed>,
    previous_done: Time,
}

/// A step of the operator as people speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInHand {
    /// Its place in the scenario, from 1.
    pub number: usize,
    /// Its name.
    pub name: String,
}

/// The second half of a step, and when it is due.
#[derive(Clone, Debug)]
struct Pending {
    due: Time,
    step: StepInHand,
    action: OperatorAction,
    is_awaited: bool,
}

/// The action that was handed out and is not done yet.
#[derive(Clone, Debug)]
enum InFlight {
    /// With what follows it.
    Entry(Option<FollowUp>),
    FollowUp {
        is_awaited: bool,
    },
}

impl Timeline {
    /// The timeline of a run that starts at [`Time::ZERO`].
    pub fn new(entries: Vec<TimelineEntry>) -> Timeline {
        Timeline {
            entries: entries.into(),
            handed_out: 0,
            follow_ups: Vec::new(),
            in_flight: None,
            typed: None,
            previous_done: Time::ZERO,
        }
    }

    /// The next action that is due at `now`, if the one before it is done.
    ///
    /// `fleet_settled` says whether every phone has settled and no reset is pending.
    pub fn next_due(&mut self, now: Time, fleet_settled: bool) -> Option<OperatorAction> {
        if self.in_flight.is_some() {
            return None;
        }
        let entry = self.entry_due(now, fleet_settled).filter(|due| *due <= now);
        match self.first_follow_up() {
            Some(at) if self.follow_ups[at].due <= entry.unwrap_or(now) => {
                let Pending { step, action, is_awaited, .. } = self.follow_ups.remove(at);
                self.in_flight = Some((step, InFlight::FollowUp { is_awaited }));
                self.typed = None;
                Some(action)
            }
            _ => {
                entry?;
                let TimelineEntry { name, action, then, typed, .. } = self.entries.pop_front()?;
                self.handed_out += 1;
                let step = StepInHand { number: self.handed_out, name };
                self.in_flight = Some((step, InFlight::Entry(then)));
                self.typed = typed;
                Some(action)
            }
        }
    }

    /// The step whose action was handed out and is not done yet.
    pub fn in_hand(&self) -> Option<&StepInHand> {
        self.in_flight.as_ref().map(|(step, _)| step)
    }

    /// What was typed at a console for the action that was handed out last.
    pub fn typed(&self) -> Option<&Typed> {
        self.typed.as_ref()
    }

    /// Says that the action handed out last was carried out at `now`.
    pub fn done(&mut self, now: Time) {
        match self.in_flight.take() {
            Some((step, InFlight::Entry(then))) => {
                self.previous_done = now;
                self.follow_ups.extend(then.map(|then| Pending {
                    due: now + then.delay,
                    step,
                    action: then.action,
                    is_awaited: then.is_awaited,
                }));
            }
            Some((_, InFlight::FollowUp { is_awaited: true })) => self.previous_done = now,
            Some((_, InFlight::FollowUp { is_awaited: false })) | None => {}
        }
    }

    /// The next instant at which an action becomes due by the clock alone; it may have passed.
    /// `None` while an action is in flight, and when only the settling of the fleet is awaited.
    pub fn wake_at(&self) -> Option<Time> {
        if self.in_flight.is_some() {
            return None;
        }
        let follow_up = self.first_follow_up().map(|at| self.follow_ups[at].due);
        let entry = self.entry_due(Time::ZERO, false);
        follow_up.into_iter().chain(entry).min()
    }

    /// Whether every action, follow-ups included, was handed out and carried out.
    pub fn is_finished(&self) -> bool {
        self.entries.is_empty() && self.follow_ups.is_empty() && self.in_flight.is_none()
    }

    /// When the next entry is due: `now` for one that awaits a fleet that has settled.
    fn entry_due(&self, now: Time, fleet_settled: bool) -> Option<Time> {
        if self.follow_ups.iter().any(|pending| pending.is_awaited) {
            return None;
        }
        match self.entries.front()?.trigger {
            Trigger::AfterPrevious { delay } => Some(self.previous_done + delay),
            Trigger::At(time) => Some(time),
            Trigger::FleetSettled => (fleet_settled && self.follow_ups.is_empty()).then_some(now),
        }
    }

    /// Position of the follow-up that is due first; of equals the older one.
    fn first_follow_up(&self) -> Option<usize> {
        (0..self.follow_ups.len()).min_by_key(|&at| self.follow_ups[at].due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ClusterId, Span};
    use crate::cluster::operator::services::Services;
    use crate::scenario::FollowUp;

    #[test]
    fn entries_are_handed_out_one_at_a_time_in_order() {
        let mut timeline = Timeline::new(vec![after(0, 0), after(0, 1)]);
        assert_eq!(timeline.next_due(s(0), false), Some(restart(0)));
        assert_eq!(timeline.next_due(s(9), false), None, "the first is in flight");
        timeline.done(s(9));
        assert_eq!(timeline.next_due(s(9), false), Some(restart(1)));
        assert!(!timeline.is_finished(), "the last is in flight");
        timeline.done(s(9));
        assert!(timeline.is_finished());
        assert_eq!(timeline.next_due(s(10), true), None);
    }

    #[test]
    fn after_previous_counts_from_the_moment_when_it_was_carried_out() {
        let mut timeline = Timeline::new(vec![after(0, 0), after(5, 1)]);
        carry_out(&mut timeline, s(1), s(3));
        assert_eq!(timeline.wake_at(), Some(s(8)));
        assert_eq!(timeline.next_due(just_before(s(8)), true), None);
        assert_eq!(timeline.next_due(s(8), false), Some(restart(1)));
    }

    #[test]
    fn an_instant_is_due_when_it_comes_and_at_once_when_it_has_passed() {
        let mut timeline = Timeline::new(vec![at(12, 0), at(4, 1)]);
        assert_eq!(timeline.wake_at(), Some(s(12)));
        assert_eq!(timeline.next_due(just_before(s(12)), true), None);
        carry_out(&mut timeline, s(12), s(12));
        assert_eq!(timeline.wake_at(), Some(s(4)));
        assert_eq!(timeline.next_due(s(12), false), Some(restart(1)));
    }

    #[test]
    fn a_settled_fleet_is_awaited_without_a_clock() {
        let mut timeline = Timeline::new(vec![settled(0)]);
        assert_eq!((timeline.wake_at(), timeline.next_due(s(99), false)), (None, None));
        assert_eq!(timeline.next_due(s(99), true), Some(restart(0)));
    }

    #[test]
    fn a_follow_up_is_due_after_its_delay_and_nobody_waits_for_it() {
        let mut timeline = Timeline::new(vec![with_follow_up(after(0, 0), 8), after(0, 1)]);
        carry_out(&mut timeline, s(0), s(1));
        assert_eq!(timeline.wake_at(), Some(s(1)), "the next entry does not wait");
        carry_out(&mut timeline, s(1), s(2));
        assert!(!timeline.is_finished(), "a follow-up is left");
        assert_eq!(timeline.wake_at(), Some(s(9)));
        assert_eq!(timeline.next_due(just_before(s(9)), true), None);
        assert_eq!(timeline.next_due(s(9), true), Some(start()));
        assert_eq!(timeline.wake_at(), None, "in flight");
        timeline.done(s(9));
        assert!(timeline.is_finished());
    }

    #[test]
    fn a_settled_fleet_counts_only_when_no_follow_up_is_left() {
        let mut timeline = Timeline::new(vec![with_follow_up(after(0, 0), 8), settled(1)]);
        carry_out(&mut timeline, s(0), s(0));
        assert_eq!(timeline.next_due(s(1), true), None);
        assert_eq!(timeline.wake_at(), Some(s(8)));
        assert_eq!(timeline.next_due(s(8), true), Some(start()));
        assert_eq!(timeline.next_due(s(8), true), None, "the start is not carried out yet");
        timeline.done(s(9));
        assert_eq!(timeline.next_due(s(9), true), Some(restart(1)));
    }

    #[test]
    fn a_late_caller_gets_what_was_due_first_first() {
        let entries = || vec![with_follow_up(after(0, 0), 5), at(7, 1)];
        let mut timeline = Timeline::new(entries());
        carry_out(&mut timeline, s(0), s(0));
        assert_eq!(timeline.next_due(s(20), false), Some(start()));
        let mut timeline = Timeline::new(vec![with_follow_up(after(0, 0), 9), at(7, 1)]);
        carry_out(&mut timeline, s(0), s(0));
        assert_eq!(timeline.next_due(s(20), false), Some(restart(1)));
    }

    #[test]
    fn a_follow_up_does_not_move_the_instant_of_the_previous_entry() {
        let mut timeline = Timeline::new(vec![with_follow_up(after(0, 0), 1), after(5, 1)]);
        carry_out(&mut timeline, s(0), s(0));
        carry_out(&mut timeline, s(1), s(3));
        assert_eq!(timeline.wake_at(), Some(s(5)));
    }

    #[test]
    fn entries_wait_for_a_follow_up_that_is_awaited_and_count_from_it() {
        let mut restart = with_follow_up(after(0, 0), 8);
        restart.then.as_mut().unwrap().is_awaited = true;
        let mut timeline = Timeline::new(vec![restart, at(2, 1)]);
        carry_out(&mut timeline, s(0), s(0));
        assert_eq!((timeline.next_due(s(5), true), timeline.wake_at()), (None, Some(s(8))));
        carry_out(&mut timeline, s(8), s(9));
        assert_eq!(timeline.next_due(s(9), false), Some(super::tests::restart(1)));
    }

    #[test]
    fn the_step_in_hand_is_named_and_numbered_from_1_with_its_second_half() {
        let mut timeline = Timeline::new(vec![with_follow_up(after(0, 0), 1), after(5, 1)]);
        let mut seen = Vec::new();
        for secs in [0, 1, 5] {
            assert_eq!(timeline.in_hand(), None);
            timeline.next_due(s(secs), false).unwrap();
            seen.extend(timeline.in_hand().map(|step| (step.number, step.name.clone())));
            timeline.done(s(secs));
        }
        let (first, second) = ((1, "restart-0".to_owned()), (2, "restart-1".to_owned()));
        assert_eq!(seen, [first.clone(), first, second]);
    }

    #[test]
    fn saying_done_without_an_action_changes_nothing() {
        let mut timeline = Timeline::new(vec![after(1, 0)]);
        timeline.done(s(50));
        assert_eq!(timeline.wake_at(), Some(s(1)));
    }

    #[test]
    fn an_empty_timeline_is_finished() {
        let mut timeline = Timeline::new(vec![]);
        assert!(timeline.is_finished());
        assert_eq!((timeline.wake_at(), timeline.next_due(s(0), true)), (None, None));
    }

    fn carry_out(timeline: &mut Timeline, from: Time, to: Time) {
        assert!(timeline.next_due(from, false).is_some());
        timeline.done(to);
    }

    fn s(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    fn just_before(time: Time) -> Time {
        time - Span::from_nanos(1)
    }

    fn restart(node: u8) -> OperatorAction {
        Services::restart(ClusterId::FIRST.node(node), None).into()
    }

    fn start() -> OperatorAction {
        Services::start(ClusterId::FIRST.node(0), None).into()
    }

    fn entry(trigger: Trigger, node: u8) -> TimelineEntry {
        TimelineEntry {
            name: format!("restart-{node}"),
            trigger,
            action: restart(node),
            then: None,
            typed: None,
        }
    }

    fn after(delay: u64, node: u8) -> TimelineEntry {
        entry(Trigger::AfterPrevious { delay: Span::from_secs(delay) }, node)
    }

    fn at(secs: u64, node: u8) -> TimelineEntry {
        entry(Trigger::At(s(secs)), node)
    }

    fn settled(node: u8) -> TimelineEntry {
        entry(Trigger::FleetSettled, node)
    }

    fn with_follow_up(entry: TimelineEntry, delay: u64) -> TimelineEntry {
        let delay = Span::from_secs(delay);
        let then = Some(FollowUp { delay, action: start(), is_awaited: false });
        TimelineEntry { then, ..entry }
    }
}
