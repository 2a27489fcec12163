//! `/explain`, Pando's own: the plan of a query, its fragments and where they are placed; with `analyze=true` the query
//! is run, and each fragment says where it ran and what it came to.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use pando_executor::{BlockReads, ExecutionStats, Sources};
use pando_promql::{FragmentSpec, PlanNode, PosRange, QueryParams, QueryValue};
use pando_rpc::http::{ApiError, Tenant};

use super::expression::{options, refused};
use super::params::Params;
use super::parse;
use super::response::{Remarks, success_of};
use crate::error::FrontendError;
use crate::explain::{ExplainedFragment, Explanation};
use crate::frontend::Frontend;
use crate::json::JsonWriter;
use crate::query::{Answer, FragmentRun};

/// Characters of a node's text that are shown.
const EXPR_CHARS_MAX: usize = 200;

pub(super) async fn explain(
    State(frontend): State<Arc<Frontend>>,
    Tenant(tenant): Tenant,
    params: Params,
) -> Result<Response, ApiError> {
    // Of no use here, and refused as queries refuse it.
    parse::limit(&params)?;
    let times = times(&params, frontend.clock().now_ms())?;
    let options = options(&params)?;
    let analyze = analyze(&params)?;
    let query = params.get("query");
    let explained = frontend.explain(&tenant, query, times, options, analyze).await;
    let mut explained = explained.map_err(refused)?;
    let remarks = remarks(explained.answer.as_mut());
    let nodes = explained.query.plan_nodes();
    let sources = explained.fragments.iter().map(|one| sources_of(&one.placed.sources));
    let size = nodes.len() + sources.sum::<usize>();
    Ok(success_of(size, remarks, move |json| explanation(json, &nodes, &explained)))
}

/// How much there is to write of the sources of a piece.
fn sources_of(sources: &Sources) -> usize {
    1 + sources.blocks.len() + sources.live.len()
}

/// A range query has a start, an end or a step, an instant query none of them.
fn times(params: &Params, now_ms: i64) -> Result<QueryParams, ApiError> {
    if ["start", "end", "step"].iter().all(|name| params.get(name).is_empty()) {
        return Ok(QueryParams::instant(parse::time_param(params, "time", now_ms)?));
    }
    let (start_ms, end_ms, step_ms) = parse::range(params)?;
    let range = QueryParams::range(start_ms, end_ms, step_ms);
    range.map_err(|error| refused(FrontendError::Query(error)))
}

fn analyze(params: &Params) -> Result<bool, ApiError> {
    match params.get("analyze") {
        "" | "false" | "0" => Ok(false),
        "true" | "1" => Ok(true),
        _ => Err(ApiError::bad_parameter("analyze", "analyze must be true or false")),
    }
}

/// What is said beside the answer of a query that was run.
fn remarks(answer: Option<&mut Answer>) -> Remarks {
    let Some(answer) = answer else { return Remarks::default() };
    let mut warnings = std::mem::take(&mut answer.warnings);
    warnings.append(&mut answer.output.warnings);
    Remarks { warnings, infos: std::mem::take(&mut answer.output.infos) }
}

fn explanation(json: &mut JsonWriter, nodes: &[PlanNode], explained: &Explanation) {
    let query = &explained.query;
    json.object(|json| {
        json.field("query", query.text());
        json.key("analyzed");
        json.bool(explained.answer.is_some());
        // A list, each node behind the one that uses it: nested as deep as a query may be, many readers would refuse
        // it.
        json.key("plan");
        json.array(|json| {
            for (id, node) in nodes.iter().enumerate() {
                plan_node(json, id, node, query.text());
            }
        });
        json.key("fragments");
        json.array(|json| {
            for spec in query.fragments() {
                let pieces = explained.fragments.iter().filter(|one| one.id == spec.id);
                fragment(json, spec, &pieces.collect::<Vec<_>>(), explained);
            }
        });
        if let Some(answer) = &explained.answer {
            json.key("totals");
            let runs = explained.fragments.iter().filter_map(|one| one.run.as_ref());
            let total = runs.fold(ExecutionStats::default(), |sum, run| sum.plus(run.stats));
            json.object(|json| stats(json, &total));
            result(json, answer);
        }
    });
}

fn plan_node(json: &mut JsonWriter, id: usize, node: &PlanNode, text: &str) {
    json.object(|json| {
        count(json, "id", id as u64);
        if let Some(parent) = node.parent {
            count(json, "parent", parent as u64);
        }
        json.field("node", node.name);
        if !node.detail.is_empty() {
            json.field("detail", &node.detail);
        }
        if let Some(PosRange { start, end }) = node.pos {
            let text = text.get(start as usize..end as usize).unwrap_or_default();
            json.field("expr", beginning(text));
            json.key("position");
            json.object(|json| {
                count(json, "start", u64::from(start));
                count(json, "end", u64::from(end));
            });
        }
        if let Some(fragment) = node.fragment {
            count(json, "fragment", u64::from(fragment.0));
        }
    });
}

/// A chain of operators is a part of itself again and again: `position` says where the rest is.
fn beginning(text: &str) -> &str {
    text.char_indices().nth(EXPR_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}

fn fragment(
    json: &mut JsonWriter,
    spec: &FragmentSpec,
    pieces: &[&ExplainedFragment],
    explained: &Explanation,
) {
    let steps = &spec.plan.steps;
    json.object(|json| {
        count(json, "id", u64::from(spec.id.0));
        json.field("plan", &spec.plan.words());
        json.strings("pushedDown", spec.plan.pushed_down());
        json.key("steps");
        json.object(|json| {
            json.key("start");
            json.time(steps.start_ms());
            json.key("end");
            json.time(steps.last_ms());
            // One step has no distance to another.
            if steps.len() > 1 {
                json.key("step");
                json.time(steps.step_ms());
            }
            count(json, "count", steps.len() as u64);
        });
        // Half-open, as sources are asked for.
        json.key("samplesOf");
        json.object(|json| {
            json.key("min");
            json.time(spec.range.min_ms);
            json.key("max");
            json.time(spec.range.max_ms);
        });
        json.key("pieces");
        json.array(|json| pieces.iter().for_each(|one| piece(json, one, explained)));
    });
}

/// A fragment over one range of keys and some of its steps. Whose it is is not said: who asks knows it.
fn piece(json: &mut JsonWriter, one: &ExplainedFragment, explained: &Explanation) {
    json.object(|json| {
        json.key("steps");
        json.object(|json| {
            count(json, "first", one.steps.start as u64);
            count(json, "count", one.steps.len() as u64);
        });
        sources(json, &one.placed.sources);
        json.key("member");
        json.object(|json| {
            json.field("node", &one.member.node.to_string());
            json.field("address", &one.member.address);
            let roles = explained.roles.get(&one.member.node);
            json.strings("roles", roles.into_iter().flatten().map(|role| role.as_str()));
        });
        if let Some(run) = &one.run {
            json.key("run");
            json.object(|json| fragment_run(json, run));
        }
    });
}

fn sources(json: &mut JsonWriter, sources: &Sources) {
    json.key("keys");
    json.object(|json| {
        json.field("first", &format!("{:016x}", sources.keys.first.0));
        json.field("last", &format!("{:016x}", sources.keys.last.0));
    });
    count(json, "catalogVersion", sources.version.0);
    json.strings("blocks", sources.blocks.iter().map(|record| record.id.to_string()));
    json.key("live");
    json.array(|json| {
        for source in &sources.live {
            json.object(|json| {
                count(json, "shard", source.shard.0);
                count(json, "firstCut", source.first_cut.0);
                json.key("sealed");
                json.bool(source.sealed);
            });
        }
    });
}

fn fragment_run(json: &mut JsonWriter, run: &FragmentRun) {
    if !run.refusals.is_empty() {
        json.strings("refusals", &run.refusals);
    }
    if run.raw {
        json.key("askedForRawSeries");
        json.bool(true);
    }
    stats(json, &run.stats);
    seconds(json, "memberTime", run.stats.took);
    seconds(json, "wallTime", run.took);
    count(json, "bytesReceived", run.bytes_received);
}

/// What can be added up.
fn stats(json: &mut JsonWriter, stats: &ExecutionStats) {
    let ExecutionStats { series, samples, reads, batches, partials, took: _ } = *stats;
    let BlockReads { bytes_read, bytes_fetched, fetches, .. } = reads;
    count(json, "series", series);
    count(json, "samples", samples);
    count(json, "bytesRead", bytes_read);
    count(json, "bytesFetched", bytes_fetched);
    count(json, "fetches", fetches);
    json.key("cacheHits");
    json.object(|json| {
        count(json, "footers", reads.footer_hits);
        count(json, "ranges", reads.range_hits);
        count(json, "folder", reads.folder_hits);
    });
    count(json, "batches", batches);
    count(json, "partials", partials);
}

fn result(json: &mut JsonWriter, answer: &Answer) {
    let value = &answer.output.value;
    json.key("result");
    json.object(|json| {
        json.field("resultType", value.result_type());
        let series = match value {
            QueryValue::Scalar { .. } | QueryValue::String { .. } => 1,
            QueryValue::Vector(samples) => samples.len(),
            QueryValue::Matrix(series) => series.len(),
        };
        count(json, "series", series as u64);
        count(json, "peakSamples", answer.output.stats.peak_samples);
    });
    json.key("timings");
    json.object(|json| {
        seconds(json, "queueTime", answer.timings.queue);
        seconds(json, "prepareTime", answer.timings.prepare);
        seconds(json, "fragmentsTime", answer.timings.fragments);
        seconds(json, "evaluateTime", answer.timings.evaluate);
    });
}

fn count(json: &mut JsonWriter, name: &str, number: u64) {
    json.key(name);
    json.count(number);
}

fn seconds(json: &mut JsonWriter, name: &str, time: Duration) {
    json.key(name);
    json.number(time.as_secs_f64());
}

#[cfg(test)]
mod tests;
