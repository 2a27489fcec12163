//! `/query`, `/query_range` and `/format_query`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use pando_model::ErrorKind;
use pando_promql::syntax::ast::Expr;
use pando_promql::{MatrixSeries, ParseError, QueryError, QueryStats, QueryValue};
use pando_rpc::http::{ApiError, Tenant};

use super::params::Params;
use super::parse;
use super::pretty::{PRETTY_BYTES_MAX, pretty};
use super::response::{Remarks, TRUNCATED, success, success_of};
use super::stats::{self, Stats};
use super::syntax_tree::plain;
use crate::error::FrontendError;
use crate::frontend::Frontend;
use crate::json::JsonWriter;
use crate::query::{Answer, QueryOptions};

pub(super) async fn query(
    State(frontend): State<Arc<Frontend>>,
    Tenant(tenant): Tenant,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = parse::limit(&params)?;
    let t_ms = parse::time_param(&params, "time", frontend.clock().now_ms())?;
    let options = options(&params)?;
    let answer = frontend.query_instant(&tenant, params.get("query"), t_ms, options).await;
    Ok(respond(answer.map_err(refused)?, limit, &params))
}

pub(super) async fn query_range(
    State(frontend): State<Arc<Frontend>>,
    Tenant(tenant): Tenant,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = parse::limit(&params)?;
    let range = parse::range(&params)?;
    let options = options(&params)?;
    let answer = frontend.query_range(&tenant, params.get("query"), range, options).await;
    Ok(respond(answer.map_err(refused)?, limit, &params))
}

pub(super) async fn format_query(
    State(frontend): State<Arc<Frontend>>,
    params: Params,
) -> Result<Response, ApiError> {
    let expr = parsed(&frontend, &params).await?;
    // Ten ms for the worst of queries: no socket waits for them.
    frontend.read(move || laid_out(&expr)).await?
}

fn laid_out(expr: &Expr) -> Result<Response, ApiError> {
    let text = pretty(expr).ok_or_else(|| {
        let message = format!("formatted query is too long: pretty_bytes_max={PRETTY_BYTES_MAX}");
        ApiError::new(ErrorKind::LimitExceeded, message)
    })?;
    Ok(success(&Remarks::default(), |json| json.string(&text)))
}

/// The expression in `query`.
pub(super) async fn parsed(frontend: &Frontend, params: &Params) -> Result<Expr, ApiError> {
    let expr = expression(frontend, params).await?;
    expr.map_err(|why| ApiError::bad_parameter("query", why))
}

/// The expression in `query`, or what is wrong with it. Its patterns may take a second: no socket waits for them.
pub(super) async fn expression(
    frontend: &Frontend,
    params: &Params,
) -> Result<Result<Expr, ParseError>, FrontendError> {
    let (syntax, text) = (frontend.config().features.syntax(), params.get("query").to_string());
    frontend.read(move || pando_promql::parse(&text, &syntax)).await
}

/// What the parameters of both kinds of queries ask for beside times.
pub(super) fn options(params: &Params) -> Result<QueryOptions, ApiError> {
    Ok(QueryOptions {
        timeout: parse::timeout(params)?,
        lookback_ms: parse::lookback_ms(params)?,
        partial_response: params.partial_response(),
        count_samples: stats::Wanted::of(params) != stats::Wanted::Nothing,
        keep_executed: false,
    })
}

/// What is wrong with the text is the parameter's fault, in Prometheus' form.
pub(super) fn refused(error: FrontendError) -> ApiError {
    match &error {
        FrontendError::Query(why @ (QueryError::Parse(_) | QueryError::Invalid(_))) => {
            ApiError::bad_parameter("query", why)
        }
        _ => error.into(),
    }
}

fn respond(answer: Answer, limit: usize, params: &Params) -> Response {
    let Answer { output, mut warnings, timings, steps, samples_read, .. } = answer;
    warnings.extend(output.warnings);
    warnings.extend(stats::warning(params));
    let mut value = output.value;
    if cut(&mut value, limit) {
        warnings.push(TRUNCATED.to_string());
    }
    let remarks = Remarks { warnings, infos: output.infos };
    let wanted = stats::Wanted::of(params);
    let QueryStats { peak_samples, step_samples, .. } = output.stats;
    let taken = Stats { timings, samples_read, peak_samples, step_samples, steps };
    success_of(points(&value), remarks, move |json| {
        json.object(|json| {
            json.field("resultType", value.result_type());
            json.key("result");
            result(json, &value);
            stats::write(json, &taken, wanted);
        });
    })
}

/// Keeps the first `limit` series; whether there were more.
fn cut(value: &mut QueryValue, limit: usize) -> bool {
    if limit == 0 {
        return false;
    }
    match value {
        QueryValue::Vector(samples) if samples.len() > limit => samples.truncate(limit),
        QueryValue::Matrix(series) if series.len() > limit => series.truncate(limit),
        _ => return false,
    }
    true
}

fn points(value: &QueryValue) -> usize {
    match value {
        QueryValue::Scalar { .. } | QueryValue::String { .. } => 1,
        QueryValue::Vector(samples) => samples.len(),
        QueryValue::Matrix(series) => {
            series.iter().map(|one| 1 + one.floats.len() + 10 * one.histograms.len()).sum()
        }
    }
}

fn result(json: &mut JsonWriter, value: &QueryValue) {
    match value {
        // Prometheus writes scalars without an exponent, and all else with one.
        QueryValue::Scalar { t_ms, value } => json.array(|json| {
            json.time(*t_ms);
            json.string(&plain(*value));
        }),
        QueryValue::String { t_ms, text } => json.array(|json| {
            json.time(*t_ms);
            json.string(text);
        }),
        QueryValue::Vector(samples) => json.array(|json| {
            for sample in samples {
                if json.is_unread() {
                    return;
                }
                json.object(|json| {
                    json.key("metric");
                    json.labels(&sample.labels);
                    json.sample(sample.t_ms, &sample.value);
                });
            }
        }),
        QueryValue::Matrix(series) => json.array(|json| {
            for one in series {
                if json.is_unread() {
                    return;
                }
                matrix_series(json, one);
            }
        }),
    }
}

fn matrix_series(json: &mut JsonWriter, series: &MatrixSeries) {
    json.object(|json| {
        json.key("metric");
        json.labels(&series.labels);
        if !series.floats.is_empty() {
            json.key("values");
            json.array(|json| {
                series.floats.iter().for_each(|(t_ms, v)| json.float_point(*t_ms, *v))
            });
        }
        if !series.histograms.is_empty() {
            json.key("histograms");
            json.array(|json| {
                series.histograms.iter().for_each(|(t_ms, h)| json.histogram_point(*t_ms, h));
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pando_model::{Histogram, Labels, SampleValue};
    use pando_promql::VectorSample;

    use super::*;

    fn written(value: &QueryValue) -> String {
        let mut json = JsonWriter::new();
        result(&mut json, value);
        json.finish()
    }

    #[test]
    fn each_type_of_result_is_written_as_prometheus_does() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a\"b")]);
        let vector = QueryValue::Vector(vec![VectorSample {
            labels: labels.clone(),
            t_ms: 1_435_781_451_781,
            value: SampleValue::Float(1.0),
        }]);
        assert_eq!(
            written(&vector),
            r#"[{"metric":{"__name__":"up","job":"a\"b"},"value":[1435781451.781,"1"]}]"#
        );
        let matrix = QueryValue::Matrix(vec![
            MatrixSeries {
                labels,
                floats: vec![(0, 1.0), (60_000, f64::NAN)],
                histograms: vec![(30_000, Arc::new(Histogram::default()))],
            },
            MatrixSeries {
                labels: Labels::empty(),
                floats: vec![],
                histograms: vec![(1_500, Arc::new(Histogram::default()))],
            },
        ]);
        assert_eq!(
            written(&matrix),
            concat!(
                r#"[{"metric":{"__name__":"up","job":"a\"b"},"values":[[0,"1"],[60,"NaN"]],"#,
                r#""histograms":[[30,{"count":"0","sum":"0"}]]},"#,
                r#"{"metric":{},"histograms":[[1.500,{"count":"0","sum":"0"}]]}]"#
            )
        );
        let scalar = |value| written(&QueryValue::Scalar { t_ms: 4_000, value });
        assert_eq!(scalar(2.0), r#"[4,"2"]"#);
        assert_eq!(scalar(1e21), r#"[4,"1000000000000000000000"]"#);
        assert_eq!(scalar(-1e-7), r#"[4,"-0.0000001"]"#);
        assert_eq!(scalar(f64::INFINITY), r#"[4,"+Inf"]"#);
        let text = QueryValue::String { t_ms: 0, text: "x\ny".to_string() };
        assert_eq!(written(&text), r#"[0,"x\ny"]"#);
        assert_eq!(written(&QueryValue::Vector(vec![])), "[]");
    }

    #[test]
    fn errors_of_the_text_name_the_parameter_and_others_keep_their_kind() {
        let parse = pando_promql::parse("foo(", &Default::default()).expect_err("no query");
        let text = parse.to_string();
        let error = refused(FrontendError::Query(QueryError::Parse(parse)));
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.message, format!("invalid parameter \"query\": {text}"));
        let cases = [
            (FrontendError::Query(QueryError::execution("x")), 422, "execution", "x"),
            (
                FrontendError::Query(QueryError::Samples { samples_max: 1 }),
                422,
                "execution",
                "query processing would load too many samples into memory in query execution: samples_max=1",
            ),
            (
                FrontendError::Timeout {
                    stage: "expression evaluation",
                    timeout: std::time::Duration::from_secs(120),
                },
                503,
                "timeout",
                "query timed out in expression evaluation: timeout=120s",
            ),
            (
                FrontendError::Query(QueryError::Canceled),
                499,
                "canceled",
                "query was canceled in query execution",
            ),
            (FrontendError::NoController("down".into()), 503, "unavailable", ""),
        ];
        for (error, http, error_type, message) in cases {
            let error = refused(error);
            let surface = error.kind.surface();
            assert_eq!((surface.http, surface.error_type), (http, error_type));
            assert!(error.message.starts_with(message), "{}", error.message);
        }
    }

    #[test]
    fn a_limit_keeps_the_first_series() {
        let sample =
            |i| VectorSample { labels: Labels::empty(), t_ms: i, value: SampleValue::Float(0.0) };
        let mut value = QueryValue::Vector((0..3).map(sample).collect());
        assert!(!cut(&mut value, 0));
        assert!(!cut(&mut value, 3));
        assert!(cut(&mut value, 2));
        assert_eq!(points(&value), 2);
        let one = MatrixSeries {
            labels: Labels::empty(),
            floats: vec![(0, 0.0)],
            histograms: Vec::new(),
        };
        let mut value = QueryValue::Matrix(vec![one; 3]);
        assert!(!cut(&mut value, 3));
        assert!(cut(&mut value, 2));
        assert_eq!(points(&value), 4);
    }
}
