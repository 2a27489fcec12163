//! `Scraper`: everything that is known of one target, and one scrape of it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pando_exposition::{Line, LineCache, ScrapeFormat};
use pando_model::{Labels, Metadata, SeriesKey};
use pando_runtime::SharedClock;
use pando_shipper::{Batch, ShipSample};
use parking_lot::Mutex;

use super::body::{Fetched, fetch};
use super::limits::ScrapeError;
use super::metadata::KnownMetadata;
use super::report::{Outcome, Report};
use super::series::{Counts, LineValue, Moment, SeriesTable, stale};
use super::settings::ScrapeSettings;
use crate::metrics::AgentMetrics;
use crate::outbox::Outbox;
use crate::target::Target;

/// Samples of one batch: a scrape that is larger is shipped in parts, so that its write blocks stay small.
const SAMPLES_PER_BATCH_MAX: usize = 100_000;
/// Bytes of labels of one batch, before they are compressed: well below what a write block can carry.
const LABEL_BYTES_PER_BATCH_MAX: usize = 12 << 20;

/// What the API shows of a target's last scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetStatus {
    /// When it began, ms; `None`: never.
    pub(crate) scraped_ms: Option<i64>,
    /// How long it took.
    pub(crate) duration: Duration,
    /// Why it failed; empty: it did not.
    pub(crate) error: String,
    /// Metric families whose metadata is remembered, and their bytes.
    pub(crate) metadata: (usize, usize),
}

/// What the scrapes of all targets use.
#[derive(Clone)]
pub(crate) struct ScrapeContext {
    pub(crate) clock: SharedClock,
    pub(crate) outbox: Outbox,
    pub(crate) metrics: AgentMetrics,
}

/// One target and its state.
pub(crate) struct Scraper {
    target: Arc<Target>,
    /// The settings of the pool, which a reload of the configuration changes.
    current: Arc<ArcSwap<ScrapeSettings>>,
    /// Those that the caches below were filled under.
    settings: Arc<ScrapeSettings>,
    context: ScrapeContext,
    status: Arc<Mutex<TargetStatus>>,
    cache: LineCache,
    series: SeriesTable,
    /// Series that were alive when the settings changed: those that the next scrape does not have go stale.
    inherited: Vec<(Labels, SeriesKey)>,
    metadata: KnownMetadata,
    metadata_is_full: bool,
    metadata_size: (usize, usize),
    report: Report,
    scraped_before: Option<i64>,
}

impl Scraper {
    /// A target that was never scraped.
    pub(crate) fn new(
        target: Arc<Target>,
        current: Arc<ArcSwap<ScrapeSettings>>,
        context: ScrapeContext,
        status: Arc<Mutex<TargetStatus>>,
    ) -> Self {
        let settings = current.load_full();
        let cache = LineCache::new(settings.cache_options());
        let report = Report::new(&target.public_labels, &settings);
        Scraper {
            target,
            current,
            settings,
            context,
            status,
            cache,
            series: SeriesTable::default(),
            inherited: Vec::new(),
            metadata: KnownMetadata::default(),
            metadata_is_full: false,
            metadata_size: (0, 0),
            report,
            scraped_before: None,
        }
    }

    /// The target.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Whether there is anything that could go stale.
    pub(crate) fn has_scraped(&self) -> bool {
        self.scraped_before.is_some()
    }

    /// Makes the HTTP client, which reads the system's authorities: that is not to count as the first scrape's time.
    pub(crate) async fn warm_up(&self) {
        self.settings.client.warm_up().await;
    }

    /// Scrapes once; the samples bear the time `at_ms`.
    pub(crate) async fn scrape(&mut self, at_ms: i64) {
        self.adopt_settings();
        let begin = self.context.clock.monotonic();
        let now_ms = self.context.clock.now_ms();
        if let Some(before_ms) = self.scraped_before.replace(now_ms) {
            self.context.metrics.interval(self.target.interval_ms, now_ms - before_ms);
        }
        let forced = self.settings.forced_error.lock().clone();
        let fetched = match forced {
            Some(why) => Err(ScrapeError::Forced(why.to_string())),
            None => fetch(&self.settings, &self.target).await,
        };
        let body_bytes = match &fetched {
            Ok(fetched) => fetched.body.len() as i64,
            Err(ScrapeError::BodySize) => -1,
            Err(_) => 0,
        };
        let mut samples = Vec::with_capacity(self.series.len() + 8);
        let moment = Moment { at_ms, now_ms };
        let (counts, result) = match fetched {
            Ok(fetched) => self.take_in(&fetched, moment, &mut samples),
            Err(error) => (Counts::default(), Err(error)),
        };
        if result.is_err() {
            samples.clear();
            self.series.push_stale(self.cache.fail().vanished, at_ms, &mut samples);
        }
        self.end_inherited(result.is_ok(), at_ms, &mut samples);
        self.metadata.finish(now_ms, result.is_ok());
        let duration = self.context.clock.monotonic().saturating_sub(begin);
        let outcome = Outcome {
            up: result.is_ok(),
            duration_s: duration.as_secs_f64(),
            counts,
            body_bytes,
            timeout_s: self.target.timeout_ms as f64 / 1_000.0,
            sample_limit: self.settings.config.limits.samples,
        };
        self.report.push(&outcome, at_ms, &mut samples);
        self.context.metrics.scraped(&counts, result.as_ref().err());
        let error = result.err().map(|error| {
            tracing::debug!(url = self.target.shown_url, kind = ?error.kind(), %error, "scrape failed");
            error.to_string()
        });
        self.ship(samples);
        *self.status.lock() = TargetStatus {
            scraped_ms: Some(now_ms),
            duration,
            error: error.unwrap_or_default(),
            metadata: self.metadata_size,
        };
    }

    /// Ends all series of the target at `at_ms`: it is gone.
    pub(crate) fn end(&mut self, at_ms: i64) {
        let mut samples = Vec::new();
        self.series.push_stale(self.cache.fail().vanished, at_ms, &mut samples);
        self.end_inherited(false, at_ms, &mut samples);
        self.report.push_stale(at_ms, &mut samples);
        self.ship(samples);
    }

    /// Goes on under the settings that the pool has now. What was learned of lines and series under others means
    /// nothing under these, but the series that were alive are remembered, so that those which the new rules drop
    /// or rename go stale.
    fn adopt_settings(&mut self) {
        let current = self.current.load_full();
        if Arc::ptr_eq(&current, &self.settings) {
            return;
        }
        let alive = self.cache.fail().vanished;
        self.inherited.extend(self.series.named(alive));
        let report = Report::new(&self.target.public_labels, &current);
        if self.scraped_before.is_some() {
            self.inherited.extend(self.report.series_that_lacks(&report));
        }
        self.report = report;
        self.cache = LineCache::new(current.cache_options());
        self.series = SeriesTable::default();
        self.settings = current;
    }

    /// Writes stale markers for the series from before the settings changed that a scrape does not have.
    fn end_inherited(&mut self, is_ok: bool, at_ms: i64, samples: &mut Vec<ShipSample>) {
        for (labels, key) in std::mem::take(&mut self.inherited) {
            if !is_ok || !self.series.is_in_this_scrape(&labels) {
                samples.push(stale(&labels, key, at_ms));
            }
        }
    }

    fn take_in(
        &mut self,
        fetched: &Fetched,
        moment: Moment,
        samples: &mut Vec<ShipSample>,
    ) -> (Counts, Result<(), ScrapeError>) {
        let format = ScrapeFormat::from_content_type(&fetched.content_type, self.settings.fallback);
        match format {
            Ok(format) => self.read(format, &fetched.body, moment, samples),
            // An empty body needs no format.
            Err(_) if fetched.body.is_empty() => {
                self.read(ScrapeFormat::Text, &[], moment, samples)
            }
            Err(error) => (Counts::default(), Err(error.into())),
        }
    }

    fn read(
        &mut self,
        format: ScrapeFormat,
        body: &[u8],
        moment: Moment,
        samples: &mut Vec<ShipSample>,
    ) -> (Counts, Result<(), ScrapeError>) {
        let (settings, series) = (&self.settings, &mut self.series);
        let honor = settings.config.honor_timestamps;
        let mut counts = Counts::default();
        series.begin();
        let mut scrape = self.cache.begin(format, body);
        if self.metadata.begin(moment.now_ms) {
            scrape = scrape.with_all_metadata();
        }
        let failure = loop {
            match scrape.next() {
                None => break None,
                Some(Err(error)) => break Some(error.into()),
                Some(Ok(Line::Meta(event))) => self.metadata.note(&event),
                Some(Ok(Line::Known(known))) => {
                    let line = LineValue {
                        value: known.value,
                        timestamp_ms: known.timestamp_ms,
                        start_ms: known.start_ms,
                        exemplar: known.exemplar,
                    };
                    series.push(known.slot, line, honor, moment, &mut counts, samples);
                }
                Some(Ok(Line::New(sample))) => {
                    let public = &self.target.public_labels;
                    let slot = match series.resolve(&sample, public, settings) {
                        Ok(slot) => slot,
                        Err(error) => break Some(error),
                    };
                    let Some(slot) = slot else {
                        scrape.drop_series();
                        continue;
                    };
                    scrape.assign(slot);
                    let line = LineValue {
                        value: sample.value,
                        timestamp_ms: sample.timestamp_ms,
                        start_ms: sample.start_ms,
                        exemplar: sample.exemplar,
                    };
                    series.push(slot, line, honor, moment, &mut counts, samples);
                }
            }
        };
        counts.scraped = scrape.samples();
        let limit = settings.config.limits.samples;
        let over = (limit > 0 && samples.len() as u64 > limit).then_some(ScrapeError::SampleLimit);
        if let Some(error) = failure.or(over) {
            return (counts, Err(error));
        }
        let outcome = scrape.finish();
        counts.added = series.added(outcome.appeared.len());
        series.push_stale(outcome.vanished, moment.at_ms, samples);
        series.release(outcome.released);
        (counts, Ok(()))
    }

    fn ship(&mut self, mut samples: Vec<ShipSample>) {
        let mut metadata = self.take_metadata();
        let tenant = &self.settings.tenant;
        loop {
            let rest = samples.split_off(batch_len(&samples));
            let metadata = std::mem::take(&mut metadata);
            self.context.outbox.push(Batch { tenant: tenant.clone(), samples, metadata });
            if rest.is_empty() {
                return;
            }
            samples = rest;
        }
    }

    /// The metadata that has to be shipped. Takes note of how much there is.
    fn take_metadata(&mut self) -> Vec<(String, Metadata)> {
        let left_out = self.metadata.take_left_out();
        self.context.metrics.metadata_left_out.inc_by(left_out);
        if left_out > 0 && !std::mem::replace(&mut self.metadata_is_full, true) {
            let target = &self.target.shown_url;
            tracing::warn!(
                url = target,
                "target has too many metric families: metadata is left out"
            );
        }
        let news = self.metadata.take_news();
        if !news.is_empty() {
            self.metadata_size = self.metadata.size();
        }
        news
    }
}

/// How many of `samples` make the next batch.
fn batch_len(samples: &[ShipSample]) -> usize {
    let mut bytes = 0;
    let mut fits = |sample: &ShipSample| {
        bytes += sample.labels.heap_bytes();
        bytes <= LABEL_BYTES_PER_BATCH_MAX
    };
    let first = samples.iter().take(SAMPLES_PER_BATCH_MAX).take_while(|s| fits(s)).count();
    first.max(1).min(samples.len())
}
