//! Time, units, identities, host names and random streams: what every floor may use.
//!
//! Nothing here reads a clock, a socket or the operating system's randomness.

mod hosts;
mod ids;
mod random;
mod time;

pub use hosts::HostTable;
pub use ids::{DeviceName, NodeId, PhoneId};
pub use random::{Purpose, Stream, stream};
pub use time::{Span, Time};
