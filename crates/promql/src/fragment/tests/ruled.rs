//! Reads of the second version of the wire: `anchored`, `smoothed`, start timestamps, times for `info`.

use super::*;
use crate::annotations::Note;
use crate::engine::range::Edges;

/// How far past its edges a range looks.
const LOOKBACK_MS: i64 = 35_000;

fn ruled_reads() -> Vec<Read> {
    use RangeFunction as R;
    let (anchored, smoothed) = (
        Edges::Anchored { lookback_ms: LOOKBACK_MS },
        Edges::Smoothed { lookback_ms: LOOKBACK_MS },
    );
    let range = |function, edges, starts| {
        let rules = RangeRules { edges, starts };
        Read::Range { range_ms: 50_000, rules, function, args: Vec::new() }
    };
    let mut out = vec![
        Read::Smoothed { lookback_ms: LOOKBACK_MS },
        Read::StartTimestamp { lookback_ms: LOOKBACK_MS },
        Read::SampleTime { lookback_ms: LOOKBACK_MS },
    ];
    out.extend([R::Rate, R::Increase, R::Delta].map(|f| range(f, smoothed, false)));
    out.extend([R::Increase, R::Delta, R::Changes].map(|f| range(f, anchored, false)));
    out.push(range(R::Resets, anchored, true));
    out.extend([R::Rate, R::Increase, R::Irate, R::Resets].map(|f| range(f, Edges::Plain, true)));
    out
}

/// Gives two of three series start timestamps, right ones and wrong ones.
fn started(mut all: Vec<SeriesSamples>) -> Vec<SeriesSamples> {
    for (n, series) in all.iter_mut().enumerate().filter(|(n, _)| n % 3 < 2) {
        let start = |(i, t): (usize, &i64)| match (i + n) % 4 {
            0 => 0,
            1 => t - 500,
            2 => t - 30_000,
            _ => t + 5,
        };
        series.starts = series.axis.iter().enumerate().map(start).collect();
    }
    all
}

/// The result where no executor knows more than to read.
fn through_raw(plan: &FragmentPlan, parts: &[Vec<SeriesSamples>]) -> FragmentResult {
    let mut merge = PartialMerge::new(plan.clone(), Budget::default(), CancelFlag::new());
    for part in parts {
        for batch in run(&plan.raw(), part.clone()).expect("raw") {
            merge.push(PartialBatch::decode(&batch.encode()).expect("a batch")).expect("fits");
        }
    }
    merge.finish().expect("raw")
}

fn by_steps(plan: &FragmentPlan, all: &[SeriesSamples], first: usize) -> FragmentResult {
    let mut parts = StepParts::new(plan, Budget::default(), CancelFlag::new());
    for (at, count) in [(0, first), (first, plan.steps.len() - first)] {
        let part = plan.with_steps(at, count).expect("steps");
        let mut merge = PartialMerge::new(part.clone(), Budget::default(), CancelFlag::new());
        // An executor is handed what it asks for and nothing else.
        let window = part.raw();
        let read = run(&window, all.to_vec()).expect("raw").into_iter().flat_map(|b| b.raw);
        for batch in run(&part, read.collect()).expect("part") {
            merge.push(batch).expect("fits");
        }
        parts.push(at, merge.finish().expect("a part")).expect("fits");
    }
    parts.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn split_equals_whole_by_any_rules(data in data(), cut in 0usize..8, first in 1usize..13) {
        let all = data.iter().enumerate().map(|(i, s)| series("m_total", i, s)).collect();
        let all: Vec<SeriesSamples> = started(all);
        let cut = cut.min(all.len());
        let parts = [all[..cut].to_vec(), all[cut..].to_vec()];
        for read in ruled_reads() {
            // Sums of such values depend on their order; these do not.
            for aggregation in [None, aggregations()[7].clone(), aggregations()[14].clone()] {
                let plan = plan(read.clone(), aggregation);
                let context = format!("{plan:?}");
                let whole = merged(&plan, std::slice::from_ref(&all)).expect("whole");
                assert_same(&whole, &merged(&plan, &parts).expect("split"), &context);
                assert_same(&whole, &through_raw(&plan, &parts), &context);
                assert_same(&whole, &by_steps(&plan, &all, first), &context);
            }
        }
    }
}

/// A process of the first version knows the reads 1 to 4 and nothing of what follows them in a plan.
#[test]
fn no_rule_is_sent_to_who_does_not_know_it() {
    let old: Vec<Vec<u8>> = reads().into_iter().map(|r| plan(r, None).encode()).collect();
    // Tag 6, the read, is behind matchers and steps, which are the same in all of these plans.
    let at = old[0].iter().zip(&old[1]).position(|(a, b)| a != b).expect("another read");
    assert_eq!((old[0][at - 1], old[0][at], old[1][at]), (6 << 3, 1, 2));
    for read in ruled_reads() {
        let plan = plan(read, None);
        let bytes = plan.encode();
        assert_eq!(bytes[1], 2, "its version: {plan:?}");
        assert!((5..=8).contains(&bytes[at]), "{plan:?} read={}", bytes[at]);
        assert_eq!(plan.raw().encode()[1], 1, "what it is asked for instead");
        assert_eq!(FragmentPlan::decode(&bytes), Ok(plan));
    }
}

#[test]
fn the_note_of_overlaps_is_sent_in_the_second_version_only() {
    let mut batch = PartialBatch::default();
    assert_eq!(batch.encode()[1], 1);
    batch.notes.push((NoteSite::Function, Note::StartTimeOverlap("m".to_string())));
    let bytes = batch.encode();
    assert_eq!(bytes[1], 2);
    assert_eq!(PartialBatch::decode(&bytes).expect("a batch").notes, batch.notes);
}

#[test]
fn what_is_read_past_the_steps_is_asked_of_older_processes_too() {
    for (read, after, upto) in [
        (ruled_reads()[0].clone(), -LOOKBACK_MS, 195_000 + LOOKBACK_MS),
        (ruled_reads()[3].clone(), -50_000 - LOOKBACK_MS, 195_000 + LOOKBACK_MS),
        (ruled_reads()[6].clone(), -50_000 - LOOKBACK_MS, 195_000),
    ] {
        let plan = plan(read, None);
        let window = plan.window();
        assert_eq!((window.after_ms, window.upto_ms), (after, upto), "{plan:?}");
        assert_eq!(plan.raw().window(), window, "{plan:?}");
        assert_eq!(plan.raw().raw(), plan.raw());
    }
}

#[test]
fn rules_that_a_function_does_not_go_with_are_refused() {
    let edges = Edges::Smoothed { lookback_ms: 1 };
    let rules = RangeRules { edges, starts: false };
    let function = RangeFunction::Changes;
    let read = Read::Range { range_ms: 1, rules, function, args: Vec::new() };
    let error = FragmentPlan::decode(&plan(read, None).encode()).expect_err("no such range");
    assert_eq!(error.to_string(), "corrupt fragment plan: edges=2 function=changes");
}

/// See `version_one_is_pinned`: a changed hash is a changed format.
#[test]
fn the_nodes_of_rules_are_pinned() {
    let plans = ruled_reads().into_iter().flat_map(|r| plan(r, None).encode());
    assert_eq!(xxhash_rust::xxh3::xxh3_64(&plans.collect::<Vec<_>>()), 247_864_179_333_878_584);
}

fn extreme_times() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(i64::MIN),
        Just(i64::MIN + 1),
        Just(i64::MAX - 1),
        Just(i64::MAX),
        -3i64..3,
        any::<i64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_time_is_too_far_away(
        axis in proptest::collection::btree_set(extreme_times(), 0..6),
        at in extreme_times(), lookback in extreme_times(), range in extreme_times(),
        histograms in prop_oneof![Just(0), Just(u8::MAX), any::<u8>()],
    ) {
        // All floats, all histograms, or some of each.
        let value = |i: usize| match histograms >> (i % 8) & 1 {
            0 => SampleValue::Float(1.0),
            _ => SampleValue::Histogram(Arc::new(Histogram { count: 1.0, ..Default::default() })),
        };
        let values = axis.iter().enumerate().map(|(i, t)| (*t, value(i)));
        let labels = Labels::from_pairs([("__name__", "m_total")]);
        let mut one = SeriesSamples::from_values(labels, SeriesKey(1), values);
        one.starts = axis.iter().map(|t| t.wrapping_mul(3)).collect();
        let (lookback_ms, range_ms) = (lookback.saturating_abs(), range.saturating_abs());
        for read in ruled_reads() {
            let read = match read {
                Read::Smoothed { .. } => Read::Smoothed { lookback_ms },
                Read::StartTimestamp { .. } => Read::StartTimestamp { lookback_ms },
                Read::SampleTime { .. } => Read::SampleTime { lookback_ms },
                Read::Range { mut rules, function, args, .. } => {
                    rules.edges = match rules.edges {
                        Edges::Plain => Edges::Plain,
                        Edges::Anchored { .. } => Edges::Anchored { lookback_ms },
                        Edges::Smoothed { .. } => Edges::Smoothed { lookback_ms },
                    };
                    Read::Range { range_ms, rules, function, args }
                }
                other => other,
            };
            let plan = FragmentPlan { steps: Steps::instant(at), ..plan(read, None) };
            prop_assert!(run(&plan, vec![one.clone()]).is_ok());
            prop_assert!(run(&plan.raw(), vec![one.clone()]).is_ok());
        }
    }
}
