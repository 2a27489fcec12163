//! `CheckpointFile`: the whole state of one group at one log id, in one file that is replaced at once.
//!
//! ```text
//! "PANDOCKP" | version u32 | group u64 | meta length u32 | meta | data length u64 | data | crc u32
//! meta: option(log id) | stored membership | snapshot id text
//! ```
//!
//! Little endian; the crc is crc32c of everything before it. The snapshot id carries length and crc32c of the
//! data, so that a transfer from another member is verified too.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use pando_runtime::disk::Disk;
use parking_lot::Mutex;

use crate::error::ConsensusError;
use crate::types::{LogId, SnapshotMeta, StoredMembership};
use crate::wire::{Reader, put_bytes, put_maybe_log_id, put_stored_membership, put_u32, put_u64};

const MAGIC: &[u8; 8] = b"PANDOCKP";
const VERSION: u32 = 1;
const FIXED_BYTES: usize = 24;

/// A group's checkpoint file.
#[derive(Clone)]
pub(crate) struct CheckpointFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    group: u64,
    /// The log id of what is on disk: building and installing race, and the newer one stays.
    newest: Arc<Mutex<Option<LogId>>>,
}

/// What a checkpoint file holds.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) meta: SnapshotMeta,
    pub(crate) data: Bytes,
}

/// The meta of a state: its id names the data's length and checksum.
pub(crate) fn describe(
    last: Option<LogId>,
    membership: &StoredMembership,
    data: &[u8],
) -> SnapshotMeta {
    let at = last.map_or_else(
        || "none".to_string(),
        |id| format!("{}-{:016x}-{}", id.leader_id.term, id.leader_id.node_id, id.index),
    );
    SnapshotMeta {
        last_log_id: last,
        last_membership: membership.clone(),
        snapshot_id: format!("{at}.{}.{:08x}", data.len(), crc32c::crc32c(data)),
    }
}

/// Whether `data` is what the snapshot id says.
pub(crate) fn is_whole(meta: &SnapshotMeta, data: &[u8]) -> bool {
    meta.snapshot_id == describe(meta.last_log_id, &meta.last_membership, data).snapshot_id
}

impl CheckpointFile {
    /// The checkpoint of `group` at `path`.
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf, group: u64) -> Self {
        CheckpointFile { disk, path, group, newest: Arc::default() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Whether there is one.
    pub(crate) fn exists(&self) -> Result<bool, ConsensusError> {
        match self.disk.len(&self.path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(ConsensusError::disk(&self.path)(error)),
        }
    }

    /// Reads and verifies the file; `None` where there is none.
    pub(crate) fn read(&self) -> Result<Option<Checkpoint>, ConsensusError> {
        let mut newest = self.newest.lock();
        let bytes = match self.disk.read_all(&self.path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ConsensusError::disk(&self.path)(error)),
        };
        let checkpoint = self.decode(&bytes)?;
        *newest = checkpoint.meta.last_log_id;
        Ok(Some(checkpoint))
    }

    /// Replaces the file, durably, unless it holds something newer.
    pub(crate) fn write(&self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), ConsensusError> {
        let mut newest = self.newest.lock();
        if *newest > meta.last_log_id {
            return Ok(());
        }
        let head = self.encode_head(meta, data);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head), data);
        self.disk
            .replace_parts(&self.path, &[&head, data, &crc.to_le_bytes()])
            .map_err(ConsensusError::disk(&self.path))?;
        *newest = meta.last_log_id;
        Ok(())
    }

    /// Removes the file, durably.
    pub(crate) fn remove(&self) -> Result<(), ConsensusError> {
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ConsensusError::disk(&self.path)(error));
            }
            _ => {}
        }
        let dir = self.path.parent().unwrap_or(&self.path);
        self.disk.sync_dir(dir).map_err(ConsensusError::disk(dir))
    }

    fn encode_head(&self, meta: &SnapshotMeta, data: &[u8]) -> Vec<u8> {
        let mut fields = Vec::new();
        put_maybe_log_id(&mut fields, meta.last_log_id.as_ref());
        put_stored_membership(&mut fields, &meta.last_membership);
        put_bytes(&mut fields, meta.snapshot_id.as_bytes());
        let mut head = Vec::with_capacity(FIXED_BYTES + fields.len() + 8);
        head.extend_from_slice(MAGIC);
        put_u32(&mut head, VERSION);
        put_u64(&mut head, self.group);
        put_bytes(&mut head, &fields);
        put_u64(&mut head, data.len() as u64);
        head
    }

    fn decode(&self, bytes: &Bytes) -> Result<Checkpoint, ConsensusError> {
        let corrupt = |reason: &str| ConsensusError::Corrupt {
            path: self.path.clone(),
            offset: 0,
            reason: reason.to_string(),
        };
        if bytes.len() < FIXED_BYTES + 12 || &bytes[..8] != MAGIC {
            return Err(corrupt("not a checkpoint"));
        }
        let mut fields = bytes.slice(8..);
        let version = fields.get_u32_le();
        if version != VERSION {
            let path = self.path.clone();
            return Err(ConsensusError::Unsupported { path, version, known: VERSION });
        }
        let end = bytes.len() - 4;
        if crc32c::crc32c(&bytes[..end]).to_le_bytes() != bytes[end..] {
            return Err(corrupt("checksum differs"));
        }
        let group = fields.get_u64_le();
        if group != self.group {
            return Err(corrupt(&format!("checkpoint is of another group: group={group}")));
        }
        let meta_len = fields.get_u32_le() as usize;
        let data_start = FIXED_BYTES.saturating_add(meta_len).saturating_add(8);
        if data_start > end {
            return Err(corrupt("meta is too long"));
        }
        let meta = read_meta(bytes.slice(FIXED_BYTES..FIXED_BYTES + meta_len));
        let meta = meta.map_err(|error| corrupt(&error.to_string()))?;
        let data = bytes.slice(data_start..end);
        if bytes.slice(data_start - 8..data_start).get_u64_le() != data.len() as u64 {
            return Err(corrupt("data length differs"));
        }
        Ok(Checkpoint { meta, data })
    }
}

fn read_meta(bytes: Bytes) -> Result<SnapshotMeta, crate::wire::WireError> {
    let mut reader = Reader::new(bytes);
    let meta = SnapshotMeta {
        last_log_id: reader.maybe_log_id()?,
        last_membership: reader.stored_membership()?,
        snapshot_id: reader.text("snapshot id")?,
    };
    reader.end()?;
    Ok(meta)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use openraft::CommittedLeaderId;
    use pando_runtime::Rng;
    use pando_runtime::disk::{DiskFault, DiskOp, SimDisk, Tear};

    use super::*;

    fn meta(index: u64, data: &[u8]) -> SnapshotMeta {
        let last = LogId::new(CommittedLeaderId::new(2, 3), index);
        describe(Some(last), &StoredMembership::default(), data)
    }

    fn file(disk: &SimDisk) -> CheckpointFile {
        disk.create_dir(Path::new("/c")).expect("create_dir");
        CheckpointFile::new(disk.shared(), PathBuf::from("/c/one"), 7)
    }

    fn data_of(file: &CheckpointFile) -> Vec<u8> {
        file.read().expect("readable").expect("present").data.to_vec()
    }

    #[test]
    fn the_newest_stays_and_survives() {
        let disk = SimDisk::new();
        let one = file(&disk);
        assert!(one.read().expect("empty").is_none());
        one.write(&meta(5, b"five"), b"five").expect("write");
        one.write(&meta(4, b"four"), b"four").expect("an older one is not taken");
        assert_eq!(data_of(&one), b"five");
        disk.fail(DiskOp::Rename, DiskFault::Io, 0);
        assert!(one.write(&meta(6, b"six"), b"six").is_err());
        let disk = disk.crash(&Rng::seeded(1), Tear::Part);
        let again = file(&disk);
        assert_eq!(data_of(&again), b"five");
        again.write(&meta(6, b"six"), b"six").expect("write over what a crash left");
        let after = disk.crash(&Rng::seeded(2), Tear::Part);
        assert_eq!(data_of(&file(&after)), b"six");
        let read = file(&after).read().expect("readable").expect("present");
        assert_eq!(read.meta, meta(6, b"six"));
        assert!(is_whole(&read.meta, b"six") && !is_whole(&read.meta, b"sax"));
    }

    #[test]
    fn damage_is_named_and_nothing_is_touched() {
        let disk = SimDisk::new();
        let one = file(&disk);
        one.write(&meta(5, b"five"), b"five").expect("write");
        let len = disk.len(one.path()).expect("len");
        for offset in 0..len {
            disk.damage(one.path(), offset).expect("damage");
            let error = file(&disk).read().expect_err("noticed");
            assert!(error.to_string().contains("/c/one"), "{error}");
            disk.damage(one.path(), offset).expect("undo");
        }
        assert_eq!(data_of(&one), b"five");
    }

    /// Bytes on disks in the field: a change here is a new version.
    #[test]
    fn version_one_is_pinned() {
        let disk = SimDisk::new();
        let one = file(&disk);
        one.write(&meta(5, b"hi"), b"hi").expect("write");
        let bytes = disk.read_all(one.path()).expect("read");
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "50414e444f434b50010000000700000000000000450000000102000000000000000300000000000000050000\
             00000000000000000000000000001f000000322d303030303030303030303030303030332d352e322e663539\
             646439633202000000000000006869a2d952f5"
        );
    }
}
