//! When the stores of the nodes changed, and when every node had heard of it.

use crate::base::{NodeId, Span, Time};

/// Nodes of one cluster, which has 64 at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSet(u64);

impl NodeSet {
    /// Every node.
    pub const ALL: NodeSet = NodeSet(u64::MAX);

    /// These nodes.
    pub fn of(nodes: &[NodeId]) -> NodeSet {
        NodeSet(nodes.iter().fold(0, |set, node| set | 1 << node.node))
    }

    /// Whether a node is one of them.
    pub const fn contains(self, node: NodeId) -> bool {
        self.0 >> node.node & 1 == 1
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, others: NodeSet) -> NodeSet {
        NodeSet(self.0 | others.0)
    }
}

/// A change of the stores: it is in force at once where it was made, and on the other nodes when the
/// replication has carried it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When it was made.
    pub at: Time,
    /// Where it was made.
    pub nodes: NodeSet,
}

impl Change {
    /// How everything was when the run began: on every node.
    pub const START: Change = Change { at: Time::ZERO, nodes: NodeSet::ALL };

    /// A change that is made now on these nodes.
    pub fn on(nodes: &[NodeId], at: Time) -> Change {
        Change { at, nodes: NodeSet::of(nodes) }
    }

    /// When a node hears of it if others hear of it after `delay`.
    pub fn reaches(self, node: NodeId, delay: Span) -> Time {
        self.at + if self.nodes.contains(node) { Span::ZERO } else { delay }
    }

    /// Whether a node has heard of it at `now` if others hear of it after `delay`.
    pub fn has_reached(self, node: NodeId, now: Time, delay: Span) -> bool {
        self.reaches(node, delay) <= now
    }
}

/// From which change to which one something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// It came.
    pub since: Change,
    /// It went, if it has.
    pub until: Option<Change>,
}

impl Stay {
    /// It came and is still there.
    pub const fn from(since: Change) -> Stay {
        Stay { since, until: None }
    }

    /// Whether it is there for a node at `now`.
    pub fn covers(self, node: NodeId, now: Time, delay: Span) -> bool {
        self.since.has_reached(node, now, delay)
            && !self.until.is_some_and(|until| until.has_reached(node, now, delay))
    }

    /// When a node hears next after `now` that it came or went, if it ever does.
    pub fn next_change(self, node: NodeId, now: Time, delay: Span) -> Option<Time> {
        let changes = std::iter::once(self.since).chain(self.until);
        changes.map(|change| change.reaches(node, delay)).filter(|at| *at > now).min()
    }

    /// Whether it is gone on every node at `now`.
    pub fn is_over(self, now: Time, delay: Span) -> bool {
        self.until.is_some_and(|until| until.at + delay <= now)
    }
}
