//! Aggregations over what is at the frontend.

use pando_model::number::go_float;

use super::evaluate::{Evaluator, wrong_type};
use crate::annotations::Note;
use crate::engine::aggregate::{Aggregator, Grouping, local};
use crate::engine::bitmap::Bitmap;
use crate::engine::functions::{Value, larger, smaller};
use crate::engine::vector::{StepVector, join_same_labels, size_of_vector};
use crate::error::QueryError;
use crate::fragment::{Aggregation, AggregationParam};
use crate::plan::AggregateNode;
use crate::steps::Steps;
use crate::syntax::ast::AggregateOp;

impl Evaluator<'_> {
    pub(super) fn aggregate(
        &mut self,
        node: &AggregateNode,
        steps: &Steps,
    ) -> Result<Vec<StepVector>, QueryError> {
        let param = node.param.as_ref().map(|p| self.node(p, steps)).transpose()?;
        let input = self.vector(&node.input, steps)?;
        let grouping = Grouping::new(&node.grouping, node.without);
        let mut notes = Vec::new();
        let out = match (node.op, param) {
            (AggregateOp::TopK | AggregateOp::BottomK, Some(Value::Scalar(k))) => {
                self.top(node, &k, input)
            }
            (op @ (AggregateOp::LimitK | AggregateOp::LimitRatio), Some(Value::Scalar(param))) => {
                match self.limit_param(node, param)? {
                    Some(param) => local::limit(op, &param, &grouping, input, &self.ledger),
                    None => Ok(Vec::new()),
                }
            }
            (AggregateOp::CountValues, Some(Value::Text(label))) => {
                if label.is_empty() {
                    let message = format!("invalid label name {label:?}");
                    return Err(QueryError::execution(message));
                }
                self.merged(node, AggregationParam::Label(label), input)
            }
            (AggregateOp::Quantile, Some(Value::Scalar(q))) => {
                self.note_invalid_quantiles(node, &q);
                local::quantiles(&q, &grouping, input, &mut notes, &mut self.ledger)
            }
            (_, None) => self.merged(node, AggregationParam::None, input),
            _ => wrong_type(),
        };
        self.note_all(node.notes_pos, notes);
        out
    }

    fn merged(
        &mut self,
        node: &AggregateNode,
        param: AggregationParam,
        input: Vec<StepVector>,
    ) -> Result<Vec<StepVector>, QueryError> {
        let steps = input.first().map_or(0, |s| s.values.len());
        let ledger = &mut self.ledger;
        let AggregateNode { op, without, .. } = *node;
        let aggregation = Aggregation { op, param, grouping: node.grouping.clone(), without };
        let mut aggregator = Aggregator::new(aggregation, steps);
        for series in &input {
            ledger.check_cancel()?;
            aggregator.add(series, ledger)?;
        }
        // As where groups of several executors are merged.
        aggregator.sort_groups();
        let (out, notes) = aggregator.finish(ledger)?;
        self.note_all(node.notes_pos, notes);
        Ok(out)
    }

    /// `topk` and `bottomk`, whose parameter may change from step to step.
    fn top(
        &mut self,
        node: &AggregateNode,
        k: &[f64],
        mut input: Vec<StepVector>,
    ) -> Result<Vec<StepVector>, QueryError> {
        let Some(first) = k.first() else { return Ok(Vec::new()) };
        if !check_counts(k)? {
            return Ok(Vec::new());
        }
        // More places than series are of no use.
        let places = |k: f64| k.clamp(0.0, input.len() as f64) as u32;
        if k.iter().all(|k| k == first) {
            return match places(*first) {
                0 => Ok(Vec::new()),
                places => self.merged(node, AggregationParam::Places(places), input),
            };
        }
        let all: Vec<u32> = k.iter().map(|k| places(*k)).collect();
        let largest = all.iter().copied().max().unwrap_or_default();
        let mut out: Vec<StepVector> = Vec::new();
        for wanted in 1..=largest {
            // The steps that keep this many, each evaluated on its own.
            let mut mask = Bitmap::zeros(k.len());
            all.iter().enumerate().filter(|(_, n)| **n == wanted).for_each(|(i, _)| mask.set(i));
            if !mask.any() {
                continue;
            }
            let mark = self.ledger.mark();
            let (samples, bytes) = size_of_vector(&input);
            self.ledger.hold(samples, bytes)?;
            let mut part = input.clone();
            part.iter_mut().for_each(|s| s.keep(&mask));
            let best = self.merged(node, AggregationParam::Places(wanted), part)?;
            self.ledger.back_to(mark);
            let (samples, bytes) = size_of_vector(&best);
            self.ledger.hold(samples, bytes)?;
            out.extend(best);
        }
        input.clear();
        join_same_labels(out)
    }

    /// The parameter of `limitk` or `limit_ratio`; `None` where no step wants a series.
    fn limit_param(
        &mut self,
        node: &AggregateNode,
        mut param: Vec<f64>,
    ) -> Result<Option<Vec<f64>>, QueryError> {
        if node.op != AggregateOp::LimitRatio {
            return Ok(check_counts(&param)?.then_some(param));
        }
        let Extremes { least, most, any_nan } = Extremes::of(&param);
        if least == 0.0 && most == 0.0 {
            return Ok(None);
        }
        if any_nan {
            return Err(QueryError::execution("Ratio value is NaN"));
        }
        for (beyond, cap) in [(most, 1.0), (least, -1.0)] {
            if beyond * cap > 1.0 {
                let note = Note::InvalidRatio(go_float(beyond), go_float(cap));
                self.annotations.add(node.param_pos, note);
            }
        }
        param.iter_mut().for_each(|p| *p = p.clamp(-1.0, 1.0));
        Ok(Some(param))
    }

    /// Warns of quantiles that are none: of the least and of the largest, whatever lies between.
    fn note_invalid_quantiles(&mut self, node: &AggregateNode, q: &[f64]) {
        let Extremes { least, most, any_nan } = Extremes::of(q);
        let invalid = [any_nan.then_some(f64::NAN), (most > 1.0).then_some(most)];
        for q in invalid.into_iter().chain([(least < 0.0).then_some(least)]).flatten() {
            self.annotations.add(node.param_pos, Note::invalid_quantile(q));
        }
    }
}

/// What a parameter comes to over all steps, as Prometheus judges it: no number where any step has none, unless an
/// infinity is further out.
struct Extremes {
    least: f64,
    most: f64,
    any_nan: bool,
}

impl Extremes {
    fn of(param: &[f64]) -> Self {
        let first = param.first().copied().unwrap_or_default();
        Extremes {
            least: param.iter().copied().fold(first, smaller),
            most: param.iter().copied().fold(first, larger),
            any_nan: param.iter().any(|p| p.is_nan()),
        }
    }
}

/// Whether any of the numbers of series `k` wants one.
///
/// # Errors
/// One is, and another is no number or beyond 64 bits.
fn check_counts(k: &[f64]) -> Result<bool, QueryError> {
    let Extremes { least, most, any_nan } = Extremes::of(k);
    if most < 1.0 {
        return Ok(false);
    }
    if any_nan {
        return Err(QueryError::execution("Parameter value is NaN"));
    }
    let beyond = |k: f64, what: &str| {
        Err(QueryError::execution(format!("Scalar value {} {what} int64", go_float(k))))
    };
    if least <= i64::MIN as f64 {
        return beyond(least, "underflows");
    }
    if most >= i64::MAX as f64 {
        return beyond(most, "overflows");
    }
    Ok(true)
}
