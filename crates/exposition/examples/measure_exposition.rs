//! Speed of the hot paths on one core. Reads a capture on standard input, lines `@@ <job> <unix ms>` each
//! followed by a body, and reports millions of samples a second:
//!
//! ```text
//! xz -dc scrapes-5s.txt.xz | cargo run --release -p pando-exposition --example measure_exposition
//! ```

#![allow(clippy::disallowed_methods)] // Measuring is what the wall clock is for.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Read as _;
use std::time::Instant;

use pando_exposition::remote_write::{
    Body, FloatSample, Limits, SeriesToWrite, encode_v1, encode_v2,
};
use pando_exposition::{Event, Line, LineCache, LineCacheOptions, Parser, ScrapeFormat};
use pando_model::Labels;

fn report(what: &str, samples: u64, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    println!("{what:42} {:8.2} M samples/s", samples as f64 / seconds / 1e6);
}

/// One scrape through a cache; the caller's work is left out.
fn scrape(cache: &mut LineCache, body: &[u8], slots: &mut u32) -> u64 {
    let mut scrape = cache.begin(ScrapeFormat::Text, body);
    let mut sum = 0.0;
    while let Some(line) = scrape.next() {
        match line.expect("a valid body") {
            Line::Known(known) => sum += known.value,
            Line::New(_) => {
                scrape.assign(*slots);
                *slots += 1;
            }
            Line::Meta(_) => {}
        }
    }
    black_box(sum);
    scrape.finish().samples
}

fn main() {
    let mut capture = Vec::new();
    std::io::stdin().read_to_end(&mut capture).expect("standard input");
    let mut jobs: BTreeMap<String, Vec<&[u8]>> = BTreeMap::new();
    for part in capture[2..].split_inclusive(|b| *b == b'\n').collect::<Vec<_>>().chunk_by(
        // A body is what lies between two marks.
        |_, next| !next.starts_with(b"@@ "),
    ) {
        let head = String::from_utf8_lossy(part[0]);
        let job = head.trim_start_matches("@@").split_whitespace().next().unwrap_or_default();
        let start =
            part[1..].first().map_or(0, |l| l.as_ptr() as usize - capture.as_ptr() as usize);
        let length: usize = part[1..].iter().map(|line| line.len()).sum();
        jobs.entry(job.to_string()).or_default().push(&capture[start..start + length]);
    }
    measure_scrapes(&jobs);
    measure_writes(&jobs);
}

fn measure_scrapes(jobs: &BTreeMap<String, Vec<&[u8]>>) {
    for (job, bodies) in jobs {
        let mut cache = LineCache::new(LineCacheOptions::default());
        let mut slots = 0;
        scrape(&mut cache, bodies[0], &mut slots);
        let since = Instant::now();
        let samples = bodies[1..].iter().map(|body| scrape(&mut cache, body, &mut slots)).sum();
        report(&format!("line cache, the capture: {job}"), samples, since);
    }
    let mut caches: Vec<_> =
        jobs.values().map(|b| (LineCache::new(LineCacheOptions::default()), b)).collect();
    let (mut samples, mut slots) = (0, [0; 16]);
    let since = Instant::now();
    for round in 0.. {
        let mut any = false;
        for (at, (cache, bodies)) in caches.iter_mut().enumerate() {
            if let Some(body) = bodies.get(round) {
                any = true;
                samples += scrape(cache, body, &mut slots[at % 16]);
            }
        }
        if !any {
            break;
        }
    }
    report("line cache, the capture: all jobs", samples, since);
    for (job, bodies) in jobs {
        let mut cache = LineCache::new(LineCacheOptions::default());
        let (mut samples, mut slots) = (0, 0);
        let since = Instant::now();
        for _ in 0..500 {
            samples += scrape(&mut cache, bodies[0], &mut slots);
        }
        report(&format!("line cache, unchanged body: {job}"), samples, since);
    }
    let (mut samples, since) = (0u64, Instant::now());
    for body in jobs.values().flat_map(|bodies| bodies.iter().take(300)) {
        for event in Parser::new(ScrapeFormat::Text, body) {
            samples += u64::from(matches!(black_box(event), Ok(Event::Sample(_))));
        }
    }
    report("parser, no cache, no labels", samples, since);
    let (mut samples, since) = (0u64, Instant::now());
    for body in jobs.values().flat_map(|bodies| bodies.iter().take(100)) {
        for event in Parser::new(ScrapeFormat::Text, body) {
            if let Ok(Event::Sample(sample)) = event {
                black_box(sample.labels().expect("labels"));
                samples += 1;
            }
        }
    }
    report("parser, no cache, with labels", samples, since);
}

/// Requests of 2,000 series with one sample each, as Prometheus sends them.
fn measure_writes(jobs: &BTreeMap<String, Vec<&[u8]>>) {
    let target = [("job", "node"), ("instance", "localhost:9100"), ("cluster", "demo")];
    let mut series: Vec<(Labels, [FloatSample; 1])> = Vec::new();
    for event in jobs.values().flat_map(|bodies| Parser::new(ScrapeFormat::Text, bodies[0])) {
        let Ok(Event::Sample(sample)) = event else { continue };
        let mut labels = sample.labels().expect("labels").to_builder();
        for (name, value) in target {
            labels.set(name, value);
        }
        let value = sample.value;
        let sample = FloatSample { timestamp_ms: 1_795_332_015_000, start_ms: 0, value };
        series.push((labels.build(), [sample]));
    }
    let to_write = series.iter().map(|(labels, samples)| SeriesToWrite {
        labels,
        samples,
        histograms: &[],
        exemplars: &[],
        metadata: None,
    });
    let to_write: Vec<SeriesToWrite<'_>> = to_write.collect();
    let v1 = encode_v1(&to_write, &[]).expect("small");
    let v2 = encode_v2(&to_write).expect("small");
    for (version, proto, body) in
        [("1.0", "", v1), ("2.0", ";proto=io.prometheus.write.v2.Request", v2)]
    {
        let content_type = format!("application/x-protobuf{proto}");
        println!("{version} {} series {} bytes", to_write.len(), body.len());
        for with_labels in [false, true] {
            let (mut samples, since) = (0u64, Instant::now());
            for _ in 0..300 {
                let body = Body::open(&content_type, "snappy", &body, Limits::default());
                let body = body.expect("a valid request");
                let request = body.decode().expect("a valid request");
                samples += request.samples_count() as u64;
                if with_labels {
                    request.series().for_each(|s| drop(black_box(s.labels().expect("labels"))));
                }
                black_box(&request);
            }
            report(&format!("remote write {version}, labels built: {with_labels}"), samples, since);
        }
    }
    let (mut samples, since) = (0u64, Instant::now());
    for _ in 0..100 {
        black_box(encode_v1(&to_write, &[]).expect("small"));
        samples += to_write.len() as u64;
    }
    report("remote write 1.0, encode", samples, since);
}
