use std::cmp::Reverse;

use radix_heap::RadixHeapMap;

use crate::base::Time;

/// Events in the order of their time, and of their arrival where times are equal.
#[derive(Debug)]
pub struct Queue<E> {
    heap: RadixHeapMap<Reverse<(u64, u64)>, E>,
    sequence: u64,
    last: Time,
}

impl<E> Default for Queue<E> {
    fn default() -> Queue<E> {
        Queue::new()
    }
}

impl<E> Queue<E> {
    /// An empty queue at instant zero.
    pub fn new() -> Queue<E> {
        Queue { heap: RadixHeapMap::new(), sequence: 0, last: Time::ZERO }
    }

    /// Adds an event; one that should have happened already happens now.
    pub fn push(&mut self, at: Time, event: E) {
        let at = at.max(self.last);
        self.heap.push(Reverse((at.as_nanos(), self.sequence)), event);
        self.sequence += 1;
    }

    /// The next event and its time.
    pub fn pop(&mut self) -> Option<(Time, E)> {
        let (Reverse((at, _)), event) = self.heap.pop()?;
        self.last = Time::from_nanos(at);
        Some((self.last, event))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BinaryHeap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The reference is the standard library's heap.
        #[test]
        fn events_come_in_the_order_of_time_and_arrival(
            steps in prop::collection::vec((any::<bool>(), 0u64..50), 0..400),
        ) {
            let mut queue = Queue::new();
            let mut heap = BinaryHeap::new();
            let (mut now, mut sequence) = (0, 0u64);
            for (push, delay) in steps {
                if push {
                    queue.push(Time::from_nanos(now + delay), sequence);
                    heap.push(Reverse((now + delay, sequence)));
                    sequence += 1;
                } else {
                    let expected = heap.pop().map(|Reverse((at, event))| {
                        now = at;
                        (Time::from_nanos(at), event)
                    });
                    prop_assert_eq!(queue.pop(), expected);
                }
            }
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
