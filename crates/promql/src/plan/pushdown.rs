//! Which parts of a query run where the data is: a selector, one range function over it, one aggregation over
//! that. Everything else reads raw samples or works on columns here.

use super::build::Builder;
use super::{Leaf, Node};
use crate::engine::range::RangeFunction;
use crate::error::QueryError;
use crate::fragment::{Aggregation, AggregationParam, FragmentPlan, Read};
use crate::steps::Steps;
use crate::syntax::ast::{Aggregate, AggregateOp, Call, VectorSelector};
use crate::syntax::{Expr, ExprKind, PosRange};

/// A fragment plan that is not registered yet.
struct Pushed {
    plan: FragmentPlan,
    function_pos: PosRange,
}

impl Builder<'_> {
    /// The fragment of `function(selector[range])`, where it can be one.
    pub(super) fn pushed_range(
        &mut self,
        function: RangeFunction,
        call: &Call,
        steps: Steps,
    ) -> Result<Option<Leaf>, QueryError> {
        let Some(pushed) = self.range_plan(function, call, steps)? else { return Ok(None) };
        let pos = pushed.function_pos;
        self.leaf(pushed.plan, pos, pos).map(Some)
    }

    fn range_plan(
        &mut self,
        function: RangeFunction,
        call: &Call,
        steps: Steps,
    ) -> Result<Option<Pushed>, QueryError> {
        let (mut args, mut range) = (Vec::new(), None);
        for arg in call.args.iter().map(Expr::unwrapped) {
            match &arg.kind {
                ExprKind::Matrix(matrix) => range = Some((matrix, arg.pos)),
                ExprKind::Subquery(_) => return Ok(None),
                _ => match self.constant(arg) {
                    Some(value) => args.push(value),
                    None => return Ok(None),
                },
            }
        }
        let Some((matrix, mut function_pos)) = range else { return Ok(None) };
        // Notes of a function point at its first argument.
        if function == RangeFunction::Quantile {
            function_pos = call.args.first().map_or(function_pos, |first| first.unwrapped().pos);
        }
        let rules = self.range_rules(&matrix.selector, function, call)?;
        if !self.params.push_down {
            return Ok(None);
        }
        let when = self.when(&matrix.selector, steps)?;
        match (function, args.as_mut_slice()) {
            // These warn about or refuse their arguments, which executors do not.
            (RangeFunction::Quantile, [q]) if !(0.0..=1.0).contains(q) => return Ok(None),
            (RangeFunction::Smoothing, _) => return Ok(None),
            // The line is asked for at the evaluation time, the window ends `offset` before it.
            (RangeFunction::PredictLinear, _) if when.fixed => return Ok(None),
            (RangeFunction::PredictLinear, [ahead]) => *ahead += when.offset_ms as f64 / 1000.0,
            _ => {}
        }
        let range_ms = self.positive(&matrix.range)?;
        let read = Read::Range { range_ms, rules, function, args };
        let plan = self.fragment_plan(&matrix.selector, when.steps, read);
        Ok(Some(Pushed { plan, function_pos }))
    }

    /// The fragment of an aggregation over a selector or a range function of one, where it can be one.
    pub(super) fn pushed_aggregate(
        &mut self,
        aggregate: &Aggregate,
        param: Option<&Node>,
        notes_pos: PosRange,
        steps: Steps,
    ) -> Result<Option<Leaf>, QueryError> {
        if !self.params.push_down {
            return Ok(None);
        }
        let Some(param) = pushed_param(aggregate.op, param) else { return Ok(None) };
        let Some(pushed) = self.readable(&aggregate.expr, steps)? else { return Ok(None) };
        let mut grouping = aggregate.grouping.clone();
        grouping.sort_unstable();
        grouping.dedup();
        let Aggregate { op, without, .. } = *aggregate;
        let aggregation = Aggregation { op, param, grouping, without };
        let plan = FragmentPlan { aggregations: vec![aggregation], ..pushed.plan };
        self.leaf(plan, pushed.function_pos, notes_pos).map(Some)
    }

    /// The plan of an expression that is read straight from series.
    fn readable(&mut self, expr: &Expr, steps: Steps) -> Result<Option<Pushed>, QueryError> {
        let inner = expr.unwrapped();
        match &inner.kind {
            ExprKind::Vector(selector) => {
                let plan = self.instant_plan(selector, steps)?;
                Ok(Some(Pushed { plan, function_pos: inner.pos }))
            }
            ExprKind::Call(call) => match RangeFunction::from_name(call.function.name) {
                Some(function) => self.range_plan(function, call, steps),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// The fragment that says at which steps a selector has any series.
    pub(super) fn pushed_presence(
        &mut self,
        selector: &VectorSelector,
        steps: Steps,
        pos: PosRange,
    ) -> Result<Leaf, QueryError> {
        let plan = self.instant_plan(selector, steps)?;
        self.leaf(any(plan), pos, pos)
    }

    /// The same for `present_over_time(selector[range])`.
    pub(super) fn pushed_presence_over(
        &mut self,
        call: &Call,
        steps: Steps,
    ) -> Result<Option<Leaf>, QueryError> {
        let pushed = self.range_plan(RangeFunction::Present, call, steps)?;
        let Some(pushed) = pushed else { return Ok(None) };
        let pos = pushed.function_pos;
        self.leaf(any(pushed.plan), pos, pos).map(Some)
    }
}

/// The parameter of an aggregation where the data is; `None` where it has to be judged here. Executors neither warn
/// about their parameters nor refuse them, and have one for all steps.
fn pushed_param(op: AggregateOp, param: Option<&Node>) -> Option<AggregationParam> {
    use AggregateOp as A;
    match (op, param) {
        (A::TopK | A::BottomK | A::LimitK, Some(Node::Constant(k))) => {
            (1.0..=1e6).contains(k).then_some(AggregationParam::Places(*k as u32))
        }
        (A::LimitRatio, Some(Node::Constant(ratio))) => {
            let within = (-1.0..=1.0).contains(ratio) && *ratio != 0.0;
            within.then_some(AggregationParam::Ratio(*ratio))
        }
        (A::CountValues, Some(Node::Text(label))) => {
            (!label.is_empty()).then(|| AggregationParam::Label(label.clone()))
        }
        // Its values are selected here.
        (A::Quantile, _) | (_, None) => Some(AggregationParam::None),
        _ => None,
    }
}

/// `group(plan)`. Two series that become one by losing their names do no harm here.
fn any(plan: FragmentPlan) -> FragmentPlan {
    let aggregation = Aggregation {
        op: AggregateOp::Group,
        param: AggregationParam::None,
        grouping: Vec::new(),
        without: false,
    };
    FragmentPlan { aggregations: vec![aggregation], delayed_name_removal: true, ..plan }
}
