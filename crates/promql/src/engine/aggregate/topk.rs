//! `Candidates`: the best `k` series of a group, step by step.
//!
//! Ties are decided by the series' labels, so that the choice does not depend on who saw a series first.

use std::cmp::Ordering;

use crate::budget::Ledger;
use crate::engine::labelset::LabelSetIndex;
use crate::engine::vector::{StepVector, column_bytes};
use crate::error::QueryError;
use crate::fragment::{Aggregation, AggregationParam};
use crate::syntax::ast::AggregateOp;

/// The best `k` of a group at every step.
pub(super) struct Candidates {
    k: usize,
    largest: bool,
    index: LabelSetIndex,
    /// Labels and drop flags of all series that ever held a place.
    series: Vec<(pando_model::Labels, bool)>,
    /// Per step, best first, at most `k`.
    places: Vec<Vec<Place>>,
}

/// A value, and the number of the series that has it.
type Place = (f64, u32);

/// How much the places may grow before the ledger is asked.
const ASK_BYTES: usize = 1 << 20;

impl Candidates {
    pub(super) fn new(aggregation: &Aggregation, steps: usize) -> Self {
        Candidates {
            k: match aggregation.param {
                AggregationParam::Places(places) => places as usize,
                _ => 0,
            },
            largest: aggregation.op == AggregateOp::TopK,
            index: LabelSetIndex::default(),
            series: Vec::new(),
            places: vec![Vec::new(); steps],
        }
    }

    /// Bytes of [`Candidates::new`].
    pub(super) fn empty_bytes(steps: usize) -> usize {
        steps * size_of::<Vec<Place>>()
    }

    /// Adds one series.
    pub(super) fn add(
        &mut self,
        series: &StepVector,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        let mut number = None;
        let (mut taken, mut grown) = (0, 0);
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
            let places = &mut self.places[i];
            let room = places.capacity();
            places.truncate(self.k.saturating_sub(1));
            places.insert(at, (v, number));
            grown += (places.capacity() - room) * size_of::<Place>();
            taken += usize::from(!full);
            if grown >= ASK_BYTES {
                ledger.hold(std::mem::take(&mut taken), std::mem::take(&mut grown))?;
            }
        }
        let labels = number.map_or(0, |_| 2 * series.labels.heap_bytes());
        ledger.hold(taken, grown + labels)
    }

    /// The series that hold a place, with the values of those steps.
    ///
    /// # Errors
    /// A budget, or cancellation.
    pub(super) fn into_series(self, ledger: &mut Ledger) -> Result<Vec<StepVector>, QueryError> {
        let steps = self.places.len();
        let mut holds_place = vec![false; self.series.len()];
        self.places.iter().flatten().for_each(|(_, n)| holds_place[*n as usize] = true);
        // Who has lost all its places needs no column.
        let mut out: Vec<Option<StepVector>> = Vec::with_capacity(self.series.len());
        for ((labels, drop_name), holds_place) in self.series.into_iter().zip(holds_place) {
            out.push(match holds_place {
                true => {
                    ledger.hold(0, column_bytes(steps) + labels.heap_bytes())?;
                    Some(StepVector { drop_name, ..StepVector::empty(labels, steps) })
                }
                false => None,
            });
        }
        for (i, places) in self.places.iter().enumerate() {
            for (v, n) in places {
                if let Some(series) = &mut out[*n as usize] {
                    series.set(i, *v);
                }
            }
        }
        Ok(out.into_iter().flatten().collect())
    }

    /// [`Candidates::into_series`], best of the first step first.
    pub(super) fn into_ranked(self, ledger: &mut Ledger) -> Result<Vec<StepVector>, QueryError> {
        let largest = self.largest;
        let mut out = self.into_series(ledger)?;
        out.sort_by(|a, b| {
            let by_value = match (a.float(0), b.float(0)) {
                (Some(x), Some(y)) => rank(largest, x, y),
                (x, y) => y.is_some().cmp(&x.is_some()),
            };
            by_value.then_with(|| a.labels.cmp(&b.labels))
        });
        Ok(out)
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
