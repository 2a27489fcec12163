//! What Prometheus answers at the edges of single functions.

use super::*;

fn experimental(params: QueryParams) -> QueryParams {
    let features = Features { experimental_functions: true, ..Features::default() };
    params.with_features(features)
}

/// The label sets of the answer, sorted, each with its points.
fn rows(text: &str, params: QueryParams, source: &MemorySource) -> Vec<(String, Vec<f64>)> {
    let output = ask(text, experimental(params), source).expect(text);
    let QueryValue::Matrix(rows) = output.value else { panic!("{text}: a matrix") };
    let one = |s: MatrixSeries| {
        let values = s.floats.into_iter().map(|(_, v)| v).collect();
        (s.labels.to_string(), values)
    };
    rows.into_iter().map(one).collect()
}

#[test]
fn a_quantile_is_labelled_at_each_step() {
    let mut source = MemorySource::new();
    for (le, count) in [("1", 10.0), ("+Inf", 10.0)] {
        let labels = Labels::from_pairs([("__name__", "h"), ("le", le)]);
        for t in [0, 60_000, 120_000] {
            source.add(&labels, t, SampleValue::Float(count));
        }
    }
    let params = QueryParams::range(0, 120_000, 60_000).expect("three steps");
    let text = "histogram_quantiles(h, \"q\", time() / 120, 1 - time() / 120 * (time() > bool 60))";
    let q = |q: &str, values: &[f64]| (format!("{{q=\"{q}\"}}"), values.to_vec());
    let wanted = [q("0.0", &[0.0, 0.0]), q("0.5", &[0.5]), q("1.0", &[1.0, 1.0, 1.0])];
    assert_eq!(rows(text, params, &source), wanted);
}

/// The end that was asked for counts, not the last step; nothing that goes by the step is the same at all of them.
#[test]
fn times_of_the_query_are_those_that_were_asked_for() {
    let source = source(&[("m", "a", 1.0, 0.0)]);
    let params = |end| QueryParams::range(60_000, end, 60_000).expect("steps");
    for (text, end, wanted) in [
        ("start()", 150_000, &[60.0, 60.0][..]),
        ("end()", 150_000, &[150.0, 150.0]),
        ("range()", 150_000, &[90.0, 90.0]),
        ("step()", 150_000, &[60.0, 60.0]),
        // One step, and a range that ends where it starts.
        ("step()", 110_000, &[60.0]),
        ("step()", 60_000, &[0.0]),
        ("sum(count_over_time(m[range()]))", 150_000, &[7.0, 9.0]),
        ("sum(count_over_time(m[range()] @ end()))", 150_000, &[9.0, 9.0]),
        ("sum(timestamp(m @ end()))", 155_000, &[150.0, 150.0]),
    ] {
        let all: Vec<f64> =
            rows(text, params(end), &source).into_iter().flat_map(|(_, values)| values).collect();
        assert_eq!(all, wanted, "{text} end={end}");
    }
    // Monday the 31st of January 2022, 12:00, and a day later.
    let day_ms = 86_400_000;
    let start_ms = 19_023 * day_ms + day_ms / 2;
    let params = QueryParams::range(start_ms, start_ms + day_ms, day_ms).expect("steps");
    for (text, wanted) in [
        ("days_in_month()", [31.0, 28.0]),
        ("day_of_month()", [31.0, 1.0]),
        ("day_of_week()", [1.0, 2.0]),
        ("day_of_year()", [31.0, 32.0]),
        ("month()", [1.0, 2.0]),
    ] {
        let all = rows(text, params.clone(), &source);
        assert_eq!(all, [("{}".to_string(), wanted.to_vec())], "{text}");
    }
}

#[test]
fn sort_drops_histograms_and_warns_of_ranges() {
    let mut source = source(&[("m", "a", 1.0, 0.0)]);
    let native = Labels::from_pairs([("__name__", "m"), ("l", "h")]);
    for t in [540_000, 600_000] {
        source.add(&native, t, SampleValue::Histogram(Arc::new(Histogram::default())));
    }
    let range = |end| QueryParams::range(540_000, end, 60_000).expect("steps");
    for (text, params, warns) in [
        ("sort(m)", range(600_000), true),
        ("sort_desc(m)", range(540_000), false),
        ("sort_by_label(m * 1, \"l\")", range(540_000), false),
        ("sort_by_label(m, \"l\")", range(600_000), true),
        // One step, and an end that is later.
        ("sort(m)", range(550_000), true),
        ("sort(m @ 540)", range(600_000), false),
        ("sort(m @ 540)", range(550_000), false),
        ("sort(m @ 540) + sort(m @ 540)", range(550_000), false),
        ("1 + sort(m @ 540) + sort(m)", range(550_000), true),
        ("last_over_time(sort(m)[1m:1m] offset -1s)", QueryParams::instant(600_000), true),
        ("last_over_time(sort(m)[5m:1m])", QueryParams::instant(600_000), true),
        ("last_over_time(sort(m)[1m:1m])", QueryParams::instant(600_000), false),
    ] {
        let output = ask(text, experimental(params), &source).expect(text);
        assert_eq!(output.warnings.len(), usize::from(warns), "{text}");
        let values = match output.value {
            QueryValue::Matrix(rows) => rows.iter().map(|s| s.histograms.len()).sum::<usize>(),
            QueryValue::Vector(rows) => {
                rows.iter().filter(|s| matches!(s.value, SampleValue::Histogram(_))).count()
            }
            _ => panic!("{text}: series"),
        };
        assert_eq!(values > 0, text.starts_with("sort_by_label"), "{text}");
    }
}

#[test]
fn counted_values_are_labels_before_they_are_grouped() {
    let source = source(&[("m", "a", 1e21, 0.0), ("m", "b", 1e-7, 0.0), ("m", "c", 2.5, 0.0)]);
    let ask = |text| {
        let mut rows = vector(text, &source);
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    };
    let row = |labels: &str, count: f64| (format!("{{{labels}}}"), count);
    let values = ["0.0000001", "1000000000000000000000", "2.5"];
    let by_value = values.map(|v| row(&format!("v=\"{v}\""), 1.0));
    assert_eq!(ask("count_values(\"v\", m)"), by_value);
    assert_eq!(ask("count_values by (v) (\"v\", m)"), by_value);
    let kept = ["a", "b", "c"].map(|l| row(&format!("l=\"{l}\""), 1.0));
    assert_eq!(ask("count_values without (v) (\"v\", m)"), kept);
    assert_eq!(ask("count_values without (l) (\"l\", m)"), [row("", 3.0)]);
    assert_eq!(
        ask("count_values by (l) (\"l\", m)"),
        values.map(|v| row(&format!("l=\"{v}\""), 1.0))
    );
    assert_eq!(ask("count_values(\"v\", vector(-Inf))"), [row("v=\"-Inf\"", 1.0)]);
}

#[test]
fn arguments_are_judged_where_there_is_something_to_use_them_on() {
    let mut source = source(&[("m", "a", 1.0, 0.0)]);
    let native = Labels::from_pairs([("__name__", "h"), ("l", "h")]);
    source.add(&native, 600_000, SampleValue::Histogram(Arc::new(Histogram::default())));
    let ask = |text, params| ask(text, experimental(params), &source);
    let at = QueryParams::instant(600_000);
    let quiet = |text| {
        let output = ask(text, at.clone()).expect(text);
        assert_eq!(output.warnings, [""; 0], "{text}");
    };
    quiet("double_exponential_smoothing(nothing[5m], 2, 0.5)");
    quiet("quantile_over_time(2, nothing[5m])");
    quiet("quantile_over_time(2, h[5m])");
    let refused = |text, params| ask(text, params).expect_err(text).to_string();
    let message = "invalid smoothing factor. Expected: 0 < sf < 1, got: 2.000000";
    for text in [
        "double_exponential_smoothing(m[5m], 2, 0.5)",
        "double_exponential_smoothing(m[1s], 2, 0.5)",
        "double_exponential_smoothing(m[5m] @ 600, 2, 0.5)",
        "double_exponential_smoothing(m[5m:10s], 2, 0.5)",
    ] {
        assert_eq!(refused(text, at.clone()), message, "{text}");
    }
    // Only where the data is: samples end at 600 s.
    let range = QueryParams::range(500_000, 1_000_000, 100_000).expect("steps");
    let text = "quantile_over_time(0.5 + scalar(vector(time() >= bool 800)), m[1m])";
    assert_eq!(ask(text, range.clone()).expect(text).warnings, [""; 0]);
    let text = "double_exponential_smoothing(m[1m], 0.5 + (time() >= bool 800), 0.5)";
    ask(text, range).expect(text);
}

#[test]
fn a_gauge_at_an_end_is_told_of_even_where_the_other_end_is_of_another_kind() {
    let labels = Labels::from_pairs([("__name__", "h")]);
    let gauge = Histogram { reset_hint: ResetHint::Gauge, ..Histogram::default() };
    let counter = Histogram::default();
    let schema = pando_model::histogram::CUSTOM_BUCKETS_SCHEMA;
    let custom = Histogram { schema, ..Histogram::default() };
    let warnings = |histograms: &[&Histogram]| {
        let mut source = MemorySource::new();
        for (t, h) in (0i64..).zip(histograms) {
            source.add(
                &labels,
                500_000 + t * 10_000,
                SampleValue::Histogram(Arc::new(Histogram::clone(h))),
            );
        }
        ask("rate(h[5m])", QueryParams::instant(600_000), &source).expect("an answer").warnings
    };
    let not_counter = "PromQL warning: this native histogram metric is not a counter: \"h\" (1:6)";
    let mixed = "PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name \"h\" (1:6)";
    assert_eq!(warnings(&[&gauge, &counter, &custom]), [not_counter, mixed]);
    assert_eq!(warnings(&[&counter, &gauge, &custom]), [mixed]);
    assert_eq!(warnings(&[&gauge, &counter, &custom, &counter]), [mixed]);
    assert_eq!(warnings(&[&counter, &gauge, &counter]), [not_counter]);
}
