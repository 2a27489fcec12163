//! A fragment's plan in words, for people. Nothing in them says whose data it is.

use std::fmt::Write as _;

use pando_model::Matcher;
use pando_model::duration::format_duration;
use pando_model::number::{go_float, go_quote};

use super::plan::{Aggregation, AggregationParam, FragmentPlan, Read};
use crate::engine::range::{Edges, RangeRules};
use crate::syntax::LabelList;
use crate::syntax::ast::AggregateOp;

impl FragmentPlan {
    /// What the fragment does, in words.
    pub fn words(&self) -> String {
        let mut out = String::new();
        if !self.aggregations.is_empty() {
            let aggregations: Vec<String> =
                self.aggregations.iter().map(Aggregation::words).collect();
            let _ = write!(out, "{} of ", aggregations.join(" and "));
        }
        let _ = write!(out, "{} of {}", self.read.words(), selector(&self.matchers));
        if self.statistics {
            out.push_str(", counts and sums of histograms only");
        }
        out
    }

    /// What is evaluated where the data is, in the order of evaluation; nothing where samples are sent as they are.
    pub fn pushed_down(&self) -> Vec<String> {
        let read = match self.read {
            Read::Raw { .. } => None,
            _ => Some(self.read.words()),
        };
        read.into_iter().chain(self.aggregations.iter().map(Aggregation::words)).collect()
    }
}

impl Read {
    fn words(&self) -> String {
        let (what, within_ms) = match self {
            Read::Instant { lookback_ms, timestamp: false } => ("latest sample", lookback_ms),
            Read::Instant { lookback_ms, timestamp: true } => {
                ("time of the latest sample", lookback_ms)
            }
            Read::SampleTime { lookback_ms } => ("time in ms of the latest sample", lookback_ms),
            Read::StartTimestamp { lookback_ms } => {
                ("start timestamp of the latest sample", lookback_ms)
            }
            Read::Smoothed { lookback_ms } => ("value between the samples", lookback_ms),
            Read::Raw { window_ms } => {
                return format!("raw samples over {}", format_duration(*window_ms));
            }
            Read::Range { range_ms, rules, function, args } => {
                let mut out = function.as_str().to_string();
                if !args.is_empty() {
                    let args: Vec<String> = args.iter().map(|arg| go_float(*arg)).collect();
                    let _ = write!(out, "({})", args.join(", "));
                }
                let _ = write!(out, " over {}{}", format_duration(*range_ms), rules.words());
                return out;
            }
        };
        format!("{what} within {}", format_duration(*within_ms))
    }
}

impl RangeRules {
    fn words(&self) -> &'static str {
        match (self.edges, self.starts) {
            (Edges::Plain, false) => "",
            (Edges::Plain, true) => " by start timestamps",
            (Edges::Anchored { .. }, false) => " anchored",
            (Edges::Anchored { .. }, true) => " anchored by start timestamps",
            (Edges::Smoothed { .. }, false) => " smoothed",
            (Edges::Smoothed { .. }, true) => " smoothed by start timestamps",
        }
    }
}

impl Aggregation {
    fn words(&self) -> String {
        let mut out = self.op.as_str().to_string();
        let _ = match &self.param {
            AggregationParam::None if self.op == AggregateOp::Quantile => {
                write!(out, " candidates")
            }
            AggregationParam::None => Ok(()),
            AggregationParam::Places(places) => write!(out, "({places})"),
            AggregationParam::Ratio(ratio) => write!(out, "({})", go_float(*ratio)),
            AggregationParam::Label(label) => write!(out, "({})", go_quote(label)),
        };
        let grouping = LabelList(&self.grouping);
        let _ = match (self.without, self.grouping.is_empty()) {
            (true, _) => write!(out, " without {grouping}"),
            (false, false) => write!(out, " by {grouping}"),
            (false, true) => Ok(()),
        };
        out
    }
}

fn selector(matchers: &[Matcher]) -> String {
    let matchers: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
    format!("{{{}}}", matchers.join(","))
}

#[cfg(test)]
mod tests {
    use crate::query::{Features, Query, QueryParams};

    fn words(text: &str) -> Vec<(String, Vec<String>)> {
        let features = Features {
            extended_range_selectors: true,
            experimental_functions: true,
            ..Features::default()
        };
        let params = QueryParams::range(0, 60_000, 15_000).expect("a range");
        let query = Query::parse(text, params.with_features(features)).expect(text);
        query.fragments().iter().map(|f| (f.plan.words(), f.plan.pushed_down())).collect()
    }

    #[test]
    fn plans_are_said_in_words() {
        let cases: [(&str, &str, &[&str]); 12] = [
            ("m", "latest sample within 5m of {__name__=\"m\"}", &["latest sample within 5m"]),
            (
                "sum by (pod, \"a b\") (rate(m{job=~\"x|y\"}[90s]))",
                "sum by (\"a b\", pod) of rate over 1m30s of {job=~\"x|y\",__name__=\"m\"}",
                &["rate over 1m30s", "sum by (\"a b\", pod)"],
            ),
            (
                "topk without (a) (3, timestamp(m))",
                "time of the latest sample within 5m of {__name__=\"m\"}",
                &["time of the latest sample within 5m"],
            ),
            (
                "bottomk without (a) (3, m)",
                "bottomk(3) without (a) of latest sample within 5m of {__name__=\"m\"}",
                &["latest sample within 5m", "bottomk(3) without (a)"],
            ),
            (
                "stddev by (a) (m)",
                "stddev by (a) of latest sample within 5m of {__name__=\"m\"}",
                &["latest sample within 5m", "stddev by (a)"],
            ),
            (
                "quantile by (a) (0.9, m)",
                "quantile candidates by (a) of latest sample within 5m of {__name__=\"m\"}",
                &["latest sample within 5m", "quantile candidates by (a)"],
            ),
            (
                "count_values(\"v\", m)",
                "count_values(\"v\") of latest sample within 5m of {__name__=\"m\"}",
                &["latest sample within 5m", "count_values(\"v\")"],
            ),
            (
                "limit_ratio(-0.5, m)",
                "limit_ratio(-0.5) of latest sample within 5m of {__name__=\"m\"}",
                &["latest sample within 5m", "limit_ratio(-0.5)"],
            ),
            (
                "quantile_over_time(0.9, m[1h])",
                "quantile_over_time(0.9) over 1h of {__name__=\"m\"}",
                &["quantile_over_time(0.9) over 1h"],
            ),
            (
                "increase(m[1m] smoothed)",
                "increase over 1m smoothed of {__name__=\"m\"}",
                &["increase over 1m smoothed"],
            ),
            ("quantile_over_time(2, m[1h])", "raw samples over 1h of {__name__=\"m\"}", &[]),
            (
                "histogram_count(rate(m[1m]))",
                "rate over 1m of {__name__=\"m\"}, counts and sums of histograms only",
                &["rate over 1m"],
            ),
        ];
        for (text, in_words, pushed_down) in cases {
            let pushed_down = pushed_down.iter().map(|s| s.to_string()).collect();
            assert_eq!(words(text), [(in_words.to_string(), pushed_down)], "{text}");
        }
    }
}
