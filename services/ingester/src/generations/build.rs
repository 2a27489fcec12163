//! Builds the block of a generation from a head that goes on taking writes meanwhile.

use std::collections::BTreeMap;

use pando_block::{BlockOptions, BlockWriter, BuiltBlock};
use pando_model::{
    BlockId, BlockSource, Cut, GenerationId, METRIC_NAME, Metadata, MetricType, SeriesSamples,
    ShardId,
};

use crate::error::IngesterError;
use crate::state::HeadState;

/// Samples that are read at a time: some ms, for which nothing can be applied.
const BATCH_SAMPLES: usize = 64 << 10;

/// Builds the block `id` of generation `cut`, with what is known of its metrics. Takes long: not
/// for a thread that serves sockets.
pub(super) fn build_block(
    state: &HeadState,
    shard: ShardId,
    cut: Cut,
    id: BlockId,
    now_ms: i64,
) -> Result<BuiltBlock, IngesterError> {
    let source = BlockSource::Generation(GenerationId { shard, cut });
    let mut writer = BlockWriter::new(BlockOptions::new(id, source, now_ms));
    let selections = state.read(|shard| shard.select_generation(cut))?;
    for mut selection in selections {
        let tenant = selection.tenant().clone();
        let families: BTreeMap<String, Metadata> = state.read(|shard| {
            shard.metadata(&tenant).map(|(name, m)| (name.to_string(), m.clone())).collect()
        });
        loop {
            let batch: Vec<SeriesSamples> =
                state.read(|shard| shard.read(&mut selection, BATCH_SAMPLES))?;
            if batch.is_empty() {
                break;
            }
            for series in batch {
                let metadata = family_of(&families, series.labels.get(METRIC_NAME).unwrap_or(""));
                writer.push(&tenant, series, metadata)?;
            }
        }
    }
    Ok(writer.finish()?)
}

/// The family that the series of `metric` belong to: its own name, or without the suffix that its
/// type adds.
fn family_of<'a>(families: &'a BTreeMap<String, Metadata>, metric: &str) -> Option<&'a Metadata> {
    use MetricType::{Counter, GaugeHistogram, Histogram, Info, Summary};
    if let Some(found) = families.get(metric) {
        return Some(found);
    }
    let (family, suffix) = metric.rsplit_once('_')?;
    let found = families.get(family)?;
    let fits = match suffix {
        "bucket" => matches!(found.metric_type, Histogram | GaugeHistogram),
        "sum" | "count" => matches!(found.metric_type, Histogram | Summary),
        "gsum" | "gcount" => found.metric_type == GaugeHistogram,
        "created" => matches!(found.metric_type, Counter | Histogram | Summary),
        "total" => found.metric_type == Counter,
        "info" => found.metric_type == Info,
        _ => false,
    };
    fits.then_some(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pando_codec::entry::{CutReason, Entry, StreamBlock, Write};
    use pando_codec::write_block::{Encoder, FrameInput, FrameValue, GroupSpec};
    use pando_consensus::StateMachine as _;
    use pando_head::ShardConfig;
    use pando_model::{
        Digest, Epoch, Histogram, Labels, ProducerId, STALE_NAN, Sequence, Span, StreamId, TenantId,
    };
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_suffix_counts_only_where_the_type_adds_it() {
        let of = |metric_type| Metadata { metric_type, ..Metadata::default() };
        let families = BTreeMap::from([
            ("seconds".to_string(), of(MetricType::Histogram)),
            ("requests".to_string(), of(MetricType::Counter)),
        ]);
        assert!(family_of(&families, "seconds_bucket").is_some());
        assert!(family_of(&families, "requests").is_some());
        assert!(family_of(&families, "requests_total").is_some());
        assert!(family_of(&families, "requests_bucket").is_none());
        assert!(family_of(&families, "seconds_max").is_none());
        assert!(family_of(&families, "other").is_none());
    }

    const NOW_MS: i64 = 1_700_000_000_000;

    fn value() -> impl Strategy<Value = FrameValue> {
        let histogram = |n: u64| {
            let spans = vec![Span { offset: 0, length: 1 }];
            let (positive_spans, positive_buckets) = (spans, vec![n as f64]);
            let counts = Histogram { positive_spans, positive_buckets, ..Histogram::default() };
            Arc::new(Histogram { count: n as f64, sum: n as f64, integer: true, ..counts })
        };
        prop_oneof![
            4 => (0u32..50).prop_map(|n| FrameValue::Float(f64::from(n) / 4.0)),
            1 => Just(FrameValue::Float(STALE_NAN)),
            1 => Just(FrameValue::Float(-0.0)),
            1 => (0u64..9).prop_map(move |n| FrameValue::Histogram(histogram(n))),
            1 => Just(FrameValue::Absent),
        ]
    }

    /// (group, minutes back, values): frames of two tenants, in any order of time.
    fn frames() -> impl Strategy<Value = Vec<(usize, i64, Vec<FrameValue>)>> {
        prop::collection::vec((0usize..3, 0i64..180, prop::collection::vec(value(), 4)), 1..60)
    }

    fn apply(state: &HeadState, index: &mut u64, entry: &Entry) {
        *index += 1;
        state.apply(*index, &entry.encode()).expect("it is read");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// What a majority reports of a generation is what its block says of itself: late samples,
        /// repeats, refused ones, stale markers and histograms included.
        #[test]
        fn a_block_has_the_digest_of_its_generation(frames in frames()) {
            let rules = pando_codec::entry::ShardRules::default();
            let config = ShardConfig { shard: ShardId(1), rules, inherited: Vec::new() };
            let state = HeadState::new(config);
            let mut encoder = Encoder::new();
            let groups: Vec<_> = ["a", "b", "a"].iter().enumerate().map(|(group, tenant)| {
                let labels = |i: usize| {
                    let (i, instance) = (i.to_string(), format!("host{group}:80"));
                    let pairs = [("__name__", "m"), ("i", &*i), ("instance", &*instance)];
                    Some(Labels::from_pairs(pairs))
                };
                let tenant = TenantId::parse(tenant).expect("good name");
                let series = (0..4).map(labels).collect();
                encoder.register(GroupSpec { tenant, target: None, series }).expect("it fits")
            }).collect();
            let stream = StreamId { producer: ProducerId(1), epoch: Epoch(1) };
            let (mut index, mut sequence) = (0, 0);
            for (group, back, values) in &frames {
                let time_ms = NOW_MS - back * 60_000;
                let input = FrameInput { time_ms, values, ..FrameInput::default() };
                encoder.push_frame(groups[*group], &input);
                sequence += 1;
                let block = StreamBlock {
                    stream,
                    sequence: Sequence(sequence),
                    skip: None,
                    bytes: encoder.finish().expect("something was pushed").into(),
                };
                let write = Write { leader_time_ms: NOW_MS, rules: None, blocks: vec![block] };
                apply(&state, &mut index, &Entry::Write(write));
            }
            apply(&state, &mut index, &Entry::Cut { cut: Cut(1), reason: CutReason::Demand });
            let digest = state.read(|s| s.generations().next().map(|g| g.digest)).expect("one");
            let built = build_block(&state, ShardId(1), Cut(1), BlockId(1), NOW_MS).expect("built");
            prop_assert_eq!(built.record.digest, digest);
            let spans: u64 = built.record.tenants.iter().map(|t| t.samples).sum();
            prop_assert_eq!(spans, digest.samples);
            prop_assert!(digest != Digest::default() || spans == 0);
        }
    }
}
