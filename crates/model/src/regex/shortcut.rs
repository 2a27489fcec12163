//! Patterns that are no regular expressions at heart: sets of literals, prefixes, suffixes, `.*`.
//!
//! Works on the parsed expression, so that `foo|bar`, `(?:foo|bar)`, `^(foo|bar)$` and `[fb]oo` all
//! count.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// The most values of a set that come from an alternation as written.
const SET_ENTRIES_MAX: usize = 65_536;
/// The most values of a set that come from classes and concatenations (`[ab]x(c|d)`), which
/// multiply.
const PRODUCT_ENTRIES_MAX: usize = 256;

/// A way to match without an engine.
#[derive(Debug)]
pub(super) enum Shortcut {
    /// One of these texts, sorted.
    Set(Vec<String>),
    /// A text of this many characters, each one of up to four: `(?i:name)`.
    Positions(Vec<[char; 4]>),
    /// A literal with any characters before it, after it or around it.
    Around { head: Gap, text: String, tail: Gap },
}

/// What may stand beside a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Nothing.
    Nothing,
    /// `.*`
    Any,
    /// `.+`
    Some,
}

impl Gap {
    fn accepts(self, text: &str) -> bool {
        match self {
            Gap::Nothing => text.is_empty(),
            Gap::Any => true,
            Gap::Some => !text.is_empty(),
        }
    }
}

impl Shortcut {
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Shortcut::Set(values) => match values.as_slice() {
                [one] => one == text,
                _ => values.binary_search_by(|value| value.as_str().cmp(text)).is_ok(),
            },
            Shortcut::Positions(positions) => {
                let mut chars = text.chars();
                positions.iter().all(|set| chars.next().is_some_and(|c| set.contains(&c)))
                    && chars.next().is_none()
            }
            Shortcut::Around { head, text: literal, tail } => around(*head, literal, *tail, text),
        }
    }
}

fn around(head: Gap, literal: &str, tail: Gap, text: &str) -> bool {
    if head == Gap::Nothing {
        return text.strip_prefix(literal).is_some_and(|rest| tail.accepts(rest));
    }
    if tail == Gap::Nothing {
        return text.strip_suffix(literal).is_some_and(|rest| head.accepts(rest));
    }
    let mut inner = text.chars();
    if head == Gap::Some && inner.next().is_none() {
        return false;
    }
    if tail == Gap::Some && inner.next_back().is_none() {
        return false;
    }
    inner.as_str().contains(literal)
}

/// The shortcut of `hir`, if it has one.
pub(super) fn find(hir: &Hir) -> Option<Shortcut> {
    let parts = parts(hir);
    if let Some(mut values) = product(parts) {
        values.sort_unstable();
        values.dedup();
        return Some(Shortcut::Set(values));
    }
    positions(parts).map(Shortcut::Positions).or_else(|| gaps(parts))
}

/// What every match of `hir` begins with. Alternatives count with what they have in common.
pub(super) fn literal_prefix(hir: &Hir) -> String {
    let first = |hir| parts(hir).first().map(|first| bare(first).kind());
    let literal = |kind: Option<&HirKind>| match kind {
        Some(HirKind::Literal(literal)) => text_of(&literal.0).unwrap_or_default(),
        _ => String::new(),
    };
    match first(hir) {
        Some(HirKind::Alternation(branches)) => {
            let mut prefixes = branches.iter().map(|branch| literal(first(branch)));
            let mut common = prefixes.next().unwrap_or_default();
            for other in prefixes {
                let same = common.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
                let end = same.map_or(common.len().min(other.len()), |((at, _), _)| at);
                common.truncate(end);
            }
            common
        }
        kind => literal(kind),
    }
}

/// The concatenated parts, without the anchors that people write although they are implied.
fn parts(hir: &Hir) -> &[Hir] {
    let hir = bare(hir);
    let mut parts = match hir.kind() {
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    while let [first, rest @ ..] = parts
        && matches!(first.kind(), HirKind::Look(Look::Start))
    {
        parts = rest;
    }
    while let [rest @ .., last] = parts
        && matches!(last.kind(), HirKind::Look(Look::End))
    {
        parts = rest;
    }
    parts
}

/// `hir` without groups around it. A group changes what is captured, never what matches.
fn bare(mut hir: &Hir) -> &Hir {
    while let HirKind::Capture(capture) = hir.kind() {
        hir = &capture.sub;
    }
    hir
}

fn text_of(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// Every text that `hir` matches, if they are few.
fn enumerate(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => Some(vec![text_of(&literal.0)?]),
        HirKind::Class(Class::Unicode(class)) => {
            let chars: usize = class.ranges().iter().map(|range| range.len()).sum();
            let all = || class.ranges().iter().flat_map(|range| range.start()..=range.end());
            (chars <= PRODUCT_ENTRIES_MAX).then(|| all().map(String::from).collect())
        }
        HirKind::Capture(capture) => enumerate(&capture.sub),
        HirKind::Concat(parts) => product(parts),
        HirKind::Alternation(branches) => {
            let mut values = Vec::new();
            for branch in branches {
                values.append(&mut enumerate(branch)?);
                if values.len() > SET_ENTRIES_MAX {
                    return None;
                }
            }
            Some(values)
        }
        HirKind::Repetition(rep) if rep.min == 0 && rep.max == Some(1) => {
            let mut values = enumerate(&rep.sub)?;
            values.push(String::new());
            Some(values)
        }
        _ => None,
    }
}

/// Every text that the concatenation of `parts` matches, if they are few. A common prefix in front
/// of an alternation, which the parser factors out, does not multiply and so does not count as a
/// product.
fn product(parts: &[Hir]) -> Option<Vec<String>> {
    let mut values = vec![String::new()];
    for part in parts {
        let more = enumerate(part)?;
        if values.len() > 1 && more.len() > 1 && values.len() * more.len() > PRODUCT_ENTRIES_MAX {
            return None;
        }
        values = match (values.as_mut_slice(), more.as_slice()) {
            ([one], _) => more.iter().map(|tail| format!("{one}{tail}")).collect(),
            (many, [tail]) => {
                many.iter_mut().for_each(|value| value.push_str(tail));
                values
            }
            (many, _) => {
                let pairs = many.iter().flat_map(|head| more.iter().map(move |tail| (head, tail)));
                pairs.map(|(head, tail)| format!("{head}{tail}")).collect()
            }
        };
    }
    Some(values)
}

fn positions(parts: &[Hir]) -> Option<Vec<[char; 4]>> {
    let mut positions = Vec::new();
    for part in parts {
        match bare(part).kind() {
            HirKind::Literal(literal) => {
                positions.extend(text_of(&literal.0)?.chars().map(|c| [c; 4]));
            }
            HirKind::Class(Class::Unicode(class)) => {
                let mut chars = class.ranges().iter().flat_map(|r| r.start()..=r.end());
                let mut set = [chars.next()?; 4];
                for slot in &mut set[1..] {
                    *slot = chars.next().unwrap_or(*slot);
                }
                if chars.next().is_some() {
                    return None;
                }
                positions.push(set);
            }
            _ => return None,
        }
    }
    Some(positions)
}

/// `.*`, `.+`, and a literal beside or between them.
fn gaps(parts: &[Hir]) -> Option<Shortcut> {
    let (head, parts) = match parts {
        [first, rest @ ..] if gap(first).is_some() => (gap(first)?, rest),
        _ => (Gap::Nothing, parts),
    };
    let (parts, tail) = match parts {
        [rest @ .., last] if gap(last).is_some() => (rest, gap(last)?),
        _ => (parts, Gap::Nothing),
    };
    let text = match parts {
        [] => String::new(),
        [part] => match bare(part).kind() {
            HirKind::Literal(literal) => text_of(&literal.0)?,
            _ => return None,
        },
        _ => return None,
    };
    Some(Shortcut::Around { head, text, tail })
}

fn gap(hir: &Hir) -> Option<Gap> {
    let HirKind::Repetition(rep) = bare(hir).kind() else { return None };
    let HirKind::Class(Class::Unicode(class)) = bare(&rep.sub).kind() else { return None };
    let [range] = class.ranges() else { return None };
    if (range.start(), range.end()) != ('\0', char::MAX) {
        return None;
    }
    match (rep.min, rep.max) {
        (0, None) => Some(Gap::Any),
        (1, None) => Some(Gap::Some),
        _ => None,
    }
}
