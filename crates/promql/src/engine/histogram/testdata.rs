//! Histograms for property tests.

use std::collections::BTreeMap;

use pando_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use pando_model::{Histogram, ResetHint, Span};
use proptest::collection::vec;
use proptest::prelude::*;

use super::bounds::exponential as exponential_bound;
use super::cells;

fn hints() -> impl Strategy<Value = ResetHint> {
    (0u32..4).prop_map(ResetHint::from_number)
}

/// Counts that add up exactly.
fn side() -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    let runs = vec((-3i32..6, vec(0u32..50, 0..4)), 0..4);
    runs.prop_map(|runs| {
        let spans = runs.iter().enumerate().map(|(i, (gap, counts))| Span {
            offset: if i == 0 { *gap } else { gap.abs() },
            length: counts.len() as u32,
        });
        let counts = runs.iter().flat_map(|(_, counts)| counts).map(|n| f64::from(*n));
        (spans.collect(), counts.collect())
    })
}

/// A sound exponential histogram: no bucket lies within its zero bucket.
pub(crate) fn exponential() -> impl Strategy<Value = Histogram> {
    let zero = (prop_oneof![Just(0.0), Just(0.25), Just(1.0), Just(4.0)], 0u32..20);
    (hints(), -1i32..4, zero, side(), side(), -9i32..90).prop_map(
        |(reset_hint, schema, (zero_threshold, zero), positive, negative, sum)| {
            let mut h = Histogram {
                integer: true,
                reset_hint,
                schema,
                zero_threshold,
                zero_count: f64::from(zero),
                count: 0.0,
                sum: f64::from(sum),
                positive_spans: positive.0,
                positive_buckets: positive.1,
                negative_spans: negative.0,
                negative_buckets: negative.1,
                custom_values: Vec::new(),
            };
            let inside = |(index, _)| exponential_bound(index - 1, schema) < zero_threshold;
            let positive: Vec<bool> = cells::side(&h, true).map(inside).collect();
            let negative: Vec<bool> = cells::side(&h, false).map(inside).collect();
            let clear = |(count, _): (&mut f64, bool)| *count = 0.0;
            let within = |(_, inside): &(&mut f64, bool)| *inside;
            h.positive_buckets.iter_mut().zip(positive).filter(within).for_each(clear);
            h.negative_buckets.iter_mut().zip(negative).filter(within).for_each(clear);
            let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
            h.count = h.zero_count + buckets.sum::<f64>();
            h
        },
    )
}

/// A sound histogram with custom buckets.
pub(crate) fn custom() -> impl Strategy<Value = Histogram> {
    let bounds = prop_oneof![
        Just(vec![1.0, 2.0, 5.0]),
        Just(vec![-1.0, 2.0, 4.0, 5.0]),
        Just(vec![2.0]),
        Just(Vec::new()),
    ];
    (hints(), bounds, vec(0u32..50, 5), -9i32..90).prop_map(|(reset_hint, bounds, counts, sum)| {
        let counts: Vec<f64> = counts[..=bounds.len()].iter().map(|n| f64::from(*n)).collect();
        Histogram {
            reset_hint,
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: counts.iter().sum(),
            sum: f64::from(sum),
            positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
            positive_buckets: counts,
            custom_values: bounds,
            ..Histogram::default()
        }
    })
}

/// Whatever fits into a histogram.
pub(crate) fn anything() -> impl Strategy<Value = Histogram> {
    let number = || {
        prop_oneof![
            4 => -10.0..100.0f64,
            1 => Just(f64::NAN),
            1 => Just(f64::INFINITY),
            1 => Just(f64::MAX),
            1 => Just(0.0),
        ]
    };
    let schema = prop_oneof![
        4 => -4i32..9,
        2 => Just(CUSTOM_BUCKETS_SCHEMA),
        1 => Just(i32::MIN),
        1 => Just(i32::MAX),
    ];
    let offset = || prop_oneof![3 => -9i32..9, 1 => Just(i32::MIN), 1 => Just(i32::MAX)];
    let length = prop_oneof![4 => 0u32..6, 1 => Just(u32::MAX)];
    let spans = vec((offset(), length), 0..4);
    let side = (spans, vec(number(), 0..9));
    let scalars = (number(), number(), number(), number());
    (hints(), schema, scalars, side.clone(), side, vec(number(), 0..5)).prop_map(
        |(reset_hint, schema, scalars, positive, negative, custom_values)| {
            let spans = |spans: Vec<(i32, u32)>| {
                spans.into_iter().map(|(offset, length)| Span { offset, length }).collect()
            };
            Histogram {
                integer: false,
                reset_hint,
                schema,
                zero_threshold: scalars.0,
                zero_count: scalars.1,
                count: scalars.2,
                sum: scalars.3,
                positive_spans: spans(positive.0),
                positive_buckets: positive.1,
                negative_spans: spans(negative.0),
                negative_buckets: negative.1,
                custom_values,
            }
        },
    )
}

/// The buckets of both sides that are not empty: negative indexes are those of the negative side.
pub(crate) fn populated(h: &Histogram) -> BTreeMap<(bool, i32), f64> {
    let side = |positive| cells::side(h, positive).map(move |(i, count)| ((positive, i), count));
    let mut out = BTreeMap::new();
    for (place, count) in side(true).chain(side(false)) {
        *out.entry(place).or_default() += count;
    }
    out.retain(|_, count| *count != 0.0);
    out
}

/// Whether two histograms are equal up to rounding.
pub(crate) fn close(a: &Histogram, b: &Histogram) -> bool {
    let near = |x: f64, y: f64| {
        x.to_bits() == y.to_bits()
            || (x.is_nan() && y.is_nan())
            || (x - y).abs() <= 1e-9 * (1.0 + x.abs() + y.abs())
    };
    let (x, y) = (populated(a), populated(b));
    let places = x.keys().chain(y.keys());
    let at = |map: &BTreeMap<_, f64>, place| map.get(place).copied().unwrap_or(0.0);
    a.schema == b.schema
        && a.reset_hint == b.reset_hint
        && a.custom_values == b.custom_values
        && near(a.zero_threshold, b.zero_threshold)
        && near(a.zero_count, b.zero_count)
        && near(a.count, b.count)
        && near(a.sum, b.sum)
        && places.into_iter().all(|place| near(at(&x, place), at(&y, place)))
}
