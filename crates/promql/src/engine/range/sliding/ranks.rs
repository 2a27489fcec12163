//! Order statistics of windows that move forward.
//!
//! A counter's windows are in order as they are: to know it, the run without a fall that begins a window is remembered,
//! and only goes on where the window does. Where there is a fall, and windows overlap much, their order keys are kept
//! sorted: the key of a sample that comes takes the place of one that goes (two binary searches, and a move of what is
//! between). Else each window is selected from.

use std::ops::Range;

use super::Looks;
use crate::engine::quantile::{interpolated, order_key, select};
use crate::engine::window::Bound;

/// The quantiles of windows over `values`.
pub(super) struct Ranks<'a> {
    values: &'a [f64],
    /// Where the run without a fall ends that the last window begins with.
    run_end: usize,
    /// Where windows overlap enough to be kept sorted.
    sorted: Option<SortedWindow>,
    /// Order keys to select from. One `i64` per sample of the longest window, as those kept sorted.
    keys: Vec<i64>,
    pub(super) looks: Looks,
}

impl<'a> Ranks<'a> {
    /// `sorts` where windows overlap enough to be kept sorted.
    pub(super) fn new(values: &'a [f64], sorts: bool) -> Self {
        let sorted = sorts.then(SortedWindow::default);
        Ranks { values, run_end: 0, sorted, keys: Vec::new(), looks: Looks::default() }
    }

    /// The `q`-quantile of a window that begins and ends no earlier than those before.
    pub(super) fn quantile(&mut self, q: f64, bound: Bound) -> f64 {
        interpolated(q, bound.len(), |lower, upper| {
            if self.rises(bound) {
                let key = |rank: usize| order_key(self.values[bound.lo() + rank]);
                return (key(lower), key(upper));
            }
            if let Some(sorted) = &mut self.sorted {
                let keys = sorted.of_window(self.values, bound, &mut self.looks);
                return (keys[lower], keys[upper]);
            }
            self.looks.add(bound.len());
            self.keys.clear();
            self.keys.extend(self.values[bound.lo()..bound.hi()].iter().map(|v| order_key(*v)));
            select(&mut self.keys, lower, upper)
        })
    }

    /// Whether the window's values never fall, NaN being the smallest.
    fn rises(&mut self, bound: Bound) -> bool {
        let mut end = self.run_end.max(bound.lo() + 1);
        let mut last = order_key(self.values[end - 1]);
        for next in &self.values[end..bound.hi()] {
            self.looks.add(1);
            let next = order_key(*next);
            if next < last {
                break;
            }
            (last, end) = (next, end + 1);
        }
        self.run_end = end;
        end == bound.hi()
    }
}

/// The order keys of a window's values, ascending. One `i64` per sample of the longest window.
#[derive(Default)]
struct SortedWindow {
    keys: Vec<i64>,
    /// The positions that they are of.
    held: Range<usize>,
}

impl SortedWindow {
    /// Those of the window `bound` of `values`, which begins and ends no earlier than the last one.
    fn of_window(&mut self, values: &[f64], bound: Bound, looks: &mut Looks) -> &[i64] {
        let kept = bound.lo()..self.held.end;
        if kept.is_empty() {
            looks.add(bound.len());
            self.keys.clear();
            self.keys.extend(values[bound.lo()..bound.hi()].iter().map(|v| order_key(*v)));
            self.keys.sort_unstable();
        } else {
            let (gone, come) =
                (&values[self.held.start..kept.start], &values[kept.end..bound.hi()]);
            looks.add(gone.len() + come.len());
            let pairs = gone.len().min(come.len());
            for (gone, come) in gone.iter().zip(come) {
                self.replace(order_key(*gone), order_key(*come));
            }
            for key in gone[pairs..].iter().map(|v| order_key(*v)) {
                self.keys.remove(self.place(key));
            }
            for key in come[pairs..].iter().map(|v| order_key(*v)) {
                self.keys.insert(self.place(key), key);
            }
        }
        self.held = bound.lo()..bound.hi();
        &self.keys
    }

    /// Where the first of all that are equal to `key` is, or would be.
    fn place(&self, key: i64) -> usize {
        self.keys.partition_point(|k| *k < key)
    }

    /// Puts `come` in, and takes `gone` out.
    fn replace(&mut self, gone: i64, come: i64) {
        let (from, to) = (self.place(gone), self.place(come));
        if from < to {
            self.keys.copy_within(from + 1..to, from);
            self.keys[to - 1] = come;
        } else {
            self.keys.copy_within(to..from, to + 1);
            self.keys[to] = come;
        }
    }
}
