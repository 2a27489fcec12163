//! `sort` and its kin. Only a vector of one step has an order of its own.

use std::cmp::Ordering;

use super::{Args, Context, Value};
use crate::annotations::Note;
use crate::engine::vector::StepVector;
use crate::error::QueryError;

/// `sort` and `sort_desc`: by value, NaN last, equal ones by their labels; histograms fall out.
pub(super) fn by_value(
    name: &str,
    args: &mut Args,
    context: &mut Context<'_>,
) -> Result<Value, QueryError> {
    let mut vector = args.vector()?;
    vector.retain_mut(|s| {
        s.histograms.clear();
        !s.is_empty()
    });
    if context.ranged {
        warn(context);
        return Ok(Value::Vector(vector));
    }
    let descending = name == "sort_desc";
    vector.sort_by(|a, b| by_float(a, b, descending).then_with(|| a.labels.cmp(&b.labels)));
    Ok(Value::Vector(vector))
}

fn by_float(a: &StepVector, b: &StepVector, descending: bool) -> Ordering {
    let (a, b) = (a.values[0], b.values[0]);
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if descending => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

/// `sort_by_label` and `sort_by_label_desc`: by the labels' values in natural order, then by all labels.
pub(super) fn by_label(
    name: &str,
    args: &mut Args,
    context: &mut Context<'_>,
) -> Result<Value, QueryError> {
    let mut vector = args.vector()?;
    let mut labels = Vec::new();
    while !args.is_empty() {
        labels.push(args.text()?);
    }
    if context.ranged {
        warn(context);
        return Ok(Value::Vector(vector));
    }
    let descending = name == "sort_by_label_desc";
    vector.sort_by(|a, b| {
        let by_labels = labels
            .iter()
            .map(|l| natural(a.labels.value(l), b.labels.value(l)))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.labels.cmp(&b.labels));
        if descending { by_labels.reverse() } else { by_labels }
    });
    Ok(Value::Vector(vector))
}

/// Natural order: runs of digits compare as numbers, all other runs as text; of two that are equal so far the shorter one
/// is the lower. That is the order of Prometheus' library, but for numbers beyond 64 bits, which it compares as text with
/// smaller ones, so that it has no order of them; and of what differs in leading zeros alone it has none either: here the
/// texts decide.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut rest_of_a, mut rest_of_b) = (a, b);
    loop {
        let ((p, after_p), (q, after_q)) = (run(rest_of_a), run(rest_of_b));
        let order = match (p.is_empty() || q.is_empty(), number(p), number(q)) {
            (true, ..) => return p.len().cmp(&q.len()).then_with(|| a.cmp(b)),
            (_, Some(p), Some(q)) => p.len().cmp(&q.len()).then_with(|| p.cmp(q)),
            _ => p.cmp(q),
        };
        if order.is_ne() {
            return order;
        }
        (rest_of_a, rest_of_b) = (after_p, after_q);
    }
}

/// The digits of a run of them, without leading zeros.
fn number(run: &str) -> Option<&str> {
    run.starts_with(|c: char| c.is_ascii_digit()).then(|| run.trim_start_matches('0'))
}

/// The digits that `text` begins with, or else all up to its first digit; and the rest.
fn run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

fn warn(context: &mut Context<'_>) {
    let pos = context.pos;
    context.notes.push((pos, Note::SortInRangeQuery));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_compare_as_numbers() {
        let mut names = vec!["cpu10", "cpu2", "cpu", "cpu02", "disk1", "cpu2b"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["cpu", "cpu02", "cpu2", "cpu2b", "cpu10", "disk1"]);
        for (low, high) in [
            ("node1", "node-2"),
            ("a10", "a.9"),
            ("x1", "x 1"),
            ("1e9", "1e-9"),
            ("9", "10000000000000000000"),
            ("", "a"),
        ] {
            assert_eq!(natural(low, high), Ordering::Less, "{low} {high}");
            assert_eq!(natural(high, low), Ordering::Greater, "{low} {high}");
        }
    }
}
