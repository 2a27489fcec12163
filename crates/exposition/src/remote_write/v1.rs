//! `prometheus.WriteRequest`:
//!
//! ```text
//! WriteRequest   1 TimeSeries*  3 MetricMetadata*
//! TimeSeries     1 Label*  2 Sample*  3 Exemplar*  4 Histogram*
//! Label          1 name  2 value
//! Sample         1 double value  2 int64 timestamp
//! Exemplar       1 Label*  2 double value  3 int64 timestamp
//! MetricMetadata 1 enum type  2 family  4 help  5 unit
//! ```

use pando_model::{Exemplar, Labels, MetricType};

use super::body::{Limits, Version};
use super::error::{RemoteWriteError, SeriesProblem};
use super::histogram;
use super::request::{FamilyMetadata, FloatSample, MetadataRef, SeriesRecord, WriteRequest};
use super::wire::{Budget, Reader};

type Result<T> = std::result::Result<T, RemoteWriteError>;

pub(super) fn decode(bytes: &[u8], limits: Limits) -> Result<WriteRequest<'_>> {
    let mut request = WriteRequest::new(Version::V1);
    // A label and its messages take some 24 bytes on the wire and 32 in memory.
    request.labels.reserve(bytes.len() / 24);
    let mut budget = Budget::new(limits);
    let mut reader = Reader::new(bytes, "WriteRequest");
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => {
                budget.take()?;
                time_series(reader.inner(field, "TimeSeries")?, &mut request, &mut budget)?;
            }
            3 => {
                budget.take()?;
                let metadata = family_metadata(reader.inner(field, "MetricMetadata")?)?;
                request.metadata.extend(metadata);
            }
            _ => {}
        }
    }
    Ok(request)
}

fn time_series<'a>(
    mut reader: Reader<'a>,
    request: &mut WriteRequest<'a>,
    budget: &mut Budget,
) -> Result<()> {
    let from = request.lengths();
    let mut problem = None;
    while let Some((number, field)) = reader.next()? {
        if !(1..=4).contains(&number) {
            continue;
        }
        budget.take()?;
        match number {
            1 => match label(reader.inner(field, "Label")?)? {
                Ok(pair) => request.labels.push(pair),
                Err(e) => problem = Some(Box::new(e)),
            },
            2 => request.samples.push(sample(reader.inner(field, "Sample")?)?),
            3 => {
                let exemplar = exemplar(reader.inner(field, "Exemplar")?, budget)?;
                request.exemplars.push(exemplar);
            }
            _ => {
                let reader = reader.inner(field, "Histogram")?;
                request.histograms.push(histogram::decode(reader, budget)?);
            }
        }
    }
    let to = request.lengths();
    request.series.push(SeriesRecord { from, to, metadata: None, problem });
    Ok(())
}

type Checked<T> = std::result::Result<T, SeriesProblem>;

#[inline]
fn label(reader: Reader<'_>) -> Result<Checked<(&str, &str)>> {
    match short_label(reader.bytes()) {
        Some(pair) => Ok(Ok(pair)),
        None => any_label(reader),
    }
}

/// A label as every sender writes it: the name, then the value, both shorter than 128 bytes. Tag and length
/// between them are ASCII then, so that one look finds both to be UTF-8.
#[inline]
fn short_label(bytes: &[u8]) -> Option<(&str, &str)> {
    let (name_len, value_at) = match bytes {
        [0x0a, len @ 0..=0x7f, ..] => (usize::from(*len), usize::from(*len) + 4),
        _ => return None,
    };
    let [0x12, value_len @ 0..=0x7f] = bytes.get(2 + name_len..value_at)? else { return None };
    if bytes.len() != value_at + usize::from(*value_len) {
        return None;
    }
    let text = std::str::from_utf8(&bytes[2..]).ok()?;
    Some((text.get(..name_len)?, text.get(name_len + 2..)?))
}

fn any_label(mut reader: Reader<'_>) -> Result<Checked<(&str, &str)>> {
    let (mut name, mut value): (&[u8], &[u8]) = (b"", b"");
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => name = reader.inner(field, "Label.name")?.bytes(),
            2 => value = reader.inner(field, "Label.value")?.bytes(),
            _ => {}
        }
    }
    Ok(text(name).and_then(|name| Ok((name, text(value)?))))
}

/// A string, which Prometheus checks per series: one bad label does not fail a request.
pub(super) fn text(bytes: &[u8]) -> Checked<&str> {
    std::str::from_utf8(bytes).map_err(|_| SeriesProblem::NotUtf8 {
        text: String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into_owned(),
    })
}

#[inline]
pub(super) fn sample(mut reader: Reader<'_>) -> Result<FloatSample> {
    let mut sample = FloatSample { timestamp_ms: 0, start_ms: 0, value: 0.0 };
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => sample.value = reader.double(field)?,
            2 => sample.timestamp_ms = reader.integer(field)? as i64,
            // 1.0 has no field 3; what a later version puts there can only be what 2.0 has.
            3 => sample.start_ms = reader.integer(field)? as i64,
            _ => {}
        }
    }
    Ok(sample)
}

fn exemplar(mut reader: Reader<'_>, budget: &mut Budget) -> Result<Checked<Exemplar>> {
    let (mut pairs, mut problem) = (Vec::new(), None);
    let (mut value, mut timestamp_ms) = (0.0, 0);
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => {
                budget.take()?;
                match label(reader.inner(field, "Label")?)? {
                    Ok(pair) => pairs.push(pair),
                    Err(e) => problem = Some(e),
                }
            }
            2 => value = reader.double(field)?,
            3 => timestamp_ms = reader.integer(field)? as i64,
            _ => {}
        }
    }
    Ok(match problem {
        Some(problem) => Err(problem),
        None => Ok(Exemplar { labels: Labels::from_pairs(pairs), value, timestamp_ms }),
    })
}

/// Metadata is for people; what is not UTF-8 is left out.
fn family_metadata(mut reader: Reader<'_>) -> Result<Option<FamilyMetadata<'_>>> {
    let mut metric_type = MetricType::Unknown;
    let (mut family, mut help, mut unit): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => metric_type = metric_type_of(reader.integer(field)?),
            2 => family = reader.inner(field, "MetricMetadata.family")?.bytes(),
            4 => help = reader.inner(field, "MetricMetadata.help")?.bytes(),
            5 => unit = reader.inner(field, "MetricMetadata.unit")?.bytes(),
            _ => {}
        }
    }
    let (Ok(family), Ok(help), Ok(unit)) = (text(family), text(help), text(unit)) else {
        return Ok(None);
    };
    Ok(Some(FamilyMetadata { family, metadata: MetadataRef { metric_type, unit, help } }))
}

/// Both versions number the types as we do.
pub(super) fn metric_type_of(number: u64) -> MetricType {
    u32::try_from(number).map(MetricType::from_number).unwrap_or_default()
}
