//! How large the catalog may grow (INV-7). A command that would pass a limit is refused with its
//! name.

pub use pando_proto::record::{SOURCES_PER_BLOCK_MAX, TENANTS_PER_BLOCK_MAX};

/// Nodes of a cluster.
pub const NODES_MAX: usize = 10_000;

/// Shards of all stages. Closed ones are forgotten after a while.
pub const SHARDS_MAX: usize = 100_000;

/// Shards that one command opens or seals.
pub const SHARDS_PER_COMMAND_MAX: usize = 1_024;

/// Tenants with a route or limits of their own.
pub const TENANTS_MAX: usize = 1_000_000;

/// Key ranges of one tenant. A split adds one.
pub const RANGES_PER_TENANT_MAX: usize = 4_096;

/// Blocks that the catalog names: at 2 GiB each two petabytes; at 500 bytes each 500 MB of memory, and
/// half of [`DELTA_BYTES_MAX`].
pub const BLOCKS_MAX: usize = 1_000_000;

/// Blocks that one command names: keeps a log entry small.
pub const BLOCKS_PER_COMMAND_MAX: usize = SOURCES_PER_BLOCK_MAX;

/// Replaced objects that await their deletion.
pub const PENDING_MAX: usize = 4_000_000;

/// ULIDs that are refused: 16 bytes each.
pub const REFUSED_MAX: usize = 1 << 20;

/// For how long after its ULID's time a block is refused at least, ms. Nobody commits a block that it
/// began to build so long ago: a process that stood still for a week has lost its lease or its shard.
pub const REFUSED_KEPT_MS: i64 = 7 * 86_400_000;

/// Deletes that are not forgotten yet: each is looked at by every read of its tenant.
pub const DELETES_MAX: usize = 10_000;

/// Matchers of one delete.
pub const MATCHERS_PER_DELETE_MAX: usize = 64;

/// Bytes of one matcher's name or pattern.
pub const MATCHER_BYTES_MAX: usize = 4_096;

/// Work items that are leased, waiting or quarantined.
pub const WORK_ITEMS_MAX: usize = 10_000;

/// Failures after which a work item is quarantined.
pub const WORK_FAILURES_MAX: u32 = 5;

/// Bytes of a seal's answer: streams, newest times and target epochs of one shard.
pub const SEAL_ANSWER_BYTES_MAX: usize = 4 << 20;

/// Bytes of an address or a zone's name.
pub const TEXT_BYTES_MAX: usize = 512;

/// Winners of commits that a shard remembers, so that a repeat learns its own: a leader that is
/// further behind has to be told by its shard's log.
pub const COMMITS_KEPT: usize = 256;

/// Bytes of one delta, in as many messages as it takes: what a follower puts together at most.
pub const DELTA_BYTES_MAX: usize = 1 << 30;

/// Ids in the memory of each stream's changes; who is further behind gets the full state.
pub const CHANGES_KEPT: usize = 65_536;
