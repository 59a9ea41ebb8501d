use std::collections::BTreeMap;
use std::sync::Arc;

/// Files that an administrator has put beside those of the cluster (TFTP File Management): images of
/// firmware, backgrounds, dial rules. They are served as they are, by name; a name of the cluster's
/// own files is never theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadedFiles(Arc<BTreeMap<Box<str>, Arc<[u8]>>>);

impl UploadedFiles {
    /// The file of exactly this name; folders are parted by `/`.
    pub fn get(&self, name: &str) -> Option<&Arc<[u8]>> {
        self.0.get(name)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Their length in bytes, all together.
    pub fn length(&self) -> usize {
        self.0.values().map(|content| content.len()).sum()
    }
}

impl FromIterator<(String, Vec<u8>)> for UploadedFiles {
    fn from_iter<I: IntoIterator<Item = (String, Vec<u8>)>>(files: I) -> UploadedFiles {
        let file = |(name, content): (String, Vec<u8>)| (name.into(), content.into());
        UploadedFiles(Arc::new(files.into_iter().map(file).collect()))
    }
}
