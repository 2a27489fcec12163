//! What a decoder takes at most, so that a few hostile bytes can never ask for much memory (INV-7).
//!
//! The limits of what a tenant may write are settings elsewhere, and lower.

use crate::error::CodecError;

/// Samples of one chunk: a day at 100 ms. 8 MiB of times.
pub const SAMPLES_PER_CHUNK_MAX: usize = 1 << 20;
/// Native histograms of one chunk: a day at 1.3 s.
pub const HISTOGRAMS_PER_CHUNK_MAX: usize = 1 << 16;
/// Bucket counts of all histograms of one chunk: 65,536 histograms of 64 buckets, 32 MiB.
pub const BUCKETS_PER_CHUNK_MAX: usize = 1 << 22;
/// Distinct bucket layouts (schema, spans, bounds) of one chunk; every sample may have its own.
pub const LAYOUTS_PER_CHUNK_MAX: usize = HISTOGRAMS_PER_CHUNK_MAX;
/// Exemplars of one chunk.
pub const EXEMPLARS_PER_CHUNK_MAX: usize = 1 << 16;
/// Metric families of one metadata list.
pub const METADATA_MAX: usize = 1 << 16;
/// Labels of one set. Prometheus has no such limit; nobody has come near this one.
pub const LABELS_PER_SET_MAX: usize = 1 << 10;
/// Bytes of one text: label name, label value, unit, help.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Bytes of text that one decoded value may hold after symbols and prefixes are expanded.
pub const DECODED_TEXT_BYTES_MAX: usize = 64 << 20;

/// What one decode may still hand out. Encodings that name a text more than once (symbol tables,
/// shared prefixes) can expand without bound; they take every expanded byte from here first.
#[derive(Clone, Debug)]
pub struct Budget {
    what: &'static str,
    limit: &'static str,
    max: u64,
    used: u64,
}

impl Budget {
    /// A budget of `max` units for the encoding `what`; `limit` is its name in the error.
    pub fn new(what: &'static str, limit: &'static str, max: usize) -> Self {
        Budget { what, limit, max: max as u64, used: 0 }
    }

    /// Takes `units`, or says that the limit is exceeded.
    pub fn take(&mut self, units: usize) -> Result<(), CodecError> {
        self.used = self.used.saturating_add(units as u64);
        if self.used > self.max {
            let Budget { what, limit, max, used } = *self;
            return Err(CodecError::Limit { what, limit, found: used, max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_once() {
        let mut budget = Budget::new("x", "text bytes", 10);
        assert!(budget.take(7).is_ok() && budget.take(3).is_ok());
        assert!(budget.take(1).is_err() && budget.take(usize::MAX).is_err());
    }
}
