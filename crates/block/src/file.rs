//! From rows to a file: which labels get columns, where row groups end, how columns are encoded.
//!
//! A series' rows are never split between row groups, so that a reader can take row groups one by
//! one.

use bytes::Bytes;
use pando_model::{BlockId, BlockRecord};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::ColumnPath;

use crate::batch::{BatchBuilder, PendingRow};
use crate::envelope;
use crate::error::{BlockError, arrow_error, parquet_error};
use crate::schema::{Fixed, LABEL_PREFIX, schema};
use crate::symbols::{Symbol, Symbols};
use crate::writer::BlockOptions;

/// Rows that are turned into Arrow arrays at once.
const BATCH_ROWS: usize = 1_024;
/// A dictionary is given up for plain values at this size. Larger than the library's 1 MiB: a label
/// such as a pod's name has as many values as there are series in a row group, and matchers are
/// fastest on them.
const DICTIONARY_BYTES_MAX: usize = 4 << 20;
/// Encoded floats are left as they are where zstd would take less than this part of them away: pages are then read
/// where they lie, and not copied to be decompressed.
const VALUES_GAIN_MIN: f64 = 0.04;
/// How much of them is compressed to find out, in so many places of the block.
const TRIED_BYTES: usize = 64 << 10;
const TRIED_PLACES: usize = 4;
/// Statistics keep this much of a text.
const STATISTICS_BYTES_MAX: usize = 64;
/// The name of the schema in the file.
const SCHEMA_ROOT: &str = "block";
/// Who wrote the file, in its footer. Without a version: equal samples give equal bytes.
const CREATED_BY: &str = "pando";

/// Writes `rows` and seals the file.
pub(crate) fn write_file(
    options: &BlockOptions,
    record: BlockRecord,
    symbols: &Symbols,
    pairs: &[(Symbol, Symbol)],
    rows: &[PendingRow],
) -> Result<(Bytes, BlockRecord), BlockError> {
    let block = options.id;
    let names = label_columns(options, symbols, pairs, rows);
    let mut column_of = vec![None; symbols.len()];
    for (column, name) in names.iter().enumerate() {
        column_of[*name as usize] = Some(column);
    }
    let texts: Vec<&str> = names.iter().map(|n| symbols.text(*n)).collect();
    let schema = schema(texts.iter().copied(), false);
    let builder = BatchBuilder { symbols, pairs, column_of, label_columns: names.len(), schema };
    let properties = properties(options, &texts, rows)?;
    let writer_options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true)
        .with_schema_root(SCHEMA_ROOT.to_string());
    let mut writer =
        ArrowWriter::try_new_with_options(Vec::new(), builder.schema.clone(), writer_options)
            .map_err(parquet_error(block))?;
    for group in row_groups(options, rows) {
        for batch in group.chunks(BATCH_ROWS) {
            let batch = builder.build(batch).map_err(arrow_error(block))?;
            writer.write(&batch).map_err(parquet_error(block))?;
        }
        writer.flush().map_err(parquet_error(block))?;
    }
    let footer_offset = writer.bytes_written();
    let no_hash_yet = [0; envelope::HASH_BYTES];
    writer.write_all(&no_hash_yet).map_err(|e| io_error(block, &e))?;
    let metadata = writer.finish().map_err(parquet_error(block))?;
    let file = std::mem::take(writer.inner_mut());
    envelope::seal(file, &metadata, footer_offset, record)
}

fn io_error(block: BlockId, e: &std::io::Error) -> BlockError {
    BlockError::Parquet { block, what: e.to_string() }
}

/// The names of the labels that get columns, sorted by text: those that enough rows have, the most
/// frequent ones where there are too many.
fn label_columns(
    options: &BlockOptions,
    symbols: &Symbols,
    pairs: &[(Symbol, Symbol)],
    rows: &[PendingRow],
) -> Vec<Symbol> {
    let mut rows_with = vec![0u64; symbols.len()];
    for row in rows {
        for (name, _) in &pairs[row.labels.clone()] {
            rows_with[*name as usize] += 1;
        }
    }
    let enough = |name: &Symbol| rows_with[*name as usize] >= options.label_column_rows_min.max(1);
    let mut names: Vec<Symbol> = (0..symbols.len() as Symbol).filter(enough).collect();
    names.sort_by_key(|n| (std::cmp::Reverse(rows_with[*n as usize]), symbols.text(*n)));
    names.truncate(options.label_columns_max);
    names.sort_by_key(|n| symbols.text(*n));
    names
}

/// Cuts `rows` into row groups, between series.
fn row_groups<'a>(options: &BlockOptions, rows: &'a [PendingRow]) -> Vec<&'a [PendingRow]> {
    let mut groups = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, row) in rows.iter().enumerate() {
        let full = at - start >= options.row_group_rows || bytes >= options.row_group_bytes;
        let same_series = at > 0 && rows[at - 1].same_series(row);
        if at > start && full && !same_series {
            groups.push(&rows[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += row.payload_bytes();
    }
    if start < rows.len() {
        groups.push(&rows[start..]);
    }
    groups
}

/// Whether zstd makes the encoded floats of `rows` so much smaller that it is worth its time.
fn compresses_values(options: &BlockOptions, rows: &[PendingRow]) -> Result<bool, BlockError> {
    let (mut plain, mut compressed) = (0, 0);
    for place in 0..TRIED_PLACES {
        let (mut tried, from) = (Vec::new(), rows.len() * place / TRIED_PLACES);
        for row in &rows[from..] {
            tried.extend_from_slice(&row.chunk.floats);
            if tried.len() >= TRIED_BYTES {
                break;
            }
        }
        let bytes = zstd::bulk::compress(&tried, options.zstd_level);
        let bytes = bytes.map_err(|e| io_error(options.id, &e))?;
        (plain, compressed) = (plain + tried.len(), compressed + bytes.len());
    }
    // Of a small block there is little to win either way.
    let small = plain < TRIED_BYTES;
    Ok(small || (compressed as f64) <= (1.0 - VALUES_GAIN_MIN) * plain as f64)
}

fn properties(
    options: &BlockOptions,
    labels: &[&str],
    rows: &[PendingRow],
) -> Result<WriterProperties, BlockError> {
    let level = ZstdLevel::try_new(options.zstd_level).map_err(parquet_error(options.id))?;
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(CREATED_BY.to_string())
        .set_compression(Compression::ZSTD(level))
        .set_data_page_size_limit(options.page_bytes)
        .set_data_page_row_count_limit(options.page_rows_max)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_max_row_group_row_count(None)
        .set_statistics_truncate_length(Some(STATISTICS_BYTES_MAX))
        .set_column_index_truncate_length(Some(STATISTICS_BYTES_MAX))
        .set_statistics_enabled(EnabledStatistics::None);
    for column in [Fixed::Tenant, Fixed::Key, Fixed::Slice, Fixed::MinTime, Fixed::MaxTime] {
        builder =
            builder.set_column_statistics_enabled(path(column.name()), EnabledStatistics::Page);
    }
    for label in labels {
        let statistics = if *label == pando_model::METRIC_NAME {
            EnabledStatistics::Page
        } else {
            EnabledStatistics::Chunk
        };
        let column = path(&format!("{LABEL_PREFIX}{label}"));
        builder = builder.set_column_statistics_enabled(column, statistics);
    }
    builder = plain(builder, Fixed::Key, Encoding::PLAIN);
    for column in [Fixed::Min, Fixed::Max, Fixed::First, Fixed::Last] {
        builder = plain(builder, column, Encoding::PLAIN);
    }
    for column in [Fixed::Values, Fixed::Histogram, Fixed::Exemplars] {
        builder = plain(builder, column, Encoding::DELTA_LENGTH_BYTE_ARRAY);
    }
    if !compresses_values(options, rows)? {
        let values = path(Fixed::Values.name());
        builder = builder.set_column_compression(values, Compression::UNCOMPRESSED);
    }
    Ok(builder.build())
}

/// A column whose values seldom repeat: no dictionary.
fn plain(
    builder: WriterPropertiesBuilder,
    column: Fixed,
    encoding: Encoding,
) -> WriterPropertiesBuilder {
    builder
        .set_column_dictionary_enabled(path(column.name()), false)
        .set_column_encoding(path(column.name()), encoding)
}

/// The path of a column at the root. Built from one part, since label names may hold dots.
fn path(name: &str) -> ColumnPath {
    ColumnPath::new(vec![name.to_string()])
}
