//! Where targets come from: the four kinds of discovery that Pando does, and what is kept of all
//! others.

use std::collections::BTreeMap;
use std::path::Path;

use pando_model::duration::format_duration;

use crate::http_client::{HttpClientConfig, join_dir};
use crate::inert;
use crate::inert_discovery;
use crate::render::{Fields, Yaml};
use crate::secret::RedactedUrl;
use crate::section::{Findings, Section, Value};
use crate::target_group::TargetGroup;

/// `file_sd_configs`: files with target groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSd {
    /// Paths; the last component may hold one `*`. They end with `.json`, `.yml` or `.yaml`.
    pub files: Vec<String>,
    /// Time between two readings that no change has caused, in ms. Default 5 min.
    pub refresh_interval_ms: i64,
}

/// `http_sd_configs`: a URL that answers with target groups in JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSd {
    /// The URL, `http` or `https`.
    pub url: RedactedUrl,
    /// Time between two requests, and the longest that one may take, in ms. Default 1 min.
    pub refresh_interval_ms: i64,
    /// How to ask.
    pub http: HttpClientConfig,
}

/// The type of a DNS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsRecord {
    /// `SRV`: host and port.
    Srv,
    /// `A`: IPv4 addresses.
    A,
    /// `AAAA`: IPv6 addresses.
    Aaaa,
    /// `MX`: mail servers.
    Mx,
    /// `NS`: name servers.
    Ns,
}

impl DnsRecord {
    /// The name in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            DnsRecord::Srv => "SRV",
            DnsRecord::A => "A",
            DnsRecord::Aaaa => "AAAA",
            DnsRecord::Mx => "MX",
            DnsRecord::Ns => "NS",
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        use DnsRecord::{A, Aaaa, Mx, Ns, Srv};
        let mut all = [Srv, A, Aaaa, Mx, Ns].into_iter();
        all.find(|record| record.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| format!("invalid DNS-SD records type {name}"))
    }
}

/// `dns_sd_configs`: names whose records are targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSd {
    /// The names to look up.
    pub names: Vec<String>,
    /// What to look up. Default SRV.
    pub record: DnsRecord,
    /// The targets' port; not 0 unless the record is SRV, which has one itself.
    pub port: u16,
    /// Time between two lookups, in ms. Default 30 s.
    pub refresh_interval_ms: i64,
}

/// A kind of discovery that Pando does not do. It is listed in `Parsed::ignored`, and shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OtherSd {
    /// The key, such as `kubernetes_sd_configs`.
    key: &'static str,
    /// What its sections show.
    shown: Vec<Fields>,
}

/// All discovery of one scrape config.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Discovery {
    pub(crate) static_configs: Vec<TargetGroup>,
    pub(crate) file: Vec<FileSd>,
    pub(crate) http: Vec<HttpSd>,
    pub(crate) dns: Vec<DnsSd>,
    pub(crate) other: Vec<OtherSd>,
}

impl Discovery {
    /// Reads the keys of `s` that belong here. With `check_targets` a static target must be no URL.
    pub(crate) fn read(s: &mut Section<'_>, check_targets: bool, cx: &mut Findings) -> Self {
        let mut discovery = Discovery::default();
        for item in items(s, "static_configs", cx) {
            let group = TargetGroup::read(&item, cx);
            let urls = group.targets.iter().filter(|_| check_targets).filter(|t| t.contains('/'));
            for url in urls {
                let url = pando_model::number::go_quote(url);
                item.fault(cx, format!("{url} is not a valid hostname"));
            }
            discovery.static_configs.push(group);
        }
        let files = items(s, "file_sd_configs", cx);
        discovery.file = files.iter().map(|item| FileSd::read(item, cx)).collect();
        let urls = items(s, "http_sd_configs", cx);
        discovery.http = urls.iter().map(|item| HttpSd::read(item, cx)).collect();
        let names = items(s, "dns_sd_configs", cx);
        discovery.dns = names.iter().map(|item| DnsSd::read(item, cx)).collect();
        for kind in inert_discovery::kinds() {
            if let Some(value) = s.given(kind.key) {
                let name = kind.key.trim_end_matches("_sd_configs");
                let reason = format!("{name} discovery is not supported, its targets are missing");
                value.ignore(cx, format!("{reason}; see file_sd_configs and http_sd_configs"));
                let sections = items(s, kind.key, cx);
                let shown = sections.iter().map(|item| kind.read(item, cx)).collect();
                discovery.other.push(OtherSd { key: kind.key, shown });
            }
        }
        discovery
    }

    pub(crate) fn set_directory(&mut self, dir: &Path) {
        let files = self.file.iter_mut().flat_map(|sd| &mut sd.files);
        files.for_each(|file| join_dir(dir, file));
        self.http.iter_mut().for_each(|sd| sd.http.set_directory(dir));
        let others = self.other.iter_mut().flat_map(|sd| &mut sd.shown);
        others.for_each(|fields| inert::set_directory(fields, dir));
    }

    pub(crate) fn put_fields(&self, fields: &mut Fields) {
        let mut kinds: BTreeMap<&str, Vec<Yaml>> = BTreeMap::new();
        kinds.insert("dns_sd_configs", self.dns.iter().map(DnsSd::yaml).collect());
        kinds.insert("file_sd_configs", self.file.iter().map(FileSd::yaml).collect());
        kinds.insert("http_sd_configs", self.http.iter().map(HttpSd::yaml).collect());
        for other in &self.other {
            kinds.insert(other.key, other.shown.iter().cloned().map(Yaml::Map).collect());
        }
        let groups = self.static_configs.iter().map(TargetGroup::yaml).collect();
        kinds.insert("static_configs", groups);
        kinds.into_iter().for_each(|(key, items)| fields.list(key, items));
    }
}

/// The items of the list `key`, none of which may be empty.
fn items<'n>(s: &mut Section<'n>, key: &str, cx: &mut Findings) -> Vec<Value<'n>> {
    let mut items = s.items(key, cx);
    items.retain(|item| {
        if item.node.is_null() {
            item.fault(cx, format!("empty or null section in {key}"));
        }
        !item.node.is_null()
    });
    items
}

fn refresh_ms(s: &mut Section<'_>, default_ms: i64, cx: &mut Findings) -> i64 {
    let ms = s.duration_ms("refresh_interval", cx).unwrap_or(default_ms);
    if ms == 0 {
        s.fault_at(cx, "refresh_interval", "refresh_interval must be positive");
    }
    ms
}

impl FileSd {
    fn read(value: &Value<'_>, cx: &mut Findings) -> Self {
        let mut s = value.section(cx, "file.SDConfig");
        let mut files = Vec::new();
        for item in s.items("files", cx) {
            let Some(file) = item.string(cx) else { continue };
            if !is_file_pattern(&file) {
                let shown = pando_model::number::go_quote(&file);
                item.fault(cx, format!("path name {shown} is not valid for file discovery"));
            }
            files.push(file);
        }
        if files.is_empty() {
            let message = "file service discovery config must contain at least one path name";
            s.fault(cx, message);
        }
        let refresh_interval_ms = refresh_ms(&mut s, 300_000, cx);
        s.finish(cx);
        FileSd { files, refresh_interval_ms }
    }

    fn yaml(&self) -> Yaml {
        let mut fields = Fields::default();
        fields.texts("files", &self.files);
        fields.raw("refresh_interval", format_duration(self.refresh_interval_ms));
        Yaml::Map(fields)
    }
}

/// A path with at most one `*`, in its last component, that ends in a format that we read.
fn is_file_pattern(path: &str) -> bool {
    let Some((stem, extension)) = path.rsplit_once('.') else { return false };
    let known = ["json", "yml", "yaml", "JSON", "YML", "YAML"].contains(&extension);
    let after_star = stem.split_once('*').map_or("", |(_, after)| after);
    known && !after_star.contains('/') && (stem.contains('*') || !stem.is_empty())
}

impl HttpSd {
    fn read(value: &Value<'_>, cx: &mut Findings) -> Self {
        let mut s = value.section(cx, "http.SDConfig");
        let url = s.take("url").and_then(|url| url.url(cx)).unwrap_or_default();
        if let Err(message) = check_url(url.expose()) {
            s.fault_at(cx, "url", message);
        }
        let http = HttpClientConfig::read(&mut s, true, cx);
        let refresh_interval_ms = refresh_ms(&mut s, 60_000, cx);
        s.finish(cx);
        HttpSd { url, refresh_interval_ms, http }
    }

    fn yaml(&self) -> Yaml {
        let mut fields = Fields::default();
        self.http.put_fields(&mut fields);
        fields.raw("refresh_interval", format_duration(self.refresh_interval_ms));
        fields.text("url", &self.url.to_string());
        Yaml::Map(fields)
    }
}

/// Checks an absolute `http` or `https` URL.
pub(crate) fn check_url(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("URL is missing".to_string());
    }
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    if !["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return Err("URL scheme must be 'http' or 'https'".to_string());
    }
    // `http:///path` has no host, although the URL standard would take the path for it.
    if text[scheme.len()..].starts_with(":///") || !text[scheme.len()..].starts_with("://") {
        return Err("host is missing in URL".to_string());
    }
    match url::Url::parse(text) {
        Ok(_) => Ok(()),
        Err(url::ParseError::EmptyHost) => Err("host is missing in URL".to_string()),
        Err(error) => Err(format!("invalid URL: {error}")),
    }
}

impl DnsSd {
    fn read(value: &Value<'_>, cx: &mut Findings) -> Self {
        let mut s = value.section(cx, "dns.SDConfig");
        let names = s.strings("names", cx);
        if names.is_empty() {
            s.fault(cx, "DNS-SD config must contain at least one SRV record name");
        }
        let record = s.given("type");
        let record = record.and_then(|value| value.parse(cx, "string", DnsRecord::parse));
        let record = record.unwrap_or(DnsRecord::Srv);
        let port = s.take("port").and_then(|value| value.int(cx)).unwrap_or(0);
        if port == 0 && record != DnsRecord::Srv {
            let message = "a port is required in DNS-SD configs for all record types except SRV";
            s.fault(cx, message);
        }
        let port = u16::try_from(port).unwrap_or_else(|_| {
            s.fault_at(cx, "port", format!("port must be in the range [0, 65535], got {port}"));
            0
        });
        let refresh_interval_ms = refresh_ms(&mut s, 30_000, cx);
        s.finish(cx);
        DnsSd { names, record, port, refresh_interval_ms }
    }

    fn yaml(&self) -> Yaml {
        let mut fields = Fields::default();
        fields.texts("names", &self.names);
        fields.raw("refresh_interval", format_duration(self.refresh_interval_ms));
        fields.raw("type", self.record.as_str());
        fields.raw("port", self.port);
        Yaml::Map(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_patterns() {
        for good in ["a.json", "a/b/*.yml", "x*.yaml", "a.b.JSON", "*.json"] {
            assert!(is_file_pattern(good), "{good}");
        }
        for bad in ["a", "a.txt", "*/a.json", "a*/b*.json", "a.json.tmp", ".json", "a.Json"] {
            assert!(!is_file_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn urls() {
        for good in ["http://h", "https://u:p@h:1/x?y", "HTTP://h/"] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for (bad, message) in [
            ("", "URL is missing"),
            ("h:80/x", "URL scheme must be 'http' or 'https'"),
            ("ftp://h", "URL scheme must be 'http' or 'https'"),
            ("http:///x", "host is missing in URL"),
            ("http://", "host is missing in URL"),
            ("http:x", "host is missing in URL"),
            ("http://h:port", "invalid URL: invalid port number"),
        ] {
            assert_eq!(check_url(bad), Err(message.to_string()), "{bad}");
        }
    }
}
