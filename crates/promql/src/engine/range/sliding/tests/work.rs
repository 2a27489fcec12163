//! What is looked at, and when windows slide.

use super::*;

#[test]
fn sums_are_exact_below_two_to_the_fifty_third() {
    let sum = |values: &[f64]| {
        let all = windows(1, values.len(), 1)[0];
        ExactSums::of(values, 0..values.len()).map(|mut sums| sums.of_window(all))
    };
    assert_eq!(sum(&[HUGE - 2.0, 1.0]), Some(HUGE - 1.0));
    assert_eq!(sum(&[-0.0, -0.0]).map(f64::to_bits), Some(0.0f64.to_bits()));
    let too_much = [&[HUGE - 1.0, 1.0][..], &[HUGE / 2.0, -HUGE / 2.0], &[i64::MIN as f64, 1.0]];
    let no_integers = [&[0.5][..], &[1.0, f64::NAN], &[f64::INFINITY], &[f64::NEG_INFINITY]];
    assert!(too_much.into_iter().chain(no_integers).all(|values| sum(values).is_none()));
}

/// `count` windows of `len` samples, each `new` samples after the one before.
fn windows(count: usize, len: usize, new: usize) -> Vec<Bound> {
    let times: Vec<i64> = (0..(len + count * new) as i64).collect();
    let (start, step) = (len as i64 - 1, new as i64);
    let steps = Steps::range(start, start + step * (count as i64 - 1), step).expect("steps");
    WindowCache::default().uncached(&times, &steps, len as i64).to_vec()
}

/// Integers without order, small and with many equal ones.
fn scattered(count: usize) -> Vec<f64> {
    let mut state = 1u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 33) % 1000) as f64
    };
    (0..count).map(next).collect()
}

#[test]
fn a_sample_is_looked_at_a_few_times_however_many_windows_it_is_in() {
    for len in [50, 500, 5_000] {
        let bounds = windows(5_000, len, 1);
        let values = scattered(5_000 + len);
        let (samples, steps) = (values.len(), bounds.len());
        let mut sums = ExactSums::of(&values, 0..samples).expect("small integers");
        let mut extremes = Extremes::new(&values, f64::lt);
        let mut ranks = Ranks::new(&values, true);
        let mut alone = Ranks::new(&values, false);
        for bound in &bounds {
            sums.of_window(*bound);
            extremes.position(*bound);
            ranks.quantile(0.9, *bound);
            alone.quantile(0.9, *bound);
        }
        assert_eq!(sums.looks.count, samples + 2 * steps, "len={len}");
        assert!(extremes.looks.count <= 2 * samples, "len={len}: {}", extremes.looks.count);
        let most = 3 * samples + steps;
        assert!(ranks.looks.count <= most, "len={len}: {}", ranks.looks.count);
        assert!(alone.looks.count >= len * steps, "len={len}: {}", alone.looks.count);
    }
}

#[test]
fn a_counter_is_looked_at_once() {
    let bounds = windows(5_000, 500, 1);
    let values: Vec<f64> = (0..5_500).map(|i| f64::from(i / 3)).collect();
    for sorts in [false, true] {
        let mut ranks = Ranks::new(&values, sorts);
        let got: Vec<f64> = bounds.iter().map(|b| ranks.quantile(0.0, *b)).collect();
        assert!(bounds.iter().zip(got).all(|(b, v)| v == values[b.lo()]));
        assert!(ranks.looks.count <= values.len(), "{}", ranks.looks.count);
    }
}

#[test]
fn what_overlaps_little_is_gone_over_window_by_window() {
    let pays = |count, len, new| {
        let overlap = Overlap::of(&windows(count, len, new));
        [overlap.pays_for_sums(), overlap.pays_for_extremes(), overlap.pays_for_sorting()]
    };
    // Nothing, one window, windows side by side, and steps far apart.
    assert!(!Overlap::of(&[Bound::NONE]).pays_for_sums());
    for (count, len, new) in [(1, 1_000, 1), (100, 20, 20), (100, 5, 20)] {
        assert_eq!(pays(count, len, new), [false; 3], "{len} {new}");
    }
    // 30 minutes each 5, and 5 each 15 seconds, a sample each 15 seconds; then two hours
    // each 3 minutes, and a day each 15 minutes and each minute.
    assert_eq!(pays(100, 120, 20), [true, true, false]);
    assert_eq!(pays(100, 20, 1), [true, true, true]);
    assert_eq!(pays(1_000, 480, 12), [true, true, true]);
    assert_eq!(pays(1_000, 5_760, 60), [true, true, false]);
    assert_eq!(pays(1_000, 5_760, 4), [true, true, true]);
    // What is before all windows does not count.
    let late = Overlap::of(&windows(10_100, 20, 1)[10_000..]);
    assert!(late.pays_for_sums() && late.pays_for_extremes() && late.pays_for_sorting());
}

/// Has `f` look at `function` over `bounds` of `values`.
fn with_one<T>(
    function: RangeFunction,
    values: &[f64],
    bounds: &[Bound],
    f: impl FnOnce(OneSeries<'_>) -> T,
) -> T {
    let times: Vec<i64> = (0..values.len() as i64).collect();
    let series = series(&times, values);
    let steps = Steps::range(0, bounds.len() as i64 - 1, 1).expect("steps");
    let call = call(function, &steps, 1, RangeArgs::Constant(&[]));
    let (samples, cancel) = (&Samples::of(&series), &CancelFlag::new());
    f(OneSeries { call: &call, series: &series, samples, cancel })
}

#[test]
fn what_overlaps_much_slides() {
    let slides = |function, values: &[f64], bounds: &[Bound]| {
        let mut out = StepVector::empty(Labels::default(), bounds.len());
        let slides = with_one(function, values, bounds, |one| one.sliding(bounds, &mut out));
        assert_eq!(out.present.count(), if slides { bounds.len() } else { 0 });
        slides
    };
    let integers = scattered(200);
    let fractions: Vec<f64> = integers.iter().map(|v| v / 7.0).collect();
    let (near, far) = (windows(50, 100, 1), windows(5, 20, 20));
    for function in &FUNCTIONS[..6] {
        assert!(slides(*function, &integers, &near), "{function:?}");
        assert!(!slides(*function, &integers, &far), "{function:?}");
        let exact = !matches!(function, RangeFunction::Sum | RangeFunction::Avg);
        assert_eq!(slides(*function, &fractions, &near), exact, "{function:?}");
    }
    let looks = with_one(RangeFunction::Quantile, &integers, &near, |one| {
        let mut ranks = one.ranks(&near);
        assert!(near.iter().all(|bound| ranks.quantile(0.5, *bound) < 1000.0));
        ranks.looks.count
    });
    assert!(looks <= 4 * integers.len(), "{looks}");
}
