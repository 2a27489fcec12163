//! What the tests of this crate have in common.

use std::collections::{BTreeMap, BTreeSet};

use pando_catalog::{Catalog, Command, CommandReply, CommitGeneration, Node, Role, RoutingView};
use pando_model::{
    BlockId, BlockRecord, BlockSource, CatalogVersion, ClusterId, Cut, Digest, GenerationId,
    KeyRange, NodeId, ShardId, TenantId, TenantSpan, TimeRange,
};

use crate::presence::Presence;

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a good name")
}

pub(crate) fn node(id: u64, zone: &str) -> Node {
    Node {
        id: NodeId(id),
        roles: BTreeSet::from([Role::Ingester]),
        grpc_address: format!("n{id}:9095"),
        http_address: String::new(),
        zone: zone.to_string(),
        feature_level: 1,
        joined_ms: 0,
        agent_group: String::new(),
    }
}

/// A record of `tenants` with 10 samples each at times `[min, max)`, built at `max`.
pub(crate) fn record(
    id: u128,
    generation: (u64, u64),
    time: (i64, i64),
    tenants: &[&str],
) -> BlockRecord {
    let time = TimeRange { min_ms: time.0, max_ms: time.1 };
    let span = |name: &&str| TenantSpan {
        tenant: tenant(name),
        keys: KeyRange::ALL,
        time,
        first_row: 0,
        rows: 1,
        series: 1,
        samples: 10,
    };
    let (shard, cut) = (ShardId(generation.0), Cut(generation.1));
    BlockRecord {
        id: BlockId(id),
        format: 1,
        level: 0,
        resolution_ms: 0,
        source: BlockSource::Generation(GenerationId { shard, cut }),
        tenants: tenants.iter().map(span).collect(),
        time,
        digest: Digest { samples: 10 * tenants.len() as u64, sum: id },
        object_bytes: 1_000,
        footer_offset: 900,
        created_ms: time.max_ms,
    }
}

/// A cluster whose ids count from 1, with everybody alive.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) catalog: Catalog,
    pub(crate) presence: Presence,
    heard_ms: BTreeMap<NodeId, u64>,
}

impl Cluster {
    pub(crate) fn with_ingesters(zones: &[&str]) -> Self {
        let mut cluster = Cluster {
            catalog: Catalog::new(),
            presence: Presence::default(),
            heard_ms: BTreeMap::new(),
        };
        cluster.ok(Command::InitCluster { cluster: ClusterId(7), feature_level: 1 });
        for (i, zone) in zones.iter().enumerate() {
            cluster.join(i as u64 + 1, zone);
        }
        cluster
    }

    pub(crate) fn join(&mut self, id: u64, zone: &str) {
        self.ok(Command::RegisterNode { node: node(id, zone), now_ms: 1 });
        self.silence(id, 0);
    }

    /// Lets a node be silent for `ms`.
    pub(crate) fn silence(&mut self, id: u64, ms: u64) {
        self.heard_ms.insert(NodeId(id), ms);
        self.presence = Presence::new(self.heard_ms.clone(), 1_000_000, 10_000);
    }

    pub(crate) fn ok(&mut self, command: Command) -> CommandReply {
        let index = self.catalog.applied() + 1;
        self.catalog.apply(index, &command).expect("the command fits")
    }

    pub(crate) fn open(&mut self, shards: &[&[u64]]) {
        let members = shards.iter().map(|m| m.iter().map(|id| NodeId(*id)).collect()).collect();
        self.ok(Command::OpenShards { members, now_ms: 1 });
    }

    pub(crate) fn commit(&mut self, record: BlockRecord) {
        let BlockSource::Generation(generation) = record.source else { panic!("a generation") };
        let members = self.catalog.shards()[&generation.shard].info.members.clone();
        self.ok(Command::CommitGeneration(Box::new(CommitGeneration {
            shard: generation.shard,
            cut: generation.cut,
            term: 1,
            reports: members.into_iter().map(|member| (member, record.digest)).collect(),
            record: Some(record),
        })));
    }

    pub(crate) fn view(&self) -> RoutingView {
        let mut view = RoutingView::new();
        let delta = self.catalog.routing_since(CatalogVersion(0)).expect("a full state");
        view.apply(&delta).expect("fits");
        view
    }
}
