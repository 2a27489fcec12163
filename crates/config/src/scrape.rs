//! `scrape_configs`: one job each, ready to use, with everything filled in from `global`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use pando_exposition::{EscapingScheme, ScrapeProtocol};
use pando_model::duration::format_duration;
use pando_model::number::go_quote;
use pando_model::relabel::{NameScheme, RelabelConfig};

use crate::discovery::{Discovery, DnsSd, FileSd, HttpSd};
use crate::global::{GlobalConfig, ignore_histogram_keys, put_protocols, read_name_scheme};
use crate::http_client::{HttpClientConfig, join_dir, text_lists};
use crate::limits::ScrapeLimits;
use crate::relabel;
use crate::render::{Fields, Yaml};
use crate::scrape_protocol::{read_escaping, read_fallback, read_list};
use crate::section::{Findings, Section, Value};
use crate::target_group::TargetGroup;

/// The scheme of a target's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum UrlScheme {
    /// `http`
    #[default]
    Http,
    /// `https`
    Https,
}

impl UrlScheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            UrlScheme::Http => "http",
            UrlScheme::Https => "https",
        }
    }
}

impl fmt::Display for UrlScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One scrape config, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeConfig {
    /// The job's name, unique in the file, never empty; the default of the label `job`.
    pub job_name: String,
    /// Whether labels of a target win over ours. Default false: theirs become `exported_...`.
    pub honor_labels: bool,
    /// Whether timestamps of a target are taken. Default true.
    pub honor_timestamps: bool,
    /// Whether series with timestamps of their own go stale, too. Default false.
    pub track_timestamps_staleness: bool,
    /// Parameters of the URL.
    pub params: BTreeMap<String, Vec<String>>,
    /// Time between two scrapes, in ms.
    pub scrape_interval_ms: i64,
    /// Time that a scrape may take, in ms, at most the interval.
    pub scrape_timeout_ms: i64,
    /// The formats to ask for, most wanted first; never empty.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// The format of an answer without a known `Content-Type`; `None`: such a scrape fails.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Ask for native histograms. Not acted on.
    pub scrape_native_histograms: bool,
    /// Keep the classic histogram of one that is native, too. Not acted on.
    pub always_scrape_classic_histograms: bool,
    /// Make native histograms with custom buckets of classic ones. Not acted on.
    pub convert_classic_histograms_to_nhcb: bool,
    /// File for failed scrapes. Not acted on.
    pub scrape_failure_log_file: String,
    /// The path of the URL. Default `/metrics`.
    pub metrics_path: String,
    /// The scheme of the URL. Default `http`.
    pub scheme: UrlScheme,
    /// Whether to ask for a compressed answer. Default true.
    pub enable_compression: bool,
    /// The limits of a scrape.
    pub limits: ScrapeLimits,
    /// Buckets of a native histogram. Not acted on.
    pub native_histogram_bucket_limit: u64,
    /// The smallest growth of a native histogram's buckets. Not acted on.
    pub native_histogram_min_bucket_factor: f64,
    /// Dropped targets that are remembered; 0: all.
    pub keep_dropped_targets: u64,
    /// Which names are valid.
    pub name_scheme: NameScheme,
    /// How targets are to escape names.
    pub escaping_scheme: EscapingScheme,
    /// Write `scrape_timeout_seconds` and its like.
    pub extra_scrape_metrics: bool,
    /// How to speak HTTP with the targets.
    pub http: HttpClientConfig,
    /// Rules for targets.
    pub relabel_configs: Vec<RelabelConfig>,
    /// Rules for samples.
    pub metric_relabel_configs: Vec<RelabelConfig>,
    pub(crate) discovery: Discovery,
}

impl ScrapeConfig {
    /// Targets that are written in the file.
    pub fn static_configs(&self) -> &[TargetGroup] {
        &self.discovery.static_configs
    }

    /// Files with targets.
    pub fn file_sd_configs(&self) -> &[FileSd] {
        &self.discovery.file
    }

    /// URLs with targets.
    pub fn http_sd_configs(&self) -> &[HttpSd] {
        &self.discovery.http
    }

    /// DNS names with targets.
    pub fn dns_sd_configs(&self) -> &[DnsSd] {
        &self.discovery.dns
    }

    /// Reads one scrape config and fills in what it leaves to `global`.
    pub(crate) fn read(value: &Value<'_>, global: &GlobalConfig, cx: &mut Findings) -> Self {
        let mut s = value.section(cx, "config.ScrapeConfig");
        let job_name = s.text("job_name", cx);
        if job_name.is_empty() {
            s.fault_at(cx, "job_name", "job_name is empty");
        }
        let (scrape_interval_ms, scrape_timeout_ms) = read_times(&mut s, &job_name, global, cx);
        let (name_scheme, escaping_scheme) = read_names(&mut s, global, cx);
        let scrape_native_histograms =
            s.bool("scrape_native_histograms", cx).unwrap_or(global.scrape_native_histograms);
        let target_rules = "target relabeling rule in scrape config";
        let relabel_configs =
            relabel::read(&mut s, "relabel_configs", target_rules, name_scheme, cx);
        let metric_rules = "metric relabeling rule in scrape config";
        let metric_relabel_configs =
            relabel::read(&mut s, "metric_relabel_configs", metric_rules, name_scheme, cx);
        let config = ScrapeConfig {
            job_name,
            honor_labels: s.bool("honor_labels", cx).unwrap_or(false),
            honor_timestamps: s.bool("honor_timestamps", cx).unwrap_or(true),
            track_timestamps_staleness: s.bool("track_timestamps_staleness", cx).unwrap_or(false),
            params: read_params(&mut s, cx),
            scrape_interval_ms,
            scrape_timeout_ms,
            scrape_protocols: read_protocols(&mut s, scrape_native_histograms, global, cx),
            fallback_scrape_protocol: read_fallback(&mut s, cx),
            scrape_native_histograms,
            always_scrape_classic_histograms: s
                .bool("always_scrape_classic_histograms", cx)
                .unwrap_or(global.always_scrape_classic_histograms),
            convert_classic_histograms_to_nhcb: s
                .bool("convert_classic_histograms_to_nhcb", cx)
                .unwrap_or(global.convert_classic_histograms_to_nhcb),
            scrape_failure_log_file: Some(s.text("scrape_failure_log_file", cx))
                .filter(|file| !file.is_empty())
                .unwrap_or_else(|| global.scrape_failure_log_file.clone()),
            metrics_path: s.string("metrics_path", cx).unwrap_or_else(|| "/metrics".to_string()),
            scheme: read_scheme(&mut s, cx),
            enable_compression: s.bool("enable_compression", cx).unwrap_or(true),
            limits: ScrapeLimits::read(&mut s, cx).or(global.limits),
            native_histogram_bucket_limit: s.uint("native_histogram_bucket_limit", cx),
            native_histogram_min_bucket_factor: s
                .take("native_histogram_min_bucket_factor")
                .and_then(|value| value.float(cx))
                .unwrap_or(0.0),
            keep_dropped_targets: match s.uint("keep_dropped_targets", cx) {
                0 => global.keep_dropped_targets,
                own => own,
            },
            name_scheme,
            escaping_scheme,
            extra_scrape_metrics: s
                .bool("extra_scrape_metrics", cx)
                .unwrap_or(global.extra_scrape_metrics),
            http: HttpClientConfig::read(&mut s, true, cx),
            discovery: Discovery::read(&mut s, relabel_configs.is_empty(), cx),
            relabel_configs,
            metric_relabel_configs,
        };
        ignore_keys(&mut s, cx);
        s.finish(cx);
        config
    }

    pub(crate) fn set_directory(&mut self, dir: &Path) {
        join_dir(dir, &mut self.scrape_failure_log_file);
        self.discovery.set_directory(dir);
        self.http.set_directory(dir);
    }

    pub(crate) fn yaml(&self) -> Yaml {
        let mut fields = Fields::default();
        fields.put("job_name", Yaml::Text(self.job_name.clone()));
        fields.flag("honor_labels", self.honor_labels);
        fields.raw("honor_timestamps", self.honor_timestamps);
        fields.raw("track_timestamps_staleness", self.track_timestamps_staleness);
        if let Some(params) = text_lists(&self.params) {
            fields.put("params", params);
        }
        fields.raw("scrape_interval", format_duration(self.scrape_interval_ms));
        fields.raw("scrape_timeout", format_duration(self.scrape_timeout_ms));
        put_protocols(&mut fields, &self.scrape_protocols);
        if let Some(protocol) = self.fallback_scrape_protocol {
            fields.raw("fallback_scrape_protocol", protocol);
        }
        fields.raw("scrape_native_histograms", self.scrape_native_histograms);
        fields.raw("always_scrape_classic_histograms", self.always_scrape_classic_histograms);
        fields.raw("convert_classic_histograms_to_nhcb", self.convert_classic_histograms_to_nhcb);
        fields.text("scrape_failure_log_file", &self.scrape_failure_log_file);
        fields.text("metrics_path", &self.metrics_path);
        fields.raw("scheme", self.scheme);
        fields.raw("enable_compression", self.enable_compression);
        self.limits.put_fields(&mut fields);
        fields.number("native_histogram_bucket_limit", self.native_histogram_bucket_limit);
        if self.native_histogram_min_bucket_factor != 0.0 {
            let factor = self.native_histogram_min_bucket_factor;
            fields.raw("native_histogram_min_bucket_factor", factor);
        }
        fields.number("keep_dropped_targets", self.keep_dropped_targets);
        fields.raw("metric_name_validation_scheme", self.name_scheme.as_str());
        fields.raw("metric_name_escaping_scheme", self.escaping_scheme);
        fields.raw("extra_scrape_metrics", self.extra_scrape_metrics);
        self.http.put_fields(&mut fields);
        relabel::put_rules(&mut fields, "relabel_configs", &self.relabel_configs);
        relabel::put_rules(&mut fields, "metric_relabel_configs", &self.metric_relabel_configs);
        self.discovery.put_fields(&mut fields);
        Yaml::Map(fields)
    }
}

/// Interval and timeout; 0 counts as not written, as in Prometheus.
fn read_times(
    s: &mut Section<'_>,
    job: &str,
    global: &GlobalConfig,
    cx: &mut Findings,
) -> (i64, i64) {
    let interval_ms = s.duration_ms("scrape_interval", cx).filter(|ms| *ms != 0);
    let interval_ms = interval_ms.unwrap_or(global.scrape_interval_ms);
    let timeout_ms = s.duration_ms("scrape_timeout", cx).filter(|ms| *ms != 0);
    if timeout_ms.is_some_and(|timeout_ms| timeout_ms > interval_ms) {
        let job = go_quote(job);
        let message = "scrape timeout greater than scrape interval for scrape config with job name";
        s.fault_at(cx, "scrape_timeout", format!("{message} {job}"));
    }
    (interval_ms, timeout_ms.unwrap_or(global.scrape_timeout_ms.min(interval_ms)))
}

/// Which names are valid and how the others are escaped. A job that only says `legacy` wants
/// underscores.
fn read_names(
    s: &mut Section<'_>,
    global: &GlobalConfig,
    cx: &mut Findings,
) -> (NameScheme, EscapingScheme) {
    let by_names = |scheme: NameScheme| match scheme {
        NameScheme::Utf8 => EscapingScheme::AllowUtf8,
        NameScheme::Legacy => EscapingScheme::Underscores,
    };
    let own = read_name_scheme(s, cx);
    let names = own.unwrap_or(global.name_scheme);
    let escaping = read_escaping(s, "scrape config", cx).unwrap_or(match own {
        Some(names) => by_names(names),
        None => global.escaping_scheme.unwrap_or_else(|| by_names(names)),
    });
    if escaping == EscapingScheme::AllowUtf8 && names == NameScheme::Legacy {
        let message = "utf8 metric names requested but validation scheme is not set to UTF8";
        s.fault_at(cx, "metric_name_escaping_scheme", message);
    }
    (names, escaping)
}

fn read_protocols(
    s: &mut Section<'_>,
    native: bool,
    global: &GlobalConfig,
    cx: &mut Findings,
) -> Vec<ScrapeProtocol> {
    match (read_list(s, cx), &global.scrape_protocols) {
        (Some(own), _) => own,
        (None, Some(global)) => global.clone(),
        (None, None) if native => ScrapeProtocol::PROTO_FIRST.to_vec(),
        (None, None) => ScrapeProtocol::DEFAULT.to_vec(),
    }
}

fn read_scheme(s: &mut Section<'_>, cx: &mut Findings) -> UrlScheme {
    let value = s.given("scheme");
    let scheme = value.and_then(|value| {
        value.parse(cx, "string", |scheme| match scheme {
            "http" => Ok(UrlScheme::Http),
            "https" => Ok(UrlScheme::Https),
            _ => Err(format!("invalid scheme: {}", go_quote(scheme))),
        })
    });
    scheme.unwrap_or_default()
}

fn read_params(s: &mut Section<'_>, cx: &mut Findings) -> BTreeMap<String, Vec<String>> {
    let Some(params) = s.take("params") else { return BTreeMap::new() };
    let entries = params.entries(cx, "url.Values");
    entries.into_iter().map(|(name, values)| (name, values.strings(cx))).collect()
}

/// The keys that Pando knows and does not act on.
fn ignore_keys(s: &mut Section<'_>, cx: &mut Findings) {
    if let Some(value) = s.given("scrape_failure_log_file") {
        value.ignore(cx, "failed scrapes are not logged to a file");
    }
    for key in ["native_histogram_bucket_limit", "native_histogram_min_bucket_factor"] {
        if let Some(value) = s.given(key) {
            value.ignore(cx, "native histograms are not scraped");
        }
    }
    ignore_histogram_keys(s, cx);
}
