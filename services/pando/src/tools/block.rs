//! `pando block inspect|verify`: looks into a block, in a file or in a bucket.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pando_block::error::ReadError;
use pando_block::{BlockReader, LocalFile, RangeReader, inspect_block, verify_block};
use pando_model::{BlockId, ErrorKind};

use super::output::Output;
use crate::args::{BlockCommand, BlockTarget};
use crate::object_stores;

/// Looks and prints.
pub(crate) async fn run(command: &BlockCommand) -> Result<()> {
    let mut out = Output::stdout();
    match command {
        BlockCommand::Inspect(target) => {
            let (reader, _) = open(target).await?;
            out.line(inspect_block(&reader))
        }
        BlockCommand::Verify(target) => {
            let (reader, io) = open(target).await?;
            let report = verify_block(reader.record(), io).await?;
            out.line(format_args!(
                "block {} is whole: {} rows, {} series, {} samples, {} histograms, {} exemplars",
                reader.record().id,
                report.rows,
                report.series,
                report.digest.samples,
                report.histograms,
                report.exemplars
            ))
        }
    }
}

async fn open(target: &BlockTarget) -> Result<(BlockReader, Arc<dyn RangeReader>)> {
    let object = Object::find(target).await?;
    if object.bytes == 0 {
        bail!("object is empty: block={}", target.block);
    }
    let name = target.block.rsplit('/').next().unwrap_or_default();
    let reader = match BlockId::parse(name.trim_end_matches(".parquet")) {
        Some(block) => BlockReader::recover(block, object.bytes, object.io.as_ref()).await,
        // A copy under another name: the footer says which block it is.
        None => BlockReader::recover_unnamed(object.bytes, object.io.as_ref()).await,
    };
    Ok((reader.with_context(|| format!("object={}", target.block))?, object.io))
}

/// What is looked into.
struct Object {
    io: Arc<dyn RangeReader>,
    bytes: u64,
}

impl Object {
    async fn find(target: &BlockTarget) -> Result<Self> {
        let name = &target.block;
        if let Some(config) = &target.store.config_file {
            let store = object_stores::open(Some(config), Path::new("."))?.store;
            let id = name.trim_end_matches(".parquet").rsplit('/').next().and_then(BlockId::parse);
            let path = match id {
                Some(block) => object_store::path::Path::from(block.object_path()),
                None => object_store::path::Path::parse(name)?,
            };
            return Self::in_store(store, path).await;
        }
        if name.contains("://") {
            let (store, path) = object_stores::open_url(name)?;
            return Self::in_store(store, path).await;
        }
        let file = LocalFile::new(name);
        let bytes = file.object_bytes()?;
        Ok(Object { io: Arc::new(file), bytes })
    }

    async fn in_store(store: Arc<dyn ObjectStore>, path: object_store::path::Path) -> Result<Self> {
        let head = store.head(&path).await.with_context(|| format!("object={path}"))?;
        Ok(Object { io: Arc::new(InStore { store, path }), bytes: head.size })
    }
}

struct InStore {
    store: Arc<dyn ObjectStore>,
    path: object_store::path::Path,
}

#[async_trait]
impl RangeReader for InStore {
    async fn read(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, ReadError> {
        let read = self.store.get_ranges(&self.path, &ranges).await;
        read.map_err(|e| ReadError { kind: ErrorKind::Unavailable, message: e.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::args::StoreArgs;

    /// Block 42, as the tests of its format keep it.
    const BLOCK: &str = include_str!("../../../../crates/block/src/tests/golden_v1.base64");

    async fn id_of(block: &str) -> Result<BlockId> {
        let store = StoreArgs { config_file: None };
        let target = BlockTarget { block: block.to_string(), store };
        let (reader, io) = open(&target).await?;
        verify_block(reader.record(), io).await?;
        Ok(reader.record().id)
    }

    #[tokio::test]
    async fn files_are_opened_by_path_and_url_whatever_their_name() {
        let folder = tempfile::tempdir().expect("folder");
        let text: String = BLOCK.split_whitespace().collect();
        let bytes = STANDARD.decode(text).expect("base64");
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let (named, copy) = (format!("{}.parquet", BlockId(42)), "copy of a block.parquet");
        let other = format!("{}.parquet", BlockId(7));
        for name in [named.as_str(), copy, &other] {
            std::fs::write(path(name), &bytes).expect("writes");
        }
        for name in [path(&named), path(copy), format!("file://{}", path(&named))] {
            assert_eq!(id_of(&name).await.expect("opens"), BlockId(42), "{name}");
        }
        // A name that is another block's is a fault, not a copy.
        let error = format!("{:#}", id_of(&path(&other)).await.expect_err("is another"));
        assert!(error.contains("another block's"), "{error}");
        let error = format!("{:#}", id_of("tape://a/b").await.expect_err("no such store"));
        assert!(error.contains("tape://a/b"), "{error}");
    }
}
