//! `label_replace` and `label_join`.

use pando_model::{GoRegex, METRIC_NAME};

use super::{Args, Value};
use crate::engine::vector::{StepVector, join_same_labels};
use crate::error::QueryError;

/// `label_replace(v, dst, replacement, src, regex)`.
pub(super) fn replace(args: &mut Args) -> Result<Value, QueryError> {
    let mut vector = args.vector()?;
    let (dst, replacement) = (args.text()?, args.text()?);
    let (src, pattern) = (args.text()?, args.text()?);
    let regex = GoRegex::new(&pattern).map_err(|_| {
        QueryError::execution(format!("invalid regular expression in label_replace(): {pattern}"))
    })?;
    if dst.is_empty() {
        let message = format!("invalid destination label name in label_replace(): {dst}");
        return Err(QueryError::execution(message));
    }
    for series in &mut vector {
        let value = series.labels.value(&src).to_string();
        if let Some(text) = regex.expand(&replacement, &value) {
            set_label(series, &dst, &text);
        }
    }
    join_same_labels(vector).map(Value::Vector)
}

/// `label_join(v, dst, separator, src...)`.
pub(super) fn join(args: &mut Args) -> Result<Value, QueryError> {
    let mut vector = args.vector()?;
    let (dst, separator) = (args.text()?, args.text()?);
    let mut sources = Vec::new();
    while !args.is_empty() {
        let source = args.text()?;
        if source.is_empty() {
            let message = format!("invalid source label name in label_join(): {source}");
            return Err(QueryError::execution(message));
        }
        sources.push(source);
    }
    if dst.is_empty() {
        let message = format!("invalid destination label name in label_join(): {dst}");
        return Err(QueryError::execution(message));
    }
    for series in &mut vector {
        let values: Vec<&str> = sources.iter().map(|s| series.labels.value(s)).collect();
        let text = values.join(&separator);
        set_label(series, &dst, &text);
    }
    join_same_labels(vector).map(Value::Vector)
}

fn set_label(series: &mut StepVector, name: &str, value: &str) {
    let mut builder = series.labels.to_builder();
    builder.set(name, value);
    series.labels = builder.build();
    // A name that was set on purpose stays.
    if name == METRIC_NAME {
        series.drop_name = false;
    }
}
