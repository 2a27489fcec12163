//! `Executor`: opens the sources of a fragment and runs it over their merged series.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::try_join_all;
use pando_block::SeriesScan;
use pando_model::{Matcher, SeriesSamples, TimeRange};
use pando_promql::fragment::{FragmentExecution, FragmentPlan, FragmentStats, PartialBatch};
use pando_promql::{Budget, CancelFlag};
use pando_rpc::Channels;
use tokio::sync::mpsc;

use crate::block_store::BlockStore;
use crate::error::ExecuteError;
use crate::live::{self, LiveShards, SeriesStream};
use crate::lookup::{self, Found, Lookup};
use crate::merge::MergedSeries;
use crate::sources::{LiveSource, Sources};

/// Samples of one batch that is handed to the engine: some MiB, so that many fragments fit into memory.
const BATCH_SAMPLES: usize = 256 << 10;
/// Samples that one source hands over at a time.
const SOURCE_SAMPLES: usize = 64 << 10;

/// Executes fragments. Cloning shares its caches.
#[derive(Clone)]
pub struct Executor {
    blocks: BlockStore,
    live: Arc<dyn LiveShards>,
    channels: Channels,
}

impl Executor {
    /// An executor over the store's blocks, this process' own shards and other members'.
    pub fn new(blocks: BlockStore, live: Arc<dyn LiveShards>, channels: Channels) -> Self {
        Executor { blocks, live, channels }
    }

    /// The blocks.
    pub fn blocks(&self) -> &BlockStore {
        &self.blocks
    }

    /// Runs a fragment and sends its partial batches, in the order of their groups, to `out`.
    ///
    /// # Errors
    /// A source is gone or cannot be read, or a budget is spent.
    pub async fn execute(
        &self,
        sources: &Sources,
        plan: FragmentPlan,
        budget: Budget,
        cancel: CancelFlag,
        out: &mpsc::Sender<PartialBatch>,
    ) -> Result<FragmentStats, ExecuteError> {
        let streams = self.open(sources, &plan.matchers, plan.time_range()).await?;
        let mut merged = MergedSeries::new(streams);
        let mut execution = FragmentExecution::new(plan, budget, cancel.clone());
        while let Some(batch) = merged.next_batch(BATCH_SAMPLES).await? {
            cancel.check()?;
            // The engine works for milliseconds at a time: not on a thread that serves sockets.
            execution = blocking(move || {
                execution.push_batch(batch)?;
                Ok(execution)
            })
            .await?;
        }
        let stats = execution.stats();
        for batch in blocking(move || Ok(execution.finish()?)).await? {
            if out.send(batch).await.is_err() {
                return Err(pando_promql::QueryError::Canceled.into());
            }
        }
        Ok(stats)
    }

    /// Looks up names, values or series in all sources.
    ///
    /// # Errors
    /// A source is gone or cannot be read.
    pub async fn lookup(&self, sources: &Sources, lookup: &Lookup) -> Result<Found, ExecuteError> {
        let in_blocks = sources.blocks.iter().map(|record| async move {
            let (reader, io) = self.blocks.open(record).await?;
            lookup::in_block(&reader, io.as_ref(), sources, lookup).await
        });
        let in_live = sources.live.iter().map(|source| async move {
            match self.live.lookup(sources, source, lookup).await? {
                Some(found) => Ok(found),
                None => live::fetch_lookup(&self.channels, sources, source, lookup).await,
            }
        });
        let (blocks, live) =
            futures::future::try_join(try_join_all(in_blocks), try_join_all(in_live)).await?;
        let mut found = Found::default();
        blocks.into_iter().chain(live).for_each(|part| found.merge(part));
        found.truncate(lookup.limit());
        Ok(found)
    }

    async fn open(
        &self,
        sources: &Sources,
        matchers: &[Matcher],
        time: TimeRange,
    ) -> Result<Vec<Box<dyn SeriesStream>>, ExecuteError> {
        let blocks = sources.blocks.iter().map(|record| async move {
            let (reader, io) = self.blocks.open(record).await?;
            let tenant = &sources.tenant;
            let scan =
                reader.scan(io, tenant, sources.keys, matchers, time, SOURCE_SAMPLES).await?;
            Ok::<Box<dyn SeriesStream>, ExecuteError>(Box::new(BlockStream(scan)))
        });
        let live =
            sources.live.iter().map(|source| self.open_live(sources, source, matchers, time));
        let (blocks, live) =
            futures::future::try_join(try_join_all(blocks), try_join_all(live)).await?;
        Ok(blocks.into_iter().chain(live).collect())
    }

    async fn open_live(
        &self,
        sources: &Sources,
        source: &LiveSource,
        matchers: &[Matcher],
        time: TimeRange,
    ) -> Result<Box<dyn SeriesStream>, ExecuteError> {
        match self.live.open(sources, source, matchers, time).await? {
            Some(stream) => Ok(stream),
            None => live::fetch(&self.channels, sources, source, matchers, time).await,
        }
    }
}

struct BlockStream(SeriesScan);

#[async_trait]
impl SeriesStream for BlockStream {
    async fn next_batch(&mut self) -> Result<Option<Vec<SeriesSamples>>, ExecuteError> {
        Ok(self.0.next_batch().await?)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExecuteError> + Send + 'static,
) -> Result<T, ExecuteError> {
    let stopped = |_| ExecuteError::Live {
        kind: pando_model::ErrorKind::Internal,
        message: "the engine stopped with a fault of its own".to_string(),
    };
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}
