//! Relabelling rules in YAML. What they do is `pando_model::relabel`'s business.

use pando_model::GoRegex;
use pando_model::number::go_quote;
use pando_model::relabel::{NameScheme, RelabelAction, RelabelConfig, RelabelError};

use crate::render::{Fields, Yaml};
use crate::section::{Findings, Section, Value};

/// Reads the list of rules under `key`. `what` names them in the fault of a rule that is empty.
pub(crate) fn read(
    s: &mut Section<'_>,
    key: &str,
    what: &str,
    scheme: NameScheme,
    cx: &mut Findings,
) -> Vec<RelabelConfig> {
    let items = s.items(key, cx);
    let rule = |item: &Value<'_>| {
        if item.node.is_null() {
            item.fault(cx, format!("empty or null {what}"));
            return None;
        }
        read_rule(item, scheme, cx)
    };
    items.iter().filter_map(rule).collect()
}

fn read_rule(value: &Value<'_>, scheme: NameScheme, cx: &mut Findings) -> Option<RelabelConfig> {
    let default = RelabelConfig::default();
    let mut s = value.section(cx, "relabel.Config");
    let mut sources = Vec::new();
    for source in s.items("source_labels", cx) {
        match source.string(cx) {
            Some(name) if !name.is_empty() => sources.push(name),
            name => {
                let name = go_quote(&name.unwrap_or_default());
                source.fault(cx, format!("{name} is not a valid label name"));
            }
        }
    }
    let regex = s.take("regex");
    let has_regex = regex.is_some();
    let regex = match regex {
        // A key without a value is an empty pattern, not the default.
        Some(regex) if regex.node.is_null() => compile("").ok(),
        Some(regex) => regex.parse(cx, "relabel.Regexp", compile),
        None => Some(default.regex.clone()),
    };
    let action = match s.take("action") {
        None => Some(default.action),
        Some(action) if action.node.is_null() => {
            action.fault(cx, "relabel action cannot be empty");
            None
        }
        Some(action) => action.parse(cx, "relabel.Action", |name| {
            RelabelAction::parse(name).map_err(|error| error.to_string())
        }),
    };
    let separator = s.string("separator", cx).unwrap_or(default.separator);
    let modulus = s.uint("modulus", cx);
    let target_label = s.text("target_label", cx);
    let replacement = s.string("replacement", cx).unwrap_or(default.replacement);
    let place = (s.place, s.path.clone());
    s.finish(cx);
    let rule = RelabelConfig {
        source_labels: sources,
        separator,
        regex: regex?,
        modulus,
        target_label,
        replacement,
        action: action?,
        name_scheme: scheme,
    };
    let comparing = matches!(rule.action, RelabelAction::KeepEqual | RelabelAction::DropEqual);
    let valid = match rule.validate() {
        // Prometheus refuses even the default pattern where it is written out.
        Ok(()) if comparing && has_regex => Err(RelabelError::OnlyLabels(rule.action)),
        result => result,
    };
    if let Err(error) = valid {
        cx.fault(place.0, &place.1, error.to_string());
    }
    Some(rule)
}

fn compile(pattern: &str) -> Result<GoRegex, String> {
    GoRegex::new(pattern).map_err(|error| error.to_string())
}

pub(crate) fn put_rules(fields: &mut Fields, key: &str, rules: &[RelabelConfig]) {
    fields.list(key, rules.iter().map(rule_yaml).collect());
}

fn rule_yaml(rule: &RelabelConfig) -> Yaml {
    let mut fields = Fields::default();
    if !rule.source_labels.is_empty() {
        fields.put("source_labels", Yaml::Flow(rule.source_labels.clone()));
    }
    fields.put("separator", Yaml::Text(rule.separator.clone()));
    if rule.regex != RelabelConfig::default().regex {
        fields.put("regex", Yaml::Text(rule.regex.as_str().to_string()));
    }
    fields.number("modulus", rule.modulus);
    fields.text("target_label", &rule.target_label);
    fields.put("replacement", Yaml::Text(rule.replacement.clone()));
    fields.raw("action", rule.action);
    Yaml::Map(fields)
}
