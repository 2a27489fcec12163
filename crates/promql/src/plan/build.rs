//! From the syntax tree to the plan.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use pando_model::{Labels, METRIC_NAME, MatchOp, Matcher, Window};

use super::invariant::is_step_invariant;
use super::statistics::{asks_for_statistics, passes_statistics, sums_series};
use super::{
    AggregateNode, BinaryNode, CallNode, Leaf, Node, Plan, RangeNode, RangeSource, SubqueryNode,
};
use crate::engine::binary::scalar_op;
use crate::engine::range::{RangeFunction, RangeRules};
use crate::error::QueryError;
use crate::fragment::{FragmentSpec, Read};
use crate::query::QueryParams;
use crate::steps::Steps;
use crate::syntax::ast::{Aggregate, AggregateOp, Binary, Call, Subquery, UnaryOp};
use crate::syntax::{Expr, ExprKind, PosRange, quote};

/// The most steps of a subquery's grid; more could never be held within any budget.
const GRID_STEPS_MAX: usize = 10_000_000;
/// Plans `expr`.
pub(crate) fn build(expr: &Expr, params: &QueryParams) -> Result<Plan, QueryError> {
    let (fragments, uses) = Default::default();
    let ranged = params.end_ms > params.steps.start_ms();
    let mut builder = Builder { params, statistics: false, ranged, summed: false, fragments, uses };
    let root = builder.root(expr)?;
    Ok(Plan { root, fragments: builder.fragments, uses: builder.uses })
}

pub(super) struct Builder<'a> {
    pub(super) params: &'a QueryParams,
    /// Whether what is planned is asked for counts and sums of histograms only.
    pub(super) statistics: bool,
    /// Whether what is planned is evaluated up to a time later than its first step.
    ranged: bool,
    /// Whether histograms of several series are added on the way there.
    pub(super) summed: bool,
    pub(super) fragments: Vec<FragmentSpec>,
    pub(super) uses: Vec<Vec<u32>>,
}

impl Builder<'_> {
    fn root(&mut self, expr: &Expr) -> Result<Node, QueryError> {
        let steps = self.params.steps;
        match &expr.unwrapped().kind {
            ExprKind::Matrix(matrix) => {
                let when = self.when(&matrix.selector, steps)?;
                let window_ms = self.positive(&matrix.range)?;
                let rules = RangeRules { edges: self.edges(&matrix.selector), starts: false };
                let (range_ms, function) = (window_ms, RangeFunction::Last);
                let read = Read::Range { range_ms, rules, function, args: Vec::new() };
                let plan = self.fragment_plan(&matrix.selector, when.steps, read).raw();
                let leaf = self.leaf(plan, expr.pos, expr.pos)?;
                let upto_ms = when.steps.last_ms();
                let window = Window { after_ms: upto_ms.saturating_sub(window_ms), upto_ms };
                Ok(Node::Samples { leaf, edges: rules.edges, window })
            }
            ExprKind::Subquery(subquery) => {
                let (node, _, _) = self.subquery(subquery, steps)?;
                Ok(Node::SubqueryPoints(Box::new(node)))
            }
            _ => self.node(expr, steps),
        }
    }

    /// The node of `expr`, evaluated at `steps`; at the first of them alone where that is enough.
    pub(super) fn node(&mut self, expr: &Expr, steps: Steps) -> Result<Node, QueryError> {
        if self.ranged && is_step_invariant(expr) {
            return self.ranging(false, |b| b.node(expr, steps.first())).map(Node::once);
        }
        let (around, summed) = (self.statistics, self.summed);
        let passes = around && passes_statistics(expr);
        self.statistics = self.params.read_less && (passes || asks_for_statistics(expr));
        self.summed = passes && (summed || sums_series(expr));
        let node = self.node_within(expr, steps);
        (self.statistics, self.summed) = (around, summed);
        node.map(|node| node.at(expr.pos))
    }

    /// Plans what is evaluated up to a later time, or not.
    fn ranging<T>(&mut self, ranged: bool, plan: impl FnOnce(&mut Self) -> T) -> T {
        let around = std::mem::replace(&mut self.ranged, ranged);
        let planned = plan(self);
        self.ranged = around;
        planned
    }

    fn node_within(&mut self, expr: &Expr, steps: Steps) -> Result<Node, QueryError> {
        match &expr.kind {
            ExprKind::Number(n) => Ok(Node::Constant(n.value)),
            ExprKind::String(s) => Ok(Node::Text(s.clone())),
            ExprKind::Bytes(s) => Ok(Node::Text(String::from_utf8_lossy(s).into_owned())),
            ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => {
                self.node(inner, steps)
            }
            ExprKind::Unary(UnaryOp::Minus, inner) => Ok(match self.node(inner, steps)? {
                Node::Constant(v) => Node::Constant(-v),
                node => Node::Negate(Box::new(node)),
            }),
            ExprKind::Binary(binary) => self.binary(binary, expr.pos, steps),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, expr.pos, steps),
            ExprKind::Call(call) => self.call(call, expr.pos, steps),
            ExprKind::Vector(selector) => {
                let read = self.instant_read(selector);
                self.instant(selector, steps, read, expr.pos).map(Node::Fragment)
            }
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => {
                Err(QueryError::Internal("a range vector where none can stand".to_string()))
            }
        }
    }

    /// A chain of operators is as deep a tree as it is long: its left sides are walked without recursion.
    fn binary(&mut self, binary: &Binary, pos: PosRange, steps: Steps) -> Result<Node, QueryError> {
        let mut chain = vec![(binary, pos)];
        let mut left = &binary.lhs;
        while let ExprKind::Binary(inner) = &left.kind {
            chain.push((inner, left.pos));
            left = &inner.lhs;
        }
        // As much of its beginning as has one value for all steps has it in one node.
        let mut once = self.ranged && is_step_invariant(left);
        let ranged = self.ranged;
        let at = |once: bool| if once { (false, steps.first()) } else { (ranged, steps) };
        let (ranged, first) = at(once);
        let mut node = self.ranging(ranged, |b| b.node(left, first))?;
        while let Some((binary, pos)) = chain.pop() {
            if once && !is_step_invariant(&binary.rhs) {
                (node, once) = (node.once(), false);
            }
            let (ranged, steps) = at(once);
            let rhs = self.ranging(ranged, |b| b.node(&binary.rhs, steps))?;
            node = operator(binary, node, rhs, pos);
        }
        Ok(if once { node.once() } else { node })
    }

    fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        pos: PosRange,
        steps: Steps,
    ) -> Result<Node, QueryError> {
        if let (AggregateOp::CountValues, Some(param)) = (aggregate.op, &aggregate.param)
            && let ExprKind::Bytes(label) = &param.unwrapped().kind
        {
            return Err(QueryError::execution(format!("invalid label name {}", quote(label))));
        }
        let param = aggregate.param.as_ref().map(|p| self.node(p, steps)).transpose()?;
        // As Prometheus does.
        let notes_pos =
            if aggregate.op.picks_series() { pos } else { aggregate.expr.unwrapped().pos };
        let pushed = self.pushed_aggregate(aggregate, param.as_ref(), notes_pos, steps)?;
        let input = match pushed {
            // The columns of each group, among which is selected here.
            Some(leaf) if aggregate.op == AggregateOp::Quantile => Node::Fragment(leaf),
            Some(leaf) => return Ok(Node::Fragment(leaf)),
            None => self.node(&aggregate.expr, steps)?,
        };
        let param_pos = aggregate.param.as_ref().map_or(pos, |p| p.unwrapped().pos);
        Ok(Node::Aggregate(Box::new(AggregateNode {
            op: aggregate.op,
            param,
            input,
            grouping: aggregate.grouping.clone(),
            without: aggregate.without,
            notes_pos,
            param_pos,
            pos,
        })))
    }

    fn call(&mut self, call: &Call, pos: PosRange, steps: Steps) -> Result<Node, QueryError> {
        let name = call.function.name;
        if let Some(function) = RangeFunction::from_name(name) {
            return self.range_call(function, call, steps);
        }
        if let Some(value) = self.constant_call(name) {
            return Ok(Node::Constant(value));
        }
        match name {
            "time" => return Ok(Node::Time),
            "absent" | "absent_over_time" => return self.absent(call, steps),
            "info" => return self.info(call, steps),
            "timestamp" | "start_timestamp" => {
                let arg = call.args[0].unwrapped();
                if let ExprKind::Vector(selector) = &arg.kind {
                    let lookback_ms = self.params.lookback_ms;
                    let read = match name {
                        "timestamp" => Some(Read::Instant { lookback_ms, timestamp: true }),
                        _ if !self.params.features.start_timestamps => None,
                        _ => Some(Read::StartTimestamp { lookback_ms }),
                    };
                    if let Some(read) = read {
                        return self.instant(selector, steps, read, arg.pos).map(Node::Fragment);
                    }
                }
            }
            _ => {}
        }
        check_texts(call)?;
        let args = call.args.iter().map(|a| self.node(a, steps)).collect::<Result<Vec<_>, _>>()?;
        let arg_pos = call.args.iter().map(|a| a.unwrapped().pos).collect();
        Ok(Node::Call(Box::new(CallNode {
            function: call.function,
            args,
            pos,
            arg_pos,
            ranged: self.ranged,
        })))
    }

    fn range_call(
        &mut self,
        function: RangeFunction,
        call: &Call,
        steps: Steps,
    ) -> Result<Node, QueryError> {
        if let Some(leaf) = self.pushed_range(function, call, steps)? {
            return Ok(Node::Fragment(leaf));
        }
        let (mut args, mut arg_pos, mut range) = (Vec::new(), Vec::new(), None);
        for arg in call.args.iter().map(Expr::unwrapped) {
            match &arg.kind {
                ExprKind::Matrix(_) | ExprKind::Subquery(_) => range = Some(arg),
                _ => {
                    args.push(self.node(arg, steps)?);
                    arg_pos.push(arg.pos);
                }
            }
        }
        let range = range.ok_or_else(|| QueryError::Internal("no range argument".to_string()))?;
        let mut rules = RangeRules::default();
        let (source, range_ms, ends) = match &range.kind {
            ExprKind::Subquery(subquery) => {
                let (node, range_ms, ends) = self.subquery(subquery, steps)?;
                (RangeSource::Subquery(node), range_ms, ends)
            }
            ExprKind::Matrix(matrix) => {
                rules = self.range_rules(&matrix.selector, function, call)?;
                let (fragment, range_ms, ends) =
                    self.raw_range(matrix, (rules, function), range.pos, steps)?;
                (RangeSource::Raw(fragment), range_ms, ends)
            }
            _ => return Err(QueryError::Internal("no range argument".to_string())),
        };
        let pos = range.pos;
        let presence_only = call.function.name == "absent_over_time";
        Ok(Node::RangeCall(Box::new(RangeNode {
            function,
            args,
            arg_pos,
            source,
            range_ms,
            rules,
            presence_only,
            ends,
            pos,
            call_pos: pos,
        })))
    }

    /// The subquery at `steps`: its node, its range, and the ends of its windows.
    fn subquery(
        &mut self,
        subquery: &Subquery,
        steps: Steps,
    ) -> Result<(SubqueryNode, i64, Steps), QueryError> {
        let range_ms = self.positive(&subquery.range)?;
        let when = self.resolve(subquery.at, subquery.offset.as_ref(), steps)?;
        let step_ms = match &subquery.step {
            Some(step) => self.positive(step)?,
            None => self.params.subquery_step_ms.max(1),
        };
        // The grid is absolute: multiples of the step, the first one later than the first window's start.
        let after = when.steps.start_ms().saturating_sub(range_ms);
        let first = after.div_euclid(step_ms).saturating_add(1).saturating_mul(step_ms);
        let last = when.steps.last_ms();
        let grid = Steps::grid(first, last, step_ms);
        // Steps that cannot be counted are not none.
        if grid.map_or(first <= last, |g| g.len() > GRID_STEPS_MAX) {
            return Err(QueryError::Budget {
                what: "subquery_steps",
                limit: GRID_STEPS_MAX as u64,
            });
        }
        // Where no step of the grid lies in the range, the inner expression is still planned for its errors. It is
        // never evaluated, so nothing is read for it: what executors refuse then is no error of the query.
        let before = grid.is_none().then(|| (self.fragments.clone(), self.uses.clone()));
        let steps = grid.unwrap_or(Steps::instant(first));
        let inner = self.ranging(last > first, |b| b.node(&subquery.expr, steps))?;
        if let Some(before) = before {
            (self.fragments, self.uses) = before;
        }
        Ok((SubqueryNode { inner, steps: grid }, range_ms, when.steps))
    }

    fn absent(&mut self, call: &Call, steps: Steps) -> Result<Node, QueryError> {
        let arg = call.args[0].unwrapped();
        let selector = match &arg.kind {
            ExprKind::Vector(selector) => Some(&**selector),
            ExprKind::Matrix(matrix) => Some(&matrix.selector),
            _ => None,
        };
        let labels = selector.map_or_else(Labels::empty, |s| absent_labels(&s.matchers));
        let input = match (call.function.name, selector) {
            ("absent_over_time", _) => match self.pushed_presence_over(call, steps)? {
                Some(leaf) => Node::Fragment(leaf),
                None => self.range_call(RangeFunction::Present, call, steps)?,
            },
            (_, Some(selector)) if self.params.push_down => {
                Node::Fragment(self.pushed_presence(selector, steps, arg.pos)?)
            }
            _ => self.node(arg, steps)?,
        };
        Ok(Node::Absent { input: Box::new(input), labels, pos: arg.pos })
    }
}

impl Node {
    /// The node with the place of its whole expression.
    fn at(mut self, place: PosRange) -> Self {
        match &mut self {
            Node::Fragment(Leaf { pos, .. }) | Node::Absent { pos, .. } => *pos = place,
            Node::RangeCall(range) => range.call_pos = place,
            Node::Info(info) => info.pos = place,
            Node::Aggregate(aggregate) => aggregate.pos = place,
            // They have it, or nothing is evaluated there.
            Node::Samples { .. } | Node::Call(_) | Node::Binary(_) => {}
            Node::Constant(_) | Node::Text(_) | Node::Time => {}
            Node::SubqueryPoints(_) | Node::Negate(_) | Node::Once(_) => {}
        }
        self
    }

    /// The node of an expression that has one value for all steps, planned for the first of them.
    pub(super) fn once(self) -> Self {
        match self {
            constant @ (Node::Constant(_) | Node::Text(_)) => constant,
            node => Node::Once(Box::new(node)),
        }
    }
}

/// Refuses arguments that are no UTF-8: Prometheus refuses names of labels that are not, and takes any bytes as values,
/// which no label has here.
fn check_texts(call: &Call) -> Result<(), QueryError> {
    let name = call.function.name;
    for (i, arg) in call.args.iter().enumerate() {
        let ExprKind::Bytes(bytes) = &arg.unwrapped().kind else { continue };
        let label = String::from_utf8_lossy(bytes);
        return Err(match (name, i) {
            ("label_replace" | "label_join", 1) => QueryError::execution(format!(
                "invalid destination label name in {name}(): {label}"
            )),
            ("label_join", 3..) => {
                QueryError::execution(format!("invalid source label name in {name}(): {label}"))
            }
            _ => {
                let text = quote(bytes);
                QueryError::invalid(format!(
                    "string is not valid UTF-8 in call to {name:?}: {text}"
                ))
            }
        });
    }
    Ok(())
}

/// The node of `lhs op rhs`; two constants become one.
fn operator(binary: &Binary, lhs: Node, rhs: Node, pos: PosRange) -> Node {
    if let (Node::Constant(a), Node::Constant(b)) = (&lhs, &rhs)
        && let Some(value) = scalar_op(binary.op, *a, *b)
    {
        return Node::Constant(value);
    }
    let (op, return_bool) = (binary.op, binary.return_bool);
    let matching = binary.matching.clone();
    Node::Binary(Box::new(BinaryNode { op, lhs, rhs, matching, return_bool, pos }))
}

/// The labels that `absent` gives its result: those that the selector fixes.
fn absent_labels(matchers: &[Matcher]) -> Labels {
    // `None` where another matcher follows: it takes the label, and none gives it back.
    let mut fixed: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for m in matchers.iter().filter(|m| m.name() != METRIC_NAME) {
        match fixed.entry(m.name()) {
            Entry::Occupied(mut taken) => *taken.get_mut() = None,
            Entry::Vacant(free) if m.op() == MatchOp::Equal => {
                free.insert(Some(m.value()));
            }
            Entry::Vacant(_) => {}
        }
    }
    let set = fixed.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Labels::from_sorted(set.filter(|(_, value)| !value.is_empty())).unwrap_or_default()
}
