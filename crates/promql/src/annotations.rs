//! Annotations: what a query says beside its answer. A [`Note`] is made where the data is and knows no
//! position; the frontend adds it and makes the text.

use std::collections::BTreeSet;

use pando_model::number::{go_float, go_quote};

use crate::syntax::{LineColumn, PosRange};

/// What there is to say. Texts are Prometheus'.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Note {
    /// `rate` or `increase` of a metric whose name is not a counter's.
    PossibleNonCounter(String),
    /// A range holds floats and histograms; the metric's name.
    MixedFloatsHistograms(String),
    /// A group holds floats and histograms.
    MixedInAggregation,
    /// An aggregation that histograms take no part in: its name.
    HistogramIgnoredInAggregation(String),
    /// A range function ignored the histograms of a mixed range; the metric's name.
    HistogramIgnoredInMixedRange(String),
    /// A quantile outside of 0..=1, as Go prints it.
    InvalidQuantile(String),
    /// A ratio outside of -1..=1: what it was and what it was capped to.
    InvalidRatio(String, String),
    /// A classic bucket without a usable `le`: metric name and the label's value.
    BadBucketLabel(String, String),
    /// Classic and native buckets of one metric.
    MixedClassicNative(String),
    /// Classic buckets that were not cumulative.
    ForcedMonotonicity(String),
    /// `sort` over several steps.
    SortInRangeQuery,
    /// A sample's start timestamp contradicts the sample before; the metric's name.
    StartTimeOverlap(String),
    /// Operands that the operator cannot take: operator, left type, right type.
    IncompatibleTypes(String, String, String),
    /// `rate`, `increase` or `irate` of gauge histograms; the metric's name.
    NotCounter(String),
    /// `delta` or `idelta` of counter histograms; the metric's name.
    NotGauge(String),
    /// Exponential and custom buckets in one range or group; the metric's name.
    MixedExponentialCustom(String),
    /// Exponential and custom buckets as operands; the operator.
    IncompatibleBuckets(String),
    /// Histograms with a counter reset met histograms without one.
    CounterResetCollision(HistogramOperation),
    /// Custom bounds differed and were cut down to those in common.
    MismatchedCustomBuckets(HistogramOperation),
    /// A quantile is one of the NaN observations; the metric's name.
    QuantileIsNan(String),
    /// NaN observations moved a quantile up; the metric's name.
    QuantileSkewedByNan(String),
    /// NaN observations are in no fraction; the metric's name.
    FractionWithoutNan(String),
}

/// What was done with histograms when there was something to say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum HistogramOperation {
    /// The operator `+`, or what a counter lost in a reset.
    Addition,
    /// The operator `-`, or a difference over time.
    Subtraction,
    /// An aggregation, over series or over time.
    Aggregation,
}

impl HistogramOperation {
    /// Its name in Prometheus' texts.
    pub fn as_str(self) -> &'static str {
        match self {
            HistogramOperation::Addition => "addition",
            HistogramOperation::Subtraction => "subtraction",
            HistogramOperation::Aggregation => "aggregation",
        }
    }

    /// The operation called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        use HistogramOperation as O;
        [O::Addition, O::Subtraction, O::Aggregation].into_iter().find(|o| o.as_str() == name)
    }
}

impl Note {
    /// Whether it is a warning; otherwise an info.
    pub fn is_warning(&self) -> bool {
        !matches!(
            self,
            Note::PossibleNonCounter(_)
                | Note::HistogramIgnoredInAggregation(_)
                | Note::HistogramIgnoredInMixedRange(_)
                | Note::ForcedMonotonicity(_)
                | Note::IncompatibleTypes(..)
                | Note::MismatchedCustomBuckets(_)
                | Note::QuantileIsNan(_)
                | Note::QuantileSkewedByNan(_)
                | Note::FractionWithoutNan(_)
        )
    }

    /// An invalid quantile `q`.
    pub(crate) fn invalid_quantile(q: f64) -> Note {
        Note::InvalidQuantile(go_float(q))
    }

    fn text(&self) -> String {
        let of = |name: &str| match name {
            "" => String::new(),
            name => format!(" for metric name {}", go_quote(name)),
        };
        match self {
            Note::PossibleNonCounter(name) => format!(
                "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                go_quote(name)
            ),
            Note::MixedInAggregation => {
                "PromQL warning: encountered a mix of histograms and floats for aggregation"
                    .to_string()
            }
            Note::MixedFloatsHistograms(name) => format!(
                "PromQL warning: encountered a mix of histograms and floats for metric name {}",
                go_quote(name)
            ),
            Note::HistogramIgnoredInAggregation(op) => {
                format!("PromQL info: ignored histogram in {op} aggregation")
            }
            Note::HistogramIgnoredInMixedRange(name) => format!(
                "PromQL info: ignored histograms in a range containing both floats and histograms{}",
                of(name)
            ),
            Note::InvalidQuantile(q) => format!(
                "PromQL warning: quantile value should be between 0 and 1, got {q}"
            ),
            Note::InvalidRatio(got, capped) => format!(
                "PromQL warning: ratio value should be between -1 and 1, got {got}, capping to {capped}"
            ),
            Note::BadBucketLabel(name, le) => format!(
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of {}{}",
                go_quote(le),
                of(name)
            ),
            Note::MixedClassicNative(name) => format!(
                "PromQL warning: vector contains a mix of classic and native histograms{}",
                of(name)
            ),
            Note::ForcedMonotonicity(name) => format!(
                "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}",
                of(name)
            ),
            Note::StartTimeOverlap(name) => format!(
                "PromQL warning: sample has start time that overlaps with previous sample timestamp for metric {}",
                go_quote(name)
            ),
            Note::SortInRangeQuery => "PromQL warning: sort is ineffective for range queries since results are always ordered by labels".to_string(),
            Note::IncompatibleTypes(op, left, right) => format!(
                "PromQL info: incompatible sample types encountered for binary operator {}: {left} {op} {right}",
                go_quote(op)
            ),
            Note::NotCounter(name) => format!(
                "PromQL warning: this native histogram metric is not a counter: {}",
                go_quote(name)
            ),
            Note::NotGauge(name) => format!(
                "PromQL warning: this native histogram metric is not a gauge: {}",
                go_quote(name)
            ),
            Note::MixedExponentialCustom(name) => format!(
                "PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}",
                go_quote(name)
            ),
            Note::IncompatibleBuckets(op) => format!(
                "PromQL warning: incompatible bucket layout encountered for binary operator {op}"
            ),
            Note::CounterResetCollision(operation) => format!(
                "PromQL warning: conflicting counter resets during histogram {}",
                operation.as_str()
            ),
            Note::MismatchedCustomBuckets(operation) => format!(
                "PromQL info: mismatched custom buckets were reconciled during {}",
                operation.as_str()
            ),
            Note::QuantileIsNan(name) => format!(
                "PromQL info: input to histogram_quantile has NaN observations, result is NaN{}",
                of(name)
            ),
            Note::QuantileSkewedByNan(name) => format!(
                "PromQL info: input to histogram_quantile has NaN observations, result is skewed higher{}",
                of(name)
            ),
            Note::FractionWithoutNan(name) => format!(
                "PromQL info: input to histogram_fraction has NaN observations, which are excluded from all fractions{}",
                of(name)
            ),
        }
    }
}

/// The most distinct notes that one query keeps; the API shows ten of each kind.
const NOTES_MAX: usize = 1000;

/// The annotations of a query so far, each text once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations {
    notes: BTreeSet<(PosRange, Note)>,
}

impl PartialOrd for PosRange {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PosRange {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.start, self.end).cmp(&(other.start, other.end))
    }
}

impl Annotations {
    /// Adds `note` about what stands at `pos`.
    pub(crate) fn add(&mut self, pos: PosRange, note: Note) {
        if self.notes.len() < NOTES_MAX {
            self.notes.insert((pos, note));
        }
    }

    /// Warnings and infos as texts that end with their place in `query`.
    pub(crate) fn texts(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for (pos, note) in &self.notes {
            let text = format!("{} ({})", note.text(), LineColumn::of(query, pos.start));
            let out = if note.is_warning() { &mut warnings } else { &mut infos };
            if !out.contains(&text) {
                out.push(text);
            }
        }
        (warnings, infos)
    }
}
