//! What is split and merged must answer as what is whole, where series hold histograms.

use std::sync::Arc;

use pando_model::{Labels, Matcher, STALE_NAN, SampleValue, SeriesKey, SeriesSamples};
use proptest::prelude::*;

use super::tests::absorbed;
use super::*;
use crate::budget::{Budget, CancelFlag};
use crate::engine::histogram::testdata::{anything, close, custom, exponential};
use crate::engine::range::{Edges, RangeFunction, RangeRules};
use crate::error::QueryError;
use crate::steps::Steps;
use crate::syntax::ast::AggregateOp;

fn execute(
    plan: &FragmentPlan,
    series: Vec<SeriesSamples>,
) -> Result<Vec<PartialBatch>, QueryError> {
    let mut execution = FragmentExecution::new(plan.clone(), Budget::default(), CancelFlag::new());
    execution.push_batch(series)?;
    let through_wire = |batch: PartialBatch| PartialBatch::decode(&batch.encode());
    execution.finish()?.into_iter().map(through_wire).collect()
}

/// Executes `plan` over every part on its own, through the wire, and merges.
fn merged(
    plan: &FragmentPlan,
    sent: &FragmentPlan,
    parts: &[Vec<SeriesSamples>],
) -> Result<FragmentResult, QueryError> {
    let mut merge = PartialMerge::new(plan.clone(), Budget::default(), CancelFlag::new());
    let sent = FragmentPlan::decode(&sent.encode())?;
    for part in parts {
        for batch in execute(&sent, part.clone())? {
            merge.push(batch)?;
        }
    }
    merge.finish()
}

fn assert_same(a: &FragmentResult, b: &FragmentResult, context: &str) {
    let labels = |r: &FragmentResult| {
        r.series.iter().flatten().map(|s| s.labels.clone()).collect::<Vec<_>>()
    };
    assert_eq!(labels(a), labels(b), "{context}");
    for (x, y) in a.series.iter().flatten().zip(b.series.iter().flatten()) {
        assert_eq!(x.present, y.present, "{context}");
        for i in x.present.iter() {
            let (v, w) = (x.values[i], y.values[i]);
            assert!((v - w).abs() <= 1e-9 * (1.0 + v.abs()), "{context} {i}: {v} {w}");
        }
        assert_eq!(x.histograms.len(), y.histograms.len(), "{context}");
        for ((i, g), (j, h)) in x.histograms.iter().zip(&y.histograms) {
            assert!(i == j && close(g, h), "{context} {i}: {g:?} {h:?}");
        }
    }
    assert_eq!(a.notes, b.notes, "{context}");
}

fn plans() -> Vec<FragmentPlan> {
    use AggregateOp as A;
    use RangeFunction as R;
    let rules = RangeRules::default();
    let range = |function| Read::Range { range_ms: 50_000, rules, function, args: vec![] };
    let mut reads = vec![Read::Instant { lookback_ms: 30_000, timestamp: false }];
    reads.extend([R::Rate, R::Delta, R::Irate, R::Avg, R::Sum, R::Changes, R::Last].map(range));
    let mut aggregations = vec![None];
    for op in [A::Sum, A::Avg, A::Count, A::Min] {
        aggregations.push(Some(Aggregation::example(op, &["job"], false)));
    }
    let mut out = Vec::new();
    for read in reads {
        for aggregation in &aggregations {
            for statistics in [false, true] {
                out.push(FragmentPlan {
                    matchers: vec![Matcher::equal("__name__", "m")],
                    steps: Steps::range(0, 200_000, 15_000).expect("14 steps"),
                    read: read.clone(),
                    aggregations: aggregation.iter().cloned().collect(),
                    delayed_name_removal: false,
                    statistics,
                    hints_back_ms: if statistics { 20_000 } else { 0 },
                    count_samples: false,
                });
            }
        }
    }
    out
}

/// Ranges with edges, start timestamps, values between samples.
fn ruled_plans() -> Vec<FragmentPlan> {
    use RangeFunction as R;
    let lookback_ms = 35_000;
    let (anchored, smoothed) = (Edges::Anchored { lookback_ms }, Edges::Smoothed { lookback_ms });
    let calls = [
        (R::Rate, smoothed, false),
        (R::Increase, anchored, false),
        (R::Delta, smoothed, false),
        (R::Changes, anchored, false),
        (R::Resets, anchored, true),
        (R::Rate, Edges::Plain, true),
        (R::Irate, Edges::Plain, true),
        (R::Resets, Edges::Plain, true),
    ];
    let mut reads = vec![Read::Smoothed { lookback_ms }];
    reads.extend(calls.map(|(function, edges, starts)| {
        let rules = RangeRules { edges, starts };
        Read::Range { range_ms: 50_000, rules, function, args: vec![] }
    }));
    let aggregated = plans().swap_remove(2).aggregations;
    let plan = |read: Read, aggregations| FragmentPlan {
        read,
        aggregations,
        statistics: false,
        hints_back_ms: 0,
        count_samples: false,
        ..plans().swap_remove(0)
    };
    reads.into_iter().flat_map(|r| [plan(r.clone(), vec![]), plan(r, aggregated.clone())]).collect()
}

type Points = Vec<(i64, SampleValue)>;

fn points(
    histograms: impl Strategy<Value = pando_model::Histogram> + 'static,
) -> impl Strategy<Value = Points> {
    let histogram = histograms.prop_map(|h| SampleValue::Histogram(Arc::new(h)));
    let value = prop_oneof![
        12 => histogram,
        1 => (0u32..9).prop_map(|v| SampleValue::Float(f64::from(v))),
        1 => Just(SampleValue::Float(STALE_NAN)),
    ];
    proptest::collection::vec((1_000i64..40_000, value), 0..10).prop_map(|gaps| {
        let later = |t: &mut i64, (gap, value): (i64, SampleValue)| {
            *t += gap;
            Some((*t, value))
        };
        gaps.into_iter().scan(-30_000, later).collect()
    })
}

fn data() -> impl Strategy<Value = Vec<Points>> {
    let one = prop_oneof![6 => points(exponential()).boxed(), 1 => points(custom()).boxed()];
    prop_oneof![
        3 => proptest::collection::vec(one, 1..7),
        1 => proptest::collection::vec(points(custom()), 1..7),
    ]
}

fn series(points: &[Points]) -> Vec<SeriesSamples> {
    let one = |(i, points): (usize, &Points)| {
        let labels = Labels::from_pairs([
            ("__name__", "m".to_string()),
            ("job", format!("j{}", i % 2)),
            ("instance", format!("i{i}")),
        ]);
        let key = SeriesKey(labels.hash64());
        let mut one = SeriesSamples::from_values(labels, key, points.iter().cloned());
        if i % 3 > 0 {
            let start = |(at, t): (usize, &i64)| [0, t - 500, t - 30_000, t + 5][(at + i) % 4];
            one.starts = one.axis.iter().enumerate().map(start).collect();
        }
        one
    };
    points.iter().enumerate().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn split_histograms_equal_whole_ones(data in data(), cut in 0usize..7, first in 1usize..13) {
        let all = series(&data);
        let cut = cut.min(all.len());
        let parts = [all[cut..].to_vec(), all[..cut].to_vec()];
        for plan in plans().into_iter().chain(ruled_plans()) {
            let context = format!("{plan:?}");
            let whole = merged(&plan, &plan, std::slice::from_ref(&all)).expect("whole");
            assert_same(&whole, &merged(&plan, &plan, &parts).expect("split"), &context);
            assert_same(&whole, &absorbed(&plan, &parts).expect("absorbed"), &context);
            // Executors that only know how to read.
            let raw = merged(&plan, &plan.raw(), &parts).expect("raw");
            assert_same(&whole, &raw, &context);
            // Split by steps.
            let mut by_steps = StepParts::new(&plan, Budget::default(), CancelFlag::new());
            for (at, count) in [(0, first), (first, plan.steps.len() - first)] {
                let part = plan.with_steps(at, count).expect("steps");
                let mut merge =
                    PartialMerge::new(part.clone(), Budget::default(), CancelFlag::new());
                // An executor is handed what it asks for and nothing else.
                let read = execute(&part.raw(), all.clone()).expect("raw");
                let read = read.into_iter().flat_map(|batch| batch.raw).collect();
                for batch in execute(&part, read).expect("part") {
                    merge.push(batch).expect("fits");
                }
                by_steps.push(at, merge.finish().expect("a part")).expect("fits");
            }
            assert_same(&whole, &by_steps.finish(), &context);
        }
    }

    #[test]
    fn no_histogram_panics_an_execution(data in proptest::collection::vec(points(anything()), 1..4)) {
        for plan in plans().into_iter().chain(ruled_plans()) {
            let mut execution =
                FragmentExecution::new(plan.clone(), Budget::default(), CancelFlag::new());
            execution.push_batch(series(&data)).expect("within budget");
            for batch in execution.finish().expect("batches") {
                // Where spans and counts differ, the reader refuses.
                let _ = PartialBatch::decode(&batch.encode());
            }
        }
    }

    #[test]
    fn garbage_in_sums_is_refused_without_panic(
        data in data(), at in 0usize..4_000, byte in any::<u8>(),
    ) {
        let mut plan = plans().swap_remove(2);
        plan.aggregations.iter_mut().for_each(|a| a.op = AggregateOp::Avg);
        for batch in execute(&plan, series(&data)).expect("a run") {
            let mut bytes = batch.encode();
            let at = at % bytes.len().max(1);
            bytes[at] = byte;
            let Ok(batch) = PartialBatch::decode(&bytes) else { continue };
            let mut merge = PartialMerge::new(plan.clone(), Budget::default(), CancelFlag::new());
            let _ = merge.push(batch).and_then(|()| merge.finish());
        }
    }
}

/// Partial sums travel between members of two versions: see `version_one_is_pinned`.
#[test]
fn version_two_is_pinned() {
    let span = |offset, length| vec![pando_model::Span { offset, length }];
    let histogram = |i: i64, schema| pando_model::Histogram {
        schema,
        count: 7.0 + i as f64,
        sum: 0.5 * i as f64,
        zero_threshold: 0.125,
        zero_count: i as f64,
        positive_spans: span(-2, 3),
        positive_buckets: vec![1.0, i as f64, 2.0],
        negative_spans: span(3, 1),
        negative_buckets: vec![4.0],
        ..pando_model::Histogram::default()
    };
    let points = |schema| {
        let value = move |i| SampleValue::Histogram(Arc::new(histogram(i, schema)));
        (0..12).map(move |i| (i * 10_000, value(i))).collect::<Points>()
    };
    let mut bytes = Vec::new();
    for plan in plans() {
        let mut execution =
            FragmentExecution::new(plan.clone(), Budget::default(), CancelFlag::new());
        execution.push_batch(series(&[points(0), points(1), points(1)])).expect("within budget");
        let batches = execution.finish().expect("batches");
        bytes.extend(batches.iter().flat_map(PartialBatch::encode));
    }
    assert!(bytes.len() > 10_000);
    assert_eq!(xxhash_rust::xxh3::xxh3_64(&bytes), 710_158_760_106_316_538);
}

/// A member of version 1 refuses histograms where this one computes with them: it must not be asked.
#[test]
fn plans_that_compute_with_histograms_are_of_version_two() {
    let version = |plan: &FragmentPlan| plan.encode()[1];
    for plan in plans() {
        let computes = match (&plan.read, plan.aggregations.first()) {
            (_, Some(a)) if matches!(a.op, AggregateOp::Sum | AggregateOp::Avg) => true,
            (Read::Range { function, .. }, _) => *function != RangeFunction::Last,
            _ => false,
        };
        assert_eq!(version(&plan), if computes { 2 } else { 1 }, "{plan:?}");
        assert_eq!(version(&plan.raw()), 1, "what it is asked for instead");
        assert_eq!(FragmentPlan::decode(&plan.encode()), Ok(plan));
    }
}
