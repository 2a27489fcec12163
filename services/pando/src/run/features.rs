//! `--enable-feature`: Prometheus' names, and what each of them means here.

use pando_promql::Features;

/// Features of Prometheus 3.14 that need no switch, with what is the case instead.
const WITHOUT_SWITCH: [(&str, &str); 23] = [
    ("auto-reload-config", "has no effect: reload by SIGHUP or POST /-/reload"),
    ("concurrent-rule-eval", "has no effect: rules are not evaluated yet"),
    ("created-timestamp-zero-ingestion", "has no effect: start timestamps are stored as they are"),
    ("delayed-compaction", "has no effect: see --compactor.min-block-age"),
    ("exemplar-storage", "is always on"),
    ("extra-scrape-metrics", "has no effect yet: the additional scrape_* series are not made"),
    ("fast-startup", "has no effect: checkpoints make for a fast start"),
    ("histograms-st-encoding", "is always on"),
    ("memory-snapshot-on-shutdown", "has no effect: checkpoints take its place"),
    ("metadata-wal-records", "is always on"),
    ("native-histograms", "is on for remote write; native histograms are not scraped yet"),
    ("old-ui", "has no effect: there is no web interface yet"),
    ("ooo-native-histograms", "is on for remote write; native histograms are not scraped yet"),
    ("otlp-deltatocumulative", "has no effect: OTLP is not taken yet"),
    ("otlp-native-delta-ingestion", "has no effect: OTLP is not taken yet"),
    ("promql-duration-expr", "is always on"),
    ("promql-per-step-stats", "is always on"),
    ("search-api", "has no effect yet: the search API is not served"),
    ("st-storage", "is always on"),
    ("st-synthesis", "has no effect yet: start timestamps are not made up"),
    ("type-and-unit-labels", "has no effect yet: the labels __type__ and __unit__ are not made"),
    ("use-uncached-io", "has no effect: blocks are in the object store"),
    ("xor2-encoding", "has no effect: Pando has encodings of its own"),
];

/// What a name means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Switched,
    Said(&'static str),
    Unknown,
}

/// The features that `names` switch on. Others are named in the log, as Prometheus does.
pub(super) fn features(names: &[String]) -> Features {
    let mut features = Features::default();
    for name in names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
        match switch(&mut features, name) {
            Meaning::Switched => tracing::info!(name, "feature is enabled"),
            Meaning::Said(meaning) => tracing::info!(name, meaning, "feature needs no switch here"),
            Meaning::Unknown => tracing::warn!(name, "unknown feature of --enable-feature"),
        }
    }
    features
}

fn switch(features: &mut Features, name: &str) -> Meaning {
    match name {
        "promql-experimental-functions" => features.experimental_functions = true,
        "promql-extended-range-selectors" => features.extended_range_selectors = true,
        "promql-binop-fill-modifiers" => features.fill_modifiers = true,
        "promql-delayed-name-removal" => features.delayed_name_removal = true,
        "use-start-timestamps" => features.start_timestamps = true,
        name => {
            let known = WITHOUT_SWITCH.iter().find(|(known, _)| *known == name);
            return known.map_or(Meaning::Unknown, |(_, meaning)| Meaning::Said(meaning));
        }
    }
    Meaning::Switched
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All names of Prometheus 3.14.
    const OF_PROMETHEUS: &str = "concurrent-rule-eval created-timestamp-zero-ingestion delayed-compaction \
        exemplar-storage extra-scrape-metrics histograms-st-encoding memory-snapshot-on-shutdown \
        metadata-wal-records old-ui otlp-deltatocumulative otlp-native-delta-ingestion \
        promql-binop-fill-modifiers promql-delayed-name-removal promql-experimental-functions \
        promql-extended-range-selectors promql-per-step-stats search-api st-storage st-synthesis \
        type-and-unit-labels use-start-timestamps use-uncached-io xor2-encoding fast-startup \
        auto-reload-config promql-duration-expr native-histograms ooo-native-histograms";

    #[test]
    fn every_feature_of_prometheus_is_known() {
        let mut features = Features::default();
        for name in OF_PROMETHEUS.split_whitespace() {
            assert_ne!(switch(&mut features, name), Meaning::Unknown, "{name}");
        }
        assert_eq!(switch(&mut features, "no-such-thing"), Meaning::Unknown);
        assert!(features.experimental_functions && features.fill_modifiers);
        assert!(features.start_timestamps);
    }
}
