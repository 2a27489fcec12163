//! `Histogram`: one native histogram sample, integer or float, exponential or custom buckets.
//!
//! Buckets are absolute counts, not deltas; spans say which buckets they are, as in Prometheus: a span's
//! offset is the gap to the end of the previous span (the first one's: to bucket 0), its length the number of
//! buckets. Integer histograms hold whole numbers (exact up to 2^53); `integer` remembers which it was.

/// The schema of histograms with custom bucket bounds (NHCB).
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;
/// The lowest exponential schema.
pub const SCHEMA_MIN: i32 = -4;
/// The highest exponential schema.
pub const SCHEMA_MAX: i32 = 8;

/// What is known of a counter reset before a histogram sample.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ResetHint {
    /// Nothing: compare with the sample before.
    #[default]
    Unknown = 0,
    /// There was a reset.
    Reset = 1,
    /// There was none.
    NotReset = 2,
    /// A gauge histogram: resets mean nothing.
    Gauge = 3,
}

impl ResetHint {
    /// The hint with number `n`; unknown numbers are `Unknown`.
    pub fn from_number(n: u32) -> Self {
        match n {
            1 => ResetHint::Reset,
            2 => ResetHint::NotReset,
            3 => ResetHint::Gauge,
            _ => ResetHint::Unknown,
        }
    }
}

/// A run of neighbouring buckets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Span {
    /// Gap to the previous span's end; for the first span, the index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// One native histogram sample.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Histogram {
    /// Whether counts came as integers.
    pub integer: bool,
    /// Counter reset hint.
    pub reset_hint: ResetHint,
    /// -4..=8 exponential, -53 custom buckets.
    pub schema: i32,
    /// Width of the zero bucket, both ways.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Spans of the positive buckets.
    pub positive_spans: Vec<Span>,
    /// Spans of the negative buckets.
    pub negative_spans: Vec<Span>,
    /// Counts of the positive buckets, in order.
    pub positive_buckets: Vec<f64>,
    /// Counts of the negative buckets, in order.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of custom buckets, without +Inf; empty for exponential schemas.
    pub custom_values: Vec<f64>,
}

impl Histogram {
    /// Whether the bucket bounds are custom.
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// A stale marker as a histogram: its sum is the stale NaN.
    pub fn is_stale(&self) -> bool {
        crate::sample::is_stale_nan(self.sum)
    }
}
