//! What the frontend makes of its inputs is held before it is made, and a canceled evaluation ends within a node.

use super::*;
use crate::local::execute_local;

/// The answer under `budget`, from fragments that had all the room they wanted.
fn evaluate(
    text: &str,
    params: QueryParams,
    source: &MemorySource,
    budget: Budget,
    cancel: CancelFlag,
) -> Result<QueryOutput, QueryError> {
    let features = Features { experimental_functions: true, ..Features::default() };
    let query = Query::parse(text, params.with_features(features)).expect(text);
    let mut results = BTreeMap::new();
    for spec in query.fragments() {
        let result = execute_local(spec, &[source], Budget::default()).expect(text);
        results.insert(spec.id, result);
    }
    query.evaluate(results, budget, cancel)
}

/// A sample of `name{a=...}` a second, `value(series, second)` where it is one.
fn rows(
    source: &mut MemorySource,
    name: &str,
    series: usize,
    value: impl Fn(usize, i64) -> Option<f64>,
) {
    for n in 0..series {
        let labels = [("__name__", name.to_string()), ("a", format!("{n}"))];
        let target = [("instance", "i".to_string()), ("job", "j".to_string())];
        let labels = Labels::from_pairs(labels.into_iter().chain(target));
        for second in 0..1_000 {
            if let Some(v) = value(n, second) {
                source.add(&labels, second * 1_000, SampleValue::Float(v));
            }
        }
    }
}

fn thousand_steps() -> QueryParams {
    let params = QueryParams::range(0, 999_000, 1_000).expect("steps");
    params.with_lookback(1_000)
}

#[test]
fn values_without_any_data_are_held() {
    let term = |n| format!("label_replace(vector(1), \"a\", \"{n}\", \"\", \"\")");
    let terms: Vec<String> = (0..20).map(term).collect();
    let text = format!("count_over_time(({})[1000s:1s])", terms.join(" or "));
    let source = MemorySource::new();
    let ask = |samples_max| {
        let budget = Budget { samples_max, ..Budget::default() };
        let params = QueryParams::instant(1_000_000);
        evaluate(&text, params, &source, budget, CancelFlag::new())
    };
    let output = ask(25_000).expect("twenty series of a thousand points, and one in the making");
    assert!(output.stats.peak_samples > 20_000, "{:?}", output.stats);
    assert_eq!(ask(5_000), Err(QueryError::Samples { samples_max: 5_000 }));
}

/// What was used up is given back: one operand at a time is held beside the result.
#[test]
fn arguments_are_given_back() {
    let mut source = MemorySource::new();
    rows(&mut source, "m", 1, |_, second| Some(second as f64));
    let mut text = "m".to_string();
    for _ in 0..50 {
        text = format!("abs({text}) + m");
    }
    let budget = Budget { samples_max: 6_000, ..Budget::default() };
    evaluate(&text, thousand_steps(), &source, budget, CancelFlag::new()).expect("within");
}

/// Each of these has a column over all steps for every value, set or pair that it meets.
#[test]
fn columns_are_held_one_by_one() {
    let mut source = MemorySource::new();
    rows(&mut source, "m", 2, |_, second| Some(second as f64));
    rows(&mut source, "target_info", 100, |n, second| (second as usize % 100 == n).then_some(1.0));
    for text in [
        "count_values(\"v\", m)",
        "info(m)",
        "m{a=\"0\"} * on (job) group_left (a) (target_info * 1)",
        "topk(1, target_info * 1)",
        "topk(1 + scalar(m{a=\"0\"}) % 2, target_info)",
        "sum by (a) (target_info * 1)",
        "histogram_quantiles(label_replace(m, \"le\", \"+Inf\", \"\", \"\"), \"q\", time() / 1000)",
    ] {
        let ask = |bytes_max| {
            let budget = Budget { bytes_max, ..Budget::default() };
            evaluate(text, thousand_steps(), &source, budget, CancelFlag::new())
        };
        ask(200 << 20).expect(text);
        // As much as came, or little more.
        let bytes_max = 1_500_000;
        let refused = QueryError::Budget { what: "bytes", limit: bytes_max };
        assert_eq!(ask(bytes_max), Err(refused), "{text}");
    }
}

#[test]
fn a_canceled_evaluation_ends_within_a_node() {
    let mut source = MemorySource::new();
    rows(&mut source, "m", 100, |_, second| (second < 2).then_some(1.0));
    for text in ["m + m", "info(m)", "limitk by (a) (1, -m)", "stddev by (a) (-m)", "-m"] {
        let cancel = CancelFlag::at_look(60);
        let result = evaluate(text, thousand_steps(), &source, Budget::default(), cancel);
        assert_eq!(result, Err(QueryError::Canceled), "{text}");
    }
}

#[test]
fn labels_that_a_query_makes_are_bounded() {
    let ask = |text: &str| {
        let params = QueryParams::instant(0);
        evaluate(text, params, &MemorySource::new(), Budget::default(), CancelFlag::new())
    };
    let long = |calls: usize| {
        let seed = "x".repeat(50);
        let first = format!("label_replace(vector(1), \"a\", \"{seed}\", \"\", \"\")");
        let times = "$1".repeat(50);
        (0..calls).fold(first, |inner, _| {
            format!("label_replace({inner}, \"a\", \"{times}\", \"a\", \"(.*)\")")
        })
    };
    // 50, 2,500 and 125,000 bytes; then 6 million.
    assert!(ask(&long(2)).is_ok());
    let limit = 1 << 20;
    let too_long = QueryError::Budget { what: "label_value_bytes", limit };
    assert_eq!(ask(&long(3)).expect_err("too long"), too_long);
    let sources = ["\"a\""; 10].join(", ");
    let join = format!("label_join({}, \"b\", \"\", {sources})", long(2));
    assert_eq!(ask(&join).expect_err("too long"), too_long);
    let groups = |n: usize| {
        format!("label_replace(vector(1), \"a\", \"$1\", \"a\", \"{}\")", "(.*)a?".repeat(n))
    };
    assert!(ask(&groups(256)).is_ok());
    let too_many = QueryError::Budget { what: "regex_groups", limit: 256 };
    assert_eq!(ask(&groups(257)).expect_err("too many groups"), too_many);
}
