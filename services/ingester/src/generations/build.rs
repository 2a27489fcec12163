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

/// Builds the block `id` of generation `cut`, with what is known of its metrics. Takes long: not for a thread
/// that serves sockets.
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

/// The family that the series of `metric` belong to: its own name, or without the suffix that its type adds.
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
}
