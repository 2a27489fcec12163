//! `cargo xtask bench` with hardly any data: each group of rows runs and prints its figures, so that the bench
//! cannot rot. How good the figures are is no question here.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use pando_integration_tests::peers;
use serde_json::Value;

/// Runs one group and fails where a row of `rows` is missing or has no figure of Pando's, or of a peer's that is
/// there.
fn check(group: &str, rows: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("table.json");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--package", "xtask", "--", "bench", "--tiny"])
        .args(["--only", group])
        .arg("--pando")
        .arg(peers::pando())
        .arg("--folder")
        .arg(folder.path())
        .arg("--json")
        .arg(&json)
        .stdin(Stdio::null())
        .output()?;
    let (printed, trouble) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}\n{printed}\n{trouble}", output.status);
    let table: Value = serde_json::from_str(&std::fs::read_to_string(&json)?)?;
    let of_table = table["rows"].as_array().context("no rows")?;
    let ids: Vec<&str> = of_table.iter().filter_map(|row| row["id"].as_str()).collect();
    ensure!(ids == rows, "rows differ: have={ids:?} want={rows:?}");
    let systems = [
        ("pando", true),
        ("prometheus", peers::prometheus().is_some()),
        ("victoria_metrics", peers::victoria_metrics().is_some()),
    ];
    for row in of_table {
        for (system, _) in systems.iter().filter(|(_, is_here)| *is_here) {
            let figure = row[system].as_f64();
            let figure =
                figure.with_context(|| format!("no figure: {system}: {row}\n{trouble}"))?;
            ensure!(figure.is_finite() && figure > 0.0, "no good figure: {system}: {row}");
        }
        let all = systems.iter().all(|(_, is_here)| *is_here);
        ensure!(!all || row["asked"].is_string() == row["met"].is_boolean(), "not judged: {row}");
        let work = row["work"].as_str().context("no words")?;
        ensure!(printed.contains(work), "not printed: {work}\n{printed}");
    }
    Ok(())
}

#[test]
fn the_history_rows_run() -> Result<()> {
    let rows = [
        "write",
        "write_stored",
        "stored_synthetic",
        "directory_synthetic",
        "query_memory",
        "query_blocks",
    ];
    check("history", &rows)
}

#[test]
fn the_query_rows_run() -> Result<()> {
    let rows = [
        "rate_by_pod",
        "rate_by_pod_1h",
        "rate_of_all",
        "value_by_pod",
        "top_paths",
        "increase_1h",
        "subquery",
        "raw",
        "quantile",
        "join",
        "query_memory_most",
    ];
    check("queries", &rows)
}

#[test]
fn the_capture_row_runs() -> Result<()> {
    match peers::shared("datasets/scrapes-5s.txt.xz") {
        Some(_) => check("capture", &["stored_capture"]),
        None => Ok(()),
    }
}

#[test]
fn the_scrape_rows_run() -> Result<()> {
    check("scrape", &["scrape", "resident", "resident_most"])
}

#[test]
fn the_wire_row_runs() -> Result<()> {
    check("wire", &["wire"])
}
