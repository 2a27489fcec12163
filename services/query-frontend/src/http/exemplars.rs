//! `/query_exemplars`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use pando_model::{ErrorKind, TimeRange};
use pando_promql::{Query, QueryParams};
use pando_rpc::http::{ApiError, Tenant};

use super::params::Params;
use super::parse::{self, TIME_MS_MAX, TIME_MS_MIN};
use super::response::{Remarks, success};
use crate::exemplars::ExemplarsBySeries;
use crate::frontend::Frontend;

/// Said with every answer, since there may be more: INV-6.
const LIVE_ONLY: &str =
    "exemplars are searched in live generations only, those of cut blocks are not shown";

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
    let settings = QueryParams::instant(0).with_features(frontend.config().features);
    let query = Query::parse(params.get("query"), settings);
    let query = query.map_err(|why| ApiError::bad_parameter("query", why))?;
    let time = TimeRange { min_ms: start_ms, max_ms: end_ms.saturating_add(1) };
    let mut all = ExemplarsBySeries::new();
    let mut remarks = Remarks::default();
    for (matchers, _) in query.selectors() {
        // Two selectors may find one series: its exemplars are the same ones.
        all.extend(frontend.exemplars(&tenant, matchers, time).await?);
        remarks.infos = vec![LIVE_ONLY.to_string()];
    }
    if remarks.infos.is_empty() {
        // Without a selector there is nothing to search: Prometheus answers without data.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(success(&remarks, |json| {
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
