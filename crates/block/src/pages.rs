//! The page table: where every page of a block is, and the hash of its bytes.
//!
//! Places come from the Parquet offset index; hashes are ours and stand in the footer in the order
//! of the table: row group by row group, column by column, dictionary page first. A page's hash is
//! compared before the Parquet library sees a byte of it ([`VerifiedPages`]).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use pando_model::BlockId;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::BlockError;

/// The seed of page hashes. Part of the format: never change it.
const SEED: u64 = 0x7061_6e64_6f70_6765; // "pandopge"

/// Bytes of one hash in the footer.
pub(crate) const HASH_BYTES: usize = 8;

/// One page: header and compressed data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    /// The first row, within its row group. 0 for a dictionary.
    pub(crate) first_row: u64,
    /// [`hash_page`] of the bytes; 0 until it is known.
    pub(crate) hash: u64,
}

impl Page {
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(u64::from(self.bytes))
    }
}

/// The pages of one column of one row group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ChunkPages {
    pub(crate) dictionary: Option<Page>,
    pub(crate) data: Vec<Page>,
}

/// The pages of a file: `[row group][leaf column]`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct PageTable {
    groups: Vec<Vec<ChunkPages>>,
}

/// The hash of a page's bytes.
pub(crate) fn hash_page(bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, SEED)
}

impl PageTable {
    /// The pages that `file` names, without hashes. The error says what contradicts itself.
    pub(crate) fn of(file: &ParquetMetaData) -> Result<PageTable, String> {
        if file.num_row_groups() == 0 {
            return Ok(PageTable::default());
        }
        let index = file.page_index().ok_or("no page index")?;
        let mut groups = Vec::with_capacity(file.num_row_groups());
        for (g, group) in file.row_groups().iter().enumerate() {
            let mut chunks = Vec::with_capacity(group.num_columns());
            for (c, chunk) in group.columns().iter().enumerate() {
                let locations = index.offset_index(g, c).ok_or("a column without offset index")?;
                let data: Option<Vec<Page>> = locations
                    .page_locations()
                    .iter()
                    .map(|l| page(l.offset, l.compressed_page_size, l.first_row_index))
                    .collect();
                let data = data.ok_or("a negative offset in the page index")?;
                let first = data.first().ok_or("a column without pages")?.offset;
                let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
                let start = u64::try_from(start).map_err(|_| "a negative column offset")?;
                let dictionary = match first.checked_sub(start) {
                    None => return Err("a page before its column".to_string()),
                    Some(0) => None,
                    Some(bytes) => {
                        let bytes = u32::try_from(bytes).map_err(|_| "a dictionary too large")?;
                        Some(Page { offset: start, bytes, first_row: 0, hash: 0 })
                    }
                };
                chunks.push(ChunkPages { dictionary, data });
            }
            groups.push(chunks);
        }
        Ok(PageTable { groups })
    }

    /// All pages in the order of the table.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Page> {
        self.groups.iter().flatten().flat_map(|c| c.dictionary.iter().chain(&c.data))
    }

    /// The hashes of all pages of `object`, in the order of the table. `None` where a page is
    /// outside.
    pub(crate) fn hashes(&self, object: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for page in self.iter() {
            let range = page.range();
            let bytes = object.get(usize::try_from(range.start).ok()?..range.end as usize)?;
            out.extend(hash_page(bytes).to_le_bytes());
        }
        Some(out)
    }

    /// Takes the hashes that [`PageTable::hashes`] wrote; false where their number is wrong.
    pub(crate) fn set_hashes(&mut self, hashes: &[u8]) -> bool {
        let mut hashes = hashes.chunks(HASH_BYTES);
        let pages = self.groups.iter_mut().flatten();
        for page in pages.flat_map(|c| c.dictionary.iter_mut().chain(&mut c.data)) {
            match hashes.next().and_then(|h| <[u8; HASH_BYTES]>::try_from(h).ok()) {
                Some(hash) => page.hash = u64::from_le_bytes(hash),
                None => return false,
            }
        }
        hashes.next().is_none()
    }

    /// Whether the pages tile `range` without gap or overlap, and each column's rows begin at 0 and
    /// rise.
    pub(crate) fn tiles(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for page in self.iter() {
            if page.offset != at || page.bytes == 0 {
                return false;
            }
            at = page.range().end;
        }
        let rows_rise = self.groups.iter().flatten().all(|chunk| {
            chunk.data.first().is_none_or(|p| p.first_row == 0)
                && chunk.data.windows(2).all(|p| p[0].first_row < p[1].first_row)
        });
        at == range.end && rows_rise
    }

    /// The pages of one column of one row group.
    pub(crate) fn chunk(&self, group: usize, leaf: usize) -> &ChunkPages {
        &self.groups[group][leaf]
    }

    /// The pages of column `leaf` of row group `group` that hold any of `rows` (sorted, within the
    /// group), and the dictionary they need.
    pub(crate) fn select(&self, group: usize, leaf: usize, rows: &[Range<u64>]) -> Vec<Page> {
        let chunk = self.chunk(group, leaf);
        let mut pages = Vec::new();
        let mut rows = rows.iter().peekable();
        for (at, page) in chunk.data.iter().enumerate() {
            let end = chunk.data.get(at + 1).map_or(u64::MAX, |next| next.first_row);
            while rows.next_if(|r| r.end <= page.first_row).is_some() {}
            if rows.peek().is_some_and(|r| r.start < end) {
                pages.push(*page);
            }
        }
        if !pages.is_empty() {
            pages.extend(chunk.dictionary);
        }
        pages
    }

    /// Memory of the table, bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let chunks: usize = self.groups.iter().map(Vec::len).sum();
        chunks * size_of::<ChunkPages>() + self.iter().count() * size_of::<Page>()
    }
}

fn page(offset: i64, bytes: i32, first_row: i64) -> Option<Page> {
    Some(Page {
        offset: u64::try_from(offset).ok()?,
        bytes: u32::try_from(bytes).ok()?,
        first_row: u64::try_from(first_row).ok()?,
        hash: 0,
    })
}

/// Pages whose hashes have been compared: the only bytes of an object that the Parquet library can
/// read.
#[derive(Clone, Debug)]
pub(crate) struct VerifiedPages {
    object_bytes: u64,
    pages: Arc<BTreeMap<u64, Bytes>>,
}

impl VerifiedPages {
    /// Cuts `pages` out of `parts`, which are the bytes of `ranges` (sorted, disjoint), and
    /// compares their hashes.
    pub(crate) fn verify(
        block: BlockId,
        object_bytes: u64,
        pages: &[Page],
        ranges: &[Range<u64>],
        parts: &[Bytes],
    ) -> Result<VerifiedPages, BlockError> {
        let corrupt = |offset: u64, bytes: u64, what: &str| BlockError::Corrupt {
            block,
            offset,
            bytes,
            what: what.to_string(),
        };
        if ranges.len() != parts.len() {
            let what = "another number of ranges was read than asked for";
            return Err(corrupt(0, object_bytes, what));
        }
        for (range, part) in ranges.iter().zip(parts) {
            let bytes = range.end.saturating_sub(range.start);
            if part.len() as u64 != bytes {
                return Err(corrupt(range.start, bytes, "the range was cut short"));
            }
        }
        let mut verified = BTreeMap::new();
        for page in pages {
            let range = page.range();
            let part = ranges.partition_point(|r| r.start <= range.start).checked_sub(1);
            let Some(part) = part.filter(|part| range.end <= ranges[*part].end) else {
                return Err(corrupt(range.start, u64::from(page.bytes), "the page was not read"));
            };
            let at = (range.start - ranges[part].start) as usize;
            let bytes = parts[part].slice(at..at + page.bytes as usize);
            if hash_page(&bytes) != page.hash {
                let what = "the hash of a page differs";
                return Err(corrupt(range.start, u64::from(page.bytes), what));
            }
            verified.insert(page.offset, bytes);
        }
        Ok(VerifiedPages { object_bytes, pages: Arc::new(verified) })
    }
}

impl Length for VerifiedPages {
    fn len(&self) -> u64 {
        self.object_bytes
    }
}

impl ChunkReader for VerifiedPages {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let bytes = self.pages.get(&start).cloned();
        bytes.map(Bytes::reader).ok_or_else(|| not_verified(start, 0))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        match self.pages.get(&start) {
            Some(page) if page.len() == length => Ok(page.clone()),
            _ => Err(not_verified(start, length)),
        }
    }
}

fn not_verified(start: u64, length: usize) -> ParquetError {
    ParquetError::General(format!("range is not a verified page: start={start} bytes={length}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> PageTable {
        let page = |offset, first_row| Page { offset, bytes: 10, first_row, hash: 0 };
        let data = vec![page(14, 0), page(24, 100), page(34, 200)];
        PageTable { groups: vec![vec![ChunkPages { dictionary: Some(page(4, 0)), data }]] }
    }

    #[test]
    fn rows_select_their_pages_and_the_dictionary() {
        let offsets = |positions: &[u64]| -> Vec<u64> {
            let rows = crate::group::runs(positions.iter().copied());
            table().select(0, 0, &rows).iter().map(|p| p.offset).collect()
        };
        assert_eq!(offsets(&[0]), [14, 4]);
        assert_eq!(offsets(&[99, 100]), [14, 24, 4]);
        assert_eq!(offsets(&[0, 5, 210]), [14, 34, 4]);
        assert_eq!(offsets(&[]), Vec::<u64>::new());
    }

    #[test]
    fn tiling_finds_gaps() {
        assert!(table().tiles(4..44));
        assert!(!table().tiles(3..44));
        assert!(!table().tiles(4..45));
    }

    #[test]
    fn a_changed_byte_is_refused_and_only_whole_pages_are_readable() {
        let mut table = table();
        let object = Bytes::from((0..44u8).collect::<Vec<u8>>());
        let hashes = table.hashes(&object).expect("pages are inside");
        assert!(table.set_hashes(&hashes));
        assert!(!table.set_hashes(&hashes[8..]));
        assert!(table.set_hashes(&hashes));
        let pages = table.select(0, 0, std::slice::from_ref(&(0..1)));
        let verify = |part: Bytes| {
            VerifiedPages::verify(BlockId(1), 44, &pages, std::slice::from_ref(&(4..24)), &[part])
        };
        let good = verify(object.slice(4..24)).expect("bytes are as written");
        assert!(good.get_bytes(14, 10).is_ok());
        assert!(good.get_bytes(14, 9).is_err() && good.get_bytes(24, 10).is_err());
        let mut bad = object.slice(4..24).to_vec();
        bad[19] ^= 1;
        let error = verify(bad.into()).expect_err("one bit differs").to_string();
        assert!(error.contains("offset=14 bytes=10"), "{error}");
        assert!(verify(object.slice(4..23)).is_err());
    }
}
