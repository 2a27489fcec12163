//! `prometheus.yml` of Prometheus 3.14 as plain data: what it says, what is wrong with it, what
//! Pando ignores.
//!
//! Text in, values out: this crate opens no file, reads no environment and knows no clock. A file
//! is read once into a tree of nodes that know their places; from it every section is taken key
//! by key, so that all faults of a file are found at once, each with its path, line and column.
//! What Pando does not act on is still checked, and listed in [`Parsed::ignored`]; nothing is
//! skipped in silence.

mod config;
mod discovery;
mod error;
mod expand;
mod global;
mod http_client;
mod inert;
mod inert_discovery;
mod inert_sections;
mod limits;
mod node;
mod oauth2;
mod relabel;
mod render;
mod scrape;
mod scrape_protocol;
mod secret;
mod section;
mod size;
mod target_group;
mod tls;

#[cfg(test)]
mod tests;

pub use config::{CONFIG_BYTES_MAX, Config, Parsed};
pub use discovery::{DnsRecord, DnsSd, FileSd, HttpSd};
pub use error::{ConfigError, ConfigErrors, IgnoredKey};
pub use global::GlobalConfig;
pub use http_client::{Authorization, BasicAuth, HttpClientConfig, HttpHeader, ProxyConfig};
pub use limits::ScrapeLimits;
pub use oauth2::OAuth2;
pub use scrape::{ScrapeConfig, UrlScheme};
pub use secret::{RedactedUrl, Secret};
pub use size::{format_size, parse_size};
pub use target_group::{TARGETS_BYTES_MAX, TargetFileFormat, TargetGroup, TargetGroupError};
pub use tls::{TlsConfig, TlsVersion};
