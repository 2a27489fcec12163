//! Where Pando, which answers as Prometheus 3.14 does, and an older Prometheus are known to differ: each by its name,
//! with the reason. A rule explains the smallest part of a query that still differs, and nothing around it.

use std::collections::{BTreeMap, BTreeSet};

use pando_integration_tests::answers;
use pando_promql::syntax::ast::{Aggregate, Duration, DurationKind, ExprKind};
use pando_promql::{Expr, QueryParams};
use serde_json::Value;

use super::constructs::any;
use super::sides::Answer;

/// A query that was answered differently.
pub(super) struct Seen<'a> {
    pub(super) tree: &'a Expr,
    pub(super) params: &'a QueryParams,
    pub(super) ours: &'a Answer,
    pub(super) theirs: &'a Answer,
}

/// A known difference.
struct Difference {
    name: &'static str,
    /// The first release without it, as far as is known.
    mended: (u32, u32),
    holds: fn(&Seen<'_>) -> bool,
}

/// No release orders alike.
const NEVER: (u32, u32) = (u32::MAX, 0);

const DIFFERENCES: [Difference; 21] = [
    // Earlier releases sort in vain without a word.
    Difference {
        name: "sorting warns where it is without effect",
        mended: (3, 14),
        holds: |seen| {
            let sorts = |e: &Expr| matches!(&e.kind, ExprKind::Call(c) if c.function.name.starts_with("sort"));
            let other = |text: &&String| !text.contains("sort is ineffective for range queries");
            let subquery = |e: &Expr| matches!(e.kind, ExprKind::Subquery(_));
            any(seen.tree, &sorts)
                && (!seen.params.instant || any(seen.tree, &subquery))
                && seen.is_alike_but_for_notes()
                && seen.ours.infos == seen.theirs.infos
                && seen.ours.warnings.iter().filter(other).eq(&seen.theirs.warnings)
        },
    },
    // Earlier releases refuse k where there are series only.
    Difference {
        name: "parameters of aggregations are judged whatever they meet",
        mended: (3, 14),
        holds: |seen| {
            const REFUSALS: [&str; 3] = ["Parameter value is NaN", "Ratio value is NaN", "int64"];
            let theirs = &seen.theirs.error;
            aggregation(seen, &["topk", "bottomk", "limitk", "limit_ratio"]).is_some()
                && REFUSALS.iter().any(|text| seen.ours.error.contains(text))
                && (theirs.is_empty() || theirs.contains("int64") || theirs.contains("is NaN"))
        },
    },
    // Earlier releases take the parameter of the first step for all.
    Difference {
        name: "parameters of aggregations change from step to step",
        mended: (3, 14),
        holds: |seen| {
            let ops = ["topk", "bottomk", "limitk", "limit_ratio", "quantile"];
            let param = aggregation(seen, &ops).and_then(|aggregate| aggregate.param.as_ref());
            let fixed = |param: &Expr| matches!(param.unwrapped().kind, ExprKind::Number(_));
            !seen.params.instant
                && param.is_some_and(|param| !fixed(param))
                && (!seen.ours.kind.is_empty() || seen.begins_alike())
        },
    },
    // 3.14 brings custom buckets with different bounds to the bounds that they share.
    Difference {
        name: "custom buckets are reconciled",
        mended: (3, 14),
        holds: |seen| {
            let refused = |text: &String| text.contains("incompatible custom buckets");
            let custom = any(seen.tree, &|e| {
                let selector = match &e.kind {
                    ExprKind::Vector(selector) => selector,
                    ExprKind::Matrix(matrix) => &matrix.selector,
                    _ => return false,
                };
                matches!(selector.name.as_deref(), Some("delays" | "mixed"))
            });
            let differing = differing(&seen.ours.data, &seen.theirs.data);
            let bounds = differing.iter().any(|(ours, theirs)| bounds(ours) != bounds(theirs));
            let reconciled = |text: &String| text.contains("custom buckets were reconciled");
            let resets = called(seen.tree) == Some("resets")
                && any(seen.tree, &|e| match &e.kind {
                    ExprKind::Matrix(matrix) => {
                        matches!(matrix.selector.name.as_deref(), Some("delays" | "mixed"))
                    }
                    _ => false,
                });
            (resets && metrics(&seen.ours.data) == metrics(&seen.theirs.data))
                || seen.theirs.warnings.iter().any(refused)
                || seen.ours.infos.iter().any(reconciled)
                || (custom && bounds)
        },
    },
    // 3.14 does not extrapolate a histogram's rate below zero where its series begins: all of its buckets are smaller
    // by one factor.
    Difference {
        name: "rates of histograms are not extrapolated below zero",
        mended: (3, 14),
        holds: |seen| {
            let functions = ["rate", "increase"];
            let rate = called(seen.tree).is_some_and(|name| functions.contains(&name));
            rate && metrics(&seen.ours.data) == metrics(&seen.theirs.data)
                && seen.ours.warnings == seen.theirs.warnings
                && are_scaled(&seen.ours.data, &seen.theirs.data)
        },
    },
    // Earlier releases take the buckets in the order of their series, in which +Inf comes first, and find no last one.
    Difference {
        name: "histogram_fraction sorts classic buckets",
        mended: (3, 14),
        holds: |seen| {
            let mut pairs = differing(&seen.ours.data, &seen.theirs.data).into_iter().peekable();
            any(seen.tree, &|e| called(e) == Some("histogram_fraction"))
                && pairs.peek().is_some()
                && (called(seen.tree) != Some("histogram_fraction")
                    || pairs.all(|(_, theirs)| theirs.as_str() == Some("NaN")))
        },
    },
    // Earlier releases sort NaN to the beginning and go on.
    Difference {
        name: "mad_over_time of NaN is NaN",
        mended: (3, 14),
        holds: |seen| {
            let mut pairs = differing(&seen.ours.data, &seen.theirs.data).into_iter().peekable();
            called(seen.tree) == Some("mad_over_time")
                && pairs.peek().is_some()
                && pairs.all(|(ours, _)| ours.as_str() == Some("NaN"))
        },
    },
    // Earlier releases look through the remaining buckets for such observations, and take the last one for that of the
    // quantile.
    Difference {
        name: "quantiles stay where they are beside observations that are NaN",
        mended: (3, 15),
        holds: |seen| {
            let nan = |text: &String| text.contains("has NaN observations");
            called(seen.tree) == Some("histogram_quantile")
                && seen.ours.infos.iter().any(nan)
                && seen.theirs.infos.iter().any(nan)
                && metrics(&seen.ours.data) == metrics(&seen.theirs.data)
        },
    },
    // The same count is added again with every step that is evaluated; what buckets, how far and when is compared.
    Difference {
        name: "how often buckets were lifted",
        mended: NEVER,
        holds: |seen| {
            let uncounted = |texts: &[String]| -> Vec<String> {
                let one = |text: &String| match text.split_once(", over ") {
                    Some((before, after)) => {
                        let after =
                            after.split_once(" samples from").map_or(after, |(_, after)| after);
                        format!("{before}{after}")
                    }
                    None => text.clone(),
                };
                texts.iter().map(one).collect()
            };
            seen.is_alike_but_for_notes()
                && seen.ours.warnings == seen.theirs.warnings
                && seen.ours.infos != seen.theirs.infos
                && uncounted(&seen.ours.infos) == uncounted(&seen.theirs.infos)
        },
    },
    // Earlier releases know of no conflict.
    Difference {
        name: "counter resets may be in conflict",
        mended: (3, 14),
        holds: |seen| {
            let other = |text: &&String| !text.contains("conflicting counter resets");
            seen.is_alike_but_for_notes()
                && seen.ours.infos == seen.theirs.infos
                && seen.ours.warnings.iter().filter(other).eq(&seen.theirs.warnings)
        },
    },
    // Earlier releases compare first, and are content where that keeps one match or none.
    Difference {
        name: "a second match is an error before it is compared",
        mended: (3, 14),
        holds: |seen| {
            let filters = |e: &Expr| matches!(&e.kind, ExprKind::Binary(b) if b.op.is_comparison() && !b.return_bool);
            any(seen.tree, &filters)
                && seen.ours.error.contains("multiple matches for labels")
                && seen.theirs.kind.is_empty()
        },
    },
    // Earlier releases give steps at which a series of info is absent the labels of another one, and keep names that
    // are removed late.
    Difference {
        name: "info gives each series the labels of its own target",
        mended: (3, 15),
        holds: |seen| {
            called(seen.tree) == Some("info")
                && seen.ours.kind.is_empty()
                && seen.theirs.kind.is_empty()
                && metrics(&seen.ours.data) != metrics(&seen.theirs.data)
        },
    },
    // Where there is no name, or none any more, earlier releases give one all the same, and so may say the same of
    // several; of observations that are NaN they speak at the quantile, and of lifted buckets without how and when.
    Difference {
        name: "notes do not name what has no name",
        mended: (3, 15),
        holds: |seen| {
            let shown = |text: &String| {
                let (before, after) = text.split_once(" for metric name \"").unwrap_or((text, ""));
                let after = after.split_once('"').map_or("", |(_, after)| after);
                let text = format!("{before}{after}");
                let text = match (text.find(", from buckets "), text.rfind(" (")) {
                    (Some(how), Some(place)) => format!("{}{}", &text[..how], &text[place..]),
                    _ => text,
                };
                let nan = text.contains("has NaN observations");
                let place = if nan { text.rfind(" (") } else { None };
                text[..place.unwrap_or(text.len())].to_string()
            };
            let all = |texts: &[String]| texts.iter().map(shown).collect::<BTreeSet<_>>();
            let same = |ours: &[String], theirs: &[String]| all(ours) == all(theirs);
            seen.is_alike_but_for_notes()
                && same(&seen.ours.infos, &seen.theirs.infos)
                && same(&seen.ours.warnings, &seen.theirs.warnings)
        },
    },
    // Earlier releases point at the parentheses around an aggregation's argument.
    Difference {
        name: "notes of aggregations point into parentheses",
        mended: (3, 14),
        holds: |seen| {
            let place = |text: &String| text[..text.rfind(" (").unwrap_or(text.len())].to_string();
            let all = |texts: &[String]| texts.iter().map(place).collect::<BTreeSet<_>>();
            matches!(&seen.tree.unwrapped().kind, ExprKind::Aggregate(a) if matches!(a.expr.kind, ExprKind::Paren(_)))
                && seen.is_alike_but_for_notes()
                && all(&seen.ours.infos) == all(&seen.theirs.infos)
                && all(&seen.ours.warnings) == all(&seen.theirs.warnings)
        },
    },
    // A sum of floats and of histograms that do not fit together is nothing; which of both is said first, and the other
    // not any more, is a matter of the order of the series.
    Difference {
        name: "a mix is said to be one of floats or of schemas",
        mended: NEVER,
        holds: |seen| {
            let other = |texts: &[String]| -> Vec<String> {
                texts
                    .iter()
                    .filter(|text| !text.contains("a mix of histograms "))
                    .cloned()
                    .collect()
            };
            let adds = |e: &Expr| match &e.kind {
                ExprKind::Aggregate(a) => ["sum", "avg"].contains(&a.op.as_str()),
                _ => false,
            };
            any(seen.tree, &adds)
                && seen.is_alike_but_for_notes()
                && seen.ours.infos == seen.theirs.infos
                && !seen.ours.warnings.is_empty()
                && !seen.theirs.warnings.is_empty()
                && other(&seen.ours.warnings) == other(&seen.theirs.warnings)
        },
    },
    // The first series are those of an order that Prometheus does not define where an operator made them, and so are
    // the best of equals.
    Difference {
        name: "the first of series without an order, and the best of equals",
        mended: NEVER,
        holds: |seen| {
            let (ours, theirs) = (&seen.ours.data, &seen.theirs.data);
            metrics(ours) != metrics(theirs)
                && match aggregation(seen, &["limitk", "topk", "bottomk"]) {
                    Some(aggregate) if aggregate.op.as_str() == "limitk" => {
                        seen.ours.kind.is_empty() && seen.theirs.kind.is_empty()
                    }
                    Some(_) => values(ours) == values(theirs),
                    None => false,
                }
        },
    },
    // Sums of the same numbers in another order, and two shortest texts of a number that are equally near.
    Difference {
        name: "count_values writes the last digits of numbers",
        mended: NEVER,
        holds: |seen| {
            let numbers = |data: &Value| -> Vec<String> {
                let of_number = |c: char| c.is_ascii_digit() || ".e+-".contains(c);
                let labels = metrics(data);
                let mut texts: Vec<String> =
                    labels.iter().map(|labels| labels.replace(of_number, "")).collect();
                texts.sort();
                texts
            };
            aggregation(seen, &["count_values"]).is_some()
                && numbers(&seen.ours.data) == numbers(&seen.theirs.data)
        },
    },
    // Earlier releases forget at an operator that a name is to be removed late.
    Difference {
        name: "names that are removed late stay removed",
        mended: (3, 14),
        holds: |seen| {
            let nameless = |data: &Value| -> BTreeSet<String> {
                let series = data["result"].as_array().into_iter().flatten();
                let labels = series.filter_map(|series| {
                    let mut labels = series["metric"].as_object()?.clone();
                    labels.remove("__name__");
                    Some(Value::Object(labels).to_string())
                });
                labels.collect()
            };
            let (ours, theirs) = (&seen.ours.data, &seen.theirs.data);
            matches!(seen.tree.unwrapped().kind, ExprKind::Binary(_) | ExprKind::Aggregate(_))
                && metrics(ours) != metrics(theirs)
                && nameless(ours) == nameless(theirs)
        },
    },
    // Earlier releases take arithmetic behind the parentheses of an offset with a sign for a part of it; of one without a
    // sign all of them do.
    Difference {
        name: "an offset with a sign ends with its parentheses",
        mended: (3, 14),
        holds: |seen| {
            let computes = |e: &Expr| match &e.kind {
                ExprKind::Binary(binary) => match &last_operand(&binary.lhs).kind {
                    ExprKind::Vector(selector) => match &selector.offset {
                        Some(Duration { kind: DurationKind::Unary(_, inner), .. }) => {
                            matches!(inner.kind, DurationKind::Paren(_))
                        }
                        _ => false,
                    },
                    _ => false,
                },
                _ => false,
            };
            any(seen.tree, &computes)
        },
    },
    // What is left of large numbers where they cancel out is the last bit of a mathematical library.
    Difference {
        name: "what is left near zero",
        mended: NEVER,
        holds: |seen| {
            const FUNCTIONS: [&str; 5] = ["sin", "cos", "tan", "deriv", "predict_linear"];
            let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok());
            let near = |(ours, theirs): &(Value, Value)| match (number(ours), number(theirs)) {
                (Some(ours), Some(theirs)) => (ours - theirs).abs() < 1e-12,
                _ => false,
            };
            let differing = differing(&seen.ours.data, &seen.theirs.data);
            called(seen.tree).is_some_and(|name| FUNCTIONS.contains(&name))
                && metrics(&seen.ours.data) == metrics(&seen.theirs.data)
                && !differing.is_empty()
                && differing.iter().all(near)
        },
    },
    // Of several duplicates it is the order of the series in storage that says which are named.
    Difference {
        name: "duplicates are named in another order",
        mended: NEVER,
        holds: |seen| {
            let duplicate = |answer: &Answer| {
                let rest =
                    answer.error.strip_prefix("found duplicate series for the match group ")?;
                let side = rest.split_once("} on the ")?.1.split(' ').next()?;
                Some(side.to_string())
            };
            duplicate(seen.ours).is_some_and(|side| duplicate(seen.theirs) == Some(side))
        },
    },
];

/// What explains it, where the peer is of this release.
pub(super) fn explanation(seen: &Seen<'_>, version: (u32, u32)) -> Option<&'static str> {
    let mut known = DIFFERENCES.iter().filter(|known| version < known.mended);
    known.find(|known| (known.holds)(seen)).map(|known| known.name)
}

impl Seen<'_> {
    /// Whether the values of the first step are the same.
    fn begins_alike(&self) -> bool {
        let start = self.params.steps.start_ms() as f64 / 1000.0;
        let first = |answer: &Answer| -> BTreeMap<String, Value> {
            let all = points(&answer.data).into_iter();
            let first = all.filter_map(|(labels, points)| {
                let first = points.into_iter().next()?;
                (first[0].as_f64() == Some(start)).then(|| (labels, first[1].clone()))
            });
            first.collect()
        };
        let (ours, theirs) = (first(self.ours), first(self.theirs));
        let same = |(labels, value)| {
            theirs.get(labels).is_some_and(|other| answers::is_same_value(value, other))
        };
        ours.len() == theirs.len() && ours.iter().all(same)
    }

    /// Whether status, values and labels are the same.
    fn is_alike_but_for_notes(&self) -> bool {
        let without =
            |answer: &Answer| Answer { warnings: Vec::new(), infos: Vec::new(), ..answer.clone() };
        super::compare::difference(&without(self.ours), &without(self.theirs), false).is_none()
    }
}

/// What stands last in an expression without parentheses.
fn last_operand(mut tree: &Expr) -> &Expr {
    loop {
        tree = match &tree.kind {
            ExprKind::Unary(_, inner) => inner,
            ExprKind::Binary(binary) => &binary.rhs,
            _ => return tree,
        };
    }
}

/// The expression as an aggregation by one of `ops`.
fn aggregation<'a>(seen: &Seen<'a>, ops: &[&str]) -> Option<&'a Aggregate> {
    let mut tree = seen.tree.unwrapped();
    while let ExprKind::Unary(_, inner) = &tree.kind {
        tree = inner.unwrapped();
    }
    match &tree.kind {
        ExprKind::Aggregate(aggregate) if ops.contains(&aggregate.op.as_str()) => Some(aggregate),
        _ => None,
    }
}

/// The function that the expression calls.
fn called(expr: &Expr) -> Option<&'static str> {
    match &expr.unwrapped().kind {
        ExprKind::Call(call) => Some(call.function.name),
        _ => None,
    }
}

/// The labels of an answer's series, sorted.
fn metrics(data: &Value) -> Vec<String> {
    let series = data["result"].as_array().into_iter().flatten();
    let mut metrics: Vec<String> = series.map(|series| series["metric"].to_string()).collect();
    metrics.sort();
    metrics
}

/// The points of an answer by series, each a time with a value.
fn points(data: &Value) -> BTreeMap<String, Vec<Value>> {
    let series = data["result"].as_array().into_iter().flatten();
    let points = series.map(|series| {
        let many = ["values", "histograms"].into_iter().filter_map(|name| series[name].as_array());
        let one = ["value", "histogram"].into_iter().filter_map(|name| series.get(name));
        (series["metric"].to_string(), many.flatten().chain(one).cloned().collect())
    });
    points.collect()
}

/// The values of both sides where they are not the same.
fn differing(ours: &Value, theirs: &Value) -> Vec<(Value, Value)> {
    let (ours, theirs) = (points(ours), points(theirs));
    let pairs = ours.iter().flat_map(|(labels, ours)| {
        let theirs = theirs.get(labels).map(Vec::as_slice).unwrap_or_default();
        ours.iter().zip(theirs).map(|(a, b)| (a[1].clone(), b[1].clone()))
    });
    pairs.filter(|(a, b)| !answers::is_same_value(a, b)).collect()
}

/// All values of an answer, sorted as texts.
fn values(data: &Value) -> Vec<String> {
    let mut values: Vec<String> = points(data).values().flatten().map(Value::to_string).collect();
    values.sort();
    values
}

/// The bounds of all buckets of a histogram.
fn bounds(histogram: &Value) -> BTreeSet<(String, String)> {
    let buckets = histogram["buckets"].as_array().into_iter().flatten();
    let bound = |bucket: &Value, at: usize| bucket[at].as_str().unwrap_or_default().to_string();
    buckets.map(|bucket| (bound(bucket, 1), bound(bucket, 2))).collect()
}

/// Whether the histograms that differ are smaller on our side, each by a factor of its own.
fn are_scaled(ours: &Value, theirs: &Value) -> bool {
    let differing = differing(ours, theirs);
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok());
    let is_scaled = |(ours, theirs): &(Value, Value)| {
        let (Some(a), Some(b)) = (number(&ours["count"]), number(&theirs["count"])) else {
            return false;
        };
        let counts = |h: &Value| -> Vec<f64> {
            let buckets = h["buckets"].as_array().into_iter().flatten();
            buckets.filter_map(|bucket| number(&bucket[3])).collect()
        };
        let (x, y) = (counts(ours), counts(theirs));
        let near = |(x, y): (&f64, &f64)| (x * b - y * a).abs() <= 1e-9 * (x * b).abs();
        a < b && x.len() == y.len() && x.iter().zip(&y).all(near)
    };
    !differing.is_empty() && differing.iter().all(is_scaled)
}
