//! The transfers of a TFTP server without sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use resetstorm::base::Time;
use resetstorm::transfer::{Found, Line, Step, TRANSFER_SOCKETS, Transmit, Uploads};
use resetstorm::wire::tftp::{Options, Packet};

pub const CLIENTS: u32 = 10_000;

pub type Server = Uploads<Arc<[u8]>, ()>;

fn peer(client: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(0x7f01_0000 + client).into(), 2_000)
}

fn request() -> Vec<u8> {
    let mut out = Vec::new();
    Packet::Rrq { file: "SEP000000000001.cnf.xml.sgn", octet: true, options: Options::default() }
        .encode(&mut out);
    out
}

/// Asks for a file and begins its transfer.
pub fn begin(server: &mut Server, client: u32, file: &Arc<[u8]>, now: Time) -> Transmit {
    assert_eq!(server.on_request(peer(client), &request(), now), None);
    let Step::Begin(offer) = server.next_answer(now) else { panic!("there is room") };
    server.begin(offer, Found::Ready(Arc::clone(file))).expect("it is there")
}

/// Acknowledges a block; the length of what comes next, or 0.
pub fn acknowledge(
    server: &mut Server,
    line: Line,
    block: u16,
    now: Time,
    out: &mut Vec<u8>,
) -> usize {
    let [high, low] = block.to_be_bytes();
    let Some(next) = server.on_datagram(line, &[0, 4, high, low], now) else { return 0 };
    let mut sent = 0;
    server.write(next, out, |bytes, _| sent += bytes.len());
    sent
}

/// A request, its one block of 400 bytes and the acknowledgement.
pub fn whole_transfer(
    server: &mut Server,
    client: u32,
    file: &Arc<[u8]>,
    now: Time,
    out: &mut Vec<u8>,
) {
    (0..TRANSFER_SOCKETS as u8).for_each(|socket| server.on_emptied(socket, now));
    while server.on_timeout(now) != Step::Idle {}
    let first = begin(server, client, file, now);
    server.write(first, out, |bytes, _| assert_eq!(bytes.len(), 404));
    assert_eq!(acknowledge(server, first.line, 1, now, out), 0);
}
