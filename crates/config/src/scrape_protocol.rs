//! Reading the names of exposition formats and of escaping schemes.

use pando_exposition::{EscapingScheme, ScrapeProtocol};
use pando_model::number::go_quote;

use crate::section::{Findings, Section, Value};

/// Protobuf bodies are not read.
const NO_PROTOBUF: &str = "PrometheusProto is not asked for and not read: text formats are used";

/// Reads `scrape_protocols`; `None` where it is not written.
pub(crate) fn read_list(s: &mut Section<'_>, cx: &mut Findings) -> Option<Vec<ScrapeProtocol>> {
    let list = s.given("scrape_protocols")?;
    let mut protocols = Vec::new();
    let mut written = Vec::new();
    for item in list.items(cx, "[]config.ScrapeProtocol") {
        let protocol = item.parse(cx, "config.ScrapeProtocol", |name| {
            written.push(name.to_string());
            parse(name).map_err(|error| format!("scrape_protocols: {error}"))
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
    ignore_protobuf(&list, &protocols, cx);
    Some(protocols)
}

/// Reads `fallback_scrape_protocol`; `None` where it is not written or empty.
pub(crate) fn read_fallback(s: &mut Section<'_>, cx: &mut Findings) -> Option<ScrapeProtocol> {
    let value = s.given("fallback_scrape_protocol")?;
    let protocol = value.parse(cx, "config.ScrapeProtocol", |name| match name {
        "" => Ok(None),
        name => parse(name)
            .map(Some)
            .map_err(|error| format!("invalid fallback_scrape_protocol: {error}")),
    })?;
    ignore_protobuf(&value, protocol.as_slice(), cx);
    protocol
}

/// Reads `metric_name_escaping_scheme`; `owner` is `global` or `scrape config`.
pub(crate) fn read_escaping(
    s: &mut Section<'_>,
    owner: &str,
    cx: &mut Findings,
) -> Option<EscapingScheme> {
    let value = s.given("metric_name_escaping_scheme")?;
    value.parse(cx, "string", |name| {
        let known = EscapingScheme::ALL.into_iter().map(Some);
        let mut known = known.chain(name.is_empty().then_some(None));
        known.find(|k| k.map_or("", EscapingScheme::as_str) == name).ok_or_else(|| {
            format!(
                "unknown {owner} name escaping method specified, must be one of 'allow-utf-8', \
                 'underscores', 'dots', or 'values', got {}",
                go_quote(name)
            )
        })
    })?
}

fn parse(name: &str) -> Result<ScrapeProtocol, String> {
    ScrapeProtocol::parse(name).ok_or_else(|| {
        let known = ScrapeProtocol::ALL.map(ScrapeProtocol::as_str).join(" ");
        format!("unknown scrape protocol {name}, supported: [{known}]")
    })
}

fn ignore_protobuf(value: &Value<'_>, protocols: &[ScrapeProtocol], cx: &mut Findings) {
    if protocols.contains(&ScrapeProtocol::PrometheusProto) {
        value.ignore(cx, NO_PROTOBUF);
    }
}
