use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::task::Poll;

use tokio::net::UdpSocket;

use crate::base::{Lack, PhoneId};
use crate::net::{Arrival, FleetSocket, lack_of, listen};

use super::address::{address_from, first_address, phone_from};

/// The UDP sockets of a worker: a few for all its phones, or one per transfer in flight where
/// phones must share the host's address.
#[derive(Debug)]
pub enum Sockets {
    /// Each phone has its own address; transfers of one phone take turns on the sockets, because
    /// real phones use a new port each time and some servers ignore one they have just served.
    PerPhone {
        /// The sockets.
        sockets: Vec<FleetSocket>,
        /// The server's host.
        server: Ipv4Addr,
        /// The first phone's address.
        first: Ipv4Addr,
    },
    /// All phones share this host's address: one transfer per socket.
    Shared {
        /// The sockets.
        sockets: Vec<UdpSocket>,
        /// The phone that uses a socket now.
        owners: Vec<Option<usize>>,
        /// Sockets without an owner; the one that has rested longest is used next.
        free: VecDeque<usize>,
        /// The server's host.
        server: IpAddr,
    },
}

/// What a socket has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A datagram of `length` bytes for a phone, from a port of the server's host.
    Datagram {
        /// The phone: its number, or its place if sockets are shared.
        phone: Recipient,
        /// Socket on which it came.
        socket: usize,
        /// The server's port.
        port: u16,
        /// Number of bytes.
        length: usize,
    },
    /// Nobody listens where this phone sent to.
    Refused {
        /// The phone.
        phone: Recipient,
    },
    /// Something that is not for any phone.
    Other,
}

/// Whom a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The phone with this number.
    Phone(PhoneId),
    /// The phone at this place of the worker.
    Place(usize),
}

/// Sockets per worker when each phone has its own address.
const SOCKETS_PER_WORKER: usize = 4;
/// Most sockets per worker when phones share one address.
pub const SHARED_SOCKETS_MAX: usize = 1_024;

impl Sockets {
    /// Opens the sockets towards `server` for at most `in_flight` transfers. Must be called
    /// within a tokio runtime.
    pub fn open(server: SocketAddr, in_flight: usize) -> io::Result<Sockets> {
        Sockets::open_from(server, in_flight, first_address(server))
    }

    /// Like [`Sockets::open`] with the addresses from `first` on, which the host must have, or
    /// with one shared address.
    pub fn open_from(
        server: SocketAddr,
        in_flight: usize,
        first: Option<Ipv4Addr>,
    ) -> io::Result<Sockets> {
        match (first, server.ip()) {
            (Some(first), IpAddr::V4(server)) => Ok(Sockets::PerPhone {
                sockets: (0..SOCKETS_PER_WORKER)
                    .map(|_| FleetSocket::bind())
                    .collect::<io::Result<_>>()?,
                server,
                first,
            }),
            (_, host) => {
                let count = in_flight.clamp(1, SHARED_SOCKETS_MAX);
                let sockets =
                    (0..count).map(|_| shared_socket(host)).collect::<io::Result<Vec<_>>>()?;
                Ok(Sockets::Shared {
                    owners: vec![None; count],
                    free: (0..count).collect(),
                    sockets,
                    server: host,
                })
            }
        }
    }

    /// Number of sockets.
    pub fn count(&self) -> usize {
        match self {
            Sockets::PerPhone { sockets, .. } => sockets.len(),
            Sockets::Shared { sockets, .. } => sockets.len(),
        }
    }

    /// Number of transfers that can be in flight, if the sockets bound it.
    pub fn capacity(&self) -> Option<usize> {
        match self {
            Sockets::PerPhone { .. } => None,
            Sockets::Shared { sockets, .. } => Some(sockets.len()),
        }
    }

    /// Takes a socket for the `turn`-th transfer of the phone at `place`.
    pub fn take(&mut self, place: usize, turn: u32) -> usize {
        match self {
            Sockets::PerPhone { sockets, .. } => turn as usize % sockets.len(),
            Sockets::Shared { owners, free, .. } => {
                let socket = free.pop_front().expect("transfers in flight are bounded by sockets");
                owners[socket] = Some(place);
                socket
            }
        }
    }

    /// Gives a socket back.
    pub fn give_back(&mut self, socket: usize) {
        if let Sockets::Shared { owners, free, .. } = self {
            owners[socket] = None;
            free.push_back(socket);
        }
    }

    /// Gives a socket back whose transfer the server may still go on with: one that has no other
    /// address is closed, and its place gets a new port.
    pub fn give_back_unended(&mut self, socket: usize) {
        if let Sockets::Shared { sockets, server, .. } = self
            && let Ok(fresh) = shared_socket(*server)
        {
            sockets[socket] = fresh;
        }
        self.give_back(socket);
    }

    /// Sends a datagram of a phone; one that the host does not take is as good as lost. Says what
    /// the host lacked for it.
    pub fn send(&self, socket: usize, phone: PhoneId, port: u16, bytes: &[u8]) -> Option<Lack> {
        let sent = match self {
            Sockets::PerPhone { sockets, server, first } => {
                let to = SocketAddrV4::new(*server, port);
                sockets[socket].send(address_from(*first, phone), to, bytes)
            }
            Sockets::Shared { sockets, server, .. } => {
                sockets[socket].try_send_to(bytes, SocketAddr::new(*server, port)).map(drop)
            }
        };
        // The transfer's own timer repeats what was lost.
        let error = sent.err()?;
        let is_full = error.kind() == io::ErrorKind::WouldBlock;
        if is_full { Some(Lack::Memory) } else { lack_of(&error) }
    }

    /// Waits until one of the sockets has something; the sockets to look at are in `ready`.
    pub async fn ready(&self, ready: &mut Vec<usize>) {
        ready.clear();
        match self {
            Sockets::PerPhone { sockets, .. } => {
                let mut waits: Vec<_> = sockets.iter().map(|s| Box::pin(s.ready())).collect();
                poll_fn(|context| {
                    for (socket, wait) in waits.iter_mut().enumerate() {
                        if wait.as_mut().poll(context).is_ready() {
                            ready.push(socket);
                        }
                    }
                    if ready.is_empty() { Poll::Pending } else { Poll::Ready(()) }
                })
                .await;
            }
            Sockets::Shared { sockets, .. } => {
                poll_fn(|context| {
                    for (socket, udp) in sockets.iter().enumerate() {
                        if udp.poll_recv_ready(context).is_ready() {
                            ready.push(socket);
                        }
                    }
                    if ready.is_empty() { Poll::Pending } else { Poll::Ready(()) }
                })
                .await;
            }
        }
    }

    /// Receives one datagram from a socket, or `None` if nothing is there.
    pub fn receive(&mut self, socket: usize, buffer: &mut [u8]) -> Option<Received> {
        match self {
            Sockets::PerPhone { sockets, server, first } => {
                let phone_at = |to| phone_from(*first, to);
                match sockets[socket].receive(buffer).ok()?? {
                    Arrival::Datagram { from, to, length } if from.ip() == server => {
                        Some(phone_at(to).map_or(Received::Other, |phone| Received::Datagram {
                            phone: Recipient::Phone(phone),
                            socket,
                            port: from.port(),
                            length,
                        }))
                    }
                    Arrival::Datagram { .. } => Some(Received::Other),
                    Arrival::Refused { to } => {
                        Some(phone_at(to).map_or(Received::Other, |phone| Received::Refused {
                            phone: Recipient::Phone(phone),
                        }))
                    }
                }
            }
            Sockets::Shared { sockets, owners, server, .. } => {
                let (length, from) = sockets[socket].try_recv_from(buffer).ok()?;
                let owner = owners[socket].filter(|_| from.ip() == *server);
                Some(owner.map_or(Received::Other, |place| Received::Datagram {
                    phone: Recipient::Place(place),
                    socket,
                    port: from.port(),
                    length,
                }))
            }
        }
    }
}

/// A socket on any address of this host and a port that the host chooses.
fn shared_socket(server: IpAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::from_std(listen::udp(SocketAddr::new(any, 0))?)
}
