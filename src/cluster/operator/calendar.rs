//! The date.

use super::{Impact, Operation};
use crate::base::{Span, Time};
use crate::cluster::{ActionError, Cluster, Effect, Topology};

/// Lets so much time pass at once, in which nothing happens but that certificates come nearer to
/// their end (EXP-03, EXP-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// How much.
    pub by: Span,
}

impl Operation for Advance {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        Ok(cluster.advance(self.by, now))
    }

    fn words(&self, _: &Topology) -> String {
        format!("let {} pass", self.by.in_years_or_days())
    }

    fn record(&self) -> String {
        format!("advance {}", self.by.as_nanos())
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}
