//! Functions of histograms: native ones, and classic ones, which are vectors of buckets with a label `le`.
//!
//! What takes both splits its argument first. Where a native histogram and the buckets of a classic one have the
//! same labels at one step, neither has a result there.

mod classic;

use pando_model::number::{go_float, parse_go_float};
use pando_model::{Histogram, Labels};
use rapidhash::RapidHashMap;

use self::classic::Forced;
use super::math::check_quantile;
use super::{Args, Context, Value};
use crate::annotations::{Lifted, Note};
use crate::budget::Ledger;
use crate::engine::bitmap::Bitmap;
use crate::engine::histogram::{self, NanObservations};
use crate::engine::labelset::LabelSetIndex;
use crate::engine::names::drop_metadata_labels;
use crate::engine::vector::{StepVector, join_same_labels};
use crate::error::QueryError;

/// A classic histogram: its buckets as (upper bound, series), sorted by bound.
struct Classic {
    labels: Labels,
    drop_name: bool,
    buckets: Vec<(f64, StepVector)>,
}

impl Classic {
    /// Its result: `f(step, buckets)` at every step that has any; `buckets` are (upper bound, count).
    fn map(
        &self,
        steps: usize,
        mut f: impl FnMut(usize, &mut Vec<(f64, f64)>) -> f64,
    ) -> StepVector {
        let mut out = StepVector::empty(self.labels.clone(), steps);
        out.drop_name = self.drop_name;
        let mut buckets: Vec<(f64, f64)> = Vec::with_capacity(self.buckets.len());
        for i in 0..steps {
            buckets.clear();
            buckets.extend(self.buckets.iter().filter_map(|(le, s)| Some((*le, s.float(i)?))));
            if !buckets.is_empty() {
                out.set(i, f(i, &mut buckets));
            }
        }
        out
    }
}

/// The float `f(step, histogram)` of a series' histograms.
fn map_native(series: &StepVector, mut f: impl FnMut(usize, &Histogram) -> f64) -> StepVector {
    let mut out = StepVector::empty(series.labels.clone(), series.values.len());
    out.drop_name = series.drop_name;
    for (i, h) in &series.histograms {
        out.set(*i as usize, f(*i as usize, h));
    }
    out
}

/// The histograms of a vector.
struct Split {
    native: Vec<StepVector>,
    classic: Vec<Classic>,
}

/// `histogram_quantile(q, v)`.
pub(super) fn quantile(args: &mut Args, context: &mut Context<'_>) -> Result<Value, QueryError> {
    let (q, vector) = (args.scalar()?, args.vector()?);
    check_quantile(&q, 0, context);
    let split = split(vector, 1, context);
    let out = split.quantiles(&q, 1, context);
    finish(out, context)
}

/// `histogram_quantiles(v, label, q...)`.
pub(super) fn quantiles(args: &mut Args, context: &mut Context<'_>) -> Result<Value, QueryError> {
    let (vector, label) = (args.vector()?, args.text()?);
    let split = split(vector, 0, context);
    let (mut out, mut arg) = (Vec::new(), 2);
    while !args.is_empty() {
        let q = args.scalar()?;
        check_quantile(&q, arg, context);
        arg += 1;
        for mut series in split.quantiles(&q, 0, context) {
            // Before the label is set, which may be the name.
            if !context.delayed_name_removal {
                series.labels = drop_metadata_labels(&series.labels);
            }
            by_quantile(series, &label, &q, context.ledger, &mut out)?;
        }
    }
    if context.delayed_name_removal {
        return finish(out, context);
    }
    out.retain(|series| !series.is_empty());
    join_same_labels(out).map(Value::Vector)
}

/// Adds `series` to `out`, labelled with the quantile of each step: as many series as there are quantiles.
fn by_quantile(
    series: StepVector,
    label: &str,
    q: &[f64],
    ledger: &mut Ledger,
    out: &mut Vec<StepVector>,
) -> Result<(), QueryError> {
    let mut numbers: RapidHashMap<u64, usize> = RapidHashMap::default();
    let mut parts: Vec<(f64, Bitmap)> = Vec::new();
    for i in series.present.iter() {
        // Zero has one label, whatever its sign.
        let number = if q[i] == 0.0 { 0.0 } else { q[i] };
        let at = *numbers.entry(number.to_bits()).or_insert(parts.len());
        if at == parts.len() {
            ledger.hold(0, q.len() / 8)?;
            parts.push((number, Bitmap::zeros(q.len())));
        }
        parts[at].1.set(i);
    }
    for (q, steps) in parts {
        ledger.hold(steps.count(), series.bytes())?;
        let mut part = series.clone();
        part.keep(&steps);
        let mut builder = part.labels.to_builder();
        builder.set(label, &open_metrics_float(q));
        part.labels = builder.build();
        out.push(part);
    }
    Ok(())
}

/// `histogram_fraction(lower, upper, v)`.
pub(super) fn fraction(args: &mut Args, context: &mut Context<'_>) -> Result<Value, QueryError> {
    let (lower, upper, vector) = (args.scalar()?, args.scalar()?, args.vector()?);
    let Split { native, classic } = split(vector, 2, context);
    let mut out = Vec::with_capacity(native.len() + classic.len());
    for series in &native {
        let mut any_nan = false;
        out.push(map_native(series, |i, h| {
            let (value, nan) = histogram::fraction(lower[i], upper[i], h);
            any_nan |= nan;
            value
        }));
        if any_nan {
            let name = context.name_of(&series.labels);
            context.note_at(2, Note::FractionWithoutNan(name));
        }
    }
    out.extend(classic.iter().map(|one| {
        one.map(lower.len(), |i, buckets| classic::fraction(lower[i], upper[i], buckets))
    }));
    finish(out, context)
}

/// Functions of one native histogram at a time; floats fall out.
pub(super) fn summary(
    name: &str,
    args: &mut Args,
    context: &Context<'_>,
) -> Result<Value, QueryError> {
    let f = |h: &Histogram| match name {
        "histogram_count" => h.count,
        "histogram_sum" => h.sum,
        "histogram_stdvar" => histogram::variance(h),
        "histogram_stddev" => histogram::variance(h).sqrt(),
        _ => histogram::mean(h),
    };
    let vector = args.vector()?;
    let out = vector.iter().map(|series| map_native(series, |_, h| f(h)));
    let out = out.filter(|series| !series.is_empty()).collect();
    context.drop_names(out).map(Value::Vector)
}

fn finish(mut out: Vec<StepVector>, context: &Context<'_>) -> Result<Value, QueryError> {
    out.retain(|series| !series.is_empty());
    let out = context.drop_names(out)?;
    // Names that are only marked keep series apart, but not those that are one in parts.
    let out = if context.delayed_name_removal { join_same_labels(out)? } else { out };
    Ok(Value::Vector(out))
}

/// A float as OpenMetrics writes it: a whole number has a decimal point.
fn open_metrics_float(v: f64) -> String {
    let mut text = go_float(v);
    if v.is_finite() && !text.contains(['e', '.']) {
        text.push_str(".0");
    }
    text
}

impl Split {
    /// The quantile of every histogram. The vector is argument `arg` of the call.
    fn quantiles(&self, q: &[f64], arg: usize, context: &mut Context<'_>) -> Vec<StepVector> {
        let mut out = Vec::with_capacity(self.native.len() + self.classic.len());
        for series in &self.native {
            let (mut is_nan, mut skewed) = (false, false);
            out.push(map_native(series, |i, h| {
                let (value, nan) = histogram::quantile(q[i], h);
                is_nan |= nan == Some(NanObservations::Result);
                skewed |= nan == Some(NanObservations::Skew);
                value
            }));
            let name = context.name_of(&series.labels);
            if is_nan {
                context.note_at(arg, Note::QuantileIsNan(name.clone()));
            }
            if skewed {
                context.note_at(arg, Note::QuantileSkewedByNan(name));
            }
        }
        for one in &self.classic {
            let (mut lifted, steps) = (None::<Lifted>, context.steps);
            out.push(one.map(q.len(), |i, buckets| {
                let (value, forced) = classic::quantile(q[i], buckets);
                if let Some(Forced { lowest, highest, difference }) = forced {
                    let (first_ms, last_ms) = (steps.at(i), steps.at(i));
                    let here = Lifted { lowest, highest, difference, count: 1, first_ms, last_ms };
                    lifted = Some(lifted.map_or(here, |all| all.and(here)));
                }
                value
            }));
            if let Some(lifted) = lifted {
                let note = Note::ForcedMonotonicity(context.name_of(&one.labels));
                context.lifted.push((context.place(arg), note, lifted));
            }
        }
        out
    }
}

/// Tells native histograms from classic ones, and groups the buckets of these by their labels but `le`. `arg` is the
/// place of the vector among the call's arguments.
fn split(vector: Vec<StepVector>, arg: usize, context: &mut Context<'_>) -> Split {
    let mut index = LabelSetIndex::default();
    let (mut native, mut classic): (Vec<StepVector>, Vec<Classic>) = (Vec::new(), Vec::new());
    for mut series in vector {
        if !series.histograms.is_empty() {
            let histograms = std::mem::take(&mut series.histograms);
            let empty = StepVector::empty(series.labels.clone(), series.values.len());
            native.push(StepVector { histograms, drop_name: series.drop_name, ..empty });
        }
        if !series.present.any() {
            continue;
        }
        let le = series.labels.value("le");
        let Some(bound) = parse_go_float(le) else {
            let name = context.name_of(&series.labels);
            context.note_at(arg, Note::BadBucketLabel(name, le.to_string()));
            continue;
        };
        let labels = series.labels.without(|name| name == "le");
        let at = index.position(&labels);
        if at == classic.len() {
            classic.push(Classic { labels, drop_name: false, buckets: Vec::new() });
        }
        classic[at].drop_name |= series.drop_name;
        classic[at].buckets.push((bound, series));
    }
    for one in &mut classic {
        one.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    for series in &mut native {
        let Some(one) = index.get(&series.labels).and_then(|at| classic.get_mut(at)) else {
            continue;
        };
        if drop_conflicts(series, one) {
            let name = context.name_of(&series.labels);
            context.note_at(arg, Note::MixedClassicNative(name));
        }
    }
    Split { native, classic }
}

/// Drops both where both have something; whether that is anywhere.
fn drop_conflicts(native: &mut StepVector, classic: &mut Classic) -> bool {
    let mut conflicts = native.presence();
    let mut buckets = Bitmap::zeros(conflicts.len());
    classic.buckets.iter().for_each(|(_, series)| buckets.or_with(&series.present));
    conflicts.and_with(&buckets);
    if !conflicts.any() {
        return false;
    }
    native.histograms.retain(|(i, _)| !conflicts.get(*i as usize));
    classic.buckets.iter_mut().for_each(|(_, series)| series.present.subtract(&conflicts));
    true
}
