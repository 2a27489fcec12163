//! What one executor does at once has a limit.

use std::sync::atomic::Ordering;

use object_store::memory::InMemory;
use pando_model::{NodeId, SeriesSamples};
use pando_promql::{Course, Query, QueryParams};
use pando_rpc::Identity;
use pando_runtime::ManualClock;

use super::*;
use crate::block_store::BlockStoreConfig;
use crate::live::{NoLiveShards, SeriesStream};
use crate::testdata::{CountingStore, built, holding, put, several, sources};

fn executor(store: Arc<dyn object_store::ObjectStore>, limits: ExecutorLimits) -> Executor {
    let blocks = BlockStore::new(store, &BlockStoreConfig::default());
    on(blocks, limits)
}

fn on(blocks: BlockStore, limits: ExecutorLimits) -> Executor {
    let channels = Channels::new(Identity::new(NodeId(1)), None);
    let clock = ManualClock::at(0);
    Executor::new(blocks, Arc::new(NoLiveShards), channels, clock).with_limits(limits)
}

fn plan() -> FragmentPlan {
    let params = QueryParams::range(0, 60_000, 1_000).expect("a range");
    let query = Query::parse("sum(m)", params).expect("a query");
    query.fragments().first().expect("one fragment").plan.clone()
}

async fn execute(executor: &Executor, sources: &Sources) -> Result<ExecutionStats, ExecuteError> {
    let (out, mut batches) = mpsc::channel(1);
    let run = async {
        let result =
            executor.execute(sources, plan(), Budget::default(), CancelFlag::new(), &out).await;
        drop(out);
        result
    };
    let drain = async { while batches.recv().await.is_some() {} };
    futures::future::join(run, drain).await.0
}

#[tokio::test]
async fn fragments_wait_for_their_turn_and_are_refused_in_the_end() {
    let patience = Duration::from_millis(20);
    let limits = ExecutorLimits { fragments_max: 1, patience, ..ExecutorLimits::default() };
    let executor = executor(Arc::new(InMemory::new()), limits);
    let turn = executor.turn().await.expect("the first one");
    let error = execute(&executor, &sources(Vec::new())).await.expect_err("no turn");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("fragments_max=1"), "{error}");
    drop(turn);
    execute(&executor, &sources(Vec::new())).await.expect("a turn");
}

#[tokio::test]
async fn blocks_are_opened_some_at_a_time() {
    let store = Arc::new(CountingStore::default());
    let mut records = Vec::new();
    for id in 1..=20 {
        let block = built(id);
        put(store.as_ref(), block.record.id, block.bytes).await;
        records.push(block.record);
    }
    let limits = ExecutorLimits { opens_max: 3, ..ExecutorLimits::default() };
    let stats = execute(&executor(store.clone(), limits), &sources(records)).await.expect("read");
    assert_eq!((stats.series, stats.samples), (1, 60));
    assert_eq!(store.most.load(Ordering::SeqCst), 3);
}

fn only(streams: &mut [PartStream]) -> &mut BlockStream {
    match streams {
        [PartStream::Block(stream)] => stream,
        _ => panic!("one block is read"),
    }
}

/// What rows say of their floats spares a look at them; between two rows somebody has to look.
#[tokio::test]
async fn floats_take_the_course_that_rows_and_their_borders_say() {
    const STALE: f64 = pando_model::STALE_NAN;
    const NAN: f64 = f64::NAN;
    let cases: [(&[&[f64]], Course); 14] = [
        (&[&[0.0, 1.0, 1.0]], Course::Steady),
        (&[&[0.0, 1.0], &[1.0, 3.0], &[3.0, 4.0]], Course::Steady),
        (&[&[0.0, 1.0], &[3.0], &[2.0, 4.0]], Course::Unknown),
        (&[&[0.0, 2.0, 1.0]], Course::Unknown),
        (&[&[0.0, 1.0], &[1.0, 3.0, 2.0]], Course::Unknown),
        (&[&[0.0, STALE, 1.0]], Course::Unknown),
        (&[&[0.0, NAN, 1.0]], Course::Steady),
        (&[&[7.0, 7.0, 7.0]], Course::Constant),
        (&[&[7.0, 7.0], &[7.0, 7.0, 7.0], &[7.0, 7.0]], Course::Constant),
        (&[&[7.0, 7.0], &[8.0, 8.0]], Course::Steady),
        (&[&[7.0, 7.0], &[6.0, 6.0]], Course::Unknown),
        (&[&[7.0, NAN, 7.0]], Course::Steady),
        (&[&[NAN, NAN]], Course::Steady),
        (&[&[f64::INFINITY, f64::INFINITY]], Course::Steady),
    ];
    for (values, course) in cases {
        let (store, mut records) = (Arc::new(InMemory::new()), Vec::new());
        for (id, values) in (1..).zip(values) {
            let block = holding(id, values);
            put(store.as_ref(), block.record.id, block.bytes).await;
            records.push(block.record);
        }
        let (executor, plan) = (executor(store, ExecutorLimits::default()), plan());
        let wanted = Wanted { matchers: &plan.matchers, time: TimeRange::ALL };
        let held = Held { bytes: Arc::default(), bytes_max: u64::MAX };
        let (reads, labels) = (ReadCounters::default(), SharedLabels::default());
        let shared = Shared { held: &held, labels: &labels, reads: &reads };
        let streams = executor.open(&sources(records), wanted, shared).await.expect("opens");
        let batch = MergedSeries::new(streams).next_batch(100).await.expect("read");
        let parts = batch.expect("a series").series.pop().expect("a series");
        let (series, taken) =
            parts.join(&mut JoinedAxes::default()).expect("decoded").expect("samples");
        assert_eq!((series.len(), taken), (values.concat().len(), course), "{values:?}");
    }
}

#[tokio::test]
async fn pages_that_wait_to_be_decoded_are_part_of_the_budget() {
    let (store, block) = (Arc::new(InMemory::new()), built(1));
    put(store.as_ref(), block.record.id, block.bytes).await;
    let executor = executor(store, ExecutorLimits::default());
    let sources = sources(vec![block.record]);
    let plan = plan();
    let wanted = Wanted { matchers: &plan.matchers, time: plan.time_range() };
    let (reads, labels) = (ReadCounters::default(), SharedLabels::default());
    for (bytes_max, fits) in [(u64::MAX, true), (10, false)] {
        let held = Held { bytes: Arc::default(), bytes_max };
        let shared = Shared { held: &held, labels: &labels, reads: &reads };
        let mut streams = executor.open(&sources, wanted, shared).await.expect("opens");
        let read = only(&mut streams).next_batch().await;
        assert_eq!(read.is_ok(), fits);
        if let Err(error) = read {
            assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        }
        assert!(held.bytes.load(Ordering::Relaxed) > 10);
        if fits {
            assert!(only(&mut streams).next_batch().await.expect("the end").is_none());
            assert_eq!(held.bytes.load(Ordering::Relaxed), 0);
        }
    }
}

#[tokio::test]
async fn each_fragment_counts_its_own_reads_by_where_they_came_from() {
    let (store, block) = (Arc::new(CountingStore::default()), built(1));
    put(store.as_ref(), block.record.id, block.bytes.clone()).await;
    let sources = sources(vec![block.record.clone()]);
    let reads = async |executor: &Executor| {
        let stats = execute(executor, &sources).await.expect("read");
        assert_eq!((stats.series, stats.samples, stats.partials, stats.batches), (1, 3, 1, 2));
        stats.reads
    };
    let in_memory = executor(store.clone(), ExecutorLimits::default());
    let first = reads(&in_memory).await;
    assert_eq!(first.fetches, store.reads.load(Ordering::SeqCst) as u64);
    assert_eq!((first.cache_hits(), first.bytes_read), (0, first.bytes_fetched));
    assert!(first.bytes_read > 0, "{first:?}");
    let second = reads(&in_memory).await;
    // The footer is not read again, pages are found where they were.
    assert_eq!((second.footer_hits, second.range_hits), (1, first.fetches - 1));
    assert_eq!((second.fetches, second.bytes_fetched, second.folder_hits), (0, 0, 0));
    let footer = block.record.object_bytes - block.record.footer_offset;
    assert_eq!(second.bytes_read, first.bytes_read - footer);

    let folder = tempfile::tempdir().expect("a folder");
    let config = BlockStoreConfig {
        folder: Some(folder.path().to_path_buf()),
        ..BlockStoreConfig::default()
    };
    let blocks = BlockStore::new(store.clone(), &config);
    blocks.keep(block.record.id, &block.bytes).expect("written");
    let kept = reads(&on(blocks, ExecutorLimits::default())).await;
    assert_eq!((kept.fetches, kept.bytes_fetched, kept.range_hits), (0, 0, 0));
    assert_eq!((kept.folder_hits, kept.bytes_read), (first.fetches, first.bytes_read));
}

/// The thread that is always allowed, and a turn for each further core.
#[tokio::test]
async fn a_fragment_may_have_all_cores() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let executor = executor(Arc::new(InMemory::new()), ExecutorLimits::default());
    assert_eq!(1 + executor.lanes.available_permits(), cores);
    assert_eq!(1 + executor.limits.lanes_max, cores);
}

/// Batches of one series each, worked on by one thread or several: the same bytes come out.
#[tokio::test]
async fn an_answer_does_not_depend_on_the_number_of_threads() {
    let (store, block) = (Arc::new(CountingStore::default()), several(1, 9));
    put(store.as_ref(), block.record.id, block.bytes.clone()).await;
    let sources = sources(vec![block.record.clone()]);
    let mut answers = Vec::new();
    for lanes_max in [0, 1, 4] {
        let limits = ExecutorLimits { lanes_max, batch_samples: 1, ..ExecutorLimits::default() };
        let (out, mut batches) = mpsc::channel(16);
        let stats = executor(store.clone(), limits)
            .execute(&sources, plan(), Budget::default(), CancelFlag::new(), &out)
            .await
            .expect("read");
        assert_eq!((stats.series, stats.samples, stats.partials), (9, 27, 1));
        drop(out);
        let mut answer = Vec::new();
        while let Some(batch) = batches.recv().await {
            answer.push(batch.encode());
        }
        answers.push(answer);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    let small = Budget { series_max: 8, ..Budget::default() };
    let (out, _batches) = mpsc::channel(16);
    let limits = ExecutorLimits { lanes_max: 4, batch_samples: 1, ..ExecutorLimits::default() };
    let executor = executor(store, limits);
    let error = executor.execute(&sources, plan(), small, CancelFlag::new(), &out).await;
    assert!(error.expect_err("nine").to_string().contains("series_max=8"));
}

/// A budget that is enough for one thread is enough for several, and the other way round.
#[tokio::test]
async fn what_is_refused_does_not_depend_on_the_number_of_threads() {
    let (store, block) = (Arc::new(CountingStore::default()), several(1, 9));
    put(store.as_ref(), block.record.id, block.bytes.clone()).await;
    let sources = sources(vec![block.record.clone()]);
    let mut refused = Vec::new();
    for lanes_max in [0, 1, 8] {
        let limits = ExecutorLimits { lanes_max, batch_samples: 1, ..ExecutorLimits::default() };
        let executor = executor(store.clone(), limits);
        let mut of_budgets = Vec::new();
        for samples_max in (40..240).step_by(4) {
            let budget = Budget { samples_max, ..Budget::default() };
            let (out, _batches) = mpsc::channel(16);
            let ran = executor.execute(&sources, plan(), budget, CancelFlag::new(), &out).await;
            of_budgets.push(ran.is_err());
        }
        refused.push(of_budgets);
    }
    assert!(refused[0].contains(&true) && refused[0].contains(&false), "{:?}", refused[0]);
    assert!(refused.windows(2).all(|pair| pair[0] == pair[1]), "{refused:?}");
}

/// A source that works until it is told to stop, by a task of the same runtime.
struct Busy(std::sync::mpsc::Receiver<()>);

#[async_trait::async_trait]
impl SeriesStream for Busy {
    async fn next_batch(&mut self) -> Result<Option<Vec<SeriesSamples>>, ExecuteError> {
        let stopped = self.0.recv_timeout(Duration::from_secs(20)).is_ok();
        assert!(stopped, "the runtime has no thread left");
        Ok(None)
    }
}

/// The runtime has one thread: who reads on it keeps all others waiting.
#[tokio::test]
async fn reading_leaves_the_threads_that_serve_sockets_alone() {
    let (stop, stopped) = std::sync::mpsc::sync_channel(1);
    let merged = MergedSeries::new(vec![PartStream::Live(Box::new(Busy(stopped)))]);
    let serve = async { stop.send(()).expect("it works") };
    let (read, ()) = futures::future::join(read_batch(merged, 1), serve).await;
    assert!(read.expect("read").1.is_none());
}

/// A source that never has anything, and says when nobody asks it any more.
struct Silent(mpsc::Sender<()>);

#[async_trait::async_trait]
impl SeriesStream for Silent {
    async fn next_batch(&mut self) -> Result<Option<Vec<SeriesSamples>>, ExecuteError> {
        self.0.send(()).await.expect("somebody listens");
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_read_ends_with_who_waits_for_it() {
    let (tell, mut told) = mpsc::channel(1);
    let merged = MergedSeries::new(vec![PartStream::Live(Box::new(Silent(tell)))]);
    {
        let mut read = std::pin::pin!(read_batch(merged, 1));
        tokio::select! {
            _ = &mut read => panic!("there is nothing to read"),
            asked = told.recv() => assert!(asked.is_some()),
        }
    }
    let gone = tokio::time::timeout(Duration::from_secs(20), told.recv()).await;
    assert_eq!(gone.expect("the source is dropped"), None);
}
