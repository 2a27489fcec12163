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

/// Natural order: runs of digits compare as numbers, the rest as text.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (x, y) = (digits(a), digits(b));
        if x > 0 && y > 0 {
            let (p, q) = (a[..x].trim_start_matches('0'), b[..y].trim_start_matches('0'));
            let order = p.len().cmp(&q.len()).then_with(|| p.cmp(q)).then_with(|| x.cmp(&y));
            if order.is_ne() {
                return order;
            }
            (a, b) = (&a[x..], &b[y..]);
            continue;
        }
        match (a.chars().next(), b.chars().next()) {
            (Some(p), Some(q)) if p == q => (a, b) = (&a[p.len_utf8()..], &b[q.len_utf8()..]),
            (p, q) => return p.cmp(&q),
        }
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
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
        assert_eq!(names, ["cpu", "cpu2", "cpu2b", "cpu02", "cpu10", "disk1"]);
    }
}
