//! `info(v, {matchers})`: what is asked of the info series before anything is known of `v`.
//!
//! Prometheus evaluates `v` first and then selects the info series of the instances and jobs in it. Here all fragments
//! are asked at once, so the info series are selected by what the query says alone: the matchers of names and data
//! labels, and those of `instance` and `job` that every series of `v` must have passed. What `v` does not have is left
//! out when both are joined (`engine::info`), so that the answer is the same.
//!
//! Matchers of names: as they are written, if one of them is positive; `.+_info` in addition, if all are negative;
//! `target_info`, if there is none.
//!
//! The info series are read at the times that the samples of `v` are of. `@` and `offset` of its selectors say which,
//! through the subqueries around them, provided that all selectors whose samples become values of `v` say the same;
//! otherwise at the evaluation time (Prometheus' pull requests 19266 and 19387).

use pando_model::{METRIC_NAME, MatchOp, Matcher};

use super::build::Builder;
use super::{InfoNode, Node};
use crate::engine::info::IDENTIFYING;
use crate::engine::range::RangeFunction;
use crate::error::QueryError;
use crate::fragment::{FragmentPlan, Read};
use crate::steps::Steps;
use crate::syntax::ast::{AtModifier, Call, Duration, Subquery, VectorSelector};
use crate::syntax::{Expr, ExprKind, ValueType};

/// The info metric where none is named.
const TARGET_INFO: &str = "target_info";
/// The names of info metrics, where only those are named that are not meant.
const ANY_INFO: &str = ".+_info";

/// When samples are of that a selector reads: at a time, or at the evaluation time; `offset_ms` before it.
#[derive(Clone, Copy)]
struct Reference {
    fixed_ms: Option<i64>,
    offset_ms: i64,
}

impl Reference {
    fn same(self, other: Reference) -> bool {
        match (self.fixed_ms, other.fixed_ms) {
            (Some(a), Some(b)) => {
                a.saturating_sub(self.offset_ms) == b.saturating_sub(other.offset_ms)
            }
            (None, None) => self.offset_ms == other.offset_ms,
            _ => false,
        }
    }
}

/// The references of a vector's selectors.
#[derive(Default)]
struct References {
    first: Option<Reference>,
    /// Whether they differ, or a part of the vector has none.
    mixed: bool,
}

impl Builder<'_> {
    pub(super) fn info(&mut self, call: &Call, steps: Steps) -> Result<Node, QueryError> {
        let base = &call.args[0];
        let input = self.node(base, steps)?;
        let selector = match call.args.get(1).map(|arg| &arg.kind) {
            Some(ExprKind::Vector(selector)) => selector.matchers.clone(),
            _ => Vec::new(),
        };
        let (names, data): (Vec<_>, Vec<_>) =
            selector.into_iter().partition(|m| m.name() == METRIC_NAME);
        let names = info_names(names)?;
        let mut references = References::default();
        self.refer(base, &mut Vec::new(), &mut references)?;
        let reference = references.first.filter(|_| !references.mixed);
        let (at, once) = match reference {
            Some(Reference { fixed_ms: Some(t), offset_ms }) => {
                (Steps::instant(t).shifted(offset_ms), steps.len() > 1)
            }
            Some(Reference { fixed_ms: None, offset_ms }) => (steps.shifted(offset_ms), false),
            None => (steps, false),
        };
        let mut matchers = names.clone();
        matchers.extend(data.iter().cloned());
        matchers.extend(identifying(base).cloned());
        let plan = FragmentPlan {
            matchers,
            steps: at,
            read: Read::SampleTime { lookback_ms: self.params.lookback_ms },
            aggregations: Vec::new(),
            delayed_name_removal: self.params.features.delayed_name_removal,
            statistics: false,
            hints_back_ms: 0,
            count_samples: self.params.count_samples,
        };
        let info = Node::Fragment(self.leaf(plan, base.pos, base.pos)?);
        let info = if once { info.once() } else { info };
        Ok(Node::Info(Box::new(InfoNode { input, info, names, data, pos: base.pos })))
    }

    /// Collects the references of the selectors in `expr` whose samples become its values. Whether there are any.
    fn refer<'e>(
        &self,
        expr: &'e Expr,
        around: &mut Vec<&'e Subquery>,
        out: &mut References,
    ) -> Result<bool, QueryError> {
        if !matches!(expr.value_type(), ValueType::Vector | ValueType::Matrix) {
            return Ok(false);
        }
        let selector = match &expr.kind {
            ExprKind::Vector(selector) => Some(&**selector),
            ExprKind::Matrix(matrix) => Some(&matrix.selector),
            _ => None,
        };
        if let Some(selector) = selector {
            let reference = self.reference(selector, around)?;
            match out.first {
                Some(first) => out.mixed |= !first.same(reference),
                None => out.first = Some(reference),
            }
            return Ok(true);
        }
        let mut found = false;
        match &expr.kind {
            ExprKind::Subquery(subquery) => {
                around.push(subquery);
                found = self.refer(&subquery.expr, around, out)?;
                around.pop();
            }
            // The second argument of `info` is no vector.
            ExprKind::Call(call) if call.function.name == "info" => {
                found = self.refer(&call.args[0], around, out)?;
            }
            // A chain of operators is as deep a tree as it is long: its left sides are walked without recursion.
            ExprKind::Binary(_) => {
                let mut left = expr;
                while let ExprKind::Binary(binary) = &left.kind {
                    found |= self.refer(&binary.rhs, around, out)?;
                    left = &binary.lhs;
                }
                found |= self.refer(left, around, out)?;
            }
            _ => {
                for child in expr.children() {
                    found |= self.refer(child, around, out)?;
                }
            }
        }
        out.mixed |= !found;
        Ok(found)
    }

    /// When the samples of `selector` are of, within the subqueries around it, the innermost last.
    fn reference(
        &self,
        selector: &VectorSelector,
        around: &[&Subquery],
    ) -> Result<Reference, QueryError> {
        let own = (selector.at, selector.offset.as_ref());
        let outer = around.iter().rev().map(|s| (s.at, s.offset.as_ref()));
        let mut reference = Reference { fixed_ms: None, offset_ms: 0 };
        for (at, offset) in std::iter::once(own).chain(outer) {
            reference = self.within(reference, at, offset)?;
            if reference.fixed_ms.is_some() {
                break;
            }
        }
        Ok(reference)
    }

    fn within(
        &self,
        inner: Reference,
        at: Option<AtModifier>,
        offset: Option<&Duration>,
    ) -> Result<Reference, QueryError> {
        let offset_ms = inner.offset_ms.saturating_add(self.offset_ms(offset)?);
        Ok(Reference { fixed_ms: self.fixed_ms(at), offset_ms })
    }
}

/// The matchers of the names of info series.
fn info_names(mut written: Vec<Matcher>) -> Result<Vec<Matcher>, QueryError> {
    if written.is_empty() {
        return Ok(vec![Matcher::equal(METRIC_NAME, TARGET_INFO)]);
    }
    if !written.iter().any(|m| matches!(m.op(), MatchOp::Equal | MatchOp::Regex)) {
        let any = Matcher::new(METRIC_NAME, MatchOp::Regex, ANY_INFO);
        written.insert(0, any.map_err(|e| QueryError::Internal(e.to_string()))?);
    }
    Ok(written)
}

/// The matchers of identifying labels that every series of `base` has passed, so that the info series of those must
/// pass them, too. None that a series without the label passes: then an info series may have any value.
fn identifying(base: &Expr) -> impl Iterator<Item = &Matcher> {
    let selector = match &base.unwrapped().kind {
        ExprKind::Vector(selector) => Some(&**selector),
        ExprKind::Call(call) if RangeFunction::from_name(call.function.name).is_some() => {
            call.args.iter().find_map(|arg| match &arg.unwrapped().kind {
                ExprKind::Matrix(matrix) => Some(&matrix.selector),
                _ => None,
            })
        }
        _ => None,
    };
    let matchers = selector.map_or(&[][..], |s| s.matchers.as_slice());
    matchers.iter().filter(|m| IDENTIFYING.contains(&m.name()) && !m.matches_empty())
}
