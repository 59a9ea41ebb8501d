//! Names of nodes.

use super::{Impact, Nodes, Operation};
use crate::base::{NodeId, Time};
use crate::cluster::{ActionError, Cluster, Effect, Topology};

/// Changes the host name of a node: all its certificates are regenerated at once (HOST-01).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The node; its address stays, and its old name still leads to it.
    pub node: NodeId,
    /// The new host name.
    pub to: String,
}

impl Operation for Rename {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.rename(self.node, &self.to, now);
        Ok(Vec::new())
    }

    fn words(&self, topology: &Topology) -> String {
        format!("rename {} to {}", topology.node(self.node).name, self.to)
    }

    fn record(&self) -> String {
        format!("rename {} {}", self.node.node, self.to)
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact { signer: Some(Nodes::One(self.node)), ..Impact::NOTHING }
    }
}
