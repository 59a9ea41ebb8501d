use crate::base::NodeId;
use crate::wire::Dialogue;

/// The servers that a phone wants to be watched, as nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watching {
    pub holds: Option<(NodeId, Dialogue)>,
    pub awaits: Option<(NodeId, Dialogue)>,
    /// Counts its watches, so that what belongs to an earlier one is recognised.
    pub number: u32,
}

/// What the phones of a world want to be watched; empty where nobody registers.
#[derive(Debug, Default)]
pub(super) struct Watches {
    pub all: Vec<Watching>,
    /// Phones that are about to be told something.
    pub told: u64,
}

impl Watches {
    /// Whether phones are about to be told something.
    pub(super) const fn is_busy(&self) -> bool {
        self.told > 0
    }
}
