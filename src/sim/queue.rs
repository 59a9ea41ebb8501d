use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::vec;

use crate::base::Time;

/// Events in the order of their time, and of their arrival where times are equal.
#[derive(Debug)]
pub struct Queue<E> {
    /// Time, number and place of each event.
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// The events themselves: what is sorted stays small.
    events: Vec<Option<E>>,
    /// Places without an event.
    free: Vec<u32>,
    lanes: Vec<Lane<E>>,
    sequence: u64,
    last: Time,
}

/// Events that were planned together, of which only the next one is in the heap: it stays as small
/// as what is under way.
#[derive(Debug)]
struct Lane<E> {
    /// The number of the one in the heap.
    sequence: u64,
    /// Those behind it in their order.
    rest: vec::IntoIter<(Time, u32)>,
    event: fn(u32) -> E,
}

impl<E> Default for Queue<E> {
    fn default() -> Queue<E> {
        Queue::new()
    }
}

impl<E> Queue<E> {
    /// An empty queue at instant zero.
    pub fn new() -> Queue<E> {
        Queue {
            heap: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            lanes: Vec::new(),
            sequence: 0,
            last: Time::ZERO,
        }
    }

    /// Adds an event; one that should have happened already happens now.
    pub fn push(&mut self, at: Time, event: E) {
        self.enter(at, self.sequence, event);
        self.sequence += 1;
    }

    /// Adds events of one kind as if they were [pushed](Queue::push) one after the other; `event`
    /// makes one of its number. Takes 16 bytes for each.
    pub fn push_all(&mut self, mut planned: Vec<(Time, u32)>, event: fn(u32) -> E) {
        // What is late is as late as all else that is late: it keeps its place among them.
        planned.iter_mut().for_each(|(at, _)| *at = (*at).max(self.last));
        planned.sort_by_key(|&(at, _)| at);
        let (sequence, count) = (self.sequence, planned.len() as u64);
        self.sequence += count;
        let mut rest = planned.into_iter();
        if let Some((at, number)) = rest.next() {
            self.enter(at, sequence, event(number));
            self.lanes.push(Lane { sequence, rest, event });
        }
    }

    /// The next event and its time.
    pub fn pop(&mut self) -> Option<(Time, E)> {
        let Reverse((at, sequence, place)) = self.heap.pop()?;
        self.free.push(place);
        let event = self.events[place as usize].take().expect("it is in its place");
        self.last = Time::from_nanos(at);
        if let Some(lane) = self.lanes.iter().position(|lane| lane.sequence == sequence) {
            self.follow(lane);
        }
        Some((self.last, event))
    }

    /// The next one of a lane enters the heap.
    fn follow(&mut self, lane: usize) {
        let Lane { sequence, rest, event } = &mut self.lanes[lane];
        match rest.next() {
            Some((at, number)) => {
                *sequence += 1;
                let (sequence, event) = (*sequence, event(number));
                self.enter(at, sequence, event);
            }
            None => drop(self.lanes.swap_remove(lane)),
        }
    }

    fn enter(&mut self, at: Time, sequence: u64, event: E) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() as u32 - 1
        });
        self.events[place as usize] = Some(event);
        self.heap.push(Reverse((at.max(self.last).as_nanos(), sequence, place)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The reference is the standard library's heap.
        #[test]
        fn events_come_in_the_order_of_time_and_arrival(
            steps in prop::collection::vec((0u8..3, prop::collection::vec(0u64..50, 1..9)), 0..300),
        ) {
            let mut queue = Queue::new();
            let mut heap = BinaryHeap::new();
            let (mut now, mut sequence) = (0, 0u32);
            for (step, delays) in steps {
                match step {
                    0 => {
                        queue.push(Time::from_nanos(now + delays[0]), sequence);
                        heap.push(Reverse((now + delays[0], sequence)));
                        sequence += 1;
                    }
                    1 => {
                        let at = |&delay: &u64| Time::from_nanos((now + delay).saturating_sub(9));
                        let planned: Vec<_> = delays.iter().map(at).zip(sequence..).collect();
                        for (at, number) in &planned {
                            heap.push(Reverse((at.as_nanos().max(now), *number)));
                        }
                        sequence += planned.len() as u32;
                        queue.push_all(planned, |number| number);
                    }
                    _ => {
                        let expected = heap.pop().map(|Reverse((at, event))| {
                            now = at;
                            (Time::from_nanos(at), event)
                        });
                        prop_assert_eq!(queue.pop(), expected);
                    }
                }
            }
            while let Some(Reverse((at, event))) = heap.pop() {
                prop_assert_eq!(queue.pop(), Some((Time::from_nanos(at), event)));
            }
            prop_assert_eq!(queue.pop(), None);
        }
    }

    #[test]
    fn an_event_of_the_past_happens_now() {
        let mut queue = Queue::new();
        queue.push(Time::from_nanos(9), 'a');
        assert_eq!(queue.pop(), Some((Time::from_nanos(9), 'a')));
        queue.push(Time::from_nanos(3), 'b');
        assert_eq!(queue.pop(), Some((Time::from_nanos(9), 'b')));
        assert_eq!(queue.pop(), None);
    }
}
