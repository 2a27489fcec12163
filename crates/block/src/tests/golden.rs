//! A file of version 1, kept for ever: it must stay readable, and equal input must give these
//! bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pando_model::{BlockId, STALE_NAN};

use super::support::*;
use crate::{BlockReader, BlockWriter, BuiltBlock, MemoryObject};

/// Written by [`write`]; a new version of the format adds a file and leaves this one.
const FILE: &str = include_str!("golden_v1.base64");

fn write() -> BuiltBlock {
    let t = tenant("acme");
    let mut writer =
        BlockWriter::new(crate::BlockOptions { label_column_rows_min: 3, ..options(42) });
    let mut pushed = vec![
        series(&t, &[("__name__", "up"), ("job", "j")], [(0, 1.0), (900, STALE_NAN)]),
        series(&t, &[("__name__", "up"), ("job", "k"), ("zone", "z")], [(0, 0.1), (2_000, 0.25)]),
    ];
    pushed.sort_by_key(|s| s.key);
    for series in pushed {
        writer.push(&t, series, None).expect("sorted");
    }
    writer.finish().expect("a block")
}

fn file() -> Bytes {
    let text: String = FILE.split_whitespace().collect();
    Bytes::from(STANDARD.decode(text).expect("base64"))
}

#[test]
fn version_1_stays_readable() {
    let bytes = file();
    let io = MemoryObject(bytes.clone());
    let reader = wait(BlockReader::recover(BlockId(42), bytes.len() as u64, &io)).expect("opens");
    let record = reader.record().clone();
    assert_eq!((record.format, record.digest.samples), (1, 4));
    assert_eq!(reader.label_columns(), ["__name__", "job"]);
    let rows = all_rows(&BuiltBlock { bytes, record });
    let mut series: Vec<String> = rows
        .iter()
        .map(|r| {
            let bits: Vec<u64> = r.samples.floats.iter().map(|v| v.to_bits()).collect();
            format!("{} {} {:?} {bits:x?}", r.tenant, r.samples.labels, r.samples.axis)
        })
        .collect();
    series.sort();
    assert_eq!(
        series,
        [
            r#"acme {__name__="up", job="j"} [0, 900] [3ff0000000000000, 7ff0000000000002]"#,
            r#"acme {__name__="up", job="k", zone="z"} [0, 2000] [3fb999999999999a, 3fd0000000000000]"#,
        ]
    );
}

#[test]
fn the_bytes_are_pinned() {
    let block = write();
    let text = STANDARD.encode(&block.bytes);
    assert!(block.bytes == file(), "the format changed, or zstd did:\n{text}");
}
