//! pyarrow and DuckDB open a block that a real cluster wrote, and count its series, labels and samples as they were
//! written: a block is a Parquet file to everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::writer::{Ledger, Writer, Written};
use pando_integration_tests::{now_ms, peers};
use pando_model::Labels;
use serde_json::Value;

const TENANTS: [&str; 2] = ["first", "second"];
const READERS: [&str; 2] = ["pyarrow", "duckdb"];
/// So many that labels have columns of their own; a rare label stays in the map.
const SERIES: usize = 300;
const SAMPLES: i64 = 20;
/// The length of a slice: a row has samples of one.
const SLICE_MS: i64 = 2 * 3_600_000;

/// What is counted of one series.
#[derive(Clone, Debug, PartialEq)]
struct Counted {
    samples: u64,
    first_ms: i64,
    last_ms: i64,
    min: f64,
    max: f64,
}

type Series = BTreeMap<(String, Labels), Counted>;

/// Samples on both sides of a slice's border, of series with a rare label, of words that have to be escaped, and
/// of values of every size.
async fn write(writer: &Writer, offset: usize) -> Result<()> {
    let border_ms = now_ms() / SLICE_MS * SLICE_MS;
    for turn in 0..SAMPLES {
        let t_ms = border_ms + (turn - SAMPLES / 2) * 1000;
        let mut batch = Vec::new();
        for n in 0..SERIES {
            let (series, instance) = (format!("{n}"), format!("host-{}", n % 7));
            let mut pairs = vec![("job", "wide"), ("instance", &instance), ("series", &series)];
            if n % 50 == 0 {
                pairs.push(("rare", "it's \"quoted\" \\ ä"));
            }
            let value = (n as f64 - 150.0) * 1.5 + (turn * turn) as f64 / 3.0 + offset as f64;
            // Not every series has every sample.
            if !(turn as usize + n).is_multiple_of(11) {
                batch.push(Written::new("wide_metric", &pairs, t_ms, value));
            }
        }
        batch.push(Written::new("narrow_metric", &[("job", "narrow")], t_ms, 1e300 + turn as f64));
        writer.write_surely(&batch).await?;
    }
    Ok(())
}

fn expected(ledgers: &[(&str, Ledger)]) -> Series {
    let mut all = Series::new();
    for (tenant, ledger) in ledgers {
        for Written { labels, timestamp_ms: t_ms, value } in ledger.acknowledged() {
            let one = Counted { samples: 0, first_ms: t_ms, last_ms: t_ms, min: value, max: value };
            let one = all.entry((tenant.to_string(), labels)).or_insert(one);
            one.samples += 1;
            one.first_ms = one.first_ms.min(t_ms);
            one.last_ms = one.last_ms.max(t_ms);
            one.min = one.min.min(value);
            one.max = one.max.max(value);
        }
    }
    all
}

fn counted(said: &Value) -> Result<Series> {
    let mut all = Series::new();
    for series in said.as_array().context("a list of series")? {
        let pairs = series["labels"].as_object().context("labels")?;
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or("")));
        let labels = Labels::from_pairs(pairs);
        let tenant = series["tenant"].as_str().context("a tenant")?.to_string();
        let number = |name: &str| {
            let text = series[name].as_str().with_context(|| format!("no {name}"))?;
            text.parse::<f64>().with_context(|| text.to_string())
        };
        let whole = |name: &str| series[name].as_i64().with_context(|| format!("no {name}"));
        let one = Counted {
            samples: series["samples"].as_u64().context("no samples")?,
            first_ms: whole("first_ms")?,
            last_ms: whole("last_ms")?,
            min: number("min")?,
            max: number("max")?,
        };
        let twice = all.insert((tenant, labels.clone()), one);
        ensure!(twice.is_none(), "series comes twice: {labels}");
    }
    Ok(all)
}

fn same(found: &Series, expected: &Series) -> Result<()> {
    for (key, one) in expected {
        let Some(other) = found.get(key) else { bail!("series is missing: {} {}", key.0, key.1) };
        ensure!(one == other, "{} {}: expected={one:?} found={other:?}", key.0, key.1);
    }
    ensure!(found.len() == expected.len(), "{} series of {}", found.len(), expected.len());
    let pairs = |series: &Series| -> BTreeSet<(String, String)> {
        let labels = series.keys().flat_map(|(_, labels)| labels.iter());
        labels.map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    ensure!(pairs(found) == pairs(expected), "pairs of name and value differ");
    let samples = |series: &Series| series.values().map(|one| one.samples).sum::<u64>();
    ensure!(samples(found) == samples(expected), "samples differ");
    Ok(())
}

/// The only block of the bucket.
fn only_block(bucket: &Path) -> Result<std::path::PathBuf> {
    let mut files = Vec::new();
    for part in std::fs::read_dir(bucket.join("blocks"))? {
        for entry in std::fs::read_dir(part?.path())? {
            files.push(entry?.path());
        }
    }
    ensure!(files.len() == 1, "one block: {files:?}");
    files.pop().context("a block")
}

#[tokio::test]
async fn pyarrow_and_duckdb_count_a_block_right() -> Result<()> {
    let Some(python) = peers::python() else { return Ok(()) };
    let mut cluster = Cluster::new()?;
    let config = cluster.folder.path().join("prometheus.yml");
    std::fs::write(&config, "global: {}\n")?;
    cluster.add("all", "all").flags.push(format!("--config.file={}", config.display()));
    cluster.start()?;
    cluster.ready().await?;
    let mut ledgers = Vec::new();
    for (n, tenant) in TENANTS.into_iter().enumerate() {
        let writer = Writer::new(&cluster.url("all", ""), tenant);
        write(&writer, n * 1000).await?;
        ledgers.push((tenant, writer.ledger()));
    }
    cluster.admin(&["cut"]).await?;

    let block = only_block(&cluster.named("all").folder.join("data/bucket"))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/read_block.py");
    let output = tokio::process::Command::new(python).arg(script).arg(&block).output().await?;
    let trouble = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{trouble}");
    let said: Value = serde_json::from_slice(&output.stdout).context(trouble)?;
    let expected = expected(&ledgers);
    ensure!(expected.len() == TENANTS.len() * (SERIES + 1), "series were written");
    for reader in READERS {
        same(&counted(&said[reader])?, &expected).with_context(|| reader)?;
    }
    // Both ways of keeping a label were met.
    let printed = cluster.tool(&["block", "inspect", &block.display().to_string()])?;
    for column in ["label_series", "labels"] {
        ensure!(printed.contains(column), "no column {column}: {printed}");
    }
    ensure!(!printed.contains("label_rare"), "a rare label has a column: {printed}");
    Ok(())
}
