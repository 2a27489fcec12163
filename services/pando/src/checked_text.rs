//! Small text files of a data directory that no one edits: a first line with name and version, lines, and a hash of
//! all that stands before it.
//!
//! ```text
//! pando <name> <version>
//! ...
//! check <xxh3 of the lines above, 16 hex digits>
//! ```

use anyhow::{Context, Result, bail};
use xxhash_rust::xxh3::xxh3_64;

/// The text of a file with first line `header` and then `lines`, each with its end.
pub(crate) fn seal(header: &str, lines: &str) -> String {
    let text = format!("{header}\n{lines}");
    let check = xxh3_64(text.as_bytes());
    format!("{text}check {check:016x}\n")
}

/// The lines of a file that [`seal`] made.
///
/// # Errors
/// Another first line, with both named; a byte that is not what was written.
pub(crate) fn open<'a>(header: &str, text: &'a str) -> Result<&'a str> {
    let (first, _) = text.split_once('\n').unwrap_or((text, ""));
    if first != header {
        bail!("unknown version: found={first:?} known={header:?}");
    }
    let at = text.rfind("\ncheck ").context("the file is cut short: its check is missing")? + 1;
    let lines = &text[first.len() + 1..at];
    if seal(header, lines) != text {
        bail!("the file is damaged: its check is another");
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_can_change_and_none_be_cut_off() {
        let text = seal("pando thing 1", "a 7\nb 8\n");
        assert_eq!(open("pando thing 1", &text).expect("as it was written"), "a 7\nb 8\n");
        assert_eq!(open("pando thing 1", &seal("pando thing 1", "")).expect("no lines"), "");
        for at in 0..text.len() {
            assert!(open("pando thing 1", &text[..at]).is_err(), "cut: {at}");
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert!(open("pando thing 1", &changed).is_err(), "changed: {at}");
        }
        let error = open("pando thing 1", &seal("pando thing 2", "")).expect_err("a later one");
        let error = error.to_string();
        assert!(error.contains("thing 2") && error.contains("thing 1"), "{error}");
    }
}
