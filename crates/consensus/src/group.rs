//! `Group`: one member's part in one Raft group.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::ServerState;
use openraft::error::{CheckIsLeaderError, ClientWriteError, Fatal, RaftError};
use pando_model::NodeId;
use pando_runtime::{Rng, Tasks};
use tokio::sync::{Semaphore, watch};

use crate::batched::Batched;
use crate::election::{Contact, Elections};
use crate::error::{ConsensusError, ProposeError, ReadError};
use crate::host::HostConfig;
use crate::member::Member;
use crate::message::{Reply, Request};
use crate::network::{Network, member};
use crate::types::{Payload, Raft};

/// Proposals that wait for one group at a time; more wait for a place.
const PROPOSALS_MAX: usize = 64;

/// How long the tasks of a group may take to end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Who leads, as far as this member knows. Terms may be shared by two leaders: what has to be unique is term
/// and node together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leadership {
    /// The leader.
    pub leader: Option<Member>,
    /// Whether it is this member.
    pub is_leader: bool,
    /// The term.
    pub term: u64,
}

/// One member's part in one group. Cloning shares it.
#[derive(Clone)]
pub struct Group {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    id: u64,
    node: NodeId,
    members: Vec<Member>,
    pub(crate) raft: Raft,
    pub(crate) contact: Arc<Contact>,
    /// Confirms that this member leads.
    pub(crate) confirm: Arc<Batched<Confirmed>>,
    /// Asks whoever leads.
    read: Batched<Result<Option<u64>, ReadError>>,
    applied: watch::Receiver<Option<u64>>,
    leadership: watch::Receiver<Leadership>,
    proposals: Semaphore,
    pub(crate) config: Arc<HostConfig>,
    tasks: Tasks,
}

/// The index that a read has to wait for, or why this member cannot tell.
pub(crate) type Confirmed = Result<Option<u64>, NotConfirmed>;

#[derive(Clone, Debug)]
pub(crate) enum NotConfirmed {
    NotLeader(Option<Member>),
    Unavailable(String),
    Fatal(String),
}

/// What a group is made of.
pub(crate) struct Parts {
    pub(crate) id: u64,
    pub(crate) members: Vec<Member>,
    /// See [`Elections::first`].
    pub(crate) first: bool,
    pub(crate) raft: Raft,
    pub(crate) network: Network,
    pub(crate) applied: watch::Receiver<Option<u64>>,
    pub(crate) config: Arc<HostConfig>,
    pub(crate) rng: Rng,
    pub(crate) tasks: Tasks,
}

impl Group {
    pub(crate) fn start(parts: Parts) -> Self {
        let Parts { id, members, first, raft, network, applied, config, rng, tasks } = parts;
        follow_failure(&tasks, &raft, id);
        let contact = network.contact.clone();
        let timeout = Duration::from_millis(config.election_timeout_ms);
        let elections =
            Elections { raft: raft.clone(), rng, timeout, members: members.clone(), first };
        tasks.spawn_vital("elections", elections.run(contact.clone()));
        let confirm = {
            let (raft, members, contact) = (raft.clone(), members.clone(), contact.clone());
            let round = move || confirm(raft.clone(), members.clone(), contact.clone());
            Arc::new(Batched::new(&tasks, "confirm leader", round))
        };
        let read = {
            let reader = Reader {
                node: config.node,
                members: members.clone(),
                raft: raft.clone(),
                network,
                confirm: confirm.clone(),
                timeout,
            };
            let reader = Arc::new(reader);
            Batched::new(&tasks, "read index", move || {
                let reader = reader.clone();
                async move { reader.index().await }
            })
        };
        let leadership = follow_leadership(&tasks, &raft, &members, config.node);
        let inner = Inner {
            id,
            node: config.node,
            members,
            raft,
            contact,
            confirm,
            read,
            applied,
            leadership,
            proposals: Semaphore::new(PROPOSALS_MAX),
            config,
            tasks,
        };
        Group { inner: Arc::new(inner) }
    }

    /// The group's id.
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// All members, sorted by node id.
    pub fn members(&self) -> &[Member] {
        &self.inner.members
    }

    /// Replicates an entry and applies it here; returns its index and what the state machine answered. The answer
    /// follows the fsync of a majority (INV-1). One proposal after the other is fastest if it carries all that
    /// queued up meanwhile. Gives up after `propose_timeout_ms`.
    ///
    /// # Errors
    /// See [`ProposeError`]. After `NotLeader` the entry will not be applied, in groups of up to three members;
    /// in larger ones a later leader may, rarely, still find it. After `Unavailable` nobody knows.
    pub async fn propose(&self, entry: impl Into<Bytes>) -> Result<(u64, Vec<u8>), ProposeError> {
        let entry = entry.into();
        let max = self.inner.config.entry_bytes_max;
        if entry.len() > max {
            return Err(ProposeError::TooLarge { max, bytes: entry.len() });
        }
        if self.is_silent() {
            let text = format!("leader gives up the lead: group={}", self.inner.id);
            return Err(ProposeError::Unavailable(text));
        }
        let timeout = Duration::from_millis(self.inner.config.propose_timeout_ms);
        let proposed = async {
            let _place = self.inner.proposals.acquire().await;
            self.inner.raft.client_write(Payload(entry)).await
        };
        match tokio::time::timeout(timeout, proposed).await {
            Ok(Ok(response)) => Ok((response.log_id.index, response.data)),
            Ok(Err(error)) => Err(self.propose_error(error)),
            Err(_) => Err(ProposeError::Unavailable(format!(
                "group={} timeout_ms={}",
                self.inner.id,
                timeout.as_millis()
            ))),
        }
    }

    /// Waits until this member has applied all that was committed when this was called. Works on any member;
    /// callers of one moment share one question to the leader.
    ///
    /// # Errors
    /// Where no leader is known, or it cannot confirm itself, or this member does not keep up.
    pub async fn read_index(&self) -> Result<(), ReadError> {
        let stopped = || ReadError::Fatal(format!("group is shut down: group={}", self.inner.id));
        let index = self.inner.read.ask().await.ok_or_else(stopped)??;
        let mut applied = self.inner.applied.clone();
        let timeout = Duration::from_millis(self.inner.config.propose_timeout_ms);
        let reached = applied.wait_for(|applied| *applied >= index);
        match tokio::time::timeout(timeout, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(ReadError::Unavailable(format!(
                "this member lags: group={} index={}",
                self.inner.id,
                index.unwrap_or(0)
            ))),
        }
    }

    /// Whether this member leads, as far as it knows. A leader that was cut off learns of its successor late:
    /// what must not be stale asks [`Group::read_index`].
    pub fn is_leader(&self) -> bool {
        self.inner.raft.server_metrics().borrow().state == ServerState::Leader
    }

    /// The leader, as far as this member knows.
    pub fn leader(&self) -> Option<Member> {
        let leader = self.inner.raft.server_metrics().borrow().current_leader;
        member(&self.inner.members, leader?)
    }

    /// The term. Two leaders may share one; term and node id together are unique.
    pub fn term(&self) -> u64 {
        term(&self.inner.raft)
    }

    /// Whether this member is giving up the lead that it holds.
    pub(crate) fn is_silent(&self) -> bool {
        self.inner.contact.is_silent(self.term())
    }

    /// Says whether this member had better not lead. It stands for election after the others then; where nobody
    /// else comes, it leads all the same.
    pub fn set_unfit(&self, unfit: bool) {
        self.inner.contact.set_unfit(unfit);
    }

    /// Gives up the lead: says nothing until the others have had time to elect another leader. Where none of them
    /// could, this one leads on. Reads and proposals fail meanwhile.
    pub fn give_up_lead(&self) {
        if self.is_leader() && self.inner.members.len() > 1 {
            tracing::info!(group = self.inner.id, "leader gives up the lead");
            let timeout = Duration::from_millis(self.inner.config.election_timeout_ms);
            self.inner.contact.be_silent(self.term(), timeout * 5);
        }
    }

    /// The index of the last applied entry; 0 where there is none.
    pub fn applied_index(&self) -> u64 {
        self.inner.applied.borrow().unwrap_or(0)
    }

    /// The index of the last applied entry, as it grows.
    pub fn applied(&self) -> watch::Receiver<Option<u64>> {
        self.inner.applied.clone()
    }

    /// Who leads, as it changes.
    pub fn watch(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// Entries in this member's log: what a restart has to apply again, and a few more.
    pub fn log_entries(&self) -> u64 {
        let metrics = self.inner.raft.data_metrics();
        let metrics = metrics.borrow();
        let end = metrics.last_log.map_or(0, |id| id.index + 1);
        end.saturating_sub(metrics.purged.map_or(0, |id| id.index + 1))
    }

    /// Writes the state of all entries applied so far, durably, then lets go of the log before it but for
    /// `entries_kept`. Returns the index that the checkpoint covers at least.
    ///
    /// # Errors
    /// Where the disk fails; the group stops then.
    pub async fn checkpoint(&self) -> Result<u64, ConsensusError> {
        let Some(target) = *self.inner.applied.borrow() else {
            return Ok(0);
        };
        let mut metrics = self.inner.raft.metrics();
        let again = Duration::from_millis(self.inner.config.heartbeat_ms);
        loop {
            {
                let now = metrics.borrow_and_update();
                if let Err(error) = &now.running_state {
                    return Err(ConsensusError::Failed { reason: error.to_string() });
                }
                if now.snapshot.is_some_and(|id| id.index >= target) {
                    return Ok(target);
                }
            }
            // Ignored while one is being built, which may have begun too early for us.
            let triggered = self.inner.raft.trigger().snapshot().await;
            triggered.map_err(|error| ConsensusError::Failed { reason: error.to_string() })?;
            let _ = tokio::time::timeout(again, metrics.changed()).await;
        }
    }

    /// Why the group stopped for good, where it has. A process with such a group had better end, and is told so by
    /// the tasks that its host was opened with.
    pub fn failure(&self) -> Option<String> {
        let metrics = self.inner.raft.metrics();
        let running = &metrics.borrow().running_state;
        match running {
            Ok(()) => metrics.has_changed().is_err().then(|| PANICKED.to_string()),
            Err(_) => failure(running),
        }
    }

    /// Stops this member's part. Use [`Host::shutdown`](crate::Host::shutdown) to stop all.
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(group = self.inner.id, %error, "raft core ended badly");
        }
        let laggards = self.inner.tasks.shutdown(SHUTDOWN_GRACE).await;
        if !laggards.is_empty() {
            tracing::warn!(group = self.inner.id, ?laggards, "tasks did not end");
        }
    }

    fn propose_error(
        &self,
        error: RaftError<u64, ClientWriteError<u64, openraft::BasicNode>>,
    ) -> ProposeError {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
                let leader = to.leader_id.and_then(|id| member(&self.inner.members, id));
                // A candidate that led before still names itself.
                ProposeError::NotLeader { leader: leader.filter(|m| m.node != self.inner.node) }
            }
            RaftError::APIError(error) => ProposeError::Unavailable(error.to_string()),
            RaftError::Fatal(error) => ProposeError::Fatal(error.to_string()),
        }
    }
}

fn term(raft: &Raft) -> u64 {
    raft.server_metrics().borrow().vote.leader_id.term
}

/// Has a majority confirm that this member leads.
async fn confirm(raft: Raft, members: Vec<Member>, contact: Arc<Contact>) -> Confirmed {
    if contact.is_silent(term(&raft)) {
        return Err(NotConfirmed::Unavailable("leader gives up the lead".to_string()));
    }
    match raft.get_read_log_id().await {
        Ok((index, _)) => Ok(index.map(|id| id.index)),
        Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to))) => {
            Err(NotConfirmed::NotLeader(to.leader_id.and_then(|id| member(&members, id))))
        }
        Err(RaftError::APIError(error)) => Err(NotConfirmed::Unavailable(error.to_string())),
        Err(RaftError::Fatal(error)) => Err(NotConfirmed::Fatal(error.to_string())),
    }
}

/// Asks whoever leads what a read has to wait for.
struct Reader {
    node: NodeId,
    members: Vec<Member>,
    raft: Raft,
    network: Network,
    confirm: Arc<Batched<Confirmed>>,
    timeout: Duration,
}

impl Reader {
    async fn index(&self) -> Result<Option<u64>, ReadError> {
        let leader = self.raft.server_metrics().borrow().current_leader;
        let leader = leader.and_then(|id| member(&self.members, id));
        let Some(leader) = leader else {
            return Err(ReadError::Unavailable("no leader is known".to_string()));
        };
        if leader.node == self.node {
            let stopped = || NotConfirmed::Fatal("group is shut down".to_string());
            return self.confirm.ask().await.unwrap_or_else(|| Err(stopped())).map_err(read_error);
        }
        match self.network.send(&leader, Request::ReadIndex, self.timeout).await {
            Ok(Reply::ReadIndex(index)) => Ok(index),
            Ok(Reply::NotLeader(_)) => {
                Err(ReadError::Unavailable("leader is changing".to_string()))
            }
            Ok(_) => Err(ReadError::Unavailable("reply is of another kind".to_string())),
            Err(reason) => Err(ReadError::Unavailable(reason)),
        }
    }
}

fn read_error(error: NotConfirmed) -> ReadError {
    match error {
        NotConfirmed::NotLeader(_) => ReadError::Unavailable("leader is changing".to_string()),
        NotConfirmed::Unavailable(reason) => ReadError::Unavailable(reason),
        NotConfirmed::Fatal(reason) => ReadError::Fatal(reason),
    }
}

fn failure(running: &Result<(), Fatal<u64>>) -> Option<String> {
    match running {
        Ok(()) | Err(Fatal::Stopped) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Why a group has stopped whose core is gone without a word.
const PANICKED: &str = "its core has panicked, see above";

fn follow_failure(tasks: &Tasks, raft: &Raft, group: u64) {
    let (mut metrics, failing) = (raft.metrics(), tasks.clone());
    tasks.spawn_until_stopped("group failure", async move {
        let reason = match metrics.wait_for(|now| now.running_state.is_err()).await {
            Ok(now) => failure(&now.running_state),
            Err(_) => Some(PANICKED.to_string()),
        };
        if let Some(reason) = reason {
            failing.fail(format!("raft group has stopped: group={group}: {reason}"));
        }
    });
}

fn follow_leadership(
    tasks: &Tasks,
    raft: &Raft,
    members: &[Member],
    node: NodeId,
) -> watch::Receiver<Leadership> {
    let (sender, receiver) = watch::channel(Leadership::default());
    let (mut metrics, members) = (raft.server_metrics(), members.to_vec());
    tasks.spawn_vital("leadership", async move {
        loop {
            let now = {
                let metrics = metrics.borrow_and_update();
                let leader = metrics.current_leader.and_then(|id| member(&members, id));
                let is_leader = metrics.state == ServerState::Leader
                    && leader.as_ref().is_some_and(|leader| leader.node == node);
                Leadership { leader, is_leader, term: metrics.vote.leader_id.term }
            };
            sender.send_if_modified(|known| {
                let changed = *known != now;
                *known = now;
                changed
            });
            if metrics.changed().await.is_err() {
                return;
            }
        }
    });
    receiver
}
