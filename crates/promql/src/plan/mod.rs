//! The plan: a typed tree that says what runs where the data is (fragments) and what runs here. Times are
//! resolved: `offset`, `@`, subquery grids and duration expressions are gone.

mod build;
mod constants;
mod explain;
mod info;
mod invariant;
mod pushdown;
mod selectors;
mod statistics;
mod times;

#[cfg(test)]
mod tests;

use pando_model::{Labels, Matcher, Window};

pub(crate) use build::build;
pub use explain::PlanNode;

use crate::engine::range::{Edges, RangeFunction, RangeRules};
use crate::fragment::{FragmentId, FragmentSpec};
use crate::steps::Steps;
use crate::syntax::PosRange;
use crate::syntax::ast::{AggregateOp, BinaryOp, Matching};
use crate::syntax::functions::Function;

/// A planned query.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) root: Node,
    pub(crate) fragments: Vec<FragmentSpec>,
    /// How many nodes use each aggregation of each fragment, or the fragment where it has none.
    pub(crate) uses: Vec<Vec<u32>>,
}

/// A node. All nodes below a subquery are evaluated at its steps.
#[derive(Debug)]
pub(crate) enum Node {
    /// A number that never changes.
    Constant(f64),
    /// A text.
    Text(String),
    /// The evaluation time, seconds.
    Time,
    /// An instant vector that fragments deliver.
    Fragment(Leaf),
    /// Raw samples as the query's result.
    Samples {
        /// The fragment that reads them.
        leaf: Leaf,
        /// Which samples stand at the edges.
        edges: Edges,
        /// The range itself.
        window: Window,
    },
    /// The points of a subquery as the query's result.
    SubqueryPoints(Box<SubqueryNode>),
    /// A range function over what is here.
    RangeCall(Box<RangeNode>),
    /// `absent` and `absent_over_time`: 1 where `input` has nothing.
    Absent {
        /// The vector.
        input: Box<Node>,
        /// The labels of the result.
        labels: Labels,
        /// The whole expression.
        pos: PosRange,
    },
    /// `info`.
    Info(Box<InfoNode>),
    /// A function of instant vectors and scalars.
    Call(Box<CallNode>),
    /// An aggregation over what is here.
    Aggregate(Box<AggregateNode>),
    /// An operator.
    Binary(Box<BinaryNode>),
    /// A negative sign.
    Negate(Box<Node>),
    /// What has one value for all steps: it is evaluated at the first of them.
    Once(Box<Node>),
}

/// The use of a fragment's result.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) fragment: FragmentId,
    /// Which of its aggregations; 0 where there is none.
    pub(crate) aggregation: u32,
    /// The place of a range function's argument, or of the selector.
    pub(crate) function_pos: PosRange,
    /// Where notes about an aggregation's series point.
    pub(crate) aggregation_pos: PosRange,
    /// The whole expression that the fragment answers.
    pub(crate) pos: PosRange,
}

/// A range function over raw samples or a subquery.
#[derive(Debug)]
pub(crate) struct RangeNode {
    pub(crate) function: RangeFunction,
    /// Scalars, one per argument.
    pub(crate) args: Vec<Node>,
    /// The places of `args`.
    pub(crate) arg_pos: Vec<PosRange>,
    pub(crate) source: RangeSource,
    pub(crate) range_ms: i64,
    pub(crate) rules: RangeRules,
    /// Whether only presence counts, so that equal label sets do no harm.
    pub(crate) presence_only: bool,
    /// Ends of the windows: the node's steps, or one that stands for all.
    pub(crate) ends: Steps,
    /// The place of the range.
    pub(crate) pos: PosRange,
    /// The whole call.
    pub(crate) call_pos: PosRange,
}

/// What a range function reads.
#[derive(Debug)]
pub(crate) enum RangeSource {
    /// Samples of a raw fragment.
    Raw(FragmentId),
    /// The points of a subquery.
    Subquery(SubqueryNode),
}

/// An expression evaluated at steps of its own.
#[derive(Debug)]
pub(crate) struct SubqueryNode {
    pub(crate) inner: Node,
    /// `None`: the grid has no step in the range.
    pub(crate) steps: Option<Steps>,
}

/// `info`: a vector joined with info series.
#[derive(Debug)]
pub(crate) struct InfoNode {
    pub(crate) input: Node,
    /// The times of the info series' samples, at the steps that the input refers to.
    pub(crate) info: Node,
    /// What makes a series an info series.
    pub(crate) names: Vec<Matcher>,
    /// The matchers of data labels.
    pub(crate) data: Vec<Matcher>,
    pub(crate) pos: PosRange,
}

/// A call.
#[derive(Debug)]
pub(crate) struct CallNode {
    pub(crate) function: &'static Function,
    pub(crate) args: Vec<Node>,
    pub(crate) pos: PosRange,
    /// The places of the arguments.
    pub(crate) arg_pos: Vec<PosRange>,
    /// Whether it is evaluated up to a time later than its first step, at which it may have no other: sorting is in vain
    /// there.
    pub(crate) ranged: bool,
}

/// An aggregation.
#[derive(Debug)]
pub(crate) struct AggregateNode {
    pub(crate) op: AggregateOp,
    pub(crate) param: Option<Node>,
    pub(crate) input: Node,
    pub(crate) grouping: Vec<String>,
    pub(crate) without: bool,
    /// Where notes about its series point.
    pub(crate) notes_pos: PosRange,
    pub(crate) param_pos: PosRange,
    /// The whole expression.
    pub(crate) pos: PosRange,
}

/// A binary operator.
#[derive(Debug)]
pub(crate) struct BinaryNode {
    pub(crate) op: BinaryOp,
    pub(crate) lhs: Node,
    pub(crate) rhs: Node,
    pub(crate) matching: Matching,
    pub(crate) return_bool: bool,
    pub(crate) pos: PosRange,
}
