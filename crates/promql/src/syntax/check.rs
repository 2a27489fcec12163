//! Type checks of a whole tree, in the order and with the words of Prometheus.

use std::collections::BTreeSet;

use pando_model::number::go_quote;

use super::ast::{Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, ExprKind, ValueType};
use super::error::Fault;
use super::position::PosRange;

/// The first fault of `root`, if it has one.
pub(crate) fn check(root: &Expr) -> Result<(), Fault> {
    // Children before parents, left before right, without recursion: chains of operators are deep.
    let mut order = Vec::new();
    let mut stack = vec![root];
    while let Some(expr) = stack.pop() {
        order.push(expr);
        match &expr.kind {
            // The second argument of `info` may match everything: it only restricts a join.
            ExprKind::Call(call) if call.function.name == "info" => stack.extend(call.args.first()),
            _ => stack.extend(expr.children()),
        }
    }
    order.iter().rev().try_for_each(|expr| check_one(expr))
}

fn check_one(expr: &Expr) -> Result<(), Fault> {
    match &expr.kind {
        ExprKind::Unary(_, inner) => {
            let ty = inner.value_type();
            if !matches!(ty, ValueType::Scalar | ValueType::Vector) {
                let message = format!(
                    "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                    ty.as_str()
                );
                return Err(Fault::new(expr.pos, message));
            }
            Ok(())
        }
        ExprKind::Binary(binary) => check_binary(binary, expr.pos),
        ExprKind::Aggregate(aggregate) => check_aggregate(aggregate),
        ExprKind::Call(call) => check_call(call, expr.pos),
        ExprKind::Vector(selector) => check_selector(&selector.matchers, expr.pos),
        ExprKind::Matrix(m) => check_selector(&m.selector.matchers, m.selector_pos),
        _ => Ok(()),
    }
}

fn check_selector(matchers: &[pando_model::Matcher], pos: PosRange) -> Result<(), Fault> {
    if matchers.iter().all(|m| m.matches_empty()) {
        let message = "vector selector must contain at least one non-empty matcher";
        return Err(Fault::new(pos, message));
    }
    Ok(())
}

fn expect(expr: &Expr, wanted: ValueType, context: &str) -> Result<(), Fault> {
    let got = expr.value_type();
    if got == wanted {
        return Ok(());
    }
    let (wanted, got) = (wanted.as_str(), got.as_str());
    Err(Fault::new(expr.pos, format!("expected type {wanted} in {context}, got {got}")))
}

fn check_aggregate(aggregate: &Aggregate) -> Result<(), Fault> {
    expect(&aggregate.expr, ValueType::Vector, "aggregation expression")?;
    let Some(param) = &aggregate.param else { return Ok(()) };
    let wanted = match aggregate.op {
        AggregateOp::CountValues => ValueType::String,
        _ => ValueType::Scalar,
    };
    expect(param, wanted, "aggregation parameter")
}

fn check_call(call: &Call, pos: PosRange) -> Result<(), Fault> {
    let (function, args) = (call.function, &call.args);
    let (name, wanted) = (go_quote(function.name), function.args.len());
    let got = args.len();
    if function.variadic == 0 {
        if got != wanted {
            let message = format!("expected {wanted} argument(s) in call to {name}, got {got}");
            return Err(Fault::new(pos, message));
        }
    } else {
        let least = wanted - 1;
        let most = least + usize::from(function.variadic.unsigned_abs());
        if got < least {
            let message =
                format!("expected at least {least} argument(s) in call to {name}, got {got}");
            return Err(Fault::new(pos, message));
        }
        if function.variadic > 0 && got > most {
            let message =
                format!("expected at most {most} argument(s) in call to {name}, got {got}");
            return Err(Fault::new(pos, message));
        }
    }
    if function.name == "info"
        && let Some(second) = args.get(1)
    {
        check_info_selector(second)?;
        return expect(&args[0], ValueType::Vector, "call to \"info\"");
    }
    for (i, arg) in args.iter().enumerate() {
        let wanted = function.args[i.min(wanted - 1)];
        expect(arg, wanted, &format!("call to {name}"))?;
    }
    Ok(())
}

/// The second argument of `info` is a set of matchers, not an expression. Modifiers mean nothing there, as in
/// Prometheus.
fn check_info_selector(expr: &Expr) -> Result<(), Fault> {
    match &expr.kind {
        ExprKind::Vector(selector) if selector.name.is_none() => Ok(()),
        ExprKind::Vector(_) => {
            Err(Fault::new(expr.pos, "expected label selectors only, got vector selector instead"))
        }
        _ => Err(Fault::new(expr.pos, "expected label selectors only")),
    }
}

fn check_binary(binary: &Binary, pos: PosRange) -> Result<(), Fault> {
    let Binary { op, op_pos, lhs, rhs, matching, return_bool, .. } = binary;
    let (lt, rt) = (lhs.value_type(), rhs.value_type());
    let (name, scalar) = (go_quote(op.as_str()), ValueType::Scalar);
    if *return_bool && !op.is_comparison() {
        let message = "bool modifier can only be used on comparison operators";
        return Err(Fault::new(*op_pos, message));
    }
    if op.is_comparison() && !return_bool && lt == scalar && rt == scalar {
        let message = "comparisons between scalars must use BOOL modifier";
        return Err(Fault::new(*op_pos, message));
    }
    let included: BTreeSet<&String> = matching.include.iter().collect();
    if matching.on
        && let Some(label) = matching.labels.iter().find(|l| included.contains(l))
    {
        let label = go_quote(label);
        let message = format!("label {label} must not occur in ON and GROUP clause at once");
        return Err(Fault::new(*op_pos, message));
    }
    for side in [lhs, rhs] {
        if !matches!(side.value_type(), ValueType::Scalar | ValueType::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(Fault::new(side.pos, message));
        }
    }
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    if lt == scalar || rt == scalar {
        if !matching.labels.is_empty() {
            let message = "vector matching only allowed between instant vectors";
            return Err(Fault::new(pos, message));
        }
        if fills {
            let message = "filling in missing series only allowed between instant vectors";
            return Err(Fault::new(pos, message));
        }
        if op.is_set() {
            let message = format!("set operator {name} not allowed in binary scalar expression");
            return Err(Fault::new(pos, message));
        }
    } else if op.is_set() {
        if matching.cardinality != Cardinality::ManyToMany {
            return Err(Fault::new(pos, format!("no grouping allowed for {name} operation")));
        }
        if fills {
            let message = "filling in missing series not allowed for set operators";
            return Err(Fault::new(pos, message));
        }
    }
    Ok(())
}
