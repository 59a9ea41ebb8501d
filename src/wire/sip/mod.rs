//! SIP as far as registrations need it (RFC 3261, RFC 5626): messages as a start line and headers,
//! and what CUCM phones and nodes say in a REGISTER and its answer.

mod message;
mod register;

pub use message::{SipMessage, StartLine, frame};
pub use register::{Answered, Contact, Registered, Registration, instance_of, parse_answer};

/// Two empty lines: a keep-alive that asks for one empty line (RFC 5626 section 3.5.1).
pub const PING: &[u8] = b"\r\n\r\n";
/// One empty line: the answer to a keep-alive.
pub const PONG: &[u8] = b"\r\n";
/// Longest message in bytes that is read.
pub const MESSAGE_MAX: usize = 16 * 1_024;
