//! Requests through the router, with a `Ship` that answers as it is told.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request, StatusCode};
use pando_exposition::remote_write::{
    CONTENT_TYPE_V1, CONTENT_TYPE_V2, FloatSample, HistogramToWrite, SeriesToWrite, encode_v1,
    encode_v2,
};
use pando_model::{
    Exemplar, Histogram, Labels, Metadata, MetricType, SampleValue, SeriesKey, Span, TenantId,
};
use pando_runtime::{ManualClock, MetricsRegistry};
use pando_shipper::{Batch, Receipt, ShipError};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::{Receiver, ReceiverConfig, Ship};

/// Keeps what it is given, and answers as it is told.
struct Fake {
    batches: Mutex<Vec<Batch>>,
    /// `None`: all of a batch is stored.
    answer: Mutex<Option<Result<Receipt, ShipError>>>,
    /// A permit is needed for each answer.
    doors: Semaphore,
}

#[async_trait]
impl Ship for Fake {
    async fn ship(&self, batch: Batch) -> Result<Receipt, ShipError> {
        let stored = stored(&batch);
        self.batches.lock().push(batch);
        let _open = self.doors.acquire().await;
        self.answer.lock().clone().unwrap_or(Ok(stored))
    }
}

fn stored(batch: &Batch) -> Receipt {
    let is_histogram =
        |s: &&pando_shipper::ShipSample| matches!(s.value, SampleValue::Histogram(_));
    Receipt {
        accepted: batch.samples.len() as u64,
        histograms: batch.samples.iter().filter(is_histogram).count() as u64,
        exemplars: batch.samples.iter().map(|s| s.exemplars.len() as u64).sum(),
        ..Receipt::default()
    }
}

struct Bench {
    fake: Arc<Fake>,
    receiver: Receiver,
    clock: Arc<ManualClock>,
    metrics: MetricsRegistry,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Samples, histograms and exemplars that the headers say are written.
    fn written(&self) -> Option<[&str; 3]> {
        Some([
            self.header("X-Prometheus-Remote-Write-Samples-Written")?,
            self.header("X-Prometheus-Remote-Write-Histograms-Written")?,
            self.header("X-Prometheus-Remote-Write-Exemplars-Written")?,
        ])
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(ReceiverConfig::default(), 0)
    }

    /// With a limit of samples a second for tenant `limited`.
    fn with(config: ReceiverConfig, samples_per_s_max: u64) -> Self {
        let fake = Arc::new(Fake {
            batches: Mutex::default(),
            answer: Mutex::new(None),
            doors: Semaphore::new(100),
        });
        let limit = move |tenant: &TenantId| match tenant.as_str() {
            "limited" => samples_per_s_max,
            _ => 0,
        };
        let (clock, metrics) = (ManualClock::at(0), MetricsRegistry::new());
        let receiver =
            Receiver::with(config, fake.clone(), Arc::new(limit), clock.clone(), &metrics);
        Bench { fake, receiver, clock, metrics }
    }

    fn answer(&self, answer: Result<Receipt, ShipError>) {
        *self.fake.answer.lock() = Some(answer);
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.receiver.router().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let text = to_bytes(body, 1 << 20).await.expect("a body");
        let text = String::from_utf8(text.to_vec()).expect("text");
        Reply { status: parts.status, headers: parts.headers, text }
    }

    async fn post(&self, content_type: &str, body: Vec<u8>) -> Reply {
        self.send(request("t", content_type, body)).await
    }

    fn batch(&self) -> Batch {
        self.fake.batches.lock().pop().expect("something was shipped")
    }
}

fn request(tenant: &str, content_type: &str, body: Vec<u8>) -> Request<Body> {
    Request::post("/api/v1/write")
        .header("Content-Type", content_type)
        .header("Content-Encoding", "snappy")
        .header("Content-Length", body.len())
        .header("X-Scope-OrgID", tenant)
        .body(Body::from(body))
        .expect("a request")
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn float(timestamp_ms: i64, value: f64) -> FloatSample {
    FloatSample { timestamp_ms, start_ms: 7, value }
}

fn series<'a>(labels: &'a Labels, samples: &'a [FloatSample]) -> SeriesToWrite<'a> {
    SeriesToWrite { labels, samples, histograms: &[], exemplars: &[], metadata: None }
}

/// Two float samples of a good series.
fn good_v1() -> Vec<u8> {
    let up = labels(&[("__name__", "up"), ("job", "j"), ("instance", "i")]);
    encode_v1(&[series(&up, &[float(1, 1.0), float(2, 0.0)])], &[]).expect("small")
}

fn good_v2() -> Vec<u8> {
    let up = labels(&[("__name__", "up"), ("job", "j"), ("instance", "i")]);
    encode_v2(&[series(&up, &[float(1, 1.0), float(2, 0.0)])]).expect("small")
}

fn receipt(accepted: u64, refused: &[(&str, u64)]) -> Receipt {
    let refused = refused.iter().map(|(reason, n)| (reason.to_string(), *n)).collect();
    let messages = vec!["the first refusal".to_string()];
    Receipt { accepted, refused, messages, ..Receipt::default() }
}

#[tokio::test]
async fn everything_of_a_request_goes_into_the_batch() {
    let bench = Bench::new();
    let name = labels(&[("__name__", "rpc_seconds_bucket"), ("instance", "i"), ("job", "j")]);
    let trace =
        |t| Exemplar { labels: labels(&[("trace_id", "abc")]), value: 0.5, timestamp_ms: t };
    let histogram = Histogram {
        integer: true,
        schema: 0,
        count: 3.0,
        sum: 5.0,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![1.0, 2.0],
        ..Histogram::default()
    };
    let metadata = Metadata {
        metric_type: MetricType::Histogram,
        unit: "seconds".to_string(),
        help: "Time of a call".to_string(),
    };
    let one = SeriesToWrite {
        labels: &name,
        samples: &[float(1_000, 1.0), float(2_000, 2.0)],
        histograms: &[HistogramToWrite { timestamp_ms: 3_000, start_ms: 9, histogram: &histogram }],
        exemplars: &[trace(1_500), trace(9_000)],
        metadata: Some(&metadata),
    };
    let reply = bench.post(CONTENT_TYPE_V2, encode_v2(&[one]).expect("small")).await;
    assert_eq!((reply.status, reply.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(reply.written(), Some(["2", "1", "2"]));
    let batch = bench.batch();
    let tenant = TenantId::parse("t").expect("a good name");
    assert_eq!(batch.tenant, tenant);
    assert_eq!(batch.metadata, [("rpc_seconds".to_string(), metadata.clone())]);
    let seen: Vec<_> = batch
        .samples
        .iter()
        .map(|s| (s.timestamp_ms, s.start_ms, s.exemplars.len(), s.value.clone()))
        .collect();
    let value = SampleValue::Histogram(Arc::new(histogram.clone()));
    assert_eq!(
        seen,
        [
            (1_000, 7, 0, SampleValue::Float(1.0)),
            (2_000, 7, 1, SampleValue::Float(2.0)),
            (3_000, 9, 1, value),
        ]
    );
    assert!(batch.samples.iter().all(|s| s.labels == name));
    assert!(batch.samples.iter().all(|s| s.key == SeriesKey::of(&tenant, &name)));

    // 1.0 says no starts, and metadata beside the series; exemplars come as series of their own.
    let alone = SeriesToWrite { samples: &[], histograms: &[], metadata: None, ..one };
    let stranger = labels(&[("__name__", "stranger")]);
    let lost = SeriesToWrite { labels: &stranger, ..alone };
    let with = SeriesToWrite { exemplars: &[], metadata: None, ..one };
    let body = encode_v1(&[alone, with, lost], &[("rpc_seconds", &metadata)]).expect("small");
    let reply = bench.post(CONTENT_TYPE_V1, body).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.text);
    assert_eq!(reply.written(), None, "1.0 knows no such headers");
    let batch = bench.batch();
    assert_eq!(batch.metadata, [("rpc_seconds".to_string(), metadata)]);
    let exemplars: Vec<usize> = batch.samples.iter().map(|s| s.exemplars.len()).collect();
    assert_eq!(exemplars, [0, 0, 2], "the last sample of the series has both");
    assert!(batch.samples.iter().all(|s| s.start_ms == 0));
    let text = bench.metrics.encode().expect("encodes");
    assert!(text.contains("pando_receiver_exemplars_dropped_total 2"), "{text}");
    assert!(
        text.contains("pando_receiver_requests_total{version=\"v2\",code=\"204\"} 1"),
        "{text}"
    );
}

#[tokio::test]
async fn the_status_says_who_has_to_do_what() {
    let bench = Bench::new();
    let timeout =
        ShipError::Timeout { timeout: Duration::from_secs(1), last: "no leader".to_string() };
    let refused = receipt(1, &[("too_old", 1)]);
    for (answer, status) in [
        (Ok(receipt(2, &[])), 204),
        (Ok(refused), 400),
        (Err(ShipError::Unavailable("shard has no leader".to_string())), 503),
        (Err(timeout), 503),
    ] {
        for (content_type, body) in [(CONTENT_TYPE_V1, good_v1()), (CONTENT_TYPE_V2, good_v2())] {
            bench.answer(answer.clone());
            let reply = bench.post(content_type, body).await;
            assert_eq!(reply.status, status, "{answer:?} {content_type}");
            if status != 204 {
                assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
                assert!(reply.text.ends_with('\n') && reply.text.len() > 10, "{}", reply.text);
            }
        }
    }
    bench.answer(Ok(receipt(1, &[("too_old", 1)])));
    let reply = bench.post(CONTENT_TYPE_V2, good_v2()).await;
    assert_eq!(reply.text, "the first refusal\nsamples refused: too_old=1\n");
    assert_eq!(reply.written(), Some(["1", "0", "0"]));
    bench.answer(Err(ShipError::Unavailable("no leader".to_string())));
    let reply = bench.post(CONTENT_TYPE_V2, good_v2()).await;
    assert_eq!(reply.written(), Some(["0", "0", "0"]), "all of it comes again");
    // One shard has stored its part.
    let part = Receipt { accepted: 2, histograms: 1, exemplars: 3, ..Receipt::default() };
    bench.answer(Err(ShipError::Unavailable("no leader".to_string()).beside(part)));
    let reply = bench.post(CONTENT_TYPE_V2, good_v2()).await;
    assert_eq!((reply.status.as_u16(), reply.written()), (503, Some(["1", "1", "3"])));
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_before_anything_is_shipped() {
    let bench = Bench::new();
    let truncated = good_v1()[..10].to_vec();
    let garbage = snap::raw::Encoder::new().compress_vec(&[0xff; 40]).expect("small");
    // A preamble that promises 1 GiB.
    let bomb = vec![0x80, 0x80, 0x80, 0x80, 0x04, 0, 0, 0];
    for (content_type, body, status, says) in [
        (CONTENT_TYPE_V1, b"no snappy at all".to_vec(), 400, "snappy"),
        (CONTENT_TYPE_V1, truncated, 400, "snappy"),
        (CONTENT_TYPE_V1, garbage.clone(), 400, "malformed protobuf"),
        (CONTENT_TYPE_V2, garbage, 400, "malformed protobuf"),
        (CONTENT_TYPE_V1, bomb, 400, "decoded_bytes_max have=1073741824 limit=33554432"),
        ("application/json", good_v1(), 415, "unsupported media type"),
        ("application/x-protobuf;proto=io.prometheus.write.v3.Request", good_v1(), 415, "v3"),
        ("", good_v1(), 204, ""),
    ] {
        let reply = bench.post(content_type, body).await;
        assert_eq!(reply.status, status, "{content_type} {}", reply.text);
        assert!(reply.text.contains(says), "{}", reply.text);
    }
    let mut other = request("t", CONTENT_TYPE_V1, good_v1());
    other.headers_mut().insert("content-encoding", "zstd".parse().expect("a value"));
    assert_eq!(bench.send(other).await.status, 415);
    assert_eq!(bench.fake.batches.lock().len(), 1, "only the good one");
    let get = Request::get("/api/v1/write").body(Body::empty()).expect("a request");
    assert_eq!(bench.send(get).await.status, 405);
}

#[tokio::test]
async fn many_tiny_messages_are_a_bomb_too() {
    let mut config = ReceiverConfig::default();
    config.decoded.decoded_items_max = 1_000;
    let bench = Bench::with(config, 0);
    let up = labels(&[("__name__", "up")]);
    let all = vec![series(&up, &[]); 1_001];
    let reply = bench.post(CONTENT_TYPE_V1, encode_v1(&all, &[]).expect("small")).await;
    assert_eq!(reply.status, 400);
    assert!(reply.text.contains("decoded_items_max"), "{}", reply.text);
}

#[tokio::test]
async fn a_large_body_names_the_limit_with_or_without_a_length() {
    let bench = Bench::with(ReceiverConfig { body_bytes_max: 64, ..ReceiverConfig::default() }, 0);
    let long = "x".repeat(200);
    let one = labels(&[("__name__", &long), ("other", "value-without-repetition-0123456789")]);
    let body = encode_v1(&[series(&one, &[float(1, 1.0)])], &[]).expect("small");
    assert!(body.len() > 64);
    for with_length in [true, false] {
        let mut request = request("t", CONTENT_TYPE_V1, body.clone());
        if !with_length {
            request.headers_mut().remove("content-length");
        }
        let reply = bench.send(request).await;
        assert_eq!(reply.status, 400, "{}", reply.text);
        assert!(reply.text.contains("body_bytes_max") && reply.text.contains("limit=64"));
    }
    assert!(bench.fake.batches.lock().is_empty());
}

#[tokio::test]
async fn a_body_above_what_is_read_inline_gives_the_same() {
    let bench = Bench::new();
    let all: Vec<Labels> = (0..3_000)
        .map(|n| {
            let value = format!("{:016x}", (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            labels(&[("__name__", "many"), ("id", &value)])
        })
        .collect();
    let samples = [float(5, 1.0)];
    let all: Vec<_> = all.iter().map(|labels| series(labels, &samples)).collect();
    let body = encode_v2(&all).expect("small");
    assert!(body.len() > 64 << 10, "{}", body.len());
    let reply = bench.post(CONTENT_TYPE_V2, body).await;
    assert_eq!(reply.written(), Some(["3000", "0", "0"]));
    assert_eq!(bench.batch().samples.len(), 3_000);
}

#[tokio::test]
async fn bad_series_are_skipped_in_1_0_and_named_in_2_0_and_the_good_ones_are_stored() {
    let bench = Bench::new();
    let good = labels(&[("__name__", "up")]);
    let nameless = labels(&[("job", "j")]);
    let samples = [float(1, 1.0)];
    let all = [series(&nameless, &samples), series(&good, &samples)];
    let reply = bench.post(CONTENT_TYPE_V1, encode_v1(&all, &[]).expect("small")).await;
    assert_eq!(reply.status, 204);
    assert_eq!(bench.batch().samples.len(), 1);
    let reply = bench.post(CONTENT_TYPE_V2, encode_v2(&all).expect("small")).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.text, "invalid metric name or labels, got {job=\"j\"}\n");
    assert_eq!(reply.written(), Some(["1", "0", "0"]));
    assert_eq!(bench.batch().samples.len(), 1);
    let metrics = bench.metrics.encode().expect("encodes");
    assert!(metrics.contains("pando_receiver_series_invalid_total 1"), "{metrics}");
    assert!(metrics.contains("remote_write_invalid_labels_samples_total 1"), "{metrics}");

    // A wrong histogram fails the request in both versions, and nothing else is lost.
    let wrong = Histogram { schema: 99, ..Histogram::default() };
    let histograms = [HistogramToWrite { timestamp_ms: 4, start_ms: 0, histogram: &wrong }];
    let all = [SeriesToWrite { histograms: &histograms, ..series(&good, &samples) }];
    for (content_type, body) in
        [(CONTENT_TYPE_V1, encode_v1(&all, &[])), (CONTENT_TYPE_V2, encode_v2(&all))]
    {
        let reply = bench.post(content_type, body.expect("small")).await;
        assert_eq!(reply.status, 400);
        assert!(reply.text.contains("invalid schema") && reply.text.contains("timestamp_ms=4"));
        assert_eq!(bench.batch().samples.len(), 1);
    }
}

#[tokio::test]
async fn tenants_are_checked_and_rates_are_their_own() {
    let bench = Bench::with(ReceiverConfig::default(), 1);
    let reply = bench.send(request("../x", CONTENT_TYPE_V1, good_v1())).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(bench.fake.batches.lock().is_empty());

    // 10 s of a limit of 1 are saved up: five requests of two samples.
    for _ in 0..5 {
        assert_eq!(bench.send(request("limited", CONTENT_TYPE_V1, good_v1())).await.status, 204);
    }
    let reply = bench.send(request("limited", CONTENT_TYPE_V1, good_v1())).await;
    assert_eq!(reply.status, 429);
    assert!(reply.text.contains("samples_per_s_max=1"), "{}", reply.text);
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(bench.send(request("free", CONTENT_TYPE_V1, good_v1())).await.status, 204);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.send(request("limited", CONTENT_TYPE_V1, good_v1())).await.status, 204);
}

#[tokio::test]
async fn a_full_gate_is_503_and_opens_again() {
    let body = good_v1();
    let config = ReceiverConfig {
        body_bytes_max: 1_024,
        bodies_in_flight_bytes_max: 1_024,
        gate_wait: Duration::ZERO,
        ..ReceiverConfig::default()
    };
    let bench = Bench::with(config, 0);
    let closed = bench.fake.doors.acquire_many(100).await.expect("open");
    let first = bench.post(CONTENT_TYPE_V1, body.clone());
    tokio::pin!(first);
    // The first request gets as far as its shard, and stays there.
    while bench.fake.batches.lock().is_empty() {
        tokio::select! {
            _ = &mut first => panic!("the door is closed"),
            () = tokio::task::yield_now() => {}
        }
    }
    let reply = bench.post(CONTENT_TYPE_V1, body.clone()).await;
    assert_eq!(reply.status, 503);
    assert!(reply.text.contains("bodies_in_flight_bytes_max"), "{}", reply.text);
    drop(closed);
    assert_eq!(first.await.status, 204);
    assert_eq!(bench.post(CONTENT_TYPE_V1, body).await.status, 204);
    let metrics = bench.metrics.encode().expect("encodes");
    assert!(metrics.contains("pando_receiver_in_flight_bytes 0"), "{metrics}");
}

#[tokio::test]
async fn nothing_to_store_is_a_success_without_a_shipment() {
    let bench = Bench::new();
    let reply = bench.post(CONTENT_TYPE_V1, encode_v1(&[], &[]).expect("small")).await;
    assert_eq!(reply.status, 204);
    assert!(bench.fake.batches.lock().is_empty());
    let metadata = Metadata { help: "h".to_string(), ..Metadata::default() };
    let body = encode_v1(&[], &[("up", &metadata)]).expect("small");
    assert_eq!(bench.post(CONTENT_TYPE_V1, body).await.status, 204);
    assert_eq!(bench.batch().metadata.len(), 1, "metadata alone is worth shipping");
}

#[tokio::test]
async fn a_large_request_is_shipped_in_pieces_that_fit_a_write_block() {
    let bench = Bench::new();
    let long = "x".repeat(100_000);
    let all: Vec<Labels> =
        (0..50).map(|n| labels(&[("__name__", "m"), ("id", &format!("{n}{long}"))])).collect();
    let samples = [float(5, 1.0), float(6, 1.0)];
    let all: Vec<_> = all.iter().map(|labels| series(labels, &samples)).collect();
    let metadata = Metadata { help: "h".to_string(), ..Metadata::default() };
    bench.answer(Ok(receipt(10, &[("too_old", 1)])));
    let body = encode_v1(&all, &[("m", &metadata)]).expect("small");
    let reply = bench.post(CONTENT_TYPE_V1, body.clone()).await;
    assert_eq!(reply.status, 400);
    let batches = std::mem::take(&mut *bench.fake.batches.lock());
    assert_eq!(batches.len(), 3, "5 MB of labels");
    assert_eq!(batches.iter().map(|b| b.samples.len()).sum::<usize>(), 100);
    assert_eq!(batches.iter().map(|b| b.metadata.len()).sum::<usize>(), 1);
    assert!(reply.text.ends_with("samples refused: too_old=3\n"), "{}", reply.text);
    bench.answer(Err(ShipError::Unavailable("no leader".to_string())));
    assert_eq!(bench.post(CONTENT_TYPE_V1, body).await.status, 503);
}

#[tokio::test]
async fn a_series_beyond_what_a_write_block_takes_does_not_take_others_along() {
    let bench = Bench::new();
    let good = labels(&[("__name__", "up")]);
    let long = labels(&[("__name__", "up"), ("id", &"x".repeat((1 << 20) + 1))]);
    let names: Vec<String> = (0..2_000).map(|n| format!("n{n}")).collect();
    let many = names.iter().map(|name| (name.as_str(), "v")).chain([("__name__", "up")]);
    let many = Labels::from_pairs(many);
    let samples = [float(1, 1.0)];
    let all = [series(&long, &samples), series(&many, &samples), series(&good, &samples)];
    let reply = bench.post(CONTENT_TYPE_V1, encode_v1(&all, &[]).expect("small")).await;
    assert_eq!(reply.status, 400);
    assert!(reply.text.contains("labels=2001 labels_max=1024"), "{}", reply.text);
    assert!(reply.text.contains("bytes=1048577 label_bytes_max=1048576"), "{}", reply.text);
    assert_eq!(bench.batch().samples.len(), 1);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_gives_its_place_back() {
    let config = ReceiverConfig { body_timeout: Duration::from_millis(1), ..Default::default() };
    let bench = Bench::with(config, 0);
    let mut stuck = request("t", CONTENT_TYPE_V1, good_v1());
    *stuck.body_mut() =
        Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let reply = bench.send(stuck).await;
    assert_eq!(reply.status, 503, "{}", reply.text);
    let mut broken = request("t", CONTENT_TYPE_V1, good_v1());
    let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    *broken.body_mut() = Body::from_stream(futures::stream::iter([Err::<Vec<u8>, _>(cut)]));
    assert_eq!(bench.send(broken).await.status, 503);
    let metrics = bench.metrics.encode().expect("encodes");
    assert!(metrics.contains("pando_receiver_in_flight_bytes 0"), "{metrics}");
}

#[test]
fn every_fault_of_a_configuration_is_said() {
    assert!(ReceiverConfig::default().validate().is_empty());
    let config = ReceiverConfig {
        body_bytes_max: 0,
        decoded_in_flight_bytes_max: 1,
        ..ReceiverConfig::default()
    };
    assert_eq!(config.validate().len(), 2);
}
