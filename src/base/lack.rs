use std::fmt;

/// What this program, which plays the phones, may lack on its host. Never a fault of a server or
/// of a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lack {
    /// A turn on a CPU in time.
    Cpu,
    /// A file descriptor (`EMFILE`, `ENFILE`).
    Descriptor,
    /// Memory or room in a buffer of the kernel (`ENOMEM`, `ENOBUFS`).
    Memory,
    /// A place among the transfers, lookups or connections in flight.
    Place,
    /// A free port or an address (`EADDRNOTAVAIL`, `EADDRINUSE`).
    Port,
    /// A thread (`EAGAIN` when one is started).
    Thread,
}

impl Lack {
    /// Every lack.
    pub const ALL: [Lack; 6] =
        [Lack::Cpu, Lack::Descriptor, Lack::Memory, Lack::Place, Lack::Port, Lack::Thread];

    /// One word for keys of documents.
    pub const fn name(self) -> &'static str {
        match self {
            Lack::Cpu => "cpu",
            Lack::Descriptor => "descriptor",
            Lack::Memory => "memory",
            Lack::Place => "place",
            Lack::Port => "port",
            Lack::Thread => "thread",
        }
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
