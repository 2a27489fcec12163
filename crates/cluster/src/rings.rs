//! The rings of the cluster: which agent scrapes a target, which gateway reads a block.

use pando_catalog::{Node, Role};
use pando_model::{NodeId, SeriesKey, TenantId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ring::Ring;

/// Seeds keep the rings apart: what is busy on one is not on the other.
const TARGET_SEED: u64 = 1;
const GATEWAY_SEED: u64 = 2;

/// Which agent scrapes which target.
#[derive(Clone, Debug)]
pub struct TargetRing(Ring<NodeId>);

impl TargetRing {
    /// The ring of the agents among `nodes`, which are those that are alive.
    pub fn new<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        TargetRing(ring_of(nodes, Role::Agent))
    }

    /// The agent that scrapes the target with this identity (job, URL and labels, as the agent
    /// writes them).
    pub fn owner(&self, target: &[u8]) -> Option<NodeId> {
        self.0.owner(xxh3_64_with_seed(target, TARGET_SEED))
    }

    /// The agents, ascending.
    pub fn members(&self) -> &[NodeId] {
        self.0.members()
    }
}

/// Which gateway reads which blocks, so that each block is in one cache.
#[derive(Clone, Debug)]
pub struct GatewayRing(Ring<NodeId>);

impl GatewayRing {
    /// The ring of the store gateways among `nodes`, which are those that are alive.
    pub fn new<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        GatewayRing(ring_of(nodes, Role::StoreGateway))
    }

    /// Up to 3 gateways for a fragment whose key range begins with `first` and whose steps are in interval number
    /// `interval`, best first: all queries of a range of keys in one interval go to the same gateway.
    pub fn for_fragment(&self, tenant: &TenantId, first: SeriesKey, interval: i64) -> &[NodeId] {
        let mut bytes = tenant.as_str().as_bytes().to_vec();
        bytes.extend(first.0.to_le_bytes());
        bytes.extend(interval.to_le_bytes());
        self.0.replicas(xxh3_64_with_seed(&bytes, GATEWAY_SEED))
    }

    /// The gateways, ascending.
    pub fn members(&self) -> &[NodeId] {
        self.0.members()
    }
}

fn ring_of<'a>(nodes: impl IntoIterator<Item = &'a Node>, role: Role) -> Ring<NodeId> {
    let with_role = nodes.into_iter().filter(|node| node.has(role));
    Ring::new(with_role.map(|node| (node.id, node.zone.as_str())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testdata::node;

    #[test]
    fn only_nodes_with_the_role_are_asked() {
        let mut nodes: Vec<Node> = (1..=4).map(|id| node(id, "z")).collect();
        nodes[0].roles = BTreeSet::from([Role::Agent]);
        nodes[1].roles = BTreeSet::from([Role::Agent, Role::StoreGateway]);
        let (targets, gateways) = (TargetRing::new(&nodes), GatewayRing::new(&nodes));
        assert_eq!(targets.members(), [NodeId(1), NodeId(2)]);
        let tenant = TenantId::default_tenant();
        assert_eq!(gateways.for_fragment(&tenant, SeriesKey(0), 0), [NodeId(2)]);
        let owners: BTreeSet<_> =
            (0..50u32).filter_map(|t| targets.owner(&t.to_le_bytes())).collect();
        assert_eq!(owners.len(), 2);
        assert_eq!(TargetRing::new([]).owner(b"x"), None);
    }
}
