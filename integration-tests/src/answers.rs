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
        let labels: BTreeMap<&str, &Value> =
            item["metric"].as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), v)).collect();
        let points = match item.get("values") {
            Some(values) => values.as_array().cloned().unwrap_or_default(),
            None => vec![item["value"].clone()],
        };
        let key = serde_json::to_string(&labels)?;
        ensure!(series.insert(key.clone(), points).is_none(), "series comes twice: {key}");
    }
    Ok(series)
}

fn same_point(a: &Value, b: &Value) -> Result<()> {
    let time = |v: &Value| v[0].as_f64().unwrap_or(f64::NAN);
    ensure!((time(a) - time(b)).abs() < 1e-6, "times differ: ours={} theirs={}", a[0], b[0]);
    let value = |v: &Value| v[1].as_str().and_then(|s| s.parse::<f64>().ok());
    let (Some(x), Some(y)) = (value(a), value(b)) else {
        ensure!(a[1] == b[1], "values differ: ours={a} theirs={b}");
        return Ok(());
    };
    let same = x == y
        || (x.is_nan() && y.is_nan())
        || (x - y).abs() <= TOLERANCE * x.abs().max(y.abs()).max(f64::MIN_POSITIVE);
    ensure!(same, "values differ: ours={a} theirs={b}");
    Ok(())
}
