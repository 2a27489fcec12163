//! Blocks for tests, and a store that counts what is read at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use pando_block::{BlockOptions, BlockWriter, BuiltBlock};
use pando_model::{
    BlockId, BlockRecord, BlockSource, CatalogVersion, Cut, GenerationId, KeyRange, Labels,
    SampleValue, SeriesKey, SeriesSamples, ShardId, TenantId,
};

use crate::sources::Sources;

/// A block with three samples of one series.
pub(crate) fn built(id: u128) -> BuiltBlock {
    holding(id, &[0.0, 1.0, 2.0])
}

/// A block with `values` of one series, later than those of blocks with lower ids.
pub(crate) fn holding(id: u128, values: &[f64]) -> BuiltBlock {
    let first = id as i64 * 1_000;
    let samples = values.iter().zip(first..).map(|(v, at)| (at, SampleValue::Float(*v)));
    block(id, vec![series(Labels::from_pairs([("__name__", "m"), ("job", "j")]), samples)])
}

/// A block with three samples of each of `count` series, whose sums depend on their order.
pub(crate) fn several(id: u128, count: usize) -> BuiltBlock {
    let one = |i: usize| {
        let labels = Labels::from_pairs([("__name__", "m".to_string()), ("i", i.to_string())]);
        let value = (i as f64 + 0.1) * 1e15_f64.powi(i as i32 % 2);
        series(labels, (1_000..1_003).map(|t| (t, SampleValue::Float(value))))
    };
    block(id, (0..count).map(one).collect())
}

fn series(labels: Labels, samples: impl Iterator<Item = (i64, SampleValue)>) -> SeriesSamples {
    let key = SeriesKey::of(&TenantId::default_tenant(), &labels);
    SeriesSamples::from_values(labels, key, samples)
}

/// A block of `all` series, which have one name.
fn block(id: u128, mut all: Vec<SeriesSamples>) -> BuiltBlock {
    let source = BlockSource::Generation(GenerationId { shard: ShardId(1), cut: Cut(id as u64) });
    let mut writer = BlockWriter::new(BlockOptions::new(BlockId(id), source, 0));
    all.sort_by_key(|series| series.key);
    for series in all {
        writer.push(&TenantId::default_tenant(), series, None).expect("in order");
    }
    writer.finish().expect("a block")
}

/// All keys of `blocks`.
pub(crate) fn sources(blocks: Vec<BlockRecord>) -> Sources {
    Sources {
        tenant: TenantId::default_tenant(),
        keys: KeyRange::ALL,
        version: CatalogVersion(1),
        blocks,
        live: Vec::new(),
    }
}

/// Puts the bytes of a block where its object belongs.
pub(crate) async fn put(store: &dyn ObjectStore, block: BlockId, bytes: bytes::Bytes) {
    store.put(&Path::from(block.object_path()), bytes.into()).await.expect("stored");
}

/// Counts reads, and how many there were at once.
#[derive(Debug, Default)]
pub(crate) struct CountingStore {
    pub(crate) below: Arc<InMemory>,
    pub(crate) reads: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) most: AtomicUsize,
}

impl std::fmt::Display for CountingStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CountingStore")
    }
}

#[async_trait]
impl ObjectStore for CountingStore {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.below.put_opts(at, bytes, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.below.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        // Whoever else wants to read gets the chance to.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        let got = self.below.get_opts(at, how).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        got
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.below.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.below.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.below.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.below.copy_opts(from, to, how).await
    }
}
