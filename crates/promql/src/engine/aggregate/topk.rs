//! `Candidates`: the best `k` series of a group, step by step.
//!
//! Ties are decided by the series' labels, so that the choice does not depend on who saw a series first.

use std::cmp::Ordering;

use crate::engine::labelset::LabelSetIndex;
use crate::engine::vector::StepVector;
use crate::fragment::Aggregation;
use crate::syntax::ast::AggregateOp;

/// The best `k` of a group at every step.
pub(super) struct Candidates {
    k: usize,
    largest: bool,
    index: LabelSetIndex,
    /// Labels and drop flags of all series that ever held a place.
    series: Vec<(pando_model::Labels, bool)>,
    /// Per step, best first, at most `k`.
    places: Vec<Vec<(f64, u32)>>,
}

impl Candidates {
    pub(super) fn new(aggregation: &Aggregation, steps: usize) -> Self {
        Candidates {
            k: aggregation.k as usize,
            largest: aggregation.op == AggregateOp::TopK,
            index: LabelSetIndex::default(),
            series: Vec::new(),
            places: vec![Vec::new(); steps],
        }
    }

    /// Adds one series.
    pub(super) fn add(&mut self, series: &StepVector) {
        let mut number = None;
        for i in series.present.iter() {
            let v = series.values[i];
            let full = self.places[i].len() >= self.k;
            let at = self.places[i].partition_point(|(other, n)| {
                let by_value = rank(self.largest, *other, v);
                let labels = || self.series[*n as usize].0.cmp(&series.labels);
                by_value.then_with(labels) != Ordering::Greater
            });
            if full && at >= self.k {
                continue;
            }
            let number = *number.get_or_insert_with(|| {
                let n = self.index.position(&series.labels);
                if n == self.series.len() {
                    self.series.push((series.labels.clone(), series.drop_name));
                }
                n as u32
            });
            self.places[i].insert(at, (v, number));
            self.places[i].truncate(self.k);
        }
    }

    pub(super) fn samples(&self) -> usize {
        self.places.iter().map(Vec::len).sum()
    }

    /// The series that hold a place, with the values of those steps.
    pub(super) fn into_series(self) -> Vec<StepVector> {
        let steps = self.places.len();
        let mut out: Vec<StepVector> = self
            .series
            .into_iter()
            .map(|(labels, drop_name)| StepVector { drop_name, ..StepVector::empty(labels, steps) })
            .collect();
        for (i, places) in self.places.iter().enumerate() {
            for (v, n) in places {
                out[*n as usize].set(i, *v);
            }
        }
        out.retain(|v| !v.is_empty());
        out
    }

    /// [`Candidates::into_series`], best of the first step first.
    pub(super) fn into_ranked(self) -> Vec<StepVector> {
        let largest = self.largest;
        let mut out = self.into_series();
        out.sort_by(|a, b| {
            let by_value = match (a.float(0), b.float(0)) {
                (Some(x), Some(y)) => rank(largest, x, y),
                (x, y) => y.is_some().cmp(&x.is_some()),
            };
            by_value.then_with(|| a.labels.cmp(&b.labels))
        });
        out
    }
}

/// The order of two values, the better one first; NaN is the worst.
fn rank(largest: bool, a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let ascending = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if largest { ascending.reverse() } else { ascending }
        }
    }
}
