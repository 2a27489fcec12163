//! The prometheus.yml of a process with an agent: read, checked, and what no part acts on named.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use pando_config::{Config, IgnoredKey};

/// A configuration file that was read.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) ignored: Vec<IgnoredKey>,
}

/// Reads and checks `file` and the files that it names.
pub(crate) fn load(file: &str) -> Result<Loaded> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read file={file}"))?;
    let parsed = match Config::parse(&text, file) {
        Ok(parsed) => parsed,
        Err(errors) => bail!("{errors}"),
    };
    let (mut config, mut ignored) = (parsed.config, parsed.ignored);
    let folder = Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default();
    config.set_directory(&folder);
    for pattern in config.scrape_config_files.clone() {
        for path in matching(&pattern)? {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read file={name}"))?;
            let below = path.parent().map(Path::to_path_buf).unwrap_or_default();
            match config.add_scrape_config_file(&text, &name, &below) {
                Ok(more) => ignored.extend(more),
                Err(errors) => bail!("{errors}"),
            }
        }
    }
    for name in config.global.expand_external_labels(|name| std::env::var(name).ok()) {
        tracing::warn!(name, "environment variable of external_labels is not set");
    }
    Ok(Loaded { config, ignored })
}

/// The files that a pattern names: `*` in the last part stands for anything.
fn matching(pattern: &str) -> Result<Vec<std::path::PathBuf>> {
    let path = Path::new(pattern);
    let last = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let Some((head, tail)) = last.split_once('*') else { return Ok(vec![path.to_path_buf()]) };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {pattern}"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

impl Loaded {
    /// One warning for each key that no part acts on: never silence.
    pub(crate) fn warn(&self) {
        for key in &self.ignored {
            tracing::warn!(
                key = key.path,
                line = key.line,
                reason = key.reason,
                "configuration key is ignored"
            );
        }
    }

    /// How often each key is ignored, list positions left out, for a metric with bounded labels.
    pub(crate) fn ignored_keys(&self) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for key in &self.ignored {
            let mut plain = String::new();
            let mut inside = false;
            for c in key.path.chars() {
                match c {
                    '[' => inside = true,
                    ']' => inside = false,
                    c if !inside => plain.push(c),
                    _ => {}
                }
            }
            *counts.entry(plain).or_default() += 1;
        }
        counts
    }
}
