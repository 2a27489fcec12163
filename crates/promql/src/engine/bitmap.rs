//! `Bitmap`: which steps of a column hold a value.

/// A fixed number of bits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Bitmap { words: vec![0; len.div_ceil(64)], len }
    }

    /// `len` ones.
    pub fn ones(len: usize) -> Self {
        let mut map = Bitmap { words: vec![u64::MAX; len.div_ceil(64)], len };
        map.clear_tail();
        map
    }

    /// The map of `len` bits in `words`; bits past the end are dropped. `None` for a wrong number of words.
    pub(crate) fn from_words(words: Vec<u64>, len: usize) -> Option<Self> {
        if words.len() != len.div_ceil(64) {
            return None;
        }
        let mut map = Bitmap { words, len };
        map.clear_tail();
        Some(map)
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// The words, to set bits in: none past the end.
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    fn clear_tail(&mut self) {
        let used = self.len % 64;
        if used > 0
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << used) - 1;
        }
    }

    /// The number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bit `i`; false past the end.
    pub fn get(&self, i: usize) -> bool {
        self.words.get(i / 64).is_some_and(|w| w >> (i % 64) & 1 == 1)
    }

    /// Sets bit `i`, which must be below `len`.
    pub fn set(&mut self, i: usize) {
        self.words[i / 64] |= 1 << (i % 64);
    }

    /// Clears bit `i`, which must be below `len`.
    pub fn unset(&mut self, i: usize) {
        self.words[i / 64] &= !(1 << (i % 64));
    }

    /// The number of ones.
    pub fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether any bit is one.
    pub fn any(&self) -> bool {
        self.words.iter().any(|w| *w != 0)
    }

    /// Whether both have a one at the same place.
    pub fn intersects(&self, other: &Bitmap) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    /// Sets every bit that `other` has.
    pub fn or_with(&mut self, other: &Bitmap) {
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a |= b;
        }
    }

    /// Keeps the bits that `other` has.
    pub fn and_with(&mut self, other: &Bitmap) {
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a &= b;
        }
    }

    /// Clears every bit that `other` has.
    pub fn subtract(&mut self, other: &Bitmap) {
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a &= !b;
        }
    }

    /// The places of the ones, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(w, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(w * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_ones_and_has_none_past_its_end() {
        let mut map = Bitmap::zeros(130);
        for i in [0, 63, 64, 129] {
            map.set(i);
        }
        assert_eq!(map.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        map.unset(63);
        assert_eq!(map.count(), 3);
        assert_eq!(Bitmap::ones(130).count(), 130);
        let read = Bitmap::from_words(vec![u64::MAX; 3], 130).expect("three words");
        assert_eq!(read.count(), 130);
        assert!(Bitmap::from_words(vec![0; 2], 130).is_none());
    }
}
