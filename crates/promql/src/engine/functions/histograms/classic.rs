//! Classic histograms: cumulative buckets, each a series with a label `le`.

/// Relative difference below which a falling bucket is a rounding error.
const SMALL_DELTA: f64 = 1e-12;

/// Counts that had to be lifted: the least and the greatest bound of their buckets, and by how much at most.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Forced {
    pub(super) lowest: f64,
    pub(super) highest: f64,
    pub(super) difference: f64,
}

/// The `q`-quantile of cumulative buckets (upper bound, count) that are sorted by bound, and how their counts had to be
/// lifted.
pub(super) fn quantile(q: f64, buckets: &mut Vec<(f64, f64)>) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets.last().is_none_or(|(le, _)| *le != f64::INFINITY) {
        return (f64::NAN, None);
    }
    join_equal_bounds(buckets);
    let forced = make_monotonic(buckets);
    (interpolated(q, buckets), forced)
}

fn interpolated(q: f64, buckets: &[(f64, f64)]) -> f64 {
    let n = buckets.len();
    let observations = buckets[n - 1].1;
    if n < 2 || observations == 0.0 {
        return f64::NAN;
    }
    let rank = q * observations;
    let at = buckets[..n - 1].iter().position(|(_, count)| *count >= rank).unwrap_or(n - 1);
    if at == n - 1 {
        return buckets[n - 2].0;
    }
    let (end, count) = buckets[at];
    let (start, before) = match at {
        0 if end <= 0.0 => return end,
        0 => (0.0, 0.0),
        _ => buckets[at - 1],
    };
    start + (end - start) * ((rank - before) / (count - before))
}

/// The fraction of observations between `lower` and `upper`, of buckets as [`quantile`]'s.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<(f64, f64)>) -> f64 {
    join_equal_bounds(buckets);
    let Some((f64::INFINITY, observations)) = buckets.last().copied() else { return f64::NAN };
    if observations == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value| rank(value, buckets).map_or(observations, |rank| rank.min(observations));
    (rank(upper) - rank(lower)) / observations
}

/// How many observations are below `value`; `None` where all are.
fn rank(value: f64, buckets: &[(f64, f64)]) -> Option<f64> {
    // Observations are taken as positive unless a bucket says otherwise.
    let (first, _) = buckets.first()?;
    let (mut start, mut below) = (if *first <= 0.0 { f64::NEG_INFINITY } else { 0.0 }, 0.0);
    for (end, count) in buckets {
        if start >= value {
            return Some(below);
        }
        if *end > value {
            return Some(match start == f64::NEG_INFINITY {
                true => *count,
                false => below + (count - below) * (value - start) / (end - start),
            });
        }
        (start, below) = (*end, *count);
    }
    None
}

/// Joins neighbours with one bound.
fn join_equal_bounds(buckets: &mut Vec<(f64, f64)>) {
    buckets.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
}

/// Lifts counts that fall; how, where one fell by more than a rounding error.
fn make_monotonic(buckets: &mut [(f64, f64)]) -> Option<Forced> {
    let (mut highest, mut forced) = (buckets[0].1, None);
    for (bound, count) in &mut buckets[1..] {
        if *count == highest {
            continue;
        }
        if almost_equal(highest, *count) {
            *count = highest;
        } else if *count < highest {
            let by = Forced { lowest: *bound, highest: *bound, difference: highest - *count };
            forced = Some(forced.map_or(by, |all: Forced| Forced {
                lowest: all.lowest,
                highest: by.highest,
                difference: all.difference.max(by.difference),
            }));
            *count = highest;
        } else {
            highest = *count;
        }
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_within_a_bucket() {
        let run = |q: f64, buckets: &[(f64, f64)]| quantile(q, &mut buckets.to_vec());
        let inf = f64::INFINITY;
        let buckets = [(0.1, 4.0), (0.2, 8.0), (inf, 10.0)];
        assert_eq!(run(0.4, &buckets).0, 0.1);
        assert!((run(0.6, &buckets).0 - 0.15).abs() < 1e-12);
        assert_eq!(run(1.0, &buckets).0, 0.2);
        assert_eq!(run(-0.0, &buckets).0.to_bits(), 0, "no sign");
        assert!(run(0.5, &buckets[..2]).0.is_nan(), "no +Inf bucket");
        let forced = Forced { lowest: 0.2, highest: 0.2, difference: 2.0 };
        let lifted = run(0.9, &[(0.1, 5.0), (0.2, 3.0), (inf, 5.0)]);
        assert_eq!(lifted, (0.09000000000000001, Some(forced)));
        let forced = Forced { lowest: 0.2, highest: inf, difference: 2.0 };
        assert_eq!(run(0.9, &[(0.1, 5.0), (0.2, 3.0), (inf, 4.0)]).1, Some(forced));
        assert_eq!(run(0.9, &[(0.1, 5.0), (0.2, 5.0 - 1e-13), (inf, 5.0)]).1, None);
    }

    #[test]
    fn fractions_are_the_inverse_of_quantiles() {
        let inf = f64::INFINITY;
        let buckets = [(0.1, 4.0), (0.2, 8.0), (inf, 10.0)];
        let run = |lower, upper| fraction(lower, upper, &mut buckets.to_vec());
        assert_eq!(run(-inf, 0.1), 0.4);
        assert!((run(-inf, 0.15) - 0.6).abs() < 1e-12);
        assert_eq!((run(-inf, inf), run(0.2, inf), run(0.2, 0.1)), (1.0, 0.2, 0.0));
        assert_eq!(fraction(-5.0, 0.0, &mut vec![(0.0, 3.0), (inf, 4.0)]), 0.0);
        assert!(fraction(0.0, 1.0, &mut vec![(1.0, 3.0)]).is_nan(), "no +Inf bucket");
        assert!(fraction(0.0, 1.0, &mut Vec::new()).is_nan());
    }
}
