//! Conversions between the executor's types and their messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pando_codec::axis::{decode_axis, encode_axis};
use pando_codec::exemplars::{decode_exemplars, encode_exemplars};
use pando_codec::series_chunk::{Chunk, Parts};
use pando_model::{
    CatalogVersion, Cut, KeyRange, Labels, MatchOp, Matcher, NodeId, SeriesKey, SeriesSamples,
    ShardId, TenantId, TimeRange,
};
use pando_promql::QueryError;
use pando_promql::syntax::RegexBudget;
use pando_proto::record::{record_from_proto, record_to_proto};
use pando_proto::v1::{
    self, BlockSourceRef, FetchBatch, LabelMatcher, LabelSet, LookupBatch, LookupRequest,
    MatcherSet, MemberAddress, SeriesChunk, SeriesExemplars,
};
use prost::Message as _;

use crate::block_reads::BlockReads;
use crate::error::ExecuteError;
use crate::execution_stats::ExecutionStats;
use crate::lookup::{Found, Lookup, LookupKind};
use crate::sources::{LiveSource, Sources};

/// Results of one message of a lookup.
const FOUND_PER_MESSAGE: usize = 10_000;

fn invalid(what: impl std::fmt::Display) -> ExecuteError {
    ExecuteError::Invalid(what.to_string())
}

/// A tenant's name from the wire.
///
/// # Errors
/// It is not one.
pub fn tenant_from_proto(name: &str) -> Result<TenantId, ExecuteError> {
    TenantId::parse(name).map_err(invalid)
}

/// Matchers as messages.
pub fn matchers_to_proto(matchers: &[Matcher]) -> Vec<LabelMatcher> {
    let one = |m: &Matcher| LabelMatcher {
        name: m.name().to_string(),
        op: match m.op() {
            MatchOp::Equal => 0,
            MatchOp::NotEqual => 1,
            MatchOp::Regex => 2,
            MatchOp::NotRegex => 3,
        },
        value: m.value().to_string(),
    };
    matchers.iter().map(one).collect()
}

/// Matchers from messages. Their patterns may take a second.
///
/// # Errors
/// An unknown operator, a bad pattern, or patterns that are too large together.
pub fn matchers_from_proto(matchers: Vec<LabelMatcher>) -> Result<Vec<Matcher>, ExecuteError> {
    more_matchers(matchers, &mut RegexBudget::default())
}

/// The same; their patterns count against `budget`.
fn more_matchers(
    matchers: Vec<LabelMatcher>,
    budget: &mut RegexBudget,
) -> Result<Vec<Matcher>, ExecuteError> {
    let one = |m: LabelMatcher| {
        let op = match m.op {
            0 => MatchOp::Equal,
            1 => MatchOp::NotEqual,
            2 => MatchOp::Regex,
            3 => MatchOp::NotRegex,
            op => return Err(invalid(format!("unknown matcher operator: op={op}"))),
        };
        let matcher = Matcher::new(m.name, op, m.value).map_err(invalid)?;
        budget.add(&matcher).map_err(QueryError::from)?;
        Ok(matcher)
    };
    matchers.into_iter().map(one).collect()
}

/// Sources as a message.
pub fn sources_to_proto(sources: &Sources) -> v1::Sources {
    let live = sources.live.iter().map(|source| v1::LiveSource {
        shard: source.shard.0,
        first_cut: source.first_cut.0,
        sealed: source.sealed,
        members: source
            .members
            .iter()
            .map(|(node, address)| MemberAddress { node: node.0, address: address.clone() })
            .collect(),
    });
    let blocks = sources.blocks.iter();
    v1::Sources {
        tenant: sources.tenant.to_string(),
        first_key: sources.keys.first.0,
        last_key: sources.keys.last.0,
        catalog_version: sources.version.0,
        blocks: blocks
            .map(|record| BlockSourceRef { record: record_to_proto(record).encode_to_vec().into() })
            .collect(),
        live: live.collect(),
        deletes_version: 0,
    }
}

/// Sources from a message.
///
/// # Errors
/// It is not one.
pub fn sources_from_proto(message: Option<v1::Sources>) -> Result<Sources, ExecuteError> {
    let message = message.ok_or_else(|| invalid("sources are missing"))?;
    let mut blocks = Vec::with_capacity(message.blocks.len());
    for block in message.blocks {
        let record = v1::BlockRecord::decode(block.record).map_err(invalid)?;
        blocks.push(record_from_proto(&record).map_err(invalid)?);
    }
    let live = message.live.into_iter().map(|source| LiveSource {
        shard: ShardId(source.shard),
        first_cut: Cut(source.first_cut),
        sealed: source.sealed,
        members: source.members.into_iter().map(|m| (NodeId(m.node), m.address)).collect(),
    });
    Ok(Sources {
        tenant: tenant_from_proto(&message.tenant)?,
        keys: keys(message.first_key, message.last_key),
        version: CatalogVersion(message.catalog_version),
        blocks,
        live: live.collect(),
    })
}

/// A key range from the wire.
pub fn keys(first: u64, last: u64) -> KeyRange {
    KeyRange { first: SeriesKey(first), last: SeriesKey(last) }
}

/// A lookup as a message.
pub fn lookup_to_proto(sources: &Sources, lookup: &Lookup) -> LookupRequest {
    let sets = lookup.matchers.iter();
    LookupRequest {
        sources: Some(sources_to_proto(sources)),
        kind: match lookup.kind {
            LookupKind::LabelNames => v1::LookupKind::LabelNames as i32,
            LookupKind::LabelValues => v1::LookupKind::LabelValues as i32,
            LookupKind::Series => v1::LookupKind::Series as i32,
            LookupKind::Exemplars => v1::LookupKind::Exemplars as i32,
        },
        label: lookup.label.clone(),
        matchers: sets.map(|set| MatcherSet { matchers: matchers_to_proto(set) }).collect(),
        min_ms: lookup.time.min_ms,
        max_ms: lookup.time.max_ms,
        limit: lookup.limit as u64,
    }
}

/// A lookup from a message.
///
/// # Errors
/// It is not one.
pub fn lookup_from_proto(message: LookupRequest) -> Result<(Sources, Lookup), ExecuteError> {
    let kind = match v1::LookupKind::try_from(message.kind) {
        Ok(v1::LookupKind::LabelNames) => LookupKind::LabelNames,
        Ok(v1::LookupKind::LabelValues) => LookupKind::LabelValues,
        Ok(v1::LookupKind::Series) => LookupKind::Series,
        Ok(v1::LookupKind::Exemplars) => LookupKind::Exemplars,
        _ => return Err(invalid(format!("unknown kind of lookup: kind={}", message.kind))),
    };
    let mut budget = RegexBudget::default();
    let sets = message.matchers.into_iter();
    let sets = sets.map(|set| more_matchers(set.matchers, &mut budget));
    let lookup = Lookup {
        kind,
        label: message.label,
        matchers: sets.collect::<Result<_, _>>()?,
        time: TimeRange { min_ms: message.min_ms, max_ms: message.max_ms },
        limit: usize::try_from(message.limit).unwrap_or(usize::MAX),
    };
    Ok((sources_from_proto(message.sources)?, lookup))
}

/// What was found, in messages.
pub fn found_to_proto(found: Found) -> Vec<LookupBatch> {
    let texts: Vec<String> = found.texts.into_iter().collect();
    let series: Vec<LabelSet> = found.series.iter().map(labels_to_proto).collect();
    let mut batches: Vec<LookupBatch> = texts
        .chunks(FOUND_PER_MESSAGE)
        .map(|texts| LookupBatch { texts: texts.to_vec(), ..LookupBatch::default() })
        .collect();
    batches.extend(
        series
            .chunks(FOUND_PER_MESSAGE)
            .map(|series| LookupBatch { series: series.to_vec(), ..LookupBatch::default() }),
    );
    let mut count = FOUND_PER_MESSAGE;
    for (labels, exemplars) in &found.exemplars {
        for some in exemplars.chunks(FOUND_PER_MESSAGE) {
            count += some.len();
            if count > FOUND_PER_MESSAGE {
                batches.push(LookupBatch::default());
                count = some.len();
            }
            let mut bytes = Vec::new();
            encode_exemplars(some, &mut bytes);
            if let Some(batch) = batches.last_mut() {
                let labels = Some(labels_to_proto(labels));
                batch.exemplars.push(SeriesExemplars { labels, exemplars: bytes.into() });
            }
        }
    }
    batches
}

/// What was found, from a message.
///
/// # Errors
/// A label set is not one, or exemplars do not decode.
pub fn found_from_proto(batch: LookupBatch) -> Result<Found, ExecuteError> {
    let series = batch.series.iter().map(labels_from_proto).collect::<Result<_, _>>()?;
    let texts = batch.texts.into_iter().collect();
    let mut found = Found { texts, series, ..Found::default() };
    for some in batch.exemplars {
        let labels = labels_from_proto(&some.labels.unwrap_or_default())?;
        found.add_exemplars(labels, decode_exemplars(&some.exemplars).map_err(invalid)?);
    }
    Ok(found)
}

fn labels_to_proto(labels: &Labels) -> LabelSet {
    let texts = labels.iter().flat_map(|(name, value)| [name.to_string(), value.to_string()]);
    LabelSet { texts: texts.collect() }
}

fn labels_from_proto(set: &LabelSet) -> Result<Labels, ExecuteError> {
    let pairs = set.texts.chunks(2).map(|pair| match pair {
        [name, value] => (name.as_str(), value.as_str()),
        _ => ("", ""),
    });
    Labels::from_sorted(pairs).ok_or_else(|| invalid("label set is not one"))
}

/// What an execution came to, as a message.
pub fn stats_to_proto(stats: &ExecutionStats) -> v1::QueryStats {
    let ExecutionStats { series, samples, reads, batches, partials, took } = *stats;
    v1::QueryStats {
        series,
        samples,
        bytes_read: reads.bytes_read,
        cache_hits: reads.cache_hits(),
        bytes_fetched: reads.bytes_fetched,
        fetches: reads.fetches,
        footer_hits: reads.footer_hits,
        range_hits: reads.range_hits,
        folder_hits: reads.folder_hits,
        batches,
        partials,
        took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    }
}

/// What an execution came to, from a message. A member that does not know a number leaves it 0.
pub fn stats_from_proto(message: &v1::QueryStats) -> ExecutionStats {
    ExecutionStats {
        series: message.series,
        samples: message.samples,
        reads: BlockReads {
            bytes_read: message.bytes_read,
            bytes_fetched: message.bytes_fetched,
            fetches: message.fetches,
            footer_hits: message.footer_hits,
            range_hits: message.range_hits,
            folder_hits: message.folder_hits,
        },
        batches: message.batches,
        partials: message.partials,
        took: Duration::from_micros(message.took_us),
    }
}

/// Series as a message; equal axes are sent once.
pub fn series_to_proto(series: &[SeriesSamples]) -> FetchBatch {
    let mut batch = FetchBatch::default();
    let mut axes: Vec<&Arc<[i64]>> = Vec::new();
    for one in series {
        // Series of one scrape group are neighbours, so that the last few axes are enough to look at.
        let known = axes.iter().rev().take(8).position(|axis| Arc::ptr_eq(axis, &one.axis));
        let at = match known {
            Some(back) => axes.len() - 1 - back,
            None => {
                let mut bytes = Vec::new();
                encode_axis(&one.axis, &mut bytes);
                batch.axes.push(bytes.into());
                axes.push(&one.axis);
                axes.len() - 1
            }
        };
        let chunk = Chunk::encode_with_axis(one, batch.axes[at].clone());
        batch.series.push(SeriesChunk {
            labels: Some(labels_to_proto(&one.labels)),
            key: one.key.0,
            axis: at as u32,
            floats: chunk.floats,
            histograms: chunk.histograms.unwrap_or_default(),
            starts: chunk.starts.unwrap_or_default(),
            exemplars: chunk.exemplars.unwrap_or_default(),
        });
    }
    batch
}

/// Series from a message.
///
/// # Errors
/// A chunk does not decode.
pub fn series_from_proto(batch: FetchBatch) -> Result<Vec<SeriesSamples>, ExecuteError> {
    let mut axes: Vec<Arc<[i64]>> = Vec::with_capacity(batch.axes.len());
    for bytes in &batch.axes {
        axes.push(decode_axis(bytes).map_err(invalid)?.into());
    }
    let optional = |bytes: Bytes| if bytes.is_empty() { None } else { Some(bytes) };
    let mut series = Vec::with_capacity(batch.series.len());
    for chunk in batch.series {
        let axis = axes.get(chunk.axis as usize).ok_or_else(|| invalid("axis is missing"))?;
        let labels = labels_from_proto(&chunk.labels.unwrap_or_default())?;
        let (histograms, starts) = (optional(chunk.histograms), optional(chunk.starts));
        let exemplars = optional(chunk.exemplars);
        let parts = Parts {
            floats: &chunk.floats,
            histograms: histograms.as_deref(),
            starts: starts.as_deref(),
            exemplars: exemplars.as_deref(),
        };
        let decoded = parts.decode(labels, SeriesKey(chunk.key), axis.clone());
        series.push(decoded.map_err(invalid)?);
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use pando_model::ErrorKind;

    use super::*;

    #[test]
    fn statistics_come_back_as_they_were_and_what_an_older_member_leaves_out_is_0() {
        let reads = BlockReads {
            bytes_read: 3,
            bytes_fetched: 4,
            fetches: 5,
            footer_hits: 6,
            range_hits: 7,
            folder_hits: 8,
        };
        let took = Duration::from_micros(11);
        let stats = ExecutionStats { series: 1, samples: 2, reads, batches: 9, partials: 10, took };
        let message = stats_to_proto(&stats);
        assert_eq!(message.cache_hits, 21);
        assert_eq!(stats_from_proto(&message), stats);
        let bytes = message.encode_to_vec();
        let pinned =
            [8, 1, 16, 2, 24, 3, 32, 21, 40, 4, 48, 5, 56, 6, 64, 7, 72, 8, 80, 9, 88, 10, 96, 11];
        assert_eq!(bytes, pinned);
        let older = v1::QueryStats::decode(&pinned[..4]).expect("a prefix is a message");
        let known = ExecutionStats { series: 1, samples: 2, ..ExecutionStats::default() };
        assert_eq!(stats_from_proto(&older), known);
    }

    /// Each of these is some megabytes. What is behind the limit is not read.
    #[test]
    fn patterns_have_one_limit_together() {
        let pattern = |value: &str| {
            let (name, value) = ("a".to_string(), value.to_string());
            LabelMatcher { name, op: MatchOp::Regex as u32, value }
        };
        let large = || pattern("\\pL{100}");
        assert!(matchers_from_proto(vec![large()]).is_ok());
        let mut many = vec![large(); 1_000];
        many.push(pattern("("));
        let fault = "query exceeds its budget: regex_bytes_max=67108864";
        let error = matchers_from_proto(many.clone()).expect_err("too many");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::LimitExceeded, fault));
        let sets = many.into_iter().map(|one| MatcherSet { matchers: vec![one] }).collect();
        let kind = v1::LookupKind::Series as i32;
        let lookup = LookupRequest { kind, matchers: sets, ..LookupRequest::default() };
        assert_eq!(lookup_from_proto(lookup).expect_err("too many").to_string(), fault);
    }
}
