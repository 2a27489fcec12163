//! `LossyDisk`: keeps appended bytes in memory until they are synced, so that `kill -9` of a real process loses
//! what a power cut would have lost. For tests of whole processes; names are durable at once, as on the disk below.
//!
//! A lying one says that it has synced and has not, as a drive with a volatile cache does: a test of durability
//! that does not notice it is no test.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile};

/// Appended bytes that were not synced yet.
type Tail = Arc<Mutex<Vec<u8>>>;

/// A disk that has really only what was synced.
pub struct LossyDisk {
    below: Arc<dyn Disk>,
    lies: bool,
    tails: Mutex<BTreeMap<PathBuf, Tail>>,
}

impl LossyDisk {
    /// Loses what is appended to `below` and not synced.
    pub fn new(below: Arc<dyn Disk>) -> Self {
        LossyDisk { below, lies: false, tails: Mutex::default() }
    }

    /// Loses whatever is appended to `below`, synced or not. Only a rename writes the renamed file's bytes, as
    /// journaling file systems do, so that small files that are replaced whole survive.
    pub fn lying(below: Arc<dyn Disk>) -> Self {
        LossyDisk { lies: true, ..LossyDisk::new(below) }
    }

    fn file(&self, path: &Path, below: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let tail = self.tails.lock().entry(path.to_path_buf()).or_default().clone();
        Box::new(LossyFile { below, tail, lies: self.lies })
    }
}

struct LossyFile {
    below: Box<dyn DiskFile>,
    tail: Tail,
    lies: bool,
}

impl Disk for LossyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let below = self.below.create(path)?;
        // What an earlier file of this name left belongs to handles of that file.
        self.tails.lock().remove(path);
        Ok(self.file(path, below))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let below = self.below.open(path)?;
        Ok(self.file(path, below))
    }

    fn truncate(&self, path: &Path, len_bytes: u64) -> io::Result<()> {
        let durable = self.below.len(path)?;
        let tail = self.tails.lock().get(path).cloned().unwrap_or_default();
        let mut tail = tail.lock();
        if len_bytes <= durable {
            self.below.truncate(path, len_bytes)?;
            tail.clear();
            return Ok(());
        }
        let kept = usize::try_from(len_bytes - durable).map_err(io::Error::other)?;
        if kept > tail.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        tail.truncate(kept);
        match self.lies {
            true => Ok(()),
            false => write_out(self.below.open(path)?.as_ref(), &mut tail),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tails = self.tails.lock();
        if self.lies
            && let Some(tail) = tails.get(from)
        {
            write_out(self.below.open(from)?.as_ref(), &mut tail.lock())?;
        }
        self.below.rename(from, to)?;
        tails.remove(to);
        if let Some(tail) = tails.remove(from) {
            tails.insert(to.to_path_buf(), tail);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut tails = self.tails.lock();
        self.below.remove(path)?;
        tails.remove(path);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.below.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.below.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.below.sync_dir(dir)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let tail = self.tails.lock().get(path).cloned().unwrap_or_default();
        let tail = tail.lock();
        Ok(self.below.len(path)? + tail.len() as u64)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
        self.below.free_bytes(dir)
    }
}

impl DiskFile for LossyFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.tail.lock().extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let tail = self.tail.lock();
        let durable = self.below.len()?;
        let end = offset
            .checked_add(buffer.len() as u64)
            .filter(|end| *end <= durable + tail.len() as u64);
        let Some(end) = end else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        };
        let from_below = durable.clamp(offset, end) - offset;
        let (below, above) = buffer.split_at_mut(from_below as usize);
        if !below.is_empty() {
            self.below.read_at(offset, below)?;
        }
        let start = offset.saturating_sub(durable) as usize;
        above.copy_from_slice(&tail[start..start + above.len()]);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let tail = self.tail.lock();
        Ok(self.below.len()? + tail.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        match self.lies {
            true => Ok(()),
            false => write_out(self.below.as_ref(), &mut self.tail.lock()),
        }
    }
}

/// Makes the bytes of a tail durable.
fn write_out(file: &dyn DiskFile, tail: &mut Vec<u8>) -> io::Result<()> {
    if !tail.is_empty() {
        file.append(tail)?;
        tail.clear();
    }
    file.sync()
}
