//! When and how a query is evaluated.

use crate::error::QueryError;
use crate::steps::Steps;
use crate::syntax::SyntaxFeatures;

/// Prometheus' lookback: how old the latest sample may be, ms.
pub const LOOKBACK_MS: i64 = 5 * 60 * 1000;
/// The step of a subquery that names none: Prometheus' default evaluation interval, ms.
pub const SUBQUERY_STEP_MS: i64 = 60 * 1000;

/// What is behind Prometheus' feature flags. All off by default, as there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `promql-experimental-functions`
    pub experimental_functions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`
    pub fill_modifiers: bool,
    /// `promql-delayed-name-removal`
    pub delayed_name_removal: bool,
    /// `use-start-timestamps`: `rate`, `increase`, `irate` and `resets` look at samples' start timestamps, and
    /// `start_timestamp` has something to say.
    pub start_timestamps: bool,
}

impl Features {
    /// What the syntax needs to know.
    pub fn syntax(&self) -> SyntaxFeatures {
        SyntaxFeatures {
            experimental_functions: self.experimental_functions,
            extended_range_selectors: self.extended_range_selectors,
            fill_modifiers: self.fill_modifiers,
        }
    }
}

/// The times and settings of one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryParams {
    /// The evaluation times.
    pub steps: Steps,
    /// The end that was asked for, ms: `end()` and `range()` mean it, not the last step.
    pub end_ms: i64,
    /// Whether it is an instant query: one step, and results that keep their order.
    pub instant: bool,
    /// How old the latest sample of an instant selector may be, ms.
    pub lookback_ms: i64,
    /// The step of a subquery that names none, ms.
    pub subquery_step_ms: i64,
    /// Switches.
    pub features: Features,
    /// Whether functions and aggregations run where the data is; otherwise raw series are read and everything
    /// runs here. The answers are the same, up to the order of float additions.
    pub push_down: bool,
    /// Whether selectors that read alike are read once, and buckets of histograms not at all where their counts and
    /// sums will do. The answers are the same.
    pub read_less: bool,
    /// Whether the samples that each step looks at are counted. Off by default: it costs a pass over them.
    pub count_samples: bool,
}

impl QueryParams {
    /// An instant query at `t_ms`.
    pub fn instant(t_ms: i64) -> Self {
        QueryParams {
            steps: Steps::instant(t_ms),
            end_ms: t_ms,
            instant: true,
            lookback_ms: LOOKBACK_MS,
            subquery_step_ms: SUBQUERY_STEP_MS,
            features: Features::default(),
            push_down: true,
            read_less: true,
            count_samples: false,
        }
    }

    /// A range query.
    ///
    /// # Errors
    /// As [`Steps::range`].
    pub fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Self, QueryError> {
        let steps = Steps::range(start_ms, end_ms, step_ms)?;
        Ok(QueryParams { steps, end_ms, instant: false, ..Self::instant(start_ms) })
    }

    /// The same with another lookback, ms; values that are not positive keep the default.
    pub fn with_lookback(mut self, lookback_ms: i64) -> Self {
        if lookback_ms > 0 {
            self.lookback_ms = lookback_ms;
        }
        self
    }

    /// The same with `features`.
    pub fn with_features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }
}
