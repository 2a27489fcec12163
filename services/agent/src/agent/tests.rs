//! Whole agents on loopback: real time, short intervals, a sink that remembers.

use std::time::Duration;

use pando_model::{NodeId, is_stale_nan};
use pando_runtime::SystemClock;
use pando_runtime::disk::SimDisk;
use pando_shipper::{BufferConfig, ShipSample};

use super::*;
use crate::testing::{Exporter, FakeSink, FixedRoster, config};

struct Bench {
    agent: AgentHandle,
    sink: Arc<FakeSink>,
    roster: Arc<FixedRoster>,
    tasks: Tasks,
    disk: SimDisk,
    metrics: MetricsRegistry,
}

fn start(scraping: &Config) -> Bench {
    let (sink, roster, disk) = (FakeSink::new(), FixedRoster::alone(), SimDisk::new());
    let (tasks, metrics) = (Tasks::new(), MetricsRegistry::new());
    let parts = AgentParts {
        sink: sink.clone(),
        roster: roster.clone(),
        clock: SystemClock::shared(),
        tasks: tasks.clone(),
        metrics: metrics.clone(),
        disk: disk.shared(),
    };
    let buffer = BufferConfig { folder: "/buffer".into(), bytes_max: 1 << 20 };
    // A batch is a scrape.
    let gather = Duration::ZERO;
    let settings = AgentConfig { gather, ..AgentConfig::new(TenantId::default_tenant(), buffer) };
    let agent = Agent::start(settings, scraping, parts).expect("starts");
    Bench { agent, sink, roster, tasks, disk, metrics }
}

/// A job `j` with these targets, scraped every 100 ms.
fn job(targets: &[&Exporter], keys: &str) -> Config {
    let targets: Vec<String> = targets.iter().map(|e| format!("'{}'", e.address)).collect();
    let targets = targets.join(", ");
    config(&format!(
        "scrape_configs:\n- {{job_name: j, scrape_interval: 100ms, scrape_timeout: 100ms, {keys} \
         static_configs: [{{targets: [{targets}]}}]}}\n"
    ))
}

fn is(sample: &ShipSample, name: &str, exporter: &Exporter, stale: bool) -> bool {
    let value = match &sample.value {
        pando_model::SampleValue::Float(value) => *value,
        pando_model::SampleValue::Histogram(_) => return false,
    };
    sample.labels.metric_name() == name
        && sample.labels.value("instance") == exporter.address.to_string()
        && is_stale_nan(value) == stale
}

/// Waits until `is_so`.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn stale_markers(bench: &Bench) -> usize {
    let batches = bench.sink.batches();
    let samples = batches.iter().flat_map(|batch| &batch.samples);
    samples.filter(|sample| sample.value.is_stale()).count()
}

#[tokio::test]
async fn targets_are_scraped_shown_and_shipped() {
    let exporter = Exporter::start().await;
    exporter.say("a 1\n");
    let bench = start(&job(&[&exporter], ""));
    bench.sink.wait_for_sample(|s| is(s, "a", &exporter, false)).await;
    bench.sink.wait_for_sample(|s| is(s, "up", &exporter, false)).await;
    bench.sink.wait(|batches| batches.len() >= 2).await;
    let shown = bench.agent.targets("", "");
    let target = &shown["activeTargets"][0];
    let instance = exporter.address.to_string();
    assert_eq!(target["labels"], serde_json::json!({"instance": instance, "job": "j"}));
    assert_eq!(target["discoveredLabels"]["__address__"], instance);
    assert_eq!(target["scrapeUrl"], format!("http://{instance}/metrics"));
    assert_eq!(target["globalUrl"], target["scrapeUrl"]);
    assert_eq!(target["scrapePool"], "j");
    assert_eq!(target["health"], "up");
    assert_eq!(target["lastError"], "");
    assert_eq!(
        (&target["scrapeInterval"], &target["scrapeTimeout"]),
        (&"100ms".into(), &"100ms".into())
    );
    assert!(target["lastScrapeDuration"].is_f64());
    assert!(target["lastScrape"].as_str().expect("text").ends_with('Z'));
    assert_eq!(shown["droppedTargetCounts"], serde_json::json!({"j": 0}));
    assert_eq!(bench.agent.targets("dropped", "")["activeTargets"], serde_json::json!([]));
    assert_eq!(bench.agent.targets("any", "other")["activeTargets"], serde_json::json!([]));
    let metrics = bench.metrics.encode().expect("encodes");
    for line in [
        "prometheus_target_scrape_pool_targets{scrape_job=\"j\"} 1",
        "prometheus_sd_discovered_targets{name=\"scrape\",config=\"j\"} 1",
        "prometheus_sd_refresh_failures_total{mechanism=\"dns\"} 0",
        "pando_agent_scrapes_total ",
        "prometheus_target_interval_length_seconds_count{interval=\"100ms\"}",
        "prometheus_target_interval_length_seconds{interval=\"100ms\",quantile=\"0.9\"}",
        "prometheus_target_sync_length_seconds_count{scrape_job=\"j\"} 1",
        "prometheus_target_sync_failed_total{scrape_job=\"j\"} 0",
        "prometheus_target_metadata_cache_entries{scrape_job=\"j\"} ",
        "prometheus_target_scrapes_sample_out_of_order_total 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn times_lie_on_the_grid_of_the_interval() {
    let exporter = Exporter::start().await;
    let bench = start(&job(&[&exporter], ""));
    bench.sink.wait(|batches| batches.len() >= 3).await;
    let batches = bench.sink.batches();
    let times: Vec<i64> = batches.iter().map(|batch| batch.samples[0].timestamp_ms).collect();
    assert!(times.is_sorted() && times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    for batch in &batches {
        let first = batch.samples[0].timestamp_ms;
        assert!(batch.samples.iter().all(|s| s.timestamp_ms == first), "a scrape has one time");
    }
}

#[tokio::test]
async fn a_target_that_is_removed_goes_stale_and_others_go_on() {
    let (stays, goes) = (Exporter::start().await, Exporter::start().await);
    let bench = start(&job(&[&stays, &goes], ""));
    bench.sink.wait_for_sample(|s| is(s, "m", &stays, false)).await;
    bench.sink.wait_for_sample(|s| is(s, "m", &goes, false)).await;
    bench.agent.reload(&job(&[&stays], ""));
    bench.sink.wait_for_sample(|s| is(s, "m", &goes, true)).await;
    bench.sink.wait_for_sample(|s| is(s, "up", &goes, true)).await;
    let asked = stays.requests();
    stays.wait_for_requests(asked + 2).await;
    let of_stays = |s: &ShipSample| is(s, "m", &stays, true);
    let batches = bench.sink.batches();
    assert!(!batches.iter().any(|batch| batch.samples.iter().any(of_stays)));
    let end = batches.iter().flat_map(|b| &b.samples).find(|s| is(s, "m", &goes, true));
    let last = batches.iter().flat_map(|b| &b.samples).rfind(|s| is(s, "m", &goes, false));
    let (end, last) = (end.expect("stale").timestamp_ms, last.expect("scraped").timestamp_ms);
    assert!(end > last, "the markers stand where the next scrape would have been: {last} {end}");
}

#[tokio::test]
async fn a_job_that_is_removed_goes_stale() {
    let exporter = Exporter::start().await;
    let bench = start(&job(&[&exporter], ""));
    bench.sink.wait_for_sample(|s| is(s, "m", &exporter, false)).await;
    bench.agent.reload(&config("scrape_configs: []\n"));
    bench.sink.wait_for_sample(|s| is(s, "m", &exporter, true)).await;
    assert_eq!(bench.agent.targets("", ""), crate::api::targets(&[], "", "", None));
}

#[tokio::test]
async fn a_target_that_moves_to_another_agent_leaves_no_markers() {
    let exporter = Exporter::start().await;
    let bench = start(&job(&[&exporter], ""));
    bench.sink.wait_for_sample(|s| is(s, "m", &exporter, false)).await;
    bench.roster.set_agents([NodeId(2)]);
    // The ring is looked at once a second; afterwards nobody is left.
    until(|| bench.agent.targets("active", "")["activeTargets"] == serde_json::json!([])).await;
    let asked = exporter.requests();
    bench.roster.set_agents([NodeId(1), NodeId(2)]);
    bench.roster.set_agents([NodeId(1)]);
    exporter.wait_for_requests(asked + 2).await;
    assert_eq!(stale_markers(&bench), 0);
}

#[tokio::test]
async fn an_agent_that_nobody_counts_on_scrapes_nothing() {
    let (exporter, witness) = (Exporter::start().await, Exporter::start().await);
    let bench = start(&job(&[&exporter], ""));
    let _other = start(&job(&[&witness], ""));
    exporter.wait_for_requests(1).await;
    bench.roster.set_alive(false);
    // One scrape may be under way; while the other agent makes ten, there are no more.
    witness.wait_for_requests(witness.requests() + 10).await;
    assert!(exporter.requests() <= 3, "{}", exporter.requests());
    bench.roster.set_alive(true);
    exporter.wait_for_requests(exporter.requests() + 1).await;
    assert_eq!(stale_markers(&bench), 0);
}

#[tokio::test]
async fn a_reload_keeps_what_is_the_same_and_restarts_what_is_not() {
    let exporter = Exporter::start().await;
    exporter.say("a 1\nb 2\n");
    let bench = start(&job(&[&exporter], ""));
    bench.sink.wait_for_sample(|s| is(s, "b", &exporter, false)).await;
    bench.agent.reload(&job(&[&exporter], "keep_dropped_targets: 7,"));
    let before = bench.sink.batches().len();
    bench.sink.wait(|batches| batches.len() >= before + 3).await;
    let added = |batch: &pando_shipper::Batch| {
        let added = batch.samples.iter();
        let added = added.filter(|s| s.labels.metric_name() == "scrape_series_added");
        added.map(|s| s.value.clone()).next()
    };
    let batches = bench.sink.batches();
    let fresh = batches.iter().filter(|b| added(b) == Some(pando_model::SampleValue::Float(2.0)));
    assert_eq!(fresh.count(), 1, "the loop and what it knows have survived");
    let rule = "metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}],";
    bench.agent.reload(&job(&[&exporter], rule));
    let one = |b: &pando_shipper::Batch| added(b) == Some(pando_model::SampleValue::Float(1.0));
    bench.sink.wait(|batches| batches.iter().any(one)).await;
}

#[tokio::test]
async fn too_many_targets_fail_all_of_them() {
    let (one, two) = (Exporter::start().await, Exporter::start().await);
    let bench = start(&job(&[&one, &two], "target_limit: 1,"));
    bench.sink.wait(|batches| batches.len() >= 2).await;
    let shown = bench.agent.targets("active", "j");
    let why = "target_limit exceeded (number of targets: 2, limit: 1)";
    assert_eq!(shown["activeTargets"][0]["lastError"], why);
    assert_eq!(shown["activeTargets"][0]["health"], "down");
    assert_eq!(one.requests() + two.requests(), 0);
}

#[tokio::test]
async fn targets_are_shared_between_agents_each_has_one_scraper() {
    let mut exporters = Vec::new();
    for _ in 0..12 {
        exporters.push(Exporter::start().await);
    }
    let scraping = job(&exporters.iter().collect::<Vec<_>>(), "");
    let scrape = &scraping.scrape_configs[0];
    let set = crate::targets::targets(scrape, scrape.static_configs());
    let bench = start(&scraping);
    bench.roster.set_agents([NodeId(1), NodeId(2), NodeId(3)]);
    let own = |t: &&Arc<crate::Target>| bench.roster.ring().owner(t.identity()) == Some(NodeId(1));
    let expected: Vec<&str> =
        set.active.iter().filter(own).map(|t| t.public_labels.value("instance")).collect();
    assert!(expected.len() < 12);
    let shown = || {
        let shown = bench.agent.targets("active", "");
        let targets = shown["activeTargets"].as_array().expect("list").clone();
        let instance = |t: &Value| t["labels"]["instance"].as_str().expect("text").to_string();
        targets.iter().map(instance).collect::<Vec<_>>()
    };
    until(|| shown() == expected).await;
}

#[tokio::test]
async fn dropped_targets_are_shown_and_counted() {
    let scraping = config(
        "scrape_configs:\n- {job_name: j, keep_dropped_targets: 1, relabel_configs: [{action: drop}], \
         static_configs: [{targets: ['a:1', 'b:1', 'c:1']}]}\n",
    );
    let bench = start(&scraping);
    until(|| bench.agent.targets("", "")["droppedTargetCounts"]["j"] == 3).await;
    let shown = bench.agent.targets("dropped", "");
    assert_eq!(shown["droppedTargets"].as_array().map(Vec::len), Some(1));
    assert_eq!(shown["droppedTargets"][0]["discoveredLabels"]["__address__"], "a:1");
    assert_eq!(shown["droppedTargets"][0]["scrapePool"], "j");
}

#[tokio::test]
async fn an_end_writes_no_markers_and_keeps_what_was_not_shipped() {
    let exporter = Exporter::start().await;
    let bench = start(&job(&[&exporter], ""));
    bench.sink.wait_for_sample(|s| is(s, "m", &exporter, false)).await;
    bench.sink.fail(true);
    exporter.wait_for_requests(exporter.requests() + 2).await;
    let laggards = bench.tasks.shutdown(Duration::from_secs(10)).await;
    assert!(laggards.is_empty(), "{laggards:?}");
    let asked = exporter.requests();
    assert_eq!(stale_markers(&bench), 0);
    let config = BufferConfig { folder: "/buffer".into(), bytes_max: 1 << 20 };
    let mut buffer = DiskBuffer::open(config, bench.disk.shared()).expect("opens");
    let (_, kept) = buffer.pop().expect("was kept");
    assert!(kept.samples.iter().any(|s| is(s, "m", &exporter, false)));
    assert_eq!(exporter.requests(), asked);
}

#[tokio::test]
async fn a_job_that_comes_back_while_it_retires_goes_on() {
    let exporter = Exporter::start().await;
    let bench = start(&job(&[&exporter], ""));
    bench.sink.wait_for_sample(|s| is(s, "m", &exporter, false)).await;
    bench.agent.reload(&config("scrape_configs: []\n"));
    until(|| bench.agent.targets("", "") == crate::api::targets(&[], "", "", None)).await;
    bench.agent.reload(&job(&[&exporter], ""));
    exporter.wait_for_requests(exporter.requests() + 3).await;
    assert_eq!(bench.agent.targets("", "")["activeTargets"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn targets_are_shown_to_their_tenant_alone() {
    use pando_proto::v1::TargetsRequest;
    use pando_proto::v1::agent_server::Agent as _;

    let exporter = Exporter::start().await;
    let bench = start(&job(&[&exporter], ""));
    until(|| bench.agent.targets("", "")["activeTargets"] != serde_json::json!([])).await;
    let service = crate::AgentService::new(bench.agent.clone());
    let ask = async |tenant: &str| {
        let tenant = tenant.to_string();
        let request = TargetsRequest { tenant, state: "active".into(), scrape_pool: "j".into() };
        let answer = service.targets(tonic::Request::new(request)).await.expect("answers");
        let json: Value = serde_json::from_slice(&answer.into_inner().json).expect("JSON");
        json["activeTargets"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((ask("default").await, ask("").await, ask("other").await), (1, 1, 0));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let buffer = BufferConfig { folder: "/buffer".into(), bytes_max: 0 };
    let mut settings = AgentConfig::new(TenantId::default_tenant(), buffer);
    settings.in_flight_max = 0;
    assert_eq!(settings.validate().len(), 1);
}
