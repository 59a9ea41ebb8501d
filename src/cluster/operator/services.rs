//! Services of a node.

use super::{Impact, Operation};
use crate::base::{NodeId, Time};
use crate::cluster::{ActionError, Cluster, Effect, ServiceKind, Topology};

/// Starts or stops services of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Services {
    /// What becomes of them.
    pub change: Change,
    /// On which node.
    pub node: NodeId,
    /// Which service; `None` is every service of the node.
    pub service: Option<ServiceKind>,
}

/// Activates the service CAPF on the publisher: lists name its certificate from the next start of
/// TFTP on, each node's its own (ITL-14, REG-26), and the CTL from its next update on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivateCapf;

impl Operation for ActivateCapf {
    fn apply(&self, cluster: &mut Cluster, _: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.activate_capf();
        Ok(Vec::new())
    }

    fn words(&self, topology: &Topology) -> String {
        format!("activate {} on {}", ServiceKind::Capf.name(), topology.nodes[0].name)
    }

    fn record(&self) -> String {
        "activate capf".to_owned()
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}

/// What becomes of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// They stop and start: regenerated certificates become active (REG-28).
    Restart,
    /// Those that were stopped start.
    Start,
    /// They stop: nobody answers on their ports.
    Stop,
}

impl Change {
    /// The verb for it.
    pub const fn name(self) -> &'static str {
        match self {
            Change::Restart => "restart",
            Change::Start => "start",
            Change::Stop => "stop",
        }
    }
}

impl Services {
    /// Stops and starts services.
    pub const fn restart(node: NodeId, service: Option<ServiceKind>) -> Services {
        Services { change: Change::Restart, node, service }
    }

    /// Starts services that were stopped.
    pub const fn start(node: NodeId, service: Option<ServiceKind>) -> Services {
        Services { change: Change::Start, node, service }
    }

    /// Stops services.
    pub const fn stop(node: NodeId, service: Option<ServiceKind>) -> Services {
        Services { change: Change::Stop, node, service }
    }

    fn in_words(self, every: &'static str, topology: &Topology) -> String {
        let what = self.service.map_or(every, ServiceKind::name);
        format!("{} {what} on {}", self.change.name(), topology.node(self.node).name)
    }
}

impl Operation for Services {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        match self.change {
            Change::Restart => cluster.start_services(self.node, self.service, true, now),
            Change::Start => cluster.start_services(self.node, self.service, false, now),
            Change::Stop => cluster.stop_services(self.node, self.service),
        }
    }

    fn words(&self, topology: &Topology) -> String {
        self.in_words("all services", topology)
    }

    fn plan_words(&self, topology: &Topology) -> String {
        self.in_words("every service", topology)
    }

    fn record(&self) -> String {
        let service = self.service.map_or("all", ServiceKind::name);
        format!("{} {} {service}", self.change.name(), self.node.node)
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact { services: Some(*self), ..Impact::NOTHING }
    }
}
