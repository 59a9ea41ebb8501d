//! Scenario files: TOML → [`Plan`], valid by construction, with the steps of the operator.
//!
//! Must not read a clock, a file or a socket: texts in, values out. Everything above may import
//! it; it knows `base`, `cluster` and `phone` only.
//!
//! A text goes through `raw` (what was typed), the checks (`cluster_checks`, `event_checks`,
//! `verbs`, `resolve`) and ends as a [`Plan`]; [`to_toml`] writes a plan with every default filled in.

mod choice;
mod cluster_checks;
mod cost;
mod dates;
mod error;
mod event_checks;
mod keys;
mod lexical;
mod load;
mod names;
mod network;
mod overrides;
mod plan;
mod probes;
mod quantity;
mod raw;
mod resolve;
mod shape;
mod slo;
mod steps;
mod uses;
mod verbs;
mod wording;
mod write;

pub use choice::procedures;
pub use cost::{AVAILABLE_MIN, CostError, CostModel, IDLE_MAX};
pub use error::ScenarioError;
pub use keys::{reference, scenario_schema};
pub use load::load;
pub use network::{Link, SitePlan};
pub use plan::{
    AT_THE_START, Dates, FleetPlan, FleetStart, FollowUp, Limits, Plan, ProbePlan, Target,
    TimelineEntry, Trigger,
};
pub use resolve::PHONES_MAX;
pub use slo::{ANY, Doubt, Op, Operand, Slo, SloError, SloResult, SloVerdict};
pub use uses::{UsePeriod, UsePlan, UseRate, UseRateError};
pub use write::to_toml;
