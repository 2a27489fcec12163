//! The `_created` lines of one OpenMetrics family as start timestamps.
//!
//! The line stands anywhere among its family's samples, often after them, while a sample must know its
//! start when it is handed out. So a TYPE line of a counter, histogram or summary looks ahead through its
//! family once. Starts are found by a hash of the labels as they stand in the body, without `le` and
//! `quantile`, as Prometheus finds them; exporters write the labels of a family in one order.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use memchr::memchr;
use pando_model::MetricType;
use rapidhash::v3::rapidhash_v3;

use crate::format::ScrapeFormat;
use crate::lexer::Lexer;
use crate::parser::{Event, Parser};
use crate::sample::{Piece, walk};

/// What a `_created` line's name ends with.
const SUFFIX: &[u8] = b"_created";

/// A hash of labels that is its own hash.
#[derive(Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = rapidhash_v3(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

pub(crate) type HashKeyed<V> = HashMap<u64, V, BuildHasherDefault<Identity>>;

/// The start timestamps of the family that the parser is in.
#[derive(Clone, Debug, Default)]
pub(crate) struct CreatedIndex {
    family: Vec<u8>,
    metric_type: MetricType,
    starts_ms: HashKeyed<i64>,
    scratch: Vec<u8>,
}

impl CreatedIndex {
    /// Goes into `family`, whose TYPE line ends where `rest` begins.
    pub(crate) fn enter(&mut self, family: &[u8], metric_type: MetricType, rest: &[u8]) {
        self.starts_ms.clear();
        self.family.clear();
        self.family.extend_from_slice(family);
        self.metric_type = metric_type;
        if !has_start(metric_type) {
            return;
        }
        let (mut at, mut in_samples) = (0, false);
        while at < rest.len() {
            let end = memchr(b'\n', &rest[at..]).map_or(rest.len(), |n| at + n + 1);
            let line = &rest[at..end];
            match line.first() {
                // More metadata of this family may follow; after its samples it is the next one's.
                Some(b'#') if in_samples => return,
                Some(b'#') => {}
                _ => {
                    in_samples = true;
                    self.take(line);
                }
            }
            at = end;
        }
    }

    fn take(&mut self, line: &[u8]) {
        let name_end = line.iter().position(|b| matches!(b, b' ' | b'{')).unwrap_or(0);
        if name_end > 0 && !line[..name_end].ends_with(SUFFIX) {
            return;
        }
        // A fault in the line is reported when its turn comes; here it is only no start.
        let mut parser = Parser::new(ScrapeFormat::OpenMetrics, line);
        let Some(Ok(Event::Sample(sample))) = parser.next() else { return };
        let mut of_family = false;
        let name_of = |name: &[u8], family: &[u8]| name.strip_suffix(SUFFIX) == Some(family);
        walk(Lexer::new(ScrapeFormat::OpenMetrics, sample.series()), |piece| {
            if let Piece::MetricName(name) = piece {
                of_family = name_of(name, &self.family);
            }
        });
        if of_family {
            let key = self.labels_hash(sample.series());
            self.starts_ms.insert(key, seconds_to_ms(sample.value));
        }
    }

    /// The start of `series`. Costs a walk over its labels where its family has starts, otherwise nothing.
    pub(crate) fn start_ms(&mut self, series: &[u8]) -> Option<i64> {
        if self.starts_ms.is_empty() {
            return None;
        }
        let key = self.labels_hash(series);
        self.starts_ms.get(&key).copied()
    }

    fn labels_hash(&mut self, series: &[u8]) -> u64 {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let metric_type = self.metric_type;
        walk(Lexer::new(ScrapeFormat::OpenMetrics, series), |piece| {
            if let Piece::Label(name, value) = piece {
                let is_bound = match metric_type {
                    MetricType::Summary => name == b"quantile",
                    MetricType::Histogram => name == b"le",
                    _ => false,
                };
                if !is_bound {
                    scratch.extend_from_slice(name);
                    scratch.push(0xff);
                    scratch.extend_from_slice(value);
                    scratch.push(0xff);
                }
            }
        });
        let hash = rapidhash_v3(&scratch);
        self.scratch = scratch;
        hash
    }
}

/// Whether families of this type have `_created` lines.
pub(crate) fn has_start(metric_type: MetricType) -> bool {
    matches!(metric_type, MetricType::Counter | MetricType::Histogram | MetricType::Summary)
}

/// Whether the metric's name in `series` is that of a `_created` line, in a family that can have one.
pub(crate) fn has_created_name(series: &[u8]) -> bool {
    let mut created = false;
    walk(Lexer::new(ScrapeFormat::OpenMetrics, series), |piece| {
        if let Piece::MetricName(name) = piece {
            created = name.ends_with(SUFFIX);
        }
    });
    created
}

/// OpenMetrics writes seconds. What does not fit becomes the lowest number, as on the machines that
/// Prometheus runs on.
pub(crate) fn seconds_to_ms(seconds: f64) -> i64 {
    let ms = seconds * 1000.0;
    // The upper bound itself is 2^63, which is one too many.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&ms) {
        ms as i64
    } else {
        i64::MIN
    }
}
