//! Whether a result is the expected one: relative tolerance 1e-6, NaN equals NaN, stale only stale.

use pando_model::{Histogram, Labels, ResetHint, SampleValue, is_stale_nan};

use super::histogram::{buckets, described};
use super::shown::ShownHistogram;
use super::subject::{Rows, Seen, points_text, seconds};

const EPSILON: f64 = 1e-6;

/// Whether two floats are equal enough.
pub(super) fn floats_equal(a: f64, b: f64) -> bool {
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

/// What a value is expected to be.
pub(super) struct Expected {
    pub(super) value: SampleValue,
    /// Whether an unknown reset hint has to be one; any other has to be what it is, where hints are seen.
    pub(super) hint: bool,
}

impl Expected {
    /// `value`, whatever its hint is if that is unknown.
    pub(super) fn of(value: SampleValue) -> Self {
        Expected { value, hint: false }
    }

    /// What is expected, as far as it is compared with `got`.
    fn beside(&self, got: &Seen) -> String {
        match (&self.value, got) {
            (SampleValue::Histogram(h), Seen::Shown(_)) => ShownHistogram::of(h).to_string(),
            (SampleValue::Histogram(h), _) => described(h, self.judges_hint(h)),
            (SampleValue::Float(value), _) => value.to_string(),
        }
    }

    fn judges_hint(&self, h: &Histogram) -> bool {
        self.hint || h.reset_hint != ResetHint::Unknown
    }

    fn equals(&self, got: &Seen) -> bool {
        match (&self.value, got) {
            (SampleValue::Float(a), Seen::Sample(SampleValue::Float(b))) => floats_equal(*a, *b),
            (SampleValue::Histogram(a), Seen::Shown(b)) => ShownHistogram::of(a).equals(b),
            (SampleValue::Histogram(a), Seen::Sample(SampleValue::Histogram(b))) => {
                (!self.judges_hint(a) || a.reset_hint == b.reset_hint) && histograms_equal(a, b)
            }
            _ => false,
        }
    }
}

fn histograms_equal(a: &Histogram, b: &Histogram) -> bool {
    let same = |x: &Histogram, y: &Histogram, positive: bool| {
        let of = |h: &Histogram| match positive {
            true => buckets(&h.positive_spans, &h.positive_buckets),
            false => buckets(&h.negative_spans, &h.negative_buckets),
        };
        let (x, y) = (of(x), of(y));
        x.len() == y.len()
            && x.iter().zip(&y).all(|((i, v), (j, w))| i == j && floats_equal(*v, *w))
    };
    a.schema == b.schema
        && floats_equal(a.count, b.count)
        && floats_equal(a.sum, b.sum)
        && floats_equal(a.zero_count, b.zero_count)
        && a.zero_threshold == b.zero_threshold
        && a.custom_values == b.custom_values
        && same(a, b, true)
        && same(a, b, false)
}

/// An expected result.
pub(super) type ExpectedRows = Vec<(Labels, Vec<(i64, Expected)>)>;

/// Whether rows are in the order of their labels; `Err` names one that is not.
pub(super) fn sorted(rows: &Rows) -> Result<(), String> {
    match rows.windows(2).find(|w| w[0].0 > w[1].0) {
        Some(pair) => Err(format!("series {} is behind {}", pair[1].0, pair[0].0)),
        None => Ok(()),
    }
}

/// Compares whole results; `Err` says what differs.
pub(super) fn rows(expected: &ExpectedRows, got: &Rows, ordered: bool) -> Result<(), String> {
    for (at, (labels, points)) in got.iter().enumerate() {
        let wanted = expected.iter().position(|(l, _)| l == labels);
        let Some(place) = wanted else { return Err(format!("unexpected series {labels}")) };
        if got[..at].iter().any(|(other, _)| other == labels) {
            return Err(format!("series {labels} is there twice"));
        }
        if ordered && place != at {
            return Err(format!("series {labels} is at place {at}, expected {place}"));
        }
        let (_, wanted) = &expected[place];
        if points.len() != wanted.len() {
            let (n, m) = (points.len(), wanted.len());
            let points = points_text(points);
            return Err(format!("series {labels} has {n} points, expected {m}: {points}"));
        }
        for ((t, v), (s, w)) in points.iter().zip(wanted) {
            if t != s || !w.equals(v) {
                let w = w.beside(v);
                let [t, s] = [*t, *s].map(seconds);
                return Err(format!("series {labels} at {t}: {v}, expected {w} at {s}"));
            }
        }
    }
    match expected.iter().find(|(labels, _)| !got.iter().any(|(l, _)| l == labels)) {
        Some((labels, _)) => Err(format!("missing series {labels}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::parse;
    use super::*;

    #[test]
    fn a_histogram_is_written_as_far_as_it_is_compared() {
        let parsed = |text: &str| parse(text).expect("a histogram");
        let (wanted, got) = (
            parsed("sum:1e300 count:3 z_bucket_w:0.5 buckets:[1 0 2] offset:1"),
            parsed(
                "schema:-53 sum:1 count:3 custom_values:[5 10] buckets:[3] counter_reset_hint:gauge",
            ),
        );
        let difference = |got: Seen| {
            let wanted = SampleValue::Histogram(wanted.clone().into());
            let expected = vec![(Labels::empty(), vec![(0, Expected::of(wanted))])];
            rows(&expected, &vec![(Labels::empty(), vec![(0, got)])], false)
                .expect_err("another one")
        };
        let as_shown = "{count:3, sum:1e+300, (1,2]:1, (4,8]:2}";
        assert_eq!(
            difference(Seen::Shown(ShownHistogram::of(&got))),
            format!("series {{}} at 0: {{count:3, sum:1, [-Inf,5]:3}}, expected {as_shown} at 0")
        );
        let ours = "{count:3, sum:1, [-Inf,5]:3} schema:-53 zero_threshold:0 custom_values:[5 10] \
                    counter_reset_hint:gauge";
        assert_eq!(
            difference(Seen::Sample(SampleValue::Histogram(got.into()))),
            format!(
                "series {{}} at 0: {ours}, expected {as_shown} schema:0 zero_threshold:0.5 at 0"
            )
        );
    }

    #[test]
    fn a_series_is_answered_once() {
        let labels = Labels::from_pairs([("l", "a")]);
        let expected: ExpectedRows = vec![(labels.clone(), Vec::new())];
        let mut got: Rows = vec![(labels, Vec::new())];
        assert_eq!(rows(&expected, &got, false), Ok(()));
        got.extend(got.clone());
        let twice = "series {l=\"a\"} is there twice".to_string();
        assert_eq!(rows(&expected, &got, false), Err(twice));
    }
}
