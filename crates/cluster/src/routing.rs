//! Which shard takes which keys, by a member's own copy of the routes. The shard itself has the
//! last word.

use std::collections::BTreeMap;

use pando_catalog::RoutingView;
use pando_model::{Epoch, KeyRange, SeriesKey, ShardId, TenantId};

/// A batch, split by shard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Split {
    /// The epoch of the route that was used.
    pub epoch: Epoch,
    /// Positions in the batch, in their order, by shard.
    pub shards: BTreeMap<ShardId, Vec<usize>>,
}

/// The shard that takes `key`, and the epoch of the route; `None` where the tenant has no route
/// that this member knows of: have it assigned.
pub fn route(view: &RoutingView, tenant: &TenantId, key: SeriesKey) -> Option<(ShardId, Epoch)> {
    view.route(tenant).map(|route| (route.shard_of(key), route.epoch()))
}

/// Splits a batch of keys by shard; `None` as in [`route`].
pub fn split_by_shard(
    view: &RoutingView,
    tenant: &TenantId,
    keys: impl IntoIterator<Item = SeriesKey>,
) -> Option<Split> {
    let route = view.route(tenant)?;
    let mut split = Split { epoch: route.epoch(), shards: BTreeMap::new() };
    for (at, key) in keys.into_iter().enumerate() {
        split.shards.entry(route.shard_of(key)).or_default().push(at);
    }
    Some(split)
}

/// The key ranges of `tenant` in order, each with its open shard: what a query is cut into, so that
/// a fragment asks one open shard. Empty where the tenant has no route.
pub fn pieces(view: &RoutingView, tenant: &TenantId) -> Vec<(KeyRange, ShardId)> {
    view.route(tenant).map_or(vec![], |route| route.ranges().collect())
}

#[cfg(test)]
mod tests {
    use pando_catalog::Command;

    use super::*;
    use crate::testdata::{Cluster, tenant};

    #[test]
    fn batches_go_where_their_keys_go() {
        let mut cluster = Cluster::with_ingesters(&["z"]);
        cluster.open(&[&[1], &[1]]);
        let route_of = vec![(SeriesKey(9), ShardId(1)), (SeriesKey(u64::MAX), ShardId(2))];
        cluster.ok(Command::AssignTenant { tenant: tenant("a"), route: route_of });
        let view = cluster.view();
        assert_eq!(route(&view, &tenant("a"), SeriesKey(9)), Some((ShardId(1), Epoch(1))));
        assert_eq!(route(&view, &tenant("b"), SeriesKey(9)), None);
        let keys = [10, 3, 9, 11].map(SeriesKey);
        let split = split_by_shard(&view, &tenant("a"), keys).expect("a route");
        let shards = BTreeMap::from([(ShardId(1), vec![1, 2]), (ShardId(2), vec![0, 3])]);
        assert_eq!(split, Split { epoch: Epoch(1), shards });
        let whole = pieces(&view, &tenant("a"));
        assert_eq!(whole.iter().map(|(_, shard)| shard.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((whole[0].0.first, whole[1].0.last), (SeriesKey(0), SeriesKey(u64::MAX)));
        assert!(pieces(&view, &tenant("b")).is_empty());
    }
}
