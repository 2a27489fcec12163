//! Merging the inputs of a work item into its output, with the digest of what was kept.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use pando_block::{
    BlockOptions, BlockReader, BuiltBlock, MemoryObject, MergeInput, RangeReader, ReadError,
    merge_blocks, verify_block,
};
use pando_catalog::layout::block_path;
use pando_catalog::{BlockEntry, WorkItem};
use pando_executor::BlockStore;
use pando_model::digest::series_hash;
use pando_model::{BlockId, BlockRecord, BlockSource, Digest, ErrorKind, SeriesSamples, TenantId};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::error::CompactError;
use crate::losses::{Losses, Plan};

/// The shortest time slice of a row, ms: that of blocks of generations.
const SLICE_MIN_MS: i64 = 2 * 3_600_000;
/// Slices that a window is cut into at least where it is longer than that: a row of a long block
/// holds more samples, and a query of an hour still reads little of it.
const SLICES_PER_WINDOW: i64 = 4;

/// What is merged into what.
#[derive(Clone, Debug)]
pub(crate) struct Merge {
    pub(crate) item: WorkItem,
    pub(crate) inputs: Vec<Arc<BlockEntry>>,
    pub(crate) losses: Plan,
    pub(crate) output: BlockId,
    pub(crate) now_ms: i64,
}

/// What a merge came to.
#[derive(Debug)]
pub(crate) struct Merged {
    /// The digest of all that was kept, counted before it was written.
    pub(crate) kept: Digest,
    /// The block; `None` where nothing was kept.
    pub(crate) output: Option<BuiltBlock>,
}

impl Merge {
    /// The layout of the output.
    fn options(&self) -> BlockOptions {
        let spec = &self.item.spec;
        let sources = spec.inputs.clone();
        let source = BlockSource::Compaction { work: self.item.id, sources };
        let window_ms = spec.window.max_ms.saturating_sub(spec.window.min_ms);
        let resolution_ms = self.inputs.first().map_or(0, |entry| entry.record.resolution_ms);
        BlockOptions {
            level: spec.level,
            resolution_ms,
            slice_ms: (window_ms / SLICES_PER_WINDOW).max(SLICE_MIN_MS),
            ..BlockOptions::new(self.output, source, self.now_ms)
        }
    }

    /// Merges on a thread that may block. Cancelled with `stop`.
    pub(crate) async fn run(
        self,
        blocks: BlockStore,
        stop: CancellationToken,
    ) -> Result<Merged, CompactError> {
        let runtime = Handle::current();
        // Whoever drops this future wants the thread back too.
        let guard = stop.clone().drop_guard();
        let merging = move || {
            runtime.block_on(async {
                let merged = stop.run_until_cancelled(self.merge(&blocks, &stop)).await;
                merged.filter(|_| !stop.is_cancelled()).unwrap_or(Err(CompactError::Stopping))
            })
        };
        let merged = tokio::task::spawn_blocking(merging).await;
        drop(guard);
        merged.unwrap_or_else(|error| Err(CompactError::Task(error.to_string())))
    }

    async fn merge(
        &self,
        blocks: &BlockStore,
        stop: &CancellationToken,
    ) -> Result<Merged, CompactError> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for entry in &self.inputs {
            let (reader, io) = blocks.open(&entry.record).await.map_err(CompactError::Open)?;
            inputs.push(MergeInput { reader, io });
        }
        for (input, losses) in inputs.iter_mut().zip(&self.losses.separately) {
            if !losses.is_empty() {
                *input = self.without(input, losses, stop).await?;
            }
        }
        let (kept, built) =
            merge_without(&inputs, self.options(), &self.losses.merged, stop).await?;
        if kept != built.record.digest {
            let (block, output) = (self.output, built.record.digest);
            return Err(CompactError::NotConserved { block, kept, output });
        }
        let output = (kept.samples > 0).then_some(built);
        Ok(Merged { kept, output })
    }

    /// `input` without `losses`, in memory.
    async fn without(
        &self,
        input: &MergeInput,
        losses: &Losses,
        stop: &CancellationToken,
    ) -> Result<MergeInput, CompactError> {
        let inputs = std::slice::from_ref(input);
        let (_, built) = merge_without(inputs, self.options(), losses, stop).await?;
        let io: Arc<dyn RangeReader> = Arc::new(MemoryObject(built.bytes));
        let reader = BlockReader::fetch(&built.record, io.as_ref()).await?;
        Ok(MergeInput { reader, io })
    }
}

/// Merges `inputs` without `losses`, and says what was kept.
async fn merge_without(
    inputs: &[MergeInput],
    options: BlockOptions,
    losses: &Losses,
    stop: &CancellationToken,
) -> Result<(Digest, BuiltBlock), CompactError> {
    let mut kept = Digest::default();
    let keep = |tenant: &TenantId, series: SeriesSamples| {
        // A merge that nobody waits for comes to its end as fast as it can.
        let series = if stop.is_cancelled() { None } else { losses.apply(tenant, series) };
        series.inspect(|series| add(&mut kept, tenant, series))
    };
    let built = merge_blocks(inputs, options, keep).await?;
    Ok((kept, built))
}

fn add(digest: &mut Digest, tenant: &TenantId, series: &SeriesSamples) {
    let hash = series_hash(tenant, &series.labels);
    for (at, t_ms) in series.axis.iter().enumerate() {
        digest.add(hash, *t_ms, &series.value(at));
    }
}

/// Reads the object of `record` back, a row group at a time and past all caches, and compares.
pub(crate) async fn verify(
    record: &BlockRecord,
    store: Arc<dyn ObjectStore>,
) -> Result<(), CompactError> {
    let (runtime, record) = (Handle::current(), record.clone());
    let stored = StoredObject { store, path: block_path(record.id) };
    let verifying = move || runtime.block_on(verify_block(&record, Arc::new(stored)));
    let verified = tokio::task::spawn_blocking(verifying).await;
    verified.map_err(|error| CompactError::Task(error.to_string()))??;
    Ok(())
}

/// An object in the store, without caches.
struct StoredObject {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

#[async_trait]
impl RangeReader for StoredObject {
    async fn read(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, ReadError> {
        let read = self.store.get_ranges(&self.path, &ranges).await;
        read.map_err(|error| {
            let kind = match &error {
                object_store::Error::NotFound { .. } => ErrorKind::NotFound,
                _ => ErrorKind::Unavailable,
            };
            ReadError { kind, message: error.to_string() }
        })
    }
}
