//! `label_replace` and `label_join`.

use pando_model::{GoRegex, METRIC_NAME};

use super::{Args, Context, Value};
use crate::engine::vector::{StepVector, join_same_labels};
use crate::error::QueryError;

/// The longest value of a label that a query makes: each call may repeat the one before it many times.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// The most groups of a pattern: what a search for groups takes grows with their square.
const GROUPS_MAX: usize = 256;

/// `label_replace(v, dst, replacement, src, regex)`.
pub(super) fn replace(args: &mut Args, context: &mut Context<'_>) -> Result<Value, QueryError> {
    let mut vector = args.vector()?;
    let (dst, replacement) = (args.text()?, args.text()?);
    let (src, pattern) = (args.text()?, args.text()?);
    let regex = GoRegex::new(&pattern).map_err(|why| {
        // Prometheus knows no pattern that is too large.
        let why = if why.too_large { format!(": {}", why.message) } else { String::new() };
        let invalid = "invalid regular expression in label_replace()";
        QueryError::execution(format!("{invalid}: {pattern}{why}"))
    })?;
    if regex.groups() > GROUPS_MAX {
        return Err(QueryError::Budget { what: "regex_groups", limit: GROUPS_MAX as u64 });
    }
    if dst.is_empty() {
        let message = format!("invalid destination label name in label_replace(): {dst}");
        return Err(QueryError::execution(message));
    }
    for series in &mut vector {
        context.ledger.check_cancel()?;
        let value = series.labels.value(&src).to_string();
        if let Some(captures) = regex.captures(&value) {
            let text = captures.expand_within(&replacement, VALUE_BYTES_MAX);
            set_label(series, &dst, &text.ok_or(TOO_LONG)?, context)?;
        }
    }
    join_same_labels(vector).map(Value::Vector)
}

/// `label_join(v, dst, separator, src...)`.
pub(super) fn join(args: &mut Args, context: &mut Context<'_>) -> Result<Value, QueryError> {
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
        let between = separator.len().saturating_mul(values.len().saturating_sub(1));
        let bytes = values.iter().fold(between, |sum, value| sum.saturating_add(value.len()));
        if bytes > VALUE_BYTES_MAX {
            return Err(TOO_LONG);
        }
        let text = values.join(&separator);
        set_label(series, &dst, &text, context)?;
    }
    join_same_labels(vector).map(Value::Vector)
}

const TOO_LONG: QueryError =
    QueryError::Budget { what: "label_value_bytes", limit: VALUE_BYTES_MAX as u64 };

/// Sets a label; its bytes are held before they are copied.
fn set_label(
    series: &mut StepVector,
    name: &str,
    value: &str,
    context: &mut Context<'_>,
) -> Result<(), QueryError> {
    context.ledger.hold(0, series.labels.heap_bytes() + value.len())?;
    let mut builder = series.labels.to_builder();
    builder.set(name, value);
    series.labels = builder.build();
    // A name that was set on purpose stays.
    if name == METRIC_NAME {
        series.drop_name = false;
    }
    Ok(())
}
