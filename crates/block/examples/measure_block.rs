//! Measures blocks of a real capture: size by column, and the speed of writing, reading and
//! merging.
//!
//! ```text
//! xz -dc scrapes-5s.txt.xz | cargo run --release -p pando-block --example measure_block [file.parquet]
//! ```
//!
//! The merged block is written to the file, where one is given: for a look with other Parquet
//! readers.
//!
//! The capture has lines `@@ <job> <unix ms>`, each followed by an exposition body. Parsing is as
//! simple as the capture allows; it is not what is measured.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measuring tool prints, and reads the clock"
)]

use std::collections::HashMap;
use std::error::Error;
use std::io::BufRead;
use std::sync::Arc;
use std::time::Instant;

use pando_block::{
    BlockOptions, BlockReader, BlockWriter, BuiltBlock, MemoryObject, MergeInput, inspect_block,
    merge_blocks, verify_block,
};
use pando_model::{
    BlockId, BlockSource, Cut, GenerationId, KeyRange, Labels, LabelsBuilder, Matcher, SampleValue,
    SeriesKey, SeriesSamples, ShardId, TenantId, TimeRange,
};

type Series = HashMap<Labels, Vec<(i64, f64)>>;

fn main() -> Result<(), Box<dyn Error>> {
    let all = read_capture(std::io::stdin().lock())?;
    let times = || all.values().flatten().map(|(t, _)| *t);
    let (first, last) = (times().min().ok_or("no samples")?, times().max().ok_or("no samples")?);
    let samples = times().count();
    println!("series {} samples {samples} minutes {}", all.len(), (last - first) / 60_000);
    let whole = build(1, &all, TimeRange { min_ms: first, max_ms: last + 1 }, 0)?;
    report("one block", &whole, samples)?;
    let cut_ms = 600_000;
    let mut cuts = Vec::new();
    let start = Instant::now();
    for (n, from) in (first..=last).step_by(cut_ms as usize).enumerate() {
        let time = TimeRange { min_ms: from, max_ms: from + cut_ms };
        cuts.push(build(n as u128 + 2, &all, time, 0)?);
    }
    let bytes: u64 = cuts.iter().map(|c| c.record.object_bytes).sum();
    println!("\n{} cuts of 10 min: {}", cuts.len(), rate(bytes, samples));
    println!("  building {}", speed(start, samples));
    let merged = merge(&cuts, samples)?;
    report("merged", &merged, samples)?;
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(path, &merged.bytes)?;
    }
    Ok(())
}

fn build(
    id: u128,
    all: &Series,
    time: TimeRange,
    slice_ms: i64,
) -> Result<BuiltBlock, Box<dyn Error>> {
    let tenant = TenantId::default_tenant();
    let mut axes: HashMap<Vec<i64>, Arc<[i64]>> = HashMap::new();
    let mut sorted: Vec<SeriesSamples> = Vec::new();
    for (labels, samples) in all {
        let samples = samples.iter().filter(|(t, _)| time.contains(*t));
        let values = samples.map(|(t, v)| (*t, SampleValue::Float(*v)));
        let key = SeriesKey::of(&tenant, labels);
        let mut series = SeriesSamples::from_values(labels.clone(), key, values);
        let shared = axes.entry(series.axis.to_vec()).or_insert_with(|| series.axis.clone());
        series.axis = shared.clone();
        sorted.push(series);
    }
    sorted.sort_by(|a, b| {
        let name = a.labels.metric_name().cmp(b.labels.metric_name());
        name.then_with(|| a.key.cmp(&b.key)).then_with(|| a.labels.cmp(&b.labels))
    });
    let samples = sorted.iter().map(SeriesSamples::len).sum();
    let generation = GenerationId { shard: ShardId(1), cut: Cut(1) };
    let source = BlockSource::Generation(generation);
    let options = BlockOptions { slice_ms, ..BlockOptions::new(BlockId(id), source, time.max_ms) };
    let mut writer = BlockWriter::new(options);
    let start = Instant::now();
    for series in sorted {
        writer.push(&tenant, series, None)?;
    }
    let block = writer.finish()?;
    if id == 1 {
        println!("build {}", speed(start, samples));
    }
    Ok(block)
}

fn merge(cuts: &[BuiltBlock], samples: usize) -> Result<BuiltBlock, Box<dyn Error>> {
    let mut inputs = Vec::new();
    for cut in cuts {
        let io = Arc::new(MemoryObject(cut.bytes.clone()));
        let reader = wait(BlockReader::fetch(&cut.record, io.as_ref()))?;
        inputs.push(MergeInput { reader, io });
    }
    let sources = cuts.iter().map(|c| c.record.id).collect();
    let source = BlockSource::Compaction { work: 1, sources };
    let options = BlockOptions::new(BlockId(99), source, 0);
    let start = Instant::now();
    let block = wait(merge_blocks(&inputs, options, |_, series| Some(series)))?;
    println!("\nmerge with verification {}", speed(start, samples));
    Ok(block)
}

fn report(what: &str, block: &BuiltBlock, samples: usize) -> Result<(), Box<dyn Error>> {
    println!("\n{what}: {}", rate(block.record.object_bytes, samples));
    let io: Arc<MemoryObject> = Arc::new(MemoryObject(block.bytes.clone()));
    let start = Instant::now();
    let reader = wait(BlockReader::fetch(&block.record, io.as_ref()))?;
    println!("  open {:?}, {} bytes in memory", start.elapsed(), reader.memory_bytes());
    let start = Instant::now();
    wait(verify_block(&block.record, io.clone()))?;
    println!("  verify {}", speed(start, samples));
    let queries = [
        ("everything", vec![]),
        ("one name", vec![Matcher::equal("__name__", "node_cpu_seconds_total")]),
        ("one job", vec![Matcher::equal("job", "vm")]),
    ];
    for (name, matchers) in queries {
        let start = Instant::now();
        let (mut series, mut found, mut axes) = (0, 0, HashMap::new());
        let tenant = TenantId::default_tenant();
        let (keys, time) = (KeyRange::ALL, TimeRange::ALL);
        let mut scan = wait(reader.scan(io.clone(), &tenant, keys, &matchers, time, 1 << 20))?;
        while let Some(batch) = wait(scan.next_batch())? {
            series += batch.len();
            found += batch.iter().map(SeriesSamples::len).sum::<usize>();
            for one in batch {
                *axes.entry(one.axis.as_ptr()).or_insert(0) += 1;
            }
        }
        println!("  scan {name}: series {series} axes {} {}", axes.len(), speed(start, found));
    }
    for line in inspect_block(&reader).lines() {
        println!("  {line}");
    }
    Ok(())
}

fn rate(bytes: u64, samples: usize) -> String {
    format!("{bytes} bytes, {:.3} bits a sample", bytes as f64 * 8.0 / samples as f64)
}

fn speed(start: Instant, samples: usize) -> String {
    let taken = start.elapsed();
    let millions = samples as f64 / taken.as_secs_f64() / 1e6;
    format!("{taken:?}, {millions:.1} M samples/s")
}

fn read_capture(input: impl BufRead) -> Result<Series, Box<dyn Error>> {
    let mut all = Series::new();
    let (mut job, mut time_ms) = (String::new(), 0);
    let mut known: HashMap<String, Labels> = HashMap::new();
    for line in input.lines() {
        let line = line?;
        if let Some(head) = line.strip_prefix("@@ ") {
            let (name, time) = head.split_once(' ').ok_or("a bad head")?;
            (job, time_ms) = (name.to_string(), time.parse()?);
            continue;
        }
        let Some((name, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let id = format!("{job} {name}");
        let labels = match known.get(&id) {
            Some(labels) => labels.clone(),
            None => {
                let labels = parse_labels(&job, name);
                known.insert(id, labels.clone());
                labels
            }
        };
        let Ok(value) = value.parse::<f64>() else { continue };
        let samples = all.entry(labels).or_default();
        if samples.last().is_none_or(|(t, _)| *t < time_ms) {
            samples.push((time_ms, value));
        }
    }
    Ok(all)
}

fn parse_labels(job: &str, text: &str) -> Labels {
    let (name, mut rest) = text.split_once('{').unwrap_or((text, ""));
    let mut labels = LabelsBuilder::new();
    labels.set("__name__", name).set("job", job).set("instance", &format!("{job}.local:9100"));
    while let Some((label, after)) = rest.split_once("=\"") {
        let Some((value, after)) = after.split_once('"') else { break };
        labels.set(label.trim_start_matches([',', ' ']), value);
        rest = after;
    }
    labels.build()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}
