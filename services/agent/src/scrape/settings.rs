//! `ScrapeSettings`: what the targets of one scrape config share.

use std::sync::Arc;

use pando_config::ScrapeConfig;
use pando_exposition::{LineCacheOptions, ScrapeFormat, ScrapeProtocol, accept_header};
use pando_model::TenantId;
use parking_lot::Mutex;

use crate::client::HttpClient;

/// The largest body where the config sets no `body_size_limit`, bytes: some 3 million lines.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// What the targets of one scrape config share.
pub(crate) struct ScrapeSettings {
    pub(crate) config: ScrapeConfig,
    pub(crate) external_labels: Vec<(String, String)>,
    pub(crate) tenant: TenantId,
    pub(crate) client: HttpClient,
    pub(crate) accept: String,
    pub(crate) fallback: Option<ScrapeFormat>,
    /// Why all scrapes fail at the moment.
    pub(crate) forced_error: Mutex<Option<Arc<str>>>,
}

impl ScrapeSettings {
    pub(crate) fn new(
        config: ScrapeConfig,
        external_labels: Vec<(String, String)>,
        tenant: TenantId,
        client: HttpClient,
    ) -> Self {
        let accept = accept_header(&config.scrape_protocols, config.escaping_scheme);
        let fallback = config.fallback_scrape_protocol.and_then(ScrapeProtocol::format);
        let forced_error = Mutex::new(None);
        ScrapeSettings { config, external_labels, tenant, client, accept, fallback, forced_error }
    }

    /// Bytes of a body that are too many.
    pub(crate) fn body_bytes_limit(&self) -> usize {
        let limit = self.config.limits.body_size_bytes;
        usize::try_from(if limit > 0 { limit } else { BODY_BYTES_MAX }).unwrap_or(usize::MAX)
    }

    /// Whether series with timestamps of their own go stale when they vanish.
    pub(crate) fn tracks_timestamped(&self) -> bool {
        self.config.track_timestamps_staleness || !self.config.honor_timestamps
    }

    pub(crate) fn cache_options(&self) -> LineCacheOptions {
        let track_timestamped = self.tracks_timestamped();
        LineCacheOptions { track_timestamped, ..LineCacheOptions::default() }
    }

    /// Whether targets that were scraped under `other` can go on under these settings as if nothing had changed.
    pub(crate) fn scrapes_like(&self, other: &ScrapeSettings) -> bool {
        self.external_labels == other.external_labels && same_scraping(&self.config, &other.config)
    }
}

/// Whether two scrape configs differ in nothing but their discovery and what its targets become: the labels of a
/// target say the rest.
fn same_scraping(a: &ScrapeConfig, b: &ScrapeConfig) -> bool {
    let switches = |c: &ScrapeConfig| {
        (
            c.honor_labels,
            c.honor_timestamps,
            c.track_timestamps_staleness,
            c.enable_compression,
            c.extra_scrape_metrics,
            c.name_scheme,
            c.escaping_scheme,
            c.fallback_scrape_protocol,
        )
    };
    switches(a) == switches(b)
        && a.job_name == b.job_name
        && a.limits == b.limits
        && a.scrape_protocols == b.scrape_protocols
        && a.http == b.http
        && a.metric_relabel_configs == b.metric_relabel_configs
}
