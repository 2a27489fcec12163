//! `Columns`: the state of one group for `sum`, `avg`, `min`, `max`, `count`, `group`, `stddev` and `stdvar`, and of
//! one value for `count_values`.

use pando_model::Labels;

use super::HistogramColumn;
use crate::annotations::Note;
use crate::budget::Ledger;
use crate::engine::bitmap::Bitmap;
use crate::engine::kahan::{Kahan, KahanColumn, Mean, Moments};
use crate::engine::vector::StepVector;
use crate::error::QueryError;
use crate::fragment::PartialState;
use crate::syntax::ast::AggregateOp;

/// One state per step.
pub(super) enum Columns {
    Sum { sums: KahanColumn, present: Bitmap, histograms: HistogramColumn },
    Avg { means: Vec<Mean>, histograms: HistogramColumn },
    Count { count: Vec<f64> },
    Extreme { values: Vec<f64>, present: Bitmap, max: bool },
    Group { present: Bitmap },
    Spread { moments: Vec<Moments>, root: bool },
}

impl Columns {
    pub(super) fn new(op: AggregateOp, steps: usize) -> Self {
        let present = Bitmap::zeros(steps);
        match op {
            AggregateOp::Avg => {
                let means = vec![Mean::default(); steps];
                Columns::Avg { means, histograms: HistogramColumn::default() }
            }
            AggregateOp::Count | AggregateOp::CountValues => {
                Columns::Count { count: vec![0.0; steps] }
            }
            AggregateOp::Min | AggregateOp::Max => {
                let max = op == AggregateOp::Max;
                Columns::Extreme { values: vec![0.0; steps], present, max }
            }
            AggregateOp::Group => Columns::Group { present },
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                let moments = vec![Moments::default(); steps];
                Columns::Spread { moments, root: op == AggregateOp::Stddev }
            }
            _ => {
                let sums = KahanColumn::new(steps);
                Columns::Sum { sums, present, histograms: HistogramColumn::default() }
            }
        }
    }

    /// Bytes of [`Columns::new`].
    pub(super) fn empty_bytes(op: AggregateOp, steps: usize) -> usize {
        let state = match op {
            AggregateOp::Avg => size_of::<Mean>(),
            AggregateOp::Count | AggregateOp::CountValues => size_of::<f64>(),
            AggregateOp::Min | AggregateOp::Max => size_of::<f64>(),
            AggregateOp::Stddev | AggregateOp::Stdvar => size_of::<Moments>(),
            AggregateOp::Group => 0,
            _ => size_of::<Kahan>(),
        };
        state * steps + steps / 8
    }

    /// Adds one series.
    pub(super) fn add(
        &mut self,
        series: &StepVector,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        match self {
            Columns::Sum { sums, present, histograms } => {
                sums.add_present(&series.values, &series.present);
                present.or_with(&series.present);
                histograms.add(series, false, ledger)?;
            }
            Columns::Avg { means, histograms } => {
                series.present.iter().for_each(|i| means[i].add(series.values[i]));
                histograms.add(series, true, ledger)?;
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
            Columns::Spread { moments, .. } => {
                series.present.iter().for_each(|i| moments[i].add(series.values[i]));
            }
        }
        Ok(())
    }

    /// Counts one more value at step `i`; whether it is the first one there.
    pub(super) fn count(&mut self, i: usize) -> bool {
        let Columns::Count { count } = self else { return false };
        count[i] += 1.0;
        count[i] == 1.0
    }

    /// At how many steps `state` has the first values.
    pub(super) fn new_counts(&self, state: &PartialState) -> usize {
        match (self, state) {
            (Columns::Count { count }, PartialState::Count { count: more }) => {
                count.iter().zip(more).filter(|(own, more)| **own == 0.0 && **more > 0.0).count()
            }
            _ => 0,
        }
    }

    /// Adds a state from elsewhere; false where it is of another kind or size.
    pub(super) fn merge(
        &mut self,
        state: PartialState,
        ledger: &mut Ledger,
    ) -> Result<bool, QueryError> {
        Ok(match (self, state) {
            (
                Columns::Sum { sums, present, histograms },
                PartialState::Sum { sum, compensation, present: other, histograms: more },
            ) => {
                let n = sums.len();
                if [sum.len(), compensation.len(), other.len()] != [n; 3] || !fits(&more, n) {
                    return Ok(false);
                }
                for i in other.iter() {
                    if present.get(i) {
                        sums.add(i, sum[i]);
                        sums.add(i, compensation[i]);
                    } else {
                        sums.set(i, sum[i], compensation[i]);
                    }
                }
                present.or_with(&other);
                histograms.merge(more, false, ledger)?;
                true
            }
            (
                Columns::Avg { means, histograms },
                PartialState::Avg { value, compensation, count, incremental, histograms: more },
            ) => {
                let n = means.len();
                let columns = [value.len(), compensation.len(), count.len(), incremental.len()];
                if columns != [n; 4] || !fits(&more, n) {
                    return Ok(false);
                }
                histograms.merge(more, true, ledger)?;
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
            (Columns::Spread { moments, .. }, PartialState::Spread { mean, squares, count }) => {
                if [mean.len(), squares.len(), count.len()] != [moments.len(); 3] {
                    return Ok(false);
                }
                for (i, moments) in moments.iter_mut().enumerate() {
                    moments.merge(Moments::of(mean[i], squares[i], count[i]));
                }
                true
            }
            (this @ (Columns::Extreme { .. } | Columns::Group { .. }), PartialState::Values(v)) => {
                let fits = v.values.len() == this.steps();
                if fits {
                    this.add(&v, ledger)?;
                }
                fits
            }
            _ => false,
        })
    }

    fn steps(&self) -> usize {
        match self {
            Columns::Sum { sums, .. } => sums.len(),
            Columns::Avg { means, .. } => means.len(),
            Columns::Count { count } => count.len(),
            Columns::Extreme { values, .. } => values.len(),
            Columns::Group { present } => present.len(),
            Columns::Spread { moments, .. } => moments.len(),
        }
    }

    /// The mergeable state.
    pub(super) fn into_state(self, labels: Labels) -> PartialState {
        match self {
            Columns::Sum { sums, present, histograms } => {
                let (sum, compensation) = sums.into_parts(&present);
                PartialState::Sum { sum, compensation, present, histograms }
            }
            Columns::Avg { means, histograms } => {
                let mut incremental = Bitmap::zeros(means.len());
                let flagged = means.iter().enumerate().filter(|(_, m)| m.incremental);
                flagged.for_each(|(i, _)| incremental.set(i));
                PartialState::Avg {
                    value: means.iter().map(|m| m.kahan.sum).collect(),
                    compensation: means.iter().map(|m| m.kahan.compensation).collect(),
                    count: means.iter().map(|m| m.count).collect(),
                    incremental,
                    histograms,
                }
            }
            Columns::Count { count } => PartialState::Count { count },
            Columns::Spread { moments, .. } => PartialState::Spread {
                mean: moments.iter().map(Moments::mean).collect(),
                squares: moments.iter().map(Moments::squares).collect(),
                count: moments.iter().map(Moments::count).collect(),
            },
            // These are their own state, and have nothing to say.
            other => PartialState::Values(other.finish(labels, &mut Vec::new())),
        }
    }

    /// The final values, and what there is to say of them.
    pub(super) fn finish(self, labels: Labels, notes: &mut Vec<Note>) -> StepVector {
        let mut out = StepVector::empty(labels, self.steps());
        match self {
            Columns::Sum { sums, present, histograms } => {
                out.values = sums.values();
                out.present = present;
                histograms.finish(false, &mut out, notes);
            }
            Columns::Avg { means, histograms } => {
                for (i, mean) in means.iter().enumerate().filter(|(_, m)| m.count > 0.0) {
                    out.set(i, mean.value());
                }
                histograms.finish(true, &mut out, notes);
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
                present.iter().for_each(|i| out.set(i, 1.0));
            }
            Columns::Spread { moments, root } => {
                for (i, moments) in moments.iter().enumerate().filter(|(_, m)| m.count() > 0.0) {
                    let variance = moments.variance();
                    out.set(i, if root { variance.sqrt() } else { variance });
                }
            }
        }
        out
    }
}

/// Whether all histograms are within `steps`.
fn fits(histograms: &HistogramColumn, steps: usize) -> bool {
    histograms.last_step().is_none_or(|last| (last as usize) < steps)
}

/// Whether `v` replaces `best`: NaN gives way to everything.
fn better(max: bool, v: f64, best: f64) -> bool {
    best.is_nan() || if max { v > best } else { v < best }
}
