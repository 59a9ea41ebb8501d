use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream};

use crate::base::PhoneId;

/// The first phone's address: 127.0.0.0/24 is left to servers (`decisions.md`, concurrency).
pub(super) const FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 0);

/// The first phone's address towards `server` where each has one of its own, in 127.0.0.0/8: the
/// server is on this host. `None` where all share that of this host: it is elsewhere, or IPv6.
pub fn first_address(server: SocketAddr) -> Option<Ipv4Addr> {
    matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback()).then_some(FIRST)
}

/// The address of a phone on the loopback; numbers are at most 16,000,000, so that the last
/// address is below 127.255.255.255.
pub fn phone_address(phone: PhoneId) -> Ipv4Addr {
    address_from(FIRST, phone)
}

/// The address of a phone where the first one has `first`.
pub fn address_from(first: Ipv4Addr, phone: PhoneId) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(first).wrapping_add(phone.0))
}

/// The phone with this address where the first one has `first`.
pub(super) fn phone_from(first: Ipv4Addr, address: Ipv4Addr) -> Option<PhoneId> {
    u32::from(address).checked_sub(u32::from(first)).map(PhoneId)
}

/// Connects to `server` from `source` if that is an address that phones can have towards it.
pub async fn connect(server: SocketAddr, source: Ipv4Addr) -> io::Result<TcpStream> {
    connect_from(server, first_address(server).map(|_| source)).await
}

/// Connects to `server` from `source`, or from the address that the host chooses.
pub async fn connect_from(server: SocketAddr, source: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        // The port is chosen at connect, when the kernel knows both ends: each phone has all of
        // them.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        socket.bind(SocketAddr::new(source.into(), 0))?;
    }
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_and_addresses_name_each_other() {
        for number in [0, 1, 255, 256, 65_536, 15_999_999] {
            let address = phone_address(PhoneId(number));
            assert!(address.is_loopback() && address != Ipv4Addr::new(127, 255, 255, 255));
            assert_eq!(phone_from(FIRST, address), Some(PhoneId(number)));
        }
        assert_eq!(phone_from(FIRST, Ipv4Addr::LOCALHOST), None, "servers live there");
    }

    #[test]
    fn only_ipv4_loopback_servers_see_an_address_per_phone() {
        let first = |text: &str| first_address(text.parse().unwrap());
        assert_eq!(first("127.0.0.2:69"), Some(FIRST));
        assert_eq!(first("[::1]:69"), None);
        assert_eq!(first("192.0.2.1:69"), None);
    }
}
