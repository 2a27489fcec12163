//! Walks the plan: results of fragments in, the query's value out.

use std::collections::BTreeMap;

use pando_model::{Labels, SampleValue, SeriesSamples};

use super::columns::{matrix, matrix_at_edges, matrix_of_samples, samples_of};
use super::output::{QueryOutput, QueryStats, QueryValue, VectorSample};
use super::{Query, QueryParams};
use crate::annotations::{Annotations, Note};
use crate::budget::{Budget, CancelFlag, Ledger};
use crate::engine::binary::{self, Side, Style};
use crate::engine::functions::{self, Context, Value};
use crate::engine::info::{self, InfoSelector};
use crate::engine::names::drop_metadata_labels;
use crate::engine::queryable::{self, StepSamples};
use crate::engine::range::{Edges, RangeArgs, RangeCall, RangeFunction};
use crate::engine::vector::{StepVector, join_same_labels, require_distinct};
use crate::engine::window::WindowCache;
use crate::error::QueryError;
use crate::fragment::{FragmentId, FragmentResult, NoteSite};
use crate::plan::{
    BinaryNode, CallNode, InfoNode, Leaf, Node, RangeNode, RangeSource, SubqueryNode,
};
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
    for result in results.values() {
        let samples: usize = result.series.iter().map(StepVector::samples).sum();
        let raw: usize = result.raw.iter().map(SeriesSamples::len).sum();
        let bytes: usize = result.series.iter().map(StepVector::bytes).sum();
        ledger.hold(samples + raw, bytes + raw * 16)?;
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
enum Counting {
    /// Each at its step.
    BySteps,
    /// All at the query's one step: a subquery is the whole query.
    AtOnce,
    /// None: within a subquery that a function reads; its points are counted instead.
    No,
}

pub(super) struct Evaluator<'a> {
    pub(super) params: &'a QueryParams,
    results: BTreeMap<FragmentId, FragmentResult>,
    /// How many nodes still need each result: the last one takes it.
    uses: Vec<u32>,
    ledger: Ledger,
    /// Empty where nobody asks.
    step_samples: StepSamples,
    counting: Counting,
    pub(super) annotations: Annotations,
}

impl Evaluator<'_> {
    fn root(&mut self, node: &Node) -> Result<QueryValue, QueryError> {
        let steps = self.params.steps;
        let t_ms = steps.start_ms();
        match node {
            Node::Samples { leaf, edges, window } => {
                let raw = self.take(leaf).raw;
                if let Some(count) = self.step_samples.first_mut() {
                    *count += raw.iter().map(queryable::all).sum::<u64>();
                }
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

    fn take(&mut self, leaf: &Leaf) -> FragmentResult {
        let uses = &mut self.uses[leaf.fragment.0 as usize];
        *uses = uses.saturating_sub(1);
        let result = if *uses == 0 {
            self.results.remove(&leaf.fragment)
        } else {
            self.results.get(&leaf.fragment).cloned()
        };
        let result = result.unwrap_or_default();
        for (site, note) in &result.notes {
            let pos = match site {
                NoteSite::Function => leaf.function_pos,
                NoteSite::Aggregation => leaf.aggregation_pos,
            };
            self.annotations.add(pos, note.clone());
        }
        result
    }

    pub(super) fn node(&mut self, node: &Node, steps: &Steps) -> Result<Value, QueryError> {
        self.ledger.check_cancel()?;
        match node {
            Node::Constant(v) => Ok(Value::Scalar(vec![*v; steps.len()])),
            Node::Text(text) => Ok(Value::Text(text.clone())),
            Node::Time => Ok(Value::Scalar(steps.iter().map(|t| t as f64 / 1000.0).collect())),
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
                    functions::negate(vector, delayed).map(Value::Vector)
                }
                Value::Text(_) => wrong_type(),
            },
            Node::Samples { .. } | Node::SubqueryPoints(_) => wrong_type(),
        }
    }

    /// The series of a fragment at `steps`.
    fn fragment(&mut self, leaf: &Leaf, steps: &Steps) -> Result<Vec<StepVector>, QueryError> {
        let FragmentResult { series, step_samples, .. } = self.take(leaf);
        self.count(&step_samples, leaf.spread, steps);
        if !leaf.spread {
            return Ok(series);
        }
        self.ledger.hold(series.len() * steps.len(), series.len() * steps.len() * 8)?;
        Ok(series.into_iter().map(|s| s.spread(steps.len())).collect())
    }

    /// Adds what a fragment's steps have looked at. What a member says is not trusted to be small.
    fn count(&mut self, step_samples: &[u64], spread: bool, steps: &Steps) {
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

    fn scalar(&mut self, node: &Node, steps: &Steps) -> Result<Vec<f64>, QueryError> {
        match self.node(node, steps)? {
            Value::Scalar(values) => Ok(values),
            _ => wrong_type(),
        }
    }

    pub(super) fn note_all(&mut self, pos: PosRange, notes: Vec<Note>) {
        notes.into_iter().for_each(|note| self.annotations.add(pos, note));
    }

    // --- ranges

    fn subquery(
        &mut self,
        subquery: &SubqueryNode,
        counting: Counting,
    ) -> Result<Vec<StepVector>, QueryError> {
        let Some(steps) = &subquery.steps else { return Ok(Vec::new()) };
        let around = std::mem::replace(&mut self.counting, counting);
        let points = self.vector(&subquery.inner, steps);
        self.counting = around;
        points
    }

    fn range_call(
        &mut self,
        range: &RangeNode,
        steps: &Steps,
    ) -> Result<Vec<StepVector>, QueryError> {
        let args =
            range.args.iter().map(|a| self.scalar(a, steps)).collect::<Result<Vec<_>, _>>()?;
        let args = relative_args(range, args, steps);
        let faulty = range.function == RangeFunction::Smoothing
            && (0..steps.len()).any(|i| check_factors(&args, i).is_err());
        let mut notes = Vec::new();
        let delayed = self.params.features.delayed_name_removal || range.presence_only;
        let call = RangeCall {
            function: range.function,
            range_ms: range.range_ms,
            rules: range.rules,
            steps: &range.ends,
            args: RangeArgs::Columns(&args),
            delayed_name_removal: delayed,
        };
        // One window end stands for all steps, unless an argument changes from step to step.
        let (mut out, mut windows) = (Vec::new(), WindowCache::default());
        let whole = range.ends.len() == steps.len();
        let asked = !self.step_samples.is_empty() && self.counting != Counting::No;
        let mut counted = vec![0; if asked { steps.len() } else { 0 }];
        let mut run = |series: &SeriesSamples, marked: bool| -> Result<(), QueryError> {
            if faulty {
                check_factors_of(&call, series, steps, &args)?;
            }
            let mut vector = match whole {
                true => call.run(series, &mut windows, &mut notes),
                false => repeated(&call, series, steps, &mut windows, &mut notes)?,
            };
            let (ends, range_ms) = (&range.ends, range.range_ms);
            queryable::add_windows(&mut counted, series, ends, range_ms, &mut windows);
            vector.drop_name |= marked;
            if !vector.is_empty() {
                out.push(vector);
            }
            Ok(())
        };
        match &range.source {
            RangeSource::Raw(fragment) => {
                let pos = range.pos;
                let leaf = Leaf {
                    fragment: *fragment,
                    spread: false,
                    function_pos: pos,
                    aggregation_pos: pos,
                    pos,
                };
                for series in self.take(&leaf).raw {
                    run(&series, false)?;
                }
            }
            RangeSource::Subquery(subquery) => {
                let points = self.subquery(subquery, Counting::No)?;
                let grid = subquery.steps.unwrap_or(*steps);
                for series in points {
                    let marked = series.drop_name;
                    run(&samples_of(series, &grid), marked)?;
                }
            }
        }
        self.count(&counted, false, steps);
        self.note_all(notes_pos(range), notes);
        if range.function == RangeFunction::Quantile {
            self.note_quantiles(range, &args, &out);
        }
        if !delayed && range.function.drops_name() {
            require_distinct(&out)?;
        }
        Ok(out)
    }

    /// Warns of quantiles that are none, where one was asked of somebody.
    fn note_quantiles(&mut self, range: &RangeNode, args: &[Vec<f64>], out: &[StepVector]) {
        let pos = range.arg_pos.first().copied().unwrap_or(range.pos);
        for (i, q) in args.iter().flatten().enumerate().filter(|(_, q)| !(0.0..=1.0).contains(*q)) {
            if out.iter().any(|series| series.float(i).is_some()) {
                self.annotations.add(pos, Note::invalid_quantile(*q));
            }
        }
    }

    fn absent(
        &mut self,
        input: &Node,
        labels: &Labels,
        steps: &Steps,
    ) -> Result<Value, QueryError> {
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
            instant: self.params.instant,
            delayed_name_removal: self.params.features.delayed_name_removal,
            pos: call.pos,
            arg_pos: &call.arg_pos,
            notes: Vec::new(),
        };
        let value = functions::call(call.function.name, args, &mut context)?;
        for (pos, note) in context.notes {
            self.annotations.add(pos, note);
        }
        Ok(value)
    }

    fn info(&mut self, node: &InfoNode, steps: &Steps) -> Result<Vec<StepVector>, QueryError> {
        let base = self.vector(&node.input, steps)?;
        let infos = self.fragment(&node.info, steps)?;
        let selector = InfoSelector { names: &node.names, data: &node.data };
        info::join(base, infos, &selector, steps.len())
    }

    /// A chain of operators is as deep a tree as it is long: its left sides are walked without recursion.
    fn binary(&mut self, node: &BinaryNode, steps: &Steps) -> Result<Value, QueryError> {
        let mut chain = vec![node];
        let mut left = &node.lhs;
        while let Node::Binary(inner) = left {
            chain.push(inner);
            left = &inner.lhs;
        }
        let mut value = self.node(left, steps)?;
        while let Some(node) = chain.pop() {
            let rhs = self.node(&node.rhs, steps)?;
            value = self.operator(node, value, rhs, steps)?;
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
        let mut notes = Vec::new();
        let out = match (lhs, rhs) {
            (Value::Scalar(a), Value::Scalar(b)) => {
                return Ok(Value::Scalar(binary::scalars(node.op, &a, &b)));
            }
            (Value::Vector(v), Value::Scalar(s)) => {
                binary::vector_scalar(node.op, v, &s, Side::Left, style, &mut notes)?
            }
            (Value::Scalar(s), Value::Vector(v)) => {
                binary::vector_scalar(node.op, v, &s, Side::Right, style, &mut notes)?
            }
            (Value::Vector(a), Value::Vector(b)) if node.op.is_set() => {
                binary::set_op(node.op, a, b, &node.matching)?
            }
            (Value::Vector(a), Value::Vector(b)) => {
                let matching = &node.matching;
                binary::vectors(node.op, &a, &b, matching, style, steps.len(), &mut notes)?
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

/// Where notes point that a range function makes: at its first argument, and at the beginning of the query where that
/// is a subquery. Prometheus evaluates a selector without a place in its stead.
fn notes_pos(range: &RangeNode) -> PosRange {
    match (range.function, &range.source, range.arg_pos.first()) {
        (RangeFunction::Quantile, _, Some(first)) => *first,
        (_, RangeSource::Subquery(_), _) => PosRange::default(),
        _ => range.pos,
    }
}

/// The arguments, as the function takes them.
fn relative_args(range: &RangeNode, mut args: Vec<Vec<f64>>, steps: &Steps) -> Vec<Vec<f64>> {
    // The line is asked for relative to the evaluation time, windows may end elsewhere.
    if range.function == RangeFunction::PredictLinear {
        for (i, v) in args.iter_mut().flatten().enumerate() {
            let end = range.ends.at(if range.ends.len() == 1 { 0 } else { i });
            *v += steps.at(i).saturating_sub(end) as f64 / 1000.0;
        }
    }
    args
}

/// Whether the factors of a smoothing are such at step `i`.
fn check_factors(args: &[Vec<f64>], i: usize) -> Result<(), QueryError> {
    for ((name, short), values) in [("smoothing", "sf"), ("trend", "tf")].iter().zip(args) {
        if let Some(v) = values.get(i).filter(|v| **v <= 0.0 || **v >= 1.0) {
            return Err(QueryError::execution(format!(
                "invalid {name} factor. Expected: 0 < {short} < 1, got: {v:.6}"
            )));
        }
    }
    Ok(())
}

/// [`check_factors`] at the steps at which the series has anything to be smoothed.
fn check_factors_of(
    call: &RangeCall<'_>,
    series: &SeriesSamples,
    steps: &Steps,
    args: &[Vec<f64>],
) -> Result<(), QueryError> {
    let present = RangeFunction::Present;
    let call = RangeCall { function: present, args: RangeArgs::Columns(&[]), ..*call };
    let mut met = call.run(series, &mut WindowCache::default(), &mut Vec::new());
    if call.steps.len() != steps.len() {
        met = met.spread(steps.len());
    }
    (0..steps.len()).filter(|i| met.float(*i).is_some()).try_for_each(|i| check_factors(args, i))
}

/// The function over the one window `ends`, at every step.
fn repeated(
    call: &RangeCall<'_>,
    series: &SeriesSamples,
    steps: &Steps,
    windows: &mut WindowCache,
    notes: &mut Vec<Note>,
) -> Result<StepVector, QueryError> {
    if matches!(call.args, RangeArgs::Columns([])) {
        return Ok(call.run(series, windows, notes).spread(steps.len()));
    }
    // An argument per step: the same window again and again.
    let mut out: Option<StepVector> = None;
    for i in 0..steps.len() {
        let args: Vec<Vec<f64>> = match call.args {
            RangeArgs::Columns(columns) => columns.iter().map(|c| vec![c[i]]).collect(),
            RangeArgs::Constant(values) => values.iter().map(|v| vec![*v]).collect(),
        };
        let one = RangeCall { args: RangeArgs::Columns(&args), ..*call };
        let value = one.run(series, windows, notes);
        let out = out.get_or_insert_with(|| {
            let mut empty = StepVector::empty(value.labels.clone(), steps.len());
            empty.drop_name = value.drop_name;
            empty
        });
        match value.value(0) {
            Some(SampleValue::Float(v)) => out.set(i, v),
            Some(SampleValue::Histogram(h)) => out.histograms.push((i as u32, h)),
            None => {}
        }
    }
    Ok(out.unwrap_or_else(|| StepVector::empty(series.labels.clone(), steps.len())))
}
