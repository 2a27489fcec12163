//! The JSON of explanations, byte by byte.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use pando_catalog::Role;
use pando_model::KeyRange;
use pando_runtime::Tasks;
use tower::ServiceExt as _;

use super::*;
use crate::query::{QueryOptions, QueryTimings};
use crate::testdata::{Cluster, FakeCatalog, FakeMember, frontend, tenant};

/// One shard with a block and a live generation, and the address of its member.
async fn served(tasks: &Tasks) -> (Arc<Frontend>, String) {
    let member = FakeMember::with_series(&[("m", "a"), ("m", "b"), ("n", "c")]);
    let address = member.serve(1, tasks).await;
    let mut cluster = Cluster::with_ingesters(0);
    cluster.join_node(1, &address, &[Role::Ingester, Role::StoreGateway]);
    cluster.open(&[&[1]]);
    cluster.assign("default", &[(u64::MAX, 1)]);
    cluster.commit(7, 1, "default", KeyRange::ALL);
    (frontend(FakeCatalog::new(cluster.view())), address)
}

async fn answer(frontend: &Arc<Frontend>, request: Request<Body>) -> (u16, String) {
    let response = frontend.router().oneshot(request).await.expect("infallible");
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (code, String::from_utf8(body.to_vec()).expect("text"))
}

async fn get(frontend: &Arc<Frontend>, path: &str) -> (u16, String) {
    answer(frontend, Request::get(path).body(Body::empty()).expect("a request")).await
}

const PLAN: &str = concat!(
    r#""plan":[{"id":0,"node":"operator","detail":"/","expr":"sum(rate(m[10s])) / 2","#,
    r#""position":{"start":0,"end":21}},"#,
    r#"{"id":1,"parent":0,"node":"fragment","expr":"sum(rate(m[10s]))","position":{"start":0,"end":17},"fragment":0},"#,
    r#"{"id":2,"parent":0,"node":"constant","detail":"2"}],"#,
);
const FRAGMENT: &str = concat!(
    r#""fragments":[{"id":0,"plan":"sum of rate over 10s of {__name__=\"m\"}","#,
    r#""pushedDown":["rate over 10s","sum"],"#,
    r#""steps":{"start":20,"end":30,"step":5,"count":3},"samplesOf":{"min":10.001,"max":30.001},"#,
    r#""pieces":[{"steps":{"first":0,"count":3},"keys":{"first":"0000000000000000","last":"ffffffffffffffff"},"catalogVersion":5,"#,
    r#""blocks":[],"live":[{"shard":1,"firstCut":2,"sealed":false}],"#,
    r#""member":{"node":"0000000000000001","address":"ADDRESS","roles":["ingester","store-gateway"]}"#,
);

#[tokio::test]
async fn a_plan_is_shown_with_its_fragments_and_their_places() {
    let tasks = Tasks::new();
    let (frontend, address) = served(&tasks).await;
    let query = "query=sum(rate(m%5B10s%5D))+%2F+2&start=20&end=30&step=5";
    let (code, body) = get(&frontend, &format!("/api/v1/explain?{query}")).await;
    let head = r#"{"status":"success","data":{"query":"sum(rate(m[10s])) / 2","analyzed":false,"#;
    let want = format!("{head}{PLAN}{FRAGMENT}}}]}}]}}}}");
    assert_eq!((code, body.replace(&address, "ADDRESS")), (200, want.clone()));
    // A form does as well, and what is no range query is one at a time: the block is of its samples' times.
    let form = Request::post("/api/v1/explain")
        .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(query))
        .expect("a request");
    assert_eq!(answer(&frontend, form).await.1.replace(&address, "ADDRESS"), want);
    let (_, body) = get(&frontend, "/api/v1/explain?query=m&time=0.5").await;
    assert!(body.contains(r#""steps":{"start":0.500,"end":0.500,"count":1}"#), "{body}");
    assert!(body.contains(r#""blocks":["00000000000000000000000007"]"#), "{body}");
    assert!(!body.contains("default"), "whose it is is not said: {body}");
}

#[tokio::test]
async fn a_run_is_shown_with_what_each_fragment_came_to() {
    let tasks = Tasks::new();
    let (frontend, address) = served(&tasks).await;
    let params = QueryParams::range(20_000, 30_000, 5_000).expect("a range");
    let text = "sum(rate(m[10s])) / 2";
    let options = QueryOptions::default();
    let explained = frontend.explain(&tenant("default"), text, params, options, true).await;
    let mut explained = explained.expect("an answer");
    // Times are what they are.
    let run = explained.fragments[0].run.as_mut().expect("it ran");
    assert!(run.took > Duration::ZERO && run.bytes_received > 0);
    run.took = Duration::from_millis(1_500);
    run.bytes_received = 77;
    run.stats.took = Duration::from_micros(250);
    run.refusals = vec!["member=x address=y: away".to_string()];
    let answer = explained.answer.as_mut().expect("it ran");
    answer.timings = QueryTimings {
        queue: Duration::from_millis(1),
        prepare: Duration::from_millis(2),
        fragments: Duration::from_millis(3),
        evaluate: Duration::from_millis(4),
    };
    let peak_samples = answer.output.stats.peak_samples;
    let mut json = JsonWriter::new();
    explanation(&mut json, &explained.query.plan_nodes(), &explained);
    let sums = concat!(
        r#""series":2,"samples":120,"bytesRead":1000,"bytesFetched":600,"fetches":2,"#,
        r#""cacheHits":{"footers":1,"ranges":3,"folder":0},"batches":0,"partials":0"#,
    );
    let run = format!(
        r#","run":{{"refusals":["member=x address=y: away"],{sums},"memberTime":0.00025,"wallTime":1.5,"bytesReceived":77}}"#
    );
    let end = format!(
        concat!(
            r#"}}]}}],"totals":{{{}}},"result":{{"resultType":"matrix","series":1,"peakSamples":{}}},"#,
            r#""timings":{{"queueTime":0.001,"prepareTime":0.002,"fragmentsTime":0.003,"evaluateTime":0.004}}}}"#
        ),
        sums, peak_samples
    );
    let head = r#"{"query":"sum(rate(m[10s])) / 2","analyzed":true,"#;
    let want = format!("{head}{PLAN}{FRAGMENT}{run}{end}");
    assert_eq!(json.finish().replace(&address, "ADDRESS"), want);
}

#[tokio::test]
async fn what_is_wrong_is_refused_as_queries_refuse_it() {
    let tasks = Tasks::new();
    let (frontend, _) = served(&tasks).await;
    let cases = [
        ("query", "query=m&time=x"),
        ("query", "query=sum(&time=1"),
        ("query", "query="),
        ("query", "query=m&limit=x"),
        ("query", "query=m&timeout=x"),
        ("query", "query=m&lookback_delta=x"),
        ("query_range", "query=m&start=1"),
        ("query_range", "query=m&start=2&end=1&step=1"),
        ("query_range", "query=m&end=2&start=1&step=0"),
        ("query_range", "query=m[5m]&start=1&end=2&step=1"),
        ("query_range", "query=m&start=0&end=11001&step=1"),
    ];
    for (path, query) in cases {
        let (code, body) = get(&frontend, &format!("/api/v1/{path}?{query}")).await;
        assert_eq!(code, 400, "{query}");
        for analyze in ["", "&analyze=true"] {
            let explained = get(&frontend, &format!("/api/v1/explain?{query}{analyze}")).await;
            assert_eq!(explained, (code, body.clone()), "{query}{analyze}");
        }
    }
    let (code, body) = get(&frontend, "/api/v1/explain?query=m&analyze=yes").await;
    let want = r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"analyze\": analyze must be true or false"}"#;
    assert_eq!((code, body.as_str()), (400, want));
}

#[tokio::test]
async fn what_is_said_beside_an_answer_is_said_beside_its_explanation() {
    let tasks = Tasks::new();
    let (frontend, _) = served(&tasks).await;
    for (analyze, infos) in [("false", false), ("true", true)] {
        let path = format!("/api/v1/explain?query=rate(m%5B10s%5D)&time=30&analyze={analyze}");
        let (code, body) = get(&frontend, &path).await;
        assert_eq!(
            (code, body.contains(r#""infos":["PromQL info: metric might not be a counter"#)),
            (200, infos),
            "{body}"
        );
    }
}
