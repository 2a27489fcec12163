//! Small blocks and comparisons.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use pando_model::{
    BlockId, BlockSource, Cut, GenerationId, KeyRange, Labels, Matcher, SampleValue, SeriesKey,
    SeriesSamples, ShardId, TenantId, TimeRange,
};

use crate::order::SeriesPlace;
use crate::{
    BlockOptions, BlockReader, BlockWriter, BuiltBlock, MemoryObject, RangeReader, ReadError,
    TenantSeries,
};

pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}

pub(super) fn options(id: u128) -> BlockOptions {
    let generation = GenerationId { shard: ShardId(3), cut: Cut(7) };
    BlockOptions {
        slice_ms: 1_000,
        page_bytes: 512,
        page_rows_max: 7,
        row_group_rows: 20,
        label_column_rows_min: 4,
        ..BlockOptions::new(BlockId(id), BlockSource::Generation(generation), 1_700_000_000_000)
    }
}

pub(super) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a good name")
}

pub(super) fn series(
    tenant: &TenantId,
    pairs: &[(&str, &str)],
    samples: impl IntoIterator<Item = (i64, f64)>,
) -> SeriesSamples {
    let labels = Labels::from_pairs(pairs.iter().copied());
    let key = SeriesKey::of(tenant, &labels);
    let values = samples.into_iter().map(|(t, v)| (t, SampleValue::Float(v)));
    SeriesSamples::from_values(labels, key, values)
}

/// Sorts and writes.
pub(super) fn build(options: BlockOptions, series: &[(TenantId, SeriesSamples)]) -> BuiltBlock {
    let mut sorted: Vec<&(TenantId, SeriesSamples)> = series.iter().collect();
    sorted.sort_by_key(|(tenant, s)| SeriesPlace {
        tenant: tenant.clone(),
        key: s.key,
        labels: s.labels.clone(),
    });
    let mut writer = BlockWriter::new(options);
    for (tenant, series) in sorted {
        writer.push(tenant, series.clone(), None).expect("sorted");
    }
    writer.finish().expect("a block")
}

pub(super) fn object(block: &BuiltBlock) -> Arc<dyn RangeReader> {
    Arc::new(MemoryObject(block.bytes.clone()))
}

pub(super) fn open(block: &BuiltBlock) -> BlockReader {
    wait(BlockReader::fetch(&block.record, object(block).as_ref())).expect("opens")
}

pub(super) fn all_rows(block: &BuiltBlock) -> Vec<TenantSeries> {
    let mut rows = open(block).rows(object(block));
    let mut all = Vec::new();
    while let Some(series) = wait(rows.next_series()).expect("reads") {
        all.push(series);
    }
    all
}

pub(super) fn scan(
    block: &BuiltBlock,
    tenant: &TenantId,
    keys: KeyRange,
    matchers: &[Matcher],
    time: TimeRange,
) -> Vec<SeriesSamples> {
    let reader = open(block);
    wait(async {
        let scan = reader.scan(object(block), tenant, keys, matchers, time, 50).await;
        let mut scan = scan.expect("selects");
        let mut all = Vec::new();
        while let Some(batch) = scan.next_batch().await.expect("scans") {
            assert!(!batch.is_empty());
            all.extend(batch);
        }
        all
    })
}

/// All that a series is, floats as bits.
pub(super) fn content(s: &SeriesSamples) -> impl PartialEq + std::fmt::Debug + use<> {
    let floats: Vec<u64> = s.floats.iter().map(|v| v.to_bits()).collect();
    let histograms: Vec<String> = s.histograms.iter().map(|h| format!("{h:?}")).collect();
    let exemplars = s.exemplars.clone();
    (s.labels.clone(), s.key, s.axis.to_vec(), floats, histograms, s.starts.clone(), exemplars)
}

/// Counts requests.
pub(super) struct Counting {
    object: MemoryObject,
    pub(super) requests: AtomicUsize,
    pub(super) ranges: AtomicUsize,
}

impl Counting {
    pub(super) fn new(bytes: Bytes) -> Self {
        let object = MemoryObject(bytes);
        Counting { object, requests: AtomicUsize::new(0), ranges: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl RangeReader for Counting {
    async fn read(&self, ranges: Vec<std::ops::Range<u64>>) -> Result<Vec<Bytes>, ReadError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.ranges.fetch_add(ranges.len(), Ordering::Relaxed);
        self.object.read(ranges).await
    }
}
