//! `Columns`: the state of one group for `sum`, `avg`, `min`, `max`, `count` and `group`.

use pando_model::Labels;

use crate::engine::bitmap::Bitmap;
use crate::engine::kahan::{Kahan, Mean};
use crate::engine::vector::StepVector;
use crate::fragment::PartialState;
use crate::syntax::ast::AggregateOp;

/// One state per step.
pub(super) enum Columns {
    Sum { sums: Vec<Kahan>, present: Bitmap },
    Avg { means: Vec<Mean> },
    Count { count: Vec<f64> },
    Extreme { values: Vec<f64>, present: Bitmap, max: bool },
    Group { present: Bitmap },
}

impl Columns {
    pub(super) fn new(op: AggregateOp, steps: usize) -> Self {
        let present = Bitmap::zeros(steps);
        match op {
            AggregateOp::Avg => Columns::Avg { means: vec![Mean::default(); steps] },
            AggregateOp::Count => Columns::Count { count: vec![0.0; steps] },
            AggregateOp::Min | AggregateOp::Max => {
                let max = op == AggregateOp::Max;
                Columns::Extreme { values: vec![0.0; steps], present, max }
            }
            AggregateOp::Group => Columns::Group { present },
            _ => Columns::Sum { sums: vec![Kahan::default(); steps], present },
        }
    }

    /// Adds one series.
    pub(super) fn add(&mut self, series: &StepVector) {
        match self {
            Columns::Sum { sums, present } => {
                for i in series.present.iter() {
                    if present.get(i) {
                        sums[i].add(series.values[i]);
                    } else {
                        sums[i].sum = series.values[i];
                    }
                }
                present.or_with(&series.present);
            }
            Columns::Avg { means } => {
                series.present.iter().for_each(|i| means[i].add(series.values[i]));
            }
            Columns::Count { count } => {
                series.presence().iter().for_each(|i| count[i] += 1.0);
            }
            Columns::Extreme { values, present, max } => {
                for i in series.present.iter() {
                    let v = series.values[i];
                    if !present.get(i) || better(*max, v, values[i]) {
                        values[i] = v;
                        present.set(i);
                    }
                }
            }
            Columns::Group { present } => present.or_with(&series.presence()),
        }
    }

    /// Adds a state from elsewhere; false where it is of another kind or size.
    pub(super) fn merge(&mut self, state: PartialState) -> bool {
        match (self, state) {
            (
                Columns::Sum { sums, present },
                PartialState::Sum { sum, compensation, present: other },
            ) => {
                if sum.len() != sums.len()
                    || compensation.len() != sums.len()
                    || other.len() != sums.len()
                {
                    return false;
                }
                for i in other.iter() {
                    if present.get(i) {
                        sums[i].add(sum[i]);
                        sums[i].add(compensation[i]);
                    } else {
                        sums[i] = Kahan { sum: sum[i], compensation: compensation[i] };
                    }
                }
                present.or_with(&other);
                true
            }
            (
                Columns::Avg { means },
                PartialState::Avg { value, compensation, count, incremental },
            ) => {
                let n = means.len();
                if [value.len(), compensation.len(), count.len(), incremental.len()] != [n; 4] {
                    return false;
                }
                for (i, mean) in means.iter_mut().enumerate() {
                    let kahan = Kahan { sum: value[i], compensation: compensation[i] };
                    let incremental = incremental.get(i);
                    mean.merge(Mean { kahan, count: count[i], incremental });
                }
                true
            }
            (Columns::Count { count }, PartialState::Count { count: other }) => {
                let fits = count.len() == other.len();
                count.iter_mut().zip(other).for_each(|(a, b)| *a += b);
                fits
            }
            (this @ (Columns::Extreme { .. } | Columns::Group { .. }), PartialState::Values(v)) => {
                let fits = v.values.len() == this.steps();
                if fits {
                    this.add(&v);
                }
                fits
            }
            _ => false,
        }
    }

    fn steps(&self) -> usize {
        match self {
            Columns::Sum { sums, .. } => sums.len(),
            Columns::Avg { means } => means.len(),
            Columns::Count { count } => count.len(),
            Columns::Extreme { values, .. } => values.len(),
            Columns::Group { present } => present.len(),
        }
    }

    /// The mergeable state.
    pub(super) fn into_state(self, labels: Labels) -> PartialState {
        match self {
            Columns::Sum { sums, present } => PartialState::Sum {
                sum: sums.iter().map(|k| k.sum).collect(),
                compensation: sums.iter().map(|k| k.compensation).collect(),
                present,
            },
            Columns::Avg { means } => {
                let mut incremental = Bitmap::zeros(means.len());
                let flagged = means.iter().enumerate().filter(|(_, m)| m.incremental);
                flagged.for_each(|(i, _)| incremental.set(i));
                PartialState::Avg {
                    value: means.iter().map(|m| m.kahan.sum).collect(),
                    compensation: means.iter().map(|m| m.kahan.compensation).collect(),
                    count: means.iter().map(|m| m.count).collect(),
                    incremental,
                }
            }
            Columns::Count { count } => PartialState::Count { count },
            other => PartialState::Values(other.finish(labels)),
        }
    }

    /// The final values.
    pub(super) fn finish(self, labels: Labels) -> StepVector {
        let mut out = StepVector::empty(labels, self.steps());
        match self {
            Columns::Sum { sums, present } => {
                out.values = sums.iter().map(Kahan::value).collect();
                out.present = present;
            }
            Columns::Avg { means } => {
                for (i, mean) in means.iter().enumerate().filter(|(_, m)| m.count > 0.0) {
                    out.set(i, mean.value());
                }
            }
            Columns::Count { count } => {
                for (i, n) in count.iter().enumerate().filter(|(_, n)| **n > 0.0) {
                    out.set(i, *n);
                }
            }
            Columns::Extreme { values, present, .. } => {
                out.values = values;
                out.present = present;
            }
            Columns::Group { present } => {
                out.values.fill(1.0);
                out.present = present;
            }
        }
        out
    }
}

/// Whether `v` replaces `best`: NaN gives way to everything.
fn better(max: bool, v: f64, best: f64) -> bool {
    best.is_nan() || if max { v > best } else { v < best }
}
