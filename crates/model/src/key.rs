//! `SeriesKey`: the 64-bit place of a series in its tenant's key space. The function is part of the format.
//!
//! ```text
//! bits 63..32  xxh3(tenant, job, instance), or xxh3(tenant, metric name) where there is no instance
//! bits 31..0   xxh3(all labels)
//! ```
//!
//! Every text goes into the hash behind its length (u32, little endian), so that `{a="bc"}` and `{ab="c"}`
//! differ. A key is a place, never an identity: keys collide, labels are compared.

use xxhash_rust::xxh3::{Xxh3, Xxh3Builder};

use crate::labels::Labels;
use crate::tenant::TenantId;

/// The seed of both halves. Part of the format: never change it.
const SEED: u64 = 0x70_61_6e_64_6f_31; // "pando1"

/// A series' place in its tenant's key space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct SeriesKey(pub u64);

impl SeriesKey {
    /// The key of `labels` of `tenant`.
    pub fn of(tenant: &TenantId, labels: &Labels) -> Self {
        SeriesKey((u64::from(group_half(tenant, labels)) << 32) | u64::from(series_half(labels)))
    }

    /// The high half: see [`group_half`].
    pub fn high_half(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The high half: equal for all series of one target.
pub fn group_half(tenant: &TenantId, labels: &Labels) -> u32 {
    let mut hash = hasher();
    feed(&mut hash, tenant.as_str());
    match labels.get("instance") {
        Some(instance) => {
            feed(&mut hash, labels.value("job"));
            feed(&mut hash, instance);
        }
        None => feed(&mut hash, labels.metric_name()),
    }
    (hash.digest() >> 32) as u32
}

fn series_half(labels: &Labels) -> u32 {
    let mut hash = hasher();
    for (name, value) in labels {
        feed(&mut hash, name);
        feed(&mut hash, value);
    }
    (hash.digest() >> 32) as u32
}

fn hasher() -> Xxh3 {
    Xxh3Builder::new().with_seed(SEED).build()
}

fn feed(hash: &mut Xxh3, text: &str) {
    hash.update(&(text.len() as u32).to_le_bytes());
    hash.update(text.as_bytes());
}

/// A closed interval `[first, last]` of keys, so that the whole space has an interval too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct KeyRange {
    /// The first key.
    pub first: SeriesKey,
    /// The last key, included.
    pub last: SeriesKey,
}

impl KeyRange {
    /// All keys.
    pub const ALL: KeyRange = KeyRange { first: SeriesKey(0), last: SeriesKey(u64::MAX) };

    /// Whether `key` lies in the range.
    pub fn contains(self, key: SeriesKey) -> bool {
        self.first <= key && key <= self.last
    }

    /// The common part; `None` where there is none.
    pub fn intersect(self, other: KeyRange) -> Option<KeyRange> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(KeyRange { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_a_target_share_the_high_half_and_texts_are_separated() {
        let t = TenantId::default_tenant();
        let of = |p: &[(&str, &str)]| SeriesKey::of(&t, &Labels::from_pairs(p.iter().copied()));
        let a = of(&[("__name__", "up"), ("job", "j"), ("instance", "i")]);
        let b = of(&[("__name__", "x"), ("job", "j"), ("instance", "i")]);
        assert_eq!(a.high_half(), b.high_half());
        assert_ne!(a, b);
        assert_ne!(of(&[("a", "bc")]).0 as u32, of(&[("ab", "c")]).0 as u32);
    }

    #[test]
    fn the_function_is_pinned() {
        let t = TenantId::default_tenant();
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "j"), ("instance", "i")]);
        assert_eq!(SeriesKey::of(&t, &labels).0, PINNED_KEY);
    }
    const PINNED_KEY: u64 = 17_744_683_176_619_421_144;
}
