//! Relabelling: the rules of `relabel_configs` and `metric_relabel_configs`, as in Prometheus 3.14.
//!
//! Pure: rules and labels in, labels and a verdict out. Reading the rules from YAML is
//! crates/config's work.

use std::fmt;
use std::sync::LazyLock;

use md5::{Digest, Md5};

use crate::error::ErrorKind;
use crate::labels::{LabelsBuilder, is_legacy_label_name};
use crate::number::go_quote;
use crate::regex::GoRegex;

/// What a rule does. The names are those of Prometheus' `action` in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum RelabelAction {
    /// Sets `target_label` to `replacement` where `regex` matches; an empty result removes the
    /// label.
    #[default]
    Replace,
    /// Drops what `regex` does not match.
    Keep,
    /// Drops what `regex` matches.
    Drop,
    /// Drops where the sources differ from `target_label`.
    KeepEqual,
    /// Drops where the sources equal `target_label`.
    DropEqual,
    /// Sets `target_label` to the sources' hash modulo `modulus`.
    HashMod,
    /// Copies every label whose name matches to the name that `replacement` gives.
    LabelMap,
    /// Removes the labels whose name matches.
    LabelDrop,
    /// Removes the labels whose name does not match.
    LabelKeep,
    /// Sets `target_label` to the sources in lower case.
    Lowercase,
    /// Sets `target_label` to the sources in upper case.
    Uppercase,
}

impl RelabelAction {
    /// Every action.
    pub const ALL: [RelabelAction; 11] = [
        RelabelAction::Replace,
        RelabelAction::Keep,
        RelabelAction::Drop,
        RelabelAction::KeepEqual,
        RelabelAction::DropEqual,
        RelabelAction::HashMod,
        RelabelAction::LabelMap,
        RelabelAction::LabelDrop,
        RelabelAction::LabelKeep,
        RelabelAction::Lowercase,
        RelabelAction::Uppercase,
    ];

    /// The name in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            RelabelAction::Replace => "replace",
            RelabelAction::Keep => "keep",
            RelabelAction::Drop => "drop",
            RelabelAction::KeepEqual => "keepequal",
            RelabelAction::DropEqual => "dropequal",
            RelabelAction::HashMod => "hashmod",
            RelabelAction::LabelMap => "labelmap",
            RelabelAction::LabelDrop => "labeldrop",
            RelabelAction::LabelKeep => "labelkeep",
            RelabelAction::Lowercase => "lowercase",
            RelabelAction::Uppercase => "uppercase",
        }
    }

    /// The action of this name, in any case.
    pub fn parse(name: &str) -> Result<Self, RelabelError> {
        let lower = name.to_ascii_lowercase();
        let found = Self::ALL.into_iter().find(|action| action.as_str() == lower);
        found.ok_or_else(|| RelabelError::UnknownAction(name.to_string()))
    }
}

impl fmt::Display for RelabelAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which label and metric names are valid: `metric_name_validation_scheme`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum NameScheme {
    /// Any UTF-8 that is not empty.
    #[default]
    Utf8,
    /// `[a-zA-Z_][a-zA-Z0-9_]*`, metric names with colons.
    Legacy,
}

impl NameScheme {
    /// Whether `name` may be a label's name.
    pub fn is_label_name(self, name: &str) -> bool {
        match self {
            NameScheme::Utf8 => !name.is_empty(),
            NameScheme::Legacy => is_legacy_label_name(name),
        }
    }

    /// `utf8` or `legacy`.
    pub fn as_str(self) -> &'static str {
        match self {
            NameScheme::Utf8 => "utf8",
            NameScheme::Legacy => "legacy",
        }
    }
}

/// One rule. [`RelabelConfig::default`] is what Prometheus fills in for keys that are not written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelabelConfig {
    /// The labels whose values, joined, are the rule's input. An absent label is `""`.
    pub source_labels: Vec<String>,
    /// What joins them. Default `;`.
    pub separator: String,
    /// What the input (for the label actions: the label's name) is matched with. Default `(.*)`.
    pub regex: GoRegex,
    /// The modulus of [`RelabelAction::HashMod`]; 0: not set.
    pub modulus: u64,
    /// The label to write or compare. For [`RelabelAction::Replace`] it may hold `${1}`.
    pub target_label: String,
    /// What to write, with `$1`, `${name}`. Default `$1`.
    pub replacement: String,
    /// What to do.
    pub action: RelabelAction,
    /// Which names are valid for a written label.
    pub name_scheme: NameScheme,
}

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_PATTERN: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

#[expect(clippy::expect_used, reason = "constant patterns")]
static DEFAULT_REGEX: LazyLock<GoRegex> =
    LazyLock::new(|| GoRegex::new(DEFAULT_PATTERN).expect("a constant pattern"));

/// A legacy label name in which `$1` and `${name}` may stand for some of the characters.
#[expect(clippy::expect_used, reason = "constant patterns")]
static LEGACY_TEMPLATE: LazyLock<GoRegex> = LazyLock::new(|| {
    GoRegex::new(r"(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+").expect("a constant pattern")
});

impl Default for RelabelConfig {
    fn default() -> Self {
        RelabelConfig {
            source_labels: Vec::new(),
            separator: DEFAULT_SEPARATOR.to_string(),
            regex: DEFAULT_REGEX.clone(),
            modulus: 0,
            target_label: String::new(),
            replacement: DEFAULT_REPLACEMENT.to_string(),
            action: RelabelAction::Replace,
            name_scheme: NameScheme::Utf8,
        }
    }
}

/// A rule that makes no sense. The wording is Prometheus' own.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum RelabelError {
    /// No such action.
    #[error("unknown relabel action {}", go_quote(.0))]
    UnknownAction(String),
    /// `hashmod` without `modulus`.
    #[error("relabel configuration for hashmod requires non-zero modulus")]
    NoModulus,
    /// An action that writes or compares a label, without one.
    #[error("relabel configuration for {0} action requires 'target_label' value")]
    NoTarget(RelabelAction),
    /// A target that can be no label name.
    #[error("{} is invalid 'target_label' for {action} action", go_quote(.target))]
    BadTarget {
        /// The target as written.
        target: String,
        /// The rule's action.
        action: RelabelAction,
    },
    /// A replacement that can be no label name, for `labelmap`.
    #[error("{} is invalid 'replacement' for {action} action", go_quote(.replacement))]
    BadReplacement {
        /// The replacement as written.
        replacement: String,
        /// The rule's action.
        action: RelabelAction,
    },
    /// A replacement for an action that has no use for it.
    #[error("'replacement' can not be set for {0} action")]
    UselessReplacement(RelabelAction),
    /// `keepequal` and `dropequal` compare, nothing else.
    #[error("{0} action requires only 'source_labels' and `target_label`, and no other fields")]
    OnlyLabels(RelabelAction),
    /// `labeldrop` and `labelkeep` match names, nothing else.
    #[error("{0} action requires only 'regex', and no other fields")]
    OnlyRegex(RelabelAction),
}

impl RelabelError {
    /// Always [`ErrorKind::Invalid`].
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl RelabelConfig {
    /// Whether the rule makes sense.
    ///
    /// # Errors
    /// The first fault, in the order and words of Prometheus.
    pub fn validate(&self) -> Result<(), RelabelError> {
        use RelabelAction::{
            DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace,
            Uppercase,
        };
        let action = self.action;
        if action == HashMod && self.modulus == 0 {
            return Err(RelabelError::NoModulus);
        }
        let plain = matches!(action, Lowercase | Uppercase | KeepEqual | DropEqual);
        if (plain || matches!(action, Replace | HashMod)) && self.target_label.is_empty() {
            return Err(RelabelError::NoTarget(action));
        }
        let target_is_valid = match action {
            Replace if is_template(&self.target_label) => self.is_name_template(&self.target_label),
            Replace | HashMod => self.name_scheme.is_label_name(&self.target_label),
            _ if plain => self.name_scheme.is_label_name(&self.target_label),
            _ => true,
        };
        if !target_is_valid {
            return Err(RelabelError::BadTarget { target: self.target_label.clone(), action });
        }
        if plain && self.replacement != DEFAULT_REPLACEMENT {
            return Err(RelabelError::UselessReplacement(action));
        }
        if action == LabelMap && !self.is_name_template(&self.replacement) {
            return Err(RelabelError::BadReplacement {
                replacement: self.replacement.clone(),
                action,
            });
        }
        let untouched = self.modulus == 0
            && self.separator == DEFAULT_SEPARATOR
            && self.replacement == DEFAULT_REPLACEMENT;
        if matches!(action, KeepEqual | DropEqual)
            && !(untouched && self.regex.as_str() == DEFAULT_PATTERN)
        {
            return Err(RelabelError::OnlyLabels(action));
        }
        if matches!(action, LabelDrop | LabelKeep)
            && !(untouched && self.source_labels.is_empty() && self.target_label.is_empty())
        {
            return Err(RelabelError::OnlyRegex(action));
        }
        Ok(())
    }

    /// Whether `text` can become a label name once its `$` references are filled in.
    fn is_name_template(&self, text: &str) -> bool {
        match self.name_scheme {
            NameScheme::Utf8 => !text.is_empty(),
            NameScheme::Legacy => LEGACY_TEMPLATE.is_match(text),
        }
    }

    fn input(&self, labels: &LabelsBuilder) -> String {
        let mut input = String::new();
        for (i, name) in self.source_labels.iter().enumerate() {
            if i > 0 {
                input.push_str(&self.separator);
            }
            input.push_str(labels.value(name));
        }
        input
    }

    /// Applies this rule; false: dropped.
    fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let input = self.input(labels);
        match self.action {
            RelabelAction::Keep => return self.regex.is_match(&input),
            RelabelAction::Drop => return !self.regex.is_match(&input),
            RelabelAction::KeepEqual => return labels.value(&self.target_label) == input,
            RelabelAction::DropEqual => return labels.value(&self.target_label) != input,
            RelabelAction::Replace => self.replace(labels, &input),
            RelabelAction::Lowercase => {
                let lower: String = input.chars().map(simple_lower).collect();
                labels.set(&self.target_label, &lower);
            }
            RelabelAction::Uppercase => {
                let upper: String = input.chars().map(simple_upper).collect();
                labels.set(&self.target_label, &upper);
            }
            RelabelAction::HashMod => {
                // A rule that was never validated may lack the modulus.
                let hash = hash_mod(&input, self.modulus.max(1));
                labels.set(&self.target_label, &hash.to_string());
            }
            RelabelAction::LabelMap => {
                let rename = |(name, value): (&str, &str)| {
                    Some((self.regex.expand(&self.replacement, name)?, value.to_string()))
                };
                let copies: Vec<(String, String)> = labels.iter().filter_map(rename).collect();
                for (name, value) in copies {
                    labels.set(&name, &value);
                }
            }
            RelabelAction::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            RelabelAction::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
        }
        true
    }

    fn replace(&self, labels: &mut LabelsBuilder, input: &str) {
        // Most rules only set a label to a constant.
        let constant = !is_template(&self.target_label) && !is_template(&self.replacement);
        if constant && self.name_scheme.is_label_name(&self.target_label) {
            if self.regex.is_match(input) {
                labels.set(&self.target_label, &self.replacement);
            }
            return;
        }
        let Some(groups) = self.regex.captures(input) else { return };
        let target = groups.expand(&self.target_label);
        if self.name_scheme.is_label_name(&target) {
            labels.set(&target, &groups.expand(&self.replacement));
        }
    }
}

/// Applies `rules` in order to `labels`. False: a rule dropped them, and what follows it was not
/// applied.
pub fn apply(labels: &mut LabelsBuilder, rules: &[RelabelConfig]) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

fn is_template(text: &str) -> bool {
    text.contains('$')
}

/// The last 8 bytes of the MD5 of `input`, big endian, modulo `modulus`: every Prometheus that
/// shares targets by `hashmod` computes the same.
fn hash_mod(input: &str, modulus: u64) -> u64 {
    let digest = Md5::digest(input.as_bytes());
    digest[8..].iter().fold(0u64, |hash, byte| hash << 8 | u64::from(*byte)) % modulus
}

/// Go's lower case: always one character, without regard to its place in the word.
fn simple_lower(c: char) -> char {
    match c {
        '\u{130}' => 'i',
        _ => c.to_lowercase().next().unwrap_or(c),
    }
}

/// Go's upper case: always one character. Those that have none of their own stay as they are,
/// except for the Greek letters with iota subscript, whose simple upper case is their title case.
fn simple_upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => match c {
            '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
                char::from_u32(c as u32 + 8).unwrap_or(c)
            }
            '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => char::from_u32(c as u32 + 9).unwrap_or(c),
            _ => c,
        },
    }
}

#[cfg(test)]
mod tests;
