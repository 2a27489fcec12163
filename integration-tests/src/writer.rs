//! A remote-write client that records what was acknowledged, and compares that with what queries answer.
//!
//! It knows remote write and the merge rule of equal times; it does not know how a cluster stores samples.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};
use pando_exposition::remote_write::{self, FloatSample, SeriesToWrite};
use pando_model::sample::float_merge_order;
use pando_model::{Exemplar, Labels, Metadata};
use serde_json::Value;

use crate::{eventually, http};

/// A sample of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The series.
    pub labels: Labels,
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The value.
    pub value: f64,
}

impl Written {
    /// A sample of the series `name{pairs}`.
    pub fn new(name: &str, pairs: &[(&str, &str)], timestamp_ms: i64, value: f64) -> Self {
        let name = [("__name__", name)];
        let labels = Labels::from_pairs(name.iter().chain(pairs).copied());
        Written { labels, timestamp_ms, value }
    }
}

/// What a write was answered with.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The HTTP status; 0 where no answer came.
    pub status: u16,
    /// The body; where no answer came, why.
    pub body: String,
    /// Samples that are stored, as a 2.0 answer says.
    pub samples_written: Option<u64>,
}

impl Outcome {
    /// Whether every sample was acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the sender would have to send again: nothing is known about the samples then.
    pub fn is_in_doubt(&self) -> bool {
        self.status == 0 || self.status >= 500
    }

    /// Whether the answer says that none of `samples` samples is stored.
    fn is_all_refused(&self, samples: usize, version: Version) -> bool {
        match (self.status, version) {
            (400, Version::V1) => samples == 1,
            (400, Version::V2) => self.samples_written.unwrap_or(0) == 0,
            (status, _) => (400..500).contains(&status),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    V1,
    V2,
}

/// A sender for one tenant at one receiver.
pub struct Writer {
    url: Mutex<String>,
    tenant: String,
    ledger: Mutex<Ledger>,
}

impl Writer {
    /// A sender to `base` (`http://host:port`) with an empty ledger.
    pub fn new(base: &str, tenant: &str) -> Self {
        Writer {
            url: Mutex::new(base.trim_end_matches('/').to_string()),
            tenant: tenant.to_string(),
            ledger: Mutex::default(),
        }
    }

    /// Sends to another receiver from now on.
    pub fn redirect(&self, base: &str) {
        *locked(&self.url) = base.trim_end_matches('/').to_string();
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// What was written so far.
    pub fn ledger(&self) -> Ledger {
        locked(&self.ledger).clone()
    }

    /// Sends `samples` as remote write 1.0 and records what becomes of them.
    pub async fn write_v1(&self, samples: &[Written]) -> Outcome {
        self.write(samples, Version::V1).await
    }

    /// Sends `samples` as remote write 2.0 and records what becomes of them.
    pub async fn write_v2(&self, samples: &[Written]) -> Outcome {
        self.write(samples, Version::V2).await
    }

    /// Sends `samples` again and again until they are acknowledged, as a Prometheus would.
    ///
    /// # Errors
    /// They are refused for good, or patience ends.
    pub async fn write_surely(&self, samples: &[Written]) -> Result<()> {
        let refused = eventually("the samples are acknowledged", || async {
            let outcome = self.write_v2(samples).await;
            match outcome.is_in_doubt() || outcome.status == 429 {
                true => bail!("status={} body={}", outcome.status, outcome.body),
                false => Ok(Some((!outcome.is_acknowledged()).then_some(outcome))),
            }
        })
        .await?;
        match refused {
            Some(outcome) => bail!("write is refused: {outcome:?}"),
            None => Ok(()),
        }
    }

    /// Says what a metric family is, as remote write 1.0.
    ///
    /// # Errors
    /// It is not acknowledged.
    pub async fn describe(&self, family: &str, metadata: &Metadata) -> Result<()> {
        let body = remote_write::encode_v1(&[], &[(family, metadata)])?;
        let outcome = self.send(body, Version::V1).await?;
        ensure!(outcome.is_acknowledged(), "metadata is refused: {outcome:?}");
        Ok(())
    }

    /// Sends an exemplar of `sample`'s series at its time and value, with the sample itself, as remote write 2.0.
    ///
    /// # Errors
    /// It is not acknowledged.
    pub async fn write_exemplar(&self, sample: &Written, labels: Labels) -> Result<()> {
        let Written { timestamp_ms, value, .. } = *sample;
        let series = SeriesToWrite {
            labels: &sample.labels,
            samples: &[FloatSample { timestamp_ms, value, start_ms: 0 }],
            histograms: &[],
            exemplars: &[Exemplar { labels, value, timestamp_ms }],
            metadata: None,
        };
        let outcome = self.send(remote_write::encode_v2(&[series])?, Version::V2).await?;
        ensure!(outcome.is_acknowledged(), "exemplar is refused: {outcome:?}");
        locked(&self.ledger).record(std::slice::from_ref(sample), Fate::Acknowledged);
        Ok(())
    }

    /// Sends whatever series can hold, as remote write 1.0; the ledger does not learn of it.
    ///
    /// # Errors
    /// It is not acknowledged.
    pub async fn write_series(&self, series: &[SeriesToWrite<'_>]) -> Result<()> {
        let outcome = self.send(remote_write::encode_v1(series, &[])?, Version::V1).await?;
        ensure!(outcome.is_acknowledged(), "series are refused: {outcome:?}");
        Ok(())
    }

    async fn write(&self, samples: &[Written], version: Version) -> Outcome {
        let outcome = self.post(samples, version).await.unwrap_or_else(|error| Outcome {
            status: 0,
            body: format!("{error:#}"),
            samples_written: None,
        });
        let fate = match &outcome {
            outcome if outcome.is_acknowledged() => Fate::Acknowledged,
            outcome if outcome.is_all_refused(samples.len(), version) => Fate::Refused,
            _ => Fate::Doubtful,
        };
        locked(&self.ledger).record(samples, fate);
        outcome
    }

    async fn post(&self, samples: &[Written], version: Version) -> Result<Outcome> {
        self.send(encode(samples, version)?, version).await
    }

    async fn send(&self, body: Vec<u8>, version: Version) -> Result<Outcome> {
        let content_type = match version {
            Version::V1 => remote_write::CONTENT_TYPE_V1,
            Version::V2 => remote_write::CONTENT_TYPE_V2,
        };
        let url = format!("{}/api/v1/write", locked(&self.url));
        let response = http::client()
            .post(url)
            .header("Content-Type", content_type)
            .header("Content-Encoding", remote_write::CONTENT_ENCODING)
            .header("X-Scope-OrgID", &self.tenant)
            .body(body)
            .send()
            .await?;
        let status = response.status().as_u16();
        let written = response.headers().get("x-prometheus-remote-write-samples-written");
        let samples_written = written.and_then(|v| v.to_str().ok()?.parse().ok());
        Ok(Outcome { status, body: response.text().await?, samples_written })
    }

    /// Asks `base` for every sample between the first and the last of the ledger whose series `selector` finds
    /// (all that this writer has written, and nothing of another), and compares.
    ///
    /// # Errors
    /// No answer, or one that is not what was acknowledged.
    pub async fn check(&self, base: &str, selector: &str) -> Result<()> {
        let ledger = self.ledger();
        let Some((first, last)) = ledger.bounds_ms() else { return Ok(()) };
        let answer = raw_samples(base, &self.tenant, selector, first, last).await?;
        ledger.check_against(&[answer])
    }
}

/// The samples of `selector` with `first_ms <= time <= last_ms`, as the `data` of a matrix.
///
/// # Errors
/// No answer, or an error of the API.
pub async fn raw_samples(
    base: &str,
    tenant: &str,
    selector: &str,
    first_ms: i64,
    last_ms: i64,
) -> Result<Value> {
    // A range selector is left-open.
    let query = format!("{selector}[{}ms]", last_ms - first_ms + 1);
    let time = format!("{}.{:03}", last_ms.div_euclid(1000), last_ms.rem_euclid(1000));
    let url = format!("{base}/api/v1/query");
    http::data_of(tenant, &url, &[("query", &query), ("time", &time)]).await
}

fn encode(samples: &[Written], version: Version) -> Result<Vec<u8>> {
    let mut series: BTreeMap<&Labels, Vec<FloatSample>> = BTreeMap::new();
    for sample in samples {
        series.entry(&sample.labels).or_default().push(FloatSample {
            timestamp_ms: sample.timestamp_ms,
            value: sample.value,
            start_ms: 0,
        });
    }
    let series: Vec<SeriesToWrite<'_>> = series
        .iter()
        .map(|(labels, samples)| SeriesToWrite {
            labels,
            samples,
            histograms: &[],
            exemplars: &[],
            metadata: None,
        })
        .collect();
    Ok(match version {
        Version::V1 => remote_write::encode_v1(&series, &[])?,
        Version::V2 => remote_write::encode_v2(&series)?,
    })
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Acknowledged,
    Refused,
    Doubtful,
}

/// What became of the values that were written for one (series, time).
#[derive(Clone, Debug, Default)]
struct Record {
    /// The acknowledged value; of several the one that the merge rule keeps.
    acknowledged: Option<f64>,
    /// Values that were sent without a clear answer: each may be stored or not.
    doubtful: Vec<f64>,
}

impl Record {
    /// Whether an answer may have `value`.
    fn allows(&self, value: f64) -> bool {
        let same =
            |other: f64| other.to_bits() == value.to_bits() || (other.is_nan() && value.is_nan());
        match self.acknowledged {
            Some(acknowledged) if same(acknowledged) => true,
            // A doubtful value that was stored in another generation wins where the merge rule says so.
            Some(acknowledged) => self
                .doubtful
                .iter()
                .any(|d| same(*d) && float_merge_order(*d, acknowledged).is_gt()),
            None => self.doubtful.iter().any(|d| same(*d)),
        }
    }
}

/// What was acknowledged, refused, or neither, by (series, time).
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    samples: BTreeMap<(Labels, i64), Record>,
}

impl Ledger {
    fn record(&mut self, samples: &[Written], fate: Fate) {
        for sample in samples {
            let key = (sample.labels.clone(), sample.timestamp_ms);
            let record = self.samples.entry(key).or_default();
            match fate {
                Fate::Acknowledged => {
                    let before = record.acknowledged.unwrap_or(sample.value);
                    let kept = match float_merge_order(before, sample.value).is_gt() {
                        true => before,
                        false => sample.value,
                    };
                    record.acknowledged = Some(kept);
                }
                Fate::Doubtful => record.doubtful.push(sample.value),
                Fate::Refused => {}
            }
        }
    }

    /// Takes up the records of another ledger, such as that of a second writer of the same series.
    pub fn absorb(&mut self, other: &Ledger) {
        for ((labels, timestamp_ms), record) in &other.samples {
            let sample =
                |value| [Written { labels: labels.clone(), timestamp_ms: *timestamp_ms, value }];
            if let Some(value) = record.acknowledged {
                self.record(&sample(value), Fate::Acknowledged);
            }
            record.doubtful.iter().for_each(|d| self.record(&sample(*d), Fate::Doubtful));
        }
    }

    /// The acknowledged samples, by series and time.
    pub fn acknowledged(&self) -> impl Iterator<Item = Written> + '_ {
        self.samples.iter().filter_map(|((labels, timestamp_ms), record)| {
            let value = record.acknowledged?;
            Some(Written { labels: labels.clone(), timestamp_ms: *timestamp_ms, value })
        })
    }

    /// How many samples were acknowledged; an equal one that was sent twice counts once.
    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged().count()
    }

    /// The times of the first and the last sample that was sent, ms.
    pub fn bounds_ms(&self) -> Option<(i64, i64)> {
        let times = || self.samples.keys().map(|(_, t)| *t);
        Some((times().min()?, times().max()?))
    }

    /// Fails where the matrices in `answers` (together every sample of every series of the ledger, raw) miss an
    /// acknowledged sample, have one twice or with another value, or have one that was refused or never sent.
    ///
    /// # Errors
    /// Names the first difference and how many there are.
    pub fn check_against(&self, answers: &[Value]) -> Result<()> {
        let mut found: BTreeMap<(Labels, i64), f64> = BTreeMap::new();
        for answer in answers {
            ensure!(answer["resultType"] == "matrix", "not a matrix: {}", answer["resultType"]);
            for series in answer["result"].as_array().context("a matrix has a result")? {
                let labels = labels_of(&series["metric"])?;
                for point in series["values"].as_array().into_iter().flatten() {
                    let (t, value) = point_of(point)?;
                    let twice = found.insert((labels.clone(), t), value);
                    ensure!(twice.is_none(), "sample comes twice: series={labels} t_ms={t}");
                }
            }
        }
        let mut faults = Vec::new();
        for (key @ (labels, t), value) in &found {
            match self.samples.get(key) {
                None => faults.push(format!("never sent: series={labels} t_ms={t} value={value}")),
                Some(record) if !record.allows(*value) => {
                    faults.push(format!(
                        "wrong or refused: series={labels} t_ms={t} value={value} {record:?}"
                    ));
                }
                Some(_) => {}
            }
        }
        for sample in self.acknowledged() {
            let key = (sample.labels, sample.timestamp_ms);
            if !found.contains_key(&key) {
                faults
                    .push(format!("lost: series={} t_ms={} value={}", key.0, key.1, sample.value));
            }
        }
        let (count, acknowledged) = (faults.len(), self.acknowledged_count());
        match faults.first() {
            None => Ok(()),
            Some(first) => {
                let lost = faults.iter().filter(|f| f.starts_with("lost")).count();
                bail!("{count} faults, {lost} lost, of {acknowledged} acknowledged; first: {first}")
            }
        }
    }
}

fn labels_of(metric: &Value) -> Result<Labels> {
    let pairs = metric.as_object().context("a series has labels")?;
    let pairs =
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
    Ok(Labels::from_pairs(pairs))
}

/// (time in ms, value) of a point of the API.
fn point_of(point: &Value) -> Result<(i64, f64)> {
    let time = point[0].as_f64().with_context(|| format!("not a point: {point}"))?;
    let text = point[1].as_str().with_context(|| format!("not a point: {point}"))?;
    let value = pando_model::number::parse_go_float(text);
    Ok(((time * 1000.0).round() as i64, value.with_context(|| format!("not a value: {text}"))?))
}
