//! `BlockStore`: blocks in the object store, behind caches: opened footers, ranges in memory, and whole recent
//! blocks in a folder of this member.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use moka::sync::Cache;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pando_block::error::ReadError;
use pando_block::{BlockReader, LocalFile, RangeReader};
use pando_model::{BlockId, BlockRecord, ErrorKind};

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
        BlockStore { store, folder: config.folder.clone().map(Arc::new), opened, ranges }
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
        let io: Arc<dyn RangeReader> = Arc::new(BlockIo { store: self.clone(), block: record.id });
        if let Some(reader) = self.opened.get(&record.id) {
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
        // Not synced: a file that a crash tears is found by its checksums and fetched again.
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, bytes)?;
        std::fs::rename(&temporary, &path)
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
        self.keep(block, &bytes).map_err(|e| live(format!("block={block}: {e}")))
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

    async fn read_range(&self, block: BlockId, range: Range<u64>) -> Result<Bytes, ReadError> {
        let key = (block, range.start, range.end);
        if let Some(bytes) = self.ranges.get(&key) {
            return Ok(bytes);
        }
        let path = Path::from(block.object_path());
        let bytes = self.store.get_range(&path, range).await.map_err(read_error)?;
        self.ranges.insert(key, bytes.clone());
        Ok(bytes)
    }
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

/// One block's bytes: from the folder where it is kept there, else from the store.
struct BlockIo {
    store: BlockStore,
    block: BlockId,
}

#[async_trait]
impl RangeReader for BlockIo {
    async fn read(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, ReadError> {
        if let Some(path) = self.store.file(self.block).filter(|path| path.exists()) {
            // A file that is torn or was removed a moment ago is as good as none.
            if let Ok(parts) = LocalFile::new(path).read(ranges.clone()).await {
                return Ok(parts);
            }
        }
        let reads = ranges.into_iter().map(|range| self.store.read_range(self.block, range));
        join_all(reads).await.into_iter().collect()
    }
}
