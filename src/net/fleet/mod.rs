//! The addresses of phones and the few UDP sockets that carry their transfers, for whoever plays
//! phones: `swarm` and `capacity`.

mod address;
mod sockets;

pub use address::{address_from, connect, connect_from, first_address, phone_address};
pub use sockets::{Received, Recipient, SHARED_SOCKETS_MAX, Sockets};
