//! `Roster`: who shares the targets, and whether this agent still belongs to them.

use std::sync::Arc;

use pando_catalog::{Node, Role, RoutingView};
use pando_cluster::{CatalogFollower, Membership, TargetRing};
use pando_model::NodeId;
use parking_lot::Mutex;

/// The agents of the cluster as this one sees them.
pub trait Roster: Send + Sync + 'static {
    /// This agent.
    fn me(&self) -> NodeId;

    /// Whether the others still count on this agent, or there are none. One that may have been replaced does not
    /// scrape.
    fn is_alive(&self) -> bool;

    /// The same number at every agent of the cluster: spreads the scrapes of targets over their intervals so
    /// that a target keeps its phase when it moves.
    fn offset_seed(&self) -> u64;

    /// Which agent scrapes which target. Asked about once a second: an unchanged ring is the same `Arc`.
    fn ring(&self) -> Arc<TargetRing>;
}

/// The roster that the catalog gives: the agents of this one's group.
pub struct ClusterRoster {
    me: NodeId,
    group: String,
    follower: CatalogFollower,
    membership: Membership,
    last: Mutex<(Vec<Arc<Node>>, Arc<TargetRing>)>,
}

impl ClusterRoster {
    /// The roster of agent `me` of `group`.
    pub fn new(
        me: NodeId,
        group: String,
        follower: CatalogFollower,
        membership: Membership,
    ) -> Self {
        let last = Mutex::new((Vec::new(), Arc::new(TargetRing::new([]))));
        ClusterRoster { me, group, follower, membership, last }
    }
}

impl Roster for ClusterRoster {
    fn me(&self) -> NodeId {
        self.me
    }

    fn is_alive(&self) -> bool {
        // Without controllers nobody else can have taken the targets of the only agent.
        self.membership.is_alive() || is_sole(&self.ring_of_agents().0, self.me)
    }

    fn offset_seed(&self) -> u64 {
        self.follower.routing().cluster().map_or(0, |cluster| cluster.0)
    }

    fn ring(&self) -> Arc<TargetRing> {
        self.ring_of_agents().1
    }
}

impl ClusterRoster {
    /// The group's agents of the last known catalog, and their ring.
    fn ring_of_agents(&self) -> (Vec<Arc<Node>>, Arc<TargetRing>) {
        let agents = of_group(&self.follower.routing(), &self.group);
        let mut last = self.last.lock();
        if last.0 != agents {
            let ring = TargetRing::new(agents.iter().map(Arc::as_ref));
            *last = (agents, Arc::new(ring));
        }
        last.clone()
    }
}

/// The agents of a group.
fn of_group(routing: &RoutingView, group: &str) -> Vec<Arc<Node>> {
    routing.nodes_with(Role::Agent).filter(|node| node.agent_group == group).cloned().collect()
}

/// Whether `me` is the only one of `agents`.
fn is_sole(agents: &[Arc<Node>], me: NodeId) -> bool {
    matches!(agents, [only] if only.id == me)
}

#[cfg(test)]
mod tests {
    use pando_catalog::{Catalog, Command};
    use pando_model::{CatalogVersion, ClusterId};

    use super::*;
    use crate::testing::agent_node;

    fn agent(id: u64, group: &str) -> Node {
        agent_node(NodeId(id), group)
    }

    #[test]
    fn agents_share_targets_with_their_own_group_alone() {
        let mut catalog = Catalog::new();
        let init = Command::InitCluster { cluster: ClusterId(7), feature_level: 1 };
        let nodes = [agent(1, "a"), agent(2, "b"), agent(3, "a")];
        let register = nodes.map(|node| Command::RegisterNode { node, now_ms: 5 });
        for (index, command) in std::iter::once(init).chain(register).enumerate() {
            catalog.apply(index as u64 + 1, &command).expect("accepted");
        }
        let mut routing = RoutingView::new();
        let delta = catalog.routing_since(CatalogVersion(0)).expect("news");
        routing.apply(&delta).expect("a full state");
        let ids = |group| of_group(&routing, group).iter().map(|n| n.id.0).collect::<Vec<_>>();
        assert_eq!(ids("a"), [1, 3]);
        assert_eq!(ids("b"), [2]);
        assert!(ids("").is_empty());
    }

    #[test]
    fn only_a_known_agent_without_others_is_the_sole_one() {
        let agent = |id| Arc::new(agent(id, "a"));
        let me = NodeId(1);
        assert!(is_sole(&[agent(1)], me));
        assert!(!is_sole(&[agent(1), agent(2)], me));
        assert!(!is_sole(&[agent(2)], me), "another has taken over");
        assert!(!is_sole(&[], me), "it was never known");
    }
}
