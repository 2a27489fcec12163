//! Comparing answers of Prometheus' API sample by sample.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

/// How far two values may be apart, relative to their size: additions in another order.
pub const TOLERANCE: f64 = 1e-9;

/// Fails where two `data` objects of query or query_range differ in more than the order of float additions.
///
/// # Errors
/// Names the first difference.
pub fn ensure_equal(ours: &Value, theirs: &Value) -> Result<()> {
    ensure!(
        ours["resultType"] == theirs["resultType"],
        "result types differ: ours={} theirs={}",
        ours["resultType"],
        theirs["resultType"]
    );
    if matches!(theirs["resultType"].as_str(), Some("scalar" | "string")) {
        return same_point(&ours["result"], &theirs["result"]);
    }
    let (ours, theirs) = (by_series(ours)?, by_series(theirs)?);
    for key in theirs.keys() {
        ensure!(ours.contains_key(key), "series is missing: {key}");
    }
    for (key, ours) in &ours {
        let Some(theirs) = theirs.get(key) else { bail!("series is too much: {key}") };
        ensure!(
            ours.len() == theirs.len(),
            "numbers of points differ: series={key} ours={} theirs={}",
            ours.len(),
            theirs.len()
        );
        for (a, b) in ours.iter().zip(theirs) {
            same_point(a, b).map_err(|e| e.context(format!("series={key}")))?;
        }
    }
    Ok(())
}

fn by_series(data: &Value) -> Result<BTreeMap<String, Vec<Value>>> {
    let mut series = BTreeMap::new();
    for item in data["result"].as_array().into_iter().flatten() {
        let labels: BTreeMap<&str, &Value> = item["metric"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.as_str(), v))
            .collect();
        let mut points = Vec::new();
        for (many, one) in [("values", "value"), ("histograms", "histogram")] {
            points.extend(item[many].as_array().into_iter().flatten().cloned());
            points.extend(item.get(one).cloned());
        }
        let key = serde_json::to_string(&labels)?;
        ensure!(series.insert(key.clone(), points).is_none(), "series comes twice: {key}");
    }
    Ok(series)
}

fn same_point(a: &Value, b: &Value) -> Result<()> {
    let time = |v: &Value| v[0].as_f64().unwrap_or(f64::NAN);
    ensure!((time(a) - time(b)).abs() < 1e-6, "times differ: ours={} theirs={}", a[0], b[0]);
    ensure!(is_same_value(&a[1], &b[1]), "values differ: ours={a} theirs={b}");
    Ok(())
}

/// Numbers may differ by the order of additions, all else (a histogram's structure too) must be the same.
pub fn is_same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(x), Value::String(y)) => match (x.parse::<f64>(), y.parse::<f64>()) {
            (Ok(x), Ok(y)) => same_number(x, y),
            _ => x == y,
        },
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| is_same_value(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| is_same_value(x, y)))
        }
        _ => a == b,
    }
}

fn same_number(x: f64, y: f64) -> bool {
    x == y
        || (x.is_nan() && y.is_nan())
        || (x - y).abs() <= TOLERANCE * x.abs().max(y.abs()).max(f64::MIN_POSITIVE)
}
