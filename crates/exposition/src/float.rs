//! Floats of the exposition formats: read as Prometheus reads them, and the one form in which `le` and
//! `quantile` are stored.

use pando_model::number::{parse_go_float, push_exponent_float};
use std::fmt::Write as _;

use crate::quote::quote_bytes;

/// The NaN that Prometheus stores for a NaN it has scraped.
pub(crate) const NORMAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// Why a text is no float.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FloatError {
    Syntax,
    Range,
    /// Go's newer notations (hexadecimal, underscores), which the formats do not have.
    Unsupported,
}

impl FloatError {
    /// Go's text for it.
    pub(crate) fn message(self, text: &[u8]) -> String {
        let text = quote_bytes(text);
        match self {
            FloatError::Syntax => format!("strconv.ParseFloat: parsing {text}: invalid syntax"),
            FloatError::Range => format!("strconv.ParseFloat: parsing {text}: value out of range"),
            FloatError::Unsupported => "unsupported character in float".to_string(),
        }
    }
}

/// Reads the value of a sample.
#[inline]
pub(crate) fn parse_float(text: &[u8]) -> Result<f64, FloatError> {
    // Most values are counts: up to 18 digits fit an integer, whose conversion rounds correctly.
    if text.len() <= 18 && !text.is_empty() {
        let mut value = 0u64;
        let mut digits = true;
        for &byte in text {
            let digit = byte.wrapping_sub(b'0');
            digits &= digit < 10;
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        if digits {
            return Ok(value as f64);
        }
    }
    parse_general(text)
}

fn parse_general(text: &[u8]) -> Result<f64, FloatError> {
    if text.iter().any(|b| matches!(b, b'p' | b'P' | b'_')) {
        return Err(FloatError::Unsupported);
    }
    let signed = matches!(text.first(), Some(b'+' | b'-'));
    if text.get(usize::from(signed)).is_some_and(u8::is_ascii_alphabetic) {
        let text = std::str::from_utf8(text).map_err(|_| FloatError::Syntax)?;
        let value = parse_go_float(text).ok_or(FloatError::Syntax)?;
        return Ok(if value.is_nan() { NORMAL_NAN } else { value });
    }
    match fast_float2::parse::<f64, _>(text) {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(FloatError::Range),
        Err(_) => Err(FloatError::Syntax),
    }
}

/// `text` in the form of OpenMetrics, `1.0` for `1`; `None` where it is no float.
pub(crate) fn normal_float(text: &str) -> Option<String> {
    let value = parse_go_float(text)?;
    let mut out = String::new();
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value == 0.0 {
        // Of both signs, as Prometheus writes it.
        out.push_str("0.0");
    } else {
        // Go's 'g' with the shortest digits: an exponent below 1e-4 and from 1e6 on.
        let magnitude = value.abs();
        if !(1e-4..1e6).contains(&magnitude) {
            push_exponent_float(&mut out, value);
        } else {
            let _ = write!(out, "{value}");
        }
        if !out.contains(['e', '.']) {
            out.push_str(".0");
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn floats_are_read_as_go_reads_them() {
        for (text, value) in [
            ("0", 0.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("+1", 1.0),
            ("1.e5", 1e5),
            ("-.5e-3", -0.0005),
            ("9223372036854775808", 9_223_372_036_854_775_808u64 as f64),
            ("123456789012345678", 123456789012345678.0),
            ("0000000000000000000000000000000000000000001.2e-1", 0.12),
            ("+inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e-999", 0.0),
        ] {
            assert_eq!(parse_float(text.as_bytes()), Ok(value), "{text}");
        }
        assert_eq!(parse_float(b"nAn").map(f64::to_bits), Ok(0x7ff8_0000_0000_0001));
        for text in ["", "1e", "e5", "0x1", "--1", "-nan", "1 ", "1\r", "\u{ff11}", "true", "."] {
            assert_eq!(parse_float(text.as_bytes()), Err(FloatError::Syntax), "{text}");
        }
        assert_eq!(parse_float(b"1e400"), Err(FloatError::Range));
        assert_eq!(parse_float(b"0x1p-3"), Err(FloatError::Unsupported));
        assert_eq!(parse_float(b"1_2"), Err(FloatError::Unsupported));
    }

    #[test]
    fn bounds_have_one_form() {
        for (text, normal) in [
            ("1", "1.0"),
            ("-1", "-1.0"),
            ("0", "0.0"),
            ("-.0", "0.0"),
            ("1e-04", "0.0001"),
            ("0.00000000001", "1e-11"),
            ("100000", "100000.0"),
            ("1000000", "1e+06"),
            ("1555555.55555552", "1.55555555555552e+06"),
            ("+INF", "+Inf"),
            ("nan", "NaN"),
        ] {
            assert_eq!(normal_float(text).as_deref(), Some(normal), "{text}");
        }
        assert_eq!(normal_float("foo"), None);
    }

    proptest! {
        #[test]
        fn every_spelling_reads_as_the_slow_reader_reads_it(text in "[-+]?[0-9]{0,20}\\.?[0-9]{0,5}(e[-+]?[0-9]{0,3})?") {
            let slow = parse_go_float(&text);
            prop_assert_eq!(parse_float(text.as_bytes()).ok(), slow);
        }

        #[test]
        fn printed_floats_come_back(value in any::<f64>()) {
            prop_assume!(value.is_finite());
            let text = format!("{value:e}");
            prop_assert_eq!(parse_float(text.as_bytes()), Ok(value));
        }
    }
}
