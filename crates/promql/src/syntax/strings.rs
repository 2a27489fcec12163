//! String literals: Go's escapes in single and double quotes, none in backticks.

use pando_model::number::{go_quote, is_print};

/// The text of a literal `quoted` (quotes included), or what is wrong with it.
pub(crate) fn unquote(quoted: &str) -> Result<String, String> {
    String::from_utf8(bytes(quoted)?).map_err(|_| "string is not valid UTF-8".to_string())
}

/// The same where the escapes may make up anything.
pub(super) fn bytes(quoted: &str) -> Result<Vec<u8>, String> {
    let quote = quoted.bytes().next().unwrap_or(b'"');
    let mut rest = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let mut out: Vec<u8> = Vec::with_capacity(rest.len());
    while quote != b'`'
        && let Some((plain, text)) = rest.split_once('\\')
    {
        out.extend_from_slice(plain.as_bytes());
        let escape = escape(text, quote)?;
        match escape.stands_for {
            Escaped::Byte(byte) => out.push(byte),
            Escaped::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = &text[escape.bytes..];
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// What an escape stands for.
enum Escaped {
    Byte(u8),
    Char(char),
}

/// An escape without its backslash.
pub(super) struct Escape {
    /// How many bytes of the text belong to it.
    pub(super) bytes: usize,
    stands_for: Escaped,
}

/// The escape that a backslash before `text` begins, in a string between `quote`s; or why it is none, as Prometheus' lexer
/// says it.
pub(super) fn escape(text: &str, quote: u8) -> Result<Escape, String> {
    let first = text.chars().next().ok_or("escape sequence not terminated")?;
    let one = |byte| Ok(Escape { bytes: 1, stands_for: Escaped::Byte(byte) });
    let (skipped, digits, radix) = match first {
        'a' => return one(7),
        'b' => return one(8),
        'f' => return one(12),
        'n' => return one(b'\n'),
        'r' => return one(b'\r'),
        't' => return one(b'\t'),
        'v' => return one(11),
        '\\' => return one(b'\\'),
        c if c == char::from(quote) => return one(quote),
        '0'..='7' => (0, 3, 8),
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        c => return Err(format!("unknown escape sequence {}", unicode(c))),
    };
    let mut value = 0u32;
    let mut chars = text[skipped..].chars();
    for _ in 0..digits {
        let c = chars.next().ok_or("escape sequence not terminated")?;
        let illegal = || format!("illegal character {} in escape sequence", unicode(c));
        let digit = c.to_digit(radix).ok_or_else(illegal)?;
        value = value.wrapping_mul(radix).wrapping_add(digit);
    }
    let stands_for = match digits {
        2 | 3 => u8::try_from(value).ok().map(Escaped::Byte),
        _ => char::from_u32(value).map(Escaped::Char),
    };
    let stands_for = stands_for.ok_or("escape sequence is an invalid Unicode code point")?;
    Ok(Escape { bytes: skipped + digits, stands_for })
}

/// A character as Go's `%#U` writes it.
fn unicode(c: char) -> String {
    match is_print(c) {
        true => format!("U+{:04X} '{c}'", u32::from(c)),
        false => format!("U+{:04X}", u32::from(c)),
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

#[cfg(test)]
mod tests {
    use super::{bytes, quote, unquote};

    #[test]
    fn reads_go_escapes() {
        assert_eq!(unquote(r#""a\n\x41\101\u00e9\"'""#), Ok("a\nAAé\"'".to_string()));
        assert_eq!(unquote(r"'\'x\''"), Ok("'x'".to_string()));
        assert_eq!(unquote(r"`\n`"), Ok(r"\n".to_string()));
        assert_eq!(unquote("`a\rb`"), Ok("a\rb".to_string()));
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
