use crate::base::{NodeId, Time, printable};
use crate::cluster::{ActionError, Cluster, Effect, Impact, Operation, Topology};

/// A line at the console that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// At which node.
    pub node: NodeId,
    /// What was typed.
    pub line: String,
}

impl Operation for Look {
    fn apply(&self, _: &mut Cluster, _: Time) -> Result<Vec<Effect>, ActionError> {
        Ok(Vec::new())
    }

    fn words(&self, topology: &Topology) -> String {
        let node = &topology.node(self.node).name;
        format!("`{}` on {node} changes nothing", printable(&self.line))
    }

    fn record(&self) -> String {
        format!("console {} {}", self.node.node, self.line)
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}
