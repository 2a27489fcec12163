//! `Group`: one Raft group of this process.

use std::sync::Arc;
use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use openraft::ServerState;
use pando_model::NodeId;
use pando_runtime::{Rng, SharedClock, Tasks};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::{ConsensusError, ProposeError};
use crate::message::{RaftReply, RaftRequest};
use crate::network::Network;
use crate::types::{Proposal, Raft};

/// How long a read waits for the leader's word, and for this replica to catch up with it.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a checkpoint may take.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(120);

/// A member of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its gRPC address, host:port.
    pub address: String,
}

/// When a group's members call an election.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) heartbeat: Duration,
    /// A voter refuses candidates for so long after it heard its leader.
    pub(crate) lease: Duration,
}

/// One Raft group of this process. Cloning shares it.
#[derive(Clone)]
pub struct Group {
    inner: Arc<Inner>,
}

struct Inner {
    id: u64,
    node: NodeId,
    raft: Raft,
    network: Network,
    clock: SharedClock,
    progress: watch::Receiver<u64>,
    changes: watch::Sender<u64>,
    /// Monotonic time at which the leader was last heard, or a vote was given.
    heard: Mutex<Duration>,
    tasks: Tasks,
}

impl Group {
    pub(crate) fn start(
        id: u64,
        node: NodeId,
        raft: Raft,
        network: Network,
        clock: SharedClock,
        progress: watch::Receiver<u64>,
    ) -> Self {
        let heard = Mutex::new(clock.monotonic());
        let (changes, tasks) = (watch::Sender::new(0), Tasks::new());
        let inner = Inner { id, node, raft, network, clock, progress, changes, heard, tasks };
        let group = Group { inner: Arc::new(inner) };
        let watcher = group.clone();
        let watching = async move { watcher.watch_leadership().await };
        group.inner.tasks.spawn_until_stopped("raft leadership", watching);
        group
    }

    /// Calls elections where no leader is heard, each time after a delay that is drawn afresh.
    pub(crate) fn start_elections(&self, timing: Timing, alone: bool, rng: Rng) {
        let group = self.clone();
        self.inner.tasks.spawn_until_stopped("raft elections", async move {
            loop {
                let lease = timing.lease.as_millis() as u64;
                let delay = if alone { 10 } else { lease + rng.range(lease / 4, lease * 5 / 4) };
                tokio::time::sleep(Duration::from_millis(delay)).await;
                let heard = *group.inner.heard.lock();
                let silent = group.inner.clock.monotonic().saturating_sub(heard);
                let patience = Duration::from_millis(if alone { 0 } else { lease });
                if !group.is_leader() && silent >= patience {
                    tracing::debug!(group = group.inner.id, "calling an election");
                    let _ = group.inner.raft.trigger().elect().await;
                }
                if alone && group.is_leader() {
                    // Nobody can depose the only member.
                    tokio::time::sleep(timing.heartbeat).await;
                }
            }
        });
    }

    /// The group's id.
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// Commits an entry and returns its log position and what applying it answered here.
    ///
    /// # Errors
    /// Another member leads, or the outcome is not known.
    pub async fn propose(&self, entry: Vec<u8>) -> Result<(u64, Vec<u8>), ProposeError> {
        match self.inner.raft.client_write(Proposal(entry.into())).await {
            Ok(written) => Ok((written.log_id.index, written.data.0)),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                let leader = forward.leader_id.zip(forward.leader_node);
                let leader =
                    leader.map(|(id, node)| Member { node: NodeId(id), address: node.addr });
                Err(ProposeError::NotLeader { leader })
            }
            Err(error) => Err(ProposeError::Unavailable(error.to_string())),
        }
    }

    /// Waits until this replica has applied everything that the group had committed when it was called.
    ///
    /// # Errors
    /// No leader confirms itself, or this replica does not catch up in time.
    pub async fn read_index(&self) -> Result<(), ProposeError> {
        let unavailable = |text: String| ProposeError::Unavailable(text);
        let index = if self.is_leader() {
            self.leader_read_index().await?
        } else {
            let Some(leader) = self.leader() else {
                return Err(unavailable(format!("group has no leader: group={}", self.inner.id)));
            };
            let asked =
                self.inner.network.ask(&leader, &RaftRequest::ReadIndex, READ_TIMEOUT).await;
            match asked.map_err(unavailable)? {
                RaftReply::ReadIndex(index) => index,
                other => return Err(unavailable(format!("answer of another kind: {other:?}"))),
            }
        };
        let mut progress = self.inner.progress.clone();
        let applied = progress.wait_for(|applied| *applied >= index);
        match tokio::time::timeout(READ_TIMEOUT, applied).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(unavailable(format!(
                "replica lags: group={} applied={} wanted={index}",
                self.inner.id,
                self.applied_index()
            ))),
        }
    }

    /// The position up to which everything was committed when it was called; the leader confirms itself first.
    pub(crate) async fn leader_read_index(&self) -> Result<u64, ProposeError> {
        let confirmed = self.inner.raft.get_read_log_id();
        let confirmed = tokio::time::timeout(READ_TIMEOUT, confirmed).await;
        match confirmed {
            Ok(Ok((read, _))) => Ok(read.map_or(0, |id| id.index)),
            Ok(Err(error)) => Err(ProposeError::Unavailable(error.to_string())),
            Err(_) => Err(ProposeError::Unavailable("leader is not confirmed in time".to_string())),
        }
    }

    /// Whether this member leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.inner.raft.metrics().borrow().state == ServerState::Leader
    }

    /// The leader, as far as this member knows.
    pub fn leader(&self) -> Option<Member> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow();
        let id = metrics.current_leader?;
        let membership = metrics.membership_config.membership();
        let node = membership.get_node(&id)?;
        Some(Member { node: NodeId(id), address: node.addr.clone() })
    }

    /// The term that this member is in.
    pub fn term(&self) -> u64 {
        self.inner.raft.metrics().borrow().current_term
    }

    /// The log position up to which entries are applied here.
    pub fn applied_index(&self) -> u64 {
        *self.inner.progress.borrow()
    }

    /// Ticks when leadership changes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Writes the state to disk and lets go of the log before it.
    ///
    /// # Errors
    /// The disk's, or the group has stopped.
    pub async fn checkpoint(&self) -> Result<(), ConsensusError> {
        let stopped = |text: String| ConsensusError::Stopped(text);
        let Some(applied) = self.inner.raft.metrics().borrow().last_applied else { return Ok(()) };
        let trigger = self.inner.raft.trigger();
        trigger.snapshot().await.map_err(|error| stopped(error.to_string()))?;
        let wait = self.inner.raft.wait(Some(CHECKPOINT_TIMEOUT));
        let done = wait.metrics(|m| m.snapshot >= Some(applied), "checkpoint is written").await;
        done.map_err(|error| stopped(error.to_string()))?;
        Ok(())
    }

    /// Stops the group in this process. What it has on disk stays.
    pub async fn shutdown(&self) {
        self.inner.tasks.shutdown(Duration::from_secs(1)).await;
        let _ = self.inner.raft.shutdown().await;
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    pub(crate) fn node(&self) -> NodeId {
        self.inner.node
    }

    /// The leader, or a candidate, was heard.
    pub(crate) fn heard(&self) {
        *self.inner.heard.lock() = self.inner.clock.monotonic();
    }

    async fn watch_leadership(&self) {
        let mut metrics = self.inner.raft.metrics();
        let mut known = None;
        loop {
            let now = {
                let m = metrics.borrow_and_update();
                (m.current_term, m.current_leader, m.state)
            };
            if known.replace(now) != Some(now) {
                self.inner.changes.send_modify(|changes| *changes += 1);
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}
