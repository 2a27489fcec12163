//! `MetricsRegistry`: the metrics of a process. Components register under a prefix; nothing is global.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;

/// The metrics of a process, shared by its components.
#[derive(Clone, Debug, Default)]
pub struct MetricsRegistry(Arc<Mutex<Registry>>);

impl MetricsRegistry {
    /// A registry without metrics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `register` add metrics whose names begin with `prefix` and an underscore, such as
    /// `pando_agent`.
    pub fn with_prefix<T>(&self, prefix: &str, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(self.0.lock().sub_registry_with_prefix(prefix))
    }

    /// The metrics as OpenMetrics 1.0 text.
    ///
    /// # Errors
    /// Where a metric fails to write itself, which is a bug of its component.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0.lock())?;
        Ok(text)
    }
}

/// The content type of [`MetricsRegistry::encode`].
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
