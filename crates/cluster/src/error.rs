//! Why a decider has no answer.

use pando_model::{ErrorKind, ShardId, TenantId};

/// What cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Neither 1 nor 3: two replicas tolerate no more faults than one.
    #[error("replication factor must be 1 or 3: replicas={replicas}")]
    BadReplicas {
        /// The setting.
        replicas: usize,
    },
    /// Replicas of a shard live on distinct nodes.
    #[error("fewer ingesters than replicas: replicas={replicas} live_ingesters={live}")]
    TooFewNodes {
        /// Replicas of a shard.
        replicas: usize,
        /// Ingesters that may be members.
        live: usize,
    },
    /// No shard takes writes.
    #[error("no open shard for a tenant: tenant={tenant}")]
    NoOpenShard {
        /// The tenant.
        tenant: TenantId,
    },
    /// The shard is unknown or takes no writes.
    #[error("shard is not open: shard={shard}")]
    NotOpen {
        /// The shard.
        shard: ShardId,
    },
}

impl PlacementError {
    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PlacementError::BadReplicas { .. } => ErrorKind::Invalid,
            PlacementError::TooFewNodes { .. } | PlacementError::NoOpenShard { .. } => {
                ErrorKind::Unavailable
            }
            PlacementError::NotOpen { .. } => ErrorKind::Stale,
        }
    }
}
