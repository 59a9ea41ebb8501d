use std::io;

use nix::libc::{EADDRINUSE, EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM};

use crate::base::Lack;

/// What the host lacked when a socket or a file could not be had or used, or `None` if the error
/// is somebody else's.
pub fn lack_of(error: &io::Error) -> Option<Lack> {
    match error.raw_os_error()? {
        EMFILE | ENFILE => Some(Lack::Descriptor),
        ENOMEM | ENOBUFS => Some(Lack::Memory),
        EADDRNOTAVAIL | EADDRINUSE => Some(Lack::Port),
        _ => None,
    }
}

/// What a person can do about a thread, a runtime or a socket that cannot be made.
pub fn remedy(error: &io::Error) -> &'static str {
    match lack_of(error) {
        Some(Lack::Descriptor) => {
            "raise the limit of descriptors (ulimit -n, LimitNOFILE= of the service)"
        }
        Some(Lack::Memory) => "give the program more memory, or ask for less in flight",
        Some(_) => "free the address and port, or choose others",
        None if error.kind() == io::ErrorKind::WouldBlock => {
            "raise the limit of threads (ulimit -u, TasksMax= of the service) or of memory \
             (ulimit -v)"
        }
        None => "see the message above",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_this_host_is_told_from_a_fault_of_a_server() {
        let lack = |code| lack_of(&io::Error::from_raw_os_error(code));
        assert_eq!(lack(EMFILE), Some(Lack::Descriptor));
        assert_eq!(lack(ENFILE), Some(Lack::Descriptor));
        assert_eq!(lack(ENOMEM), Some(Lack::Memory));
        assert_eq!(lack(ENOBUFS), Some(Lack::Memory));
        assert_eq!(lack(EADDRNOTAVAIL), Some(Lack::Port));
        assert_eq!(lack(EADDRINUSE), Some(Lack::Port));
        for theirs in [nix::libc::ECONNREFUSED, nix::libc::ECONNRESET, nix::libc::ETIMEDOUT] {
            assert_eq!(lack(theirs), None);
        }
        assert_eq!(lack_of(&io::ErrorKind::UnexpectedEof.into()), None);
    }

    #[test]
    fn a_remedy_fits_its_cause() {
        let remedy = |code| remedy(&io::Error::from_raw_os_error(code));
        assert!(remedy(EMFILE).contains("ulimit -n"));
        assert!(remedy(nix::libc::EAGAIN).contains("ulimit -u"));
        assert!(remedy(ENOMEM).contains("memory"));
    }
}
