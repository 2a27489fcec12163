//! The HTTP client settings that stand, without a key of their own, in scrape configs and in
//! http_sd.

use std::collections::BTreeMap;
use std::path::Path;

use crate::oauth2::OAuth2;
use crate::render::{Fields, Yaml, texts};
use crate::secret::{HIDDEN, RedactedUrl, Secret};
use crate::section::{Findings, Section, Value};
use crate::tls::TlsConfig;

/// Headers that belong to the connection or to other keys, in canonical spelling.
const RESERVED_HEADERS: [&str; 18] = [
    "Authorization",
    "Host",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "User-Agent",
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Www-Authenticate",
    "Accept-Encoding",
    "X-Prometheus-Remote-Write-Version",
    "X-Prometheus-Remote-Read-Version",
    "X-Prometheus-Scrape-Timeout-Seconds",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];

/// Joins a relative path with the directory of the file that it stands in.
pub(crate) fn join_dir(dir: &Path, path: &mut String) {
    if !path.is_empty() && Path::new(path.as_str()).is_relative() {
        *path = dir.join(path.as_str()).to_string_lossy().into_owned();
    }
}

/// `basic_auth`. Of each pair of a text and a file at most one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasicAuth {
    /// The user.
    pub username: String,
    /// File with the user.
    pub username_file: String,
    /// The password.
    pub password: Secret,
    /// File with the password.
    pub password_file: String,
}

/// `authorization`, and what the older `bearer_token` and `bearer_token_file` become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// What stands before the credentials. Default `Bearer`; never `basic`.
    pub kind: String,
    /// The credentials.
    pub credentials: Secret,
    /// File with them.
    pub credentials_file: String,
}

/// How to reach a server through others. At most one of the URL and the environment is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// The proxy; empty: none.
    pub proxy_url: RedactedUrl,
    /// Comma-separated hosts and networks that are reached directly.
    pub no_proxy: String,
    /// Take the proxy from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    pub proxy_from_environment: bool,
    /// Headers for the proxy at `proxy_url`. Not acted on with `proxy_from_environment`.
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
}

/// The values of one header of `http_headers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpHeader {
    /// Values to be seen.
    pub values: Vec<String>,
    /// Values to be hidden.
    pub secrets: Vec<Secret>,
    /// Files with values.
    pub files: Vec<String>,
}

/// How to speak HTTP with a server.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpClientConfig {
    /// User and password. Excludes `authorization` and `oauth2`.
    pub basic_auth: Option<BasicAuth>,
    /// An `Authorization` header. Excludes the other two.
    pub authorization: Option<Authorization>,
    /// A token from a token endpoint. Excludes the other two. Not acted on.
    pub oauth2: Option<OAuth2>,
    /// TLS.
    pub tls_config: TlsConfig,
    /// Whether to follow redirects. Default true. Credentials are not sent on to another host.
    pub follow_redirects: bool,
    /// Whether to offer HTTP/2. Default true.
    pub enable_http2: bool,
    /// Proxies.
    pub proxy: ProxyConfig,
    /// More headers, by name.
    pub http_headers: BTreeMap<String, HttpHeader>,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        HttpClientConfig {
            basic_auth: None,
            authorization: None,
            oauth2: None,
            tls_config: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy: ProxyConfig::default(),
            http_headers: BTreeMap::new(),
        }
    }
}

impl HttpClientConfig {
    /// Reads the keys of `s` that belong here. `enable_http2` is the default of that key.
    pub(crate) fn read(s: &mut Section<'_>, enable_http2: bool, cx: &mut Findings) -> Self {
        let basic_auth = s.given("basic_auth").map(|value| BasicAuth::read(&value, cx));
        let mut authorization =
            s.given("authorization").map(|value| Authorization::read(&value, cx));
        let oauth2 = s.given("oauth2");
        let (token, token_file) = (s.secret("bearer_token", cx), s.text("bearer_token_file", cx));
        let has_token = !token.is_empty() || !token_file.is_empty();
        if !token.is_empty() && !token_file.is_empty() {
            s.fault(cx, "at most one of bearer_token & bearer_token_file must be configured");
        }
        if (basic_auth.is_some() || oauth2.is_some()) && has_token {
            s.fault(
                cx,
                "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be \
                 configured",
            );
        }
        if authorization.is_some() && has_token {
            let message = "authorization is not compatible with bearer_token & bearer_token_file";
            s.fault(cx, message);
        }
        let ways = [basic_auth.is_some(), authorization.is_some(), oauth2.is_some()];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            s.fault(cx, "at most one of basic_auth, oauth2 & authorization must be configured");
        }
        if authorization.is_none() && has_token {
            authorization = Some(Authorization {
                kind: "Bearer".to_string(),
                credentials: token,
                credentials_file: token_file,
            });
        }
        let oauth2 = oauth2.map(|value| {
            value.ignore(cx, "oauth2 is not supported: requests are sent without a token");
            OAuth2::read(&value, cx)
        });
        let tls_config = s.take("tls_config");
        HttpClientConfig {
            basic_auth,
            authorization,
            oauth2,
            tls_config: tls_config.map(|tls| TlsConfig::read(&tls, cx)).unwrap_or_default(),
            follow_redirects: s.bool("follow_redirects", cx).unwrap_or(true),
            enable_http2: s.bool("enable_http2", cx).unwrap_or(enable_http2),
            proxy: ProxyConfig::read(s, cx),
            http_headers: read_headers(s, cx),
        }
    }

    pub(crate) fn set_directory(&mut self, dir: &Path) {
        if let Some(auth) = &mut self.basic_auth {
            join_dir(dir, &mut auth.username_file);
            join_dir(dir, &mut auth.password_file);
        }
        if let Some(auth) = &mut self.authorization {
            join_dir(dir, &mut auth.credentials_file);
        }
        if let Some(oauth2) = &mut self.oauth2 {
            oauth2.set_directory(dir);
        }
        self.tls_config.set_directory(dir);
        let files = self.http_headers.values_mut().flat_map(|header| &mut header.files);
        files.for_each(|file| join_dir(dir, file));
    }

    pub(crate) fn put_fields(&self, fields: &mut Fields) {
        if let Some(auth) = &self.basic_auth {
            let mut inner = Fields::default();
            inner.text("username", &auth.username);
            inner.text("username_file", &auth.username_file);
            inner.text("password", auth.password.shown());
            inner.text("password_file", &auth.password_file);
            fields.put("basic_auth", Yaml::Map(inner));
        }
        if let Some(auth) = &self.authorization {
            let mut inner = Fields::default();
            inner.text("type", &auth.kind);
            inner.text("credentials", auth.credentials.shown());
            inner.text("credentials_file", &auth.credentials_file);
            fields.put("authorization", Yaml::Map(inner));
        }
        if let Some(oauth2) = &self.oauth2 {
            fields.put("oauth2", Yaml::Map(oauth2.fields()));
        }
        let tls = self.tls_config.fields();
        if !tls.0.is_empty() {
            fields.put("tls_config", Yaml::Map(tls));
        }
        fields.raw("follow_redirects", self.follow_redirects);
        fields.raw("enable_http2", self.enable_http2);
        self.proxy.put_fields(fields);
        let mut headers = Fields::default();
        for (name, header) in &self.http_headers {
            let mut inner = Fields::default();
            inner.texts("values", &header.values);
            inner.list("secrets", hidden(&header.secrets));
            inner.texts("files", &header.files);
            headers.put(name, Yaml::Map(inner));
        }
        if !headers.0.is_empty() {
            fields.put("http_headers", Yaml::Map(headers));
        }
    }
}

fn hidden(secrets: &[Secret]) -> Vec<Yaml> {
    secrets.iter().map(|_| Yaml::Text(HIDDEN.to_string())).collect()
}

fn refuse_references(s: &mut Section<'_>, keys: &[&str], cx: &mut Findings) {
    for key in keys {
        if let Some(reference) = s.given(key) {
            reference.fault(cx, "no secret manager is configured");
        }
    }
}

impl BasicAuth {
    fn read(value: &Value<'_>, cx: &mut Findings) -> Self {
        let mut s = value.section(cx, "config.BasicAuth");
        let auth = BasicAuth {
            username: s.text("username", cx),
            username_file: s.text("username_file", cx),
            password: s.secret("password", cx),
            password_file: s.text("password_file", cx),
        };
        refuse_references(&mut s, &["username_ref", "password_ref"], cx);
        if !auth.username.is_empty() && !auth.username_file.is_empty() {
            s.fault(
                cx,
                "at most one of basic_auth username, username_file & username_ref must be \
                 configured",
            );
        }
        if !auth.password.is_empty() && !auth.password_file.is_empty() {
            s.fault(
                cx,
                "at most one of basic_auth password, password_file & password_ref must be \
                 configured",
            );
        }
        s.finish(cx);
        auth
    }
}

impl Authorization {
    fn read(value: &Value<'_>, cx: &mut Findings) -> Self {
        let mut s = value.section(cx, "config.Authorization");
        let kind = s.text("type", cx).trim().to_string();
        let auth = Authorization {
            kind: if kind.is_empty() { "Bearer".to_string() } else { kind },
            credentials: s.secret("credentials", cx),
            credentials_file: s.text("credentials_file", cx),
        };
        refuse_references(&mut s, &["credentials_ref"], cx);
        if !auth.credentials.is_empty() && !auth.credentials_file.is_empty() {
            let message =
                "at most one of authorization credentials & credentials_file must be configured";
            s.fault(cx, message);
        }
        if auth.kind.eq_ignore_ascii_case("basic") {
            let message =
                "authorization type cannot be set to \"basic\", use \"basic_auth\" instead";
            s.fault_at(cx, "type", message);
        }
        s.finish(cx);
        auth
    }
}

impl ProxyConfig {
    pub(crate) fn read(s: &mut Section<'_>, cx: &mut Findings) -> Self {
        let proxy_url = s.take("proxy_url").and_then(|url| url.url(cx)).unwrap_or_default();
        let mut proxy_connect_header = BTreeMap::new();
        if let Some(headers) = s.take("proxy_connect_header") {
            for (name, value) in headers.entries(cx, "config.ProxyHeader") {
                let values = value.items(cx, "[]config.Secret");
                let secrets = values.iter().map(|v| v.secret(cx).unwrap_or_default()).collect();
                proxy_connect_header.insert(name, secrets);
            }
        }
        let proxy = ProxyConfig {
            proxy_url,
            no_proxy: s.text("no_proxy", cx),
            proxy_from_environment: s.bool("proxy_from_environment", cx).unwrap_or(false),
            proxy_connect_header,
        };
        let (has_url, from_environment) =
            (!proxy.proxy_url.is_empty(), proxy.proxy_from_environment);
        if !proxy.proxy_connect_header.is_empty() && !has_url && !from_environment {
            s.fault_at(
                cx,
                "proxy_connect_header",
                "if proxy_connect_header is configured, proxy_url or proxy_from_environment must \
                 also be configured",
            );
        }
        if from_environment && has_url {
            let message =
                "if proxy_from_environment is configured, proxy_url must not be configured";
            s.fault_at(cx, "proxy_url", message);
        }
        if from_environment && !proxy.no_proxy.is_empty() {
            let message =
                "if proxy_from_environment is configured, no_proxy must not be configured";
            s.fault_at(cx, "no_proxy", message);
        } else if !has_url && !proxy.no_proxy.is_empty() {
            let message = "if no_proxy is configured, proxy_url must also be configured";
            s.fault_at(cx, "no_proxy", message);
        }
        if from_environment && let Some(value) = s.given("proxy_connect_header") {
            value.ignore(cx, "proxies of the environment are sent no headers: use proxy_url");
        }
        proxy
    }

    pub(crate) fn put_fields(&self, fields: &mut Fields) {
        fields.text("proxy_url", &self.proxy_url.to_string());
        fields.text("no_proxy", &self.no_proxy);
        fields.flag("proxy_from_environment", self.proxy_from_environment);
        let header =
            |(name, values): (&String, &Vec<Secret>)| (name.clone(), Yaml::List(hidden(values)));
        let headers: Vec<_> = self.proxy_connect_header.iter().map(header).collect();
        if !headers.is_empty() {
            fields.put("proxy_connect_header", Yaml::Map(Fields(headers)));
        }
    }
}

fn read_headers(s: &mut Section<'_>, cx: &mut Findings) -> BTreeMap<String, HttpHeader> {
    let mut headers = BTreeMap::new();
    let Some(value) = s.take("http_headers") else { return headers };
    for (name, value) in value.entries(cx, "config.Headers") {
        let mut inner = value.section(cx, "config.Header");
        let secrets = inner.items("secrets", cx);
        let header = HttpHeader {
            values: inner.strings("values", cx),
            secrets: secrets.iter().map(|v| v.secret(cx).unwrap_or_default()).collect(),
            files: inner.strings("files", cx),
        };
        inner.finish(cx);
        if let Some(reserved) = RESERVED_HEADERS.iter().find(|r| r.eq_ignore_ascii_case(&name)) {
            let message = format!("setting header \"{reserved}\" is not allowed");
            cx.fault(value.key_place, &value.path, message);
        }
        headers.insert(name, header);
    }
    headers
}

/// Whether a header of remote write, remote read or tracing may not be set.
pub(crate) fn is_reserved_remote_header(name: &str) -> bool {
    let scrape_only = name.eq_ignore_ascii_case("X-Prometheus-Scrape-Timeout-Seconds");
    !scrape_only && RESERVED_HEADERS.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// A list of texts, for maps of lists.
pub(crate) fn text_lists(map: &BTreeMap<String, Vec<String>>) -> Option<Yaml> {
    let entries: Vec<_> = map.iter().map(|(key, values)| (key.clone(), texts(values))).collect();
    (!entries.is_empty()).then_some(Yaml::Map(Fields(entries)))
}
