//! Registries of services and inventories of machines.

use super::{HTTP, Kind, address, check_absolute, kind, port, refresh, secret, text, texts};
use crate::discovery::check_url;
use crate::inert::{Row, Shown, Type, row};
use crate::section::{Findings, Section};

/// Both kinds that read ZooKeeper have the same keys.
const ZOOKEEPER: &[Row] =
    &[texts("servers"), texts("paths"), row("timeout", Type::Duration, "10s")];

pub(super) static KINDS: [Kind; 6] = [
    kind(
        "consul_sd_configs",
        "consul.SDConfig",
        &[
            row("server", Type::Url, "localhost:8500"),
            text("path_prefix"),
            secret("token"),
            text("datacenter"),
            text("namespace"),
            text("partition"),
            row("tag_separator", Type::Text, "','"),
            row("scheme", Type::Text, "http"),
            text("username"),
            secret("password"),
            row("allow_stale", Type::Bool, "true"),
            refresh("30s"),
            texts("services"),
            texts("tags"),
            row("node_meta", Type::TextMap, ""),
            text("filter"),
            text("health_filter"),
            HTTP,
        ],
    )
    .requires(&["server"])
    .keeps_apart(&[
        ["username", "basic_auth"],
        ["password", "basic_auth"],
        ["token", "authorization"],
        ["token", "oauth2"],
    ]),
    kind("eureka_sd_configs", "eureka.SDConfig", &[address("server"), HTTP, refresh("30s")])
        .requires(&["server"])
        .checked_by(|s, _, cx| check_absolute(s, "server", cx)),
    kind("nerve_sd_configs", "zookeeper.NerveSDConfig", ZOOKEEPER)
        .requires(&["servers", "paths"])
        .checked_by(check_zookeeper),
    kind(
        "puppetdb_sd_configs",
        "puppetdb.SDConfig",
        &[
            HTTP,
            refresh("1m"),
            address("url"),
            text("query"),
            row("include_parameters", Type::Bool, "false"),
            port("80"),
        ],
    )
    .requires(&["url", "query"])
    .checked_by(check_puppetdb),
    kind("serverset_sd_configs", "zookeeper.ServersetSDConfig", ZOOKEEPER)
        .requires(&["servers", "paths"])
        .checked_by(check_zookeeper),
    kind(
        "uyuni_sd_configs",
        "uyuni.SDConfig",
        &[
            address("server"),
            text("username"),
            secret("password"),
            HTTP,
            row("entitlement", Type::Text, "monitoring_entitled"),
            row("separator", Type::Text, "','"),
            refresh("1m"),
        ],
    )
    .requires(&["server", "username", "password"]),
];

fn check_zookeeper(s: &mut Section<'_>, _: &Shown, cx: &mut Findings) {
    // Wrong types are faults already.
    for path in s.items("paths", &mut Findings::default()) {
        if path.node.text().is_some_and(|text| !text.starts_with('/')) {
            path.fault(cx, "a path begins with '/'");
        }
    }
}

fn check_puppetdb(s: &mut Section<'_>, _: &Shown, cx: &mut Findings) {
    let Some(url) = s.given("url") else { return };
    if let Some(Err(message)) = url.node.text().filter(|text| !text.is_empty()).map(check_url) {
        url.fault(cx, message);
    }
}
