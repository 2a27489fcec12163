//! `Entry`: one remembered line.

use pando_model::MetricType;

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// Bytes of a value's text that are remembered: 22 hold any float that Go prints.
const VALUE_TEXT_BYTES: usize = 24;

/// What a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// None: the place can be used again.
    Free,
    /// HELP, UNIT or a comment: all of the line is remembered.
    Meta,
    /// TYPE, with what it says.
    Type(MetricType),
    /// A sample of the series in a slot; its line is remembered up to the value.
    Sample,
    /// A sample that the caller does not want.
    Dropped,
    /// A `_created` line that is read as a start timestamp.
    Created,
}

/// One remembered line. 64 bytes, a cache line.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) hash: u64,
    value: f64,
    pub(super) prefix_at: u32,
    pub(super) prefix_len: u32,
    /// The line that came after this one.
    pub(super) next: u32,
    pub(super) slot: u32,
    /// The last scrape that had the line.
    pub(super) seen: u32,
    value_len: u8,
    value_text: [u8; VALUE_TEXT_BYTES],
    pub(super) kind: Kind,
    /// Whether the metric's name is that of a `_created` line, which the type of its family then decides.
    pub(super) created_name: bool,
}

impl Entry {
    pub(super) fn new(hash: u64, prefix_at: u32, prefix_len: u32, kind: Kind) -> Self {
        Entry {
            hash,
            value: 0.0,
            prefix_at,
            prefix_len,
            next: NONE,
            slot: NONE,
            seen: 0,
            value_len: 0,
            value_text: [0; VALUE_TEXT_BYTES],
            kind,
            created_name: false,
        }
    }

    pub(super) fn free() -> Self {
        Entry::new(0, 0, 0, Kind::Free)
    }

    #[inline]
    pub(super) fn prefix<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let at = self.prefix_at as usize;
        &arena[at..at + self.prefix_len as usize]
    }

    /// The value and its length where `text` begins with the value of the last scrape and a newline.
    #[inline]
    pub(super) fn same_value(&self, text: &[u8]) -> Option<(f64, usize)> {
        let len = usize::from(self.value_len);
        let same = len > 0
            && text.get(len) == Some(&b'\n')
            && self.value_text.get(..len).is_some_and(|known| text.starts_with(known));
        same.then_some((self.value, len))
    }

    #[inline]
    pub(super) fn remember_value(&mut self, text: &[u8], value: f64) {
        self.value = value;
        match self.value_text.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text);
                self.value_len = text.len() as u8;
            }
            None => self.value_len = 0,
        }
    }
}
