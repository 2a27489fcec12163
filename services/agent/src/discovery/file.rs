//! `file_sd_configs`: target groups from files, read when they change and every refresh interval.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pando_config::{FileSd, TARGETS_BYTES_MAX, TargetFileFormat, TargetGroup};

use super::{DiscoveryContext, Groups};
use crate::files::files_matching;

/// How often files are looked at for changes.
const POLL: Duration = Duration::from_secs(2);
/// Files of one config; the others are not read.
const FILES_MAX: usize = 10_000;

/// When a file was last written, and its size: what tells a change.
type Stamp = (Option<SystemTime>, u64);

#[derive(Default)]
struct Seen {
    stamp: Stamp,
    groups: Vec<TargetGroup>,
}

pub(super) async fn run(config: FileSd, groups: Groups, context: DiscoveryContext) {
    let mut seen: BTreeMap<PathBuf, Seen> = BTreeMap::new();
    let mut refreshed: Option<Duration> = None;
    let interval = Duration::from_millis(config.refresh_interval_ms.max(1) as u64);
    loop {
        let now = context.clock.monotonic();
        let all = refreshed.is_none_or(|last| now.saturating_sub(last) >= interval);
        if all {
            refreshed = Some(now);
        }
        let (files, metrics) = (config.files.clone(), context.metrics.clone());
        let looked = tokio::task::spawn_blocking(move || {
            look(&files, &mut seen, all, &mut |path, why| {
                tracing::warn!(path = %path.display(), why, "targets cannot be read from a file");
                metrics.sd_failed("file");
            });
            seen
        });
        seen = match looked.await {
            Ok(seen) => seen,
            // The process ends.
            Err(_) => return,
        };
        groups.show(seen.values().flat_map(|file| file.groups.iter().cloned()).collect());
        tokio::time::sleep(POLL.min(interval)).await;
    }
}

/// Reads what has changed, or everything. A file that cannot be read keeps its targets; one that is gone does not.
fn look(
    patterns: &[String],
    seen: &mut BTreeMap<PathBuf, Seen>,
    all: bool,
    failed: &mut dyn FnMut(&Path, &str),
) {
    let mut paths: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        match files_matching(pattern) {
            Ok(found) => paths.extend(found),
            Err(why) => failed(Path::new(pattern), &why),
        }
    }
    paths.sort();
    paths.dedup();
    if paths.len() > FILES_MAX {
        failed(&paths[FILES_MAX], &format!("too many files: limit={FILES_MAX}"));
        paths.truncate(FILES_MAX);
    }
    seen.retain(|path, _| paths.binary_search(path).is_ok());
    for path in paths {
        let stamp = match fs::metadata(&path) {
            Ok(metadata) => (metadata.modified().ok(), metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                seen.remove(&path);
                continue;
            }
            Err(error) => {
                failed(&path, &error.to_string());
                continue;
            }
        };
        let file = seen.entry(path.clone()).or_default();
        if !all && file.stamp == stamp {
            continue;
        }
        file.stamp = stamp;
        match read(&path, stamp.1) {
            Ok(groups) => file.groups = groups,
            Err(why) => failed(&path, &why),
        }
    }
}

fn read(path: &Path, bytes: u64) -> Result<Vec<TargetGroup>, String> {
    let name = path.to_string_lossy();
    if bytes > TARGETS_BYTES_MAX as u64 {
        return Err(format!("file too large: bytes={bytes} limit={TARGETS_BYTES_MAX}"));
    }
    let format = TargetFileFormat::of_path(&name).ok_or("file is neither JSON nor YAML")?;
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut groups =
        TargetGroup::parse_list(&text, format, &name).map_err(|error| error.to_string())?;
    for group in &mut groups {
        group.labels.insert("__meta_filepath".to_string(), name.to_string());
    }
    Ok(groups)
}
