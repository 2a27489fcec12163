//! `Gathered`: the floats of a group, for `quantile`, which looks at all that a step has. Whose they are is not kept.

use crate::budget::Ledger;
use crate::engine::vector::StepVector;
use crate::error::QueryError;

/// Columns that together have all floats of a group.
#[derive(Default)]
pub(super) struct Gathered {
    columns: Vec<StepVector>,
    /// The column that the next one is tried with.
    next: usize,
}

impl Gathered {
    /// Adds one more column with the labels of the group, to one that has no step in common with it where that is
    /// found at once, as with series that follow each other. What is kept is held in `ledger`.
    pub(super) fn add(
        &mut self,
        column: StepVector,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        if column.is_empty() {
            return Ok(());
        }
        if self.next >= self.columns.len() {
            self.next = 0;
        }
        match self.columns.get_mut(self.next) {
            Some(known) if !known.present.intersects(&column.present) => {
                ledger.hold(column.samples(), 0)?;
                known.absorb(column);
                self.next += 1;
            }
            _ => {
                ledger.hold(column.samples(), column.bytes())?;
                self.columns.push(column);
            }
        }
        Ok(())
    }

    /// The columns.
    pub(super) fn into_columns(self) -> Vec<StepVector> {
        self.columns
    }
}
