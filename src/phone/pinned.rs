use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::crypto::FileIdentity;
use crate::wire::{Config, ConfigError, HeaderPlaces, WireError};

use super::lists::TrustList;

/// Files that stay in memory to the end of a run and are handed to many phones: what was computed
/// from their bytes once is remembered with them. Virtual time only; live runs pin nothing.
///
/// A file is recognised by where its bytes end. That is sound because a pinned file is never
/// dropped, so that no other bytes can lie there.
#[derive(Debug, Default)]
pub(super) struct Pins {
    files: RwLock<BTreeMap<usize, Arc<PinnedFile>>>,
}

/// What a phone uses of a configuration, if it can be read.
type Read = Result<Arc<Config>, ConfigError>;

/// One pinned file and what is known of it.
#[derive(Debug)]
pub(super) struct PinnedFile {
    pub(super) bytes: Arc<[u8]>,
    /// Tells pinned files apart.
    pub(super) number: u32,
    pub(super) header: OnceLock<Result<HeaderPlaces, WireError>>,
    pub(super) list: OnceLock<Result<Arc<TrustList>, WireError>>,
    /// By the length of the part that was read: the whole file or the body behind its header.
    pub(super) config: OnceLock<(usize, Read)>,
    pub(super) identity: OnceLock<FileIdentity>,
}

impl Pins {
    /// Keeps `bytes` for good.
    pub(super) fn pin(&self, bytes: &Arc<[u8]>) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        let number = files.len() as u32;
        let file = || PinnedFile {
            bytes: Arc::clone(bytes),
            number,
            header: OnceLock::new(),
            list: OnceLock::new(),
            config: OnceLock::new(),
            identity: OnceLock::new(),
        };
        files.entry(end_of(bytes)).or_insert_with(|| Arc::new(file()));
    }

    /// The pinned file whose bytes these are, or whose last bytes.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<Arc<PinnedFile>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        if files.is_empty() {
            return None;
        }
        let file = files.get(&end_of(bytes))?;
        (bytes.len() <= file.bytes.len() && !bytes.is_empty()).then(|| Arc::clone(file))
    }
}

fn end_of(bytes: &[u8]) -> usize {
    bytes.as_ptr_range().end.addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_file_is_known_by_itself_and_its_last_part_and_not_by_equal_bytes() {
        let pins = Pins::default();
        let file: Arc<[u8]> = Arc::from(&b"header and body"[..]);
        assert!(pins.find(&file).is_none(), "nothing is pinned");
        pins.pin(&file);
        pins.pin(&file);
        let other: Arc<[u8]> = Arc::from(&b"header and body"[..]);
        pins.pin(&other);
        assert_eq!(pins.find(&file).unwrap().number, 0);
        assert_eq!(pins.find(&file[7..]).unwrap().number, 0);
        assert_eq!(pins.find(&other).unwrap().number, 1);
        assert!(pins.find(&file[..6]).is_none() && pins.find(&[]).is_none());
        let copy: Vec<u8> = file.iter().copied().collect();
        assert!(pins.find(&copy).is_none(), "a copy is not it");
    }
}
