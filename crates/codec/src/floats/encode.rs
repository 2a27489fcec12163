//! The choices of the float encoder: where runs end, which scale a run has, what is an exception.
//!
//! Every choice is a function of the values alone, in integer or exactly specified float
//! arithmetic, so that equal values give equal bytes on every machine.

use pando_model::is_stale_nan;

use super::scale::{
    EXPONENT_MAX, power_of_ten, smallest_exponent, to_decimal, to_integer, to_near_decimal,
    to_ordered,
};
use super::{
    CONSTANT, CONSTANT_RUN_VALUES_MIN, EXCEPTIONS, KIND_FLOAT, KIND_SAME, KIND_STALE, LAST,
    RUN_VALUES_MAX, SCALE_NEAR, SCALE_ORDERED, SCALE_RAW,
};
use crate::ints::encode_ints;
use crate::varint::{put_f64, put_varint, put_zigzag};

/// Values that are looked at to guess an exponent.
const PROBES: usize = 32;
/// An exception costs about this much, bits.
const EXCEPTION_BITS: usize = 72;
/// The exponents at which sums of measured durations are near decimals: milli-, micro- and
/// nanoseconds.
const NEAR_EXPONENTS: [u8; 3] = [3, 6, 9];
/// A value this far from its decimal is probably not a sum of such decimals, ulps.
const NEAR_PROBE_ULPS_MAX: u64 = 1 << 10;

/// Appends `values` as runs.
pub(super) fn encode_runs(values: &[f64], out: &mut Vec<u8>) {
    let mut encoder = Encoder { ints: Vec::new(), ulps: Vec::new(), exceptions: Vec::new() };
    let mut rest = values;
    while let Some(first) = rest.first() {
        let bits = first.to_bits();
        let same = rest.iter().take_while(|v| v.to_bits() == bits).count();
        let constant = same == rest.len() || same >= CONSTANT_RUN_VALUES_MIN;
        let n = if constant { same } else { rest.len().min(RUN_VALUES_MAX) };
        let (run, left) = rest.split_at(n);
        rest = left;
        let head = RunHead { last: left.is_empty(), n };
        if constant { head.write_constant(*first, out) } else { encoder.write_run(run, head, out) }
    }
}

#[derive(Clone, Copy)]
struct RunHead {
    last: bool,
    n: usize,
}

impl RunHead {
    fn write(self, head: u8, out: &mut Vec<u8>) {
        out.push(head | if self.last { LAST } else { 0 });
        if !self.last {
            put_varint(out, self.n as u64);
        }
    }

    fn write_constant(self, v: f64, out: &mut Vec<u8>) {
        let exact = |e: u8| match e {
            0 => to_integer(v),
            _ => to_decimal(v, power_of_ten(e)),
        };
        match smallest_exponent(v).and_then(|e| Some((e, exact(e)?))) {
            Some((exponent, mantissa)) => {
                self.write(exponent | CONSTANT, out);
                put_zigzag(out, mantissa);
            }
            None => {
                self.write(SCALE_ORDERED | CONSTANT, out);
                put_f64(out, v);
            }
        }
    }
}

/// The encoder's scratch space: the run as integers, and what has none.
struct Encoder {
    ints: Vec<i64>,
    ulps: Vec<i64>,
    exceptions: Vec<(usize, f64)>,
}

impl Encoder {
    fn write_run(&mut self, run: &[f64], head: RunHead, out: &mut Vec<u8>) {
        let exponent = self.choose_exponent(run);
        let start = out.len();
        self.write_scaled(exponent, None, head, out);
        let bytes = out.len() - start;
        // Decimals that are this dear are none, or have nearly all the digits of a float.
        if bytes <= 5 * run.len() && self.exceptions.len() <= run.len() / 16 {
            return;
        }
        let mut best = out.split_off(start);
        for alternative in [Self::write_near, Self::write_ordered, Self::write_raw] {
            let mut bytes = Vec::new();
            alternative(self, run, head, &mut bytes);
            if !bytes.is_empty() && bytes.len() < best.len() {
                best = bytes;
            }
        }
        out.append(&mut best);
    }

    /// Writes `ints` (and `ulps` where there is a near exponent) with the exceptions.
    fn write_scaled(&self, scale: u8, near: Option<u8>, head: RunHead, out: &mut Vec<u8>) {
        let exceptions = if self.exceptions.is_empty() { 0 } else { EXCEPTIONS };
        head.write(scale | exceptions, out);
        out.extend(near);
        self.write_exceptions(out);
        encode_ints(&self.ints, out);
        if near.is_some() {
            encode_ints(&self.ulps, out);
        }
    }

    fn write_exceptions(&self, out: &mut Vec<u8>) {
        if self.exceptions.is_empty() {
            return;
        }
        put_varint(out, self.exceptions.len() as u64);
        let (mut next, mut before) = (0, None);
        for &(position, v) in &self.exceptions {
            let kind = if is_stale_nan(v) {
                KIND_STALE
            } else if before == Some(v.to_bits()) {
                KIND_SAME
            } else {
                KIND_FLOAT
            };
            put_varint(out, ((position - next) as u64) << 2 | kind);
            if kind == KIND_FLOAT {
                put_f64(out, v);
                before = Some(v.to_bits());
            }
            next = position + 1;
        }
    }

    fn write_near(&mut self, run: &[f64], head: RunHead, out: &mut Vec<u8>) {
        let near = |v: f64, e: u8| match to_near_decimal(v, power_of_ten(e)) {
            Some((_, ulps)) => ulps.unsigned_abs() <= NEAR_PROBE_ULPS_MAX,
            None => false,
        };
        let fits = |e: &u8| {
            let probes = run.iter().step_by(run.len().div_ceil(PROBES));
            let far = probes.clone().filter(|v| !near(**v, *e)).count();
            far * 8 <= probes.count()
        };
        let Some(exponent) = NEAR_EXPONENTS.into_iter().find(fits) else { return };
        let power = power_of_ten(exponent);
        self.fill(run, |v| to_near_decimal(v, power));
        self.write_scaled(SCALE_NEAR, Some(exponent), head, out);
    }

    fn write_ordered(&mut self, run: &[f64], head: RunHead, out: &mut Vec<u8>) {
        self.fill(run, |v| Some((to_ordered(v), 0)));
        self.write_scaled(SCALE_ORDERED, None, head, out);
    }

    fn write_raw(&mut self, run: &[f64], head: RunHead, out: &mut Vec<u8>) {
        head.write(SCALE_RAW, out);
        run.iter().for_each(|v| put_f64(out, *v));
    }

    /// Chooses the run's exponent and fills in the mantissas and exceptions at it.
    fn choose_exponent(&mut self, run: &[f64]) -> u8 {
        self.fill(run, |v| Some((to_integer(v)?, 0)));
        if self.exceptions.is_empty() {
            return 0;
        }
        // First a guess from a few values; where many do not have it, all of them are asked.
        let mut exponent = 0;
        for probes in [PROBES, usize::MAX] {
            let guess = self.cheapest_exponent(run, probes);
            if guess != exponent {
                exponent = guess;
                let power = power_of_ten(exponent);
                match exponent {
                    0 => self.fill(run, |v| Some((to_integer(v)?, 0))),
                    _ => self.fill(run, |v| Some((to_decimal(v, power)?, 0))),
                }
            }
            if self.exceptions.len() <= run.len() / 32 {
                break;
            }
        }
        exponent
    }

    /// The exponent at which digits for all and exceptions for some together cost least.
    fn cheapest_exponent(&self, run: &[f64], probes: usize) -> u8 {
        let probed = run.iter().step_by(run.len().div_ceil(probes));
        let (mut with_exponent, mut all) = ([0usize; EXPONENT_MAX as usize + 1], 0);
        for exponent in probed.map(|v| smallest_exponent(*v)) {
            all += 1;
            if let Some(e) = exponent {
                with_exponent[usize::from(e)] += 1;
            }
        }
        let (mut best, mut exceptions) = ((usize::MAX, 0), all);
        for e in 0..=EXPONENT_MAX {
            exceptions -= with_exponent[usize::from(e)];
            // A decimal digit is 3.32 bits.
            let bits = exceptions * EXCEPTION_BITS + all * usize::from(e) * 332 / 100;
            if bits < best.0 {
                best = (bits, e);
            }
        }
        best.1
    }

    /// Fills in the integers that `convert` gives (with their ulps). A value without one is an
    /// exception, and its place is filled with the integer before it (the first: after it), which
    /// costs least in any mode.
    fn fill(&mut self, run: &[f64], convert: impl Fn(f64) -> Option<(i64, i64)>) {
        self.ints.clear();
        self.ulps.clear();
        self.exceptions.clear();
        let mut before = run.iter().find_map(|v| convert(*v)).unwrap_or((0, 0));
        for (position, &v) in run.iter().enumerate() {
            match convert(v) {
                Some(found) => before = found,
                None => self.exceptions.push((position, v)),
            }
            self.ints.push(before.0);
            self.ulps.push(before.1);
        }
    }
}
