//! A YAML document as a tree of nodes that know their places and the text that they were written
//! with.
//!
//! The text matters: `1.10` is a fine label value, but a parser that has made a number of it cannot
//! say so.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Options, Spanned};

/// A place in a file, both parts counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// A value, or a key, with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    /// Where the text of a scalar stands in the source, in bytes.
    span: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    /// A word that stands for true or false, as written: `yes`, `off`, `true`.
    Bool(bool, String),
    /// A number, as written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// Why a text is no YAML.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) place: Place,
    pub(crate) message: String,
}

impl Node {
    /// Reads `text`, one document of at most `nodes_max` nodes.
    pub(crate) fn parse(text: &str, nodes_max: usize) -> Result<Node, SyntaxError> {
        let budget = serde_saphyr::budget! { max_nodes: nodes_max, max_events: 4 * nodes_max };
        let options: Options = serde_saphyr::options! {
            budget: budget,
            with_snippet: false,
            emit_comments: false,
            non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        };
        let mut root: Node =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| {
                let place = error.location().map_or(Place::default(), place_of);
                let message = error.without_snippet().to_string();
                // The place is told apart from the message, and advice to programmers is none to
                // users.
                let message = message.rsplit_once(" at line ").map_or(&*message, |(head, _)| head);
                let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or(message);
                SyntaxError { place, message: format!("yaml: {message}") }
            })?;
        root.restore(text);
        Ok(root)
    }

    /// What an empty document is.
    pub(crate) fn null() -> Node {
        Node { place: Place::default(), kind: Kind::Null, span: None }
    }

    /// Gives every plain scalar the text that it was written with.
    fn restore(&mut self, source: &str) {
        let written = || {
            let (start, len) = self.span?;
            source.get(start as usize..(start + len) as usize)
        };
        match &mut self.kind {
            Kind::Null | Kind::Text(_) => {}
            Kind::Bool(_, text) | Kind::Number(text) => {
                if let Some(written) = written() {
                    *text = written.to_string();
                }
            }
            Kind::List(items) => items.iter_mut().for_each(|item| item.restore(source)),
            Kind::Map(entries) => {
                for (key, value) in entries {
                    key.restore(source);
                    value.restore(source);
                }
            }
        }
    }

    /// The text of a scalar as written; `None` for null, lists and maps.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Bool(_, text) | Kind::Number(text) | Kind::Text(text) => Some(text),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// The value, as error messages of Prometheus name it.
    pub(crate) fn describe(&self) -> String {
        let (tag, text) = match &self.kind {
            Kind::Null => return "!!null".to_string(),
            Kind::List(_) => return "!!seq".to_string(),
            Kind::Map(_) => return "!!map".to_string(),
            Kind::Bool(_, text) => ("!!bool", text),
            Kind::Number(text) if text.contains(['.', 'e', 'E']) => ("!!float", text),
            Kind::Number(text) => ("!!int", text),
            Kind::Text(text) => ("!!str", text),
        };
        let short: String = text.chars().take(20).collect();
        let dots = if short.len() < text.len() { "..." } else { "" };
        format!("{tag} `{short}{dots}`")
    }
}

fn place_of(location: serde_saphyr::Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        let span = spanned.defined.span();
        Ok(Node {
            place: place_of(spanned.referenced),
            kind: spanned.value,
            span: span.byte_offset().zip(span.byte_len()),
        })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value, value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Kind::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        let at = format!("{}:{}", node.place.line, node.place.column);
        match &node.kind {
            Kind::Null => format!("null@{at}"),
            Kind::List(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
            Kind::Map(entries) => {
                let pair = |(k, v): &(Node, Node)| format!("{{{} {}}}", shown(k), shown(v));
                entries.iter().map(pair).collect()
            }
            Kind::Bool(value, text) => format!("{text}={value}@{at}"),
            Kind::Number(text) => format!("{text}#@{at}"),
            Kind::Text(text) => format!("{text:?}@{at}"),
        }
    }

    #[test]
    fn keeps_texts_and_places() {
        let text = "a: 1.10\nyes: [on, '5', 0x1F, ~]\nb: &x é\nc: *x\nd: |\n  x\n  y\n12:\n";
        let tree = Node::parse(text, 100).unwrap();
        assert_eq!(
            shown(&tree),
            "{\"a\"@1:1 1.10#@1:4}{yes=true@2:1 on=true@2:7,\"5\"@2:11,0x1F#@2:16,null@2:22}\
             {\"b\"@3:1 \"é\"@3:7}{\"c\"@4:1 \"é\"@4:4}{\"d\"@5:1 \"x\\ny\\n\"@6:3}{12#@8:1 null@8:3}"
        );
    }

    #[test]
    fn syntax_errors_have_places() {
        let cases = [
            ("a: 1\na: 2\n", (2, 1), "duplicate mapping key"),
            ("a: [1\n", (1, 4), "unclosed bracket"),
            ("a: b: c\n", (1, 5), "mapping values are not allowed"),
            ("a: *x\n", (1, 4), "unknown anchor"),
            ("a: 1\n---\nb: 2\n", (3, 1), "multiple"),
        ];
        for (text, (line, column), message) in cases {
            let error = Node::parse(text, 100).expect_err(text);
            assert!(error.message.contains(message), "{}", error.message);
            assert!(!error.message.contains("at line"), "{}", error.message);
            assert_eq!(error.place, Place { line, column }, "{text}");
        }
        assert!(Node::parse("- 1\n- 2\n- 3\n", 2).is_err(), "the limit of nodes holds");
        let bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n";
        assert!(Node::parse(bomb, 12).is_err(), "aliases count as what they stand for");
    }
}
