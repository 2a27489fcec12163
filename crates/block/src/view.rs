//! Typed views of a decoded batch: texts and bytes by dictionary, label sets by row.
//!
//! It does not know which rows are wanted.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, ByteView, Int32Array,
    MAX_INLINE_VIEW_LEN, MapArray, PrimitiveArray, RecordBatch, StringArray,
};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type};
use bytes::Bytes;
use pando_model::{BlockId, Labels, LabelsPool, SeriesKey};

use crate::error::BlockError;
use crate::reader::Opened;
use crate::schema::Fixed;

/// A batch and which root columns it has.
pub(crate) struct View<'a> {
    pub(crate) block: &'a Opened,
    pub(crate) batch: &'a RecordBatch,
    /// Sorted.
    pub(crate) roots: &'a [usize],
}

impl View<'_> {
    fn array(&self, root: usize) -> Result<&ArrayRef, BlockError> {
        let at = self.roots.binary_search(&root).ok();
        let array = at.and_then(|at| self.batch.columns().get(at));
        array.ok_or_else(|| wrong(self.block.record.id, "a column is missing in a batch"))
    }

    /// A column of numbers.
    pub(crate) fn numbers<T: ArrowPrimitiveType>(
        &self,
        column: Fixed,
    ) -> Result<&PrimitiveArray<T>, BlockError> {
        let array = self.array(self.block.columns.root(column))?;
        array.as_primitive_opt().ok_or_else(|| wrong(self.block.record.id, column.name()))
    }

    /// A column of plain bytes.
    pub(crate) fn bytes(&self, column: Fixed) -> Result<&BinaryViewArray, BlockError> {
        let array = self.array(self.block.columns.root(column))?;
        array.as_binary_view_opt().ok_or_else(|| wrong(self.block.record.id, column.name()))
    }

    /// A column of plain bytes whose rows share their pages.
    pub(crate) fn shared_bytes(&self, column: Fixed) -> Result<SharedBytes<'_>, BlockError> {
        let array = self.bytes(column)?;
        let pages = array.data_buffers().iter().map(|page| page.clone().into()).collect();
        Ok(SharedBytes { array, pages })
    }

    /// A column of bytes with a dictionary.
    pub(crate) fn byte_dictionary(
        &self,
        column: Fixed,
    ) -> Result<(&Int32Array, &BinaryArray), BlockError> {
        let array = self.array(self.block.columns.root(column))?;
        let both = array.as_dictionary_opt::<Int32Type>().and_then(|dictionary| {
            Some((dictionary.keys(), dictionary.values().as_binary_opt::<i32>()?))
        });
        both.ok_or_else(|| wrong(self.block.record.id, column.name()))
    }

    /// A column of texts with a dictionary.
    pub(crate) fn texts(&self, root: usize) -> Result<Texts<'_>, BlockError> {
        let array = self.array(root)?;
        let texts = array.as_dictionary_opt::<Int32Type>().and_then(|dictionary| {
            let texts = dictionary.values().as_string_opt::<i32>()?;
            Some(Texts { keys: dictionary.keys(), dictionary: dictionary.values(), texts })
        });
        texts.ok_or_else(|| wrong(self.block.record.id, "texts"))
    }

    /// The column of labels without columns of their own.
    pub(crate) fn rest(&self) -> Result<Rest<'_>, BlockError> {
        let array = self.array(self.block.columns.root(Fixed::Labels))?;
        let rest = array.as_map_opt().and_then(|map| {
            let names = map.keys().as_string_opt()?;
            Some(Rest { map, names, values: map.values().as_string_opt()? })
        });
        rest.ok_or_else(|| wrong(self.block.record.id, Fixed::Labels.name()))
    }

    /// All labels.
    pub(crate) fn labels(&self) -> Result<LabelsView<'_>, BlockError> {
        let mut columns = Vec::new();
        for name in self.block.columns.labels() {
            let root = self.block.columns.label_root(name).unwrap_or_default();
            let texts = self.texts(root)?;
            if texts.keys.null_count() < texts.keys.len() {
                let numbers = vec![0; texts.texts.len()];
                columns.push(LabelColumn { name, texts, number: 0, numbers });
            }
        }
        let mut as_before = vec![true; self.batch.num_rows()];
        columns.iter().for_each(|column| column.texts.compare_neighbours(&mut as_before));
        let (pairs, numbers) = Default::default();
        Ok(LabelsView { columns, rest: self.rest()?, pairs, numbers, as_before, last: None })
    }
}

fn wrong(block: BlockId, what: &str) -> BlockError {
    BlockError::Parquet { block, what: format!("column is not of its type: {what}") }
}

/// Bytes that outlive their batch.
pub(crate) struct SharedBytes<'a> {
    array: &'a BinaryViewArray,
    pages: Vec<Bytes>,
}

impl SharedBytes<'_> {
    /// Whether no row has any.
    pub(crate) fn is_empty(&self) -> bool {
        self.array.null_count() == self.array.len()
    }

    /// The bytes of row `row`. `None`: null.
    pub(crate) fn get(&self, row: usize) -> Option<Bytes> {
        if self.array.is_null(row) {
            return None;
        }
        let view = ByteView::from(self.array.views()[row]);
        let from = view.offset as usize;
        // A few bytes stand in the view itself.
        Some(match self.pages.get(view.buffer_index as usize) {
            Some(page) if view.length > MAX_INLINE_VIEW_LEN => {
                page.slice(from..from + view.length as usize)
            }
            _ => Bytes::copy_from_slice(self.array.value(row)),
        })
    }
}

/// Texts that repeat.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'a> {
    keys: &'a Int32Array,
    /// The distinct texts; the same `Arc` in all batches of a row group, mostly.
    pub(crate) dictionary: &'a ArrayRef,
    texts: &'a StringArray,
}

impl<'a> Texts<'a> {
    /// Which distinct text row `row` has. `None`: null.
    pub(crate) fn key(&self, row: usize) -> Option<usize> {
        let key = usize::try_from(self.keys.value(row)).ok()?;
        (self.keys.is_valid(row) && key < self.texts.len()).then_some(key)
    }

    /// Takes back of `same`, which has one place a row, what is false: that the row has the text of the one before it.
    fn compare_neighbours(&self, same: &mut [bool]) {
        let later = same.iter_mut().skip(1);
        if self.keys.null_count() == 0 {
            let neighbours = self.keys.values().windows(2);
            later.zip(neighbours).for_each(|(same, pair)| *same &= pair[0] == pair[1]);
        } else {
            later.zip(0..).for_each(|(same, row)| *same &= self.key(row) == self.key(row + 1));
        }
    }

    /// The distinct text `key`.
    pub(crate) fn text(&self, key: usize) -> &'a str {
        self.texts.value(key)
    }

    /// The text of row `row`. `None`: null.
    pub(crate) fn get(&self, row: usize) -> Option<&'a str> {
        self.key(row).map(|key| self.text(key))
    }
}

/// The map column.
#[derive(Clone, Copy)]
pub(crate) struct Rest<'a> {
    map: &'a MapArray,
    names: &'a StringArray,
    values: &'a StringArray,
}

impl<'a> Rest<'a> {
    /// The labels of row `row` that are in the map, in order of their names.
    pub(crate) fn pairs(&self, row: usize) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let offsets = self.map.value_offsets();
        let (names, values) = (self.names, self.values);
        (offsets[row] as usize..offsets[row + 1] as usize)
            .map(move |at| (names.value(at), values.value(at)))
    }

    /// Whether row `row` has no label in the map.
    fn is_empty(&self, row: usize) -> bool {
        let offsets = self.map.value_offsets();
        offsets[row] == offsets[row + 1]
    }

    /// The value of label `name` in row `row`.
    pub(crate) fn get(&self, row: usize, name: &str) -> Option<&'a str> {
        self.pairs(row).find(|(n, _)| *n == name).map(|(_, v)| v)
    }
}

/// The label sets of a batch.
pub(crate) struct LabelsView<'a> {
    /// Columns in which any row has a value, sorted by name.
    pub(crate) columns: Vec<LabelColumn<'a>>,
    pub(crate) rest: Rest<'a>,
    /// Those of one row.
    pairs: Vec<(&'a str, &'a str)>,
    numbers: Vec<u64>,
    /// Of each row, whether its columns say what those of the row before it say.
    as_before: Vec<bool>,
    /// The last row whose labels all are in columns, and what it has.
    last: Option<(usize, SeriesKey, Labels)>,
}

/// A column of one label.
pub(crate) struct LabelColumn<'a> {
    pub(crate) name: &'a str,
    texts: Texts<'a>,
    /// The pool's number of the name, and of each distinct text; 0 until it is asked for.
    number: u64,
    numbers: Vec<u64>,
}

impl LabelColumn<'_> {
    /// Appends the numbers of name and value of row `row`, where it has one.
    fn push_numbers(&mut self, row: usize, pool: &mut LabelsPool, out: &mut Vec<u64>) {
        let Some(key) = self.texts.key(row) else { return };
        if self.number == 0 {
            self.number = pool.number(self.name);
        }
        if self.numbers[key] == 0 {
            self.numbers[key] = pool.number(self.texts.text(key));
        }
        out.extend([self.number, self.numbers[key]]);
    }
}

impl LabelsView<'_> {
    /// The labels of row `row`, later than the last one, where they are the same, as with most rows: a series has
    /// several.
    fn as_before(&self, row: usize, key: SeriesKey) -> Option<Labels> {
        let (last, of, labels) = self.last.as_ref()?;
        let mut since = self.as_before[(*last + 1).min(row)..=row].iter();
        (*of == key && since.all(|as_before| *as_before)).then(|| labels.clone())
    }

    /// The labels of row `row`, later than those before, whose series has `key`. `None` where they are not a set.
    pub(crate) fn get(
        &mut self,
        row: usize,
        key: SeriesKey,
        pool: &mut LabelsPool,
    ) -> Option<Labels> {
        let in_columns = self.rest.is_empty(row);
        if in_columns && let Some(labels) = self.as_before(row, key) {
            self.last.as_mut()?.0 = row;
            return Some(labels);
        }
        self.last = None;
        let (pairs, numbers) = (&mut self.pairs, &mut self.numbers);
        pairs.clear();
        numbers.clear();
        if in_columns {
            self.columns.iter_mut().for_each(|column| column.push_numbers(row, pool, numbers));
            if let Some(known) = pool.numbered(key, numbers) {
                self.last = Some((row, key, known.clone()));
                return Some(known);
            }
        }
        let mut rest = self.rest.pairs(row).peekable();
        for LabelColumn { name, texts, .. } in &self.columns {
            let Some(value) = texts.get(row) else { continue };
            while let Some(pair) = rest.next_if(|(n, _)| n < name) {
                pairs.push(pair);
            }
            pairs.push((name, value));
        }
        pairs.extend(rest);
        let labels = pool.from_sorted(key, pairs, numbers)?;
        self.last = in_columns.then(|| (row, key, labels.clone()));
        Some(labels)
    }
}
