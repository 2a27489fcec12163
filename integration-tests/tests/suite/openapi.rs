//! The HTTP API as Prometheus' own OpenAPI description has it: every answer of a Pando with all kinds of data fits the
//! description. A real Prometheus with the same data is asked the same, so that what is named here as a fault of the
//! description is seen to be one; and what both say of queries, exemplars and statistics is compared.

mod calls;
mod data;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::process::Process;
use pando_integration_tests::{http, peers};
use reqwest::Method;
use serde_json::{Value, json};

use calls::{Call, Want};
use data::Times;

/// Where the description is, below the shared data.
const DESCRIPTION: &str = "prometheus-api/openapi.yaml";

/// Paths of the description that Pando does not serve, and why.
const UNSERVED: [(&str, &str); 21] = [
    ("/search/metric_names", "experimental, and nothing asks for it yet"),
    ("/search/label_names", "experimental, and nothing asks for it yet"),
    ("/search/label_values", "experimental, and nothing asks for it yet"),
    ("/scrape_pools", "agents say their targets only"),
    ("/scrape_pools/config", "agents say their targets only"),
    ("/targets/metadata", "metadata is the tenant's, not a target's"),
    ("/targets/relabel_steps", "agents say their targets only"),
    ("/rules", "rules are not evaluated yet"),
    ("/alerts", "rules are not evaluated yet"),
    ("/alertmanagers", "rules are not evaluated yet"),
    ("/status/tsdb/blocks", "blocks are the catalog's: pando block, pando admin"),
    ("/status/walreplay", "a log is replayed by each shard on its own"),
    ("/status/self_metrics", "experimental; /metrics says the same"),
    ("/admin/tsdb/delete_series", "deletes have no endpoint yet"),
    ("/admin/tsdb/clean_tombstones", "deletes have no endpoint yet"),
    ("/admin/tsdb/snapshot", "the bucket is the backup"),
    ("/read", "remote read is not served yet"),
    ("/otlp/v1/metrics", "OTLP is not taken yet"),
    ("/notifications", "there is no web interface yet"),
    ("/notifications/live", "there is no web interface yet"),
    ("/features", "no client asks for it yet"),
];

/// Where Prometheus' own server does not fit its description: path, call, place in the answer, and what is there.
const UNDESCRIBED: [(&str, &str, &str, &str); 4] = [
    (
        "/query",
        "a string",
        "/data/result/*",
        "the time of a string result is a number, described as a string",
    ),
    (
        "/query",
        "floats and histograms",
        "/data/result/*",
        "a series has values and histograms, described as either",
    ),
    (
        "/query_exemplars",
        "no selector",
        "status",
        "a query without a selector is answered 204 without a body",
    ),
    ("/write", "not compressed", "type", "an error of remote write is plain text"),
];

/// An answer as it came.
struct Answer {
    call: &'static Call,
    method: &'static str,
    status: u16,
    kind: String,
    body: String,
}

/// A fault of an answer.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Fault {
    path: &'static str,
    call: &'static str,
    at: String,
    /// Method and text: for a reader.
    why: String,
}

impl Fault {
    fn is_named(&self) -> bool {
        UNDESCRIBED.iter().any(|(path, call, at, _)| (*path, *call, *at) == self.place())
    }

    fn place(&self) -> (&str, &str, &str) {
        (self.path, self.call, &self.at)
    }
}

async fn ask(
    base: &str,
    call: &'static Call,
    method: &'static str,
    times: Times,
) -> Result<Answer> {
    let url = format!("{base}/api/v1{}", call.url());
    let parameters = times.fill(call.parameters);
    let request = match (method, call.body) {
        ("get", _) => http::client().get(url).query(&parameters),
        (_, Some(body)) => {
            let request = http::client().post(url).body(body);
            request
                .header("Content-Type", "application/x-protobuf")
                .header("Content-Encoding", "snappy")
        }
        // A form; the client has no other use for one.
        _ => {
            let form = reqwest::Url::parse_with_params("http://form/", &parameters)?;
            let request = http::client().request(Method::POST, url);
            request
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(form.query().unwrap_or_default().to_string())
        }
    };
    let response = request.send().await?;
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok());
    let kind = kind.unwrap_or_default().to_string();
    Ok(Answer { call, method, status, kind, body: response.text().await? })
}

/// Asks everything, by every method that the description has.
async fn ask_all(base: &str, described: &Described, times: Times) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for call in calls::all() {
        for method in described.methods(call.path)? {
            answers.push(ask(base, call, method, times).await?);
        }
    }
    Ok(answers)
}

/// Whether each answer is of the kind that its call is to show: otherwise what fits would be something else.
fn ensure_meant(answers: &[Answer]) -> Result<()> {
    for Answer { call, method, status, body, .. } in answers {
        let what = || format!("{method} {} {:?}: {status} {body:.600}", call.path, call.name);
        match call.want {
            // Prometheus, where even the preparation is late: a fault of the query, it says, or of its execution.
            Want::Error(503) if body.contains("context deadline exceeded") => {}
            Want::Error(code) => ensure!(*status == code, "expected {code}: {}", what()),
            Want::Empty => ensure!(*status == 204 && body.is_empty(), "expected 204: {}", what()),
            Want::Data(part) => {
                ensure!(*status == 200 && body.contains(part), "expected {part:?}: {}", what());
            }
        }
    }
    Ok(())
}

/// Paths and methods of the description.
struct Described(Value);

impl Described {
    async fn read(python: &Path, file: &Path) -> Result<Self> {
        let script = "import json, sys, yaml\n\
                      paths = yaml.safe_load(open(sys.argv[1], encoding='utf-8'))['paths']\n\
                      print(json.dumps({path: list(methods) for path, methods in paths.items()}))";
        let output = tokio::process::Command::new(python).args(["-c", script]).arg(file).output();
        let output = output.await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(Described(serde_json::from_slice(&output.stdout)?))
    }

    fn paths(&self) -> Result<BTreeSet<&str>> {
        let paths = self.0.as_object().context("paths")?;
        Ok(paths.keys().map(String::as_str).collect())
    }

    fn methods(&self, path: &str) -> Result<Vec<&'static str>> {
        let methods = self.0[path].as_array().with_context(|| format!("not described: {path}"))?;
        let known = ["get", "post", "put"].into_iter();
        Ok(known.filter(|known| methods.iter().any(|method| method == known)).collect())
    }
}

/// Where `answers` do not fit the description.
async fn faults(
    python: &Path,
    file: &Path,
    folder: &Path,
    answers: &[Answer],
) -> Result<BTreeSet<Fault>> {
    let lines: String = answers
        .iter()
        .map(|Answer { call, method, status, kind, body }| {
            let line = json!({"path": call.path, "method": method, "status": status, "type": kind, "body": body});
            format!("{line}\n")
        })
        .collect();
    let said = folder.join("answers.jsonl");
    std::fs::write(&said, lines)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/validate_answers.py");
    let mut command = tokio::process::Command::new(python);
    let output = command.arg(script).args([file, &said]).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut faults = BTreeSet::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let fault: Value = serde_json::from_str(line)?;
        let number = fault["answer"].as_u64().context("a number")?;
        let Answer { call, method, body, .. } = &answers[usize::try_from(number)?];
        faults.insert(Fault {
            path: call.path,
            call: call.name,
            at: fault["at"].as_str().unwrap_or_default().to_string(),
            why: format!("{method}: {} in {body:.300}", fault["why"]),
        });
    }
    Ok(faults)
}

/// Every path of the description is served and called, or named as one that is not served.
async fn ensure_each_path_is_known(base: &str, described: &Described) -> Result<()> {
    let paths = described.paths()?;
    let called: BTreeSet<&str> = calls::all().map(|call| call.path).collect();
    let unserved: BTreeSet<&str> = UNSERVED.iter().map(|(path, _)| *path).collect();
    for path in paths.union(&called).chain(&unserved) {
        ensure!(paths.contains(path), "not in the description: {path}");
        let known = called.contains(path) ^ unserved.contains(path);
        ensure!(known, "served and called, or named as unserved: {path}");
    }
    for (path, why) in UNSERVED {
        for method in described.methods(path)? {
            let method = Method::from_bytes(method.to_uppercase().as_bytes())?;
            let answer =
                http::client().request(method, format!("{base}/api/v1{path}")).send().await?;
            ensure!(answer.status() == 404, "{path} is served, and named as unserved: {why}");
        }
    }
    Ok(())
}

/// A Prometheus that takes remote writes and scrapes `target`.
async fn start_prometheus(folder: &Path, target: &str) -> Result<Option<(Process, String)>> {
    let config = folder.join("prometheus.yml");
    data::write_configuration(&config, target)?;
    let flags = [
        "--web.enable-remote-write-receiver",
        "--enable-feature=exemplar-storage,native-histograms,promql-per-step-stats",
        "--enable-feature=promql-duration-expr,promql-experimental-functions",
    ];
    peers::start_prometheus(folder, &config, &peers::free_address(), &flags).await
}

/// What both say of queries, exemplars and statistics is the same.
async fn ensure_alike(ours: &str, theirs: &str, times: Times) -> Result<()> {
    let mut differences = Vec::new();
    for (path, parameters, part) in calls::compared() {
        let parameters = times.fill(&parameters);
        let borrowed: Vec<_> =
            parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = async |base: &str| -> Result<Value> {
            let url = format!("{base}/api/v1{path}");
            let mut data = http::data(&url, &borrowed).await?;
            let part = data.pointer_mut(part).map(Value::take);
            part.with_context(|| format!("nothing to compare: {url} {parameters:?}: {data}"))
        };
        let (ours, mut theirs) = tokio::try_join!(answer(ours), answer(theirs))?;
        calls::add_what_is_newer(&mut theirs);
        if ours != theirs {
            differences.push(format!("{path} {parameters:?}\nours={ours}\ntheirs={theirs}"));
        }
    }
    ensure!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    Ok(())
}

#[tokio::test]
async fn answers_fit_prometheus_description_and_are_prometheus() -> Result<()> {
    let (Some(file), Some(python)) = (peers::shared(DESCRIPTION), peers::python()) else {
        return Ok(());
    };
    let mut cluster = Cluster::new()?;
    let folder = cluster.folder.path().to_path_buf();
    let Some((_exporter, target)) = peers::start_node_exporter(&folder).await? else {
        return Ok(());
    };
    let Some((prometheus, theirs)) = start_prometheus(&folder, &target).await? else {
        return Ok(());
    };
    let config = folder.join("prometheus.yml");
    let features = "--enable-feature=promql-experimental-functions";
    let all = cluster.add("all", "all");
    all.flags = vec![format!("--config.file={}", config.display()), features.into()];
    all.flags.push("--ingester.query-timeout=1s".into());
    cluster.start()?;
    cluster.ready().await?;
    let ours = cluster.url("all", "");
    let described = Described::read(&python, &file).await?;
    ensure_each_path_is_known(&ours, &described).await?;

    // Half of what is written lies in a block, half in the head.
    let times = Times::now();
    for base in [&ours, &theirs] {
        data::write_first(base, times).await?;
    }
    cluster.admin(&["cut"]).await?;
    data::emptied(&cluster).await?;
    for base in [&ours, &theirs] {
        data::write_second(base, times).await.context(base.clone())?;
        data::scraped(base).await?;
    }

    let answers = ask_all(&ours, &described, times).await?;
    ensure_meant(&answers).with_context(|| cluster.named("all").log_tail())?;
    let found = faults(&python, &file, &folder, &answers).await?;
    let unnamed: Vec<&Fault> = found.iter().filter(|fault| !fault.is_named()).collect();
    ensure!(unnamed.is_empty(), "answers do not fit the description: {unnamed:#?}");

    let answers = ask_all(&theirs, &described, times).await?;
    ensure_meant(&answers).with_context(|| prometheus.log_tail())?;
    let found = faults(&python, &file, &folder, &answers).await?;
    for (path, call, at, why) in UNDESCRIBED {
        let seen = found.iter().any(|fault| fault.place() == (path, call, at));
        ensure!(seen, "Prometheus fits: {path} {call:?} {at} ({why}): {found:#?}");
    }
    ensure_alike(&ours, &theirs, times).await
}
