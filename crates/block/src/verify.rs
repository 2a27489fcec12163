//! Verification: reads a whole block, decodes every sample and compares all with the record.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{Float64Type, Int64Type, UInt32Type};
use pando_model::{BlockRecord, Digest, LabelsPool, SeriesSamples, TenantSpan, TimeRange};

use crate::axes::Axes;
use crate::decode::rows_of;
use crate::envelope::MAGIC;
use crate::error::BlockError;
use crate::group::GroupRead;
use crate::io::RangeReader;
use crate::order::SeriesPlace;
use crate::reader::{BlockReader, Opened, fetch};
use crate::schema::Fixed;
use crate::view::View;
use crate::writer::{digest_of, float_stats};

/// What a block really holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyReport {
    /// Number of rows.
    pub rows: u64,
    /// Number of distinct series, all tenants.
    pub series: u64,
    /// Number and multiset hash of the samples.
    pub digest: Digest,
    /// Number of exemplars.
    pub exemplars: u64,
    /// Number of native histogram samples.
    pub histograms: u64,
}

/// Opens and reads the whole block of `record`: every hash, every value, the order of rows, row
/// headers, the tenants' spans and the digest. An error names the first thing that is wrong.
pub async fn verify_block(
    record: &BlockRecord,
    io: Arc<dyn RangeReader>,
) -> Result<VerifyReport, BlockError> {
    let reader = BlockReader::fetch(record, io.as_ref()).await?;
    verify_opened(&reader, io).await
}

pub(crate) async fn verify_opened(
    reader: &BlockReader,
    io: Arc<dyn RangeReader>,
) -> Result<VerifyReport, BlockError> {
    let block = &reader.opened;
    let magic = 0..MAGIC.len() as u64;
    let head =
        fetch(block.record.id, io.as_ref(), std::iter::once(magic.clone()).collect()).await?;
    if head.first().map(|b| &b[..]) != Some(MAGIC) {
        return Err(block.corrupt(magic, "the object does not begin like a Parquet file"));
    }
    let mut check = Check::new(block);
    for group in 0..block.groups() {
        let read = GroupRead {
            group,
            rows: std::iter::once(0..block.group_rows(group)).collect(),
            roots: block.columns.all_roots().collect(),
        };
        let parts = fetch(block.record.id, io.as_ref(), read.ranges(block)).await?;
        let mut batches = read.decode(block, &parts)?;
        let mut axes = Axes::new(block.record.id, None);
        check.last_of_group();
        while let Some(batch) = batches.next()? {
            check.batch(&View { block, batch: &batch, roots: &read.roots }, &mut axes)?;
        }
    }
    check.finish()
}

struct Check<'a> {
    block: &'a Opened,
    report: VerifyReport,
    spans: Vec<TenantSpan>,
    last: Option<(SeriesPlace, i64, i64)>,
    new_group: bool,
}

impl<'a> Check<'a> {
    fn new(block: &'a Opened) -> Self {
        let digest = Digest::default();
        let report = VerifyReport { rows: 0, series: 0, digest, exemplars: 0, histograms: 0 };
        Check { block, report, spans: Vec::new(), last: None, new_group: true }
    }

    fn last_of_group(&mut self) {
        self.new_group = true;
    }

    fn wrong(&self, what: &str) -> BlockError {
        let row = self.report.rows;
        let block = self.block.record.id;
        BlockError::Parquet { block, what: format!("verification: row={row} {what}") }
    }

    fn batch(&mut self, view: &View<'_>, axes: &mut Axes) -> Result<(), BlockError> {
        let slices = view.numbers::<Int64Type>(Fixed::Slice)?;
        let all = 0..view.batch.num_rows();
        let rows = rows_of(view, all, axes, &mut LabelsPool::default())?;
        for (at, row) in rows.into_iter().enumerate() {
            let Some(tenant) = row.about.map(|about| about.tenant) else {
                return Err(self.wrong("no tenant"));
            };
            let samples = row.part.decode()?;
            self.header(view, at, &samples)?;
            let place = SeriesPlace { tenant, key: samples.key, labels: samples.labels.clone() };
            self.row(place, slices.value(at), &samples)?;
        }
        Ok(())
    }

    /// Whether the row's header says what its samples say.
    fn header(
        &self,
        view: &View<'_>,
        at: usize,
        samples: &SeriesSamples,
    ) -> Result<(), BlockError> {
        let number = |column| -> Result<Option<u32>, BlockError> {
            let array = view.numbers::<UInt32Type>(column)?;
            Ok(array.is_valid(at).then(|| array.value(at)))
        };
        let float = |column| -> Result<Option<u64>, BlockError> {
            let array = view.numbers::<Float64Type>(column)?;
            Ok(array.is_valid(at).then(|| array.value(at).to_bits()))
        };
        let time = |column| -> Result<Option<i64>, BlockError> {
            Ok(Some(view.numbers::<Int64Type>(column)?.value(at)))
        };
        let stats = float_stats(samples);
        let bits = |of: fn(&pando_codec::floats::FloatStats) -> f64| {
            stats.as_ref().map(|s| of(s).to_bits())
        };
        let same = number(Fixed::Count)? == Some(samples.len() as u32)
            && time(Fixed::MinTime)? == samples.axis.first().copied()
            && time(Fixed::MaxTime)? == samples.axis.last().copied()
            && float(Fixed::Min)? == bits(|s| s.min)
            && float(Fixed::Max)? == bits(|s| s.max)
            && float(Fixed::First)? == bits(|s| s.first)
            && float(Fixed::Last)? == bits(|s| s.last)
            && number(Fixed::Resets)? == stats.as_ref().map(|s| s.resets as u32)
            && number(Fixed::Stale)? == stats.as_ref().map(|s| s.stale as u32);
        if same { Ok(()) } else { Err(self.wrong("the header is not that of the samples")) }
    }

    fn row(
        &mut self,
        place: SeriesPlace,
        slice_ms: i64,
        samples: &SeriesSamples,
    ) -> Result<(), BlockError> {
        let (Some(min), Some(max)) = (samples.axis.first(), samples.axis.last()) else {
            return Err(self.wrong("no samples"));
        };
        let new = match &self.last {
            Some((last, ..)) if place < *last => return Err(self.wrong("series out of order")),
            Some((last, last_slice, last_max)) if place == *last => {
                if slice_ms < *last_slice || min <= last_max {
                    return Err(self.wrong("slices out of order"));
                }
                if self.new_group {
                    return Err(self.wrong("a series in two row groups"));
                }
                false
            }
            _ => true,
        };
        let digest = digest_of(&place.tenant, samples);
        let time = TimeRange { min_ms: *min, max_ms: max.saturating_add(1) };
        self.span(&place, time, new, digest.samples);
        self.report.digest.merge(digest);
        self.report.rows += 1;
        self.report.series += u64::from(new);
        self.report.exemplars += samples.exemplars.len() as u64;
        self.report.histograms += samples.histograms.len() as u64;
        self.last = Some((place, slice_ms, *max));
        self.new_group = false;
        Ok(())
    }

    fn span(&mut self, place: &SeriesPlace, time: TimeRange, new: bool, samples: u64) {
        let key = place.key;
        match self.spans.last_mut().filter(|s| s.tenant == place.tenant) {
            Some(span) => {
                span.keys.first = span.keys.first.min(key);
                span.keys.last = span.keys.last.max(key);
                span.time = span.time.union(time);
                span.rows += 1;
                span.series += u64::from(new);
                span.samples += samples;
            }
            None => self.spans.push(TenantSpan {
                tenant: place.tenant.clone(),
                keys: pando_model::KeyRange { first: key, last: key },
                time,
                first_row: self.report.rows,
                rows: 1,
                series: 1,
                samples,
            }),
        }
    }

    fn finish(self) -> Result<VerifyReport, BlockError> {
        let record = &self.block.record;
        if self.spans != record.tenants {
            return Err(self.wrong("the tenants' spans are not those of the record"));
        }
        let time = self.spans.iter().map(|s| s.time).reduce(TimeRange::union);
        if time.is_some_and(|time| time != record.time) {
            return Err(self.wrong("the times are not those of the record"));
        }
        if self.report.digest != record.digest {
            return Err(BlockError::Conservation {
                block: record.id,
                what: "the block is not what its record says",
                samples: self.report.digest.samples,
                expected: record.digest.samples,
            });
        }
        Ok(self.report)
    }
}
