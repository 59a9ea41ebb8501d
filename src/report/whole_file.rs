use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

/// Writes a file that somebody has named, whole or not at all: beside it under another name, which
/// is then exchanged for it. A link stays and the file that it leads to is exchanged; permissions
/// stay, too. What is no plain file, such as a pipe or `/dev/stdout`, is written as it is, and so is
/// a file in a folder where this process may make no other.
///
/// # Errors
/// What the system said; what was there before is then unchanged, if it could be exchanged.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(place) = plain(path) else {
        return OpenOptions::new().append(true).open(path)?.write_all(bytes);
    };
    let former = fs::metadata(&place).ok();
    let mut name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let temporary = place.with_file_name(name);
    // One that a process of the same number left behind; whether it is there does not matter.
    let _ = fs::remove_file(&temporary);
    let file = match OpenOptions::new().write(true).create_new(true).open(&temporary) {
        Err(error) if former.is_some() && is_forbidden(&error) => return fs::write(&place, bytes),
        opened => opened?,
    };
    if let Some(former) = former
        && let Err(error) = file.set_permissions(former.permissions())
    {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    exchange(file, &temporary, &place, |file| file.write_all(bytes))
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Fills `file`, which is called `temporary`, and gives it the name `path`; removes it if that
/// fails. Room that it has already is given back only when the bytes are in it.
pub(super) fn exchange(
    file: File,
    temporary: &Path,
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    let written = write(&mut file)
        .and_then(|()| file.stream_position())
        .and_then(|end| file.get_ref().set_len(end))
        .and_then(|()| fs::rename(temporary, path));
    written.inspect_err(|_| {
        // Its room is worth more than a part of a file.
        let _ = fs::remove_file(temporary);
    })
}

/// Where the plain file is, or will be, that `path` leads to; nothing if it leads to something else
/// or to what a process has open, which has a name of its own there.
fn plain(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::canonicalize(folder.unwrap_or(Path::new("."))).unwrap_or_default();
    if folder == Path::new("/dev") || folder.starts_with("/proc") {
        return None;
    }
    match fs::metadata(path) {
        Ok(found) if found.is_file() => fs::canonicalize(path).ok(),
        Ok(_) => None,
        Err(_) => Some(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::thread;

    use nix::sys::stat::Mode;

    use super::*;

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_is_exchanged_whole_and_keeps_its_permissions_and_the_link_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("link"));
        write_whole(&path, b"the first, longer text").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        symlink("a", &link).unwrap();
        write_whole(&link, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(files(folder.path()), 2, "nothing is left behind");
    }

    #[test]
    fn somebody_who_reads_the_former_file_reads_on_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_whole(&path, b"former").unwrap();
        let mut reader = File::open(&path).unwrap();
        write_whole(&path, b"new").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), fs::read(&path).unwrap()), ("former", b"new".to_vec()));
    }

    #[test]
    fn a_write_that_fails_leaves_the_former_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_whole(&path, b"former").unwrap();
        let temporary = folder.path().join("a.part");
        // Open for reading only, as a disk that refuses: no byte gets in.
        fs::write(&temporary, "").unwrap();
        let refuses = File::open(&temporary).unwrap();
        exchange(refuses, &temporary, &path, |file| file.write_all(b"new")).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"former");
        assert_eq!(files(folder.path()), 1);
        write_whole(folder.path(), b"a folder").unwrap_err();
        write_whole(&folder.path().join("no/such"), b"text").unwrap_err();
    }

    #[test]
    fn a_pipe_and_a_device_are_written_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let from = path.clone();
        let reader = thread::spawn(move || fs::read(from).unwrap());
        write_whole(&path, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert_eq!(files(folder.path()), 1, "it is a pipe still");
        write_whole(Path::new("/dev/null"), b"away").unwrap();
        let full = write_whole(Path::new("/dev/full"), b"text").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }
}
