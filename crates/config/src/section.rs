//! Typed reading of a YAML tree, key by key. Collects every fault instead of stopping at the first.

use pando_model::duration::parse_duration;

use crate::error::{ConfigError, ConfigErrors, FAULTS_MAX, IgnoredKey};
use crate::node::{Kind, Node, Place};
use crate::secret::{RedactedUrl, Secret};
use crate::size::parse_size;

/// What reading a file has found so far.
#[derive(Default)]
pub(crate) struct Findings {
    faults: Vec<(Place, String, String)>,
    ignored: Vec<IgnoredKey>,
}

impl Findings {
    pub(crate) fn fault(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.faults.push((place, path.to_string(), message.into()));
    }

    pub(crate) fn ignore(&mut self, place: Place, path: &str, reason: impl Into<String>) {
        let (path, reason) = (path.to_string(), reason.into());
        self.ignored.push(IgnoredKey { path, line: place.line, reason });
    }

    /// Takes over the faults of `other`, and forgets what it has ignored.
    pub(crate) fn take_faults(&mut self, other: Findings) {
        self.faults.extend(other.faults);
    }

    /// The ignored keys in the order of their lines, or the faults in the order of their places.
    pub(crate) fn finish(mut self, file: &str) -> Result<Vec<IgnoredKey>, ConfigErrors> {
        if self.faults.is_empty() {
            self.ignored.sort_by_key(|key| key.line);
            return Ok(self.ignored);
        }
        self.faults.sort_by_key(|(place, ..)| *place);
        let error = |(place, path, message): (Place, String, String)| ConfigError {
            file: file.to_string(),
            line: place.line,
            column: place.column,
            path,
            message,
        };
        let more = self.faults.len().saturating_sub(FAULTS_MAX);
        let mut errors: Vec<_> = self.faults.into_iter().take(FAULTS_MAX).map(error).collect();
        if more > 0 {
            let message = format!("{more} more faults are not shown, limit={FAULTS_MAX}");
            errors.push(error((Place::default(), String::new(), message)));
        }
        Err(ConfigErrors(errors))
    }
}

/// A value on its way to a type, with the path of its key.
#[derive(Clone)]
pub(crate) struct Value<'n> {
    pub(crate) path: String,
    pub(crate) node: &'n Node,
    /// Where the key stands; for list items, where the item does.
    pub(crate) key_place: Place,
}

impl<'n> Value<'n> {
    pub(crate) fn root(node: &'n Node) -> Self {
        Value { path: String::new(), node, key_place: node.place }
    }

    pub(crate) fn fault(&self, cx: &mut Findings, message: impl Into<String>) {
        cx.fault(self.node.place, &self.path, message);
    }

    pub(crate) fn ignore(&self, cx: &mut Findings, reason: impl Into<String>) {
        cx.ignore(self.key_place, &self.path, reason);
    }

    fn wrong_type<T>(&self, cx: &mut Findings, wanted: &str) -> Option<T> {
        self.fault(cx, format!("cannot unmarshal {} into {wanted}", self.node.describe()));
        None
    }

    /// What `parse` makes of the text of a scalar; its error is a fault.
    pub(crate) fn parse<T>(
        &self,
        cx: &mut Findings,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.node.text() {
            _ if self.node.is_null() => None,
            None => self.wrong_type(cx, wanted),
            Some(text) => parse(text).map_err(|message| self.fault(cx, message)).ok(),
        }
    }

    pub(crate) fn string(&self, cx: &mut Findings) -> Option<String> {
        self.parse(cx, "string", |text| Ok(text.to_string()))
    }

    pub(crate) fn secret(&self, cx: &mut Findings) -> Option<Secret> {
        // The text of a secret stays out of messages, whatever it is.
        match self.node.text() {
            Some(text) => Some(Secret::new(text)),
            None if self.node.is_null() => None,
            None => self.wrong_type(cx, "config.Secret"),
        }
    }

    pub(crate) fn url(&self, cx: &mut Findings) -> Option<RedactedUrl> {
        self.parse(cx, "config.URL", |text| Ok(RedactedUrl::new(text)))
    }

    pub(crate) fn bool(&self, cx: &mut Findings) -> Option<bool> {
        match self.node.kind {
            Kind::Null => None,
            Kind::Bool(value, _) => Some(value),
            _ => self.wrong_type(cx, "bool"),
        }
    }

    pub(crate) fn int(&self, cx: &mut Findings) -> Option<i64> {
        match &self.node.kind {
            Kind::Null => None,
            Kind::Number(text) => match parse_int(text) {
                Some(value) => Some(value),
                None => self.wrong_type(cx, "int"),
            },
            _ => self.wrong_type(cx, "int"),
        }
    }

    pub(crate) fn uint(&self, cx: &mut Findings) -> Option<u64> {
        match &self.node.kind {
            Kind::Null => None,
            Kind::Number(text) => {
                let value = text.parse().ok().or_else(|| parse_int(text)?.try_into().ok());
                if value.is_some() { value } else { self.wrong_type(cx, "uint") }
            }
            _ => self.wrong_type(cx, "uint"),
        }
    }

    pub(crate) fn float(&self, cx: &mut Findings) -> Option<f64> {
        let text = match &self.node.kind {
            Kind::Null => return None,
            Kind::Number(text) => Some(text),
            _ => None,
        };
        match text.and_then(|text| text.replace('_', "").parse::<f64>().ok()) {
            Some(value) if value.is_finite() => Some(value),
            _ => self.wrong_type(cx, "float64"),
        }
    }

    /// A duration in milliseconds.
    pub(crate) fn duration_ms(&self, cx: &mut Findings) -> Option<i64> {
        self.parse(cx, "model.Duration", |text| parse_duration(text).map_err(|e| e.to_string()))
    }

    /// A size in bytes, not negative.
    pub(crate) fn size(&self, cx: &mut Findings) -> Option<i64> {
        self.parse(cx, "units.Base2Bytes", |text| match parse_size(text)? {
            bytes if bytes < 0 => Err(format!("size must not be negative, got {text}")),
            bytes => Ok(bytes),
        })
    }

    /// The items of a list; none for null.
    pub(crate) fn items(&self, cx: &mut Findings, wanted: &str) -> Vec<Value<'n>> {
        match &self.node.kind {
            Kind::Null => Vec::new(),
            Kind::List(items) => {
                let item = |(i, node): (usize, &'n Node)| Value {
                    path: format!("{}[{i}]", self.path),
                    node,
                    key_place: node.place,
                };
                items.iter().enumerate().map(item).collect()
            }
            _ => self.wrong_type(cx, wanted).unwrap_or_default(),
        }
    }

    pub(crate) fn strings(&self, cx: &mut Findings) -> Vec<String> {
        let items = self.items(cx, "[]string");
        items.iter().map(|item| item.string(cx).unwrap_or_default()).collect()
    }

    /// The entries of a map with free keys; none for null.
    pub(crate) fn entries(&self, cx: &mut Findings, wanted: &str) -> Vec<(String, Value<'n>)> {
        let entries = match &self.node.kind {
            Kind::Null => return Vec::new(),
            Kind::Map(entries) => entries,
            _ => return self.wrong_type(cx, wanted).unwrap_or_default(),
        };
        let mut read = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            match key.text() {
                Some(name) => {
                    let path = join(&self.path, name);
                    read.push((name.to_string(), Value { path, node, key_place: key.place }));
                }
                None => cx.fault(
                    key.place,
                    &self.path,
                    format!("cannot unmarshal {} into string", key.describe()),
                ),
            }
        }
        read
    }

    pub(crate) fn string_map(&self, cx: &mut Findings) -> Vec<(String, String)> {
        let entries = self.entries(cx, "map[string]string");
        entries.into_iter().map(|(k, v)| (k, v.string(cx).unwrap_or_default())).collect()
    }

    /// The section that this map is; `type_name` names it in faults. Null is a section without
    /// keys.
    pub(crate) fn section(&self, cx: &mut Findings, type_name: &'static str) -> Section<'n> {
        let entries = self.entries(cx, type_name);
        let entries = entries.into_iter().map(|(name, value)| (name, value, false)).collect();
        let (path, place) = (self.path.clone(), self.node.place);
        Section { path, place, type_name, entries }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}

/// A whole number as YAML writes them: decimal, `0x`, `0o`, `0b`, a leading 0 for octal, `_`
/// anywhere, and floats without a fraction.
fn parse_int(text: &str) -> Option<i64> {
    let digits = text.replace('_', "");
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let radix = |prefix: &str, radix| {
        let rest = digits.strip_prefix(prefix)?;
        (!rest.is_empty()).then_some((rest, radix))
    };
    let (number, radix) = radix("0x", 16)
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0", 8).filter(|_| digits.bytes().all(|b| b.is_ascii_digit())))
        .unwrap_or((digits, 10));
    let value = match i64::from_str_radix(number, radix) {
        Ok(value) => value,
        Err(_) => {
            let float: f64 = digits.parse().ok()?;
            (float.fract() == 0.0 && float.abs() < 9e18).then_some(float as i64)?
        }
    };
    Some(if negative { -value } else { value })
}

/// A map with known keys. Reading a key marks it; [`Section::finish`] reports those that nobody
/// read.
pub(crate) struct Section<'n> {
    pub(crate) path: String,
    pub(crate) place: Place,
    type_name: &'static str,
    entries: Vec<(String, Value<'n>, bool)>,
}

impl<'n> Section<'n> {
    /// The value of `key`, which counts as known from now on; `None` where it is not written.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value<'n>> {
        let entry = self.entries.iter_mut().find(|(name, ..)| name == key)?;
        entry.2 = true;
        Some(entry.1.clone())
    }

    /// The value of `key`, where it is written and not null.
    pub(crate) fn given(&mut self, key: &str) -> Option<Value<'n>> {
        self.take(key).filter(|value| !value.node.is_null())
    }

    /// A fault of the section as a whole.
    pub(crate) fn fault(&self, cx: &mut Findings, message: impl Into<String>) {
        cx.fault(self.place, &self.path, message);
    }

    /// A fault of `key`, at its value where it is written.
    pub(crate) fn fault_at(&self, cx: &mut Findings, key: &str, message: impl Into<String>) {
        let entry = self.entries.iter().find(|(name, ..)| name == key);
        match entry {
            Some((_, value, _)) => value.fault(cx, message),
            None => cx.fault(self.place, &join(&self.path, key), message),
        }
    }

    pub(crate) fn string(&mut self, key: &str, cx: &mut Findings) -> Option<String> {
        self.take(key)?.string(cx)
    }

    pub(crate) fn text(&mut self, key: &str, cx: &mut Findings) -> String {
        self.string(key, cx).unwrap_or_default()
    }

    pub(crate) fn secret(&mut self, key: &str, cx: &mut Findings) -> Secret {
        self.take(key).and_then(|value| value.secret(cx)).unwrap_or_default()
    }

    pub(crate) fn bool(&mut self, key: &str, cx: &mut Findings) -> Option<bool> {
        self.take(key)?.bool(cx)
    }

    pub(crate) fn uint(&mut self, key: &str, cx: &mut Findings) -> u64 {
        self.take(key).and_then(|value| value.uint(cx)).unwrap_or(0)
    }

    pub(crate) fn size(&mut self, key: &str, cx: &mut Findings) -> i64 {
        self.take(key).and_then(|value| value.size(cx)).unwrap_or(0)
    }

    pub(crate) fn duration_ms(&mut self, key: &str, cx: &mut Findings) -> Option<i64> {
        self.take(key)?.duration_ms(cx)
    }

    pub(crate) fn strings(&mut self, key: &str, cx: &mut Findings) -> Vec<String> {
        self.take(key).map(|value| value.strings(cx)).unwrap_or_default()
    }

    pub(crate) fn items(&mut self, key: &str, cx: &mut Findings) -> Vec<Value<'n>> {
        self.take(key).map(|value| value.items(cx, "a list")).unwrap_or_default()
    }

    pub(crate) fn string_map(&mut self, key: &str, cx: &mut Findings) -> Vec<(String, String)> {
        self.take(key).map(|value| value.string_map(cx)).unwrap_or_default()
    }

    /// Lists those of `keys` that are written as ignored.
    pub(crate) fn ignore_keys(mut self, keys: &[&str], reason: &str, cx: &mut Findings) {
        for key in keys {
            if let Some(value) = self.given(key) {
                value.ignore(cx, reason);
            }
        }
    }

    /// Reports the keys that nobody has read.
    pub(crate) fn finish(self, cx: &mut Findings) {
        for (name, value, _) in self.entries.iter().filter(|(_, _, known)| !known) {
            let message = format!("field {name} not found in type {}", self.type_name);
            cx.fault(value.key_place, &value.path, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_int;

    #[test]
    fn whole_numbers_of_yaml() {
        let cases = [
            ("10", Some(10)),
            ("-10", Some(-10)),
            ("+5", Some(5)),
            ("0x1F", Some(31)),
            ("0o17", Some(15)),
            ("017", Some(15)),
            ("0", Some(0)),
            ("1_000", Some(1000)),
            ("1e3", Some(1000)),
            ("1.5", None),
            ("99999999999999999999", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse_int(text), want, "{text}");
        }
    }
}
