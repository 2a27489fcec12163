//! `/parse_query`: the syntax tree of a query as Prometheus' API writes it, node for node.
//!
//! A duration that is an expression is written as 0 and, beside it, as the expression.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use pando_model::Matcher;
use pando_model::number::push_plain_float;
use pando_promql::syntax::ast::{
    Aggregate, AtModifier, Binary, Call, Cardinality, Duration, DurationKind, Expr, ExprKind,
    MatrixSelector, Subquery, UnaryOp, VectorSelector,
};
use pando_promql::{ValueType, syntax::functions::Function};
use pando_rpc::http::ApiError;

use super::expression::parsed;
use super::params::Params;
use super::response::{Remarks, success};
use crate::frontend::Frontend;
use crate::json::JsonWriter;

pub(super) async fn parse_query(
    State(frontend): State<Arc<Frontend>>,
    params: Params,
) -> Result<Response, ApiError> {
    let expr = parsed(&frontend, &params).await?;
    Ok(success(&Remarks::default(), |json| node(json, &expr)))
}

fn node(json: &mut JsonWriter, expr: &Expr) {
    json.object(|json| match &expr.kind {
        ExprKind::Number(number) => {
            json.field("type", "numberLiteral");
            json.field("val", &plain(number.value));
        }
        ExprKind::String(text) => string(json, text),
        ExprKind::Bytes(bytes) => string(json, &String::from_utf8_lossy(bytes)),
        ExprKind::Paren(inner) => {
            child(json, "expr", Some(inner));
            json.field("type", "parenExpr");
        }
        ExprKind::Unary(op, inner) => {
            child(json, "expr", Some(inner));
            json.field("op", op.as_str());
            json.field("type", "unaryExpr");
        }
        ExprKind::Binary(binary) => operation(json, binary),
        ExprKind::Aggregate(aggregate) => aggregation(json, aggregate),
        ExprKind::Call(call) => function_call(json, call),
        ExprKind::Vector(selector) => {
            selector_fields(json, selector, None);
            json.field("type", "vectorSelector");
        }
        ExprKind::Matrix(matrix) => {
            let MatrixSelector { selector, range, .. } = &**matrix;
            selector_fields(json, selector, Some(range));
            json.field("type", "matrixSelector");
        }
        ExprKind::Subquery(subquery) => subquery_fields(json, subquery),
    });
}

/// A field with a node, or null.
fn child(json: &mut JsonWriter, name: &str, expr: Option<&Expr>) {
    json.key(name);
    match expr {
        Some(expr) => node(json, expr),
        None => json.raw("null"),
    }
}

fn string(json: &mut JsonWriter, text: &str) {
    json.field("type", "stringLiteral");
    json.field("val", text);
}

fn aggregation(json: &mut JsonWriter, aggregate: &Aggregate) {
    child(json, "expr", Some(&aggregate.expr));
    json.strings("grouping", &aggregate.grouping);
    json.field("op", aggregate.op.as_str());
    child(json, "param", aggregate.param.as_ref());
    json.field("type", "aggregation");
    flag(json, "without", aggregate.without);
}

fn operation(json: &mut JsonWriter, binary: &Binary) {
    flag(json, "bool", binary.return_bool);
    child(json, "lhs", Some(&binary.lhs));
    json.key("matching");
    let sides = [&binary.lhs, &binary.rhs];
    // Only series of two vectors are matched.
    match sides.iter().all(|side| side.value_type() == ValueType::Vector) {
        true => matching(json, binary),
        false => json.raw("null"),
    }
    json.field("op", binary.op.as_str());
    child(json, "rhs", Some(&binary.rhs));
    json.field("type", "binaryExpr");
}

fn matching(json: &mut JsonWriter, binary: &Binary) {
    let matching = &binary.matching;
    json.object(|json| {
        let card = match matching.cardinality {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        };
        json.field("card", card);
        json.key("fillValues");
        json.object(|json| {
            for (name, value) in [("lhs", matching.fill_left), ("rhs", matching.fill_right)] {
                json.key(name);
                match value {
                    Some(value) if value.is_finite() => json.number(value),
                    // JSON has no such number.
                    Some(value) => json.string(&plain(value)),
                    None => json.raw("null"),
                }
            }
        });
        json.strings("include", &matching.include);
        json.strings("labels", &matching.labels);
        flag(json, "on", matching.on);
    });
}

fn function_call(json: &mut JsonWriter, call: &Call) {
    json.key("args");
    json.array(|json| call.args.iter().for_each(|arg| node(json, arg)));
    json.key("func");
    json.object(|json| {
        let Function { name, args, variadic, returns, .. } = call.function;
        json.strings("argTypes", args.iter().map(|ty| type_name(*ty)));
        json.field("name", name);
        json.field("returnType", type_name(*returns));
        json.key("variadic");
        json.int(i64::from(*variadic));
    });
    json.field("type", "call");
}

/// The types as the API calls them; messages have longer names.
fn type_name(ty: ValueType) -> &'static str {
    match ty {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}

fn selector_fields(json: &mut JsonWriter, selector: &VectorSelector, range: Option<&Duration>) {
    flag(json, "anchored", selector.anchored);
    json.key("matchers");
    json.array(|json| selector.matchers.iter().for_each(|m| matcher(json, m)));
    json.field("name", selector.name.as_deref().unwrap_or_default());
    duration(json, "offset", "offsetExpr", selector.offset.as_ref());
    if range.is_some() {
        duration(json, "range", "rangeExpr", range);
    }
    flag(json, "smoothed", selector.smoothed);
    at(json, selector.at);
}

fn matcher(json: &mut JsonWriter, matcher: &Matcher) {
    json.object(|json| {
        json.field("name", matcher.name());
        json.field("type", matcher.op().as_str());
        json.field("value", matcher.value());
    });
}

fn subquery_fields(json: &mut JsonWriter, subquery: &Subquery) {
    child(json, "expr", Some(&subquery.expr));
    duration(json, "offset", "offsetExpr", subquery.offset.as_ref());
    duration(json, "range", "rangeExpr", Some(&subquery.range));
    at(json, subquery.at);
    duration(json, "step", "stepExpr", subquery.step.as_ref());
    json.field("type", "subquery");
}

/// The fields of `@`: the time in ms, or which end of the query is meant.
fn at(json: &mut JsonWriter, at: Option<AtModifier>) {
    json.key("startOrEnd");
    match at {
        Some(AtModifier::Start) => json.string("start"),
        Some(AtModifier::End) => json.string("end"),
        Some(AtModifier::Time(_)) | None => json.raw("null"),
    }
    json.key("timestamp");
    match at {
        Some(AtModifier::Time(t_ms)) => json.int(t_ms),
        Some(AtModifier::Start | AtModifier::End) | None => json.raw("null"),
    }
}

/// A field with a duration in ms, 0 where there is none, and one with the expression that it is, or null.
fn duration(json: &mut JsonWriter, name: &str, expr_name: &str, duration: Option<&Duration>) {
    let literal = duration.and_then(Duration::literal_ms);
    json.key(name);
    json.int(literal.unwrap_or_default());
    json.key(expr_name);
    match duration {
        Some(duration) if literal.is_none() => duration_expr(json, duration, false),
        _ => json.raw("null"),
    }
}

/// A duration expression; parentheses are a flag of what is in them.
fn duration_expr(json: &mut JsonWriter, duration: &Duration, wrapped: bool) {
    use DurationKind as D;
    let (op, lhs, rhs): (_, Option<&Duration>, Option<&Duration>) = match &duration.kind {
        D::Paren(inner) => return duration_expr(json, inner, true),
        // A plus says nothing.
        D::Unary(UnaryOp::Plus, inner) => return duration_expr(json, inner, wrapped),
        D::Number(number) => {
            return json.object(|json| {
                flag(json, "duration", number.duration);
                json.field("type", "numberLiteral");
                json.field("val", &plain(number.value));
            });
        }
        D::Step => ("step", None, None),
        D::Range => ("range", None, None),
        D::MinOf(a, b) => ("min_of", Some(a), Some(b)),
        D::MaxOf(a, b) => ("max_of", Some(a), Some(b)),
        D::Unary(op, inner) => (op.as_str(), None, Some(inner)),
        D::Binary(op, a, b) => (op.as_str(), Some(a), Some(b)),
    };
    json.object(|json| {
        side(json, "lhs", lhs);
        json.field("op", op);
        side(json, "rhs", rhs);
        json.field("type", "durationExpr");
        flag(json, "wrapped", wrapped);
    });
}

fn side(json: &mut JsonWriter, name: &str, duration: Option<&Duration>) {
    json.key(name);
    match duration {
        Some(duration) => duration_expr(json, duration, false),
        None => json.raw("null"),
    }
}

fn flag(json: &mut JsonWriter, name: &str, value: bool) {
    json.key(name);
    json.bool(value);
}

/// A number as Go writes it without an exponent.
pub(super) fn plain(value: f64) -> String {
    let mut text = String::new();
    push_plain_float(&mut text, value);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tree(text: &str) -> Value {
        let syntax = pando_promql::syntax::SyntaxFeatures {
            experimental_functions: true,
            extended_range_selectors: true,
            fill_modifiers: true,
        };
        let expr = pando_promql::parse(text, &syntax).expect(text);
        let mut json = JsonWriter::new();
        node(&mut json, &expr);
        serde_json::from_str(&json.finish()).expect("json")
    }

    fn vector(name: &str) -> Value {
        json!({
            "type": "vectorSelector", "name": name, "offset": 0, "offsetExpr": null, "timestamp": null,
            "startOrEnd": null, "anchored": false, "smoothed": false,
            "matchers": [{"name": "__name__", "type": "=", "value": name}],
        })
    }

    #[test]
    fn every_kind_of_node_has_prometheus_fields() {
        let number = |val: &str| json!({"type": "numberLiteral", "val": val});
        let cases = [
            ("1e30", number("1000000000000000000000000000000")),
            ("0.000001", number("0.000001")),
            ("+Inf", number("+Inf")),
            ("NaN", number("NaN")),
            ("5m", number("300")),
            ("'a\"b'", json!({"type": "stringLiteral", "val": "a\"b"})),
            ("(x)", json!({"type": "parenExpr", "expr": vector("x")})),
            ("-x", json!({"type": "unaryExpr", "op": "-", "expr": vector("x")})),
            (
                "topk by (b, a) (3, x)",
                json!({"type": "aggregation", "op": "topk", "expr": vector("x"), "param": number("3"),
                       "grouping": ["b", "a"], "without": false}),
            ),
            (
                "sum without () (x)",
                json!({"type": "aggregation", "op": "sum", "expr": vector("x"), "param": null,
                       "grouping": [], "without": true}),
            ),
            (
                "x > bool 1",
                json!({"type": "binaryExpr", "op": ">", "lhs": vector("x"), "rhs": number("1"),
                       "matching": null, "bool": true}),
            ),
            (
                "x * on (a) group_left (b) fill_right (0.5) y",
                json!({"type": "binaryExpr", "op": "*", "lhs": vector("x"), "rhs": vector("y"), "bool": false,
                       "matching": {"card": "many-to-one", "labels": ["a"], "on": true, "include": ["b"],
                                    "fillValues": {"lhs": null, "rhs": 0.5}}}),
            ),
            (
                "round(x)",
                json!({"type": "call", "args": [vector("x")],
                       "func": {"name": "round", "argTypes": ["vector", "scalar"], "variadic": 1,
                                "returnType": "vector"}}),
            ),
            (
                "x[5m:1m] @ end() offset -1m",
                json!({"type": "subquery", "expr": vector("x"), "range": 300_000, "rangeExpr": null,
                       "offset": -60_000, "offsetExpr": null, "step": 60_000, "stepExpr": null, "timestamp": null, "startOrEnd": "end"}),
            ),
            (
                "x[5m] anchored offset 2s @ 1.5",
                json!({"type": "matrixSelector", "name": "x", "range": 300_000, "rangeExpr": null,
                       "offset": 2_000, "offsetExpr": null,
                       "matchers": vector("x")["matchers"], "timestamp": 1500, "startOrEnd": null,
                       "anchored": true, "smoothed": false}),
            ),
        ];
        for (text, want) in cases {
            assert_eq!(tree(text), want, "{text}");
        }
        assert_eq!(tree("x + fill(NaN) y")["matching"]["fillValues"]["lhs"], "NaN");
        let expr = |op: &str, lhs: Value, rhs: Value, wrapped: bool| json!({"type": "durationExpr", "op": op, "lhs": lhs, "rhs": rhs, "wrapped": wrapped});
        let minute = json!({"type": "numberLiteral", "val": "60", "duration": true});
        let step = expr("step", Value::Null, Value::Null, false);
        let range = tree("x[(step() * 1m)] offset -(min_of(1m, step()))");
        assert_eq!(range["range"], 0, "known when the query is asked");
        assert_eq!(range["rangeExpr"], expr("*", step.clone(), minute.clone(), true));
        let least = expr("min_of", minute.clone(), step.clone(), true);
        assert_eq!(range["offsetExpr"], expr("-", Value::Null, least, false));
        let subquery = tree("x[1m + 60:step()]");
        let number = json!({"type": "numberLiteral", "val": "60", "duration": false});
        assert_eq!(subquery["rangeExpr"], expr("+", minute, number, false));
        assert_eq!((&subquery["stepExpr"], &subquery["step"]), (&step, &json!(0)));
        assert_eq!(tree("x and y")["matching"]["card"], "many-to-many");
        let matchers = tree(r#"x{b!="1",a=~"2|3"}"#)["matchers"].take();
        let names: Vec<&Value> =
            matchers.as_array().into_iter().flatten().map(|m| &m["name"]).collect();
        assert_eq!(names, ["b", "a", "__name__"], "as written, the name last");
        let quoted = tree(r#"{b="1","x",a="2"}"#);
        let names: Vec<&Value> =
            quoted["matchers"].as_array().into_iter().flatten().map(|m| &m["name"]).collect();
        assert_eq!((names.len(), names[1].as_str()), (3, Some("__name__")));
        assert_eq!(quoted["name"], "");
    }

    #[test]
    fn a_long_chain_of_operators_is_a_deep_tree() {
        let text = vec!["x"; pando_promql::syntax::OPERATORS_MAX + 1].join("+");
        let expr =
            pando_promql::parse(&text, &Default::default()).expect("as long as a query may be");
        let mut json = JsonWriter::new();
        node(&mut json, &expr);
        assert_eq!(
            json.finish().matches("binaryExpr").count(),
            pando_promql::syntax::OPERATORS_MAX
        );
    }
}
