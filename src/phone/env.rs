use std::sync::Arc;

use dashmap::DashMap;

use crate::wire::{Config, ConfigError, SignedFile, TvsMember, WireError};

use super::judge::Verifier;
use super::lists::TrustList;
use super::profile::PhoneProfile;
use crate::crypto::sha256;

/// What phones share: lists, TVS member lists, the verifier of their thread and their profile.
#[derive(Debug)]
pub struct Env {
    /// How phones behave.
    pub profile: Arc<PhoneProfile>,
    /// Lists and member lists, shared by all threads.
    pub shared: Arc<Shared>,
    /// Checks signatures; of this thread.
    pub verifier: Verifier,
}

/// Trust lists and TVS member lists, kept once however many phones hold them.
#[derive(Debug, Default)]
pub struct Shared {
    lists: DashMap<[u8; 32], Arc<TrustList>>,
    members: DashMap<Vec<TvsMember>, Arc<[TvsMember]>>,
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
}
