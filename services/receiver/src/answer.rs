//! `Answer`: what a sender is told. Pure.
//!
//! Prometheus' senders drop a request that is answered with 4xx (429 excepted) and repeat one that
//! is answered with 5xx. So what time heals outranks what is wrong for good: a request with both is
//! answered with 503 first, and with 400 when nothing but its own faults is left.
//!
//! | status | meaning |
//! |---|---|
//! | 204 | everything is stored |
//! | 400 | something was refused for good, or the request cannot be read; the rest is stored |
//! | 415 | a message or an encoding that is not known |
//! | 429 | the tenant's own limit of samples a second |
//! | 503 | time heals it |

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pando_exposition::remote_write::{RemoteWriteError, Version};
use pando_model::ErrorKind;
use pando_shipper::{Receipt, ShipError};

use crate::intake::Problems;

const SAMPLES_WRITTEN: &str = "x-prometheus-remote-write-samples-written";
const HISTOGRAMS_WRITTEN: &str = "x-prometheus-remote-write-histograms-written";
const EXEMPLARS_WRITTEN: &str = "x-prometheus-remote-write-exemplars-written";

/// What a 2.0 sender is told to be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) samples: u64,
    pub(crate) histograms: u64,
    pub(crate) exemplars: u64,
}

impl Written {
    /// What shards say that they have.
    fn of(receipt: &Receipt) -> Self {
        Written {
            samples: receipt.accepted.saturating_sub(receipt.histograms),
            histograms: receipt.histograms,
            exemplars: receipt.exemplars,
        }
    }
}

/// What a sender is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Empty for 204.
    pub(crate) text: String,
    /// What is stored; said to senders of 2.0 only.
    pub(crate) written: Option<Written>,
    pub(crate) retry_after: Option<Duration>,
}

impl Answer {
    fn new(status: StatusCode, text: String) -> Self {
        Answer { status, text, written: None, retry_after: None }
    }

    /// The answer to a request of which nothing was stored, for an error of `kind`.
    pub(crate) fn refused(kind: ErrorKind, text: impl ToString) -> Self {
        let status = match kind {
            // The table's 422 is for queries; a sender has to see that it is the request's fault.
            ErrorKind::LimitExceeded => StatusCode::BAD_REQUEST,
            kind => StatusCode::from_u16(kind.surface().http)
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        };
        Answer::new(status, text.to_string())
    }

    /// The answer to a request that cannot be read.
    pub(crate) fn unreadable(error: &RemoteWriteError) -> Self {
        match error {
            RemoteWriteError::UnsupportedMediaType(_) => {
                Answer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string())
            }
            error => Answer::refused(error.kind(), error),
        }
    }

    /// The answer to a tenant above its rate.
    pub(crate) fn too_fast(samples_per_s_max: u64, retry_after: Duration) -> Self {
        let text = format!(
            "tenant sends too fast: limit=samples_per_s_max samples_per_s_max={samples_per_s_max}"
        );
        let retry_after = Some(retry_after);
        Answer { retry_after, ..Answer::refused(ErrorKind::RateLimited, text) }
    }

    /// The answer to a request that was read and shipped.
    pub(crate) fn shipped(problems: &Problems, shipped: Result<Receipt, ShipError>) -> Self {
        let receipt = match shipped {
            Ok(receipt) => receipt,
            Err(error) => {
                let (error, judged) = error.apart();
                let refused = Answer::refused(error.kind(), error);
                return Answer { written: Some(Written::of(&judged)), ..refused };
            }
        };
        let written = Some(Written::of(&receipt));
        let text = faults(problems, &receipt);
        let status = match text.is_empty() {
            true => StatusCode::NO_CONTENT,
            false => StatusCode::BAD_REQUEST,
        };
        Answer { written, ..Answer::new(status, text) }
    }

    /// The answer for a sender of `version`.
    pub(crate) fn for_version(mut self, version: Version) -> Self {
        if version == Version::V1 {
            self.written = None;
        }
        self
    }
}

/// All that is wrong for good, one line each.
fn faults(problems: &Problems, receipt: &Receipt) -> String {
    let mut lines = problems.texts.clone();
    let more = problems.count.saturating_sub(problems.texts.len() as u64);
    if more > 0 {
        lines.push(format!("and {more} more of this kind"));
    }
    if receipt.refused_total() > 0 {
        lines.extend(receipt.messages.iter().cloned());
        let reasons = receipt.refused.iter().filter(|(_, samples)| **samples > 0);
        let reasons: Vec<String> =
            reasons.map(|(reason, samples)| format!("{reason}={samples}")).collect();
        lines.push(format!("samples refused: {}", reasons.join(" ")));
    }
    lines.join("\n")
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(written) = self.written {
            let mut put = |name: &'static str, count: u64| {
                headers.insert(HeaderName::from_static(name), HeaderValue::from(count));
            };
            put(SAMPLES_WRITTEN, written.samples);
            put(HISTOGRAMS_WRITTEN, written.histograms);
            put(EXEMPLARS_WRITTEN, written.exemplars);
        }
        if let Some(retry_after) = self.retry_after {
            let seconds = retry_after.as_millis().div_ceil(1_000).max(1) as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.text.is_empty() {
            return (self.status, headers).into_response();
        }
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, plain);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        (self.status, headers, self.text + "\n").into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_said_of_each_kind_whatever_else_went_wrong() {
        let judged = Receipt {
            accepted: 5,
            histograms: 2,
            exemplars: 1,
            refused: [("too_old".to_string(), 3)].into(),
            ..Receipt::default()
        };
        let written = Some(Written { samples: 3, histograms: 2, exemplars: 1 });
        let answer = Answer::shipped(&Problems::default(), Ok(judged.clone()));
        assert_eq!((answer.status, answer.written), (StatusCode::BAD_REQUEST, written));
        let error = ShipError::Unavailable("no leader".into()).beside(judged);
        let answer = Answer::shipped(&Problems::default(), Err(error));
        assert_eq!((answer.status, answer.written), (StatusCode::SERVICE_UNAVAILABLE, written));
        assert_eq!(answer.text, "no leader");
    }

    #[test]
    fn every_problem_is_named_or_counted() {
        let problems = Problems { texts: vec!["one".into(), "two".into()], count: 5 };
        let receipt = Receipt {
            accepted: 1,
            refused: [("too_old".to_string(), 3), ("moved".to_string(), 0)].into(),
            messages: vec!["sample is too old".into()],
            ..Receipt::default()
        };
        let answer = Answer::shipped(&problems, Ok(receipt));
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(
            answer.text,
            "one\ntwo\nand 3 more of this kind\nsample is too old\nsamples refused: too_old=3"
        );
    }

    #[test]
    fn what_time_heals_outranks_what_is_wrong_for_good() {
        let problems = Problems { texts: vec!["bad labels".into()], count: 1 };
        let shipped = Err(ShipError::Unavailable("no leader".into()));
        let answer = Answer::shipped(&problems, shipped);
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.written, Some(Written::default()));
    }
}
