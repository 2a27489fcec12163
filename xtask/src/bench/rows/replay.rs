//! Real scrapes by remote write with their own times: what they weigh.

use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::bench::capture::Capture;
use crate::bench::clock::now_ms;
use crate::bench::rows::{Bench, row};
use crate::bench::system::{Kind, System};
use crate::bench::table::{Better, Row};
use crate::bench::writer::Writer;

struct Measured {
    samples: u64,
    stored_bytes: u64,
}

pub(super) fn rows(bench: &mut Bench) -> Vec<Row> {
    let measured = match Capture::find() {
        Some(path) => {
            bench.each("capture", |bench, kind, folder| measure(bench, kind, folder, &path))
        }
        None => {
            bench.note("capture: the capture is not beside the repository".to_string());
            [None, None, None]
        }
    };
    let unit = ("B/sample", Better::Less);
    vec![row("stored_capture", "blocks on disk, real scrapes at 5 s", unit, &measured, |m| {
        m.stored_bytes as f64 / m.samples as f64
    })]
}

fn measure(bench: &mut Bench, kind: Kind, folder: &Path, path: &Path) -> Result<Option<Measured>> {
    let Some(mut system) = System::start(&bench.binaries, kind, folder, None)? else {
        return Ok(None);
    };
    let mut capture = Capture::open(path, now_ms())?;
    let mut writer = Writer::new(system.http);
    for body in 0..bench.scale.capture_bodies {
        let Some(scraped) = capture.scrape().with_context(|| format!("body={body}"))? else {
            break;
        };
        writer.write(scraped.samples.iter().map(|(labels, sample)| (labels.as_ref(), sample)))?;
    }
    thread::sleep(bench.scale.settle);
    system.write_blocks()?;
    let stored_bytes = system.stored_bytes()?;
    ensure!(writer.samples > 0 && stored_bytes > 0, "nothing is stored");
    Ok(Some(Measured { samples: writer.samples, stored_bytes }))
}
