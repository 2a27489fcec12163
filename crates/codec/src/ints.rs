//! A column of 64-bit integers: the packed core of axes, floats, histograms and start timestamps.
//!
//! The best of four modes is chosen per column, then residuals are packed in blocks of 128 (PFOR: a block's
//! width is chosen so that most residuals fit, the others are patched). The column knows its own length from
//! outside: callers write the count.
//!
//! ```text
//! column  = head:u8 base:zigzag [step:zigzag] block*
//! head    = mode (bits 0-1) | shift << 2          every value is base + a multiple of 2^shift
//! mode    = 0 constant         v[i] = base                                    no blocks
//!           1 reference        v[i] = base + (r[i] << shift)
//!           2 delta            v[i] = v[i-1] + (r[i] << shift)                v[-1] = base
//!           3 delta of delta   s[i] = s[i-1] + r[i], v[i] = v[i-1] + (s[i] << shift)
//!                                                                s[-1] = step, v[-1] = base
//! block   = width:u8 [ref:zigzag] [patches] packed            128 residuals, the last block fewer
//! width   = bits 0-5: the width, 63 stands for 64; bit 6: ref follows (else 0); bit 7: patches follow
//! packed  = low bits of r - ref, width bits each
//! patches = count:u8 size:u8 packed(position | high << 7)     size: bits of high, bit 7: highs are zigzag
//! ```
//!
//! All arithmetic wraps, so that every i64 survives. `r - ref` is `high << width | low`. An empty column has no
//! bytes. The seeds (`base`, `step`) are extrapolated back from the next values, so that the first residual
//! is as small as its neighbours and blocks stay aligned to multiples of 128 values.

use crate::bits::{BLOCK_VALUES, Block, mask, pack, packed_bytes, unpack};
use crate::error::CodecError;
use crate::varint::{Reader, put_zigzag, unzigzag, varint_len, zigzag};

const REF_FOLLOWS: u8 = 0x40;
const PATCHES_FOLLOW: u8 = 0x80;
const WIDTH_64: u8 = 63;
const SIGNED_HIGHS: u8 = 0x80;

/// A block of decoded integers.
pub type IntBlock = [i64; BLOCK_VALUES];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Constant = 0,
    Reference = 1,
    Delta = 2,
    DeltaOfDelta = 3,
}

/// Appends `values` as a column.
pub fn encode_ints(values: &[i64], out: &mut Vec<u8>) {
    let Some(&first) = values.first() else { return };
    let differing = values.iter().fold(0, |acc, v| acc | (v ^ first));
    if differing == 0 {
        out.push(Mode::Constant as u8);
        return put_zigzag(out, first);
    }
    let shift = differing.trailing_zeros();
    let candidates = [Mode::Delta, Mode::Reference, Mode::DeltaOfDelta].map(|mode| {
        let column = Residuals::new(values, mode, shift);
        (column.cost_bits(), column)
    });
    let mut best = &candidates[0];
    for candidate in &candidates[1..] {
        if candidate.0 < best.0 {
            best = candidate;
        }
    }
    best.1.write(out);
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
        match column.next(reader, &mut block)? {
            0 => return Ok(()),
            got => out.extend_from_slice(&block[..got]),
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
                let second = if values.len() > 2 {
                    at(2).wrapping_sub(at(1)).wrapping_sub(delta)
                } else {
                    0
                };
                let step0 = delta.wrapping_sub(second);
                (at(0).wrapping_sub(step0), step0.wrapping_sub(second) >> shift)
            }
        };
        Residuals { values, mode, shift, base, step }
    }

    /// The residuals of the block that begins at `from`.
    fn block(&self, from: usize, out: &mut IntBlock) -> usize {
        let n = (self.values.len() - from).min(BLOCK_VALUES);
        let shift = self.shift;
        let block = &self.values[from..from + n];
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

    fn for_each_block(&self, mut visit: impl FnMut(&[i64], Plan)) {
        let mut block = [0; BLOCK_VALUES];
        let mut from = 0;
        while from < self.values.len() {
            let n = self.block(from, &mut block);
            visit(&block[..n], Plan::of(&block[..n]));
            from += n;
        }
    }

    fn cost_bits(&self) -> usize {
        let mut bits = 8 * varint_len(zigzag(self.base));
        if self.mode == Mode::DeltaOfDelta {
            bits += 8 * varint_len(zigzag(self.step));
        }
        self.for_each_block(|_, plan| bits += plan.cost_bits);
        bits
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.mode as u8 | (self.shift as u8) << 2);
        put_zigzag(out, self.base);
        if self.mode == Mode::DeltaOfDelta {
            put_zigzag(out, self.step);
        }
        self.for_each_block(|residuals, plan| plan.write(residuals, out));
    }
}

/// How one block is packed.
#[derive(Clone, Copy)]
struct Plan {
    reference: i64,
    width: u32,
    patched: bool,
    cost_bits: usize,
}

impl Plan {
    fn of(residuals: &[i64]) -> Plan {
        let mut sorted = residuals.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut best = Plan::with_reference(residuals, sorted[0]);
        let k: usize = std::env::var("K").ok().and_then(|k| k.parse().ok()).unwrap_or(0);
        for r in sorted.iter().skip(1).take(k) {
            let p = Plan::with_reference(residuals, *r);
            if p.cost_bits < best.cost_bits {
                best = p;
            }
        }
        best
    }
    fn with_reference(residuals: &[i64], reference: i64) -> Plan {
        let mut lens = [0u8; 65];
        let (mut max_len, mut max_zigzag) = (0, 0);
        for r in residuals {
            let d = r.wrapping_sub(reference);
            let len = 64 - d.leading_zeros();
            lens[len as usize] += 1;
            max_len = max_len.max(len);
            max_zigzag = max_zigzag.max(64 - zigzag(d).leading_zeros());
        }
        let high_max = if max_len == 64 { max_zigzag } else { max_len };
        let n = residuals.len();
        let head = 8 + if reference == 0 { 0 } else { 8 * varint_len(zigzag(reference)) };
        let w0 = if max_len >= 63 { 64 } else { max_len };
        let mut best =
            Plan { reference, width: w0, patched: false, cost_bits: head + n * w0 as usize };
        let mut patches = 0usize;
        for width in (0..max_len).rev() {
            patches += lens[width as usize + 1] as usize;
            if width > 62 {
                continue;
            }
            let high = high_max.saturating_sub(width);
            if high > 57 {
                break;
            }
            let cost = head + n * width as usize + 16 + patches * (7 + high as usize);
            if cost < best.cost_bits {
                best = Plan { reference, width, patched: true, cost_bits: cost };
            }
        }
        best
    }

    fn write(&self, residuals: &[i64], out: &mut Vec<u8>) {
        let width_code = if self.width == 64 { WIDTH_64 } else { self.width as u8 };
        let mut head = width_code;
        if self.reference != 0 {
            head |= REF_FOLLOWS;
        }
        if self.patched {
            head |= PATCHES_FOLLOW;
        }
        out.push(head);
        if self.reference != 0 {
            put_zigzag(out, self.reference);
        }
        let mut packed: Block = [0; BLOCK_VALUES];
        for (p, r) in packed.iter_mut().zip(residuals) {
            *p = r.wrapping_sub(self.reference) as u64;
        }
        let packed = &packed[..residuals.len()];
        if self.patched {
            let any_low = packed.iter().any(|r| (*r as i64) < 0);
            let mut patches = Vec::new();
            let mut size = 0;
            for (i, p) in packed.iter().enumerate() {
                let high =
                    if any_low { zigzag(*p as i64 >> self.width) } else { p >> self.width };
                if high != 0 {
                    size = size.max(64 - high.leading_zeros());
                    patches.push((i as u64, high));
                }
            }
            out.push(patches.len() as u8);
            out.push(size as u8 | if any_low { SIGNED_HIGHS } else { 0 });
            let patches: Vec<u64> = patches.iter().map(|(i, h)| i | h << 7).collect();
            pack(&patches, (size + 7).min(64), out);
        }
        pack(packed, self.width, out);
    }
}

/// Decoder of a column, block by block.
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

    /// Decodes the next block into `out` and says how many values it has; 0 at the end.
    pub fn next(&mut self, reader: &mut Reader<'_>, out: &mut IntBlock) -> Result<usize, CodecError> {
        let n = self.left.min(BLOCK_VALUES);
        if n == 0 {
            return Ok(0);
        }
        self.left -= n;
        let shift = self.shift;
        match self.mode {
            Mode::Constant => out.fill(self.base),
            Mode::Reference => {
                read_residuals(reader, n, out)?;
                for v in out.iter_mut() {
                    *v = self.base.wrapping_add(*v << shift);
                }
            }
            Mode::Delta => {
                read_residuals(reader, n, out)?;
                for v in out[..n].iter_mut() {
                    self.base = self.base.wrapping_add(*v << shift);
                    *v = self.base;
                }
            }
            Mode::DeltaOfDelta => {
                read_residuals(reader, n, out)?;
                for v in out[..n].iter_mut() {
                    self.step = self.step.wrapping_add(*v);
                    self.base = self.base.wrapping_add(self.step << shift);
                    *v = self.base;
                }
            }
        }
        Ok(n)
    }
}

fn read_residuals(reader: &mut Reader<'_>, n: usize, out: &mut IntBlock) -> Result<(), CodecError> {
    let head = reader.u8()?;
    let width = match head & 0x3f {
        WIDTH_64 => 64,
        width => u32::from(width),
    };
    let reference = if head & REF_FOLLOWS != 0 { reader.zigzag()? } else { 0 };
    let mut patches: Block = [0; BLOCK_VALUES];
    let (mut count, mut signed) = (0, false);
    if head & PATCHES_FOLLOW != 0 {
        count = usize::from(reader.u8()?);
        let size = reader.u8()?;
        signed = size & SIGNED_HIGHS != 0;
        let bits = u32::from(size & !SIGNED_HIGHS) + 7;
        if count > n || bits > 64 {
            return Err(reader.malformed("patches do not fit their block"));
        }
        unpack(reader.rest(), count, bits, &mut patches);
        reader.bytes(packed_bytes(count, bits))?;
    }
    let mut low: Block = [0; BLOCK_VALUES];
    unpack(reader.rest(), n, width, &mut low);
    reader.bytes(packed_bytes(n, width))?;
    for patch in &patches[..count] {
        let high = patch >> 7;
        let high = if signed { unzigzag(high) as u64 } else { high };
        low[(patch & mask(7)) as usize] |= high << width.min(63);
    }
    for (out, low) in out.iter_mut().zip(&low) {
        *out = reference.wrapping_add(*low as i64);
    }
    Ok(())
}
