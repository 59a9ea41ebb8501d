use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;

use super::topology::SignCacheMode;

/// Names one signature: which content, signed with which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// From the SHA-256 of file name and content.
    pub content: u128,
    /// From the SHA-256 of the signer's certificate; changes with every regeneration, so that
    /// all entries are stale in one step.
    pub signer: u64,
}

/// Whoever waits for a signature; the driver chooses the number and is given it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// Signed headers by content and key, each made once: single flight without I/O.
///
/// A hit takes one look at a shard and no allocation. The driver that is told to sign does so
/// wherever it likes and brings the result with [`SignCache::complete`].
#[derive(Debug)]
pub struct SignCache {
    mode: SignCacheMode,
    entries: DashMap<Place, Slot, RandomState>,
    counters: Counters,
}

/// A key as it is kept: with its slot 40 bytes and not 64, and a fleet may have a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    content: [u64; 2],
    signer: u64,
}

impl From<CacheKey> for Place {
    fn from(key: CacheKey) -> Place {
        Place { content: [(key.content >> 64) as u64, key.content as u64], signer: key.signer }
    }
}

#[derive(Debug)]
enum Slot {
    Ready(Arc<[u8]>),
    Pending(Box<Waiters>),
}

/// Who waits for a signature that is being made.
#[derive(Debug)]
struct Waiters(Vec<Waiter>);

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    made: AtomicU64,
}

/// What the cache has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignCounts {
    /// Requests that were answered by a signature which another request or the prewarming made.
    pub hits: u64,
    /// Requests that caused a signature.
    pub misses: u64,
    /// Signatures made.
    pub made: u64,
}

/// What a claim led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// The signed header.
    Ready(Arc<[u8]>),
    /// Somebody is making it; the waiter will be named at completion.
    Wait,
    /// The caller is to make it; the waiter will be named at completion.
    Sign,
}

impl SignCache {
    /// An empty cache.
    pub fn new(mode: SignCacheMode) -> SignCache {
        SignCache { mode, entries: DashMap::default(), counters: Counters::default() }
    }

    /// What becomes of signatures.
    pub const fn mode(&self) -> SignCacheMode {
        self.mode
    }

    /// Looks for a signature on behalf of `waiter`.
    pub fn claim(&self, key: CacheKey, waiter: Waiter) -> Claim {
        if self.mode == SignCacheMode::Off {
            self.counters.misses.fetch_add(1, Ordering::Relaxed);
            return Claim::Sign;
        }
        let place = Place::from(key);
        if let Some(slot) = self.entries.get(&place)
            && let Slot::Ready(header) = slot.value()
        {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
            return Claim::Ready(Arc::clone(header));
        }
        match self.entries.entry(place) {
            Entry::Vacant(vacant) => {
                vacant.insert(Slot::Pending(Box::new(Waiters(vec![waiter]))));
                self.counters.misses.fetch_add(1, Ordering::Relaxed);
                Claim::Sign
            }
            Entry::Occupied(mut occupied) => {
                self.counters.hits.fetch_add(1, Ordering::Relaxed);
                match occupied.get_mut() {
                    Slot::Ready(header) => Claim::Ready(Arc::clone(header)),
                    Slot::Pending(waiters) => {
                        waiters.0.push(waiter);
                        Claim::Wait
                    }
                }
            }
        }
    }

    /// Brings a signed header; returns who waited for it. With the cache off that is nobody but
    /// the one who signed.
    pub fn complete(&self, key: CacheKey, header: &Arc<[u8]>) -> Vec<Waiter> {
        self.counters.made.fetch_add(1, Ordering::Relaxed);
        if self.mode == SignCacheMode::Off {
            return Vec::new();
        }
        match self.entries.insert(key.into(), Slot::Ready(Arc::clone(header))) {
            Some(Slot::Pending(waiters)) => waiters.0,
            Some(Slot::Ready(_)) | None => Vec::new(),
        }
    }

    /// Whether the signature is there.
    pub fn contains(&self, key: CacheKey) -> bool {
        self.entries.get(&key.into()).is_some_and(|slot| matches!(slot.value(), Slot::Ready(_)))
    }

    /// Drops every signature made with another key than `signers`: nobody asks for it any more.
    pub fn keep_only(&self, signers: &[u64]) {
        self.entries
            .retain(|key, slot| signers.contains(&key.signer) || matches!(slot, Slot::Pending(_)));
    }

    /// Number of signatures that are kept or being made.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the cache has done so far.
    pub fn counts(&self) -> SignCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        SignCounts {
            hits: read(&counters.hits),
            misses: read(&counters.misses),
            made: read(&counters.made),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: CacheKey = CacheKey { content: 1, signer: 2 };

    fn header() -> Arc<[u8]> {
        Arc::from(&b"signed"[..])
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<(Place, Slot)>(), 40);
    }

    #[test]
    fn one_signs_the_others_wait_and_all_are_named() {
        let cache = SignCache::new(SignCacheMode::Lazy);
        assert_eq!(cache.claim(KEY, Waiter(1)), Claim::Sign);
        assert_eq!(cache.claim(KEY, Waiter(2)), Claim::Wait);
        assert_eq!(cache.claim(KEY, Waiter(3)), Claim::Wait);
        assert!(!cache.contains(KEY));
        assert_eq!(cache.complete(KEY, &header()), [Waiter(1), Waiter(2), Waiter(3)]);
        assert_eq!(cache.claim(KEY, Waiter(4)), Claim::Ready(header()));
        assert_eq!(cache.counts(), SignCounts { hits: 3, misses: 1, made: 1 });
    }

    #[test]
    fn another_content_or_key_is_another_signature() {
        let cache = SignCache::new(SignCacheMode::Lazy);
        cache.complete(KEY, &header());
        for key in [CacheKey { content: 9, ..KEY }, CacheKey { signer: 9, ..KEY }] {
            assert_eq!(cache.claim(key, Waiter(1)), Claim::Sign);
        }
    }

    #[test]
    fn without_a_cache_every_request_signs() {
        let cache = SignCache::new(SignCacheMode::Off);
        for round in 1..=3 {
            assert_eq!(cache.claim(KEY, Waiter(round)), Claim::Sign);
            assert_eq!(cache.complete(KEY, &header()), []);
        }
        assert_eq!(cache.counts(), SignCounts { hits: 0, misses: 3, made: 3 });
        assert!(cache.is_empty());
    }

    #[test]
    fn stale_signatures_are_dropped_but_nobody_who_waits_is_forgotten() {
        let cache = SignCache::new(SignCacheMode::Lazy);
        let (old, pending) = (CacheKey { signer: 7, ..KEY }, CacheKey { signer: 8, ..KEY });
        cache.complete(KEY, &header());
        cache.complete(old, &header());
        cache.claim(pending, Waiter(1));
        cache.keep_only(&[KEY.signer]);
        assert!(cache.contains(KEY) && !cache.contains(old));
        assert_eq!(cache.complete(pending, &header()), [Waiter(1)]);
    }

    #[test]
    fn a_stampede_of_threads_makes_one_signature() {
        let cache = Arc::new(SignCache::new(SignCacheMode::Lazy));
        let signs: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let cache = Arc::clone(&cache);
                    scope.spawn(move || {
                        (0..1_000)
                            .filter(|round| {
                                let key = CacheKey { content: *round, ..KEY };
                                cache.claim(key, Waiter(thread)) == Claim::Sign
                            })
                            .count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(signs, 1_000);
    }
}
