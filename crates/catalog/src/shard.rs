//! `Shard`: the Raft group that takes the writes of some key ranges, until it is sealed, and is
//! closed once its last generation is in a block.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use pando_model::{BlockId, Cut, Digest, KeyRange, NodeId, ShardId, TenantId};

use crate::limits::COMMITS_KEPT;

/// How far a shard's life has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ShardStage {
    /// It takes writes.
    Open,
    /// It takes no writes; some of its generations are not in blocks yet.
    Sealed,
    /// All its generations are in blocks.
    Closed,
}

/// The end of a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seal {
    /// The cut that the seal was: the shard's last.
    pub last_cut: Cut,
    /// What successors have to know (last sequences, newest times, target epochs); opaque here.
    pub answer: Bytes,
    /// When it was sealed, ms.
    pub sealed_ms: i64,
    /// The key ranges that it had, of each tenant in order: who reads them still has to ask it.
    pub ranges: BTreeMap<TenantId, Vec<KeyRange>>,
}

/// What everyone knows of a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardInfo {
    /// Its id, never used again.
    pub id: ShardId,
    /// How far its life has come.
    pub stage: ShardStage,
    /// Its 1 or 3 members, which never change.
    pub members: Vec<NodeId>,
    /// The shards whose ranges it took over.
    pub predecessors: Vec<ShardId>,
    /// The shards that took over its ranges.
    pub successors: Vec<ShardId>,
    /// When it was opened, ms.
    pub opened_ms: i64,
    /// Of a sealed or closed shard.
    pub seal: Option<Arc<Seal>>,
    /// When it was closed, ms; 0 before.
    pub closed_ms: i64,
}

impl ShardInfo {
    /// The smallest number of members that is more than half of them.
    pub fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// The ranges that a sealed or closed shard had of `tenant`.
    pub fn sealed_ranges(&self, tenant: &TenantId) -> &[KeyRange] {
        self.seal.as_ref().and_then(|seal| seal.ranges.get(tenant)).map_or(&[], Vec::as_slice)
    }
}

/// A committed generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The cut that ends it.
    pub cut: Cut,
    /// Its block; `None` where it had no sample.
    pub block: Option<BlockId>,
    /// The digest of its samples.
    pub digest: Digest,
}

/// A shard as the catalog's state machine knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shard {
    /// What everyone knows.
    pub info: Arc<ShardInfo>,
    /// The only cut that can be committed next; generations from it on are live.
    pub next_cut: Cut,
    /// The highest term of a leader that committed or sealed.
    pub term: u64,
    /// The last commits, oldest first.
    pub commits: VecDeque<Commit>,
}

impl Shard {
    pub(crate) fn opened(info: ShardInfo) -> Self {
        Shard { info: Arc::new(info), next_cut: Cut(1), term: 0, commits: VecDeque::new() }
    }

    pub(crate) fn remember(&mut self, commit: Commit) {
        if self.commits.len() == COMMITS_KEPT {
            self.commits.pop_front();
        }
        self.commits.push_back(commit);
        self.next_cut = commit.cut.next();
    }

    /// Whether every generation of a sealed shard is in a block.
    pub fn is_drained(&self) -> bool {
        self.info.seal.as_ref().is_some_and(|seal| self.next_cut > seal.last_cut)
    }
}
