//! Advice on a plan before anything runs: whom which step strands and why, what the documents say
//! of it, and a safer order of the same steps, each computed by playing phones in virtual time.
//!
//! No clock, no file and no socket: plans in, findings and plans out.

mod kinds;
mod lint;
mod notes;
mod orders;
mod prediction;
mod text;
mod whole;

pub use kinds::Kind;
pub use lint::{Lint, Note, RuleFound, Safer, Stranded};
pub use prediction::{End, Fate, Prediction};
