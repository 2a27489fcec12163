//! A monotonic queue: of the samples of a window those that will be its extreme once what is before them has left.
//!
//! A sample that comes takes those off the end that it is better than: they are in no window without it. What is left
//! gets no better from front to end, so the front is the extreme. Each sample is put in once and taken out once.

use std::collections::VecDeque;

use super::Looks;
use crate::engine::window::Bound;

/// The extremes of windows that move forward over `values`. One `u32` per sample of the longest window at most.
pub(super) struct Extremes<'a, Better> {
    values: &'a [f64],
    better: Better,
    /// Positions, ascending; none of a NaN.
    queue: VecDeque<u32>,
    /// The first position that was not looked at.
    next: usize,
    pub(super) looks: Looks,
}

impl<'a, Better: Fn(&f64, &f64) -> bool> Extremes<'a, Better> {
    /// `better` tells whether its first value is to be preferred to its second, which comes earlier. It holds for no
    /// NaN.
    pub(super) fn new(values: &'a [f64], better: Better) -> Self {
        Extremes { values, better, queue: VecDeque::new(), next: 0, looks: Looks::default() }
    }

    /// The position of the best value of a window that begins and ends no earlier than those before. The last one of a
    /// window of nothing but NaN.
    #[inline]
    pub(super) fn position(&mut self, bound: Bound) -> usize {
        while self.queue.front().is_some_and(|at| (*at as usize) < bound.lo()) {
            self.queue.pop_front();
        }
        for at in self.next.max(bound.lo())..bound.hi() {
            self.looks.add(1);
            let value = &self.values[at];
            if value.is_nan() {
                continue;
            }
            while let Some(before) = self.queue.back() {
                self.looks.add(1);
                if !(self.better)(value, &self.values[*before as usize]) {
                    break;
                }
                self.queue.pop_back();
            }
            self.queue.push_back(at as u32);
        }
        self.next = bound.hi();
        self.queue.front().map_or(bound.hi() - 1, |at| *at as usize)
    }
}
