//! The addresses of phones and the few UDP sockets that carry their transfers, for whoever plays
//! phones: `swarm` and `capacity`.

mod address;
mod sockets;

pub use address::{Addresses, FIRST, address_from, connect, connect_from, phone_address, phone_at};
pub use sockets::{Received, Recipient, SHARED_SOCKETS_MAX, Sockets};
