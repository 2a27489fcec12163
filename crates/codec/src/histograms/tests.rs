use pando_model::STALE_NAN;
use pando_model::sample::histogram_bytes;
use proptest::prelude::*;

use super::*;
use crate::fuzz;

fn encoded(histograms: &[Histogram]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_histograms(&histograms.iter().collect::<Vec<_>>(), &mut out);
    let decoded = decode_histograms(&out).expect("what was encoded");
    // By bits: NaN sums and negative zeros are values.
    let bits = |h: &Histogram| histogram_bytes(h);
    assert!(decoded.iter().map(bits).eq(histograms.iter().map(bits)), "{decoded:?}");
    out
}

fn spans(spans: &[(i32, u32)]) -> Vec<Span> {
    spans.iter().map(|&(offset, length)| Span { offset, length }).collect()
}

/// A latency histogram that grows by a few observations per sample, with a new bucket on the way.
fn growing(n: usize) -> Vec<Histogram> {
    let mut counts = [0.0; 12];
    let mut sum = 0.0;
    (0..n)
        .map(|i| {
            let buckets = if i < n / 2 { 10 } else { 12 };
            for (k, count) in counts[..buckets].iter_mut().enumerate() {
                *count += ((i * 7 + k * 13) % 11 / 4) as f64;
            }
            sum += (i % 17) as f64 * 0.25;
            let positive_buckets = counts[..buckets].to_vec();
            Histogram {
                integer: true,
                schema: 3,
                zero_threshold: 1e-128,
                zero_count: (i / 10) as f64,
                count: positive_buckets.iter().sum::<f64>() + (i / 10) as f64,
                sum,
                positive_spans: spans(&[(-5, 6), (2, buckets as u32 - 6)]),
                positive_buckets,
                ..Histogram::default()
            }
        })
        .collect()
}

#[test]
fn the_bytes_are_pinned() {
    assert_eq!(encoded(&[]), [1, 0]);
    let one = Histogram {
        integer: true,
        reset_hint: ResetHint::Gauge,
        schema: 1,
        zero_threshold: 0.5,
        zero_count: 2.0,
        count: 5.0,
        sum: 1.5,
        positive_spans: spans(&[(-1, 1)]),
        positive_buckets: vec![3.0],
        ..Histogram::default()
    };
    let mut expected = vec![1, 1, 1, 2];
    expected.extend(0.5f64.to_le_bytes());
    expected.extend([1, 1, 1, 1, 0, 0, 0]); // positive side, negative side, bounds
    expected.extend([0, 0, 0, 14]); // layout 0; an integer gauge
    expected.extend([0xa0, 4, 0xa1, 30, 0xa0, 6]); // zero count, sum, the bucket
    expected.extend([1, 0xa0, 0]); // the count is the sum of the buckets
    assert_eq!(encoded(&[one]), expected);
}

#[test]
fn steady_growth_costs_a_few_bits_a_bucket() {
    let histograms = growing(480);
    let bytes = encoded(&histograms).len();
    // Twelve columns of deltas 0 to 2, a zero count, a sum of two decimals.
    assert!(bytes < 480 * 5, "bytes={bytes}");
}

#[test]
fn custom_bounds_stale_markers_and_float_counts_survive() {
    let custom = Histogram {
        schema: -53,
        custom_values: vec![0.1, 0.5, 2.5],
        positive_spans: spans(&[(0, 4)]),
        positive_buckets: vec![0.5, f64::NAN, -0.0, f64::INFINITY],
        count: 7.25,
        reset_hint: ResetHint::Reset,
        ..Histogram::default()
    };
    let stale = Histogram { sum: STALE_NAN, ..Histogram::default() };
    let negative = Histogram {
        negative_spans: spans(&[(3, 2)]),
        negative_buckets: vec![1.0, 2.0],
        reset_hint: ResetHint::NotReset,
        count: f64::NAN,
        zero_threshold: f64::NAN,
        ..Histogram::default()
    };
    encoded(&[custom.clone(), stale.clone(), negative.clone(), negative, custom, stale]);
}

#[test]
fn spans_that_make_no_sense_survive() {
    let odd = |positive_spans, positive_buckets| Histogram {
        positive_spans,
        positive_buckets,
        ..Histogram::default()
    };
    encoded(&[
        odd(spans(&[(5, 2), (-9, 2)]), vec![1.0, 2.0, 3.0, 4.0]),
        odd(spans(&[(i32::MIN, u32::MAX), (i32::MAX, u32::MAX)]), vec![1.0, 2.0]),
        odd(spans(&[(2, 1)]), vec![1.0, 2.0, 3.0]),
        odd(spans(&[]), vec![1.0]),
        odd(spans(&[(0, 3), (0, 0)]), vec![]),
    ]);
}

#[test]
fn hostile_counts_are_refused_before_memory_is_asked_for() {
    let too_many = [1, 0x81, 0x80, 4];
    assert!(matches!(decode_histograms(&too_many), Err(CodecError::Limit { .. })));
    let mut buckets = vec![1, 1, 1, 0];
    buckets.extend([0; 8]);
    buckets.extend([0, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    assert!(matches!(decode_histograms(&buckets), Err(CodecError::Truncated { .. })));
}

#[test]
fn damage_never_panics() {
    fuzz::damage(&encoded(&growing(20)), |bytes| drop(decode_histograms(bytes)));
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let side = || {
        let count = prop_oneof![(0u32..50).prop_map(f64::from), any::<f64>()];
        let spans = proptest::collection::vec((-2i32..4, 0u32..4), 0..4);
        (spans, proptest::collection::vec(count, 0..8))
    };
    let fields = (any::<bool>(), 0u32..4, -4i32..9, any::<u8>(), any::<f64>(), any::<f64>());
    (fields, side(), side(), proptest::collection::vec(0f64..9.0, 0..3)).prop_map(
        |((integer, hint, schema, zeros, count, sum), positive, negative, custom_values)| {
            Histogram {
                integer,
                reset_hint: ResetHint::from_number(hint),
                schema,
                zero_threshold: 0.001,
                zero_count: f64::from(zeros),
                count,
                sum,
                positive_spans: spans(&positive.0),
                negative_spans: spans(&negative.0),
                positive_buckets: positive.1,
                negative_buckets: negative.1,
                custom_values,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_histograms_survive(histograms in proptest::collection::vec(any_histogram(), 0..12)) {
        encoded(&histograms);
    }
}
