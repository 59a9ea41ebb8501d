//! Time, units, identities and random streams: what every floor may use.
//!
//! Nothing here reads a clock, a socket or the operating system's randomness.

mod ids;
mod random;
mod time;

pub use ids::{DeviceName, NodeId, PhoneId};
pub use random::{Purpose, Stream, stream};
pub use time::{Span, Time};
