//! Prometheus durations as they are written in queries: `1h30m`, `250ms`. Milliseconds inside.

const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads `text` as a duration: numbers with units, each unit once, larger before smaller. `None` where it is
/// none, or longer than an `i64` of nanoseconds holds (292 years, Go's limit).
pub fn parse_duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total_ms, mut next_unit) = (text, 0i64, 0usize);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[digits..digits + letters];
        let at = UNITS.iter().position(|(name, _)| *name == unit)?;
        if digits == 0 || at < next_unit {
            return None;
        }
        let count: i64 = rest[..digits].parse().ok()?;
        total_ms = total_ms.checked_add(count.checked_mul(UNITS[at].1)?)?;
        next_unit = at + 1;
        rest = &rest[digits + letters..];
    }
    (total_ms <= i64::MAX / 1_000_000).then_some(total_ms)
}

/// Writes a duration as Prometheus does: `1h30m`; years, weeks and days only where they come out even.
pub fn format_duration(duration_ms: i64) -> String {
    if duration_ms == 0 {
        return "0s".to_string();
    }
    let mut out = String::new();
    if duration_ms < 0 {
        out.push('-');
    }
    let mut rest = duration_ms.unsigned_abs();
    for (name, unit_ms) in UNITS {
        let unit_ms = unit_ms.unsigned_abs();
        let exact = matches!(name, "y" | "w" | "d");
        if rest < unit_ms || (exact && rest % unit_ms != 0) {
            continue;
        }
        out.push_str(&format!("{}{name}", rest / unit_ms));
        rest %= unit_ms;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, ms) in [
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("36h", 129_600_000),
            ("1s500ms", 1500),
            ("2w", 1_209_600_000),
        ] {
            assert_eq!(parse_duration(text), Some(ms), "{text}");
            assert_eq!(parse_duration(&format_duration(ms)), Some(ms));
        }
        assert_eq!(format_duration(129_600_000), "36h");
        assert_eq!(format_duration(-90_000), "-1m30s");
        for bad in ["", "5", "m", "1m1h", "1m1m", "1.5m", "5 m", "300y", "99999999999999999999s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
