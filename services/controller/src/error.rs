//! What can stop a controller.

use pando_catalog::CatalogError;
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
    /// The bucket has no cluster, though somebody has one: it is another bucket, or its objects are gone.
    #[error(
        "the bucket has no cluster.json, but {who} belongs to a cluster: bucket={bucket} cluster={cluster}; \
         it is not this cluster's bucket, or it was emptied"
    )]
    NotTheBucket {
        /// The bucket.
        bucket: String,
        /// Who has a cluster.
        who: String,
        /// Which.
        cluster: ClusterId,
    },
    /// The bucket cannot be used.
    #[error("bucket: {0}")]
    Bucket(CatalogError),
    /// The Raft group cannot be opened.
    #[error("catalog group: {0}")]
    Consensus(String),
}

impl ControllerError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ControllerError::NotAVoter { .. }
            | ControllerError::OtherCluster { .. }
            | ControllerError::NotTheBucket { .. } => ErrorKind::Forbidden,
            ControllerError::Bucket(error) => error.kind(),
            ControllerError::Consensus(_) => ErrorKind::Internal,
        }
    }
}
