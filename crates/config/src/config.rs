//! `Config`: the whole file.

use std::collections::BTreeMap;
use std::path::Path;

use pando_model::number::go_quote;
use pando_model::relabel::NameScheme;

use crate::error::{ConfigErrors, IgnoredKey};
use crate::global::GlobalConfig;
use crate::inert::{self, Table};
use crate::inert_sections as tables;
use crate::node::Node;
use crate::render::{Fields, Yaml};
use crate::scrape::ScrapeConfig;
use crate::section::{Findings, Section, Value};

/// The largest configuration file, in bytes.
pub const CONFIG_BYTES_MAX: usize = 16 << 20;
/// Nodes of such a file.
const NODES_MAX: usize = 1_000_000;

/// A configuration file that has no fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub config: Config,
    /// What of it Pando does not act on, in the order of the file. To be shown to whoever wrote it.
    pub ignored: Vec<IgnoredKey>,
}

/// What a configuration file says, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `global`.
    pub global: GlobalConfig,
    /// `scrape_configs`, and those that [`Config::add_scrape_config_file`] has added.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// `scrape_config_files`: patterns of more files with `scrape_configs`.
    pub scrape_config_files: Vec<String>,
    /// `rule_files`. Not acted on.
    pub rule_files: Vec<String>,
    /// Sections that are only shown, by key.
    shown: BTreeMap<&'static str, Yaml>,
}

impl Default for Config {
    /// What an empty file says.
    fn default() -> Self {
        let node = Node::null();
        Self::read(&Value::root(&node), &mut Findings::default())
    }
}

impl Config {
    /// Reads a whole `prometheus.yml`. `file_name` names it in errors.
    ///
    /// Paths stay as written until [`Config::set_directory`], external labels until
    /// [`GlobalConfig::expand_external_labels`].
    ///
    /// # Errors
    /// All faults of the file at once, each with its place; a file that is no YAML has only one.
    pub fn parse(text: &str, file_name: &str) -> Result<Parsed, ConfigErrors> {
        let mut cx = Findings::default();
        let config = match read_root(text, &mut cx) {
            Some(root) => Self::read(&Value::root(&root), &mut cx),
            None => Config::default(),
        };
        cx.finish(file_name).map(|ignored| Parsed { config, ignored })
    }

    /// Reads a file of `scrape_config_files` and adds its `scrape_configs` to this configuration.
    /// Relative paths in it are joined with `dir`, its own directory. Returns what of it is
    /// ignored.
    ///
    /// # Errors
    /// All faults of the file at once, also a job name that is taken; then nothing is added.
    pub fn add_scrape_config_file(
        &mut self,
        text: &str,
        file_name: &str,
        dir: &Path,
    ) -> Result<Vec<IgnoredKey>, ConfigErrors> {
        let mut cx = Findings::default();
        let mut added = Vec::new();
        if let Some(root) = read_root(text, &mut cx) {
            let mut s = Value::root(&root).section(&mut cx, "config.ScrapeConfigs");
            added = self.read_scrape_configs(&mut s, &mut cx);
            s.finish(&mut cx);
        }
        let ignored = cx.finish(file_name)?;
        added.iter_mut().for_each(|config| config.set_directory(dir));
        self.scrape_configs.extend(added);
        Ok(ignored)
    }

    /// Joins every relative path with `dir`, the directory of the file.
    pub fn set_directory(&mut self, dir: &Path) {
        self.global.set_directory(dir);
        for path in self.rule_files.iter_mut().chain(&mut self.scrape_config_files) {
            crate::http_client::join_dir(dir, path);
        }
        self.scrape_configs.iter_mut().for_each(|config| config.set_directory(dir));
        for section in self.shown.values_mut() {
            match section {
                Yaml::Map(fields) => inert::set_directory(fields, dir),
                Yaml::List(items) => {
                    for item in items {
                        if let Yaml::Map(fields) = item {
                            inert::set_directory(fields, dir);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// The configuration as `/api/v1/status/config` shows it: defaults filled in, secrets hidden.
    pub fn to_yaml(&self) -> String {
        let mut fields = Fields::default();
        fields.put("global", Yaml::Map(self.global.fields()));
        let show = |fields: &mut Fields, key: &str| {
            if let Some(section) = self.shown.get(key) {
                fields.put(key, section.clone());
            }
        };
        show(&mut fields, "runtime");
        show(&mut fields, "alerting");
        fields.texts("rule_files", &self.rule_files);
        fields.texts("scrape_config_files", &self.scrape_config_files);
        fields.list("scrape_configs", self.scrape_configs.iter().map(ScrapeConfig::yaml).collect());
        for key in ["storage", "tracing", "remote_write", "remote_read", "otlp"] {
            show(&mut fields, key);
        }
        fields.write()
    }

    fn read(root: &Value<'_>, cx: &mut Findings) -> Self {
        let mut s = root.section(cx, "config.Config");
        let global = s.take("global").map(|value| GlobalConfig::read(&value, cx));
        let mut config = Config {
            global: global.unwrap_or_default(),
            scrape_configs: Vec::new(),
            scrape_config_files: read_patterns(&mut s, "scrape_config_files", "scrape config", cx),
            rule_files: read_patterns(&mut s, "rule_files", "rule", cx),
            shown: BTreeMap::new(),
        };
        config.scrape_configs = config.read_scrape_configs(&mut s, cx);
        if !config.rule_files.is_empty()
            && let Some(value) = s.given("rule_files")
        {
            value.ignore(cx, "rules are not evaluated from this file");
        }
        config.read_shown(&mut s, cx);
        s.finish(cx);
        config
    }

    /// Reads `scrape_configs`; its job names may not be among those that the configuration has
    /// already.
    fn read_scrape_configs(&self, s: &mut Section<'_>, cx: &mut Findings) -> Vec<ScrapeConfig> {
        let mut configs: Vec<ScrapeConfig> = Vec::new();
        for item in s.items("scrape_configs", cx) {
            if item.node.is_null() {
                item.fault(cx, "empty or null scrape config section");
                continue;
            }
            let config = ScrapeConfig::read(&item, &self.global, cx);
            let mut others = self.scrape_configs.iter().chain(&configs);
            if others.any(|other| other.job_name == config.job_name) && !config.job_name.is_empty()
            {
                let name = go_quote(&config.job_name);
                item.fault(cx, format!("found multiple scrape configs with job name {name}"));
            }
            configs.push(config);
        }
        configs
    }

    /// Reads the sections that are only shown.
    fn read_shown(&mut self, s: &mut Section<'_>, cx: &mut Findings) {
        let scheme = self.global.name_scheme;
        let empty = Node::null();
        // What an absent section shows, too.
        for (key, table, reason) in [
            ("runtime", &tables::RUNTIME, "there is no Go runtime to tune"),
            ("otlp", &tables::OTLP, "OTLP is not taken yet: use remote write"),
        ] {
            let written = s.given(key);
            if let Some(value) = &written {
                value.ignore(cx, reason);
            }
            let value = written.unwrap_or(Value::root(&empty));
            let shown = inert::read(&value, table, scheme, cx);
            let strategy = shown.text("translation_strategy").unwrap_or_default();
            if scheme == NameScheme::Legacy
                && ["NoUTF8EscapingWithSuffixes", "NoTranslation"].contains(&strategy)
            {
                let strategy = go_quote(strategy);
                let message =
                    format!("OTLP translation strategy {strategy} is not allowed when UTF8");
                value.fault(cx, format!("{message} is disabled"));
            }
            self.shown.insert(key, Yaml::Map(shown.fields));
        }
        if let Some(value) = s.given("alerting") {
            self.read_alerting(&value, cx);
        }
        if let Some(value) = s.given("storage") {
            let shown = inert::read(&value, &tables::STORAGE, scheme, cx);
            value.section(cx, "config.StorageConfig").ignore_keys(
                &["tsdb", "exemplars"],
                "storage is configured at ingesters and compactors",
                cx,
            );
            self.shown.insert("storage", Yaml::Map(shown.fields));
        }
        if let Some(value) = s.given("tracing") {
            value.ignore(cx, "traces are not sent");
            let shown = inert::read(&value, &tables::TRACING, scheme, cx);
            self.shown.insert("tracing", Yaml::Map(shown.fields));
        }
        for (key, table, reason) in [
            (
                "remote_write",
                &tables::REMOTE_WRITE,
                "samples go to the cluster, not to other systems",
            ),
            ("remote_read", &tables::REMOTE_READ, "queries are answered by the cluster alone"),
        ] {
            self.read_remotes(s, key, table, reason, cx);
        }
    }

    fn read_alerting(&mut self, value: &Value<'_>, cx: &mut Findings) {
        value.ignore(cx, "alerts are not sent by rules from this file");
        let scheme = self.global.name_scheme;
        let mut fields = inert::read(value, &tables::ALERTING, scheme, cx).fields;
        let mut s = value.section(&mut Findings::default(), "config.AlertingConfig");
        let managers = s.items("alertmanagers", cx);
        let manager = |item: &Value<'_>| {
            Yaml::Map(inert::read(item, &tables::ALERTMANAGER, scheme, cx).fields)
        };
        fields.list("alertmanagers", managers.iter().map(manager).collect());
        self.shown.insert("alerting", Yaml::Map(fields));
    }

    fn read_remotes(
        &mut self,
        s: &mut Section<'_>,
        key: &'static str,
        table: &'static Table,
        reason: &str,
        cx: &mut Findings,
    ) {
        let Some(list) = s.given(key) else { return };
        list.ignore(cx, reason);
        let scheme = self.global.name_scheme;
        let what = key.replace('_', " ");
        let mut names: Vec<String> = Vec::new();
        let mut shown = Vec::new();
        for item in list.items(cx, "a list") {
            if item.node.is_null() {
                item.fault(cx, format!("empty or null {what} config section"));
                continue;
            }
            let fields = inert::read(&item, table, scheme, cx);
            if let Some(name) = fields.text("name") {
                if names.iter().any(|other| other == name) {
                    let name = go_quote(name);
                    item.fault(cx, format!("found multiple {what} configs with job name {name}"));
                }
                names.push(name.to_string());
            }
            shown.push(Yaml::Map(fields.fields));
        }
        self.shown.insert(key, Yaml::List(shown));
    }
}

fn read_root(text: &str, cx: &mut Findings) -> Option<Node> {
    if text.len() > CONFIG_BYTES_MAX {
        let message = format!("file too large: bytes={} limit={CONFIG_BYTES_MAX}", text.len());
        cx.fault(Default::default(), "", message);
        return None;
    }
    Node::parse(text, NODES_MAX).map_err(|error| cx.fault(error.place, "", error.message)).ok()
}

/// File patterns, with `*` in the last component only.
fn read_patterns(s: &mut Section<'_>, key: &str, what: &str, cx: &mut Findings) -> Vec<String> {
    let mut patterns = Vec::new();
    for item in s.items(key, cx) {
        let Some(pattern) = item.string(cx) else { continue };
        let after_star = pattern.split_once('*').map_or("", |(_, after)| after);
        if after_star.contains('/') {
            let pattern = go_quote(&pattern);
            item.fault(cx, format!("invalid {what} file path {pattern}"));
        }
        patterns.push(pattern);
    }
    patterns
}
