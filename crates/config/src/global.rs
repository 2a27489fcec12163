//! `global`: what holds for every scrape config that does not say otherwise.

use std::collections::BTreeMap;
use std::path::Path;

use pando_exposition::{EscapingScheme, ScrapeProtocol};
use pando_model::duration::format_duration;
use pando_model::number::go_quote;
use pando_model::relabel::NameScheme;

use crate::expand::expand;
use crate::http_client::join_dir;
use crate::limits::ScrapeLimits;
use crate::render::{Fields, Yaml};
use crate::scrape_protocol::{read_escaping, read_list};
use crate::section::{Findings, Section, Value};

/// Reads `metric_name_validation_scheme`; `None` where it is not written.
pub(crate) fn read_name_scheme(s: &mut Section<'_>, cx: &mut Findings) -> Option<NameScheme> {
    let value = s.given("metric_name_validation_scheme")?;
    value.parse(cx, "model.ValidationScheme", |name| match name {
        "" => Ok(None),
        "utf8" => Ok(Some(NameScheme::Utf8)),
        "legacy" => Ok(Some(NameScheme::Legacy)),
        _ => Err(format!("unrecognized ValidationScheme: {}", go_quote(name))),
    })?
}

/// `global`, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalConfig {
    /// Time between two scrapes of a target, in ms. Default 1 min.
    pub scrape_interval_ms: i64,
    /// Time that a scrape may take, in ms, at most the interval. Default 10 s.
    pub scrape_timeout_ms: i64,
    /// The formats to ask for; `None`: by default, which depends on each scrape config.
    pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
    /// The step of subqueries that name none, in ms; in Prometheus also the time between two evaluations of a rule.
    /// Default 1 min.
    pub evaluation_interval_ms: i64,
    /// How far in the past rules are evaluated, in ms. Not acted on.
    pub rule_query_offset_ms: i64,
    /// File for queries. Not acted on.
    pub query_log_file: String,
    /// File for failed scrapes. Not acted on.
    pub scrape_failure_log_file: String,
    /// Labels for every series that leaves this agent. [`GlobalConfig::expand_external_labels`]
    /// fills in the environment.
    pub external_labels: BTreeMap<String, String>,
    /// The limits of a scrape.
    pub limits: ScrapeLimits,
    /// Dropped targets of a scrape config that are remembered; 0: all.
    pub keep_dropped_targets: u64,
    /// Which names are valid. Default `utf8`.
    pub name_scheme: NameScheme,
    /// How targets are to escape names; `None`: follows `name_scheme`.
    pub escaping_scheme: Option<EscapingScheme>,
    /// Ask for native histograms. Default false.
    pub scrape_native_histograms: bool,
    /// Make native histograms with custom buckets of classic ones. Default false.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Keep the classic histogram of one that is native, too. Default false.
    pub always_scrape_classic_histograms: bool,
    /// Write `scrape_timeout_seconds` and its like. Default false.
    pub extra_scrape_metrics: bool,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        GlobalConfig {
            scrape_interval_ms: 60_000,
            scrape_timeout_ms: 10_000,
            scrape_protocols: None,
            evaluation_interval_ms: 60_000,
            rule_query_offset_ms: 0,
            query_log_file: String::new(),
            scrape_failure_log_file: String::new(),
            external_labels: BTreeMap::new(),
            limits: ScrapeLimits::default(),
            keep_dropped_targets: 0,
            name_scheme: NameScheme::Utf8,
            escaping_scheme: Some(EscapingScheme::AllowUtf8),
            scrape_native_histograms: false,
            convert_classic_histograms_to_nhcb: false,
            always_scrape_classic_histograms: false,
            extra_scrape_metrics: false,
        }
    }
}

impl GlobalConfig {
    pub(crate) fn read(value: &Value<'_>, cx: &mut Findings) -> Self {
        let default = GlobalConfig::default();
        if value.node.is_null() {
            return default;
        }
        let mut s = value.section(cx, "config.GlobalConfig");
        let given = |ms: Option<i64>| ms.filter(|ms| *ms != 0);
        let interval_ms = given(s.duration_ms("scrape_interval", cx));
        let interval_ms = interval_ms.unwrap_or(default.scrape_interval_ms);
        let timeout_ms = given(s.duration_ms("scrape_timeout", cx));
        if timeout_ms.is_some_and(|timeout_ms| timeout_ms > interval_ms) {
            let message = "global scrape timeout greater than scrape interval";
            s.fault_at(cx, "scrape_timeout", message);
        }
        let evaluation_ms = given(s.duration_ms("evaluation_interval", cx));
        let global = GlobalConfig {
            scrape_interval_ms: interval_ms,
            scrape_timeout_ms: timeout_ms.unwrap_or(default.scrape_timeout_ms.min(interval_ms)),
            scrape_protocols: read_list(&mut s, cx),
            evaluation_interval_ms: evaluation_ms.unwrap_or(default.evaluation_interval_ms),
            rule_query_offset_ms: s.duration_ms("rule_query_offset", cx).unwrap_or(0),
            query_log_file: s.text("query_log_file", cx),
            scrape_failure_log_file: s.text("scrape_failure_log_file", cx),
            name_scheme: read_name_scheme(&mut s, cx).unwrap_or_default(),
            external_labels: BTreeMap::new(),
            limits: ScrapeLimits::read(&mut s, cx),
            keep_dropped_targets: s.uint("keep_dropped_targets", cx),
            escaping_scheme: read_escaping(&mut s, "global", cx),
            scrape_native_histograms: s.bool("scrape_native_histograms", cx).unwrap_or(false),
            convert_classic_histograms_to_nhcb: s
                .bool("convert_classic_histograms_to_nhcb", cx)
                .unwrap_or(false),
            always_scrape_classic_histograms: s
                .bool("always_scrape_classic_histograms", cx)
                .unwrap_or(false),
            extra_scrape_metrics: s.bool("extra_scrape_metrics", cx).unwrap_or(false),
        };
        let external_labels = read_external_labels(&mut s, global.name_scheme, cx);
        ignore_keys(&mut s, cx);
        s.finish(cx);
        GlobalConfig { external_labels, ..global }
    }

    /// Fills `$NAME` and `${NAME}` in the external labels with what `lookup` gives, and returns the
    /// names for which it gave nothing; they stand for an empty text, and the caller should warn of
    /// them.
    pub fn expand_external_labels(
        &mut self,
        mut lookup: impl FnMut(&str) -> Option<String>,
    ) -> Vec<String> {
        let mut missing = Vec::new();
        for value in self.external_labels.values_mut() {
            *value = expand(value, |name| {
                let found = lookup(name).filter(|found| !found.is_empty());
                found.unwrap_or_else(|| {
                    missing.push(name.to_string());
                    String::new()
                })
            });
        }
        missing
    }

    pub(crate) fn set_directory(&mut self, dir: &Path) {
        join_dir(dir, &mut self.query_log_file);
        join_dir(dir, &mut self.scrape_failure_log_file);
    }

    pub(crate) fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        fields.raw("scrape_interval", format_duration(self.scrape_interval_ms));
        fields.raw("scrape_timeout", format_duration(self.scrape_timeout_ms));
        if let Some(protocols) = &self.scrape_protocols {
            put_protocols(&mut fields, protocols);
        }
        fields.raw("evaluation_interval", format_duration(self.evaluation_interval_ms));
        if self.rule_query_offset_ms != 0 {
            fields.raw("rule_query_offset", format_duration(self.rule_query_offset_ms));
        }
        fields.text("query_log_file", &self.query_log_file);
        fields.text("scrape_failure_log_file", &self.scrape_failure_log_file);
        fields.map("external_labels", &self.external_labels);
        self.limits.put_fields(&mut fields);
        fields.number("keep_dropped_targets", self.keep_dropped_targets);
        fields.raw("metric_name_validation_scheme", self.name_scheme.as_str());
        if let Some(scheme) = self.escaping_scheme {
            fields.raw("metric_name_escaping_scheme", scheme);
        }
        fields.raw("scrape_native_histograms", self.scrape_native_histograms);
        fields.flag("convert_classic_histograms_to_nhcb", self.convert_classic_histograms_to_nhcb);
        fields.flag("always_scrape_classic_histograms", self.always_scrape_classic_histograms);
        fields.raw("extra_scrape_metrics", self.extra_scrape_metrics);
        fields
    }
}

fn read_external_labels(
    s: &mut Section<'_>,
    scheme: NameScheme,
    cx: &mut Findings,
) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let Some(value) = s.take("external_labels") else { return labels };
    for (name, value) in value.entries(cx, "labels.Labels") {
        if !scheme.is_label_name(&name) {
            let message = format!("{} is not a valid label name", go_quote(&name));
            cx.fault(value.key_place, &value.path, message);
        }
        labels.insert(name, value.string(cx).unwrap_or_default());
    }
    labels
}

/// The keys that Pando knows and does not act on.
fn ignore_keys(s: &mut Section<'_>, cx: &mut Findings) {
    for (key, reason) in [
        ("rule_query_offset", "rules are not evaluated from this file"),
        ("query_log_file", "queries are not logged to a file"),
        ("scrape_failure_log_file", "failed scrapes are not logged to a file"),
    ] {
        if let Some(value) = s.given(key) {
            value.ignore(cx, reason);
        }
    }
    ignore_histogram_keys(s, cx);
}

/// The switches of native histograms; a switch that is off asks for nothing and is not listed.
pub(crate) fn ignore_histogram_keys(s: &mut Section<'_>, cx: &mut Findings) {
    for (key, reason) in [
        ("scrape_native_histograms", "native histograms are not scraped"),
        ("convert_classic_histograms_to_nhcb", "classic histograms are not converted"),
        ("always_scrape_classic_histograms", "classic histograms are always scraped"),
    ] {
        if let Some(value) = s.given(key)
            && matches!(value.node.kind, crate::node::Kind::Bool(true, _))
        {
            value.ignore(cx, reason);
        }
    }
}

pub(crate) fn put_protocols(fields: &mut Fields, protocols: &[ScrapeProtocol]) {
    let items = protocols.iter().map(|protocol| Yaml::Raw(protocol.to_string())).collect();
    fields.list("scrape_protocols", items);
}
