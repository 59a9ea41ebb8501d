//! Files that their owner alone may read.

use std::fmt::Display;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::error::StateError;

pub(super) const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Longest file that is read: keys and certificates have a few kilobytes, and 64 nodes trust some
/// hundred.
const FILE_LENGTH_MAX: u64 = 4 * 1_024 * 1_024;

/// The text of a file, or `None` if it is not there.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, StateError> {
    let text = |bytes| String::from_utf8(bytes).map_err(|cause| unusable(path, cause));
    read(path)?.map(text).transpose()
}

/// The bytes of a file, or `None` if it is not there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(file_error("read", path, cause)),
    };
    if length > FILE_LENGTH_MAX {
        return Err(unusable(path, format_args!("longer than {FILE_LENGTH_MAX} bytes")));
    }
    fs::read(path).map(Some).map_err(|cause| file_error("read", path, cause))
}

pub(super) fn make_directory(path: &Path) -> Result<(), StateError> {
    let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path);
    // A directory that was there before may be open to others.
    made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE)))
        .map_err(|cause| file_error("make the directory", path, cause))
}

/// Makes an empty file if there is none; either way nobody else may read it from now on.
pub(super) fn make_private(path: &Path) -> Result<(), StateError> {
    let mut options = OpenOptions::new();
    let made = options.append(true).create(true).mode(FILE_MODE).open(path);
    made.and_then(|file| file.set_permissions(Permissions::from_mode(FILE_MODE)))
        .map_err(|cause| file_error("write", path, cause))
}

/// Writes a file that the owner alone may read, from its first instant on, and never half.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    // One that a run of the same number left behind; whether it is there does not matter.
    let _ = fs::remove_file(&temporary);
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|cause| {
        let _ = fs::remove_file(&temporary);
        file_error("write", path, cause)
    })
}

/// Removes a file; it may be gone.
pub(super) fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(file_error("remove", path, cause))
        }
        _ => Ok(()),
    }
}

pub(super) fn unusable(path: &Path, cause: impl Display) -> StateError {
    StateError::Content { path: path.to_owned(), cause: cause.to_string() }
}

pub(super) fn file_error(what: &'static str, path: &Path, cause: io::Error) -> StateError {
    StateError::File { what, path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_private_replaced_whole_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write_private(&path, b"first").unwrap();
        write_private(&path, b"second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_could_read_is_closed_to_them_and_keeps_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.db");
        fs::write(&path, "kept").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        make_private(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);
    }
}
