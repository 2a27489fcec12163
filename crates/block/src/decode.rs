//! From batches to rows: labels, encoded samples and their shared axes, metadata.
//!
//! It does not know which rows are one series; `scan.rs` joins them.

use std::sync::Arc;

use arrow::array::Array as _;
use arrow::datatypes::{UInt32Type, UInt64Type};
use pando_model::{LabelsPool, Metadata, MetricType, SeriesKey, TenantId};

use crate::axes::{Axes, Axis};
use crate::error::BlockError;
use crate::part::{OtherParts, SeriesPart};
use crate::reader::Opened;
use crate::schema::{Columns, Fixed};
use crate::view::View;

/// A row: one series in one slice.
pub(crate) struct Row {
    pub(crate) part: SeriesPart,
    /// Where the batch has its columns.
    pub(crate) about: Option<Box<About>>,
}

/// What a row says of its series beside labels and samples.
pub(crate) struct About {
    pub(crate) tenant: TenantId,
    pub(crate) metadata: Option<Metadata>,
}

/// The root columns that hold samples and the labels they belong to.
pub(crate) fn sample_roots(columns: &Columns) -> Vec<usize> {
    let fixed = [
        Fixed::Key,
        Fixed::Resets,
        Fixed::Stale,
        Fixed::Axis,
        Fixed::Values,
        Fixed::Histogram,
        Fixed::Start,
        Fixed::Exemplars,
    ];
    let mut roots: Vec<usize> = fixed.iter().map(|c| columns.root(*c)).collect();
    roots.extend(columns.all_label_roots());
    roots.sort_unstable();
    roots
}

/// The rows at `places` of a batch, which rise, their samples still encoded. Tenant and metadata are read where the
/// batch has their columns.
pub(crate) fn rows_of(
    view: &View<'_>,
    places: impl ExactSizeIterator<Item = usize>,
    axes: &mut Axes,
    pool: &mut LabelsPool,
) -> Result<Vec<Row>, BlockError> {
    let block = view.block;
    let keys = view.numbers::<UInt64Type>(Fixed::Key)?;
    let mut labels = view.labels()?;
    let (axis_keys, axis_bytes) = view.byte_dictionary(Fixed::Axis)?;
    let columns = [Fixed::Values, Fixed::Histogram, Fixed::Start, Fixed::Exemplars];
    let [values, histograms, starts, exemplars] = columns.map(|column| view.shared_bytes(column));
    let (values, histograms, starts, exemplars) = (values?, histograms?, starts?, exemplars?);
    let headers = [view.numbers::<UInt32Type>(Fixed::Resets)?, view.numbers(Fixed::Stale)?];
    let everything = view.roots.len() == block.columns.all_roots().len();
    // Most blocks hold floats alone.
    let plain = [&histograms, &starts, &exemplars].iter().all(|column| column.is_empty());
    let mut known = vec![None; axis_bytes.len()];
    let mut rows: Vec<Row> = Vec::with_capacity(places.len());
    for at in places {
        let key = SeriesKey(keys.value(at));
        let set = labels.get(at, key, pool);
        let set = set.ok_or_else(|| damaged(block, "labels that are not a set"))?;
        let axis_key = usize::try_from(axis_keys.value(at)).unwrap_or(usize::MAX);
        let Some(slot) = known.get_mut(axis_key) else {
            return Err(damaged(block, "an axis that the dictionary does not have"));
        };
        let axis: &Arc<Axis> = match slot {
            Some(axis) => axis,
            None => {
                let decoded = axes.decode(axis_bytes.value(axis_key));
                slot.insert(decoded.map_err(|source| BlockError::Value {
                    block: block.record.id,
                    series: set.to_string(),
                    column: Fixed::Axis.name(),
                    source,
                })?)
            }
        };
        let part = SeriesPart {
            labels: set,
            key,
            axis: axis.clone(),
            // Null where there are no floats.
            steady: headers.iter().all(|column| column.is_valid(at) && column.value(at) == 0),
            floats: values.get(at).unwrap_or_default(),
            other: if plain {
                None
            } else {
                OtherParts::of([&histograms, &starts, &exemplars], at)
            },
        };
        let about = if everything { Some(Box::new(described(view, at)?)) } else { None };
        rows.push(Row { part, about });
    }
    Ok(rows)
}

fn described(view: &View<'_>, at: usize) -> Result<About, BlockError> {
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
    Ok(About { tenant, metadata })
}

fn damaged(block: &Opened, what: &str) -> BlockError {
    BlockError::Parquet { block: block.record.id, what: format!("verified pages hold {what}") }
}
