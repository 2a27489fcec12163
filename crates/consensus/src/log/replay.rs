//! Reads the shared log back. A torn tail is cut; damage anywhere else refuses the whole log, naming file and
//! offset, and changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pando_runtime::disk::Disk;

use super::format::{
    Fault, Frame, GroupState, Record, SEGMENT_HEADER_BYTES, SegmentHeader, VERSION,
};
use super::group_log::{GroupLog, Place, Slot};
use super::{LogConfig, Segment};
use crate::error::ConsensusError;
use crate::types::Entry;

/// What the log held.
pub(crate) struct Replayed {
    pub(crate) groups: BTreeMap<u64, GroupLog>,
    pub(crate) segments: BTreeMap<u64, Segment>,
    /// The number of the next segment. An old one is never appended to.
    pub(crate) next_segment: u64,
    /// The number of the next frame.
    pub(crate) next_frame: u64,
}

/// Where a segment's file is.
pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.log"))
}

/// Reads all segments.
pub(crate) fn replay(disk: &dyn Disk, config: &LogConfig) -> Result<Replayed, ConsensusError> {
    let names = disk.list(&config.dir).map_err(ConsensusError::disk(&config.dir))?;
    let numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| name.strip_suffix(".log").filter(|hex| hex.len() == 16))
        .filter_map(|hex| u64::from_str_radix(hex, 16).ok())
        .collect();
    let mut replay = Replay {
        disk,
        config,
        groups: BTreeMap::new(),
        segments: BTreeMap::new(),
        next_frame: None,
    };
    let mut next_segment = numbers.first().copied().unwrap_or(1);
    for &number in &numbers {
        if number != next_segment {
            return Err(ConsensusError::Corrupt {
                path: segment_path(&config.dir, next_segment),
                offset: 0,
                reason: "segment is missing".to_string(),
            });
        }
        if replay.segment(number, numbers.last() == Some(&number))? {
            next_segment += 1;
        }
    }
    replay.finish(next_segment)
}

#[derive(Default)]
struct ReplayGroup {
    state: GroupState,
    state_in: u64,
    slots: BTreeMap<u64, Slot>,
}

struct Replay<'a> {
    disk: &'a dyn Disk,
    config: &'a LogConfig,
    groups: BTreeMap<u64, ReplayGroup>,
    segments: BTreeMap<u64, Segment>,
    next_frame: Option<u64>,
}

impl Replay<'_> {
    /// Reads one segment; false where it was torn before it held anything, and is gone.
    fn segment(&mut self, number: u64, last: bool) -> Result<bool, ConsensusError> {
        let path = segment_path(&self.config.dir, number);
        let bytes: Bytes = self.disk.read_all(&path).map_err(ConsensusError::disk(&path))?.into();
        if let Err(fault) = self.header(&path, &bytes, number)? {
            if !last || Frame::exists_behind(&bytes, 0, self.next_frame.unwrap_or(0)) {
                return Err(corrupt(&path, 0, &fault));
            }
            tracing::warn!(path = %path.display(), "torn segment held nothing and is removed");
            self.disk.remove(&path).map_err(ConsensusError::disk(&path))?;
            self.disk.sync_dir(&self.config.dir).map_err(ConsensusError::disk(&self.config.dir))?;
            return Ok(false);
        }
        let mut offset = SEGMENT_HEADER_BYTES;
        while offset < bytes.len() {
            match self.frame(number, &bytes, offset) {
                Ok(end) => offset = end,
                Err(fault) => {
                    let expected = self.next_frame.unwrap_or(0);
                    if !last || Frame::exists_behind(&bytes, offset, expected) {
                        return Err(corrupt(&path, offset, &fault));
                    }
                    let torn_bytes = bytes.len() - offset;
                    tracing::warn!(path = %path.display(), offset, torn_bytes, "torn write is cut");
                    let cut = self.disk.truncate(&path, offset as u64);
                    cut.map_err(ConsensusError::disk(&path))?;
                    break;
                }
            }
        }
        self.segments.insert(number, Segment { bytes: offset as u64, live_bytes: 0 });
        Ok(true)
    }

    /// The inner error is a header that cannot be read; the outer one ends everything.
    fn header(
        &self,
        path: &Path,
        bytes: &Bytes,
        number: u64,
    ) -> Result<Result<(), Fault>, ConsensusError> {
        let header = match SegmentHeader::decode(bytes) {
            Ok(header) => header,
            Err(Fault::Version(version)) => {
                return Err(ConsensusError::Unsupported {
                    path: path.to_path_buf(),
                    version,
                    known: VERSION,
                });
            }
            Err(fault) => return Ok(Err(fault)),
        };
        if (header.cluster, header.node) != (self.config.cluster, self.config.node) {
            return Err(ConsensusError::Foreign {
                path: path.to_path_buf(),
                cluster: header.cluster,
                node: header.node,
                own_cluster: self.config.cluster,
                own_node: self.config.node,
            });
        }
        Ok(if header.number == number { Ok(()) } else { Err(Fault::Content("segment number")) })
    }

    fn frame(&mut self, segment: u64, bytes: &Bytes, offset: usize) -> Result<usize, Fault> {
        let frame = Frame::at(bytes, offset)?;
        if self.next_frame.is_some_and(|expected| expected != frame.sequence) {
            return Err(Fault::Content("frame sequence"));
        }
        for raw in &frame.records {
            let place = Place { segment, offset: raw.offset as u64, len: raw.len() as u32 };
            self.record(raw.group, raw.decode()?, place)?;
        }
        self.next_frame = Some(frame.sequence + 1);
        Ok(frame.end)
    }

    fn record(&mut self, group: u64, record: Record, place: Place) -> Result<(), Fault> {
        if record == Record::Removed {
            self.groups.remove(&group);
            return Ok(());
        }
        // A group may begin in the middle: what came before was moved behind and its segment is gone.
        let log = self.groups.entry(group).or_default();
        match record {
            Record::Removed => {}
            Record::Created(members) => {
                *log = ReplayGroup::default();
                log.state.members = members;
                log.state_in = place.segment;
            }
            Record::State(state) => {
                log.state = state;
                log.state_in = place.segment;
            }
            Record::Vote(vote) => log.state.vote = Some(vote),
            Record::Committed(committed) => log.state.committed = committed,
            Record::Truncate(since) => drop(log.slots.split_off(&since)),
            Record::Purge(upto) => {
                log.slots = log.slots.split_off(&(upto.index + 1));
                log.state.purged = Some(upto);
            }
            Record::Append(entry) => {
                // Entries between may be missing still: copies of them can stand further behind.
                let last = log.slots.keys().next_back();
                if last.is_some_and(|last| *last >= entry.log_id.index) {
                    return Err(Fault::Content("entry index"));
                }
                log.slots.insert(entry.log_id.index, slot(&entry, place));
            }
            Record::Copy(entry) => {
                let index = entry.log_id.index;
                if log.state.purged.is_some_and(|purged| index <= purged.index) {
                    return Ok(());
                }
                if log.slots.get(&index).is_some_and(|known| known.log_id != entry.log_id) {
                    return Err(Fault::Content("copied entry"));
                }
                log.slots.insert(index, slot(&entry, place));
            }
        }
        Ok(())
    }

    fn finish(mut self, next_segment: u64) -> Result<Replayed, ConsensusError> {
        let mut groups = BTreeMap::new();
        for (group, log) in std::mem::take(&mut self.groups) {
            let first = log.state.purged.map_or(0, |purged| purged.index + 1);
            let whole = log.slots.keys().enumerate().all(|(i, index)| first + i as u64 == *index);
            if !whole || log.state.members.is_empty() {
                return Err(ConsensusError::Corrupt {
                    path: self.config.dir.clone(),
                    offset: 0,
                    reason: format!("entries are missing: group={group} first={first}"),
                });
            }
            for slot in log.slots.values() {
                if let Some(segment) = self.segments.get_mut(&slot.place.segment) {
                    segment.live_bytes += u64::from(slot.place.len);
                }
            }
            let slots: VecDeque<Slot> = log.slots.into_values().collect();
            groups.insert(group, GroupLog::new(log.state, log.state_in, slots));
        }
        Ok(Replayed {
            groups,
            segments: self.segments,
            next_segment,
            next_frame: self.next_frame.unwrap_or(1),
        })
    }
}

fn slot(entry: &Entry, place: Place) -> Slot {
    Slot { log_id: entry.log_id, place, frame: 0, entry: None }
}

fn corrupt(path: &Path, offset: usize, fault: &Fault) -> ConsensusError {
    ConsensusError::Corrupt {
        path: path.to_path_buf(),
        offset: offset as u64,
        reason: fault.to_string(),
    }
}
