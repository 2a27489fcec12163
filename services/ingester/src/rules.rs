//! What the catalog says of a shard, as the rules that its log carries. Pure.

use std::sync::Arc;

use pando_catalog::{RoutingView, TenantLimits as CatalogLimits};
use pando_codec::entry::{Routes, ShardRules, TenantLimits};
use pando_model::{KeyRange, ShardId, TenantId};
use parking_lot::Mutex;

/// The rules that a shard begins with: no key is its own. Every replica begins alike, whatever its
/// view shows at that moment, and the leader's first write brings the rules that are in force.
pub(crate) fn first_rules() -> ShardRules {
    ShardRules { routes: Routes::Ranges(Vec::new()), ..ShardRules::default() }
}

/// The rules of `shard` as `view` shows them.
pub(crate) fn rules_of(view: &RoutingView, shard: ShardId) -> ShardRules {
    let mut ranges: Vec<(TenantId, KeyRange)> = Vec::new();
    let mut limits: Vec<(TenantId, TenantLimits)> = Vec::new();
    for (id, tenant) in view.tenants() {
        let Some(route) = &tenant.route else { continue };
        let before = ranges.len();
        let here = route.ranges().filter(|(_, of)| *of == shard);
        ranges.extend(here.map(|(range, _)| (id.clone(), range)));
        if ranges.len() > before {
            let mut shards: Vec<ShardId> =
                route.entries().iter().map(|(_, shard)| *shard).collect();
            shards.sort_unstable();
            shards.dedup();
            limits.push((id.clone(), shard_limits(&view.limits(id), shards.len() as u64)));
        }
    }
    // Most tenants have the same limits: those of the first are the default, the others are named.
    let default_limits = limits.first().map_or(TenantLimits::default(), |(_, first)| *first);
    limits.retain(|(_, own)| *own != default_limits);
    ShardRules {
        version: view.changed().0,
        routes: Routes::Ranges(ranges),
        default_limits,
        tenant_limits: limits,
    }
}

/// A tenant's limits in one of its `shards`. In the catalog 0 means no limit, but for the window.
fn shard_limits(limits: &CatalogLimits, shards: u64) -> TenantLimits {
    let or_none = |limit: u32| if limit == 0 { u32::MAX } else { limit };
    TenantLimits {
        series_max: match limits.series_max {
            0 => u64::MAX,
            max => max.div_ceil(shards.max(1)),
        },
        labels_per_series_max: or_none(limits.labels_per_series_max),
        label_name_bytes_max: or_none(limits.label_name_bytes_max),
        label_value_bytes_max: or_none(limits.label_value_bytes_max),
        out_of_order_window_ms: i64::try_from(limits.ooo_window_ms).unwrap_or(i64::MAX),
    }
}

/// The last rules that were made from a view: a view is looked at once, not at every write.
#[derive(Default)]
pub(crate) struct RulesCache(Mutex<Option<Arc<ShardRules>>>);

impl RulesCache {
    /// The rules of `shard` as `view` shows them.
    pub(crate) fn rules(&self, view: &RoutingView, shard: ShardId) -> Arc<ShardRules> {
        let mut cached = self.0.lock();
        match &*cached {
            Some(rules) if rules.version == view.changed().0 => rules.clone(),
            _ => cached.insert(Arc::new(rules_of(view, shard))).clone(),
        }
    }
}

/// Whether `rules` have to go into the log, where `known` are in force.
pub(crate) fn rules_due(rules: &ShardRules, known: &ShardRules) -> bool {
    let same = rules.routes == known.routes
        && rules.default_limits == known.default_limits
        && rules.tenant_limits == known.tenant_limits;
    rules.version > known.version && !same
}

#[cfg(test)]
mod tests {
    use pando_catalog::{Catalog, Command};
    use pando_model::SeriesKey;

    use super::*;
    use crate::tests::fixture::{founded, tenant};

    fn view(catalog: &Catalog) -> RoutingView {
        let mut view = RoutingView::new();
        let delta = catalog.routing_since(pando_model::CatalogVersion(0)).expect("a delta");
        view.apply(&delta).expect("a full state");
        view
    }

    #[test]
    fn limits_are_shared_by_the_shards_of_a_tenant() {
        let mut catalog = founded(2);
        let mut apply = |command: Command| {
            let index = catalog.applied() + 1;
            catalog.apply(index, &command).expect("the command fits");
        };
        let (half, end) = (SeriesKey(u64::MAX / 2), SeriesKey(u64::MAX));
        let route = vec![(half, ShardId(1)), (end, ShardId(2))];
        apply(Command::AssignTenant { tenant: tenant("wide"), route });
        let route = vec![(end, ShardId(1))];
        apply(Command::AssignTenant { tenant: tenant("a"), route });
        let limits =
            CatalogLimits { series_max: 9, labels_per_series_max: 0, ..CatalogLimits::default() };
        apply(Command::SetTenantLimits { tenant: None, limits: Some(limits) });
        let view = view(&catalog);

        let rules = rules_of(&view, ShardId(1));
        assert!(rules.routes.contains(&tenant("a"), SeriesKey(u64::MAX)));
        assert!(rules.routes.contains(&tenant("wide"), half));
        assert!(!rules.routes.contains(&tenant("wide"), end));
        assert_eq!(rules.limits(&tenant("a")).series_max, 9);
        assert_eq!(rules.limits(&tenant("a")).labels_per_series_max, u32::MAX);
        assert_eq!(rules.limits(&tenant("wide")).series_max, 5);
        assert!(!rules_of(&view, ShardId(2)).routes.has_tenant(&tenant("a")));

        assert!(rules_due(&rules, &first_rules()));
        let newer = ShardRules { version: rules.version + 1, ..rules.clone() };
        assert!(!rules_due(&newer, &rules), "nothing has changed");
        assert!(!rules_due(&first_rules(), &rules), "an old view brings no old rules back");
    }
}
