//! `CompactorConfig`: how often a compactor looks for work, and how much it takes.

use std::time::Duration;

use pando_catalog::bucket::PutRetry;

/// How often a compactor looks for work, and how much it takes.
#[derive(Clone, Debug)]
pub struct CompactorConfig {
    /// Pause after there was nothing to do, or after trouble. Drawn anew within 75..125 % each time,
    /// so that compactors do not ask in step. Default: 30 s.
    pub interval: Duration,
    /// How long the member's own view of the catalog may take to reach the version that granted the
    /// lease. Default: 30 s.
    pub catalog_patience: Duration,
    /// How often an upload is tried.
    pub put: PutRetry,
}

impl Default for CompactorConfig {
    fn default() -> Self {
        CompactorConfig {
            interval: Duration::from_secs(30),
            catalog_patience: Duration::from_secs(30),
            put: PutRetry::default(),
        }
    }
}

impl CompactorConfig {
    /// All faults of the configuration.
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.interval.is_zero() {
            faults.push("compaction interval must be above 0".to_string());
        }
        faults
    }
}
