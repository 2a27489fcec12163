//! Merging keeps every sample once, whatever the order, and notices when it does not.

use std::sync::Arc;

use pando_model::{BlockId, BlockRecord, BlockSource, Metadata, SeriesSamples, TimeRange};

use super::support::*;
use crate::series::{cut, positions};
use crate::verify::verify_opened;
use crate::{
    BlockError, BlockOptions, BlockReader, BlockWriter, BuiltBlock, MergeInput, MergedSeries,
    merge_blocks, verify_block,
};

fn input(block: &BuiltBlock) -> MergeInput {
    MergeInput { reader: open(block), io: object(block) }
}

/// Three blocks of overlapping generations; the same time with other values in two of them.
fn blocks() -> Vec<BuiltBlock> {
    let (a, b) = (tenant("a"), tenant("b"));
    let one = |t, name: &str, host: &str, from: i64, value: f64| {
        let labels = [("__name__", name), ("host", host)];
        series(t, &labels, (0..20).map(|k| (from + k * 100, value + k as f64)))
    };
    let push = |id: u128, from: i64, value: f64| {
        let mut all = vec![(b.clone(), one(&b, "up", "x", from, value))];
        for host in ["h1", "h2", "h3"] {
            for name in ["up", "load"] {
                all.push((a.clone(), one(&a, name, host, from, value)));
            }
        }
        all.push((a.clone(), one(&a, &format!("only_{id}"), "h1", from, value)));
        build(options(id), &all)
    };
    vec![push(11, 0, 0.0), push(12, 1_000, 100.0), push(13, 1_050, 7.0)]
}

fn merged_options() -> BlockOptions {
    let sources = vec![BlockId(11), BlockId(12), BlockId(13)];
    BlockOptions {
        source: BlockSource::Compaction { work: 9, sources },
        level: 1,
        slice_ms: 2_000,
        ..options(99)
    }
}

fn everything(_: &pando_model::TenantId, series: SeriesSamples) -> Option<SeriesSamples> {
    Some(series)
}

#[test]
fn a_merge_is_the_union_of_its_inputs_in_any_order() {
    let blocks = blocks();
    let orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0]];
    let merged: Vec<BuiltBlock> = orders
        .iter()
        .map(|order| {
            let inputs: Vec<MergeInput> = order.iter().map(|i| input(&blocks[*i])).collect();
            wait(merge_blocks(&inputs, merged_options(), everything)).expect("merges")
        })
        .collect();
    assert_eq!(merged[0].bytes, merged[1].bytes);
    assert_eq!(merged[0].bytes, merged[2].bytes);
    let rows = all_rows(&merged[0]);
    assert_eq!(rows.len(), 7 + 3);
    for row in rows.iter().filter(|r| !r.samples.labels.metric_name().starts_with("only")) {
        // 0..1,900 by 100; 1,000..2,900 by 100 with the larger values; 1,050..2,950 by 100.
        assert_eq!(row.samples.len(), 10 + 20 + 20);
        assert_eq!(row.samples.value(10), pando_model::SampleValue::Float(100.0));
    }
    let report = wait(verify_block(&merged[0].record, object(&merged[0]))).expect("verifies");
    assert_eq!(report.digest.samples, 7 * 50 + 3 * 20);
    assert_eq!(merged[0].record.level, 1);
}

#[test]
fn what_keep_drops_is_gone_and_nothing_else() {
    let blocks = blocks();
    let inputs: Vec<MergeInput> = blocks.iter().map(input).collect();
    let late = TimeRange { min_ms: 2_000, max_ms: i64::MAX };
    let block = wait(merge_blocks(&inputs, merged_options(), |tenant, series| {
        (tenant.as_str() == "a").then(|| cut(&series, positions(&series.axis, late)))
    }))
    .expect("merges");
    let rows = all_rows(&block);
    assert!(rows.iter().all(|r| r.tenant.as_str() == "a" && r.samples.axis[0] >= 2_000));
    assert_eq!(rows.len(), 6 + 2, "one series had early samples only");
}

#[test]
fn an_input_that_is_not_what_its_record_says_stops_the_merge() {
    let t = tenant("a");
    let good = build(options(11), &[(t.clone(), series(&t, &[("__name__", "m")], [(1, 1.0)]))]);
    // A block whose footer claims another digest, sealed as if a writer had lost samples.
    let mut lying = open(&good);
    let opened = Arc::get_mut(&mut lying.opened).expect("the only one");
    opened.record.digest.sum ^= 1;
    let inputs = [MergeInput { reader: lying, io: object(&good) }];
    let error = wait(merge_blocks(&inputs, merged_options(), everything)).expect_err("lost");
    assert!(matches!(error, BlockError::Conservation { block: BlockId(11), .. }), "{error}");
}

#[test]
fn verification_compares_spans_and_digest_with_the_rows() {
    let block = blocks().remove(0);
    let lies: [fn(&mut BlockRecord); 4] = [
        |r| r.tenants[0].series += 1,
        |r| r.tenants[1].keys.last.0 += 1,
        |r| r.time.max_ms += 1,
        |r| r.digest.sum ^= 1,
    ];
    for lie in lies {
        let mut reader = open(&block);
        wait(verify_opened(&reader, object(&block))).expect("the truth");
        lie(&mut Arc::get_mut(&mut reader.opened).expect("the only one").record);
        assert!(wait(verify_opened(&reader, object(&block))).is_err());
    }
}

#[test]
fn metadata_does_not_depend_on_the_order_either() {
    let t = tenant("a");
    let with = |id: u128, help: &str| {
        let metadata = Metadata { help: help.to_string(), ..Metadata::default() };
        let mut writer = BlockWriter::new(options(id));
        let samples = series(&t, &[("__name__", "m")], [(id as i64, 1.0)]);
        writer.push(&t, samples, Some(&metadata)).expect("in order");
        writer.finish().expect("a block")
    };
    let (x, y) = (with(11, "old"), with(12, "new"));
    for inputs in [[input(&x), input(&y)], [input(&y), input(&x)]] {
        let mut merged = MergedSeries::new(&inputs);
        let series = wait(merged.next_series()).expect("reads").expect("one series");
        assert_eq!(series.metadata.expect("known").help, "old");
        assert!(wait(merged.next_series()).expect("reads").is_none());
    }
}

#[test]
fn readers_are_shared_by_cloning() {
    let blocks = blocks();
    let reader: BlockReader = open(&blocks[0]);
    assert!(Arc::ptr_eq(&reader.clone().opened, &reader.opened));
    assert!(reader.memory_bytes() > 1_000);
}
