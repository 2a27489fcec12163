//! The exposition formats that a scrape may ask for.

use std::fmt;

use crate::section::{Findings, Section};

/// An exposition format, as `scrape_protocols` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// The protocol of this name; names are case-sensitive.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == name).ok_or_else(|| {
            let known = Self::ALL.map(ScrapeProtocol::as_str).join(" ");
            format!("unknown scrape protocol {name}, supported: [{known}]")
        })
    }

    /// Reads `scrape_protocols`; `None` where it is not written.
    pub(crate) fn read_list(s: &mut Section<'_>, cx: &mut Findings) -> Option<Vec<Self>> {
        let list = s.given("scrape_protocols")?;
        let mut protocols = Vec::new();
        let mut written = Vec::new();
        for item in list.items(cx, "[]config.ScrapeProtocol") {
            let protocol = item.parse(cx, "config.ScrapeProtocol", |name| {
                written.push(name.to_string());
                Self::parse(name).map_err(|error| format!("scrape_protocols: {error}"))
            });
            if let Some(protocol) = protocol {
                if protocols.contains(&protocol) {
                    let all = written.join(" ");
                    item.fault(cx, format!("duplicated protocol in scrape_protocols, got [{all}]"));
                }
                protocols.push(protocol);
            }
        }
        if written.is_empty() {
            list.fault(cx, "scrape_protocols cannot be empty");
        }
        Some(protocols)
    }
}

impl fmt::Display for ScrapeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
