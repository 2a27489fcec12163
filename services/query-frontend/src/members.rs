//! What members are asked outside of queries: metadata and cardinality of ingesters, targets of
//! agents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use pando_catalog::{CatalogView, Node, Role};
use pando_model::{Metadata, MetricType, NodeId, TenantId};
use pando_proto::v1::agent_client::AgentClient;
use pando_proto::v1::live_client::LiveClient;
use pando_proto::v1::{
    MetadataRequest, MetadataResponse, NamedCount, StatsRequest, StatsResponse, TargetsRequest,
};
use pando_rpc::{MESSAGE_BYTES_MAX, Peer};
use serde_json::Value;
use tonic::{Request, Status};

use crate::error::FrontendError;
use crate::frontend::Frontend;

/// How long one member may take.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(10);

/// Metadata of metric families by name: several exporters may say different things.
pub(crate) type MetadataByName = BTreeMap<String, BTreeSet<Metadata>>;

impl Frontend {
    /// Metadata of `tenant`'s metrics; all where `metric` is empty.
    pub(crate) async fn metadata(
        &self,
        tenant: &TenantId,
        metric: &str,
    ) -> Result<MetadataByName, FrontendError> {
        let Some(view) = self.pin_for(tenant).await? else { return Ok(MetadataByName::new()) };
        let request =
            MetadataRequest { tenant: tenant.to_string(), metric: metric.to_string(), limit: 0 };
        let answers: BTreeMap<NodeId, Result<MetadataResponse, Status>> = self
            .ask_role(&view, Role::Ingester, |peer| {
                let request = timed(request.clone());
                let mut client = LiveClient::new(peer).max_decoding_message_size(MESSAGE_BYTES_MAX);
                async move { Ok(client.metadata(request).await?.into_inner()) }
            })
            .await;
        require_each_shard(&view, tenant, &answers)?;
        let mut by_name = MetadataByName::new();
        for said in answers.into_values().flatten().flat_map(|answer| answer.metrics) {
            by_name.entry(said.name).or_default().insert(Metadata {
                metric_type: MetricType::from_number(said.metric_type),
                unit: said.unit,
                help: said.help,
            });
        }
        Ok(by_name)
    }

    /// Cardinality of `tenant`'s live generations: each shard is counted by its leader.
    pub(crate) async fn cardinality(
        &self,
        tenant: &TenantId,
        limit: usize,
    ) -> Result<StatsResponse, FrontendError> {
        let Some(view) = self.pin_for(tenant).await? else { return Ok(StatsResponse::default()) };
        let request = StatsRequest { tenant: tenant.to_string(), limit: limit as u64 };
        let answers: BTreeMap<NodeId, Result<StatsResponse, Status>> = self
            .ask_role(&view, Role::Ingester, |peer| {
                let request = timed(request.clone());
                let mut client = LiveClient::new(peer).max_decoding_message_size(MESSAGE_BYTES_MAX);
                async move { Ok(client.stats(request).await?.into_inner()) }
            })
            .await;
        require_each_leader(&view, tenant, &answers)?;
        Ok(merge_stats(answers.into_values().flatten(), limit))
    }

    /// The targets of all agents, as Prometheus' API shows them, and what is missing.
    pub(crate) async fn targets(
        &self,
        tenant: &TenantId,
        state: &str,
        scrape_pool: &str,
    ) -> Result<(Value, Vec<String>), FrontendError> {
        let view = self.pin(pando_model::CatalogVersion(0)).await?;
        let request = TargetsRequest {
            tenant: tenant.to_string(),
            state: state.to_string(),
            scrape_pool: scrape_pool.to_string(),
        };
        let answers: BTreeMap<NodeId, Result<bytes::Bytes, Status>> = self
            .ask_role(&view, Role::Agent, |peer| {
                let request = timed(request.clone());
                let mut client =
                    AgentClient::new(peer).max_decoding_message_size(MESSAGE_BYTES_MAX);
                async move { Ok(client.targets(request).await?.into_inner().json) }
            })
            .await;
        let mut missing = Vec::new();
        let mut parts = Vec::new();
        for (node, answer) in answers {
            let said = answer.map_err(|status| status.message().to_string());
            match said.and_then(|json| serde_json::from_slice(&json).map_err(|e| e.to_string())) {
                Ok(part) => parts.push(part),
                // An agent that is gone is no agent any more: others have its targets.
                Err(why) => missing.push(format!("agent did not answer: node={node}: {why}")),
            }
        }
        Ok((merge_targets(parts), missing))
    }

    async fn ask_role<T, F>(
        &self,
        view: &CatalogView,
        role: Role,
        ask: impl Fn(Peer) -> F,
    ) -> BTreeMap<NodeId, Result<T, Status>>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let nodes: Vec<Arc<Node>> = view.routing.nodes_with(role).cloned().collect();
        let asked = nodes.iter().map(|node| {
            let peer = self.channels().peer(&node.grpc_address, Some(node.id));
            let asked = peer.map(&ask);
            async move {
                match asked {
                    Ok(answer) => (node.id, answer.await),
                    Err(status) => (node.id, Err(status)),
                }
            }
        });
        join_all(asked).await.into_iter().collect()
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(MEMBER_TIMEOUT);
    request
}

/// Each shard that may have live data of the tenant has one member that answered.
fn require_each_shard<T>(
    view: &CatalogView,
    tenant: &TenantId,
    answers: &BTreeMap<NodeId, Result<T, Status>>,
) -> Result<(), FrontendError> {
    let shards = view.routing.live_shards(tenant, pando_model::KeyRange::ALL);
    for shard in shards.into_keys().filter_map(|id| view.routing.shard(id)) {
        let mut why = "none is registered".to_string();
        let mut answered = false;
        for answer in shard.members.iter().filter_map(|member| answers.get(member)) {
            match answer {
                Ok(_) => answered = true,
                Err(status) => why = status.message().to_string(),
            }
        }
        if !answered {
            return Err(FrontendError::NoMember { shard: shard.id, why });
        }
    }
    Ok(())
}

/// Each shard that may have live data of the tenant was counted by one member, its leader, and by no
/// more: a leader that does not know yet that it is none counts what another counts, too.
fn require_each_leader(
    view: &CatalogView,
    tenant: &TenantId,
    answers: &BTreeMap<NodeId, Result<StatsResponse, Status>>,
) -> Result<(), FrontendError> {
    for shard in view.routing.live_shards(tenant, pando_model::KeyRange::ALL).into_keys() {
        let counted = |answer: &StatsResponse| answer.shards.contains(&shard.0);
        let leaders = answers.values().flatten().filter(|answer| counted(answer)).count();
        if leaders == 1 {
            continue;
        }
        let members =
            view.routing.shard(shard).map(|info| info.members.clone()).unwrap_or_default();
        let silent = members.iter().find_map(|member| match answers.get(member) {
            Some(Err(status)) => Some(format!("member={member}: {}", status.message())),
            _ => None,
        });
        let why = match leaders {
            0 => silent.unwrap_or_else(|| "no member leads it".to_string()),
            _ => format!("its leader is changing: leaders={leaders}"),
        };
        return Err(FrontendError::NoLeader { shard, why });
    }
    Ok(())
}

fn merge_stats(parts: impl Iterator<Item = StatsResponse>, limit: usize) -> StatsResponse {
    let mut all = StatsResponse { min_ms: i64::MAX, max_ms: i64::MIN, ..StatsResponse::default() };
    let mut tables: [BTreeMap<String, u64>; 4] = Default::default();
    let mut any = false;
    for part in parts {
        if part.series > 0 {
            all.min_ms = all.min_ms.min(part.min_ms);
            all.max_ms = all.max_ms.max(part.max_ms);
            any = true;
        }
        all.series += part.series;
        all.chunks += part.chunks;
        // Pairs are much the same in every shard: a sum would count them again and again.
        all.label_pairs = all.label_pairs.max(part.label_pairs);
        let lists =
            [part.series_by_metric, part.values_by_label, part.bytes_by_label, part.series_by_pair];
        for (at, (table, list)) in tables.iter_mut().zip(lists).enumerate() {
            for NamedCount { name, value } in list {
                let known = table.entry(name).or_default();
                *known = if at == 1 { (*known).max(value) } else { *known + value };
            }
        }
    }
    if !any {
        (all.min_ms, all.max_ms) = (0, 0);
    }
    let [metrics, values, bytes, pairs] = tables;
    all.series_by_metric = top(metrics, limit);
    all.values_by_label = top(values, limit);
    all.bytes_by_label = top(bytes, limit);
    all.series_by_pair = top(pairs, limit);
    all
}

fn top(table: BTreeMap<String, u64>, limit: usize) -> Vec<NamedCount> {
    let each = table.into_iter();
    let mut list: Vec<NamedCount> = each.map(|(name, value)| NamedCount { name, value }).collect();
    list.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.name.cmp(&b.name)));
    list.truncate(limit);
    list
}

/// One answer of those of several agents: lists are joined, counts added.
fn merge_targets(parts: Vec<Value>) -> Value {
    let (mut active, mut dropped) = (Vec::new(), Vec::new());
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for mut part in parts {
        for (name, list) in [("activeTargets", &mut active), ("droppedTargets", &mut dropped)] {
            if let Some(Value::Array(targets)) = part.get_mut(name).map(Value::take) {
                list.extend(targets);
            }
        }
        for (pool, count) in part["droppedTargetCounts"].as_object().into_iter().flatten() {
            *counts.entry(pool.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
    }
    // Prometheus sorts by pool, then as scraped: a stable order is what people look at.
    let order = |target: &Value| {
        let text = |name: &str| target[name].as_str().unwrap_or_default().to_string();
        (text("scrapePool"), text("scrapeUrl"))
    };
    active.sort_by_key(order);
    serde_json::json!({
        "activeTargets": active,
        "droppedTargets": dropped,
        "droppedTargetCounts": counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testdata::{Cluster, tenant};

    #[test]
    fn targets_of_agents_are_one_list() {
        let a = serde_json::json!({
            "activeTargets": [{"scrapePool": "b", "scrapeUrl": "2"}],
            "droppedTargets": [], "droppedTargetCounts": {"b": 1, "c": 2},
        });
        let b = serde_json::json!({
            "activeTargets": [
                {"scrapePool": "a", "scrapeUrl": "9"}, {"scrapePool": "b", "scrapeUrl": "1"},
            ],
            "droppedTargets": [{"discoveredLabels": {}}], "droppedTargetCounts": {"b": 3},
        });
        let merged = merge_targets(vec![a, b]);
        let urls: Vec<&str> = merged["activeTargets"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|t| t["scrapeUrl"].as_str())
            .collect();
        assert_eq!(urls, ["9", "1", "2"]);
        assert_eq!(merged["droppedTargets"].as_array().map(Vec::len), Some(1));
        assert_eq!(merged["droppedTargetCounts"], serde_json::json!({"b": 4, "c": 2}));
        let none = merge_targets(vec![]);
        assert_eq!(none["activeTargets"], serde_json::json!([]));
    }

    #[test]
    fn numbers_of_shards_are_added() {
        let count = |name: &str, value| NamedCount { name: name.into(), value };
        let part = |series, min_ms| StatsResponse {
            series,
            label_pairs: 4,
            min_ms,
            max_ms: 10,
            series_by_metric: vec![count("up", series - 1), count("x", 1)],
            values_by_label: vec![count("job", 2)],
            ..StatsResponse::default()
        };
        let none = StatsResponse::default();
        let all = merge_stats([part(6, 5), none, part(4, 3)].into_iter(), 1);
        assert_eq!((all.series, all.label_pairs, all.min_ms, all.max_ms), (10, 4, 3, 10));
        assert_eq!(all.series_by_metric, [count("up", 8)]);
        assert_eq!(all.values_by_label, [count("job", 2)]);
    }

    #[test]
    fn each_shard_is_counted_by_one_leader() {
        let mut cluster = Cluster::with_ingesters(3);
        cluster.open(&[&[1, 2, 3], &[1, 2, 3]]);
        cluster.assign("a", &[(1_000, 1), (u64::MAX, 2)]);
        let view = cluster.view();
        let check = |answers: [Result<Vec<u64>, &str>; 3]| {
            let answers = answers.into_iter().zip(1..).map(|(answer, node)| {
                let stats = answer.map(|shards| StatsResponse { shards, ..Default::default() });
                (NodeId(node), stats.map_err(Status::unavailable))
            });
            require_each_leader(&view, &tenant("a"), &answers.collect())
                .map_err(|error| (error.kind().surface().http, error.to_string()))
        };
        assert_eq!(check([Ok(vec![1]), Ok(vec![2]), Ok(vec![])]), Ok(()));
        assert_eq!(check([Ok(vec![1, 2, 9]), Err("gone"), Err("gone")]), Ok(()));
        let (code, why) = check([Ok(vec![1]), Err("gone"), Ok(vec![])]).expect_err("silent leader");
        assert_eq!(code, 503);
        assert!(why.contains("shard=2") && why.contains("gone"), "{why}");
        let (_, why) = check([Ok(vec![1, 2]), Ok(vec![2]), Ok(vec![])]).expect_err("twice");
        assert!(why.contains("leaders=2"), "{why}");
        assert!(check([Ok(vec![1]), Ok(vec![]), Ok(vec![])]).is_err(), "nobody leads");
    }
}
