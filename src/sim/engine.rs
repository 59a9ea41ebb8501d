use crate::base::{Stop, Time};
use crate::cluster::operator::phones::EraseLists;
use crate::measure::Finish;
use crate::scenario::{Plan, TimelineEntry, UsePlan};

use super::event::Event;
use super::queue::Queue;

/// Virtual time: what happens next, and how far it may go on.
#[derive(Debug)]
pub(super) struct Engine {
    queue: Queue<Event>,
    now: Time,
    end: Time,
    events: u64,
    events_max: u64,
    stop: Stop,
}

/// Most events of a run: so many, and so many for each boot. Choices: a thousand times what a boot
/// takes; a world that does not come to rest is a bug, not an endless loop.
const EVENTS_MAX: u64 = 10_000_000;
const EVENTS_MAX_OF_BOOT: u64 = 100_000;
/// How many events are handled between two looks at the flag that ends the run.
const EVENTS_PER_LOOK: u64 = 64;

impl Engine {
    /// Time before anything has happened; `events_max` is `None` for a bound that no world of this
    /// plan reaches if it comes to rest.
    pub(super) fn new(plan: &Plan, events_max: Option<u64>, stop: &Stop) -> Engine {
        let limits = plan.limits;
        Engine {
            queue: Queue::new(),
            now: Time::ZERO,
            end: if limits.max_wall_is_set { Time::ZERO + limits.max_wall } else { Time::NEVER },
            events: 0,
            events_max: events_max.unwrap_or_else(|| most_events(plan)),
            stop: stop.clone(),
        }
    }

    pub(super) const fn now(&self) -> Time {
        self.now
    }

    /// Events that have happened.
    pub(super) const fn events(&self) -> u64 {
        self.events
    }

    /// Whether somebody asks the run to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// Lets `event` happen at `at`.
    pub(super) fn push(&mut self, at: Time, event: Event) {
        self.queue.push(at, event);
    }

    /// Lets events of one kind happen at their times, as if each were [pushed](Engine::push).
    pub(super) fn push_all(&mut self, planned: Vec<(Time, u32)>, event: fn(u32) -> Event) {
        self.queue.push_all(planned, event);
    }

    /// The next event, whose time is now, or why there is none.
    pub(super) fn next(&mut self) -> Result<Event, Finish> {
        let (at, event) = self.queue.pop().ok_or(Finish::Complete)?;
        if at > self.end {
            self.now = self.end;
            return Err(Finish::TimeLimit);
        }
        if self.events >= self.events_max {
            return Err(Finish::EventLimit);
        }
        if self.events.is_multiple_of(EVENTS_PER_LOOK) && self.is_stopped() {
            return Err(Finish::Interrupted);
        }
        self.now = at;
        self.events += 1;
        Ok(event)
    }
}

fn most_events(plan: &Plan) -> u64 {
    let topology = &plan.topology;
    let is_reset = |entry: &&TimelineEntry| {
        entry.action.impact(topology).wave.is_some() || entry.action.get::<EraseLists>().is_some()
    };
    let waves = 1 + plan.timeline.iter().filter(is_reset).count() as u64;
    let boots = u64::from(plan.fleet.phones).saturating_mul(waves);
    let of_use = |plan: &UsePlan| plan.lasts.as_secs_f64() / plan.rate.mean_pause_s();
    let presses = plan.fleet.uses.iter().map(of_use).sum::<f64>() * f64::from(plan.fleet.phones);
    let mine = boots.saturating_add(presses as u64).saturating_mul(EVENTS_MAX_OF_BOOT);
    EVENTS_MAX.saturating_add(mine)
}
