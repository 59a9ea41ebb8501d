use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;

use tokio::net::UdpSocket;

use crate::base::{Lack, PhoneId, Span, Time};
use crate::net::{Arrival, FleetSocket, lack_of, listen};

use super::address::{FIRST, address_from, first_address, phone_from};

/// The UDP sockets of a worker, by their numbers: a few for all its phones, and one per transfer in
/// flight towards servers where phones must share the host's address.
#[derive(Debug)]
pub struct Sockets {
    /// The first numbers: transfers of one phone, which has its own address, take turns on them,
    /// because real phones use a new port each time and some servers ignore one they have just
    /// served.
    own: Vec<FleetSocket>,
    /// The first phone's address, and whether phones have theirs towards every IPv4 server.
    first: Ipv4Addr,
    everywhere: bool,
    /// The numbers behind those.
    shared: Vec<Shared>,
    /// Shared sockets without an owner, of IPv4 and of IPv6; the one that has rested longest is
    /// used next.
    free: [VecDeque<usize>; 2],
    /// When the runtime was last given time to see which sockets have something.
    seen_at: Time,
}

/// How long a busy socket may keep the runtime from seeing the others (choice: far below the time-out
/// of any transfer).
const SEEN_EVERY: Span = Span::from_millis(1);

/// One transfer at a time.
#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    is_ipv6: bool,
    /// The place of the phone that uses it now.
    owner: Option<usize>,
}

/// What a socket has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A datagram of `length` bytes for a phone.
    Datagram {
        /// The phone: its number, or its place if sockets are shared.
        phone: Recipient,
        /// Socket on which it came.
        socket: usize,
        /// Who sent it: somebody who is no server of the phone may have.
        from: SocketAddr,
        /// Number of bytes.
        length: usize,
    },
    /// Nobody listens where this phone sent to.
    Refused {
        /// The phone.
        phone: Recipient,
        /// Socket on which it had sent.
        socket: usize,
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

/// Sockets per worker for phones that have their own addresses.
const OWN_SOCKETS: usize = 4;
/// Most sockets per worker when phones share one address.
pub const SHARED_SOCKETS_MAX: usize = 1_024;

impl Sockets {
    /// No sockets yet. Phones have addresses of their own from `first` on, which the host must
    /// have, towards every IPv4 server; without it on the loopback only.
    pub fn new(first: Option<Ipv4Addr>) -> Sockets {
        Sockets {
            own: Vec::new(),
            first: first.unwrap_or(FIRST),
            everywhere: first.is_some(),
            shared: Vec::new(),
            free: Default::default(),
            seen_at: Time::ZERO,
        }
    }

    /// Opens what is missing for at most `in_flight` transfers with `server`. Must be called within
    /// a tokio runtime.
    ///
    /// # Errors
    /// If the host has no socket left.
    pub fn open(&mut self, server: SocketAddr, in_flight: usize) -> io::Result<()> {
        let is_ipv6 = server.is_ipv6();
        if self.has_own(server) && self.own.is_empty() {
            self.own = (0..OWN_SOCKETS).map(|_| FleetSocket::bind()).collect::<io::Result<_>>()?;
        } else if !self.has_own(server) && self.shared.iter().all(|one| one.is_ipv6 != is_ipv6) {
            for _ in 0..in_flight.clamp(1, SHARED_SOCKETS_MAX) {
                let socket = shared_socket(is_ipv6)?;
                self.free[usize::from(is_ipv6)].push_back(OWN_SOCKETS + self.shared.len());
                self.shared.push(Shared { socket, is_ipv6, owner: None });
            }
        }
        Ok(())
    }

    /// Whether phones have addresses of their own towards `server`.
    fn has_own(&self, server: SocketAddr) -> bool {
        first_address(server).is_some() || (self.everywhere && server.is_ipv4())
    }

    /// The numbers of all sockets are below this.
    pub fn count(&self) -> usize {
        OWN_SOCKETS + self.shared.len()
    }

    /// Number of transfers that can be in flight, if the sockets bound it.
    pub fn capacity(&self) -> Option<usize> {
        Some(self.shared.len()).filter(|&sockets| sockets > 0)
    }

    /// Whether there is a socket for one more transfer with `server`.
    pub fn has_room(&self, server: SocketAddr) -> bool {
        let free = &self.free[usize::from(server.is_ipv6())];
        if self.has_own(server) { !self.own.is_empty() } else { !free.is_empty() }
    }

    /// Takes a socket for the `turn`-th transfer of the phone at `place`, which is with `server`.
    pub fn take(&mut self, place: usize, turn: u32, server: SocketAddr) -> usize {
        if self.has_own(server) {
            return turn as usize % OWN_SOCKETS;
        }
        let free = &mut self.free[usize::from(server.is_ipv6())];
        let socket = free.pop_front().expect("transfers in flight are bounded by sockets");
        self.shared[socket - OWN_SOCKETS].owner = Some(place);
        socket
    }

    fn shared(&mut self, socket: usize) -> Option<&mut Shared> {
        self.shared.get_mut(socket.checked_sub(OWN_SOCKETS)?)
    }

    /// Gives a socket back.
    pub fn give_back(&mut self, socket: usize) {
        if let Some(shared) = self.shared(socket) {
            shared.owner = None;
            let is_ipv6 = shared.is_ipv6;
            self.free[usize::from(is_ipv6)].push_back(socket);
        }
    }

    /// Gives a socket back whose transfer the server may still go on with: one that has no other
    /// address is closed, and its place gets a new port.
    pub fn give_back_unended(&mut self, socket: usize) {
        if let Some(shared) = self.shared(socket)
            && let Ok(fresh) = shared_socket(shared.is_ipv6)
        {
            shared.socket = fresh;
        }
        self.give_back(socket);
    }

    /// Sends a datagram of a phone to `to`, on a socket that was taken for that host; one that this
    /// host does not take is as good as lost. Says what the host lacked for it.
    pub fn send(
        &self,
        socket: usize,
        phone: PhoneId,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Option<Lack> {
        let sent = match (self.own.get(socket), to) {
            (Some(own), SocketAddr::V4(to)) => own.send(address_from(self.first, phone), to, bytes),
            _ => self.shared[socket - OWN_SOCKETS].socket.try_send_to(bytes, to).map(drop),
        };
        // The transfer's own timer repeats what was lost.
        let error = sent.err()?;
        let is_full = error.kind() == io::ErrorKind::WouldBlock;
        if is_full { Some(Lack::Memory) } else { lack_of(&error) }
    }

    /// Waits until one of the sockets has something, then those to look at are in `ready`, or until
    /// `other` is ready, then this is its output.
    pub async fn wait<T>(
        &mut self,
        now: Time,
        ready: &mut Vec<usize>,
        other: impl Future<Output = T>,
    ) -> Option<T> {
        // As long as one socket has something each time, a runtime of one thread never learns what
        // has come to the others.
        if now.since(self.seen_at) >= SEEN_EVERY {
            self.seen_at = now;
            tokio::task::yield_now().await;
        }
        ready.clear();
        tokio::select! {
            () = self.ready(ready) => None,
            other = other => Some(other),
        }
    }

    async fn ready(&self, ready: &mut Vec<usize>) {
        let mut waits: Vec<_> = self.own.iter().map(|own| Box::pin(own.ready())).collect();
        poll_fn(|context| {
            for (socket, wait) in waits.iter_mut().enumerate() {
                if wait.as_mut().poll(context).is_ready() {
                    ready.push(socket);
                }
            }
            for (socket, shared) in (OWN_SOCKETS..).zip(&self.shared) {
                if shared.socket.poll_recv_ready(context).is_ready() {
                    ready.push(socket);
                }
            }
            if ready.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Receives one datagram from a socket, or `None` if nothing is there.
    pub fn receive(&mut self, socket: usize, buffer: &mut [u8]) -> Option<Received> {
        let Some(own) = self.own.get_mut(socket) else {
            let Shared { socket: udp, owner, .. } = self.shared(socket)?;
            let (length, from) = udp.try_recv_from(buffer).ok()?;
            return Some(owner.map_or(Received::Other, |place| Received::Datagram {
                phone: Recipient::Place(place),
                socket,
                from,
                length,
            }));
        };
        let (to, came) = match own.receive(buffer).ok()?? {
            Arrival::Datagram { from, to, length } => (to, Some((from, length))),
            Arrival::Refused { to } => (to, None),
        };
        let Some(phone) = phone_from(self.first, to).map(Recipient::Phone) else {
            return Some(Received::Other);
        };
        Some(came.map_or(Received::Refused { phone, socket }, |(from, length)| {
            Received::Datagram { phone, socket, from: from.into(), length }
        }))
    }
}

/// A socket on any address of this host and a port that the host chooses.
fn shared_socket(is_ipv6: bool) -> io::Result<UdpSocket> {
    let any: IpAddr =
        if is_ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    UdpSocket::from_std(listen::udp(SocketAddr::new(any, 0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_always_busy_hides_no_other_one() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = server.local_addr().unwrap();
        let (mut sockets, mut ready, mut buffer) = (Sockets::new(None), Vec::new(), [0; 64]);
        sockets.open(to, 1).unwrap();
        let phone = PhoneId(7);
        let mut ports = Vec::new();
        for socket in [0, 1] {
            assert_eq!(sockets.send(socket, phone, to, b"?"), None);
            ports.push(server.recv_from(&mut buffer).await.unwrap().1);
        }
        // The second one is known to have nothing; then it has, while the first one always has.
        assert_eq!(sockets.receive(1, &mut buffer), None);
        for _ in 0..100 {
            server.send_to(b"first", ports[0]).await.unwrap();
        }
        sockets.wait(Time::ZERO, &mut ready, std::future::pending::<()>()).await;
        assert_eq!(ready, [0]);
        server.send_to(b"second", ports[1]).await.unwrap();
        for turn in 1..=50 {
            let now = Time::ZERO + Span::from_millis(turn);
            sockets.wait(now, &mut ready, std::future::pending::<()>()).await;
            assert!(ready.contains(&0), "the first one is busy");
            if ready.contains(&1) {
                return;
            }
            assert!(sockets.receive(0, &mut buffer).is_some());
        }
        panic!("nobody has looked at the second socket");
    }
}
