//! How one changed value is written relative to the same slot's value in the group's last frame.
//!
//! A slot remembers how its last value was written: as an integer difference of decimals with `exponent` digits
//! after the point, or as XOR of bits; and the Rice parameter that fits its differences.
//!
//! ```text
//! 1 bit 0   written as the slot remembers
//! 1 bit 1, 5 bits code: 0..=22 decimal with so many digits, 30 XOR: remembered from now on;
//!                       29 the stale marker, no more bits
//! decimal   rice(zigzag(mantissa - mantissa before)), slot's k; before = 0 where it is not such a decimal
//! XOR       6 bits leading zeros, 6 bits trailing zeros, the bits between
//! ```
//!
//! A decimal is used only where mantissa / 10^exponent gives back the very bits: a product and a quotient
//! rounded as IEEE 754 says, so that every machine agrees.

use pando_model::{STALE_NAN, is_stale_nan};

use super::bits::{BitReader, BitWriter};
use crate::error::CodecError;
use crate::varint::{unzigzag, zigzag};

/// Powers of ten that a float holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
/// Integers below this are exact in a float: 2^53.
const MANTISSA_MAX: f64 = 9_007_199_254_740_992.0;

const CODE_STALE: u64 = 29;
/// The form that is no number of digits: XOR.
const CODE_XOR: u8 = 30;
/// In the XOR form, decimals with up to this many digits are still looked for: it is cheap.
const RETRY_DIGITS: u8 = 3;

/// What a slot remembers between frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SlotCode {
    /// The value's bits in the last frame that had one; 0 before the first.
    pub(super) last: u64,
    /// Digits after the point, or [`CODE_XOR`].
    pub(super) form: u8,
    /// Rice parameter of the slot's differences.
    pub(super) k: u8,
}

impl Default for SlotCode {
    fn default() -> Self {
        SlotCode { last: 0, form: 0, k: 6 }
    }
}

/// `v` times 10^`digits` as an integer, where dividing it again gives back the bits of `v`.
fn mantissa(v: f64, digits: u8) -> Option<i64> {
    let power = POWERS[usize::from(digits)];
    let scaled = v * power;
    if scaled.is_nan() || scaled.abs() >= MANTISSA_MAX {
        return None;
    }
    // Through the integer, so that -0 is no decimal: it would come back as 0.
    let integer = scaled.round() as i64;
    ((integer as f64 / power).to_bits() == v.to_bits()).then_some(integer)
}

fn form_of(v: f64, remembered: u8) -> u8 {
    let (decimal, most) = match remembered {
        CODE_XOR => (false, RETRY_DIGITS),
        _ => (true, POWERS.len() as u8 - 1),
    };
    if decimal && mantissa(v, remembered).is_some() {
        return remembered;
    }
    (0..=most).find(|&digits| mantissa(v, digits).is_some()).unwrap_or(CODE_XOR)
}

impl SlotCode {
    /// Whether `form` can be remembered.
    pub(super) fn is_form(form: u8) -> bool {
        usize::from(form) < POWERS.len() || form == CODE_XOR
    }

    /// Appends `bits`, which differ from the last ones, and remembers them.
    pub(super) fn encode(&mut self, bits: u64, out: &mut BitWriter) {
        let v = f64::from_bits(bits);
        if is_stale_nan(v) {
            out.write(1 | CODE_STALE << 1, 6);
            self.last = bits;
            return;
        }
        let form = form_of(v, self.form);
        if form == self.form {
            out.write(0, 1);
        } else {
            out.write(1 | u64::from(form) << 1, 6);
            self.form = form;
        }
        if form == CODE_XOR {
            let x = bits ^ self.last;
            let leading = x.leading_zeros().min(63);
            let trailing = x.trailing_zeros().min(63 - leading);
            out.write(u64::from(leading), 6);
            out.write(u64::from(trailing), 6);
            out.write(x >> trailing, 64 - leading - trailing);
        } else {
            let before = mantissa(f64::from_bits(self.last), form).unwrap_or(0);
            let now = mantissa(v, form).unwrap_or(0);
            out.rice(zigzag(now - before), &mut self.k);
        }
        self.last = bits;
    }

    /// Reads what [`SlotCode::encode`] wrote and remembers it.
    pub(super) fn decode(&mut self, bits: &mut BitReader<'_>) -> Result<u64, CodecError> {
        if bits.read(1)? == 1 {
            match bits.read(5)? {
                CODE_STALE => {
                    self.last = STALE_NAN.to_bits();
                    return Ok(self.last);
                }
                form if SlotCode::is_form(form as u8) => {
                    self.form = form as u8;
                }
                _ => return Err(bits.malformed("unknown form of value")),
            }
        }
        self.last = if self.form == CODE_XOR {
            let (leading, trailing) = (bits.read(6)? as u32, bits.read(6)? as u32);
            if leading + trailing > 63 {
                return Err(bits.malformed("more zeros than bits"));
            }
            self.last ^ (bits.read(64 - leading - trailing)? << trailing)
        } else {
            let before = mantissa(f64::from_bits(self.last), self.form).unwrap_or(0);
            let now = before.wrapping_add(unzigzag(bits.rice(&mut self.k)?));
            (now as f64 / POWERS[usize::from(self.form)]).to_bits()
        };
        Ok(self.last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[f64]) -> usize {
        let (mut out, mut code) = (BitWriter::default(), SlotCode::default());
        for v in values {
            code.encode(v.to_bits(), &mut out);
        }
        let bytes = out.finish();
        let (mut bits, mut back) = (BitReader::new(&bytes), SlotCode::default());
        for v in values {
            assert_eq!(back.decode(&mut bits).expect("written"), v.to_bits());
        }
        assert_eq!(code, back);
        bytes.len()
    }

    #[test]
    fn counters_are_small_and_oddities_exact() {
        let counter: Vec<f64> = (1..=400).map(|i| f64::from(i) * 7.0).collect();
        assert!(round_trip(&counter) < 400);
        let seconds: Vec<f64> = (1..=400).map(|i| f64::from(i) / 100.0).collect();
        assert!(round_trip(&seconds) < 400);
        let nan = f64::from_bits(0x7ff8_0000_0000_1234);
        round_trip(&[
            1.5,
            STALE_NAN,
            2.5,
            nan,
            f64::INFINITY,
            -0.0,
            0.0,
            1e300,
            5e-324,
            0.1 + 0.2,
            -1e22,
            9_007_199_254_740_993.0,
            123_456_789.123_456_78,
            f64::MAX,
            f64::MIN,
            1.0,
        ]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_bits_come_back(values in prop::collection::vec(any::<u64>(), 0..20)) {
            let values: Vec<f64> = values.iter().map(|b| f64::from_bits(*b)).collect();
            round_trip(&values);
        }
    }
}
