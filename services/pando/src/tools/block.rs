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

use crate::args::{BlockCommand, BlockTarget};
use crate::object_stores;

/// Looks and prints.
pub(crate) async fn run(command: &BlockCommand) -> Result<()> {
    match command {
        BlockCommand::Inspect(target) => {
            let (reader, _) = open(target).await?;
            println!("{}", inspect_block(&reader));
        }
        BlockCommand::Verify(target) => {
            let (reader, io) = open(target).await?;
            let report = verify_block(reader.record(), io).await?;
            println!(
                "block {} is whole: {} rows, {} series, {} samples, {} histograms, {} exemplars",
                reader.record().id,
                report.rows,
                report.series,
                report.digest.samples,
                report.histograms,
                report.exemplars
            );
        }
    }
    Ok(())
}

async fn open(target: &BlockTarget) -> Result<(BlockReader, Arc<dyn RangeReader>)> {
    let name = target.block.trim_end_matches(".parquet");
    let name = name.rsplit('/').next().unwrap_or(name);
    let block = BlockId::parse(name)
        .with_context(|| format!("not the name of a block: block={}", target.block))?;
    let (io, bytes): (Arc<dyn RangeReader>, u64) = match &target.store.config_file {
        None => {
            let file = LocalFile::new(&target.block);
            let bytes = file.object_bytes()?;
            (Arc::new(file), bytes)
        }
        Some(config) => {
            let store = object_stores::open(Some(config), Path::new("."))?.store;
            let path = object_store::path::Path::from(block.object_path());
            let head = store.head(&path).await.with_context(|| format!("object={path}"))?;
            (Arc::new(InStore { store, path }), head.size)
        }
    };
    if bytes == 0 {
        bail!("object is empty: block={block}");
    }
    let reader = BlockReader::recover(block, bytes, io.as_ref()).await?;
    Ok((reader, io))
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
