//! `Command`: everything that can happen to the catalog, and what it answers.

use bytes::Bytes;
use pando_model::{
    BlockId, BlockRecord, ClusterId, Cut, Digest, Epoch, KeyRange, Matcher, NodeId, SeriesKey,
    ShardId, TenantId, TimeRange,
};

use crate::node::Node;
use crate::tenant::TenantLimits;
use crate::work::{WorkItem, WorkSpec};

/// A change of the catalog. `now_ms` is the proposing leader's clock: the state machine has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Gives the catalog its cluster: the first command of all. A repeat is harmless.
    InitCluster {
        /// The cluster, as `cluster.json` in the bucket names it.
        cluster: ClusterId,
        /// What all members can read from the beginning.
        feature_level: u32,
    },
    /// Makes a node known, or brings its addresses, roles, zone and feature level up to date.
    RegisterNode {
        /// The node; `joined_ms` is ignored.
        node: Node,
        /// The leader's clock, ms.
        now_ms: i64,
    },
    /// Forgets a node that is a member of no open or sealed shard. Its leases are nobody's.
    RemoveNode {
        /// The node.
        node: NodeId,
    },
    /// Lets every member write what level `level` brought; refused while a node cannot read it.
    RaiseFeatureLevel {
        /// The level.
        level: u32,
    },
    /// Opens shards without key ranges.
    OpenShards {
        /// The members of each.
        members: Vec<Vec<NodeId>>,
        /// The leader's clock, ms.
        now_ms: i64,
    },
    /// Gives a tenant its first route. A tenant that has one keeps it.
    AssignTenant {
        /// The tenant.
        tenant: TenantId,
        /// (last key, open shard), in order.
        route: Vec<(SeriesKey, ShardId)>,
    },
    /// Records seals and opens the successors, in one step (INV-3).
    SealShards {
        /// The sealed shards.
        seals: Vec<SealResult>,
        /// The shards that take over exactly their ranges.
        successors: Vec<Successor>,
        /// The leader's clock, ms.
        now_ms: i64,
    },
    /// Closes a sealed shard whose last generation is committed.
    CloseShard {
        /// The shard.
        shard: ShardId,
        /// The leader's clock, ms.
        now_ms: i64,
    },
    /// Forgets closed shards.
    ForgetShards {
        /// The shards.
        shards: Vec<ShardId>,
    },
    /// Makes a generation's block visible: the first one wins.
    CommitGeneration(Box<CommitGeneration>),
    /// Replaces the inputs of a work item by its outputs, at once, and ends it.
    ReplaceBlocks(Box<ReplaceBlocks>),
    /// Ceases to name blocks whose samples are older than their tenants' retention, or that are the
    /// oldest where all together take more than they may.
    ExpireBlocks {
        /// The blocks.
        blocks: Vec<BlockId>,
        /// The leader's clock, ms.
        now_ms: i64,
    },
    /// Leases a work item.
    GrantLease {
        /// Which.
        grant: Grant,
        /// To whom.
        holder: NodeId,
        /// The leader's clock, ms.
        now_ms: i64,
    },
    /// Says that the holder is still at it.
    RenewLease {
        /// The work item.
        work: u64,
        /// The holder.
        holder: NodeId,
        /// The epoch of its lease.
        epoch: Epoch,
        /// The leader's clock, ms.
        now_ms: i64,
    },
    /// Gives a lease back.
    ReleaseLease {
        /// The work item.
        work: u64,
        /// The holder.
        holder: NodeId,
        /// The epoch of its lease.
        epoch: Epoch,
        /// How it ended.
        end: WorkEnd,
    },
    /// Forgets a work item that nobody holds, so that it can be planned anew: how a quarantine
    /// ends.
    DropWork {
        /// The work item.
        work: u64,
    },
    /// Refuses a ULID, so that its orphan object can be deleted: for ever, or, where very many are
    /// refused, until it is so old that nobody can still be about to commit it.
    RefuseBlock {
        /// The ULID; the catalog does not name it.
        block: BlockId,
        /// The leader's clock, ms.
        now_ms: i64,
    },
    /// Forgets replaced blocks whose objects are deleted.
    ForgetObjects {
        /// The blocks.
        blocks: Vec<BlockId>,
    },
    /// Sets limits.
    SetTenantLimits {
        /// The tenant; `None`: those without limits of their own.
        tenant: Option<TenantId>,
        /// The limits; `None`: back to the defaults.
        limits: Option<TenantLimits>,
    },
    /// Sets a retention.
    SetRetention {
        /// The tenant; `None`: those without a retention of their own.
        tenant: Option<TenantId>,
        /// ms, 0 for ever; `None`: back to the default.
        retention_ms: Option<u64>,
    },
    /// Sets what all blocks together may take.
    SetRetentionSize {
        /// Bytes of objects; 0 for no limit.
        bytes: u64,
    },
    /// Orders a delete.
    AddDelete(NewDelete),
    /// Forgets deletes that no block and no generation needs any more.
    ForgetDeletes {
        /// Their numbers.
        numbers: Vec<u64>,
    },
}

/// A shard's own answer to being sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealResult {
    /// The shard.
    pub shard: ShardId,
    /// The term of the leader that answered.
    pub term: u64,
    /// The cut that the seal was.
    pub last_cut: Cut,
    /// What the successors have to know.
    pub answer: Bytes,
}

/// A shard that takes over ranges of sealed ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Successor {
    /// Its members.
    pub members: Vec<NodeId>,
    /// Its ranges, in any order.
    pub ranges: Vec<(TenantId, KeyRange)>,
}

/// The block of a generation, ready to be seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitGeneration {
    /// The shard.
    pub shard: ShardId,
    /// The cut that ends the generation.
    pub cut: Cut,
    /// The term of the leader that built the block.
    pub term: u64,
    /// The uploaded and verified block; `None` where the generation has no sample.
    pub record: Option<BlockRecord>,
    /// What members report of the generation, each once.
    pub reports: Vec<(NodeId, Digest)>,
}

/// A finished work item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplaceBlocks {
    /// The work item.
    pub work: u64,
    /// Its holder.
    pub holder: NodeId,
    /// The epoch of the holder's lease.
    pub epoch: Epoch,
    /// The work item's inputs, ascending.
    pub removed: Vec<BlockId>,
    /// The outputs: of the inputs' resolution, and rollups of it.
    pub added: Vec<BlockRecord>,
    /// Digest of the deduplicated input without what deletes and retention took: the outputs of the
    /// inputs' resolution hold exactly this.
    pub kept: Digest,
    /// The leader's clock, ms.
    pub now_ms: i64,
}

/// Which work item is leased.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Grant {
    /// One that was just planned.
    New(WorkSpec),
    /// One whose holder gave it back, or whose lease has run out.
    Again {
        /// The work item.
        work: u64,
        /// The epoch that has ended, as the proposing leader knows it.
        epoch: Epoch,
    },
}

/// How a lease was given back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WorkEnd {
    /// There was nothing to do: the work item is forgotten.
    NothingToDo,
    /// The holder stops, without fault of the work.
    GivenBack,
    /// The work failed; too many failures quarantine it.
    Failed,
}

/// A delete, not numbered yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewDelete {
    /// The tenant.
    pub tenant: TenantId,
    /// Series that pass all of them are meant; none: all series.
    pub matchers: Vec<Matcher>,
    /// The times that are meant.
    pub time: TimeRange,
    /// The last generation that the delete reaches into, for shards that cut for it; of other
    /// shards with the tenant it reaches into every generation.
    pub fences: Vec<(ShardId, Cut)>,
    /// The leader's clock, ms.
    pub now_ms: i64,
}

/// What an applied command answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandReply {
    /// It is so now.
    Done,
    /// The shards that were opened, in the order of the command.
    Shards(Vec<ShardId>),
    /// The block of the generation, the asker's or that of one who was faster.
    Committed {
        /// The block; `None` where the generation has no sample.
        winner: Option<BlockId>,
        /// The digest of the generation.
        digest: Digest,
        /// Whether the asker's block is the winner: if not, it removes its own object.
        won: bool,
    },
    /// The lease.
    Leased {
        /// The work.
        item: WorkItem,
        /// The fence that every command about it carries.
        epoch: Epoch,
    },
    /// The delete has this number.
    DeleteAdded(u64),
}
