//! What a range selector says beside its length: which samples stand at its edges, and whether start timestamps
//! count. The semantics are those of Prometheus 3.14's `anchored`, `smoothed` and `use-start-timestamps`.
//!
//! ```text
//!            start = end - range                end
//! plain        (     x     x     x     x         ]
//! anchored  x  (     x     x     x     x         ]        the last sample at or before the start, too
//! smoothed  x  (     x     x     x     x         ]   x    values at both edges, on the line between neighbours
//! ```
//!
//! A neighbour counts if it lies within the lookback of its edge.

use super::RangeFunction;
use crate::error::QueryError;

/// Which samples stand at the edges of a range.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Edges {
    /// Those in the range.
    #[default]
    Plain,
    /// `anchored`: the one before the range as well.
    Anchored {
        /// How far before the range it may lie, ms.
        lookback_ms: i64,
    },
    /// `smoothed`: the neighbours on both sides, which the values at the edges are made of.
    Smoothed {
        /// How far outside of the range they may lie, ms.
        lookback_ms: i64,
    },
}

/// What a range selector says beside its length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RangeRules {
    /// Which samples stand at its edges.
    pub edges: Edges,
    /// Whether samples' start timestamps count.
    pub starts: bool,
}

impl Edges {
    /// How much farther back than the range samples are read, ms.
    pub fn back_ms(self) -> i64 {
        match self {
            Edges::Plain => 0,
            Edges::Anchored { lookback_ms } | Edges::Smoothed { lookback_ms } => lookback_ms,
        }
    }

    /// How far past the range's end samples are read, ms.
    pub fn ahead_ms(self) -> i64 {
        match self {
            Edges::Plain | Edges::Anchored { .. } => 0,
            Edges::Smoothed { lookback_ms } => lookback_ms,
        }
    }

    /// Whether values at the edges are made of their neighbours.
    pub(crate) fn is_smoothed(self) -> bool {
        matches!(self, Edges::Smoothed { .. })
    }

    /// Whether `function` can be asked for with these edges.
    pub fn allows(self, function: RangeFunction) -> bool {
        self.modifier().is_none_or(|(_, allowed)| allowed.contains(&function))
    }

    /// Refuses what [`Edges::allows`] does not, for a call of `name`.
    pub(crate) fn check(self, function: RangeFunction, name: &str) -> Result<(), QueryError> {
        let Some((modifier, allowed)) = self.modifier() else { return Ok(()) };
        if allowed.contains(&function) {
            return Ok(());
        }
        let list: Vec<&str> = allowed.iter().map(|f| f.as_str()).collect();
        Err(QueryError::execution(format!(
            "{modifier} modifier can only be used with: {} - not with {name}",
            list.join(", ")
        )))
    }

    /// The modifier as written, and the functions that it goes with in the order of their names.
    fn modifier(self) -> Option<(&'static str, &'static [RangeFunction])> {
        use RangeFunction as R;
        match self {
            Edges::Plain => None,
            Edges::Anchored { .. } => {
                Some(("anchored", &[R::Changes, R::Delta, R::Increase, R::Rate, R::Resets]))
            }
            Edges::Smoothed { .. } => Some(("smoothed", &[R::Delta, R::Increase, R::Rate])),
        }
    }
}

impl RangeRules {
    /// Rules for `function`, which has no use for start timestamps unless it counts resets.
    pub(crate) fn of(edges: Edges, starts: bool, function: RangeFunction) -> Self {
        use RangeFunction as R;
        let counts = match edges {
            Edges::Plain => matches!(function, R::Rate | R::Increase | R::Irate | R::Resets),
            // Prometheus' extended rates do not look at them.
            _ => function == R::Resets,
        };
        RangeRules { edges, starts: starts && counts }
    }
}
