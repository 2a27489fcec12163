//! Where counts and sums of histograms are all that is asked for, so that their buckets need not be read.

use crate::engine::range::RangeFunction;
use crate::fragment::Read;
use crate::syntax::ast::AggregateOp;
use crate::syntax::{Expr, ExprKind};

/// Whether `expr` is a function that looks at counts and sums of histograms only.
pub(super) fn asks_for_statistics(expr: &Expr) -> bool {
    let ExprKind::Call(call) = &expr.kind else { return false };
    matches!(call.function.name, "histogram_count" | "histogram_sum" | "histogram_avg")
}

/// Whether the counts and sums of its argument are all that `expr` needs to have right counts and sums itself. A
/// subquery leaves samples out, so that resets have to be found out between those that are left.
pub(super) fn passes_statistics(expr: &Expr) -> bool {
    use RangeFunction as R;
    match &expr.kind {
        ExprKind::Paren(_) | ExprKind::Unary(..) | ExprKind::Vector(_) => true,
        ExprKind::Aggregate(_) => sums_series(expr),
        ExprKind::Call(call) => {
            let range = call.args.first().map(|arg| &arg.unwrapped().kind);
            let function = RangeFunction::from_name(call.function.name);
            let computes = matches!(
                function,
                Some(R::Rate | R::Increase | R::Delta | R::Irate | R::Idelta)
                    | Some(R::Sum | R::Avg | R::Last | R::First)
            );
            computes && matches!(range, Some(ExprKind::Matrix(_)))
        }
        _ => false,
    }
}

/// Whether `expr` adds histograms of several series, so that it matters which of them follow a reset.
pub(super) fn sums_series(expr: &Expr) -> bool {
    let ExprKind::Aggregate(aggregate) = &expr.kind else { return false };
    matches!(aggregate.op, AggregateOp::Sum | AggregateOp::Avg)
}

/// Whether it matters which of the first histograms of `read` follow a reset, where series are `summed` or not. Rates
/// compare the samples that they have.
pub(super) fn needs_hints(read: &Read, summed: bool) -> bool {
    use RangeFunction as R;
    match read {
        Read::Instant { timestamp, .. } => summed && !timestamp,
        Read::Range { function: R::Sum | R::Avg, .. } => true,
        Read::Range { function: R::Last | R::First, .. } => summed,
        Read::Range { .. }
        | Read::Raw { .. }
        | Read::Smoothed { .. }
        | Read::StartTimestamp { .. }
        | Read::SampleTime { .. } => false,
    }
}
