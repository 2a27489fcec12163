//! What the catalog refuses, and what its bytes and its bucket can have wrong.

use pando_model::{CatalogVersion, ErrorKind};
use pando_proto::record::RecordError;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $kind:ident;)*) => {
        /// Why a command was refused. The numbers are sent and never reused.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Reason {
            $($(#[$doc])* $name = $code,)*
        }

        impl Reason {
            /// What the reason means to a caller.
            pub fn kind(self) -> ErrorKind {
                match self {
                    $(Reason::$name => ErrorKind::$kind,)*
                }
            }

            /// The reason with number `code`.
            pub fn from_code(code: u32) -> Option<Self> {
                match code {
                    $($code => Some(Reason::$name),)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// The command's index is not above the last applied one.
    AlreadyApplied = 1, Stale;
    /// The catalog has no cluster id yet.
    NotFounded = 2, Unavailable;
    /// The catalog is another cluster's.
    OtherCluster = 3, Forbidden;
    /// No such node.
    UnknownNode = 4, NotFound;
    /// A shard that is not closed has the node as a member.
    NodeInUse = 5, Unavailable;
    /// The node lacks the role that the command needs.
    WrongRole = 6, Invalid;
    /// A node reads less than the feature level.
    FeatureLevel = 7, Unsupported;
    /// No such shard, or none any more.
    UnknownShard = 8, NotFound;
    /// The shard is in another stage.
    ShardStage = 9, Stale;
    /// Members of a shard must be 1 or 3 distinct ingesters.
    BadMembers = 10, Invalid;
    /// Key ranges overlap, leave a gap or belong to nobody.
    BadRanges = 11, Stale;
    /// The cut is not the shard's next one.
    NotNextCut = 12, Stale;
    /// The cut was committed so long ago that its winner is forgotten.
    CutForgotten = 13, Stale;
    /// A later leader of the shard has spoken.
    OldTerm = 14, Stale;
    /// Fewer than a majority of the shard's members report the block's digest.
    NoMajority = 15, Unavailable;
    /// The record contradicts itself or the command.
    BadRecord = 16, Invalid;
    /// No such block.
    UnknownBlock = 17, NotFound;
    /// The catalog names the block already, or still.
    BlockNamed = 18, Invalid;
    /// The block's ULID is refused.
    BlockRefused = 19, Forbidden;
    /// The block's samples are not old enough.
    NotExpired = 20, Invalid;
    /// Output and input of a compaction differ.
    NotConserved = 21, Invalid;
    /// No such work item, or none any more.
    UnknownWork = 22, NotFound;
    /// The lease is another one's by now (INV-8).
    LeaseLost = 23, Forbidden;
    /// Another work item has one of the inputs.
    WorkOverlaps = 24, Stale;
    /// The work item failed too often.
    Quarantined = 25, LimitExceeded;
    /// A limit would be exceeded; the message names it.
    Limit = 26, LimitExceeded;
    /// No such tenant.
    UnknownTenant = 27, NotFound;
    /// The command's own fields make no sense.
    BadCommand = 28, Invalid;
    /// No such delete.
    UnknownDelete = 29, NotFound;
    /// A block or a generation may still need the delete.
    DeleteNeeded = 30, Unavailable;
    /// Not a reason that this build knows.
    Unknown = 31, Internal;
}

/// A command that changed nothing, and why. Deterministic: every replica refuses with the same
/// words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CommandRefused {
    /// Why.
    pub reason: Reason,
    /// In words, with the facts.
    pub message: String,
}

impl CommandRefused {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        CommandRefused { reason, message: message.into() }
    }

    /// A refusal that names a limit of [`crate::limits`].
    pub(crate) fn limit(name: &'static str, count: usize, max: usize) -> Self {
        Self::new(Reason::Limit, format!("catalog limit: {name} count={count} max={max}"))
    }

    /// What the refusal means to a caller.
    pub fn kind(&self) -> ErrorKind {
        self.reason.kind()
    }
}

/// What is wrong with the catalog's bytes, deltas or bucket.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Bytes are not what was written.
    #[error("catalog bytes are damaged: what={what} {detail}")]
    Corrupt {
        /// Which bytes.
        what: &'static str,
        /// What is wrong with them.
        detail: String,
    },
    /// Written by a later version.
    #[error("unknown version: what={what} version={version} newest_known={known}")]
    Unsupported {
        /// Of what.
        what: &'static str,
        /// The version found.
        version: u32,
        /// The newest that this build reads.
        known: u32,
    },
    /// A delta that does not join on to what the view has.
    #[error("delta does not fit: what={what} have={have} from={from} to={to}")]
    Gap {
        /// Which stream.
        what: &'static str,
        /// The view's version.
        have: CatalogVersion,
        /// Where the delta begins.
        from: CatalogVersion,
        /// Where it ends.
        to: CatalogVersion,
    },
    /// The object store failed.
    #[error("object store: path={path}")]
    Store {
        /// The object.
        path: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// A write may or may not have happened. Nothing is taken back; the caller asks again later.
    #[error(
        "object store: outcome of a write is unknown: path={path} attempts={attempts} last={last:?}"
    )]
    UnknownOutcome {
        /// The object.
        path: String,
        /// How often it was tried.
        attempts: u32,
        /// What the store said to the last try.
        last: String,
    },
    /// The object store lacks something that correctness rests on.
    #[error("object store cannot be used: {what}")]
    BadStore {
        /// What it did wrong.
        what: String,
    },
    /// The bucket is another cluster's.
    #[error("bucket belongs to another cluster: cluster={found} expected={expected}")]
    OtherCluster {
        /// Its id.
        found: pando_model::ClusterId,
        /// The id of the asker.
        expected: pando_model::ClusterId,
    },
}

impl CatalogError {
    pub(crate) fn corrupt(what: &'static str, detail: impl Into<String>) -> Self {
        CatalogError::Corrupt { what, detail: detail.into() }
    }

    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CatalogError::Corrupt { .. } => ErrorKind::Corrupt,
            CatalogError::Unsupported { .. } => ErrorKind::Unsupported,
            CatalogError::Gap { .. } => ErrorKind::Stale,
            CatalogError::Store { source: object_store::Error::NotFound { .. }, .. } => {
                ErrorKind::NotFound
            }
            CatalogError::Store { .. } | CatalogError::UnknownOutcome { .. } => {
                ErrorKind::Unavailable
            }
            CatalogError::BadStore { .. } => ErrorKind::Unsupported,
            CatalogError::OtherCluster { .. } => ErrorKind::Forbidden,
        }
    }
}

impl From<RecordError> for CatalogError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Unsupported { version } => CatalogError::Unsupported {
                what: "block record",
                version,
                known: pando_proto::record::RECORD_VERSION,
            },
            RecordError::Corrupt { what } => CatalogError::corrupt("block record", what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_a_bijection() {
        let known: Vec<Reason> = (0..200).filter_map(Reason::from_code).collect();
        assert_eq!(known.len(), 31);
        assert!(known.iter().all(|r| Reason::from_code(*r as u32) == Some(*r)));
    }
}
