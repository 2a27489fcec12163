//! Functions of histograms. Classic ones are vectors of buckets with a label `le`; of native ones only the
//! summaries are computed so far.

use pando_model::Labels;
use pando_model::number::{go_float, parse_go_float};

use super::math::check_quantile;
use super::{Args, Context, Value};
use crate::annotations::Note;
use crate::engine::labelset::LabelSetIndex;
use crate::engine::vector::{StepVector, join_same_labels};
use crate::error::QueryError;

/// Relative difference below which a falling bucket is a rounding error.
const SMALL_DELTA: f64 = 1e-12;

/// A classic histogram: its buckets as (upper bound, series), sorted by bound.
struct Classic {
    labels: Labels,
    drop_name: bool,
    buckets: Vec<(f64, StepVector)>,
}

/// `histogram_quantile(q, v)`.
pub(super) fn quantile(args: &mut Args, context: &mut Context<'_>) -> Result<Value, QueryError> {
    let (q, vector) = (args.scalar()?, args.vector()?);
    check_quantile(&q, 0, context);
    let classic = classic_histograms(vector, 1, context)?;
    let out = classic.iter().map(|c| evaluate(c, &q, 1, context)).collect();
    context.drop_names(out).map(Value::Vector)
}

/// `histogram_quantiles(v, label, q...)`.
pub(super) fn quantiles(args: &mut Args, context: &mut Context<'_>) -> Result<Value, QueryError> {
    let (vector, label) = (args.vector()?, args.text()?);
    let classic = classic_histograms(vector, 0, context)?;
    let (mut out, mut arg) = (Vec::new(), 2);
    while !args.is_empty() {
        let q = args.scalar()?;
        check_quantile(&q, arg, context);
        arg += 1;
        for one in &classic {
            let mut series = evaluate(one, &q, 0, context);
            let mut builder = series.labels.to_builder();
            builder.set(&label, &open_metrics_float(q.first().copied().unwrap_or(f64::NAN)));
            series.labels = builder.build();
            out.push(series);
        }
    }
    let out = context.drop_names(out)?;
    join_same_labels(out).map(Value::Vector)
}

/// A float as OpenMetrics writes it: a whole number has a decimal point.
fn open_metrics_float(v: f64) -> String {
    let mut text = go_float(v);
    if v.is_finite() && !text.contains(['e', '.']) {
        text.push_str(".0");
    }
    text
}

/// Groups buckets by their labels but `le`.
fn classic_histograms(
    vector: Vec<StepVector>,
    arg: usize,
    context: &mut Context<'_>,
) -> Result<Vec<Classic>, QueryError> {
    let mut index = LabelSetIndex::default();
    let mut out: Vec<Classic> = Vec::new();
    for series in vector {
        if !series.histograms.is_empty() {
            return Err(QueryError::execution(format!(
                "histogram_quantile over native histograms is not supported yet: series={}",
                series.labels
            )));
        }
        let le = series.labels.value("le");
        let Some(bound) = parse_go_float(le) else {
            let name = series.labels.metric_name().to_string();
            context.note_at(arg, Note::BadBucketLabel(name, le.to_string()));
            continue;
        };
        let labels = series.labels.without(|name| name == "le");
        let at = index.position(&labels);
        if at == out.len() {
            out.push(Classic { labels, drop_name: false, buckets: Vec::new() });
        }
        out[at].drop_name |= series.drop_name;
        out[at].buckets.push((bound, series));
    }
    for one in &mut out {
        one.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Ok(out)
}

/// The quantile of one histogram at every step.
fn evaluate(histogram: &Classic, q: &[f64], arg: usize, context: &mut Context<'_>) -> StepVector {
    let mut out = StepVector::empty(histogram.labels.clone(), q.len());
    out.drop_name = histogram.drop_name;
    let mut buckets: Vec<(f64, f64)> = Vec::with_capacity(histogram.buckets.len());
    let mut forced = false;
    for (i, q) in q.iter().enumerate() {
        buckets.clear();
        let present = histogram.buckets.iter().filter_map(|(le, s)| Some((*le, s.float(i)?)));
        buckets.extend(present);
        if !buckets.is_empty() {
            out.set(i, bucket_quantile(*q, &mut buckets, &mut forced));
        }
    }
    if forced {
        let name = histogram.labels.metric_name().to_string();
        context.note_at(arg, Note::ForcedMonotonicity(name));
    }
    out
}

/// The `q`-quantile of cumulative buckets (upper bound, count) that are sorted by bound. `forced` is set where
/// counts had to be lifted.
fn bucket_quantile(q: f64, buckets: &mut Vec<(f64, f64)>, forced: &mut bool) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if buckets.last().is_none_or(|(le, _)| *le != f64::INFINITY) {
        return f64::NAN;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    *forced |= make_monotonic(buckets);
    let n = buckets.len();
    let observations = buckets[n - 1].1;
    if n < 2 || observations == 0.0 {
        return f64::NAN;
    }
    let rank = q * observations;
    let at = buckets[..n - 1].iter().position(|(_, count)| *count >= rank).unwrap_or(n - 1);
    if at == n - 1 {
        return buckets[n - 2].0;
    }
    let (end, count) = buckets[at];
    if at == 0 {
        return if end <= 0.0 { end } else { end * (rank / count) };
    }
    let (start, before) = buckets[at - 1];
    start + (end - start) * ((rank - before) / (count - before))
}

/// Lifts counts that fall; whether one fell by more than a rounding error.
fn make_monotonic(buckets: &mut [(f64, f64)]) -> bool {
    let (mut highest, mut forced) = (buckets[0].1, false);
    for (_, count) in &mut buckets[1..] {
        if *count == highest {
            continue;
        }
        if almost_equal(highest, *count) {
            *count = highest;
        } else if *count < highest {
            *count = highest;
            forced = true;
        } else {
            highest = *count;
        }
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA
}

/// `histogram_count`, `histogram_sum`, `histogram_avg` of native histograms; floats fall out.
pub(super) fn summary(
    name: &str,
    args: &mut Args,
    context: &Context<'_>,
) -> Result<Value, QueryError> {
    let mut out = Vec::new();
    for series in args.vector()? {
        let mut summary = StepVector::empty(series.labels.clone(), series.values.len());
        summary.drop_name = series.drop_name;
        for (i, h) in &series.histograms {
            let value = match name {
                "histogram_count" => h.count,
                "histogram_sum" => h.sum,
                _ => h.sum / h.count,
            };
            summary.set(*i as usize, value);
        }
        if !summary.is_empty() {
            out.push(summary);
        }
    }
    context.drop_names(out).map(Value::Vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_within_a_bucket() {
        let run = |q: f64, buckets: &[(f64, f64)]| {
            let mut forced = false;
            let value = bucket_quantile(q, &mut buckets.to_vec(), &mut forced);
            (value, forced)
        };
        let inf = f64::INFINITY;
        let buckets = [(0.1, 4.0), (0.2, 8.0), (inf, 10.0)];
        assert_eq!(run(0.4, &buckets).0, 0.1);
        assert!((run(0.6, &buckets).0 - 0.15).abs() < 1e-12);
        assert_eq!(run(1.0, &buckets).0, 0.2);
        assert!(run(0.5, &buckets[..2]).0.is_nan(), "no +Inf bucket");
        assert_eq!(run(0.9, &[(0.1, 5.0), (0.2, 3.0), (inf, 5.0)]), (0.09000000000000001, true));
        assert!(!run(0.9, &[(0.1, 5.0), (0.2, 5.0 - 1e-13), (inf, 5.0)]).1);
    }
}
