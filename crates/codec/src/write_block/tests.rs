//! Tests of producer and shard ends together.

use std::sync::Arc;

use pando_model::{
    Epoch, Exemplar, Histogram, Labels, Metadata, MetricType, STALE_NAN, SampleValue,
};
use proptest::prelude::*;

use super::*;
use crate::Reader;

fn labels(i: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", format!("m{}", i % 3)),
        ("instance", "host:9100".to_string()),
        ("i", i.to_string()),
    ])
}

fn spec(n: usize) -> GroupSpec {
    let series = (0..n).map(|i| Some(labels(i))).collect();
    GroupSpec { tenant: TenantId::default_tenant(), target: None, series }
}

fn frame(time_ms: i64, values: &[FrameValue]) -> FrameInput<'_> {
    FrameInput { time_ms, values, ..FrameInput::default() }
}

fn floats(values: &[f64]) -> Vec<FrameValue> {
    values.iter().map(|v| FrameValue::Float(*v)).collect()
}

fn frames(ops: &[Op]) -> Vec<&Frame> {
    ops.iter().filter_map(|op| if let Op::Frame(frame) = op { Some(frame) } else { None }).collect()
}

/// A block with everything that version 1 has a place for.
fn block_of_all_kinds() -> Vec<u8> {
    let mut encoder = Encoder::new();
    let target = Some(TargetEpoch { target: 77, epoch: Epoch(3) });
    let group = encoder.register(GroupSpec { target, ..spec(3) }).expect("few series");
    let values = [FrameValue::Float(1.5), FrameValue::Float(100.0), FrameValue::Absent];
    encoder.push_frame(group, &frame(1_000, &values));
    encoder.edit(group, &[0], vec![labels(9)]).expect("few series");
    let mut histogram = Histogram { integer: true, schema: 3, count: 4.0, ..Histogram::default() };
    histogram.positive_spans = vec![pando_model::Span { offset: -1, length: 2 }];
    histogram.positive_buckets = vec![1.0, 3.0];
    let values = [
        FrameValue::Absent,
        FrameValue::Float(STALE_NAN),
        FrameValue::Histogram(Arc::new(histogram)),
        FrameValue::Float(0.1 + 0.2),
    ];
    let exemplar = Exemplar {
        labels: Labels::from_pairs([("trace_id", "abc")]),
        value: 0.25,
        timestamp_ms: 1_999,
    };
    encoder.push_frame(
        group,
        &FrameInput {
            time_ms: 2_000,
            values: &values,
            offsets: &[(3, -250)],
            starts: &[(2, 500)],
            exemplars: &[(2, exemplar)],
        },
    );
    let help = "Requests.".to_string();
    let metadata = Metadata { metric_type: MetricType::Counter, unit: String::new(), help };
    encoder.push_metadata(&TenantId::default_tenant(), "m0", &metadata);
    encoder.drop_group(group);
    encoder.finish().expect("something was pushed")
}

#[test]
fn every_kind_of_content_comes_back() {
    let mut decoder = Decoder::new();
    let block = decoder.decode(&block_of_all_kinds()).expect("written");
    assert_eq!(block.samples(), 5);
    let ops = decoder.commit(block);
    assert!(matches!(&ops[0], Op::Register { spec, .. } if spec.series.len() == 3));
    assert!(matches!(&ops[2], Op::Edit { removed, added, .. }
        if removed == &[0] && added == &[labels(9)]));
    let second = frames(&ops)[1];
    assert_eq!(second.time_ms, 2_000);
    let bits: Vec<(u32, u64)> = second.floats().map(|(s, v)| (s, v.to_bits())).collect();
    assert_eq!(bits, [(1, STALE_NAN.to_bits()), (3, (0.1f64 + 0.2).to_bits())]);
    assert_eq!(second.offsets, [(3, -250)]);
    assert_eq!(second.starts.as_deref(), Some(&[0, 0, 500, 0][..]));
    assert_eq!(second.histograms[0].1.positive_buckets, [1.0, 3.0]);
    assert_eq!(second.exemplars[0].1.timestamp_ms, 1_999);
    assert!(matches!(&ops[4], Op::Metadata { family, .. } if family == "m0"));
    assert!(matches!(ops[5], Op::Drop { group: GroupId(0) }));
    assert_eq!(decoder.groups().count(), 0);
}

#[test]
fn version_one_is_pinned() {
    assert_eq!(hex(&block_of_all_kinds()), PINNED);
}
const PINNED: &str = concat!(
    "01100764656661756c7408696e7374616e636509686f73743a39313030085f5f6e616d655f5f026d3001",
    "690130026d310131026d32013201390874726163655f696403616263000952657175657374732e060000",
    "00014d00000000000000030301010203030405060303070508030309050a020090b806f309d00f00058c",
    "0d3c870001001ca64d77010001030304050b0102010200bc86e17f47d00f0f123884eebd203433333333",
    "33d33fd83ce47601220101010600000000000000000101020200000000000002a000a000a002a00601a0",
    "00010201000000000000d03f010c0d040004010e0f03000dca0e846e8db748",
);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn an_unchanged_frame_is_a_few_bytes_and_a_steady_one_less_than_a_byte_a_sample() {
    let mut encoder = Encoder::new();
    let group = encoder.register(spec(1000)).expect("few series");
    let at = |n: usize| -> Vec<FrameValue> {
        let value =
            |i: usize| if i.is_multiple_of(4) { (i * 1000 + n * (i % 7)) as f64 } else { i as f64 };
        (0..1000).map(|i| FrameValue::Float(value(i))).collect()
    };
    encoder.push_frame(group, &frame(15_000, &at(0)));
    encoder.finish().expect("a frame");
    encoder.push_frame(group, &frame(30_000, &at(0)));
    assert!(encoder.finish().expect("a frame").len() < 40);
    for n in 1..20 {
        encoder.push_frame(group, &frame(30_000 + n as i64 * 15_000, &at(n)));
    }
    assert!(encoder.finish().expect("frames").len() < 19_000 / 2);
}

#[test]
fn a_wrong_base_or_an_unknown_group_asks_for_full_and_changes_nothing() {
    let mut encoder = Encoder::new();
    let group = encoder.register(spec(2)).expect("few series");
    encoder.push_frame(group, &frame(1_000, &floats(&[1.0, 2.0])));
    let first = encoder.finish().expect("a frame");
    encoder.push_frame(group, &frame(2_000, &floats(&[1.0, 3.0])));
    let second = encoder.finish().expect("a frame");
    encoder.push_frame(group, &frame(3_000, &floats(&[1.0, 4.0])));
    let third = encoder.finish().expect("a frame");

    let mut decoder = Decoder::new();
    let full = Err(DecodeError::SendFull { groups: vec![GroupId(0)] });
    assert_eq!(decoder.decode(&second).map(|_| ()), full);
    let block = decoder.decode(&first).expect("it is full");
    decoder.commit(block);
    assert_eq!(decoder.decode(&third).map(|_| ()), full);
    assert_eq!(decoder.decode(&first).map(|_| ()), Ok(()), "a registration needs no base");
    let block = decoder.decode(&second).expect("its base is the first");
    assert_eq!(frames(&decoder.commit(block))[0].values, [1.0, 3.0]);

    encoder.force_full(group);
    encoder.push_frame(group, &frame(4_000, &floats(&[5.0, 4.0])));
    let full = encoder.finish().expect("a frame");
    let block = Decoder::new().decode(&full).expect("it needs nothing");
    assert_eq!(frames(&block.ops)[0].values, [5.0, 4.0]);
}

#[test]
fn a_saved_decoder_goes_on_where_it_was() {
    let mut encoder = Encoder::new();
    let group = encoder.register(spec(5)).expect("few series");
    let mut decoder = Decoder::new();
    for n in 0..4 {
        let values = floats(&[f64::from(n), 1.0, 0.5 * f64::from(n), 7.0, -1.0]);
        let starts = [(1, 10), (2, i64::from(n))];
        let input = FrameInput { starts: &starts, ..frame(i64::from(n) * 1000, &values) };
        encoder.push_frame(group, &input);
        let block = encoder.finish().expect("a frame");
        let mut saved = Vec::new();
        decoder.save(&mut saved);
        let loaded = Decoder::load(&mut Reader::new("test", &saved)).expect("saved");
        let (a, b) = (decoder.decode(&block).expect("next"), loaded.decode(&block).expect("next"));
        assert_eq!(a.ops, b.ops);
        decoder.commit(a);
    }
}

#[test]
fn a_keyed_encoder_finds_frames_by_time_and_offsets_where_times_are_many() {
    let tenant = TenantId::default_tenant();
    let series: Vec<Labels> = (0..8).map(labels).collect();
    let mut encoder = KeyedEncoder::new();
    let sample = |i: usize, timestamp_ms: i64| KeyedSample {
        labels: &series[i],
        timestamp_ms,
        value: SampleValue::Float(i as f64),
        start_ms: 0,
        exemplars: &[],
    };
    let same: Vec<KeyedSample<'_>> =
        (0..16).map(|n| sample(n % 8, if n < 8 { 2_000 } else { 1_000 })).collect();
    encoder.push(&tenant, 1, &same).expect("few series");
    let own: Vec<KeyedSample<'_>> = (0..8).map(|n| sample(n, 3_000 + n as i64)).collect();
    encoder.push(&tenant, 1, &own).expect("few series");
    let twice = [sample(0, 4_000), sample(0, 4_000)];
    encoder.push(&tenant, 1, &twice).expect("few series");
    let block = encoder.finish(100).expect("samples");
    let block = Decoder::new().decode(&block).expect("written");
    let shape: Vec<(i64, usize, usize)> =
        frames(&block.ops).iter().map(|f| (f.time_ms, f.len(), f.offsets.len())).collect();
    assert_eq!(shape, [(1_000, 8, 0), (2_000, 8, 0), (3_000, 8, 7), (4_000, 1, 0), (4_000, 1, 0)]);
    let registered = block.ops.iter().filter(|op| matches!(op, Op::Register { .. })).count();
    assert_eq!(registered, 1);
}

#[test]
fn a_keyed_encoder_forgets_what_is_idle() {
    let tenant = TenantId::default_tenant();
    let mut encoder = KeyedEncoder::new();
    let mut decoder = Decoder::new();
    for n in 0..64i64 {
        let busy = labels(0);
        let other = labels(1 + n as usize);
        for (half, labels) in [(1, &busy), (2, &other), (3 + n as u32, &other)] {
            let value = SampleValue::Float(1.0);
            let sample =
                KeyedSample { labels, timestamp_ms: n, value, start_ms: 0, exemplars: &[] };
            encoder.push(&tenant, half, &[sample]).expect("few series");
        }
        let block = encoder.finish(16).expect("samples");
        let block = decoder.decode(&block).expect("every block follows the one before");
        decoder.commit(block);
    }
    assert!(decoder.groups().count() < 40);
    assert!(decoder.groups().all(|(_, group)| group.slots() < 40));
}

#[derive(Clone, Debug)]
enum Step {
    Frame(Vec<Option<u8>>),
    Edit(Vec<u32>, usize),
    Full,
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    let values = prop::collection::vec(prop::option::weighted(0.8, 0u8..6), 0..12);
    prop_oneof![
        6 => values.prop_map(Step::Frame),
        1 => (prop::collection::vec(0u32..12, 0..3), 0usize..3).prop_map(|(r, a)| Step::Edit(r, a)),
        1 => Just(Step::Full),
        3 => Just(Step::Finish),
    ]
}

fn value_of(code: u8) -> FrameValue {
    FrameValue::Float([0.0, 1.0, -0.0, 0.1, STALE_NAN, 1e300][code as usize % 6])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What a stream's decoder sees is what was pushed, through edits, full frames and any cut into blocks.
    #[test]
    fn frames_come_back(steps in prop::collection::vec(step(), 1..40)) {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new();
        let group = encoder.register(spec(4)).expect("few series");
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let mut next = 4;
        for (n, step) in steps.iter().chain([&Step::Finish]).enumerate() {
            match step {
                Step::Frame(codes) => {
                    let values: Vec<FrameValue> =
                        codes.iter().map(|c| c.map_or(FrameValue::Absent, value_of)).collect();
                    encoder.push_frame(group, &frame(n as i64 * 7, &values));
                    let series = &encoder.group(group).expect("known").series;
                    for (slot, value) in values.iter().enumerate() {
                        if let (FrameValue::Float(v), Some(Some(_))) = (value, series.get(slot)) {
                            expected.push((n as i64 * 7, slot as u32, v.to_bits()));
                        }
                    }
                }
                Step::Edit(removed, added) => {
                    let added: Vec<Labels> = (next..next + added).map(labels).collect();
                    next += added.len();
                    encoder.edit(group, removed, added).expect("few series");
                }
                Step::Full => encoder.force_full(group),
                Step::Finish => {
                    let Some(block) = encoder.finish() else { continue };
                    let block = decoder.decode(&block).expect("written in order");
                    for op in decoder.commit(block) {
                        if let Op::Frame(f) = op {
                            found.extend(f.floats().map(|(s, v)| (f.time_ms, s, v.to_bits())));
                        }
                    }
                }
            }
        }
        prop_assert_eq!(found, expected);
    }

    /// Damage is refused; even where the checksum is made to fit, nothing panics.
    #[test]
    fn damage_never_panics(at in 0usize..4000, bit in 0u8..8, cut in 0usize..4000) {
        let mut block = block_of_all_kinds();
        let at = at % block.len();
        block[at] ^= 1 << bit;
        prop_assert!(Decoder::new().decode(&block).is_err());
        let body = block.len() - 8;
        block.truncate(body - if cut % 3 == 0 { cut % body } else { 0 });
        let checksum = xxhash_rust::xxh3::xxh3_64(&block);
        block.extend(checksum.to_le_bytes());
        let _ = Decoder::new().decode(&block);
    }
}
