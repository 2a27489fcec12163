//! Bytes in messages: quoted as Go's `%q` quotes them, and cut where a message would grow without end.

use pando_model::number::go_quote;
use std::fmt::Write as _;

/// How many bytes of a body a message shows. An unclosed quote would otherwise drag the whole body into it.
const EXCERPT_BYTES_MAX: usize = 512;

/// `bytes` in double quotes, bytes that are not UTF-8 as `\xNN`.
pub(crate) fn quote_bytes(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(EXCERPT_BYTES_MAX)];
    let mut out = String::from("\"");
    for chunk in shown.utf8_chunks() {
        let quoted = go_quote(chunk.valid());
        out.push_str(&quoted[1..quoted.len() - 1]);
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    if shown.len() < bytes.len() {
        out.push_str("...");
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_is_not_text_and_cuts_what_is_too_long() {
        assert_eq!(quote_bytes(b"a\"\n\xff\xc3\xa9"), "\"a\\\"\\n\\xff\u{e9}\"");
        assert!(quote_bytes(&[b'x'; 10_000]).len() < 600);
    }
}
