//! Parameters that are out of bounds are refused, or warned of, where and as Prometheus does.

use super::*;

const RANGE: (i64, i64, i64) = (0, 600_000, 60_000);

fn both(text: &str, source: &MemorySource) -> [Result<QueryOutput, QueryError>; 2] {
    let range = QueryParams::range(RANGE.0, RANGE.1, RANGE.2).expect("few steps");
    let features = Features { experimental_functions: true, ..Features::default() };
    [QueryParams::instant(600_000), range]
        .map(|params| ask(text, params.with_features(features), source))
}

#[test]
fn numbers_of_series_are_judged_over_all_steps() {
    let source = source(&[("m", "a", 1.0, 1.0)]);
    for op in ["topk", "bottomk", "limitk"] {
        for (k, message) in
            [("NaN", "Parameter value is NaN"), ("Inf", "Scalar value +Inf overflows int64")]
        {
            for answer in both(&format!("{op}({k}, m)"), &source) {
                assert_eq!(answer.expect_err(op).to_string(), message, "{op}");
            }
        }
        for k in ["-1", "-1e30", "-Inf", "0.9"] {
            for answer in both(&format!("{op}({k}, m)"), &source) {
                let nothing = match answer.expect(op).value {
                    QueryValue::Vector(vector) => vector.is_empty(),
                    QueryValue::Matrix(matrix) => matrix.is_empty(),
                    other => panic!("{op}: {other:?}"),
                };
                assert!(nothing, "{op} {k}");
            }
        }
        // Times are 0 to 600: where a step wants a series, the others are judged too.
        for (k, message) in [
            ("1 / (time() - 300) * Inf", "Scalar value -Inf underflows int64"),
            ("2 + 0 / (time() - 300)", "Parameter value is NaN"),
        ] {
            let [_, range] = both(&format!("{op}({k}, m)"), &source);
            assert_eq!(range.expect_err(op).to_string(), message, "{op} {k}");
        }
    }
}

/// However many steps have a parameter that is none: Prometheus warns of the least and of the largest.
#[test]
fn invalid_parameters_of_aggregations_are_told_once() {
    let source = source(&[("m", "a", 1.0, 1.0)]);
    for (text, notes) in [
        ("quantile(time() / 100 - 3, m)", &["got 3 ", "got -3 "][..]),
        ("quantile(NaN, m)", &["got NaN "]),
        ("quantile(0 / (time() - 300), m)", &["got NaN "]),
        ("limit_ratio(time() / 100 - 3, m)", &["got 3, capping to 1", "got -3, capping to -1"]),
        ("limit_ratio(0, m)", &[]),
    ] {
        let [_, range] = both(text, &source);
        let warnings = range.expect(text).warnings;
        let said = |note: &&str| warnings.iter().any(|w| (w.clone() + " ").contains(*note));
        assert!(warnings.len() == notes.len() && notes.iter().all(said), "{text}: {warnings:?}");
    }
}

/// Beside those of other aggregations, which point at the argument.
#[test]
fn notes_of_topk_point_at_the_whole_aggregation() {
    let mut source = source(&[("m", "a", 1.0, 1.0)]);
    let labels = Labels::from_pairs([("__name__", "m"), ("l", "h")]);
    source.add(&labels, 590_000, SampleValue::Histogram(Arc::new(Histogram::default())));
    for (text, place) in [
        ("1 * topk(1, m)", "topk aggregation (1:5)"),
        ("1 * bottomk(1, -m)", "bottomk aggregation (1:5)"),
        ("1 * max(m)", "max aggregation (1:9)"),
        ("1 * max(-m)", "max aggregation (1:9)"),
    ] {
        for answer in both(text, &source) {
            let infos = answer.expect(text).infos;
            assert!(infos.len() == 1 && infos[0].ends_with(place), "{text}: {infos:?}");
        }
    }
}

#[test]
fn parameters_of_range_functions_are_judged_where_they_meet_a_sample() {
    let source = source(&[("m", "a", 1.0, 1.0)]);
    for text in ["quantile_over_time(7, m[5m])", "quantile_over_time(7, (m + 0)[5m:1m])"] {
        for answer in both(text, &source) {
            assert_eq!(answer.expect(text).warnings.len(), 1, "{text}");
        }
    }
    for text in ["quantile_over_time(7, none[5m])", "quantile_over_time(7, (m < 0)[5m:1m])"] {
        for answer in both(text, &source) {
            assert!(answer.expect(text).warnings.is_empty(), "{text}");
        }
    }
    for text in [
        "double_exponential_smoothing(m[5m], 1, 0.5)",
        "double_exponential_smoothing(m[5m] @ 300, 0.5, 0)",
        "double_exponential_smoothing((m + 0)[5m:1m], 0.5, 2)",
    ] {
        for answer in both(text, &source) {
            let message = answer.expect_err(text).to_string();
            assert!(message.contains(" factor. Expected: 0 < "), "{text}: {message}");
        }
    }
    for text in [
        "double_exponential_smoothing(none[5m], 1, 0.5)",
        "double_exponential_smoothing((m < 0)[5m:1m], 0.5, 2)",
        "double_exponential_smoothing(m[5m] @ 3000, 0.5, 0)",
    ] {
        for answer in both(text, &source) {
            assert!(answer.is_ok(), "{text}: {answer:?}");
        }
    }
}

/// Also in range queries, where there is nothing to sort.
#[test]
fn sort_lets_histograms_fall_out() {
    let mut source = source(&[("m", "a", 1.0, 1.0)]);
    let labels = Labels::from_pairs([("__name__", "m"), ("l", "h")]);
    source.add(&labels, 590_000, SampleValue::Histogram(Arc::new(Histogram::default())));
    for text in ["sort(m)", "sort_desc(m)"] {
        for answer in both(text, &source) {
            let series = match answer.expect(text).value {
                QueryValue::Vector(vector) => vector.len(),
                QueryValue::Matrix(matrix) => matrix.len(),
                other => panic!("{text}: {other:?}"),
            };
            assert_eq!(series, 1, "{text}");
        }
    }
}

/// Into parentheses around arguments. Prometheus evaluates a selector without a place in the stead of a subquery, and
/// `quantile_over_time` points at its first argument.
#[test]
fn notes_of_range_functions_point_where_those_of_prometheus_do() {
    let mut source = source(&[("m", "a", 1.0, 1.0)]);
    let labels = Labels::from_pairs([("__name__", "m"), ("l", "a")]);
    source.add(&labels, 605_000, SampleValue::Histogram(Arc::new(Histogram::default())));
    for (text, place) in [
        ("quantile_over_time(0.5, m[5m])", "(1:20)"),
        ("quantile_over_time(scalar(vector(0.5)), m[5m])", "(1:20)"),
        ("max_over_time(m[5m])", "(1:15)"),
        ("max_over_time(((m[5m])))", "(1:17)"),
        ("sum(max_over_time((m[5m])))", "(1:20)"),
        ("quantile_over_time((scalar(vector(0.5))), (m[5m]))", "(1:21)"),
        ("histogram_quantile((2), (m))", "(1:21)"),
        ("rate((m)[5m:10s])", "(1:1)"),
        ("sum(max_over_time((m)[5m:5s]))", "(1:1)"),
    ] {
        let answer = ask(text, QueryParams::instant(605_000), &source).expect(text);
        let notes = [answer.warnings, answer.infos].concat();
        assert!(!notes.is_empty() && notes.iter().all(|n| n.ends_with(place)), "{text}: {notes:?}");
    }
}

/// As in Go, whose functions Prometheus calls.
#[test]
fn an_infinity_is_beyond_what_is_no_number() {
    let source = source(&[("m", "a", 1.0, 0.0)]);
    let value = |text: &str| vector(text, &source)[0].1;
    let inf = f64::INFINITY;
    assert_eq!(value("clamp_min(m * Inf, NaN)"), inf);
    assert_eq!(value("clamp_max(m * -Inf, NaN)"), -inf);
    assert_eq!(value("clamp(m * NaN, Inf, Inf)"), inf);
    assert_eq!((value("clamp_min(m, 3)"), value("clamp_max(m, -3)")), (3.0, -3.0));
    for text in ["clamp_min(m, NaN)", "clamp_max(m * NaN, 1)", "clamp(m * Inf, NaN, 3)"] {
        assert!(value(text).is_nan(), "{text}");
    }
}

#[test]
fn a_range_without_a_sample_is_no_series() {
    let mut source = source(&[("m", "a", 1.0, 1.0)]);
    let labels = Labels::from_pairs([("__name__", "m"), ("l", "b")]);
    source.add(&labels, 600_000, SampleValue::Float(pando_model::STALE_NAN));
    let answer = ask("m[1m]", QueryParams::instant(600_000), &source).expect("an answer");
    let QueryValue::Matrix(matrix) = answer.value else { panic!("a matrix") };
    assert_eq!(matrix.len(), 1);
}

/// No label is made of bytes that are no text, nor of what would stand for them.
#[test]
fn arguments_that_are_no_text_are_refused() {
    let source = source(&[("m", "a", 1.0, 0.0)]);
    let told = |text: &str| {
        let error = ask(text, QueryParams::instant(0), &source).expect_err(text);
        (error.kind(), error.to_string())
    };
    for text in [r#"label_replace(m, "a", "\xff", "", "")"#, r#"label_join(m, "a", "\xff", "l")"#] {
        let (kind, message) = told(text);
        assert_eq!(kind, ErrorKind::Invalid, "{text}");
        assert!(message.ends_with(r#": "\xff""#), "{message}");
    }
    let (kind, message) = told(r#"label_replace(m, "\xff", "", "", "")"#);
    assert_eq!(kind, ErrorKind::Execution);
    assert!(message.starts_with("invalid destination label name in label_replace()"), "{message}");
    let (_, message) = told(r#"{l=~"\xff"}"#);
    assert!(message.ends_with("string is not valid UTF-8"), "{message}");
}
