use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::base::{Calendar, Span, Time};
use crate::crypto::{Certificate, FileIdentity, sha256};
use crate::wire::tvs::Known;
use crate::wire::{Config, ConfigError, SignedFile, WireError};

use super::lists::TrustList;
use super::pinned::{PinnedFile, Pins};
use super::vouched::{Signer, VouchedSigner};

/// Trust lists and what is read from configurations, kept once however many phones hold them.
#[derive(Debug, Default)]
pub struct Shared {
    lists: DashMap<[u8; 32], Arc<TrustList>, RandomState>,
    configs: DashMap<Config, Arc<Config>, RandomState>,
    /// By a hash of roles and certificate, which says where to look and no more.
    signers: DashMap<u64, Arc<Signer>, RandomState>,
    certificates: DashMap<[u8; 32], Arc<Certificate>, RandomState>,
    pins: Pins,
    calendar: Arc<Calendar>,
}

/// Entries that nobody holds are dropped when a map has grown to this size: a hostile server
/// could send every phone another list.
const SWEEP_AT: usize = 1_024;

impl Shared {
    /// What phones share whose dates are those of `calendar`.
    pub fn new(calendar: Arc<Calendar>) -> Shared {
        Shared { calendar, ..Shared::default() }
    }

    /// The dates of the phones.
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// The header of these bytes and what is behind it.
    pub(super) fn signed<'a>(&self, bytes: &'a [u8]) -> Result<SignedFile<'a>, WireError> {
        let Some(pinned) = self.whole(bytes) else { return SignedFile::parse(bytes) };
        let read = || SignedFile::parse(bytes).map(|file| file.places());
        match pinned.header.get_or_init(read) {
            Ok(places) => Ok(places.file(bytes).expect("the places are of these bytes")),
            Err(error) => Err(error.clone()),
        }
    }

    /// The list in these bytes.
    pub fn list(&self, file: &SignedFile<'_>) -> Result<Arc<TrustList>, WireError> {
        match self.pins.find(file.bytes()) {
            Some(pinned) => pinned.list.get_or_init(|| self.interned_list(file)).clone(),
            None => self.interned_list(file),
        }
    }

    fn interned_list(&self, file: &SignedFile<'_>) -> Result<Arc<TrustList>, WireError> {
        let made = |_: &_| TrustList::from_file(file).map(Arc::new);
        intern(&self.lists, sha256(file.bytes()), made)
    }

    /// What a phone uses of the configuration in these bytes.
    pub fn config(&self, bytes: &[u8]) -> Result<Arc<Config>, ConfigError> {
        let length = bytes.len();
        if let Some(pinned) = self.pins.find(bytes) {
            let known = pinned.config.get_or_init(|| (length, self.interned_config(bytes)));
            if known.0 == length {
                return known.1.clone();
            }
        }
        self.interned_config(bytes)
    }

    fn interned_config(&self, bytes: &[u8]) -> Result<Arc<Config>, ConfigError> {
        let made = |config: &Config| Ok(Arc::new(config.clone()));
        intern(&self.configs, Config::parse(bytes)?, made)
    }

    /// Which content a file is and who signed it.
    pub fn identity(&self, file: &SignedFile<'_>) -> FileIdentity {
        match self.pins.find(file.bytes()) {
            Some(pinned) => *pinned.identity.get_or_init(|| FileIdentity::of(file)),
            None => FileIdentity::of(file),
        }
    }

    /// The certificate in these bytes, if it can be read.
    pub(super) fn certificate(&self, der: &[u8]) -> Option<Arc<Certificate>> {
        let made = |_: &_| Certificate::from_der(der).map(Arc::new);
        intern(&self.certificates, sha256(der), made).ok()
    }

    /// Keeps a file in memory for as long as this exists and remembers what is read from it. For
    /// files that many phones are handed in virtual time; they are recognised by their place.
    pub fn pin(&self, file: &Arc<[u8]>) {
        self.pins.pin(file);
    }

    /// The number of a pinned file.
    pub(super) fn pinned_number(&self, file: &[u8]) -> Option<u32> {
        self.whole(file).map(|pinned| pinned.number)
    }

    /// A file that a phone keeps for a while: the pinned one itself, or a copy.
    pub(super) fn keep(&self, file: &[u8]) -> Arc<[u8]> {
        self.whole(file).map_or_else(|| file.into(), |pinned| Arc::clone(&pinned.bytes))
    }

    fn whole(&self, file: &[u8]) -> Option<Arc<PinnedFile>> {
        self.pins.find(file).filter(|pinned| pinned.bytes.len() == file.len())
    }

    /// The signer in an answer of TVS, if its certificate can be read; the answer came at `now`.
    pub(super) fn signer(&self, known: &Known<'_>, now: Time) -> Option<VouchedSigner> {
        let der = known.certificate?;
        let expires = self.calendar.aged(now) + Span::from_secs(u64::from(known.ttl_s));
        let place = self.signers.hasher().hash_one((known.roles, der));
        let held = self.signers.get(&place).map(|held| Arc::clone(&held));
        if let Some(signer) = held.filter(|held| held.was_named(known.roles, der)) {
            return Some(VouchedSigner { signer, expires });
        }
        let signer = Arc::new(Signer::new(Certificate::from_der(der).ok()?, known.roles));
        // Of two with one hash the newer one is shared from now on.
        keep(&self.signers, place, &signer);
        Some(VouchedSigner { signer, expires })
    }
}

/// What the map has for this key; made and kept if it has nothing yet.
fn intern<K: Eq + Hash, V: ?Sized, E>(
    map: &DashMap<K, Arc<V>, RandomState>,
    key: K,
    make: impl FnOnce(&K) -> Result<Arc<V>, E>,
) -> Result<Arc<V>, E> {
    if let Some(known) = map.get(&key) {
        return Ok(Arc::clone(&known));
    }
    let new = make(&key)?;
    keep(map, key, &new);
    Ok(new)
}

/// Keeps `new`; drops what nobody holds if there is much.
fn keep<K: Eq + Hash, V: ?Sized>(map: &DashMap<K, Arc<V>, RandomState>, key: K, new: &Arc<V>) {
    if map.len() >= SWEEP_AT {
        map.retain(|_, held| Arc::strong_count(held) > 1);
    }
    map.insert(key, Arc::clone(new));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_file_is_read_as_any_other_and_so_is_its_fault() {
        let good: &[u8] = include_bytes!("../../tests/vectors/trustlist/CTLFile-mixed.tlv");
        for bytes in [good, &good[..60], b"<device/>", b""] {
            let (shared, pinned) = (Shared::default(), Arc::<[u8]>::from(bytes));
            shared.pin(&pinned);
            let expected = SignedFile::parse(&pinned);
            for _ in 0..2 {
                match (shared.signed(&pinned), &expected) {
                    (Ok(file), Ok(expected)) => {
                        assert_eq!((file.header, file.body), (expected.header, expected.body));
                        assert_eq!(file.bytes(), bytes);
                    }
                    (read, expected) => assert_eq!(read.err().as_ref(), expected.as_ref().err()),
                }
            }
            // A part of it is another file.
            assert!(shared.signed(pinned.get(9..).unwrap_or_default()).is_err());
        }
    }
}
