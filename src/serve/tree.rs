//! Files in folders: what a TFTP node serves, for a TFTP or HTTP server that is not ours, and what it
//! is to serve beside its own.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::cluster::{TftpService, UploadedFiles};

/// Why a tree of files cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {cause}; check that the directory is yours and has space", path.display())]
pub struct TreeError {
    /// The file or directory.
    pub path: PathBuf,
    /// What the host said.
    pub cause: std::io::Error,
}

/// Writes every file of [`TftpService::names`] into `dir`, which is made if need be; returns their
/// number. Signatures that are missing are made on all cores.
///
/// # Errors
/// If the host refuses the directory or a file.
pub fn write_files(dir: &Path, service: &TftpService) -> Result<usize, TreeError> {
    let failed = |path: &Path, cause| TreeError { path: path.to_owned(), cause };
    fs::create_dir_all(dir).map_err(|cause| failed(dir, cause))?;
    let names: Vec<_> = service.names().collect();
    names.par_iter().try_for_each(|&name| {
        let path = dir.join(name.to_string());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|cause| failed(folder, cause))?;
        }
        let bytes = service.whole(name).expect("a service has what it names");
        fs::write(&path, bytes).map_err(|cause| failed(&path, cause))
    })?;
    Ok(names.len())
}

/// Why the files of a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The host does not let us read it.
    #[error("cannot read {}: {cause}; check that the folder is there and that you may read all of it", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the host said.
        cause: std::io::Error,
    },
    /// Nobody could ask for it.
    #[error("{} has a name that is no text of one line: nobody can ask for it; rename it or take it out of the folder", path.display())]
    Nameless {
        /// The file.
        path: PathBuf,
    },
    /// The folder is no folder of files for phones.
    #[error("{} has more than {FILES_MAX} files or folders in folders below {DEPTH_MAX}: is it the right one?", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}

/// Most files that are read from a folder; chosen.
const FILES_MAX: usize = 100_000;
/// How deep folders may lie in each other; links may lead in a circle. Chosen.
const DEPTH_MAX: usize = 16;

/// Reads every file of a folder and of the folders in it; each is named by its path from there, with
/// `/` between the parts.
///
/// # Errors
/// If the host refuses something, a name is no text, or there is too much of it.
pub fn read_files(dir: &Path) -> Result<UploadedFiles, FolderError> {
    let mut files = Vec::new();
    read_folder(dir, dir, DEPTH_MAX, &mut files)?;
    Ok(files.into_iter().collect())
}

fn read_folder(
    root: &Path,
    dir: &Path,
    depth: usize,
    files: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), FolderError> {
    let unreadable = |path: &Path, cause| FolderError::Unreadable { path: path.to_owned(), cause };
    for entry in fs::read_dir(dir).map_err(|cause| unreadable(dir, cause))? {
        let path = entry.map_err(|cause| unreadable(dir, cause))?.path();
        let kind = fs::metadata(&path).map_err(|cause| unreadable(&path, cause))?;
        if depth == 0 || files.len() == FILES_MAX {
            return Err(FolderError::TooMany { path: root.to_owned() });
        }
        if kind.is_dir() {
            read_folder(root, &path, depth - 1, files)?;
        } else if kind.is_file() {
            let name = path.strip_prefix(root).ok().and_then(Path::to_str);
            let name = name.filter(|name| !name.chars().any(char::is_control));
            let name = name.ok_or_else(|| FolderError::Nameless { path: path.clone() })?;
            let content = fs::read(&path).map_err(|cause| unreadable(&path, cause))?;
            files.push((name.to_owned(), content));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("Desktops/800x480x24")).unwrap();
        fs::write(dir.path().join("term88xx.loads"), "loads").unwrap();
        fs::write(dir.path().join("Desktops/800x480x24/List.xml"), "<list/>").unwrap();
        dir
    }

    #[test]
    fn files_of_a_folder_are_named_by_their_paths_in_it() {
        let dir = folder();
        let files = read_files(dir.path()).unwrap();
        assert_eq!((files.count(), files.length()), (2, 12));
        assert_eq!(**files.get("term88xx.loads").unwrap(), *b"loads");
        assert_eq!(**files.get("Desktops/800x480x24/List.xml").unwrap(), *b"<list/>");
        assert!(files.get("/term88xx.loads").is_none());
        assert!(files.get("Desktops/../term88xx.loads").is_none());
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_and_names_of_two_lines_are_errors_that_name_the_file() {
        let dir = folder();
        let circle = dir.path().join("circle");
        std::os::unix::fs::symlink(dir.path(), &circle).unwrap();
        let error = read_files(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("is it the right one?"), "{error}");
        fs::remove_file(circle).unwrap();
        fs::write(dir.path().join("two\nlines"), "").unwrap();
        let error = read_files(dir.path()).unwrap_err();
        assert!(matches!(error, FolderError::Nameless { .. }), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_that_names_it() {
        let error = read_files(Path::new("no-such-folder")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read no-such-folder: "), "{error}");
    }
}
