//! Numbers and quoted strings as Go writes and reads them: the byte-level rules of the HTTP API, of the
//! exposition formats and of Prometheus' messages.

use std::fmt::Write as _;

/// Appends `v` as Prometheus' HTTP API does: Go's `strconv.FormatFloat(v, 'f', -1, 64)`, but `'e'` where
/// |v| < 1e-6 or >= 1e21; `NaN`, `+Inf`, `-Inf`.
pub fn push_api_float(out: &mut String, v: f64) {
    let magnitude = v.abs();
    if v.is_nan() {
        out.push_str("NaN");
    } else if v.is_infinite() {
        out.push_str(if v > 0.0 { "+Inf" } else { "-Inf" });
    } else if magnitude == 0.0 {
        out.push_str(if v.is_sign_negative() { "-0" } else { "0" });
    } else if (1e-6..1e21).contains(&magnitude) {
        // The shortest digits that read back; it is in the same range that JavaScript has no exponent.
        out.push_str(ryu_js::Buffer::new().format_finite(v));
    } else {
        push_exponent_float(out, v);
    }
}

/// Appends `v` in Go's `'f', -1` form, never with an exponent: `1000000`, `0.00001`; `NaN`, `+Inf`, `-Inf`.
pub fn push_plain_float(out: &mut String, v: f64) {
    if v.is_finite() {
        // Rust prints the shortest digits that read back, without an exponent.
        let _ = write!(out, "{v}");
    } else {
        push_api_float(out, v);
    }
}

/// Appends `v` in Go's `'e', -1` form: `1e+00`, `1.5e-07`.
pub fn push_exponent_float(out: &mut String, v: f64) {
    if v.is_nan() || v.is_infinite() {
        return push_api_float(out, v);
    }
    let start = out.len();
    let _ = write!(out, "{v:e}");
    // Rust writes "1.5e-7", Go writes at least two digits and always a sign.
    if let Some(at) = out[start..].find('e').map(|i| start + i) {
        let exponent = out.split_off(at + 1);
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent.as_str()),
        };
        out.push(sign);
        if digits.len() < 2 {
            out.push('0');
        }
        out.push_str(digits);
    }
}

/// `v` in Go's `'g', -1` form, as `fmt` writes a float by `%g` and `%v`: exponent below 1e-4 and from 1e6 on.
pub fn go_float(v: f64) -> String {
    let mut out = String::new();
    let magnitude = v.abs();
    if magnitude != 0.0 && magnitude.is_finite() && !(1e-4..1e6).contains(&magnitude) {
        push_exponent_float(&mut out, v);
    } else {
        push_api_float(&mut out, v);
    }
    out
}

/// A finite `v` in Go's `'g', 2` form, `%.2g`: at most two digits that count, exponent below 1e-4 and from 100 on.
pub fn go_two_digits(v: f64) -> String {
    let rounded: f64 = format!("{v:.1e}").parse().unwrap_or(v);
    let mut out = String::new();
    if rounded != 0.0 && !(1e-4..100.0).contains(&rounded.abs()) {
        push_exponent_float(&mut out, rounded);
    } else {
        push_api_float(&mut out, rounded);
    }
    out
}

/// Appends a time as Prometheus' HTTP API does: seconds, an integer or with three decimals.
pub fn push_api_time(out: &mut String, t_ms: i64) {
    let magnitude = t_ms.unsigned_abs();
    let (seconds, millis) = (magnitude / 1000, magnitude % 1000);
    let sign = if t_ms < 0 { "-" } else { "" };
    out.push_str(sign);
    out.push_str(itoa::Buffer::new().format(seconds));
    if millis != 0 {
        let _ = write!(out, ".{millis:03}");
    }
}

/// Reads a float as Go's `strconv.ParseFloat(s, 64)` does: decimal and hexadecimal floats, `Inf`, `infinity`
/// and `NaN` in any case with an optional sign (not for NaN). Underscores are refused, as for base 10. A
/// value out of range reads as an infinity; Go reports that as an error, which Prometheus turns into one too.
pub fn parse_go_float(text: &str) -> Option<f64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let first = *rest.as_bytes().first()?;
    if first.is_ascii_alphabetic() {
        if rest.eq_ignore_ascii_case("inf") || rest.eq_ignore_ascii_case("infinity") {
            return Some(sign * f64::INFINITY);
        }
        let plain_nan = rest.len() == text.len() && rest.eq_ignore_ascii_case("nan");
        return plain_nan.then_some(f64::NAN);
    }
    if rest.len() > 1 && first == b'0' && matches!(rest.as_bytes()[1], b'x' | b'X') {
        return parse_hex_float(&rest[2..]).map(|v| sign * v);
    }
    if matches!(first, b'+' | b'-') {
        return None;
    }
    if !rest.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    let v: f64 = rest.parse().ok()?;
    v.is_finite().then_some(sign * v)
}

/// `mantissa [. fraction] p exponent`, all but the exponent in hex; the exponent is required, as in Go.
fn parse_hex_float(text: &str) -> Option<f64> {
    let at = text.find(['p', 'P'])?;
    let (mantissa, exponent) = (&text[..at], &text[at + 1..]);
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0f64;
    for c in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    let v = value * 2f64.powi(exponent.checked_sub(shift)?);
    v.is_finite().then_some(v)
}

/// `text` in double quotes as Go's `strconv.Quote` writes it (for valid UTF-8 input).
pub fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if is_print(c) => out.push(c),
            c => {
                let _ = match c as u32 {
                    code @ ..0x80 => write!(out, "\\x{code:02x}"),
                    code @ ..0x1_0000 => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}

/// Whether `c` is printed as it is by Go (`strconv.IsPrint`): it is no blank but the ASCII one, no control or format
/// character, and none of private use. Code points that no character is assigned to are taken for characters.
pub fn is_print(c: char) -> bool {
    // General category Cf of Unicode 16.
    const FORMAT: [(u32, u32); 21] = [
        (0xad, 0xad),
        (0x600, 0x605),
        (0x61c, 0x61c),
        (0x6dd, 0x6dd),
        (0x70f, 0x70f),
        (0x890, 0x891),
        (0x8e2, 0x8e2),
        (0x180e, 0x180e),
        (0x200b, 0x200f),
        (0x202a, 0x202e),
        (0x2060, 0x2064),
        (0x2066, 0x206f),
        (0xfeff, 0xfeff),
        (0xfff9, 0xfffb),
        (0x1_10bd, 0x1_10bd),
        (0x1_10cd, 0x1_10cd),
        (0x1_3430, 0x1_343f),
        (0x1_bca0, 0x1_bca3),
        (0x1_d173, 0x1_d17a),
        (0xe_0001, 0xe_0001),
        (0xe_0020, 0xe_007f),
    ];
    let code = u32::from(c);
    let of_private_use = matches!(code, 0xe000..=0xf8ff | 0xf_0000..);
    let is_format = || FORMAT.iter().any(|(first, last)| (*first..=*last).contains(&code));
    match c.is_ascii() {
        true => c == ' ' || c.is_ascii_graphic(),
        false => !c.is_control() && !c.is_whitespace() && !of_private_use && !is_format(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(v: f64) -> String {
        let mut s = String::new();
        push_api_float(&mut s, v);
        s
    }

    #[test]
    fn floats_look_as_go_prints_them() {
        for (v, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-07"),
            (0.000001, "0.000001"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(api(v), text);
        }
        assert_eq!(go_float(0.00001), "1e-05");
    }

    #[test]
    fn times_are_seconds() {
        for (t, text) in
            [(1435781451781, "1435781451.781"), (1000, "1"), (1005, "1.005"), (-5, "-0.005")]
        {
            let mut s = String::new();
            push_api_time(&mut s, t);
            assert_eq!(s, text);
        }
    }

    #[test]
    fn floats_are_read_as_go_reads_them() {
        assert_eq!(parse_go_float("0x1p-2"), Some(0.25));
        assert_eq!(parse_go_float("+Inf"), Some(f64::INFINITY));
        assert_eq!(parse_go_float("-infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_go_float(".5e1"), Some(5.0));
        assert!(parse_go_float("nan").is_some_and(f64::is_nan));
        for bad in ["", "+", "1_000", "0x10", "+nan", "1e", "1e999", "12 ", "--1", "e5"] {
            assert_eq!(parse_go_float(bad), None, "{bad}");
        }
    }

    #[test]
    fn quotes_as_go() {
        assert_eq!(go_quote("a\"\\\n\u{1}é"), "\"a\\\"\\\\\\n\\x01é\"");
    }
}
