//! `Digest`: the order-independent hash of a multiset of samples, with their number. It is what replicas
//! compare at a cut and what compaction conserves.

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::labels::Labels;
use crate::sample::{SampleValue, histogram_bytes};
use crate::tenant::TenantId;

/// Part of the format: never change it.
const SEED: u64 = 0x6469_6765_7374; // "digest"

/// Number and sum of hashes of samples. Adding is commutative; equal multisets have equal digests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Digest {
    /// Number of samples.
    pub samples: u64,
    /// Wrapping sum of the samples' 128-bit hashes.
    pub sum: u128,
}

/// The hash of (tenant, labels): computed once per series, then combined with each sample.
pub fn series_hash(tenant: &TenantId, labels: &Labels) -> u128 {
    let mut bytes = Vec::with_capacity(128);
    let mut feed = |text: &str| {
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    feed(tenant.as_str());
    for (name, value) in labels {
        feed(name);
        feed(value);
    }
    xxh3_128_with_seed(&bytes, SEED)
}

impl Digest {
    /// Adds one sample of the series with `series_hash`.
    pub fn add(&mut self, series_hash: u128, timestamp_ms: i64, value: &SampleValue) {
        match value {
            SampleValue::Float(v) => self.add_float(series_hash, timestamp_ms, *v),
            SampleValue::Histogram(h) => {
                self.add_bytes(series_hash, timestamp_ms, 1, &histogram_bytes(h));
            }
        }
    }

    /// Adds one float sample of the series with `series_hash`.
    ///
    /// Floats are the hot path: two rounds of 64x64->128 multiplication instead of xxh3 over 33 bytes.
    pub fn add_float(&mut self, series_hash: u128, timestamp_ms: i64, v: f64) {
        let mix = |a: u64, b: u64| {
            let wide = u128::from(a) * u128::from(b);
            (wide as u64) ^ ((wide >> 64) as u64)
        };
        let (hi, lo) = ((series_hash >> 64) as u64, series_hash as u64);
        let t = (timestamp_ms as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let b = v.to_bits().wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        let x = mix(hi ^ t ^ 0xa076_1d64_78bd_642f, lo ^ b ^ 0xe703_7ed1_a0b4_28db);
        let y = mix(lo ^ t.rotate_left(32) ^ 0x8ebc_6af0_9c88_c6e3, hi ^ b.rotate_left(23) ^ x);
        self.samples += 1;
        self.sum = self.sum.wrapping_add((u128::from(x) << 64) | u128::from(y));
    }

    /// Adds all samples of `other`.
    pub fn merge(&mut self, other: Digest) {
        self.samples += other.samples;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    fn add_bytes(&mut self, series_hash: u128, timestamp_ms: i64, kind: u8, value: &[u8]) {
        let mut bytes = Vec::with_capacity(32 + value.len());
        bytes.extend(series_hash.to_le_bytes());
        bytes.extend(timestamp_ms.to_le_bytes());
        bytes.push(kind);
        bytes.extend(value);
        self.samples += 1;
        self.sum = self.sum.wrapping_add(xxh3_128_with_seed(&bytes, SEED));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_but_time_value_and_series_do() {
        let of = |items: &[(u128, i64, f64)]| {
            let mut d = Digest::default();
            items.iter().for_each(|&(s, t, v)| d.add_float(s, t, v));
            d
        };
        let base = of(&[(1, 1, 1.0), (2, 2, 2.0)]);
        assert_eq!(base, of(&[(2, 2, 2.0), (1, 1, 1.0)]));
        for other in [
            [(1, 1, 1.0), (2, 2, 3.0)],
            [(1, 1, 1.0), (2, 3, 2.0)],
            [(1, 1, 1.0), (3, 2, 2.0)],
            [(1, 2, 1.0), (2, 1, 2.0)],
            [(1, 1, 2.0), (2, 2, 1.0)],
        ] {
            assert_ne!(base, of(&other));
        }
    }
}
