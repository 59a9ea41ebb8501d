//! The toolbox: what an engineer does with single files and messages of a cluster or a phone.
//!
//! Reads, explains, checks, makes and changes them. Only the one-shot clients
//! touch the network; nothing here prints. Used by the command line and by nobody else.

mod list;
mod trust;
mod verdict;

pub use list::List;
pub use trust::{Decision, Object, Refusal, TrustLists, TrustPath};
pub use verdict::{Verdict, check_envelope, check_file, check_list};
