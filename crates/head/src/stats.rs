//! `HeadStats`: what `/api/v1/status/tsdb` says of one tenant in one shard; and what the shard's memory is made of.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use pando_model::{METRIC_NAME, Metadata, TenantId};

use crate::shard::Shard;

/// A name with a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedCount {
    /// What is counted.
    pub name: String,
    /// How many.
    pub value: u64,
}

/// Numbers of one tenant in one shard. Lists have the greatest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeadStats {
    /// Active series.
    pub series: u64,
    /// Distinct label pairs.
    pub label_pairs: u64,
    /// Runs of samples.
    pub chunks: u64,
    /// Samples in memory.
    pub samples: u64,
    /// The oldest sample in memory, ms; `i64::MAX` for none.
    pub min_time_ms: i64,
    /// The newest sample in memory, ms; `i64::MIN` for none.
    pub max_time_ms: i64,
    /// Series of each metric.
    pub series_by_metric: Vec<NamedCount>,
    /// Values of each label name.
    pub values_by_label: Vec<NamedCount>,
    /// Bytes of values of each label name.
    pub bytes_by_label: Vec<NamedCount>,
    /// Series of each label pair, as `name=value`.
    pub series_by_pair: Vec<NamedCount>,
}

/// Estimated bytes of heap, by what they are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// Series tables and postings.
    pub series_bytes: usize,
    /// Groups' registrations and last frames.
    pub stream_bytes: usize,
    /// Samples.
    pub sample_bytes: usize,
}

impl Shard {
    /// The numbers of `tenant`, with lists of at most `top` entries.
    pub fn stats(&self, tenant: &TenantId, top: usize) -> HeadStats {
        let Some(state) = self.tenants.get(tenant) else {
            return HeadStats {
                min_time_ms: i64::MAX,
                max_time_ms: i64::MIN,
                ..Default::default()
            };
        };
        let series = &state.series;
        let parts = self.generations.iter().filter_map(|g| g.tenants.get(tenant));
        let mut stats = HeadStats {
            series: series.active(),
            label_pairs: series.pair_count() as u64,
            min_time_ms: i64::MAX,
            max_time_ms: i64::MIN,
            ..HeadStats::default()
        };
        for part in parts {
            stats.chunks += part.chunks() as u64;
            stats.samples += part.samples;
            stats.min_time_ms = stats.min_time_ms.min(part.min_ms);
            stats.max_time_ms = stats.max_time_ms.max(part.max_ms);
        }
        let names = series.names();
        let of_pair = |number: &u32| series.pair(*number).rows.len();
        if let Some(metrics) = names.get(METRIC_NAME) {
            let metrics = metrics.iter().map(|(name, pair)| (name.to_string(), of_pair(pair)));
            stats.series_by_metric = greatest(metrics, top);
        }
        let values = names.iter().map(|(name, values)| (name.to_string(), values.len() as u64));
        stats.values_by_label = greatest(values, top);
        let bytes = names.iter().map(|(name, values)| {
            (name.to_string(), values.keys().map(|value| value.len() as u64).sum())
        });
        stats.bytes_by_label = greatest(bytes, top);
        let pairs = names.iter().flat_map(|(name, values)| {
            values.iter().map(move |(value, pair)| (name, value, of_pair(pair)))
        });
        stats.series_by_pair = greatest_pairs(pairs, top);
        stats
    }

    /// What is known of `tenant`'s metric families.
    pub fn metadata(&self, tenant: &TenantId) -> impl Iterator<Item = (&str, &Metadata)> {
        let tenant = self.tenants.get(tenant);
        tenant.into_iter().flat_map(|t| t.metadata.iter().map(|(name, m)| (name.as_str(), m)))
    }

    /// The tenants that the shard has heard of.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.tenants.keys()
    }

    /// Active series of all tenants.
    pub fn active_series(&self) -> u64 {
        self.tenants.values().map(|tenant| tenant.series.active()).sum()
    }

    /// What the shard's memory is made of. Walks over all of it: for gauges, not for hot paths.
    pub fn memory(&self) -> Memory {
        let parts = self.generations.iter().flat_map(|g| g.tenants.values());
        Memory {
            series_bytes: self.tenants.values().map(|t| t.series.heap_bytes()).sum(),
            stream_bytes: self.streams.values().map(|stream| stream.heap_bytes()).sum(),
            sample_bytes: parts.map(|part| part.heap_bytes()).sum(),
        }
    }
}

/// The `top` greatest, equal ones by name.
fn greatest(counts: impl Iterator<Item = (String, u64)>, top: usize) -> Vec<NamedCount> {
    let mut best: BTreeMap<(Reverse<u64>, String), ()> = BTreeMap::new();
    for (name, value) in counts {
        best.insert((Reverse(value), name), ());
        if best.len() > top {
            best.pop_last();
        }
    }
    best.into_keys().map(|(value, name)| NamedCount { name, value: value.0 }).collect()
}

/// [`greatest`] for pairs: the text is made only for those that stay.
fn greatest_pairs<'a>(
    pairs: impl Iterator<Item = (&'a std::sync::Arc<str>, &'a std::sync::Arc<str>, u64)>,
    top: usize,
) -> Vec<NamedCount> {
    let mut best: BTreeMap<(Reverse<u64>, &str, &str), ()> = BTreeMap::new();
    for (name, value, count) in pairs {
        best.insert((Reverse(count), name, value), ());
        if best.len() > top {
            best.pop_last();
        }
    }
    let named = |(count, name, value): (Reverse<u64>, &str, &str)| NamedCount {
        name: format!("{name}={value}"),
        value: count.0,
    };
    best.into_keys().map(named).collect()
}
