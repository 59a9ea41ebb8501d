//! Sockets that wait for others: UDP with a large receive buffer, TCP with a long backlog.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{
    ControlMessage, MsgFlags, SockaddrStorage, getsockopt, recvfrom, sendmsg, setsockopt,
};
use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

/// Bytes of receive buffer that are asked for: 2,000 phones that start at once overflow the
/// default of 212,992, which holds 277 requests.
pub const RECEIVE_BUFFER: usize = 4 * 1_024 * 1_024;
/// Connections that may wait to be accepted; the host may allow fewer.
pub const BACKLOG: i32 = 4_096;

/// A non-blocking UDP socket at `address` with large buffers; port 0 lets the host choose.
pub fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_send_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Takes a datagram that is there now, whatever a runtime knows of the socket.
///
/// # Errors
/// `WouldBlock` if none is there.
pub fn receive_now(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    let (length, from) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), buffer)?;
    let from = from.as_ref().and_then(address_of);
    Ok((length, from.ok_or(io::ErrorKind::AddrNotAvailable)?))
}

/// The address of IP that the host has told.
pub(super) fn address_of(told: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = told.as_sockaddr_in().map(|at| SocketAddr::V4((*at).into()));
    v4.or_else(|| told.as_sockaddr_in6().map(|at| SocketAddr::V6((*at).into())))
}

/// Sends datagrams of `length` bytes each, the last of which may be shorter, in one go: the host cuts
/// `bytes` where they end (`UDP_SEGMENT`).
///
/// # Errors
/// If the socket is full, or if one of them is too long for the way to `to`; none is sent then.
pub fn send_together(
    socket: &tokio::net::UdpSocket,
    bytes: &[u8],
    length: usize,
    to: SocketAddr,
) -> io::Result<()> {
    let length = u16::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
    let (pieces, to) = ([IoSlice::new(bytes)], SockaddrStorage::from(to));
    let control = [ControlMessage::UdpGsoSegments(&length)];
    socket.try_io(Interest::WRITABLE, || {
        sendmsg(socket.as_raw_fd(), &pieces, &control, MsgFlags::empty(), Some(&to))
            .map(drop)
            .map_err(io::Error::from)
    })
}

/// The most datagrams that may wait in a UDP socket at this moment; `None` if the host does not tell.
pub fn waiting_most(socket: &impl AsFd) -> Option<usize> {
    let bytes = getsockopt(socket, MemoryOfReceived).ok()?;
    Some((bytes / DATAGRAM_MEMORY_LEAST) as usize)
}

/// Bytes that Linux counts at least for a datagram that waits: its buffer and the two records of it.
const DATAGRAM_MEMORY_LEAST: u32 = 512;

/// The bytes of receive buffer that the host granted to a socket.
pub fn receive_buffer(socket: &UdpSocket) -> io::Result<usize> {
    // Linux reports twice what can be asked for: its book-keeping counts.
    Ok(socket2::SockRef::from(socket).recv_buffer_size()? / 2)
}

/// A non-blocking TCP listener at `address`; port 0 lets the host choose. What it accepts sends
/// without waiting for acknowledgements (`TCP_NODELAY`).
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, Type::STREAM, Protocol::TCP)?;
    // A restarted service gets its port back while connections of before still linger.
    socket.set_reuse_address(true)?;
    // Connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Lets a listener wait about a second for the first words of a peer before a connection comes up:
/// one that speaks at once then costs one wake-up, not two. Silent ones come up as well, later.
///
/// # Errors
/// What the host said; without it connections come up at once.
pub fn defer(listener: &TcpListener) -> io::Result<()> {
    setsockopt(listener, DeferAccept, &SPEAKS_WITHIN_S).map_err(io::Error::from)
}

/// Seconds.
const SPEAKS_WITHIN_S: u32 = 1;

sockopt_impl!(
    /// `TCP_DEFER_ACCEPT` of Linux, which neither `nix` nor `socket2` has of its own.
    DeferAccept,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    u32
);

sockopt_impl!(
    /// The first number of Linux' `SO_MEMINFO`: bytes of what has been received and not read.
    MemoryOfReceived,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    u32
);

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_sockets_have_a_port_and_a_known_buffer() {
        let socket = udp("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(socket.local_addr().unwrap().port(), 0);
        let granted = receive_buffer(&socket).unwrap();
        assert!((2_048..=RECEIVE_BUFFER).contains(&granted), "{granted}");
        let taken = udp(socket.local_addr().unwrap()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_datagram_that_is_there_is_taken_at_once_and_none_is_waited_for() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = udp(address.parse().unwrap()) else { continue };
            let mut buffer = [0; 8];
            let nothing = receive_now(&socket, &mut buffer).unwrap_err();
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
            let here = socket.local_addr().unwrap();
            socket.send_to(b"now", here).unwrap();
            assert_eq!(receive_now(&socket, &mut buffer).unwrap(), (3, here));
        }
    }

    #[test]
    fn a_socket_tells_how_many_datagrams_may_wait_in_it() {
        let socket = udp("127.0.0.1:0".parse().unwrap()).unwrap();
        let here = socket.local_addr().unwrap();
        let Some(none) = waiting_most(&socket) else { return };
        assert_eq!(none, 0);
        for sent in 1..=100 {
            socket.send_to(&[0; 4], here).unwrap();
            let most = waiting_most(&socket).unwrap();
            assert!((sent..=sent * 4).contains(&most), "{most} for {sent}");
        }
        while receive_now(&socket, &mut [0; 8]).is_ok() {}
        assert_eq!(waiting_most(&socket), Some(0));
    }

    #[tokio::test]
    async fn what_is_sent_together_arrives_one_by_one() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = udp(address.parse().unwrap()) else { continue };
            let sender = tokio::net::UdpSocket::from_std(udp(address.parse().unwrap()).unwrap());
            let (sender, here) = (sender.unwrap(), socket.local_addr().unwrap());
            sender.writable().await.unwrap();
            send_together(&sender, b"one, two, end", 5, here).unwrap();
            let mut buffer = [0; 64];
            for piece in [&b"one, "[..], b"two, ", b"end"] {
                let (length, from) = receive_now(&socket, &mut buffer).unwrap();
                assert_eq!((&buffer[..length], from), (piece, sender.local_addr().unwrap()));
            }
            let too_long = vec![0; 40_000 * 2];
            send_together(&sender, &too_long, 40_000, here).unwrap_err();
        }
    }

    #[test]
    fn a_connection_comes_up_with_the_first_words_of_its_peer() {
        use std::io::{Read, Write};
        let listener = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        defer(&listener).unwrap();
        let here = listener.local_addr().unwrap();
        let silent = std::net::TcpStream::connect(here).unwrap();
        let mut speaker = std::net::TcpStream::connect(here).unwrap();
        speaker.write_all(b"hello").unwrap();
        listener.set_nonblocking(false).unwrap();
        let (mut first, peer) = listener.accept().unwrap();
        assert_eq!(peer, speaker.local_addr().unwrap());
        assert!(first.nodelay().unwrap(), "it inherits this");
        let mut words = [0; 5];
        first.read_exact(&mut words).unwrap();
        assert_eq!(words, *b"hello");
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, silent.local_addr().unwrap(), "silent ones come up, too");
    }

    #[test]
    fn tcp_listeners_take_connections_of_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = match tcp(address.parse().unwrap()) {
                Ok(listener) => listener,
                // A host without IPv6.
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => continue,
                Err(error) => panic!("{address}: {error}"),
            };
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let taken = tcp(listener.local_addr().unwrap()).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        }
    }
}
