//! Measures wire, head and apply rate on a capture: `xz -dc scrapes-5s.txt.xz | measure <targets> <step>`.
//!
//! Each exporter of the capture stands for `targets` targets (default 20) whose instances differ. Every `step`-th
//! scrape is taken (default 3: 15 s). A cut comes every 10 minutes of sample time; two generations stay.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a tool that times and prints")]

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pando_codec::entry::{CutReason, Entry, ShardRules, StreamBlock, Write};
use pando_codec::write_block::{
    Encoder, FrameInput, FrameValue, GroupId, GroupSpec, KeyedEncoder, KeyedSample,
};
use pando_head::{Applied, BlockOutcome, Shard, ShardConfig};
use pando_model::{
    BlockId, Cut, Epoch, KeyRange, Labels, Matcher, ProducerId, SampleValue, Sequence, ShardId,
    StreamId, TenantId, TimeRange,
};

type Failure = Box<dyn std::error::Error>;

/// One scrape: job, time, (series text, value).
struct Scrape {
    job: String,
    time_ms: i64,
    samples: Vec<(String, f64)>,
}

fn parse(text: &str) -> Vec<Scrape> {
    let scrape = |part: &str| {
        let (head, body) = part.split_once('\n')?;
        let (job, time) = head.split_once(' ')?;
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_string(), value.parse().ok()?))
        };
        let samples = lines.filter_map(sample).collect();
        Some(Scrape { job: job.to_string(), time_ms: time.parse().ok()?, samples })
    };
    text.split("@@ ").filter_map(scrape).collect()
}

/// `name{a="b",...}` of an exposition line, with the target's labels.
fn labels(series: &str, job: &str, instance: &str) -> Labels {
    let (name, rest) = series.split_once('{').unwrap_or((series, ""));
    let mut pairs = vec![("__name__", name), ("job", job), ("instance", instance)];
    let mut rest = rest.trim_end_matches('}');
    while let Some((label, tail)) = rest.split_once("=\"") {
        let (value, tail) = tail.split_once('"').unwrap_or((tail, ""));
        pairs.push((label, value));
        rest = tail.trim_start_matches(',');
    }
    Labels::from_pairs(pairs)
}

struct Measure {
    shard: Shard,
    index: u64,
    sequence: u64,
    samples: u64,
    wire_bytes: u64,
    applying: Duration,
    cutting: Duration,
}

impl Measure {
    fn new() -> Self {
        let rules = ShardRules::default();
        let shard = Shard::new(ShardConfig { shard: ShardId(1), rules, inherited: Vec::new() });
        let zero = Duration::ZERO;
        Measure {
            shard,
            index: 0,
            sequence: 0,
            samples: 0,
            wire_bytes: 0,
            applying: zero,
            cutting: zero,
        }
    }

    fn apply(&mut self, entry: &Entry) -> Applied {
        self.index += 1;
        self.shard.apply(self.index, entry)
    }

    fn write(&mut self, block: Option<Vec<u8>>, now_ms: i64) -> Result<(), Failure> {
        let Some(block) = block else { return Ok(()) };
        self.sequence += 1;
        self.wire_bytes += block.len() as u64;
        let block = StreamBlock {
            stream: StreamId { producer: ProducerId(1), epoch: Epoch(1) },
            sequence: Sequence(self.sequence),
            skip: None,
            bytes: Bytes::from(block),
        };
        let entry =
            Entry::Write(Write { leader_time_ms: now_ms, rules: None, blocks: vec![block] });
        let begun = Instant::now();
        let applied = self.apply(&entry);
        self.applying += begun.elapsed();
        match applied {
            Applied::Write(outcomes) => match outcomes.as_slice() {
                [BlockOutcome::Applied(verdicts)] if verdicts.refused_total() == 0 => {
                    self.samples += verdicts.accepted;
                    Ok(())
                }
                other => Err(format!("not applied: {other:?}").into()),
            },
            other => Err(format!("not a write: {other:?}").into()),
        }
    }

    fn cut(&mut self) {
        let cut = self.shard.open_cut();
        let begun = Instant::now();
        let applied = self.apply(&Entry::Cut { cut, reason: CutReason::Time });
        self.cutting += begun.elapsed();
        if let Applied::Cut(outcome) = applied {
            let digest = outcome.digest;
            self.apply(&Entry::Committed { cut, block: BlockId(1), digest });
        }
        self.shard.drop_committed(Cut(cut.0.saturating_sub(1)));
    }

    fn report(&mut self, what: &str) -> Result<(), Failure> {
        let series = self.shard.active_series() as f64;
        let rate = self.samples as f64 / self.applying.as_secs_f64() / 1e6;
        println!("{what}: {series} series, {} samples", self.samples);
        println!("  wire {:.3} B/sample", self.wire_bytes as f64 / self.samples as f64);
        println!("  apply {rate:.1} M samples/s, cuts {:?}", self.cutting);
        let memory = self.shard.memory();
        for (part, bytes) in [
            ("series", memory.series_bytes),
            ("streams", memory.stream_bytes),
            ("samples", memory.sample_bytes),
        ] {
            println!("  {part} {:.0} B/series", bytes as f64 / series);
        }
        let begun = Instant::now();
        let checkpoint = self.shard.checkpoint();
        let saved = begun.elapsed();
        let begun = Instant::now();
        let restored = Shard::restore(ShardId(1), &checkpoint)?;
        let restoring = begun.elapsed().as_secs_f64() / series * 1e6;
        assert_eq!(restored.state_hash(), self.shard.state_hash());
        println!(
            "  checkpoint {:.0} B/series, written in {saved:?}; restore {restoring:.2} s per million series",
            checkpoint.len() as f64 / series
        );
        drop(restored);
        let begun = Instant::now();
        let first = self.shard.generations().next().map_or(Cut(1), |generation| generation.cut);
        let matchers = [Matcher::equal("job", "node")];
        let tenant = TenantId::default_tenant();
        let mut selection =
            self.shard.select(&tenant, KeyRange::ALL, &matchers, TimeRange::ALL, first)?;
        let (mut read, mut found) = (0, 0);
        loop {
            let batch = self.shard.read(&mut selection, 100_000)?;
            if batch.is_empty() {
                break;
            }
            found += batch.len();
            read += batch.iter().map(|series| series.len()).sum::<usize>();
        }
        let rate = read as f64 / begun.elapsed().as_secs_f64() / 1e6;
        println!("  read {found} series, {rate:.1} M samples/s");
        Ok(())
    }
}

fn resident_bytes() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(0.0) * 4096.0
}

struct Target {
    group: GroupId,
    job: String,
    instance: String,
    slots: HashMap<String, u32>,
    values: Vec<FrameValue>,
}

fn scraped(scrapes: &[Scrape], targets: usize) -> Result<(), Failure> {
    let before = resident_bytes();
    let tenant = TenantId::default_tenant();
    let mut measure = Measure::new();
    let mut encoder = Encoder::new();
    let mut by_job: BTreeMap<String, Vec<Target>> = BTreeMap::new();
    let mut next_cut = scrapes.first().map_or(0, |scrape| scrape.time_ms + 600_000);
    let mut encoding = Duration::ZERO;
    for scrape in scrapes {
        if scrape.time_ms >= next_cut {
            measure.cut();
            next_cut += 600_000;
        }
        let here = by_job.entry(scrape.job.clone()).or_default();
        while here.len() < targets {
            let spec = GroupSpec { tenant: tenant.clone(), target: None, series: Vec::new() };
            here.push(Target {
                group: encoder.register(spec)?,
                job: scrape.job.clone(),
                instance: format!("10.0.0.{}:9100", here.len()),
                slots: HashMap::new(),
                values: Vec::new(),
            });
        }
        for target in here {
            target.values.fill(FrameValue::Absent);
            let mut added = Vec::new();
            for (series, value) in &scrape.samples {
                let slot = match target.slots.get(series) {
                    Some(slot) => *slot,
                    None => {
                        let slot = target.values.len() as u32;
                        target.slots.insert(series.clone(), slot);
                        added.push(labels(series, &target.job, &target.instance));
                        target.values.push(FrameValue::Absent);
                        slot
                    }
                };
                target.values[slot as usize] = FrameValue::Float(*value);
            }
            let begun = Instant::now();
            if !added.is_empty() {
                encoder.edit(target.group, &[], added)?;
            }
            let input = FrameInput {
                time_ms: scrape.time_ms,
                values: &target.values,
                ..FrameInput::default()
            };
            encoder.push_frame(target.group, &input);
            let block = encoder.finish();
            encoding += begun.elapsed();
            measure.write(block, scrape.time_ms)?;
        }
    }
    measure.report("scraped")?;
    println!(
        "  encode {:.1} M samples/s; process {:.0} B/series, the producer's side included",
        measure.samples as f64 / encoding.as_secs_f64() / 1e6,
        (resident_bytes() - before) / measure.shard.active_series() as f64
    );
    Ok(())
}

fn pushed(scrapes: &[Scrape], targets: usize) -> Result<(), Failure> {
    let tenant = TenantId::default_tenant();
    let mut measure = Measure::new();
    let mut encoder = KeyedEncoder::new();
    let mut next_cut = scrapes.first().map_or(0, |scrape| scrape.time_ms + 600_000);
    let mut known: HashMap<(String, usize, String), Labels> = HashMap::new();
    for scrape in scrapes {
        if scrape.time_ms >= next_cut {
            measure.cut();
            next_cut += 600_000;
        }
        for target in 0..targets {
            let mut series: Vec<(Labels, f64)> = Vec::new();
            for (text, value) in &scrape.samples {
                let key = (scrape.job.clone(), target, text.clone());
                let instance = format!("10.0.0.{target}:9100");
                let labels =
                    known.entry(key).or_insert_with(|| labels(text, &scrape.job, &instance));
                series.push((labels.clone(), *value));
            }
            let samples: Vec<KeyedSample<'_>> = series
                .iter()
                .map(|(labels, value)| KeyedSample {
                    labels,
                    timestamp_ms: scrape.time_ms,
                    value: SampleValue::Float(*value),
                    start_ms: 0,
                    exemplars: &[],
                })
                .collect();
            let half = series
                .first()
                .map_or(0, |(labels, _)| pando_model::key::group_half(&tenant, labels));
            // Requests of 500 samples, as queues send them.
            for request in samples.chunks(500) {
                encoder.push(&tenant, half, request)?;
            }
            measure.write(encoder.finish(3600), scrape.time_ms)?;
        }
    }
    measure.report("pushed")
}

fn main() -> Result<(), Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let mut numbers = std::env::args().skip(1).map(|n| n.parse::<usize>());
    let targets = numbers.next().transpose()?.unwrap_or(20);
    let step = numbers.next().transpose()?.unwrap_or(3);
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut scrapes = parse(&text);
    drop(text);
    scrapes.retain(|scrape| {
        let n = seen.entry(scrape.job.clone()).or_default();
        *n += 1;
        (*n - 1).is_multiple_of(step)
    });
    scraped(&scrapes, targets)?;
    pushed(&scrapes, targets.div_ceil(4))
}
