//! `$NAME` and `${NAME}` in external labels, by the rules of Go's `os.Expand`.

/// `text` with every reference replaced by what `lookup` gives for its name. `$$` is a dollar sign,
/// and so is a `$` before anything that is no name.
pub(crate) fn expand(text: &str, mut lookup: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, taken) = reference(after);
        match name {
            // A broken reference is eaten; a dollar sign before no name at all stays.
            "" if taken > 0 => {}
            "" => out.push('$'),
            "$" => out.push('$'),
            _ => out.push_str(&lookup(name)),
        }
        rest = &after[taken..];
    }
    out.push_str(rest);
    out
}

/// The name at the start of `text`, which follows a `$`, and the bytes that the reference takes.
fn reference(text: &str) -> (&str, usize) {
    let special = |c: char| "*#$@!?-0123456789".contains(c);
    match text.chars().next() {
        Some('{') => match text.find('}') {
            Some(end) => (&text[1..end], end + 1),
            None => ("", 1),
        },
        Some(c) if special(c) => (&text[..1], 1),
        _ => {
            let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
            let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
            (&text[..end], end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn expands_as_go_does() {
        let lookup = |name: &str| match name {
            "A" => "one".to_string(),
            "long_NAME2" => "two".to_string(),
            _ => format!("<{name}>"),
        };
        let cases = [
            ("plain", "plain"),
            ("$A", "one"),
            ("${A}x", "onex"),
            ("$Ax", "<Ax>"),
            ("a${long_NAME2}b$A", "atwobone"),
            ("$$A", "$A"),
            ("${$}", "$"),
            ("$", "$"),
            ("a$-b", "a<->b"),
            ("$1x", "<1>x"),
            ("$é", "$é"),
            ("${}x", "x"),
            ("${A", "A"),
            ("${a b}", "<a b>"),
        ];
        for (text, want) in cases {
            assert_eq!(expand(text, lookup), want, "{text}");
        }
    }
}
