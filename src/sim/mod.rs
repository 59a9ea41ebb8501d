//! Phones and cluster against each other in virtual time: same logic, real bytes, real trust
//! lists, signatures verified once per (file, key) and remembered.
//!
//! Must not read a clock, open a socket, use tokio or iterate a hash map: the digest of a run
//! depends on plan and seed alone.

mod digest;
mod explore;
mod files;
mod guesses;
mod knob;
mod link;
mod lookups;
mod machines;
mod pace;
mod places;
mod queue;
mod session;
mod station;
mod tftp;
mod world;

pub use explore::{Axis, combinations, largest, play_all, ranked};
pub use guesses::{Guess, guesses, try_guesses};
pub use world::{Seen, SimOptions, SimRun, Witness, World};
