//! Exposition formats by name, and `accept_header`: what a scrape asks for, byte for byte as Prometheus asks.

use std::fmt::{self, Write as _};

use crate::format::ScrapeFormat;

/// An exposition format, as `scrape_protocols` names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ScrapeProtocol {
    /// `OpenMetricsText0.0.1`
    OpenMetricsText0_0_1,
    /// `OpenMetricsText1.0.0`
    OpenMetricsText1_0_0,
    /// `PrometheusProto`
    PrometheusProto,
    /// `PrometheusText0.0.4`
    PrometheusText0_0_4,
    /// `PrometheusText1.0.0`
    PrometheusText1_0_0,
}

impl ScrapeProtocol {
    /// Every protocol, by name.
    pub const ALL: [ScrapeProtocol; 5] = [
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::PrometheusProto,
        ScrapeProtocol::PrometheusText0_0_4,
        ScrapeProtocol::PrometheusText1_0_0,
    ];

    /// What is asked for by default, most wanted first.
    pub const DEFAULT: [ScrapeProtocol; 4] = [
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::PrometheusText1_0_0,
        ScrapeProtocol::PrometheusText0_0_4,
    ];

    /// What is asked for where native histograms are wanted: only protobuf carries them.
    pub const PROTO_FIRST: [ScrapeProtocol; 5] = [
        ScrapeProtocol::PrometheusProto,
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::PrometheusText1_0_0,
        ScrapeProtocol::PrometheusText0_0_4,
    ];

    /// The name in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            ScrapeProtocol::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            ScrapeProtocol::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
            ScrapeProtocol::PrometheusProto => "PrometheusProto",
            ScrapeProtocol::PrometheusText0_0_4 => "PrometheusText0.0.4",
            ScrapeProtocol::PrometheusText1_0_0 => "PrometheusText1.0.0",
        }
    }

    /// The protocol of this name; names are case-sensitive.
    pub fn parse(name: &str) -> Option<ScrapeProtocol> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == name)
    }

    /// The grammar of its bodies; `None` for protobuf, which is not read here.
    pub fn format(self) -> Option<ScrapeFormat> {
        match self {
            ScrapeProtocol::OpenMetricsText1_0_0 | ScrapeProtocol::OpenMetricsText0_0_1 => {
                Some(ScrapeFormat::OpenMetrics)
            }
            ScrapeProtocol::PrometheusText1_0_0 | ScrapeProtocol::PrometheusText0_0_4 => {
                Some(ScrapeFormat::Text)
            }
            ScrapeProtocol::PrometheusProto => None,
        }
    }

    /// The media type, as in a `Content-Type` or `Accept` header.
    pub fn media_type(self) -> &'static str {
        match self {
            ScrapeProtocol::OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            ScrapeProtocol::OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
            ScrapeProtocol::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                 encoding=delimited"
            }
            ScrapeProtocol::PrometheusText0_0_4 => "text/plain;version=0.0.4",
            ScrapeProtocol::PrometheusText1_0_0 => "text/plain;version=1.0.0",
        }
    }

    fn knows_escaping(self) -> bool {
        matches!(self, ScrapeProtocol::OpenMetricsText1_0_0 | ScrapeProtocol::PrometheusText1_0_0)
    }
}

impl fmt::Display for ScrapeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a target is to write names that are not legacy names (`metric_name_escaping_scheme`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum EscapingScheme {
    /// `allow-utf-8`: as they are.
    #[default]
    AllowUtf8,
    /// `underscores`: an underscore for every invalid character.
    Underscores,
    /// `dots`: `_dot_` for a dot, two underscores for one.
    Dots,
    /// `values`: `U__` and the code points.
    Values,
}

impl EscapingScheme {
    /// Every scheme.
    pub const ALL: [EscapingScheme; 4] = [
        EscapingScheme::AllowUtf8,
        EscapingScheme::Underscores,
        EscapingScheme::Dots,
        EscapingScheme::Values,
    ];

    /// The name in configuration files and in the `escaping` parameter of a media type.
    pub fn as_str(self) -> &'static str {
        match self {
            EscapingScheme::AllowUtf8 => "allow-utf-8",
            EscapingScheme::Underscores => "underscores",
            EscapingScheme::Dots => "dots",
            EscapingScheme::Values => "values",
        }
    }
}

impl fmt::Display for EscapingScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The `Accept` header for `protocols`, best first. It asks only for what can be read.
pub fn accept_header(protocols: &[ScrapeProtocol], escaping: EscapingScheme) -> String {
    // Prometheus counts down from the number of protocols it knows, five, plus one.
    let mut weight = 6usize.max(protocols.len() + 1);
    let mut header = String::new();
    for protocol in protocols.iter().filter(|protocol| protocol.format().is_some()) {
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
        let header = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(accept_header(&ScrapeProtocol::DEFAULT, EscapingScheme::AllowUtf8), header);
        // What cannot be read is not asked for.
        assert_eq!(accept_header(&ScrapeProtocol::PROTO_FIRST, EscapingScheme::AllowUtf8), header);
    }

    #[test]
    fn names_round_trip() {
        for protocol in ScrapeProtocol::ALL {
            assert_eq!(ScrapeProtocol::parse(protocol.as_str()), Some(protocol));
        }
        assert_eq!(ScrapeProtocol::parse("prometheusproto"), None);
    }
}
