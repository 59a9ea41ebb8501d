//! Records of the DNS, which configurations need if they hold names.

use super::{Impact, Operation};
use crate::base::{NodeId, Time};
use crate::cluster::{ActionError, Cluster, Effect, Topology};

/// Adds the DNS record of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddRecord {
    /// The node to whose address it leads.
    pub node: NodeId,
    /// A present or earlier name of the node, without the domain that it has now.
    pub name: String,
}

/// Removes a DNS record: configurations that hold the name lead nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveRecord {
    /// The node to which it leads.
    pub node: NodeId,
    /// A present or earlier name of the node, without the domain that it has now.
    pub name: String,
}

impl Operation for AddRecord {
    fn apply(&self, cluster: &mut Cluster, _: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.add_record(self.node, &self.name);
        Ok(Vec::new())
    }

    fn words(&self, _: &Topology) -> String {
        format!("add the DNS record of {}", self.name)
    }

    fn record(&self) -> String {
        format!("add-record {} {}", self.node.node, self.name)
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}

impl Operation for RemoveRecord {
    fn apply(&self, cluster: &mut Cluster, _: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.remove_record(self.node, &self.name);
        Ok(Vec::new())
    }

    fn words(&self, _: &Topology) -> String {
        format!("remove the DNS record of {}", self.name)
    }

    fn record(&self) -> String {
        format!("remove-record {}", self.name)
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}
