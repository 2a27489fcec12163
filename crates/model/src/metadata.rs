//! `Metadata`: what an exporter says of a metric family: type, unit, help.

/// The type of a metric family, with the numbers of remote write 2.0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub enum MetricType {
    /// Not said.
    #[default]
    Unknown = 0,
    /// Counter.
    Counter = 1,
    /// Gauge.
    Gauge = 2,
    /// Histogram, classic or native.
    Histogram = 3,
    /// Histogram of a state, not of events.
    GaugeHistogram = 4,
    /// Summary.
    Summary = 5,
    /// Info.
    Info = 6,
    /// State set.
    StateSet = 7,
}

impl MetricType {
    /// Every type, in the order of their numbers.
    pub const ALL: [MetricType; 8] = [
        MetricType::Unknown,
        MetricType::Counter,
        MetricType::Gauge,
        MetricType::Histogram,
        MetricType::GaugeHistogram,
        MetricType::Summary,
        MetricType::Info,
        MetricType::StateSet,
    ];

    /// The type with number `n`; unknown numbers are `Unknown`.
    pub fn from_number(n: u32) -> Self {
        Self::ALL.get(n as usize).copied().unwrap_or_default()
    }

    /// The word that the API and the exposition formats use.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Unknown => "unknown",
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
        }
    }
}

/// Type, unit and help of a metric family.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct Metadata {
    /// The type.
    pub metric_type: MetricType,
    /// The unit, a suffix of the name; often empty.
    pub unit: String,
    /// The help text, unescaped.
    pub help: String,
}
