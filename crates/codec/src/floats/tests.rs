use pando_model::STALE_NAN;
use proptest::prelude::*;

use super::*;
use crate::fuzz;

fn encoded(values: &[f64]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_floats(values, &mut out);
    let mut decoded = vec![7.0];
    let constant = decode_floats(&out, &mut decoded).expect("what was encoded");
    let one_value = values.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits());
    assert_eq!(constant, one_value && !values.is_empty(), "{values:?}");
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&decoded[1..]), bits(values));
    assert_eq!(decoded[0], 7.0, "decoding appends");
    assert!(out.len() <= values.len() * 81 / 10 + 12, "{} of {}", out.len(), values.len());
    out
}

/// A generator of reproducible numbers.
fn numbers(mut state: u64) -> impl Iterator<Item = u64> {
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

#[test]
fn the_bytes_are_pinned() {
    assert_eq!(encoded(&[]), [1, 0]);
    assert_eq!(encoded(&[0.0]), [1, 1, 0xa0, 0]);
    assert_eq!(encoded(&[-2.5; 300]), [1, 0xac, 2, 0xa1, 49]);
    let mut stale = vec![1, 2, 0xb0];
    stale.extend(STALE_NAN.to_le_bytes());
    assert_eq!(encoded(&[STALE_NAN; 2]), stale);
    // Deltas of 4: a constant slope is one block of width 0 behind its reference.
    assert_eq!(encoded(&[10.0, 14.0, 18.0, 22.0]), [1, 4, 0x80, 0b1010, 12, 0x40, 2]);
    // One stale marker after two values.
    assert_eq!(encoded(&[0.5, 0.5, STALE_NAN]), [1, 3, 0xc1, 1, 2 << 2, 0, 10]);
    // A gauge: the smallest is 3, offsets of 3 bits.
    let gauge = [3.0, 8.0, 5.0, 10.0, 4.0, 9.0];
    assert_eq!(encoded(&gauge), [1, 6, 0x80, 1, 6, 3, 0b1010_1000, 0b0001_1110, 0b11]);
}

/// What was once written must be read for ever, so every scale is pinned, however the encoder
/// chooses.
#[test]
fn every_scale_is_pinned() {
    // Raw: two values without anything in common.
    let raw = [f64::from_bits(0x1234_5678_9abc_def1), f64::from_bits(0xfedc_ba98_7654_3210)];
    let mut expected = vec![1, 2, 0x80 | 17];
    raw.iter().for_each(|v| expected.extend(v.to_bits().to_le_bytes()));
    assert_eq!(encoded(&raw), expected);
    let third = 1.0 / 3.0;
    let ordered: Vec<f64> = (0..4).map(|i| from_ordered(to_ordered(third) + i)).collect();
    let column = [2, 168, 213, 170, 213, 170, 213, 170, 213, 127, 0x40, 2];
    assert_eq!(encoded(&ordered), [&[1, 4, 0x80 | 16][..], &column].concat());
    // Mantissas 300, 400 ... in steps of 25 << 2, and one ulp more at 0.3, 0.6 and 0.9.
    let near: Vec<f64> = (1..12).map(|i| 0.1 * f64::from(i) + 0.2).collect();
    let mantissas = [2 | 2 << 2, 0x90, 3, 0x40, 50];
    let ulps = [2, 4, 0x42, 1, 0b1001_0000, 0b0010_0100, 0b0001_0101];
    let head = [1, 11, 0x80 | 18, 3];
    assert_eq!(encoded(&near), [&head[..], &mantissas, &ulps].concat());
}

#[test]
fn typical_series_are_small() {
    let mut counter = 1e6;
    let counters: Vec<f64> = numbers(1)
        .take(960)
        .map(|n| {
            counter += (n % 5) as f64;
            counter
        })
        .collect();
    assert!(encoded(&counters).len() * 8 < 960 * 4, "deltas 0 to 4");
    let reset: Vec<f64> = counters.iter().enumerate().map(|(i, v)| v % (i as f64 + 9e5)).collect();
    assert!(encoded(&reset).len() * 8 < 960 * 5, "a reset is one patch");
    let gauge: Vec<f64> = numbers(2).take(960).map(|n| (n % 1000) as f64 / 100.0).collect();
    assert!(encoded(&gauge).len() * 8 < 960 * 11, "three digits are ten bits");
    let pages: Vec<f64> = numbers(3).take(960).map(|n| (n % 64 * 4096) as f64).collect();
    assert!(encoded(&pages).len() * 8 < 960 * 7, "the common factor costs nothing");
    let mut sum = 0.0;
    let sums: Vec<f64> = numbers(4)
        .take(960)
        .map(|n| {
            sum += (n % 4000) as f64 / 1e9;
            sum
        })
        .collect();
    assert!(encoded(&sums).len() * 8 < 960 * 24, "a sum of decimals is near a decimal");
    let random: Vec<f64> = numbers(5).take(960).map(|n| (n >> 11) as f64 / 1e16).collect();
    assert!(encoded(&random).len() * 8 < 960 * 56, "what has no pattern costs its mantissa");
}

#[test]
fn exceptions_keep_their_bits() {
    let odd = [
        STALE_NAN,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff8_0000_0000_0001),
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        f64::MAX,
        0.1 + 0.2,
    ];
    for (i, odd) in odd.into_iter().enumerate() {
        let mut values: Vec<f64> = (0..700).map(|n| n as f64 * 0.25).collect();
        for at in [0, 1, 130, 131, 699] {
            values[at] = odd;
        }
        assert!(encoded(&values).len() < 120, "odd value {i}");
    }
    encoded(&odd);
    let alternating: Vec<f64> = (0..500).map(|i| if i % 2 == 0 { f64::NAN } else { 0.5 }).collect();
    encoded(&alternating);
}

#[test]
fn long_series_change_their_runs() {
    let mut values = vec![5.0; 5000];
    values.extend((0..3000).map(|i| f64::from(i) * 0.125));
    values.extend([f64::NAN; 2000]);
    values.extend(numbers(9).take(1500).map(f64::from_bits));
    values.push(1.0);
    encoded(&values);
    assert!(encoded(&[0.25; 5000]).len() < 16);
}

#[test]
fn refuses_what_is_not_floats() {
    let refused = |bytes: &[u8]| {
        let mut out = vec![1.0];
        let error = decode_floats(bytes, &mut out).expect_err("not floats");
        assert_eq!(out, [1.0], "nothing is appended");
        error
    };
    assert!(matches!(refused(&[2, 0]), CodecError::Version { found: 2, .. }));
    assert!(matches!(refused(&[1, 0x81, 0x80, 0x40]), CodecError::Limit { .. }));
    assert!(matches!(refused(&[1, 1, 0xa0]), CodecError::Truncated { .. }));
    assert!(matches!(refused(&[1, 1, 0xa0, 0, 0]), CodecError::Malformed { .. }));
    assert!(matches!(refused(&[1, 1, 0xb1, 0]), CodecError::Malformed { .. }), "scale 17");
    assert!(matches!(refused(&[1, 2, 0x20, 0, 0]), CodecError::Malformed { .. }), "empty run");
    assert!(matches!(refused(&[1, 2, 0xc0, 1, 9 << 2, 0, 0]), CodecError::Malformed { .. }));
    assert!(matches!(refused(&[1, 2, 0xc0, 1, 2, 0, 0]), CodecError::Malformed { .. }));
}

#[test]
fn damage_never_panics() {
    let mut values: Vec<f64> = numbers(7).take(200).map(|n| (n % 3000) as f64 / 10.0).collect();
    values.extend([STALE_NAN, f64::NAN, 0.1 + 0.2]);
    values.extend(numbers(8).take(60).map(f64::from_bits));
    fuzz::damage(&encoded(&values), |bytes| {
        let mut out = Vec::new();
        let _ = decode_floats(bytes, &mut out);
    });
    let sums: Vec<f64> = (1..200).map(|i| 0.1 * f64::from(i) + 0.2).collect();
    fuzz::damage(&encoded(&sums), |bytes| {
        let _ = decode_floats(bytes, &mut Vec::new());
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_bits_survive(bits in proptest::collection::vec(any::<u64>(), 0..400)) {
        encoded(&bits.into_iter().map(f64::from_bits).collect::<Vec<_>>());
    }

    #[test]
    fn decimals_with_exceptions_survive(
        exponent in 0i32..12, digits in 1u32..54, start in any::<i32>(),
        items in proptest::collection::vec((any::<u64>(), 0u8..60), 0..1500),
    ) {
        let mut sum = 0.0;
        let values: Vec<f64> = items.into_iter().map(|(n, kind)| match kind {
            0 => STALE_NAN,
            1 => f64::from_bits(n),
            2 => -0.0,
            3 => { sum += (n % 1000) as f64 * 0.001; sum }
            _ => (i64::from(start) + (n >> (64 - digits)) as i64) as f64 / 10f64.powi(exponent),
        }).collect();
        encoded(&values);
    }

    #[test]
    fn sums_survive(
        exponent in 1i32..10, steps in proptest::collection::vec(0u32..100_000, 0..300),
    ) {
        let mut sum = 0.0;
        let values = steps.into_iter().map(|n| { sum += f64::from(n) / 10f64.powi(exponent); sum });
        encoded(&values.collect::<Vec<_>>());
    }
}
