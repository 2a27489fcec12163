//! The whole catalog as one object: for the checkpoint of its log and for the bucket.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use pando_model::{CatalogVersion, ClusterId, Cut, ShardId};
use pando_proto::record::{
    block_id_from_proto, block_id_to_proto, digest_from_proto, digest_to_proto,
};
use pando_proto::v1;
use prost::Message;

use super::envelope::{Kind, unwrap, wrap};
use super::records::{
    block_from, block_to, delete_from, delete_to, lease_from, lease_to, limits_from, limits_to,
    node_from, node_to, pending_from, pending_to, shard_from, shard_to, tenant_record_from,
    tenant_to,
};
use super::{Result, all, blocks_from, parse, required};
use crate::catalog::Catalog;
use crate::changes::Changes;
use crate::error::CatalogError;
use crate::limits::CHANGES_KEPT;
use crate::shard::{Commit, Shard, ShardStage};

/// Versions stay far from overflow.
const VERSION_MAX: u64 = 1 << 62;

impl Catalog {
    /// The whole state, checksummed: equal catalogs have equal bytes.
    pub fn snapshot(&self) -> Bytes {
        wrap(Kind::Snapshot, &to_wire(self).encode_to_vec())
    }

    /// The state without its version, to see whether a command changed anything else.
    #[cfg(test)]
    pub(crate) fn snapshot_without_version(&self) -> Vec<u8> {
        let mut message = to_wire(self);
        message.applied = 0;
        message.encode_to_vec()
    }

    /// Reads what [`Catalog::snapshot`] wrote. Any damage is an error, and so is a route that names
    /// a shard that is not open (INV-3).
    pub fn restore(bytes: &[u8]) -> Result<Catalog> {
        let message: v1::CatalogSnapshot = parse("snapshot", unwrap(Kind::Snapshot, bytes)?)?;
        let catalog = from_wire(&message)?;
        for tenant in catalog.tenants.values() {
            let entries = tenant.route.iter().flat_map(|route| route.entries());
            for (_, shard) in entries {
                let found = catalog.shards.get(shard);
                if found.is_none_or(|found| found.info.stage != ShardStage::Open) {
                    let detail =
                        format!("route to no open shard: tenant={} shard={shard}", tenant.id);
                    return Err(CatalogError::corrupt("snapshot", detail));
                }
            }
        }
        Ok(catalog)
    }
}

fn to_wire(catalog: &Catalog) -> v1::CatalogSnapshot {
    v1::CatalogSnapshot {
        base: catalog.base,
        applied: catalog.applied,
        cluster: catalog.cluster.map_or(0, |cluster| cluster.0),
        feature_level: catalog.feature_level,
        routing_changed: catalog.routing_changed.0,
        blocks_changed: catalog.blocks_changed.0,
        next_shard: catalog.next_shard,
        next_work: catalog.next_work,
        next_delete: catalog.next_delete,
        default_limits: Some(limits_to(&catalog.default_limits)),
        default_retention_ms: catalog.default_retention_ms,
        nodes: catalog.nodes.values().map(|node| node_to(node)).collect(),
        shards: catalog.shards.values().map(progress_to).collect(),
        tenants: catalog.tenants.values().map(|tenant| tenant_to(tenant)).collect(),
        blocks: catalog.blocks.values().map(|entry| block_to(entry)).collect(),
        pending: catalog.pending.values().map(pending_to).collect(),
        refused: catalog.refused.iter().map(|id| block_id_to_proto(*id)).collect(),
        deletes: catalog.deletes.values().map(|delete| delete_to(delete)).collect(),
        leases: catalog.leases.values().map(lease_to).collect(),
        retention_bytes: catalog.retention_bytes,
    }
}

fn from_wire(message: &v1::CatalogSnapshot) -> Result<Catalog> {
    if message.base > VERSION_MAX || message.applied > VERSION_MAX {
        let (base, applied) = (message.base, message.applied);
        let detail = format!("version out of bounds: base={base} applied={applied}");
        return Err(CatalogError::corrupt("snapshot", detail));
    }
    let version = CatalogVersion(message.base + message.applied);
    let shards = all(&message.shards, progress_from)?;
    let nodes = all(&message.nodes, node_from)?;
    let tenants = all(&message.tenants, tenant_record_from)?;
    let blocks = all(&message.blocks, block_from)?;
    let pending = all(&message.pending, pending_from)?;
    let deletes = all(&message.deletes, delete_from)?;
    let leases = all(&message.leases, lease_from)?;
    let catalog = Catalog {
        base: message.base,
        applied: message.applied,
        cluster: (message.cluster != 0).then_some(ClusterId(message.cluster)),
        feature_level: message.feature_level,
        routing_changed: CatalogVersion(message.routing_changed),
        blocks_changed: CatalogVersion(message.blocks_changed),
        next_shard: message.next_shard,
        next_work: message.next_work,
        next_delete: message.next_delete,
        default_limits: limits_from(required("snapshot", message.default_limits.as_ref())?),
        default_retention_ms: message.default_retention_ms,
        retention_bytes: message.retention_bytes,
        nodes: nodes.into_iter().map(|node| (node.id, Arc::new(node))).collect(),
        shards: shards.into_iter().map(|shard| (shard.info.id, shard)).collect(),
        tenants: tenants.into_iter().map(|t| (t.id.clone(), Arc::new(t))).collect(),
        blocks: blocks.into_iter().collect(),
        pending: pending.into_iter().map(|p| (p.block, p)).collect(),
        refused: blocks_from(&message.refused)?.into_iter().collect(),
        deletes: deletes.into_iter().map(|d| (d.number, Arc::new(d))).collect(),
        leases: leases.into_iter().map(|lease| (lease.item.id, lease)).collect::<BTreeMap<_, _>>(),
        routing_changes: Changes::new(version, CHANGES_KEPT),
        block_changes: Changes::new(version, CHANGES_KEPT),
    };
    let shard = catalog.shards.keys().next_back().map_or(0, |id| id.0);
    let work = catalog.leases.keys().next_back().copied().unwrap_or(0);
    let delete = catalog.deletes.keys().next_back().copied().unwrap_or(0);
    if catalog.next_shard <= shard || catalog.next_work <= work || catalog.next_delete <= delete {
        return Err(CatalogError::corrupt("snapshot", "an id would be given twice"));
    }
    Ok(catalog)
}

fn progress_to(shard: &Shard) -> v1::ShardProgress {
    let commits = shard.commits.iter().map(|commit| v1::CommittedCut {
        cut: commit.cut.0,
        block: commit.block.map(block_id_to_proto).unwrap_or_default(),
        digest: Some(digest_to_proto(commit.digest)),
    });
    v1::ShardProgress {
        shard: Some(shard_to(&shard.info)),
        next_cut: shard.next_cut.0,
        term: shard.term,
        commits: commits.collect(),
    }
}

fn progress_from(progress: &v1::ShardProgress) -> Result<Shard> {
    let commits = progress.commits.iter().map(|commit| {
        let block = match commit.block.is_empty() {
            true => None,
            false => Some(block_id_from_proto(&commit.block)?),
        };
        let digest = digest_from_proto(commit.digest.as_ref())?;
        Ok(Commit { cut: Cut(commit.cut), block, digest })
    });
    let info = shard_from(required("shard", progress.shard.as_ref())?)?;
    if info.id == ShardId(0) || progress.next_cut == 0 {
        return Err(CatalogError::corrupt("shard", "shards and cuts are counted from 1"));
    }
    Ok(Shard {
        info: Arc::new(info),
        next_cut: Cut(progress.next_cut),
        term: progress.term,
        commits: commits.collect::<Result<VecDeque<_>>>()?,
    })
}

#[cfg(test)]
mod tests {
    use pando_model::{CatalogVersion, Matcher, ShardId, TimeRange};
    use xxhash_rust::xxh3::xxh3_64;

    use crate::testdata::{Bench, tenant};
    use crate::wire::StreamedView as _;
    use crate::{BlocksView, Command, NewDelete, RoutingView, TenantLimits, WorkKind, WorkSpec};

    /// Something of everything that a catalog holds.
    fn bench() -> Bench {
        let mut bench = Bench::with_tenant();
        // The pinned bytes do not change with the defaults.
        bench.catalog.default_limits.series_max = 0;
        let (a, b) = (bench.commit(1, 1, 1, "a"), bench.commit(2, 1, 2, "a"));
        let window = TimeRange { min_ms: 0, max_ms: 7_200_000 };
        let inputs = vec![a.id, b.id];
        let spec = WorkSpec { kind: WorkKind::Merge, inputs, window, level: 1 };
        bench.ok(Command::GrantLease {
            grant: crate::Grant::New(spec),
            holder: pando_model::NodeId(1),
            now_ms: 20,
        });
        bench.ok(Command::AddDelete(NewDelete {
            tenant: tenant("a"),
            matchers: vec![Matcher::equal("job", "j")],
            time: window,
            fences: vec![(ShardId(1), pando_model::Cut(3))],
            now_ms: 30,
        }));
        let limits = Some(TenantLimits { series_max: 4, ..TenantLimits::default() });
        bench.ok(Command::SetTenantLimits { tenant: Some(tenant("a")), limits });
        bench.ok(Command::SetRetention { tenant: None, retention_ms: Some(86_400_000) });
        bench
    }

    /// Snapshots are kept in the bucket and views on disks: what was once written must be read for
    /// ever. A changed hash is a changed format.
    #[test]
    fn version_one_is_pinned() {
        let catalog = bench().catalog;
        let (mut routing, mut blocks) = (RoutingView::new(), BlocksView::new());
        let from = CatalogVersion(0);
        routing.apply(&catalog.routing_since(from).expect("a full state")).expect("fits");
        blocks.apply(&catalog.blocks_since(from).expect("a full state")).expect("fits");
        let hashes = [catalog.snapshot(), routing.to_bytes(), blocks.to_bytes()];
        let pinned =
            [633_425_025_442_441_047, 15_229_303_743_768_304_672, 15_732_185_895_243_495_981];
        assert_eq!(hashes.map(|bytes| xxh3_64(&bytes)), pinned);
    }
}
