//! `FragmentPlan`: a piece of a query that runs where the data is. Selector, what is read of it at each step,
//! and aggregations over that. `offset` and `@` are folded into its steps, so that an executor
//! knows neither.

use pando_model::{METRIC_NAME, MatchOp, Matcher, TimeRange, Window};

use crate::engine::range::{RangeFunction, RangeRules};
use crate::steps::Steps;
use crate::syntax::ast::AggregateOp;

/// The number of a fragment in its query.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FragmentId(pub u32);

/// A fragment of a query and what it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct FragmentSpec {
    /// Its number.
    pub id: FragmentId,
    /// What to do.
    pub plan: FragmentPlan,
    /// The time range of samples that it needs: the sources must cover it.
    pub range: TimeRange,
}

/// What is read of a series at each step.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// The latest sample, not older than the lookback and not stale.
    Instant {
        /// How far back a sample counts, ms.
        lookback_ms: i64,
        /// Whether its time in seconds is read instead of its value.
        timestamp: bool,
    },
    /// The value at the step itself, on the line between the samples before and after it (`smoothed`).
    Smoothed {
        /// How far away a sample counts, ms.
        lookback_ms: i64,
    },
    /// The start timestamp of the latest sample, seconds; 0 where it is unknown.
    StartTimestamp {
        /// How far back a sample counts, ms.
        lookback_ms: i64,
    },
    /// The time of the latest sample, ms, where it is a float; a histogram as it is. What `info` joins by.
    SampleTime {
        /// How far back a sample counts, ms.
        lookback_ms: i64,
    },
    /// A function of the samples in `(step - range, step]`.
    Range {
        /// The range, ms.
        range_ms: i64,
        /// Which samples stand at the range's edges, and whether start timestamps count.
        rules: RangeRules,
        /// The function.
        function: RangeFunction,
        /// Its constant arguments.
        args: Vec<f64>,
    },
    /// The samples themselves, of `(first step - window, last step]`: for what cannot be pushed down.
    Raw {
        /// The window, ms.
        window_ms: i64,
    },
}

/// An aggregation that partial states can be merged of.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregation {
    /// What is done. `quantile` only gathers the columns of each group: who asks for it selects among them.
    pub op: AggregateOp,
    /// What it takes beside the series.
    pub param: AggregationParam,
    /// The grouping labels.
    pub grouping: Vec<String>,
    /// Whether `grouping` are the labels to remove.
    pub without: bool,
}

/// What an aggregation takes beside the series.
#[derive(Clone, Debug, PartialEq)]
pub enum AggregationParam {
    /// Nothing.
    None,
    /// How many series `topk`, `bottomk` and `limitk` keep of a group, at least 1.
    Places(u32),
    /// Which part of the series `limit_ratio` keeps, -1 to 1.
    Ratio(f64),
    /// The label that `count_values` adds, not empty.
    Label(String),
}

/// The most aggregations over the series of one fragment.
pub(crate) const AGGREGATIONS_MAX: usize = 16;

impl Aggregation {
    /// One of each kind, for tests.
    #[cfg(test)]
    pub(crate) fn example(op: AggregateOp, grouping: &[&str], without: bool) -> Self {
        use AggregateOp as A;
        let param = match op {
            A::TopK | A::BottomK | A::LimitK => AggregationParam::Places(2),
            A::LimitRatio => AggregationParam::Ratio(0.5),
            A::CountValues => AggregationParam::Label("value".to_string()),
            _ => AggregationParam::None,
        };
        let grouping = grouping.iter().map(|name| name.to_string()).collect();
        Aggregation { op, param, grouping, without }
    }

    /// Whether `op` takes a parameter of this kind.
    pub(crate) fn takes(op: AggregateOp, param: &AggregationParam) -> bool {
        use AggregateOp as A;
        match op {
            A::TopK | A::BottomK | A::LimitK => {
                matches!(param, AggregationParam::Places(places) if *places > 0)
            }
            A::LimitRatio => {
                matches!(param, AggregationParam::Ratio(ratio) if (-1.0..=1.0).contains(ratio))
            }
            A::CountValues => {
                matches!(param, AggregationParam::Label(label) if !label.is_empty())
            }
            _ => *param == AggregationParam::None,
        }
    }
}

/// A piece of a query that runs where the data is.
#[derive(Clone, Debug, PartialEq)]
pub struct FragmentPlan {
    /// The series.
    pub matchers: Vec<Matcher>,
    /// When, `offset` and `@` applied.
    pub steps: Steps,
    /// What of them.
    pub read: Read,
    /// The aggregations over that, each over the same series; none where the series themselves are wanted, as with
    /// [`Read::Raw`].
    pub aggregations: Vec<Aggregation>,
    /// Whether names that functions drop stay until the query ends (experimental in Prometheus).
    pub delayed_name_removal: bool,
    /// Whether of histograms only count, sum and counter resets are needed: buckets are dropped as they are read.
    /// An executor that does not know of it keeps them, which does no harm.
    pub statistics: bool,
    /// How old a histogram may be, ms, for the next one to be compared with it: whether that follows a reset. Samples
    /// are read so much farther back, so that it does not depend on where a query begins. 0 where only histograms of
    /// one window are compared, however old. An executor that does not know of it finds out less of the first ones.
    pub hints_back_ms: i64,
    /// Whether the samples that each step looks at are counted. An executor that does not know of it counts none.
    pub count_samples: bool,
}

impl FragmentPlan {
    /// The left-open window of samples that the fragment needs.
    pub fn window(&self) -> Window {
        let (back_ms, ahead_ms) = match &self.read {
            Read::Instant { lookback_ms, .. }
            | Read::StartTimestamp { lookback_ms }
            | Read::SampleTime { lookback_ms } => (*lookback_ms, 0),
            Read::Smoothed { lookback_ms } => (*lookback_ms, *lookback_ms),
            Read::Range { range_ms, rules, .. } => {
                (range_ms.saturating_add(rules.edges.back_ms()), rules.edges.ahead_ms())
            }
            Read::Raw { window_ms } => (*window_ms, 0),
        };
        let back_ms = back_ms.saturating_add(self.hints_back_ms);
        Window {
            after_ms: self.steps.start_ms().saturating_sub(back_ms),
            upto_ms: self.steps.last_ms().saturating_add(ahead_ms),
        }
    }

    /// The same samples as [`FragmentPlan::window`], as storage is asked for them.
    pub fn time_range(&self) -> TimeRange {
        self.window().to_range()
    }

    /// The plan that only reads: what an executor is asked that does not know a node of this plan. Run the
    /// plan itself over its result (`PartialMerge` does).
    pub fn raw(&self) -> FragmentPlan {
        let window = self.window();
        // What is read past the last step is asked for as one later step.
        let steps = match window.upto_ms == self.steps.last_ms() {
            true => self.steps,
            false => Steps::instant(window.upto_ms),
        };
        let window_ms = steps.start_ms().saturating_sub(window.after_ms);
        FragmentPlan {
            steps,
            read: Read::Raw { window_ms },
            aggregations: Vec::new(),
            // Who reads it knows how far a histogram may be from the one before; who only sends it may not.
            statistics: self.statistics && self.hints_back_ms == 0,
            hints_back_ms: 0,
            ..self.clone()
        }
    }

    /// The plan for the steps `first..first + count` only; `None` where the plan does not have them. Results
    /// of parts go to `StepParts`.
    pub fn with_steps(&self, first: usize, count: usize) -> Option<FragmentPlan> {
        let end = first.checked_add(count)?;
        if count == 0 || end > self.steps.len() {
            return None;
        }
        let (from, upto) = (self.steps.at(first), self.steps.at(end - 1));
        let steps = Steps::grid(from, upto, self.steps.step_ms())?;
        Some(FragmentPlan { steps, ..self.clone() })
    }

    /// Whether `other` reads the same of the same series, at the same steps.
    pub(crate) fn reads_as(&self, other: &FragmentPlan) -> bool {
        let FragmentPlan {
            matchers,
            steps,
            read,
            aggregations: _,
            delayed_name_removal,
            statistics,
            hints_back_ms,
            count_samples,
        } = self;
        *matchers == other.matchers
            && *steps == other.steps
            && *read == other.read
            && *delayed_name_removal == other.delayed_name_removal
            && *statistics == other.statistics
            && *hints_back_ms == other.hints_back_ms
            && *count_samples == other.count_samples
    }

    /// The range function, if there is one.
    pub fn function(&self) -> Option<RangeFunction> {
        match &self.read {
            Read::Range { function, .. } => Some(*function),
            _ => None,
        }
    }

    /// Whether reading removes the metric's name from the result.
    pub fn drops_name(&self) -> bool {
        match &self.read {
            Read::Instant { timestamp, .. } => *timestamp,
            Read::StartTimestamp { .. } => true,
            Read::Smoothed { .. } | Read::SampleTime { .. } => false,
            Read::Range { function, .. } => function.drops_name(),
            Read::Raw { .. } => false,
        }
    }

    /// Whether results have lost the metric's name, so that two of them may have equal labels.
    pub(crate) fn is_nameless(&self) -> bool {
        self.drops_name() && !self.delayed_name_removal
    }

    /// Whether two series whose labels are equal without the metric's name are refused wherever each of them has a
    /// value: so it is of functions of ranges, as in Prometheus. Of what reads single samples only where both have one at
    /// the same step: that is found out where series are not aggregated, as the planner has them.
    pub(crate) fn refuses_equal_labels(&self) -> bool {
        self.is_nameless() && matches!(self.read, Read::Range { .. })
    }

    /// Whether two series may be refused for that: then hashes of their labels are compared, also between parts of the
    /// steps.
    pub(crate) fn may_collide(&self) -> bool {
        let fixed = |m: &Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Equal;
        self.refuses_equal_labels() && !self.matchers.iter().any(fixed)
    }
}
