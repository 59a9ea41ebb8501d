//! Phones and cluster against each other in virtual time: same logic, real bytes, real trust
//! lists, signatures verified once per (file, key) and remembered.
//!
//! Must not read a clock, open a socket, use tokio or iterate a hash map: the digest of a run
//! depends on plan and seed alone.

mod calls;
mod digest;
mod ears;
mod engine;
mod event;
mod explore;
mod files;
mod fleet;
mod guesses;
mod http;
mod knob;
mod link;
mod machines;
mod network;
mod pace;
mod pages;
mod places;
mod queue;
mod run;
mod servers;
mod session;
mod station;
mod tftp;
mod transfer;
mod watches;
mod watching;
mod world;

pub use explore::{Axis, combinations, largest, play_all, ranked, try_guesses};
pub use fleet::{Seen, Witness};
pub use queue::Queue;
pub use run::{Recorded, SimOptions, SimRun};
pub use world::World;
