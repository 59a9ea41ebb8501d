//! Phones and cluster in virtual time: no tokio, no sockets, no clock.
//!
//! Not one rule of a phone or of trust is repeated here: the same [`Phone`](crate::phone::Phone),
//! [`Cluster`](crate::cluster::Cluster) and transfer machines run as in live runs. Datagrams take
//! a fixed time; the same plan gives the same facts and the same digest.

mod world;

pub use world::{Delays, SimRun, World};
