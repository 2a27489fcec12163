//! The buffer on a disk that crashes, fills up and rots.

use std::path::Path;

use pando_model::{Exemplar, Histogram, Metadata, MetricType, STALE_NAN};
use pando_runtime::Rng;
use pando_runtime::disk::{DiskFault, DiskOp, SimDisk, Tear};

use pando_model::{Labels, SampleValue, SeriesKey};

use super::*;
use crate::batch::ShipSample;

const FOLDER: &str = "/buffer";

fn open(disk: &SimDisk, bytes_max: u64) -> DiskBuffer {
    let config = BufferConfig { folder: FOLDER.into(), bytes_max };
    DiskBuffer::open(config, disk.shared()).expect("opens")
}

/// A scrape of `series` series, number `n`.
fn batch(n: i64, series: usize) -> Batch {
    let tenant = TenantId::default_tenant();
    let sample = |i: usize| {
        let name = format!("metric_{i}");
        let labels = Labels::from_pairs([("__name__", &*name), ("instance", "a:1"), ("job", "j")]);
        ShipSample {
            key: SeriesKey::of(&tenant, &labels),
            labels,
            timestamp_ms: 1_000 * n,
            value: SampleValue::Float(n as f64 + i as f64 / 8.0),
            start_ms: 0,
            exemplars: Vec::new(),
        }
    };
    Batch { tenant: tenant.clone(), samples: (0..series).map(sample).collect(), metadata: vec![] }
}

fn push(buffer: &mut DiskBuffer, batch: &Batch) {
    assert_eq!(buffer.push(batch).expect("it is kept"), 0);
}

/// What a batch says, in an order that does not depend on how it was stored.
fn content(batch: &Batch) -> Vec<String> {
    let mut lines: Vec<String> = batch.samples.iter().map(|s| format!("{s:?}")).collect();
    lines.sort();
    lines.extend(batch.metadata.iter().map(|m| format!("{m:?}")));
    lines
}

fn time_of(batch: &Batch) -> i64 {
    batch.samples.first().map_or(0, |sample| sample.timestamp_ms / 1_000)
}

fn drain(buffer: &mut DiskBuffer) -> Vec<i64> {
    let mut times = Vec::new();
    while let Some((entry, batch)) = buffer.pop() {
        times.push(time_of(&batch));
        buffer.ack(entry);
    }
    times
}

fn files(disk: &SimDisk) -> Vec<String> {
    disk.list(Path::new(FOLDER)).expect("lists")
}

#[test]
fn a_batch_comes_back_as_it_went_in() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 1 << 20);
    let mut odd = batch(1, 5);
    odd.samples[0].timestamp_ms = 17;
    odd.samples[1].value = SampleValue::Float(STALE_NAN);
    odd.samples[2].start_ms = 5;
    odd.samples[3].exemplars = vec![Exemplar {
        labels: Labels::from_pairs([("trace_id", "x")]),
        value: 0.5,
        timestamp_ms: 999,
    }];
    odd.samples[4].value = SampleValue::Histogram(Arc::new(Histogram {
        count: 3.0,
        sum: 2.5,
        zero_count: 3.0,
        ..Histogram::default()
    }));
    // Same labels on another target: another group of the block.
    let other = Labels::from_pairs([("__name__", "metric_0"), ("instance", "b:1"), ("job", "j")]);
    let mut second = odd.samples[0].clone();
    second.key = SeriesKey::of(&odd.tenant, &other);
    second.labels = other;
    odd.samples.push(second);
    let help = "What it is.".to_string();
    let metadata = Metadata { metric_type: MetricType::Gauge, unit: String::new(), help };
    odd.metadata.push(("metric_0".to_string(), metadata));
    buffer.push(&odd).expect("fits");
    assert_eq!(buffer.samples(), 6);
    let (entry, back) = buffer.pop().expect("is there");
    assert_eq!(content(&back), content(&odd));
    assert!(!buffer.is_empty() && !buffer.has_next());
    buffer.ack(entry);
    assert!(buffer.is_empty() && files(&disk).is_empty());
}

#[test]
fn a_batch_without_samples_keeps_its_metadata_and_an_empty_one_is_nothing() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 1 << 20);
    push(&mut buffer, &batch(1, 0));
    assert!(!buffer.has_next());
    let mut metadata = batch(1, 0);
    metadata.metadata.push(("m".to_string(), Metadata::default()));
    buffer.push(&metadata).expect("fits");
    assert_eq!(content(&buffer.pop().expect("is there").1), content(&metadata));
}

#[test]
fn the_oldest_comes_first_and_what_is_given_back_comes_again() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 64 << 10);
    // Segments are 8 KiB here: the batches lie in several.
    (0..20).for_each(|n| push(&mut buffer, &batch(n, 40)));
    assert!(files(&disk).len() > 1, "{:?}", files(&disk));
    let (first, _) = buffer.pop().expect("0");
    let (second, _) = buffer.pop().expect("1");
    let (third, _) = buffer.pop().expect("2");
    buffer.give_back(third);
    buffer.give_back(first);
    buffer.ack(second);
    let (again, batch_0) = buffer.pop().expect("0 again");
    assert_eq!((again, time_of(&batch_0)), (first, 0));
    buffer.ack(again);
    assert_eq!(drain(&mut buffer), (2..20).collect::<Vec<_>>());
    assert!(files(&disk).is_empty(), "{:?}", files(&disk));
}

#[test]
fn what_is_not_acknowledged_is_there_after_a_restart() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 1 << 20);
    (0..3).for_each(|n| push(&mut buffer, &batch(n, 3)));
    buffer.pop().expect("taken out, but not acknowledged");
    drop(buffer);
    let mut buffer = open(&disk, 1 << 20);
    assert_eq!(buffer.samples(), 9);
    push(&mut buffer, &batch(3, 3));
    assert_eq!(files(&disk).len(), 2, "nothing is appended to an old segment");
    assert_eq!(drain(&mut buffer), [0, 1, 2, 3]);
    assert!(files(&disk).is_empty());
}

#[test]
fn a_full_buffer_drops_its_oldest_batches_and_says_how_much() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 32 << 10);
    (0..100).for_each(|n| push(&mut buffer, &batch(n, 40)));
    assert!(buffer.bytes() <= 32 << 10);
    let dropped = buffer.stats().dropped_samples;
    assert!(dropped > 0 && dropped.is_multiple_of(40));
    let times = drain(&mut buffer);
    assert_eq!(times, (dropped as i64 / 40..100).collect::<Vec<_>>());
}

#[test]
fn a_segment_that_is_dropped_while_it_is_read_needs_no_acknowledgement() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 32 << 10);
    push(&mut buffer, &batch(0, 40));
    let (entry, _) = buffer.pop().expect("0");
    (1..100).for_each(|n| push(&mut buffer, &batch(n, 40)));
    buffer.give_back(entry);
    assert_ne!(buffer.pop().map(|(_, batch)| time_of(&batch)), Some(0));
    buffer.ack(entry);
}

#[test]
fn a_crash_loses_only_what_was_not_synced() {
    for seed in 0..60 {
        let rng = Rng::seeded(seed);
        let disk = SimDisk::new();
        let mut buffer = open(&disk, 1 << 20);
        let (synced, total) = (rng.range(0, 10) as i64, 10 + rng.range(0, 5) as i64);
        (0..synced).for_each(|n| push(&mut buffer, &batch(n, 7)));
        buffer.sync().expect("syncs");
        (synced..total).for_each(|n| push(&mut buffer, &batch(n, 7)));
        let disk = disk.crash(&rng, Tear::Part);
        assert!(buffer.push(&batch(99, 7)).is_err(), "the file is gone with the power");
        let mut buffer = open(&disk, 1 << 20);
        let times = drain(&mut buffer);
        assert!(times.len() as i64 >= synced, "seed={seed} synced={synced} found={times:?}");
        // A torn tail ends the segment or spoils one record; what is there is what was written.
        assert!(times.is_sorted() && times.iter().all(|time| *time < total), "{times:?}");
        assert_eq!(times[..synced as usize], (0..synced).collect::<Vec<_>>());
        assert!(buffer.is_empty());
    }
}

#[test]
fn a_flipped_bit_costs_at_most_its_segment_and_is_never_believed() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 1 << 20);
    let written: Vec<Batch> = (0..4).map(|n| batch(n, 3)).collect();
    written.iter().for_each(|batch| push(&mut buffer, batch));
    buffer.sync().expect("syncs");
    drop(buffer);
    let name = files(&disk).pop().expect("one segment");
    let path = Path::new(FOLDER).join(name);
    let bytes = disk.read_all(&path).expect("reads");
    for at in 0..bytes.len() {
        let copy = SimDisk::new();
        copy.create_dir(Path::new(FOLDER)).expect("makes it");
        copy.replace(&path, &bytes).expect("writes");
        copy.damage(&path, at as u64).expect("is there");
        if at == MAGIC.len() {
            let config = BufferConfig { folder: FOLDER.into(), bytes_max: 1 << 20 };
            let refused = DiskBuffer::open(config, copy.shared()).err().expect("another version");
            assert_eq!(refused.kind(), ErrorKind::Unsupported);
            continue;
        }
        let mut buffer = open(&copy, 1 << 20);
        let mut found = 0;
        while let Some((entry, batch)) = buffer.pop() {
            let n = time_of(&batch) as usize;
            assert_eq!(content(&batch), content(&written[n]), "at={at}");
            found += 1;
            buffer.ack(entry);
        }
        assert!(found < 4, "at={at}: every byte is covered by a checksum");
        assert!(buffer.stats().damaged_records > 0, "at={at}");
        assert!(buffer.is_empty());
    }
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_lost_that_was_there() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 1 << 20);
    push(&mut buffer, &batch(0, 3));
    disk.set_capacity_bytes(Some(buffer.bytes() + 100));
    let error = buffer.push(&batch(1, 3)).expect_err("no space");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    disk.set_capacity_bytes(None);
    push(&mut buffer, &batch(2, 3));
    assert_eq!(drain(&mut buffer), [0, 2]);
    assert!(buffer.is_empty());
}

#[test]
fn after_a_failed_sync_a_new_file_is_written() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 1 << 20);
    push(&mut buffer, &batch(0, 3));
    disk.fail(DiskOp::Sync, DiskFault::Io, 0);
    assert!(buffer.sync().is_err());
    push(&mut buffer, &batch(1, 3));
    assert_eq!(files(&disk).len(), 2);
    assert_eq!(drain(&mut buffer), [0, 1]);
}

#[test]
fn a_sample_that_fits_no_record_is_left_out_alone() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 1 << 30);
    let mut batch = batch(1, 9);
    let text = "x".repeat(BLOCK_BYTES_MAX + 1);
    batch.samples[4].labels = batch.samples[4].labels.to_builder().set("text", &text).build();
    assert_eq!(buffer.push(&batch).expect("the rest is kept"), 1);
    let kept = std::iter::from_fn(|| buffer.pop()).map(|(_, batch)| batch.samples.len());
    assert_eq!(kept.sum::<usize>(), 8);
}

#[test]
fn a_batch_that_is_larger_than_the_buffer_is_kept_as_far_as_there_is_room() {
    let (disk, whole) = (SimDisk::new(), batch(1, 1_000));
    let mut buffer = open(&disk, 16 << 10);
    let payload = encode(&whole.tenant, PartRef { samples: &whole.samples, metadata: &[] });
    let bytes = payload.expect("few series").expect("samples").len();
    assert!(bytes > 16 << 10, "bytes={bytes}");
    push(&mut buffer, &whole);
    let dropped = buffer.stats().dropped_samples;
    let mut kept = 0;
    while let Some((entry, batch)) = buffer.pop() {
        kept += batch.samples.len() as u64;
        buffer.ack(entry);
    }
    assert!(kept > 250 && kept + dropped == 1_000, "kept={kept} dropped={dropped}");
}

#[test]
fn a_buffer_without_room_keeps_nothing_and_says_so() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 0);
    assert_eq!(buffer.push(&batch(0, 3)).expect("no disk is at fault"), 3);
    assert!(buffer.pop().is_none());
}

/// A buffer outlives its process, and the next one may be of a later version. A changed hash is a
/// changed format: it takes a new [`VERSION`].
#[test]
fn version_one_is_pinned() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 1 << 30);
    let mut batch = batch(3, 5);
    batch.samples[1].value = SampleValue::Float(STALE_NAN);
    batch.samples[2].start_ms = 7;
    let metadata = Metadata { metric_type: MetricType::Counter, ..Metadata::default() };
    batch.metadata.push(("metric_0".to_string(), metadata));
    push(&mut buffer, &batch);
    let file = files(&disk).remove(0);
    let bytes = disk.shared().read_all(&Path::new(FOLDER).join(file)).expect("read");
    assert_eq!(bytes[..9], *b"PANDOBUF\x01");
    assert_eq!(
        xxhash_rust::xxh3::xxh3_64(&bytes),
        2_241_199_411_261_928_468,
        "bytes={}",
        bytes.len()
    );
}

#[test]
fn a_segment_that_is_none_is_set_aside_once_and_takes_its_part_of_the_room() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new(FOLDER)).expect("makes it");
    let write = |n: u64, bytes: &[u8]| {
        let path = Path::new(FOLDER).join(format!("{n:016x}.buffer"));
        disk.replace(&path, bytes).expect("writes");
    };
    (1..=6).for_each(|n| write(n, &[b'x'; 1_000]));
    // A crash came before anything in it was synced.
    write(7, b"");
    let buffer = open(&disk, 1 << 20);
    assert_eq!((buffer.stats().damaged_records, buffer.bytes()), (6, 6_000));
    assert!(buffer.is_empty());
    let bad = |numbers: std::ops::RangeInclusive<u64>| -> Vec<String> {
        numbers.map(|n| format!("{n:016x}.bad")).collect()
    };
    assert_eq!(files(&disk), bad(1..=6), "all of them, out of the way");
    drop(buffer);
    let mut buffer = open(&disk, 4_500);
    assert_eq!(buffer.stats().damaged_records, 0, "counted once");
    assert_eq!(files(&disk), bad(3..=6), "more do not fit");
    push(&mut buffer, &batch(0, 3));
    push(&mut buffer, &batch(1, 3));
    assert!(buffer.bytes() <= 4_500);
    assert_eq!(buffer.stats().dropped_samples, 0, "what nobody can read goes first");
    assert_eq!(drain(&mut buffer), [0, 1]);
}

#[test]
fn a_segment_of_an_unknown_version_is_left_alone() {
    let disk = SimDisk::new();
    let mut buffer = open(&disk, 1 << 20);
    push(&mut buffer, &batch(0, 3));
    buffer.sync().expect("syncs");
    drop(buffer);
    let before = files(&disk);
    let path = Path::new(FOLDER).join(&before[0]);
    let mut bytes = disk.read_all(&path).expect("reads");
    bytes[MAGIC.len()] = VERSION + 1;
    disk.replace(&path, &bytes).expect("writes");
    let config = BufferConfig { folder: FOLDER.into(), bytes_max: 1 << 20 };
    let refused = DiskBuffer::open(config, disk.shared()).err().expect("it is not known");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().ends_with("found=2 known=1"), "{refused}");
    assert_eq!(files(&disk), before);
    assert_eq!(disk.read_all(&path).expect("reads"), bytes);
}
