//! Limits are those of the whole query, and whoever leaves ends it.

use std::sync::atomic::AtomicUsize;

use pando_model::{Labels, SeriesKey, SeriesSamples};
use pando_runtime::MetricsRegistry;

use super::*;
use crate::FrontendConfig;
use crate::testdata::{frontend_of, frontend_with, hasty};

const SERIES: u64 = 12;
/// 600 steps: what a series comes to is ten times the samples that are read for it.
const RANGE: (i64, i64, i64) = (5_000, 64_900, 100);

/// A member with 12 series, four in each of three ranges of keys.
async fn three_ranges(tasks: &Tasks) -> (Arc<FakeCatalog>, Arc<FakeMember>) {
    let numbers: Vec<String> = (0..SERIES).map(|i| i.to_string()).collect();
    let names: Vec<(&str, &str)> = numbers.iter().map(|i| ("m", i.as_str())).collect();
    let member = FakeMember::with_series(&names);
    let address = member.serve(1, tasks).await;
    let mut cluster = Cluster::with_ingesters(0);
    cluster.join_node(1, &address, &[pando_catalog::Role::Ingester]);
    cluster.open(&[&[1], &[1], &[1]]);
    let key = |(name, i): &(&str, &str)| {
        let labels = Labels::from_pairs([("__name__", *name), ("i", *i)]);
        SeriesKey::of(&default_tenant(), &labels).0
    };
    let mut keys: Vec<u64> = names.iter().map(key).collect();
    keys.sort();
    cluster.assign("default", &[(keys[3], 1), (keys[7], 2), (u64::MAX, 3)]);
    (FakeCatalog::new(cluster.view()), member)
}

fn with(config: FrontendConfig, catalog: &Arc<FakeCatalog>) -> Arc<Frontend> {
    frontend_of(config, catalog.clone(), &MetricsRegistry::new())
}

async fn ask_range(
    frontend: &Frontend,
    text: &str,
    range: (i64, i64, i64),
) -> Result<Answer, FrontendError> {
    let options = QueryOptions { keep_executed: true, ..QueryOptions::default() };
    frontend.query_range(&default_tenant(), text, range, options).await
}

/// What the query is refused with, though no member has refused anything.
async fn refusal(config: FrontendConfig, text: &str) -> String {
    let tasks = Tasks::new();
    let (catalog, member) = three_ranges(&tasks).await;
    let refused = ask_range(&with(config, &catalog), text, RANGE).await;
    let error = refused.expect_err("too much");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    let at_member = |refused: &AtomicUsize| refused.load(Ordering::Relaxed);
    assert_eq!(at_member(&member.refused), 0, "the sum is refused: {error}");
    error.to_string()
}

#[tokio::test]
async fn what_all_ranges_come_to_is_limited() {
    let tasks = Tasks::new();
    let (catalog, _member) = three_ranges(&tasks).await;
    let whole = ask_range(&with(hasty(), &catalog), "m", RANGE).await.expect("an answer");
    let series: Vec<u64> = whole.executed.iter().map(|one| one.run.stats.series).collect();
    assert_eq!(series, [4, 4, 4]);

    let series_max = SERIES - 1;
    let error = refusal(FrontendConfig { series_max, ..hasty() }, "m").await;
    assert_eq!(error, "query exceeds its budget: series_max=11");
    let samples_max = SERIES * 600 - 1;
    let error = refusal(FrontendConfig { samples_max, ..hasty() }, "m").await;
    let samples = "query processing would load too many samples into memory in query execution";
    assert_eq!(error, format!("{samples}: samples_max=7199"));
    // Encoded ones are fewer than those of the columns that they become.
    let bytes_max: u64 = whole.executed.iter().map(|one| one.run.bytes_received).sum();
    let error = refusal(FrontendConfig { bytes_max: bytes_max - 1, ..hasty() }, "m").await;
    assert_eq!(error, format!("query exceeds its budget: bytes_max={}", bytes_max - 1));
}

#[tokio::test]
async fn series_of_all_fragments_add_up() {
    let text = "count(m) + count(m offset 1s)";
    let series_max = 2 * SERIES - 1;
    let error = refusal(FrontendConfig { series_max, ..hasty() }, text).await;
    assert_eq!(error, "query exceeds its budget: series_max=23");
    let tasks = Tasks::new();
    let (catalog, _member) = three_ranges(&tasks).await;
    let enough = with(FrontendConfig { series_max: series_max + 1, ..hasty() }, &catalog);
    assert_eq!(ask_range(&enough, text, RANGE).await.expect("an answer").series_read, 2 * SERIES);
}

#[tokio::test]
async fn series_of_parts_and_of_failed_tries_are_the_same_series() {
    let tasks = Tasks::new();
    let (catalog, member) = three_ranges(&tasks).await;
    let frontend = with(FrontendConfig { series_max: SERIES, ..hasty() }, &catalog);
    member.script.lock().extend([Act::CutShort, Act::CutShort]);
    const DAY_MS: i64 = 24 * 3_600_000;
    let answer = ask_range(&frontend, "m", (-DAY_MS, DAY_MS, DAY_MS / 2)).await;
    let answer = answer.expect("within");
    assert!(answer.series_read > SERIES, "in parts: {}", answer.series_read);
    assert!(member.calls.lock().len() > answer.executed.len());
}

#[test]
fn a_merge_shares_its_budget_with_what_others_have_come_to() {
    let query = Query::parse("m", QueryParams::range(0, 59_000, 1_000).expect("steps"));
    let plan = query.expect("a query").fragments()[0].plan.clone();
    let tenant = default_tenant();
    let labels = Labels::from_pairs([("__name__", "m")]);
    let series = SeriesSamples {
        key: SeriesKey::of(&tenant, &labels),
        labels,
        axis: (0..60).map(|i| i * 1_000).collect(),
        floats: vec![1.0; 60],
        histograms: Vec::new(),
        starts: Vec::new(),
        exemplars: Vec::new(),
    };
    let batch = PartialBatch { raw: vec![series], ..PartialBatch::default() };
    let merged = |limits: Budget, pool: &Pool| {
        let batches = vec![batch.encode().into()];
        let part = Part { steps: 0..60, plan: plan.clone(), time: plan.time_range() };
        merge(&plan, vec![(part, batches)], (limits, pool), CancelFlag::new())
    };
    let samples = Budget { samples_max: 179, ..Budget::default() };
    assert!(merged(samples, &Pool::new()).is_ok(), "the samples and a column");
    let pool = Pool::new();
    merged(samples, &pool).expect("a column of 60 values stays");
    assert_eq!(merged(samples, &pool).err(), Some(QueryError::Samples { samples_max: 179 }));
    let more = Budget { samples_max: 180, ..Budget::default() };
    assert!(merged(more, &pool).is_ok());
    assert!(merged(more, &pool).is_err(), "two columns stay");
}

#[tokio::test]
async fn calls_of_a_query_take_turns() {
    let tasks = Tasks::new();
    let (catalog, member) = three_ranges(&tasks).await;
    let frontend = with(FrontendConfig { fragments_in_flight_max: 2, ..hasty() }, &catalog);
    let text = "count(m) + count(m offset 1s)";
    assert!(ask_range(&frontend, text, RANGE).await.is_ok());
    assert_eq!(member.calls.lock().drain(..).count(), 6);
    member.script.lock().extend(vec![Act::Hang; 6]);
    let two_are_asked = async {
        while member.calls.lock().len() < 2 {
            tokio::task::yield_now().await;
        }
        // Whoever else would be asked is asked by now.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = ask_range(&frontend, text, RANGE) => panic!("an answer: {answer:?}"),
        () = within_patience(two_are_asked) => {}
    }
    assert_eq!(member.calls.lock().len(), 2, "of both fragments together");
}

#[tokio::test]
async fn who_leaves_ends_the_query() {
    let tasks = Tasks::new();
    let (_cluster, catalog, member) = one_member(&tasks).await;
    let metrics = MetricsRegistry::new();
    let frontend = frontend_with(catalog, &metrics);
    member.script.lock().push_back(Act::Hang);
    let asked = async {
        while member.calls.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = ask(&frontend, "m") => panic!("an answer: {answer:?}"),
        () = within_patience(asked) => {}
    }
    within_patience(async {
        while Arc::strong_count(&member.held) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let text = metrics.encode().expect("metrics");
    for line in [
        r#"pando_query_frontend_queries_total{outcome="canceled"} 1"#,
        "prometheus_engine_queries 0",
        "pando_query_frontend_query_duration_seconds_count 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

/// `condition`, which comes true soon or never.
async fn within_patience(condition: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(20), condition).await.expect("it comes true");
}
