//! `load_with_nhcb`: what the classic histograms of a load are as native ones with custom buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};
use pando_model::number::parse_go_float;
use pando_model::{Histogram, Labels, METRIC_NAME, SampleValue};

use super::points::{Point, SeriesLine};

/// One classic histogram at one time: cumulative buckets (upper bound, count), count and sum.
#[derive(Clone, Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// What a series is of a classic histogram.
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

/// The native histograms of all classic ones in `series`, under their names without suffix.
pub(super) fn converted(series: &[SeriesLine]) -> Result<Vec<SeriesLine>, String> {
    let mut found: BTreeMap<Labels, Vec<Option<Classic>>> = BTreeMap::new();
    for SeriesLine { labels, points, .. } in series {
        let Some((labels, part)) = part(labels) else { continue };
        let all = found.entry(labels).or_default();
        all.resize(all.len().max(points.len()), None);
        for (classic, point) in all.iter_mut().zip(points) {
            let Some(SampleValue::Float(value)) = point else { continue };
            let classic = classic.get_or_insert_default();
            match part {
                Part::Bucket(le) => classic.buckets.push((le, *value)),
                Part::Count => classic.count = Some(*value),
                Part::Sum => classic.sum = *value,
            }
        }
    }
    let mut out = Vec::new();
    for (labels, all) in found {
        let native = all.into_iter().map(|classic| classic.map(native).transpose());
        let points =
            native.collect::<Result<Vec<Point>, _>>().map_err(|e| format!("{e}: {labels}"))?;
        out.push(SeriesLine { labels, points, hints: false, starts: Vec::new() });
    }
    Ok(out)
}

/// The labels of the histogram that a series is a part of, and which part.
fn part(labels: &Labels) -> Option<(Labels, Part)> {
    let name = labels.metric_name();
    let (base, part) = if let Some(base) = name.strip_suffix("_bucket") {
        (base, Part::Bucket(parse_go_float(labels.value("le")).filter(|le| !le.is_nan())?))
    } else if let Some(base) = name.strip_suffix("_count") {
        (base, Part::Count)
    } else {
        (name.strip_suffix("_sum")?, Part::Sum)
    };
    let mut builder = labels.to_builder();
    builder.set(METRIC_NAME, base);
    builder.del("le");
    Some((builder.build(), part))
}

fn native(classic: Classic) -> Result<SampleValue, &'static str> {
    let Classic { mut buckets, count, sum } = classic;
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets.dedup_by_key(|(le, _)| *le);
    let highest = buckets.last().map(|(_, count)| *count);
    let count = count.or(highest).ok_or("a classic histogram has neither buckets nor count")?;
    if buckets.last().is_none_or(|(le, _)| *le != f64::INFINITY) {
        buckets.push((f64::INFINITY, count));
    }
    let (mut counts, mut below) = (Vec::new(), 0.0);
    for (_, cumulative) in &buckets {
        if *cumulative < below {
            return Err("classic buckets are not cumulative");
        }
        counts.push(cumulative - below);
        below = *cumulative;
    }
    if below != count {
        return Err("a classic histogram's count is not that of its last bucket");
    }
    buckets.pop();
    Ok(SampleValue::Histogram(Arc::new(Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count,
        sum,
        positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
        positive_buckets: counts,
        custom_values: buckets.into_iter().map(|(le, _)| le).collect(),
        ..Histogram::default()
    })))
}
