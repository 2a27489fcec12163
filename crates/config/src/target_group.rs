//! Groups of targets: `static_configs`, the files of file_sd, the answers of http_sd.

use std::collections::BTreeMap;

use pando_model::ErrorKind;
use pando_model::number::go_quote;
use serde::Deserialize;

use crate::error::ConfigErrors;
use crate::node::Node;
use crate::render::{Fields, Yaml, texts};
use crate::section::{Findings, Value};

/// The largest file or answer with targets, in bytes.
pub const TARGETS_BYTES_MAX: usize = 64 << 20;
/// Nodes of such a file: a target with ten labels is some 25.
const NODES_MAX: usize = 4_000_000;

/// Targets with the labels that they share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// Addresses: `host:port`, the later `__address__`.
    pub targets: Vec<String>,
    /// Labels of all of them, without duplicates.
    pub labels: BTreeMap<String, String>,
}

/// The format of a file with targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetFileFormat {
    /// `.json`, and what http_sd answers.
    Json,
    /// `.yml` and `.yaml`.
    Yaml,
}

impl TargetFileFormat {
    /// The format by the end of a file's name, in any case; `None` for others.
    pub fn of_path(path: &str) -> Option<Self> {
        let (_, extension) = path.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "json" => Some(TargetFileFormat::Json),
            "yml" | "yaml" => Some(TargetFileFormat::Yaml),
            _ => None,
        }
    }
}

/// A text that is no list of target groups.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum TargetGroupError {
    /// Over [`TARGETS_BYTES_MAX`].
    #[error("targets too large: file={file} bytes={bytes} limit={TARGETS_BYTES_MAX}")]
    TooLarge {
        /// The file or URL.
        file: String,
        /// Its size.
        bytes: usize,
    },
    /// No JSON, or JSON of another shape.
    #[error("{file}: {message}")]
    Json {
        /// The file or URL.
        file: String,
        /// What is wrong, with line and column.
        message: String,
    },
    /// No YAML, or YAML of another shape.
    #[error(transparent)]
    Yaml(ConfigErrors),
}

impl TargetGroupError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TargetGroupError::TooLarge { .. } => ErrorKind::LimitExceeded,
            TargetGroupError::Json { .. } | TargetGroupError::Yaml(_) => ErrorKind::Invalid,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonGroup {
    #[serde(default)]
    targets: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl TargetGroup {
    /// Reads a list of target groups. `file` names the text in errors.
    ///
    /// # Errors
    /// Whatever is wrong, as Prometheus would refuse it; nothing of a faulty text is used.
    pub fn parse_list(
        text: &str,
        format: TargetFileFormat,
        file: &str,
    ) -> Result<Vec<TargetGroup>, TargetGroupError> {
        if text.len() > TARGETS_BYTES_MAX {
            let (file, bytes) = (file.to_string(), text.len());
            return Err(TargetGroupError::TooLarge { file, bytes });
        }
        match format {
            TargetFileFormat::Json => Self::parse_json(text).map_err(|message| {
                let file = file.to_string();
                TargetGroupError::Json { file, message }
            }),
            TargetFileFormat::Yaml => Self::parse_yaml(text, file).map_err(TargetGroupError::Yaml),
        }
    }

    fn parse_json(text: &str) -> Result<Vec<TargetGroup>, String> {
        let groups: Option<Vec<Option<JsonGroup>>> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let groups = groups.unwrap_or_default().into_iter().enumerate();
        let group = |(i, group): (usize, Option<JsonGroup>)| {
            let group = group.ok_or_else(|| format!("nil target group item found (index {i})"))?;
            let labels = group.labels.unwrap_or_default();
            if let Some(name) = labels.keys().find(|name| name.is_empty()) {
                return Err(format!("{} is not a valid label name", go_quote(name)));
            }
            Ok(TargetGroup { targets: group.targets.unwrap_or_default(), labels })
        };
        groups.map(group).collect()
    }

    fn parse_yaml(text: &str, file: &str) -> Result<Vec<TargetGroup>, ConfigErrors> {
        let mut cx = Findings::default();
        let mut groups = Vec::new();
        match Node::parse(text, NODES_MAX) {
            Ok(root) => {
                for item in Value::root(&root).items(&mut cx, "[]*targetgroup.Group") {
                    if item.node.is_null() {
                        item.fault(&mut cx, "nil target group item found");
                    } else {
                        groups.push(TargetGroup::read(&item, &mut cx));
                    }
                }
            }
            Err(error) => cx.fault(error.place, "", error.message),
        }
        cx.finish(file).map(|_| groups)
    }

    pub(crate) fn read(value: &Value<'_>, cx: &mut Findings) -> Self {
        let mut s = value.section(cx, "targetgroup.Group");
        let targets = s.strings("targets", cx);
        let labels = s.take("labels").map(|labels| read_label_set(&labels, cx));
        s.finish(cx);
        TargetGroup { targets, labels: labels.unwrap_or_default() }
    }

    pub(crate) fn yaml(&self) -> Yaml {
        let mut fields = Fields::default();
        fields.put("targets", texts(&self.targets));
        fields.map("labels", &self.labels);
        Yaml::Map(fields)
    }
}

/// A map of label names to values. Any name but the empty one will do.
pub(crate) fn read_label_set(value: &Value<'_>, cx: &mut Findings) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (name, value) in value.entries(cx, "model.LabelSet") {
        if name.is_empty() {
            let message = "\"\" is not a valid label name";
            cx.fault(value.key_place, &value.path, message);
        }
        labels.insert(name, value.string(cx).unwrap_or_default());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Vec<TargetGroup> {
        let labels = [("env", "a"), ("n", "1.10")];
        let labels = labels.map(|(k, v)| (k.to_string(), v.to_string())).into();
        vec![
            TargetGroup { targets: vec!["h:1".into(), "[::1]:2".into()], labels },
            TargetGroup { targets: vec!["x".into()], labels: BTreeMap::new() },
        ]
    }

    #[test]
    fn reads_json_and_yaml() {
        let json = r#"[{"targets": ["h:1", "[::1]:2"], "labels": {"n": "1.10", "env": "a"}},
                       {"targets": ["x"], "labels": null}]"#;
        let read = TargetGroup::parse_list(json, TargetFileFormat::Json, "f");
        assert_eq!(read, Ok(groups()));
        let yaml = "- targets: [h:1, '[::1]:2']\n  labels: {n: 1.10, env: a}\n- targets: [x]\n";
        let read = TargetGroup::parse_list(yaml, TargetFileFormat::Yaml, "f");
        assert_eq!(read, Ok(groups()));
        for (text, format) in [("[]", TargetFileFormat::Json), ("", TargetFileFormat::Yaml)] {
            assert_eq!(TargetGroup::parse_list(text, format, "f"), Ok(Vec::new()));
        }
    }

    #[test]
    fn refuses_other_shapes_with_their_place() {
        use TargetFileFormat::{Json, Yaml};
        let cases = [
            ("[{\"target\": []}]", Json, "f: unknown field `target`"),
            ("[{\"targets\": [1]}]", Json, "line 1 column 15"),
            ("[null]", Json, "nil target group item found"),
            ("[{\"targets\": []}", Json, "EOF while parsing"),
            ("[{\"labels\": {\"\": \"x\"}}]", Json, "\"\" is not a valid label name"),
            ("- targts: []\n", Yaml, "f:1:3: [0].targts: field targts not found in type target"),
            ("- targets:\n  - {a: b}\n", Yaml, "f:2:5: [0].targets[0]: cannot unmarshal !!map"),
            ("a: b\n", Yaml, "cannot unmarshal !!map into []*targetgroup.Group"),
            ("- \n", Yaml, "nil target group item found"),
        ];
        for (text, format, message) in cases {
            let error = TargetGroup::parse_list(text, format, "f").expect_err(text);
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn formats_by_name() {
        assert_eq!(TargetFileFormat::of_path("a/b.JSON"), Some(TargetFileFormat::Json));
        assert_eq!(TargetFileFormat::of_path("b.yaml"), Some(TargetFileFormat::Yaml));
        assert_eq!(TargetFileFormat::of_path("b.txt"), None);
    }
}
