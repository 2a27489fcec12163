use std::sync::Arc;

use pando_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use pando_model::{
    Exemplar, Histogram, Labels, Metadata, MetricType, ResetHint, STALE_NAN, Span, is_stale_nan,
};
use proptest::prelude::*;

use super::*;

fn open(content_type: &str, body: &[u8]) -> Result<Body, RemoteWriteError> {
    Body::open(content_type, "snappy", body, Limits::default())
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn integer_histogram() -> Histogram {
    Histogram {
        integer: true,
        reset_hint: ResetHint::NotReset,
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: 2.0,
        count: 21.0,
        sum: 18.4,
        positive_spans: vec![Span { offset: -3, length: 2 }, Span { offset: 1, length: 2 }],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        positive_buckets: vec![5.0, 1.0, 9.0, 0.0],
        negative_buckets: vec![4.0],
        custom_values: Vec::new(),
    }
}

fn custom_histogram() -> Histogram {
    Histogram {
        integer: false,
        reset_hint: ResetHint::Gauge,
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 3.5,
        sum: 7.0,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_buckets: vec![1.0, 0.5, 2.0],
        custom_values: vec![-1.0, 2.5],
        ..Histogram::default()
    }
}

/// Everything that a series can have.
struct Sent {
    labels: Labels,
    samples: Vec<FloatSample>,
    histograms: Vec<(i64, i64, Histogram)>,
    exemplars: Vec<Exemplar>,
    metadata: Metadata,
}

fn sent() -> Vec<Sent> {
    let float = |timestamp_ms, start_ms, value| FloatSample { timestamp_ms, start_ms, value };
    let metadata = |metric_type, unit: &str, help: &str| Metadata {
        metric_type,
        unit: unit.to_string(),
        help: help.to_string(),
    };
    vec![
        Sent {
            labels: labels(&[("__name__", "a_total"), ("job", "x"), ("é", &"y".repeat(300))]),
            samples: vec![
                float(1_700_000_000_000, 1_600_000_000_000, 1.5),
                float(-5, 0, -0.0),
                float(0, 0, STALE_NAN),
            ],
            histograms: Vec::new(),
            exemplars: vec![Exemplar {
                labels: labels(&[("trace_id", "abc")]),
                value: 0.25,
                timestamp_ms: 17,
            }],
            metadata: metadata(MetricType::Counter, "seconds", "What it is."),
        },
        Sent {
            labels: labels(&[("__name__", "h"), ("job", "x")]),
            samples: Vec::new(),
            histograms: vec![(5, 3, integer_histogram()), (6, 0, custom_histogram())],
            exemplars: Vec::new(),
            metadata: metadata(MetricType::Histogram, "", ""),
        },
    ]
}

fn with_series<T>(sent: &[Sent], encode: impl FnOnce(&[SeriesToWrite<'_>]) -> T) -> T {
    let histograms: Vec<Vec<HistogramToWrite<'_>>> = sent
        .iter()
        .map(|s| {
            let each = s.histograms.iter().map(|(timestamp_ms, start_ms, histogram)| {
                let (timestamp_ms, start_ms) = (*timestamp_ms, *start_ms);
                HistogramToWrite { timestamp_ms, start_ms, histogram }
            });
            each.collect()
        })
        .collect();
    let series: Vec<SeriesToWrite<'_>> = sent
        .iter()
        .zip(&histograms)
        .map(|(s, histograms)| SeriesToWrite {
            labels: &s.labels,
            samples: &s.samples,
            histograms,
            exemplars: &s.exemplars,
            metadata: Some(&s.metadata),
        })
        .collect();
    encode(&series)
}

fn same_samples(found: &[FloatSample], sent: &[FloatSample], starts: bool) {
    assert_eq!(found.len(), sent.len());
    for (found, sent) in found.iter().zip(sent) {
        assert_eq!(found.value.to_bits(), sent.value.to_bits());
        assert_eq!(found.timestamp_ms, sent.timestamp_ms);
        assert_eq!(found.start_ms, if starts { sent.start_ms } else { 0 });
    }
}

#[test]
fn requests_of_both_versions_round_trip() {
    let sent = sent();
    let families = [("a_total", &sent[0].metadata)];
    let v1 = with_series(&sent, |series| encode_v1(series, &families)).expect("small");
    let v2 = with_series(&sent, encode_v2).expect("small");
    for (content_type, body) in [(CONTENT_TYPE_V1, v1), (CONTENT_TYPE_V2, v2)] {
        let body = open(content_type, &body).expect("a request");
        let is_v2 = body.version() == Version::V2;
        let request = body.decode().expect("a request");
        assert_eq!((request.samples_count(), request.histograms_count()), (3, 2));
        assert_eq!(request.series().len(), sent.len());
        for (series, sent) in request.series().zip(&sent) {
            assert_eq!(series.labels().as_ref(), Ok(&sent.labels));
            same_samples(series.samples, &sent.samples, is_v2);
            let exemplars: Vec<_> = sent.exemplars.iter().cloned().map(Ok).collect();
            assert_eq!(series.exemplars, exemplars);
            for (found, (timestamp_ms, start_ms, histogram)) in
                series.histograms.iter().zip(&sent.histograms)
            {
                assert_eq!(found.histogram, Ok(Arc::new(histogram.clone())));
                assert_eq!(found.timestamp_ms, *timestamp_ms);
                assert_eq!(found.start_ms, if is_v2 { *start_ms } else { 0 });
            }
            let m = &sent.metadata;
            let expected = MetadataRef { metric_type: m.metric_type, unit: &m.unit, help: &m.help };
            assert_eq!(series.metadata, is_v2.then_some(expected));
        }
        assert!(is_stale_nan(request.series().next().expect("a series").samples[2].value));
        let expected = FamilyMetadata {
            family: "a_total",
            metadata: MetadataRef {
                metric_type: MetricType::Counter,
                unit: "seconds",
                help: "What it is.",
            },
        };
        assert_eq!(request.metadata(), if is_v2 { vec![] } else { vec![expected] });
    }
}

/// The bytes that a real sender writes for one float sample, field by field, so that encoder and decoder
/// cannot be wrong together; the 1.0 one has a field that nobody knows.
#[test]
fn bytes_on_the_wire_are_pinned() {
    let v1: &[u8] = &[
        0x0a, 0x20, 0x0a, 0x0d, 0x0a, 8, b'_', b'_', b'n', b'a', b'm', b'e', b'_', b'_', 0x12, 1,
        b'a', 0x12, 0x0c, 0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x10, 0xac, 0x02, 0x52, 1, b'?',
    ];
    let v2: &[u8] = &[
        0x22, 0, 0x22, 8, b'_', b'_', b'n', b'a', b'm', b'e', b'_', b'_', 0x22, 1, b'a', 0x2a,
        0x14, 0x0a, 2, 1, 2, 0x12, 0x0e, 0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x10, 0xac, 0x02,
        0x18, 7,
    ];
    for (content_type, start_ms, bytes) in [(CONTENT_TYPE_V1, 0, v1), (CONTENT_TYPE_V2, 7, v2)] {
        let body = snap::raw::Encoder::new().compress_vec(bytes).expect("small");
        let body = open(content_type, &body).expect("a request");
        let request = body.decode().expect("a request");
        let series = request.series().next().expect("a series");
        assert_eq!(series.labels(), Ok(labels(&[("__name__", "a")])));
        assert_eq!(series.samples, [FloatSample { timestamp_ms: 300, start_ms, value: 1.5 }]);
    }
}

#[test]
fn headers_choose_the_message() {
    let body = encode_v1(&[], &[]).expect("small");
    for (content_type, version) in [
        ("", Version::V1),
        ("application/x-protobuf", Version::V1),
        ("application/x-protobuf;proto=prometheus.WriteRequest", Version::V1),
        ("application/x-protobuf; proto=io.prometheus.write.v2.Request", Version::V2),
    ] {
        assert_eq!(open(content_type, &body).map(|b| b.version()), Ok(version), "{content_type}");
    }
    for (content_type, encoding) in [
        ("application/json", "snappy"),
        ("application/x-protobuf;proto=io.prometheus.write.v3.Request", "snappy"),
        (CONTENT_TYPE_V1, "gzip"),
    ] {
        let error = Body::open(content_type, encoding, &body, Limits::default());
        assert!(matches!(error, Err(RemoteWriteError::UnsupportedMediaType(_))), "{content_type}");
    }
    assert!(Body::open(CONTENT_TYPE_V1, "Snappy", &body, Limits::default()).is_ok());
    assert!(Body::open(CONTENT_TYPE_V1, "", &body, Limits::default()).is_ok());
}

#[test]
fn sizes_are_checked_before_memory_is_taken() {
    // The length that this block declares is 4 GiB - 1; there is nothing behind it.
    let error = open(CONTENT_TYPE_V1, &[0xff, 0xff, 0xff, 0xff, 0x0f]).expect_err("too large");
    assert!(
        matches!(
            error,
            RemoteWriteError::TooLarge { what: "decoded_bytes_max", limit: 33_554_432, .. }
        ),
        "{error}"
    );
    let empty_series = [0x0a, 0x00].repeat(1000);
    let body = snap::raw::Encoder::new().compress_vec(&empty_series).expect("small");
    let limits = Limits { decoded_items_max: 999, ..Limits::default() };
    let body = Body::open("", "", &body, limits).expect("a block");
    let error = body.decode().expect_err("too many");
    assert!(
        matches!(error, RemoteWriteError::TooLarge { what: "decoded_items_max", .. }),
        "{error}"
    );
}

/// One series from hand-made label fields of 1.0.
fn problem_of(pairs: &[(&[u8], &[u8])]) -> Result<Labels, SeriesProblem> {
    let mut series = Vec::new();
    for (name, value) in pairs {
        let mut label = vec![0x0a, name.len() as u8];
        label.extend_from_slice(name);
        label.extend([0x12, value.len() as u8]);
        label.extend_from_slice(value);
        series.extend([0x0a, label.len() as u8]);
        series.extend(label);
    }
    let mut bytes = vec![0x0a, series.len() as u8];
    bytes.extend(series);
    // A good series follows: a bad one must not take it along.
    bytes.extend([0x0a, 15, 0x0a, 13, 0x0a, 8]);
    bytes.extend(b"__name__\x12\x01b");
    let body = snap::raw::Encoder::new().compress_vec(&bytes).expect("small");
    let body = open(CONTENT_TYPE_V1, &body).expect("a block");
    let request = body.decode().expect("good protobuf");
    let all: Vec<_> = request.series().map(|s| s.labels()).collect();
    assert_eq!(all[1], Ok(labels(&[("__name__", "b")])));
    all[0].clone()
}

#[test]
fn a_bad_series_is_a_problem_of_its_own() {
    let name: (&[u8], &[u8]) = (b"__name__", b"a");
    assert!(matches!(problem_of(&[(b"a", b"b")]), Err(SeriesProblem::InvalidName { .. })));
    assert!(matches!(problem_of(&[name, (b"", b"b")]), Err(SeriesProblem::InvalidName { .. })));
    assert!(matches!(problem_of(&[(b"__name__", b"")]), Err(SeriesProblem::InvalidName { .. })));
    assert!(matches!(problem_of(&[name, (b"x", b"\xff")]), Err(SeriesProblem::NotUtf8 { .. })));
    assert!(matches!(problem_of(&[name, (b"\xff", b"x")]), Err(SeriesProblem::NotUtf8 { .. })));
    let doubled = problem_of(&[name, (b"x", b"1"), (b"x", b"2")]).expect_err("doubled");
    assert_eq!(
        doubled.to_string(),
        r#"invalid labels for series, labels {__name__="a", x="2"}, duplicated label x"#
    );
    let unsorted = problem_of(&[(b"z", b"1"), (b"y", b""), name]);
    assert_eq!(unsorted, Ok(labels(&[("__name__", "a"), ("z", "1")])));
}

fn v2_request(symbols: &[&str], series: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend([0x2a, series.len() as u8]);
    bytes.extend_from_slice(series);
    // Symbols may come last.
    for symbol in symbols {
        bytes.extend([0x22, symbol.len() as u8]);
        bytes.extend(symbol.as_bytes());
    }
    snap::raw::Encoder::new().compress_vec(&bytes).expect("small")
}

#[test]
fn references_of_2_0_are_checked() {
    let symbols = ["", "__name__", "a"];
    let sample = [0x12, 2, 0x10, 5];
    let with = |refs: &[u8], rest: &[u8]| {
        let series = [&[0x0a, refs.len() as u8][..], refs, rest].concat();
        let body = open(CONTENT_TYPE_V2, &v2_request(&symbols, &series)).expect("a block");
        let request = body.decode().expect("good protobuf");
        request.series().next().expect("a series").labels()
    };
    assert_eq!(with(&[1, 2], &sample), Ok(labels(&[("__name__", "a")])));
    assert_eq!(
        with(&[1, 3], &sample),
        Err(SeriesProblem::UnknownSymbol { reference: 3, symbols: 3 })
    );
    assert_eq!(with(&[1], &sample), Err(SeriesProblem::OddReferences { count: 1 }));
    assert!(matches!(with(&[1, 2], &[]), Err(SeriesProblem::Empty { .. })));
    // Metadata whose help is nowhere.
    assert!(with(&[1, 2], &[0x12, 2, 0x10, 5, 0x2a, 2, 0x18, 9]).is_err());
}

#[test]
fn the_created_timestamp_of_older_senders_is_taken() {
    let series = [0x0a, 2, 1, 2, 0x12, 4, 0x10, 5, 0x18, 3, 0x12, 2, 0x10, 6, 0x30, 4];
    let body =
        open(CONTENT_TYPE_V2, &v2_request(&["", "__name__", "a"], &series)).expect("a block");
    let request = body.decode().expect("good protobuf");
    let starts: Vec<i64> =
        request.series().next().expect("a series").samples.iter().map(|s| s.start_ms).collect();
    assert_eq!(starts, [3, 4]);
}

#[test]
fn faulty_histograms_are_told_apart() {
    type Spoil = fn(&mut Histogram);
    let spoilt: [(Spoil, &str); 9] = [
        (|h| h.schema = 9, "invalid schema"),
        (|h| h.positive_buckets.push(1.0), "spans need 4 buckets, have 5"),
        (|h| h.positive_spans[1].offset = -1, "negative span offset"),
        (|h| h.count = 22.0, "Count field is 22"),
        (|h| h.negative_buckets[0] = -1.0, "negative"),
        (|h| h.custom_values = vec![1.0], "must not have custom bounds"),
        (|h| (h.integer, h.count) = (false, -1.0), "negative"),
        (|h| (h.sum, h.count) = (f64::NAN, 20.0), "Count field is 20"),
        (|h| h.schema = CUSTOM_BUCKETS_SCHEMA, "must not have a zero count"),
    ];
    let custom: [(Spoil, &str); 4] = [
        (|h| h.custom_values = vec![1.0, 1.0], "must rise"),
        (|h| h.custom_values = vec![1.0, f64::INFINITY], "+Inf"),
        (|h| h.custom_values = vec![1.0], "too few"),
        (|h| h.custom_values = vec![f64::NAN, 1.0], "NaN"),
    ];
    let all = spoilt.iter().map(|s| (integer_histogram(), s));
    for (mut histogram, (spoil, words)) in all.chain(custom.iter().map(|s| (custom_histogram(), s)))
    {
        assert_eq!(check_histogram(&histogram), Ok(()));
        spoil(&mut histogram);
        let told = check_histogram(&histogram).expect_err(words).to_string();
        assert!(told.contains(words), "{told}: {words}");
        // The decoder comes to the same end, and to no other series' harm.
        let mut sent = sent();
        sent[1].histograms[0].2 = histogram;
        let body = with_series(&sent, encode_v2).expect("small");
        let body = open(CONTENT_TYPE_V2, &body).expect("a block");
        let request = body.decode().expect("good protobuf");
        let series = request.series().nth(1).expect("two series");
        assert!(series.histograms[0].histogram.is_err(), "{words}");
        assert!(series.histograms[1].histogram.is_ok(), "{words}");
    }
    let mut nan = integer_histogram();
    (nan.sum, nan.count) = (f64::NAN, 25.0);
    assert_eq!(check_histogram(&nan), Ok(()), "observations of NaN are in no bucket");
}

#[test]
fn malformed_protobuf_names_the_place() {
    for (bytes, reason) in [
        (&[0x0a, 5, 0x0a][..], "length beyond the message"),
        (&[0x0a][..], "truncated varint"),
        (&[0x0a, 4, 0x12, 2, 0x09, 1][..], "truncated fixed64"),
        (&[0x0a, 2, 0x12, 1][..], "length beyond the message"),
        (&[0x08, 1][..], "wrong wire type"),
        (&[0x0b][..], "unknown wire type"),
        (&[0x00, 1][..], "field number 0"),
        (&[0x80; 11][..], "varint overflows 64 bits"),
    ] {
        let body = snap::raw::Encoder::new().compress_vec(bytes).expect("small");
        let body = open(CONTENT_TYPE_V1, &body).expect("a block");
        match body.decode() {
            Err(RemoteWriteError::Malformed { reason: found, offset, .. }) => {
                assert_eq!(found, reason, "{bytes:?}");
                assert!(offset <= bytes.len());
            }
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
}

/// Mutations of valid requests: an answer and no panic, and whatever decodes can be asked for everything.
#[test]
fn damaged_requests_do_no_harm() {
    let sent = sent();
    let plain = |body: &[u8]| snap::raw::Decoder::new().decompress_vec(body).expect("ours");
    let v1 = with_series(&sent, |s| encode_v1(s, &[("a", &sent[0].metadata)])).expect("small");
    let v2 = with_series(&sent, encode_v2).expect("small");
    let seeds = [(CONTENT_TYPE_V1, plain(&v1)), (CONTENT_TYPE_V2, plain(&v2))];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n.max(1) as u64) as usize
    };
    for round in 0..8000 {
        let (content_type, seed) = &seeds[round % 2];
        let mut bytes = seed.clone();
        for _ in 0..1 + below(4) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] = below(256) as u8,
                1 => bytes[at] ^= 1 << below(8),
                2 => bytes.truncate(at + 1),
                _ => bytes.insert(at, [0x00, 0x7f, 0x80, 0xff][below(4)]),
            }
        }
        let body = snap::raw::Encoder::new().compress_vec(&bytes).expect("small");
        let body = open(content_type, &body).expect("a block");
        if let Ok(request) = body.decode() {
            for series in request.series() {
                let _ = series.labels();
                let _ = series.histograms.iter().filter(|h| h.histogram.is_ok()).count();
            }
        }
        // The block itself, damaged.
        let mut block = if round % 2 == 0 { v1.clone() } else { v2.clone() };
        let at = below(block.len());
        block[at] = below(256) as u8;
        if let Ok(body) = open(content_type, &block) {
            let _ = body.decode().map(|request| request.samples_count());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_samples_round_trip(
        values in prop::collection::vec((any::<i64>(), any::<i64>(), any::<u64>()), 0..20),
        pairs in prop::collection::btree_map("[a-zé_]{1,9}", ".{1,140}", 0..9),
    ) {
        let samples = values.iter().map(|(timestamp_ms, start_ms, bits)| FloatSample {
            timestamp_ms: *timestamp_ms,
            start_ms: *start_ms,
            value: f64::from_bits(*bits),
        });
        let samples: Vec<FloatSample> = samples.collect();
        let mut builder = Labels::from_pairs(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))).to_builder();
        builder.set("__name__", "m");
        let labels = builder.build();
        let series = [SeriesToWrite {
            labels: &labels,
            samples: &samples,
            histograms: &[],
            exemplars: &[],
            metadata: None,
        }];
        let v1 = encode_v1(&series, &[]).expect("small");
        let v2 = encode_v2(&series).expect("small");
        for (content_type, body) in [(CONTENT_TYPE_V1, v1), (CONTENT_TYPE_V2, v2)] {
            let body = open(content_type, &body).expect("a block");
            let request = body.decode().expect("a request");
            let found = request.series().next().expect("a series");
            if !(samples.is_empty() && content_type == CONTENT_TYPE_V2) {
                prop_assert_eq!(found.labels(), Ok(labels.clone()));
            }
            same_samples(found.samples, &samples, content_type == CONTENT_TYPE_V2);
        }
    }
}
