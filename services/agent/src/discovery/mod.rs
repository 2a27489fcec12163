//! Discovery: where target groups come from. Each source runs by itself and shows what it found last; a source
//! that fails goes on showing that.

mod dns;
mod file;
mod http;

use std::sync::Arc;

use pando_config::{DnsSd, FileSd, HttpSd, ScrapeConfig, TargetGroup};
use pando_runtime::{SharedClock, Tasks};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::metrics::AgentMetrics;

/// A source of target groups.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    File(FileSd),
    Http(Box<HttpSd>),
    Dns(DnsSd),
}

/// The target groups of one source, shared between it and whoever uses them.
#[derive(Clone)]
pub(crate) struct Groups {
    found: Arc<Mutex<Arc<Vec<TargetGroup>>>>,
    news: Arc<Notify>,
}

/// A source that is running. It ends when this is dropped.
pub(crate) struct RunningSource {
    source: Source,
    groups: Groups,
    stop: CancellationToken,
}

/// What sources are made of.
#[derive(Clone)]
pub(crate) struct DiscoveryContext {
    pub(crate) clock: SharedClock,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: AgentMetrics,
    /// Told whenever a source has found something else.
    pub(crate) news: Arc<Notify>,
}

/// The sources of all scrape configs. Equal ones run once.
pub(crate) struct Discovery {
    context: DiscoveryContext,
    running: Vec<Arc<RunningSource>>,
}

impl Groups {
    /// Shows `groups` from now on.
    fn show(&self, groups: Vec<TargetGroup>) {
        let mut found = self.found.lock();
        if **found != groups {
            *found = Arc::new(groups);
            self.news.notify_one();
        }
    }
}

impl RunningSource {
    /// What was found last: the same `Arc` while it has not changed.
    pub(crate) fn groups(&self) -> Arc<Vec<TargetGroup>> {
        self.groups.found.lock().clone()
    }
}

impl Drop for RunningSource {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Discovery {
    pub(crate) fn new(context: DiscoveryContext) -> Self {
        Discovery { context, running: Vec::new() }
    }

    /// The sources of `config`; those that run already go on.
    pub(crate) fn sources_of(&mut self, config: &ScrapeConfig) -> Vec<Arc<RunningSource>> {
        let files = config.file_sd_configs().iter().cloned().map(Source::File);
        let urls = config.http_sd_configs().iter().cloned().map(Box::new).map(Source::Http);
        let names = config.dns_sd_configs().iter().cloned().map(Source::Dns);
        files.chain(urls).chain(names).map(|source| self.source(source)).collect()
    }

    /// Ends the sources that nobody uses any more.
    pub(crate) fn forget_unused(&mut self) {
        self.running.retain(|source| Arc::strong_count(source) > 1);
    }

    fn source(&mut self, source: Source) -> Arc<RunningSource> {
        if let Some(running) = self.running.iter().find(|running| running.source == source) {
            return running.clone();
        }
        let groups = Groups { found: Arc::default(), news: self.context.news.clone() };
        let stop = CancellationToken::new();
        let running = RunningSource { source, groups: groups.clone(), stop: stop.clone() };
        let (context, tasks) = (self.context.clone(), self.context.tasks.clone());
        match running.source.clone() {
            Source::File(config) => tasks.spawn_until_stopped("file discovery", async move {
                let _ = stop.run_until_cancelled(file::run(config, groups, context)).await;
            }),
            Source::Http(config) => tasks.spawn_until_stopped("http discovery", async move {
                let _ = stop.run_until_cancelled(http::run(*config, groups, context)).await;
            }),
            Source::Dns(config) => tasks.spawn_until_stopped("dns discovery", async move {
                let _ = stop.run_until_cancelled(dns::run(config, groups, context)).await;
            }),
        }
        let running = Arc::new(running);
        self.running.push(running.clone());
        running
    }
}

#[cfg(test)]
mod tests;
