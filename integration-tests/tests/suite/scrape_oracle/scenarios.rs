//! The scenarios of the scrape oracle: scrape configs, and what their targets say.

use std::fmt::Write as _;
use std::time::Duration;

use pando_integration_tests::exporter::{OPENMETRICS, Reply, TEXT, TEXT_UTF8};
use pando_integration_tests::peers;

/// Scrapes that are compared.
pub(super) const SCRAPES: usize = 10;
/// The scenario whose target is found in a file.
pub(super) const REMOVED: &str = "removed_target";

/// All of them, at a wall time.
pub(super) fn all(now_ms: i64) -> Vec<Scenario> {
    let base_ms = (now_ms / 1000 - 120) * 1000;
    let parts = [labels_and_values(), formats(), own_timestamps(base_ms), limits(), failures()];
    parts.into_iter().flatten().collect()
}

/// One scrape config and what its target says.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// Lines of the scrape config beyond name, path and target.
    settings: &'static str,
    pub(super) replies: Vec<Reply>,
    /// Labels of the target beyond `scenario`.
    labels: &'static str,
    /// The address; the exporter's where absent.
    address: Option<String>,
}

fn scenario(name: &'static str, settings: &'static str, replies: Vec<Reply>) -> Scenario {
    Scenario { name, settings, replies, labels: "", address: None }
}

fn each(reply: impl Fn(usize) -> Reply) -> Vec<Reply> {
    (0..SCRAPES).map(reply).collect()
}

fn texts(body: impl Fn(usize) -> String) -> Vec<Reply> {
    each(|n| Reply::text(body(n)))
}

/// A good reply, and `bad` in the place of some.
fn failing(at: &'static [usize], bad: Reply) -> Vec<Reply> {
    each(|n| match at.contains(&n) {
        true => bad.clone(),
        false => Reply::text(format!("steady {n}\ncoming_{} 1\n", n / 2)),
    })
}

/// What many exporters say, with series that come and go.
fn ordinary(n: usize) -> String {
    let mut body = String::from("# HELP jobs_total Jobs.\n# TYPE jobs_total counter\n");
    for queue in 0..5 {
        // Resets at the sixth scrape.
        let _ = writeln!(body, "jobs_total{{queue=\"q{queue}\"}} {}", (n % 6) * 10 + queue);
    }
    if n % 3 != 1 {
        let _ = writeln!(
            body,
            "# TYPE temperature gauge\ntemperature{{room=\"a b\\\"\\\\\\n\"}} -{n}.25e-3"
        );
    }
    if n < 4 {
        body += "early 1\n";
    }
    if n > 6 {
        body += "late 1\n";
    }
    let _ = writeln!(
        body,
        "# TYPE took_seconds histogram\ntook_seconds_bucket{{le=\"0.1\"}} {n}\n\
         took_seconds_bucket{{le=\"1\"}} {n}\ntook_seconds_bucket{{le=\"+Inf\"}} {n}\n\
         took_seconds_sum {n}.5\ntook_seconds_count {n}\n\
         # TYPE size summary\nsize{{quantile=\"0.5\"}} {n}\nsize{{quantile=\"1\"}} NaN\nsize_sum 3\nsize_count 1"
    );
    body
}

fn labels_and_values() -> Vec<Scenario> {
    vec![
        scenario("ordinary", "", texts(ordinary)),
        scenario(
            "special_values",
            "",
            texts(|n| {
                let value =
                    ["NaN", "+Inf", "-Inf", "1e308", "-0", "0x1p-2", "1_0", "5e-324"][n % 8];
                // One of them is no number for Prometheus: the scrape fails as a whole.
                format!("fine {n}\nspecial {value}\n")
            }),
        ),
        scenario("gzip", "", each(|n| Reply::Gzip(ordinary(n)))),
        scenario("no_compression", "enable_compression: false", each(|n| Reply::Gzip(ordinary(n)))),
        scenario(
            "honor_labels",
            "honor_labels: true",
            texts(|n| {
                format!(
                    "m{{job=\"own\"}} {n}\nm{{instance=\"own\"}} {n}\nm{{job=\"\",instance=\"\"}} {n}\n\
                     m{{exported_job=\"x\"}} {n}\nup{{job=\"own\"}} 7\n"
                )
            }),
        ),
        scenario(
            "clashing_labels",
            "",
            texts(|n| {
                format!(
                    "m{{job=\"own\"}} {n}\nm{{job=\"own\",exported_job=\"other\"}} {n}\n\
                     m{{instance=\"\",a=\"\"}} {n}\nm{{scenario=\"own\",exported_instance=\"i\"}} {n}\n"
                )
            }),
        ),
        Scenario {
            labels: "job: renamed, instance: somewhere, empty: ''",
            ..scenario("target_labels", "", texts(|n| format!("m{{job=\"own\"}} {n}\n")))
        },
        scenario(
            "target_relabelling",
            "params: {module: [a, b]}\n    relabel_configs:\n\
             \x20   - {source_labels: [__address__], regex: '(.+):(.+)', target_label: host, replacement: '$1/${2}'}\n\
             \x20   - {source_labels: [__param_module], target_label: module}\n\
             \x20   - {source_labels: [scenario, job], separator: '|', target_label: both}\n\
             \x20   - {source_labels: [__address__], action: hashmod, modulus: 7, target_label: __tmp}\n\
             \x20   - {source_labels: [__tmp], regex: '\\d', target_label: digit, replacement: 'yes'}\n\
             \x20   - {action: labelmap, regex: '__scrape_(inter.*)__', replacement: 'meta_$1'}\n\
             \x20   - {source_labels: [job], action: uppercase, target_label: job}\n\
             \x20   - {target_label: __param_target, replacement: 'x y&z'}\n\
             \x20   - {source_labels: [scenario], regex: nothing, action: drop}\n\
             \x20   - {source_labels: [scenario], regex: 'target_.*', action: keep}",
            texts(|n| format!("m{{job=\"own\"}} {n}\n")),
        ),
        scenario(
            "metric_relabelling",
            "metric_relabel_configs:\n\
             \x20   - {source_labels: [__name__], regex: 'go_.*', action: drop}\n\
             \x20   - {source_labels: [__name__], regex: 'old_(.*)', target_label: __name__, replacement: 'new_$1'}\n\
             \x20   - {source_labels: [code], regex: '(.)..', target_label: class, replacement: '${1}xx'}\n\
             \x20   - {action: labeldrop, regex: 'noise|le.?'}\n\
             \x20   - {source_labels: [mode], action: lowercase, target_label: mode}\n\
             \x20   - {source_labels: [a], action: dropequal, target_label: b}\n\
             \x20   - {source_labels: [gone], regex: '.+', target_label: gone, replacement: ''}",
            texts(|n| {
                format!(
                    "go_threads {n}\nold_total{{code=\"404\"}} {n}\nplain{{mode=\"IdLe\",noise=\"{n}\"}} {n}\n\
                     pair{{a=\"x\",b=\"x\"}} 1\npair{{a=\"x\",b=\"y\"}} 2\nsome{{gone=\"1\"}} {n}\n"
                )
            }),
        ),
        scenario(
            "everything_dropped",
            "metric_relabel_configs: [{source_labels: [__name__], regex: 'm.*', action: drop}]",
            texts(|n| format!("m1 {n}\nm2 {n}\n")),
        ),
        scenario(
            "name_dropped",
            "metric_relabel_configs: [{target_label: __name__, replacement: ''}]",
            texts(|n| format!("m {n}\n")),
        ),
        scenario(
            "duplicates",
            "",
            texts(|n| match n {
                2 | 3 => format!("a 1\na 2\nb {n}\nb {n}\n"),
                _ => format!("a {n}\n# again\na{{}} {n}\nb {n}\n"),
            }),
        ),
        scenario(
            "duplicates_of_relabelling",
            "metric_relabel_configs: [{action: labeldrop, regex: 'shard'}]",
            texts(|n| format!("a{{shard=\"1\"}} {n}\na{{shard=\"2\"}} {}\nb {n}\n", n + 1)),
        ),
        scenario(
            "utf8_names",
            "",
            each(|n| {
                let body = format!(
                    "{{\"my.metric\",\"a label\"=\"x\"}} {n}\n{{\"größe\"}} {n}\nplain{{\"dotted.label\"=\"ü\"}} {n}\n"
                );
                Reply::Body(TEXT_UTF8, body)
            }),
        ),
    ]
}

fn formats() -> Vec<Scenario> {
    vec![
        scenario(
            "openmetrics",
            "",
            each(|n| {
                let mut body = format!(
                    "# TYPE hits counter\n# UNIT hits \n# HELP hits Hits.\nhits_total{{a=\"b\"}} {n} # {{id=\"x\"}} 1 1.5\n\
                     hits_created{{a=\"b\"}} 1.5\n# TYPE build info\nbuild_info{{v=\"1\"}} 1\n\
                     # TYPE mode stateset\nmode{{mode=\"on\"}} 1\nmode{{mode=\"off\"}} 0\n\
                     # TYPE took histogram\ntook_bucket{{le=\"1.0\"}} {n}\ntook_bucket{{le=\"+Inf\"}} {n}\n\
                     took_sum 1\ntook_count {n}\n"
                );
                // Without its end the body is a broken one.
                if n != 4 {
                    body += "# EOF\n";
                }
                Reply::Body(OPENMETRICS, body)
            }),
        ),
        scenario("no_type", "", each(|n| Reply::Body("", format!("m {n}\n")))),
        scenario(
            "fallback",
            "fallback_scrape_protocol: PrometheusText0.0.4",
            each(|n| Reply::Body(["", "text/html", TEXT][n % 3], format!("m {n}\n"))),
        ),
        scenario(
            "line_ends",
            "",
            texts(|n| match n % 5 {
                0 => format!("a {n}\n\n\nb {n}\n"),
                1 => format!("a\t{n}\nb   {n}\n"),
                2 => format!("a {n}\r\nb {n}\r\n"),
                3 => format!("a {n}\nb {n}"),
                _ => format!("a {n} \n# a comment\n#\nb {n}\n"),
            }),
        ),
    ]
}

fn own_timestamps(base_ms: i64) -> Vec<Scenario> {
    let at = move |n: usize| base_ms + 1000 * n as i64;
    let timed = move |n: usize, jumps: bool| {
        let t = match n {
            // Late by some samples, then one time with two values, then one that is said again.
            5 if jumps => at(2) + 500,
            6 if jumps => at(4),
            8 if jumps => at(7),
            n => at(n),
        };
        let value = if n == 8 && jumps { 7 } else { n };
        let mut body = format!("timed {value} {t}\nuntimed {n}\n");
        if n % 4 < 2 {
            let _ = writeln!(body, "timed_gone {n} {}", at(n));
        }
        // The same series, now with a time of its own and now without.
        let _ = match n % 2 {
            0 => writeln!(body, "sometimes {n}"),
            _ => writeln!(body, "sometimes {n} {}", at(n)),
        };
        body
    };
    vec![
        scenario("timestamps", "", texts(move |n| timed(n, true))),
        scenario("timestamps_ignored", "honor_timestamps: false", texts(move |n| timed(n, true))),
        // Prometheus takes a sample that its storage refuses for one that has vanished. Whoever scrapes for a
        // shard elsewhere does not know.
        scenario(
            "timestamps_tracked",
            "track_timestamps_staleness: true",
            texts(move |n| timed(n, false)),
        ),
        scenario(
            "timestamps_ahead",
            "",
            texts(move |n| {
                format!("soon {n} {}\nfar {n} {}\nnow {n}\n", at(n), at(n) + 86_400_000)
            }),
        ),
    ]
}

fn limits() -> Vec<Scenario> {
    let sized = |lines: fn(usize) -> usize| {
        texts(move |n| (0..lines(n)).map(|i| format!("m{{i=\"{i}\"}} {n}\n")).collect())
    };
    vec![
        scenario("sample_limit", "sample_limit: 3", sized(|n| 2 + n % 3)),
        scenario(
            "sample_limit_after_relabelling",
            "sample_limit: 3\n    metric_relabel_configs: [{source_labels: [i], regex: '[01]', action: drop}]",
            sized(|n| 4 + n % 3),
        ),
        scenario("body_size_limit", "body_size_limit: 60B", sized(|n| 4 + n % 4)),
        scenario(
            "label_limit",
            // Name, i, scenario, job, instance.
            "label_limit: 5",
            texts(|n| match n % 3 {
                1 => format!("a {n}\nm{{i=\"1\",j=\"2\"}} {n}\n"),
                _ => format!("a {n}\nm{{i=\"1\"}} {n}\n"),
            }),
        ),
        scenario(
            "label_name_length_limit",
            "label_name_length_limit: 10",
            texts(|n| match n % 3 {
                1 => format!("m{{label_of_16_chars=\"1\"}} {n}\n"),
                _ => format!("m{{i=\"1\"}} {n}\n"),
            }),
        ),
        scenario(
            "label_value_length_limit",
            "label_value_length_limit: 40",
            texts(|n| format!("m{{i=\"{}\"}} {n}\n", "v".repeat(if n % 3 == 1 { 41 } else { 40 }))),
        ),
        scenario("target_limit", "target_limit: 1", texts(|n| format!("m {n}\n"))),
    ]
}

fn failures() -> Vec<Scenario> {
    let hang = Reply::Hang(Duration::from_secs(5));
    vec![
        scenario("status_500", "", failing(&[2, 3, 7], Reply::Status(500, "steady 5\n".into()))),
        scenario("status_204", "", failing(&[2, 7], Reply::Status(204, String::new()))),
        scenario(
            "broken_body",
            "",
            failing(&[3, 6], Reply::Broken("steady 5\ncut_off 1\n".into())),
        ),
        scenario("hangs", "", failing(&[3, 4], hang)),
        scenario(
            "garbage",
            "",
            failing(&[0, 4], Reply::text("steady 1\n\u{1}\u{2} what{{{ is this\n")),
        ),
        scenario("not_text", "", failing(&[4], Reply::Body("image/png", "steady 1\n".into()))),
        scenario("empty", "", failing(&[4, 5], Reply::text(""))),
        scenario("value_missing", "", failing(&[3], Reply::text("steady 1\ncut\n"))),
        // Its target is in a file and vanishes at the end.
        scenario(REMOVED, "", texts(ordinary)),
        Scenario { address: Some(peers::free_address()), ..scenario("refused", "", Vec::new()) },
    ]
}

/// The prometheus.yml of all scenarios, and the file with the target that will be removed.
pub(super) fn config(scenarios: &[Scenario], exporter: &str) -> (String, String) {
    let mut text = head();
    let mut removed = String::new();
    for Scenario { name, settings, labels, address, .. } in scenarios {
        let address = address.as_deref().unwrap_or(exporter);
        if *name == REMOVED {
            removed = format!("- {{targets: ['{address}'], labels: {{scenario: {name}}}}}\n");
            let _ = write!(
                text,
                "  - job_name: {name}\n    metrics_path: /{name}\n    file_sd_configs:\n\
                 \x20   - {{files: [targets.yml], refresh_interval: 1s}}\n"
            );
            continue;
        }
        // Two targets are one too many for the limit.
        let second = match *name {
            "target_limit" => format!(", '{}'", address.replace("127.0.0.1", "localhost")),
            _ => String::new(),
        };
        let _ = write!(
            text,
            "  - job_name: {name}\n    metrics_path: /{name}\n    static_configs:\n\
             \x20   - {{targets: ['{address}'{second}], labels: {{scenario: {name}, {labels}}}}}\n    {settings}\n"
        );
    }
    (text, removed)
}

/// The beginning of every prometheus.yml here. Prometheus takes late samples only where it is told to; Pando does
/// by itself.
pub(super) fn head() -> String {
    "global: {scrape_interval: 1s, scrape_timeout: 800ms}\n\
     storage: {tsdb: {out_of_order_time_window: 3h}}\nscrape_configs:\n"
        .to_string()
}
