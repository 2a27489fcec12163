//! Sizes as Prometheus writes them: `10MB`, `1GiB512MiB`, `0`. All units are powers of 1024.

/// The most characters of a faulty text that are shown.
const SHOWN_MAX: usize = 100;

const UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];

const OVERFLOW: &str = "units: overflow parsing unit";

/// Reads a size in bytes: numbers, perhaps with a fraction, each with a unit (`B`, `KB` or `KiB`,
/// `MB` ...); the units of one text are all of one spelling. `0` needs no unit; a sign is allowed.
///
/// # Errors
/// The words of the library that Prometheus uses.
pub fn parse_size(text: &str) -> Result<i64, String> {
    match parse_with(text, "iB") {
        Err(error) if error != OVERFLOW => parse_with(text, "B"),
        result => result,
    }
}

fn parse_with(text: &str, suffix: &str) -> Result<i64, String> {
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let invalid = || format!("units: invalid {shown}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut bytes = 0f64;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !is_number(c)).unwrap_or(rest.len()));
        // A second dot belongs to no number and to no unit.
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let factor = match unit.strip_suffix(suffix) {
            _ if unit == "B" => Some(1.0),
            Some(prefix) => UNITS
                .iter()
                .position(|known| prefix.chars().eq([*known]))
                .map(|power| 1024f64.powi(power as i32 + 1)),
            None => None,
        };
        bytes += number * factor.ok_or_else(|| format!("units: unknown unit {unit} in {shown}"))?;
        rest = after;
    }
    // 2^63 is the first float that an i64 cannot hold.
    if bytes >= 9_223_372_036_854_775_808.0 {
        return Err(OVERFLOW.to_string());
    }
    let bytes = bytes as i64;
    Ok(if negative { -bytes } else { bytes })
}

/// Writes a size as Prometheus does: `10MiB`, `1KiB512B`, nothing for 0.
pub fn format_size(bytes: i64) -> String {
    let mut left = bytes.unsigned_abs();
    let mut out = String::new();
    for (power, unit) in UNITS.into_iter().enumerate().rev() {
        let size = 1u64 << (10 * (power + 1));
        if left >= size {
            out.push_str(&format!("{}{unit}iB", left / size));
            left %= size;
        }
    }
    if left > 0 {
        out.push_str(&format!("{left}B"));
    }
    if bytes < 0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_prometheus_reads() {
        let cases = [
            ("0", 0),
            ("10B", 10),
            ("1KB", 1024),
            ("1KiB", 1024),
            ("10MB", 10 << 20),
            ("1.5GiB", 3 << 29),
            (".5KB", 512),
            ("1.KB", 1024),
            ("1GiB512MiB1B", (1 << 30) + (512 << 20) + 1),
            ("1TB", 1 << 40),
            ("7EiB", 7 << 60),
            ("-5KB", -5120),
            ("+5KB", 5120),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_what_prometheus_refuses() {
        let cases = [
            ("", "units: invalid "),
            ("100", "units: unknown unit  in 100"),
            ("5kB", "units: unknown unit kB in 5kB"),
            ("5XB", "units: unknown unit XB in 5XB"),
            ("1KB1KiB", "units: unknown unit KiB in 1KB1KiB"),
            ("x", "units: invalid x"),
            (".B", "units: invalid .B"),
            ("1.2.3B", "units: invalid 1.2.3B"),
            ("8EiB", "units: overflow parsing unit"),
        ];
        for (text, message) in cases {
            assert_eq!(parse_size(text), Err(message.to_string()), "{text}");
        }
    }

    #[test]
    fn writes_what_prometheus_writes() {
        let cases =
            [(0, ""), (10 << 20, "10MiB"), (1536, "1KiB512B"), (1, "1B"), (1 << 40, "1TiB")];
        for (bytes, text) in cases {
            assert_eq!(format_size(bytes), text);
        }
    }
}
