//! The data directory of a member: locked by one process, and the home of its identity.
//!
//! ```text
//! lock       held while a process uses the directory
//! identity   checked text (`checked_text`): "pando identity 2", "node <16 hex>", "producer <16 hex>", "epoch <n>"
//! ```
//!
//! The node id is random and never used again: a directory that is lost takes it along, and what starts on an
//! empty one is a new member. The epoch counts starts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pando_model::{Epoch, NodeId, ProducerId};
use pando_runtime::Rng;
use pando_runtime::disk::Disk;

use crate::checked_text;

const HEADER: &str = "pando identity 2";

/// A locked data directory.
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
    pub(crate) node: NodeId,
    pub(crate) producer: ProducerId,
    pub(crate) epoch: Epoch,
}

impl DataDir {
    /// Locks the directory, reads or makes its identity and counts the start.
    pub(crate) fn open(path: &str, disk: &dyn Disk, rng: &Rng) -> Result<Self> {
        let path = PathBuf::from(path);
        // Its parents' entries are made durable, too.
        disk.create_dir(&path).with_context(|| format!("cannot make path={}", path.display()))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path)
            .with_context(|| format!("cannot open path={}", lock_path.display()))?;
        if lock.try_lock().is_err() {
            bail!("data directory is used by another process: path={}", path.display());
        }
        let (node, producer, epoch) = match fs::read_to_string(path.join("identity")) {
            Ok(text) => parse_identity(&text)
                .with_context(|| format!("broken file path={}/identity", path.display()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                (NodeId(rng.id()), ProducerId(rng.id()), Epoch(0))
            }
            Err(e) => {
                return Err(e).with_context(|| format!("cannot read path={}", path.display()));
            }
        };
        let dir = DataDir { path, _lock: lock, node, producer, epoch: epoch.next() };
        dir.write_identity(disk)?;
        Ok(dir)
    }

    /// A folder below the directory, made where it is absent. Its name is durable on return, whoever made it:
    /// what is fsynced in a folder is lost with the folder's name.
    pub(crate) fn folder(&self, disk: &dyn Disk, name: &str) -> Result<PathBuf> {
        let folder = self.path.join(name);
        disk.create_dir(&folder)
            .and_then(|()| disk.sync_dir(&self.path))
            .with_context(|| format!("cannot make path={}", folder.display()))?;
        Ok(folder)
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn write_identity(&self, disk: &dyn Disk) -> Result<()> {
        let text = identity_text(self.node, self.producer, self.epoch);
        let path = self.path.join("identity");
        disk.replace(&path, text.as_bytes())
            .with_context(|| format!("cannot write path={}", path.display()))
    }
}

fn identity_text(node: NodeId, producer: ProducerId, epoch: Epoch) -> String {
    checked_text::seal(HEADER, &format!("node {node}\nproducer {producer}\nepoch {epoch}\n"))
}

fn parse_identity(text: &str) -> Result<(NodeId, ProducerId, Epoch)> {
    let mut lines = checked_text::open(HEADER, text)?.lines();
    let mut field = |name: &str| {
        let line = lines.next().unwrap_or_default();
        line.strip_prefix(name)
            .map(|rest| rest.trim().to_string())
            .with_context(|| format!("field is missing: {name}"))
    };
    let node = NodeId::parse(&field("node")?).context("node is not 16 hex digits")?;
    let producer =
        ProducerId::parse(&field("producer")?).context("producer is not 16 hex digits")?;
    let epoch = Epoch(field("epoch")?.parse().context("epoch is not a number")?);
    Ok((node, producer, epoch))
}

#[cfg(test)]
mod tests {
    use pando_runtime::disk::{DiskFault, DiskOp, OsDisk, SimDisk};

    use super::*;

    #[test]
    fn keeps_its_identity_counts_starts_and_is_used_once() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().to_string_lossy().into_owned();
        let rng = Rng::seeded(1);
        let first = DataDir::open(&path, &OsDisk, &rng).expect("empty directory");
        assert_eq!(first.epoch, Epoch(1));
        assert!(DataDir::open(&path, &OsDisk, &rng).is_err(), "locked");
        let (node, producer) = (first.node, first.producer);
        drop(first);
        let second = DataDir::open(&path, &OsDisk, &rng).expect("unlocked again");
        assert_eq!((second.node, second.producer, second.epoch), (node, producer, Epoch(2)));
    }

    #[test]
    fn the_name_of_a_folder_is_durable_before_it_is_used() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().to_string_lossy().into_owned();
        let data = DataDir::open(&path, &OsDisk, &Rng::seeded(1)).expect("empty directory");
        let disk = SimDisk::new();
        let made = data.folder(&disk, "raft").expect("it is made");
        assert_eq!(made, folder.path().join("raft"));
        // One that is there already may have been made a moment before a crash.
        disk.fail(DiskOp::SyncDir, DiskFault::Io, 0);
        assert!(data.folder(&disk, "raft").is_err(), "its parent is synced");
    }

    #[test]
    fn the_identity_is_pinned() {
        let text = concat!(
            "pando identity 2\nnode 00000000000000ab\nproducer 00000000000000cd\nepoch 7\n",
            "check 79555524e45cd135\n",
        );
        let identity = (NodeId(0xab), ProducerId(0xcd), Epoch(7));
        assert_eq!(identity_text(identity.0, identity.1, identity.2), text);
        assert_eq!(parse_identity(text).expect("as it was written"), identity);
    }

    /// A lower epoch would name streams that were there before: what the shards have of those would be taken for
    /// what is sent now.
    #[test]
    fn a_damaged_identity_is_refused_and_named() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().to_string_lossy().into_owned();
        drop(DataDir::open(&path, &OsDisk, &Rng::seeded(1)).expect("empty directory"));
        let file = folder.path().join("identity");
        let text = fs::read_to_string(&file).expect("it is there");
        fs::write(&file, text.replace("epoch 1", "epoch 0")).expect("a test folder");
        let error = DataDir::open(&path, &OsDisk, &Rng::seeded(1)).err().expect("refused");
        let error = format!("{error:#}");
        assert!(error.contains("/identity") && error.contains("damaged"), "{error}");
    }
}
