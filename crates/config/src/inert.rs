//! Sections that Pando checks and shows but does not act on, described by tables instead of types.
//!
//! A table row says a key's type and default; reading a section by its table finds unknown keys and
//! wrong values, and yields what is to be shown. A section that comes to life gets a type of its
//! own and leaves.

use std::path::Path;

use pando_model::duration::format_duration;
use pando_model::number::go_quote;
use pando_model::relabel::NameScheme;

use crate::discovery::Discovery;
use crate::http_client::{HttpClientConfig, is_reserved_remote_header};
use crate::node::Node;
use crate::relabel;
use crate::render::{Fields, Yaml, texts};
use crate::secret::redact_url;
use crate::section::{Findings, Section, Value};
use crate::size::format_size;
use crate::target_group::read_label_set;

/// A section by its keys, in the order in which they are shown.
pub(crate) struct Table {
    /// Names the section in faults.
    pub(crate) type_name: &'static str,
    pub(crate) rows: &'static [Row],
    /// What the rows cannot say.
    pub(crate) check: fn(&mut Section<'_>, &Shown, &mut Findings),
}

pub(crate) struct Row {
    /// The key; empty for [`Type::Http`] and [`Type::Discovery`], which are many.
    pub(crate) key: &'static str,
    pub(crate) of: Type,
    /// What is shown where the key is not written; empty: nothing. For a section: the section's
    /// defaults.
    pub(crate) default: &'static str,
}

/// The type of a key.
pub(crate) enum Type {
    Text,
    Url,
    Secret,
    Bool,
    Int,
    Float,
    Duration,
    Size,
    Texts,
    Urls,
    /// Texts by names of any kind.
    TextMap,
    LabelMap,
    /// Headers, of which some are reserved.
    Headers,
    /// Relabelling rules; the text names one that is empty.
    Rules(&'static str),
    /// One of these texts; the function says what is wrong with another.
    OneOf(&'static [&'static str], fn(&str) -> String),
    /// One of these texts, which the fault lists.
    Word(&'static [&'static str]),
    Section(&'static Table),
    /// A list of sections.
    Sections(&'static Table),
    Tls,
    /// The HTTP client settings, with the default of `enable_http2`.
    Http(bool),
    /// The keys of service discovery.
    Discovery,
}

/// A row; see [`Row`].
pub(crate) const fn row(key: &'static str, of: Type, default: &'static str) -> Row {
    Row { key, of, default }
}

/// The check of a table whose rows say everything.
pub(crate) fn nothing(_: &mut Section<'_>, _: &Shown, _: &mut Findings) {}

/// What a section shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shown {
    pub(crate) fields: Fields,
}

impl Shown {
    /// The number that `key` shows, be it written or the default.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.raw(key)?.parse().ok()
    }

    /// The duration in ms that `key` shows.
    pub(crate) fn duration_ms(&self, key: &str) -> Option<i64> {
        pando_model::duration::parse_duration(self.raw(key)?).ok()
    }

    /// The text that `key` shows, where it is written.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.fields.0.iter().find_map(|(name, value)| match value {
            Yaml::Text(text) if name == key => Some(text.as_str()),
            _ => None,
        })
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.fields.0.iter().any(|(name, _)| name == key)
    }

    /// Whether `key` shows false.
    pub(crate) fn is_off(&self, key: &str) -> bool {
        self.raw(key) == Some("false")
    }

    fn raw(&self, key: &str) -> Option<&str> {
        self.fields.0.iter().find_map(|(name, value)| match value {
            Yaml::Raw(text) if name == key => Some(text.as_str()),
            _ => None,
        })
    }
}

/// Reads the section `value` by `table`.
pub(crate) fn read(
    value: &Value<'_>,
    table: &'static Table,
    scheme: NameScheme,
    cx: &mut Findings,
) -> Shown {
    let mut s = value.section(cx, table.type_name);
    let mut shown = Shown::default();
    let fields = &mut shown.fields;
    for row in table.rows {
        match &row.of {
            Type::Http(http2) => {
                // What is not acted on need not say so of each of its parts.
                let mut inner = Findings::default();
                let http = HttpClientConfig::read(&mut s, *http2, &mut inner);
                cx.take_faults(inner);
                http.put_fields(fields);
            }
            Type::Discovery => {
                let check_targets = !shown_key(fields, "relabel_configs");
                let mut inner = Findings::default();
                Discovery::read(&mut s, check_targets, &mut inner).put_fields(fields);
                cx.take_faults(inner);
            }
            Type::Rules(what) => {
                let rules = relabel::read(&mut s, row.key, what, scheme, cx);
                relabel::put_rules(fields, row.key, &rules);
            }
            of => {
                let written = s.given(row.key).and_then(|value| show(&value, of, scheme, cx));
                match written {
                    Some(Yaml::Text(text)) if text.is_empty() => {}
                    Some(yaml) => fields.put(row.key, yaml),
                    None if row.default.is_empty() => {}
                    None => match of {
                        Type::Section(table) => {
                            let absent = Node::null();
                            let inner = read(&Value::root(&absent), table, scheme, cx);
                            fields.put(row.key, Yaml::Map(inner.fields));
                        }
                        _ => fields.raw(row.key, row.default),
                    },
                }
            }
        }
    }
    (table.check)(&mut s, &shown, cx);
    s.finish(cx);
    shown
}

fn shown_key(fields: &Fields, key: &str) -> bool {
    fields.0.iter().any(|(name, _)| name == key)
}

fn show(value: &Value<'_>, of: &Type, scheme: NameScheme, cx: &mut Findings) -> Option<Yaml> {
    let raw = |text: String| Some(Yaml::Raw(text));
    match of {
        Type::Text => value.string(cx).map(Yaml::Text),
        Type::Url => value.string(cx).map(|url| Yaml::Text(redact_url(&url))),
        Type::Secret => value.secret(cx).map(|secret| Yaml::Text(secret.shown().to_string())),
        Type::Bool => raw(value.bool(cx)?.to_string()),
        Type::Int => raw(value.int(cx)?.to_string()),
        Type::Float => raw(value.float(cx)?.to_string()),
        Type::Duration => raw(format_duration(value.duration_ms(cx)?)),
        Type::Size => raw(format_size(value.size(cx)?)),
        Type::Texts => some_texts(value.strings(cx)),
        Type::Urls => some_texts(value.strings(cx).iter().map(|url| redact_url(url)).collect()),
        Type::TextMap => text_map(value.string_map(cx)),
        Type::LabelMap => text_map(read_label_set(value, cx)),
        Type::Headers => {
            for (name, header) in value.entries(cx, "map[string]string") {
                if is_reserved_remote_header(&name) {
                    let message = match name.eq_ignore_ascii_case("authorization") {
                        true => "authorization header must be changed via the basic_auth, \
                                 authorization, oauth2, sigv4, azuread or google_iam parameter"
                            .to_string(),
                        false => format!("{name} is a reserved header. It must not be changed"),
                    };
                    cx.fault(header.key_place, &header.path, message);
                }
            }
            text_map(value.string_map(cx))
        }
        Type::OneOf(known, complain) => {
            let check = |text: &str| match known.contains(&text) {
                true => Ok(Yaml::Text(text.to_string())),
                false => Err(complain(text)),
            };
            value.parse(cx, "string", check)
        }
        Type::Word(known) => {
            let check = |text: &str| match known.contains(&text) {
                true => Ok(Yaml::Text(text.to_string())),
                false => Err(format!("{} is none of {}", go_quote(text), known.join(", "))),
            };
            value.parse(cx, "string", check)
        }
        Type::Section(table) => Some(Yaml::Map(read(value, table, scheme, cx).fields)),
        Type::Sections(table) => {
            let items = value.items(cx, "a list");
            let items = items.iter().map(|item| Yaml::Map(read(item, table, scheme, cx).fields));
            Some(Yaml::List(items.collect())).filter(|list| *list != Yaml::List(Vec::new()))
        }
        Type::Tls => {
            let fields = crate::tls::TlsConfig::read(value, cx).fields();
            (!fields.0.is_empty()).then_some(Yaml::Map(fields))
        }
        Type::Rules(_) | Type::Http(_) | Type::Discovery => None,
    }
}

fn some_texts(list: Vec<String>) -> Option<Yaml> {
    (!list.is_empty()).then(|| texts(&list))
}

fn text_map(entries: impl IntoIterator<Item = (String, String)>) -> Option<Yaml> {
    let text = |(key, value): (String, String)| (key, Yaml::Text(value));
    let mut entries: Vec<_> = entries.into_iter().map(text).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    (!entries.is_empty()).then_some(Yaml::Map(Fields(entries)))
}

/// Joins the relative paths of `fields` with `dir`: those of all keys that end in `_file`.
pub(crate) fn set_directory(fields: &mut Fields, dir: &Path) {
    for (key, value) in &mut fields.0 {
        match value {
            Yaml::Text(path) if key.ends_with("_file") => crate::http_client::join_dir(dir, path),
            Yaml::Map(inner) => set_directory(inner, dir),
            Yaml::List(items) if key == "files" => {
                for item in items {
                    if let Yaml::Text(path) = item {
                        crate::http_client::join_dir(dir, path);
                    }
                }
            }
            Yaml::List(items) => {
                for item in items {
                    if let Yaml::Map(inner) = item {
                        set_directory(inner, dir);
                    }
                }
            }
            _ => {}
        }
    }
}
