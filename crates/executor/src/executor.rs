//! `Executor`: opens the sources of a fragment and runs it over their merged series.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, try_join_all};
use futures::{FutureExt as _, StreamExt as _, stream};
use pando_block::SharedLabels;
use pando_model::{BlockRecord, ErrorKind, JoinedAxes, Matcher, TimeRange};
use pando_promql::fragment::{FragmentExecution, FragmentPlan, PartialBatch};
use pando_promql::{Budget, CancelFlag, QueryError};
use pando_rpc::Channels;
use pando_runtime::SharedClock;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};

use crate::block_reads::ReadCounters;
use crate::block_store::BlockStore;
use crate::block_stream::{BlockStream, Held};
use crate::error::ExecuteError;
use crate::execution_stats::ExecutionStats;
use crate::label_pools::LabelPools;
use crate::lanes::{Lanes, Room, blocking};
use crate::live::{self, LiveShards};
use crate::lookup::{self, Found, Lookup};
use crate::merge::{Batch, MergedSeries, PartStream, SeriesParts};
use crate::sources::{LiveSource, Sources};

/// Samples that one source hands over at a time, where there are few; and all blocks of a fragment
/// together, where there are many.
const SOURCE_SAMPLES: usize = 64 << 10;
const BLOCKS_SAMPLES: usize = 1 << 20;
/// Samples that a source hands over at least, so that many blocks do not make for many small steps.
const SOURCE_SAMPLES_MIN: usize = 1 << 10;

/// What a group takes at a step, at most, where values are floats.
const STATE_BYTES: u64 = 32;

/// How much an executor does at once (INV-7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExecutorLimits {
    /// Fragments and lookups that run at the same time; more wait. Default: 32, so that all
    /// queries of one frontend (20) may run at a member, and some of them in two parts by steps.
    pub fragments_max: usize,
    /// How long one waits for its turn before it is refused. Default: 30 s.
    pub patience: Duration,
    /// Blocks of one fragment that are opened at the same time. Default: 8.
    pub opens_max: usize,
    /// Threads that work for fragments beside one for each of them. Default: as many as there are processors, without
    /// the one that reads.
    pub lanes_max: usize,
    /// Samples of one batch that is handed to the engine. Default: 4 Mi, which are some MiB, so that many fragments fit
    /// into memory, and so many that waking another thread for them costs little.
    pub batch_samples: usize,
}

impl Default for ExecutorLimits {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        ExecutorLimits {
            fragments_max: 32,
            patience: Duration::from_secs(30),
            opens_max: 8,
            lanes_max: processors - 1,
            batch_samples: 4 << 20,
        }
    }
}

impl ExecutorLimits {
    /// Of fragments, and of further threads.
    fn semaphores(self) -> (Arc<Semaphore>, Arc<Semaphore>) {
        let of = |permits| Arc::new(Semaphore::new(permits));
        (of(self.fragments_max), of(self.lanes_max))
    }
}

/// Executes fragments. Cloning shares its caches and its limits.
#[derive(Clone)]
pub struct Executor {
    blocks: BlockStore,
    live: Arc<dyn LiveShards>,
    channels: Channels,
    clock: SharedClock,
    limits: ExecutorLimits,
    turns: Arc<Semaphore>,
    lanes: Arc<Semaphore>,
    labels: LabelPools,
}

impl Executor {
    /// An executor over the store's blocks, this process' own shards and other members'.
    pub fn new(
        blocks: BlockStore,
        live: Arc<dyn LiveShards>,
        channels: Channels,
        clock: SharedClock,
    ) -> Self {
        let limits = ExecutorLimits::default();
        let (turns, lanes) = limits.semaphores();
        let labels = LabelPools::default();
        Executor { blocks, live, channels, clock, limits, turns, lanes, labels }
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(self, limits: ExecutorLimits) -> Self {
        let (turns, lanes) = limits.semaphores();
        Executor { limits, turns, lanes, ..self }
    }

    /// Waits for a turn.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, ExecuteError> {
        let ExecutorLimits { fragments_max, patience, .. } = self.limits;
        let refused = || ExecuteError::Live {
            kind: ErrorKind::Unavailable,
            message: format!("too many fragments at once: fragments_max={fragments_max}"),
        };
        let turn = tokio::time::timeout(patience, self.turns.acquire()).await;
        turn.map_err(|_| refused())?.map_err(|_| refused())
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
    ) -> Result<ExecutionStats, ExecuteError> {
        let began = self.clock.monotonic();
        let _turn = self.turn().await?;
        let reads = ReadCounters::default();
        let wanted = Wanted { matchers: &plan.matchers, time: plan.time_range() };
        let held = Held { bytes: Arc::default(), bytes_max: budget.bytes_max };
        let labels = self.labels.take();
        let shared = Shared { held: &held, labels: &labels.pool, reads: &reads };
        let streams = self.open(sources, wanted, shared).await?;
        let mut merged = MergedSeries::new(streams);
        // A group's state is some columns, and a batch has no more groups than series.
        let state_bytes = (plan.steps.len() as u64).saturating_mul(STATE_BYTES);
        let begin = || FragmentExecution::new(plan.clone(), budget, cancel.clone());
        let room = Room { pieces: self.limits.lanes_max + 1, bytes: budget.bytes_max / 4 };
        let mut lanes =
            Lanes::new(self.lanes.clone(), room, |all: &mut FragmentExecution, later| {
                Ok(all.absorb(later)?)
            });
        loop {
            let batch;
            (merged, batch) = read_batch(merged, self.limits.batch_samples).await?;
            let Some(batch) = batch else { break };
            cancel.check()?;
            let series = batch.series.len() as u64;
            let bytes = batch.bytes.saturating_add(series.saturating_mul(state_bytes));
            let execution = begin();
            lanes.begin(bytes, move || run(execution, batch.series)).await?;
        }
        let execution = lanes.finish().await?.unwrap_or_else(begin);
        let read = execution.stats();
        let (mut batches, mut partials) = (0, 0);
        for batch in blocking(move || execution.finish()).await? {
            batches += 1;
            partials += (batch.groups.len() + batch.raw.len()) as u64;
            if out.send(batch).await.is_err() {
                return Err(QueryError::Canceled.into());
            }
        }
        Ok(ExecutionStats {
            series: read.series,
            samples: read.samples,
            reads: reads.reads(),
            batches,
            partials,
            took: self.clock.monotonic().saturating_sub(began),
        })
    }

    /// Looks up names, values or series in all sources.
    ///
    /// # Errors
    /// A source is gone or cannot be read.
    pub async fn lookup(&self, sources: &Sources, lookup: &Lookup) -> Result<Found, ExecuteError> {
        let _turn = self.turn().await?;
        let in_blocks: Vec<Opening<'_, Found>> =
            sources.blocks.iter().map(|r| self.lookup_block(r, sources, lookup).boxed()).collect();
        let in_blocks = some_at_once(in_blocks, self.limits.opens_max);
        let in_live = sources.live.iter().map(|source| async move {
            match self.live.lookup(sources, source, lookup).await? {
                Some(found) => Ok(found),
                None => live::fetch_lookup(&self.channels, sources, source, lookup).await,
            }
        });
        let (blocks, live) = futures::future::try_join(in_blocks, try_join_all(in_live)).await?;
        let mut found = Found::default();
        blocks.into_iter().chain(live).for_each(|part| found.merge(part));
        found.truncate(lookup.limit());
        Ok(found)
    }

    async fn lookup_block(
        &self,
        record: &BlockRecord,
        sources: &Sources,
        lookup: &Lookup,
    ) -> Result<Found, ExecuteError> {
        let (reader, io) = self.blocks.open(record).await?;
        lookup::in_block(&reader, io.as_ref(), sources, lookup).await
    }

    async fn open(
        &self,
        sources: &Sources,
        wanted: Wanted<'_>,
        shared: Shared<'_>,
    ) -> Result<Vec<PartStream>, ExecuteError> {
        let blocks: Vec<Opening<'_, PartStream>> = sources
            .blocks
            .iter()
            .map(|r| self.open_block(sources, r, wanted, shared).boxed())
            .collect();
        let blocks = some_at_once(blocks, self.limits.opens_max);
        let Wanted { matchers, time } = wanted;
        let live =
            sources.live.iter().map(|source| self.open_live(sources, source, matchers, time));
        let (blocks, live) = futures::future::try_join(blocks, try_join_all(live)).await?;
        Ok(blocks.into_iter().chain(live).collect())
    }

    async fn open_block(
        &self,
        sources: &Sources,
        record: &BlockRecord,
        wanted: Wanted<'_>,
        shared: Shared<'_>,
    ) -> Result<PartStream, ExecuteError> {
        let Shared { held, labels, reads } = shared;
        let (reader, io) = self.blocks.open_counted(record, reads).await?;
        let (tenant, keys) = (&sources.tenant, sources.keys);
        let samples = BLOCKS_SAMPLES / sources.blocks.len().max(1);
        let samples = samples.clamp(SOURCE_SAMPLES_MIN, SOURCE_SAMPLES);
        let scan = reader.scan(io, tenant, keys, wanted.matchers, wanted.time, samples).await?;
        let stream = BlockStream::new(scan.with_labels(labels.clone()), held.clone());
        Ok(PartStream::Block(Box::new(stream)))
    }

    async fn open_live(
        &self,
        sources: &Sources,
        source: &LiveSource,
        matchers: &[Matcher],
        time: TimeRange,
    ) -> Result<PartStream, ExecuteError> {
        let stream = match self.live.open(sources, source, matchers, time).await? {
            Some(stream) => stream,
            None => live::fetch(&self.channels, sources, source, matchers, time).await?,
        };
        Ok(PartStream::Live(stream))
    }
}

/// What is read of each source.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    matchers: &'a [Matcher],
    time: TimeRange,
}

/// What the scans of one fragment have in common.
#[derive(Clone, Copy)]
struct Shared<'a> {
    held: &'a Held,
    labels: &'a SharedLabels,
    reads: &'a ReadCounters,
}

type Opening<'a, T> = BoxFuture<'a, Result<T, ExecuteError>>;

/// All results, in order, with at most `at_once` under way.
async fn some_at_once<T>(
    futures: Vec<Opening<'_, T>>,
    at_once: usize,
) -> Result<Vec<T>, ExecuteError> {
    let mut results = Vec::with_capacity(futures.len());
    let mut running = stream::iter(futures).buffered(at_once.max(1));
    while let Some(result) = running.next().await {
        results.push(result?);
    }
    Ok(results)
}

/// The next batch of `merged`. Rows are told apart and axes decoded as they are read, which is work, too: not for a
/// thread that serves sockets. Where the store makes it wait, it waits until the fragment ends.
async fn read_batch(
    mut merged: MergedSeries,
    samples: usize,
) -> Result<(MergedSeries, Option<Batch>), ExecuteError> {
    let (_until_dropped, ended) = oneshot::channel::<()>();
    let runtime = Handle::current();
    let read = async move {
        let batch = tokio::select! {
            batch = merged.next_batch(samples) => batch?,
            _ = ended => return Err(QueryError::Canceled.into()),
        };
        Ok((merged, batch))
    };
    blocking(move || runtime.block_on(read)).await
}

/// Runs `execution` over a batch. The engine works for milliseconds at a time: not on a thread that serves sockets.
fn run(
    mut execution: FragmentExecution,
    batch: Vec<SeriesParts>,
) -> Result<FragmentExecution, ExecuteError> {
    let mut axes = JoinedAxes::default();
    for parts in batch {
        // One at a time: its samples stay in the processor's cache until it is done.
        if let Some((series, course)) = parts.join(&mut axes)? {
            execution.push(series, course)?;
        }
    }
    Ok(execution)
}

#[cfg(test)]
mod tests;
