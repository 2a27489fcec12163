//! `info` beyond the upstream scripts: errors, what is asked of the sources, and the times it is asked for.

use super::*;

const INFO: Features = Features {
    experimental_functions: true,
    extended_range_selectors: false,
    fill_modifiers: false,
    delayed_name_removal: false,
    start_timestamps: false,
};

fn params(t_ms: i64) -> QueryParams {
    QueryParams::instant(t_ms).with_features(INFO)
}

/// Adds one sample of `name{instance, job, extra}`.
fn add(source: &mut MemorySource, name: &str, instance: &str, extra: (&str, &str), t_ms: i64) {
    let all = [("__name__", name), ("instance", instance), ("job", "j"), extra];
    source.add(&Labels::from_pairs(all), t_ms, SampleValue::Float(1.0));
}

fn labels(text: &str, t_ms: i64, source: &MemorySource) -> Vec<String> {
    let output = ask(text, params(t_ms), source).expect(text);
    let QueryValue::Vector(vector) = output.value else { panic!("{text}: a vector") };
    vector.into_iter().map(|s| s.labels.to_string()).collect()
}

#[test]
fn two_info_series_of_one_time_are_an_error_only_where_something_joins() {
    let mut source = MemorySource::new();
    add(&mut source, "m", "a", ("x", "1"), 10_000);
    for version in ["1", "2"] {
        add(&mut source, "target_info", "a", ("version", version), 5_000);
        add(&mut source, "target_info", "b", ("version", version), 5_000);
    }
    let error = ask("info(m)", params(10_000), &source).expect_err("two of one time");
    assert_eq!(
        error.to_string(),
        "found duplicate series for info metric: \
         existing {__name__=\"target_info\", instance=\"a\", job=\"j\", version=\"1\"} @ 5000, \
         new {__name__=\"target_info\", instance=\"a\", job=\"j\", version=\"2\"} @ 5000"
    );
    assert_eq!(error.kind(), ErrorKind::Execution);
    assert_eq!(labels("info(nothing)", 10_000, &source), [""; 0]);
    // The other target's are no matter of this one's.
    let narrowed = labels("info(m, {version=\"1\"})", 10_000, &source);
    assert_eq!(narrowed, [r#"{__name__="m", instance="a", job="j", version="1", x="1"}"#]);
    // A newer sample decides.
    add(&mut source, "target_info", "a", ("version", "2"), 6_000);
    let newest = labels("info(m)", 10_000, &source);
    assert_eq!(newest, [r#"{__name__="m", instance="a", job="j", version="2", x="1"}"#]);
}

#[test]
fn info_series_are_floats_and_agree() {
    let mut source = MemorySource::new();
    add(&mut source, "m", "a", ("x", "1"), 10_000);
    add(&mut source, "a_info", "a", ("y", "1"), 10_000);
    add(&mut source, "b_info", "a", ("y", "2"), 10_000);
    let text = "info(m, {__name__=~\".+_info\"})";
    let error = ask(text, params(10_000), &source).expect_err("y is 1 and 2");
    assert_eq!(error.to_string(), "conflicting label: y");
    // A label of the series itself is no matter of the info series'.
    assert_eq!(
        labels(
            "info(label_replace(m, \"y\", \"3\", \"\", \"\"), {__name__!=\"m\"})",
            10_000,
            &source
        )
        .len(),
        1
    );
    let h = Labels::from_pairs([("__name__", "h"), ("instance", "a"), ("job", "j")]);
    source.add(&h, 10_000, SampleValue::Histogram(Default::default()));
    let error = ask("info(m, {__name__=\"h\"})", params(10_000), &source).expect_err("no float");
    assert_eq!(
        error.to_string(),
        "this should be an info metric, with float samples: {__name__=\"h\", instance=\"a\", job=\"j\"}"
    );
}

#[test]
fn info_series_of_other_targets_are_not_asked_for_where_the_text_excludes_them() {
    let asked = |text: &str| {
        let query = Query::parse(text, params(0)).expect(text);
        let info = query.fragments().last().expect("a fragment of info series");
        let matchers = info.plan.matchers.iter().map(ToString::to_string);
        matchers.collect::<Vec<_>>().join(",")
    };
    let target = "__name__=\"target_info\"";
    assert_eq!(asked("info(m)"), target);
    assert_eq!(asked("info(m{job=\"j\", x=\"1\"})"), format!("{target},job=\"j\""));
    assert_eq!(
        asked("info((rate(m{instance=~\"a.*\", job=~\"|j\"}[5m])))"),
        format!("{target},instance=~\"a.*\"")
    );
    // Here instance may be another label's value.
    assert_eq!(asked("info(label_replace(m{job=\"j\"}, \"job\", \"k\", \"\", \"\"))"), target);
    assert_eq!(
        asked("info(m, {version=~\"1.*\", __name__!~\"x.*\"})"),
        "__name__=~\".+_info\",__name__!~\"x.*\",version=~\"1.*\""
    );
}

#[test]
fn info_series_are_read_at_the_time_that_all_selectors_share() {
    let read_at = |text: &str| {
        let query = Query::parse(text, params(1_000_000)).expect(text);
        let is_info = |m: &pando_model::Matcher| m.value() == "target_info";
        let infos = query.fragments().iter().find(|f| f.plan.matchers.iter().any(is_info));
        infos.expect("info series").plan.steps.start_ms() / 1000
    };
    for (text, seconds) in [
        ("info(m)", 1000),
        ("info(m offset 100s)", 900),
        ("info(m @ 60)", 60),
        ("info(rate(m[1m] @ 60 offset 10s))", 50),
        ("info(sum by (job) (m @ 60) / on (job) n @ 60)", 60),
        ("info(m @ 60 or n @ 70 offset 10s)", 60),
        ("info(scalar(n @ 60) * m offset 5s)", 995),
        // No time stands for all.
        ("info(m @ 60 or n)", 1000),
        ("info(m @ 60 or n @ 61)", 1000),
        ("info(m offset 1m + n)", 1000),
        ("info(m @ 60 or vector(1))", 1000),
        // Subqueries move what is in them.
        ("info(last_over_time(m[1m:10s] offset 100s))", 900),
        ("info(last_over_time((m offset 5s)[1m:10s] offset 100s))", 895),
        ("info(last_over_time((m offset 5s)[1m:10s] @ 60))", 55),
        ("info(last_over_time((m @ 50)[1m:10s] offset 100s))", 50),
    ] {
        assert_eq!(read_at(text), seconds, "{text}");
    }
}

#[test]
fn the_second_argument_is_matchers_alone() {
    for text in ["info(m, n)", "info(m, ({a=\"b\"}))", "info(m, sum(n))", "info(m, 1)"] {
        assert!(Query::parse(text, params(0)).is_err(), "{text}");
    }
    // Modifiers are read over.
    for text in ["info(m, {})", "info(m, {a=\"b\"} offset 1m)", "info(m, {a=\"b\"} @ 0)"] {
        assert!(Query::parse(text, params(0)).is_ok(), "{text}");
    }
}
