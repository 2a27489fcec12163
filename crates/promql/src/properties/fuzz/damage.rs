//! Seeded damage to bytes.

use crate::testing::Chance;

/// `good` with one to four changes: bytes flipped, cut out, doubled, moved, or replaced by a part of `other`.
pub(super) fn damaged(chance: &mut Chance, good: &[u8], other: &[u8], words: &[&[u8]]) -> Vec<u8> {
    let mut out = good.to_vec();
    for _ in 0..1 + chance.below(4) {
        let at = chance.below(out.len() + 1);
        let upto = out.len().min(at + chance.below(12));
        match chance.below(7) {
            0 if at < out.len() => out[at] ^= 1 << chance.below(8),
            1 if at < out.len() => out[at] = chance.bits() as u8,
            2 => drop(out.drain(at..upto)),
            3 => {
                let part = out[at..upto].to_vec();
                out.splice(at..at, part);
            }
            4 => {
                let from = chance.below(other.len() + 1);
                let part = &other[from..other.len().min(from + chance.below(40))];
                out.splice(at..upto, part.iter().copied());
            }
            5 => out.truncate(at),
            _ => drop(out.splice(at..at, chance.pick(words).iter().copied())),
        }
    }
    out
}
