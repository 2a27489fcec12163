//! A tenant's first key ranges.

use pando_catalog::{Catalog, Command};
use pando_model::{SeriesKey, ShardId, TenantId};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::PlacementError;
use crate::ring::Ring;

/// Gives `tenant` its first route: `ranges` equal ranges on as many different open shards as there
/// are, picked by a ring, so that tenants spread and a new shard attracts few of them. `None` for a
/// tenant that has a route.
pub fn assign_tenant(
    catalog: &Catalog,
    tenant: &TenantId,
    ranges: usize,
) -> Result<Option<Command>, PlacementError> {
    if catalog.tenants().get(tenant).is_some_and(|known| known.route.is_some()) {
        return Ok(None);
    }
    let ring: Ring<ShardId> =
        Ring::new(catalog.open_shards_iter().map(|shard| (shard.info.id, "")));
    let order = ring.walk(xxh3_64(tenant.as_str().as_bytes()));
    if order.is_empty() {
        return Err(PlacementError::NoOpenShard { tenant: tenant.clone() });
    }
    // More ranges than shards would only cut what lies together.
    let uppers = equal_ranges(ranges.clamp(1, order.len()));
    let route = uppers.into_iter().zip(order).collect();
    Ok(Some(Command::AssignTenant { tenant: tenant.clone(), route }))
}

/// The last keys of `count` equal ranges (at least one) of the whole key space.
pub fn equal_ranges(count: usize) -> Vec<SeriesKey> {
    let count = count.max(1) as u128;
    let upper = |i: u128| SeriesKey((((i + 1) << 64) / count - 1) as u64);
    (0..count).map(upper).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testdata::{Cluster, tenant};

    #[test]
    fn ranges_are_equal_and_cover_everything() {
        assert_eq!(equal_ranges(1), [SeriesKey(u64::MAX)]);
        assert_eq!(equal_ranges(2), [SeriesKey(u64::MAX / 2), SeriesKey(u64::MAX)]);
        assert_eq!(equal_ranges(3).last(), Some(&SeriesKey(u64::MAX)));
    }

    #[test]
    fn a_large_tenant_begins_on_many_shards_a_small_one_on_one() {
        let mut cluster = Cluster::with_ingesters(&["z"]);
        let assign = |cluster: &Cluster, name: &str, ranges| {
            assign_tenant(&cluster.catalog, &tenant(name), ranges)
        };
        let none = PlacementError::NoOpenShard { tenant: tenant("a") };
        assert_eq!(assign(&cluster, "a", 1), Err(none));
        cluster.open(&[&[1], &[1], &[1]]);
        let shards = |command: &Command| match command {
            Command::AssignTenant { route, .. } => {
                route.iter().map(|r| r.1).collect::<BTreeSet<_>>()
            }
            other => panic!("not expected: {other:?}"),
        };
        let large = assign(&cluster, "large", 8).expect("fits").expect("new");
        assert_eq!(shards(&large).len(), 3);
        cluster.ok(large);
        assert_eq!(assign(&cluster, "large", 8), Ok(None), "the first assignment stays");
        let mut used = BTreeSet::new();
        for n in 0..30 {
            let small = assign(&cluster, &format!("t{n}"), 1).expect("fits").expect("new");
            assert_eq!(shards(&small).len(), 1);
            used.extend(shards(&small));
        }
        assert_eq!(used.len(), 3, "small tenants spread");
    }
}
