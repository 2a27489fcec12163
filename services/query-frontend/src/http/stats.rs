//! `stats`: what a query took, as Prometheus' API says it beside the result.

use std::time::Duration;

use pando_model::number::go_quote;
use pando_promql::Steps;

use super::params::Params;
use crate::json::JsonWriter;
use crate::query::QueryTimings;

/// What the caller wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    Nothing,
    Totals,
    /// Totals and each step.
    Steps,
}

impl Wanted {
    pub(super) fn of(params: &Params) -> Self {
        match params.get("stats") {
            "" => Wanted::Nothing,
            "all" => Wanted::Steps,
            _ => Wanted::Totals,
        }
    }
}

/// Prometheus still takes every value for `true`, and says that it will not for ever.
pub(super) fn warning(params: &Params) -> Option<String> {
    let stats = params.get("stats");
    let known = ["", "true", "all"].contains(&stats);
    (!known).then(|| {
        format!(
            "value {} for parameter \"stats\" is deprecated and will be rejected in the next major \
             release, use \"true\" or \"all\"",
            go_quote(stats)
        )
    })
}

/// What a query took.
pub(super) struct Stats {
    pub(super) timings: QueryTimings,
    /// Samples that members read: each once, whatever looks at it.
    pub(super) samples_read: u64,
    pub(super) peak_samples: u64,
    /// The samples that each step looked at, and when the steps are; none unless they are wanted.
    pub(super) step_samples: Vec<u64>,
    pub(super) steps: Option<Steps>,
}

/// The field `stats` of the result.
pub(super) fn write(json: &mut JsonWriter, stats: &Stats, wanted: Wanted) {
    if wanted == Wanted::Nothing {
        return;
    }
    let steps = stats.step_samples.iter();
    let total = steps.fold(0u64, |sum, count| sum.saturating_add(*count));
    json.key("stats");
    json.object(|json| {
        json.key("timings");
        json.object(|json| timings(json, &stats.timings));
        json.key("samples");
        json.object(|json| {
            if let (Wanted::Steps, Some(steps)) = (wanted, &stats.steps) {
                json.key("totalQueryableSamplesPerStep");
                json.array(|json| {
                    for (t_ms, count) in steps.iter().zip(&stats.step_samples) {
                        json.array(|json| {
                            json.time(t_ms);
                            json.count(*count);
                        });
                    }
                });
            }
            for (name, count) in [
                ("totalQueryableSamples", total),
                ("peakSamples", stats.peak_samples),
                ("samplesRead", stats.samples_read),
            ] {
                json.key(name);
                json.count(count);
            }
        });
    });
}

fn timings(json: &mut JsonWriter, timings: &QueryTimings) {
    let prepare = timings.prepare + timings.fragments;
    let evaluate = prepare + timings.evaluate;
    for (name, time) in [
        ("evalTotalTime", evaluate),
        ("resultSortTime", Duration::ZERO),
        ("queryPreparationTime", prepare),
        ("innerEvalTime", timings.evaluate),
        ("execQueueTime", timings.queue),
        ("execTotalTime", timings.queue + evaluate),
    ] {
        json.key(name);
        json.number(time.as_secs_f64());
    }
}
