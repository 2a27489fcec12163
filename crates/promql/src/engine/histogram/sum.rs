//! `HistogramSum`: histograms added up, each number with compensation, as Prometheus' `KahanAdd` does.
//!
//! Histograms of different layout are reconciled first ([`super::reconcile`]); exponential and custom buckets
//! cannot be added. A single addition is as exact as without compensation, so that the operators `+` and `-` use
//! the same code.

use std::cmp::Ordering;

use pando_model::{Histogram, ResetHint};

use super::{bounds, cells};
use crate::engine::kahan::Kahan;

/// Exponential and custom buckets met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Incompatible;

/// What there is to say of an addition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Added {
    /// One side knows of a counter reset, the other that there was none.
    pub(crate) collision: bool,
    /// Custom bounds differed.
    pub(crate) reconciled: bool,
}

/// A sum of histograms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HistogramSum {
    pub(crate) hint: ResetHint,
    pub(crate) schema: i32,
    pub(crate) custom_values: Vec<f64>,
    pub(crate) zero_threshold: f64,
    pub(crate) zero_count: Kahan,
    pub(crate) count: Kahan,
    pub(crate) sum: Kahan,
    /// Tidy cells.
    pub(crate) positive: Vec<(i32, Kahan)>,
    /// Tidy cells.
    pub(crate) negative: Vec<(i32, Kahan)>,
}

/// `a + b`, and what there is to say of it.
pub(crate) fn total(a: &Histogram, b: &Histogram) -> Result<(Histogram, Added), Incompatible> {
    let mut sum = HistogramSum::of(a);
    let added = sum.add(b)?;
    Ok((sum.finish(), added))
}

/// `a - b`, a gauge, and what there is to say of it.
pub(crate) fn difference(a: &Histogram, b: &Histogram) -> Result<(Histogram, Added), Incompatible> {
    let mut sum = HistogramSum::of(a);
    let added = sum.subtract(b)?;
    sum.hint = ResetHint::Gauge;
    Ok((sum.finish(), added))
}

fn plain(value: f64) -> Kahan {
    Kahan { sum: value, compensation: 0.0 }
}

/// Adds all of `other`, its own compensation too.
pub(super) fn add_all(kahan: &mut Kahan, other: &Kahan) {
    kahan.add(other.sum);
    if other.compensation != 0.0 {
        kahan.add(other.compensation);
    }
}

impl HistogramSum {
    /// The sum of `h` alone.
    pub(crate) fn of(h: &Histogram) -> Self {
        let side = |positive| {
            let mut cells: Vec<(i32, Kahan)> =
                cells::side(h, positive).map(|(index, count)| (index, plain(count))).collect();
            cells::tidy(&mut cells, add_all);
            cells
        };
        let custom = h.uses_custom_buckets();
        HistogramSum {
            hint: h.reset_hint,
            schema: h.schema,
            custom_values: if custom { h.custom_values.clone() } else { Vec::new() },
            zero_threshold: if custom { 0.0 } else { h.zero_threshold },
            zero_count: plain(if custom { 0.0 } else { h.zero_count }),
            count: plain(h.count),
            sum: plain(h.sum),
            positive: side(true),
            negative: side(false),
        }
    }

    /// Whether it is one that additions lead to; others come from outside only.
    pub(crate) fn is_sound(&self) -> bool {
        let tidy = |cells: &[(i32, Kahan)]| {
            let within = |index: i32| cells::is_within(index);
            cells.is_sorted_by(|a, b| a.0 < b.0) && cells.iter().all(|(index, _)| within(*index))
        };
        let bounds = self.custom_values.len();
        let bounded = |index: i32| usize::try_from(index).is_ok_and(|at| at <= bounds);
        let fits = match self.uses_custom_buckets() {
            true => self.negative.is_empty() && self.positive.iter().all(|(i, _)| bounded(*i)),
            false => bounds == 0,
        };
        fits && tidy(&self.positive) && tidy(&self.negative)
    }

    pub(crate) fn uses_custom_buckets(&self) -> bool {
        self.schema == pando_model::histogram::CUSTOM_BUCKETS_SCHEMA
    }

    /// Whether `h` can be added without reconciliation.
    pub(crate) fn has_layout_of(&self, h: &Histogram) -> bool {
        self.schema == h.schema
            && match self.uses_custom_buckets() {
                true => self.custom_values == h.custom_values,
                false => self.zero_threshold.to_bits() == h.zero_threshold.to_bits(),
            }
    }

    /// The order of layouts in which sums of different ones are to be merged: what comes out depends on it where
    /// edges of zero buckets lie within buckets of others.
    pub(crate) fn layout_order(&self, other: &HistogramSum) -> Ordering {
        let bounds = |a: &[f64], b: &[f64]| {
            let differ = a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
            differ.unwrap_or_else(|| a.len().cmp(&b.len()))
        };
        let by_schema = self.schema.cmp(&other.schema);
        by_schema
            .then_with(|| self.zero_threshold.total_cmp(&other.zero_threshold))
            .then_with(|| bounds(&self.custom_values, &other.custom_values))
    }

    /// Bytes held beside the struct itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        let cells = self.positive.capacity() + self.negative.capacity();
        cells * size_of::<(i32, Kahan)>() + self.custom_values.capacity() * size_of::<f64>()
    }

    /// Adds `h`.
    pub(crate) fn add(&mut self, h: &Histogram) -> Result<Added, Incompatible> {
        self.add_mapped(h, |v| v)
    }

    /// Subtracts `h`.
    pub(crate) fn subtract(&mut self, h: &Histogram) -> Result<Added, Incompatible> {
        self.add_mapped(h, |v| -v)
    }

    /// Adds `h` with `f` of all its counts and its sum.
    pub(super) fn add_mapped(
        &mut self,
        h: &Histogram,
        f: impl Fn(f64) -> f64,
    ) -> Result<Added, Incompatible> {
        let custom = self.uses_custom_buckets();
        if custom != h.uses_custom_buckets() {
            return Err(Incompatible);
        }
        let fits = match custom {
            true => self.custom_values == h.custom_values,
            false => self.zero_threshold == h.zero_threshold,
        };
        if !fits {
            let mut other = HistogramSum::of(h);
            other.each(|kahan| kahan.sum = f(kahan.sum));
            return self.merge(other);
        }
        // The ordinary case: nothing of `h` has to be unrolled into memory.
        let collision = self.join_hint(h.reset_hint);
        if !custom {
            self.zero_count.add(f(h.zero_count));
            self.coarsen(h.schema);
        }
        self.count.add(f(h.count));
        self.sum.add(f(h.sum));
        let halvings = if custom { 0 } else { cells::halvings(h.schema, self.schema) };
        let mapped = |(index, count): (i32, f64)| (index, plain(f(count)));
        for (positive, kept) in [(true, &mut self.positive), (false, &mut self.negative)] {
            add_cells(kept, cells::side(h, positive).map(&mapped), halvings);
        }
        Ok(Added { collision, reconciled: false })
    }

    /// Reconciles schema and custom bounds with those of `h`, of which nothing is added.
    pub(crate) fn match_layout(&mut self, h: &Histogram) -> Result<Added, Incompatible> {
        let (schema, custom_values) = (h.schema, h.custom_values.clone());
        let reset_hint = self.hint;
        let empty = Histogram { schema, custom_values, reset_hint, ..Histogram::default() };
        self.add(&empty)
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, mut other: HistogramSum) -> Result<Added, Incompatible> {
        let custom = self.uses_custom_buckets();
        if custom != other.uses_custom_buckets() {
            return Err(Incompatible);
        }
        let collision = self.join_hint(other.hint);
        let reconciled = custom && self.reconcile_bounds(&mut other);
        if !custom {
            self.reconcile_zero_buckets(&mut other);
            self.coarsen(other.schema);
        }
        let halvings = if custom { 0 } else { cells::halvings(other.schema, self.schema) };
        add_all(&mut self.zero_count, &other.zero_count);
        add_all(&mut self.count, &other.count);
        add_all(&mut self.sum, &other.sum);
        add_cells(&mut self.positive, other.positive.into_iter(), halvings);
        add_cells(&mut self.negative, other.negative.into_iter(), halvings);
        Ok(Added { collision, reconciled })
    }

    /// Multiplies everything by `factor`; the hint stays.
    pub(super) fn scale(&mut self, factor: f64) {
        self.each(|kahan| {
            kahan.sum *= factor;
            kahan.compensation *= factor;
        });
    }

    /// Divides everything by `divisor`; the hint stays.
    pub(super) fn divide(&mut self, divisor: f64) {
        self.each(|kahan| {
            kahan.sum /= divisor;
            kahan.compensation /= divisor;
        });
    }

    fn each(&mut self, f: impl Fn(&mut Kahan)) {
        [&mut self.zero_count, &mut self.count, &mut self.sum].into_iter().for_each(&f);
        self.positive.iter_mut().chain(&mut self.negative).for_each(|(_, kahan)| f(kahan));
    }

    /// Whether any number has become infinite.
    pub(super) fn has_overflown(&self) -> bool {
        let cells = self.positive.iter().chain(&self.negative).map(|(_, kahan)| kahan);
        [&self.zero_count, &self.count, &self.sum]
            .into_iter()
            .chain(cells)
            .any(|k| k.sum.is_infinite())
    }

    /// The sum as a histogram without empty buckets.
    pub(crate) fn finish(&self) -> Histogram {
        let side = |cells: &[(i32, Kahan)]| {
            cells::spans(cells.iter().map(|(index, kahan)| (*index, kahan.value())))
        };
        let (positive_spans, positive_buckets) = side(&self.positive);
        let (negative_spans, negative_buckets) = side(&self.negative);
        Histogram {
            integer: false,
            reset_hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: self.custom_values.clone(),
        }
    }

    /// What is known of resets after an addition; true where the two sides contradict each other.
    fn join_hint(&mut self, other: ResetHint) -> bool {
        use ResetHint as H;
        let (joined, collision) = match (self.hint, other) {
            (a, b) if a == b => (a, false),
            (H::Gauge, _) | (_, H::Gauge) => (H::Gauge, false),
            (H::Unknown, _) | (_, H::Unknown) => (H::Unknown, false),
            _ => (H::Unknown, true),
        };
        self.hint = joined;
        collision
    }
}

/// Adds `other`, whose indexes are in a schema finer by `halvings`, to tidy cells.
fn add_cells(
    cells: &mut Vec<(i32, Kahan)>,
    other: impl Iterator<Item = (i32, Kahan)>,
    halvings: u32,
) {
    let (mut at, mut missing) = (0usize, Vec::new());
    for (index, count) in other {
        let index = if halvings > 0 { bounds::coarser(index, halvings) } else { index };
        if at > 0 && cells[at - 1].0 >= index {
            at = cells.partition_point(|(known, _)| *known < index);
        }
        while cells.get(at).is_some_and(|(known, _)| *known < index) {
            at += 1;
        }
        match cells.get_mut(at) {
            Some((known, kahan)) if *known == index => add_all(kahan, &count),
            _ => missing.push((index, count)),
        }
    }
    if !missing.is_empty() {
        cells.append(&mut missing);
        cells::tidy(cells, add_all);
    }
}
