//! `PartialBatch`: a part of a fragment's result, mergeable with the parts of other executors.

use pando_model::{Labels, SeriesSamples};

use crate::annotations::Note;
use crate::engine::aggregate::HistogramColumn;
use crate::engine::bitmap::Bitmap;
use crate::engine::vector::StepVector;

/// Where a note was made: its position is that of the argument there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NoteSite {
    /// By the range function, about its argument.
    Function,
    /// By the aggregation with this number in the plan, about its argument.
    Aggregation(u32),
}

/// A part of a fragment's result. An executor sends them in the order of the plan's aggregations, and of their groups'
/// label sets; each group is in one batch.
#[derive(Clone, Debug, Default)]
pub struct PartialBatch {
    /// What the batch holds.
    pub groups: Vec<PartialGroup>,
    /// Whole series, of a raw fragment.
    pub raw: Vec<SeriesSamples>,
    /// Of each series that has a value, where [`super::FragmentPlan::may_collide`].
    pub label_hashes: Vec<LabelHash>,
    /// What there is to say.
    pub notes: Vec<(NoteSite, Note)>,
    /// The samples that each step looked at, where the plan asks for it; else empty.
    pub step_samples: Vec<u64>,
}

/// Hashes of a series' labels, without its name and with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LabelHash {
    /// A hash of the labels without the name.
    pub nameless: u64,
    /// A hash of all labels; 0 where an executor of an earlier version does not say it.
    pub series: u64,
}

/// The state of one group, or of one series where nothing is aggregated.
#[derive(Clone, Debug, PartialEq)]
pub struct PartialGroup {
    /// Which of the plan's aggregations it is of; 0 where nothing is aggregated.
    pub aggregation: u32,
    /// The group's labels, or the series'.
    pub labels: Labels,
    /// Whether the name is to be dropped when the query ends.
    pub drop_name: bool,
    /// Its state.
    pub state: PartialState,
}

/// One column of state over the fragment's steps.
#[derive(Clone, Debug, PartialEq)]
pub enum PartialState {
    /// Final values: not aggregated, `min`, `max`, `group`, the candidates of `topk`, `bottomk`, `limitk` and
    /// `limit_ratio`, and each column that `quantile` gathers.
    Values(StepVector),
    /// A compensated sum: the value is `sum + compensation`.
    Sum {
        /// Running sums.
        sum: Vec<f64>,
        /// What they lost.
        compensation: Vec<f64>,
        /// The steps with any float.
        present: Bitmap,
        /// The steps with any histogram.
        histograms: HistogramColumn,
    },
    /// A mean.
    Avg {
        /// Running sums, or means where `incremental`.
        value: Vec<f64>,
        /// What they lost.
        compensation: Vec<f64>,
        /// How many values there are.
        count: Vec<f64>,
        /// The steps whose sum would have overflowed.
        incremental: Bitmap,
        /// The steps with any histogram.
        histograms: HistogramColumn,
    },
    /// A number of values.
    Count {
        /// 0 where the step has none.
        count: Vec<f64>,
    },
    /// How far values spread.
    Spread {
        /// Means.
        mean: Vec<f64>,
        /// Sums of the squared deviations from them.
        squares: Vec<f64>,
        /// How many values there are; 0 where the step has none.
        count: Vec<f64>,
    },
}

impl PartialGroup {
    /// A series that nothing is aggregated of.
    pub(crate) fn of_series(vector: StepVector) -> Self {
        PartialGroup {
            aggregation: 0,
            labels: vector.labels.clone(),
            drop_name: vector.drop_name,
            state: PartialState::Values(vector),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let state = match &self.state {
            PartialState::Values(v) => v.bytes(),
            PartialState::Sum { sum, histograms, .. } => sum.len() * 17 + histograms.bytes(),
            PartialState::Avg { value, histograms, .. } => value.len() * 25 + histograms.bytes(),
            PartialState::Count { count } => count.len() * 8,
            PartialState::Spread { count, .. } => count.len() * 24,
        };
        state + self.labels.heap_bytes() + 64
    }
}
