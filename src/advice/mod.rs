//! Advice on a plan before anything runs: whom which step strands and why, what the documents say
//! of it, and a safer order of the same steps, each computed by playing phones in virtual time. And
//! a first scenario of somebody's own cluster, from what its administration exports.
//!
//! No clock, no file and no socket: plans in, findings and plans out.

mod export;
mod kinds;
mod lint;
mod listed;
mod notes;
mod orders;
mod prediction;
mod start;
mod text;
mod whole;

pub use export::{Export, ExportError, read_export};
pub use kinds::Kind;
pub use lint::{Lint, RuleFound, Safer, Stranded};
pub use listed::{Listed, read_list};
pub use notes::Note;
pub use prediction::{End, Fate, Lost, Prediction};
pub use start::{Preset, Start, StartGroup, StartNode, StartSite};
