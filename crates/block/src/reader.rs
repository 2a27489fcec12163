//! `BlockReader`: an opened block. It holds the footer and nothing else; bytes are fetched by the
//! caller.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pando_model::{BlockId, BlockRecord, KeyRange, Matcher, TenantId, TimeRange};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use crate::FORMAT;
use crate::envelope::{self, FooterAt, locate_footer};
use crate::error::{BlockError, contain, parquet_error};
use crate::io::RangeReader;
use crate::pages::PageTable;
use crate::rows::BlockRows;
use crate::scan::SeriesScan;
use crate::schema::{Columns, schema};
use crate::select::ScanPlan;

/// How much of an object's end is read at first by who does not know its footer's place.
const TAIL_BYTES: u64 = 64 << 10;

/// What an opened block knows.
pub(crate) struct Opened {
    pub(crate) record: BlockRecord,
    pub(crate) arrow: ArrowReaderMetadata,
    pub(crate) columns: Columns,
    pub(crate) pages: PageTable,
    /// The first row of each row group, and at the end the number of rows.
    pub(crate) group_starts: Vec<u64>,
}

impl Opened {
    /// The number of row groups.
    pub(crate) fn groups(&self) -> usize {
        self.group_starts.len() - 1
    }

    /// The number of rows of row group `group`.
    pub(crate) fn group_rows(&self, group: usize) -> u64 {
        self.group_starts[group + 1] - self.group_starts[group]
    }

    /// An error about bytes of this block.
    pub(crate) fn corrupt(&self, range: Range<u64>, what: &str) -> BlockError {
        BlockError::Corrupt {
            block: self.record.id,
            offset: range.start,
            bytes: range.end.saturating_sub(range.start),
            what: what.to_string(),
        }
    }
}

/// An opened block. Cloning shares it.
#[derive(Clone)]
pub struct BlockReader {
    pub(crate) opened: Arc<Opened>,
}

impl std::fmt::Debug for BlockReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockReader({})", self.opened.record.id)
    }
}

impl BlockReader {
    /// The range that opens the block of `record`.
    pub fn footer_range(record: &BlockRecord) -> Range<u64> {
        record.footer_offset..record.object_bytes
    }

    /// Opens the block of `record` with `footer`, the bytes of [`BlockReader::footer_range`].
    pub fn open(record: &BlockRecord, footer: &Bytes) -> Result<BlockReader, BlockError> {
        let block = record.id;
        if record.format != FORMAT {
            return Err(BlockError::Unsupported { block, found: record.format, known: FORMAT });
        }
        let range = Self::footer_range(record);
        let corrupt = |what: &str| BlockError::Corrupt {
            block,
            offset: range.start,
            bytes: footer.len() as u64,
            what: what.to_string(),
        };
        if range.end.checked_sub(range.start) != Some(footer.len() as u64) {
            return Err(corrupt("the footer was cut short"));
        }
        let reader = Self::open_unknown(block, record.footer_offset, footer)?;
        if reader.opened.record != *record {
            return Err(corrupt("the footer's record is not the catalog's"));
        }
        Ok(reader)
    }

    /// Opens `block` without its record: `footer` are the bytes from `footer_offset` to the
    /// object's end ([`locate_footer`] finds it). The record comes from the footer.
    pub fn open_unknown(
        block: BlockId,
        footer_offset: u64,
        footer: &Bytes,
    ) -> Result<BlockReader, BlockError> {
        let envelope::Footer { metadata, pages, record } =
            envelope::open(block, footer_offset, footer)?;
        let corrupt = |what: &str| BlockError::Corrupt {
            block,
            offset: footer_offset,
            bytes: footer.len() as u64,
            what: what.to_string(),
        };
        if record.id != block {
            return Err(corrupt("the record in the footer is another block's"));
        }
        let columns = Columns::of(metadata.file_metadata().schema_descr());
        let columns = columns.ok_or_else(|| corrupt("the columns are not a block's"))?;
        let mut group_starts = vec![0u64];
        for group in metadata.row_groups() {
            let rows = u64::try_from(group.num_rows()).ok().filter(|rows| *rows > 0);
            let end = rows.and_then(|rows| group_starts.last()?.checked_add(rows));
            group_starts.push(end.ok_or_else(|| corrupt("a row group without rows"))?);
        }
        let rows = group_starts.last().copied().unwrap_or_default();
        if !spans_tile(&record, rows) {
            return Err(corrupt("the tenants' rows do not tile the block"));
        }
        let arrow = contain(block, || {
            let schema = schema(columns.labels().iter().map(String::as_str), true);
            let options = ArrowReaderOptions::new().with_schema(schema);
            ArrowReaderMetadata::try_new(metadata, options).map_err(parquet_error(block))
        })?;
        let opened = Opened { record, arrow, columns, pages, group_starts };
        Ok(BlockReader { opened: Arc::new(opened) })
    }

    /// Fetches the footer of `record`'s block and opens it.
    pub async fn fetch(
        record: &BlockRecord,
        io: &dyn RangeReader,
    ) -> Result<BlockReader, BlockError> {
        let range = Self::footer_range(record);
        let no_bytes = || no_bytes(record.id, &range);
        fetch_verified(record.id, io, vec![range.clone()], |parts| {
            Self::open(record, parts.first().ok_or_else(no_bytes)?)
        })
        .await
    }

    /// Opens an object of which nothing but its name and size is known.
    pub async fn recover(
        block: BlockId,
        object_bytes: u64,
        io: &dyn RangeReader,
    ) -> Result<BlockReader, BlockError> {
        let (offset, footer) = find_footer(block, object_bytes, io).await?;
        Self::open_unknown(block, offset, &footer)
    }

    /// Opens an object of which nothing but its size is known: a copy under another name, say. Errors that come
    /// before the footer has told the block's id name block 0.
    pub async fn recover_unnamed(
        object_bytes: u64,
        io: &dyn RangeReader,
    ) -> Result<BlockReader, BlockError> {
        let (offset, footer) = find_footer(BlockId(0), object_bytes, io).await?;
        let block = envelope::open(BlockId(0), offset, &footer)?.record.id;
        Self::open_unknown(block, offset, &footer)
    }

    /// The block's record, sizes included.
    pub fn record(&self) -> &BlockRecord {
        &self.opened.record
    }

    /// The labels that have columns of their own, sorted. They may be of any tenant: answer no
    /// tenant with them.
    pub fn label_columns(&self) -> &[String] {
        self.opened.columns.labels()
    }

    /// Memory that the opened block holds, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.opened.arrow.metadata().memory_size() + self.opened.pages.memory_bytes()
    }

    /// Plans a scan of the series of `tenant` with keys in `keys` that pass `matchers` and have
    /// samples in `time`. Looks at nothing but the footer.
    pub fn plan_scan(
        &self,
        tenant: &TenantId,
        keys: KeyRange,
        matchers: &[Matcher],
        time: TimeRange,
    ) -> ScanPlan {
        ScanPlan::new(self.opened.clone(), tenant.clone(), keys, matchers.to_vec(), time)
    }

    /// Plans and selects, and returns the series in batches of about `samples_max` samples.
    pub async fn scan(
        &self,
        io: Arc<dyn RangeReader>,
        tenant: &TenantId,
        keys: KeyRange,
        matchers: &[Matcher],
        time: TimeRange,
        samples_max: usize,
    ) -> Result<SeriesScan, BlockError> {
        let plan = self.plan_scan(tenant, keys, matchers, time);
        let selection = plan.fetch_and_select(io.as_ref()).await?;
        Ok(SeriesScan::new(selection, io, samples_max))
    }

    /// All series of all tenants, in order: for compaction.
    pub fn rows(&self, io: Arc<dyn RangeReader>) -> BlockRows {
        BlockRows::new(self.opened.clone(), io)
    }
}

/// Whether the tenants' spans follow each other and cover all `rows`.
fn spans_tile(record: &BlockRecord, rows: u64) -> bool {
    let mut at = 0u64;
    for span in &record.tenants {
        match at.checked_add(span.rows) {
            Some(end) if span.first_row == at && span.rows > 0 => at = end,
            _ => return false,
        }
    }
    at == rows
}

/// Fetches `ranges` of `block`.
pub(crate) async fn fetch(
    block: BlockId,
    io: &dyn RangeReader,
    ranges: Vec<Range<u64>>,
) -> Result<Vec<Bytes>, BlockError> {
    if ranges.is_empty() {
        return Ok(Vec::new());
    }
    io.read(ranges).await.map_err(|source| BlockError::Read { block, source })
}

/// Fetches `ranges` of `block` and hands them to `decode`, which verifies them first. Where it finds
/// them damaged they are fetched once more, past all copies: a bad copy hides no good object.
pub(crate) async fn fetch_verified<T>(
    block: BlockId,
    io: &dyn RangeReader,
    ranges: Vec<Range<u64>>,
    mut decode: impl FnMut(&[Bytes]) -> Result<T, BlockError>,
) -> Result<T, BlockError> {
    let parts = fetch(block, io, ranges.clone()).await?;
    let damaged = match decode(&parts) {
        Err(damaged @ BlockError::Corrupt { .. }) => damaged,
        decoded => return decoded,
    };
    drop(parts);
    if io.distrust().await {
        return decode(&fetch(block, io, ranges).await?);
    }
    Err(damaged)
}

/// The footer of an object, and where it begins.
async fn find_footer(
    block: BlockId,
    object_bytes: u64,
    io: &dyn RangeReader,
) -> Result<(u64, Bytes), BlockError> {
    let mut tail_bytes = TAIL_BYTES.min(object_bytes);
    // The first tail tells how long the second must be; after that the place is known.
    for _ in 0..3 {
        let tail = fetch_one(block, io, object_bytes - tail_bytes..object_bytes).await?;
        match locate_footer(block, object_bytes, &tail)? {
            FooterAt::NeedsTail(bytes) => tail_bytes = bytes.min(object_bytes),
            FooterAt::Offset(offset) => {
                let found = object_bytes - offset;
                let max = envelope::FOOTER_BYTES_MAX;
                if found > max {
                    return Err(BlockError::Limit { block, limit: "footer bytes", found, max });
                }
                return Ok((offset, fetch_one(block, io, offset..object_bytes).await?));
            }
        }
    }
    Err(BlockError::Corrupt {
        block,
        offset: 0,
        bytes: object_bytes,
        what: "the footer is not found".to_string(),
    })
}

async fn fetch_one(
    block: BlockId,
    io: &dyn RangeReader,
    range: Range<u64>,
) -> Result<Bytes, BlockError> {
    let part = fetch(block, io, vec![range.clone()]).await?.into_iter().next();
    part.ok_or_else(|| no_bytes(block, &range))
}

fn no_bytes(block: BlockId, range: &Range<u64>) -> BlockError {
    BlockError::Corrupt {
        block,
        offset: range.start,
        bytes: range.end.saturating_sub(range.start),
        what: "no bytes were read".to_string(),
    }
}
