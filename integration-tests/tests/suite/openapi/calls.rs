//! What both sides are asked: of every path that Pando serves its answers and its refusals.

use serde_json::{Value, json};

/// A request, sent by every method that the description has for its path.
pub(super) struct Call {
    /// The path as the description has it.
    pub(super) path: &'static str,
    /// Names it among those of its path.
    pub(super) name: &'static str,
    /// Parameters; see `Times::fill`.
    pub(super) parameters: &'static [(&'static str, &'static str)],
    /// The body, where it is no form.
    pub(super) body: Option<&'static [u8]>,
    pub(super) want: Want,
}

/// What the answer has to be for the call to be worth its place.
#[derive(Clone, Copy)]
pub(super) enum Want {
    /// A success whose text has this part.
    Data(&'static str),
    /// A success without a body.
    Empty,
    /// A refusal with this status.
    Error(u16),
}

impl Call {
    /// The path to ask: labels' names stand in it.
    pub(super) fn url(&self) -> String {
        let name = if self.name == "no name" { "%FF" } else { "instance" };
        self.path.replace("{name}", name)
    }
}

const fn call(
    path: &'static str,
    name: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    want: Want,
) -> Call {
    Call { path, name, parameters, body: None, want }
}

const fn write(name: &'static str, body: &'static [u8], want: Want) -> Call {
    Call { path: "/write", name, parameters: &[], body: Some(body), want }
}

use Want::{Data, Empty, Error};

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Call> {
    QUERY.iter().chain(&RANGE).chain(&EXPRESSIONS).chain(&LOOKUPS).chain(&STATUS)
}

static QUERY: [Call; 18] = [
    call("/query", "a vector", &[("query", "requests_total"), ("time", "$END")], Data("\"value\"")),
    call(
        "/query",
        "histograms",
        &[("query", "latency_seconds"), ("time", "$END")],
        Data("\"buckets\""),
    ),
    call("/query", "no series", &[("query", "no_such_metric")], Data("\"result\":[]")),
    call("/query", "a scalar", &[("query", "-1e300")], Data("scalar")),
    call(
        "/query",
        "no number",
        &[("query", "0/0"), ("time", "2026-01-02T03:04:05.6Z")],
        Data("NaN"),
    ),
    call("/query", "a string", &[("query", "'a\"b'"), ("time", "$END")], Data("string")),
    call(
        "/query",
        "a matrix",
        &[("query", "requests_total[1m]"), ("time", "$END")],
        Data("values"),
    ),
    call(
        "/query",
        "a matrix of histograms",
        &[("query", "latency_seconds[1m]"), ("time", "$END")],
        Data("histograms"),
    ),
    call(
        "/query",
        "floats and histograms",
        &[("query", "mixed[1m]"), ("time", "$END")],
        Data("histograms"),
    ),
    call(
        "/query",
        "statistics",
        &[("query", "sum(rate(requests_total[20s]))"), ("time", "$END"), ("stats", "true")],
        Data("execQueueTime"),
    ),
    call(
        "/query",
        "all statistics",
        &[
            ("query", "requests_total"),
            ("time", "$END"),
            ("stats", "all"),
            ("lookback_delta", "10s"),
        ],
        Data("totalQueryableSamplesPerStep"),
    ),
    call(
        "/query",
        "a warning",
        &[("query", "requests_total"), ("time", "$END"), ("limit", "1"), ("timeout", "10s")],
        Data("results truncated due to limit"),
    ),
    call("/query", "an info", &[("query", "rate(up[1m])")], Data("\"infos\":[")),
    call("/query", "no expression", &[("query", "sum(")], Error(400)),
    call("/query", "no time", &[("query", "1"), ("time", "x")], Error(400)),
    call(
        "/query",
        "not to be executed",
        &[("query", "label_replace(requests_total, 'instance', 'x', '', '')"), ("time", "$END")],
        Error(422),
    ),
    call("/query", "no lookback", &[("query", "up"), ("lookback_delta", "x")], Error(400)),
    call("/query", "out of time", &[("query", "up"), ("timeout", "0.000000001")], Error(503)),
];

static RANGE: [Call; 9] = [
    call(
        "/query_range",
        "floats",
        &[("query", "requests_total"), ("start", "$BEGIN"), ("end", "$END"), ("step", "5")],
        Data("values"),
    ),
    call(
        "/query_range",
        "histograms",
        &[
            ("query", "rate(latency_seconds[20s])"),
            ("start", "$BEGIN"),
            ("end", "$END"),
            ("step", "5s"),
        ],
        Data("histograms"),
    ),
    call(
        "/query_range",
        "a scalar",
        &[("query", "time()"), ("start", "$BEGIN"), ("end", "$END"), ("step", "1.5")],
        Data("matrix"),
    ),
    call(
        "/query_range",
        "all statistics",
        &[
            ("query", "rate(requests_total[20s])"),
            ("start", "$BEGIN"),
            ("end", "$END"),
            ("step", "5"),
            ("stats", "all"),
        ],
        Data("totalQueryableSamplesPerStep"),
    ),
    call(
        "/query_range",
        "a warning",
        &[
            ("query", "requests_total"),
            ("start", "$BEGIN"),
            ("end", "$END"),
            ("step", "5"),
            ("limit", "1"),
            ("lookback_delta", "1m"),
            ("timeout", "1m"),
        ],
        Data("results truncated due to limit"),
    ),
    call(
        "/query_range",
        "a matrix",
        &[("query", "up[5m]"), ("start", "$BEGIN"), ("end", "$END"), ("step", "5")],
        Error(400),
    ),
    call(
        "/query_range",
        "too many points",
        &[("query", "up"), ("start", "0"), ("end", "$END"), ("step", "1")],
        Error(400),
    ),
    call("/query_range", "no step", &[("query", "up"), ("start", "0"), ("end", "1")], Error(400)),
    call(
        "/query_range",
        "out of time",
        &[
            ("query", "up"),
            ("start", "$BEGIN"),
            ("end", "$END"),
            ("step", "1"),
            ("timeout", "0.000000001"),
        ],
        Error(503),
    ),
];

static EXPRESSIONS: [Call; 10] = [
    call(
        "/query_exemplars",
        "exemplars",
        &[("query", "rate(requests_total[1m]) + up"), ("start", "$BEGIN"), ("end", "$END")],
        Data("trace-11"),
    ),
    call("/query_exemplars", "none", &[("query", "up")], Data("\"data\":[]")),
    call("/query_exemplars", "no selector", &[("query", "1")], Empty),
    call("/query_exemplars", "no expression", &[("query", "sum(")], Error(400)),
    call(
        "/query_exemplars",
        "the end before the start",
        &[("query", "up"), ("start", "2"), ("end", "1")],
        Error(400),
    ),
    call("/format_query", "an expression", &[("query", "sum by(a)(b)")], Data("sum by (a) (b)")),
    call("/format_query", "no expression", &[("query", "sum(")], Error(400)),
    call(
        "/parse_query",
        "an expression",
        &[("query", "topk(2, rate(a[5m])) / on (x) group_left (y) -b > bool 1")],
        Data("aggregation"),
    ),
    call("/parse_query", "a number", &[("query", "1")], Data("numberLiteral")),
    call("/parse_query", "no expression", &[("query", "{}")], Error(400)),
];

static LOOKUPS: [Call; 17] = [
    call("/labels", "all", &[("start", "$BEGIN"), ("end", "$END")], Data("__name__")),
    call(
        "/labels",
        "of some",
        &[("match[]", "requests_total"), ("match[]", "up")],
        Data("instance"),
    ),
    call("/labels", "a warning", &[("limit", "1")], Data("results truncated due to limit")),
    call("/labels", "no selector", &[("match[]", "{")], Error(400)),
    call("/labels", "no limit", &[("limit", "x")], Error(400)),
    call("/label/{name}/values", "all", &[("start", "$BEGIN")], Data("two")),
    call("/label/{name}/values", "none", &[("match[]", "no_such_metric")], Data("\"data\":[]")),
    call("/label/{name}/values", "no selector", &[("match[]", "{}")], Error(400)),
    call("/label/{name}/values", "no name", &[], Error(400)),
    call("/series", "some", &[("match[]", "requests_total")], Data("two")),
    call(
        "/series",
        "a warning",
        &[("match[]", "requests_total"), ("limit", "1")],
        Data("results truncated due to limit"),
    ),
    call("/series", "no selector", &[], Error(400)),
    call("/metadata", "all", &[], Data("node_load1")),
    call("/metadata", "of one", &[("metric", "node_load1"), ("limit", "1")], Data("gauge")),
    call("/metadata", "no limit", &[("limit", "x")], Error(400)),
    // A 1.0 request without any series: snappy's form of an empty message.
    write("nothing", b"\0", Empty),
    write("not compressed", b"no snappy", Error(400)),
];

static STATUS: [Call; 11] = [
    call("/targets", "all", &[], Data("node")),
    call("/targets", "active ones", &[("state", "active")], Data("\"health\":\"up\"")),
    call("/targets", "dropped ones", &[("state", "dropped")], Data("dropped:1")),
    call("/targets", "of no pool", &[("scrapePool", "x")], Data("\"activeTargets\":[]")),
    call("/status/buildinfo", "all", &[], Data("\"version\"")),
    call("/status/config", "all", &[], Data("scrape_configs")),
    call("/status/flags", "all", &[], Data("config.file")),
    call("/status/runtimeinfo", "all", &[], Data("reloadConfigSuccess")),
    call("/status/tsdb", "all", &[], Data("headStats")),
    call("/status/tsdb", "a limit", &[("limit", "1")], Data("seriesCountByMetricName")),
    call("/status/tsdb", "no limit", &[("limit", "0")], Error(400)),
];

type Compared = (&'static str, Vec<(&'static str, &'static str)>, &'static str);

/// What both sides have to answer alike: path, parameters, and which part of the data.
pub(super) fn compared() -> Vec<Compared> {
    let mut all: Vec<Compared> =
        PARSED.iter().map(|query| ("/parse_query", vec![("query", *query)], "")).collect();
    for query in
        ["requests_total", "{job='app'} - up", "sum(rate(requests_total{instance='two'}[1m]))"]
    {
        for (start, end) in [("$BEGIN", "$END"), ("$BEGIN", "$MIDDLE"), ("$MIDDLE", "$END")] {
            let parameters = vec![("query", query), ("start", start), ("end", end)];
            all.push(("/query_exemplars", parameters, ""));
        }
    }
    for query in COUNTED {
        let range = vec![
            ("query", query),
            ("start", "$BEGIN"),
            ("end", "$END"),
            ("step", "7"),
            ("stats", "all"),
        ];
        let instant = vec![("query", query), ("time", "$END"), ("stats", "all")];
        for part in
            ["/stats/samples/totalQueryableSamples", "/stats/samples/totalQueryableSamplesPerStep"]
        {
            all.push(("/query_range", range.clone(), part));
            all.push(("/query", instant.clone(), part));
        }
    }
    all
}

/// Expressions whose trees are compared: every kind of node, and what is easily overlooked in each. None has a duration
/// that is an expression: for it Pando writes 0 and, as Prometheus does since 3.14, `rangeExpr`, `offsetExpr` or
/// `stepExpr`, which the peer may not know.
const PARSED: [&str; 35] = [
    "1",
    "-1",
    "- -1",
    "-(1)",
    "1e100",
    "0x1F",
    "+Inf",
    "5m",
    "\"a\\\"b\"",
    "x",
    "-x",
    "+x",
    "-x ^ 2",
    "x{a='b',c!='d',e=~'f.*',g!~'h'}",
    "{'x.y', a='b'}",
    "{a='b', 'x'}",
    "{__name__=~'a|b'}",
    "x offset 5m",
    "x offset -1h30m @ 1.5",
    "x @ start()",
    "x[5m] @ end() offset 1m",
    "x[5m:]",
    "rate(x[5m])[1h:1m] offset 2m @ 100",
    "x[5m:30s] @ start()",
    "sum(x)",
    "sum by (b, a) (x)",
    "quantile without (a) (0.9, x)",
    "count_values('v', x)",
    "a + b",
    "a + 1 == bool 2",
    "a * on (x, y) group_left (z) b",
    "a / ignoring (x) group_right () b",
    "a and b or c unless on (d) e",
    "label_join(x, 'a', ',', 'b', 'c')",
    "round(x) + time() + scalar(x) + day_of_week() + histogram_quantile(0.9, x)",
];

/// Expressions whose samples are counted alike.
const COUNTED: [&str; 12] = [
    "requests_total",
    "sum(requests_total)",
    "requests_total + requests_total",
    "requests_total offset 3s",
    "requests_total @ $MIDDLE",
    "rate(requests_total[20s])",
    "sum by (job) (max_over_time(requests_total[20s] @ $MIDDLE))",
    "timestamp(requests_total)",
    "sum_over_time(requests_total[20s:4s])",
    "latency_seconds",
    "sum(rate(latency_seconds[20s]))",
    "mixed",
];

/// Adds fields of later releases that the peer does not know to an answer of `/parse_query`.
pub(super) fn add_what_is_newer(tree: &mut Value) {
    let mut left = vec![tree];
    while let Some(value) = left.pop() {
        match value {
            Value::Array(values) => left.extend(values),
            Value::Object(fields) => {
                if fields.contains_key("card") {
                    fields.entry("fillValues").or_insert_with(|| json!({"lhs": null, "rhs": null}));
                }
                let kind = fields.get("type").and_then(Value::as_str).map(str::to_string);
                if matches!(kind.as_deref(), Some("vectorSelector" | "matrixSelector")) {
                    for name in ["anchored", "smoothed"] {
                        fields.entry(name).or_insert(Value::Bool(false));
                    }
                }
                let durations: &[&str] = match kind.as_deref() {
                    Some("vectorSelector") => &["offsetExpr"],
                    Some("matrixSelector") => &["offsetExpr", "rangeExpr"],
                    Some("subquery") => &["offsetExpr", "rangeExpr", "stepExpr"],
                    _ => &[],
                };
                for name in durations {
                    fields.entry(*name).or_insert(Value::Null);
                }
                left.extend(fields.values_mut());
            }
            _ => {}
        }
    }
}
