//! Bit packing of up to 128 unsigned integers of one width, 0 to 64 bits.
//!
//! Layout: value `i` takes the bits `i * width ..` of the bytes, least significant bit first; the
//! last byte is padded with zeros. So 8 values are `width` whole bytes, and a short block is a
//! prefix of a full one.
//!
//! There is one unpacker per width, made by the compiler from a const generic: shifts and offsets
//! are constants, each value is one unaligned load, one shift and one mask.

/// Values of a full block.
pub const BLOCK_VALUES: usize = 128;

/// A block of unpacked values. Only the first `n` of a short block mean something.
pub type Block = [u64; BLOCK_VALUES];

/// Bytes that a group of 8 may load beyond its own.
const BEHIND_BYTES: usize = 8;
/// The groups that would load beyond the input hold fewer bytes than the widest group and what it
/// loads behind it; the last of them may be short, and loads behind itself again.
const TAIL_BYTES: usize = 64 + BEHIND_BYTES + 64 + BEHIND_BYTES;

/// Bytes that `n` values of `width` bits take.
pub fn packed_bytes(n: usize, width: u32) -> usize {
    (n * width as usize).div_ceil(8)
}

/// The `width` lowest bits, 0 to 64 of them.
pub fn mask(width: u32) -> u64 {
    if width == 0 { 0 } else { u64::MAX >> (64 - width.min(64)) }
}

/// Appends `values`, each cut to its `width` lowest bits: [`packed_bytes`] bytes.
///
/// # Panics
/// Where `width` is above 64.
pub fn pack(values: &[u64], width: u32, out: &mut Vec<u8>) {
    assert!(width <= 64, "a value has 64 bits");
    if width == 0 {
        return;
    }
    let end = out.len() + packed_bytes(values.len(), width);
    let mask = mask(width);
    let (mut word, mut used) = (0u64, 0u32);
    for value in values {
        let value = value & mask;
        word |= value << used;
        used += width;
        if used >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            used -= 64;
            // The bits that did not fit; none where the value ended exactly at the word's end.
            word = if used == 0 { 0 } else { value >> (width - used) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..end - out.len()]);
}

/// Unpacks `n` values of `width` bits from the start of `bytes`, which may be longer than they are.
/// Values at `n` and above are unspecified.
///
/// # Panics
/// Where `n` is above 128, `width` above 64, or `bytes` shorter than [`packed_bytes`].
pub fn unpack(bytes: &[u8], n: usize, width: u32, out: &mut Block) {
    assert!(n <= BLOCK_VALUES && width <= 64, "a block has 128 values of 64 bits");
    assert!(bytes.len() >= packed_bytes(n, width), "the caller has checked the length");
    let (groups, group_bytes) = (n.div_ceil(8), width as usize);
    if bytes.len() >= groups * group_bytes + BEHIND_BYTES {
        return unpack_groups(bytes, width, &mut out[..groups * 8]);
    }
    // At the end of the input the last groups are unpacked from a copy with zeros behind it.
    let direct = bytes.len().saturating_sub(BEHIND_BYTES) / group_bytes.max(1);
    let direct = direct.min(groups);
    let (head, tail) = out[..groups * 8].split_at_mut(direct * 8);
    unpack_groups(bytes, width, head);
    let rest = &bytes[direct * group_bytes..];
    let mut padded = [0u8; TAIL_BYTES];
    padded[..rest.len()].copy_from_slice(rest);
    unpack_groups(&padded, width, tail);
}

/// Makes the match from a width to its unpacker.
macro_rules! by_width {
    ($bytes:ident, $width:ident, $out:ident: $($w:literal)*) => {
        match $width {
            $($w => unpack_width::<$w>($bytes, $out),)*
            _ => unreachable!("the width was checked"),
        }
    };
}

/// Unpacks as many groups of 8 values as `out` has; a group's loads stay within its own bytes and
/// the 8 that follow.
fn unpack_groups(bytes: &[u8], width: u32, out: &mut [u64]) {
    by_width!(bytes, width, out:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62
        63 64)
}

fn unpack_width<const W: usize>(bytes: &[u8], out: &mut [u64]) {
    if W == 0 {
        return out.fill(0);
    }
    let (outs, _) = out.as_chunks_mut::<8>();
    for (g, out) in outs.iter_mut().enumerate() {
        let window = &bytes[g * W..][..W + BEHIND_BYTES];
        for (j, out) in out.iter_mut().enumerate() {
            let (at, shift) = (j * W / 8, (j * W % 8) as u32);
            let mut value = load(window, at) >> shift;
            if shift as usize + W > 64 {
                value |= u64::from(window[at + 8]) << (64 - shift);
            }
            *out = value & mask(W as u32);
        }
    }
}

#[inline(always)]
fn load(window: &[u8], at: usize) -> u64 {
    window[at..].first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_pinned() {
        let mut out = Vec::new();
        pack(&[1, 2, 3, 4, 5], 3, &mut out);
        assert_eq!(out, [0b1101_0001, 0b0101_1000]);
        out.clear();
        pack(&[u64::MAX, 1], 64, &mut out);
        assert_eq!(out, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn every_width_and_length_survives_with_and_without_bytes_behind() {
        let mut seed = 1u64;
        let values: Vec<u64> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed ^ (seed >> 29)
        })
        .take(BLOCK_VALUES)
        .collect();
        for width in 0..=64 {
            for n in [0, 1, 7, 8, 9, 63, 64, 127, 128] {
                let mut bytes = Vec::new();
                pack(&values[..n], width, &mut bytes);
                assert_eq!(bytes.len(), packed_bytes(n, width));
                let expected: Vec<u64> = values[..n].iter().map(|v| v & mask(width)).collect();
                let mut out = [7; BLOCK_VALUES];
                unpack(&bytes, n, width, &mut out);
                assert_eq!(out[..n], expected, "width={width} n={n}");
                bytes.extend([0xff; 9]);
                let mut out = [7; BLOCK_VALUES];
                unpack(&bytes, n, width, &mut out);
                assert_eq!(out[..n], expected, "width={width} n={n}, more behind");
            }
        }
    }
}
