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

/// What a [`LabelHash`] takes in a map: 16 bytes and one of the table, which is 7/16 full when it has grown.
const HASH_BYTES: usize = 40;

/// Hashes of labels without names, and of the series whose they are.
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

    /// Adds the labels of a series, and what they are without its name.
    ///
    /// # Errors
    /// Another one has the same; a budget, cancellation.
    pub(super) fn labels(
        &mut self,
        series: &Labels,
        nameless: &Labels,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        self.hashes([LabelHash { nameless: hash_of(nameless), series: hash_of(series) }], ledger)
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
        for LabelHash { nameless, series } in hashes {
            if self.hashes.insert(nameless, series).is_some() {
                return Err(same_labelset());
            }
        }
        Ok(())
    }

    /// Adds the hashes of other steps, where a series may be met again.
    ///
    /// # Errors
    /// Another series had the same labels without its name; a budget, cancellation.
    pub(super) fn later_hashes(
        &mut self,
        hashes: &LabelHashes,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        let before = hash_bytes(&self.hashes);
        ledger.hold(0, hash_bytes(hashes))?;
        for (nameless, series) in hashes {
            let known = self.hashes.entry(*nameless).or_insert(*series);
            if *known == 0 {
                *known = *series;
            } else if *series != 0 && *series != *known {
                return Err(same_labelset());
            }
        }
        ledger.release(0, before + hash_bytes(hashes) - hash_bytes(&self.hashes));
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, CancelFlag};

    fn hashes(pairs: &[(u64, u64)]) -> LabelHashes {
        pairs.iter().copied().collect()
    }

    /// What one part does not say, another one may.
    #[test]
    fn parts_that_do_not_say_the_series_hide_no_other() {
        let mut ledger = Ledger::new(Budget::default(), CancelFlag::new());
        let mut tally = Tally::default();
        for part in [[(7, 0)], [(7, 1)], [(7, 1)], [(7, 0)]] {
            tally.later_hashes(&hashes(&part), &mut ledger).expect("one series");
        }
        assert_eq!(tally.later_hashes(&hashes(&[(7, 2)]), &mut ledger), Err(same_labelset()));
    }

    /// Hashes that parts have in common are held once, and room for a part's is asked for before they are added.
    #[test]
    fn hashes_of_parts_are_held_once() {
        let all: Vec<(u64, u64)> = (1..=100).map(|n| (n, n)).collect();
        let bytes_max = 200 * HASH_BYTES as u64;
        let add = |bytes_max: u64| {
            let budget = Budget { bytes_max, ..Budget::default() };
            let mut ledger = Ledger::new(budget, CancelFlag::new());
            let mut tally = Tally::default();
            for _ in 0..3 {
                tally.later_hashes(&hashes(&all), &mut ledger)?;
            }
            ledger.release(0, 100 * HASH_BYTES);
            Ok::<_, QueryError>(ledger.mark())
        };
        assert_eq!(add(bytes_max), Ok(Default::default()), "all of it can be given back");
        assert!(add(bytes_max - 1).is_err());
    }
}
