//! `ExecutionStats`: what the execution of one fragment came to at one member.

use std::time::Duration;

use crate::block_reads::BlockReads;

/// What one execution has read and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutionStats {
    /// Series read.
    pub series: u64,
    /// Samples read.
    pub samples: u64,
    /// Reads of blocks.
    pub reads: BlockReads,
    /// Batches answered; the one of notes and hashes is one of them.
    pub batches: u64,
    /// Partial states of groups in them, or whole series where nothing is aggregated.
    pub partials: u64,
    /// How long it took, waiting for its turn and for whoever reads the batches included.
    pub took: Duration,
}

impl ExecutionStats {
    /// Both together; times are added, too.
    #[must_use]
    pub fn plus(self, other: ExecutionStats) -> ExecutionStats {
        ExecutionStats {
            series: self.series.saturating_add(other.series),
            samples: self.samples.saturating_add(other.samples),
            reads: self.reads.plus(other.reads),
            batches: self.batches.saturating_add(other.batches),
            partials: self.partials.saturating_add(other.partials),
            took: self.took.saturating_add(other.took),
        }
    }
}
