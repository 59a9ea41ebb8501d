//! One live run: a play whose cues our servers and the swarm follow.
//!
//! The order of things, no rule of a phone or a cluster. Imported by `cli` only.

mod admin;
mod describe;
mod error;
mod options;
mod places;
mod post;
mod run;
mod serve;
mod stage;
mod usage;

pub use admin::{ADMIN_SOCKET, AdminReply, LINE_MAX};
pub use error::LiveError;
pub use options::{LiveOptions, Observer, Wish};
pub use run::{LiveRun, run};
pub use serve::serve;
