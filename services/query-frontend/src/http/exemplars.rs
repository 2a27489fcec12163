//! `/query_exemplars`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use pando_model::{ErrorKind, Matcher, TimeRange};
use pando_promql::Expr;
use pando_promql::syntax::ExprKind;
use pando_rpc::http::{ApiError, Tenant};

use super::expression::expression;
use super::params::Params;
use super::parse::{self, TIME_MS_MAX, TIME_MS_MIN};
use super::response::{Remarks, success};
use crate::frontend::Frontend;

pub(super) async fn query_exemplars(
    State(frontend): State<Arc<Frontend>>,
    Tenant(tenant): Tenant,
    params: Params,
) -> Result<Response, ApiError> {
    let start_ms = parse::time_param(&params, "start", TIME_MS_MIN)?;
    let end_ms = parse::time_param(&params, "end", TIME_MS_MAX)?;
    if end_ms < start_ms {
        let why = "end timestamp must not be before start timestamp";
        return Err(ApiError::new(ErrorKind::Invalid, why));
    }
    let expr = expression(&frontend, &params).await?;
    // Prometheus does not name the parameter here.
    let expr = expr.map_err(|why| ApiError::new(ErrorKind::Invalid, why.to_string()))?;
    let selectors = selectors(&expr);
    if selectors.is_empty() {
        // Without a selector there is nothing to search: Prometheus answers without data.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let time = TimeRange { min_ms: start_ms, max_ms: end_ms.saturating_add(1) };
    let all = frontend.exemplars(&tenant, selectors, time).await?;
    Ok(success(&Remarks::default(), |json| {
        json.array(|json| {
            for (labels, exemplars) in &all {
                json.object(|json| {
                    json.key("seriesLabels");
                    json.labels(labels);
                    json.key("exemplars");
                    json.array(|json| {
                        for exemplar in exemplars {
                            json.object(|json| {
                                json.key("labels");
                                json.labels(&exemplar.labels);
                                json.key("value");
                                json.float(exemplar.value);
                                json.key("timestamp");
                                json.time(exemplar.timestamp_ms);
                            });
                        }
                    });
                });
            }
        });
    }))
}

/// The matchers of every selector in `expr`, whatever its range and offset.
fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let (mut found, mut left) = (Vec::new(), vec![expr]);
    while let Some(expr) = left.pop() {
        match &expr.kind {
            ExprKind::Vector(selector) => found.push(selector.matchers.clone()),
            ExprKind::Matrix(matrix) => found.push(matrix.selector.matchers.clone()),
            _ => left.extend(expr.children()),
        }
    }
    found
}
