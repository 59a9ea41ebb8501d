//! Time, units, identities, host names, lacks of the host, random streams, ways to end, lengths
//! of time as texts, numbers and lines for people: what every floor may use.
//!
//! Nothing here reads a clock, a socket or the operating system's randomness.

mod calendar;
mod exit;
mod hosts;
mod ids;
mod lack;
pub mod lines;
mod model;
mod named;
mod quantity;
mod random;
mod stop;
mod text;
mod time;
pub mod words;

pub use calendar::Calendar;
pub use exit::ExitCode;
pub use hosts::{HostTable, IpMode};
pub use ids::{ClusterId, DEVICE_NAME_LENGTH, DeviceName, Home, NodeId, PhoneId};
pub use lack::Lack;
pub use model::{Model, ModelError};
pub(crate) use named::{named, words};
pub use quantity::{QuantityError, parse_span};
pub(crate) use quantity::{is_number_part, split_number};
pub use random::{Purpose, Stream, stream};
pub use stop::Stop;
pub use text::{printable, printable_json, wrapped};
pub use time::{Span, Time};
