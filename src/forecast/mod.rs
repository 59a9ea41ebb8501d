//! What can be said of a plan before it runs: what it will ask of servers and host, and what is
//! likely not meant. No clock, no file, no socket.

mod budget;
mod expiry;
mod needs;
mod rules;
mod warnings;
mod waves;

pub use budget::{Budget, GroupBudget, ModelBudget, NodeBudget};
pub use expiry::{DaysLeft, days_left};
pub use rules::{BrokenRule, broken_rules};
pub use warnings::warnings;
pub use waves::{Lookups, Requests, Wave};
