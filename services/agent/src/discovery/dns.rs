//! `dns_sd_configs`: names whose records are targets.

use std::collections::BTreeMap;
use std::time::Duration;

use hickory_resolver::{ResolveError, TokioResolver};
use pando_config::{DnsRecord, DnsSd, TargetGroup};

use super::{DiscoveryContext, Groups};

/// A record as a target: its address, and what else it says.
pub(super) struct Found {
    pub(super) address: String,
    pub(super) labels: Vec<(&'static str, String)>,
}

pub(super) async fn run(config: DnsSd, groups: Groups, context: DiscoveryContext) {
    let interval = Duration::from_millis(config.refresh_interval_ms.max(1) as u64);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut found: BTreeMap<String, Vec<TargetGroup>> = BTreeMap::new();
    loop {
        ticks.tick().await;
        // The system's settings may have changed, and answers must not come from a cache.
        let resolver = match TokioResolver::builder_tokio() {
            Ok(mut builder) => {
                builder.options_mut().cache_size = 0;
                builder.build()
            }
            Err(error) => {
                tracing::warn!(%error, "name servers are not known");
                context.metrics.sd_failed("dns");
                continue;
            }
        };
        for name in &config.names {
            match look_up(&resolver, &config, name).await {
                Ok(records) => {
                    found.insert(name.clone(), groups_of(name, records));
                }
                Err(error) if error.is_nx_domain() || error.is_no_records_found() => {
                    found.insert(name.clone(), Vec::new());
                }
                Err(error) => {
                    tracing::warn!(name, %error, "name cannot be looked up");
                    context.metrics.sd_failed("dns");
                }
            }
        }
        groups.show(found.values().flatten().cloned().collect());
    }
}

async fn look_up(
    resolver: &TokioResolver,
    config: &DnsSd,
    name: &str,
) -> Result<Vec<Found>, ResolveError> {
    let port = config.port;
    let plain = |address: String| Found { address, labels: Vec::new() };
    Ok(match config.record {
        DnsRecord::A => {
            let answer = resolver.ipv4_lookup(name).await?;
            answer.iter().map(|record| plain(format!("{}:{port}", record.0))).collect()
        }
        DnsRecord::Aaaa => {
            let answer = resolver.ipv6_lookup(name).await?;
            answer.iter().map(|record| plain(format!("[{}]:{port}", record.0))).collect()
        }
        DnsRecord::Srv => {
            let answer = resolver.srv_lookup(name).await?;
            let record = |target: String, port: u16| Found {
                address: host_port(&target, port),
                labels: vec![
                    ("__meta_dns_srv_record_target", target),
                    ("__meta_dns_srv_record_port", port.to_string()),
                ],
            };
            answer.iter().map(|srv| record(srv.target().to_string(), srv.port())).collect()
        }
        DnsRecord::Mx => {
            let answer = resolver.mx_lookup(name).await?;
            let records = answer.iter().map(|mx| mx.exchange().to_string());
            records.map(|to| named("__meta_dns_mx_record_target", to, port)).collect()
        }
        DnsRecord::Ns => {
            let answer = resolver.ns_lookup(name).await?;
            let records = answer.iter().map(|ns| ns.0.to_string());
            records.map(|to| named("__meta_dns_ns_record_target", to, port)).collect()
        }
    })
}

fn named(label: &'static str, target: String, port: u16) -> Found {
    Found { address: host_port(&target, port), labels: vec![(label, target)] }
}

/// Rooted names look better without their last dot.
fn host_port(name: &str, port: u16) -> String {
    format!("{}:{port}", name.strip_suffix('.').unwrap_or(name))
}

/// One group for each record, in the order of their addresses: name servers shuffle.
pub(super) fn groups_of(name: &str, mut records: Vec<Found>) -> Vec<TargetGroup> {
    records.sort_by(|a, b| (&a.address, &a.labels).cmp(&(&b.address, &b.labels)));
    let group = |record: Found| {
        let mut labels: BTreeMap<String, String> =
            record.labels.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        labels.insert("__meta_dns_name".to_string(), name.to_string());
        TargetGroup { targets: vec![record.address], labels }
    };
    records.into_iter().map(group).collect()
}
