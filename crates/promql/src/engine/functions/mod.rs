//! Functions of instant vectors and scalars, by theme. Range functions are in [`super::range`].

mod dates;
mod histograms;
mod labels;
mod math;
mod sorting;

use pando_model::Labels;

use super::bitmap::Bitmap;
use super::vector::{StepVector, join_same_labels, size_of_vector};
use crate::annotations::{Lifted, Note};
use crate::budget::Ledger;
use crate::error::QueryError;
use crate::steps::Steps;
use crate::syntax::PosRange;

pub(crate) use dates::rfc3339;
pub(crate) use math::{larger, negate, smaller};

/// An evaluated argument.
#[derive(Debug)]
pub(crate) enum Value {
    /// One float a step.
    Scalar(Vec<f64>),
    /// A text.
    Text(String),
    /// Series.
    Vector(Vec<StepVector>),
}

impl Value {
    /// Samples and bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        match self {
            // Prometheus counts no samples of scalars either.
            Value::Scalar(values) => (0, scalar_bytes(values.len())),
            Value::Text(text) => (0, text.len()),
            Value::Vector(vector) => size_of_vector(vector),
        }
    }
}

/// Bytes of a scalar over `steps` steps.
pub(crate) fn scalar_bytes(steps: usize) -> usize {
    steps * size_of::<f64>()
}

/// A call with everything it may ask for.
pub(crate) struct Context<'a> {
    pub(crate) steps: &'a Steps,
    /// Whether the evaluation goes on to a time later than the first step: then there is no order.
    pub(crate) ranged: bool,
    pub(crate) delayed_name_removal: bool,
    pub(crate) pos: PosRange,
    pub(crate) arg_pos: &'a [PosRange],
    /// What a function makes beside its result or in its place is held here before it is made.
    pub(crate) ledger: &'a mut Ledger,
    /// What there is to say, each with its place.
    pub(crate) notes: Vec<(PosRange, Note)>,
    /// The same of buckets that had to be lifted.
    pub(crate) lifted: Vec<(PosRange, Note, Lifted)>,
}

impl Context<'_> {
    fn place(&self, arg: usize) -> PosRange {
        self.arg_pos.get(arg).copied().unwrap_or(self.pos)
    }

    /// The metric's name as notes give it: where names are removed at once, none is left.
    fn name_of(&self, labels: &Labels) -> String {
        let name = if self.delayed_name_removal { labels.metric_name() } else { "" };
        name.to_string()
    }

    fn note_at(&mut self, arg: usize, note: Note) {
        let pos = self.place(arg);
        if self.notes.last().is_none_or(|last| *last != (pos, note.clone())) {
            self.notes.push((pos, note));
        }
    }

    /// Takes name, type and unit from all series, or marks them to be taken at the query's end.
    fn drop_names(&self, vector: Vec<StepVector>) -> Result<Vec<StepVector>, QueryError> {
        drop_names(vector, self.delayed_name_removal)
    }
}

/// Takes the metadata labels from all series; `delayed` only marks them.
pub(crate) fn drop_names(
    mut vector: Vec<StepVector>,
    delayed: bool,
) -> Result<Vec<StepVector>, QueryError> {
    for series in &mut vector {
        if delayed {
            series.drop_name = true;
        } else {
            series.labels = super::names::drop_metadata_labels(&series.labels);
        }
    }
    if delayed { Ok(vector) } else { join_same_labels(vector) }
}

/// The arguments of a call, taken one by one in order.
pub(crate) struct Args(std::vec::IntoIter<Value>);

impl Args {
    pub(crate) fn new(args: Vec<Value>) -> Self {
        Args(args.into_iter())
    }

    // The type check has seen the call, so a wrong type is our own fault.
    fn wrong<T>() -> Result<T, QueryError> {
        Err(QueryError::Internal("argument of a wrong type".to_string()))
    }

    fn vector(&mut self) -> Result<Vec<StepVector>, QueryError> {
        match self.0.next() {
            Some(Value::Vector(v)) => Ok(v),
            _ => Self::wrong(),
        }
    }

    fn scalar(&mut self) -> Result<Vec<f64>, QueryError> {
        match self.0.next() {
            Some(Value::Scalar(v)) => Ok(v),
            _ => Self::wrong(),
        }
    }

    fn text(&mut self) -> Result<String, QueryError> {
        match self.0.next() {
            Some(Value::Text(v)) => Ok(v),
            _ => Self::wrong(),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}

/// The value of `name(args)`.
pub(crate) fn call(
    name: &str,
    args: Vec<Value>,
    context: &mut Context<'_>,
) -> Result<Value, QueryError> {
    let mut args = Args::new(args);
    if let Some(f) = math::simple(name) {
        return math::map(args.vector()?, |_, v| Some(f(v)), context).map(Value::Vector);
    }
    if let Some(part) = dates::part(name) {
        return dates::call(part, &mut args, context).map(Value::Vector);
    }
    let steps = context.steps.len();
    match name {
        "clamp" | "clamp_min" | "clamp_max" => math::clamp(name, &mut args, context),
        "round" => math::round(&mut args, context),
        "scalar" => Ok(Value::Scalar(to_scalar(&args.vector()?, steps))),
        "vector" => Ok(Value::Vector(vec![to_vector(args.scalar()?)])),
        "timestamp" => {
            let at = *context.steps;
            let times = args.vector()?.into_iter().map(|s| {
                let mut out = StepVector { histograms: Vec::new(), ..s.clone() };
                s.presence().iter().for_each(|i| out.set(i, at.at(i) as f64 / 1000.0));
                out
            });
            context.drop_names(times.collect()).map(Value::Vector)
        }
        // What a selector reads is a fragment's matter; other vectors have no start timestamps.
        "start_timestamp" => Ok(Value::Vector(Vec::new())),
        "min_of" | "max_of" => {
            let (a, b) = (args.scalar()?, args.scalar()?);
            let pick = |(a, b): (&f64, &f64)| match name {
                "min_of" => math::smaller(*a, *b),
                _ => math::larger(*a, *b),
            };
            Ok(Value::Scalar(a.iter().zip(&b).map(pick).collect()))
        }
        "sort" | "sort_desc" => sorting::by_value(name, &mut args, context),
        "sort_by_label" | "sort_by_label_desc" => sorting::by_label(name, &mut args, context),
        "label_replace" => labels::replace(&mut args, context),
        "label_join" => labels::join(&mut args, context),
        "histogram_quantile" => histograms::quantile(&mut args, context),
        "histogram_quantiles" => histograms::quantiles(&mut args, context),
        "histogram_fraction" => histograms::fraction(&mut args, context),
        "histogram_count" | "histogram_sum" | "histogram_avg" | "histogram_stddev"
        | "histogram_stdvar" => histograms::summary(name, &mut args, context),
        _ => Err(QueryError::Internal(format!("unplanned function: function={name}"))),
    }
}

/// The value of the only float of each step; NaN where there is none or are several.
fn to_scalar(vector: &[StepVector], steps: usize) -> Vec<f64> {
    let mut seen = Bitmap::zeros(steps);
    let mut out = vec![f64::NAN; steps];
    for series in vector {
        for i in series.present.iter() {
            out[i] = if seen.get(i) { f64::NAN } else { series.values[i] };
            seen.set(i);
        }
    }
    out
}

/// A series without labels.
pub(crate) fn to_vector(scalar: Vec<f64>) -> StepVector {
    let steps = scalar.len();
    let mut out = StepVector::constant(pando_model::Labels::empty(), 0.0, steps);
    out.values = scalar;
    out
}
