//! `MetricsRegistry`: the metrics of a process. Components register under a prefix; nothing is global.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use crate::SummaryFamily;

/// The metrics of a process, shared by its components.
#[derive(Clone, Debug, Default)]
pub struct MetricsRegistry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    registry: Mutex<Registry>,
    summaries: Mutex<Vec<(&'static str, &'static str, SummaryFamily)>>,
}

impl MetricsRegistry {
    /// A registry without metrics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `register` add metrics whose names begin with `prefix` and an underscore, such as
    /// `pando_agent`.
    pub fn with_prefix<T>(&self, prefix: &str, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(self.0.registry.lock().sub_registry_with_prefix(prefix))
    }

    /// Adds a metric that is read when it is asked for.
    pub fn collect(&self, collector: Box<dyn Collector>) {
        self.0.registry.lock().register_collector(collector);
    }

    /// Adds summaries under their full name.
    pub fn register_summary(&self, name: &'static str, help: &'static str, family: SummaryFamily) {
        self.0.summaries.lock().push((name, help, family));
    }

    /// The metrics as OpenMetrics 1.0 text.
    ///
    /// # Errors
    /// Where a metric fails to write itself, which is a bug of its component.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.0.registry.lock())?;
        for (name, help, family) in self.0.summaries.lock().iter() {
            family.encode(name, help, &mut text)?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// The content type of [`MetricsRegistry::encode`].
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
