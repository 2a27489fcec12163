//! When two answers are the same.
//!
//! Label sets, times, types, annotations and the kinds of errors are equal, and the order of series that were sorted
//! ([`crate::testing::is_ordered`]). Floats, and the numbers of histograms, are within 1e-9 of each other,
//! relative to the larger one, or to the largest number of their histogram: plans add in different orders, and sums
//! are compensated, so that they hardly differ. Where terms cancel out, nothing but that error would be left; no
//! such case has been met, and there is no rule for it.

use std::collections::BTreeMap;

use crate::{QueryError, QueryOutput, QueryValue};
use pando_model::{Histogram, SampleValue, Span};

/// The relative difference that the order of additions may make.
const TOLERANCE: f64 = 1e-9;

/// An answer as points: place to value. What is not a point is text.
#[derive(Clone, Default, Debug, PartialEq)]
pub(super) struct Points {
    shape: String,
    points: BTreeMap<String, Number>,
}

/// A number of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    value: f64,
    /// What it was computed of was as large as this.
    scale: f64,
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.value, other.value);
        a == b
            || (a.is_nan() && b.is_nan())
            || (a - b).abs() <= TOLERANCE * self.scale.max(other.scale).min(f64::MAX)
    }
}

impl Points {
    /// The points of `answer`; `ordered` says whether the order of its series means anything.
    pub(super) fn of(answer: &Result<QueryOutput, QueryError>, ordered: bool) -> Points {
        let mut out = Points { shape: String::new(), points: BTreeMap::new() };
        let output = match answer {
            Ok(output) => output,
            Err(error) => {
                out.shape = format!("error {:?}", error.kind());
                return out;
            }
        };
        out.shape = output.value.result_type().to_string();
        match &output.value {
            QueryValue::Scalar { t_ms, value } => out.float(&t_ms.to_string(), *value),
            QueryValue::String { t_ms, text } => out.shape.push_str(&format!(" {t_ms} {text:?}")),
            QueryValue::Vector(vector) => {
                for sample in vector {
                    if ordered {
                        out.shape.push_str(&format!("\n  {}", sample.labels));
                    }
                    out.sample(&format!("{} {}", sample.labels, sample.t_ms), &sample.value);
                }
            }
            QueryValue::Matrix(matrix) => {
                for series in matrix {
                    let place = |t: &i64| format!("{} {t}", series.labels);
                    series.floats.iter().for_each(|(t, v)| out.float(&place(t), *v));
                    series.histograms.iter().for_each(|(t, h)| out.histogram(&place(t), h));
                }
            }
        }
        let mut notes = [output.warnings.clone(), output.infos.clone()].concat();
        notes.sort();
        notes.iter().for_each(|note| out.shape.push_str(&format!("\n  {note}")));
        out
    }

    /// Takes the points of `other` in.
    pub(super) fn add(&mut self, other: Points) {
        self.points.extend(other.points);
    }

    /// Whether there is nothing to compare.
    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    fn sample(&mut self, place: &str, value: &SampleValue) {
        match value {
            SampleValue::Float(v) => self.float(place, *v),
            SampleValue::Histogram(h) => self.histogram(place, h),
        }
    }

    fn float(&mut self, place: &str, value: f64) {
        self.number(place.to_string(), value, value.abs());
    }

    fn number(&mut self, place: String, value: f64, scale: f64) {
        let before = self.points.insert(place.clone(), Number { value, scale });
        assert!(before.is_none(), "two values: {place}");
    }

    fn histogram(&mut self, place: &str, h: &Histogram) {
        let kind = format!("{place} {:?} {} {:?}", h.reset_hint, h.schema, h.custom_values);
        let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
        let scale = buckets.chain([&h.count, &h.zero_count]).fold(0.0, |a: f64, b| a.max(b.abs()));
        self.number(format!("{kind} sum"), h.sum, h.sum.abs().max(scale));
        self.number(format!("{kind} count"), h.count, scale);
        self.number(format!("{kind} zero"), h.zero_count, scale);
        self.number(format!("{kind} threshold"), h.zero_threshold, h.zero_threshold);
        let sides = [("+", &h.positive_spans, &h.positive_buckets), {
            ("-", &h.negative_spans, &h.negative_buckets)
        }];
        for (side, spans, buckets) in sides {
            for (index, count) in indexes(spans).zip(buckets).filter(|(_, count)| **count != 0.0) {
                self.number(format!("{kind} {side}{index}"), *count, scale);
            }
        }
    }

    /// The places where two answers are not the same.
    pub(super) fn differences(&self, other: &Points) -> Vec<String> {
        let places = self.points.keys().chain(other.points.keys());
        let mut out: Vec<String> =
            places.filter(|p| self.points.get(*p) != other.points.get(*p)).cloned().collect();
        out.sort();
        out.dedup();
        out
    }

    pub(super) fn same_shape(&self, other: &Points) -> bool {
        self.shape == other.shape
    }

    pub(super) fn get(&self, place: &str) -> Option<f64> {
        self.points.get(place).map(|number| number.value)
    }

    /// What differs, for people.
    pub(super) fn show_difference(&self, other: &Points) -> String {
        let mut out = String::new();
        if !self.same_shape(other) {
            out.push_str(&format!("{}\n  ---\n{}\n", self.shape, other.shape));
        }
        for place in self.differences(other).iter().take(8) {
            out.push_str(&format!("  {place}: {:?} / {:?}\n", self.get(place), other.get(place)));
        }
        out
    }
}

fn indexes(spans: &[Span]) -> impl Iterator<Item = i32> {
    let mut next = 0;
    spans.iter().flat_map(move |span| {
        let from = next + span.offset;
        next = from + span.length as i32;
        from..next
    })
}
