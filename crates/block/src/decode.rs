//! From batches to rows: labels, samples on shared axes, metadata.
//!
//! It does not know which rows are one series; `scan.rs` joins them.

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::UInt64Type;
use pando_codec::CodecError;
use pando_codec::series_chunk::Parts;
use pando_model::{Labels, Metadata, MetricType, SeriesKey, SeriesSamples, TenantId};

use crate::axes::Axes;
use crate::error::BlockError;
use crate::reader::Opened;
use crate::schema::{Columns, Fixed};
use crate::series::on_axis;
use crate::view::View;

/// A decoded row: one series in one slice.
pub(crate) struct Row {
    /// Without labels' storage of its own where the row before has the same ones.
    pub(crate) samples: SeriesSamples,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) metadata: Option<Metadata>,
}

/// The root columns that hold samples and the labels they belong to.
pub(crate) fn sample_roots(columns: &Columns) -> Vec<usize> {
    let fixed =
        [Fixed::Key, Fixed::Axis, Fixed::Values, Fixed::Histogram, Fixed::Start, Fixed::Exemplars];
    let mut roots: Vec<usize> = fixed.iter().map(|c| columns.root(*c)).collect();
    roots.extend(columns.all_label_roots());
    roots.sort_unstable();
    roots
}

/// Decodes the rows of a batch. Tenant and metadata are read where the batch has their columns.
pub(crate) fn decode_batch(view: &View<'_>, axes: &mut Axes) -> Result<Vec<Row>, BlockError> {
    let block = view.block;
    let keys = view.numbers::<UInt64Type>(Fixed::Key)?;
    let labels = view.labels()?;
    let (axis_keys, axis_bytes) = view.byte_dictionary(Fixed::Axis)?;
    let values = view.bytes(Fixed::Values)?;
    let histograms = view.bytes(Fixed::Histogram)?;
    let starts = view.bytes(Fixed::Start)?;
    let exemplars = view.bytes(Fixed::Exemplars)?;
    let everything = view.roots.len() == block.columns.all_roots().len();
    let mut known = vec![None; axis_bytes.len()];
    let mut rows: Vec<Row> = Vec::with_capacity(view.batch.num_rows());
    let mut previous: Option<Labels> = None;
    for at in 0..view.batch.num_rows() {
        let set = labels.get(at).ok_or_else(|| damaged(block, "labels that are not a set"))?;
        // Rows of one series share the storage of their labels.
        let set = previous.filter(|p| *p == set).unwrap_or(set);
        let fail = |column: Fixed| {
            let series = set.clone();
            move |source: CodecError| BlockError::Value {
                block: block.record.id,
                series: series.to_string(),
                column: column.name(),
                source,
            }
        };
        let axis_key = usize::try_from(axis_keys.value(at)).unwrap_or(usize::MAX);
        let Some(slot) = known.get_mut(axis_key) else {
            return Err(damaged(block, "an axis that the dictionary does not have"));
        };
        let axis = match slot {
            Some(axis) => axis,
            None => {
                let bytes = axis_bytes.value(axis_key);
                slot.insert(axes.decode(bytes).map_err(fail(Fixed::Axis))?)
            }
        };
        let parts = Parts {
            floats: values.value(at),
            histograms: optional(histograms, at),
            starts: optional(starts, at),
            exemplars: optional(exemplars, at),
        };
        let key = SeriesKey(keys.value(at));
        let mut samples =
            parts.decode(set.clone(), key, axis.full.clone()).map_err(fail(Fixed::Values))?;
        if axis.at != (0..axis.full.len()) {
            let exemplars = std::mem::take(&mut samples.exemplars);
            samples = on_axis(&samples, axis.at.clone(), axis.wanted.clone());
            samples.exemplars = exemplars;
        }
        axes.keep_exemplars(&mut samples.exemplars);
        let (tenant, metadata) = if everything { described(view, at)? } else { (None, None) };
        rows.push(Row { samples, tenant, metadata });
        previous = Some(set);
    }
    Ok(rows)
}

fn optional(array: &BinaryArray, at: usize) -> Option<&[u8]> {
    array.is_valid(at).then(|| array.value(at))
}

fn described(
    view: &View<'_>,
    at: usize,
) -> Result<(Option<TenantId>, Option<Metadata>), BlockError> {
    let text = |column: Fixed| -> Result<Option<&str>, BlockError> {
        Ok(view.texts(view.block.columns.root(column))?.get(at))
    };
    let tenant = text(Fixed::Tenant)?.and_then(|name| TenantId::parse(name).ok());
    let tenant = tenant.ok_or_else(|| damaged(view.block, "a row without a tenant"))?;
    let metadata = text(Fixed::MetricType)?.map(|word| {
        let known = MetricType::ALL.into_iter().find(|t| t.as_str() == word);
        known.unwrap_or_default()
    });
    let metadata = match metadata {
        None => None,
        Some(metric_type) => Some(Metadata {
            metric_type,
            unit: text(Fixed::Unit)?.unwrap_or_default().to_string(),
            help: text(Fixed::Help)?.unwrap_or_default().to_string(),
        }),
    };
    Ok((Some(tenant), metadata))
}

fn damaged(block: &Opened, what: &str) -> BlockError {
    BlockError::Parquet { block: block.record.id, what: format!("verified pages hold {what}") }
}
