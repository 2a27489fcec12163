//! `LabelSetIndex`: numbers label sets in the order in which they are first seen.

use pando_model::Labels;
use rapidhash::RapidHashMap;

/// Numbers label sets from 0. Only looked up, never iterated, so that no hash order shows.
#[derive(Debug, Default)]
pub(crate) struct LabelSetIndex {
    numbers: RapidHashMap<Labels, usize>,
}

impl LabelSetIndex {
    /// The number of `labels`; the next free one where it is new.
    pub(crate) fn position(&mut self, labels: &Labels) -> usize {
        let next = self.numbers.len();
        match self.numbers.get(labels) {
            Some(at) => *at,
            None => {
                self.numbers.insert(labels.clone(), next);
                next
            }
        }
    }

    /// The number of `labels`, if it has one.
    pub(crate) fn get(&self, labels: &Labels) -> Option<usize> {
        self.numbers.get(labels).copied()
    }

    /// Adds `labels`; false where it was there.
    pub(crate) fn insert(&mut self, labels: &Labels) -> bool {
        let before = self.numbers.len();
        self.position(labels);
        self.numbers.len() > before
    }
}
