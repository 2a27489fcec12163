//! Sound native histograms that follow each other as those of a counter do, or of a gauge.

use pando_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use pando_model::{Histogram, ResetHint, Span};

use crate::testing::Chance;

/// The most buckets of a side.
const BUCKETS: usize = 5;

/// The histograms of one series.
pub(super) struct Histograms {
    custom: bool,
    gauge: bool,
    schema: i32,
    counts: [f64; 2 * BUCKETS],
    zero_count: f64,
    sum: f64,
}

impl Histograms {
    pub(super) fn new(chance: &mut Chance, custom: bool, gauge: bool) -> Self {
        let schema = chance.within(0, 3) as i32;
        Histograms { custom, gauge, schema, counts: Default::default(), zero_count: 0.0, sum: 0.0 }
    }

    pub(super) fn next(&mut self, chance: &mut Chance) -> Histogram {
        let reset = self.gauge || chance.one_in(10);
        if reset {
            (self.counts, self.zero_count, self.sum) = Default::default();
        }
        if chance.one_in(15) {
            self.schema = chance.within(0, 3) as i32;
        }
        for count in &mut self.counts {
            *count += if chance.one_in(3) { chance.below(10) as f64 } else { 0.0 };
        }
        self.zero_count += chance.below(3) as f64;
        self.sum += chance.within(-20, 200) as f64 / 4.0;
        let reset_hint = match (chance.one_in(2), reset) {
            _ if self.gauge => ResetHint::Gauge,
            (true, true) => ResetHint::Reset,
            (true, false) => ResetHint::NotReset,
            (false, _) => ResetHint::Unknown,
        };
        let sum = if chance.one_in(40) { f64::NAN } else { self.sum };
        let blank = Histogram { reset_hint, sum, ..Histogram::default() };
        match self.custom {
            true => self.custom(blank, chance),
            false => self.exponential(blank, chance),
        }
    }

    fn exponential(&self, blank: Histogram, chance: &mut Chance) -> Histogram {
        let (positive, negative) = self.counts.split_at(BUCKETS);
        let negative = if self.schema == 0 { negative } else { &[] };
        // No bucket reaches below 1, so that none lies within the zero bucket.
        let (positive_spans, positive_buckets) = spans(positive);
        let (negative_spans, negative_buckets) = spans(negative);
        let buckets: f64 = positive_buckets.iter().chain(&negative_buckets).sum();
        // Observations that are NaN are in no bucket.
        let lost = if blank.sum.is_nan() { 2.0 } else { 0.0 };
        Histogram {
            schema: self.schema,
            integer: true,
            zero_threshold: if chance.one_in(10) { 0.5 } else { 0.001 },
            zero_count: self.zero_count,
            count: self.zero_count + buckets + lost,
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            ..blank
        }
    }

    fn custom(&self, blank: Histogram, chance: &mut Chance) -> Histogram {
        let bounds: &[f64] = match chance.below(12) {
            0 => &[1.0, 5.0],
            1 => &[0.5, 1.0, 2.0, 5.0],
            _ => &[1.0, 2.0, 5.0],
        };
        let counts = self.counts[..=bounds.len()].to_vec();
        Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: counts.iter().sum(),
            positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
            positive_buckets: counts,
            custom_values: bounds.to_vec(),
            ..blank
        }
    }
}

/// The buckets that are not empty: those after bucket 0, whose lower bound is at least 1.
fn spans(counts: &[f64]) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut buckets): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut gap = 1;
    for count in counts {
        match (*count > 0.0, spans.last_mut()) {
            (false, _) => gap += 1,
            (true, Some(span)) if gap == 0 => span.length += 1,
            (true, _) => {
                spans.push(Span { offset: gap, length: 1 });
                gap = 0;
            }
        }
        if *count > 0.0 {
            buckets.push(*count);
            gap = 0;
        }
    }
    (spans, buckets)
}
