//! Queries against members that do as they are told.

mod budgets;

use std::sync::Arc;
use std::time::Duration;

use pando_model::{CatalogVersion, ErrorKind, GenerationId, KeyRange, ShardId, TimeRange};
use pando_promql::QueryValue;
use pando_runtime::{MetricsRegistry, Tasks};

use super::*;
use crate::config::FrontendConfig;
use crate::subquery_step::SubqueryStep;
use crate::testdata::{
    Act, Cluster, FakeCatalog, FakeMember, frontend, frontend_of, frontend_stepping, hasty, record,
};

const NAMES: [(&str, &str); 4] = [("m", "a"), ("m", "b"), ("n", "c"), ("n", "d")];

fn default_tenant() -> TenantId {
    TenantId::default_tenant()
}

/// One shard with one member, and that member.
async fn one_member(tasks: &Tasks) -> (Cluster, Arc<FakeCatalog>, Arc<FakeMember>) {
    let member = FakeMember::with_series(&NAMES);
    let address = member.serve(1, tasks).await;
    let mut cluster = Cluster::with_ingesters(0);
    cluster.join_node(1, &address, &[pando_catalog::Role::Ingester]);
    cluster.open(&[&[1]]);
    cluster.assign("default", &[(u64::MAX, 1)]);
    let catalog = FakeCatalog::new(cluster.view());
    (cluster, catalog, member)
}

fn sum_of(answer: &Answer) -> f64 {
    let QueryValue::Vector(samples) = &answer.output.value else { panic!("a vector: {answer:?}") };
    assert_eq!(samples.len(), 1, "{answer:?}");
    match samples[0].value {
        pando_model::SampleValue::Float(v) => v,
        ref other => panic!("a float: {other:?}"),
    }
}

async fn ask(frontend: &Frontend, text: &str) -> Result<Answer, FrontendError> {
    frontend.query_instant(&default_tenant(), text, 30_000, QueryOptions::default()).await
}

#[tokio::test]
async fn partial_results_of_all_ranges_are_one_answer() {
    let tasks = Tasks::new();
    let member = FakeMember::with_series(&NAMES);
    let address = member.serve(1, &tasks).await;
    let mut cluster = Cluster::with_ingesters(0);
    cluster.join_node(1, &address, &[pando_catalog::Role::Ingester]);
    cluster.open(&[&[1], &[1], &[1]]);
    cluster.assign("default", &[(u64::MAX / 3, 1), (u64::MAX / 2, 2), (u64::MAX, 3)]);
    let frontend = frontend(FakeCatalog::new(cluster.view()));
    let answer = ask(&frontend, "sum(m) + sum(n)").await.expect("an answer");
    assert_eq!(sum_of(&answer), 10.0);
    assert_eq!(answer.series_read, 4);
    assert_eq!(member.calls.lock().len(), 6);
    // Nothing to read: nobody is asked.
    let answer = ask(&frontend, "vector(7)").await.expect("an answer");
    assert_eq!(sum_of(&answer), 7.0);
    assert_eq!(member.calls.lock().len(), 6);
}

#[tokio::test]
async fn a_long_range_is_asked_for_in_parts() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let tasks = Tasks::new();
    let (_cluster, catalog, member) = one_member(&tasks).await;
    let frontend = frontend(catalog);
    let options = QueryOptions { keep_executed: true, ..QueryOptions::default() };
    // The series have samples in the first minute of 1970, and a day later a step that sees none.
    let range = (-DAY_MS, DAY_MS, DAY_MS / 2 + 10_000);
    let answer = frontend.query_range(&default_tenant(), "sum(m)", range, options).await;
    let answer = answer.expect("an answer");
    assert_eq!(member.calls.lock().len(), 2);
    let steps: Vec<_> = answer.executed.iter().map(|one| one.steps.clone()).collect();
    assert_eq!(steps, [0..2, 2..4]);
    let QueryValue::Matrix(series) = answer.output.value else { panic!("a matrix") };
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].floats, [(20_000, 3.0)]);
    // What no member knows is asked for raw, part by part.
    member.script.lock().push_back(Act::Refuse(ErrorKind::Unsupported, "fragment version 9"));
    let again = frontend.query_range(&default_tenant(), "sum(m)", range, options).await;
    let again = again.expect("an answer");
    let raw: Vec<bool> = again.executed.iter().map(|one| one.run.raw).collect();
    assert_eq!(raw.iter().filter(|raw| **raw).count(), 1, "{raw:?}");
    let QueryValue::Matrix(series) = again.output.value else { panic!("a matrix") };
    assert_eq!(series[0].floats, [(20_000, 3.0)]);
}

#[tokio::test]
async fn parts_that_would_read_one_block_are_one() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let tasks = Tasks::new();
    let (mut cluster, catalog, member) = one_member(&tasks).await;
    let frontend = frontend(catalog.clone());
    let options = QueryOptions { keep_executed: true, ..QueryOptions::default() };
    let range = (-DAY_MS, DAY_MS, DAY_MS / 2 + 10_000);
    let of = GenerationId { shard: ShardId(1), cut: pando_model::Cut(1) };
    let mut block = record(7, of, "default", KeyRange::ALL);
    let time = TimeRange { min_ms: -DAY_MS, max_ms: DAY_MS };
    (block.time, block.tenants[0].time) = (time, time);
    cluster.commit_record(of.shard, of.cut, Some(block));
    catalog.publish(cluster.view());
    let answer = frontend.query_range(&default_tenant(), "sum(m)", range, options).await;
    let executed = answer.expect("an answer").executed;
    assert_eq!((executed.len(), executed[0].steps.clone()), (1, 0..4));
    assert_eq!(member.calls.lock().len(), 1);
    // It is explained as it is done.
    let params = QueryParams::range(range.0, range.1, range.2).expect("steps");
    let explained = frontend.explain(&default_tenant(), "sum(m)", params, options, false).await;
    let fragments = explained.expect("a plan").fragments;
    assert_eq!((fragments.len(), fragments[0].steps.clone()), (1, 0..4));
}

#[tokio::test]
async fn a_stale_plan_is_made_again_at_a_newer_version() {
    let tasks = Tasks::new();
    let (mut cluster, catalog, member) = one_member(&tasks).await;
    let frontend = frontend(catalog.clone());
    let stale = Act::Refuse(ErrorKind::Stale, "shard is sealed");
    member.script.lock().push_back(stale);
    let old = cluster.view().version;
    cluster.seal(ShardId(1), pando_model::Cut(1));
    let publish = async {
        while member.calls.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        catalog.publish(cluster.view());
    };
    let (answer, ()) = futures::future::join(ask(&frontend, "sum(m)"), publish).await;
    assert_eq!(sum_of(&answer.expect("an answer")), 3.0);
    let versions: Vec<u64> = member.calls.lock().iter().map(|s| s.catalog_version).collect();
    let new = cluster.view().version;
    assert!(new > old);
    assert_eq!(versions, [old.0, new.0, new.0], "the range is two ranges now");
}

#[tokio::test]
async fn a_stale_answer_that_no_newer_version_heals_ends_as_unavailable() {
    let tasks = Tasks::new();
    let (mut cluster, catalog, member) = one_member(&tasks).await;
    let frontend = frontend(catalog.clone());
    for _ in 0..20 {
        member.script.lock().push_back(Act::Refuse(ErrorKind::Stale, "block is gone"));
    }
    let (done_out, done) = tokio::sync::oneshot::channel::<()>();
    let publish = async {
        let mut done = done;
        let mut served = 0;
        while done.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            let calls = member.calls.lock().len();
            if calls > served {
                served = calls;
                cluster.open(&[&[1]]);
                catalog.publish(cluster.view());
            }
            tokio::task::yield_now().await;
        }
    };
    let asked = async {
        let answer = ask(&frontend, "sum(m)").await;
        drop(done_out);
        answer
    };
    let (answer, ()) = futures::future::join(asked, publish).await;
    let error = answer.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("block is gone"), "{error}");
    assert_eq!(member.calls.lock().len(), 6, "five tries after the first");
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_no_answer() {
    let tasks = Tasks::new();
    let (_, catalog, member) = one_member(&tasks).await;
    let frontend = frontend(catalog);
    member.script.lock().push_back(Act::CutShort);
    let answer = ask(&frontend, "sum(m)").await.expect("asked again");
    assert_eq!(sum_of(&answer), 3.0, "the first part is not counted twice");
    assert_eq!(member.calls.lock().len(), 2);
    for _ in 0..100 {
        member.script.lock().push_back(Act::CutShort);
    }
    let error = ask(&frontend, "sum(m)").await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("cut short"), "{error}");
}

#[tokio::test]
async fn another_member_answers_where_one_is_away() {
    let tasks = Tasks::new();
    let member = FakeMember::with_series(&NAMES);
    let address = member.serve(2, &tasks).await;
    let mut cluster = Cluster::with_ingesters(0);
    cluster.join_node(1, "127.0.0.1:1", &[pando_catalog::Role::Ingester]);
    cluster.join_node(2, &address, &[pando_catalog::Role::Ingester]);
    cluster.join_node(3, "127.0.0.1:1", &[pando_catalog::Role::Ingester]);
    cluster.open(&[&[1, 2, 3]]);
    cluster.assign("default", &[(u64::MAX, 1)]);
    let frontend = frontend(FakeCatalog::new(cluster.view()));
    assert_eq!(sum_of(&ask(&frontend, "sum(n)").await.expect("an answer")), 7.0);
    member.script.lock().push_back(Act::Refuse(ErrorKind::Unavailable, "shard has no leader"));
    assert_eq!(sum_of(&ask(&frontend, "sum(n)").await.expect("asked again")), 7.0);
    let limit = Act::Refuse(ErrorKind::LimitExceeded, "query exceeds its budget: series_max=1");
    member.script.lock().push_back(limit);
    let before = member.calls.lock().len();
    let error = ask(&frontend, "sum(n)").await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert_eq!(error.to_string(), "query exceeds its budget: series_max=1");
    assert_eq!(member.calls.lock().len(), before + 1, "everybody would say the same");
}

#[tokio::test]
async fn a_shard_without_members_fails_the_query_unless_a_partial_answer_is_taken() {
    let tasks = Tasks::new();
    let member = FakeMember::with_series(&NAMES);
    let address = member.serve(1, &tasks).await;
    let mut cluster = Cluster::with_ingesters(0);
    cluster.join_node(1, &address, &[pando_catalog::Role::Ingester]);
    cluster.join_node(2, "127.0.0.1:1", &[pando_catalog::Role::Ingester]);
    cluster.open(&[&[1], &[2]]);
    // The first key of all is nobody's, so that member 1 has every series.
    cluster.assign("default", &[(0, 2), (u64::MAX, 1)]);
    let frontend = frontend(FakeCatalog::new(cluster.view()));
    let error = ask(&frontend, "sum(m)").await.expect_err("incomplete");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let options = QueryOptions { partial_response: true, ..QueryOptions::default() };
    let answer = frontend.query_instant(&default_tenant(), "sum(m)", 30_000, options).await;
    let answer = answer.expect("a partial answer");
    assert_eq!(sum_of(&answer), 3.0);
    assert_eq!(answer.warnings.len(), 1);
    assert!(
        answer.warnings[0].starts_with("partial response: keys 0000000000000000..0000000000000000")
    );
}

#[tokio::test]
async fn a_tenant_without_a_route_is_looked_up_before_it_has_no_data() {
    let tasks = Tasks::new();
    let (mut cluster, catalog, member) = one_member(&tasks).await;
    let frontend = frontend(catalog.clone());
    let other = TenantId::parse("other").expect("a name");
    let ask = || frontend.query_instant(&other, "m", 30_000, QueryOptions::default());
    let answer = ask().await.expect("no data");
    assert_eq!(answer.output.value, QueryValue::Vector(vec![]));
    *catalog.newest.lock() = None;
    assert_eq!(ask().await.expect_err("nobody knows").kind(), ErrorKind::Unavailable);
    // The route is on its way to this frontend: the query waits for it.
    cluster.assign("other", &[(u64::MAX, 1)]);
    *catalog.newest.lock() = Some(cluster.view().version);
    let publish = async { catalog.publish(cluster.view()) };
    let (answer, ()) = futures::future::join(ask(), publish).await;
    assert!(answer.is_ok());
    assert_eq!(member.calls.lock().last().map(|s| s.tenant.clone()), Some("other".to_string()));
    assert!(cluster.view().version > CatalogVersion(0));
}

#[tokio::test]
async fn queries_go_on_with_the_last_pin_while_the_catalog_does_not_fit_together() {
    let tasks = Tasks::new();
    let (_, catalog, _member) = one_member(&tasks).await;
    let frontend = frontend(catalog.clone());
    catalog.torn.store(true, Ordering::Relaxed);
    let error = ask(&frontend, "sum(m)").await.expect_err("nothing was pinned yet");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    catalog.torn.store(false, Ordering::Relaxed);
    assert!(ask(&frontend, "sum(m)").await.is_ok());
    catalog.torn.store(true, Ordering::Relaxed);
    assert_eq!(sum_of(&ask(&frontend, "sum(m)").await.expect("the last pin does")), 3.0);
}

#[tokio::test]
async fn time_runs_out_and_the_members_are_told() {
    let tasks = Tasks::new();
    let (_, catalog, member) = one_member(&tasks).await;
    let frontend = frontend(catalog);
    member.script.lock().push_back(Act::Hang);
    let options =
        QueryOptions { timeout: Some(Duration::from_millis(200)), ..QueryOptions::default() };
    let answer = frontend.query_instant(&default_tenant(), "sum(m)", 30_000, options).await;
    let error = answer.expect_err("no time");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "query timed out in expression evaluation: timeout=200ms");
    assert_eq!(member.calls.lock().len(), 1);
    while Arc::strong_count(&member.held) > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn subqueries_have_the_step_that_holds_when_they_are_planned() {
    let catalog = FakeCatalog::new(Cluster::with_ingesters(0).view());
    let step = SubqueryStep::of_ms(15_000);
    let frontend = frontend_stepping(hasty(), &step, catalog, &MetricsRegistry::new());
    let text = "sum(count_over_time(vector(1)[5m:]))";
    assert_eq!(sum_of(&ask(&frontend, text).await.expect("an answer")), 20.0);
    step.set_ms(30_000);
    assert_eq!(sum_of(&ask(&frontend, text).await.expect("an answer")), 10.0);
}

#[tokio::test]
async fn as_many_texts_are_read_at_once_as_there_are_cores() {
    let catalog = FakeCatalog::new(Cluster::with_ingesters(0).view());
    let config = FrontendConfig { timeout: Duration::from_millis(50), ..hasty() };
    let frontend = frontend_of(config, catalog, &MetricsRegistry::new());
    let mut ends = Vec::new();
    for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
        // What nobody waits for any more is still read.
        let (end, ended) = std::sync::mpsc::sync_channel::<()>(1);
        let error = frontend.read(move || ended.recv().is_ok()).await.expect_err("no time");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        ends.push(end);
    }
    let error = frontend.read(|| ()).await.expect_err("no turn");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    drop(ends.pop());
    let turn = frontend.decoding().run(|| Ok::<_, FrontendError>(()));
    tokio::time::timeout(Duration::from_secs(60), turn).await.expect("in time").expect("a turn");
}

#[tokio::test]
async fn a_full_gate_makes_queries_wait_until_their_time_is_up() {
    let tasks = Tasks::new();
    let (_, catalog, _member) = one_member(&tasks).await;
    let frontend = frontend(catalog);
    let mut turns = Vec::new();
    for _ in 0..frontend.config().concurrency_max {
        turns.push(frontend.gate().enter().await);
    }
    let options =
        QueryOptions { timeout: Some(Duration::from_millis(50)), ..QueryOptions::default() };
    let answer = frontend.query_instant(&default_tenant(), "sum(m)", 30_000, options).await;
    let error = answer.expect_err("no turn");
    assert_eq!(error.to_string(), "query timed out in query queue: timeout=50ms");
    // Not even its text is read.
    let answer = frontend.query_instant(&default_tenant(), "sum(", 30_000, options).await;
    assert_eq!(answer.expect_err("no turn").kind(), ErrorKind::Timeout);
    turns.pop();
    assert!(
        frontend.query_instant(&default_tenant(), "1", 0, QueryOptions::default()).await.is_ok()
    );
}
