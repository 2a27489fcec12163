//! Configuration of the controller.

use std::time::Duration;

use pando_catalog::{Catalog, Command, Role, TenantLimits};
use pando_cluster::{
    CompactionSettings, PlacementError, PlacementSettings, Presence, initial_shards,
};

/// The most shards that a cluster, and ranges that a tenant, begins with: each shard is a Raft group, and each range a
/// piece of every query.
pub(crate) const AT_FIRST_MAX: usize = 4_096;

/// How a controller behaves. The values of the leading controller count.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// gRPC addresses of all controllers, this one's included, as members reach them: one or three.
    pub controllers: Vec<String>,
    /// This controller's own address among them.
    pub own_address: String,
    /// Replicas of each shard, 1 or 3; `None`: as many as there are controllers.
    pub replication_factor: Option<usize>,
    /// Open shards that a new cluster begins with, 1 to 4,096.
    pub shards: usize,
    /// Key ranges that a new tenant begins with, 1 to 4,096.
    pub tenant_ranges: usize,
    /// Limits of tenants without their own.
    pub limits: TenantLimits,
    /// How long samples of tenants without their own retention are kept, ms; 0 for ever.
    pub retention_ms: u64,
    /// What all blocks together may take, bytes; beyond it the oldest go. 0 for no limit.
    pub retention_bytes: u64,
    /// Whether operators may seal shards and change tenants' limits by gRPC.
    pub admin_api: bool,
    /// How often the bucket is searched for objects that nobody names; zero for never.
    pub orphan_interval: Duration,
    /// Objects younger than this are no orphans yet, ms: far above the longest time that an upload may be
    /// under way, and that its commit may wait for controllers.
    pub orphan_age_ms: i64,
    /// Blocks younger than this are not compacted, ms.
    pub min_block_age_ms: i64,
    /// How long a replaced object is kept, ms.
    pub delete_delay_ms: i64,
    /// A member that was silent for this long is not alive any more.
    pub member_timeout: Duration,
    /// What a heartbeat grants; shorter than `member_timeout` by more than clocks drift in that time.
    pub member_lease: Duration,
}

impl ControllerConfig {
    /// Every fault at once.
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let controllers = self.controllers.len();
        if controllers != 1 && controllers != 3 {
            faults.push(format!("there are one or three controllers: given={controllers}"));
        }
        let twice =
            |address: &&String| self.controllers.iter().filter(|a| a == address).count() > 1;
        if let Some(address) = self.controllers.iter().find(twice) {
            faults.push(format!("a controller is named twice: address={address}"));
        }
        if !self.controllers.contains(&self.own_address) {
            let (own, all) = (&self.own_address, self.controllers.join(","));
            faults.push(format!(
                "this member's gRPC address is not among the controllers: own={own} controllers={all}"
            ));
        }
        if let Some(factor) = self.replication_factor.filter(|f| *f != 1 && *f != 3) {
            faults.push(format!("a shard has one or three replicas: given={factor}"));
        }
        for (name, value) in [("shards", self.shards), ("tenant ranges", self.tenant_ranges)] {
            if value == 0 {
                faults.push(format!("at least one is needed: setting={name}"));
            }
            if value > AT_FIRST_MAX {
                faults.push(format!(
                    "too many to begin with: setting={name} given={value} max={AT_FIRST_MAX}"
                ));
            }
        }
        if self.member_lease >= self.member_timeout {
            let (lease, timeout) = (self.member_lease, self.member_timeout);
            faults.push(format!(
                "lease is not shorter than timeout: lease={lease:?} timeout={timeout:?}"
            ));
        }
        faults
    }

    /// Replicas of each shard.
    pub fn replicas(&self) -> usize {
        self.replication_factor.unwrap_or(self.controllers.len())
    }

    /// How shards are placed when they are healed or succeeded.
    pub(crate) fn placement(&self) -> PlacementSettings {
        PlacementSettings { replicas: self.replicas(), ..PlacementSettings::default() }
    }

    /// Opens the first `shards` shards once enough ingesters for the replicas are there, and not one more later on:
    /// nothing where there are some.
    ///
    /// # Errors
    /// Too few ingesters are alive.
    pub(crate) fn first_shards(
        &self,
        catalog: &Catalog,
        presence: &Presence,
        now_ms: i64,
    ) -> Result<Vec<Command>, PlacementError> {
        if catalog.open_shards_iter().next().is_some() {
            return Ok(Vec::new());
        }
        let replicas = self.replicas();
        let nodes = catalog.nodes().values().filter(|node| node.has(Role::Ingester));
        let live = nodes.filter(|node| presence.is_alive(node.id)).count();
        if live < replicas {
            return Err(PlacementError::TooFewNodes { replicas, live });
        }
        let shards_per_node = (self.shards * replicas).div_ceil(live.max(1));
        let settings =
            PlacementSettings { replicas, shards_per_node, ..PlacementSettings::default() };
        initial_shards(catalog, presence, &settings, now_ms)
    }

    /// How blocks are merged.
    pub(crate) fn compaction(&self) -> CompactionSettings {
        CompactionSettings { quiet_ms: self.min_block_age_ms, ..CompactionSettings::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::config;

    #[test]
    fn every_fault_is_told_at_once() {
        let own = "127.0.0.1:1".to_string();
        let good = config(std::slice::from_ref(&own), &own);
        assert_eq!(good.validate(), Vec::<String>::new());
        let bad = ControllerConfig {
            controllers: vec![own.clone(), own],
            own_address: "127.0.0.1:2".to_string(),
            replication_factor: Some(2),
            shards: AT_FIRST_MAX + 1,
            tenant_ranges: 0,
            member_lease: good.member_timeout,
            ..good
        };
        assert_eq!(
            bad.validate(),
            [
                "there are one or three controllers: given=2",
                "a controller is named twice: address=127.0.0.1:1",
                "this member's gRPC address is not among the controllers: own=127.0.0.1:2 \
                 controllers=127.0.0.1:1,127.0.0.1:1",
                "a shard has one or three replicas: given=2",
                "too many to begin with: setting=shards given=4097 max=4096",
                "at least one is needed: setting=tenant ranges",
                "lease is not shorter than timeout: lease=12s timeout=12s",
            ]
        );
    }
}
