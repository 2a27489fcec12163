//! `/metadata`, `/targets` and `/status/tsdb`: what members say.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use pando_model::ErrorKind;
use pando_proto::v1::NamedCount;
use pando_rpc::http::{ApiError, Tenant};

use super::params::Params;
use super::response::{Remarks, success};
use crate::frontend::Frontend;
use crate::json::JsonWriter;

/// Prometheus' bounds of `limit` in `/status/tsdb`.
const TSDB_LIMIT: i64 = 10;
const TSDB_LIMIT_MAX: i64 = 10_000;

pub(super) async fn metadata(
    State(frontend): State<Arc<Frontend>>,
    Tenant(tenant): Tenant,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = optional_limit(&params, "limit")?;
    let per_metric = optional_limit(&params, "limit_per_metric")?;
    let per_metric = per_metric.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let limit = limit.unwrap_or(usize::MAX);
    let all = frontend.metadata(&tenant, params.get("metric")).await?;
    Ok(success(&Remarks::default(), |json| {
        json.object(|json| {
            for (name, said) in all.iter().take(limit) {
                json.key(name);
                json.array(|json| {
                    for metadata in said.iter().take(per_metric) {
                        json.object(|json| {
                            json.field("type", metadata.metric_type.as_str());
                            json.field("help", &metadata.help);
                            json.field("unit", &metadata.unit);
                        });
                    }
                });
            }
        });
    }))
}

/// A limit that is absent or negative limits nothing.
fn optional_limit(params: &Params, name: &str) -> Result<Option<usize>, ApiError> {
    match params.get(name) {
        "" => Ok(None),
        text => match text.parse::<i64>() {
            Ok(limit) => Ok(usize::try_from(limit).ok()),
            Err(_) => Err(ApiError::new(ErrorKind::Invalid, format!("{name} must be a number"))),
        },
    }
}

pub(super) async fn targets(
    State(frontend): State<Arc<Frontend>>,
    Tenant(tenant): Tenant,
    params: Params,
) -> Result<Response, ApiError> {
    let state = match params.get("state") {
        "" => "any",
        state => state,
    };
    let (targets, warnings) = frontend.targets(&tenant, state, params.get("scrapePool")).await?;
    let remarks = Remarks { warnings, infos: Vec::new() };
    Ok(success(&remarks, |json| json.raw(&targets.to_string())))
}

pub(super) async fn tsdb(
    State(frontend): State<Arc<Frontend>>,
    Tenant(tenant): Tenant,
    params: Params,
) -> Result<Response, ApiError> {
    let refused = |why: &str| ApiError::new(ErrorKind::Invalid, why);
    let limit = match params.get("limit") {
        "" => TSDB_LIMIT,
        text => text
            .parse()
            .ok()
            .filter(|limit| *limit >= 1)
            .ok_or_else(|| refused("limit must be a positive number"))?,
    };
    if limit > TSDB_LIMIT_MAX {
        return Err(refused("limit must not exceed 10000"));
    }
    let stats = frontend.cardinality(&tenant, limit as usize).await?;
    Ok(success(&Remarks::default(), |json| {
        json.object(|json| {
            json.key("headStats");
            json.object(|json| {
                for (name, count) in [
                    ("numSeries", stats.series),
                    ("numLabelPairs", stats.label_pairs),
                    ("chunkCount", stats.chunks),
                ] {
                    json.key(name);
                    json.count(count);
                }
                for (name, t_ms) in [("minTime", stats.min_ms), ("maxTime", stats.max_ms)] {
                    json.key(name);
                    json.int(t_ms);
                }
            });
            counts(json, "seriesCountByMetricName", &stats.series_by_metric);
            counts(json, "labelValueCountByLabelName", &stats.values_by_label);
            counts(json, "memoryInBytesByLabelName", &stats.bytes_by_label);
            counts(json, "seriesCountByLabelValuePair", &stats.series_by_pair);
        });
    }))
}

fn counts(json: &mut JsonWriter, name: &str, list: &[NamedCount]) {
    json.key(name);
    json.array(|json| {
        for entry in list {
            json.object(|json| {
                json.field("name", &entry.name);
                json.key("value");
                json.count(entry.value);
            });
        }
    });
}
