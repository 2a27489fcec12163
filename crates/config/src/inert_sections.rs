//! The tables of `alerting`, `remote_write`, `remote_read`, `storage`, `tracing`, `otlp` and
//! `runtime`.

use pando_model::number::go_quote;

use crate::inert::{Shown, Table, Type, nothing, row};
use crate::node::Kind;
use crate::section::{Findings, Section};

/// `runtime`: settings of the Go runtime.
pub(crate) static RUNTIME: Table = Table {
    type_name: "config.RuntimeConfig",
    rows: &[row("gogc", Type::Int, "75")],
    check: nothing,
};

/// `alerting` without its Alertmanagers.
pub(crate) static ALERTING: Table = Table {
    type_name: "config.AlertingConfig",
    rows: &[row("alert_relabel_configs", Type::Rules("alert relabeling rule"), "")],
    check: |s, _, _| {
        // Read apart, since it is a list.
        s.take("alertmanagers");
    },
};

/// One of `alerting.alertmanagers`.
pub(crate) static ALERTMANAGER: Table = Table {
    type_name: "config.AlertmanagerConfig",
    rows: &[
        row("", Type::Http(true), ""),
        row("sigv4", Type::Section(&SIGV4), ""),
        row("scheme", Type::Text, "http"),
        row("path_prefix", Type::Text, ""),
        row("timeout", Type::Duration, "10s"),
        row(
            "api_version",
            Type::OneOf(&["v2"], |got| {
                format!("expected Alertmanager api version to be one of [v2] but got {got}")
            }),
            "v2",
        ),
        row("relabel_configs", Type::Rules("Alertmanager target relabeling rule"), ""),
        row("alert_relabel_configs", Type::Rules("Alertmanager alert relabeling rule"), ""),
        row("", Type::Discovery, ""),
    ],
    check: |s, shown, cx| {
        let auth = ["basic_auth", "authorization", "oauth2"].iter().any(|key| shown.has(key));
        if auth && shown.has("sigv4") {
            let message =
                "at most one of basic_auth, authorization, oauth2, & sigv4 must be configured";
            s.fault(cx, message);
        }
    },
};

static SIGV4: Table = Table {
    type_name: "sigv4.SigV4Config",
    rows: &[
        row("region", Type::Text, ""),
        row("access_key", Type::Text, ""),
        row("secret_key", Type::Secret, ""),
        row("profile", Type::Text, ""),
        row("role_arn", Type::Text, ""),
        row("external_id", Type::Text, ""),
        row("use_fips_sts_endpoint", Type::Bool, ""),
        row("service_name", Type::Text, ""),
    ],
    check: |s, shown, cx| {
        if shown.has("access_key") != shown.has("secret_key") {
            s.fault(
                cx,
                "must provide a AWS SigV4 Access key and Secret Key if credentials are specified \
                 in the SigV4 config",
            );
        }
    },
};

/// One of `remote_write`.
pub(crate) static REMOTE_WRITE: Table = Table {
    type_name: "config.RemoteWriteConfig",
    rows: &[
        row("url", Type::Url, ""),
        row("remote_timeout", Type::Duration, "30s"),
        row("headers", Type::Headers, ""),
        row("write_relabel_configs", Type::Rules("relabeling rule in remote write config"), ""),
        row("name", Type::Text, ""),
        row("send_exemplars", Type::Bool, ""),
        row("send_native_histograms", Type::Bool, ""),
        row("round_robin_dns", Type::Bool, ""),
        row(
            "protobuf_message",
            Type::OneOf(&["prometheus.WriteRequest", "io.prometheus.write.v2.Request"], |got| {
                format!(
                    "invalid protobuf_message value: unknown type for remote write protobuf \
                     message {got}, supported: prometheus.WriteRequest, io.prometheus.write.v2.Request"
                )
            }),
            "prometheus.WriteRequest",
        ),
        row("failed_request_logging", Type::Bool, ""),
        row("", Type::Http(false), ""),
        row("queue_config", Type::Section(&QUEUE), "shown"),
        row("metadata_config", Type::Section(&METADATA), "shown"),
        row("sigv4", Type::Section(&SIGV4), ""),
        row("azuread", Type::Section(&AZURE_AD), ""),
        row("google_iam", Type::Section(&GOOGLE_IAM), ""),
    ],
    check: |s, shown, cx| {
        if !shown.has("url") {
            s.fault_at(cx, "url", "url for remote_write is empty");
        }
        let ways = ["basic_auth", "authorization", "oauth2", "sigv4", "azuread", "google_iam"];
        let used: Vec<&str> = ways.into_iter().filter(|key| shown.has(key)).collect();
        if used.len() > 1 {
            let used = used.join(" ");
            s.fault(
                cx,
                format!(
                    "at most one of basic_auth, authorization, oauth2, sigv4, azuread or \
                     google_iam must be configured. Currently configured: [{used}]"
                ),
            );
        }
    },
};

static QUEUE: Table = Table {
    type_name: "config.QueueConfig",
    rows: &[
        row("capacity", Type::Int, "10000"),
        row("max_shards", Type::Int, "50"),
        row("min_shards", Type::Int, "1"),
        row("max_samples_per_send", Type::Int, "2000"),
        row("batch_send_deadline", Type::Duration, "5s"),
        row("min_backoff", Type::Duration, "30ms"),
        row("max_backoff", Type::Duration, "5s"),
        row("retry_on_http_429", Type::Bool, ""),
        row("sample_age_limit", Type::Duration, ""),
    ],
    check: |s, shown, cx| {
        for key in ["max_shards", "min_shards", "max_samples_per_send", "capacity"] {
            if shown.number(key).is_some_and(|n| n <= 0.0) {
                s.fault_at(cx, key, format!("remote write queue {key} must be positive"));
            }
        }
        if shown.number("min_shards") > shown.number("max_shards") {
            let message = "remote write queue min_shards must not be greater than max_shards";
            s.fault_at(cx, "min_shards", message);
        }
        if shown.duration_ms("max_backoff") < shown.duration_ms("min_backoff") {
            let message = "remote write queue max_backoff must not be less than min_backoff";
            s.fault_at(cx, "max_backoff", message);
        }
    },
};

static METADATA: Table = Table {
    type_name: "config.MetadataConfig",
    rows: &[
        row("send", Type::Bool, "true"),
        row("send_interval", Type::Duration, "1m"),
        row("max_samples_per_send", Type::Int, "2000"),
    ],
    check: nothing,
};

static AZURE_AD: Table = Table {
    type_name: "azuread.AzureADConfig",
    rows: &[
        row("managed_identity", Type::Section(&AZURE_IDENTITY), ""),
        row("workload_identity", Type::Section(&AZURE_WORKLOAD), ""),
        row("oauth", Type::Section(&AZURE_OAUTH), ""),
        row("sdk", Type::Section(&AZURE_SDK), ""),
        row("certificate", Type::Section(&AZURE_CERTIFICATE), ""),
        row(
            "cloud",
            Type::OneOf(&["AzureChina", "AzureGovernment", "AzurePublic", "AzureCustom"], |_| {
                "must provide a cloud in the Azure AD config".to_string()
            }),
            "AzurePublic",
        ),
        row("scope", Type::Text, ""),
    ],
    check: nothing,
};

static AZURE_IDENTITY: Table = Table {
    type_name: "azuread.ManagedIdentityConfig",
    rows: &[row("client_id", Type::Text, "")],
    check: nothing,
};

static AZURE_WORKLOAD: Table = Table {
    type_name: "azuread.WorkloadIdentityConfig",
    rows: &[
        row("client_id", Type::Text, ""),
        row("tenant_id", Type::Text, ""),
        row("token_file_path", Type::Text, ""),
    ],
    check: nothing,
};

static AZURE_OAUTH: Table = Table {
    type_name: "azuread.OAuthConfig",
    rows: &[
        row("client_id", Type::Text, ""),
        row("client_secret", Type::Secret, ""),
        row("tenant_id", Type::Text, ""),
    ],
    check: nothing,
};

static AZURE_SDK: Table = Table {
    type_name: "azuread.SDKConfig",
    rows: &[row("tenant_id", Type::Text, "")],
    check: nothing,
};

static AZURE_CERTIFICATE: Table = Table {
    type_name: "azuread.CertificateConfig",
    rows: &[
        row("client_id", Type::Text, ""),
        row("tenant_id", Type::Text, ""),
        row("certificate_path", Type::Text, ""),
        row("certificate_key_path", Type::Text, ""),
        row("certificate_password", Type::Secret, ""),
        row("send_certificate_chain", Type::Bool, ""),
    ],
    check: nothing,
};

static GOOGLE_IAM: Table = Table {
    type_name: "googleiam.Config",
    rows: &[row("credentials_file", Type::Text, "")],
    check: nothing,
};

/// One of `remote_read`.
pub(crate) static REMOTE_READ: Table = Table {
    type_name: "config.RemoteReadConfig",
    rows: &[
        row("url", Type::Url, ""),
        row("remote_timeout", Type::Duration, "1m"),
        row("chunked_read_limit", Type::Int, "50000000"),
        row("headers", Type::Headers, ""),
        row("read_recent", Type::Bool, ""),
        row("name", Type::Text, ""),
        row("", Type::Http(true), ""),
        row("required_matchers", Type::LabelMap, ""),
        row("filter_external_labels", Type::Bool, "true"),
    ],
    check: |s, shown, cx| {
        if !shown.has("url") {
            s.fault_at(cx, "url", "url for remote_read is empty");
        }
    },
};

/// `storage`.
pub(crate) static STORAGE: Table = Table {
    type_name: "config.StorageConfig",
    rows: &[row("tsdb", Type::Section(&TSDB), ""), row("exemplars", Type::Section(&EXEMPLARS), "")],
    check: nothing,
};

static TSDB: Table = Table {
    type_name: "config.TSDBConfig",
    rows: &[
        row("out_of_order_time_window", Type::Duration, ""),
        row("stale_series_compaction_threshold", Type::Float, ""),
        row("chunk_encoding", Type::Section(&CHUNK_ENCODING), ""),
        row("retention", Type::Section(&RETENTION), ""),
        // Prometheus shows this one beside the first, and so reads it, too.
        row("outofordertimewindow", Type::Int, ""),
    ],
    check: nothing,
};

static CHUNK_ENCODING: Table = Table {
    type_name: "config.ChunkEncodingConfig",
    rows: &[row(
        "floats",
        Type::OneOf(&["", "xor", "xor2"], |got| {
            format!(
                "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must \
                 be omitted entirely, got {}",
                go_quote(got)
            )
        }),
        "",
    )],
    check: nothing,
};

static RETENTION: Table = Table {
    type_name: "config.TSDBRetentionConfig",
    rows: &[
        row("time", Type::Duration, ""),
        row("size", Type::Size, ""),
        row("percentage", Type::Float, ""),
    ],
    check: |s, shown, cx| {
        if let Some(percentage) = shown.number("percentage")
            && !(0.0..=100.0).contains(&percentage)
        {
            let message = "'storage.tsdb.retention.percentage' must be in the range [0, 100], got";
            s.fault_at(cx, "percentage", format!("{message} {percentage}"));
        }
    },
};

static EXEMPLARS: Table = Table {
    type_name: "config.ExemplarsConfig",
    rows: &[row("max_exemplars", Type::Int, "")],
    check: nothing,
};

/// `tracing`.
pub(crate) static TRACING: Table = Table {
    type_name: "config.TracingConfig",
    rows: &[
        row(
            "client_type",
            Type::OneOf(&["http", "grpc"], |got| {
                format!("expected tracing client type to be to be http or grpc, but got {got}")
            }),
            "grpc",
        ),
        row("endpoint", Type::Text, ""),
        row("sampling_fraction", Type::Float, ""),
        row("insecure", Type::Bool, ""),
        row("tls_config", Type::Tls, ""),
        row("headers", Type::Headers, ""),
        row(
            "compression",
            Type::OneOf(&["", "gzip"], |got| {
                format!("invalid compression type {got} provided, valid options: gzip")
            }),
            "",
        ),
        row("timeout", Type::Duration, ""),
    ],
    check: |s, shown, cx| {
        if !shown.has("endpoint") {
            s.fault_at(cx, "endpoint", "tracing endpoint must be set");
        }
    },
};

/// `otlp`.
pub(crate) static OTLP: Table = Table {
    type_name: "config.OTLPConfig",
    rows: &[
        row("promote_all_resource_attributes", Type::Bool, ""),
        row("promote_resource_attributes", Type::Texts, ""),
        row("ignore_resource_attributes", Type::Texts, ""),
        row(
            "translation_strategy",
            Type::OneOf(
                &[
                    "UnderscoreEscapingWithSuffixes",
                    "UnderscoreEscapingWithoutSuffixes",
                    "NoUTF8EscapingWithSuffixes",
                    "NoTranslation",
                    "",
                ],
                |got| format!("unsupported OTLP translation strategy {}", go_quote(got)),
            ),
            "UnderscoreEscapingWithSuffixes",
        ),
        row("keep_identifying_resource_attributes", Type::Bool, ""),
        row("convert_histograms_to_nhcb", Type::Bool, ""),
        row("promote_scope_metadata", Type::Bool, ""),
        row("label_name_underscore_sanitization", Type::Bool, "true"),
        row("label_name_preserve_multiple_underscores", Type::Bool, "true"),
    ],
    check: check_otlp,
};

fn check_otlp(s: &mut Section<'_>, shown: &Shown, cx: &mut Findings) {
    let all = s.take("promote_all_resource_attributes");
    let all = all.is_some_and(|value| matches!(value.node.kind, Kind::Bool(true, _)));
    if all && shown.has("promote_resource_attributes") {
        let message = "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot \
                       be configured simultaneously";
        s.fault_at(cx, "promote_resource_attributes", message);
    }
    if !all && shown.has("ignore_resource_attributes") {
        let message = "'ignore_resource_attributes' cannot be configured unless \
                       'promote_all_resource_attributes' is true";
        s.fault_at(cx, "ignore_resource_attributes", message);
    }
    let lists =
        [("promote_resource_attributes", "promoted"), ("ignore_resource_attributes", "ignored")];
    for (key, adjective) in lists {
        let mut seen: Vec<String> = Vec::new();
        for item in s.items(key, cx) {
            let name = item.node.text().unwrap_or_default().trim();
            if name.is_empty() {
                item.fault(
                    cx,
                    format!("invalid '{key}': empty {adjective} OTel resource attribute"),
                );
            } else if seen.iter().any(|other| other == name) {
                let name = go_quote(name);
                item.fault(
                    cx,
                    format!(
                        "invalid '{key}': duplicated {adjective} OTel resource attribute {name}"
                    ),
                );
            }
            seen.push(name.to_string());
        }
    }
}
