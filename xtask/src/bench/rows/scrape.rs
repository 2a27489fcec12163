//! 1,000 targets of 500 series each, scraped and stored: processor time a sample, memory a series.

use std::path::Path;
use std::thread;

use anyhow::{Result, ensure};

use crate::bench::clock::eventually;
use crate::bench::exporter::Exporter;
use crate::bench::rows::wire::SCRAPED_PATIENCE;
use crate::bench::rows::{Bench, row, samples_per_cpu_s};
use crate::bench::system::{Kind, System};
use crate::bench::table::{Better, Row};

/// The samples of each target's last scrape, as every system counts them itself.
const STORED_QUERY: &str = "sum(scrape_samples_scraped{job=\"bench\"})";

struct Measured {
    samples: u64,
    cpu_s: f64,
    resident_bytes: u64,
    resident_bytes_most: u64,
}

pub(super) fn rows(bench: &mut Bench) -> Vec<Row> {
    let measured = bench.each("scrape", measure);
    let series = bench.scale.targets * bench.scale.target_series;
    let interval = bench.scale.scrape_interval;
    let work = format!(
        "scrape and store, {} targets x {} series @{interval:?}",
        bench.scale.targets, bench.scale.target_series
    );
    let memory = ("B/series", Better::Less);
    vec![
        row("scrape", work, ("samples/s/core", Better::More), &measured, |m| {
            samples_per_cpu_s(m.samples, m.cpu_s)
        }),
        row("resident", "resident per active series meanwhile", memory, &measured, |m| {
            m.resident_bytes as f64 / series as f64
        }),
        row("resident_most", "the same, at its highest", memory, &measured, |m| {
            m.resident_bytes_most as f64 / series as f64
        }),
    ]
}

fn measure(bench: &mut Bench, kind: Kind, folder: &Path) -> Result<Option<Measured>> {
    let scale = bench.scale.clone();
    let exporter = Exporter::start(scale.targets, scale.target_series)?;
    let config = exporter.scrape_config(scale.scrape_interval.as_secs());
    let Some(mut system) = System::start(&bench.binaries, kind, folder, Some(&config))? else {
        return Ok(None);
    };
    eventually(
        "the first scrape",
        SCRAPED_PATIENCE,
        || Ok((exporter.scrapes() > 0).then_some(())),
    )?;
    thread::sleep(scale.warm_up);
    let (scrapes, before_s) = (exporter.scrapes(), system.process.cpu_s()?);
    thread::sleep(scale.window);
    let (scrapes, cpu_s) = (exporter.scrapes() - scrapes, system.process.cpu_s()? - before_s);
    let (resident_bytes, resident_bytes_most) = system.process.resident_bytes()?;
    ensure!(scrapes > 0, "nothing was scraped within {:?}", scale.window);
    let due =
        scale.targets as f64 * scale.window.as_secs_f64() / scale.scrape_interval.as_secs_f64();
    if (scrapes as f64) < due * 0.9 {
        bench.note(format!("scrape: {} did {scrapes} scrapes of {due}", kind.name()));
    }
    let want = (scale.targets * scale.target_series) as f64;
    eventually("every target's samples are stored", SCRAPED_PATIENCE, || {
        let have = system.number(STORED_QUERY)?;
        ensure!(have == want, "have={have} want={want}");
        Ok(Some(()))
    })?;
    let samples = scrapes * scale.target_series as u64;
    Ok(Some(Measured { samples, cpu_s, resident_bytes, resident_bytes_most }))
}
