use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::{Span, Time};

/// The places of CAPF for operations that are under way.
///
/// A phone that makes its key says nothing for a while, and so does somebody who only has its name.
/// So a place is not taken from a phone that is silent as long as nobody else wants it; then the one
/// that has been silent longest loses it. Its session goes on: what is left of it takes no time.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<BTreeMap<u32, Time>>);

impl Places {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Time>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.lock().len()
    }

    /// A place for this session, if one of `most` is free or its owner has been silent for longer
    /// than `silence`.
    pub(super) fn take(
        self: &Arc<Self>,
        session: u32,
        now: Time,
        most: u32,
        silence: Span,
    ) -> Option<Place> {
        let mut heard = self.lock();
        if heard.len() >= most as usize {
            let (&quietest, &since) = heard.iter().min_by_key(|(_, since)| **since)?;
            if now.since(since) <= silence {
                return None;
            }
            heard.remove(&quietest);
        }
        heard.insert(session, now);
        Some(Place { places: Arc::clone(self), session, since: now })
    }
}

/// A place; free again when the session is over or its connection is gone.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    session: u32,
    pub(super) since: Time,
}

impl Place {
    /// Its owner has said something.
    pub(super) fn heard(&self, now: Time) {
        if let Some(heard) = self.places.lock().get_mut(&self.session) {
            *heard = now;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(&self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_been_silent_longest_loses_a_place_that_another_one_wants() {
        let (places, silence) = (Arc::new(Places::default()), Span::from_secs(10));
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        let take = |session, now| places.take(session, at(now), 2, silence);
        let (first, second) = (take(1, 0).unwrap(), take(2, 1).unwrap());
        assert!(take(3, 10).is_none(), "both have spoken within ten seconds");
        first.heard(at(10));
        let third = take(3, 12).expect("the second is silent for eleven seconds");
        assert!(take(4, 12).is_none());
        // Whoever has lost its place gives back none, and gets none by speaking.
        second.heard(at(12));
        drop(second);
        assert_eq!((places.taken(), take(4, 12).is_none()), (2, true));
        drop((first, third));
        assert_eq!(places.taken(), 0);
    }
}
