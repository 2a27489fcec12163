//! Which text format `/metrics` answers in, and OpenMetrics 1.0 turned into Prometheus' text format 0.0.4, which is
//! what every scraper reads.

use std::fmt::Write as _;

/// The content type of [`plain`].
pub(super) const TEXT_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether who sends `accept` would rather have OpenMetrics than plain text.
pub(super) fn prefers_open_metrics(accept: &str) -> bool {
    let (mut open, mut plain) = (None::<f32>, None::<f32>);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut known) = (1.0f32, true);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => quality = value.parse().unwrap_or(0.0),
                "version" if media == "application/openmetrics-text" => known = value == "1.0.0",
                _ => {}
            }
        }
        let best = match media.as_str() {
            "application/openmetrics-text" if known => &mut open,
            "text/plain" | "text/*" | "*/*" => &mut plain,
            _ => continue,
        };
        *best = Some(best.map_or(quality, |before| before.max(quality)));
    }
    match (open, plain) {
        (Some(open), Some(plain)) => open > 0.0 && open >= plain,
        (Some(open), None) => open > 0.0,
        (None, _) => false,
    }
}

/// `open_metrics` as plain text: counters are named by their samples, and what only OpenMetrics has (units,
/// exemplars, the end mark) is left out.
pub(super) fn plain(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            family(&mut out, rest, help.take());
        } else if !line.starts_with('#') && !line.is_empty() {
            out.push_str(without_exemplar(line));
            out.push('\n');
        }
    }
    out
}

/// Writes HELP and TYPE of a family. In OpenMetrics HELP may come before TYPE or after it; our encoder writes it
/// before.
fn family(out: &mut String, name_and_type: &str, help: Option<(&str, &str)>) {
    let Some((name, kind)) = name_and_type.split_once(' ') else { return };
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "stateset" => ("", "gauge"),
        "unknown" => ("", "untyped"),
        "gaugehistogram" => ("", "histogram"),
        kind => ("", kind),
    };
    if let Some((_, text)) = help.filter(|(of, _)| *of == name) {
        // A quote is escaped in OpenMetrics' help and not here.
        let _ = writeln!(out, "# HELP {name}{suffix} {}", text.replace("\\\"", "\""));
    }
    let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
}

/// An exemplar follows a sample's value after ` # `; labels may hold that text too, within quotes.
fn without_exemplar(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '#' if !quoted => return line[..at].trim_end(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_liked_format_wins_and_plain_text_where_none_is() {
        let cases = [
            ("", false),
            ("*/*", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.9", false),
            (
                "application/openmetrics-text; version=1.0.0; charset=utf-8;q=0.9, text/plain;q=0.2",
                true,
            ),
            (
                "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5",
                false,
            ),
            ("application/openmetrics-text;q=0", false),
        ];
        for (accept, open) in cases {
            assert_eq!(prefers_open_metrics(accept), open, "{accept}");
        }
    }

    #[test]
    fn open_metrics_becomes_plain_text() {
        let open = concat!(
            "# HELP a Says \\\"a\\\".\n# TYPE a counter\n# UNIT a bytes\n",
            "a_total{x=\"\\\" # y\"} 1 # {trace=\"t\"} 0.5\n",
            "# HELP b Of b.\n# TYPE b histogram\nb_sum 1.0\nb_bucket{le=\"+Inf\"} 2 # {t=\"x\"} 1.0\n",
            "# TYPE c info\nc_info{v=\"1\"} 1\n# TYPE d unknown\nd 3\n# EOF\n",
        );
        let text = concat!(
            "# HELP a_total Says \"a\".\n# TYPE a_total counter\n",
            "a_total{x=\"\\\" # y\"} 1\n",
            "# HELP b Of b.\n# TYPE b histogram\nb_sum 1.0\nb_bucket{le=\"+Inf\"} 2\n",
            "# TYPE c_info gauge\nc_info{v=\"1\"} 1\n# TYPE d untyped\nd 3\n",
        );
        assert_eq!(plain(open), text);
    }
}
