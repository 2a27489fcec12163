//! Bad copies hide no good object.

use object_store::memory::InMemory;
use pando_block::BuiltBlock;
use pando_model::{KeyRange, TenantId, TimeRange};

use super::*;
use crate::testdata::{CountingStore, built, put};

const ALL_TIMES: TimeRange = TimeRange { min_ms: i64::MIN, max_ms: i64::MAX };

/// Bytes of the right number, every one wrong.
fn damaged(block: &BuiltBlock) -> Bytes {
    block.bytes.iter().map(|byte| !byte).collect::<Vec<u8>>().into()
}

/// The same with a good footer, so that the block opens.
fn damaged_pages(block: &BuiltBlock) -> Bytes {
    let footer = block.record.footer_offset as usize;
    [&damaged(block)[..footer], &block.bytes[footer..]].concat().into()
}

async fn samples(blocks: &BlockStore, record: &BlockRecord) -> Result<usize, ExecuteError> {
    let (reader, io) = blocks.open(record).await?;
    let tenant = TenantId::default_tenant();
    let mut scan = reader.scan(io, &tenant, KeyRange::ALL, &[], ALL_TIMES, 100).await?;
    let mut samples = 0;
    while let Some(batch) = scan.next_batch().await? {
        samples += batch.iter().map(|series| series.len()).sum::<usize>();
    }
    Ok(samples)
}

fn with_folder(store: Arc<dyn ObjectStore>, folder: &std::path::Path) -> BlockStore {
    let folder = Some(folder.to_path_buf());
    BlockStore::new(store, &BlockStoreConfig { folder, ..BlockStoreConfig::default() })
}

#[tokio::test]
async fn a_damaged_file_is_removed_and_the_object_is_read() {
    let (folder, block) = (tempfile::tempdir().expect("a folder"), built(1));
    let store = Arc::new(InMemory::new());
    put(store.as_ref(), block.record.id, block.bytes.clone()).await;
    let short = block.bytes.slice(..block.bytes.len() / 2);
    for bad in [damaged(&block), damaged_pages(&block), short] {
        let blocks = with_folder(store.clone(), folder.path());
        blocks.keep(block.record.id, &bad).expect("written");
        assert_eq!(samples(&blocks, &block.record).await.expect("the object is good"), 3);
        assert!(blocks.kept().is_empty(), "the bad file is gone");
        assert_eq!(samples(&blocks, &block.record).await.expect("still"), 3);
    }
}

#[tokio::test]
async fn damaged_ranges_in_memory_are_read_again() {
    let (store, block) = (Arc::new(CountingStore::default()), built(1));
    let blocks = BlockStore::new(store.clone(), &BlockStoreConfig::default());
    put(store.as_ref(), block.record.id, damaged_pages(&block)).await;
    let error = samples(&blocks, &block.record).await.expect_err("the object itself is bad");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&block.record.id.to_string()), "{error}");
    // Footer, pages, and the pages once more: a bad object is not read for ever.
    assert_eq!(store.reads.load(Ordering::SeqCst), 3);
    put(store.as_ref(), block.record.id, block.bytes.clone()).await;
    assert_eq!(samples(&blocks, &block.record).await.expect("the object is good again"), 3);
    let reads = store.reads.load(Ordering::SeqCst);
    assert_eq!(samples(&blocks, &block.record).await.expect("from memory"), 3);
    assert_eq!(store.reads.load(Ordering::SeqCst), reads);
}

#[tokio::test]
async fn unfinished_files_are_removed_and_finished_ones_kept() {
    let (folder, block) = (tempfile::tempdir().expect("a folder"), built(1));
    let (id, store) = (block.record.id, Arc::new(InMemory::new()));
    with_folder(store.clone(), folder.path()).keep(id, &block.bytes).expect("written");
    std::fs::write(folder.path().join(format!("{id}.7.new")), b"half").expect("written");
    let blocks = with_folder(store, folder.path());
    assert_eq!(blocks.kept(), [id]);
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    assert_eq!(samples(&blocks, &block.record).await.expect("without any object"), 3);
}
