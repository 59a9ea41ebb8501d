use std::collections::VecDeque;

use super::session::Session;

/// Places for what may be in flight at once, and those who wait for one: a generator on one host
/// has only so many, phones of their own have one each.
#[derive(Debug)]
pub(super) struct Places<T> {
    free: u32,
    /// Phone and generation of its session.
    waiting: VecDeque<(u32, u32, T)>,
}

impl<T> Places<T> {
    pub(super) const fn new(free: u32) -> Places<T> {
        Places { free, waiting: VecDeque::new() }
    }

    /// Takes a place and gives `what` back, which may begin; keeps it until a place is free
    /// otherwise.
    pub(super) fn enter(&mut self, phone: u32, generation: u32, what: T) -> Option<T> {
        if self.free == 0 {
            self.waiting.push_back((phone, generation, what));
            return None;
        }
        self.free -= 1;
        Some(what)
    }

    /// A place is left: who may begin instead, if anybody still wants to.
    pub(super) fn leave(&mut self, sessions: &[Session]) -> Option<(u32, u32, T)> {
        while let Some(next) = self.waiting.pop_front() {
            if sessions[next.0 as usize].generation == next.1 {
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
        let mut sessions = vec![Session::default(); 4];
        let mut places = Places::new(1);
        assert_eq!(places.enter(0, 0, 'a'), Some('a'));
        for (phone, what) in [(1, 'b'), (2, 'c'), (3, 'd')] {
            assert_eq!(places.enter(phone, 0, what), None);
        }
        sessions[1].generation = 1;
        assert_eq!(places.leave(&sessions), Some((2, 0, 'c')), "the first has gone away");
        assert_eq!(places.leave(&sessions), Some((3, 0, 'd')));
        assert_eq!(places.leave(&sessions), None);
        assert_eq!(places.enter(0, 0, 'e'), Some('e'), "one place, not two");
        assert_eq!(places.enter(0, 0, 'f'), None);
    }
}
