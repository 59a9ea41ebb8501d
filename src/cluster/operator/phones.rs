//! What is done to phones.

use super::{Impact, Operation};
use crate::base::{Span, Time};
use crate::cluster::{ActionError, Cluster, Effect, Topology};

/// Resets every phone; each boots at its own planned instant within the spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetPhones {
    /// Length of the reset wave; zero resets all phones at once.
    pub spread: Span,
}

impl Operation for ResetPhones {
    fn apply(&self, _: &mut Cluster, _: Time) -> Result<Vec<Effect>, ActionError> {
        Ok(vec![Effect::ResetPhones { spread: self.spread }])
    }

    fn words(&self, _: &Topology) -> String {
        format!("reset phones within {}", self.spread)
    }

    fn plan_words(&self, _: &Topology) -> String {
        match self.spread {
            Span::ZERO => "reset all phones at once".to_owned(),
            spread => format!("reset all phones within {spread}"),
        }
    }

    fn record(&self) -> String {
        format!("reset-phones {}", self.spread.as_nanos())
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact { wave: Some(self.spread), ..Impact::NOTHING }
    }
}
