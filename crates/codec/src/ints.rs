//! A column of 64-bit integers: the packed core of axes, floats, histograms and start timestamps.
//!
//! The best of four modes is chosen per column, then residuals are packed in blocks of 128 (patched
//! frame of reference: a block's width is chosen so that most residuals fit, the others are
//! patched). A column knows neither its length nor its version: its owner writes both.
//!
//! ```text
//! column  = head:u8 base:zigzag [step:zigzag] block*
//! head    = mode (bits 0-1) | shift << 2          all values differ by multiples of 2^shift
//! mode    = 0 constant         v[i] = base                                    no blocks
//!           1 reference        v[i] = base + (r[i] << shift)
//!           2 delta            v[i] = v[i-1] + (r[i] << shift)                v[-1] = base
//!           3 delta of delta   s[i] = s[i-1] + r[i], v[i] = v[i-1] + (s[i] << shift)
//!                                                                s[-1] = step, v[-1] = base
//! block   = width:u8 [ref:zigzag] [patches] packed            128 residuals, the last block fewer
//! width   = bits 0-5: the width, 63 stands for 64; bit 6: ref follows (else 0); bit 7: patches
//! packed  = low bits of r - ref, width bits each
//! patches = count:u8 size:u8 packed(position | high << 7)   size: bits of high; bit 7: zigzag
//! ```
//!
//! `r - ref` is `high << width | low`. All arithmetic wraps, so that every i64 survives. An empty
//! column has no bytes. The seeds `base` and `step` are extrapolated back from the values after
//! them, so that the first residual is as small as its neighbours and blocks begin at multiples of
//! 128 values.

use crate::bits::{BLOCK_VALUES, Block, mask, pack, packed_bytes, unpack};
use crate::error::CodecError;
use crate::varint::{Reader, put_zigzag, unzigzag, varint_len, zigzag};

const WIDTH_BITS: u8 = 0x3f;
const WIDTH_64: u8 = 63;
const REF_FOLLOWS: u8 = 0x40;
const PATCHES_FOLLOW: u8 = 0x80;
const SIGNED_HIGHS: u8 = 0x80;
/// Bits of a patch's position.
const POSITION_BITS: u32 = 7;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Constant = 0,
    Reference = 1,
    Delta = 2,
    DeltaOfDelta = 3,
}

/// Appends `values` as a column. At worst 8 bytes a value, 11 bytes a block and 21 bytes.
pub fn encode_ints(values: &[i64], out: &mut Vec<u8>) {
    let Some(&first) = values.first() else { return };
    let differing = values.iter().fold(0, |acc, v| acc | (v ^ first));
    if differing == 0 {
        out.push(Mode::Constant as u8);
        return put_zigzag(out, first);
    }
    let shift = differing.trailing_zeros();
    let mut best = Residuals::new(values, Mode::Delta, shift);
    let mut best_bits = best.estimate_bits();
    for mode in [Mode::Reference, Mode::DeltaOfDelta] {
        let candidate = Residuals::new(values, mode, shift);
        let bits = candidate.estimate_bits();
        if bits < best_bits {
            (best, best_bits) = (candidate, bits);
        }
    }
    best.write(out);
}

/// Decodes a column of `n` values, appending them to `out`. The caller has bounded `n`.
pub fn decode_ints(
    reader: &mut Reader<'_>,
    n: usize,
    out: &mut Vec<i64>,
) -> Result<(), CodecError> {
    let mut column = IntBlocks::new(reader, n)?;
    out.reserve(n);
    let mut block = [0; BLOCK_VALUES];
    loop {
        match column.next_block(reader, &mut block)? {
            0 => return Ok(()),
            got => out.extend(block[..got].iter().map(|v| *v as i64)),
        }
    }
}

/// The residuals of a column in one mode.
struct Residuals<'a> {
    values: &'a [i64],
    mode: Mode,
    shift: u32,
    base: i64,
    step: i64,
}

impl<'a> Residuals<'a> {
    fn new(values: &'a [i64], mode: Mode, shift: u32) -> Self {
        let at = |i: usize| values[i.min(values.len() - 1)];
        let delta = at(1).wrapping_sub(at(0));
        let (base, step) = match mode {
            Mode::Constant => (at(0), 0),
            Mode::Reference => (values.iter().copied().fold(i64::MAX, i64::min), 0),
            Mode::Delta => (at(0).wrapping_sub(delta), 0),
            Mode::DeltaOfDelta => {
                let second = match values.get(2) {
                    Some(third) => third.wrapping_sub(at(1)).wrapping_sub(delta),
                    None => 0,
                };
                let step_0 = delta.wrapping_sub(second);
                (at(0).wrapping_sub(step_0), step_0.wrapping_sub(second) >> shift)
            }
        };
        Residuals { values, mode, shift, base, step }
    }

    /// Writes the residuals of the block that begins at value `from`, and says how many.
    fn block(&self, from: usize, out: &mut [i64; BLOCK_VALUES]) -> usize {
        let n = (self.values.len() - from).min(BLOCK_VALUES);
        let (shift, block) = (self.shift, &self.values[from..from + n]);
        match self.mode {
            Mode::Constant => {}
            Mode::Reference => {
                for (out, v) in out.iter_mut().zip(block) {
                    *out = v.wrapping_sub(self.base) >> shift;
                }
            }
            Mode::Delta => {
                let before = if from == 0 { self.base } else { self.values[from - 1] };
                out[0] = block[0].wrapping_sub(before) >> shift;
                for (out, v) in out[1..].iter_mut().zip(block.windows(2)) {
                    *out = v[1].wrapping_sub(v[0]) >> shift;
                }
            }
            Mode::DeltaOfDelta => {
                let (mut before, mut step) = if from == 0 {
                    (self.base, self.step << shift)
                } else {
                    let before = self.values[from - 1];
                    (before, before.wrapping_sub(self.values[from - 2]))
                };
                for (out, &v) in out.iter_mut().zip(block) {
                    let next = v.wrapping_sub(before);
                    *out = next.wrapping_sub(step) >> shift;
                    (before, step) = (v, next);
                }
            }
        }
        n
    }

    fn for_each_block(&self, mut visit: impl FnMut(&[i64])) {
        let mut block = [0; BLOCK_VALUES];
        let mut from = 0;
        while from < self.values.len() {
            let n = self.block(from, &mut block);
            visit(&block[..n]);
            from += n;
        }
    }

    fn estimate_bits(&self) -> usize {
        let mut bits = 8 * varint_len(zigzag(self.base));
        if self.mode == Mode::DeltaOfDelta {
            bits += 8 * varint_len(zigzag(self.step));
        }
        self.for_each_block(|residuals| bits += estimate_block_bits(residuals));
        bits
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.mode as u8 | (self.shift as u8) << 2);
        put_zigzag(out, self.base);
        if self.mode == Mode::DeltaOfDelta {
            put_zigzag(out, self.step);
        }
        self.for_each_block(|residuals| Plan::of(residuals).write(residuals, out));
    }
}

/// About what a block costs, from the lengths of its residuals around one in their middle: good
/// enough to choose a mode, at a fraction of the price of [`Plan::of`].
fn estimate_block_bits(residuals: &[i64]) -> usize {
    let n = residuals.len();
    let middle = median_of_three(residuals[n / 4], residuals[n / 2], residuals[n - 1 - n / 4]);
    let mut lens = [0u32; 65];
    for r in residuals {
        let len = 64 - zigzag(r.wrapping_sub(middle)).leading_zeros();
        lens[len as usize] += 1;
    }
    let (width, bits) = cheapest_width(&lens, n);
    // A window that covers 0 needs no reference.
    let reference = if middle.unsigned_abs() >> width.min(63) == 0 { 0 } else { middle };
    bits + 8 + reference_bits(reference)
}

/// The width that is cheapest for values of which `lens[l]` are `l` bits long, and what they cost
/// then.
fn cheapest_width(lens: &[u32; 65], n: usize) -> (usize, usize) {
    let longest = lens.iter().rposition(|&count| count > 0).unwrap_or(0);
    let (mut best, mut patched) = ((longest, n * longest), 0);
    for width in (0..longest).rev() {
        patched += lens[width + 1] as usize;
        let bits = n * width + patch_bits(patched, (longest - width) as u32);
        if bits < best.1 {
            best = (width, bits);
        }
    }
    best
}

fn median_of_three(a: i64, b: i64, c: i64) -> i64 {
    a.max(b).min(a.min(b).max(c))
}

fn patch_bits(count: usize, size: u32) -> usize {
    if count == 0 { 0 } else { 16 + count * (POSITION_BITS + size) as usize }
}

/// How one block is packed.
#[derive(Clone, Copy)]
struct Plan {
    reference: i64,
    width: u32,
}

impl Plan {
    /// The cheapest of all windows `[ref, ref + 2^width)` over the sorted residuals, for widths
    /// near the one that their lengths suggest.
    fn of(residuals: &[i64]) -> Plan {
        let n = residuals.len();
        let mut sorted = [0i64; BLOCK_VALUES];
        let sorted = &mut sorted[..n];
        sorted.copy_from_slice(residuals);
        sorted.sort_unstable();
        let (lowest, highest) = (sorted[0], sorted[n - 1]);
        let Some(span) = highest.checked_sub(lowest) else {
            return Plan { reference: 0, width: 64 };
        };
        let widest = 64 - (span as u64).leading_zeros();
        let widest = if widest == 63 { 64 } else { widest };
        let reference = shortest_reference(lowest, highest, widest);
        let mut best = Plan { reference, width: widest };
        let mut best_bits = n * widest as usize + reference_bits(reference);
        let mut lens = [0u32; 65];
        let middle = sorted[n / 2];
        for r in sorted.iter() {
            lens[64 - zigzag(r.wrapping_sub(middle)).leading_zeros() as usize] += 1;
        }
        let around = cheapest_width(&lens, n).0 as u32;
        for width in around.saturating_sub(8)..(around + 8).min(widest).min(63) {
            let (from, to) = fullest_window(sorted, width);
            let reference = shortest_reference(sorted[from], sorted[to], width);
            let Some(size) = high_bits(lowest, highest, reference, width) else { continue };
            let patched = n - 1 - (to - from);
            let bits = n * width as usize + patch_bits(patched, size) + reference_bits(reference);
            if bits < best_bits {
                (best, best_bits) = (Plan { reference, width }, bits);
            }
        }
        best
    }

    fn write(&self, residuals: &[i64], out: &mut Vec<u8>) {
        let Plan { reference, width } = *self;
        let mut offsets: Block = [0; BLOCK_VALUES];
        let offsets = &mut offsets[..residuals.len()];
        for (offset, r) in offsets.iter_mut().zip(residuals) {
            *offset = r.wrapping_sub(reference) as u64;
        }
        let (all, below) =
            offsets.iter().fold((0, 0), |(all, below), o| (all | o, below | *o as i64));
        let patched = all & !mask(width) != 0;
        let mut head = if width == 64 { WIDTH_64 } else { width as u8 };
        if reference != 0 {
            head |= REF_FOLLOWS;
        }
        if patched {
            head |= PATCHES_FOLLOW;
        }
        out.push(head);
        if reference != 0 {
            put_zigzag(out, reference);
        }
        if patched {
            write_patches(offsets, width, below < 0, out);
        }
        pack(offsets, width, out);
    }
}

/// The first and last position of the window of `2^width` (width below 64) that holds the most of
/// `sorted`; of equally full ones the lowest.
fn fullest_window(sorted: &[i64], width: u32) -> (usize, usize) {
    let (mut best, mut from) = ((0, 0), 0);
    for to in 0..sorted.len() {
        // The window only grows or moves: once it holds k values, fewer are of no interest.
        if sorted[to].wrapping_sub(sorted[from]) as u64 >> width != 0 {
            from += 1;
        } else if to - from > best.1 - best.0 {
            best = (from, to);
        }
    }
    best
}

/// Bits of the largest high part of any value in `lowest..=highest`; `None` where a patch could not
/// hold it.
fn high_bits(lowest: i64, highest: i64, reference: i64, width: u32) -> Option<u32> {
    let above = highest.checked_sub(reference)? >> width;
    let below = lowest.checked_sub(reference)? >> width;
    let high = if below >= 0 { above as u64 } else { zigzag(above) | zigzag(below) };
    let size = 64 - high.leading_zeros();
    (size + POSITION_BITS <= 64).then_some(size)
}

fn reference_bits(reference: i64) -> usize {
    if reference == 0 { 0 } else { 8 * varint_len(zigzag(reference)) }
}

/// The number nearest 0, so with the shortest varint, from which a window of `2^width` covers
/// `low..=high`.
fn shortest_reference(low: i64, high: i64, width: u32) -> i64 {
    if width >= 63 {
        return 0;
    }
    let lowest = high.saturating_sub(mask(width) as i64);
    0i64.clamp(lowest.min(low), low)
}

fn write_patches(offsets: &[u64], width: u32, signed: bool, out: &mut Vec<u8>) {
    let mut patches: Block = [0; BLOCK_VALUES];
    let (mut count, mut all) = (0, 0);
    for (position, offset) in offsets.iter().enumerate() {
        let high = if signed { zigzag(*offset as i64 >> width) } else { offset >> width };
        if high != 0 {
            patches[count] = position as u64 | high << POSITION_BITS;
            all |= high;
            count += 1;
        }
    }
    let size = 64 - all.leading_zeros();
    out.push(count as u8);
    out.push(size as u8 | if signed { SIGNED_HIGHS } else { 0 });
    pack(&patches[..count], POSITION_BITS + size, out);
}

/// Decoder of a column, block by block.
#[derive(Debug)]
pub struct IntBlocks {
    left: usize,
    mode: Mode,
    shift: u32,
    base: i64,
    step: i64,
}

impl IntBlocks {
    /// Reads the head of a column of `n` values.
    pub fn new(reader: &mut Reader<'_>, n: usize) -> Result<Self, CodecError> {
        if n == 0 {
            return Ok(IntBlocks { left: 0, mode: Mode::Constant, shift: 0, base: 0, step: 0 });
        }
        let head = reader.u8()?;
        let mode = match head & 3 {
            0 => Mode::Constant,
            1 => Mode::Reference,
            2 => Mode::Delta,
            _ => Mode::DeltaOfDelta,
        };
        let base = reader.zigzag()?;
        let step = if mode == Mode::DeltaOfDelta { reader.zigzag()? } else { 0 };
        Ok(IntBlocks { left: n, mode, shift: u32::from(head >> 2), base, step })
    }

    /// The value of all, where the column is stored as a constant.
    pub fn constant(&self) -> Option<i64> {
        (self.mode == Mode::Constant).then_some(self.base)
    }

    /// Decodes the next block into `out` (each an i64's bits) and says how many values it has, 0 at
    /// the end. What `out` holds beyond them is unspecified.
    pub fn next_block(
        &mut self,
        reader: &mut Reader<'_>,
        out: &mut Block,
    ) -> Result<usize, CodecError> {
        let n = self.left.min(BLOCK_VALUES);
        if n == 0 {
            return Ok(0);
        }
        self.left -= n;
        if self.mode == Mode::Constant {
            out[..n].fill(self.base as u64);
            return Ok(n);
        }
        let reference = read_offsets(reader, n, out)?;
        let shift = self.shift;
        let (mut base, mut step) = (self.base as u64, self.step as u64);
        match self.mode {
            Mode::Constant => {}
            Mode::Reference => {
                let base = base.wrapping_add(reference << shift);
                for v in &mut out[..n] {
                    *v = base.wrapping_add(*v << shift);
                }
            }
            Mode::Delta => {
                // What stands behind the last value is nobody's, and sums up with it.
                let values = &mut out[..n.next_multiple_of(8)];
                base = match shift {
                    0 => sum_up(values, base, |v| reference.wrapping_add(v)),
                    _ => sum_up(values, base, |v| reference.wrapping_add(v) << shift),
                };
            }
            Mode::DeltaOfDelta => {
                for v in &mut out[..n] {
                    step = step.wrapping_add(reference.wrapping_add(*v));
                    base = base.wrapping_add(step << shift);
                    *v = base;
                }
            }
        }
        if self.mode != Mode::Reference {
            (self.base, self.step) = (base as i64, step as i64);
        }
        Ok(n)
    }
}

/// Puts the sums of all differences so far in the place of `values`, of which each makes one, and returns the last one.
/// There are a multiple of eight.
#[inline]
fn sum_up(values: &mut [u64], mut base: u64, difference: impl Fn(u64) -> u64) -> u64 {
    let (groups, rest) = values.as_chunks_mut::<8>();
    debug_assert!(rest.is_empty(), "whole groups");
    for group in groups {
        // Each group by itself: only its end waits for the one before it.
        let mut sum = 0u64;
        for v in group {
            sum = sum.wrapping_add(difference(*v));
            *v = base.wrapping_add(sum);
        }
        base = base.wrapping_add(sum);
    }
    base
}

/// Reads one block of `n` offsets and returns the reference that they count from.
fn read_offsets(reader: &mut Reader<'_>, n: usize, out: &mut Block) -> Result<u64, CodecError> {
    let head = reader.u8()?;
    let width = match head & WIDTH_BITS {
        WIDTH_64 => 64,
        width => u32::from(width),
    };
    let reference = if head & REF_FOLLOWS != 0 { reader.zigzag()? as u64 } else { 0 };
    if head & PATCHES_FOLLOW == 0 {
        unpack_next(reader, n, width, out)?;
        return Ok(reference);
    }
    let (count, size) = (usize::from(reader.u8()?), reader.u8()?);
    let (signed, bits) =
        (size & SIGNED_HIGHS != 0, u32::from(size & !SIGNED_HIGHS) + POSITION_BITS);
    if count > n || bits > 64 || width == 64 {
        return Err(reader.malformed("patches do not fit their block"));
    }
    let mut patches: Block = [0; BLOCK_VALUES];
    unpack_next(reader, count, bits, &mut patches)?;
    unpack_next(reader, n, width, out)?;
    for patch in &patches[..count] {
        let high = patch >> POSITION_BITS;
        let high = if signed { unzigzag(high) as u64 } else { high };
        out[(patch & mask(POSITION_BITS)) as usize] |= high << width;
    }
    Ok(reference)
}

/// Unpacks the next `n` values. What stands behind them is handed over too: full blocks are faster
/// then.
fn unpack_next(
    reader: &mut Reader<'_>,
    n: usize,
    width: u32,
    out: &mut Block,
) -> Result<(), CodecError> {
    let bytes = reader.rest();
    reader.bytes(packed_bytes(n, width))?;
    unpack(bytes, n, width, out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz;
    use proptest::prelude::*;

    fn encoded(values: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_ints(values, &mut out);
        let mut reader = Reader::new("ints", &out);
        let mut decoded = Vec::new();
        assert_eq!(decode_ints(&mut reader, values.len(), &mut decoded), Ok(()));
        assert_eq!(decoded, values);
        assert_eq!(reader.finish(), Ok(()));
        let bound = values.len() * 8 + values.len().div_ceil(BLOCK_VALUES) * 11 + 21;
        assert!(out.len() <= bound, "{} of {}", out.len(), values.len());
        out
    }

    #[test]
    fn every_mode_is_pinned() {
        assert_eq!(encoded(&[]), []);
        assert_eq!(encoded(&[-3; 5]), [0, 5]);
        // Delta 16 is a shift of 4 and residuals of 1; the seed is one delta back.
        assert_eq!(encoded(&[0, 16, 32, 48]), [2 | 4 << 2, 31, 0x40, 2]);
        // Deltas 0, 1, 2, 3 ...: deltas of deltas are 1, the seeds are extrapolated.
        let squares: Vec<i64> = (0..20).map(|i| i * (i - 1) / 2).collect();
        assert_eq!(encoded(&squares), [3, 2, 3, 0x40, 2]);
        // Within 7 of the smallest, 3: offsets 0, 5, 2, 7, 1, 6 of three bits.
        let packed = [0b1010_1000, 0b0001_1110, 0b0000_0011];
        assert_eq!(encoded(&[3, 8, 5, 10, 4, 9])[..3], [1, 6, 3]);
        assert_eq!(encoded(&[3, 8, 5, 10, 4, 9])[3..], packed);
        // Width 0 and one patch: position 3, its high part 9 needs 4 bits, so 11 in all.
        let outlier = [7, 7, 7, 16, 7, 7, 7, 7, 7, 7];
        assert_eq!(encoded(&outlier), [1, 14, 0x80, 1, 4, 0b1000_0011, 0b100]);
    }

    #[test]
    fn an_outlier_is_a_patch_whatever_its_side() {
        for outlier in [1 << 56, 1 << 20, -5, -(1 << 40), -(1 << 56)] {
            let mut values: Vec<i64> = (0..128).map(|i| 1000 + i * 7 % 8).collect();
            values[77] = outlier;
            assert!(encoded(&values).len() < 128 * 3 / 8 + 40, "{outlier}");
        }
    }

    #[test]
    fn extremes_survive() {
        for values in [
            vec![i64::MIN, i64::MAX],
            vec![i64::MAX, i64::MIN, 0, -1, 1],
            vec![0, i64::MIN],
            vec![0, i64::MIN, 0, i64::MIN, i64::MIN],
            (0..300).map(|i| if i % 3 == 0 { i64::MIN } else { i64::MAX - i }).collect(),
            (0..64).map(|i| 1 << i).collect(),
        ] {
            encoded(&values);
        }
    }

    #[test]
    fn damage_never_panics() {
        let mut values: Vec<i64> = (0..200).map(|i| i * i % 1000).collect();
        values[50] = i64::MIN;
        fuzz::damage(&encoded(&values), |bytes| {
            let _ = decode_ints(&mut Reader::new("ints", bytes), 200, &mut Vec::new());
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn any_integers_survive(shift in 0u32..64, up in 0u32..64,
                                values in proptest::collection::vec(any::<i64>(), 0..300)) {
            let values: Vec<i64> = values.into_iter().map(|v| v >> shift << up).collect();
            encoded(&values);
            let mut sum = 0i64;
            let mut add = |v: &i64| { sum = sum.wrapping_add(*v); sum };
            let sums: Vec<i64> = values.iter().map(&mut add).collect();
            encoded(&sums);
        }

        #[test]
        fn outliers_survive(up in 0u32..40, values in proptest::collection::vec(
                (0i64..9, 0u8..40, 0u32..64, any::<i64>()), 0..300)) {
            let pick = |(small, kind, shift, any): (i64, u8, u32, i64)| match kind {
                0 => any >> shift,
                _ => small << up,
            };
            encoded(&values.into_iter().map(pick).collect::<Vec<_>>());
        }
    }
}
