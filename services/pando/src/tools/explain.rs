//! The text of an explanation, from the JSON of `/api/v1/explain`.
//!
//! ```text
//! plan                 nodes, each below the one that uses it
//! fragment 0: ...      what is asked of whom, a range of keys at a time
//!   keys a-b at address
//!     read ...         what came of it, where the query was run
//! total, result, time
//! ```

use std::fmt::{self, Write as _};

use serde_json::Value;

/// Characters of an expression in the plan that are shown.
const EXPR_CHARS_MAX: usize = 100;

/// The explanation as indented lines.
pub(super) fn render(data: &Value) -> String {
    let mut out = Text::default();
    out.line(0, format_args!("plan of: {}", short(text(&data["query"]))));
    plan(&mut out, list(&data["plan"]));
    for fragment in list(&data["fragments"]) {
        self::fragment(&mut out, fragment);
    }
    if data["analyzed"] == true {
        out.line(0, format_args!("total"));
        stats(&mut out, 1, &data["totals"]);
        let (result, times) = (&data["result"], &data["timings"]);
        out.line(
            0,
            format_args!(
                "result: {} of {} series, at most {} samples held",
                text(&result["resultType"]),
                result["series"],
                result["peakSamples"]
            ),
        );
        out.line(
            0,
            format_args!(
                "time: {} in queue, {} prepared, {} fragments, {} evaluated",
                duration(&times["queueTime"]),
                duration(&times["prepareTime"]),
                duration(&times["fragmentsTime"]),
                duration(&times["evaluateTime"])
            ),
        );
    }
    out.0
}

/// Lines, indented.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, depth: usize, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "{:indent$}{line}", "", indent = 2 * depth);
    }
}

fn plan(out: &mut Text, nodes: &[Value]) {
    let mut depths: Vec<usize> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let parent = node["parent"].as_u64().and_then(|parent| usize::try_from(parent).ok());
        let depth = parent.map_or(1, |parent| depths.get(parent).map_or(1, |depth| depth + 1));
        depths.push(depth);
        let mut line = text(&node["node"]).to_string();
        if let Some(fragment) = node["fragment"].as_u64() {
            let _ = write!(line, " {fragment}");
        }
        if let Some(detail) = node["detail"].as_str() {
            let _ = write!(line, " {detail}");
        }
        if let Some(expr) = node["expr"].as_str() {
            let _ = write!(line, "   <- {}", short(expr));
        }
        // A long chain of operators does not walk off the page.
        out.line(depth.min(40), format_args!("{line}"));
    }
}

fn fragment(out: &mut Text, fragment: &Value) {
    out.line(0, format_args!("fragment {}: {}", fragment["id"], text(&fragment["plan"])));
    let pushed = joined(&fragment["pushedDown"]);
    let pushed = if pushed.is_empty() { "nothing: samples are sent".to_string() } else { pushed };
    out.line(1, format_args!("runs where the data is: {pushed}"));
    let steps = &fragment["steps"];
    match steps["count"].as_u64() {
        Some(1) => out.line(1, format_args!("at {}", steps["start"])),
        _ => out.line(
            1,
            format_args!(
                "from {} to {}, {} steps of {} s",
                steps["start"], steps["end"], steps["count"], steps["step"]
            ),
        ),
    }
    let pieces = list(&fragment["pieces"]);
    if pieces.is_empty() {
        out.line(1, format_args!("there is no data"));
    }
    pieces.iter().for_each(|piece| self::piece(out, piece, steps));
}

fn piece(out: &mut Text, piece: &Value, steps: &Value) {
    let (keys, member) = (&piece["keys"], &piece["member"]);
    let (first, count) = (&piece["steps"]["first"], &piece["steps"]["count"]);
    // Most pieces are of all steps.
    let of_steps = match count != &steps["count"] && count.is_u64() {
        true => format!("{count} steps from number {first} on, "),
        false => String::new(),
    };
    out.line(
        1,
        format_args!(
            "{of_steps}keys {}-{} at {} (node {}: {})",
            text(&keys["first"]),
            text(&keys["last"]),
            text(&member["address"]),
            text(&member["node"]),
            joined(&member["roles"])
        ),
    );
    let blocks = joined(&piece["blocks"]);
    if !blocks.is_empty() {
        out.line(2, format_args!("blocks {blocks}"));
    }
    for live in list(&piece["live"]) {
        let sealed = if live["sealed"] == true { ", sealed" } else { "" };
        out.line(2, format_args!("shard {} from cut {}{sealed}", live["shard"], live["firstCut"]));
    }
    let Value::Object(_) = &piece["run"] else { return };
    let run = &piece["run"];
    for refusal in list(&run["refusals"]) {
        out.line(2, format_args!("refused before: {}", text(refusal)));
    }
    if run["askedForRawSeries"] == true {
        out.line(2, format_args!("asked for raw series: the member does not know the plan"));
    }
    stats(out, 2, run);
    let (wall, member) = (duration(&run["wallTime"]), duration(&run["memberTime"]));
    out.line(
        2,
        format_args!("time {wall}, {member} of it at the member; {} bytes", run["bytesReceived"]),
    );
}

fn stats(out: &mut Text, depth: usize, stats: &Value) {
    out.line(
        depth,
        format_args!(
            "read {} series, {} samples; answered {} partials in {} batches",
            stats["series"], stats["samples"], stats["partials"], stats["batches"]
        ),
    );
    let hits = &stats["cacheHits"];
    out.line(
        depth,
        format_args!(
            "blocks: {} bytes read, {} of them from the store in {} fetches; \
             hits: {} footers, {} ranges, {} in the folder",
            stats["bytesRead"],
            stats["bytesFetched"],
            stats["fetches"],
            hits["footers"],
            hits["ranges"],
            hits["folder"]
        ),
    );
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn joined(value: &Value) -> String {
    list(value).iter().map(text).collect::<Vec<_>>().join(", ")
}

/// `expr` on one line, cut where it is long.
fn short(expr: &str) -> String {
    let words: Vec<&str> = expr.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(EXPR_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// Seconds as people read them.
fn duration(seconds: &Value) -> String {
    let seconds = seconds.as_f64().unwrap_or_default();
    match seconds {
        s if s < 0.001 => format!("{:.0}us", s * 1e6),
        s if s < 1.0 => format!("{:.1}ms", s * 1e3),
        s => format!("{s:.2}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(analyzed: bool) -> Value {
        let stats = serde_json::json!({
            "series": 2, "samples": 120, "bytesRead": 1000, "bytesFetched": 600, "fetches": 2,
            "cacheHits": {"footers": 1, "ranges": 3, "folder": 0}, "batches": 2, "partials": 1,
        });
        let mut run = stats.clone();
        run["refusals"] = serde_json::json!(["member=x address=y: away"]);
        run["askedForRawSeries"] = true.into();
        run["memberTime"] = 0.00025.into();
        run["wallTime"] = 1.5.into();
        run["bytesReceived"] = 77.into();
        let mut data = serde_json::json!({
            "query": "sum(rate(m[10s]))\n  / 2",
            "analyzed": analyzed,
            "plan": [
                {"id": 0, "node": "operator", "detail": "/", "expr": "sum(rate(m[10s]))\n  / 2",
                 "position": {"start": 0, "end": 23}},
                {"id": 1, "parent": 0, "node": "fragment", "expr": "sum(rate(m[10s]))",
                 "position": {"start": 0, "end": 17}, "fragment": 0},
                {"id": 2, "parent": 0, "node": "constant", "detail": "2"},
            ],
            "fragments": [{
                "id": 0, "plan": "sum of rate over 10s of {__name__=\"m\"}",
                "pushedDown": ["rate over 10s", "sum"],
                "steps": {"start": 20, "end": 30, "step": 5, "count": 3},
                "samplesOf": {"min": 10.001, "max": 30.001},
                "pieces": [{
                    "steps": {"first": 0, "count": 3},
                    "keys": {"first": "0000000000000000", "last": "ffffffffffffffff"},
                    "catalogVersion": 4, "blocks": ["A", "B"],
                    "live": [{"shard": 1, "firstCut": 2, "sealed": false},
                             {"shard": 2, "firstCut": 9, "sealed": true}],
                    "member": {"node": "0000000000000001", "address": "127.0.0.1:9095",
                               "roles": ["ingester", "store-gateway"]},
                }],
            }],
        });
        if analyzed {
            data["fragments"][0]["pieces"][0]["run"] = run;
            data["totals"] = stats;
            data["result"] =
                serde_json::json!({"resultType": "matrix", "series": 1, "peakSamples": 130});
            data["timings"] = serde_json::json!({
                "queueTime": 0.0, "prepareTime": 0.002, "fragmentsTime": 1.6, "evaluateTime": 0.004,
            });
        }
        data
    }

    const PLAN: &str = "\
plan of: sum(rate(m[10s])) / 2
  operator /   <- sum(rate(m[10s])) / 2
    fragment 0   <- sum(rate(m[10s]))
    constant 2
fragment 0: sum of rate over 10s of {__name__=\"m\"}
  runs where the data is: rate over 10s, sum
  from 20 to 30, 3 steps of 5 s
  keys 0000000000000000-ffffffffffffffff at 127.0.0.1:9095 (node 0000000000000001: ingester, store-gateway)
    blocks A, B
    shard 1 from cut 2
    shard 2 from cut 9, sealed
";

    #[test]
    fn a_plan_is_readable() {
        assert_eq!(render(&explained(false)), PLAN);
        let mut part = explained(false);
        part["fragments"][0]["pieces"][0]["steps"] = serde_json::json!({"first": 1, "count": 2});
        let of_part = PLAN.replace("  keys", "  2 steps from number 1 on, keys");
        assert_eq!(render(&part), of_part);
    }

    #[test]
    fn a_run_is_readable() {
        let want = "    refused before: member=x address=y: away
    asked for raw series: the member does not know the plan
    read 2 series, 120 samples; answered 1 partials in 2 batches
    blocks: 1000 bytes read, 600 of them from the store in 2 fetches; hits: 1 footers, 3 ranges, 0 in the folder
    time 1.50s, 250us of it at the member; 77 bytes
total
  read 2 series, 120 samples; answered 1 partials in 2 batches
  blocks: 1000 bytes read, 600 of them from the store in 2 fetches; hits: 1 footers, 3 ranges, 0 in the folder
result: matrix of 1 series, at most 130 samples held
time: 0us in queue, 2.0ms prepared, 1.60s fragments, 4.0ms evaluated
";
        assert_eq!(render(&explained(true)), format!("{PLAN}{want}"));
    }

    #[test]
    fn what_is_missing_or_long_is_no_trouble() {
        let nodes: Vec<Value> = (0..100u64)
            .map(|id| match id {
                0 => serde_json::json!({"id": 0, "node": "operator", "expr": "m + ".repeat(99)}),
                id => serde_json::json!({"id": id, "parent": id - 1, "node": "operator"}),
            })
            .collect();
        let data = serde_json::json!({"plan": nodes, "fragments": [{"steps": {"count": 1}}]});
        let text = render(&data);
        assert!(text.lines().all(|line| line.chars().count() < 140), "{text}");
        assert!(text.contains("there is no data") && text.contains("nothing: samples are sent"));
        assert_eq!(render(&Value::Null), "plan of: \n");
    }
}
