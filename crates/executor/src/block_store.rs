//! `BlockStore`: blocks in the object store, behind caches: opened footers, ranges in memory, and whole recent
//! blocks in a folder of this member.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use moka::sync::Cache;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pando_block::error::ReadError;
use pando_block::{BlockReader, LocalFile, RangeReader};
use pando_model::{BlockId, BlockRecord, ErrorKind};

use crate::block_reads::{ReadCounters, ReadFrom};
use crate::error::ExecuteError;

/// Sizes of the caches.
#[derive(Clone, Debug)]
pub struct BlockStoreConfig {
    /// Memory for opened footers, bytes.
    pub footer_bytes: u64,
    /// Memory for ranges of blocks, bytes.
    pub range_bytes: u64,
    /// The folder of whole blocks that this member keeps; `None`: none.
    pub folder: Option<PathBuf>,
}

impl Default for BlockStoreConfig {
    fn default() -> Self {
        BlockStoreConfig { footer_bytes: 64 << 20, range_bytes: 256 << 20, folder: None }
    }
}

/// (block, start, end) of a range.
type RangeKey = (BlockId, u64, u64);

/// Blocks, wherever they are. Cloning shares the caches.
#[derive(Clone)]
pub struct BlockStore {
    store: Arc<dyn ObjectStore>,
    folder: Option<Arc<PathBuf>>,
    opened: Cache<BlockId, BlockReader>,
    ranges: Cache<RangeKey, Bytes>,
    /// Makes names of temporary files: two writers of one block share none.
    files_begun: Arc<AtomicU64>,
    /// Copies in the folder that turned out damaged.
    copies_damaged: Arc<AtomicU64>,
}

impl BlockStore {
    /// Blocks of `store`, nothing cached yet.
    pub fn new(store: Arc<dyn ObjectStore>, config: &BlockStoreConfig) -> Self {
        let opened = Cache::builder()
            .weigher(|_, reader: &BlockReader| clamped(reader.memory_bytes()))
            .max_capacity(config.footer_bytes)
            .build();
        let ranges = Cache::builder()
            .weigher(|_, bytes: &Bytes| clamped(bytes.len() + size_of::<RangeKey>()))
            .max_capacity(config.range_bytes)
            .build();
        let folder = config.folder.clone().map(Arc::new);
        folder.iter().for_each(|folder| remove_unfinished(folder));
        let (files_begun, copies_damaged) = Default::default();
        BlockStore { store, folder, opened, ranges, files_begun, copies_damaged }
    }

    /// How many copies in the folder turned out damaged, and were removed, since the start.
    pub fn copies_damaged(&self) -> u64 {
        self.copies_damaged.load(Ordering::Relaxed)
    }

    /// The object store below.
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Opens a block: one range read, and none where it was opened lately.
    ///
    /// # Errors
    /// The block is gone (`Stale`), damaged, or the store does not answer.
    pub async fn open(
        &self,
        record: &BlockRecord,
    ) -> Result<(BlockReader, Arc<dyn RangeReader>), ExecuteError> {
        self.open_counted(record, &ReadCounters::default()).await
    }

    /// [`BlockStore::open`], with all reads of the block counted in `reads`.
    ///
    /// # Errors
    /// As there.
    pub async fn open_counted(
        &self,
        record: &BlockRecord,
        reads: &ReadCounters,
    ) -> Result<(BlockReader, Arc<dyn RangeReader>), ExecuteError> {
        let distrusted = AtomicBool::new(false);
        let (store, reads) = (self.clone(), reads.clone());
        let io = Arc::new(BlockIo { store, block: record.id, distrusted, reads });
        if let Some(reader) = self.opened.get(&record.id) {
            io.reads.footer_hit();
            return Ok((reader, io));
        }
        let reader =
            BlockReader::fetch(record, io.as_ref()).await.map_err(|error| match error.kind() {
                ErrorKind::NotFound => ExecuteError::gone(record.id),
                _ => ExecuteError::Block(error),
            })?;
        self.opened.insert(record.id, reader.clone());
        Ok((reader, io))
    }

    /// Forgets what is cached in memory, and the folder's blocks: what is read next comes from the store.
    ///
    /// # Errors
    /// The folder cannot be emptied.
    pub fn clear(&self) -> std::io::Result<()> {
        self.opened.invalidate_all();
        self.ranges.invalidate_all();
        for block in self.kept() {
            self.forget(block)?;
        }
        Ok(())
    }

    /// The blocks in the folder.
    pub fn kept(&self) -> Vec<BlockId> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let entries = std::fs::read_dir(folder.as_path()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| BlockId::parse(name.strip_suffix(".parquet")?)).collect()
    }

    /// Keeps a whole block in the folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, block: BlockId, bytes: &[u8]) -> std::io::Result<()> {
        let Some(path) = self.file(block) else { return Ok(()) };
        let begun = self.files_begun.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{begun}.{UNFINISHED}"));
        let written = write_synced(&temporary, bytes);
        // The name may be lost by a crash, but it never names bytes that were not written.
        let named = written.and_then(|()| std::fs::rename(&temporary, &path));
        if named.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        named
    }

    /// Fetches a whole block into the folder, where it is not there.
    ///
    /// # Errors
    /// The store does not answer, or it cannot be written.
    pub async fn fetch_whole(&self, block: BlockId) -> Result<(), ExecuteError> {
        if self.file(block).is_none_or(|path| path.exists()) {
            return Ok(());
        }
        let live = |message: String| ExecuteError::Live { kind: ErrorKind::Unavailable, message };
        let got = self.store.get(&Path::from(block.object_path())).await;
        let bytes = match got {
            Ok(got) => got.bytes().await.map_err(|e| live(format!("block={block}: {e}")))?,
            Err(object_store::Error::NotFound { .. }) => return Err(ExecuteError::gone(block)),
            Err(error) => return Err(live(format!("block={block}: {error}"))),
        };
        let store = self.clone();
        let kept = blocking(move || store.keep(block, &bytes)).await;
        kept.map_err(|e| live(format!("block={block}: {e}")))
    }

    /// Removes a block from the folder.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget(&self, block: BlockId) -> std::io::Result<()> {
        match self.file(block).filter(|path| path.exists()) {
            Some(path) => std::fs::remove_file(path),
            None => Ok(()),
        }
    }

    fn file(&self, block: BlockId) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{block}.parquet")))
    }

    /// Reads a range from memory, else from the store. `fresh`: from the store in any case.
    async fn read_range(
        &self,
        block: BlockId,
        range: Range<u64>,
        fresh: bool,
    ) -> Result<(Bytes, ReadFrom), ReadError> {
        let key = (block, range.start, range.end);
        if let Some(bytes) = self.ranges.get(&key).filter(|_| !fresh) {
            return Ok((bytes, ReadFrom::Memory));
        }
        let path = Path::from(block.object_path());
        let bytes = self.store.get_range(&path, range).await.map_err(read_error)?;
        // Nobody has compared its hashes yet. Where they turn out wrong, this very range is read
        // again and takes this one's place.
        self.ranges.insert(key, bytes.clone());
        Ok((bytes, ReadFrom::Store))
    }

    /// The ranges out of the folder's file; `None` where it is not there, or too short.
    async fn read_file(&self, block: BlockId, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
        let path = self.file(block)?;
        let ranges = ranges.to_vec();
        let read = blocking(move || match path.exists() {
            true => Ok(Some(LocalFile::new(path).read_blocking(&ranges))),
            false => Ok(None),
        });
        match read.await.ok()?? {
            Ok(parts) => Some(parts),
            Err(error) => {
                // It may have been removed a moment ago, as old blocks are.
                if error.kind == ErrorKind::Corrupt {
                    self.drop_copy(block, &error.message).await;
                }
                None
            }
        }
    }

    /// Removes the folder's file of a block that turned out damaged.
    async fn drop_copy(&self, block: BlockId, why: &str) {
        let store = self.clone();
        let removed = blocking(move || {
            let there = store.file(block).is_some_and(|path| path.exists());
            store.forget(block).map(|()| there)
        });
        match removed.await {
            Ok(true) => {
                self.copies_damaged.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%block, why, "damaged local copy of a block is removed");
            }
            Ok(false) => {}
            Err(error) => {
                self.copies_damaged.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%block, why, %error, "damaged local copy of a block is not removed");
            }
        }
    }
}

/// What the name of a file ends with until it is whole.
const UNFINISHED: &str = "new";

/// Removes what a process that was killed had not written to its end.
fn remove_unfinished(folder: &std::path::Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    for path in paths.filter(|path| path.extension().is_some_and(|end| end == UNFINISHED)) {
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "unfinished file is not removed");
        }
    }
}

fn write_synced(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Disks are read and written where that blocks no socket.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

fn clamped(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn read_error(error: object_store::Error) -> ReadError {
    let kind = match &error {
        object_store::Error::NotFound { .. } => ErrorKind::NotFound,
        _ => ErrorKind::Unavailable,
    };
    ReadError { kind, message: error.to_string() }
}

/// One block's bytes: from the folder where it is kept there, else from memory or the store.
struct BlockIo {
    store: BlockStore,
    block: BlockId,
    /// Whether copies have turned out damaged: what is read from here on comes from the store.
    distrusted: AtomicBool,
    /// Of the request that reads.
    reads: ReadCounters,
}

#[async_trait]
impl RangeReader for BlockIo {
    async fn read(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, ReadError> {
        let fresh = self.distrusted.load(Ordering::Relaxed);
        if !fresh && let Some(parts) = self.store.read_file(self.block, &ranges).await {
            parts.iter().for_each(|part| self.reads.range(ReadFrom::Folder, part));
            return Ok(parts);
        }
        let parts = ranges.into_iter().map(|range| async move {
            let (bytes, from) = self.store.read_range(self.block, range, fresh).await?;
            self.reads.range(from, &bytes);
            Ok(bytes)
        });
        join_all(parts).await.into_iter().collect()
    }

    async fn distrust(&self) -> bool {
        self.distrusted.store(true, Ordering::Relaxed);
        self.store.drop_copy(self.block, "a hash differs").await;
        true
    }
}

#[cfg(test)]
mod tests;
