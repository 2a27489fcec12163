//! Two series with equal labels once their names are gone: refused or one, wherever and whenever they are.

use super::*;

const REFUSED: &str = "vector cannot contain metrics with the same labelset";

fn samples(from_ms: i64, upto_ms: i64) -> Vec<(i64, f64)> {
    (from_ms..upto_ms).step_by(10_000).map(|t| (t, t as f64)).collect()
}

/// The plan for series of any name.
fn nameless(read: Read, aggregation: Option<Aggregation>) -> FragmentPlan {
    FragmentPlan { matchers: vec![Matcher::equal("job", "j1")], ..plan(read, aggregation) }
}

/// Executes `plan` for its first `cut` steps and for the others, as `change` leaves what is sent.
fn in_parts(
    plan: &FragmentPlan,
    cut: usize,
    series: &[SeriesSamples],
    change: impl Fn(&mut PartialBatch),
) -> Result<FragmentResult, QueryError> {
    let mut parts = StepParts::new(plan, Budget::default(), CancelFlag::new());
    for (first, count) in [(0, cut), (cut, plan.steps.len() - cut)] {
        let part = plan.with_steps(first, count).expect("steps of the plan");
        let mut merge = PartialMerge::new(part.clone(), Budget::default(), CancelFlag::new());
        for mut batch in run(&part, series.to_vec())? {
            change(&mut batch);
            merge.push(PartialBatch::decode(&batch.encode())?)?;
        }
        parts.push(first, merge.finish()?)?;
    }
    Ok(parts.finish())
}

fn refused(answer: Result<FragmentResult, QueryError>, context: &str) {
    assert_eq!(answer.expect_err(context).to_string(), REFUSED, "{context}");
}

#[test]
fn equal_label_sets_are_found_across_executors() {
    let (a, b) =
        (series("a_total", 1, &samples(0, 100_000)), series("b_total", 1, &samples(0, 100_000)));
    for aggregation in all_aggregations() {
        let plan = nameless(reads()[2].clone(), aggregation);
        let context = format!("{plan:?}");
        for parts in [vec![vec![a.clone(), b.clone()]], vec![vec![a.clone()], vec![b.clone()]]] {
            refused(merged(&plan, &parts), &context);
            refused(absorbed(&plan, &parts), &context);
        }
    }
}

/// A function of ranges refuses them also where they never meet: in one executor, in two, and in two parts of the steps.
#[test]
fn equal_label_sets_are_found_across_steps() {
    let (a, b) = (
        series("a_total", 1, &samples(0, 60_000)),
        series("b_total", 1, &samples(130_000, 200_000)),
    );
    for aggregation in all_aggregations() {
        let plan = nameless(reads()[2].clone(), aggregation);
        let context = format!("{plan:?}");
        refused(merged(&plan, &[vec![a.clone()], vec![b.clone()]]), &context);
        refused(absorbed(&plan, &[vec![a.clone()], vec![b.clone()]]), &context);
        refused(in_parts(&plan, 8, &[a.clone(), b.clone()], |_| ()), &context);
        // One series is met in both parts.
        let alone = [series("a_total", 1, &samples(0, 200_000))];
        let whole = merged(&plan, &[alone.to_vec()]).expect("one series");
        let apart = in_parts(&plan, 8, &alone, |_| ()).expect("one series");
        assert_same(&whole, &apart, &context);
        // An executor of an earlier version: what it cannot tell is no error.
        let earlier = |batch: &mut PartialBatch| match plan.aggregations.is_empty() {
            true => batch.label_hashes.clear(),
            false => batch.label_hashes.iter_mut().for_each(|hash| hash.series = 0),
        };
        in_parts(&plan, 8, &[a.clone(), b.clone()], earlier).expect("as it was answered before");
    }
}

/// What reads single samples makes one series of two that never meet, and refuses them where they do.
#[test]
fn instants_of_equal_label_sets_are_joined() {
    let lookback_ms = 30_000;
    let times =
        [Read::Instant { lookback_ms, timestamp: true }, Read::StartTimestamp { lookback_ms }];
    let a = series("a_total", 1, &samples(0, 60_000));
    let b = series("b_total", 1, &samples(130_000, 200_000));
    let meets = series("b_total", 1, &samples(50_000, 200_000));
    for read in times {
        let plan = nameless(read, None);
        let context = format!("{plan:?}");
        let both = [a.clone(), b.clone()];
        let one = merged(&plan, &[both.to_vec()]).expect("they do not meet");
        let labels: Vec<String> = one.series[0].iter().map(|s| s.labels.to_string()).collect();
        assert_eq!(labels, ["{instance=\"i1\", job=\"j1\"}"], "{context}");
        let apart = [vec![a.clone()], vec![b.clone()]];
        assert_same(&one, &merged(&plan, &apart).expect("two executors"), &context);
        assert_same(&one, &absorbed(&plan, &apart).expect("two halves"), &context);
        assert_same(&one, &in_parts(&plan, 8, &both, |_| ()).expect("two parts"), &context);
        refused(merged(&plan, &[vec![a.clone(), meets.clone()]]), &context);
        refused(merged(&plan, &[vec![a.clone()], vec![meets.clone()]]), &context);
        refused(absorbed(&plan, &[vec![a.clone()], vec![meets.clone()]]), &context);
        refused(in_parts(&plan, 3, &[a.clone(), meets.clone()], |_| ()), &context);
    }
}

/// Hashes travel as two fields, of which earlier versions know the first.
#[test]
fn hashes_over_the_wire_are_pinned() {
    let hash = |n| LabelHash { nameless: n, series: n << 32 };
    let batch = PartialBatch { label_hashes: vec![hash(1), hash(2)], ..PartialBatch::default() };
    let bytes = batch.encode();
    assert_eq!(xxhash_rust::xxh3::xxh3_64(&bytes), 7_283_068_140_821_173_398);
    let decoded = |bytes: &[u8]| PartialBatch::decode(bytes).map(|batch| batch.label_hashes);
    assert_eq!(decoded(&bytes), Ok(batch.label_hashes.clone()));
    // The second field is the last one: its tag, its length, and two words.
    let (first, second) = bytes.split_at(bytes.len() - 18);
    assert_eq!(second[..2], [9 << 3 | 2, 16]);
    let unsaid = |n| LabelHash { nameless: n, series: 0 };
    assert_eq!(decoded(first), Ok(vec![unsaid(1), unsaid(2)]));
    let half = [first, &[9 << 3 | 2, 8], &second[2..10]].concat();
    let error = decoded(&half).expect_err("one of two").to_string();
    assert!(error.ends_with("label_hashes=2 series_hashes=1"), "{error}");
}

/// What is held does not depend on how many pieces the series are worked at in, and is given back where nobody compares.
#[test]
fn pieces_hold_their_hashes_once() {
    let all: Vec<SeriesSamples> =
        (0..64).map(|n| series("a_total", n, &samples(0, 100_000))).collect();
    let plan = FragmentPlan { matchers: Vec::new(), ..nameless(reads()[2].clone(), None) };
    let run = |pieces: usize, bytes_max: u64| {
        let budget = Budget { bytes_max, ..Budget::default() };
        let begin = || FragmentExecution::new(plan.clone(), budget, CancelFlag::new());
        let mut whole: Option<FragmentExecution> = None;
        for piece in all.chunks(all.len() / pieces) {
            let mut execution = begin();
            for one in piece {
                execution.push_batch(vec![one.clone()])?;
            }
            match &mut whole {
                Some(whole) => whole.absorb(execution)?,
                None => whole = Some(execution),
            }
        }
        whole.expect("a piece").finish()
    };
    let least = |pieces: usize| {
        let (mut refused, mut enough) = (0, 1 << 20);
        while enough - refused > 1 {
            let middle = (refused + enough) / 2;
            match run(pieces, middle) {
                Ok(_) => enough = middle,
                Err(_) => refused = middle,
            }
        }
        enough
    };
    // But for the series at hand; 64 hashes are 2,560 bytes.
    assert!(least(1).abs_diff(least(8)) < 500, "{} {}", least(1), least(8));
    let mut merge = PartialMerge::new(plan.clone(), Budget::default(), CancelFlag::new());
    for batch in run(1, u64::MAX).expect("no budget") {
        merge.push(batch).expect("no budget");
    }
    let result = merge.finish().expect("64 series");
    let (_, bytes) = result.size();
    assert_eq!(bytes - result.of_all_steps().size().1, 64 * 40);
}
