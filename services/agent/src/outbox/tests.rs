//! The queue with a sink and a disk that fail.

use std::collections::BTreeSet;

use pando_model::{Labels, SampleValue, SeriesKey, TenantId};
use pando_runtime::disk::{DiskFault, DiskOp, SimDisk};
use pando_runtime::{MetricsRegistry, Rng, SystemClock};
use pando_shipper::BufferConfig;

use super::*;
use crate::testing::FakeSink;

const FLUSH: Duration = Duration::from_millis(500);

fn buffer(disk: &SimDisk) -> DiskBuffer {
    let config = BufferConfig { folder: "/buffer".into(), bytes_max: 1 << 20 };
    DiskBuffer::open(config, disk.shared()).expect("opens")
}

fn outbox(bytes_max: usize) -> (Outbox, MetricsRegistry) {
    let registry = MetricsRegistry::new();
    let config = OutboxConfig { bytes_max, in_flight_max: 4, gather: Duration::ZERO };
    (Outbox::new(config, AgentMetrics::register(&registry, &SystemClock::shared())), registry)
}

fn batch(n: i64) -> Batch {
    let tenant = TenantId::default_tenant();
    let labels = Labels::from_pairs([("__name__", "m"), ("instance", "a:1")]);
    let sample = ShipSample {
        key: SeriesKey::of(&tenant, &labels),
        labels,
        timestamp_ms: n,
        value: SampleValue::Float(n as f64),
        start_ms: 0,
        exemplars: Vec::new(),
    };
    Batch { tenant, samples: vec![sample], metadata: Vec::new() }
}

fn times(batches: &[Batch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| &batch.samples).map(|s| s.timestamp_ms).collect()
}

fn distinct(batches: &[Batch]) -> BTreeSet<i64> {
    times(batches).into_iter().collect()
}

fn start(outbox: &Outbox, sink: &Arc<FakeSink>, disk: &SimDisk) -> Tasks {
    let tasks = Tasks::new();
    outbox.start(sink.clone(), buffer(disk), SystemClock::shared(), &tasks);
    tasks
}

#[tokio::test]
async fn what_is_pushed_is_shipped_in_order() {
    let (outbox, _) = outbox(1 << 20);
    let (sink, disk) = (FakeSink::new(), SimDisk::new());
    (0..50).for_each(|n| outbox.push(batch(n)));
    let _tasks = start(&outbox, &sink, &disk);
    sink.wait(|batches| batches.len() == 50).await;
    assert_eq!(times(&sink.batches()), (0..50).collect::<Vec<_>>());
    outbox.close(FLUSH).await;
    assert!(buffer(&disk).is_empty());
}

#[tokio::test]
async fn scrapes_are_gathered_and_what_is_left_goes_at_the_end() {
    let (outbox, _) = outbox(1 << 20);
    let config = OutboxConfig { gather: Duration::from_secs(3600), ..outbox.shared.config };
    let metrics = outbox.shared.metrics.clone();
    let outbox = Outbox::new(config, metrics);
    let (sink, disk) = (FakeSink::new(), SimDisk::new());
    let large = |n: i64, samples: usize| {
        let mut large = batch(n);
        large.samples = vec![large.samples[0].clone(); samples];
        large
    };
    let _tasks = start(&outbox, &sink, &disk);
    // Too little to be shipped before its time, then enough, in two batches that are not above the limit.
    outbox.push(large(1, 6_000));
    outbox.push(large(2, 6_000));
    outbox.push(large(3, 6_000));
    sink.wait(|batches| batches.iter().map(|b| b.samples.len()).sum::<usize>() >= 12_000).await;
    outbox.close(FLUSH).await;
    let sizes: Vec<usize> = sink.batches().iter().map(|batch| batch.samples.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 18_000);
    assert!(sizes.iter().all(|size| *size <= 16_384), "sizes={sizes:?}");
    assert!(sizes.contains(&12_000), "gathered: sizes={sizes:?}");
}

#[tokio::test]
async fn what_cannot_be_shipped_waits_on_disk_and_survives_a_power_loss() {
    let (first, registry) = outbox(1 << 20);
    let (sink, disk) = (FakeSink::new(), SimDisk::new());
    sink.fail(true);
    let _tasks = start(&first, &sink, &disk);
    (0..10).for_each(|n| first.push(batch(n)));
    let spooled = || registry.encode().expect("encodes").contains("spooled_samples_total 10\n");
    // The disk is written once a second; each failed try is a moment to look.
    let mut tries = 1;
    while !spooled() {
        sink.wait_for_tries(tries).await;
        tries += 1;
    }
    let disk = disk.crash(&Rng::seeded(1), pando_runtime::disk::Tear::Nothing);
    let (second, _) = outbox(1 << 20);
    sink.fail(false);
    (10..20).for_each(|n| second.push(batch(n)));
    let _tasks = start(&second, &sink, &disk);
    sink.wait(|batches| distinct(batches).len() == 20).await;
    // What was under way when the sink failed may be behind the rest of its time.
    let mut times = times(&sink.batches());
    times[..10].sort_unstable();
    assert_eq!(times, (0..20).collect::<Vec<_>>(), "what was on disk first");
}

#[tokio::test]
async fn a_sink_that_comes_back_gets_everything() {
    let (outbox, _) = outbox(1 << 20);
    let (sink, disk) = (FakeSink::new(), SimDisk::new());
    sink.fail(true);
    let _tasks = start(&outbox, &sink, &disk);
    (0..30).for_each(|n| outbox.push(batch(n)));
    sink.wait_for_tries(3).await;
    sink.fail(false);
    (30..40).for_each(|n| outbox.push(batch(n)));
    sink.wait(|batches| distinct(batches).len() == 40).await;
    assert_eq!(sink.batches().len(), 40, "nothing twice");
}

#[tokio::test]
async fn closing_writes_to_disk_what_is_left() {
    let (outbox, _) = outbox(1 << 20);
    let (sink, disk) = (FakeSink::new(), SimDisk::new());
    sink.fail(true);
    let _tasks = start(&outbox, &sink, &disk);
    (0..10).for_each(|n| outbox.push(batch(n)));
    outbox.close(FLUSH).await;
    let mut left = buffer(&disk);
    let found = std::iter::from_fn(|| left.pop()).map(|(_, batch)| batch).collect::<Vec<_>>();
    assert_eq!(distinct(&found), (0..10).collect());
}

#[tokio::test]
async fn a_flush_that_hangs_ends_in_time_and_loses_nothing() {
    struct Hanging;
    #[async_trait::async_trait]
    impl BatchSink for Hanging {
        async fn ship(
            &self,
            _batch: Batch,
        ) -> Result<pando_shipper::Receipt, pando_shipper::ShipError> {
            std::future::pending().await
        }
    }
    let (outbox, _) = outbox(1 << 20);
    let disk = SimDisk::new();
    let tasks = Tasks::new();
    outbox.start(Arc::new(Hanging), buffer(&disk), SystemClock::shared(), &tasks);
    (0..10).for_each(|n| outbox.push(batch(n)));
    outbox.close(Duration::from_millis(50)).await;
    let mut left = buffer(&disk);
    let found = std::iter::from_fn(|| left.pop()).map(|(_, batch)| batch).collect::<Vec<_>>();
    assert_eq!(distinct(&found), (0..10).collect());
}

#[tokio::test]
async fn memory_stays_bounded_where_nothing_takes_samples() {
    let one = bytes_of(&batch(0));
    let (outbox, registry) = outbox(10 * one);
    (0..100).for_each(|n| outbox.push(batch(n)));
    let left = outbox.take_all();
    assert_eq!(times(&left), (80..100).collect::<Vec<_>>(), "the newest stay");
    let text = registry.encode().expect("encodes");
    let lost = "pando_agent_dropped_samples_total{reason=\"queue_full\"} 80";
    assert!(text.contains(lost), "{text}");
}

#[tokio::test]
async fn a_disk_that_fails_keeps_samples_in_memory() {
    let (outbox, _) = outbox(1 << 20);
    let (sink, disk) = (FakeSink::new(), SimDisk::new());
    sink.fail(true);
    let _tasks = start(&outbox, &sink, &disk);
    for _ in 0..100 {
        disk.fail(DiskOp::Append, DiskFault::NoSpace, 0);
    }
    (0..10).for_each(|n| outbox.push(batch(n)));
    // Enough tries for the disk to have been asked.
    sink.wait_for_tries(4).await;
    sink.fail(false);
    sink.wait(|batches| distinct(batches).len() == 10).await;
}
