//! `SharedLog`: ONE append-only log for votes, committed markers, entries, truncations and purges of all groups of a
//! process.
//!
//! Callers change the index and queue records under one lock, so that the log's order is the order of the
//! changes; a writer thread takes all that queued up as one frame, writes it once, syncs it once and then completes
//! whoever waits, in order. Votes and entries of a group can therefore never be reordered, and sixteen groups
//! cost one fsync. Records that nobody waits for (what is committed) ride on the next frame.
//!
//! Segments roll by size and go oldest first: what is still needed of the oldest is copied forward and synced
//! before. After a failed write or fsync the log is over: every call answers the first error.

mod collect;
mod format;
mod group_log;
mod replay;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::LogFlushed;
use pando_model::{ClusterId, NodeId};
use pando_runtime::disk::{Disk, DiskFile};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{oneshot, watch};

use self::format::{FrameBuilder, Kind, RawRecord, Record, SEGMENT_HEADER_BYTES};
use self::group_log::{GroupLog, Place, Slot};
use self::replay::{replay, segment_path};
use crate::error::ConsensusError;
use crate::member::Member;
use crate::types::{Entry, LogId, Types, Vote};
use crate::wire::{put_entry, put_log_id, put_maybe_log_id, put_members, put_u64, put_vote};

/// Tries to read an entry whose segment is removed meanwhile: it was copied forward before.
const READ_ATTEMPTS: usize = 5;

/// Settings of the log.
#[derive(Clone, Debug)]
pub(crate) struct LogConfig {
    /// Where the segments are.
    pub(crate) dir: PathBuf,
    /// Whose log it is.
    pub(crate) cluster: ClusterId,
    /// Whose log it is.
    pub(crate) node: NodeId,
    /// A segment that has grown to this is followed by a new one.
    pub(crate) segment_bytes: u64,
    /// Entries kept in memory, for each group.
    pub(crate) cache_bytes_max: usize,
}

/// The log of a process.
pub(crate) struct SharedLog {
    config: LogConfig,
    disk: Arc<dyn Disk>,
    state: Mutex<LogState>,
    wake: Condvar,
    /// Why the log is over, as soon as it is.
    failure: watch::Sender<Option<String>>,
    ended: watch::Sender<bool>,
}

/// Bytes of a segment, and how many of them hold entries that are still needed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) bytes: u64,
    pub(crate) live_bytes: u64,
}

struct LogState {
    groups: BTreeMap<u64, GroupLog>,
    segments: BTreeMap<u64, Segment>,
    /// The frame that is being filled, its number, and who waits for it.
    frame: FrameBuilder,
    frame_number: u64,
    waiters: Vec<Waiter>,
    /// Whether somebody waits for the frame, or the writer has other work.
    wanted: bool,
    /// Frames up to this one are durable.
    flushed: u64,
    /// Where the frame will be.
    segment: u64,
    offset: u64,
    /// The last frame with a copy in it, and which entries are elsewhere once it is durable.
    copied_in: u64,
    moves: Vec<collect::Move>,
    closed: bool,
}

enum Waiter {
    Flushed(LogFlushed<Types>),
    Done(oneshot::Sender<io::Result<()>>),
}

impl Waiter {
    fn complete(self, result: io::Result<()>) {
        match self {
            Waiter::Flushed(callback) => callback.log_io_completed(result),
            // Who no longer waits does not want to know.
            Waiter::Done(sender) => drop(sender.send(result)),
        }
    }
}

impl SharedLog {
    /// Reads the log back. [`SharedLog::run_writer`] has to run for anything to become durable.
    pub(crate) fn open(
        config: LogConfig,
        disk: Arc<dyn Disk>,
    ) -> Result<Arc<Self>, ConsensusError> {
        disk.create_dir(&config.dir).map_err(ConsensusError::disk(&config.dir))?;
        let replayed = replay(&*disk, &config)?;
        let state = LogState {
            groups: replayed.groups,
            segments: replayed.segments,
            frame: FrameBuilder::default(),
            frame_number: replayed.next_frame,
            waiters: Vec::new(),
            wanted: false,
            flushed: replayed.next_frame.saturating_sub(1),
            segment: replayed.next_segment,
            offset: SEGMENT_HEADER_BYTES as u64,
            copied_in: 0,
            moves: Vec::new(),
            closed: false,
        };
        Ok(Arc::new(SharedLog {
            config,
            disk,
            state: Mutex::new(state),
            wake: Condvar::new(),
            failure: watch::Sender::new(None),
            ended: watch::Sender::new(false),
        }))
    }

    /// Groups that the log holds, with their members.
    pub(crate) fn groups(&self) -> Vec<(u64, Vec<Member>)> {
        let state = self.state.lock();
        state.groups.iter().map(|(id, log)| (*id, log.state.members.clone())).collect()
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.lock().segments.values().map(|segment| segment.bytes).sum()
    }

    /// Notes a group; durable on return.
    pub(crate) async fn create_group(&self, group: u64, members: &[Member]) -> io::Result<()> {
        let done = {
            let mut state = self.enter()?;
            state.push(Kind::Created, group, |out| put_members(out, members));
            let mut log = GroupLog::default();
            log.state.members = members.to_vec();
            log.state_in = state.segment;
            state.groups.insert(group, log);
            self.wait_for_frame(&mut state)
        };
        finished(done).await
    }

    /// Forgets a group; durable on return.
    pub(crate) async fn remove_group(&self, group: u64) -> io::Result<()> {
        let done = {
            let mut state = self.enter()?;
            let Some(log) = state.groups.remove(&group) else {
                return Ok(());
            };
            let places: Vec<Place> = log.slots().map(|slot| slot.place).collect();
            state.release(&places);
            state.push(Kind::Removed, group, |_| {});
            self.wait_for_frame(&mut state)
        };
        finished(done).await
    }

    /// A group's newest vote.
    pub(crate) fn vote(&self, group: u64) -> io::Result<Option<Vote>> {
        Ok(self.enter()?.group(group)?.state.vote)
    }

    /// Replaces a group's vote; durable on return.
    pub(crate) async fn save_vote(&self, group: u64, vote: Vote) -> io::Result<()> {
        let done = {
            let mut state = self.enter()?;
            state.group(group)?.state.vote = Some(vote);
            state.push(Kind::Vote, group, |out| put_vote(out, &vote));
            self.wait_for_frame(&mut state)
        };
        finished(done).await
    }

    /// What a group knew to be committed.
    pub(crate) fn committed(&self, group: u64) -> io::Result<Option<LogId>> {
        Ok(self.enter()?.group(group)?.state.committed)
    }

    /// Notes what is committed. It rides on the next frame: losing it costs a restart nothing but waiting for the
    /// leader's word.
    pub(crate) fn save_committed(&self, group: u64, committed: Option<LogId>) -> io::Result<()> {
        let mut state = self.enter()?;
        state.group(group)?.state.committed = committed;
        state.push(Kind::Committed, group, |out| put_maybe_log_id(out, committed.as_ref()));
        Ok(())
    }

    /// A group's last purged log id, and its last one.
    pub(crate) fn bounds(&self, group: u64) -> io::Result<(Option<LogId>, Option<LogId>)> {
        let mut state = self.enter()?;
        let log = state.group(group)?;
        Ok((log.state.purged, log.last_log_id()))
    }

    /// Appends entries. They can be read on return; `flushed` is called when they are durable, in the order of the
    /// calls.
    pub(crate) fn append(
        &self,
        group: u64,
        entries: Vec<Entry>,
        flushed: LogFlushed<Types>,
    ) -> io::Result<()> {
        let mut state = self.enter()?;
        state.write_truncate(group)?;
        for entry in entries {
            let log_id = entry.log_id;
            let expected = state.group(group)?.next_index();
            if expected.is_some_and(|expected| expected < log_id.index) {
                let text = format!(
                    "hole in log: group={group} index={} expected={expected:?}",
                    log_id.index
                );
                return Err(io::Error::other(text));
            }
            if expected.is_some_and(|expected| expected > log_id.index) {
                // openraft truncates before; its conformance tests do not.
                state.truncate(group, log_id.index)?;
                state.write_truncate(group)?;
            }
            let place = state.push(Kind::Append, group, |out| put_entry(out, &entry));
            let slot = Slot { log_id, place, frame: state.frame_number, entry: Some(entry) };
            let durable = state.flushed;
            state.group(group)?.push(slot, durable, self.config.cache_bytes_max);
            state.occupy(place);
        }
        state.waiters.push(Waiter::Flushed(flushed));
        self.want(&mut state);
        Ok(())
    }

    /// Drops a group's entries from `since` on. The record is written with the next entries: a checkpoint that
    /// is being installed truncates too, and must be durable before anything is gone.
    pub(crate) fn truncate(&self, group: u64, since: u64) -> io::Result<()> {
        self.enter()?.truncate(group, since)
    }

    /// Drops a group's entries up to `upto`. What they did must be in a durable checkpoint.
    pub(crate) fn purge(&self, group: u64, upto: LogId) -> io::Result<()> {
        let mut state = self.enter()?;
        state.write_truncate(group)?;
        let gone = state.group(group)?.purge(upto);
        state.release(&gone);
        state.push(Kind::Purge, group, |out| put_log_id(out, &upto));
        self.want(&mut state);
        Ok(())
    }

    /// Entries with indexes in `[start, end)` that exist, if all of them are in memory; at least one, as long as
    /// there is one, and no more than make up `bytes_max`.
    pub(crate) fn read_cached(
        &self,
        group: u64,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> io::Result<Option<Vec<Entry>>> {
        let mut state = self.enter()?;
        let log = state.group(group)?;
        Ok(within(log.range(start, end), bytes_max).map(|slot| slot.entry.clone()).collect())
    }

    /// As [`SharedLog::read_cached`], from disk where they are not in memory.
    pub(crate) fn read(
        &self,
        group: u64,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<Entry>> {
        for _ in 0..READ_ATTEMPTS {
            let slots: Vec<Slot> = {
                let mut state = self.enter()?;
                let log = state.group(group)?;
                within(log.range(start, end), bytes_max).cloned().collect()
            };
            let mut segments = OpenSegments { log: self, open: None };
            let entries: io::Result<Vec<Entry>> =
                slots.into_iter().map(|slot| segments.entry(slot)).collect();
            match entries {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                entries => return entries,
            }
        }
        Err(io::Error::other(format!("segments vanish while they are read: group={group}")))
    }

    /// Nothing is taken any more; what was taken is written. [`SharedLog::ended`] tells when.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_all();
    }

    /// Waits until the writer has ended.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        // The sender lives in `self`: the wait cannot fail.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Why the log is over, as soon as it is.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.subscribe()
    }

    fn enter(&self) -> io::Result<MutexGuard<'_, LogState>> {
        // In this order: the writer closes under the lock when it ends, and nobody waits for it afterwards.
        let state = self.state.lock();
        if let Some(reason) = &*self.failure.borrow() {
            return Err(io::Error::other(format!("log has failed before: {reason}")));
        }
        if state.closed { Err(io::Error::other("log is closed")) } else { Ok(state) }
    }

    fn want(&self, state: &mut LogState) {
        state.wanted = true;
        self.wake.notify_one();
    }

    fn wait_for_frame(&self, state: &mut LogState) -> oneshot::Receiver<io::Result<()>> {
        let (sender, receiver) = oneshot::channel();
        state.waiters.push(Waiter::Done(sender));
        self.want(state);
        receiver
    }

    /// Reads a record of any kind back.
    fn read_record(&self, file: &dyn DiskFile, place: Place) -> io::Result<RawRecord> {
        let mut bytes = vec![0; place.len as usize];
        file.read_at(place.offset, &mut bytes)?;
        RawRecord::at(&Bytes::from(bytes), 0).map_err(|fault| {
            let path = segment_path(&self.config.dir, place.segment);
            let (path, offset) = (path.display(), place.offset);
            io::Error::other(format!("record is damaged: path={path} offset={offset} {fault}"))
        })
    }
}

/// Opens each segment once for a run of reads.
struct OpenSegments<'a> {
    log: &'a SharedLog,
    open: Option<(u64, Box<dyn DiskFile>)>,
}

impl OpenSegments<'_> {
    fn entry(&mut self, slot: Slot) -> io::Result<Entry> {
        if let Some(entry) = slot.entry {
            return Ok(entry);
        }
        let record = self.record(slot.place)?;
        match record.decode() {
            Ok(Record::Append(entry) | Record::Copy(entry)) if entry.log_id == slot.log_id => {
                Ok(entry)
            }
            _ => Err(io::Error::other(format!("entry is not where it was: {}", slot.log_id))),
        }
    }

    fn record(&mut self, place: Place) -> io::Result<RawRecord> {
        let file = match self.open.take().filter(|(segment, _)| *segment == place.segment) {
            Some((_, file)) => file,
            None => self.log.disk.open(&segment_path(&self.log.config.dir, place.segment))?,
        };
        let record = self.log.read_record(&*file, place);
        self.open = Some((place.segment, file));
        record
    }
}

impl LogState {
    fn group(&mut self, group: u64) -> io::Result<&mut GroupLog> {
        self.groups
            .get_mut(&group)
            .ok_or_else(|| io::Error::other(format!("group is not in the log: group={group}")))
    }

    /// Queues a record; returns where it will be.
    fn push(&mut self, kind: Kind, group: u64, body: impl FnOnce(&mut Vec<u8>)) -> Place {
        let (offset, len) = self.frame.push(kind, group, body);
        Place { segment: self.segment, offset: self.offset + offset as u64, len: len as u32 }
    }

    fn truncate(&mut self, group: u64, since: u64) -> io::Result<()> {
        let log = self.group(group)?;
        let gone = log.truncate(since);
        log.unwritten_truncate =
            Some(log.unwritten_truncate.map_or(since, |known| known.min(since)));
        self.release(&gone);
        Ok(())
    }

    fn write_truncate(&mut self, group: u64) -> io::Result<()> {
        if let Some(since) = self.group(group)?.unwritten_truncate.take() {
            self.push(Kind::Truncate, group, |out| put_u64(out, since));
        }
        Ok(())
    }

    fn occupy(&mut self, place: Place) {
        self.segments.entry(place.segment).or_default().live_bytes += u64::from(place.len);
    }

    fn release(&mut self, places: &[Place]) {
        for place in places {
            if let Some(segment) = self.segments.get_mut(&place.segment) {
                segment.live_bytes = segment.live_bytes.saturating_sub(u64::from(place.len));
            }
        }
    }
}

/// The first slot and those after it that stay within `bytes_max`.
fn within<'a>(
    slots: impl Iterator<Item = &'a Slot>,
    bytes_max: usize,
) -> impl Iterator<Item = &'a Slot> {
    let mut taken_bytes = 0usize;
    slots.enumerate().map_while(move |(at, slot)| {
        taken_bytes = taken_bytes.saturating_add(slot.place.len as usize);
        (at == 0 || taken_bytes <= bytes_max).then_some(slot)
    })
}

async fn finished(done: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
    done.await.unwrap_or_else(|_| Err(io::Error::other("log has ended")))
}

#[cfg(test)]
pub(crate) mod tests;
