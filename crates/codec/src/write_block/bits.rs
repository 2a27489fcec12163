//! Bit streams of a frame's body, least significant bit first, and the adaptive Golomb-Rice code of its numbers.
//! It knows nothing of frames.
//!
//! ```text
//! rice(z, k):  q = z >> k
//!   q < 8   q ones, a zero, the k low bits of z
//!   else    8 ones, 6 bits: length of z - 1, z without its leading one
//! ```

use crate::error::CodecError;

/// The quotient from which on a number is written with its length instead of in unary.
const ESCAPE: u64 = 8;

/// The largest Rice parameter.
pub(super) const K_MAX: u8 = 56;

/// Appends bits to bytes.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    word: u64,
    used: u32,
}

impl BitWriter {
    /// Appends the `count` (at most 64) low bits of `value`.
    pub(super) fn write(&mut self, value: u64, count: u32) {
        if count > 32 {
            self.write_short(value & 0xffff_ffff, 32);
            self.write_short(value >> 32, count - 32);
        } else {
            self.write_short(value, count);
        }
    }

    fn write_short(&mut self, value: u64, count: u32) {
        self.word |= (value & ((1u64 << count) - 1)) << self.used;
        self.used += count;
        while self.used >= 8 {
            self.bytes.push(self.word as u8);
            self.word >>= 8;
            self.used -= 8;
        }
    }

    /// Appends `z` in the Rice code with parameter `k`, then adapts `k`.
    pub(super) fn rice(&mut self, z: u64, k: &mut u8) {
        let quotient = z >> *k;
        if quotient < ESCAPE {
            self.write((1 << quotient) - 1, quotient as u32 + 1);
            self.write(z, u32::from(*k));
        } else {
            let len = 64 - z.leading_zeros();
            self.write((1 << ESCAPE) - 1, ESCAPE as u32);
            self.write(u64::from(len - 1), 6);
            self.write(z, len - 1);
        }
        adapt(z, k);
    }

    /// The bits that `rice(z, k)` would append.
    pub(super) fn rice_bits(z: u64, k: u8) -> u64 {
        let quotient = z >> k;
        if quotient < ESCAPE {
            quotient + 1 + u64::from(k)
        } else {
            ESCAPE + 6 + u64::from(63 - z.leading_zeros())
        }
    }

    /// The bytes; the last one is filled up with zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.used > 0 {
            self.bytes.push(self.word as u8);
        }
        self.bytes
    }
}

/// Reads what [`BitWriter`] wrote. Reading past the end is an error, never a panic.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    next: usize,
    word: u64,
    have: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        BitReader { bytes, next: 0, word: 0, have: 0 }
    }

    fn fill(&mut self) {
        while self.have <= 56 {
            let Some(byte) = self.bytes.get(self.next) else { return };
            self.word |= u64::from(*byte) << self.have;
            self.have += 8;
            self.next += 1;
        }
    }

    /// Reads `count` bits, at most 64.
    pub(super) fn read(&mut self, count: u32) -> Result<u64, CodecError> {
        if count > 32 {
            let low = self.read_short(32)?;
            return Ok(low | (self.read_short(count - 32)? << 32));
        }
        self.read_short(count)
    }

    fn read_short(&mut self, count: u32) -> Result<u64, CodecError> {
        if self.have < count {
            self.fill();
            if self.have < count {
                return Err(CodecError::Truncated {
                    what: "frame body",
                    at: self.next,
                    needed: count.div_ceil(8) as usize,
                    left: self.have as usize / 8,
                });
            }
        }
        let value = self.word & ((1u64 << count) - 1);
        self.word >>= count;
        self.have -= count;
        Ok(value)
    }

    /// Reads a number in the Rice code with parameter `k`, then adapts `k`.
    pub(super) fn rice(&mut self, k: &mut u8) -> Result<u64, CodecError> {
        self.fill();
        let ones = self.word.trailing_ones().min(ESCAPE as u32);
        let z = if u64::from(ones) < ESCAPE {
            self.read(ones + 1)?;
            (u64::from(ones) << *k) | self.read(u32::from(*k))?
        } else {
            self.read(ESCAPE as u32)?;
            let len = self.read(6)? as u32;
            (1u64 << len) | self.read(len)?
        };
        adapt(z, k);
        Ok(z)
    }

    /// The error that the bits are malformed near the cursor.
    pub(super) fn malformed(&self, reason: &'static str) -> CodecError {
        CodecError::Malformed { what: "frame body", at: self.next, reason }
    }

    /// Succeeds where nothing but the last byte's filling is left.
    pub(super) fn finish(mut self) -> Result<(), CodecError> {
        self.fill();
        if self.have >= 8 || self.word != 0 {
            return Err(self.malformed("bits are left over"));
        }
        Ok(())
    }
}

/// Moves `k` up fast and down slowly towards the length of `z`: numbers of one slot are alike.
fn adapt(z: u64, k: &mut u8) {
    let want = (63 - (z | 1).leading_zeros()) as u8;
    if want > *k {
        *k = (*k + (want - *k).div_ceil(2)).min(K_MAX);
    } else if want < *k {
        *k -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_come_back_and_cost_what_is_said() {
        let numbers: Vec<u64> =
            (0..64).flat_map(|b| [1u64 << b, (1u64 << b) - 1, u64::MAX >> b]).collect();
        let (mut writer, mut k) = (BitWriter::default(), 3);
        for &z in &numbers {
            let before = writer.bytes.len() as u64 * 8 + u64::from(writer.used);
            let cost = BitWriter::rice_bits(z, k);
            writer.rice(z, &mut k);
            let after = writer.bytes.len() as u64 * 8 + u64::from(writer.used);
            assert_eq!(after - before, cost, "z={z} k={k}");
            writer.write(z, 64);
        }
        let bytes = writer.finish();
        let (mut reader, mut k) = (BitReader::new(&bytes), 3);
        for &z in &numbers {
            assert_eq!(reader.rice(&mut k).expect("written"), z);
            assert_eq!(reader.read(64).expect("written"), z);
        }
        reader.finish().expect("nothing is left");
        assert!(BitReader::new(&[0xff]).rice(&mut 3).is_err());
    }
}
