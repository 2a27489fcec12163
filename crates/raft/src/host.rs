//! `Host`: all groups of a process, on one log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::SnapshotPolicy;
use pando_model::{ClusterId, NodeId};
use pando_runtime::disk::Disk;
use pando_runtime::{Rng, SharedClock, Tasks};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::StateMachine;
use crate::checkpoint::CheckpointFile;
use crate::error::ConsensusError;
use crate::group::{Group, Member};
use crate::log_store::LogStore;
use crate::message::{RaftReply, RaftRequest, decode_request, encode_reply};
use crate::network::Network;
use crate::shared_log::SharedLog;
use crate::state_store::StateStore;
use crate::transport::{Transport, TransportError};
use crate::types::Raft;

/// A part of a checkpoint that is sent to a member that fell behind the log, bytes.
const PART_BYTES: u64 = 4 << 20;
/// Entries before a checkpoint that are kept, for members that lag only a little.
const ENTRIES_KEPT: u64 = 256;

/// What a host is.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// This node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Where log and checkpoints are.
    pub folder: PathBuf,
    /// How often a leader is heard.
    pub heartbeat: Duration,
    /// How long a voter holds to a leader that it heard: equal on all members. Elections are called between
    /// 1.2 and 3.2 times as long after the leader was heard last.
    pub lease: Duration,
}

impl HostConfig {
    /// The usual timing: heartbeats each 200 ms, leases of 1 s.
    pub fn new(node: NodeId, cluster: ClusterId, folder: PathBuf) -> Self {
        let (heartbeat, lease) = (Duration::from_millis(200), Duration::from_secs(1));
        HostConfig { node, cluster, folder, heartbeat, lease }
    }
}

/// All groups of a process. Cloning shares them.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    config: HostConfig,
    disk: Arc<dyn Disk>,
    log: SharedLog,
    transport: Arc<dyn Transport>,
    clock: SharedClock,
    rng: Rng,
    groups: Mutex<BTreeMap<u64, Group>>,
    /// Groups are opened one at a time.
    opening: tokio::sync::Mutex<()>,
}

impl Host {
    /// Opens the log. Groups are opened by [`Host::create_group`].
    ///
    /// # Errors
    /// The log cannot be read, or is damaged.
    pub fn open(
        config: HostConfig,
        disk: Arc<dyn Disk>,
        transport: Arc<dyn Transport>,
        clock: SharedClock,
        rng: Rng,
        tasks: &Tasks,
    ) -> Result<Self, ConsensusError> {
        let log = SharedLog::open(disk.clone(), config.folder.join("log"), tasks)?;
        disk.create_dir(&config.folder.join("checkpoints"))?;
        let (groups, opening) = (Mutex::default(), tokio::sync::Mutex::default());
        let inner = Inner { config, disk, log, transport, clock, rng, groups, opening };
        Ok(Host { inner: Arc::new(inner) })
    }

    /// The groups that the log has, opened or not.
    pub fn stored_groups(&self) -> Vec<u64> {
        self.inner.log.stored()
    }

    /// An opened group.
    pub fn group(&self, id: u64) -> Option<Group> {
        self.inner.groups.lock().get(&id).cloned()
    }

    /// Opens a group; founds it with exactly these members where this member has nothing of it yet. Every
    /// member calls it with the same list. An opened group is returned as it is.
    ///
    /// # Errors
    /// Its state cannot be read, or openraft refuses.
    pub async fn create_group(
        &self,
        id: u64,
        members: Vec<Member>,
        machine: Arc<dyn StateMachine>,
    ) -> Result<Group, ConsensusError> {
        let _one_at_a_time = self.inner.opening.lock().await;
        if let Some(group) = self.group(id) {
            return Ok(group);
        }
        let group = self.open_raft(id, machine).await?;
        let (lease, rng) = (self.inner.config.lease, self.inner.rng.clone());
        group.found(members.clone(), lease);
        group.start_elections(lease, members.len() == 1, rng);
        self.inner.groups.lock().insert(id, group.clone());
        Ok(group)
    }

    async fn open_raft(
        &self,
        id: u64,
        machine: Arc<dyn StateMachine>,
    ) -> Result<Group, ConsensusError> {
        let inner = &self.inner;
        let (progress_out, progress) = watch::channel(0);
        let state = StateStore::open(machine, self.checkpoint_file(id), progress_out)?;
        let network = Network {
            group: id,
            cluster: inner.config.cluster,
            transport: inner.transport.clone(),
        };
        let log = LogStore::new(id, inner.log.clone());
        let stopped = |text: String| ConsensusError::Stopped(text);
        let lease = inner.config.lease.as_millis() as u64;
        let config = openraft::Config {
            cluster_name: format!("pando-{}", inner.config.cluster),
            heartbeat_interval: inner.config.heartbeat.as_millis() as u64,
            election_timeout_min: lease - 1,
            election_timeout_max: lease,
            enable_elect: false,
            snapshot_policy: SnapshotPolicy::Never,
            snapshot_max_chunk_size: PART_BYTES,
            install_snapshot_timeout: 30_000,
            max_in_snapshot_log_to_keep: ENTRIES_KEPT,
            purge_batch_size: 1,
            ..openraft::Config::default()
        };
        let config = config.validate().map_err(|error| stopped(error.to_string()))?;
        let node = inner.config.node;
        let raft = Raft::new(node.0, Arc::new(config), network.clone(), log, state).await;
        let raft = raft.map_err(|error| stopped(error.to_string()))?;
        Ok(Group::start(id, node, raft, network, inner.clock.clone(), progress))
    }

    fn checkpoint_file(&self, id: u64) -> CheckpointFile {
        let folder = self.inner.config.folder.join("checkpoints");
        CheckpointFile::new(self.inner.disk.clone(), &folder, id)
    }

    /// Stops a group and removes everything that this member has of it.
    ///
    /// # Errors
    /// The disk's.
    pub async fn remove_group(&self, id: u64) -> Result<(), ConsensusError> {
        let _one_at_a_time = self.inner.opening.lock().await;
        let group = self.inner.groups.lock().remove(&id);
        if let Some(group) = group {
            group.shutdown().await;
        }
        self.inner.log.remove(id).await?;
        self.checkpoint_file(id).remove()?;
        Ok(())
    }

    /// Answers a message of another member.
    ///
    /// # Errors
    /// It is meant for another cluster or node, the group is not here, or has stopped.
    pub async fn handle(&self, id: u64, message: Bytes) -> Result<Bytes, TransportError> {
        let refused = |text: String| TransportError(text);
        let (cluster, to, request) =
            decode_request(&message).map_err(|error| refused(error.to_string()))?;
        let config = &self.inner.config;
        if (cluster, to) != (config.cluster, config.node) {
            return Err(refused(format!(
                "message is for another member: cluster={cluster} node={to}, here cluster={} node={}",
                config.cluster, config.node
            )));
        }
        let Some(group) = self.group(id) else {
            return Err(refused(format!("group is not open here: group={id}")));
        };
        let text = |error: &dyn std::fmt::Display| refused(error.to_string());
        let reply = match request {
            RaftRequest::Append(append) => {
                group.heard();
                let answer = group.raft().append_entries(append).await;
                RaftReply::Append(answer.map_err(|error| text(&error))?)
            }
            RaftRequest::Vote(vote) => {
                let answer = group.raft().vote(vote).await.map_err(|error| text(&error))?;
                if answer.vote_granted {
                    group.heard();
                }
                RaftReply::Vote(answer)
            }
            RaftRequest::Install(part) => {
                group.heard();
                let answer = group.raft().install_snapshot(part).await;
                RaftReply::Install(answer.map_err(|error| text(&error))?)
            }
            RaftRequest::ReadIndex => {
                if !group.is_leader() {
                    return Err(refused(format!(
                        "not the leader: group={id} node={}",
                        group.node()
                    )));
                }
                let index = group.leader_read_index().await.map_err(|error| text(&error))?;
                RaftReply::ReadIndex(index)
            }
        };
        Ok(encode_reply(&reply))
    }

    /// Stops all groups and the log.
    pub async fn shutdown(&self) {
        let groups = std::mem::take(&mut *self.inner.groups.lock());
        for group in groups.into_values() {
            group.shutdown().await;
        }
        self.inner.log.stop();
    }
}
