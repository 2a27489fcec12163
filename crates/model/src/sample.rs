//! Samples and the one rule that decides between two values of one series at one time.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::histogram::Histogram;

/// The bits of the stale marker, as Prometheus writes it.
const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The NaN that says "this series has ended here". Compare with [`is_stale_nan`], never with `==`.
pub const STALE_NAN: f64 = f64::from_bits(STALE_NAN_BITS);

/// Whether `v` is the stale marker.
pub fn is_stale_nan(v: f64) -> bool {
    v.to_bits() == STALE_NAN_BITS
}

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A float; stale markers and NaN payloads are kept bit by bit.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// A stored (time, value).
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The value.
    pub value: SampleValue,
}

impl SampleValue {
    /// Whether the value ends its series.
    pub fn is_stale(&self) -> bool {
        match self {
            SampleValue::Float(v) => is_stale_nan(*v),
            SampleValue::Histogram(h) => h.is_stale(),
        }
    }

    /// Whether both are the same bits.
    pub fn same_bits(&self, other: &SampleValue) -> bool {
        self.merge_order(other) == Ordering::Equal
    }

    /// The total order by which one of two values at the same (series, time) is kept: the greater one. A
    /// histogram is above a number, a number above a stale marker; then the larger bytes (unsigned). It looks
    /// at nothing but the values, so that merging has no order (design: INV-3).
    pub fn merge_order(&self, other: &SampleValue) -> Ordering {
        match (self, other) {
            (SampleValue::Histogram(a), SampleValue::Histogram(b)) => {
                histogram_bytes(a).cmp(&histogram_bytes(b))
            }
            (SampleValue::Histogram(_), SampleValue::Float(_)) => Ordering::Greater,
            (SampleValue::Float(_), SampleValue::Histogram(_)) => Ordering::Less,
            (SampleValue::Float(a), SampleValue::Float(b)) => float_merge_order(*a, *b),
        }
    }
}

/// [`SampleValue::merge_order`] for two floats.
pub fn float_merge_order(a: f64, b: f64) -> Ordering {
    let rank = |v: f64| (!is_stale_nan(v), v.to_bits());
    rank(a).cmp(&rank(b))
}

/// A histogram as bytes, every field big endian in declaration order: the canonical form that is compared
/// and digested. Never stored.
pub fn histogram_bytes(h: &Histogram) -> Vec<u8> {
    let mut out =
        Vec::with_capacity(64 + 8 * (h.positive_buckets.len() + h.negative_buckets.len()));
    out.push(u8::from(h.integer));
    out.push(h.reset_hint as u8);
    out.extend(h.schema.to_be_bytes());
    for v in [h.zero_threshold, h.zero_count, h.count, h.sum] {
        out.extend(v.to_bits().to_be_bytes());
    }
    for spans in [&h.positive_spans, &h.negative_spans] {
        out.extend((spans.len() as u32).to_be_bytes());
        for s in spans {
            out.extend(s.offset.to_be_bytes());
            out.extend(s.length.to_be_bytes());
        }
    }
    for values in [&h.positive_buckets, &h.negative_buckets, &h.custom_values] {
        out.extend((values.len() as u32).to_be_bytes());
        for v in values {
            out.extend(v.to_bits().to_be_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_before_a_stale_marker_and_a_histogram_before_a_number() {
        let stale = SampleValue::Float(STALE_NAN);
        let number = SampleValue::Float(-1.0);
        let histogram = SampleValue::Histogram(Arc::default());
        assert_eq!(stale.merge_order(&number), Ordering::Less);
        assert_eq!(number.merge_order(&histogram), Ordering::Less);
        assert_eq!(float_merge_order(f64::NAN, f64::NAN), Ordering::Equal);
        assert_eq!(float_merge_order(-0.0, 0.0), Ordering::Greater);
    }
}
