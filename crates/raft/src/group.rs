//! `Group`: one Raft group of this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{ClientWriteError, InitializeError, RaftError};
use openraft::{BasicNode, ServerState};
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

    /// Founds the group with exactly these members, where nobody has. The first member does it at once, the
    /// others only where it does not: members that all call the first election at once win none.
    pub(crate) fn found(&self, mut members: Vec<Member>, lease: Duration) {
        members.sort_by_key(|member| member.node);
        let turn = members.iter().position(|member| member.node == self.inner.node).unwrap_or(0);
        let nodes: BTreeMap<u64, BasicNode> =
            members.iter().map(|m| (m.node.0, BasicNode::new(&m.address))).collect();
        let group = self.clone();
        self.inner.tasks.spawn_until_stopped("raft founding", async move {
            if !matches!(group.inner.raft.is_initialized().await, Ok(false)) {
                return;
            }
            tokio::time::sleep(lease * 4 * turn as u32).await;
            match group.inner.raft.initialize(nodes).await {
                // Another member has founded it meanwhile.
                Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
                Err(error) => {
                    tracing::error!(group = group.inner.id, %error, "group is not founded")
                }
            }
        });
    }

    /// Calls elections where no leader is heard, each time after a delay that is drawn afresh, from the moment
    /// at which one was heard last.
    pub(crate) fn start_elections(&self, lease: Duration, alone: bool, rng: Rng) {
        let group = self.clone();
        self.inner.tasks.spawn_until_stopped("raft elections", async move {
            let pause = |times_from: u64, times_to: u64| {
                let tenth = lease.as_millis() as u64 / 10;
                Duration::from_millis(rng.range(times_from * tenth, times_to * tenth))
            };
            loop {
                if alone {
                    tokio::time::sleep(lease / 100).await;
                } else {
                    let patience = pause(12, 32);
                    while group.is_leader() || group.silence() < patience {
                        let left = patience.saturating_sub(group.silence());
                        tokio::time::sleep(left.max(lease / 20)).await;
                    }
                }
                let initialized = group.inner.raft.is_initialized().await;
                if !group.is_leader() && matches!(initialized, Ok(true)) {
                    tracing::debug!(group = group.inner.id, "calling an election");
                    group.heard();
                    let _ = group.inner.raft.trigger().elect().await;
                }
            }
        });
    }

    /// For how long no leader or candidate was heard.
    fn silence(&self) -> Duration {
        self.inner.clock.monotonic().saturating_sub(*self.inner.heard.lock())
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
