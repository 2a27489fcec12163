//! From target groups to targets: labels, relabelling, checks. Pure.

use std::sync::Arc;

use pando_config::{ScrapeConfig, TargetGroup};
use pando_model::duration::{format_duration, parse_duration};
use pando_model::number::go_quote;
use pando_model::relabel;
use pando_model::{Labels, LabelsBuilder};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::target::{DroppedTarget, Target};

const PARAM_PREFIX: &str = "__param_";
const META_PREFIX: &str = "__meta_";

/// What the target groups of one scrape config come to.
#[derive(Clone, Debug, Default)]
pub struct TargetSet {
    /// What is to be scraped, by whomever, ordered by identity, without duplicates.
    pub active: Vec<Arc<Target>>,
    /// What relabelling has dropped, at most `keep_dropped_targets` (0: all).
    pub dropped: Vec<DroppedTarget>,
    /// How many it has dropped.
    pub dropped_count: usize,
    /// Why other targets cannot be scraped.
    pub faults: Vec<String>,
}

/// The targets of `groups` under `config`.
pub fn targets<'a>(
    config: &ScrapeConfig,
    groups: impl IntoIterator<Item = &'a TargetGroup>,
) -> TargetSet {
    let mut set = TargetSet::default();
    let kept_max = usize::try_from(config.keep_dropped_targets).unwrap_or(usize::MAX);
    for group in groups {
        for address in &group.targets {
            let discovered = discovered_labels(config, group, address);
            let labels = discovered.build();
            match target(config, discovered, &labels) {
                Ok(Some(target)) => set.active.push(Arc::new(target)),
                Ok(None) => {
                    set.dropped_count += 1;
                    if kept_max == 0 || set.dropped.len() < kept_max {
                        set.dropped.push(DroppedTarget { discovered_labels: labels });
                    }
                }
                Err(fault) => set.faults.push(format!("target={labels}: {fault}")),
            }
        }
    }
    set.active.sort_by(|a, b| a.identity().cmp(b.identity()));
    set.active.dedup_by(|a, b| a.identity() == b.identity());
    set
}

/// What relabelling begins with: the address, the group's labels, and the config's where those say nothing.
fn discovered_labels(config: &ScrapeConfig, group: &TargetGroup, address: &str) -> LabelsBuilder {
    let mut labels = LabelsBuilder::new();
    labels.set("__address__", address);
    for (name, value) in &group.labels {
        if name != "__address__" {
            labels.set(name, value);
        }
    }
    let mut set_default = |name: &str, value: &str| {
        if labels.value(name).is_empty() {
            labels.set(name, value);
        }
    };
    set_default("job", &config.job_name);
    set_default("__scrape_interval__", &format_duration(config.scrape_interval_ms));
    set_default("__scrape_timeout__", &format_duration(config.scrape_timeout_ms));
    set_default("__metrics_path__", &config.metrics_path);
    set_default("__scheme__", config.scheme.as_str());
    for (name, values) in &config.params {
        if let Some(value) = values.first() {
            set_default(&format!("{PARAM_PREFIX}{name}"), value);
        }
    }
    labels
}

/// The target that `labels` become; `None`: a rule dropped it.
fn target(
    config: &ScrapeConfig,
    mut labels: LabelsBuilder,
    discovered: &Labels,
) -> Result<Option<Target>, String> {
    if !relabel::apply(&mut labels, &config.relabel_configs) {
        return Ok(None);
    }
    let address = labels.value("__address__").to_string();
    if address.is_empty() {
        return Err("no address".to_string());
    }
    if address.contains('/') {
        return Err(format!("{} is not a valid hostname", go_quote(&address)));
    }
    if !labels.value("__unix_socket__").is_empty() {
        return Err("label __unix_socket__: unix sockets are not supported".to_string());
    }
    let interval_ms = duration_of(&labels, "__scrape_interval__", "interval")?;
    let timeout_ms = duration_of(&labels, "__scrape_timeout__", "timeout")?;
    if timeout_ms > interval_ms {
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval ({} > {})",
            go_quote(labels.value("__scrape_timeout__")),
            go_quote(labels.value("__scrape_interval__")),
        ));
    }
    labels.retain(|name, _| !name.starts_with(META_PREFIX));
    if labels.value("instance").is_empty() {
        labels.set("instance", &address);
    }
    let (shown_url, url) = url_of(config, &labels, &address)?;
    let labels = labels.build();
    let discovered = discovered.clone();
    let job = &config.job_name;
    Ok(Some(Target::new(job, labels, discovered, shown_url, url, interval_ms, timeout_ms)))
}

fn duration_of(labels: &LabelsBuilder, name: &str, what: &str) -> Result<i64, String> {
    let ms = parse_duration(labels.value(name));
    match ms.map_err(|error| format!("error parsing scrape {what}: {error}"))? {
        0 => Err(format!("scrape {what} cannot be 0")),
        ms => Ok(ms),
    }
}

fn url_of(
    config: &ScrapeConfig,
    labels: &LabelsBuilder,
    address: &str,
) -> Result<(String, Url), String> {
    let mut params = config.params.clone();
    for (name, value) in labels.iter() {
        let Some(name) = name.strip_prefix(PARAM_PREFIX) else { continue };
        let values = params.entry(name.to_string()).or_default();
        match values.first_mut() {
            Some(first) => *first = value.to_string(),
            None => values.push(value.to_string()),
        }
    }
    let mut query = Serializer::new(String::new());
    for (name, values) in &params {
        values.iter().for_each(|value| {
            query.append_pair(name, value);
        });
    }
    let query = query.finish();
    let scheme = labels.value("__scheme__");
    let base = format!("{scheme}://{address}");
    let bad = |why: &dyn std::fmt::Display| format!("invalid target URL: url={base} why={why}");
    let mut url = Url::parse(&base).map_err(|error| bad(&error))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(&format!("unsupported protocol scheme {}", go_quote(scheme))));
    }
    url.set_path(labels.value("__metrics_path__"));
    url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
    // The library drops a port that is the scheme's own, Prometheus shows it.
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok((format!("{base}{}{query}", url.path()), url))
}

#[cfg(test)]
mod tests;
