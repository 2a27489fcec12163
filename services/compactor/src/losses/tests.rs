//! What deletes and retention take, and what they must leave.

use pando_catalog::{BlockDelta, RoutingDelta, Tenant};
use pando_model::{
    BlockId, BlockRecord, BlockSource, CatalogVersion, Cut, Digest, Exemplar, GenerationId,
    Histogram, KeyRange, Labels, SampleValue, SeriesKey, ShardId,
};

use super::*;

const HOUR_MS: i64 = 3_600_000;
const NOW_MS: i64 = 1_000 * HOUR_MS;

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a good name")
}

fn range(min_ms: i64, max_ms: i64) -> TimeRange {
    TimeRange { min_ms, max_ms }
}

/// A block of generation `cut` with samples of tenants in the given times, stored at `stored_ms`.
fn block(cut: u64, spans: &[(&str, TimeRange)], stored_ms: i64) -> Arc<BlockEntry> {
    let span = |(name, time): &(&str, TimeRange)| TenantSpan {
        tenant: tenant(name),
        keys: KeyRange::ALL,
        time: *time,
        first_row: 0,
        rows: 1,
        series: 1,
        samples: 10,
    };
    let generation = GenerationId { shard: ShardId(1), cut: Cut(cut) };
    let times = spans.iter().map(|(_, time)| *time);
    let record = BlockRecord {
        id: BlockId(u128::from(cut)),
        format: 1,
        level: 0,
        resolution_ms: 0,
        source: BlockSource::Generation(generation),
        tenants: spans.iter().map(span).collect(),
        time: times.reduce(TimeRange::union).expect("a span"),
        digest: Digest { samples: 10, sum: 1 },
        object_bytes: 100,
        footer_offset: 90,
        created_ms: stored_ms,
    };
    Arc::new(BlockEntry { record, added: CatalogVersion(1), deletes_upto: 0, stored_ms })
}

fn delete(number: u64, name: &str, time: TimeRange, last_cut: u64) -> Arc<DeleteRecord> {
    Arc::new(DeleteRecord {
        number,
        tenant: tenant(name),
        matchers: vec![Matcher::equal("job", "gone")],
        time,
        fences: BTreeMap::from([(ShardId(1), Cut(last_cut))]),
        created_ms: NOW_MS,
    })
}

fn views(
    inputs: &[Arc<BlockEntry>],
    deletes: Vec<Arc<DeleteRecord>>,
    retention_ms: &[(&str, u64)],
) -> (RoutingView, BlocksView) {
    let (mut routing, mut blocks) = (RoutingView::new(), BlocksView::new());
    let tenants = retention_ms.iter().map(|(name, ms)| {
        let (id, retention_ms) = (tenant(name), Some(*ms));
        Arc::new(Tenant { id, route: None, limits: None, retention_ms })
    });
    let (to, changed) = (CatalogVersion(1), CatalogVersion(1));
    let tenants = tenants.collect();
    routing
        .apply(&RoutingDelta { to, changed, tenants, ..RoutingView::new().to_delta() })
        .expect("a full state");
    let entries = inputs.to_vec();
    blocks
        .apply(&BlockDelta {
            to,
            changed,
            blocks: entries,
            deletes,
            ..BlocksView::new().to_delta()
        })
        .expect("a full state");
    (routing, blocks)
}

fn plan(
    inputs: &[Arc<BlockEntry>],
    deletes: Vec<Arc<DeleteRecord>>,
    retention_ms: &[(&str, u64)],
    now_ms: i64,
) -> Plan {
    let (routing, blocks) = views(inputs, deletes, retention_ms);
    Plan::of(inputs, &routing, &blocks, 5, now_ms)
}

fn series(job: &str, times: &[i64]) -> SeriesSamples {
    let labels = Labels::from_pairs([("__name__", "m"), ("job", job)]);
    let value = |t: &i64| match t % 2 {
        0 => SampleValue::Float(*t as f64),
        _ => SampleValue::Histogram(Arc::new(Histogram { sum: *t as f64, ..Histogram::default() })),
    };
    let values = times.iter().map(|t| (*t, value(t)));
    let mut series = SeriesSamples::from_values(labels, SeriesKey(1), values);
    series.starts = times.iter().map(|t| t * 10).collect();
    let exemplar = |t: &i64| Exemplar { labels: Labels::empty(), value: 1.0, timestamp_ms: *t };
    series.exemplars = times.iter().map(exemplar).collect();
    series
}

#[test]
fn a_part_of_a_series_keeps_what_belongs_to_its_samples() {
    let part = subset(series("j", &[1, 2, 3, 4, 5, 6]), |t| t == 2 || t >= 5).expect("some stay");
    assert_eq!(&*part.axis, [2, 5, 6]);
    assert_eq!(part.starts, [20, 50, 60]);
    assert_eq!(part.floats, [2.0, 0.0, 6.0]);
    let histograms: Vec<_> = part.histograms.iter().map(|(at, h)| (*at, h.sum)).collect();
    assert_eq!(histograms, [(1, 5.0)]);
    let exemplars: Vec<i64> = part.exemplars.iter().map(|e| e.timestamp_ms).collect();
    assert_eq!(exemplars, [2, 5, 6]);
    assert_eq!(part.value(1), series("j", &[5]).value(0));

    let whole = series("j", &[1, 2]);
    let same = subset(whole.clone(), |_| true).expect("all stay");
    assert!(Arc::ptr_eq(&same.axis, &whole.axis), "a shared axis stays shared");
    assert!(subset(whole, |_| false).is_none());
    assert!(subset(series("j", &[]), |_| true).is_none());
}

#[test]
fn a_delete_takes_matching_series_in_its_time_and_nothing_else() {
    let inputs = [block(1, &[("a", range(0, 100)), ("b", range(0, 100))], NOW_MS)];
    let plan = plan(&inputs, vec![delete(1, "a", range(10, 20), 9)], &[], NOW_MS);
    assert!(plan.separately.is_empty());
    let left = |name: &str, job: &str| {
        let left = plan.merged.apply(&tenant(name), series(job, &[9, 10, 19, 20]));
        left.map(|series| series.axis.to_vec()).unwrap_or_default()
    };
    assert_eq!(left("a", "gone"), [9, 20]);
    assert_eq!(left("a", "other"), [9, 10, 19, 20]);
    assert_eq!(left("b", "gone"), [9, 10, 19, 20], "another tenant's (INV-9)");
    assert!(plan.merged.apply(&tenant("a"), series("gone", &[11, 12])).is_none());
}

#[test]
fn deletes_after_the_lease_wait_for_another_rewrite() {
    let inputs = [block(1, &[("a", range(0, 100))], NOW_MS)];
    assert!(plan(&inputs, vec![delete(6, "a", range(10, 20), 9)], &[], NOW_MS).is_empty());
    assert!(!plan(&inputs, vec![delete(5, "a", range(10, 20), 9)], &[], NOW_MS).is_empty());
}

#[test]
fn what_came_after_a_delete_stays_though_it_is_merged_with_what_came_before() {
    let both =
        [block(1, &[("a", range(0, 100))], NOW_MS), block(2, &[("a", range(0, 100))], NOW_MS)];
    let plan_both = plan(&both, vec![delete(1, "a", range(10, 20), 1)], &[], NOW_MS);
    assert!(plan_both.merged.is_empty());
    assert!(!plan_both.separately[0].is_empty() && plan_both.separately[1].is_empty());

    // Where the later block has nothing in that time, the merged series can be cut.
    let apart = [both[0].clone(), block(2, &[("a", range(20, 100))], NOW_MS)];
    let plan_apart = plan(&apart, vec![delete(1, "a", range(10, 20), 1)], &[], NOW_MS);
    assert!(plan_apart.separately.is_empty() && !plan_apart.merged.is_empty());
}

#[test]
fn retention_counts_from_the_time_or_from_the_storing_whichever_is_later() {
    let (old, young) = (range(0, 10 * HOUR_MS), NOW_MS - HOUR_MS);
    let retention = [("a", 100 * HOUR_MS as u64)];
    let expired = [block(1, &[("a", old), ("b", old)], HOUR_MS), block(9, &[("b", old)], young)];
    let plan_expired = plan(&expired[..1], vec![], &retention, NOW_MS);
    assert!(plan_expired.is_empty(), "a clock far ahead of all blocks is not believed");
    let (routing, blocks) = views(&expired, vec![], &retention);
    let plan_expired = Plan::of(&expired[..1], &routing, &blocks, 0, NOW_MS);
    assert!(plan_expired.merged.apply(&tenant("a"), series("j", &[HOUR_MS])).is_none());
    assert!(plan_expired.merged.apply(&tenant("b"), series("j", &[HOUR_MS])).is_some());

    let backfilled = [block(1, &[("a", old)], young)];
    assert!(plan(&backfilled, vec![], &retention, NOW_MS).is_empty());
    assert!(plan(&backfilled, vec![], &[("a", 0)], NOW_MS).is_empty(), "0 is for ever");

    // Of a block that reaches over the bound, the old part goes, to the millisecond.
    let bound = NOW_MS - 100 * HOUR_MS;
    let over = [block(1, &[("a", range(bound - 5, bound + 5))], NOW_MS - 100 * HOUR_MS)];
    let (routing, blocks) = views(&[over[0].clone(), backfilled[0].clone()], vec![], &retention);
    let plan_over = Plan::of(&over, &routing, &blocks, 0, NOW_MS);
    let left = plan_over.merged.apply(&tenant("a"), series("j", &[bound - 1, bound]));
    assert_eq!(&*left.expect("one").axis, [bound]);

    // The backfilled block keeps what the other one loses.
    let mixed = [over[0].clone(), block(2, &[("a", old)], young)];
    let (routing, blocks) = views(&mixed, vec![], &retention);
    let plan_mixed = Plan::of(&mixed, &routing, &blocks, 0, NOW_MS);
    assert!(plan_mixed.merged.is_empty());
    assert!(!plan_mixed.separately[0].is_empty() && plan_mixed.separately[1].is_empty());
}
