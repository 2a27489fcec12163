//! `accept_header`: what a scrape asks for, byte for byte as Prometheus asks.

use std::fmt::Write as _;

use crate::format::ScrapeFormat;

/// A protocol of `scrape_protocols`, under the name that a configuration uses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ScrapeProtocol {
    /// `OpenMetricsText1.0.0`
    OpenMetricsText1_0_0,
    /// `OpenMetricsText0.0.1`
    OpenMetricsText0_0_1,
    /// `PrometheusText1.0.0`
    PrometheusText1_0_0,
    /// `PrometheusText0.0.4`
    PrometheusText0_0_4,
}

impl ScrapeProtocol {
    /// Every protocol, in the order in which Prometheus prefers them.
    pub const DEFAULT: [ScrapeProtocol; 4] = [
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::PrometheusText1_0_0,
        ScrapeProtocol::PrometheusText0_0_4,
    ];

    /// The name in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            ScrapeProtocol::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
            ScrapeProtocol::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            ScrapeProtocol::PrometheusText1_0_0 => "PrometheusText1.0.0",
            ScrapeProtocol::PrometheusText0_0_4 => "PrometheusText0.0.4",
        }
    }

    /// The protocol with that name. `PrometheusProto` is none: a body in protobuf is not read here.
    pub fn parse(name: &str) -> Option<ScrapeProtocol> {
        Self::DEFAULT.into_iter().find(|p| p.as_str() == name)
    }

    /// The grammar of its bodies.
    pub fn format(self) -> ScrapeFormat {
        match self {
            ScrapeProtocol::OpenMetricsText1_0_0 | ScrapeProtocol::OpenMetricsText0_0_1 => {
                ScrapeFormat::OpenMetrics
            }
            ScrapeProtocol::PrometheusText1_0_0 | ScrapeProtocol::PrometheusText0_0_4 => {
                ScrapeFormat::Text
            }
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            ScrapeProtocol::OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
            ScrapeProtocol::OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            ScrapeProtocol::PrometheusText1_0_0 => "text/plain;version=1.0.0",
            ScrapeProtocol::PrometheusText0_0_4 => "text/plain;version=0.0.4",
        }
    }

    fn knows_escaping(self) -> bool {
        matches!(self, ScrapeProtocol::OpenMetricsText1_0_0 | ScrapeProtocol::PrometheusText1_0_0)
    }
}

/// How an exporter shall write names that the old formats cannot hold (`metric_name_escaping_scheme`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Escaping {
    /// As they are, quoted.
    #[default]
    AllowUtf8,
    /// Each such character as `_`.
    Underscores,
    /// Dots as `_dot_`, underscores doubled.
    Dots,
    /// `U__` and hexadecimal values.
    Values,
}

impl Escaping {
    /// The name in a configuration and in headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Escaping::AllowUtf8 => "allow-utf-8",
            Escaping::Underscores => "underscores",
            Escaping::Dots => "dots",
            Escaping::Values => "values",
        }
    }
}

/// The `Accept` header for `protocols`, best first.
pub fn accept_header(protocols: &[ScrapeProtocol], escaping: Escaping) -> String {
    // Prometheus counts down from the number of protocols it knows, five, plus one.
    let mut weight = 6usize.max(protocols.len() + 1);
    let mut header = String::new();
    for protocol in protocols {
        header.push_str(protocol.media_type());
        if protocol.knows_escaping() {
            let _ = write!(header, ";escaping={}", escaping.as_str());
        }
        let _ = write!(header, ";q=0.{weight},");
        weight -= 1;
    }
    let _ = write!(header, "*/*;q=0.{weight}");
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_prometheus_own() {
        assert_eq!(
            accept_header(&ScrapeProtocol::DEFAULT, Escaping::AllowUtf8),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
    }

    #[test]
    fn names_round_trip() {
        for protocol in ScrapeProtocol::DEFAULT {
            assert_eq!(ScrapeProtocol::parse(protocol.as_str()), Some(protocol));
        }
        assert_eq!(ScrapeProtocol::parse("PrometheusProto"), None);
    }
}
