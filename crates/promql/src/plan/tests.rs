//! How much is planned: each part of a query once.

use super::{Plan, build};
use crate::error::QueryError;
use crate::fragment::FragmentSpec;
use crate::query::QueryParams;
use crate::syntax::{OPERATORS_MAX, SyntaxFeatures, parse};

fn plan(text: &str, push_down: bool) -> Plan {
    try_plan(text, push_down).expect(text)
}

fn try_plan(text: &str, push_down: bool) -> Result<Plan, QueryError> {
    let params = QueryParams { push_down, ..QueryParams::instant(0) };
    let expr = parse(text, &SyntaxFeatures::default()).expect(text);
    build(&expr, &params)
}

/// `clamp` of `clamp` and so on, with a selector of its own at each of the 3^depth ends.
fn clamps(depth: u32, selectors: &mut u32) -> String {
    if depth == 0 {
        *selectors += 1;
        return format!("m{selectors}");
    }
    let [a, b, c] = [0; 3].map(|_| clamps(depth - 1, selectors));
    format!("clamp({a},scalar({b}),scalar({c}))")
}

/// Arguments branch without operators.
#[test]
fn fragments_of_a_query_are_limited() {
    for push_down in [false, true] {
        assert_eq!(plan(&clamps(5, &mut 0), push_down).fragments.len(), 243);
        let text = clamps(6, &mut 0);
        assert!(text.len() < 20_000, "a text that is no longer than others");
        let error = try_plan(&text, push_down).expect_err("729 fragments");
        assert_eq!(error.to_string(), "query exceeds its budget: query_fragments_max=512");
        assert_eq!(error.kind(), pando_model::ErrorKind::LimitExceeded);
    }
    // The longest chain of operators has fewer, and what reads the same is one.
    let chain: Vec<String> = (0..=OPERATORS_MAX).map(|i| format!("m{i}")).collect();
    assert_eq!(plan(&chain.join(" or "), true).fragments.len(), OPERATORS_MAX + 1);
    assert_eq!(plan(&clamps(6, &mut 0).replace(char::is_numeric, ""), true).fragments.len(), 1);
}

/// Planning an argument to find out whether it is a number would double the work for each call around it.
#[test]
fn nested_arguments_are_planned_once() {
    let mut text = "scalar(a)".to_string();
    for _ in 0..30 {
        text = format!("scalar(sum(quantile_over_time({text}, m[1m])))");
    }
    for push_down in [false, true] {
        let uses: u32 = plan(&text, push_down).uses.iter().flatten().sum();
        assert_eq!(uses, 31, "push_down={push_down}");
    }
}

#[test]
fn a_result_is_kept_for_as_many_uses_as_there_are() {
    for (text, uses) in [
        ("quantile_over_time(scalar(a), m[1m])", vec![vec![1], vec![1]]),
        ("sum(quantile_over_time(scalar(a), m[1m]))", vec![vec![1], vec![1]]),
        ("a + a * sum(a)", vec![vec![2], vec![1]]),
        ("quantile_over_time(1 / 2 + 0 * pi(), m[1m])", vec![vec![1]]),
        ("sum(a) / count(a) + sum(a)", vec![vec![2, 1]]),
    ] {
        assert_eq!(plan(text, true).uses, uses, "{text}");
    }
}

/// `rate` of two metrics is refused where it runs, though nobody would ask for its result.
#[test]
fn nothing_is_read_for_a_subquery_without_steps() {
    let text = "a + last_over_time(rate({job=\"x\"}[1m])[1s:1m] offset 7s)";
    assert_eq!(plan(text, true).uses, [[1]]);
    assert_eq!(plan(text, false).uses, [[1]]);
    let text = "sum(a) + last_over_time(max(a)[1s:1m] offset 7s)";
    assert_eq!(plan(text, true).uses, [[1]]);
    assert_eq!(plan(text, true).fragments[0].plan.aggregations.len(), 1);
}

/// Series are read once for all that is made of them at the same steps.
#[test]
fn several_aggregations_are_of_one_scan() {
    let scans = |text: &str| {
        let plan = plan(text, true);
        let aggregations = |f: &FragmentSpec| f.plan.aggregations.len();
        plan.fragments.iter().map(aggregations).collect::<Vec<_>>()
    };
    assert_eq!(scans("sum by (a) (rate(m[5m])) / on () group_left () sum(rate(m[5m]))"), [2]);
    assert_eq!(scans("max(m) - min(m) > stddev(m) * quantile(0.9, m)"), [4]);
    assert_eq!(scans("topk(3, m) and topk(4, m) and topk(3, m)"), [2]);
    // Other samples, other windows, other times, and the series themselves.
    assert_eq!(scans("sum(m) + sum(n)"), [1, 1]);
    assert_eq!(scans("sum(rate(m[5m])) + sum(rate(m[6m]))"), [1, 1]);
    assert_eq!(scans("sum(m) + sum(m offset 1m)"), [1, 1]);
    assert_eq!(scans("sum(m) + m"), [1, 0]);
    let many: Vec<String> = (1..=20).map(|k| format!("topk({k}, m)")).collect();
    assert_eq!(scans(&many.join(" or ")), [16, 4]);
}
