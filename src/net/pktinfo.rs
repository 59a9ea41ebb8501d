use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use nix::{cmsg_space, libc, setsockopt_impl, sockopt_impl};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::listen;

/// One UDP socket that carries the datagrams of many phones: each is sent from the phone's own
/// address and each incoming one names the phone by its destination (`IP_PKTINFO`).
///
/// One descriptor serves sixteen million phones, and a server sees a client address for each.
#[derive(Debug)]
pub struct FleetSocket {
    socket: UdpSocket,
    control: Vec<u8>,
}

/// A datagram that has arrived, or the news that one could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// `length` bytes in the buffer.
    Datagram {
        /// Who sent it.
        from: SocketAddrV4,
        /// The phone's address.
        to: Ipv4Addr,
        /// Number of bytes.
        length: usize,
    },
    /// The host says that nobody listens where this phone sent to (`IP_RECVERR`).
    Refused {
        /// The phone's address.
        to: Ipv4Addr,
    },
}

sockopt_impl!(
    /// `IP_MTU_DISCOVER` of Linux. What phones say over UDP fits any way: with "do not fragment" said
    /// for good, the host need not choose an identification for each datagram.
    MtuDiscover,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    libc::c_int
);

impl FleetSocket {
    /// Binds to any address and a port that the operating system chooses. Must be called within a
    /// tokio runtime.
    pub fn bind() -> io::Result<FleetSocket> {
        let socket = listen::udp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into())?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        // A host that cannot costs a little more.
        let _ = setsockopt(&socket, MtuDiscover, &libc::IP_PMTUDISC_DO);
        Ok(FleetSocket {
            socket: UdpSocket::from_std(socket)?,
            control: cmsg_space!(libc::in_pktinfo, libc::sock_extended_err, libc::sockaddr_in),
        })
    }

    /// Sends one datagram from `from`; a full send buffer is `WouldBlock`, as if it were lost.
    pub fn send(&self, from: Ipv4Addr, to: SocketAddrV4, bytes: &[u8]) -> io::Result<()> {
        let source = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from(from).to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let control = [ControlMessage::Ipv4PacketInfo(&source)];
        let (pieces, to) = ([IoSlice::new(bytes)], SockaddrIn::from(to));
        let descriptor = self.socket.as_raw_fd();
        let send = || sendmsg(descriptor, &pieces, &control, MsgFlags::empty(), Some(&to));
        match send() {
            // An earlier datagram was refused: the error belongs to that one, not to this.
            Err(nix::Error::ECONNREFUSED) => send().map(drop).map_err(io::Error::from),
            result => result.map(drop).map_err(io::Error::from),
        }
    }

    /// Waits until a datagram or the news of an undelivered one can be received.
    pub async fn ready(&self) -> io::Result<()> {
        self.socket.ready(Interest::READABLE | Interest::ERROR).await.map(drop)
    }

    /// Receives one datagram, or `None` if nothing is there.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        let datagram = self.try_receive(Interest::READABLE, MsgFlags::empty(), buffer)?;
        match datagram {
            Some(arrival) => Ok(Some(arrival)),
            None => self.try_receive(Interest::ERROR, MsgFlags::MSG_ERRQUEUE, buffer),
        }
    }

    fn try_receive(
        &mut self,
        interest: Interest,
        flags: MsgFlags,
        buffer: &mut [u8],
    ) -> io::Result<Option<Arrival>> {
        let descriptor = self.socket.as_raw_fd();
        let control = &mut self.control;
        let received = self.socket.try_io(interest, || {
            loop {
                match receive_one(descriptor, buffer, control, flags) {
                    // Said once for each entry of the error queue, which is read on its own.
                    Err(nix::Error::ECONNREFUSED) => {}
                    other => return other.map_err(io::Error::from),
                }
            }
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            other => other,
        }
    }
}

fn receive_one(
    descriptor: i32,
    buffer: &mut [u8],
    control: &mut [u8],
    flags: MsgFlags,
) -> nix::Result<Option<Arrival>> {
    let mut pieces = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn>(descriptor, &mut pieces, Some(control), flags)?;
    let (mut to, mut refused) = (None, false);
    for item in message.cmsgs()? {
        match item {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                to = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)));
            }
            ControlMessageOwned::Ipv4RecvErr(error, _) => {
                refused = error.ee_errno == libc::ECONNREFUSED as u32;
            }
            _ => {}
        }
    }
    let Some(to) = to else { return Ok(None) };
    if flags.contains(MsgFlags::MSG_ERRQUEUE) {
        return Ok(refused.then_some(Arrival::Refused { to }));
    }
    let from = message.address.map(SocketAddrV4::from);
    Ok(from.map(|from| Arrival::Datagram { from, to, length: message.bytes }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn next(socket: &mut FleetSocket, buffer: &mut [u8]) -> Arrival {
        loop {
            tokio::time::timeout(Duration::from_secs(10), socket.ready()).await.unwrap().unwrap();
            if let Some(arrival) = socket.receive(buffer).unwrap() {
                return arrival;
            }
        }
    }

    #[tokio::test]
    async fn each_phone_sends_from_its_own_address_and_is_named_by_the_answer() {
        let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(address) = server.local_addr().unwrap() else { panic!() };
        let mut fleet = FleetSocket::bind().unwrap();
        for phone in [Ipv4Addr::new(127, 1, 0, 7), Ipv4Addr::new(127, 9, 8, 255)] {
            fleet.send(phone, address, b"hello").unwrap();
            let mut buffer = [0; 64];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!((&buffer[..length], from.ip()), (&b"hello"[..], phone.into()));
            server.send_to(b"you", from).await.unwrap();
            let arrival = next(&mut fleet, &mut buffer).await;
            assert_eq!(arrival, Arrival::Datagram { from: address, to: phone, length: 3 });
        }
    }

    #[tokio::test]
    async fn a_port_without_a_listener_is_reported_to_the_phone_that_asked() {
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(address) = nobody.local_addr().unwrap() else { panic!() };
        drop(nobody);
        let mut fleet = FleetSocket::bind().unwrap();
        let phone = Ipv4Addr::new(127, 1, 2, 3);
        fleet.send(phone, address, b"hello").unwrap();
        let arrival = next(&mut fleet, &mut [0; 64]).await;
        assert_eq!(arrival, Arrival::Refused { to: phone });
    }
}
