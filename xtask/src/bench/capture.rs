//! `Capture`: real scrapes, to be written with the times that they were made at.
//!
//! The file holds lines `@@ <job> <unix ms>`, each followed by a body in Prometheus' text format. It stands
//! beside the repository and is compressed with xz, whose program reads it.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use pando_exposition::remote_write::FloatSample;
use pando_exposition::{Event, Parser, ScrapeFormat};
use pando_model::Labels;

/// The file, beside the repository.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/datasets/scrapes-5s.txt.xz");
/// Longer than the capture: what begins so long ago has ended.
const CAPTURE_MS_MAX: i64 = 2 * 3_600_000;
const DAY_MS: i64 = 24 * 3_600_000;
/// A body above this is none of the capture's.
const BODY_BYTES_MAX: usize = 16 << 20;

/// One scrape.
pub(crate) struct Scraped {
    pub(crate) samples: Vec<(Rc<Labels>, FloatSample)>,
}

/// Reads the capture, body by body.
pub(crate) struct Capture {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// Job and time of the body that comes next.
    next: Option<(String, i64)>,
    /// Added to every time: whole days back, where this machine's clock is before the capture.
    shift_ms: i64,
    series: HashMap<(String, Vec<u8>), Rc<Labels>>,
}

impl Capture {
    /// Where the capture is, if it is there.
    pub(crate) fn find() -> Option<PathBuf> {
        let path = Path::new(FILE);
        path.exists().then(|| path.to_path_buf())
    }

    /// Begins to read `path` on a machine whose time is `now_ms`.
    pub(crate) fn open(path: &Path, now_ms: i64) -> Result<Self> {
        let mut child = Command::new("xz")
            .args(["--decompress", "--stdout"])
            .arg(path)
            .stdout(Stdio::piped())
            .spawn()
            .context("xz is needed to read the capture")?;
        let mut lines = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let first = header(&line).context("the capture begins with no header")?;
        let ahead_ms = (first.1 + CAPTURE_MS_MAX - now_ms).max(0);
        let shift_ms = -(ahead_ms + DAY_MS - 1).div_euclid(DAY_MS) * DAY_MS;
        Ok(Capture { child, lines, next: Some(first), shift_ms, series: HashMap::new() })
    }

    /// The next scrape; `None` at the end.
    pub(crate) fn scrape(&mut self) -> Result<Option<Scraped>> {
        let Some((job, time_ms)) = self.next.take() else { return Ok(None) };
        let mut body = String::new();
        loop {
            let begun = body.len();
            if self.lines.read_line(&mut body)? == 0 {
                break;
            }
            if let Some(header) = header(&body[begun..]) {
                body.truncate(begun);
                self.next = Some(header);
                break;
            }
            if body.len() > BODY_BYTES_MAX {
                bail!("body too large: limit={BODY_BYTES_MAX}");
            }
        }
        let samples = self.parse(&job, time_ms, body.as_bytes())?;
        Ok(Some(Scraped { samples }))
    }

    fn parse(
        &mut self,
        job: &str,
        time_ms: i64,
        body: &[u8],
    ) -> Result<Vec<(Rc<Labels>, FloatSample)>> {
        let mut samples = Vec::new();
        let mut seen = HashSet::new();
        for event in Parser::new(ScrapeFormat::Text, body) {
            let Event::Sample(sample) = event? else { continue };
            let key = (job.to_string(), sample.series().to_vec());
            let labels = match self.series.get(&key) {
                Some(labels) => labels.clone(),
                None => {
                    let labels = Rc::new(with_target(&sample.labels()?, job));
                    self.series.insert(key, labels.clone());
                    labels
                }
            };
            if seen.insert(labels.clone()) {
                let timestamp_ms = sample.timestamp_ms.unwrap_or(time_ms) + self.shift_ms;
                let value = sample.value;
                samples.push((labels, FloatSample { timestamp_ms, start_ms: 0, value }));
            }
        }
        Ok(samples)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn header(line: &str) -> Option<(String, i64)> {
    let (job, time) = line.strip_prefix("@@ ")?.trim_end().split_once(' ')?;
    Some((job.to_string(), time.parse().ok()?))
}

/// The labels of a scraped series: the target's own come first, as in a scrape.
fn with_target(labels: &Labels, job: &str) -> Labels {
    let mut builder = labels.to_builder();
    for (name, value) in [("job", job), ("instance", &format!("{job}:80"))] {
        if let Some(exported) = labels.get(name) {
            builder.set(&format!("exported_{name}"), exported);
        }
        builder.set(name, value);
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_has_the_labels_of_its_target_and_its_time() {
        let Some(path) = Capture::find() else {
            println!("skipped: no {FILE}");
            return;
        };
        let mut capture = Capture::open(&path, i64::MAX / 2).expect("it opens");
        let first = capture.scrape().expect("it parses").expect("it has a body");
        assert!(first.samples.len() > 300, "{}", first.samples.len());
        let (labels, sample) = &first.samples[0];
        assert_eq!((labels.value("job"), labels.value("instance")), ("node", "node:80"));
        assert_eq!(sample.timestamp_ms, 1_795_332_015_000);
        let second = capture.scrape().expect("it parses").expect("it has two");
        assert_eq!(second.samples[0].0.value("job"), "prom");
    }

    #[test]
    fn a_clock_before_the_capture_moves_it_back_by_whole_days() {
        let Some(path) = Capture::find() else { return };
        let capture = Capture::open(&path, 1_795_332_015_000 - DAY_MS).expect("it opens");
        assert_eq!(capture.shift_ms, -2 * DAY_MS);
    }
}
