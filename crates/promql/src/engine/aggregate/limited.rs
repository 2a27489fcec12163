//! `Limited`: the series of a group that `limitk` or `limit_ratio` keep, step by step.
//!
//! Which ones those are depends on labels alone: `limitk` takes the first k of a step in the order of labels, and
//! `limit_ratio` those whose hash falls into its part. So a choice among some of the series keeps all that a choice
//! among all of them keeps.

use std::collections::BTreeMap;

use pando_model::Labels;
use xxhash_rust::xxh64::xxh64;

use crate::budget::Ledger;
use crate::engine::vector::{StepVector, same_labelset};
use crate::error::QueryError;
use crate::fragment::{Aggregation, AggregationParam};

/// How much more than was left after the last choice is taken in before the next one.
const GROWTH: usize = 2;
/// The fewest series that are chosen among before the end.
const SERIES_MIN: usize = 64;

/// Which series of a step stay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Rule {
    /// So many, the first ones in the order of labels.
    First(u64),
    /// Those whose hash, 0 to 1, is below it; or not below one more than it, where it is negative.
    Ratio(f64),
}

/// The series of a group that may stay.
pub(super) struct Limited {
    rule: Rule,
    steps: usize,
    series: BTreeMap<Labels, StepVector>,
    /// With so many series the next choice is made.
    choose_at: usize,
}

impl Limited {
    pub(super) fn new(aggregation: &Aggregation, steps: usize) -> Self {
        let rule = match aggregation.param {
            AggregationParam::Places(places) => Rule::First(places.into()),
            AggregationParam::Ratio(ratio) => Rule::Ratio(ratio),
            _ => Rule::First(0),
        };
        Limited { rule, steps, series: BTreeMap::new(), choose_at: SERIES_MIN }
    }

    /// Adds one series. What is kept of it is held in `ledger`.
    pub(super) fn add(
        &mut self,
        series: &StepVector,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        if let Rule::Ratio(ratio) = self.rule
            && !in_part(&series.labels, ratio)
        {
            return Ok(());
        }
        // Names were dropped, and two series have become one.
        if self.series.contains_key(&series.labels) {
            return Err(same_labelset());
        }
        ledger.hold(series.samples(), series.bytes() + series.labels.heap_bytes())?;
        self.series.insert(series.labels.clone(), series.clone());
        if self.series.len() >= self.choose_at {
            self.choose(ledger);
            self.choose_at = SERIES_MIN.max(self.series.len() * GROWTH);
        }
        Ok(())
    }

    /// Lets go what cannot stay.
    fn choose(&mut self, ledger: &mut Ledger) {
        let Rule::First(places) = self.rule else { return };
        let mut taken = vec![0; self.steps];
        self.series.retain(|labels, series| {
            let before = (series.samples(), series.bytes());
            first_places(series, |_| places, &mut taken);
            let stays = !series.is_empty();
            let after = if stays { (series.samples(), series.bytes()) } else { (0, 0) };
            let labels = if stays { 0 } else { labels.heap_bytes() };
            ledger.release(before.0 - after.0, before.1 - after.1 + labels);
            stays
        });
    }

    /// The series that stay, in the order of their labels.
    pub(super) fn into_series(mut self, ledger: &mut Ledger) -> Vec<StepVector> {
        self.choose(ledger);
        self.series.into_values().collect()
    }
}

/// Keeps of `series`, the next one in the order of labels, the steps at which fewer than `places` were taken.
pub(super) fn first_places(
    series: &mut StepVector,
    places: impl Fn(usize) -> u64,
    taken: &mut [u64],
) {
    let mut mask = series.presence();
    for i in series.presence().iter() {
        if taken[i] < places(i) {
            taken[i] += 1;
        } else {
            mask.unset(i);
        }
    }
    series.keep(&mask);
}

/// Whether series with these labels are in the part that `ratio` says.
pub(super) fn in_part(labels: &Labels, ratio: f64) -> bool {
    let place = place_of(labels);
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

/// Where the labels fall in 0..1.
fn place_of(labels: &Labels) -> f64 {
    hash_of(labels) as f64 / u64::MAX as f64
}

/// The hash that Prometheus has for labels (model/labels/labels_stringlabels.go, as it is built without tags): xxh64 of
/// names and values, each behind its length in one byte, or in three behind 255.
fn hash_of(labels: &Labels) -> u64 {
    let mut bytes = Vec::with_capacity(labels.heap_bytes());
    for (name, value) in labels {
        for text in [name, value] {
            match u8::try_from(text.len()) {
                Ok(length) if length < 255 => bytes.push(length),
                _ => {
                    bytes.push(255);
                    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
                }
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    xxh64(&bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, CancelFlag};
    use crate::syntax::ast::AggregateOp;

    #[test]
    fn what_cannot_stay_is_let_go_on_the_way() {
        let mut ledger = Ledger::new(Budget::default(), CancelFlag::new());
        let param = AggregationParam::Places(3);
        let (op, grouping) = (AggregateOp::LimitK, Vec::new());
        let aggregation = Aggregation { op, param, grouping, without: false };
        let mut limited = Limited::new(&aggregation, 2);
        for n in (0..5_000).rev() {
            let labels = Labels::from_pairs([("n", format!("{n:04}"))]);
            let mut series = StepVector::constant(labels, f64::from(n), 2);
            if n < 2 {
                // Two more have a place at the first step.
                series.present.unset(0);
            }
            limited.add(&series, &mut ledger).expect("within the budget");
            assert!(limited.series.len() <= SERIES_MIN);
        }
        let kept: Vec<_> = limited
            .into_series(&mut ledger)
            .iter()
            .map(|s| (s.labels.value("n").to_string(), s.float(0).is_some(), s.float(1).is_some()))
            .collect();
        let named = |n: &str, first, second| (n.to_string(), first, second);
        assert_eq!(
            kept,
            [
                named("0000", false, true),
                named("0001", false, true),
                named("0002", true, true),
                named("0003", true, false),
                named("0004", true, false),
            ]
        );
        assert!(ledger.peak_samples < 300, "{}", ledger.peak_samples);
    }

    /// What Prometheus' `labels.Labels.Hash` gives.
    #[test]
    fn labels_have_the_hash_of_prometheus() {
        let of = |pairs: &[(&str, &str)]| hash_of(&Labels::from_pairs(pairs.iter().copied()));
        assert_eq!(of(&[]), 17_241_709_254_077_376_921);
        assert_eq!(of(&[("__name__", "m"), ("job", "a")]), 1_073_183_165_103_555_820);
        assert_eq!(of(&[("a", &"x".repeat(254))]), 15_390_423_940_348_798_586);
        assert_eq!(of(&[("a", &"x".repeat(255))]), 7_843_869_350_762_009_678);
        assert_eq!(of(&[("a", &"é".repeat(40_000))]), 13_734_618_583_298_749_735);
    }
}
