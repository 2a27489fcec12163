//! What is explained is what would be done, or was.

use std::sync::Arc;

use pando_model::ErrorKind;
use pando_runtime::Tasks;

use super::*;
use crate::testdata::{Act, Cluster, FakeCatalog, FakeMember, frontend, tenant};

const NAMES: [(&str, &str); 3] = [("m", "a"), ("m", "b"), ("n", "c")];

async fn explain(frontend: &Frontend, text: &str, analyze: bool) -> Explanation {
    let (params, options) = (QueryParams::instant(30_000), QueryOptions::default());
    let explained = frontend.explain(&tenant("default"), text, params, options, analyze).await;
    explained.expect("an explanation")
}

/// Node 1 is away, node 2 answers; the tenant has three ranges of keys.
async fn cluster(tasks: &Tasks) -> (Cluster, Arc<FakeMember>) {
    let member = FakeMember::with_series(&NAMES);
    let address = member.serve(2, tasks).await;
    let mut cluster = Cluster::with_ingesters(0);
    let roles = [Role::Ingester, Role::StoreGateway];
    cluster.join_node(1, "127.0.0.1:1", &roles);
    cluster.join_node(2, &address, &roles);
    cluster.open(&[&[1], &[2], &[2]]);
    cluster.assign("default", &[(u64::MAX / 3, 2), (u64::MAX / 2, 3), (u64::MAX, 2)]);
    (cluster, member)
}

#[tokio::test]
async fn a_plan_asks_no_member_and_a_run_asks_those_that_the_plan_names() {
    let tasks = Tasks::new();
    let (cluster, member) = cluster(&tasks).await;
    let frontend = frontend(FakeCatalog::new(cluster.view()));
    let planned = explain(&frontend, "sum(m) + sum(n)", false).await;
    assert!(planned.answer.is_none() && member.calls.lock().is_empty(), "nothing ran");
    let ids: Vec<u32> = planned.fragments.iter().map(|one| one.id.0).collect();
    assert_eq!(ids, [0, 0, 0, 1, 1, 1]);
    let run = explain(&frontend, "sum(m) + sum(n)", true).await;
    assert_eq!(member.calls.lock().len(), 6);
    for (planned, run) in planned.fragments.iter().zip(&run.fragments) {
        assert_eq!((planned.id, &planned.placed.sources), (run.id, &run.placed.sources));
        assert_eq!((planned.member.node, run.member.node), (NodeId(2), NodeId(2)));
        assert!(planned.run.is_none());
    }
    assert_eq!(planned.roles, run.roles);
    assert_eq!(planned.roles[&NodeId(2)], [Role::Ingester, Role::StoreGateway].into());
    let answer = run.answer.expect("it ran");
    let runs: Vec<FragmentRun> = run.fragments.into_iter().filter_map(|one| one.run).collect();
    let samples: u64 = runs.iter().map(|run| run.stats.samples).sum();
    assert_eq!((samples, answer.samples_read), (180, 180));
    assert!(runs.iter().all(|run| run.refusals.is_empty() && !run.raw));
    assert!(runs.iter().all(|run| run.stats.reads.bytes_fetched == 600 && run.bytes_received > 0));
}

#[tokio::test]
async fn nothing_is_placed_where_nothing_is_read() {
    let tasks = Tasks::new();
    let (cluster, member) = cluster(&tasks).await;
    let catalog = FakeCatalog::new(cluster.view());
    let frontend = frontend(catalog.clone());
    let (params, options) = (QueryParams::instant(0), QueryOptions::default());
    let other = frontend.explain(&tenant("other"), "m", params, options, false).await;
    assert!(other.expect("a tenant without data").fragments.is_empty());
    // Not even the catalog is needed.
    catalog.torn.store(true, std::sync::atomic::Ordering::Relaxed);
    for analyze in [false, true] {
        assert!(explain(&frontend, "1 + time()", analyze).await.fragments.is_empty());
    }
    assert!(member.calls.lock().is_empty());
}

#[tokio::test]
async fn a_run_says_who_answered_in_truth_and_who_did_not() {
    let tasks = Tasks::new();
    let (mut cluster, member) = cluster(&tasks).await;
    cluster.join_node(3, "127.0.0.1:1", &[Role::Ingester]);
    cluster.open(&[&[1, 2, 3]]);
    cluster.assign("one", &[(u64::MAX, 4)]);
    let view = cluster.view();
    let shard = view.routing.live_shards(&tenant("one"), pando_model::KeyRange::ALL);
    assert_eq!(shard.into_keys().map(|shard| shard.0).collect::<Vec<_>>(), [4]);
    let frontend = frontend(FakeCatalog::new(view));
    let options = QueryOptions::default();
    let run = async || {
        let params = QueryParams::instant(30_000);
        let explained = frontend.explain(&tenant("one"), "sum(m)", params, options, true).await;
        explained.expect("an answer").fragments.pop().expect("one fragment")
    };
    let ran = run().await;
    assert_eq!((ran.member.node, ran.placed.members[0].node), (NodeId(2), NodeId(1)));
    let refusals = ran.run.expect("it ran").refusals;
    assert_eq!(refusals.len(), 1);
    assert!(
        refusals[0].starts_with("member=0000000000000001 address=127.0.0.1:1: "),
        "{refusals:?}"
    );
    // A member that does not know the plan is asked again, for raw series.
    member.script.lock().push_back(Act::Refuse(ErrorKind::Unsupported, "fragment version 9"));
    let ran = run().await.run.expect("it ran");
    assert!(ran.raw && ran.refusals.is_empty(), "{ran:?}");
    assert_eq!(ran.stats.partials, 0, "what a member does not say is 0");
}

#[tokio::test]
async fn a_run_has_the_limits_of_a_query() {
    let tasks = Tasks::new();
    let (cluster, member) = cluster(&tasks).await;
    let frontend = frontend(FakeCatalog::new(cluster.view()));
    let limit = Act::Refuse(ErrorKind::LimitExceeded, "query exceeds its budget: series_max=1");
    member.script.lock().push_back(limit);
    let (params, mut options) = (QueryParams::instant(30_000), QueryOptions::default());
    let tenant = tenant("default");
    let explain = |options| frontend.explain(&tenant, "sum(m)", params.clone(), options, true);
    let error = explain(options).await.expect_err("the member refuses");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let mut turns = Vec::new();
    for _ in 0..frontend.config().concurrency_max {
        turns.push(frontend.gate().enter().await);
    }
    options.timeout = Some(std::time::Duration::from_millis(50));
    let error = explain(options).await.expect_err("no turn");
    assert_eq!(error.to_string(), "query timed out in query queue: timeout=50ms");
}
