//! `LogStore`: one group's part of the shared log, as openraft wants it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogReader};
use tokio::sync::watch;

use crate::log::SharedLog;
use crate::types::{Entry, LogId, StorageError, StorageIoError, Types, Vote};

/// Entries sent in one message, unless one alone is larger: what a slow network carries within the time that
/// openraft gives a message.
const READ_BYTES_MAX: usize = 2 << 20;

/// One group's part of the shared log.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Arc<SharedLog>,
    group: u64,
    /// Whose votes are this process' own.
    node: u64,
    /// The last index of the durable checkpoint, as it grows.
    checkpointed: Option<watch::Receiver<Option<u64>>>,
}

impl LogStore {
    /// The log of `group`. With `checkpointed`, nothing is purged before a durable checkpoint covers it.
    pub(crate) fn new(
        log: Arc<SharedLog>,
        group: u64,
        node: u64,
        checkpointed: Option<watch::Receiver<Option<u64>>>,
    ) -> Self {
        LogStore { log, group, node, checkpointed }
    }

    async fn read(
        &self,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let read_failed = |error: io::Error| StorageIoError::read_logs(text(error));
        let cached =
            self.log.read_cached(self.group, start, end, bytes_max).map_err(read_failed)?;
        if let Some(entries) = cached {
            return Ok(entries);
        }
        let (log, group) = (self.log.clone(), self.group);
        let read = tokio::task::spawn_blocking(move || log.read(group, start, end, bytes_max));
        let entries =
            read.await.map_err(|error| StorageIoError::read_logs(AnyError::error(error)))?;
        Ok(entries.map_err(read_failed)?)
    }
}

fn text(error: io::Error) -> AnyError {
    AnyError::error(error)
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read(start, end, READ_BYTES_MAX).await
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let (purged, last) =
            self.log.bounds(self.group).map_err(|error| StorageIoError::read_logs(text(error)))?;
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let saved = self.log.save_vote(self.group, *vote).await;
        Ok(saved.map_err(|error| StorageIoError::write_vote(text(error)))?)
    }

    /// A process that led before it stopped comes back as a follower: openraft would have it lead on at once,
    /// without a blank entry of this life to tell which of its entries are committed.
    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let vote =
            self.log.vote(self.group).map_err(|error| StorageIoError::read_vote(text(error)))?;
        Ok(vote.map(|mut vote| {
            vote.committed &= vote.leader_id.node_id != self.node;
            vote
        }))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let saved = self.log.save_committed(self.group, committed);
        Ok(saved.map_err(|error| StorageIoError::write_logs(text(error)))?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        let read = self.log.committed(self.group);
        Ok(read.map_err(|error| StorageIoError::read_logs(text(error)))?)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<Types>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let appended = self.log.append(self.group, entries, callback);
        Ok(appended.map_err(|error| StorageIoError::write_logs(text(error)))?)
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let truncated = self.log.truncate(self.group, log_id.index);
        Ok(truncated.map_err(|error| StorageIoError::write_logs(text(error)))?)
    }

    /// openraft purges while a checkpoint from the leader is still being installed, by another task; were the
    /// purge durable first, a crash between would leave neither entries nor state.
    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        if let Some(checkpointed) = &mut self.checkpointed {
            let covered =
                checkpointed.wait_for(|index| index.is_some_and(|i| i >= log_id.index)).await;
            if covered.is_err() {
                let error =
                    AnyError::error("state machine has ended before its checkpoint was durable");
                return Err(StorageIoError::write_logs(error).into());
            }
        }
        let purged = self.log.purge(self.group, log_id);
        Ok(purged.map_err(|error| StorageIoError::write_logs(text(error)))?)
    }
}
