//! The extreme of a window as the better of two: that of its front half, and that of its back half.
//!
//! The halves meet at a fixed position. A window that begins later takes another suffix of the front half, whose
//! extremes were all worked out once; one that ends later adds to the back half, of which one extreme is enough. When a
//! window begins where the halves meet or later, all of it becomes the front half. So each sample is compared twice,
//! once in each half. (This is a queue made of two stacks. A monotonic queue compares as little, but pops by what the
//! values are: on values without order the processor guesses wrong at most samples, and it costs up to four times as
//! much.)

use super::Looks;
use crate::engine::window::Bound;

/// The extremes of windows that move forward over `values`. One `u32` per sample of the longest window.
pub(super) struct Extremes<'a, Better> {
    values: &'a [f64],
    better: Better,
    /// Where the extreme of the front half is from each of its positions on.
    front: Vec<u32>,
    /// The first position of the front half.
    from: usize,
    /// The first position after it.
    middle: usize,
    /// Where the extreme of the back half is; `middle` while that is empty.
    back: usize,
    /// The first position that was not looked at.
    next: usize,
    pub(super) looks: Looks,
}

impl<'a, Better: Fn(&f64, &f64) -> bool> Extremes<'a, Better> {
    /// `better` tells whether its first value is to be preferred to its second, which comes earlier. It holds for no
    /// NaN.
    pub(super) fn new(values: &'a [f64], better: Better) -> Self {
        let (front, looks) = (Vec::new(), Looks::default());
        Extremes { values, better, front, from: 0, middle: 0, back: 0, next: 0, looks }
    }

    /// The position of the best value of a window that begins and ends no earlier than those before. The last one of a
    /// window of nothing but NaN.
    #[inline]
    pub(super) fn position(&mut self, bound: Bound) -> usize {
        if bound.lo() >= self.middle {
            self.turn(bound);
        }
        let front = self.front[bound.lo() - self.from] as usize;
        if bound.hi() == self.middle {
            return front;
        }
        let (mut back, mut best) = (self.back, self.values[self.back]);
        for at in self.next..bound.hi() {
            self.looks.add(1);
            let value = self.values[at];
            if replaces(&self.better, value, best) {
                (back, best) = (at, value);
            }
        }
        (self.back, self.next) = (back, bound.hi());
        match replaces(&self.better, best, self.values[front]) {
            true => back,
            false => front,
        }
    }

    /// Makes all of a window the front half.
    fn turn(&mut self, bound: Bound) {
        self.looks.add(bound.len());
        (self.from, self.middle) = (bound.lo(), bound.hi());
        (self.back, self.next) = (bound.hi(), bound.hi());
        self.front.clear();
        self.front.resize(bound.len(), 0);
        let last = bound.hi() - 1;
        let (mut position, mut best) = (last, self.values[last]);
        let values = &self.values[bound.lo()..bound.hi()];
        for (i, (value, front)) in values.iter().zip(&mut self.front).enumerate().rev() {
            if !replaces(&self.better, best, *value) {
                (position, best) = (self.from + i, *value);
            }
            *front = position as u32;
        }
    }
}

/// Whether `later` takes the place of the best value before it.
#[inline]
fn replaces(better: &impl Fn(&f64, &f64) -> bool, later: f64, best: f64) -> bool {
    better(&later, &best) || best.is_nan()
}
