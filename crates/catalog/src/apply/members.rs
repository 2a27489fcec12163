//! Commands about the cluster and its nodes.

use std::sync::Arc;

use pando_model::{ClusterId, NodeId};

use super::{Applied, refuse, within};
use crate::catalog::Catalog;
use crate::command::CommandReply;
use crate::limits::{NODES_MAX, TEXT_BYTES_MAX};
use crate::node::Node;
use crate::shard::ShardStage;

impl Catalog {
    pub(crate) fn init_cluster(&mut self, cluster: ClusterId, feature_level: u32) -> Applied {
        match self.cluster {
            Some(known) if known != cluster => {
                refuse!(
                    OtherCluster,
                    "catalog of another cluster: cluster={known} command={cluster}"
                )
            }
            Some(_) => Ok(CommandReply::Done),
            None => {
                self.cluster = Some(cluster);
                self.feature_level = feature_level;
                self.routing_changes.open.header = true;
                Ok(CommandReply::Done)
            }
        }
    }

    pub(crate) fn register_node(&mut self, node: &Node, now_ms: i64) -> Applied {
        let id = node.id;
        if id == NodeId(0) || node.roles.is_empty() {
            refuse!(BadCommand, "node without an id or a role: node={id}");
        }
        for text in [&node.grpc_address, &node.http_address, &node.zone, &node.agent_group] {
            within("bytes of a node's address, zone or group", text.len(), TEXT_BYTES_MAX)?;
        }
        if node.feature_level < self.feature_level {
            let (level, needed) = (node.feature_level, self.feature_level);
            refuse!(
                FeatureLevel,
                "node is too old: node={id} feature_level={level} cluster={needed}"
            );
        }
        let known = self.nodes.get(&id);
        if known.is_none() {
            within("nodes", self.nodes.len() + 1, NODES_MAX)?;
        }
        let joined_ms = known.map_or(now_ms, |known| known.joined_ms);
        let node = Node { joined_ms, ..node.clone() };
        if known.is_none_or(|known| **known != node) {
            self.nodes.insert(id, Arc::new(node));
            self.routing_changes.open.nodes.insert(id);
        }
        Ok(CommandReply::Done)
    }

    pub(crate) fn remove_node(&mut self, node: NodeId) -> Applied {
        if !self.nodes.contains_key(&node) {
            refuse!(UnknownNode, "no such node: node={node}");
        }
        let living = self.shards.values().filter(|s| s.info.stage != ShardStage::Closed);
        if let Some(shard) = living.map(|s| &s.info).find(|info| info.members.contains(&node)) {
            refuse!(NodeInUse, "node is a member of a shard: node={node} shard={}", shard.id);
        }
        self.nodes.remove(&node);
        self.routing_changes.open.nodes.insert(node);
        for lease in self.leases.values_mut().filter(|lease| lease.holder == Some(node)) {
            lease.holder = None;
        }
        Ok(CommandReply::Done)
    }

    pub(crate) fn raise_feature_level(&mut self, level: u32) -> Applied {
        if level < self.feature_level {
            let now = self.feature_level;
            refuse!(BadCommand, "feature level never falls: level={level} now={now}");
        }
        if let Some(node) = self.nodes.values().find(|node| node.feature_level < level) {
            let (id, has) = (node.id, node.feature_level);
            refuse!(FeatureLevel, "node is too old: node={id} feature_level={has} level={level}");
        }
        if level > self.feature_level {
            self.feature_level = level;
            self.routing_changes.open.header = true;
        }
        Ok(CommandReply::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::error::Reason;
    use crate::testdata::{Bench, node};

    #[test]
    fn nothing_happens_before_the_cluster_is_founded_and_nothing_to_another() {
        let mut bench = Bench::default();
        let register = Command::RegisterNode { node: node(1), now_ms: 1 };
        assert_eq!(bench.refused(register), Reason::NotFounded);
        let found =
            |cluster| Command::InitCluster { cluster: ClusterId(cluster), feature_level: 1 };
        bench.ok(found(7));
        bench.ok(found(7));
        assert_eq!(bench.refused(found(8)), Reason::OtherCluster);
    }

    #[test]
    fn a_command_is_applied_once() {
        let mut bench = Bench::with_nodes(1);
        let version = bench.catalog.version();
        let old = bench.catalog.apply(version.0, &Command::RemoveNode { node: NodeId(1) });
        assert_eq!(old.expect_err("an old index").reason, Reason::AlreadyApplied);
        assert_eq!(bench.catalog.version(), version);
        assert!(bench.catalog.nodes().contains_key(&NodeId(1)));
    }

    #[test]
    fn nodes_keep_their_first_day_and_stay_while_a_shard_needs_them() {
        let mut bench = Bench::with_nodes(3);
        bench.open(1);
        let moved = Node { zone: "elsewhere".into(), ..node(1) };
        bench.ok(Command::RegisterNode { node: moved, now_ms: 99 });
        let known = &bench.catalog.nodes()[&NodeId(1)];
        assert_eq!((known.joined_ms, known.zone.as_str()), (5, "elsewhere"));
        assert_eq!(bench.refused(Command::RemoveNode { node: NodeId(1) }), Reason::NodeInUse);
        assert_eq!(bench.refused(Command::RemoveNode { node: NodeId(9) }), Reason::UnknownNode);
        let nobody = Node { id: NodeId(0), ..node(1) };
        let register = Command::RegisterNode { node: nobody, now_ms: 1 };
        assert_eq!(bench.refused(register), Reason::BadCommand);
        let long = Node { zone: "z".repeat(513), ..node(1) };
        let register = Command::RegisterNode { node: long, now_ms: 1 };
        assert_eq!(bench.refused(register), Reason::Limit);
    }

    #[test]
    fn the_feature_level_rises_when_all_can_read_it() {
        let mut bench = Bench::with_nodes(2);
        let raise = |level| Command::RaiseFeatureLevel { level };
        assert_eq!(bench.refused(raise(2)), Reason::FeatureLevel);
        for id in 1..=2 {
            let node = Node { feature_level: 2, ..node(id) };
            bench.ok(Command::RegisterNode { node, now_ms: 1 });
        }
        bench.ok(raise(2));
        assert_eq!(bench.refused(raise(1)), Reason::BadCommand);
        let old = Command::RegisterNode { node: node(3), now_ms: 1 };
        assert_eq!(bench.refused(old), Reason::FeatureLevel);
    }
}
