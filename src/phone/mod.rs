//! One phone without I/O: boot order, trust decision, TVS cache, outcome.
//!
//! Must not read a clock, open a socket or know a cluster: bytes in, actions and facts out.
//! `swarm` and `sim` drive it.

mod profile;

pub use profile::{FILE_SIZE_MAX, PhoneProfile};
