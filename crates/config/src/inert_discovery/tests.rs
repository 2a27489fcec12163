//! Every kind: a good section, and for every key a wrong one.

use crate::Config;
use crate::inert::{Table, Type};

/// (kind, a good section in flow style); between them they have every key that is not taken for
/// granted.
const GOOD: [(&str, &str); 33] = [
    ("aws", "role: ecs, region: r, clusters: [a], filters: [{name: n, values: [v]}]"),
    ("azure", "subscription_id: s, tenant_id: t, client_id: c, client_secret: hunter2"),
    ("consul", "server: 'c:8500', token: hunter2, services: [a], node_meta: {rack: 1}"),
    ("digitalocean", "bearer_token: hunter2, role: databases"),
    ("docker", "host: 'unix:///var/run/docker.sock', filters: [{name: label, values: [a]}]"),
    ("dockerswarm", "host: 'http://h', role: tasks, port: 9323"),
    ("ec2", "region: r, access_key: a, secret_key: hunter2, filters: [{name: n, values: [v]}]"),
    ("ecs", "region: r, clusters: [a], request_concurrency: 3"),
    ("elasticache", "region: r, role_arn: a, external_id: x"),
    ("eureka", "server: 'http://e:8761/eureka'"),
    ("gce", "project: p, zone: z, filter: 'labels.a = b', port: 1"),
    ("hetzner", "role: hcloud, authorization: {credentials: hunter2}, label_selector: a"),
    ("ionos", "datacenter_id: d, basic_auth: {username: u, password: hunter2}"),
    (
        "kubernetes",
        "role: endpoints, namespaces: {own_namespace: true, names: [a]}, selectors: [{role: pod, \
         label: a=b}, {role: service, field: metadata.name=x}], attach_metadata: {node: true, \
         cronjob: true}",
    ),
    ("kuma", "server: 'http://k:5676', client_id: c, fetch_timeout: 1m"),
    ("lightsail", "region: r, profile: p, endpoint: e"),
    ("linode", "region: r, tag_separator: ';', authorization: {credentials: hunter2}"),
    ("marathon", "servers: ['https://u:hunter2@m'], auth_token: hunter2"),
    ("msk", "region: r, clusters: [a]"),
    ("nerve", "servers: [z], paths: [/a], timeout: 1s"),
    ("nomad", "server: 'http://u:hunter2@n:4646', namespace: n, allow_stale: false"),
    ("oci", "tenancy: t, user: u, fingerprint: f, key_file: k, key_passphrase: hunter2, region: r"),
    ("openstack", "role: instance, region: r, password: hunter2, tls_config: {ca_file: c}"),
    ("outscale", "access_key: a, secret_key: hunter2"),
    (
        "ovhcloud",
        "application_key: a, application_secret: hunter2, consumer_key: hunter2, service: vps",
    ),
    ("puppetdb", "url: 'https://u:hunter2@p/pdb', query: 'resources {}', include_parameters: yes"),
    ("rds", "region: r, filters: [{name: n, values: [v]}]"),
    ("scaleway", "role: instance, project_id: p, access_key: a, secret_key: hunter2"),
    ("serverset", "servers: [z], paths: [/a]"),
    ("stackit", "project: p, service_account_key: hunter2, private_key: hunter2"),
    ("triton", "account: a, dns_suffix: d, endpoint: e, groups: [g], version: 1"),
    ("uyuni", "server: 'https://u', username: u, password: hunter2, separator: ';'"),
    ("vultr", "authorization: {credentials: hunter2}"),
];

/// A scrape config with one section of `kind`, which begins in line 4, column 7.
fn job(kind: &str, section: &str) -> String {
    format!("scrape_configs:\n- job_name: j\n  {kind}_sd_configs:\n    - {{{section}}}\n")
}

fn faults(kind: &str, section: &str) -> Vec<String> {
    let text = job(kind, section);
    let errors = Config::parse(&text, "p.yml").expect_err(&text).to_string();
    errors.lines().map(str::to_string).collect()
}

/// Checks that `kind` refuses `section` with one fault alone, which ends with `message`.
fn one_fault(kind: &str, section: &str, message: &str) {
    let faults = faults(kind, section);
    assert!(faults.len() == 1 && faults[0].ends_with(message), "{kind} {section}: {faults:#?}");
}

#[test]
fn every_kind_takes_what_prometheus_takes_and_shows_it_again() {
    let kinds: Vec<&str> = super::kinds().map(|kind| kind.key).collect();
    for key in &kinds {
        let name = key.trim_end_matches("_sd_configs");
        assert!(GOOD.iter().any(|(kind, _)| *kind == name), "no example of {name}");
    }
    assert_eq!(kinds.len(), GOOD.len());
    for (kind, section) in GOOD {
        let text = job(kind, section);
        let parsed = Config::parse(&text, "p.yml").unwrap_or_else(|errors| panic!("{errors}"));
        let [ignored] = parsed.ignored.as_slice() else { panic!("{:?}", parsed.ignored) };
        assert_eq!(ignored.path, format!("scrape_configs[0].{kind}_sd_configs"));
        assert_eq!(ignored.line, 3);
        let shown = parsed.config.to_yaml();
        assert!(!shown.contains("hunter2"), "{shown}");
        let again = Config::parse(&shown, "p.yml").unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(again.config.to_yaml(), shown);
    }
}

#[test]
fn unknown_keys_are_refused_where_they_stand() {
    for (kind, section) in GOOD {
        let fault = format!("p.yml:4:8: scrape_configs[0].{kind}_sd_configs[0].bogus: field bogus");
        let faults = faults(kind, &format!("bogus: 1, {section}"));
        assert!(faults.len() == 1 && faults[0].starts_with(&fault), "{faults:#?}");
    }
}

#[test]
fn wrong_values_of_every_key_are_refused_where_they_stand() {
    fn check(kind: &str, path: &str, before: &str, after: &str, table: &Table) {
        for row in table.rows.iter().filter(|row| !row.key.is_empty()) {
            let key = row.key;
            let wrong = match row.of {
                Type::Text | Type::Secret | Type::Url => "{a: b}",
                _ => "wrong",
            };
            let faults = faults(kind, &format!("{before}{key}: {wrong}{after}"));
            let column = 8 + before.len() + key.len() + 2;
            let fault = format!("p.yml:4:{column}: scrape_configs[0].{path}.{key}: ");
            assert!(faults.iter().any(|got| got.starts_with(&fault)), "{fault}: {faults:#?}");
            match row.of {
                Type::Section(inner) => {
                    let before = format!("{before}{key}: {{");
                    check(kind, &format!("{path}.{key}"), &before, &format!("}}{after}"), inner);
                }
                Type::Sections(inner) => {
                    let before = format!("{before}{key}: [{{");
                    let path = format!("{path}.{key}[0]");
                    check(kind, &path, &before, &format!("}}]{after}"), inner);
                }
                _ => {}
            }
        }
    }
    for kind in super::kinds() {
        let name = kind.key.trim_end_matches("_sd_configs");
        check(name, &format!("{}[0]", kind.key), "", "", &kind.table);
    }
    for kind in ["kubernetes", "consul", "vultr"] {
        let faults = faults(kind, "tls_config: {ca_fil: x}");
        assert!(faults.iter().any(|f| f.contains("field ca_fil not found")), "{faults:#?}");
    }
}

#[test]
fn required_keys_are_missed() {
    for kind in super::kinds() {
        let name = kind.key.trim_end_matches("_sd_configs");
        for key in kind.required {
            let row = kind.table.rows.iter().find(|row| row.key == *key).expect("a key");
            let empty = if matches!(row.of, Type::Texts | Type::Urls) { "[]" } else { "''" };
            let message = format!("{}[0].{key}: {key} is missing", kind.key);
            let is_missed = |section: &str| faults(name, section).join("\n").contains(&message);
            assert!(is_missed(&format!("{key}: {empty}")), "{message}");
            assert!(!row.default.is_empty() || is_missed(""), "{message}");
        }
        for [one, other] in kind.apart {
            let known = |key| kind.table.rows.iter().any(|row| row.key == key);
            assert!(known(*one), "{one}");
            assert!(known(*other) || ["basic_auth", "authorization", "oauth2"].contains(other));
        }
    }
    one_fault("kubernetes", "", "role is missing");
    one_fault("aws", "role: mq", "\"mq\" is none of ec2, ecs, elasticache, lightsail, msk, rds");
    let text = "scrape_configs:\n- job_name: j\n  gce_sd_configs: [~]\n";
    let error = Config::parse(text, "p.yml").expect_err("empty").to_string();
    assert!(error.ends_with("empty or null section in gce_sd_configs"), "{error}");
}

#[test]
fn what_single_kinds_check() {
    for (kind, section, message) in [
        ("azure", "subscription_id: s, tenant_id: t, client_id: c", "needs client_secret"),
        (
            "consul",
            "token: t, authorization: {credentials: c}",
            "authorization must not be configured beside token",
        ),
        ("ec2", "filters: [{name: n}]", "filters[0]: a filter needs values"),
        ("eureka", "server: 'e:8761'", "URL needs a scheme and a host"),
        ("kuma", "server: /k", "URL needs a scheme and a host"),
        (
            "kubernetes",
            "role: pod, bearer_token: t",
            "settings of the HTTP client need an api_server",
        ),
        (
            "kubernetes",
            "role: pod, api_server: 'http://a', kubeconfig_file: k",
            "kubeconfig_file must not be configured beside api_server",
        ),
        (
            "kubernetes",
            "role: pod, api_server: 'http://a', namespaces: {own_namespace: true}",
            "api_server must not be configured beside own_namespace",
        ),
        (
            "kubernetes",
            "role: pod, selectors: [{role: service}]",
            "selectors[0]: role pod takes only selectors with role: pod, node",
        ),
        (
            "kubernetes",
            "role: node, selectors: [{role: node}, {role: node}]",
            "selectors[1]: there is another selector with role: node",
        ),
        (
            "marathon",
            "servers: [m], auth_token: t, basic_auth: {username: u}",
            "basic_auth must not be configured beside auth_token",
        ),
        ("nerve", "servers: [z], paths: [a]", "paths[0]: a path begins with '/'"),
        (
            "oci",
            "auth: instance_principal, region: r, user: u",
            "user: auth: instance_principal does not take user",
        ),
        (
            "oci",
            "tenancy: t, user: u, fingerprint: f, region: r",
            "key_file: auth: api_key needs key_file",
        ),
        ("puppetdb", "url: 'ftp://p', query: q", "URL scheme must be 'http' or 'https'"),
        (
            "scaleway",
            "role: instance, project_id: p, access_key: a",
            "secret_key or secret_key_file is missing",
        ),
        (
            "triton",
            "account: a, dns_suffix: d, endpoint: e, refresh_interval: 0s",
            "refresh_interval must be positive",
        ),
    ] {
        one_fault(kind, section, message);
    }
    for good in [
        ("azure", "subscription_id: s, authentication_method: ManagedIdentity"),
        ("oci", "auth: instance_principal, region: r"),
        ("consul", ""),
        ("nomad", ""),
    ] {
        let text = job(good.0, good.1);
        assert!(Config::parse(&text, "p.yml").is_ok(), "{text}");
    }
}

#[test]
fn files_are_found_beside_the_configuration() {
    let section = "role: pod, kubeconfig_file: k.yml";
    let mut config = Config::parse(&job("kubernetes", section), "p.yml").expect("good").config;
    config.set_directory(std::path::Path::new("/d"));
    assert!(config.to_yaml().contains("kubeconfig_file: /d/k.yml"), "{}", config.to_yaml());
}
