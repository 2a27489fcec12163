//! Damage is found or harmless: never a wrong answer, never a panic.

use std::sync::Arc;

use bytes::Bytes;
use pando_model::{ErrorKind, KeyRange, TimeRange};

use super::support::*;
use crate::{BlockError, BlockReader, BuiltBlock, MemoryObject, verify_block};

fn small() -> BuiltBlock {
    let (a, b) = (tenant("a"), tenant("b"));
    let mut all = Vec::new();
    for i in 0..5i64 {
        let host = format!("host-{i}");
        let labels = [("__name__", "m"), ("host", host.as_str())];
        all.push((a.clone(), series(&a, &labels, (0..9).map(|k| (k * 200, (k * i) as f64)))));
        all.push((b.clone(), series(&b, &labels, (0..3).map(|k| (k * 200, 0.5)))));
    }
    build(options(1), &all)
}

/// All answers of a block, or the first error.
fn answers(record: &pando_model::BlockRecord, bytes: &Bytes) -> Result<Vec<String>, BlockError> {
    let io = Arc::new(MemoryObject(bytes.clone()));
    wait(async {
        let reader = BlockReader::fetch(record, io.as_ref()).await?;
        let mut out = Vec::new();
        for name in ["a", "b"] {
            let t = tenant(name);
            let (keys, time) = (KeyRange::ALL, TimeRange::ALL);
            let mut scan = reader.scan(io.clone(), &t, keys, &[], time, 1_000).await?;
            while let Some(batch) = scan.next_batch().await? {
                out.extend(batch.iter().map(|s| format!("{:?}", content(s))));
            }
        }
        let mut rows = reader.rows(io.clone());
        while let Some(series) = rows.next_series().await? {
            out.push(format!("{} {:?}", series.tenant, content(&series.samples)));
        }
        Ok(out)
    })
}

#[test]
fn a_flipped_bit_anywhere_is_found_or_harmless() {
    let block = small();
    let right = answers(&block.record, &block.bytes).expect("undamaged");
    let mut harmless = 0;
    for at in 0..block.bytes.len() {
        let mut bytes = block.bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        let bytes = Bytes::from(bytes);
        match answers(&block.record, &bytes) {
            Ok(found) => {
                assert_eq!(found, right, "a wrong answer: byte {at}");
                harmless += 1;
            }
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Corrupt, "byte {at}: {e}");
                assert!(matches!(e, BlockError::Corrupt { .. }), "found by a hash: byte {at}: {e}");
            }
        }
    }
    assert_eq!(harmless, 4, "only the magic at the start is not read by scans");
    let mut bytes = block.bytes.to_vec();
    bytes[2] ^= 1;
    let damaged = Arc::new(MemoryObject(bytes.into()));
    assert!(wait(verify_block(&block.record, damaged)).is_err(), "verification reads it");
}

#[test]
fn the_error_names_block_place_and_length() {
    let block = small();
    let mut bytes = block.bytes.to_vec();
    bytes[40] ^= 0x10;
    let error = answers(&block.record, &bytes.into()).expect_err("damaged").to_string();
    for part in [&format!("block={}", block.record.id), "offset=", "bytes=", "hash of a page"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_flipped_bit_never_recovers_as_another_record() {
    let block = small();
    let size = block.bytes.len() as u64;
    for at in block.record.footer_offset as usize..block.bytes.len() {
        let mut bytes = block.bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        let io = MemoryObject(bytes.into());
        let recovered = wait(BlockReader::recover(block.record.id, size, &io));
        assert!(recovered.is_err(), "byte {at}");
    }
}

#[test]
fn a_block_cut_short_is_refused() {
    let block = small();
    for len in 0..block.bytes.len() {
        let bytes = block.bytes.slice(..len);
        assert!(answers(&block.record, &bytes).is_err(), "{len} bytes");
        let io = MemoryObject(bytes);
        let recovered = wait(BlockReader::recover(block.record.id, len as u64, &io));
        assert!(recovered.is_err(), "{len} bytes");
    }
}

#[test]
fn short_and_missing_parts_of_a_read_are_refused() {
    let block = small();
    let reader = open(&block);
    let plan = reader.plan_scan(&tenant("a"), KeyRange::ALL, &[], TimeRange::ALL);
    assert!(plan.select(&[]).is_err());
    let parts: Vec<Bytes> = plan.ranges().iter().map(|_| Bytes::from_static(b"x")).collect();
    assert!(plan.select(&parts).is_err());
    let swapped = block.bytes.slice(0..10);
    let parts: Vec<Bytes> = plan.ranges().iter().map(|_| swapped.clone()).collect();
    assert!(plan.select(&parts).is_err());
}
