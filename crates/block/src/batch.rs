//! Rows on their way into the file, and the Arrow batches that they become.
//!
//! It does not know row groups and compression; the writer cuts, the Parquet library compresses.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Float64Builder, Int64Builder, MapBuilder, MapFieldNames, RecordBatch,
    StringBuilder, UInt32Builder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use pando_codec::floats::FloatStats;
use pando_codec::series_chunk::Chunk;
use pando_model::SeriesKey;

use crate::schema::{Fixed, MAP_ENTRY, MAP_KEY, MAP_VALUE};
use crate::symbols::{Symbol, Symbols};

/// Metadata of a row's metric family, as symbols.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetadataSymbols {
    pub(crate) metric_type: Symbol,
    pub(crate) unit: Symbol,
    pub(crate) help: Symbol,
}

/// One row that waits for its block's columns to be known.
pub(crate) struct PendingRow {
    pub(crate) tenant: Symbol,
    pub(crate) key: SeriesKey,
    pub(crate) slice_ms: i64,
    pub(crate) count: u32,
    pub(crate) min_time_ms: i64,
    pub(crate) max_time_ms: i64,
    /// Where the row's labels are in the arena of pairs; rows of one series share them.
    pub(crate) labels: std::ops::Range<usize>,
    /// Of the float samples; `None` where all are histograms.
    pub(crate) stats: Option<FloatStats>,
    pub(crate) chunk: Chunk,
    pub(crate) metadata: Option<MetadataSymbols>,
}

impl PendingRow {
    /// Whether `next`, the row after this one, is of the same series.
    pub(crate) fn same_series(&self, next: &PendingRow) -> bool {
        self.tenant == next.tenant && self.labels == next.labels
    }

    /// Bytes of the encoded samples.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.chunk.encoded_bytes()
    }
}

/// Turns rows into batches of a file whose label columns are known.
pub(crate) struct BatchBuilder<'a> {
    pub(crate) symbols: &'a Symbols,
    pub(crate) pairs: &'a [(Symbol, Symbol)],
    /// By symbol of a label's name: which label column it has.
    pub(crate) column_of: Vec<Option<usize>>,
    pub(crate) label_columns: usize,
    pub(crate) schema: SchemaRef,
}

impl BatchBuilder<'_> {
    /// The batch of `rows`.
    pub(crate) fn build(&self, rows: &[PendingRow]) -> Result<RecordBatch, ArrowError> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        arrays.push(self.texts(rows, |row| Some(row.tenant)));
        let mut keys = UInt64Builder::with_capacity(rows.len());
        rows.iter().for_each(|row| keys.append_value(row.key.0));
        arrays.push(Arc::new(keys.finish()));
        arrays.push(times(rows, |row| row.slice_ms));
        arrays.push(numbers(rows, |row| Some(row.count)));
        arrays.push(times(rows, |row| row.min_time_ms));
        arrays.push(times(rows, |row| row.max_time_ms));
        self.labels(rows, &mut arrays)?;
        for pick in [(|s| s.min) as fn(&FloatStats) -> f64, |s| s.max, |s| s.first, |s| s.last] {
            let mut floats = Float64Builder::with_capacity(rows.len());
            rows.iter().for_each(|row| floats.append_option(row.stats.as_ref().map(pick)));
            arrays.push(Arc::new(floats.finish()));
        }
        // A row has at most 2^20 samples.
        arrays.push(numbers(rows, |row| row.stats.as_ref().map(|s| s.resets as u32)));
        arrays.push(numbers(rows, |row| row.stats.as_ref().map(|s| s.stale as u32)));
        arrays.push(binaries(rows, |row| Some(&row.chunk.axis)));
        arrays.push(binaries(rows, |row| Some(&row.chunk.floats)));
        arrays.push(binaries(rows, |row| row.chunk.histograms.as_ref()));
        arrays.push(binaries(rows, |row| row.chunk.starts.as_ref()));
        arrays.push(binaries(rows, |row| row.chunk.exemplars.as_ref()));
        arrays.push(self.texts(rows, |row| row.metadata.map(|m| m.metric_type)));
        arrays.push(self.texts(rows, |row| row.metadata.map(|m| m.unit)));
        arrays.push(self.texts(rows, |row| row.metadata.map(|m| m.help)));
        debug_assert_eq!(arrays.len(), Fixed::Help.root(self.label_columns) + 1);
        RecordBatch::try_new(self.schema.clone(), arrays)
    }

    fn texts(&self, rows: &[PendingRow], of: impl Fn(&PendingRow) -> Option<Symbol>) -> ArrayRef {
        let mut texts = StringBuilder::new();
        rows.iter().for_each(|row| texts.append_option(of(row).map(|s| self.symbols.text(s))));
        Arc::new(texts.finish())
    }

    /// The label columns and the map of the rest.
    fn labels(&self, rows: &[PendingRow], arrays: &mut Vec<ArrayRef>) -> Result<(), ArrowError> {
        let mut columns: Vec<StringBuilder> =
            (0..self.label_columns).map(|_| StringBuilder::new()).collect();
        let names = MapFieldNames {
            entry: MAP_ENTRY.to_string(),
            key: MAP_KEY.to_string(),
            value: MAP_VALUE.to_string(),
        };
        let mut rest = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
            .with_values_field(Field::new(MAP_VALUE, DataType::Utf8, false));
        let mut row_values: Vec<Option<Symbol>> = vec![None; self.label_columns];
        for row in rows {
            row_values.fill(None);
            for &(name, value) in &self.pairs[row.labels.clone()] {
                match self.column_of.get(name as usize).copied().flatten() {
                    Some(column) => row_values[column] = Some(value),
                    None => {
                        rest.keys().append_value(self.symbols.text(name));
                        rest.values().append_value(self.symbols.text(value));
                    }
                }
            }
            rest.append(true)?;
            for (column, value) in columns.iter_mut().zip(&row_values) {
                column.append_option(value.map(|v| self.symbols.text(v)));
            }
        }
        arrays.extend(columns.into_iter().map(|mut c| Arc::new(c.finish()) as ArrayRef));
        arrays.push(Arc::new(rest.finish()));
        Ok(())
    }
}

fn times(rows: &[PendingRow], of: impl Fn(&PendingRow) -> i64) -> ArrayRef {
    let mut times = Int64Builder::with_capacity(rows.len());
    rows.iter().for_each(|row| times.append_value(of(row)));
    Arc::new(times.finish())
}

fn numbers(rows: &[PendingRow], of: impl Fn(&PendingRow) -> Option<u32>) -> ArrayRef {
    let mut numbers = UInt32Builder::with_capacity(rows.len());
    rows.iter().for_each(|row| numbers.append_option(of(row)));
    Arc::new(numbers.finish())
}

fn binaries<'a>(
    rows: &'a [PendingRow],
    of: impl Fn(&'a PendingRow) -> Option<&'a Bytes>,
) -> ArrayRef {
    let mut binaries = BinaryBuilder::new();
    rows.iter().for_each(|row| binaries.append_option(of(row)));
    Arc::new(binaries.finish())
}
