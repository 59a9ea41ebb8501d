//! The conductor of a run: when the operator acts, what that means for servers and phones, what the
//! phones hold at the start, and what counts at the end.
//!
//! Pure: `run`, `serve` and `sim` feed it time, carry out its cues and play the phones; none of them
//! knows what a storm is.

mod cast;
mod conductor;
mod dates;
mod homes;
mod presented;
mod presses;
mod probes;
mod roll;
mod rollout;
mod stranded;
mod timeline;
mod visit;

pub use cast::Cast;
pub use conductor::{Cue, Entered, Play, Wave};
pub use homes::Homes;
pub use presses::{NextPress, Presses};
pub use roll::{Conditions, Records, Roll, RollEntry, group_of};
pub use timeline::{StepInHand, Timeline};
pub use visit::{Round, Visit, longest};
