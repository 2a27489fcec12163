//! `Member`: a node of a group and where it is reached.

use std::collections::BTreeMap;

use openraft::BasicNode;
use pando_model::NodeId;

/// A node of a group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Member {
    /// Its node id.
    pub node: NodeId,
    /// Where its gRPC service is, `host:port`; a name rather than a number, so that it may move.
    pub address: String,
}

impl Member {
    pub(crate) fn from_node(id: u64, node: &BasicNode) -> Self {
        Member { node: NodeId(id), address: node.addr.clone() }
    }
}

/// Members as openraft wants them.
pub(crate) fn to_nodes(members: &[Member]) -> BTreeMap<u64, BasicNode> {
    members.iter().map(|m| (m.node.0, BasicNode::new(&m.address))).collect()
}
