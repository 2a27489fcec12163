//! What the binary was built from, as the build script has found out.

use std::fmt::Error;

use pando_runtime::MetricsRegistry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Pando's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit.
pub(crate) const REVISION: &str = env!("PANDO_BUILD_REVISION");
/// The branch.
pub(crate) const BRANCH: &str = env!("PANDO_BUILD_BRANCH");
/// Who has built it.
pub(crate) const USER: &str = env!("PANDO_BUILD_USER");
/// When the commit was made, in the form of Prometheus' build date.
pub(crate) const DATE: &str = env!("PANDO_BUILD_DATE");
/// The compiler.
pub(crate) const COMPILER: &str = env!("PANDO_BUILD_COMPILER");

/// `prometheus_build_info` and `pando_build_info`.
#[derive(Debug)]
struct BuildInfo;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    goversion: &'static str,
    goos: &'static str,
    goarch: &'static str,
    tags: &'static str,
}

/// Registers `prometheus_build_info`, by which dashboards list versions, and `pando_build_info`. The version of the
/// first is that of `/api/v1/status/buildinfo`.
pub(crate) fn register(metrics: &MetricsRegistry) {
    metrics.collect(Box::new(BuildInfo));
}

impl Collector for BuildInfo {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let versions = [
            ("prometheus_build_info", pando_query_frontend::PROMETHEUS_VERSION),
            ("pando_build_info", VERSION),
        ];
        for (name, version) in versions {
            let labels = Labels {
                version,
                revision: REVISION,
                branch: BRANCH,
                goversion: COMPILER,
                goos: std::env::consts::OS,
                goarch: std::env::consts::ARCH,
                tags: "unknown",
            };
            let help = "What the binary was built from";
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(1i64).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_told() {
        let metrics = MetricsRegistry::new();
        register(&metrics);
        let text = metrics.encode().expect("encodes");
        assert!(text.contains("\nprometheus_build_info{version=\"3."), "{text}");
        assert!(text.contains(&format!("\npando_build_info{{version=\"{VERSION}\"")), "{text}");
        assert!([REVISION, BRANCH, USER, DATE].iter().all(|text| !text.is_empty()));
        assert!(COMPILER.starts_with("rustc1."), "{COMPILER}");
    }
}
