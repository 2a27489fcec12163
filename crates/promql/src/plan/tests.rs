//! How much is planned: each part of a query once.

use super::{Plan, build};
use crate::query::QueryParams;
use crate::syntax::{SyntaxFeatures, parse};

fn plan(text: &str, push_down: bool) -> Plan {
    let params = QueryParams { push_down, ..QueryParams::instant(0) };
    let expr = parse(text, &SyntaxFeatures::default()).expect(text);
    build(&expr, text, &params).expect(text)
}

/// Planning an argument to find out whether it is a number would double the work for each call around it.
#[test]
fn nested_arguments_are_planned_once() {
    let mut text = "scalar(a)".to_string();
    for _ in 0..30 {
        text = format!("scalar(sum(quantile_over_time({text}, m[1m])))");
    }
    for push_down in [false, true] {
        let uses: u32 = plan(&text, push_down).uses.iter().sum();
        assert_eq!(uses, 31, "push_down={push_down}");
    }
}

#[test]
fn a_result_is_kept_for_as_many_uses_as_there_are() {
    for (text, uses) in [
        ("quantile_over_time(scalar(a), m[1m])", vec![1, 1]),
        ("sum(quantile_over_time(scalar(a), m[1m]))", vec![1, 1]),
        ("a + a * sum(a)", vec![2, 1]),
        ("quantile_over_time(1 / 2 + 0 * pi(), m[1m])", vec![1]),
    ] {
        assert_eq!(plan(text, true).uses, uses, "{text}");
    }
}

/// `rate` of two metrics is refused where it runs, though nobody would ask for its result.
#[test]
fn nothing_is_read_for_a_subquery_without_steps() {
    let text = "a + last_over_time(rate({job=\"x\"}[1m])[1s:1m] offset 7s)";
    assert_eq!(plan(text, true).uses, [1]);
    assert_eq!(plan(text, false).uses, [1]);
}
