//! `pando query instant|range`: asks any server with Prometheus' API and prints as promtool does; with `--explain`, how
//! a Pando answers.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use pando_model::Labels;
use serde_json::Value;

use super::base;
use super::explain;
use super::output::Output;
use crate::args::{ExplainMode, QueryCommand};

/// How long a server may take to take the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the whole answer may take: more than the two minutes that a query may run by default.
const TIMEOUT: Duration = Duration::from_secs(150);
/// The range that is asked for where no start is given, seconds.
const RANGE_S: f64 = 300.0;

/// Asks and prints.
pub(crate) async fn run(command: &QueryCommand) -> Result<()> {
    let (url, path, tenant, explained, mut parameters) = match command {
        QueryCommand::Instant { url, expression, time, explain, tenant } => {
            let mut parameters = vec![("query", expression.clone())];
            parameters.extend(time.clone().map(|time| ("time", time)));
            (url, "query", tenant, explain.explain, parameters)
        }
        QueryCommand::Range { url, expression, start, end, step, explain, tenant } => {
            let end = end.clone().unwrap_or_else(|| format!("{}", now_s()));
            let start = match start {
                Some(start) => start.clone(),
                None => (seconds(&end)? - RANGE_S).to_string(),
            };
            let parameters = vec![
                ("query", expression.clone()),
                ("start", start),
                ("end", end),
                ("step", step.clone()),
            ];
            (url, "query_range", tenant, explain.explain, parameters)
        }
    };
    let path = if explained.is_some() { "explain" } else { path };
    if explained == Some(ExplainMode::Analyze) {
        parameters.push(("analyze", "true".to_string()));
    }
    let url = format!("{}/api/v1/{path}", base(url)?);
    let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT);
    let mut request = client.build()?.post(&url).form(&parameters);
    if let Some(tenant) = &tenant.tenant {
        request = request.header("X-Scope-OrgID", tenant);
    }
    let response = request.send().await.with_context(|| format!("no answer: url={url}"))?;
    let code = response.status();
    let text = response.text().await?;
    let answer: Value = serde_json::from_str(&text).with_context(|| {
        format!("not an answer of Prometheus' API: status={code} body={text:.200}")
    })?;
    if answer["status"] != "success" {
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_string();
        bail!("{}: {}", text("errorType"), text("error"));
    }
    let mut out = Output::stdout();
    for kind in ["warnings", "infos"] {
        for message in answer[kind].as_array().into_iter().flatten() {
            let message = message.as_str().unwrap_or_default();
            out.line(format_args!("{}: {message}", kind.trim_end_matches('s')))?;
        }
    }
    out.print(match explained {
        Some(_) => explain::render(&answer["data"]),
        None => render(&answer["data"]),
    })
}

/// The Unix seconds of a time as the API takes it: seconds, or RFC 3339.
fn seconds(time: &str) -> Result<f64> {
    if let Ok(seconds) = time.parse::<f64>() {
        return Ok(seconds);
    }
    let time: jiff::Timestamp = time
        .parse()
        .with_context(|| format!("--end is neither Unix seconds nor RFC 3339: {time:?}"))?;
    Ok(time.as_millisecond() as f64 / 1000.0)
}

fn now_s() -> f64 {
    use pando_runtime::Clock as _;
    pando_runtime::SystemClock::new().now_ms() as f64 / 1000.0
}

/// A result as promtool prints it.
fn render(data: &Value) -> String {
    let result = &data["result"];
    let point = |p: &Value| format!("{} @[{}]", value(&p[1]), p[0]);
    match data["resultType"].as_str() {
        Some("vector") => lines(result, |item| {
            format!("{} => {}", series(&item["metric"]), sample(item, "value", "histogram", &point))
        }),
        Some("matrix") => lines(result, |item| {
            let points = [&item["values"], &item["histograms"]];
            let points: Vec<String> =
                points.into_iter().filter_map(Value::as_array).flatten().map(point).collect();
            format!("{} =>\n{}", series(&item["metric"]), points.join("\n"))
        }),
        Some("scalar") => format!("scalar: {}\n", point(result)),
        _ => format!("{}\n", value(&result[1])),
    }
}

fn sample(item: &Value, float: &str, histogram: &str, point: &dyn Fn(&Value) -> String) -> String {
    point(item.get(float).or_else(|| item.get(histogram)).unwrap_or(&Value::Null))
}

fn lines(result: &Value, line: impl Fn(&Value) -> String) -> String {
    result.as_array().into_iter().flatten().map(|item| line(item) + "\n").collect()
}

fn value(v: &Value) -> String {
    v.as_str().map_or_else(|| v.to_string(), str::to_string)
}

fn series(metric: &Value) -> String {
    let pairs = metric.as_object().into_iter().flatten();
    let labels =
        Labels::from_pairs(pairs.map(|(n, v)| (n.as_str(), v.as_str().unwrap_or_default())));
    let name = labels.metric_name().to_string();
    let rest = labels.without_name();
    match rest.is_empty() && !name.is_empty() {
        true => name,
        false => format!("{name}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_seconds_or_rfc_3339() {
        assert_eq!(seconds("1700000000.5").ok(), Some(1_700_000_000.5));
        assert_eq!(seconds("2023-11-14T22:13:20.25Z").ok(), Some(1_700_000_000.25));
        assert_eq!(seconds("2023-11-14T23:13:20+01:00").ok(), Some(1_700_000_000.0));
        assert!(seconds("yesterday").expect_err("no time").to_string().contains("yesterday"));
    }

    #[test]
    fn prints_as_promtool() {
        let data: Value = serde_json::from_str(
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1.5,"1"]},
                {"metric":{},"value":[1.5,"2"]}]}"#,
        )
        .expect("json");
        assert_eq!(render(&data), "up{job=\"a\"} => 1 @[1.5]\n{} => 2 @[1.5]\n");
    }
}
