//! Functions of ranges where they are evaluated at the frontend: over raw series, and over subqueries.

use pando_model::{SampleValue, SeriesSamples};

use super::columns::samples_of;
use super::evaluate::{Counting, Evaluator};
use crate::annotations::Note;
use crate::budget::Ledger;
use crate::engine::queryable;
use crate::engine::range::{Names, RangeArgs, RangeCall, RangeFunction};
use crate::engine::samples::Course;
use crate::engine::vector::{StepVector, held_column, require_distinct};
use crate::engine::window::WindowCache;
use crate::error::QueryError;
use crate::plan::{Leaf, RangeNode, RangeSource, SubqueryNode};
use crate::steps::Steps;
use crate::syntax::PosRange;

impl Evaluator<'_> {
    pub(super) fn subquery(
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

    pub(super) fn range_call(
        &mut self,
        range: &RangeNode,
        steps: &Steps,
    ) -> Result<Vec<StepVector>, QueryError> {
        let args =
            range.args.iter().map(|a| self.scalar(a, steps)).collect::<Result<Vec<_>, _>>()?;
        let args = relative_args(range, args, steps);
        let mut notes = Vec::new();
        let delayed = self.params.features.delayed_name_removal || range.presence_only;
        let call = RangeCall {
            function: range.function,
            range_ms: range.range_ms,
            rules: range.rules,
            steps: &range.ends,
            args: RangeArgs::Columns(&args),
            names: Names::of(delayed),
            course: Course::Unknown,
        };
        // One window end stands for all steps, unless an argument changes from step to step.
        let (mut out, mut windows) = (Vec::new(), WindowCache::default());
        let whole = range.ends.len() == steps.len();
        let asked = !self.step_samples.is_empty() && self.counting != Counting::No;
        let mut counted = vec![0; if asked { steps.len() } else { 0 }];
        let mut run = |series: &SeriesSamples, marked: bool, ledger: &mut Ledger| {
            ledger.check_cancel()?;
            let mark = ledger.mark();
            check_factors(&call, &args, series, &mut windows, ledger)?;
            let mut vector = match whole {
                true => call.run(series, &mut windows, &mut notes, ledger)?,
                false => repeated(&call, series, steps, &mut windows, &mut notes, ledger)?,
            };
            let (ends, range_ms) = (&range.ends, range.range_ms);
            queryable::add_windows(&mut counted, series, ends, range_ms, &mut windows);
            vector.drop_name |= marked;
            if vector.is_empty() {
                ledger.back_to(mark);
            } else {
                out.push(vector);
            }
            Ok::<_, QueryError>(())
        };
        match &range.source {
            RangeSource::Raw(fragment) => {
                let pos = range.pos;
                let leaf = Leaf {
                    fragment: *fragment,
                    aggregation: 0,
                    function_pos: pos,
                    aggregation_pos: pos,
                    pos,
                };
                for series in self.take(&leaf)?.raw {
                    run(&series, false, &mut self.ledger)?;
                }
            }
            RangeSource::Subquery(subquery) => {
                let points = self.subquery(subquery, Counting::No)?;
                let grid = subquery.steps.unwrap_or(*steps);
                for series in points {
                    let marked = series.drop_name;
                    // Its points as samples, each with a time.
                    let bytes = series.samples() * 16;
                    self.ledger.hold(0, bytes)?;
                    run(&samples_of(series, &grid), marked, &mut self.ledger)?;
                    self.ledger.release(0, bytes);
                }
            }
        }
        self.count(&counted, false, steps);
        self.note_all(notes_pos(range), notes);
        self.note_quantiles(range, &args, &out);
        if !delayed && range.function.drops_name() {
            require_distinct(&out)?;
        }
        Ok(out)
    }

    /// Says which quantiles are none. Nobody is told of those that nothing was asked for.
    fn note_quantiles(&mut self, range: &RangeNode, args: &[Vec<f64>], out: &[StepVector]) {
        let (RangeFunction::Quantile, [q]) = (range.function, args) else { return };
        for (i, q) in q.iter().enumerate().filter(|(_, q)| !(0.0..=1.0).contains(*q)) {
            if out.iter().any(|series| series.present.get(i)) {
                let pos = range.arg_pos.first().copied().unwrap_or(range.pos);
                self.annotations.add(pos, Note::invalid_quantile(*q));
            }
        }
    }
}

/// The arguments. A line is asked for relative to the evaluation time, but windows may end elsewhere.
fn relative_args(range: &RangeNode, mut args: Vec<Vec<f64>>, steps: &Steps) -> Vec<Vec<f64>> {
    if range.function == RangeFunction::PredictLinear {
        for (i, v) in args.iter_mut().flatten().enumerate() {
            let end = range.ends.at(if range.ends.len() == 1 { 0 } else { i });
            *v += steps.at(i).saturating_sub(end) as f64 / 1000.0;
        }
    }
    args
}

/// Refuses factors of `double_exponential_smoothing` that are none, at the first step that has a sample to smooth.
fn check_factors(
    call: &RangeCall<'_>,
    args: &[Vec<f64>],
    series: &SeriesSamples,
    windows: &mut WindowCache,
    ledger: &mut Ledger,
) -> Result<(), QueryError> {
    let wrong = |v: &f64| *v <= 0.0 || *v >= 1.0;
    if call.function != RangeFunction::Smoothing || !args.iter().flatten().any(wrong) {
        return Ok(());
    }
    let counting =
        RangeCall { function: RangeFunction::Count, args: RangeArgs::Columns(&[]), ..*call };
    let mark = ledger.mark();
    let counts = counting.run(series, windows, &mut Vec::new(), ledger)?;
    ledger.back_to(mark);
    let steps = args.first().map_or(0, Vec::len);
    let asked = |i: &usize| counts.present.get(if counts.present.len() == 1 { 0 } else { *i });
    for i in (0..steps).filter(asked) {
        for ((name, short), values) in [("smoothing", "sf"), ("trend", "tf")].iter().zip(args) {
            if let Some(v) = values.get(i).filter(|v| wrong(v)) {
                return Err(QueryError::execution(format!(
                    "invalid {name} factor. Expected: 0 < {short} < 1, got: {v:.6}"
                )));
            }
        }
    }
    Ok(())
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

/// The function over the one window `ends`, at every step.
fn repeated(
    call: &RangeCall<'_>,
    series: &SeriesSamples,
    steps: &Steps,
    windows: &mut WindowCache,
    notes: &mut Vec<Note>,
    ledger: &mut Ledger,
) -> Result<StepVector, QueryError> {
    if matches!(call.args, RangeArgs::Columns([])) {
        let mark = ledger.mark();
        let vector = call.run(series, windows, notes, ledger)?;
        ledger.back_to(mark);
        return vector.spread(steps.len(), ledger);
    }
    held_column(ledger, steps.len(), |ledger| {
        at_each_argument(call, series, steps, windows, notes, ledger)
    })
}

fn at_each_argument(
    call: &RangeCall<'_>,
    series: &SeriesSamples,
    steps: &Steps,
    windows: &mut WindowCache,
    notes: &mut Vec<Note>,
    ledger: &mut Ledger,
) -> Result<StepVector, QueryError> {
    // An argument per step: the same window again and again.
    let mut out: Option<StepVector> = None;
    for i in 0..steps.len() {
        let args: Vec<Vec<f64>> = match call.args {
            RangeArgs::Columns(columns) => columns.iter().map(|c| vec![c[i]]).collect(),
            RangeArgs::Constant(values) => values.iter().map(|v| vec![*v]).collect(),
        };
        let one = RangeCall { args: RangeArgs::Columns(&args), ..*call };
        let mark = ledger.mark();
        let value = one.run(series, windows, notes, ledger)?;
        ledger.back_to(mark);
        let out = out.get_or_insert_with(|| {
            let mut empty = StepVector::empty(value.labels.clone(), steps.len());
            empty.drop_name = value.drop_name;
            empty
        });
        match value.value(0) {
            Some(SampleValue::Float(v)) => out.set(i, v),
            Some(SampleValue::Histogram(h)) => out.push_histogram(i, h, ledger)?,
            None => {}
        }
    }
    Ok(out.unwrap_or_else(|| StepVector::empty(series.labels.clone(), steps.len())))
}
