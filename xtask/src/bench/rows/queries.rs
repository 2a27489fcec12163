//! Ten queries over 17 hours of 10,000 counters, answered from blocks: what each costs, and how much memory the
//! heaviest takes.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;

use anyhow::{Result, ensure};

use crate::bench::clock::now_ms;
use crate::bench::counters::SCRAPE_INTERVAL_MS;
use crate::bench::process::tick_s;
use crate::bench::rows::history::{difference, write};
use crate::bench::rows::{Bench, row};
use crate::bench::scale::Scale;
use crate::bench::system::{ALL_LABELS, Kind, Points, System};
use crate::bench::table::{Asked, Better, Row};

/// Measurements of a query; the best one counts.
const TRIES: usize = 3;
/// Far more than a query is asked within one measurement.
const REPEATS_MAX: u32 = 500;

/// One query of the table.
struct Query {
    id: &'static str,
    text: &'static str,
    /// The label that tells the series of the answer apart, or [`ALL_LABELS`].
    by: &'static str,
    /// The last so many hours are asked for; 0: an instant query.
    hours: u32,
    step_s: u64,
    /// How many times less than Prometheus and than VictoriaMetrics it may cost at most.
    asked: Option<Asked>,
}

const fn query(
    id: &'static str,
    text: &'static str,
    by: &'static str,
    hours: u32,
    step_s: u64,
) -> Query {
    Query { id, text, by, hours, step_s, asked: Some(Asked::Times([2.0, 2.0])) }
}

impl Query {
    const fn asked(self, asked: Option<Asked>) -> Self {
        Query { asked, ..self }
    }
}

/// What the first query may take above idle, MB.
const MORE_MEGABYTES_MAX: f64 = 120.0;

/// The queries, in the order of the table. The one of raw series is there to be looked at: its cost is that of a
/// request.
const QUERIES: [Query; 10] = [
    query("rate_by_pod", "sum by (pod) (rate(http_requests_total[5m]))", "pod", 17, 60)
        .asked(Some(Asked::Times([20.0, 4.0]))),
    query("rate_by_pod_1h", "sum by (pod) (rate(http_requests_total[5m]))", "pod", 1, 15),
    query("rate_of_all", "sum(rate(http_requests_total[5m]))", "", 17, 60),
    query("value_by_pod", "sum by (pod) (http_requests_total)", "pod", 17, 60),
    query(
        "top_paths",
        "topk(5, sum by (path) (rate(http_requests_total{code=~\"5..\"}[5m])))",
        "path",
        17,
        60,
    ),
    query("increase_1h", "sum by (pod) (increase(http_requests_total[1h]))", "pod", 15, 300),
    query("subquery", "max_over_time(sum(rate(http_requests_total[5m]))[6h:1m])", "", 0, 0),
    query(
        "raw",
        "http_requests_total{code=\"500\",namespace=~\"team-1.?\",path=\"/api/v1/resource3/items\"}",
        ALL_LABELS,
        1,
        15,
    )
    .asked(None),
    query(
        "quantile",
        "avg by (namespace) (quantile_over_time(0.9, http_requests_total[30m]))",
        "namespace",
        6,
        300,
    ),
    query(
        "join",
        "sum by (pod) (rate(http_requests_total{code=\"500\"}[5m])) / on (pod) sum by (pod) (rate(http_requests_total[5m]))",
        "pod",
        6,
        60,
    ),
];

struct Measured {
    /// Of each query, by its place: processor time of one, seconds, and its answer.
    queries: Vec<(f64, BTreeMap<String, Points>)>,
    /// The most resident bytes while the first one runs, again and again, above those of a process that has answered
    /// none.
    more_bytes: u64,
}

pub(super) fn rows(bench: &mut Bench) -> Vec<Row> {
    let end_ms = now_ms() / SCRAPE_INTERVAL_MS * SCRAPE_INTERVAL_MS;
    let mut measured =
        bench.each("queries", |bench, kind, folder| measure(bench, kind, folder, end_ms));
    compare(bench, &mut measured);
    let mut rows: Vec<Row> = QUERIES
        .iter()
        .enumerate()
        .map(|(at, query)| {
            let when = match query.hours {
                0 => "instant".to_string(),
                hours => format!("{hours} h, step {} s", query.step_s),
            };
            let work = format!("{}, {when}", query.text);
            let figure = |m: &Measured| m.queries[at].0 * 1e3;
            let of_query = row(query.id, work, ("CPU-ms", Better::Less), &measured, figure);
            Row { asked: query.asked, ..of_query }
        })
        .collect();
    let work = "memory that the first one takes at most, above idle";
    let most = row("query_memory_most", work, ("MB", Better::Less), &measured, |m| {
        m.more_bytes as f64 / 1e6
    });
    rows.push(Row { asked: Some(Asked::Most(MORE_MEGABYTES_MAX)), ..most });
    rows
}

fn measure(bench: &mut Bench, kind: Kind, folder: &Path, end_ms: i64) -> Result<Option<Measured>> {
    let Scale { query_series, query_scrapes, .. } = bench.scale;
    let scale = Scale {
        history_series: query_series,
        history_scrapes: query_scrapes,
        ..bench.scale.clone()
    };
    let Some(mut system) = System::start(&bench.binaries, kind, folder, None)? else {
        return Ok(None);
    };
    write(&system, &scale, end_ms)?;
    system.write_blocks()?;
    // What was freed of writing would be memory that a query takes without being seen.
    system.restart()?;
    thread::sleep(scale.settle);
    system.process.forget_most()?;
    let (idle_bytes, _) = system.process.resident_bytes()?;
    // What it reads for the first time is in its memory, and no query's cost.
    ask(&mut system, &QUERIES[0], end_ms, &scale)?;
    let first = cost(&mut system, &QUERIES[0], end_ms, &scale)?;
    let (_, most_bytes) = system.process.resident_bytes()?;
    let mut queries = vec![first];
    for query in &QUERIES[1..] {
        queries.push(cost(&mut system, query, end_ms, &scale)?);
    }
    let more_bytes = most_bytes.saturating_sub(idle_bytes);
    ensure!(more_bytes > 0, "a query that takes no memory: idle_bytes={idle_bytes}");
    Ok(Some(Measured { queries, more_bytes }))
}

fn ask(
    system: &mut System,
    query: &Query,
    end_ms: i64,
    scale: &Scale,
) -> Result<BTreeMap<String, Points>> {
    let answer = match query.hours {
        0 => system.query_instant(query.text, query.by, end_ms)?,
        hours => {
            let all_ms = (scale.history_scrapes as i64 - 1) * SCRAPE_INTERVAL_MS;
            let start_ms = end_ms - all_ms.min(i64::from(hours) * 3_600_000);
            system.query_range(query.text, query.by, (start_ms, end_ms, query.step_s))?
        }
    };
    ensure!(!answer.is_empty(), "nothing is found: {}", query.text);
    Ok(answer)
}

/// Processor time of one query, the best of some measurements, each of as many queries as the clock needs.
fn cost(
    system: &mut System,
    query: &Query,
    end_ms: i64,
    scale: &Scale,
) -> Result<(f64, BTreeMap<String, Points>)> {
    let (mut best_s, mut answer) = (f64::INFINITY, BTreeMap::new());
    for _ in 0..TRIES {
        let before_s = system.process.cpu_s()?;
        let (mut asked, mut cpu_s) = (0u32, 0.0);
        while asked == 0 || (cpu_s < scale.query_cpu_s && asked < REPEATS_MAX) {
            answer = ask(system, query, end_ms, scale)?;
            asked += 1;
            cpu_s = system.process.cpu_s()? - before_s;
        }
        best_s = best_s.min(cpu_s.max(tick_s()) / f64::from(asked));
    }
    Ok((best_s, answer))
}

/// Takes Pando's figures away where an answer is not Prometheus': a wrong answer has no speed.
fn compare(bench: &mut Bench, measured: &mut [Option<Measured>; 3]) {
    let [Some(ours), Some(theirs), _] = &measured else { return };
    let answers = ours.queries.iter().zip(&theirs.queries).zip(&QUERIES);
    let found = answers.filter_map(|((ours, theirs), query)| {
        let difference = difference(&ours.1, &theirs.1)?;
        Some(format!(
            "queries: pando and prometheus answer differently: {}: {difference}",
            query.id
        ))
    });
    let found: Vec<String> = found.collect();
    if !found.is_empty() {
        found.into_iter().for_each(|note| bench.note(note));
        measured[0] = None;
    }
}
