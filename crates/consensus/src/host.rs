//! `Host`: the groups of a process, over one log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::Fatal;
use openraft::{Config, SnapshotPolicy};
use pando_model::{ClusterId, NodeId};
use pando_runtime::disk::Disk;
use pando_runtime::{Rng, SharedClock, Tasks};
use parking_lot::Mutex;

use crate::checkpoint::CheckpointFile;
use crate::election::Contact;
use crate::error::ConsensusError;
use crate::group::{Group, Parts};
use crate::log::{LogConfig, SharedLog};
use crate::log_store::LogStore;
use crate::machine::{Machine, StateMachine};
use crate::member::Member;
use crate::message::{RaftReply, RaftRequest};
use crate::network::Network;
use crate::transport::Transport;
use crate::types::Raft;

/// Members of one group: more only make it slower.
const MEMBERS_MAX: usize = 7;

/// Settings of a host. Everything that members compare (timeouts) must be alike on all of them.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The directory: the log is in `log/`, checkpoints are in `checkpoints/`.
    pub dir: PathBuf,
    /// This process.
    pub node: NodeId,
    /// Its cluster; requests of another are refused.
    pub cluster: ClusterId,
    /// A leader says that often that it lives. Default 200.
    pub heartbeat_ms: u64,
    /// A member that hears nothing for this time, and up to as much again, stands for election; one that heard
    /// something within it votes for nobody. Default 1,000.
    pub election_timeout_ms: u64,
    /// A proposal or read without answer for that long is given up. Default 10,000.
    pub propose_timeout_ms: u64,
    /// The time for one piece of a checkpoint, the last one with its installation. Default 60,000.
    pub snapshot_timeout_ms: u64,
    /// Bytes of one piece of a checkpoint. Default 1 MiB.
    pub snapshot_piece_bytes: u64,
    /// Bytes of a checkpoint that another member may send. Default 8 GiB.
    pub snapshot_bytes_max: u64,
    /// A log segment that has grown to this is followed by a new one. Default 64 MiB.
    pub segment_bytes: u64,
    /// Entries kept in memory, for each group. Default 8 MiB.
    pub cache_bytes_max: usize,
    /// Entries kept behind a checkpoint, so that a member slightly behind needs no whole state. Default 64.
    pub entries_kept: u64,
    /// Bytes of one entry. Default 16 MiB.
    pub entry_bytes_max: usize,
    /// Groups of this process. Default 128. Times `entry_bytes_max` it must stay below 4 GiB.
    pub groups_max: usize,
}

impl HostConfig {
    /// The defaults.
    pub fn new(node: NodeId, cluster: ClusterId, dir: PathBuf) -> Self {
        HostConfig {
            dir,
            node,
            cluster,
            heartbeat_ms: 200,
            election_timeout_ms: 1_000,
            propose_timeout_ms: 10_000,
            snapshot_timeout_ms: 60_000,
            snapshot_piece_bytes: 1 << 20,
            snapshot_bytes_max: 8 << 30,
            segment_bytes: 64 << 20,
            cache_bytes_max: 8 << 20,
            entries_kept: 64,
            entry_bytes_max: 16 << 20,
            groups_max: 128,
        }
    }

    fn validate(&self) -> Result<(), ConsensusError> {
        let fault = if self.node == NodeId(0) {
            "node id must not be 0"
        } else if self.heartbeat_ms == 0 || self.heartbeat_ms > self.election_timeout_ms / 2 {
            "heartbeat_ms must be between 1 and half of election_timeout_ms"
        } else if self.election_timeout_ms < 10 {
            "election_timeout_ms must be 10 at least"
        } else if self.groups_max.saturating_mul(self.entry_bytes_max) >= u32::MAX as usize {
            "groups_max times entry_bytes_max must be below 4 GiB"
        } else {
            return Ok(());
        };
        Err(ConsensusError::Invalid { group: 0, reason: fault.to_string() })
    }

    /// openraft's own view. It waits at most `heartbeat_interval` for the answer to an append; its heartbeat and
    /// election timers are off, ours are on.
    fn raft(&self) -> Result<Config, ConsensusError> {
        let config = Config {
            cluster_name: self.cluster.to_string(),
            election_timeout_min: self.election_timeout_ms - 1,
            election_timeout_max: self.election_timeout_ms,
            heartbeat_interval: self.election_timeout_ms * 6 / 10,
            install_snapshot_timeout: self.snapshot_timeout_ms,
            max_payload_entries: 1_024,
            snapshot_policy: SnapshotPolicy::Never,
            snapshot_max_chunk_size: self.snapshot_piece_bytes,
            max_in_snapshot_log_to_keep: self.entries_kept,
            purge_batch_size: 1,
            enable_tick: true,
            enable_heartbeat: false,
            enable_elect: false,
            ..Config::default()
        };
        config
            .validate()
            .map_err(|error| ConsensusError::Invalid { group: 0, reason: error.to_string() })
    }
}

/// The groups of a process. Cloning shares it.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<HostConfig>,
    raft_config: Arc<Config>,
    log: Arc<SharedLog>,
    disk: Arc<dyn Disk>,
    transport: Arc<dyn Transport>,
    clock: SharedClock,
    rng: Rng,
    tasks: Tasks,
    groups: Mutex<BTreeMap<u64, Group>>,
    /// One group is opened or removed at a time.
    changing: tokio::sync::Mutex<()>,
}

impl Host {
    /// Reads the log back and begins to write it; blocks meanwhile. The groups in it
    /// ([`Host::stored_groups`]) are not running yet; requests for them are refused until they are opened. Call
    /// [`Host::shutdown`] before that of `tasks`. When the disk fails the log, or a group stops for good, no group
    /// or not that one can go on, and `tasks` fail (fail-stop).
    ///
    /// # Errors
    /// Where the disk fails, or the log is damaged, of an unknown version or another node's. Nothing is changed
    /// then.
    pub fn open(
        config: HostConfig,
        disk: Arc<dyn Disk>,
        transport: Arc<dyn Transport>,
        clock: SharedClock,
        rng: Rng,
        tasks: &Tasks,
    ) -> Result<Host, ConsensusError> {
        config.validate()?;
        let raft_config = Arc::new(config.raft()?);
        let log_config = LogConfig {
            dir: config.dir.join("log"),
            cluster: config.cluster,
            node: config.node,
            segment_bytes: config.segment_bytes,
            cache_bytes_max: config.cache_bytes_max,
        };
        let checkpoints = config.dir.join("checkpoints");
        disk.create_dir(&checkpoints).map_err(ConsensusError::disk(&checkpoints))?;
        let log = SharedLog::open(log_config, disk.clone())?;
        let writer = log.clone();
        tasks.spawn_thread("raft log", move || writer.run_writer());
        let (token, closing) = (tasks.token(), log.clone());
        tasks.spawn("raft log end", async move {
            tokio::select! {
                () = token.cancelled() => closing.close(),
                () = closing.ended() => {}
            }
        });
        let (failing, mut failure) = (tasks.clone(), log.failure());
        tasks.spawn_until_stopped("raft log failure", async move {
            let failed = failure.wait_for(Option::is_some).await.map(|reason| reason.clone());
            if let Ok(Some(reason)) = failed {
                failing.fail(format!("raft log has failed: {reason}"));
            }
        });
        let inner = Inner {
            config: Arc::new(config),
            raft_config,
            log,
            disk,
            transport,
            clock,
            rng,
            tasks: tasks.child(),
            groups: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        };
        let host = Host { inner: Arc::new(inner) };
        tasks.spawn_vital("raft heartbeats", host.clone().beat());
        Ok(host)
    }

    /// Groups on this disk, in the order of their ids, whether they are open or not.
    pub fn stored_groups(&self) -> Vec<u64> {
        self.inner.log.groups().into_iter().map(|(group, _)| group).collect()
    }

    /// Whether a group on this disk has a checkpoint, from which its state begins.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn has_checkpoint(&self, group: u64) -> Result<bool, ConsensusError> {
        self.checkpoint_file(group).exists()
    }

    /// Creates a group with these members for ever, or opens it where it is on this disk. Each member calls
    /// this with the same list; doing it again is harmless, and addresses may differ then (the ones it was
    /// created with stay). A removed group's id must not be used again.
    ///
    /// # Errors
    /// Where the list is not what a group can have, or names other nodes than the stored one; where the
    /// checkpoint is damaged or missing, or the disk fails.
    pub async fn create_group(
        &self,
        group: u64,
        mut members: Vec<Member>,
        state: Arc<dyn StateMachine>,
    ) -> Result<Group, ConsensusError> {
        members.sort();
        self.check_members(group, &members)?;
        let _one = self.inner.changing.lock().await;
        if let Some(stored) = self.stored(group) {
            if !stored.iter().map(|m| m.node).eq(members.iter().map(|m| m.node)) {
                let reason = format!("members differ: stored={stored:?} given={members:?}");
                return Err(ConsensusError::Invalid { group, reason });
            }
            members = stored;
        } else {
            let max = self.inner.config.groups_max;
            if self.inner.log.groups().len() >= max {
                return Err(ConsensusError::LimitExceeded { limit: "groups_max", max: max as u64 });
            }
            // A file that a removal left behind would be taken for this group's.
            let file = self.checkpoint_file(group);
            blocking(move || file.remove()).await?;
            let created = self.inner.log.create_group(group, &members).await;
            created.map_err(|error| ConsensusError::Failed { reason: error.to_string() })?;
        }
        self.start(group, members, state).await
    }

    /// Opens a group that is on this disk; restores its state before it returns, but not yet what others know.
    ///
    /// # Errors
    /// `NotFound`; where the checkpoint is damaged or missing, or the disk fails.
    pub async fn open_group(
        &self,
        group: u64,
        state: Arc<dyn StateMachine>,
    ) -> Result<Group, ConsensusError> {
        let _one = self.inner.changing.lock().await;
        let members = self.stored(group).ok_or(ConsensusError::NotFound { group })?;
        self.start(group, members, state).await
    }

    /// Stops a group and forgets it, log and checkpoint. One that is not here is fine.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn remove_group(&self, group: u64) -> Result<(), ConsensusError> {
        let _one = self.inner.changing.lock().await;
        let open = self.inner.groups.lock().remove(&group);
        if let Some(open) = open {
            open.shutdown().await;
        }
        let removed = self.inner.log.remove_group(group).await;
        removed.map_err(|error| ConsensusError::Failed { reason: error.to_string() })?;
        let file = self.checkpoint_file(group);
        blocking(move || file.remove()).await
    }

    /// An open group.
    pub fn group(&self, group: u64) -> Option<Group> {
        self.inner.groups.lock().get(&group).cloned()
    }

    /// Handles a request of another member. A stranger's is refused, naming both sides.
    pub async fn handle(&self, group: u64, request: RaftRequest) -> RaftReply {
        let HostConfig { cluster, node, .. } = &*self.inner.config;
        if request.cluster != *cluster || request.target != *node {
            let RaftRequest { cluster: asked, target, .. } = request;
            return RaftReply::refused(format!(
                "request is for another member: cluster={asked} node={target} own_cluster={cluster} \
                 own_node={node}"
            ));
        }
        match self.group(group) {
            Some(group) => RaftReply { body: group.serve(request.body).await },
            None => {
                RaftReply::refused(format!("group is not open here: group={group} node={node}"))
            }
        }
    }

    /// Bytes of all log segments.
    pub fn log_bytes(&self) -> u64 {
        self.inner.log.bytes()
    }

    /// Bytes of all checkpoints; looks at each file.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn checkpoint_bytes(&self) -> Result<u64, ConsensusError> {
        let dir = self.inner.config.dir.join("checkpoints");
        self.inner.disk.used_bytes(&dir).map_err(ConsensusError::disk(&dir))
    }

    /// Bytes that may still be written to the file system of log and checkpoints, where that is known.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn free_bytes(&self) -> Result<Option<u64>, ConsensusError> {
        let dir = &self.inner.config.dir;
        self.inner.disk.free_bytes(dir).map_err(ConsensusError::disk(dir))
    }

    /// Why the log failed, where it has.
    pub fn failure(&self) -> Option<String> {
        self.inner.log.failure().borrow().clone()
    }

    /// Stops all groups, then the log.
    pub async fn shutdown(&self) {
        let groups = std::mem::take(&mut *self.inner.groups.lock());
        futures::future::join_all(groups.values().map(Group::shutdown)).await;
        self.inner.log.close();
        self.inner.log.ended().await;
    }

    /// Says to all followers of all groups led here that their leader lives.
    async fn beat(self) {
        let mut beat = tokio::time::interval(Duration::from_millis(self.inner.config.heartbeat_ms));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let groups: Vec<Group> = self.inner.groups.lock().values().cloned().collect();
            let speaks = |group: &&Group| {
                group.members().len() > 1 && group.is_leader() && !group.is_silent()
            };
            for group in groups.iter().filter(speaks) {
                // A group that stopped is not led any more.
                let _ = group.inner.raft.trigger().heartbeat().await;
            }
        }
    }

    fn stored(&self, group: u64) -> Option<Vec<Member>> {
        self.inner.log.groups().into_iter().find(|(id, _)| *id == group).map(|(_, members)| members)
    }

    fn checkpoint_file(&self, group: u64) -> CheckpointFile {
        let path =
            self.inner.config.dir.join("checkpoints").join(format!("{group:016x}.checkpoint"));
        CheckpointFile::new(self.inner.disk.clone(), path, group)
    }

    fn check_members(&self, group: u64, members: &[Member]) -> Result<(), ConsensusError> {
        let invalid = |reason: String| Err(ConsensusError::Invalid { group, reason });
        if members.len() > MEMBERS_MAX {
            return invalid(format!(
                "too many members: max={MEMBERS_MAX} members={}",
                members.len()
            ));
        }
        if members.windows(2).any(|pair| pair[0].node == pair[1].node) {
            return invalid("a member is named twice".to_string());
        }
        let node = self.inner.config.node;
        if !members.iter().any(|member| member.node == node) {
            return invalid(format!("this node is not a member: node={node}"));
        }
        Ok(())
    }

    async fn start(
        &self,
        id: u64,
        members: Vec<Member>,
        state: Arc<dyn StateMachine>,
    ) -> Result<Group, ConsensusError> {
        if let Some(open) = self.group(id) {
            return Ok(open);
        }
        let inner = &self.inner;
        let file = self.checkpoint_file(id);
        let path = file.path().clone();
        let machine = blocking(move || Machine::open(state, file)).await?;
        let checkpointed = machine.checkpointed();
        let (purged, _) = inner
            .log
            .bounds(id)
            .map_err(|error| ConsensusError::Failed { reason: error.to_string() })?;
        if purged.is_some_and(|purged| *checkpointed.borrow() < Some(purged.index)) {
            let reason = "checkpoint is missing or older than the log allows".to_string();
            return Err(ConsensusError::Corrupt { path, offset: 0, reason });
        }
        let applied = machine.applied().subscribe();
        let network = Network {
            transport: inner.transport.clone(),
            cluster: inner.config.cluster,
            group: id,
            backoff: Duration::from_millis(inner.config.heartbeat_ms),
            contact: Arc::new(Contact::new(inner.clock.clone())),
        };
        let node = inner.config.node.0;
        let log = LogStore::new(inner.log.clone(), id, node, Some(checkpointed));
        let raft = Raft::new(node, inner.raft_config.clone(), network.clone(), log, machine).await;
        let raft = raft.map_err(|error| {
            inner.tasks.fail(format!("raft group cannot be started: group={id}: {error}"));
            failed(error)
        })?;
        let fresh = !raft.is_initialized().await.map_err(failed)?;
        let first = members.len() == 1 || (fresh && is_first(id, &members, inner.config.node));
        let group = Group::start(Parts {
            id,
            members,
            first,
            raft,
            network,
            applied,
            config: inner.config.clone(),
            rng: inner.rng.clone(),
            tasks: inner.tasks.child(),
        });
        inner.groups.lock().insert(id, group.clone());
        Ok(group)
    }
}

/// Whether this member begins a new group. Were it all of them, each late one would depose the leader. Another one
/// steps in where this one does not come.
fn is_first(group: u64, members: &[Member], node: NodeId) -> bool {
    let at = (group % members.len() as u64) as usize;
    members.get(at).is_some_and(|member| member.node == node)
}

fn failed(error: Fatal<u64>) -> ConsensusError {
    ConsensusError::Failed { reason: error.to_string() }
}

/// Disk work, away from the threads that answer heartbeats.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConsensusError> + Send + 'static,
) -> Result<T, ConsensusError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ConsensusError::Failed { reason: error.to_string() }))
}
