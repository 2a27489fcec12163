//! What can stop a controller.

use pando_model::{ClusterId, ErrorKind, NodeId};

/// Why a controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The cluster has other controllers.
    #[error(
        "the bucket's cluster does not know this controller: cluster={cluster} node={node}; a controller \
         that lost its data directory is a new member and cannot take the old one's place"
    )]
    NotAVoter {
        /// This node.
        node: NodeId,
        /// The bucket's cluster.
        cluster: ClusterId,
    },
    /// The data directory is another cluster's.
    #[error("the bucket belongs to another cluster: ours={ours} theirs={theirs}")]
    OtherCluster {
        /// Of the data directory.
        ours: ClusterId,
        /// Of the bucket.
        theirs: ClusterId,
    },
    /// The Raft group cannot be opened.
    #[error("catalog group: {0}")]
    Consensus(String),
}

impl ControllerError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ControllerError::NotAVoter { .. } | ControllerError::OtherCluster { .. } => {
                ErrorKind::Forbidden
            }
            ControllerError::Consensus(_) => ErrorKind::Internal,
        }
    }
}
