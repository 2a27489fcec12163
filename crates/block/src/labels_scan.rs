//! Scans that read no samples: label sets, names and values, and exemplars of the selected rows.
//!
//! Everything is answered from rows, never from a dictionary or the schema: those are shared by all
//! tenants of the block (INV-9).

use std::collections::BTreeSet;

use arrow::array::Array as _;
use arrow::datatypes::UInt64Type;
use bytes::Bytes;
use pando_codec::exemplars::decode_exemplars;
use pando_model::{BlockId, Exemplar, Labels, LabelsPool, SeriesKey, TimeRange};

use crate::error::BlockError;
use crate::io::RangeReader;
use crate::reader::fetch_verified;
use crate::schema::Fixed;
use crate::select::Selection;
use crate::view::View;

impl Selection {
    /// The distinct label sets with their keys, in the order of their rows.
    pub async fn series(
        &self,
        io: &dyn RangeReader,
    ) -> Result<Vec<(SeriesKey, Labels)>, BlockError> {
        let columns = &self.block.columns;
        let mut roots = vec![columns.root(Fixed::Key)];
        roots.extend(columns.all_label_roots());
        let mut found: Vec<(SeriesKey, Labels)> = Vec::new();
        let mut pool = LabelsPool::default();
        self.each_batch(io, &roots, |view| {
            let (keys, mut labels) = (view.numbers::<UInt64Type>(Fixed::Key)?, view.labels()?);
            for row in 0..view.batch.num_rows() {
                let key = SeriesKey(keys.value(row));
                let set = labels.get(row, key, &mut pool);
                let series = (key, set.ok_or_else(|| no_set(self.block.record.id))?);
                // Rows of one series are neighbours.
                if found.last() != Some(&series) {
                    found.push(series);
                }
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// The exemplars with times in `time`, row by row; of one series there may be several rows.
    pub async fn exemplars(
        &self,
        io: &dyn RangeReader,
        time: TimeRange,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, BlockError> {
        let (columns, block) = (&self.block.columns, self.block.record.id);
        let mut roots = vec![columns.root(Fixed::Key), columns.root(Fixed::Exemplars)];
        roots.extend(columns.all_label_roots());
        roots.sort_unstable();
        let (mut found, mut pool) = (Vec::new(), LabelsPool::default());
        self.each_batch(io, &roots, |view| {
            let (keys, mut labels) = (view.numbers::<UInt64Type>(Fixed::Key)?, view.labels()?);
            let encoded = view.bytes(Fixed::Exemplars)?;
            for row in (0..view.batch.num_rows()).filter(|row| encoded.is_valid(*row)) {
                let key = SeriesKey(keys.value(row));
                let set = labels.get(row, key, &mut pool).ok_or_else(|| no_set(block))?;
                let exemplars = decode_exemplars(encoded.value(row));
                let mut exemplars = exemplars.map_err(|source| BlockError::Value {
                    block,
                    series: set.to_string(),
                    column: Fixed::Exemplars.name(),
                    source,
                })?;
                exemplars.retain(|exemplar| time.contains(exemplar.timestamp_ms));
                if !exemplars.is_empty() {
                    found.push((set, exemplars));
                }
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// The names of all labels, sorted.
    pub async fn label_names(&self, io: &dyn RangeReader) -> Result<BTreeSet<String>, BlockError> {
        let roots: Vec<usize> = self.block.columns.all_label_roots().collect();
        let mut names = BTreeSet::new();
        self.each_batch(io, &roots, |view| {
            let labels = view.labels()?;
            // A batch has only selected rows, so that a column with a value in it has one of them.
            for column in &labels.columns {
                insert(&mut names, column.name);
            }
            for row in 0..view.batch.num_rows() {
                labels.rest.pairs(row).for_each(|(name, _)| insert(&mut names, name));
            }
            Ok(())
        })
        .await?;
        Ok(names)
    }

    /// The values of label `name`, sorted.
    pub async fn label_values(
        &self,
        io: &dyn RangeReader,
        name: &str,
    ) -> Result<BTreeSet<String>, BlockError> {
        let columns = &self.block.columns;
        let column = columns.label_root(name);
        let roots = [column.unwrap_or_else(|| columns.root(Fixed::Labels))];
        let mut values = BTreeSet::new();
        self.each_batch(io, &roots, |view| {
            let mut last = None;
            for row in 0..view.batch.num_rows() {
                let value = match column {
                    Some(root) => view.texts(root)?.get(row),
                    None => view.rest()?.get(row, name),
                };
                if let Some(value) = value.filter(|v| last != Some(*v)) {
                    insert(&mut values, value);
                    last = Some(value);
                }
            }
            Ok(())
        })
        .await?;
        Ok(values)
    }

    /// Fetches and decodes the root columns `roots` (sorted) of the selected rows.
    async fn each_batch(
        &self,
        io: &dyn RangeReader,
        roots: &[usize],
        mut visit: impl FnMut(&View<'_>) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        for at in 0..self.groups() {
            let Some(read) = self.read(at, roots.to_vec()) else { continue };
            let (block, ranges) = (&self.block, read.ranges(&self.block));
            let decode = |parts: &[Bytes]| read.decode(block, parts);
            let mut batches = fetch_verified(block.record.id, io, ranges, decode).await?;
            while let Some(batch) = batches.next()? {
                visit(&View { block: &self.block, batch: &batch, roots })?;
            }
        }
        Ok(())
    }
}

fn no_set(block: BlockId) -> BlockError {
    let what = "verified pages hold labels that are not a set".to_string();
    BlockError::Parquet { block, what }
}

fn insert(texts: &mut BTreeSet<String>, text: &str) {
    if !texts.contains(text) {
        texts.insert(text.to_string());
    }
}
