//! Whole files: what they come to, and everything that can be wrong with them.

use std::path::Path;

use pando_exposition::{EscapingScheme, ScrapeProtocol};
use pando_model::relabel::{NameScheme, RelabelAction};

use crate::*;

fn parse(text: &str) -> Parsed {
    Config::parse(text, "p.yml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// The faults of `text`, one a line, without the file's name.
fn faults(text: &str) -> Vec<String> {
    let errors = Config::parse(text, "p.yml").expect_err(text);
    errors.to_string().lines().map(|line| line.trim_start_matches("p.yml:").to_string()).collect()
}

/// Checks that `text` has exactly one fault, and that it is `fault`.
fn one_fault(text: &str, fault: &str) {
    assert_eq!(faults(text), [fault], "{text}");
}

/// One scrape config with these lines, each already indented by four.
fn job(lines: &str) -> String {
    format!("scrape_configs:\n  - job_name: j\n{lines}")
}

#[test]
fn an_empty_file_is_prometheus_defaults() {
    for text in ["", "# nothing\n", "global:\n", "scrape_configs:\n"] {
        let parsed = parse(text);
        assert_eq!(parsed.config, Config::default(), "{text}");
        assert!(parsed.ignored.is_empty());
    }
    let global = Config::default().global;
    assert_eq!((global.scrape_interval_ms, global.scrape_timeout_ms), (60_000, 10_000));
    assert_eq!(global.name_scheme, NameScheme::Utf8);
}

#[test]
fn a_scrape_config_is_filled_in_from_prometheus_defaults() {
    let parsed = parse("scrape_configs: [{job_name: a}]");
    let job = &parsed.config.scrape_configs[0];
    assert_eq!(job.job_name, "a");
    assert_eq!((job.scrape_interval_ms, job.scrape_timeout_ms), (60_000, 10_000));
    assert_eq!((job.metrics_path.as_str(), job.scheme), ("/metrics", UrlScheme::Http));
    assert!(job.honor_timestamps && job.enable_compression && !job.honor_labels);
    assert!(job.http.follow_redirects && job.http.enable_http2);
    assert_eq!(job.scrape_protocols, ScrapeProtocol::DEFAULT);
    assert_eq!(job.escaping_scheme, EscapingScheme::AllowUtf8);
    assert_eq!(job.limits, ScrapeLimits::default());
}

#[test]
fn a_scrape_config_inherits_from_global_and_overrides_it() {
    let parsed = parse(
        "global:\n  scrape_interval: 5s\n  body_size_limit: 10MB\n  sample_limit: 7\n  \
         label_limit: 8\n  scrape_protocols: [PrometheusText0.0.4]\n  extra_scrape_metrics: yes\n\
         scrape_configs:\n\
         - job_name: inherits\n\
         - job_name: own\n  scrape_interval: 1h30m\n  scrape_timeout: 1m\n  sample_limit: 1_000\n  \
         body_size_limit: 1.5KiB\n  scrape_protocols: [OpenMetricsText1.0.0]\n  \
         fallback_scrape_protocol: PrometheusText0.0.4\n  extra_scrape_metrics: off\n  scheme: https\n\
         - job_name: long\n  scrape_interval: 5m\n",
    );
    let [inherits, own, long] = &parsed.config.scrape_configs[..] else { panic!() };
    // A timeout that is not written is the default, cut to the interval.
    assert_eq!((inherits.scrape_interval_ms, inherits.scrape_timeout_ms), (5_000, 5_000));
    assert_eq!((inherits.limits.samples, inherits.limits.labels), (7, 8));
    assert_eq!(inherits.limits.body_size_bytes, 10 << 20);
    assert_eq!(inherits.scrape_protocols, [ScrapeProtocol::PrometheusText0_0_4]);
    assert!(inherits.extra_scrape_metrics);
    assert_eq!((own.scrape_interval_ms, own.scrape_timeout_ms), (5_400_000, 60_000));
    assert_eq!(
        (own.limits.samples, own.limits.labels, own.limits.body_size_bytes),
        (1000, 8, 1536)
    );
    assert_eq!(own.scrape_protocols, [ScrapeProtocol::OpenMetricsText1_0_0]);
    assert_eq!(own.fallback_scrape_protocol, Some(ScrapeProtocol::PrometheusText0_0_4));
    assert!(!own.extra_scrape_metrics && own.scheme == UrlScheme::Https);
    assert_eq!((long.scrape_interval_ms, long.scrape_timeout_ms), (300_000, 5_000));
}

#[test]
fn legacy_names_ask_for_underscores() {
    let escaping = |text: &str| {
        let config = parse(text).config;
        (config.scrape_configs[0].name_scheme, config.scrape_configs[0].escaping_scheme)
    };
    let jobs = "scrape_configs:\n- job_name: a\n";
    let legacy = (NameScheme::Legacy, EscapingScheme::Underscores);
    let global = "global: {metric_name_validation_scheme: legacy}\n";
    assert_eq!(escaping(&format!("{global}{jobs}")), legacy);
    let own = format!("{jobs}  metric_name_validation_scheme: legacy\n");
    assert_eq!(escaping(&own), legacy);
    let dots = format!("{own}  metric_name_escaping_scheme: dots\n");
    assert_eq!(escaping(&dots), (NameScheme::Legacy, EscapingScheme::Dots));
    one_fault(
        &format!("{own}  metric_name_escaping_scheme: allow-utf-8\n"),
        "4:32: scrape_configs[0].metric_name_escaping_scheme: utf8 metric names requested but \
         validation scheme is not set to UTF8",
    );
}

#[test]
fn discovery_is_typed_and_defaulted() {
    let parsed = parse(&job(concat!(
        "    static_configs:\n    - targets: [a:1, b:2]\n      labels: {env: x, n: 1.10}\n",
        "    file_sd_configs:\n    - files: [t/*.json, /abs/u.yml]\n",
        "    http_sd_configs:\n    - url: http://u:pw@sd/x\n      bearer_token: tok\n",
        "    dns_sd_configs:\n    - names: [a.b]\n      type: a\n      port: 9100\n",
        "      refresh_interval: 1m\n    - names: [_x._tcp.b]\n",
    )));
    let mut config = parsed.config;
    config.set_directory(Path::new("/etc/p"));
    let job = &config.scrape_configs[0];
    assert_eq!(job.static_configs()[0].targets, ["a:1", "b:2"]);
    assert_eq!(job.static_configs()[0].labels["n"], "1.10");
    let file = &job.file_sd_configs()[0];
    assert_eq!(file.files, ["/etc/p/t/*.json", "/abs/u.yml"]);
    assert_eq!(file.refresh_interval_ms, 300_000);
    let http = &job.http_sd_configs()[0];
    assert_eq!((http.url.expose(), http.refresh_interval_ms), ("http://u:pw@sd/x", 60_000));
    assert_eq!(http.http.authorization.as_ref().unwrap().credentials.expose(), "tok");
    let [a, srv] = job.dns_sd_configs() else { panic!() };
    assert_eq!((a.record, a.port, a.refresh_interval_ms), (DnsRecord::A, 9100, 60_000));
    assert_eq!((srv.record, srv.port, srv.refresh_interval_ms), (DnsRecord::Srv, 0, 30_000));
    assert!(parsed.ignored.is_empty());
}

#[test]
fn http_settings_are_read_and_their_paths_joined() {
    let parsed = parse(&job(concat!(
        "    basic_auth: {username: u, password_file: pw}\n",
        "    tls_config: {ca_file: ca.pem, cert: c, key_file: /k, server_name: s,\n",
        "                 insecure_skip_verify: true, min_version: TLS12}\n",
        "    http_headers:\n      X-A: {values: [a, b], secrets: [s], files: [f]}\n",
        "    follow_redirects: false\n    enable_http2: no\n",
        "    params: {module: [m1, m2]}\n",
    )));
    let mut config = parsed.config;
    config.set_directory(Path::new("/d"));
    let job = &config.scrape_configs[0];
    let auth = job.http.basic_auth.as_ref().unwrap();
    assert_eq!((auth.username.as_str(), auth.password_file.as_str()), ("u", "/d/pw"));
    let tls = &job.http.tls_config;
    assert_eq!((tls.ca_file.as_str(), tls.key_file.as_str()), ("/d/ca.pem", "/k"));
    assert!(tls.insecure_skip_verify && tls.min_version == Some(TlsVersion::Tls12));
    let header = &job.http.http_headers["X-A"];
    assert_eq!((header.values.len(), header.files.as_slice()), (2, &["/d/f".to_string()][..]));
    assert_eq!(header.secrets[0].expose(), "s");
    assert!(!job.http.follow_redirects && !job.http.enable_http2);
    assert_eq!(job.params["module"], ["m1", "m2"]);
}

#[test]
fn relabelling_rules_are_compiled() {
    let parsed = parse(&job(concat!(
        "    relabel_configs:\n    - source_labels: [a, b]\n      target_label: c\n",
        "    - {action: Keep, source_labels: [a], regex: x|y}\n",
        "    metric_relabel_configs:\n    - {action: labeldrop, regex: 'tmp_.*'}\n",
        "    - {source_labels: [a], regex: , target_label: d, replacement: }\n",
    )));
    let job = &parsed.config.scrape_configs[0];
    assert_eq!(job.relabel_configs[0].regex.as_str(), "(.*)");
    assert_eq!(job.relabel_configs[1].action, RelabelAction::Keep);
    assert!(job.relabel_configs[1].regex.is_match("y"));
    assert_eq!(job.metric_relabel_configs[1].regex.as_str(), "", "an empty key: an empty pattern");
}

#[test]
fn all_faults_are_reported_at_once_with_their_places() {
    let text = "global:
  scrape_interval: 5x
  scrape_timeout: 1m
  external_labels: {'': a}
  nonsense: 1
scrape_configs:
  - job_name: a
    scrape_interval: 10s
    scrape_timeout: 20s
    honor_labels: maybe
    sample_limit: -1
    body_size_limit: 10
    scheme: ftp
    scrape_protocols: [Text, PrometheusProto, PrometheusProto]
    relabel_configs:
      - {regex: '(', target_label: x}
      - action: kepp
      - action: hashmod
        target_label: x
        source_labels: [a]
    static_configs:
      - targets: {a: b}
    http_sd_configs:
      - url: ftp://x
      -
  - job_name: a
    basic_auth: {username: u, passwrd: p}
    bearer_token: t
  - scrape_interval: 1m
";
    let protocols = "supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto \
                     PrometheusText0.0.4 PrometheusText1.0.0]";
    let want = [
        "2:20: global.scrape_interval: unknown unit \"x\" in duration \"5x\"",
        "4:21: global.external_labels.: \"\" is not a valid label name",
        "5:3: global.nonsense: field nonsense not found in type config.GlobalConfig",
        "9:21: scrape_configs[0].scrape_timeout: scrape timeout greater than scrape interval for \
         scrape config with job name \"a\"",
        "10:19: scrape_configs[0].honor_labels: cannot unmarshal !!str `maybe` into bool",
        "11:19: scrape_configs[0].sample_limit: cannot unmarshal !!int `-1` into uint",
        "12:22: scrape_configs[0].body_size_limit: units: unknown unit  in 10",
        "13:13: scrape_configs[0].scheme: invalid scheme: \"ftp\"",
        &format!(
            "14:24: scrape_configs[0].scrape_protocols[0]: scrape_protocols: unknown scrape protocol \
             Text, {protocols}"
        ),
        "14:47: scrape_configs[0].scrape_protocols[2]: duplicated protocol in scrape_protocols, got \
         [Text PrometheusProto PrometheusProto]",
        "16:17: scrape_configs[0].relabel_configs[0].regex: error parsing regexp: missing closing ): \
         `(`",
        "17:17: scrape_configs[0].relabel_configs[1].action: unknown relabel action \"kepp\"",
        "18:9: scrape_configs[0].relabel_configs[2]: relabel configuration for hashmod requires \
         non-zero modulus",
        "22:18: scrape_configs[0].static_configs[0].targets: cannot unmarshal !!map into []string",
        "24:14: scrape_configs[0].http_sd_configs[0].url: URL scheme must be 'http' or 'https'",
        "25:8: scrape_configs[0].http_sd_configs[1]: empty or null section in http_sd_configs",
        "26:5: scrape_configs[1]: at most one of basic_auth, oauth2, bearer_token & \
         bearer_token_file must be configured",
        "26:5: scrape_configs[1]: found multiple scrape configs with job name \"a\"",
        "27:31: scrape_configs[1].basic_auth.passwrd: field passwrd not found in type \
         config.BasicAuth",
        "29:5: scrape_configs[2].job_name: job_name is empty",
    ];
    let got = faults(text);
    for (got, want) in got.iter().zip(want) {
        assert_eq!(got, want);
    }
    assert_eq!(got.len(), want.len(), "{got:#?}");
}

#[test]
fn many_faults_are_counted_not_shown() {
    let jobs: String = (0..150).map(|i| format!("- {{job_name: j{i}, x: 1}}\n")).collect();
    let got = faults(&format!("scrape_configs:\n{jobs}"));
    assert_eq!(got.len(), 101);
    assert_eq!(got[100], "0:0: 50 more faults are not shown, limit=100");
}

#[test]
fn what_is_no_yaml_is_one_fault() {
    one_fault("a: [1\n", "1:4: yaml: unclosed bracket '['");
    one_fault("global: {}\nglobal: {}\n", "2:1: yaml: duplicate mapping key: global");
    one_fault("- a\n", "1:1: cannot unmarshal !!seq into config.Config");
    let deep = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(faults(&deep).len(), 1, "depth is bounded before recursion");
}

#[test]
fn faults_of_http_settings() {
    let check = |lines: &str, message: &str| {
        let got = faults(&job(lines)).join("\n");
        assert!(got.contains(message), "{got}");
    };
    check(
        "    bearer_token: a\n    bearer_token_file: b\n",
        "at most one of bearer_token & bearer_",
    );
    check(
        "    authorization: {credentials: a}\n    bearer_token: b\n",
        "authorization is not compatible with bearer_token & bearer_token_file",
    );
    check(
        "    basic_auth: {}\n    authorization: {}\n",
        "at most one of basic_auth, oauth2 & authorization must be configured",
    );
    check(
        "    basic_auth: {username: a, username_file: b}\n",
        "at most one of basic_auth username",
    );
    check(
        "    basic_auth: {password: a, password_file: b}\n",
        "at most one of basic_auth password",
    );
    check("    basic_auth: {password_ref: a}\n", "password_ref: no secret manager is configured");
    check("    authorization: {type: Basic}\n", "authorization type cannot be set to \"basic\"");
    check("    oauth2: {client_id: a}\n", "oauth2 token_url must be configured");
    check("    oauth2: {token_url: a}\n", "oauth2 client_id must be configured");
    check("    tls_config: {ca: a, ca_file: b}\n", "at most one of ca, ca_file & ca_ref must be");
    check(
        "    tls_config: {cert: a}\n",
        "exactly one of key or key_file must be configured when a",
    );
    check(
        "    tls_config: {key: a}\n",
        "exactly one of cert or cert_file must be configured when a",
    );
    check("    tls_config: {min_version: '1.2'}\n", "unknown TLS version: 1.2");
    check("    http_headers: {host: {values: [a]}}\n", "setting header \"Host\" is not allowed");
    check("    no_proxy: a\n", "if no_proxy is configured, proxy_url must also be configured");
    check("    proxy_from_environment: true\n    proxy_url: http://a\n", "proxy_url must not be");
    check("    proxy_connect_header: {a: [b]}\n", "proxy_url or proxy_from_environment must also");
}

#[test]
fn faults_of_discovery() {
    let check = |lines: &str, message: &str| {
        let got = faults(&job(lines)).join("\n");
        assert!(got.contains(message), "{got}");
    };
    check("    static_configs:\n    - targets: ['http://a']\n", "\"http://a\" is not a valid host");
    check("    static_configs:\n    -\n", "empty or null section in static_configs");
    check("    file_sd_configs: [{files: []}]\n", "must contain at least one path name");
    check("    file_sd_configs: [{files: [a.txt]}]\n", "path name \"a.txt\" is not valid for file");
    check("    http_sd_configs: [{}]\n", "URL is missing");
    check("    dns_sd_configs: [{}]\n", "DNS-SD config must contain at least one SRV record name");
    check("    dns_sd_configs: [{names: [a], type: A}]\n", "a port is required in DNS-SD configs");
    check("    dns_sd_configs: [{names: [a], type: TXT}]\n", "invalid DNS-SD records type TXT");
    check(
        "    dns_sd_configs: [{names: [a], port: 70000}]\n",
        "in the range [0, 65535], got 70000",
    );
    check("    dns_sd_configs: [{names: [a], refresh_interval: 0s}]\n", "must be positive");
    check("    foo_sd_configs: []\n", "field foo_sd_configs not found in type config.ScrapeConfig");
    // A URL as a target is fine where rules may take it apart.
    let rules = "    relabel_configs: [{action: drop, source_labels: [x], regex: y}]\n";
    parse(&job(&format!("    static_configs: [{{targets: ['http://a']}}]\n{rules}")));
}

#[test]
fn faults_of_sections_that_are_only_shown() {
    let cases = [
        ("runtime: {gogo: 1}", "1:11: runtime.gogo: field gogo not found in type config.Runtime"),
        ("rule_files: ['a*/b*']", "invalid rule file path \"a*/b*\""),
        ("scrape_config_files: ['*/b']", "invalid scrape config file path \"*/b\""),
        ("alerting: {alertmanagers: [{api_version: v1}]}", "expected Alertmanager api version"),
        ("alerting: {alert_relabel_configs: [{action: x}]}", "unknown relabel action \"x\""),
        ("alerting: {alertmanagers: [{basic_auth: {}, sigv4: {}}]}", "at most one of basic_auth"),
        ("alerting: {alertmanagers: [{static_configs: [{target: x}]}]}", "field target not found"),
        ("remote_write: [{}]", "1:16: remote_write[0].url: url for remote_write is empty"),
        ("remote_write: [null]", "empty or null remote write config section"),
        ("remote_write: [{url: a, name: x}, {url: b, name: x}]", "job name \"x\""),
        ("remote_write: [{url: a, headers: {host: x}}]", "host is a reserved header. It must not"),
        ("remote_write: [{url: a, headers: {authorization: x}}]", "authorization header must be"),
        ("remote_write: [{url: a, protobuf_message: x}]", "unknown type for remote write protobuf"),
        ("remote_write: [{url: a, basic_auth: {}, sigv4: {}}]", "configured: [basic_auth sigv4]"),
        ("remote_write: [{url: a, queue_config: {capacity: 0}}]", "capacity must be positive"),
        ("remote_write: [{url: a, queue_config: {min_shards: 99}}]", "not be greater than max_sh"),
        ("remote_write: [{url: a, queue_config: {max_backoff: 1ms}}]", "not be less than min_back"),
        ("remote_read: [{}]", "url for remote_read is empty"),
        ("remote_read: [{url: a, required_matchers: {'': x}}]", "\"\" is not a valid label name"),
        ("storage: {tsdb: {retention: {percentage: 101}}}", "must be in the range [0, 100]"),
        ("storage: {tsdb: {chunk_encoding: {floats: XOR}}}", "must be 'xor' or 'xor2'"),
        ("storage: {tsdb: {out_of_order_time_window: 1}}", "not a valid duration string: \"1\""),
        ("tracing: {}", "tracing endpoint must be set"),
        ("tracing: {endpoint: a, client_type: x}", "expected tracing client type"),
        ("otlp: {translation_strategy: x}", "unsupported OTLP translation strategy \"x\""),
        ("otlp: {ignore_resource_attributes: [a]}", "cannot be configured unless"),
        ("otlp: {promote_resource_attributes: [a, ' a ']}", "duplicated promoted OTel resource"),
        (
            "global: {metric_name_validation_scheme: legacy}\notlp: {translation_strategy: NoTranslation}",
            "OTLP translation strategy \"NoTranslation\" is not allowed when UTF8 is disabled",
        ),
    ];
    for (text, message) in cases {
        let got = faults(text).join("\n");
        assert!(got.contains(message), "{text}: {got}");
    }
}

const EVERYTHING: &str = "global:
  scrape_interval: 15s
  evaluation_interval: 30s
  external_labels: {cluster: 'a${NAME}', v: 1.10}
runtime: {gogc: 50}
rule_files: [r/*.yml]
alerting:
  alertmanagers:
  - static_configs: [{targets: [am:9093]}]
scrape_configs:
- job_name: j
  basic_auth: {username: u, password: hunter2}
  proxy_url: http://u:hunter2@proxy
  scrape_native_histograms: true
  scrape_failure_log_file: f.log
  kubernetes_sd_configs:
  - {role: pod, api_server: 'https://u:hunter2@k',
     bearer_token: hunter2,
     tls_config: {cert: c, key: hunter2, ca_file: ca}}
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
- job_name: o
  oauth2: {client_id: a, client_secret: hunter2, token_url: 'http://u:hunter2@t'}
remote_write:
- {url: 'http://u:hunter2@w', bearer_token: hunter2}
remote_read:
- url: http://r
storage: {tsdb: {out_of_order_time_window: 30m}, exemplars: {max_exemplars: 1}}
tracing: {endpoint: t:1, tls_config: {cert: c, key: hunter2}}
otlp: {promote_resource_attributes: [a]}
";

#[test]
fn protobuf_and_headers_for_unknown_proxies_are_listed() {
    let parsed = parse(
        "global:
  scrape_protocols: [PrometheusProto, PrometheusText0.0.4]
scrape_configs:
- job_name: a
  fallback_scrape_protocol: PrometheusProto
  proxy_from_environment: true
  proxy_connect_header: {a: [b]}
- job_name: b
  scrape_protocols: [PrometheusText1.0.0]
  proxy_url: http://proxy
  no_proxy: localhost
  proxy_connect_header: {a: [b]}
",
    );
    let listed: Vec<(&str, u64)> =
        parsed.ignored.iter().map(|key| (key.path.as_str(), key.line)).collect();
    let expected = [
        ("global.scrape_protocols", 2),
        ("scrape_configs[0].fallback_scrape_protocol", 5),
        ("scrape_configs[0].proxy_connect_header", 7),
    ];
    assert_eq!(listed, expected);
}

#[test]
fn what_is_not_acted_on_is_listed_once_with_its_line() {
    let parsed = parse(EVERYTHING);
    let listed: Vec<(&str, u64)> =
        parsed.ignored.iter().map(|key| (key.path.as_str(), key.line)).collect();
    assert_eq!(
        listed,
        [
            ("runtime", 5),
            ("rule_files", 6),
            ("alerting", 7),
            ("scrape_configs[0].scrape_native_histograms", 14),
            ("scrape_configs[0].scrape_failure_log_file", 15),
            ("scrape_configs[0].kubernetes_sd_configs", 16),
            ("scrape_configs[1].oauth2", 23),
            ("remote_write", 24),
            ("remote_read", 26),
            ("storage.tsdb", 28),
            ("storage.exemplars", 28),
            ("tracing", 29),
            ("otlp", 30),
        ]
    );
    assert!(parsed.ignored.iter().all(|key| !key.reason.is_empty()));
    // A switch that is off asks for nothing.
    assert!(parse(&job("    scrape_native_histograms: false\n")).ignored.is_empty());
}

#[test]
fn no_secret_is_ever_shown() {
    let mut config = parse(EVERYTHING).config;
    let shown = format!("{}{config:?}", config.to_yaml());
    assert!(!shown.contains("hunter2"), "{shown}");
    config.set_directory(Path::new("/d"));
    assert!(!config.to_yaml().contains("hunter2"));
    let wrong = "scrape_configs: [{job_name: a, basic_auth: {password: {a: hunter2}}}]";
    assert!(!faults(wrong).join("").contains("hunter2"));
}

#[test]
fn what_is_shown_is_a_configuration_again() {
    let config = parse(EVERYTHING).config;
    let shown = config.to_yaml();
    let again = parse(&shown).config;
    assert_eq!(again.to_yaml(), shown);
    assert_eq!(again.global, config.global);
    assert_eq!(again.scrape_configs[0].relabel_configs, config.scrape_configs[0].relabel_configs);
}

#[test]
fn is_shown_as_prometheus_shows_it() {
    let parsed = parse(&job(concat!(
        "    sample_limit: 5\n    body_size_limit: 1.5KiB\n    params: {a: [b, '1']}\n",
        "    basic_auth: {username: u, password: p}\n",
        "    static_configs:\n    - targets: [a:1]\n      labels: {z: '1', a: x}\n",
        "    relabel_configs:\n    - {source_labels: [a, b], regex: 'foo: bar', target_label: c}\n",
    )));
    // The lines of Prometheus 3.14 for the same file, but for its own storage.
    let want = "global:
  scrape_interval: 1m
  scrape_timeout: 10s
  evaluation_interval: 1m
  metric_name_validation_scheme: utf8
  metric_name_escaping_scheme: allow-utf-8
  scrape_native_histograms: false
  extra_scrape_metrics: false
runtime:
  gogc: 75
scrape_configs:
- job_name: j
  honor_timestamps: true
  track_timestamps_staleness: false
  params:
    a:
    - b
    - \"1\"
  scrape_interval: 1m
  scrape_timeout: 10s
  scrape_protocols:
  - OpenMetricsText1.0.0
  - OpenMetricsText0.0.1
  - PrometheusText1.0.0
  - PrometheusText0.0.4
  scrape_native_histograms: false
  always_scrape_classic_histograms: false
  convert_classic_histograms_to_nhcb: false
  metrics_path: /metrics
  scheme: http
  enable_compression: true
  body_size_limit: 1KiB512B
  sample_limit: 5
  metric_name_validation_scheme: utf8
  metric_name_escaping_scheme: allow-utf-8
  extra_scrape_metrics: false
  basic_auth:
    username: u
    password: <secret>
  follow_redirects: true
  enable_http2: true
  relabel_configs:
  - source_labels: [a, b]
    separator: ;
    regex: 'foo: bar'
    target_label: c
    replacement: $1
    action: replace
  static_configs:
  - targets:
    - a:1
    labels:
      a: x
      z: \"1\"
otlp:
  translation_strategy: UnderscoreEscapingWithSuffixes
  label_name_underscore_sanitization: true
  label_name_preserve_multiple_underscores: true
";
    assert_eq!(parsed.config.to_yaml(), want);
}

#[test]
fn external_labels_take_the_environment() {
    let mut config =
        parse("global: {external_labels: {a: '${HOST}-$X', b: $$x, c: '1.10', d: plain}}").config;
    let lookup = |name: &str| (name == "HOST").then(|| "h1".to_string());
    let missing = config.global.expand_external_labels(lookup);
    assert_eq!(missing, ["X"]);
    let labels: Vec<_> = config.global.external_labels.values().map(String::as_str).collect();
    assert_eq!(labels, ["h1-", "$x", "1.10", "plain"]);
    // Nothing else is expanded.
    assert_eq!(
        parse(&job("    metrics_path: /$HOST\n")).config.scrape_configs[0].metrics_path,
        "/$HOST"
    );
}

#[test]
fn files_with_more_scrape_configs() {
    let mut config = parse("global: {scrape_interval: 7s}\nscrape_configs: [{job_name: a}]").config;
    let text = "scrape_configs:\n- job_name: b\n  evil_sd_configs: []\n- job_name: a\n";
    let errors = config.add_scrape_config_file(text, "more.yml", Path::new("/m")).expect_err(text);
    assert_eq!(
        errors.to_string(),
        "more.yml:3:3: scrape_configs[0].evil_sd_configs: field evil_sd_configs not found in type \
         config.ScrapeConfig\nmore.yml:4:3: scrape_configs[1]: found multiple scrape configs with job \
         name \"a\""
    );
    assert_eq!(config.scrape_configs.len(), 1, "nothing of a faulty file is used");
    let text = "scrape_configs:\n- job_name: b\n  file_sd_configs: [{files: [t.json]}]\n";
    let ignored = config.add_scrape_config_file(text, "more.yml", Path::new("/m")).unwrap();
    assert!(ignored.is_empty());
    assert_eq!(config.scrape_configs[1].scrape_interval_ms, 7_000);
    assert_eq!(config.scrape_configs[1].file_sd_configs()[0].files, ["/m/t.json"]);
    let text = "global: {}\n";
    assert!(config.add_scrape_config_file(text, "more.yml", Path::new("/m")).is_err());
}

#[test]
fn anchors_and_merges_work() {
    let parsed = parse(
        "scrape_configs:\n- &base\n  job_name: a\n  scrape_interval: 7s\n  static_configs: &t\n  - targets: [x]\n\
         - <<: *base\n  job_name: b\n- job_name: c\n  static_configs: *t\n",
    );
    let [_, b, c] = &parsed.config.scrape_configs[..] else { panic!() };
    assert_eq!((b.scrape_interval_ms, b.static_configs().len()), (7_000, 1));
    assert_eq!(c.static_configs(), b.static_configs());
}

const ALL_KEYS: &str = include_str!("testdata/all_keys.yml");

#[test]
fn every_key_of_prometheus_is_known() {
    let parsed = parse(ALL_KEYS);
    assert_eq!(parsed.config.scrape_configs.len(), 4);
    // Nothing is silently left out of what is shown.
    let shown = parsed.config.to_yaml();
    for key in ["proxy_from_environment: true", "chunk_encoding:", "google_iam:", "gogc: 75"] {
        assert!(shown.contains(key), "{key} is not in {shown}");
    }
}
