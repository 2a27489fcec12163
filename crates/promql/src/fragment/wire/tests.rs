//! Members of two versions speak with each other: each number of the format is pinned here as
//! `docs/formats/fragment.md` says it, and one that is not known is refused as such.

use pando_model::{ErrorKind, MatchOp, Matcher};
use prost::Message as _;

use super::messages::{NoteMessage, PlanMessage};
use super::{notes, plan};
use crate::annotations::{HistogramOperation, Note};
use crate::engine::range::{RangeFunction, RangeRules};
use crate::fragment::{Aggregation, FragmentPlan, NoteSite, Read};
use crate::steps::Steps;
use crate::syntax::ast::AggregateOp;

fn plan_of(read: Read) -> FragmentPlan {
    FragmentPlan {
        matchers: vec![Matcher::equal("__name__", "m")],
        steps: Steps::range(0, 60_000, 15_000).expect("5 steps"),
        read,
        aggregations: vec![Aggregation::example(AggregateOp::Sum, &["job"], false)],
        delayed_name_removal: false,
        statistics: false,
        hints_back_ms: 0,
        count_samples: false,
    }
}

fn range() -> Read {
    let (rules, function) = (RangeRules::default(), RangeFunction::Rate);
    Read::Range { range_ms: 60_000, rules, function, args: Vec::new() }
}

#[test]
fn functions_have_their_numbers() {
    let names = [
        "rate",
        "irate",
        "increase",
        "delta",
        "idelta",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "sum_over_time",
        "count_over_time",
        "last_over_time",
        "present_over_time",
        "first_over_time",
        "changes",
        "resets",
        "deriv",
        "stddev_over_time",
        "stdvar_over_time",
        "quantile_over_time",
        "predict_linear",
        "mad_over_time",
        "double_exponential_smoothing",
        "ts_of_first_over_time",
        "ts_of_last_over_time",
        "ts_of_max_over_time",
        "ts_of_min_over_time",
    ];
    for (number, name) in (1..).zip(names) {
        let function = RangeFunction::from_number(number).expect(name);
        assert_eq!((function.as_str(), function as u32), (name, number));
    }
    assert_eq!(RangeFunction::from_number(names.len() as u32 + 1), None);
}

#[test]
fn operators_have_their_numbers() {
    assert_eq!(plan::MATCH_OPS.map(MatchOp::as_str), ["=", "!=", "=~", "!~"]);
    let aggregations = [
        "sum",
        "avg",
        "min",
        "max",
        "count",
        "group",
        "topk",
        "bottomk",
        "stddev",
        "stdvar",
        "quantile",
        "count_values",
        "limitk",
        "limit_ratio",
    ];
    let ours: Vec<(u32, &str)> = plan::OPS.iter().map(|(n, op)| (*n, op.as_str())).collect();
    assert_eq!(ours, (1..).zip(aggregations).collect::<Vec<_>>());
}

/// Fields that older members do not know are behind all others: a key, and the value.
#[test]
fn hints_have_their_fields() {
    let plain = plan_of(range());
    let with = |change: fn(&mut FragmentPlan)| {
        let mut plan = plain.clone();
        change(&mut plan);
        assert_eq!(FragmentPlan::decode(&plan.encode()).as_ref(), Ok(&plan));
        plan.encode().strip_prefix(&*plain.encode()).expect("more fields").to_vec()
    };
    assert_eq!(with(|plan| plan.delayed_name_removal = true), [11 << 3, 1]);
    assert_eq!(with(|plan| plan.statistics = true), [12 << 3, 1]);
    // 16 << 3 and 17 << 3 take two bytes; a signed number has its sign in its lowest bit.
    assert_eq!(with(|plan| plan.count_samples = true), [0x80, 1, 1]);
    assert_eq!(with(|plan| plan.hints_back_ms = 5), [0x88, 1, 10]);
}

#[test]
fn notes_have_their_numbers() {
    let name = || "x".to_string();
    let added = HistogramOperation::Addition;
    let all = [
        Note::PossibleNonCounter(name()),
        Note::MixedFloatsHistograms(name()),
        Note::HistogramIgnoredInAggregation(name()),
        Note::HistogramIgnoredInMixedRange(name()),
        Note::InvalidQuantile(name()),
        Note::NotCounter(name()),
        Note::NotGauge(name()),
        Note::MixedExponentialCustom(name()),
        Note::CounterResetCollision(added),
        Note::MismatchedCustomBuckets(added),
        Note::StartTimeOverlap(name()),
    ];
    let message = |site, kind, note: &Note| {
        let operates =
            matches!(note, Note::CounterResetCollision(_) | Note::MismatchedCustomBuckets(_));
        let text = if operates { added.as_str().to_string() } else { name() };
        NoteMessage { site, kind, texts: vec![text] }
    };
    for (kind, note) in (1..).zip(&all) {
        for (number, site) in
            [(1, NoteSite::Function), (2, NoteSite::Aggregation(0)), (3, NoteSite::Aggregation(1))]
        {
            let (sited, wanted) = ((site, note.clone()), message(number, kind, note));
            assert_eq!(notes::encode(&sited), wanted);
            assert_eq!(notes::decode(wanted), Ok(sited));
        }
    }
    let later = NoteMessage { site: 1, kind: all.len() as u32 + 1, texts: vec![name()] };
    assert_eq!(notes::decode(later).map_err(|e| e.kind()), Err(ErrorKind::Unsupported));
}

/// The caller asks for raw series then, and for nothing else.
#[test]
fn a_node_that_is_not_known_is_refused_as_such() {
    let refused = |what: &str, change: fn(&mut PlanMessage)| {
        let bytes = plan_of(range()).encode();
        let mut message = PlanMessage::decode(&*bytes).expect("a plan");
        change(&mut message);
        let error = FragmentPlan::decode(&message.encode_to_vec()).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{what}: {error}");
        assert!(error.to_string().contains(what), "{what}: {error}");
    };
    refused("fragment plan", |message| message.version = 4);
    refused("fragment read", |message| message.read = 9);
    refused("range function", |message| message.function = 27);
    refused("edges of a range", |message| {
        message.read = 5;
        message.edges = 3;
    });
    refused("aggregation", |message| message.aggregations[0].op = 15);
    refused("matcher operator", |message| message.matchers[0].op = 4);
}

/// Each of these is some megabytes.
#[test]
fn patterns_have_one_limit_together() {
    let large = Matcher::new("a", MatchOp::Regex, "\\pL{100}").expect("a pattern");
    let with = |n| {
        let plan = FragmentPlan { matchers: vec![large.clone(); n], ..plan_of(range()) };
        FragmentPlan::decode(&plan.encode())
    };
    assert!(with(1).is_ok());
    let error = with(1_000).expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().ends_with("regex_bytes_max=67108864"), "{error}");
}
