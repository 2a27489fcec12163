//! What is split and merged must answer as what is whole; what goes over the wire must come back.

mod collisions;
mod ruled;

use std::sync::Arc;

use pando_model::{Histogram, Labels, Matcher, SampleValue, SeriesKey, SeriesSamples};
use proptest::prelude::*;

use super::*;
use crate::annotations::Note;
use crate::budget::{Budget, CancelFlag, Ledger};
use crate::engine::aggregate::Grouping;
use crate::engine::aggregate::local::quantiles;
use crate::engine::range::{RangeFunction, RangeRules};
use crate::engine::samples::Course;
use crate::error::QueryError;
use crate::query::{Query, QueryParams};
use crate::steps::Steps;
use crate::syntax::ast::AggregateOp;

fn series(name: &str, job: usize, samples: &[(i64, f64)]) -> SeriesSamples {
    let labels = Labels::from_pairs([
        ("__name__", name.to_string()),
        ("job", format!("j{}", job % 3)),
        ("instance", format!("i{job}")),
    ]);
    let key = SeriesKey(labels.hash64());
    let samples = samples.iter().map(|(t, v)| (*t, SampleValue::Float(*v)));
    SeriesSamples::from_values(labels, key, samples)
}

fn run(plan: &FragmentPlan, series: Vec<SeriesSamples>) -> Result<Vec<PartialBatch>, QueryError> {
    let mut execution = FragmentExecution::new(plan.clone(), Budget::default(), CancelFlag::new());
    for batch in series.chunks(3) {
        execution.push_batch(batch.to_vec())?;
    }
    execution.finish()
}

/// Executes `plan` over every part on its own, at one executor.
pub(super) fn absorbed(
    plan: &FragmentPlan,
    parts: &[Vec<SeriesSamples>],
) -> Result<FragmentResult, QueryError> {
    let begin = || FragmentExecution::new(plan.clone(), Budget::default(), CancelFlag::new());
    let mut all = begin();
    for part in parts {
        let mut execution = begin();
        execution.push_batch(part.clone())?;
        all.absorb(execution)?;
    }
    let samples = parts.iter().flatten().map(SeriesSamples::len).sum::<usize>();
    assert_eq!(all.stats().samples, samples as u64);
    let mut merge = PartialMerge::new(plan.clone(), Budget::default(), CancelFlag::new());
    for batch in all.finish()? {
        merge.push(PartialBatch::decode(&batch.encode())?)?;
    }
    merge.finish()
}

/// Executes `plan` over every part on its own, through the wire, and merges.
fn merged(plan: &FragmentPlan, parts: &[Vec<SeriesSamples>]) -> Result<FragmentResult, QueryError> {
    let mut merge = PartialMerge::new(plan.clone(), Budget::default(), CancelFlag::new());
    let plan = FragmentPlan::decode(&plan.encode())?;
    for part in parts {
        for batch in run(&plan, part.clone())? {
            merge.push(PartialBatch::decode(&batch.encode())?)?;
        }
    }
    merge.finish()
}

/// Equal labels and notes, and values within 1e-12 of each other, relative to the larger one or to 1: where instants
/// of some hundred seconds, or values as large, are milliseconds apart, what spreads round off is more than a tiny
/// part of the spread.
fn assert_same(a: &FragmentResult, b: &FragmentResult, context: &str) {
    let labels = |r: &FragmentResult| {
        r.series.iter().flatten().map(|s| s.labels.clone()).collect::<Vec<_>>()
    };
    assert_eq!(labels(a), labels(b), "{context}");
    for (x, y) in a.series.iter().flatten().zip(b.series.iter().flatten()) {
        assert_eq!(x.present, y.present, "{context} {}", x.labels);
        assert_eq!(x.histograms, y.histograms, "{context}");
        for i in x.present.iter() {
            let (v, w) = (x.values[i], y.values[i]);
            let near = (v - w).abs() <= 1e-12 * v.abs().max(w.abs()).max(1.0);
            let close = near || v.is_nan() && w.is_nan();
            assert!(v.to_bits() == w.to_bits() || close, "{context} {} {i}: {v} {w}", x.labels);
        }
    }
    assert_eq!(a.notes, b.notes, "{context}");
}

/// The result with quantiles selected, as the frontend does.
fn selected(plan: &FragmentPlan, result: &FragmentResult) -> FragmentResult {
    let gathered = plan.aggregations.iter().find(|a| a.op == AggregateOp::Quantile);
    let Some(aggregation) = gathered else { return result.clone() };
    let grouping = Grouping::new(&aggregation.grouping, aggregation.without);
    let q = vec![0.3; plan.steps.len()];
    let mut ledger = Ledger::new(Budget::default(), CancelFlag::new());
    let input = result.series[0].clone();
    let series = quantiles(&q, &grouping, input, &mut Vec::new(), &mut ledger).expect("within");
    FragmentResult { series: vec![series], ..result.clone() }
}

fn forms(op: AggregateOp) -> [Aggregation; 3] {
    let forms: [(&[&str], bool); 3] = [(&[], false), (&["job"], false), (&["job"], true)];
    forms.map(|(grouping, without)| Aggregation::example(op, grouping, without))
}

fn all_aggregations() -> Vec<Option<Aggregation>> {
    [aggregations(), aggregations_of_version_three()].concat()
}

fn aggregations_of_version_three() -> Vec<Option<Aggregation>> {
    use AggregateOp as A;
    let ops = [A::Stddev, A::Stdvar, A::Quantile, A::CountValues, A::LimitK, A::LimitRatio];
    ops.into_iter().flat_map(forms).map(Some).collect()
}

/// Those that version 2 has.
fn aggregations() -> Vec<Option<Aggregation>> {
    use AggregateOp as A;
    let mut out = vec![None];
    for op in [A::Sum, A::Avg, A::Min, A::Max, A::Count, A::Group, A::TopK, A::BottomK] {
        out.extend(forms(op).map(Some));
    }
    out
}

fn reads() -> Vec<Read> {
    let range = |function, args| {
        let rules = RangeRules::default();
        Read::Range { range_ms: 50_000, rules, function, args }
    };
    vec![
        Read::Instant { lookback_ms: 30_000, timestamp: false },
        Read::Instant { lookback_ms: 30_000, timestamp: true },
        range(RangeFunction::Rate, vec![]),
        range(RangeFunction::Last, vec![]),
        range(RangeFunction::Avg, vec![]),
        range(RangeFunction::Quantile, vec![0.5]),
    ]
}

fn plan(read: Read, aggregation: Option<Aggregation>) -> FragmentPlan {
    FragmentPlan {
        matchers: vec![Matcher::equal("__name__", "m_total")],
        steps: Steps::range(0, 200_000, 15_000).expect("14 steps"),
        read,
        aggregations: aggregation.into_iter().collect(),
        delayed_name_removal: false,
        statistics: false,
        hints_back_ms: 0,
        count_samples: false,
    }
}

fn values() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -100.0..100.0f64,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(pando_model::STALE_NAN),
        1 => Just(0.5),
        1 => Just(f64::MAX),
    ]
}

fn data() -> impl Strategy<Value = Vec<Vec<(i64, f64)>>> {
    let gaps = proptest::collection::vec((1_000i64..40_000, values()), 0..14);
    let samples = gaps.prop_map(|gaps| {
        let mut t = -30_000;
        gaps.into_iter()
            .map(|(gap, v)| {
                t += gap;
                (t, v)
            })
            .collect()
    });
    proptest::collection::vec(samples, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn split_equals_whole(data in data(), cut in 0usize..8, first in 1usize..13) {
        let all: Vec<SeriesSamples> =
            data.iter().enumerate().map(|(i, s)| series("m_total", i, s)).collect();
        let cut = cut.min(all.len());
        let parts = [all[..cut].to_vec(), all[cut..].to_vec()];
        for read in reads() {
            for aggregation in all_aggregations() {
                let plan = plan(read.clone(), aggregation);
                let same = |a: &FragmentResult, b: &FragmentResult| {
                    assert_same(&selected(&plan, a), &selected(&plan, b), &format!("{plan:?}"));
                };
                let whole = merged(&plan, std::slice::from_ref(&all)).expect("whole");
                same(&whole, &merged(&plan, &parts).expect("split"));
                same(&whole, &absorbed(&plan, &parts).expect("absorbed"));
                // Executors that only know how to read.
                let mut raw = PartialMerge::new(plan.clone(), Budget::default(), CancelFlag::new());
                for part in &parts {
                    for batch in run(&plan.raw(), part.clone()).expect("raw") {
                        let batch = PartialBatch::decode(&batch.encode()).expect("a batch");
                        raw.push(batch).expect("fits");
                    }
                }
                same(&whole, &raw.finish().expect("raw"));
                // Split by steps.
                let mut by_steps = StepParts::new(&plan, Budget::default(), CancelFlag::new());
                let rest = plan.steps.len() - first;
                for (at, count) in [(0, first), (first, rest)] {
                    let part = plan.with_steps(at, count).expect("steps");
                    let mut merge =
                        PartialMerge::new(part.clone(), Budget::default(), CancelFlag::new());
                    for batch in run(&part, all.clone()).expect("part") {
                        merge.push(batch).expect("fits");
                    }
                    by_steps.push(at, merge.finish().expect("a part")).expect("fits");
                }
                // Only what has one step has an order of its own.
                let mut whole = whole;
                whole.series.iter_mut().for_each(|s| s.sort_by(|a, b| a.labels.cmp(&b.labels)));
                same(&whole, &by_steps.finish());
            }
        }
    }

    #[test]
    fn garbage_is_refused_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..400, byte in any::<u8>()) {
        let _ = PartialBatch::decode(&bytes);
        let _ = FragmentPlan::decode(&bytes);
        let whole = plan(reads()[2].clone(), aggregations()[2].clone());
        let samples: Vec<(i64, f64)> = (0..10).map(|i| (i * 10_000, i as f64)).collect();
        for batch in run(&whole, vec![series("m_total", 1, &samples)]).expect("a run") {
            bytes = batch.encode();
            if !bytes.is_empty() {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let _ = PartialBatch::decode(&bytes);
        }
        let mut bytes = whole.encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = FragmentPlan::decode(&bytes);
    }
}

#[test]
fn raw_series_keep_everything_but_exemplars_over_the_wire() {
    let histogram = Histogram {
        schema: 2,
        count: 3.0,
        sum: f64::from_bits(0x7ff8_0000_0000_0123),
        positive_spans: vec![pando_model::Span { offset: -4, length: 2 }],
        positive_buckets: vec![1.0, 2.0],
        ..Histogram::default()
    };
    let labels = Labels::from_pairs([("__name__", "h")]);
    let values = [
        (1_000, SampleValue::Histogram(Arc::new(histogram))),
        (2_000, SampleValue::Float(pando_model::STALE_NAN)),
    ];
    let mut sent = SeriesSamples::from_values(labels, SeriesKey(7), values);
    sent.starts = vec![500, 0];
    let batch = PartialBatch { raw: vec![sent.clone(), sent.clone()], ..PartialBatch::default() };
    let got = PartialBatch::decode(&batch.encode()).expect("a batch");
    assert!(Arc::ptr_eq(&got.raw[0].axis, &got.raw[1].axis), "the axis stays shared");
    for i in 0..2 {
        assert!(sent.value(i).same_bits(&got.raw[0].value(i)));
    }
    assert_eq!((&got.raw[0].labels, got.raw[0].key, &got.raw[0].starts), {
        (&sent.labels, sent.key, &sent.starts)
    });
}

#[test]
fn unknown_versions_and_nodes_are_named() {
    let mut bytes = plan(reads()[0].clone(), None).encode();
    assert_eq!(bytes[..2], [8, 1], "the version comes first");
    bytes[1] = 9;
    let error = FragmentPlan::decode(&bytes).expect_err("version 9");
    assert_eq!(error.to_string(), "unsupported fragment plan: version=9 supported_version=3");
    assert_eq!(error.kind(), pando_model::ErrorKind::Unsupported);
}

/// What is known of floats spares a look at them, and names that nobody sees stay: neither changes an answer.
#[test]
fn what_is_known_of_floats_changes_no_answer() {
    let labels =
        |i: i64| Labels::from_pairs([("__name__", "m_total".into()), ("i", format!("{i}"))]);
    let samples_of = |i: i64, by: i64| {
        let value = |t: i64| SampleValue::Float((3 + t * by) as f64);
        let samples = (0..40).map(|t| (t * 15_000, value(t)));
        SeriesSamples::from_values(labels(i), SeriesKey(i as u64), samples)
    };
    let rising = |i: i64| samples_of(i, i + 1);
    let constant = |i: i64| samples_of(i, 0);
    for text in [
        "rate(m_total[5m])",
        "sum(rate(m_total[5m]))",
        "sum by (i) (increase(m_total[1m]))",
        "sum by (__name__, i) (delta(m_total[1m]))",
        "sum without (i) (rate(m_total[1m]))",
        "topk(2, rate(m_total[1m]))",
        "resets(m_total[5m])",
        "max_over_time(m_total[5m])",
        "m_total",
    ] {
        let params = QueryParams::range(0, 600_000, 15_000).expect("steps");
        let query = Query::parse(text, params).expect(text);
        let plan = query.fragments()[0].plan.clone();
        let run = |series: &dyn Fn(i64) -> SeriesSamples, course: Option<Course>| {
            let mut run =
                FragmentExecution::new(plan.clone(), Budget::default(), CancelFlag::new());
            let pushed = (0..3).try_for_each(|i| match course {
                Some(course) => run.push(series(i), course),
                None => run.push_batch(vec![series(i)]),
            });
            pushed.expect(text);
            let batches = run.finish().expect(text);
            batches.iter().map(PartialBatch::encode).collect::<Vec<_>>()
        };
        let known = run(&rising, Some(Course::Steady));
        assert_eq!(known, run(&rising, None), "{text}");
        let named = known.iter().any(|bytes| bytes.windows(7).any(|w| w == b"m_total"));
        assert_eq!(named, text == "m_total", "{text}");
        assert_eq!(run(&constant, Some(Course::Constant)), run(&constant, None), "{text}");
    }
}

#[test]
fn budgets_and_cancellation_end_an_execution() {
    let samples: Vec<(i64, f64)> = (0..100).map(|i| (i * 1_000, i as f64)).collect();
    let plan = plan(reads()[0].clone(), None);
    let push = |budget: Budget, cancel: CancelFlag| {
        let batch = vec![series("m_total", 1, &samples), series("m_total", 2, &samples)];
        FragmentExecution::new(plan.clone(), budget, cancel).push_batch(batch)
    };
    let budget = Budget::default();
    assert_eq!(push(budget, CancelFlag::new()), Ok(()));
    let few = push(Budget { samples_max: 199, ..budget }, CancelFlag::new());
    assert_eq!(few, Err(QueryError::Samples { samples_max: 199 }));
    let series = push(Budget { series_max: 1, ..budget }, CancelFlag::new());
    assert_eq!(series, Err(QueryError::Budget { what: "series", limit: 1 }));
    let bytes = push(Budget { bytes_max: 100, ..budget }, CancelFlag::new());
    assert_eq!(bytes, Err(QueryError::Budget { what: "bytes", limit: 100 }));
    let cancel = CancelFlag::new();
    cancel.cancel();
    assert_eq!(push(budget, cancel), Err(QueryError::Canceled));
}

#[test]
fn plans_say_which_samples_they_need() {
    let query = Query::parse(
        "sum by (job) (rate(a_total[5m] offset 1h)) / on (job) b @ 100",
        QueryParams::range(7_200_000, 7_260_000, 60_000).expect("two steps"),
    )
    .expect("a query");
    let [rate, b] = query.fragments() else { panic!("two fragments") };
    assert_eq!((rate.range.min_ms, rate.range.max_ms), (3_300_001, 3_660_001));
    assert_eq!((b.range.min_ms, b.range.max_ms), (-199_999, 100_001));
    assert!(!rate.plan.aggregations.is_empty());
    assert_eq!(b.plan.steps.len(), 1);
}

#[test]
fn what_is_read_for_hints_is_read_where_sums_ask() {
    let spec = |text: &str| {
        let params = QueryParams { lookback_ms: 90_000, ..QueryParams::instant(600_000) };
        let query = Query::parse(text, params).expect(text);
        let [spec] = query.fragments() else { panic!("{text}: one fragment") };
        spec.clone()
    };
    for (text, min_ms) in [
        ("histogram_count(sum_over_time(h[2m]))", 390_001),
        ("histogram_avg(sum(last_over_time(h[2m])))", 390_001),
        ("histogram_sum(-avg(h))", 420_001),
        ("histogram_count(last_over_time(h[2m]))", 480_001),
        ("histogram_count(sum(rate(h[2m])))", 480_001),
        ("sum(histogram_count(h))", 510_001),
        ("sum(h)", 510_001),
    ] {
        let FragmentSpec { plan, range, .. } = spec(text);
        assert_eq!(range.min_ms, min_ms, "{text}");
        assert_eq!(plan.raw().window(), plan.window(), "{text}");
        for plan in [plan.raw(), plan] {
            assert_eq!(FragmentPlan::decode(&plan.encode()), Ok(plan), "{text}");
        }
    }
    let broken = FragmentPlan { hints_back_ms: -1, ..spec("m").plan };
    assert!(matches!(FragmentPlan::decode(&broken.encode()), Err(QueryError::Corrupt { .. })));
}

/// Plans and results travel between members of two versions. A changed hash is a changed format: it
/// takes a new [`wire::WIRE_VERSION`].
#[test]
fn version_one_is_pinned() {
    let (mut plans, batches) = bytes_of(aggregations());
    for plan in &mut plans {
        // Version 2 says the same of these in the same bytes; it only knows more of their answers.
        assert!(plan[1] <= 2);
        plan[1] = 1;
    }
    assert_eq!(hashes(&plans, &batches), [2_095_196_461_165_779_109, 10_551_702_675_362_278_482]);
}

/// Several aggregations are what each of them is alone, and their notes are told apart.
#[test]
fn several_aggregations_are_as_each_alone() {
    let samples: Vec<(i64, f64)> = (0..20).map(|i| (i * 10_000, (i * i % 7) as f64)).collect();
    let mut all: Vec<SeriesSamples> = (0..7).map(|job| series("m_total", job, &samples)).collect();
    let histogram = Arc::new(Histogram { count: 1.0, ..Histogram::default() });
    all[3].histograms = vec![(4, histogram)];
    let parts = [all[..4].to_vec(), all[4..].to_vec()];
    for read in reads() {
        let aggregations: Vec<Aggregation> = all_aggregations().into_iter().flatten().collect();
        for some in aggregations.chunks(5) {
            let one = plan(read.clone(), None);
            let several = FragmentPlan { aggregations: some.to_vec(), ..one.clone() };
            // Put together at the frontend, and at one executor.
            for join in [merged, absorbed] {
                let outputs = join(&several, &parts).expect("together").apart();
                assert_eq!(outputs.len(), some.len());
                for (output, aggregation) in outputs.into_iter().zip(some) {
                    let aggregations = vec![aggregation.clone()];
                    let alone = FragmentPlan { aggregations, ..one.clone() };
                    let alone = join(&alone, &parts).expect("alone").apart().remove(0);
                    assert_eq!(format!("{:?}", output.series), format!("{:?}", alone.series));
                    let texts = |notes: &[(NoteSite, Note)]| {
                        notes.iter().map(|(_, note)| note.clone()).collect::<Vec<_>>()
                    };
                    assert_eq!(texts(&output.notes), texts(&alone.notes), "{aggregation:?}");
                }
            }
        }
    }
}

#[test]
fn a_group_of_an_aggregation_that_was_not_asked_for_is_refused() {
    let plan = plan(reads()[0].clone(), aggregations()[1].clone());
    let mut batch = run(&plan, vec![series("m_total", 1, &[(0, 1.0)])]).expect("a run").remove(0);
    batch.groups[0].aggregation = 1;
    let mut merge = PartialMerge::new(plan, Budget::default(), CancelFlag::new());
    let error = merge.push(batch).expect_err("no such aggregation");
    assert!(error.to_string().contains("aggregation=1 aggregations=1"), "{error}");
}

#[test]
fn version_three_is_pinned() {
    let (plans, batches) = bytes_of(aggregations_of_version_three());
    assert!(plans.iter().all(|plan| plan[1] == 3));
    assert_eq!(hashes(&plans, &batches), [6_549_456_912_308_050_821, 16_034_340_047_787_538_361]);
}

#[test]
fn several_aggregations_are_pinned() {
    let aggregations = aggregations().into_iter().flatten().collect();
    let plan = FragmentPlan { aggregations, ..plan(reads()[0].clone(), None) };
    let samples: Vec<(i64, f64)> = (0..12).map(|i| (i * 10_000, i as f64 / 8.0)).collect();
    let run = run(&plan, vec![series("m", 1, &samples)]).expect("a run");
    let batches: Vec<u8> = run.iter().flat_map(PartialBatch::encode).collect();
    assert_eq!(
        hashes(&[plan.encode()], &batches),
        [17_322_051_596_845_399_758, 15_317_776_089_395_001_819]
    );
}

/// The bytes of plans with these aggregations, and of what they answer.
fn bytes_of(aggregations: Vec<Option<Aggregation>>) -> (Vec<Vec<u8>>, Vec<u8>) {
    let matchers = vec![
        Matcher::equal("__name__", "m"),
        Matcher::new("job", pando_model::MatchOp::NotRegex, "x.*").expect("a pattern"),
    ];
    let (mut plans, mut batches) = (Vec::new(), Vec::new());
    for read in reads() {
        for aggregation in aggregations.clone() {
            let steps = Steps::range(60_000, 120_000, 15_000).expect("5 steps");
            let plan = FragmentPlan {
                matchers: matchers.clone(),
                steps,
                ..plan(read.clone(), aggregation)
            };
            plans.push(plan.encode());
            let samples: Vec<(i64, f64)> = (0..12).map(|i| (i * 10_000, i as f64 / 8.0)).collect();
            let pushed = (0..4).map(|job| series("m", job, &samples[job..])).collect();
            if let Ok(run) = run(&plan, pushed) {
                batches.extend(run.iter().flat_map(PartialBatch::encode));
            }
        }
    }
    assert!(plans.len() > 20 && batches.len() > 1_000);
    (plans, batches)
}

fn hashes(plans: &[Vec<u8>], batches: &[u8]) -> [u64; 2] {
    [&plans.concat(), batches].map(xxhash_rust::xxh3::xxh3_64)
}

/// A few bits of presence are values of eight bytes: how many a batch may hold is bounded before any is made.
#[test]
fn a_batch_of_too_many_values_is_refused() {
    let group = PartialGroup {
        aggregation: 0,
        labels: Labels::default(),
        drop_name: false,
        state: PartialState::Count { count: vec![0.0; 1 << 20] },
    };
    let one = PartialBatch { groups: vec![group], ..PartialBatch::default() }.encode();
    assert_eq!(PartialBatch::decode(&one).expect("one group").groups.len(), 1);
    // Fields of messages that follow each other are one message's.
    let error = PartialBatch::decode(&one.repeat(65)).expect_err("65 * 2^20 values");
    assert!(error.to_string().contains("values=68157440 values_max=67108864"), "{error}");
}

/// Of what is known never to fall only the ends of a window are read: not what is between them, and nothing is searched
/// for resets.
#[test]
fn what_is_known_is_not_looked_at() {
    use RangeFunction as R;
    let rising: Vec<(i64, f64)> = (0..=10).map(|i| (i * 10_000, i as f64)).collect();
    let mut odd = rising.clone();
    for (at, value) in [(7, 1e9), (8, -5.0), (9, f64::NAN)] {
        odd[at].1 = value;
    }
    for function in [R::Rate, R::Increase, R::Delta] {
        let rules = RangeRules::default();
        let read = Read::Range { range_ms: 50_000, rules, function, args: Vec::new() };
        let plan = FragmentPlan { steps: Steps::instant(100_000), ..plan(read, None) };
        let value = |samples: &[(i64, f64)], course| {
            let mut execution =
                FragmentExecution::new(plan.clone(), Budget::default(), CancelFlag::new());
            execution.push(series("m_total", 1, samples), course).expect("within the budget");
            let mut merge = PartialMerge::new(plan.clone(), Budget::default(), CancelFlag::new());
            for batch in execution.finish().expect("a run") {
                merge.push(batch).expect("fits");
            }
            merge.finish().expect("an answer").series[0][0].values[0]
        };
        let expected = value(&rising, Course::Unknown);
        assert_eq!(value(&odd, Course::Steady), expected, "{function:?}");
        let falls = value(&odd, Course::Unknown);
        assert_eq!(falls == expected, function == R::Delta, "{function:?}: {falls}");
    }
}

/// However what is read is split.
#[test]
fn samples_are_counted_at_their_steps() {
    let samples: Vec<(i64, f64)> = (0..20).map(|i| (i * 10_000, i as f64)).collect();
    let parts = [
        vec![series("m_total", 1, &samples), series("m_total", 2, &samples[5..])],
        vec![series("m_total", 3, &samples[..9])],
    ];
    let aggregation = Some(Aggregation::example(AggregateOp::Sum, &[], false));
    let plan = FragmentPlan { count_samples: true, ..plan(reads()[2].clone(), aggregation) };
    // Five samples of each series in a window of 50 s, where it has so many.
    let counted = |plan: &FragmentPlan| {
        let window = |t: i64| samples.iter().filter(move |(at, _)| *at > t - 50_000 && *at <= t);
        let each = |t: i64| {
            let all = window(t).count();
            let later = window(t).filter(|(at, _)| *at >= 50_000).count();
            let earlier = window(t).filter(|(at, _)| *at < 90_000).count();
            (all + later + earlier) as u64
        };
        plan.steps.iter().map(each).collect::<Vec<u64>>()
    };
    for result in [merged(&plan, &parts), absorbed(&plan, &parts)] {
        assert_eq!(result.expect("an answer").step_samples, counted(&plan));
    }
    // An older executor, which counts nothing, has the first steps.
    let first = 6;
    let mut by_steps = StepParts::new(&plan, Budget::default(), CancelFlag::new());
    for (at, count, counts) in [(0, first, false), (first, plan.steps.len() - first, true)] {
        let part = plan.with_steps(at, count).expect("steps");
        let part = FragmentPlan { count_samples: counts, ..part };
        by_steps.push(at, merged(&part, &parts).expect("a part")).expect("fits");
    }
    let mut wanted = counted(&plan);
    wanted[..first].fill(0);
    assert_eq!(by_steps.finish().step_samples, wanted);
}

/// What adding rounds off goes over the wire, and is added at the end.
#[test]
fn what_sums_round_off_survives_every_merge() {
    let large = 1e16;
    let of = |job: usize, value: f64| series("m_total", job, &[(0, value)]);
    let mut parts = vec![
        vec![of(0, large), of(1, 1.0)],
        vec![of(2, 3.0), of(3, 1.0)],
        vec![of(4, -large), of(5, 1.0)],
    ];
    let read = || Read::Instant { lookback_ms: 30_000, timestamp: false };
    for _ in 0..parts.len() {
        parts.rotate_left(1);
        for (op, expected) in [(AggregateOp::Sum, 6.0), (AggregateOp::Avg, 1.0)] {
            let plan = plan(read(), Some(Aggregation::example(op, &[], false)));
            for result in [merged(&plan, &parts), absorbed(&plan, &parts)] {
                let result = result.expect("an answer");
                let [total] = result.series[0].as_slice() else { panic!("{op:?}: one group") };
                assert_eq!(total.values[0], expected, "{op:?}");
            }
        }
    }
}
