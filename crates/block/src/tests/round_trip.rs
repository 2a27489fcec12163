//! What is written comes back, bit by bit, and the file is laid out as promised.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pando_model::{
    BlockId, Exemplar, Histogram, KeyRange, Labels, MatchOp, Matcher, Metadata, MetricType,
    ResetHint, STALE_NAN, SampleValue, SeriesKey, SeriesSamples, Span, TenantId, TimeRange,
};

use super::support::*;
use crate::{
    BlockError, BlockOptions, BlockReader, BlockWriter, FooterAt, inspect_block, locate_footer,
    verify_block,
};

fn histogram(count: f64) -> SampleValue {
    SampleValue::Histogram(Arc::new(Histogram {
        integer: true,
        reset_hint: ResetHint::NotReset,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count,
        sum: count * 1.5,
        positive_spans: vec![Span { offset: -2, length: 2 }],
        positive_buckets: vec![count - 2.0, 1.0],
        ..Histogram::default()
    }))
}

/// Series with everything that a row can hold.
fn rich(tenant: &TenantId) -> Vec<(TenantId, SeriesSamples)> {
    let payload = f64::from_bits(0x7ff8_0000_dead_beef);
    let mut all = Vec::new();
    for i in 0..12i64 {
        let instance = format!("host-{}", i % 4);
        let name = ["up", "requests_total", "temperature_celsius"][(i / 4) as usize];
        let labels = [("__name__", name), ("instance", instance.as_str()), ("job", "node")];
        let times = (0..30).map(|k| (k * 150 + i % 4, (k * (i + 1)) as f64));
        all.push(series(tenant, &labels, times));
    }
    all[1].1.floats[7] = STALE_NAN;
    all[2].1.floats[8] = payload;
    all[3].1.floats[9] = -0.0;
    all[4].1.starts = (0..30).map(|k| if k < 20 { 5 } else { 3_000 }).collect();
    all[5].1.exemplars = vec![
        Exemplar {
            labels: Labels::from_pairs([("trace_id", "a")]),
            value: 1.0,
            timestamp_ms: 1_001,
        },
        Exemplar { labels: Labels::empty(), value: f64::INFINITY, timestamp_ms: 9_000 },
    ];
    let labels = Labels::from_pairs([("__name__", "latency_seconds"), ("rare", "x")]);
    let key = SeriesKey::of(tenant, &labels);
    let values = (0..40).map(|k| {
        let value =
            if k % 5 == 4 { SampleValue::Float(STALE_NAN) } else { histogram(k as f64 + 3.0) };
        (k * 100, value)
    });
    all.push((tenant.clone(), SeriesSamples::from_values(labels, key, values)));
    all
}

fn series(
    tenant: &TenantId,
    pairs: &[(&str, &str)],
    samples: impl IntoIterator<Item = (i64, f64)>,
) -> (TenantId, SeriesSamples) {
    (tenant.clone(), super::support::series(tenant, pairs, samples))
}

#[test]
fn everything_that_is_pushed_comes_back() {
    let (a, b) = (tenant("a"), tenant("b"));
    let mut pushed = rich(&b);
    pushed.extend(rich(&a));
    let block = build(options(1), &pushed);
    let rows = all_rows(&block);
    assert_eq!(rows.len(), pushed.len());
    for row in &rows {
        let (_, expected) = pushed
            .iter()
            .find(|(t, s)| *t == row.tenant && s.labels == row.samples.labels)
            .expect("was pushed");
        assert_eq!(content(&row.samples), content(expected));
    }
    let report = wait(verify_block(&block.record, object(&block))).expect("verifies");
    assert_eq!(report.series, pushed.len() as u64);
    assert_eq!(report.histograms, 2 * 32);
    assert_eq!(report.exemplars, 4);
    assert_eq!(report.digest, block.record.digest);
    let time = TimeRange { min_ms: 0, max_ms: 29 * 150 + 3 + 1 };
    assert_eq!(block.record.time, time);
    assert_eq!(block.record.tenants.len(), 2);
    assert_eq!(block.record.tenants[0].series, 13);
    assert!(block.record.tenants[0].rows > 13 * 4, "slices make rows");
}

#[test]
fn equal_input_gives_equal_bytes() {
    let pushed = rich(&tenant("a"));
    assert_eq!(build(options(1), &pushed).bytes, build(options(1), &pushed).bytes);
}

#[test]
fn a_scan_shares_axes_over_slices_and_trims_to_its_time() {
    let t = tenant("a");
    let block = build(options(1), &rich(&t));
    let time = TimeRange { min_ms: 450, max_ms: 2_999 };
    let all = scan(&block, &t, KeyRange::ALL, &[], time);
    assert_eq!(all.len(), 13);
    let of = |name: &str| -> Vec<&SeriesSamples> {
        all.iter()
            .filter(|s| s.labels.metric_name() == name && s.labels.value("instance") == "host-2")
            .collect()
    };
    let (up, requests) = (of("up")[0], of("requests_total")[0]);
    assert!(Arc::ptr_eq(&up.axis, &requests.axis), "one target, one axis");
    assert_eq!((up.axis[0], up.axis[up.len() - 1]), (452, 2_852));
    assert_eq!(up.floats[0], 9.0);
    assert!(all.iter().all(|s| s.axis.iter().all(|t| time.contains(*t))));
    let starts = all.iter().find(|s| !s.starts.is_empty()).expect("one has starts");
    assert_eq!(starts.starts.len(), starts.len());
    let exemplars: usize = all.iter().map(|s| s.exemplars.len()).sum();
    assert_eq!(exemplars, 1, "the other lies outside");
}

#[test]
fn exemplars_are_found_without_their_samples() {
    let t = tenant("a");
    let block = build(options(1), &rich(&t));
    let found = |matchers: &[Matcher], time: TimeRange| {
        let io = object(&block);
        let plan = open(&block).plan_scan(&t, KeyRange::ALL, matchers, TimeRange::ALL);
        let read =
            async { plan.fetch_and_select(io.as_ref()).await?.exemplars(io.as_ref(), time).await };
        let rows = wait(read).expect("a whole block");
        let one_by_one = |(labels, all): (Labels, Vec<Exemplar>)| {
            all.into_iter().map(move |exemplar| (labels.clone(), exemplar))
        };
        rows.into_iter().flat_map(one_by_one).collect::<Vec<_>>()
    };
    let pushed = rich(&t);
    let all: Vec<_> = pushed
        .iter()
        .flat_map(|(_, s)| s.exemplars.iter().map(|e| (s.labels.clone(), e.clone())))
        .collect();
    assert_eq!(found(&[], TimeRange::ALL), all);
    let (labels, second) = all[1].clone();
    let at = second.timestamp_ms;
    let time = TimeRange { min_ms: at, max_ms: at + 1 };
    assert_eq!(found(&[], time), [(labels, second)]);
    assert_eq!(found(&[Matcher::equal("instance", "no-such-host")], TimeRange::ALL), []);
}

#[test]
fn metadata_comes_back() {
    let t = tenant("a");
    let metadata = Metadata {
        metric_type: MetricType::Counter,
        unit: "seconds".to_string(),
        help: "Time \u{1f551} spent.".to_string(),
    };
    let mut writer = BlockWriter::new(options(1));
    let (_, first) = series(&t, &[("__name__", "a")], [(1, 1.0), (5_000, 2.0)]);
    let (_, second) = series(&t, &[("__name__", "b")], [(1, 1.0)]);
    writer.push(&t, first, Some(&metadata)).expect("in order");
    writer.push(&t, second, None).expect("in order");
    let rows = all_rows(&writer.finish().expect("a block"));
    assert_eq!(rows[0].metadata.as_ref(), Some(&metadata));
    assert_eq!(rows[1].metadata, None);
}

#[test]
fn labels_above_the_cap_and_rare_ones_go_into_the_map() {
    let t = tenant("a");
    let names: Vec<String> = (0..300).map(|i| format!("label.{i:03}")).collect();
    let pushed: Vec<_> = (0..8)
        .map(|i| {
            let value = format!("v{i}");
            let mut pairs: Vec<(&str, &str)> =
                names.iter().map(|n| (n.as_str(), value.as_str())).collect();
            pairs.push(("__name__", "wide"));
            if i == 3 {
                pairs.push(("only_here", "x"));
            }
            series(&t, &pairs, [(1, i as f64)])
        })
        .collect();
    let wide = options(1);
    let block = build(wide.clone(), &pushed);
    let reader = open(&block);
    assert_eq!(reader.label_columns().len(), 256);
    assert!(reader.label_columns().iter().any(|l| l == "__name__"));
    assert!(!reader.label_columns().iter().any(|l| l == "only_here"));
    let small = build(crate::BlockOptions { label_column_rows_min: 9, ..wide }, &pushed);
    assert!(open(&small).label_columns().is_empty(), "eight rows pay for no column");
    for block in [&block, &small] {
        let rows = all_rows(block);
        assert_eq!(rows.len(), 8);
        for (_, expected) in &pushed {
            assert!(rows.iter().any(|r| content(&r.samples) == content(expected)));
        }
    }
}

#[test]
fn rows_out_of_order_are_refused_and_change_nothing() {
    let (a, b) = (tenant("a"), tenant("b"));
    let at = |t: &TenantId, name: &str, times: [i64; 2]| {
        series(t, &[("__name__", name)], times.map(|t| (t, 1.0))).1
    };
    let mut writer = BlockWriter::new(options(1));
    writer.push(&b, at(&b, "m", [1_500, 2_500]), None).expect("first");
    let kept = writer.rows();
    let too_early = [
        (&a, at(&a, "m", [9_000, 9_001])),
        (&b, at(&b, "l", [9_000, 9_001])),
        (&b, at(&b, "m", [0, 100])),
        (&b, at(&b, "m", [2_500, 9_001])),
    ];
    for (tenant, series) in too_early {
        let refused = writer.push(tenant, series, None);
        assert!(matches!(refused, Err(BlockError::Order { .. })), "{refused:?}");
        assert_eq!(writer.rows(), kept);
    }
    writer.push(&b, at(&b, "m", [2_501, 4_000]), None).expect("the same series, later");
    writer.push(&b, at(&b, "n", [0, 1]), None).expect("the next series");
    let block = writer.finish().expect("a block");
    let rows = all_rows(&block);
    assert_eq!(rows.len(), 2);
    assert_eq!(*rows[0].samples.axis, [1_500, 2_500, 2_501, 4_000]);
    wait(verify_block(&block.record, object(&block))).expect("verifies");
}

#[test]
fn a_limit_of_waiting_bytes_is_named() {
    let t = tenant("a");
    let mut writer =
        BlockWriter::new(crate::BlockOptions { pending_bytes_max: 10_000, ..options(1) });
    let refused = (0..1_000).find_map(|i| {
        let name = format!("metric_{i:04}");
        writer.push(&t, series(&t, &[("__name__", &name)], [(1, 1.0)]).1, None).err()
    });
    let text = refused.expect("1,000 rows are more").to_string();
    assert!(text.contains("pending_bytes_max") && text.contains("max=10000"), "{text}");
}

#[test]
fn more_samples_than_a_chunk_takes_become_two_rows() {
    let t = tenant("a");
    let count = pando_codec::limits::SAMPLES_PER_CHUNK_MAX as i64 + 1;
    let long = series(&t, &[("__name__", "a")], (0..count).map(|t| (t, 1.0)));
    let block = build(crate::BlockOptions { slice_ms: 0, ..options(1) }, &[long]);
    assert_eq!(block.record.tenants[0].rows, 2);
    assert_eq!(all_rows(&block)[0].samples.len() as i64, count);
}

/// Compiles only if scans can run on any thread.
#[test]
fn running_scans_can_move_between_threads() {
    fn movable<T: Send>(_: T) {}
    let t = tenant("a");
    let block = build(options(1), &rich(&t));
    let (reader, io) = (open(&block), object(&block));
    movable(reader.rows(io.clone()).next_series());
    movable(async {
        let time = TimeRange::ALL;
        let mut scan = reader.scan(io.clone(), &t, KeyRange::ALL, &[], time, 9).await?;
        let found = scan.selection().label_names(io.as_ref()).await?;
        let series = scan.selection().series(io.as_ref()).await?;
        scan.next_batch().await.map(|_| (found, series))
    });
    movable(verify_block(&block.record, io.clone()));
    let inputs = [crate::MergeInput { reader: reader.clone(), io: io.clone() }];
    movable(crate::merge_blocks(&inputs, options(2), |_, series| Some(series)));
}

#[test]
fn an_empty_block_opens() {
    let block = BlockWriter::new(options(1)).finish().expect("a block");
    assert!(all_rows(&block).is_empty());
    assert!(scan(&block, &tenant("a"), KeyRange::ALL, &[], TimeRange::ALL).is_empty());
    wait(verify_block(&block.record, object(&block))).expect("verifies");
}

#[test]
fn one_read_opens_and_one_or_two_more_answer_a_query() {
    let t = tenant("a");
    let block = build(options(1), &rich(&t));
    let io = Arc::new(Counting::new(block.bytes.clone()));
    wait(async {
        let reader = BlockReader::fetch(&block.record, io.as_ref()).await.expect("opens");
        assert_eq!(io.requests.load(Ordering::Relaxed), 1);
        assert_eq!(io.ranges.load(Ordering::Relaxed), 1);
        let matchers = [Matcher::equal("__name__", "up")];
        let mut scan = reader
            .scan(io.clone(), &t, KeyRange::ALL, &matchers, TimeRange::ALL, 1_000_000)
            .await
            .expect("selects");
        let batch = scan.next_batch().await.expect("reads").expect("has series");
        assert_eq!(batch.len(), 4);
        // The footer says which rows have this name.
        assert_eq!(io.requests.load(Ordering::Relaxed), 2);
        let matchers = [Matcher::equal("__name__", "up"), Matcher::equal("instance", "host-1")];
        let scan = reader.scan(io.clone(), &t, KeyRange::ALL, &matchers, TimeRange::ALL, 1_000_000);
        let batch = scan.await.expect("selects").next_batch().await.expect("reads");
        assert_eq!(batch.expect("has series").len(), 1);
        assert_eq!(io.requests.load(Ordering::Relaxed), 4);
    });
}

#[test]
fn rows_that_the_footer_proves_to_pass_are_not_tested() {
    let of = |tenant: &TenantId, name: &str, i: i64| {
        let labels = [("__name__", name), ("instance", &*format!("host-{i}"))];
        series(tenant, &labels, (0..5).map(|k| (i * 10 + k, k as f64)))
    };
    let (a, b) = (tenant("a"), tenant("b"));
    let alone: Vec<_> = (0..30).map(|i| of(&a, "up", i)).collect();
    let beside: Vec<_> = (0..30).map(|i| of(&b, "up", i)).chain([of(&a, "down", 0)]).collect();
    let named = Matcher::equal("__name__", "up");
    let pattern = |pattern| Matcher::new("__name__", MatchOp::Regex, pattern);
    let host = Matcher::equal("instance", "host-3");
    let first = KeyRange { last: alone[9].1.key, ..KeyRange::ALL };
    let until = |max_ms| TimeRange { min_ms: 0, max_ms };
    let all = TimeRange::ALL;
    for (others, matchers, keys, time, groups_read) in [
        (false, vec![named.clone()], KeyRange::ALL, all, 0),
        (false, vec![], KeyRange::ALL, all, 0),
        (
            false,
            vec![pattern("u.").expect("a pattern"), named.clone()],
            KeyRange::ALL,
            until(1_000),
            0,
        ),
        (false, vec![named.clone(), host], KeyRange::ALL, all, 2),
        (false, vec![named.clone()], KeyRange::ALL, until(150), 2),
        (false, vec![named.clone()], first, all, 2),
        (true, vec![named], KeyRange::ALL, all, 2),
    ] {
        let rows: Vec<_> = alone.iter().chain(beside.iter().filter(|_| others)).cloned().collect();
        let block = build(options(1), &rows);
        let reader = wait(BlockReader::fetch(&block.record, object(&block).as_ref()));
        let plan = reader.expect("opens").plan_scan(&a, keys, &matchers, time);
        assert_eq!(plan.groups_read(), groups_read, "{others} {matchers:?} {keys:?} {time:?}");
        let wanted = |(tenant, one): &&(TenantId, SeriesSamples)| {
            *tenant == a
                && matchers.iter().all(|m| m.matches(one.labels.value(m.name())))
                && keys.contains(one.key)
                && one.axis.iter().any(|t| time.contains(*t))
        };
        let mut wanted: Vec<_> =
            rows.iter().filter(wanted).map(|(_, s)| s.labels.clone()).collect();
        let found = scan(&block, &a, keys, &matchers, time);
        let mut found: Vec<_> = found.into_iter().map(|series| series.labels).collect();
        wanted.sort();
        found.sort();
        assert_eq!(found, wanted, "{matchers:?} {time:?}");
    }
}

#[test]
fn the_object_alone_gives_its_record() {
    let block = build(options(1), &rich(&tenant("a")));
    let io = object(&block);
    let size = block.bytes.len() as u64;
    let reader = wait(BlockReader::recover(BlockId(1), size, io.as_ref())).expect("recovers");
    assert_eq!(*reader.record(), block.record);
    let unnamed = wait(BlockReader::recover_unnamed(size, io.as_ref())).expect("recovers");
    assert_eq!(unnamed.record(), reader.record());
    let wrong = wait(BlockReader::recover(BlockId(2), size, io.as_ref()));
    assert!(wrong.is_err(), "the name of another block");
    let tail = |n: usize| locate_footer(BlockId(1), size, &block.bytes[block.bytes.len() - n..]);
    assert_eq!(tail(3).expect("a hint"), FooterAt::NeedsTail(8));
    let FooterAt::NeedsTail(needed) = tail(8).expect("a hint") else { panic!("8 bytes hold all") };
    let found = tail(needed as usize).expect("found");
    assert_eq!(found, FooterAt::Offset(block.record.footer_offset));
}

#[test]
fn another_record_or_version_is_refused() {
    let block = build(options(1), &rich(&tenant("a")));
    let footer = block.bytes.slice(block.record.footer_offset as usize..);
    let mut record = block.record.clone();
    record.digest.sum ^= 1;
    assert!(matches!(BlockReader::open(&record, &footer), Err(BlockError::Corrupt { .. })));
    let mut record = block.record.clone();
    record.format = 2;
    let error = BlockReader::open(&record, &footer).expect_err("a later format").to_string();
    assert!(error.contains("found=2 known=1"), "{error}");
}

#[test]
fn inspection_names_tenants_and_columns() {
    let text = inspect_block(&open(&build(options(1), &rich(&tenant("team-a")))));
    for part in
        ["team-a rows", "label___name__ bytes", "axis bytes", "shard 3 cut 7", "samples 400"]
    {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

/// Bytes of the values in the file, and before compression.
fn value_bytes(value: impl Fn(u64, u64) -> f64) -> (u64, u64) {
    let tenant = tenant("a");
    let mut all: Vec<_> = (0..200u64)
        .map(|n| {
            let labels = [("__name__", "m"), ("n", &*format!("{n}"))];
            series(&tenant, &labels, (0..120u64).map(|i| (i as i64 * 100, value(n, i))))
        })
        .collect();
    all.sort_by_key(|(_, series)| series.key);
    let usual = BlockOptions::new(BlockId(1), options(1).source, 0);
    let block = build(usual, &all);
    let text = inspect_block(&open(&block));
    let line = text.lines().find_map(|line| line.strip_prefix("  values bytes "));
    let mut words = line.expect("the column").split(' ').map(|word| word.parse::<u64>());
    let bytes = words.next().and_then(Result::ok).expect("bytes");
    let plain = words.nth(1).and_then(Result::ok).expect("bytes before");
    assert!(all_rows(&block).iter().map(|row| row.samples.len()).sum::<usize>() == 200 * 120);
    (bytes, plain)
}

#[test]
fn values_are_compressed_where_that_makes_them_smaller() {
    let random = |seed: u64| {
        let bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        f64::from_bits(0x3ff0 << 48 | (bits ^ (bits >> 32)) >> 12)
    };
    let (bytes, plain) = value_bytes(|n, i| random(n * 1_000 + i + 1));
    assert_eq!(bytes, plain, "noise is left as it is");
    let (bytes, plain) = value_bytes(|_, i| random(i + 1));
    assert!(bytes * 2 < plain, "what repeats is compressed: {bytes} {plain}");
}
