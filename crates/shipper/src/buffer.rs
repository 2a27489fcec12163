//! `DiskBuffer`: batches that wait on disk, oldest first, until they can be shipped.
//!
//! Records are appended to the newest segment, `<number of 16 hex digits>.buffer`; a segment is removed when all of
//! its records are acknowledged. A crash tears at most the tail of the newest segment, and a new start never appends
//! to what it finds. A file that does not begin as a segment is kept as `<number>.bad`, for people, as long as there is
//! room. A segment of another version than the known one is left as it is, and the buffer does not open.
//!
//! Nothing here knows why a batch waits. Calls block on the disk.

mod record;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use pando_codec::write_block::BLOCK_BYTES_MAX;
use pando_model::{ErrorKind, TenantId};
use pando_runtime::disk::{Disk, DiskFile};

use crate::batch::Batch;
use crate::part::PartRef;
use record::{
    FILE_HEADER_BYTES, Header, MAGIC, RECORD_HEADER_BYTES, VERSION, encode, header_at, record,
    version_of,
};

const EXTENSION: &str = ".buffer";
const BAD_EXTENSION: &str = ".bad";
/// A segment is ended here: it is read back in one piece, and dropped in one piece when the buffer is full.
const SEGMENT_BYTES: u64 = 8 << 20;
/// A full buffer loses at most this part of itself at once.
const SEGMENTS_MIN: u64 = 8;

/// Where a buffer lives, and how large it may be.
#[derive(Clone, Debug)]
pub struct BufferConfig {
    /// Its folder, which holds nothing else.
    pub folder: PathBuf,
    /// Bytes on disk; the oldest batches are dropped beyond it. 0: nothing is kept.
    pub bytes_max: u64,
}

/// Why a batch is not in the buffer.
#[derive(Debug, thiserror::Error)]
pub enum BufferError {
    /// The disk's error.
    #[error("disk buffer cannot be written: path={path}: {source}")]
    Disk {
        /// The file.
        path: String,
        /// What the disk said.
        source: std::io::Error,
    },
    /// A newer process wrote it, or an older one whose segments are not read any more.
    #[error(
        "disk buffer's segment has an unknown version: path={path} found={found} known={known}"
    )]
    UnknownVersion {
        /// The segment.
        path: String,
        /// Its version.
        found: u8,
        /// The version that is known.
        known: u8,
    },
}

impl BufferError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            BufferError::Disk { .. } => ErrorKind::Unavailable,
            BufferError::UnknownVersion { .. } => ErrorKind::Unsupported,
        }
    }
}

/// A batch that was taken out: its place, to be acknowledged or given back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BufferEntry {
    segment: u64,
    at: usize,
}

/// What a buffer has lost since it was opened.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct BufferStats {
    /// Samples that were dropped because the buffer was full.
    pub dropped_samples: u64,
    /// Records, or ends of segments, that could not be read back.
    pub damaged_records: u64,
}

#[derive(Debug, Default)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Samples of the records that are not acknowledged yet.
    samples: u64,
    /// Where the next record begins that was not taken out.
    next: usize,
    /// Records that were taken out and not acknowledged: samples by place.
    out: BTreeMap<usize, u64>,
}

/// See the module.
pub struct DiskBuffer {
    config: BufferConfig,
    disk: Arc<dyn Disk>,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// Files that were set aside, and their bytes; oldest first.
    bad: VecDeque<(String, u64)>,
    next_number: u64,
    /// The newest segment, while it is appended to.
    open: Option<Box<dyn DiskFile>>,
    /// What was read last.
    reading: Option<(u64, Vec<u8>)>,
    /// What was given back, to be taken out first.
    returned: BTreeSet<BufferEntry>,
    stats: BufferStats,
}

impl DiskBuffer {
    /// Opens the buffer, with whatever is left of the last run.
    ///
    /// # Errors
    /// The folder cannot be made or listed, or holds a segment of an unknown version. A segment that cannot be read
    /// is not an error, but counted.
    pub fn open(config: BufferConfig, disk: Arc<dyn Disk>) -> Result<Self, BufferError> {
        let folder = config.folder.display().to_string();
        let failed = |source| BufferError::Disk { path: folder.clone(), source };
        disk.create_dir(&config.folder).map_err(failed)?;
        let names = disk.list(&config.folder).map_err(failed)?;
        let mut buffer = DiskBuffer {
            config,
            disk,
            segments: VecDeque::new(),
            bad: VecDeque::new(),
            next_number: 1,
            open: None,
            reading: None,
            returned: BTreeSet::new(),
            stats: BufferStats::default(),
        };
        let number = |name: &String| u64::from_str_radix(name.strip_suffix(EXTENSION)?, 16).ok();
        let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        for number in numbers {
            buffer.next_number = number.saturating_add(1);
            buffer.adopt(number)?;
        }
        buffer.count_bad().map_err(failed)?;
        buffer.make_room(0);
        Ok(buffer)
    }

    /// Whether nothing waits: neither on disk nor taken out without an acknowledgement.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether [`DiskBuffer::pop`] has anything to give.
    pub fn has_next(&self) -> bool {
        !self.returned.is_empty() || self.segments.iter().any(|s| (s.next as u64) < s.bytes)
    }

    /// Bytes on disk, with what was set aside.
    pub fn bytes(&self) -> u64 {
        let bad: u64 = self.bad.iter().map(|(_, bytes)| bytes).sum();
        bad + self.segments.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    /// Samples that wait.
    pub fn samples(&self) -> u64 {
        self.segments.iter().map(|segment| segment.samples).sum()
    }

    /// What was lost since the buffer was opened.
    pub fn stats(&self) -> BufferStats {
        self.stats
    }

    /// Appends a batch. It survives a crash after the next [`DiskBuffer::sync`]. Returns the number of samples
    /// that are not kept, for no record or no buffer can hold them.
    ///
    /// # Errors
    /// The disk's. A part of the batch may be kept.
    pub fn push(&mut self, batch: &Batch) -> Result<u64, BufferError> {
        let Batch { tenant, samples, metadata } = batch;
        self.push_part(tenant, PartRef { samples, metadata })
    }

    fn push_part(&mut self, tenant: &TenantId, part: PartRef<'_>) -> Result<u64, BufferError> {
        let bytes_max = BLOCK_BYTES_MAX.min(self.payload_max());
        if bytes_max == 0 {
            return Ok(part.samples.len() as u64);
        }
        let why = match encode(tenant, part) {
            Ok(None) => return Ok(0),
            Ok(Some(payload)) if payload.len() <= bytes_max => {
                return self.push_payload(&payload, part.samples.len()).map(|()| 0);
            }
            Ok(Some(payload)) => format!("bytes={} bytes_max={bytes_max}", payload.len()),
            Err(error) => error.to_string(),
        };
        let Some([first, second]) = part.halves() else {
            tracing::error!(why, "a sample, or what is known of a metric, fits no record");
            return Ok(part.samples.len() as u64);
        };
        Ok(self.push_part(tenant, first)? + self.push_part(tenant, second)?)
    }

    /// The largest payload whose record alone fits the buffer.
    fn payload_max(&self) -> usize {
        let around = RECORD_HEADER_BYTES + FILE_HEADER_BYTES;
        usize::try_from(self.config.bytes_max).unwrap_or(usize::MAX).saturating_sub(around)
    }

    fn push_payload(&mut self, payload: &[u8], samples: usize) -> Result<(), BufferError> {
        let record = record(payload, samples);
        self.make_room((record.len() + FILE_HEADER_BYTES) as u64);
        self.append(&record).map_err(|source| {
            // What of the record is in the file is not known: nothing may follow it there.
            self.open = None;
            let path = self.config.folder.display().to_string();
            BufferError::Disk { path, source }
        })?;
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += record.len() as u64;
            segment.samples += samples as u64;
        }
        Ok(())
    }

    /// Makes everything that was pushed durable.
    ///
    /// # Errors
    /// The disk's. What was pushed since the last sync may be lost in a crash; later pushes go to a new file.
    pub fn sync(&mut self) -> Result<(), BufferError> {
        let Some(file) = &self.open else { return Ok(()) };
        file.sync().and_then(|()| self.disk.sync_dir(&self.config.folder)).map_err(|source| {
            self.open = None;
            BufferError::Disk { path: self.config.folder.display().to_string(), source }
        })
    }

    /// Takes out the oldest batch. It stays on disk until it is acknowledged.
    pub fn pop(&mut self) -> Option<(BufferEntry, Batch)> {
        while let Some(entry) = self.returned.pop_first() {
            match self.read(entry) {
                Some((batch, _)) => return Some((entry, batch)),
                None => self.ack(entry),
            }
        }
        loop {
            let segment = self.segments.iter().find(|s| (s.next as u64) < s.bytes)?;
            let entry = BufferEntry { segment: segment.number, at: segment.next };
            if self.segments.back().is_some_and(|newest| newest.number == entry.segment) {
                // What is read is not appended to.
                self.open = None;
            }
            let Some((header, found)) = self.next_record(entry) else {
                self.end_of_segment(entry.segment);
                continue;
            };
            let segment = self.segments.iter_mut().find(|s| s.number == entry.segment)?;
            segment.next = header.end;
            segment.out.insert(entry.at, u64::from(header.samples));
            match found {
                Some(batch) => return Some((entry, batch)),
                None => {
                    self.stats.damaged_records += 1;
                    tracing::warn!(
                        segment = entry.segment,
                        at = entry.at,
                        "damaged record skipped"
                    );
                    self.ack(entry);
                }
            }
        }
    }

    /// The batch was shipped, or never will be.
    pub fn ack(&mut self, entry: BufferEntry) {
        self.returned.remove(&entry);
        let Some(at) = self.segments.iter().position(|s| s.number == entry.segment) else { return };
        let segment = &mut self.segments[at];
        if let Some(samples) = segment.out.remove(&entry.at) {
            segment.samples = segment.samples.saturating_sub(samples);
        }
        self.remove_if_done(at);
    }

    /// The batch was not shipped: it is the next again.
    pub fn give_back(&mut self, entry: BufferEntry) {
        let mut segments = self.segments.iter();
        // Its segment may have been dropped meanwhile.
        if segments.any(|s| s.number == entry.segment && s.out.contains_key(&entry.at)) {
            self.returned.insert(entry);
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.config.folder.join(format!("{number:016x}{EXTENSION}"))
    }

    /// Takes in a segment of an earlier run.
    ///
    /// # Errors
    /// It is of an unknown version.
    fn adopt(&mut self, number: u64) -> Result<(), BufferError> {
        let mut segment = Segment { number, next: FILE_HEADER_BYTES, ..Segment::default() };
        let path = self.path(number);
        let found = self.disk.read_all(&path).map(|bytes| (version_of(&bytes), bytes));
        match found {
            Ok((Some(VERSION), bytes)) => {
                let mut at = FILE_HEADER_BYTES;
                while let Some(header) = header_at(&bytes, at) {
                    segment.samples += u64::from(header.samples);
                    at = header.end;
                }
                segment.bytes = at as u64;
                if at == bytes.len() && at == FILE_HEADER_BYTES {
                    self.remove_file(number);
                    return Ok(());
                }
                if at < bytes.len() {
                    let lost = bytes.len() - at;
                    tracing::warn!(number, at, lost, "end of a disk buffer's segment is damaged");
                    self.stats.damaged_records += 1;
                }
            }
            Ok((Some(found), _)) => {
                let path = path.display().to_string();
                return Err(BufferError::UnknownVersion { path, found, known: VERSION });
            }
            Ok((None, bytes)) => {
                // Empty: a crash came before anything in it was synced.
                match bytes.is_empty() {
                    true => self.remove_file(number),
                    false => self.set_aside(number, "it does not begin as one"),
                }
                return Ok(());
            }
            Err(error) => {
                self.set_aside(number, &error.to_string());
                return Ok(());
            }
        }
        self.segments.push_back(segment);
        let newest = self.segments.len() - 1;
        self.remove_if_done(newest);
        Ok(())
    }

    /// Moves away a segment that cannot be read, so that it is met and counted once.
    fn set_aside(&mut self, number: u64, why: &str) {
        self.stats.damaged_records += 1;
        tracing::error!(number, why, "disk buffer's segment cannot be read, and is set aside");
        let (from, folder) = (self.path(number), &self.config.folder);
        let to = folder.join(format!("{number:016x}{BAD_EXTENSION}"));
        let moved = self.disk.rename(&from, &to).and_then(|()| self.disk.sync_dir(folder));
        if let Err(error) = moved {
            tracing::warn!(number, %error, "disk buffer's segment cannot be set aside");
        }
    }

    /// What was set aside, now and in earlier runs, takes its part of the room.
    fn count_bad(&mut self) -> std::io::Result<()> {
        let mut names = self.disk.list(&self.config.folder)?;
        names.retain(|name| name.ends_with(BAD_EXTENSION));
        names.sort_unstable();
        for name in names {
            // What cannot be looked at takes no room that is known.
            let bytes = self.disk.len(&self.config.folder.join(&name)).unwrap_or_default();
            self.bad.push_back((name, bytes));
        }
        Ok(())
    }

    /// Removes the oldest file that was set aside; `false` where there is none.
    fn drop_bad(&mut self) -> bool {
        let Some((name, bytes)) = self.bad.pop_front() else { return false };
        tracing::warn!(name, bytes, "disk buffer is full: a file that was set aside is removed");
        if let Err(error) = self.disk.remove(&self.config.folder.join(&name)) {
            tracing::warn!(name, %error, "disk buffer's bad segment cannot be removed");
        }
        true
    }

    /// Drops what was set aside, and then the oldest segments, until `bytes` more fit.
    fn make_room(&mut self, bytes: u64) {
        while self.bytes().saturating_add(bytes) > self.config.bytes_max {
            if self.drop_bad() {
                continue;
            }
            let Some(segment) = self.segments.pop_front() else { return };
            if self.segments.is_empty() {
                self.open = None;
            }
            self.stats.dropped_samples += segment.samples;
            self.returned.retain(|entry| entry.segment != segment.number);
            self.remove_file(segment.number);
            let (number, samples) = (segment.number, segment.samples);
            tracing::warn!(number, samples, "disk buffer is full: its oldest samples are dropped");
        }
    }

    fn append(&mut self, record: &[u8]) -> std::io::Result<()> {
        let limit = SEGMENT_BYTES.min(self.config.bytes_max / SEGMENTS_MIN);
        let newest = self.segments.back();
        if newest.is_some_and(|s| s.bytes + record.len() as u64 > limit)
            && let Some(full) = self.open.take()
        {
            full.sync()?;
        }
        if self.open.is_none() {
            let number = self.next_number;
            self.next_number += 1;
            let file = self.disk.create(&self.path(number))?;
            file.append(MAGIC)?;
            file.append(&[VERSION])?;
            let (bytes, next) = (FILE_HEADER_BYTES as u64, FILE_HEADER_BYTES);
            self.segments.push_back(Segment { number, bytes, next, ..Segment::default() });
            self.open = Some(file);
        }
        match &self.open {
            Some(file) => file.append(record),
            None => Ok(()),
        }
    }

    /// The record at `entry`: its header, and its batch where the payload is whole. `None`: no header.
    fn next_record(&mut self, entry: BufferEntry) -> Option<(Header, Option<Batch>)> {
        if self.reading.as_ref().is_none_or(|(number, _)| *number != entry.segment) {
            let bytes = self.disk.read_all(&self.path(entry.segment));
            let report = |error: &std::io::Error| {
                tracing::warn!(number = entry.segment, %error, "disk buffer cannot be read");
            };
            self.reading = Some((entry.segment, bytes.inspect_err(report).unwrap_or_default()));
        }
        let (_, bytes) = self.reading.as_ref()?;
        let header = header_at(bytes, entry.at)?;
        let batch = header.batch(bytes, entry.at);
        Some((header, batch))
    }

    fn read(&mut self, entry: BufferEntry) -> Option<(Batch, u32)> {
        let (header, batch) = self.next_record(entry)?;
        Some((batch?, header.samples))
    }

    /// Nothing more can be read of a segment.
    fn end_of_segment(&mut self, number: u64) {
        self.reading = None;
        let Some(at) = self.segments.iter().position(|s| s.number == number) else { return };
        self.stats.damaged_records += 1;
        let segment = &mut self.segments[at];
        segment.next = usize::try_from(segment.bytes).unwrap_or(usize::MAX);
        segment.samples = segment.out.values().sum();
        self.remove_if_done(at);
    }

    fn remove_if_done(&mut self, at: usize) {
        let Some(segment) = self.segments.get(at) else { return };
        if (segment.next as u64) < segment.bytes || !segment.out.is_empty() {
            return;
        }
        let number = segment.number;
        let newest = at + 1 == self.segments.len();
        if newest && self.open.is_some() {
            return;
        }
        self.segments.remove(at);
        self.remove_file(number);
    }

    fn remove_file(&mut self, number: u64) {
        if self.reading.as_ref().is_some_and(|(reading, _)| *reading == number) {
            self.reading = None;
        }
        if let Err(error) = self.disk.remove(&self.path(number))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            // It comes back at the next start, and is shipped again: harmless.
            tracing::warn!(number, %error, "disk buffer's segment cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests;
