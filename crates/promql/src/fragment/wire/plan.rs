//! `FragmentPlan` as bytes.

use pando_model::{MatchOp, Matcher};
use prost::Message;

use super::messages::{AggregationMessage, MatcherMessage, PlanMessage};
use super::{DECODED_VALUES_MAX, WIRE_VERSION};
use crate::engine::range::{Edges, RangeFunction, RangeRules};
use crate::error::QueryError;
use crate::fragment::{AGGREGATIONS_MAX, Aggregation, AggregationParam, FragmentPlan, Read};
use crate::steps::Steps;
use crate::syntax::RegexBudget;
use crate::syntax::ast::AggregateOp;

pub(super) const OPS: [(u32, AggregateOp); 14] = [
    (1, AggregateOp::Sum),
    (2, AggregateOp::Avg),
    (3, AggregateOp::Min),
    (4, AggregateOp::Max),
    (5, AggregateOp::Count),
    (6, AggregateOp::Group),
    (7, AggregateOp::TopK),
    (8, AggregateOp::BottomK),
    (9, AggregateOp::Stddev),
    (10, AggregateOp::Stdvar),
    (11, AggregateOp::Quantile),
    (12, AggregateOp::CountValues),
    (13, AggregateOp::LimitK),
    (14, AggregateOp::LimitRatio),
];

/// Those up to this number version 2 knows.
const OPS_OF_VERSION_TWO: u32 = 8;

/// The number of an aggregation.
fn number_of(op: AggregateOp) -> u32 {
    OPS.iter().find(|(_, known)| *known == op).map_or(0, |(number, _)| *number)
}

pub(super) const MATCH_OPS: [MatchOp; 4] =
    [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];

fn corrupt(why: impl Into<String>) -> QueryError {
    QueryError::Corrupt { what: "fragment plan", why: why.into() }
}

fn unsupported(what: &'static str, got: u32, known: u32) -> QueryError {
    QueryError::Unsupported { what, got: got.into(), known: known.into() }
}

impl FragmentPlan {
    /// The plan as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (read, window_ms, function, args) = match &self.read {
            Read::Instant { lookback_ms, timestamp: false } => (1, *lookback_ms, 0, Vec::new()),
            Read::Instant { lookback_ms, timestamp: true } => (2, *lookback_ms, 0, Vec::new()),
            // A range by rules is a node of its own: who does not know it must not take it for a plain one.
            Read::Range { range_ms, rules, function, args } => {
                let read = if *rules == RangeRules::default() { 3 } else { 5 };
                (read, *range_ms, *function as u32, args.clone())
            }
            Read::Raw { window_ms } => (4, *window_ms, 0, Vec::new()),
            Read::Smoothed { lookback_ms } => (6, *lookback_ms, 0, Vec::new()),
            Read::StartTimestamp { lookback_ms } => (7, *lookback_ms, 0, Vec::new()),
            Read::SampleTime { lookback_ms } => (8, *lookback_ms, 0, Vec::new()),
        };
        let rules = match &self.read {
            Read::Range { rules, .. } => *rules,
            _ => RangeRules::default(),
        };
        let (edges, lookback_ms) = match rules.edges {
            Edges::Plain => (0, 0),
            Edges::Anchored { lookback_ms } => (1, lookback_ms),
            Edges::Smoothed { lookback_ms } => (2, lookback_ms),
        };
        let matcher = |m: &Matcher| MatcherMessage {
            name: m.name().to_string(),
            op: MATCH_OPS.iter().position(|op| *op == m.op()).unwrap_or_default() as u32,
            value: m.value().to_string(),
        };
        let aggregation = |a: &Aggregation| {
            let mut message = AggregationMessage {
                op: number_of(a.op),
                grouping: a.grouping.clone(),
                without: a.without,
                ..AggregationMessage::default()
            };
            match &a.param {
                AggregationParam::None => {}
                AggregationParam::Places(places) => message.k = *places,
                AggregationParam::Ratio(ratio) => message.ratio = *ratio,
                AggregationParam::Label(label) => message.label.clone_from(label),
            }
            message
        };
        let message = PlanMessage {
            version: self.wire_version(),
            matchers: self.matchers.iter().map(matcher).collect(),
            start_ms: self.steps.start_ms(),
            step_ms: self.steps.step_ms(),
            steps: self.steps.len() as u32,
            read,
            window_ms,
            function,
            args,
            aggregations: self.aggregations.iter().map(aggregation).collect(),
            delayed_name_removal: self.delayed_name_removal,
            statistics: self.statistics,
            edges,
            lookback_ms,
            start_timestamps: rules.starts,
            count_samples: self.count_samples,
            hints_back_ms: self.hints_back_ms,
        };
        message.encode_to_vec()
    }

    /// The version of its message: the lowest that knows what is read, and the answer over floats and histograms.
    fn wire_version(&self) -> u32 {
        use RangeFunction as R;
        let known = match &self.read {
            Read::Instant { .. } | Read::Raw { .. } => true,
            Read::Range { rules, .. } => *rules == RangeRules::default(),
            Read::Smoothed { .. } | Read::StartTimestamp { .. } | Read::SampleTime { .. } => false,
        };
        let mut ops = self.aggregations.iter().map(|aggregation| aggregation.op);
        let (several, first) = (self.aggregations.len() > 1, self.aggregations.first());
        if several || ops.any(|op| number_of(op) > OPS_OF_VERSION_TWO) {
            return 3;
        }
        let adds = first.is_some_and(|a| matches!(a.op, AggregateOp::Sum | AggregateOp::Avg));
        let computes = matches!(
            self.function(),
            Some(R::Rate | R::Increase | R::Delta | R::Irate | R::Idelta)
                | Some(R::Sum | R::Avg | R::Changes | R::Resets)
        );
        if !known || computes || adds { 2 } else { 1 }
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// `Unsupported` for another version or an unknown node, `Corrupt` for what is no plan.
    pub fn decode(bytes: &[u8]) -> Result<Self, QueryError> {
        let mut message = PlanMessage::decode(bytes).map_err(|e| corrupt(e.to_string()))?;
        if !(1..=WIRE_VERSION).contains(&message.version) {
            return Err(unsupported("fragment plan", message.version, WIRE_VERSION));
        }
        let matchers = matchers(std::mem::take(&mut message.matchers))?;
        let steps = steps(message.start_ms, message.step_ms, message.steps)?;
        if message.window_ms < 0 {
            return Err(corrupt(format!("window_ms={}", message.window_ms)));
        }
        let read = match message.read {
            1 | 2 => Read::Instant { lookback_ms: message.window_ms, timestamp: message.read == 2 },
            3 | 5 => {
                let function = RangeFunction::from_number(message.function).ok_or_else(|| {
                    unsupported("range function", message.function, RangeFunction::TsOfMin as u32)
                })?;
                if message.args.len() != function.args() {
                    return Err(corrupt(format!("args={}", message.args.len())));
                }
                let rules = match message.read {
                    3 => RangeRules::default(),
                    _ => rules(&message, function)?,
                };
                Read::Range { range_ms: message.window_ms, rules, function, args: message.args }
            }
            4 => Read::Raw { window_ms: message.window_ms },
            6 => Read::Smoothed { lookback_ms: message.window_ms },
            7 => Read::StartTimestamp { lookback_ms: message.window_ms },
            8 => Read::SampleTime { lookback_ms: message.window_ms },
            other => return Err(unsupported("fragment read", other, 8)),
        };
        let messages = std::mem::take(&mut message.aggregations);
        if messages.len() > AGGREGATIONS_MAX {
            let (got, max) = (messages.len(), AGGREGATIONS_MAX);
            return Err(corrupt(format!("aggregations={got} aggregations_max={max}")));
        }
        let aggregations = messages.into_iter().map(aggregation).collect::<Result<_, _>>()?;
        let PlanMessage { delayed_name_removal, statistics, count_samples, hints_back_ms, .. } =
            message;
        if hints_back_ms < 0 {
            return Err(corrupt(format!("hints_back_ms={hints_back_ms}")));
        }
        Ok(FragmentPlan {
            matchers,
            steps,
            read,
            aggregations,
            delayed_name_removal,
            statistics,
            hints_back_ms,
            count_samples,
        })
    }
}

fn rules(message: &PlanMessage, function: RangeFunction) -> Result<RangeRules, QueryError> {
    let lookback_ms = message.lookback_ms;
    if lookback_ms < 0 {
        return Err(corrupt(format!("lookback_ms={lookback_ms}")));
    }
    let edges = match message.edges {
        0 => Edges::Plain,
        1 => Edges::Anchored { lookback_ms },
        2 => Edges::Smoothed { lookback_ms },
        other => return Err(unsupported("edges of a range", other, 2)),
    };
    if !edges.allows(function) {
        return Err(corrupt(format!("edges={} function={}", message.edges, function.as_str())));
    }
    Ok(RangeRules { edges, starts: message.start_timestamps })
}

fn matchers(messages: Vec<MatcherMessage>) -> Result<Vec<Matcher>, QueryError> {
    let mut budget = RegexBudget::default();
    let one = |message| {
        let matcher = matcher(message)?;
        budget.add(&matcher)?;
        Ok(matcher)
    };
    messages.into_iter().map(one).collect()
}

fn matcher(message: MatcherMessage) -> Result<Matcher, QueryError> {
    let op = MATCH_OPS
        .get(message.op as usize)
        .ok_or_else(|| unsupported("matcher operator", message.op, 3))?;
    Matcher::new(message.name, *op, message.value).map_err(|e| corrupt(e.to_string()))
}

fn steps(start_ms: i64, step_ms: i64, count: u32) -> Result<Steps, QueryError> {
    let wrong = || corrupt(format!("steps={count} step_ms={step_ms} start_ms={start_ms}"));
    let last = i64::from(count).checked_sub(1).filter(|n| *n >= 0).ok_or_else(wrong)?;
    let span = step_ms.checked_mul(last).filter(|_| step_ms > 0).ok_or_else(wrong)?;
    let end = start_ms.checked_add(span).ok_or_else(wrong)?;
    if count as usize > DECODED_VALUES_MAX {
        return Err(wrong());
    }
    Steps::grid(start_ms, end, step_ms).ok_or_else(wrong)
}

fn aggregation(message: AggregationMessage) -> Result<Aggregation, QueryError> {
    let op = OPS.iter().find(|(n, _)| *n == message.op).map(|(_, op)| *op);
    let op = op.ok_or_else(|| unsupported("aggregation", message.op, OPS.len() as u32))?;
    let AggregationMessage { k, ratio, label, grouping, without, .. } = message;
    let wrong = format!("k={k} ratio={ratio} label={label:?} op={}", op.as_str());
    let param = match op {
        AggregateOp::LimitRatio => AggregationParam::Ratio(ratio),
        AggregateOp::CountValues => AggregationParam::Label(label),
        _ if k > 0 => AggregationParam::Places(k),
        _ => AggregationParam::None,
    };
    if !Aggregation::takes(op, &param) {
        return Err(corrupt(wrong));
    }
    Ok(Aggregation { op, param, grouping, without })
}
