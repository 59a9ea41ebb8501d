use std::sync::Arc;

use dashmap::DashMap;

use crate::base::{Span, Time};
use crate::crypto::{Certificate, FileIdentity, sha256, sha256_of};
use crate::wire::tvs::Known;
use crate::wire::{Config, ConfigError, SignedFile, TvsMember, WireError};

use super::lists::TrustList;
use super::pinned::{PinnedFile, Pins};
use super::vouched::{Signer, VouchedSigner};

/// Trust lists and TVS member lists, kept once however many phones hold them.
#[derive(Debug, Default)]
pub struct Shared {
    lists: DashMap<[u8; 32], Arc<TrustList>>,
    members: DashMap<Vec<TvsMember>, Arc<[TvsMember]>>,
    signers: DashMap<[u8; 32], Arc<Signer>>,
    pins: Pins,
}

/// Entries that nobody holds are dropped when a map has grown to this size: a hostile server
/// could send every phone another list.
const SWEEP_AT: usize = 1_024;

impl Shared {
    /// The list in these bytes.
    ///
    /// # Errors
    /// If header or any record is malformed.
    pub fn list(&self, file: &SignedFile<'_>) -> Result<Arc<TrustList>, WireError> {
        match self.pins.find(file.bytes()) {
            Some(pinned) => pinned.list.get_or_init(|| self.interned_list(file)).clone(),
            None => self.interned_list(file),
        }
    }

    fn interned_list(&self, file: &SignedFile<'_>) -> Result<Arc<TrustList>, WireError> {
        let digest = sha256(file.bytes());
        if let Some(list) = self.lists.get(&digest) {
            return Ok(Arc::clone(&list));
        }
        let list = Arc::new(TrustList::from_file(file)?);
        if self.lists.len() >= SWEEP_AT {
            self.lists.retain(|_, list| Arc::strong_count(list) > 1);
        }
        self.lists.insert(digest, Arc::clone(&list));
        Ok(list)
    }

    /// The TVS members of the configuration in these bytes.
    ///
    /// # Errors
    /// If the configuration cannot be read.
    pub fn members(&self, config: &[u8]) -> Result<Arc<[TvsMember]>, ConfigError> {
        let length = config.len();
        if let Some(pinned) = self.pins.find(config) {
            let known = pinned.members.get_or_init(|| (length, self.interned_members(config)));
            if known.0 == length {
                return known.1.clone();
            }
        }
        self.interned_members(config)
    }

    fn interned_members(&self, config: &[u8]) -> Result<Arc<[TvsMember]>, ConfigError> {
        let members = Config::parse(config)?.tvs;
        if let Some(known) = self.members.get(&members) {
            return Ok(Arc::clone(&known));
        }
        let shared: Arc<[TvsMember]> = members.clone().into();
        if self.members.len() >= SWEEP_AT {
            self.members.retain(|_, members| Arc::strong_count(members) > 1);
        }
        self.members.insert(members, Arc::clone(&shared));
        Ok(shared)
    }

    /// Which content a file is and who signed it.
    pub fn identity(&self, file: &SignedFile<'_>) -> FileIdentity {
        match self.pins.find(file.bytes()) {
            Some(pinned) => *pinned.identity.get_or_init(|| FileIdentity::of(file)),
            None => FileIdentity::of(file),
        }
    }

    /// Keeps a file in memory for as long as this exists and remembers what is read from it. For
    /// files that many phones are handed in virtual time; they are recognised by their place.
    pub fn pin(&self, file: &Arc<[u8]>) {
        self.pins.pin(file);
    }

    /// The number of a pinned file.
    pub(super) fn pinned_number(&self, file: &[u8]) -> Option<u32> {
        self.pins.find(file).filter(|pinned| pinned.bytes.len() == file.len()).map(|p| p.number)
    }

    /// A file that a phone keeps for a while: the pinned one itself, or a copy.
    pub(super) fn keep(&self, file: &[u8]) -> Arc<[u8]> {
        let whole = |pinned: &Arc<PinnedFile>| pinned.bytes.len() == file.len();
        let pinned = self.pins.find(file).filter(whole);
        pinned.map_or_else(|| file.into(), |pinned| Arc::clone(&pinned.bytes))
    }

    /// The signer in an answer of TVS, if its certificate can be read; the answer came at `now`.
    pub(super) fn signer(&self, known: &Known<'_>, now: Time) -> Option<VouchedSigner> {
        let der = known.certificate?;
        // The length keeps roles and certificate apart, whatever a server puts into either.
        let length = (known.roles.len() as u64).to_be_bytes();
        let digest = sha256_of(&[&length, known.roles, der]);
        let expires = now + Span::from_secs(u64::from(known.ttl_s));
        if let Some(signer) = self.signers.get(&digest) {
            return Some(VouchedSigner { signer: Arc::clone(&signer), expires });
        }
        let signer = Arc::new(Signer::new(&Certificate::from_der(der).ok()?, known.roles));
        if self.signers.len() >= SWEEP_AT {
            self.signers.retain(|_, signer| Arc::strong_count(signer) > 1);
        }
        self.signers.insert(digest, Arc::clone(&signer));
        Some(VouchedSigner { signer, expires })
    }
}
