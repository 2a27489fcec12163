//! Laws of the arithmetic.

use pando_model::{Histogram, ResetHint, Span};
use proptest::prelude::*;

use super::testdata::{anything, close, custom, exponential, populated};
use super::*;

/// The sum, without what is known of resets: that depends on the order where both kinds of hints meet.
fn plus(a: &Histogram, b: &Histogram) -> Histogram {
    let (sum, _) = total(a, b).expect("of one kind");
    Histogram { reset_hint: ResetHint::Unknown, ..sum }
}

fn pairs() -> impl Strategy<Value = (Histogram, Histogram, Histogram)> {
    prop_oneof![(exponential(), exponential(), exponential()), (custom(), custom(), custom()),]
}

fn held(h: &Histogram) -> f64 {
    h.zero_count + populated(h).values().sum::<f64>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn addition_commutes((a, b, _) in pairs()) {
        prop_assert!(close(&plus(&a, &b), &plus(&b, &a)));
    }

    #[test]
    fn addition_associates((a, b, c) in pairs()) {
        let (left, right) = (plus(&plus(&a, &b), &c), plus(&a, &plus(&b, &c)));
        prop_assert!(close(&left, &right), "{left:?} {right:?}");
    }

    #[test]
    fn no_observation_is_lost((a, b, _) in pairs()) {
        let sum = plus(&a, &b);
        prop_assert_eq!(sum.count, a.count + b.count);
        prop_assert_eq!(sum.sum, a.sum + b.sum);
        prop_assert_eq!(held(&sum), held(&a) + held(&b));
    }

    #[test]
    fn what_is_added_can_be_subtracted((a, b, _) in pairs()) {
        let (rest, _) = difference(&plus(&a, &b), &b).expect("of one kind");
        prop_assert_eq!(rest.count, a.count);
        prop_assert_eq!(held(&rest), held(&a));
        let (nothing, _) = difference(&a, &a).expect("of one kind");
        prop_assert!(populated(&nothing).is_empty() && nothing.count == 0.0);
    }

    #[test]
    fn coarser_buckets_hold_the_same(a in exponential(), coarser in -4i32..1) {
        let mut sum = HistogramSum::of(&a);
        sum.coarsen(coarser);
        let coarse = sum.finish();
        prop_assert_eq!(coarse.schema, a.schema.min(coarser));
        prop_assert_eq!(held(&coarse), held(&a));
        // Where a coarse bucket ends, as many observations are below as before.
        let below = |h: &Histogram, end: f64| {
            buckets::side(h, true).filter(|b| b.upper <= end).map(|b| b.count).sum::<f64>()
        };
        for bucket in buckets::side(&coarse, true) {
            prop_assert_eq!(below(&coarse, bucket.upper), below(&a, bucket.upper));
        }
    }

    #[test]
    fn sums_in_parts_are_the_sum(all in proptest::collection::vec(exponential(), 2..8), at in 0usize..7) {
        let at = 1 + at % (all.len() - 1);
        let sum_of = |part: &[Histogram]| {
            let mut sum = HistogramSum::of(&part[0]);
            part[1..].iter().for_each(|h| assert!(sum.add(h).is_ok()));
            sum
        };
        let mean_of = |part: &[Histogram]| {
            let mut mean = HistogramMean::of(&part[0]);
            part[1..].iter().for_each(|h| assert!(mean.add(h).is_ok()));
            mean
        };
        let mut sum = sum_of(&all[..at]);
        sum.merge(sum_of(&all[at..])).expect("of one kind");
        let plain = |h: Histogram| Histogram { reset_hint: ResetHint::Unknown, ..h };
        prop_assert!(close(&plain(sum.finish()), &plain(sum_of(&all).finish())));
        let mut mean = mean_of(&all[..at]);
        mean.merge(mean_of(&all[at..])).expect("of one kind");
        prop_assert!(close(&plain(mean.finish()), &plain(mean_of(&all).finish())));
        let divided = divided(&sum.finish(), all.len() as f64);
        prop_assert!(close(&plain(mean.finish()), &plain(divided)));
    }

    #[test]
    fn counters_that_only_grow_are_never_reset((a, b, _) in pairs()) {
        let grown = Histogram { reset_hint: ResetHint::Unknown, ..plus(&a, &b) };
        prop_assert!(!is_reset(&grown, &a), "{grown:?}");
        prop_assert!(!is_reset(&grown, &grown));
        let fewer = Histogram { count: a.count - 1.0, reset_hint: ResetHint::Unknown, ..a.clone() };
        prop_assert!(is_reset(&fewer, &a));
    }

    #[test]
    fn quantiles_rise_and_fractions_are_their_inverse((h, _, _) in pairs()) {
        // Without any bound, nothing is known but the count.
        prop_assume!(h.count > 0.0 && (h.schema != -53 || !h.custom_values.is_empty()));
        let mut before = f64::NEG_INFINITY;
        for i in 0..=20 {
            let (value, _) = quantile(f64::from(i) / 20.0, &h);
            prop_assert!(value >= before - 1e-9 * value.abs(), "{i} {value} {before} {h:?}");
            before = value;
        }
        let mut below = 0.0;
        for end in [-9.0, -1.0, 0.0, 0.5, 1.0, 2.5, 100.0, f64::INFINITY] {
            let (part, _) = fraction(f64::NEG_INFINITY, end, &h);
            prop_assert!((0.0..=1.0).contains(&part) && part >= below - 1e-12, "{end} {part}");
            below = part;
        }
        prop_assert_eq!(below, 1.0);
    }

    #[test]
    fn what_is_trimmed_off_is_what_the_other_side_keeps(h in exponential(), at in -20.0..20.0f64) {
        let (low, high) = (trimmed(&h, Keep::Below, at), trimmed(&h, Keep::Above, at));
        prop_assert!((low.count + high.count - h.count).abs() <= 1e-9 * (1.0 + h.count));
        prop_assert!((held(&low) - low.count).abs() <= 1e-9 * (1.0 + h.count));
        let (part, _) = fraction(f64::NEG_INFINITY, at, &h);
        // Within the zero bucket the two differ in when they take it for one-sided.
        let outside = h.count > 0.0 && at.abs() >= h.zero_threshold;
        prop_assert!(!outside || (part * h.count - low.count).abs() < 1e-6 * h.count);
    }

    #[test]
    fn nothing_that_fits_into_a_histogram_panics(a in anything(), b in anything(), v in -9.0..9.0f64) {
        let in_all = |h: &Histogram| {
            let buckets = h.positive_buckets.len() + h.negative_buckets.len();
            let sum = HistogramSum::of(h);
            assert!(sum.is_sound() && sum.positive.len() + sum.negative.len() <= buckets);
            for q in [-1.0, 0.0, 0.3, 0.9, 1.0, f64::NAN] {
                let _ = (quantile(q, h), fraction(q, v, h), fraction(-v, q, h));
            }
            let _ = (mean(h), variance(h), text(h), same(h, h));
            let _ = (multiplied(h, v), divided(h, v), divided(h, 0.0));
            for value in [v, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0] {
                let _ = (trimmed(h, Keep::Below, value), trimmed(h, Keep::Above, value));
            }
        };
        in_all(&a);
        let _ = (is_reset(&a, &b), is_reset(&b, &a));
        if let (Ok((sum, _)), Ok((rest, _))) = (total(&a, &b), difference(&a, &b)) {
            in_all(&sum);
            in_all(&rest);
            let mut mean = HistogramMean::of(&a);
            let _ = (mean.add(&b), mean.add(&a), mean.merge(HistogramMean::of(&b)));
            in_all(&mean.finish());
        }
    }
}

fn with(schema: i32, offset: i32, counts: &[f64]) -> Histogram {
    Histogram {
        schema,
        count: counts.iter().sum(),
        positive_spans: vec![Span { offset, length: counts.len() as u32 }],
        positive_buckets: counts.to_vec(),
        ..Histogram::default()
    }
}

#[test]
fn zero_buckets_widen_to_the_edge_of_what_they_cut() {
    let narrow = with(0, -1, &[1.0, 2.0, 4.0]);
    let wide = Histogram { zero_threshold: 0.7, zero_count: 8.0, ..with(0, 1, &[16.0]) };
    let sum = plus(&narrow, &wide);
    // 0.7 lies within (0.5, 1], which holds something: the zero bucket ends with it.
    assert_eq!((sum.zero_threshold, sum.zero_count), (1.0, 11.0));
    assert_eq!(populated(&sum).into_iter().collect::<Vec<_>>(), [((true, 1), 20.0)]);
}

#[test]
fn small_histograms_survive_large_ones() {
    let mut sum = HistogramSum::of(&with(0, 0, &[1e16]));
    for _ in 0..100 {
        sum.add(&with(0, 0, &[1.0])).expect("of one kind");
    }
    assert_eq!(sum.finish().positive_buckets, [1e16 + 100.0]);
}

#[test]
fn means_do_not_overflow() {
    let mut mean = HistogramMean::of(&with(0, 0, &[f64::MAX]));
    mean.add(&with(0, 0, &[f64::MAX])).expect("of one kind");
    mean.add(&with(0, 0, &[f64::MAX / 2.0])).expect("of one kind");
    let got = mean.finish().positive_buckets[0];
    assert!((got / (f64::MAX / 6.0 * 5.0) - 1.0).abs() < 1e-12, "{got}");
}

#[test]
fn exponential_and_custom_buckets_do_not_mix() {
    let bounds = Histogram { custom_values: vec![1.0], ..with(-53, 0, &[1.0, 2.0]) };
    assert_eq!(total(&bounds, &with(0, 0, &[1.0])), Err(Incompatible));
    assert!(is_reset(&with(0, 0, &[9.0]), &bounds));
}

#[test]
fn hints_join_and_contradict() {
    use ResetHint as H;
    let joined = |a, b| {
        let hinted = |reset_hint| Histogram { reset_hint, ..with(0, 0, &[1.0]) };
        let (sum, added) = total(&hinted(a), &hinted(b)).expect("of one kind");
        (sum.reset_hint, added.collision)
    };
    assert_eq!(joined(H::NotReset, H::NotReset), (H::NotReset, false));
    assert_eq!(joined(H::NotReset, H::Unknown), (H::Unknown, false));
    assert_eq!(joined(H::Reset, H::Gauge), (H::Gauge, false));
    assert_eq!(joined(H::Reset, H::NotReset), (H::Unknown, true));
    let (rest, _) = difference(&with(0, 0, &[1.0]), &with(0, 0, &[1.0])).expect("of one kind");
    assert_eq!(rest.reset_hint, H::Gauge);
    assert_eq!(divided(&with(0, 0, &[1.0]), 0.0).positive_buckets, []);
}

#[test]
fn texts_are_those_of_prometheus() {
    let h = Histogram {
        sum: 2.5,
        zero_count: 1.0,
        zero_threshold: 0.25,
        ..with(1, 1, &[1.0, 0.0, 2.0])
    };
    assert_eq!(
        text(&h),
        "{count:3, sum:2.5, [-0.25,0.25]:1, (1,1.414213562373095]:1, (2,2.82842712474619]:2}"
    );
}
