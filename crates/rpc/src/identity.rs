//! `Identity`: which cluster and which node this process is.

use std::sync::{Arc, OnceLock};

use pando_model::{ClusterId, NodeId};

/// The identity of a process. The cluster becomes known once, when it is founded or joined.
#[derive(Clone, Debug)]
pub struct Identity {
    node: NodeId,
    cluster: Arc<OnceLock<ClusterId>>,
}

impl Identity {
    /// A node that does not know its cluster yet.
    pub fn new(node: NodeId) -> Self {
        Identity { node, cluster: Arc::default() }
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The cluster, once known.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster.get().copied()
    }

    /// Sets the cluster; returns false where another one is set already.
    pub fn set_cluster(&self, cluster: ClusterId) -> bool {
        *self.cluster.get_or_init(|| cluster) == cluster
    }
}
