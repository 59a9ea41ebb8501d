use std::collections::VecDeque;

use super::event::Request;

/// Places for what may be in flight at once, and those who wait for one: a generator on one host
/// has only so many, phones of their own have one each.
#[derive(Debug)]
pub(super) struct Places<T> {
    free: u32,
    waiting: VecDeque<(Request, T)>,
}

impl<T> Places<T> {
    pub(super) const fn new(free: u32) -> Places<T> {
        Places { free, waiting: VecDeque::new() }
    }

    /// Takes a place and gives `what` back, which may begin; keeps it until a place is free
    /// otherwise.
    pub(super) fn enter(&mut self, request: Request, what: T) -> Option<T> {
        if self.free == 0 {
            self.waiting.push_back((request, what));
            return None;
        }
        self.free -= 1;
        Some(what)
    }

    /// A place is left: who may begin instead, if anybody waits who still wants to.
    pub(super) fn leave(&mut self, wants: impl Fn(Request) -> bool) -> Option<(Request, T)> {
        while let Some(next) = self.waiting.pop_front() {
            if wants(next.0) {
                return Some(next);
            }
        }
        self.free += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_to_those_who_came_first_and_still_want_them() {
        let of = |phone| Request { phone, generation: 0 };
        let wants = |request: Request| request.phone != 1;
        let mut places = Places::new(1);
        assert_eq!(places.enter(of(0), 'a'), Some('a'));
        for (phone, what) in [(1, 'b'), (2, 'c'), (3, 'd')] {
            assert_eq!(places.enter(of(phone), what), None);
        }
        assert_eq!(places.leave(wants), Some((of(2), 'c')), "the first has gone away");
        assert_eq!(places.leave(wants), Some((of(3), 'd')));
        assert_eq!(places.leave(wants), None);
        assert_eq!(places.enter(of(0), 'e'), Some('e'), "one place, not two");
        assert_eq!(places.enter(of(0), 'f'), None);
    }
}
