//! `Query`: a parsed and planned query. It names its fragments, whoever can reach data executes them, and the
//! merged results become the answer.
//!
//! ```text
//! parse -> fragments() -> (anywhere: FragmentExecution, PartialMerge) -> evaluate(results) -> QueryOutput
//! ```

mod aggregate;
mod columns;
mod evaluate;
mod output;
mod params;
mod ranges;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use output::{MatrixSeries, QueryOutput, QueryStats, QueryValue, VectorSample};
pub use params::{Features, LOOKBACK_MS, QueryParams, SUBQUERY_STEP_MS};

use crate::budget::{Budget, CancelFlag};
use crate::error::QueryError;
use crate::fragment::{FragmentId, FragmentResult, FragmentSpec};
use crate::plan::{self, Plan, PlanNode};
use crate::syntax::{self, Expr, ValueType};

/// A parsed and planned query.
#[derive(Debug)]
pub struct Query {
    text: String,
    expr: Expr,
    params: QueryParams,
    plan: Plan,
}

impl Query {
    /// Reads and plans `text`.
    ///
    /// # Errors
    /// The first fault of the text; a range query of a range vector or string; what this version cannot
    /// execute.
    pub fn parse(text: &str, params: QueryParams) -> Result<Self, QueryError> {
        let expr = syntax::parse(text, &params.features.syntax())?;
        let ty = expr.value_type();
        if !params.instant && !matches!(ty, ValueType::Vector | ValueType::Scalar) {
            return Err(QueryError::Invalid(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                ty.as_str()
            )));
        }
        let plan = plan::build(&expr, &params)?;
        Ok(Query { text: text.to_string(), expr, params, plan })
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The syntax tree.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The times and settings.
    pub fn params(&self) -> &QueryParams {
        &self.params
    }

    /// What has to be executed where the data is.
    pub fn fragments(&self) -> &[FragmentSpec] {
        &self.plan.fragments
    }

    /// The plan's nodes, for people: each behind the one that uses its value.
    pub fn plan_nodes(&self) -> Vec<PlanNode> {
        self.plan.nodes()
    }

    /// The answer, from the merged result of every fragment. A fragment without a result has read nothing.
    ///
    /// # Errors
    /// Data that the expression cannot be executed on, a budget, or cancellation.
    pub fn evaluate(
        &self,
        results: BTreeMap<FragmentId, FragmentResult>,
        budget: Budget,
        cancel: CancelFlag,
    ) -> Result<QueryOutput, QueryError> {
        evaluate::evaluate(self, results, budget, cancel)
    }
}
