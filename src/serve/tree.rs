//! What a TFTP node serves as files in a folder, for a TFTP or HTTP server that is not ours.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::cluster::TftpService;

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
