//! Layouts of two histograms reconciled to what both can say:
//!
//! - the coarser of two exponential schemas: neighbouring buckets join;
//! - the wider zero bucket, widened further where its edge lies within a bucket that holds something: buckets
//!   inside of it join it;
//! - the bounds that two sets of custom bounds have in common: buckets between them join.

use super::sum::add_all;
use super::{HistogramSum, bounds, cells};

impl HistogramSum {
    /// Takes a coarser schema; a finer one changes nothing.
    pub(crate) fn coarsen(&mut self, schema: i32) {
        if schema >= self.schema || self.uses_custom_buckets() {
            return;
        }
        let halvings = cells::halvings(self.schema, schema);
        for cells in [&mut self.positive, &mut self.negative] {
            cells.iter_mut().for_each(|(index, _)| *index = bounds::coarser(*index, halvings));
            cells::tidy(cells, add_all);
        }
        self.schema = schema;
    }

    /// Makes both zero buckets equally wide.
    pub(super) fn reconcile_zero_buckets(&mut self, other: &mut HistogramSum) {
        // Each turn widens one of them to a bucket's edge at most; edges of the coarser schema are edges of the
        // finer one, so that two turns are enough. Thresholds that are no numbers stay.
        for _ in 0..4 {
            if self.zero_threshold > other.zero_threshold {
                other.widen_zero_bucket(self.zero_threshold);
            } else if other.zero_threshold > self.zero_threshold {
                self.widen_zero_bucket(other.zero_threshold);
            } else {
                return;
            }
        }
    }

    /// Widens the zero bucket to `threshold`, or to the edge of the populated bucket that this lies in.
    pub(super) fn widen_zero_bucket(&mut self, threshold: f64) {
        let schema = self.schema;
        let lower = |index: i32| bounds::exponential(index.saturating_sub(1), schema);
        let mut threshold = threshold;
        for cells in [&self.positive, &self.negative] {
            let before = cells.partition_point(|(index, _)| lower(*index) < threshold);
            let Some((index, last)) = before.checked_sub(1).map(|at| &cells[at]) else { continue };
            let edge = bounds::exponential(*index, schema);
            // Both sides have the same edges, so that the second one needs no other.
            if edge > threshold && last.value() != 0.0 {
                threshold = edge;
            }
        }
        for cells in [&mut self.positive, &mut self.negative] {
            let inside = cells.partition_point(|(index, _)| lower(*index) < threshold);
            for (_, kahan) in cells.drain(..inside) {
                add_all(&mut self.zero_count, &kahan);
            }
        }
        self.zero_threshold = threshold;
    }

    /// Reduces custom bounds to those in common; false where they are the same already.
    pub(super) fn reconcile_bounds(&mut self, other: &mut HistogramSum) -> bool {
        if self.custom_values == other.custom_values {
            return false;
        }
        let common = common_bounds(&self.custom_values, &other.custom_values);
        self.rebound(&common);
        other.rebound(&common);
        true
    }

    /// Takes fewer custom bounds.
    fn rebound(&mut self, to: &[f64]) {
        let from = std::mem::replace(&mut self.custom_values, to.to_vec());
        for (index, _) in &mut self.positive {
            *index = rebound_index(*index, &from, to);
        }
        cells::tidy(&mut self.positive, add_all);
    }
}

/// The bounds that both have.
pub(super) fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut rest = b.iter().peekable();
    let mut out = Vec::new();
    for bound in a {
        while rest.next_if(|other| *other < bound).is_some() {}
        if rest.next_if(|other| *other == bound).is_some() {
            out.push(*bound);
        }
    }
    out
}

/// The bucket among bounds `to`, all of them in `from`, that holds the bucket `index` of `from`.
pub(super) fn rebound_index(index: i32, from: &[f64], to: &[f64]) -> i32 {
    let bound = bounds::custom(from, index);
    to.partition_point(|other| *other < bound).min(i32::MAX as usize) as i32
}
