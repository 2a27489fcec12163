//! The targets as Prometheus' API shows them.

use std::sync::Arc;

use jiff::Timestamp;
use pando_model::Labels;
use pando_model::duration::format_duration;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

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
/// config, or none for all.
pub(crate) fn targets(pools: &[PoolView], state: &str, pool: &str) -> Value {
    let state = state.to_ascii_lowercase();
    let (show_active, show_dropped) = match state.as_str() {
        "active" => (true, false),
        "dropped" => (false, true),
        _ => (true, true),
    };
    let (mut active, mut dropped, mut counts) = (Vec::new(), Vec::new(), Map::new());
    for view in pools.iter().filter(|view| pool.is_empty() || view.job == pool) {
        if show_active {
            active.extend(view.active.iter().map(|(target, status)| shown(target, &status.lock())));
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

fn shown(target: &Target, status: &TargetStatus) -> Value {
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
        "globalUrl": target.shown_url,
        "lastError": status.error,
        "lastScrape": scraped.map_or(NEVER.to_string(), |time| time.to_string()),
        "lastScrapeDuration": status.duration.as_secs_f64(),
        "health": health,
        "scrapeInterval": format_duration(target.interval_ms),
        "scrapeTimeout": format_duration(target.timeout_ms),
    })
}

fn map(labels: &Labels) -> Value {
    let pairs = labels.iter().map(|(name, value)| (name.to_string(), json!(value)));
    Value::Object(pairs.collect())
}
