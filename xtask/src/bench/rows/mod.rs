//! The rows of the table, in groups that share their servers. Within a group each system does the same work,
//! alone on the machine, one after the other.

mod history;
mod queries;
mod replay;
mod scrape;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::process::tick_s;
use super::scale::Scale;
use super::system::{Binaries, Kind};
use super::table::{Better, Row, Table};

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Group {
    /// Remote write of synthetic counters, their size, queries over them.
    History,
    /// Ten queries over blocks.
    Queries,
    /// The size of real scrapes.
    Capture,
    /// Scraping and storing.
    Scrape,
    /// What an agent sends.
    Wire,
}

impl Group {
    const ALL: [Group; 5] =
        [Group::History, Group::Queries, Group::Capture, Group::Scrape, Group::Wire];
}

/// What a run is made of.
pub(crate) struct Bench {
    binaries: Binaries,
    scale: Scale,
    folder: PathBuf,
    notes: Vec<String>,
}

impl Bench {
    /// A run in `folder`.
    pub(crate) fn new(binaries: Binaries, scale: Scale, folder: &Path) -> Self {
        Bench { binaries, scale, folder: folder.to_path_buf(), notes: Vec::new() }
    }

    /// Measures `only`, or all groups where it is empty.
    pub(crate) fn run(mut self, only: &[Group]) -> Table {
        let mut rows = Vec::new();
        for group in Group::ALL {
            if !only.is_empty() && !only.contains(&group) {
                continue;
            }
            rows.extend(match group {
                Group::History => history::rows(&mut self),
                Group::Queries => queries::rows(&mut self),
                Group::Capture => replay::rows(&mut self),
                Group::Scrape => scrape::rows(&mut self),
                Group::Wire => wire::rows(&mut self),
            });
        }
        let versions = Kind::ALL.map(|kind| self.binaries.version(kind));
        Table { scale: self.scale.name, versions, rows, notes: self.notes }
    }

    /// Measures each system in turn. One that fails is noted and has no figures.
    fn each<T>(
        &mut self,
        group: &str,
        mut measure: impl FnMut(&mut Bench, Kind, &Path) -> Result<Option<T>>,
    ) -> [Option<T>; 3] {
        Kind::ALL.map(|kind| {
            self.binaries.server(kind)?;
            let name = kind.name();
            eprintln!("{group}: {name} ...");
            let folder = self.folder.join(format!("{group}-{name}"));
            let measured = measure(self, kind, &folder).unwrap_or_else(|error| {
                self.note(format!("{group}: {name}: {error:#}"));
                None
            });
            // A run needs room for one system's data, not for all.
            let _ = std::fs::remove_dir_all(&folder);
            measured
        })
    }

    fn note(&mut self, note: String) {
        eprintln!("  {note}");
        self.notes.push(note);
    }
}

/// Samples for each second of processor time. Less than the kernel's tick counts as one.
fn samples_per_cpu_s(samples: u64, cpu_s: f64) -> f64 {
    samples as f64 / cpu_s.max(tick_s())
}

/// A row of the figure that `figure` takes from each system's measurement.
fn row<T>(
    id: &'static str,
    work: impl Into<String>,
    (unit, better): (&'static str, Better),
    measured: &[Option<T>; 3],
    figure: impl Fn(&T) -> f64,
) -> Row {
    let figures = measured.each_ref().map(|one| one.as_ref().map(&figure));
    Row { id, work: work.into(), unit, better, figures, asked: None }
}
