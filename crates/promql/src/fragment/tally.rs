//! `Tally`: what a fragment comes to beside its columns.

use std::collections::BTreeSet;

use pando_model::Labels;
use rapidhash::RapidHashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::partial::{LabelHash, NoteSite};
use super::plan::FragmentPlan;
use crate::annotations::{NOTES_MAX, Note};
use crate::budget::Ledger;
use crate::engine::queryable::StepSamples;
use crate::engine::vector::same_labelset;
use crate::error::QueryError;

/// What a [`LabelHash`] takes in a map.
const HASH_BYTES: usize = 32;

/// Hashes of labels without names, and of the series that they are left of.
pub(super) type LabelHashes = RapidHashMap<u64, u64>;

/// Bytes that `hashes` hold.
pub(super) fn hash_bytes(hashes: &LabelHashes) -> usize {
    hashes.len().saturating_mul(HASH_BYTES)
}

/// Notes, hashes of label sets, and samples by step: of some series, and together with those of others.
#[derive(Debug, Default)]
pub(super) struct Tally {
    notes: BTreeSet<(NoteSite, Note)>,
    hashes: LabelHashes,
    /// Empty where nobody asks.
    pub(super) step_samples: StepSamples,
}

impl Tally {
    /// Of no series of `plan`.
    pub(super) fn new(plan: &FragmentPlan) -> Self {
        let counted = if plan.count_samples { plan.steps.len() } else { 0 };
        Tally { step_samples: vec![0; counted], ..Tally::default() }
    }

    /// Adds a note. Who has as many as there may be is asked for no more; the frontend says so.
    pub(super) fn note(&mut self, site: NoteSite, note: Note) {
        if self.notes.len() < NOTES_MAX {
            self.notes.insert((site, note));
        }
    }

    /// Adds the labels that `series` is `left` with.
    ///
    /// # Errors
    /// Another one has the same; a budget, cancellation.
    pub(super) fn labels(
        &mut self,
        series: &Labels,
        left: &Labels,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        self.hashes([LabelHash { left: hash_of(left), series: hash_of(series) }], ledger)
    }

    /// Adds what was tallied of other series.
    ///
    /// # Errors
    /// As [`Tally::labels`].
    pub(super) fn absorb(
        &mut self,
        notes: impl IntoIterator<Item = (NoteSite, Note)>,
        hashes: impl IntoIterator<Item = LabelHash, IntoIter: ExactSizeIterator>,
        step_samples: &[u64],
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        notes.into_iter().for_each(|(site, note)| self.note(site, note));
        let counted = self.step_samples.iter_mut();
        counted.zip(step_samples).for_each(|(all, more)| *all = all.saturating_add(*more));
        self.hashes(hashes, ledger)
    }

    fn hashes(
        &mut self,
        hashes: impl IntoIterator<Item = LabelHash, IntoIter: ExactSizeIterator>,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        let hashes = hashes.into_iter();
        ledger.hold(0, hashes.len().saturating_mul(HASH_BYTES))?;
        for LabelHash { left, series } in hashes {
            if self.hashes.insert(left, series).is_some() {
                return Err(same_labelset());
            }
        }
        Ok(())
    }

    /// Adds the hashes of other steps, where a series may be met again.
    ///
    /// # Errors
    /// Another series was left with the same labels; a budget, cancellation.
    pub(super) fn later_hashes(
        &mut self,
        hashes: &LabelHashes,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        let before = self.hashes.len();
        for (left, series) in hashes {
            let known = *self.hashes.entry(*left).or_insert(*series);
            if known != *series && known != 0 && *series != 0 {
                return Err(same_labelset());
            }
        }
        ledger.hold(0, (self.hashes.len() - before).saturating_mul(HASH_BYTES))
    }

    /// Notes in their order, hashes, and samples by step.
    pub(super) fn into_parts(self) -> (Vec<(NoteSite, Note)>, LabelHashes, StepSamples) {
        (self.notes.into_iter().collect(), self.hashes, self.step_samples)
    }
}

/// A hash of labels that every process computes alike: of two label sets, equal ones have equal hashes.
fn hash_of(labels: &Labels) -> u64 {
    let mut bytes = Vec::with_capacity(labels.heap_bytes() + 32);
    for (name, value) in labels {
        for text in [name, value] {
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    xxh3_64(&bytes)
}
