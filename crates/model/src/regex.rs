//! `GoRegex`: regular expressions with the meaning that Go's RE2 gives them.
//!
//! The pattern is Go's syntax, read by our own `parser`; the engine is `regex-automata`, which
//! runs in time linear in the text. A match is always a match of the whole text, and `.` matches a
//! newline, as everywhere in Prometheus. Most patterns that people write are not regular
//! expressions at all but a few names between bars, a prefix or `.*`: those are recognised as a
//! `shortcut` and never reach an engine.
//!
//! One difference from Go is wanted: a pattern is read by itself, so that `a)|(b` is an error here,
//! while Go's relabelling, which pastes the pattern between `^(?s:` and `)$`, takes it for
//! something unanchored.

mod class;
mod expand;
mod parser;
mod shortcut;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, meta, nfa::thompson::WhichCaptures};
use regex_syntax::hir::{Hir, HirKind, Look};

use crate::error::ErrorKind;
use shortcut::Shortcut;

/// The longest pattern in bytes. Dashboards paste long lists of names into one matcher; a megabyte
/// holds some 50,000 of them.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The largest compiled program in bytes. A pattern that needs more is refused.
pub const COMPILED_BYTES_MAX: usize = 10 << 20;

/// The compiler of the engine walks an expression by recursion. Up to this height any thread's
/// stack will do; what is higher (Go allows 1000 levels) is compiled on a stack of its own.
const SHALLOW_HEIGHT_MAX: u32 = 100;
/// Unoptimised, the compiler takes some 4 KiB a level.
const DEEP_STACK_BYTES: usize = 64 << 20;

/// A compiled pattern. Cloning shares it.
#[derive(Clone)]
pub struct GoRegex(Arc<Compiled>);

struct Compiled {
    pattern: String,
    /// The names of the groups by index; group 0 is the whole match and has none.
    groups: Vec<Option<String>>,
    /// What every match begins with.
    prefix: String,
    shortcut: Option<Shortcut>,
    /// Absent where the shortcut answers everything that can be asked.
    engine: Option<meta::Regex>,
}

/// A pattern that Go would refuse, or that is over one of our limits.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("error parsing regexp: {message}")]
pub struct RegexError {
    /// What is wrong, in Go's words.
    pub message: String,
    /// Whether it is over one of our limits; that is known when up to [`COMPILED_BYTES_MAX`] were compiled.
    pub too_large: bool,
}

impl RegexError {
    fn new(what: &str, expression: &str) -> Self {
        RegexError { message: format!("{what}: `{expression}`"), too_large: false }
    }

    /// An error about size. The pattern is cut, since it may be a megabyte.
    fn too_large(fact: &str, pattern: &str) -> Self {
        let shown: String = pattern.chars().take(100).collect();
        let dots = if shown.len() < pattern.len() { "..." } else { "" };
        let message = format!("expression too large ({fact}): `{shown}{dots}`");
        RegexError { message, too_large: true }
    }

    /// Always [`ErrorKind::Invalid`]: the pattern is as wrong next time.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl GoRegex {
    /// Compiles `pattern`, anchored at both ends, dot matches newline.
    ///
    /// # Errors
    /// What Go refuses, in Go's words; a pattern longer than [`PATTERN_BYTES_MAX`], nested deeper
    /// than 1000, repeating something more than 1000 times, or compiled to more than
    /// [`COMPILED_BYTES_MAX`].
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        if pattern.len() > PATTERN_BYTES_MAX {
            let fact = format!("pattern_bytes={} limit={PATTERN_BYTES_MAX}", pattern.len());
            return Err(RegexError::too_large(&fact, pattern));
        }
        let parsed = parser::parse(pattern)?;
        if parsed.height <= SHALLOW_HEIGHT_MAX {
            return Self::build(pattern, parsed);
        }
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(DEEP_STACK_BYTES);
            let built = thread.spawn_scoped(scope, || Self::build(pattern, parsed));
            built.ok().and_then(|building| building.join().ok()).unwrap_or_else(|| {
                Err(RegexError::too_large("no thread for a deep expression", pattern))
            })
        })
    }

    fn build(pattern: &str, parsed: parser::Parsed) -> Result<Self, RegexError> {
        let parser::Parsed { hir, groups, .. } = parsed;
        let shortcut = shortcut::find(&hir);
        let prefix = shortcut::literal_prefix(&hir);
        // Without groups a match says everything, and so it does where the only group is around
        // everything, as in `(.*)`. With other groups somebody may ask where they are.
        let around_all = groups.len() == 2 && matches!(hir.kind(), HirKind::Capture(_));
        let engine = match shortcut {
            Some(_) if groups.len() == 1 || around_all => None,
            _ => Some(compile(hir, groups.len() > 1, pattern)?),
        };
        let pattern = pattern.to_string();
        Ok(GoRegex(Arc::new(Compiled { pattern, groups, prefix, shortcut, engine })))
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        match (&self.0.shortcut, &self.0.engine) {
            (Some(shortcut), _) => shortcut.matches(text),
            (None, Some(engine)) => {
                engine.is_match(Input::new(text).anchored(Anchored::Yes).earliest(true))
            }
            (None, None) => false,
        }
    }

    /// Bytes that it takes: the pattern, and what it is compiled to.
    pub fn compiled_bytes(&self) -> usize {
        let engine = self.0.engine.as_ref().map_or(0, meta::Regex::memory_usage);
        self.0.pattern.len() + engine
    }

    /// How many groups it has.
    pub fn groups(&self) -> usize {
        self.0.groups.len().saturating_sub(1)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0.pattern
    }

    /// All the texts that match, sorted and without duplicates, where the pattern is an alternation
    /// of literals (`a|b`, `x-(a|b)`, `[ab]`).
    #[cfg(test)]
    pub(crate) fn set_matches(&self) -> Option<&[String]> {
        match &self.0.shortcut {
            Some(Shortcut::Set(values)) => Some(values),
            _ => None,
        }
    }

    /// A text that every match begins with; `""` where nothing is known. A reader of sorted values
    /// need only try those that begin with it.
    pub fn literal_prefix(&self) -> &str {
        &self.0.prefix
    }

    /// The places of the groups in `text`; `None` where it does not match.
    pub fn captures<'r, 't>(&'r self, text: &'t str) -> Option<Captures<'r, 't>> {
        let groups = &self.0.groups;
        let spans = match &self.0.engine {
            Some(engine) => {
                // A match without groups is cheaper to refuse than one with groups.
                if !self.is_match(text) {
                    return None;
                }
                let mut found = engine.create_captures();
                engine.captures(Input::new(text).anchored(Anchored::Yes), &mut found);
                (0..groups.len())
                    .map(|i| found.get_group(i).map(|span| (span.start, span.end)))
                    .collect()
            }
            None if self.is_match(text) => vec![Some((0, text.len())); groups.len()],
            None => return None,
        };
        Some(Captures { groups, text, spans })
    }

    /// `template` with Go's `$1`, `${1}`, `$name`, `${name}` and `$$` replaced by what the groups
    /// matched in `text`; `None` where `text` does not match. A group that does not exist or took
    /// no part is `""`.
    pub fn expand(&self, template: &str, text: &str) -> Option<String> {
        self.captures(text).map(|captures| captures.expand(template))
    }
}

/// Where the groups of a match are. See [`GoRegex::captures`].
pub struct Captures<'r, 't> {
    groups: &'r [Option<String>],
    text: &'t str,
    spans: Vec<Option<(usize, usize)>>,
}

impl<'t> Captures<'_, 't> {
    /// What group `index` matched (0: the whole text); `None` where it took no part or does not
    /// exist.
    pub fn get(&self, index: usize) -> Option<&'t str> {
        let (start, end) = (*self.spans.get(index)?)?;
        self.text.get(start..end)
    }

    /// What the first group of this name that took part matched.
    pub fn name(&self, name: &str) -> Option<&'t str> {
        let named = |(_, group): &(usize, &Option<String>)| group.as_deref() == Some(name);
        self.groups.iter().enumerate().filter(named).find_map(|(i, _)| self.get(i))
    }

    /// `template` with the groups filled in, as Go's `Regexp.Expand` does it.
    pub fn expand(&self, template: &str) -> String {
        self.expand_within(template, usize::MAX).unwrap_or_default()
    }

    /// [`Captures::expand`]; `None` where that is longer than `bytes_max`, and not much longer is made.
    pub fn expand_within(&self, template: &str, bytes_max: usize) -> Option<String> {
        expand::expand(template, self, bytes_max)
    }
}

fn compile(hir: Hir, with_groups: bool, pattern: &str) -> Result<meta::Regex, RegexError> {
    let anchored = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
    let captures = if with_groups { WhichCaptures::All } else { WhichCaptures::Implicit };
    let config = meta::Config::new()
        .nfa_size_limit(Some(COMPILED_BYTES_MAX))
        .onepass_size_limit(Some(COMPILED_BYTES_MAX / 10))
        .which_captures(captures);
    meta::Builder::new()
        .configure(config)
        .syntax(syntax::Config::new().utf8(true))
        .build_from_hir(&anchored)
        .map_err(|error| match error.size_limit() {
            Some(limit) => {
                RegexError::too_large(&format!("compiled_bytes over limit={limit}"), pattern)
            }
            None => RegexError::too_large(&error.to_string(), pattern),
        })
}

impl PartialEq for GoRegex {
    fn eq(&self, other: &Self) -> bool {
        self.0.pattern == other.0.pattern
    }
}

impl Eq for GoRegex {}

impl fmt::Debug for GoRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GoRegex({:?})", self.0.pattern)
    }
}

impl fmt::Display for GoRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.pattern)
    }
}
