//! What can be said of a plan before it runs: what it will ask of servers and host, and what is
//! likely not meant.
//!
//! Reads plans; no clock, no file, no socket.

mod budget;
mod warnings;

pub use budget::{Budget, GroupBudget, Lookups, ModelBudget, NodeBudget, Requests, Wave};
pub use warnings::warnings;
