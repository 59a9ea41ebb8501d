//! Why a connection brought no answer, in the words of a load.

use std::io;

use crate::measure::LoadFault;
use crate::net::TlsFault;

/// Why there is no answer over TLS.
pub(super) fn fault_of_tls(fault: &TlsFault) -> LoadFault {
    match fault {
        TlsFault::Refused => LoadFault::OtherServer,
        TlsFault::Broken(error) => fault_of(error),
        TlsFault::Malformed => LoadFault::Protocol,
        TlsFault::TurnedAway => LoadFault::TurnedAway,
    }
}

/// Why a connection failed, by what the host says.
pub(super) fn fault_of(error: &io::Error) -> LoadFault {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS};
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::ConnectionRefused, _) => LoadFault::Refused,
        (io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse, _) => LoadFault::NoPort,
        (_, Some(EMFILE | ENFILE | ENOBUFS)) => LoadFault::NoDescriptor,
        (io::ErrorKind::InvalidData, _) => LoadFault::Protocol,
        _ => LoadFault::Reset,
    }
}
