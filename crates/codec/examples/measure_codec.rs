//! Measures the codec on a capture of scrapes: bits a sample, and samples a second of one core.
//!
//! `cargo run --release -p pando-codec --example measure_codec -- <capture>`; the capture is text: lines
//! `@@ <job> <unix ms>`, each followed by an exposition body. It is parsed crudely: a line's last
//! word is the value, what stands before is the series.

#![allow(clippy::print_stdout, reason = "this prints its measurements")]
#![allow(clippy::disallowed_methods, reason = "what is measured here is real time")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::{Duration, Instant};

use pando_codec::axis::{decode_axis, encode_axis};
use pando_codec::floats::{decode_floats, encode_floats};
use pando_codec::histograms::{decode_histograms, encode_histograms};
use pando_model::{Histogram, Span};

/// Everything is done this often and the best time counts, since other work may run beside it.
const REPEATS: usize = 7;

#[derive(Default)]
struct Column {
    times: Vec<i64>,
    values: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: measure <capture>")?;
    let series = parse(&std::fs::read_to_string(path)?)?;
    let sparse: Vec<Column> = series
        .iter()
        .map(|c| Column {
            times: c.times.iter().step_by(3).copied().collect(),
            values: c.values.iter().step_by(3).copied().collect(),
        })
        .collect();
    axes("A: 5 s", &series)?;
    axes("B: 15 s", &sparse)?;
    let values = |columns: &[Column]| columns.iter().map(|c| c.values.clone()).collect::<Vec<_>>();
    let (a, b) = (values(&series), values(&sparse));
    floats("A: 5 s", &a)?;
    floats("B: 15 s", &b)?;
    floats("C: counters", &counters())?;
    for n in [32, 120] {
        let chunks = |columns: &[Vec<f64>]| -> Vec<Vec<f64>> {
            columns.iter().flat_map(|c| c.chunks(n)).map(<[f64]>::to_vec).collect()
        };
        floats(&format!("A in chunks of {n}"), &chunks(&a))?;
    }
    for observations in [2, 20, 200, 2000] {
        histograms(observations)?;
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<Column>, Box<dyn Error>> {
    let mut series: BTreeMap<(&str, &str), Column> = BTreeMap::new();
    let (mut job, mut time) = ("", 0);
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("@@ ") {
            let (name, ms) = head.split_once(' ').ok_or("a scrape without a time")?;
            (job, time) = (name, ms.parse()?);
        } else if !line.starts_with('#') && !line.is_empty() {
            let (name, value) = line.rsplit_once(' ').ok_or("a sample without a value")?;
            let column = series.entry((job, name)).or_default();
            column.times.push(time);
            column.values.push(value.parse()?);
        }
    }
    Ok(series.into_values().collect())
}

/// What the axes cost where series that have the same share it.
fn axes(name: &str, series: &[Column]) -> Result<(), Box<dyn Error>> {
    let samples: usize = series.iter().map(|c| c.times.len()).sum();
    let distinct: BTreeSet<&Vec<i64>> = series.iter().map(|c| &c.times).collect();
    let mut bytes = 0;
    for times in &distinct {
        let mut out = Vec::new();
        encode_axis(times, &mut out);
        if decode_axis(&out)? != **times {
            return Err("an axis did not survive".into());
        }
        bytes += out.len();
    }
    println!(
        "{name} axes: {} of {} series, {:.4} bits/sample",
        distinct.len(),
        series.len(),
        bytes as f64 * 8.0 / samples as f64
    );
    Ok(())
}

fn floats(name: &str, columns: &[Vec<f64>]) -> Result<(), Box<dyn Error>> {
    let samples: usize = columns.iter().map(Vec::len).sum();
    let mut encoded = Vec::new();
    let encoding = best_time(|| {
        encoded.clear();
        for values in columns {
            let mut out = Vec::new();
            encode_floats(values, &mut out);
            encoded.push(out);
        }
        Ok(())
    })?;
    let decoding = decode_all(encoded.iter())?;
    let mut decoded = Vec::new();
    let (mut changing, mut changing_samples) = (Vec::new(), 0);
    for (bytes, values) in encoded.iter().zip(columns) {
        decoded.clear();
        decode_floats(bytes, &mut decoded)?;
        if !decoded.iter().map(|v| v.to_bits()).eq(values.iter().map(|v| v.to_bits())) {
            return Err("a float did not survive".into());
        }
        if values.windows(2).any(|w| w[0].to_bits() != w[1].to_bits()) {
            changing.push(bytes);
            changing_samples += values.len();
        }
    }
    let changing = decode_all(changing.into_iter())?;
    let bytes: usize = encoded.iter().map(Vec::len).sum();
    println!(
        "{name} floats: {:.3} bits/sample, M/s: encode {:.0}, decode {:.0}, what changes {:.0}",
        bytes as f64 * 8.0 / samples as f64,
        millions_a_second(samples, encoding),
        millions_a_second(samples, decoding),
        millions_a_second(changing_samples, changing),
    );
    Ok(())
}

fn decode_all<'a>(
    encoded: impl Iterator<Item = &'a Vec<u8>> + Clone,
) -> Result<Duration, Box<dyn Error>> {
    let mut decoded = Vec::new();
    best_time(|| {
        for bytes in encoded.clone() {
            decoded.clear();
            decode_floats(bytes, &mut decoded)?;
        }
        Ok(())
    })
}

fn best_time(
    mut work: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let mut best = Duration::MAX;
    for _ in 0..REPEATS {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

/// Histograms of 40 buckets, scraped 480 times, with so many observations between two scrapes.
fn histograms(observations: u64) -> Result<(), Box<dyn Error>> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut counts = vec![0.0; 40];
    let (mut count, mut sum) = (0.0, 0.0);
    let mut samples = Vec::new();
    for _ in 0..480 {
        for _ in 0..observations {
            // A bell over the buckets, which are powers of a quarter.
            let bucket = (0..8).map(|_| random.below(6)).sum::<u64>() as usize;
            counts[bucket.min(39)] += 1.0;
            count += 1.0;
            sum +=
                0.001 * 2f64.powf(bucket as f64 / 4.0) * (1.0 + random.below(100) as f64 / 500.0);
        }
        samples.push(Histogram {
            integer: true,
            schema: 2,
            count,
            sum,
            positive_spans: vec![Span { offset: -20, length: 40 }],
            positive_buckets: counts.clone(),
            ..Histogram::default()
        });
    }
    let mut out = Vec::new();
    let references: Vec<&Histogram> = samples.iter().collect();
    let encoding = best_time(|| {
        out.clear();
        encode_histograms(&references, &mut out);
        Ok(())
    })?;
    let mut decoded = Vec::new();
    let decoding = best_time(|| {
        decoded = decode_histograms(&out)?;
        Ok(())
    })?;
    if decoded != samples {
        return Err("a histogram did not survive".into());
    }
    println!(
        "histograms of {observations}: {:.1} bytes/sample, M/s: encode {:.2}, decode {:.2}",
        out.len() as f64 / samples.len() as f64,
        millions_a_second(samples.len(), encoding),
        millions_a_second(samples.len(), decoding),
    );
    Ok(())
}

/// Of ten counters four stand still, four grow by 0 to 4 a scrape, two by 0 to 1999.
fn counters() -> Vec<Vec<f64>> {
    let mut random = Random(88_172_645_463_325_252);
    let mut counter = |kind: u64| {
        let mut value = random.below(1_000_000);
        let mut next = || {
            value += match kind {
                0..4 => 0,
                4..8 => random.below(5),
                _ => random.below(2000),
            };
            value as f64
        };
        (0..4320).map(|_| next()).collect()
    };
    (0..1000).map(|i| counter(i % 10)).collect()
}

fn millions_a_second(samples: usize, time: Duration) -> f64 {
    samples as f64 / time.as_secs_f64() / 1e6
}

/// Reproducible numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}
