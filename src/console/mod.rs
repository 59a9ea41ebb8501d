//! The `admin:` console of a node: a line in, a text and at most one action out.
//!
//! No I/O and no clock: a terminal, a socket and a scenario feed it lines and carry out what it asks
//! for. The texts are those of `spec/domain.md` section 12; where that is silent, of public sources.

mod capf;
mod certificates;
mod command;
mod logs;
mod look;
mod services;
mod session;
mod sql;
mod texts;
mod view;

pub use command::{Command, Refusal, Side, complete, parse};
pub use look::Look;
pub use session::{Answer, PROMPT, Session, Transcript, Typed};
pub use sql::Sql;
pub use view::View;
