//! One live run: our servers or a target, the swarm, and the operator's timeline between them.
//!
//! The order of things, no rule of a phone or a cluster. Imported by `cli` only.

mod error;
mod places;
mod run;
mod serve;
mod usage;

pub use error::LiveError;
pub use run::{LiveOptions, LiveRun, Observer, run};
pub use serve::serve;
