//! `Postings`: the rows that carry a label pair. Many pairs are of one series: those take no bitmap.

use roaring::RoaringBitmap;

/// A set of rows.
#[derive(Debug, Default)]
pub(crate) enum Postings {
    /// No row.
    #[default]
    None,
    /// One row.
    One(u32),
    /// Rows.
    Many(Box<RoaringBitmap>),
}

impl Postings {
    /// Adds a row.
    pub(crate) fn insert(&mut self, row: u32) {
        match self {
            Postings::None => *self = Postings::One(row),
            Postings::One(one) if *one == row => {}
            Postings::One(one) => {
                *self = Postings::Many(Box::new([*one, row].into_iter().collect()))
            }
            Postings::Many(rows) => {
                rows.insert(row);
            }
        }
    }

    /// Removes a row.
    pub(crate) fn remove(&mut self, row: u32) {
        match self {
            Postings::One(one) if *one == row => *self = Postings::None,
            Postings::Many(rows) => {
                rows.remove(row);
                if rows.is_empty() {
                    *self = Postings::None;
                }
            }
            _ => {}
        }
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Postings::None)
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Postings::None => 0,
            Postings::One(_) => 1,
            Postings::Many(rows) => rows.len(),
        }
    }

    /// Adds the rows to `out`.
    pub(crate) fn add_to(&self, out: &mut RoaringBitmap) {
        match self {
            Postings::None => {}
            Postings::One(row) => {
                out.insert(*row);
            }
            Postings::Many(rows) => *out |= &**rows,
        }
    }

    /// Whether one of the rows is in `rows`.
    pub(crate) fn intersects(&self, rows: &RoaringBitmap) -> bool {
        match self {
            Postings::None => false,
            Postings::One(row) => rows.contains(*row),
            Postings::Many(own) => !own.is_disjoint(rows),
        }
    }

    /// Bytes of heap, estimated.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Postings::Many(rows) => 24 + 32 + rows.serialized_size(),
            _ => 0,
        }
    }
}
