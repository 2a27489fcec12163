//! `JsonWriter`: JSON as Prometheus' HTTP API writes it, byte by byte, appended to one buffer. It
//! writes what it is told and knows neither queries nor HTTP; commas are its own business.

use bytes::Bytes;
use pando_model::number::{push_api_float, push_api_time};
use pando_model::{Histogram, Labels, SampleValue};
use tokio::sync::mpsc;

use crate::buckets::buckets;

/// A chunk of a streamed text is sent when it has grown to this size.
const CHUNK_BYTES: usize = 64 << 10;

/// Writes JSON to a text, or to a stream of chunks. Calls have to nest as JSON does.
#[derive(Debug, Default)]
pub(crate) struct JsonWriter {
    out: String,
    /// Whether the next value stands behind another one of its array or object.
    comma: bool,
    /// Where full chunks go.
    chunks: Option<mpsc::Sender<Bytes>>,
}

impl JsonWriter {
    /// An empty text.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A writer that sends its text chunk by chunk and waits for a slow reader. Not for a thread
    /// that serves sockets.
    pub(crate) fn to_chunks(chunks: mpsc::Sender<Bytes>) -> Self {
        JsonWriter { chunks: Some(chunks), ..Self::default() }
    }

    /// The text, or the end of it where the rest is sent.
    pub(crate) fn finish(mut self) -> String {
        if self.chunks.is_some() {
            self.send();
        }
        self.out
    }

    /// Whether the reader of a streamed text is gone.
    pub(crate) fn is_unread(&self) -> bool {
        self.chunks.as_ref().is_some_and(mpsc::Sender::is_closed)
    }

    fn separate(&mut self) {
        if self.out.len() >= CHUNK_BYTES && self.chunks.is_some() {
            self.send();
        }
        if self.comma {
            self.out.push(',');
        }
        self.comma = true;
    }

    fn send(&mut self) {
        let chunk = Bytes::from(std::mem::take(&mut self.out));
        if let Some(chunks) = &self.chunks {
            // Nobody reads: `is_unread` tells the caller, and the chunk is dropped.
            let _ = chunks.blocking_send(chunk);
        }
    }

    /// `{`, what `inside` writes, `}`.
    pub(crate) fn object(&mut self, inside: impl FnOnce(&mut Self)) {
        self.nested('{', '}', inside);
    }

    /// `[`, what `inside` writes, `]`.
    pub(crate) fn array(&mut self, inside: impl FnOnce(&mut Self)) {
        self.nested('[', ']', inside);
    }

    fn nested(&mut self, open: char, close: char, inside: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push(open);
        self.comma = false;
        inside(self);
        self.out.push(close);
        self.comma = true;
    }

    /// A field's name; its value comes next.
    pub(crate) fn key(&mut self, name: &str) {
        self.string(name);
        self.out.push(':');
        self.comma = false;
    }

    /// A string.
    pub(crate) fn string(&mut self, text: &str) {
        self.separate();
        push_quoted(&mut self.out, text);
    }

    /// A whole number.
    pub(crate) fn int(&mut self, number: i64) {
        self.separate();
        self.out.push_str(&number.to_string());
    }

    /// A number that counts.
    pub(crate) fn count(&mut self, number: u64) {
        self.separate();
        self.out.push_str(&number.to_string());
    }

    /// A float as a JSON number; what JSON has no number for becomes 0, as in Prometheus'
    /// statistics.
    pub(crate) fn number(&mut self, v: f64) {
        self.separate();
        push_api_float(&mut self.out, if v.is_finite() { v } else { 0.0 });
    }

    /// `true` or `false`.
    pub(crate) fn bool(&mut self, v: bool) {
        self.raw(if v { "true" } else { "false" });
    }

    /// A value that is JSON already.
    pub(crate) fn raw(&mut self, json: &str) {
        self.separate();
        self.out.push_str(json);
    }

    /// A field with a string.
    pub(crate) fn field(&mut self, name: &str, text: &str) {
        self.key(name);
        self.string(text);
    }

    /// A field with an array of strings.
    pub(crate) fn strings<T: AsRef<str>>(
        &mut self,
        name: &str,
        texts: impl IntoIterator<Item = T>,
    ) {
        self.key(name);
        self.array(|json| texts.into_iter().for_each(|text| json.string(text.as_ref())));
    }

    /// A sample's float: a string.
    pub(crate) fn float(&mut self, v: f64) {
        self.separate();
        self.out.push('"');
        push_api_float(&mut self.out, v);
        self.out.push('"');
    }

    /// A time, ms: a number of seconds.
    pub(crate) fn time(&mut self, t_ms: i64) {
        self.separate();
        push_api_time(&mut self.out, t_ms);
    }

    /// A label set: an object.
    pub(crate) fn labels(&mut self, labels: &Labels) {
        self.object(|json| labels.iter().for_each(|(name, value)| json.field(name, value)));
    }

    /// `[time,"float"]`.
    pub(crate) fn float_point(&mut self, t_ms: i64, v: f64) {
        self.array(|json| {
            json.time(t_ms);
            json.float(v);
        });
    }

    /// `[time,{histogram}]`.
    pub(crate) fn histogram_point(&mut self, t_ms: i64, h: &Histogram) {
        self.array(|json| {
            json.time(t_ms);
            json.histogram(h);
        });
    }

    /// A field `value` or `histogram` with the point.
    pub(crate) fn sample(&mut self, t_ms: i64, value: &SampleValue) {
        match value {
            SampleValue::Float(v) => {
                self.key("value");
                self.float_point(t_ms, *v);
            }
            SampleValue::Histogram(h) => {
                self.key("histogram");
                self.histogram_point(t_ms, h);
            }
        }
    }

    /// A native histogram: count, sum, and the buckets that are not empty, from the lowest up.
    pub(crate) fn histogram(&mut self, h: &Histogram) {
        self.object(|json| {
            json.key("count");
            json.float(h.count);
            json.key("sum");
            json.float(h.sum);
            let mut buckets =
                buckets(h).into_iter().filter(|bucket| bucket.count != 0.0).peekable();
            if buckets.peek().is_none() {
                return;
            }
            json.key("buckets");
            json.array(|json| {
                for bucket in buckets {
                    json.array(|json| {
                        json.count(u64::from(bucket.rule));
                        json.float(bucket.lower);
                        json.float(bucket.upper);
                        json.float(bucket.count);
                    });
                }
            });
        });
    }
}

/// Appends `text` as a JSON string: quotes, backslashes and control characters are escaped, nothing
/// else is.
fn push_quoted(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "\\u00",
            _ => continue,
        };
        // Everything that is escaped is ASCII, so that both ends are boundaries of characters.
        out.push_str(&text[written..at]);
        out.push_str(escaped);
        if escaped == "\\u00" {
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
        written = at + 1;
    }
    out.push_str(&text[written..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pando_model::Span;

    use super::*;

    fn written(write: impl FnOnce(&mut JsonWriter)) -> String {
        let mut json = JsonWriter::new();
        write(&mut json);
        json.finish()
    }

    #[test]
    fn commas_stand_between_values_and_nowhere_else() {
        let text = written(|json| {
            json.object(|json| {
                json.strings("a", [] as [&str; 0]);
                json.strings("b", ["x", "y"]);
                json.key("c");
                json.object(|_| {});
                json.key("d");
                json.array(|json| {
                    json.int(-1);
                    json.bool(true);
                    json.raw("null");
                });
                json.key("e");
                json.number(0.25);
            });
        });
        assert_eq!(text, r#"{"a":[],"b":["x","y"],"c":{},"d":[-1,true,null],"e":0.25}"#);
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let cases = [
            ("plain é 界", "\"plain é 界\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
            ("\n\r\t", "\"\\n\\r\\t\""),
            ("\u{0}\u{1f}\u{7f}", "\"\\u0000\\u001f\u{7f}\""),
            ("<&>\u{2028}", "\"<&>\u{2028}\""),
        ];
        for (text, json) in cases {
            assert_eq!(written(|w| w.string(text)), json);
        }
    }

    #[test]
    fn floats_and_times_are_written_as_prometheus_does() {
        let floats = [
            (0.0, "\"0\""),
            (-0.0, "\"-0\""),
            (10.0, "\"10\""),
            (1.5e300, "\"1.5e+300\""),
            (1e21, "\"1e+21\""),
            (1e20, "\"100000000000000000000\""),
            (1e-6, "\"0.000001\""),
            (9e-7, "\"9e-07\""),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"+Inf\""),
            (f64::NEG_INFINITY, "\"-Inf\""),
        ];
        for (v, json) in floats {
            assert_eq!(written(|w| w.float(v)), json);
        }
        let times =
            [(0, "0"), (1_435_781_451_781, "1435781451.781"), (1_005, "1.005"), (-1, "-0.001")];
        for (t_ms, json) in times {
            assert_eq!(written(|w| w.time(t_ms)), json);
        }
    }

    #[tokio::test]
    async fn a_streamed_text_is_the_same_text() {
        let write = |json: &mut JsonWriter| {
            json.array(|json| (0..40_000).for_each(|i| json.float_point(i * 1000, i as f64)));
        };
        let whole = written(write);
        let (sender, mut chunks) = mpsc::channel(1);
        let writing = tokio::task::spawn_blocking(move || {
            let mut json = JsonWriter::to_chunks(sender);
            write(&mut json);
            json.finish()
        });
        let mut text = String::new();
        let mut count = 0;
        while let Some(chunk) = chunks.recv().await {
            text.push_str(std::str::from_utf8(&chunk).expect("whole characters"));
            count += 1;
        }
        assert_eq!(writing.await.expect("written"), "");
        assert_eq!(text, whole);
        assert!(count > 5, "chunks={count}");
    }

    #[test]
    fn samples_are_values_or_histograms() {
        let float = written(|w| w.object(|w| w.sample(1_000, &SampleValue::Float(1.0))));
        assert_eq!(float, r#"{"value":[1,"1"]}"#);
        let span = |offset, length| vec![Span { offset, length }];
        let histogram = Histogram {
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 10.0,
            sum: 3.5,
            positive_spans: span(0, 3),
            positive_buckets: vec![1.0, 0.0, 3.0],
            negative_spans: span(1, 2),
            negative_buckets: vec![1.0, 3.0],
            ..Histogram::default()
        };
        let value = SampleValue::Histogram(Arc::new(histogram));
        assert_eq!(
            written(|w| w.object(|w| w.sample(1_500, &value))),
            concat!(
                r#"{"histogram":[1.500,{"count":"10","sum":"3.5","buckets":["#,
                r#"[1,"-4","-2","3"],[1,"-2","-1","1"],[3,"-0.001","0.001","2"],"#,
                r#"[0,"0.5","1","1"],[0,"2","4","3"]]}]}"#
            )
        );
        let empty = SampleValue::Histogram(Arc::default());
        assert_eq!(
            written(|w| w.object(|w| w.sample(0, &empty))),
            r#"{"histogram":[0,{"count":"0","sum":"0"}]}"#
        );
    }
}
