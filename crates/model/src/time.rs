//! Time ranges that carry their kind in their type. Times are `i64` milliseconds since the Unix epoch.

/// A half-open range `[min_ms, max_ms)`: what blocks, generations and storage scans cover.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimeRange {
    /// The first millisecond.
    pub min_ms: i64,
    /// One past the last millisecond.
    pub max_ms: i64,
}

impl TimeRange {
    /// Everything but the last representable millisecond.
    pub const ALL: TimeRange = TimeRange { min_ms: i64::MIN, max_ms: i64::MAX };

    /// Whether `t_ms` lies in the range.
    pub fn contains(self, t_ms: i64) -> bool {
        self.min_ms <= t_ms && t_ms < self.max_ms
    }

    /// Whether the ranges share a millisecond.
    pub fn overlaps(self, other: TimeRange) -> bool {
        self.min_ms < other.max_ms && other.min_ms < self.max_ms
    }

    /// The smallest range that holds both.
    pub fn union(self, other: TimeRange) -> TimeRange {
        TimeRange { min_ms: self.min_ms.min(other.min_ms), max_ms: self.max_ms.max(other.max_ms) }
    }
}

/// A left-open window `(after_ms, upto_ms]`: what PromQL's range selectors and lookback cover.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Window {
    /// The millisecond before the first.
    pub after_ms: i64,
    /// The last millisecond.
    pub upto_ms: i64,
}

impl Window {
    /// The half-open range with the same milliseconds.
    pub fn to_range(self) -> TimeRange {
        TimeRange {
            min_ms: self.after_ms.saturating_add(1),
            max_ms: self.upto_ms.saturating_add(1),
        }
    }
}
