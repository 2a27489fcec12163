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
        // An executor that does not say which series it was: what it cannot tell is no error.
        let earlier =
            |batch: &mut PartialBatch| batch.label_hashes.iter_mut().for_each(|h| h.series = 0);
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
