//! Proves that the generator makes everything: what it made is counted in the trees, not by the generator.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::{METRIC_NAME, Matcher};

use crate::syntax::ast::{
    AggregateOp, AtModifier, Cardinality, Duration, DurationKind, Expr, ExprKind, Matching,
    UnaryOp, VectorSelector,
};
use crate::syntax::functions::FUNCTIONS;
use crate::syntax::parse;

use super::operators::{ARITHMETIC, COMPARISONS, SETS, TRIMS};
use super::{Expressions, SYNTAX, operations};
use crate::testing::Chance;

/// Expressions that are enough for each construct to be made.
const EXPRESSIONS: u64 = 4_000;

/// The operators of duration expressions.
const OF_DURATIONS: [&str; 6] = ["+", "-", "*", "/", "%", "^"];

const OTHERS: [&str; 43] = [
    "sign -",
    "sign +",
    "bool",
    "on",
    "ignoring",
    "group_left",
    "group_left include",
    "group_right",
    "group_right include",
    "fill",
    "fill_left",
    "fill_right",
    "by",
    "without",
    "range",
    "subquery",
    "subquery default step",
    "offset",
    "offset negative",
    "@ time",
    "@ start",
    "@ end",
    "subquery offset",
    "subquery @",
    "anchored range",
    "smoothed range",
    "smoothed instant",
    "string",
    "bytes",
    "number",
    "duration as number",
    "quoted metric name",
    "no metric name",
    "duration step",
    "duration range",
    "duration min_of",
    "duration max_of",
    "duration parentheses",
    "duration sign",
    "matcher =",
    "matcher !=",
    "matcher =~",
    "matcher !~",
];

#[derive(Default)]
struct Coverage(BTreeMap<String, usize>);

impl Coverage {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    fn count_if(&mut self, condition: bool, what: &str) {
        if condition {
            self.count(what);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Number(n) => {
                self.count(if n.duration { "duration as number" } else { "number" })
            }
            ExprKind::String(_) => self.count("string"),
            ExprKind::Bytes(_) => self.count("bytes"),
            ExprKind::Paren(_) => {}
            ExprKind::Unary(UnaryOp::Minus, _) => self.count("sign -"),
            ExprKind::Unary(UnaryOp::Plus, _) => self.count("sign +"),
            ExprKind::Binary(binary) => {
                self.count(format!("operator {}", binary.op.as_str()));
                self.count_if(binary.return_bool, "bool");
                self.matching(&binary.matching);
            }
            ExprKind::Aggregate(aggregate) => {
                self.count(format!("aggregation {}", aggregate.op.as_str()));
                self.count_if(aggregate.without, "without");
                self.count_if(!aggregate.grouping.is_empty() && !aggregate.without, "by");
            }
            ExprKind::Call(call) => self.count(format!("function {}", call.function.name)),
            ExprKind::Vector(selector) => {
                self.selector(selector);
                self.count_if(selector.smoothed, "smoothed instant");
            }
            ExprKind::Matrix(matrix) => {
                self.count("range");
                self.duration(&matrix.range);
                self.selector(&matrix.selector);
                self.count_if(matrix.selector.anchored, "anchored range");
                self.count_if(matrix.selector.smoothed, "smoothed range");
            }
            ExprKind::Subquery(subquery) => {
                self.count("subquery");
                self.count_if(subquery.step.is_none(), "subquery default step");
                self.count_if(subquery.offset.is_some(), "subquery offset");
                self.count_if(subquery.at.is_some(), "subquery @");
                let durations = [Some(&subquery.range), subquery.step.as_ref()];
                durations.into_iter().flatten().for_each(|d| self.duration(d));
            }
        }
        expr.children().into_iter().for_each(|child| self.expr(child));
    }

    fn matching(&mut self, matching: &Matching) {
        self.count_if(matching.on, "on");
        self.count_if(!matching.on && !matching.labels.is_empty(), "ignoring");
        let include = !matching.include.is_empty();
        match matching.cardinality {
            Cardinality::ManyToOne => {
                self.count("group_left");
                self.count_if(include, "group_left include");
            }
            Cardinality::OneToMany => {
                self.count("group_right");
                self.count_if(include, "group_right include");
            }
            _ => {}
        }
        match (matching.fill_left, matching.fill_right) {
            (Some(a), Some(b)) if a == b => self.count("fill"),
            (left, right) => {
                self.count_if(left.is_some(), "fill_left");
                self.count_if(right.is_some(), "fill_right");
            }
        }
    }

    fn selector(&mut self, selector: &VectorSelector) {
        let quoted = |m: &Matcher| m.name() == METRIC_NAME && m.value().contains('.');
        let quoted = selector.matchers.iter().any(quoted);
        self.count_if(quoted, "quoted metric name");
        self.count_if(selector.name.is_none(), "no metric name");
        for matcher in &selector.matchers {
            self.count(format!("matcher {}", matcher.op().as_str()));
        }
        match selector.at {
            Some(AtModifier::Time(_)) => self.count("@ time"),
            Some(AtModifier::Start) => self.count("@ start"),
            Some(AtModifier::End) => self.count("@ end"),
            None => {}
        }
        if let Some(offset) = &selector.offset {
            self.count("offset");
            let negative = matches!(offset.kind, DurationKind::Unary(UnaryOp::Minus, _));
            self.count_if(negative, "offset negative");
            self.duration(offset);
        }
    }

    fn duration(&mut self, duration: &Duration) {
        match &duration.kind {
            DurationKind::Number(_) => {}
            DurationKind::Step => self.count("duration step"),
            DurationKind::Range => self.count("duration range"),
            DurationKind::Paren(inner) => {
                self.count("duration parentheses");
                self.duration(inner);
            }
            DurationKind::Unary(_, inner) => {
                self.count("duration sign");
                self.duration(inner);
            }
            DurationKind::Binary(op, a, b) => {
                self.count(format!("duration operator {}", op.as_str()));
                [a, b].into_iter().for_each(|d| self.duration(d));
            }
            DurationKind::MinOf(a, b) => {
                self.count("duration min_of");
                [a, b].into_iter().for_each(|d| self.duration(d));
            }
            DurationKind::MaxOf(a, b) => {
                self.count("duration max_of");
                [a, b].into_iter().for_each(|d| self.duration(d));
            }
        }
    }
}

fn wanted() -> BTreeSet<String> {
    let functions = FUNCTIONS.iter().map(|f| format!("function {}", f.name));
    let aggregations = AggregateOp::ALL.iter().map(|(_, name)| format!("aggregation {name}"));
    let operators = [&ARITHMETIC[..], &COMPARISONS, &SETS, &TRIMS].concat();
    let operators = operators.into_iter().map(|op| format!("operator {op}"));
    let of_durations = OF_DURATIONS.iter().map(|op| format!("duration operator {op}"));
    let others = OTHERS.iter().map(ToString::to_string);
    functions.chain(aggregations).chain(operators).chain(of_durations).chain(others).collect()
}

#[test]
fn the_generator_makes_everything() {
    let mut coverage = Coverage::default();
    for seed in 0..EXPRESSIONS {
        let mut chance = Chance::new(seed, "query");
        let text = Expressions::new(&mut chance).query(seed % 2 == 0);
        let tree = parse(&text, &SYNTAX).unwrap_or_else(|e| panic!("{text}: {e}"));
        coverage.expr(&tree);
    }
    let missing: Vec<String> =
        wanted().into_iter().filter(|what| !coverage.0.contains_key(what)).collect();
    assert!(missing.is_empty(), "never made: {missing:#?}");
    assert!(wanted().len() >= 90 + 14 + 18 + 6, "wanted={}", wanted().len());
}

#[test]
fn every_form_of_every_operator_is_a_query() {
    let operations = operations();
    let ops: BTreeSet<&String> = operations.iter().map(|(op, _)| op).collect();
    let with_bool = COMPARISONS.len();
    assert_eq!(
        ops.len(),
        ARITHMETIC.len() + COMPARISONS.len() + with_bool + SETS.len() + TRIMS.len()
    );
    for (seed, (op, form)) in (0..).zip(&operations) {
        let mut chance = Chance::new(seed, "form");
        let text = Expressions::new(&mut chance).operation(op, form);
        let tree = parse(&text, &SYNTAX).unwrap_or_else(|e| panic!("{text}: {e}"));
        let mut coverage = Coverage::default();
        coverage.expr(&tree);
        let name = op.trim_end_matches(" bool");
        assert_eq!(coverage.0.get(&format!("operator {name}")), Some(&1), "{text}");
        assert_eq!(coverage.0.contains_key("bool"), op != name, "{text}");
        for word in form.split(' ').filter(|word| OTHERS.contains(word)) {
            let counted = coverage.0.keys().any(|what| what.starts_with(word));
            assert!(counted || form.contains("on ()"), "{text}: {word}");
        }
    }
}
