//! The syntax tree of a query. It holds what was written and where; nothing of it is evaluated here.

use pando_model::Matcher;

use super::functions::Function;
use super::position::PosRange;

/// The type of an expression's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueType {
    /// One float a step.
    Scalar,
    /// A text.
    String,
    /// Series with one value a step.
    Vector,
    /// Series with all samples of a window.
    Matrix,
}

impl ValueType {
    /// The name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
        }
    }
}

/// An expression and its place in the text.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub pos: PosRange,
}

/// The kinds of expression.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A number, or a duration written as one.
    Number(Number),
    /// A string, unquoted.
    String(String),
    /// A string that is no UTF-8, unquoted.
    Bytes(Vec<u8>),
    /// An expression in parentheses.
    Paren(Box<Expr>),
    /// `-x` or `+x`.
    Unary(UnaryOp, Box<Expr>),
    /// `a op b`.
    Binary(Box<Binary>),
    /// `sum by (x) (y)`.
    Aggregate(Box<Aggregate>),
    /// `f(x)`.
    Call(Box<Call>),
    /// `metric{a="b"} offset 5m @ 0`.
    Vector(Box<VectorSelector>),
    /// A selector with a range.
    Matrix(Box<MatrixSelector>),
    /// `expr[1h:1m]`.
    Subquery(Box<Subquery>),
}

impl Expr {
    /// An expression at `pos`.
    pub fn new(kind: ExprKind, pos: PosRange) -> Self {
        Expr { kind, pos }
    }

    /// The expression inside of any parentheses.
    pub fn unwrapped(&self) -> &Expr {
        let mut at = self;
        while let ExprKind::Paren(inner) = &at.kind {
            at = inner;
        }
        at
    }

    /// The type of the expression's value. Its cost is the nesting of parentheses, signs and operators.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) | ExprKind::Bytes(_) => ValueType::String,
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => inner.value_type(),
            ExprKind::Binary(binary) => binary.value_type,
            ExprKind::Aggregate(_) | ExprKind::Vector(_) => ValueType::Vector,
            ExprKind::Call(call) => call.function.returns,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
        }
    }

    /// The direct children, in the order they are written.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => vec![inner],
            ExprKind::Binary(b) => vec![&b.lhs, &b.rhs],
            ExprKind::Aggregate(a) => a.param.iter().chain([&a.expr]).collect(),
            ExprKind::Call(c) => c.args.iter().collect(),
            ExprKind::Subquery(s) => vec![&s.expr],
            _ => Vec::new(),
        }
    }

    /// The direct children, to be changed.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => vec![inner],
            ExprKind::Binary(b) => vec![&mut b.lhs, &mut b.rhs],
            ExprKind::Aggregate(a) => a.param.iter_mut().chain([&mut a.expr]).collect(),
            ExprKind::Call(c) => c.args.iter_mut().collect(),
            ExprKind::Subquery(s) => vec![&mut s.expr],
            _ => Vec::new(),
        }
    }
}

/// A number and the way it was written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Number {
    /// The value; a duration's in seconds.
    pub value: f64,
    /// Whether it was written as a duration.
    pub duration: bool,
}

/// A sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// A binary operator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `>=`
    GreaterEqual,
    /// `<=`
    LessEqual,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
    /// `</`: cuts a histogram's observations above a value.
    TrimUpper,
    /// `>/`: cuts a histogram's observations below a value.
    TrimLower,
}

impl BinaryOp {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Greater => ">",
            BinaryOp::Less => "<",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::LessEqual => "<=",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
        }
    }

    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        use BinaryOp as B;
        matches!(
            self,
            B::Equal | B::NotEqual | B::Greater | B::Less | B::GreaterEqual | B::LessEqual
        )
    }

    /// Whether it is `and`, `or` or `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    /// How tight it binds: larger is tighter.
    pub(crate) fn precedence(self) -> u8 {
        use BinaryOp as B;
        match self {
            B::Or => 1,
            B::And | B::Unless => 2,
            B::Add | B::Sub => 4,
            B::Mul | B::Div | B::Mod | B::Atan2 => 5,
            B::Pow => 6,
            _ => 3,
        }
    }
}

/// How many series of a side may match one of the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cardinality {
    /// One with one.
    #[default]
    OneToOne,
    /// `group_left`: the left side is the many.
    ManyToOne,
    /// `group_right`: the right side is the many.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How the series of two vectors find each other.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Matching {
    /// The cardinality.
    pub cardinality: Cardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether `labels` are those that count (`on`) or those that do not (`ignoring`).
    pub on: bool,
    /// The labels of `group_left` or `group_right`.
    pub include: Vec<String>,
    /// The value of a missing left side (`fill`, `fill_left`).
    pub fill_left: Option<f64>,
    /// The value of a missing right side (`fill`, `fill_right`).
    pub fill_right: Option<f64>,
}

/// `lhs op rhs`.
#[derive(Clone, Debug)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Where the operator stands.
    pub op_pos: PosRange,
    /// The left side.
    pub lhs: Expr,
    /// The right side.
    pub rhs: Expr,
    /// The matching of two vectors; without meaning where a side is a scalar.
    pub matching: Matching,
    /// Whether a comparison returns 0 or 1.
    pub return_bool: bool,
    /// The type of the result, known when the tree was built.
    pub value_type: ValueType,
}

/// An aggregation operator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AggregateOp {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `count`
    Count,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `group`
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `topk`
    TopK,
    /// `bottomk`
    BottomK,
    /// `count_values`
    CountValues,
    /// `quantile`
    Quantile,
    /// `limitk`
    LimitK,
    /// `limit_ratio`
    LimitRatio,
}

impl AggregateOp {
    /// All operators and their names.
    pub const ALL: [(AggregateOp, &'static str); 14] = [
        (AggregateOp::Sum, "sum"),
        (AggregateOp::Avg, "avg"),
        (AggregateOp::Count, "count"),
        (AggregateOp::Min, "min"),
        (AggregateOp::Max, "max"),
        (AggregateOp::Group, "group"),
        (AggregateOp::Stddev, "stddev"),
        (AggregateOp::Stdvar, "stdvar"),
        (AggregateOp::TopK, "topk"),
        (AggregateOp::BottomK, "bottomk"),
        (AggregateOp::CountValues, "count_values"),
        (AggregateOp::Quantile, "quantile"),
        (AggregateOp::LimitK, "limitk"),
        (AggregateOp::LimitRatio, "limit_ratio"),
    ];

    /// The operator called `name`, in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(op, _)| *op)
    }

    /// The operator's name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, n)| n)
    }

    /// Whether it takes a parameter before the vector.
    pub fn has_param(self) -> bool {
        use AggregateOp as A;
        matches!(
            self,
            A::TopK | A::BottomK | A::CountValues | A::Quantile | A::LimitK | A::LimitRatio
        )
    }

    /// Whether it is behind the experimental switch.
    pub fn is_experimental(self) -> bool {
        matches!(self, AggregateOp::LimitK | AggregateOp::LimitRatio)
    }

    /// Whether it picks series of its input, with their own labels.
    pub fn picks_series(self) -> bool {
        use AggregateOp as A;
        matches!(self, A::TopK | A::BottomK | A::LimitK | A::LimitRatio)
    }
}

/// `op by (labels) (param, expr)`.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// The parameter of `topk`, `quantile` and others.
    pub param: Option<Expr>,
    /// What is aggregated.
    pub expr: Expr,
    /// The labels of `by` or `without`, as written.
    pub grouping: Vec<String>,
    /// Whether `grouping` are the labels to remove.
    pub without: bool,
}

/// `function(args)`.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function.
    pub function: &'static Function,
    /// The arguments.
    pub args: Vec<Expr>,
}

/// The time of an `@` modifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtModifier {
    /// A time, ms.
    Time(i64),
    /// `@ start()`
    Start,
    /// `@ end()`
    End,
}

/// A series selector.
#[derive(Clone, Debug)]
pub struct VectorSelector {
    /// The metric's name where it stands before the braces; it is in `matchers` too. One within the braces is a matcher
    /// and nothing else.
    pub name: Option<String>,
    /// All matchers, the name's last.
    pub matchers: Vec<Matcher>,
    /// `offset`, positive into the past.
    pub offset: Option<Duration>,
    /// `@`.
    pub at: Option<AtModifier>,
    /// `anchored`.
    pub anchored: bool,
    /// `smoothed`.
    pub smoothed: bool,
}

/// A selector with a range.
#[derive(Clone, Debug)]
pub struct MatrixSelector {
    /// The selector; `offset` and `@` written behind the range belong to it.
    pub selector: VectorSelector,
    /// The place of the selector without range and modifiers.
    pub selector_pos: PosRange,
    /// The range.
    pub range: Duration,
}

/// `expr[range:step]`.
#[derive(Clone, Debug)]
pub struct Subquery {
    /// What is evaluated at every step.
    pub expr: Expr,
    /// The range.
    pub range: Duration,
    /// The step; `None`: the engine's default.
    pub step: Option<Duration>,
    /// `offset`.
    pub offset: Option<Duration>,
    /// `@`.
    pub at: Option<AtModifier>,
}

/// A duration expression: `5m`, `300`, `step() * 2`.
#[derive(Clone, Debug)]
pub struct Duration {
    /// What it is.
    pub kind: DurationKind,
    /// Where it stands.
    pub pos: PosRange,
}

/// The kinds of duration expression.
#[derive(Clone, Debug)]
pub enum DurationKind {
    /// Seconds, or a duration.
    Number(Number),
    /// `step()`: the query's step.
    Step,
    /// `range()`: the query's end minus its start.
    Range,
    /// In parentheses.
    Paren(Box<Duration>),
    /// `-x` or `+x`.
    Unary(UnaryOp, Box<Duration>),
    /// `a op b` with an arithmetic operator.
    Binary(BinaryOp, Box<Duration>, Box<Duration>),
    /// `min_of(a, b)`.
    MinOf(Box<Duration>, Box<Duration>),
    /// `max_of(a, b)`.
    MaxOf(Box<Duration>, Box<Duration>),
}
