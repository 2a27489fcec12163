//! Moving, splitting, draining and healing: all of it is sealing a shard and opening its
//! successors.
//!
//! A decider makes a [`SealPlan`]; the runner has the shards sealed by their leaders, and then
//! proposes [`SealPlan::command`] with their answers. The ranges are read from the catalog at that
//! moment, so that a tenant that was assigned meanwhile is not left behind, and a refused proposal
//! is simply made again.

use std::collections::BTreeMap;

use pando_catalog::{Catalog, Command, Node, SealResult, Shard, ShardStage, Successor};
use pando_model::{KeyRange, NodeId, SeriesKey, ShardId, TenantId};

use crate::error::PlacementError;
use crate::placement::{PlacementSettings, candidates, choose_members, loads};
use crate::presence::Presence;
use crate::ranges::joined;

/// Which shards are to be sealed, and by whom they are succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealPlan {
    /// The shards.
    pub shards: Vec<ShardId>,
    /// The members of each successor: one that takes all, or two of which the second takes the keys
    /// from the medians on.
    pub members: Vec<Vec<NodeId>>,
    /// For a split: the first key of each tenant that goes to the second successor.
    pub medians: BTreeMap<TenantId, SeriesKey>,
}

impl SealPlan {
    /// The plan of a split, at the keys that halve the samples of each tenant. A shard with too little
    /// in it to split is succeeded as it is.
    #[must_use]
    pub fn at_medians(mut self, catalog: &Catalog, medians: BTreeMap<TenantId, SeriesKey>) -> Self {
        self.medians = medians;
        let ranges = ranges_of(catalog, &self.shards);
        let halves = ranges.iter().map(|(tenant, range)| self.halves(tenant, *range));
        let (left, right): (Vec<_>, Vec<_>) = halves.unzip();
        if left.iter().all(Option::is_none) || right.iter().all(Option::is_none) {
            self.members.truncate(1);
            self.medians.clear();
        }
        self
    }

    /// The command that records the seals and opens the successors.
    pub fn command(&self, catalog: &Catalog, seals: Vec<SealResult>, now_ms: i64) -> Command {
        let mut successors: Vec<Successor> = self
            .members
            .iter()
            .map(|members| Successor { members: members.clone(), ranges: vec![] })
            .collect();
        for (tenant, range) in ranges_of(catalog, &self.shards) {
            if successors.len() < 2 {
                successors.iter_mut().for_each(|s| s.ranges.push((tenant.clone(), range)));
                continue;
            }
            let (left, right) = self.halves(&tenant, range);
            successors[0].ranges.extend(left.map(|range| (tenant.clone(), range)));
            successors[1].ranges.extend(right.map(|range| (tenant.clone(), range)));
        }
        Command::SealShards { seals, successors, now_ms }
    }

    /// A tenant without a median has too little to be worth two shards: it goes to either, by its
    /// name.
    fn halves(&self, tenant: &TenantId, range: KeyRange) -> (Option<KeyRange>, Option<KeyRange>) {
        let median = self.medians.get(tenant).copied().unwrap_or_else(|| {
            let sum: u32 = tenant.as_str().bytes().map(u32::from).sum();
            if sum.is_multiple_of(2) { SeriesKey(0) } else { SeriesKey(u64::MAX) }
        });
        let whole_left = median == SeriesKey(u64::MAX) && !self.medians.contains_key(tenant);
        if whole_left || range.last < median {
            return (Some(range), None);
        }
        if median <= range.first {
            return (None, Some(range));
        }
        let left = KeyRange { last: SeriesKey(median.0 - 1), ..range };
        (Some(left), Some(KeyRange { first: median, ..range }))
    }
}

/// What is to be done about silent members.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HealPlan {
    /// Shards that get successors elsewhere.
    pub seals: Vec<SealPlan>,
    /// Shards whose majority is silent: nobody can seal them. They take no writes until members
    /// come back.
    pub stuck: Vec<ShardId>,
}

/// Seals shards of which a member has been silent for too long, while a majority is there to do it.
/// While there are fewer live ingesters than replicas nothing is done: two of three members are
/// better than a succession that cannot happen.
pub fn heal(catalog: &Catalog, presence: &Presence, settings: &PlacementSettings) -> HealPlan {
    let mut plan = HealPlan::default();
    let mut planner = Planner::new(catalog, presence, settings);
    for shard in catalog.open_shards_iter() {
        let silent = |node: &&NodeId| presence.silent_ms(**node) > settings.silent_ms_max;
        if shard.info.members.iter().filter(silent).count() == 0 {
            continue;
        }
        let alive = shard.info.members.iter().filter(|node| presence.is_alive(**node)).count();
        if alive < shard.info.majority() {
            plan.stuck.push(shard.info.id);
        } else if plan.seals.len() < settings.seals_per_pass_max {
            plan.seals.extend(planner.move_whole(shard));
        }
    }
    plan
}

/// Seals the shards of a node that is about to leave; call it until it plans nothing and no sealed
/// shard of the node is left.
pub fn drain(
    catalog: &Catalog,
    presence: &Presence,
    settings: &PlacementSettings,
    node: NodeId,
) -> Vec<SealPlan> {
    let mut planner = Planner::new(catalog, presence, settings);
    planner.candidates.retain(|candidate| candidate.id != node);
    let leaving = catalog.open_shards_iter().filter(|shard| shard.info.members.contains(&node));
    leaving
        .take(settings.seals_per_pass_max)
        .filter_map(|shard| planner.move_whole(shard))
        .collect()
}

/// Moves one shard from the fullest to the emptiest ingester, where that makes the load more even;
/// `None` while a succession is still going on.
pub fn rebalance(
    catalog: &Catalog,
    presence: &Presence,
    settings: &PlacementSettings,
) -> Option<SealPlan> {
    let busy = catalog.shards().values().any(|shard| shard.info.stage == ShardStage::Sealed);
    let planner = Planner::new(catalog, presence, settings);
    let load = |id: NodeId| planner.loads.get(&id).copied().unwrap_or(0);
    let by_load = |node: &&&Node| (load(node.id), node.id);
    let fullest = planner.candidates.iter().max_by_key(by_load)?.id;
    let emptiest = planner.candidates.iter().min_by_key(by_load)?.id;
    if busy || load(fullest) < load(emptiest) + 2 {
        return None;
    }
    let better = |shard: &&Shard| {
        let members = &shard.info.members;
        members.contains(&fullest) && !members.contains(&emptiest)
    };
    catalog.open_shards_iter().filter(better).find_map(|shard| {
        let plan = planner.clone().move_whole(shard)?;
        let members = &plan.members[0];
        (members.contains(&emptiest) && !members.contains(&fullest)).then_some(plan)
    })
}

/// The members of a shard's successors: of two for a split, else of one. A seal cannot be taken back,
/// so that this comes before it: what has no members must not be sealed. Where to split only the
/// sealed shard says ([`SealPlan::at_medians`]).
pub fn plan_seal(
    catalog: &Catalog,
    presence: &Presence,
    settings: &PlacementSettings,
    shard: ShardId,
    split: bool,
) -> Result<SealPlan, PlacementError> {
    settings.check()?;
    let open = catalog.open_shards_iter().find(|open| open.info.id == shard);
    let open = open.ok_or(PlacementError::NotOpen { shard })?;
    let mut planner = Planner::new(catalog, presence, settings);
    planner.unload(open);
    let mut members = vec![planner.place()?];
    if split {
        members.push(planner.place()?);
    }
    Ok(SealPlan { shards: vec![shard], members, medians: BTreeMap::new() })
}

/// The ranges of `shards`, by tenant, neighbours joined.
fn ranges_of(catalog: &Catalog, shards: &[ShardId]) -> Vec<(TenantId, KeyRange)> {
    let mut all: BTreeMap<TenantId, Vec<KeyRange>> = BTreeMap::new();
    for (tenant, ranges) in shards.iter().flat_map(|shard| catalog.shard_ranges(*shard)) {
        all.entry(tenant).or_default().extend(ranges);
    }
    let sorted = all.into_iter().flat_map(|(tenant, ranges)| {
        let ranges = joined(ranges).unwrap_or_default();
        ranges.into_iter().map(move |range| (tenant.clone(), range))
    });
    sorted.collect()
}

/// Places successors one after the other, counting what it has placed.
#[derive(Clone)]
struct Planner<'a> {
    candidates: Vec<&'a Node>,
    loads: BTreeMap<NodeId, usize>,
    replicas: usize,
}

impl<'a> Planner<'a> {
    fn new(catalog: &'a Catalog, presence: &Presence, settings: &PlacementSettings) -> Self {
        Planner {
            candidates: candidates(catalog, presence),
            loads: loads(catalog),
            replicas: settings.replicas,
        }
    }

    fn unload(&mut self, shard: &Shard) {
        for member in &shard.info.members {
            if let Some(load) = self.loads.get_mut(member) {
                *load = load.saturating_sub(1);
            }
        }
    }

    fn place(&mut self) -> Result<Vec<NodeId>, PlacementError> {
        let members = choose_members(&self.candidates, &self.loads, self.replicas)?;
        members.iter().for_each(|node| *self.loads.entry(*node).or_default() += 1);
        Ok(members)
    }

    /// A single successor for `shard`; `None`, with nothing counted, where it cannot be placed.
    fn move_whole(&mut self, shard: &Shard) -> Option<SealPlan> {
        let before = self.loads.clone();
        self.unload(shard);
        match self.place() {
            Ok(members) => Some(SealPlan {
                shards: vec![shard.info.id],
                members: vec![members],
                medians: BTreeMap::new(),
            }),
            Err(_) => {
                self.loads = before;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
