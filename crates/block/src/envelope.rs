//! The envelope: how a block's footer is sealed, found and opened.
//!
//! ```text
//! footer_offset -> hash          16 bytes: xxh3-128 (big endian) of everything after it
//!                  page index    Parquet column indexes and offset indexes
//!                  index bytes   u64, little endian: length of the page index
//!                  FileMetaData  Parquet (thrift), with our key-values
//!                  u32, "PAR1"   length of FileMetaData and the magic, as in every Parquet file
//! ```
//!
//! One read from `footer_offset` to the end opens the block, and nothing of it is parsed before the
//! hash has been compared. Who has the object but not its record finds `footer_offset` from the
//! last bytes ([`locate_footer`]); a wrong guess cannot pass the hash. Key-values:
//!
//! ```text
//! pando.record   base64 of the block's record (protobuf), sizes 0
//! pando.pages    base64 of the page hashes, 8 bytes each (pages.rs)
//! ```

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pando_model::{BlockId, BlockRecord};
use pando_proto::record::{decode_record, encode_record};
use parquet::DecodeResult;
use parquet::file::metadata::{
    FileMetaData, KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder,
    ParquetMetaDataPushDecoder, ParquetMetaDataWriter,
};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::FORMAT;
use crate::error::{BlockError, contain, parquet_error};
use crate::pages::PageTable;

/// The magic at both ends of a Parquet file.
pub(crate) const MAGIC: &[u8; 4] = b"PAR1";
/// Bytes of the footer's hash.
pub(crate) const HASH_BYTES: usize = 16;
/// The largest footer that is opened: some 15,000 row groups of 30 columns.
pub(crate) const FOOTER_BYTES_MAX: u64 = 64 << 20;

/// The seed of the footer's hash. Part of the format: never change it.
const SEED: u64 = 0x7061_6e64_6f66_7472; // "pandoftr"
const RECORD_KEY: &str = "pando.record";
const PAGES_KEY: &str = "pando.pages";
/// Length and magic at the end, and the length of the page index.
const TAIL_BYTES: usize = 8;
const INDEX_LENGTH_BYTES: usize = 8;

fn hash_footer(bytes: &[u8]) -> [u8; HASH_BYTES] {
    xxh3_128_with_seed(bytes, SEED).to_be_bytes()
}

/// Completes a block. `file` is a finished Parquet file in which [`HASH_BYTES`] zero bytes stand at
/// `footer_offset`, before the page index; `metadata` is what the Parquet writer says of it. The
/// record gets its sizes.
pub(crate) fn seal(
    mut file: Vec<u8>,
    metadata: &ParquetMetaData,
    footer_offset: usize,
    mut record: BlockRecord,
) -> Result<(Bytes, BlockRecord), BlockError> {
    let block = record.id;
    let fail = |what: &str| BlockError::Parquet { block, what: what.to_string() };
    let thrift_bytes = thrift_length(&file).ok_or_else(|| fail("the writer wrote no footer"))?;
    let hashed_from = footer_offset + HASH_BYTES;
    let index_end = file
        .len()
        .checked_sub(TAIL_BYTES + thrift_bytes)
        .filter(|end| *end >= hashed_from)
        .ok_or_else(|| fail("the writer's footer is too long"))?;
    let pages = PageTable::of(metadata).map_err(|what| fail(&what))?;
    if !pages.tiles(MAGIC.len() as u64..footer_offset as u64) {
        return Err(fail("the writer's pages do not tile the file"));
    }
    let hashes = pages.hashes(&file).ok_or_else(|| fail("a page is outside of the file"))?;
    file.truncate(index_end);
    file.extend(((index_end - hashed_from) as u64).to_le_bytes());
    (record.object_bytes, record.footer_offset) = (0, 0);
    let footer =
        with_key_values(metadata, vec![(RECORD_KEY, encode_record(&record)), (PAGES_KEY, hashes)]);
    ParquetMetaDataWriter::new(&mut file, &footer).finish().map_err(parquet_error(block))?;
    let hash = hash_footer(&file[hashed_from..]);
    file[footer_offset..hashed_from].copy_from_slice(&hash);
    record.object_bytes = file.len() as u64;
    record.footer_offset = footer_offset as u64;
    Ok((file.into(), record))
}

/// `metadata` without its page index, whose place in the file it keeps, and with our key-values.
fn with_key_values(metadata: &ParquetMetaData, pairs: Vec<(&str, Vec<u8>)>) -> ParquetMetaData {
    let file = metadata.file_metadata();
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| KeyValue::new(key.to_string(), STANDARD.encode(value)))
        .collect();
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_string),
        Some(pairs),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    ParquetMetaDataBuilder::new(file).set_row_groups(metadata.row_groups().to_vec()).build()
}

fn thrift_length(bytes: &[u8]) -> Option<usize> {
    let tail = bytes.len().checked_sub(TAIL_BYTES)?;
    let (length, magic) = bytes[tail..].split_at(4);
    (magic == MAGIC).then(|| u32::from_le_bytes(length.try_into().unwrap_or_default()) as usize)
}

/// What [`locate_footer`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FooterAt {
    /// Read from here to the end.
    Offset(u64),
    /// Call again with at least this many bytes from the end.
    NeedsTail(u64),
}

/// Finds where the footer of an object begins, from `tail`, its last bytes (64 KiB is a good first
/// try). For whoever has no record: rebuilding a catalog from a bucket.
pub fn locate_footer(
    block: BlockId,
    object_bytes: u64,
    tail: &[u8],
) -> Result<FooterAt, BlockError> {
    let corrupt = || BlockError::Corrupt {
        block,
        offset: object_bytes.saturating_sub(tail.len() as u64),
        bytes: tail.len() as u64,
        what: "the object does not end like a block".to_string(),
    };
    if tail.len() as u64 > object_bytes || object_bytes < TAIL_BYTES as u64 {
        return Err(corrupt());
    }
    if tail.len() < TAIL_BYTES {
        return Ok(FooterAt::NeedsTail(TAIL_BYTES as u64));
    }
    let thrift_bytes = thrift_length(tail).ok_or_else(corrupt)?;
    let needed = (thrift_bytes + TAIL_BYTES + INDEX_LENGTH_BYTES) as u64;
    if needed > object_bytes {
        return Err(corrupt());
    }
    let Some(at) = (tail.len() as u64).checked_sub(needed) else {
        return Ok(FooterAt::NeedsTail(needed));
    };
    let length = &tail[at as usize..at as usize + INDEX_LENGTH_BYTES];
    let index_bytes = u64::from_le_bytes(length.try_into().map_err(|_| corrupt())?);
    let before = index_bytes.checked_add(needed).and_then(|b| b.checked_add(HASH_BYTES as u64));
    let offset = before.and_then(|b| object_bytes.checked_sub(b)).ok_or_else(corrupt)?;
    Ok(FooterAt::Offset(offset))
}

/// What a footer says.
pub(crate) struct Footer {
    pub(crate) metadata: Arc<ParquetMetaData>,
    pub(crate) pages: PageTable,
    /// The block's own record, with its sizes.
    pub(crate) record: BlockRecord,
}

/// Verifies and parses `bytes`, which begin at `footer_offset` of an object. `block` names it in errors: whether it is
/// that block is for the caller to see.
pub(crate) fn open(
    block: BlockId,
    footer_offset: u64,
    bytes: &Bytes,
) -> Result<Footer, BlockError> {
    let corrupt = |what: &str| BlockError::Corrupt {
        block,
        offset: footer_offset,
        bytes: bytes.len() as u64,
        what: what.to_string(),
    };
    if bytes.len() as u64 > FOOTER_BYTES_MAX {
        let (found, max) = (bytes.len() as u64, FOOTER_BYTES_MAX);
        return Err(BlockError::Limit { block, limit: "footer bytes", found, max });
    }
    if bytes.len() < HASH_BYTES || hash_footer(&bytes[HASH_BYTES..]) != bytes[..HASH_BYTES] {
        return Err(corrupt("the hash of the footer differs"));
    }
    let object_bytes = footer_offset.checked_add(bytes.len() as u64);
    let object_bytes = object_bytes.ok_or_else(|| corrupt("the footer's offset is too large"))?;
    let metadata = contain(block, || parse(block, footer_offset, object_bytes, bytes))?;
    let value = |key: &str| -> Result<Vec<u8>, BlockError> {
        let pairs = metadata.file_metadata().key_value_metadata();
        let pair = pairs.and_then(|pairs| pairs.iter().find(|p| p.key == key));
        let text = pair.and_then(|p| p.value.as_deref()).ok_or_else(|| corrupt(key))?;
        STANDARD.decode(text).map_err(|_| corrupt(key))
    };
    let mut record = decode_record(&value(RECORD_KEY)?)?;
    if record.format != FORMAT {
        return Err(BlockError::Unsupported { block, found: record.format, known: FORMAT });
    }
    (record.object_bytes, record.footer_offset) = (object_bytes, footer_offset);
    let mut pages = PageTable::of(&metadata).map_err(|what| corrupt(&what))?;
    if !pages.tiles(MAGIC.len() as u64..footer_offset) {
        return Err(corrupt("the pages do not tile the object"));
    }
    if !pages.set_hashes(&value(PAGES_KEY)?) {
        return Err(corrupt("the number of page hashes differs"));
    }
    Ok(Footer { metadata: Arc::new(metadata), pages, record })
}

fn parse(
    block: BlockId,
    footer_offset: u64,
    object_bytes: u64,
    bytes: &Bytes,
) -> Result<ParquetMetaData, BlockError> {
    let fail = parquet_error(block);
    let decoder = ParquetMetaDataPushDecoder::try_new(object_bytes).map_err(&fail)?;
    let mut decoder = decoder.with_page_index_policy(PageIndexPolicy::Required);
    decoder.push_range(footer_offset..object_bytes, bytes.clone()).map_err(&fail)?;
    match decoder.try_decode().map_err(&fail)? {
        DecodeResult::Data(metadata) => Ok(metadata),
        DecodeResult::NeedsData(_) | DecodeResult::Finished => {
            Err(BlockError::Parquet { block, what: "the footer names bytes before it".to_string() })
        }
    }
}
