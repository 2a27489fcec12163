//! `StateStore`: the group's state machine, as openraft wants it, with its checkpoint.

use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{EntryPayload, RaftSnapshotBuilder, StorageIOError};
use tokio::sync::watch;

use crate::StateMachine;
use crate::checkpoint::CheckpointFile;
use crate::error::ConsensusError;
use crate::types::{Answer, Config, Entry, LogId, SnapshotMeta, StorageError, StoredMembership};

/// The group's state.
pub(crate) struct StateStore {
    machine: Arc<dyn StateMachine>,
    file: CheckpointFile,
    applied: Option<LogId>,
    membership: StoredMembership,
    progress: watch::Sender<u64>,
}

impl StateStore {
    /// Restores the state from its checkpoint, if there is one.
    pub(crate) fn open(
        machine: Arc<dyn StateMachine>,
        file: CheckpointFile,
        progress: watch::Sender<u64>,
    ) -> Result<Self, ConsensusError> {
        let (applied, membership) = match file.read()? {
            Some((meta, state)) => {
                machine.restore(&state).map_err(ConsensusError::Disk)?;
                (meta.last_log_id, meta.last_membership)
            }
            None => (None, StoredMembership::default()),
        };
        progress.send_replace(applied.map_or(0, |id| id.index));
        Ok(StateStore { machine, file, applied, membership, progress })
    }

    fn announce(&self) {
        self.progress.send_replace(self.applied.map_or(0, |id| id.index));
    }
}

impl RaftStateMachine<Config> for StateStore {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answer>, StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut answers = Vec::new();
        for entry in entries {
            let id = entry.log_id;
            answers.push(Answer(match entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Normal(proposal) => self.machine.apply(id.index, &proposal.0),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(id), membership);
                    Vec::new()
                }
            }));
            self.applied = Some(id);
        }
        self.announce();
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let id = self.applied.map_or("empty".to_string(), |id| id.to_string());
        Builder {
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
                snapshot_id: id,
            },
            // Taken here, between two entries: the builder itself runs beside the next ones.
            state: self.machine.snapshot(),
            file: self.file.clone(),
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
        let state = snapshot.into_inner();
        let bad =
            |text: String| StorageIOError::write_snapshot(None, openraft::AnyError::error(text));
        self.machine.restore(&state).map_err(bad)?;
        self.file.write(meta, &state).map_err(|error| bad(error.to_string()))?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.announce();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Config>>, StorageError> {
        let read = self.file.read();
        let read = read.map_err(|error| {
            StorageIOError::read_snapshot(None, openraft::AnyError::new(&error))
        })?;
        Ok(read.map(|(meta, state)| Snapshot { meta, snapshot: Box::new(Cursor::new(state)) }))
    }
}

/// Writes a checkpoint.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    state: Vec<u8>,
    file: CheckpointFile,
}

impl RaftSnapshotBuilder<Config> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Config>, StorageError> {
        let state = std::mem::take(&mut self.state);
        self.file
            .write(&self.meta, &state)
            .map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Box::new(Cursor::new(state)) })
    }
}
