//! `Presence`: who is there, as the leading controller heard it. Measured on its monotonic clock,
//! so that a jump of wall time makes nobody dead.

use std::collections::BTreeMap;

use pando_model::NodeId;

/// How long ago each node was heard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Presence {
    /// Since the last heartbeat, ms.
    heard_ms: BTreeMap<NodeId, u64>,
    /// Of a node that this leader has never heard: since it leads, ms.
    leading_ms: u64,
    /// Until when a node counts as alive, ms.
    alive_ms: u64,
}

impl Presence {
    /// A node is alive for `alive_ms` after its last heartbeat, `heard_ms` ago. A leader that leads
    /// since `leading_ms` believes a silent node away for no longer than that.
    pub fn new(heard_ms: BTreeMap<NodeId, u64>, leading_ms: u64, alive_ms: u64) -> Self {
        Presence { heard_ms, leading_ms, alive_ms }
    }

    /// Whether `node` is alive.
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.heard_ms.get(&node).is_some_and(|ago| *ago <= self.alive_ms)
    }

    /// How long `node` has been silent, ms.
    pub fn silent_ms(&self, node: NodeId) -> u64 {
        self.heard_ms.get(&node).copied().unwrap_or(self.leading_ms)
    }
}
