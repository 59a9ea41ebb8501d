use std::fmt;

use super::named;

named! {
    /// What this program, which plays the phones, may lack on its host. Never a fault of a server
    /// or of a phone.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Lack {
        /// A turn on a CPU in time.
        Cpu = "cpu",
        /// A file descriptor (`EMFILE`, `ENFILE`).
        Descriptor = "descriptor",
        /// Memory or room in a buffer of the kernel (`ENOMEM`, `ENOBUFS`).
        Memory = "memory",
        /// A place among the transfers, lookups or connections in flight.
        Place = "place",
        /// A free port or an address (`EADDRNOTAVAIL`, `EADDRINUSE`).
        Port = "port",
        /// A thread (`EAGAIN` when one is started).
        Thread = "thread",
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lack::Cpu => "no turn on a CPU",
            Lack::Descriptor => "no descriptor left",
            Lack::Memory => "no memory left",
            Lack::Place => "no place in flight",
            Lack::Port => "no port or address left",
            Lack::Thread => "no thread left",
        })
    }
}
