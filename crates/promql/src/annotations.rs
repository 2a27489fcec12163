//! Annotations: what a query says beside its answer. A [`Note`] is made where the data is and knows no
//! position; the frontend adds it and makes the text.

use std::collections::BTreeMap;

use pando_model::number::{go_float, go_quote, go_two_digits};

use crate::engine::functions::rfc3339;
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
        self.info().is_none()
    }

    /// An invalid quantile `q`.
    pub(crate) fn invalid_quantile(q: f64) -> Note {
        Note::InvalidQuantile(go_float(q))
    }

    /// What the API shows, but for the place.
    fn text(&self) -> String {
        match self.info() {
            Some(text) => format!("PromQL info: {text}"),
            None => format!("PromQL warning: {}", self.warning().unwrap_or_default()),
        }
    }

    fn info(&self) -> Option<String> {
        Some(match self {
            Note::PossibleNonCounter(name) => format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                go_quote(name)
            ),
            Note::HistogramIgnoredInAggregation(op) => {
                format!("ignored histogram in {op} aggregation")
            }
            Note::HistogramIgnoredInMixedRange(name) => format!(
                "ignored histograms in a range containing both floats and histograms for metric name {}",
                go_quote(name)
            ),
            Note::ForcedMonotonicity(name) => format!(
                "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}",
                of(name)
            ),
            Note::IncompatibleTypes(op, left, right) => format!(
                "incompatible sample types encountered for binary operator {}: {left} {op} {right}",
                go_quote(op)
            ),
            Note::MismatchedCustomBuckets(operation) => {
                format!("mismatched custom buckets were reconciled during {}", operation.as_str())
            }
            Note::QuantileIsNan(name) => format!(
                "input to histogram_quantile has NaN observations, result is NaN{}",
                of(name)
            ),
            Note::QuantileSkewedByNan(name) => format!(
                "input to histogram_quantile has NaN observations, result is skewed higher{}",
                of(name)
            ),
            Note::FractionWithoutNan(name) => format!(
                "input to histogram_fraction has NaN observations, which are excluded from all fractions{}",
                of(name)
            ),
            _ => return None,
        })
    }

    fn warning(&self) -> Option<String> {
        Some(match self {
            Note::MixedInAggregation => {
                "encountered a mix of histograms and floats for aggregation".to_string()
            }
            Note::MixedFloatsHistograms(name) => format!(
                "encountered a mix of histograms and floats for metric name {}",
                go_quote(name)
            ),
            Note::InvalidQuantile(q) => {
                format!("quantile value should be between 0 and 1, got {q}")
            }
            Note::InvalidRatio(got, capped) => {
                format!("ratio value should be between -1 and 1, got {got}, capping to {capped}")
            }
            Note::BadBucketLabel(name, le) => format!(
                "bucket label \"le\" is missing or has a malformed value of {}{}",
                go_quote(le),
                of(name)
            ),
            Note::MixedClassicNative(name) => {
                format!("vector contains a mix of classic and native histograms{}", of(name))
            }
            Note::StartTimeOverlap(name) => format!(
                "sample has start time that overlaps with previous sample timestamp for metric {}",
                go_quote(name)
            ),
            Note::SortInRangeQuery => {
                "sort is ineffective for range queries since results are always ordered by labels"
                    .to_string()
            }
            Note::NotCounter(name) => {
                format!("this native histogram metric is not a counter: {}", go_quote(name))
            }
            Note::NotGauge(name) => {
                format!("this native histogram metric is not a gauge: {}", go_quote(name))
            }
            Note::MixedExponentialCustom(name) => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}",
                go_quote(name)
            ),
            Note::IncompatibleBuckets(op) => {
                format!("incompatible bucket layout encountered for binary operator {op}")
            }
            Note::CounterResetCollision(operation) => {
                format!("conflicting counter resets during histogram {}", operation.as_str())
            }
            Note::PossibleNonCounter(_)
            | Note::HistogramIgnoredInAggregation(_)
            | Note::HistogramIgnoredInMixedRange(_)
            | Note::ForcedMonotonicity(_)
            | Note::IncompatibleTypes(..)
            | Note::MismatchedCustomBuckets(_)
            | Note::QuantileIsNan(_)
            | Note::QuantileSkewedByNan(_)
            | Note::FractionWithoutNan(_) => return None,
        })
    }
}

/// The end of a text about a metric that may have no name.
fn of(name: &str) -> String {
    match name {
        "" => String::new(),
        name => format!(" for metric name {}", go_quote(name)),
    }
}

/// The most distinct notes that one query or fragment keeps; the API shows ten of each kind.
pub(crate) const NOTES_MAX: usize = 1000;

/// Classic buckets that had to be lifted: their bounds, how far at most, how often, and when.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Lifted {
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) difference: f64,
    pub(crate) count: u64,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
}

impl Lifted {
    /// Both together.
    pub(crate) fn and(self, other: Lifted) -> Lifted {
        Lifted {
            lowest: self.lowest.min(other.lowest),
            highest: self.highest.max(other.highest),
            difference: self.difference.max(other.difference),
            count: self.count + other.count,
            first_ms: self.first_ms.min(other.first_ms),
            last_ms: self.last_ms.max(other.last_ms),
        }
    }

    fn text(&self) -> String {
        let Lifted { lowest, highest, difference, count, first_ms, last_ms } = *self;
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {count} samples from {} to {}",
            go_float(lowest),
            go_float(highest),
            go_two_digits(difference),
            rfc3339(first_ms / 1000),
            rfc3339(last_ms / 1000)
        )
    }
}

/// The annotations of a query so far. Each is there once, with the place where it was made last, as in Prometheus.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations {
    notes: BTreeMap<Note, PosRange>,
    /// What notes of forced monotonicity say beside their text.
    lifted: BTreeMap<Note, Lifted>,
    /// Whether there were, or may have been, more than are kept.
    pub(crate) is_cut: bool,
}

impl Annotations {
    /// Adds `note` about what stands at `pos`.
    pub(crate) fn add(&mut self, pos: PosRange, note: Note) {
        if self.notes.len() < NOTES_MAX || self.notes.contains_key(&note) {
            self.notes.insert(note, pos);
        } else {
            self.is_cut = true;
        }
    }

    /// [`Annotations::add`] of a note that says how buckets were lifted.
    pub(crate) fn add_lifted(&mut self, pos: PosRange, note: Note, lifted: Lifted) {
        self.add(pos, note.clone());
        if self.notes.contains_key(&note) {
            let all = self.lifted.entry(note);
            all.and_modify(|all| *all = all.and(lifted)).or_insert(lifted);
        }
    }

    /// Warnings and infos in the order of their places, as texts that end with their place in `query`.
    pub(crate) fn texts(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        let mut notes: Vec<(&PosRange, &Note)> =
            self.notes.iter().map(|(note, pos)| (pos, note)).collect();
        notes.sort_unstable();
        for (pos, note) in notes {
            let lifted = self.lifted.get(note).map(Lifted::text);
            let (text, place) = (note.text(), LineColumn::of(query, pos.start));
            let out = if note.is_warning() { &mut warnings } else { &mut infos };
            out.push(format!("{text}{} ({place})", lifted.unwrap_or_default()));
        }
        if self.is_cut {
            // Of many the API shows the first ones.
            infos.insert(0, format!("annotations are left out: notes_max={NOTES_MAX}"));
        }
        (warnings, infos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_told_of() {
        let mut annotations = Annotations::default();
        let note = |n: usize| Note::PossibleNonCounter(n.to_string());
        (0..NOTES_MAX).for_each(|n| annotations.add(PosRange::default(), note(n)));
        annotations.add(PosRange::default(), note(0));
        assert_eq!(annotations.texts("").1.len(), NOTES_MAX);
        annotations.add(PosRange::default(), note(NOTES_MAX));
        let (_, infos) = annotations.texts("");
        assert_eq!(
            infos.first().map(String::as_str),
            Some("annotations are left out: notes_max=1000")
        );
    }

    #[test]
    fn what_is_said_twice_is_said_of_the_last_place() {
        let mut annotations = Annotations::default();
        let at = |start: usize| PosRange::new(start, start + 1);
        let note = |name: &str| Note::PossibleNonCounter(name.to_string());
        for (start, name) in [(0, "a"), (2, "b"), (4, "a")] {
            annotations.add(at(start), note(name));
        }
        let lifted = |count| Lifted {
            lowest: 1.0,
            highest: 2.0,
            difference: 0.5,
            count,
            first_ms: 0,
            last_ms: 0,
        };
        annotations.add_lifted(at(0), Note::ForcedMonotonicity("m".into()), lifted(1));
        annotations.add_lifted(at(6), Note::ForcedMonotonicity("m".into()), lifted(2));
        let (_, infos) = annotations.texts("a+b+a+m");
        let ends: Vec<&str> = infos.iter().map(|i| &i[i.len() - 5..]).collect();
        assert_eq!(ends, ["(1:3)", "(1:5)", "(1:7)"], "{infos:?}");
        assert!(infos[2].contains("over 3 samples"), "{infos:?}");
    }
}
