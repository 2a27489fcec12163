//! What runs containers.

use super::{
    FILTER, HTTP, Kind, address, check_absolute, kind, port, refresh, secret, table, text, texts,
};
use crate::inert::{Shown, Table, Type, row};
use crate::section::{Findings, Section};

const KUBERNETES_ROLES: &[&str] =
    &["node", "pod", "service", "endpoints", "endpointslice", "ingress"];

static NAMESPACES: Table = table(
    "kubernetes.NamespaceDiscovery",
    &[row("own_namespace", Type::Bool, "false"), texts("names")],
);

static SELECTOR: Table = table(
    "kubernetes.SelectorConfig",
    &[row("role", Type::Word(KUBERNETES_ROLES), ""), text("label"), text("field")],
);

static ATTACH_METADATA: Table = table(
    "kubernetes.AttachMetadataConfig",
    &[
        row("node", Type::Bool, "false"),
        row("namespace", Type::Bool, "false"),
        row("deployment", Type::Bool, ""),
        row("job", Type::Bool, ""),
        row("cronjob", Type::Bool, ""),
    ],
);

pub(super) static KINDS: [Kind; 6] = [
    kind(
        "docker_sd_configs",
        "moby.DockerSDConfig",
        &[
            HTTP,
            address("host"),
            port("80"),
            row("filters", Type::Sections(&FILTER), ""),
            row("host_networking_host", Type::Text, "localhost"),
            refresh("1m"),
            row("match_first_network", Type::Bool, "true"),
            row("include_no_network_targets", Type::Bool, ""),
        ],
    )
    .requires(&["host"]),
    kind(
        "dockerswarm_sd_configs",
        "moby.DockerSwarmSDConfig",
        &[
            HTTP,
            address("host"),
            row("role", Type::Word(&["services", "tasks", "nodes"]), ""),
            port("80"),
            row("filters", Type::Sections(&FILTER), ""),
            refresh("1m"),
        ],
    )
    .requires(&["host", "role"]),
    kind(
        "kubernetes_sd_configs",
        "kubernetes.SDConfig",
        &[
            address("api_server"),
            row("role", Type::Word(KUBERNETES_ROLES), ""),
            text("kubeconfig_file"),
            HTTP,
            row("namespaces", Type::Section(&NAMESPACES), ""),
            row("selectors", Type::Sections(&SELECTOR), ""),
            row("attach_metadata", Type::Section(&ATTACH_METADATA), ""),
        ],
    )
    .requires(&["role"])
    .keeps_apart(&[["api_server", "kubeconfig_file"]])
    .checked_by(check_kubernetes),
    kind(
        "kuma_sd_configs",
        "xds.SDConfig",
        &[
            HTTP,
            refresh("15s"),
            row("fetch_timeout", Type::Duration, "2m"),
            address("server"),
            text("client_id"),
        ],
    )
    .requires(&["server"])
    .checked_by(|s, _, cx| check_absolute(s, "server", cx)),
    kind(
        "marathon_sd_configs",
        "marathon.SDConfig",
        &[
            row("servers", Type::Urls, ""),
            refresh("30s"),
            secret("auth_token"),
            text("auth_token_file"),
            HTTP,
        ],
    )
    .requires(&["servers"])
    .keeps_apart(&[
        ["auth_token", "auth_token_file"],
        ["auth_token", "basic_auth"],
        ["auth_token", "authorization"],
        ["auth_token_file", "basic_auth"],
        ["auth_token_file", "authorization"],
    ]),
    kind(
        "nomad_sd_configs",
        "nomad.SDConfig",
        &[
            row("allow_stale", Type::Bool, "true"),
            HTTP,
            row("namespace", Type::Text, "default"),
            refresh("1m"),
            row("region", Type::Text, "global"),
            row("server", Type::Url, "http://localhost:4646"),
            row("tag_separator", Type::Text, "','"),
        ],
    )
    .requires(&["server"]),
];

fn check_kubernetes(s: &mut Section<'_>, shown: &Shown, cx: &mut Findings) {
    const OF_HTTP: [&str; 9] = [
        "basic_auth",
        "authorization",
        "oauth2",
        "tls_config",
        "proxy_url",
        "no_proxy",
        "proxy_from_environment",
        "proxy_connect_header",
        "http_headers",
    ];
    let custom_http = OF_HTTP.iter().any(|key| shown.has(key))
        || shown.is_off("follow_redirects")
        || shown.is_off("enable_http2");
    if custom_http && !shown.has("api_server") {
        s.fault_at(cx, "api_server", "settings of the HTTP client need an api_server");
    }
    // Wrong types are faults already.
    let mut quiet = Findings::default();
    let own = s.given("namespaces").and_then(|namespaces| {
        let mut inner = namespaces.section(&mut quiet, NAMESPACES.type_name);
        inner.bool("own_namespace", &mut quiet)
    });
    if own == Some(true) {
        for key in ["api_server", "kubeconfig_file"].into_iter().filter(|key| shown.has(key)) {
            s.fault_at(cx, key, format!("{key} must not be configured beside own_namespace"));
        }
    }
    let role = s.text("role", &mut quiet);
    let allowed: &[&str] = match role.as_str() {
        "pod" => &["pod", "node"],
        "service" => &["service"],
        "endpoints" => &["pod", "service", "endpoints"],
        "endpointslice" => &["pod", "service", "endpointslice"],
        "node" => &["node"],
        "ingress" => &["ingress"],
        // A fault already.
        _ => return,
    };
    let mut seen: Vec<String> = Vec::new();
    for selector in s.items("selectors", &mut quiet) {
        let of = selector.section(&mut quiet, SELECTOR.type_name).text("role", &mut quiet);
        if seen.contains(&of) {
            selector.fault(cx, format!("there is another selector with role: {of}"));
        } else if !allowed.contains(&of.as_str()) {
            let allowed = allowed.join(", ");
            selector.fault(cx, format!("role {role} takes only selectors with role: {allowed}"));
        }
        seen.push(of);
    }
}
