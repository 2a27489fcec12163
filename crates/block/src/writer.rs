//! `BlockWriter`: takes series in order, builds the Parquet file and its record.
//!
//! Which labels get columns is known only at the end, so that rows wait, encoded, until
//! [`BlockWriter::finish`]. Memory is the encoded samples, each distinct text once, 8 bytes a label
//! pair and some 300 bytes a row, and at the end the file as well. The writer knows no clock:
//! whoever builds says when.

use std::ops::Range;

use bytes::Bytes;
use pando_codec::floats::FloatStats;
use pando_codec::series_chunk::{Chunk, check_limits};
use pando_model::digest::series_hash;
use pando_model::{
    BlockId, BlockRecord, BlockSource, Digest, Exemplar, KeyRange, Metadata, SeriesSamples,
    TenantId, TenantSpan, TimeRange,
};

use crate::FORMAT;
use crate::axes::EncodedAxes;
use crate::batch::{MetadataSymbols, PendingRow};
use crate::error::BlockError;
use crate::file::write_file;
use crate::order::SeriesPlace;
use crate::series::{cut, slice_of, slices};
use crate::symbols::{Symbol, Symbols};

/// What a block is to be, and how it is laid out.
#[derive(Clone, Debug)]
pub struct BlockOptions {
    /// The block.
    pub id: BlockId,
    /// What it is made from.
    pub source: BlockSource,
    /// 0: cut from a generation; n + 1: compacted from blocks of level n and below.
    pub level: u32,
    /// 0: raw samples; else the length of a rollup's buckets, ms.
    pub resolution_ms: i64,
    /// When it is built, ms since the epoch.
    pub created_ms: i64,
    /// Length of a row's time slice, ms, aligned to the epoch. 0: a row is what is pushed at once.
    pub slice_ms: i64,
    /// zstd level of pages, 1..=22.
    pub zstd_level: i32,
    /// A page is closed at this many bytes before compression.
    pub page_bytes: usize,
    /// A page is closed at this many rows, so that a small metric is not read with many others.
    pub page_rows_max: usize,
    /// A row group is closed at this many bytes of encoded samples.
    pub row_group_bytes: usize,
    /// A row group is closed at this many rows.
    pub row_group_rows: usize,
    /// At most this many labels get columns of their own.
    pub label_columns_max: usize,
    /// A label gets a column if at least this many rows have it: below that, a column's pages and
    /// its place in the footer cost more than the map does.
    pub label_column_rows_min: u64,
    /// Limit of what waits in memory, bytes.
    pub pending_bytes_max: usize,
}

impl BlockOptions {
    /// The usual layout of block `id`.
    pub fn new(id: BlockId, source: BlockSource, created_ms: i64) -> Self {
        BlockOptions {
            id,
            source,
            level: 0,
            resolution_ms: 0,
            created_ms,
            slice_ms: 2 * 3600 * 1000,
            zstd_level: 3,
            page_bytes: 128 << 10,
            page_rows_max: 8_192,
            row_group_bytes: 16 << 20,
            row_group_rows: 32_768,
            label_columns_max: 256,
            label_column_rows_min: 256,
            pending_bytes_max: 4 << 30,
        }
    }
}

/// A finished block.
#[derive(Clone, Debug)]
pub struct BuiltBlock {
    /// The object.
    pub bytes: Bytes,
    /// Its record, sizes included.
    pub record: BlockRecord,
}

/// Builds one block.
pub struct BlockWriter {
    options: BlockOptions,
    symbols: Symbols,
    /// Label pairs of all series, one run a series.
    pairs: Vec<(Symbol, Symbol)>,
    rows: Vec<PendingRow>,
    axes: EncodedAxes,
    pending_bytes: usize,
    last: Option<SeriesPlace>,
    tenants: Vec<TenantSpan>,
    digest: Digest,
}

impl BlockWriter {
    /// An empty block.
    pub fn new(options: BlockOptions) -> Self {
        BlockWriter {
            options,
            symbols: Symbols::default(),
            pairs: Vec::new(),
            rows: Vec::new(),
            axes: EncodedAxes::default(),
            pending_bytes: 0,
            last: None,
            tenants: Vec::new(),
            digest: Digest::default(),
        }
    }

    /// Adds samples of a series. Calls are ordered by (tenant, metric name, key, labels); a series
    /// may be pushed in several calls whose samples follow each other in time. Samples are split
    /// into slices; exemplars go with the slice they lie in, or the nearest. A series without
    /// samples makes no row. What is refused changes nothing.
    pub fn push(
        &mut self,
        tenant: &TenantId,
        series: SeriesSamples,
        metadata: Option<&Metadata>,
    ) -> Result<(), BlockError> {
        let (Some(first), Some(last)) = (series.axis.first(), series.axis.last()) else {
            return Ok(());
        };
        let time = TimeRange { min_ms: *first, max_ms: last.saturating_add(1) };
        let place =
            SeriesPlace { tenant: tenant.clone(), key: series.key, labels: series.labels.clone() };
        let new = self.check_order(&place, time.min_ms)?;
        self.check_memory()?;
        let mut parts = Vec::new();
        for part in slices(&series.axis, self.options.slice_ms) {
            self.fit(&series, part, &mut parts)?;
        }
        let labels = self.label_pairs(&series, new);
        let metadata = metadata.map(|m| MetadataSymbols {
            metric_type: self.symbols.intern(m.metric_type.as_str()),
            unit: self.symbols.intern(&m.unit),
            help: self.symbols.intern(&m.help),
        });
        self.digest.merge(digest_of(tenant, &series));
        self.add_span(tenant, &series, time, new, parts.len() as u64);
        let tenant = self.symbols.intern(tenant.as_str());
        for (at, row) in parts {
            let axis = self.axes.encode(&series.axis, at);
            self.add_row(tenant, &row, axis, labels.clone(), metadata);
        }
        self.last = Some(place);
        Ok(())
    }

    /// The number of rows so far.
    pub fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Approximate memory of what waits, bytes.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
            + self.symbols.memory_bytes()
            + self.pairs.len() * size_of::<(Symbol, Symbol)>()
            + self.rows.len() * size_of::<PendingRow>()
    }

    /// Writes the file.
    pub fn finish(self) -> Result<BuiltBlock, BlockError> {
        let time = self.tenants.iter().map(|t| t.time).reduce(TimeRange::union);
        let options = &self.options;
        let record = BlockRecord {
            id: options.id,
            format: FORMAT,
            level: options.level,
            resolution_ms: options.resolution_ms,
            source: options.source.clone(),
            tenants: self.tenants,
            time: time.unwrap_or(TimeRange { min_ms: 0, max_ms: 0 }),
            digest: self.digest,
            object_bytes: 0,
            footer_offset: 0,
            created_ms: options.created_ms,
        };
        let (bytes, record) = write_file(options, record, &self.symbols, &self.pairs, &self.rows)?;
        Ok(BuiltBlock { bytes, record })
    }

    fn limit(&self, limit: &'static str, found: u64, max: u64) -> BlockError {
        BlockError::Limit { block: self.options.id, limit, found, max }
    }

    fn check_memory(&self) -> Result<(), BlockError> {
        let (found, max) = (self.pending_bytes(), self.options.pending_bytes_max);
        if found > max {
            return Err(self.limit("pending_bytes_max", found as u64, max as u64));
        }
        Ok(())
    }

    /// Whether `place` is a new series; an error where it does not follow the last row.
    fn check_order(&self, place: &SeriesPlace, min_time_ms: i64) -> Result<bool, BlockError> {
        let (Some(last), Some(row)) = (&self.last, self.rows.last()) else {
            return Ok(true);
        };
        let what = match place.cmp(last) {
            std::cmp::Ordering::Greater => return Ok(true),
            std::cmp::Ordering::Less => "series before the last one",
            std::cmp::Ordering::Equal if min_time_ms <= row.max_time_ms => {
                "samples not after the last ones"
            }
            std::cmp::Ordering::Equal => return Ok(false),
        };
        Err(BlockError::Order {
            block: self.options.id,
            row: self.rows(),
            series: format!("{}{}", place.tenant, place.labels),
            what,
        })
    }

    fn slice_ms(&self, t_ms: i64) -> i64 {
        if self.options.slice_ms > 0 { slice_of(t_ms, self.options.slice_ms) } else { t_ms }
    }

    fn label_pairs(&mut self, series: &SeriesSamples, new: bool) -> Range<usize> {
        match self.rows.last() {
            Some(row) if !new => row.labels.clone(),
            _ => {
                let start = self.pairs.len();
                self.symbols.intern_labels(&series.labels, &mut self.pairs);
                start..self.pairs.len()
            }
        }
    }

    /// The rows of the samples at `at`, which lie in one slice: one, or more where the codec's
    /// limits ask for it.
    fn fit(
        &self,
        series: &SeriesSamples,
        at: Range<usize>,
        rows: &mut Vec<(Range<usize>, SeriesSamples)>,
    ) -> Result<(), BlockError> {
        let mut row = cut(series, at.clone());
        let begins = series.axis.get(at.start).filter(|_| at.start > 0);
        let ends = series.axis.get(at.end);
        let here = |e: &&Exemplar| {
            begins.is_none_or(|t| *t <= e.timestamp_ms) && ends.is_none_or(|t| e.timestamp_ms < *t)
        };
        row.exemplars = series.exemplars.iter().filter(here).cloned().collect();
        match check_limits(&row) {
            Ok(()) => {
                rows.push((at, row));
                Ok(())
            }
            Err(_) if at.len() > 1 => {
                let middle = at.start + at.len() / 2;
                self.fit(series, at.start..middle, rows)?;
                self.fit(series, middle..at.end, rows)
            }
            Err(source) => Err(BlockError::Value {
                block: self.options.id,
                series: series.labels.to_string(),
                column: "samples",
                source,
            }),
        }
    }

    fn add_span(
        &mut self,
        tenant: &TenantId,
        series: &SeriesSamples,
        time: TimeRange,
        new: bool,
        rows: u64,
    ) {
        let key = series.key;
        let samples = series.len() as u64;
        match self.tenants.last_mut().filter(|span| span.tenant == *tenant) {
            Some(span) => {
                span.keys.first = span.keys.first.min(key);
                span.keys.last = span.keys.last.max(key);
                span.time = span.time.union(time);
                span.rows += rows;
                span.series += u64::from(new);
                span.samples += samples;
            }
            None => self.tenants.push(TenantSpan {
                tenant: tenant.clone(),
                keys: KeyRange { first: key, last: key },
                time,
                first_row: self.rows.len() as u64,
                rows,
                series: 1,
                samples,
            }),
        }
    }

    fn add_row(
        &mut self,
        tenant: Symbol,
        row: &SeriesSamples,
        axis: Bytes,
        labels: Range<usize>,
        metadata: Option<MetadataSymbols>,
    ) {
        let (Some(&min_time_ms), Some(&max_time_ms)) = (row.axis.first(), row.axis.last()) else {
            return;
        };
        let pending = PendingRow {
            tenant,
            key: row.key,
            slice_ms: self.slice_ms(min_time_ms),
            count: row.len() as u32,
            min_time_ms,
            max_time_ms,
            labels,
            stats: float_stats(row),
            chunk: Chunk::encode_with_axis(row, axis),
            metadata,
        };
        self.pending_bytes += pending.payload_bytes();
        self.rows.push(pending);
    }
}

/// Number and multiset hash of the samples of one series.
pub(crate) fn digest_of(tenant: &TenantId, series: &SeriesSamples) -> Digest {
    let mut digest = Digest::default();
    let hash = series_hash(tenant, &series.labels);
    if series.histograms.is_empty() {
        for (t, v) in series.axis.iter().zip(&series.floats) {
            digest.add_float(hash, *t, *v);
        }
    } else {
        for (at, t) in series.axis.iter().enumerate() {
            digest.add(hash, *t, &series.value(at));
        }
    }
    digest
}

/// What the row header says of the float samples; `None` where there are none.
pub(crate) fn float_stats(row: &SeriesSamples) -> Option<FloatStats> {
    if row.histograms.is_empty() {
        return Some(FloatStats::of(&row.floats));
    }
    let mut histograms = row.histograms.iter().map(|(at, _)| *at as usize).peekable();
    let floats: Vec<f64> = row
        .floats
        .iter()
        .enumerate()
        .filter(|(at, _)| histograms.next_if_eq(at).is_none())
        .map(|(_, v)| *v)
        .collect();
    (!floats.is_empty()).then(|| FloatStats::of(&floats))
}
