//! String literals: Go's escapes in single and double quotes, none in backticks.

use pando_model::number::go_quote;

/// The text of a literal `quoted` (quotes included), or what is wrong with it.
pub(crate) fn unquote(quoted: &str) -> Result<String, &'static str> {
    String::from_utf8(bytes(quoted)?).map_err(|_| "string is not valid UTF-8")
}

/// The same where the escapes may make up anything.
pub(super) fn bytes(quoted: &str) -> Result<Vec<u8>, &'static str> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if quoted.starts_with('`') {
        return Ok(inner.replace('\r', "").into_bytes());
    }
    if !inner.contains('\\') {
        return Ok(inner.as_bytes().to_vec());
    }
    let mut out: Vec<u8> = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = chars.next().ok_or("escape sequence not terminated")?;
        let byte = match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '\'' | '"' => escape as u8,
            'x' => code(&mut chars, 2, 16, None)? as u8,
            '0'..='7' => {
                u8::try_from(code(&mut chars, 2, 8, Some(escape))?).map_err(|_| "invalid escape")?
            }
            'u' | 'U' => {
                let digits = if escape == 'u' { 4 } else { 8 };
                let c = char::from_u32(code(&mut chars, digits, 16, None)?)
                    .ok_or("escape sequence is an invalid Unicode code point")?;
                out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err("unknown escape sequence"),
        };
        out.push(byte);
    }
    Ok(out)
}

/// How many bytes of `text` belong to the escape that a backslash before it begins, in a string between `quote`s; or why it
/// is none, as Prometheus' lexer says it.
pub(super) fn escape_bytes(text: &str, quote: u8) -> Result<usize, String> {
    let mut chars = text.chars();
    let escape = chars.next().ok_or("escape sequence not terminated")?;
    let (digits, radix, max, skipped) = match escape {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(1),
        c if c == char::from(quote) => return Ok(1),
        '0'..='7' => (3, 8, 255, 0),
        'x' => (2, 16, 255, 1),
        'u' => (4, 16, u32::from(char::MAX), 1),
        'U' => (8, 16, u32::from(char::MAX), 1),
        c => return Err(format!("unknown escape sequence {}", unicode(c))),
    };
    let mut value = 0u32;
    for c in text[skipped..].chars().map(Some).chain([None]).take(digits) {
        let c = c.ok_or("escape sequence not terminated")?;
        let digit = c.to_digit(radix);
        let digit =
            digit.ok_or_else(|| format!("illegal character {} in escape sequence", unicode(c)))?;
        value = value.wrapping_mul(radix).wrapping_add(digit);
    }
    if value > max || (0xd800..0xe000).contains(&value) {
        return Err("escape sequence is an invalid Unicode code point".to_string());
    }
    Ok(skipped + digits)
}

/// A character as Go's `%#U` writes it.
fn unicode(c: char) -> String {
    match c.is_control() {
        true => format!("U+{:04X}", u32::from(c)),
        false => format!("U+{:04X} '{c}'", u32::from(c)),
    }
}

/// `bytes` in double quotes, what is not UTF-8 escaped.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let quoted = go_quote(chunk.valid());
        out.push_str(&quoted[1..quoted.len() - 1]);
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

fn code(
    chars: &mut std::str::Chars<'_>,
    digits: usize,
    radix: u32,
    first: Option<char>,
) -> Result<u32, &'static str> {
    let mut value = first.and_then(|c| c.to_digit(radix)).unwrap_or(0);
    for _ in 0..digits {
        let digit = chars.next().and_then(|c| c.to_digit(radix));
        let digit = digit.ok_or("invalid character in escape sequence")?;
        value = value.wrapping_mul(radix).wrapping_add(digit);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::{bytes, quote, unquote};

    #[test]
    fn reads_go_escapes() {
        assert_eq!(unquote(r#""a\n\x41\101\u00e9\"'""#), Ok("a\nAAé\"'".to_string()));
        assert_eq!(unquote(r"'\'x\''"), Ok("'x'".to_string()));
        assert_eq!(unquote(r"`\n`"), Ok(r"\n".to_string()));
        for bad in [r#""\q""#, r#""\x4""#, r#""\uD800""#, r#""\xff""#, r#""\777""#] {
            assert!(unquote(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_come_back_as_they_were() {
        for literal in [r#""a\xc5z""#, r#""\xff""#, r#""\"é\n\xc3""#] {
            assert_eq!(quote(&bytes(literal).expect("a literal")), literal);
        }
    }
}
