//! Labels, relabelling and checks, as Prometheus does them.

use super::*;
use crate::testing::config;

fn set_of(keys: &str) -> TargetSet {
    let file = format!("scrape_configs:\n- job_name: j\n  {}\n", keys.replace('\n', "\n  "));
    let scrape = config(&file).scrape_configs.remove(0);
    targets(&scrape, scrape.static_configs())
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

#[test]
fn a_target_has_the_labels_of_prometheus() {
    let set = set_of(
        "params: {module: [one, two]}\nscheme: https\nstatic_configs:\n\
         - targets: ['host:1']\n  labels: {env: prod, __meta_x: y, __address__: not-mine}",
    );
    let [target] = set.active.as_slice() else { panic!("{set:?}") };
    let discovered = [
        ("__address__", "host:1"),
        ("__meta_x", "y"),
        ("__metrics_path__", "/metrics"),
        ("__param_module", "one"),
        ("__scheme__", "https"),
        ("__scrape_interval__", "1m"),
        ("__scrape_timeout__", "10s"),
        ("env", "prod"),
        ("job", "j"),
    ];
    assert_eq!(target.discovered_labels, labels(&discovered));
    let public = [("env", "prod"), ("instance", "host:1"), ("job", "j")];
    assert_eq!(target.public_labels, labels(&public));
    assert_eq!(target.labels.get("__meta_x"), None);
    assert_eq!(target.shown_url, "https://host:1/metrics?module=one&module=two");
    assert_eq!((target.interval_ms, target.timeout_ms), (60_000, 10_000));
}

#[test]
fn rules_can_move_a_target_to_another_place() {
    let set = set_of(
        "relabel_configs:\n\
         - {source_labels: [__address__], target_label: __param_target}\n\
         - {source_labels: [__param_target], target_label: instance}\n\
         - {target_label: __address__, replacement: 'prober:9115'}\n\
         - {target_label: __metrics_path__, replacement: /probe}\n\
         - {target_label: __scrape_interval__, replacement: 5s}\n\
         - {target_label: __scrape_timeout__, replacement: 500ms}\n\
         static_configs: [{targets: ['https://example.org/?a=b']}]",
    );
    let [target] = set.active.as_slice() else { panic!("{set:?}") };
    let url = "http://prober:9115/probe?target=https%3A%2F%2Fexample.org%2F%3Fa%3Db";
    assert_eq!(target.shown_url, url);
    assert_eq!(target.url.as_str(), url);
    assert_eq!(target.public_labels.value("instance"), "https://example.org/?a=b");
    assert_eq!((target.interval_ms, target.timeout_ms), (5_000, 500));
}

#[test]
fn dropped_targets_are_counted_and_kept_as_far_as_wanted() {
    let keys = "keep_dropped_targets: 2\nrelabel_configs:\n\
                - {source_labels: [__address__], regex: 'keep.*', action: keep}\n\
                static_configs: [{targets: ['keep:1', 'a:1', 'b:1', 'c:1']}]";
    let set = set_of(keys);
    assert_eq!((set.active.len(), set.dropped.len(), set.dropped_count), (1, 2, 3));
    assert_eq!(set.dropped[0].discovered_labels.value("__address__"), "a:1");
    let all = set_of(&keys.replace("keep_dropped_targets: 2\n", ""));
    assert_eq!(all.dropped.len(), 3);
}

#[test]
fn what_cannot_be_scraped_is_said_and_does_no_harm_to_others() {
    for (rule, why) in [
        ("{target_label: __address__, replacement: ''}", "no address"),
        ("{target_label: __address__, replacement: 'a/b'}", "\"a/b\" is not a valid hostname"),
        (
            "{target_label: __scrape_interval__, replacement: x}",
            "error parsing scrape interval: not a valid duration string: \"x\"",
        ),
        ("{target_label: __scrape_interval__, replacement: '0'}", "scrape interval cannot be 0"),
        ("{target_label: __scrape_timeout__, replacement: '0s'}", "scrape timeout cannot be 0"),
        (
            "{target_label: __scrape_timeout__, replacement: 2m}",
            "scrape timeout cannot be greater than scrape interval (\"2m\" > \"1m\")",
        ),
        (
            "{target_label: __unix_socket__, replacement: /s}",
            "label __unix_socket__: unix sockets are not supported",
        ),
        ("{target_label: __scheme__, replacement: ftp}", "unsupported protocol scheme \"ftp\""),
    ] {
        // The rule spoils one target of two.
        let rule = rule.replace('{', "{source_labels: [__address__], regex: 'bad:.*', ");
        let set = set_of(&format!(
            "relabel_configs: [{rule}]\nstatic_configs: [{{targets: ['bad:1', 'good:1']}}]"
        ));
        assert_eq!(set.active.len(), 1, "{why}");
        let [fault] = set.faults.as_slice() else { panic!("{why}: {:?}", set.faults) };
        assert!(fault.ends_with(why), "{fault}");
    }
}

#[test]
fn equal_targets_are_one_and_identities_do_not_depend_on_order() {
    let set = set_of("static_configs: [{targets: ['b:1', 'a:1', 'b:1']}]");
    let other = set_of("static_configs: [{targets: ['a:1']}, {targets: ['b:1']}]");
    let ids = |set: &TargetSet| set.active.iter().map(|t| t.id()).collect::<Vec<_>>();
    assert_eq!(ids(&set), ids(&other));
    assert_eq!(set.active.len(), 2);
    assert_ne!(set.active[0].id(), set.active[1].id());
    assert_eq!(set.active[0].offset_hash(), PINNED, "agents of two versions must agree");
}
const PINNED: u64 = 728_912_961_962_181_614;

#[test]
fn no_port_is_made_up_and_ipv6_works() {
    let set = set_of("static_configs: [{targets: ['plain', '[::1]:90', 'std:80']}]");
    let urls: Vec<&str> = set.active.iter().map(|t| t.shown_url.as_str()).collect();
    let mut sorted = urls.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        ["http://[::1]:90/metrics", "http://plain/metrics", "http://std:80/metrics"]
    );
}
