//! The public way through: parse, execute, evaluate, with a default server's features.

mod budgets;
mod edges;
mod info;
mod parameters;
mod semantics;

use std::sync::Arc;

use pando_model::{ErrorKind, Histogram, Labels, ResetHint, SampleValue, Span};

use super::*;
use crate::local::evaluate_local;
use crate::promqltest::MemorySource;
use crate::syntax::ValueType;

/// `name{l="v"} a+bxn` lines, a sample every 10 s from 0 on.
fn source(lines: &[(&str, &str, f64, f64)]) -> MemorySource {
    let mut source = MemorySource::new();
    for (name, label, first, step) in lines {
        let labels = Labels::from_pairs([("__name__", *name), ("l", *label)]);
        for i in 0..61 {
            let value = SampleValue::Float(first + step * f64::from(i));
            source.add(&labels, i64::from(i) * 10_000, value);
        }
    }
    source
}

fn ask(text: &str, params: QueryParams, source: &MemorySource) -> Result<QueryOutput, QueryError> {
    evaluate_local(&Query::parse(text, params)?, source, Budget::default())
}

fn vector(text: &str, source: &MemorySource) -> Vec<(String, f64)> {
    let output = ask(text, QueryParams::instant(600_000), source).expect(text);
    let QueryValue::Vector(vector) = output.value else { panic!("{text}: a vector") };
    vector
        .into_iter()
        .map(|s| match s.value {
            SampleValue::Float(v) => (s.labels.to_string(), v),
            SampleValue::Histogram(_) => panic!("{text}: a float"),
        })
        .collect()
}

#[test]
fn an_instant_vector_keeps_the_order_of_sort_and_topk() {
    let source = source(&[("m", "a", 2.0, 0.0), ("m", "b", 3.0, 0.0), ("m", "c", 1.0, 0.0)]);
    let values = |text| vector(text, &source).into_iter().map(|(_, v)| v).collect::<Vec<_>>();
    assert_eq!(values("m"), [2.0, 3.0, 1.0]);
    assert_eq!(values("sort(m)"), [1.0, 2.0, 3.0]);
    assert_eq!(values("sort_desc(m)"), [3.0, 2.0, 1.0]);
    assert_eq!(values("topk(2, m)"), [3.0, 2.0]);
    assert_eq!(values("bottomk(2, m + 0)"), [1.0, 2.0]);
}

/// What a function takes with the name is no label to group by.
#[test]
fn types_and_units_are_dropped_with_names() {
    let mut source = MemorySource::new();
    for (label, unit) in [("a", "s"), ("b", "m")] {
        let metadata = [("__name__", "m_total"), ("__type__", "counter"), ("__unit__", unit)];
        let labels = Labels::from_pairs(metadata.into_iter().chain([("l", label)]));
        for i in 0..61 {
            source.add(&labels, i * 10_000, SampleValue::Float(10.0 * i as f64));
        }
    }
    let sums = |text| vector(text, &source);
    assert_eq!(sums("sum by (__type__, __unit__) (rate(m_total[1m]))"), [("{}".into(), 2.0)]);
    let kept = ["{__unit__=\"m\"}", "{__unit__=\"s\"}"].map(|labels| (labels.into(), 600.0));
    assert_eq!(sums("sum by (__unit__) (m_total)"), kept);
}

#[test]
fn names_are_dropped_at_once_and_collide() {
    let source = source(&[("a_total", "x", 0.0, 10.0), ("b_total", "x", 0.0, 20.0)]);
    assert_eq!(vector("rate(a_total[1m])", &source), [("{l=\"x\"}".to_string(), 1.0)]);
    assert_eq!(
        vector("last_over_time(a_total[1m])", &source),
        [("{__name__=\"a_total\", l=\"x\"}".to_string(), 600.0)]
    );
    let both = "{__name__=~\"[ab]_total\"}";
    for text in [
        format!("rate({both}[1m])"),
        format!("sum(rate({both}[1m]))"),
        format!("-{both}"),
        format!("abs({both})"),
        format!("{both} * 2"),
        format!("timestamp({both})"),
        format!("max_over_time(rate({both}[1m])[2m:1m])"),
    ] {
        let error = ask(&text, QueryParams::instant(600_000), &source).expect_err(&text);
        assert_eq!(
            error.to_string(),
            "vector cannot contain metrics with the same labelset",
            "{text}"
        );
        assert_eq!(error.kind(), ErrorKind::Execution);
    }
    assert_eq!(vector(&format!("sum({both})"), &source), [("{}".to_string(), 1800.0)]);
}

#[test]
fn annotations_carry_the_place_in_the_text() {
    let source = source(&[("gauge", "a", 0.0, 1.0), ("c_bucket", "a", 0.0, 1.0)]);
    let output = ask(
        "sum(\n  rate(gauge[1m])) + count(rate(gauge[1m]))",
        QueryParams::instant(600_000),
        &source,
    )
    .expect("an answer");
    let text = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"gauge\"";
    // Said twice, of the last place, as in Prometheus.
    assert_eq!(output.infos, [format!("{text} (2:33)")]);
    assert_eq!(output.warnings, Vec::<String>::new());
    let output = ask("histogram_quantile(2, c_bucket)", QueryParams::instant(0), &source)
        .expect("an answer");
    assert_eq!(
        output.warnings,
        [
            "PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)",
            "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"\" (1:23)",
        ]
    );
}

#[test]
fn a_wrong_quantile_is_pointed_at_where_it_stands() {
    let source = source(&[("gauge", "a", 0.0, 1.0)]);
    for (text, place) in
        [("quantile_over_time(2, gauge[1m])", "(1:20)"), ("quantile by (l) (2, gauge)", "(1:18)")]
    {
        let output = ask(text, QueryParams::instant(600_000), &source).expect(text);
        let message = "PromQL warning: quantile value should be between 0 and 1, got 2";
        assert_eq!(output.warnings, [format!("{message} {place}")], "{text}");
    }
}

#[test]
fn equal_selectors_are_one_fragment() {
    let params = QueryParams::range(0, 600_000, 60_000).expect("steps");
    let query = Query::parse("rate(a_total[1m]) / rate(a_total[1m]) + sum(b)", params).expect("ok");
    assert_eq!(query.fragments().len(), 2);
}

#[test]
fn range_queries_refuse_ranges_and_strings() {
    let params = QueryParams::range(0, 600_000, 60_000).expect("steps");
    let error = Query::parse("a[5m]", params.clone()).expect_err("a range vector");
    assert_eq!(
        error.to_string(),
        "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"
    );
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(Query::parse("\"a\"", params).is_err());
}

#[test]
fn every_function_of_the_table_is_evaluated() {
    let features =
        Features { experimental_functions: true, start_timestamps: true, ..Features::default() };
    let source = source(&[("m", "a", 0.0, 1.0)]);
    for function in &crate::syntax::functions::FUNCTIONS {
        let arg = |(i, of): (usize, &ValueType)| match of {
            ValueType::Scalar => "0.5",
            ValueType::String => "\"a\"",
            ValueType::Matrix => "m[1m]",
            ValueType::Vector if function.name == "info" && i == 1 => "{a=\"b\"}",
            ValueType::Vector => "m",
        };
        let args: Vec<&str> = function.args.iter().enumerate().map(arg).collect();
        let text = format!("{}({})", function.name, args.join(", "));
        for push_down in [true, false] {
            let base = QueryParams::instant(60_000).with_features(features);
            let output = ask(&text, QueryParams { push_down, ..base }, &source);
            output.unwrap_or_else(|e| panic!("{text}: {e}"));
        }
    }
}

#[test]
fn experimental_functions_are_off_by_default() {
    let error =
        Query::parse("ts_of_max_over_time(a[5m])", QueryParams::instant(0)).expect_err("off");
    assert_eq!(
        error.to_string(),
        "1:1: parse error: function \"ts_of_max_over_time\" is not enabled"
    );
}

#[test]
fn a_matrix_is_sorted_and_leaves_gaps_out() {
    let source = source(&[("m", "b", 0.0, 1.0), ("m", "a", 0.0, 2.0)]);
    let params = QueryParams::range(0, 1_200_000, 300_000).expect("steps");
    let output = ask("m > 25", params, &source).expect("an answer");
    let QueryValue::Matrix(matrix) = output.value else { panic!("a matrix") };
    let rows: Vec<_> = matrix.iter().map(|s| (s.labels.value("l"), s.floats.clone())).collect();
    assert_eq!(
        rows,
        [
            ("a", vec![(300_000, 60.0), (600_000, 120.0)]),
            ("b", vec![(300_000, 30.0), (600_000, 60.0)]),
        ]
    );
}

#[test]
fn budgets_hold_at_the_frontend_too() {
    let source = source(&[("m", "a", 0.0, 1.0)]);
    let params = QueryParams::range(0, 600_000, 1_000).expect("steps");
    let query = Query::parse("m @ 0", params).expect("a query");
    let error = evaluate_local(&query, &source, Budget { samples_max: 100, ..Budget::default() });
    assert_eq!(error, Err(QueryError::Samples { samples_max: 100 }));
    let cancel = CancelFlag::new();
    cancel.cancel();
    let canceled = query.evaluate(BTreeMap::new(), Budget::default(), cancel);
    assert_eq!(canceled, Err(QueryError::Canceled));
}

#[test]
fn a_subquery_of_too_many_steps_is_refused_however_many_they_are() {
    let source = source(&[("m", "a", 0.0, 1.0)]);
    for range in ["3h", "1y", "140y"] {
        let text = format!("count_over_time(m[{range}:1ms])");
        let query = Query::parse(&text, QueryParams::instant(600_000));
        let error = query.and_then(|query| evaluate_local(&query, &source, Budget::default()));
        let budget = matches!(error, Err(QueryError::Budget { what: "subquery_steps", .. }));
        assert!(budget, "{range}: {error:?}");
    }
}

#[test]
fn the_largest_queries_are_evaluated_on_an_ordinary_stack() {
    let source = source(&[("m", "a", 1.0, 0.0)]);
    let chain = format!("m{}", " + m".repeat(crate::syntax::OPERATORS_MAX));
    assert_eq!(vector(&chain, &source), [("{l=\"a\"}".to_string(), 501.0)]);
    let deep = format!("{}m{}", "abs(-".repeat(49), ")".repeat(49));
    assert_eq!(vector(&deep, &source), [("{l=\"a\"}".to_string(), 1.0)]);
}

/// Counters whose buckets fall while their counts rise, and gauges.
fn histograms() -> MemorySource {
    let mut source = MemorySource::new();
    for (name, gauge) in [("a", false), ("b", false), ("g", true)] {
        let labels = Labels::from_pairs([("__name__", "h"), ("l", name)]);
        for i in 0..61i64 {
            let low = (i * if name == "a" { 3 } else { 2 }) % 40;
            let histogram = Histogram {
                reset_hint: if gauge { ResetHint::Gauge } else { ResetHint::Unknown },
                count: (low + 5 * i) as f64,
                sum: (7 * i % 90) as f64,
                positive_spans: vec![Span { offset: 0, length: 2 }],
                positive_buckets: vec![low as f64, (5 * i) as f64],
                ..Histogram::default()
            };
            source.add(&labels, i * 10_000, SampleValue::Histogram(Arc::new(histogram)));
        }
    }
    source
}

#[test]
fn counts_and_sums_of_histograms_need_no_buckets() {
    let source = histograms();
    let statistics = |text: &str| {
        let query = Query::parse(text, QueryParams::instant(600_000)).expect(text);
        query.fragments().iter().map(|f| f.plan.statistics).collect::<Vec<_>>()
    };
    for inner in [
        "h",
        "sum(h{l!=\"g\"})",
        "rate(h[3m])",
        "sum by (l) (increase(h[5m]))",
        "avg(irate(h[1m]))",
        "sum_over_time(h[2m])",
        "-(avg_over_time(h[2m]))",
        "last_over_time(h[2m])",
    ] {
        let params = QueryParams::range(0, 600_000, 50_000).expect("steps");
        let whole = ask(inner, params.clone(), &source).expect(inner);
        let QueryValue::Matrix(whole) = whole.value else { panic!("a matrix") };
        for (function, of) in [
            ("histogram_count", (|h| h.count) as fn(&Histogram) -> f64),
            ("histogram_sum", |h| h.sum),
            ("histogram_avg", |h| h.sum / h.count),
        ] {
            let text = format!("{function}({inner})");
            assert_eq!(statistics(&text), [true], "{text}");
            let got = ask(&text, params.clone(), &source).expect(&text);
            let QueryValue::Matrix(got) = got.value else { panic!("a matrix") };
            let wanted = whole.iter().map(|s| s.histograms.iter().map(|(t, h)| (*t, of(h))));
            for (series, wanted) in got.iter().zip(wanted) {
                for ((t, v), (u, w)) in series.floats.iter().zip(wanted) {
                    let close = (v - w).abs() <= 1e-9 * w.abs() || (v.is_nan() && w.is_nan());
                    assert!(*t == u && close, "{text} {t}: {v} {w}");
                }
            }
            let points = |s: &MatrixSeries| s.floats.len() + s.histograms.len();
            assert_eq!(
                got.iter().map(points).sum::<usize>(),
                whole.iter().map(points).sum::<usize>(),
                "{text}"
            );
        }
    }
    assert_eq!(statistics("histogram_count(h - h)"), [false]);
    assert_eq!(statistics("histogram_count(rate(h[5m:1m]))"), [false]);
    assert_eq!(statistics("histogram_quantile(0.5, rate(h[5m]))"), [false]);
    assert_eq!(statistics("histogram_count(h) / histogram_quantile(0.5, h)"), [true, false]);
}

/// The first histogram of the range follows no reset, the second does: the first has that of the one before the range.
#[test]
fn resets_at_the_first_sample_of_a_range_are_known() {
    let mut source = MemorySource::new();
    let labels = Labels::from_pairs([("__name__", "h")]);
    for (minute, count) in [(8, 5.0), (9, 6.0), (10, 7.0), (11, 2.0)] {
        let histogram = Histogram { count, sum: 1.0, ..Histogram::default() };
        source.add(&labels, minute * 60_000, SampleValue::Histogram(Arc::new(histogram)));
    }
    for function in ["sum_over_time", "avg_over_time"] {
        let warned = |of: &str, minute: i64| {
            let text = format!("{of}{function}(h[2m]))");
            let answer = ask(&text, QueryParams::instant(minute * 60_000), &source).expect(&text);
            answer.warnings.iter().any(|text| text.contains("conflicting counter resets"))
        };
        assert!(warned("histogram_count(", 11), "{function}");
        assert!(!warned("histogram_count(", 10), "{function}");
        // An older one is not compared, wherever the query begins.
        let far = QueryParams { lookback_ms: 59_999, ..QueryParams::instant(660_000) };
        let text = format!("histogram_count({function}(h[2m]))");
        assert_eq!(ask(&text, far, &source).expect(&text).warnings, Vec::<String>::new());
        // With buckets nothing is found out, as in Prometheus.
        assert!(!warned("histogram_quantile(0.5, ", 11), "{function}");
    }
}

#[test]
fn comparisons_of_duplicates_fail_only_where_something_is_compared() {
    let mut source = source(&[("dup", "a", 1.0, 0.0), ("dup", "b", 1.0, 0.0)]);
    let labels = Labels::from_pairs([("__name__", "one")]);
    source.add(&labels, 0, SampleValue::Float(1.0));
    let params = QueryParams::range(400_000, 600_000, 100_000).expect("steps");
    let output = ask("one == on() dup", params, &source).expect("one is gone by then");
    assert_eq!(output.value, QueryValue::Matrix(Vec::new()));
    let error = ask("one == on() dup", QueryParams::instant(0), &source).expect_err("duplicates");
    assert!(error.to_string().contains("on the right hand-side of the operation"), "{error}");
}

#[test]
fn each_step_counts_the_samples_that_it_looks_at_as_prometheus_does() {
    let mut source = source(&[("m", "a", 0.0, 1.0), ("m", "b", 0.0, 2.0)]);
    let labels = Labels::from_pairs([("__name__", "h")]);
    let histogram = Histogram {
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![1.0, 2.0],
        ..Histogram::default()
    };
    source.add(&labels, 100_000, SampleValue::Histogram(Arc::new(histogram)));
    source.add(&labels, 110_000, SampleValue::Float(pando_model::STALE_NAN));
    // Two series, a sample every 10 s; h has one histogram that is (168 + 8 + 24) / 16 floats large.
    let cases: [(&str, [u64; 3]); 16] = [
        ("1 + 1", [0, 0, 0]),
        ("m", [2, 2, 2]),
        ("m{l='a'} offset 5s", [1, 1, 1]),
        ("sum(m)", [2, 2, 2]),
        ("m + m", [4, 4, 4]),
        ("m @ 100", [2, 2, 2]),
        ("rate(m[30s])", [6, 6, 6]),
        ("sum by (l) (max_over_time(m{l='b'}[30s] @ 100))", [3, 3, 3]),
        ("timestamp(m)", [2, 2, 2]),
        ("absent(m)", [2, 2, 2]),
        ("quantile_over_time(scalar(m{l='a'}), m[30s])", [7, 7, 7]),
        ("sum_over_time(m[40s:20s])", [4, 4, 4]),
        ("sum_over_time(sum(m)[40s:20s])", [2, 2, 2]),
        ("h", [12, 0, 0]),
        ("count_over_time(h[25s])", [12, 12, 12]),
        ("no_such_metric", [0, 0, 0]),
    ];
    for push_down in [true, false] {
        for (text, want) in cases {
            let params = QueryParams::range(100_000, 120_000, 10_000).expect("three steps");
            let params = QueryParams { push_down, count_samples: true, ..params };
            let output = ask(text, params.clone(), &source).expect(text);
            assert_eq!(output.stats.step_samples, want, "push_down={push_down} {text}");
            let output = ask(text, QueryParams { count_samples: false, ..params }, &source);
            assert_eq!(output.expect(text).stats.step_samples, [], "{text}");
        }
        for (text, want) in
            [("m[30s]", 6), ("m[40s:20s]", 4), ("sum_over_time(m[30s])[40s:20s]", 12)]
        {
            let params = QueryParams::instant(120_000);
            let params = QueryParams { push_down, count_samples: true, ..params };
            let output = ask(text, params, &source).expect(text);
            assert_eq!(output.stats.step_samples, [want], "push_down={push_down} {text}");
        }
    }
}
