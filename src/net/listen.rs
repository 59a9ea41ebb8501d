//! Sockets that wait for others: UDP with a large receive buffer, TCP with a long backlog.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{SockaddrStorage, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

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
    let v4 = |from: &SockaddrStorage| from.as_sockaddr_in().map(|at| SocketAddr::V4((*at).into()));
    let v6 = |from: &SockaddrStorage| from.as_sockaddr_in6().map(|at| SocketAddr::V6((*at).into()));
    let from = from.as_ref().and_then(|from| v4(from).or_else(|| v6(from)));
    Ok((length, from.ok_or(io::ErrorKind::AddrNotAvailable)?))
}

/// The bytes of receive buffer that the host granted to a socket.
pub fn receive_buffer(socket: &UdpSocket) -> io::Result<usize> {
    // Linux reports twice what can be asked for: its book-keeping counts.
    Ok(socket2::SockRef::from(socket).recv_buffer_size()? / 2)
}

/// A non-blocking TCP listener at `address`; port 0 lets the host choose.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, Type::STREAM, Protocol::TCP)?;
    // A restarted service gets its port back while connections of before still linger.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

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
