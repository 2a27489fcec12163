//! What an execution or a merge holds is asked for before it is made, and a canceled one ends in the middle of its
//! work. Peaks and looks at the flag are counted, never time.

use std::sync::Arc;

use pando_model::{Histogram, Labels, Matcher, SampleValue, SeriesKey, SeriesSamples};

use super::*;
use crate::budget::{Budget, CancelFlag};
use crate::engine::range::{RangeFunction, RangeRules};
use crate::error::QueryError;
use crate::steps::Steps;
use crate::syntax::ast::AggregateOp;

const REFUSED: QueryError = QueryError::Samples { samples_max: 1_000 };

fn few() -> Budget {
    Budget { samples_max: 1_000, ..Budget::default() }
}

fn plan(read: Read, op: Option<AggregateOp>, steps: i64) -> FragmentPlan {
    let aggregation = op.map(|op| Aggregation::example(op, &["l"], false));
    FragmentPlan {
        matchers: vec![Matcher::equal("__name__", "m")],
        steps: Steps::grid(0, steps - 1, 1).expect("steps"),
        read,
        aggregations: aggregation.into_iter().collect(),
        delayed_name_removal: false,
        count_samples: false,
        statistics: false,
        hints_back_ms: 0,
    }
}

fn range(function: RangeFunction) -> Read {
    Read::Range { range_ms: 50_000, rules: RangeRules::default(), function, args: vec![] }
}

const INSTANT: Read = Read::Instant { lookback_ms: 300_000, timestamp: false };

/// The series number `n`, with one sample before each of the two times of `value`.
fn series(n: usize, value: impl Fn(f64) -> SampleValue) -> SeriesSamples {
    let labels = Labels::from_pairs([("__name__", "m".to_string()), ("l", format!("{n}"))]);
    let key = SeriesKey(labels.hash64());
    SeriesSamples::from_values(labels, key, [(-2, value(1.0)), (-1, value(2.0))])
}

fn float(n: usize) -> SeriesSamples {
    series(n, SampleValue::Float)
}

fn native(n: usize) -> SeriesSamples {
    series(n, |count| {
        SampleValue::Histogram(Arc::new(Histogram { count, sum: count, ..Histogram::default() }))
    })
}

/// What becomes of a run, and the most samples that it held.
fn run(
    plan: FragmentPlan,
    batch: Vec<SeriesSamples>,
    budget: Budget,
) -> (Result<Vec<PartialBatch>, QueryError>, u64) {
    let mut run = FragmentExecution::new(plan, budget, CancelFlag::new());
    let pushed = run.push_batch(batch);
    let peak = run.stats().peak_samples;
    (pushed.and_then(|()| run.finish()), peak)
}

#[test]
fn histograms_of_one_series_are_held_one_by_one() {
    let smoothed = Read::Smoothed { lookback_ms: 50_000 };
    let reads = [range(RangeFunction::Rate), range(RangeFunction::Last), smoothed];
    for read in reads {
        for op in [None, Some(AggregateOp::Sum)] {
            let (result, peak) = run(plan(read.clone(), op, 20_000), vec![native(0)], few());
            assert_eq!(result.map(drop), Err(REFUSED), "{read:?} {op:?}");
            assert_eq!(peak, 1_001, "{read:?} {op:?}");
        }
    }
}

#[test]
fn a_group_is_held_before_it_is_made() {
    for op in [AggregateOp::Sum, AggregateOp::Avg, AggregateOp::Max, AggregateOp::Count] {
        let batch: Vec<SeriesSamples> = (0..50).map(float).collect();
        let (result, peak) = run(plan(INSTANT, Some(op), 100), batch.clone(), few());
        assert_eq!(result.map(drop), Err(REFUSED), "{op:?}");
        // The samples that came, the groups that there was room for and the one that there was not.
        assert!(peak <= 1_100, "{op:?} {peak}");
        // The merge of what is within one by one.
        let plan = plan(INSTANT, Some(op), 100);
        let mut merge = PartialMerge::new(plan.clone(), few(), CancelFlag::new());
        let mut merged = 0;
        let error = batch.into_iter().find_map(|one| {
            let (batches, _) = run(plan.clone(), vec![one], Budget::default());
            let pushed = batches.expect("within").into_iter().try_for_each(|b| merge.push(b));
            merged += usize::from(pushed.is_ok());
            pushed.err()
        });
        assert_eq!((error, merged), (Some(REFUSED), 10), "{op:?}");
    }
}

/// Steps of no data still have columns.
#[test]
fn columns_are_held_before_they_are_made() {
    let budget = Budget { bytes_max: 1 << 20, ..Budget::default() };
    for (read, op) in [(INSTANT, None), (range(RangeFunction::Rate), Some(AggregateOp::Sum))] {
        let (result, _) = run(plan(read, op, 1 << 26), vec![float(0)], budget);
        let refused = QueryError::Budget { what: "bytes", limit: 1 << 20 };
        assert_eq!(result.map(drop), Err(refused));
    }
}

/// Each of these has its place at a step of its own, and a column over all of them in the end.
#[test]
fn the_columns_of_topk_are_held() {
    let mut plan = plan(INSTANT, Some(AggregateOp::TopK), 1_000);
    plan.aggregations.iter_mut().for_each(|a| a.grouping.clear());
    plan.read = Read::Instant { lookback_ms: 1, timestamp: false };
    let at = |n: usize| {
        let labels = Labels::from_pairs([("__name__", "m".to_string()), ("l", format!("{n}"))]);
        let key = SeriesKey(labels.hash64());
        SeriesSamples::from_values(labels, key, [(n as i64, SampleValue::Float(1.0))])
    };
    let batch: Vec<SeriesSamples> = (0..100).map(at).collect();
    let (all, _) = run(plan.clone(), batch.clone(), Budget::default());
    assert_eq!(all.expect("within").iter().map(|b| b.groups.len()).sum::<usize>(), 100);
    let budget = Budget { bytes_max: 400_000, ..Budget::default() };
    let refused = QueryError::Budget { what: "bytes", limit: 400_000 };
    assert_eq!(run(plan, batch, budget).0.map(drop), Err(refused));
}

/// Hashes of labels, which a merge compares: they are held where they are made and where they come together, and travel
/// in messages of a bounded size.
#[test]
fn hashes_of_labels_are_held() {
    let rate = || {
        let mut plan = plan(range(RangeFunction::Rate), Some(AggregateOp::Sum), 1);
        plan.aggregations.iter_mut().for_each(|a| a.grouping.clear());
        // Two series of different names may become one.
        plan.matchers = Vec::new();
        plan
    };
    let all = 140_000;
    let budget = Budget { bytes_max: 2 << 20, ..Budget::default() };
    let refused = QueryError::Budget { what: "bytes", limit: 2 << 20 };
    let mut run = FragmentExecution::new(rate(), budget, CancelFlag::new());
    let mut pushed = (0..all).map(|n| run.push_batch(vec![float(n)]));
    assert_eq!(pushed.find_map(Result::err), Some(refused.clone()));
    let mut run = FragmentExecution::new(rate(), Budget::default(), CancelFlag::new());
    (0..all).for_each(|n| run.push_batch(vec![float(n)]).expect("room for all"));
    let batches = run.finish().expect("no budget");
    let hashes: Vec<usize> = batches.iter().map(|b| b.label_hashes.len()).collect();
    assert_eq!((hashes.iter().sum::<usize>(), hashes.iter().max()), (all, Some(&65_536)));
    let mut merge = PartialMerge::new(rate(), budget, CancelFlag::new());
    assert_eq!(batches.into_iter().find_map(|b| merge.push(b).err()), Some(refused));
}

/// A member that does not know the plan sends raw series. Those are given back when they have been evaluated.
#[test]
fn raw_series_are_given_back() {
    let plan = plan(range(RangeFunction::Rate), None, 1_000);
    let raw = PartialBatch { raw: (0..50).map(float).collect(), ..PartialBatch::default() };
    let (known, _) = run(plan.clone(), (50..100).map(float).collect(), Budget::default());
    let known = known.expect("no budget");
    let merged = |samples_max| {
        let budget = Budget { samples_max, ..Budget::default() };
        let mut merge = PartialMerge::new(plan.clone(), budget, CancelFlag::new());
        known.iter().try_for_each(|batch| merge.push(batch.clone()))?;
        merge.push(raw.clone())?;
        merge.finish().map(|result| result.series[0].len())
    };
    // A hundred columns of a thousand steps, and not the samples beside them.
    assert_eq!(merged(100_050), Ok(100));
    assert_eq!(merged(99_950), Err(QueryError::Samples { samples_max: 99_950 }));
}

#[test]
fn a_canceled_execution_ends_between_series_and_within_one() {
    let cases = [
        (plan(INSTANT, Some(AggregateOp::Group), 10), (0..100).map(|_| float(0)).collect(), 50),
        (plan(range(RangeFunction::Rate), None, 100_000), vec![float(0)], 50),
        (plan(range(RangeFunction::Sum), None, 100_000), vec![float(0)], 50),
        (plan(range(RangeFunction::Max), None, 100_000), vec![float(0)], 50),
        (plan(range(RangeFunction::Quantile), None, 100_000), vec![float(0)], 50),
        (plan(range(RangeFunction::Max), None, 100_000), vec![native(0)], 50),
        (plan(Read::Smoothed { lookback_ms: 1 }, None, 100_000), vec![float(0)], 50),
    ];
    for (plan, batch, looks) in cases {
        let context = format!("{:?}", plan.read);
        let mut run = FragmentExecution::new(plan, Budget::default(), CancelFlag::at_look(looks));
        assert_eq!(run.push_batch(batch), Err(QueryError::Canceled), "{context}");
    }
}
