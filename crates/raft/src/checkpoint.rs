//! Checkpoints of groups on disk.
//!
//! ```text
//! <group>.checkpoint: "PANDOCKP", u8 version = 1, u64 group, snapshot meta, blob state,
//!                     u32 crc32c of all bytes before
//! ```

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use pando_codec::CodecError;
use pando_codec::varint::{Reader, put_bytes};
use pando_runtime::disk::Disk;

use crate::error::ConsensusError;
use crate::record::{put_snapshot_meta, snapshot_meta};
use crate::types::SnapshotMeta;

const MAGIC: &[u8; 8] = b"PANDOCKP";
const VERSION: u8 = 1;
/// The largest state, bytes.
const STATE_BYTES_MAX: usize = 16 << 30;

/// The checkpoint of one group.
#[derive(Clone)]
pub(crate) struct CheckpointFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    group: u64,
}

impl CheckpointFile {
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: &std::path::Path, group: u64) -> Self {
        CheckpointFile { disk, path: folder.join(format!("{group:020}.checkpoint")), group }
    }

    pub(crate) fn write(&self, meta: &SnapshotMeta, state: &[u8]) -> io::Result<()> {
        self.disk.replace(&self.path, &encode(self.group, meta, state))
    }

    pub(crate) fn read(&self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, ConsensusError> {
        let bytes = match self.disk.read_all(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        decode(self.group, &bytes).map(Some).map_err(|reason| ConsensusError::Damaged {
            file: self.path.display().to_string(),
            offset: 0,
            reason,
        })
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

fn encode(group: u64, meta: &SnapshotMeta, state: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    out.extend(group.to_le_bytes());
    put_snapshot_meta(&mut out, meta);
    put_bytes(&mut out, state);
    out.extend(crc32c::crc32c(&out).to_le_bytes());
    out
}

fn decode(group: u64, bytes: &[u8]) -> Result<(SnapshotMeta, Vec<u8>), String> {
    let (body, sum) =
        bytes.len().checked_sub(4).map(|at| bytes.split_at(at)).ok_or("file is too short")?;
    if sum != crc32c::crc32c(body).to_le_bytes() {
        return Err("checksum is wrong".to_string());
    }
    let body = body.strip_prefix(MAGIC).ok_or("not a checkpoint")?;
    let read = || -> Result<(u64, SnapshotMeta, Vec<u8>), CodecError> {
        let mut reader = Reader::new("checkpoint", body);
        reader.version(VERSION)?;
        let found = reader.u64()?;
        let meta = snapshot_meta(&mut reader)?;
        let state = reader.blob("state bytes", STATE_BYTES_MAX)?.to_vec();
        reader.finish()?;
        Ok((found, meta, state))
    };
    let (found, meta, state) = read().map_err(|error| error.to_string())?;
    if found != group {
        return Err(format!("belongs to another group: found={found} wanted={group}"));
    }
    Ok((meta, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_pinned_and_damage_is_found() {
        let bytes = encode(7, &SnapshotMeta::default(), b"state");
        let pinned = "50414e444f434b500107000000000000000000000000057374617465813c786c";
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, pinned);
        assert_eq!(decode(7, &bytes).expect("whole").1, b"state");
        assert!(decode(8, &bytes).is_err());
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert!(decode(7, &flipped).is_err(), "offset {at}");
            assert!(decode(7, &bytes[..at]).is_err(), "length {at}");
        }
    }
}
