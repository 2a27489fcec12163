//! `anchored`, `smoothed` and start timestamps through the whole way: pushed down and not.

use proptest::prelude::*;

use super::*;

const ALL: Features = Features {
    experimental_functions: true,
    extended_range_selectors: true,
    fill_modifiers: false,
    delayed_name_removal: false,
    start_timestamps: true,
};

const EXPRESSIONS: [&str; 13] = [
    "increase(m_total[1m] anchored)",
    "sum by (l) (rate(m_total[1m] smoothed))",
    "delta(m_total[30s] smoothed offset 20s)",
    "changes(m_total[45s] anchored)",
    "resets(m_total[45s] anchored)",
    "resets(m_total[1m])",
    "m_total smoothed",
    "max(m_total smoothed offset -10s)",
    "absent(m_total{l=\"a\"} smoothed)",
    "rate(m_total[1m])",
    "sum(increase(m_total[20s]))",
    "irate(m_total[1m] @ 100)",
    "start_timestamp(m_total)",
];

/// A sample: time since the last one, value, start relative to its own time.
type Step = (i64, i32, i64);

fn source_of(series: &[Vec<Step>]) -> MemorySource {
    let mut source = MemorySource::new();
    for (n, steps) in series.iter().enumerate() {
        let labels = [("__name__", "m_total".to_string()), ("l", ["a", "b"][n % 2].to_string())];
        let labels = Labels::from_pairs(labels.into_iter().chain([("n", n.to_string())]));
        let mut t = 0;
        for (gap, value, start) in steps {
            t += gap * 1000;
            // A value in 20 is a stale marker, a start in 8 is unknown.
            let value = match value {
                0 => pando_model::STALE_NAN,
                v => f64::from(*v),
            };
            let start = if start % 8 == 0 { 0 } else { t + start * 1000 };
            source.add_with_start(&labels, t, SampleValue::Float(value), start);
        }
    }
    source
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pushed_down_is_as_evaluated_here(
        series in proptest::collection::vec(
            proptest::collection::vec((1i64..40, 0i32..20, -50i64..3), 0..10), 1..4),
        start in 0i64..100, step in 1i64..40,
    ) {
        let source = source_of(&series);
        for text in EXPRESSIONS {
            let base = QueryParams::range(start * 1000, (start + step * 6) * 1000, step * 1000);
            let base = base.expect("7 steps").with_features(ALL).with_lookback(25_000);
            let pushed = ask(text, base.clone(), &source).expect(text);
            let here = ask(text, QueryParams { push_down: false, ..base }, &source).expect(text);
            prop_assert_eq!(format!("{:?}", pushed.value), format!("{:?}", here.value), "{}", text);
            prop_assert_eq!((pushed.warnings, pushed.infos), (here.warnings, here.infos));
        }
    }
}

fn instant(text: &str, t_ms: i64, source: &MemorySource) -> Result<QueryOutput, QueryError> {
    ask(text, QueryParams::instant(t_ms).with_features(ALL), source)
}

#[test]
fn a_range_vector_has_a_sample_at_each_edge() {
    let source = source(&[("m", "a", 0.0, 10.0)]);
    let points = |text: &str, t_ms| {
        let output = instant(text, t_ms, &source).expect(text);
        let QueryValue::Matrix(matrix) = output.value else { panic!("{text}: a matrix") };
        matrix.into_iter().next().map(|s| s.floats)
    };
    let anchored = points("m[20s] anchored", 35_000).expect("a series");
    assert_eq!(anchored, [(15_000, 10.0), (20_000, 20.0), (30_000, 30.0), (35_000, 30.0)]);
    let smoothed = points("m[20s] smoothed", 35_000).expect("a series");
    assert_eq!(smoothed, [(15_000, 15.0), (20_000, 20.0), (30_000, 30.0), (35_000, 35.0)]);
    // A sample on an edge is there once.
    let edges = points("m[10s] smoothed", 20_000).expect("a series");
    assert_eq!(edges, [(10_000, 10.0), (20_000, 20.0)]);
    assert_eq!(points("m[10s] anchored", 2_000_000), None);
}

#[test]
fn ranges_of_histograms_themselves_cannot_be_extended() {
    let mut source = MemorySource::new();
    let labels = Labels::from_pairs([("__name__", "h")]);
    source.add(&labels, 10_000, SampleValue::Histogram(Default::default()));
    for (text, name) in [("h[1m] anchored", "anchored"), ("h[1m] smoothed", "smoothed")] {
        let error = instant(text, 30_000, &source).expect_err("no floats");
        assert_eq!(error.to_string(), format!("{name} modifier is not supported with histograms"));
    }
}

#[test]
fn functions_that_take_no_edges_are_named_as_they_are_called() {
    let source = MemorySource::new();
    let error = instant("absent_over_time(m[1m] anchored)", 0, &source).expect_err("not with it");
    assert_eq!(
        error.to_string(),
        "anchored modifier can only be used with: changes, delta, increase, rate, resets - not with absent_over_time"
    );
    assert_eq!(error.kind(), ErrorKind::Execution);
}

#[test]
fn start_timestamps_count_only_where_they_are_switched_on() {
    let mut source = MemorySource::new();
    let labels = Labels::from_pairs([("__name__", "m_total")]);
    for i in 1..=6 {
        // Deltas of 5, each beginning where the one before ended.
        let t = i * 10_000;
        source.add_with_start(&labels, t, SampleValue::Float(5.0), t - 10_000);
    }
    let off = Features { start_timestamps: false, ..ALL };
    for (text, features, wanted) in [
        ("increase(m_total[30s])", ALL, Some(15.0)),
        ("increase(m_total[30s])", off, Some(0.0)),
        ("resets(m_total[30s])", ALL, Some(2.0)),
        ("resets(m_total[30s] anchored)", ALL, Some(3.0)),
        ("resets(m_total[30s])", off, Some(0.0)),
        ("start_timestamp(m_total)", ALL, Some(50.0)),
        ("start_timestamp(m_total)", off, None),
        ("start_timestamp(m_total + 0)", ALL, None),
        // A subquery's points have none.
        ("increase(m_total[30s:10s])", ALL, Some(0.0)),
    ] {
        let params = QueryParams::instant(60_000).with_features(features);
        let output = ask(text, params, &source).expect(text);
        let QueryValue::Vector(vector) = output.value else { panic!("{text}: a vector") };
        let value = vector.first().map(|s| s.value.clone());
        assert_eq!(value, wanted.map(SampleValue::Float), "{text}");
    }
}
