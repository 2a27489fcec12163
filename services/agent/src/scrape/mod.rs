//! Scraping: fetch a body, read it with what is known of the target, report how it went.

pub(crate) mod body;
pub(crate) mod limits;
pub(crate) mod metadata;
pub(crate) mod pacing;
pub(crate) mod relabel;
pub(crate) mod report;
pub(crate) mod scrape_loop;
pub(crate) mod scraper;
pub(crate) mod series;
pub(crate) mod settings;

#[cfg(test)]
mod tests;
