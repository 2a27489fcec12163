//! `LogStore`: one group's part of the shared log, as openraft wants it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, RaftLogReader, StorageIOError};
use parking_lot::Mutex;

use crate::shared_log::{GroupLog, Record, SharedLog};
use crate::types::{Config, Entry, LogId, StorageError, Vote};

/// One group's part of the shared log. Cloning shares it.
#[derive(Clone)]
pub(crate) struct LogStore {
    id: u64,
    shared: SharedLog,
    group: Arc<Mutex<GroupLog>>,
}

impl LogStore {
    pub(crate) fn new(id: u64, shared: SharedLog) -> Self {
        let group = shared.group(id);
        LogStore { id, shared, group }
    }
}

fn write_error(error: io::Error) -> StorageError {
    StorageIOError::write_logs(&error).into()
}

impl RaftLogReader<Config> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        let empty = match bounds {
            (Bound::Included(a), Bound::Excluded(b)) => a >= b,
            (Bound::Included(a), Bound::Included(b)) => a > b,
            _ => false,
        };
        if empty {
            return Ok(Vec::new());
        }
        Ok(self.group.lock().entries.range(bounds).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<Config> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Config>, StorageError> {
        let group = self.group.lock();
        let last_log_id = group.last_log_id();
        Ok(LogState { last_purged_log_id: group.purged, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let written = self.shared.write_and_wait(self.id, &[Record::Vote(vote)]).await;
        written.map_err(|error| StorageIOError::write_vote(&error))?;
        self.group.lock().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.group.lock().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        if let Some(id) = committed {
            self.group.lock().committed = Some(id);
            // Not waited for: a restart that does not find it hears it from the leader.
            self.shared.write(self.id, &[Record::Committed(&id)], |_| {});
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        let group = self.group.lock();
        // A marker may outlive entries that were not durable: openraft wants only what the log holds.
        Ok(group.committed.filter(|committed| group.last_log_id().is_some_and(|l| *committed <= l)))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<Config>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let records: Vec<Record<'_>> = entries.iter().map(Record::Entry).collect();
        // Readers see entries before they are durable; openraft counts them only after the callback.
        self.group.lock().entries.extend(entries.iter().map(|e| (e.log_id.index, e.clone())));
        self.shared.write(self.id, &records, move |result| callback.log_io_completed(result));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.group.lock().truncate(log_id.index);
        let record = [Record::Truncate(log_id.index)];
        self.shared.write_and_wait(self.id, &record).await.map_err(write_error)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.group.lock().purge(log_id);
        self.shared.write_and_wait(self.id, &[Record::Purge(&log_id)]).await.map_err(write_error)
    }
}
