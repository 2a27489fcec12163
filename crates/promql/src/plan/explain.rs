//! A plan for people: its nodes by name, with what each does and its place in the query's text.

use pando_model::Labels;
use pando_model::duration::format_duration;
use pando_model::number::{go_float, go_quote};

use super::{AggregateNode, BinaryNode, Leaf, Node, Plan, RangeNode, RangeSource, SubqueryNode};
use crate::fragment::FragmentId;
use crate::syntax::{LabelList, PosRange};

/// A node of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanNode {
    /// The position in the list of the node that uses its value; `None` for the root.
    pub parent: Option<usize>,
    /// What kind of node it is.
    pub name: &'static str,
    /// What it does; empty where the name says it.
    pub detail: String,
    /// Its place in the text, where it has one.
    pub pos: Option<PosRange>,
    /// The fragment whose result it is.
    pub fragment: Option<FragmentId>,
}

/// What becomes a node in the list.
enum Part<'a> {
    Node(&'a Node),
    Leaf(&'a Leaf),
    Raw(FragmentId, PosRange),
    Subquery(&'a SubqueryNode, Option<PosRange>),
}

impl Plan {
    /// All nodes, the root first, each behind the one that uses it. A list without recursion: a chain of operators is
    /// as deep a tree as it is long.
    pub(crate) fn nodes(&self) -> Vec<PlanNode> {
        let mut nodes = Vec::new();
        let mut left = vec![(Part::Node(&self.root), None)];
        while let Some((part, parent)) = left.pop() {
            let (node, children) = part.explained(parent);
            let own = Some(nodes.len());
            nodes.push(node);
            left.extend(children.into_iter().rev().map(|child| (child, own)));
        }
        nodes
    }
}

impl<'a> Part<'a> {
    fn explained(self, parent: Option<usize>) -> (PlanNode, Vec<Part<'a>>) {
        let say =
            |name, detail: String, pos| PlanNode { parent, name, detail, pos, fragment: None };
        let plain = |name, detail: String, pos| (say(name, detail, pos), Vec::new());
        match self {
            Part::Leaf(leaf) => {
                let node = say("fragment", String::new(), Some(leaf.pos));
                (PlanNode { fragment: Some(leaf.fragment), ..node }, Vec::new())
            }
            Part::Raw(fragment, pos) => {
                let node = say("fragment", String::new(), Some(pos));
                (PlanNode { fragment: Some(fragment), ..node }, Vec::new())
            }
            Part::Subquery(subquery, pos) => {
                (say("subquery", steps(subquery), pos), vec![Part::Node(&subquery.inner)])
            }
            Part::Node(node) => match node {
                Node::Constant(value) => plain("constant", go_float(*value), None),
                Node::Text(text) => plain("text", go_quote(text), None),
                Node::Time => plain("time", String::new(), None),
                Node::Fragment(leaf) => Part::Leaf(leaf).explained(parent),
                Node::Samples { leaf, .. } => {
                    (say("samples", String::new(), Some(leaf.pos)), vec![Part::Leaf(leaf)])
                }
                Node::SubqueryPoints(subquery) => Part::Subquery(subquery, None).explained(parent),
                Node::RangeCall(range) => {
                    (say("range function", function(range), Some(range.call_pos)), inputs(range))
                }
                Node::Absent { input, labels, pos } => {
                    (say("absent", absent(labels), Some(*pos)), vec![Part::Node(input)])
                }
                Node::Info(info) => (
                    say("info", String::new(), Some(info.pos)),
                    vec![Part::Node(&info.input), Part::Node(&info.info)],
                ),
                Node::Call(call) => (
                    say("function", call.function.name.to_string(), Some(call.pos)),
                    call.args.iter().map(Part::Node).collect(),
                ),
                Node::Aggregate(aggregate) => (
                    say("aggregation", aggregation(aggregate), Some(aggregate.pos)),
                    aggregate.param.iter().chain([&aggregate.input]).map(Part::Node).collect(),
                ),
                Node::Binary(binary) => (
                    say("operator", operator(binary), Some(binary.pos)),
                    vec![Part::Node(&binary.lhs), Part::Node(&binary.rhs)],
                ),
                Node::Negate(inner) => {
                    (say("negative sign", String::new(), None), vec![Part::Node(inner)])
                }
                Node::Once(inner) => {
                    let detail = "the first step's value stands for all".to_string();
                    (say("once", detail, None), vec![Part::Node(inner)])
                }
            },
        }
    }
}

fn function(range: &RangeNode) -> String {
    format!("{} over {}", range.function.as_str(), format_duration(range.range_ms))
}

fn inputs(range: &RangeNode) -> Vec<Part<'_>> {
    let source = match &range.source {
        RangeSource::Raw(fragment) => Part::Raw(*fragment, range.pos),
        RangeSource::Subquery(subquery) => Part::Subquery(subquery, Some(range.pos)),
    };
    range.args.iter().map(Part::Node).chain([source]).collect()
}

fn steps(subquery: &SubqueryNode) -> String {
    match &subquery.steps {
        Some(steps) => {
            format!("{} steps, one every {}", steps.len(), format_duration(steps.step_ms()))
        }
        None => "no step in the range".to_string(),
    }
}

fn absent(labels: &Labels) -> String {
    if labels.is_empty() { String::new() } else { labels.to_string() }
}

fn aggregation(aggregate: &AggregateNode) -> String {
    let (op, labels) = (aggregate.op.as_str(), LabelList(&aggregate.grouping));
    match (aggregate.without, aggregate.grouping.is_empty()) {
        (true, _) => format!("{op} without {labels}"),
        (false, false) => format!("{op} by {labels}"),
        (false, true) => op.to_string(),
    }
}

fn operator(binary: &BinaryNode) -> String {
    let return_bool = if binary.return_bool { " bool" } else { "" };
    format!("{}{return_bool}{}", binary.op.as_str(), binary.matching)
}

#[cfg(test)]
mod tests {
    use crate::query::{Features, Query, QueryParams};

    /// `depth name detail [text] #fragment`, a node a line.
    fn outline(text: &str) -> Vec<String> {
        outline_with(text, QueryParams::instant(600_000))
    }

    fn outline_with(text: &str, params: QueryParams) -> Vec<String> {
        let features = Features { experimental_functions: true, ..Features::default() };
        let params = params.with_features(features);
        let query = Query::parse(text, params).expect(text);
        let mut depths: Vec<usize> = Vec::new();
        let mut lines = Vec::new();
        for node in query.plan_nodes() {
            let depth = node.parent.map_or(0, |parent| depths[parent] + 1);
            depths.push(depth);
            let mut line = format!("{depth} {} {}", node.name, node.detail).trim_end().to_string();
            if let Some(pos) = node.pos {
                line += &format!(" [{}]", &text[pos.start as usize..pos.end as usize]);
            }
            if let Some(fragment) = node.fragment {
                line += &format!(" #{}", fragment.0);
            }
            lines.push(line);
        }
        lines
    }

    #[test]
    fn nodes_are_named_in_the_order_of_the_tree() {
        assert_eq!(outline("sum(rate(m[5m]))"), ["0 fragment [sum(rate(m[5m]))] #0"]);
        assert_eq!(
            outline("stddev by (a) (m) / on (a) group_left () -(m @ 5) > bool 1"),
            [
                "0 operator > bool [stddev by (a) (m) / on (a) group_left () -(m @ 5) > bool 1]",
                "1 operator / on (a) group_left () [stddev by (a) (m) / on (a) group_left () -(m @ 5)]",
                "2 fragment [stddev by (a) (m)] #0",
                "2 negative sign",
                "3 fragment [(m @ 5)] #1",
                "1 constant 1",
            ]
        );
        assert_eq!(
            outline("quantile_over_time(scalar(a), b[1m]) or absent(c{d=\"e\"})"),
            [
                "0 operator or [quantile_over_time(scalar(a), b[1m]) or absent(c{d=\"e\"})]",
                "1 range function quantile_over_time over 1m [quantile_over_time(scalar(a), b[1m])]",
                "2 function scalar [scalar(a)]",
                "3 fragment [a] #0",
                "2 fragment [b[1m]] #1",
                "1 absent {d=\"e\"} [absent(c{d=\"e\"})]",
                "2 fragment [c{d=\"e\"}] #2",
            ]
        );
        assert_eq!(
            outline("max_over_time(rate(m[1m])[10m:30s])"),
            [
                "0 range function max_over_time over 10m [max_over_time(rate(m[1m])[10m:30s])]",
                "1 subquery 20 steps, one every 30s [rate(m[1m])[10m:30s]]",
                "2 fragment [rate(m[1m])] #0",
            ]
        );
        assert_eq!(outline("m[5m]"), ["0 samples [m[5m]]", "1 fragment [m[5m]] #0"]);
        assert_eq!(
            outline("info(m)"),
            ["0 info [info(m)]", "1 fragment [m] #0", "1 fragment [m] #1"]
        );
    }

    /// `@` fixes all that has no other time; of a chain of operators as much of its beginning as it can.
    #[test]
    fn what_has_one_value_for_all_steps_is_evaluated_once() {
        let range = || QueryParams::range(0, 600_000, 60_000).expect("11 steps");
        let nodes = outline_with(
            "m @ 5 + 1 - sum(rate(m[5m] @ 5)) * 2 + n + topk(scalar(m), m @ 5)",
            range(),
        );
        assert_eq!(
            nodes,
            [
                "0 operator + [m @ 5 + 1 - sum(rate(m[5m] @ 5)) * 2 + n + topk(scalar(m), m @ 5)]",
                "1 operator + [m @ 5 + 1 - sum(rate(m[5m] @ 5)) * 2 + n]",
                "2 once the first step's value stands for all",
                "3 operator - [m @ 5 + 1 - sum(rate(m[5m] @ 5)) * 2]",
                "4 operator + [m @ 5 + 1]",
                "5 fragment [m @ 5] #0",
                "5 constant 1",
                "4 operator * [sum(rate(m[5m] @ 5)) * 2]",
                "5 fragment [sum(rate(m[5m] @ 5))] #1",
                "5 constant 2",
                "2 fragment [n] #2",
                "1 once the first step's value stands for all",
                "2 aggregation topk [topk(scalar(m), m @ 5)]",
                "3 function scalar [scalar(m)]",
                "4 fragment [m] #3",
                "3 fragment [m @ 5] #0",
            ]
        );
        assert_eq!(
            outline_with("hour(m @ 5)", range()),
            [
                "0 function hour [hour(m @ 5)]",
                "1 once the first step's value stands for all",
                "2 fragment [m @ 5] #0",
            ]
        );
        let constant = outline_with("1 + 2", range());
        assert_eq!(constant, ["0 constant 3"]);
    }

    #[test]
    fn a_long_chain_is_a_long_list() {
        let text = format!("m{}", " + m".repeat(400));
        let nodes = outline(&text);
        assert_eq!(nodes.len(), 801);
        assert!(nodes[400].starts_with("400 fragment [m]"), "{}", nodes[400]);
    }
}
