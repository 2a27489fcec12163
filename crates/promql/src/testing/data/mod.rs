//! Random series of metrics with known names: counters with resets, gauges with every odd value, classic and native
//! histograms, start timestamps, info metrics; with gaps, on shared and own time axes.

mod histograms;

use std::sync::Arc;

use pando_model::{Histogram, Labels, STALE_NAN, SampleValue, SeriesKey, SeriesSamples, TenantId};

use crate::testing::Chance;
use histograms::Histograms;

/// When the samples begin, ms.
pub const ORIGIN_MS: i64 = 1_000_000_000;
/// For how long there are samples, ms.
pub const SPAN_MS: i64 = 20 * 60_000;

pub(crate) const FLOATS: [&str; 7] = [
    "requests_total",
    "errors_total",
    "temperature",
    "load",
    "latency_bucket",
    "latency_sum",
    "latency_count",
];
pub(crate) const DOTTED: &str = "cpu.load";
pub(crate) const EXPONENTIAL: [&str; 2] = ["sizes", "queue"];
pub(crate) const CUSTOM: [&str; 1] = ["delays"];
/// Floats and histograms of both kinds.
pub(crate) const MIXED: [&str; 1] = ["mixed"];
pub(crate) const NATIVE: [&str; 4] = ["sizes", "queue", "delays", "mixed"];
pub(crate) const INFOS: [&str; 2] = ["target_info", "build_info"];

const SCRAPE_MS: i64 = 30_000;
const BOUNDS: [&str; 4] = ["0.1", "1", "5", "+Inf"];

/// The series of `seed`, in the order of their labels.
pub fn series(seed: u64) -> Vec<SeriesSamples> {
    let mut chance = Chance::new(seed, "data");
    let mut out = Vec::new();
    for job in ["a", "b"] {
        for instance in ["1", "2", "3"] {
            if !chance.one_in(8) {
                Target::new(job, instance, &mut chance).series(&mut out);
            }
        }
    }
    out.sort_by(|a, b| a.labels.cmp(&b.labels));
    out
}

/// What is scraped together.
struct Target<'a> {
    tenant: TenantId,
    labels: [(&'a str, &'a str); 2],
    axis: Arc<[i64]>,
    chance: &'a mut Chance,
}

impl<'a> Target<'a> {
    fn new(job: &'a str, instance: &'a str, chance: &'a mut Chance) -> Self {
        let axis = axis(chance);
        let labels = [("job", job), ("instance", instance)];
        Target { tenant: TenantId::default_tenant(), labels, axis, chance }
    }

    fn series(&mut self, out: &mut Vec<SeriesSamples>) {
        for name in ["requests_total", "errors_total"] {
            let started = self.chance.one_in(2);
            let values = self.counter();
            self.push(out, name, &[], values, started);
        }
        let values = self.gauge();
        self.push(out, "temperature", &[], values, false);
        for name in ["load", DOTTED] {
            // Few values, so that many series have the same.
            let values = self.floats(|chance| chance.below(4) as f64);
            self.push(out, name, &[], values, false);
        }
        self.classic(out);
        for (name, custom, gauge) in
            [("sizes", false, false), ("queue", false, true), ("delays", true, false)]
        {
            let started = self.chance.one_in(2);
            let values = self.histograms(custom, gauge);
            self.push(out, name, &[], values, started);
        }
        let (floats, some, others) =
            (self.counter(), self.histograms(false, false), self.histograms(true, false));
        let mixed = (0..self.axis.len()).map(|i| {
            let from = [&floats, &floats, &some, &others];
            from[self.chance.below(4)][i].clone()
        });
        let mixed = mixed.collect();
        self.push(out, "mixed", &[], mixed, false);
        let ones = |target: &mut Self| target.floats(|_| 1.0);
        let version = self.chance.pick(&["1.0", "2.0", ""]);
        let values = ones(self);
        self.push(out, "target_info", &[("version", version), ("region", "eu")], values, false);
        let values = ones(self);
        self.push(out, "build_info", &[("commit", "abc")], values, false);
    }

    /// A classic histogram.
    fn classic(&mut self, out: &mut Vec<SeriesSamples>) {
        let columns: Vec<Vec<SampleValue>> = BOUNDS.iter().map(|_| self.counter()).collect();
        let float = |value: &SampleValue| match value {
            SampleValue::Float(v) => *v,
            SampleValue::Histogram(_) => 0.0,
        };
        let mut sums = vec![0.0; self.axis.len()];
        for (le, column) in BOUNDS.iter().zip(&columns) {
            sums.iter_mut().zip(column).for_each(|(sum, v)| *sum += float(v));
            let values = sums.iter().map(|v| SampleValue::Float(*v)).collect();
            self.push(out, "latency_bucket", &[("le", le)], values, false);
        }
        let counts = sums.iter().map(|v| SampleValue::Float(*v)).collect();
        self.push(out, "latency_count", &[], counts, false);
        let sums = sums.iter().map(|v| SampleValue::Float(v * 0.75)).collect();
        self.push(out, "latency_sum", &[], sums, false);
    }

    fn floats(&mut self, mut value: impl FnMut(&mut Chance) -> f64) -> Vec<SampleValue> {
        (0..self.axis.len()).map(|_| SampleValue::Float(value(self.chance))).collect()
    }

    /// A counter that is reset now and then.
    fn counter(&mut self) -> Vec<SampleValue> {
        let (mut count, whole) = (self.chance.below(1000) as f64, self.chance.one_in(2));
        self.floats(|chance| {
            if chance.one_in(12) {
                count = 0.0;
            }
            count += if whole { chance.below(50) as f64 } else { chance.fraction() * 50.0 };
            count
        })
    }

    fn gauge(&mut self) -> Vec<SampleValue> {
        let scale = *[1.0, 100.0, 1e-3, 1e15][..].get(self.chance.below(4)).unwrap_or(&1.0);
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MAX, 1e-300];
        let strange = self.chance.one_in(3);
        self.floats(|chance| match chance.below(10) {
            0 if strange => odd[chance.below(odd.len())],
            _ => (chance.fraction() - 0.4) * scale,
        })
    }

    fn histograms(&mut self, custom: bool, gauge: bool) -> Vec<SampleValue> {
        let mut histograms = Histograms::new(self.chance, custom, gauge);
        let values = (0..self.axis.len()).map(|_| Arc::new(histograms.next(self.chance)));
        values.map(SampleValue::Histogram).collect()
    }

    fn push(
        &mut self,
        out: &mut Vec<SeriesSamples>,
        name: &str,
        more: &[(&str, &str)],
        mut values: Vec<SampleValue>,
        started: bool,
    ) {
        let pairs = self.labels.iter().chain(more).copied().chain([("__name__", name)]);
        let labels = Labels::from_pairs(pairs.filter(|(_, value)| !value.is_empty()));
        let key = SeriesKey::of(&self.tenant, &labels);
        for value in &mut values {
            if !self.chance.one_in(25) {
                continue;
            }
            *value = match (&value, self.chance.one_in(2)) {
                (SampleValue::Histogram(_), true) => SampleValue::Histogram(Arc::new(Histogram {
                    sum: STALE_NAN,
                    ..Default::default()
                })),
                _ => SampleValue::Float(STALE_NAN),
            };
        }
        let mut samples: Vec<(i64, SampleValue)> = self.axis.iter().copied().zip(values).collect();
        let own = self.chance.one_in(3);
        if own {
            let (from, gap) = (self.chance.below(samples.len()), self.chance.below(16));
            samples.drain(from..samples.len().min(from + gap));
            if self.chance.one_in(4) {
                samples.retain(|_| !self.chance.one_in(4));
            }
        }
        let mut series = SeriesSamples::from_values(labels, key, samples);
        if !own {
            series.axis = self.axis.clone();
        }
        if started {
            series.starts = self.starts(&series.axis.clone());
        }
        out.push(series);
    }

    /// Start timestamps, most of them right.
    fn starts(&mut self, axis: &[i64]) -> Vec<i64> {
        let mut start = axis.first().map_or(0, |t| t - 10_000);
        let starts = axis.iter().map(|t| match self.chance.below(12) {
            0 => {
                start = t - 5_000;
                start
            }
            1 => 0,
            2 => t - self.chance.within(-5, 100_000),
            _ => start,
        });
        starts.collect()
    }
}

/// Times that are about a scrape interval apart, or exactly.
fn axis(chance: &mut Chance) -> Arc<[i64]> {
    let (mut t, exact) = (ORIGIN_MS + chance.within(0, SCRAPE_MS), chance.one_in(3));
    let mut out = Vec::new();
    if exact {
        t = ORIGIN_MS;
    }
    while t <= ORIGIN_MS + SPAN_MS {
        out.push(t);
        t += if exact { SCRAPE_MS } else { SCRAPE_MS + chance.within(-900, 900) };
    }
    out.into()
}
