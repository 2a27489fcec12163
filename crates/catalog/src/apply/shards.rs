//! Commands about shards and routes. Here INV-3 is kept: a route names open shards only, in every
//! version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pando_model::{Epoch, KeyRange, NodeId, SeriesKey, ShardId, TenantId};

use super::{Applied, refuse, within};
use crate::catalog::Catalog;
use crate::command::{CommandReply, SealResult, Successor};
use crate::error::{CommandRefused, Reason};
use crate::limits::{
    RANGES_PER_TENANT_MAX, SEAL_ANSWER_BYTES_MAX, SHARDS_MAX, SHARDS_PER_COMMAND_MAX, TENANTS_MAX,
};
use crate::node::Role;
use crate::route::Route;
use crate::shard::{Seal, Shard, ShardInfo, ShardStage};
use crate::tenant::Tenant;

type Ranges = BTreeMap<TenantId, Vec<(KeyRange, ShardId)>>;

impl Catalog {
    pub(crate) fn open_shards(&mut self, shards: &[Vec<NodeId>], now_ms: i64) -> Applied {
        if shards.is_empty() {
            refuse!(BadCommand, "no shard to open");
        }
        self.check_room_for_shards(shards.len())?;
        shards.iter().try_for_each(|members| self.check_members(members))?;
        let opened = shards.iter().map(|members| self.open_shard(members, vec![], now_ms));
        Ok(CommandReply::Shards(opened.collect()))
    }

    pub(crate) fn assign_tenant(
        &mut self,
        tenant: &TenantId,
        entries: &[(SeriesKey, ShardId)],
    ) -> Applied {
        let known = self.tenants.get(tenant);
        if known.is_some_and(|known| known.route.is_some()) {
            return Ok(CommandReply::Done);
        }
        if known.is_none() {
            within("tenants", self.tenants.len() + 1, TENANTS_MAX)?;
        }
        within("key ranges of a tenant", entries.len(), RANGES_PER_TENANT_MAX)?;
        for (_, shard) in entries {
            self.expect_stage(*shard, ShardStage::Open)?;
        }
        let Some(route) = Route::new(Epoch(1), entries.to_vec()) else {
            refuse!(BadRanges, "route does not cover the key space: tenant={tenant}");
        };
        self.set_route(tenant, route);
        Ok(CommandReply::Done)
    }

    pub(crate) fn seal_shards(
        &mut self,
        seals: &[SealResult],
        successors: &[Successor],
        now_ms: i64,
    ) -> Applied {
        within("shards of one command", seals.len() + successors.len(), SHARDS_PER_COMMAND_MAX)?;
        let sealed: BTreeSet<ShardId> = seals.iter().map(|seal| seal.shard).collect();
        if seals.is_empty() || sealed.len() != seals.len() {
            refuse!(BadCommand, "seals must name each shard once: seals={}", seals.len());
        }
        seals.iter().try_for_each(|seal| self.check_seal(seal))?;
        self.check_room_for_shards(successors.len())?;
        successors.iter().try_for_each(|s| self.check_members(&s.members))?;
        let ids: Vec<ShardId> = (self.next_shard..).take(successors.len()).map(ShardId).collect();
        let (old, new) = (self.ranges_of(&sealed), ranges_of_successors(successors, &ids));
        let routes = self.succeeded_routes(&old, &new)?;

        // Everything is checked: from here on nothing fails.
        let predecessors: Vec<ShardId> = sealed.iter().copied().collect();
        for successor in successors {
            self.open_shard(&successor.members, predecessors.clone(), now_ms);
        }
        for seal in seals {
            self.record_seal(seal, &old, &ids, now_ms);
        }
        for (tenant, route) in routes {
            self.set_route(&tenant, route);
        }
        Ok(CommandReply::Shards(ids))
    }

    pub(crate) fn close_shard(&mut self, shard: ShardId, now_ms: i64) -> Applied {
        let found = self.expect_shard(shard)?;
        match found.info.stage {
            ShardStage::Closed => return Ok(CommandReply::Done),
            ShardStage::Open => refuse!(ShardStage, "shard is open: shard={shard}"),
            ShardStage::Sealed => {}
        }
        if !found.is_drained() {
            let next = found.next_cut;
            refuse!(ShardStage, "shard has live generations: shard={shard} next_cut={next}");
        }
        let found = self.shards.get_mut(&shard).expect("it was found above");
        let info = Arc::make_mut(&mut found.info);
        (info.stage, info.closed_ms) = (ShardStage::Closed, now_ms);
        self.routing_changes.open.shards.insert(shard);
        Ok(CommandReply::Done)
    }

    pub(crate) fn forget_shards(&mut self, shards: &[ShardId]) -> Applied {
        within("shards of one command", shards.len(), SHARDS_PER_COMMAND_MAX)?;
        for shard in shards {
            self.expect_stage(*shard, ShardStage::Closed)?;
        }
        for shard in shards {
            self.shards.remove(shard);
            self.routing_changes.open.shards.insert(*shard);
            self.block_changes.open.cuts.insert(*shard);
        }
        Ok(CommandReply::Done)
    }

    pub(crate) fn expect_shard(&self, shard: ShardId) -> Result<&Shard, CommandRefused> {
        self.shards.get(&shard).ok_or_else(|| {
            CommandRefused::new(Reason::UnknownShard, format!("no such shard: shard={shard}"))
        })
    }

    fn expect_stage(&self, shard: ShardId, stage: ShardStage) -> Result<&Shard, CommandRefused> {
        let found = self.expect_shard(shard)?;
        if found.info.stage != stage {
            let is = found.info.stage;
            refuse!(ShardStage, "shard is not {stage:?}: shard={shard} stage={is:?}");
        }
        Ok(found)
    }

    fn check_room_for_shards(&self, more: usize) -> Result<(), CommandRefused> {
        within("shards of one command", more, SHARDS_PER_COMMAND_MAX)?;
        within("shards", self.shards.len() + more, SHARDS_MAX)
    }

    /// 1 or 3 distinct ingesters: two or four replicas tolerate no more faults than one or three.
    fn check_members(&self, members: &[NodeId]) -> Result<(), CommandRefused> {
        let distinct: BTreeSet<&NodeId> = members.iter().collect();
        if !matches!(members.len(), 1 | 3) || distinct.len() != members.len() {
            refuse!(BadMembers, "a shard has 1 or 3 distinct members: members={members:?}");
        }
        for member in members {
            match self.nodes.get(member) {
                None => refuse!(UnknownNode, "no such node: node={member}"),
                Some(node) if !node.has(Role::Ingester) => {
                    refuse!(WrongRole, "node is no ingester: node={member}")
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn check_seal(&self, seal: &SealResult) -> Result<(), CommandRefused> {
        let shard = self.expect_stage(seal.shard, ShardStage::Open)?;
        within("bytes of a seal's answer", seal.answer.len(), SEAL_ANSWER_BYTES_MAX)?;
        let (id, term, known) = (seal.shard, seal.term, shard.term);
        if term < known {
            refuse!(OldTerm, "a later leader has spoken: shard={id} term={term} known={known}");
        }
        if seal.last_cut.next() < shard.next_cut {
            let (last, next) = (seal.last_cut, shard.next_cut);
            refuse!(BadCommand, "seal before a commit: shard={id} last_cut={last} next_cut={next}");
        }
        Ok(())
    }

    fn open_shard(
        &mut self,
        members: &[NodeId],
        predecessors: Vec<ShardId>,
        now_ms: i64,
    ) -> ShardId {
        let id = ShardId(self.next_shard);
        self.next_shard += 1;
        let info = ShardInfo {
            id,
            stage: ShardStage::Open,
            members: members.to_vec(),
            predecessors,
            successors: vec![],
            opened_ms: now_ms,
            seal: None,
            closed_ms: 0,
        };
        self.shards.insert(id, Shard::opened(info));
        self.routing_changes.open.shards.insert(id);
        self.block_changes.open.cuts.insert(id);
        id
    }

    fn record_seal(
        &mut self,
        seal: &SealResult,
        old: &Ranges,
        successors: &[ShardId],
        now_ms: i64,
    ) {
        let shard = self.shards.get_mut(&seal.shard).expect("its stage was checked");
        shard.term = seal.term;
        let info = Arc::make_mut(&mut shard.info);
        let ranges = old.iter().filter_map(|(tenant, ranges)| {
            let own = ranges.iter().filter(|(_, s)| *s == seal.shard).map(|(range, _)| *range);
            let own: Vec<KeyRange> = own.collect();
            (!own.is_empty()).then(|| (tenant.clone(), own))
        });
        info.seal = Some(Arc::new(Seal {
            last_cut: seal.last_cut,
            answer: seal.answer.clone(),
            sealed_ms: now_ms,
            ranges: ranges.collect(),
        }));
        info.stage = ShardStage::Sealed;
        info.successors = successors.to_vec();
        self.routing_changes.open.shards.insert(seal.shard);
    }

    /// The ranges that routes give to `shards`, by tenant, in order.
    fn ranges_of(&self, shards: &BTreeSet<ShardId>) -> Ranges {
        let mut found = Ranges::new();
        for (tenant, state) in &self.tenants {
            let route = state.route.iter().flat_map(|route| route.ranges());
            for range in route.filter(|(_, shard)| shards.contains(shard)) {
                found.entry(tenant.clone()).or_default().push(range);
            }
        }
        found
    }

    /// The routes of all tenants of `old`, with `new` in the place of `old`; refused unless both
    /// are the same keys: a route's form sees every gap and every overlap.
    fn succeeded_routes(
        &self,
        old: &Ranges,
        new: &Ranges,
    ) -> Result<Vec<(TenantId, Route)>, CommandRefused> {
        if let Some(tenant) = new.keys().find(|tenant| !old.contains_key(*tenant)) {
            refuse!(BadRanges, "successor of nothing: tenant={tenant}");
        }
        let mut routes = vec![];
        for (tenant, before) in old {
            let after = new.get(tenant).map_or(&[][..], Vec::as_slice);
            let route = self.tenants[tenant].route.as_ref().expect("it has ranges");
            let stays = route.ranges().filter(|range| !before.contains(range));
            let mut ranges: Vec<(KeyRange, ShardId)> = stays.chain(after.iter().copied()).collect();
            ranges.sort_unstable_by_key(|(range, _)| range.first);
            within("key ranges of a tenant", ranges.len(), RANGES_PER_TENANT_MAX)?;
            let Some(route) = Route::from_ranges(route.epoch().next(), &ranges) else {
                refuse!(BadRanges, "successors do not cover the sealed ranges: tenant={tenant}");
            };
            routes.push((tenant.clone(), route));
        }
        Ok(routes)
    }

    fn set_route(&mut self, tenant: &TenantId, route: Route) {
        let state = self.tenants.entry(tenant.clone());
        let state = state.or_insert_with(|| Arc::new(Tenant::new(tenant.clone())));
        Arc::make_mut(state).route = Some(Arc::new(route));
        self.routing_changes.open.tenants.insert(tenant.clone());
    }
}

fn ranges_of_successors(successors: &[Successor], ids: &[ShardId]) -> Ranges {
    let mut ranges = Ranges::new();
    for (successor, id) in successors.iter().zip(ids) {
        for (tenant, range) in &successor.ranges {
            ranges.entry(tenant.clone()).or_default().push((*range, *id));
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
