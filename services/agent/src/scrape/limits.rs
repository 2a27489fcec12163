//! Why a scrape fails as a whole, in Prometheus' words, and the limits that make it fail.

use pando_config::ScrapeLimits;
use pando_exposition::{ContentTypeError, LabelsProblem, ParseError};
use pando_model::labels::is_legacy_metric_name;
use pando_model::number::go_quote;
use pando_model::relabel::NameScheme;
use pando_model::{ErrorKind, Labels};

/// Labels of a series where no `label_limit` is set: what a write block can carry, with room to spare.
const LABELS_MAX: u64 = 1 << 10;
/// Bytes of a label's value where no `label_value_length_limit` is set. The codec takes 1 MiB.
const LABEL_BYTES_MAX: u64 = 1 << 19;

/// Why a scrape failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ScrapeError {
    /// The target cannot be asked.
    #[error("{0}")]
    Request(String),
    /// It took too long.
    #[error("Get {}: context deadline exceeded", go_quote(.url))]
    Timeout { url: String },
    /// It answered, but not with 200.
    #[error("server returned HTTP status {0}")]
    Status(String),
    /// The body ended early or is no gzip.
    #[error("body cannot be read: {0}")]
    Body(String),
    #[error("body size limit exceeded")]
    BodySize,
    #[error(transparent)]
    ContentType(#[from] ContentTypeError),
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error(transparent)]
    Labels(#[from] LabelsProblem),
    #[error("missing metric name (__name__ label)")]
    NoName,
    #[error("invalid metric name or label names: {0}")]
    BadName(Labels),
    #[error("sample limit exceeded")]
    SampleLimit,
    #[error("label_limit exceeded (metric: {metric}, number of labels: {found}, limit: {limit})")]
    LabelLimit { metric: String, found: u64, limit: u64 },
    #[error(
        "label_name_length_limit exceeded (metric: {metric}, label name: {name}, length: {found}, limit: {limit})"
    )]
    LabelNameLength { metric: String, name: String, found: u64, limit: u64 },
    #[error(
        "label_value_length_limit exceeded (metric: {metric}, label name: {name}, value: {value}, \
         length: {found}, limit: {limit})"
    )]
    LabelValueLength { metric: String, name: String, value: String, found: u64, limit: u64 },
    /// All targets of the scrape config fail.
    #[error("{0}")]
    Forced(String),
}

impl ScrapeError {
    /// What the error means.
    pub(crate) fn kind(&self) -> ErrorKind {
        use ScrapeError::{
            BodySize, LabelLimit, LabelNameLength, LabelValueLength, Request, SampleLimit, Timeout,
        };
        match self {
            Request(_) => ErrorKind::Unavailable,
            Timeout { .. } => ErrorKind::Timeout,
            BodySize | SampleLimit | LabelLimit { .. } => ErrorKind::LimitExceeded,
            LabelNameLength { .. } | LabelValueLength { .. } => ErrorKind::LimitExceeded,
            ScrapeError::Forced(_) => ErrorKind::LimitExceeded,
            _ => ErrorKind::Invalid,
        }
    }
}

/// Checks the labels of a series that is new, after relabelling.
pub(crate) fn check_labels(
    labels: &Labels,
    scheme: NameScheme,
    limits: &ScrapeLimits,
) -> Result<(), ScrapeError> {
    let name = labels.metric_name();
    if name.is_empty() {
        return Err(ScrapeError::NoName);
    }
    let legacy = scheme == NameScheme::Legacy;
    let mut names = labels.iter().map(|(name, _)| name);
    if (legacy && !is_legacy_metric_name(name)) || !names.all(|name| scheme.is_label_name(name)) {
        return Err(ScrapeError::BadName(labels.clone()));
    }
    let or = |limit: u64, otherwise: u64| if limit > 0 { limit } else { otherwise };
    let metric = || cut(name);
    let (found, limit) = (labels.len() as u64, or(limits.labels, LABELS_MAX));
    if found > limit {
        return Err(ScrapeError::LabelLimit { metric: metric(), found, limit });
    }
    let name_max = or(limits.label_name_bytes, LABEL_BYTES_MAX);
    let value_max = or(limits.label_value_bytes, LABEL_BYTES_MAX);
    for (label, value) in labels {
        if label.len() as u64 > name_max {
            let (metric, name) = (metric(), cut(label));
            let (found, limit) = (label.len() as u64, name_max);
            return Err(ScrapeError::LabelNameLength { metric, name, found, limit });
        }
        if value.len() as u64 > value_max {
            let (found, limit) = (value.len() as u64, value_max);
            let (metric, name, value) = (metric(), cut(label), go_quote(&cut(value)));
            return Err(ScrapeError::LabelValueLength { metric, name, value, found, limit });
        }
    }
    Ok(())
}

/// The first 50 characters.
fn cut(text: &str) -> String {
    text.chars().take(50).collect()
}
