//! `http_sd_configs`: target groups that a URL answers with.

use std::time::Duration;

use pando_config::{HttpSd, TARGETS_BYTES_MAX, TargetFileFormat, TargetGroup};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use url::Url;

use super::{DiscoveryContext, Groups};
use crate::client::HttpClient;
use crate::scrape::body::root_cause;

pub(super) async fn run(config: HttpSd, groups: Groups, context: DiscoveryContext) {
    let client = HttpClient::new(config.http.clone(), context.clock.clone());
    let interval = Duration::from_millis(config.refresh_interval_ms.max(1) as u64);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = tokio::time::timeout(interval, ask(&config, &client, interval)).await;
        match asked.unwrap_or_else(|_| Err(format!("no answer in time: timeout={interval:?}"))) {
            Ok(found) => groups.show(found),
            Err(why) => {
                tracing::warn!(url = %config.url, why, "targets cannot be fetched");
                context.metrics.sd_failed("http");
            }
        }
    }
}

async fn ask(
    config: &HttpSd,
    client: &HttpClient,
    interval: Duration,
) -> Result<Vec<TargetGroup>, String> {
    let url = Url::parse(config.url.expose()).map_err(|error| error.to_string())?;
    let request = client.get(url).await.map_err(|error| error.to_string())?;
    let request = request
        .header(ACCEPT, "application/json")
        .header("X-Prometheus-Refresh-Interval-Seconds", interval.as_secs_f64().to_string());
    let mut response = request.send().await.map_err(|error| root_cause(&error))?;
    if response.status() != StatusCode::OK {
        return Err(format!("server returned HTTP status {}", response.status()));
    }
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !is_json(content_type) {
        return Err(format!("unsupported content type {content_type:?}"));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| root_cause(&error))? {
        if body.len() + chunk.len() > TARGETS_BYTES_MAX {
            return Err(format!("answer too large: limit={TARGETS_BYTES_MAX}"));
        }
        body.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(body).map_err(|error| error.to_string())?;
    let shown = config.url.to_string();
    let groups = TargetGroup::parse_list(&text, TargetFileFormat::Json, &shown);
    let mut groups = groups.map_err(|error| error.to_string())?;
    for group in &mut groups {
        group.labels.insert("__meta_url".to_string(), shown.clone());
    }
    Ok(groups)
}

/// `application/json`, perhaps with `charset=utf-8`.
fn is_json(content_type: &str) -> bool {
    let lower = content_type.to_ascii_lowercase();
    let (media_type, parameter) = lower.split_once(';').unwrap_or((&lower, ""));
    let parameter = parameter.trim().replace('"', "");
    media_type == "application/json" && ["", "charset=utf-8"].contains(&&*parameter)
}
