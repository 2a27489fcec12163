//! `$1`, `${1}`, `$name` and `${name}` in a replacement, by the rules of Go's `Regexp.Expand`.

use super::Captures;

/// `template` with the groups of `captures` filled in. A `$` that begins no reference stays as it
/// is. `None` where the text would be longer than `bytes_max`.
pub(super) fn expand(
    template: &str,
    captures: &Captures<'_, '_>,
    bytes_max: usize,
) -> Option<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let Some((name, after)) = reference(rest) else {
            out.push('$');
            continue;
        };
        rest = after;
        let group = match group_number(name) {
            Some(index) => captures.get(index),
            None => captures.name(name),
        };
        let group = group.unwrap_or("");
        if out.len() + group.len() > bytes_max {
            return None;
        }
        out.push_str(group);
    }
    out.push_str(rest);
    (out.len() <= bytes_max).then_some(out)
}

/// The name at the start of `text` (what follows a `$`) and what comes after it. The name is as
/// long as possible: `$1x` means the group `1x`.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (braced, body) = match text.strip_prefix('{') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let is_name = |c: char| c == '_' || c.is_alphabetic() || c.is_numeric();
    let end = body.find(|c| !is_name(c)).unwrap_or(body.len());
    let (name, after) = body.split_at(end);
    if name.is_empty() {
        return None;
    }
    let after = if braced { after.strip_prefix('}')? } else { after };
    Some((name, after))
}

/// A number without leading zeros and below 1e8; everything else is a name.
fn group_number(name: &str) -> Option<usize> {
    let digits = name.bytes().all(|b| b.is_ascii_digit());
    if !digits || name.len() > 9 || (name.len() > 1 && name.starts_with('0')) {
        return None;
    }
    name.parse().ok()
}
