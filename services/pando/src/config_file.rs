//! The prometheus.yml of a process with an agent: read, checked, and what no part acts on named.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use pando_agent::files_matching;
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
        let found = files_matching(&pattern);
        let found = found.map_err(|why| anyhow!("scrape_config_files: {why}"))?;
        for path in found {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrape_config_files_are_found_by_any_pattern_and_may_be_absent() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("writes");
        };
        write("p.yml", "scrape_config_files: ['jobs-[0-9]-*.y?l', absent.yml, 'none/*.yml']\n");
        write("jobs-1-a.yml", "scrape_configs: [{job_name: a}]\n");
        write("jobs-x-b.yml", "scrape_configs: [{job_name: b}]\n");
        let loaded = load(&folder.path().join("p.yml").to_string_lossy()).expect("loads");
        let jobs = loaded.config.scrape_configs.iter().map(|c| c.job_name.as_str());
        assert_eq!(jobs.collect::<Vec<_>>(), ["a"]);
    }
}
