//! What the tests of this crate have in common.

use std::collections::BTreeSet;

use pando_model::{
    BlockId, BlockRecord, BlockSource, ClusterId, Cut, Digest, GenerationId, KeyRange, NodeId,
    SeriesKey, ShardId, TenantId, TenantSpan, TimeRange,
};

use crate::{Catalog, Command, CommandRefused, CommandReply, CommitGeneration, Node, Role};

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a good name")
}

pub(crate) fn node(id: u64) -> Node {
    Node {
        id: NodeId(id),
        roles: BTreeSet::from([Role::Ingester, Role::Compactor]),
        grpc_address: format!("n{id}:9095"),
        http_address: format!("n{id}:9090"),
        zone: format!("z{}", id % 3),
        feature_level: 1,
        joined_ms: 0,
        agent_group: String::new(),
    }
}

pub(crate) fn keys(first: u64, last: u64) -> KeyRange {
    KeyRange { first: SeriesKey(first), last: SeriesKey(last) }
}

/// A record of one tenant with 10 samples around time 0 and all keys.
pub(crate) fn record(id: u128, shard: u64, cut: u64, name: &str) -> BlockRecord {
    let time = TimeRange { min_ms: 0, max_ms: 1_000 };
    BlockRecord {
        id: BlockId(id),
        format: 1,
        level: 0,
        resolution_ms: 0,
        source: BlockSource::Generation(GenerationId { shard: ShardId(shard), cut: Cut(cut) }),
        tenants: vec![TenantSpan {
            tenant: tenant(name),
            keys: KeyRange::ALL,
            time,
            first_row: 0,
            rows: 3,
            series: 3,
            samples: 10,
        }],
        time,
        digest: Digest { samples: 10, sum: id * 7 },
        object_bytes: 1_000,
        footer_offset: 900,
        created_ms: 1_000,
    }
}

/// The output of a work item that keeps everything.
pub(crate) fn output(id: u128, work: u64, inputs: &[&BlockRecord]) -> BlockRecord {
    let mut made = inputs[0].clone();
    made.id = BlockId(id);
    made.level = inputs.iter().map(|r| r.level).max().unwrap_or(0) + 1;
    let sources = inputs.iter().map(|r| r.id).collect();
    made.source = BlockSource::Compaction { work, sources };
    made.digest = Digest::default();
    inputs.iter().for_each(|r| made.digest.merge(r.digest));
    made.tenants[0].samples = made.digest.samples;
    made
}

/// A commit that all members agree on.
pub(crate) fn commit(catalog: &Catalog, record: BlockRecord) -> Command {
    let BlockSource::Generation(generation) = record.source else { panic!("a generation") };
    let members = catalog.shards()[&generation.shard].info.members.clone();
    Command::CommitGeneration(Box::new(CommitGeneration {
        shard: generation.shard,
        cut: generation.cut,
        term: 1,
        reports: members.into_iter().map(|member| (member, record.digest)).collect(),
        record: Some(record),
    }))
}

/// A catalog with commands applied one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bench {
    pub(crate) catalog: Catalog,
}

impl Bench {
    /// A cluster with `nodes` nodes, ids from 1.
    pub(crate) fn with_nodes(nodes: u64) -> Self {
        let mut bench = Bench::default();
        bench.ok(Command::InitCluster { cluster: ClusterId(7), feature_level: 1 });
        for id in 1..=nodes {
            bench.ok(Command::RegisterNode { node: node(id), now_ms: 5 });
        }
        bench
    }

    /// A cluster of three nodes and one shard (1), with all keys of tenant "a".
    pub(crate) fn with_tenant() -> Self {
        let mut bench = Bench::with_nodes(3);
        bench.open(1);
        bench.ok(Command::AssignTenant {
            tenant: tenant("a"),
            route: vec![(SeriesKey(u64::MAX), ShardId(1))],
        });
        bench
    }

    pub(crate) fn open(&mut self, shards: usize) {
        let members = vec![vec![NodeId(1), NodeId(2), NodeId(3)]; shards];
        self.ok(Command::OpenShards { members, now_ms: 10 });
    }

    pub(crate) fn apply(&mut self, command: Command) -> Result<CommandReply, CommandRefused> {
        let index = self.catalog.applied() + 1;
        self.catalog.apply(index, &command)
    }

    pub(crate) fn ok(&mut self, command: Command) -> CommandReply {
        self.apply(command).expect("the command fits")
    }

    /// The reason of a refusal; the state must not have changed.
    pub(crate) fn refused(&mut self, command: Command) -> crate::Reason {
        let before = self.catalog.snapshot_without_version();
        let reason = self.apply(command).expect_err("the command must be refused").reason;
        assert_eq!(before, self.catalog.snapshot_without_version(), "a refusal changed something");
        reason
    }

    pub(crate) fn commit(&mut self, id: u128, shard: u64, cut: u64, name: &str) -> BlockRecord {
        let record = record(id, shard, cut, name);
        self.ok(commit(&self.catalog, record.clone()));
        record
    }
}
