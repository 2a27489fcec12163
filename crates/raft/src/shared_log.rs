//! `SharedLog`: the one log of all groups of a process. Votes, entries, truncations and purges of all groups
//! are records of one ordered file sequence; what queues up while the disk syncs is written and synced at once.
//!
//! ```text
//! segment  <20 digits>.log: "PANDOLOG", u32 version = 1, u32 crc32c of these 12 bytes, records
//! record   u32 length of body, u32 crc32c of body, body
//! body     u8 kind, u64 group, payload
//!   0 batch      u64 bytes of this segment that were durable before this batch (group 0)
//!   1 vote       vote
//!   2 entry      entry: replaces nothing; what it would replace was truncated before
//!   3 truncate   varint first index that is gone
//!   4 purge      log id of the last entry that is gone
//!   5 committed  log id
//!   6 removed    the group is gone
//! ```
//!
//! Every open begins a new segment: nothing is appended behind a torn end. A new segment begins with the vote,
//! purge and committed of every group, so that an old one matters only for its entries; entries that hold back
//! too old a segment are copied forward (as ordinary entries: a copy never truncates).
//!
//! A record that does not read is the torn end of the last segment, and cut off, unless a later batch says
//! that it was durable once: that, and any fault in an earlier segment, is damage and refused by name.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use pando_codec::CodecError;
use pando_codec::varint::{Reader, put_varint};
use pando_runtime::Tasks;
use pando_runtime::disk::{Disk, DiskFile};
use parking_lot::Mutex;

use crate::error::ConsensusError;
use crate::record::{entry, log_id, put_entry, put_log_id, put_vote, vote};
use crate::types::{Entry, LogId, Vote};

const MAGIC: &[u8; 8] = b"PANDOLOG";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const RECORD_HEADER_BYTES: usize = 8;
/// A segment is ended when it is larger, bytes.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Entries in older segments than this many are copied forward.
const SEGMENTS_MAX: usize = 16;
/// Jobs that wait for the writer.
const QUEUE_MAX: usize = 4096;
/// Bytes that are written and synced at once.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// The longest record.
const RECORD_BYTES_MAX: usize = 64 << 20;

const BATCH: u8 = 0;
const VOTE: u8 = 1;
const ENTRY: u8 = 2;
const TRUNCATE: u8 = 3;
const PURGE: u8 = 4;
const COMMITTED: u8 = 5;
const REMOVED: u8 = 6;

/// What one group has in the log.
#[derive(Debug, Default)]
pub(crate) struct GroupLog {
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    pub(crate) committed: Option<LogId>,
    pub(crate) entries: BTreeMap<u64, Entry>,
    /// The segment that an entry is in; written by the writer alone.
    at: BTreeMap<u64, u64>,
}

impl GroupLog {
    pub(crate) fn last_log_id(&self) -> Option<LogId> {
        self.entries.values().next_back().map(|entry| entry.log_id).or(self.purged)
    }

    pub(crate) fn truncate(&mut self, first_gone: u64) {
        self.entries.split_off(&first_gone);
        self.at.split_off(&first_gone);
    }

    pub(crate) fn purge(&mut self, last_gone: LogId) {
        self.entries = self.entries.split_off(&(last_gone.index + 1));
        self.at = self.at.split_off(&(last_gone.index + 1));
        self.purged = Some(last_gone);
    }
}

/// A change that is to be logged.
pub(crate) enum Record<'a> {
    Vote(&'a Vote),
    Entry(&'a Entry),
    Truncate(u64),
    Purge(&'a LogId),
    Committed(&'a LogId),
    Removed,
}

/// Called with the outcome, in the order of the jobs.
type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

enum Job {
    Write(WriteJob),
    /// The last one.
    Stop,
}

struct WriteJob {
    group: u64,
    records: Vec<u8>,
    /// Indexes of the entries among the records.
    entries: Vec<u64>,
    done: Done,
}

/// The groups of a log, shared with its writer.
type Groups = Arc<Mutex<BTreeMap<u64, Arc<Mutex<GroupLog>>>>>;

/// The log of all groups. Cloning shares it.
#[derive(Clone)]
pub(crate) struct SharedLog {
    groups: Groups,
    jobs: SyncSender<Job>,
}

impl SharedLog {
    /// Reads what `folder` holds and starts the writer.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        tasks: &Tasks,
    ) -> Result<Self, ConsensusError> {
        disk.create_dir(&folder)?;
        let groups: Groups = Arc::default();
        let segments = replay(disk.as_ref(), &folder, &mut groups.lock())?;
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let mut writer = Writer {
            disk,
            folder,
            groups: groups.clone(),
            segments,
            file: None,
            number: 0,
            written: 0,
            poisoned: None,
        };
        writer.roll()?;
        tasks.spawn_thread("raft log", move || writer.run(&queue));
        Ok(SharedLog { groups, jobs })
    }

    /// The ids of all groups in the log.
    pub(crate) fn stored(&self) -> Vec<u64> {
        self.groups.lock().keys().copied().collect()
    }

    /// What `group` has; empty for a new one.
    pub(crate) fn group(&self, group: u64) -> Arc<Mutex<GroupLog>> {
        self.groups.lock().entry(group).or_default().clone()
    }

    /// Logs records of one group; `done` is called when they are durable, or the log has failed.
    pub(crate) fn write(
        &self,
        group: u64,
        records: &[Record<'_>],
        done: impl FnOnce(io::Result<()>) + Send + 'static,
    ) {
        let (mut bytes, mut entries) = (Vec::new(), Vec::new());
        for record in records {
            put_record(&mut bytes, group, record);
            if let Record::Entry(entry) = record {
                entries.push(entry.log_id.index);
            }
        }
        let job = WriteJob { group, records: bytes, entries, done: Box::new(done) };
        let (job, why) = match self.jobs.try_send(Job::Write(job)) {
            Err(TrySendError::Full(Job::Write(job))) => {
                (job, format!("log queue is full: limit={QUEUE_MAX}"))
            }
            Err(TrySendError::Disconnected(Job::Write(job))) => (job, "log has ended".to_string()),
            _ => return,
        };
        (job.done)(Err(io::Error::other(why)));
    }

    /// Ends the writer, behind everything that waits for it.
    pub(crate) fn stop(&self) {
        // A full queue ends with the process.
        let _ = self.jobs.try_send(Job::Stop);
    }

    /// [`SharedLog::write`], waiting for the outcome.
    pub(crate) async fn write_and_wait(
        &self,
        group: u64,
        records: &[Record<'_>],
    ) -> io::Result<()> {
        let (out, outcome) = tokio::sync::oneshot::channel();
        self.write(group, records, move |result| drop(out.send(result)));
        outcome.await.unwrap_or_else(|_| Err(io::Error::other("log has ended")))
    }

    /// Removes a group and everything that it has.
    pub(crate) async fn remove(&self, group: u64) -> io::Result<()> {
        self.write_and_wait(group, &[Record::Removed]).await?;
        self.groups.lock().remove(&group);
        Ok(())
    }
}

fn put_record(out: &mut Vec<u8>, group: u64, record: &Record<'_>) {
    let mut body = vec![0];
    body.extend(group.to_le_bytes());
    body[0] = match record {
        Record::Vote(vote) => {
            put_vote(&mut body, vote);
            VOTE
        }
        Record::Entry(entry) => {
            put_entry(&mut body, entry);
            ENTRY
        }
        Record::Truncate(first_gone) => {
            put_varint(&mut body, *first_gone);
            TRUNCATE
        }
        Record::Purge(id) => {
            put_log_id(&mut body, id);
            PURGE
        }
        Record::Committed(id) => {
            put_log_id(&mut body, id);
            COMMITTED
        }
        Record::Removed => REMOVED,
    };
    put_framed(out, &body);
}

fn put_framed(out: &mut Vec<u8>, body: &[u8]) {
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(crc32c::crc32c(body).to_le_bytes());
    out.extend(body);
}

fn batch_record(durable: u64) -> Vec<u8> {
    let mut body = vec![BATCH];
    body.extend(0u64.to_le_bytes());
    body.extend(durable.to_le_bytes());
    let mut out = Vec::with_capacity(32);
    put_framed(&mut out, &body);
    out
}

/// The thread that owns the files.
struct Writer {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    groups: Groups,
    /// Older segments, oldest first.
    segments: BTreeSet<u64>,
    file: Option<Box<dyn DiskFile>>,
    number: u64,
    /// Bytes of the current segment, all durable between batches.
    written: u64,
    /// Set by the first failure: nothing is written any more.
    poisoned: Option<String>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut stopping = false;
        while !stopping && let Ok(Job::Write(first)) = queue.recv() {
            let mut bytes = first.records.len();
            let mut jobs = vec![first];
            while bytes < BATCH_BYTES_MAX {
                match queue.try_recv() {
                    Ok(Job::Write(job)) => {
                        bytes += job.records.len();
                        jobs.push(job);
                    }
                    Ok(Job::Stop) => {
                        stopping = true;
                        break;
                    }
                    Err(_) => break,
                }
            }
            let result = self.write(&jobs);
            if let Err(error) = &result
                && self.poisoned.is_none()
            {
                tracing::error!(%error, "raft log has failed and takes nothing more");
                self.poisoned = Some(error.to_string());
            }
            for job in jobs {
                (job.done)(match &result {
                    Ok(()) => Ok(()),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                });
            }
            if result.is_ok()
                && self.written > SEGMENT_BYTES
                && let Err(error) = self.roll()
            {
                tracing::error!(%error, "raft log cannot begin a segment and takes nothing more");
                self.poisoned = Some(error.to_string());
            }
        }
    }

    fn write(&mut self, jobs: &[WriteJob]) -> io::Result<()> {
        if let Some(why) = &self.poisoned {
            return Err(io::Error::other(format!("log has failed before: {why}")));
        }
        let mut batch = batch_record(self.written);
        for job in jobs {
            batch.extend(&job.records);
        }
        self.append(&batch)?;
        let groups = self.groups.lock();
        for job in jobs {
            if let Some(group) = groups.get(&job.group) {
                let mut group = group.lock();
                for index in &job.entries {
                    group.at.insert(*index, self.number);
                }
            }
        }
        Ok(())
    }

    /// Appends and syncs.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("log has no segment"))?;
        file.append(bytes)?;
        file.sync()?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Begins a new segment, and removes those that nothing needs any more.
    fn roll(&mut self) -> io::Result<()> {
        if self.number != 0 {
            self.segments.insert(self.number);
        }
        self.number = self.segments.last().map_or(1, |last| last + 1);
        self.file = Some(self.disk.create(&segment_path(&self.folder, self.number))?);
        self.disk.sync_dir(&self.folder)?;
        self.written = 0;
        let mut head = header();
        head.extend(batch_record(0));
        let copied = self.carry_forward(&mut head);
        self.append(&head)?;
        {
            let groups = self.groups.lock();
            for (group, index) in copied {
                if let Some(group) = groups.get(&group) {
                    group.lock().at.insert(index, self.number);
                }
            }
        }
        self.remove_unneeded()
    }

    /// Writes what a new segment begins with; returns the entries that were copied.
    fn carry_forward(&self, out: &mut Vec<u8>) -> Vec<(u64, u64)> {
        let oldest_kept = match self.segments.len().checked_sub(SEGMENTS_MAX) {
            Some(over) => self.segments.iter().nth(over).copied().unwrap_or(0),
            None => 0,
        };
        let mut copied = Vec::new();
        for (id, group) in self.groups.lock().iter() {
            let group = group.lock();
            if let Some(vote) = &group.vote {
                put_record(out, *id, &Record::Vote(vote));
            }
            if let Some(purged) = &group.purged {
                put_record(out, *id, &Record::Purge(purged));
            }
            if let Some(committed) = &group.committed {
                put_record(out, *id, &Record::Committed(committed));
            }
            for (index, segment) in &group.at {
                if *segment < oldest_kept
                    && let Some(entry) = group.entries.get(index)
                {
                    put_record(out, *id, &Record::Entry(entry));
                    copied.push((*id, *index));
                }
            }
        }
        copied
    }

    fn remove_unneeded(&mut self) -> io::Result<()> {
        let mut needed: BTreeSet<u64> = BTreeSet::new();
        for group in self.groups.lock().values() {
            needed.extend(group.lock().at.values());
        }
        // A gap would look like damage: only the oldest go.
        while let Some(oldest) = self.segments.first().copied() {
            if needed.contains(&oldest) {
                break;
            }
            self.disk.remove(&segment_path(&self.folder, oldest))?;
            self.disk.sync_dir(&self.folder)?;
            self.segments.remove(&oldest);
        }
        Ok(())
    }
}

fn header() -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out.extend(crc32c::crc32c(&out).to_le_bytes());
    out
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.log"))
}

/// Reads all segments into `groups`; returns their numbers.
fn replay(
    disk: &dyn Disk,
    folder: &Path,
    groups: &mut BTreeMap<u64, Arc<Mutex<GroupLog>>>,
) -> Result<BTreeSet<u64>, ConsensusError> {
    let names = disk.list(folder)?;
    let mut numbers: BTreeSet<u64> =
        names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    let all: Vec<u64> = numbers.iter().copied().collect();
    for (at, number) in all.iter().enumerate() {
        let path = segment_path(folder, *number);
        let last = at + 1 == all.len();
        let bytes = disk.read_all(&path)?;
        let name = path.display().to_string();
        if last && bytes.len() < HEADER_BYTES {
            // Power went while the segment began: nothing was acknowledged in it.
            disk.remove(&path)?;
            disk.sync_dir(folder)?;
            numbers.remove(number);
            continue;
        }
        check_header(&bytes, &name)?;
        let mut offset = HEADER_BYTES;
        while offset < bytes.len() {
            match body_at(&bytes, offset) {
                Some(body) => {
                    apply(body, *number, groups).map_err(|error| ConsensusError::Damaged {
                        file: name.clone(),
                        offset: offset as u64,
                        reason: error.to_string(),
                    })?;
                    offset += RECORD_HEADER_BYTES + body.len();
                }
                None if last && !was_durable(&bytes, offset) => {
                    tracing::warn!(
                        file = name,
                        offset,
                        bytes = bytes.len(),
                        "torn end of log is cut"
                    );
                    disk.truncate(&path, offset as u64)?;
                    break;
                }
                None => {
                    let reason = "checksum or length is wrong".to_string();
                    return Err(ConsensusError::Damaged {
                        file: name,
                        offset: offset as u64,
                        reason,
                    });
                }
            }
        }
    }
    Ok(numbers)
}

fn check_header(bytes: &[u8], name: &str) -> Result<(), ConsensusError> {
    let damaged = |reason: &str| ConsensusError::Damaged {
        file: name.to_string(),
        offset: 0,
        reason: reason.to_string(),
    };
    let Some(head) = bytes.get(..HEADER_BYTES) else { return Err(damaged("file is too short")) };
    if &head[..8] != MAGIC {
        return Err(damaged("not a log segment"));
    }
    let number = |range: std::ops::Range<usize>| {
        head.get(range).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
    };
    if number(12..16) != crc32c::crc32c(&head[..12]) {
        return Err(damaged("checksum of header is wrong"));
    }
    let found = number(8..12);
    if found != VERSION {
        return Err(ConsensusError::UnknownVersion {
            file: name.to_string(),
            found,
            known: VERSION,
        });
    }
    Ok(())
}

/// The body of the record at `offset`; `None` where there is no whole, undamaged one.
fn body_at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let head = bytes.get(offset..offset + RECORD_HEADER_BYTES)?;
    let len = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let sum = u32::from_le_bytes(head[4..].try_into().ok()?);
    if !(9..=RECORD_BYTES_MAX).contains(&len) {
        return None;
    }
    let start = offset + RECORD_HEADER_BYTES;
    let body = bytes.get(start..start.checked_add(len)?)?;
    (crc32c::crc32c(body) == sum).then_some(body)
}

/// Whether a batch behind `offset` says that the byte there was durable.
fn was_durable(bytes: &[u8], offset: usize) -> bool {
    (offset + 1..bytes.len()).any(|at| {
        body_at(bytes, at).is_some_and(|body| {
            let durable = body.get(9..17).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
            body[0] == BATCH && body.len() == 17 && durable.is_some_and(|d| d > offset as u64)
        })
    })
}

fn apply(
    body: &[u8],
    segment: u64,
    groups: &mut BTreeMap<u64, Arc<Mutex<GroupLog>>>,
) -> Result<(), CodecError> {
    let mut reader = Reader::new("raft log record", body);
    let (kind, id) = (reader.u8()?, reader.u64()?);
    if kind == BATCH {
        return Ok(());
    }
    if kind == REMOVED {
        groups.remove(&id);
        return Ok(());
    }
    let group = groups.entry(id).or_default().clone();
    let mut group = group.lock();
    match kind {
        VOTE => group.vote = Some(vote(&mut reader)?),
        ENTRY => {
            let entry = entry(&mut reader)?;
            let index = entry.log_id.index;
            if group.purged.is_none_or(|purged| index > purged.index) {
                group.entries.insert(index, entry);
                group.at.insert(index, segment);
            }
        }
        TRUNCATE => {
            let first_gone = reader.varint()?;
            group.truncate(first_gone);
        }
        PURGE => group.purge(log_id(&mut reader)?),
        COMMITTED => group.committed = Some(log_id(&mut reader)?),
        _ => return Err(reader.malformed("unknown kind of record")),
    }
    reader.finish()
}
