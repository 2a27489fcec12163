//! `Remote` against a server that keeps what it is told and answers what it is given.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use pando_exposition::remote_write::{Body, Limits};
use pando_model::Labels;
use parking_lot::Mutex;

use super::*;

/// What one request was: path, tenant and body.
type Seen = (String, String, Bytes);

#[derive(Default)]
struct Server {
    seen: Mutex<Vec<Seen>>,
    answers: Mutex<VecDeque<(u16, &'static str)>>,
}

async fn serve(server: Arc<Server>) -> (String, tokio::task::JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let handler = |State(server): State<Arc<Server>>, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let tenant = headers.get("X-Scope-OrgID").and_then(|v| v.to_str().ok());
        let tenant = tenant.unwrap_or_default().to_string();
        server.seen.lock().push((uri.path().to_string(), tenant, body));
        let (code, text) = server.answers.lock().pop_front().expect("an answer");
        (StatusCode::from_u16(code).expect("a code"), text)
    };
    let app = Router::new().fallback(handler).with_state(server);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, app).await.expect("it serves") });
    (url, tasks)
}

const EMPTY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_are_written_and_expressions_asked_as_a_tenant_of_their_own() {
    pando_rpc::tls::install_provider();
    let server = Arc::new(Server::default());
    let (url, _tasks) = serve(server.clone()).await;
    server.answers.lock().extend([(503, "no place yet"), (204, ""), (200, EMPTY), (200, EMPTY)]);
    let mut remote = Remote::new(&url, None).expect("a URL");
    (remote.pause, remote.attempts) = (Duration::ZERO, 2);
    remote.clear().expect("a tenant");
    let labels = Labels::from_pairs([("__name__", "m")]);
    let float = |t_ms, start_ms, v| LoadedSample { t_ms, start_ms, value: SampleValue::Float(v) };
    let h = Arc::new(pando_model::Histogram {
        count: 1.5,
        sum: 2.0,
        zero_count: 1.5,
        ..Default::default()
    });
    let native = LoadedSample { t_ms: 2, start_ms: 0, value: SampleValue::Histogram(h.clone()) };
    let samples = vec![float(0, -5, 1.0), float(1, 0, f64::NAN), native];
    remote.load(vec![LoadedSeries { labels: labels.clone(), samples }]).expect("it is taken");
    remote.ask("m", EvalTimes::Instant { t_ms: -1001 }).expect("an answer");
    remote.clear().expect("a tenant");
    let times = EvalTimes::Range { start_ms: 0, end_ms: 2500, step_ms: 100 };
    remote.ask("m + 1", times).expect("an answer");

    let seen = server.seen.lock();
    let paths: Vec<&str> = seen.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(paths, ["write", "write", "query", "query_range"].map(|p| format!("/api/v1/{p}")));
    assert!(seen[0].1.ends_with("-1") && seen[1].1 == seen[0].1 && seen[2].1 == seen[0].1);
    assert!(seen[3].1.ends_with("-2"), "{}", seen[3].1);
    assert_eq!(seen[2].2, "query=m&lookback_delta=5m&time=-1.001");
    assert_eq!(seen[3].2, "query=m+%2B+1&lookback_delta=5m&start=0&end=2.5&step=0.1");
    let body = Body::open(remote_write::CONTENT_TYPE_V2, "snappy", &seen[1].2, Limits::default());
    let body = body.expect("a body");
    let request = body.decode().expect("a request");
    let series: Vec<_> = request.series().collect();
    assert_eq!((series.len(), series[0].samples.len(), series[0].histograms.len()), (1, 2, 1));
    assert_eq!(series[0].samples[0].start_ms, -5);
    assert_eq!(series[0].histograms[0].histogram.as_ref().ok(), Some(&h));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_told_and_what_is_broken_ends_the_script() {
    pando_rpc::tls::install_provider();
    let server = Arc::new(Server::default());
    let (url, _tasks) = serve(server.clone()).await;
    let mut remote = Remote::new(&url, Some("true")).expect("a URL");
    server.answers.lock().extend([
        (200, EMPTY),
        (400, "too old\n"),
        (500, "out of luck"),
        (502, "<html>"),
    ]);
    remote.clear().expect("the command and an answer");
    let load = || {
        vec![LoadedSeries {
            labels: Labels::from_pairs([("__name__", "m")]),
            samples: vec![LoadedSample { t_ms: 0, start_ms: 0, value: SampleValue::Float(1.0) }],
        }]
    };
    let refused = SubjectError::Refused("remote write: 400 Bad Request: too old".to_string());
    assert_eq!(remote.load(load()), Err(refused));
    assert!(matches!(remote.load(load()), Err(SubjectError::Broken(why)) if why.contains("luck")));
    let answer = remote.ask("m", EvalTimes::Instant { t_ms: 0 });
    assert!(matches!(answer, Err(SubjectError::Broken(why)) if why.contains("status=502")));
    assert!(server.seen.lock().iter().all(|(_, tenant, _)| tenant.is_empty()));
    remote.reset = Reset::Command("exit 3".to_string());
    assert!(matches!(remote.clear(), Err(SubjectError::Broken(why)) if why.contains('3')));
    assert!(Remote::new("localhost:9090", None).is_err());
}

/// The samples of each request, by the times that its series hold.
fn written(server: &Server) -> Vec<Vec<Vec<i64>>> {
    let times = |body: &Bytes| -> Vec<Vec<i64>> {
        let body = Body::open(remote_write::CONTENT_TYPE_V2, "snappy", body, Limits::default());
        let body = body.expect("a body");
        let request = body.decode().expect("a request");
        request.series().map(|s| s.samples.iter().map(|f| f.timestamp_ms).collect()).collect()
    };
    server.seen.lock().iter().map(|(_, _, body)| times(body)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_cut_in_its_middle() {
    pando_rpc::tls::install_provider();
    let folder = tempfile::tempdir().expect("a folder");
    let server = Arc::new(Server::default());
    let (url, _tasks) = serve(server.clone()).await;
    // Only the other server answers.
    let mut remote = Remote::new("http://127.0.0.1:9", None).expect("a URL");
    remote.write_to(Some(&url)).expect("a URL");
    assert!(remote.write_to(Some("localhost")).is_err());
    let mark = folder.path().join("cut");
    remote.cut_between_halves(Some(format!("echo >> '{}'", mark.display())));
    let series = |name, samples: i64| LoadedSeries {
        labels: Labels::from_pairs([("__name__", name)]),
        samples: (0..samples)
            .map(|t_ms| LoadedSample { t_ms, start_ms: 0, value: SampleValue::Float(0.0) })
            .collect(),
    };
    let all = || vec![series("a", 3), series("b", 3), series("c", 1), series("d", 1)];
    server.answers.lock().extend([(204, ""), (204, "")]);
    assert_eq!(remote.load(all()), Ok(()));
    let halves = [vec![vec![0], vec![0, 1], vec![0]], vec![vec![1, 2], vec![2], vec![0]]];
    assert_eq!(written(&server), halves);
    // What is refused is told, and the rest written all the same.
    server.answers.lock().extend([(400, "no"), (204, "")]);
    assert!(matches!(remote.load(all()), Err(SubjectError::Refused(why)) if why.contains("no")));
    // What is broken outranks what was refused before.
    server.answers.lock().extend([(400, "no"), (500, "out of luck")]);
    assert!(matches!(remote.load(all()), Err(SubjectError::Broken(why)) if why.contains("luck")));
    assert_eq!(std::fs::read_to_string(&mark).expect("it was run"), "\n\n\n");
    remote.cut_between_halves(Some("exit 3".to_string()));
    server.answers.lock().push_back((204, ""));
    let outcome = remote.load(all());
    assert!(
        matches!(outcome, Err(SubjectError::Broken(why)) if why == "--cut-cmd: exit status: 3")
    );
    assert_eq!(server.seen.lock().len(), 7);
    // A server that a command leaves running is not waited for.
    let began = format!("sleep 600 & echo $! > '{}'", mark.display());
    assert_eq!(run("--reset-cmd", &began), Ok(()));
    assert_eq!(run("--reset-cmd", &format!("kill $(cat '{}')", mark.display())), Ok(()));
}

#[test]
fn requests_have_a_limit() {
    let series = |n: usize| LoadedSeries {
        labels: Labels::empty(),
        samples: (0..n as i64)
            .map(|t_ms| LoadedSample { t_ms, start_ms: 0, value: SampleValue::Float(0.0) })
            .collect(),
    };
    let all = [series(3), series(0), series(5)];
    let lengths = |max| -> Vec<Vec<usize>> {
        parts(&all, max).iter().map(|p| p.iter().map(|(_, s)| s.len()).collect()).collect()
    };
    assert_eq!(lengths(4), [vec![3, 1], vec![4]]);
    assert_eq!(lengths(8), [vec![3, 5]]);
    assert_eq!(lengths(2), [vec![2], vec![1, 1], vec![2], vec![2]]);
}

#[test]
fn a_long_body_is_told_in_part() {
    let body = serde_json::json!({ "x": "y".repeat(10_000) });
    let Err(SubjectError::Broken(why)) = answer::read(&body) else { panic!("no answer") };
    assert!(why.len() < 400, "{}", why.len());
}
