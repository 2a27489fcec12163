//! `SlotSet`: which slots of a group a frame speaks of, and its code relative to the set of the frame before.
//!
//! ```text
//! 2 bits form, then
//!   0 bitmap   one bit a slot
//!   1 list     the members
//!   2 toggles  the members of the symmetric difference with the set before
//! list: rice(number), 6 bits k, then for each member rice(gap to the one before), k fixed
//! ```
//!
//! The shortest form is taken, of equal ones the first.

use super::bits::{BitReader, BitWriter};
use crate::error::CodecError;

/// The Rice parameter that a list's length is written with.
const COUNT_K: u8 = 3;

/// A set of slot numbers below a size that whoever uses it knows.
#[derive(Clone, Debug, Default)]
pub struct SlotSet {
    words: Vec<u64>,
    count: usize,
}

impl SlotSet {
    /// The number of members.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `slot` is a member.
    pub fn contains(&self, slot: u32) -> bool {
        let word = self.words.get(slot as usize / 64).copied().unwrap_or(0);
        word >> (slot % 64) & 1 == 1
    }

    /// Adds `slot`.
    pub fn insert(&mut self, slot: u32) {
        let at = slot as usize / 64;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        self.count += usize::from(self.words[at] >> (slot % 64) & 1 == 0);
        self.words[at] |= 1 << (slot % 64);
    }

    /// Removes `slot`.
    pub fn remove(&mut self, slot: u32) {
        if let Some(word) = self.words.get_mut(slot as usize / 64) {
            self.count -= (*word >> (slot % 64) & 1) as usize;
            *word &= !(1 << (slot % 64));
        }
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(i, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                Some(i as u32 * 64 + bit)
            })
        })
    }

    /// Whether every member of this set is a member of `other`.
    pub fn is_subset(&self, other: &SlotSet) -> bool {
        let of = |i: usize| other.words.get(i).copied().unwrap_or(0);
        self.words.iter().enumerate().all(|(i, word)| word & !of(i) == 0)
    }

    /// Bytes of heap.
    pub fn heap_bytes(&self) -> usize {
        self.words.capacity() * 8
    }

    fn difference(&self, other: &SlotSet) -> SlotSet {
        let words: Vec<u64> = (0..self.words.len().max(other.words.len()))
            .map(|i| {
                let of = |set: &SlotSet| set.words.get(i).copied().unwrap_or(0);
                of(self) ^ of(other)
            })
            .collect();
        let count = words.iter().map(|w| w.count_ones() as usize).sum();
        SlotSet { words, count }
    }

    /// Appends the set, which is of `size` slots, relative to `before`.
    pub(super) fn encode(&self, before: &SlotSet, size: u32, out: &mut BitWriter) {
        let toggles = self.difference(before);
        let costs = [u64::from(size), list_bits(self, size), list_bits(&toggles, size)];
        let form = (0..3).min_by_key(|&i| costs[i]).unwrap_or(0);
        out.write(form as u64, 2);
        match form {
            0 => {
                for start in (0..size).step_by(64) {
                    let word = self.words.get(start as usize / 64).copied().unwrap_or(0);
                    out.write(word, (size - start).min(64));
                }
            }
            1 => write_list(self, size, out),
            _ => write_list(&toggles, size, out),
        }
    }

    /// Reads a set of `size` slots relative to `before`.
    pub(super) fn decode(
        before: &SlotSet,
        size: u32,
        bits: &mut BitReader<'_>,
    ) -> Result<SlotSet, CodecError> {
        match bits.read(2)? {
            0 => {
                let mut words = Vec::with_capacity(size as usize / 64 + 1);
                for start in (0..size).step_by(64) {
                    words.push(bits.read((size - start).min(64))?);
                }
                let count = words.iter().map(|w| w.count_ones() as usize).sum();
                Ok(SlotSet { words, count })
            }
            1 => read_list(size, bits),
            2 => Ok(read_list(size, bits)?.difference(before)),
            _ => Err(bits.malformed("unknown form of slot set")),
        }
    }
}

impl FromIterator<u32> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Self {
        let mut set = SlotSet::default();
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

/// The Rice parameter for gaps of `count` members spread over `size` slots.
fn gap_k(count: usize, size: u32) -> u8 {
    let mean = u64::from(size) / (count as u64).max(1);
    (63 - (mean | 1).leading_zeros()) as u8
}

fn gaps(set: &SlotSet) -> impl Iterator<Item = u64> + '_ {
    let mut next = 0;
    set.iter().map(move |slot| {
        let gap = slot - next;
        next = slot + 1;
        u64::from(gap)
    })
}

fn list_bits(set: &SlotSet, size: u32) -> u64 {
    let k = gap_k(set.count, size);
    let gaps: u64 = gaps(set).map(|gap| BitWriter::rice_bits(gap, k)).sum();
    BitWriter::rice_bits(set.count as u64, COUNT_K) + 6 + gaps
}

fn write_list(set: &SlotSet, size: u32, out: &mut BitWriter) {
    let k = gap_k(set.count, size);
    out.rice(set.count as u64, &mut COUNT_K.clone());
    out.write(u64::from(k), 6);
    for gap in gaps(set) {
        out.rice(gap, &mut k.clone());
    }
}

fn read_list(size: u32, bits: &mut BitReader<'_>) -> Result<SlotSet, CodecError> {
    let count = bits.rice(&mut COUNT_K.clone())?;
    let k = bits.read(6)? as u8;
    let mut set = SlotSet::default();
    let mut next = 0u64;
    if count > u64::from(size) || k > 32 {
        return Err(bits.malformed("a slot set has more members than slots"));
    }
    for _ in 0..count {
        let slot = next.saturating_add(bits.rice(&mut k.clone())?);
        if slot >= u64::from(size) {
            return Err(bits.malformed("a member of a slot set is no slot"));
        }
        set.insert(slot as u32);
        next = slot + 1;
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_comes_back_and_an_unchanged_set_is_tiny() {
        let dense: SlotSet = (0..1000).filter(|s| s % 3 != 1).collect();
        let sparse: SlotSet = [3, 64, 999].into_iter().collect();
        let mut near = dense.clone();
        near.remove(0);
        near.insert(1);
        let empty = SlotSet::default();
        for (set, before) in [
            (&dense, &empty),
            (&sparse, &dense),
            (&near, &dense),
            (&dense, &dense),
            (&empty, &empty),
        ] {
            let mut out = BitWriter::default();
            set.encode(before, 1000, &mut out);
            let bytes = out.finish();
            if std::ptr::eq(set, before) {
                assert!(bytes.len() <= 2);
            }
            let mut bits = BitReader::new(&bytes);
            let back = SlotSet::decode(before, 1000, &mut bits).expect("written");
            assert_eq!(back.iter().collect::<Vec<_>>(), set.iter().collect::<Vec<_>>());
            assert_eq!(back.len(), set.len());
            bits.finish().expect("nothing is left");
        }
    }
}
