//! One target, scraped at times that the tests choose, by way of a real HTTP exchange.

use std::io::Write as _;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::{Body, Bytes};
use axum::http::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use pando_model::{Metadata, MetricType, SampleValue, SeriesKey, TenantId, is_stale_nan};
use pando_runtime::{ManualClock, MetricsRegistry};
use pando_shipper::{Batch, ShipSample};
use parking_lot::Mutex;

use crate::client::HttpClient;
use crate::metrics::AgentMetrics;
use crate::outbox::{Outbox, OutboxConfig};
use crate::scrape::scraper::{ScrapeContext, Scraper, TargetStatus};
use crate::scrape::settings::ScrapeSettings;
use crate::testing::{Exporter, config, text};

const NOW_MS: i64 = 1_700_000_000_000;

struct Bench {
    exporter: Exporter,
    scraper: Scraper,
    settings: Arc<ArcSwap<ScrapeSettings>>,
    outbox: Outbox,
    status: Arc<Mutex<TargetStatus>>,
    registry: MetricsRegistry,
    clock: Arc<ManualClock>,
    at_ms: i64,
}

impl Bench {
    /// A target of a scrape config with these keys, and `global` with those.
    async fn new(global: &str, keys: &str) -> Self {
        let exporter = Exporter::start().await;
        let file = format!(
            "global: {{{global}}}\nscrape_configs:\n- job_name: j\n  scrape_interval: 15s\n  {}\n  \
             static_configs: [{{targets: ['{}'], labels: {{zone: z}}}}]\n",
            keys.replace('\n', "\n  "),
            exporter.address
        );
        let file = config(&file);
        let scrape = file.scrape_configs[0].clone();
        let set = crate::targets::targets(&scrape, scrape.static_configs());
        let clock = ManualClock::at(NOW_MS);
        let registry = MetricsRegistry::new();
        let shared: pando_runtime::SharedClock = clock.clone();
        let metrics = AgentMetrics::register(&registry, &shared);
        let limits = OutboxConfig {
            bytes_max: 1 << 30,
            in_flight_max: 1,
            gather: std::time::Duration::ZERO,
        };
        let outbox = Outbox::new(limits, metrics.clone());
        let context = ScrapeContext { clock: clock.clone(), outbox: outbox.clone(), metrics };
        let external = file.global.external_labels.into_iter().collect();
        let client = HttpClient::new(scrape.http.clone(), clock.clone());
        let tenant = TenantId::default_tenant();
        let settings = ScrapeSettings::new(scrape, external, tenant, client);
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let status = Arc::new(Mutex::new(TargetStatus::default()));
        let target = set.active[0].clone();
        let scraper = Scraper::new(target, settings.clone(), context, status.clone());
        Bench { exporter, scraper, settings, outbox, status, registry, clock, at_ms: NOW_MS }
    }

    /// Lets the scrape config be another one, with these keys, and these external labels.
    fn reload(&self, keys: &str, external: &[(&str, &str)]) {
        let scrape = config(&format!("scrape_configs:\n- job_name: j\n  {keys}\n"));
        let scrape = scrape.scrape_configs[0].clone();
        let external = external.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let client = HttpClient::new(scrape.http.clone(), ManualClock::at(NOW_MS));
        let tenant = TenantId::default_tenant();
        let settings = ScrapeSettings::new(scrape, external, tenant, client);
        self.settings.store(Arc::new(settings));
    }

    async fn scrape_batches(&mut self) -> Vec<Batch> {
        self.at_ms += 15_000;
        self.scraper.scrape(self.at_ms).await;
        self.outbox.take_all()
    }

    /// The samples of the next scrape, without those of the agent's own series.
    async fn scrape(&mut self) -> Vec<ShipSample> {
        let mut samples = self.scrape_all().await;
        samples.retain(|s| !is_report(s.labels.metric_name()));
        samples
    }

    async fn scrape_all(&mut self) -> Vec<ShipSample> {
        let batches = self.scrape_batches().await;
        batches.into_iter().flat_map(|batch| batch.samples).collect()
    }

    /// The next scrape in short: `name value`, and `@offset` where the time is not the scrape's.
    async fn lines(&mut self) -> Vec<String> {
        let samples = self.scrape().await;
        let mut lines: Vec<String> = samples.iter().map(|s| short(s, self.at_ms)).collect();
        lines.sort();
        lines
    }

    /// The agent's own series of the next scrape: name and value.
    async fn report(&mut self) -> Vec<(String, f64)> {
        let samples = self.scrape_all().await.into_iter();
        let report = samples.filter(|s| is_report(s.labels.metric_name()));
        report.map(|s| (s.labels.metric_name().to_string(), value(&s))).collect()
    }

    fn error(&self) -> String {
        self.status.lock().error.clone()
    }

    /// The next scrape fails: nothing of it is kept. Returns why.
    async fn failure(&mut self) -> String {
        let samples = self.scrape_all().await;
        let kept = samples.iter().filter(|s| !is_report(s.labels.metric_name()));
        assert!(kept.clone().all(|s| is_stale_nan(value(s))), "{:?}", kept.collect::<Vec<_>>());
        let up = samples.iter().find(|s| s.labels.metric_name() == "up").map(value);
        assert_eq!(up, Some(0.0));
        self.error()
    }

    fn counter(&self, name: &str) -> u64 {
        let text = self.registry.encode().expect("encodes");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.expect("is registered").parse().expect("a number")
    }
}

fn is_report(name: &str) -> bool {
    name == "up" || name.starts_with("scrape_")
}

fn value(sample: &ShipSample) -> f64 {
    match &sample.value {
        SampleValue::Float(value) => *value,
        SampleValue::Histogram(_) => panic!("nobody wrote a histogram"),
    }
}

fn short(sample: &ShipSample, at_ms: i64) -> String {
    let name = sample.labels.metric_name();
    let value = value(sample);
    let value = if is_stale_nan(value) { "stale".to_string() } else { value.to_string() };
    match sample.timestamp_ms - at_ms {
        0 => format!("{name} {value}"),
        offset => format!("{name} {value} @{offset}"),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn gzipped(body: Vec<u8>) -> Response<Body> {
    let response = Response::builder().header("content-type", "text/plain");
    response.header("content-encoding", "gzip").body(body.into()).expect("response")
}

#[tokio::test]
async fn series_that_vanish_go_stale_and_a_failed_scrape_ends_all() {
    let mut bench = Bench::new("", "").await;
    bench.exporter.say("a 1\nb 2\nc 3\n");
    assert_eq!(bench.lines().await, ["a 1", "b 2", "c 3"]);
    bench.exporter.say("a 1\nc 4\n");
    assert_eq!(bench.lines().await, ["a 1", "b stale", "c 4"]);
    assert_eq!(bench.lines().await, ["a 1", "c 4"], "a series goes stale once");
    bench
        .exporter
        .answer(|| Response::builder().status(500).body(Body::from("a 1\n")).expect("response"));
    assert_eq!(bench.lines().await, ["a stale", "c stale"]);
    assert_eq!(bench.error(), "server returned HTTP status 500 Internal Server Error");
    assert!(bench.lines().await.is_empty());
    bench.exporter.say("c 5\nb 6\n");
    assert_eq!(bench.lines().await, ["b 6", "c 5"]);
    assert_eq!(bench.error(), "");
}

#[tokio::test]
async fn the_agents_own_series_say_how_it_went() {
    let keys = "extra_scrape_metrics: true\nsample_limit: 10\nmetric_relabel_configs:\n\
                - {source_labels: [__name__], regex: drop.*, action: drop}";
    let mut bench = Bench::new("", keys).await;
    bench.exporter.say("a 1\nb 2\ndrop_1 3\n");
    let report = |up: f64, scraped: f64, kept: f64, added: f64, bytes: f64| {
        [
            ("up", up),
            ("scrape_duration_seconds", 0.0),
            ("scrape_samples_scraped", scraped),
            ("scrape_samples_post_metric_relabeling", kept),
            ("scrape_series_added", added),
            ("scrape_timeout_seconds", 10.0),
            ("scrape_sample_limit", 10.0),
            ("scrape_body_size_bytes", bytes),
        ]
        .map(|(name, value)| (name.to_string(), value))
    };
    assert_eq!(bench.report().await, report(1.0, 3.0, 2.0, 2.0, 17.0));
    assert_eq!(bench.report().await, report(1.0, 3.0, 2.0, 0.0, 17.0));
    bench.exporter.say("a 1\nb 2\nx 3\n");
    assert_eq!(bench.report().await, report(1.0, 3.0, 3.0, 1.0, 12.0));
    bench.exporter.say("a 1\nb\n");
    let failed = bench.report().await;
    assert_eq!((failed[0].1, failed[7].1), (0.0, 6.0));
    let up = bench.scrape_all().await.pop().expect("report");
    assert_eq!(up.labels.value("zone"), "z");
    assert_eq!(up.labels.value("job"), "j");
    assert_eq!(up.labels.value("instance"), bench.exporter.address.to_string());
}

#[tokio::test]
async fn series_with_times_of_their_own_do_not_go_stale_unless_asked() {
    let mut bench = Bench::new("", "").await;
    let then = |at_ms: i64| move || text(format!("own 1 {at_ms}\nplain 2\n"));
    bench.exporter.answer(then(NOW_MS - 5_000));
    assert_eq!(bench.lines().await, ["own 1 @-20000", "plain 2"]);
    bench.exporter.say("other 1\n");
    assert_eq!(bench.lines().await, ["other 1", "plain stale"]);

    let mut tracking = Bench::new("", "track_timestamps_staleness: true").await;
    tracking.exporter.answer(then(NOW_MS));
    assert_eq!(tracking.lines().await, ["own 1 @-15000", "plain 2"]);
    tracking.exporter.say("");
    assert_eq!(tracking.lines().await, ["own stale", "plain stale"]);

    let mut ignoring = Bench::new("", "honor_timestamps: false").await;
    ignoring.exporter.answer(then(NOW_MS - 5_000));
    assert_eq!(ignoring.lines().await, ["own 1", "plain 2"]);
    ignoring.exporter.say("plain 2\n");
    assert_eq!(ignoring.lines().await, ["own stale", "plain 2"]);
}

#[tokio::test]
async fn samples_far_ahead_and_samples_said_twice_are_dropped_alone() {
    let mut bench = Bench::new("", "").await;
    let far = NOW_MS + 10 * 60_000 + 1;
    bench.exporter.answer(move || text(format!("far 1 {far}\nnear 2 {}\na 3\na 4\n", far - 1)));
    assert_eq!(bench.lines().await, ["a 3", "near 2 @585000"]);
    assert_eq!(bench.counter("prometheus_target_scrapes_sample_out_of_bounds_total"), 1);
    assert_eq!(bench.counter("prometheus_target_scrapes_sample_duplicate_timestamp_total"), 1);
    // With times of their own, one series may have many samples.
    let then = NOW_MS;
    bench.exporter.answer(move || text(format!("a 1 {}\na 2 {then}\n", then - 1_000)));
    let samples = bench.scrape().await;
    let values: Vec<f64> = samples.iter().map(value).filter(|v| !is_stale_nan(*v)).collect();
    assert_eq!(values, [1.0, 2.0]);
}

#[tokio::test]
async fn a_bomb_and_an_endless_body_end_at_the_limit() {
    let keys = "body_size_limit: 1MB\nextra_scrape_metrics: true";
    let mut bench = Bench::new("", keys).await;
    bench.exporter.say("a 1\n");
    bench.scrape().await;
    let bomb = gzip(&vec![b'\n'; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    bench.exporter.answer(move || gzipped(bomb.clone()));
    assert_eq!(bench.failure().await, "body size limit exceeded");
    assert_eq!(bench.report().await.pop(), Some(("scrape_body_size_bytes".to_string(), -1.0)));
    bench.exporter.answer(|| {
        let chunk = Bytes::from(vec![b'\n'; 64 << 10]);
        let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
        text(Body::from_stream(endless))
    });
    assert_eq!(bench.failure().await, "body size limit exceeded");
    assert_eq!(bench.counter("prometheus_target_scrapes_exceeded_body_size_limit_total"), 3);
    bench.exporter.say("a 2\n");
    assert_eq!(bench.lines().await, ["a 2"]);
}

#[tokio::test]
async fn compressed_bodies_are_read_whole_or_not_at_all() {
    let mut bench = Bench::new("", "").await;
    let body = gzip(b"a 1\nb 2\n");
    let (whole, torn) = (body.clone(), body[..body.len() - 9].to_vec());
    bench.exporter.answer(move || gzipped(whole.clone()));
    assert_eq!(bench.lines().await, ["a 1", "b 2"]);
    bench.exporter.answer(move || gzipped(torn.clone()));
    assert!(bench.failure().await.starts_with("body cannot be read: gzip:"), "{}", bench.error());
    bench.exporter.answer(|| gzipped(b"no gzip at all".to_vec()));
    assert!(bench.failure().await.starts_with("body cannot be read: gzip:"), "{}", bench.error());
}

#[tokio::test]
async fn garbage_is_refused_as_a_whole() {
    let mut bench = Bench::new("", "").await;
    bench.exporter.say("a 1\nb 2\n");
    bench.scrape().await;
    bench.exporter.say("a 2\nb 3\nc\n");
    let why = bench.failure().await;
    assert!(why.starts_with("line=3: "), "{why}");
    bench.exporter.answer(|| text(vec![0xff, 0x00, 0xfe]));
    bench.failure().await;
    bench.exporter.say("a 3\nb 4\n");
    assert_eq!(bench.lines().await, ["a 3", "b 4"], "it comes back as if nothing had been");
    bench.exporter.answer(|| {
        let page = Response::builder().header("content-type", "text/html");
        page.body(Body::from("a 1\n")).expect("response")
    });
    assert!(bench.failure().await.starts_with("received unsupported Content-Type"));
}

#[tokio::test]
async fn an_answer_without_a_type_needs_a_fallback() {
    let untyped = || Response::builder().body(Body::from("a 1\n")).expect("response");
    let mut bench = Bench::new("", "").await;
    bench.exporter.answer(untyped);
    assert!(bench.failure().await.contains("blank Content-Type"));
    let mut fallback = Bench::new("", "fallback_scrape_protocol: PrometheusText0.0.4").await;
    fallback.exporter.answer(untyped);
    assert_eq!(fallback.lines().await, ["a 1"]);
}

#[tokio::test]
async fn every_limit_fails_the_whole_scrape() {
    let line = "name{one=\"1\",longlabel=\"2\",three=\"longvalue\"} 1\n";
    for (keys, why) in [
        ("sample_limit: 1", "sample limit exceeded"),
        ("label_limit: 5", "label_limit exceeded (metric: name, number of labels: 7, limit: 5)"),
        (
            "label_name_length_limit: 8",
            "label_name_length_limit exceeded (metric: name, label name: longlabel, length: 9, limit: 8)",
        ),
        (
            "label_value_length_limit: 8",
            "label_value_length_limit exceeded (metric: name, label name: instance, value: ",
        ),
    ] {
        let mut bench = Bench::new("", keys).await;
        bench.exporter.answer(move || text(format!("{line}other 2\n")));
        let found = bench.failure().await;
        assert!(found.starts_with(why), "{found}");
    }
}

#[tokio::test]
async fn samples_over_the_limit_are_counted_and_stale_markers_pass_it() {
    let mut bench = Bench::new("", "sample_limit: 2").await;
    bench.exporter.say("a 1\nb 2\n");
    assert_eq!(bench.lines().await, ["a 1", "b 2"]);
    bench.exporter.say("c 1\nd 2\n");
    assert_eq!(bench.lines().await, ["a stale", "b stale", "c 1", "d 2"]);
    bench.exporter.say("c 1\nd 2\ne 3\n");
    let report = bench.report().await;
    assert_eq!((report[0].1, report[2].1, report[3].1), (0.0, 3.0, 3.0));
    assert_eq!(bench.counter("prometheus_target_scrapes_exceeded_sample_limit_total"), 1);
}

#[tokio::test]
async fn labels_come_from_line_target_rules_and_configuration() {
    let keys = "metric_relabel_configs:\n\
                - {source_labels: [code], regex: '5..', target_label: class, replacement: bad}\n\
                - {regex: code, action: labeldrop}";
    let mut bench = Bench::new("external_labels: {cluster: c, zone: never}", keys).await;
    bench.exporter.say("a{code=\"503\",job=\"theirs\"} 1\n");
    let sample = bench.scrape().await.pop().expect("one");
    let address = bench.exporter.address.to_string();
    let expected = [
        ("__name__", "a"),
        ("class", "bad"),
        ("cluster", "c"),
        ("exported_job", "theirs"),
        ("instance", &address),
        ("job", "j"),
        ("zone", "z"),
    ];
    assert_eq!(sample.labels, pando_model::Labels::from_pairs(expected));
    assert_eq!(sample.key, SeriesKey::of(&TenantId::default_tenant(), &sample.labels));
    let up = bench.scrape_all().await.into_iter().find(|s| s.labels.metric_name() == "up");
    assert_eq!(up.expect("up").labels.value("cluster"), "c");
}

#[tokio::test]
async fn two_lines_that_become_one_series_are_one_series() {
    let rule = "metric_relabel_configs:\n- {regex: id, action: labeldrop}";
    let mut bench = Bench::new("", rule).await;
    bench.exporter.say("a{id=\"1\"} 1\na{id=\"2\"} 2\n");
    assert_eq!(bench.lines().await, ["a 1"]);
    bench.exporter.say("a{id=\"2\"} 3\n");
    assert_eq!(bench.lines().await, ["a 3"], "the series has not vanished");
    bench.exporter.say("");
    assert_eq!(bench.lines().await, ["a stale"]);
}

#[tokio::test]
async fn exemplars_come_once_and_metadata_when_it_is_new() {
    let mut bench = Bench::new("", "").await;
    let body = |value: u32, id: &str| {
        format!(
            "# TYPE a counter\n# HELP a Things.\na_total {value} # {{trace_id=\"{id}\"}} 0.5\n# EOF\n"
        )
    };
    let answer = |body: String| {
        move || {
            let response = Response::builder();
            let response = response.header("content-type", "application/openmetrics-text");
            response.body(Body::from(body.clone())).expect("response")
        }
    };
    let of_a = |batches: &[Batch]| {
        let mut samples = batches[0].samples.iter();
        let sample = samples.find(|s| s.labels.metric_name() == "a_total").expect("a").clone();
        (sample.exemplars, batches[0].metadata.clone())
    };
    bench.exporter.answer(answer(body(1, "x")));
    let (exemplars, metadata) = of_a(&bench.scrape_batches().await);
    assert_eq!(exemplars.len(), 1);
    assert_eq!((exemplars[0].value, exemplars[0].timestamp_ms), (0.5, bench.at_ms));
    let help = "Things.".to_string();
    let said = Metadata { metric_type: MetricType::Counter, unit: String::new(), help };
    assert_eq!(metadata, [("a".to_string(), said)]);
    bench.exporter.answer(answer(body(2, "x")));
    let (exemplars, metadata) = of_a(&bench.scrape_batches().await);
    assert!(exemplars.is_empty() && metadata.is_empty());
    bench.exporter.answer(answer(body(3, "y")));
    let (exemplars, _) = of_a(&bench.scrape_batches().await);
    assert_eq!(exemplars.len(), 1);
}

#[tokio::test]
async fn a_target_is_asked_as_prometheus_asks() {
    let keys = "metrics_path: /probe\nparams: {module: [a, b], 'x y': ['&']}\nscrape_timeout: 2500ms\n\
                authorization: {credentials: secret}\nhttp_headers: {X-Own: {values: [v]}}";
    let mut bench = Bench::new("", keys).await;
    bench.scrape().await;
    let (uri, headers) = bench.exporter.last_request();
    assert_eq!(uri.to_string(), "/probe?module=a&module=b&x+y=%26");
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("none");
    assert!(header("accept").starts_with("application/openmetrics-text;version=1.0.0;"));
    assert_eq!(header("accept-encoding"), "gzip");
    assert!(header("user-agent").starts_with("Pando/"));
    assert_eq!(header("x-prometheus-scrape-timeout-seconds"), "2.5");
    assert_eq!(header("authorization"), "Bearer secret");
    assert_eq!(header("x-own"), "v");
    let mut plain = Bench::new("", "enable_compression: false").await;
    plain.scrape().await;
    assert_eq!(plain.exporter.last_request().1["accept-encoding"], "identity");
}

#[tokio::test]
async fn a_target_that_does_not_answer_in_time_is_down() {
    let mut bench = Bench::new("", "scrape_timeout: 50ms").await;
    bench.exporter.answer(|| {
        let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        text(Body::from_stream(never))
    });
    assert!(bench.failure().await.ends_with("context deadline exceeded"), "{}", bench.error());
}

#[tokio::test]
async fn redirects_are_followed_unless_the_config_says_no() {
    let answer = || {
        let moved = Response::builder().status(302).header("location", "/metrics?there");
        moved.body(Body::empty()).expect("response")
    };
    let mut bench = Bench::new("", "follow_redirects: false").await;
    bench.exporter.answer(answer);
    assert_eq!(bench.failure().await, "server returned HTTP status 302 Found");
    let mut following = Bench::new("", "").await;
    let asked = Arc::new(std::sync::atomic::AtomicBool::new(false));
    following.exporter.answer(move || {
        match asked.swap(true, std::sync::atomic::Ordering::SeqCst) {
            false => answer(),
            true => text("a 1\n"),
        }
    });
    assert_eq!(following.lines().await, ["a 1"]);
    assert_eq!(following.exporter.last_request().0, "/metrics?there");
}

#[tokio::test]
async fn a_forced_error_asks_nobody_and_ends_all() {
    let mut bench = Bench::new("", "").await;
    bench.exporter.say("a 1\n");
    bench.scrape().await;
    let asked = bench.exporter.requests();
    *bench.settings.load().forced_error.lock() = Some("target_limit exceeded".into());
    assert_eq!(bench.lines().await, ["a stale"]);
    assert_eq!(bench.error(), "target_limit exceeded");
    assert_eq!(bench.exporter.requests(), asked);
}

#[tokio::test]
async fn a_target_that_has_gone_ends_its_own_series_too() {
    let mut bench = Bench::new("", "").await;
    bench.exporter.say("a 1\n");
    bench.scrape().await;
    bench.scraper.end(bench.at_ms + 15_000);
    let batches = bench.outbox.take_all();
    let samples: Vec<_> = batches.iter().flat_map(|batch| &batch.samples).collect();
    assert_eq!(samples.len(), 6);
    assert!(
        samples.iter().all(|s| is_stale_nan(value(s)) && s.timestamp_ms == bench.at_ms + 15_000)
    );
}

#[tokio::test]
async fn names_that_a_legacy_config_does_not_take_fail_the_scrape() {
    let body = "{\"a.b\"} 1\n";
    let mut bench = Bench::new("", "").await;
    bench.exporter.say(body);
    assert_eq!(bench.lines().await, ["a.b 1"]);
    let mut legacy = Bench::new("", "metric_name_validation_scheme: legacy").await;
    legacy.exporter.say(body);
    assert!(legacy.failure().await.starts_with("invalid metric name or label names"));
}

#[tokio::test]
async fn a_large_scrape_is_shipped_in_parts_and_loses_nothing() {
    let mut bench = Bench::new("", "").await;
    let body: String = (0..120_000).map(|i| format!("m{{i=\"{i}\"}} {i}\n")).collect();
    bench.exporter.answer(move || text(body.clone()));
    let batches = bench.scrape_batches().await;
    assert_eq!(batches.len(), 2);
    assert_eq!(batches.iter().map(|batch| batch.samples.len()).sum::<usize>(), 120_005);
}

#[tokio::test]
async fn what_a_reload_drops_goes_stale_and_the_rest_goes_on() {
    let mut bench = Bench::new("", "").await;
    bench.exporter.say("a 1\nb 2\n");
    assert_eq!(bench.lines().await, ["a 1", "b 2"]);
    bench.reload(
        "metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]",
        &[],
    );
    assert_eq!(bench.lines().await, ["a 1", "b stale"]);
    assert_eq!(bench.lines().await, ["a 1"]);
    // A scrape that fails ends all of them, as ever.
    bench.reload("sample_limit: 1", &[]);
    assert_eq!(bench.failure().await, "sample limit exceeded");
    assert!(bench.lines().await.is_empty());
}

#[tokio::test]
async fn series_under_other_external_labels_are_other_series() {
    let mut bench = Bench::new("", "").await;
    bench.exporter.say("a 1\n");
    bench.scrape_all().await;
    bench.reload("", &[("cluster", "c")]);
    let samples = bench.scrape_all().await;
    let ended = samples.iter().filter(|s| is_stale_nan(value(s)));
    let mut ended: Vec<&str> = ended.map(|s| s.labels.metric_name()).collect();
    ended.sort_unstable();
    let report = ["scrape_duration_seconds", "scrape_samples_post_metric_relabeling"];
    let report = [&["a"][..], &report, &["scrape_samples_scraped", "scrape_series_added", "up"]];
    assert_eq!(ended, report.concat());
    let alive = samples.iter().filter(|s| !is_stale_nan(value(s)));
    assert!(alive.clone().all(|s| s.labels.value("cluster") == "c"), "{samples:?}");
    assert_eq!(alive.count(), 6);
}

#[tokio::test]
async fn metadata_that_a_target_has_dropped_is_not_shipped_again() {
    let mut bench = Bench::new("", "").await;
    bench.exporter.say("# HELP a A.\n# TYPE a gauge\na 1\n# HELP b B.\nb 1\n");
    let families = |batches: &[Batch]| -> Vec<String> {
        batches[0].metadata.iter().map(|(family, _)| family.clone()).collect()
    };
    assert_eq!(families(&bench.scrape_batches().await), ["a", "b"]);
    assert_eq!(bench.status.lock().metadata, (2, 6));
    bench.exporter.say("# HELP a A.\n# TYPE a gauge\na 1\n");
    assert!(families(&bench.scrape_batches().await).is_empty());
    bench.clock.advance(std::time::Duration::from_secs(600));
    assert_eq!(families(&bench.scrape_batches().await), ["a"]);
    assert_eq!(bench.status.lock().metadata, (1, 3));
}
