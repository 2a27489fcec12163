//! `SimDisk`: a disk in memory that keeps what was synced apart from what was not, for tests.
//!
//! A crash drops every byte and every name that was not synced and makes all handles of before useless, so that
//! threads of the crashed process cannot write into the next one's world. A failed sync behaves as Linux does: the
//! bytes are lost, and a later sync that succeeds does not bring them back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::{Disk, DiskFile};
use crate::Rng;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A kind of disk access that a test can make fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskOp {
    /// [`DiskFile::append`].
    Append,
    /// [`DiskFile::read_at`].
    Read,
    /// [`DiskFile::sync`].
    Sync,
    /// [`Disk::create`].
    Create,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::remove`].
    Remove,
    /// [`Disk::sync_dir`].
    SyncDir,
}

/// What a failing access answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFault {
    /// EIO.
    Io,
    /// ENOSPC.
    NoSpace,
}

/// What a crash leaves of bytes that were appended and not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tear {
    /// Nothing.
    Nothing,
    /// Of each file a random part, sometimes with a damaged byte: what a drive wrote on its own before the power
    /// went.
    Part,
}

/// A disk in memory. Cloning shares it.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    life: u64,
}

#[derive(Clone, Default)]
struct World {
    /// Counts crashes: a handle of an earlier life is useless.
    life: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    faults: Vec<(DiskOp, DiskFault, u64)>,
    ignore_sync: bool,
    capacity_bytes: Option<u64>,
    syncs: u64,
}

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// A sync failed: what was appended until then will never be durable, whatever later syncs say.
    lost: bool,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk without limits or faults.
    pub fn new() -> Self {
        SimDisk { world: Arc::default(), life: 0 }
    }

    /// As an `Arc<dyn Disk>`.
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// The power goes: everything that was not synced is gone, and this handle, its clones and its files answer
    /// only errors from now on. Returns the disk as the next start finds it.
    pub fn crash(&self, rng: &Rng, tear: Tear) -> SimDisk {
        let mut world = self.world.lock();
        world.life += 1;
        world.faults.clear();
        world.names = world.durable_names.clone();
        let named: BTreeSet<u64> = world.names.values().copied().collect();
        world.files.retain(|file, _| named.contains(file));
        for content in world.files.values_mut() {
            content.crash(rng, tear);
        }
        SimDisk { world: self.world.clone(), life: world.life }
    }

    /// Another disk with all that is on this one now: a backup.
    pub fn copy(&self) -> SimDisk {
        let world = self.world.lock().clone();
        SimDisk { world: Arc::new(Mutex::new(world)), life: self.life }
    }

    /// From now on `sync` answers success and does nothing: proves that a test would notice a forgotten fsync.
    pub fn ignore_sync(&self, ignore: bool) {
        self.world.lock().ignore_sync = ignore;
    }

    /// The access of this kind after `skip` further ones fails, once.
    pub fn fail(&self, op: DiskOp, fault: DiskFault, skip: u64) {
        self.world.lock().faults.push((op, fault, skip));
    }

    /// Appends that would take the files beyond `bytes` write what fits and answer ENOSPC. `None`: no limit.
    pub fn set_capacity_bytes(&self, bytes: Option<u64>) {
        self.world.lock().capacity_bytes = bytes;
    }

    /// File syncs so far, over all lives.
    pub fn syncs(&self) -> u64 {
        self.world.lock().syncs
    }

    /// Changes one byte of a file, as a failing drive does, durably.
    ///
    /// # Errors
    /// `NotFound`; `UnexpectedEof` where the file is shorter.
    pub fn damage(&self, path: &Path, offset: u64) -> io::Result<()> {
        let mut world = self.enter()?;
        let content = world.content_of(path)?;
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let Some(byte) = content.bytes.get_mut(at) else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        };
        *byte ^= 0x40;
        if let Some(durable) = content.durable.get_mut(at) {
            *durable ^= 0x40;
        }
        Ok(())
    }

    fn enter(&self) -> io::Result<MutexGuard<'_, World>> {
        enter(&self.world, self.life)
    }

    fn handle(&self, file: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile { world: self.world.clone(), life: self.life, file })
    }
}

fn enter(world: &Mutex<World>, life: u64) -> io::Result<MutexGuard<'_, World>> {
    let world = world.lock();
    if world.life == life {
        Ok(world)
    } else {
        Err(io::Error::other("the simulated machine of this handle has crashed"))
    }
}

impl World {
    fn fault(&mut self, op: DiskOp) -> io::Result<()> {
        for at in 0..self.faults.len() {
            let (faulty, fault, skip) = &mut self.faults[at];
            if *faulty != op {
                continue;
            }
            if *skip > 0 {
                *skip -= 1;
                continue;
            }
            let code = match fault {
                DiskFault::Io => EIO,
                DiskFault::NoSpace => ENOSPC,
            };
            self.faults.remove(at);
            return Err(io::Error::from_raw_os_error(code));
        }
        Ok(())
    }

    fn content_of(&mut self, path: &Path) -> io::Result<&mut Content> {
        let file = self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.files.get_mut(file).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Bytes that still fit.
    fn room_bytes(&self) -> u64 {
        let used: u64 = self.files.values().map(|content| content.bytes.len() as u64).sum();
        self.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(used))
    }
}

impl Content {
    fn sync(&mut self) {
        if self.lost {
            return;
        }
        if self.bytes.len() < self.durable.len() {
            self.durable.truncate(self.bytes.len());
        }
        let known = self.durable.len();
        self.durable.extend_from_slice(&self.bytes[known..]);
    }

    fn crash(&mut self, rng: &Rng, tear: Tear) {
        let known = self.durable.len();
        if tear == Tear::Part && self.bytes.len() > known && !self.lost {
            let tail = &self.bytes[known..];
            let kept = rng.range(0, tail.len() as u64 + 1) as usize;
            self.durable.extend_from_slice(&tail[..kept]);
            if kept > 0 && rng.range(0, 2) == 0 {
                let damaged = known + rng.range(0, kept as u64) as usize;
                self.durable[damaged] ^= 0x11;
            }
        }
        self.bytes = self.durable.clone();
        self.lost = false;
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.enter()?;
        world.fault(DiskOp::Create)?;
        if world.names.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        if path.parent().is_none_or(|dir| !world.dirs.contains(dir)) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        world.next_file += 1;
        let file = world.next_file;
        world.names.insert(path.to_path_buf(), file);
        world.files.insert(file, Content::default());
        Ok(self.handle(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let world = self.enter()?;
        let file = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(file))
    }

    fn truncate(&self, path: &Path, len_bytes: u64) -> io::Result<()> {
        let mut world = self.enter()?;
        let content = world.content_of(path)?;
        let len = usize::try_from(len_bytes).map_err(io::Error::other)?;
        if content.bytes.len() < len {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        content.bytes.truncate(len);
        content.sync();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.enter()?;
        world.fault(DiskOp::Rename)?;
        let file = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.enter()?;
        world.fault(DiskOp::Remove)?;
        world.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.enter()?;
        let children = world.names.keys().chain(world.dirs.iter());
        let mut names: Vec<String> = children
            .filter(|path| path.parent() == Some(dir))
            .filter_map(|path| path.file_name()?.to_str().map(str::to_string))
            .collect();
        names.sort();
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.enter()?;
        for dir in dir.ancestors() {
            world.dirs.insert(dir.to_path_buf());
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.enter()?;
        world.fault(DiskOp::SyncDir)?;
        if !world.dirs.contains(dir) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        if world.ignore_sync {
            return Ok(());
        }
        let World { names, durable_names, .. } = &mut *world;
        durable_names.retain(|path, _| path.parent() != Some(dir));
        let present = names.iter().filter(|(path, _)| path.parent() == Some(dir));
        durable_names.extend(present.map(|(path, file)| (path.clone(), *file)));
        Ok(())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let mut world = self.enter()?;
        if world.dirs.contains(path) {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        Ok(world.content_of(path)?.bytes.len() as u64)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<Option<u64>> {
        let world = self.enter()?;
        Ok(world.capacity_bytes.map(|_| world.room_bytes()))
    }
}

struct SimFile {
    world: Arc<Mutex<World>>,
    life: u64,
    file: u64,
}

impl SimFile {
    fn with<T>(
        &self,
        op: Option<DiskOp>,
        act: impl FnOnce(&mut Content, u64) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut world = enter(&self.world, self.life)?;
        if let Some(op) = op {
            world.fault(op)?;
        }
        let room_bytes = world.room_bytes();
        let content = world.files.get_mut(&self.file).ok_or(io::ErrorKind::NotFound)?;
        act(content, room_bytes)
    }
}

impl DiskFile for SimFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(Some(DiskOp::Append), |content, room_bytes| {
            let fits = bytes.len().min(usize::try_from(room_bytes).unwrap_or(usize::MAX));
            content.bytes.extend_from_slice(&bytes[..fits]);
            if fits < bytes.len() { Err(io::Error::from_raw_os_error(ENOSPC)) } else { Ok(()) }
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with(Some(DiskOp::Read), |content, _| {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            let bytes = content.bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(None, |content, _| Ok(content.bytes.len() as u64))
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = enter(&self.world, self.life)?;
        world.syncs += 1;
        let failed = world.fault(DiskOp::Sync);
        let ignore = world.ignore_sync;
        let content = world.files.get_mut(&self.file).ok_or(io::ErrorKind::NotFound)?;
        if failed.is_err() {
            content.lost = true;
            return failed;
        }
        if !ignore {
            content.sync();
        }
        Ok(())
    }
}
