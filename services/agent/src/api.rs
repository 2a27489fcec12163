//! The targets as Prometheus' API shows them.

use std::sync::Arc;

use jiff::Timestamp;
use pando_model::Labels;
use pando_model::duration::format_duration;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use url::Url;

use crate::scrape::scraper::TargetStatus;
use crate::target::{DroppedTarget, Target};

/// What Go prints for a time that was never set.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// One scrape config, as far as this agent is concerned.
#[derive(Clone, Default)]
pub(crate) struct PoolView {
    pub(crate) job: String,
    /// The targets that this agent scrapes.
    pub(crate) active: Vec<(Arc<Target>, Arc<Mutex<TargetStatus>>)>,
    /// The dropped targets that are this agent's to show, as many as are kept.
    pub(crate) dropped: Vec<DroppedTarget>,
    /// How many dropped targets it would show were all kept.
    pub(crate) dropped_count: usize,
}

/// The answer to `/api/v1/targets`: `state` is `active`, `dropped` or anything else for both; `pool` names a scrape
/// config, or none for all; `external` is [`AgentConfig::external`](crate::AgentConfig::external).
pub(crate) fn targets(
    pools: &[PoolView],
    state: &str,
    pool: &str,
    external: Option<&(Url, u16)>,
) -> Value {
    let state = state.to_ascii_lowercase();
    let (show_active, show_dropped) = match state.as_str() {
        "active" => (true, false),
        "dropped" => (false, true),
        _ => (true, true),
    };
    let (mut active, mut dropped, mut counts) = (Vec::new(), Vec::new(), Map::new());
    for view in pools.iter().filter(|view| pool.is_empty() || view.job == pool) {
        if show_active {
            let targets = view.active.iter();
            active.extend(targets.map(|(t, status)| shown(t, &status.lock(), external)));
        }
        if show_dropped {
            dropped.extend(view.dropped.iter().map(|target| {
                json!({
                    "discoveredLabels": map(&target.discovered_labels),
                    "scrapePool": view.job,
                })
            }));
            counts.insert(view.job.clone(), json!(view.dropped_count));
        }
    }
    json!({ "activeTargets": active, "droppedTargets": dropped, "droppedTargetCounts": counts })
}

fn shown(target: &Target, status: &TargetStatus, external: Option<&(Url, u16)>) -> Value {
    let health = match (status.scraped_ms, status.error.is_empty()) {
        (None, _) => "unknown",
        (_, true) => "up",
        (_, false) => "down",
    };
    let scraped = status.scraped_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    json!({
        "discoveredLabels": map(&target.discovered_labels),
        "labels": map(&target.public_labels),
        "scrapePool": target.job,
        "scrapeUrl": target.shown_url,
        "globalUrl": global_url(target, external),
        "lastError": status.error,
        "lastScrape": scraped.map_or(NEVER.to_string(), |time| time.to_string()),
        "lastScrapeDuration": status.duration.as_secs_f64(),
        "health": health,
        "scrapeInterval": format_duration(target.interval_ms),
        "scrapeTimeout": format_duration(target.timeout_ms),
    })
}

/// The URL of a target as others can follow it: loopback is this host, and this process' own port is where it is
/// reached from outside.
fn global_url(target: &Target, external: Option<&(Url, u16)>) -> String {
    let scraped = || target.shown_url.clone();
    let (Some((external, own_port)), Some(host)) = (external, target.url.host_str()) else {
        return scraped();
    };
    let Some(port) = target.url.port_or_known_default() else { return scraped() };
    let Some(outside) = external.host_str() else { return scraped() };
    if !["127.0.0.1", "localhost", "[::1]"].contains(&host) {
        return scraped();
    }
    let (scheme, port) = match (port == *own_port, external.port()) {
        (true, Some(port)) => (external.scheme(), format!(":{port}")),
        (true, None) => (external.scheme(), String::new()),
        (false, _) => (target.url.scheme(), format!(":{port}")),
    };
    let query = target.url.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{outside}{port}{}{query}", target.url.path())
}

fn map(labels: &Labels) -> Value {
    let pairs = labels.iter().map(|(name, value)| (name.to_string(), json!(value)));
    Value::Object(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_on_loopback_are_shown_as_they_are_reached_from_outside() {
        let external = (Url::parse("https://pando.example/p/").expect("url"), 9090);
        let shown = |url: &str, external: Option<&(Url, u16)>| {
            let parsed = Url::parse(url).expect("url");
            let none = Labels::empty;
            let target = Target::new("j", none(), none(), url.to_string(), parsed, 1, 1);
            global_url(&target, external)
        };
        for (scraped, global) in [
            ("http://localhost:9090/p/metrics", "https://pando.example/p/metrics"),
            ("http://127.0.0.1:9100/metrics?a=b", "http://pando.example:9100/metrics?a=b"),
            ("http://[::1]:80/metrics", "http://pando.example:80/metrics"),
            ("http://other:9090/metrics", "http://other:9090/metrics"),
        ] {
            assert_eq!(shown(scraped, Some(&external)), global);
            assert_eq!(shown(scraped, None), scraped);
        }
    }
}
