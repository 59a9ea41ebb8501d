//! What is done to phones.

use std::sync::Arc;

use super::{Impact, Operation};
use crate::base::{Home, PhoneId, Span, Time};
use crate::cluster::{ActionError, Cluster, Effect, ServiceKind, Topology};

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

/// Moves phones to other TFTP nodes, of which they learn when they boot next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovePhones {
    /// Which phones.
    pub phones: Arc<[PhoneId]>,
    /// Where they belong from now on.
    pub to: Home,
}

impl Operation for MovePhones {
    fn apply(&self, cluster: &mut Cluster, _: Time) -> Result<Vec<Effect>, ActionError> {
        for &node in &*self.to {
            cluster.services(node, Some(ServiceKind::Tftp))?;
        }
        Ok(vec![Effect::MovePhones(Arc::clone(&self.phones), Arc::clone(&self.to))])
    }

    fn words(&self, topology: &Topology) -> String {
        let names: Vec<&str> = self.to.iter().map(|&id| topology.node(id).name.as_str()).collect();
        format!("move {} phones to {}", self.phones.len(), names.join(", "))
    }

    fn record(&self) -> String {
        let numbers: Vec<String> = self.phones.iter().map(|phone| phone.0.to_string()).collect();
        let nodes: Vec<String> = self.to.iter().map(|id| id.node.to_string()).collect();
        format!("move-phones {} {}", numbers.join(","), nodes.join(","))
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}
