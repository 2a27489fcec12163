//! `Target`: one thing to scrape, as discovery and relabelling have left it.

use pando_model::Labels;
use url::Url;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// One thing to scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The scrape config that it comes from.
    pub job: String,
    /// All labels after relabelling, those that begin with `__` among them.
    pub labels: Labels,
    /// The labels that its series get: those that do not begin with `__`.
    pub public_labels: Labels,
    /// The labels before relabelling.
    pub discovered_labels: Labels,
    /// What is scraped, as it is shown.
    pub shown_url: String,
    /// What is scraped.
    pub url: Url,
    /// Time between two scrapes, ms; at least 1.
    pub interval_ms: i64,
    /// Time that a scrape may take, ms; at least 1, at most the interval.
    pub timeout_ms: i64,
    identity: Vec<u8>,
}

/// A target that relabelling has dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedTarget {
    /// The labels before relabelling.
    pub discovered_labels: Labels,
}

impl Target {
    pub(crate) fn new(
        job: &str,
        labels: Labels,
        discovered_labels: Labels,
        shown_url: String,
        url: Url,
        interval_ms: i64,
        timeout_ms: i64,
    ) -> Self {
        let mut identity = Vec::new();
        push(&mut identity, job);
        push(&mut identity, &shown_url);
        labels.iter().for_each(|(name, value)| {
            push(&mut identity, name);
            push(&mut identity, value);
        });
        let public_labels = labels.without(|name| name.starts_with("__"));
        let job = job.to_string();
        Target {
            job,
            labels,
            public_labels,
            discovered_labels,
            shown_url,
            url,
            interval_ms,
            timeout_ms,
            identity,
        }
    }

    /// Job, URL and labels: what all agents of all versions that share targets must write alike.
    pub fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// The identity in short. Within a process only.
    pub fn id(&self) -> u128 {
        xxh3_128(&self.identity)
    }

    /// Spreads targets over their intervals. The same at every agent.
    pub fn offset_hash(&self) -> u64 {
        xxh3_64(&self.identity)
    }
}

impl DroppedTarget {
    /// What the ring is asked with, so that each dropped target is shown by one agent.
    pub(crate) fn identity(&self, job: &str) -> Vec<u8> {
        let mut identity = Vec::new();
        push(&mut identity, job);
        self.discovered_labels.iter().for_each(|(name, value)| {
            push(&mut identity, name);
            push(&mut identity, value);
        });
        identity
    }
}

fn push(identity: &mut Vec<u8>, text: &str) {
    identity.extend((text.len() as u32).to_le_bytes());
    identity.extend(text.as_bytes());
}
