//! Capacity: what a TFTP, HTTP or TVS server carries, ours or anybody's.
//!
//! Open model: starts are planned before they happen and never wait for the server. Knows requests
//! and their right answers, no rule of a phone or a cluster. Imported by `cli` only.

mod schedule;
mod search;

pub use schedule::{Arrival, Offer, Shape, Starts};
pub use search::{Found, Next, Outcome, Phase, Search, SearchPlan, Seen};
