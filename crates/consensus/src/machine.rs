//! `StateMachine`: what a group replicates; and `Machine`, the same as openraft wants it.

use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use tokio::sync::watch;

use crate::checkpoint::{Checkpoint, CheckpointFile, describe, is_whole};
use crate::error::ConsensusError;
use crate::types::{
    Entry, LogId, SnapshotMeta, StorageError, StorageIoError, StoredMembership, Types,
};

/// What a group replicates. Applying reads nothing but the entry and the state, so that all members agree.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies an entry and answers it. Called once for each entry, in log order; after a restart again for
    /// those since the last checkpoint. `index` grows, with gaps.
    ///
    /// # Errors
    /// Where the entry cannot be read: it is not skipped, since other members may read it. The group stops, and
    /// what is behind the entry is not applied here.
    fn apply(&self, index: u64, entry: &[u8]) -> Result<Vec<u8>, String>;

    /// The whole state.
    fn snapshot(&self) -> Vec<u8>;

    /// Replaces the state by what [`StateMachine::snapshot`] gave, here or on another member.
    ///
    /// # Errors
    /// Where the bytes cannot be read; the group stops.
    fn restore(&self, bytes: &[u8]) -> Result<(), String>;
}

/// A state machine with its checkpoint file.
pub(crate) struct Machine {
    state: Arc<dyn StateMachine>,
    file: CheckpointFile,
    last: Option<LogId>,
    membership: StoredMembership,
    applied: watch::Sender<Option<u64>>,
    /// The log waits for it; it ends with this machine.
    checkpointed: watch::Sender<Option<u64>>,
}

impl Machine {
    /// Restores the state from the checkpoint, where there is one.
    pub(crate) fn open(
        state: Arc<dyn StateMachine>,
        file: CheckpointFile,
    ) -> Result<Self, ConsensusError> {
        let mut machine = Machine {
            state,
            file,
            last: None,
            membership: StoredMembership::default(),
            applied: watch::Sender::new(None),
            checkpointed: watch::Sender::new(None),
        };
        if let Some(Checkpoint { meta, data }) = machine.file.read()? {
            machine.state.restore(&data).map_err(|reason| ConsensusError::Corrupt {
                path: machine.file.path().clone(),
                offset: 0,
                reason: format!("state cannot be restored: {reason}"),
            })?;
            machine.checkpointed.send_replace(meta.last_log_id.map(|id| id.index));
            machine.set(meta.last_log_id, meta.last_membership);
        }
        Ok(machine)
    }

    /// How far it is.
    pub(crate) fn applied(&self) -> watch::Sender<Option<u64>> {
        self.applied.clone()
    }

    /// What the durable checkpoint covers.
    pub(crate) fn checkpointed(&self) -> watch::Receiver<Option<u64>> {
        self.checkpointed.subscribe()
    }

    fn set(&mut self, last: Option<LogId>, membership: StoredMembership) {
        self.last = last;
        self.membership = membership;
        self.applied.send_replace(last.map(|id| id.index));
    }
}

fn io_text(error: impl std::fmt::Display) -> AnyError {
    AnyError::error(error)
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<u8>>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let Some(last) = entries.last().map(|entry| entry.log_id) else {
            return Ok(Vec::new());
        };
        let mut membership = self.membership.clone();
        let state = self.state.clone();
        // An entry may take milliseconds: not on a thread that answers heartbeats.
        let work = tokio::task::spawn_blocking(move || {
            let mut answers = Vec::with_capacity(entries.len());
            for entry in entries {
                answers.push(match entry.payload {
                    EntryPayload::Blank => Vec::new(),
                    EntryPayload::Normal(payload) => {
                        let id = entry.log_id;
                        let applied = state.apply(id.index, &payload.0);
                        applied.map_err(|reason| (id, reason))?
                    }
                    EntryPayload::Membership(members) => {
                        membership = StoredMembership::new(Some(entry.log_id), members);
                        Vec::new()
                    }
                });
            }
            Ok((answers, membership))
        });
        let applied: Result<_, (LogId, String)> =
            work.await.map_err(|error| StorageIoError::apply(last, io_text(error)))?;
        let (answers, membership) =
            applied.map_err(|(id, reason)| StorageIoError::apply(id, io_text(reason)))?;
        self.set(Some(last), membership);
        Ok(answers)
    }

    /// The state is taken here, between two entries; the builder writes it while entries go on.
    async fn get_snapshot_builder(&mut self) -> Builder {
        let state = self.state.clone();
        let taken = tokio::task::spawn_blocking(move || state.snapshot()).await;
        Builder {
            last: self.last,
            membership: self.membership.clone(),
            data: Some(taken.map_err(|error| error.to_string())),
            file: self.file.clone(),
            checkpointed: self.checkpointed.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let failed =
            |error: AnyError| StorageIoError::write_snapshot(Some(meta.signature()), error);
        let (state, file, written) = (self.state.clone(), self.file.clone(), meta.clone());
        let work = tokio::task::spawn_blocking(move || {
            let data = snapshot.into_inner();
            if !is_whole(&written, &data) {
                return Err(format!("snapshot was damaged on its way: id={}", written.snapshot_id));
            }
            state.restore(&data)?;
            file.write(&written, &data).map_err(|error| error.to_string())
        });
        work.await
            .map_err(|error| failed(io_text(error)))?
            .map_err(|reason| failed(io_text(reason)))?;
        self.set(meta.last_log_id, meta.last_membership.clone());
        self.checkpointed.send_replace(meta.last_log_id.map(|id| id.index));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || file.read()).await;
        let read = read.map_err(|error| StorageIoError::read_snapshot(None, io_text(error)))?;
        let read = read.map_err(|error| StorageIoError::read_snapshot(None, io_text(error)))?;
        Ok(read.map(|Checkpoint { meta, data }| Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(data.to_vec())),
        }))
    }
}

/// Writes a state that was taken.
pub(crate) struct Builder {
    last: Option<LogId>,
    membership: StoredMembership,
    data: Option<Result<Vec<u8>, String>>,
    file: CheckpointFile,
    checkpointed: watch::Sender<Option<u64>>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let failed = |error: AnyError| StorageIoError::write_snapshot(None, error);
        let data = self.data.take().unwrap_or_else(|| Err("state was taken once only".to_string()));
        let data = data.map_err(|reason| failed(io_text(reason)))?;
        let (file, last, membership) = (self.file.clone(), self.last, self.membership.clone());
        let work = tokio::task::spawn_blocking(move || {
            let meta = describe(last, &membership, &data);
            file.write(&meta, &data).map(|()| (meta, data))
        });
        let (meta, data) = work
            .await
            .map_err(|error| failed(io_text(error)))?
            .map_err(|error| failed(io_text(error)))?;
        let index = meta.last_log_id.map(|id| id.index);
        self.checkpointed.send_if_modified(|known| {
            let grows = index > *known;
            if grows {
                *known = index;
            }
            grows
        });
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(data)) })
    }
}
