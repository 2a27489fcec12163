//! Walks the plan: results of fragments in, the query's value out.

use std::collections::BTreeMap;

use pando_model::{Labels, SeriesSamples};

use super::columns::{matrix, matrix_at_edges, matrix_of_samples};
use super::output::{QueryOutput, QueryStats, QueryValue, VectorSample};
use super::{Query, QueryParams};
use crate::annotations::{Annotations, Note};
use crate::budget::{Budget, CancelFlag, Held, Ledger};
use crate::engine::binary::{self, Operator, Side, Style};
use crate::engine::functions::{self, Context, Value, scalar_bytes};
use crate::engine::info::{self, InfoSelector};
use crate::engine::names::drop_metadata_labels;
use crate::engine::queryable::{self, StepSamples};
use crate::engine::range::Edges;
use crate::engine::vector::{StepVector, column_bytes, join_same_labels};
use crate::error::QueryError;
use crate::fragment::{FragmentId, FragmentOutput, FragmentResult, NoteSite};
use crate::plan::{BinaryNode, CallNode, InfoNode, Leaf, Node};
use crate::steps::Steps;
use crate::syntax::PosRange;

pub(super) fn evaluate(
    query: &Query,
    results: BTreeMap<FragmentId, FragmentResult>,
    budget: Budget,
    cancel: CancelFlag,
) -> Result<QueryOutput, QueryError> {
    let uses = query.plan.uses.clone();
    let mut ledger = Ledger::new(budget, cancel);
    let apart = |(id, result): (FragmentId, FragmentResult)| {
        (0..).zip(result.apart()).map(move |(number, output)| ((id, number), output))
    };
    let results: BTreeMap<_, _> = results.into_iter().flat_map(apart).collect();
    for output in results.values() {
        let (samples, bytes) = output.size();
        ledger.hold_input(samples, bytes)?;
    }
    let fragment_samples = ledger.peak_samples;
    let counted = if query.params.count_samples { query.params.steps.len() } else { 0 };
    let mut evaluator = Evaluator {
        params: &query.params,
        step_samples: vec![0; counted],
        counting: Counting::BySteps,
        results,
        uses,
        ledger,
        annotations: Annotations::default(),
    };
    let value = evaluator.root(&query.plan.root)?;
    let (warnings, infos) = evaluator.annotations.texts(&query.text);
    let peak_samples = evaluator.ledger.peak_samples;
    let stats = QueryStats { peak_samples, fragment_samples, step_samples: evaluator.step_samples };
    Ok(QueryOutput { value, warnings, infos, stats })
}

/// What is counted of the samples that are looked at.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Counting {
    /// Each at its step.
    BySteps,
    /// All at the query's one step: a subquery is the whole query.
    AtOnce,
    /// None: within a subquery that a function reads; its points are counted instead.
    No,
}

pub(super) struct Evaluator<'a> {
    pub(super) params: &'a QueryParams,
    /// Of each fragment what each of its aggregations has come to.
    results: BTreeMap<(FragmentId, u32), FragmentOutput>,
    /// How many nodes still need each of them: the last one takes it.
    uses: Vec<Vec<u32>>,
    pub(super) ledger: Ledger,
    /// Empty where nobody asks.
    pub(super) step_samples: StepSamples,
    pub(super) counting: Counting,
    pub(super) annotations: Annotations,
}

impl Evaluator<'_> {
    fn root(&mut self, node: &Node) -> Result<QueryValue, QueryError> {
        let steps = self.params.steps;
        let t_ms = steps.start_ms();
        match node {
            Node::Samples { leaf, edges, window } => {
                let raw = self.take(leaf)?.raw;
                if let Some(count) = self.step_samples.first_mut() {
                    *count += raw.iter().map(queryable::all).sum::<u64>();
                }
                let points: usize = raw.iter().map(SeriesSamples::len).sum();
                self.ledger.hold(0, points * 16)?;
                let matrix = match edges {
                    Edges::Plain => {
                        let matrix = raw.iter().map(matrix_of_samples);
                        matrix.filter(|s| s.floats.len() + s.histograms.len() > 0).collect()
                    }
                    edges => matrix_at_edges(&raw, *edges, *window)?,
                };
                Ok(QueryValue::Matrix(matrix))
            }
            Node::SubqueryPoints(subquery) => {
                let points = self.subquery(subquery, Counting::AtOnce)?;
                let points = self.final_names(points)?;
                let steps = subquery.steps.unwrap_or(steps);
                Ok(QueryValue::Matrix(matrix(points, &steps)))
            }
            node => match self.node(node, &steps)? {
                Value::Text(text) => Ok(QueryValue::String { t_ms, text }),
                Value::Scalar(values) if self.params.instant => {
                    Ok(QueryValue::Scalar { t_ms, value: values[0] })
                }
                Value::Scalar(values) => {
                    let series = StepVector {
                        values,
                        ..StepVector::constant(Labels::empty(), 0.0, steps.len())
                    };
                    Ok(QueryValue::Matrix(matrix(vec![series], &steps)))
                }
                Value::Vector(vector) => {
                    let vector = self.final_names(vector)?;
                    if !self.params.instant {
                        return Ok(QueryValue::Matrix(matrix(vector, &steps)));
                    }
                    let sample = |s: StepVector| {
                        let value = s.value(0)?;
                        Some(VectorSample { labels: s.labels, t_ms, value })
                    };
                    Ok(QueryValue::Vector(vector.into_iter().filter_map(sample).collect()))
                }
            },
        }
    }

    /// Drops the names that were only marked.
    fn final_names(&self, mut vector: Vec<StepVector>) -> Result<Vec<StepVector>, QueryError> {
        if !self.params.features.delayed_name_removal {
            return Ok(vector);
        }
        for series in vector.iter_mut().filter(|s| s.drop_name) {
            series.labels = drop_metadata_labels(&series.labels);
        }
        join_same_labels(vector)
    }

    /// A fragment's result, which is held as long as the node in progress is.
    pub(super) fn take(&mut self, leaf: &Leaf) -> Result<FragmentOutput, QueryError> {
        let uses = &mut self.uses[leaf.fragment.0 as usize][leaf.aggregation as usize];
        *uses = uses.saturating_sub(1);
        let place = (leaf.fragment, leaf.aggregation);
        let (samples, bytes) = self.results.get(&place).map_or((0, 0), FragmentOutput::size);
        let result = if *uses == 0 {
            self.ledger.release_input(samples, bytes);
            self.ledger.hold(samples, bytes)?;
            self.results.remove(&place)
        } else {
            self.ledger.hold(samples, bytes)?;
            self.results.get(&place).cloned()
        };
        let result = result.unwrap_or_default();
        self.annotations.is_cut |= result.notes_cut;
        for (site, note) in &result.notes {
            let pos = match site {
                NoteSite::Function => leaf.function_pos,
                NoteSite::Aggregation(_) => leaf.aggregation_pos,
            };
            self.annotations.add(pos, note.clone());
        }
        Ok(result)
    }

    /// The value of a node, which is held in the ledger; what led to it is not any more.
    pub(super) fn node(&mut self, node: &Node, steps: &Steps) -> Result<Value, QueryError> {
        let mark = self.ledger.mark();
        let value = self.value(node, steps)?;
        self.settle(mark, value)
    }

    /// Holds `value` instead of everything that was held since `mark`.
    fn settle(&mut self, mark: Held, value: Value) -> Result<Value, QueryError> {
        self.ledger.back_to(mark);
        let (samples, bytes) = value.size();
        self.ledger.hold(samples, bytes)?;
        Ok(value)
    }

    fn value(&mut self, node: &Node, steps: &Steps) -> Result<Value, QueryError> {
        self.ledger.check_cancel()?;
        match node {
            Node::Constant(v) => {
                self.ledger.hold(0, scalar_bytes(steps.len()))?;
                Ok(Value::Scalar(vec![*v; steps.len()]))
            }
            Node::Text(text) => Ok(Value::Text(text.clone())),
            Node::Time => {
                self.ledger.hold(0, scalar_bytes(steps.len()))?;
                Ok(Value::Scalar(steps.iter().map(|t| t as f64 / 1000.0).collect()))
            }
            Node::Fragment(leaf) => self.fragment(leaf, steps).map(Value::Vector),
            Node::RangeCall(range) => self.range_call(range, steps).map(Value::Vector),
            Node::Absent { input, labels, .. } => self.absent(input, labels, steps),
            Node::Info(info) => self.info(info, steps).map(Value::Vector),
            Node::Call(call) => self.call(call, steps),
            Node::Aggregate(aggregate) => self.aggregate(aggregate, steps).map(Value::Vector),
            Node::Binary(binary) => self.binary(binary, steps),
            Node::Negate(inner) => match self.node(inner, steps)? {
                Value::Scalar(values) => {
                    Ok(Value::Scalar(values.into_iter().map(|v| -v).collect()))
                }
                Value::Vector(vector) => {
                    let delayed = self.params.features.delayed_name_removal;
                    functions::negate(vector, delayed, &mut self.ledger).map(Value::Vector)
                }
                Value::Text(_) => wrong_type(),
            },
            Node::Once(inner) => self.once(inner, steps),
            Node::Samples { .. } | Node::SubqueryPoints(_) => wrong_type(),
        }
    }

    /// The series of a fragment at `steps`.
    fn fragment(&mut self, leaf: &Leaf, steps: &Steps) -> Result<Vec<StepVector>, QueryError> {
        let FragmentOutput { series, step_samples, .. } = self.take(leaf)?;
        self.count(&step_samples, false, steps);
        Ok(series)
    }

    /// The value of `inner` at the first step, which is that of all.
    fn once(&mut self, inner: &Node, steps: &Steps) -> Result<Value, QueryError> {
        let (counting, asked) = (self.counting, usize::from(!self.step_samples.is_empty()));
        if counting != Counting::No {
            self.counting = Counting::BySteps;
        }
        let outer = std::mem::replace(&mut self.step_samples, vec![0; asked]);
        let value = self.node(inner, &steps.first());
        let own = std::mem::replace(&mut self.step_samples, outer);
        self.counting = counting;
        self.count(&own, true, steps);
        match value? {
            Value::Scalar(values) => {
                self.ledger.hold(0, scalar_bytes(steps.len()))?;
                Ok(Value::Scalar(vec![values[0]; steps.len()]))
            }
            Value::Vector(vector) => {
                let spread = |s: StepVector| s.spread(steps.len(), &mut self.ledger);
                vector.into_iter().map(spread).collect::<Result<_, _>>().map(Value::Vector)
            }
            text @ Value::Text(_) => Ok(text),
        }
    }

    /// Adds what a fragment's steps have looked at. What a member says is not trusted to be small.
    pub(super) fn count(&mut self, step_samples: &[u64], spread: bool, steps: &Steps) {
        let add = |(count, more): (&mut u64, &u64)| *count = count.saturating_add(*more);
        let counted = &mut self.step_samples;
        match self.counting {
            Counting::No => {}
            Counting::AtOnce => {
                let times = if spread { steps.len() as u64 } else { 1 };
                let all = step_samples.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
                counted.iter_mut().take(1).zip(&[all.saturating_mul(times)]).for_each(add);
            }
            Counting::BySteps if spread => {
                counted.iter_mut().zip(step_samples.iter().take(1).cycle()).for_each(add);
            }
            Counting::BySteps => counted.iter_mut().zip(step_samples).for_each(add),
        }
    }

    pub(super) fn vector(
        &mut self,
        node: &Node,
        steps: &Steps,
    ) -> Result<Vec<StepVector>, QueryError> {
        match self.node(node, steps)? {
            Value::Vector(vector) => Ok(vector),
            _ => wrong_type(),
        }
    }

    pub(super) fn scalar(&mut self, node: &Node, steps: &Steps) -> Result<Vec<f64>, QueryError> {
        match self.node(node, steps)? {
            Value::Scalar(values) => Ok(values),
            _ => wrong_type(),
        }
    }

    pub(super) fn note_all(&mut self, pos: PosRange, notes: Vec<Note>) {
        notes.into_iter().for_each(|note| self.annotations.add(pos, note));
    }

    fn absent(
        &mut self,
        input: &Node,
        labels: &Labels,
        steps: &Steps,
    ) -> Result<Value, QueryError> {
        self.ledger.hold(0, column_bytes(steps.len()))?;
        let mut out = StepVector::constant(labels.clone(), 1.0, steps.len());
        for series in self.vector(input, steps)? {
            out.present.subtract(&series.presence());
        }
        Ok(Value::Vector(if out.is_empty() { Vec::new() } else { vec![out] }))
    }

    // --- functions, aggregations, operators

    fn call(&mut self, call: &CallNode, steps: &Steps) -> Result<Value, QueryError> {
        let args = call.args.iter().map(|a| self.node(a, steps)).collect::<Result<_, _>>()?;
        let mut context = Context {
            steps,
            ranged: call.ranged,
            delayed_name_removal: self.params.features.delayed_name_removal,
            pos: call.pos,
            arg_pos: &call.arg_pos,
            ledger: &mut self.ledger,
            notes: Vec::new(),
            lifted: Vec::new(),
        };
        let value = functions::call(call.function.name, args, &mut context)?;
        let (notes, lifted) = (context.notes, context.lifted);
        notes.into_iter().for_each(|(pos, note)| self.annotations.add(pos, note));
        for (pos, note, lifted) in lifted {
            self.annotations.add_lifted(pos, note, lifted);
        }
        Ok(value)
    }

    fn info(&mut self, node: &InfoNode, steps: &Steps) -> Result<Vec<StepVector>, QueryError> {
        let base = self.vector(&node.input, steps)?;
        let infos = self.vector(&node.info, steps)?;
        let selector = InfoSelector { names: &node.names, data: &node.data };
        info::join(base, infos, &selector, steps.len(), &mut self.ledger)
    }

    /// A chain of operators is as deep a tree as it is long: its left sides are walked without recursion.
    fn binary(&mut self, node: &BinaryNode, steps: &Steps) -> Result<Value, QueryError> {
        let mut chain = vec![node];
        let mut left = &node.lhs;
        while let Node::Binary(inner) = left {
            chain.push(inner);
            left = &inner.lhs;
        }
        let mark = self.ledger.mark();
        let mut value = self.node(left, steps)?;
        while let Some(node) = chain.pop() {
            let rhs = self.node(&node.rhs, steps)?;
            value = self.operator(node, value, rhs, steps)?;
            value = self.settle(mark, value)?;
        }
        Ok(value)
    }

    fn operator(
        &mut self,
        node: &BinaryNode,
        lhs: Value,
        rhs: Value,
        steps: &Steps,
    ) -> Result<Value, QueryError> {
        let delayed_name_removal = self.params.features.delayed_name_removal;
        let style = Style { return_bool: node.return_bool, delayed_name_removal };
        let (mut notes, ledger) = (Vec::new(), &mut self.ledger);
        let out = match (lhs, rhs) {
            (Value::Scalar(a), Value::Scalar(b)) => {
                ledger.hold(0, scalar_bytes(steps.len()))?;
                return binary::scalars(node.op, &a, &b).map(Value::Scalar);
            }
            (Value::Vector(v), Value::Scalar(s)) => {
                binary::vector_scalar(node.op, v, &s, Side::Left, style, &mut notes, ledger)?
            }
            (Value::Scalar(s), Value::Vector(v)) => {
                binary::vector_scalar(node.op, v, &s, Side::Right, style, &mut notes, ledger)?
            }
            (Value::Vector(a), Value::Vector(b)) if node.op.is_set() => {
                binary::set_op(node.op, a, b, &node.matching)?
            }
            (Value::Vector(a), Value::Vector(b)) => {
                let operator = Operator { op: node.op, matching: &node.matching, style };
                binary::vectors(operator, &a, &b, steps.len(), &mut notes, ledger)?
            }
            _ => return wrong_type(),
        };
        self.note_all(node.pos, notes);
        Ok(Value::Vector(out))
    }
}

pub(super) fn wrong_type<T>() -> Result<T, QueryError> {
    Err(QueryError::Internal("a value of a wrong type passed the type check".to_string()))
}
