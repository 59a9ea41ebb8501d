use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

use super::listen::address_of;

/// Datagrams that are handed to the host or taken from it in one go (choice: with more, what one of
/// them saves is no longer seen, and the first waits for the last).
const TOGETHER: usize = 32;

/// Reads what waits in a socket, some datagrams in one call (`recvmmsg`), each at most `LONGEST`
/// bytes: longer ones are cut.
#[derive(Debug)]
pub struct Incoming<const LONGEST: usize> {
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Box<[[u8; LONGEST]; TOGETHER]>,
    read: Vec<(usize, Option<SocketAddr>)>,
}

/// Datagrams for one socket, to be sent in one go (`sendmmsg`).
#[derive(Debug)]
pub struct Outgoing {
    headers: MultiHeaders<SockaddrStorage>,
    bytes: Vec<u8>,
    /// Where each ends in `bytes`.
    ends: Vec<usize>,
    to: Vec<Option<SockaddrStorage>>,
}

/// What came of datagrams that were handed to the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Those that it took.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that it did not take: they are lost.
    pub failed: u64,
}

impl<const LONGEST: usize> Incoming<LONGEST> {
    /// Room for a batch.
    pub fn new() -> Self {
        Incoming {
            headers: MultiHeaders::preallocate(TOGETHER, None),
            buffers: Box::new([[0; LONGEST]; TOGETHER]),
            read: Vec::with_capacity(TOGETHER),
        }
    }

    /// Takes a batch that is there now, whatever a runtime knows of the socket; true if more may
    /// wait, false if nothing is left. Afterwards [`Incoming::get`] has it.
    ///
    /// # Errors
    /// What the host says; no batch then.
    pub fn read(&mut self, socket: &impl AsRawFd) -> io::Result<bool> {
        self.read.clear();
        let mut pieces = self.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let (socket, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let batch = match recvmmsg(socket, &mut self.headers, &mut pieces, flags, None) {
            Err(nix::Error::EAGAIN) => return Ok(false),
            batch => batch?,
        };
        self.read.extend(batch.map(|one| (one.bytes, one.address.as_ref().and_then(address_of))));
        Ok(self.read.len() == TOGETHER)
    }

    /// Datagrams of the batch.
    pub fn len(&self) -> usize {
        self.read.len()
    }

    /// Whether the batch has none.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty()
    }

    /// A datagram of the batch and who sent it; `None` if there are not so many, or if the sender
    /// has no address of IP.
    pub fn get(&self, number: usize) -> Option<(&[u8], SocketAddr)> {
        let &(length, from) = self.read.get(number)?;
        Some((&self.buffers[number][..length], from?))
    }
}

impl<const LONGEST: usize> Default for Incoming<LONGEST> {
    fn default() -> Self {
        Incoming::new()
    }
}

impl Outgoing {
    /// Nothing to send yet.
    pub fn new() -> Self {
        Outgoing {
            headers: MultiHeaders::preallocate(TOGETHER, None),
            bytes: Vec::new(),
            ends: Vec::with_capacity(TOGETHER),
            to: Vec::with_capacity(TOGETHER),
        }
    }

    /// Adds a datagram; true if it is time to send.
    pub fn push(&mut self, bytes: &[u8], to: SocketAddr) -> bool {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.to.push(Some(to.into()));
        self.ends.len() >= TOGETHER
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Sends all of them in their order. One that the host does not take is lost like any other
    /// datagram.
    pub fn send(&mut self, socket: &impl AsRawFd) -> Sent {
        let mut sent = Sent::default();
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let ranges = starts.zip(&self.ends).map(|(start, &end)| start..end);
        let pieces: Vec<_> = ranges.map(|range| [IoSlice::new(&self.bytes[range])]).collect();
        let mut first = 0;
        while first < pieces.len() {
            let last = pieces.len().min(first + TOGETHER);
            let (pieces, to) = (&pieces[first..last], &self.to[first..last]);
            let flags = MsgFlags::MSG_DONTWAIT;
            let taken = sendmmsg(socket.as_raw_fd(), &mut self.headers, pieces, to, [], flags)
                .map_or(0, Iterator::count);
            let bytes: usize = pieces[..taken].iter().map(|[piece]| piece.len()).sum();
            sent.datagrams += taken as u64;
            sent.bytes += bytes as u64;
            first += taken;
            if taken == 0 {
                sent.failed += 1;
                first += 1;
            }
        }
        self.bytes.clear();
        self.ends.clear();
        self.to.clear();
        sent
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Outgoing::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listen;

    #[test]
    fn a_batch_is_read_as_it_was_sent_and_what_is_longer_is_cut() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = listen::udp(address.parse().unwrap()) else { continue };
            let here = socket.local_addr().unwrap();
            let mut outgoing = Outgoing::new();
            for number in 0..TOGETHER + 3 {
                let full = outgoing.push(&vec![number as u8; number], here);
                assert_eq!(full, number + 1 >= TOGETHER);
            }
            let bytes = (0..TOGETHER + 3).sum::<usize>() as u64;
            let all = Sent { datagrams: TOGETHER as u64 + 3, bytes, failed: 0 };
            assert_eq!(outgoing.send(&socket), all);
            assert!(outgoing.is_empty());
            assert_eq!(outgoing.send(&socket), Sent::default());

            let mut incoming = Incoming::<16>::new();
            let mut next = 0;
            for (more, length) in [(true, TOGETHER), (false, 3), (false, 0)] {
                assert_eq!(incoming.read(&socket).unwrap(), more);
                assert_eq!((incoming.len(), incoming.is_empty()), (length, length == 0));
                for number in 0..length {
                    let expected = vec![next as u8; next.min(16)];
                    assert_eq!(incoming.get(number).unwrap(), (&expected[..], here));
                    next += 1;
                }
                assert!(incoming.get(length).is_none());
            }
        }
    }

    #[test]
    fn a_datagram_that_the_host_does_not_take_is_lost_and_the_others_go() {
        let socket = listen::udp("127.0.0.1:0".parse().unwrap()).unwrap();
        let here = socket.local_addr().unwrap();
        let mut outgoing = Outgoing::new();
        for to in [here, "[::1]:9".parse().unwrap(), "[::1]:9".parse().unwrap(), here] {
            outgoing.push(b"four", to);
        }
        assert_eq!(outgoing.send(&socket), Sent { datagrams: 2, bytes: 8, failed: 2 });
        let mut incoming = Incoming::<16>::new();
        assert!(!incoming.read(&socket).unwrap());
        assert_eq!(incoming.len(), 2);
    }
}
