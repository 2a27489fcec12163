//! Sources against real files and a real HTTP server.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use pando_config::TargetGroup;
use pando_runtime::{MetricsRegistry, SystemClock, Tasks};
use tokio::sync::Notify;

use super::*;
use crate::testing::{Exporter, config};

fn discovery() -> Discovery {
    Discovery::new(DiscoveryContext {
        clock: SystemClock::shared(),
        tasks: Tasks::new(),
        metrics: AgentMetrics::register(&MetricsRegistry::new(), &SystemClock::shared()),
        news: Arc::new(Notify::new()),
    })
}

fn scrape_config(sd: &str) -> ScrapeConfig {
    config(&format!("scrape_configs:\n- job_name: j\n  {sd}\n")).scrape_configs.remove(0)
}

/// Waits until the source shows `targets`, in this order.
async fn shows(discovery: &Discovery, source: &RunningSource, targets: &[&str]) {
    let found = |groups: &[TargetGroup]| -> Vec<String> {
        groups.iter().flat_map(|group| group.targets.clone()).collect()
    };
    while found(&source.groups()) != targets {
        discovery.context.news.notified().await;
    }
}

#[tokio::test]
async fn files_are_read_when_they_come_change_and_go() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    let mut discovery = discovery();
    let pattern = path("*.json");
    let sd = format!(
        "file_sd_configs: [{{files: ['{}', '{}'], refresh_interval: 100ms}}]",
        pattern.display(),
        path("one.yml").display()
    );
    let source = discovery.sources_of(&scrape_config(&sd)).remove(0);
    std::fs::write(path("b.json"), r#"[{"targets":["b:1"],"labels":{"x":"y"}}]"#).expect("writes");
    std::fs::write(path("a.json"), r#"[{"targets":["a:1"]}]"#).expect("writes");
    std::fs::write(path("one.yml"), "- targets: ['one:1']\n").expect("writes");
    std::fs::write(path("other.txt"), "- targets: ['never:1']\n").expect("writes");
    shows(&discovery, &source, &["a:1", "b:1", "one:1"]).await;
    let labels = &source.groups()[1].labels;
    assert_eq!(labels["x"], "y");
    assert_eq!(labels["__meta_filepath"], path("b.json").to_string_lossy());
    // A broken file keeps its targets.
    std::fs::write(path("b.json"), "[{").expect("writes");
    std::fs::write(path("a.json"), r#"[{"targets":["a:2"]}]"#).expect("writes");
    shows(&discovery, &source, &["a:2", "b:1", "one:1"]).await;
    std::fs::remove_file(path("b.json")).expect("removes");
    shows(&discovery, &source, &["a:2", "one:1"]).await;
}

#[tokio::test]
async fn a_url_is_asked_again_and_keeps_its_targets_while_it_fails() {
    let server = Exporter::start().await;
    let json = |body: &'static str| {
        move || {
            let response = Response::builder().header("content-type", "application/json");
            response.body(Body::from(body)).expect("response")
        }
    };
    server.answer(json(r#"[{"targets":["a:1","b:1"],"labels":{"x":"y"}}]"#));
    let mut discovery = discovery();
    let url = format!("http://{}/targets", server.address);
    let sd = format!("http_sd_configs: [{{url: '{url}', refresh_interval: 100ms}}]");
    let source = discovery.sources_of(&scrape_config(&sd)).remove(0);
    shows(&discovery, &source, &["a:1", "b:1"]).await;
    assert_eq!(source.groups()[0].labels["__meta_url"], url);
    let (_, headers) = server.last_request();
    assert_eq!(headers["x-prometheus-refresh-interval-seconds"], "0.1");
    assert_eq!(headers["accept"], "application/json");
    for broken in [json("nonsense"), json(r#"{"targets":[]}"#)] {
        server.answer(broken);
        server.wait_for_requests(server.requests() + 2).await;
        assert_eq!(source.groups()[0].targets, ["a:1", "b:1"]);
    }
    server.say("[]");
    server.wait_for_requests(server.requests() + 2).await;
    assert_eq!(source.groups()[0].targets, ["a:1", "b:1"], "text is not JSON");
    server.answer(json("[]"));
    shows(&discovery, &source, &[]).await;
}

#[tokio::test]
async fn equal_sources_run_once_and_end_with_their_last_user() {
    let server = Exporter::start().await;
    let mut discovery = discovery();
    let url =
        format!("http_sd_configs: [{{url: 'http://{}/', refresh_interval: 50ms}}]", server.address);
    let first = discovery.sources_of(&scrape_config(&url));
    let second = discovery.sources_of(&scrape_config(&url));
    assert!(Arc::ptr_eq(&first[0], &second[0]));
    drop(first);
    discovery.forget_unused();
    assert_eq!(discovery.running.len(), 1);
    drop(second);
    discovery.forget_unused();
    assert!(discovery.running.is_empty());
}

#[tokio::test]
async fn names_become_targets() {
    // Resolvers answer for this name themselves.
    let mut discovery = discovery();
    let sd = "dns_sd_configs: [{names: [localhost.], type: A, port: 9100}]";
    let source = discovery.sources_of(&scrape_config(sd)).remove(0);
    shows(&discovery, &source, &["127.0.0.1:9100"]).await;
    assert_eq!(source.groups()[0].labels["__meta_dns_name"], "localhost.");
}

#[test]
fn records_become_groups_in_an_order_of_their_own() {
    let record = |address: &str| dns::Found {
        address: address.to_string(),
        labels: vec![("__meta_dns_srv_record_port", "1".to_string())],
    };
    let groups = dns::groups_of("name", vec![record("b:1"), record("a:1")]);
    let addresses: Vec<_> = groups.iter().map(|group| &*group.targets[0]).collect();
    assert_eq!(addresses, ["a:1", "b:1"]);
    assert_eq!(groups[0].labels["__meta_dns_name"], "name");
    assert_eq!(groups[0].labels["__meta_dns_srv_record_port"], "1");
}
