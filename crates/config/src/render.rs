//! YAML out, in the look of Prometheus' own `/api/v1/status/config`.
//!
//! Two blanks of indent, lists level with their key, plain scalars where they stay what they are.

use crate::node::{Kind, Node};
use crate::secret::{HIDDEN, redact_url};

/// A value to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Yaml {
    /// A text, quoted where it must be.
    Text(String),
    /// A number, a bool or anything else that is written as it is.
    Raw(String),
    List(Vec<Yaml>),
    /// A list of texts on one line.
    Flow(Vec<String>),
    Map(Fields),
}

/// The keys of a map in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields(pub(crate) Vec<(String, Yaml)>);

impl Fields {
    pub(crate) fn put(&mut self, key: &str, value: Yaml) {
        self.0.push((key.to_string(), value));
    }

    /// Writes `key` whatever the value is.
    pub(crate) fn raw(&mut self, key: &str, value: impl ToString) {
        self.put(key, Yaml::Raw(value.to_string()));
    }

    /// Leaves an empty text out.
    pub(crate) fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.put(key, Yaml::Text(value.to_string()));
        }
    }

    /// Leaves 0 out.
    pub(crate) fn number(&mut self, key: &str, value: u64) {
        if value != 0 {
            self.raw(key, value);
        }
    }

    /// Leaves false out.
    pub(crate) fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.raw(key, value);
        }
    }

    /// Leaves an empty list out.
    pub(crate) fn texts(&mut self, key: &str, values: &[String]) {
        if !values.is_empty() {
            self.put(key, texts(values));
        }
    }

    /// Leaves an empty list out.
    pub(crate) fn list(&mut self, key: &str, values: Vec<Yaml>) {
        if !values.is_empty() {
            self.put(key, Yaml::List(values));
        }
    }

    /// Leaves an empty map out.
    pub(crate) fn map<'a>(
        &mut self,
        key: &str,
        entries: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) {
        let text = |(k, v): (&String, &String)| (k.clone(), Yaml::Text(v.clone()));
        let entries: Vec<_> = entries.into_iter().map(text).collect();
        if !entries.is_empty() {
            self.put(key, Yaml::Map(Fields(entries)));
        }
    }

    /// The document.
    pub(crate) fn write(&self) -> String {
        let mut out = String::new();
        self.write_at(&mut out, 0, false);
        out
    }

    /// Writes the entries, each on a line of its own; with `inline` the first one continues a line.
    fn write_at(&self, out: &mut String, indent: usize, inline: bool) {
        for (i, (key, value)) in self.0.iter().enumerate() {
            if i > 0 || !inline {
                push_indent(out, indent);
            }
            push_text(out, key, indent);
            out.push(':');
            value.write_after_key(out, indent);
        }
    }
}

pub(crate) fn texts(values: &[String]) -> Yaml {
    Yaml::List(values.iter().cloned().map(Yaml::Text).collect())
}

impl Yaml {
    fn write_after_key(&self, out: &mut String, indent: usize) {
        match self {
            Yaml::List(items) if !items.is_empty() => {
                out.push('\n');
                write_items(items, out, indent);
            }
            Yaml::Map(fields) if !fields.0.is_empty() => {
                out.push('\n');
                fields.write_at(out, indent + 2, false);
            }
            scalar => {
                out.push(' ');
                scalar.write_scalar(out, indent);
                out.push('\n');
            }
        }
    }

    fn write_scalar(&self, out: &mut String, indent: usize) {
        match self {
            Yaml::Text(text) => push_text(out, text, indent + 2),
            Yaml::Raw(text) => out.push_str(text),
            Yaml::Flow(texts) => {
                out.push('[');
                for (i, text) in texts.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    push_flow_text(out, text);
                }
                out.push(']');
            }
            Yaml::List(_) => out.push_str("[]"),
            Yaml::Map(_) => out.push_str("{}"),
        }
    }

    /// `node` with everything hidden whose key says that it is a secret, and passwords out of URLs.
    pub(crate) fn of_node(node: &Node) -> Yaml {
        match &node.kind {
            Kind::Null => Yaml::Raw("null".to_string()),
            Kind::Bool(_, text) | Kind::Number(text) => Yaml::Raw(text.clone()),
            Kind::Text(text) => Yaml::Text(redact_url(text)),
            Kind::List(items) => Yaml::List(items.iter().map(Yaml::of_node).collect()),
            Kind::Map(entries) => {
                let mut fields = Fields::default();
                for (key, value) in entries {
                    let key = key.text().unwrap_or_default();
                    let value =
                        if is_secret_key(key) { Yaml::hidden(value) } else { Yaml::of_node(value) };
                    fields.put(key, value);
                }
                Yaml::Map(fields)
            }
        }
    }

    /// The shape of `node` with every scalar hidden.
    fn hidden(node: &Node) -> Yaml {
        match &node.kind {
            Kind::Null => Yaml::Raw("null".to_string()),
            Kind::Bool(..) | Kind::Number(_) | Kind::Text(_) => Yaml::Text(HIDDEN.to_string()),
            Kind::List(items) => Yaml::List(items.iter().map(Yaml::hidden).collect()),
            Kind::Map(entries) => {
                let entry = |(key, value): &(Node, Node)| {
                    (key.text().unwrap_or_default().to_string(), Yaml::hidden(value))
                };
                Yaml::Map(Fields(entries.iter().map(entry).collect()))
            }
        }
    }
}

/// Whether the value of a key is to be hidden although nothing else is known of the key. Files and
/// URLs that lead to a secret are none.
fn is_secret_key(key: &str) -> bool {
    const WORDS: [&str; 7] =
        ["password", "secret", "secrets", "token", "credentials", "credential_secret", "key"];
    let key = key.to_ascii_lowercase();
    key == "proxy_connect_header" || WORDS.iter().any(|word| key.ends_with(word))
}

fn write_items(items: &[Yaml], out: &mut String, indent: usize) {
    for item in items {
        push_indent(out, indent);
        out.push_str("- ");
        match item {
            Yaml::Map(fields) if !fields.0.is_empty() => fields.write_at(out, indent + 2, true),
            Yaml::List(inner) if !inner.is_empty() => {
                // A list in a list begins on its parent's line.
                let mut nested = String::new();
                write_items(inner, &mut nested, indent + 2);
                out.push_str(nested.trim_start());
            }
            scalar => {
                scalar.write_scalar(out, indent);
                out.push('\n');
            }
        }
    }
}

fn push_indent(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Writes `text` as a scalar in block style; `indent` is that of a block that it may need.
fn push_text(out: &mut String, text: &str, indent: usize) {
    if resolves_to_other(text) {
        push_double_quoted(out, text);
    } else if text.contains('\n') && can_be_block(text) {
        let chomp = match text.len() - text.trim_end_matches('\n').len() {
            0 => "-",
            1 => "",
            _ => "+",
        };
        out.push('|');
        out.push_str(chomp);
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            out.push('\n');
            if !line.is_empty() {
                push_indent(out, indent);
            }
            out.push_str(line);
        }
    } else if text.chars().any(char::is_control) {
        push_double_quoted(out, text);
    } else if can_be_plain(text) {
        out.push_str(text);
    } else {
        push_single_quoted(out, text);
    }
}

fn push_flow_text(out: &mut String, text: &str) {
    if resolves_to_other(text) || text.chars().any(char::is_control) {
        push_double_quoted(out, text);
    } else if can_be_plain(text) && !text.contains([',', '?', '[', ']', '{', '}', ':']) {
        out.push_str(text);
    } else {
        push_single_quoted(out, text);
    }
}

fn push_single_quoted(out: &mut String, text: &str) {
    out.push('\'');
    out.push_str(&text.replace('\'', "''"));
    out.push('\'');
}

fn push_double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whether a reader would take the plain text for something that is no text: null, a bool, a
/// number, a date.
fn resolves_to_other(text: &str) -> bool {
    const WORDS: [&str; 11] =
        ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let lower = text.to_ascii_lowercase();
    if WORDS.contains(&lower.as_str()) || text == "<<" {
        return true;
    }
    let unsigned = lower.strip_prefix(['-', '+']).unwrap_or(&lower);
    if matches!(unsigned, ".inf" | ".nan") {
        return true;
    }
    let number = unsigned.replace('_', "");
    let radix = |prefix: &str, radix| {
        number.strip_prefix(prefix).is_some_and(|d| u64::from_str_radix(d, radix).is_ok())
    };
    let is_float = number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && number.parse::<f64>().is_ok();
    let is_date = number.len() >= 8
        && number.bytes().filter(|b| *b == b'-').count() >= 2
        && number.split(['t', ' ']).next().is_some_and(|date| {
            let parts: Vec<&str> = date.split('-').collect();
            let digits = |part: &&str| part.bytes().all(|b| b.is_ascii_digit());
            parts.len() == 3 && parts[0].len() == 4 && parts.iter().all(digits)
        });
    is_float || is_date || radix("0x", 16) || radix("0o", 8) || radix("0b", 2)
}

fn can_be_plain(text: &str) -> bool {
    let starts_well = !text.starts_with(|c| "#,[]{}&*!|>'\"%@` ".contains(c))
        && !text.starts_with("---")
        && !text.starts_with("...")
        && !["-", "?"].contains(&text)
        && !text.starts_with("- ")
        && !text.starts_with("? ");
    starts_well && !text.ends_with([' ', ':']) && !text.contains(": ") && !text.contains(" #")
}

/// Whether a text of several lines can be written as a block, whose lines are taken as they are.
fn can_be_block(text: &str) -> bool {
    let odd = |c: char| c.is_control() && c != '\n';
    !text.starts_with([' ', '\n']) && !text.contains(odd) && !text.contains(" \n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> String {
        let mut out = String::new();
        push_text(&mut out, text, 2);
        out
    }

    #[test]
    fn quotes_as_prometheus_does() {
        let cases = [
            ("abc", "abc"),
            ("", "\"\""),
            ("1.10", "\"1.10\""),
            ("5", "\"5\""),
            ("0x1F", "\"0x1F\""),
            ("yes", "\"yes\""),
            ("N", "\"N\""),
            ("null", "\"null\""),
            ("2023-01-01", "\"2023-01-01\""),
            ("10.0.0.1", "10.0.0.1"),
            ("a:9090", "a:9090"),
            ("foo: bar", "'foo: bar'"),
            ("a #b", "'a #b'"),
            ("it's: x", "'it''s: x'"),
            ("[a]", "'[a]'"),
            ("(.*)", "(.*)"),
            ("$1", "$1"),
            (";", ";"),
            ("-a", "-a"),
            ("- a", "'- a'"),
            ("%a", "'%a'"),
            (" a", "' a'"),
            ("a\tb", "\"a\\tb\""),
            ("a\nb", "|-\n  a\n  b"),
            ("a\n\nb\n", "|\n  a\n\n  b"),
            ("é", "é"),
        ];
        for (text, want) in cases {
            assert_eq!(scalar(text), want);
            let document = format!("k: {want}\n");
            let read = Node::parse(&document, 100).unwrap();
            let Kind::Map(entries) = &read.kind else { panic!("{document}") };
            assert!(matches!(&entries[0].1.kind, Kind::Text(back) if back == text), "{document}");
        }
    }

    #[test]
    fn hides_what_unknown_sections_may_hold() {
        let text = "server: http://u:pw@x/\npassword: a\nclient_secret: b\ntoken_file: c\nauth_token: d\n\
                    secrets: [e, {f: 1}]\ntoken_url: g\nlist:\n- secret_key: h\n  port: 8\n- [1, [2]]\n";
        let Yaml::Map(fields) = Yaml::of_node(&Node::parse(text, 100).unwrap()) else { panic!() };
        assert_eq!(
            fields.write(),
            "server: http://u:xxxxx@x/\npassword: <secret>\nclient_secret: <secret>\ntoken_file: c\n\
             auth_token: <secret>\nsecrets:\n- <secret>\n- f: <secret>\ntoken_url: g\nlist:\n\
             - secret_key: <secret>\n  port: 8\n- - 1\n  - - 2\n"
        );
    }
}
