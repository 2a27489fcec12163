//! The columns of a block, as they are written and as they are read.
//!
//! ```text
//! tenant key slice count min_time max_time    which series, slice, how much: read to select rows
//! label_<name> ...                            one per label that pays for a column, by name
//! labels                                      map of all other labels of the row, by name
//! min max first last resets stale             of the float samples; null where there are none
//! axis values histogram start exemplars       encoded samples (crates/codec)
//! metric_type unit help                       metadata of the metric family
//! ```
//!
//! Times are plain 64-bit milliseconds. It does not know which labels get columns; the writer
//! decides.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use parquet::schema::types::SchemaDescriptor;

/// What stands before a label's name in the name of its column.
pub(crate) const LABEL_PREFIX: &str = "label_";
/// Names of the parts of the `labels` column, as the Parquet format wants them.
pub(crate) const MAP_ENTRY: &str = "key_value";
pub(crate) const MAP_KEY: &str = "key";
pub(crate) const MAP_VALUE: &str = "value";

/// The columns that every block has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fixed {
    Tenant,
    Key,
    Slice,
    Count,
    MinTime,
    MaxTime,
    Labels,
    Min,
    Max,
    First,
    Last,
    Resets,
    Stale,
    Axis,
    Values,
    Histogram,
    Start,
    Exemplars,
    MetricType,
    Unit,
    Help,
}

impl Fixed {
    /// The columns before the label columns.
    pub(crate) const HEAD: [Fixed; 6] =
        [Fixed::Tenant, Fixed::Key, Fixed::Slice, Fixed::Count, Fixed::MinTime, Fixed::MaxTime];
    /// The columns after the label columns.
    pub(crate) const TAIL: [Fixed; 15] = [
        Fixed::Labels,
        Fixed::Min,
        Fixed::Max,
        Fixed::First,
        Fixed::Last,
        Fixed::Resets,
        Fixed::Stale,
        Fixed::Axis,
        Fixed::Values,
        Fixed::Histogram,
        Fixed::Start,
        Fixed::Exemplars,
        Fixed::MetricType,
        Fixed::Unit,
        Fixed::Help,
    ];

    /// The column's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fixed::Tenant => "tenant",
            Fixed::Key => "key",
            Fixed::Slice => "slice",
            Fixed::Count => "count",
            Fixed::MinTime => "min_time",
            Fixed::MaxTime => "max_time",
            Fixed::Labels => "labels",
            Fixed::Min => "min",
            Fixed::Max => "max",
            Fixed::First => "first",
            Fixed::Last => "last",
            Fixed::Resets => "resets",
            Fixed::Stale => "stale",
            Fixed::Axis => "axis",
            Fixed::Values => "values",
            Fixed::Histogram => "histogram",
            Fixed::Start => "start",
            Fixed::Exemplars => "exemplars",
            Fixed::MetricType => "metric_type",
            Fixed::Unit => "unit",
            Fixed::Help => "help",
        }
    }

    /// The column's place in a schema with `label_columns` label columns.
    pub(crate) fn root(self, label_columns: usize) -> usize {
        match Self::HEAD.iter().position(|c| *c == self) {
            Some(at) => at,
            None => {
                let at = Self::TAIL.iter().position(|c| *c == self);
                Self::HEAD.len() + label_columns + at.unwrap_or_default()
            }
        }
    }

    fn nullable(self) -> bool {
        !matches!(
            self,
            Fixed::Tenant
                | Fixed::Key
                | Fixed::Slice
                | Fixed::Count
                | Fixed::MinTime
                | Fixed::MaxTime
                | Fixed::Labels
                | Fixed::Axis
                | Fixed::Values
        )
    }

    /// The type; where `reading`, texts and repeated bytes as dictionaries, and other bytes as views of their pages.
    fn data_type(self, reading: bool) -> DataType {
        let repeated = |plain: DataType| if reading { dictionary(plain) } else { plain };
        match self {
            Fixed::Tenant | Fixed::MetricType | Fixed::Unit | Fixed::Help => {
                repeated(DataType::Utf8)
            }
            Fixed::Key => DataType::UInt64,
            Fixed::Slice | Fixed::MinTime | Fixed::MaxTime => DataType::Int64,
            Fixed::Count | Fixed::Resets | Fixed::Stale => DataType::UInt32,
            Fixed::Min | Fixed::Max | Fixed::First | Fixed::Last => DataType::Float64,
            Fixed::Axis => repeated(DataType::Binary),
            Fixed::Values | Fixed::Histogram | Fixed::Start | Fixed::Exemplars => {
                if reading {
                    DataType::BinaryView
                } else {
                    DataType::Binary
                }
            }
            Fixed::Labels => {
                let pair = Fields::from(vec![
                    Field::new(MAP_KEY, DataType::Utf8, false),
                    Field::new(MAP_VALUE, DataType::Utf8, false),
                ]);
                DataType::Map(Arc::new(Field::new(MAP_ENTRY, DataType::Struct(pair), false)), false)
            }
        }
    }

    fn field(self, reading: bool) -> Field {
        Field::new(self.name(), self.data_type(reading), self.nullable())
    }
}

fn dictionary(plain: DataType) -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(plain))
}

/// The Arrow schema of a block with columns for `labels` (sorted). `reading`: with dictionaries, so
/// that equal bytes arrive once, and views, so that bytes are not copied out of their pages.
pub(crate) fn schema<'a>(labels: impl IntoIterator<Item = &'a str>, reading: bool) -> SchemaRef {
    let text = if reading { dictionary(DataType::Utf8) } else { DataType::Utf8 };
    let mut fields: Vec<Field> = Fixed::HEAD.iter().map(|c| c.field(reading)).collect();
    fields.extend(
        labels
            .into_iter()
            .map(|name| Field::new(format!("{LABEL_PREFIX}{name}"), text.clone(), true)),
    );
    fields.extend(Fixed::TAIL.iter().map(|c| c.field(reading)));
    Arc::new(Schema::new(fields))
}

/// Where the columns of one file are.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    labels: Vec<String>,
    leaves: Vec<Range<usize>>,
}

impl Columns {
    /// Finds the label columns in `file`. `None` where the names are not those of a block; types
    /// are compared when the file is opened with [`schema`].
    pub(crate) fn of(file: &SchemaDescriptor) -> Option<Columns> {
        let names: Vec<&str> = file.root_schema().get_fields().iter().map(|f| f.name()).collect();
        let label_columns = names.len().checked_sub(Fixed::HEAD.len() + Fixed::TAIL.len())?;
        let (head, rest) = names.split_at(Fixed::HEAD.len());
        let (labels, tail) = rest.split_at(label_columns);
        let same = |names: &[&str], columns: &[Fixed]| {
            names.iter().copied().eq(columns.iter().map(|c| c.name()))
        };
        if !same(head, &Fixed::HEAD) || !same(tail, &Fixed::TAIL) {
            return None;
        }
        let labels: Option<Vec<String>> =
            labels.iter().map(|n| n.strip_prefix(LABEL_PREFIX).map(str::to_string)).collect();
        let labels = labels?;
        if !labels.windows(2).all(|pair| pair[0] < pair[1]) {
            return None;
        }
        let mut leaves = vec![0..0; names.len()];
        for leaf in 0..file.num_columns() {
            let range = leaves.get_mut(file.get_column_root_idx(leaf))?;
            *range = if range.start == range.end { leaf..leaf + 1 } else { range.start..leaf + 1 };
        }
        Some(Columns { labels, leaves })
    }

    /// The labels that have columns, sorted.
    pub(crate) fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The root column of a fixed column.
    pub(crate) fn root(&self, column: Fixed) -> usize {
        column.root(self.labels.len())
    }

    /// The root column of label `name`; `None` where it is in the map.
    pub(crate) fn label_root(&self, name: &str) -> Option<usize> {
        let at = self.labels.binary_search_by(|l| l.as_str().cmp(name)).ok()?;
        Some(Fixed::HEAD.len() + at)
    }

    /// The root columns of all labels, the map included.
    pub(crate) fn all_label_roots(&self) -> Range<usize> {
        Fixed::HEAD.len()..Fixed::HEAD.len() + self.labels.len() + 1
    }

    /// All root columns.
    pub(crate) fn all_roots(&self) -> Range<usize> {
        0..self.leaves.len()
    }

    /// The leaf columns of root column `root`.
    pub(crate) fn leaves(&self, root: usize) -> Range<usize> {
        self.leaves[root].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_pinned() {
        let schema = schema(["__name__", "job"], false);
        let columns: Vec<String> = schema
            .fields()
            .iter()
            .map(|f| {
                format!("{} {}{}", f.name(), f.data_type(), if f.is_nullable() { "?" } else { "" })
            })
            .collect();
        let expected = [
            "tenant Utf8",
            "key UInt64",
            "slice Int64",
            "count UInt32",
            "min_time Int64",
            "max_time Int64",
            "label___name__ Utf8?",
            "label_job Utf8?",
            "labels Map(\"key_value\": non-null Struct(\"key\": non-null Utf8, \
             \"value\": non-null Utf8), unsorted)",
            "min Float64?",
            "max Float64?",
            "first Float64?",
            "last Float64?",
            "resets UInt32?",
            "stale UInt32?",
            "axis Binary",
            "values Binary",
            "histogram Binary?",
            "start Binary?",
            "exemplars Binary?",
            "metric_type Utf8?",
            "unit Utf8?",
            "help Utf8?",
        ];
        assert_eq!(columns, expected);
    }

    #[test]
    fn places_follow_the_label_columns() {
        assert_eq!(Fixed::Tenant.root(7), 0);
        assert_eq!(Fixed::Labels.root(7), 13);
        assert_eq!(Fixed::Help.root(0), 20);
    }
}
