//! Type checks of a whole tree, in the order and with the words of Prometheus. Nothing is said of the type of what has
//! no meaning, or of what is made of it.

use std::collections::BTreeSet;

use pando_model::METRIC_NAME;
use pando_model::number::go_quote;

use super::ast::{
    Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, ExprKind, Subquery, ValueType,
    VectorSelector,
};
use super::error::{Fault, Faults};
use super::position::PosRange;

/// Adds all that is wrong with the types of `root` to `faults`, and says in how many steps.
pub(super) fn check(root: &Expr, faults: &mut Faults) -> usize {
    let mut checks = Checks { faults, next: vec![Step::Enter(root)], unsure: BTreeSet::new() };
    let mut steps = 0;
    while let Some(step) = checks.next.pop() {
        steps += 1;
        match step {
            Step::Enter(expr) => checks.enter(expr),
            Step::Leave(expr) => checks.leave(expr),
            Step::Expect(expr, wanted, context) => checks.expect(expr, wanted, context),
        }
    }
    steps
}

/// Steps of the walk instead of recursion: chains of operators are deep.
enum Step<'a> {
    /// What is wrong with it before its parts are looked at, and its parts.
    Enter(&'a Expr),
    /// What is wrong with it, its parts being known.
    Leave(&'a Expr),
    Expect(&'a Expr, ValueType, Context),
}

/// Where a type is expected.
#[derive(Clone, Copy)]
enum Context {
    Aggregation,
    Parameter,
    Call(&'static str),
}

struct Checks<'a, 'f> {
    faults: &'f mut Faults,
    /// The next one last.
    next: Vec<Step<'a>>,
    /// The operators whose type is not known, by their places.
    unsure: BTreeSet<PosRange>,
}

impl<'a> Checks<'a, '_> {
    fn fault(&mut self, pos: PosRange, message: impl Into<String>) {
        self.faults.add(Fault::new(pos, message));
    }

    /// Takes `steps` in their order, before all that is left.
    fn then(&mut self, steps: impl DoubleEndedIterator<Item = Step<'a>>) {
        self.next.extend(steps.rev());
    }

    fn enter(&mut self, expr: &'a Expr) {
        match &expr.kind {
            ExprKind::Paren(inner) => self.next.push(Step::Enter(inner)),
            ExprKind::Unary(_, inner) => {
                self.then([Step::Enter(inner), Step::Leave(expr)].into_iter());
            }
            ExprKind::Subquery(subquery) => {
                self.then([Step::Enter(&subquery.expr), Step::Leave(expr)].into_iter());
            }
            ExprKind::Binary(binary) => {
                let sides = [Step::Enter(&binary.lhs), Step::Enter(&binary.rhs)];
                self.then(sides.into_iter().chain([Step::Leave(expr)]));
            }
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Call(call) => self.call(call, expr.pos),
            ExprKind::Vector(selector) => self.selector(selector, expr.pos),
            ExprKind::Matrix(m) => self.selector(&m.selector, m.selector_pos),
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Bytes(_) => {}
        }
    }

    fn leave(&mut self, expr: &'a Expr) {
        match &expr.kind {
            ExprKind::Unary(_, inner) => self.unary(inner, expr.pos),
            ExprKind::Binary(binary) => self.binary(binary, expr.pos),
            ExprKind::Subquery(subquery) => self.subquery(subquery, expr.pos),
            _ => {}
        }
    }

    /// The type of what has been left; `None` where it is not known.
    fn type_of(&self, expr: &Expr) -> Option<ValueType> {
        let mut at = expr;
        while let ExprKind::Paren(inner) | ExprKind::Unary(_, inner) = &at.kind {
            at = inner;
        }
        match &at.kind {
            ExprKind::Call(call) if call.function.is_refused() => None,
            ExprKind::Binary(_) if self.unsure.contains(&at.pos) => None,
            _ => Some(at.value_type()),
        }
    }

    fn expect(&mut self, expr: &Expr, wanted: ValueType, context: Context) {
        let Some(got) = self.type_of(expr).filter(|got| *got != wanted) else { return };
        let context = match context {
            Context::Aggregation => "aggregation expression".to_string(),
            Context::Parameter => "aggregation parameter".to_string(),
            Context::Call(name) => format!("call to function {}", go_quote(name)),
        };
        let (wanted, got) = (wanted.as_str(), got.as_str());
        self.fault(expr.pos, format!("expected type {wanted} in {context}, got {got}"));
    }

    fn selector(&mut self, selector: &VectorSelector, pos: PosRange) {
        let VectorSelector { name, matchers, .. } = selector;
        let Some(name) = name else {
            if matchers.iter().all(|m| m.matches_empty()) {
                self.fault(pos, "vector selector must contain at least one non-empty matcher");
            }
            return;
        };
        // The last one is the name's own.
        let others = matchers.iter().rev().skip(1).rev();
        for other in others.filter(|m| m.name() == METRIC_NAME) {
            let (a, b) = (go_quote(name), go_quote(other.value()));
            self.fault(pos, format!("metric name must not be set twice: {a} or {b}"));
        }
    }

    fn aggregate(&mut self, aggregate: &'a Aggregate) {
        let expr = &aggregate.expr;
        let whole =
            [Step::Enter(expr), Step::Expect(expr, ValueType::Vector, Context::Aggregation)];
        let wanted = match aggregate.op {
            AggregateOp::CountValues => ValueType::String,
            _ => ValueType::Scalar,
        };
        let param = aggregate.param.iter();
        let param = param.flat_map(|param| {
            [Step::Enter(param), Step::Expect(param, wanted, Context::Parameter)]
        });
        self.then(whole.into_iter().chain(param));
    }

    fn call(&mut self, call: &'a Call, pos: PosRange) {
        let Call { function, args } = call;
        if function.is_refused() {
            return self.then(args.iter().map(Step::Enter));
        }
        self.count_args(call, pos);
        let join = if function.name == "info" { args.get(1) } else { None };
        if let Some(join) = join {
            self.info_selector(join, pos);
        }
        // What is too much has no type to be of.
        let typed = if function.variadic == 0 { function.args.len() } else { args.len() };
        let steps = args.iter().take(typed).enumerate().flat_map(|(i, arg)| {
            let wanted = function.args[i.min(function.args.len() - 1)];
            let expect = Step::Expect(arg, wanted, Context::Call(function.name));
            let is_join = join.is_some_and(|join| std::ptr::eq(join, arg));
            match &arg.kind {
                // It may match everything: it only restricts a join.
                ExprKind::Vector(_) if is_join => vec![],
                _ if is_join => vec![Step::Enter(arg)],
                _ => vec![Step::Enter(arg), expect],
            }
        });
        self.then(steps);
    }

    fn count_args(&mut self, call: &Call, pos: PosRange) {
        let (function, got) = (call.function, call.args.len());
        let (name, wanted) = (go_quote(function.name), function.args.len());
        if function.variadic == 0 {
            if got != wanted {
                let message = format!("expected {wanted} argument(s) in call to {name}, got {got}");
                self.fault(pos, message);
            }
            return;
        }
        let least = wanted - 1;
        let most = least + usize::from(function.variadic.unsigned_abs());
        if got < least {
            let message =
                format!("expected at least {least} argument(s) in call to {name}, got {got}");
            self.fault(pos, message);
        } else if function.variadic > 0 && got > most {
            let message =
                format!("expected at most {most} argument(s) in call to {name}, got {got}");
            self.fault(pos, message);
        }
    }

    /// The second argument of `info` is a set of matchers, not an expression. Modifiers mean nothing there, as in
    /// Prometheus.
    fn info_selector(&mut self, expr: &Expr, call: PosRange) {
        match &expr.kind {
            ExprKind::Vector(selector) if selector.name.is_none() => {}
            ExprKind::Vector(_) => {
                let message = "expected label selectors only, got vector selector instead";
                self.fault(expr.pos, message);
            }
            ExprKind::Call(refused) if refused.function.is_refused() => {}
            _ if expr.value_type() == ValueType::Vector => {
                self.fault(expr.pos, "expected label selectors only");
            }
            _ => {
                let (wanted, got) = (ValueType::Vector.as_str(), expr.value_type().as_str());
                let message =
                    format!("expected type {wanted} in call to function \"info\", got {got}");
                self.fault(call, message);
            }
        }
    }

    fn unary(&mut self, inner: &Expr, pos: PosRange) {
        if let Some(ty @ (ValueType::String | ValueType::Matrix)) = self.type_of(inner) {
            let message = format!(
                "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                ty.as_str()
            );
            self.fault(pos, message);
        }
    }

    fn subquery(&mut self, subquery: &Subquery, pos: PosRange) {
        // Prometheus' own names of the types, not those for people.
        let got = match self.type_of(&subquery.expr) {
            Some(ValueType::Vector) | None => return,
            Some(ValueType::Matrix) => "matrix",
            Some(other) => other.as_str(),
        };
        self.fault(pos, format!("subquery is only allowed on instant vector, got {got} instead"));
    }

    fn binary(&mut self, binary: &Binary, pos: PosRange) {
        let Binary { op, op_pos, lhs, rhs, matching, return_bool, .. } = binary;
        let (vector, scalar) = (Some(ValueType::Vector), Some(ValueType::Scalar));
        let sides @ [lt, rt] = [self.type_of(lhs), self.type_of(rhs)];
        if sides.contains(&None) && !sides.contains(&vector) {
            self.unsure.insert(pos);
        }
        if *return_bool && !op.is_comparison() {
            self.fault(*op_pos, "bool modifier can only be used on comparison operators");
        }
        if op.is_comparison() && !return_bool && lt == scalar && rt == scalar {
            self.fault(*op_pos, "comparisons between scalars must use BOOL modifier");
        }
        let included: BTreeSet<&String> = matching.include.iter().collect();
        if matching.on
            && let Some(label) = matching.labels.iter().find(|l| included.contains(l))
        {
            let label = go_quote(label);
            let message = format!("label {label} must not occur in ON and GROUP clause at once");
            self.fault(*op_pos, message);
        }
        for (side, ty) in [(lhs, lt), (rhs, rt)] {
            if let Some(ValueType::String | ValueType::Matrix) = ty {
                let message = "binary expression must contain only scalar and instant vector types";
                self.fault(side.pos, message);
            }
        }
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        let name = go_quote(op.as_str());
        if sides.iter().any(|ty| ty.is_some() && *ty != vector) {
            if !matching.labels.is_empty() {
                self.fault(pos, "vector matching only allowed between instant vectors");
            }
            if fills {
                let message = "filling in missing series only allowed between instant vectors";
                self.fault(pos, message);
            }
        } else if op.is_set() {
            if matching.cardinality != Cardinality::ManyToMany {
                self.fault(pos, format!("no grouping allowed for {name} operation"));
            }
            if fills {
                self.fault(pos, "filling in missing series not allowed for set operators");
            }
        }
        if op.is_set() && sides.contains(&scalar) {
            let message = format!("set operator {name} not allowed in binary scalar expression");
            self.fault(pos, message);
        }
    }
}
