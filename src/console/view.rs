use crate::base::Time;
use crate::cluster::{Cluster, SecurityMode, Topology};

/// What a console sees of its cluster.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The shape of the cluster.
    pub topology: &'a Topology,
    /// Whether it is in mixed mode.
    pub is_mixed: bool,
    /// The cluster itself; `None` for a plan that is read: lines are judged then, and listings are
    /// empty.
    pub cluster: Option<&'a Cluster>,
    /// When it sees it.
    pub now: Time,
}

impl View<'_> {
    /// The view of a cluster that runs, at this time.
    pub fn of(cluster: &Cluster, now: Time) -> View<'_> {
        View {
            topology: cluster.topology(),
            is_mixed: cluster.security_mode() == SecurityMode::Mixed,
            cluster: Some(cluster),
            now,
        }
    }
}
