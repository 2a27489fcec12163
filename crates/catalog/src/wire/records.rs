//! Conversions of the records that several messages carry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pando_model::{
    CatalogVersion, Cut, Epoch, KeyRange, MatchOp, Matcher, NodeId, SeriesKey, ShardId, TenantId,
    TimeRange,
};
use pando_proto::record::{
    block_id_from_proto, block_id_to_proto, key_range_from_proto, key_range_to_proto,
    record_from_proto, record_to_proto,
};
use pando_proto::v1;
use prost::Message;

use super::{
    Result, all, blocks_from, blocks_to, name_of, nodes_from, nodes_to, parse, required,
    shards_from, shards_to, tenant_from,
};
use crate::block_entry::{BlockEntry, PendingObject};
use crate::delete::DeleteRecord;
use crate::error::CatalogError;
use crate::node::{Node, Role};
use crate::route::Route;
use crate::shard::{Seal, ShardInfo, ShardStage};
use crate::tenant::{Tenant, TenantLimits};
use crate::work::{Lease, WorkItem, WorkKind, WorkSpec};

/// The bytes of a work item, for the compactor that leased it.
pub fn encode_work_item(item: &WorkItem) -> Vec<u8> {
    work_item_to(item).encode_to_vec()
}

/// Reads what [`encode_work_item`] wrote.
pub fn decode_work_item(bytes: &[u8]) -> Result<WorkItem> {
    work_item_from(Some(&parse("work item", bytes)?))
}

pub(super) fn node_to(node: &Node) -> v1::NodeRecord {
    v1::NodeRecord {
        id: node.id.0,
        roles: node.roles.iter().map(|role| role_to(*role).into()).collect(),
        grpc_address: node.grpc_address.clone(),
        http_address: node.http_address.clone(),
        zone: node.zone.clone(),
        feature_level: node.feature_level,
        joined_ms: node.joined_ms,
        agent_group: node.agent_group.clone(),
    }
}

pub(super) fn node_from(node: &v1::NodeRecord) -> Result<Node> {
    // Roles of a later version are not ours to know; a node with such a role is still a node.
    let roles: BTreeSet<Role> = node.roles.iter().filter_map(|role| role_from(*role)).collect();
    Ok(Node {
        id: NodeId(node.id),
        roles,
        grpc_address: node.grpc_address.clone(),
        http_address: node.http_address.clone(),
        zone: node.zone.clone(),
        feature_level: node.feature_level,
        joined_ms: node.joined_ms,
        agent_group: node.agent_group.clone(),
    })
}

fn role_to(role: Role) -> v1::Role {
    match role {
        Role::Agent => v1::Role::Agent,
        Role::Receiver => v1::Role::Receiver,
        Role::Ingester => v1::Role::Ingester,
        Role::StoreGateway => v1::Role::StoreGateway,
        Role::QueryFrontend => v1::Role::QueryFrontend,
        Role::Compactor => v1::Role::Compactor,
        Role::Controller => v1::Role::Controller,
    }
}

fn role_from(role: i32) -> Option<Role> {
    Role::ALL.into_iter().find(|known| role_to(*known) as i32 == role)
}

pub(super) fn shard_to(shard: &ShardInfo) -> v1::ShardRecord {
    let stage = match shard.stage {
        ShardStage::Open => v1::ShardStage::Open,
        ShardStage::Sealed => v1::ShardStage::Sealed,
        ShardStage::Closed => v1::ShardStage::Closed,
    };
    v1::ShardRecord {
        id: shard.id.0,
        stage: stage.into(),
        members: nodes_to(&shard.members),
        predecessors: shards_to(&shard.predecessors),
        successors: shards_to(&shard.successors),
        opened_ms: shard.opened_ms,
        seal: shard.seal.as_deref().map(seal_to),
        closed_ms: shard.closed_ms,
    }
}

pub(super) fn shard_from(shard: &v1::ShardRecord) -> Result<ShardInfo> {
    let stage = match shard.stage() {
        v1::ShardStage::Open => ShardStage::Open,
        v1::ShardStage::Sealed => ShardStage::Sealed,
        v1::ShardStage::Closed => ShardStage::Closed,
        v1::ShardStage::Unspecified => {
            let detail = format!("unknown stage: shard={} stage={}", shard.id, shard.stage);
            return Err(CatalogError::corrupt("shard", detail));
        }
    };
    if (stage == ShardStage::Open) != shard.seal.is_none() {
        let detail = format!("stage and seal contradict: shard={} stage={stage:?}", shard.id);
        return Err(CatalogError::corrupt("shard", detail));
    }
    Ok(ShardInfo {
        id: ShardId(shard.id),
        stage,
        members: nodes_from(&shard.members),
        predecessors: shards_from(&shard.predecessors),
        successors: shards_from(&shard.successors),
        opened_ms: shard.opened_ms,
        seal: shard.seal.as_ref().map(seal_from).transpose()?.map(Arc::new),
        closed_ms: shard.closed_ms,
    })
}

fn seal_to(seal: &Seal) -> v1::SealRecord {
    let ranges = seal.ranges.iter().flat_map(|(tenant, ranges)| {
        ranges.iter().map(move |range| tenant_range_to(tenant, *range))
    });
    v1::SealRecord {
        last_cut: seal.last_cut.0,
        answer: seal.answer.clone(),
        sealed_ms: seal.sealed_ms,
        ranges: ranges.collect(),
    }
}

fn seal_from(seal: &v1::SealRecord) -> Result<Seal> {
    let mut ranges: BTreeMap<TenantId, Vec<KeyRange>> = BTreeMap::new();
    for range in &seal.ranges {
        let (tenant, keys) = tenant_range_from(range)?;
        ranges.entry(tenant).or_default().push(keys);
    }
    Ok(Seal {
        last_cut: Cut(seal.last_cut),
        answer: seal.answer.clone(),
        sealed_ms: seal.sealed_ms,
        ranges,
    })
}

pub(super) fn tenant_range_to(tenant: &TenantId, keys: KeyRange) -> v1::TenantRange {
    v1::TenantRange { tenant: name_of(tenant), keys: Some(key_range_to_proto(keys)) }
}

pub(super) fn tenant_range_from(range: &v1::TenantRange) -> Result<(TenantId, KeyRange)> {
    Ok((tenant_from(&range.tenant)?, key_range_from_proto(range.keys.as_ref())?))
}

pub(super) fn entries_to(entries: &[(SeriesKey, ShardId)]) -> Vec<v1::RouteEntry> {
    entries.iter().map(|(upper, shard)| v1::RouteEntry { upper: upper.0, shard: shard.0 }).collect()
}

pub(super) fn entries_from(entries: &[v1::RouteEntry]) -> Vec<(SeriesKey, ShardId)> {
    entries.iter().map(|entry| (SeriesKey(entry.upper), ShardId(entry.shard))).collect()
}

pub(super) fn tenant_to(tenant: &Tenant) -> v1::TenantRecord {
    let route = tenant.route.as_deref();
    v1::TenantRecord {
        tenant: name_of(&tenant.id),
        route_epoch: route.map_or(0, |route| route.epoch().0),
        route: route.map_or(vec![], |route| entries_to(route.entries())),
        limits: tenant.limits.as_ref().map(limits_to),
        retention_ms: tenant.retention_ms,
    }
}

pub(super) fn tenant_record_from(tenant: &v1::TenantRecord) -> Result<Tenant> {
    let route = match tenant.route.is_empty() {
        true => None,
        false => {
            let route = Route::new(Epoch(tenant.route_epoch), entries_from(&tenant.route));
            let detail = || format!("route does not cover the key space: tenant={}", tenant.tenant);
            Some(Arc::new(route.ok_or_else(|| CatalogError::corrupt("route", detail()))?))
        }
    };
    Ok(Tenant {
        id: tenant_from(&tenant.tenant)?,
        route,
        limits: tenant.limits.as_ref().map(limits_from),
        retention_ms: tenant.retention_ms,
    })
}

pub(super) fn limits_to(limits: &TenantLimits) -> v1::TenantLimitsRecord {
    v1::TenantLimitsRecord {
        series_max: limits.series_max,
        samples_per_s_max: limits.samples_per_s_max,
        ooo_window_ms: limits.ooo_window_ms,
        labels_per_series_max: limits.labels_per_series_max,
        label_name_bytes_max: limits.label_name_bytes_max,
        label_value_bytes_max: limits.label_value_bytes_max,
        query_samples_max: limits.query_samples_max,
    }
}

pub(super) fn limits_from(limits: &v1::TenantLimitsRecord) -> TenantLimits {
    TenantLimits {
        series_max: limits.series_max,
        samples_per_s_max: limits.samples_per_s_max,
        ooo_window_ms: limits.ooo_window_ms,
        labels_per_series_max: limits.labels_per_series_max,
        label_name_bytes_max: limits.label_name_bytes_max,
        label_value_bytes_max: limits.label_value_bytes_max,
        query_samples_max: limits.query_samples_max,
    }
}

pub(super) fn block_to(entry: &BlockEntry) -> v1::CatalogBlock {
    v1::CatalogBlock {
        record: Some(record_to_proto(&entry.record)),
        added: entry.added.0,
        deletes_upto: entry.deletes_upto,
        stored_ms: entry.stored_ms,
    }
}

pub(super) fn block_from(entry: &v1::CatalogBlock) -> Result<BlockEntry> {
    Ok(BlockEntry {
        record: record_from_proto(required("catalog block", entry.record.as_ref())?)?,
        added: CatalogVersion(entry.added),
        deletes_upto: entry.deletes_upto,
        stored_ms: entry.stored_ms,
    })
}

pub(super) fn pending_to(pending: &PendingObject) -> v1::PendingObject {
    v1::PendingObject {
        block: block_id_to_proto(pending.block),
        replaced_ms: pending.replaced_ms,
        replaced: pending.replaced.0,
    }
}

pub(super) fn pending_from(pending: &v1::PendingObject) -> Result<PendingObject> {
    Ok(PendingObject {
        block: block_id_from_proto(&pending.block)?,
        replaced_ms: pending.replaced_ms,
        replaced: CatalogVersion(pending.replaced),
    })
}

pub(super) fn cuts_to<'a>(
    cuts: impl IntoIterator<Item = (&'a ShardId, &'a Cut)>,
) -> Vec<v1::ShardCut> {
    cuts.into_iter().map(|(shard, cut)| v1::ShardCut { shard: shard.0, cut: cut.0 }).collect()
}

pub(super) fn cuts_from(cuts: &[v1::ShardCut]) -> Vec<(ShardId, Cut)> {
    cuts.iter().map(|cut| (ShardId(cut.shard), Cut(cut.cut))).collect()
}

pub(super) fn matchers_to(matchers: &[Matcher]) -> Vec<v1::LabelMatcher> {
    let op = |matcher: &Matcher| match matcher.op() {
        MatchOp::Equal => 0,
        MatchOp::NotEqual => 1,
        MatchOp::Regex => 2,
        MatchOp::NotRegex => 3,
    };
    let message = |m: &Matcher| v1::LabelMatcher {
        name: m.name().to_string(),
        op: op(m),
        value: m.value().to_string(),
    };
    matchers.iter().map(message).collect()
}

pub(super) fn matchers_from(matchers: &[v1::LabelMatcher]) -> Result<Vec<Matcher>> {
    all(matchers, |matcher| {
        let op = match matcher.op {
            0 => MatchOp::Equal,
            1 => MatchOp::NotEqual,
            2 => MatchOp::Regex,
            3 => MatchOp::NotRegex,
            other => return Err(CatalogError::corrupt("matcher", format!("op={other}"))),
        };
        Matcher::new(matcher.name.clone(), op, matcher.value.clone())
            .map_err(|e| CatalogError::corrupt("matcher", e.to_string()))
    })
}

pub(super) fn delete_to(delete: &DeleteRecord) -> v1::DeleteRecord {
    v1::DeleteRecord {
        number: delete.number,
        tenant: name_of(&delete.tenant),
        matchers: matchers_to(&delete.matchers),
        min_ms: delete.time.min_ms,
        max_ms: delete.time.max_ms,
        fences: cuts_to(&delete.fences),
        created_ms: delete.created_ms,
    }
}

pub(super) fn delete_from(delete: &v1::DeleteRecord) -> Result<DeleteRecord> {
    Ok(DeleteRecord {
        number: delete.number,
        tenant: tenant_from(&delete.tenant)?,
        matchers: matchers_from(&delete.matchers)?,
        time: TimeRange { min_ms: delete.min_ms, max_ms: delete.max_ms },
        fences: cuts_from(&delete.fences).into_iter().collect(),
        created_ms: delete.created_ms,
    })
}

pub(super) fn spec_to(spec: &WorkSpec) -> v1::WorkSpec {
    let kind = match spec.kind {
        WorkKind::Merge => v1::WorkKind::Merge,
        WorkKind::Rewrite => v1::WorkKind::Rewrite,
    };
    v1::WorkSpec {
        kind: kind.into(),
        inputs: blocks_to(&spec.inputs),
        min_ms: spec.window.min_ms,
        max_ms: spec.window.max_ms,
        level: spec.level,
    }
}

pub(super) fn spec_from(spec: &v1::WorkSpec) -> Result<WorkSpec> {
    let kind = match spec.kind() {
        v1::WorkKind::Merge => WorkKind::Merge,
        v1::WorkKind::Rewrite => WorkKind::Rewrite,
        v1::WorkKind::Unspecified => {
            return Err(CatalogError::corrupt("work", format!("unknown kind={}", spec.kind)));
        }
    };
    Ok(WorkSpec {
        kind,
        inputs: blocks_from(&spec.inputs)?,
        window: TimeRange { min_ms: spec.min_ms, max_ms: spec.max_ms },
        level: spec.level,
    })
}

pub(super) fn work_item_to(item: &WorkItem) -> v1::WorkItem {
    v1::WorkItem { id: item.id, spec: Some(spec_to(&item.spec)), deletes_upto: item.deletes_upto }
}

pub(super) fn work_item_from(item: Option<&v1::WorkItem>) -> Result<WorkItem> {
    let item = required("work item", item)?;
    Ok(WorkItem {
        id: item.id,
        spec: spec_from(required("work item", item.spec.as_ref())?)?,
        deletes_upto: item.deletes_upto,
    })
}

pub(super) fn lease_to(lease: &Lease) -> v1::LeaseRecord {
    v1::LeaseRecord {
        item: Some(work_item_to(&lease.item)),
        holder: lease.holder.map_or(0, |holder| holder.0),
        epoch: lease.epoch.0,
        granted: lease.granted.0,
        renewed_ms: lease.renewed_ms,
        failures: lease.failures,
    }
}

pub(super) fn lease_from(lease: &v1::LeaseRecord) -> Result<Lease> {
    Ok(Lease {
        item: work_item_from(lease.item.as_ref())?,
        holder: (lease.holder != 0).then_some(NodeId(lease.holder)),
        epoch: Epoch(lease.epoch),
        granted: CatalogVersion(lease.granted),
        renewed_ms: lease.renewed_ms,
        failures: lease.failures,
    })
}
