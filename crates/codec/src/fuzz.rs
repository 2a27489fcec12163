//! Damage for tests: every decoder must survive every change of bytes, as an error or as other
//! values.

/// Calls `decode` with random bytes, and with `valid` cut short at every length, with bits flipped
/// and bytes replaced. `decode` must return; what it returns is its own business.
pub(crate) fn damage(valid: &[u8], mut decode: impl FnMut(&[u8])) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    for cut in 0..valid.len() {
        decode(&valid[..cut]);
    }
    for _ in 0..1500 {
        let mut bytes = valid.to_vec();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = match random(3) {
                    0 => *byte ^ 1 << random(8),
                    1 => 0xff,
                    _ => random(256) as u8,
                };
            }
        }
        decode(&bytes);
    }
    for _ in 0..1500 {
        let mut bytes: Vec<u8> = (0..random(60)).map(|_| random(256) as u8).collect();
        // Most of the time past the version byte, where it gets interesting.
        if let (Some(first), Some(version), 1..) = (bytes.first_mut(), valid.first(), random(8)) {
            *first = *version;
        }
        decode(&bytes);
    }
}
