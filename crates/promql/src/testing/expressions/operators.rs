//! Operators with their matching, and aggregations with their grouping.

use crate::syntax::ast::AggregateOp;
use crate::syntax::parse;

use super::{Expressions, SYNTAX};

pub(super) const ARITHMETIC: [&str; 7] = ["+", "-", "*", "/", "%", "^", "atan2"];
pub(super) const COMPARISONS: [&str; 6] = ["==", "!=", ">", "<", ">=", "<="];
pub(super) const SETS: [&str; 3] = ["and", "or", "unless"];
pub(super) const TRIMS: [&str; 2] = ["</", ">/"];
impl Expressions<'_> {
    pub(super) fn vector_operator(&mut self, depth: usize) -> String {
        match self.chance.below(10) {
            0..=2 => self.with_scalar(depth),
            3 | 4 => self.set_operator(depth),
            5 => {
                let (op, bound) = (self.chance.pick(&TRIMS), self.argument(depth));
                format!("{} {op} {bound}", self.histograms())
            }
            _ => self.matched(depth),
        }
    }

    /// `lhs op rhs`, without parentheses where it is still a query then.
    fn joined(&mut self, lhs: &str, op: &str, rhs: &str) -> String {
        let loose = format!("{lhs} {op} {rhs}");
        if self.chance.one_in(2) && parse(&loose, &SYNTAX).is_ok() {
            return loose;
        }
        format!("({lhs}) {op} ({rhs})")
    }

    fn operator(&mut self) -> String {
        match self.chance.below(3) {
            0 => {
                let bool = if self.chance.one_in(3) { " bool" } else { "" };
                format!("{}{bool}", self.chance.pick(&COMPARISONS))
            }
            _ => self.chance.pick(&ARITHMETIC).to_string(),
        }
    }

    fn with_scalar(&mut self, depth: usize) -> String {
        let (vector, scalar, op) = (self.vector(depth), self.argument(depth), self.operator());
        match self.chance.one_in(3) {
            true => self.joined(&scalar, &op, &vector),
            false => self.joined(&vector, &op, &scalar),
        }
    }

    pub(super) fn scalar_operator(&mut self, depth: usize) -> String {
        let (lhs, rhs) = (self.scalar(depth), self.scalar(depth));
        let op = match self.chance.below(3) {
            0 => format!("{} bool", self.chance.pick(&COMPARISONS)),
            _ => self.chance.pick(&ARITHMETIC).to_string(),
        };
        self.joined(&lhs, &op, &rhs)
    }

    fn set_operator(&mut self, depth: usize) -> String {
        let (lhs, rhs) = (self.vector(depth), self.vector(depth));
        let matching = ["", "", " on (job)", " on (instance, job)", " ignoring (le)", " on ()"];
        let op = format!("{}{}", self.chance.pick(&SETS), self.chance.pick(&matching));
        self.joined(&lhs, &op, &rhs)
    }

    fn matched(&mut self, depth: usize) -> String {
        let (lhs, mut rhs) = (self.vector(depth), self.vector(depth));
        let one = [
            "",
            " on (job, instance)",
            " ignoring (le, version)",
            " ignoring (version, region, commit)",
        ];
        let many = [
            " on (job, instance) group_left ()",
            " on (job, instance) group_left (version, region)",
            " ignoring (version, region) group_left (\"region\")",
        ];
        let matching = match self.chance.below(4) {
            0 => {
                rhs = self
                    .chance
                    .pick(&["target_info", "build_info", "max by (job, instance) (load)"])
                    .to_string();
                self.chance.pick(&many)
            }
            1 => {
                let info = "target_info".to_string();
                let op = format!("{} on (instance, job) group_right (version)", self.operator());
                return self.joined(&info, &op, &lhs);
            }
            _ => self.chance.pick(&one),
        };
        let fill = match self.chance.below(12) {
            0 => " fill (0)",
            1 => " fill_left (-1.5)",
            2 => " fill_right (NaN) fill_left (2)",
            3 => " fill_right (1e3)",
            _ => "",
        };
        let op = format!("{}{matching}{fill}", self.operator());
        self.joined(&lhs, &op, &rhs)
    }

    pub(super) fn aggregation(&mut self, depth: usize) -> String {
        let (op, _) = AggregateOp::ALL[self.chance.below(AggregateOp::ALL.len())];
        self.aggregation_by(op, depth)
    }

    /// An aggregation by `op`.
    pub(crate) fn aggregation_by(&mut self, op: AggregateOp, depth: usize) -> String {
        let name = op.as_str();
        let param = match name {
            "topk" | "bottomk" | "limitk" => match self.chance.one_in(4) {
                true => self.argument(depth),
                false => self.chance.pick(&["1", "2", "3", "5"]).to_string(),
            },
            "limit_ratio" => self.chance.pick(&["0.5", "-0.3", "1", "0.8", "-1.1"]).to_string(),
            "quantile" => self.quantile(depth),
            "count_values" => self.chance.pick(&["\"value\"", "'job'", "\"le\""]).to_string(),
            _ => String::new(),
        };
        // Pushed where the data is, or not.
        let expr = match self.chance.below(6) {
            0 => self.instant_selector(),
            1 => self.histograms(),
            2 | 3 => self.pushed_call(),
            _ => self.vector(depth),
        };
        let args = if op.has_param() { format!("({param}, {expr})") } else { format!("({expr})") };
        let grouping = self.chance.pick(&[
            "",
            "",
            "by (job)",
            "by (job, instance)",
            "without (instance)",
            "without ()",
            "by (\"x.y\", le)",
            "by (__name__)",
        ]);
        match self.chance.one_in(2) {
            true => format!("{name} {grouping} {args}"),
            false => format!("{name} {args} {grouping}"),
        }
    }

    fn pushed_call(&mut self) -> String {
        let names = ["rate", "increase", "delta", "avg_over_time", "sum_over_time", "changes"];
        let name = self.chance.pick(&names);
        if self.chance.one_in(6) {
            // Series that are one when they have lost their names, or are not.
            let metrics = self.chance.pick(&["load|temperature", "load|target_info", "sizes|load"]);
            return format!("{name}({{__name__=~\"{metrics}\"}}[2m])");
        }
        if self.chance.one_in(4) {
            return format!("{name}({}[2m])", self.chance.pick(&crate::testing::data::NATIVE));
        }
        format!("{name}({})", self.matrix(0, name))
    }
}
