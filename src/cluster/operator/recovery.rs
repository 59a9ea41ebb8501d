//! Disaster recovery: backup, restore, and a node that is installed anew.

use super::{Impact, Nodes, Operation};
use crate::base::{NodeId, Time};
use crate::cluster::operator::services::Services;
use crate::cluster::{ActionError, Cluster, Effect, Topology};

/// A DRS backup of all nodes (BKP-01): certificates, their keys, and what the database has of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackUp;

impl Operation for BackUp {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.back_up(now).map(|backup| vec![Effect::BackedUp(backup)])
    }

    fn words(&self, _: &Topology) -> String {
        "back the cluster up (DRS)".to_owned()
    }

    fn record(&self) -> String {
        "backup".to_owned()
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}

/// Restores a node from a DRS backup and reboots it (BKP-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restore {
    /// Which node.
    pub node: NodeId,
    /// The number of the backup; `None`: the last one.
    pub from: Option<u32>,
}

impl Operation for Restore {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.restore(self.node, self.from, now)
    }

    fn words(&self, topology: &Topology) -> String {
        let backup = self.from.map_or("the last backup".to_owned(), |n| format!("backup {n}"));
        format!("restore {} from {backup} (DRS)", topology.node(self.node).name)
    }

    fn record(&self) -> String {
        let from = self.from.map_or("last".to_owned(), |number| number.to_string());
        format!("restore {} {from}", self.node.node)
    }

    fn impact(&self, _: &Topology) -> Impact {
        reboot(self.node)
    }
}

/// TAC brings back the ITL that the phones of a node trusted before, with its keys, and reboots the
/// node (BKP-07, DEF-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreTrustedItl {
    /// Which node.
    pub node: NodeId,
}

impl Operation for RestoreTrustedItl {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.restore_trusted_itl(self.node, now)
    }

    fn words(&self, topology: &Topology) -> String {
        format!("TAC restores the ITL that {} has kept", topology.node(self.node).name)
    }

    fn record(&self) -> String {
        format!("restore-trusted-itl {}", self.node.node)
    }

    fn impact(&self, _: &Topology) -> Impact {
        reboot(self.node)
    }
}

/// Installs a node anew without a restore: it has new certificates and keys, and nobody vouches for
/// the old ones any more (BKP-03, BKP-04).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// Which node.
    pub node: NodeId,
}

impl Operation for Rebuild {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.rebuild(self.node, now)
    }

    fn words(&self, topology: &Topology) -> String {
        format!("install {} anew without a restore", topology.node(self.node).name)
    }

    fn record(&self) -> String {
        format!("rebuild {}", self.node.node)
    }

    fn impact(&self, _: &Topology) -> Impact {
        reboot(self.node)
    }
}

/// A node starts anew and may sign with another key.
const fn reboot(node: NodeId) -> Impact {
    Impact {
        signer: Some(Nodes::One(node)),
        services: Some(Services::restart(node, None)),
        ..Impact::NOTHING
    }
}
