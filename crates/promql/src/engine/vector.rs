//! `StepVector`: one series of an instant vector over all steps, as a column.

use std::sync::Arc;

use pando_model::{Histogram, Labels, SampleValue};

use super::bitmap::Bitmap;
use super::labelset::LabelSetIndex;
use super::window::bounds_bytes;
use crate::budget::Ledger;
use crate::error::QueryError;

/// One series with at most one value a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepVector {
    /// The series.
    pub labels: Labels,
    /// Whether the metric's name is to be dropped when the query ends (delayed name removal).
    pub drop_name: bool,
    /// One float per step; without meaning where `present` is not set.
    pub values: Vec<f64>,
    /// The steps that hold a float.
    pub present: Bitmap,
    /// The steps that hold a histogram, in order; none of them is in `present`.
    pub histograms: Vec<(u32, Arc<Histogram>)>,
}

impl StepVector {
    /// A series without any value over `steps` steps.
    pub fn empty(labels: Labels, steps: usize) -> Self {
        StepVector {
            labels,
            drop_name: false,
            values: vec![0.0; steps],
            present: Bitmap::zeros(steps),
            histograms: Vec::new(),
        }
    }

    /// Gives a series without steps so many of them, without any value.
    pub(crate) fn make_room(&mut self, steps: usize) {
        self.values = vec![0.0; steps];
        self.present = Bitmap::zeros(steps);
    }

    /// A series that has `value` at every step.
    pub fn constant(labels: Labels, value: f64, steps: usize) -> Self {
        StepVector {
            labels,
            drop_name: false,
            values: vec![value; steps],
            present: Bitmap::ones(steps),
            histograms: Vec::new(),
        }
    }

    /// Sets the float of step `i`.
    pub fn set(&mut self, i: usize, value: f64) {
        self.values[i] = value;
        self.present.set(i);
    }

    /// The float of step `i`.
    pub fn float(&self, i: usize) -> Option<f64> {
        self.present.get(i).then(|| self.values[i])
    }

    /// The histogram of step `i`.
    pub fn histogram(&self, i: usize) -> Option<&Arc<Histogram>> {
        let at = self.histograms.binary_search_by_key(&(i as u32), |(s, _)| *s).ok()?;
        Some(&self.histograms[at].1)
    }

    /// The value of step `i`.
    pub fn value(&self, i: usize) -> Option<SampleValue> {
        match self.float(i) {
            Some(v) => Some(SampleValue::Float(v)),
            None => self.histogram(i).map(|h| SampleValue::Histogram(h.clone())),
        }
    }

    /// Sets the histogram of step `i`, which is later than those that there are, and holds it.
    pub(crate) fn push_histogram(
        &mut self,
        i: usize,
        h: Arc<Histogram>,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        let before = self.histograms.last().map(|(_, h)| h);
        ledger.hold(1, histogram_bytes_behind(before, &h))?;
        self.histograms.push((i as u32, h));
        Ok(())
    }

    /// Whether no step holds anything.
    pub fn is_empty(&self) -> bool {
        self.histograms.is_empty() && !self.present.any()
    }

    /// The steps that hold a float or a histogram.
    pub fn presence(&self) -> Bitmap {
        let mut all = self.present.clone();
        for (i, _) in &self.histograms {
            all.set(*i as usize);
        }
        all
    }

    /// Removes all values at steps outside of `mask`.
    pub fn keep(&mut self, mask: &Bitmap) {
        for i in self.present.iter().filter(|i| !mask.get(*i)) {
            self.values[i] = 0.0;
        }
        self.present.and_with(mask);
        self.histograms.retain(|(i, _)| mask.get(*i as usize));
    }

    /// Values held: what budgets count.
    pub fn samples(&self) -> usize {
        self.present.count() + self.histograms.len()
    }

    /// Bytes held. A histogram that neighbours share counts once.
    pub fn bytes(&self) -> usize {
        let mut before = None;
        let histograms: usize =
            self.histograms.iter().map(|(_, h)| histogram_bytes_behind(before.replace(h), h)).sum();
        column_bytes(self.values.len()) + self.labels.heap_bytes() + histograms
    }

    /// The series of one step, at each of `steps` steps. Held before it is made.
    pub(crate) fn spread(self, steps: usize, ledger: &mut Ledger) -> Result<Self, QueryError> {
        let shared = self.histograms.len() * steps * SHARED_HISTOGRAM_BYTES;
        let bytes = column_bytes(steps) + self.labels.heap_bytes() + shared;
        ledger.hold(self.samples() * steps, bytes)?;
        let mut out = StepVector::empty(self.labels.clone(), steps);
        out.drop_name = self.drop_name;
        match self.value(0) {
            Some(SampleValue::Float(v)) => {
                out.values.fill(v);
                out.present = Bitmap::ones(steps);
            }
            Some(SampleValue::Histogram(h)) => {
                out.histograms = (0..steps as u32).map(|i| (i, h.clone())).collect();
            }
            None => {}
        }
        Ok(out)
    }

    /// Takes over the values of `other` at steps that this one does not have; false where both have one.
    pub(crate) fn absorb(&mut self, other: StepVector) -> bool {
        if self.presence().intersects(&other.presence()) {
            return false;
        }
        for i in other.present.iter() {
            self.set(i, other.values[i]);
        }
        if !other.histograms.is_empty() {
            self.histograms.extend(other.histograms);
            self.histograms.sort_by_key(|(i, _)| *i);
        }
        self.drop_name |= other.drop_name;
        true
    }
}

/// Bytes that a series takes over `steps` steps without its labels and histograms: what is to be held before it is
/// made.
pub(crate) fn column_bytes(steps: usize) -> usize {
    steps * 8 + steps / 8 + 96
}

/// A column over `steps` steps that `make` makes: room for it is held before, and afterwards what it has become.
/// `make` has to hold every histogram that it makes.
pub(crate) fn held_column(
    ledger: &mut Ledger,
    steps: usize,
    make: impl FnOnce(&mut Ledger) -> Result<StepVector, QueryError>,
) -> Result<StepVector, QueryError> {
    let mark = ledger.mark();
    ledger.hold(0, column_bytes(steps) + bounds_bytes(steps))?;
    let vector = make(ledger)?;
    ledger.back_to(mark);
    ledger.hold(vector.samples(), vector.bytes())?;
    Ok(vector)
}

/// Samples and bytes of a vector.
pub(crate) fn size_of_vector(vector: &[StepVector]) -> (usize, usize) {
    let add = |(samples, bytes), s: &StepVector| (samples + s.samples(), bytes + s.bytes());
    vector.iter().fold((0, 0), add)
}

/// Bytes that a histogram takes in memory.
pub(crate) fn histogram_bytes(h: &Histogram) -> usize {
    let buckets = h.positive_buckets.len() + h.negative_buckets.len() + h.custom_values.len();
    // The struct itself, and the counters of the pointer to it.
    16 + size_of::<Histogram>() + 8 * (buckets + h.positive_spans.len() + h.negative_spans.len())
}

/// Bytes of an entry of a column whose histogram another one holds.
const SHARED_HISTOGRAM_BYTES: usize = size_of::<(u32, Arc<Histogram>)>();

/// Bytes that `h` adds to a column behind the histogram `before`.
fn histogram_bytes_behind(before: Option<&Arc<Histogram>>, h: &Arc<Histogram>) -> usize {
    match before {
        Some(before) if Arc::ptr_eq(before, h) => SHARED_HISTOGRAM_BYTES,
        _ => SHARED_HISTOGRAM_BYTES + histogram_bytes(h),
    }
}

/// The error of a vector with two equal label sets.
pub(crate) fn same_labelset() -> QueryError {
    QueryError::execution("vector cannot contain metrics with the same labelset")
}

/// Refuses a vector with two equal label sets, even where they have no step in common.
pub(crate) fn require_distinct(vector: &[StepVector]) -> Result<(), QueryError> {
    let mut index = LabelSetIndex::default();
    for series in vector {
        if !index.insert(&series.labels) {
            return Err(same_labelset());
        }
    }
    Ok(())
}

/// Joins series with equal label sets; refuses where both have a value at one step.
pub(crate) fn join_same_labels(vector: Vec<StepVector>) -> Result<Vec<StepVector>, QueryError> {
    let mut index = LabelSetIndex::default();
    let mut out: Vec<StepVector> = Vec::with_capacity(vector.len());
    for series in vector {
        let at = index.position(&series.labels);
        if at == out.len() {
            out.push(series);
        } else if !out[at].absorb(series) {
            return Err(same_labelset());
        }
    }
    Ok(out)
}
