//! `WorkItem` and `Lease`: work on blocks that one compactor at a time may commit (INV-8).

use pando_model::{BlockId, CatalogVersion, Epoch, NodeId, TimeRange};

use crate::limits::WORK_FAILURES_MAX;

/// What is to be done with the inputs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WorkKind {
    /// Several blocks become longer ones.
    Merge,
    /// A block is written anew without what deletes and retention took.
    Rewrite,
}

/// Work, not leased yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkSpec {
    /// What is to be done.
    pub kind: WorkKind,
    /// The blocks to replace, ascending.
    pub inputs: Vec<BlockId>,
    /// The time window that the output is meant for; late samples may lie outside.
    pub window: TimeRange,
    /// The level of the output.
    pub level: u32,
}

/// Work with an id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkItem {
    /// Its id, from 1, never used again.
    pub id: u64,
    /// The work.
    pub spec: WorkSpec,
    /// The deletes that the worker applies: all up to this number that concern an input.
    pub deletes_upto: u64,
}

/// Who may commit a work item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The work.
    pub item: WorkItem,
    /// Who holds the lease; `None` while nobody does.
    pub holder: Option<NodeId>,
    /// Grows with every grant: the fence.
    pub epoch: Epoch,
    /// The version that granted it last.
    pub granted: CatalogVersion,
    /// When it was granted or renewed last, ms, for people: expiry is judged by the leader's
    /// monotonic clock.
    pub renewed_ms: i64,
    /// How often a holder said that the work failed.
    pub failures: u32,
}

impl Lease {
    /// Whether the work failed so often that nobody gets it any more.
    pub fn is_quarantined(&self) -> bool {
        self.failures >= WORK_FAILURES_MAX
    }
}
