//! `Labels`: the sorted, duplicate-free label set of a series, in one shared string.
//!
//! Layout of the string, pair after pair, sorted by name (bytewise, as Prometheus sorts):
//!
//! ```text
//! len(name) name len(value) value
//! ```
//!
//! A length is written in base-64 digits, least significant first, one ASCII byte each: bits 0-5 are
//! the digit, bit 6 says that another digit follows. ASCII lengths keep the whole buffer valid UTF-8, so
//! that names and values are borrowed from it as `&str` without a copy, a check of bytes or `unsafe`.
//! The layout is private to the process; stored formats write labels in their own way.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

mod pool;

pub use pool::LabelsPool;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// The sorted, duplicate-free set of labels that identifies a series. Cloning shares the storage.
///
/// A label with an empty value is the same as no label at all, and is never stored.
#[derive(Clone)]
pub struct Labels(Arc<str>);

impl Labels {
    /// The set without labels.
    pub fn empty() -> Self {
        Labels(Arc::from(""))
    }

    /// The set of `pairs`, in any order. Of pairs with equal names the last one counts; empty values are
    /// dropped.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// The set of `pairs` that are already sorted by name, without duplicates and without empty values;
    /// otherwise `None`. This is the fast way in for decoders, which must not trust their input.
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        // Room for most sets at once: the exact length is not known before the pairs are gone.
        let mut packed = String::with_capacity(256);
        push_sorted(&mut packed, pairs)?;
        Some(Labels(packed.into()))
    }

    /// The value of label `name`; `None` where the set does not have it.
    pub fn get(&self, name: &str) -> Option<&str> {
        for (n, v) in self.iter() {
            match n.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(v),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The value of label `name`, and `""` where the set does not have it: what a matcher compares.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// The metric's name, `""` where there is none.
    pub fn metric_name(&self) -> &str {
        self.value(METRIC_NAME)
    }

    /// The pairs in order of their names.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.0 }
    }

    /// The number of labels. Linear in it.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether the set has no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// xxh3 of the packed set: equal sets have equal hashes within a process. Not for anything stored.
    pub fn hash64(&self) -> u64 {
        xxh3_64(self.0.as_bytes())
    }

    /// Bytes of heap that the set takes (shared by all its clones).
    pub fn heap_bytes(&self) -> usize {
        self.0.len() + 16
    }

    /// A builder that starts with these labels.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect() }
    }

    /// The set without the labels that `drop` names by returning true.
    pub fn without(&self, mut drop: impl FnMut(&str) -> bool) -> Labels {
        let mut packed = String::with_capacity(self.0.len());
        for (name, value) in self.iter().filter(|(name, _)| !drop(name)) {
            push_text(&mut packed, name);
            push_text(&mut packed, value);
        }
        Labels(packed.into())
    }

    /// The set without the metric's name.
    pub fn without_name(&self) -> Labels {
        self.without(|name| name == METRIC_NAME)
    }
}

impl Default for Labels {
    fn default() -> Self {
        Labels::empty()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        // Sets that are compared often share their storage, which `Arc` looks at for sized contents alone.
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Sets are ordered pair by pair, name before value, a shorter set first: Prometheus' `labels.Compare`.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        if self == other {
            return Ordering::Equal;
        }
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `{a="1", b="2"}`, values quoted as in Go: the form that Prometheus uses in its messages.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            if is_legacy_label_name(name) {
                write!(f, "{comma}{name}=")?;
            } else {
                write!(f, "{comma}{}=", crate::number::go_quote(name))?;
            }
            f.write_str(&crate::number::go_quote(value))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterator over the pairs of a [`Labels`].
#[derive(Clone)]
pub struct Iter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let name = take_text(&mut self.rest);
        let value = take_text(&mut self.rest);
        Some((name, value))
    }
}

/// Appends `pairs`; `None` where they are not sorted by name, or not a set.
fn push_sorted<'a>(
    packed: &mut String,
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<()> {
    let mut previous: Option<&str> = None;
    for (name, value) in pairs {
        if value.is_empty() || previous.is_some_and(|p| p >= name) {
            return None;
        }
        push_text(packed, name);
        push_text(packed, value);
        previous = Some(name);
    }
    Some(())
}

fn push_text(packed: &mut String, text: &str) {
    let mut len = text.len();
    loop {
        let digit = (len & 0x3f) as u8;
        len >>= 6;
        let more = if len > 0 { 0x40 } else { 0 };
        packed.push((digit | more) as char);
        if len == 0 {
            break;
        }
    }
    packed.push_str(text);
}

fn take_text<'a>(rest: &mut &'a str) -> &'a str {
    let bytes = rest.as_bytes();
    let (mut len, mut shift, mut at) = (0usize, 0u32, 0usize);
    loop {
        let digit = bytes[at];
        at += 1;
        len |= ((digit & 0x3f) as usize) << shift;
        shift += 6;
        if digit & 0x40 == 0 {
            break;
        }
    }
    let text = &rest[at..at + len];
    *rest = &rest[at + len..];
    text
}

/// Collects labels and builds the sorted set.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// A builder without labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets label `name`; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        if value.is_empty() {
            return self.del(name);
        }
        match self.pairs.iter_mut().find(|(n, _)| n == name) {
            Some((_, v)) => {
                v.clear();
                v.push_str(value);
            }
            None => self.pairs.push((name.to_string(), value.to_string())),
        }
        self
    }

    /// Removes label `name`.
    pub fn del(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(n, _)| n != name);
        self
    }

    /// The value of label `name`, `""` where it is not set.
    pub fn value(&self, name: &str) -> &str {
        self.pairs.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// The pairs set so far, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Keeps the labels for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.pairs.retain(|(n, v)| keep(n, v));
    }

    /// The sorted set.
    pub fn build(&self) -> Labels {
        let mut order: Vec<usize> = (0..self.pairs.len()).collect();
        order.sort_unstable_by(|&a, &b| self.pairs[a].0.cmp(&self.pairs[b].0));
        let bytes: usize = self.pairs.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
        let mut packed = String::with_capacity(bytes);
        for i in order {
            push_text(&mut packed, &self.pairs[i].0);
            push_text(&mut packed, &self.pairs[i].1);
        }
        Labels(packed.into())
    }
}

/// Whether `name` is a label name that needs no quotes: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `name` is a metric name that needs no quotes: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_deduplicates_and_drops_empty_values() {
        let labels = Labels::from_pairs([("b", "2"), ("a", "1"), ("c", ""), ("b", "3")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
        assert_eq!(labels.get("c"), None);
        assert_eq!(labels.to_string(), r#"{a="1", b="3"}"#);
    }

    #[test]
    fn keeps_long_and_unicode_values() {
        let long = "é".repeat(5000);
        let labels = Labels::from_pairs([("x", long.as_str()), ("y.z", "ok")]);
        assert_eq!(labels.get("x"), Some(long.as_str()));
        assert_eq!(labels.get("y.z"), Some("ok"));
        assert!(labels.to_string().ends_with(r#""y.z"="ok"}"#));
    }

    #[test]
    fn order_is_by_pairs_not_by_bytes_of_the_buffer() {
        let a = Labels::from_pairs([("a", "zz")]);
        let b = Labels::from_pairs([("aa", "a")]);
        let c = Labels::from_pairs([("a", "zz"), ("b", "1")]);
        assert!(a < b && a < c && c < b);
    }

    #[test]
    fn from_sorted_refuses_what_is_not_a_set() {
        assert!(Labels::from_sorted([("a", "1"), ("a", "2")]).is_none());
        assert!(Labels::from_sorted([("b", "1"), ("a", "2")]).is_none());
        assert!(Labels::from_sorted([("a", "")]).is_none());
        assert_eq!(Labels::from_sorted([("a", "1")]), Some(Labels::from_pairs([("a", "1")])));
    }
}
