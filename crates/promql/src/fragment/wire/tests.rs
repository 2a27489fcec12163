//! Members of two versions speak with each other: each number of the format is pinned here as
//! `docs/formats/fragment.md` says it, and one that is not known is refused as such.

use pando_model::histogram::Span;
use pando_model::{ErrorKind, Histogram, MatchOp, Matcher};
use prost::Message as _;

use super::batch::encode_floats;
use super::histograms::encode_histogram;
use super::messages::{
    BatchMessage, GroupMessage, HistogramSumMessage, NoteMessage, PlanMessage, RawMessage,
};
use super::{notes, plan};
use crate::annotations::{HistogramOperation, Note};
use crate::engine::range::{RangeFunction, RangeRules};
use crate::error::QueryError;
use crate::fragment::{Aggregation, FragmentPlan, NoteSite, PartialBatch, Read};
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

/// A plan is refused, with `what` and as `kind`, once `change` has changed it.
fn plan_is_refused(what: &str, kind: ErrorKind, change: fn(&mut PlanMessage)) {
    let bytes = plan_of(range()).encode();
    let mut message = PlanMessage::decode(&*bytes).expect("a plan");
    change(&mut message);
    let error = FragmentPlan::decode(&message.encode_to_vec()).expect_err(what);
    assert_eq!(error.kind(), kind, "{what}: {error}");
    assert!(error.to_string().contains(what), "{what}: {error}");
}

/// The caller asks for raw series then, and for nothing else.
#[test]
fn a_node_that_is_not_known_is_refused_as_such() {
    let refused = |what: &str, change: fn(&mut PlanMessage)| {
        plan_is_refused(what, ErrorKind::Unsupported, change);
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

/// Each of these is some megabytes. What is behind the limit is not read.
#[test]
fn patterns_have_one_limit_together() {
    let large = Matcher::new("a", MatchOp::Regex, "\\pL{100}").expect("a pattern");
    let plan = FragmentPlan { matchers: vec![large.clone()], ..plan_of(range()) };
    let mut message = PlanMessage::decode(&*plan.encode()).expect("a plan");
    assert!(FragmentPlan::decode(&message.encode_to_vec()).is_ok());
    message.matchers = vec![message.matchers[0].clone(); 1_001];
    message.matchers[1_000].value = "(".to_string();
    let error = FragmentPlan::decode(&message.encode_to_vec()).expect_err("too many");
    let limit = QueryError::Budget { what: "regex_bytes", limit: 64 << 20 };
    assert_eq!(error, limit);
}

/// What is damaged may be any number, but never another number of values than there are places for them.
#[test]
fn a_plan_that_does_not_fit_together_is_corrupt() {
    let refused = |what: &str, change: fn(&mut PlanMessage)| {
        plan_is_refused(what, ErrorKind::Corrupt, change);
    };
    refused("window_ms=-1", |message| message.window_ms = -1);
    refused("hints_back_ms=-1", |message| message.hints_back_ms = -1);
    refused("args=1", |message| message.args = vec![0.5]);
    refused("steps=0 ", |message| message.steps = 0);
    refused("step_ms=0 ", |message| message.step_ms = 0);
    refused("step_ms=9223372036854775807 ", |message| message.step_ms = i64::MAX);
    refused("steps=4294967295 ", |message| message.steps = u32::MAX);
    refused("lookback_ms=-1", |message| (message.read, message.lookback_ms) = (5, -1));
    refused("edges=2 function=changes", |message| {
        (message.read, message.edges, message.function) = (5, 2, RangeFunction::Changes as u32);
    });
    refused("aggregations=17 aggregations_max=16", |message| {
        message.aggregations = vec![message.aggregations[0].clone(); 17];
    });
    refused("k=1 ratio=0 label=\"\" op=sum", |message| message.aggregations[0].k = 1);
    refused("error parsing regexp: missing closing )", |message| {
        (message.matchers[0].op, message.matchers[0].value) = (2, "(".to_string());
    });
}

/// A sum and a value of three steps, of which two are there, and a raw series of three samples.
fn batch() -> BatchMessage {
    let two = encode_floats(&[1.0, 2.0]);
    let present = 0b101u64.to_le_bytes().to_vec();
    let group = |kind| GroupMessage {
        labels: vec![0, 1],
        kind,
        steps: 3,
        present: present.clone(),
        values: two.clone(),
        compensation: two.clone(),
        count: two.clone(),
        incremental: present.clone(),
        ..GroupMessage::default()
    };
    let sums = vec![encode_mean_of(&histogram()), encode_mean_of(&histogram())];
    let axis: Vec<u8> = [1i64, 2, 3].iter().flat_map(|t| t.to_le_bytes()).collect();
    BatchMessage {
        version: 3,
        symbols: vec!["a".to_string(), "b".to_string()],
        axes: vec![axis.clone()],
        groups: vec![
            GroupMessage { histograms: vec![encode_histogram(1, &histogram())], ..group(1) },
            GroupMessage { histogram_sums: sums, ..group(2) },
            group(3),
            group(5),
        ],
        raw: vec![RawMessage {
            labels: vec![0, 1],
            floats: encode_floats(&[1.0, 2.0, 3.0]),
            starts: axis.clone(),
            histograms: vec![encode_histogram(2, &histogram())],
            ..RawMessage::default()
        }],
        label_hashes: axis.clone(),
        series_hashes: axis,
        ..BatchMessage::default()
    }
}

fn histogram() -> Histogram {
    Histogram {
        count: 3.0,
        sum: 6.0,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_buckets: vec![1.0, 2.0],
        ..Histogram::default()
    }
}

#[test]
fn a_batch_that_does_not_fit_together_is_corrupt() {
    let decoded = |message: &BatchMessage| PartialBatch::decode(&message.encode_to_vec());
    let whole = decoded(&batch()).expect("a batch");
    assert_eq!((whole.groups.len(), whole.raw.len(), whole.label_hashes.len()), (4, 1, 3));
    let refused = |what: &str, change: fn(&mut BatchMessage)| {
        let mut message = batch();
        change(&mut message);
        let error = decoded(&message).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
        assert!(error.to_string().contains(what), "{what}: {error}");
    };
    fn drop_word(bytes: &mut Vec<u8>) {
        bytes.truncate(bytes.len() - 8);
    }
    fn add_word(bytes: &mut Vec<u8>) {
        bytes.extend([0; 8]);
    }
    refused("unknown symbol", |m| m.groups[0].labels[1] = 2);
    refused("unknown symbol", |m| m.raw[0].labels[1] = 2);
    refused("a label without value", |m| m.groups[0].labels.truncate(1));
    refused("labels are not sorted", |m| m.groups[0].labels = vec![1, 0, 0, 1]);
    refused("bytes=23 are no whole words", |m| m.axes[0].truncate(23));
    refused("axis is not increasing", |m| m.axes[0] = [2i64.to_le_bytes(); 3].concat());
    refused("unknown axis", |m| m.raw[0].axis = 1);
    refused("floats=2 axis=3", |m| drop_word(&mut m.raw[0].floats));
    refused("floats=4 axis=3", |m| add_word(&mut m.raw[0].floats));
    refused("starts=2 axis=3", |m| drop_word(&mut m.raw[0].starts));
    refused("label_hashes=2 series_hashes=3", |m| drop_word(&mut m.label_hashes));
    refused("label_hashes=3 series_hashes=2", |m| drop_word(&mut m.series_hashes));
    refused("values_max=", |m| m.groups[0].steps = u32::MAX);
    refused("presence does not fit the steps", |m| m.groups[0].steps = 65);
    refused("presence does not fit the steps", |m| add_word(&mut m.groups[2].incremental));
    refused("presence does not fit the steps", |m| add_word(&mut m.groups[0].present));
    refused("values=2 present=1", |m| m.groups[0].steps = 2);
    refused("values=1 present=2", |m| drop_word(&mut m.groups[0].values));
    refused("values=3 present=2", |m| add_word(&mut m.groups[0].values));
    for at in 1..4 {
        for change in [drop_word, add_word] {
            for column in 0..3 {
                let mut message = batch();
                let group = &mut message.groups[at];
                let columns = [&mut group.values, &mut group.compensation, &mut group.count];
                change(columns[column]);
                // A sum has no counts.
                assert_eq!(decoded(&message).is_err(), (at, column) != (1, 2), "{at} {column}");
            }
        }
    }
    refused("a float and a histogram at one step", |m| m.groups[0].histograms[0].at = 2);
    refused("histogram at=3 places=3", |m| m.groups[0].histograms[0].at = 3);
    refused("histogram at=3 places=3", |m| m.raw[0].histograms[0].at = 3);
    refused("histogram at=2 places=3", |m| {
        let again = m.raw[0].histograms[0].clone();
        m.raw[0].histograms.push(again);
    });
    refused("histogram scalars=3", |m| drop_word(&mut m.raw[0].histograms[0].scalars));
    refused("spans and buckets differ", |m| {
        drop_word(&mut m.raw[0].histograms[0].positive_buckets);
    });
    refused("spans and buckets differ", |m| {
        add_word(&mut m.raw[0].histograms[0].negative_buckets);
    });
    refused("span out of range", |m| m.raw[0].histograms[0].positive_spans[1] = -1);
    refused("span out of range", |m| m.raw[0].histograms[0].positive_spans[0] = 1 << 31);
    refused("half a span", |m| m.raw[0].histograms[0].positive_spans.push(0));
    refused("histogram sum at=3 steps=3", |m| m.groups[1].histogram_sums[1].at = 3);
    refused("histogram sum at=0 steps=3", |m| m.groups[1].histogram_sums[1].at = 0);
    refused("histogram sum scalars=5", |m| drop_word(&mut m.groups[1].histogram_sums[0].scalars));
    refused("half a histogram sum", |m| {
        drop_word(&mut m.groups[1].histogram_sums[0].positive_buckets);
    });
    refused("spans and sums differ", |m| {
        m.groups[1].histogram_sums[0].positive_spans[1] = 3;
    });
    refused("bucket out of range", |m| {
        m.groups[1].histogram_sums[0].positive_spans[0] = i32::MAX.into();
    });
    refused("histogram sum with buckets that it cannot have", |m| {
        m.groups[1].histogram_sums[0].schema = -53;
    });
}

fn encode_mean_of(h: &Histogram) -> HistogramSumMessage {
    let pair = |v: f64| [v, 0.0];
    let scalars = [h.zero_count, h.count, h.sum].map(pair).concat();
    let buckets: Vec<f64> = h.positive_buckets.iter().copied().flat_map(pair).collect();
    HistogramSumMessage {
        at: 1,
        count: 1.0,
        scalars: encode_floats(&scalars),
        positive_spans: vec![1, 2],
        positive_buckets: encode_floats(&buckets),
        ..HistogramSumMessage::default()
    }
}
