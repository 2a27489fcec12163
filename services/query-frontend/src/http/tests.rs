//! The HTTP side byte by byte, against a member with a few series.

use std::io::Read as _;
use std::sync::Arc;

use axum::body::Body;
use futures::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use pando_runtime::Tasks;
use tower::ServiceExt as _;

use crate::FrontendConfig;
use crate::frontend::Frontend;
use crate::testdata::{Cluster, FakeCatalog, FakeMember, frontend, frontend_of, hasty};

/// One member with three series.
async fn catalog(tasks: &Tasks) -> Arc<FakeCatalog> {
    let member = FakeMember::with_series(&[("m", "a"), ("m", "b"), ("n", "c")]);
    let address = member.serve(1, tasks).await;
    let mut cluster = Cluster::with_ingesters(0);
    cluster.join_node(1, &address, &[pando_catalog::Role::Ingester]);
    cluster.open(&[&[1]]);
    cluster.assign("default", &[(u64::MAX, 1)]);
    FakeCatalog::new(cluster.view())
}

async fn served(tasks: &Tasks) -> Arc<Frontend> {
    frontend(catalog(tasks).await)
}

async fn send(frontend: &Arc<Frontend>, request: Request<Body>) -> Response<Body> {
    frontend.router().oneshot(request).await.expect("infallible")
}

async fn text_of(response: Response<Body>) -> (u16, String) {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (code, String::from_utf8(body.to_vec()).expect("text"))
}

async fn get(frontend: &Arc<Frontend>, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    text_of(send(frontend, request).await).await
}

/// Patterns of a long text take a second to compile.
#[test]
fn no_socket_waits_for_a_text_to_be_read() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let frontend = frontend(FakeCatalog::new(Cluster::with_ingesters(0).view()));
        for path in [
            "query?query=(",
            "query_range?query=(&start=0&end=9&step=1",
            "explain?query=(",
            "parse_query?query=(",
            "format_query?query=(",
            "query_exemplars?query=(&start=0&end=9",
            "series?match[]=(",
            "labels?match[]=(",
            "label/a/values?match[]=(",
        ] {
            let (begin, begun) = std::sync::mpsc::sync_channel::<()>(1);
            let busy = tokio::task::spawn_blocking(move || begun.recv());
            let path = format!("/api/v1/{path}");
            let mut answer = std::pin::pin!(get(&frontend, &path));
            for _ in 0..50 {
                assert!(futures::poll!(&mut answer).is_pending(), "{path}");
                tokio::task::yield_now().await;
            }
            drop(begin);
            let (code, text) = answer.await;
            assert!(code == 400 && text.contains("parse error"), "{path}: {code} {text}");
            assert!(busy.await.expect("it ends").is_err());
        }
    });
}

#[tokio::test]
async fn a_form_that_does_not_end_is_not_waited_for() {
    let tasks = Tasks::new();
    let frontend = served(&tasks).await;
    let begun = stream::iter([Ok::<_, std::io::Error>("query=")]).chain(stream::pending());
    let request = Request::post("/api/v1/query")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(Body::from_stream(begun))
        .expect("a request");
    let (code, text) = text_of(send(&frontend, request).await).await;
    assert_eq!(code, 503, "{text}");
    assert!(text.contains("form values did not arrive in time: timeout=300ms"), "{text}");
}

#[tokio::test]
async fn a_form_that_is_too_large_is_told_the_limit() {
    let tasks = Tasks::new();
    let frontend = served(&tasks).await;
    let request = Request::post("/api/v1/query")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(Body::from(vec![b'a'; (10 << 20) + 1]))
        .expect("a request");
    let (code, text) = text_of(send(&frontend, request).await).await;
    assert_eq!(code, 400, "{text}");
    assert!(text.contains("form is too large: form_bytes_max=10485760"), "{text}");
}

#[tokio::test]
async fn escapes_that_are_none_are_refused_in_urls_and_forms() {
    let tasks = Tasks::new();
    let frontend = served(&tasks).await;
    let form = |url: &str, body: &'static str| {
        Request::post(url)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .expect("a request")
    };
    let url = Request::get("/api/v1/query?query=m%zz&time=30").body(Body::empty());
    for request in [
        url.expect("a request"),
        form("/api/v1/query", "query=m%zz&time=30"),
        form("/api/v1/query?x=%zz", "query=m&time=30"),
    ] {
        let (code, text) = text_of(send(&frontend, request).await).await;
        assert_eq!(code, 400, "{text}");
        let why = r#""errorType":"bad_data","error":"error parsing form values: invalid URL escape \"%zz\"""#;
        assert!(text.contains(why), "{text}");
    }
}

#[tokio::test]
async fn queries_are_answered_byte_by_byte() {
    let tasks = Tasks::new();
    let frontend = served(&tasks).await;
    let cases = [
        (
            "/api/v1/query?query=1%2B1&time=4",
            200,
            r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#,
        ),
        (
            "/api/v1/query?query=sum(m)&time=30.5",
            200,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[30.500,"3"]}]}}"#,
        ),
        (
            "/api/v1/query?query=m&time=30&limit=1",
            200,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"m","i":"a"},"value":[30,"1"]}]},"warnings":["results truncated due to limit"]}"#,
        ),
        (
            "/api/v1/query_range?query=n&start=10&end=12&step=1&dedup=true",
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"n","i":"c"},"values":[[10,"3"],[11,"3"],[12,"3"]]}]}}"#,
        ),
        (
            "/api/v1/query_range?query=absent_metric&start=10&end=12&step=1",
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
        ),
        (
            "/api/v1/query_range?query=m[5m]&start=10&end=12&step=1",
            400,
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"}"#,
        ),
        (
            "/api/v1/query?query=m&time=x",
            400,
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp"}"#,
        ),
        ("/api/v1/labels", 200, r#"{"status":"success","data":["__name__","i"]}"#),
        (
            "/api/v1/labels?match[]=n&limit=1",
            200,
            r#"{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}"#,
        ),
        ("/api/v1/label/i/values?match[]=m", 200, r#"{"status":"success","data":["a","b"]}"#),
        (
            "/api/v1/label/%ff/values",
            400,
            r#"{"status":"error","errorType":"bad_data","error":"invalid label name: not UTF-8"}"#,
        ),
        (
            "/api/v1/label/%zz/values",
            400,
            r#"{"status":"error","errorType":"bad_data","error":"error parsing form values: invalid URL escape \"%zz\""}"#,
        ),
        // Nothing is between an end and a start behind it.
        ("/api/v1/labels?start=30&end=29", 200, r#"{"status":"success","data":[]}"#),
        ("/api/v1/labels?start=30&end=30", 200, r#"{"status":"success","data":["__name__","i"]}"#),
        (
            "/api/v1/label/U__i/values?match[]=m&match[]=n",
            200,
            r#"{"status":"success","data":["a","b","c"]}"#,
        ),
        (
            "/api/v1/series?match[]=n",
            200,
            r#"{"status":"success","data":[{"__name__":"n","i":"c"}]}"#,
        ),
        (
            "/api/v1/series",
            400,
            r#"{"status":"error","errorType":"bad_data","error":"no match[] parameter provided"}"#,
        ),
        (
            "/api/v1/format_query?query=sum+by(a)(m)",
            200,
            r#"{"status":"success","data":"sum by (a) (m)"}"#,
        ),
        (
            "/api/v1/parse_query?query=-(1)",
            200,
            r#"{"status":"success","data":{"expr":{"expr":{"type":"numberLiteral","val":"1"},"type":"parenExpr"},"op":"-","type":"unaryExpr"}}"#,
        ),
        (
            "/api/v1/parse_query?query=sum(",
            400,
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis"}"#,
        ),
        ("/api/v1/query_exemplars?query=1&start=1700000000000&end=1700000000001", 204, ""),
        (
            "/api/v1/series?match[]={}",
            400,
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"match[]\": match[] must contain at least one non-empty matcher"}"#,
        ),
    ];
    for (path, code, body) in cases {
        assert_eq!(get(&frontend, path).await, (code, body.to_string()), "{path}");
    }
}

/// A limit that was met is named, with its value, as Prometheus does it where it has the same.
#[tokio::test]
async fn budgets_that_are_spent_are_named() {
    fn clamps(depth: u32, selectors: &mut u32) -> String {
        if depth == 0 {
            *selectors += 1;
            return format!("m{selectors}");
        }
        let [a, b, c] = [0; 3].map(|_| clamps(depth - 1, selectors));
        format!("clamp({a},scalar({b}),scalar({c}))")
    }
    let many = clamps(6, &mut 0);
    let samples = "query processing would load too many samples into memory in query execution";
    let cases = [
        (
            FrontendConfig { samples_max: 119, ..hasty() },
            "m",
            format!("{samples}: samples_max=119"),
        ),
        (FrontendConfig { bytes_max: 10, ..hasty() }, "m", "bytes_max=10".to_string()),
        (FrontendConfig { series_max: 1, ..hasty() }, "m", "series_max=1".to_string()),
        // By the frontend: no fragment has more.
        (FrontendConfig { series_max: 2, ..hasty() }, "m%2Bn", "series_max=2".to_string()),
        (hasty(), many.as_str(), "query_fragments_max=512".to_string()),
    ];
    let tasks = Tasks::new();
    let catalog = catalog(&tasks).await;
    for (config, query, text) in cases {
        let frontend = frontend_of(config, catalog.clone(), &pando_runtime::MetricsRegistry::new());
        let (code, body) = get(&frontend, &format!("/api/v1/query?time=59&query={query}")).await;
        let text = match text.starts_with(samples) {
            true => text,
            false => format!("query exceeds its budget: {text}"),
        };
        let expected = format!(r#"{{"status":"error","errorType":"execution","error":"{text}"}}"#);
        assert_eq!((code, body), (422, expected), "{query}");
    }
}

#[tokio::test]
async fn a_form_and_the_url_count_together() {
    let tasks = Tasks::new();
    let frontend = served(&tasks).await;
    let request = Request::post("/api/v1/query?time=30&stats=all")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
        .body(Body::from("query=count%28%7Bi%3D~%22.%2B%22%7D%29"))
        .expect("a request");
    let (code, body) = text_of(send(&frontend, request).await).await;
    assert_eq!(code, 200, "{body}");
    assert!(body.contains(r#""value":[30,"3"]"#), "{body}");
    assert!(body.contains(r#""stats":{"timings":{"evalTotalTime":"#), "{body}");
    let samples =
        r#""samples":{"totalQueryableSamplesPerStep":[[30,3]],"totalQueryableSamples":3,"#;
    assert!(body.contains(samples) && body.contains(r#""samplesRead":180"#), "{body}");
}

#[tokio::test]
async fn other_origins_compression_and_tenants() {
    let tasks = Tasks::new();
    let frontend = served(&tasks).await;
    let request = Request::get("/api/v1/query?query=n&time=30")
        .header(header::ORIGIN, "http://grafana")
        .header(header::ACCEPT_ENCODING, "gzip")
        .body(Body::empty())
        .expect("a request");
    let response = send(&frontend, request).await;
    let header = |name: &str| {
        let all = response.headers().get_all(name).iter();
        all.map(|v| v.to_str().expect("text").to_ascii_lowercase()).collect::<Vec<_>>().join(",")
    };
    assert_eq!(header("access-control-allow-origin"), "*");
    assert_eq!(header("access-control-expose-headers"), "date");
    assert!(header("vary").contains("origin") && header("vary").contains("accept-encoding"));
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("content-encoding"), "gzip");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).expect("gzip");
    assert!(text.starts_with(r#"{"status":"success""#));

    let request = Request::builder().method(Method::OPTIONS).uri("/api/v1/query");
    let request = request.header(header::ORIGIN, "http://x").body(Body::empty()).expect("one");
    let response = send(&frontend, request).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.headers()["access-control-allow-methods"], "GET, POST, OPTIONS");

    let with_tenant = |name: &str| {
        let request = Request::get("/api/v1/query?query=n&time=30").header("X-Scope-OrgID", name);
        request.body(Body::empty()).expect("a request")
    };
    let (code, body) = text_of(send(&frontend, with_tenant("other")).await).await;
    assert_eq!((code, body.contains(r#""result":[]"#)), (200, true), "INV-9: {body}");
    let (code, _) = text_of(send(&frontend, with_tenant("a/b")).await).await;
    assert_eq!(code, 400);
}

#[tokio::test]
async fn status_is_the_processs_own() {
    let tasks = Tasks::new();
    let frontend = served(&tasks).await;
    let (code, build) = get(&frontend, "/api/v1/status/buildinfo").await;
    assert_eq!(code, 200);
    let build: serde_json::Value = serde_json::from_str(&build).expect("json");
    assert_eq!(build["data"]["version"], "3.14.0");
    assert!(build["data"].get("features").is_none(), "Grafana would see another product");
    for path in ["config", "flags", "runtimeinfo"] {
        let (code, body) = get(&frontend, &format!("/api/v1/status/{path}")).await;
        assert_eq!(code, 200);
        let json: serde_json::Value = serde_json::from_str(&body).expect("json");
        assert!(json["data"].is_object(), "{body}");
    }
    for path in ["/graph?g0.expr=up", "/query"] {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = send(&frontend, request).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert_eq!(response.headers()["location"], "./", "whatever the prefix of the process is");
    }
    // No agent is registered: no targets, and that is the whole answer.
    let (code, targets) = get(&frontend, "/api/v1/targets?state=active").await;
    assert_eq!(code, 200);
    assert!(targets.contains(r#""activeTargets":[]"#), "{targets}");
    assert_eq!(get(&frontend, "/api/v1/status/tsdb?limit=0").await.0, 400);
}

#[tokio::test]
async fn values_of_stats_that_prometheus_will_refuse_are_warned_of() {
    let tasks = Tasks::new();
    let frontend = served(&tasks).await;
    for (stats, shown, warned) in
        [("", false, false), ("true", true, false), ("all", true, false), ("foo", true, true)]
    {
        let (code, body) = get(&frontend, &format!("/api/v1/query?query=1&stats={stats}")).await;
        assert_eq!(code, 200);
        let json: serde_json::Value = serde_json::from_str(&body).expect("json");
        assert_eq!(json["data"]["stats"].is_object(), shown, "{stats}: {body}");
        assert_eq!(json["warnings"].is_array(), warned, "{stats}: {body}");
    }
    let (_, body) = get(&frontend, "/api/v1/query?query=1&stats=foo").await;
    let json: serde_json::Value = serde_json::from_str(&body).expect("json");
    let expected = "value \"foo\" for parameter \"stats\" is deprecated and will be rejected in \
                    the next major release, use \"true\" or \"all\"";
    assert_eq!(json["warnings"], serde_json::json!([expected]));
}

#[tokio::test]
async fn what_members_say_is_passed_on() {
    let tasks = Tasks::new();
    let frontend = served(&tasks).await;
    let cases = [
        (
            "/api/v1/metadata?limit=1",
            r#"{"status":"success","data":{"m":[{"type":"counter","help":"M.","unit":""}]}}"#,
        ),
        (
            "/api/v1/query_exemplars?query=rate(n[5m])%2Bm&start=1&end=40",
            concat!(
                r#"{"status":"success","data":["#,
                r#"{"seriesLabels":{"__name__":"m","i":"a"},"exemplars":[{"labels":{"trace_id":"x"},"value":"0.5","timestamp":1.500}]},"#,
                r#"{"seriesLabels":{"__name__":"m","i":"b"},"exemplars":[{"labels":{"trace_id":"x"},"value":"0.5","timestamp":1.500}]},"#,
                r#"{"seriesLabels":{"__name__":"n","i":"c"},"exemplars":[{"labels":{"trace_id":"x"},"value":"0.5","timestamp":1.500}]}"#,
                r#"]}"#,
            ),
        ),
    ];
    for (path, body) in cases {
        assert_eq!(get(&frontend, path).await, (200, body.to_string()), "{path}");
    }
    let (code, tsdb) = get(&frontend, "/api/v1/status/tsdb").await;
    assert_eq!(code, 200);
    let start = r#"{"status":"success","data":{"headStats":{"numSeries":3,"numLabelPairs":4,"chunkCount":0,"minTime":0,"maxTime":59000},"seriesCountByMetricName":[{"name":"m","value":2}],"#;
    assert!(tsdb.starts_with(start), "{tsdb}");
}

#[tokio::test]
async fn targets_of_an_agent_that_is_gone_are_missed_by_name() {
    let tasks = Tasks::new();
    let agent = FakeMember::with_series(&[]);
    let address = agent.serve(5, &tasks).await;
    let mut cluster = Cluster::with_ingesters(0);
    cluster.join_node(5, &address, &[pando_catalog::Role::Agent]);
    cluster.join_node(6, "127.0.0.1:1", &[pando_catalog::Role::Agent]);
    let frontend = frontend(FakeCatalog::new(cluster.view()));
    let (code, body) = get(&frontend, "/api/v1/targets?state=active").await;
    assert_eq!(code, 200);
    let json: serde_json::Value = serde_json::from_str(&body).expect("json");
    assert_eq!(json["data"]["activeTargets"][0]["scrapePool"], "active");
    let warning = json["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("node=0000000000000006"), "{body}");
}

#[tokio::test]
async fn requests_are_counted_by_handler() {
    let tasks = Tasks::new();
    let member = FakeMember::with_series(&[("m", "a")]);
    let address = member.serve(1, &tasks).await;
    let mut cluster = Cluster::with_ingesters(0);
    cluster.join_node(1, &address, &[pando_catalog::Role::Ingester]);
    cluster.open(&[&[1]]);
    cluster.assign("default", &[(u64::MAX, 1)]);
    let metrics = pando_runtime::MetricsRegistry::new();
    let frontend = crate::testdata::frontend_with(FakeCatalog::new(cluster.view()), &metrics);
    get(&frontend, "/api/v1/query?query=m&time=30").await;
    get(&frontend, "/api/v1/query?query=").await;
    get(&frontend, "/api/v1/label/secret/values").await;
    get(&frontend, "/api/v1/no_such_thing").await;
    let text = metrics.encode().expect("metrics");
    for line in [
        r#"prometheus_http_requests_total{handler="/api/v1/query",code="200"} 1"#,
        r#"prometheus_http_requests_total{handler="/api/v1/query",code="400"} 1"#,
        r#"prometheus_http_requests_total{handler="/api/v1/label/:name/values",code="200"} 1"#,
        r#"prometheus_engine_query_duration_seconds_count{slice="inner_eval"} 1"#,
        r#"prometheus_engine_query_duration_seconds_count{slice="result_sort"} 0"#,
        r#"prometheus_engine_queries_concurrent_max 20"#,
        r#"pando_query_frontend_queries_total{outcome="success"} 1"#,
        r#"pando_query_frontend_samples_read_total 60"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    let quantile =
        r#"prometheus_engine_query_duration_seconds{slice="inner_eval",quantile="0.9"} 0."#;
    assert!(text.contains(quantile), "{text}");
    assert!(!text.contains("secret") && !text.contains("no_such_thing"), "labels are bounded");
}
