//! Six hours of 10,000 counters by remote write 1.0, in the order of time: what taking them costs, what they
//! weigh, and what a query over all of them costs, before and after they are written as blocks.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use pando_exposition::remote_write::FloatSample;

use crate::bench::clock::{eventually, now_ms};
use crate::bench::counters::{self, Counters, SCRAPE_INTERVAL_MS};
use crate::bench::process::tick_s;
use crate::bench::rows::{Bench, row, samples_per_cpu_s};
use crate::bench::scale::Scale;
use crate::bench::system::{Kind, Points, System};
use crate::bench::table::{Better, Row};
use crate::bench::writer::Writer;

const QUERY: &str = "sum by (pod) (rate(http_requests_total[5m]))";
const QUERY_RANGE_MS: i64 = 300_000;
const QUERY_STEP_S: u64 = 60;
/// Measurements of a query; the best one counts.
const TRIES: usize = 3;
/// How far two answers may be apart, relative to their size: additions in another order.
const TOLERANCE: f64 = 1e-9;
/// How long what was acknowledged may take to be seen by queries.
const VISIBLE_PATIENCE: Duration = Duration::from_secs(60);

struct Measured {
    samples: u64,
    /// Until the last acknowledgement and a moment of rest.
    write_cpu_s: f64,
    /// The same and writing everything as blocks.
    stored_cpu_s: f64,
    stored_bytes: u64,
    directory_bytes: u64,
    /// One query before and after blocks are written.
    query_memory_cpu_s: f64,
    query_blocks_cpu_s: f64,
    answer: BTreeMap<String, Points>,
}

pub(super) fn rows(bench: &mut Bench) -> Vec<Row> {
    let end_ms = now_ms() / SCRAPE_INTERVAL_MS * SCRAPE_INTERVAL_MS;
    let mut measured =
        bench.each("history", |bench, kind, folder| measure(bench, kind, folder, end_ms));
    compare(bench, &mut measured);
    let Scale { history_series, history_scrapes, .. } = bench.scale;
    let hours = history_scrapes as f64 * SCRAPE_INTERVAL_MS as f64 / 3.6e6;
    let data = format!("{history_series} series x {hours:.1} h");
    let per_sample = |bytes: u64, m: &Measured| bytes as f64 / m.samples as f64;
    let (rate, bytes) = (("samples/s/core", Better::More), ("B/sample", Better::Less));
    let query = ("CPU-ms", Better::Less);
    vec![
        row("write", format!("remote write 1.0, {data}"), rate, &measured, |m| {
            samples_per_cpu_s(m.samples, m.write_cpu_s)
        }),
        row("write_stored", "the same, until it is in blocks", rate, &measured, |m| {
            samples_per_cpu_s(m.samples, m.stored_cpu_s)
        }),
        row("stored_synthetic", "blocks on disk, synthetic counters", bytes, &measured, |m| {
            per_sample(m.stored_bytes, m)
        }),
        row("directory_synthetic", "whole data directory after it", bytes, &measured, |m| {
            per_sample(m.directory_bytes, m)
        }),
        row("query_memory", format!("{QUERY}, as taken in"), query, &measured, |m| {
            m.query_memory_cpu_s * 1e3
        }),
        row("query_blocks", "the same, from blocks", query, &measured, |m| {
            m.query_blocks_cpu_s * 1e3
        }),
    ]
}

fn measure(bench: &mut Bench, kind: Kind, folder: &Path, end_ms: i64) -> Result<Option<Measured>> {
    let scale = bench.scale.clone();
    let Some(mut system) = System::start(&bench.binaries, kind, folder, None)? else {
        return Ok(None);
    };
    let before_s = system.process.cpu_s()?;
    let samples = write(&system, &scale, end_ms)?;
    thread::sleep(scale.settle);
    let write_cpu_s = system.process.cpu_s()? - before_s;
    let start_ms = end_ms - (scale.history_scrapes as i64 - 1) * SCRAPE_INTERVAL_MS;
    let range = (start_ms + QUERY_RANGE_MS, end_ms, QUERY_STEP_S);
    let groups = counters::pods(scale.history_series);
    eventually("an answer with every group", VISIBLE_PATIENCE, || {
        let answer = system.query_range(QUERY, "pod", range)?;
        Ok((answer.len() == groups).then_some(()))
    })?;
    let (query_memory_cpu_s, _) = query(&mut system, range, scale.queries)?;
    let before_s = system.process.cpu_s()?;
    system.write_blocks()?;
    thread::sleep(scale.settle);
    let stored_cpu_s = write_cpu_s + system.process.cpu_s()? - before_s;
    let stored_bytes = system.stored_bytes()?;
    let directory_bytes = system.directory_bytes()?;
    let (query_blocks_cpu_s, answer) = query(&mut system, range, scale.queries)?;
    ensure!(answer.len() == groups, "groups are missing: have={} want={groups}", answer.len());
    Ok(Some(Measured {
        samples,
        write_cpu_s,
        stored_cpu_s,
        stored_bytes,
        directory_bytes,
        query_memory_cpu_s,
        query_blocks_cpu_s,
        answer,
    }))
}

/// Writes the whole history; returns how many samples were acknowledged.
pub(super) fn write(system: &System, scale: &Scale, end_ms: i64) -> Result<u64> {
    let mut counters = Counters::new(scale.history_series);
    let mut writer = Writer::new(system.http);
    for scrape in (0..scale.history_scrapes).rev() {
        let timestamp_ms = end_ms - scrape as i64 * SCRAPE_INTERVAL_MS;
        counters.step();
        let samples: Vec<FloatSample> = counters
            .values
            .iter()
            .map(|value| FloatSample { timestamp_ms, start_ms: 0, value: *value as f64 })
            .collect();
        let labels = counters.labels.chunks(scale.request_samples);
        for (labels, samples) in labels.zip(samples.chunks(scale.request_samples)) {
            writer.write(labels.iter().zip(samples))?;
        }
    }
    Ok(writer.samples)
}

/// Processor time of one query, the best of some, and its answer.
fn query(
    system: &mut System,
    range: (i64, i64, u64),
    queries: u32,
) -> Result<(f64, BTreeMap<String, Points>)> {
    let (mut best_s, mut answer) = (f64::INFINITY, BTreeMap::new());
    for _ in 0..TRIES {
        let before_s = system.process.cpu_s()?;
        for _ in 0..queries {
            answer = system.query_range(QUERY, "pod", range)?;
        }
        let cpu_s = (system.process.cpu_s()? - before_s).max(tick_s());
        best_s = best_s.min(cpu_s / f64::from(queries));
    }
    Ok((best_s, answer))
}

/// Takes Pando's figures away where its answer is not Prometheus': a wrong answer has no speed.
fn compare(bench: &mut Bench, measured: &mut [Option<Measured>; 3]) {
    let [Some(ours), Some(theirs), _] = &measured else { return };
    if let Some(difference) = difference(&ours.answer, &theirs.answer) {
        bench.note(format!("history: pando and prometheus answer differently: {difference}"));
        measured[0] = None;
    }
}

pub(super) fn difference(
    ours: &BTreeMap<String, Points>,
    theirs: &BTreeMap<String, Points>,
) -> Option<String> {
    if !ours.keys().eq(theirs.keys()) {
        return Some(format!("groups ours={} theirs={}", ours.len(), theirs.len()));
    }
    for ((group, ours), theirs) in ours.iter().zip(theirs.values()) {
        if ours.len() != theirs.len() {
            return Some(format!("{group}: points ours={} theirs={}", ours.len(), theirs.len()));
        }
        let same = |((t, a), (u, b)): &(&(f64, f64), &(f64, f64))| {
            t == u && (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
        };
        if let Some((a, b)) = ours.iter().zip(theirs).find(|pair| !same(pair)) {
            return Some(format!("{group}: ours={a:?} theirs={b:?}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(value: f64) -> BTreeMap<String, Points> {
        BTreeMap::from([("a".to_string(), vec![(1.0, 2.0), (2.0, value)])])
    }

    #[test]
    fn answers_are_compared_point_by_point() {
        assert_eq!(difference(&answer(3.0), &answer(3.0 + 1e-12)), None);
        assert!(difference(&answer(3.0), &answer(3.1)).is_some());
        assert!(difference(&answer(3.0), &BTreeMap::new()).is_some());
    }
}
