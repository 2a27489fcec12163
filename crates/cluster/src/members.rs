//! What the leading controller decides about members: who is forgotten, and when the feature level rises.

use pando_catalog::{Catalog, Command, Node, Role};
use pando_model::NodeId;

/// Roles whose work the living share by a ring.
const SHARED_ROLES: [Role; 2] = [Role::Agent, Role::StoreGateway];

/// Silent members that hold no shard are members no more. Those that hold one keep what else they are, and have the
/// roles whose work others take over again when they are heard of.
pub fn forget_silent(
    catalog: &Catalog,
    is_silent: impl Fn(NodeId) -> bool,
    now_ms: i64,
) -> Vec<Command> {
    let holds = |node: NodeId| {
        let shards = catalog.shards().values();
        shards.filter(|s| s.info.closed_ms == 0).any(|s| s.info.members.contains(&node))
    };
    let silent = catalog.nodes().values().filter(|node| is_silent(node.id));
    let command = |node: &Node| {
        if !holds(node.id) {
            return Some(Command::RemoveNode { node: node.id });
        }
        let mut node = node.clone();
        let roles = node.roles.len();
        node.roles.retain(|role| !SHARED_ROLES.contains(role));
        let changes = (1..roles).contains(&node.roles.len());
        changes.then_some(Command::RegisterNode { node, now_ms })
    };
    silent.filter_map(|node| command(node)).collect()
}

/// The level rises as soon as every member reads it: a member that was left behind by an upgrade holds it, and one that
/// comes back older than it is refused. What a level allows to be written is asked of the catalog
/// ([`RoutingView::feature_level`](pando_catalog::RoutingView::feature_level)), never of one's own version.
pub fn raise_feature_level(catalog: &Catalog) -> Option<Command> {
    let level = catalog.nodes().values().map(|node| node.feature_level).min()?;
    (level > catalog.feature_level()).then_some(Command::RaiseFeatureLevel { level })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testdata::{Cluster, node};

    fn roles(cluster: &Cluster, id: u64) -> Vec<Role> {
        cluster.catalog.nodes()[&NodeId(id)].roles.iter().copied().collect()
    }

    #[test]
    fn the_silent_leave_what_others_can_do_and_what_they_do_not_hold() {
        let mut cluster = Cluster::with_ingesters(&["a", "b", "c", "d", "e"]);
        cluster.open(&[&[1, 2, 5]]);
        for (id, roles) in [
            (1, vec![Role::Ingester, Role::Agent, Role::StoreGateway]),
            (2, vec![Role::Ingester]),
            (4, vec![Role::Agent]),
            (5, vec![Role::StoreGateway]),
        ] {
            let node = Node { roles: roles.into_iter().collect(), ..node(id, "z") };
            cluster.ok(Command::RegisterNode { node, now_ms: 1 });
        }
        assert_eq!(forget_silent(&cluster.catalog, |_| false, 9), []);
        let silent = [1, 2, 3, 4, 5].map(NodeId);
        for command in forget_silent(&cluster.catalog, |id| silent.contains(&id), 9) {
            cluster.ok(command);
        }
        let left: Vec<u64> = cluster.catalog.nodes().keys().map(|id| id.0).collect();
        assert_eq!(left, [1, 2, 5], "3 and 4 hold nothing");
        assert_eq!(roles(&cluster, 1), [Role::Ingester]);
        assert_eq!(roles(&cluster, 5), [Role::StoreGateway], "nobody is left without a role");
        assert_eq!(forget_silent(&cluster.catalog, |_| true, 9), [], "once is enough");
    }

    #[test]
    fn the_feature_level_rises_with_the_last_member() {
        let mut cluster = Cluster::with_ingesters(&["a", "b"]);
        let upgrade = |cluster: &mut Cluster, id: u64, feature_level: u32| {
            let node = Node { feature_level, ..node(id, "z") };
            cluster.ok(Command::RegisterNode { node, now_ms: 1 });
        };
        assert_eq!(raise_feature_level(&cluster.catalog), None);
        upgrade(&mut cluster, 1, 3);
        assert_eq!(raise_feature_level(&cluster.catalog), None);
        upgrade(&mut cluster, 2, 2);
        let raise = raise_feature_level(&cluster.catalog);
        assert_eq!(raise, Some(Command::RaiseFeatureLevel { level: 2 }));
        cluster.ok(raise.expect("it rises"));
        assert_eq!(raise_feature_level(&cluster.catalog), None);
    }
}
