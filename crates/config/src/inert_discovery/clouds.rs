//! Clouds other than Amazon's: lists of machines behind a provider's API.

use super::{HTTP, Kind, address, check_refresh, kind, port, refresh, secret, text, texts};
use crate::inert::{Shown, Type, row};
use crate::section::{Findings, Section};

const AZURE_METHODS: &[&str] = &["OAuth", "ManagedIdentity", "SDK", "WorkloadIdentity"];
const OPENSTACK_ROLES: &[&str] = &["hypervisor", "instance", "loadbalancer"];

pub(super) static KINDS: [Kind; 14] = [
    kind(
        "azure_sd_configs",
        "azure.SDConfig",
        &[
            row("environment", Type::Text, "AzurePublicCloud"),
            port("80"),
            text("subscription_id"),
            text("tenant_id"),
            text("client_id"),
            secret("client_secret"),
            refresh("5m"),
            row("authentication_method", Type::Word(AZURE_METHODS), "OAuth"),
            text("resource_group"),
            HTTP,
        ],
    )
    .requires(&["subscription_id"])
    .checked_by(check_azure),
    kind(
        "digitalocean_sd_configs",
        "digitalocean.SDConfig",
        &[
            HTTP,
            refresh("1m"),
            port("80"),
            row("role", Type::Word(&["droplets", "databases"]), "droplets"),
        ],
    ),
    kind(
        "gce_sd_configs",
        "gce.SDConfig",
        &[
            text("project"),
            text("zone"),
            text("filter"),
            refresh("1m"),
            port("80"),
            row("tag_separator", Type::Text, "','"),
        ],
    )
    .requires(&["project", "zone"]),
    kind(
        "hetzner_sd_configs",
        "hetzner.SDConfig",
        &[
            HTTP,
            refresh("1m"),
            port("80"),
            row("role", Type::Word(&["robot", "hcloud"]), ""),
            text("label_selector"),
        ],
    )
    .requires(&["role"]),
    kind(
        "ionos_sd_configs",
        "ionos.SDConfig",
        &[text("datacenter_id"), HTTP, refresh("1m"), port("80")],
    )
    .requires(&["datacenter_id"]),
    kind(
        "linode_sd_configs",
        "linode.SDConfig",
        &[HTTP, refresh("1m"), port("80"), row("tag_separator", Type::Text, "','"), text("region")],
    ),
    kind(
        "oci_sd_configs",
        "oci.SDConfig",
        &[
            row("auth", Type::Word(&["api_key", "instance_principal"]), "api_key"),
            text("tenancy"),
            text("user"),
            text("fingerprint"),
            text("key_file"),
            secret("key_passphrase"),
            text("key_passphrase_file"),
            text("region"),
            texts("compartments"),
            HTTP,
            port("80"),
            refresh("1m"),
        ],
    )
    .requires(&["region"])
    .keeps_apart(&[["key_passphrase", "key_passphrase_file"]])
    .checked_by(check_oci),
    kind(
        "openstack_sd_configs",
        "openstack.SDConfig",
        &[
            address("identity_endpoint"),
            text("username"),
            text("userid"),
            secret("password"),
            text("project_name"),
            text("project_id"),
            text("domain_name"),
            text("domain_id"),
            text("application_credential_name"),
            text("application_credential_id"),
            secret("application_credential_secret"),
            row("role", Type::Word(OPENSTACK_ROLES), ""),
            text("region"),
            refresh("1m"),
            port("80"),
            row("all_tenants", Type::Bool, ""),
            row("tls_config", Type::Tls, ""),
            row("availability", Type::Word(&["public", "internal", "admin"]), "public"),
        ],
    )
    .requires(&["role", "region"]),
    kind(
        "outscale_sd_configs",
        "outscale.SDConfig",
        &[
            address("endpoint"),
            row("region", Type::Text, "eu-west-2"),
            text("access_key"),
            secret("secret_key"),
            refresh("1m"),
            port("80"),
            HTTP,
        ],
    )
    .requires(&["region", "access_key", "secret_key"]),
    kind(
        "ovhcloud_sd_configs",
        "ovhcloud.SDConfig",
        &[
            row("endpoint", Type::Url, "ovh-eu"),
            text("application_key"),
            secret("application_secret"),
            secret("consumer_key"),
            refresh("1m"),
            row("service", Type::Word(&["vps", "dedicated_server"]), ""),
        ],
    )
    .requires(&[
        "endpoint",
        "application_key",
        "application_secret",
        "consumer_key",
        "service",
    ]),
    kind(
        "scaleway_sd_configs",
        "scaleway.SDConfig",
        &[
            text("project_id"),
            row("api_url", Type::Url, "https://api.scaleway.com"),
            row("zone", Type::Text, "fr-par-1"),
            text("access_key"),
            secret("secret_key"),
            text("secret_key_file"),
            text("name_filter"),
            texts("tags_filter"),
            HTTP,
            refresh("1m"),
            port("80"),
            row("role", Type::Word(&["instance", "baremetal"]), ""),
        ],
    )
    .requires(&["role", "project_id", "access_key"])
    .keeps_apart(&[["secret_key", "secret_key_file"]])
    .checked_by(|s, _, cx| {
        if s.given("secret_key").or_else(|| s.given("secret_key_file")).is_none() {
            s.fault_at(cx, "secret_key", "secret_key or secret_key_file is missing");
        }
    }),
    kind(
        "stackit_sd_configs",
        "stackit.SDConfig",
        &[
            HTTP,
            text("project"),
            refresh("1m"),
            port("80"),
            row("region", Type::Text, "eu01"),
            address("endpoint"),
            secret("service_account_key"),
            secret("private_key"),
            text("service_account_key_path"),
            text("private_key_path"),
            text("credentials_file_path"),
        ],
    ),
    kind(
        "triton_sd_configs",
        "triton.SDConfig",
        &[
            text("account"),
            row("role", Type::Word(&["container", "cn"]), "container"),
            text("dns_suffix"),
            address("endpoint"),
            texts("groups"),
            port("9163"),
            refresh("1m"),
            row("tls_config", Type::Tls, ""),
            row("version", Type::Int, "1"),
        ],
    )
    .requires(&["account", "dns_suffix", "endpoint"])
    .checked_by(check_refresh),
    kind("vultr_sd_configs", "vultr.SDConfig", &[HTTP, refresh("1m"), port("80")]),
];

fn check_azure(s: &mut Section<'_>, _: &Shown, cx: &mut Findings) {
    let method = s.given("authentication_method");
    if method.is_none_or(|method| method.node.text() == Some("OAuth")) {
        need(s, &["tenant_id", "client_id", "client_secret"], "authentication_method: OAuth", cx);
    }
}

fn check_oci(s: &mut Section<'_>, shown: &Shown, cx: &mut Findings) {
    const OF_API_KEY: [&str; 4] = ["tenancy", "user", "fingerprint", "key_file"];
    check_refresh(s, shown, cx);
    let auth = s.given("auth");
    match auth.as_ref().and_then(|auth| auth.node.text()).unwrap_or("api_key") {
        "api_key" => need(s, &OF_API_KEY, "auth: api_key", cx),
        "instance_principal" => {
            for key in OF_API_KEY.into_iter().chain(["key_passphrase", "key_passphrase_file"]) {
                if shown.has(key) {
                    let message = format!("auth: instance_principal does not take {key}");
                    s.fault_at(cx, key, message);
                }
            }
        }
        _ => {}
    }
}

/// Reports those of `keys` that are not given although `what` asks for them.
fn need(s: &mut Section<'_>, keys: &[&str], what: &str, cx: &mut Findings) {
    for key in keys {
        if s.given(key).is_none_or(|given| given.node.text() == Some("")) {
            s.fault_at(cx, key, format!("{what} needs {key}"));
        }
    }
}
