//! Prometheus' envelope of a success:
//! `{"status":"success","data":...,"warnings":[...],"infos":[...]}`.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, stream};
use http::{HeaderValue, header};
use tokio::sync::mpsc;

use crate::json::JsonWriter;

/// Warnings and infos that are shown, of each kind; more are counted.
const ANNOTATIONS_MAX: usize = 10;
/// Chunks that wait for a slow reader.
const CHUNKS_MAX: usize = 4;
/// Of results with more points the text is never in memory as a whole.
const STREAMED_POINTS: usize = 16 << 10;

/// Warning of an answer that `limit` has cut.
pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// What is said beside the data.
#[derive(Clone, Debug, Default)]
pub(super) struct Remarks {
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
}

/// A success with the data that `data` writes.
pub(super) fn success(remarks: &Remarks, data: impl FnOnce(&mut JsonWriter)) -> Response {
    let mut json = JsonWriter::new();
    envelope(&mut json, remarks, data);
    json_response(Body::from(json.finish()))
}

/// A success whose data has `points` points.
pub(super) fn success_of(
    points: usize,
    remarks: Remarks,
    data: impl FnOnce(&mut JsonWriter) + Send + 'static,
) -> Response {
    if points <= STREAMED_POINTS {
        return success(&remarks, data);
    }
    let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
    // Its end is the reader's: when that is gone, the writer is told and stops.
    tokio::task::spawn_blocking(move || {
        let mut json = JsonWriter::to_chunks(sender);
        envelope(&mut json, &remarks, data);
        json.finish();
    });
    let chunks = stream::unfold(chunks, |mut chunks| async move {
        let chunk = chunks.recv().await?;
        Some((Ok::<_, Infallible>(chunk), chunks))
    });
    // Compression asks once more after the end.
    json_response(Body::from_stream(chunks.fuse()))
}

fn json_response(body: Body) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

fn envelope(json: &mut JsonWriter, remarks: &Remarks, data: impl FnOnce(&mut JsonWriter)) {
    json.object(|json| {
        json.field("status", "success");
        json.key("data");
        data(json);
        annotations(json, "warnings", "warning", &remarks.warnings);
        annotations(json, "infos", "info", &remarks.infos);
    });
}

fn annotations(json: &mut JsonWriter, field: &str, kind: &str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    let shown = texts.iter().take(ANNOTATIONS_MAX).cloned();
    let left = texts.len().saturating_sub(ANNOTATIONS_MAX);
    let more = (left > 0).then(|| format!("{left} more {kind} annotations omitted"));
    json.strings(field, shown.chain(more));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enveloped(remarks: &Remarks) -> String {
        let mut json = JsonWriter::new();
        envelope(&mut json, remarks, |json| json.array(|_| {}));
        json.finish()
    }

    #[test]
    fn what_is_empty_is_left_out_and_what_is_too_much_is_counted() {
        assert_eq!(enveloped(&Remarks::default()), r#"{"status":"success","data":[]}"#);
        let remarks = Remarks {
            warnings: (0..12).map(|i| format!("w{i}")).collect(),
            infos: vec!["i".to_string()],
        };
        assert_eq!(
            enveloped(&remarks),
            concat!(
                r#"{"status":"success","data":[],"warnings":["w0","w1","w2","w3","w4","w5","w6","#,
                r#""w7","w8","w9","2 more warning annotations omitted"],"infos":["i"]}"#
            )
        );
    }
}
