//! Names of nodes.

use super::{Impact, Nodes, Operation};
use crate::base::{NodeId, Time};
use crate::cluster::{ActionError, Cluster, Effect, Topology};

/// Changes the host name of a node, its domain or both: all its certificates are regenerated at
/// once (HOST-01, REG-30).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The node; its address stays, and its old name still leads to it.
    pub node: NodeId,
    /// The new host name.
    pub to: Option<String>,
    /// The new domain.
    pub domain: Option<String>,
}

impl Rename {
    /// The new host name, the new domain, or both as one name.
    fn new_name(&self) -> String {
        let parts = [&self.to, &self.domain].into_iter().flatten();
        parts.map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

impl Operation for Rename {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.rename(self, now);
        Ok(Vec::new())
    }

    fn words(&self, topology: &Topology) -> String {
        let old = &topology.node(self.node).name;
        match self.to {
            Some(_) => format!("rename {old} to {}", self.new_name()),
            None => format!("move {old} to the domain {}", self.new_name()),
        }
    }

    fn record(&self) -> String {
        let kind = if self.to.is_some() { "" } else { "domain " };
        format!("rename {} {kind}{}", self.node.node, self.new_name())
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact { signer: Some(Nodes::One(self.node)), ..Impact::NOTHING }
    }
}
