//! The kinds of discovery that Prometheus 3.14 knows and Pando does not do: they are checked and
//! shown, so that a configuration moves between the two unchanged and its mistakes are found.
//!
//! A kind is data: a table of its keys, the keys that it needs, the pairs that exclude each other.
//! What only a running discovery finds out, such as a region from a metadata service, is not asked.

mod aws;
mod clouds;
mod containers;
mod registries;

#[cfg(test)]
mod tests;

use pando_model::relabel::NameScheme;

use crate::inert::{self, Row, Table, Type, nothing, row};
use crate::node::Kind as NodeKind;
use crate::render::Fields;
use crate::section::{Findings, Section, Value};

/// One kind of discovery.
pub(crate) struct Kind {
    /// The key of its list.
    pub(crate) key: &'static str,
    table: Table,
    /// Keys that must be given, and not empty; those with a default may be left out.
    required: &'static [&'static str],
    /// Pairs of keys that must not be given both.
    apart: &'static [[&'static str; 2]],
}

/// All kinds.
pub(crate) fn kinds() -> impl Iterator<Item = &'static Kind> {
    let families: [&'static [Kind]; 4] =
        [&aws::KINDS, &clouds::KINDS, &containers::KINDS, &registries::KINDS];
    families.into_iter().flatten()
}

const fn kind(key: &'static str, type_name: &'static str, rows: &'static [Row]) -> Kind {
    Kind { key, table: table(type_name, rows), required: &[], apart: &[] }
}

const fn table(type_name: &'static str, rows: &'static [Row]) -> Table {
    Table { type_name, rows, check: nothing }
}

/// A filter of instances or containers.
static FILTER: Table =
    table("Filter", &[row("name", Type::Text, ""), row("values", Type::Texts, "")]);

const HTTP: Row = row("", Type::Http(true), "");

const fn text(key: &'static str) -> Row {
    row(key, Type::Text, "")
}

/// A URL or an address; a password in it is hidden.
const fn address(key: &'static str) -> Row {
    row(key, Type::Url, "")
}

const fn secret(key: &'static str) -> Row {
    row(key, Type::Secret, "")
}

const fn texts(key: &'static str) -> Row {
    row(key, Type::Texts, "")
}

const fn port(default: &'static str) -> Row {
    row("port", Type::Int, default)
}

const fn refresh(default: &'static str) -> Row {
    row("refresh_interval", Type::Duration, default)
}

impl Kind {
    const fn requires(mut self, keys: &'static [&'static str]) -> Self {
        self.required = keys;
        self
    }

    const fn keeps_apart(mut self, pairs: &'static [[&'static str; 2]]) -> Self {
        self.apart = pairs;
        self
    }

    const fn checked_by(mut self, check: Check) -> Self {
        self.table.check = check;
        self
    }

    /// Reads one section of this kind; yields what it shows.
    pub(crate) fn read(&'static self, value: &Value<'_>, cx: &mut Findings) -> Fields {
        // No kind holds relabelling rules, which alone would ask for the scheme.
        let shown = inert::read(value, &self.table, NameScheme::Utf8, cx);
        let mut s = value.section(&mut Findings::default(), self.table.type_name);
        for key in self.required {
            let missing = match s.given(key) {
                None => !shown.has(key),
                Some(given) => match &given.node.kind {
                    NodeKind::List(items) => items.is_empty(),
                    _ => given.node.text().is_some_and(|text| text.trim().is_empty()),
                },
            };
            if missing {
                s.fault_at(cx, key, format!("{key} is missing"));
            }
        }
        for [one, other] in self.apart {
            if shown.has(one) && shown.has(other) {
                s.fault_at(cx, other, format!("{other} must not be configured beside {one}"));
            }
        }
        shown.fields
    }
}

type Check = fn(&mut Section<'_>, &inert::Shown, &mut Findings);

/// Checks that the URL of `key`, where it is given, says a scheme and a host.
fn check_absolute(s: &mut Section<'_>, key: &str, cx: &mut Findings) {
    let Some(given) = s.given(key) else { return };
    let Some(text) = given.node.text().filter(|text| !text.is_empty()) else { return };
    if !url::Url::parse(text).is_ok_and(|url| url.has_host()) {
        given.fault(cx, "URL needs a scheme and a host");
    }
}

/// Checks that `refresh_interval` is not 0.
fn check_refresh(s: &mut Section<'_>, shown: &inert::Shown, cx: &mut Findings) {
    if shown.duration_ms("refresh_interval") == Some(0) {
        s.fault_at(cx, "refresh_interval", "refresh_interval must be positive");
    }
}
