//! The float codec "DEC-PFOR128": lossless for every f64, bit by bit.
//!
//! Most metric values are decimals with few digits. A run of them becomes integers (`v = mantissa /
//! 10^e`, verified to give back the exact bits), the integers a column of [`crate::ints`] (the best
//! of constant, frame of reference, delta and delta of delta, in patched blocks of 128). What is no
//! decimal stands beside the column as an exception; runs of such values are stored as decimals and
//! the ulps they are off (float sums of decimals), as ordered bits, or raw.
//!
//! ```text
//! floats     = version:u8 = 1, count:varint, run*
//! run        = head:u8 [length:varint] body
//! head       = scale (bits 0-4), bit 5: constant, bit 6: exceptions, bit 7: last run, no length
//! scale      = 0-15 decimals, the exponent | 16 ordered bits | 17 raw | 18 near decimals
//! body       = constant: mantissa:zigzag (decimals) | 8 bytes (ordered bits)
//!            | raw: 8 bytes a value
//!            | [exponent:u8 (near decimals)] [exceptions] column [column of ulps (near decimals)]
//! exceptions = count:varint (gap << 2 | kind):varint [8 bytes (kind 1)] ...
//! kind       = 0 stale marker | 1 the float that follows | 2 the float of the last kind 1
//! ```
//!
//! A gap counts the values between two exceptions. Ordered bits are the float's bits as an i64, the
//! lower 63 inverted where the sign is set. It knows nothing of times, series or stale markers'
//! meaning.

use pando_model::STALE_NAN;

use crate::bits::{BLOCK_VALUES, Block};
use crate::error::CodecError;
use crate::ints::IntBlocks;
use crate::limits::SAMPLES_PER_CHUNK_MAX;
use crate::varint::{Reader, put_varint};

mod encode;
mod scale;
mod stats;
#[cfg(test)]
mod tests;

use scale::{EXPONENT_MAX, from_ordered, power_of_ten, to_ordered};
pub use stats::FloatStats;

const WHAT: &str = "floats";
const VERSION: u8 = 1;

/// Values of a run that is not constant: short enough that modes follow a change, long enough that
/// its head is below 0.1 bits a value.
const RUN_VALUES_MAX: usize = 1024;
/// Equal values that are worth a run of their own within a longer series.
const CONSTANT_RUN_VALUES_MIN: usize = 128;

const SCALE_BITS: u8 = 0x1f;
const SCALE_ORDERED: u8 = 16;
const SCALE_RAW: u8 = 17;
const SCALE_NEAR: u8 = 18;
const CONSTANT: u8 = 0x20;
const EXCEPTIONS: u8 = 0x40;
const LAST: u8 = 0x80;

const KIND_STALE: u64 = 0;
const KIND_FLOAT: u64 = 1;
const KIND_SAME: u64 = 2;

/// Appends `values`: at most 8.1 bytes a value and 12 bytes, usually 0.25 bytes a value. More
/// values than [`SAMPLES_PER_CHUNK_MAX`] could not be decoded again.
pub fn encode_floats(values: &[f64], out: &mut Vec<u8>) {
    debug_assert!(values.len() <= SAMPLES_PER_CHUNK_MAX, "callers cut chunks before that");
    out.push(VERSION);
    put_varint(out, values.len() as u64);
    encode_float_runs(values, out);
}

/// Decodes what [`encode_floats`] wrote, appending to `out`; nothing is appended where there is an
/// error. Whether all of them are one value, stored as a constant; false says nothing.
pub fn decode_floats(bytes: &[u8], out: &mut Vec<f64>) -> Result<bool, CodecError> {
    let before = out.len();
    let mut reader = Reader::new(WHAT, bytes);
    let result = read_count(&mut reader)
        .and_then(|count| decode_float_runs(&mut reader, count, out))
        .and_then(|constant| reader.finish().map(|()| constant));
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// Appends `values` as runs without version and count, for encodings that hold many columns.
pub(crate) fn encode_float_runs(values: &[f64], out: &mut Vec<u8>) {
    encode::encode_runs(values, out);
}

/// Decodes the runs of `count` values, appending to `out`. The caller has bounded `count`; where
/// there is an error, some may have been appended. Whether one constant run has them all.
pub(crate) fn decode_float_runs(
    reader: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<f64>,
) -> Result<bool, CodecError> {
    out.reserve(count);
    let (mut left, mut constant) = (count, false);
    while left > 0 {
        let head = reader.u8()?;
        let n = if head & LAST != 0 { left } else { reader.count("samples", left)? };
        if n == 0 {
            return Err(reader.malformed("run is empty"));
        }
        left -= n;
        constant = n == count && head & CONSTANT != 0;
        if head & CONSTANT != 0 {
            let v = read_constant(reader, head)?;
            out.resize(out.len() + n, v);
        } else {
            decode_run(reader, head, n, out)?;
        }
    }
    Ok(constant)
}

fn read_count(reader: &mut Reader<'_>) -> Result<usize, CodecError> {
    reader.version(VERSION)?;
    reader.count("samples", SAMPLES_PER_CHUNK_MAX)
}

fn read_constant(reader: &mut Reader<'_>, head: u8) -> Result<f64, CodecError> {
    match (head & EXCEPTIONS, head & SCALE_BITS) {
        (0, 0) => Ok(reader.zigzag()? as f64),
        (0, exponent @ 1..=EXPONENT_MAX) => Ok(reader.zigzag()? as f64 / power_of_ten(exponent)),
        (0, SCALE_ORDERED) => reader.f64(),
        _ => Err(reader.malformed("constant run of no known scale")),
    }
}

fn decode_run(
    reader: &mut Reader<'_>,
    head: u8,
    n: usize,
    out: &mut Vec<f64>,
) -> Result<(), CodecError> {
    let scale = head & SCALE_BITS;
    let exponent = match scale {
        0..=EXPONENT_MAX => scale,
        SCALE_ORDERED | SCALE_RAW => 0,
        SCALE_NEAR => reader.u8()?,
        _ => return Err(reader.malformed("run of no known scale")),
    };
    if exponent > EXPONENT_MAX {
        return Err(reader.malformed("exponent is too large"));
    }
    let power = power_of_ten(exponent);
    let start = out.len();
    let exceptions =
        if head & EXCEPTIONS != 0 { Exceptions::read(reader, n)? } else { Exceptions::default() };
    match scale {
        SCALE_RAW => {
            let (raw, _) = reader.bytes(n * 8)?.as_chunks::<8>();
            out.extend(raw.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        }
        SCALE_ORDERED => decode_column(reader, n, |v| from_ordered(v as i64), out)?,
        0 => decode_column(reader, n, |v| v as i64 as f64, out)?,
        _ => decode_column(reader, n, |v| v as i64 as f64 / power, out)?,
    }
    if scale == SCALE_NEAR {
        add_ulps(reader, &mut out[start..])?;
    }
    exceptions.apply(&mut out[start..]);
    Ok(())
}

#[inline]
fn decode_column(
    reader: &mut Reader<'_>,
    n: usize,
    convert: impl Fn(u64) -> f64,
    out: &mut Vec<f64>,
) -> Result<(), CodecError> {
    let mut column = IntBlocks::new(reader, n)?;
    if let Some(v) = column.constant() {
        out.resize(out.len() + n, convert(v as u64));
        return Ok(());
    }
    let mut block: Block = [0; BLOCK_VALUES];
    loop {
        match column.next_block(reader, &mut block)? {
            0 => return Ok(()),
            got => out.extend(block[..got].iter().map(|v| convert(*v))),
        }
    }
}

fn add_ulps(reader: &mut Reader<'_>, values: &mut [f64]) -> Result<(), CodecError> {
    let mut column = IntBlocks::new(reader, values.len())?;
    let mut block: Block = [0; BLOCK_VALUES];
    for values in values.chunks_mut(BLOCK_VALUES) {
        column.next_block(reader, &mut block)?;
        for (v, ulps) in values.iter_mut().zip(&block) {
            *v = from_ordered(to_ordered(*v).wrapping_add(*ulps as i64));
        }
    }
    Ok(())
}

/// The values of a run that its column does not hold.
#[derive(Default)]
struct Exceptions(Vec<(usize, f64)>);

impl Exceptions {
    fn read(reader: &mut Reader<'_>, n: usize) -> Result<Self, CodecError> {
        let count = reader.count_of("exceptions", n, 1)?;
        let mut exceptions = Vec::with_capacity(count);
        let (mut next, mut float) = (0u64, None);
        for _ in 0..count {
            let coded = reader.varint()?;
            let position = next + (coded >> 2);
            if position >= n as u64 {
                return Err(reader.malformed("exception beyond its run"));
            }
            let v = match coded & 3 {
                KIND_STALE => STALE_NAN,
                KIND_FLOAT => *float.insert(reader.f64()?),
                KIND_SAME => float.ok_or_else(|| reader.malformed("no exception to repeat"))?,
                _ => return Err(reader.malformed("exception of no known kind")),
            };
            exceptions.push((position as usize, v));
            next = position + 1;
        }
        Ok(Exceptions(exceptions))
    }

    fn apply(self, values: &mut [f64]) {
        for (position, v) in self.0 {
            values[position] = v;
        }
    }
}
