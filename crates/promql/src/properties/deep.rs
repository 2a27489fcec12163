//! The deepest queries that are allowed go all the way on half of the stack that a thread has: they are read,
//! printed, copied, planned, executed, evaluated and dropped.

use std::thread;

use crate::syntax::{DEPTH_MAX, OPERATORS_MAX, parse};
use crate::{Budget, Query, QueryParams, evaluate_local};

use crate::properties::agreement::Whole;
use crate::testing::{FEATURES, SYNTAX, data};

/// Half of what threads are given, and the frames of tests are several times as large as those of releases.
const STACK_BYTES: usize = 1 << 20;

fn nested(before: &str, inner: &str, after: &str, levels: usize) -> String {
    format!("{}{inner}{}", before.repeat(levels), after.repeat(levels))
}

/// The expression that `around` makes of itself, `#` being the place.
fn wrapped(around: &str, inner: &str, levels: usize) -> String {
    (0..levels).fold(inner.to_string(), |inner, _| around.replace('#', &inner))
}

fn deepest() -> Vec<String> {
    let chain = |first: &str, next: &str| format!("{first}{}", next.repeat(OPERATORS_MAX));
    vec![
        nested("(", "load", ")", DEPTH_MAX),
        nested("-", "load", "", DEPTH_MAX),
        nested("abs(", "load", ")", DEPTH_MAX),
        nested("sum by (job) (", "load", ")", DEPTH_MAX),
        nested("-(", "load", ")", DEPTH_MAX / 2),
        nested("2 ^ ", "load", "", DEPTH_MAX),
        nested("load + on (job, instance) (", "load", ")", DEPTH_MAX / 2),
        nested("max_over_time(", "load", "[1m:30s])", DEPTH_MAX),
        nested("info(", "load", ")", DEPTH_MAX),
        nested("absent(", "load", ")", DEPTH_MAX),
        nested("sort(", "load", ")", DEPTH_MAX),
        nested("label_replace(", "load", ", \"a\", \"b\", \"c\", \"d\")", DEPTH_MAX),
        wrapped("scalar(quantile_over_time(#, load[1m]))", "1", DEPTH_MAX / 2),
        wrapped("vector(1) + sum(topk(scalar(#), load))", "vector(1)", DEPTH_MAX / 4 - 1),
        wrapped("histogram_quantile(scalar(#), rate(sizes[5m]))", "load", DEPTH_MAX / 2),
        chain("load", " + load"),
        chain("load", " and load"),
        chain("1", " + 1"),
        chain("load", " > bool 1"),
        chain("load", " - on (job, instance) load"),
        format!("info({})", chain("load", " or load")),
        format!("abs({})", nested("(", &chain("load", " + 1"), ")", DEPTH_MAX - 2)),
        format!("max_over_time(load[1{}])", "+1".repeat(OPERATORS_MAX)),
        format!("max_over_time(load[{}])", nested("(", "60", ")", DEPTH_MAX - 1)),
        format!("max_over_time(load[{}])", nested("min_of(5m, ", "60", ")", DEPTH_MAX - 1)),
        format!("load offset ({})", nested("-", "60", "", DEPTH_MAX - 1)),
    ]
}

fn all_the_way(text: &str) {
    let tree = parse(text, &SYNTAX).unwrap_or_else(|e| panic!("{text}: {e}"));
    let printed = tree.clone().to_string();
    assert_eq!(parse(&printed, &SYNTAX).map(|again| again.to_string()), Ok(printed), "{text}");
    let series = data::series(0);
    for push_down in [false, true] {
        let params = QueryParams::instant(data::ORIGIN_MS + 300_000).with_features(FEATURES);
        let query = Query::parse(text, QueryParams { push_down, ..params });
        let query = query.unwrap_or_else(|e| panic!("{text}: {e}"));
        let answer = evaluate_local(&query, &Whole(&series), Budget::default());
        assert!(answer.is_ok(), "{text}: {answer:?}");
    }
}

#[test]
fn the_deepest_queries_are_answered_on_half_a_stack() {
    for text in deepest() {
        let name = text.chars().take(40).collect();
        let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES);
        let ran = thread.spawn(move || all_the_way(&text)).expect("a thread").join();
        assert!(ran.is_ok());
    }
}
