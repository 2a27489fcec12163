//! Durations as Prometheus writes them: `1h30m`, `500ms`, `0`.
//!
//! A day has 24 hours, a week 7 days, a year 365 days. Units stand in falling order, each at most
//! once. PromQL has a richer grammar of its own in crates/promql.

use crate::error::ErrorKind;
use crate::number::go_quote;

/// A text that is no duration. The wording is Prometheus' own.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum DurationError {
    /// `""`.
    #[error("empty duration string")]
    Empty,
    /// Not of the form number and unit, or units out of order.
    #[error("not a valid duration string: {}", go_quote(.0))]
    Malformed(String),
    /// A unit that does not exist.
    #[error("unknown unit {} in duration {}", go_quote(.unit), go_quote(.text))]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// Over some 292 years, the limit of Prometheus' nanoseconds.
    #[error("duration out of range")]
    OutOfRange,
}

impl DurationError {
    /// Always [`ErrorKind::Invalid`].
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// The units from large to small, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest duration in ms: what fits into 63 bits of nanoseconds.
pub const DURATION_MS_MAX: i64 = i64::MAX / 1_000_000;

/// Reads a duration that is not negative, in milliseconds. `0` needs no unit.
///
/// # Errors
/// As Prometheus' `model.ParseDuration`; see [`DurationError`].
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    match text {
        "0" => return Ok(0),
        "" => return Err(DurationError::Empty),
        _ => {}
    }
    let malformed = || DurationError::Malformed(text.to_string());
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut units = UNITS.as_slice();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| malformed())?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let known = UNITS.iter().any(|(name, _)| *name == unit);
        let Some(at) = units.iter().position(|(name, _)| *name == unit) else {
            let (unit, text) = (unit.to_string(), text.to_string());
            return Err(if known {
                malformed()
            } else {
                DurationError::UnknownUnit { unit, text }
            });
        };
        total_ms = number
            .checked_mul(units[at].1)
            .and_then(|ms| total_ms.checked_add(ms))
            .filter(|ms| *ms <= DURATION_MS_MAX as u64)
            .ok_or(DurationError::OutOfRange)?;
        units = &units[at + 1..];
        rest = after;
    }
    Ok(total_ms as i64)
}

/// Writes a duration in milliseconds as Prometheus does: `1h30m`, `15s`, `0s`. Years and weeks are
/// used only where nothing is left over, since `90d` reads better than `12w6d`.
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_string();
    }
    let mut out = String::from(if ms < 0 { "-" } else { "" });
    let mut left = ms.unsigned_abs();
    for (unit, size) in UNITS {
        if matches!(unit, "y" | "w") && !left.is_multiple_of(size) {
            continue;
        }
        if left >= size {
            out.push_str(&(left / size).to_string());
            out.push_str(unit);
            left %= size;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_prometheus_reads() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("00s", 0),
            ("324ms", 324),
            ("3s", 3_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("4d", 345_600_000),
            ("4d1h", 349_200_000),
            ("14d", 1_209_600_000),
            ("3w", 1_814_400_000),
            ("3w2d1h", 1_990_800_000),
            ("10y", 315_360_000_000),
            ("1y2w3d4h5m6s7ms", 33_019_506_007),
            ("292y", 292 * 365 * 86_400_000),
        ];
        for (text, ms) in cases {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn refuses_what_prometheus_refuses_in_its_words() {
        let cases = [
            ("", "empty duration string"),
            ("1", r#"not a valid duration string: "1""#),
            ("1m1d", r#"not a valid duration string: "1m1d""#),
            ("1m1m", r#"not a valid duration string: "1m1m""#),
            ("-1w", r#"not a valid duration string: "-1w""#),
            ("1.5d", r#"unknown unit "." in duration "1.5d""#),
            ("d", r#"not a valid duration string: "d""#),
            ("1 h", r#"unknown unit " h" in duration "1 h""#),
            ("5ns", r#"unknown unit "ns" in duration "5ns""#),
            ("99999999999999999999s", r#"not a valid duration string: "99999999999999999999s""#),
            ("294y", "duration out of range"),
            ("200y10400w", "duration out of range"),
            ("18446744073709551615y", "duration out of range"),
        ];
        for (text, message) in cases {
            assert_eq!(parse_duration(text).map_err(|e| e.to_string()), Err(message.to_string()));
        }
    }

    #[test]
    fn writes_what_prometheus_writes() {
        let cases = [
            (0, "0s"),
            (324, "324ms"),
            (5_400_000, "1h30m"),
            (15_000, "15s"),
            (1_209_600_000, "2w"),
            (90 * 86_400_000, "90d"),
            (349_200_000, "4d1h"),
            (315_360_000_000, "10y"),
            (366 * 86_400_000, "366d"),
            (-61_001, "-1m1s1ms"),
        ];
        for (ms, text) in cases {
            assert_eq!(format_duration(ms), text);
        }
    }
}
