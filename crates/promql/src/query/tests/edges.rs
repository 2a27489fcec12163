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

fn series_of_steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let steps = proptest::collection::vec((1i64..40, 0i32..20, -50i64..3), 0..10);
    proptest::collection::vec(steps, 1..4)
}

/// A histogram that knows nothing but how much it counts.
fn counting(count: f64) -> SampleValue {
    SampleValue::Histogram(Arc::new(Histogram { count, sum: count, ..Histogram::default() }))
}

/// `value` says what the value of a series' sample is.
fn source_of(series: &[Vec<Step>], value: impl Fn(usize, f64) -> SampleValue) -> MemorySource {
    let mut source = MemorySource::new();
    for (n, steps) in series.iter().enumerate() {
        let labels = [("__name__", "m_total".to_string()), ("l", ["a", "b"][n % 2].to_string())];
        let labels = Labels::from_pairs(labels.into_iter().chain([("n", n.to_string())]));
        let mut t = 0;
        for (gap, number, start) in steps {
            t += gap * 1000;
            // A value in 20 is a stale marker, a start in 8 is unknown.
            let number = match number {
                0 => pando_model::STALE_NAN,
                v => f64::from(*v),
            };
            let start = if start % 8 == 0 { 0 } else { t + start * 1000 };
            source.add_with_start(&labels, t, value(n, number), start);
        }
    }
    source
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pushed_down_is_as_evaluated_here(
        series in series_of_steps(), histograms in 0usize..3,
        start in 0i64..100, step in 1i64..40,
    ) {
        // One of three has histograms; and it has some in between where all are even.
        let source = source_of(&series, |n, number| match (n + histograms) % 3 == 0 {
            true if histograms > 0 || number % 2.0 == 0.0 => counting(number),
            _ => SampleValue::Float(number),
        });
        for text in EXPRESSIONS {
            let base = QueryParams::range(start * 1000, (start + step * 6) * 1000, step * 1000);
            let base = base.expect("7 steps").with_features(ALL).with_lookback(25_000);
            let pushed = ask(text, base.clone(), &source).expect(text);
            let here = ask(text, QueryParams { push_down: false, ..base }, &source).expect(text);
            prop_assert_eq!(format!("{:?}", pushed.value), format!("{:?}", here.value), "{}", text);
            prop_assert_eq!((pushed.warnings, pushed.infos), (here.warnings, here.infos));
        }
    }

    /// Both are counters by the same rules, however different their ways are.
    #[test]
    fn histograms_count_as_floats_do(
        series in series_of_steps(), start in 0i64..100, step in 1i64..40,
    ) {
        let floats = source_of(&series, |_, number| SampleValue::Float(number));
        let histograms = source_of(&series, |_, number| counting(number));
        let mut calls = vec!["irate(m_total[1m])".to_string(), "idelta(m_total[1m])".to_string()];
        for function in ["rate", "increase", "delta"] {
            for edges in ["", " anchored", " smoothed"] {
                calls.push(format!("{function}(m_total[1m]{edges})"));
            }
        }
        let same = |call: &String| (call.clone(), format!("histogram_count({call})"));
        let mut pairs: Vec<(String, String)> = calls.iter().map(same).collect();
        for call in ["changes(m_total[1m])", "resets(m_total[1m])", "changes(m_total[40s] anchored)",
            "resets(m_total[40s] anchored)"]
        {
            pairs.push((call.to_string(), call.to_string()));
        }
        let base = QueryParams::range(start * 1000, (start + step * 6) * 1000, step * 1000);
        let base = base.expect("7 steps").with_features(ALL).with_lookback(25_000);
        let points = |text: &str, source: &MemorySource| {
            let output = ask(text, base.clone(), source).expect(text);
            let QueryValue::Matrix(matrix) = output.value else { panic!("{text}: a matrix") };
            matrix.into_iter().map(|s| (s.labels, s.floats)).collect::<Vec<_>>()
        };
        for (text, of_histograms) in pairs {
            let (wanted, got) = (points(&text, &floats), points(&of_histograms, &histograms));
            let equal = wanted.len() == got.len() && wanted.iter().zip(&got).all(|(a, b)| {
                let close = |((t, v), (u, w)): (&(i64, f64), &(i64, f64))| {
                    t == u && (v - w).abs() <= 1e-9 * (1.0 + v.abs())
                };
                a.0 == b.0 && a.1.len() == b.1.len() && a.1.iter().zip(&b.1).all(close)
            });
            prop_assert!(equal, "{text}: {wanted:?} {got:?}");
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

#[test]
fn what_edges_make_of_histograms_is_annotated() {
    use pando_model::histogram::CUSTOM_BUCKETS_SCHEMA;
    let custom = |bounds: &[f64]| Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        custom_values: bounds.to_vec(),
        count: 1.0,
        ..Histogram::default()
    };
    let mut source = MemorySource::new();
    let mut add = |name: &str, t, h: Histogram| {
        let labels = Labels::from_pairs([("__name__", name)]);
        source.add(&labels, t, SampleValue::Histogram(Arc::new(h)));
    };
    for (t, bounds) in [(0, [1.0, 2.0]), (20_000, [1.0, 3.0]), (40_000, [1.0, 3.0])] {
        add("bounds_total", t, custom(&bounds));
    }
    add("kinds_total", 0, custom(&[1.0]));
    add("kinds_total", 20_000, Histogram { count: 2.0, ..Histogram::default() });
    let bounds = "mismatched custom buckets";
    let kinds = "mix of histograms with exponential and custom buckets";
    for (text, series, said) in [
        ("bounds_total smoothed", 1, bounds),
        ("rate(bounds_total[20s] smoothed)", 1, bounds),
        ("kinds_total smoothed", 0, kinds),
        ("rate(kinds_total[20s] smoothed)", 0, kinds),
        ("increase(kinds_total[30s] smoothed)", 0, kinds),
    ] {
        let output = instant(text, 10_000, &source).expect(text);
        let QueryValue::Vector(vector) = output.value else { panic!("{text}: a vector") };
        assert_eq!(vector.len(), series, "{text}");
        let mut notes = output.warnings.iter().chain(&output.infos);
        assert!(notes.any(|note| note.contains(said)), "{text}");
    }
}

#[test]
fn a_single_histogram_counts_from_its_start_on() {
    let mut source = MemorySource::new();
    let labels = Labels::from_pairs([("__name__", "m_total")]);
    source.add_with_start(&labels, 50_000, counting(6.0), 20_000);
    for (text, wanted) in [
        ("increase(m_total[1m])", Some(6.0)),
        ("rate(m_total[1m])", Some(0.1)),
        ("increase(m_total[1m] anchored)", Some(0.0)),
        // Its start is not in the range.
        ("increase(m_total[40s])", None),
    ] {
        let output = instant(&format!("histogram_sum({text})"), 60_000, &source).expect(text);
        let QueryValue::Vector(vector) = output.value else { panic!("{text}: a vector") };
        let value = vector.first().map(|s| s.value.clone());
        assert_eq!(value, wanted.map(SampleValue::Float), "{text}");
    }
}
