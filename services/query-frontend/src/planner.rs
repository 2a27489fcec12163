//! The planner: where the samples of a tenant, a range of keys and a time are, and who reads them.
//! Pure.
//!
//! ```text
//! keys of the tenant   |---- range 1 ----|------ range 2 ------|   one fragment each
//! blocks               every raw block with keys and times of it
//! live generations     of the open shard from its next cut on, and of sealed shards that had keys
//! ```
//!
//! At one version of the catalog a generation is either in a block or live, and a series has one
//! key: so each sample is in exactly one source of exactly one fragment (INV-5). The executor reads
//! of its sources only what has a key of the fragment.

use std::sync::Arc;

use pando_catalog::{BlockEntry, CatalogView, ShardInfo, ShardStage};
use pando_cluster::GatewayRing;
use pando_executor::{LiveSource, Sources};
use pando_model::{ErrorKind, KeyRange, NodeId, ShardId, TenantId, TimeRange};

/// For how long the members of a shard keep its committed blocks in their own caches, ms.
const MEMBER_CACHE_MS: i64 = 3 * 3_600_000;

/// Why a fragment has no sources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The catalog has a shard, but not where its live generations begin.
    #[error("catalog does not say where live generations begin: shard={shard} version={version}")]
    NoCut {
        /// The shard.
        shard: ShardId,
        /// The version of the catalog.
        version: u64,
    },
    /// Nobody is registered who could read.
    #[error("no ingester or store gateway is registered: version={version}")]
    NoMember {
        /// The version of the catalog.
        version: u64,
    },
}

impl PlanError {
    /// Time heals both.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

/// A member that can execute a fragment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The member.
    pub node: NodeId,
    /// Its gRPC address.
    pub address: String,
}

/// A fragment with its sources, and who executes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacedFragment {
    /// Where its samples are.
    pub sources: Sources,
    /// Who executes it, best first: each of them can. Never empty.
    pub members: Vec<Placement>,
}

/// What is planned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Whose samples.
    pub(crate) tenant: &'a TenantId,
    /// Of which keys.
    pub(crate) keys: KeyRange,
    /// Of which times.
    pub(crate) time: TimeRange,
    /// Wall time, ms: how old a block is decides where it is cached.
    pub(crate) now_ms: i64,
    /// Counts queries: members of a shard take turns.
    pub(crate) turn: u64,
    /// Blocks of one interval of this length, ms, are read by the same gateways; 0: all blocks are.
    pub(crate) interval_ms: i64,
}

impl Wanted<'_> {
    /// The number of the interval that the time ends in.
    fn interval(&self) -> i64 {
        match self.interval_ms {
            0 => 0,
            interval_ms => self.time.max_ms.saturating_sub(1).div_euclid(interval_ms),
        }
    }
}

/// The fragments that together read every sample of `wanted` once. None where the tenant has no
/// route.
///
/// # Errors
/// [`PlanError`]
pub(crate) fn plan(
    view: &CatalogView,
    gateways: &GatewayRing,
    wanted: Wanted<'_>,
) -> Result<Vec<PlacedFragment>, PlanError> {
    let mut fragments = Vec::new();
    for (range, shard) in pando_cluster::pieces(&view.routing, wanted.tenant) {
        if let Some(keys) = range.intersect(wanted.keys) {
            fragments.push(fragment(view, gateways, Wanted { keys, ..wanted }, shard)?);
        }
    }
    Ok(fragments)
}

/// The blocks that are read for samples of `tenant`, by id. Rollups are not: they hold the same samples once more.
pub(crate) fn raw_blocks(
    view: &CatalogView,
    tenant: &TenantId,
    keys: KeyRange,
    time: TimeRange,
) -> Vec<Arc<BlockEntry>> {
    let mut blocks = view.blocks.select(tenant, keys, time);
    blocks.retain(|entry| entry.record.resolution_ms == 0);
    blocks
}

fn fragment(
    view: &CatalogView,
    gateways: &GatewayRing,
    wanted: Wanted<'_>,
    open: ShardId,
) -> Result<PlacedFragment, PlanError> {
    let blocks = raw_blocks(view, wanted.tenant, wanted.keys, wanted.time);
    let mut live = Vec::new();
    for shard in view.routing.live_shards(wanted.tenant, wanted.keys).into_keys() {
        live.extend(live_source(view, shard)?);
    }
    let sources = Sources {
        tenant: wanted.tenant.clone(),
        keys: wanted.keys,
        version: view.version,
        blocks: blocks.iter().map(|entry| entry.record.clone()).collect(),
        live,
    };
    let (old_bytes, young_bytes) = bytes_by_age(&blocks, wanted);
    let own = sources.live.iter().find(|source| source.shard == open);
    let members = own.map(|source| in_turn(source, wanted.turn)).unwrap_or_default();
    let ring = gateways.for_fragment(wanted.tenant, wanted.keys.first, wanted.interval());
    let gateways = ring.iter().filter_map(|&node| placement(view, node)).collect::<Vec<_>>();
    let mut order = match old_bytes > young_bytes {
        true => [gateways, members].concat(),
        false => [members, gateways].concat(),
    };
    let mut seen = std::collections::BTreeSet::new();
    order.retain(|placement| seen.insert(placement.node));
    if order.is_empty() {
        let ingesters = view.routing.nodes_with(pando_catalog::Role::Ingester);
        order.extend(ingesters.filter_map(|node| placement(view, node.id)));
    }
    match order.is_empty() {
        true => Err(PlanError::NoMember { version: view.version.0 }),
        false => Ok(PlacedFragment { sources, members: order }),
    }
}

/// The live generations of `shard`; `None` where all are in blocks.
fn live_source(view: &CatalogView, shard: ShardId) -> Result<Option<LiveSource>, PlanError> {
    let no_cut = || PlanError::NoCut { shard, version: view.version.0 };
    let info = view.routing.shard(shard).ok_or_else(no_cut)?;
    let first_cut = view.blocks.next_cut(shard).ok_or_else(no_cut)?;
    if info.seal.as_ref().is_some_and(|seal| first_cut > seal.last_cut) {
        return Ok(None);
    }
    let members = members_of(view, info);
    Ok(Some(LiveSource { shard, first_cut, sealed: info.stage != ShardStage::Open, members }))
}

fn members_of(view: &CatalogView, info: &ShardInfo) -> Vec<(NodeId, String)> {
    let known = info.members.iter().filter_map(|&member| placement(view, member));
    known.map(|placement| (placement.node, placement.address)).collect()
}

fn placement(view: &CatalogView, node: NodeId) -> Option<Placement> {
    let address = view.routing.node(node)?.grpc_address.clone();
    Some(Placement { node, address })
}

fn in_turn(source: &LiveSource, turn: u64) -> Vec<Placement> {
    let all = source.members.iter();
    let mut members: Vec<Placement> =
        all.map(|(node, address)| Placement { node: *node, address: address.clone() }).collect();
    if !members.is_empty() {
        let by = turn % members.len() as u64;
        members.rotate_left(by as usize);
    }
    members
}

/// Bytes of blocks that only gateways cache, and of those that the shard's members still have.
fn bytes_by_age(blocks: &[Arc<BlockEntry>], wanted: Wanted<'_>) -> (u64, u64) {
    let kept_since_ms = wanted.now_ms.saturating_sub(MEMBER_CACHE_MS);
    blocks.iter().fold((0, 0), |(old, young), entry| {
        let bytes = entry.record.object_bytes;
        match entry.stored_ms < kept_since_ms {
            true => (old + bytes, young),
            false => (old, young + bytes),
        }
    })
}

#[cfg(test)]
mod tests;
