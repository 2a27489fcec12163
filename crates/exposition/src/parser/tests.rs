use std::collections::BTreeMap;
use std::path::PathBuf;

use pando_model::number::{go_quote, push_exponent_float};
use pando_model::{Labels, MetricType};
use serde_json::Value;

use super::*;
use crate::error::LabelsProblem;

const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/exposition");

fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(SHARED).join(name);
    if !path.exists() {
        let ci = std::env::var("CI").is_ok_and(|v| v == "true");
        assert!(!ci, "CI=true, and {} is absent", path.display());
        println!("skipped: {} is absent", path.display());
        return None;
    }
    Some(path)
}

fn read(name: &str) -> Option<Vec<u8>> {
    shared(name).map(|path| std::fs::read(path).expect("a readable file"))
}

fn samples<'a>(
    format: ScrapeFormat,
    created: CreatedLines,
    body: &'a [u8],
) -> Result<Vec<SampleRef<'a>>, ParseError> {
    let mut samples = Vec::new();
    for event in Parser::with_created(format, body, created) {
        if let Event::Sample(sample) = event? {
            samples.push(sample);
        }
    }
    Ok(samples)
}

fn text(body: &str) -> Result<Vec<SampleRef<'_>>, ParseError> {
    samples(ScrapeFormat::Text, CreatedLines::AsSeries, body.as_bytes())
}

/// A float as the oracle prints it: Go's 'g' with the shortest digits.
fn go_g(v: f64) -> String {
    let mut out = String::new();
    match v.abs() {
        m if m.is_finite() && m != 0.0 && !(1e-4..1e21).contains(&m) => {
            push_exponent_float(&mut out, v)
        }
        m if m.is_finite() && m >= 1e6 => push_exponent_float(&mut out, v),
        _ => pando_model::number::push_api_float(&mut out, v),
    }
    out
}

/// What the oracle says of one sample, in one line.
fn expected_line(sample: &Value) -> String {
    let labels = sample["labels"].as_object().expect("labels");
    let labels: BTreeMap<&str, &str> = labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().expect("a string")))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let number = |field: &str| sample.get(field).and_then(Value::as_i64);
    let value = sample["value"].as_str().expect("value");
    let labels = Labels::from_pairs(labels);
    format!("{labels} {value} @{:?} from {:?}", number("ts_ms"), number("start_ms"))
}

fn found_line(sample: &SampleRef<'_>) -> String {
    // The oracle's labels are a map, in which a doubled name is one.
    let labels = match sample.labels() {
        Ok(labels) | Err(LabelsProblem::Duplicate { labels, .. }) => labels,
        Err(e) => panic!("{e}"),
    };
    let value = go_g(sample.value);
    format!("{labels} {value} @{:?} from {:?}", sample.timestamp_ms, sample.start_ms)
}

#[test]
fn openmetrics_cases_end_as_in_prometheus() {
    let Some(oracle) = read("openmetrics-prometheus-3.14.jsonl") else { return };
    let oracle = String::from_utf8(oracle).expect("UTF-8");
    let mut cases = 0;
    for line in oracle.lines() {
        let expected: Value = serde_json::from_str(line).expect("JSON");
        let case = expected["case"].as_str().expect("a name");
        let body = read(&format!("openmetrics/{case}/metrics")).expect("the case's body");
        // The oracle treated `_created` lines as series up to the first sample of a family that can have
        // them, and this case's is the first: Prometheus' switch, not its grammar.
        let created = match case {
            "bad_exemplars_on_unallowed_samples_3" => CreatedLines::AsSeries,
            _ => CreatedLines::AsStart,
        };
        let found = samples(ScrapeFormat::OpenMetrics, created, &body);
        if expected["prometheus"].as_bool() == Some(true) {
            let found = found.unwrap_or_else(|e| panic!("{case}: {e}"));
            let found: Vec<String> = found.iter().map(found_line).collect();
            let expected = expected["samples"].as_array().map(Vec::as_slice).unwrap_or_default();
            let expected: Vec<String> = expected.iter().map(expected_line).collect();
            assert_eq!(found, expected, "{case}");
        } else {
            let error = found.map(|s| s.len()).expect_err(case);
            assert_eq!(Some(error.message.as_str()), expected["error"].as_str(), "{case}");
        }
        cases += 1;
    }
    assert_eq!(cases, 211);
}

#[test]
fn sample_files_parse_to_the_end() {
    for (name, format, count) in [
        ("1histogram.om.txt", ScrapeFormat::OpenMetrics, 42),
        ("alltypes.5mfs.om.txt", ScrapeFormat::OpenMetrics, 53),
        ("alltypes.237mfs.prom.txt", ScrapeFormat::Text, 1857),
        ("alltypes.237mfs.nometa.prom.txt", ScrapeFormat::Text, 1857),
    ] {
        let Some(body) = read(name) else { return };
        let found = samples(format, CreatedLines::AsSeries, &body).expect(name);
        assert_eq!(found.len(), count, "{name}");
        for sample in found {
            let labels = sample.labels().expect(name);
            assert!(!labels.metric_name().is_empty());
        }
    }
}

#[test]
fn text_is_read_as_forgivingly_as_prometheus_reads_it() {
    let body = "# \tTYPE d summary\n# HELP d what \\\\ \\n \\\" it is\n\n\
        d{quantile=\"0\"} 4.9351e-05\n\
        d{quantile=\"0.25\",} 7\n\
        d{ quantile=\"1\", a=\"b\" } 8 17\n\
        d { quantile = \"2.0\" a = \"b\" } 8.3835e-05\n\
        # Hrandom comment\n#\n# HELP nohelp\n\
        some:rate5m{a_b=\"c\"}\t1\n\
        m{label=\"\\\"bar\\\" \\\\ \\n \\x\"} -Inf\n\
        {\"a.b\", \"c d\"=\"6\", e=\"f\"} 10.0\n\
        two_lines{a=\"x\ny\"} 1";
    let found = text(body).expect("valid");
    let lines: Vec<String> =
        found.iter().map(|s| s.labels().expect("labels").to_string()).collect();
    assert_eq!(
        lines,
        [
            r#"{__name__="d", quantile="0.0"}"#,
            r#"{__name__="d", quantile="0.25"}"#,
            r#"{__name__="d", a="b", quantile="1.0"}"#,
            r#"{__name__="d", a="b", quantile="2.0"}"#,
            r#"{__name__="some:rate5m", a_b="c"}"#,
            r#"{__name__="m", label="\"bar\" \\ \n \\x"}"#,
            r#"{__name__="a.b", "c d"="6", e="f"}"#,
            r#"{__name__="two_lines", a="x\ny"}"#,
        ]
    );
    assert_eq!(found[2].timestamp_ms, Some(17));
    assert_eq!(found[3].series(), b"d { quantile = \"2.0\" a = \"b\" }");
    assert_eq!(found[5].value, f64::NEG_INFINITY);
    let events: Vec<Event<'_>> = Parser::new(ScrapeFormat::Text, body.as_bytes())
        .map(|event| event.expect("valid"))
        .filter(|event| !matches!(event, Event::Sample(_)))
        .collect();
    assert!(
        matches!(&events[0], Event::Type { family, metric_type: MetricType::Summary } if family == "d")
    );
    assert!(
        matches!(&events[1], Event::Help { help, .. } if help == "what \\ \n \\\" it is"),
        "{events:?}"
    );
    assert!(matches!(&events[2], Event::Comment(b"# Hrandom comment")));
    assert!(
        matches!(&events[4], Event::Help { family, help } if family == "nohelp" && help.is_empty())
    );
}

#[test]
fn faults_in_text_are_told_in_prometheus_words() {
    for (body, message) in [
        ("a", r#"expected value after metric, got "\n" ("INVALID") while parsing: "a\n""#),
        ("a{b='c'} 1\n", r#"expected label value, got "'" ("INVALID") while parsing: "a{b='""#),
        (
            "a 1 2 3\n",
            r#"expected next entry after timestamp, got "3\n" ("TIMESTAMP") while parsing: "a 1 2 3\n""#,
        ),
        ("a 1\r\n", r#"strconv.ParseFloat: parsing "1\r": invalid syntax while parsing: "a 1\r""#),
        (
            "a 1 -5\n",
            r#"expected timestamp or new record, got "-" ("INVALID") while parsing: "a 1 -""#,
        ),
        ("{a=\"ok\"} 1", r#"metric name not set while parsing: "{a=\"ok\"} 1""#),
        ("a{\"b\"} 1", r#"metric name already set while parsing: "a{\"b\"}""#),
        ("# TYPE a unknown\n", r#"invalid metric type "unknown""#),
    ] {
        assert_eq!(text(body).expect_err(body).message, message, "{body}");
    }
    let invalid = samples(ScrapeFormat::Text, CreatedLines::AsSeries, b"a{b=\"\xff\"} 1\n");
    assert_eq!(invalid.expect_err("bytes").message, r#"invalid UTF-8 label value: "\"\xff\"""#);
    assert_eq!(text("a 1\n\n# x\nb x\n").expect_err("line 4").line, 4);
}

#[test]
fn nothing_follows_an_error() {
    let mut parser = Parser::new(ScrapeFormat::Text, b"a 1\nb x\nc 1\n");
    assert!(matches!(parser.next(), Some(Ok(Event::Sample(_)))));
    assert!(matches!(parser.next(), Some(Err(_))));
    assert!(parser.next().is_none());
}

#[test]
fn labels_that_cannot_be_stored_are_told_apart_from_grammar() {
    let problem = |body| text(body).expect("grammar")[0].labels().expect_err(body).to_string();
    assert!(problem("a{b=\"1\",b=\"2\"} 1\n").contains("\"b\" is not unique"));
    assert!(problem("a{__name__=\"b\"} 1\n").contains("not unique"));
    assert!(problem("{\"\"} 1\n").contains("invalid metric name"));
    assert!(problem("a{\"\"=\"x\"} 1\n").contains("invalid metric name"));
    let found = samples(ScrapeFormat::Text, CreatedLines::AsSeries, b"{\"a\xff\"} 1\n");
    assert!(matches!(
        found.expect("grammar")[0].labels(),
        Err(LabelsProblem::NotUtf8 { name }) if name == "a\u{fffd}"
    ));
}

#[test]
fn exemplars_come_with_labels_and_time() {
    let body =
        b"# TYPE a counter\na_total 1 5.5 # {\"trace.id\"=\"x\\ny\",b=\"c\"} 0.5 1.25\n# EOF\n";
    let found = samples(ScrapeFormat::OpenMetrics, CreatedLines::AsSeries, body).expect("valid");
    let exemplar = found[0].exemplar.expect("an exemplar");
    assert_eq!((exemplar.value, exemplar.timestamp_ms), (0.5, Some(1250)));
    assert_eq!(found[0].timestamp_ms, Some(5500));
    let labels = exemplar.labels().expect("labels");
    assert_eq!(labels, Labels::from_pairs([("trace.id", "x\ny"), ("b", "c")]));
}

#[test]
fn starts_are_found_wherever_their_line_stands() {
    let body = b"# TYPE s histogram\n# HELP s h\ns_count{a=\"1\"} 18\ns_bucket{a=\"1\",le=\"1\"} 2\n\
        s_created{a=\"1\"} 1.5\ns_bucket{a=\"1\",le=\"+Inf\"} 18\ns_count{a=\"2\"} 18\ns_count{a=\"3\"} 1\n\
        s_created{a=\"3\"} 3\n# TYPE {} gauge\ng_created 7\n# EOF\n";
    let body = String::from_utf8_lossy(body).replace("{} gauge", "g gauge");
    let found = samples(ScrapeFormat::OpenMetrics, CreatedLines::AsStart, body.as_bytes());
    let starts: Vec<_> = found.expect("valid").iter().map(|s| s.start_ms).collect();
    assert_eq!(starts, [Some(1500), Some(1500), Some(1500), None, Some(3000), None]);
    let series = samples(ScrapeFormat::OpenMetrics, CreatedLines::AsSeries, body.as_bytes());
    assert_eq!(series.expect("valid").len(), 8);
}

#[test]
fn messages_do_not_grow_with_the_body() {
    let body = format!("a{{b=\"{}", "x\n".repeat(100_000));
    let error = text(&body).expect_err("an unclosed quote");
    assert!(error.message.len() < 4096, "{}", error.message.len());
    assert!(go_quote(&error.message).contains("..."));
}

/// Mutations of valid bodies: whatever comes, there is an end and no panic, and labels can be asked for.
#[test]
fn damaged_bodies_do_no_harm() {
    let mut seeds: Vec<Vec<u8>> = vec![
        b"# TYPE a summary\na{quantile=\"0.5\",b=\"c\\\"\"} 1 2\n{\"x.y\",\"l m\"=\"v\"} NaN\n".to_vec(),
        b"# TYPE a counter\n# UNIT a_s s\na_total{b=\"c\"} 1 1 # {\"i.d\"=\"x\"} 4 1.5\na_created{b=\"c\"} 1\n# EOF\n"
            .to_vec(),
    ];
    seeds.extend(read("alltypes.5mfs.om.txt"));
    let pieces: [&[u8]; 16] = [
        b"\"",
        b"{",
        b"}",
        b",",
        b"=",
        b" ",
        b"\t",
        b"\n",
        b"\\",
        b"#",
        b"# ",
        b"\x00",
        b"\xff",
        b"1e",
        b"_created",
        b"# EOF",
    ];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n.max(1) as u64) as usize
    };
    for _ in 0..6000 {
        let mut body = seeds[below(seeds.len())].clone();
        for _ in 0..1 + below(4) {
            let at = below(body.len() + 1);
            let cut = (at + below(4)).min(body.len());
            body.splice(at..cut, pieces[below(pieces.len())].iter().copied());
        }
        for format in [ScrapeFormat::Text, ScrapeFormat::OpenMetrics] {
            for created in [CreatedLines::AsSeries, CreatedLines::AsStart] {
                for event in Parser::with_created(format, &body, created) {
                    if let Ok(Event::Sample(sample)) = event {
                        let _ = sample.labels();
                        let _ = sample.exemplar.map(|e| e.labels().is_ok());
                    }
                }
            }
        }
    }
}
