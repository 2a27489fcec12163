//! `/series`, `/labels` and `/label/{name}/values`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use pando_executor::{Lookup, LookupKind};
use pando_model::number::go_quote;
use pando_model::{ErrorKind, Matcher, TenantId, TimeRange};
use pando_rpc::http::{ApiError, Tenant};

use super::label_escape::unescape;
use super::params::Params;
use super::parse::{self, TIME_MS_MAX, TIME_MS_MIN};
use super::response::{Remarks, TRUNCATED, success, success_of};
use crate::frontend::Frontend;
use crate::lookups::LookupAnswer;

pub(super) async fn series(
    State(frontend): State<Arc<Frontend>>,
    Tenant(tenant): Tenant,
    params: Params,
) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::new(ErrorKind::Invalid, "no match[] parameter provided"));
    }
    let matchers = parse::matchers(&frontend, &params).await?;
    let matchers = matchers.map_err(|why| ApiError::bad_parameter("match[]", why))?;
    let answer =
        look_up(&frontend, &tenant, LookupKind::Series, String::new(), matchers, &params).await?;
    let remarks = remarks(&answer);
    let series = answer.found.series;
    Ok(success_of(series.len() * 10, remarks, move |json| {
        json.array(|json| series.iter().for_each(|labels| json.labels(labels)));
    }))
}

pub(super) async fn labels(
    State(frontend): State<Arc<Frontend>>,
    Tenant(tenant): Tenant,
    params: Params,
) -> Result<Response, ApiError> {
    let matchers = matchers(&frontend, &params).await?;
    let kind = LookupKind::LabelNames;
    let answer = look_up(&frontend, &tenant, kind, String::new(), matchers, &params).await?;
    Ok(texts(answer))
}

pub(super) async fn label_values(
    State(frontend): State<Arc<Frontend>>,
    Tenant(tenant): Tenant,
    name: Result<Path<String>, PathRejection>,
    params: Params,
) -> Result<Response, ApiError> {
    // The one thing that can be wrong with it: bytes that are no UTF-8.
    let Ok(Path(name)) = name else {
        return Err(ApiError::new(ErrorKind::Invalid, "invalid label name: not UTF-8"));
    };
    let name = unescape(&name);
    if name.is_empty() {
        let why = format!("invalid label name: {}", go_quote(&name));
        return Err(ApiError::new(ErrorKind::Invalid, why));
    }
    let matchers = matchers(&frontend, &params).await?;
    let kind = LookupKind::LabelValues;
    Ok(texts(look_up(&frontend, &tenant, kind, name, matchers, &params).await?))
}

async fn matchers(frontend: &Frontend, params: &Params) -> Result<Vec<Vec<Matcher>>, ApiError> {
    parse::matchers(frontend, params).await?.map_err(|why| ApiError::new(ErrorKind::Invalid, why))
}

async fn look_up(
    frontend: &Frontend,
    tenant: &TenantId,
    kind: LookupKind,
    label: String,
    matchers: Vec<Vec<Matcher>>,
    params: &Params,
) -> Result<LookupAnswer, ApiError> {
    let limit = parse::limit(params)?;
    let start_ms = parse::time_param(params, "start", TIME_MS_MIN)?;
    let end_ms = parse::time_param(params, "end", TIME_MS_MAX)?;
    let time = TimeRange { min_ms: start_ms, max_ms: end_ms.saturating_add(1) };
    let lookup = Lookup { kind, label, matchers, time, limit };
    Ok(frontend.look_up(tenant, lookup, params.partial_response()).await?)
}

fn remarks(answer: &LookupAnswer) -> Remarks {
    let mut warnings = answer.missing.clone();
    warnings.extend(answer.truncated.then(|| TRUNCATED.to_string()));
    Remarks { warnings, infos: Vec::new() }
}

fn texts(answer: LookupAnswer) -> Response {
    success(&remarks(&answer), |json| {
        json.array(|json| answer.found.texts.iter().for_each(|text| json.string(text)));
    })
}
