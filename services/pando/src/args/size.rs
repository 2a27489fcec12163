//! Sizes as Prometheus' flags take them: `512MB`, `1.5GB`, `0`. Units are powers of 1024.

use anyhow::{Context, Result, bail};

/// Powers of 1024. `KiB` and so on mean the same.
const UNITS: [&str; 7] = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];

/// The bytes of `text`.
pub(crate) fn parse_size(text: &str) -> Result<u64> {
    if text == "0" {
        return Ok(0);
    }
    let bad = || format!("not a size such as 512MB: {text:?}; units: {}", UNITS.join(", "));
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').with_context(bad)?;
    let (number, unit) = text.split_at(end);
    let unit = unit.replace('i', "");
    let power = UNITS.iter().position(|known| *known == unit).with_context(bad)?;
    let factor = 1u64 << (10 * power);
    let Ok(whole) = number.parse::<u64>() else {
        let number: f64 = number.parse().with_context(bad)?;
        let bytes = number * factor as f64;
        if bytes >= u64::MAX as f64 {
            bail!("size out of range: {text:?}");
        }
        return Ok(bytes as u64);
    };
    whole.checked_mul(factor).with_context(|| format!("size out of range: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("0B", 0),
            ("7B", 7),
            ("2KB", 2 << 10),
            ("2KiB", 2 << 10),
            ("512MB", 512 << 20),
            ("1.5GB", 3 << 29),
            ("3TB", 3 << 40),
            ("1PB", 1 << 50),
            ("15EB", 15 << 60),
        ] {
            assert_eq!(parse_size(text).expect(text), bytes, "{text}");
        }
        for bad in ["", "10", "GB", "1gb", "1XB", "-1GB", "1.2.3GB", "16EB", "99.9EB", "1GB2"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
