//! Which nodes are the members of a shard, and how many shards there are.

use std::collections::BTreeMap;

use pando_catalog::{Catalog, Command, Node, Role};
use pando_model::NodeId;

use crate::error::PlacementError;
use crate::presence::Presence;

/// How shards are placed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacementSettings {
    /// Replicas of a shard: 1 or 3.
    pub replicas: usize,
    /// Open shards that an ingester is a member of, when all is calm. More shards spread a large
    /// tenant better; each costs heartbeats and a small block at every cut.
    pub shards_per_node: usize,
    /// How long a member may be silent until its shards are sealed, ms.
    pub silent_ms_max: u64,
    /// Shards that one pass seals at most, so that one fault does not stop every producer at once.
    pub seals_per_pass_max: usize,
}

impl Default for PlacementSettings {
    fn default() -> Self {
        PlacementSettings {
            replicas: 1,
            shards_per_node: 3,
            silent_ms_max: 5 * 60_000,
            seals_per_pass_max: 4,
        }
    }
}

impl PlacementSettings {
    pub(crate) fn check(&self) -> Result<(), PlacementError> {
        match self.replicas {
            1 | 3 => Ok(()),
            replicas => Err(PlacementError::BadReplicas { replicas }),
        }
    }
}

/// Opens as many shards as the present ingesters should have and do not: at the founding all of
/// them, later those that new ingesters make room for. They have no key ranges until tenants are
/// assigned.
pub fn initial_shards(
    catalog: &Catalog,
    presence: &Presence,
    settings: &PlacementSettings,
    now_ms: i64,
) -> Result<Vec<Command>, PlacementError> {
    settings.check()?;
    let candidates = candidates(catalog, presence);
    let wanted = (candidates.len() * settings.shards_per_node / settings.replicas).max(1);
    let missing = wanted.saturating_sub(catalog.open_shards_iter().count());
    let mut loads = loads(catalog);
    let mut members = vec![];
    for _ in 0..missing {
        let chosen = choose_members(&candidates, &loads, settings.replicas)?;
        chosen.iter().for_each(|node| *loads.entry(*node).or_default() += 1);
        members.push(chosen);
    }
    Ok(if members.is_empty() { vec![] } else { vec![Command::OpenShards { members, now_ms }] })
}

/// The ingesters that are alive, by id.
pub(crate) fn candidates<'a>(catalog: &'a Catalog, presence: &Presence) -> Vec<&'a Node> {
    let nodes = catalog.nodes().values().map(|node| &**node);
    nodes.filter(|node| node.has(Role::Ingester) && presence.is_alive(node.id)).collect()
}

/// Of how many open shards each node is a member.
pub fn loads(catalog: &Catalog) -> BTreeMap<NodeId, usize> {
    let mut loads = BTreeMap::new();
    for member in catalog.open_shards_iter().flat_map(|shard| &shard.info.members) {
        *loads.entry(*member).or_default() += 1;
    }
    loads
}

/// `replicas` distinct nodes for a new shard: of different zones as far as there are any, the least
/// loaded first.
pub fn choose_members(
    candidates: &[&Node],
    loads: &BTreeMap<NodeId, usize>,
    replicas: usize,
) -> Result<Vec<NodeId>, PlacementError> {
    let mut order: Vec<&Node> = candidates.to_vec();
    order.sort_by_key(|node| (loads.get(&node.id).copied().unwrap_or(0), node.id));
    order.dedup_by_key(|node| node.id);
    if order.len() < replicas {
        return Err(PlacementError::TooFewNodes { replicas, live: order.len() });
    }
    let mut chosen: Vec<&Node> = vec![];
    for fresh_zones_only in [true, false] {
        for node in &order {
            let known = chosen.iter().any(|other| other.id == node.id);
            let zone_taken = chosen.iter().any(|other| other.zone == node.zone);
            if chosen.len() < replicas && !known && !(fresh_zones_only && zone_taken) {
                chosen.push(node);
            }
        }
    }
    Ok(chosen.into_iter().map(|node| node.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testdata::Cluster;

    fn settings(replicas: usize, shards_per_node: usize) -> PlacementSettings {
        PlacementSettings { replicas, shards_per_node, ..PlacementSettings::default() }
    }

    fn opened(cluster: &Cluster, settings: &PlacementSettings) -> Vec<Vec<u64>> {
        let commands =
            initial_shards(&cluster.catalog, &cluster.presence, settings, 7).expect("fits");
        let members = commands.iter().flat_map(|command| match command {
            Command::OpenShards { members, now_ms: 7 } => members.clone(),
            other => panic!("not expected: {other:?}"),
        });
        members.map(|m| m.iter().map(|id| id.0).collect()).collect()
    }

    #[test]
    fn a_single_process_gets_its_shards_once() {
        let mut cluster = Cluster::with_ingesters(&["z"]);
        assert_eq!(opened(&cluster, &settings(1, 2)), [[1], [1]]);
        cluster.open(&[&[1], &[1]]);
        assert!(opened(&cluster, &settings(1, 2)).is_empty());
    }

    #[test]
    fn replicas_lie_in_distinct_zones_and_load_is_even() {
        let cluster = Cluster::with_ingesters(&["a", "a", "b", "b", "c", "c"]);
        let opened = opened(&cluster, &settings(3, 3));
        assert_eq!(opened.len(), 6);
        let mut loads = BTreeMap::new();
        for members in &opened {
            let mut zones: Vec<u64> = members.iter().map(|id| (id - 1) / 2).collect();
            zones.sort_unstable();
            assert_eq!(zones, [0, 1, 2], "{members:?}");
            members.iter().for_each(|id| *loads.entry(*id).or_insert(0) += 1);
        }
        assert!(loads.values().all(|n| *n == 3), "{loads:?}");
    }

    #[test]
    fn zones_that_are_missing_are_made_up_for_by_nodes() {
        let cluster = Cluster::with_ingesters(&["a", "a", "b"]);
        let opened = opened(&cluster, &settings(3, 1));
        assert_eq!(opened, [[1, 3, 2]]);
    }

    #[test]
    fn what_cannot_be_replicated_is_refused() {
        let mut cluster = Cluster::with_ingesters(&["a", "b", "c"]);
        cluster.silence(2, 1_000_000);
        let refused = |cluster: &Cluster, replicas| {
            initial_shards(&cluster.catalog, &cluster.presence, &settings(replicas, 1), 1)
                .expect_err("refused")
        };
        assert_eq!(refused(&cluster, 3), PlacementError::TooFewNodes { replicas: 3, live: 2 });
        assert_eq!(refused(&cluster, 2), PlacementError::BadReplicas { replicas: 2 });
    }

    #[test]
    fn new_ingesters_get_new_shards() {
        let mut cluster = Cluster::with_ingesters(&["a", "b", "c"]);
        cluster.open(&[&[1, 2, 3]]);
        cluster.join(4, "a");
        cluster.join(5, "b");
        cluster.join(6, "c");
        assert_eq!(opened(&cluster, &settings(3, 1)), [[4, 5, 6]]);
    }
}
