//! `files_matching`: the files that a pattern of a configuration names, as Go's `filepath.Glob` finds them.

use std::path::PathBuf;

use glob::{MatchOptions, glob_with};

/// Files that one pattern can name; the others are left out.
const FILES_MAX: usize = 10_000;

/// The files that `pattern` names, sorted: `*` stands for anything within a name, `?` for one character, `[...]` for
/// one of some, and a backslash takes a character as it is. A file that is not there is no error, and nor is a folder
/// that cannot be read.
///
/// # Errors
/// A pattern that cannot be understood.
pub fn files_matching(pattern: &str) -> Result<Vec<PathBuf>, String> {
    if !pattern.contains(['*', '?', '[', '\\']) {
        let path = PathBuf::from(pattern);
        return Ok(if path.symlink_metadata().is_ok() { vec![path] } else { Vec::new() });
    }
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    let found = glob_with(&translated(pattern), options);
    let found = found.map_err(|error| format!("syntax error in pattern: {pattern:?}: {error}"))?;
    let mut paths: Vec<PathBuf> = found.filter_map(Result::ok).take(FILES_MAX + 1).collect();
    if paths.len() > FILES_MAX {
        tracing::warn!(pattern, limit = FILES_MAX, "pattern names too many files");
        paths.truncate(FILES_MAX);
    }
    paths.sort();
    Ok(paths)
}

/// The pattern as the library understands it: it takes `!` for Go's `^`, has no backslash, and gives `**` a meaning.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '*' if out.ends_with('*') => {}
            '[' if characters.next_if_eq(&'^').is_some() => out.push_str("[!"),
            '\\' => {
                if let Some(literal) = characters.next() {
                    out.push_str(&glob::Pattern::escape(literal.encode_utf8(&mut [0; 4])));
                }
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_go_s() {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["a1.yml", "a2.yml", "b1.yml", ".h.yml", "a[.yml", "c.json"] {
            std::fs::write(folder.path().join(name), "").expect("writes");
        }
        std::fs::create_dir(folder.path().join("d")).expect("makes");
        std::fs::write(folder.path().join("d/a9.yml"), "").expect("writes");
        let found = |pattern: &str| -> Vec<String> {
            let pattern = folder.path().join(pattern);
            let found = files_matching(&pattern.to_string_lossy()).expect("a good pattern");
            let names = found.iter().map(|p| p.strip_prefix(folder.path()).expect("is below"));
            names.map(|name| name.to_string_lossy().into_owned()).collect()
        };
        for (pattern, expected) in [
            ("a1.yml", &["a1.yml"][..]),
            ("absent.yml", &[]),
            ("nowhere/*.yml", &[]),
            ("*1.yml", &["a1.yml", "b1.yml"]),
            ("a*.y*l", &["a1.yml", "a2.yml", "a[.yml"]),
            ("a**.yml", &["a1.yml", "a2.yml", "a[.yml"]),
            ("a?.yml", &["a1.yml", "a2.yml", "a[.yml"]),
            ("a[2-9].yml", &["a2.yml"]),
            ("a[^1-9].yml", &["a[.yml"]),
            ("a\\[.yml", &["a[.yml"]),
            ("?/a*.yml", &["d/a9.yml"]),
        ] {
            assert_eq!(found(pattern), expected, "{pattern}");
        }
        assert!(files_matching("a[").is_err());
    }
}
